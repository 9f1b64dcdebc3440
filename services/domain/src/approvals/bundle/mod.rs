//! Several intents decided as one: a bundle is gathered until every item is checked or its
//! deadline passes, and only then anything of it is decided.

mod gathering;
mod left_out;
mod name;
mod open;
mod words;

pub use gathering::{Added, BundleCourse, GATHERED_BYTES_MAX, Gathering};
pub use left_out::LeftOut;
pub use name::name_was_used;

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
