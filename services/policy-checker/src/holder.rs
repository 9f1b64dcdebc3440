//! Who holds an intent id: a verdict of ours, or something else that must be overruled.

use countersign_runtime::bus::StoredMessage;
use countersign_runtime::bus::metrics::alarm;
use countersign_schemas::codec;
use countersign_schemas::events::PolicyChecked;
use countersign_schemas::headers::{CE_TYPE, ce_type};
use countersign_schemas::{Address, IntentId};

/// What holds an intent id.
pub(crate) enum Holder {
    /// A verdict of ours.
    Verdict(Box<PolicyChecked>),
    /// Something else, up to this sequence.
    Foreign(u64),
}

/// Who holds an id. A message is ours only if its type, agent and intent equal its
/// subject: a reply-to trick can land other bytes there.
pub(crate) fn holder(head: &StoredMessage, intent: IntentId) -> Holder {
    let genuine = genuine(head, intent);
    if genuine.is_none() {
        alarm(
            "foreign_verdict",
            &format!(
                "message {} on `{}` is not a verdict of ours",
                head.seq, head.subject
            ),
        );
    }
    genuine.map_or(Holder::Foreign(head.seq), |checked| {
        Holder::Verdict(Box::new(checked))
    })
}

/// The verdict in a message, if it is one of ours on this intent.
pub(crate) fn genuine(head: &StoredMessage, intent: IntentId) -> Option<PolicyChecked> {
    let checked: PolicyChecked = codec::decode(&head.payload).ok()?;
    let address = Address::PolicyChecked {
        agent: checked.agent.clone(),
        intent: checked.intent_id,
    };
    let typed = head.header(CE_TYPE) == Some(ce_type::<PolicyChecked>().as_str());
    let placed = head.address() == Some(address) && checked.intent_id == intent;
    (typed && placed).then_some(checked)
}
