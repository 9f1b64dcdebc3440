//! Subjects that cannot be built wrong, and what stands behind each.
//!
//! [`Address`] is the one list of stored subjects: it writes them, reads them, names the
//! event and the stream. Request/reply subjects are built in [`service`].

use std::fmt;

use crate::ids::{
    AgentId, ApprovalId, IntentId, PersonId, SeqToken, ServiceId, TeamId, Token, ToolName, WindowId,
};
use crate::limits;

/// A complete subject without wildcards.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(String);

impl Subject {
    /// The subject as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0
    }
}

/// The five streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// What agents ask.
    Intents,
    /// What people say, but for orders.
    Control,
    /// The kill switch: a stream of its own, so that nothing else that people say fills it.
    Orders,
    /// What services say.
    Events,
    /// Deadlines; a firing is only a trigger.
    Timers,
}

impl Stream {
    /// Every stream, in the order in which they are made: orders lay in `CS_CONTROL` once,
    /// and no subject may lie in two streams at once.
    pub const ALL: [Self; 5] = [
        Self::Intents,
        Self::Control,
        Self::Orders,
        Self::Events,
        Self::Timers,
    ];
    /// The streams whose messages are archived.
    pub const ARCHIVED: [Self; 4] = [Self::Intents, Self::Control, Self::Orders, Self::Events];

    /// The name on the server.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Intents => "CS_INTENTS",
            Self::Control => "CS_CONTROL",
            Self::Orders => "CS_ORDERS",
            Self::Events => "CS_EVENTS",
            Self::Timers => "CS_TIMERS",
        }
    }

    /// The stream with this server name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.name() == name)
    }

    /// The sequence of its first message. What people say is answered under its sequence,
    /// and somebody who does not know the stream's life asks with `*` for it: orders are
    /// numbered from where `CS_CONTROL` never comes, so that neither is taken for the other.
    #[must_use]
    pub fn first_seq(self) -> u64 {
        match self {
            Self::Orders => limits::ORDERS_FIRST_SEQ,
            Self::Intents | Self::Control | Self::Events | Self::Timers => 1,
        }
    }

    /// Largest body that it stores, in bytes.
    #[must_use]
    pub fn body_bytes_max(self) -> usize {
        match self {
            Self::Control => limits::CONTROL_BYTES_MAX,
            Self::Orders => limits::ORDER_BYTES_MAX,
            Self::Intents | Self::Events | Self::Timers => limits::STORED_BYTES_MAX,
        }
    }

    /// Room for headers on top of [`Stream::body_bytes_max`], in bytes.
    #[must_use]
    pub fn header_bytes_max(self) -> usize {
        match self {
            Self::Control | Self::Orders => limits::SAID_HEADER_BYTES_MAX,
            Self::Intents | Self::Events | Self::Timers => limits::HEADER_ROOM_BYTES,
        }
    }

    /// The subjects that the stream takes.
    #[must_use]
    pub fn subjects(self) -> &'static [&'static str] {
        match self {
            Self::Intents => &["tool.requested.*", "tool.withdrawn.*"],
            Self::Control => &[
                "approval.vote.*",
                "approval.vote.*.*",
                "window.requested.*",
                "window.closing.*",
                "outcome.found.*",
            ],
            Self::Orders => &["control.freeze.*", "control.unfreeze.*"],
            Self::Events => &[
                "policy.checked.*.*",
                "tool.refused.*.*.*",
                "approval.requested.*",
                "approval.voted.*.*.*",
                "approval.resolved.*",
                "tool.approved.*.*",
                "tool.blocked.*.*",
                "tool.started.*.*",
                "tool.completed.*.*",
                "tool.revoked.*.*",
                "outcome.late.*.*",
                "outcome.reconciled.*.*",
                "handoff.*.*.*",
                "window.opened.*.*",
                "window.closed.*.*",
                "control.applied.>",
                "control.done.*.*",
                "control.refused.*.*",
                "vault.tokenized.*.*",
                "vault.revealed.*.*",
                "vault.erased.*",
                "policy.published.*",
                "identity.changed.*",
                "audit.accessed.*",
                "archive.committed.*",
                "archive.purged.*.*",
                "deadletter.*.*",
            ],
            Self::Timers => &["timer.>"],
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A part of a subject: one token, or two for a [`SeqToken`].
trait Part: Sized {
    const TOKENS: usize = 1;
    fn read<'a>(tokens: &mut impl Iterator<Item = &'a str>) -> Option<Self>;
}

macro_rules! parsed_parts {
    ($($type:ty),*) => {$(
        impl Part for $type {
            fn read<'a>(tokens: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
                tokens.next()?.parse().ok()
            }
        }
    )*};
}

