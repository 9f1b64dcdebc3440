//! Every handoff as people read it, in one file: each kind, and a block by each code.
//!
//! `COUNTERSIGN_WRITE_GOLDEN=1 cargo test --lib -- handoff::golden` writes it anew; the
//! difference belongs into review.

use std::fmt::Write as _;
use std::path::Path;

use countersign_schemas::events::{
    ApprovalVote, BlockedCode, Outcome, RevokedCode, ToolBlocked, ToolRevoked, ToolStarted,
    VoteChoice,
};
use countersign_schemas::{SeqToken, TeamId};

use super::*;
use crate::approvals::Ballot;
use crate::approvals::fixtures::{asked, at, checked, company, person};
use crate::decision::{Decision, blocked, of_revocation, unknown};

fn plain(text: &str) -> String {
    text.to_owned()
}

fn open(approvers: &[(&str, u32)]) -> Approval {
    let mut checked = checked();
    checked.requester.verified = true;
    checked.ask.as_mut().unwrap().approvers = asked(approvers);
    Approval::open(&checked, at("10:00:01")).unwrap()
}

fn vote(approval: &mut Approval, who: &str, choice: VoteChoice, reason: Option<&str>) {
    let vote = ApprovalVote {
        schema_version: 1,
        approval_id: approval.id().clone(),
        digest: approval.digest(),
        vote: choice,
        items: None,
        window: None,
        reason: None,
    };
    let seq = u64::try_from(approval.votes().len()).unwrap() + 1;
    let ballot = Ballot {
        approver: &person(who),
        via: &"self".parse().unwrap(),
        message: &SeqToken::new("abc".parse().unwrap(), seq),
        stored_at: at("10:05:00"),
        vote: &vote,
        reason: reason.map(str::to_owned),
    };
    assert!(approval.vote(&ballot, &company()).changed);
}

/// Why each block happened, as whoever blocks says it.
fn why(code: BlockedCode) -> &'static str {
    match code {
        BlockedCode::PolicyDenied => "Billing may send mail to customers only",
        BlockedCode::GuardrailViolated => "example.org is not on the list of known domains",
        BlockedCode::DeniedByPerson => "A person said no: denied by lee: not this customer",
        BlockedCode::ApprovalExpired => "nobody decided before 2026-11-22T11:00:01Z",
        BlockedCode::Withdrawn => "billing withdrew it",
        BlockedCode::Frozen => "kim froze the agent billing at 2026-11-22T09:00:00Z: audit",
        BlockedCode::UnknownTool => "the catalog has no tool `mail.send`",
        BlockedCode::InvalidInput => "the input does not fit the schema: `/to` breaks `format`",
        BlockedCode::IdentityMismatch => "the message names another agent than its subject",
        BlockedCode::MandateInvalid => "the mandate ended before the request",
        BlockedCode::PolicyError => "rule `limit` cannot be applied: no attribute `amount`",
        BlockedCode::BudgetExceeded => "100 of 100 mails of today are sent",
        BlockedCode::BundleIncomplete => "2 of 3 items came before 2026-11-22T10:10:00Z",
        BlockedCode::TooManyPending => "billing already waits for people with 1000 intents",
        BlockedCode::ToolChanged => "the definition of mail.send changed",
        BlockedCode::Unavailable => "what the agent has seen cannot be read",
        BlockedCode::DryRun => "This was a dry run with the verdict `ask`",
    }
}

fn block(code: BlockedCode) -> ToolBlocked {
    let mut checked = checked();
    checked.requester.verified = true;
    match blocked(&checked, code, why(code)) {
        Decision::Blocked(blocked) => *blocked,
        Decision::Approved(_) => panic!("approved"),
    }
}

struct Book(String);

impl Book {
    fn page(&mut self, head: &str, handoff: &Handoff) {
        let Handoff { title, text, .. } = handoff;
        let people: Vec<&str> = handoff.people.iter().map(PersonId::as_str).collect();
        let until = handoff.until.map_or("-".to_owned(), when);
        writeln!(self.0, "== {head}\n{title}\n\n{text}\n").unwrap();
        writeln!(
            self.0,
            "[code {}; people {}; until {until}; view complete {}]\n",
            handoff.code,
            people.join(", "),
            handoff.view_complete
        )
        .unwrap();
    }
}

