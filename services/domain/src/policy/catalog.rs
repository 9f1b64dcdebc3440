//! The tools of a bundle: `catalog/*.toml`.

use std::collections::{BTreeMap, BTreeSet};

use countersign_schemas::{Token, ToolName};
use serde::Deserialize;
use toml::Spanned;

use super::directory::Directory;
use super::input_schema::{self, CedarType};
use super::problem::{Place, Problems};
use super::tool::Tool;
use super::tool_file;
use crate::mandate::{FACTS_MAX, is_fact_name};

/// Tools in one bundle: each costs a compiled schema and an index of rules in memory.
const TOOLS_MAX: usize = 5_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogFile {
    #[serde(default)]
    tools: BTreeMap<Spanned<String>, toml::Value>,
    #[serde(default)]
    facts: BTreeMap<Spanned<String>, String>,
}

/// Every tool that agents may know. A tool that is not here does not exist.
#[derive(Debug, Default)]
pub struct Catalog {
    tools: BTreeMap<ToolName, Tool>,
    /// File and line of each.
    places: BTreeMap<ToolName, (String, Option<usize>)>,
    facts: BTreeMap<String, CedarType>,
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
        let parsed: CatalogFile = match toml::from_str(text) {
            Ok(parsed) => parsed,
            Err(error) => {
                let place = error
                    .span()
                    .map_or(Place::file(file), |span| Place::at(file, text, span.start));
                return problems.add(
                    &place,
                    error.message(),
                    "write TOML with tables `[tools.\"name\"]` and `[facts]`",
                );
            }
        };
        for (name, table) in parsed.tools {
            let place = Place::at(file, text, name.span().start);
            self.add(name.get_ref(), &table, directory, place, problems);
        }
        for (name, word) in parsed.facts {
            let place = Place::at(file, text, name.span().start);
            self.add_fact(name.into_inner(), &word, &place, problems);
        }
        if self.tools.len() > TOOLS_MAX {
            problems.add(
                &Place::file(file),
                format!("more than {TOOLS_MAX} tools"),
                "split the deployment",
            );
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

    fn add(
        &mut self,
        name: &str,
        table: &toml::Value,
        directory: &Directory,
        place: Place<'_>,
        problems: &mut Problems,
    ) {
        let name: ToolName = match name.parse() {
            Ok(name) => name,
            Err(error) => return problems.add(&place, error.to_string(), "rename the tool"),
        };
        if self.tools.contains_key(&name) {
            return problems.add(
                &place,
                format!("tool `{name}` is defined twice"),
                "keep one definition",
            );
        }
        if let Some(tool) = tool_file::build(name.clone(), table, directory, place, problems) {
            let at = (place.file.to_owned(), place.line);
            self.places.insert(name.clone(), at);
            self.tools.insert(name, tool);
        }
    }
}
