//! `countersign doctor`: is everything in place, and what to do where it is not.

mod archive;
mod files;
mod server;

use countersign_runtime::config::Config;
use serde::Serialize;
use serde_json::json;

use super::policy;
use crate::client::Place;
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// Check a deployment and say what to do where something is wrong
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
}

/// How one check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// Works, but somebody should look.
    Warn,
    /// Does not work.
    Fail,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// What was looked at.
    pub(super) name: String,
    pub(super) state: State,
    /// What was found and, where it is not as it should be, what to do.
    pub(super) finding: String,
    /// How the process ends if this is the first that fails.
    #[serde(skip)]
    pub(super) exit: Exit,
}

impl Check {
    pub(super) fn ok(name: impl Into<String>, finding: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            state: State::Ok,
            finding: finding.into(),
            exit: Exit::Done,
        }
    }

    pub(super) fn warn(name: impl Into<String>, finding: impl Into<String>) -> Self {
        Self {
            state: State::Warn,
            ..Self::ok(name, finding)
        }
    }

    pub(super) fn fail(name: impl Into<String>, exit: Exit, finding: impl Into<String>) -> Self {
        Self {
            state: State::Fail,
            exit,
            ..Self::ok(name, finding)
        }
    }

    /// `ok`, or the failure that the error tells.
    pub(super) fn of<E: Into<CliError>>(
        name: impl Into<String>,
        result: Result<impl Into<String>, E>,
    ) -> Self {
        match result {
            Ok(finding) => Self::ok(name, finding),
            Err(error) => {
                let error = error.into();
                Self::fail(name, error.exit(), error.to_string())
            }
        }
    }
}

/// Runs every check; the first that fails decides the exit.
pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let checks = match args.place.config() {
        Ok(config) => all(&config, output).await,
        Err(error) => vec![Check::of("configuration", Err::<String, _>(error))],
    };
    let failed = checks.iter().find(|check| check.state == State::Fail);
    let exit = failed.map_or(Exit::Done, |check| check.exit);
    let report = json!({ "ok": failed.is_none(), "checks": checks });
    output.answer(&report, || text(&checks, output))?;
    Ok(exit)
}

async fn all(config: &Config, output: &Output) -> Vec<Check> {
    let mut checks = vec![Check::ok(
        "configuration",
        format!("deployment `{}`", config.deployment.name),
    )];
    checks.extend(files::keys(config));
    checks.extend(files::credentials(config));
    let bundle = policy::load(&config.policy.dir);
    checks.push(Check::of(
        "policy",
        bundle.map(|found| found.digest().to_string()),
    ));
    checks.push(archive::check(config));
    output.progress(&format!("asking NATS at {}", config.nats.url));
    checks.extend(server::checks(config).await);
    checks
}

fn text(checks: &[Check], output: &Output) -> String {
    let rows: Vec<_> = checks
        .iter()
        .map(|check| {
            let state = match check.state {
                State::Ok => "ok",
                State::Warn => "warn",
                State::Fail => "FAIL",
            };
            vec![state.to_owned(), check.name.clone(), check.finding.clone()]
        })
        .collect();
    output.table(&["", "CHECK", "FINDING"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_without_configuration_fails_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let args = Args {
            place: Place {
                dir: dir.path().to_owned(),
                set: Vec::new(),
            },
        };
        let exit = run(args, &Output::new(true)).await.unwrap();
        assert_eq!(exit, Exit::Configuration);
    }

    #[test]
    fn the_report_is_for_people_and_for_scripts() {
        let checks = [
            Check::ok("a", "fine"),
            Check::fail("b", Exit::Unreachable, "start it"),
        ];
        let report = text(&checks, &Output::new(false));
        assert!(report.contains("FAIL\tb\tstart it"), "{report}");
        let json = serde_json::to_value(&checks).unwrap();
        assert_eq!(
            json[1],
            json!({"name": "b", "state": "fail", "finding": "start it"})
        );
    }
}
