//! Taking single items out of what people may grant. What they were shown stays as it is:
//! a vote names its digest, and what happens afterwards only takes items away.

use std::collections::BTreeSet;

use countersign_schemas::events::{ApprovalKind, ApprovalState, ApprovalVote, BlockedCode};
use countersign_schemas::{IntentId, PersonId, Timestamp};
use serde::{Deserialize, Serialize};

use super::approval::Approval;
use super::item::Item;
use super::rejudge::Stop;
use super::visible::visible;

/// Why an item was taken out after people were asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Struck {
    /// As a stable code.
    pub code: BlockedCode,
    /// As a sentence, safe to show.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// The person who left it out of their vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
    /// What the rules in force say against it, although people granted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Box<Stop>>,
}

impl Approval {
    /// The items that still run if people grant it, in their order.
    pub fn live_items(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.struck().is_none())
    }

    /// Takes one intent out because it may not run any more, whatever people say. An
    /// approval of which nothing is left ends. Does nothing where the intent is out
    /// already or the approval has ended.
    pub fn take_out(
        &mut self,
        intent: IntentId,
        code: BlockedCode,
        reason: &str,
        now: Timestamp,
    ) -> bool {
        if !self.is_pending() || !self.live_items().any(|item| item.intent() == intent) {
            return false;
        }
        if self.kind != ApprovalKind::Bundle {
            return match code {
                BlockedCode::Withdrawn => self.cancel(reason, now),
                code => self.void(code, reason, now),
            };
        }
        let struck = Struck {
            code,
            reason: visible(reason),
            at: now,
            by: None,
            stop: None,
        };
        self.strike(&struck, |item| item.intent() == intent);
        if self.live_items().next().is_none() {
            let message = format!("nothing is left of it: {}", struck.reason);
            self.resolve(ApprovalState::Cancelled, now, message, None);
        }
        true
    }

    fn strike(&mut self, struck: &Struck, which: impl Fn(&Item) -> bool) {
        for item in &mut self.items {
            if item.struck().is_none() && which(item) {
                item.strike(struck.clone());
            }
        }
    }

    /// Whoever approves some items only says no to the others: they are out for good, as
    /// one no ends an approval of a single action.
    pub(super) fn strike_unnamed(
        &mut self,
        vote: &ApprovalVote,
        by: &PersonId,
        words: Option<&str>,
        at: Timestamp,
    ) {
        let Some(named) = &vote.items else { return };
        let named: BTreeSet<IntentId> = named.iter().copied().collect();
        let reason = match words {
            Some(words) => format!("left out by {by}: {words}"),
            None => format!("left out by {by}"),
        };
        let struck = Struck {
            code: BlockedCode::DeniedByPerson,
            reason,
            at,
            by: Some(by.clone()),
            stop: None,
        };
        self.strike(&struck, |item| !named.contains(&item.intent()));
    }

    /// Takes out what its agent no longer wants at `at`.
    fn strike_overdue(&mut self, at: Timestamp) {
        let struck = Struck {
            code: BlockedCode::ApprovalExpired,
            reason: "its own time was over before people had decided".to_owned(),
            at,
            by: None,
            stop: None,
        };
        self.strike(&struck, |item| {
            item.checked().expires_at.is_some_and(|own| own <= at)
        });
    }

    /// Takes out of a bundle what the rules in force stop, each for its own reason.
    pub(super) fn strike_stopped(&mut self, stops: &[(IntentId, Stop)], at: Timestamp) {
        for (intent, stop) in stops {
            let struck = Struck {
                code: stop.code,
                reason: stop.message.clone(),
                at,
                by: None,
                stop: Some(Box::new(stop.clone())),
            };
            self.strike(&struck, |item| item.intent() == *intent);
        }
    }

    /// Ends a bundle of which nothing is left at `at`, such as when the items that two
    /// people approve have none in common.
    pub(super) fn is_used_up(&mut self, at: Timestamp, by: Option<&PersonId>) -> bool {
        if self.kind != ApprovalKind::Bundle {
            return false;
        }
        self.strike_overdue(at);
        if self.live_items().next().is_some() {
            return false;
        }
        match self.left_out_by_people() {
            0 => {
                let message = "the time of every item was over".to_owned();
                self.resolve(ApprovalState::Expired, at, message, None)
            }
            _ => {
                let message = "no item is left that everybody approved".to_owned();
                self.resolve(ApprovalState::Denied, at, message, by.cloned())
            }
        }
    }

    /// The items that a person left out.
    pub(super) fn left_out_by_people(&self) -> usize {
        let struck = self.items.iter().filter_map(Item::struck);
        struck.filter(|struck| struck.by.is_some()).count()
    }

    /// Why the items that a vote names cannot be voted on, if they cannot.
    pub(super) fn objection_to_items(&self, vote: &ApprovalVote) -> Option<ItemsObjection> {
        use countersign_schemas::events::VoteChoice;
        let named = vote.items.as_ref()?;
        if self.kind != ApprovalKind::Bundle {
            return Some(ItemsObjection::NotABundle);
        }
        if vote.vote == VoteChoice::Deny {
            return Some(ItemsObjection::DenyNamesItems);
        }
        if named.is_empty() {
            return Some(ItemsObjection::Nothing);
        }
        // A vote is kept as long as the approval: it holds no more than there is to name.
        if named.len() > self.items.len() {
            return Some(ItemsObjection::TooMany(self.items.len()));
        }
        let unknown = named.iter().find(|intent| self.item(**intent).is_none());
        unknown.map(|intent| ItemsObjection::Unknown(*intent))
    }
}

/// What is wrong with the items that a vote names.
pub(super) enum ItemsObjection {
    NotABundle,
    DenyNamesItems,
    Nothing,
    TooMany(usize),
    Unknown(IntentId),
}

impl ItemsObjection {
    pub(super) fn words(&self) -> String {
        match self {
            Self::NotABundle => "only votes on a bundle name `items`; this is about one thing, so \
                                 vote without them"
                .to_owned(),
            Self::DenyNamesItems => "a no is to the whole bundle; to leave single items out, \
                                     approve the others with `items`"
                .to_owned(),
            Self::Nothing => {
                "the vote approves no item; to refuse the whole bundle, vote deny".to_owned()
            }
            Self::TooMany(items) => {
                format!("the vote names more items than the {items} of this bundle; name each once")
            }
            Self::Unknown(intent) => format!(
                "{intent} is no item of this bundle that could be approved; look at it again"
            ),
        }
    }
}
