//! Invoices that add up and invoices that only seem to.

use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::guardrails::tests::{Company, Desk, word};

const SETTINGS: &str = r#"
    kind = "invoice_total"
    lines = "/lines"
    quantity = "/lines/*/quantity"
    price = "/lines/*/price"
    line_discount = "/lines/*/off"
    line_discount_percent = "/lines/*/off_percent"
    line_total = "/lines/*/amount"
    discount = "/off"
    discount_percent = "/off_percent"
    tax = "/tax"
    total = "/total"
    currency = "/currency"
"#;
const LINE_TAX: &str = "line_tax = \"/lines/*/tax\"\nline_tax_percent = \"/lines/*/vat\"";
const WHOLE_TAX: &str = "tax_percent = \"/vat\"";

/// An invoice in text: `<total>; <quantity>*<price>[/<member>:<value>]… …; <member>:<value> …`,
/// in euros where it does not say.
fn invoice(text: &str) -> Value {
    let mut parts = text.split(';').map(str::trim);
    let mut part = || parts.next().unwrap_or_default();
    let (total, lines, rest) = (part(), part(), part());
    let mut input = json!({"total": total, "currency": "EUR"});
    input["lines"] = lines.split_whitespace().map(line).collect();
    members(&mut input, rest.split_whitespace());
    input
}

fn line(text: &str) -> Value {
    let mut parts = text.split('/');
    let (quantity, price) = parts.next().unwrap().split_once('*').unwrap();
    let mut line = json!({"quantity": quantity, "price": price});
    members(&mut line, parts);
    line
}

fn members<'a>(object: &mut Value, texts: impl Iterator<Item = &'a str>) {
    for text in texts {
        let (name, value) = text.split_once(':').unwrap();
        object[name] = json!(value);
    }
}

fn check(more: &str, input: &Value) -> &'static str {
    let guard = Company::new()
        .build(&format!("{SETTINGS}\n{more}"))
        .unwrap();
    word(&Desk::new().check(guard.as_ref(), input))
}

/// Each line of `table`: an invoice and what is found, after `=>`.
fn all(more: &str, table: &str) {
    for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let (text, expected) = row.split_once(" => ").unwrap();
        assert_eq!(check(more, &invoice(text)), expected, "{more}: {row}");
    }
}

#[test]
fn lines_times_prices_are_the_total() {
    // 20 + 4.995, which is 5.00.
    let table = "
        25.00; 2*10.00 1.5*3.33 => pass
        25; 2*10.00 1.5*3.33 => pass
        24.99; 2*10.00 1.5*3.33 => deny
        25.01; 2*10.00 1.5*3.33 => deny
        25.000001; 2*10.00 1.5*3.33 => deny
        -25.00; 2*10.00 1.5*3.33 => deny
        0.01; 3*0.0045 => pass
        0; 0*5 => pass
        0.03; 0.1*0.2 0.1*0.1 => pass
        0; => error
        -5; -1*5 => deny
        5; 2*5 -1*5 => deny
        5; -1*-5 => deny
        5; 1e0*5 => error
        5.00; 1*5,00 => error
        5; 1*five => error
        ; 1*5 => error
    ";
    all("", table);
}

#[test]
fn what_is_missing_or_of_another_kind_is_an_error() {
    let sound =
        json!({"total": 5.25, "currency": "EUR", "lines": [{"quantity": 3, "price": 1.75}]});
    assert_eq!(check("", &sound), "pass");
    let changes: &[(&str, Value)] = &[
        ("total", json!(null)),
        ("total", json!(["5.25"])),
        ("total", json!(true)),
        ("lines", json!(null)),
        ("lines", json!({"0": {"quantity": 3, "price": 1.75}})),
        ("lines", json!([5.25])),
        ("lines", json!([{"quantity": 3}])),
        ("lines", json!([{"price": 1.75}])),
        ("lines", json!([{"quantity": null, "price": 1.75}])),
        ("lines", json!([{"quantity": 3, "price": {"amount": 1.75}}])),
        ("currency", json!(978)),
        ("currency", json!(null)),
        ("off", json!({"percent": 0})),
        ("tax", json!(false)),
    ];
    for (name, value) in changes {
        let mut input = sound.clone();
        input[name] = value.clone();
        assert_eq!(check("", &input), "error", "{name} {value}");
    }
    for name in ["total", "lines", "currency"] {
        let mut input = sound.clone();
        input.as_object_mut().unwrap().remove(name);
        assert_eq!(check("", &input), "error", "{name}");
    }
}

