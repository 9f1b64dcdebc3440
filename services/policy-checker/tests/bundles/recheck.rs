//! What an earlier bundle judged, judged again by the one in force.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use countersign_domain::decision::{Decision, Desk};
use countersign_domain::keys::SigningKey;
use countersign_domain::permit::PermitSigner;
use countersign_domain::policy::protocol::{RecheckReply, RecheckRequest};
use countersign_domain::windows::{Limits, Origin, Window, window_id};
use countersign_runtime::bus::{Meta, Outgoing};
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_schemas::codec::Encoding;
use countersign_schemas::events::{
    ApprovalKind, ApprovalResolved, ApprovalState, CountedVote, PolicyChecked, Verdict, VoteChoice,
    WindowLimits,
};
use countersign_schemas::{Address, ApprovalId, Event, IntentId, headers};
use serde_json::json;

use crate::world::{Files, World, bundle_with, closed, digest};

/// Searching documents is asked of `teams`.
fn asked(teams: &str) -> Result<Files> {
    let rule = format!(
        "@id(\"asked\")\n@ask(\"{teams}\")\n@because(\"Searches are seen.\")\nforbid (principal, action == Action::\"docs.search\", resource);\n"
    );
    bundle_with("policies/asked.cedar", &rule)
}

async fn in_force(world: &World, files: &Files) -> Result<()> {
    let reply = world.push(files, digest(files)?).await?;
    ensure!(reply.is_ok(), "{reply:?}");
    Ok(())
}

pub(crate) async fn recheck(
    world: &World,
    agent: &str,
    intent_id: IntentId,
) -> Result<RecheckReply> {
    recheck_with(world, agent, intent_id, None).await
}

/// Asks as the coordinator does, which is about to store `approval`.
async fn recheck_with(
    world: &World,
    agent: &str,
    intent_id: IntentId,
    approval: Option<ApprovalResolved>,
) -> Result<RecheckReply> {
    let request = RecheckRequest {
        agent: agent.parse()?,
        intent_id,
        approval: approval.map(Box::new),
    };
    let body = serde_json::to_vec(&request)?;
    let reply = world
        .bus
        .client()
        .request("cs.policy.recheck", body.into())
        .await?;
    let said = reply
        .headers
        .as_ref()
        .and_then(|all| all.get(headers::SERVICE_ERROR_CODE));
    if let Some(code) = said {
        bail!("{}", code.as_str());
    }
    Ok(serde_json::from_slice(&reply.payload)?)
}

/// What the coordinator stores when people have said yes.
fn approval(checked: &PolicyChecked, who: &[&str]) -> Result<ApprovalResolved> {
    let now = SystemClock.now();
    let vote = |who: &&str| {
        Ok(CountedVote {
            approver: who.parse()?,
            on_behalf_of: None,
            via: "self".parse()?,
            vote: VoteChoice::Approve,
            at: now,
            reason: None,
        })
    };
    Ok(ApprovalResolved {
        schema_version: 1,
        approval_id: ApprovalId::for_intent(checked.intent_id),
        kind: ApprovalKind::Action,
        agent: checked.agent.clone(),
        intents: vec![checked.intent_id],
        state: ApprovalState::Approved,
        votes: who.iter().map(vote).collect::<Result<_>>()?,
        asked_from: None,
        message: "approved".to_owned(),
        resolved_at: now,
    })
}

async fn store(world: &World, event: &ApprovalResolved) -> Result<()> {
    let approval = event.approval_id.clone();
    store_at(world, &Address::ApprovalResolved { approval }, event).await
}

