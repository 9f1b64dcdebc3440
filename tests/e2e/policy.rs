//! Another policy bundle comes into force while work goes on.

use countersign_domain::policy::{Bundle, pack};
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::files;
use countersign_runtime::policy::shelf::{Kept, PART_BYTES_MAX, Published, Shelf};
use countersign_schemas::Digest;
use countersign_tests::process::{CHECKER, COORDINATOR, EXECUTOR};
use countersign_tests::{Agent, Deployment, PATIENCE, eventually};
use serde_json::json;

const CLOSED: &str = r#"
@id("books-closed")
@because("the books are closed")
@need("wait for the next month")
forbid (principal, action == Action::"ledger.book", resource);
"#;

/// Puts the deployment's bundle in force with one more file, as the checker does, and waits
/// until every service that goes by it says so.
pub(crate) async fn publish(deployment: &Deployment, path: &str, text: &str) {
    let dir = deployment.files().dir().join("policy");
    let mut found = files::policy_bundle(&dir).expect("the bundle");
    found.insert(path.to_owned(), text.as_bytes().to_vec());
    let bundle = Bundle::from_files(&found).expect("a sound bundle");
    let packed = pack(&found).expect("text");
    let checker = deployment.core("policy-checker").await;
    let shelf = Shelf::new(&checker);
    let before = shelf.current().await.expect("the bucket");
    let (revision, previous) = match before {
        Some((revision, published)) => (revision, Some(published.digest)),
        None => (0, None),
    };
    let kept = Kept {
        digest: bundle.digest(),
        parts: packed.len().div_ceil(PART_BYTES_MAX),
        bytes: packed.len(),
        operator: "kim".parse().expect("a name"),
        at: SystemClock.now(),
        leaving: false,
    };
    shelf.keep(&kept, &packed).await.expect("room");
    let published = Published {
        digest: kept.digest,
        parts: kept.parts,
        bytes: kept.bytes,
        previous,
        operator: kept.operator,
        at: kept.at,
    };
    shelf.publish(&published, revision).await.expect("in force");
    in_force(deployment, kept.digest).await;
}

async fn in_force(deployment: &Deployment, digest: Digest) {
    let digest = digest.to_string();
    let says_so = |name: &str| {
        let service = deployment.services().iter().find(|one| one.name() == name);
        let log = service.expect("it runs").log();
        let log = std::fs::read_to_string(log).expect("a log");
        log.lines()
            .any(|line| line.contains("policy bundle in force") && line.contains(&digest))
    };
    eventually(PATIENCE, "the bundle is in force", async || {
        let everywhere = [CHECKER, COORDINATOR, EXECUTOR].into_iter().all(says_so);
        everywhere.then_some(())
    })
    .await;
}

async fn large_booking(agent: &Agent) -> String {
    let input = json!({"account": "9", "amount": 500_000});
    agent.publish(&agent.intent("ledger.book", input)).await
}

#[tokio::test]
async fn a_push_stops_only_what_the_new_rules_forbid() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let dora = deployment.approver("dora").await;
    for (path, text, runs) in [
        ("policies/more.cedar", "// nothing new\n", true),
        ("policies/more.cedar", CLOSED, false),
    ] {
        let id = large_booking(&agent).await;
        let asked = dora.asked(&id).await;
        publish(&deployment, path, text).await;
        let voted = dora
            .vote(asked.text("/approval_id"), asked.text("/digest"), "approve")
            .await;
        assert_eq!(voted.body["counted"], json!(true), "{}", voted.body);
        let end = agent.end(&id).await;
        if runs {
            assert_eq!(end.text("/outcome"), "succeeded", "{end:?}");
        } else {
            assert!(end.is("tool.blocked"), "{end:?}");
            assert_eq!(end.text("/code"), "policy_denied");
            let words = end.body["reasons"].to_string();
            assert!(words.contains("the books are closed"), "{words}");
            assert_eq!(voted.body["state"], json!("failed"), "{}", voted.body);
        }
        let ran = deployment.journal().counts().get(&id).copied();
        assert_eq!(ran, runs.then_some(1), "{end:?}");
    }
}
