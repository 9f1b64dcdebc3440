//! Identities change on a running system: at once, for good, and for nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use countersign_runtime::bus::{Bus, ConnectOptions, layout};
use countersign_runtime::identity::{
    self, ChangeError, InForce, InitOptions, Principal, Role, ServerAccess, Service,
};
use countersign_tests::cluster::{Cluster, SERVERS};
use countersign_tests::eventually;
use countersign_tests::raw::{Delivered, Raw};
use serde_json::Value;
use tokio::time::Instant;

use crate::stage::{PATIENCE, Stage, outsiders};

/// At once, on a machine that does other things too: nothing here waits for a time to pass.
const AT_ONCE: Duration = Duration::from_secs(30);
/// While a server reloads it rebuilds what passes between accounts: for a moment a message
/// may find nobody there, is not stored, and is answered so; its sender sends it again.
const NO_RESPONDERS: &str = "NATS/1.0 503";
/// Clients that are busy while an identity is added.
const CLIENTS: usize = 50;

fn agent(name: &str) -> Principal {
    Principal::Agent(name.parse().unwrap())
}

fn stored(answer: &Delivered) -> u64 {
    let ack: Value = serde_json::from_slice(&answer.body).unwrap();
    ack["seq"]
        .as_u64()
        .unwrap_or_else(|| panic!("not stored: {ack}"))
}

/// Sends an intent, again where nobody was there for a moment.
async fn sends(raw: &mut Raw, name: &str) {
    let subject = format!("tool.requested.{name}");
    let answer = eventually(PATIENCE, "somebody is there", async || {
        let answer = raw.request(&subject, &[], b"{}").await.unwrap();
        (!answer.headers.contains(NO_RESPONDERS)).then_some(answer)
    });
    stored(&answer.await);
}

