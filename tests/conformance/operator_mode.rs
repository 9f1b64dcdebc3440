//! The variant with JWTs: a server in operator mode lets everybody do exactly what the
//! server does that `init` configures, and an agent's JWT needs nothing but a name.

use std::time::Duration;

use countersign_runtime::identity::{self, Account, InForce, Permissions, Principal, Role};
use countersign_tests::operator::{NAME, Operator, claims, now, template};
use countersign_tests::process::SERVICES;
use countersign_tests::raw::Raw;
use countersign_tests::{Deployment, PATIENCE, eventually};
use futures::StreamExt as _;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::golden;
use crate::permissions::matrix;
use crate::stage::Stage;
use crate::tricks::tricks;

/// At once, on a machine that does other things too.
const AT_ONCE: Duration = Duration::from_secs(30);
/// How long the JWT lives that runs out: longer than a busy machine takes to use it once.
const LIFE_SECONDS: i64 = 10;

fn agent(name: &str) -> Principal {
    Principal::Agent(name.parse().unwrap())
}

fn same_as_golden(name: &str, text: &str) {
    let differs = golden::difference(&golden::read(name), text);
    assert!(differs.is_empty(), "{}", differs.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_mode_has_the_same_matrix() {
    let (stage, _) = Stage::in_operator_mode().await;
    same_as_golden("permissions.txt", &matrix(&stage).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_mode_stops_the_same_tricks() {
    let (stage, _) = Stage::in_operator_mode().await;
    same_as_golden("tricks.txt", &tricks(&stage).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_operator_mode_two_agents_are_served_end_to_end() {
    let mut deployment = Deployment::prepared(&[], |files| {
        let _keys = Operator::install(files);
    })
    .await;
    for name in SERVICES {
        deployment.launch(name);
    }
    deployment.ready().await;
    for name in ["billing", "crm"] {
        let agent = deployment.agent(name).await;
        let heard = agent.client().subscribe(format!("tool.*.{name}.>"));
        let mut heard = heard.await.unwrap();
        agent.client().flush().await.unwrap();
        let intent = agent.intent("crm.read_contact", json!({"contact_id": "C-1042"}));
        let id = agent.publish(&intent).await;
        let end = agent.end(&id).await;
        assert!(end.is("tool.completed"), "{end:?}");
        assert_eq!(end.text("/outcome"), "succeeded");
        for event in ["tool.approved", "tool.started", "tool.completed"] {
            let next = tokio::time::timeout(PATIENCE, heard.next()).await;
            let message = next.unwrap().unwrap();
            assert_eq!(message.subject.as_str(), format!("{event}.{name}.{id}"));
        }
    }
    assert!(deployment.journal().refusals().is_empty());
}

/// A user's claims with something changed.
fn with(mut claims: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    claims.pointer_mut(parent).unwrap()[key] = value;
    claims
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_that_says_more_than_a_name_or_is_signed_by_a_stranger_is_refused() {
    let (stage, operator) = Stage::in_operator_mode().await;
    let (who, user) = (agent("billing"), KeyPair::new_user());
    let honest = operator.name_only(&who, &user);
    let scoped = operator.signing_key(&who);
    let stranger = KeyPair::new_account();
    let people = Principal::Approver("lee".parse().unwrap());
    let wide = with(honest.clone(), "/nats/pub", json!({"allow": [">"]}));
    let limits = with(honest.clone(), "/nats/subs", json!(-1));
    let bearer = with(honest.clone(), "/nats/bearer_token", json!(true));
    let gone = with(honest.clone(), "/exp", json!(now() - 1));
    let early = with(honest.clone(), "/nbf", json!(now() + 3_600));
    let elsewhere = operator.account(Account::People).public_key();
    let elsewhere = with(honest.clone(), "/nats/issuer_account", json!(elsewhere));
    let of_people = operator.signed_by(operator.signing_key(&people), &who, &user);
    let unlisted = operator.signed_by(&stranger, &who, &user);
    let by_itself = operator.signed_by(&user, &who, &user);
    for (what, claims, signer) in [
        ("permissions of its own", &wide, scoped),
        ("limits of its own", &limits, scoped),
        ("no need for its key", &bearer, scoped),
        ("an end in the past", &gone, scoped),
        ("a start in the future", &early, scoped),
        ("another account", &elsewhere, scoped),
        (
            "the key of another account",
            &of_people,
            operator.signing_key(&people),
        ),
        ("a plain key that no account lists", &unlisted, &stranger),
        ("the agent's own key", &by_itself, &user),
        ("a signature by another key", &honest, &stranger),
    ] {
        let credential = Operator::credential_signed(&user, claims, signer);
        let refused = stage.raw_with("billing", &credential).await;
        let told = refused.err().unwrap_or_else(|| panic!("{what}: let in"));
        assert!(told.contains("Authorization Violation"), "{what}: {told}");
    }
    let seed = user.seed().unwrap();
    assert!(stage.raw_with("billing", &seed).await.is_err(), "no JWT");
    let credential = Operator::credential_signed(&user, &honest, scoped);
    let mut billing = stage.raw_with("billing", &credential).await.unwrap();
    stored(&mut billing, "tool.requested.billing")
        .await
        .unwrap();
}

/// What JetStream said to a publish.
async fn stored(raw: &mut Raw, subject: &str) -> Result<u64, String> {
    let answer = raw.request(subject, &[], b"{}").await?;
    let ack: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    ack["seq"].as_u64().ok_or(answer.headers)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_key_of_the_account_itself_signs_stays_in_the_account() {
    let (stage, operator) = Stage::in_operator_mode().await;
    let (who, user) = (agent("billing"), KeyPair::new_user());
    let plain = operator.account(Account::Agents);
    let mut bare = operator.signed_by(plain, &who, &user);
    for limit in ["subs", "data", "payload"] {
        bare["nats"][limit] = json!(-1);
    }
    let bare = operator.credential(&user, &bare);
    let mut raw = stage.raw_with("billing", &bare).await.unwrap();
    for subject in ["tool.requested.billing", "_INBOX_billing.x"] {
        for told in [
            raw.publish(subject, b"{}").await,
            raw.subscribe(subject).await,
        ] {
            let told = told.unwrap_err();
            assert!(told.contains("Permissions Violation"), "{subject}: {told}");
        }
    }
    let wide = Permissions {
        publish: vec![">".to_owned()],
        subscribe: vec![">".to_owned()],
        ..Permissions::default()
    };
    let mut wide = claims(&wide);
    wide["issuer_account"] = json!(plain.public_key());
    wide["type"] = json!("user");
    wide["version"] = json!(2);
    let wide = with(operator.signed_by(plain, &who, &user), "/nats", wide);
    let wide = operator.credential(&user, &wide);
    let mut raw = stage.raw_with("billing", &wide).await.unwrap();
    // That key is the account: it speaks for every agent, which is why it signs no user.
    stored(&mut raw, "tool.requested.crm").await.unwrap();
    for subject in [
        "approval.vote.lee",
        "cs.audit.query.lee",
        "tool.approved.crm.x",
    ] {
        let told = stored(&mut raw, subject).await.unwrap_err();
        assert!(told.contains("503"), "{subject} crosses: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_no_name_must_be_refused_by_whoever_signs_it() {
    let (stage, operator) = Stage::in_operator_mode().await;
    for (name, speaks_for_others) in [("*", true), (">", true), ("a.b", false), ("", false)] {
        assert!(Principal::new(Role::Agent, name, [].into(), [].into()).is_err());
        let user = KeyPair::new_user();
        let named = operator.name_only(&agent("billing"), &user);
        let named = with(named, "/name", json!(name));
        let credential = operator.credential(&user, &named);
        let let_in = match stage.raw_with("billing", &credential).await {
            Ok(mut raw) => raw.publish("tool.requested.crm", b"{}").await.is_ok(),
            Err(_) => false,
        };
        assert_eq!(let_in, speaks_for_others, "`{name}`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_that_runs_out_ends_its_connection() {
    let (stage, operator) = Stage::in_operator_mode().await;
    let user = KeyPair::new_user();
    let end = now() + LIFE_SECONDS;
    let short = operator.name_only(&agent("billing"), &user);
    let short = operator.credential(&user, &with(short, "/exp", json!(end)));
    let mut raw = stage.raw_with("billing", &short).await.unwrap();
    stored(&mut raw, "tool.requested.billing").await.unwrap();
    let told = raw.closed(AT_ONCE).await.unwrap();
    assert!(told.contains("Expired"), "{told}");
    assert!(now() >= end);
    // The server counts in whole seconds: within the last one it still lets in.
    eventually(AT_ONCE, "the JWT is refused", async || {
        let refused = stage.raw_with("billing", &short).await.is_err();
        refused.then_some(())
    })
    .await;
}

async fn reload(stage: &Stage) {
    let done = identity::reload(&stage.files, &stage.access()).await;
    match done.unwrap() {
        InForce::Reloaded(seen) => assert_eq!(seen.servers, ["acme-1"], "{seen:?}"),
        InForce::NoServer => panic!("a server runs"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_user_is_cut_off_and_others_stay() {
    let (stage, mut operator) = Stage::in_operator_mode().await;
    let mut crm = stage.raw_named(Role::Agent, "crm").await;
    let user = KeyPair::new_user();
    let claims = operator.name_only(&agent("billing"), &user);
    let credential = operator.credential(&user, &claims);
    let mut billing = stage.raw_with("billing", &credential).await.unwrap();
    stored(&mut billing, "tool.requested.billing")
        .await
        .unwrap();
    operator.revoke(&user.public_key());
    reload(&stage).await;
    let told = billing.closed(AT_ONCE).await.unwrap();
    assert!(told.contains("Revoked"), "{told}");
    assert!(stage.raw_with("billing", &credential).await.is_err());
    stored(&mut crm, "tool.requested.crm").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signing_key_is_replaced_without_a_gap_and_the_old_one_is_worth_nothing() {
    let (stage, mut operator) = Stage::in_operator_mode().await;
    let who = agent("billing");
    let user = KeyPair::new_user();
    let old = operator.name_only(&who, &user);
    let old = operator.credential(&user, &old);
    let mut before = stage.raw_with("billing", &old).await.unwrap();
    operator.add_signing_key(&who);
    reload(&stage).await;
    stored(&mut before, "tool.requested.billing").await.unwrap();
    let new = operator.name_only(&who, &user);
    let new = operator.credential(&user, &new);
    let mut after = stage.raw_with("billing", &new).await.unwrap();
    operator.drop_old_signing_keys(&who);
    reload(&stage).await;
    before.closed(AT_ONCE).await.unwrap();
    assert!(stage.raw_with("billing", &old).await.is_err());
    stored(&mut after, "tool.requested.billing").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_says_that_a_server_in_operator_mode_does_not_follow_it() {
    let (stage, _) = Stage::in_operator_mode().await;
    let added = identity::add(&stage.files, &stage.access(), agent("hr")).await;
    let gone = identity::remove(&stage.files, &stage.access(), Role::Agent, "billing").await;
    for change in [added, gone] {
        let change = change.unwrap();
        match change.in_force {
            InForce::Reloaded(seen) => assert_eq!(seen.stale, ["acme-1"], "{:?}", change.kind),
            InForce::NoServer => panic!("a server runs"),
        }
    }
}

/// The block of JSON in the documentation is what the server is given.
#[test]
fn the_documented_template_is_the_one_in_force() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("```json\n").skip(1);
    let shown = blocks
        .filter_map(|rest| rest.split("```").next())
        .find(|block| block.contains(NAME))
        .expect("docs/operations.md shows the template");
    let shown: Value = serde_json::from_str(shown).unwrap();
    let derived = template(&agent("billing"));
    assert_eq!(shown["pub"]["allow"], json!(derived.publish));
    assert_eq!(shown["sub"]["allow"], json!(derived.subscribe));
    assert_eq!(shown, claims(&derived));
}
