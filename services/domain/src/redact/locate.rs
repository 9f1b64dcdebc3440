//! JSON as it is written: which bytes of a text hold which key and which value, so that a
//! find can be reported where a person sees it, and JSON inside a string can be read by its
//! keys.

use countersign_schemas::limits::JSON_DEPTH_MAX;
use serde::de::IgnoredAny;

use super::work::spend;

/// Where something stands, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn of(self, text: &str) -> &str {
        text.get(self.start..self.end).unwrap_or_default()
    }
}

/// A value where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// `true`, `false` or `null`.
    Word(Span),
    Number(Span),
    /// What stands between the quotes.
    Text(Span),
    Array(Span, Vec<Node>),
    Object(Span, Vec<(Span, Node)>),
}

impl Node {
    /// The bytes of the value, without the quotes of a text.
    pub(super) fn span(&self) -> Span {
        match self {
            Self::Word(span)
            | Self::Number(span)
            | Self::Text(span)
            | Self::Array(span, _)
            | Self::Object(span, _) => *span,
        }
    }
}

/// Reads an object, an array or a text in quotes; none if the text is anything else.
pub(super) fn read(text: &str) -> Option<Node> {
    let head = text.trim_start().as_bytes().first();
    let tail = text.trim_end().as_bytes().last();
    if !matches!(
        (head, tail),
        (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')) | (Some(b'"'), Some(b'"'))
    ) {
        return None;
    }
    spend(text.len());
    // Whether it is JSON at all is serde's to say; below only the places are found.
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut reader = Reader {
        bytes: text.as_bytes(),
        at: 0,
    };
    reader.value(0)
}

struct Reader<'t> {
    bytes: &'t [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Passes over space and over the signs that only part values.
    fn skip(&mut self) {
        while matches!(
            self.peek(),
            Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')
        ) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        if depth > JSON_DEPTH_MAX {
            return None;
        }
        self.skip();
        let start = self.at;
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.text().map(Node::Text),
            b'-' | b'0'..=b'9' => {
                self.word();
                Some(Node::Number(self.from(start)))
            }
            _ => {
                self.word();
                Some(Node::Word(self.from(start)))
            }
        }
    }

    fn from(&self, start: usize) -> Span {
        Span {
            start,
            end: self.at,
        }
    }

    fn word(&mut self) {
        while !matches!(
            self.peek(),
            None | Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r')
        ) {
            self.at += 1;
        }
    }

    fn text(&mut self) -> Option<Span> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        let span = self.from(start);
        self.at += 1;
        Some(span)
    }

    fn array(&mut self, depth: usize) -> Option<Node> {
        let start = self.at;
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip();
            if self.peek()? == b']' {
                self.at += 1;
                return Some(Node::Array(self.from(start), items));
            }
            items.push(self.value(depth + 1)?);
        }
    }

    fn object(&mut self, depth: usize) -> Option<Node> {
        let start = self.at;
        self.at += 1;
        let mut members = Vec::new();
        loop {
            self.skip();
            if self.peek()? == b'}' {
                self.at += 1;
                return Some(Node::Object(self.from(start), members));
            }
            let key = self.text()?;
            members.push((key, self.value(depth + 1)?));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_found_where_it_stands() {
        let text = r#" {"a\"b": [1, -2.5e3, true], "c": {"d": "x\\"}, "e": null} "#;
        let Some(Node::Object(whole, members)) = read(text) else {
            panic!("an object");
        };
        assert_eq!(whole.of(text), text.trim());
        let shown: Vec<(&str, &str)> = members
            .iter()
            .map(|(key, value)| (key.of(text), value.span().of(text)))
            .collect();
        let expected = [
            (r#"a\"b"#, "[1, -2.5e3, true]"),
            ("c", r#"{"d": "x\\"}"#),
            ("e", "null"),
        ];
        assert_eq!(shown, expected);
        let Some((_, Node::Array(_, items))) = members.first() else {
            panic!("an array");
        };
        let items: Vec<&str> = items.iter().map(|item| item.span().of(text)).collect();
        assert_eq!(items, ["1", "-2.5e3", "true"]);
    }

    #[test]
    fn what_is_no_json_is_left() {
        for text in [
            "",
            "{",
            "{\"a\": }",
            "plain",
            "\"a\" \"b\"",
            "12",
            "[1,]",
            "{} x",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        let deep = "[".repeat(100) + &"]".repeat(100);
        assert_eq!(read(&deep), None);
    }
}
