//! Whose mandates count, with their keys: read at the start, read again now and then, and
//! once more for a key that nobody knows yet. Whoever forges key ids gains nothing by it:
//! an issuer is asked once in a while, and few intents wait for its answer, not for long.
//!
//! An issuer whose keys cannot be had proves nothing: its mandates are refused until they
//! are there again.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use countersign_domain::mandate::{Issuer, IssuerKeys, Issuers, JWKS_BYTES_MAX};
use countersign_runtime::config::{MandateIssuer, Mandates};
use countersign_runtime::service::ServiceError;
use futures::future::join_all;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// How long one reading of keys may take.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How often at most an unknown key makes an issuer be asked again: whoever makes up key
/// ids must not be able to flood it.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How long an intent waits for a reading: a key that was just made is worth a moment, and
/// an intent of a slow issuer keeps its place from others meanwhile.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Intents that wait for a reading at once: the places of a checker are for everybody, and
/// agents choose the key ids that they send.
const WAITING_MAX: usize = 16;
/// How long keys count that cannot be read again: an issuer may restart, but a key that it
/// has withdrawn must not live on because its address is cut off.
const KEPT_FOR_MAX: Duration = Duration::from_secs(60 * 60);

/// Where an issuer publishes its keys.
#[derive(Debug)]
enum Place {
    File(PathBuf),
    Url(String, reqwest::Client),
}

#[derive(Debug)]
struct Source {
    name: String,
    place: Place,
    times: Mutex<Times>,
}

/// When keys were last asked for, and last had.
#[derive(Debug, Default)]
struct Times {
    asked: Option<Instant>,
    had: Option<Instant>,
}

/// The issuers of mandates and the keys that they publish.
#[derive(Debug)]
pub struct Keeper {
    sources: Vec<Source>,
    issuers: RwLock<Arc<Issuers>>,
    every: Duration,
    kept_for: Duration,
    seats: Arc<Semaphore>,
}

impl Keeper {
    /// The issuers that the settings name; their keys are yet to be read.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(settings: &Mandates) -> Result<Self, ServiceError> {
        let named = settings.issuers.iter();
        let sources = named.clone().map(|(name, issuer)| {
            Ok(Source {
                name: name.clone(),
                place: place(issuer)?,
                times: Mutex::default(),
            })
        });
        let sources = sources.collect::<Result<_, ServiceError>>()?;
        let issuers = named.map(|(_, issuer)| Issuer {
            id: issuer.issuer.clone(),
            audience: issuer.audience.clone(),
            algorithms: issuer.algorithms.clone(),
            keys: None,
        });
        Ok(Self {
            sources,
            issuers: RwLock::new(Arc::new(Issuers::new(issuers.collect()))),
            every: Duration::from_secs(settings.refresh_s),
            kept_for: KEPT_FOR_MAX,
            seats: Arc::new(Semaphore::new(WAITING_MAX)),
        })
    }

    /// Whose mandates count, ready to judge this one: a key of an issuer of ours that is
    /// not known yet is asked for first, for a moment and while few others wait. What does
    /// not come by then is not known.
    pub async fn issuers_for(self: &Arc<Self>, mandate: Option<&str>) -> Arc<Issuers> {
        let known = self.known();
        let lacking = mandate.and_then(|token| known.lacking(token));
        let Some(number) = lacking.filter(|number| *number < self.sources.len()) else {
            return known;
        };
        let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() else {
            return known;
        };
        let keeper = Arc::clone(self);
        // In a task of its own: a reading is not given up because nobody waits any more,
        // and until its end it keeps the seat.
        let reading = tokio::spawn(async move {
            keeper.ask(number, ASK_AGAIN_AFTER).await;
            drop(seat);
        });
        // Whatever came of it, what is known now is what counts.
        timeout(WAIT_MAX, reading).await.ok();
        self.known()
    }

    /// Reads the keys of every issuer, all at once.
    pub async fn read_all(&self) {
        let pause = self.every.min(ASK_AGAIN_AFTER);
        join_all((0..self.sources.len()).map(|number| self.ask(number, pause))).await;
    }

    /// Reads the keys of every issuer now and again until shutdown.
    pub async fn run(&self, shutdown: CancellationToken) {
        while !self.sources.is_empty() {
            self.read_all().await;
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(self.every) => {}
            }
        }
    }

    fn known(&self) -> Arc<Issuers> {
        // What stands there is whole even where a thread died: it is replaced at once.
        let held = self.issuers.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&held)
    }

    /// Reads one issuer's keys, unless that was tried less than `pause` ago. Whoever comes
    /// meanwhile waits for the same reading.
    async fn ask(&self, number: usize, pause: Duration) {
        let Some(source) = self.sources.get(number) else {
            return;
        };
        let mut times = source.times.lock().await;
        if times.asked.is_some_and(|asked| asked.elapsed() < pause) {
            return;
        }
        let read = timeout(READ_TIMEOUT, source.read()).await;
        let read = read.unwrap_or_else(|_| Err("it takes too long".to_owned()));
        times.asked = Some(Instant::now());
        metrics::keys_read(read.is_ok());
        match read {
            Ok(keys) => {
                times.had = times.asked;
                self.put(number, Some(keys));
            }
            Err(why) => {
                tracing::warn!(issuer = source.name, %why, "cannot read the keys of mandates");
                if times.had.is_none_or(|had| had.elapsed() >= self.kept_for) {
                    self.put(number, None);
                }
            }
        }
    }

    fn put(&self, number: usize, keys: Option<IssuerKeys>) {
        let mut held = self.issuers.write().unwrap_or_else(PoisonError::into_inner);
        *held = Arc::new(held.with_keys(number, keys));
    }
}

