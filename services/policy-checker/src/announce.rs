//! `policy.published.<digest>`: which bundle came into force, by whom. The bucket is
//! changed first and the event follows; a checker that dies between leaves it to the next.

use std::sync::Arc;
use std::time::Duration;

use countersign_runtime::bus::{Append, BusError, Failure, Handler as _, Meta, Outgoing};
use countersign_runtime::policy::shelf::Published;
use countersign_schemas::events::PolicyPublished;
use countersign_schemas::headers::{CE_TYPE, ce_type};
use countersign_schemas::{Address, Stream};
use tokio_util::sync::CancellationToken;

use crate::checker::Checker;

/// The revision of the publication that an event tells of. A bundle may come into force
/// again, so its digest alone does not say which time is meant.
const REVISION: &str = "Countersign-Policy-Revision";

/// How often it is looked whether a publication is not on record yet.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Puts every publication on record that this checker sees, until shutdown.
pub(crate) async fn follow(
    checker: Arc<Checker>,
    shutdown: CancellationToken,
) -> Result<(), BusError> {
    let revision = || checker.policy().now().published().map(|(at, _)| at);
    let mut told = None;
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            _ = every.tick() => {}
        }
        let now = revision();
        if now == told {
            continue;
        }
        match checker.announce().await {
            Ok(()) => told = now,
            Err(failure) => tracing::warn!(%failure, "a publication is not on record yet"),
        }
    }
}

impl Checker {
    /// Stores the event of the publication in force, once, whoever else does the same.
    pub(crate) async fn announce(&self) -> Result<(), Failure> {
        let now = self.policy().now();
        let Some((revision, published)) = now.published() else {
            return Ok(());
        };
        let token = published.digest.hex().parse();
        let token = token.map_err(|_| Failure::poison("a digest is no token"))?;
        let address = Address::PolicyPublished { digest: token };
        let subject = address.subject().as_str().to_owned();
        let last = self.bus().last_by_subject(Stream::Events, &subject).await?;
        let told = last.as_ref().and_then(|last| {
            let ours = last.header(CE_TYPE) == Some(ce_type::<PolicyPublished>().as_str());
            let revision = last.header(REVISION)?.parse::<u64>().ok()?;
            ours.then_some(revision)
        });
        if told.is_some_and(|told| told >= revision) {
            return Ok(());
        }
        let message = event(&address, published, revision, &self.meta())?;
        let expected = last.map_or(0, |last| last.seq);
        match self.bus().append(message, &subject, expected).await? {
            Append::Stored(_) => Ok(()),
            Append::Lost(_) => Err(Failure::transient("somebody else tells of a publication")),
        }
    }
}

fn event(
    address: &Address,
    published: &Published,
    revision: u64,
    meta: &Meta,
) -> Result<Outgoing, Failure> {
    let event = PolicyPublished {
        schema_version: 1,
        policy_digest: published.digest,
        previous: published.previous,
        operator: Some(published.operator.clone()),
    };
    let mut message = Outgoing::event(address, &event, meta)?;
    message.set(REVISION, &revision.to_string());
    Ok(message)
}
