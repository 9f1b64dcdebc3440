//! What the documents say can be asked, asked of what real services archived: every statement
//! of the cookbook, and the archive's files as other programs read them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_tests::python::{or_skip, venv};
use countersign_tests::worker::FAILS;
use countersign_tests::{Agent, Approver, Deployment, PATIENCE, eventually};
use serde_json::{Value, json};

const COOKBOOK: &str = include_str!("../../docs/audit-cookbook.md");
const ARCHIVE: &str = include_str!("../../docs/archive.md");
const REQUIREMENTS: &str = include_str!("readers/requirements.txt");
/// The intent of the documents.
const INTENT: &str = "01936b6a-7c00-7123-8abc-0123456789ab";

/// The fenced blocks of one kind, by the heading that they stand under.
fn blocks(document: &str, kind: &str) -> Vec<(String, String)> {
    let (mut found, mut title, mut within) = (Vec::new(), String::new(), None::<bool>);
    for line in document.lines() {
        match (within, line.strip_prefix("```"), line.strip_prefix("## ")) {
            (None, Some(fence), _) => {
                within = Some(fence == kind);
                if fence == kind {
                    found.push((title.clone(), String::new()));
                }
            }
            (Some(_), Some(_), _) => within = None,
            (None, None, Some(heading)) => title = heading.to_owned(),
            (Some(true), None, _) => {
                let (_, block) = found.last_mut().expect("a block has begun");
                block.push_str(line);
                block.push('\n');
            }
            _ => {}
        }
    }
    assert!(within.is_none(), "a block has no end");
    found
}

struct Company {
    deployment: Deployment,
    /// The intent that dora approved.
    approved: String,
    /// Every intent with the state that it ends in.
    ends: BTreeMap<String, &'static str>,
}

impl Company {
    /// A day at work: calls that policies let through and stop, that people decide, that
    /// fail, and one that still waits.
    async fn at_work() -> Self {
        let mut deployment = Deployment::start().await;
        deployment.launch("audit-query");
        let (billing, crm) = (
            deployment.agent("billing").await,
            deployment.agent("crm").await,
        );
        let dora = deployment.approver("dora").await;
        let mut ends = BTreeMap::new();
        let contact = |key: &str, value: &str| json!({"id": "C-1042", key: value});
        let read = json!({"contact_id": "C-1042"});
        let small = json!({"account": FAILS, "amount": 5});
        for (agent, tool, input, state) in [
            (&billing, "crm.read_contact", read, "succeeded"),
            (
                &billing,
                "crm.update_contact",
                contact("phone", "+49 30 901821"),
                "succeeded",
            ),
            (
                &billing,
                "crm.update_contact",
                contact("email", "pat.smith@example.com"),
                "blocked",
            ),
            (
                &crm,
                "crm.update_contact",
                contact("phone", "+49 30 901822"),
                "blocked",
            ),
            (&billing, "ledger.book", small, "failed"),
        ] {
            let id = agent.publish(&agent.intent(tool, input)).await;
            agent.end(&id).await;
            ends.insert(id, state);
        }
        let approved = decided(&billing, &dora, "approve").await;
        ends.insert(approved.clone(), "succeeded");
        ends.insert(decided(&billing, &dora, "deny").await, "blocked");
        let waits = book(&billing).await;
        dora.asked(&waits).await;
        ends.insert(waits, "pending");
        eventually(PATIENCE, "a person is answered", async || {
            dora.look_up(PATIENCE, "SELECT count(*) FROM events").await
        })
        .await;
        let company = Self {
            deployment,
            approved,
            ends,
        };
        company.archived().await;
        company
    }

    /// Waits until all that was done stands in the archive.
    async fn archived(&self) {
        let states = "SELECT intent_id, state, resource FROM actions ORDER BY intent_id";
        eventually(PATIENCE, "every end is archived", async || {
            let rows = self.deployment.rows(states).await;
            let told: BTreeMap<_, _> = rows
                .iter()
                .map(|row| (text(row, "intent_id"), text(row, "state")))
                .collect();
            let mut ends = self.ends.iter();
            ends.all(|(id, end)| told.get(id.as_str()) == Some(end))
                .then_some(())
        })
        .await;
        for (event, count) in [
            ("audit.accessed", 1),
            ("approval.requested", 3),
            ("approval.resolved", 2),
        ] {
            let sql = format!("SELECT event FROM events WHERE event = '{event}'");
            self.deployment.rows_once_there(&sql, count).await;
        }
    }

