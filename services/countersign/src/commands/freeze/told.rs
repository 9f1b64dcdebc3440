//! What a person or script is told of an order.

use std::time::Duration;

use countersign_domain::freeze::{FreezeView, words};
use countersign_schemas::IntentId;
use countersign_schemas::events::{ControlDone, FreezeScope};
use serde::Serialize;

use super::wait::Outcome;
use crate::exit::Exit;
use crate::output::{Output, pairs};

/// What is known at the end of the command.
pub(super) struct Ended {
    pub(super) frozen: bool,
    pub(super) scope: FreezeScope,
    pub(super) sequence: u64,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
    /// What is in force now, where it could be asked.
    pub(super) in_force: Option<Vec<FreezeView>>,
}

/// The answer of the command.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    /// `done`, `applied`, `stored` or `refused`.
    state: &'static str,
    /// `freeze` or `unfreeze`.
    order: &'static str,
    scope: FreezeScope,
    covers: String,
    /// The order's sequence in `CS_ORDERS`.
    sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(flatten)]
    counts: Option<Counts>,
    /// From the command to its answer, in milliseconds.
    took_ms: u64,
    /// Every freeze in force afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_force: Option<Vec<FreezeView>>,
}

/// As in `control.done`.
#[derive(Debug, Serialize)]
struct Counts {
    revoked: u64,
    stopped: u64,
    running: Vec<IntentId>,
    running_more: u64,
    duration_ms: u64,
}

impl From<ControlDone> for Counts {
    fn from(done: ControlDone) -> Self {
        Self {
            revoked: done.revoked,
            stopped: done.stopped,
            running: done.running,
            running_more: done.running_more,
            duration_ms: done.duration_ms,
        }
    }
}

impl Told {
    pub(super) fn of(ended: Ended) -> Self {
        let (state, code, message, counts) = match ended.outcome {
            Outcome::Done { done } => ("done", None, None, Some(done.into())),
            Outcome::Refused(refused) => {
                ("refused", Some(refused.code), Some(refused.message), None)
            }
            Outcome::Applied => {
                let text = "the order is in force: nothing that it covers begins any more; what \
                            was approved before is still being revoked. Give the order again \
                            to wait for it";
                ("applied", None, Some(text.to_owned()), None)
            }
            Outcome::Stored => {
                let text = "the order is stored, and no coordinator has answered it: it is not \
                            in force yet. Is the approval coordinator running?";
                ("stored", None, Some(text.to_owned()), None)
            }
        };
        Self {
            state,
            order: if ended.frozen { "freeze" } else { "unfreeze" },
            covers: words(&ended.scope),
            scope: ended.scope,
            sequence: ended.sequence,
            code,
            message,
            counts,
            took_ms: u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX),
            in_force: ended.in_force,
        }
    }

    /// How the process ends.
    pub(super) fn exit(&self) -> Exit {
        match self.state {
            "done" => Exit::Done,
            "refused" => Exit::Denied,
            _ => Exit::Pending,
        }
    }

    pub(super) fn to_text(&self) -> String {
        let what = match (self.state, self.order) {
            ("done", "freeze") => "frozen",
            ("done", _) => "released",
            (state, _) => state,
        };
        let mut lines = vec![(what, self.covers.clone())];
        lines.extend(self.message.clone().map(|message| ("why", message)));
        if let Some(counts) = &self.counts {
            lines.extend(counts.lines(self.order));
        }
        lines.push(("took", format!("{} ms", self.took_ms)));
        lines.extend(self.still());
        pairs(&lines)
    }

    /// What else the operator should know: other freezes, and a name that nobody knows.
    fn still(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        for one in self.in_force.iter().flatten() {
            let same = one.scope == self.scope;
            if same && self.order == "freeze" && !one.known {
                let text = format!(
                    "the policy bundle in force knows no {}: is it spelt right?",
                    self.covers
                );
                lines.push(("note", text));
            }
            if !same || self.order == "unfreeze" {
                let text = format!("{} (by {}, since {})", one.covers, one.operator, one.since);
                lines.push(("still frozen", text));
            }
        }
        lines
    }
}

