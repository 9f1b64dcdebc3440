//! One believable, full value of every event: one refund of one agent, told through all
//! its stages.

use std::fmt::Debug;
use std::str::FromStr;

use countersign_schemas::codec::{Encoding, decode, encode};
use countersign_schemas::events::*;
use countersign_schemas::{Digest, Event, JsonObject, Timestamp};
use serde_json::json;

/// Fails unless bytes decode to the sample.
pub(crate) type Check = Box<dyn Fn(&[u8])>;

/// A value of an event, encoded, with the check that bytes decode to it again.
pub(crate) struct Sample {
    pub(crate) event: &'static str,
    pub(crate) json: Vec<u8>,
    pub(crate) avro: Vec<u8>,
    pub(crate) check: Check,
}

fn sample<E: Event + Debug + PartialEq + 'static>(event: E) -> Sample {
    Sample {
        event: E::NAME,
        json: encode(&event, Encoding::Json).unwrap(),
        avro: encode(&event, Encoding::Avro).unwrap(),
        check: Box::new(move |bytes| assert_eq!(decode::<E>(bytes).unwrap(), event)),
    }
}

/// Every event once.
pub(crate) fn all() -> Vec<Sample> {
    let mut samples = intents();
    samples.extend(verdicts());
    samples.extend(approvals());
    samples.extend(windows());
    samples.extend(decisions());
    samples.extend(handoffs());
    samples.extend(outcomes());
    samples.extend(control());
    samples.extend(operations());
    samples
}

fn of<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn at(clock: &str) -> Timestamp {
    of(&format!("2026-11-22T{clock}Z"))
}

fn object(value: serde_json::Value) -> JsonObject {
    JsonObject::from_value(value).unwrap()
}

fn digest(of: &str) -> Digest {
    Digest::of_bytes(of.as_bytes())
}

const INTENT: &str = "019aab6e-5c00-7a10-8000-00000000c0de";
const APPROVAL: &str = "a-019aab6e-5c00-7a10-8000-00000000c0de";
const AGENT: &str = "billing";
const TOOL: &str = "billing.refund";
const INCARNATION: &str = "313jn9k2h8a4e";

fn request() -> RequestRef {
    RequestRef {
        stream: "CS_INTENTS".to_owned(),
        incarnation: of(INCARNATION),
        seq: 1042,
    }
}

fn requester() -> CheckedRequester {
    CheckedRequester {
        id: of("maria@example.com"),
        verified: true,
    }
}

fn bundle() -> BundleRef {
    BundleRef {
        id: of("refunds-2026-11-22"),
        size: 3,
        index: 0,
    }
}

fn reasons() -> Vec<Reason> {
    vec![Reason {
        code: "policy_denied".to_owned(),
        message: "Refunds above 100 EUR need the finance team.".to_owned(),
        policy_id: Some("refund-limit".to_owned()),
    }]
}

fn needs() -> Vec<Need> {
    vec![Need {
        code: "approval".to_owned(),
        message: "Two people of finance must approve.".to_owned(),
    }]
}

fn changes() -> Vec<Change> {
    vec![Change {
        resource: "invoice/I-2231".to_owned(),
        field: "status".to_owned(),
        before: Some("paid".to_owned()),
        after: Some("refunded".to_owned()),
    }]
}

fn approvers() -> Vec<TeamQuorum> {
    vec![TeamQuorum {
        team: of("finance"),
        quorum: 2,
    }]
}

fn ask() -> Ask {
    Ask {
        approvers: approvers(),
        expires_in_s: 1800,
        chat_may_approve: false,
        self_allowed: false,
        excluded: vec![of("maria")],
        window_max_s: Some(3600),
        remind_after_s: vec![600, 1200],
        escalation: vec![EscalationStep {
            after_s: 900,
            team: of("heads"),
            instead_of: vec![of("finance")],
        }],
        business_hours: vec!["office".to_owned()],
    }
}

fn limits() -> WindowLimits {
    WindowLimits {
        seconds: 1800,
        max_uses: Some(20),
        max_total: Some("1500.00 EUR".to_owned()),
        same_input_only: Some(false),
    }
}

