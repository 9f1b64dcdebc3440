//! Adding, removing and rotating identities on a running system.
//!
//! The files change first, then every server reads them again, then we look whether the
//! change is in force. A removal is never rolled back: whatever fails after the files
//! changed, the key stays out of them.

use std::path::PathBuf;

use super::deployment::Deployment;
use super::files::{self, FileError, Lock};
use super::keys::{self, KeyError};
use super::principal::{Principal, Role, Service};
use super::registry::{Entry, Registry, RegistryError};
use super::servers::{Expected, ServerAccess, Servers, ServersError, Verified};

/// An identity cannot be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The change makes no sense, or the registry cannot be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The credential that reloads the servers is not here.
    #[error(
        "the credential of `identity` is missing: restore creds/service-identity.creds from \
         your backup; without it no running server can be told of a change"
    )]
    NoSystemKey,
    /// The servers kept their old state and so do the files.
    #[error("nothing was changed: {0}")]
    Undone(#[source] ServersError),
    /// The files are changed, the servers may not be.
    #[error("the files are changed, but not every server follows them yet: {0}")]
    NotInForce(#[from] ServersError),
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A new identity.
    Added,
    /// An identity is gone.
    Removed,
    /// An identity has a new key.
    Rotated,
}

impl Kind {
    /// The word for it, as in `identity.changed`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Rotated => "rotated",
        }
    }
}

/// Where a change holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InForce {
    /// No server runs: it will hold from its next start.
    NoServer,
    /// The servers were reloaded.
    Reloaded(Verified),
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What was done.
    pub kind: Kind,
    /// To whom.
    pub principal: Principal,
    /// The public key that counts from now on; `None` after removal.
    pub public_key: Option<String>,
    /// The credential that was written; `None` after removal.
    pub creds: Option<PathBuf>,
    /// Where it holds.
    pub in_force: InForce,
}

/// Adds an identity with a fresh key.
///
/// # Errors
/// If it exists or cannot be made; where a server refuses the new configuration the files
/// are as before.
pub async fn add(
    deployment: &Deployment,
    access: &ServerAccess,
    principal: Principal,
) -> Result<Change, ChangeError> {
    let _lock = Lock::take(deployment.dir())?;
    let before = deployment.registry()?;
    let key = keys::user()?;
    let mut after = before.clone();
    after.add(Entry {
        principal: principal.clone(),
        public_key: key.public.clone(),
    })?;
    let creds = deployment.creds(&principal);
    files::replace(&creds, key.seed.as_bytes(), files::PRIVATE)?;
    deployment.store(&after)?;
    let expected = [expect(&principal, &key.seed, true)];
    match enforce(deployment, access, &expected, None).await {
        Ok(in_force) => Ok(Change {
            kind: Kind::Added,
            principal,
            public_key: Some(key.public),
            creds: Some(creds),
            in_force,
        }),
        Err(ChangeError::NotInForce(error)) => {
            deployment.store(&before)?;
            files::remove(&creds)?;
            Err(ChangeError::Undone(error))
        }
        Err(error) => Err(error),
    }
}

/// Removes an identity; its connections are cut.
///
/// # Errors
/// If there is none. If a server does not follow, its key is out of the files all the same.
pub async fn remove(
    deployment: &Deployment,
    access: &ServerAccess,
    role: Role,
    name: &str,
) -> Result<Change, ChangeError> {
    let _lock = Lock::take(deployment.dir())?;
    let mut registry = deployment.registry()?;
    let gone = registry.remove(role, name)?;
    let seed = deployment.seed(&gone.principal)?;
    deployment.store(&registry)?;
    files::remove(&deployment.creds(&gone.principal))?;
    let expected: Vec<Expected> = seed
        .iter()
        .map(|seed| expect(&gone.principal, seed, false))
        .collect();
    let in_force = enforce(deployment, access, &expected, Some(&gone.public_key)).await?;
    Ok(Change {
        kind: Kind::Removed,
        principal: gone.principal,
        public_key: None,
        creds: None,
        in_force,
    })
}

/// Gives an identity a fresh key; connections with the old one are cut.
///
/// # Errors
/// If there is none. If a server does not follow, the old key is out of the files all the
/// same.
pub async fn rotate(
    deployment: &Deployment,
    access: &ServerAccess,
    role: Role,
    name: &str,
) -> Result<Change, ChangeError> {
    let _lock = Lock::take(deployment.dir())?;
    let mut registry = deployment.registry()?;
    let key = keys::user()?;
    let old = registry.rotate(role, name, key.public.clone())?;
    let old_seed = deployment.seed(&old.principal)?;
    // The server still knows the old key, so the connection that tells it comes first.
    let servers = connect(deployment, access).await?;
    let creds = deployment.creds(&old.principal);
    files::replace(&creds, key.seed.as_bytes(), files::PRIVATE)?;
    deployment.store(&registry)?;
    let mut expected = vec![expect(&old.principal, &key.seed, true)];
    expected.extend(
        old_seed
            .iter()
            .map(|seed| expect(&old.principal, seed, false)),
    );
    let in_force = follow(
        deployment,
        access,
        servers,
        &expected,
        Some(&old.public_key),
    )
    .await?;
    Ok(Change {
        kind: Kind::Rotated,
        principal: old.principal,
        public_key: Some(key.public),
        creds: Some(creds),
        in_force,
    })
}

/// Renders the accounts from the registry again and has every server read them: after the
/// files were copied to another machine, or after a change that a server missed.
///
/// # Errors
/// If a server refuses.
pub async fn reload(
    deployment: &Deployment,
    access: &ServerAccess,
) -> Result<InForce, ChangeError> {
    let _lock = Lock::take(deployment.dir())?;
    let registry: Registry = deployment.registry()?;
    deployment.store(&registry)?;
    enforce(deployment, access, &[], None).await
}

fn expect(principal: &Principal, seed: &str, admitted: bool) -> Expected {
    Expected {
        name: principal.name().to_owned(),
        seed: seed.to_owned(),
        admitted,
    }
}

async fn enforce(
    deployment: &Deployment,
    access: &ServerAccess,
    expected: &[Expected],
    gone: Option<&str>,
) -> Result<InForce, ChangeError> {
    let servers = connect(deployment, access).await?;
    follow(deployment, access, servers, expected, gone).await
}

async fn connect(
    deployment: &Deployment,
    access: &ServerAccess,
) -> Result<Option<Servers>, ChangeError> {
    let system = Principal::Service(Service::Identity);
    let seed = deployment.seed(&system)?.ok_or(ChangeError::NoSystemKey)?;
    Ok(Servers::connect(access, &seed).await?)
}

async fn follow(
    deployment: &Deployment,
    access: &ServerAccess,
    servers: Option<Servers>,
    expected: &[Expected],
    gone: Option<&str>,
) -> Result<InForce, ChangeError> {
    let Some(servers) = servers else {
        return Ok(InForce::NoServer);
    };
    servers.reload().await?;
    // A new connection: the reload cuts the first where the key of `identity` changed.
    let Some(servers) = connect(deployment, access).await? else {
        return Ok(InForce::NoServer);
    };
    let verified = servers.verify(expected).await;
    if let (Some(public_key), true) = (gone, verified.stale.is_empty()) {
        servers.cut_off(public_key).await?;
    }
    Ok(InForce::Reloaded(verified))
}
