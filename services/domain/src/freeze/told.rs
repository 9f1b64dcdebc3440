//! What is said of an intent that a freeze stops. Agents read it, so it names neither the
//! operator nor the reason: those are for people.

use countersign_schemas::events::{BlockedCode, Need, PolicyChecked};

use super::freezes::Void;
use super::scope::words;
use crate::decision::{Decision, blocked};

/// Why an intent does not run, one sentence.
#[must_use]
pub fn stopped(void: &Void) -> String {
    match void {
        Void::InForce(freeze) => format!(
            "An operator froze {} at {}, and nothing that this covers runs until it is released.",
            words(&freeze.scope),
            freeze.since
        ),
        Void::Meanwhile(scope) => format!(
            "An operator froze {} after this was decided; that is released, but a decision \
             from before does not come back.",
            words(scope)
        ),
        Void::Forgotten => "An operator froze something after this was decided, and what it \
                            covered is no longer known, so it counts as covered."
            .to_owned(),
        Void::Blind => "An operator's freeze cannot be read by this version, so it counts as \
                        one of everything."
            .to_owned(),
    }
}

/// The decision not to run what a freeze covers.
#[must_use]
pub fn frozen(checked: &PolicyChecked, void: &Void) -> Decision {
    let mut decision = blocked(checked, BlockedCode::Frozen, &stopped(void));
    if let Decision::Blocked(blocked) = &mut decision {
        blocked.needs = vec![Need {
            code: "unfreeze".to_owned(),
            message: "An operator must release the freeze; then ask again as a new intent."
                .to_owned(),
        }];
    }
    decision
}
