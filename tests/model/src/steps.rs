//! The services' own steps, by number. Nothing is decided here.

mod freezes;
mod windows;

use countersign_domain::approvals::{Approval, Ballot};
use countersign_domain::chain::{Head, Last};
use countersign_domain::decision::{self, Course, Decision, Desk};
use countersign_domain::keys::{KeySet, SigningKey};
use countersign_domain::permit::{self, PermitSigner, PermitVerifier};
use countersign_domain::windows::Window;
use countersign_schemas::codec::{self, Encoding};
use countersign_schemas::events::{
    ApprovalState, ApprovalVote, BlockedCode, Event, Outcome, PolicyChecked, RevokedCode,
    ToolApproved, ToolBlocked, ToolCompleted, ToolError, ToolRevoked, ToolStarted,
};
use countersign_schemas::{Digest, SeqToken, headers, limits};

use crate::fixtures::{self, Company, DEPLOYMENT, LEASE, PERMIT_LIFE, at};
use crate::scenario::{Mutation, Scenario};
use crate::shelf::{Memo, Ref, Shelf};
use crate::state::{Input, Orders, Said};

pub(crate) use windows::{Ends, Held, Taken};

/// A message as it is stored.
#[derive(Debug)]
struct Stored {
    subject: String,
    ce_type: String,
    body: Vec<u8>,
}

impl Stored {
    fn last(&self, seq: u64) -> Last<'_> {
        Last {
            subject: &self.subject,
            seq,
            ce_type: Some(&self.ce_type),
            body: &self.body,
        }
    }
}

/// What follows from a verdict.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Followed {
    /// This decision.
    Decide(Said),
    /// This approval is opened.
    Ask(Ref),
}

/// What a look at the head of a chain gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing is decided.
    Open,
    /// It is approved, and may be claimed until then.
    Decided,
    /// It is claimed.
    Claimed,
    /// It is over.
    Over,
}

/// What the executor makes of a decision.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Examined {
    /// It may run, with this input.
    Run(Input),
    /// It is revoked.
    Refuse(Said),
}

/// The steps with the values of one scenario.
#[derive(Debug)]
pub(crate) struct Steps {
    mutation: Option<Mutation>,
    desk: Desk,
    verifier: PermitVerifier,
    company: Company,
    checked: Vec<PolicyChecked>,
    scenario: Scenario,
    bodies: Shelf<Stored>,
    approvals: Shelf<Approval>,
    courses: Memo<(u8, u8), Followed>,
    votes: Memo<(Ref, u8, u8), (Ref, bool)>,
    changes: Memo<(Ref, Change, u8), Option<Ref>>,
    decisions: Memo<(Ref, u8), Option<Said>>,
    heads: Memo<(Ref, u8), Seen>,
    dues: Memo<Ref, u8>,
    examined: Memo<(Ref, Input, u8), Examined>,
    said: Memo<(Ref, Write, u8), Said>,
    frozen: Memo<(Orders, u8), Option<Said>>,
    pub(crate) window: Option<Ref>,
    windows: Shelf<Window>,
    takes: Memo<(Ref, u8, u8), Taken>,
    expiries: Memo<(Ref, u8), Option<Ref>>,
    under: Memo<(Ref, u8, u8), Said>,
    uses: Memo<(Ref, u8, Ends, u8), Held>,
    by_window: Memo<Ref, bool>,
    begins: Memo<(Orders, u8, u8, bool), Option<Write>>,
    stopped: Memo<Ref, bool>,
    runs: Memo<Ref, bool>,
}

/// A change of an approval besides a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Change {
    /// Its time is over.
    Expire,
    /// Its agent does not want it any more, or its intent was decided.
    Cancel,
    /// Everything that follows from its end is stored.
    Settle,
}

/// A message that follows another on a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Write {
    /// A claim on a decision.
    Claim,
    /// A revocation of a decision.
    Revoke(RevokedCode),
    /// An end that nobody knows, of a claim.
    Unknown,
    /// What the run of a claim came to.
    Done,
    /// The claim came too late to begin.
    NotBegun,
    /// A freeze covers it.
    Frozen,
}

