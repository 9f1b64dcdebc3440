//! `approvals watch`: what waits, and what becomes of it.
//!
//! An event only says that there is something to look at; what is told comes from the
//! coordinator's own list. So what was missed while the connection was away is told when
//! it is back, and nothing is told twice.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use countersign_domain::approvals::Listed;
use countersign_runtime::bus::Bus;
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_schemas::events::ApprovalState;
use countersign_schemas::{ApprovalId, PersonId};
use futures::StreamExt as _;
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Filter, Person, tables};
use crate::client::{Live, listen};
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// What is worth a look.
const NEWS: [&str; 3] = [
    "approval.requested.>",
    "approval.voted.>",
    "approval.resolved.>",
];
/// How often is looked without news: the spans grow, and an event may have been missed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often the connection is looked at.
const RECONNECT_EVERY: Duration = Duration::from_millis(500);
/// How long news are gathered: a look is a way to the coordinator and back.
const GATHER: Duration = Duration::from_millis(200);
/// Endings that stay below the table.
const ENDINGS_MAX: usize = 8;

/// What changed, as one line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Change {
    /// `asked`, `voted`, or the final state.
    change: String,
    approval_id: ApprovalId,
    approval: Listed,
}

impl Change {
    fn new(change: &str, approval: &Listed) -> Self {
        Self {
            change: change.to_owned(),
            approval_id: approval.asked.approval_id.clone(),
            approval: approval.clone(),
        }
    }
}

/// What was told so far.
#[derive(Debug, Default)]
struct Board {
    waiting: BTreeMap<ApprovalId, Listed>,
    more: usize,
}

impl Board {
    /// Those that were there and are not in `now`.
    fn missing(&self, now: &[Listed]) -> Vec<ApprovalId> {
        let there = |id: &ApprovalId| now.iter().any(|one| one.asked.approval_id == *id);
        let ids = self.waiting.keys();
        ids.filter(|id| !there(id)).cloned().collect()
    }

    /// Takes out what nobody knows any more.
    fn forget(&mut self, id: &ApprovalId) {
        self.waiting.remove(id);
    }

    /// Takes in what waits now, and what was found of those that are missing from it.
    fn take(&mut self, now: Vec<Listed>, more: usize, missing: Vec<Listed>) -> Vec<Change> {
        self.more = more;
        let mut changes = Vec::new();
        for listed in missing {
            let id = &listed.asked.approval_id;
            if listed.state != ApprovalState::Pending {
                self.waiting.remove(id);
                changes.push(Change::new(listed.state.as_str(), &listed));
            } else if more == 0 {
                // It waits on, but is no longer among those that were asked for.
                self.waiting.remove(id);
            }
        }
        for listed in now {
            let id = listed.asked.approval_id.clone();
            match self.waiting.get(&id) {
                None => changes.push(Change::new("asked", &listed)),
                Some(before) if before.votes != listed.votes => {
                    changes.push(Change::new("voted", &listed));
                }
                Some(_) => {}
            }
            self.waiting.insert(id, listed);
        }
        changes
    }

    /// What waits, what ends first on top.
    fn rows(&self) -> Vec<Listed> {
        let mut rows: Vec<Listed> = self.waiting.values().cloned().collect();
        rows.sort_by_key(|listed| listed.asked.expires_at);
        rows
    }
}

/// Tells what waits and what becomes of it, until nobody reads any more.
pub(super) async fn run(
    person: &Person,
    filter: Filter,
    output: &Output,
) -> Result<Exit, CliError> {
    let mut news = listen(&person.client.bus, NEWS).await?;
    let mut board = Board::default();
    let mut screen = Screen::new(&person.name, output);
    loop {
        match look(person, &filter, &mut board).await {
            Ok(changes) => {
                if !screen.tell(&board, &changes)? {
                    return Ok(Exit::Done);
                }
            }
            Err(CliError::Unreachable(why)) => screen.away(&why),
            Err(other) => return Err(other),
        }
        wait(&person.client.bus, &mut news).await;
    }
}

async fn look(
    person: &Person,
    filter: &Filter,
    board: &mut Board,
) -> Result<Vec<Change>, CliError> {
    let (now, more) = person.waiting(filter.clone()).await?;
    let mut missing = Vec::new();
    for id in board.missing(&now) {
        match person.look(id.clone()).await {
            Ok(shown) => missing.push(shown.listed),
            // Long over and forgotten.
            Err(CliError::Refused(_)) => board.forget(&id),
            Err(other) => return Err(other),
        }
    }
    Ok(board.take(now, more, missing))
}

/// Waits for news, a new connection, or until it is time to look anyway.
async fn wait(bus: &Bus, news: &mut Live) {
    let connects = || bus.client().statistics().connects.load(Ordering::Relaxed);
    let (before, end) = (connects(), Instant::now() + LOOK_EVERY);
    loop {
        tokio::select! {
            Some(_) = news.next() => {
                let gathered = Instant::now() + GATHER;
                while let Ok(Some(_)) = tokio::time::timeout_at(gathered, news.next()).await {}
                return;
            }
            () = sleep(RECONNECT_EVERY) => if connects() != before { return },
            () = sleep_until(end) => return,
        }
    }
}

/// Where it is told: a table that is drawn anew on a terminal, a line for each change
/// elsewhere.
struct Screen<'a> {
    me: &'a PersonId,
    output: &'a Output,
    endings: Vec<String>,
    away: bool,
}

impl<'a> Screen<'a> {
    fn new(me: &'a PersonId, output: &'a Output) -> Self {
        Self {
            me,
            output,
            endings: Vec::new(),
            away: false,
        }
    }

