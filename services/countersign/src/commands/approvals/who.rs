//! Who acts: the person whose credential is there.

use std::collections::BTreeSet;
use std::path::Path;

use countersign_runtime::config::Config;
use countersign_schemas::PersonId;

use crate::client::Place;
use crate::exit::CliError;

/// The roles that may look at approvals, the one that may vote first.
const ROLES: [&str; 2] = ["approver", "operator"];

/// As whom, and in which deployment.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Who {
    /// Act as this person; may be left out where only one credential of a person is there
    #[arg(long = "as", value_name = "PERSON", env = "COUNTERSIGN_AS")]
    pub(in crate::commands) person: Option<PersonId>,
    #[command(flatten)]
    pub(in crate::commands) place: Place,
}

/// The credential to use: the one that is named, or the only one of a person that is there.
pub(in crate::commands) fn credential(
    config: &Config,
    named: Option<PersonId>,
) -> Result<(&'static str, PersonId), CliError> {
    let dir = &config.nats.creds_dir;
    let there = people(dir)?;
    let mut fitting = there
        .iter()
        .filter(|(_, name)| named.as_ref().is_none_or(|named| name == named));
    match (fitting.next(), fitting.next()) {
        (Some((role, name)), None) => Ok((role, name.clone())),
        // One person with both roles: an approver can do everything that is done here.
        (Some((role, name)), Some((_, other))) if name == other && fitting.next().is_none() => {
            Ok((role, name.clone()))
        }
        (Some(_), Some(_)) => {
            let names: BTreeSet<&str> = there.iter().map(|(_, name)| name.as_str()).collect();
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            Err(CliError::Usage(format!(
                "say who you are with --as: {names}"
            )))
        }
        (None, _) => {
            let whom = named.map_or_else(|| "a person".to_owned(), |name| format!("`{name}`"));
            Err(CliError::Configured(format!(
                "there is no credential of {whom} in `{}`: add one with \
                 `countersign identity add approver NAME`",
                dir.display()
            )))
        }
    }
}

/// Role and name of every person's credential, approvers first.
fn people(dir: &Path) -> Result<Vec<(&'static str, PersonId)>, CliError> {
    let unreadable =
        |error| CliError::Configured(format!("cannot read `{}`: {error}", dir.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let name = name.to_string_lossy();
        for (rank, role) in ROLES.into_iter().enumerate() {
            let person = name
                .strip_prefix(role)
                .and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".creds"))
                .and_then(|person| person.parse::<PersonId>().ok());
            found.extend(person.map(|person| (rank, role, person)));
        }
    }
    found.sort();
    Ok(found
        .into_iter()
        .map(|(_, role, person)| (role, person))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn with_creds(files: &[&str]) -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(dir.path().join(file), "SU").unwrap();
        }
        let mut config = Config::default();
        config.nats.creds_dir = dir.path().to_owned();
        (dir, config)
    }

    fn person(name: &str) -> PersonId {
        name.parse().unwrap()
    }

    #[test]
    fn the_only_person_need_not_be_named() {
        let (_dir, config) = with_creds(&["approver-lee.creds", "agent-crm.creds", "notes.txt"]);
        assert_eq!(
            credential(&config, None).unwrap(),
            ("approver", person("lee"))
        );
    }

    #[test]
    fn among_several_people_one_must_be_named() {
        let (_dir, config) = with_creds(&["approver-lee.creds", "operator-olga.creds"]);
        let error = credential(&config, None).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.to_string().contains("lee, olga"), "{error}");
        let olga = credential(&config, Some(person("olga"))).unwrap();
        assert_eq!(olga, ("operator", person("olga")));
        let error = credential(&config, Some(person("sam"))).unwrap_err();
        assert_eq!(error.exit(), Exit::Configuration);
    }

    #[test]
    fn who_has_both_roles_votes_as_approver() {
        let (_dir, config) = with_creds(&["operator-lee.creds", "approver-lee.creds"]);
        assert_eq!(
            credential(&config, None).unwrap(),
            ("approver", person("lee"))
        );
    }
}