    /// What a statement of the cookbook answers about this company.
    async fn answer(&self, sql: &str) -> Vec<Value> {
        let sql = sql.replace(INTENT, &self.approved);
        // All of this happened today, and the documents ask about yesterday.
        let sql = sql.replace("now()", "(now() + INTERVAL '1 day')");
        self.deployment.rows(&sql).await
    }
}

fn text<'a>(row: &'a Value, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_default()
}

async fn book(agent: &Agent) -> String {
    let input = json!({"account": "78", "amount": 100_000});
    agent.publish(&agent.intent("ledger.book", input)).await
}

async fn decided(agent: &Agent, person: &Approver, vote: &str) -> String {
    let id = book(agent).await;
    let asked = person.asked(&id).await;
    person
        .vote(asked.text("/approval_id"), asked.text("/digest"), vote)
        .await;
    agent.end(&id).await;
    id
}

/// The rows with only these columns.
fn only(rows: &[Value], columns: &[&str]) -> Value {
    let row = |row: &Value| -> Value { columns.iter().map(|name| row[*name].clone()).collect() };
    rows.iter().map(row).collect()
}

/// What is checked of the answers to the statements under one heading, in their order.
type Check = fn(&[Vec<Value>]);

/// Every heading of the cookbook.
const CHECKS: &[(&str, Check)] = &[
    ("Who approved this?", approved),
    ("What did this agent touch yesterday?", touched),
    ("What was blocked, and why?", blocked),
    ("How long do people wait?", waited),
    ("What waits for a person now?", waits),
    ("Which permissions are used, and which never?", permissions),
    ("What changed for customer C-1042?", changed),
    (
        "What failed, and what is not known to have happened?",
        failed,
    ),
    ("Who acted for somebody without proof?", unproved),
    ("Which values were kept out of the log?", redacted),
    ("Who looked into the audit log?", looked),
];

fn approved(answers: &[Vec<Value>]) {
    let first = answers[0].as_slice();
    let second = answers[1].as_slice();
    let by = only(first, &["decided_by_kind", "decided_by", "state"]);
    assert_eq!(by, json!([["person", "dora", "succeeded"]]));
    let votes = only(second, &["actor_id", "decision"]);
    assert_eq!(votes, json!([["dora", "approve"]]));
}

fn touched(answers: &[Vec<Value>]) {
    let first = answers[0].as_slice();
    let touched = only(first, &["tool_name", "resource", "summary", "state"]);
    let wanted = json!([
        [
            "crm.read_contact",
            null,
            "read contact C-1042 readers may read contacts",
            "succeeded"
        ],
        [
            "crm.update_contact",
            "contact/C-1042",
            "change contact C-1042 editors may change contacts",
            "succeeded"
        ],
        [
            "ledger.book",
            null,
            "book 5 minor units on account fails bookkeepers may book",
            "failed"
        ],
        [
            "ledger.book",
            null,
            "book 100000 minor units on account 78 bookings of 1000.00 and more are decided by finance",
            "succeeded"
        ],
    ]);
    assert_eq!(touched, wanted);
}

fn blocked(answers: &[Vec<Value>]) {
    let first = answers[0].as_slice();
    let second = answers[1].as_slice();
    let columns = [
        "reason_codes",
        "agent_id",
        "decided_by_kind",
        "decided_by",
        "n",
    ];
    let wanted = json!([
        [
            "denied_by_person,approval_required",
            "billing",
            "person",
            "dora",
            1
        ],
        ["policy_denied", "crm", "policy", "", 1],
        ["policy_denied", "billing", "policy", "phone-only", 1],
    ]);
    assert_eq!(only(first, &columns), wanted);
    assert_eq!(second.len(), 3);
    let told = |row: &Value| text(row, "output_summary").contains("crm.update_contact");
    assert_eq!(
        second.iter().filter(|row| told(row)).count(),
        2,
        "{second:?}"
    );
}

fn waited(answers: &[Vec<Value>]) {
    let first = answers[0].as_slice();
    assert_eq!(
        only(first, &["tool_name", "decided"]),
        json!([["ledger.book", 2]])
    );
    let seconds = |column: &str| first[0][column].as_f64().expect("a number");
    let (median, p90) = (seconds("median_s"), seconds("p90_s"));
    assert!(
        0.0 < median && median <= p90 && p90 <= seconds("longest_s"),
        "{first:?}"
    );
}

fn waits(answers: &[Vec<Value>]) {
    let first = answers[0].as_slice();
    assert_eq!(
        only(first, &["agent_id", "requester_id"]),
        json!([["billing", "mia"]])
    );
}

