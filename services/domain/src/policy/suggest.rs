//! Least privilege, grown from what was observed: permissions that nobody used, and asks
//! that people always granted.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::Effect;
use countersign_schemas::events::Verdict;
use countersign_schemas::{AgentId, ToolName};
use serde::Serialize;

use super::bundle::Bundle;

/// Verdicts of one kind, as the archive counts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictCount {
    /// Who acted.
    pub agent: AgentId,
    /// With which tool.
    pub tool: ToolName,
    /// What it was judged.
    pub verdict: Verdict,
    /// The rules that determined it.
    pub rules: Vec<String>,
    /// How often.
    pub times: u64,
}

/// How people answered the asks of one rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AskHistory {
    /// Granted.
    pub granted: usize,
    /// Refused, expired, withdrawn or anything else.
    pub otherwise: usize,
}

/// A permission that allowed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unused {
    /// The rule.
    pub rule: String,
    /// What it says of itself.
    pub because: String,
    /// Where it stands.
    pub file: String,
    /// Its line, from 1, where it is known.
    pub line: Option<usize>,
}

/// An ask that was always granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Granted {
    /// The rule.
    pub rule: String,
    /// How often.
    pub granted: usize,
}

/// What a person may want to change. Nothing is changed by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Suggestions {
    /// The verdicts that were looked at.
    pub verdicts: u64,
    /// Permissions that allowed nothing.
    pub unused: Vec<Unused>,
    /// Asks that people always granted.
    pub always_granted: Vec<Granted>,
}

/// What the record suggests about `bundle`.
///
/// An ask names the rules that ask, not the permit behind them: a permit that may stand
/// behind an ask that was seen counts as used.
#[must_use]
pub fn suggest(
    bundle: &Bundle,
    seen: &[VerdictCount],
    asked: &BTreeMap<String, AskHistory>,
    at_least: usize,
) -> Suggestions {
    let used = used(bundle, seen);
    let permits = bundle
        .rules
        .written
        .iter()
        .filter(|written| written.policy.effect() == Effect::Permit);
    let unused = permits
        .filter(|written| !used.contains(written.id()))
        .map(|written| Unused {
            rule: written.id().to_owned(),
            because: bundle
                .rules
                .said
                .get(written.id())
                .map(|rule| rule.because.clone())
                .unwrap_or_default(),
            file: written.file.clone(),
            line: written.line,
        });
    let still = |rule: &String| {
        let said = bundle.rules.said.get(rule);
        said.is_some_and(|said| said.ask.is_some())
    };
    let always = asked
        .iter()
        .filter(|(rule, history)| {
            history.otherwise == 0 && history.granted >= at_least.max(1) && still(rule)
        })
        .map(|(rule, history)| Granted {
            rule: rule.clone(),
            granted: history.granted,
        });
    Suggestions {
        verdicts: seen.iter().map(|row| row.times).sum(),
        unused: unused.collect(),
        always_granted: always.collect(),
    }
}

/// The rules that were named, and the permits that may stand behind an ask.
fn used(bundle: &Bundle, seen: &[VerdictCount]) -> BTreeSet<String> {
    let mut used: BTreeSet<String> = seen.iter().flat_map(|row| row.rules.clone()).collect();
    for row in seen.iter().filter(|row| row.verdict == Verdict::Ask) {
        let rules = &bundle.rules;
        let (Some(agent), Some(tool)) = (rules.agents.get(&row.agent), rules.tools.get(&row.tool))
        else {
            continue;
        };
        let shelves = rules
            .index
            .find(&agent.keys, &tool.action_keys, &tool.resource_keys);
        for shelf in shelves {
            used.extend(shelf.firm.policies().map(|policy| policy.id().to_string()));
        }
    }
    used
}
