//! Typed identifiers. Mixing up an agent and a person is the bug this product exists to
//! prevent, so no domain signature takes a bare `String`.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::limits::{TOKEN_CHARS_MAX, TOOL_NAME_CHARS_MAX};
use crate::time::Timestamp;

/// A text is not a valid identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{shown}` is not a valid {kind}: {rule}")]
pub struct IdError {
    kind: &'static str,
    rule: &'static str,
    shown: String,
}

impl IdError {
    fn new(kind: &'static str, rule: &'static str, text: &str) -> Self {
        // What a stranger sent is cut and escaped before it enters an error text.
        let shown = text.chars().take(48).flat_map(char::escape_debug).collect();
        Self { kind, rule, shown }
    }
}

fn is_token(text: &str) -> bool {
    (1..=TOKEN_CHARS_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn is_tool_name(text: &str) -> bool {
    text.len() <= TOOL_NAME_CHARS_MAX && text.split('.').all(is_token)
}

fn is_requester(text: &str) -> bool {
    (1..=TOOL_NAME_CHARS_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.@+:".contains(&b))
}

fn is_approval(text: &str) -> bool {
    let derived = text.split_once('-').is_some_and(|(kind, rest)| match kind {
        "a" => rest.parse::<IntentId>().is_ok(),
        "b" => rest.len() == 26,
        "w" => SeqToken::parse_dashed(rest).is_some(),
        _ => false,
    });
    is_token(text) && derived
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdError::new($kind, $rule, text))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

text_id!(
    /// The service identity that acts, as bound to its NATS user.
    AgentId, "agent id", "1 to 64 of A-Z a-z 0-9 _ -", is_token
);
text_id!(
    /// A human who decides or operates, as bound to their NATS user.
    PersonId, "person id", "1 to 64 of A-Z a-z 0-9 _ -", is_token
);
text_id!(
    /// The human on whose behalf an agent says it acts; a claim unless a mandate proves it.
    RequesterId, "requester id", "1 to 128 of A-Z a-z 0-9 _ - . @ + :", is_requester
);
text_id!(
    /// A team of people in `entities.json`.
    TeamId, "team id", "1 to 64 of A-Z a-z 0-9 _ -", is_token
);
text_id!(
    /// One of our own services, a bridge or a worker.
    ServiceId, "service id", "1 to 64 of A-Z a-z 0-9 _ -", is_token
);
text_id!(
    /// A tool, dotted: `crm.update_contact`.
    ToolName, "tool name", "dotted words of A-Z a-z 0-9 _ -, 128 characters at most", is_tool_name
);
text_id!(
    /// An approval: `a-<intent>`, `b-<26 base32>` or `w-<incarnation>-<sequence>`.
    ApprovalId, "approval id", "a-<intent>, b-<bundle digest> or w-<incarnation>-<sequence>", is_approval
);
text_id!(
    /// A time window.
    WindowId, "window id", "1 to 64 of A-Z a-z 0-9 _ -", is_token
);
text_id!(
    /// Any other single subject token.
    Token, "token", "1 to 64 of A-Z a-z 0-9 _ -", is_token
);
text_id!(
    /// The agent's own name for several intents that belong together.
    BundleId, "bundle id", "1 to 64 of A-Z a-z 0-9 _ -", is_token
);
text_id!(
    /// Short base32 of a stream's created time: sequences of a recreated stream never
    /// look like those of the old one.
    Incarnation, "incarnation", "1 to 64 of A-Z a-z 0-9 _ -", is_token
);

impl Incarnation {
    /// The incarnation of a stream created at `created`.
    #[must_use]
    pub fn of_created(created: DateTime<Utc>) -> Self {
        let nanos = created.timestamp_nanos_opt().unwrap_or_default();
        let text = data_encoding::BASE32HEX_NOPAD.encode(&nanos.to_be_bytes());
        Self(text.to_ascii_lowercase())
    }
}

impl ApprovalId {
    /// The approval of one single intent.
    #[must_use]
    pub fn for_intent(intent: IntentId) -> Self {
        Self(format!("a-{intent}"))
    }

    /// The approval of a bundle: 26 base32 characters of SHA-256 over the JCS array
    /// `[agent, bundle id]`, so that two agents using one bundle id never share it.
    #[must_use]
    pub fn for_bundle(agent: &AgentId, bundle: &BundleId) -> Self {
        // Both tokens are plain ASCII without characters that JSON escapes.
        let digest = Sha256::digest(format!("[\"{agent}\",\"{bundle}\"]"));
        let mut text = data_encoding::BASE32_NOPAD
            .encode(&digest)
            .to_ascii_lowercase();
        text.truncate(26);
        Self(format!("b-{text}"))
    }

    /// The intent of a single-action approval.
    #[must_use]
    pub fn intent(&self) -> Option<IntentId> {
        self.0.strip_prefix("a-")?.parse().ok()
    }
}

/// One intent: a UUIDv7 chosen by the agent, unique in the whole deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IntentId(Uuid);

impl IntentId {
    /// A new id for an intent made at `at`, with fresh randomness.
    #[must_use]
    pub fn new_at(at: Timestamp) -> Self {
        let random = Uuid::new_v4().into_bytes();
        let mut tail = [0_u8; 10];
        tail.copy_from_slice(random.split_at(6).1);
        let millis = u64::try_from(at.millis()).unwrap_or_default();
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid())
    }

    /// When the agent says it made this id (the 48-bit timestamp of RFC 9562).
    #[must_use]
    pub fn made_at(self) -> Timestamp {
        let bytes = self.0.as_bytes();
        let millis = bytes
            .iter()
            .take(6)
            .fold(0_i64, |sum, byte| (sum << 8) | i64::from(*byte));
        Timestamp::from_micros(millis.saturating_mul(1_000)).unwrap_or(Timestamp::EPOCH)
    }
}

impl fmt::Display for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.hyphenated())
    }
}

