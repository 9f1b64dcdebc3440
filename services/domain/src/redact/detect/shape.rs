//! One pass over a text that says which detectors can find anything in it.

use crate::redact::decode::BASE64_RUN_MIN;
use crate::redact::work::spend;

/// Longest text that is left alone because it is one word of letters: every secret that has
/// a form of its own is longer.
const WORD_BYTES_MAX: usize = 19;

/// Most digits of a number with a fraction, and with its point and percent sign.
const DECIMAL_DIGITS_MAX: usize = 12;
const DECIMAL_BYTES_MAX: usize = DECIMAL_DIGITS_MAX + 2;

const DIGIT: u16 = 1;
const LOWER: u16 = 1 << 1;
const UPPER: u16 = 1 << 2;
/// What may stand between the digits of one number.
const JOINER: u16 = 1 << 3;
/// `_` and `-`, which join the words of a name.
const NAME: u16 = 1 << 4;
/// The other characters of base64.
const BASE64: u16 = 1 << 5;
/// What no word and no number has.
const OTHER: u16 = 1 << 6;
const HIGH: u16 = 1 << 7;
const AT: u16 = 1 << 8;
const PERCENT: u16 = 1 << 9;
const BACKSLASH: u16 = 1 << 10;
const AMPERSAND: u16 = 1 << 11;
const QUOTE: u16 = 1 << 12;
const COLON: u16 = 1 << 13;
/// What a password by a generator has and a word of a text has not.
const MARK: u16 = 1 << 14;
/// What the runs of base64 are made of.
const RUN: u16 = DIGIT | LOWER | UPPER | NAME | BASE64;

/// The class of every byte.
const CLASSES: [u16; 256] = classes();

#[expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "worked out by the compiler, with an index below 256"
)]
const fn classes() -> [u16; 256] {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < 256 {
        classes[at] = class(at as u8);
        at += 1;
    }
    classes
}

const fn class(b: u8) -> u16 {
    match b {
        b'0'..=b'9' => DIGIT,
        b'a'..=b'z' => LOWER,
        b'A'..=b'Z' => UPPER,
        b'-' => JOINER | NAME,
        b'_' => NAME,
        b' ' | b'.' | b'(' | b')' => JOINER,
        b'/' | b'+' => JOINER | BASE64,
        b'@' => OTHER | AT,
        b'%' => OTHER | PERCENT,
        b'\\' => OTHER | BACKSLASH,
        b'&' => OTHER | AMPERSAND,
        b'"' => OTHER | QUOTE,
        b':' => OTHER | COLON,
        b'!' | b'#' | b'$' | b'^' | b'*' | b'?' | b'~' => OTHER | MARK,
        128.. => HIGH,
        _ => OTHER,
    }
}

fn class_of(b: u8) -> u16 {
    CLASSES.get(usize::from(b)).copied().unwrap_or(OTHER)
}

/// What a text is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// Digits in all.
    pub(super) digits: usize,
    /// Most digits in one stretch of digits and what may join them.
    pub(super) chain: usize,
    /// The longest stretch of characters of base64.
    pub(super) run: usize,
    pub(super) at: bool,
    pub(super) percent: bool,
    pub(super) backslash: bool,
    pub(super) ampersand: bool,
    pub(super) quote: bool,
    pub(super) colons: usize,
    /// `!`, `#`, `$`, `^`, `*`, `?` or `~`.
    pub(super) mark: bool,
    pub(super) ascii: bool,
    seen: u16,
    length: usize,
}

impl Shape {
    pub(super) fn of(text: &str) -> Self {
        spend(text.len());
        let (mut seen, mut run, mut longest) = (0, 0_usize, 0_usize);
        for b in text.bytes() {
            let class = class_of(b);
            seen |= class;
            // It cannot pass the length of the text.
            run = if class & RUN == 0 {
                0
            } else {
                run.wrapping_add(1)
            };
            longest = longest.max(run);
        }
        let has = |class| seen & class != 0;
        let (digits, chain) = if has(DIGIT) { numbers(text) } else { (0, 0) };
        let colons = match has(COLON) {
            true => text.bytes().filter(|b| *b == b':').count(),
            false => 0,
        };
        Self {
            digits,
            chain,
            run: longest,
            at: has(AT),
            percent: has(PERCENT),
            backslash: has(BACKSLASH),
            ampersand: has(AMPERSAND),
            quote: has(QUOTE),
            colons,
            mark: has(MARK),
            ascii: !has(HIGH),
            seen,
            length: text.len(),
        }
    }

