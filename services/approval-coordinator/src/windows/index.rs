//! A live index of the windows in the bucket that are not settled, fed by the bucket
//! itself.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_domain::windows::Window;
use countersign_schemas::events::PolicyChecked;
use countersign_schemas::{AgentId, IntentId, Timestamp, ToolName, WindowId};

/// Whoever holds it takes a use of that window: within one process takers wait for each
/// other instead of losing the compare-and-set to each other.
pub(super) type Turn = Arc<tokio::sync::Mutex<()>>;

#[derive(Debug)]
struct Row {
    revision: u64,
    agent: AgentId,
    tools: BTreeSet<ToolName>,
    until: Timestamp,
    ended: bool,
    /// Intents whose uses may still be given back.
    open_uses: BTreeSet<IntentId>,
    turn: Turn,
}

#[derive(Debug, Default)]
struct Rows {
    by_id: BTreeMap<WindowId, Row>,
    /// Those that may lift what an agent asks with a tool: every ask looks here.
    by_tool: HashMap<(AgentId, ToolName), BTreeSet<WindowId>>,
    /// Those that hold a use of an intent that may still be given back: every end in the
    /// log looks here.
    by_intent: HashMap<IntentId, BTreeSet<WindowId>>,
    /// Windows of which an intent has come to its end.
    stirred: BTreeSet<WindowId>,
    /// Whether the bucket was read to its end once.
    known: bool,
}

impl Rows {
    fn put(&mut self, id: WindowId, row: Row) {
        self.take(&id);
        for tool in &row.tools {
            let key = (row.agent.clone(), tool.clone());
            self.by_tool.entry(key).or_default().insert(id.clone());
        }
        for intent in &row.open_uses {
            self.by_intent
                .entry(*intent)
                .or_default()
                .insert(id.clone());
        }
        self.by_id.insert(id, row);
    }

    fn take(&mut self, id: &WindowId) {
        let Some(row) = self.by_id.remove(id) else {
            return;
        };
        for tool in row.tools {
            leave(&mut self.by_tool, (row.agent.clone(), tool), id);
        }
        for intent in row.open_uses {
            leave(&mut self.by_intent, intent, id);
        }
    }
}

/// Takes `id` out from under `key`, and the key with the last of them.
fn leave<K: Eq + Hash>(index: &mut HashMap<K, BTreeSet<WindowId>>, key: K, id: &WindowId) {
    if let Entry::Occupied(mut found) = index.entry(key) {
        found.get_mut().remove(id);
        if found.get().is_empty() {
            found.remove();
        }
    }
}

/// The windows that are open, or whose end is not carried out yet.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    rows: Mutex<Rows>,
}

impl Windows {
    fn lock(&self) -> MutexGuard<'_, Rows> {
        // No step of a change can panic, so a poisoned index is still whole.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a window as it stands at `revision` of the bucket. An older one than what
    /// is known changes nothing.
    pub(super) fn note(&self, window: &Window, revision: u64) {
        let id = window.id().clone();
        let mut rows = self.lock();
        let known = rows.by_id.get(&id);
        if known.is_some_and(|row| row.revision > revision) {
            return;
        }
        if window.is_settled() {
            rows.take(&id);
            return;
        }
        let row = Row {
            revision,
            agent: window.agent().clone(),
            tools: window.tools().cloned().collect(),
            until: window.until(),
            ended: window.end().is_some(),
            open_uses: window.open_uses().collect(),
            turn: known.map(|row| Arc::clone(&row.turn)).unwrap_or_default(),
        };
        rows.put(id, row);
    }

    /// Everything in the bucket is known from now on.
    pub(super) fn complete(&self) {
        self.lock().known = true;
    }

    /// Whether the bucket was read to its end once.
    pub(super) fn is_known(&self) -> bool {
        self.lock().known
    }

