//! Places elsewhere that keep the newest checkpoint too. Whoever rewrites the archive would
//! have to reach them all; what they hold is compared by `audit verify`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_domain::archive::ManifestPublicKeys;
use countersign_runtime::archive::replace_file;
use countersign_runtime::bus::metrics::alarm;
use tempfile::NamedTempFile;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};

use crate::commit::Head;
use crate::root::StoreError;
use crate::tiles::read_note;

/// The name of the checkpoint in a witness place.
pub const WITNESSED: &str = "checkpoint";
/// Pause before places that failed are tried again.
const RETRY: Duration = Duration::from_secs(30);

/// A checkpoint is not kept in a witness place.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    /// The directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is there contradicts the archive. It stays, as the evidence that it is.
    #[error(
        "it holds a checkpoint of {there} rows, the archive has {ours}: the archive was cut or \
         rewritten; run `countersign audit verify`"
    )]
    Contradicts { there: u64, ours: u64 },
}

/// Keeps every checkpoint that `heads` shows in each of `places`; only the newest when they
/// come too fast. A place that fails or hangs is an alarm and holds up nothing else.
pub(crate) async fn run(
    places: Vec<PathBuf>,
    pinned: ManifestPublicKeys,
    heads: watch::Receiver<Head>,
) {
    let mut tasks = JoinSet::new();
    for place in places {
        tasks.spawn(attend(place, pinned.clone(), heads.clone()));
    }
    while tasks.join_next().await.is_some() {}
}

async fn attend(place: PathBuf, pinned: ManifestPublicKeys, mut heads: watch::Receiver<Head>) {
    loop {
        let note = heads.borrow_and_update().checkpoint.clone();
        let failed = match note {
            Some(note) => !kept(place.clone(), note, pinned.clone()).await,
            None => false,
        };
        tokio::select! {
            changed = heads.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if failed => {}
        }
    }
}

async fn kept(place: PathBuf, note: String, pinned: ManifestPublicKeys) -> bool {
    let name = place.display().to_string();
    let why = match spawn_blocking(move || keep(&place, &note, &pinned)).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    alarm(
        "archive_witness",
        &format!("the witness place {name} does not keep the checkpoint: {why}"),
    );
    false
}

/// The directory itself must be there: a mount that is away must not be taken for an empty
/// directory of the machine's own disk.
fn keep(place: &Path, note: &str, pinned: &ManifestPublicKeys) -> Result<(), KeepError> {
    let path = place.join(WITNESSED);
    let there = read_note(&path)?.unwrap_or_default();
    if there == note {
        return Ok(());
    }
    if let (Ok(there), Ok(ours)) = (pinned.open_checkpoint(&there), pinned.open_checkpoint(note))
        && (there.size > ours.size || there.size == ours.size && there.root != ours.root)
    {
        let (there, ours) = (there.size, ours.size);
        return Err(KeepError::Contradicts { there, ours });
    }
    let file = NamedTempFile::new_in(place).map_err(StoreError::new("write", &path))?;
    Ok(replace_file(file, &path, note.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use countersign_domain::merkle::Tree;

    use super::*;
    use crate::tests::key;

    fn note(rows: u8) -> String {
        let mut tree = Tree::default();
        (0..rows).for_each(|row| tree.push([row; 32]));
        key().checkpoint("northwind", &tree).unwrap()
    }

    fn head(rows: u8) -> Head {
        Head {
            checkpoint: Some(note(rows)),
            ..Head::default()
        }
    }

    #[tokio::test]
    async fn each_place_keeps_the_newest_and_a_missing_one_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (good, away) = (dir.path().join("good"), dir.path().join("away"));
        fs::create_dir(&good).unwrap();
        let (tell, heads) = watch::channel(head(1));
        let places = vec![away.clone(), good.clone()];
        let running = tokio::spawn(run(places, key().public(), heads));
        for rows in [1, 2] {
            tell.send_replace(head(rows));
            let kept = async {
                while fs::read_to_string(good.join(WITNESSED)).ok() != Some(note(rows)) {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), kept)
                .await
                .unwrap();
        }
        drop(tell);
        running.await.unwrap();
        assert!(!away.try_exists().unwrap(), "a place is never made");
    }

    #[test]
    fn a_checkpoint_of_more_rows_is_evidence_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(WITNESSED);
        keep(dir.path(), &note(3), &key().public()).unwrap();
        let error = keep(dir.path(), &note(2), &key().public()).unwrap_err();
        assert!(error.to_string().contains("audit verify"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), note(3));
        fs::write(&path, "nothing that anybody signed").unwrap();
        keep(dir.path(), &note(2), &key().public()).unwrap();
    }
}
