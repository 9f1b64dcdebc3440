//! The number of the form in which windows are kept, so that a value of another form is
//! refused in words instead of being read wrongly.

use serde::{Deserialize, Serialize};

/// The form that this version writes and reads.
const FORM: u16 = 1;

/// Stands first in every kept value; another number is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub(super) struct Form;

impl From<Form> for u16 {
    fn from(_: Form) -> Self {
        FORM
    }
}

impl TryFrom<u16> for Form {
    type Error = String;

    fn try_from(number: u16) -> Result<Self, String> {
        match number {
            FORM => Ok(Self),
            other => Err(format!(
                "it is kept in form {other}, and this version reads form {FORM}; let the \
                 version that wrote it end it"
            )),
        }
    }
}
