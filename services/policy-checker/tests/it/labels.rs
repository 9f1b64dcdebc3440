//! Labels through a real checker: whoever has read customer data mails nobody outside.

use countersign_domain::policy::Seen;
use countersign_schemas::Token;

use super::*;

const RULE: &str = r#"
@id("seen")
@ask("support-leads")
@because("After reading customer data, mail needs a person.")
forbid(principal, action == Action::"mail.send", resource)
when { context.labels.contains("customer_pii") };
"#;

/// The sample company's policy, in which reading a contact leaves a label.
fn labelling_policy(dir: &Path) -> Result<PathBuf> {
    let target = dir.join("labelling");
    copy(&sample_policy(), &target)?;
    let catalog = target.join("catalog/crm.toml");
    let text = std::fs::read_to_string(&catalog)?;
    let read = "[tools.\"crm.read_contact\"]\n";
    ensure!(text.contains(read), "the sample has another form");
    let marked = text.replacen(read, &format!("{read}labels = [\"customer_pii\"]\n"), 1);
    std::fs::write(catalog, marked)?;
    std::fs::write(target.join("policies/labels.cedar"), RULE)?;
    Ok(target)
}

pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => drop(std::fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}

fn read(session: u32) -> Value {
    json!({"intent_id": IntentId::new_at(now()), "tool": "crm.read_contact",
           "input": {"contact_id": "C-1042"}, "requester": {"id": "kim@northwind.example"},
           "purpose": "to answer a letter", "session_id": format!("s-{session}")})
}

fn mail(session: u32) -> Value {
    json!({"intent_id": IntentId::new_at(now()), "tool": "mail.send",
           "input": {"to": ["kim@northwind.example"], "subject": "Hello", "body": "Hello."},
           "requester": {"id": "kim@northwind.example"}, "purpose": "to answer a letter",
           "session_id": format!("s-{session}")})
}

