//! Values of each type from the published formats, planted in calls and texts, and what of
//! them is found.

use anyhow::{Context as _, Result};
use countersign_benches::report::Ratio;
use countersign_domain::redact::{FieldClasses, Redactor};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

/// Values of one type.
const ROWS: usize = 500;

type Make = fn(&mut StdRng) -> String;
/// A type, the names of its figures, how a value is made, and the least recall and precision.
type Kind = (&'static str, [&'static str; 2], Make, f64);

const KINDS: &[Kind] = &[
    (
        "card",
        ["redaction_card_recall", "redaction_card_precision"],
        card,
        0.95,
    ),
    (
        "iban",
        ["redaction_iban_recall", "redaction_iban_precision"],
        iban,
        0.95,
    ),
    (
        "email",
        ["redaction_email_recall", "redaction_email_precision"],
        email,
        0.95,
    ),
    (
        "ssn",
        ["redaction_ssn_recall", "redaction_ssn_precision"],
        ssn,
        0.95,
    ),
    (
        "ip",
        ["redaction_ip_recall", "redaction_ip_precision"],
        ip,
        0.95,
    ),
    (
        "phone",
        ["redaction_phone_recall", "redaction_phone_precision"],
        phone,
        0.85,
    ),
    (
        "secret",
        ["redaction_secret_recall", "redaction_secret_precision"],
        secret,
        0.95,
    ),
];

/// Recall and precision of every type, and the share of innocent rows that are left alone.
pub(crate) fn accuracy(redactor: &Redactor) -> Result<Vec<Ratio>> {
    let mut ratios = Vec::new();
    for (kind, [recall, precision], make, target) in KINDS {
        let mut dice = StdRng::seed_from_u64(3);
        let (mut found, mut right, mut reported) = (0, 0, 0);
        for row in 0..ROWS {
            let value = make(&mut dice);
            let line = match row % 3 {
                0 => format!("the caller said {value} and hung up"),
                1 => json!({"args": {"payload": [value]}, "id": row}).to_string(),
                _ => json!({"message": format!("see {value}, please")}).to_string(),
            };
            let at = line.find(&value).context("the value stands in its line")?;
            let start = line.get(..at).map_or(0, |head| head.chars().count());
            let end = start + value.chars().count();
            let findings = redactor.line(&line, &FieldClasses::none()).findings;
            let of_kind = || findings.iter().filter(|one| one.kind == *kind);
            let shared = |one: &countersign_domain::redact::LineFinding| {
                end.min(one.end).saturating_sub(start.max(one.start))
            };
            found += usize::from(of_kind().any(|one| shared(one) * 10 >= (end - start) * 9));
            right += of_kind().filter(|one| shared(one) > 0).count();
            reported += findings.len();
        }
        ratios.push(ratio(recall, found, ROWS, *target));
        ratios.push(ratio(precision, right, reported, *target));
    }
    ratios.push(untouched(redactor));
    Ok(ratios)
}