#[test]
fn overflow_is_an_error_and_never_a_near_number() {
    let large = "79228162514264337593543950335";
    let nines = "9".repeat(40);
    let rows = [
        format!("{large}; 2*{large}"),
        format!("{large}; 1.1*{large}"),
        "0; 0.1*0.0000000000000000000000000001".to_owned(),
        format!("{large}; 1*{large} 1*1"),
        format!("1; 1*{nines}"),
        format!("5001;{}", " 1*1".repeat(5_001)),
    ];
    for row in rows {
        assert_eq!(check("", &invoice(&row)), "error", "{row:.100}");
    }
    assert_eq!(
        check("", &invoice(&format!("5000;{}", " 1*1".repeat(5_000)))),
        "pass"
    );
}

#[test]
fn currencies_have_their_own_minor_units() {
    let table = "
        100; 3*33.4; currency:JPY => pass
        100.2; 3*33.4; currency:JPY => deny
        0.101; 3*0.0335; currency:KWD => pass
        0.1005; 3*0.0335; currency:KWD => deny
        0; 3*0.00001; currency:CLF => pass
        1.01; 3*0.335; currency:EUR => pass
        1.005; 3*0.335; currency:EUR => deny
        3; 3*1; currency:XAU => error
        3; 3*1; currency:eur => error
        3; 3*1; currency:ABC => error
        3; 3*1; currency: => error
    ";
    all("", table);
    // 1050 is 10.50 in euros, 1050 in yen and 1.050 in dinars; 1 is one minor unit.
    let minor = "
        2099; 2*1050; off:1 => pass
        2099; 2*1050.2; off:1 => pass
        20.99; 2*10.50; off:1 => deny
        2099; 2*1050; off:1 currency:JPY => pass
        2100; 2*1050; off:1 currency:KWD => deny
        2099; 2*1050; off:1 currency:KWD => pass
    ";
    all("minor_units = true", minor);
}

#[test]
fn discounts_take_off_what_they_say() {
    let of_lines = "
        7.50; 1*10.00/off:2.50 => pass
        8.75; 1*10.00/off_percent:12.5 => pass
        6.67; 1*10.00/off_percent:33.333 => pass
        0; 1*10.00/off_percent:100 => pass
        0; 1*10.00/off:10.01 => deny
        11; 1*10.00/off:-1 => deny
        10; 1*10.00/off:0.001 => deny
        0; 1*10.00/off_percent:101 => deny
        10.1; 1*10.00/off_percent:-1 => deny
        8; 1*10.00/off:1/off_percent:10 => deny
        10; 1*10.00/off:ten => error
        10; 1*10.00/amount:10.00 => pass
        10; 1*10.00/amount:9.99 => deny
        9; 1*10.00/amount:9/off:1 => pass
    ";
    all("", of_lines);
    let of_the_whole = "
        15; 1*10 1*10; off:5 => pass
        19.00; 1*10 1*10; off_percent:5 => pass
        20.00; 1*10 1*10; off_percent:5 => deny
        4; 1*10; off:5 off_percent:10 => deny
        0; 1*10; off:11 => deny
        21; 1*20; off:-1 => deny
        4.99; 1*10/off:15.01 1*10 => deny
        4.99; 1*10 1*10; off:15.01 => pass
    ";
    all("", of_the_whole);
    let mut none = invoice("10; 1*10");
    none["off"] = json!(null);
    assert_eq!(check("", &none), "pass");
}