impl Steps {
    pub(crate) fn new(scenario: &Scenario, mutation: Option<Mutation>) -> Self {
        let key = SigningKey::from_seed(&[1; 32]);
        let verifier = PermitVerifier::new(KeySet::new([key.public()]));
        let count = u8::try_from(scenario.intents.len()).expect("a few intents");
        let mut steps = Self {
            mutation,
            desk: Desk::new(PermitSigner::new(key), DEPLOYMENT, PERMIT_LIFE),
            verifier,
            company: Company::new(),
            checked: (0..count).map(|n| fixtures::checked(n, scenario)).collect(),
            scenario: scenario.clone(),
            bodies: Shelf::default(),
            approvals: Shelf::default(),
            courses: Memo::default(),
            votes: Memo::default(),
            changes: Memo::default(),
            decisions: Memo::default(),
            heads: Memo::default(),
            dues: Memo::default(),
            examined: Memo::default(),
            said: Memo::default(),
            frozen: Memo::default(),
            window: None,
            windows: Shelf::default(),
            takes: Memo::default(),
            expiries: Memo::default(),
            under: Memo::default(),
            uses: Memo::default(),
            by_window: Memo::default(),
            begins: Memo::default(),
            stopped: Memo::default(),
            runs: Memo::default(),
        };
        if scenario.window {
            let window = fixtures::window(&steps.checked[0]);
            steps.window = Some(steps.keep_window(window));
        }
        steps
    }

    /// `Desk::course`, and `Approval::open` where it asks.
    pub(crate) fn course(&self, intent: u8, now: u8) -> Followed {
        self.courses.of((intent, now), || {
            let checked = &self.checked[usize::from(intent)];
            match self.desk.course(checked, at(now)).expect("a permit") {
                Course::Decide(decision) => Followed::Decide(self.decision_said(&decision)),
                Course::Ask => {
                    let approval = Approval::open(checked, at(0)).expect("an ask");
                    Followed::Ask(self.keep(approval))
                }
            }
        })
    }

    /// `Approval::vote`: the approval after it, and whether it changed.
    pub(crate) fn vote(&self, approval: Ref, voter: u8, cast_at: u8) -> (Ref, bool) {
        self.votes.of((approval, voter, cast_at), || {
            let mut after = (*self.approvals.get(approval)).clone();
            let who = self.scenario.voters[usize::from(voter)];
            let shown = who.saw_it || self.mutation == Some(Mutation::VoteWithoutDigest);
            let vote = ApprovalVote {
                schema_version: 1,
                approval_id: after.id().clone(),
                digest: match shown {
                    true => after.digest(),
                    false => Digest::of_bytes(b"something else"),
                },
                vote: who.choice,
                items: None,
                window: None,
                reason: None,
            };
            let incarnation = "abc".parse().expect("an incarnation");
            let ballot = Ballot {
                approver: &who.name.parse().expect("a person"),
                via: &"self".parse().expect("a bridge"),
                message: &SeqToken::new(incarnation, u64::from(voter) + 1),
                stored_at: at(cast_at),
                vote: &vote,
                reason: None,
            };
            let answer = after.vote(&ballot, &self.company);
            (self.keep(after), answer.changed)
        })
    }

    /// `Approval::expire`, `cancel` or `settle`; `None` where nothing changes.
    pub(crate) fn change(&self, approval: Ref, change: Change, now: u8) -> Option<Ref> {
        self.changes.of((approval, change, now), || {
            let mut after = (*self.approvals.get(approval)).clone();
            let changed = match change {
                Change::Expire => after.expire(at(now)),
                Change::Cancel => after.cancel("it is not wanted any more", at(now)),
                Change::Settle => {
                    after.settle();
                    true
                }
            };
            changed.then(|| self.keep(after))
        })
    }

