//! A policy bundle: a folder of policies, catalog and entities, checked as a whole.

use std::collections::BTreeMap;

use cedar_policy::{Authorizer, Entities, Schema};
use countersign_schemas::Digest;

use super::cases::{self, Case, CaseResult};
use super::catalog::Catalog;
use super::cedar_schema;
use super::directory::Directory;
use super::entities_file;
use super::problem::{BundleErrors, Place, Problems};
use super::rehearsal::{Rehearsal, RehearsalError};
use super::rules::{Rules, RulesReader};

/// Files of a bundle: enough for a file per tool and per rule of a large company.
const FILES_MAX: usize = 10_000;
/// Bytes of a bundle: every service holds it in memory, twice while it is replaced.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// A bundle that has passed every check, ready to judge with.
#[derive(Debug)]
pub struct Bundle {
    pub(crate) catalog: Catalog,
    pub(crate) directory: Directory,
    pub(crate) rules: Rules,
    pub(crate) entities: Entities,
    pub(crate) authorizer: Authorizer,
    cases: Vec<Case>,
    digest: Digest,
}

#[derive(Clone, Copy)]
enum Kind {
    Policy,
    Catalog,
    Test,
    Other,
}

impl Bundle {
    /// Reads a bundle from its files: relative path and content.
    ///
    /// # Errors
    /// Every problem at once, each with its file, its line where known, and how to mend it.
    pub fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, BundleErrors> {
        let mut problems = Problems::default();
        let digest = digest(files, &mut problems);
        let directory = match files.get(entities_file::FILE) {
            Some(bytes) => Directory::read(bytes, &mut problems),
            None => {
                problems.add(
                    &Place::file(entities_file::FILE),
                    "is missing",
                    "add it, with agents, roles, people and teams",
                );
                Directory::default()
            }
        };
        let mut catalog = Catalog::default();
        let mut reader = RulesReader::default();
        let mut tests = Vec::new();
        for (path, kind, text) in texts(files, &mut problems) {
            match kind {
                Kind::Policy => reader.read(path, text, &mut problems),
                Kind::Catalog => catalog.read(path, text, &directory, &mut problems),
                Kind::Test => cases::read(path, text, &mut tests, &mut problems),
                Kind::Other => {}
            }
        }
        catalog.build_detectors(&mut problems);
        catalog.check_facts(&mut problems);
        // Policies are checked against catalog and directory only when those are sound:
        // one broken tool would make every rule that names it look broken too.
        if problems.count() > 0 {
            return Err(problems.into_errors());
        }
        match Self::build(catalog, directory, reader, digest, &mut problems) {
            Ok(bundle) => problems.finish().map(|()| Self {
                cases: tests,
                ..bundle
            }),
            Err(error) => {
                problems.add(
                    &Place::file("catalog"),
                    error,
                    "rename what Cedar does not take",
                );
                Err(problems.into_errors())
            }
        }
    }

    fn build(
        catalog: Catalog,
        directory: Directory,
        reader: RulesReader,
        digest: Digest,
        problems: &mut Problems,
    ) -> Result<Self, String> {
        let schema = Schema::from_json_value(cedar_schema::schema_json(&catalog))
            .map_err(|error| error.to_string())?;
        let entities = cedar_schema::entities(&catalog, &directory, &schema)?;
        let rules = reader.finish(&catalog, &directory, &schema, &entities, problems);
        Ok(Self {
            catalog,
            directory,
            rules,
            entities,
            authorizer: Authorizer::new(),
            cases: Vec::new(),
            digest,
        })
    }

    /// The digest over all paths and bytes; every verdict names it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The tools.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Agents, people and teams.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Runs the tests in `tests/*.toml`, in the order of files and lines.
    ///
    /// # Errors
    /// When they cannot be run at all.
    pub fn run_tests(&self) -> Result<Vec<CaseResult>, RehearsalError> {
        let rehearsal = Rehearsal::of(self)?;
        Ok(cases::run(&self.cases, &rehearsal))
    }

    /// How many policies there are.
    #[must_use]
    pub fn policies(&self) -> usize {
        self.rules.said.len()
    }
}

fn digest(files: &BTreeMap<String, Vec<u8>>, problems: &mut Problems) -> Digest {
    let bytes: usize = files.values().map(Vec::len).sum();
    if files.len() > FILES_MAX || bytes > BYTES_MAX {
        let what = format!("has more than {FILES_MAX} files or {BYTES_MAX} bytes");
        problems.add(
            &Place::file("."),
            what,
            "keep only policy files in the folder",
        );
    }
    let parts: BTreeMap<&str, Digest> = files
        .iter()
        .map(|(path, bytes)| (path.as_str(), Digest::of_bytes(bytes)))
        .collect();
    Digest::of_json(&parts).unwrap_or_else(|_| Digest::of_bytes(b""))
}

fn kind(path: &str) -> Option<Kind> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match (folder, name.rsplit_once('.')?.1) {
        ("policies", "cedar") => Some(Kind::Policy),
        ("catalog", "toml") => Some(Kind::Catalog),
        ("tests", "toml") => Some(Kind::Test),
        ("", _) if path == entities_file::FILE => Some(Kind::Other),
        (_, "md") => Some(Kind::Other),
        _ => None,
    }
}

/// The readable files with their kinds; a file that would be ignored is a problem, since a
/// misnamed policy would be a policy that is missing.
fn texts<'f>(
    files: &'f BTreeMap<String, Vec<u8>>,
    problems: &mut Problems,
) -> Vec<(&'f str, Kind, &'f str)> {
    let mut found = Vec::new();
    for (path, bytes) in files {
        let place = Place::file(path);
        match (kind(path), std::str::from_utf8(bytes)) {
            (Some(kind), Ok(text)) => found.push((path.as_str(), kind, text)),
            (Some(_), Err(_)) => problems.add(&place, "is not UTF-8 text", "save it as UTF-8"),
            (None, _) => problems.add(
                &place,
                "is no file of a bundle",
                "name it policies/*.cedar, catalog/*.toml, tests/*.toml, entities.json or *.md, or remove it",
            ),
        }
    }
    found
}
