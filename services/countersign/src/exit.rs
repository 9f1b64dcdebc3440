//! How the process ends: a closed list of codes that scripts rely on.

use countersign_runtime::bus::{BusError, PublishError};
use countersign_runtime::config::ConfigError;
use countersign_runtime::files::FileError;
use countersign_runtime::service::ServiceError;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, allowed or succeeded.
    Done,
    /// A fault that nobody expected.
    Unexpected,
    /// A wrong call.
    Usage,
    /// Denied, blocked or refused.
    Denied,
    /// Needs a person, or is still pending.
    Pending,
    /// Nobody decided or claimed it in time.
    Expired,
    /// The tool ran and failed.
    ToolFailed,
    /// The tool was started and nobody knows how it ended.
    OutcomeUnknown,
    /// A setting, key, credential or policy cannot be used.
    Configuration,
    /// NATS or the archive is out of reach.
    Unreachable,
}

impl Exit {
    /// The code that the process returns.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::Denied => 20,
            Self::Pending => 21,
            Self::Expired => 22,
            Self::ToolFailed => 23,
            Self::OutcomeUnknown => 24,
            Self::Configuration => 64,
            Self::Unreachable => 69,
        }
    }
}

/// Why a command could not do its work, each with its exit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// A wrong call that the parser cannot see.
    #[error("{0}")]
    Usage(String),
    /// What was asked is not permitted.
    #[error("{0}")]
    Refused(String),
    /// A setting, key, credential or policy cannot be used.
    #[error("{0}")]
    Configured(String),
    /// NATS, a service or the archive is out of reach.
    #[error("{0}")]
    Unreachable(String),
    /// It was sent, and nobody said whether it is stored.
    #[error("{0}")]
    NotKnown(String),
    /// Anything else.
    #[error("{0}")]
    Unexpected(String),
}

impl CliError {
    /// A wrong call.
    pub(crate) fn usage(error: impl ToString) -> Self {
        Self::Usage(error.to_string())
    }

    /// Something configured cannot be used.
    pub(crate) fn configured(error: impl ToString) -> Self {
        Self::Configured(error.to_string())
    }

    /// Something is out of reach.
    pub(crate) fn unreachable(error: impl ToString) -> Self {
        Self::Unreachable(error.to_string())
    }

    /// A fault that nobody expected.
    pub(crate) fn unexpected(error: impl ToString) -> Self {
        Self::Unexpected(error.to_string())
    }

    /// The same with `hint` at its end.
    pub(crate) fn hinting(self, hint: &str) -> Self {
        let more = |text: String| format!("{text}; {hint}");
        match self {
            Self::Usage(text) => Self::Usage(more(text)),
            Self::Refused(text) => Self::Refused(more(text)),
            Self::Configured(text) => Self::Configured(more(text)),
            Self::Unreachable(text) => Self::Unreachable(more(text)),
            Self::NotKnown(text) => Self::NotKnown(more(text)),
            Self::Unexpected(text) => Self::Unexpected(more(text)),
        }
    }

    /// How the process ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Refused(_) => Exit::Denied,
            Self::Configured(_) => Exit::Configuration,
            Self::Unreachable(_) | Self::NotKnown(_) => Exit::Unreachable,
            Self::Unexpected(_) => Exit::Unexpected,
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::configured(error)
    }
}

impl From<FileError> for CliError {
    fn from(error: FileError) -> Self {
        Self::configured(error)
    }
}

impl From<BusError> for CliError {
    fn from(error: BusError) -> Self {
        match error {
            BusError::Fatal { .. } => Self::unexpected(error),
            BusError::Connect { .. } | BusError::ServerTooOld { .. } | BusError::Request { .. } => {
                Self::unreachable(error)
            }
        }
    }
}

impl From<ServiceError> for CliError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Configured(text) => Self::Configured(text),
            ServiceError::Unreachable(text) => Self::Unreachable(text),
            other => Self::unexpected(other),
        }
    }
}

impl From<PublishError> for CliError {
    fn from(error: PublishError) -> Self {
        let text = format!("nothing was sent: {error}");
        match error {
            PublishError::Refused { subject } => Self::Refused(format!(
                "nothing was sent: this identity may not publish on `{subject}`; \
                 see `countersign identity list`"
            )),
            PublishError::TooLarge { .. } | PublishError::Rejected { .. } => Self::Refused(text),
            PublishError::Full { .. } | PublishError::Server { .. } => Self::Unreachable(text),
            PublishError::Timeout | PublishError::Closed => Self::NotKnown(format!(
                "it is not known whether the message was stored: {error}"
            )),
            PublishError::Conflict { .. } | PublishError::Duplicate { .. } => {
                Self::Unexpected(text)
            }
        }
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::unexpected(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_contract() {
        let table = [
            (Exit::Done, 0),
            (Exit::Unexpected, 1),
            (Exit::Usage, 2),
            (Exit::Denied, 20),
            (Exit::Pending, 21),
            (Exit::Expired, 22),
            (Exit::ToolFailed, 23),
            (Exit::OutcomeUnknown, 24),
            (Exit::Configuration, 64),
            (Exit::Unreachable, 69),
        ];
        for (exit, code) in table {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }

    #[test]
    fn a_refused_publish_is_a_refusal_and_silence_is_not() {
        let refused = CliError::from(PublishError::Refused {
            subject: "tool.requested.crm".to_owned(),
        });
        assert_eq!(refused.exit(), Exit::Denied);
        assert!(refused.to_string().contains("`tool.requested.crm`"));
        let silent = CliError::from(PublishError::Timeout);
        assert_eq!(silent.exit(), Exit::Unreachable);
        assert!(silent.to_string().contains("not known"));
        let hinting = silent.hinting("look again");
        assert_eq!(hinting.exit(), Exit::Unreachable);
        assert!(hinting.to_string().ends_with("; look again"), "{hinting}");
    }
}
