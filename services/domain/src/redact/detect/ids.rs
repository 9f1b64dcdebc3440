//! Numbers that a state gives its people: told by their form and their check digits, and the
//! weak ones by a word before them or by their key as well.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::checksum as check;
use super::{Hit, Kind};
use crate::redact::hints::Hints;
use crate::redact::work::spend;

/// Digits of the shortest number that is looked for.
pub(super) const DIGITS_MIN: usize = 5;
/// Longest form, separators included.
const FORM_MAX: usize = 24;
/// Pieces that spaces part in the longest form: a French NIR.
const PIECES_MAX: usize = 7;
/// How far before a number the word that names it may stand, in bytes.
const HINT_REACH: usize = 32;
/// Fewest digits of what a key alone makes an identity number, such as of a passport.
const KEYED_DIGITS_MIN: usize = 5;

const HINT_WORDS: &[&str] = &[
    "ssn",
    "social security",
    "tax id",
    "itin",
    "taxpayer",
    "national id",
    "id number",
    "identity",
    "id card",
    "insurance n",
    "nhs",
    "steuer",
    "idnr",
    "pesel",
    "bsn",
    "burgerservice",
    "sofi",
    "cpr",
    "fødselsnummer",
    "fodselsnummer",
    "personnummer",
    "henkilötunnus",
    "hetu",
    "personal number",
    "personal code",
    "sin ",
    "sin:",
    "tfn",
    "tax file",
    "aadhaar",
    "aadhar",
    "rodné",
    "rodne",
    "cnp",
    "egn",
    "oib",
    "nif",
    "tckn",
    "kimlik",
    "pps",
    "cpf",
    "dni",
    "nie ",
    "nie:",
    "rut",
    "cuil",
    "cuit",
    "curp",
    "nir ",
    "sécurité sociale",
    "securite sociale",
    "codice fiscale",
    "rijksregister",
    "niss",
    "ahv",
    "avs",
    "nric",
    "rsa id",
    "passport",
    "licence n",
    "license n",
    "driver",
];

/// Those of them that name a number of the United States.
const AMERICAN_WORDS: &[&str] = &["ssn", "social security", "itin", "taxpayer", "tax id"];

type Check = fn(&[u8]) -> bool;

/// How sure a form is by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// The form and the check digits are enough.
    Form,
    /// A word or a key must name it too.
    Named,
}

use Proof::{Form, Named};

