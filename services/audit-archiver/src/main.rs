//! The service as its own binary.

fn main() {}
