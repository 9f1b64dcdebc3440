//! Facts of a real bucket through a real checker.

use super::*;

/// The sample company's policy, in which a contact is read by the owner of its order only.
fn matching_policy(dir: &Path) -> Result<PathBuf> {
    let target = dir.join("matching");
    labels::copy(&sample_policy(), &target)?;
    let catalog = target.join("catalog/crm.toml");
    let mut text = std::fs::read_to_string(&catalog)?;
    text.push_str(
        "\n[[tools.\"crm.read_contact\".guardrails]]\nkind = \"match_fact\"\n\
         field = \"/contact_id\"\nkey = \"agents.{agent}.contact\"\nat = \"/id\"\n",
    );
    std::fs::write(catalog, text)?;
    Ok(target)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_must_equal_the_entry_of_the_bucket() -> Result<()> {
    let fixture = Fixture::start().await?;
    let policy = matching_policy(fixture.dir.path())?;
    let running = fixture.check_with(policy).await?;
    let facts = fixture.bus.jetstream().get_key_value(layout::FACTS).await?;
    let judged = async || -> Result<PolicyChecked> {
        let id = IntentId::new_at(now());
        let body = json!({"intent_id": id, "tool": "crm.read_contact",
            "input": {"contact_id": "C-1042"}, "facts": {"id": "C-1042"},
            "requester": {"id": "kim@northwind.example"}, "purpose": "to answer a letter"});
        fixture.send("support", body.to_string(), None).await?;
        fixture.settle().await?;
        fixture.verdict(id).await
    };
    let missing = judged().await?;
    ensure!(missing.verdict == Verdict::Deny, "{missing:?}");
    let long = format!(
        "{{\"id\":\"C-1042\",\"more\":\"{}\"}}",
        "x".repeat(layout::FACT_BYTES_MAX)
    );
    ensure!(
        facts
            .put("agents.support.contact", long.into())
            .await
            .is_err(),
        "it was stored"
    );
    let table = [
        ("{\"id\":\"C-1042\"}", Verdict::Allow),
        ("{\"id\":\"C-1043\"}", Verdict::Deny),
        ("{\"id\":1042}", Verdict::Deny),
        ("\"C-1042\"", Verdict::Deny),
        ("{\"id\":\"C-1042\",\"id\":\"C-1042\"}", Verdict::Deny),
        ("C-1042", Verdict::Deny),
        ("", Verdict::Deny),
    ];
    for (entry, expected) in table {
        facts.put("agents.support.contact", entry.into()).await?;
        let checked = judged().await?;
        ensure!(checked.verdict == expected, "{entry}: {checked:?}");
        let guard = checked.guardrails.first().context("no guardrail ran")?;
        ensure!(
            guard.name == "match_fact" && !guard.message.contains("1042"),
            "{guard:?}"
        );
    }
    facts.delete("agents.support.contact").await?;
    ensure!(
        judged().await?.verdict == Verdict::Deny,
        "a deleted fact still counts"
    );
    running.stop().await
}
