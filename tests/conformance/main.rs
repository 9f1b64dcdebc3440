//! Rules that every deployment and every outside client can rely on.
