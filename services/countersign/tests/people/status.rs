//! `countersign status` where one service is not ready and the others are silent.

use countersign_runtime::health::HealthHandle;
use countersign_runtime::identity::Service;
use countersign_schemas::Timestamp;
use futures::StreamExt as _;
use tokio::time::Instant;

use super::checks::{show, shown};
use super::fixture::{Deployment, PATIENCE, countersign};

#[tokio::test(flavor = "multi_thread")]
async fn a_status_names_what_is_silent_or_not_ready_and_why() {
    let deployment = Deployment::start().await;
    let away = deployment.run(&["status", "--as", "lee"]).await;
    assert_eq!(away.code, 69, "nobody is there: {}", away.told);
    let all_silent = deployment.run(&["status", "--as", "kim"]).await;
    assert_eq!(all_silent.code, 69, "{}", all_silent.told);
    assert_eq!(all_silent.json["services"][1]["state"], "no_answer");
    assert!(all_silent.json["unknown"].is_string(), "what is frozen");

    let coordinator = deployment.service(Service::ApprovalCoordinator).await;
    let answering = show(&coordinator, shown()).await;
    let checker = deployment.service(Service::PolicyChecker).await;
    let health = HealthHandle::new();
    health.part("policy").failing("there is none");
    health.number("behind", "CS_EVENTS").set(12);
    let mut questions = checker.client().subscribe("cs.health.*").await.unwrap();
    let client = checker.client().clone();
    let desk = tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            let told = health.tell("policy-checker", Timestamp::EPOCH);
            let text = serde_json::to_vec(&told).unwrap();
            let reply = question.reply.unwrap();
            client.publish(reply, text.into()).await.unwrap();
        }
    });
    // A service that the machine holds up for two seconds is silent, as it should be.
    let give_up = Instant::now() + PATIENCE;
    let told = loop {
        let told = deployment.run(&["status", "--as", "kim"]).await;
        assert_eq!(told.code, 69, "{} {}", told.json, told.told);
        if told.json["services"][0]["state"] != "no_answer" {
            break told;
        }
        assert!(Instant::now() < give_up, "{}", told.json);
    };
    let states: Vec<&str> = told.json["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["state"].as_str().unwrap())
        .collect();
    let silent = "no_answer";
    assert_eq!(states, ["not_ready", silent, silent, silent, silent]);
    assert_eq!(told.json["services"][0]["why"][0], "policy: there is none");
    assert_eq!(told.json["streams"][3]["behind"], 12);
    assert_eq!(told.json["pending"], 1);
    assert_eq!(told.json["freezes"], serde_json::json!([]));

    // An approver sees what is frozen and what waits; their key may not ask for more.
    let approver = deployment.run(&["status", "--as", "lee"]).await;
    assert_eq!(approver.code, 0, "{}", approver.told);
    assert!(approver.json.get("services").is_none(), "{}", approver.json);
    let nowhere = ["status", "--as", "kim"];
    let nowhere = countersign(deployment.dir.path(), "nats://127.0.0.1:9", &nowhere).await;
    assert_eq!(nowhere.code, 69, "{}", nowhere.told);
    desk.abort();
    answering.abort();
}
