//! The failure classes. Each has exactly one treatment, and there is no silent arm.

use std::time::Duration;

/// How long a transient failure waits where the caller has no better idea.
const RETRY_DEFAULT: Duration = Duration::from_secs(1);

/// Why an input was not carried to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// May work later: the message is given back with a delay.
    #[error("{what}; trying again in {} ms", retry_in.as_millis())]
    Transient {
        /// What was tried and what failed.
        what: String,
        /// When to try again.
        retry_in: Duration,
    },
    /// Will never work: a dead letter is stored, then the message is terminated.
    #[error("{what}; the message is put aside as a dead letter")]
    Poison {
        /// What was tried and what failed.
        what: String,
    },
    /// Nothing will work: the service stops.
    #[error("{what}; the service stops")]
    Fatal {
        /// What was tried and what failed.
        what: String,
    },
}

impl Failure {
    /// A failure that may pass.
    #[must_use]
    pub fn transient(what: impl Into<String>) -> Self {
        Self::transient_in(what, RETRY_DEFAULT)
    }

    /// A failure that may pass after `retry_in`.
    #[must_use]
    pub fn transient_in(what: impl Into<String>, retry_in: Duration) -> Self {
        Self::Transient {
            what: what.into(),
            retry_in,
        }
    }

    /// A message that can never be handled.
    #[must_use]
    pub fn poison(what: impl Into<String>) -> Self {
        Self::Poison { what: what.into() }
    }

    /// A fault of the service itself.
    #[must_use]
    pub fn fatal(what: impl Into<String>) -> Self {
        Self::Fatal { what: what.into() }
    }
}

/// The connection, the server or its configuration does not do what is needed.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// No connection.
    #[error("cannot connect to NATS at `{url}` as `{name}`: {reason}")]
    Connect {
        /// Where.
        url: String,
        /// With whose credential.
        name: String,
        /// What the client said.
        reason: String,
    },
    /// The server is too old.
    #[error(
        "nats-server {found} at `{url}` is too old: Countersign needs 2.14 or newer; \
         install a newer nats-server, or set COUNTERSIGN_NATS_SERVER to one"
    )]
    ServerTooOld {
        /// Where.
        url: String,
        /// Its version.
        found: String,
    },
    /// A request to the server failed.
    #[error("{what}: {reason}")]
    Request {
        /// What was tried.
        what: String,
        /// What failed.
        reason: String,
    },
    /// A handler said that the service must stop.
    #[error("the service must stop: {what}")]
    Fatal {
        /// What was tried and what failed.
        what: String,
    },
}

impl BusError {
    pub(crate) fn request(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Request {
            what: what.into(),
            reason: reason.to_string(),
        }
    }
}

impl From<BusError> for Failure {
    fn from(error: BusError) -> Self {
        match error {
            BusError::Connect { .. } | BusError::Request { .. } => {
                Self::transient(error.to_string())
            }
            BusError::ServerTooOld { .. } | BusError::Fatal { .. } => {
                Self::fatal(error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service that gives back what will never work spins; one that stops for what may
    /// pass goes down with every restart of the server.
    #[test]
    fn only_what_may_pass_is_tried_again() {
        let connect = BusError::Connect {
            url: "nats://a:1".to_owned(),
            name: "tool-executor".to_owned(),
            reason: "timed out".to_owned(),
        };
        let old = BusError::ServerTooOld {
            url: "nats://a:1".to_owned(),
            found: "2.9.1".to_owned(),
        };
        let fatal = BusError::Fatal {
            what: "two of us".to_owned(),
        };
        let table = [
            (
                connect,
                true,
                "cannot connect to NATS at `nats://a:1` as `tool-executor`: timed out",
            ),
            (
                BusError::request("cannot read", "no answer"),
                true,
                "cannot read: no answer",
            ),
            (old, false, "nats-server 2.9.1 at `nats://a:1` is too old"),
            (fatal, false, "the service must stop: two of us"),
        ];
        for (error, passes, words) in table {
            match Failure::from(error) {
                Failure::Transient { what, retry_in } => {
                    assert!(passes && what.contains(words), "{what}");
                    assert_eq!(retry_in, RETRY_DEFAULT);
                }
                Failure::Fatal { what } => assert!(!passes && what.contains(words), "{what}"),
                Failure::Poison { what } => panic!("the message is not at fault: {what}"),
            }
        }
    }

    #[test]
    fn each_failure_says_what_becomes_of_the_message() {
        let soon = Duration::from_millis(250);
        for (failure, told) in [
            (Failure::transient("x"), "x; trying again in 1000 ms"),
            (
                Failure::transient_in("x", soon),
                "x; trying again in 250 ms",
            ),
            (
                Failure::poison("x"),
                "x; the message is put aside as a dead letter",
            ),
            (Failure::fatal("x"), "x; the service stops"),
        ] {
            assert_eq!(failure.to_string(), told);
        }
    }
}
