//! One pass over a text that says which detectors can find anything in it.

use crate::redact::work::spend;

/// Longest text that is left alone because it is one word of letters: every secret that has
/// a form of its own is longer.
const WORD_BYTES_MAX: usize = 19;

const DIGIT: u8 = 1;
const ALPHA: u8 = 1 << 1;
/// What may stand between the digits of one number.
const JOINER: u8 = 1 << 2;
/// `_` and `-`, which join the words of a name.
const NAME: u8 = 1 << 3;
/// The other characters of base64.
const BASE64: u8 = 1 << 4;
/// What no word and no number has.
const OTHER: u8 = 1 << 5;
const HIGH: u8 = 1 << 6;

/// The class of a byte.
fn class(b: u8) -> u8 {
    match b {
        b'0'..=b'9' => DIGIT,
        b'a'..=b'z' | b'A'..=b'Z' => ALPHA,
        b'-' => JOINER | NAME,
        b'_' => NAME,
        b' ' | b'.' | b'(' | b')' => JOINER,
        b'/' | b'+' => JOINER | BASE64,
        128.. => HIGH,
        _ => OTHER,
    }
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
    pub(super) ascii: bool,
    seen: u8,
    length: usize,
}

impl Shape {
    pub(super) fn of(text: &str) -> Self {
        let mut shape = Self {
            length: text.len(),
            ..Self::default()
        };
        spend(text.len());
        let (mut chain, mut run) = (0_usize, 0_usize);
        for b in text.bytes() {
            let class = class(b);
            shape.seen |= class;
            if class & DIGIT != 0 {
                shape.digits += 1;
                chain += 1;
            } else if class & JOINER == 0 {
                shape.chain = shape.chain.max(chain);
                chain = 0;
            }
            if class & (DIGIT | ALPHA | NAME | BASE64) != 0 {
                run += 1;
            } else {
                shape.run = shape.run.max(run);
                run = 0;
            }
            if class == OTHER {
                shape.other(b);
            }
        }
        shape.chain = shape.chain.max(chain);
        shape.run = shape.run.max(run);
        shape.ascii = shape.seen & HIGH == 0;
        shape
    }

    fn other(&mut self, b: u8) {
        match b {
            b'@' => self.at = true,
            b'%' => self.percent = true,
            b'\\' => self.backslash = true,
            b'&' => self.ampersand = true,
            b'"' => self.quote = true,
            b':' => self.colons += 1,
            _ => {}
        }
    }

    /// Whether the text is one short word of ASCII letters, as most keys are.
    pub(super) fn is_word(&self) -> bool {
        self.length <= WORD_BYTES_MAX && self.seen & !(ALPHA | NAME) == 0
    }
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
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    let points = bytes.iter().filter(|b| **b == b'.').count();
    let percent = usize::from(bytes.last() == Some(&b'%'));
    let few = digits > 0 && digits <= 12 && points <= 1;
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