    /// The windows that may lift what `checked` asks for: first the one that holds its
    /// intent, then those that end first.
    pub(super) fn candidates(&self, checked: &PolicyChecked) -> Vec<(WindowId, Turn)> {
        let rows = self.lock();
        let key = (checked.agent.clone(), checked.tool.clone());
        let ids = rows.by_tool.get(&key).into_iter().flatten();
        let mut found: Vec<(bool, Timestamp, &WindowId, &Turn)> = ids
            .filter_map(|id| rows.by_id.get_key_value(id))
            .map(|(id, row)| {
                let holds = row.open_uses.contains(&checked.intent_id);
                (holds, row.ended, row.until, id, &row.turn)
            })
            .filter(|(holds, ended, ..)| *holds || !ended)
            .map(|(holds, _, until, id, turn)| (!holds, until, id, turn))
            .collect();
        found.sort_unstable_by_key(|(other, until, id, _)| (*other, *until, *id));
        let found = found.into_iter();
        found
            .map(|(_, _, id, turn)| (id.clone(), Arc::clone(turn)))
            .collect()
    }

    /// How many windows of `agent` are open.
    pub(crate) fn of_agent(&self, agent: &AgentId) -> usize {
        let rows = self.lock();
        let open = rows
            .by_id
            .values()
            .filter(|row| !row.ended && row.agent == *agent);
        open.count()
    }

