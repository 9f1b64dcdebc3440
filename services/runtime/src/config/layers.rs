//! Variables and flags on top of the file.

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::error::ConfigError;

const PREFIX: &str = "COUNTERSIGN_";
/// Variables of this program, and of the files that it writes, that are not settings.
pub const NOT_SETTINGS: [&str; 5] = [
    "COUNTERSIGN_AS",
    "COUNTERSIGN_DIR",
    "COUNTERSIGN_JETSTREAM_KEY",
    "COUNTERSIGN_NATS_SERVER",
    "COUNTERSIGN_SERVER_NAME",
];
/// Variables that tests hand to the processes they start.
const TEST_PREFIX: &str = "COUNTERSIGN_TEST_";

/// One setting from a variable or a flag.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    origin: String,
    key: String,
    value: String,
}

impl Layer {
    /// The setting that a variable makes; `None` for one that is not ours.
    pub(super) fn from_variable(name: &str, value: &str) -> Option<Result<Self, ConfigError>> {
        let rest = name.strip_prefix(PREFIX)?;
        if NOT_SETTINGS.contains(&name) || name.starts_with(TEST_PREFIX) {
            return None;
        }
        let key = rest.to_ascii_lowercase().replace("__", ".");
        if !key.contains('.') {
            return Some(Err(ConfigError::BadValue {
                origin: format!("variable `{name}`"),
                key: String::new(),
                reason: "two underscores part section and key, \
                    as in COUNTERSIGN_NATS__URL"
                    .to_owned(),
            }));
        }
        Some(Ok(Self {
            origin: format!("variable `{name}`"),
            key,
            value: value.to_owned(),
        }))
    }

    /// The setting that a flag `--set key=value` makes.
    pub(super) fn from_flag(text: &str) -> Result<Self, ConfigError> {
        match text.split_once('=') {
            Some((key, value)) if key.contains('.') => Ok(Self {
                origin: "flag `--set`".to_owned(),
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
            }),
            _ => Err(ConfigError::BadValue {
                origin: "flag `--set`".to_owned(),
                key: String::new(),
                reason: "write it as section.key=value".to_owned(),
            }),
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        // Reads as figment reads variables: numbers, booleans, arrays, else text.
        let value: Value = match self.value.parse() {
            Ok(value) => value,
            Err(never) => match never {},
        };
        let nested = figment::util::nest(&self.key, value);
        let dict = nested.into_dict().unwrap_or_default();
        Ok(Profile::Default.collect(dict))
    }
}
