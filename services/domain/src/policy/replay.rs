//! What would change under another bundle: archived intents judged again.
//!
//! The archive holds inputs as they were redacted, so not every intent can be judged again.
//! Those are counted, never guessed.

use std::collections::BTreeMap;

use countersign_schemas::events::{PolicyChecked, Requester, ToolRequested, Verdict};
use countersign_schemas::{AgentId, IntentId, JsonObject, RequesterId, Timestamp, ToolName};
use serde::Serialize;

use super::bundle::Bundle;
use super::rehearsal::{Rehearsal, RehearsalError};
use crate::redact;

/// Intents named as examples of one change.
const EXAMPLES_MAX: usize = 5;

/// One archived verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Archived {
    /// The intent.
    pub intent_id: IntentId,
    /// Who acted.
    pub agent: AgentId,
    /// On whose behalf.
    pub requester: RequesterId,
    /// Whether that was proved by a mandate, which the archive does not hold.
    pub proved: bool,
    /// Which tool.
    pub tool: ToolName,
    /// Why.
    pub purpose: String,
    /// The input as it is archived; `None` where it was cut or is not there.
    pub input: Option<JsonObject>,
    /// When the intent was made.
    pub at: Timestamp,
    /// What it was judged.
    pub verdict: Verdict,
    /// The rules that determined it, or the codes where no rule did.
    pub because: Vec<String>,
}

/// Why an archived intent cannot be judged again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotJudged {
    /// A value of its input is redacted.
    Redacted,
    /// Its input is not archived whole.
    NotWhole,
    /// A mandate was part of it.
    Mandate,
    /// A guardrail or rule needs to know what was known then.
    Knowledge,
}

impl NotJudged {
    /// The reason in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Redacted => "a value of the input is redacted",
            Self::NotWhole => "the input is not archived whole",
            Self::Mandate => "a mandate was part of it, and the archive holds none",
            Self::Knowledge => "it needs what was known then, such as a fact or another service",
        }
    }
}

/// Verdicts that would be others, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shift {
    /// What they were.
    pub from: Verdict,
    /// What they would be.
    pub to: Verdict,
    /// The rule or code that makes the difference: that of the stricter verdict, and where
    /// both are as strict, of the new one.
    pub because: String,
    /// The tool.
    pub tool: ToolName,
    /// How many.
    pub count: usize,
    /// Some of them.
    pub examples: Vec<IntentId>,
}

/// How often a rule determined a verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Uses {
    /// In the archive, among what could be judged.
    pub before: usize,
    /// With the other bundle.
    pub after: usize,
}

/// What would change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Replay {
    /// Archived verdicts.
    pub rows: usize,
    /// Those that were judged again.
    pub judged: usize,
    /// Those of them that would be the same.
    pub same: usize,
    /// Those that could not be judged, by why.
    pub not_judged: BTreeMap<NotJudged, usize>,
    /// The changes, the most frequent first.
    pub shifts: Vec<Shift>,
    /// Each rule or code that determined a verdict, before or after.
    pub rules: BTreeMap<String, Uses>,
}

/// Judges archived intents by `bundle`.
///
/// # Errors
/// When nothing can be judged at all.
pub fn replay(
    bundle: &Bundle,
    rows: impl IntoIterator<Item = Archived>,
) -> Result<Replay, RehearsalError> {
    let rehearsal = Rehearsal::of(bundle)?;
    let mut found = Replay::default();
    let mut shifts: BTreeMap<(Verdict, Verdict, String, ToolName), Shift> = BTreeMap::new();
    for row in rows {
        found.rows += 1;
        match again(&rehearsal, &row) {
            Ok(checked) => compare(&row, &checked, &mut found, &mut shifts),
            Err(why) => *found.not_judged.entry(why).or_default() += 1,
        }
    }
    found.shifts = shifts.into_values().collect();
    found
        .shifts
        .sort_by_key(|shift| std::cmp::Reverse(shift.count));
    Ok(found)
}

fn again(rehearsal: &Rehearsal<'_>, row: &Archived) -> Result<PolicyChecked, NotJudged> {
    let input = row.input.clone().ok_or(NotJudged::NotWhole)?;
    if redact::holds_marks(&input.to_value()) {
        return Err(NotJudged::Redacted);
    }
    if row.proved {
        return Err(NotJudged::Mandate);
    }
    let request = ToolRequested {
        schema_version: 1,
        intent_id: row.intent_id,
        tool: row.tool.clone(),
        input,
        requester: Requester {
            id: row.requester.clone(),
            mandate: None,
        },
        purpose: row.purpose.clone(),
        session_id: None,
        bundle: None,
        facts: None,
        expires_at: None,
        dry_run: None,
    };
    rehearsal
        .judge_alone(&row.agent, &request, row.at)
        .ok_or(NotJudged::Knowledge)
}

fn compare(
    row: &Archived,
    checked: &PolicyChecked,
    found: &mut Replay,
    shifts: &mut BTreeMap<(Verdict, Verdict, String, ToolName), Shift>,
) {
    found.judged += 1;
    let now = because(checked);
    for rule in &row.because {
        found.rules.entry(rule.clone()).or_default().before += 1;
    }
    for rule in &now {
        found.rules.entry(rule.clone()).or_default().after += 1;
    }
    if row.verdict == checked.verdict {
        found.same += 1;
        return;
    }
    let stricter = strictness(checked.verdict) >= strictness(row.verdict);
    let reasons = if stricter { &now } else { &row.because };
    let because = match reasons.is_empty() {
        true => "nothing that is named".to_owned(),
        false => reasons.join(", "),
    };
    let key = (
        row.verdict,
        checked.verdict,
        because.clone(),
        row.tool.clone(),
    );
    let shift = shifts.entry(key).or_insert_with(|| Shift {
        from: row.verdict,
        to: checked.verdict,
        because,
        tool: row.tool.clone(),
        count: 0,
        examples: Vec::new(),
    });
    shift.count += 1;
    if shift.examples.len() < EXAMPLES_MAX {
        shift.examples.push(row.intent_id);
    }
}

/// The rules that determined a verdict, or the codes where no rule did.
fn because(checked: &PolicyChecked) -> Vec<String> {
    let ids: Vec<String> = checked
        .reasons
        .iter()
        .filter_map(|reason| reason.policy_id.clone())
        .collect();
    match ids.is_empty() {
        true => checked
            .reasons
            .iter()
            .map(|reason| reason.code.clone())
            .collect(),
        false => ids,
    }
}

fn strictness(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Allow => 0,
        Verdict::Ask => 1,
        Verdict::Deny => 2,
    }
}