fn rendered() -> String {
    let mut book = Book(String::new());
    asked_pages(&mut book);
    resolved_pages(&mut book);
    blocked_pages(&mut book);
    revoked_pages(&mut book);
    outcome_page(&mut book);
    for code in RevokedCode::ALL.iter().copied() {
        let words = of_revocation(code);
        let need = words.need.unwrap_or("nothing");
        let head = format!("== revoked, {code}, next {}", words.next);
        writeln!(book.0, "{head}\n{}\nneeds: {need}.\n", words.about).unwrap();
    }
    book.0
}

fn support() -> TeamId {
    "support".parse().unwrap()
}

fn asked_pages(book: &mut Book) {
    let company = company();
    let writer = Writer::new(&company, &plain);
    let mut two = open(&[("support", 1), ("security", 1)]);
    for handoff in writer.approval(&two) {
        book.page(&format!("approval, to {}", handoff.team), &handoff);
    }
    let first = writer
        .reminder(&two, &support(), 1, at("10:30:00"))
        .unwrap();
    book.page("reminder, nobody answered", &first);
    vote(&mut two, "sam", VoteChoice::Approve, None);
    let second = writer
        .reminder(&two, &support(), 2, at("10:40:00"))
        .unwrap();
    book.page("reminder, one answered", &second);
    let step = Escalation {
        at: at("10:45:00"),
        team: "security".parse().unwrap(),
        instead_of: vec![support()],
    };
    let further = writer.further(&two, &step).unwrap();
    book.page("approval, to a further team", &further);
}

fn resolved_pages(book: &mut Book) {
    let company = company();
    let writer = Writer::new(&company, &plain);
    let mut approved = open(&[("support", 1), ("security", 1)]);
    vote(&mut approved, "sam", VoteChoice::Approve, None);
    vote(&mut approved, "lee", VoteChoice::Approve, None);
    let mut denied = open(&[("support", 1)]);
    let words = Some("not @here, <b>never</b>");
    vote(&mut denied, "lee", VoteChoice::Deny, words);
    let mut expired = open(&[("support", 1)]);
    expired.expire(at("11:00:01"));
    let mut withdrawn = open(&[("support", 1)]);
    withdrawn.cancel("billing withdrew it", at("10:02:00"));
    let mut voided = open(&[("support", 1)]);
    let why = "the definition of mail.send changed";
    voided.void(BlockedCode::ToolChanged, why, at("10:02:00"));
    for ended in [&approved, &denied, &expired, &withdrawn, &voided] {
        let handoff = writer.resolved(ended).remove(0);
        book.page(&format!("resolved, {}", ended.state()), &handoff);
    }
}

fn blocked_pages(book: &mut Book) {
    let company = company();
    let writer = Writer::new(&company, &plain);
    let mut proved = checked();
    proved.requester.verified = true;
    for code in BlockedCode::ALL.iter().copied() {
        let block = block(code);
        let handoff = writer.blocked(&block, &proved).unwrap();
        let head = format!("blocked, {code}, next {}", block.next_action);
        book.page(&head, &handoff);
    }
    let mut timed = checked();
    timed.expires_at = Some(at("10:30:00"));
    let handoff = writer.blocked(&block(BlockedCode::Frozen), &timed);
    let head = "blocked, with a deadline and a claimed requester";
    book.page(head, &handoff.unwrap());
}

/// Why each revocation happened, as whoever revokes says it.
fn why_revoked(code: RevokedCode) -> &'static str {
    match code {
        RevokedCode::Frozen => "kim froze the agent billing at 2026-11-22T10:05:30Z",
        RevokedCode::Withdrawn => "billing withdrew it",
        RevokedCode::WindowClosed => "lee closed the window",
        RevokedCode::PermitExpired => "Nobody started it before 2026-11-22T10:10:00Z.",
        RevokedCode::RecheckDenied => "the policy changed after the decision, and mail is closed",
        RevokedCode::ToolChanged => "the tool's definition changed after the decision",
        RevokedCode::DigestMismatch => "the stored request is not the one that was approved",
        RevokedCode::InputGone => "the stored request is gone",
    }
}

