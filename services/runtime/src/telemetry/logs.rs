//! Log lines: for people on a terminal, JSON elsewhere, always on stderr.

use std::io::{self, IsTerminal};

use opentelemetry_sdk::trace::SdkTracer;
use tracing::Subscriber;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

use super::TelemetryError;
use crate::config::{self, LogFormat};

pub(super) fn start(
    settings: &config::Telemetry,
    tracer: Option<SdkTracer>,
) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&settings.level).map_err(|error| TelemetryError::Filter {
        filter: settings.level.clone(),
        reason: error.to_string(),
    })?;
    let spans = tracer.map(|tracer| tracing_opentelemetry::layer().with_tracer(tracer));
    Registry::default()
        .with(filter)
        .with(lines(settings.log, io::stderr().is_terminal(), io::stderr))
        .with(spans)
        .try_init()
        .map_err(|error| TelemetryError::Twice {
            what: "logs",
            reason: error.to_string(),
        })
}

/// The layer that writes lines into `writer`.
pub(super) fn lines<S, W>(
    format: LogFormat,
    terminal: bool,
    writer: W,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    let pretty = match format {
        LogFormat::Pretty => true,
        LogFormat::Json => false,
        LogFormat::Auto => terminal,
    };
    if pretty {
        let layer = fmt::layer().with_ansi(terminal).with_target(false);
        layer.with_writer(writer).boxed()
    } else {
        let layer = fmt::layer().json().flatten_event(true);
        layer.with_current_span(true).with_writer(writer).boxed()
    }
}
