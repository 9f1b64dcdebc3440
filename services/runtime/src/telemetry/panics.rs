//! Panics: where, and never with which words, which may quote a value of an input.

use std::backtrace::Backtrace;
use std::panic::{self, Location};

/// Has every panic of this process told by its place alone.
pub(super) fn hook() {
    panic::set_hook(Box::new(|panic| {
        let at = place(panic.location());
        // Names of functions only, and none unless `RUST_BACKTRACE` asks for it.
        let backtrace = Backtrace::capture();
        tracing::error!(at, %backtrace, "panicked; its words may hold a value and are left out");
    }));
}

fn place(location: Option<&Location<'_>>) -> String {
    location.map_or_else(|| "an unknown place".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::config::LogFormat;
    use crate::telemetry::logs;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let broken = |_| std::io::Error::other("a writer panicked");
            self.0.lock().map_err(broken)?.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_told_by_its_place_and_not_by_its_words() {
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = logs::lines(LogFormat::Json, false, move || writer.clone());
        let before = panic::take_hook();
        hook();
        tracing::subscriber::with_default(Registry::default().with(lines), || {
            let secret = "4111111111111111";
            panic::catch_unwind(|| panic!("cannot read {secret}")).unwrap_err();
        });
        panic::set_hook(before);
        let told = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(told.contains("panics.rs"), "{told}");
        assert!(!told.contains("4111"), "{told}");
    }
}
