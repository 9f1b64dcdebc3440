//! SIGINT and SIGTERM: the first one asks for an orderly end, the second one ends at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a process that was told twice to stop: 128 + SIGTERM, as shells write it.
const FORCED_EXIT: i32 = 143;

/// A token that is cancelled by the first SIGINT or SIGTERM. The second ends the process.
///
/// # Errors
/// When the process cannot listen to signals.
pub fn shutdown_on_signals() -> io::Result<CancellationToken> {
    let mut signals = Signals {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
    };
    let shutdown = CancellationToken::new();
    let asked = shutdown.clone();
    tokio::spawn(async move {
        let name = signals.next().await;
        tracing::info!(signal = name, "stopping; a second signal ends at once");
        asked.cancel();
        let name = signals.next().await;
        tracing::warn!(signal = name, "ending at once");
        end_now();
    });
    Ok(shutdown)
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

#[expect(
    clippy::exit,
    reason = "the operator asked twice; what is in flight is redelivered"
)]
fn end_now() -> ! {
    std::process::exit(FORCED_EXIT)
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Child, Command, Stdio};

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    const HELPER: &str = "COUNTERSIGN_TEST_SIGNALS";

    /// Not a test of its own: a process that says what it hears.
    #[tokio::test]
    async fn helper_that_listens() {
        let Ok(manner) = env::var(HELPER) else {
            return;
        };
        let stubborn = manner == "stubborn";
        let shutdown = shutdown_on_signals().unwrap();
        writeln!(io::stdout(), "listening").unwrap();
        shutdown.cancelled().await;
        writeln!(io::stdout(), "asked").unwrap();
        if stubborn {
            std::future::pending::<()>().await;
        }
    }

    fn helper(manner: &str) -> (Child, impl FnMut(&str)) {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("signals::tests::helper_that_listens")
            .env(HELPER, manner)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let heard = move |wanted: &str| {
            let found = lines.by_ref().any(|line| line.unwrap().ends_with(wanted));
            assert!(found, "the helper ended without saying {wanted}");
        };
        (child, heard)
    }

    fn send(child: &Child, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    #[test]
    fn the_first_signal_asks() {
        for signal in [Signal::TERM, Signal::INT] {
            let (mut child, mut heard) = helper("polite");
            heard("listening");
            send(&child, signal);
            heard("asked");
            assert!(child.wait().unwrap().success());
        }
    }

    #[test]
    fn the_second_signal_ends_at_once() {
        let (mut child, mut heard) = helper("stubborn");
        heard("listening");
        send(&child, Signal::INT);
        heard("asked");
        send(&child, Signal::TERM);
        assert_eq!(child.wait().unwrap().code(), Some(FORCED_EXIT));
    }
}
