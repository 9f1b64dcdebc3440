//! What each identity may publish and subscribe: the least that its part of the path
//! needs, and nothing by default.
//!
//! INVARIANT: a permission is stated here or it does not exist; the golden matrix in
//! `tests/conformance` shows every widening as a changed mark.

use countersign_schemas::subjects::service::WORK_QUEUE;
use countersign_schemas::{Stream, subjects};

use super::principal::{Principal, Service};
use crate::bus::layout::{APPROVALS, DURABLES, FACTS, LABELS, LEDGERS, POLICY, WINDOWS};

/// The stream beneath the bucket of approvals.
const APPROVALS_STREAM: &str = "KV_CS_APPROVALS";
/// The stream beneath the bucket of policy bundles.
const POLICY_STREAM: &str = "KV_CS_POLICY";
/// The stream beneath the bucket of labels.
const LABELS_STREAM: &str = "KV_CS_LABELS";
/// The stream beneath the bucket of facts.
const FACTS_STREAM: &str = "KV_CS_FACTS";
/// The stream beneath the bucket of rates and budgets.
const LEDGERS_STREAM: &str = "KV_CS_LEDGERS";
/// The stream beneath the bucket of time windows.
const WINDOWS_STREAM: &str = "KV_CS_WINDOWS";

/// What became of approvals. Not `approval.>`: within one account that would also deliver
/// the votes of others on their way to the stream, stored or not.
const STORED_APPROVAL: [&str; 3] = [
    "approval.requested.*",
    "approval.voted.>",
    "approval.resolved.*",
];

/// What the server lets one user do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Subjects it may publish.
    pub publish: Vec<String>,
    /// Subjects it may not publish although a wildcard above covers them.
    pub publish_deny: Vec<String>,
    /// Subjects it may subscribe; `subject queue` where only in that queue.
    pub subscribe: Vec<String>,
    /// Whether it may answer a request that reached it, once.
    pub responses: bool,
}

impl Permissions {
    /// The permissions of `principal`.
    #[must_use]
    pub fn of(principal: &Principal) -> Self {
        let mut grants = Self::default();
        grants.subscribe(&[&format!("{}.>", principal.inbox_prefix())]);
        match principal {
            Principal::Service(service) => grants.service(*service),
            Principal::Agent(agent) => grants.agent(agent.as_str()),
            Principal::Approver(person) => grants.approver(person.as_str()),
            Principal::Operator(person) => grants.operator(person.as_str()),
            Principal::Worker {
                tools, guardrails, ..
            } => {
                for tool in tools {
                    // Only in the queue: beside it a second replica would hear each call too.
                    grants.subscribe(&[&format!("work.{tool} {WORK_QUEUE}")]);
                }
                for name in guardrails {
                    // In any queue: a second answer to one question is not read.
                    let subject = subjects::service::guardrail(name);
                    grants.micro_service(name.as_str(), &[subject.as_str()]);
                }
                grants.responses = true;
            }
            Principal::Bridge { name, people } => {
                let people = people
                    .iter()
                    .map(countersign_schemas::ids::PersonId::as_str);
                grants.bridge(name.as_str(), people);
            }
        }
        grants
    }

    fn publish(&mut self, subjects: &[&str]) {
        self.publish
            .extend(subjects.iter().map(|subject| (*subject).to_owned()));
    }

    fn deny(&mut self, subjects: &[String]) {
        self.publish_deny.extend_from_slice(subjects);
    }

    fn subscribe(&mut self, subjects: &[&str]) {
        self.subscribe
            .extend(subjects.iter().map(|subject| (*subject).to_owned()));
    }

    fn agent(&mut self, agent: &str) {
        self.publish(&[
            &format!("tool.requested.{agent}"),
            &format!("tool.withdrawn.{agent}"),
            &format!("$JS.API.DIRECT.GET.{}.tool.*.{agent}.>", Stream::Events),
        ]);
        self.subscribe(&[&format!("tool.*.{agent}.>")]);
    }

    /// What every person sees: what was asked, decided and switched, never an input.
    fn person(&mut self, person: &str) {
        self.publish(&[
            &format!("cs.approval.view.{person}"),
            &format!("cs.audit.query.{person}"),
        ]);
        for subjects in ["approval.>", "window.>", "control.>"] {
            self.publish(&[&format!("$JS.API.DIRECT.GET.{}.{subjects}", Stream::Events)]);
        }
        self.subscribe(&["handoff.>"]);
        self.subscribe(&STORED_APPROVAL);
        self.subscribe(&[
            "window.opened.>",
            "window.closed.>",
            "control.applied.>",
            "control.done.>",
            "control.refused.>",
        ]);
    }

