//! Publishing bundles with the command line, against the real checker and its permissions.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_policy_checker as checker;
use countersign_runtime::clock::SystemClock;
use countersign_runtime::config::{Deployment as Named, Mandates};
use countersign_runtime::identity::Service;
use countersign_runtime::service::ServiceContext;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Deployment, Ended, PATIENCE};

/// A deployment with a running checker, and a folder with the next bundle.
struct Office {
    deployment: Deployment,
    next: PathBuf,
    _stop: tokio_util::sync::DropGuard,
}

impl Office {
    async fn open() -> Self {
        let deployment = Deployment::start().await;
        let stop = CancellationToken::new();
        let bus = deployment.service(Service::PolicyChecker).await;
        let context =
            ServiceContext::new(Named::default(), bus, Arc::new(SystemClock), stop.clone());
        let settings = checker::Settings {
            policy_dir: deployment.dir.path().join("policy"),
            keys_dir: deployment.dir.path().join("keys"),
            max_in_flight: 10,
            mandates: Mandates::default(),
            label_life: Duration::from_secs(3_600),
        };
        tokio::spawn(checker::run(context, settings));
        let next = deployment.dir.path().join("policy");
        let office = Self {
            deployment,
            next,
            _stop: stop.drop_guard(),
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while office.policy(&["status"]).await.code != 0 {
            assert!(tokio::time::Instant::now() < deadline, "no checker");
        }
        office
    }

    async fn policy(&self, args: &[&str]) -> Ended {
        let args = [&["policy"][..], args].concat();
        self.deployment.run(&args).await
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.next.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

const CLOSED: &str = "@id(\"closed\")\n@because(\"The books are closed.\")\n@need(\"Wait for January.\")\nforbid (principal, action == Action::\"ledger.book\", resource);\n";
const CASE: &str = "[[case]]\nname = \"books\"\nagent = \"billing\"\ntool = \"ledger.book\"\ninput = { account = \"A-1\", amount = 150000 }\nverdict = \"deny\"\nreasons = [\"closed\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_compared_pushed_and_taken_back() {
    let office = Office::open().await;
    let none = office.policy(&["diff"]).await;
    assert_eq!(none.code, 20, "{}", none.told);
    assert!(
        none.told.contains("no bundle was published"),
        "{}",
        none.told
    );

    let first = office.policy(&["push"]).await;
    assert_eq!(first.code, 0, "{}", first.told);
    let before = first.json["digest"].as_str().unwrap().to_owned();
    let same = office.policy(&["diff"]).await;
    assert_eq!(same.json["differences"].as_array().unwrap().len(), 0);

    office.write("policies/closed.cedar", CLOSED);
    office.write("tests/books.toml", CASE);
    let found = office.policy(&["diff"]).await;
    let [one] = found.json["differences"].as_array().unwrap().as_slice() else {
        panic!("{}", found.json)
    };
    assert_eq!(one["kind"], "rule");
    assert_eq!(one["change"], "added");
    assert_eq!(one["words"], "forbids: The books are closed.");

    let other = format!("sha256:{}", "0".repeat(64));
    let moved = office.policy(&["push", "--replaces", &other]).await;
    assert_eq!(moved.code, 20, "{}", moved.told);
    let second = office.policy(&["push", "--replaces", &before]).await;
    assert_eq!(second.code, 0, "{}", second.told);
    assert_eq!(second.json["previous"], before.as_str());
    assert_eq!(second.json["tests"], 1);
    let state = office.policy(&["status"]).await.json;
    assert_eq!(state["published"], second.json["digest"]);
    assert_eq!(state["in_force"], second.json["digest"]);
    assert_eq!(state["operator"], "kim");
    assert_eq!(state["kept"].as_array().unwrap().len(), 2);

    let back = office.policy(&["rollback", &before]).await;
    assert_eq!(back.code, 0, "{}", back.told);
    let state = office.policy(&["status"]).await.json;
    assert_eq!(state["published"], before.as_str());
    let apart = office
        .policy(&["diff", &before, second.json["digest"].as_str().unwrap()])
        .await;
    assert_eq!(apart.json["differences"], found.json["differences"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_is_not_pushed_and_says_where() {
    let office = Office::open().await;
    assert_eq!(office.policy(&["push"]).await.code, 0);
    let good = office.policy(&["status"]).await.json;
    office.write("tests/books.toml", CASE);
    let failing = office.policy(&["push"]).await;
    assert_eq!(failing.code, 20, "{}", failing.told);
    assert_eq!(failing.json["problems"][0]["file"], "tests/books.toml");
    assert_eq!(failing.json["problems"][0]["line"], 2);
    office.write("policies/closed.cedar", "forbid (principal,");
    let broken = office.policy(&["push"]).await;
    assert_eq!(broken.code, 20, "{}", broken.told);
    assert_eq!(broken.json["problems"][0]["file"], "policies/closed.cedar");
    assert_eq!(office.policy(&["status"]).await.json, good);
}
