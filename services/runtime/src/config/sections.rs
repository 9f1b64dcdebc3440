//! Every setting, with its meaning, unit and default.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use countersign_schemas::codec::Encoding;
use countersign_schemas::limits::HORIZON_SECONDS;
use countersign_schemas::{ServiceId, Token};
use serde::{Deserialize, Serialize};

use super::documented::section;
use super::mandates::MandateIssuer;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

section! {
    /// What the whole deployment agrees on.
    Deployment {
        /// Its name: part of every permit, so that one deployment's permit is void in
        /// another. 1 to 64 of A-Z a-z 0-9 _ -.
        name: Token = literal("local");
        /// How long an intent id stays unique and may be repeated, in seconds.
        /// 60 to 604800.
        horizon_s: u64 = HORIZON_SECONDS;
        /// How long raw messages are kept before they may be purged, in seconds; an ask or
        /// window of the policy must end before. 3600 to 31536000.
        raw_retention_s: u64 = 7 * 24 * 60 * 60;
        /// How services write the bodies of events: `json` or `avro`. Both are read.
        encoding: Encoding = Encoding::Json;
    }
}

section! {
    /// The NATS servers and our credentials on them.
    Nats {
        /// One or more server URLs, separated by commas; never with a password in them.
        url: String = "nats://127.0.0.1:4222".to_owned();
        /// Directory of the credentials, `<role>-<name>.creds` each.
        creds_dir: PathBuf = "creds".into();
        /// Certificate authority that signed the servers' certificates, PEM. Not set:
        /// no TLS, or the system's authorities.
        tls_ca: Option<PathBuf> = None, example "\"certs/ca.pem\"";
        /// Copies of each stream: 1 on a single server, 3 or 5 on a cluster.
        replicas: u16 = 1;
        /// Size of `CS_INTENTS` and of `CS_EVENTS`, in MiB; two other streams get a quarter
        /// of it each, the buckets of labels and facts a sixteenth. The server sets it
        /// aside at once. An intent takes about 5 KiB.
        stream_mib: u32 = 2048;
        /// The server that `countersign up` starts itself.
        embedded: Option<EmbeddedNats> = None;
    }
}

section! {
    /// The server that `countersign up` starts itself, on the port of `nats.url` and the
    /// address of its own configuration.
    EmbeddedNats {
        /// Its configuration file.
        config: PathBuf = "nats/server.conf".into();
        /// Directory of its streams and its log; the same as in its configuration.
        store_dir: PathBuf = "data/nats".into();
    }
}

section! {
    /// Logs, metrics and traces. No value of an input is in any of them.
    Telemetry {
        /// `auto` (for people on a terminal, JSON elsewhere), `pretty` or `json`.
        log: LogFormat = LogFormat::Auto;
        /// Least level that is logged, or a filter such as `info,countersign=debug`.
        level: String = "info".to_owned();
        /// Address of `/metrics`, `/healthz` and `/readyz`; they have no login. Not set:
        /// not served.
        metrics_listen: Option<SocketAddr> = None, example "\"127.0.0.1:9464\"";
        /// Where traces go by OTLP over HTTP. Not set: no traces.
        otlp_endpoint: Option<String> = None, example "\"http://127.0.0.1:4318/v1/traces\"";
    }
}

section! {
    /// Signing and fingerprint keys.
    Keys {
        /// Directory of the keys; private ones with mode 0600.
        dir: PathBuf = "keys".into();
    }
}

section! {
    /// The policy bundle.
    Policy {
        /// Its directory: `policies/`, `catalog/`, `entities.json`, `tests/`.
        dir: PathBuf = "policy".into();
    }
}

section! {
    /// Mandates: signed statements of who asked an agent, as docs/policy.md describes.
    Mandates {
        /// Who may give them, each under a name of your choice: its claim `iss`, the `aud`
        /// of its mandates for this deployment, and where its keys are: `jwks_file`, or
        /// `jwks_url` (https; http on this machine only). `algorithms` may leave out some
        /// of EdDSA, ES256 and RS256.
        issuers: BTreeMap<String, MandateIssuer> = BTreeMap::new(), example "{ company = { issuer = \"https://id.example\", audience = \"countersign\", jwks_url = \"https://id.example/jwks.json\" } }";
        /// How often their keys are read again, in seconds. 30 to 86400.
        refresh_s: u64 = 300;
    }
}

