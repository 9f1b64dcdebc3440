//! Runs what was approved: exactly once, exactly that input, and never without a permit.
//!
//! One approved intent goes through these files, in order: `handler` takes it from the
//! stream, `examine` checks the permit against the stored input, `handler` stores the one
//! claim (`tool.started`), `fence` lets it begin if no freeze lies before it, `run` calls the worker through `call`, `outcome` says how it
//! ended without leaking, and `report` stores that (`tool.completed`) by way of `spool`.
//!
//! A crash before the claim is stored repeats the work, one after it leaves an outcome
//! that the coordinator's sweep calls `unknown`: the tool never runs twice.

mod call;
mod chain;
mod examine;
mod fence;
mod handler;
mod keys;
mod metrics;
mod outcome;
mod output;
mod recheck;
mod report;
mod run;
mod settings;
mod spool;
mod words;

use std::sync::Arc;

use countersign_runtime::bus::{ConsumeLimits, consume, layout};
use countersign_runtime::policy::Policy;
use countersign_runtime::service::{EXECUTOR_GRACE, ServiceContext, ServiceError};

pub use settings::Settings;

use handler::{Decisions, Executor};
use tokio_util::task::AbortOnDropHandle;

/// The service's name: of its credential, its durable consumer and its binary.
pub const NAME: &str = "tool-executor";

/// Runs approved intents until `context.shutdown`, then finishes the calls that run.
///
/// # Errors
/// When the spool is in use, the consumer cannot be opened or a fault is fatal.
pub async fn run(context: ServiceContext, mut settings: Settings) -> Result<(), ServiceError> {
    metrics::describe();
    let limits = ConsumeLimits {
        in_flight_max: settings.max_running,
    };
    let bus = context.bus.clone();
    let shutdown = context.shutdown.clone();
    context.watch_clock().await;
    let part = context.health.part("runs");
    let policy = policy(&context, &mut settings).await?;
    let fence_part = context.health.part("fence");
    let executor = Arc::new(Executor::new(context, settings, policy)?);
    executor.replay_spool().await?;
    // It outlives the shutdown: what is claimed by then still passes it.
    let fence = fence::follow(executor.fence(), bus.clone(), fence_part);
    let fence = AbortOnDropHandle::new(tokio::spawn(fence));
    part.ready();
    let handler = Arc::new(Decisions(Arc::clone(&executor)));
    let ended = consume(&bus, layout::EXECUTOR_EVENTS, handler, limits, shutdown).await;
    part.failing("stopping");
    // After a fault nobody else bounds the wait for calls that still run.
    let finished = tokio::time::timeout(EXECUTOR_GRACE, executor.finish()).await;
    drop(fence);
    if finished.is_err() {
        return Err(ServiceError::DrainTimeout(EXECUTOR_GRACE));
    }
    Ok(ended?)
}

/// Follows the bundle in force. Where none was published, that of the folder must be sound:
/// without any there is nothing to run by.
async fn policy(context: &ServiceContext, settings: &mut Settings) -> Result<Policy, ServiceError> {
    let folder = std::mem::replace(&mut settings.folder, Err("it is in force".to_owned()));
    let fault = folder.as_ref().err().cloned();
    let policy = Policy::start(context, folder).await;
    let now = policy.now();
    match (fault, now.published(), now.bundle()) {
        (Some(why), None, Err(_)) => Err(ServiceError::configured(format!(
            "no policy bundle can be used: {why}"
        ))),
        _ => Ok(policy),
    }
}

#[cfg(test)]
#[path = "../tests/fixture/mod.rs"]
mod fixture;
