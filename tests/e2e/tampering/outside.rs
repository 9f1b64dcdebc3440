//! A tool that knows nothing of us reads what we publish: PyPI aics-tlog, which needs
//! Python 3.12 or later. Where either is not there, a word says that it is skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use countersign_tests::process::program;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::Archive;

const PACKAGE: &str = "aics-tlog==0.2.1";
/// Prints a word where Python is new enough.
const NEW_ENOUGH: &str = "import sys; print('new' if sys.version_info >= (3, 12) else 'old')";

fn said(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match output.status.success() {
        true => Ok(text),
        false => Err(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// A Python of 3.12 or later: one on the path, or one of pyenv.
fn python() -> Option<PathBuf> {
    let mut known: Vec<PathBuf> = ["python3", "python3.14", "python3.13", "python3.12"]
        .map(PathBuf::from)
        .into();
    let pyenv = said(Command::new("pyenv").arg("root")).unwrap_or_default();
    let versions = std::fs::read_dir(Path::new(&pyenv).join("versions"));
    for version in versions.into_iter().flatten().flatten() {
        known.push(version.path().join("bin/python3"));
    }
    let new = |python: &PathBuf| {
        said(Command::new(python).args(["-c", NEW_ENOUGH])).is_ok_and(|word| word == "new")
    };
    known.into_iter().find(new)
}

/// The tool, installed once.
fn tool() -> Result<PathBuf, String> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("venv-aics-tlog");
    let complete = home.join("complete");
    if std::fs::read_to_string(&complete).unwrap_or_default() != PACKAGE {
        let python = python().ok_or("there is no Python of 3.12 or later")?;
        said(
            Command::new(python)
                .args(["-m", "venv", "--clear"])
                .arg(&home),
        )?;
        let pip = ["-m", "pip", "install", "--quiet", PACKAGE];
        said(Command::new(home.join("bin/python")).args(pip))?;
        std::fs::write(&complete, PACKAGE).map_err(|error| error.to_string())?;
    }
    Ok(home.join("bin/aics-tlog"))
}

fn prove(archive: &Archive, id: &str, out: &Path) -> Value {
    let found = Command::new(program("countersign"))
        .args(["--json", "audit", "prove", id, "--archive"])
        .arg(archive.deployment.archive())
        .arg("--key")
        .arg(archive.key())
        .arg("--out")
        .arg(out)
        .output()
        .expect("the program can be started");
    assert_eq!(found.status.code(), Some(0), "{found:?}");
    serde_json::from_slice(&found.stdout).expect("the answer is JSON")
}

/// The first intent of the archive.
async fn intent(archive: &Archive) -> String {
    let sql =
        "SELECT intent_id FROM events WHERE intent_id IS NOT NULL ORDER BY leaf_index LIMIT 1";
    let rows = archive.deployment.rows(sql).await;
    rows[0]["intent_id"].as_str().expect("an id").to_owned()
}

fn check(archive: &Archive, proof: &Path) -> Output {
    Command::new(program("countersign"))
        .args(["--json", "audit", "verify", "--proof"])
        .arg(proof)
        .arg("--key")
        .arg(archive.key())
        .output()
        .expect("the program can be started")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_is_proved_to_whoever_has_the_key_alone() {
    let archive = Archive::written().await;
    let (id, out) = (intent(&archive).await, archive.copies.path().join("proofs"));
    let told = prove(&archive, &id, &out);
    let rows = told["rows"].as_array().expect("rows");
    assert!(!rows.is_empty(), "{told}");
    for row in rows {
        let proof = out.join(format!("{}.tlog-proof", row["leaf_index"]));
        let found = check(&archive, &proof);
        assert_eq!(found.status.code(), Some(0), "{found:?}");
        let said: Value = serde_json::from_slice(&found.stdout).expect("the answer is JSON");
        assert_eq!(said["row"]["intent_id"], id.as_str());
        let text = std::fs::read_to_string(&proof).expect("a proof");
        let edited = text.replacen("extra eyJ", "extra eyK", 1);
        assert_ne!(edited, text);
        std::fs::write(&proof, edited).expect("it can be written");
        assert_eq!(check(&archive, &proof).status.code(), Some(1));
    }
    match tool() {
        Ok(tool) => a_strange_tool_agrees(&archive, &tool, &out, rows),
        Err(why) => eprintln!("SKIPPED what {PACKAGE} says: {why}"),
    }
}

/// Checkpoint, growth and inclusion by the tiles of the archive itself; and what it refuses.
fn a_strange_tool_agrees(archive: &Archive, tool: &Path, out: &Path, rows: &[Value]) {
    let tiles = archive.deployment.archive();
    let run = |action: &str, tiles: &Path, more: &[&str]| {
        let mut command = Command::new(tool);
        command.arg(action).arg("--tiles").arg(tiles);
        command.arg("--vkey-file").arg(out.join("log.vkey"));
        said(command.args(more))
    };
    run("verify-checkpoint", &tiles, &["--origin", "acme"]).expect("the checkpoint holds");
    let old = archive.early.join("checkpoint");
    let old = old.to_str().expect("a path of ours");
    run("verify-consistency", &tiles, &["--old-checkpoint", old]).expect("the log only grew");
    let forger = archive.forger("tiles for a strange tool");
    let index = rows[0]["leaf_index"].to_string();
    let leaf = out.join("leaf");
    let place = leaf.to_str().expect("a path of ours");
    let inclusion = ["--leaf", place, "--index", &index];
    let row = std::fs::read(out.join(format!("{index}.json"))).expect("a row");
    std::fs::write(&leaf, Sha256::digest(&row)).expect("it can be written");
    run("verify-inclusion", &tiles, &inclusion).expect("the row is in the log");
    run("verify-inclusion", forger.root(), &inclusion).expect("a copy says the same");
    forger.flip("tile/0/000", 40);
    run("verify-inclusion", forger.root(), &inclusion).expect_err("a tile was changed");
    let edited = String::from_utf8_lossy(&row).replacen("crm", "erm", 1);
    std::fs::write(&leaf, Sha256::digest(edited)).expect("it can be written");
    run("verify-inclusion", &tiles, &inclusion).expect_err("the row was changed");
}
