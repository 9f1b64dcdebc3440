//! Workers behind `work.<tool>`.

use async_nats::client::RequestErrorKind;
use async_nats::connection::State;
use async_nats::{Client, HeaderMap, HeaderValue, Message, Request};
use countersign_schemas::{headers, limits, subjects};
use tokio::time::timeout_at;

use super::{Call, End, TOOL_FAILED, Trouble, done};

/// The longest error code of a worker that is passed on.
const CODE_CHARS_MAX: usize = 32;

/// One request.
///
/// # Errors
/// The end of a call that never began.
pub(super) async fn call(client: &Client, call: &Call<'_>) -> Result<End, End> {
    let request = Request::new()
        .payload(call.body()?)
        .headers(header_map(call)?)
        // Our own deadline holds; the client's would be another one.
        .timeout(None);
    // The client would keep the request until it is connected again, and send it then.
    if client.connection_state() != State::Connected {
        return Err(End::failed(
            "unavailable",
            "the executor is not connected to NATS",
        ));
    }
    let subject = subjects::service::work(call.tool.name()).to_string();
    call.still_in_time()?;
    let answer = timeout_at(call.deadline, client.send_request(subject, request)).await;
    Ok(match answer {
        Err(_) => End::timeout(),
        Ok(Ok(message)) => read(&message),
        Ok(Err(error)) => match error.kind() {
            RequestErrorKind::NoResponders => {
                End::failed("unavailable", "no worker for this tool is connected")
            }
            RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                End::failed("not_begun", "the server cannot carry this call to a worker")
            }
            RequestErrorKind::TimedOut => End::timeout(),
            RequestErrorKind::Other => {
                End::unknown("connection_lost", "the connection was lost during the call")
            }
        },
    })
}

fn header_map(call: &Call<'_>) -> Result<HeaderMap, End> {
    let mut map = HeaderMap::new();
    for (name, value) in call.headers() {
        let value: HeaderValue = value
            .parse()
            .map_err(|_| End::failed("not_begun", "a header of the call cannot be written"))?;
        map.insert(name, value);
    }
    Ok(map)
}

fn read(message: &Message) -> End {
    let header = |name: &str| {
        let headers = message.headers.as_ref()?;
        headers.get(name).map(|value| value.as_str().to_owned())
    };
    let error = header(headers::SERVICE_ERROR);
    let code = header(headers::SERVICE_ERROR_CODE);
    if error.is_none() && code.is_none() {
        if message.payload.len() > limits::BODY_BYTES_MAX {
            return End::Done(None);
        }
        return done(&message.payload);
    }
    let code = code.filter(|code| is_code(code));
    End::Failed(Trouble {
        code_is_theirs: code.is_some(),
        code: code.unwrap_or_else(|| TOOL_FAILED.to_owned()),
        message: error.unwrap_or_else(|| "the worker reports a failure without words".to_owned()),
    })
}

fn is_code(text: &str) -> bool {
    (1..=CODE_CHARS_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}
