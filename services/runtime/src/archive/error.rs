//! What went wrong in a store, in words that hold no secret.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

/// Characters of what a server says that are told.
const TOLD_MAX: usize = 600;

/// The archive cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} `{}`: {reason}", path.display())]
pub struct StoreError {
    act: &'static str,
    path: PathBuf,
    reason: io::Error,
}

impl StoreError {
    /// Makes it of what failed.
    pub fn new(act: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |reason| Self { act, path, reason }
    }

    /// Whether the thing is not there at all.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.reason.kind() == ErrorKind::NotFound
    }

    /// Whether only somebody who changes settings or rights can mend it.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(
            self.reason.kind(),
            ErrorKind::Unsupported | ErrorKind::PermissionDenied | ErrorKind::InvalidInput
        )
    }

    /// Whether something else stands where a directory should.
    #[must_use]
    pub fn is_no_directory(&self) -> bool {
        self.reason.kind() == ErrorKind::NotADirectory
    }
}

/// What an object store says, in one line. A server that refuses a signature answers with
/// the headers that it was asked with, a session's token among them: of its answer only code
/// and message are told.
pub(super) fn told(error: &object_store::Error) -> io::Error {
    use object_store::Error;
    // What is outside only says again what lies inside.
    let mut cause = error.source();
    let mut text = cause.map_or_else(|| error.to_string(), ToString::to_string);
    while let Some(deeper) = cause {
        let said = deeper.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = deeper.source();
    }
    let denied = |status| text.contains(&format!("status code: {status}"));
    let kind = match error {
        Error::NotFound { .. } => ErrorKind::NotFound,
        Error::AlreadyExists { .. } => ErrorKind::AlreadyExists,
        _ if denied("401") || denied("403") => ErrorKind::PermissionDenied,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, one_line(&text))
}

fn one_line(text: &str) -> String {
    let (before, answer) = text.split_once('<').unwrap_or((text, ""));
    let inside = |name: &str| {
        let (_, rest) = answer.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0)
    };
    let mut parts = vec![before.trim().trim_end_matches(':')];
    parts.extend(inside("Code"));
    parts.extend(inside("Message"));
    let line = parts.join(": ");
    let words: Vec<&str> = line.split_whitespace().collect();
    words.join(" ").chars().take(TOLD_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_answer_only_code_and_message_are_told() {
        let body = "Server returned non-2xx status code: 403 Forbidden: \
            <?xml version=\"1.0\"?>\n<Error><Code>SignatureDoesNotMatch</Code>\
            <Message>Check your key.</Message>\
            <CanonicalRequest>x-amz-security-token:planted</CanonicalRequest></Error>";
        let error = object_store::Error::PermissionDenied {
            path: "manifest/1".to_owned(),
            source: body.to_owned().into(),
        };
        let told = told(&error);
        assert_eq!(told.kind(), ErrorKind::PermissionDenied);
        let text = told.to_string();
        assert!(
            text.contains("403 Forbidden: SignatureDoesNotMatch: Check your key."),
            "{text}"
        );
        assert!(!text.contains("planted"), "{text}");
    }

    #[test]
    fn the_deepest_cause_is_told_in_one_bounded_line() {
        let error = object_store::Error::Generic {
            store: "S3",
            source: Box::new(io::Error::other(format!("refused\n{}", "x".repeat(10_000)))),
        };
        let text = told(&error).to_string();
        assert!(text.contains("refused x"), "{text}");
        assert!(text.chars().count() <= TOLD_MAX);
    }
}
