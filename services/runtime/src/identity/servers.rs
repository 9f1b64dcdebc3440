//! The running servers, seen through the system account: reload each, and see for
//! ourselves that a change is in force.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::bus::log_in;

/// How long a server may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How long after a reload a removed connection may last before that is an error.
const CUT_OFF_WAIT: Duration = Duration::from_secs(5);
/// How long the servers of a cluster are waited for.
const ROLL_CALL_WAIT: Duration = ANSWER_WAIT;
/// Pause between two looks at a server.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The identity that holds the system account.
const NAME: &str = "identity";
/// Servers of one cluster that are tried; 3 or 5 are usual.
const SERVERS_MAX: usize = 64;

/// How to reach the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAccess {
    /// One or more URLs, separated by commas.
    pub url: String,
    /// Certificate authority to trust, for TLS.
    pub tls_ca: Option<PathBuf>,
}

impl ServerAccess {
    fn urls(&self) -> Vec<String> {
        self.url
            .split(',')
            .map(|url| url.trim().to_owned())
            .filter(|url| !url.is_empty())
            .collect()
    }

    fn options(&self, name: &str, credential: &str) -> Result<ConnectOptions, ServersError> {
        let options = log_in(ConnectOptions::new(), credential)
            .map_err(failed(format!("use the credential of `{name}`")))?
            .name(format!("countersign {name}"))
            .custom_inbox_prefix(format!("_INBOX_{name}"))
            .connection_timeout(ANSWER_WAIT)
            .request_timeout(Some(ANSWER_WAIT))
            .max_reconnects(SERVERS_MAX)
            .event_callback(|event| async move {
                tracing::debug!(%event, "identity connection");
            });
        Ok(match &self.tls_ca {
            Some(ca) => options.add_root_certificates(ca.clone()).require_tls(true),
            None => options,
        })
    }
}

/// The servers cannot be asked, or do not do as told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServersError {
    /// Something answers, but not as our server.
    #[error(
        "a server answers at {url} but refuses the key of `identity` ({reason}): it runs \
         with other accounts than those of this deployment; give it this nats/accounts.conf \
         and reload it"
    )]
    Refused {
        /// Where.
        url: String,
        /// What it said.
        reason: String,
    },
    /// A request failed.
    #[error("cannot {act}: {reason}")]
    Request {
        /// What was tried.
        act: String,
        /// What happened.
        reason: String,
    },
    /// A server refused its new configuration.
    #[error("server `{server}` refused to reload: {reason}")]
    Reload {
        /// Which.
        server: String,
        /// What it said.
        reason: String,
    },
    /// A cut connection is still there.
    #[error(
        "server `{server}` still serves the removed key: it reads another accounts.conf; \
         copy this one there and run `countersign identity reload`"
    )]
    StillServed {
        /// Which.
        server: String,
    },
}

fn failed<E: std::fmt::Display>(act: impl Into<String>) -> impl FnOnce(E) -> ServersError {
    let act = act.into();
    move |reason| ServersError::Request {
        act,
        reason: reason.to_string(),
    }
}

/// A key and what must be true of it after the change.
#[derive(Clone)]
pub(super) struct Expected {
    /// The name of the identity.
    pub(super) name: String,
    /// The seed that is tried.
    pub(super) seed: String,
    /// Whether it must be let in.
    pub(super) admitted: bool,
}

/// Where a change is in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Servers that showed it.
    pub servers: Vec<String>,
    /// Servers that reloaded, but that cannot be reached from here to see it.
    pub unseen: Vec<String>,
    /// Servers that show the old state: they read another accounts.conf.
    pub stale: Vec<String>,
}

/// A connection to the system account.
pub(super) struct Servers {
    access: ServerAccess,
    seed: String,
    client: Client,
    /// The servers that answer, by id.
    present: BTreeMap<String, String>,
}

