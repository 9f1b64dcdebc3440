//! The company's own tools: a CRM behind HTTP and an office worker on NATS. They know
//! nothing of Countersign but the worker contract: three headers and two public keys.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use async_nats::{Client, ConnectOptions, HeaderMap, Message};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap as HttpHeaders, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use countersign_runtime::config::Config;
use countersign_schemas::subjects::service::WORK_QUEUE;
use countersign_schemas::{JsonObject, headers};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::desk::Desk;
use super::prepare::Place;
use crate::commands::init::WORKER;

/// The name of the CRM in the catalog's bindings, and so in claim tokens.
pub(crate) const CRM: &str = "crm";
/// The name that claim tokens for tools on NATS carry.
const ON_NATS: &str = "nats";
/// The one contact of the story.
pub(crate) const CONTACT: &str = "C-1042";
/// Personal data that the CRM holds about it.
pub(crate) const CONTACT_EMAIL: &str = "ines.okafor@bluewater.example";
pub(crate) const CONTACT_PHONE: &str = "+44 20 7946 0958";
pub(crate) const CONTACT_NAME: &str = "Ines Okafor";

/// The contacts, by id.
type Contacts = Arc<Mutex<BTreeMap<String, JsonObject>>>;

/// The running tools. Dropping it stops them.
pub(crate) struct Company {
    /// What the CRM did.
    pub(crate) crm: Arc<Desk>,
    /// What the office did.
    pub(crate) office: Arc<Desk>,
    address: SocketAddr,
    contacts: Contacts,
    tasks: Vec<JoinHandle<()>>,
}

/// The CRM's socket, bound before the services start: they are told where it listens.
pub(crate) struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

/// Takes a free port for the CRM.
///
/// # Errors
/// When there is none.
pub(crate) async fn listen() -> anyhow::Result<Listening> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(any).await;
    let listener = listener.context("cannot find a free port on 127.0.0.1")?;
    let address = listener.local_addr()?;
    Ok(Listening { listener, address })
}

impl Listening {
    /// The CRM's base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Company {
    /// Opens the CRM and the office.
    ///
    /// # Errors
    /// When the keys cannot be read or the server refuses the office's credential.
    pub(crate) async fn open(
        config: &Config,
        listening: Listening,
        place: &Place,
    ) -> anyhow::Result<Self> {
        let crm = Arc::new(Desk::open(config, CRM)?);
        let office = Arc::new(Desk::open(config, ON_NATS)?);
        let contacts: Contacts = Arc::default();
        lock(&contacts).insert(CONTACT.to_owned(), first_contact());
        let served = serve_crm(listening.listener, Arc::clone(&crm), Arc::clone(&contacts));
        let worked = serve_office(&config.nats.url, place, Arc::clone(&office)).await?;
        Ok(Self {
            crm,
            office,
            address: listening.address,
            contacts,
            tasks: vec![served, worked],
        })
    }

    /// The CRM's base URL.
    pub(crate) fn crm_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A field of a contact as the CRM holds it now.
    pub(crate) fn contact_field(&self, id: &str, field: &str) -> Option<Value> {
        lock(&self.contacts).get(id)?.0.get(field).cloned()
    }
}

impl Drop for Company {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn lock(
    contacts: &Mutex<BTreeMap<String, JsonObject>>,
) -> std::sync::MutexGuard<'_, BTreeMap<String, JsonObject>> {
    contacts.lock().unwrap_or_else(PoisonError::into_inner)
}

fn first_contact() -> JsonObject {
    let contact = json!({
        "contact_id": CONTACT,
        "name": CONTACT_NAME,
        "email": CONTACT_EMAIL,
        "phone": CONTACT_PHONE,
        "segment": "wholesale",
        "credit_limit": 2_000,
    });
    JsonObject::from_value(contact).unwrap_or_default()
}

#[derive(Clone)]
struct Crm {
    desk: Arc<Desk>,
    contacts: Contacts,
}

fn serve_crm(listener: TcpListener, desk: Arc<Desk>, contacts: Contacts) -> JoinHandle<()> {
    let app = Router::new()
        .route("/contacts/{id}", get(read_contact).patch(update_contact))
        .with_state(Crm { desk, contacts });
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "the CRM of the demo ended");
        }
    })
}

async fn read_contact(
    State(crm): State<Crm>,
    Path(id): Path<String>,
    headers: HttpHeaders,
    body: Bytes,
) -> Response {
    if let Err(refusal) = admitted(&crm, "crm.read_contact", &headers, &body) {
        return refusal;
    }
    match lock(&crm.contacts).get(&id) {
        Some(contact) => axum::Json(contact.to_value()).into_response(),
        None => (StatusCode::NOT_FOUND, "no such contact").into_response(),
    }
}

