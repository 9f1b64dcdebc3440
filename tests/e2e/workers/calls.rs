//! Calls of a worker as the executor makes them, and as an attacker would.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_domain::input::{input_digest, salt_text};
use countersign_domain::keys::{HmacKey, SigningKey};
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::files;
use countersign_runtime::identity::{Deployment, Signing};
use countersign_schemas::{Digest, IntentId, JsonObject};
use countersign_tests::deployment::NAME;
use serde_json::{Value, json};

/// The keys of a deployment, its worker and one of its tools.
pub(crate) struct Target {
    permit: SigningKey,
    claim: SigningKey,
    /// A key that is published as retired, and whose time is over.
    retired: SigningKey,
    pub(crate) tool: &'static str,
    pub(crate) worker: &'static str,
}

/// The seed of a key that was retired long ago.
const RETIRED: [u8; 32] = [9; 32];

/// Publishes a key whose time is over, beside the one that signs.
pub(crate) fn publish_a_retired_key(files: &Deployment) {
    let path = Signing::Permit.public(&files.dir().join("keys"));
    let set = files::key_set("permit keys", &path).unwrap();
    let signs = set.iter().next().unwrap().id().to_owned();
    let long_ago = SystemClock.now().minus(Duration::from_secs(60));
    let set = set.with(SigningKey::from_seed(&RETIRED).public()).unwrap();
    let set = set.retiring_all_but(&signs, long_ago);
    std::fs::write(path, set.to_jwks()).unwrap();
}

impl Target {
    pub(crate) fn of(files: &Deployment, tool: &'static str, worker: &'static str) -> Self {
        let key = |signing: Signing| {
            let path = signing.private(&files.dir().join("keys"));
            files::signing_key("signing key", &path).unwrap()
        };
        Self {
            permit: key(Signing::Permit),
            claim: key(Signing::Claim),
            retired: SigningKey::from_seed(&RETIRED),
            tool,
            worker,
        }
    }

    /// A call that may be carried out. Its input has every kind of JSON value that canonical
    /// JSON writes in a way of its own.
    pub(crate) fn good(&self) -> Call {
        let input = json!({
            "contact_id": "C-1042", "to": "kim@acme.example", "zä": [1, {"b": null, "a": true}],
            "é\u{20ac}\n\"": "\u{1f600}\u{7f}\u{2028}", "n": 1.5e3, "small": 1e-7, "long": 0.1,
            "most": 9_007_199_254_740_991_i64, "none": -0.0, "big": 1e21, "": {},
        });
        let intent = IntentId::new_at(SystemClock.now());
        let salt = salt_text(rand::random());
        let given = JsonObject::from_value(input.clone()).unwrap();
        let tool = self.tool.parse().unwrap();
        let digest = input_digest(intent, &tool, &given, &salt).unwrap();
        let now = SystemClock.now().seconds();
        let audience = format!("{NAME}/{}", self.tool);
        let other = Digest::of_bytes(b"other");
        let permit = json!({
            "iss": NAME, "sub": "billing", "act": {"sub": "mia"}, "aud": audience, "jti": intent,
            "iat": now, "exp": now + 300, "input_digest": digest, "salt": salt,
            "tool_digest": other, "policy_digest": other,
            "basis": {"kind": "policy", "policy_ids": ["read"], "approvers": []},
            "reveal": [], "expose": [],
        });
        let claim = json!({
            "iss": NAME, "aud": audience, "jti": intent, "claim_seq": 42, "attempt": 1,
            "input_digest": digest, "worker": self.worker, "exp": now + 60,
        });
        Call {
            intent: Some(intent.to_string()),
            permit: Token::new("permit+jwt", permit, &self.permit),
            claim: Token::new("claim+jwt", claim, &self.claim),
            body: input.to_string(),
        }
    }
}

/// One call of a worker.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) intent: Option<String>,
    pub(crate) permit: Token,
    pub(crate) claim: Token,
    pub(crate) body: String,
}

impl Call {
    /// The headers that it has.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        let tokens = [
            ("Countersign-Intent", self.intent.clone()),
            ("Countersign-Permit", self.permit.text()),
            ("Countersign-Claim", self.claim.text()),
        ];
        let there = tokens.into_iter();
        there
            .filter_map(|(name, text)| Some((name, text?)))
            .collect()
    }
}

