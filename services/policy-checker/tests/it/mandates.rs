//! Mandates through a real checker.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mandate_proves_its_requester_and_a_bad_one_is_denied() -> Result<()> {
    let mut fixture = Fixture::start().await?;
    fixture.mandates = issuer::trusted(fixture.dir.path(), &[1])?;
    let running = fixture.check().await?;
    let seconds = now().seconds();
    let sound = issuer::claims("support", seconds);
    let mut expired = sound.clone();
    expired["exp"] = json!(seconds - 6);
    let mut narrow = sound.clone();
    narrow["scope"] = json!("operation:send");
    let other = issuer::claims("billing", seconds);
    let table = [
        (issuer::signed(&sound, 1), Verdict::Allow),
        (issuer::signed(&expired, 1), Verdict::Deny),
        (issuer::signed(&narrow, 1), Verdict::Deny),
        (issuer::signed(&other, 1), Verdict::Deny),
        (issuer::signed(&sound, 2), Verdict::Deny),
        ("eyJ".to_owned(), Verdict::Deny),
    ];
    for (token, expected) in table {
        let id = IntentId::new_at(now());
        let mut body = intent(id);
        body["requester"]["mandate"] = json!(token);
        fixture.send("support", body.to_string(), None).await?;
        fixture.settle().await?;
        let checked = fixture.verdict(id).await?;
        let code = checked.reasons.first().map(|reason| reason.code.as_str());
        ensure!(checked.verdict == expected, "{checked:?}");
        let proved = checked.requester.verified;
        ensure!(proved || expected == Verdict::Deny, "{checked:?}");
        ensure!((code == Some("mandate_invalid")) == (expected == Verdict::Deny));
        let told = serde_json::to_string(&checked)?;
        ensure!(!told.contains(&token), "the mandate was told");
    }
    running.stop().await
}