async fn store_at<E: Event>(world: &World, address: &Address, event: &E) -> Result<()> {
    let meta = Meta {
        source: "approval-coordinator".parse()?,
        encoding: Encoding::Json,
        claimed_at: SystemClock.now(),
        traceparent: None,
    };
    world
        .bus
        .store_once(Outgoing::event(address, event, &meta)?)
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allow_runs_on_only_while_the_rules_in_force_allow_it() -> Result<()> {
    let world = World::start().await?;
    let checker = world.checker().await?;
    let checked = world.verdict().await?;
    let intent = checked.intent_id;
    let before = world.events().await?;
    let same = recheck(&world, "support", intent).await?;
    ensure!(same.runs && same.verdict == Verdict::Allow && same.intent_id == intent);
    ensure!(world.events().await? == before, "a recheck stores nothing");

    in_force(&world, &bundle_with("policies/other.cedar", "")?).await?;
    ensure!(
        recheck(&world, "support", intent).await?.runs,
        "another file changes nothing here"
    );
    in_force(&world, &closed()?).await?;
    let denied = recheck(&world, "support", intent).await?;
    ensure!(
        !denied.runs && denied.verdict == Verdict::Deny,
        "{denied:?}"
    );
    ensure!(
        denied
            .reasons
            .first()
            .is_some_and(|why| why.code == "recheck_denied")
    );
    ensure!(denied.policy_digest == digest(&closed()?)?);

    for (agent, intent) in [
        ("billing", intent),
        ("support", IntentId::new_at(SystemClock.now())),
    ] {
        let error = recheck(&world, agent, intent)
            .await
            .err()
            .context("it was answered")?;
        ensure!(error.to_string() == "404", "{error}");
    }
    checker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_runs_on_only_with_a_stored_approval_that_still_grants_it() -> Result<()> {
    let world = World::start().await?;
    let checker = world.checker().await?;
    in_force(&world, &asked("finance")?).await?;
    let [with, without] = [world.verdict().await?, world.verdict().await?];
    ensure!(with.verdict == Verdict::Ask, "{with:?}");
    store(&world, &approval(&with, &["jonas"])?).await?;
    let runs = async |checked: &PolicyChecked| -> Result<bool> {
        Ok(recheck(&world, "support", checked.intent_id).await?.runs)
    };
    ensure!(runs(&with).await? && !runs(&without).await?);
    in_force(&world, &asked("finance:2")?).await?;
    ensure!(!runs(&with).await?, "one of finance is no longer enough");
    in_force(&world, &asked("platform")?).await?;
    ensure!(!runs(&with).await?, "finance is no longer asked");
    in_force(&world, &asked("finance")?).await?;
    ensure!(runs(&with).await?);
    checker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_tool_never_runs_on_what_was_decided_before() -> Result<()> {
    let world = World::start().await?;
    let checker = world.checker().await?;
    let intent = world.verdict().await?.intent_id;
    let mut files = bundle_with("policies/other.cedar", "")?;
    let office = files.get("catalog/office.toml").context("no catalog")?;
    let office = String::from_utf8(office.clone())?;
    let changed = office.replace("Searches the handbook", "Searches everything");
    ensure!(changed != office);
    files.insert("catalog/office.toml".to_owned(), changed.into_bytes());
    in_force(&world, &files).await?;
    let reply = recheck(&world, "support", intent).await?;
    ensure!(!reply.runs && reply.verdict == Verdict::Allow, "{reply:?}");
    ensure!(
        reply
            .reasons
            .first()
            .is_some_and(|why| why.code == "tool_changed")
    );
    checker.stop().await
}

/// A limit is part of a tool's definition, so one that is pushed cannot be too late for what
/// was decided before: none of it runs, however many parts of it each recheck still finds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pushed_limit_lets_nothing_run_that_was_decided_without_it() -> Result<()> {
    let world = World::start().await?;
    let checker = world.checker().await?;
    let decided = [world.verdict().await?, world.verdict().await?];
    let mut files = bundle_with("policies/other.cedar", "")?;
    let office = files.get("catalog/office.toml").context("no catalog")?;
    let mut office = String::from_utf8(office.clone())?;
    office.push_str(
        "\n[[tools.\"docs.search\".guardrails]]\nkind = \"rate\"\nname = \"searches\"\nwindow = \"31d\"\nmax = 1\n",
    );
    files.insert("catalog/office.toml".to_owned(), office.into_bytes());
    in_force(&world, &files).await?;
    for before in &decided {
        ensure!(before.verdict == Verdict::Allow, "{before:?}");
        let reply = recheck(&world, "support", before.intent_id).await?;
        let code = reply.reasons.first().map(|why| why.code.as_str());
        ensure!(!reply.runs && code == Some("tool_changed"), "{reply:?}");
    }
    ensure!(world.verdict().await?.verdict == Verdict::Allow);
    ensure!(
        world.verdict().await?.verdict == Verdict::Deny,
        "the limit holds"
    );
    checker.stop().await
}

/// Searching documents is asked of finance, unless finance has said yes within the hour.
fn asked_unless_approved() -> Result<Files> {
    let rule = "@id(\"asked\")\n@ask(\"finance\")\n@because(\"Searches are seen.\")\n\
        forbid (principal, action == Action::\"docs.search\", resource)\n\
        unless { context has approval && context.approval.teams.contains(\"finance\") };\n\
        @id(\"stale\")\n@because(\"A yes of yesterday is asked for again.\")\n\
        forbid (principal, action == Action::\"docs.search\", resource)\n\
        when { context has approval && context.approval.age_s > 3600 };\n";
    bundle_with("policies/asked.cedar", rule)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_see_the_approval_that_is_stored_or_about_to_be() -> Result<()> {
    let world = World::start().await?;
    let checker = world.checker().await?;
    in_force(&world, &asked("platform")?).await?;
    let (one, two) = (world.verdict().await?, world.verdict().await?);
    ensure!(one.verdict == Verdict::Ask);
    in_force(&world, &asked_unless_approved()?).await?;
    let told = async |checked: &PolicyChecked, approval| {
        recheck_with(&world, "support", checked.intent_id, approval).await
    };
    let none = told(&one, None).await?;
    ensure!(!none.runs && none.verdict == Verdict::Ask, "{none:?}");
    let yes = approval(&one, &["jonas"])?;
    let good = told(&one, Some(yes.clone())).await?;
    ensure!(good.runs && good.verdict == Verdict::Allow, "{good:?}");
    let mut old = yes.clone();
    old.resolved_at = old.resolved_at.minus(std::time::Duration::from_secs(7_200));
    let stale = told(&one, Some(old.clone())).await?;
    ensure!(!stale.runs && stale.verdict == Verdict::Deny, "{stale:?}");
    let said: Vec<&str> = stale
        .reasons
        .iter()
        .map(|why| why.message.as_str())
        .collect();
    ensure!(said.iter().any(|why| why.contains("yesterday")), "{said:?}");

    // An approval of something else is none, and neither is one that did not say yes.
    let mut no = yes.clone();
    no.state = ApprovalState::Failed;
    let mut foreign = yes.clone();
    foreign.agent = "billing".parse()?;
    for other in [
        approval(&two, &["jonas"])?,
        no,
        foreign,
        approval(&one, &["lee"])?,
    ] {
        ensure!(!told(&one, Some(other.clone())).await?.runs, "{other:?}");
    }

    // What is stored counts, whatever is told beside it.
    store(&world, &old).await?;
    ensure!(!told(&one, Some(yes)).await?.runs);
    // Once it is decided nobody can tell of an approval that is not stored.
    let chain = format!("tool.approved.support.{}", two.intent_id);
    let sent = world.bus.jetstream().publish(chain, "{}".into()).await?;
    sent.await?;
    ensure!(!told(&two, Some(approval(&two, &["jonas"])?)).await?.runs);
    store(&world, &approval(&two, &["jonas"])?).await?;
    ensure!(told(&two, None).await?.runs);
    checker.stop().await
}

/// What the coordinator stores when people have said yes to these items of `bundle` only.
fn approval_of(bundle: &str, items: &[&PolicyChecked]) -> Result<ApprovalResolved> {
    let first = items.first().context("no item")?;
    let mut some = approval(first, &["jonas"])?;
    some.approval_id = ApprovalId::for_bundle(&first.agent, &bundle.parse()?);
    some.kind = ApprovalKind::Bundle;
    some.state = ApprovalState::Partial;
    some.intents = items.iter().map(|item| item.intent_id).collect();
    Ok(some)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_granted_of_a_bundle_runs_on_under_other_rules_and_nothing_else_does()
-> Result<()> {
    let world = World::start().await?;
    let checker = world.checker().await?;
    in_force(&world, &asked("finance")?).await?;
    let mut items = Vec::new();
    for index in 0..3 {
        let place = json!({"id": "november", "size": 3, "index": index});
        items.push(world.verdict_in(Some(place)).await?);
    }
    let alone = world.verdict().await?;
    let [one, two, left_out] = items.as_slice() else {
        bail!("not three items")
    };
    ensure!(one.verdict == Verdict::Ask && left_out.bundle.is_some());
    let mut other_rules = asked("finance")?;
    other_rules.insert("policies/other.cedar".to_owned(), Vec::new());
    ensure!(digest(&other_rules)? != one.policy_digest);
    in_force(&world, &other_rules).await?;

    let runs = async |checked: &PolicyChecked, told: Option<&ApprovalResolved>| -> Result<bool> {
        let reply = recheck_with(&world, "support", checked.intent_id, told.cloned());
        Ok(reply.await?.runs)
    };
    // Before it is stored the coordinator asks with what it is about to store.
    let granted = approval_of("november", &[one, two])?;
    ensure!(runs(one, Some(&granted)).await? && runs(two, Some(&granted)).await?);
    ensure!(!runs(left_out, Some(&granted)).await? && !runs(one, None).await?);

    store(&world, &approval_of("december", &[one, two])?).await?;
    ensure!(!runs(one, None).await?, "it is an item of another bundle");
    store(&world, &approval_of("november", &[one, two, &alone])?).await?;
    ensure!(runs(one, None).await? && runs(two, None).await?);
    ensure!(!runs(left_out, None).await?, "people left it out");
    ensure!(!runs(&alone, None).await?, "it is an item of no bundle");
    in_force(&world, &asked("finance:2")?).await?;
    ensure!(!runs(one, None).await? && !runs(two, None).await?);
    checker.stop().await
}

/// Searching documents is asked of `teams`, and a window of so many minutes may answer.
fn windowed(teams: &str, minutes: u32) -> Result<Files> {
    let rule = format!(
        "@id(\"asked\")\n@ask(\"{teams}\")\n@window(\"{minutes}m\")\n\
         @because(\"Searches are seen.\")\n\
         forbid (principal, action == Action::\"docs.search\", resource);\n"
    );
    bundle_with("policies/asked.cedar", &rule)
}

/// What the coordinator stores when a window of half an hour, opened by `who`, lifts it.
async fn lift(world: &World, checked: &PolicyChecked, window: &str, who: &[&str]) -> Result<()> {
    let opened = approval(checked, who)?;
    let origin = Origin {
        id: window_id(window)?,
        votes: &opened.votes,
        at: opened.resolved_at,
    };
    let limits = Limits::read(&WindowLimits {
        seconds: 1_800,
        max_uses: None,
        max_total: None,
        same_input_only: None,
    })?;
    let other = ApprovalId::for_intent(IntentId::new_at(SystemClock.now()));
    let ask = checked.ask.as_ref().context("an ask")?;
    let window = Window::from_approval(&origin, &other, checked, ask, limits);
    let event = window.opened();
    let address = Address::WindowOpened {
        agent: event.agent.clone(),
        window: event.window_id.clone(),
    };
    store_at(world, &address, &event).await?;
    let signer = PermitSigner::new(SigningKey::from_seed(&[1; 32]));
    let desk = Desk::new(signer, "acme", Duration::from_secs(300));
    let decision = desk.under_window(checked, &window, SystemClock.now())?;
    let Decision::Approved(approved) = &decision else {
        bail!("{decision:?}")
    };
    store_at(world, &decision.address(), approved.as_ref()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_window_let_through_runs_on_while_the_window_would_still_answer() -> Result<()> {
    let world = World::start().await?;
    let checker = world.checker().await?;
    in_force(&world, &windowed("finance", 60)?).await?;
    let [with, without, strangers] = [
        world.verdict().await?,
        world.verdict().await?,
        world.verdict().await?,
    ];
    lift(&world, &with, "abc-1", &["jonas"]).await?;
    lift(&world, &strangers, "abc-2", &["lee"]).await?;
    let again = async |checked: &PolicyChecked| recheck(&world, "support", checked.intent_id).await;
    ensure!(again(&with).await?.runs && !again(&without).await?.runs);
    ensure!(
        !again(&strangers).await?.runs,
        "nobody of finance opened it"
    );
    for (rules, runs, words) in [
        (windowed("finance", 31)?, true, ""),
        (windowed("finance", 29)?, false, "no window of this length"),
        (
            windowed("finance:2", 60)?,
            false,
            "not those whom this needs",
        ),
        (asked("finance")?, false, "no window of this length"),
        (closed()?, false, "no longer allow it"),
        (windowed("finance", 60)?, true, ""),
    ] {
        in_force(&world, &rules).await?;
        let reply = again(&with).await?;
        let why = reply.reasons.first().map(|why| why.message.clone());
        ensure!(reply.runs == runs, "{reply:?}");
        ensure!(
            runs || why.is_some_and(|why| why.contains(words)),
            "{reply:?}"
        );
    }
    checker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_see_the_window_that_answered() -> Result<()> {
    let world = World::start().await?;
    let checker = world.checker().await?;
    in_force(&world, &windowed("finance", 60)?).await?;
    let (one, two) = (world.verdict().await?, world.verdict().await?);
    lift(&world, &one, "abc-1", &["jonas"]).await?;
    lift(&world, &two, "abc-2", &["jonas"]).await?;
    let rule = "@id(\"one\")\n@because(\"The second window was a mistake.\")\n\
        forbid (principal, action == Action::\"docs.search\", resource)\n\
        when { context has approval && context.approval has window \
        && context.approval.kind == \"window\" && context.approval.window == \"w-abc-2\" };\n";
    in_force(&world, &bundle_with("policies/one.cedar", rule)?).await?;
    let (good, bad) = (
        recheck(&world, "support", one.intent_id).await?,
        recheck(&world, "support", two.intent_id).await?,
    );
    ensure!(good.runs && !bad.runs, "{good:?} {bad:?}");
    checker.stop().await
}
