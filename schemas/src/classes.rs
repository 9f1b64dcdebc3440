//! Field classes.
