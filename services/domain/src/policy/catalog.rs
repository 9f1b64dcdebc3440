//! The tools of a bundle: `catalog/*.toml`.

use std::collections::{BTreeMap, BTreeSet};

use countersign_schemas::{Token, ToolName};
use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::directory::Directory;
use super::input_schema::{self, CedarType};
use super::problem::{Place, Problems};
use super::spots::{Spots, below};
use super::tool::Tool;
use super::tool_file;
use crate::guardrails::Quota;
use crate::mandate::{FACTS_MAX, is_fact_name};
use crate::redact::{DetectorSettings, Detectors};

/// Tools in one bundle: each costs a compiled schema and an index of rules in memory.
const TOOLS_MAX: usize = 5_000;

/// Every tool that agents may know. A tool that is not here does not exist.
#[derive(Debug, Default)]
pub struct Catalog {
    tools: BTreeMap<ToolName, Tool>,
    /// File and line of each.
    places: BTreeMap<ToolName, (String, Option<usize>)>,
    facts: BTreeMap<String, CedarType>,
    /// What each name of a rate or budget stands for.
    quotas: BTreeMap<Token, Quota>,
    /// What is said of the deployment's own detectors, with file and line, until all files
    /// are read.
    said: BTreeMap<String, (DetectorSettings, String, Option<usize>)>,
    detectors: Detectors,
}

impl Catalog {
    /// The tool of this name.
    #[must_use]
    pub fn tool(&self, name: &ToolName) -> Option<&Tool> {
        self.tools.get(name)
    }

    /// Every tool, by name.
    pub fn tools(&self) -> impl Iterator<Item = &Tool> {
        self.tools.values()
    }

