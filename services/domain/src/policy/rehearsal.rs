//! Judging without a deployment: what a judgement wishes to know is given beforehand.
//!
//! `policy check`, the tests of a bundle and `policy replay` judge this way. The judgement
//! is the very one of the checker; only the keys are of no value, since nothing leaves.

use std::collections::BTreeMap;

use countersign_schemas::events::{PolicyChecked, RequestRef, ToolRequested};
use countersign_schemas::{AgentId, Timestamp};
use rust_decimal::Decimal;
use serde_json::Value;

use super::approved::Approved;
use super::bundle::Bundle;
use super::judge::{Judging, Outcome, judge, judge_without_bundle};
use super::known::{Known, Learnt, Wish};
use super::labels;
use super::matching::MatchKey;
use crate::ledger::Answer;
use crate::mandate::{Issuers, Stated};
use crate::redact::{FingerprintKey, Redactor};

/// Rounds of one judgement: each must learn something new, so more than there may be
/// wishes never come.
const ROUNDS_MAX: usize = Known::WISHES_MAX + 1;

/// What is given beforehand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Premises {
    /// What the agent has seen.
    pub labels: Vec<String>,
    /// Entries of the bucket of facts, by key; all others do not exist.
    pub facts: BTreeMap<String, Value>,
    /// What the requester's mandate says; without one the requester is a claim.
    pub mandate: Option<Stated>,
    /// Answers of guardrails outside, by their name; all others do not answer.
    pub external: BTreeMap<String, Value>,
    /// What others have taken of rates and budgets, by their name; of all others nothing.
    pub used: BTreeMap<String, Decimal>,
    /// What people decided, where the intent is judged again.
    pub approval: Option<Approved>,
}

impl Premises {
    fn learnt(&self, wish: &Wish) -> Learnt {
        match wish {
            Wish::Labels(_) => labels::rehearsed(&self.labels),
            Wish::Fact { key } => Ok(self.facts.get(key).cloned().unwrap_or(Value::Null)),
            Wish::External { name, .. } => {
                let found = self.external.get(name.as_str());
                found
                    .cloned()
                    .ok_or_else(|| "it was not asked in a rehearsal".to_owned())
            }
            Wish::Charge(order) => {
                let used = self.used.get(order.ledger.name()).copied();
                let answer = Answer::of_used(used.unwrap_or_default(), order.terms);
                serde_json::to_value(answer).map_err(|error| error.to_string())
            }
        }
    }
}

/// Judges rehearsals by one bundle.
#[derive(Debug)]
pub struct Rehearsal<'b> {
    bundle: &'b Bundle,
    redactor: Redactor,
    match_key: MatchKey,
    place: RequestRef,
}

/// The keys of rehearsals cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rehearsal cannot be prepared")]
pub struct RehearsalError;

impl<'b> Rehearsal<'b> {
    /// By `bundle`, with keys that everybody knows: for verdicts that nobody is shown.
    ///
    /// # Errors
    /// Never with the names that stand here.
    pub fn of(bundle: &'b Bundle) -> Result<Self, RehearsalError> {
        Self::with_key(bundle, [0; 32])
    }

    /// By `bundle`; fingerprints in what it shows are by this key.
    ///
    /// # Errors
    /// Never with the names that stand here.
    pub fn with_key(bundle: &'b Bundle, key: [u8; 32]) -> Result<Self, RehearsalError> {
        let key = FingerprintKey::new("k0", key).map_err(|_| RehearsalError)?;
        let name = "m0".parse().map_err(|_| RehearsalError)?;
        Ok(Self {
            bundle,
            redactor: Redactor::new(key),
            match_key: MatchKey::new(name, [0; 32]),
            place: RequestRef {
                stream: "rehearsal".to_owned(),
                incarnation: "rehearsal".parse().map_err(|_| RehearsalError)?,
                seq: 1,
            },
        })
    }

    /// The verdict on a request of `agent` that would have been stored at `at`.
    #[must_use]
    pub fn judge(
        &self,
        agent: &AgentId,
        request: &ToolRequested,
        at: Timestamp,
        premises: &Premises,
    ) -> PolicyChecked {
        match &premises.mandate {
            None => self.judge_trusting(&Issuers::default(), agent, request, at, premises),
            Some(stated) => {
                let (issuers, token) = stated.signed(agent, &request.requester.id, at);
                let mut request = request.clone();
                request.requester.mandate = Some(token);
                self.judge_trusting(&issuers, agent, &request, at, premises)
            }
        }
    }

    /// The same with the mandate that the request itself brings, if one of `issuers` made
    /// it; what `premises` say of a mandate is not read.
    #[must_use]
    pub fn judge_trusting(
        &self,
        issuers: &Issuers,
        agent: &AgentId,
        request: &ToolRequested,
        at: Timestamp,
        premises: &Premises,
    ) -> PolicyChecked {
        let mut known = Known::after(premises.approval.clone());
        for _ in 0..ROUNDS_MAX {
            let judging = self.judging(agent, request, at, (issuers, &known));
            match judge(self.bundle, &self.redactor, judging) {
                Outcome::Judged(judgement) => return judgement.checked,
                Outcome::Wants(wishes) => {
                    for wish in wishes {
                        let learnt = premises.learnt(&wish);
                        known.learn(wish, learnt);
                    }
                }
            }
        }
        let judging = self.judging(agent, request, at, (issuers, &known));
        judge_without_bundle(&self.redactor, judging, "a judgement never ends")
    }

    /// The same where nothing is given beforehand; `None` if the verdict hangs on anything
    /// beyond the request and the bundle.
    #[must_use]
    pub fn judge_alone(
        &self,
        agent: &AgentId,
        request: &ToolRequested,
        at: Timestamp,
    ) -> Option<PolicyChecked> {
        let (issuers, known) = (Issuers::default(), Known::default());
        let judging = self.judging(agent, request, at, (&issuers, &known));
        match judge(self.bundle, &self.redactor, judging) {
            Outcome::Judged(judgement) => Some(judgement.checked),
            Outcome::Wants(_) => None,
        }
    }

    fn judging<'a>(
        &'a self,
        agent: &'a AgentId,
        request: &'a ToolRequested,
        at: Timestamp,
        (issuers, known): (&'a Issuers, &'a Known),
    ) -> Judging<'a> {
        Judging {
            agent,
            request,
            request_ref: self.place.clone(),
            stored_at: at,
            salt: [0; 16],
            match_key: &self.match_key,
            issuers,
            known,
        }
    }
}
