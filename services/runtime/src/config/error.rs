//! What is wrong with a configuration, by file and key.

use std::path::PathBuf;

/// A configuration cannot be used. Nothing has been started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{}`: {reason}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A key is unknown.
    #[error("{origin}: unknown key `{key}`{}", hint(nearest.as_deref()))]
    UnknownKey {
        /// The file, variable or flag.
        origin: String,
        /// The whole key.
        key: String,
        /// The known key that it resembles most.
        nearest: Option<String>,
    },
    /// A value has the wrong type or form, or the file is not TOML.
    #[error("{origin}: {}{reason}", at(key))]
    BadValue {
        /// The file, variable or flag.
        origin: String,
        /// The whole key; empty where it is not known.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// Values that are readable and cannot be used; all of them.
    #[error("{}: {}", file.display(), problems.join("; "))]
    Invalid {
        /// The file.
        file: PathBuf,
        /// One sentence each, beginning with the key.
        problems: Vec<String>,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest
        .map(|key| format!("; did you mean `{key}`?"))
        .unwrap_or_default()
}

fn at(key: &str) -> String {
    if key.is_empty() {
        String::new()
    } else {
        format!("`{key}`: ")
    }
}