/// A form: `9` stands for a digit, `A` for a letter. Several, parted by `|`.
const FORMS: &[(&str, Proof, Kind, Check)] = &[
    ("999-99-9999|999 99 9999", Form, Kind::Ssn, ssn),
    (
        "999999999|999.99.9999|999-99-9999|999 99 9999",
        Named,
        Kind::Ssn,
        named_ssn,
    ),
    (
        "AA999999A|AA 99 99 99 A|AA 999999 A",
        Form,
        Kind::NationalId,
        check::nino,
    ),
    (
        "999 999 9999|999-999-9999|9999999999",
        Named,
        Kind::NationalId,
        check::nhs,
    ),
    (
        "99999999999|99 999 999 999",
        Named,
        Kind::NationalId,
        check::steuer_id,
    ),
    (
        "999999999999999|9 99 99 99 999 999 99|9 99 99 9A 999 999 99|999999A99999999",
        Form,
        Kind::NationalId,
        check::nir,
    ),
    (
        "AAAAAA99A99A999A|AAA AAA 99A99 A999A",
        Form,
        Kind::NationalId,
        check::codice_fiscale,
    ),
    (
        "99999999A|99999999-A|A9999999A|A-9999999-A|99.999.999-A",
        Form,
        Kind::NationalId,
        check::dni,
    ),
    ("99999999999", Named, Kind::NationalId, check::pesel),
    (
        "999999999|9999.99.999|9999 99 999",
        Named,
        Kind::NationalId,
        check::bsn,
    ),
    (
        "99.99.99-999.99|999999-999-99|99999999999",
        Form,
        Kind::NationalId,
        check::belgian,
    ),
    (
        "999.9999.9999.99|9999999999999",
        Form,
        Kind::NationalId,
        check::ahv,
    ),
    (
        "999999-9999|999999+9999|99999999-9999",
        Form,
        Kind::NationalId,
        check::personnummer,
    ),
    (
        "999999999999|9999999999",
        Named,
        Kind::NationalId,
        check::personnummer,
    ),
    (
        "99999999999|999999 99999",
        Form,
        Kind::NationalId,
        check::norwegian,
    ),
    (
        "999999-9999|9999999999",
        Named,
        Kind::NationalId,
        check::danish,
    ),
    (
        "999999-9999|999999-999A|999999+9999|999999+999A|999999A9999|999999A999A",
        Form,
        Kind::NationalId,
        check::hetu,
    ),
    ("999999/9999", Form, Kind::NationalId, check::rodne_cislo),
    ("9999999999", Named, Kind::NationalId, check::rodne_cislo),
    ("999.999.999-99", Form, Kind::NationalId, check::cpf),
    ("99999999999", Named, Kind::NationalId, check::cpf),
    ("99.999.999/9999-99", Form, Kind::NationalId, check::cnpj),
    (
        "9999 9999 9999|9999-9999-9999",
        Form,
        Kind::NationalId,
        check::aadhaar,
    ),
    ("999999999999", Named, Kind::NationalId, check::aadhaar),
    ("AAAAA9999A", Form, Kind::NationalId, check::pan),
    ("999-999-999", Form, Kind::NationalId, check::sin),
    ("999999999|999 999 999", Named, Kind::NationalId, check::sin),
    ("999999999|999 999 999", Named, Kind::NationalId, check::tfn),
    (
        "99999999999999999A|999999999999999999",
        Form,
        Kind::NationalId,
        check::chinese,
    ),
    ("999999-9999999", Form, Kind::NationalId, check::korean),
    ("A9999999A", Form, Kind::NationalId, check::nric),
    (
        "AAAA999999AAAAAA99|AAAA999999AAAAAAA9",
        Form,
        Kind::NationalId,
        check::curp,
    ),
    (
        "99.999.999-9|9.999.999-9|99.999.999-A|9.999.999-A",
        Form,
        Kind::NationalId,
        check::rut,
    ),
    (
        "99999999-9|9999999-9|99999999-A",
        Named,
        Kind::NationalId,
        check::rut,
    ),
    ("99-99999999-9", Form, Kind::NationalId, check::cuit),
    ("9-9999-99999-99-9", Form, Kind::NationalId, check::thai),
    ("9999999999999", Named, Kind::NationalId, check::thai),
    ("99999999999", Named, Kind::NationalId, check::turkish),
    ("9999999999999", Named, Kind::NationalId, check::romanian),
    (
        "9999999999999",
        Named,
        Kind::NationalId,
        check::south_african,
    ),
    (
        "999999999|999 999 999",
        Named,
        Kind::NationalId,
        check::portuguese,
    ),
    ("9999999999", Named, Kind::NationalId, check::bulgarian),
    ("99999999999", Named, Kind::NationalId, check::mod11_10),
    ("9999999A|9999999AA", Named, Kind::NationalId, check::irish),
];

type Row = (Proof, Kind, Check);

static BY_FORM: LazyLock<HashMap<&'static str, Vec<Row>>> = LazyLock::new(|| {
    let mut forms: HashMap<&str, Vec<Row>> = HashMap::new();
    for (shapes, proof, kind, check) in FORMS {
        for shape in shapes.split('|') {
            forms
                .entry(shape)
                .or_default()
                .push((*proof, *kind, *check));
        }
    }
    forms
});

/// United States: areas, groups and serials that are given out, and the groups of an ITIN.
fn ssn(number: &[u8]) -> bool {
    let itin = matches!(number.get(3..5), Some(group) if is_itin_group(group));
    let area = !number.starts_with(b"666") && (number.first() != Some(&b'9') || itin);
    area && named_ssn(number)
}

