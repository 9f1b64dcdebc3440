//! The scenes of the demo. Each checks that it went as told.

use anyhow::{Context as _, ensure};
use rand::Rng as _;
use rand::distr::{Alphanumeric, SampleString as _};
use serde_json::{Value, json};

use super::cast::{Agent, Asked, Event, Wish};
use super::checks::Planted;
use super::company::{CONTACT, CONTACT_EMAIL, CONTACT_NAME, CONTACT_PHONE};
use super::desk::PROOFS;
use super::plot::Cast;
use super::{Running, Story};

/// The domain that nobody has named in the catalog.
const OUTSIDE: &str = "jan.mertens@harbour-logistics.example";

async fn asks<'a>(
    agent: &'a Agent,
    wish: &Wish<'_>,
    what: &str,
    story: &Story,
) -> anyhow::Result<Asked<'a>> {
    story.line(agent.name(), what);
    agent.ask(wish).await
}

/// Follows an approved intent to its end.
async fn runs(asked: &mut Asked<'_>, story: &Story) -> anyhow::Result<(Event, Event)> {
    let approved = asked.expect("tool.approved").await?;
    let basis = match approved.text("/basis/kind") {
        "policy" => format!(
            "policy allows it ({})",
            listed(&approved, "/basis/policy_ids")
        ),
        "person" => format!("{} approved it", listed(&approved, "/basis/approvers")),
        other => other.to_owned(),
    };
    story.line("decision", &format!("approved: {basis}"));
    let completed = asked.expect("tool.completed").await?;
    ensure!(
        completed.text("/outcome") == "succeeded",
        "the tool did not succeed: {}",
        completed.body
    );
    let took = completed.body.get("duration_ms").and_then(Value::as_u64);
    story.line(
        "executor",
        &format!("ran once, succeeded in {} ms", took.unwrap_or_default()),
    );
    Ok((approved, completed))
}

fn listed(event: &Event, pointer: &str) -> String {
    let items = event.body.pointer(pointer).and_then(Value::as_array);
    let texts = items.into_iter().flatten().filter_map(Value::as_str);
    texts.collect::<Vec<_>>().join(", ")
}

/// A read that policy allows.
pub(super) async fn reading(cast: &Cast, running: &Running, story: &Story) -> anyhow::Result<()> {
    let wish = Wish {
        tool: "crm.read_contact",
        input: json!({"contact_id": CONTACT}),
        requester: "dana",
        purpose: "A delivery is late and the customer must be called.",
    };
    let what = format!("reads contact {CONTACT}, asked by dana");
    let mut asked = asks(&cast.ops, &wish, &what, story).await?;
    let (approved, completed) = runs(&mut asked, story).await?;
    ensure!(
        approved.text("/basis/kind") == "policy",
        "a person was asked"
    );
    ensure!(
        running.company.crm.done_for(&asked.intent).len() == 1,
        "the CRM was not called exactly once"
    );
    let output = completed.body.get("output").cloned().unwrap_or_default();
    let text = output.to_string();
    ensure!(
        !text.contains(CONTACT_EMAIL) && !text.contains(CONTACT_PHONE),
        "personal data is in the answer"
    );
    story.checked(&format!("the agent got {text}"));
    Ok(())
}

/// A draft that policy allows.
pub(super) async fn drafting(cast: &Cast, running: &Running, story: &Story) -> anyhow::Result<()> {
    let wish = Wish {
        tool: "invoice.create_draft",
        input: json!({
            "customer_id": CONTACT,
            "order_id": "O-88123",
            "currency": "EUR",
            "total": "1250.00",
            "lines": [{"part": "pump seal", "quantity": 50, "price": "25.00"}],
        }),
        requester: "jonas",
        purpose: "Order O-88123 was delivered.",
    };
    let what = "drafts an invoice over 1250.00 EUR, asked by jonas";
    let mut asked = asks(&cast.billing, &wish, what, story).await?;
    runs(&mut asked, story).await?;
    let done = running.company.office.done_for(&asked.intent);
    ensure!(done.len() == 1, "the office was not called exactly once");
    Ok(())
}

