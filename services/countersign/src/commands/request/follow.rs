//! Waits for the end of an intent: live messages, and a look at what is stored at the
//! start and every few seconds, because a live message may be lost.

use std::time::Duration;

use async_nats::{Message, Subscriber};
use countersign_runtime::bus::Bus;
use countersign_schemas::{Address, AgentId, IntentId};
use futures::StreamExt as _;
use futures::stream::{Select, select};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::client::{IntentEvent, Received, last_by_subject};
use crate::exit::CliError;

/// How often the stored messages are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Which events count as an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// Everything about the intent.
    Anything,
    /// What answers the request stored at this sequence.
    Request(u64),
    /// What becomes of the intent after the withdrawal stored at this sequence.
    Withdrawal(u64),
}

impl Awaited {
    /// The message whose refusal would be the answer.
    fn sequence(self) -> Option<u64> {
        match self {
            Self::Anything => None,
            Self::Request(sequence) | Self::Withdrawal(sequence) => Some(sequence),
        }
    }

    /// Whether nothing that comes after `event` can change the answer.
    fn is_over(self, event: &IntentEvent) -> bool {
        match (self, event) {
            // What has begun runs to its end, and a withdrawal hears no more.
            (Self::Withdrawal(_), IntentEvent::Started(_)) => true,
            (Self::Anything | Self::Request(_) | Self::Withdrawal(_), event) => {
                event.exit().is_some()
            }
        }
    }
}

/// What is known about one intent.
pub(crate) struct Follower<'a> {
    bus: &'a Bus,
    agent: AgentId,
    intent: IntentId,
    live: Select<Subscriber, Subscriber>,
    awaited: Awaited,
    last: Option<IntentEvent>,
    trouble: Option<CliError>,
}

impl<'a> Follower<'a> {
    /// Subscribes; what is published after this returns is not missed.
    pub(crate) async fn start(
        bus: &'a Bus,
        agent: AgentId,
        intent: IntentId,
    ) -> Result<Self, CliError> {
        let chain = subscribe(bus, Address::chain_filter(&agent, intent)).await?;
        let refusals = subscribe(bus, format!("tool.refused.{agent}.*.*")).await?;
        bus.client().flush().await.map_err(CliError::unreachable)?;
        Ok(Self {
            bus,
            agent,
            intent,
            live: select(chain, refusals),
            awaited: Awaited::Anything,
            last: None,
            trouble: None,
        })
    }

    /// From now on only what answers the request with this sequence counts.
    pub(super) fn only_answers_to(&mut self, sequence: u64) {
        self.awaited = Awaited::Request(sequence);
    }

    /// From now on the end of the intent counts, and the refusal of the withdrawal with
    /// this sequence.
    pub(crate) fn withdrawn_at(&mut self, sequence: u64) {
        self.awaited = Awaited::Withdrawal(sequence);
    }

    /// The event that ends the intent, or the last one when the time is over.
    pub(crate) async fn until(&mut self, wait: Duration) -> Result<Option<IntentEvent>, CliError> {
        let deadline = Instant::now() + wait;
        self.look().await;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.reset();
        while !self.is_over() {
            tokio::select! {
                biased;
                Some(message) = self.live.next() => self.hear(message),
                _ = look.tick() => self.look().await,
                () = sleep_until(deadline) => break,
            }
        }
        match (self.last.take(), self.trouble.take()) {
            (None, Some(trouble)) => Err(trouble),
            (last, _) => Ok(last),
        }
    }

    fn is_over(&self) -> bool {
        self.last
            .as_ref()
            .is_some_and(|event| self.awaited.is_over(event))
    }

    fn hear(&mut self, message: Message) {
        if let Some(event) = Received::live(message).and_then(|message| IntentEvent::read(&message))
        {
            self.consider(event);
        }
    }

