//! Programs in Python that tests need, installed once by hash, and processes that end with
//! the test.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be started or fails, with what it said.
pub fn done(command: &mut Command) -> Result<(), String> {
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

/// A Python with exactly the packages of `requirements`, made in `home` once for each list of
/// them; where its programs lie.
///
/// # Errors
/// When there is no Python, or a package cannot be installed.
pub fn venv(home: &Path, requirements: &str) -> Result<PathBuf, String> {
    let complete = home.join("complete");
    let made = std::fs::read_to_string(&complete).unwrap_or_default();
    if made == requirements {
        return Ok(home.join("bin"));
    }
    done(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(home),
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

/// What could be installed; where it could not, a word that a test is skipped, or a failure
/// in CI.
///
/// # Panics
/// In CI, where it must be there.
pub fn or_skip<T: Clone>(what: &str, installed: &Result<T, String>) -> Option<T> {
    match installed {
        Ok(there) => Some(there.clone()),
        Err(why) if std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED {what}: {why}");
            None
        }
        Err(why) => panic!("CI must have {what}: {why}"),
    }
}

/// A program that ends with the test.
#[derive(Debug)]
pub struct Program(Child);

impl Program {
    /// Starts it and waits for its line `ready …`; what stands after that word.
    ///
    /// # Panics
    /// When it does not start or says anything else.
    pub fn start(command: &mut Command) -> (Self, String) {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let out = child.stdout.take().expect("its output is piped");
        let program = Self(child);
        let mut line = String::new();
        BufReader::new(out)
            .read_line(&mut line)
            .expect("its output is text");
        let rest = line.trim().strip_prefix("ready");
        let rest = rest.expect("the program is ready; its error is above");
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