fn place(issuer: &MandateIssuer) -> Result<Place, ServiceError> {
    match (&issuer.jwks_file, &issuer.jwks_url) {
        (Some(path), _) => Ok(Place::File(path.clone())),
        (None, Some(url)) => Ok(Place::Url(url.clone(), client(url)?)),
        (None, None) => Err(ServiceError::Configured(
            "an issuer of mandates has neither jwks_file nor jwks_url".to_owned(),
        )),
    }
}

fn client(url: &str) -> Result<reqwest::Client, ServiceError> {
    // Another part of the process may have installed it first, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = reqwest::Client::builder()
        // Keys from elsewhere are not the issuer's.
        .redirect(reqwest::redirect::Policy::none());
    // Plain HTTP never leaves this machine, not even for a proxy.
    let builder = match url.starts_with("https://") {
        true => builder.https_only(true),
        false => builder.no_proxy(),
    };
    builder.build().map_err(ServiceError::failed)
}

impl Source {
    async fn read(&self) -> Result<IssuerKeys, String> {
        let bytes = match &self.place {
            Place::File(path) => from_file(path).await?,
            Place::Url(url, client) => from_url(client, url).await?,
        };
        IssuerKeys::from_jwks(&bytes).map_err(|error| error.to_string())
    }
}

async fn from_file(path: &std::path::Path) -> Result<Vec<u8>, String> {
    use tokio::io::AsyncReadExt as _;
    let file = tokio::fs::File::open(path).await;
    let file = file.map_err(|error| error.kind().to_string())?;
    let mut bytes = Vec::new();
    // One byte more than is taken, so that a longer file is seen to be longer.
    let most = u64::try_from(JWKS_BYTES_MAX)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let read = file.take(most).read_to_end(&mut bytes).await;
    read.map_err(|error| error.kind().to_string())?;
    Ok(bytes)
}

async fn from_url(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, String> {
    let broken = |error: reqwest::Error| error.without_url().to_string();
    let mut answer = client.get(url).send().await.map_err(broken)?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(format!("its address answers {}", answer.status()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > JWKS_BYTES_MAX {
            return Err(format!("the answer is longer than {JWKS_BYTES_MAX} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
