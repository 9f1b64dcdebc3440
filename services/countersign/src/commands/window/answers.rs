//! Waiting for the answer to what a person said about a window.

use std::time::Duration;

use countersign_domain::windows::WindowListed;
use countersign_runtime::bus::Bus;
use countersign_schemas::events::{ControlRefused, WindowClosed, WindowOpened};
use countersign_schemas::{Address, AgentId, WindowId};
use futures::StreamExt as _;
use futures::stream::{SelectAll, select_all};
use serde::Serialize;
use tokio::time::{Instant, interval, sleep_until};

use crate::client::{Received, last_by_subject};
use crate::commands::approvals::Person;
use crate::exit::{CliError, Exit};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How often the stored answer is looked for, should the live one be lost.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What became of what a person said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Answered {
    pub(super) window_id: Option<WindowId>,
    /// `open`, `closed`, `refused`, or `stored` where no answer came in time.
    pub(super) state: &'static str,
    /// As in the event that answers.
    pub(super) code: Option<String>,
    pub(super) message: String,
}

impl Answered {
    pub(super) fn exit(&self) -> Exit {
        match self.state {
            "open" | "closed" => Exit::Done,
            "refused" => Exit::Denied,
            _ => Exit::Pending,
        }
    }

    fn opened(event: &WindowOpened) -> Self {
        Self {
            message: format!(
                "window {} is open until {}",
                event.window_id, event.expires_at
            ),
            window_id: Some(event.window_id.clone()),
            state: "open",
            code: None,
        }
    }

    /// The window that is there already.
    pub(super) fn stands(window: &WindowListed) -> Self {
        Self {
            message: format!(
                "window {} is open until {}",
                window.window_id, window.expires_at
            ),
            window_id: Some(window.window_id.clone()),
            state: "open",
            code: None,
        }
    }

    /// The end of a window, whoever brought it.
    pub(super) fn ended(event: &WindowClosed) -> Self {
        let by = match &event.by {
            Some(by) => format!("closed by {by}"),
            None => "over".to_owned(),
        };
        let total = match &event.total {
            Some(total) => format!(" for {total}"),
            None => String::new(),
        };
        Self {
            message: format!(
                "window {} is {by} since {}; it was used {} times{total}",
                event.window_id, event.closed_at, event.uses
            ),
            window_id: Some(event.window_id.clone()),
            state: "closed",
            code: Some(event.code.clone()),
        }
    }

    fn refused(event: &ControlRefused) -> Self {
        Self {
            window_id: None,
            state: "refused",
            code: Some(event.code.clone()),
            message: event.message.clone(),
        }
    }

    fn stored() -> Self {
        Self {
            window_id: None,
            state: "stored",
            code: None,
            message: "it is stored, but nobody has answered it yet; look again with `window list`"
                .to_owned(),
        }
    }
}

/// Messages that may be the answer, from now on.
pub(super) async fn live(
    bus: &Bus,
    answer: &str,
) -> Result<SelectAll<async_nats::Subscriber>, CliError> {
    let client = bus.client();
    let mut all = Vec::new();
    for subject in [answer, "control.refused.>"] {
        let subscribed = client.subscribe(subject.to_owned()).await;
        all.push(subscribed.map_err(CliError::unreachable)?);
    }
    client.flush().await.map_err(CliError::unreachable)?;
    Ok(select_all(all))
}

/// The answer to a request for a window that lies at `sequence`.
pub(super) async fn opened(
    person: &Person,
    mut live: SelectAll<async_nats::Subscriber>,
    agent: &AgentId,
    sequence: u64,
) -> Result<Answered, CliError> {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let mut look = interval(LOOK_EVERY);
    loop {
        let received = tokio::select! {
            Some(message) = live.next() => Received::live(message),
            _ = look.tick() => {
                let windows = person.windows().await.unwrap_or_default().0;
                let own = windows.iter().find(|window| is_of(&window.window_id, sequence));
                if let Some(window) = own {
                    return Ok(Answered::stands(window));
                }
                refusal_of(&person.client.bus, sequence).await
            }
            () = sleep_until(deadline) => return Ok(Answered::stored()),
        };
        let answered = received.and_then(|received| {
            let opened = read_opened(&received, agent, sequence);
            opened.or_else(|| read_refused(&received, sequence))
        });
        if let Some(answered) = answered {
            return Ok(answered);
        }
    }
}

