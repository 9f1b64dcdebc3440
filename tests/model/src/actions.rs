//! What can happen next.

use crate::state::Input;

/// How a step that touches the server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Well,
    /// It is stored, and the service does not hear of it: it gives its message back.
    LostAck,
    /// The server refuses it for a rival that then fails, or for nothing: on R3 a write may
    /// meet another one that is in flight.
    InFlight,
    /// A read from a leader that is none any more: the value before the last.
    Stale,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Somebody sends a message: a voter, the agent, the scheduler.
    Send(u8),
    /// A message is delivered to a coordinator that has nothing in hand.
    Deliver(u8),
    /// The same, to one that has not heard yet of the orders in the log.
    DeliverBehind(u8),
    /// A coordinator that has nothing in hand carries out the freeze with this sequence.
    CarryOut(u8),
    /// A decision is delivered to the executor, which finds this request for it.
    Execute(u8, Input),
    /// A coordinator takes its next step.
    Coordinate(u8, Ending),
    /// The executor takes its next step.
    Proceed(Ending),
    /// A coordinator that has nothing in hand looks at an intent whose time is over.
    Sweep(u8),
    /// A coordinator that has nothing in hand looks at the window's end and uses.
    Tend,
    /// A coordinator dies and starts again.
    KillCoordinator(u8),
    /// The executor dies and starts again.
    KillExecutor,
    /// A message that somebody has or had in hand is delivered again.
    Redeliver(u8),
    /// Time passes, beyond every deadline that is set.
    Tick,
}
