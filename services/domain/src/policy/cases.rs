//! The tests of a bundle: `tests/*.toml`, calls with the verdict that they must get.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_schemas::events::{Ask, PolicyChecked, Requester, ToolRequested, Verdict};
use countersign_schemas::{
    AgentId, IntentId, JsonObject, RequesterId, TeamId, Timestamp, ToolName,
};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use super::approved::StatedApproval;
use super::ask::{EXPIRES_MAX, parse_flag, parse_span, parse_teams};
use super::escalation::parse_steps;
use super::problem::{Place, Problem, Problems};
use super::rehearsal::{Premises, Rehearsal};
use crate::mandate::Stated;

/// Cases in one bundle: judging each takes about a millisecond, and a push waits for it.
pub(crate) const CASES_MAX: usize = 10_000;
/// When a case that does not say is judged: a Monday at noon, inside office hours.
const AT_DEFAULT: &str = "2026-11-23T12:00:00Z";
/// Every case has the same intent: nothing is stored.
const INTENT: &str = "019a0000-0000-7000-8000-000000000001";
/// On whose behalf where a case does not say.
const REQUESTER_DEFAULT: &str = "unknown";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CasesFile {
    #[serde(default)]
    case: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: Spanned<String>,
    agent: AgentId,
    tool: ToolName,
    input: toml::Value,
    requester: Option<RequesterId>,
    purpose: Option<String>,
    claims: Option<toml::Table>,
    at: Option<String>,
    mandate: Option<Stated>,
    approval: Option<StatedApproval>,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    facts: BTreeMap<String, toml::Value>,
    #[serde(default)]
    external: BTreeMap<String, toml::Value>,
    #[serde(default)]
    used: BTreeMap<String, Decimal>,
    verdict: Verdict,
    #[serde(default)]
    reasons: Vec<String>,
    #[serde(default)]
    needs: Vec<String>,
    ask: Option<AskRow>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AskRow {
    Teams(String),
    Parts(AskParts),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskParts {
    teams: Option<String>,
    expires: Option<String>,
    chat: Option<String>,
    escalate: Option<String>,
}

/// A call and what must come of it.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    file: String,
    line: usize,
    name: String,
    agent: AgentId,
    request: ToolRequested,
    at: Timestamp,
    premises: Premises,
    expected: Expected,
}

#[derive(Debug, Clone)]
struct Expected {
    verdict: Verdict,
    reasons: Vec<String>,
    needs: Vec<String>,
    teams: Option<BTreeMap<TeamId, u32>>,
    expires_in_s: Option<u64>,
    chat: Option<bool>,
    escalate: Option<BTreeMap<TeamId, u64>>,
}

/// What came of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// The file, inside the bundle.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// The case's name.
    pub name: String,
    /// The verdict that it got.
    pub verdict: Verdict,
    /// What is otherwise than expected; empty where it passed.
    pub faults: Vec<String>,
}

impl CaseResult {
    /// Whether it got what it expects.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.faults.is_empty()
    }

    /// The failure in the form of any other problem of a bundle; `None` if it passed.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        (!self.passed()).then(|| Problem {
            file: self.file.clone(),
            line: Some(self.line),
            what: format!("test `{}` fails: {}", self.name, self.faults.join("; ")),
            mend: "mend the policy, or the test if it expects too much".to_owned(),
        })
    }
}

/// Reads the cases of one file.
pub(crate) fn read(file: &str, text: &str, cases: &mut Vec<Case>, problems: &mut Problems) {
    let parsed: CasesFile = match toml::from_str(text) {
        Ok(parsed) => parsed,
        Err(error) => {
            let span = error.span();
            let place = span.map_or(Place::file(file), |span| Place::at(file, text, span.start));
            let mend = "write `[[case]]` tables with name, agent, tool, input and verdict";
            return problems.add(&place, error.message(), mend);
        }
    };
    for row in parsed.case {
        let place = Place::at(file, text, row.name.span().start);
        match row.case(&place) {
            Ok(case) => cases.push(case),
            Err(what) => problems.add(&place, what, "mend the test"),
        }
    }
    if cases.len() > CASES_MAX {
        let what = format!("more than {CASES_MAX} tests");
        problems.add(&Place::file(file), what, "keep those that differ");
    }
}

impl Row {
    fn case(self, place: &Place<'_>) -> Result<Case, String> {
        let name = self.name.into_inner();
        let request = ToolRequested {
            schema_version: 1,
            intent_id: parsed::<IntentId>("intent", INTENT)?,
            tool: self.tool,
            input: input(self.input)?,
            requester: Requester {
                id: match self.requester {
                    Some(requester) => requester,
                    None => parsed("requester", REQUESTER_DEFAULT)?,
                },
                mandate: None,
            },
            purpose: self.purpose.unwrap_or_else(|| name.clone()),
            session_id: None,
            bundle: None,
            facts: self.claims.map(|claims| input(claims.into())).transpose()?,
            expires_at: None,
            dry_run: None,
        };
        let at = parsed("at", self.at.as_deref().unwrap_or(AT_DEFAULT))?;
        let approval = self.approval.map(|approval| approval.as_of(at));
        Ok(Case {
            file: place.file.to_owned(),
            line: place.line.unwrap_or(1),
            agent: self.agent,
            request,
            at,
            premises: Premises {
                labels: self.labels,
                facts: values(self.facts)?,
                mandate: self.mandate,
                external: values(self.external)?,
                used: self.used,
                approval: approval.transpose()?,
            },
            expected: Expected::of(self.verdict, self.reasons, self.needs, self.ask)?,
            name,
        })
    }
}