fn is_itin_group(group: &[u8]) -> bool {
    let group = std::str::from_utf8(group)
        .ok()
        .and_then(|g| g.parse::<u32>().ok());
    matches!(group, Some(50..=65 | 70..=88 | 90..=92 | 94..=99))
}

fn named_ssn(number: &[u8]) -> bool {
    !number.starts_with(b"000") && number.get(3..5) != Some(b"00") && !number.ends_with(b"0000")
}

/// Finds the numbers of people.
pub(super) fn find(text: &str, hints: Hints, hits: &mut Vec<Hit>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(piece) = piece(bytes, at) {
        let begins = begins(bytes.get(piece.0..piece.1).unwrap_or_default());
        at = match begins.then(|| longest(text, piece, hints)).flatten() {
            Some(hit) => {
                let end = hit.end;
                hits.push(hit);
                end
            }
            None => piece.1,
        };
    }
}

/// Whether a form can begin with this piece: it has a digit, or is as short as the letters
/// that some forms set apart.
fn begins(piece: &[u8]) -> bool {
    piece.len() <= 3 || piece.iter().any(u8::is_ascii_digit)
}

/// The next stretch of letters, digits and what joins them, without such at its edges.
fn piece(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let part =
        |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'+' | b'_') || *b > 127;
    let mut from = from;
    loop {
        let start = from
            + bytes
                .get(from..)?
                .iter()
                .position(u8::is_ascii_alphanumeric)?;
        let before = start.checked_sub(1).and_then(|before| bytes.get(before));
        let body = bytes.get(start..)?;
        let length = body.iter().take_while(|b| part(b)).count();
        spend(start + length - from);
        // What hangs on a piece before it makes it another word: `_1`, `+1`, `é1`.
        if before.is_some_and(|b| matches!(b, b'_' | b'+' | b'-') || *b > 127) {
            from = start + length;
            continue;
        }
        let kept = body
            .iter()
            .take(length)
            .rposition(|b| !matches!(b, b'-' | b'.' | b'+'))
            .map_or(0, |last| last + 1);
        return Some((start, start + kept));
    }
}

/// The longest form that begins with this piece, further ones joined to it.
fn longest(text: &str, first: (usize, usize), hints: Hints) -> Option<Hit> {
    let bytes = text.as_bytes();
    let (start, mut end) = first;
    let mut form = String::new();
    let mut best = None;
    for _ in 0..PIECES_MAX {
        let from = start + form.len();
        if end - start > FORM_MAX {
            break;
        }
        form.extend(bytes.get(from..end)?.iter().map(|b| shown(*b)));
        spend(form.len());
        if let Some(rows) = BY_FORM.get(form.as_str()) {
            best = judged(text, start, end, rows, hints).or(best);
        }
        if !matches!(bytes.get(end), Some(b' ' | b'/')) {
            break;
        }
        match piece(bytes, end + 1) {
            Some((next, to)) if next == end + 1 => end = to,
            _ => break,
        }
    }
    best.or_else(|| keyed(text, first, hints))
}

fn shown(b: u8) -> char {
    match b {
        b'0'..=b'9' => '9',
        b'A'..=b'Z' | b'a'..=b'z' => 'A',
        other => char::from(other),
    }
}

fn judged(text: &str, start: usize, end: usize, rows: &[Row], hints: Hints) -> Option<Hit> {
    spend((end - start) * rows.len());
    let raw = text.get(start..end)?;
    let compact: Vec<u8> = raw
        .bytes()
        .filter(u8::is_ascii_alphanumeric)
        .map(|b| b.to_ascii_uppercase())
        .collect();
    let named = || {
        hints.ssn
            || hints.identity
            || super::strength::said_before(text, start, HINT_REACH, HINT_WORDS)
    };
    // Small letters make no number of a state, unless it is named so.
    let small = raw.bytes().any(|b| b.is_ascii_lowercase());
    let sure = |proof: Proof| proof == Form && !small || named();
    // Nine digits without a check are an SSN where nobody says otherwise; a number whose digits
    // check is what it is called.
    let american =
        || hints.ssn || super::strength::said_before(text, start, HINT_REACH, AMERICAN_WORDS);
    let weak = |row: &&Row| row.1 == Kind::Ssn && row.0 == Named && !american();
    let fit = rows
        .iter()
        .filter(|(proof, _, check)| check(&compact) && sure(*proof));
    let (_, kind, _) = fit.min_by_key(weak)?;
    Some(Hit {
        start,
        end,
        kind: *kind,
        value: String::from_utf8(compact).ok()?,
        name: None,
    })
}

