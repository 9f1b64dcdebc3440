//! Everything that a deployment leaves behind, but for what may hold raw values.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use countersign_tests::{Deployment, Event, PATIENCE};
use serde_json::Value;

use super::forms::{Found, Search};

/// Where something was left behind, and what.
#[derive(Default)]
pub(crate) struct Places {
    /// Nothing of what was planted may stand here.
    clean: Vec<(String, Vec<u8>)>,
    /// Personal values may stand here, for approvers; secrets may not.
    shown: Vec<(String, Vec<u8>)>,
}

impl Places {
    pub(crate) fn push(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.clean.push((name.into(), bytes.into()));
    }

    pub(crate) fn push_shown(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.shown.push((name.into(), bytes.into()));
    }

    /// What was found, and where; each find once, with one of its places.
    pub(crate) fn leaks(
        &self,
        all: &Search,
        secrets: &Search,
    ) -> BTreeMap<String, BTreeSet<Found>> {
        let mut leaks = BTreeMap::<String, BTreeSet<Found>>::new();
        for (places, search) in [(&self.clean, all), (&self.shown, secrets)] {
            for (place, bytes) in places {
                let found = search.find(bytes);
                if !found.is_empty() {
                    leaks.entry(place.clone()).or_default().extend(found);
                }
            }
        }
        leaks
    }

    /// What was found in the first place whose name has this in it.
    pub(crate) fn found_in(&self, part: &str, all: &Search) -> BTreeSet<String> {
        let both = self.clean.iter().chain(&self.shown);
        let named = both.filter(|(name, _)| name.contains(part));
        named
            .flat_map(|(_, bytes)| all.names(bytes))
            .map(str::to_owned)
            .collect()
    }

    /// Every event but for what only approvers may see, headers included.
    pub(crate) fn events(&mut self, events: impl Iterator<Item = Event>) {
        for mut event in events {
            if let Some(body) = event
                .body
                .as_object_mut()
                .filter(|_| event.subject.starts_with("policy.checked."))
            {
                let shown = body.remove("input_shown").unwrap_or(Value::Null);
                self.push_shown("input_shown", shown.to_string());
            }
            let text = format!("{}\n{:?}\n{}", event.subject, event.headers, event.body);
            self.push(event.name(), text);
        }
    }

    /// The cells of the archive, as SQL shows them.
    pub(crate) async fn cells(&mut self, deployment: &Deployment) {
        for table in ["events", "actions", "approvals", "windows"] {
            let rows = deployment.rows(&format!("SELECT * FROM {table}")).await;
            assert!(!rows.is_empty() || table == "windows", "{table} is empty");
            for row in rows {
                self.push(format!("a row of {table}"), row.to_string());
            }
        }
    }

    /// The files beneath `dir` whose path `takes`.
    pub(crate) fn files(&mut self, dir: &Path, takes: &dyn Fn(&str) -> bool) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.display().to_string();
            if path.is_dir() {
                self.files(&path, takes);
            } else if let Some(bytes) = takes(&name).then(|| std::fs::read(&path).ok()).flatten() {
                // Approvals keep what approvers are shown.
                match name.contains("/KV_CS_APPROVALS/") {
                    true => self.push_shown(name, bytes),
                    false => self.push(name, bytes),
                }
            }
        }
    }

    /// What the services say of themselves.
    pub(crate) async fn endpoints(&mut self, addresses: &[String]) {
        // Another test of this process may have installed it first, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        for address in addresses {
            for path in ["metrics", "healthz", "readyz"] {
                let url = format!("http://{address}/{path}");
                let told = client
                    .get(&url)
                    .send()
                    .await
                    .unwrap()
                    .bytes()
                    .await
                    .unwrap();
                self.push(url, told.to_vec());
            }
        }
    }
}

/// A collector of traces that keeps what it is sent.
#[derive(Clone, Default)]
pub(crate) struct Collector(Arc<Mutex<Vec<u8>>>);

impl Collector {
    /// Its endpoint.
    pub(crate) async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/v1/traces", post(Self::take))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        format!("http://{address}/v1/traces")
    }

    async fn take(State(collector): State<Self>, body: Bytes) {
        collector.0.lock().unwrap().extend(body);
    }

    /// Everything that came.
    pub(crate) fn seen(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}
