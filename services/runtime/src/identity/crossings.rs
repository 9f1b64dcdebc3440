//! What passes between accounts; all else stays where it is.

use super::principal::Account;

/// A crossing between two accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crossing {
    /// Requests go in, answers come back.
    Service(&'static str),
    /// Requests go in, many answers come back: a pull from a consumer, a question to every
    /// service.
    Many(&'static str),
    /// Stored events come out under their own names: exported as `out.<subject>`, the
    /// stream's republish, so that nobody outside sees what JetStream then refused.
    Stored(&'static str),
}

/// What `exporter` lets `importer` use; the same in every deployment, so that a change of
/// identities changes users only.
#[must_use]
pub fn crossings(exporter: Account, importer: Account) -> &'static [Crossing] {
    use Crossing::{Many, Service, Stored};
    match (exporter, importer) {
        (Account::Core, Account::Agents) => &[
            Service("tool.requested.*"),
            Service("tool.withdrawn.*"),
            Service("$JS.API.DIRECT.GET.CS_EVENTS.tool.>"),
            Stored("tool.>"),
        ],
        (Account::Core, Account::People) => &[
            Service("approval.vote.*"),
            Service("approval.vote.*.*"),
            Service("window.requested.*"),
            Service("window.closing.*"),
            Service("control.freeze.*"),
            Service("control.unfreeze.*"),
            Service("outcome.found.*"),
            Service("cs.approval.view.>"),
            Service("cs.policy.push.>"),
            Service("cs.audit.query.>"),
            Service("cs.audit.fingerprint.>"),
            Service("cs.identity.changed.>"),
            Service("$JS.API.DIRECT.GET.CS_EVENTS.approval.>"),
            Service("$JS.API.DIRECT.GET.CS_EVENTS.window.>"),
            Service("$JS.API.DIRECT.GET.CS_EVENTS.control.>"),
            Many("cs.health.*"),
            Many("$JS.API.CONSUMER.MSG.NEXT.CS_EVENTS.*"),
            Service("$JS.ACK.CS_EVENTS.>"),
            Service("$JS.ACK.*.*.CS_EVENTS.>"),
            Stored("handoff.>"),
            Stored("approval.>"),
            Stored("window.>"),
            Stored("control.>"),
        ],
        (Account::Tools, Account::Core) => &[Service("work.>"), Service("cs.guardrail.>")],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_schemas::Stream;

    #[test]
    fn nobody_outside_core_reaches_a_stream_that_only_services_write() {
        for importer in [
            Account::Agents,
            Account::People,
            Account::Tools,
            Account::Sys,
        ] {
            for crossing in crossings(Account::Core, importer) {
                if let Crossing::Service(subject) = crossing {
                    assert!(
                        !Stream::Events.subjects().contains(subject)
                            && !subject.starts_with("timer")
                            && !subject.starts_with("$KV"),
                        "{importer} may publish {subject}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_comes_out_is_stored_and_never_a_verdict() {
        let mut stored = 0;
        for importer in Account::ALL {
            for crossing in crossings(Account::Core, importer) {
                if let Crossing::Stored(subject) = crossing {
                    stored += 1;
                    assert!(!subject.starts_with("policy"), "{importer} sees {subject}");
                    assert_ne!(*subject, ">", "{importer} sees everything");
                }
            }
        }
        assert_eq!(stored, 5);
    }
}