fn parsed<T: std::str::FromStr>(what: &str, text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("`{what}` cannot be read; a time is written {AT_DEFAULT}"))
}

/// An input: a table, or JSON text where TOML has no form for it.
fn input(value: toml::Value) -> Result<JsonObject, String> {
    let refuse = || "`input` must be a table, or the text of a JSON object".to_owned();
    let json = match value {
        toml::Value::String(text) => {
            countersign_schemas::json::parse_strict(text.as_bytes()).map_err(|_| refuse())?
        }
        toml::Value::Table(table) => serde_json::to_value(table).map_err(|_| refuse())?,
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_) => return Err(refuse()),
    };
    JsonObject::from_value(json).ok_or_else(refuse)
}

fn values(from: BTreeMap<String, toml::Value>) -> Result<BTreeMap<String, Value>, String> {
    let one = |(name, value): (String, toml::Value)| {
        let json = serde_json::to_value(value);
        json.map(|json| (name.clone(), json))
            .map_err(|_| format!("the value of `{name}` has no JSON form"))
    };
    from.into_iter().map(one).collect()
}

impl Expected {
    fn of(
        verdict: Verdict,
        reasons: Vec<String>,
        needs: Vec<String>,
        ask: Option<AskRow>,
    ) -> Result<Self, String> {
        if ask.is_some() && verdict != Verdict::Ask {
            return Err(format!("`ask` is only for the verdict ask, not {verdict}"));
        }
        let parts = match ask {
            Some(AskRow::Teams(teams)) => AskParts {
                teams: Some(teams),
                ..AskParts::default()
            },
            Some(AskRow::Parts(parts)) => parts,
            None => AskParts::default(),
        };
        let words = |error: super::ask::AskError| error.to_string();
        let teams = parts.teams.as_deref().map(parse_teams).transpose();
        let expires = parts.expires.as_deref();
        let expires = expires
            .map(|span| parse_span(span, EXPIRES_MAX))
            .transpose();
        let chat = parts.chat.as_deref();
        let chat = chat.map(|word| parse_flag(word, "yes", "no", "`yes` and `no`"));
        let escalate = parts.escalate.as_deref().map(parse_steps).transpose();
        let seconds = |steps: BTreeMap<TeamId, Duration>| {
            let steps = steps.into_iter();
            steps.map(|(team, after)| (team, after.as_secs())).collect()
        };
        Ok(Self {
            verdict,
            reasons,
            needs,
            teams: teams.map_err(words)?,
            expires_in_s: expires.map_err(words)?.map(|span| span.as_secs()),
            chat: chat.transpose().map_err(words)?,
            escalate: escalate.map_err(words)?.map(seconds),
        })
    }

    /// What is otherwise.
    fn faults(&self, got: &PolicyChecked) -> Vec<String> {
        let mut faults = Vec::new();
        if got.verdict != self.verdict {
            let why: Vec<&str> = got.reasons.iter().map(|why| why.message.as_str()).collect();
            faults.push(format!(
                "expected {}, got {} ({})",
                self.verdict,
                got.verdict,
                why.join(" ")
            ));
        }
        for wanted in &self.reasons {
            let found = got.reasons.iter().any(|reason| {
                reason.code == *wanted || reason.policy_id.as_deref() == Some(wanted)
            });
            if !found {
                faults.push(format!("no reason is `{wanted}`"));
            }
        }
        for wanted in &self.needs {
            let found = |need: &countersign_schemas::events::Need| {
                need.code == *wanted || need.message.contains(wanted.as_str())
            };
            if !got.needs.iter().any(found) {
                faults.push(format!("no need is or says `{wanted}`"));
            }
        }
        if let Some(ask) = &got.ask {
            self.ask_faults(ask, &mut faults);
        }
        faults
    }

    fn ask_faults(&self, ask: &Ask, faults: &mut Vec<String>) {
        let asked: BTreeMap<TeamId, u32> = ask
            .approvers
            .iter()
            .map(|team| (team.team.clone(), team.quorum))
            .collect();
        if self.teams.as_ref().is_some_and(|teams| *teams != asked) {
            let all: Vec<String> = asked.iter().map(|(t, q)| format!("{t}:{q}")).collect();
            faults.push(format!("it asks `{}`", all.join(" & ")));
        }
        if self
            .expires_in_s
            .is_some_and(|wanted| wanted != ask.expires_in_s)
        {
            faults.push(format!("people have {} s", ask.expires_in_s));
        }
        let steps = ask.escalation.iter();
        let steps: BTreeMap<TeamId, u64> = steps
            .map(|step| (step.team.clone(), step.after_s))
            .collect();
        if self
            .escalate
            .as_ref()
            .is_some_and(|wanted| *wanted != steps)
        {
            let all: Vec<String> = steps.iter().map(|(t, s)| format!("{s}s: {t}")).collect();
            faults.push(format!("it escalates `{}`", all.join("; ")));
        }
        if self
            .chat
            .is_some_and(|wanted| wanted != ask.chat_may_approve)
        {
            let may = if ask.chat_may_approve {
                "may"
            } else {
                "may not"
            };
            faults.push(format!("a chat {may} approve"));
        }
    }
}

/// Runs every case of `cases` with what `rehearsal` judges by.
pub(crate) fn run(cases: &[Case], rehearsal: &Rehearsal<'_>) -> Vec<CaseResult> {
    let one = |case: &Case| {
        let got = rehearsal.judge(&case.agent, &case.request, case.at, &case.premises);
        CaseResult {
            file: case.file.clone(),
            line: case.line,
            name: case.name.clone(),
            verdict: got.verdict,
            faults: case.expected.faults(&got),
        }
    };
    cases.iter().map(one).collect()
}
