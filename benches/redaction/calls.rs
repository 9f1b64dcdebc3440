//! Tool calls as agents send them: short fields, identifiers, times, amounts, now and then a
//! text, and in one call of five something sensitive.

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::values;

/// Calls as lines and as values.
pub(crate) struct Calls {
    pub(crate) lines: Vec<String>,
    pub(crate) values: Vec<Value>,
    pub(crate) bytes: usize,
}

const WORDS: &[&str] = &[
    "the",
    "order",
    "was",
    "shipped",
    "yesterday",
    "and",
    "customer",
    "asks",
    "whether",
    "we",
    "can",
    "change",
    "delivery",
    "to",
    "another",
    "day",
    "because",
    "nobody",
    "is",
    "at",
    "home",
    "please",
    "check",
    "with",
    "warehouse",
    "before",
    "answering",
    "thanks",
    "invoice",
    "attached",
    "refund",
];

impl Calls {
    /// So many calls, the same ones every time.
    pub(crate) fn new(count: usize) -> Result<Self> {
        let mut dice = StdRng::seed_from_u64(7);
        let values: Vec<Value> = (0..count).map(|_| call(&mut dice)).collect();
        let lines = values
            .iter()
            .map(|value| serde_json::to_string(value).map_err(crate::wrong))
            .collect::<Result<Vec<String>>>()?;
        let bytes = lines.iter().map(String::len).sum();
        Ok(Self {
            lines,
            values,
            bytes,
        })
    }
}

fn text(dice: &mut StdRng, words: usize) -> String {
    let words: Vec<&str> = (0..words)
        .map(|_| {
            WORDS
                .get(dice.random_range(0..WORDS.len()))
                .copied()
                .unwrap_or_default()
        })
        .collect();
    words.join(" ")
}

fn hex(dice: &mut StdRng, digits: usize) -> String {
    (0..digits)
        .filter_map(|_| char::from_digit(dice.random_range(0..16), 16))
        .collect()
}

fn uuid(dice: &mut StdRng) -> String {
    let parts = [8, 4, 4, 4, 12].map(|digits| hex(dice, digits));
    parts.join("-")
}

fn call(dice: &mut StdRng) -> Value {
    let mut lines = Vec::new();
    for _ in 0..dice.random_range(1..6) {
        lines.push(json!({
            "sku": format!("SKU-{}", dice.random_range(10_000..99_999)),
            "description": text(dice, 5),
            "quantity": dice.random_range(1..20),
            "unit_price": format!("{}.{:02}", dice.random_range(1..900), dice.random_range(0..100)),
        }));
    }
    let mut call = json!({
        "tool": "crm.update_order",
        "request_id": uuid(dice),
        "trace": hex(dice, 32),
        "created_at": "2026-03-04T05:06:07Z",
        "order": {"id": format!("ORD-{}", dice.random_range(1_000_000..9_999_999)), "status": "open", "lines": lines},
        "note": text(dice, 40),
        "body": text(dice, 80),
        "tags": ["priority", "warehouse", "europe"],
        "page": {"offset": dice.random_range(0..500), "limit": 50, "cursor": null, "has_more": true},
    });
    if dice.random_range(0..5) == 0
        && let Some(members) = call.as_object_mut()
    {
        let contact = json!({
            "email": values::email(dice), "phone": values::phone(dice), "iban": values::iban(dice),
        });
        members.insert("contact".to_owned(), contact);
    }
    call
}
