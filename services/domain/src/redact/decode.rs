//! The forms in which a text is read: folded to plain characters, and after one round of
//! percent, JSON or base64 decoding. Every form remembers which bytes of the original each
//! of its own bytes came from.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use unicode_normalization::UnicodeNormalization as _;

use super::work::spend;

/// Shortest run that is tried as base64: six bytes, the shortest e-mail address.
pub(super) const BASE64_RUN_MIN: usize = 8;

/// A text with the origin of each byte.
#[derive(Debug, Clone)]
pub(super) struct View {
    text: String,
    /// Per byte of `text`, the range of the original; empty where the text is the original.
    origin: Vec<(u32, u32)>,
}

impl View {
    pub(super) fn original(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            origin: Vec::new(),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The range of the original that `start..end` of this form came from.
    pub(super) fn origin(&self, start: usize, end: usize) -> Option<(usize, usize)> {
        if self.origin.is_empty() {
            return Some((start, end));
        }
        let first = self.origin.get(start)?;
        let last = self.origin.get(end.checked_sub(1)?)?;
        Some((first.0 as usize, last.1 as usize))
    }

    fn builder(&self) -> Self {
        Self {
            text: String::with_capacity(self.text.len()),
            origin: Vec::with_capacity(self.text.len()),
        }
    }

    /// Adds a character that stands for `start..end` of `from`.
    fn push(&mut self, c: char, from: &Self, start: usize, end: usize) {
        let (start, end) = from.origin(start, end).unwrap_or((start, end));
        let origin = (
            u32::try_from(start).unwrap_or(u32::MAX),
            u32::try_from(end).unwrap_or(u32::MAX),
        );
        self.text.push(c);
        self.origin
            .extend(std::iter::repeat_n(origin, c.len_utf8()));
    }

    /// Compatibility forms folded, invisible characters gone, foreign digits and dashes in
    /// ASCII; none if that changes nothing.
    pub(super) fn folded(&self) -> Option<Self> {
        if self.text.is_ascii() {
            return None;
        }
        spend(self.text.len());
        let mut out = self.builder();
        for (at, c) in self.text.char_indices() {
            let end = at + c.len_utf8();
            if is_invisible(c) {
                continue;
            }
            if let Some(plain) = plain(c) {
                out.push(plain, self, at, end);
                continue;
            }
            for folded in std::iter::once(c).nfkc() {
                out.push(folded, self, at, end);
            }
        }
        (out.text != self.text).then_some(out)
    }

    /// `%40` decoded; none if there is nothing to decode.
    pub(super) fn percent_decoded(&self) -> Option<Self> {
        self.decoded('%', percent)
    }

    /// `\u0040`, `\/` and their like decoded; none if there is nothing to decode.
    pub(super) fn unescaped(&self) -> Option<Self> {
        self.decoded('\\', escape)
    }

    /// `&#64;`, `&#x40;` and `&amp;` decoded; none if there is nothing to decode.
    pub(super) fn entities_decoded(&self) -> Option<Self> {
        self.decoded('&', entity)
    }

    fn decoded(&self, lead: char, step: fn(&str) -> Option<(char, usize)>) -> Option<Self> {
        if !self.text.contains(lead) {
            return None;
        }
        spend(self.text.len());
        let mut out = self.builder();
        let mut changed = false;
        let mut skip_to = 0;
        for (at, c) in self.text.char_indices() {
            if at < skip_to {
                continue;
            }
            let rest = self.text.get(at..).unwrap_or_default();
            let found = if c == lead { step(rest) } else { None };
            let (decoded, length) = found.unwrap_or((c, c.len_utf8()));
            changed |= found.is_some();
            out.push(decoded, self, at, at + length);
            skip_to = at + length;
        }
        changed.then_some(out)
    }
}

/// One percent-encoded character at the start of `rest`, in UTF-8 or Latin-1.
fn percent(rest: &str) -> Option<(char, usize)> {
    let mut bytes = Vec::with_capacity(4);
    while bytes.len() < 4 {
        let Some(byte) = percent_byte(rest, bytes.len() * 3) else {
            break;
        };
        bytes.push(byte);
        let whole = std::str::from_utf8(&bytes).ok();
        if let Some(c) = whole.and_then(|text| text.chars().next()) {
            return Some((c, bytes.len() * 3));
        }
    }
    bytes.first().map(|byte| (char::from(*byte), 3))
}

fn percent_byte(rest: &str, at: usize) -> Option<u8> {
    let hex = rest.get(at..at + 3)?.strip_prefix('%')?;
    let both_hex = hex.bytes().all(|b| b.is_ascii_hexdigit());
    both_hex.then(|| u8::from_str_radix(hex, 16).ok())?
}

/// One JSON escape at the start of `rest`.
fn escape(rest: &str) -> Option<(char, usize)> {
    let c = match rest.as_bytes().get(1)? {
        b'/' => '/',
        b'"' => '"',
        b'\\' => '\\',
        b'n' | b'r' | b't' | b'b' | b'f' => '\n',
        b'u' => return unicode_escape(rest),
        _ => return None,
    };
    Some((c, 2))
}

fn unicode_escape(rest: &str) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let hex = rest.get(at..at + 6)?.strip_prefix("\\u")?;
        let all_hex = hex.bytes().all(|b| b.is_ascii_hexdigit());
        all_hex.then(|| u32::from_str_radix(hex, 16).ok())?
    };
    let high = unit(0)?;
    if let Some(c) = char::from_u32(high) {
        return Some((c, 6));
    }
    let low = unit(6)?;
    let joined = 0x1_0000 + ((high & 0x3ff) << 10) + (low & 0x3ff);
    char::from_u32(joined).map(|c| (c, 12))
}

