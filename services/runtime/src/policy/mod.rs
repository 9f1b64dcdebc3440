//! The policy bundle in force, and how a running service follows a change of it.
//!
//! A bundle that was published lies in the bucket `CS_POLICY` ([`shelf`]); where none ever
//! was, the one in the configured folder counts. Every service that needs the bundle holds
//! a [`Policy`], takes one [`InForce`] from it for each piece of work and keeps that to its
//! end, so that no piece of work sees two bundles.
//!
//! The leader is asked every half second. A watch would tell sooner, but one that hangs
//! tells nothing, and a bundle that is replaced in time only on good days is no control.

pub mod metrics;
pub mod shelf;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use countersign_domain::policy::{Bundle, unpack};
use countersign_schemas::Digest;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::files;
use crate::health::HealthPart;
use crate::service::ServiceContext;
use shelf::{Published, Shelf, ShelfError};

/// How often the leader is asked which bundle is in force: with the time to load it, a
/// change arrives everywhere within a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a bundle serves on while it is not known to be the published one: the leader
/// does not answer, or what it names cannot be read or loaded. A few tries, each of which
/// may meet a server that restarts.
const OUTDATED_MAX: Duration = Duration::from_secs(15);
/// Pause before a published bundle that could not be used is tried again: it may have been
/// the server, and loading a large bundle costs.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// The bundle that one piece of work goes by.
#[derive(Debug)]
pub struct InForce {
    bundle: Result<Arc<Bundle>, String>,
    published: Option<(u64, Published)>,
}

impl InForce {
    /// The bundle.
    ///
    /// # Errors
    /// Why there is none, in words that people are shown.
    pub fn bundle(&self) -> Result<&Bundle, &str> {
        self.bundle.as_deref().map_err(String::as_str)
    }

    /// Which publication this is, with its revision; `None` for the configured folder.
    #[must_use]
    pub fn published(&self) -> Option<(u64, &Published)> {
        self.published.as_ref().map(|(at, which)| (*at, which))
    }

    /// Whether this is that publication. A revision alone is not enough: in a bucket that
    /// was made anew they begin again.
    fn is(&self, revision: u64, published: &Published) -> bool {
        self.published() == Some((revision, published))
    }
}

/// The bundle in force here is not known to be the published one: whoever needs to know
/// takes no answer from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Behind {
    /// The leader does not answer.
    #[error("it cannot be asked which policy bundle is published")]
    Unasked,
    /// It names a bundle that cannot be loaded here, or nothing that can be read: it may
    /// have been written by a newer release.
    #[error("the published policy bundle cannot be used yet")]
    Unusable,
}

/// Follows the bundle in force. Clones share one state.
#[derive(Clone)]
pub struct Policy(Arc<Inner>);

struct Inner {
    shelf: Shelf,
    held: RwLock<Arc<InForce>>,
    looking: Mutex<Looking>,
    part: HealthPart,
}

/// What only the one who looks needs.
struct Looking {
    /// The bundle of the folder, until it is known whether it counts.
    folder: Option<Result<Bundle, String>>,
    /// A publication that cannot be used, and when it is tried again.
    refused: Option<(u64, Digest, Instant)>,
    /// Since when the one in force is not known to be the published one.
    behind: Option<Instant>,
    /// What was in force until that had lasted too long. It is taken up again if it turns
    /// out to be the published one after all.
    aside: Option<Arc<InForce>>,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Policy").field(&self.now()).finish()
    }
}

/// The bundle of the configured folder, or why there is none, in words that people are
/// shown: the log has the rest.
///
/// # Errors
/// See above.
pub fn folder(dir: &Path) -> Result<Bundle, String> {
    let found = files::policy_bundle(dir).map_err(|error| {
        tracing::error!(%error, "cannot read the policy bundle");
        "its folder cannot be read".to_owned()
    })?;
    Bundle::from_files(&found).map_err(|errors| {
        tracing::error!(%errors, "the policy bundle is broken");
        format!(
            "it has {} problem(s); `countersign policy check` lists them",
            errors.problems().len()
        )
    })
}

impl Policy {
    /// Takes the published bundle, or `folder` where none was ever published, and follows
    /// every change until shutdown.
    ///
    /// Where it cannot be told what is published, there is no bundle: the folder may hold
    /// what a publication took out of force.
    pub async fn start(context: &ServiceContext, folder: Result<Bundle, String>) -> Self {
        metrics::describe();
        let unknown = InForce {
            bundle: Err("it cannot be told which one is published".to_owned()),
            published: None,
        };
        let policy = Self(Arc::new(Inner {
            shelf: Shelf::new(&context.bus),
            held: RwLock::new(Arc::new(unknown)),
            looking: Mutex::new(Looking {
                folder: Some(folder),
                refused: None,
                behind: None,
                aside: None,
            }),
            part: context.health.part("policy"),
        }));
        // Whatever goes wrong is in the health, and is tried again.
        drop(policy.refresh().await);
        tokio::spawn(policy.clone().follow(context.shutdown.clone()));
        policy
    }