impl Counts {
    fn lines(&self, order: &str) -> Vec<(&'static str, String)> {
        if order == "unfreeze" {
            let text = "nothing that was stopped comes back; agents ask again";
            return vec![("note", text.to_owned())];
        }
        let named = self.running.len() as u64;
        let running = named.saturating_add(self.running_more);
        let mut lines = vec![
            (
                "revoked",
                format!("{} approved and not begun", self.revoked),
            ),
            (
                "stopped",
                format!(
                    "{} claimed after the freeze; nothing was done",
                    self.stopped
                ),
            ),
            (
                "running",
                format!("{running} had begun before and run to their end"),
            ),
        ];
        lines.extend(self.running.iter().map(|id| ("intent", id.to_string())));
        if self.running_more > 0 {
            lines.push(("more", format!("{} that are not named", self.running_more)));
        }
        lines
    }
}

/// What is frozen, as a table.
pub(in crate::commands) fn status(freezes: &[FreezeView], more: usize, output: &Output) -> String {
    if freezes.is_empty() {
        return "nothing is frozen".to_owned();
    }
    let rows: Vec<Vec<String>> = freezes
        .iter()
        .map(|one| {
            let unknown = if one.known {
                ""
            } else {
                " (not in the bundle)"
            };
            vec![
                format!("{}{unknown}", one.covers),
                one.since.to_string(),
                one.operator.to_string(),
                one.reason.clone(),
            ]
        })
        .collect();
    let table = output.table(&["FROZEN", "SINCE", "BY", "WHY"], &rows);
    match more {
        0 => table,
        more => format!("{table}\nand {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(agent: &str, known: bool) -> FreezeView {
        let scope = FreezeScope {
            agent: Some(agent.parse().unwrap()),
            ..FreezeScope::default()
        };
        FreezeView {
            covers: words(&scope),
            scope,
            since: "2026-11-22T10:00:00Z".parse().unwrap(),
            operator: "olga".parse().unwrap(),
            reason: "Refunds look\u{1b}[31m wrong.".to_owned(),
            order: "abc.7".to_owned(),
            known,
        }
    }

    fn done() -> ControlDone {
        ControlDone {
            schema_version: 1,
            revoked: 12,
            stopped: 3,
            running: vec!["019aab6e-5c00-7a10-8000-00000000c0de".parse().unwrap()],
            running_more: 4,
            duration_ms: 180,
        }
    }

    fn told(frozen: bool, outcome: Outcome, in_force: Vec<FreezeView>) -> Told {
        Told::of(Ended {
            frozen,
            scope: view("billing", true).scope,
            sequence: 7,
            outcome,
            took: Duration::from_millis(210),
            in_force: Some(in_force),
        })
    }

    #[test]
    fn a_person_reads_what_stopped_what_runs_and_what_else_is_frozen() {
        let freeze = Outcome::Done { done: done() };
        let both = vec![view("billing", false), view("crm", true)];
        let release = Outcome::Done { done: done() };
        let texts = [
            told(true, freeze, both).to_text(),
            told(false, release, vec![view("crm", true)]).to_text(),
            told(true, Outcome::Applied, Vec::new()).to_text(),
            told(true, Outcome::Stored, Vec::new()).to_text(),
        ];
        insta::assert_snapshot!(texts.join("----\n"));
    }

    #[test]
    fn scripts_read_the_same() {
        let told = told(true, Outcome::Done { done: done() }, Vec::new());
        let json = serde_json::to_value(&told).unwrap();
        assert_eq!(json["state"], "done");
        assert_eq!(json["revoked"], 12);
        assert_eq!(json["running"].as_array().unwrap().len(), 1);
        assert_eq!(json["running_more"], 4);
        assert_eq!(json["covers"], "agent billing");
        assert_eq!(told.exit(), Exit::Done);
    }

    #[test]
    fn each_end_has_its_code() {
        let refused = countersign_schemas::events::ControlRefused {
            schema_version: 1,
            person: "olga".parse().unwrap(),
            code: "reason".to_owned(),
            message: "say why".to_owned(),
        };
        for (outcome, exit) in [
            (Outcome::Refused(refused), Exit::Denied),
            (Outcome::Applied, Exit::Pending),
            (Outcome::Stored, Exit::Pending),
        ] {
            assert_eq!(told(true, outcome, Vec::new()).exit(), exit);
        }
    }

    #[test]
    fn the_status_is_a_table_without_anything_hidden() {
        let output = Output::new(false);
        assert_eq!(status(&[], 0, &output), "nothing is frozen");
        let table = status(&[view("billing", true), view("biling", false)], 2, &output);
        assert!(
            table.contains("agent biling (not in the bundle)"),
            "{table}"
        );
        assert!(
            table.contains("and 2 more") && !table.contains('\u{1b}'),
            "{table}"
        );
    }
}
