//! What people decided on an intent, as policies see it when the intent is judged again:
//! `context.approval`. At the first judgement nobody has decided, and it is absent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cedar_policy::RestrictedExpression as Expression;
use chrono::SecondsFormat;
use countersign_schemas::events::{
    ApprovalKind, ApprovalResolved, ApprovalState, VoteChoice, WindowOpened,
};
use countersign_schemas::{IntentId, PersonId, TeamId, Timestamp, WindowId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::parse_span;
use super::directory::Directory;

/// The oldest approval that a rehearsal can be given: approvals do not outlive raw messages.
const AGE_MAX: Duration = crate::approvals::ASK_LIFE_MAX;

/// An approval that ended with yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// What it was about.
    pub kind: ApprovalKind,
    /// Who approved.
    pub approvers: BTreeSet<PersonId>,
    /// For whom they spoke: themselves, and whoever was away.
    pub spoke_for: BTreeSet<PersonId>,
    /// When the vote came that was enough.
    pub at: Timestamp,
    /// How long that is ago.
    pub age: Duration,
    /// The window that answered in people's place, if one did.
    pub window: Option<WindowId>,
}

impl Approved {
    /// What `resolved` means for `intent` at `now`; `None` where it did not end with yes,
    /// or not for this intent.
    #[must_use]
    pub fn of(resolved: &ApprovalResolved, intent: IntentId, now: Timestamp) -> Option<Self> {
        match resolved.state {
            ApprovalState::Approved | ApprovalState::Partial => {}
            ApprovalState::Pending
            | ApprovalState::Denied
            | ApprovalState::Expired
            | ApprovalState::Cancelled
            | ApprovalState::Failed => return None,
        }
        let votes = resolved.votes.iter();
        let yes = votes.filter(|vote| vote.vote == VoteChoice::Approve);
        let away = yes.clone().filter_map(|vote| vote.on_behalf_of.clone());
        let approvers: BTreeSet<PersonId> = yes.clone().map(|vote| vote.approver.clone()).collect();
        resolved.intents.contains(&intent).then(|| Self {
            kind: resolved.kind,
            spoke_for: approvers.iter().cloned().chain(away).collect(),
            approvers,
            at: resolved.resolved_at,
            age: now.since(resolved.resolved_at),
            window: None,
        })
    }

    /// What the window means that answered in people's place, at `now`: it was they who
    /// opened it.
    #[must_use]
    pub fn of_window(opened: &WindowOpened, now: Timestamp) -> Self {
        let votes = opened.votes.iter();
        let yes = votes.filter(|vote| vote.vote == VoteChoice::Approve);
        let away = yes.clone().filter_map(|vote| vote.on_behalf_of.clone());
        let approvers: BTreeSet<PersonId> = yes.clone().map(|vote| vote.approver.clone()).collect();
        Self {
            kind: ApprovalKind::Window,
            spoke_for: approvers.iter().cloned().chain(away).collect(),
            approvers,
            at: opened.opened_at,
            age: now.since(opened.opened_at),
            window: Some(opened.window_id.clone()),
        }
    }

    /// The record that policies read. Who is in which team counts as of now.
    pub(super) fn expression(&self, directory: &Directory) -> Result<Expression, String> {
        let text = |value: &str| Expression::new_string(value.to_owned());
        let spoke = |(_, members): &(&TeamId, &BTreeSet<PersonId>)| {
            members.intersection(&self.spoke_for).next().is_some()
        };
        let teams = directory.teams().filter(spoke);
        let age = i64::try_from(self.age.as_secs()).unwrap_or(i64::MAX);
        let at = self.at.datetime();
        let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let mut members = BTreeMap::from([
            ("kind", text(self.kind.as_str())),
            (
                "approvers",
                texts(self.approvers.iter().map(PersonId::as_str)),
            ),
            ("teams", texts(teams.map(|(team, _)| team.as_str()))),
            ("approved_at", Expression::new_datetime(at)),
            ("age_s", Expression::new_long(age)),
        ]);
        if let Some(window) = &self.window {
            members.insert("window", text(window.as_str()));
        }
        let members = members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        Expression::new_record(members).map_err(|error| error.to_string())
    }
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> Expression {
    Expression::new_set(values.map(|value| Expression::new_string(value.to_owned())))
}

/// The type of `context.approval` in the schema.
pub(super) fn schema() -> Value {
    let texts = json!({"type": "Set", "element": {"type": "String"}});
    json!({"type": "Record", "attributes": {
        "kind": {"type": "String"},
        "approvers": texts,
        "teams": texts,
        "approved_at": {"type": "Extension", "name": "datetime"},
        "age_s": {"type": "Long"},
        "window": {"type": "String", "required": false}
    }})
}

/// An approval as a rehearsal is given it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatedApproval {
    /// Who approved.
    approvers: BTreeSet<PersonId>,
    /// What it was about; a single action where it does not say.
    kind: Option<ApprovalKind>,
    /// How long ago, such as `10m`; just now where it does not say.
    age: Option<String>,
    /// The window that answered in people's place.
    window: Option<WindowId>,
}

impl StatedApproval {
    /// The approval as of `at`.
    ///
    /// # Errors
    /// In words, where nobody approved or the age cannot be read.
    pub fn as_of(&self, at: Timestamp) -> Result<Approved, String> {
        if self.approvers.is_empty() {
            return Err("an approval needs `approvers`, at least one".to_owned());
        }
        let age = self.age.as_deref().map(|age| parse_span(age, AGE_MAX));
        let age = age.transpose().map_err(|error| error.to_string())?;
        let age = age.unwrap_or_default();
        Ok(Approved {
            kind: self.kind.unwrap_or(ApprovalKind::Action),
            approvers: self.approvers.clone(),
            spoke_for: self.approvers.clone(),
            at: at.minus(age),
            age,
            window: self.window.clone(),
        })
    }
}