fn redacted() -> JsonObject {
    object(json!({
        "amount": "120.50", "currency": "EUR", "customer": "[email:k1:9f2c41d07a3b]",
        "invoice": "I-2231",
    }))
}

fn handoff() -> HandoffRef {
    HandoffRef {
        team: of("finance"),
        approval_id: Some(of(APPROVAL)),
        link: Some("https://countersign.example.com/a/1".to_owned()),
    }
}

const TRIED: &str = "billing wanted to refund 120.50 EUR on invoice I-2231.";

fn input() -> serde_json::Value {
    json!({
        "amount": "120.50", "currency": "EUR", "customer": "jo@example.com",
        "invoice": "I-2231", "lines": [{"price": 60.25, "quantity": 2}],
    })
}

fn intents() -> Vec<Sample> {
    vec![
        sample(ToolRequested {
            schema_version: 1,
            intent_id: of(INTENT),
            tool: of(TOOL),
            input: object(input()),
            requester: Requester {
                id: of("maria@example.com"),
                mandate: Some("eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl".to_owned()),
            },
            purpose: "The customer was charged twice, case C-88.".to_owned(),
            session_id: Some("s-7".to_owned()),
            bundle: Some(bundle()),
            facts: Some(object(json!({"case": "C-88"}))),
            expires_at: Some(at("11:00:00")),
            dry_run: Some(false),
        }),
        sample(ToolWithdrawn {
            schema_version: 1,
            intent_id: of(INTENT),
            reason: Some("The customer called back.".to_owned()),
        }),
    ]
}

fn verdicts() -> Vec<Sample> {
    vec![
        sample(PolicyChecked {
            schema_version: 1,
            intent_id: of(INTENT),
            request: request(),
            agent: of(AGENT),
            requester: requester(),
            tool: of(TOOL),
            operation: Some(Operation::Update),
            purpose: "The customer was charged twice, case C-88.".to_owned(),
            bundle: Some(bundle()),
            session_id: Some("s-7".to_owned()),
            expires_at: Some(at("11:00:00")),
            dry_run: Some(false),
            verdict: Verdict::Ask,
            reasons: reasons(),
            needs: needs(),
            ask: Some(ask()),
            guardrails: vec![GuardrailResult {
                name: "invoice_total".to_owned(),
                result: GuardrailFinding::Pass,
                message: "The lines add up.".to_owned(),
            }],
            input_redacted: redacted(),
            input_shown: object(input()),
            amount: Some("120.50".to_owned()),
            currency: Some("EUR".to_owned()),
            summary: "Refund 120.50 EUR on invoice I-2231.".to_owned(),
            changes: changes(),
            input_digest: digest("input"),
            salt: "AAECAwQFBgcICQoLDA0ODw".to_owned(),
            input_match: "hmac-sha256:k1:0d9e".to_owned(),
            policy_digest: digest("policy"),
            tool_digest: Some(digest("tool")),
            expose: vec!["/refund_id".to_owned()],
            helper: Some(of("finance")),
            charges: vec![Charge {
                ledger: "refunds.mfrggzdfmztwq2lknnwg23tpob.1795348800".to_owned(),
                amount: "120.5".to_owned(),
                mark: 7,
            }],
            requested_at: at("10:00:00.000123"),
        }),
        sample(ToolRefused {
            schema_version: 1,
            intent_id: Some(of(INTENT)),
            agent: of(AGENT),
            request: request(),
            code: RefusedCode::IntentConflict,
            message: "This id is already used with other content; make a new one.".to_owned(),
        }),
    ]
}

fn approval_requested() -> Sample {
    sample(ApprovalRequested {
        schema_version: 1,
        approval_id: of(APPROVAL),
        kind: ApprovalKind::Action,
        items: vec![ApprovalItem {
            intent_id: of(INTENT),
            tool: of(TOOL),
            operation: Operation::Update,
            summary: "Refund 120.50 EUR on invoice I-2231.".to_owned(),
            input_redacted: redacted(),
            input_digest: digest("input"),
            amount: Some("120.50".to_owned()),
        }],
        agent: of(AGENT),
        requester: requester(),
        purpose: "The customer was charged twice, case C-88.".to_owned(),
        reasons: reasons(),
        changes: changes(),
        approvers: approvers(),
        chat_may_approve: false,
        created_at: at("10:00:01"),
        expires_at: at("10:30:01"),
        escalation: vec![Escalation {
            at: at("10:15:01"),
            team: of("heads"),
            instead_of: vec![of("finance")],
        }],
        reminders: vec![at("10:10:01")],
        business_hours: vec!["office".to_owned()],
        digest: digest("view"),
        session_id: Some("s-7".to_owned()),
        guardrails: vec![GuardrailResult {
            name: "invoice_total".to_owned(),
            result: GuardrailFinding::Pass,
            message: "The lines add up to the amount.".to_owned(),
        }],
        view_complete: false,
        window: Some(WindowAsked {
            tools: vec![of(TOOL)],
            limits: limits(),
            fields: vec!["status".to_owned()],
            requester: Some(requester()),
        }),
    })
}