/// One HTML entity at the start of `rest`.
fn entity(rest: &str) -> Option<(char, usize)> {
    let end = rest.bytes().take(12).position(|b| b == b';')?;
    let name = rest.get(1..end)?;
    let c = match name {
        "amp" => '&',
        "commat" => '@',
        "period" => '.',
        "nbsp" => ' ',
        "quot" => '"',
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some((c, end + 1))
}

fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The ASCII character that stands for dashes and digits NFKC leaves as they are.
fn plain(c: char) -> Option<char> {
    const ZEROS: &[u32] = &[
        0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50,
        0xed0, 0xf20, 0x1040, 0x17e0, 0x1810,
    ];
    if matches!(
        c,
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}'
    ) {
        return Some('-');
    }
    let code = u32::from(c);
    let zero = ZEROS
        .iter()
        .find(|zero| (**zero..**zero + 10).contains(&code))?;
    char::from_digit(code - zero, 10)
}

/// A run of base64 that decodes to readable text.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) text: String,
}

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Every run of the text that decodes from base64 to readable text, whole and between its
/// own separators.
pub(super) fn base64_runs(text: &str) -> Vec<Encoded> {
    spend(text.len());
    let mut found = Vec::new();
    runs(text, is_base64, |start, run| {
        if !is_one_case(run) {
            collect_run(text, run, start, &mut found);
        }
    });
    found
}

/// Small letters only, as most words are. What was an `@`, or the first byte of three that were
/// digits or full stops, is a capital in base64, so no such run holds a value.
fn is_one_case(run: &str) -> bool {
    run.bytes().all(|b| b.is_ascii_lowercase())
}

fn collect_run(text: &str, run: &str, start: usize, found: &mut Vec<Encoded>) {
    let before = found.len();
    try_run(text, run, start, found);
    if found.len() > before || !run.contains(['/', '-', '_', '+']) {
        return;
    }
    let separator = |b: u8| !matches!(b, b'/' | b'-' | b'_' | b'+');
    runs(run, separator, |from, part| {
        try_run(text, part, start + from, found);
    });
}

fn try_run(text: &str, run: &str, start: usize, found: &mut Vec<Encoded>) {
    let Some(decoded) = decode_run(run) else {
        return;
    };
    let padding = text
        .bytes()
        .skip(start + run.len())
        .take(2)
        .take_while(|b| *b == b'=')
        .count();
    found.push(Encoded {
        start,
        end: start + run.len() + padding,
        text: decoded,
    });
}