    /// The bundle in force now. Take it once for each piece of work.
    #[must_use]
    pub fn now(&self) -> Arc<InForce> {
        // The value is whole after every statement, so a panic elsewhere cannot tear it.
        let held = self.0.held.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&held)
    }

    /// As [`Self::now`], but where there is none it is looked once more: after an outage the
    /// last one may only be set aside until the next look.
    ///
    /// # Errors
    /// As [`Self::refresh`].
    pub async fn wanted(&self) -> Result<Arc<InForce>, Behind> {
        let now = self.now();
        match now.bundle() {
            Ok(_) => Ok(now),
            Err(_) => self.refresh().await,
        }
    }

    /// Where bundles are kept.
    #[must_use]
    pub fn shelf(&self) -> &Shelf {
        &self.0.shelf
    }

    /// Asks the leader which bundle is in force, loads it if it is another one, and gives
    /// the one in force then. Whatever goes wrong leaves the old one in force for a moment,
    /// and then none.
    ///
    /// # Errors
    /// When the one in force is not known to be the published one.
    pub async fn refresh(&self) -> Result<Arc<InForce>, Behind> {
        let mut looking = self.0.looking.lock().await;
        let looked = match self.0.shelf.current().await {
            Ok(Some((revision, published))) => self.meet(revision, published, &mut looking).await,
            Ok(None) => {
                self.none_published(&mut looking);
                Ok(())
            }
            Err(error) => {
                tracing::debug!(%error, "cannot ask which policy bundle is in force");
                metrics::look_failed();
                Err(match error {
                    ShelfError::Unreadable => Behind::Unusable,
                    _ => Behind::Unasked,
                })
            }
        };
        match looked {
            Ok(()) => looking.behind = None,
            Err(behind) => self.doubt(behind, &mut looking),
        }
        looked.map(|()| self.now())
    }

    /// Nothing was ever published, so the folder counts; unless something was in force.
    fn none_published(&self, looking: &mut Looking) {
        self.take_up(looking.aside.take());
        if self.now().published.is_some() {
            return self
                .failing("the published policy bundle is gone; the last one stays in force");
        }
        if let Some(folder) = looking.folder.take() {
            self.put(folder.map(Arc::new), None);
        }
        match self.now().bundle() {
            Ok(_) => self.0.part.ready(),
            Err(why) => self.failing(&format!("no policy bundle is in force: {why}")),
        }
    }

    /// Loads what is published, unless it is in force already or was tried just now.
    async fn meet(
        &self,
        revision: u64,
        published: Published,
        looking: &mut Looking,
    ) -> Result<(), Behind> {
        let last = looking.aside.clone().unwrap_or_else(|| self.now());
        if last.is(revision, &published) {
            self.take_up(looking.aside.take());
            self.0.part.ready();
            return Ok(());
        }
        let digest = published.digest;
        let refused = looking.refused.filter(|(at, which, until)| {
            (*at, *which) == (revision, digest) && Instant::now() < *until
        });
        if refused.is_some() {
            return Err(Behind::Unusable);
        }
        match self.load(&published, &last).await {
            Ok(bundle) => {
                (looking.folder, looking.refused, looking.aside) = (None, None, None);
                self.put(Ok(bundle), Some((revision, published)));
                metrics::swapped("done");
                Ok(())
            }
            Err(error) => {
                looking.refused = Some((revision, digest, Instant::now() + RETRY_EVERY));
                metrics::swapped("refused");
                tracing::error!(policy = %digest, %error, "the published policy bundle cannot be used");
                Err(Behind::Unusable)
            }
        }
    }

    /// The one in force is not known to be the published one. It serves for a moment, so
    /// that a lost answer stops nobody, and no longer: it may allow what was taken away.
    fn doubt(&self, behind: Behind, looking: &mut Looking) {
        let since = *looking.behind.get_or_insert_with(Instant::now);
        if since.elapsed() < OUTDATED_MAX {
            return self.failing(&behind.to_string());
        }
        self.failing(&format!("{behind}, and the last one is outdated"));
        let held = self.now();
        if held.bundle().is_ok() {
            looking.aside = Some(held);
            self.put(Err(behind.to_string()), None);
        }
    }

    /// Puts back in force what was set aside.
    fn take_up(&self, aside: Option<Arc<InForce>>) {
        if let Some(aside) = aside {
            self.hold(aside);
        }
    }

    /// Reads a bundle from the bucket and checks it as if it came from a stranger.
    async fn load(&self, published: &Published, last: &InForce) -> Result<Arc<Bundle>, ShelfError> {
        if let Ok(bundle) = &last.bundle
            && bundle.digest() == published.digest
        {
            return Ok(Arc::clone(bundle));
        }
        let packed = self.0.shelf.packed(published).await?;
        let digest = published.digest;
        let read = tokio::task::spawn_blocking(move || checked(&packed, digest)).await;
        read.unwrap_or(Err(ShelfError::Broken)).map(Arc::new)
    }

    fn put(&self, bundle: Result<Arc<Bundle>, String>, published: Option<(u64, Published)>) {
        let next = Arc::new(InForce { bundle, published });
        self.hold(Arc::clone(&next));
        // Said once it is so: whoever hears it counts on it.
        match next.bundle() {
            Ok(bundle) => {
                let revision = next.published().map(|(revision, _)| revision);
                tracing::info!(policy = %bundle.digest(), rules = bundle.policies(), revision, "policy bundle in force");
                self.0.part.ready();
            }
            Err(why) => tracing::error!(%why, "no policy bundle in force"),
        }
    }

    fn hold(&self, next: Arc<InForce>) {
        *self.0.held.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    fn failing(&self, why: &str) {
        self.0.part.failing(why);
    }

    async fn follow(self, shutdown: CancellationToken) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                _ = every.tick() => drop(self.refresh().await),
            }
        }
    }
}

fn checked(packed: &[u8], digest: Digest) -> Result<Bundle, ShelfError> {
    let files = unpack(packed).map_err(|_| ShelfError::Broken)?;
    let bundle = Bundle::from_files(&files).map_err(|errors| {
        tracing::error!(%errors, "the published policy bundle is broken");
        ShelfError::Broken
    })?;
    match bundle.digest() == digest {
        true => Ok(bundle),
        false => Err(ShelfError::Broken),
    }
}
