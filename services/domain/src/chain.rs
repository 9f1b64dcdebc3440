//! Reading the head of an intent's chain on `tool.*.<agent>.<intent>`.

use countersign_schemas::events::{
    Event, PolicyChecked, ToolApproved, ToolBlocked, ToolCompleted, ToolRevoked, ToolStarted,
};
use countersign_schemas::{Address, AgentId, IntentId, codec, headers};

/// The last message of a chain, as stored.
#[derive(Debug, Clone, Copy)]
pub struct Last<'a> {
    /// Its subject.
    pub subject: &'a str,
    /// Its sequence.
    pub seq: u64,
    /// Its `ce-type` header.
    pub ce_type: Option<&'a str>,
    /// Its body.
    pub body: &'a [u8],
}

/// How far an intent is.
#[derive(Debug, Clone, PartialEq)]
pub enum Head {
    /// Nothing is decided.
    None,
    /// It is approved and not claimed.
    Decided {
        /// The sequence that a claim or revocation must expect.
        seq: u64,
        /// The decision.
        approved: Box<ToolApproved>,
    },
    /// An executor holds the one claim.
    Claimed {
        /// The sequence that an outcome must expect.
        seq: u64,
        /// The claim.
        started: ToolStarted,
    },
    /// It is over.
    Ended {
        /// The sequence of the end.
        seq: u64,
        /// How.
        end: End,
    },
    /// The message there is none of ours: an alarm. Our own message is stored with this
    /// sequence as the expected one.
    NotOurs {
        /// Its sequence.
        seq: u64,
    },
}

/// How a chain ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// It was never approved.
    Blocked(Box<ToolBlocked>),
    /// It was approved and will not run.
    Revoked(Box<ToolRevoked>),
    /// It ran, or nobody knows.
    Completed(Box<ToolCompleted>),
}

impl Head {
    /// Reads the last message over the chain filter of `agent` and `intent`.
    ///
    /// A message counts only if its `ce-type` and the agent and intent in its body equal
    /// its subject: a reply-to trick can land genuine bytes on a foreign subject.
    #[must_use]
    pub fn read(last: Option<Last<'_>>, agent: &AgentId, intent: IntentId) -> Self {
        let Some(last) = last else {
            return Self::None;
        };
        let seq = last.seq;
        ours(&last, agent, intent).unwrap_or(Self::NotOurs { seq })
    }

    /// The sequence that the next message of the chain must expect.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Decided { seq, .. }
            | Self::Claimed { seq, .. }
            | Self::Ended { seq, .. }
            | Self::NotOurs { seq } => *seq,
        }
    }
}

/// Whether the message says that it is what its subject says, in whatever version, and yet
/// cannot be read: a newer service wrote it, as during an update. Nobody may step over it.
#[must_use]
pub fn is_unreadable(last: &Last<'_>) -> bool {
    let Some(address) = Address::parse(last.subject) else {
        return false;
    };
    let readable = match address {
        Address::PolicyChecked { .. } => body::<PolicyChecked>(last).is_some(),
        Address::ToolApproved { .. } => body::<ToolApproved>(last).is_some(),
        Address::ToolStarted { .. } => body::<ToolStarted>(last).is_some(),
        Address::ToolBlocked { .. } => body::<ToolBlocked>(last).is_some(),
        Address::ToolRevoked { .. } => body::<ToolRevoked>(last).is_some(),
        Address::ToolCompleted { .. } => body::<ToolCompleted>(last).is_some(),
        _ => return false,
    };
    !readable && says(last.ce_type, &address)
}

fn says(ce_type: Option<&str>, address: &Address) -> bool {
    let family = format!("dev.countersign.{}.v", address.event());
    ce_type
        .and_then(|said| said.strip_prefix(family.as_str()))
        .is_some_and(|version| version.parse::<u16>().is_ok())
}

