"""Prints the JSON Schema of OCSF API Activity with the profiles of an export.

The newest schema that the package carries is 1.8.0. What the export uses of 1.9.0 is added
here from the published definitions: ai_agent, attestation, prev_event."""
import json
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

schema = get_ocsf_schema(version="1.8.0")


def one(kind, requirement, **more):
    return {"type": kind, "requirement": requirement, "caption": "", "description": "", **more}


def thing(name, requirement, **more):
    return one("object_t", requirement, object_type=name, object_name=name, **more)


schema["objects"]["ai_agent"] = {
    "name": "ai_agent", "caption": "AI Agent", "description": "",
    "attributes": {
        "uid": one("string_t", "required"),
        "instance_uid": one("string_t", "recommended"),
        "name": one("string_t", "recommended"),
        "version": one("string_t", "recommended"),
    },
}
schema["objects"]["prev_event"] = {
    "name": "prev_event", "caption": "Previous Event", "description": "",
    "attributes": {
        "uid": one("string_t", "required"),
        "type_uid": one("long_t", "recommended"),
        "fingerprint": thing("fingerprint", "optional"),
    },
}
schema["objects"]["attestation"] = {
    "name": "attestation", "caption": "Attestation", "description": "",
    "constraints": {"at_least_one": ["fingerprint", "signatures"]},
    "attributes": {
        "authority_uid": one("string_t", "recommended"),
        "chain_uid": one("string_t", "recommended"),
        "fingerprint": thing("fingerprint", "recommended"),
        "prev_event": thing("prev_event", "recommended"),
    },
}
attributes = schema["classes"]["api_activity"]["attributes"]
attributes["ai_agent"] = thing("ai_agent", "optional", profile="ai_operation")
attributes["attestation"] = thing("attestation", "optional", profile="record_integrity")
made = OcsfJsonSchemaEmbedded(schema).get_class_schema("api_activity", ["ai_operation", "record_integrity", "trace"])
print(json.dumps(made))
