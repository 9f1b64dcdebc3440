"""A worker over NATS.

    python worker.py nats://127.0.0.1:4222 creds/worker-workshop.creds keys acme

The arguments are the server, the worker's credential, the folder with the public keys
(permit.jwks.json and claim.jwks.json are enough) and the deployment's name.
"""

import asyncio
import json
import sys
from pathlib import Path

import nats

from countersign_gate import Gate, Refused

CONTACTS = {"C-1042": {"phone": "+49 30 901820"}}


class Failed(Exception):
    """The tool did not do it; the words are shown to people."""


def read_contact(given, key):
    return {"contact_id": given["contact_id"], **CONTACTS.get(given["contact_id"], {})}


def update_contact(given, key):
    # `key` is the intent's id: a repeat under the same key must not act twice.
    contact = CONTACTS.setdefault(given["id"], {})
    before, after = contact.get("phone"), given.get("phone")
    if after is None:
        raise Failed("there is no phone number to store")
    contact["phone"] = after
    return {"changes": [{"resource": f"contact/{given['id']}", "field": "phone", "before": before, "after": after}]}


TOOLS = {"crm.read_contact": read_contact, "crm.update_contact": update_contact}


def answer(gate, tool, headers, body):
    """Headers and body of the answer."""
    try:
        call = gate.admit(tool, headers, body)
        return {}, json.dumps(TOOLS[tool](call.input, call.permit["jti"])).encode()
    except Refused as refused:
        return {"Nats-Service-Error": str(refused), "Nats-Service-Error-Code": refused.code}, b""
    except Failed as failed:
        return {"Nats-Service-Error": str(failed), "Nats-Service-Error-Code": "not_done"}, b""


async def main(url, credential, keys_dir, deployment):
    gate = Gate(deployment, "nats", keys_dir)
    name = Path(credential).stem.removeprefix("worker-")
    nc = await nats.connect(url, nkeys_seed=credential, inbox_prefix=f"_INBOX_{name}".encode())

    async def called(message):
        tool = message.subject.removeprefix("work.")
        headers, body = answer(gate, tool, message.headers or {}, message.data)
        await nc.publish(message.reply, body, headers=headers or None)

    for tool in TOOLS:
        # The queue gives each call to one replica; the server refuses any other way.
        await nc.subscribe(f"work.{tool}", "workers", cb=called)
    await nc.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