/// The answer to closing a window with the message at `sequence`.
pub(super) async fn closed(
    bus: &Bus,
    mut live: SelectAll<async_nats::Subscriber>,
    id: &WindowId,
    sequence: u64,
) -> Result<Answered, CliError> {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let mut look = interval(LOOK_EVERY);
    loop {
        let received = tokio::select! {
            Some(message) = live.next() => Received::live(message),
            _ = look.tick() => {
                if let Some(end) = end_of(bus, id).await? {
                    return Ok(Answered::ended(&end));
                }
                refusal_of(bus, sequence).await
            }
            () = sleep_until(deadline) => return Ok(Answered::stored()),
        };
        let answered = received.and_then(|received| {
            let ended = read_closed(&received, id).map(|end| Answered::ended(&end));
            ended.or_else(|| read_refused(&received, sequence))
        });
        if let Some(answered) = answered {
            return Ok(answered);
        }
    }
}

/// The stored end of a window, if it has one.
pub(super) async fn end_of(bus: &Bus, id: &WindowId) -> Result<Option<WindowClosed>, CliError> {
    let found = last_by_subject(bus, &format!("window.closed.*.{id}")).await?;
    Ok(found.and_then(|found| read_closed(&found, id)))
}

async fn refusal_of(bus: &Bus, sequence: u64) -> Option<Received> {
    let filter = format!("control.refused.*.{sequence}");
    last_by_subject(bus, &filter).await.unwrap_or_default()
}

/// Whether a window was opened by the message at `sequence`.
fn is_of(id: &WindowId, sequence: u64) -> bool {
    id.as_str().ends_with(&format!("-{sequence}"))
}

fn read_opened(received: &Received, agent: &AgentId, sequence: u64) -> Option<Answered> {
    let Address::WindowOpened { agent: of, window } = &received.address else {
        return None;
    };
    let event = received.event::<WindowOpened>()?;
    let ours = of == agent && event.window_id == *window && event.agent == *agent;
    (ours && is_of(window, sequence)).then(|| Answered::opened(&event))
}

fn read_closed(received: &Received, id: &WindowId) -> Option<WindowClosed> {
    let Address::WindowClosed { agent, window } = &received.address else {
        return None;
    };
    let event = received.event::<WindowClosed>()?;
    let genuine = window == id && event.window_id == *id && event.agent == *agent;
    genuine.then_some(event)
}

fn read_refused(received: &Received, sequence: u64) -> Option<Answered> {
    match &received.address {
        Address::ControlRefused { seq } if seq.seq == sequence => received
            .event::<ControlRefused>()
            .map(|event| Answered::refused(&event)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_schemas::Event;

    fn golden<E: Event>() -> E {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/golden");
        let file = format!("{folder}/{}/v1.json", E::NAME);
        countersign_schemas::codec::decode(&std::fs::read(file).unwrap()).unwrap()
    }

    #[test]
    fn only_the_answer_to_ones_own_message_is_taken() {
        let opened: WindowOpened = golden();
        let named = countersign_schemas::headers::ce_type::<WindowOpened>();
        let at = |window: &str| {
            let address = Address::WindowOpened {
                agent: opened.agent.clone(),
                window: window.parse().unwrap(),
            };
            Received::for_test(address, &named, &opened)
        };
        let (own, agent) = (at(opened.window_id.as_str()), &opened.agent);
        let answered = read_opened(&own, agent, 17).unwrap();
        assert_eq!((answered.state, answered.exit()), ("open", Exit::Done));
        assert!(read_opened(&own, agent, 7).is_none(), "another message");
        assert!(
            read_opened(&at("w-abc-17"), agent, 17).is_none(),
            "another subject"
        );
        assert!(read_opened(&own, &"crm".parse().unwrap(), 17).is_none());
        assert!(read_closed(&own, &opened.window_id).is_none());
    }

    #[test]
    fn an_end_says_who_brought_it_and_what_was_used() {
        let event: WindowClosed = golden();
        let answered = Answered::ended(&event);
        assert_eq!(
            answered.message,
            "window w-313jn9k2h8a4e-17 is closed by lee since 2026-11-22T10:40:00Z; it was used \
             12 times for 1446.00"
        );
        let over = WindowClosed {
            by: None,
            total: None,
            ..event
        };
        assert!(Answered::ended(&over).message.contains("is over since"));
    }

    #[test]
    fn a_refusal_is_told_in_its_own_words() {
        let refused: ControlRefused = golden();
        let named = countersign_schemas::headers::ce_type::<ControlRefused>();
        let seq = countersign_schemas::SeqToken::new("abc".parse().unwrap(), 9);
        let received = Received::for_test(Address::ControlRefused { seq }, &named, &refused);
        let answered = read_refused(&received, 9).unwrap();
        assert_eq!(answered.exit(), Exit::Denied);
        assert_eq!(answered.message, refused.message);
        assert!(read_refused(&received, 8).is_none());
        assert_eq!(Answered::stored().exit(), Exit::Pending);
    }
}
