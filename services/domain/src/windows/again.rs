//! Whether a window still answers what it answered before: the rules have changed since.

use std::collections::BTreeMap;

use countersign_schemas::events::{PolicyChecked, WindowOpened};

use super::format::Form;
use super::limits::Limits;
use super::window::{Gone, Window};
use crate::approvals::People;

impl Window {
    /// Whether the window that `opened` tells of would lift `again`: the verdict, by the
    /// rules in force, on an intent for which a use of it was taken. Who is in which team
    /// counts as of now.
    ///
    /// How often it was used, and for how much, was measured when that use was stored. What
    /// only the window itself knows, the definition of its tools and its one input, was
    /// measured then too, and neither the intent nor its input has changed: whoever asks
    /// looks that the tool has not.
    ///
    /// # Errors
    /// Why it would not.
    pub fn still_lifts(
        opened: &WindowOpened,
        again: &PolicyChecked,
        people: &(impl People + ?Sized),
    ) -> Result<(), Gone> {
        let limits = Limits::read(&opened.limits).map_err(|_| Gone::NotForThis)?;
        let tools = opened.tools.iter().cloned();
        let window = Self {
            schema_version: Form::default(),
            id: opened.window_id.clone(),
            agent: opened.agent.clone(),
            tools: tools.map(|tool| (tool, again.tool_digest)).collect(),
            fields: opened.fields.iter().cloned().collect(),
            requester: opened.requester.clone(),
            input_match: Some(again.input_match.clone()),
            ask: opened.ask.clone(),
            votes: opened.votes.clone(),
            approval_id: opened.approval_id.clone(),
            reason: None,
            opened_at: opened.opened_at,
            until: opened.expires_at,
            limits,
            uses: BTreeMap::new(),
            end: None,
            settled: None,
        };
        window.lifts(again, people)
    }
}
