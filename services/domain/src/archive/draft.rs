//! A row before redaction. It never leaves this module tree: only the scrubber turns a
//! draft into a [`Row`].

use countersign_schemas::events::{BundleRef, Change, CheckedRequester, Reason};
use countersign_schemas::{JsonObject, RequesterId};

use super::row::{Level, Row};

/// What an event says, before redaction.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// The columns that need no walk over JSON.
    pub(super) row: Row,
    /// The input as the checker redacted it.
    pub(super) input: Option<JsonObject>,
    /// The exposed output.
    pub(super) output: Option<JsonObject>,
    /// What changes or changed.
    pub(super) changes: Vec<Change>,
}

impl Draft {
    pub(super) fn requester(&mut self, requester: &CheckedRequester) {
        self.claimed_requester(&requester.id);
        self.row.requester_verified = Some(requester.verified);
    }

    pub(super) fn claimed_requester(&mut self, id: &RequesterId) {
        self.row.requester_id = Some(id.to_string());
    }

    pub(super) fn actor(&mut self, kind: &str, id: impl ToString) {
        self.row.actor_kind = Some(kind.to_owned());
        self.row.actor_id = Some(id.to_string());
    }

    pub(super) fn bundle(&mut self, bundle: Option<&BundleRef>) {
        self.row.bundle_id = bundle.map(|bundle| bundle.id.to_string());
    }

    /// Adds a code; what is not one word becomes a sentence, which is scrubbed.
    pub(super) fn code(&mut self, code: impl ToString) {
        let code = code.to_string();
        if is_word(&code) {
            if !self.row.reason_codes.contains(&code) {
                self.row.reason_codes.push(code);
            }
        } else {
            self.tell(&code);
        }
    }

    /// Codes and policies of the reasons; their sentences follow what is told already.
    pub(super) fn reasons(&mut self, reasons: &[Reason]) {
        for reason in reasons {
            self.code(&reason.code);
            if let Some(id) = &reason.policy_id
                && !self.row.policy_ids.contains(id)
            {
                self.row.policy_ids.push(id.clone());
            }
            self.tell(&reason.message);
        }
    }

    /// Adds a sentence to what the event says.
    pub(super) fn tell(&mut self, sentence: &str) {
        if sentence.is_empty() {
            return;
        }
        match &mut self.row.output_summary {
            Some(told) if told.contains(sentence) => {}
            Some(told) => {
                told.push(' ');
                told.push_str(sentence);
            }
            None => self.row.output_summary = Some(sentence.to_owned()),
        }
    }

    /// The sender's own words.
    pub(super) fn purpose(&mut self, words: Option<&str>) {
        self.row.purpose = words.filter(|words| !words.is_empty()).map(str::to_owned);
    }

    pub(super) fn changed(&mut self, changes: Vec<Change>) {
        self.row.resource = changes.first().map(|change| change.resource.clone());
        self.changes = changes;
    }

    pub(super) fn millis(&mut self, millis: u64) {
        self.row.duration_ms = Some(i64::try_from(millis).unwrap_or(i64::MAX));
    }

    pub(super) fn level(&mut self, level: Level) {
        self.row.level = level;
    }
}

/// A stable code: lower case words, short.
fn is_word(code: &str) -> bool {
    (1..=48).contains(&code.len())
        && code
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Several names in one cell.
pub(super) fn joined<T: ToString>(names: &[T]) -> Option<String> {
    let texts: Vec<String> = names.iter().map(T::to_string).collect();
    (!texts.is_empty()).then(|| texts.join(","))
}