    /// `false` once nobody reads any more.
    fn tell(&mut self, board: &Board, changes: &[Change]) -> Result<bool, CliError> {
        if self.away {
            self.output.progress("the coordinator answers again");
            self.away = false;
        }
        if self.output.is_terminal() {
            self.remember(changes);
            return self.output.redraw(&self.page(board));
        }
        for change in changes {
            let line = serde_json::to_string(change).map_err(CliError::unexpected)?;
            if !self.output.told(&line)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn away(&mut self, why: &str) {
        if !self.away {
            self.output.progress(&format!("{why}; still trying"));
        }
        self.away = true;
    }

    fn remember(&mut self, changes: &[Change]) {
        let ended = changes.iter().filter_map(|change| {
            let end = change.approval.resolution.as_ref()?;
            Some(format!(
                "{} at {}: {}",
                change.approval_id, end.at, end.message
            ))
        });
        self.endings.extend(ended);
        let old = self.endings.len().saturating_sub(ENDINGS_MAX);
        self.endings.drain(..old);
    }

    fn page(&self, board: &Board) -> String {
        let now = SystemClock.now();
        let mut text = tables::list(&board.rows(), board.more, self.me, now, self.output);
        text.push_str("\n\n");
        for ending in &self.endings {
            text.push_str(&countersign_domain::approvals::visible(ending));
            text.push('\n');
        }
        text.push_str(&format!("as of {now}; Ctrl-C ends"));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::tables::tests::listed;
    use super::*;
    use countersign_domain::approvals::Resolution;
    use countersign_schemas::events::ApprovalResolved;

    const IDS: [&str; 2] = [
        "a-019aab6e-5c00-7a10-8000-00000000c0de",
        "a-019aab6e-5c00-7a10-8000-00000000c0df",
    ];

    fn one(id: &str) -> Listed {
        let mut listed = listed();
        listed.asked.approval_id = id.parse().unwrap();
        listed
    }

    fn voted(id: &str) -> Listed {
        let resolved: ApprovalResolved = crate::client::golden();
        Listed {
            votes: resolved.votes,
            ..one(id)
        }
    }

    fn ended(id: &str) -> Listed {
        Listed {
            state: ApprovalState::Approved,
            resolution: Some(Resolution {
                at: listed().asked.created_at,
                message: "approved by lee\u{1b}[2J".to_owned(),
                by: None,
                code: None,
                stop: None,
            }),
            ..voted(id)
        }
    }

    fn words(changes: &[Change]) -> Vec<(&str, &str)> {
        let word = |change: &Change| {
            IDS.iter()
                .find(|id| **id == change.approval_id.as_str())
                .copied()
        };
        changes
            .iter()
            .map(|change| (change.change.as_str(), word(change).unwrap()))
            .collect()
    }

    #[test]
    fn each_change_is_told_once() {
        let mut board = Board::default();
        let [a, b] = IDS;
        let changes = board.take(vec![one(a)], 0, Vec::new());
        assert_eq!(words(&changes), [("asked", a)]);
        assert!(board.take(vec![one(a)], 0, Vec::new()).is_empty());
        let changes = board.take(vec![voted(a), one(b)], 0, Vec::new());
        assert_eq!(words(&changes), [("voted", a), ("asked", b)]);
        let now = vec![one(b)];
        assert_eq!(board.missing(&now), [a.parse().unwrap()]);
        let changes = board.take(now.clone(), 0, vec![ended(a)]);
        assert_eq!(words(&changes), [("approved", a)]);
        assert!(board.missing(&now).is_empty());
        assert!(board.take(now, 0, Vec::new()).is_empty());
        board.take(vec![one(a)], 0, Vec::new());
        board.forget(&a.parse().unwrap());
        assert!(
            board.missing(&[one(b)]).is_empty(),
            "it is not looked for again"
        );
        let ids: Vec<_> = board
            .rows()
            .into_iter()
            .map(|one| one.asked.approval_id)
            .collect();
        assert_eq!(ids, [b.parse().unwrap()]);
    }

    #[test]
    fn what_was_missed_while_away_is_told_at_the_next_look() {
        let mut board = Board::default();
        let [a, b] = IDS;
        board.take(vec![one(a)], 0, Vec::new());
        // Meanwhile one ended and another came.
        let now = vec![one(b)];
        assert_eq!(board.missing(&now).len(), 1);
        let changes = board.take(now, 0, vec![ended(a)]);
        assert_eq!(words(&changes), [("approved", a), ("asked", b)]);
    }

    #[test]
    fn what_does_not_fit_into_a_list_is_not_taken_for_gone() {
        let mut board = Board::default();
        let [a, b] = IDS;
        board.take(vec![one(a)], 0, Vec::new());
        board.take(vec![one(b)], 1, vec![one(a)]);
        assert_eq!(board.rows().len(), 2, "it only has no place in the answer");
        board.take(vec![one(b)], 0, vec![one(a)]);
        assert_eq!(board.rows().len(), 1, "it is no longer asked for");
    }

    #[test]
    fn a_terminal_shows_the_table_and_the_last_endings() {
        let output = Output::framed(160);
        let me = "kim".parse().unwrap();
        let mut screen = Screen::new(&me, &output);
        let mut board = Board::default();
        let [a, b] = IDS;
        board.take(vec![one(a)], 0, Vec::new());
        let changes = board.take(vec![one(b)], 0, vec![ended(a)]);
        for _ in 0..=ENDINGS_MAX {
            screen.remember(&changes);
        }
        let page = screen.page(&board);
        assert!(page.contains(b), "{page}");
        assert_eq!(page.matches("approved by lee").count(), ENDINGS_MAX);
        assert!(!page.contains('\u{1b}'), "{page:?}");
    }
}
