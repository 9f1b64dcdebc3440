//! Time windows: opened by votes, used exactly, closed for good.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use countersign_domain::approvals::ViewReply;
use countersign_domain::windows::{Take, Window, WindowListed};
use countersign_runtime::bus::layout::WINDOWS;
use countersign_runtime::bus::{Append, Bucket, Bus, Cas, Outgoing};
use countersign_schemas::events::{
    ApprovalVoted, BasisKind, BlockedCode, ControlRefused, Outcome, RevokedCode, ToolApproved,
    ToolBlocked, ToolCompleted, ToolRevoked, ToolStarted, Verdict, VoteChoice, WindowClosed,
    WindowClosing, WindowLimits, WindowOpened, WindowRequested,
};
use countersign_schemas::{Address, ApprovalId, IntentId, WindowId};
use serde_json::{Value, json};

use crate::vote;
use crate::world::{World, company, eventually, verdict};

/// An ask that a window of an hour may lift.
pub(crate) fn liftable() -> Value {
    json!({"ask": {"approvers": [{"team": "support", "quorum": 1}], "expires_in_s": 600,
        "chat_may_approve": false, "self_allowed": false, "excluded": [],
        "window_max_s": 3_600}})
}

fn worth(amount: &str) -> Value {
    let mut changes = liftable();
    if let Some(changes) = changes.as_object_mut() {
        changes.insert("amount".to_owned(), json!(amount));
        changes.insert("currency".to_owned(), json!("EUR"));
    }
    changes
}

pub(crate) fn limits(seconds: u64, uses: Option<u32>, total: Option<&str>) -> WindowLimits {
    WindowLimits {
        seconds,
        max_uses: uses,
        max_total: total.map(str::to_owned),
        same_input_only: None,
    }
}

/// Has Lee approve one ask and open a window with it.
pub(crate) async fn open(
    world: &World,
    about: Value,
    limits: WindowLimits,
) -> Result<WindowOpened> {
    let lee = world.person("lee").await?;
    let intent = world.judge(Verdict::Ask, about).await?;
    let id = ApprovalId::for_intent(intent);
    world.any(&format!("approval.requested.{id}")).await?;
    let digest = world.digest(&lee, "lee", &id).await?;
    let mut yes = vote(&id, digest, VoteChoice::Approve);
    yes.window = Some(limits);
    let voted: ApprovalVoted = world.vote(&lee, "lee", &yes).await?;
    ensure!(
        voted.counted && voted.message.contains("window w-"),
        "{voted:?}"
    );
    let opened: WindowOpened = world.event("window.opened.billing.*").await?;
    ensure!(opened.approval_id.as_ref() == Some(&id));
    ensure!(
        opened.opened_at == voted.voted_at,
        "its time counts from the approval"
    );
    world.any(&format!("approval.resolved.{id}")).await?;
    Ok(opened)
}

/// What became of an ask: whether a window lifted it, or people were asked.
pub(crate) async fn lifted(world: &World, intent: IntentId) -> Result<bool> {
    let what = format!("a decision or an ask about {intent}");
    let approval = format!("approval.requested.{}", ApprovalId::for_intent(intent));
    eventually(&what, || async {
        if let Some(head) = world.head(intent).await? {
            ensure!(
                head.subject.starts_with("tool.approved."),
                "{}",
                head.subject
            );
            return Ok(Some(true));
        }
        Ok(world.stored(&approval).await?.then_some(false))
    })
    .await
}

pub(crate) async fn windows(world: &World) -> Result<Vec<WindowListed>> {
    listed_by(world, json!({"op": "windows"})).await
}

async fn listed_by(world: &World, ask: Value) -> Result<Vec<WindowListed>> {
    let lee = world.person("lee").await?;
    match world.ask_view(&lee, "lee", ask).await? {
        ViewReply::Windows { windows, .. } => Ok(windows),
        _ => anyhow::bail!("no windows"),
    }
}

/// The window as the bucket holds it, and its revision.
pub(crate) async fn kept(bus: &Bus, id: &WindowId) -> Result<(Window, u64)> {
    let entry = Bucket::new(bus, WINDOWS).get(id.as_str()).await?;
    let entry = entry.context("a window in the bucket")?;
    Ok((serde_json::from_slice(&entry.value)?, entry.revision))
}

