//! Exact decimals and currencies. Nothing is rounded but where a guardrail says so, and
//! what does not fit is an error instead of a near number.

use iso_currency::Currency as Iso;
use rust_decimal::Decimal;
use serde_json::Value;

/// Bytes of a number in text: more digits than any amount has, and what is longer is
/// refused before it is read.
const NUMBER_BYTES_MAX: usize = 32;

/// A value that cannot be taken for an exact number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MoneyError {
    /// Something else than a number or decimal text.
    #[error("is not a number")]
    NotNumber,
    /// Text with an exponent, a sign, spaces, separators or leading zeros, or a number that
    /// is only written with an exponent.
    #[error("is not a plain decimal number such as `1250.00`")]
    NotPlain,
    /// More digits than are calculated with.
    #[error("is too large or too precise to calculate with")]
    TooLarge,
}

/// The number that `value` holds, exactly: a JSON number, or text in plain decimal digits.
/// `1e3`, `+1`, `.5`, `1,000` and `007` are refused in text, since readers differ on them.
pub(super) fn number(value: &Value) -> Result<Decimal, MoneyError> {
    let text = match value {
        Value::String(text) => text.clone(),
        // What the strict reader let through is written here exactly as it was meant.
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err(MoneyError::NotNumber);
        }
    };
    plain(&text)
}

/// The number that plain decimal digits give.
pub(crate) fn plain(text: &str) -> Result<Decimal, MoneyError> {
    if text.len() > NUMBER_BYTES_MAX {
        return Err(MoneyError::TooLarge);
    }
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    let leading = whole.len() > 1 && whole.starts_with('0');
    if !digits(whole) || leading || fraction.is_some_and(|part| !digits(part)) {
        return Err(MoneyError::NotPlain);
    }
    Decimal::from_str_exact(text)
        .map(|number| number.normalize())
        .map_err(|_| MoneyError::TooLarge)
}

/// How an amount between two minor units becomes one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Halves {
    /// A half goes away from zero, as people round.
    Up,
    /// A half goes to the even neighbour.
    Even,
}

/// The exact product.
pub(super) fn times(a: Decimal, b: Decimal) -> Result<Decimal, MoneyError> {
    let mantissa = a.mantissa().checked_mul(b.mantissa());
    made(mantissa, a.scale() + b.scale())
}

/// The exact sum.
pub(crate) fn plus(a: Decimal, b: Decimal) -> Result<Decimal, MoneyError> {
    let scale = a.scale().max(b.scale());
    let sum = shifted(a, scale)
        .zip(shifted(b, scale))
        .and_then(|(a, b)| a.checked_add(b));
    made(sum, scale)
}

/// The exact difference.
pub(crate) fn minus(a: Decimal, b: Decimal) -> Result<Decimal, MoneyError> {
    plus(a, -b)
}

/// `above / below`, rounded once to `places` decimals. `below` must not be zero.
pub(super) fn quotient(
    above: Decimal,
    below: Decimal,
    places: u32,
    halves: Halves,
) -> Result<Decimal, MoneyError> {
    let power = |exponent| 10_i128.checked_pow(exponent);
    let above_units = power(below.scale() + places).and_then(|by| above.mantissa().checked_mul(by));
    let below_units = power(above.scale()).and_then(|by| below.mantissa().checked_mul(by));
    let (above, below) = above_units.zip(below_units).ok_or(MoneyError::TooLarge)?;
    let (whole, rest) = above
        .checked_div(below)
        .zip(above.checked_rem(below))
        .ok_or(MoneyError::TooLarge)?;
    let twice = rest.unsigned_abs().saturating_mul(2);
    let away = match twice.cmp(&below.unsigned_abs()) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => halves == Halves::Up || whole % 2 != 0,
    };
    let sign = if (above < 0) == (below < 0) { 1 } else { -1 };
    made(whole.checked_add(if away { sign } else { 0 }), places)
}