    fn approver(&mut self, person: &str) {
        self.publish(&[
            &format!("approval.vote.{person}"),
            &format!("window.requested.{person}"),
            &format!("window.closing.{person}"),
        ]);
        self.person(person);
    }

    fn operator(&mut self, person: &str) {
        self.publish(&[
            &format!("control.freeze.{person}"),
            &format!("control.unfreeze.{person}"),
            &format!("outcome.found.{person}"),
            &format!("cs.policy.push.{person}"),
            &format!("cs.audit.fingerprint.{person}"),
            &format!("cs.identity.changed.{person}"),
            &format!("cs.health.{person}"),
        ]);
        self.person(person);
    }

    /// A bridge asks for views in its own name and so never gets inputs; only the inbox,
    /// where people log in, asks in theirs.
    fn bridge<'a>(&mut self, name: &str, people: impl Iterator<Item = &'a str>) {
        for person in people {
            self.publish(&[&format!("approval.vote.{person}.{name}")]);
            if name == "inbox" {
                self.publish(&[&format!("cs.approval.view.{person}")]);
            }
        }
        let durable = format!("bridge-{name}");
        self.publish(&[&format!("cs.approval.view.{name}")]);
        self.pull(Stream::Events, &durable);
        self.subscribe(&["handoff.>"]);
        self.subscribe(&STORED_APPROVAL);
    }

    /// Pull from one durable consumer and acknowledge, in both forms of the ack subject.
    fn pull(&mut self, stream: Stream, durable: &str) {
        self.publish(&[
            &format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"),
            &format!("$JS.ACK.{stream}.{durable}.>"),
            &format!("$JS.ACK.*.*.{stream}.{durable}.>"),
        ]);
    }

    fn consume(&mut self, stream: Stream, service: Service) {
        let durable = service.name();
        self.publish(&[&format!("$JS.API.CONSUMER.INFO.{stream}.{durable}")]);
        self.pull(stream, durable);
    }

    /// State of a stream and its messages, read from the leader.
    fn read(&mut self, streams: &[Stream]) {
        for stream in streams {
            self.publish(&[
                &format!("$JS.API.STREAM.INFO.{stream}"),
                &format!("$JS.API.STREAM.MSG.GET.{stream}"),
            ]);
        }
    }

    /// Read which policy bundle is in force, and the bundle.
    fn read_policy(&mut self) {
        self.publish(&[&format!("$JS.API.STREAM.MSG.GET.{POLICY_STREAM}")]);
    }

    /// Read a stream from some point on with a consumer of its own, never with one of
    /// the durable consumers of others: their messages would be lost to them.
    fn replay(&mut self, stream: &str, me: Service) {
        self.publish(&[
            &format!("$JS.API.CONSUMER.CREATE.{stream}.*"),
            &format!("$JS.API.CONSUMER.INFO.{stream}.*"),
            &format!("$JS.API.CONSUMER.DELETE.{stream}.*"),
            &format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.*"),
        ]);
        for durable in durables(stream).filter(|name| *name != me.name()) {
            self.deny(&[
                format!("$JS.API.CONSUMER.CREATE.{stream}.{durable}"),
                format!("$JS.API.CONSUMER.DELETE.{stream}.{durable}"),
                format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"),
            ]);
        }
    }

    /// Answer requests as one of our services.
    fn answer(&mut self, service: Service, subjects: &[&str]) {
        self.micro_service(service.name(), subjects);
    }

    /// Answer requests as the NATS micro service `name`.
    fn micro_service(&mut self, name: &str, subjects: &[&str]) {
        self.subscribe(subjects);
        for verb in ["PING", "INFO", "STATS"] {
            self.subscribe(&[
                &format!("$SRV.{verb}"),
                &format!("$SRV.{verb}.{name}"),
                &format!("$SRV.{verb}.{name}.*"),
            ]);
        }
        self.responses = true;
    }

    fn dead_letters(&mut self, service: Service) {
        self.publish(&[&format!("deadletter.{}.*", service.name())]);
    }

    /// Say how it is to operators who ask: all that runs, and not the tools that come and go.
    fn tell_health(&mut self) {
        self.subscribe(&["cs.health.*"]);
        self.responses = true;
    }

    fn service(&mut self, service: Service) {
        if !matches!(service, Service::Setup | Service::Identity) {
            self.tell_health();
        }
        match service {
            Service::Setup => self.setup(),
            Service::PolicyChecker => self.policy_checker(),
            Service::ApprovalCoordinator => self.approval_coordinator(),
            Service::ToolExecutor => self.tool_executor(),
            Service::AuditArchiver => self.audit_archiver(),
            Service::AuditQuery => self.audit_query(),
            Service::Identity => self.publish(&[
                "$SYS.REQ.SERVER.PING",
                "$SYS.REQ.SERVER.*.RELOAD",
                "$SYS.REQ.SERVER.*.CONNZ",
            ]),
        }
    }

    /// Creates and updates; cannot purge, delete or write a message, but for facts, which
    /// operators' tools state with this credential.
    fn setup(&mut self) {
        self.publish(&["$JS.API.INFO"]);
        let names = Stream::ALL.map(Stream::name);
        let buckets = [
            APPROVALS_STREAM,
            POLICY_STREAM,
            LABELS_STREAM,
            FACTS_STREAM,
            LEDGERS_STREAM,
            WINDOWS_STREAM,
        ];
        for stream in names.iter().chain(&buckets) {
            for act in ["STREAM.CREATE", "STREAM.UPDATE", "STREAM.INFO"] {
                self.publish(&[&format!("$JS.API.{act}.{stream}")]);
            }
        }
        self.publish(&[
            &format!("$KV.{FACTS}.>"),
            &format!("$JS.API.STREAM.MSG.GET.{FACTS_STREAM}"),
        ]);
        for stream in names {
            self.publish(&[
                &format!("$JS.API.CONSUMER.CREATE.{stream}.>"),
                &format!("$JS.API.CONSUMER.INFO.{stream}.*"),
            ]);
        }
    }

    fn policy_checker(&mut self) {
        self.publish(&[
            &format!("$KV.{LABELS}.>"),
            &format!("$JS.API.STREAM.MSG.GET.{LABELS_STREAM}"),
            // Only the checker counts what rates and budgets have taken.
            &format!("$KV.{LEDGERS}.>"),
            &format!("$JS.API.STREAM.MSG.GET.{LEDGERS_STREAM}"),
            &format!("$JS.API.STREAM.MSG.GET.{FACTS_STREAM}"),
        ]);
        let me = Service::PolicyChecker;
        self.consume(Stream::Intents, me);
        self.read(&[Stream::Intents, Stream::Events]);
        // How full it is: the checker takes no intent that might not be archived.
        for stream in [Stream::Control, Stream::Orders] {
            self.publish(&[&format!("$JS.API.STREAM.INFO.{stream}")]);
        }
        self.publish(&[
            "policy.checked.*.*",
            "tool.refused.*.*.*",
            "policy.published.*",
            "cs.guardrail.>",
        ]);
        // The only one that publishes a bundle, and says which life of the bucket it did so in.
        self.publish(&[
            &format!("$KV.{POLICY}.>"),
            &format!("$JS.API.STREAM.INFO.{POLICY_STREAM}"),
        ]);
        self.read_policy();
        self.dead_letters(me);
        self.answer(me, &["cs.policy.recheck", "cs.policy.push.*"]);
    }

    fn approval_coordinator(&mut self) {
        let me = Service::ApprovalCoordinator;
        for stream in Stream::ALL {
            self.consume(stream, me);
        }
        // A withdrawal waits for the checker: how far it is, and nothing more.
        let checker = Service::PolicyChecker.name();
        self.publish(&[&format!(
            "$JS.API.CONSUMER.INFO.{}.{checker}",
            Stream::Intents
        )]);
        self.read(&Stream::ALL);
        self.replay(Stream::Events.name(), me);
        self.replay(APPROVALS_STREAM, me);
        self.replay(WINDOWS_STREAM, me);
        self.read_policy();
        self.publish(&[
            "approval.requested.*",
            "approval.voted.*.*.*",
            "approval.resolved.*",
            "tool.approved.*.*",
            "tool.blocked.*.*",
            "tool.refused.*.*.*",
            "tool.revoked.*.*",
            "tool.completed.*.*",
            "outcome.reconciled.*.*",
            "handoff.*.*.*",
            "window.opened.*.*",
            "window.closed.*.*",
            "control.applied.>",
            "control.done.*.*",
            "control.refused.*.*",
            "identity.changed.*",
            "timer.>",
            // What people grant under other rules than those it was asked under.
            "cs.policy.recheck",
        ]);
        self.publish(&[
            &format!("$KV.{APPROVALS}.>"),
            &format!("$JS.API.STREAM.INFO.{APPROVALS_STREAM}"),
            &format!("$JS.API.STREAM.MSG.GET.{APPROVALS_STREAM}"),
            &format!("$KV.{WINDOWS}.>"),
            &format!("$JS.API.STREAM.INFO.{WINDOWS_STREAM}"),
            &format!("$JS.API.STREAM.MSG.GET.{WINDOWS_STREAM}"),
        ]);
        self.dead_letters(me);
        self.answer(me, &["cs.approval.view.*", "cs.identity.changed.*"]);
    }

    fn tool_executor(&mut self) {
        let me = Service::ToolExecutor;
        self.consume(Stream::Events, me);
        self.read(&[Stream::Intents, Stream::Events]);
        // The freeze fence: freezes and claims in the order of the log.
        self.replay(Stream::Events.name(), me);
        self.publish(&[
            "tool.started.*.*",
            "tool.completed.*.*",
            "tool.revoked.*.*",
            "outcome.late.*.*",
            "cs.policy.recheck",
            "work.>",
        ]);
        self.read_policy();
        self.dead_letters(me);
    }

    fn audit_archiver(&mut self) {
        let me = Service::AuditArchiver;
        self.read(&Stream::ARCHIVED);
        for stream in Stream::ARCHIVED {
            self.replay(stream.name(), me);
            // The janitor's: nobody else may take a message out of a stream.
            self.publish(&[&format!("$JS.API.STREAM.PURGE.{stream}")]);
        }
        self.publish(&[
            "archive.committed.*",
            "archive.purged.*.*",
            // Its own look-ups: who asked for which fingerprint.
            "audit.accessed.*",
        ]);
        self.dead_letters(me);
        self.answer(me, &["cs.audit.tail", "cs.audit.fingerprint.*"]);
    }

    /// Reads no stream: it sees the archive's files and the archiver's redacted tail.
    fn audit_query(&mut self) {
        self.publish(&["audit.accessed.*", "cs.audit.tail"]);
        self.answer(Service::AuditQuery, &["cs.audit.query.*"]);
    }
}