#[test]
fn taxes_on_the_whole_are_added_or_included() {
    let added = "
        12.50; 1*10.00 1*0.50; vat:19 => pass
        12.50; 1*10.00 1*0.50; vat:19 tax:2.00 => pass
        12.51; 1*10.00 1*0.50; vat:19 tax:2.01 => deny
        10.50; 1*10.00 1*0.50; vat:19 => deny
        10.50; 1*10.00 1*0.50 => pass
        10.50; 1*10.00 1*0.50; vat:0 tax:0 => pass
        12.50; 1*10.00 1*0.50; tax:2.00 => deny
        12.50; 1*10.00 1*0.50; vat:190 => deny
        12.50; 1*10.00 1*0.50; vat:19% => error
        6.55; 1*10.00 1*0.50; vat:19 off:5 => pass
    ";
    all(WHOLE_TAX, added);
    // 10.50 × 19 / 119 = 1.676…
    let included = "
        10.50; 1*10.00 1*0.50; vat:19 => pass
        10.50; 1*10.00 1*0.50; vat:19 tax:1.68 => pass
        10.50; 1*10.00 1*0.50; vat:19 tax:2.00 => deny
        12.50; 1*10.00 1*0.50; vat:19 tax:1.68 => deny
        5.50; 1*10.00 1*0.50; vat:19 tax:0.88 off:5 => pass
    ";
    all(&format!("{WHOLE_TAX}\ntax_included = true"), included);
    // No rate is known: the tax only has to be a part of the amount.
    let stated = "
        12.50; 1*10.50; tax:2.00 => pass
        12.50; 1*10.50; tax:2.01 => deny
        21.01; 1*10.50; tax:10.51 => deny
        9.50; 1*10.50; tax:-1.00 => deny
    ";
    all("", stated);
}

#[test]
fn taxes_on_lines_have_rates_of_their_own() {
    // 10.00 + 0.70 + 3.33 + 0.63; the last rows take half off: 5.00 + 0.35 + 1.67 + 0.32.
    let rates = "
        14.66; 1*10/vat:7 3*1.11/vat:19 => pass
        14.66; 1*10/vat:7 3*1.11/vat:19; tax:1.33 => pass
        14.67; 1*10/vat:7 3*1.11/vat:19; tax:1.34 => deny
        14.66; 1*10/vat:7/tax:0.70 3*1.11/vat:19/tax:0.63 => pass
        14.67; 1*10/vat:7/tax:0.71 3*1.11/vat:19 => deny
        13.26; 1*10/vat:7/tax:-0.70 3*1.11/vat:19 => deny
        11.70; 1*10/vat:7 1*1 => pass
        7.34; 1*10/vat:7 3*1.11/vat:19; off_percent:50 => pass
        7.99; 1*10/vat:7 3*1.11/vat:19; off_percent:50 => deny
    ";
    all(LINE_TAX, rates);
    let amounts = "
        14.66; 1*10/tax:0.70 3*1.11/tax:0.63 => pass
        14.66; 1*10/tax:0.70 3*1.11/tax:0.63; tax:1.33 => pass
        14.66; 1*10/tax:0.70 3*1.11/tax:0.63; tax:1.30 => deny
        20.01; 1*10/tax:10.01 => deny
    ";
    all("line_tax = \"/lines/*/tax\"", amounts);
    // 10 × 7/107 = 0.65, 3.33 × 19/119 = 0.53
    let included = "
        13.33; 1*10/vat:7/tax:0.65 3*1.11/vat:19/tax:0.53; tax:1.18 => pass
        13.33; 1*10/vat:7/tax:0.70 3*1.11/vat:19 => deny
    ";
    all(&format!("{LINE_TAX}\ntax_included = true"), included);
}

#[test]
fn rounding_each_line_and_rounding_once_differ() {
    let three = "1*0.335/vat:10 1*0.335/vat:10 1*0.335/vat:10";
    // Each line is 0.34 and its tax 0.03; together they are 1.005 and 0.1005.
    let by_line = invoice(&format!("1.11; {three}; tax:0.09"));
    let once = invoice(&format!("1.11; {three}; tax:0.10"));
    assert_eq!(check(LINE_TAX, &by_line), "pass");
    assert_eq!(check(LINE_TAX, &once), "deny");
    let total = format!("{LINE_TAX}\nrounding = \"total\"");
    assert_eq!(check(&total, &by_line), "deny");
    assert_eq!(check(&total, &once), "pass");
    // 1.005 + 0.10 = 1.105, a half.
    let even = format!("{total}\nhalves = \"even\"");
    let lower = invoice(&format!("1.10; {three}; tax:0.10"));
    assert_eq!(check(&even, &once), "deny");
    assert_eq!(check(&even, &lower), "pass");
    // Two rates are rounded apart, as EN 16931 has it.
    let rates = invoice("1.10; 1*0.335/vat:7 1*0.335/vat:10 1*0.335/vat:10; tax:0.09");
    assert_eq!(check(&total, &rates), "pass");
}

