//! Time windows: an approval of a span. While one is open, it lifts asks of one agent for
//! some tools, as often and for as much as its limits say.
//!
//! A [`Window`] is a value, kept by the coordinator under compare-and-set. It remembers
//! each intent that it lifted with its amount, stored before the decision is: taking twice
//! is one use.
//!
//! INVARIANT: a use is given back only when the chain of its intent ended without a run,
//! or was decided by something else than this window. While a decision by this window may
//! still be stored, its use counts.

mod again;
mod fate;
mod format;
mod limits;
mod listed;
mod opening;
#[cfg(test)]
mod tests;
mod window;

pub use fate::UseFate;
pub use limits::{LimitFault, Limits, Total, strictest, window_span};
pub use listed::WindowListed;
pub use opening::{Demand, Opening, Origin, Placed, window_id};
pub use window::{EndCode, Gone, Take, Use, Window, WindowEnd};
