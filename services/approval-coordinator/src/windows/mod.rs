//! Time windows: an ask that an open one lifts is decided at once.
//!
//! A use is stored in the bucket `CS_WINDOWS` before the decision is, so that many agents
//! and several coordinators use a window exactly as often as its limits say. What becomes
//! of a use is read from the chain of its intent, whoever died meanwhile.

mod asked;
mod book;
mod feed;
mod index;
mod lifting;
mod winding;

pub(crate) use feed::follow;
pub(crate) use index::Windows;
pub(crate) use winding::tend;

/// The kind of our timers.
pub(crate) const TIMER_KIND: &str = "window";

/// Open windows of one agent: people must be able to see what it may do.
pub(crate) const PER_AGENT_MAX: usize = 100;
