//! What people found out about an outcome that nobody knew.

use countersign_schemas::events::{Outcome, OutcomeFound, OutcomeReconciled};
use countersign_schemas::{PersonId, Timestamp};

use crate::approvals::visible;
use crate::chain::{End, Head};

/// Characters of the reason that are kept: what a person writes, not a file.
const REASON_CHARS_MAX: usize = 2_000;

/// A finding as it was stored: who comes from the subject, which NATS permissions bind to
/// the key.
#[derive(Debug, Clone, Copy)]
pub struct Finding<'a> {
    /// Who found it.
    pub operator: &'a PersonId,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// What it says.
    pub found: &'a OutcomeFound,
    /// How they know, redacted.
    pub reason: &'a str,
}

/// What follows from a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reconciled {
    /// It is to be recorded.
    Record(OutcomeReconciled),
    /// The same is recorded already.
    Known(OutcomeReconciled),
    /// It changes nothing.
    Refused {
        /// Stable code.
        code: &'static str,
        /// A sentence that says why and what to do.
        why: String,
    },
}

/// What follows from a finding about the intent whose chain ends in `head`, where `known`
/// is what was found before. The first finding stands for ever.
#[must_use]
pub fn reconcile(
    finding: &Finding<'_>,
    head: &Head,
    known: Option<&OutcomeReconciled>,
) -> Reconciled {
    let found = finding.found;
    let refused = |code, why: String| Reconciled::Refused { code, why };
    if found.outcome == Outcome::Unknown {
        let why = "that nobody knows is no finding; say `succeeded` or `failed`";
        return refused("not_a_finding", why.to_owned());
    }
    if finding.reason.trim().is_empty() {
        let why = "say how you know, so that others can follow it";
        return refused("no_reason", why.to_owned());
    }
    if let Some(why) = not_unknown(found, head) {
        return refused("not_unknown", why);
    }
    match known {
        Some(before) if before.outcome == found.outcome => Reconciled::Known(before.clone()),
        Some(before) => refused(
            "already_reconciled",
            format!(
                "{} found at {} that it {}: {}; a finding stands for ever",
                before.operator, before.reconciled_at, before.outcome, before.reason
            ),
        ),
        None => Reconciled::Record(recorded(finding)),
    }
}

/// Why there is nothing to find out about an intent; `None` where its outcome is unknown.
fn not_unknown(found: &OutcomeFound, head: &Head) -> Option<String> {
    let (agent, intent) = (&found.agent, found.intent_id);
    let state = match head {
        Head::Ended {
            end: End::Completed(completed),
            ..
        } => match completed.outcome {
            Outcome::Unknown => return None,
            known => format!("ended, and its outcome is known: it {known}"),
        },
        Head::Ended {
            end: End::Blocked(_) | End::Revoked(_),
            ..
        } => "never ran".to_owned(),
        Head::Decided { .. } => "has not begun".to_owned(),
        Head::Claimed { .. } => "still runs; wait until it has ended".to_owned(),
        Head::None => return Some(format!("there is no intent {intent} of {agent}")),
        Head::NotOurs { .. } => {
            let why = "the last message of its chain is none of ours, so nothing is known of it";
            return Some(format!("{why} ({intent})"));
        }
    };
    Some(format!("intent {intent} of {agent} {state}"))
}