/// `number` rounded to `places` decimals.
pub(super) fn rounded(number: Decimal, places: u32, halves: Halves) -> Result<Decimal, MoneyError> {
    quotient(number, Decimal::ONE, places, halves)
}

/// `number` counted in units of `places` decimals, as a number: cents become euros.
pub(super) fn from_minor(number: Decimal, places: u32) -> Result<Decimal, MoneyError> {
    made(Some(number.mantissa()), number.scale() + places)
}

fn shifted(number: Decimal, scale: u32) -> Option<i128> {
    let by = 10_i128.checked_pow(scale.checked_sub(number.scale())?)?;
    number.mantissa().checked_mul(by)
}

/// A decimal of exactly these digits, if there is one.
fn made(mantissa: Option<i128>, scale: u32) -> Result<Decimal, MoneyError> {
    let (mut mantissa, mut scale) = (mantissa.ok_or(MoneyError::TooLarge)?, scale);
    while scale > 0 && mantissa % 10 == 0 {
        mantissa /= 10;
        scale -= 1;
    }
    Decimal::try_from_i128_with_scale(mantissa, scale).map_err(|_| MoneyError::TooLarge)
}

/// A currency with minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Currency {
    /// Decimals of its minor unit: 2 for cents, 0 for yen, 3 for fils.
    pub(super) places: u32,
}

