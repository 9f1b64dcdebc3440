//! The inside of a mandate, read only once its signature has been verified.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_schemas::events::Operation;
use countersign_schemas::{AgentId, Digest, RequesterId, Timestamp, ToolName, limits};
use serde_json::{Map, Value};

use super::MandateError;

/// Days that a mandate may be valid: what it names, such as a case or a customer, changes
/// hands, and labels of what was seen are kept as long.
pub(super) const LIFE_DAYS_MAX: i64 = 31;
/// Seconds of [`LIFE_DAYS_MAX`].
const LIFE_SECONDS_MAX: i64 = LIFE_DAYS_MAX * 24 * 60 * 60;
/// Facts of one mandate: each is looked at for every intent.
pub const FACTS_MAX: usize = 64;
/// Characters of a fact that is text: it is compared with fields of inputs.
const FACT_CHARS_MAX: usize = 1_000;
/// Characters of a fact's name, as of an attribute in a policy.
const NAME_CHARS_MAX: usize = 64;
/// Characters of `jti`.
const ID_CHARS_MAX: usize = 256;
/// Entries of `aud`.
const AUDIENCES_MAX: usize = 100;
/// Words of `scope`.
const SCOPES_MAX: usize = 1_000;

/// What a mandate covers. As with every OAuth scope, each word adds to it (RFC 6749, 3.3);
/// words of others add nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    tools: BTreeSet<ToolName>,
    operations: BTreeSet<&'static str>,
}

impl Scope {
    /// Reads `tool:<name>` and `operation:<word>`, with spaces between them.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut scope = Self::default();
        for word in text.split(' ') {
            match word.split_once(':') {
                Some(("tool", name)) => scope.tools.extend(name.parse::<ToolName>().ok()),
                Some(("operation", name)) => {
                    let known = Operation::from_word(name);
                    scope.operations.extend(known.map(Operation::as_str));
                }
                Some(_) | None => {}
            }
        }
        scope
    }

    /// Whether it covers this tool, by its name or its operation.
    #[must_use]
    pub fn covers(&self, tool: &ToolName, operation: Operation) -> bool {
        self.tools.contains(tool) || self.operations.contains(operation.as_str())
    }
}

/// A mandate that was verified. Only [`super::Issuers::verify`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Mandate {
    issuer: String,
    id: String,
    person: RequesterId,
    expires_at: Timestamp,
    scope: Scope,
    facts: BTreeMap<String, Value>,
}

impl Mandate {
    /// Who gave it out: the claim `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Its id: the claim `jti`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The person behind it: the claim `sub`.
    #[must_use]
    pub fn person(&self) -> &RequesterId {
        &self.person
    }

    /// When it ends.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// When it is over on every machine: it is accepted for as long as clocks may differ.
    #[must_use]
    pub fn over_at(&self) -> Timestamp {
        self.expires_at
            .plus(Duration::from_secs(limits::CLOCK_SKEW_SECONDS))
    }

    /// What it covers.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What it states as true: text, numbers and flags by name.
    #[must_use]
    pub fn facts(&self) -> &BTreeMap<String, Value> {
        &self.facts
    }

    /// What tells it from every other: a digest over issuer and id.
    #[must_use]
    pub fn key(&self) -> Digest {
        let parts = [self.issuer.as_str(), self.id.as_str()];
        Digest::of_json(&parts).unwrap_or_else(|_| Digest::of_bytes(b""))
    }