/// A token, put together by hand.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) head: Value,
    pub(crate) claims: Value,
    key: SigningKey,
    form: Form,
}

/// How a token is finished.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Signed,
    Missing,
    /// `alg: none` has an empty signature.
    Unsigned,
    /// Signed with the public key as if it were a shared secret.
    Hmac,
    /// One bit of the signature is another.
    Flipped,
}

impl Token {
    fn new(typ: &str, claims: Value, key: &SigningKey) -> Self {
        Self {
            head: json!({"alg": "EdDSA", "typ": typ, "kid": key.id()}),
            claims,
            key: key.clone(),
            form: Form::Signed,
        }
    }

    fn signed_by(&mut self, key: &SigningKey) {
        self.head["kid"] = json!(key.id());
        self.key = key.clone();
    }

    fn text(&self) -> Option<String> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&self.head), part(&self.claims));
        let mut signature = match self.form {
            Form::Missing => return None,
            Form::Unsigned => Vec::new(),
            Form::Signed | Form::Flipped => self.key.sign(signed.as_bytes()).to_vec(),
            Form::Hmac => {
                let secret = HmacKey::new("x", self.key.public().to_bytes()).unwrap();
                secret.mac(signed.as_bytes()).to_vec()
            }
        };
        if self.form == Form::Flipped {
            signature[7] ^= 1;
        }
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// What an attacker changes, and the code under which that is refused.
pub(crate) type Forgery = (&'static str, &'static str, fn(&mut Call, &Target));

