//! Asking a guardrail outside: one request to a NATS micro service, with a deadline. What
//! comes back is bounded and strict JSON, or it does not count.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::connection::State;
use async_nats::{Client, HeaderMap, Message, Request};
use countersign_domain::policy::Learnt;
use countersign_schemas::json::{JsonObject, parse_strict};
use countersign_schemas::{Token, headers, subjects};
use serde_json::Value;
use tokio::time::timeout;

/// Bytes of an answer: a result, two sentences and some teams, with room for spaces.
const REPLY_BYTES_MAX: usize = 16 * 1024;

/// Asks the service `name`, once. Whatever goes wrong is said in words that are our own:
/// those of the service are read later, as words of a stranger.
pub(crate) async fn ask(
    client: &Client,
    name: &Token,
    deadline: Duration,
    body: &JsonObject,
) -> Learnt {
    let learnt = request(client, name, deadline, body).await;
    if let Err(why) = &learnt {
        tracing::warn!(guardrail = %name, %why, "an external guardrail gave no answer");
    }
    learnt
}

async fn request(client: &Client, name: &Token, deadline: Duration, body: &JsonObject) -> Learnt {
    // The client would keep the request until it is connected again.
    if client.connection_state() != State::Connected {
        return Err("the checker is not connected to NATS".to_owned());
    }
    let body = serde_json::to_vec(body).map_err(|_| "its question cannot be written".to_owned())?;
    let request = Request::new()
        .payload(body.into())
        // Our own deadline holds; the client's would be another one.
        .timeout(None);
    let subject = subjects::service::guardrail(name).to_string();
    match timeout(deadline, client.send_request(subject, request)).await {
        Err(_) => Err(late(deadline)),
        Ok(Ok(message)) => read(&message),
        Ok(Err(error)) => Err(match error.kind() {
            RequestErrorKind::NoResponders => "nobody serves it".to_owned(),
            RequestErrorKind::TimedOut => late(deadline),
            RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                "the server cannot carry the question".to_owned()
            }
            RequestErrorKind::Other => "the connection was lost".to_owned(),
        }),
    }
}

fn late(deadline: Duration) -> String {
    format!("it did not answer within {} ms", deadline.as_millis())
}

fn read(message: &Message) -> Learnt {
    answer(message.headers.as_ref(), &message.payload)
}

fn answer(found: Option<&HeaderMap>, payload: &[u8]) -> Learnt {
    let failed = |name| found.is_some_and(|found| found.get(name).is_some());
    if failed(headers::SERVICE_ERROR) || failed(headers::SERVICE_ERROR_CODE) {
        return Err("it reports a failure".to_owned());
    }
    if payload.len() > REPLY_BYTES_MAX {
        return Err(format!("its answer is larger than {REPLY_BYTES_MAX} bytes"));
    }
    match parse_strict(payload) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) | Err(_) => Err("its answer is not one strict JSON object".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_counts_if_it_is_small_and_strict() {
        let sound = br#"{"result": "pass", "message": "fine"}"#;
        assert_eq!(
            answer(None, sound),
            Ok(json!({"result": "pass", "message": "fine"}))
        );
        let large = format!(
            r#"{{"result": "pass", "message": "{}"}}"#,
            "x".repeat(REPLY_BYTES_MAX)
        );
        let deep = format!("{}1{}", "{\"a\":".repeat(70), "}".repeat(70));
        let bad: [&[u8]; 10] = [
            b"",
            b"pass",
            b"\"pass\"",
            b"[]",
            b"null",
            b"{\"result\": \"deny\", \"result\": \"pass\", \"message\": \"m\"}",
            b"{\"result\": \"pass\", \"message\": \"m\"} {}",
            b"{\"result\": \"pass\", \"message\": \"\xff\"}",
            large.as_bytes(),
            deep.as_bytes(),
        ];
        for payload in bad {
            let shown = String::from_utf8_lossy(payload);
            assert!(answer(None, payload).is_err(), "{shown:.60}");
        }
        for name in [headers::SERVICE_ERROR, headers::SERVICE_ERROR_CODE] {
            let mut failed = HeaderMap::new();
            failed.insert(name, "500");
            assert!(answer(Some(&failed), sound).is_err(), "{name}");
        }
    }
}
