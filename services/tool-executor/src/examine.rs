//! The checks before a claim. Pure: everything comes in as a value.

use countersign_domain::permit::{self, PermitVerifier, Permitted};
use countersign_domain::policy::{Bundle, Tool};
use countersign_domain::redact::{FieldClasses, Redactor};
use countersign_runtime::bus::{Incoming, StoredMessage};
use countersign_schemas::events::{RevokedCode, ToolApproved, ToolRequested};
use countersign_schemas::{Address, AgentId, Event as _, Timestamp, codec, headers, limits};

/// What an approved intent is checked against.
pub(crate) struct Trust<'a> {
    /// Whose permits count.
    pub(crate) permits: &'a PermitVerifier,
    /// The deployment that must have decided.
    pub(crate) deployment: &'a str,
    /// The tools and rules in force.
    pub(crate) bundle: &'a Bundle,
    /// Finds surrogates.
    pub(crate) redactor: &'a Redactor,
}

/// An approved intent will not run, and why; never a value of its input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The stable code.
    pub(crate) code: RevokedCode,
    /// One sentence.
    pub(crate) message: String,
    /// Whether this is a forgery or a fault, not the ordinary course of things.
    pub(crate) alarming: bool,
}

impl Refusal {
    pub(crate) fn ordinary(code: RevokedCode, message: &str) -> Self {
        Self {
            code,
            message: message.to_owned(),
            alarming: false,
        }
    }

    fn alarming(code: RevokedCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            alarming: true,
        }
    }
}

/// Reads a decision and holds it against its subject.
///
/// # Errors
/// In words, when it is not a genuine `tool.approved`: nothing in it can be believed.
pub(crate) fn read_approved(message: &Incoming) -> Result<ToolApproved, String> {
    let Address::ToolApproved { agent, intent } = &message.address else {
        return Err("a message that is no decision was delivered".to_owned());
    };
    if message.header(headers::CE_TYPE) != Some(headers::ce_type::<ToolApproved>().as_str()) {
        return Err(format!(
            "the message does not say that it is a {}",
            ToolApproved::NAME
        ));
    }
    let approved: ToolApproved =
        codec::decode(&message.payload).map_err(|error| error.to_string())?;
    if approved.agent != *agent || approved.intent_id != *intent {
        return Err("agent or intent in the decision differ from its subject".to_owned());
    }
    Ok(approved)
}

/// What passed every check that the executor can make alone.
#[derive(Debug)]
pub(crate) struct Examined<'t> {
    /// The proof that it may run.
    pub(crate) permitted: Permitted,
    /// What runs.
    pub(crate) tool: &'t Tool,
    /// When it is too late to claim it.
    pub(crate) until: Timestamp,
    /// Whether another bundle judged it than the one in force: then the checker must be
    /// asked again before anything runs.
    pub(crate) recheck: bool,
}

/// Checks an approved intent against the stored request, its permit and the bundle.
///
/// # Errors
/// The refusal under which it is revoked.
pub(crate) fn examine<'t>(
    trust: &Trust<'t>,
    approved: &ToolApproved,
    stored: Option<&StoredMessage>,
    now: Timestamp,
) -> Result<Examined<'t>, Refusal> {
    let stored = stored.ok_or_else(|| {
        Refusal::ordinary(
            RevokedCode::InputGone,
            "the stored request is gone, so there is nothing exact to run",
        )
    })?;
    let raw = read_request(stored, &approved.agent)?;
    let checked = permit::check(approved, &raw, trust.permits, trust.deployment, now);
    let permitted = checked.map_err(|refusal| Refusal {
        code: refusal.code(),
        message: refusal.to_string(),
        alarming: refusal.is_alarming(),
    })?;
    let until = approved.approved_until;
    let until = raw.expires_at.map_or(until, |end| end.min(until));
    in_time(until, now)?;
    let tool = unchanged_tool(trust, approved, &permitted)?;
    no_surrogates(trust, &permitted)?;
    Ok(Examined {
        recheck: trust.bundle.digest() != permitted.claims().policy_digest,
        permitted,
        tool,
        until,
    })
}

/// Whether there is still time to claim what may be claimed until then.
///
/// # Errors
/// The refusal under which it is revoked.
pub(crate) fn in_time(until: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    match until > now {
        true => Ok(()),
        false => Err(Refusal::ordinary(
            RevokedCode::PermitExpired,
            "nobody could claim the intent before it expired",
        )),
    }
}

/// The raw request, if the message is one of this agent.
fn read_request(stored: &StoredMessage, agent: &AgentId) -> Result<ToolRequested, Refusal> {
    let mismatch = |message: String| Refusal::alarming(RevokedCode::DigestMismatch, message);
    let own = Address::ToolRequested {
        agent: agent.clone(),
    };
    if stored.address() != Some(own) {
        let text = "the decision points to a message that is not a request of this agent";
        return Err(mismatch(text.to_owned()));
    }
    if stored.payload.len() > limits::BODY_BYTES_MAX {
        return Err(mismatch(
            "the stored request is larger than any that is judged".to_owned(),
        ));
    }
    codec::decode(&stored.payload)
        .map_err(|error| mismatch(format!("the stored request cannot be read: {error}")))
}

/// The tool, if its definition is still the one that was judged.
fn unchanged_tool<'t>(
    trust: &Trust<'t>,
    approved: &ToolApproved,
    permitted: &Permitted,
) -> Result<&'t Tool, Refusal> {
    let tool = trust.bundle.catalog().tool(&approved.tool).ok_or_else(|| {
        Refusal::ordinary(
            RevokedCode::ToolChanged,
            "the tool is no longer in the catalog",
        )
    })?;
    if tool.digest() != permitted.claims().tool_digest {
        return Err(Refusal::ordinary(
            RevokedCode::ToolChanged,
            "the tool's definition changed after the decision",
        ));
    }
    Ok(tool)
}

/// Without a vault nothing can turn a surrogate into its value. The checker blocks such an
/// input; this is the second net.
fn no_surrogates(trust: &Trust<'_>, permitted: &Permitted) -> Result<(), Refusal> {
    let seen = trust
        .redactor
        .json(permitted.input(), &FieldClasses::none())
        .findings
        .surrogates();
    if seen.is_empty() && permitted.claims().reveal.is_empty() {
        return Ok(());
    }
    Err(Refusal::ordinary(
        RevokedCode::RecheckDenied,
        "the input holds a surrogate, and there is no vault to resolve it",
    ))
}

#[cfg(test)]
mod tests;
