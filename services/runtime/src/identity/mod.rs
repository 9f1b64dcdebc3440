//! Identity: who may connect to the server, and what each may do there.
//!
//! - [`Principal`] is one identity: a role, a name and what the role ties it to;
//! - [`Permissions`] is the least it needs; [`crossings`] is all that passes between
//!   accounts;
//! - [`ServerConf`] and [`render_accounts`] write the server's configuration;
//! - [`Registry`] is `identities.json`; [`Deployment`] is the directory around it;
//! - [`init()`] makes a deployment; [`add`], [`remove`], [`rotate`] and [`reload`] change
//!   it while it runs, [`change_key`] the keys that sign permits and claim tokens, and [`begin_epoch`] and
//!   [`destroy_epoch`] the one that fingerprints values.

mod change;
mod crossings;
mod deployment;
mod epochs;
mod files;
mod init;
mod keys;
mod permissions;
#[cfg(test)]
mod place;
mod principal;
mod registry;
mod server_conf;
mod servers;
mod signing;

pub use change::{Change, ChangeError, InForce, Kind, add, reload, remove, rotate};
pub use crossings::{Crossing, crossings};
pub use deployment::Deployment;
pub use epochs::{EpochBegun, EpochError, begin_epoch, can_be_destroyed, destroy_epoch};
pub use files::FileError;
pub use init::{InitError, InitOptions, Initialised, init};
pub use keys::KeyError;
pub use permissions::Permissions;
pub use principal::{Account, OWN_KEY, Principal, PrincipalError, Role, Service};
pub use registry::{Entry, Registry, RegistryError};
pub use server_conf::{Cluster, ServerConf, Tls, render_accounts};
pub use servers::{ServerAccess, ServersError, Verified};
pub use signing::{KeyChange, KeyStep, Signing, SigningError, change_key};