fn untouched(redactor: &Redactor) -> Ratio {
    let mut dice = StdRng::seed_from_u64(5);
    let forms = [
        "%%%%%%%%-%%%%-4%%%-a%%%-%%%%%%%%%%%%",
        "17#########31",
        "%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%",
        "ORD-##########",
        "INV/2026/#####",
        "#.##.##",
        "####.##",
        "2026-03-0!T1#:2#:3#Z",
    ];
    let left = (0..ROWS * 4).filter(|row| {
        let value = forms
            .get(row % forms.len())
            .map_or_else(String::new, |form| fill(&mut dice, form));
        let line =
            json!({"args": {"reference": value}, "note": format!("see {value}")}).to_string();
        redactor
            .line(&line, &FieldClasses::none())
            .findings
            .is_empty()
    });
    ratio("redaction_innocent_rows_left", left.count(), ROWS * 4, 0.99)
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows")]
fn ratio(name: &'static str, part: usize, whole: usize, target: f64) -> Ratio {
    Ratio {
        name,
        value: part as f64 / whole.max(1) as f64,
        target,
        at_least: true,
    }
}

/// `#` becomes a digit, `!` one above 1, `%` a hex digit, `?` a letter or digit, `^` one of
/// base32; all else stays.
fn fill(dice: &mut StdRng, form: &str) -> String {
    let mut one = |set: &[u8]| {
        char::from(
            set.get(dice.random_range(0..set.len()))
                .copied()
                .unwrap_or(b'0'),
        )
    };
    form.chars()
        .map(|c| match c {
            '#' => one(b"0123456789"),
            '!' => one(b"23456789"),
            '%' => one(b"0123456789abcdef"),
            '?' => one(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"),
            '^' => one(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
            other => other,
        })
        .collect()
}

fn any(dice: &mut StdRng, forms: &[&str]) -> String {
    let form = forms
        .get(dice.random_range(0..forms.len()))
        .copied()
        .unwrap_or_default();
    fill(dice, form)
}

pub(crate) fn email(dice: &mut StdRng) -> String {
    any(
        dice,
        &[
            "kim.p##@mail.example",
            "a?#@ops.example.org",
            "sales+#@shop-#.example.com",
        ],
    )
}

fn card(dice: &mut StdRng) -> String {
    let forms = [
        "4###############",
        "51## #### #### ####",
        "3782-######-#####",
        "6011############",
        "2221 #### #### ####",
    ];
    loop {
        let value = any(dice, &forms);
        let digits = value.chars().rev().filter_map(|c| c.to_digit(10));
        let sum: u32 = digits
            .enumerate()
            .map(|(index, d)| {
                if index % 2 == 0 {
                    d
                } else {
                    d * 2 / 10 + d * 2 % 10
                }
            })
            .sum();
        if sum.is_multiple_of(10) && value.chars().filter(char::is_ascii_digit).count() >= 15 {
            return value;
        }
    }
}

pub(crate) fn iban(dice: &mut StdRng) -> String {
    let (country, length) = [("DE", 18), ("NL", 10), ("ES", 20), ("CH", 17)]
        .get(dice.random_range(0..4))
        .copied()
        .unwrap_or(("DE", 18));
    let mut body = fill(dice, &"#".repeat(length));
    if country == "NL" {
        body = format!("ABNA{body}");
    }
    let remainder = format!("{body}{country}00")
        .chars()
        .filter_map(|c| c.to_digit(36))
        .fold(0, |sum, value| {
            (sum * if value > 9 { 100 } else { 10 } + value) % 97
        });
    format!("{country}{:02}{body}", 98 - remainder)
}

fn ssn(dice: &mut StdRng) -> String {
    let area = dice.random_range(1..600);
    format!(
        "{area:03}-{:02}-{:04}",
        dice.random_range(1..100),
        dice.random_range(1..10_000)
    )
}

fn ip(dice: &mut StdRng) -> String {
    match dice.random_range(0..3) {
        0 => any(dice, &["2001:db8:%%%%:%%%%::a%%%", "fe80::a%%%:%%%%:1"]),
        _ => [(); 4]
            .map(|()| dice.random_range(0..256).to_string())
            .join("."),
    }
}

pub(crate) fn phone(dice: &mut StdRng) -> String {
    any(
        dice,
        &[
            "+49 30 !#######",
            "+1 (4!!) !!!-####",
            "020 7!## ####",
            "(0!!!) !## ####",
            "06 !# ## ## ##",
            "!1!-!!!-####",
        ],
    )
}

fn secret(dice: &mut StdRng) -> String {
    let long = |head: &str, sign: &str, count: usize| format!("{head}{}", sign.repeat(count));
    let forms = [
        long("AKIA", "^", 16),
        long("ghp_", "?", 36),
        long("glpat-", "?", 20),
        long("xoxb-############-############-", "?", 24),
        long("sk_live_", "?", 24),
        long("npm_", "?", 36),
        long("AIza", "?", 35),
        long("sk-ant-api03-", "?", 95),
        long("dapi", "%", 32),
        long("eyJ?????????????.eyJ??????????.", "?", 43),
    ];
    let forms: Vec<&str> = forms.iter().map(String::as_str).collect();
    any(dice, &forms)
}
