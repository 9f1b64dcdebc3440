//! The examples in `deploy/` as an operator would use them: a server starts with each
//! file, over TLS and with encrypted stores, and an intent goes all the way.

use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_runtime::bus::{Bus, ConnectOptions, layout};
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::identity::{
    Cluster, Deployment, InitOptions, Principal, Service as Identity, Tls,
};
use countersign_runtime::nats_server::{
    NatsServer, Progress, ServerConfig, StartOptions, find_or_provision,
};
use countersign_schemas::{IntentId, Stream};
use countersign_tests::cluster::free_ports;
use countersign_tests::deployment::{NAME, init_as};
use countersign_tests::eventually;
use countersign_tests::journal::Journal;
use countersign_tests::process::{SERVICES, Service};
use countersign_tests::worker::HttpWorker;
use futures::future::join_all;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

/// How long an intent may take on a busy machine, from the start of the services.
const PATIENCE: Duration = Duration::from_secs(120);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// An authority of its own and one certificate for this machine, usable on both sides.
fn certificates(dir: &Path) -> Tls {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut server = CertificateParams::new(names).unwrap();
    server.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let issuer = Issuer::new(ca, ca_key);
    let cert_pem = server.signed_by(&key, &issuer).unwrap().pem();
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    Tls {
        cert: write("server.pem", &cert_pem),
        key: write("server.key", &key.serialize_pem()),
        ca: write("ca.pem", &ca_pem),
    }
}

/// An example with its places filled in; each must be in it.
fn example(name: &str, places: &[(&str, String)]) -> String {
    let path = root().join("deploy/nats").join(name);
    let mut text = std::fs::read_to_string(path).unwrap();
    for (place, filled) in places {
        assert!(text.contains(place), "{name} has no `{place}`");
        text = text.replace(place, filled);
    }
    text
}

async fn start(dir: &Path) -> NatsServer {
    let store = dir.join("nats/jetstream");
    std::fs::create_dir_all(&store).unwrap();
    let config = ServerConfig::File(dir.join("nats/server.conf"));
    let binary = find_or_provision(Progress::Quiet).unwrap();
    NatsServer::start(StartOptions::new(binary, config, store))
        .await
        .unwrap_or_else(|error| panic!("the example does not start: {error}"))
}

/// A deployment on example servers, and who connects to it.
struct Site {
    files: Deployment,
    tls: Tls,
    url: String,
    replicas: usize,
}

impl Site {
    async fn bus(&self, principal: &Principal) -> Bus {
        let seed = self.files.seed(principal).unwrap().unwrap();
        eventually(PATIENCE, "a connection over TLS", async || {
            Bus::connect(ConnectOptions {
                url: self.url.clone(),
                name: principal.name().to_owned(),
                credential: seed.clone(),
                tls_ca: Some(self.tls.ca.clone()),
            })
            .await
            .ok()
        })
        .await
    }

    async fn make_streams(&self) {
        let setup = self.bus(&Principal::Service(Identity::Setup)).await;
        let options = layout::LayoutOptions {
            replicas: self.replicas,
            ..layout::LayoutOptions::default()
        };
        eventually(PATIENCE, "the streams", async || {
            layout::ensure(&setup, options).await.ok()
        })
        .await;
    }

    /// One intent from the agent to the archive.
    async fn run_one_intent(&self, dir: &Path) {
        self.make_streams().await;
        let journal = Journal::open(&dir.join("journal.jsonl")).unwrap();
        let worker = HttpWorker::start(&self.files, journal.clone()).await;
        let settings = [
            ("COUNTERSIGN_NATS__URL".to_owned(), self.url.clone()),
            (
                "COUNTERSIGN_TOOL_EXECUTOR__HTTP".to_owned(),
                format!("{{mail=\"{}\"}}", worker.url()),
            ),
        ];
        let config = self.files.config();
        let _services = SERVICES.map(|name| Service::start(name, &config, dir, &settings));
        let completed = self.send_mail().await;
        assert_eq!(completed["outcome"], "succeeded", "{completed}");
        assert_eq!(journal.runs().len(), 1);
        let reader = self.bus(&Principal::Service(Identity::AuditArchiver)).await;
        eventually(PATIENCE, "the archive's commit", async || {
            let found = reader
                .last_by_subject(Stream::Events, "archive.committed.*")
                .await;
            found.ok().flatten()
        })
        .await;
    }

    async fn send_mail(&self) -> Value {
        let agent = self
            .bus(&Principal::Agent("billing".parse().unwrap()))
            .await;
        let id = IntentId::new_at(SystemClock.now());
        let intent = json!({
            "schema_version": 1,
            "intent_id": id,
            "tool": "mail.send",
            "input": {"to": "kim@acme.example", "subject": "hello", "body": "good morning"},
            "requester": {"id": "mia"},
            "purpose": "an example is tried",
        });
        let ack = agent
            .client()
            .request("tool.requested.billing", intent.to_string().into())
            .await
            .unwrap();
        let ack: Value = serde_json::from_slice(&ack.payload).unwrap();
        assert_eq!(ack["stream"], "CS_INTENTS", "{ack}");
        let subject = format!("$JS.API.DIRECT.GET.CS_EVENTS.tool.*.billing.{id}");
        eventually(PATIENCE, "the outcome", async || {
            let answer = agent
                .client()
                .request(subject.clone(), "".into())
                .await
                .ok()?;
            let body: Value = serde_json::from_slice(&answer.payload).ok()?;
            body.get("outcome").is_some().then_some(body)
        })
        .await
    }
}

