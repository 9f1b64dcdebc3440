//! The agent in the README, run as it stands there: whoever follows only the documentation
//! gets a decision.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use countersign_tests::Deployment;

/// What the README tells people to install, pinned so that a test sees the same client on
/// every machine.
const REQUIREMENTS: [&str; 2] = ["nats-py==2.16.0", "nkeys==0.2.1"];

/// The first block of Python in the README.
fn readme_agent() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let (_, rest) = text
        .split_once("```python\n")
        .expect("the README shows an agent");
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

#[tokio::test]
async fn the_agent_of_the_readme_gets_its_decision() {
    let python = match python() {
        Ok(python) => python,
        Err(why) if std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED the agent of the README: no Python with nats-py here: {why}");
            return;
        }
        Err(why) => panic!("CI must have Python with nats-py: {why}"),
    };
    let deployment = Deployment::start().await;
    let script = deployment.dir().join("agent.py");
    std::fs::write(&script, readme_agent()).unwrap();
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