fn ours(last: &Last<'_>, agent: &AgentId, intent: IntentId) -> Option<Head> {
    let seq = last.seq;
    let address = Address::parse(last.subject)?;
    match &address {
        Address::ToolApproved { .. } => {
            let approved: ToolApproved = body(last)?;
            let same = approved.agent == *agent && approved.intent_id == intent;
            fits(&address, agent, intent, same).then(|| Head::Decided {
                seq,
                approved: Box::new(approved),
            })
        }
        Address::ToolStarted { .. } => {
            let started: ToolStarted = body(last)?;
            let same = started.agent == *agent && started.intent_id == intent;
            fits(&address, agent, intent, same).then_some(Head::Claimed { seq, started })
        }
        _ => ended(last, &address, agent, intent).map(|end| Head::Ended { seq, end }),
    }
}

fn ended(last: &Last<'_>, address: &Address, agent: &AgentId, intent: IntentId) -> Option<End> {
    let (same, end) = match address {
        Address::ToolBlocked { .. } => {
            let blocked: ToolBlocked = body(last)?;
            let same = blocked.agent == *agent && blocked.intent_id == intent;
            (same, End::Blocked(Box::new(blocked)))
        }
        Address::ToolRevoked { .. } => {
            let revoked: ToolRevoked = body(last)?;
            let same = revoked.agent == *agent && revoked.intent_id == intent;
            (same, End::Revoked(Box::new(revoked)))
        }
        Address::ToolCompleted { .. } => {
            let completed: ToolCompleted = body(last)?;
            let same = completed.agent == *agent && completed.intent_id == intent;
            (same, End::Completed(Box::new(completed)))
        }
        _ => return None,
    };
    fits(address, agent, intent, same).then_some(end)
}

/// Whether body and subject both speak of this chain.
fn fits(address: &Address, agent: &AgentId, intent: IntentId, body_fits: bool) -> bool {
    let expected = format!("{}.{agent}.{intent}", address.event());
    body_fits && address.subject().as_str() == expected
}

