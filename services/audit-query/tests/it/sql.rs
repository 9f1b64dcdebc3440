//! SQL over an archive written here: answers, limits, and that nothing but reading works.

use std::fs::{self, File};
use std::time::Duration;

use countersign_audit_query::output::{self, Format};
use countersign_audit_query::{Archive, QueryError, QueryLimits, story};
use countersign_domain::archive::{BadPlace, Entry, ManifestKey, ManifestPublicKeys, Row};
use countersign_schemas::Digest;
use serde_json::{Value, json};

use crate::written::{
    BLOCKED, INTENT, OTHER, Written, blocked_and_open, checked, event, key, requested,
    story_archive,
};

async fn rows(archive: &Archive, sql: &str) -> Value {
    let answer = archive.query(sql, QueryLimits::default()).await.unwrap();
    serde_json::from_slice(&output::write(&answer, Format::Json).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_tell_who_asked_who_acted_who_decided_and_what_changed() {
    let written = story_archive();
    let archive = written.open();
    let found = rows(
        &archive,
        "SELECT intent_id, requester_id, requester_proof, agent_id, tool_name, verdict, decision, \
         decided_by_kind, decided_by, state, outcome, changes, reason_codes, purpose, session_id, \
         bundle_id FROM actions ORDER BY intent_id",
    )
    .await;
    let common = json!({"requester_id": "sam", "requester_proof": "claimed", "agent_id": "billing",
        "tool_name": "mail.send", "purpose": "Send the invoice", "session_id": null,
        "bundle_id": null});
    let with = |more: Value| {
        let mut all = common.as_object().unwrap().clone();
        all.extend(more.as_object().unwrap().clone());
        Value::Object(all)
    };
    assert_eq!(
        found,
        json!([
            with(
                json!({"intent_id": INTENT, "verdict": "ask", "decision": "approved",
                "decided_by_kind": "person", "decided_by": "lee", "state": "succeeded",
                "outcome": "succeeded", "reason_codes": "unknown_domain",
                "changes": "[{\"resource\":\"mail/9\",\"field\":\"state\",\"before\":\"draft\",\"after\":\"sent\"}]"})
            ),
            with(
                json!({"intent_id": OTHER, "verdict": null, "decision": null,
                "decided_by_kind": null, "decided_by": null, "state": "requested",
                "outcome": null, "reason_codes": null, "changes": null})
            ),
            with(
                json!({"intent_id": BLOCKED, "verdict": "deny", "decision": "blocked",
                "decided_by_kind": "policy", "decided_by": "mail-1", "state": "blocked",
                "outcome": null, "reason_codes": "policy_denied", "changes": null})
            ),
        ])
    );
    let approvals = rows(
        &archive,
        "SELECT approval_id, state, decided_by FROM approvals",
    )
    .await;
    assert_eq!(
        approvals,
        json!([{"approval_id": format!("a-{INTENT}"), "state": "approved", "decided_by": "lee"}])
    );
}

/// What the coordinator says of a window of ten minutes.
fn opened(id: &str, more: &Value) -> Row {
    let vote = |who: &str| {
        json!({"approver": who, "via": "self", "vote": "approve",
            "at": "2026-11-22T10:00:00Z"})
    };
    let mut body = json!({"schema_version": 1, "window_id": id, "agent": "billing",
        "tools": ["mail.send", "crm.read"], "approvers": ["lee", "sam"],
        "limits": {"seconds": 600, "max_uses": 3, "max_total": "100 EUR",
            "same_input_only": false},
        "ask": {"approvers": [{"team": "support", "quorum": 2}], "expires_in_s": 600,
            "chat_may_approve": false},
        "opened_at": "2026-11-22T10:00:00Z", "expires_at": "2026-11-22T10:10:00Z",
        "votes": [vote("lee"), vote("sam")], "reason": "the night's mails"});
    let fields = body.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    event(&format!("window.opened.billing.{id}"), 0, &body)
}

fn closed(id: &str, more: &Value) -> Row {
    let mut body = json!({"schema_version": 1, "window_id": id, "agent": "billing",
        "code": "expired", "uses": 1, "total": "20 EUR", "closed_at": "2026-11-22T10:10:00Z"});
    let fields = body.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    event(&format!("window.closed.billing.{id}"), 600, &body)
}

fn under(n: u8, window: &str) -> Row {
    let digest = Digest::of_bytes(b"x");
    let more = json!({"operation": "send", "input_digest": digest,
        "basis": {"kind": "window", "policy_ids": [], "approvers": ["lee"], "window_id": window},
        "approved_until": "2026-11-22T10:05:00Z", "permit": "p", "policy_digest": digest,
        "tool_digest": digest});
    on("tool.approved", n, &more)
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_tell_who_opened_them_how_far_they_went_and_how_they_ended() {
    let mut written = Written::new();
    // Words that look like keys of the limits are none.
    let fields = json!({"fields": [",\"max_uses\":9"], "approval_id": "w-abc-1",
        "requester": {"id": "maria", "verified": true}});
    written.add(vec![
        opened("w-abc-1", &fields),
        under(1, "w-abc-1"),
        under(1, "w-abc-1"),
        under(2, "w-abc-1"),
        closed(
            "w-abc-1",
            &json!({"code": "revoked", "by": "kim", "reason": "done early"}),
        ),
        opened("w-abc-2", &json!({"limits": {"seconds": 60}})),
        under(3, "w-abc-9"),
        closed("w-abc-9", &json!({})),
    ]);
    let archive = written.open();
    let found = rows(
        &archive,
        "SELECT window_id, agent_id, tools, requester_id, opened_by, voters, approval_id, \
         purpose, seconds, max_uses, max_total, until, state, closed_at, closed_by, \
         close_reason, approved, uses, total FROM windows ORDER BY window_id",
    )
    .await;
    let first = json!({"window_id": "w-abc-1", "agent_id": "billing",
        "tools": "mail.send,crm.read", "requester_id": "maria", "opened_by": "lee",
        "voters": "lee,sam", "approval_id": "w-abc-1", "purpose": "the night's mails",
        "seconds": 600, "max_uses": 3, "max_total": "100 EUR", "until": "2026-11-22T10:10:00",
        "state": "revoked", "closed_at": "2026-11-22T10:10:00", "closed_by": "kim",
        "close_reason": "done early", "approved": 2, "uses": 1, "total": "20 EUR"});
    let second = json!({"window_id": "w-abc-2", "agent_id": "billing",
        "tools": "mail.send,crm.read", "requester_id": null, "opened_by": "lee",
        "voters": "lee,sam", "approval_id": null, "purpose": "the night's mails",
        "seconds": 60, "max_uses": null, "max_total": null, "until": "2026-11-22T10:10:00",
        "state": "open", "closed_at": null, "closed_by": null, "close_reason": null,
        "approved": 0, "uses": null, "total": null});
    assert_eq!(found, json!([first, second]));
}

fn numbered(n: u8) -> String {
    format!("01920000-0000-7000-8000-0000000000{n:02}")
}

/// An event of one intent, with the fields that all of them share and `more`.
fn on(name: &str, n: u8, more: &Value) -> Row {
    let mut body = json!({"schema_version": 1, "intent_id": numbered(n), "agent": "billing",
        "request": {"stream": "CS_INTENTS", "incarnation": "abc", "seq": 7},
        "requester": {"id": "sam", "verified": true}, "tool": "mail.send"});
    let fields = body.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    event(&format!("{name}.billing.{}", numbered(n)), 0, &body)
}

fn judged(n: u8, verdict: &str) -> Row {
    on("policy.checked", n, &checked(&numbered(n), verdict))
}

fn approved(n: u8) -> Row {
    let digest = Digest::of_bytes(b"x");
    let more = json!({"operation": "send", "input_digest": digest,
        "basis": {"kind": "policy", "policy_ids": ["mail-1"], "approvers": []},
        "approved_until": "2026-11-22T10:05:00Z", "permit": "p", "policy_digest": digest,
        "tool_digest": digest});
    on("tool.approved", n, &more)
}

fn started(n: u8) -> Row {
    let more = json!({"executor": "e", "lease_until": "2026-11-22T10:05:00Z"});
    on("tool.started", n, &more)
}

fn ended(name: &str, n: u8, outcome: &str) -> Row {
    let more = json!({"outcome": outcome, "output_summary": "x", "duration_ms": 1});
    on(name, n, &more)
}

fn refused_as_too_old(n: u8) -> [Row; 2] {
    let refused = json!({"schema_version": 1, "intent_id": numbered(n), "agent": "billing",
        "request": {"stream": "CS_INTENTS", "incarnation": "abc", "seq": 7},
        "code": "intent_out_of_time", "message": "Too old."});
    [
        event("tool.requested.billing", 0, &requested(&numbered(n))),
        event("tool.refused.billing.abc.9", 0, &refused),
    ]
}

fn revoked(n: u8) -> Row {
    let more = json!({"code": "frozen", "tried": "x", "reasons": [], "needs": [],
        "next_action": "none"});
    on("tool.revoked", n, &more)
}

fn found_to_have_failed(n: u8) -> Row {
    let more = json!({"outcome": "failed", "operator": "lee", "reason": "x",
        "reconciled_at": "2026-11-22T11:00:00Z"});
    on("outcome.reconciled", n, &more)
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_know_every_state_an_intent_can_be_in() {
    let mut written = Written::new();
    let mut events = vec![judged(2, "ask"), judged(3, "allow"), approved(4)];
    events.extend(refused_as_too_old(1));
    events.extend([approved(5), revoked(5), approved(6), started(6)]);
    events.extend([
        approved(7),
        started(7),
        ended("tool.completed", 7, "unknown"),
    ]);
    events.extend([
        ended("tool.completed", 8, "unknown"),
        approved(8),
        found_to_have_failed(8),
    ]);
    let late = ended("outcome.late", 9, "succeeded");
    events.extend([approved(9), ended("tool.completed", 9, "unknown"), late]);
    written.add(events);
    let archive = written.open();
    let sql =
        "SELECT state, reason_codes AS why, decided_by_kind AS by FROM actions ORDER BY intent_id";
    let policy = |state: &str| json!({"state": state, "why": null, "by": "policy"});
    assert_eq!(
        rows(&archive, sql).await,
        json!([
            {"state": "refused", "why": "intent_out_of_time", "by": null},
            {"state": "pending", "why": "unknown_domain", "by": null},
            {"state": "checked", "why": "unknown_domain", "by": null},
            policy("approved"),
            {"state": "revoked", "why": "frozen", "by": "policy"},
            policy("running"),
            policy("unknown"),
            policy("failed"),
            policy("succeeded"),
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_reads_as_a_story() {
    let written = story_archive();
    let archive = written.open();
    let limits = QueryLimits::default();
    let told = story::story(&archive, INTENT.parse().unwrap(), limits)
        .await
        .unwrap();
    let told = told.join("\n");
    for part in [
        "10:00:00.000Z  tool.requested       billing asks for mail.send on behalf of sam, saying \"Send the invoice\"",
        "verdict ask; requester sam claimed, not proved: Mail to one address.",
        "input {\"to\":\"[email:k1:0123456789ab]\"}",
        "approved by person lee",
        "executor-1 runs mail.send",
        "succeeded: Sent.",
    ] {
        assert!(told.contains(part), "{part:?} is not in\n{told}");
    }
    let unknown = "01920000-0000-7000-8000-00000000ffff".parse().unwrap();
    assert!(
        story::story(&archive, unknown, limits)
            .await
            .unwrap()
            .is_empty()
    );
    let forged = story::story(&archive, OTHER.parse().unwrap(), limits)
        .await
        .unwrap();
    assert!(
        forged[1].contains("only this is kept: unreadable"),
        "{forged:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_reading_the_archive_works() {
    let written = story_archive();
    let archive = written.open();
    let file = written.dir().join("outside.csv");
    fs::write(&file, "a\nsecret\n").unwrap();
    let parquet = archive_file(&written);
    let (outside, inside) = (file.display().to_string(), parquet.display().to_string());
    let hostile = [
        "CREATE TABLE t AS SELECT 1".to_owned(),
        "CREATE VIEW v AS SELECT 1".to_owned(),
        "CREATE SCHEMA s".to_owned(),
        "CREATE DATABASE d".to_owned(),
        format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{outside}'"),
        format!("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{inside}'"),
        "CREATE FUNCTION f() RETURNS INT RETURN 1".to_owned(),
        "DROP TABLE events".to_owned(),
        "DROP VIEW actions".to_owned(),
        "ALTER TABLE events ADD COLUMN x INT".to_owned(),
        "TRUNCATE TABLE events".to_owned(),
        "INSERT INTO events SELECT * FROM events".to_owned(),
        "UPDATE events SET event = 'x'".to_owned(),
        "DELETE FROM events".to_owned(),
        format!("COPY events TO '{outside}'"),
        format!("COPY (SELECT 1) TO '{outside}' STORED AS CSV"),
        format!("EXPLAIN COPY (SELECT 1) TO '{outside}' STORED AS CSV"),
        format!("EXPLAIN ANALYZE COPY (SELECT 1) TO '{outside}' STORED AS CSV"),
        "EXPLAIN ANALYZE INSERT INTO events SELECT * FROM events".to_owned(),
        "EXPLAIN CREATE TABLE t AS SELECT 1".to_owned(),
        "SET datafusion.catalog.information_schema = false".to_owned(),
        "RESET datafusion.catalog.information_schema".to_owned(),
        "SET TIME ZONE 'UTC'".to_owned(),
        "BEGIN".to_owned(),
        "COMMIT".to_owned(),
        "PREPARE p AS SELECT 1".to_owned(),
        "EXECUTE p".to_owned(),
        "DEALLOCATE p".to_owned(),
        "SELECT 1; DROP TABLE events".to_owned(),
        "SELECT 1; SELECT 2".to_owned(),
        format!("SELECT * FROM '{outside}'"),
        format!("SELECT * FROM '{inside}'"),
        format!("SELECT * FROM \"{inside}\""),
        "SELECT * FROM 'archive://local/archive'".to_owned(),
        "SELECT * FROM '/etc/passwd'".to_owned(),
        format!("SELECT * FROM read_parquet('{inside}')"),
        format!("SELECT * FROM read_csv('{outside}')"),
        format!("SELECT * FROM parquet_metadata('{inside}')"),
        "SELECT read_text('/etc/passwd')".to_owned(),
        "LOAD 'x'".to_owned(),
        "ATTACH 'x' AS y".to_owned(),
        "VACUUM".to_owned(),
        "GRANT SELECT ON events TO x".to_owned(),
        String::new(),
        ";".to_owned(),
    ];
    for statement in hostile {
        let answered = archive.query(&statement, QueryLimits::default()).await;
        let error = answered
            .err()
            .unwrap_or_else(|| panic!("{statement:?} was answered"));
        let known = matches!(error, QueryError::NotReading(_) | QueryError::Sql(_));
        assert!(known, "{statement:?}: {error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "a\nsecret\n");
    assert_eq!(
        rows(&archive, "SELECT count(*) AS n FROM events").await,
        json!([{"n": 16}])
    );
}

fn archive_file(written: &Written) -> std::path::PathBuf {
    let bytes = fs::read(written.dir().join(Entry::path(1))).unwrap();
    let signed = countersign_domain::archive::SignedEntry::parse(&bytes).unwrap();
    written.dir().join(&signed.entry.files[0].path)
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_statements_of_every_kind_work() {
    let written = story_archive();
    let archive = written.open();
    for statement in [
        "SELECT * FROM events",
        "SELECT event, count(*) FROM events GROUP BY event ORDER BY 2 DESC",
        "WITH x AS (SELECT 1 AS a) SELECT * FROM x UNION ALL SELECT 2",
        "EXPLAIN SELECT * FROM actions",
        "EXPLAIN ANALYZE SELECT count(*) FROM events",
        "SHOW TABLES",
        "SHOW COLUMNS FROM events",
        "DESCRIBE events",
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'actions'",
        "SELECT * FROM events WHERE 'unknown_domain' = ANY(reason_codes)",
        "SELECT date_trunc('hour', time) AS h, count(*) FROM events GROUP BY 1",
        "SELECT * FROM events WHERE time > now() - INTERVAL '1 day'",
        "SELECT * FROM events WHERE output_summary LIKE '%Mail%' ORDER BY time DESC LIMIT 5;",
    ] {
        let answer = archive.query(statement, QueryLimits::default()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{statement}: {error}"));
        for format in Format::ALL {
            output::write(&answer, *format)
                .unwrap_or_else(|error| panic!("{statement} as {format:?}: {error}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_answer_in_words_and_never_cut() {
    let written = story_archive();
    let archive = written.open();
    let limits = QueryLimits::default();
    let long = format!("SELECT '{}'", "x".repeat(70_000));
    let many = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b";
    let heavy = "SELECT array_agg(a.value || repeat('x', 1000)) FROM generate_series(1, 1000000) a";
    let cases = [
        (
            "SELECT * FROM events",
            QueryLimits { rows: 12, ..limits },
            "more than 12 rows; add LIMIT 12",
        ),
        (long.as_str(), limits, "more than 65536 bytes"),
        (
            many,
            QueryLimits {
                timeout: Duration::from_millis(50),
                ..limits
            },
            "ran longer than",
        ),
        (
            heavy,
            QueryLimits {
                memory_bytes: 4 * 1024 * 1024,
                ..limits
            },
            "more than 4 MiB of memory",
        ),
        ("SELECT nothing FROM events", limits, "cannot answer"),
    ];
    for (statement, limits, words) in cases {
        let error = archive
            .query(statement, limits)
            .await
            .unwrap_err()
            .to_string();
        let short: String = statement.chars().take(60).collect();
        assert!(error.contains(words), "{short}: {error}");
    }
    let exactly = QueryLimits { rows: 16, ..limits };
    assert_eq!(
        archive
            .query("SELECT * FROM events", exactly)
            .await
            .unwrap()
            .rows(),
        16
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_files_of_the_manifest_count_and_new_entries_come_with_a_refresh() {
    let mut written = story_archive();
    let mut archive = written.open();
    let orphan = archive_file(&written).with_file_name("orphan.parquet");
    fs::copy(archive_file(&written), orphan).unwrap();
    let count = "SELECT count(*) AS n FROM events";
    assert_eq!(rows(&archive, count).await, json!([{"n": 16}]));
    written.add(blocked_and_open());
    let before = archive.clone();
    assert!(archive.refresh().unwrap());
    assert!(!archive.refresh().unwrap());
    assert_eq!(rows(&archive, count).await, json!([{"n": 22}]));
    assert_eq!(rows(&before, count).await, json!([{"n": 16}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_archive_answers_and_none_at_all_says_so() {
    let empty = Written::new();
    let archive = empty.open();
    assert_eq!(
        rows(&archive, "SELECT count(*) AS n FROM actions").await,
        json!([{"n": 0}])
    );
    let error = Archive::open(empty.dir().join("else"), ManifestPublicKeys::default());
    assert!(error.unwrap_err().to_string().contains("is no archive"));
}

#[test]
fn a_damaged_manifest_is_not_opened() {
    let written = story_archive();
    let other = ManifestKey::from_bytes(&[9; 32]).public();
    assert!(Archive::open(written.dir(), other).is_err());
    fs::remove_file(written.dir().join(Entry::path(1))).unwrap();
    let error = Archive::open(written.dir(), key().public()).unwrap_err();
    let missing = countersign_audit_query::OpenError::Damaged(BadPlace::Missing { n: 1, later: 2 });
    assert_eq!(error.to_string(), missing.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_an_error_and_never_a_smaller_answer() {
    let written = story_archive();
    let path = archive_file(&written);
    let half = fs::metadata(&path).unwrap().len() / 2;
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(half)
        .unwrap();
    let archive = written.open();
    let answered = archive
        .query("SELECT count(seq) FROM events", QueryLimits::default())
        .await;
    assert!(answered.is_err());
    fs::remove_file(&path).unwrap();
    let answered = archive
        .query("SELECT count(seq) FROM events", QueryLimits::default())
        .await;
    assert!(answered.is_err());
}
