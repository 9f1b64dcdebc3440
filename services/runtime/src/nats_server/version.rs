//! Versions of nats-server, and which of them will do.

use std::fmt;

/// A server version, `major.minor.patch`. A pre-release counts as its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Major version.
    pub major: u16,
    /// Minor version.
    pub minor: u16,
    /// Patch version.
    pub patch: u16,
}

/// The oldest server that will do: 2.14 has fast ingest, the scheduler fixes and the
/// stricter headers that the ingress streams rely on.
pub const MINIMUM: Version = Version {
    major: 2,
    minor: 14,
    patch: 0,
};

/// The version that every test and figure of this project was made with.
pub const TESTED: Version = Version {
    major: 2,
    minor: 15,
    patch: 1,
};

impl Version {
    /// Reads the first `1.2.3` in a text such as `nats-server: v2.15.1`.
    #[must_use]
    pub fn find_in(text: &str) -> Option<Self> {
        text.split(|c: char| c.is_whitespace())
            .find_map(|word| Self::parse(word.trim_start_matches('v')))
    }

    fn parse(word: &str) -> Option<Self> {
        let mut parts = word.split(['.', '-', '+']).map(str::parse::<u16>);
        let mut next = || parts.next()?.ok();
        Some(Self {
            major: next()?,
            minor: next()?,
            patch: next()?,
        })
    }

    /// Whether Countersign works with this server.
    #[must_use]
    pub fn will_do(self) -> bool {
        self >= MINIMUM
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_server_prints() {
        let table = [
            ("nats-server: v2.15.1\n", Some("2.15.1")),
            ("nats-server: v2.14.0-RC.2", Some("2.14.0")),
            ("2.9.25", Some("2.9.25")),
            ("nats-server: vdev", None),
            ("v2.15", None),
            ("", None),
        ];
        for (text, version) in table {
            let read = Version::find_in(text).map(|v| v.to_string());
            assert_eq!(read.as_deref(), version, "{text}");
        }
    }

    #[test]
    fn compares_numbers_not_texts() {
        let table = [
            ("2.9.99", false),
            ("2.13.9", false),
            ("2.14.0", true),
            ("2.15.1", true),
            ("3.0.0", true),
        ];
        for (text, will_do) in table {
            assert_eq!(Version::parse(text).unwrap().will_do(), will_do, "{text}");
        }
    }
}
