//! The archive: its manifest unbroken up to what the state file knows, its files there.

use countersign_audit_archiver::{Outline, VerifyError, outline};
use countersign_runtime::archive::Place;
use countersign_runtime::config::Config;

use super::Check;
use crate::commands::audit::anchors;
use crate::commands::audit::verify::pinned;
use crate::exit::{CliError, Exit};

/// What the check is called.
const NAME: &str = "archive";

/// One line for the archive. No row is read: what somebody has edited finds `audit verify`.
pub(super) fn check(config: &Config) -> Check {
    match looked_at(config) {
        Ok(check) => check,
        Err(error) => Check::of(NAME, Err::<String, _>(error)),
    }
}

fn looked_at(config: &Config) -> Result<Check, CliError> {
    let place = Place::of(config).map_err(CliError::configured)?;
    let keys = pinned(&config.keys.dir.join("manifest.pub"))?;
    let known = anchors::state(&config.audit_archiver.state_file)?;
    Ok(match outline(&place, &keys, &known) {
        Ok(found) => judged(&place, &found),
        Err(VerifyError::Store(error)) if error.is_missing() && known.is_empty() => {
            Check::ok(NAME, format!("nothing at `{place}` yet"))
        }
        Err(VerifyError::Store(error)) if error.is_missing() => {
            let finding = format!(
                "there is no manifest at `{place}`, although the state file knows of one: is it \
                 mounted, and the right place? Else put it back from a copy"
            );
            Check::fail(NAME, Exit::Unreachable, finding)
        }
        Err(VerifyError::Store(error)) => Check::fail(NAME, Exit::Unreachable, error.to_string()),
        Err(error) => Check::fail(NAME, Exit::Unexpected, broken(&error)),
    })
}

fn judged(place: &Place, found: &Outline) -> Check {
    let counted = format!(
        "{} rows in {} files at `{place}`, up to manifest entry {}",
        found.rows, found.files, found.entries
    );
    match &found.missing {
        None => Check::ok(NAME, counted),
        Some(path) => Check::fail(
            NAME,
            Exit::Unexpected,
            format!(
                "{path} is missing or has another size, as after a power cut: put it back from a \
                 copy. Nothing is purged from the streams until then ({counted})"
            ),
        ),
    }
}

fn broken(error: &VerifyError) -> String {
    format!(
        "{error}. The archiver does not write to it: put the manifest back from a copy, or see \
         \"After a power cut\" in docs/operations.md"
    )
}

#[cfg(test)]
mod tests {
    use countersign_domain::archive::ManifestKey;

    use super::*;
    use crate::commands::doctor::State;

    fn deployment() -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.keys.dir = dir.path().to_owned();
        config.audit_archiver.dir = dir.path().join("archive");
        config.audit_archiver.state_file = dir.path().join("state.json");
        // A public key in PEM is its bytes after a constant; the signer's name holds them.
        let signer = ManifestKey::from_bytes(&[7; 32]).signer();
        let bytes = signer.split_once(':').unwrap().1;
        let bytes = bytes.replace('-', "+").replace('_', "/");
        let (begin, end) = ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----");
        let pem = format!("{begin}\nMCowBQYDK2VwAyEA{bytes}=\n{end}\n");
        std::fs::write(dir.path().join("manifest.pub"), pem).unwrap();
        (dir, config)
    }

    #[test]
    fn no_archive_is_well_until_the_state_file_knows_of_one() {
        let (_dir, config) = deployment();
        assert_eq!(check(&config).state, State::Ok);
        let digest = "sha256:".to_owned() + &"0".repeat(64);
        let state = format!("{{\"n\":3,\"entry_digest\":\"{digest}\",\"tree_size\":9}}");
        std::fs::write(&config.audit_archiver.state_file, state).unwrap();
        let lost = check(&config);
        assert_eq!((lost.state, lost.exit), (State::Fail, Exit::Unreachable));
        assert!(lost.finding.contains("is it mounted"), "{}", lost.finding);
        std::fs::create_dir_all(config.audit_archiver.dir.join("manifest")).unwrap();
        let cut = check(&config);
        assert_eq!(cut.state, State::Fail);
        assert!(
            cut.finding.contains("knows entry 3: the tail was cut off"),
            "{}",
            cut.finding
        );
        assert!(cut.finding.contains("After a power cut"), "{}", cut.finding);
    }

    #[test]
    fn a_missing_file_is_named_with_what_to_do() {
        let mut found = Outline {
            entries: 2,
            rows: 9,
            files: 3,
            missing: None,
        };
        let place = Place::from(std::path::Path::new("audit"));
        assert_eq!(judged(&place, &found).state, State::Ok);
        found.missing = Some("archive/v1/x.parquet".to_owned());
        let cut = judged(&place, &found);
        assert_eq!(cut.state, State::Fail);
        for word in ["archive/v1/x.parquet", "power cut", "Nothing is purged"] {
            assert!(cut.finding.contains(word), "{}", cut.finding);
        }
    }
}
