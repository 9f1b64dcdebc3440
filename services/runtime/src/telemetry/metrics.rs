//! Metrics in Prometheus text form.

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::TelemetryError;

/// Bounds of every histogram of seconds: from the 0.2 ms of an unloaded decision to the
/// minute of a slow tool.
const SECONDS_BUCKETS: [f64; 15] = [
    0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0,
];
/// How often the recorder folds in what has come; between two renderings it only grows.
const UPKEEP: Duration = Duration::from_secs(5);

/// Renders what the process has counted.
#[derive(Clone)]
pub struct MetricsHandle(PrometheusHandle);

impl std::fmt::Debug for MetricsHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MetricsHandle")
    }
}

impl MetricsHandle {
    /// Becomes the recorder of the process.
    pub(super) fn start() -> Result<Self, TelemetryError> {
        let twice = |reason: String| TelemetryError::Twice {
            what: "metrics",
            reason,
        };
        let recorder = builder().map_err(twice)?.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|error| twice(error.to_string()))?;
        crate::bus::metrics::describe();
        tokio::spawn(upkeep(handle.clone()));
        Ok(Self(handle))
    }

    /// The metrics as Prometheus reads them.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    #[cfg(test)]
    pub(super) fn local() -> (metrics_exporter_prometheus::PrometheusRecorder, Self) {
        let recorder = builder().unwrap().build_recorder();
        let handle = Self(recorder.handle());
        (recorder, handle)
    }
}

fn builder() -> Result<PrometheusBuilder, String> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
        .map_err(|error| error.to_string())
}

async fn upkeep(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}
