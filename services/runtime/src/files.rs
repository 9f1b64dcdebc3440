//! Reading what a deployment's directory holds: keys, credentials and the policy bundle.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use countersign_domain::keys::{KeySet, SigningKey};
use zeroize::Zeroizing;

/// Files of one bundle: thousands of tools and rules, not a home directory by mistake.
const BUNDLE_FILES_MAX: usize = 20_000;
/// Bytes of one bundle: it is held in memory while it is read.
const BUNDLE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Folders within folders of a bundle.
const BUNDLE_DEPTH_MAX: usize = 8;
/// What belongs to a bundle; notes and editors' files beside it do not.
const BUNDLE_ENDINGS: [&str; 3] = ["cedar", "toml", "json"];

/// A file that is configured cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the {what} `{}`: {source}", path.display())]
    Unreadable {
        /// What it is for.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others on the machine can read a secret.
    #[error(
        "the {what} `{}` can be read by others (mode {mode:03o}): run `chmod 600` on it",
        path.display()
    )]
    Exposed {
        /// What it is for.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not hold what it should.
    #[error("cannot use the {what} `{}`: {reason}", path.display())]
    Malformed {
        /// What it is for.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What is wrong; never a part of a secret.
        reason: String,
    },
    /// A bundle is beyond every honest size.
    #[error("the policy bundle `{}` is too large: {rule}; is this the right folder?", path.display())]
    TooLarge {
        /// The folder.
        path: PathBuf,
        /// Which bound it passes.
        rule: String,
    },
}

impl FileError {
    pub(crate) fn unreadable(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Unreadable { what, path, source }
    }

