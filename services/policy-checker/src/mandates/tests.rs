//! Keys come from files and addresses, come anew, and never when they are not there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_domain::keys::{KeySet, SigningKey};
use countersign_domain::mandate::{Algorithm, MandateError, TYPE};
use countersign_schemas::{AgentId, Timestamp};
use serde_json::json;

use super::*;

const ISSUER: &str = "https://id.example";

/// What an issuer's address answers, and how often it was asked.
#[derive(Default)]
struct Desk {
    asked: AtomicUsize,
    answer: std::sync::Mutex<(u16, Vec<u8>)>,
}

impl Desk {
    fn says(&self, status: u16, body: impl Into<Vec<u8>>) {
        *self.answer.lock().unwrap() = (status, body.into());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn answer(State(desk): State<Arc<Desk>>) -> Response {
    desk.asked.fetch_add(1, Ordering::SeqCst);
    let (status, body) = desk.answer.lock().unwrap().clone();
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

async fn desk() -> (Arc<Desk>, String) {
    let desk = Arc::<Desk>::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    let app = Router::new()
        .route("/jwks.json", get(answer))
        .with_state(Arc::clone(&desk));
    tokio::spawn(axum::serve(listener, app).into_future());
    (desk, url)
}

fn settings(file: Option<PathBuf>, url: Option<String>) -> Mandates {
    let issuer = MandateIssuer {
        issuer: ISSUER.to_owned(),
        audience: "countersign".to_owned(),
        jwks_file: file,
        jwks_url: url,
        algorithms: Algorithm::ALL.to_vec(),
    };
    Mandates {
        issuers: BTreeMap::from([("company".to_owned(), issuer)]),
        ..Mandates::default()
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn jwks(seeds: &[u8]) -> String {
    KeySet::new(seeds.iter().map(|seed| key(*seed).public())).to_jwks()
}

fn token(seed: u8) -> String {
    let header = json!({"alg": "EdDSA", "typ": TYPE, "kid": key(seed).id()});
    let claims = json!({
        "iss": ISSUER, "aud": "countersign", "sub": "kim", "act": {"sub": "support"},
        "jti": "m-1", "iat": 0, "exp": 600, "scope": "operation:read"
    });
    let encode = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(key(seed).sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// As if the issuer had not been asked for a while.
async fn later(keeper: &Keeper) {
    keeper.sources[0].times.lock().await.asked = None;
}

async fn judged(keeper: &Arc<Keeper>, seed: u8) -> Option<MandateError> {
    let token = token(seed);
    let issuers = keeper.issuers_for(Some(&token)).await;
    let agent: AgentId = "support".parse().unwrap();
    issuers.verify(&token, &agent, Timestamp::EPOCH).err()
}

#[tokio::test]
async fn keys_of_an_address_are_asked_for_once_and_rotate() {
    let (desk, url) = desk().await;
    let keeper = Arc::new(Keeper::new(&settings(None, Some(url))).unwrap());
    desk.says(200, jwks(&[1]));
    assert_eq!(judged(&keeper, 1).await, None);
    assert_eq!(judged(&keeper, 1).await, None);
    assert_eq!(desk.asked(), 1);
    // Keys that nobody has made the issuer be asked once in a while, not each time.
    desk.says(200, jwks(&[1, 2]));
    for _ in 0..20 {
        assert_eq!(judged(&keeper, 2).await, Some(MandateError::UnknownKey));
    }
    assert_eq!(desk.asked(), 1);
    later(&keeper).await;
    assert_eq!(judged(&keeper, 2).await, None);
    for _ in 0..20 {
        assert_eq!(judged(&keeper, 3).await, Some(MandateError::UnknownKey));
    }
    assert_eq!(desk.asked(), 2);
    // The old key is withdrawn: the next reading, whatever caused it, forgets it.
    desk.says(200, jwks(&[2]));
    later(&keeper).await;
    assert_eq!(judged(&keeper, 3).await, Some(MandateError::UnknownKey));
    assert_eq!(judged(&keeper, 1).await, Some(MandateError::UnknownKey));
    assert_eq!(judged(&keeper, 2).await, None);
}

#[tokio::test]
async fn what_an_address_answers_wrongly_gives_no_keys() {
    let (desk, url) = desk().await;
    let elsewhere = settings(None, Some("http://127.0.0.1:1/none".to_owned()));
    assert_eq!(
        judged(&Arc::new(Keeper::new(&elsewhere).unwrap()), 1).await,
        Some(MandateError::NoKeys)
    );
    let table: [(u16, Vec<u8>); 6] = [
        (404, jwks(&[1]).into()),
        (302, jwks(&[1]).into()),
        (500, Vec::new()),
        (200, b"<html>".to_vec()),
        (200, b"{\"keys\":[]}".to_vec()),
        (200, vec![b' '; JWKS_BYTES_MAX + 1]),
    ];
    for (status, body) in table {
        desk.says(status, body);
        let keeper = Arc::new(Keeper::new(&settings(None, Some(url.clone()))).unwrap());
        assert_eq!(
            judged(&keeper, 1).await,
            Some(MandateError::NoKeys),
            "{status}"
        );
    }
}

#[tokio::test]
async fn keys_outlive_a_short_outage_and_no_long_one() {
    let (desk, url) = desk().await;
    let mut keeper = Arc::new(Keeper::new(&settings(None, Some(url))).unwrap());
    desk.says(200, jwks(&[1]));
    assert_eq!(judged(&keeper, 1).await, None);
    desk.says(503, "");
    later(&keeper).await;
    keeper.ask(0, ASK_AGAIN_AFTER).await;
    assert_eq!((judged(&keeper, 1).await, desk.asked()), (None, 2));
    Arc::get_mut(&mut keeper).unwrap().kept_for = Duration::ZERO;
    later(&keeper).await;
    keeper.ask(0, ASK_AGAIN_AFTER).await;
    assert_eq!(judged(&keeper, 1).await, Some(MandateError::NoKeys));
    desk.says(200, jwks(&[1]));
    later(&keeper).await;
    assert_eq!(judged(&keeper, 1).await, None);
}

#[tokio::test(start_paused = true)]
async fn forged_key_ids_at_a_slow_issuer_hold_few_places_and_not_for_long() {
    // An address that takes connections and never answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    let mut keeper = Keeper::new(&settings(None, Some(slow))).unwrap();
    let keys = IssuerKeys::from_jwks(jwks(&[1]).as_bytes()).unwrap();
    keeper.put(0, Some(keys));
    keeper.sources[0].times.lock().await.had = Some(Instant::now());
    keeper.seats = Arc::new(Semaphore::new(2));
    let keeper = Arc::new(keeper);
    let began = Instant::now();
    let forged = (2..200).map(|seed| {
        let keeper = Arc::clone(&keeper);
        async move { (judged(&keeper, seed).await, Instant::now() - began) }
    });
    let found = join_all(forged).await;
    let unknown = Some(MandateError::UnknownKey);
    assert!(found.iter().all(|(error, _)| *error == unknown));
    let waited = found.iter().filter(|(_, took)| !took.is_zero());
    assert_eq!(waited.count(), 2, "the others are answered at once");
    let at_most = WAIT_MAX + Duration::from_millis(10);
    assert!(found.iter().all(|(_, took)| *took <= at_most), "{found:?}");
    // Whom a known key proves waits for nobody, and after the reading the seats are free.
    let before = Instant::now();
    assert_eq!(
        (judged(&keeper, 1).await, before.elapsed()),
        (None, Duration::ZERO)
    );
    tokio::time::sleep(READ_TIMEOUT).await;
    assert_eq!(keeper.seats.available_permits(), 2);
    // Nor does the next forged one make the issuer be asked again so soon.
    let before = Instant::now();
    assert_eq!(
        (judged(&keeper, 3).await, before.elapsed()),
        (unknown, Duration::ZERO)
    );
}

#[tokio::test]
async fn keys_in_a_file_are_read_anew_in_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("company.jwks");
    std::fs::write(&path, jwks(&[1])).unwrap();
    let mut keeper = Keeper::new(&settings(Some(path.clone()), None)).unwrap();
    keeper.every = Duration::from_millis(5);
    let keeper = Arc::new(keeper);
    let shutdown = CancellationToken::new();
    let running = {
        let (keeper, shutdown) = (Arc::clone(&keeper), shutdown.clone());
        tokio::spawn(async move { keeper.run(shutdown).await })
    };
    assert_eq!(judged(&keeper, 1).await, None);
    std::fs::write(&path, jwks(&[2])).unwrap();
    let since = Instant::now();
    while judged(&keeper, 1).await.is_none() {
        let waits = since.elapsed() < Duration::from_secs(30);
        assert!(waits, "the file is not read again");
        tokio::task::yield_now().await;
    }
    assert_eq!(judged(&keeper, 2).await, None);
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn without_issuers_nobody_is_asked_and_nothing_proves() {
    let keeper = Arc::new(Keeper::new(&Mandates::default()).unwrap());
    assert_eq!(judged(&keeper, 1).await, Some(MandateError::UnknownIssuer));
    keeper.run(CancellationToken::new()).await;
}
