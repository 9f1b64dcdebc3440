//! A bundle as it is gathered, asked and voted on.

mod gathering;
mod name;
mod properties;
mod times;
mod votes;
