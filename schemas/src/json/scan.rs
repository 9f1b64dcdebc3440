//! One pass over a JSON text that builds nothing.

use std::borrow::Cow;
use std::collections::HashSet;

use super::number::is_exact;
use super::{JsonError, JsonFault};
use crate::limits::JSON_DEPTH_MAX;

/// Keys of one object that are compared one by one; beyond, a set is built, so that a
/// stranger's object with many keys does not cost the square of their number.
const KEYS_COMPARED_MAX: usize = 16;

type Scan<T = ()> = Result<T, JsonError>;

/// A cursor over a text, with the keys of the objects it is in.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    keys: Vec<Cow<'a, str>>,
}

impl<'a> Scanner<'a> {
    /// A cursor at the start of `text`, which stands `outer` levels deep.
    pub(super) fn new(text: &'a str, outer: usize) -> Self {
        Self {
            text,
            at: 0,
            depth: outer,
            keys: Vec::new(),
        }
    }

    /// Exactly one value and nothing after it.
    pub(super) fn document(mut self) -> Scan {
        self.space();
        self.value()?;
        self.space();
        match self.peek() {
            None => Ok(()),
            Some(_) => self.fault(JsonFault::Trailing),
        }
    }

    fn value(&mut self) -> Scan {
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(_) => self.fault(JsonFault::Expected("a value")),
            None => self.fault(JsonFault::End),
        }
    }

    fn nested(&mut self, inside: fn(&mut Self) -> Scan) -> Scan {
        self.depth += 1;
        if self.depth > JSON_DEPTH_MAX {
            return self.fault(JsonFault::Depth);
        }
        self.at += 1;
        self.space();
        inside(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self) -> Scan {
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value()?;
            if self.next_item(b']', "`,` or `]`")? {
                return Ok(());
            }
        }
    }

    fn object(&mut self) -> Scan {
        if self.take(b'}') {
            return Ok(());
        }
        let first = self.keys.len();
        let mut many = None;
        loop {
            self.key(first, &mut many)?;
            self.space();
            self.require(b':', "`:`")?;
            self.space();
            self.value()?;
            if self.next_item(b'}', "`,` or `}`")? {
                self.keys.truncate(first);
                return Ok(());
            }
        }
    }

    /// After an item: true at the end of the array or object, false before a next item.
    fn next_item(&mut self, close: u8, expected: &'static str) -> Scan<bool> {
        self.space();
        if self.take(close) {
            return Ok(true);
        }
        self.require(b',', expected)?;
        self.space();
        Ok(false)
    }

    fn key(&mut self, first: usize, many: &mut Option<HashSet<Cow<'a, str>>>) -> Scan {
        let at = self.at;
        if self.peek() != Some(b'"') {
            return self.expected("a key in double quotes");
        }
        let key = self.string()?;
        let own = self.keys.get(first..).unwrap_or_default();
        let fresh = match many {
            Some(set) => set.insert(key),
            None if own.contains(&key) => false,
            None if own.len() < KEYS_COMPARED_MAX => {
                self.keys.push(key);
                true
            }
            None => {
                let mut set: HashSet<_> = self.keys.drain(first..).collect();
                set.insert(key);
                *many = Some(set);
                true
            }
        };
        if fresh {
            return Ok(());
        }
        self.at = at;
        self.fault(JsonFault::DuplicateKey)
    }

    /// The content of the string that starts here, unescaped only where it has escapes.
    fn string(&mut self) -> Scan<Cow<'a, str>> {
        self.at += 1;
        let start = self.at;
        let rest = self.rest();
        let plain = rest
            .bytes()
            .position(|byte| byte == b'"' || byte == b'\\' || byte < b' ');
        self.at = start + plain.unwrap_or(rest.len());
        match self.peek() {
            Some(b'"') => {
                let text = self.text.get(start..self.at).unwrap_or_default();
                self.at += 1;
                Ok(Cow::Borrowed(text))
            }
            Some(b'\\') => self.escaped(start).map(Cow::Owned),
            Some(_) => self.fault(JsonFault::Text),
            None => self.fault(JsonFault::End),
        }
    }

    /// A string from `start` whose first escape is here.
    fn escaped(&mut self, start: usize) -> Scan<String> {
        let mut text = self.text.get(start..self.at).unwrap_or_default().to_owned();
        loop {
            let Some(next) = self.rest().chars().next() else {
                return self.fault(JsonFault::End);
            };
            match next {
                '"' => {
                    self.at += 1;
                    return Ok(text);
                }
                '\\' => text.push(self.escape()?),
                '\0'..='\u{1f}' => return self.fault(JsonFault::Text),
                plain => {
                    self.at += plain.len_utf8();
                    text.push(plain);
                }
            }
        }
    }

    fn escape(&mut self) -> Scan<char> {
        let code = self.text.as_bytes().get(self.at + 1).copied();
        let simple = match code {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return self.fault(JsonFault::Text),
        };
        self.at += 2;
        Ok(simple)
    }

    fn unicode_escape(&mut self) -> Scan<char> {
        let first = self.hex_unit()?;
        if let Some(single) = char::from_u32(first) {
            return Ok(single);
        }
        let second = self.hex_unit()?;
        let pair = (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(&second);
        let scalar = 0x1_0000 + ((first & 0x3ff) << 10) + (second & 0x3ff);
        match char::from_u32(scalar).filter(|_| pair) {
            Some(both) => Ok(both),
            None => self.fault(JsonFault::Text),
        }
    }

    fn hex_unit(&mut self) -> Scan<u32> {
        let unit = self
            .rest()
            .strip_prefix("\\u")
            .and_then(|rest| rest.get(..4))
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match unit {
            Some(unit) => {
                self.at += 6;
                Ok(unit)
            }
            None => self.fault(JsonFault::Text),
        }
    }

    fn number(&mut self) -> Scan {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        if is_exact(self.text.get(start..self.at).unwrap_or_default()) {
            return Ok(());
        }
        self.at = start;
        self.fault(JsonFault::Number)
    }

    fn digits(&mut self) -> Scan {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start {
            return self.expected("a digit");
        }
        Ok(())
    }

    fn word(&mut self, word: &'static str) -> Scan {
        if self.rest().starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        self.expected(word)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn require(&mut self, byte: u8, expected: &'static str) -> Scan {
        if self.take(byte) {
            return Ok(());
        }
        self.expected(expected)
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn expected<T>(&self, what: &'static str) -> Scan<T> {
        if self.peek().is_none() {
            return self.fault(JsonFault::End);
        }
        self.fault(JsonFault::Expected(what))
    }

    fn fault<T>(&self, fault: JsonFault) -> Scan<T> {
        Err(JsonError { at: self.at, fault })
    }
}