/// A number without check digits that its key names: of a passport, of a licence.
fn keyed(text: &str, (start, end): (usize, usize), hints: Hints) -> Option<Hit> {
    let raw = text.get(start..end).filter(|_| hints.identity)?;
    let digits = raw.bytes().filter(u8::is_ascii_digit).count();
    let plain = raw
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    let named = digits >= KEYED_DIGITS_MIN && raw.len() <= FORM_MAX && plain;
    let dated = super::strength::is_date(raw);
    (named && !dated).then(|| Hit {
        start,
        end,
        kind: Kind::NationalId,
        value: super::canonical(Kind::NationalId.word(), raw),
        name: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, hints: Hints) -> Vec<(&'static str, String)> {
        let mut hits = Vec::new();
        find(text, hints, &mut hits);
        hits.into_iter()
            .map(|hit| (hit.kind.word(), hit.value))
            .collect()
    }

    #[test]
    fn security_numbers_that_were_never_issued_stay() {
        let count = |text: &str, ssn: bool| found(text, Hints { ssn, ..Hints::NONE }).len();
        for (text, plain, hinted) in [
            ("219-09-9999", 1, 1),
            ("219 09 9999", 1, 1),
            ("x 219 09 9999 y", 1, 1),
            ("219099999", 0, 1),
            ("219.09.9999", 0, 1),
            ("219-09 9999", 0, 0),
            ("000-09-9999", 0, 0),
            ("219-00-9999", 0, 0),
            ("219-09-0000", 0, 0),
            ("666-09-9999", 0, 1),
            ("901-09-9999", 0, 1),
            ("912-70-1234", 1, 1),
            ("1-219-09-9999", 0, 0),
            ("219-09-9999-1", 0, 0),
        ] {
            assert_eq!(count(text, false), plain, "{text}");
            assert_eq!(count(text, true), hinted, "{text} with a hint");
        }
    }

    #[test]
    fn identity_numbers_are_told_by_form_or_by_name() {
        for (text, expected) in [
            ("NINO AB 12 34 56 C.", Some("AB123456C")),
            ("codice RSSMRA85T10A562S", Some("RSSMRA85T10A562S")),
            ("dni 12345678Z", Some("12345678Z")),
            ("(X1234567L)", Some("X1234567L")),
            ("2 55 08 14 168 025 38", Some("255081416802538")),
            ("cpf=529.982.247-25&x", Some("52998224725")),
            ("11.222.333/0001-81", Some("11222333000181")),
            ("811218-9876", Some("8112189876")),
            ("131052-308T", Some("131052308T")),
            ("PESEL: 44051401359", Some("44051401359")),
            ("pesel_44051401359", None),
            ("44051401359", None),
            ("Steuer-ID 86 095 742 719", Some("86095742719")),
            ("756.9217.0769.85", Some("7569217076985")),
            ("ABCPE1234F", Some("ABCPE1234F")),
            ("abcpe1234f", None),
            ("12345678A", None),
            ("529.982.247-26", None),
            ("811218-9875", None),
        ] {
            let all = found(text, Hints::NONE);
            let first = all.first().map(|(_, value)| value.as_str());
            assert_eq!(first, expected, "{text}");
        }
        let passport = Hints {
            identity: true,
            ..Hints::NONE
        };
        assert_eq!(found("C01X00T47", passport).len(), 1);
        assert_eq!(found("2026-02-25", passport).len(), 0);
        assert_eq!(found("C01X00T47", Hints::NONE).len(), 0);
    }
}
