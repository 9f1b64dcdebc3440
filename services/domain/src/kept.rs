//! Values that are kept between runs, with the number of their form: a value of another
//! form is never read wrongly, and one that a newer version wrote is said to be that.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Stands first in every kept value; another number is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub(crate) struct Form<const NUMBER: u16>;

impl<const NUMBER: u16> From<Form<NUMBER>> for u16 {
    fn from(_: Form<NUMBER>) -> Self {
        NUMBER
    }
}

impl<const NUMBER: u16> TryFrom<u16> for Form<NUMBER> {
    type Error = String;

    fn try_from(number: u16) -> Result<Self, String> {
        match number == NUMBER {
            true => Ok(Self),
            false => Err(format!("it is kept in form {number}, not {NUMBER}")),
        }
    }
}

/// A kept value that this version cannot read. It is neither lost nor at fault: the version
/// that wrote it goes on with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeptError {
    /// Another version wrote it.
    #[error(
        "it is kept in form {found}, and this version reads forms up to {ours}; a newer \
         coordinator goes on with it"
    )]
    OtherForm {
        /// Its form.
        found: u16,
        /// The form that this version writes.
        ours: u16,
    },
    /// It has our form, and something in it that this version does not know. What that is
    /// stays unsaid: it may be of an input.
    #[error("what stands at byte {at} of it is nothing that this version knows")]
    Unreadable {
        /// Where.
        at: usize,
    },
}

impl From<serde_json::Error> for KeptError {
    fn from(error: serde_json::Error) -> Self {
        Self::Unreadable { at: error.column() }
    }
}

#[derive(Deserialize)]
struct Numbered {
    schema_version: u16,
}

/// Reads a value that is kept in the form `ours`.
pub(crate) fn read<T: DeserializeOwned>(value: &[u8], ours: u16) -> Result<T, KeptError> {
    serde_json::from_slice(value).map_err(|error| match serde_json::from_slice(value) {
        Ok(Numbered {
            schema_version: found,
        }) if found != ours => KeptError::OtherForm { found, ours },
        Ok(_) | Err(_) => error.into(),
    })
}
