//! What is known about an archive outside of it: the state file, witness places, saved
//! checkpoints and the events that the archiver stored.

use std::path::{Path, PathBuf};

use countersign_audit_archiver::{NAME, State, WITNESSED, read_note};
use countersign_domain::archive::{Anchor, ManifestPublicKeys};
use countersign_runtime::config::Config;
use countersign_schemas::Stream;
use countersign_schemas::codec::decode;
use countersign_schemas::events::ArchiveCommitted;

use crate::client::Client;
use crate::exit::CliError;
use crate::output::Output;

/// Every commit's event.
const COMMITTED: &str = "archive.committed.*";

/// The state file, if it is there.
pub(in crate::commands) fn state(path: &Path) -> Result<Vec<Anchor>, CliError> {
    let state = State::read(path).map_err(CliError::configured)?;
    Ok(state.iter().map(|state| state.anchor(path)).collect())
}

/// The checkpoint in a file.
pub(super) fn checkpoint(path: &Path, keys: &ManifestPublicKeys) -> Result<Anchor, CliError> {
    let unusable = |error: &dyn std::fmt::Display| {
        let path = path.display();
        CliError::configured(format!("cannot use the checkpoint `{path}`: {error}"))
    };
    let note = read_note(path).map_err(CliError::configured)?;
    let note = note.ok_or_else(|| unusable(&"there is no such file"))?;
    let checkpoint = keys.open_checkpoint(&note).map_err(|e| unusable(&e))?;
    let source = format!("the checkpoint {}", path.display());
    Ok(Anchor::rows(source, &checkpoint))
}

/// The checkpoints of the deployment's witness places. One that is away is told of: the
/// others may do.
pub(super) fn witnesses(
    places: &[PathBuf],
    keys: &ManifestPublicKeys,
    output: &Output,
) -> Result<Vec<Anchor>, CliError> {
    let mut found = Vec::new();
    for place in places {
        let path = place.join(WITNESSED);
        match read_note(&path) {
            Ok(Some(_)) => found.push(checkpoint(&path, keys)?),
            Ok(None) => output.progress(&format!(
                "the witness place {} holds no checkpoint",
                place.display()
            )),
            Err(error) => output.progress(&format!("a witness place is away: {error}")),
        }
    }
    Ok(found)
}

/// The events that a file holds: one body in JSON for each line, or one in Avro.
pub(super) fn committed(path: &Path, keys: &ManifestPublicKeys) -> Result<Vec<Anchor>, CliError> {
    let name = path.display().to_string();
    let unusable = |error: &dyn std::fmt::Display| {
        CliError::configured(format!("cannot use the saved events `{name}`: {error}"))
    };
    let bytes = std::fs::read(path).map_err(|error| unusable(&error))?;
    let bodies: Vec<&[u8]> = match bytes.first() {
        Some(b'{') => bytes.split(|byte| *byte == b'\n').collect(),
        _ => vec![&bytes],
    };
    let mut found = Vec::new();
    for body in bodies
        .into_iter()
        .filter(|body| !body.trim_ascii().is_empty())
    {
        let event: ArchiveCommitted = decode(body).map_err(|error| unusable(&error))?;
        let source = format!("archive.committed.{} of {name}", event.n);
        found.extend(of_event(&source, &event, keys).map_err(|error| unusable(&error))?);
    }
    Ok(found)
}

/// The newest event that the archiver stored, read as the archiver itself.
pub(super) async fn stored(
    config: &Config,
    keys: &ManifestPublicKeys,
) -> Result<Vec<Anchor>, CliError> {
    let client = Client::connect(config, "service", NAME).await?;
    let found = client.bus.last_by_subject(Stream::Events, COMMITTED).await;
    client.bus.close().await;
    let Some(message) = found.map_err(CliError::unreachable)? else {
        return Ok(Vec::new());
    };
    let subject = &message.subject;
    let unusable = |error: &dyn std::fmt::Display| {
        CliError::unexpected(format!("cannot use the stored event {subject}: {error}"))
    };
    let event: ArchiveCommitted = decode(&message.payload).map_err(|error| unusable(&error))?;
    let source = format!("the stored event {subject}");
    of_event(&source, &event, keys).map_err(|error| unusable(&error))
}

/// Both statements of an event: about the entry, and about the rows if it says so.
fn of_event(
    source: &str,
    event: &ArchiveCommitted,
    keys: &ManifestPublicKeys,
) -> Result<Vec<Anchor>, countersign_domain::merkle::CheckpointError> {
    let entry = Anchor::entry(source.to_owned(), event.n, event.entry_digest);
    let mut found = vec![entry];
    if let Some(note) = &event.checkpoint {
        let checkpoint = keys.open_checkpoint(note)?;
        found.push(Anchor::rows(source.to_owned(), &checkpoint));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use countersign_domain::archive::{Known, ManifestKey};
    use countersign_domain::merkle::Tree;

    use super::*;

    const EVENT: &str = "{\"schema_version\":1,\"n\":3,\"entry_digest\":\"sha256:2c26b46b68ffc68ff99b\
        453c1d30413413422d706483bfa0f98a5e886266e7ae\",\"tree_size\":1,\"positions\":[],\
        \"signer\":\"k\"}";

    fn key() -> ManifestKey {
        ManifestKey::from_bytes(&[7; 32])
    }

    fn note() -> String {
        let mut tree = Tree::default();
        tree.push([1; 32]);
        key().checkpoint("northwind", &tree).unwrap()
    }

    #[test]
    fn saved_events_and_checkpoints_are_read_and_forged_ones_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("saved");
        let signed = EVENT.replace(
            "\"k\"}",
            &format!("\"k\",\"checkpoint\":{}}}", serde_json::json!(note())),
        );
        fs::write(&path, format!("{EVENT}\n{signed}\n")).unwrap();
        let found = committed(&path, &key().public()).unwrap();
        let known: Vec<_> = found.iter().map(|anchor| anchor.known).collect();
        assert!(matches!(
            known[..],
            [
                Known::Entry { n: 3, .. },
                Known::Entry { .. },
                Known::Rows { size: 1, .. }
            ]
        ));
        let other = ManifestKey::from_bytes(&[9; 32]).public();
        for (text, keys) in [(signed.as_str(), &other), ("{}", &key().public())] {
            fs::write(&path, text).unwrap();
            let error = committed(&path, keys).unwrap_err().to_string();
            assert!(error.contains("saved"), "{error}");
        }
        fs::write(&path, note()).unwrap();
        checkpoint(&path, &key().public()).unwrap();
        for keys in [other, key().public()] {
            let error = checkpoint(&path, &keys);
            assert_eq!(error.is_ok(), keys == key().public());
        }
        let missing = checkpoint(&dir.path().join("none"), &key().public()).unwrap_err();
        assert!(missing.to_string().contains("no such file"), "{missing}");
    }

    #[test]
    fn a_witness_that_is_away_is_passed_over_and_a_forged_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let places = [dir.path().join("away"), dir.path().join("here")];
        fs::create_dir(&places[1]).unwrap();
        fs::write(places[1].join(WITNESSED), note()).unwrap();
        let output = Output::new(true);
        let found = witnesses(&places, &key().public(), &output).unwrap();
        assert_eq!(found.len(), 1);
        let other = ManifestKey::from_bytes(&[9; 32]).public();
        assert!(witnesses(&places, &other, &output).is_err());
    }
}
