//! The kill switch: what is frozen at a point of the log, what a freeze does to an intent,
//! and whether a claim may begin.
//!
//! Everything follows from the order of messages in one stream. A decision is void if a
//! freeze that covers it was in force anywhere between the decision and the claim on it:
//! unfreezing revives nothing. Whoever knows every `control.applied` before a claim
//! therefore knows whether it may begin.

mod fate;
mod freezes;
mod gate;
mod order;
mod read;
mod scope;
mod told;
mod view;

pub use fate::{IntentFate, Tally, fate};
pub use freezes::{Again, Effect, Freeze, Freezes, Placed, Void};
pub use gate::{BEGIN_WITHIN, Claim, Stop, may_begin};
pub use order::{InvalidOrder, Order};
pub use read::{Applied, Read, read};
pub use scope::{Target, covers, words};
pub use told::{frozen, stopped};
pub use view::FreezeView;

#[cfg(test)]
mod tests;