    /// Reads verified claims and checks for whom and when they hold.
    pub(super) fn read(
        claims: &Map<String, Value>,
        audience: &str,
        agent: &AgentId,
        at: Timestamp,
    ) -> Result<Self, MandateError> {
        check_audience(claims, audience)?;
        check_agent(claims, agent)?;
        let expires_at = check_times(claims, at)?;
        let person = text(claims, "sub")?.parse();
        let id = text(claims, "jti")?;
        if !(1..=ID_CHARS_MAX).contains(&id.chars().count()) {
            return Err(MandateError::BadClaim("jti"));
        }
        let scope = text(claims, "scope")?;
        if scope.split(' ').count() > SCOPES_MAX {
            return Err(MandateError::BadClaim("scope"));
        }
        Ok(Self {
            issuer: text(claims, "iss")?.to_owned(),
            id: id.to_owned(),
            person: person.map_err(|_| MandateError::BadClaim("sub"))?,
            expires_at,
            scope: Scope::read(scope),
            facts: facts(claims)?,
        })
    }
}

fn text<'c>(claims: &'c Map<String, Value>, name: &'static str) -> Result<&'c str, MandateError> {
    let found = claims.get(name).and_then(Value::as_str);
    found.ok_or(MandateError::BadClaim(name))
}

fn check_audience(claims: &Map<String, Value>, audience: &str) -> Result<(), MandateError> {
    let named = match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(all)) if all.len() <= AUDIENCES_MAX => {
            all.iter().any(|one| one == audience)
        }
        Some(_) | None => return Err(MandateError::BadClaim("aud")),
    };
    match named {
        true => Ok(()),
        false => Err(MandateError::WrongAudience),
    }
}

/// `act.sub` is who acts (RFC 8693, 4.1). An `act` within it tells of earlier actors and
/// gives them nothing.
fn check_agent(claims: &Map<String, Value>, agent: &AgentId) -> Result<(), MandateError> {
    let actor = claims.get("act").and_then(|act| act.get("sub")?.as_str());
    match actor {
        Some(actor) if actor == agent.as_str() => Ok(()),
        Some(_) => Err(MandateError::WrongAgent),
        None => Err(MandateError::BadClaim("act")),
    }
}

fn check_times(claims: &Map<String, Value>, at: Timestamp) -> Result<Timestamp, MandateError> {
    let seconds = |name: &'static str| {
        let found = claims.get(name).and_then(Value::as_i64);
        found.ok_or(MandateError::BadClaim(name))
    };
    let skew = i64::try_from(limits::CLOCK_SKEW_SECONDS).unwrap_or_default();
    let (issued, expires) = (seconds("iat")?, seconds("exp")?);
    let begins = match claims.contains_key("nbf") {
        true => seconds("nbf")?,
        false => issued,
    };
    if issued.max(begins) > at.seconds().saturating_add(skew) {
        return Err(MandateError::NotYet);
    }
    if expires.saturating_sub(issued) > LIFE_SECONDS_MAX {
        return Err(MandateError::LongLived);
    }
    let end = Timestamp::from_micros(expires.saturating_mul(1_000_000));
    let end = end.ok_or(MandateError::BadClaim("exp"))?;
    match at.seconds() >= expires.saturating_add(skew) {
        true => Err(MandateError::Expired { at: end }),
        false => Ok(end),
    }
}

fn facts(claims: &Map<String, Value>) -> Result<BTreeMap<String, Value>, MandateError> {
    let stated = match claims.get("facts") {
        None => return Ok(BTreeMap::new()),
        Some(Value::Object(stated)) if stated.len() <= FACTS_MAX => stated,
        Some(_) => return Err(MandateError::BadClaim("facts")),
    };
    let plain = |(name, value): (&String, &Value)| {
        let plain = match value {
            Value::String(text) => text.chars().count() <= FACT_CHARS_MAX,
            Value::Number(_) | Value::Bool(_) => true,
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        };
        (plain && is_fact_name(name)).then(|| (name.clone(), value.clone()))
    };
    let read: Option<BTreeMap<String, Value>> = stated.iter().map(plain).collect();
    read.ok_or(MandateError::BadClaim("facts"))
}

/// Whether a fact may be called so: like an attribute in a policy.
pub(crate) fn is_fact_name(name: &str) -> bool {
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    begins && name.len() <= NAME_CHARS_MAX && name.bytes().all(word)
}