parsed_parts!(
    AgentId, ApprovalId, IntentId, PersonId, ServiceId, TeamId, Token, WindowId, u64
);

impl Part for SeqToken {
    const TOKENS: usize = 2;

    fn read<'a>(tokens: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        let incarnation = tokens.next()?.parse().ok()?;
        Some(Self::new(incarnation, tokens.next()?.parse().ok()?))
    }
}

macro_rules! addresses {
    ($($(#[$doc:meta])* $variant:ident = $event:literal in $stream:ident { $($field:ident: $type:ty),* };)*) => {
        /// Where a stored message lives: its event and the identity in its subject.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Address {
            $($(#[$doc])* $variant {
                $(#[doc = concat!("The `", stringify!($field), "` in the subject.")] $field: $type),*
            }),*
        }

        impl Address {
            /// The subject.
            #[must_use]
            pub fn subject(&self) -> Subject {
                match self {
                    $(Self::$variant { $($field),* } => {
                        Subject([String::from($event), $($field.to_string()),*].join("."))
                    })*
                }
            }

            /// Reads a stored subject; `None` for one that is not ours.
            #[must_use]
            pub fn parse(subject: &str) -> Option<Self> {
                $(
                    if let Some(rest) = subject.strip_prefix(concat!($event, ".")) {
                        const TOKENS: usize = 0 $(+ <$type as Part>::TOKENS)*;
                        if rest.split('.').count() == TOKENS {
                            let mut tokens = rest.split('.');
                            let read = (|| Some(Self::$variant {
                                $($field: <$type as Part>::read(&mut tokens)?),*
                            }))();
                            if let Some(address) = read {
                                return Some(address);
                            }
                        }
                    }
                )*
                None
            }

            /// The event's name, such as `tool.requested`.
            #[must_use]
            pub fn event(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $event),* }
            }

            /// The stream that takes this subject.
            #[must_use]
            pub fn stream(&self) -> Stream {
                match self { $(Self::$variant { .. } => Stream::$stream),* }
            }
        }
    };
}