impl FromStr for IntentId {
    type Err = IdError;

    /// Accepts only the lower-case hyphenated form: one intent must have one spelling,
    /// because the spelling is part of its subject.
    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::try_parse(text)
            .ok()
            .filter(|id| id.get_version_num() == 7 && id.hyphenated().to_string() == text)
            .map(Self)
            .ok_or_else(|| IdError::new("intent id", "a lower-case hyphenated UUIDv7", text))
    }
}

impl TryFrom<String> for IntentId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<IntentId> for String {
    fn from(id: IntentId) -> Self {
        id.to_string()
    }
}

/// The place of a stored message: two subject tokens, `<incarnation>.<sequence>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqToken {
    /// Which life of the stream.
    pub incarnation: Incarnation,
    /// The stream sequence in that life.
    pub seq: u64,
}

impl SeqToken {
    /// Puts the two parts together.
    #[must_use]
    pub fn new(incarnation: Incarnation, seq: u64) -> Self {
        Self { incarnation, seq }
    }

    fn parse_dashed(text: &str) -> Option<Self> {
        let (incarnation, seq) = text.rsplit_once('-')?;
        Some(Self::new(incarnation.parse().ok()?, seq.parse().ok()?))
    }

    /// The two parts joined by a dash, for ids that are one token.
    #[must_use]
    pub fn dashed(&self) -> String {
        format!("{}-{}", self.incarnation, self.seq)
    }
}

impl fmt::Display for SeqToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.incarnation, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_refuse_what_a_subject_would_split_or_match() {
        for bad in ["", "a.b", "a*", ">", "a b", "ü", &"x".repeat(65)] {
            assert!(bad.parse::<AgentId>().is_err(), "{bad}");
        }
        assert!("billing_1-x".parse::<AgentId>().is_ok());
    }

    #[test]
    fn tool_names_are_dotted_tokens() {
        assert!("crm.update_contact".parse::<ToolName>().is_ok());
        for bad in ["crm..x", ".crm", "crm.", "crm.*", "crm.>"] {
            assert!(bad.parse::<ToolName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn intent_ids_have_one_spelling_and_carry_their_time() {
        let at: Timestamp = "2026-11-22T10:00:00.123Z".parse().unwrap();
        let id = IntentId::new_at(at);
        assert_eq!(id.made_at(), at);
        let text = id.to_string();
        assert_eq!(text.parse::<IntentId>().unwrap(), id);
        assert!(text.to_uppercase().parse::<IntentId>().is_err());
        assert!(text.replace('-', "").parse::<IntentId>().is_err());
        assert!(Uuid::new_v4().to_string().parse::<IntentId>().is_err());
    }

    #[test]
    fn approval_ids_are_derived() {
        let intent = IntentId::new_at(Timestamp::EPOCH);
        let id = ApprovalId::for_intent(intent);
        assert_eq!(id.intent(), Some(intent));
        assert_eq!(id.as_str().parse::<ApprovalId>().unwrap(), id);
        let bundle = ApprovalId::for_bundle(&"a".parse().unwrap(), &"b".parse().unwrap());
        assert_eq!(bundle.as_str().len(), 28);
        assert!(bundle.as_str().parse::<ApprovalId>().is_ok());
        assert!("a-nope".parse::<ApprovalId>().is_err());
    }

    #[test]
    fn errors_cut_and_escape_what_was_sent() {
        let error = format!("{}\u{1b}[31m", "x".repeat(40))
            .parse::<AgentId>()
            .unwrap_err();
        assert!(!error.to_string().contains('\u{1b}'));
    }
}
