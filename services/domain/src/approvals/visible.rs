//! Text from strangers, made safe to show: whatever is invisible or reorders what is read
//! becomes visible, so that what a person approves is what the text says.

use countersign_schemas::JsonObject;
use serde_json::Value;

/// `text` with every control character, bidirectional override and invisible character
/// written out as `⟨U+202E⟩`. Line breaks become `⏎`.
#[must_use]
pub fn visible(text: &str) -> String {
    if text.chars().all(|c| is_plain(c) && c != '\n') {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => shown.push('⏎'),
            c if is_plain(c) => shown.push(c),
            c => shown.push_str(&format!("⟨U+{:04X}⟩", u32::from(c))),
        }
    }
    shown
}

/// A JSON value with every key and string made [`visible`]. Line breaks inside a value
/// stay: they are shown as JSON, which escapes them.
fn visible_json(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(visible_lines(text)),
        Value::Array(items) => Value::Array(items.iter().map(visible_json).collect()),
        Value::Object(map) => {
            let shown = map
                .iter()
                .map(|(key, value)| (visible(key), visible_json(value)));
            Value::Object(shown.collect())
        }
        other => other.clone(),
    }
}

/// An object with every key and string made [`visible`].
pub(super) fn visible_object(object: &JsonObject) -> JsonObject {
    match visible_json(&Value::Object(object.0.clone())) {
        Value::Object(map) => JsonObject(map),
        _ => JsonObject::default(),
    }
}

fn visible_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(visible).collect();
    lines.join("\n")
}

fn is_plain(c: char) -> bool {
    if c.is_control() && c != '\n' {
        return false;
    }
    !matches!(c,
        // Soft hyphen, combining joiner, Arabic letter mark, Hangul and Khmer fillers,
        // Mongolian separator.
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        // Zero width, direction marks, line and paragraph separators, overrides, isolates.
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        // Blank letters, variation selectors but the emoji one, byte order mark.
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0e}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
        // Tags and further variation selectors, which can carry a hidden text.
        | '\u{e0000}'..='\u{e0fff}'
    )
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

    proptest! {
        #[test]
        fn nothing_invisible_is_left_and_a_second_pass_changes_nothing(text in any::<String>()) {
            let shown = visible(&text);
            prop_assert!(shown.chars().all(|c| is_plain(c) && c != '\n'));
            prop_assert_eq!(visible(&shown), shown);
        }
    }
}