addresses! {
    /// An intent.
    ToolRequested = "tool.requested" in Intents { agent: AgentId };
    /// An intent no longer wanted.
    ToolWithdrawn = "tool.withdrawn" in Intents { agent: AgentId };
    /// A vote with the approver's own key.
    Vote = "approval.vote" in Control { approver: PersonId };
    /// A vote that a bridge or the inbox carries.
    VoteVia = "approval.vote" in Control { approver: PersonId, via: ServiceId };
    /// A request for a time window.
    WindowRequested = "window.requested" in Control { approver: PersonId };
    /// A request to close a window.
    WindowClosing = "window.closing" in Control { approver: PersonId };
    /// The kill switch.
    Freeze = "control.freeze" in Orders { operator: PersonId };
    /// Its release.
    Unfreeze = "control.unfreeze" in Orders { operator: PersonId };
    /// What people found out about an unknown outcome.
    OutcomeFound = "outcome.found" in Control { operator: PersonId };
    /// The verdict.
    PolicyChecked = "policy.checked" in Events { agent: AgentId, intent: IntentId };
    /// A message that gets no decision of its own.
    ToolRefused = "tool.refused" in Events { agent: AgentId, seq: SeqToken };
    /// People must decide.
    ApprovalRequested = "approval.requested" in Events { approval: ApprovalId };
    /// A vote counted or refused.
    ApprovalVoted = "approval.voted" in Events { approval: ApprovalId, seq: SeqToken };
    /// The final state of an approval.
    ApprovalResolved = "approval.resolved" in Events { approval: ApprovalId };
    /// The decision to run.
    ToolApproved = "tool.approved" in Events { agent: AgentId, intent: IntentId };
    /// The decision not to run.
    ToolBlocked = "tool.blocked" in Events { agent: AgentId, intent: IntentId };
    /// The claim.
    ToolStarted = "tool.started" in Events { agent: AgentId, intent: IntentId };
    /// The outcome.
    ToolCompleted = "tool.completed" in Events { agent: AgentId, intent: IntentId };
    /// An approved, unclaimed intent that will not run.
    ToolRevoked = "tool.revoked" in Events { agent: AgentId, intent: IntentId };
    /// A result after its lease.
    OutcomeLate = "outcome.late" in Events { agent: AgentId, intent: IntentId };
    /// A person's finding.
    OutcomeReconciled = "outcome.reconciled" in Events { agent: AgentId, intent: IntentId };
    /// A message to people; `kind` is a [`crate::events::HandoffKind`].
    Handoff = "handoff" in Events { kind: Token, team: TeamId, id: Token };
    /// A window is open.
    WindowOpened = "window.opened" in Events { agent: AgentId, window: WindowId };
    /// A window is closed.
    WindowClosed = "window.closed" in Events { agent: AgentId, window: WindowId };
    /// A freeze or unfreeze takes effect here.
    ControlApplied = "control.applied" in Events { seq: SeqToken };
    /// A freeze stored again while it lasts.
    ControlReapplied = "control.applied" in Events { seq: SeqToken, n: u64 };
    /// The sweep of a freeze is complete.
    ControlDone = "control.done" in Events { seq: SeqToken };
    /// A message in `CS_CONTROL` or `CS_ORDERS` that gets no other answer.
    ControlRefused = "control.refused" in Events { seq: SeqToken };
    /// A value became a surrogate.
    VaultTokenized = "vault.tokenized" in Events { class: Token, id: Token };
    /// A surrogate was resolved for a claim.
    VaultRevealed = "vault.revealed" in Events { agent: AgentId, intent: IntentId };
    /// A subject's key was destroyed.
    VaultErased = "vault.erased" in Events { id: Token };
    /// A bundle was published.
    PolicyPublished = "policy.published" in Events { digest: Token };
    /// An identity was added, removed or rotated.
    IdentityChanged = "identity.changed" in Events { id: Token };
    /// Somebody looked into the audit log.
    AuditAccessed = "audit.accessed" in Events { id: Token };
    /// A manifest entry was committed.
    ArchiveCommitted = "archive.committed" in Events { n: u64 };
    /// A stream was purged.
    ArchivePurged = "archive.purged" in Events { stream: Token, id: Token };
    /// A deadline to be fired; `kind` says what it is about, such as `approval`.
    TimerSet = "timer.set" in Timers { kind: Token, id: Token };
    /// A deadline that fired: only a trigger, the state decides.
    TimerFired = "timer.fired" in Timers { kind: Token, id: Token };
    /// A message nobody could read.
    DeadLetter = "deadletter" in Events { service: ServiceId, id: Token };
}

impl Address {
    /// The filter over the chain of an intent: every writer of a decision, claim or
    /// outcome must expect its last sequence over exactly this text.
    #[must_use]
    pub fn chain_filter(agent: &AgentId, intent: IntentId) -> String {
        format!("tool.*.{agent}.{intent}")
    }

    /// The filter under which an intent id is unique in the whole deployment.
    #[must_use]
    pub fn checked_filter(intent: IntentId) -> String {
        format!("policy.checked.*.{intent}")
    }
}

/// Subjects of request/reply services; not stored.
pub mod service {
    use super::{PersonId, Subject, Token, ToolName};

    /// The queue in which workers listen: a call goes to one replica of them, never to
    /// two that would both run it. A worker is not allowed to listen in any other way.
    pub const WORK_QUEUE: &str = "workers";