/// Every call that a worker must refuse.
pub(crate) const FORGERIES: &[Forgery] = &[
    ("a permit alone", "permit_missing", |c, _| {
        c.claim.form = Form::Missing
    }),
    ("a claim alone", "permit_missing", |c, _| {
        c.permit.form = Form::Missing
    }),
    ("no intent", "permit_missing", |c, _| c.intent = None),
    ("an empty intent", "permit_missing", |c, _| {
        c.intent = Some(String::new())
    }),
    ("another intent", "permit_mismatch", |c, _| {
        c.intent = Some(IntentId::new_at(SystemClock.now()).to_string());
    }),
    // Another deployment's, whose keys are not here, and one that says so with our keys.
    ("another deployment's permit", "permit_invalid", |c, t| {
        c.permit.signed_by(&stranger());
        (c.permit.claims["iss"], c.permit.claims["aud"]) =
            (json!("other"), json!(format!("other/{}", t.tool)));
    }),
    ("a permit issued elsewhere", "permit_invalid", |c, _| {
        c.permit.claims["iss"] = json!("other")
    }),
    ("another deployment's claim", "claim_invalid", |c, t| {
        c.claim.signed_by(&stranger());
        (c.claim.claims["iss"], c.claim.claims["aud"]) =
            (json!("other"), json!(format!("other/{}", t.tool)));
    }),
    ("a claim issued elsewhere", "claim_invalid", |c, _| {
        c.claim.claims["iss"] = json!("other")
    }),
    ("an unknown key", "permit_invalid", |c, _| {
        c.permit.signed_by(&stranger())
    }),
    ("an unknown key's claim", "claim_invalid", |c, _| {
        c.claim.signed_by(&stranger())
    }),
    ("a key whose time is over", "permit_invalid", |c, t| {
        c.permit.signed_by(&t.retired)
    }),
    ("a stolen key id", "permit_invalid", |c, _| {
        c.permit.key = stranger()
    }),
    ("the claim key's permit", "permit_invalid", |c, t| {
        c.permit.signed_by(&t.claim)
    }),
    ("the permit key's claim", "claim_invalid", |c, t| {
        c.claim.signed_by(&t.permit)
    }),
    ("a flipped bit", "permit_invalid", |c, _| {
        c.permit.form = Form::Flipped
    }),
    ("a flipped bit in the claim", "claim_invalid", |c, _| {
        c.claim.form = Form::Flipped
    }),
    ("alg none", "permit_invalid", |c, _| {
        c.permit.head["alg"] = json!("none");
        c.permit.form = Form::Unsigned;
    }),
    ("a claim with alg none", "claim_invalid", |c, _| {
        c.claim.head["alg"] = json!("none");
        c.claim.form = Form::Unsigned;
    }),
    ("the public key as a secret", "permit_invalid", |c, _| {
        c.permit.head["alg"] = json!("HS256");
        c.permit.form = Form::Hmac;
    }),
    (
        "the public key as a claim's secret",
        "claim_invalid",
        |c, _| {
            c.claim.head["alg"] = json!("HS256");
            c.claim.form = Form::Hmac;
        },
    ),
    ("a key of its own", "permit_invalid", |c, _| {
        c.permit.key = stranger();
        let x = URL_SAFE_NO_PAD.encode(stranger().public().to_bytes());
        c.permit.head["jwk"] = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
    }),
    ("a critical extension", "permit_invalid", |c, _| {
        (c.permit.head["crit"], c.permit.head["b64"]) = (json!(["b64"]), json!(false));
    }),
    ("no key id", "permit_invalid", |c, _| {
        drop(c.permit.head.as_object_mut().unwrap().remove("kid"))
    }),
    ("a claim as permit", "permit_invalid", |c, _| {
        c.permit = c.claim.clone()
    }),
    ("a permit as claim", "claim_invalid", |c, _| {
        c.claim = c.permit.clone()
    }),
    ("a type of its own", "permit_invalid", |c, _| {
        c.permit.head["typ"] = json!("JWT")
    }),
    ("another tool's permit", "permit_invalid", |c, _| {
        c.permit.claims["aud"] = json!("acme/other.tool")
    }),
    ("another tool's claim", "claim_invalid", |c, _| {
        c.claim.claims["aud"] = json!("acme/other.tool")
    }),
    ("a permit for many", "permit_invalid", |c, _| {
        c.permit.claims["aud"] = json!([c.permit.claims["aud"], "acme/other.tool"]);
    }),
    ("an expired permit", "permit_invalid", |c, _| {
        shift(&mut c.permit, -400)
    }),
    ("an expired claim", "claim_invalid", |c, _| {
        shift(&mut c.claim, -70)
    }),
    ("a permit of tomorrow", "permit_invalid", |c, _| {
        shift(&mut c.permit, 3_600)
    }),
    ("a claim of tomorrow", "claim_invalid", |c, _| {
        shift(&mut c.claim, 3_600)
    }),
    ("a permit for two hours", "permit_invalid", |c, _| {
        c.permit.claims["exp"] = json!(SystemClock.now().seconds() + 7_200);
    }),
    ("a permit without an end", "permit_invalid", |c, _| {
        drop(c.permit.claims.as_object_mut().unwrap().remove("exp"))
    }),
    ("a claim without an end", "claim_invalid", |c, _| {
        drop(c.claim.claims.as_object_mut().unwrap().remove("exp"))
    }),
    ("a claim without a use", "claim_invalid", |c, _| {
        drop(c.claim.claims.as_object_mut().unwrap().remove("claim_seq"))
    }),
    ("a claim on another intent", "permit_mismatch", |c, _| {
        c.claim.claims["jti"] = json!(IntentId::new_at(SystemClock.now()));
    }),
    ("a claim on another input", "permit_mismatch", |c, _| {
        c.claim.claims["input_digest"] = json!(Digest::of_bytes(b"another"));
    }),
    ("another worker's claim", "permit_mismatch", |c, _| {
        c.claim.claims["worker"] = json!("somebody")
    }),
    ("a changed byte", "digest_mismatch", |c, _| {
        c.body = c.body.replace("C-1042", "C-1043")
    }),
    ("a field more", "digest_mismatch", |c, _| {
        c.body = c.body.replacen('{', r#"{"x":1,"#, 1)
    }),
    ("another number", "digest_mismatch", |c, _| {
        c.body = c.body.replace("1500", "1501")
    }),
    ("another salt", "digest_mismatch", |c, _| {
        c.permit.claims["salt"] = json!(salt_text([1; 16]))
    }),
    ("no JSON", "digest_mismatch", |c, _| c.body = "{".to_owned()),
];

fn shift(token: &mut Token, seconds: i64) {
    for name in ["iat", "exp"] {
        if let Some(at) = token.claims[name].as_i64() {
            token.claims[name] = json!(at + seconds);
        }
    }
}

/// A key that nobody published.
fn stranger() -> SigningKey {
    SigningKey::from_seed(&[3; 32])
}