fn approvals() -> Vec<Sample> {
    vec![
        approval_requested(),
        sample(ApprovalVote {
            schema_version: 1,
            approval_id: of(APPROVAL),
            digest: digest("view"),
            vote: VoteChoice::Approve,
            items: Some(vec![of(INTENT)]),
            window: Some(limits()),
            reason: Some("Checked with the bank statement.".to_owned()),
        }),
        sample(ApprovalVoted {
            schema_version: 1,
            approval_id: of(APPROVAL),
            approver: of("lee"),
            on_behalf_of: Some(of("dora")),
            via: of("self"),
            vote: VoteChoice::Approve,
            counted: true,
            code: "counted".to_owned(),
            message: "Your vote counts; one more person of finance must approve.".to_owned(),
            reason: Some("Checked with the bank statement.".to_owned()),
            state: ApprovalState::Pending,
            voted_at: at("10:04:00"),
        }),
        sample(ApprovalResolved {
            schema_version: 1,
            approval_id: of(APPROVAL),
            kind: ApprovalKind::Action,
            agent: of(AGENT),
            intents: vec![of(INTENT)],
            state: ApprovalState::Approved,
            votes: vec![CountedVote {
                approver: of("lee"),
                on_behalf_of: Some(of("dora")),
                via: of("self"),
                vote: VoteChoice::Approve,
                at: at("10:04:00"),
                reason: Some("Checked with the bank statement.".to_owned()),
            }],
            asked_from: Some(at("10:00:01")),
            message: "Approved by lee for dora.".to_owned(),
            resolved_at: at("10:04:00.5"),
        }),
    ]
}

fn windows() -> Vec<Sample> {
    vec![
        sample(WindowRequested {
            schema_version: 1,
            agent: of(AGENT),
            tools: vec![of(TOOL), of("billing.note")],
            limits: limits(),
            reason: "Clearing the double charges of last night.".to_owned(),
            fields: vec!["status".to_owned()],
            requester: Some(of("maria@example.com")),
        }),
        sample(WindowClosing {
            schema_version: 1,
            window_id: of("w-313jn9k2h8a4e-17"),
            reason: Some("Done early.".to_owned()),
        }),
        sample(WindowOpened {
            schema_version: 1,
            window_id: of("w-313jn9k2h8a4e-17"),
            agent: of(AGENT),
            tools: vec![of(TOOL)],
            limits: limits(),
            ask: ask(),
            approvers: vec![of("lee"), of("sam")],
            opened_at: at("10:10:00"),
            expires_at: at("10:40:00"),
            fields: vec!["status".to_owned()],
            requester: Some(CheckedRequester {
                id: of("maria@example.com"),
                verified: true,
            }),
            votes: vec![CountedVote {
                approver: of("lee"),
                on_behalf_of: Some(of("sam")),
                via: of("self"),
                vote: VoteChoice::Approve,
                at: at("10:10:00"),
                reason: Some("Checked with the bank statement.".to_owned()),
            }],
            approval_id: Some(of(APPROVAL)),
            reason: Some("Clearing the double charges of last night.".to_owned()),
        }),
        sample(WindowClosed {
            schema_version: 1,
            window_id: of("w-313jn9k2h8a4e-17"),
            agent: of(AGENT),
            code: "revoked".to_owned(),
            uses: 12,
            closed_at: at("10:40:00"),
            total: Some("1446.00".to_owned()),
            by: Some(of("lee")),
            reason: Some("Done early.".to_owned()),
        }),
    ]
}

