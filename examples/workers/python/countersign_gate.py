"""Lets a call of Countersign's executor through, once, or says why not.

A call proves two things: that this exact input was approved (the permit), and that the
caller holds the one claim on it (the claim token). Copy this file beside your worker; it
needs PyJWT[crypto] and rfc8785. docs/workers.md has the contract.
"""

import hashlib
import json
import threading
import time
from collections import namedtuple
from pathlib import Path

import jwt
import rfc8785

CLOCK_SKEW_S = 5
PERMIT_LIFE_MAX_S = 60 * 60
CLAIM_LIFE_MAX_S = 60
SEEN_MAX = 65_536  # a thousand runs a second, each remembered for about a minute

Call = namedtuple("Call", "input permit claim")


class Refused(Exception):
    """The call has no effect. `code` is stable, the text is for people."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Keys:
    """A published key set. Every call looks whether the file has changed: a key that was
    stolen is taken out of it, and one that was retired gets an end."""

    def __init__(self, path):
        self._path = Path(path)
        self._stamp = None
        self._keys = {}
        self._read()

    def get(self, kid):
        try:
            self._read()
        except OSError as error:
            raise jwt.InvalidKeyError("the published keys cannot be read") from error
        key, until = self._keys.get(kid, (None, None))
        if key is None or (until is not None and until <= time.time()):
            raise jwt.InvalidKeyError("the key is not published, or its time is over")
        return key

    def _read(self):
        held = self._path.stat()
        stamp = (held.st_ino, held.st_size, held.st_mtime_ns)
        if stamp == self._stamp:
            return
        keys = json.loads(self._path.read_text())["keys"]
        # `exp` stands on a retired key: what it signed no longer counts after that.
        self._keys = {key["kid"]: (jwt.PyJWK(key, "EdDSA"), key.get("exp")) for key in keys}
        self._stamp = stamp


class Gate:
    """The gate of one worker: `deployment` is the name that `countersign init` was given,
    `worker` is `nats`, or the name of your service under `tool_executor.http`."""

    def __init__(self, deployment, worker, keys_dir):
        self._deployment = deployment
        self._worker = worker
        self._permits = Keys(Path(keys_dir) / "permit.jwks.json")
        self._claims = Keys(Path(keys_dir) / "claim.jwks.json")
        self._seen = {}  # (jti, claim_seq, attempt) -> exp
        self._lock = threading.Lock()

    def admit(self, tool, headers, body):
        """The call, which may be carried out once; raises Refused."""
        intent = _header(headers, "Countersign-Intent")
        permit = _header(headers, "Countersign-Permit")
        claim = _header(headers, "Countersign-Claim")
        audience = f"{self._deployment}/{tool}"
        with self._lock:
            permit = self._permit(permit, audience)
            claim = self._claim(claim, audience)
            self._agree(intent, permit, claim)
            call = Call(_approved_input(tool, permit, body), permit, claim)
            self._once(claim)
        return call

    def _permit(self, token, audience):
        try:
            permit = self._verified(token, "permit+jwt", self._permits, audience, ["iat", "sub"])
            if permit["exp"] - permit["iat"] > PERMIT_LIFE_MAX_S:
                raise jwt.InvalidTokenError("it is valid for longer than any permit")
            return permit
        except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
            raise Refused("permit_invalid", f"the permit is not valid: {error}") from error

    def _claim(self, token, audience):
        try:
            claim = self._verified(token, "claim+jwt", self._claims, audience, ["claim_seq", "attempt"])
            if claim["exp"] > time.time() + CLAIM_LIFE_MAX_S + CLOCK_SKEW_S:
                raise jwt.InvalidTokenError("it is valid for longer than any claim")
            return claim
        except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
            raise Refused("claim_invalid", f"the claim token is not valid: {error}") from error

    def _verified(self, token, kind, keys, audience, also):
        header = jwt.get_unverified_header(token)
        # The token never chooses how it is verified: no other member, type or algorithm.
        if header != {"alg": "EdDSA", "typ": kind, "kid": header.get("kid")}:
            raise jwt.InvalidTokenError(f"its header does not say {kind} signed with EdDSA")
        return jwt.decode(
            token,
            keys.get(header["kid"]),
            algorithms=["EdDSA"],
            issuer=self._deployment,
            audience=audience,
            leeway=CLOCK_SKEW_S,
            options={"require": ["iss", "aud", "jti", "exp", "input_digest", *also], "strict_aud": True},
        )

    def _agree(self, intent, permit, claim):
        pairs = {
            "intent": intent == permit["jti"] == claim["jti"],
            "input digest": permit["input_digest"] == claim["input_digest"],
            "worker": claim.get("worker") == self._worker,
        }
        for what, same in pairs.items():
            if not same:
                raise Refused("permit_mismatch", f"permit, claim token and call disagree on the {what}")

    def _once(self, claim):
        """Refuses a claim token that was used here. Another process remembers nothing of it:
        replicas over NATS share a queue, and what must not act twice after a restart within
        the minute looks at Idempotency-Key."""
        use = (claim["jti"], claim["claim_seq"], claim["attempt"])
        if use in self._seen:
            raise Refused("claim_replayed", "this claim token was already used here")
        if len(self._seen) >= SEEN_MAX:
            now = time.time() - CLOCK_SKEW_S
            self._seen = {use: exp for use, exp in self._seen.items() if exp > now}
        if len(self._seen) >= SEEN_MAX:
            raise Refused("busy", "too many claim tokens in the last minute; try again later")
        self._seen[use] = claim["exp"]


def _header(headers, name):
    value = headers.get(name)
    if not value:
        raise Refused("permit_missing", f"the header {name} is missing: only the executor may call")
    return value


def _approved_input(tool, permit, body):
    """The body, if its digest is the one that was approved."""
    try:
        given = json.loads(body)
        # Values stand in the place of surrogates: only the vault could compare them.
        if permit["reveal"]:
            return given
        whole = {"input": given, "intent_id": permit["jti"], "salt": permit["salt"], "tool": tool}
        digest = "sha256:" + hashlib.sha256(rfc8785.dumps(whole)).hexdigest()
    except (ValueError, KeyError, RecursionError) as error:
        raise Refused("digest_mismatch", "the body is no JSON that could have been approved") from error
    if digest != permit["input_digest"]:
        raise Refused("digest_mismatch", "the body is not the input that was approved")
    return given