impl Currency {
    /// The currency of this ISO 4217 code, in capitals; `None` for what has no minor units,
    /// such as gold, or does not exist.
    pub(crate) fn of(code: &str) -> Option<Self> {
        let places = Iso::from_code(code)?.exponent()?;
        Some(Self {
            places: u32::from(places),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn of(text: &str) -> Decimal {
        plain(text).unwrap()
    }

    #[test]
    fn numbers_are_read_exactly_or_not_at_all() {
        let table = [
            (json!("1250.00"), Ok("1250")),
            (json!("-0.5"), Ok("-0.5")),
            (json!("0"), Ok("0")),
            (json!(12.34), Ok("12.34")),
            (json!(1e3), Ok("1000")),
            (json!(u64::MAX), Ok("18446744073709551615")),
            (
                json!("79228162514264337593543950335"),
                Ok("79228162514264337593543950335"),
            ),
            (
                json!("79228162514264337593543950336"),
                Err(MoneyError::TooLarge),
            ),
            (
                json!("0.00000000000000000000000000001"),
                Err(MoneyError::TooLarge),
            ),
            (json!("1".repeat(40)), Err(MoneyError::TooLarge)),
            (json!(1e300), Err(MoneyError::NotPlain)),
            (json!(1e-9), Err(MoneyError::NotPlain)),
            (json!("1e3"), Err(MoneyError::NotPlain)),
            (json!("+1"), Err(MoneyError::NotPlain)),
            (json!("--1"), Err(MoneyError::NotPlain)),
            (json!("1,000.00"), Err(MoneyError::NotPlain)),
            (json!("1_000"), Err(MoneyError::NotPlain)),
            (json!(".5"), Err(MoneyError::NotPlain)),
            (json!("5."), Err(MoneyError::NotPlain)),
            (json!("007"), Err(MoneyError::NotPlain)),
            (json!(" 1"), Err(MoneyError::NotPlain)),
            (json!(""), Err(MoneyError::NotPlain)),
            (json!("-"), Err(MoneyError::NotPlain)),
            (json!("1.2.3"), Err(MoneyError::NotPlain)),
            (json!("\u{661}"), Err(MoneyError::NotPlain)),
            (json!("\u{2212}1"), Err(MoneyError::NotPlain)),
            (json!("NaN"), Err(MoneyError::NotPlain)),
            (json!(true), Err(MoneyError::NotNumber)),
            (json!(null), Err(MoneyError::NotNumber)),
            (json!(["1"]), Err(MoneyError::NotNumber)),
            (json!({"1": 1}), Err(MoneyError::NotNumber)),
        ];
        for (value, expected) in table {
            let found = number(&value).map(|number| number.to_string());
            assert_eq!(found, expected.map(str::to_owned), "{value}");
        }
    }

    #[test]
    fn what_would_be_rounded_is_an_error() {
        let large = of("79228162514264337593543950335");
        let small = of("0.0000000000000000000000000001");
        assert_eq!(times(large, of("2")), Err(MoneyError::TooLarge));
        assert_eq!(times(small, of("0.1")), Err(MoneyError::TooLarge));
        assert_eq!(plus(large, of("1")), Err(MoneyError::TooLarge));
        assert_eq!(plus(large, of("0.1")), Err(MoneyError::TooLarge));
        assert_eq!(minus(-large, of("1")), Err(MoneyError::TooLarge));
        assert_eq!(
            quotient(of("1"), Decimal::ZERO, 2, Halves::Up),
            Err(MoneyError::TooLarge)
        );
        assert_eq!(times(of("1.50"), of("-0.2")), Ok(of("-0.3")));
        assert_eq!(from_minor(of("-1250"), 2), Ok(of("-12.5")));
    }

    #[test]
    fn halves_go_where_the_setting_says() {
        let table = [
            ("0.005", "0.01", "0"),
            ("0.015", "0.02", "0.02"),
            ("0.025", "0.03", "0.02"),
            ("-0.005", "-0.01", "0"),
            ("-0.025", "-0.03", "-0.02"),
            ("0.0049", "0", "0"),
            ("0.0051", "0.01", "0.01"),
            ("-1.2349", "-1.23", "-1.23"),
            ("7", "7", "7"),
        ];
        for (text, up, even) in table {
            assert_eq!(rounded(of(text), 2, Halves::Up), Ok(of(up)), "{text}");
            assert_eq!(rounded(of(text), 2, Halves::Even), Ok(of(even)), "{text}");
        }
        assert_eq!(
            quotient(of("-1"), of("-3"), 4, Halves::Up),
            Ok(of("0.3333"))
        );
        assert_eq!(quotient(of("2"), of("-3"), 2, Halves::Up), Ok(of("-0.67")));
    }

    #[test]
    fn currencies_know_their_minor_units() {
        let table = [
            ("EUR", Some(2)),
            ("USD", Some(2)),
            ("JPY", Some(0)),
            ("ISK", Some(0)),
            ("KWD", Some(3)),
            ("BHD", Some(3)),
            ("TND", Some(3)),
            ("CLF", Some(4)),
            ("XAU", None),
            ("XTS", None),
            ("eur", None),
            ("EURO", None),
            ("ΕUR", None),
            ("", None),
        ];
        for (code, places) in table {
            assert_eq!(Currency::of(code).map(|one| one.places), places, "{code}");
        }
    }

    proptest! {
        #[test]
        fn sums_and_products_are_those_of_integers(a in -1_000_000_000_000_i64..1_000_000_000_000, b in -1_000_000_000_i64..1_000_000_000, scale in 0_u32..6) {
            let (x, y) = (Decimal::new(a, scale), Decimal::new(b, scale));
            prop_assert_eq!(plus(x, y).unwrap(), Decimal::new(a + b, scale));
            let product = Decimal::from_i128_with_scale(i128::from(a) * i128::from(b), scale * 2);
            prop_assert_eq!(times(x, y).unwrap(), product);
        }

        #[test]
        fn a_rounded_quotient_is_at_most_half_a_unit_away(a in -1_000_000_i64..1_000_000, b in 1_i64..10_000, places in 0_u32..4) {
            let (a, b) = (Decimal::from(a), Decimal::from(b));
            for halves in [Halves::Up, Halves::Even] {
                let found = quotient(a, b, places, halves).unwrap();
                let off = minus(times(found, b).unwrap(), a).unwrap().abs();
                // off / b <= half a unit
                let unit = Decimal::new(1, places);
                prop_assert!(times(off, Decimal::TWO).unwrap() <= times(unit, b).unwrap());
            }
        }
    }
}
