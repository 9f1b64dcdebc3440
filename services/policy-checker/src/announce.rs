//! `policy.published.<digest>`: which bundle came into force, by whom. The bucket is
//! changed first and the event follows; a checker that dies between leaves it to the next.
//!
//! INVARIANT: nobody replaces a publication before it is on record: what a push expects to
//! find in the bucket is what [`Checker::announce`] gave it, and that is on record. What
//! is told is what the bucket says, also where this checker cannot load that bundle.

use std::sync::Arc;
use std::time::Duration;

use countersign_runtime::bus::{
    Append, BusError, Failure, Handler as _, Meta, Outgoing, StoredMessage,
};
use countersign_runtime::policy::shelf::{Published, ShelfError};
use countersign_schemas::events::PolicyPublished;
use countersign_schemas::headers::{CE_TYPE, ce_type};
use countersign_schemas::{Address, Incarnation, Stream};
use tokio_util::sync::CancellationToken;

use crate::checker::Checker;

/// The publication that an event tells of, `<incarnation of the bucket>.<revision>`. A
/// bundle may come into force again, so its digest alone does not say which time is meant,
/// and a bucket that was made anew counts from 1 again.
const REVISION: &str = "Countersign-Policy-Revision";

/// How often it is looked whether a publication is not on record yet.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Puts every publication on record that this checker sees, until shutdown.
pub(crate) async fn follow(
    checker: Arc<Checker>,
    shutdown: CancellationToken,
) -> Result<(), BusError> {
    let mut told = None;
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            _ = every.tick() => {}
        }
        let current = checker.policy().shelf().current().await;
        let now = current.map(|found| found.map(|(revision, _)| revision));
        match now {
            Ok(now) if now == told => {}
            Ok(_) => match checker.announce().await {
                Ok(found) => told = found.map(|(revision, _)| revision),
                Err(failure) => tracing::warn!(%failure, "a publication is not on record yet"),
            },
            Err(error) => tracing::debug!(%error, "it cannot be told what is published"),
        }
    }
}

impl Checker {
    /// Stores the event of the publication in force, once, whoever else does the same, and
    /// gives that publication with its revision.
    pub(crate) async fn announce(&self) -> Result<Option<(u64, Published)>, Failure> {
        let shelf = self.policy().shelf();
        let unread = |error: ShelfError| Failure::transient(error.to_string());
        let Some((revision, published)) = shelf.current().await.map_err(unread)? else {
            return Ok(None);
        };
        let life = shelf.incarnation().await.map_err(unread)?;
        let token = published.digest.hex().parse();
        let token = token.map_err(|_| Failure::poison("a digest is no token"))?;
        let address = Address::PolicyPublished { digest: token };
        let subject = address.subject().as_str().to_owned();
        let last = self.bus().last_by_subject(Stream::Events, &subject).await?;
        let told = last.as_ref().and_then(|last| told_of(last, &life));
        if told.is_some_and(|told| told >= revision) {
            return Ok(Some((revision, published)));
        }
        let mut message = event(&address, &published, &self.meta())?;
        message.set(REVISION, &format!("{life}.{revision}"));
        let expected = last.map_or(0, |last| last.seq);
        match self.bus().append(message, &subject, expected).await? {
            Append::Stored(_) => Ok(Some((revision, published))),
            Append::Lost(_) => Err(Failure::transient("somebody else tells of a publication")),
        }
    }
}

/// The revision that an event of ours tells of, in this life of the bucket.
fn told_of(event: &StoredMessage, life: &Incarnation) -> Option<u64> {
    let ours = event.header(CE_TYPE) == Some(ce_type::<PolicyPublished>().as_str());
    let (of, revision) = event.header(REVISION)?.split_once('.')?;
    let revision = revision.parse().ok()?;
    (ours && of == life.as_str()).then_some(revision)
}

fn event(address: &Address, published: &Published, meta: &Meta) -> Result<Outgoing, Failure> {
    let event = PolicyPublished {
        schema_version: 1,
        policy_digest: published.digest,
        previous: published.previous,
        operator: Some(published.operator.clone()),
    };
    Outgoing::event(address, &event, meta)
}
