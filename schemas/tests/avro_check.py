"""Reads every schema and golden message with two Avro libraries that are not ours.

usage: avro_check.py <folder of the crate>
"""

import io
import json
import pathlib
import sys

import avro.io
import avro.schema
import fastavro
import fastavro.schema

MAGIC = b"\xc3\x01"


def plain(value, schema):
    """The Avro value in the form that our JSON gives it."""
    if isinstance(schema, list):
        return None if value is None else plain(value, schema[1])
    if not isinstance(schema, dict):
        return value
    kind, logical = schema["type"], schema.get("logicalType")
    if kind == "record":
        return {f["name"]: plain(value[f["name"]], f["type"]) for f in schema["fields"]}
    if kind == "array":
        return [plain(item, schema["items"]) for item in value]
    if logical == "json":
        return json.loads(value)
    if logical == "timestamp-micros":
        text = value.strftime("%Y-%m-%dT%H:%M:%S.%f").removesuffix(".000000")
        return (text[:-3] if text.endswith("000") else text) + "Z"
    return value


def check(crate, event):
    path = crate / "avro" / event / "v1.avsc"
    schema = json.loads(path.read_text())
    message = (crate / "golden" / event / "v1.avro").read_bytes()
    expected = json.loads((crate / "golden" / event / "v1.json").read_text())
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    fingerprint = bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
    assert message[:10] == MAGIC + fingerprint, "magic and fingerprint"

    body = io.BytesIO(message[10:])
    value = fastavro.schemaless_reader(body, fastavro.parse_schema(schema))
    assert body.read() == b"", "bytes follow the datum"
    assert plain(value, schema) == expected, "fastavro reads something else"

    reader = avro.io.DatumReader(avro.schema.parse(path.read_text()))
    value = reader.read(avro.io.BinaryDecoder(io.BytesIO(message[10:])))
    assert plain(value, schema) == expected, "avro reads something else"

    written = io.BytesIO()
    fastavro.schemaless_writer(written, fastavro.parse_schema(schema), value)
    assert message[10:] == written.getvalue(), "fastavro writes other bytes"


def main():
    crate = pathlib.Path(sys.argv[1])
    events = sorted(folder.name for folder in (crate / "avro").iterdir())
    broken = 0
    for event in events:
        try:
            check(crate, event)
        except Exception as error:  # each event is reported, whatever a library raises
            broken += 1
            print(f"{event}: {error!r}")
    print(f"{len(events)} events, {broken} broken")
    sys.exit(1 if broken or not events else 0)


main()
