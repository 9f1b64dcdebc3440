//! The configuration's text, golden: a change in it is a change of what a server lets
//! through.

use std::collections::BTreeSet;

use super::*;
use crate::identity::{Principal, Role, Service};

/// One identity of every kind, with keys that are the same in every run.
fn registry() -> Registry {
    let words = |list: &[&str]| {
        list.iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let mut principals: Vec<Principal> = Service::ALL.map(Principal::Service).into();
    for (role, name, tools, people) in [
        (Role::Agent, "billing", words(&[]), words(&[])),
        (Role::Approver, "lee", words(&[]), words(&[])),
        (Role::Operator, "kim", words(&[]), words(&[])),
        (Role::Bridge, "inbox", words(&[]), words(&["lee"])),
        (Role::Bridge, "slack", words(&[]), words(&["lee"])),
        (
            Role::Worker,
            "crm",
            words(&["crm.read", "crm.update"]),
            words(&[]),
        ),
    ] {
        let tools: BTreeSet<_> = tools.iter().map(|tool| tool.parse().unwrap()).collect();
        let people: BTreeSet<_> = people.iter().map(|name| name.parse().unwrap()).collect();
        principals.push(Principal::new(role, name, tools, people).unwrap());
    }
    let mut registry = Registry::new("acme");
    for (index, principal) in principals.into_iter().enumerate() {
        let raw = [u8::try_from(index).unwrap(); 32];
        let pair = nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::User, raw).unwrap();
        registry
            .add(Entry {
                principal,
                public_key: pair.public_key(),
            })
            .unwrap();
    }
    registry
}

fn alone() -> ServerConf {
    ServerConf {
        name: "acme-1".to_owned(),
        listen: "127.0.0.1:4222".to_owned(),
        store_dir: "/var/lib/countersign/jetstream".into(),
        tls: None,
        cluster: None,
        encryption_key_env: None,
    }
}

#[test]
fn accounts() {
    insta::assert_snapshot!(render_accounts(&registry()));
}

#[test]
fn one_server() {
    insta::assert_snapshot!(alone().render());
}

#[test]
fn one_of_three_with_everything() {
    let tls = |dir: &str| Tls {
        cert: format!("{dir}/server.pem").into(),
        key: format!("{dir}/server.key").into(),
        ca: format!("{dir}/ca.pem").into(),
    };
    let conf = ServerConf {
        tls: Some(tls("/etc/countersign/tls")),
        cluster: Some(Cluster {
            name: "acme".to_owned(),
            listen: "0.0.0.0:6222".to_owned(),
            routes: vec!["a:6222".to_owned(), "b:6222".to_owned()],
            tls: Some(tls("/etc/countersign/routes")),
        }),
        encryption_key_env: Some("COUNTERSIGN_JETSTREAM_KEY".to_owned()),
        ..alone()
    };
    insta::assert_snapshot!(conf.render());
}

#[test]
fn a_server_alone_syncs_every_write_and_listens_on_loopback() {
    let text = alone().render();
    assert!(text.contains("sync_interval: always"));
    assert!(text.contains("listen: \"127.0.0.1:4222\""));
}

#[test]
fn an_identity_that_publishes_nothing_is_denied_everything() {
    let mut registry = Registry::new("acme");
    let tools = ["crm.read".parse().unwrap()].into();
    registry
        .add(Entry {
            principal: Principal::new(Role::Worker, "crm", tools, BTreeSet::new()).unwrap(),
            public_key: nkeys::KeyPair::new_user().public_key(),
        })
        .unwrap();
    let text = render_accounts(&registry);
    assert!(text.contains("deny: [\n            \">\""), "{text}");
}

#[test]
fn every_export_names_the_accounts_it_is_for() {
    let text = render_accounts(&registry());
    for line in text
        .lines()
        .filter(|line| line.trim_start().starts_with("{service: \""))
    {
        assert!(line.contains("accounts: ["), "{line}");
    }
    for line in text
        .lines()
        .filter(|line| line.trim_start().starts_with("{stream: \""))
    {
        assert!(line.contains("accounts: ["), "{line}");
    }
}

#[test]
fn a_path_cannot_end_its_string() {
    let conf = ServerConf {
        store_dir: "/tmp/a\" } accounts { x".into(),
        ..alone()
    };
    assert!(
        conf.render()
            .contains(r#"store_dir: "/tmp/a\" } accounts { x""#)
    );
}