fn permissions(answers: &[Vec<Value>]) {
    let first = answers[0].as_slice();
    let used = only(first, &["policy", "calls"]);
    let used = used.as_array().expect("a list");
    // What is read to see that all is ready counts too.
    let others = |row: &&Value| row[0] != "read-contacts";
    let others: Vec<_> = used.iter().filter(others).collect();
    let wanted = [("book", 1), ("edit-contacts", 1), ("large-bookings", 1)];
    assert_eq!(json!(others), json!(wanted));
    assert_eq!(used.len(), 4, "{used:?}");
}

fn changed(answers: &[Vec<Value>]) {
    let first = answers[0].as_slice();
    assert_eq!(
        only(first, &["requester_id", "agent_id"]),
        json!([["mia", "billing"]])
    );
    let changes = text(&first[0], "changes");
    assert!(
        changes.contains("[phone:k1:") && !changes.contains("901821"),
        "{changes}"
    );
}

fn failed(answers: &[Vec<Value>]) {
    let first = answers[0].as_slice();
    assert_eq!(
        only(first, &["agent_id", "outcome"]),
        json!([["billing", "failed"]])
    );
    assert!(text(&first[0], "output_summary").contains("the account is closed"));
}

fn unproved(answers: &[Vec<Value>]) {
    let first = answers[0].as_slice();
    let rows = only(first, &["agent_id", "requester_id", "calls"]);
    let rows = rows.as_array().expect("a list");
    assert!(rows.contains(&json!(["billing", "mia", 4])), "{rows:?}");
}

fn redacted(answers: &[Vec<Value>]) {
    let first = answers[0].as_slice();
    let types: Vec<_> = first
        .iter()
        .map(|row| (text(row, "agent_id"), text(row, "type")))
        .collect();
    for found in [("billing", "phone"), ("billing", "email"), ("crm", "phone")] {
        assert!(types.contains(&found), "{found:?}: {types:?}");
    }
}

fn looked(answers: &[Vec<Value>]) {
    let first = answers[0].as_slice();
    assert!(!first.is_empty() && first.iter().all(|row| text(row, "actor_id") == "dora"));
    assert!(text(&first[0], "asked").contains("count(*)"), "{first:?}");
}

/// Runs a program in the archive; what it printed.
fn printed(archive: &Path, python: &Path, program: &str) -> Value {
    let ran = Command::new(python)
        .args(["-c", program])
        .current_dir(archive)
        .output()
        .expect("Python can be started");
    assert!(ran.status.success(), "{program}\n{ran:?}");
    serde_json::from_slice(&ran.stdout).expect("it prints JSON")
}

fn python() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("venv-readers");
    let bin = venv(&home, REQUIREMENTS);
    or_skip("DuckDB, Polars and pyarrow", &bin).map(|bin| bin.join("python"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookbook_answers_as_it_was_and_other_programs_read_the_same() {
    let mut company = Company::at_work().await;
    let mut asked: BTreeMap<String, Vec<Vec<Value>>> = BTreeMap::new();
    for (heading, sql) in blocks(COOKBOOK, "sql") {
        let answer = company.answer(&sql).await;
        asked.entry(heading).or_default().push(answer);
    }
    assert_eq!(COOKBOOK.matches("\n## ").count(), CHECKS.len());
    for (heading, check) in CHECKS {
        check(&asked[*heading]);
    }
    let Some(python) = python() else { return };
    // What they count must stand still.
    company.deployment.service("audit-archiver").end().await;
    let counts = "SELECT event, count(*) AS n FROM events GROUP BY event ORDER BY event";
    let counts = company.deployment.rows(counts).await;
    let wanted = only(&counts, &["event", "n"]);
    let archive = company.deployment.archive();
    let sql = blocks(ARCHIVE, "sql")
        .pop()
        .expect("the lines for DuckDB")
        .1;
    let duckdb = format!(
        "import duckdb, json\n\
         found = duckdb.connect().execute({sql:?}).fetchall()\n\
         print(json.dumps(found))"
    );
    assert_eq!(printed(&archive, &python, &duckdb), wanted);
    let lines: Vec<_> = blocks(ARCHIVE, "python")
        .into_iter()
        .map(|(_, lines)| lines)
        .collect();
    let [list, polars, arrow] = lines.as_slice() else {
        panic!("a list and two ways to read it: {lines:?}")
    };
    let polars = format!("{list}{polars}print(json.dumps(rows))");
    assert_eq!(printed(&archive, &python, &polars), wanted);
    let arrow = format!(
        "{list}{arrow}print(json.dumps([list(row) for row in zip(*counts.to_pydict().values())]))"
    );
    assert_eq!(printed(&archive, &python, &arrow), wanted);
}
