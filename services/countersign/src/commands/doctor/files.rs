//! Keys and credentials: there, readable, and readable by nobody else.

use std::path::{Path, PathBuf};

use countersign_runtime::config::Config;
use countersign_runtime::files;

use super::Check;
use crate::exit::{CliError, Exit};

/// Files that sign or blind.
const PRIVATE: [&str; 5] = [
    "permit.pem",
    "claim.pem",
    "manifest.pem",
    "fingerprint.key",
    "match.key",
];
/// Files by which others check a signature.
const PUBLIC: [&str; 3] = ["permit.jwks.json", "claim.jwks.json", "manifest.pub"];

/// One line for the keys.
pub(super) fn keys(config: &Config) -> Vec<Check> {
    let dir = &config.keys.dir;
    let private = PRIVATE.map(|name| private(dir.join(name)));
    let public = PUBLIC.map(|name| public(dir.join(name)));
    let bad: Vec<Check> = private.into_iter().chain(public).flatten().collect();
    if bad.is_empty() {
        let count = PRIVATE.len() + PUBLIC.len();
        return vec![Check::ok(
            "keys",
            format!("{count} files in `{}`", dir.display()),
        )];
    }
    bad
}

/// One line for the credentials, or one for each that others can read.
pub(super) fn credentials(config: &Config) -> Vec<Check> {
    let dir = &config.nats.creds_dir;
    let found = match list(dir) {
        Ok(found) => found,
        Err(reason) => {
            let finding = format!("cannot read `{}`: {reason}", dir.display());
            return vec![Check::fail("credentials", Exit::Configuration, finding)];
        }
    };
    let count = found.len();
    let bad: Vec<Check> = found.into_iter().filter_map(private).collect();
    match (bad.is_empty(), count) {
        (true, 0) => vec![Check::fail(
            "credentials",
            Exit::Configuration,
            format!("none in `{}`: run `countersign init`", dir.display()),
        )],
        (true, count) => vec![Check::ok(
            "credentials",
            format!("{count} in `{}`", dir.display()),
        )],
        (false, _) => bad,
    }
}

fn list(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "creds") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// What is wrong with a secret file.
fn private(path: PathBuf) -> Option<Check> {
    let error = files::secret("secret", &path).err()?;
    Some(Check::of(
        name(&path),
        Err::<String, _>(CliError::from(error)),
    ))
}

/// What is wrong with a file that anybody may read.
fn public(path: PathBuf) -> Option<Check> {
    let error = std::fs::read(&path).err()?;
    let finding = format!("cannot read `{}`: {error}", path.display());
    Some(Check::fail(name(&path), Exit::Configuration, finding))
}

fn name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::commands::doctor::State;

    fn write(path: &Path, mode: u32) {
        std::fs::write(path, "k1:AAAA").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn deployment() -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        for name in PRIVATE {
            write(&dir.path().join(name), 0o600);
        }
        for name in PUBLIC {
            write(&dir.path().join(name), 0o644);
        }
        let mut config = Config::default();
        config.keys.dir = dir.path().to_owned();
        config.nats.creds_dir = dir.path().to_owned();
        (dir, config)
    }

    #[test]
    fn keys_in_place_are_one_line() {
        let (_dir, config) = deployment();
        let lines = keys(&config);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].state, State::Ok);
    }

    #[test]
    fn a_key_that_others_can_read_and_one_that_is_gone_are_named() {
        let (dir, config) = deployment();
        write(&dir.path().join("match.key"), 0o644);
        std::fs::remove_file(dir.path().join("manifest.pub")).unwrap();
        let lines = keys(&config);
        let names: Vec<_> = lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["match.key", "manifest.pub"]);
        assert!(
            lines[0].finding.contains("chmod 600"),
            "{}",
            lines[0].finding
        );
        assert!(lines.iter().all(|line| line.exit == Exit::Configuration));
        assert!(!lines[0].finding.contains("AAAA"));
    }

    #[test]
    fn credentials_are_counted_and_guarded() {
        let (dir, config) = deployment();
        assert_eq!(credentials(&config)[0].state, State::Fail);
        write(&dir.path().join("agent-crm.creds"), 0o600);
        assert_eq!(credentials(&config)[0].state, State::Ok);
        write(&dir.path().join("agent-billing.creds"), 0o640);
        let lines = credentials(&config);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].name, "agent-billing.creds");
    }
}
