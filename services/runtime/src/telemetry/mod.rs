//! Logs, metrics, traces, and the small HTTP server that shows them.
//!
//! Started once a process. No value of an input enters any of the three: log lines and
//! spans name intent, agent and requester, never arguments, and panics only their place.

mod http;
mod logs;
mod metrics;
mod otlp;
mod panics;
mod trace_context;

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use crate::config;
use crate::health::HealthHandle;

pub use http::serve;
pub use metrics::MetricsHandle;
pub use trace_context::{TraceParent, continue_trace, outgoing_trace};

/// Telemetry cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The filter is not understood.
    #[error("cannot read the log filter `{filter}`: {reason}")]
    Filter {
        /// The setting `telemetry.level`.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Logs or metrics are already taken over by something else in this process.
    #[error("cannot start {what} twice in one process: {reason}")]
    Twice {
        /// What.
        what: &'static str,
        /// What the library said.
        reason: String,
    },
    /// Traces cannot be exported.
    #[error("cannot export traces to `{endpoint}`: {reason}")]
    Traces {
        /// The setting `telemetry.otlp_endpoint`.
        endpoint: String,
        /// What is wrong.
        reason: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on `{address}` for metrics: {reason}")]
    Listen {
        /// The setting `telemetry.metrics_listen`.
        address: SocketAddr,
        /// Why not.
        reason: String,
    },
}

/// What runs for as long as the process does.
#[derive(Debug)]
pub struct Telemetry {
    metrics: MetricsHandle,
    traces: Option<otlp::Traces>,
}

impl Telemetry {
    /// Starts logs, metrics and, where configured, traces. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the filter or the endpoint is not usable, or it was started before.
    pub fn start(settings: &config::Telemetry, process: &str) -> Result<Self, TelemetryError> {
        let traces = settings
            .otlp_endpoint
            .as_deref()
            .map(|endpoint| otlp::Traces::start(endpoint, process))
            .transpose()?;
        logs::start(settings, traces.as_ref().map(otlp::Traces::tracer))?;
        panics::hook();
        let metrics = MetricsHandle::start()?;
        Ok(Self { metrics, traces })
    }

    /// Serves `/metrics`, `/healthz` and `/readyz` where configured; the bound address.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn listen(
        &self,
        settings: &config::Telemetry,
        health: HealthHandle,
        shutdown: CancellationToken,
    ) -> Result<Option<SocketAddr>, TelemetryError> {
        let Some(address) = settings.metrics_listen else {
            return Ok(None);
        };
        serve(address, self.metrics.clone(), health, shutdown)
            .await
            .map(Some)
    }

    /// Sends the traces that still wait. The last thing before the end.
    pub async fn flush(self) {
        if let Some(traces) = self.traces {
            traces.flush().await;
        }
    }
}

#[cfg(test)]
mod tests;