impl Servers {
    /// Connects as `identity` and calls the roll; `None` when no server runs.
    pub(super) async fn connect(
        access: &ServerAccess,
        seed: &str,
    ) -> Result<Option<Self>, ServersError> {
        let client = match access.options(NAME, seed)?.connect(access.urls()).await {
            Ok(client) => client,
            Err(error) if nobody_there(error.kind()) => return Ok(None),
            Err(error) => {
                return Err(ServersError::Refused {
                    url: access.url.clone(),
                    reason: error.to_string(),
                });
            }
        };
        let present = roll_call(&client).await?;
        Ok(Some(Self {
            access: access.clone(),
            seed: seed.to_owned(),
            client,
            present,
        }))
    }

    /// Has every server read its configuration again; ours last, because a new key for
    /// `identity` cuts this very connection.
    pub(super) async fn reload(&self) -> Result<(), ServersError> {
        let ours = self.client.server_info().server_id;
        for (id, name) in self.present.iter().filter(|(id, _)| **id != ours) {
            reloaded(name, &self.ask_reload(id).await?)?;
        }
        match self.ask_reload(&ours).await {
            Ok(answer) => reloaded("this one", &answer),
            // Whether it took effect is seen by the check that follows.
            Err(error) => {
                tracing::debug!(%error, "the answer to the reload was lost");
                Ok(())
            }
        }
    }

    async fn ask_reload(&self, id: &str) -> Result<Value, ServersError> {
        self.ask(format!("$SYS.REQ.SERVER.{id}.RELOAD"), &json!({}))
            .await
    }

