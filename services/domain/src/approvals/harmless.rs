//! Text from strangers on its way into a chat or a mail: besides what [`visible`] does,
//! nothing in it is a mention, a link, a heading, a quote, code or any other markup.
//!
//! Each sign that a chat or a Markdown reader acts on is replaced by one that looks like it
//! and means nothing. Escaping would need to know who reads: what protects in one place is
//! shown as it stands in another, and undone by a bridge that renders twice.

use countersign_schemas::JsonObject;
use serde_json::Value;

use super::visible::{each, visible};

/// `text` as it may stand in a chat or a mail, whatever they do with plain text.
#[must_use]
pub fn harmless(text: &str) -> String {
    let text = visible(text);
    let chars: Vec<char> = text.chars().collect();
    let at = |index: Option<usize>| index.and_then(|index| chars.get(index)).copied();
    let sign = |(index, c): (usize, &char)| {
        let before = at(index.checked_sub(1));
        let after = |n: usize| at(index.checked_add(n));
        inert(*c, before, after(1), after(2))
    };
    let whole: String = chars.iter().enumerate().map(sign).collect();
    without_web_prefix(&whole)
}

/// Every key and string of an object made [`harmless`]. A line break becomes visible, too.
pub(super) fn harmless_object(object: &JsonObject) -> JsonObject {
    JsonObject(each(&object.0, harmless, harmless_json))
}

fn harmless_json(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(harmless(text)),
        Value::Array(items) => Value::Array(items.iter().map(harmless_json).collect()),
        Value::Object(map) => Value::Object(each(map, harmless, harmless_json)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// `c`, or its look-alike where it would mean something between these neighbours.
fn inert(c: char, before: Option<char>, after: Option<char>, then: Option<char>) -> char {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    match c {
        // Mentions, of people, rooms and channels; headings.
        '@' => '＠',
        '#' => '＃',
        // Slack's `<!channel>`, links and quotes; HTML.
        '<' => '‹',
        '>' => '›',
        '&' if is_word(after) || matches!(after, Some('#' | '＃')) => '＆',
        // Code, emphasis, strike-out, spoilers and tables, escapes.
        '`' => '‵',
        '*' => '∗',
        '~' => '∼',
        '|' => '¦',
        '\\' => '＼',
        '_' if !(is_word(before) && is_word(after)) => '＿',
        // The second half of a link, an image or a footnote.
        ']' if matches!(after, Some('(' | '[' | ':' | '：')) => '］',
        // An address that a chat would fetch and unfold; an emoji by name.
        ':' if after == Some('/') && then == Some('/') => '：',
        ':' if !is_word(before) && (is_word(after) || matches!(after, Some('+' | '-'))) => '：',
        // A list, a rule or an underlined heading.
        '-' if before.is_none() => '−',
        '+' if before.is_none() => '＋',
        '=' if before.is_none() => '＝',
        other => other,
    }
}

/// `www.example.org` is a link to most chats even without a scheme.
fn without_web_prefix(text: &str) -> String {
    const PREFIX: &str = "www.";
    let lower = text.to_ascii_lowercase();
    let mut starts = lower.match_indices(PREFIX).map(|(at, _)| at + 3).peekable();
    let dot = |(at, c): (usize, char)| match starts.next_if_eq(&at) {
        Some(_) => '．',
        None => c,
    };
    text.char_indices().map(dot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn no_trick_on_a_chat_survives() {
        for (trick, shown) in [
            ("@here look", "＠here look"),
            ("<!channel>", "‹!channel›"),
            ("<@U024BE7LH>", "‹＠U024BE7LH›"),
            ("@room:example.org", "＠room:example.org"),
            ("ping @everyone\n@lee", "ping ＠everyone⏎＠lee"),
            (
                "[open](javascript:alert(1))",
                "[open］(javascript:alert(1))",
            ),
            (
                "![](https://evil.example/p.png)",
                "![］(https：//evil.example/p.png)",
            ),
            ("[a][b] [b]: https://x", "[a］[b] [b］: https：//x"),
            (
                "<https://evil.example|our wiki>",
                "‹https：//evil.example¦our wiki›",
            ),
            (
                "HTTPS://evil.example www.evil.example",
                "HTTPS：//evil.example www．evil.example",
            ),
            ("# Approved", "＃ Approved"),
            ("> lee said yes", "› lee said yes"),
            ("- [x] done", "− [x] done"),
            ("---", "−--"),
            ("```\nrm\n```", "‵‵‵⏎rm⏎‵‵‵"),
            (
                "**bold** _it_ ~~gone~~ ||hidden||",
                "∗∗bold∗∗ ＿it＿ ∼∼gone∼∼ ¦¦hidden¦¦",
            ),
            ("&lt;b&gt; &#64;here", "＆lt;b＆gt; ＆＃64;here"),
            ("<a href='x'>", "‹a href='x'›"),
            (
                ":white_check_mark: approved",
                "：white_check_mark: approved",
            ),
            ("\\@lee", "＼＠lee"),
            ("a\u{200b}@lee\u{202e}", "a⟨U+200B⟩＠lee⟨U+202E⟩"),
            ("/here", "/here"),
        ] {
            assert_eq!(harmless(trick), shown);
        }
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for text in [
            "billing tried to use crm.update_contact for dana: Send a mail.",
            "Refund 120.50 EUR (invoice I-2231): 3 + 4 = 7; Müller & Söhne, 日本.",
            "reads [email:k1:9f2c0a] and [secret:k1:00], case C-88 at 10:30:01",
            "amount -5, half/half, 50 %, “quoted”, it's",
        ] {
            assert_eq!(harmless(text), text);
        }
    }

    #[test]
    fn keys_and_values_of_an_object_are_covered() {
        let object = json!({"@here": ["`x`", {"k": "a\n@lee", "n": 1}], "ok": true});
        let object = JsonObject::from_value(object).unwrap();
        let shown = json!({"＠here": ["‵x‵", {"k": "a⏎＠lee", "n": 1}], "ok": true});
        assert_eq!(harmless_object(&object).to_value(), shown);
    }

    /// Letters, signs that mean something somewhere, and anything at all.
    fn texts() -> impl Strategy<Value = String> {
        let sign = prop_oneof![
            4 => proptest::sample::select("@#<>&`*~|\\_]([:/+-=!w.\n\u{200b}\u{202e}a5 ".chars().collect::<Vec<_>>()),
            1 => any::<char>(),
        ];
        proptest::collection::vec(sign, 0..40).prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #[test]
        fn nothing_left_means_anything_and_a_second_pass_changes_nothing(text in texts()) {
            let shown = harmless(&text);
            prop_assert!(!shown.contains(['@', '#', '<', '>', '`', '*', '~', '|', '\\', '\n']));
            for mark in ["](", "][", "]:", "://", "www."] {
                prop_assert!(!shown.contains(mark), "{shown}");
            }
            prop_assert!(!shown.starts_with(['-', '+', '=']));
            prop_assert!(shown.chars().all(|c| !c.is_control()));
            prop_assert_eq!(visible(&shown), shown.as_str());
            prop_assert_eq!(harmless(&shown), shown);
        }
    }
}
