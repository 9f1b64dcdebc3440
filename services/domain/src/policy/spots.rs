//! Where the members of a JSON or TOML text stand: a reader that keeps values forgets
//! their lines.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Lines;

/// Levels of members whose place is kept, down to a field of a schema in a tool.
const LEVELS_MAX: usize = 8;

/// Where one member or element stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Spot {
    /// Line of its key, from 1.
    line: usize,
    /// Line on which its value starts, from 1.
    value_line: usize,
    value: Range<usize>,
}

/// The places of all members of a text, by JSON Pointer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spots(BTreeMap<String, Spot>);

impl Spots {
    /// The places in a TOML text, from its parsed form.
    pub(crate) fn of_toml(text: &str, root: &DeTable<'_>) -> Self {
        let mut tables = Tables {
            lines: Lines::of(text),
            found: BTreeMap::new(),
        };
        tables.table("", root, 0);
        Self(tables.found)
    }

    /// Reads `text`, which must have passed the strict check: of other texts some places
    /// are missing or wrong.
    pub(crate) fn of(text: &str) -> Self {
        let mut reader = Reader {
            text,
            at: 0,
            line: 1,
            found: BTreeMap::new(),
        };
        reader.space();
        reader.value("", 0);
        Self(reader.found)
    }

    /// The line of what `pointer` names, or of the nearest thing around it.
    pub(crate) fn line(&self, pointer: &str) -> Option<usize> {
        let mut rest = pointer;
        loop {
            if let Some(spot) = self.0.get(rest) {
                return Some(spot.line);
            }
            (rest, _) = rest.rsplit_once('/')?;
        }
    }

    /// Whether there is something that `pointer` names.
    pub(crate) fn has(&self, pointer: &str) -> bool {
        self.0.contains_key(pointer)
    }

    /// The text of the value that `pointer` names, and the line on which it starts.
    pub(crate) fn value<'t>(&self, text: &'t str, pointer: &str) -> Option<(&'t str, usize)> {
        let spot = self.0.get(pointer)?;
        Some((text.get(spot.value.clone())?, spot.value_line))
    }
}

/// The pointer of the member `name` of what `pointer` names.
pub(crate) fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

struct Tables {
    lines: Lines,
    found: BTreeMap<String, Spot>,
}

impl Tables {
    fn table(&mut self, pointer: &str, table: &DeTable<'_>, level: usize) {
        for (key, value) in table {
            self.part(below(pointer, key.get_ref()), key.span(), value, level);
        }
    }

    fn part(&mut self, at: String, key: Range<usize>, value: &Spanned<DeValue<'_>>, level: usize) {
        if level >= LEVELS_MAX {
            return;
        }
        match value.get_ref() {
            DeValue::Table(table) => self.table(&at, table, level + 1),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.part(format!("{at}/{index}"), item.span(), item, level + 1);
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
        let spot = Spot {
            line: self.lines.at(key.start),
            value_line: self.lines.at(value.span().start),
            value: value.span(),
        };
        self.found.insert(at, spot);
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    found: BTreeMap<String, Spot>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn step(&mut self) {
        self.line += usize::from(self.peek() == Some(b'\n'));
        self.at += 1;
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.step();
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// A string with its quotes; the place moves behind it.
    fn string(&mut self) -> &str {
        let from = self.at;
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.step();
            match byte {
                b'"' => break,
                b'\\' => self.step(),
                _ => {}
            }
        }
        self.text.get(from..self.at).unwrap_or_default()
    }

    fn value(&mut self, pointer: &str, level: usize) {
        match self.peek() {
            Some(b'{') => self.object(pointer, level),
            Some(b'[') => self.array(pointer, level),
            Some(b'"') => drop(self.string()),
            _ => {
                while !matches!(self.peek(), None | Some(b',' | b'}' | b']'))
                    && !self.peek().is_some_and(|byte| byte.is_ascii_whitespace())
                {
                    self.step();
                }
            }
        }
    }

    fn object(&mut self, pointer: &str, level: usize) {
        self.at += 1;
        while !self.take(b'}') && self.peek() == Some(b'"') {
            let line = self.line;
            let name: String = serde_json::from_str(self.string()).unwrap_or_default();
            self.take(b':');
            self.part(below(pointer, &name), line, level);
        }
    }

    fn array(&mut self, pointer: &str, level: usize) {
        self.at += 1;
        let mut index = 0;
        while !self.take(b']') && self.peek().is_some() {
            self.part(format!("{pointer}/{index}"), self.line, level);
            index += 1;
        }
    }

    /// One member or element, and the comma after it.
    fn part(&mut self, pointer: String, line: usize, level: usize) {
        self.space();
        let (value_line, from) = (self.line, self.at);
        self.value(&pointer, level + 1);
        let value = from..self.at;
        // Something that is no JSON does not hold this up.
        if !self.take(b',') && value.is_empty() {
            self.step();
        }
        if level < LEVELS_MAX {
            let spot = Spot {
                line,
                value_line,
                value,
            };
            self.found.insert(pointer, spot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "{\n  \"a\": {\"b~/\": [1,\n {\"c\": \"x\\\"}\"}\n]},\n\n\"d\":\n null}";

    #[test]
    fn members_are_found_with_their_lines_and_values() {
        let spots = Spots::of(TEXT);
        let table = [
            ("/a", 2, "{\"b~/\": [1,\n {\"c\": \"x\\\"}\"}\n]}", 2),
            ("/a/b~0~1/0", 2, "1", 2),
            ("/a/b~0~1/1", 3, "{\"c\": \"x\\\"}\"}", 3),
            ("/a/b~0~1/1/c", 3, "\"x\\\"}\"", 3),
            ("/d", 6, "null", 7),
        ];
        for (pointer, line, value, value_line) in table {
            assert_eq!(spots.line(pointer), Some(line), "{pointer}");
            assert_eq!(spots.value(TEXT, pointer), Some((value, value_line)));
        }
        assert_eq!(spots.line("/a/none/deep"), Some(2));
        assert_eq!(spots.line("/none"), None);
        assert_eq!(below("/a", "b~/"), "/a/b~0~1");
    }

    #[test]
    fn members_of_toml_are_found_with_their_lines() {
        let text = "[a.\"b/c\"]\nx = 1\ny = [1,\n {z = 2}]\n\n[[a.d]]\nk = 1\n[[a.d]]\nk = 2\n";
        let root = DeTable::parse(text).unwrap();
        let spots = Spots::of_toml(text, root.get_ref());
        let table = [
            ("/a/b~1c/x", 2),
            ("/a/b~1c/y/1/z", 4),
            ("/a/b~1c/none", 1),
            ("/a/d/0/k", 7),
            ("/a/d/1", 8),
            ("/a/d/1/k", 9),
        ];
        for (pointer, line) in table {
            assert_eq!(spots.line(pointer), Some(line), "{pointer}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_an_end(text in "[\\[\\]{}\",:\\\\ a1\n]{0,40}") {
            let _ = Spots::of(&text);
        }

        #[test]
        fn every_value_is_the_text_at_its_pointer(a in any::<i32>(), b in "\\PC{0,8}", c in "\\PC{0,8}") {
            let value = serde_json::json!({"s": {(c.clone()): [a, {"t": b}]}});
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let spots = Spots::of(&text);
                for pointer in [format!("{}/0", below("/s", &c)), format!("{}/1/t", below("/s", &c))] {
                    let (found, _) = spots.value(&text, &pointer).unwrap();
                    let found: serde_json::Value = serde_json::from_str(found).unwrap();
                    prop_assert_eq!(Some(&found), value.pointer(&pointer));
                }
            }
        }
    }
}
