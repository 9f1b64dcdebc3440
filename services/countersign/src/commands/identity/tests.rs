//! Which words make which identity, and what is told of a change.

use super::*;
use countersign_runtime::identity::{InitOptions, Kind, Verified, init};

fn deployment(operators: &[&str]) -> (tempfile::TempDir, Deployment) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = InitOptions::local("acme", "127.0.0.1:4222");
    for name in operators {
        let person = name.parse().unwrap();
        options.identities.push(Principal::Operator(person));
    }
    let made = init(&dir.path().join("d"), &options).unwrap();
    (dir, made.deployment)
}

#[test]
fn the_operator_is_named_or_the_only_one() {
    let (_dir, one) = deployment(&["kim"]);
    assert_eq!(operator(&one, None).unwrap().0.as_str(), "kim");
    let (_dir, two) = deployment(&["kim", "lee"]);
    assert!(operator(&two, None).unwrap_err().contains("--operator"));
    let named = operator(&two, Some("lee".parse().unwrap())).unwrap();
    assert_eq!(named.0.as_str(), "lee");
    let (_dir, none) = deployment(&[]);
    assert!(operator(&none, None).is_err());
}

#[test]
fn a_server_that_lags_behind_is_named_with_what_to_do() {
    let change = Change {
        kind: Kind::Removed,
        principal: Principal::Agent("billing".parse().unwrap()),
        public_key: None,
        creds: None,
        in_force: InForce::Reloaded(Verified {
            servers: vec!["a".to_owned()],
            unseen: vec!["b".to_owned()],
            stale: vec!["c".to_owned()],
        }),
    };
    insta::assert_snapshot!(change_text(&change), @r"
    agent billing is removed
    in force, checked on: a
    reloaded, but not reachable from here to check: b
    NOT in force; copy nats/accounts.conf there and run `countersign identity reload`: c
    ");
}

#[test]
fn a_services_new_key_stays_where_it_is() {
    let rotated = |role, name| {
        let none = BTreeSet::new;
        let principal = Principal::new(role, name, none(), BTreeSet::new()).unwrap();
        change_text(&Change {
            kind: Kind::Rotated,
            principal,
            public_key: None,
            creds: Some("creds/x.creds".into()),
            in_force: InForce::NoServer,
        })
    };
    assert!(rotated(Role::Service, "tool-executor").contains("restart that service"));
    assert!(rotated(Role::Agent, "billing").contains("hand it over"));
}

#[test]
fn a_worker_without_tools_is_told_the_flag() {
    let args = AddArgs {
        role: Role::Worker,
        name: "crm".to_owned(),
        tools: Vec::new(),
        guardrails: Vec::new(),
        people: Vec::new(),
        by: By { operator: None },
    };
    let error = principal(&args).unwrap_err().to_string();
    assert!(error.contains("--tools"), "{error}");
}

#[test]
fn a_wrong_call_a_broken_file_and_a_deaf_server_end_differently() {
    use countersign_runtime::identity::{Registry, ServersError};

    let unknown = || {
        let none = Registry::new("acme").find(Role::Agent, "x").map(|_| ());
        none.unwrap_err()
    };
    let deaf = || ServersError::StillServed {
        server: "a".to_owned(),
    };
    let (_dir, here) = deployment(&[]);
    let broken = here.dir().join("identities.json");
    std::fs::write(&broken, "{").unwrap();
    let table = [
        (CliError::from(unknown()), Exit::Usage),
        (ChangeError::from(unknown()).into(), Exit::Usage),
        (here.registry().unwrap_err().into(), Exit::Configuration),
        (RegistryError::Full.into(), Exit::Configuration),
        (ChangeError::NoSystemKey.into(), Exit::Configuration),
        (ChangeError::Undone(deaf()).into(), Exit::Unreachable),
        (ChangeError::NotInForce(deaf()).into(), Exit::Unreachable),
    ];
    for (error, exit) in table {
        assert_eq!(error.exit(), exit, "{error}");
    }
}

#[test]
fn services_are_not_added_and_extras_belong_to_their_role() {
    let args = |role, tools: &[&str], people: &[&str]| AddArgs {
        role,
        name: "x".to_owned(),
        tools: tools.iter().map(|tool| tool.parse().unwrap()).collect(),
        guardrails: Vec::new(),
        people: people.iter().map(|name| name.parse().unwrap()).collect(),
        by: By { operator: None },
    };
    for (args, words) in [
        (args(Role::Service, &[], &[]), "made by `countersign init`"),
        (args(Role::Bridge, &[], &[]), "--people"),
        (args(Role::Agent, &["a.b"], &[]), "has no tools"),
        (args(Role::Worker, &["a.b"], &["lee"]), "has no people"),
    ] {
        let error = principal(&args).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.to_string().contains(words), "{error}");
    }
    let twice = principal(&args(Role::Worker, &["a.b", "a.b"], &[])).unwrap();
    assert_eq!(twice.tools().len(), 1);
}

#[test]
fn an_answer_names_the_file_of_the_key_and_never_the_key() {
    let (_dir, here) = deployment(&["kim"]);
    let kim = Principal::Operator("kim".parse().unwrap());
    let seed = here.seed(&kim).unwrap().unwrap();
    let change = Change {
        kind: Kind::Rotated,
        public_key: Some("UPUBLIC".to_owned()),
        creds: Some(here.creds(&kim)),
        principal: kim,
        in_force: InForce::NoServer,
    };
    let value = change_json(&change);
    assert_eq!(value["change"], "rotated");
    assert_eq!(value["in_force"], json!({ "running": false }));
    assert!(
        value["creds"]
            .as_str()
            .unwrap()
            .ends_with("operator-kim.creds")
    );
    for told in [value.to_string(), change_text(&change)] {
        assert!(!told.contains(&seed), "{told}");
    }
}
