//! Text from strangers, made safe to show: whatever is invisible or reorders what is read
//! becomes visible, so that what a person approves is what the text says.

use countersign_schemas::JsonObject;
use serde_json::{Map, Value};
use unicode_normalization::char::is_combining_mark;

/// Combining marks on one letter. No script stacks more; a pile of them covers the lines
/// around it.
const MARKS_MAX: usize = 4;

/// `text` with every control character, bidirectional override and invisible character
/// written out as `⟨U+202E⟩`. Line breaks become `⏎`.
#[must_use]
pub fn visible(text: &str) -> String {
    if text.is_ascii() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut place = Place::default();
    for c in text.chars() {
        match c {
            '\n' => shown.push('⏎'),
            c if place.bears(c) => shown.push(c),
            c => shown.push_str(&format!("⟨U+{:04X}⟩", u32::from(c))),
        }
        place.pass(c);
    }
    shown
}

/// What stands before a character, as far as it matters for whether it can be seen.
#[derive(Debug, Default)]
struct Place {
    /// The letter, digit or symbol before, if there is one on this line.
    base: Option<char>,
    /// Marks on it so far.
    marks: usize,
}

impl Place {
    fn bears(&self, c: char) -> bool {
        match c {
            '\u{fe0f}' => self.marks == 0 && self.base.is_some_and(may_be_emoji),
            c if !is_plain(c) => false,
            c if is_combining_mark(c) => self.base.is_some() && self.marks < MARKS_MAX,
            _ => true,
        }
    }

    fn pass(&mut self, c: char) {
        if is_combining_mark(c) {
            self.marks += 1;
        } else {
            self.marks = 0;
            self.base = Some(c).filter(|c| is_plain(*c));
        }
    }
}

/// Whether the emoji variation selector changes how `c` looks.
fn may_be_emoji(c: char) -> bool {
    matches!(c, '#' | '*' | '0'..='9' | '©' | '®') || (c >= '\u{203c}' && !c.is_alphanumeric())
}

/// A JSON value with every key and string made [`visible`]. Line breaks inside a value
/// stay: they are shown as JSON, which escapes them.
fn visible_json(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(visible_lines(text)),
        Value::Array(items) => Value::Array(items.iter().map(visible_json).collect()),
        Value::Object(map) => Value::Object(each(map, visible, visible_json)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// An object with every key and value changed. Two keys that become the same stay two:
/// nothing that is shown may disappear behind another.
pub(super) fn each(
    map: &Map<String, Value>,
    key: fn(&str) -> String,
    value: fn(&Value) -> Value,
) -> Map<String, Value> {
    let mut changed = Map::new();
    for (name, held) in map {
        let mut name = key(name);
        while changed.contains_key(&name) {
            name.push_str("⟨again⟩");
        }
        changed.insert(name, value(held));
    }
    changed
}

/// An object with every key and string made [`visible`].
pub(super) fn visible_object(object: &JsonObject) -> JsonObject {
    JsonObject(each(&object.0, visible, visible_json))
}

fn visible_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(visible).collect();
    lines.join("\n")
}

fn is_plain(c: char) -> bool {
    if c.is_control() || is_private(c) {
        return false;
    }
    !matches!(c,
        // Soft hyphen, combining joiner, Arabic and Syriac marks, Hangul and Khmer fillers,
        // Mongolian separator.
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{8e2}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        // Spaces of odd widths, which look like another one or like nothing.
        | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{205f}'
        // Zero width, direction marks, line and paragraph separators, overrides, isolates.
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        // Blank letters, variation selectors, byte order mark, anchors of annotations.
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffc}'
        // Format controls of Kaithi, hieroglyphs, shorthand and music.
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{13455}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}'
        // Tags and further variation selectors, which can carry a hidden text.
        | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Private use and non-characters: what they look like is up to the reader's machine.
fn is_private(c: char) -> bool {
    let code = u32::from(c);
    matches!(code, 0xe000..=0xf8ff | 0xfdd0..=0xfdef | 0xf_0000..=0x10_ffff)
        || code & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_hides_or_reorders_becomes_visible() {
        for (text, shown) in [
            ("pay 5 EUR", "pay 5 EUR"),
            ("naïve 日本 ❤\u{fe0f}", "naïve 日本 ❤\u{fe0f}"),
            ("a\u{202e}b", "a⟨U+202E⟩b"),
            ("a\u{200b}b", "a⟨U+200B⟩b"),
            ("a\u{1b}[31mb", "a⟨U+001B⟩[31mb"),
            ("a\nApproved by lee", "a⏎Approved by lee"),
            ("a\r\tb", "a⟨U+000D⟩⟨U+0009⟩b"),
            ("x\u{e0041}", "x⟨U+E0041⟩"),
            ("\u{2066}a\u{2069}", "⟨U+2066⟩a⟨U+2069⟩"),
            ("a\u{85}\u{9b}b\u{7f}", "a⟨U+0085⟩⟨U+009B⟩b⟨U+007F⟩"),
            ("a\u{2007}b\u{1680}c", "a⟨U+2007⟩b⟨U+1680⟩c"),
            ("\u{e001}\u{fdd0}\u{1fffe}", "⟨U+E001⟩⟨U+FDD0⟩⟨U+1FFFE⟩"),
            (
                "pay\u{fe0f} 5\u{fe0f}\u{20e3}",
                "pay⟨U+FE0F⟩ 5\u{fe0f}\u{20e3}",
            ),
            ("❤\u{fe0f}\u{fe0f}", "❤\u{fe0f}⟨U+FE0F⟩"),
            ("é e\u{301} ก็", "é e\u{301} ก็"),
            (
                "e\u{301}\u{301}\u{301}\u{301}\u{301}x",
                "e\u{301}\u{301}\u{301}\u{301}⟨U+0301⟩x",
            ),
            ("\u{338}no", "⟨U+0338⟩no"),
            ("a\n\u{338}b", "a⏎⟨U+0338⟩b"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn keys_and_nested_values_are_covered() {
        let value = json!({"a\u{202e}": ["x\u{200b}", {"k": "l1\nl2\u{7}"}], "n": 1});
        let expected = json!({"a⟨U+202E⟩": ["x⟨U+200B⟩", {"k": "l1\nl2⟨U+0007⟩"}], "n": 1});
        assert_eq!(visible_json(&value), expected);
    }

    #[test]
    fn two_keys_that_look_the_same_stay_two() {
        let value = json!({"to\u{200b}": 1, "to⟨U+200B⟩": 2});
        let shown = visible_json(&value);
        let shown: Vec<&String> = shown.as_object().unwrap().keys().collect();
        assert_eq!(shown, ["to⟨U+200B⟩", "to⟨U+200B⟩⟨again⟩"]);
    }

    proptest! {
        #[test]
        fn nothing_invisible_is_left_and_a_second_pass_changes_nothing(text in any::<String>()) {
            let shown = visible(&text);
            let seen = |c: char| c == '\u{fe0f}' || is_plain(c);
            prop_assert!(shown.chars().all(seen));
            prop_assert_eq!(visible(&shown), shown);
        }
    }
}
