//! Traces by OTLP over HTTP.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanData};
use tokio::runtime::Handle;

use super::TelemetryError;

/// How long one export may take: a collector that hangs must not hold up the end.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The running exporter.
#[derive(Debug)]
pub(super) struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    pub(super) fn start(endpoint: &str, process: &str) -> Result<Self, TelemetryError> {
        // Another part of the process may have installed it first, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|error| TelemetryError::Traces {
                endpoint: endpoint.to_owned(),
                reason: error.to_string(),
            })?;
        let exporter = OnRuntime {
            exporter: Arc::new(exporter),
            runtime: Handle::current(),
        };
        let resource = Resource::builder()
            .with_service_name(format!("countersign-{process}"))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("countersign");
        Ok(Self { provider, tracer })
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.tracer.clone()
    }

    /// Sends what waits. The library blocks here, so it gets a thread that may.
    pub(super) async fn flush(self) {
        let flushed = tokio::task::spawn_blocking(move || self.provider.shutdown()).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// The batch processor has a thread of its own without a reactor, which the HTTP client
/// needs: each export runs as a task of our runtime.
#[derive(Debug)]
struct OnRuntime {
    exporter: Arc<SpanExporter>,
    runtime: Handle,
}

impl opentelemetry_sdk::trace::SpanExporter for OnRuntime {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exporter = Arc::clone(&self.exporter);
        let task = self
            .runtime
            .spawn(async move { exporter.export(batch).await });
        match task.await {
            Ok(result) => result,
            Err(error) => Err(OTelSdkError::InternalFailure(error.to_string())),
        }
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Called while the processor is built, before any export shares the exporter.
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}