    /// `Desk::after_approval`.
    pub(crate) fn after_approval(&self, approval: Ref, now: u8) -> Option<Said> {
        self.decisions.of((approval, now), || {
            let approval = self.approvals.get(approval);
            let decided = self.desk.after_approval(&approval, at(now));
            let decided = decided.expect("a permit");
            decided.first().map(|decision| self.decision_said(decision))
        })
    }

    pub(crate) fn is_pending(&self, approval: Ref) -> bool {
        self.approvals.get(approval).is_pending()
    }

    pub(crate) fn is_settled(&self, approval: Ref) -> bool {
        self.approvals.get(approval).is_settled()
    }

    pub(crate) fn end(&self, approval: Ref) -> ApprovalState {
        self.approvals.get(approval).state()
    }

    /// `Head::read` of the last message of a chain.
    pub(crate) fn head(&self, last: Option<Said>, intent: u8) -> Seen {
        let Some(said) = last else {
            return Seen::Open;
        };
        self.heads.of((said.body(), intent), || {
            match self.read(said.body(), intent) {
                Head::Decided { .. } => Seen::Decided,
                Head::Claimed { .. } => Seen::Claimed,
                Head::Ended { .. } => Seen::Over,
                Head::None | Head::NotOurs { .. } => panic!("every message here is ours"),
            }
        })
    }

    /// How many ticks must have passed until a decision or claim is overdue on every machine.
    pub(crate) fn due(&self, said: Said, intent: u8) -> u8 {
        self.dues.of(said.body(), || {
            let skew = std::time::Duration::from_secs(limits::CLOCK_SKEW_SECONDS);
            let due = match self.read(said.body(), intent) {
                Head::Decided { approved, .. } => approved.approved_until.plus(skew),
                Head::Claimed { started, .. } => started.lease_until.plus(skew),
                other => panic!("{other:?} is never due"),
            };
            (0..=u8::MAX)
                .find(|tick| at(*tick) >= due)
                .expect("a near end")
        })
    }

    /// `permit::check` of a decision against the request that is found.
    pub(crate) fn examine(&self, said: Said, intent: u8, found: Input, now: u8) -> Examined {
        self.examined.of((said.body(), found, now), || {
            let Head::Decided { approved, .. } = self.read(said.body(), intent) else {
                panic!("only decisions are examined");
            };
            let raw = fixtures::request(intent, found);
            let checked = permit::check(&approved, &raw, &self.verifier, DEPLOYMENT, at(now));
            match checked {
                _ if self.mutation == Some(Mutation::RunWithoutDigest) => Examined::Run(found),
                Ok(permitted) if approved.approved_until > at(now) => {
                    let judged = fixtures::request(intent, Input::Judged);
                    Examined::Run(match *permitted.input() == judged.input {
                        true => Input::Judged,
                        false => Input::Other,
                    })
                }
                Ok(_) => Examined::Refuse(self.revoked(&approved, RevokedCode::PermitExpired)),
                Err(refusal) => Examined::Refuse(self.revoked(&approved, refusal.code())),
            }
        })
    }

    /// The message `write` that follows `said`, at `now`.
    pub(crate) fn after(&self, said: Said, intent: u8, write: Write, now: u8) -> Said {
        self.said.of((said.body(), write, now), || {
            match (self.read(said.body(), intent), write) {
                (Head::Decided { approved, .. }, Write::Claim) => self.started(&approved, now),
                (Head::Decided { approved, .. }, Write::Revoke(code)) => {
                    self.revoked(&approved, code)
                }
                (Head::Claimed { started, .. }, Write::Unknown) => {
                    Said::Completed(self.store(&decision::unknown(&started, at(0)), intent))
                }
                (Head::Claimed { started, .. }, Write::Done) => {
                    self.completed(&started, intent, Outcome::Succeeded, None)
                }
                (Head::Claimed { started, .. }, Write::NotBegun) => {
                    self.completed(&started, intent, Outcome::Failed, Some("not_begun"))
                }
                (Head::Claimed { started, .. }, Write::Frozen) => {
                    self.completed(&started, intent, Outcome::Failed, Some("frozen"))
                }
                (head, write) => panic!("{write:?} does not follow {head:?}"),
            }
        })
    }