fn revocation(code: RevokedCode) -> ToolRevoked {
    let words = of_revocation(code);
    let blocked = block(BlockedCode::Frozen);
    ToolRevoked {
        schema_version: 1,
        intent_id: blocked.intent_id,
        request: blocked.request,
        agent: blocked.agent,
        requester: blocked.requester,
        tool: blocked.tool,
        code,
        tried: blocked.tried,
        reasons: vec![Reason {
            code: code.as_str().to_owned(),
            message: why_revoked(code).to_owned(),
            policy_id: None,
        }],
        needs: words.needs(code.as_str()),
        handoff: None,
        next_action: words.next,
    }
}

fn revoked_pages(book: &mut Book) {
    let company = company();
    let writer = Writer::new(&company, &plain);
    let mut approved = open(&[("support", 1)]);
    vote(&mut approved, "lee", VoteChoice::Approve, None);
    for code in RevokedCode::ALL.iter().copied() {
        let told = writer.revoked(&revocation(code), &approved);
        assert_eq!(told.len(), usize::from(is_told(code)), "{code}");
        for handoff in told {
            book.page(&format!("blocked after approval, {code}"), &handoff);
        }
    }
}

#[test]
fn nobody_is_told_that_something_was_revoked_which_nobody_granted() {
    let company = company();
    let writer = Writer::new(&company, &plain);
    let revoked = revocation(RevokedCode::PermitExpired);
    let mut denied = open(&[("support", 1)]);
    assert!(writer.revoked(&revoked, &denied).is_empty(), "it waits");
    vote(&mut denied, "lee", VoteChoice::Deny, None);
    assert!(writer.revoked(&revoked, &denied).is_empty(), "denied");
    let mut granted = open(&[("support", 1)]);
    vote(&mut granted, "lee", VoteChoice::Approve, None);
    let other = ToolRevoked {
        intent_id: IntentId::new_at(at("10:00:02")),
        ..revoked
    };
    assert!(
        writer.revoked(&other, &granted).is_empty(),
        "another intent"
    );
}

fn outcome_page(book: &mut Book) {
    let checked = checked();
    let started = ToolStarted {
        schema_version: 1,
        intent_id: checked.intent_id,
        agent: checked.agent.clone(),
        tool: checked.tool.clone(),
        executor: "tool-executor".parse().unwrap(),
        lease_until: at("10:01:00"),
    };
    let completed = unknown(&started, at("10:00:20"));
    let company = company();
    let handoff = Writer::new(&company, &plain).outcome(&completed, &checked, &support());
    book.page("outcome, unknown", &handoff);
    for outcome in [Outcome::Succeeded, Outcome::Failed] {
        let found = OutcomeReconciled {
            schema_version: 1,
            intent_id: checked.intent_id,
            agent: checked.agent.clone(),
            outcome,
            operator: person("kim"),
            reason: "looked in the outbox, with <@lee>".to_owned(),
            reconciled_at: at("12:00:00"),
        };
        let handoff = Writer::new(&company, &plain).found(&found, &checked, &support());
        book.page(&format!("outcome, found: {outcome}"), &handoff);
    }
}

#[test]
fn every_handoff_is_the_golden_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/handoff/golden.txt");
    let rendered = rendered();
    if std::env::var_os("COUNTERSIGN_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &rendered).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (number, (now, was)) in rendered.lines().zip(golden.lines()).enumerate() {
        assert_eq!(now, was, "line {} of {}", number + 1, path.display());
    }
    assert_eq!(rendered.len(), golden.len());
}

#[test]
fn what_needs_no_workaround_says_so() {
    for page in rendered()
        .split("== ")
        .filter(|page| page.starts_with("blocked"))
    {
        assert!(
            page.contains("Please do not do it by another way"),
            "{page}"
        );
        assert!(
            page.contains("billing tried to use mail.send for dana"),
            "{page}"
        );
        assert!(page.contains("In support these can help"), "{page}");
        let helps = page.contains("What would make it possible:");
        assert!(
            helps || page.contains("This one is closed for good."),
            "{page}"
        );
    }
}