/// A run that decodes to nothing but readable text; random identifiers hardly ever do.
fn decode_run(run: &str) -> Option<String> {
    spend(run.len());
    if run.len() < BASE64_RUN_MIN || run.len() % 4 == 1 {
        return None;
    }
    let engine = if run.contains(['-', '_']) {
        URL_SAFE
    } else {
        STANDARD
    };
    let mut head = [0; 6];
    let length = engine.decode_slice(run.get(..8)?, &mut head).ok()?;
    let readable = |b: &u8| *b >= b' ' || b.is_ascii_whitespace();
    // No character begins with one of these bytes.
    let begins = head
        .first()
        .is_some_and(|b| !matches!(b, 0x80..=0xc1 | 0xf5..));
    if !begins || !head.get(..length)?.iter().all(readable) {
        return None;
    }
    let text = String::from_utf8(engine.decode(run).ok()?).ok()?;
    let readable = text.chars().all(|c| !c.is_control() || c.is_whitespace());
    readable.then_some(text)
}

fn is_base64(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_')
}

/// Tells the maximal runs of bytes that `belongs` accepts; it must accept ASCII only.
fn runs(text: &str, belongs: fn(u8) -> bool, mut told: impl FnMut(usize, &str)) {
    let mut start = 0;
    for (at, b) in text.bytes().enumerate().chain([(text.len(), b' ')]) {
        if belongs(b) && at < text.len() {
            continue;
        }
        if at - start >= BASE64_RUN_MIN
            && let Some(run) = text.get(start..at)
        {
            told(start, run);
        }
        start = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The decoded text, and the part of the original that its first `x` came from.
    fn read(view: Option<View>, original: &str) -> Option<(String, String)> {
        let view = view?;
        let at = view.text().find('x')?;
        let (start, end) = view.origin(at, at + 1)?;
        Some((view.text().to_owned(), original.get(start..end)?.to_owned()))
    }

    fn check(decode: fn(&View) -> Option<View>, cases: &[(&str, Option<(&str, &str)>)]) {
        for (text, expected) in cases {
            let expected = expected.map(|(text, from)| (text.to_owned(), from.to_owned()));
            assert_eq!(
                read(decode(&View::original(text)), text),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn percent_encoding_is_decoded_and_remembers_its_place() {
        check(
            View::percent_decoded,
            &[
                ("a%78b", Some(("axb", "%78"))),
                ("%C3%A9x", Some(("éx", "x"))),
                ("%E9x", Some(("éx", "x"))),
                ("%F0%9F%98%80%78", Some(("😀x", "%78"))),
                ("100% x", None),
                ("%zzx", None),
                ("%7", None),
                ("x", None),
            ],
        );
    }

    #[test]
    fn json_escapes_are_decoded() {
        check(
            View::unescaped,
            &[
                ("\\u0078", Some(("x", "\\u0078"))),
                ("\\/x", Some(("/x", "x"))),
                ("\\ud83d\\ude00x", Some(("😀x", "x"))),
                ("\\ud83dx", None),
                ("\\q x", None),
                ("\\", None),
            ],
        );
    }

    #[test]
    fn entities_are_decoded() {
        check(
            View::entities_decoded,
            &[
                ("&#120;", Some(("x", "&#120;"))),
                ("&#x78;", Some(("x", "&#x78;"))),
                ("&amp;x", Some(("&x", "x"))),
                ("&unknown;x", None),
                ("a & b x", None),
            ],
        );
    }

    #[test]
    fn compatibility_forms_and_invisible_characters_are_folded() {
        check(
            View::folded,
            &[
                ("ｘ", Some(("x", "ｘ"))),
                ("\u{200b}x", Some(("x", "x"))),
                ("٣x", Some(("3x", "x"))),
                ("\u{2013}x", Some(("-x", "x"))),
                ("plain x", None),
                ("éx", None),
            ],
        );
    }

    #[test]
    fn base64_is_found_where_it_is_readable() {
        for (text, expected) in [
            ("Ym9iQGV4YW1wbGUuY29t", vec!["bob@example.com"]),
            ("a=Ym9iQGV4YW1wbGUuY28= b", vec!["bob@example.co"]),
            ("path/Ym9iQGV4YW1wbGUuY29t/x", vec!["bob@example.com"]),
            ("SGVsbG8gd29ybGQ_", vec!["Hello world?"]),
            ("ordinary words only", vec![]),
            ("9f86d081884c7d659a2feaa0c55ad015", vec![]),
            ("", vec![]),
        ] {
            let found = base64_runs(text);
            let texts: Vec<&str> = found.iter().map(|run| run.text.as_str()).collect();
            assert_eq!(texts, expected, "{text}");
            for run in found {
                assert!(run.end <= text.len() && run.start < run.end, "{text}");
            }
        }
    }
}
