//! Every way in which an HTTP call can end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use countersign_domain::policy::Worker;
use countersign_schemas::{IntentId, JsonObject, Timestamp};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;
use crate::call::Trouble;
use crate::fixture;

/// Answers as the last part of the path says, and counts.
async fn answer(State(calls): State<Arc<AtomicUsize>>, Path(id): Path<String>) -> Response {
    calls.fetch_add(1, Ordering::SeqCst);
    match id.as_str() {
        "empty" => StatusCode::NO_CONTENT.into_response(),
        "moved" => (
            StatusCode::SEE_OTHER,
            [(header::LOCATION, "/box/elsewhere")],
        )
            .into_response(),
        "gone" => StatusCode::GONE.into_response(),
        "words" => (StatusCode::CONFLICT, "no such customer").into_response(),
        "broken" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "large" => "x".repeat(limits::BODY_BYTES_MAX + 1).into_response(),
        "silent" => std::future::pending().await,
        _ => axum::Json(json!({"id": id})).into_response(),
    }
}

async fn worker() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let calls = Arc::<AtomicUsize>::default();
    let app = Router::new()
        .route("/box/{id}", post(answer))
        .with_state(Arc::clone(&calls));
    tokio::spawn(axum::serve(listener, app).into_future());
    (address, calls)
}

/// Calls `mail.send` at `address` with this `id`, which is also the end of the path.
async fn call(address: SocketAddr, id: &str, within: Duration) -> End {
    call_within(&format!("http://{address}"), id, [within; 2]).await
}

/// The same at `base`, with the times within which it must begin and end.
async fn call_within(base: &str, id: &str, [begin, end]: [Duration; 2]) -> End {
    let bundle = fixture::bundle();
    let tool = fixture::tool(&bundle, "mail.send");
    let Worker::Http {
        method,
        service,
        path,
    } = tool.worker()
    else {
        panic!("not an HTTP tool");
    };
    let bases = BTreeMap::from([("mail".to_owned(), base.to_owned())]);
    // Making the clients takes longer than some of the times here.
    let http = Http::new(bases).unwrap();
    let now = Instant::now();
    let input: JsonObject = fixture::object(json!({"id": id}));
    let call = Call {
        tool,
        intent: IntentId::new_at(Timestamp::EPOCH),
        input: &input,
        permit: "permit",
        claim: "claim",
        trace: None,
        begin_by: now + begin,
        deadline: now + end,
    };
    let route = Route {
        method,
        service,
        path,
    };
    let ended = http.call(route, &call).await;
    ended.unwrap_or_else(|end| end)
}

const LONG: Duration = Duration::from_secs(60);

fn code(end: &End) -> (&'static str, &str) {
    match end {
        End::Done(_) => ("done", ""),
        End::Failed(Trouble { code, .. }) => ("failed", code),
        End::Unknown(Trouble { code, .. }) => ("unknown", code),
    }
}

#[tokio::test]
async fn the_status_says_how_it_ended() {
    let (address, calls) = worker().await;
    let table = [
        ("fine", ("done", "")),
        ("empty", ("done", "")),
        ("moved", ("unknown", "http_303")),
        ("gone", ("failed", "http_410")),
        ("words", ("failed", "http_409")),
        ("broken", ("unknown", "http_500")),
    ];
    for (number, (id, expected)) in table.into_iter().enumerate() {
        let end = call(address, id, LONG).await;
        assert_eq!(code(&end), expected, "{id}");
        // A redirect is not followed: the permit is for this worker.
        assert_eq!(calls.load(Ordering::SeqCst), number + 1, "{id}");
    }
    let End::Failed(trouble) = call(address, "words", LONG).await else {
        panic!("not failed");
    };
    assert_eq!(trouble.message, "no such customer");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_still_done() {
    let (address, _calls) = worker().await;
    assert_eq!(call(address, "large", LONG).await, End::Done(None));
}

#[tokio::test]
async fn a_value_cannot_leave_its_place_in_the_path() {
    let (address, calls) = worker().await;
    let end = call(address, "../../admin?x=1", LONG).await;
    assert_eq!(
        end,
        End::Done(Some(fixture::object(json!({"id": "../../admin?x=1"}))))
    );
    let end = call(address, "..", LONG).await;
    assert_eq!(code(&end), ("failed", "not_begun"));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn past_the_deadline_nothing_is_sent() {
    let (address, calls) = worker().await;
    let end = call(address, "fine", Duration::ZERO).await;
    assert_eq!(code(&end), ("failed", "not_begun"));
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    let enough_to_begin = Duration::from_secs(4);
    let end = call(address, "silent", enough_to_begin).await;
    assert_eq!(code(&end), ("unknown", "timeout"));
}

#[tokio::test]
async fn a_connection_lost_after_sending_leaves_it_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let closing = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut some = [0_u8; 64];
        stream.read_exact(&mut some).await.unwrap();
    });
    let end = call(address, "fine", LONG).await;
    closing.await.unwrap();
    assert_eq!(code(&end), ("unknown", "connection_lost"));
    // Now nobody listens there.
    let end = call(address, "fine", LONG).await;
    assert_eq!(code(&end), ("failed", "unavailable"));
}

#[tokio::test]
async fn past_the_time_to_begin_nothing_is_sent_although_the_deadline_is_far() {
    let (address, calls) = worker().await;
    let end = call_within(&format!("http://{address}"), "fine", [Duration::ZERO, LONG]).await;
    assert_eq!(code(&end), ("failed", "not_begun"));
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_connection_that_takes_longer_than_the_time_to_begin_is_given_up() {
    // It accepts and never answers the greeting, so that no connection comes to stand.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://{}", listener.local_addr().unwrap());
    let begin = Duration::from_secs(3);
    let ended = call_within(&base, "fine", [begin, LONG]);
    // Far less than the call may take, and more than a slow machine needs to begin it.
    let end = tokio::time::timeout(LONG / 2, ended).await.unwrap();
    assert_eq!(code(&end), ("failed", "unavailable"));
}

#[tokio::test]
async fn a_request_whose_connection_stood_too_late_sends_no_byte() {
    for (late, sent) in [(true, 0), (false, 1)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/box", listener.local_addr().unwrap());
        let heard = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut some = [0_u8; 1];
            stream.read(&mut some).await.unwrap()
        });
        let now = Instant::now();
        let begin_by = if late { now } else { now + LONG };
        let (body, lateness) = Punctual::new(b"{}".as_slice().into(), begin_by);
        let client = client(LONG).unwrap();
        let request = client.post(url).header("secret", "permit");
        let ended = request.body(Body::wrap(body)).send().await;
        assert!(ended.is_err(), "nobody answers");
        assert_eq!(lateness.is_late(), late);
        assert_eq!(heard.await.unwrap(), sent);
    }
}
