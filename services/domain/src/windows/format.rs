//! The form in which windows are kept.

use super::window::Window;
use crate::kept::{self, KeptError};

/// The form that this version writes and reads.
const FORM: u16 = 1;

/// Stands first in every kept window.
pub(super) type Form = kept::Form<FORM>;

impl Window {
    /// Reads a kept window.
    ///
    /// # Errors
    /// When another version wrote it, in a form that this one does not know.
    pub fn read(value: &[u8]) -> Result<Self, KeptError> {
        kept::read(value, FORM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_another_form_is_said_to_be_that() {
        let newer = br#"{"schema_version":2,"id":"of another shape"}"#;
        let found = Window::read(newer).unwrap_err();
        assert!(matches!(found, KeptError::OtherForm { found: 2, .. }));
        let ours = Window::read(br#"{"schema_version":1}"#).unwrap_err();
        assert!(matches!(ours, KeptError::Unreadable { .. }));
    }
}
