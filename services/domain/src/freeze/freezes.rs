//! What is frozen, as a fold over `control.applied` in the order of the log.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_schemas::events::{ControlApplied, FreezeScope};
use countersign_schemas::{Address, PersonId, SeqToken, Timestamp};

use super::read::{Applied, Read};
use super::scope::{Target, covers};

/// Scopes that are remembered after their release, for decisions that are older. A release
/// that is forgotten voids every decision before it, so forgetting never lets anything run.
const RELEASED_MAX: usize = 1_000;

/// A freeze in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// What it covers.
    pub scope: FreezeScope,
    /// The order behind it; the last one where the same scope was frozen again.
    pub order: SeqToken,
    /// Who gave that order.
    pub operator: PersonId,
    /// Why.
    pub reason: String,
    /// When the scope was first frozen.
    pub since: Timestamp,
    stored_at: Timestamp,
    times: u64,
}

/// A message on `control.applied.>` at its place in the log.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// Its sequence in the log.
    pub seq: u64,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// What it is.
    pub read: &'a Read,
}

/// What a message changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Its scope is frozen from here on.
    Frozen,
    /// Its scope was frozen already.
    Still,
    /// Its scope is released.
    Released,
    /// There was nothing to release.
    Nothing,
    /// A later order on the same scope stands in the log already.
    Superseded,
    /// It was taken in before.
    Known,
    /// Nobody can say what it covers, so everything is frozen.
    Blind,
    /// It is none of ours.
    NotOurs,
}

/// Why a decision is void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Void {
    /// This freeze is in force.
    InForce(Box<Freeze>),
    /// This scope was frozen after the decision, and is released.
    Meanwhile(FreezeScope),
    /// The decision is older than what is remembered of releases.
    Forgotten,
    /// There is a freeze that this version cannot read.
    Blind,
}

/// A freeze in force that must be stored again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Again {
    /// Where.
    pub address: Address,
    /// What.
    pub event: ControlApplied,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Standing {
    order: SeqToken,
    freeze: Option<Freeze>,
    /// Where in the log it was last released; 0 if never.
    released: u64,
}

/// What is frozen at one point of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Freezes {
    at: u64,
    scopes: BTreeMap<FreezeScope, Standing>,
    forgotten: u64,
    blind: bool,
}

impl Freezes {
    /// Takes in the next message. Orders on one scope count in the order in which people
    /// gave them, whatever the order in which coordinators answered; a repetition never
    /// brings back what was released.
    pub fn apply(&mut self, placed: &Placed<'_>) -> Effect {
        if placed.seq <= self.at {
            return Effect::Known;
        }
        self.at = placed.seq;
        match placed.read {
            Read::NotOurs => Effect::NotOurs,
            Read::Unreadable => {
                self.blind = true;
                Effect::Blind
            }
            Read::Applied(applied) => self.take(applied, placed),
        }
    }

    fn take(&mut self, applied: &Applied, placed: &Placed<'_>) -> Effect {
        let scope = &applied.event.scope;
        let known = self.scopes.get(scope);
        if known.is_some_and(|known| is_superseded(applied, known)) {
            return Effect::Superseded;
        }
        let before = known.and_then(|known| known.freeze.as_ref());
        let effect = match (applied.event.frozen, before) {
            (true, None) => Effect::Frozen,
            (true, Some(_)) => Effect::Still,
            (false, Some(_)) => Effect::Released,
            (false, None) => Effect::Nothing,
        };
        let released = match effect {
            Effect::Released => placed.seq,
            _ => known.map_or(0, |known| known.released),
        };
        let freeze = applied.event.frozen.then(|| Freeze {
            scope: scope.clone(),
            order: applied.order.clone(),
            operator: applied.event.operator.clone(),
            reason: applied.event.reason.clone(),
            since: before.map_or(applied.event.applied_at, |before| before.since),
            stored_at: placed.stored_at,
            times: applied.again.unwrap_or_default(),
        });
        let standing = Standing {
            order: applied.order.clone(),
            freeze,
            released,
        };
        self.scopes.insert(scope.clone(), standing);
        self.forget();
        effect
    }

    fn forget(&mut self) {
        if self.scopes.len() <= RELEASED_MAX {
            return;
        }
        let over = self.scopes.iter().filter(|(_, one)| one.freeze.is_none());
        let oldest = over.min_by_key(|(_, one)| one.released);
        let oldest = oldest.map(|(scope, one)| (scope.clone(), one.released));
        if let Some((scope, released)) = oldest {
            self.scopes.remove(&scope);
            self.forgotten = self.forgotten.max(released);
        }
    }

    /// The sequence of the last message taken in; 0 for none.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Every freeze in force, in the order of their scopes.
    pub fn in_force(&self) -> impl Iterator<Item = &Freeze> {
        self.scopes
            .values()
            .filter_map(|standing| standing.freeze.as_ref())
    }

    /// Whether exactly this scope is frozen.
    #[must_use]
    pub fn holds(&self, scope: &FreezeScope) -> bool {
        let standing = self.scopes.get(scope);
        standing.is_some_and(|standing| standing.freeze.is_some())
    }

    /// Whether a freeze of `scope` may be added where `most` may be in force. One that is there
    /// takes no room, and everything can always be frozen.
    #[must_use]
    pub fn takes(&self, scope: &FreezeScope, most: usize) -> bool {
        *scope == FreezeScope::default() || self.holds(scope) || self.in_force().count() < most
    }

    /// The freeze in force that covers an intent; the oldest where there are several.
    #[must_use]
    pub fn covers(&self, target: &Target<'_>) -> Option<Void> {
        if self.blind {
            return Some(Void::Blind);
        }
        let covering = self.in_force().filter(|one| covers(&one.scope, target));
        let oldest = covering.min_by_key(|freeze| freeze.since);
        oldest.map(|freeze| Void::InForce(Box::new(freeze.clone())))
    }

    /// Why a decision stored at `decided` may not run any more: a freeze that covers it is
    /// in force, or was at any time since.
    #[must_use]
    pub fn voids(&self, target: &Target<'_>, decided: u64) -> Option<Void> {
        self.covers(target)
            .or_else(|| (decided < self.forgotten).then_some(Void::Forgotten))
            .or_else(|| {
                let mut scopes = self.scopes.iter();
                let since =
                    scopes.find(|(scope, one)| one.released > decided && covers(scope, target));
                since.map(|(scope, _)| Void::Meanwhile(scope.clone()))
            })
    }

    /// The freezes in force that were last stored `every` or longer before `now`: they are
    /// stored again, so that whoever starts later finds them although the first one is gone.
    #[must_use]
    pub fn due(&self, now: Timestamp, every: Duration) -> Vec<Again> {
        let old = |freeze: &&Freeze| freeze.stored_at.plus(every) <= now;
        let again = |freeze: &Freeze| Again {
            address: Address::ControlReapplied {
                seq: freeze.order.clone(),
                n: freeze.times.saturating_add(1),
            },
            event: ControlApplied {
                schema_version: 1,
                frozen: true,
                scope: freeze.scope.clone(),
                operator: freeze.operator.clone(),
                reason: freeze.reason.clone(),
                applied_at: freeze.since,
            },
        };
        self.in_force().filter(old).map(again).collect()
    }
}

/// Whether a later order on the same scope is known. Sequences of another life of the
/// stream of orders say nothing; then the later place in the log counts.
fn is_superseded(applied: &Applied, known: &Standing) -> bool {
    if applied.again.is_some() {
        return applied.order != known.order || known.freeze.is_none();
    }
    applied.order.incarnation == known.order.incarnation && applied.order.seq < known.order.seq
}