section! {
    /// The policy checker.
    PolicyChecker {
        /// Intents judged at once. 1 to 20000.
        max_in_flight: usize = 1_000;
        /// How long a label of what an agent has seen without a mandate lasts after it was
        /// last set, in seconds; under a mandate it lasts as long as that. 60 to 2678400.
        label_life_s: u64 = 86_400;
    }
}

section! {
    /// The approval coordinator.
    ApprovalCoordinator {
        /// How long a permit may be claimed, in seconds. 10 to 3600.
        permit_life_s: u64 = 300;
        /// How long a bundle waits for its missing items after the first, in seconds: an
        /// agent sends them at once, and half a bundle holds back what came. 1 to 3600.
        bundle_wait_s: u64 = 120;
        /// Where people open an approval; its id is appended. Not set: no links.
        link_base: Option<String> = None, example "\"https://countersign.example/approvals/\"";
        /// Messages handled at once. 1 to 20000.
        max_in_flight: usize = 1_000;
    }
}

section! {
    /// The tool executor.
    ToolExecutor {
        /// This executor's name in claims; two executors never share one.
        id: ServiceId = literal("executor-1");
        /// Directory where outcomes wait, synced, until the server has stored them.
        spool_dir: PathBuf = "data/spool".into();
        /// Tools running at once. 1 to 10000.
        max_running: usize = 64;
        /// Base URL of each `http` worker, by the name that the catalog's binding gives.
        http: BTreeMap<String, String> = BTreeMap::new(), example "{ crm = \"http://127.0.0.1:8080\" }";
    }
}

section! {
    /// The audit archiver.
    AuditArchiver {
        /// Root of the archive.
        dir: PathBuf = "archive".into();
        /// The last commit, kept outside the archive, so that a cut tail is noticed.
        state_file: PathBuf = "data/archive-state.json".into();
        /// Directories elsewhere, such as a mount of another machine, where each signed
        /// checkpoint is kept too. One that fails is an alarm and stops nothing.
        witnesses: Vec<PathBuf> = Vec::new();
        /// A batch is committed at this many rows, 1 to 1000000,
        batch_rows: usize = 50_000;
        /// or at this many bytes of messages, 65536 to 1073741824,
        batch_bytes: usize = 64 * 1024 * 1024;
        /// or when its first message is this old, in milliseconds, 10 to 60000.
        batch_ms: u64 = 500;
        /// The files of an hour or a day become one when it is over and no file came to it
        /// for this long, in seconds; 0: never. At most 86400.
        compact_after_s: u64 = 600;
        /// How long a file stays after no manifest entry names it, in seconds: longer than
        /// any query over it runs. 60 to 604800.
        file_grace_s: u64 = 7_200;
    }
}

section! {
    /// The bucket that the archive lies in, if not in the directory `audit_archiver.dir`. Its
    /// credentials stand in a file or in the standard variables (AWS_ACCESS_KEY_ID and so
    /// on), never here.
    Archive {
        /// Bucket and prefix, in a store that keeps conditional writes; one that does not is
        /// refused at the start.
        url: Option<String> = None, example "\"s3://bucket/prefix\"";
        /// The store's URL; else that of AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, else of AWS.
        endpoint: Option<String> = None, example "\"https://store.example.com:9000\"";
        /// Its region; else that of AWS_REGION or AWS_DEFAULT_REGION, else us-east-1.
        region: Option<String> = None, example "\"eu-central-1\"";
        /// Whether the bucket is named in the path of each request; false: in the host's name.
        path_style: bool = true;
        /// Whether an http:// endpoint may be on another machine: what is archived is then
        /// sent in clear.
        allow_http: bool = false;
        /// A file in the form of ~/.aws/credentials, readable by its owner alone; else
        /// AWS_SHARED_CREDENTIALS_FILE, else the variables, else those of the machine.
        credentials_file: Option<PathBuf> = None, example "\"keys/archive-store.credentials\"";
    }
}

section! {
    /// SQL over the archive.
    AuditQuery {
        /// Memory of one query, in MiB. 16 to 65536.
        memory_mb: u64 = 512;
        /// Longest run of one query, in seconds. 1 to 3600.
        timeout_s: u64 = 30;
        /// Most rows of one answer. 1 to 10000000.
        rows_max: usize = 10_000;
    }
}

#[expect(
    clippy::expect_used,
    reason = "INVARIANT: the literals in this file are valid; every test builds the defaults"
)]
fn literal<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a valid literal")
}
