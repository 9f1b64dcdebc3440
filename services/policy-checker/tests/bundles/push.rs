//! A push is in force everywhere soon, and whatever breaks off changes nothing.

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_domain::policy::pack;
use countersign_domain::policy::protocol::{PushReply, PushRequest};
use countersign_runtime::bus::Bucket;
use countersign_runtime::bus::layout::POLICY;
use countersign_schemas::Digest;
use countersign_schemas::events::Verdict;
use serde_json::json;
use tokio::time::Instant;

use crate::world::{PATIENCE, World, bundle_with, closed, digest, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_is_in_force_in_every_checker_soon_and_on_record() -> Result<()> {
    let world = World::start().await?;
    let (one, two) = (world.checker().await?, world.checker().await?);
    let before = world.verdict().await?;
    ensure!(before.verdict == Verdict::Allow && world.published().await?.is_none());

    let closed = closed()?;
    let digest = digest(&closed)?;
    let reply = world.push(&closed, digest).await?;
    let Ok(PushReply::Published {
        previous: None,
        tests,
        unchanged: false,
        ..
    }) = reply
    else {
        bail!("not published: {reply:?}");
    };
    ensure!(tests >= 7, "the bundle's own tests ran: {tests}");
    let began = Instant::now();
    until_each_goes_by(&world, digest, before.policy_digest).await?;
    eprintln!("in force in both after {:?}", began.elapsed());
    let (first, event) = world.records(digest).await?.context("no record")?;
    ensure!(event.policy_digest == digest && event.previous.is_none());
    ensure!(
        event
            .operator
            .as_ref()
            .is_some_and(|who| who.as_str() == "kim")
    );
    eventually("both are ready", async || {
        Ok((one.health.is_ready() && two.health.is_ready()).then_some(()))
    })
    .await?;

    // The same again changes nothing and is told once.
    let again = world.push(&closed, digest).await?;
    ensure!(
        matches!(
            again,
            Ok(PushReply::Published {
                unchanged: true,
                ..
            })
        ),
        "{again:?}"
    );
    ensure!(world.records(digest).await?.context("no record")?.0 == first);
    one.stop().await?;
    two.stop().await
}

/// Waits until two checkers judge by this bundle. Both take intents from one consumer: enough
/// of them in a row reach each.
async fn until_each_goes_by(world: &World, digest: Digest, before: Digest) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    let mut in_a_row = 0;
    while in_a_row < 20 {
        ensure!(Instant::now() < give_up, "one goes by the bundle before");
        let judged = world.verdict().await?;
        if judged.policy_digest == before {
            in_a_row = 0;
            continue;
        }
        ensure!(
            judged.verdict == Verdict::Deny && judged.policy_digest == digest,
            "{judged:?}"
        );
        in_a_row += 1;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_back_is_a_publication_of_its_own_and_outlives_a_restart() -> Result<()> {
    let world = World::start().await?;
    let checker = world.checker().await?;
    let (open, closed) = (bundle_with("tests/none.toml", "")?, closed()?);
    let (opened, shut) = (digest(&open)?, digest(&closed)?);
    for (files, digest) in [(&open, opened), (&closed, shut)] {
        let reply = world.push(files, digest).await?;
        ensure!(reply.is_ok(), "{reply:?}");
    }
    let (first, _) = world.records(opened).await?.context("no record")?;
    // Another operator compared with a bundle that is in force no longer.
    let stale = PushRequest::Rollback {
        digest: opened,
        replaces: Some(opened),
    };
    world.refuses(&stale, "409", "to be replaced").await?;
    ensure!(world.published().await? == Some(shut), "it was rolled back");
    let rollback = PushRequest::Rollback {
        digest: opened,
        replaces: Some(shut),
    };
    let back = world.ask(&rollback).await;
    let Ok(PushReply::Published { previous, .. }) = back else {
        bail!("not rolled back: {back:?}");
    };
    ensure!(previous == Some(shut));
    let (second, event) = world.records(opened).await?.context("no record")?;
    ensure!(second > first && event.previous == Some(shut), "{event:?}");
    ensure!(world.verdict().await?.policy_digest == opened);
    let unknown = PushRequest::Rollback {
        digest: Digest::of_bytes(b"never pushed"),
        replaces: None,
    };
    ensure!(matches!(world.ask(&unknown).await, Err((code, ..)) if code == "404"));
    let Ok(PushReply::Read {
        digest,
        parts: 1,
        data,
    }) = world
        .ask(&PushRequest::Read {
            digest: None,
            number: 0,
        })
        .await
    else {
        bail!("what is in force cannot be read");
    };
    ensure!(digest == opened && STANDARD.decode(data)? == pack(&open)?);
    checker.stop().await?;

    // The published bundle counts, whatever the folder holds by now.
    let checker = world
        .checker_with(world.dir.path().join("no-folder"))
        .await?;
    ensure!(world.verdict().await?.policy_digest == opened);
    checker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_is_broken_at_any_stage_changes_nothing() -> Result<()> {
    let world = World::start().await?;
    let checker = world.checker().await?;
    let closed = closed()?;
    let good = digest(&closed)?;
    let before = world.verdict().await?.policy_digest;
    let packed = pack(&closed)?;
    let parts = world.upload(&packed).await?;
    let publish = |digest, parts, replaces| PushRequest::Publish {
        digest,
        parts,
        replaces,
    };
    let half = world.upload(&packed[..packed.len() / 2]).await?;
    let other = Digest::of_bytes(b"other");
    let (broken, failing, admin) = world.unsound().await?;
    for (request, status, said) in [
        (publish(good, vec![], None), "400", "parts"),
        (publish(good, vec![other], None), "400", "missing"),
        (publish(good, half, None), "400", "packed"),
        (publish(other, parts.clone(), None), "400", "digest"),
        (publish(good, parts.clone(), Some(other)), "409", "another"),
        (publish(good, broken, None), "422", "broken"),
        (publish(failing.0, failing.1, None), "422", "tests"),
        (publish(admin.0, admin.1, None), "422", "lint"),
        (
            PushRequest::Part {
                data: "%".to_owned(),
            },
            "400",
            "base64",
        ),
        (
            PushRequest::Part {
                data: String::new(),
            },
            "413",
            "bytes",
        ),
        (
            PushRequest::Read {
                digest: None,
                number: 0,
            },
            "404",
            "folder",
        ),
    ] {
        world.refuses(&request, status, said).await?;
    }
    for body in [
        &b"{}"[..],
        b"",
        b"{\"op\":\"purge\"}",
        b"{\"op\":\"status\",\"op\":\"status\"}",
    ] {
        let answer = world.send("cs.policy.push.kim", body.to_vec()).await;
        ensure!(matches!(answer, Err((code, ..)) if code == "400"));
    }
    ensure!(
        world.published().await?.is_none(),
        "something was published"
    );
    let after = world.verdict().await?;
    ensure!(after.policy_digest == before && after.verdict == Verdict::Allow);
    ensure!(world.records(good).await?.is_none());
    checker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bundle_before_one_that_cannot_be_loaded_serves_a_moment_and_no_longer() -> Result<()> {
    let world = World::start().await?;
    let checker = world.checker().await?;
    let open = bundle_with("tests/none.toml", "")?;
    let opened = digest(&open)?;
    ensure!(world.push(&open, opened).await?.is_ok());
    let bucket = Bucket::new(&world.bus, POLICY);
    let sound = bucket
        .get("current")
        .await?
        .context("nothing is published")?;
    let absent = Digest::of_bytes(b"absent");
    let entry = json!({"digest": absent, "parts": 1, "bytes": 5, "operator": "kim",
                       "previous": opened, "at": "2026-11-22T10:00:00Z"});
    bucket.put("current", entry.to_string().into()).await?;
    eventually("the checker says that its bundle is outdated", async || {
        let told = format!("{:?}", checker.health.report().get("policy"));
        Ok(told.contains("outdated").then_some(()))
    })
    .await?;
    let verdict = world.verdict().await?;
    let code = verdict.reasons.first().map(|reason| reason.code.as_str());
    ensure!(
        verdict.verdict == Verdict::Deny && code == Some("policy_error"),
        "{verdict:?}"
    );
    bucket.put("current", sound.value.clone()).await?;
    eventually("the checker is well again", async || {
        Ok(checker.health.is_ready().then_some(()))
    })
    .await?;
    let verdict = world.verdict().await?;
    ensure!(verdict.policy_digest == opened && verdict.verdict == Verdict::Allow);
    checker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_is_checked_again_by_whoever_loads_it() -> Result<()> {
    let world = World::start().await?;
    let checker = world.checker().await?;
    let open = bundle_with("tests/none.toml", "")?;
    let opened = digest(&open)?;
    ensure!(world.push(&open, opened).await?.is_ok());
    let bucket = Bucket::new(&world.bus, POLICY);
    let sound = bucket
        .get("current")
        .await?
        .context("nothing is published")?;

    // Somebody writes past the checker: other bytes, missing bytes, an entry of no form.
    let other = pack(&closed()?)?;
    let claim = |digest: Digest, bytes: usize| {
        json!({"digest": digest, "parts": 1, "bytes": bytes, "operator": "kim", "previous": null,
               "at": "2026-11-22T10:00:00Z"})
    };
    let wrong = Digest::of_bytes(b"wrong");
    bucket
        .put(&format!("bundle.{}.0", wrong.hex()), other.clone().into())
        .await?;
    for entry in [
        claim(wrong, other.len()).to_string(),
        claim(Digest::of_bytes(b"absent"), 5).to_string(),
        claim(opened, 5)
            .to_string()
            .replace("\"digest\"", "\"tiger\""),
    ] {
        bucket.put("current", entry.into()).await?;
        eventually("the checker says that it cannot be used", async || {
            Ok((!checker.health.is_ready()).then_some(()))
        })
        .await?;
        let verdict = world.verdict().await?;
        ensure!(verdict.policy_digest == opened && verdict.verdict == Verdict::Allow);
        bucket.put("current", sound.value.clone()).await?;
        eventually("the checker is well again", async || {
            Ok(checker.health.is_ready().then_some(()))
        })
        .await?;
    }
    checker.stop().await
}
