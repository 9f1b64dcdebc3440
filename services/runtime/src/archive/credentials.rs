//! The credentials of a bucket: from a file that is named, or from the standard variables.
//! They are held by the client that signs with them and told to nobody.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};

use crate::files::{self, FileError};

/// What the file is called in sentences.
const WHAT: &str = "credentials of the archive's store";
/// The section that is read where a file has several.
const SECTION: &str = "default";
/// What a client takes from the environment. No other variable changes how it works: one of
/// a shell must not turn a check off.
const VARIABLES: [&str; 10] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_METADATA_ENDPOINT",
];

/// Gives the client its credentials: of `file`, or of the one that the environment names, or
/// of the environment, or those of the machine.
///
/// # Errors
/// When a file is named and cannot be used.
pub(super) fn give(
    builder: AmazonS3Builder,
    file: Option<&Path>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<AmazonS3Builder, FileError> {
    let file = file.map(Path::to_owned);
    let file = file.or_else(|| variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from));
    if let Some(path) = file {
        read(&path)?;
        return Ok(builder.with_credentials(Arc::new(FromFile(path))));
    }
    let mut builder = builder;
    for name in VARIABLES {
        let key = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>();
        if let (Some(value), Ok(key)) = (variable(name), key) {
            builder = builder.with_config(key, value);
        }
    }
    Ok(builder)
}

/// Reads the file for each request: it is small, and so a rotation needs no restart.
struct FromFile(PathBuf);

impl fmt::Debug for FromFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FromFile").field(&self.0).finish()
    }
}

#[async_trait]
impl CredentialProvider for FromFile {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let found = read(&self.0).map(Arc::new);
        found.map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(error),
        })
    }
}

/// Reads a file in the form of `~/.aws/credentials`.
fn read(path: &Path) -> Result<AwsCredential, FileError> {
    let text = files::secret(WHAT, path)?;
    let (mut key_id, mut secret_key, mut token) = (None, None, None);
    let mut ours = true;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            ours = section.trim_end_matches(']').trim() == SECTION;
        }
        let Some((name, value)) = line.split_once('=').filter(|_| ours) else {
            continue;
        };
        let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        match name.trim() {
            "aws_access_key_id" => key_id = value,
            "aws_secret_access_key" => secret_key = value,
            "aws_session_token" => token = value,
            _ => {}
        }
    }
    match (key_id, secret_key) {
        (Some(key_id), Some(secret_key)) => Ok(AwsCredential {
            key_id,
            secret_key,
            token,
        }),
        _ => Err(FileError::malformed(
            WHAT,
            path,
            "it holds no `aws_access_key_id = …` and `aws_secret_access_key = …` under [default]",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A value that must not be told, made here so that no file of ours looks like holding one.
    fn planted() -> String {
        ["planted", "value"].join("-")
    }

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        (dir, path)
    }

    #[test]
    fn the_default_section_of_a_file_in_the_usual_form_is_read() {
        let secret = planted();
        let text = format!(
            "[other]\naws_access_key_id = no\naws_secret_access_key = no\n\n[default]\n\
             aws_access_key_id = id\naws_secret_access_key={secret}=\n# more\n"
        );
        let (_dir, path) = written(&text);
        let found = read(&path).unwrap();
        assert_eq!(found.key_id, "id");
        assert_eq!(found.secret_key, format!("{secret}="));
        assert_eq!(found.token, None);
    }

    #[test]
    fn a_file_that_others_read_or_that_holds_half_is_refused_and_not_quoted() {
        let secret = planted();
        let (_dir, path) = written(&format!("aws_secret_access_key = {secret}\n"));
        let half = read(&path).unwrap_err().to_string();
        assert!(half.contains("aws_access_key_id"), "{half}");
        assert!(!half.contains(&secret), "{half}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("chmod 600"));
        let given = give(AmazonS3Builder::new(), Some(&path), |_| None);
        assert!(given.is_err(), "it is refused before the first request");
    }

    #[test]
    fn no_secret_of_file_or_environment_is_in_what_debug_prints() {
        let secret = planted();
        let text = format!("aws_access_key_id = id\naws_secret_access_key = {secret}\n");
        let (_dir, path) = written(&text);
        let client = |builder: AmazonS3Builder| builder.with_bucket_name("b").build().unwrap();
        let from_file = give(AmazonS3Builder::new(), Some(&path), |_| None).unwrap();
        let variable = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" => Some("id".to_owned()),
            "AWS_SECRET_ACCESS_KEY" | "AWS_SESSION_TOKEN" => Some(secret.clone()),
            _ => None,
        };
        let from_environment = give(AmazonS3Builder::new(), None, variable).unwrap();
        for client in [client(from_file), client(from_environment)] {
            let shown = format!("{client:?}");
            assert!(!shown.contains(&secret), "{shown}");
        }
    }

    #[test]
    fn no_other_variable_changes_how_the_store_is_used() {
        let asked = std::cell::RefCell::new(Vec::new());
        let variable = |name: &str| {
            asked.borrow_mut().push(name.to_owned());
            None
        };
        give(AmazonS3Builder::new(), None, variable).unwrap();
        let asked = asked.into_inner();
        assert_eq!(
            asked.len(),
            VARIABLES.len() + 1,
            "each is known to the client"
        );
        for dangerous in [
            "AWS_SKIP_SIGNATURE",
            "AWS_ALLOW_HTTP",
            "AWS_CONDITIONAL_PUT",
        ] {
            assert!(!asked.iter().any(|name| name == dangerous));
        }
        for name in VARIABLES {
            let key = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>();
            assert!(key.is_ok(), "{name}");
        }
    }
}
