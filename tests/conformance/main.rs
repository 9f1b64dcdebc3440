//! Rules that every deployment and every outside client can rely on.

mod deploy;
mod golden;
mod identities;
mod identity_command;
mod operator_mode;
mod permissions;
mod programs;
mod readme;
mod stage;
mod subjects;
mod tricks;