    /// Run a tool: executor to worker.
    #[must_use]
    pub fn work(tool: &ToolName) -> Subject {
        Subject(format!("work.{tool}"))
    }

    /// Ask a guardrail outside: checker to micro service.
    #[must_use]
    pub fn guardrail(name: &Token) -> Subject {
        Subject(format!("cs.guardrail.{name}"))
    }

    /// List or show approvals as `person`.
    #[must_use]
    pub fn approval_view(person: &PersonId) -> Subject {
        Subject(format!("cs.approval.view.{person}"))
    }

    /// Query the audit log as `person`.
    #[must_use]
    pub fn audit_query(person: &PersonId) -> Subject {
        Subject(format!("cs.audit.query.{person}"))
    }

    /// Ask for the fingerprints of a known value as `operator`.
    #[must_use]
    pub fn audit_fingerprint(operator: &PersonId) -> Subject {
        Subject(format!("cs.audit.fingerprint.{operator}"))
    }

    /// Push, read and roll back policy bundles as `operator`.
    #[must_use]
    pub fn policy_push(operator: &PersonId) -> Subject {
        Subject(format!("cs.policy.push.{operator}"))
    }

    /// Tell the coordinator that `operator` changed an identity.
    #[must_use]
    pub fn identity_changed(operator: &PersonId) -> Subject {
        Subject(format!("cs.identity.changed.{operator}"))
    }

    /// Ask every service, as `operator`, how it is.
    #[must_use]
    pub fn health(operator: &PersonId) -> Subject {
        Subject(format!("cs.health.{operator}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn matches(filter: &str, subject: &str) -> bool {
        let mut tokens = subject.split('.');
        for part in filter.split('.') {
            match (part, tokens.next()) {
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (part, Some(token)) if part == token => {}
                _ => return false,
            }
        }
        tokens.next().is_none()
    }

    fn samples() -> Vec<Address> {
        let intent = IntentId::new_at(Timestamp::EPOCH);
        let agent: AgentId = "billing".parse().unwrap();
        let seq = SeqToken::new("abc".parse().unwrap(), 7);
        let person: PersonId = "lee".parse().unwrap();
        let approval = ApprovalId::for_intent(intent);
        let token: Token = "t1".parse().unwrap();
        vec![
            Address::ToolRequested {
                agent: agent.clone(),
            },
            Address::Vote {
                approver: person.clone(),
            },
            Address::VoteVia {
                approver: person.clone(),
                via: "inbox".parse().unwrap(),
            },
            Address::Freeze { operator: person },
            Address::PolicyChecked {
                agent: agent.clone(),
                intent,
            },
            Address::ToolRefused {
                agent: agent.clone(),
                seq: seq.clone(),
            },
            Address::ApprovalVoted {
                approval,
                seq: seq.clone(),
            },
            Address::ToolApproved { agent, intent },
            Address::Handoff {
                kind: token.clone(),
                team: "ops".parse().unwrap(),
                id: token.clone(),
            },
            Address::ControlApplied { seq: seq.clone() },
            Address::ControlReapplied {
                seq: seq.clone(),
                n: 3,
            },
            Address::ControlRefused { seq },
            Address::ArchiveCommitted { n: 12 },
            Address::DeadLetter {
                service: "archiver".parse().unwrap(),
                id: token,
            },
        ]
    }

    #[test]
    fn every_address_reads_back_and_lies_in_its_stream() {
        for address in samples() {
            let subject = address.subject();
            assert_eq!(Address::parse(subject.as_str()), Some(address.clone()));
            let taken = address
                .stream()
                .subjects()
                .iter()
                .any(|filter| matches(filter, subject.as_str()));
            assert!(taken, "{subject} is not taken by {}", address.stream());
        }
    }

    #[test]
    fn strange_subjects_are_not_ours() {
        for bad in [
            "tool.requested",
            "tool.requested.a.b",
            "tool.approved.billing.not-a-uuid",
            "tool.refused.billing.abc.x",
            "other.thing",
            "",
        ] {
            assert_eq!(Address::parse(bad), None, "{bad}");
        }
    }
}
