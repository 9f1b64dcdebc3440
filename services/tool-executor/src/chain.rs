//! Storing on the chain of an intent, where one writer wins.

use countersign_domain::chain::Head;
use countersign_runtime::bus::{Append, Bus, Failure, Meta, Outgoing, StoredMessage, metrics};
use countersign_schemas::{Address, AgentId, Event, IntentId, headers};

/// Foreign messages that are stepped over in one attempt; more is not an accident, and the
/// next delivery steps on from there.
const FOREIGN_MAX: usize = 4;

/// The end of a compare-and-set on a chain.
#[derive(Debug)]
pub(crate) enum Stored {
    /// Our message stands on the chain, at this sequence.
    Ours(u64),
    /// Another writer was first, or may have been.
    Theirs,
}

/// A link that one writer wants to add.
#[derive(Debug)]
pub(crate) struct Link<'a, E> {
    /// Whose chain.
    pub(crate) agent: &'a AgentId,
    /// Which chain.
    pub(crate) intent: IntentId,
    /// Where on it.
    pub(crate) address: Address,
    /// The sequence that must be the chain's last.
    pub(crate) expected: u64,
    /// Its message id: by it a writer recognises a link of its own whose ack was lost.
    pub(crate) id: &'a str,
    /// What it says.
    pub(crate) event: &'a E,
}

/// A message id of ours. Random: nobody can use it up before us.
pub(crate) fn message_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Stores `link`.
///
/// With a reply-to trick anybody can make the server write genuine bytes onto a foreign
/// subject. Such a message is an alarm, and it may lie on top of a claim. So only an outcome
/// steps over it: whoever tells one holds the claim. A claim or revocation leaves the chain
/// to the coordinator's sweep, which knows the last message of ours and ends the intent.
pub(crate) async fn store<E: Event>(
    bus: &Bus,
    link: Link<'_, E>,
    meta: &Meta,
) -> Result<Stored, Failure> {
    let filter = Address::chain_filter(link.agent, link.intent);
    let mut expected = link.expected;
    for _ in 0..FOREIGN_MAX {
        let mut message = Outgoing::event(&link.address, link.event, meta)?;
        message.set(headers::MSG_ID, link.id);
        message.set(headers::CE_ID, link.id);
        let head = match bus.append(message, &filter, expected).await? {
            Append::Stored(seq) => return Ok(Stored::Ours(seq)),
            Append::Lost(head) => head,
        };
        if head.header(headers::MSG_ID) == Some(link.id) {
            return Ok(Stored::Ours(head.seq));
        }
        match read(&head, &link) {
            Head::NotOurs { seq } => {
                metrics::alarm("foreign_message", &format!("on chain `{filter}`"));
                if !matches!(link.address, Address::ToolCompleted { .. }) {
                    return Ok(Stored::Theirs);
                }
                expected = seq;
            }
            Head::None | Head::Decided { .. } | Head::Claimed { .. } | Head::Ended { .. } => {
                return Ok(Stored::Theirs);
            }
        }
    }
    Err(Failure::transient(format!(
        "too many foreign messages on chain `{filter}`"
    )))
}

fn read<E>(head: &StoredMessage, link: &Link<'_, E>) -> Head {
    Head::read(Some(head.as_last()), link.agent, link.intent)
}
