//! A disk that lost the archive's tail in a power cut, although it had said that all was
//! synced: nothing is skipped, nothing silently numbered anew, and words say what to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_tests::process::{ARCHIVER, program};
use countersign_tests::{Deployment, PATIENCE, eventually};
use serde_json::{Value, json};

/// An archive of several entries whose archiver has died.
struct Lost {
    deployment: Deployment,
    /// The archive and the state file, early and at the end.
    copies: tempfile::TempDir,
    stored: u64,
}

impl Lost {
    async fn power() -> Self {
        let mut deployment = Deployment::without_services(&[]).await;
        deployment.launch(ARCHIVER);
        let mut lost = Self {
            deployment,
            copies: tempfile::tempdir().expect("a directory"),
            stored: 0,
        };
        for name in ["early", "late"] {
            lost.publish(3).await;
            lost.archived().await;
            lost.remembered().await;
            lost.deployment.service(ARCHIVER).kill();
            copy(&lost.data(), &lost.copies.path().join(name).join("data"));
            copy(
                &lost.archive(),
                &lost.copies.path().join(name).join("archive"),
            );
            if name == "early" {
                lost.deployment.service(ARCHIVER).restart();
            }
        }
        lost
    }

    fn archive(&self) -> PathBuf {
        self.deployment.archive()
    }

    fn data(&self) -> PathBuf {
        self.deployment.files().dir().join("data")
    }

    /// Puts back what was there, as it was early or at the end.
    fn put_back(&self, name: &str, what: &str) {
        let (from, to) = match what {
            "data" => (self.copies.path().join(name).join("data"), self.data()),
            _ => (
                self.copies.path().join(name).join("archive"),
                self.archive(),
            ),
        };
        fs::remove_dir_all(&to).expect("it goes");
        copy(&from, &to);
    }

    async fn publish(&mut self, count: u64) {
        let agent = self.deployment.agent("crm").await;
        for _ in 0..count {
            let intent = agent.intent("crm.read_contact", json!({"contact_id": "1"}));
            agent.publish(&intent).await;
        }
        self.stored += count;
    }

    /// Waits until every intent has its one row.
    async fn archived(&self) {
        let sql = "SELECT seq FROM events WHERE event = 'tool.requested' ORDER BY leaf_index";
        let count = usize::try_from(self.stored).expect("few");
        let rows = self.deployment.rows_once_there(sql, count).await;
        let seqs: Vec<u64> = rows.iter().filter_map(|row| row["seq"].as_u64()).collect();
        assert_eq!(seqs, (1..=self.stored).collect::<Vec<_>>());
    }

    /// Waits until the state file knows the last entry.
    async fn remembered(&self) {
        let file = self.data().join("archive-state.json");
        eventually(
            PATIENCE,
            "the state file knows the last entry",
            async || {
                let state: Value = serde_json::from_slice(&fs::read(&file).ok()?).ok()?;
                let last = self.last_entry();
                let last = last.file_stem()?.to_str()?.parse::<u64>().ok()?;
                (state["n"] == last).then_some(())
            },
        )
        .await;
    }

    /// What the commands say that look at the archive: `doctor` and `audit verify`.
    fn told(&self, args: &[&str]) -> Value {
        let found = Command::new(program("countersign"))
            .arg("--json")
            .args(args)
            .arg("--dir")
            .arg(self.deployment.files().dir())
            .env("COUNTERSIGN_NATS__URL", self.deployment.url())
            .output()
            .expect("the program can be started");
        let text = String::from_utf8_lossy(&found.stdout).into_owned();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{found:?}"))
    }

    fn doctor(&self) -> (String, String) {
        let report = self.told(&["doctor"]);
        let checks = report["checks"].as_array().expect("checks").clone();
        let archive = checks.into_iter().find(|check| check["name"] == "archive");
        let archive = archive.expect("the archive is looked at");
        let text = |key: &str| archive[key].as_str().unwrap_or_default().to_owned();
        (text("state"), text("finding"))
    }

    fn log(&mut self) -> String {
        let log = self.deployment.service(ARCHIVER).log().to_owned();
        fs::read_to_string(log).expect("a log")
    }

    /// Starts the archiver, which must end by itself with these words in its log.
    async fn refuses(&mut self, words: &[&str]) {
        let before = snapshot(&self.archive());
        self.deployment.service(ARCHIVER).restart();
        eventually(PATIENCE, "the archiver ends", async || {
            (!self.deployment.service(ARCHIVER).is_running()).then_some(())
        })
        .await;
        let log = self.log();
        for word in words.iter().chain(&["audit verify"]) {
            assert!(log.contains(word), "{word}: {log}");
        }
        let after = snapshot(&self.archive());
        assert!(before == after, "nothing was written over what is left");
        let (state, finding) = self.doctor();
        assert_eq!(state, "fail", "{finding}");
        for word in words.iter().chain(&["After a power cut"]) {
            assert!(finding.contains(word), "{finding}");
        }
        assert_eq!(self.told(&["audit", "verify"])["ok"], false);
    }

