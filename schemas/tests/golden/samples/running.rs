//! What runs the system: control, operations, the vault and the archive.

use super::*;

pub(super) fn control() -> Vec<Sample> {
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

pub(super) fn operations() -> Vec<Sample> {
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
