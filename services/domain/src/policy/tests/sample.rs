//! The sample company that `init` writes.

use std::path::Path;

use serde_json::{Value, json};

use super::support::*;
use crate::policy::Bundle;

pub(super) fn sample() -> Files {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../countersign/policy");
    let mut files = Files::new();
    for folder in ["", "policies", "catalog", "tests"] {
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

pub(super) fn invoice(total: &str) -> Value {
    json!({"customer_id": "C-1042", "order_id": "O-20031", "currency": "EUR", "total": total,
           "lines": [{"part": "Press", "quantity": 1, "price": total}]})
}

const ANSWERS: &str = r#"support crm.read_contact {"contact_id": "C-1042"} => allow tier.reader.crm
billing docs.search {"query": "returns"} => allow tier.reader.docs
ops docs.search {"query": "returns", "limit": 5} => allow tier.reader.docs
support mail.send {"to": ["kim@northwind.example"], "subject": "Your order", "body": "It is on its way."} => allow support-answers-customers
support mail.send {"to": ["pat@fabrikam.example"], "subject": "Your order", "body": "It is on its way."} => ask support-answers-customers,approval_required
billing mail.send {"to": ["kim@northwind.example"], "subject": "Your order", "body": "It is on its way."} => deny policy_denied
support crm.update_contact {"contact_id": "C-1042", "phone": "+49 30 901820"} => allow tier.contact-mender.crm.update_contact
support crm.update_contact {"contact_id": "C-1042", "email": "new@fabrikam.example"} => ask new-mail-address-is-checked
support crm.update_contact {"contact_id": "C-1042", "credit_limit": 90000} => deny credit-limit-is-finance
billing crm.update_contact {"contact_id": "C-1042", "phone": "1"} => deny policy_denied
billing invoice.create_draft {"customer_id": "C-1042", "order_id": "O-20031", "currency": "EUR", "total": "1250.00", "lines": [{"part": "Press", "quantity": 1, "price": "1250.00"}]} => allow tier.billing-desk.invoices
billing invoice.create_draft {"customer_id": "C-1042", "order_id": "O-20031", "currency": "EUR", "total": "5000.01", "lines": [{"part": "Press", "quantity": 1, "price": "5000.01"}]} => ask large-invoices-are-seen
billing invoice.create_draft {"customer_id": "C-1042", "order_id": "O-20031", "currency": "EUR", "total": "1250.00", "lines": [{"part": "Bearing 6204", "quantity": 4, "price": "12.50"}]} => deny guardrail_violated
billing invoice.create_draft {"customer_id": "C-1042", "order_id": "O-20031", "currency": "EUR", "total": "250000", "lines": [{"part": "Press", "quantity": 1, "price": "250000"}]} => deny no-invoices-beyond-limit
support invoice.create_draft {"customer_id": "C-1042", "order_id": "O-20031", "currency": "EUR", "total": "1", "lines": [{"part": "Bearing 6204", "quantity": 4, "price": "12.50"}]} => deny policy_denied
ops crm.read_contact {"contact_id": "1042"} => deny invalid_input"#;

#[test]
fn every_kind_of_answer_is_there() {
    let bundle = Bundle::from_files(&sample()).unwrap_or_else(|errors| panic!("{errors}"));
    for line in ANSWERS.lines() {
        let (agent, tool, input, expected) = case(line);
        assert_eq!(
            words(&check(&bundle, agent, tool, input)),
            expected,
            "{line}"
        );
    }
}

#[test]
fn its_own_tests_pass() {
    let results = Bundle::from_files(&sample()).unwrap().run_tests().unwrap();
    assert!(results.len() >= 7, "{} tests", results.len());
    for result in results {
        assert!(result.passed(), "{}: {:?}", result.name, result.faults);
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
    assert_eq!(words(&pin), "allow tier.contact-mender.crm.update_contact");
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

#[test]
fn approvers_are_shown_every_recipient_and_the_archive_none() {
    let bundle = Bundle::from_files(&sample()).unwrap_or_else(|errors| panic!("{errors}"));
    let to = json!(["pat@fabrikam.example", "kim@northwind.example"]);
    let input = json!({"to": to, "subject": "Your order", "body": "It is on its way."});
    let checked = check(&bundle, "support", "mail.send", input);
    assert_eq!(checked.input_shown.0["to"], to);
    let archived = checked.input_redacted.to_value().to_string();
    assert!(!archived.contains("fabrikam"), "{archived}");
}