#[test]
fn a_tolerance_is_in_minor_units_of_the_currency() {
    let table = "
        20.02; 2*10 => pass
        19.98; 2*10 => pass
        20.03; 2*10 => deny
        20.002; 2*10; currency:KWD => pass
        20.02; 2*10; currency:KWD => deny
        22; 2*10; currency:JPY => pass
        23; 2*10; currency:JPY => deny
    ";
    all("tolerance = 2", table);
}

#[test]
fn credit_notes_only_where_the_setting_allows() {
    // A discount makes a credit smaller; halves go away from zero on both sides of it.
    let table = "
        -20.00; -2*10 => pass
        -20.00; 2*-10 => pass
        20.00; -2*10 => deny
        20.00; -2*-10 => deny
        10; 3*10 -2*10 => pass
        -23.80; -2*10; vat:19 tax:-3.80 => pass
        -16.20; -2*10; vat:19 tax:3.80 => deny
        -15; -2*10; off:5 => pass
        -25; -2*10; off:5 => deny
        -18; -2*10; off_percent:10 => pass
        -19; -2*10/off:1 => pass
        -1.01; -3*0.335 => pass
    ";
    all(&format!("{WHOLE_TAX}\ncredit_notes = true"), table);
    all("", "-20.00; -2*10 => deny");
}

#[test]
fn no_message_holds_an_amount() {
    let guard = Company::new().build(SETTINGS).unwrap();
    for text in [
        "7777.78; 1*7777.77",
        "7777.78; 1*7777,77",
        "-7777; 1*1",
        "1; 1*1; currency:777",
    ] {
        let found = Desk::new().check(guard.as_ref(), &invoice(text));
        assert_ne!(word(&found), "pass");
        assert!(!format!("{found:?}").contains("777"), "{found:?}");
    }
}

#[test]
fn settings_report_every_fault() {
    let wrong = r#"
        kind = "invoice_total"
        lines = "/lines"
        quantity = "/quantity"
        price = "/lines/*"
        line_tax = "lines"
        total = "/*"
        tax_percent = "/vat"
        currency = "/currency"
        currency_code = "EUR"
        tolerance = 101
    "#;
    let faults = Company::new().faults(wrong);
    let words = [
        "exactly one of",
        "`quantity` is not below",
        "`price` is not below",
        "`line_tax`",
        "`total` names several",
        "`tolerance`",
        "each line and the whole",
    ];
    assert_eq!(faults.len(), words.len(), "{faults:#?}");
    for (fault, word) in faults.iter().zip(words) {
        assert!(fault.contains(word), "{fault} does not say {word}");
    }
    let gold = SETTINGS.replace("currency = \"/currency\"", "currency_code = \"XAU\"");
    assert!(Company::new().faults(&gold)[0].contains("`XAU`"));
    let yen = SETTINGS.replace("currency = \"/currency\"", "currency_code = \"JPY\"");
    let guard = Company::new().build(&yen).unwrap();
    let input = json!({"lines": [{"quantity": 1, "price": "1.4"}], "total": "1"});
    assert_eq!(word(&Desk::new().check(guard.as_ref(), &input)), "pass");
}

proptest! {
    /// Whatever the lines are, exactly one total passes.
    #[test]
    fn exactly_one_total_passes(
        lines in proptest::collection::vec((1_i64..10_000, 0_i64..1_000_000), 1..20),
        off in -300_i64..300,
    ) {
        let cents: i64 = lines.iter().map(|(quantity, price)| quantity * price).sum();
        let row = |(quantity, price): &(i64, i64)| format!("{quantity}*{}", Decimal::new(*price, 2));
        let rows: Vec<String> = lines.iter().map(row).collect();
        let text = format!("{}; {}", Decimal::new(cents + off, 2), rows.join(" "));
        let expected = if off == 0 { "pass" } else { "deny" };
        prop_assert_eq!(check("", &invoice(&text)), expected);
    }

    /// Nothing that a stranger sends makes it panic or pass by accident.
    #[test]
    fn odd_numbers_never_pass_a_wrong_total(quantity in "-?[0-9]{1,30}(\\.[0-9]{1,30})?", price in "-?[0-9]{1,30}(\\.[0-9]{1,30})?") {
        let input = invoice(&format!("123456789.01; {quantity}*{price}"));
        prop_assert_ne!(check("credit_notes = true", &input), "pass");
    }
}
