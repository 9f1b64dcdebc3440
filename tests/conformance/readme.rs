//! The programs in the documentation, run as they stand there: whoever follows only the
//! README gets a decision, and whoever follows the policy page a guardrail that answers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use countersign_runtime::identity::{Principal, Service};
use countersign_tests::{Deployment, eventually};
use serde_json::{Value, json};

use crate::stage::{PATIENCE, Stage};

/// What the README tells people to install, pinned so that a test sees the same client on
/// every machine.
const REQUIREMENTS: [&str; 2] = ["nats-py==2.16.0", "nkeys==0.2.1"];

/// The first block of Python in a page after `heading`.
fn program(page: &str, heading: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    let text = std::fs::read_to_string(page).unwrap();
    let (_, below) = text.split_once(heading).expect("the page has the heading");
    let (_, rest) = below
        .split_once("```python\n")
        .expect("the page shows a program");
    let (code, _) = rest.split_once("```").expect("the block ends");
    code.to_owned()
}

fn succeeded(output: std::io::Result<Output>) -> Result<String, String> {
    let output = output.map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

/// A Python with the client, in a virtual environment that is made once.
fn python() -> Result<PathBuf, String> {
    let home =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("venv-{}", REQUIREMENTS.join("-")));
    let python = home.join("bin").join("python");
    let complete = home.join("complete");
    if complete.is_file() {
        return Ok(python);
    }
    succeeded(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&home)
            .output(),
    )?;
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    succeeded(install.args(REQUIREMENTS).output())?;
    std::fs::write(complete, "").map_err(|error| error.to_string())?;
    Ok(python)
}

/// The same, or a word that the test is skipped where there is none.
fn python_or_skip(what: &str) -> Option<PathBuf> {
    match python() {
        Ok(python) => Some(python),
        Err(why) if std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED {what}: no Python with nats-py here: {why}");
            None
        }
        Err(why) => panic!("CI must have Python with nats-py: {why}"),
    }
}

#[tokio::test]
async fn the_agent_of_the_readme_gets_its_decision() {
    let Some(python) = python_or_skip("the agent of the README") else {
        return;
    };
    let deployment = Deployment::start().await;
    let script = deployment.dir().join("agent.py");
    std::fs::write(&script, program("README.md", "# ")).unwrap();
    let creds = deployment
        .files()
        .dir()
        .join("creds")
        .join("agent-support.creds");
    let mut agent = Command::new(python);
    agent.arg(script).arg(deployment.url()).arg(creds);
    let said = tokio::task::spawn_blocking(move || succeeded(agent.output()))
        .await
        .unwrap()
        .unwrap();
    let (kind, event) = said.trim().split_once(' ').expect("a kind and an event");
    assert_eq!(kind, "tool.completed", "{said}");
    let event: serde_json::Value = serde_json::from_str(event).unwrap();
    assert_eq!(event["outcome"], "succeeded", "{said}");
    assert_eq!(event["output"]["contact_id"], "C-1042", "{said}");
}

/// A program that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_guardrail_of_the_policy_page_answers_the_checker() {
    let Some(python) = python_or_skip("the guardrail of the policy page") else {
        return;
    };
    let guardrails = BTreeSet::from(["names".parse().unwrap()]);
    let worker = Principal::worker("lists", BTreeSet::new(), guardrails).unwrap();
    let stage = Stage::with(vec![worker.clone()]).await;
    let script = stage.files.dir().join("guardrail.py");
    std::fs::write(&script, program("docs/policy.md", "### `external`")).unwrap();
    let mut command = Command::new(python);
    command.arg(script).arg(stage.server.url());
    let running = command.arg(stage.files.creds(&worker)).spawn();
    let _running = Ended(running.unwrap());
    let checker = stage.bus(Service::PolicyChecker).await;
    let asked = async |to: &str| {
        let question = json!({"input": {"to": [to]}}).to_string();
        eventually(PATIENCE, "an answer", async || {
            let sent = checker
                .client()
                .request("cs.guardrail.names", question.clone().into());
            let answer = sent.await.ok()?;
            serde_json::from_slice::<Value>(&answer.payload).ok()
        })
        .await
    };
    let listed = asked("ann@fabrikam.example").await;
    assert_eq!(listed["result"], "deny", "{listed}");
    let other = asked("kim@northwind.example").await;
    assert_eq!(
        other,
        json!({"result": "pass", "message": "No recipient is on the list."})
    );
}
