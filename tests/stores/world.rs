//! What the tests of the writer share.

use countersign_audit_archiver::{Hooks, Item, Report, State, Writer, WriterOptions, verify};
use countersign_audit_query::output::{Format, write};
use countersign_audit_query::{Archive, QueryLimits};
use countersign_domain::archive::{ManifestKey, Row};
use countersign_runtime::archive::{Place, Store};
use countersign_schemas::{Digest, Stream, Timestamp};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) fn key() -> ManifestKey {
    ManifestKey::from_bytes(&[7; 32])
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// Messages of one hour.
pub(crate) fn items(seqs: std::ops::RangeInclusive<u64>) -> Vec<Item> {
    seqs.map(|seq| {
        let row = Row {
            stream: Stream::Events.name().to_owned(),
            incarnation: "abc".to_owned(),
            seq: i64::try_from(seq).expect("small"),
            time: at("2026-11-22T10:00:00Z").plus(std::time::Duration::from_millis(seq)),
            event: "tool.requested".to_owned(),
            ..Row::default()
        };
        Item {
            stream: Stream::Events,
            incarnation: "abc".parse().expect("a name"),
            first_seq: seq,
            last_seq: seq,
            message: Digest::of_bytes(&seq.to_be_bytes()),
            own: false,
            rows: vec![row],
        }
    })
    .collect()
}

/// An archive at some place, with its state file.
pub(crate) struct World {
    pub(crate) place: Place,
    dir: TempDir,
}

impl World {
    pub(crate) fn at(place: Place) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { place, dir }
    }

    /// Whether nothing is committed there yet.
    pub(crate) fn place_is_empty(&self) -> bool {
        let store = Store::new(&self.place).expect("a store");
        store.last_entry().expect("a list") == 0
    }

    pub(crate) fn state_file(&self) -> std::path::PathBuf {
        self.dir.path().join("state.json")
    }

    /// As [`Self::writer`], with its state file in another place: a machine of its own.
    pub(crate) fn options(&self, machine: &str, hooks: Hooks) -> WriterOptions {
        let name = match machine {
            "" => "state.json".to_owned(),
            other => format!("{other}.json"),
        };
        WriterOptions {
            place: self.place.clone(),
            state_file: self.dir.path().join(name),
            origin: "northwind".to_owned(),
            key: key(),
            pinned: key().public(),
            hooks,
        }
    }

    pub(crate) fn writer(&self) -> Writer {
        Writer::open(self.options("", Hooks::default())).expect("it opens")
    }

    /// Commits these messages with a writer of its own.
    pub(crate) fn commit(&self, seqs: std::ops::RangeInclusive<u64>) {
        let done = self.writer().commit(items(seqs), Timestamp::EPOCH);
        assert!(done.expect("it is committed"));
    }

    /// The archive as `audit verify` sees it, its end proved by the state file.
    pub(crate) fn verified(&self) -> Report {
        let path = self.state_file();
        let state = State::read(&path).expect("it is readable");
        let anchors: Vec<_> = state.iter().map(|state| state.anchor(&path)).collect();
        verify(&self.place, &key().public(), &anchors, true).expect("it is whole")
    }

    pub(crate) async fn ask(&self, sql: &str) -> Value {
        let archive = Archive::open(&self.place, key().public()).expect("an archive");
        let answer = archive.query(sql, QueryLimits::default()).await;
        let json = write(&answer.expect("an answer"), Format::Json).expect("it is JSON");
        serde_json::from_slice(&json).expect("rows")
    }

    /// The sequences of all rows, in the order of the archive.
    pub(crate) async fn seqs(&self) -> Vec<u64> {
        let rows = self
            .ask("SELECT seq, leaf_index FROM events ORDER BY leaf_index")
            .await;
        let rows = rows.as_array().expect("rows");
        for (row, leaf) in rows.iter().zip(0_u64..) {
            assert_eq!(
                row["leaf_index"], leaf,
                "no number is missing or there twice"
            );
        }
        rows.iter()
            .map(|row| row["seq"].as_u64().expect("a number"))
            .collect()
    }
}

/// What was left behind of tries and half written files.
pub(crate) fn strays(store: &Store) -> Vec<String> {
    let all = store.list("tmp").expect("a list");
    all.into_iter().map(|file| file.path).collect()
}
