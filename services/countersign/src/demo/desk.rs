//! The door of the company's tools: nothing is done without a permit and a fresh claim
//! token, and everything that was done or refused is written down.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use countersign_domain::permit::{SeenTokens, WorkGate, WorkHeaders};
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::config::Config;
use countersign_runtime::files;
use countersign_schemas::{JsonObject, headers};

/// The headers of one call that are proofs, by name.
pub(crate) const PROOFS: [&str; 3] = [
    headers::WORK_INTENT,
    headers::WORK_PERMIT,
    headers::WORK_CLAIM,
];

/// One thing that a tool did.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    /// For which intent.
    pub(crate) intent: String,
    /// Which tool.
    pub(crate) tool: String,
    /// With exactly what.
    pub(crate) input: JsonObject,
    /// The proofs it was called with, in the order of [`PROOFS`].
    pub(crate) proofs: [String; 3],
}

/// What one worker has done and refused, in memory.
#[derive(Debug, Default)]
struct Journal {
    done: Vec<Done>,
    refused: Vec<String>,
    seen: SeenTokens,
}

/// The desk of one worker.
#[derive(Debug)]
pub(crate) struct Desk {
    gate: WorkGate,
    journal: Mutex<Journal>,
}

impl Desk {
    /// The desk of `worker`, with the public keys that the deployment publishes.
    ///
    /// # Errors
    /// When a key set cannot be read.
    pub(crate) fn open(config: &Config, worker: &str) -> anyhow::Result<Self> {
        let keys = |what, name: &str| files::key_set(what, &config.keys.dir.join(name));
        let gate = WorkGate::new(
            keys("permit keys", "permit.jwks.json")?,
            keys("claim keys", "claim.jwks.json")?,
            config.deployment.name.as_str(),
            worker.parse().context("the name of a worker")?,
        );
        Ok(Self {
            gate,
            journal: Mutex::default(),
        })
    }

    /// Lets a call through once.
    ///
    /// # Errors
    /// The code and the words of the refusal.
    pub(crate) fn admit(
        &self,
        tool: &str,
        body: &[u8],
        header: impl Fn(&str) -> Option<String>,
    ) -> Result<JsonObject, (String, String)> {
        let proofs = PROOFS.map(header);
        let mut journal = self.journal();
        let admitted = self.check(tool, body, &proofs, &mut journal.seen);
        match admitted {
            Ok(input) => {
                let proofs = proofs.map(Option::unwrap_or_default);
                journal.done.push(Done {
                    intent: proofs.first().cloned().unwrap_or_default(),
                    tool: tool.to_owned(),
                    input: input.clone(),
                    proofs,
                });
                Ok(input)
            }
            Err((code, words)) => {
                journal.refused.push(code.clone());
                Err((code, words))
            }
        }
    }

    fn check(
        &self,
        tool: &str,
        body: &[u8],
        proofs: &[Option<String>; 3],
        seen: &mut SeenTokens,
    ) -> Result<JsonObject, (String, String)> {
        let unreadable = |what: &str| ("unreadable".to_owned(), format!("cannot read the {what}"));
        let input: JsonObject = serde_json::from_slice(body).map_err(|_| unreadable("body"))?;
        let tool = tool.parse().map_err(|_| unreadable("tool's name"))?;
        let [intent, permit, claim] = proofs;
        let given = WorkHeaders {
            intent: intent.as_deref(),
            permit: permit.as_deref(),
            claim: claim.as_deref(),
        };
        self.gate
            .admit(&tool, given, &input, seen, SystemClock.now())
            .map_err(|refusal| (refusal.code().to_owned(), refusal.to_string()))?;
        Ok(input)
    }

    /// What was done for `intent`.
    pub(crate) fn done_for(&self, intent: &str) -> Vec<Done> {
        let journal = self.journal();
        let done = journal.done.iter().filter(|done| done.intent == intent);
        done.cloned().collect()
    }

    /// The last thing that was done.
    pub(crate) fn last(&self) -> Option<Done> {
        self.journal().done.last().cloned()
    }

    /// How many calls were let through.
    pub(crate) fn done(&self) -> usize {
        self.journal().done.len()
    }

    /// How many calls were refused.
    pub(crate) fn refused(&self) -> usize {
        self.journal().refused.len()
    }

    /// A journal stays readable whatever happened to one of its writers.
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::prepare;

    async fn desk() -> (Desk, prepare::Place) {
        let place = prepare::place(None).await.unwrap();
        let config = Config::load_with(&place.deployment.config(), [], &[]).unwrap();
        (Desk::open(&config, "crm").unwrap(), place)
    }

    #[tokio::test]
    async fn whoever_has_no_proofs_is_refused_and_written_down() {
        let (desk, place) = desk().await;
        let none = |_: &str| None;
        let forged = |name: &str| match name {
            headers::WORK_INTENT => Some("01936b6a-7c00-7123-8abc-0123456789ab".to_owned()),
            _ => Some("eyJhbGciOiJub25lIn0.e30.".to_owned()),
        };
        let only_intent = |name: &str| (name == headers::WORK_INTENT).then(|| "x".to_owned());
        let code = |result: Result<JsonObject, (String, String)>| result.unwrap_err().0;
        assert_eq!(
            code(desk.admit("crm.read_contact", b"{}", none)),
            "permit_missing"
        );
        assert_eq!(
            code(desk.admit("crm.read_contact", b"{}", only_intent)),
            "permit_missing"
        );
        assert_eq!(
            code(desk.admit("crm.read_contact", b"{}", forged)),
            "permit_invalid"
        );
        assert_eq!(
            code(desk.admit("crm.read_contact", b"[]", forged)),
            "unreadable"
        );
        assert_eq!(code(desk.admit("no tool", b"{}", forged)), "unreadable");
        assert_eq!((desk.done(), desk.refused()), (0, 5));
        assert!(desk.last().is_none());
        assert!(desk.done_for("x").is_empty());
        std::fs::remove_dir_all(place.dir()).unwrap();
    }

    #[tokio::test]
    async fn a_desk_without_public_keys_does_not_open() {
        let (_, place) = desk().await;
        let config = Config::load_with(&place.deployment.config(), [], &[]).unwrap();
        std::fs::remove_file(config.keys.dir.join("claim.jwks.json")).unwrap();
        let error = Desk::open(&config, "crm").err().unwrap().to_string();
        assert!(error.contains("claim.jwks.json"), "{error}");
        std::fs::remove_dir_all(place.dir()).unwrap();
    }
}