fn servers(in_force: &InForce) -> Vec<String> {
    match in_force {
        InForce::Reloaded(seen) => {
            assert!(seen.unseen.is_empty() && seen.stale.is_empty(), "{seen:?}");
            seen.servers.clone()
        }
        InForce::NoServer => panic!("a server runs"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_identity_is_cut_off_at_once_and_others_stay() {
    let stage = Stage::start().await;
    let mut billing = stage.raw_named(Role::Agent, "billing").await;
    let mut crm = stage.raw_named(Role::Agent, "crm").await;
    let seed = stage.files.seed(&agent("billing")).unwrap().unwrap();
    let change = identity::remove(&stage.files, &stage.access(), Role::Agent, "billing")
        .await
        .unwrap();
    assert_eq!(servers(&change.in_force), ["acme-1"]);
    billing.closed(AT_ONCE).await.unwrap();
    assert!(stage.raw_with("billing", &seed).await.is_err());
    assert!(!stage.files.creds(&agent("billing")).try_exists().unwrap());
    sends(&mut crm, "crm").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_takes_over_and_the_old_one_is_refused() {
    let stage = Stage::start().await;
    for principal in [agent("billing"), Principal::Service(Service::PolicyChecker)] {
        let old = stage.files.seed(&principal).unwrap().unwrap();
        let mut connected = stage.raw(&principal).await;
        let (role, name) = (principal.role(), principal.name());
        let change = identity::rotate(&stage.files, &stage.access(), role, name)
            .await
            .unwrap();
        servers(&change.in_force);
        connected.closed(AT_ONCE).await.unwrap();
        assert!(stage.raw_with(name, &old).await.is_err(), "{principal}");
        stage.raw(&principal).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_that_reloads_the_servers_can_be_rotated_too() {
    let stage = Stage::start().await;
    for _ in 0..2 {
        let change = identity::rotate(&stage.files, &stage.access(), Role::Service, "identity")
            .await
            .unwrap();
        servers(&change.in_force);
    }
    let change = identity::add(&stage.files, &stage.access(), agent("hr")).await;
    servers(&change.unwrap().in_force);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_added_under_load_works_at_once_and_disturbs_nobody() {
    let names: Vec<String> = (0..CLIENTS).map(|index| format!("busy{index}")).collect();
    let stage = Stage::with(names.iter().map(|name| agent(name)).collect()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let sent: Vec<_> = names
        .iter()
        .map(|_| Arc::<AtomicUsize>::default())
        .collect();
    let missed = Arc::new(AtomicUsize::new(0));
    let mut busy = Vec::new();
    for (name, sent) in names.into_iter().zip(&sent) {
        let mut raw = stage.raw(&agent(&name)).await;
        let (stop, sent) = (Arc::clone(&stop), Arc::clone(sent));
        let missed = Arc::clone(&missed);
        busy.push(tokio::spawn(async move {
            let subject = format!("tool.requested.{name}");
            while !stop.load(Ordering::Relaxed) {
                let answer = raw.request(&subject, &[], b"{}").await.unwrap();
                if answer.headers.contains(NO_RESPONDERS) {
                    missed.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                stored(&answer);
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    // Each of them goes on: what it was answered before is counted by then.
    let flowing = async || {
        for one in &sent {
            let before = one.load(Ordering::Relaxed);
            eventually(PATIENCE, "the load flows", async || {
                (one.load(Ordering::Relaxed) >= before + 2).then_some(())
            })
            .await;
        }
    };
    flowing().await;
    let began = Instant::now();
    let change = identity::add(&stage.files, &stage.access(), agent("hr")).await;
    servers(&change.unwrap().in_force);
    let mut hr = stage.raw(&agent("hr")).await;
    sends(&mut hr, "hr").await;
    let took = began.elapsed();
    assert!(took < AT_ONCE, "it took {took:?}");
    flowing().await;
    let during = missed.load(Ordering::Relaxed);
    flowing().await;
    assert_eq!(
        missed.load(Ordering::Relaxed),
        during,
        "only while it reloads"
    );
    stop.store(true, Ordering::Relaxed);
    for task in busy {
        task.await.expect("nobody was disconnected or refused");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_the_files_change_and_hold_from_its_next_start() {
    let mut stage = Stage::start().await;
    let access = stage.access();
    stage.server.stop().await.unwrap();
    let change = identity::add(&stage.files, &access, agent("hr"))
        .await
        .unwrap();
    assert_eq!(change.in_force, InForce::NoServer);
    stage.server.restart().await.unwrap();
    let mut hr = stage.raw(&agent("hr")).await;
    eventually(PATIENCE, "JetStream answers", async || {
        hr.request("tool.requested.hr", &[], b"{}").await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_refuses_to_read_is_undone() {
    let stage = Stage::start().await;
    let registry = stage.files.registry().unwrap();
    let accounts = std::fs::read_to_string(stage.files.accounts_conf()).unwrap();
    let mut conf = std::fs::read_to_string(stage.files.server_conf()).unwrap();
    conf.push_str("\nno_such_setting: {\n");
    std::fs::write(stage.files.server_conf(), conf).unwrap();
    let error = identity::add(&stage.files, &stage.access(), agent("hr"))
        .await
        .unwrap_err();
    assert!(matches!(error, ChangeError::Undone(_)), "{error}");
    assert_eq!(stage.files.registry().unwrap(), registry);
    assert_eq!(
        std::fs::read_to_string(stage.files.accounts_conf()).unwrap(),
        accounts
    );
    assert!(!stage.files.creds(&agent("hr")).try_exists().unwrap());
    stage.raw(&agent("billing")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_deployment_is_told_apart() {
    let (one, other) = (Stage::start().await, Stage::start().await);
    let error = identity::add(&one.files, &other.access(), agent("hr"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("other accounts"), "{error}");
}

async fn raw_at(url: &str, files: &identity::Deployment, principal: &Principal) -> Raw {
    let seed = files.seed(principal).unwrap().unwrap();
    let address = url.trim_start_matches("nats://");
    Raw::connect(address, principal.name(), &seed)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_hold_one_layout_and_follow_every_change() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = InitOptions::local("acme", "127.0.0.1:4222");
    options.identities = outsiders();
    let files = identity::init(&dir.path().join("acme"), &options)
        .unwrap()
        .deployment;
    let cluster = Cluster::start(&files).await;
    let setup = Bus::connect(ConnectOptions {
        url: cluster.urls(),
        name: "setup".to_owned(),
        credential: files
            .seed(&Principal::Service(Service::Setup))
            .unwrap()
            .unwrap(),
        tls_ca: None,
    })
    .await
    .unwrap();
    let replicated = layout::LayoutOptions {
        replicas: SERVERS,
        ..layout::LayoutOptions::default()
    };
    eventually(PATIENCE, "the cluster has a leader", async || {
        layout::ensure(&setup, replicated).await.ok()
    })
    .await;

    let access = ServerAccess {
        url: cluster.urls(),
        tls_ca: None,
    };
    let change = identity::add(&files, &access, agent("hr")).await.unwrap();
    assert_eq!(servers(&change.in_force).len(), SERVERS);
    let mut connected = Vec::new();
    for index in 0..SERVERS {
        let mut hr = raw_at(&cluster.url(index), &files, &agent("hr")).await;
        sends(&mut hr, "hr").await;
        assert!(
            hr.request("tool.requested.billing", &[], b"{}")
                .await
                .is_err()
        );
        connected.push(hr);
    }
    let change = identity::remove(&files, &access, Role::Agent, "hr")
        .await
        .unwrap();
    assert_eq!(servers(&change.in_force).len(), SERVERS);
    for mut hr in connected {
        hr.closed(AT_ONCE).await.unwrap();
    }
}
