//! The steps of the kill switch.

use countersign_domain::freeze::{self, BEGIN_WITHIN, Claim, Freezes, Placed, Stop, Target};
use countersign_schemas::events::{ControlApplied, FreezeScope};
use countersign_schemas::{Address, SeqToken};

use super::{Followed, Steps, Write};
use crate::fixtures::at;
use crate::state::{Orders, Said};

impl Steps {
    /// `Freezes::covers`, and the course of a verdict where nothing covers it.
    pub(crate) fn course_under(&self, intent: u8, now: u8, orders: Orders) -> Followed {
        let said = self.frozen.of((orders, intent), || {
            let checked = &self.checked[usize::from(intent)];
            let void = self.freezes(orders).covers(&Target::from(checked))?;
            Some(self.decision_said(&freeze::frozen(checked, &void)))
        });
        said.map_or_else(|| self.course(intent, now), Followed::Decide)
    }

    /// `freeze::may_begin`: what is stored instead of a run, if it may not.
    pub(crate) fn may_begin(
        &self,
        orders: Orders,
        intent: u8,
        decided: u8,
        late: bool,
    ) -> Option<Write> {
        self.begins.of((orders, intent, decided, late), || {
            let claim = Claim {
                target: Target::from(&self.checked[usize::from(intent)]),
                decided: u64::from(decided),
            };
            let waited = match late {
                true => BEGIN_WITHIN,
                false => std::time::Duration::ZERO,
            };
            match freeze::may_begin(&self.freezes(orders), &claim, waited) {
                Ok(()) => None,
                Err(Stop::Frozen(_)) => Some(Write::Frozen),
                Err(Stop::TooLate) => Some(Write::NotBegun),
            }
        })
    }

    /// `freeze::fate` of the head of a chain.
    pub(crate) fn is_revoked_by_a_freeze(&self, said: Said, intent: u8) -> bool {
        self.stopped.of(said.body(), || {
            let head = self.read(said.body(), intent);
            matches!(freeze::fate(head), freeze::IntentFate::Revoke(..))
        })
    }

    /// `control.applied` of the operator's order.
    pub(crate) fn order(&self, frozen: bool) -> Said {
        let incarnation = "abc".parse().expect("an incarnation");
        let address = Address::ControlApplied {
            seq: SeqToken::new(incarnation, if frozen { 1 } else { 2 }),
        };
        let event = ControlApplied {
            schema_version: 1,
            frozen,
            scope: FreezeScope::default(),
            operator: "kim".parse().expect("a person"),
            reason: "something is wrong".to_owned(),
            applied_at: at(0),
        };
        let body = self.store_at(&event, address.subject().as_str());
        match frozen {
            true => Said::Frozen(body),
            false => Said::Released(body),
        }
    }

    /// `Freezes::apply` of every order, as it is read from the log.
    fn freezes(&self, orders: Orders) -> Freezes {
        let mut freezes = Freezes::default();
        for (seq, body) in orders.into_iter().flatten() {
            let stored = self.bodies.get(body);
            let read = freeze::read(&stored.last(u64::from(seq)));
            freezes.apply(&Placed {
                seq: u64::from(seq),
                stored_at: at(0),
                read: &read,
            });
        }
        freezes
    }
}