fn decisions() -> Vec<Sample> {
    vec![
        sample(ToolApproved {
            schema_version: 1,
            intent_id: of(INTENT),
            agent: of(AGENT),
            requester: requester(),
            tool: of(TOOL),
            operation: Operation::Update,
            input_digest: digest("input"),
            request: request(),
            basis: Basis {
                kind: BasisKind::Person,
                policy_ids: vec!["refund-limit".to_owned()],
                approvers: vec![of("lee"), of("sam")],
                approval_id: Some(of(APPROVAL)),
                window_id: Some(of("w-313jn9k2h8a4e-17")),
            },
            approved_until: at("10:09:00"),
            permit: "eyJ0eXAiOiJwZXJtaXQrand0In0.e30.c2lnbmF0dXJl".to_owned(),
            policy_digest: digest("policy"),
            tool_digest: digest("tool"),
        }),
        sample(ToolBlocked {
            schema_version: 1,
            intent_id: of(INTENT),
            request: request(),
            agent: of(AGENT),
            requester: requester(),
            tool: of(TOOL),
            code: BlockedCode::ApprovalExpired,
            tried: TRIED.to_owned(),
            reasons: reasons(),
            needs: needs(),
            handoff: Some(handoff()),
            next_action: NextAction::Request,
        }),
        sample(ToolRevoked {
            schema_version: 1,
            intent_id: of(INTENT),
            request: request(),
            agent: of(AGENT),
            requester: requester(),
            tool: of(TOOL),
            code: RevokedCode::PermitExpired,
            tried: TRIED.to_owned(),
            reasons: reasons(),
            needs: needs(),
            handoff: Some(handoff()),
            next_action: NextAction::Retry,
        }),
    ]
}

fn handoffs() -> Vec<Sample> {
    vec![sample(Handoff {
        schema_version: 1,
        kind: HandoffKind::Approval,
        team: of("finance"),
        intents: vec![of(INTENT)],
        approval_id: Some(of(APPROVAL)),
        agent: of(AGENT),
        requester: requester(),
        tool: of(TOOL),
        code: "pending".to_owned(),
        title: "billing asks: refund 120.50 EUR".to_owned(),
        text: format!("{TRIED} Two people of finance must approve."),
        tried: TRIED.to_owned(),
        reasons: reasons(),
        needs: needs(),
        people: vec![of("lee"), of("sam")],
        until: Some(at("10:30:01")),
        link: Some("https://countersign.example.com/a/1".to_owned()),
        view_complete: false,
    })]
}

fn outcomes() -> Vec<Sample> {
    vec![
        sample(ToolStarted {
            schema_version: 1,
            intent_id: of(INTENT),
            agent: of(AGENT),
            tool: of(TOOL),
            executor: of("tool-executor-1"),
            lease_until: at("10:05:10"),
        }),
        sample(ToolCompleted {
            schema_version: 1,
            intent_id: of(INTENT),
            agent: of(AGENT),
            tool: of(TOOL),
            outcome: Outcome::Succeeded,
            output: Some(object(json!({"refund_id": "R-9"}))),
            output_summary: "Refund R-9 was made.".to_owned(),
            changes: changes(),
            error: Some(ToolError {
                code: "partial".to_owned(),
                message: "The receipt could not be mailed.".to_owned(),
            }),
            duration_ms: 412,
        }),
        sample(OutcomeLate {
            schema_version: 1,
            intent_id: of(INTENT),
            agent: of(AGENT),
            tool: of(TOOL),
            outcome: Outcome::Failed,
            output: Some(object(json!({"refund_id": "R-9"}))),
            output_summary: "The bank refused.".to_owned(),
            changes: changes(),
            error: Some(ToolError {
                code: "bank_refused".to_owned(),
                message: "The bank refused the refund.".to_owned(),
            }),
            duration_ms: 61_000,
        }),
        sample(OutcomeFound {
            schema_version: 1,
            intent_id: of(INTENT),
            agent: of(AGENT),
            outcome: Outcome::Succeeded,
            reason: "The refund is in the bank statement.".to_owned(),
        }),
        sample(OutcomeReconciled {
            schema_version: 1,
            intent_id: of(INTENT),
            agent: of(AGENT),
            outcome: Outcome::Succeeded,
            operator: of("olga"),
            reason: "The refund is in the bank statement.".to_owned(),
            reconciled_at: at("12:00:00"),
        }),
    ]
}

