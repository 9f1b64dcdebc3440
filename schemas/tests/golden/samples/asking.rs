//! What is asked: intents, verdicts, approvals and windows.

use super::*;

pub(super) fn intents() -> Vec<Sample> {
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

pub(super) fn verdicts() -> Vec<Sample> {
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

pub(super) fn approvals() -> Vec<Sample> {
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

pub(super) fn windows() -> Vec<Sample> {
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
