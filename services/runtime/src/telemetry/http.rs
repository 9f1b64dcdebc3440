//! `/metrics`, `/healthz` and `/readyz`.

use std::net::SocketAddr;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{MetricsHandle, TelemetryError};
use crate::health::HealthHandle;

/// Serves until `shutdown`; the bound address, which tells the port when 0 was asked.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    metrics: MetricsHandle,
    health: HealthHandle,
    shutdown: CancellationToken,
) -> Result<SocketAddr, TelemetryError> {
    let failed = |error: std::io::Error| TelemetryError::Listen {
        address,
        reason: error.to_string(),
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let router = Router::new()
        .route("/metrics", get(render))
        .with_state(metrics)
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(readiness).with_state(health));
    tokio::spawn(async move {
        let serving =
            axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
        if let Err(error) = serving.await {
            tracing::warn!(%error, "metrics are no longer served");
        }
    });
    Ok(bound)
}

async fn render(State(metrics): State<MetricsHandle>) -> impl IntoResponse {
    let format = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, format)], metrics.render())
}

async fn readiness(State(health): State<HealthHandle>) -> impl IntoResponse {
    let status = if health.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(health.report()))
}