    pub(crate) fn malformed(what: &'static str, path: &Path, reason: impl ToString) -> Self {
        Self::Malformed {
            what,
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// The text of a secret file without the white space around it.
///
/// # Errors
/// When it cannot be read, or others than its owner can read it too.
pub fn secret(what: &'static str, path: &Path) -> Result<Zeroizing<String>, FileError> {
    let held = fs::metadata(path).map_err(FileError::unreadable(what, path))?;
    let mode = held.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed {
            what,
            path: path.to_owned(),
            mode,
        });
    }
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(FileError::unreadable(what, path))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// A private signing key, PKCS#8 PEM.
///
/// # Errors
/// When the file cannot be read, is exposed or holds no Ed25519 key.
pub fn signing_key(what: &'static str, path: &Path) -> Result<SigningKey, FileError> {
    let pem = secret(what, path)?;
    SigningKey::from_pem(&pem).map_err(|error| FileError::malformed(what, path, error))
}

/// Public keys, a JWKS.
///
/// # Errors
/// When the file cannot be read or holds no key set.
pub fn key_set(what: &'static str, path: &Path) -> Result<KeySet, FileError> {
    let text = fs::read_to_string(path).map_err(FileError::unreadable(what, path))?;
    KeySet::from_jwks(&text).map_err(|error| FileError::malformed(what, path, error))
}

/// The files of a policy bundle by relative path, `/` between its parts.
///
/// # Errors
/// When the folder or a file in it cannot be read, or it is far too large.
pub fn policy_bundle(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>, FileError> {
    let mut walk = Walk {
        root: dir,
        files: BTreeMap::new(),
        bytes: 0,
    };
    walk.folder(dir, "", 0)?;
    Ok(walk.files)
}

struct Walk<'a> {
    root: &'a Path,
    files: BTreeMap<String, Vec<u8>>,
    bytes: u64,
}

impl Walk<'_> {
    fn folder(&mut self, dir: &Path, prefix: &str, depth: usize) -> Result<(), FileError> {
        let failed = || FileError::unreadable("policy bundle", dir);
        if depth > BUNDLE_DEPTH_MAX {
            return Err(self.too_large(format!("folders deeper than {BUNDLE_DEPTH_MAX}")));
        }
        for entry in fs::read_dir(dir).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let path = entry.path();
            let name = entry.file_name().into_string().map_err(|_| {
                FileError::malformed("policy bundle", &path, "its name is not UTF-8")
            })?;
            if name.starts_with('.') {
                continue;
            }
            let relative = format!("{prefix}{name}");
            // Follows links, so that a bundle may be mounted through them.
            let held = fs::metadata(&path).map_err(FileError::unreadable("policy file", &path))?;
            if held.is_dir() {
                self.folder(&path, &format!("{relative}/"), depth + 1)?;
            } else if is_part(&path) {
                self.file(&path, relative, held.len())?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, relative: String, bytes: u64) -> Result<(), FileError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.files.len() >= BUNDLE_FILES_MAX || self.bytes > BUNDLE_BYTES_MAX {
            let rule = format!("more than {BUNDLE_FILES_MAX} files or {BUNDLE_BYTES_MAX} bytes");
            return Err(self.too_large(rule));
        }
        let content = fs::read(path).map_err(FileError::unreadable("policy file", path))?;
        self.files.insert(relative, content);
        Ok(())
    }

    fn too_large(&self, rule: String) -> FileError {
        FileError::TooLarge {
            path: self.root.to_owned(),
            rule,
        }
    }
}

fn is_part(path: &Path) -> bool {
    path.extension()
        .and_then(|ending| ending.to_str())
        .is_some_and(|ending| BUNDLE_ENDINGS.contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.creds");
        write(&path, " SUSECRET\n", 0o600);
        assert_eq!(secret("credential", &path).unwrap().as_str(), "SUSECRET");
        for mode in [0o640, 0o604, 0o666] {
            write(&path, "SUSECRET", mode);
            let text = secret("credential", &path).unwrap_err().to_string();
            assert!(text.contains("chmod 600"), "{text}");
            assert!(!text.contains("SUSECRET"), "{text}");
        }
        let missing = secret("credential", &dir.path().join("b")).unwrap_err();
        assert!(missing.to_string().contains("cannot read the credential"));
    }

    #[test]
    fn keys_are_read_and_garbage_is_told_without_showing_it() {
        let dir = tempfile::tempdir().unwrap();
        let key = SigningKey::from_seed(&[7; 32]);
        let private = dir.path().join("permit.pem");
        write(&private, &key.to_pem().unwrap(), 0o600);
        let read = signing_key("permit key", &private).unwrap();
        assert_eq!(read.id(), key.id());
        let public = dir.path().join("permit.jwks.json");
        write(&public, &KeySet::new([key.public()]).to_jwks(), 0o644);
        assert!(
            key_set("permit keys", &public)
                .unwrap()
                .get(key.id())
                .is_some()
        );

        write(&private, "-----BEGIN SECRET-----", 0o600);
        let text = signing_key("permit key", &private).unwrap_err().to_string();
        assert!(
            text.contains("permit.pem") && !text.contains("BEGIN"),
            "{text}"
        );
        write(&public, "{}", 0o644);
        assert!(key_set("permit keys", &public).is_err());
    }

    #[test]
    fn a_bundle_is_its_rules_tools_and_people() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "entities.json",
            "policies/a.cedar",
            "catalog/deep/er/t.toml",
            ".git/x.json",
            "policies/.a.cedar",
            "README.md",
        ] {
            write(&dir.path().join(name), name, 0o644);
        }
        let files = policy_bundle(dir.path()).unwrap();
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "catalog/deep/er/t.toml",
                "entities.json",
                "policies/a.cedar"
            ]
        );
        assert_eq!(&files["entities.json"], b"entities.json");
        let missing = policy_bundle(&dir.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("none"));
    }

    #[test]
    fn a_folder_that_never_ends_is_no_bundle() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("again")).unwrap();
        let error = policy_bundle(dir.path()).unwrap_err();
        assert!(matches!(error, FileError::TooLarge { .. }), "{error}");
    }
}
