//! A known value is found by its fingerprint, over rotations of the key, until its epoch is
//! destroyed; and whoever looks is on record.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use countersign_audit_archiver::LOOK_UPS_MAX;
use countersign_tests::process::program;
use countersign_tests::{Deployment, PATIENCE, eventually};
use serde_json::{Value, json};

const EMAIL: &str = "Wilma.Petersen@private.example";

/// Runs `countersign` with `value` on standard input.
fn command(deployment: &Deployment, args: &[&str], value: &str) -> Output {
    let mut child = Command::new(program("countersign"))
        .arg("--json")
        .args(args)
        .arg("--dir")
        .arg(deployment.files().dir())
        .env("COUNTERSIGN_NATS__URL", deployment.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that refuses may have ended before it reads.
    drop(stdin.write_all(value.as_bytes()));
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn done(deployment: &Deployment, args: &[&str], value: &str) -> Value {
    let output = command(deployment, args, value);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{args:?}: {told}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(deployment: &Deployment, args: &[&str], value: &str, code: i32) -> String {
    let output = command(deployment, args, value);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
    told
}

const ASK: [&str; 4] = ["audit", "fingerprint", "--type", "email"];

/// The epochs in an answer, and the intents that its statement finds.
async fn found(deployment: &Deployment, answer: &Value) -> (Vec<String>, Vec<String>) {
    let prints = answer["fingerprints"].as_array().unwrap();
    let epochs = prints.iter().map(|print| print["epoch"].as_str().unwrap());
    let rows = deployment.rows(answer["sql"].as_str().unwrap()).await;
    let intents = rows.iter().filter_map(|row| row["intent_id"].as_str());
    let mut intents: Vec<String> = intents.map(str::to_owned).collect();
    intents.dedup();
    (epochs.map(str::to_owned).collect(), intents)
}

/// An intent with the value in it, once its verdict is archived; and the mark in its row.
async fn booked(deployment: &Deployment, memo: &str) -> (String, String) {
    let agent = deployment.agent("billing").await;
    let input = json!({"account": "77", "amount": 1, "memo": memo});
    let id = agent.publish(&agent.intent("ledger.book", input)).await;
    agent.end(&id).await;
    let sql = format!(
        "SELECT input_redacted FROM events WHERE event = 'policy.checked' AND intent_id = '{id}'"
    );
    let rows = deployment.rows_once_there(&sql, 1).await;
    let mark = rows[0]["input_redacted"].as_str().unwrap().to_owned();
    (id, mark)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_value_is_found_until_its_epoch_is_destroyed_and_each_look_up_is_on_record() {
    let deployment = Deployment::start().await;
    let (first, mark) = booked(&deployment, &format!("tell {EMAIL} today")).await;
    assert!(mark.contains("[email:k1:"), "{mark}");
    let answer = done(&deployment, &ASK, &EMAIL.to_uppercase());
    let expected = (vec!["k1".to_owned()], vec![first.clone()]);
    assert_eq!(found(&deployment, &answer).await, expected, "{answer}");

    let rotated = done(
        &deployment,
        &["identity", "rotate", "key", "fingerprint"],
        "",
    );
    assert_eq!(rotated["epoch"], "k2");
    let second = eventually(PATIENCE, "services mark by the new epoch", async || {
        let (id, mark) = booked(&deployment, EMAIL).await;
        mark.contains("[email:k2:").then_some(id)
    })
    .await;
    let again = booked(&deployment, EMAIL).await;
    assert!(again.1.contains("[email:k2:"), "{}", again.1);
    let answer = done(&deployment, &ASK, EMAIL);
    let (epochs, intents) = found(&deployment, &answer).await;
    assert_eq!(epochs, ["k2", "k1"], "{answer}");
    for intent in [&first, &second, &again.0] {
        assert!(intents.contains(intent), "{intents:?}");
    }

    let destroy = ["identity", "destroy", "fingerprint", "k1"];
    let told = refused(&deployment, &destroy, "", 2);
    assert!(told.contains("--yes"), "{told}");
    let told = refused(
        &deployment,
        &["identity", "destroy", "fingerprint", "k2", "-y"],
        "",
        2,
    );
    assert!(told.contains("marks now"), "{told}");
    let destroy = ["identity", "destroy", "fingerprint", "k1", "--yes"];
    assert_eq!(done(&deployment, &destroy, "")["change"], "destroyed");
    assert_eq!(done(&deployment, &destroy, "")["change"], "unchanged");
    let sql = "SELECT actor_id FROM events WHERE event = 'identity.changed' \
               AND resource = 'key/fingerprint-k1'";
    let recorded = deployment.rows_once_there(sql, 1).await;
    assert_eq!(recorded, [json!({"actor_id": "olga"})]);
    let answer = done(&deployment, &ASK, EMAIL);
    let (epochs, intents) = found(&deployment, &answer).await;
    assert_eq!(epochs, ["k2"], "{answer}");
    assert!(!intents.contains(&first) && intents.contains(&second));

    on_record(&deployment).await;
    bounded(&deployment);
    without_keys(&deployment);
}

/// Who looked up which fingerprint stands in the archive, and the value nowhere.
async fn on_record(deployment: &Deployment) {
    let sql = "SELECT actor_id, purpose, fingerprints FROM events WHERE event = 'audit.accessed' \
               ORDER BY seq";
    let rows = deployment.rows_once_there(sql, 3).await;
    let epochs = ["email:k1:", "email:k2:", "email:k2:"];
    assert_eq!(rows.len(), epochs.len(), "{rows:?}");
    for (row, epoch) in rows.iter().zip(epochs) {
        assert_eq!(row["actor_id"], "olga");
        let print = row["fingerprints"][0].as_str().unwrap();
        assert!(print.starts_with(epoch), "{row}");
        assert!(row["purpose"].as_str().unwrap().contains(print), "{row}");
    }
    let mut places = vec![format!(
        "{:?}",
        deployment.rows("SELECT * FROM events").await
    )];
    for service in deployment.services() {
        places.push(std::fs::read_to_string(service.log()).unwrap());
    }
    for place in places {
        let place = place.to_lowercase();
        assert!(!place.contains(&EMAIL.to_lowercase()), "{place}");
    }
}

/// Guesses are counted, and a text with many values is not many of them.
fn bounded(deployment: &Deployment) {
    let told = refused(deployment, &ASK, " \n", 2);
    assert!(told.contains("no value"), "{told}");
    let told = refused(deployment, &ASK, &"x".repeat(9_000), 2);
    assert!(told.contains("8192 bytes"), "{told}");
    // All at once, so that they come within a minute on a slow machine too. Three values were
    // looked up before, perhaps longer ago.
    let guesses: Vec<Output> = std::thread::scope(|scope| {
        let ask = |guess| {
            scope.spawn(move || command(deployment, &ASK, &format!("guess{guess}@private.example")))
        };
        let asked: Vec<_> = (0..LOOK_UPS_MAX + 2).map(ask).collect();
        let asked = asked.into_iter().map(|one| one.join().unwrap());
        asked.collect()
    });
    let (answered, refused_ones): (Vec<_>, Vec<_>) =
        guesses.iter().partition(|guess| guess.status.success());
    assert!((LOOK_UPS_MAX - 3..=LOOK_UPS_MAX).contains(&answered.len()));
    for guess in refused_ones {
        let told = String::from_utf8_lossy(&guess.stderr);
        assert_eq!(guess.status.code(), Some(20), "{told}");
        assert!(told.contains("in a minute"), "{told}");
        assert!(!told.contains("private.example"), "{told}");
    }
    // An approver's credential asks for nobody, and nobody else's subject.
    refused(
        deployment,
        &[&ASK[..], &["--as", "dora"]].concat(),
        EMAIL,
        64,
    );
}

/// A key that cannot be read is no reason to answer with the others.
fn without_keys(deployment: &Deployment) {
    let keys = deployment.files().dir().join("keys");
    let newest = keys.join("fingerprint.key");
    std::fs::set_permissions(&newest, std::fs::Permissions::from_mode(0o644)).unwrap();
    let rotate = ["identity", "rotate", "key", "fingerprint"];
    let told = refused(deployment, &rotate, "", 64);
    assert!(told.contains("chmod 600"), "{told}");
}
