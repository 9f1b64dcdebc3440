//! The three ways in which a service tells of itself.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::config::LogFormat;

/// One HTTP request as a scraper makes it.
async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn metrics_and_readiness_are_served() {
    let (recorder, handle) = MetricsHandle::local();
    ::metrics::with_local_recorder(&recorder, || {
        ::metrics::counter!("countersign_test_total").increment(3);
        ::metrics::histogram!("countersign_test_seconds").record(0.002);
    });
    let health = HealthHandle::new();
    let part = health.part("bus");
    let shutdown = CancellationToken::new();
    let any = "127.0.0.1:0".parse().unwrap();
    let address = serve(any, handle, health, shutdown.clone()).await.unwrap();

    let metrics = get(address, "/metrics").await;
    assert!(metrics.contains("countersign_test_total 3"), "{metrics}");
    assert!(metrics.contains("le=\"0.0025\"} 1"), "{metrics}");
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
    part.failing("no connection");
    assert!(get(address, "/readyz").await.contains("no connection"));
    part.ready();
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/secrets").await.starts_with("HTTP/1.1 404"));

    shutdown.cancel();
    let closed = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(60), closed)
        .await
        .unwrap();
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.0.lock().map_err(|_| io::ErrorKind::Other)?;
        Write::write(&mut *kept, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(format: LogFormat, terminal: bool) -> String {
    let sink = Sink::default();
    let writer = sink.clone();
    let lines = logs::lines(format, terminal, move || writer.clone());
    let subscriber = tracing_subscriber::Registry::default().with(lines);
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!("handle", intent = "i-1");
        let _inside = span.enter();
        tracing::info!(agent = "billing", "decided");
    });
    let bytes = sink.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn lines_are_json_away_from_a_terminal() {
    for text in [
        logged(LogFormat::Auto, false),
        logged(LogFormat::Json, true),
    ] {
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line.pointer("/agent"), Some(&"billing".into()), "{line}");
        assert_eq!(line.pointer("/message"), Some(&"decided".into()));
        assert_eq!(line.pointer("/span/intent"), Some(&"i-1".into()));
    }
}

#[test]
fn lines_are_for_people_on_a_terminal() {
    for text in [
        logged(LogFormat::Auto, true),
        logged(LogFormat::Pretty, false),
    ] {
        assert!(!text.starts_with('{'), "{text}");
        assert!(
            text.contains("decided") && text.contains("billing"),
            "{text}"
        );
    }
}

/// A collector that hands on the bodies it gets.
async fn collector() -> (String, mpsc::UnboundedReceiver<Bytes>) {
    let (sender, bodies) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let take = move |body: Bytes| {
        let sender = sender.clone();
        async move { sender.send(body).map_err(|_| "nobody listens") }
    };
    let router = Router::new().route("/v1/traces", post(take));
    tokio::spawn(axum::serve(listener, router).into_future());
    (format!("http://{address}/v1/traces"), bodies)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_continued_and_reaches_the_collector() {
    let (endpoint, mut bodies) = collector().await;
    let traces = otlp::Traces::start(&endpoint, "test").unwrap();
    let spans = tracing_opentelemetry::layer().with_tracer(traces.tracer());
    let subscriber = tracing_subscriber::Registry::default().with(spans);
    let came: TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        .parse()
        .unwrap();
    let went = tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!("handle_intent");
        continue_trace(&span, Some(came));
        outgoing_trace(&span, Some(came)).unwrap()
    });
    assert_eq!(went.trace_id(), came.trace_id());
    assert_ne!(went.span_id(), came.span_id());

    traces.flush().await;
    let body = bodies.recv().await.unwrap();
    let holds = |wanted: &[u8]| body.windows(wanted.len()).any(|bytes| bytes == wanted);
    assert!(holds(b"handle_intent"));
    assert!(holds(b"countersign-test"));
}