/// The durable consumers of our services on `stream`.
fn durables(stream: &str) -> impl Iterator<Item = &'static str> {
    DURABLES
        .iter()
        .filter(move |durable| durable.stream.name() == stream)
        .map(|durable| durable.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_streams_are_those_of_the_buckets() {
        assert_eq!(APPROVALS_STREAM, format!("KV_{APPROVALS}"));
        assert_eq!(POLICY_STREAM, format!("KV_{POLICY}"));
        assert_eq!(LABELS_STREAM, format!("KV_{LABELS}"));
        assert_eq!(FACTS_STREAM, format!("KV_{FACTS}"));
        assert_eq!(LEDGERS_STREAM, format!("KV_{LEDGERS}"));
        assert_eq!(WINDOWS_STREAM, format!("KV_{WINDOWS}"));
    }

    #[test]
    fn an_agent_has_nothing_that_does_not_name_it() {
        let agent = Principal::Agent("billing".parse().unwrap());
        let Permissions {
            publish,
            subscribe,
            responses,
            ..
        } = Permissions::of(&agent);
        assert!(!responses);
        for subject in publish.iter().chain(&subscribe) {
            assert!(subject.contains("billing"), "{subject}");
        }
    }

    #[test]
    fn a_service_that_can_read_a_stream_cannot_take_from_the_durables_of_others() {
        for service in [
            Service::AuditArchiver,
            Service::ApprovalCoordinator,
            Service::ToolExecutor,
        ] {
            let grants = Permissions::of(&Principal::Service(service));
            for durable in DURABLES
                .iter()
                .filter(|durable| durable.stream == Stream::Events)
            {
                let next = format!(
                    "$JS.API.CONSUMER.MSG.NEXT.{}.{}",
                    durable.stream, durable.name
                );
                // This form names the consumer in its body, where no permission sees it.
                let legacy = format!("$JS.API.CONSUMER.CREATE.{}", durable.stream);
                assert!(!grants.publish.contains(&legacy), "{}", service.name());
                assert_ne!(
                    grants.publish.contains(&next),
                    grants.publish_deny.contains(&next),
                    "{} and {next}",
                    service.name()
                );
            }
        }
    }

    #[test]
    fn only_the_inbox_asks_for_views_in_the_name_of_people() {
        let bridge = |name: &str| {
            Permissions::of(&Principal::Bridge {
                name: name.parse().unwrap(),
                people: ["lee".parse().unwrap()].into(),
            })
        };
        let view = "cs.approval.view.lee".to_owned();
        assert!(bridge("inbox").publish.contains(&view));
        assert!(!bridge("slack").publish.contains(&view));
        assert!(
            bridge("slack")
                .publish
                .contains(&"approval.vote.lee.slack".to_owned())
        );
    }
}
