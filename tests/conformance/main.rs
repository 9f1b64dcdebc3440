//! Rules that every deployment and every outside client can rely on.

mod deploy;
mod golden;
mod identities;
mod permissions;
mod programs;
mod readme;
mod stage;
mod tricks;
