// A worker over HTTP.
//
//     node worker.mjs keys acme mail 8080
//
// The arguments are the folder with the public keys (permit.jwks.json and claim.jwks.json are
// enough), the deployment's name, this service's name under `tool_executor.http`, and the port.

import { createServer } from 'node:http'

import { Gate, Refused } from './countersign-gate.mjs'

const BODY_BYTES_MAX = 1024 * 1024 // an input has at most 256 KiB, and values may be longer

const [keysDir, deployment, service, port] = process.argv.slice(2)
const gate = new Gate(deployment, service, keysDir)

const sent = new Map()

function send(input, key) {
  // `key` is the intent's id: a repeat under the same key must not act twice.
  if (!sent.has(key)) sent.set(key, { message_id: `m-${sent.size + 1}`, to: input.to })
  return { message_id: sent.get(key).message_id }
}

/** Method and path of the catalog's binding -> the tool and what it does. */
const TOOLS = { 'POST /messages': { tool: 'mail.send', run: send } }

async function bodyOf(request) {
  const parts = []
  let bytes = 0
  for await (const part of request) {
    bytes += part.length
    if (bytes > BODY_BYTES_MAX) throw new Refused('too_large', 'the body is too large')
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}

async function answer(request) {
  const binding = TOOLS[`${request.method} ${request.url}`]
  if (binding === undefined) return [404, { code: 'unknown_tool', message: 'no such tool' }]
  try {
    const body = await bodyOf(request)
    const { input, permit } = await gate.admit(binding.tool, request.headers, body)
    return [200, binding.run(input, permit.jti)]
  } catch (error) {
    if (error instanceof Refused) return [403, { code: error.code, message: error.message }]
    // Nobody knows how far it came: 5xx is an unknown outcome, and people look.
    console.error(error)
    return [500, { code: 'unknown', message: 'the tool broke off' }]
  }
}

const server = createServer(async (request, response) => {
  const [status, body] = await answer(request)
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
})
server.listen(Number(port), '127.0.0.1', () => console.log(`ready ${server.address().port}`))