/// A letter that a person decides on.
pub(super) async fn letter(
    cast: &mut Cast,
    running: &Running,
    story: &Story,
) -> anyhow::Result<()> {
    let wish = Wish {
        tool: "mail.send",
        input: json!({
            "to": [OUTSIDE],
            "subject": "Pallets for order O-88123",
            "body": "Dear Mr Mertens, twelve pallets are ready at gate 3.",
        }),
        requester: "dana",
        purpose: "The haulier needs the gate number.",
    };
    let what = "writes to the haulier, whose domain is new, asked by dana";
    let mut asked = asks(&cast.support, &wish, what, story).await?;
    let told = cast.lee.told("approval", &asked.intent).await?;
    ensure!(
        !told.body.to_string().contains(OUTSIDE),
        "the address is in the message to people"
    );
    story.quote(
        &format!("to support-leads: {}", told.text("/title")),
        told.text("/text"),
    );
    let approval = told.text("/approval_id").to_owned();
    let shown = cast.lee.view(&approval).await?;
    let input = shown.pointer("/view/items/0/input_shown");
    let input = input.context("lee is not shown the input")?.to_string();
    ensure!(
        input.contains(OUTSIDE),
        "lee is not shown to whom it goes: {input}"
    );
    story.line("lee", &format!("opens it and is shown {input}"));
    let digest = shown.get("digest").and_then(Value::as_str);
    let digest = digest.context("the view has no digest")?;
    let voted = cast
        .lee
        .approve(&approval, digest, "Our haulier since May.")
        .await?;
    ensure!(
        voted.body.get("counted") == Some(&Value::Bool(true)),
        "the vote was not counted: {}",
        voted.text("/message")
    );
    story.line("lee", "approves exactly that, by its digest");
    let (approved, _) = runs(&mut asked, story).await?;
    ensure!(
        approved.text("/basis/kind") == "person",
        "no person was asked"
    );
    let done = running.company.office.done_for(&asked.intent);
    ensure!(
        done.iter()
            .map(|done| &done.input.0)
            .eq([wish.input.as_object().context("an object")?]),
        "the office did not get exactly what was approved, once"
    );
    story.checked("the office sent exactly the letter that lee was shown, once");
    Ok(())
}

/// A field that the agent may not change.
pub(super) async fn forbidden(
    cast: &mut Cast,
    running: &Running,
    story: &Story,
) -> anyhow::Result<()> {
    let wish = Wish {
        tool: "crm.update_contact",
        input: json!({"contact_id": CONTACT, "credit_limit": 50_000}),
        requester: "dana",
        purpose: "The customer asked for a higher limit.",
    };
    let what = format!("wants to raise the credit limit of {CONTACT}");
    let mut asked = asks(&cast.support, &wish, &what, story).await?;
    let blocked = asked.expect("tool.blocked").await?;
    ensure!(
        blocked.text("/code") == "policy_denied",
        "blocked for another reason: {}",
        blocked.body
    );
    story.line("decision", &format!("blocked ({})", blocked.text("/code")));
    // Both are of the team that is told; whoever of them reads it first may help.
    let told = cast.mara.told("blocked", &asked.intent).await?;
    let team = told.text("/team").to_owned();
    story.quote(
        &format!("to {team}: {}", told.text("/title")),
        told.text("/text"),
    );
    ensure!(
        !told.text("/text").is_empty(),
        "the message to people is empty"
    );
    ensure!(
        running.company.crm.done_for(&asked.intent).is_empty(),
        "the CRM was called"
    );
    let limit = running.company.contact_field(CONTACT, "credit_limit");
    ensure!(limit == Some(json!(2_000)), "the limit was changed");
    story.checked("the CRM was not called; the limit is still 2000");
    Ok(())
}

