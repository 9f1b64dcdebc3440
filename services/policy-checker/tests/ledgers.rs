//! Rates and budgets against a real server, with several checkers that die.

mod common;
#[path = "ledgers/fixture.rs"]
mod fixture;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use countersign_domain::ledger::{Charged, Terms};
use countersign_runtime::bus::layout::LEDGERS;
use countersign_runtime::bus::{Bucket, Cas};
use countersign_schemas::events::{PolicyChecked, Verdict};
use countersign_schemas::{IntentId, codec};
use futures::StreamExt as _;
use rand::Rng as _;

use fixture::{Fixture, allowed, eventually, new_id, tool};

/// A budget over everything; windows of a month, so that none turns during a test.
fn budget(name: &str, max: &str) -> String {
    format!(
        r#"kind = "budget"
name = "{name}"
window = "31d"
amount = "/amount"
max = "{max}""#
    )
}

fn is_over(checked: &PolicyChecked) -> bool {
    checked.verdict == Verdict::Deny
        && checked.charges.is_empty()
        && checked
            .reasons
            .first()
            .is_some_and(|reason| reason.code == "budget_exceeded")
}

fn ledger_of(verdicts: &[PolicyChecked]) -> Result<&str> {
    let mut charges = verdicts.iter().flat_map(|checked| &checked.charges);
    Ok(charges
        .next()
        .context("nothing is charged")?
        .ledger
        .as_str())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_budget_is_exact_over_three_checkers_that_die_and_come_back() -> Result<()> {
    let fixture = Fixture::start(&tool("pay", &[&budget("all", "1300")])).await?;
    let mut checkers = vec![
        fixture.check().await?,
        fixture.check().await?,
        fixture.check().await?,
    ];
    let ids: Vec<IntentId> = (0..2_000).map(|_| new_id()).collect();
    let started = tokio::time::Instant::now();
    let deaths = async {
        for n in 0..6 {
            let pause = rand::rng().random_range(50..400);
            // sleep: the point of a crash is a point in time, drawn at random.
            tokio::time::sleep(Duration::from_millis(pause)).await;
            checkers[n % 3] = fixture.check().await?;
        }
        anyhow::Ok(())
    };
    let (sent, died) = tokio::join!(fixture.send_many(&ids, "pay"), deaths);
    sent?;
    died?;
    fixture.settle().await?;
    let took = started.elapsed();
    let verdicts = fixture.verdicts(&ids).await?;
    eprintln!("2,000 intents in {took:?} with six deaths");

    ensure!(
        allowed(&verdicts) == 1_300,
        "{} are allowed",
        allowed(&verdicts)
    );
    ensure!(verdicts.iter().filter(|checked| is_over(checked)).count() == 700);
    let key = ledger_of(&verdicts)?;
    ensure!(
        fixture.total(key).await? == "1300",
        "{}",
        fixture.total(key).await?
    );
    // Each allowed intent has the one entry that its verdict names, and nobody else has one.
    let (ledger, pages, _) = fixture.ledger(key).await?;
    let open: BTreeSet<(IntentId, u64)> = ledger
        .entries(&pages)
        .map(|(intent, entry)| (intent, entry.mark))
        .collect();
    let relied: BTreeSet<(IntentId, u64)> = verdicts
        .iter()
        .flat_map(|checked| {
            checked
                .charges
                .iter()
                .map(|charge| (checked.intent_id, charge.mark))
        })
        .collect();
    ensure!(
        open == relied,
        "{} entries, {} relied on",
        open.len(),
        relied.len()
    );
    ensure!(
        !pages.is_empty(),
        "so many open intents do not fit into the head"
    );
    for checker in checkers {
        checker.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_checkers_at_full_speed_share_one_budget() -> Result<()> {
    let fixture = Fixture::start(&tool("pay", &[&budget("all", "2000")])).await?;
    let ids: Vec<IntentId> = (0..3_000).map(|_| new_id()).collect();
    fixture.send_many(&ids, "pay").await?;
    let started = tokio::time::Instant::now();
    let checkers = [
        fixture.check().await?,
        fixture.check().await?,
        fixture.check().await?,
    ];
    fixture.settle().await?;
    let took = started.elapsed().as_secs_f64();
    // Copies are judged too.
    eprintln!("{:.0} messages a second", 3_300.0 / took);
    let verdicts = fixture.verdicts(&ids).await?;
    ensure!(
        allowed(&verdicts) == 2_000,
        "{} are allowed",
        allowed(&verdicts)
    );
    let key = ledger_of(&verdicts)?;
    ensure!(fixture.total(key).await? == "2000");
    for checker in checkers {
        checker.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_exact_in_a_flow_in_which_intents_end_all_the_time() -> Result<()> {
    const MAX: usize = 500;
    let fixture = Fixture::start(&tool("pay", &[&budget("all", "500")])).await?;
    let mut checkers = vec![
        fixture.check().await?,
        fixture.check().await?,
        fixture.check().await?,
    ];
    // Every third that is allowed is blocked and gives its part back, the others run.
    let mut verdicts = fixture
        .bus
        .client()
        .subscribe("out.policy.checked.>")
        .await?;
    fixture.bus.client().flush().await?;
    let ids: Vec<IntentId> = (0..1_200).map(|_| new_id()).collect();
    let ending = async {
        let (mut judged, mut allowed, mut ran) = (0, 0, 0);
        while judged < ids.len() {
            let message = verdicts.next().await.context("the connection ended")?;
            let checked: PolicyChecked = codec::decode(&message.payload)?;
            judged += 1;
            if checked.verdict == Verdict::Allow {
                allowed += 1;
                let blocked = allowed % 3 == 0;
                ran += usize::from(!blocked);
                let how = if blocked { "blocked" } else { "completed" };
                fixture.end(&checked, how).await?;
            }
            if judged == ids.len() / 3 {
                checkers[0] = fixture.check().await?;
            }
        }
        anyhow::Ok(ran)
    };
    let (sent, ran) = tokio::join!(fixture.send_many(&ids, "pay"), ending);
    sent?;
    let ran = ran?;
    fixture.settle().await?;
    ensure!(ran <= MAX, "{ran} ran");
    let first = fixture.verdicts(&ids).await?;
    let key = ledger_of(&first)?;
    let text = ran.to_string();
    eventually("what was blocked is given back", async || {
        Ok((fixture.total(key).await? == text).then_some(()))
    })
    .await?;
    // What is left is taken to the last part, and not one more.
    let more: Vec<IntentId> = (0..MAX - ran + 40).map(|_| new_id()).collect();
    fixture.send_many(&more, "pay").await?;
    fixture.settle().await?;
    let more = fixture.verdicts(&more).await?;
    ensure!(
        allowed(&more) == MAX - ran,
        "{} of {}",
        allowed(&more),
        MAX - ran
    );
    ensure!(fixture.total(key).await? == MAX.to_string());
    for checker in checkers {
        checker.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocked_and_revoked_give_back_and_what_ran_does_not() -> Result<()> {
    let fixture = Fixture::start(&tool("pay", &[&budget("all", "100.00")])).await?;
    let checker = fixture.check().await?;
    let mut first = Vec::new();
    for amount in ["50", "30", "19.99"] {
        first.push(fixture.ask("pay", amount).await?);
    }
    ensure!(allowed(&first) == 3);
    let over = fixture.ask("pay", "0.02").await?;
    ensure!(is_over(&over), "{over:?}");
    let said = &over.reasons[0].message;
    ensure!(
        said.contains("99.99 of 100 is used and 0.01 is left"),
        "{said}"
    );
    ensure!(allowed(&[fixture.ask("pay", "0.01").await?]) == 1);

    let key = ledger_of(&first)?;
    let total = async |expected: &str| {
        eventually("the ledger follows", async || {
            Ok((fixture.total(key).await? == expected).then_some(()))
        })
        .await
    };
    // What is not genuine ends nothing: the wrong type, and another intent's end.
    fixture
        .plant(
            &first[0],
            "blocked",
            "{}",
            "dev.countersign.tool.blocked.v1",
        )
        .await?;
    fixture.end(&first[2], "completed").await?;
    fixture.end(&first[1], "revoked").await?;
    total("70").await?;
    fixture.end(&first[0], "blocked").await?;
    total("20").await?;
    // Only what ran still counts.
    let (ledger, pages, _) = fixture.ledger(key).await?;
    let open: Vec<IntentId> = ledger.entries(&pages).map(|(intent, _)| intent).collect();
    ensure!(
        !open.contains(&first[2].intent_id),
        "what ran is still open"
    );
    ensure!(allowed(&[fixture.ask("pay", "80").await?]) == 1);
    ensure!(is_over(&fixture.ask("pay", "0.01").await?));
    checker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_it_refuses_a_checker_looks_at_what_others_left_behind() -> Result<()> {
    let fixture = Fixture::start(&tool("pay", &[&budget("all", "3")])).await?;
    let checker = fixture.check().await?;
    let first = fixture.ask("pay", "1").await?;
    let gone = fixture.ask("pay", "1").await?;
    checker.stop().await?;
    fixture.end(&gone, "blocked").await?;

    // As checkers leave it that die: one between ledger and verdict, one that charged an
    // intent a second time after it had its verdict.
    let (waiting, key) = (new_id(), ledger_of(std::slice::from_ref(&first))?);
    let (mut ledger, pages, revision) = fixture.ledger(key).await?;
    let terms = Terms {
        amount: 1.into(),
        limit: 3.into(),
        beyond: false,
    };
    let charged = ledger.charge(waiting, terms, &pages)?;
    let Charged::Fresh { mark, .. } = charged else {
        anyhow::bail!("{charged:?}");
    };
    let bucket = Bucket::new(&fixture.bus, LEDGERS);
    let value = Bytes::from(serde_json::to_vec(&ledger)?);
    ensure!(matches!(
        bucket.update(key, value, revision).await?,
        Cas::Stored(_)
    ));

    let checker = fixture.check().await?;
    fixture.send(waiting, "pay", "1").await?;
    let found = eventually("it is judged", async || fixture.verdict(waiting).await).await?;
    ensure!(
        found
            .charges
            .first()
            .is_some_and(|charge| charge.mark == mark),
        "{found:?}"
    );
    ensure!(fixture.total(key).await? == "3");
    // Three of three are taken, but one of them was blocked.
    ensure!(allowed(&[fixture.ask("pay", "1").await?]) == 1);
    ensure!(is_over(&fixture.ask("pay", "1").await?));
    ensure!(fixture.total(key).await? == "3");
    checker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_no_verdict_relies_on_is_given_back() -> Result<()> {
    let rate = r#"kind = "rate"
name = "often"
window = "31d"
max = 100"#;
    let fixture = Fixture::start(&tool("pay", &[rate, &budget("all", "10")])).await?;
    let checker = fixture.check().await?;
    let first = fixture.ask("pay", "10").await?;
    ensure!(first.charges.len() == 2, "{first:?}");
    for _ in 0..3 {
        ensure!(is_over(&fixture.ask("pay", "1").await?));
    }
    // The rate had room each time, but the budget refused.
    let often = &first.charges[0].ledger;
    eventually("the rate has its parts back", async || {
        Ok((fixture.total(often).await? == "1").then_some(()))
    })
    .await?;
    // A copy of what was judged takes nothing a second time.
    fixture.send(first.intent_id, "pay", "10").await?;
    fixture.settle().await?;
    ensure!(fixture.total(often).await? == "1");
    checker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_limit_people_are_asked_and_it_counts() -> Result<()> {
    let asking = format!("{}\nover = \"ask\"\nask = \"desk\"", budget("all", "10"));
    let fixture = Fixture::start(&tool("pay", &[&asking])).await?;
    let checker = fixture.check().await?;
    let first = fixture.ask("pay", "8").await?;
    let second = fixture.ask("pay", "3").await?;
    ensure!(
        first.verdict == Verdict::Allow && second.verdict == Verdict::Ask,
        "{second:?}"
    );
    let key = ledger_of(std::slice::from_ref(&first))?;
    ensure!(fixture.total(key).await? == "11");
    // Nobody answers: what people never allowed is given back.
    fixture.end(&second, "blocked").await?;
    eventually("it is given back", async || {
        Ok((fixture.total(key).await? == "8").then_some(()))
    })
    .await?;
    ensure!(fixture.ask("pay", "2").await?.verdict == Verdict::Allow);
    checker.stop().await
}