fn body<E: Event>(last: &Last<'_>) -> Option<E> {
    if last.ce_type != Some(headers::ce_type::<E>().as_str()) {
        return None;
    }
    codec::decode(last.body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approvals::fixtures::{at, checked};
    use crate::decision::{Course, Decision, Desk, blocked, revoked, unknown};
    use crate::keys::SigningKey;
    use crate::permit::PermitSigner;
    use countersign_schemas::Timestamp;
    use countersign_schemas::codec::Encoding;
    use countersign_schemas::events::{BlockedCode, RevokedCode, Verdict};

    fn agent() -> AgentId {
        checked().agent
    }

    fn intent() -> IntentId {
        checked().intent_id
    }

    fn approved() -> ToolApproved {
        let signer = PermitSigner::new(SigningKey::from_seed(&[1; 32]));
        let desk = Desk::new(signer, "acme", std::time::Duration::from_secs(60));
        let mut checked = checked();
        checked.verdict = Verdict::Allow;
        match desk.course(&checked, at("10:00:02")).unwrap() {
            Course::Decide(Decision::Approved(approved)) => *approved,
            other => panic!("{other:?}"),
        }
    }

    fn started() -> ToolStarted {
        ToolStarted {
            schema_version: 1,
            intent_id: intent(),
            agent: agent(),
            tool: checked().tool,
            executor: "tool-executor".parse().unwrap(),
            lease_until: at("10:01:00"),
        }
    }

    fn read_as<E: Event>(event: &E, subject: &str, ce_type: Option<&str>) -> Head {
        let body = codec::encode(event, Encoding::Json).unwrap();
        let last = Last {
            subject,
            seq: 9,
            ce_type,
            body: &body,
        };
        Head::read(Some(last), &agent(), intent())
    }

    fn read<E: Event>(event: &E) -> Head {
        let subject = format!("{}.{}.{}", E::NAME, agent(), intent());
        read_as(event, &subject, Some(&headers::ce_type::<E>()))
    }

    #[test]
    fn each_message_of_a_chain_is_its_state() {
        assert_eq!(Head::read(None, &agent(), intent()), Head::None);
        let Head::Decided { seq, approved } = read(&approved()) else {
            panic!("not decided")
        };
        assert_eq!((seq, approved.intent_id), (9, intent()));
        assert!(matches!(read(&started()), Head::Claimed { seq: 9, .. }));
        let revocation = revoked(&approved, RevokedCode::Withdrawn, "x");
        let ends = [
            read(&revocation),
            read(&unknown(&started(), at("10:00:01"))),
            match blocked(&checked(), BlockedCode::Frozen, "x") {
                Decision::Blocked(blocked) => read(&*blocked),
                Decision::Approved(_) => panic!("approved"),
            },
        ];
        assert!(
            ends.iter()
                .all(|head| matches!(head, Head::Ended { seq: 9, .. }))
        );
        assert!(ends.iter().all(|head| head.seq() == 9));
    }

    #[test]
    fn a_newer_message_of_ours_is_told_from_a_foreign_one() {
        let own = format!("tool.approved.{}.{}", agent(), intent());
        let good = codec::encode(&approved(), Encoding::Json).unwrap();
        let other = format!("tool.approved.crm.{}", intent());
        let v1 = "dev.countersign.tool.approved.v1";
        let v2 = "dev.countersign.tool.approved.v2";
        for (subject, ce_type, body, unreadable) in [
            (own.as_str(), Some(v1), good.as_slice(), false),
            (own.as_str(), Some(v1), br#"{"schema_version":2}"#, true),
            (own.as_str(), Some(v1), b"\xc3\x01other schema", true),
            (own.as_str(), Some(v2), good.as_slice(), true),
            // Nobody of us wrote these.
            (
                own.as_str(),
                None,
                br#"{"stream":"CS_EVENTS","seq":4}"#,
                false,
            ),
            (
                own.as_str(),
                Some("dev.countersign.tool.approved.vx"),
                b"{}",
                false,
            ),
            (
                own.as_str(),
                Some("dev.countersign.tool.blocked.v1"),
                b"{}",
                false,
            ),
            (other.as_str(), Some(v1), good.as_slice(), false),
            ("nonsense", Some(v1), b"{}", false),
        ] {
            let last = Last {
                subject,
                seq: 9,
                ce_type,
                body,
            };
            assert_eq!(is_unreadable(&last), unreadable, "{subject} {ce_type:?}");
        }
    }

    #[test]
    fn genuine_bytes_in_a_foreign_place_are_not_ours() {
        let event = approved();
        let ce = headers::ce_type::<ToolApproved>();
        let own = format!("tool.approved.{}.{}", agent(), intent());
        let other_intent = IntentId::new_at(Timestamp::EPOCH);
        let foreign = [
            read_as(
                &event,
                &format!("tool.approved.crm.{}", intent()),
                Some(&ce),
            ),
            read_as(
                &event,
                &format!("tool.approved.{}.{other_intent}", agent()),
                Some(&ce),
            ),
            read_as(&event, &own, None),
            read_as(&event, &own, Some("dev.countersign.tool.blocked.v1")),
            read_as(
                &event,
                &format!("tool.started.{}.{}", agent(), intent()),
                Some(&ce),
            ),
            read_as(&started(), &own, Some(&ce)),
            read_as(&event, "tool.approved", Some(&ce)),
            read_as(&event, &format!("tool.requested.{}", agent()), Some(&ce)),
        ];
        for (number, head) in foreign.iter().enumerate() {
            assert_eq!(*head, Head::NotOurs { seq: 9 }, "case {number}");
        }
        let mut stolen = approved();
        stolen.agent = "crm".parse().unwrap();
        assert_eq!(read(&stolen), Head::NotOurs { seq: 9 });
        let ack = Last {
            subject: &own,
            seq: 9,
            ce_type: None,
            body: br#"{"stream":"CS_EVENTS","seq":4}"#,
        };
        assert_eq!(
            Head::read(Some(ack), &agent(), intent()),
            Head::NotOurs { seq: 9 }
        );
    }
}
