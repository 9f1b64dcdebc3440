//! Every way to tamper with an archive that the real archiver wrote in another process:
//! bytes on disk are edited, every hash that nobody signs is made right again, and the
//! command must name the first bad place.

mod forger;
mod outside;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use countersign_domain::archive::{Entry, ManifestKey};
use countersign_tests::process::{ARCHIVER, program};
use countersign_tests::{Deployment, PATIENCE, eventually};
use forger::{Forger, copy};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Four times this is enough for a full tile and one that is not.
const QUARTER: u64 = 68;

/// An archive as it was at one moment, with what is known about it elsewhere.
struct Archive {
    /// Keeps the server and the keys.
    deployment: Deployment,
    copies: TempDir,
    /// The whole archive early on, as somebody could have copied it.
    early: PathBuf,
}

impl Archive {
    /// Written by the archiver, killed twice on the way.
    async fn written() -> Self {
        let mut deployment = Deployment::without_services(&[]).await;
        deployment.launch(ARCHIVER);
        let copies = tempfile::tempdir().expect("a directory");
        // Each quarter is committed before the next is published: no batch takes two of them.
        for quarter in 1..=2 {
            publish(&deployment, QUARTER).await;
            at_rest(&deployment, quarter * QUARTER).await;
        }
        deployment.service(ARCHIVER).kill();
        let early = copies.path().join("early");
        copy(&deployment.archive(), &early);
        deployment.service(ARCHIVER).restart();
        for quarter in 3..=4 {
            publish(&deployment, QUARTER).await;
            at_rest(&deployment, quarter * QUARTER).await;
        }
        deployment.service(ARCHIVER).kill();
        Self {
            deployment,
            copies,
            early,
        }
    }

    fn key(&self) -> PathBuf {
        self.deployment.files().dir().join("keys/manifest.pub")
    }

    fn stolen_key(&self) -> ManifestKey {
        let path = self.key().with_extension("pem");
        let pem = std::fs::read_to_string(path).expect("init wrote the key");
        ManifestKey::from_pem(&pem).expect("a key")
    }

    fn state_file(&self) -> PathBuf {
        let data = self.deployment.files().dir().join("data");
        data.join("archive-state.json")
    }

    /// A copy to tamper with.
    fn forger(&self, name: &str) -> Forger {
        let place = self.copies.path().join(name);
        copy(&self.deployment.archive(), &place);
        Forger::open(place)
    }

    fn verify(&self, archive: &Path, more: &[&str]) -> Output {
        Command::new(program("countersign"))
            .args(["--json", "audit", "verify", "--archive"])
            .arg(archive)
            .arg("--key")
            .arg(self.key())
            .args(more)
            .output()
            .expect("the program can be started")
    }

    /// What the command says of a copy that was tampered with, compared with the state file.
    fn place(&self, forger: &Forger) -> Value {
        let state_file = self.state_file();
        let state = state_file.to_str().expect("a path of ours");
        bad_place(&self.verify(forger.root(), &["--state-file", state]))
    }
}

async fn publish(deployment: &Deployment, count: u64) {
    let agent = deployment.agent("crm").await;
    for _ in 0..count {
        let intent = agent.intent("crm.read_contact", json!({"contact_id": "1"}));
        agent.publish(&intent).await;
    }
}

/// Waits until so many intents are archived and the last commit is whole: the archiver's own
/// events start none.
async fn at_rest(deployment: &Deployment, intents: u64) {
    let count = "SELECT count(*) AS n FROM events WHERE stream = 'CS_INTENTS'";
    let state = deployment.files().dir().join("data/archive-state.json");
    eventually(PATIENCE, "the intents are committed", async || {
        let rows = deployment.rows(count).await;
        let all = rows.first()?["n"].as_u64()? == intents;
        let text = std::fs::read_to_string(&state).ok()?;
        let known: Value = serde_json::from_str(&text).ok()?;
        let next = Entry::path(known["n"].as_u64()? + 1);
        let whole = !deployment.archive().join(next).try_exists().ok()?;
        (all && whole).then_some(())
    })
    .await;
}

