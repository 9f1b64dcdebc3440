//! The sample company that `init` writes.

use std::path::Path;

use serde_json::{Value, json};

use super::support::*;
use crate::policy::Bundle;

fn sample() -> Files {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../countersign/policy");
    let mut files = Files::new();
    for folder in ["", "policies", "catalog"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                files.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    files
}

fn invoice(total: &str) -> Value {
    json!({"customer_id": "C-1042", "order_id": "O-20031", "currency": "EUR", "total": total,
           "lines": [{"part": "Bearing 6204", "quantity": 4, "price": "12.50"}]})
}

#[test]
fn every_kind_of_answer_is_there() {
    let bundle = Bundle::from_files(&sample()).unwrap_or_else(|errors| panic!("{errors}"));
    let mail = |to: &str| json!({"to": [to], "subject": "Your order", "body": "It is on its way."});
    let change = |field: &str, value: Value| json!({"contact_id": "C-1042", (field): value});
    let table = [
        (
            "support",
            "crm.read_contact",
            json!({"contact_id": "C-1042"}),
            "allow read-contacts-and-documents",
        ),
        (
            "billing",
            "docs.search",
            json!({"query": "returns"}),
            "allow read-contacts-and-documents",
        ),
        (
            "ops",
            "docs.search",
            json!({"query": "returns", "limit": 5}),
            "allow read-contacts-and-documents",
        ),
        (
            "support",
            "mail.send",
            mail("kim@northwind.example"),
            "allow support-answers-customers",
        ),
        (
            "support",
            "mail.send",
            mail("pat@fabrikam.example"),
            "ask support-answers-customers,approval_required",
        ),
        (
            "billing",
            "mail.send",
            mail("kim@northwind.example"),
            "deny policy_denied",
        ),
        (
            "support",
            "crm.update_contact",
            change("phone", json!("+49 30 901820")),
            "allow support-mends-contacts",
        ),
        (
            "support",
            "crm.update_contact",
            change("email", json!("new@fabrikam.example")),
            "ask new-mail-address-is-checked",
        ),
        (
            "support",
            "crm.update_contact",
            change("credit_limit", json!(90_000)),
            "deny credit-limit-is-finance",
        ),
        (
            "billing",
            "crm.update_contact",
            change("phone", json!("1")),
            "deny policy_denied",
        ),
        (
            "billing",
            "invoice.create_draft",
            invoice("1250.00"),
            "allow billing-drafts-invoices",
        ),
        (
            "billing",
            "invoice.create_draft",
            invoice("5000.01"),
            "ask large-invoices-are-seen",
        ),
        (
            "billing",
            "invoice.create_draft",
            invoice("250000"),
            "deny no-invoices-beyond-limit",
        ),
        (
            "support",
            "invoice.create_draft",
            invoice("1"),
            "deny policy_denied",
        ),
        (
            "ops",
            "crm.read_contact",
            json!({"contact_id": "1042"}),
            "deny invalid_input",
        ),
    ];
    for (agent, tool, input, expected) in table {
        assert_eq!(
            words(&check(&bundle, agent, tool, input.clone())),
            expected,
            "{agent} {tool} {input}"
        );
    }
}

#[test]
fn what_people_read_makes_sense() {
    let bundle = Bundle::from_files(&sample()).unwrap();
    let asked = check(
        &bundle,
        "billing",
        "invoice.create_draft",
        invoice("7200.50"),
    );
    assert_eq!(
        asked.summary,
        "Draft an invoice over 7200.50 EUR for order O-20031"
    );
    assert_eq!(asked.amount.as_deref(), Some("7200.5"));
    let ask = asked.ask.unwrap();
    assert_eq!(
        (ask.approvers[0].team.as_str(), ask.chat_may_approve),
        ("finance", false)
    );
    let pin = check(
        &bundle,
        "support",
        "crm.update_contact",
        json!({"contact_id": "C-1042", "portal_pin": "48151623"}),
    );
    assert_eq!(words(&pin), "allow support-mends-contacts");
    assert!(!serde_json::to_string(&pin).unwrap().contains("48151623"));
    assert_eq!(pin.summary, "Change portal_pin of contact C-1042");
    let denied = check(
        &bundle,
        "support",
        "crm.update_contact",
        json!({"contact_id": "C-1042", "credit_limit": 1}),
    );
    assert!(
        denied.needs[0]
            .message
            .starts_with("Finance sets the credit limit"),
        "{denied:?}"
    );
}
