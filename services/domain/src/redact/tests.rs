//! Tables, properties and measured recall of the redaction engine.

mod dataset;
mod forge;
mod generated;
mod linear;
mod locales;
mod measure;
mod properties;
mod tables;

use super::{FieldClasses, FingerprintKey, Redactor};

pub(super) fn redactor() -> Redactor {
    Redactor::new(FingerprintKey::new("k1", [7; 32]).unwrap())
}

pub(super) fn classes(pairs: &[(&str, &str)]) -> FieldClasses {
    FieldClasses::parse(pairs.iter().copied()).unwrap()
}