    /// `blocked` with `withdrawn`, for a verdict that nobody acted on yet.
    pub(crate) fn withdrawn(&self, intent: u8) -> Said {
        let checked = &self.checked[usize::from(intent)];
        let decision = decision::blocked(checked, BlockedCode::Withdrawn, "It was withdrawn.");
        self.decision_said(&decision)
    }

    /// Whether an approval permits exactly the input that was judged.
    pub(crate) fn permits_the_judged(&self, said: Said, intent: u8) -> bool {
        self.runs.of(said.body(), || {
            let Head::Decided { approved, .. } = self.read(said.body(), intent) else {
                return false;
            };
            approved.input_digest == self.checked[usize::from(intent)].input_digest
        })
    }

    fn keep(&self, approval: Approval) -> Ref {
        let bytes = serde_json::to_vec(&approval).expect("an approval is JSON");
        // As it is read back from the bucket.
        let read = serde_json::from_slice(&bytes).expect("an approval is read again");
        self.approvals.put(read, bytes)
    }

    fn store<E: Event>(&self, event: &E, intent: u8) -> Ref {
        let agent = &self.checked[usize::from(intent)].agent;
        let subject = format!("{}.{agent}.{}", E::NAME, fixtures::intent(intent));
        self.store_at(event, &subject)
    }

    fn store_at<E: Event>(&self, event: &E, subject: &str) -> Ref {
        let body = codec::encode(event, Encoding::Json).expect("an event is JSON");
        let bytes = [subject.as_bytes(), b" ", &body].concat();
        let stored = Stored {
            subject: subject.to_owned(),
            ce_type: headers::ce_type::<E>(),
            body,
        };
        self.bodies.put(stored, bytes)
    }

    fn read(&self, body: Ref, intent: u8) -> Head {
        let stored = self.bodies.get(body);
        let agent = &self.checked[usize::from(intent)].agent;
        Head::read(Some(stored.last(1)), agent, fixtures::intent(intent))
    }

    fn decision_said(&self, decision: &Decision) -> Said {
        match decision {
            Decision::Approved(approved) => {
                let approved: &ToolApproved = approved;
                Said::Approved(self.store(approved, self.number(approved.intent_id)))
            }
            Decision::Blocked(blocked) => {
                let blocked: &ToolBlocked = blocked;
                Said::Blocked(self.store(blocked, self.number(blocked.intent_id)))
            }
        }
    }

    fn number(&self, id: countersign_schemas::IntentId) -> u8 {
        let found = self.checked.iter().position(|one| one.intent_id == id);
        found
            .and_then(|n| u8::try_from(n).ok())
            .expect("an intent of the scenario")
    }

    fn revoked(&self, approved: &ToolApproved, code: RevokedCode) -> Said {
        let event: ToolRevoked = decision::revoked(approved, code, "It will not run.");
        Said::Revoked(self.store(&event, self.number(approved.intent_id)))
    }

    fn started(&self, approved: &ToolApproved, now: u8) -> Said {
        let event = ToolStarted {
            schema_version: 1,
            intent_id: approved.intent_id,
            agent: approved.agent.clone(),
            tool: approved.tool.clone(),
            executor: "tool-executor".parse().expect("a service"),
            lease_until: at(now).plus(LEASE),
        };
        Said::Started(self.store(&event, self.number(approved.intent_id)))
    }

    fn completed(
        &self,
        started: &ToolStarted,
        intent: u8,
        outcome: Outcome,
        code: Option<&str>,
    ) -> Said {
        let event = ToolCompleted {
            schema_version: 1,
            intent_id: started.intent_id,
            agent: started.agent.clone(),
            tool: started.tool.clone(),
            outcome,
            output: None,
            output_summary: String::new(),
            changes: Vec::new(),
            error: code.map(|code| ToolError {
                code: code.to_owned(),
                message: "It did not begin.".to_owned(),
            }),
            duration_ms: 0,
        };
        Said::Completed(self.store(&event, intent))
    }
}
