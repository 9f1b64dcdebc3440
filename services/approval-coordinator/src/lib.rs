//! The approval coordinator: turns verdicts into decisions.
//!
//! - an allowed intent is approved at once, with a permit, by one compare-and-set publish
//!   and nothing else: no read and no key-value write lie on that path;
//! - an intent that asks for people becomes an approval in the bucket `CS_APPROVALS`; a
//!   transition is stored there before any event tells of it, and whatever follows is
//!   stored again by a redelivery or at the next start;
//! - the items of a bundle are gathered there too; what of it may run is approved in one
//!   batch, once everything is checked and, where anything of it asks, people have decided;
//! - deadlines are scheduled messages, and a firing is only a trigger;
//! - the sweep sees to it that every approved intent ends: revoked when nobody claimed it,
//!   `unknown` when its claim ended without an outcome.
//!
//! Several coordinators may run at once: every write is a compare-and-set, and the loser
//! reads what stands there and goes on from it.

mod asking;
mod bundles;
mod control;
mod counters;
mod deadlines;
mod deciding;
mod freezes;
mod freezing;
mod identities;
mod kept;
mod names;
mod office;
mod pending;
mod reconciling;
mod rejudging;
mod settings;
mod settling;
mod sweep;
mod together;
mod verdicts;
mod view;
mod voiding;
mod votes;
mod windows;
mod withdrawals;

use std::sync::Arc;

use countersign_runtime::bus::layout::{
    COORDINATOR_CONTROL, COORDINATOR_EVENTS, COORDINATOR_INTENTS, COORDINATOR_ORDERS,
    COORDINATOR_TIMERS, Durable,
};
use countersign_runtime::bus::{BusError, ConsumeLimits, Handler, consume};
use countersign_runtime::service::{ServiceContext, ServiceError};
use countersign_schemas::Stream;

use control::Control;
use deadlines::Deadlines;
use office::Office;
use tokio::task::JoinSet;
use verdicts::Verdicts;
use withdrawals::Withdrawals;

pub use settings::{Companies, Company, Equipment, Settings};

/// The service's name: its credential, its durable consumers and its source in events.
pub const NAME: &str = "approval-coordinator";

/// Runs a coordinator until shutdown.
///
/// # Errors
/// When a key cannot be read, the server cannot be reached at the start, or something
/// fails that a restart could mend.
pub async fn run(context: ServiceContext, settings: Settings) -> Result<(), ServiceError> {
    let equipment = Equipment::read(&settings, &context).await?;
    run_with(context, equipment).await
}

/// Runs a coordinator with what was read before.
///
/// # Errors
/// As [`run`].
pub async fn run_with(context: ServiceContext, equipment: Equipment) -> Result<(), ServiceError> {
    counters::describe();
    let limits = equipment.limits;
    // It signs permits and ends what is out of time.
    context.watch_clock().await;
    context.watch_fullness(&Stream::ALL);
    let office = Arc::new(Office::new(context, equipment)?);
    let mut parts = JoinSet::new();
    let handle = Arc::clone;
    spawn_loop(
        &mut parts,
        &office,
        COORDINATOR_EVENTS,
        Verdicts(handle(&office)),
        limits,
    );
    spawn_loop(
        &mut parts,
        &office,
        COORDINATOR_CONTROL,
        Control(handle(&office)),
        limits,
    );
    spawn_loop(
        &mut parts,
        &office,
        COORDINATOR_ORDERS,
        Control(handle(&office)),
        limits,
    );
    spawn_loop(
        &mut parts,
        &office,
        COORDINATOR_INTENTS,
        Withdrawals(handle(&office)),
        limits,
    );
    spawn_loop(
        &mut parts,
        &office,
        COORDINATOR_TIMERS,
        Deadlines(handle(&office)),
        limits,
    );
    parts.spawn(freezes::follow(handle(&office)));
    parts.spawn(pending::follow(handle(&office)));
    parts.spawn(deadlines::watch(handle(&office)));
    parts.spawn(sweep::run(handle(&office)));
    parts.spawn(windows::follow(handle(&office)));
    parts.spawn(windows::tend(handle(&office)));
    parts.spawn(view::serve(handle(&office)));
    parts.spawn(identities::serve(handle(&office)));
    parts.spawn(voiding::follow(handle(&office)));
    until_all_ended(parts, &office).await
}

/// One task for each consumer, so that they do not share one core.
fn spawn_loop<H: Handler>(
    parts: &mut JoinSet<Result<(), BusError>>,
    office: &Arc<Office>,
    durable: Durable,
    handler: H,
    limits: ConsumeLimits,
) {
    let (bus, shutdown) = (office.bus.clone(), office.shutdown.clone());
    let handler = Arc::new(handler);
    parts.spawn(async move { consume(&bus, durable, handler, limits, shutdown).await });
}

/// Waits for every part. One that fails stops the others, which finish what they have.
async fn until_all_ended(
    mut parts: JoinSet<Result<(), BusError>>,
    office: &Office,
) -> Result<(), ServiceError> {
    let mut ended = Ok(());
    while let Some(part) = parts.join_next().await {
        let part = part
            .map_err(ServiceError::failed)
            .and_then(|done| done.map_err(ServiceError::from));
        if part.is_err() {
            office.shutdown.cancel();
            ended = ended.and(part);
        }
    }
    ended
}
