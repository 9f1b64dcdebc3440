//! What waits is decided and followed with the command line, as an approver does it.

use std::process::Stdio;
use std::time::Duration;

use countersign_schemas::ApprovalId;
use countersign_tests::process::program;
use countersign_tests::{Agent, Deployment, PATIENCE, eventually};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// How the program ended.
struct Ended {
    code: i32,
    json: Value,
    told: String,
}

impl Ended {
    fn results(&self) -> Vec<(String, String)> {
        let results = self.json["results"].as_array().expect("results");
        let one = |result: &Value| {
            let code = result["code"].as_str().expect("a code").to_owned();
            let state = result["state"].as_str().unwrap_or("?").to_owned();
            (code, state)
        };
        results.iter().map(one).collect()
    }
}

fn rows(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let row = |(code, state): &(&str, &str)| ((*code).to_owned(), (*state).to_owned());
    expected.iter().map(row).collect()
}

fn command(deployment: &Deployment, who: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program("countersign"));
    command
        .args(["approvals", "--json"])
        .args(args)
        .args(["--as", who, "--dir"])
        .arg(deployment.files().dir())
        .env("COUNTERSIGN_NATS__URL", deployment.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(deployment: &Deployment, who: &str, args: &[&str], stdin: &str) -> Ended {
    let mut running = command(deployment, who, args).spawn().expect("the program");
    let mut input = running.stdin.take().expect("piped");
    input.write_all(stdin.as_bytes()).await.expect("it reads");
    drop(input);
    let ended = tokio::time::timeout(PATIENCE, running.wait_with_output()).await;
    let ended = ended.expect("it ends").expect("an output");
    Ended {
        code: ended.status.code().expect("not killed"),
        json: serde_json::from_slice(&ended.stdout).unwrap_or_default(),
        told: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}

/// How many approvals Dora's list has.
async fn listed(deployment: &Deployment, args: &[&str]) -> usize {
    let ended = run(deployment, "dora", &[&["list"][..], args].concat(), "").await;
    assert_eq!(ended.code, 0, "{}", ended.told);
    ended.json["approvals"].as_array().expect("a list").len()
}

async fn large_booking(deployment: &Deployment, agent: &Agent, account: &str) -> String {
    let input = json!({"account": account, "amount": 500_000});
    let id = agent.publish(&agent.intent("ledger.book", input)).await;
    let dora = deployment.approver("dora").await;
    dora.asked(&id).await.text("/approval_id").to_owned()
}

fn intent(approval: &str) -> &str {
    approval.strip_prefix("a-").expect("of one intent")
}

#[tokio::test]
async fn several_are_decided_at_once_and_a_repeat_is_no_fault() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let one = large_booking(&deployment, &agent, "11").await;
    let two = large_booking(&deployment, &agent, "22").await;
    let list = async |args: &[&str]| listed(&deployment, args).await;
    // It follows what is kept a moment later.
    let both = async || (list(&[]).await == 2).then_some(());
    eventually(PATIENCE, "both are listed", both).await;
    assert_eq!(list(&["--mine", "--team", "finance"]).await, 2);
    assert_eq!(list(&["--agent", "crm"]).await, 0);
    assert_eq!(list(&["--team", "support"]).await, 0);

    let unsure = run(&deployment, "dora", &["approve", &one], "").await;
    assert_eq!(unsure.code, 2, "{}", unsure.told);
    let nowhere = "a-019a0000-0000-7000-8000-00000000dead";
    let shown = run(&deployment, "dora", &["show", &one, nowhere, &two], "").await;
    assert_eq!(shown.code, 20, "{}", shown.told);
    let [first, none, second] = [0, 1, 2].map(|index| &shown.json["results"][index]);
    assert!(none["error"].is_string() && none["approval_id"] == nowhere);
    for (seen, id) in [(first, &one), (second, &two)] {
        assert_eq!(seen["approval_id"], id.as_str());
        assert_eq!(
            seen["approval"]["asked"]["approval_id"],
            id.as_str(),
            "{seen}"
        );
    }
    let piped = format!("{two}\n{nowhere}\n");
    let both = ["approve", &one, "-", "--yes", "--reason", "Checked."];
    let ended = run(&deployment, "dora", &both, &piped).await;
    assert_eq!(ended.code, 20, "{}", ended.told);
    let expected = [
        ("counted", "approved"),
        ("counted", "approved"),
        ("not_sent", "?"),
    ];
    assert_eq!(ended.results(), rows(&expected), "{}", ended.json);
    // A table of all of them, then all of each, was printed before anything was sent.
    let table = ended.told.find("AMOUNT\tLEFT\tNEEDS").expect("a table");
    let details = ended.told.find("exact input:").expect("the details");
    assert!(table < details, "{}", ended.told);
    let named = ended.told[table..details].matches("ledger.book (create)");
    assert_eq!(
        named.count(),
        2 + 1,
        "each in the table, then the first in full"
    );
    for account in ["\"11\"", "\"22\""] {
        assert!(ended.told.contains(account), "{}", ended.told);
    }
    for approval in [&one, &two] {
        assert_eq!(
            agent.end(intent(approval)).await.text("/outcome"),
            "succeeded"
        );
    }

    let again = run(&deployment, "dora", &["approve", &one, &two, "--yes"], "").await;
    assert_eq!(again.code, 0, "{}", again.json);
    let repeat = ("already_resolved", "approved");
    assert_eq!(again.results(), rows(&[repeat, repeat]));
    let other = run(&deployment, "finn", &["deny", &one, "--yes"], "").await;
    assert_eq!(other.code, 20, "{}", other.json);
    let message = other.json["results"][0]["message"].as_str().expect("words");
    assert!(message.contains("approved by dora"), "{message}");
}

#[tokio::test]
async fn a_no_and_its_reason_reach_the_agent() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let approval = large_booking(&deployment, &agent, "33").await;
    let deny = ["deny", &approval, "--yes", "--reason", "Not this year."];
    let stranger = run(&deployment, "lee", &deny, "").await;
    assert_eq!(stranger.code, 20, "{}", stranger.json);
    let ended = run(&deployment, "finn", &deny, "").await;
    assert_eq!(ended.code, 0, "{} {}", ended.json, ended.told);
    let end = agent.end(intent(&approval)).await;
    assert_eq!(end.text("/code"), "denied_by_person");
    assert!(
        end.body.to_string().contains("Not this year."),
        "{}",
        end.body
    );
    let late = run(&deployment, "dora", &["approve", &approval, "--yes"], "").await;
    assert_eq!(late.code, 20, "{}", late.json);
    assert!(
        !deployment
            .journal()
            .counts()
            .contains_key(intent(&approval))
    );
}