fn recorded(finding: &Finding<'_>) -> OutcomeReconciled {
    let mut reason: String = finding
        .reason
        .trim()
        .chars()
        .take(REASON_CHARS_MAX)
        .collect();
    if reason.len() < finding.reason.trim().len() {
        reason.push('…');
    }
    OutcomeReconciled {
        schema_version: 1,
        intent_id: finding.found.intent_id,
        agent: finding.found.agent.clone(),
        outcome: finding.found.outcome,
        operator: finding.operator.clone(),
        reason: visible(&reason),
        reconciled_at: finding.stored_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approvals::fixtures::{at, checked, person};
    use crate::decision::{Decision, blocked, unknown};
    use countersign_schemas::events::{BlockedCode, ToolCompleted, ToolStarted};

    fn started() -> ToolStarted {
        let checked = checked();
        ToolStarted {
            schema_version: 1,
            intent_id: checked.intent_id,
            agent: checked.agent,
            tool: checked.tool,
            executor: "tool-executor".parse().unwrap(),
            lease_until: at("10:01:00"),
        }
    }

    fn ended(outcome: Outcome) -> Head {
        let completed = ToolCompleted {
            outcome,
            ..unknown(&started(), at("10:00:20"))
        };
        Head::Ended {
            seq: 9,
            end: End::Completed(Box::new(completed)),
        }
    }

    fn found(outcome: Outcome) -> OutcomeFound {
        OutcomeFound {
            schema_version: 1,
            intent_id: checked().intent_id,
            agent: checked().agent,
            outcome,
            reason: "the mail is in the outbox".to_owned(),
        }
    }

    fn of(
        found: &OutcomeFound,
        who: &str,
        head: &Head,
        known: Option<&OutcomeReconciled>,
    ) -> Reconciled {
        let finding = Finding {
            operator: &person(who),
            stored_at: at("12:00:00"),
            found,
            reason: &found.reason,
        };
        reconcile(&finding, head, known)
    }

    fn refusal(reconciled: Reconciled) -> (&'static str, String) {
        match reconciled {
            Reconciled::Refused { code, why } => (code, why),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_finding_stands_and_the_same_again_changes_nothing() {
        let head = ended(Outcome::Unknown);
        let yes = found(Outcome::Succeeded);
        let Reconciled::Record(first) = of(&yes, "kim", &head, None) else {
            panic!("not recorded")
        };
        assert_eq!(first.operator, person("kim"));
        assert_eq!(first.reconciled_at, at("12:00:00"));
        assert_eq!(first.outcome, Outcome::Succeeded);
        for who in ["kim", "lee"] {
            let again = of(&yes, who, &head, Some(&first));
            assert_eq!(again, Reconciled::Known(first.clone()));
        }
        let (code, why) = refusal(of(&found(Outcome::Failed), "lee", &head, Some(&first)));
        assert_eq!(code, "already_reconciled");
        assert!(
            why.starts_with("kim found at 2026-11-22T12:00:00Z that it succeeded"),
            "{why}"
        );
    }

    #[test]
    fn only_an_unknown_outcome_can_be_found_out() {
        let blocked = match blocked(&checked(), BlockedCode::Frozen, "x") {
            Decision::Blocked(blocked) => End::Blocked(blocked),
            Decision::Approved(_) => panic!("approved"),
        };
        let heads = [
            (
                ended(Outcome::Succeeded),
                "its outcome is known: it succeeded",
            ),
            (ended(Outcome::Failed), "its outcome is known: it failed"),
            (
                Head::Ended {
                    seq: 1,
                    end: blocked,
                },
                "never ran",
            ),
            (
                Head::Claimed {
                    seq: 1,
                    started: started(),
                },
                "still runs",
            ),
            (Head::None, "there is no intent"),
            (Head::NotOurs { seq: 3 }, "none of ours"),
        ];
        for (head, part) in heads {
            let (code, why) = refusal(of(&found(Outcome::Failed), "kim", &head, None));
            assert_eq!(code, "not_unknown");
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn what_is_no_finding_is_refused_in_words() {
        let head = ended(Outcome::Unknown);
        let (code, _) = refusal(of(&found(Outcome::Unknown), "kim", &head, None));
        assert_eq!(code, "not_a_finding");
        let mut silent = found(Outcome::Failed);
        silent.reason = " \n".to_owned();
        assert_eq!(refusal(of(&silent, "kim", &head, None)).0, "no_reason");
        let mut long = found(Outcome::Failed);
        long.reason = format!("{}\u{202e}", "x".repeat(3_000));
        let Reconciled::Record(record) = of(&long, "kim", &head, None) else {
            panic!("not recorded")
        };
        assert_eq!(record.reason.chars().count(), REASON_CHARS_MAX + 1);
        assert!(record.reason.ends_with('…'));
    }
}