    /// Whether a run of base64 may hold a value. Small letters only, as most words are, do not:
    /// what was an `@`, or the first byte of three that were digits or full stops, is a capital
    /// in base64.
    pub(super) fn is_encodable(&self) -> bool {
        self.run >= BASE64_RUN_MIN && self.seen & (RUN & !LOWER) != 0
    }

    /// Whether the text is one short word of ASCII letters, as most keys are.
    pub(super) fn is_word(&self) -> bool {
        self.length <= WORD_BYTES_MAX && self.seen & !(LOWER | UPPER | NAME) == 0
    }
}

/// Digits in all, and the most in one stretch of digits and what may join them.
fn numbers(text: &str) -> (usize, usize) {
    spend(text.len());
    let (mut digits, mut chain, mut longest) = (0_usize, 0_usize, 0_usize);
    for b in text.bytes() {
        let class = class_of(b);
        if class & DIGIT != 0 {
            digits += 1;
            chain += 1;
        } else if class & JOINER == 0 {
            longest = longest.max(chain);
            chain = 0;
        }
    }
    (digits, longest.max(chain))
}

/// Whether the text is, as a whole, of a form that names nobody: a UUID, a digest in hex, a
/// time, a decimal number.
pub(super) fn is_benign(text: &str, shape: &Shape) -> bool {
    let bytes = text.as_bytes();
    match bytes.len() {
        36 if is_uuid(bytes) => true,
        // No IBAN in small letters of hex is as long.
        32.. if is_lower_hex(bytes) => shape.digits < bytes.len(),
        _ => is_decimal(bytes) || super::strength::is_date(text),
    }
}

/// The form 8-4-4-4-12 in hex.
pub(super) fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(index, b)| match index {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

fn is_lower_hex(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
}

/// A short number with a fraction or a percent sign, and what is too short for anything else.
fn is_decimal(bytes: &[u8]) -> bool {
    if bytes.len() > DECIMAL_BYTES_MAX {
        return false;
    }
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    let points = bytes.iter().filter(|b| **b == b'.').count();
    let percent = usize::from(bytes.last() == Some(&b'%'));
    let few = digits > 0 && digits <= DECIMAL_DIGITS_MAX && points <= 1;
    few && digits + points + percent == bytes.len() && (points + percent > 0 || digits < 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_counted_once() {
        let shape = Shape::of("call +1 (415) 555-2671 now: a@b.co/x%20");
        assert_eq!((shape.digits, shape.chain, shape.colons), (13, 11, 1));
        assert!(shape.at && shape.percent && shape.ascii && !shape.backslash);
        assert!(!shape.is_word());
        assert!(Shape::of("customer_name").is_word());
        assert!(!Shape::of("customer1").is_word());
        assert!(!Shape::of("é").ascii);
        assert_eq!(Shape::of("a Ym9iQGV4YW1wbGU b").run, 15);
    }

    #[test]
    fn what_names_nobody_is_told_by_its_form() {
        for (text, benign) in [
            ("550e8400-e29b-41d4-a716-446655440000", true),
            ("da39a3ee5e6b4b0d3255bfef95601890afd80709", true),
            ("d41d8cd98f00b204e9800998ecf8427e", true),
            ("ad1200012030200359100100", false),
            ("2026-02-25T10:32:00Z", true),
            ("29135.20", true),
            ("82%", true),
            ("123456", true),
            ("1234567", false),
            ("4111111111111111", false),
            ("4111111111111111.0", false),
            ("1.2.3.4", false),
            ("550e8400-e29b-41d4-a716-44665544000x", false),
        ] {
            assert_eq!(is_benign(text, &Shape::of(text)), benign, "{text}");
        }
    }
}