async fn verdict_of(fixture: &Fixture, body: &Value) -> Result<PolicyChecked> {
    fixture
        .verdict(body["intent_id"].as_str().unwrap_or_default().parse()?)
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_speed_nor_a_new_session_sheds_what_was_seen() -> Result<()> {
    const PAIRS: u32 = 1_000;
    let fixture = Fixture::start().await?;
    let policy = labelling_policy(fixture.dir.path())?;
    let running = fixture.check_with(policy).await?;
    // Before anything was read, mail to a known domain goes out.
    let before = mail(0);
    fixture.send("support", before.to_string(), None).await?;
    fixture.settle().await?;
    ensure!(verdict_of(&fixture, &before).await?.verdict == Verdict::Allow);
    // Read and mail, one right after the other, nobody waiting for anything.
    let mut mails = Vec::new();
    let mut acks = Vec::new();
    for session in 1..=PAIRS {
        let pair = [read(2 * session), mail(2 * session + 1)];
        for body in &pair {
            let payload = body.to_string().into();
            let jetstream = fixture.bus.jetstream();
            acks.push(jetstream.publish("tool.requested.support", payload).await?);
        }
        let [_, mail] = pair;
        mails.push(mail);
    }
    for ack in acks {
        ack.await?;
    }
    fixture.settle().await?;
    for mail in &mails {
        let checked = verdict_of(&fixture, mail).await?;
        let policy = checked
            .reasons
            .first()
            .and_then(|reason| reason.policy_id.as_deref());
        ensure!(
            checked.verdict == Verdict::Ask && policy == Some("seen"),
            "{checked:?}"
        );
    }
    // Another agent has seen nothing.
    let other = Bucket::new(&fixture.bus, layout::LABELS);
    ensure!(other.get("any.billing").await?.is_none());
    ensure!(other.get("any.support").await?.is_some());
    running.stop().await?;
    // And a checker that starts anew knows what was seen.
    let running = fixture
        .check_with(fixture.dir.path().join("labelling"))
        .await?;
    let after = mail(9_999);
    fixture.send("support", after.to_string(), None).await?;
    fixture.settle().await?;
    ensure!(verdict_of(&fixture, &after).await?.verdict == Verdict::Ask);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_of_one_mandate_stays_there_and_leaving_it_out_sheds_nothing() -> Result<()> {
    let mut fixture = Fixture::start().await?;
    fixture.mandates = issuer::trusted(fixture.dir.path(), &[1])?;
    let policy = labelling_policy(fixture.dir.path())?;
    let running = fixture.check_with(policy).await?;
    let seconds = now().seconds();
    let mandate = |id: &str| {
        let mut claims = issuer::claims("support", seconds);
        claims["jti"] = json!(id);
        issuer::signed(&claims, 1)
    };
    let judged = async |mut body: Value, under: Option<&str>| -> Result<Verdict> {
        if let Some(id) = under {
            body["requester"]["mandate"] = json!(mandate(id));
        }
        fixture.send("support", body.to_string(), None).await?;
        fixture.settle().await?;
        Ok(verdict_of(&fixture, &body).await?.verdict)
    };
    ensure!(judged(mail(1), Some("a")).await? == Verdict::Allow);
    ensure!(judged(read(1), Some("a")).await? == Verdict::Allow);
    ensure!(judged(mail(2), Some("a")).await? == Verdict::Ask);
    ensure!(judged(mail(3), Some("b")).await? == Verdict::Allow);
    ensure!(
        judged(mail(4), None).await? == Verdict::Ask,
        "the mandate was left out"
    );
    ensure!(judged(read(5), None).await? == Verdict::Allow);
    ensure!(
        judged(mail(6), Some("b")).await? == Verdict::Ask,
        "a mandate was taken up"
    );
    running.stop().await
}

/// The deployment's settings for the bucket of labels, changed.
async fn with_bucket(
    fixture: &Fixture,
    change: impl FnOnce(&mut async_nats::jetstream::stream::Config),
) -> Result<()> {
    let jetstream = fixture.bus.jetstream();
    let mut stream = jetstream.get_stream("KV_CS_LABELS").await?;
    let mut config = stream.info().await?.config.clone();
    change(&mut config);
    jetstream.update_stream(config).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_note_is_not_seen_and_has_its_answer() -> Result<()> {
    let fixture = Fixture::start().await?;
    let policy = labelling_policy(fixture.dir.path())?;
    let running = fixture.check_with(policy).await?;
    let unavailable = |checked: &PolicyChecked| {
        let code = checked.reasons.first().map(|reason| reason.code.as_str());
        checked.verdict == Verdict::Deny && code == Some("unavailable")
    };
    // An agent that carries as many labels as an entry holds.
    let many = (0..512).map(|n| format!("l{n}").parse());
    let many = Seen::of(many.collect::<Result<Vec<Token>, _>>()?);
    let bucket = Bucket::new(&fixture.bus, layout::LABELS);
    let entry = serde_json::to_vec(&many)?;
    bucket.create("any.support", entry.into()).await?;
    let body = read(1);
    fixture.send("support", body.to_string(), None).await?;
    fixture.settle().await?;
    let checked = verdict_of(&fixture, &body).await?;
    ensure!(unavailable(&checked), "{checked:?}");
    // A bucket that takes no new entry: it may pass, so the intent is tried again first.
    let before = bucket.entries().await?.len();
    with_bucket(&fixture, |config| {
        config.max_messages = i64::try_from(before).unwrap_or(1)
    })
    .await?;
    let mut body = read(2);
    body["purpose"] = json!("another agent");
    fixture.send("ops", body.to_string(), None).await?;
    fixture.settle().await?;
    let checked = verdict_of(&fixture, &body).await?;
    ensure!(unavailable(&checked), "{checked:?}");
    ensure!(bucket.get("any.ops").await?.is_none());
    // What needs no label is judged as ever, and so is reading once there is room again.
    let other = mail(3);
    fixture.send("support", other.to_string(), None).await?;
    fixture.settle().await?;
    ensure!(!unavailable(&verdict_of(&fixture, &other).await?));
    with_bucket(&fixture, |config| config.max_messages = -1).await?;
    let body = read(4);
    fixture.send("ops", body.to_string(), None).await?;
    fixture.settle().await?;
    ensure!(verdict_of(&fixture, &body).await?.verdict == Verdict::Allow);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_stays_as_long_as_what_it_judges_may_be_judged_again() -> Result<()> {
    let fixture = Fixture::start().await?;
    let policy = labelling_policy(fixture.dir.path())?;
    let running = fixture.check_with(policy).await?;
    let body = read(1);
    fixture.send("support", body.to_string(), None).await?;
    fixture.settle().await?;
    running.stop().await?;
    for key in ["any.support", "bare.support"] {
        let stream = fixture.bus.jetstream().get_stream("KV_CS_LABELS").await?;
        let subject = format!("$KV.CS_LABELS.{key}");
        let stored = stream.get_last_raw_message_by_subject(&subject).await?;
        let life = stored
            .headers
            .get("Nats-TTL")
            .context("it stays for ever")?;
        let least = 3_600 + fixture.deployment.raw_retention_s;
        ensure!(life.as_str().parse::<u64>()? > least, "{life:?}");
    }
    // Nor does the bucket end it before.
    let mut stream = fixture.bus.jetstream().get_stream("KV_CS_LABELS").await?;
    ensure!(stream.info().await?.config.max_age.is_zero());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_holds_from_the_last_moment_at_which_its_call_may_run() -> Result<()> {
    const ASKED: &str = r#"
@id("asked")
@ask("support-leads")
@expires("24h")
@because("Contacts are read when a lead says so.")
forbid(principal, action == Action::"crm.read_contact", resource);
"#;
    let fixture = Fixture::start().await?;
    let policy = labelling_policy(fixture.dir.path())?;
    std::fs::write(policy.join("policies/asked.cedar"), ASKED)?;
    let running = fixture.check_with(policy).await?;
    let body = read(1);
    let before = now();
    fixture.send("support", body.to_string(), None).await?;
    fixture.settle().await?;
    ensure!(verdict_of(&fixture, &body).await?.verdict == Verdict::Ask);
    // People may take a day, the permit lasts an hour at most, its call and lease five
    // minutes and ten seconds; from then on it holds for its life, an hour.
    let least = Duration::from_secs(24 * 3_600 + 3_600 + 310 + 3_600);
    let most = least + least / 16 + Duration::from_secs(60);
    let bucket = Bucket::new(&fixture.bus, layout::LABELS);
    for key in ["any.support", "bare.support"] {
        let entry = bucket.get(key).await?.context("it is not marked")?;
        let entry: Value = serde_json::from_slice(&entry.value)?;
        let end = entry["labels"]["customer_pii"].as_str().unwrap_or_default();
        let holds = end.parse::<Timestamp>()?.since(before);
        ensure!((least..most).contains(&holds), "{key}: {holds:?}");
    }
    running.stop().await
}
