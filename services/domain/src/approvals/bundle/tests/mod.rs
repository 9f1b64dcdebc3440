//! A bundle as it is gathered, asked and voted on.

mod gathering;
mod properties;
mod votes;