    /// Those of one agent, or all of them; the first to end first.
    pub(super) fn ids_of(&self, agent: Option<&AgentId>) -> Vec<WindowId> {
        let rows = self.lock();
        let wanted = |row: &Row| agent.is_none_or(|agent| row.agent == *agent);
        let wanted = rows.by_id.iter().filter(|(_, row)| wanted(row));
        let mut ids: Vec<_> = wanted.map(|(id, row)| (row.until, id)).collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| id.clone()).collect()
    }

    /// Every window with its end.
    pub(super) fn ends(&self) -> Vec<(WindowId, Timestamp)> {
        let rows = self.lock();
        let ends = rows.by_id.iter().map(|(id, row)| (id.clone(), row.until));
        ends.collect()
    }

    /// Notes that something was stored on the chain of `intent`: its use may be settled.
    pub(crate) fn stir(&self, intent: IntentId) {
        let mut rows = self.lock();
        let found = rows.by_intent.get(&intent).cloned();
        rows.stirred.extend(found.unwrap_or_default());
    }

    /// The windows to look at: those that were stirred, and with `all` every one that has
    /// uses to settle, or whose end lies before `overdue` or is not carried out.
    pub(super) fn due(&self, all: bool, overdue: Timestamp) -> BTreeSet<WindowId> {
        let mut rows = self.lock();
        let mut due = std::mem::take(&mut rows.stirred);
        if all {
            let waits = |row: &Row| row.ended || row.until < overdue || !row.open_uses.is_empty();
            let found = rows.by_id.iter().filter(|(_, row)| waits(row));
            due.extend(found.map(|(id, _)| id.clone()));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_domain::approvals::{Delegation, People};
    use countersign_domain::policy::WindowTerms;
    use countersign_domain::windows::{Demand, Opening, Placed, Take};
    use countersign_schemas::events::{Verdict, WindowLimits, WindowRequested};
    use countersign_schemas::{PersonId, SeqToken, TeamId};
    use serde_json::json;

    struct Support(BTreeSet<PersonId>);

    impl People for Support {
        fn members(&self, _: &TeamId) -> &BTreeSet<PersonId> {
            &self.0
        }

        fn name(&self, _: &PersonId) -> Option<&str> {
            None
        }

        fn delegations_to(&self, _: &PersonId) -> Vec<&Delegation> {
            Vec::new()
        }

        fn delegations_of(&self, _: &PersonId) -> Vec<&Delegation> {
            Vec::new()
        }
    }

    fn people() -> Support {
        Support(BTreeSet::from(["lee".parse().unwrap()]))
    }

    fn at(clock: &str) -> Timestamp {
        format!("2026-11-22T{clock}Z").parse().unwrap()
    }

    fn checked(n: u8) -> PolicyChecked {
        let digest = countersign_schemas::Digest::of_bytes(b"x").to_string();
        let ask = json!({"approvers": [{"team": "support", "quorum": 1}], "expires_in_s": 600,
            "chat_may_approve": false, "window_max_s": 3_600});
        serde_json::from_value(json!({
            "schema_version": 1,
            "intent_id": format!("019a0000-0000-7000-8000-0000000000{n:02x}"),
            "request": {"stream": "CS_INTENTS", "incarnation": "abc", "seq": 1},
            "agent": "billing", "requester": {"id": "dana", "verified": false},
            "tool": "mail.send", "operation": "send", "purpose": "", "summary": "",
            "verdict": Verdict::Ask.as_str(), "reasons": [], "needs": [], "guardrails": [],
            "ask": ask, "input_redacted": {}, "input_shown": {}, "input_digest": digest,
            "salt": "", "input_match": "m", "policy_digest": digest,
            "requested_at": "2026-11-22T10:00:00Z",
        }))
        .unwrap()
    }

    fn window(n: u64, seconds: u64) -> Window {
        let asked = WindowRequested {
            schema_version: 1,
            agent: "billing".parse().unwrap(),
            tools: vec!["mail.send".parse().unwrap()],
            limits: WindowLimits {
                seconds,
                max_uses: None,
                max_total: None,
                same_input_only: None,
            },
            reason: "x".to_owned(),
            fields: Vec::new(),
            requester: None,
        };
        let lee = "lee".parse().unwrap();
        let demand = Demand::read(asked, lee, "self".parse().unwrap()).unwrap();
        let terms = WindowTerms {
            ask: checked(0).ask.unwrap(),
            tools: BTreeMap::from([(checked(0).tool, None)]),
            policy_digest: checked(0).policy_digest,
        };
        let placed = Placed {
            message: &SeqToken::new("abc".parse().unwrap(), n),
            at: at("10:00:00"),
            salt: [0; 16],
        };
        match demand.open(&placed, &terms, "x", &people()).unwrap() {
            Opening::Open(window) => *window,
            Opening::Ask(approval) => panic!("{approval:?}"),
        }
    }

    fn found(windows: &Windows, checked: &PolicyChecked) -> Vec<String> {
        let candidates = windows.candidates(checked).into_iter();
        candidates.map(|(id, _)| id.to_string()).collect()
    }

    #[test]
    fn the_window_that_holds_an_intent_comes_first_then_the_first_to_end() {
        let windows = Windows::default();
        assert!(!windows.is_known());
        windows.complete();
        assert!(windows.is_known());
        let (late, early) = (window(1, 900), window(2, 600));
        windows.note(&late, 1);
        windows.note(&early, 2);
        assert_eq!(found(&windows, &checked(1)), ["w-abc-2", "w-abc-1"]);
        assert_eq!(windows.of_agent(early.agent()), 2);
        let mut used = late.clone();
        assert_eq!(
            used.take(&checked(1), at("10:01:00"), &people()),
            Take::Taken
        );
        windows.note(&used, 3);
        windows.note(&late, 1);
        assert_eq!(found(&windows, &checked(1)), ["w-abc-1", "w-abc-2"]);
        assert_eq!(found(&windows, &checked(2)), ["w-abc-2", "w-abc-1"]);
        let mut other = checked(1);
        other.tool = "mail.draft".parse().unwrap();
        assert!(found(&windows, &other).is_empty());
    }

    #[test]
    fn an_end_leaves_only_what_it_holds_and_a_settled_window_is_forgotten() {
        let windows = Windows::default();
        let mut used = window(1, 600);
        used.take(&checked(1), at("10:01:00"), &people());
        windows.note(&used, 1);
        let none = Timestamp::EPOCH;
        assert!(windows.due(false, none).is_empty());
        windows.stir(checked(2).intent_id);
        assert!(windows.due(false, none).is_empty(), "nobody's intent");
        windows.stir(checked(1).intent_id);
        assert_eq!(windows.due(false, none).len(), 1);
        assert!(windows.due(false, none).is_empty(), "once");
        assert_eq!(windows.due(true, none).len(), 1, "it has a use to settle");
        let mut ended = used.clone();
        assert!(ended.expire(at("10:10:00")));
        windows.note(&ended, 2);
        assert_eq!(found(&windows, &checked(1)), ["w-abc-1"]);
        assert!(found(&windows, &checked(2)).is_empty());
        assert_eq!(
            (windows.of_agent(ended.agent()), windows.ids_of(None).len()),
            (0, 1)
        );
        let other = "crm".parse().unwrap();
        let of = |agent| windows.ids_of(Some(agent)).len();
        assert_eq!((of(ended.agent()), of(&other)), (1, 0));
        assert!(ended.give_back(checked(1).intent_id));
        ended.settle();
        windows.note(&ended, 3);
        let rows = windows.lock();
        assert!(rows.by_tool.is_empty() && rows.by_intent.is_empty());
        drop(rows);
        assert!(windows.ids_of(None).is_empty() && windows.ends().is_empty());
    }
}
