//! The tools of a bundle: `catalog/*.toml`.

use std::collections::BTreeMap;

use countersign_schemas::ToolName;
use serde::Deserialize;
use toml::Spanned;

use super::directory::Directory;
use super::problem::{Place, Problems};
use super::tool::Tool;
use super::tool_file;

/// Tools in one bundle: each costs a compiled schema and an index of rules in memory.
const TOOLS_MAX: usize = 5_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogFile {
    #[serde(default)]
    tools: BTreeMap<Spanned<String>, toml::Value>,
}

/// Every tool that agents may know. A tool that is not here does not exist.
#[derive(Debug, Default)]
pub struct Catalog {
    tools: BTreeMap<ToolName, Tool>,
    /// File and line of each.
    places: BTreeMap<ToolName, (String, Option<usize>)>,
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

    /// Adds the tools of one file.
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
                    "write TOML with tables `[tools.\"name\"]`",
                );
            }
        };
        for (name, table) in parsed.tools {
            let place = Place::at(file, text, name.span().start);
            self.add(name.get_ref(), &table, directory, place, problems);
        }
        if self.tools.len() > TOOLS_MAX {
            problems.add(
                &Place::file(file),
                format!("more than {TOOLS_MAX} tools"),
                "split the deployment",
            );
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