    /// Where a tool is defined.
    pub(crate) fn place(&self, name: &ToolName) -> Place<'_> {
        let found = self.places.get(name);
        found.map_or(Place::file("catalog"), |(file, line)| Place {
            file,
            line: *line,
        })
    }

    /// The facts of mandates that policies and guardrails may read, by name.
    pub(crate) fn facts(&self) -> &BTreeMap<String, CedarType> {
        &self.facts
    }

    /// The deployment's own detectors.
    #[must_use]
    pub fn detectors(&self) -> &Detectors {
        &self.detectors
    }

    /// Builds the detectors when every file is read, tries them on their examples, and gives
    /// them to every tool.
    pub(crate) fn build_detectors(&mut self, problems: &mut Problems) {
        let said = std::mem::take(&mut self.said);
        let settings = said.iter().map(|(name, (one, ..))| (name.as_str(), one));
        match Detectors::build(settings) {
            Ok(detectors) => self.detectors = detectors,
            Err(faults) => {
                for (name, fault) in faults {
                    let place = said.get(&name);
                    let place = place.map_or(Place::file("catalog"), |(_, file, line)| Place {
                        file,
                        line: *line,
                    });
                    let what = format!("detector `{name}`: {fault}");
                    problems.add(&place, what, MEND_DETECTOR);
                }
            }
        }
        for tool in self.tools.values_mut() {
            let classes = std::mem::take(&mut tool.classes);
            tool.classes = classes.with_detectors(&self.detectors);
        }
    }

    /// Notes every guardrail that reads a fact which nobody declares.
    pub(crate) fn check_facts(&self, problems: &mut Problems) {
        for tool in self.tools.values() {
            let named = tool.guardrails.iter().filter_map(|guard| guard.fact());
            for name in named.filter(|name| !self.facts.contains_key(*name)) {
                let what = format!(
                    "tool `{}`: a guardrail reads the fact `{}`, which nobody declares",
                    tool.name,
                    name.escape_debug()
                );
                problems.add(&self.place(&tool.name), what, "add it to `[facts]`");
            }
        }
    }

    /// Every label that some tool gives.
    pub(crate) fn labels(&self) -> BTreeSet<&Token> {
        self.tools.values().flat_map(|tool| &tool.labels).collect()
    }

    /// Adds the tools and facts of one file.
    pub(crate) fn read(
        &mut self,
        file: &str,
        text: &str,
        directory: &Directory,
        problems: &mut Problems,
    ) {
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let place = error
                .span()
                .map_or(Place::file(file), |span| Place::at(file, text, span.start));
            problems.add(&place, error.message(), MEND_FILE);
        }
        if !errors.is_empty() {
            return;
        }
        let mut reading = Reading {
            file,
            text,
            spots: Spots::of_toml(text, root.get_ref()),
            directory,
            problems,
        };
        for (name, section) in root.get_ref() {
            match (name.get_ref().as_ref(), section.get_ref()) {
                ("tools", DeValue::Table(tools)) => self.add_tools(tools, &mut reading),
                ("facts", DeValue::Table(facts)) => self.add_facts(facts, &mut reading),
                ("detectors", DeValue::Table(said)) => self.add_detectors(said, &mut reading),
                (known @ ("tools" | "facts" | "detectors"), _) => {
                    reading.fault(section, format!("`{known}` is no table"));
                }
                (other, _) => {
                    let what = format!("unknown field `{}`", other.escape_debug());
                    reading.fault(name, what);
                }
            }
        }
        if self.tools.len() > TOOLS_MAX {
            problems.add(
                &Place::file(file),
                format!("more than {TOOLS_MAX} tools"),
                "split the deployment",
            );
        }
    }

    fn add_detectors(&mut self, said: &DeTable<'_>, reading: &mut Reading<'_>) {
        for (name, table) in said {
            let place = Place::at(reading.file, reading.text, name.span().start);
            let name = name.get_ref().to_string();
            let read = DetectorSettings::deserialize(ValueDeserializer::from(table.clone()));
            let mut fault = |what: String| reading.problems.add(&place, what, MEND_DETECTOR);
            match read {
                Err(error) => fault(format!("detector `{name}`: {}", error.message())),
                Ok(_) if self.said.contains_key(&name) => {
                    fault(format!("detector `{name}` is defined twice"));
                }
                Ok(settings) => {
                    let at = (settings, place.file.to_owned(), place.line);
                    self.said.insert(name, at);
                }
            }
        }
    }

    fn add_facts(&mut self, facts: &DeTable<'_>, reading: &mut Reading<'_>) {
        for (name, word) in facts {
            let place = Place::at(reading.file, reading.text, name.span().start);
            let Some(word) = word.get_ref().as_str() else {
                let what = "invalid type: what a fact is stands in quotes";
                reading
                    .problems
                    .add(&place, what, "use string, integer, number or boolean");
                continue;
            };
            self.add_fact(name.get_ref().to_string(), word, &place, reading.problems);
        }
    }

    fn add_fact(&mut self, name: String, word: &str, place: &Place<'_>, problems: &mut Problems) {
        let mut fault = |what: String, mend: &str| problems.add(place, what, mend);
        if !is_fact_name(&name) {
            return fault(
                format!("`{}` cannot name a fact", name.escape_debug()),
                "use 1 to 64 of A-Z a-z 0-9 _, a letter first",
            );
        }
        let Some(kind) = input_schema::scalar(word) else {
            let what = format!("fact `{name}` has an unknown type");
            return fault(what, "use string, integer, number or boolean");
        };
        if self.facts.insert(name.clone(), kind).is_some() {
            fault(format!("fact `{name}` is declared twice"), "keep one");
        }
        if self.facts.len() > FACTS_MAX {
            let what = format!("more than {FACTS_MAX} facts");
            fault(what, "declare those that are read");
        }
    }

    fn add_tools(&mut self, tools: &DeTable<'_>, reading: &mut Reading<'_>) {
        for (name, table) in tools {
            let place = Place::at(reading.file, reading.text, name.span().start);
            let name: ToolName = match name.get_ref().parse() {
                Ok(name) => name,
                Err(error) => {
                    reading
                        .problems
                        .add(&place, error.to_string(), "rename the tool");
                    continue;
                }
            };
            if self.tools.contains_key(&name) {
                let what = format!("tool `{name}` is defined twice");
                reading.problems.add(&place, what, "keep one definition");
                continue;
            }
            if let Some(tool) = tool_file::build(name.clone(), table, place, reading) {
                let at = (place.file.to_owned(), place.line);
                self.places.insert(name.clone(), at);
                self.add_quotas(&tool, &place, reading.problems);
                self.tools.insert(name, tool);
            }
        }
    }

    /// Tools may share a rate or budget by its name; then it must be the same, and one tool
    /// takes from it once.
    fn add_quotas(&mut self, tool: &Tool, place: &Place<'_>, problems: &mut Problems) {
        let mut own = BTreeSet::new();
        for quota in tool.guardrails.iter().filter_map(|guard| guard.quota()) {
            if !own.insert(&quota.name) {
                problems.add(
                    place,
                    format!("`{}` takes from `{}` twice", tool.name, quota.name),
                    "give each rate and budget of a tool a name of its own",
                );
            }
            let known = self.quotas.entry(quota.name.clone());
            if known.or_insert_with(|| quota.clone()) != quota {
                problems.add(
                    place,
                    format!("`{}` is another rate or budget elsewhere", quota.name),
                    "give those that share a name the same kind, `per`, `window` and `max`",
                );
            }
        }
    }
}

const MEND_FILE: &str =
    "write TOML with tables `[tools.\"name\"]`, `[facts]` and `[detectors.name]`";
const MEND_DETECTOR: &str = "docs/redaction.md lists the keys of a detector";

/// One file of the catalog while it is read.
pub(super) struct Reading<'f> {
    pub(super) file: &'f str,
    pub(super) text: &'f str,
    pub(super) spots: Spots,
    pub(super) directory: &'f Directory,
    pub(super) problems: &'f mut Problems,
}

impl Reading<'_> {
    fn fault<T>(&mut self, at: &Spanned<T>, what: String) {
        let place = Place::at(self.file, self.text, at.span().start);
        self.problems.add(&place, what, MEND_FILE);
    }

    /// The place of what `at` names inside a tool, or of the nearest thing around it.
    pub(super) fn line(&self, tool: &ToolName, at: &str) -> Option<usize> {
        let tool = below("/tools", tool.as_str());
        self.spots.line(&format!("{tool}{at}"))
    }
}
