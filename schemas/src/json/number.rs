//! Whether a JSON number survives a 64-bit float.

/// Digits that a 64-bit float always keeps.
const DIGITS_SAFE: usize = 15;
/// Decimal exponents within which [`DIGITS_SAFE`] holds, away from overflow and subnormals.
const EXPONENT_SAFE: i64 = 290;
/// The largest integer below which no two share a float (2^53 - 1).
const INTEGER_MAX: u64 = 9_007_199_254_740_991;

/// Whether reading `literal`, a number by the JSON grammar, as a 64-bit float and writing
/// it in its shortest form gives the same number.
pub(super) fn is_exact(literal: &str) -> bool {
    let unsigned = literal.strip_prefix('-').unwrap_or(literal);
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return unsigned.len() <= DIGITS_SAFE
            || unsigned
                .parse::<u64>()
                .is_ok_and(|value| value <= INTEGER_MAX);
    }
    let decimal = Decimal::read(unsigned);
    decimal.is_small() || decimal.survives(unsigned)
}

/// A decimal as `0.<digits> × 10^exponent`, the digits without zeros at either end.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    fn read(unsigned: &str) -> Self {
        let (mantissa, exponent) = unsigned
            .split_once(['e', 'E'])
            .map_or((unsigned, 0), |(mantissa, text)| {
                (mantissa, saturated(text))
            });
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let leading = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..leading);
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        let places = i64::try_from(whole.len()).unwrap_or(i64::MAX)
            - i64::try_from(leading).unwrap_or(i64::MAX);
        let exponent = if digits.is_empty() {
            0
        } else {
            exponent.saturating_add(places)
        };
        Self { digits, exponent }
    }

    /// Small enough that no conversion is needed to know that it survives.
    fn is_small(&self) -> bool {
        self.digits.len() <= DIGITS_SAFE && self.exponent.saturating_abs() <= EXPONENT_SAFE
    }

    /// The form to come back to is the one that we write ourselves: where two shortest
    /// forms lie equally near, libraries differ in which they choose.
    fn survives(&self, unsigned: &str) -> bool {
        unsigned
            .parse::<f64>()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .is_some_and(|number| Self::read(&number.to_string()) == *self)
    }
}

/// The exponent, cut where only zero and infinity are left.
fn saturated(text: &str) -> i64 {
    let limit = if text.starts_with('-') {
        i64::from(i32::MIN)
    } else {
        i64::from(i32::MAX)
    };
    text.parse::<i64>()
        .unwrap_or(limit)
        .clamp(i64::from(i32::MIN), i64::from(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_and_inexact_numbers() {
        let table = [
            ("0", true),
            ("-0", true),
            ("9007199254740991", true),
            ("-9007199254740991", true),
            ("9007199254740992", false),
            ("123456789012345678901234567890", false),
            ("0.1", true),
            ("1.10", true),
            ("0.30000000000000004", true),
            ("0.30000000000000003", false),
            ("0.3000000000000000000000000001", false),
            ("1.7976931348623157e308", true),
            ("1e308", true),
            ("1e309", false),
            ("1e999", false),
            ("-1e99999999999999999999", false),
            ("1e-400", false),
            ("0e999", true),
            ("0.0e-99999999999999999999", true),
            ("5e-324", true),
            ("3e-324", false),
            ("2.50e+2", true),
            ("9007199254740993.0", false),
            // Lies between two shortest forms; .12 is the one that is written.
            ("248780962723036.12", true),
            ("248780962723036.13", false),
            ("9007199254740994.0", true),
            ("0.0000000000000000000000012345", true),
        ];
        for (literal, exact) in table {
            assert_eq!(is_exact(literal), exact, "{literal}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_float_survives_its_own_shortest_form(bits in proptest::num::u64::ANY) {
            let float = f64::from_bits(bits);
            if let Some(number) = serde_json::Number::from_f64(float.abs()) {
                let literal = number.to_string();
                proptest::prop_assert!(is_exact(&literal), "{}", literal);
            }
        }

        #[test]
        fn a_digit_beyond_the_shortest_form_is_seen(bits in proptest::num::u64::ANY) {
            let float = f64::from_bits(bits);
            let literal = format!("{float:e}");
            if let Some((mantissa, exponent)) = literal.split_once('e').filter(|_| float.is_finite()) {
                let dot = if mantissa.contains('.') { "" } else { "." };
                let longer = format!("{mantissa}{dot}00000000000000000000000001e{exponent}");
                proptest::prop_assert!(!is_exact(&longer), "{}", longer);
            }
        }
    }
}
