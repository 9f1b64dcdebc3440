//! The command line with what was planted in its arguments.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use countersign_tests::Deployment;
use countersign_tests::process::program;

use super::places::Places;

/// Runs commands that go wrong around `text`, and commands that show what there is.
pub(crate) fn run(deployment: &Deployment, text: &str, places: &mut Places) {
    let broken = format!("{{\"memo\": \"{text}\", oops");
    let bundle = broken_bundle(deployment, text);
    let request = ["request", "--agent", "billing", "--tool", "ledger.book"];
    let by = ["--requester", "mia", "--input"];
    for args in [
        [&request[..], &by[..], &[&broken]].concat(),
        [&request[..], &by[..], &[text]].concat(),
        [&request[..], &by[..], &["{}", "--facts", &broken]].concat(),
        [&request[..], &by[..], &["{}", "--mandate", text]].concat(),
        [&request[..], &by[..], &["{}", "--expires-at", text]].concat(),
        vec!["request", "--agent", text, "--status", text],
        vec!["withdraw", text, "--agent", "billing"],
        vec!["approvals", "show", text, "--as", "dora"],
        vec![
            "approvals",
            "approve",
            text,
            "--yes",
            "--as",
            "dora",
            "--reason",
            text,
        ],
        vec![
            "freeze", "agent", text, "--yes", "--as", "olga", "--reason", text,
        ],
        vec![
            "reconcile",
            text,
            "--outcome",
            "failed",
            "--reason",
            text,
            "--as",
            "olga",
        ],
        vec!["window", "close", text, "--as", "dora"],
        vec!["policy", "push", &bundle, "--as", "olga"],
        vec!["policy", "lint", "--policy", &bundle],
        vec!["audit", "show", text, "--as", "dora"],
    ] {
        let output = command(deployment, &args);
        let name = format!("the command {}", args[..2].join(" "));
        assert_ne!(output.status.code(), Some(0), "{name}");
        places.push(name, [output.stdout, output.stderr].concat());
    }
}

/// Runs commands that show what there is.
pub(crate) fn show(deployment: &Deployment, places: &mut Places) {
    let sql = "SELECT * FROM actions LIMIT 50";
    for args in [
        &["status", "--json", "--as", "olga"][..],
        &["approvals", "list", "--json", "--as", "dora"],
        &["window", "list", "--json", "--as", "dora"],
        &["audit", "query", sql, "--as", "dora"],
        &["doctor", "--json"],
    ] {
        let output = command(deployment, args);
        let told = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code();
        assert!(code == Some(0) || args[0] == "doctor", "{args:?}: {told}");
        places.push(args.join(" "), [output.stdout, output.stderr].concat());
    }
}

fn command(deployment: &Deployment, args: &[&str]) -> Output {
    Command::new(program("countersign"))
        .args(args)
        .arg("--dir")
        .arg(deployment.files().dir())
        .env("COUNTERSIGN_NATS__URL", deployment.url())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The deployment's bundle with files that cannot be read.
fn broken_bundle(deployment: &Deployment, text: &str) -> String {
    let bundle = deployment.dir().join("broken");
    copy(&deployment.files().dir().join("policy"), &bundle);
    let line = text.replace('\n', " ");
    let catalog = format!("[tools.x]\nnote = {line}\n[tools.\"{line}\"]\noperation = \"{line}\"");
    std::fs::write(bundle.join("catalog/more.toml"), catalog).unwrap();
    std::fs::write(
        bundle.join("policies/more.cedar"),
        format!("permit ({line});"),
    )
    .unwrap();
    bundle.display().to_string()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            false => std::fs::write(&target, std::fs::read(&path).unwrap()).unwrap(),
        }
    }
}
