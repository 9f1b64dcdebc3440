//! Waiting for the answer to what a person said about a window.

use std::time::Duration;

use countersign_domain::approvals::Listed;
use countersign_domain::windows::WindowListed;
use countersign_runtime::bus::Bus;
use countersign_schemas::events::{ApprovalVoted, ControlRefused, WindowClosed, WindowOpened};
use countersign_schemas::{Address, AgentId, ApprovalId, PersonId, WindowId};
use serde::Serialize;

use crate::client::{Awaited, Live, Received, last_by_subject, listen, until};
use crate::commands::approvals::Person;
use crate::exit::{CliError, Exit};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// What became of what a person said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Answered {
    pub(super) window_id: Option<WindowId>,
    /// Of a window that waits for others: what they are asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) approval_id: Option<ApprovalId>,
    /// `open`, `waiting`, `closed`, `refused`, or `stored` where no answer came in time.
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
            approval_id: None,
            state: "open",
            code: None,
        }
    }

    /// Others must approve too; the request was the first vote.
    fn waits(event: &ApprovalVoted) -> Self {
        let id = &event.approval_id;
        Self {
            window_id: None,
            approval_id: Some(id.clone()),
            state: "waiting",
            code: Some(event.code.clone()),
            message: format!(
                "it takes more people, who are asked now as approval {id}; your vote is \
                 {}\nlook: countersign approvals show {id}",
                event.message
            ),
        }
    }

    /// Others are asked already, since the same was wanted before.
    pub(super) fn waits_still(listed: &Listed) -> Self {
        let id = &listed.asked.approval_id;
        Self {
            window_id: None,
            approval_id: Some(id.clone()),
            state: "waiting",
            code: None,
            message: format!(
                "the same waits for others already as approval {id}; nothing was sent\n\
                 look: countersign approvals show {id}"
            ),
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
            approval_id: None,
            state: "open",
            code: None,
        }
    }

    /// What became of a window that could not even be closed.
    pub(super) fn failed(id: &WindowId, error: &CliError) -> Self {
        Self {
            window_id: Some(id.clone()),
            approval_id: None,
            state: match error {
                CliError::Unreachable(_) => "stored",
                _ => "refused",
            },
            code: None,
            message: error.to_string(),
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
            approval_id: None,
            state: "closed",
            code: Some(event.code.clone()),
        }
    }

    fn refused(event: &ControlRefused) -> Self {
        Self {
            window_id: None,
            approval_id: None,
            state: "refused",
            code: Some(event.code.clone()),
            message: event.message.clone(),
        }
    }

    fn stored() -> Self {
        Self {
            window_id: None,
            approval_id: None,
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
    answers: impl IntoIterator<Item = String>,
) -> Result<Live, CliError> {
    let refused = "control.refused.>".to_owned();
    listen(bus, answers.into_iter().chain([refused])).await
}

/// What became of the message that is waited for.
pub(super) async fn answered(
    mut live: Live,
    mut awaited: impl Awaited<Answer = Answered>,
) -> Answered {
    let answer = until(&mut live, &mut awaited, ANSWER_TIMEOUT).await;
    answer.unwrap_or_else(Answered::stored)
}

/// The window that the message at `sequence` asks for.
pub(super) struct Opened<'a> {
    pub(super) person: &'a Person,
    pub(super) agent: &'a AgentId,
    pub(super) sequence: u64,
}

impl Awaited for Opened<'_> {
    type Answer = Answered;

    fn hears(&mut self, message: &Received) -> Option<Answered> {
        let opened = read_opened(message, self.agent, self.sequence);
        opened
            .or_else(|| read_waits(message, &self.person.name, self.sequence))
            .or_else(|| read_refused(message, self.sequence))
    }

    async fn look(&mut self) -> Option<Answered> {
        let found = self.person.windows(Some(self.agent)).await;
        let (windows, _) = found.unwrap_or_default();
        let mut windows = windows.iter();
        if let Some(window) = windows.find(|window| is_of(&window.window_id, self.sequence)) {
            return Some(Answered::stands(window));
        }
        match vote_of(self.person, self.sequence).await {
            Some(waits) => Some(waits),
            None => refusal_of(&self.person.client.bus, self.sequence).await,
        }
    }
}

/// The end of a window that the message at `sequence` closes.
pub(super) struct Closed<'a> {
    pub(super) bus: &'a Bus,
    pub(super) id: &'a WindowId,
    pub(super) sequence: u64,
}

impl Awaited for Closed<'_> {
    type Answer = Answered;

    fn hears(&mut self, message: &Received) -> Option<Answered> {
        let ended = read_closed(message, self.id).map(|end| Answered::ended(&end));
        ended.or_else(|| read_refused(message, self.sequence))
    }

    async fn look(&mut self) -> Option<Answered> {
        match end_of(self.bus, self.id).await.unwrap_or_default() {
            Some(end) => Some(Answered::ended(&end)),
            None => refusal_of(self.bus, self.sequence).await,
        }
    }
}

/// The stored end of a window, if it has one.
pub(super) async fn end_of(bus: &Bus, id: &WindowId) -> Result<Option<WindowClosed>, CliError> {
    let found = last_by_subject(bus, &format!("window.closed.*.{id}")).await?;
    Ok(found.and_then(|found| read_closed(&found, id)))
}

async fn refusal_of(bus: &Bus, sequence: u64) -> Option<Answered> {
    let filter = format!("control.refused.*.{sequence}");
    let found = last_by_subject(bus, &filter).await.unwrap_or_default()?;
    read_refused(&found, sequence)
}

/// The answer to the vote that the request at `sequence` is.
async fn vote_of(person: &Person, sequence: u64) -> Option<Answered> {
    let filter = format!("approval.voted.*.*.{sequence}");
    let found = last_by_subject(&person.client.bus, &filter).await;
    read_waits(&found.unwrap_or_default()?, &person.name, sequence)
}

/// Whether a window was opened by the message at `sequence`.
fn is_of(id: &WindowId, sequence: u64) -> bool {
    id.as_str().ends_with(&format!("-{sequence}"))
}

/// That others are asked about one's own request.
fn read_waits(received: &Received, person: &PersonId, sequence: u64) -> Option<Answered> {
    let Address::ApprovalVoted { approval, seq } = &received.address else {
        return None;
    };
    let event = received.event::<ApprovalVoted>()?;
    let own = seq.seq == sequence
        && event.approval_id == *approval
        && event.approver == *person
        && approval.as_str() == format!("w-{}", seq.dashed());
    own.then(|| Answered::waits(&event))
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
