// Reads an AsyncAPI file with the reference parser and its Avro extension.
// usage: node asyncapi_check.mjs <folder with node_modules> <asyncapi.yaml>
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [folder, file] = process.argv.slice(2);
const require = createRequire(join(folder, 'package.json'));
const { Parser, fromFile } = require('@asyncapi/parser');
const { AvroSchemaParser } = require('@asyncapi/avro-schema-parser');

const parser = new Parser();
parser.registerSchemaParser(AvroSchemaParser());
const { document, diagnostics } = await fromFile(parser, file).parse();
for (const found of diagnostics) {
  console.log(found.severity, found.code, found.path.join('/'), found.message);
}
if (!document || diagnostics.length > 0) {
  process.exit(1);
}
const messages = document.allMessages().all();
const unread = messages.filter((message) => !message.payload());
for (const message of unread) {
  console.log('no payload', message.id());
}
console.log(`${document.channels().length} channels, ${messages.length} messages`);
process.exit(unread.length > 0 ? 1 : 0);
