//! `countersign identity` as an operator types it, on a running system.

use std::process::{Command, Output};
use std::time::Duration;

use countersign_runtime::bus::{Bus, ConnectOptions, layout};
use countersign_runtime::identity::{
    self, Deployment, InForce, InitOptions, Principal, Role, ServerAccess, Service as Identity,
};
use countersign_runtime::nats_server::{
    NatsServer, Progress, ServerConfig, StartOptions, find_or_provision,
};
use countersign_schemas::Stream;
use countersign_tests::deployment::{NAME, init_as};
use countersign_tests::eventually;
use countersign_tests::process::{COORDINATOR, Service, program};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

struct Site {
    files: Deployment,
    server: NatsServer,
}

impl Site {
    async fn start(dir: &std::path::Path) -> Self {
        let options = InitOptions::local(NAME, "127.0.0.1:4222");
        let files = init_as(&dir.join("site"), options);
        // Nobody listens on port 1, so only the files change.
        let nowhere = ServerAccess {
            url: "nats://127.0.0.1:1".to_owned(),
            tls_ca: None,
        };
        let change = identity::add(&files, &nowhere, operator()).await.unwrap();
        assert_eq!(change.in_force, InForce::NoServer);
        let config = ServerConfig::File(files.server_conf());
        let store = files.dir().join("nats/jetstream");
        let binary = find_or_provision(Progress::Quiet).unwrap();
        let server = NatsServer::start(StartOptions::new(binary, config, store))
            .await
            .unwrap();
        let site = Self { files, server };
        let setup = site.bus(&Principal::Service(Identity::Setup)).await;
        layout::ensure(&setup, layout::LayoutOptions::default())
            .await
            .unwrap();
        site
    }

    async fn bus(&self, principal: &Principal) -> Bus {
        Bus::connect(ConnectOptions {
            url: self.server.url(),
            name: principal.name().to_owned(),
            credential: self.files.seed(principal).unwrap().unwrap(),
            tls_ca: None,
        })
        .await
        .unwrap()
    }

    /// Runs `countersign identity …` and returns what it printed.
    fn command(&self, words: &str) -> Output {
        Command::new(program("countersign"))
            .args(["--json", "identity", "--dir"])
            .arg(self.files.dir())
            .args(words.split_whitespace())
            .env("COUNTERSIGN_NATS__URL", self.server.url())
            .output()
            .unwrap()
    }

    fn done(&self, words: &str) -> (Value, String) {
        let output = self.command(words);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{words}: {told}");
        (serde_json::from_slice(&output.stdout).unwrap(), told)
    }
}

fn operator() -> Principal {
    Principal::Operator("kim".parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_made_told_and_put_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(dir.path()).await;
    let (_, told) = site.done("add agent early");
    assert!(told.contains("not in the audit log"), "{told}");
    // What there is no way back from is not done off the record.
    site.done("rotate key fingerprint --operator kim");
    let refused = site.command("destroy fingerprint k1 --yes --operator kim");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(69), "{told}");
    assert!(told.contains("nothing was destroyed"), "{told}");
    let kept = site.files.dir().join("keys/fingerprint-k1.key");
    assert!(kept.try_exists().unwrap());

    let settings = [("COUNTERSIGN_NATS__URL".to_owned(), site.server.url())];
    let config = site.files.config();
    let _coordinator = Service::start(COORDINATOR, &config, dir.path(), &settings);
    let kim = site.bus(&operator()).await;
    eventually(PATIENCE, "the coordinator answers", async || {
        let asked = kim.client().request("cs.identity.changed.kim", "?".into());
        asked.await.ok()
    })
    .await;

    let (added, told) = site.done("add agent hr --operator kim");
    assert_eq!(told, "");
    assert_eq!(added["in_force"]["servers"], serde_json::json!(["acme-1"]));
    let hr = site.bus(&Principal::Agent("hr".parse().unwrap())).await;
    let ack = hr.client().request("tool.requested.hr", "{}".into());
    assert!(ack.await.is_ok());

    let reader = site.bus(&Principal::Service(Identity::AuditArchiver)).await;
    let recorded = async || {
        let found = reader.last_by_subject(Stream::Events, "identity.changed.*");
        let found = found.await.unwrap().expect("a record");
        serde_json::from_slice::<Value>(&found.payload).unwrap()
    };
    let record = recorded().await;
    assert_eq!(record["change"], "added");
    assert_eq!(record["name"], "hr");
    assert_eq!(record["operator"], "kim");
    assert_eq!(record["public_key"], added["public_key"]);

    site.done("remove agent hr --operator kim");
    assert_eq!(recorded().await["change"], "removed");
    let registry = site.files.registry().unwrap();
    assert!(registry.find(Role::Agent, "hr").is_err());

    let (rotated, told) = site.done("rotate key permit --operator kim");
    assert_eq!((told.as_str(), &rotated["change"]), ("", &"rotated".into()));
    let record = recorded().await;
    assert_eq!(
        (&record["role"], &record["name"]),
        (&"key".into(), &"permit".into())
    );
    assert_eq!(record["public_key"], rotated["signs"]);
    let (pruned, _) = site.done("rotate key permit --prune --operator kim");
    assert_eq!(pruned["retired"].as_array().unwrap().len(), 1, "{pruned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_a_usage_error_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(dir.path()).await;
    let before = site.files.registry().unwrap();
    for words in [
        "add agent billing",
        "add service mine",
        "add worker w",
        "add bridge b",
        "add agent a.b",
        "add king kim",
        "remove agent nobody",
        "remove service policy-checker",
        "rotate agent nobody",
        "rotate agent billing --stolen",
        "rotate key manifest",
        "rotate key permit --publish --prune",
    ] {
        let output = site.command(words);
        assert_eq!(output.status.code(), Some(2), "{words}: {output:?}");
    }
    assert_eq!(site.files.registry().unwrap(), before);
}