fn control() -> Vec<Sample> {
    let scope = || FreezeScope {
        agent: Some(of(AGENT)),
        tool: Some(of(TOOL)),
        requester: Some(of("maria@example.com")),
    };
    vec![
        sample(ControlFreeze {
            schema_version: 1,
            scope: scope(),
            reason: "Refunds look wrong.".to_owned(),
        }),
        sample(ControlUnfreeze {
            schema_version: 1,
            scope: scope(),
            reason: "Found the cause.".to_owned(),
        }),
        sample(ControlApplied {
            schema_version: 1,
            frozen: true,
            scope: scope(),
            operator: of("olga"),
            reason: "Refunds look wrong.".to_owned(),
            applied_at: at("10:20:00"),
        }),
        sample(ControlDone {
            schema_version: 1,
            revoked: 3,
            stopped: 2,
            running: vec![of(INTENT)],
            running_more: 1,
            duration_ms: 18,
        }),
        sample(ControlRefused {
            schema_version: 1,
            person: of("lee"),
            code: "not_an_operator".to_owned(),
            message: "Only operators freeze; ask one of them.".to_owned(),
        }),
    ]
}

fn operations() -> Vec<Sample> {
    let mut samples = vault();
    samples.extend(archive());
    samples.extend([
        sample(PolicyPublished {
            schema_version: 1,
            policy_digest: digest("policy"),
            previous: Some(digest("older policy")),
            operator: Some(of("olga")),
        }),
        sample(IdentityChanged {
            schema_version: 1,
            change: "rotated".to_owned(),
            role: "agent".to_owned(),
            name: AGENT.to_owned(),
            public_key: Some("UCXRAJ2GQ2K2N2B5N5R4K3C2HTA5XHHJ2B4JSHWRZN5ZBWYD6MJQYZ5T".to_owned()),
            operator: of("olga"),
        }),
        sample(AuditAccessed {
            schema_version: 1,
            person: of("olga"),
            query: "SELECT outcome, count(*) FROM actions GROUP BY outcome".to_owned(),
            rows: 3,
            result: "ok".to_owned(),
        }),
        sample(DeadLetter {
            schema_version: 1,
            service: of("tool-executor"),
            stream: "CS_EVENTS".to_owned(),
            incarnation: of(INCARNATION),
            seq: 77,
            subject: format!("tool.approved.{AGENT}.{INTENT}"),
            payload_digest: digest("payload"),
            payload_bytes: 12,
            error: "the body is empty".to_owned(),
        }),
    ]);
    samples
}

fn vault() -> Vec<Sample> {
    vec![
        sample(VaultTokenized {
            schema_version: 1,
            class: "iban".to_owned(),
            surrogate: "tok_iban_aaaqeayeaudaocajbifqydiob4".to_owned(),
            by: of("tool-executor"),
        }),
        sample(VaultRevealed {
            schema_version: 1,
            intent_id: of(INTENT),
            agent: of(AGENT),
            pointers: vec!["/iban".to_owned()],
            claim_seq: 2311,
        }),
        sample(VaultErased {
            schema_version: 1,
            subject: "k1:9f2c41d07a3b".to_owned(),
            operator: of("olga"),
            values: 14,
        }),
    ]
}

fn archive() -> Vec<Sample> {
    vec![
        sample(ArchiveCommitted {
            schema_version: 1,
            n: 12,
            entry_digest: digest("entry"),
            tree_size: 48_211,
            positions: vec![StreamPosition {
                stream: "CS_EVENTS".to_owned(),
                incarnation: of(INCARNATION),
                seq: 40_001,
            }],
            signer: "countersign.example.com+0d9e".to_owned(),
            checkpoint: Some("northwind\n48211\ncm9vdA==\n\n\u{2014} northwind c2ln\n".to_owned()),
        }),
        sample(ArchivePurged {
            schema_version: 1,
            stream: "CS_INTENTS".to_owned(),
            incarnation: of(INCARNATION),
            up_to_seq: 900,
            messages: 899,
        }),
    ]
}