    /// Reads what is stored; a failure is told only if nothing better comes.
    async fn look(&mut self) {
        self.trouble = None;
        let refusal = self
            .awaited
            .sequence()
            .map(|sequence| format!("tool.refused.{}.*.{sequence}", self.agent));
        let chain = Address::chain_filter(&self.agent, self.intent);
        for filter in refusal.into_iter().chain([chain]) {
            match last_by_subject(self.bus, &filter).await {
                Ok(Some(message)) => {
                    if let Some(event) = IntentEvent::read(&message) {
                        self.consider(event);
                    }
                }
                Ok(None) => {}
                Err(trouble) => self.trouble = Some(trouble),
            }
        }
    }

    fn consider(&mut self, event: IntentEvent) {
        let newer = self
            .last
            .as_ref()
            .is_none_or(|last| event.stage() > last.stage());
        if newer && is_answer(&event, self.intent, self.awaited) {
            self.last = Some(event);
        }
    }
}

/// Whether `event` is about this intent and what was awaited.
fn is_answer(event: &IntentEvent, intent: IntentId, awaited: Awaited) -> bool {
    match (event, event.answers()) {
        // Refusals of other messages come on the same subscription.
        (IntentEvent::Refused(refused), answered) => match awaited.sequence() {
            Some(sequence) => answered == Some(sequence),
            None => refused.intent_id == Some(intent),
        },
        (_, Some(answered)) => match awaited {
            Awaited::Request(sequence) => answered == sequence,
            Awaited::Anything | Awaited::Withdrawal(_) => true,
        },
        (_, None) => true,
    }
}

async fn subscribe(bus: &Bus, subject: String) -> Result<Subscriber, CliError> {
    let failed = format!("cannot subscribe to `{subject}`");
    bus.client()
        .subscribe(subject)
        .await
        .map_err(|error| CliError::Unreachable(format!("{failed}: {error}")))
}

#[cfg(test)]
mod tests {
    use countersign_schemas::events::{ToolBlocked, ToolCompleted, ToolRefused};

    use super::*;
    use crate::client::golden;

    /// One agent may have many intents under way, and asks twice under one id: only the
    /// answer to this message is its answer.
    #[test]
    fn only_what_answers_this_message_ends_the_wait() {
        let blocked: ToolBlocked = golden();
        let intent = blocked.intent_id;
        let seq = blocked.request.seq;
        let another = "0190b3a0-0000-7000-8000-0000000000aa".parse().unwrap();
        let refused = |of: Option<IntentId>| {
            let event: ToolRefused = golden();
            let mut event = ToolRefused {
                intent_id: of,
                ..event
            };
            event.request.seq = seq;
            IntentEvent::Refused(event)
        };
        let completed: ToolCompleted = golden();
        let blocked = IntentEvent::Blocked(Box::new(blocked));
        let completed = IntentEvent::Completed(Box::new(completed));
        let table = [
            ("our refusal", refused(Some(intent)), Some(seq), true),
            (
                "a refusal of bytes nobody could read",
                refused(None),
                Some(seq),
                true,
            ),
            (
                "another message's",
                refused(Some(intent)),
                Some(seq + 1),
                false,
            ),
            ("looked up by id", refused(Some(intent)), None, true),
            ("looked up, another's", refused(Some(another)), None, false),
            ("looked up, nobody's", refused(None), None, false),
            ("our block", blocked.clone(), Some(seq), true),
            (
                "the block of an earlier message",
                blocked.clone(),
                Some(seq + 1),
                false,
            ),
            ("looked up, a block", blocked, None, true),
            ("an outcome", completed.clone(), Some(seq + 1), true),
            ("looked up, an outcome", completed, None, true),
        ];
        for (what, event, sequence, answers) in table {
            let awaited = sequence.map_or(Awaited::Anything, Awaited::Request);
            assert_eq!(is_answer(&event, intent, awaited), answers, "{what}");
            // The end of the intent answers a withdrawal, whichever message it ends; a
            // refusal only where it refuses the withdrawal itself.
            if let Some(sequence) = sequence {
                let refusal = matches!(event, IntentEvent::Refused(_));
                let awaited = Awaited::Withdrawal(sequence);
                let found = is_answer(&event, intent, awaited);
                assert_eq!(found, answers || !refusal, "withdrawn: {what}");
            }
        }
    }
}