    /// Waits until no server has a connection with `public_key`.
    pub(super) async fn cut_off(&self, public_key: &str) -> Result<(), ServersError> {
        let deadline = Instant::now() + CUT_OFF_WAIT;
        for (id, name) in &self.present {
            while self.connections(id, public_key).await? > 0 {
                if Instant::now() >= deadline {
                    return Err(ServersError::StillServed {
                        server: name.clone(),
                    });
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        Ok(())
    }

    async fn connections(&self, id: &str, public_key: &str) -> Result<u64, ServersError> {
        let query = json!({ "auth": true, "user": public_key, "state": 0, "limit": 1 });
        let answer = self
            .ask(format!("$SYS.REQ.SERVER.{id}.CONNZ"), &query)
            .await?;
        answer
            .pointer("/data/num_connections")
            .and_then(Value::as_u64)
            .ok_or_else(|| failed("count connections")("the answer holds no number"))
    }

    async fn ask(&self, subject: String, body: &Value) -> Result<Value, ServersError> {
        let act = format!("ask `{subject}`");
        let answer = self
            .client
            .request(subject, body.to_string().into())
            .await
            .map_err(failed(act.as_str()))?;
        serde_json::from_slice(&answer.payload).map_err(failed(act))
    }

    /// Connects with each key to every server that can be reached and compares.
    pub(super) async fn verify(&self, expected: &[Expected]) -> Verified {
        let mut urls = self.access.urls();
        urls.extend(self.discovered());
        let mut verified = Verified::default();
        let mut unseen = self.present.clone();
        for url in urls {
            if unseen.is_empty() {
                break;
            }
            let Some(id) = self.who_is_at(&url).await else {
                continue;
            };
            let Some(name) = unseen.remove(&id) else {
                continue;
            };
            if self.shows(&url, expected).await {
                verified.servers.push(name);
            } else {
                verified.stale.push(name);
            }
        }
        verified.unseen = unseen.into_values().collect();
        verified
    }

    /// Addresses that the servers tell clients of.
    fn discovered(&self) -> Vec<String> {
        let scheme = if self.access.url.starts_with("tls://") {
            "tls"
        } else {
            "nats"
        };
        self.client
            .server_info()
            .connect_urls
            .iter()
            .map(|address| format!("{scheme}://{address}"))
            .collect()
    }

    /// The id of the server at `url`.
    async fn who_is_at(&self, url: &str) -> Option<String> {
        let options = self.access.options(NAME, &self.seed).ok()?;
        let client = options.connect(url).await.ok()?;
        Some(client.server_info().server_id)
    }

    async fn shows(&self, url: &str, expected: &[Expected]) -> bool {
        for key in expected {
            // A credential that cannot be tried shows nothing, least of all a refusal.
            let Ok(options) = self.access.options(&key.name, &key.seed) else {
                return false;
            };
            if options.connect(url).await.is_ok() != key.admitted {
                return false;
            }
        }
        true
    }
}

fn nobody_there(kind: ConnectErrorKind) -> bool {
    matches!(kind, ConnectErrorKind::Io | ConnectErrorKind::Dns)
}

fn reloaded(server: &str, answer: &Value) -> Result<(), ServersError> {
    let Some(error) = answer.get("error") else {
        return Ok(());
    };
    let reason = error.get("description").and_then(Value::as_str);
    Err(ServersError::Reload {
        server: server.to_owned(),
        reason: reason.unwrap_or("no reason given").to_owned(),
    })
}

/// Asks every server to name itself, until as many have answered as they say there are.
async fn roll_call(client: &Client) -> Result<BTreeMap<String, String>, ServersError> {
    let act = "ask the servers for their names";
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(failed(act))?;
    client
        .publish_with_reply("$SYS.REQ.SERVER.PING", inbox, "".into())
        .await
        .map_err(failed(act))?;
    let mut present = BTreeMap::new();
    let mut expected = 1;
    let deadline = Instant::now() + ROLL_CALL_WAIT;
    while present.len() < expected {
        let Ok(Some(answer)) = tokio::time::timeout_at(deadline, answers.next()).await else {
            let found = present.len();
            return Err(failed(act)(format!(
                "{found} of {expected} servers answered"
            )));
        };
        let answer: Value = serde_json::from_slice(&answer.payload).map_err(failed(act))?;
        let text = |pointer| answer.pointer(pointer).and_then(Value::as_str);
        if let (Some(id), Some(name)) = (text("/server/id"), text("/server/name")) {
            present.insert(id.to_owned(), name.to_owned());
        }
        let active = answer.pointer("/statsz/active_servers");
        let active = active.and_then(Value::as_u64).unwrap_or(1);
        expected = expected.max(usize::try_from(active).unwrap_or(1));
    }
    Ok(present)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(url: &str) -> ServerAccess {
        ServerAccess {
            url: url.to_owned(),
            tls_ca: None,
        }
    }

    #[test]
    fn several_urls_are_separated_by_commas() {
        assert_eq!(
            access("nats://a:1, nats://b:2,").urls(),
            ["nats://a:1", "nats://b:2"]
        );
    }

    #[test]
    fn a_refused_reload_says_why() {
        assert!(reloaded("s1", &json!({ "server": {} })).is_ok());
        let answer = json!({ "error": { "code": 500, "description": "bad file" } });
        let error = reloaded("s1", &answer).unwrap_err().to_string();
        assert_eq!(error, "server `s1` refused to reload: bad file");
    }

    #[tokio::test]
    async fn a_credential_that_cannot_be_used_is_not_taken_for_a_server_that_is_off() {
        let half = "-----BEGIN NATS USER JWT-----\neyJ0\n------END NATS USER JWT------\n";
        let error = Servers::connect(&access("nats://127.0.0.1:1"), half).await;
        let told = error.err().map(|error| error.to_string()).unwrap();
        assert!(told.contains("the credential of `identity`"), "{told}");
        assert!(!told.contains("eyJ0"), "{told}");
    }

    #[tokio::test]
    async fn where_nobody_listens_no_server_runs() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        drop(listener);
        let seed = nkeys::KeyPair::new_user().seed().unwrap();
        let servers = Servers::connect(&access(&url), &seed).await.unwrap();
        assert!(servers.is_none());
    }
}