fn options(tls: &Tls, cluster: Option<Cluster>) -> InitOptions {
    InitOptions {
        tls: Some(tls.clone()),
        cluster,
        ..InitOptions::local(NAME, "127.0.0.1:4222")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_goes_all_the_way_on_one_machine() {
    let dir = tempfile::tempdir().unwrap();
    let tls = certificates(dir.path());
    let files = init_as(&dir.path().join("site"), options(&tls, None));
    let text = example(
        "single.conf",
        &[
            ("/var/lib/countersign", files.dir().display().to_string()),
            ("/etc/countersign/tls", dir.path().display().to_string()),
            (
                "$COUNTERSIGN_JETSTREAM_KEY",
                "\"a key for a test\"".to_owned(),
            ),
        ],
    );
    std::fs::write(files.server_conf(), text).unwrap();
    let server = start(files.dir()).await;
    let site = Site {
        url: server.url(),
        files,
        tls,
        replicas: 1,
    };
    assert!(site.url.starts_with("tls://"), "{}", site.url);
    site.run_one_intent(dir.path()).await;
    encrypted(&site.files.dir().join("nats/jetstream"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_goes_all_the_way_on_three_machines() {
    let dir = tempfile::tempdir().unwrap();
    let tls = certificates(dir.path());
    let routes = free_ports().map(|port| format!("127.0.0.1:{port}"));
    let cluster = Cluster {
        name: "countersign".to_owned(),
        listen: routes[0].clone(),
        routes: routes.to_vec(),
        tls: Some(tls.clone()),
    };
    let files = init_as(&dir.path().join("site"), options(&tls, Some(cluster)));
    let machines: Vec<PathBuf> = (0..3)
        .map(|index| machine(dir.path(), &files, &routes, index))
        .collect();
    let servers = join_all(machines.iter().map(|machine| start(machine))).await;
    let urls: Vec<String> = servers.iter().map(NatsServer::url).collect();
    let site = Site {
        url: urls.join(","),
        files,
        tls,
        replicas: 3,
    };
    site.run_one_intent(dir.path()).await;
    for machine in machines {
        encrypted(&machine.join("nats/jetstream"));
    }
}

/// The directory of one machine of three, with the accounts copied to it.
fn machine(dir: &Path, files: &Deployment, routes: &[String], index: usize) -> PathBuf {
    let machine = dir.join(format!("machine-{index}"));
    std::fs::create_dir_all(machine.join("nats")).unwrap();
    let number = |index: usize| format!("nats-{}.example:6222", index + 1);
    let mut places = vec![
        ("/var/lib/countersign", machine.display().to_string()),
        ("/etc/countersign/tls", dir.display().to_string()),
        (
            "$COUNTERSIGN_JETSTREAM_KEY",
            "\"a key for a test\"".to_owned(),
        ),
        ("$COUNTERSIGN_SERVER_NAME", format!("nats-{index}")),
        ("0.0.0.0:6222", routes[index].clone()),
    ];
    let hosts: Vec<String> = (0..3).map(number).collect();
    for (host, route) in hosts.iter().zip(routes) {
        places.push((host, route.clone()));
    }
    let text = example("r3.conf", &places);
    std::fs::write(machine.join("nats/server.conf"), text).unwrap();
    std::fs::copy(files.accounts_conf(), machine.join("nats/accounts.conf")).unwrap();
    machine
}

/// No file of the store shows what an agent wrote.
fn encrypted(store: &Path) {
    let mut files = vec![store.to_owned()];
    let mut blocks = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            files.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|ending| ending == "blk") {
            blocks += 1;
            let bytes = std::fs::read(&path).unwrap();
            let shown = bytes.windows(12).any(|part| part == b"good morning");
            assert!(!shown, "{} is not encrypted", path.display());
        }
    }
    assert!(blocks > 0, "there is no store in {}", store.display());
}

#[test]
fn systemd_starts_every_service_and_nothing_that_does_not_exist() {
    let unit = |name: &str| {
        let path = root().join("deploy/systemd").join(name);
        std::fs::read_to_string(path).unwrap()
    };
    let target = unit("countersign.target");
    let wanted: Vec<&str> = target
        .lines()
        .filter_map(|line| {
            line.strip_prefix("Wants=countersign@")?
                .strip_suffix(".service")
        })
        .collect();
    let ours = Identity::ALL
        .map(Identity::name)
        .into_iter()
        .filter(|name| !["setup", "identity"].contains(name));
    assert_eq!(wanted, ours.collect::<Vec<_>>());
    for name in wanted {
        let manifest = root().join("services").join(name).join("Cargo.toml");
        let manifest = std::fs::read_to_string(manifest).unwrap();
        assert!(manifest.contains(&format!("name = \"countersign-{name}\"")));
    }
    assert!(unit("countersign@.service").contains("countersign-%i --config "));
    assert!(unit("countersign-setup.service").contains("countersign setup --dir "));
    let all = ["countersign-nats", "countersign-setup", "countersign@"];
    for text in all.map(|name| unit(&format!("{name}.service"))) {
        let (head, service) = text.split_once("[Service]").unwrap();
        assert!(head.contains("\nStartLimitIntervalSec=0\n"), "{text}");
        assert!(!head.contains("Requires="), "{text}");
        assert!(service.contains("\nRestart=") && service.contains("\nRestartSec=5\n"));
    }
}
