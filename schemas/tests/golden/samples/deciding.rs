//! What becomes of it: decisions, handoffs and outcomes.

use super::*;

pub(super) fn decisions() -> Vec<Sample> {
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

pub(super) fn handoffs() -> Vec<Sample> {
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

pub(super) fn outcomes() -> Vec<Sample> {
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
