//! Workers behind HTTP.

mod punctual;

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_domain::policy::Template;
use countersign_schemas::limits;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Body, Client, Method, Response, StatusCode};
use tokio::time::{Instant, timeout_at};

use punctual::Punctual;

use super::{Call, End, done};

/// How long a connection may take, TLS included: past it the worker counts as unreachable,
/// and nothing has been sent. A call takes the longest that lets it begin in time. There is a
/// client for each, because a time-out belongs to a client and making one reads every root
/// certificate of the machine.
const CONNECT_TIMEOUTS: [Duration; 4] = [
    Duration::from_millis(1_800),
    Duration::from_millis(900),
    Duration::from_millis(450),
    Duration::from_millis(225),
];
/// Bytes of an error page that are read for its words.
const ERROR_BYTES_MAX: usize = 4 * 1024;

/// Where a call goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route<'a> {
    pub(super) method: &'a str,
    pub(super) service: &'a str,
    pub(super) path: &'a Template,
}

/// The HTTP clients, by how long a connection may take, and the base URL of each service.
#[derive(Debug)]
pub(super) struct Http {
    clients: Vec<(Duration, Client)>,
    bases: BTreeMap<String, String>,
}

impl Http {
    pub(super) fn new(bases: BTreeMap<String, String>) -> Result<Self, String> {
        // Another part of the process may have installed it first, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let clients = CONNECT_TIMEOUTS
            .into_iter()
            .map(|within| Ok((within, client(within)?)))
            .collect::<Result<_, String>>()?;
        Ok(Self { clients, bases })
    }

    /// The client whose connections stand in time for `call`, if there is time for one.
    fn client(&self, call: &Call<'_>) -> Result<&Client, End> {
        let rest = call.begin_by.saturating_duration_since(Instant::now());
        let fitting = self.clients.iter().find(|(within, _)| *within <= rest);
        fitting.map(|(_, client)| client).ok_or_else(End::too_late)
    }

    /// One request.
    ///
    /// # Errors
    /// The end of a call that never began.
    pub(super) async fn call(&self, route: Route<'_>, call: &Call<'_>) -> Result<End, End> {
        let url = self.url(route, call)?;
        let method = Method::from_bytes(route.method.as_bytes())
            .map_err(|_| End::failed("not_begun", "the catalog names no HTTP method"))?;
        let body = call.body()?;
        let mut request = self.client(call)?.request(method, url);
        for (name, value) in call.headers() {
            request = request.header(name, value);
        }
        let (body, late) = Punctual::new(body, call.begin_by);
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .body(Body::wrap(body));
        let sent = timeout_at(call.deadline, request.send()).await;
        if late.is_late() {
            return Err(End::too_late());
        }
        Ok(match sent {
            Err(_) => End::timeout(),
            Ok(Err(error)) => broken(&error),
            Ok(Ok(response)) => read(response, call.deadline).await,
        })
    }

    fn url(&self, route: Route<'_>, call: &Call<'_>) -> Result<String, End> {
        let base = self.bases.get(route.service).ok_or_else(|| {
            End::failed(
                "unavailable",
                format!("tool_executor.http has no base URL for `{}`", route.service),
            )
        })?;
        let path = route.path.path(&call.input.0).ok_or_else(|| {
            End::failed("not_begun", "the input does not fill the path of the tool")
        })?;
        Ok(format!("{}{path}", base.trim_end_matches('/')))
    }
}

fn client(connect_within: Duration) -> Result<Client, String> {
    Client::builder()
        .connect_timeout(connect_within)
        // An answer from elsewhere is not the worker's, and a permit is not for it.
        .redirect(Policy::none())
        // A kept connection that the worker closes at the wrong moment would turn a
        // call that never arrived into one of unknown outcome.
        .pool_max_idle_per_host(0)
        .no_proxy()
        .build()
        .map_err(|error| format!("cannot build an HTTP client: {error}"))
}

/// A request without an answer.
fn broken(error: &reqwest::Error) -> End {
    if error.is_builder() {
        return End::failed("not_begun", "the address of the worker is not a URL");
    }
    if error.is_connect() {
        return End::failed("unavailable", "the worker cannot be reached");
    }
    End::unknown("connection_lost", "the connection was lost during the call")
}

/// The status says how it ended; a body that never comes does not take that back.
async fn read(mut response: Response, deadline: Instant) -> End {
    let status = response.status();
    if status.is_success() {
        return match body(&mut response, limits::BODY_BYTES_MAX, deadline).await {
            Some(bytes) => done(&bytes),
            None => End::Done(None),
        };
    }
    let code = format!("http_{}", status.as_u16());
    if status.is_client_error() {
        let said = body(&mut response, ERROR_BYTES_MAX, deadline).await;
        let said = said.unwrap_or_default();
        return End::failed(&code, words(status, &said));
    }
    End::unknown(&code, format!("the worker answered {status}"))
}

/// The body if it is no longer than `most` and arrives whole and in time.
async fn body(response: &mut Response, most: usize, deadline: Instant) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = timeout_at(deadline, response.chunk()).await.ok()?.ok()? {
        if bytes.len() + chunk.len() > most {
            return None;
        }
        bytes.extend_from_slice(&chunk);
    }
    Some(bytes)
}

/// The worker's words, or those of the status where it has none.
fn words(status: StatusCode, body: &[u8]) -> String {
    let said = String::from_utf8_lossy(body);
    if said.trim().is_empty() {
        format!("the worker answered {status}")
    } else {
        said.into_owned()
    }
}

#[cfg(test)]
mod tests;