async fn update_contact(
    State(crm): State<Crm>,
    Path(id): Path<String>,
    headers: HttpHeaders,
    body: Bytes,
) -> Response {
    let input = match admitted(&crm, "crm.update_contact", &headers, &body) {
        Ok(input) => input,
        Err(refusal) => return refusal,
    };
    let mut contacts = lock(&crm.contacts);
    let Some(contact) = contacts.get_mut(&id) else {
        return (StatusCode::NOT_FOUND, "no such contact").into_response();
    };
    let mut changes = Vec::new();
    for (field, value) in input.0.into_iter().filter(|(name, _)| name != "contact_id") {
        let before = contact.0.insert(field.clone(), value.clone());
        changes.push(json!({
            "resource": format!("contact/{id}"),
            "field": field,
            "before": before.as_ref().map(as_text),
            "after": as_text(&value),
        }));
    }
    axum::Json(json!({
        "contact_id": id,
        "updated": changes.len(),
        "changes": changes,
    }))
    .into_response()
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The CRM answers nobody without proofs.
#[expect(
    clippy::result_large_err,
    reason = "axum's own response type, made once a call"
)]
fn admitted(
    crm: &Crm,
    tool: &str,
    headers: &HttpHeaders,
    body: &[u8],
) -> Result<JsonObject, Response> {
    let header = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
    crm.desk.admit(tool, body, header).map_err(|(code, words)| {
        (StatusCode::FORBIDDEN, format!("{code}: {words}")).into_response()
    })
}

/// Listens on `work.<tool>` for each of the office's tools.
async fn serve_office(url: &str, place: &Place, desk: Arc<Desk>) -> anyhow::Result<JoinHandle<()>> {
    let client = ConnectOptions::new()
        .name(WORKER)
        .nkey(place.worker_seed()?)
        .custom_inbox_prefix(format!("_INBOX_{WORKER}"))
        .connect(url)
        .await
        .context("the server refuses the worker")?;
    let mut calls = Vec::new();
    for tool in place.nats_tools()? {
        let queue = WORK_QUEUE.to_owned();
        calls.push(
            client
                .queue_subscribe(format!("work.{tool}"), queue)
                .await?,
        );
    }
    client.flush().await?;
    Ok(tokio::spawn(async move {
        let mut calls = futures::stream::select_all(calls);
        while let Some(call) = calls.next().await {
            answer(&client, &desk, call).await;
        }
    }))
}

async fn answer(client: &Client, desk: &Desk, call: Message) {
    let Some(reply) = call.reply.clone() else {
        return;
    };
    let tool = call.subject.strip_prefix("work.").unwrap_or_default();
    let header = |name: &str| {
        let headers = call.headers.as_ref()?;
        headers.get(name).map(ToString::to_string)
    };
    let mut said = HeaderMap::new();
    let body = match desk.admit(tool, &call.payload, header) {
        Ok(input) => work(tool, &input, desk.done()).to_string(),
        Err((code, words)) => {
            said.insert(headers::SERVICE_ERROR, words);
            said.insert(headers::SERVICE_ERROR_CODE, code);
            String::new()
        }
    };
    if let Err(error) = client.publish_with_headers(reply, said, body.into()).await {
        tracing::error!(%error, "the office of the demo cannot answer");
    }
}

/// What the office does.
fn work(tool: &str, input: &JsonObject, nth: usize) -> Value {
    let text = |name: &str| {
        input
            .0
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    match tool {
        "mail.send" => {
            let to = input
                .0
                .get("to")
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            json!({"message_id": format!("m-{nth}"), "accepted": to})
        }
        "invoice.create_draft" => json!({
            "draft_id": format!("D-{}", 7_000 + nth),
            "total": text("total"),
            "changes": [{
                "resource": format!("order/{}", text("order_id")),
                "field": "invoice_draft",
                "before": null,
                "after": format!("D-{}", 7_000 + nth),
            }],
        }),
        _ => json!({"hits": [{"title": "Returns and refunds", "link": "handbook/returns"}]}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_office_answers_each_of_its_tools() {
        let object = |value: Value| JsonObject::from_value(value).unwrap();
        let letter = object(json!({"to": ["a@x.example", "b@x.example"]}));
        assert_eq!(
            work("mail.send", &letter, 3),
            json!({"message_id": "m-3", "accepted": 2})
        );
        let order = object(json!({"order_id": "O-1", "total": "9.50"}));
        let draft = work("invoice.create_draft", &order, 1);
        assert_eq!(draft["draft_id"], "D-7001");
        assert_eq!(draft["total"], "9.50");
        assert_eq!(draft["changes"][0]["resource"], "order/O-1");
        assert!(work("docs.search", &JsonObject::default(), 0)["hits"].is_array());
    }

    #[test]
    fn a_changed_value_is_told_as_text() {
        for (value, text) in [
            (json!("x"), "x"),
            (json!(5), "5"),
            (json!(true), "true"),
            (json!(["a"]), "[\"a\"]"),
        ] {
            assert_eq!(as_text(&value), text);
        }
        let contact = first_contact();
        assert_eq!(contact.0["contact_id"], CONTACT);
        assert!(
            contact.0.get("portal_pin").is_none(),
            "it is set in the story"
        );
    }
}
