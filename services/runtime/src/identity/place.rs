//! A deployment made for one test.

use std::path::PathBuf;

use tempfile::TempDir;

use super::{Deployment, InitOptions, init};

/// A fresh deployment and its keys; dropping it removes them.
pub(super) struct Place {
    _dir: TempDir,
    pub(super) deployment: Deployment,
    pub(super) keys: PathBuf,
}

impl Place {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = InitOptions::local("acme", "127.0.0.1:4222");
        let deployment = init(&dir.path().join("d"), &options).unwrap().deployment;
        let keys = deployment.dir().join("keys");
        Self {
            _dir: dir,
            deployment,
            keys,
        }
    }
}