#[tokio::test]
async fn an_item_is_struck_out_of_a_bundle_with_the_command() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let mut ids = Vec::new();
    for index in 0..2 {
        let input = json!({"account": index.to_string(), "amount": 500_000});
        let mut intent = agent.intent("ledger.book", input);
        intent["bundle"] = json!({"id": "pair", "size": 2, "index": index});
        ids.push(agent.publish(&intent).await);
    }
    let billing = "billing".parse().expect("an agent");
    let pair = "pair".parse().expect("a bundle");
    let approval = ApprovalId::for_bundle(&billing, &pair).to_string();
    let dora = deployment.approver("dora").await;
    dora.asked_about(&approval).await;
    let elsewhere = "019a0000-0000-7000-8000-00000000dead";
    let wrong = ["approve", &approval, "--yes", "--without", elsewhere];
    let wrong = run(&deployment, "dora", &wrong, "").await;
    assert_eq!(wrong.code, 2, "{}", wrong.json);
    let partly = ["approve", &approval, "--yes", "--without", &ids[1]];
    let ended = run(&deployment, "dora", &partly, "").await;
    assert_eq!(ended.code, 0, "{} {}", ended.json, ended.told);
    assert_eq!(ended.results(), rows(&[("counted", "partial")]));
    assert_eq!(agent.end(&ids[0]).await.text("/outcome"), "succeeded");
    let left = agent.end(&ids[1]).await;
    assert_eq!(left.text("/code"), "denied_by_person");
}

/// `approvals watch` while it runs.
struct Watch {
    lines: Lines<BufReader<ChildStdout>>,
    _running: Child,
}

impl Watch {
    fn start(deployment: &Deployment, who: &str, args: &[&str]) -> Self {
        let args = [&["watch"][..], args].concat();
        let mut running = command(deployment, who, &args).spawn().expect("it runs");
        let lines = BufReader::new(running.stdout.take().expect("piped")).lines();
        Self {
            lines,
            _running: running,
        }
    }

    /// The next change: what, and of which approval.
    async fn next(&mut self) -> (String, String) {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.expect("a change").expect("text").expect("a line");
        let change: Value = serde_json::from_str(&line).expect("JSON");
        let text = |name: &str| change[name].as_str().expect("text").to_owned();
        (text("change"), text("approval_id"))
    }

    async fn tells(&mut self, change: &str, approval: &str) {
        let expected = (change.to_owned(), approval.to_owned());
        assert_eq!(self.next().await, expected);
    }
}

#[tokio::test]
async fn a_watch_tells_what_comes_what_ends_and_what_it_missed() {
    let mut deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let dora = deployment.approver("dora").await;
    let first = large_booking(&deployment, &agent, "44").await;
    let mut watch = Watch::start(&deployment, "dora", &["--mine"]);
    let mut elsewhere = Watch::start(&deployment, "dora", &["--agent", "crm"]);
    watch.tells("asked", &first).await;
    let second = large_booking(&deployment, &agent, "55").await;
    watch.tells("asked", &second).await;
    let digest = dora.asked(intent(&first)).await.text("/digest").to_owned();
    dora.vote(&first, &digest, "approve").await;
    watch.tells("approved", &first).await;

    deployment.server().kill().expect("a server");
    deployment.server().restart().await.expect("it comes back");
    let agent = deployment.agent("billing").await;
    let dora = deployment.approver("dora").await;
    eventually(
        Duration::from_secs(60),
        "the coordinator is back",
        async || {
            dora.view(&json!({"op": "list"}))
                .await
                .get("approvals")
                .cloned()
        },
    )
    .await;
    let digest = dora.asked(intent(&second)).await.text("/digest").to_owned();
    dora.vote(&second, &digest, "deny").await;
    watch.tells("denied", &second).await;
    let third = large_booking(&deployment, &agent, "66").await;
    watch.tells("asked", &third).await;
    let other = tokio::time::timeout(Duration::ZERO, elsewhere.lines.next_line()).await;
    assert!(other.is_err(), "it was asked for another agent: {other:?}");
}
