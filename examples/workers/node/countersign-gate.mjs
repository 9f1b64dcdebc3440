// Lets a call of Countersign's executor through, once, or says why not.
//
// A call proves two things: that this exact input was approved (the permit), and that the
// caller holds the one claim on it (the claim token). Copy this file beside your worker; it
// needs jose and canonicalize. docs/workers.md has the contract.

import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

import canonicalize from 'canonicalize'
import { decodeProtectedHeader, importJWK, jwtVerify } from 'jose'

const CLOCK_SKEW_S = 5
const PERMIT_LIFE_MAX_S = 60 * 60
const CLAIM_LIFE_MAX_S = 60
const SEEN_MAX = 65_536 // a thousand runs a second, each remembered for about a minute

/** The call has no effect. `code` is stable, the message is for people. */
export class Refused extends Error {
  constructor(code, message) {
    super(message)
    this.code = code
  }
}

/**
 * A published key set. Every call looks whether the file has changed: a key that was stolen
 * is taken out of it, and one that was retired gets an end.
 */
class Keys {
  #path
  #stamp
  #keys = new Map()

  constructor(path) {
    this.#path = path
    this.#read()
  }

  async get(kid) {
    this.#read()
    const key = this.#keys.get(kid)
    // `exp` stands on a retired key: what it signed no longer counts after that.
    if (key === undefined || (key.exp !== undefined && key.exp <= now())) {
      throw new Error('the key is not published, or its time is over')
    }
    return importJWK(key, 'EdDSA')
  }

  #read() {
    const { ino, size, mtimeNs } = statSync(this.#path, { bigint: true })
    const stamp = `${ino} ${size} ${mtimeNs}`
    if (stamp === this.#stamp) return
    const { keys } = JSON.parse(readFileSync(this.#path, 'utf8'))
    this.#keys = new Map(keys.map((key) => [key.kid, key]))
    this.#stamp = stamp
  }
}

/** The gate of one worker. */
export class Gate {
  #deployment
  #worker
  #permits
  #claims
  #seen = new Map() // `jti claim_seq attempt` -> exp

  /**
   * `deployment` is the name that `countersign init` was given; `worker` is the name of your
   * service under `tool_executor.http`, or `nats`.
   */
  constructor(deployment, worker, keysDir) {
    this.#deployment = deployment
    this.#worker = worker
    this.#permits = new Keys(join(keysDir, 'permit.jwks.json'))
    this.#claims = new Keys(join(keysDir, 'claim.jwks.json'))
  }

  /** The call, which may be carried out once; throws Refused. Header names are lower case. */
  async admit(tool, headers, body) {
    const [intent, permitToken, claimToken] = ['intent', 'permit', 'claim'].map((name) =>
      header(headers, `countersign-${name}`),
    )
    const audience = `${this.#deployment}/${tool}`
    const permit = await this.#permit(permitToken, audience)
    const claim = await this.#claim(claimToken, audience)
    this.#agree(intent, permit, claim)
    const input = approvedInput(tool, permit, body)
    // Nothing waits from here on, so no second call can come between look and note.
    this.#once(claim)
    return { input, permit, claim }
  }

  async #permit(token, audience) {
    try {
      const required = ['iat', 'sub', 'salt', 'reveal']
      const permit = await this.#verified(token, 'permit+jwt', this.#permits, audience, required)
      if (permit.iat > now() + CLOCK_SKEW_S) throw new Error('it is dated in the future')
      if (permit.exp - permit.iat > PERMIT_LIFE_MAX_S) {
        throw new Error('it is valid for longer than any permit')
      }
      return permit
    } catch (error) {
      throw new Refused('permit_invalid', `the permit is not valid: ${error.message}`)
    }
  }

  async #claim(token, audience) {
    try {
      const required = ['claim_seq', 'attempt', 'worker']
      const claim = await this.#verified(token, 'claim+jwt', this.#claims, audience, required)
      if (claim.exp > now() + CLAIM_LIFE_MAX_S + CLOCK_SKEW_S) {
        throw new Error('it is valid for longer than any claim')
      }
      return claim
    } catch (error) {
      throw new Refused('claim_invalid', `the claim token is not valid: ${error.message}`)
    }
  }

  async #verified(token, typ, keys, audience, also) {
    // The token never chooses how it is verified: no other member, type or algorithm.
    const { alg, typ: kind, kid, ...others } = decodeProtectedHeader(token)
    if (alg !== 'EdDSA' || kind !== typ || !kid || Object.keys(others).length > 0) {
      throw new Error(`its header does not say ${typ} signed with EdDSA`)
    }
    const { payload } = await jwtVerify(token, await keys.get(kid), {
      algorithms: ['EdDSA'],
      typ,
      issuer: this.#deployment,
      audience,
      clockTolerance: CLOCK_SKEW_S,
      requiredClaims: ['iss', 'aud', 'jti', 'exp', 'input_digest', ...also],
    })
    if (typeof payload.aud !== 'string') throw new Error('it is for several audiences')
    return payload
  }

  #agree(intent, permit, claim) {
    const pairs = {
      intent: intent === permit.jti && permit.jti === claim.jti,
      'input digest': permit.input_digest === claim.input_digest,
      worker: claim.worker === this.#worker,
    }
    for (const [what, same] of Object.entries(pairs)) {
      if (!same) {
        throw new Refused('permit_mismatch', `permit, claim token and call disagree on the ${what}`)
      }
    }
  }

  /**
   * Refuses a claim token that was used here. Another process remembers nothing of it: send a
   * call to one replica only, and let what must not act twice after a restart within the
   * minute look at Idempotency-Key.
   */
  #once(claim) {
    const use = `${claim.jti} ${claim.claim_seq} ${claim.attempt}`
    if (this.#seen.has(use)) {
      throw new Refused('claim_replayed', 'this claim token was already used here')
    }
    if (this.#seen.size >= SEEN_MAX) {
      for (const [old, exp] of this.#seen) {
        if (exp + CLOCK_SKEW_S <= now()) this.#seen.delete(old)
      }
    }
    if (this.#seen.size >= SEEN_MAX) {
      throw new Refused('busy', 'too many claim tokens in the last minute; try again later')
    }
    this.#seen.set(use, claim.exp)
  }
}

function now() {
  return Date.now() / 1000
}

function header(headers, name) {
  const value = headers[name]
  if (typeof value !== 'string' || value === '') {
    throw new Refused('permit_missing', `the header ${name} is missing: only the executor may call`)
  }
  return value
}

/** The body, if its digest is the one that was approved. */
function approvedInput(tool, permit, body) {
  let input
  let digest
  try {
    input = JSON.parse(body)
    // Values stand in the place of surrogates: only the vault could compare them.
    if (permit.reveal.length > 0) return input
    const whole = { input, intent_id: permit.jti, salt: permit.salt, tool }
    digest = `sha256:${createHash('sha256').update(canonicalize(whole)).digest('hex')}`
  } catch {
    throw new Refused('digest_mismatch', 'the body is no JSON that could have been approved')
  }
  if (digest !== permit.input_digest) {
    throw new Refused('digest_mismatch', 'the body is not the input that was approved')
  }
  return input
}