fn bad_place(found: &Output) -> Value {
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    let said: Value = serde_json::from_slice(&found.stdout).expect("the answer is JSON");
    assert_eq!(said["ok"], false);
    said["place"].clone()
}

fn at(kind: &str, entry: u64) -> Value {
    json!({"kind": kind, "entry": entry})
}

fn file(kind: &str, entry: u64, path: &str) -> Value {
    json!({"kind": kind, "entry": entry, "path": path})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tampering_is_found_and_its_first_place_named() {
    let archive = Archive::written().await;
    let state_file = archive.state_file();
    let state = state_file.to_str().expect("a path of ours");
    let honest = archive.verify(&archive.deployment.archive(), &["--state-file", state]);
    assert_eq!(honest.status.code(), Some(0), "{honest:?}");
    rows_are_edited_or_dropped(&archive);
    files_are_dropped_or_swapped(&archive);
    the_tail_is_cut(&archive);
    entries_are_replayed(&archive);
    tiles_are_edited(&archive);
    another_key_signs(&archive);
    the_key_is_stolen(&archive);
    each_commit_is_told_where_nobody_rewrites_it(archive).await;
}

fn rows_are_edited_or_dropped(archive: &Archive) {
    for (name, edit) in [
        ("edited cell", Forger::edit_row as fn(&Forger, &str)),
        ("dropped row", Forger::drop_row),
    ] {
        let mut forger = archive.forger(name);
        let (entry, path) = forger.file(1);
        let first = forger.first_row(1);
        edit(&forger, &path);
        // The file is a whole Parquet file, and its first row is as it was.
        let mut place = file("file_changed", entry, &path);
        place["row"] = json!(first + 1);
        assert_eq!(archive.place(&forger), place, "{name}");
        forger.settle();
        assert_eq!(
            archive.place(&forger),
            at("entry", entry),
            "{name}, settled"
        );
        // As before, but for the manifest, which is the old one: its file has another name now.
        forger.put_back_entries(&archive.deployment.archive());
        let place = file("file_missing", entry, &path);
        assert_eq!(archive.place(&forger), place, "{name}, renamed");
    }
}

fn files_are_dropped_or_swapped(archive: &Archive) {
    let mut forger = archive.forger("dropped file");
    let (entry, path) = forger.file(1);
    forger.remove(&path);
    let place = file("file_missing", entry, &path);
    assert_eq!(archive.place(&forger), place);
    forger.forget_file(&path);
    forger.settle();
    assert_eq!(archive.place(&forger), at("entry", entry));

    let mut forger = archive.forger("swapped files");
    let ((entry, one), (_, two)) = (forger.file(0), forger.file(1));
    forger.swap(&one, &two);
    let place = archive.place(&forger);
    let found = (&place["kind"], &place["entry"], &place["path"]);
    assert_eq!(found, (&json!("file_changed"), &json!(entry), &json!(one)));
    forger.settle();
    assert_eq!(archive.place(&forger), at("entry", entry));
}

fn the_tail_is_cut(archive: &Archive) {
    let mut forger = archive.forger("cut tail");
    let last = forger.last();
    forger.cut();
    assert_eq!(
        archive.place(&forger),
        at("tail_cut", last),
        "by the state file"
    );
    let blind = bad_place(&archive.verify(forger.root(), &["--allow-unanchored"]));
    assert_eq!(
        blind,
        at("tail_cut", last),
        "by the checkpoint that was left"
    );
    // A whole archive of an earlier day, in which everything fits.
    let early = Forger::open(archive.early.clone());
    let next = early.last() + 1;
    assert_eq!(archive.place(&early), at("tail_cut", next));
    let unproved = archive.verify(early.root(), &[]);
    assert_eq!(unproved.status.code(), Some(1));
    let said = String::from_utf8_lossy(&unproved.stdout).into_owned();
    assert!(said.contains("tail is not provable"), "{said}");
    let allowed = archive.verify(early.root(), &["--allow-unanchored"]);
    assert_eq!(allowed.status.code(), Some(0), "{allowed:?}");
}

fn entries_are_replayed(archive: &Archive) {
    let forger = archive.forger("replayed entry");
    let after = forger.last() + 1;
    forger.replay(1, after);
    assert_eq!(archive.place(&forger), at("entry_number", after));
    let forger = archive.forger("replayed checkpoint");
    let early = std::fs::read(archive.early.join("checkpoint")).expect("a checkpoint");
    std::fs::write(forger.root().join("checkpoint"), early).expect("it can be written");
    let place = json!({"kind": "checkpoint", "path": "checkpoint"});
    assert_eq!(archive.place(&forger), place);
}

fn tiles_are_edited(archive: &Archive) {
    let forger = archive.forger("edited tile");
    let tile = "tile/0/000";
    forger.flip(tile, 33);
    let place = json!({"kind": "tile_changed", "path": tile});
    assert_eq!(archive.place(&forger), place);
    forger.remove(tile);
    let place = json!({"kind": "tile_missing", "path": tile});
    assert_eq!(archive.place(&forger), place);
}

fn another_key_signs(archive: &Archive) {
    let mut forger = archive.forger("another key");
    let (_, path) = forger.file(1);
    forger.edit_row(&path);
    forger.settle_with(&ManifestKey::from_bytes(&[9; 32]));
    assert_eq!(archive.place(&forger), at("entry", 1));
}

/// Everything fits, and everything is signed by the right key; only what lies elsewhere
/// knows better, also when the archive has grown since.
fn the_key_is_stolen(archive: &Archive) {
    let mut forger = archive.forger("stolen key");
    let (_, path) = forger.file(0);
    forger.edit_row(&path);
    forger.settle_with(&archive.stolen_key());
    let alone = archive.verify(forger.root(), &["--allow-unanchored"]);
    assert_eq!(alone.status.code(), Some(0), "{alone:?}");
    assert_eq!(archive.place(&forger), at("rewritten", forger.last()));
    let kept = archive.early.join("checkpoint");
    let kept = kept.to_str().expect("a path of ours");
    let place = bad_place(&archive.verify(forger.root(), &["--checkpoint", kept]));
    let early = Forger::open(archive.early.clone()).last();
    assert_eq!(place, at("rewritten", early), "the archive grew since");
}

/// What NATS and a witness place hold proves the tail when the state file is gone.
async fn each_commit_is_told_where_nobody_rewrites_it(mut archive: Archive) {
    let place = archive.copies.path().join("witness");
    std::fs::create_dir(&place).expect("a directory");
    let place = place.display().to_string();
    let deployment = &mut archive.deployment;
    let witnesses = format!("[{place:?}]");
    let name = "COUNTERSIGN_AUDIT_ARCHIVER__WITNESSES";
    deployment.set(name, &witnesses);
    deployment.launch(ARCHIVER);
    let verify = |more: &[&str]| {
        let found = Command::new(program("countersign"))
            .args(["--json", "audit", "verify"])
            .args(more)
            .arg("--dir")
            .arg(archive.deployment.files().dir())
            .args(["--state-file", "/nonexistent"])
            .env("COUNTERSIGN_NATS__URL", archive.deployment.url())
            .env(name, &witnesses)
            .output();
        let found = found.expect("the program can be started");
        let said: Value = serde_json::from_slice(&found.stdout).ok()?;
        Some(said["report"]["proved_by"].to_string())
    };
    eventually(PATIENCE, "witness and event prove the tail", async || {
        let by = verify(&["--stored"])?;
        (by.contains(&place) && by.contains("archive.committed.")).then_some(())
    })
    .await;
}