/// Leaves behind what a coordinator does that dies between the use and the decision.
pub(crate) async fn take_and_die(world: &World, id: &WindowId, intent: IntentId) -> Result<Window> {
    let bus = world.as_coordinator().await?;
    let (mut window, revision) = kept(&bus, id).await?;
    let checked = verdict(Verdict::Ask, intent, liftable())?;
    let taken = window.take(&checked, world.now(), &company()?);
    ensure!(taken == Take::Taken, "{taken:?}");
    let value = serde_json::to_vec(&window)?.into();
    let stored = Bucket::new(&bus, WINDOWS)
        .update(id.as_str(), value, revision)
        .await?;
    ensure!(matches!(stored, Cas::Stored(_)));
    Ok(window)
}

async fn close(world: &World, id: &WindowId) -> Result<u64> {
    let lee = world.person("lee").await?;
    let closing = WindowClosing {
        schema_version: 1,
        window_id: id.clone(),
        reason: Some("enough".to_owned()),
    };
    let address = Address::WindowClosing {
        approver: "lee".parse()?,
    };
    let out = Outgoing::event(&address, &closing, &world.meta("lee")?)?;
    Ok(lee.publisher().publish(out).await?)
}

/// Claims an approved intent as the executor does.
pub(crate) async fn claim(world: &World, intent: IntentId) -> Result<()> {
    let head = world.head(intent).await?.context("a decision")?;
    let started = ToolStarted {
        schema_version: 1,
        intent_id: intent,
        agent: "billing".parse()?,
        tool: "mail.send".parse()?,
        executor: "tool-executor".parse()?,
        lease_until: world.now().plus(Duration::from_secs(600)),
    };
    let address = Address::ToolStarted {
        agent: "billing".parse()?,
        intent,
    };
    let out = Outgoing::event(&address, &started, &world.meta("tool-executor")?)?;
    let filter = Address::chain_filter(&"billing".parse()?, intent);
    let stored = world.executor.append(out, &filter, head.seq).await?;
    ensure!(
        matches!(stored, Append::Stored(_)),
        "somebody else wrote there"
    );
    Ok(())
}