    /// Goes on with a whole archive and loses and doubles nothing.
    async fn goes_on(&mut self) {
        self.publish(2).await;
        self.deployment.service(ARCHIVER).restart();
        self.archived().await;
        self.deployment.service(ARCHIVER).end().await;
        assert_eq!(self.doctor().0, "ok");
        let told = self.told(&["audit", "verify"]);
        assert_eq!(told["ok"], true, "{told}");
    }

    fn last_entry(&self) -> PathBuf {
        let manifest = fs::read_dir(self.archive().join("manifest")).expect("a manifest");
        let entries = manifest.map(|entry| entry.expect("an entry").path());
        entries.max().expect("an entry")
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(fs::copy(&path, &target).expect("a copy")),
        }
    }
}

/// Every file with its bytes, what is being written aside.
fn snapshot(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut found, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true if path.ends_with("tmp") => {}
                true => dirs.push(path),
                false => found.push((path.clone(), fs::read(&path).expect("bytes"))),
            }
        }
    }
    found.sort();
    found
}

fn cut(path: &Path, bytes: u64) {
    let file = fs::OpenOptions::new().write(true).open(path);
    file.expect("it is there")
        .set_len(bytes)
        .expect("it is cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_entry_that_was_cut_stops_the_archiver_until_it_is_back() {
    let mut lost = Lost::power().await;
    let last = lost.last_entry();
    let name = last.file_stem().expect("a name").to_string_lossy();
    let entry = format!("manifest entry {}", name.trim_start_matches('0'));
    for left in [0, 100] {
        cut(&last, left);
        lost.refuses(&[&entry]).await;
    }
    lost.put_back("late", "archive");
    lost.goes_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_entry_that_is_gone_is_known_to_the_state_file_and_to_the_checkpoint() {
    let mut lost = Lost::power().await;
    fs::remove_file(lost.last_entry()).expect("it goes");
    lost.refuses(&["the state file", "the tail was cut off"])
        .await;
    // Both the entry and the state file are old, the checkpoint is ahead of the manifest.
    let checkpoint = fs::read(lost.archive().join("checkpoint")).expect("a checkpoint");
    lost.put_back("early", "archive");
    lost.put_back("early", "data");
    fs::write(lost.archive().join("checkpoint"), checkpoint).expect("it is written");
    lost.refuses(&["the file `checkpoint`", "the tail was cut off"])
        .await;
    lost.put_back("late", "archive");
    lost.put_back("late", "data");
    lost.goes_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_file_that_was_cut_is_named_and_what_comes_is_archived_all_the_same() {
    let mut lost = Lost::power().await;
    let entry: Value = serde_json::from_slice(&fs::read(lost.last_entry()).expect("an entry"))
        .expect("an entry is JSON");
    let path = entry["files"][0]["path"]
        .as_str()
        .expect("a path")
        .to_owned();
    let honest = fs::read(lost.archive().join(&path)).expect("a file");
    for left in [0, 100] {
        cut(&lost.archive().join(&path), left);
        let (state, finding) = lost.doctor();
        assert_eq!(state, "fail");
        assert!(finding.contains(&path), "{finding}");
        assert!(finding.contains("Nothing is purged"), "{finding}");
    }
    lost.publish(2).await;
    lost.deployment.service(ARCHIVER).restart();
    eventually(PATIENCE, "the log names the file", async || {
        let log = lost.log();
        (log.contains("archive_damaged") && log.contains(&path)).then_some(())
    })
    .await;
    // The manifest grows; no query answers without the rows that are missing.
    let known = lost.data().join("archive-state.json");
    let early: Value = entry["n"].clone();
    eventually(PATIENCE, "what came is committed", async || {
        let state: Value = serde_json::from_slice(&fs::read(&known).ok()?).ok()?;
        (state["n"].as_u64()? > early.as_u64()?).then_some(())
    })
    .await;
    let query = ["audit", "query", "SELECT 1", "--archive"];
    let refused = Command::new(program("countersign"))
        .args(query)
        .arg(lost.archive())
        .output()
        .expect("the program can be started");
    assert_eq!(refused.status.code(), Some(69), "{refused:?}");
    fs::write(lost.archive().join(&path), honest).expect("it is written");
    lost.archived().await;
    lost.deployment.service(ARCHIVER).end().await;
    assert_eq!(lost.doctor().0, "ok");
    assert_eq!(lost.told(&["audit", "verify"])["ok"], true);
}

/// Archive, checkpoint and state file are all as they were: only the stream knows more.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_whole_disk_forgot_is_archived_again_from_the_streams_with_an_alarm() {
    let mut lost = Lost::power().await;
    lost.put_back("early", "archive");
    lost.put_back("early", "data");
    lost.publish(2).await;
    lost.deployment.service(ARCHIVER).restart();
    lost.archived().await;
    eventually(
        PATIENCE,
        "the log says that the tail was lost",
        async || {
            let log = lost.log();
            (log.contains("archive_tail") && log.contains("the archive lost its tail"))
                .then_some(())
        },
    )
    .await;
    lost.deployment.service(ARCHIVER).end().await;
    assert_eq!(lost.told(&["audit", "verify"])["ok"], true);
}