/// An input with secrets in it.
pub(super) async fn secret(
    cast: &Cast,
    running: &Running,
    story: &Story,
) -> anyhow::Result<Planted> {
    let (pin, token) = secrets();
    let note = format!("Read out on the phone: token {token}, call back on {CONTACT_PHONE}.");
    let wish = Wish {
        tool: "crm.update_contact",
        input: json!({"contact_id": CONTACT, "portal_pin": pin, "note": note}),
        requester: "dana",
        purpose: "The customer lost the PIN of the portal.",
    };
    let what = "sets a new portal PIN; its note holds an access token and a phone number";
    let mut asked = asks(&cast.support, &wish, what, story).await?;
    let (_, completed) = runs(&mut asked, story).await?;
    let held = |field| running.company.contact_field(CONTACT, field);
    ensure!(
        held("portal_pin") == Some(json!(pin)),
        "the CRM did not get the PIN"
    );
    ensure!(
        held("note") == Some(json!(note)),
        "the CRM did not get the note"
    );
    let heard = completed.body.to_string();
    ensure!(
        !heard.contains(&pin) && !heard.contains(&token),
        "a secret is in the outcome"
    );
    story.checked("the CRM holds the new PIN and the note as the agent sent them");
    Ok(Planted {
        intent: asked.intent.clone(),
        values: vec![
            ("the PIN", pin),
            ("the access token", token),
            ("the customer's name", CONTACT_NAME.to_owned()),
            ("the customer's e-mail", CONTACT_EMAIL.to_owned()),
            ("the customer's phone", CONTACT_PHONE.to_owned()),
            ("the haulier's e-mail", OUTSIDE.to_owned()),
        ],
    })
}

/// A PIN of twelve digits and a token in the form of a well-known provider, both random:
/// no rule could know them.
fn secrets() -> (String, String) {
    let mut rng = rand::rng();
    let pin = rng.random_range(100_000_000_000_u64..1_000_000_000_000);
    let token = Alphanumeric.sample_string(&mut rng, 36);
    (pin.to_string(), format!("ghp_{token}"))
}

/// Calls of the tools that do not come from the executor.
pub(super) async fn around(running: &Running, story: &Story) -> anyhow::Result<()> {
    let url = format!("{}/contacts/{CONTACT}", running.company.crm_url());
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(std::time::Duration::from_secs(5))
        .build()?;
    let body = json!({"contact_id": CONTACT, "credit_limit": 50_000}).to_string();
    let answer = client.patch(&url).body(body).send().await?;
    ensure!(
        answer.status() == 403,
        "the CRM answered {}",
        answer.status()
    );
    story.line("anyone", "calls the CRM directly, without a permit");
    story.checked(&format!("403 {}", answer.text().await?));

    let done = running
        .company
        .crm
        .last()
        .context("the CRM did nothing yet")?;
    let mut call = match done.tool.as_str() {
        "crm.read_contact" => client.get(&url),
        _ => client.patch(&url),
    };
    for (name, value) in PROOFS.iter().zip(&done.proofs) {
        call = call.header(*name, value);
    }
    let answer = call.body(done.input.to_value().to_string()).send().await?;
    ensure!(
        answer.status() == 403,
        "the CRM answered {}",
        answer.status()
    );
    story.line("anyone", "repeats a genuine call of before, proofs and all");
    story.checked(&format!("403 {}", answer.text().await?));
    ensure!(
        running.company.crm.refused() == 2,
        "more calls were refused than made"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_new_each_time_and_have_the_form_that_the_rules_expect() {
        let (pin, token) = secrets();
        assert_eq!(pin.len(), 12);
        assert!(pin.bytes().all(|b| b.is_ascii_digit()), "{pin}");
        assert_eq!(token.len(), 40);
        assert_ne!(secrets(), (pin, token));
    }
}