pub(crate) async fn uses(world: &World, id: &WindowId) -> Result<u32> {
    Ok(kept(&world.as_coordinator().await?, id).await?.0.used())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_coordinators_racing_use_a_window_exactly_as_often_as_it_says() -> Result<()> {
    let world = World::start().await?;
    let mut running = vec![world.coordinator().await?];
    let opened = open(&world, liftable(), limits(1_800, Some(10), None)).await?;
    running.push(world.coordinator().await?);
    running.push(world.coordinator().await?);
    let judged = (0..40).map(|_| world.judge(Verdict::Ask, liftable()));
    let intents = futures::future::try_join_all(judged).await?;
    let mut used = 0;
    for intent in &intents {
        used += u32::from(lifted(&world, *intent).await?);
    }
    ensure!(used == 10, "{used} of 10 uses");
    let listed = windows(&world).await?;
    ensure!(listed.len() == 1 && listed[0].window_id == opened.window_id);
    for (agent, count) in [("billing", 1), ("crm", 0)] {
        let ask = json!({"op": "windows", "agent": agent});
        ensure!(listed_by(&world, ask).await?.len() == count, "{agent}");
    }
    ensure!(
        (listed[0].uses, listed[0].uses_left) == (10, 0),
        "{listed:?}"
    );
    let approved: ToolApproved = {
        let mut found = None;
        for intent in &intents {
            found = found.or(world.head(*intent).await?.map(|_| *intent));
        }
        let intent = found.context("one that was lifted")?;
        world
            .event(&format!("tool.approved.billing.{intent}"))
            .await?
    };
    ensure!(approved.basis.kind == BasisKind::Window);
    ensure!(approved.basis.window_id.as_ref() == Some(&opened.window_id));
    ensure!(approved.basis.approvers == ["lee".parse()?]);
    ensure!(approved.approved_until <= opened.expires_at);
    for one in running {
        one.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_is_never_exceeded_by_two_coordinators_racing() -> Result<()> {
    let world = World::start().await?;
    let first = world.coordinator().await?;
    let second = world.coordinator().await?;
    let opened = open(
        &world,
        worth("7.50"),
        limits(1_800, None, Some("50.00 EUR")),
    )
    .await?;
    let judged = (0..20).map(|_| world.judge(Verdict::Ask, worth("7.50")));
    let intents = futures::future::try_join_all(judged).await?;
    let mut used = 0;
    for intent in intents {
        used += u32::from(lifted(&world, intent).await?);
    }
    ensure!(used == 6, "{used} times 7.50 of 50.00");
    ensure!(uses(&world, &opened.window_id).await? == 6);
    let yen = {
        let mut other = worth("1");
        other["currency"] = json!("JPY");
        world.judge(Verdict::Ask, other).await?
    };
    ensure!(
        !lifted(&world, yen).await?,
        "another currency is not covered"
    );
    first.stop().await?;
    second.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_a_use_and_its_decision_is_one_use() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let opened = open(&world, liftable(), limits(1_800, Some(2), None)).await?;
    running.stop().await?;
    let taken = world.judge(Verdict::Ask, liftable()).await?;
    take_and_die(&world, &opened.window_id, taken).await?;
    let first = world.coordinator().await?;
    let second = world.coordinator().await?;
    ensure!(lifted(&world, taken).await?, "its use was taken already");
    ensure!(uses(&world, &opened.window_id).await? == 1);
    let next = world.judge(Verdict::Ask, liftable()).await?;
    ensure!(lifted(&world, next).await?, "one is left");
    let third = world.judge(Verdict::Ask, liftable()).await?;
    ensure!(!lifted(&world, third).await?, "and no more");
    ensure!(uses(&world, &opened.window_id).await? == 2);
    first.stop().await?;
    second.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_the_decision_takes_no_second_use_and_asks_nobody() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let opened = open(&world, liftable(), limits(1_800, Some(2), None)).await?;
    running.stop().await?;
    let intent = world.judge(Verdict::Ask, liftable()).await?;
    let window = take_and_die(&world, &opened.window_id, intent).await?;
    let checked = verdict(Verdict::Ask, intent, liftable())?;
    let decision = world.desk()?.under_window(&checked, &window, world.now())?;
    let countersign_domain::decision::Decision::Approved(approved) = &decision else {
        anyhow::bail!("not approved");
    };
    let bus = world.as_coordinator().await?;
    let out = Outgoing::event(&decision.address(), approved.as_ref(), &world.meta("x")?)?;
    let filter = Address::chain_filter(&"billing".parse()?, intent);
    bus.append(out, &filter, 0).await?;
    let running = world.coordinator().await?;
    world.until_verdicts_are_done().await?;
    // What comes after it is handled, so it was handled too.
    let next = world.judge(Verdict::Ask, liftable()).await?;
    ensure!(lifted(&world, next).await?);
    ensure!(uses(&world, &opened.window_id).await? == 2);
    ensure!(
        world
            .count(&format!("tool.approved.billing.{intent}"))
            .await?
            == 1
    );
    let asked = format!("approval.requested.{}", ApprovalId::for_intent(intent));
    ensure!(
        !world.stored(&asked).await?,
        "nobody is asked for what is decided"
    );
    running.stop().await
}

/// An intent that held a use without a decision when its window was closed.
async fn ends_without_a_run(world: &World, id: &WindowId, stranded: IntentId) -> Result<()> {
    // The verdict and the closing come on different streams: whichever is handled first,
    // the intent ends and is lifted by no window that is closed.
    let end = world.any(&format!("tool.*.billing.{stranded}")).await?;
    match end.subject.split('.').nth(1) {
        Some("blocked") => {
            let blocked: ToolBlocked = world
                .event(&format!("tool.blocked.billing.{stranded}"))
                .await?;
            ensure!(blocked.code == BlockedCode::ApprovalExpired);
            ensure!(
                blocked
                    .reasons
                    .iter()
                    .any(|why| why.message.contains(id.as_str())),
                "{blocked:?}"
            );
        }
        _ => {
            world
                .any(&format!("tool.revoked.billing.{stranded}"))
                .await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_stops_all_that_nobody_started_and_is_told_once() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let opened = open(&world, liftable(), limits(1_800, None, None)).await?;
    let (decided, claimed) = (
        world.judge(Verdict::Ask, liftable()).await?,
        world.judge(Verdict::Ask, liftable()).await?,
    );
    ensure!(lifted(&world, decided).await? && lifted(&world, claimed).await?);
    claim(&world, claimed).await?;
    running.stop().await?;
    let stranded = world.judge(Verdict::Ask, liftable()).await?;
    take_and_die(&world, &opened.window_id, stranded).await?;
    close(&world, &opened.window_id).await?;
    close(&world, &opened.window_id).await?;

    let running = world.coordinator().await?;
    let id = &opened.window_id;
    let closed: WindowClosed = world.event(&format!("window.closed.billing.{id}")).await?;
    ensure!(
        closed.code == "revoked" && closed.by == Some("lee".parse()?),
        "{closed:?}"
    );
    ensure!(closed.reason.as_deref() == Some("enough"));
    ensure!(
        closed.uses == 1,
        "what was claimed stays, all else is given back: {closed:?}"
    );
    let revoked: ToolRevoked = world
        .event(&format!("tool.revoked.billing.{decided}"))
        .await?;
    ensure!(revoked.code == RevokedCode::WindowClosed);
    ensure!(
        revoked.reasons[0].message.contains("closed by lee"),
        "{revoked:?}"
    );
    ensure!(
        world
            .subject_of_head(claimed)
            .await?
            .starts_with("tool.started.")
    );
    ends_without_a_run(&world, id, stranded).await?;
    let after = world.judge(Verdict::Ask, liftable()).await?;
    ensure!(
        !lifted(&world, after).await?,
        "a closed window lifts nothing"
    );
    close(&world, id).await?;
    let none: WindowId = "w-abc-99".parse()?;
    let unknown = close(&world, &none).await?;
    let refused: ControlRefused = world.event(&format!("control.refused.*.{unknown}")).await?;
    ensure!(refused.code == "unknown", "{refused:?}");
    ensure!(world.count(&format!("window.closed.billing.{id}")).await? == 1);
    ensure!(
        kept(&world.as_coordinator().await?, id)
            .await?
            .0
            .is_settled()
    );
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_ends_in_time_though_nobody_was_there() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let opened = open(&world, liftable(), limits(3, None, None)).await?;
    running.stop().await?;
    let id = opened.window_id;
    let bus = world.as_coordinator().await?;
    let fired = format!("timer.fired.window.{id}");
    eventually(&fired, || async {
        let stream = countersign_schemas::Stream::Timers;
        Ok(bus.last_by_subject(stream, &fired).await?)
    })
    .await?;
    let late = world.judge(Verdict::Ask, liftable()).await?;
    let running = world.coordinator().await?;
    ensure!(
        !lifted(&world, late).await?,
        "an expired window lifts nothing"
    );
    let closed: WindowClosed = world.event(&format!("window.closed.billing.{id}")).await?;
    ensure!(
        (closed.code.as_str(), closed.uses) == ("expired", 0),
        "{closed:?}"
    );
    ensure!(closed.closed_at == opened.expires_at && closed.by.is_none());
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_comes_back_from_what_was_revoked_and_not_from_what_ran() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator().await?;
    let opened = open(&world, liftable(), limits(1_800, Some(1), None)).await?;
    let first = world.judge(Verdict::Ask, liftable()).await?;
    ensure!(lifted(&world, first).await?);
    let approved: ToolApproved = world
        .event(&format!("tool.approved.billing.{first}"))
        .await?;
    let why = "the input is gone";
    let revoked = countersign_domain::decision::revoked(&approved, RevokedCode::InputGone, why);
    let agent = approved.agent.clone();
    let address = Address::ToolRevoked {
        agent: agent.clone(),
        intent: first,
    };
    let head = world.head(first).await?.context("a decision")?;
    let out = Outgoing::event(&address, &revoked, &world.meta("tool-executor")?)?;
    let filter = Address::chain_filter(&agent, first);
    world.executor.append(out, &filter, head.seq).await?;
    eventually("the use is given back", || async {
        Ok((uses(&world, &opened.window_id).await? == 0).then_some(()))
    })
    .await?;

    let second = world.judge(Verdict::Ask, liftable()).await?;
    ensure!(lifted(&world, second).await?, "it may be used again");
    claim(&world, second).await?;
    let failed = ToolCompleted {
        schema_version: 1,
        intent_id: second,
        agent: agent.clone(),
        tool: "mail.send".parse()?,
        outcome: Outcome::Failed,
        output: None,
        output_summary: String::new(),
        changes: Vec::new(),
        error: None,
        duration_ms: 1,
    };
    let address = Address::ToolCompleted {
        agent: agent.clone(),
        intent: second,
    };
    let head = world.head(second).await?.context("a claim")?;
    let out = Outgoing::event(&address, &failed, &world.meta("tool-executor")?)?;
    let filter = Address::chain_filter(&agent, second);
    world.executor.append(out, &filter, head.seq).await?;
    eventually("the use is kept", || async {
        let (window, _) = kept(&world.as_coordinator().await?, &opened.window_id).await?;
        Ok((window.open_uses().count() == 0).then_some(()))
    })
    .await?;
    let third = world.judge(Verdict::Ask, liftable()).await?;
    ensure!(!lifted(&world, third).await?, "what ran, ran");
    ensure!(uses(&world, &opened.window_id).await? == 1);
    running.stop().await
}

/// Asks for a window ahead of time, and gives the place of the request.
pub(crate) async fn request(world: &World, who: &str, seconds: u64) -> Result<u64> {
    let asked = WindowRequested {
        schema_version: 1,
        agent: "billing".parse()?,
        tools: vec!["mail.send".parse()?],
        limits: limits(seconds, Some(1), None),
        reason: "the mails of tonight".to_owned(),
        fields: Vec::new(),
        requester: None,
    };
    let address = Address::WindowRequested {
        approver: who.parse()?,
    };
    let bus = world.person(who).await?;
    let out = Outgoing::event(&address, &asked, &world.meta(who)?)?;
    Ok(bus.publisher().publish(out).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn ahead_of_time_only_those_open_a_window_whom_the_rules_ask() -> Result<()> {
    let world = World::start().await?;
    let running = world.coordinator_of_support().await?;
    for (who, seconds, words) in [
        ("eve", 600, "none of the teams"),
        ("lee", 3_601, "no rule about `mail.send`"),
        ("lee", 90_000, "86400 seconds"),
    ] {
        let seq = request(&world, who, seconds).await?;
        let refused: ControlRefused = world.event(&format!("control.refused.*.{seq}")).await?;
        ensure!(refused.code == "window_not_permitted", "{refused:?}");
        ensure!(refused.message.contains(words), "{refused:?}");
    }
    ensure!(world.count("window.opened.>").await? == 0);
    let seq = request(&world, "lee", 600).await?;
    let opened: WindowOpened = world.event("window.opened.billing.*").await?;
    ensure!(
        opened.window_id.as_str().ends_with(&format!("-{seq}")),
        "{opened:?}"
    );
    ensure!(opened.approvers == ["lee".parse()?] && opened.approval_id.is_none());
    ensure!(opened.expires_at == opened.opened_at.plus(Duration::from_secs(600)));
    let defined = || {
        let mut changes = liftable();
        changes["tool_digest"] = json!(world.tool_digest()?);
        anyhow::Ok(changes)
    };
    let other = world.judge(Verdict::Ask, liftable()).await?;
    ensure!(
        !lifted(&world, other).await?,
        "a tool defined otherwise is another tool"
    );
    let intent = world.judge(Verdict::Ask, defined()?).await?;
    ensure!(lifted(&world, intent).await?);
    let again = world.judge(Verdict::Ask, defined()?).await?;
    ensure!(!lifted(&world, again).await?, "it is used up");
    running.stop().await
}
