//! The command line as an agent and as an operator meet it: a real deployment, a real
//! server with its accounts, and a test that plays our own services.

#[cfg(test)]
mod fixture;

#[cfg(test)]
mod checks {
    use countersign_runtime::bus::{Bus, StoredMessage};
    use countersign_runtime::identity::Service;
    use countersign_schemas::codec::decode;
    use countersign_schemas::events::{
        BlockedCode, Outcome, RefusedCode, RequestRef, ToolBlocked, ToolCompleted, ToolRefused,
        ToolRequested, ToolWithdrawn,
    };
    use countersign_schemas::{Address, AgentId, SeqToken, Stream};

    use super::fixture::{Deployment, PATIENCE, countersign, golden, store};

    const ASK: [&str; 9] = [
        "request",
        "--agent",
        "billing",
        "--tool",
        "billing.refund",
        "--requester",
        "maria",
        "--input",
        r#"{"amount":"12.50"}"#,
    ];

    fn agent(name: &str) -> AgentId {
        name.parse().unwrap()
    }

    /// The next intent of an agent, once it is stored.
    async fn intent(bus: &Bus, name: &str) -> (StoredMessage, ToolRequested) {
        let subject = format!("tool.requested.{name}");
        let found = async {
            let mut pause = tokio::time::interval(std::time::Duration::from_millis(20));
            loop {
                pause.tick().await;
                let last = bus
                    .last_by_subject(Stream::Intents, &subject)
                    .await
                    .unwrap();
                if let Some(message) = last {
                    let request = decode(&message.payload).unwrap();
                    return (message, request);
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap()
    }

    async fn reference(bus: &Bus, seq: u64) -> RequestRef {
        RequestRef {
            stream: Stream::Intents.name().to_owned(),
            incarnation: bus.incarnation(Stream::Intents).await.unwrap(),
            seq,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_new_deployment_is_healthy_and_says_so() {
        let deployment = Deployment::start().await;
        let report = deployment.run(&["doctor"]).await;
        assert_eq!(report.code, 0, "{} {}", report.json, report.told);
        let checks = report.json["checks"].as_array().unwrap();
        assert!(
            checks.iter().all(|check| check["state"] != "fail"),
            "{checks:?}"
        );
        for name in [
            "keys",
            "policy",
            "nats",
            "policy-checker",
            "CS_EVENTS",
            "clock",
        ] {
            assert!(checks.iter().any(|check| check["name"] == name), "{name}");
        }
        let again = deployment.run(&["setup"]).await;
        assert_eq!(again.code, 0, "{}", again.told);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_block_reaches_the_agent_with_its_reasons() {
        let deployment = Deployment::start().await;
        let coordinator = deployment.service(Service::ApprovalCoordinator).await;
        let decide = async {
            let (message, request) = intent(&coordinator, "billing").await;
            assert_eq!(message.header("ce-source"), Some("/countersign/billing"));
            let blocked = ToolBlocked {
                intent_id: request.intent_id,
                request: reference(&coordinator, message.seq).await,
                code: BlockedCode::PolicyDenied,
                ..golden()
            };
            let address = Address::ToolBlocked {
                agent: agent("billing"),
                intent: request.intent_id,
            };
            store(&coordinator, &address, &blocked).await;
            request.intent_id
        };
        let (ended, id) = tokio::join!(deployment.run(&ASK), decide);
        assert_eq!(ended.code, 20, "{}", ended.told);
        assert_eq!(ended.json["event"], "tool.blocked");
        assert_eq!(ended.json["code"], "policy_denied");
        assert_eq!(ended.json["intent_id"], id.to_string());

        let status = ["request", "--agent", "billing", "--status", &id.to_string()];
        assert_eq!(deployment.run(&status).await.code, 20);
        let other = ["request", "--agent", "crm", "--status", &id.to_string()];
        let other = deployment.run(&other).await;
        assert_eq!(
            other.code, 21,
            "another agent's intent is not seen: {}",
            other.json
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_unknown_outcome_has_its_own_exit() {
        let deployment = Deployment::start().await;
        let coordinator = deployment.service(Service::ApprovalCoordinator).await;
        let finish = async {
            let (_, request) = intent(&coordinator, "billing").await;
            let completed = ToolCompleted {
                intent_id: request.intent_id,
                outcome: Outcome::Unknown,
                ..golden()
            };
            let address = Address::ToolCompleted {
                agent: agent("billing"),
                intent: request.intent_id,
            };
            store(&coordinator, &address, &completed).await;
        };
        let (ended, ()) = tokio::join!(deployment.run(&ASK), finish);
        assert_eq!(ended.code, 24, "{}", ended.told);
        assert_eq!(ended.json["outcome"], "unknown");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_the_refusal_of_its_own_message_counts() {
        let deployment = Deployment::start().await;
        let checker = deployment.service(Service::PolicyChecker).await;
        let refuse = async {
            let (message, _) = intent(&checker, "billing").await;
            for (seq, code) in [
                (message.seq + 1, RefusedCode::TooLarge),
                (message.seq, RefusedCode::IntentConflict),
            ] {
                let request = reference(&checker, seq).await;
                let address = Address::ToolRefused {
                    agent: agent("billing"),
                    seq: SeqToken::new(request.incarnation.clone(), seq),
                };
                let refused = ToolRefused {
                    request,
                    code,
                    ..golden()
                };
                store(&checker, &address, &refused).await;
            }
        };
        let (ended, ()) = tokio::join!(deployment.run(&ASK), refuse);
        assert_eq!(ended.code, 20, "{}", ended.told);
        assert_eq!(ended.json["code"], "intent_conflict");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_yet_is_pending_and_can_be_taken_back() {
        let deployment = Deployment::start().await;
        let ask = [ASK.as_slice(), &["--wait", "1"]].concat();
        let pending = deployment.run(&ask).await;
        assert_eq!(pending.code, 21, "{}", pending.told);
        assert_eq!(pending.json["state"], "pending");
        let id = pending.json["intent_id"].as_str().unwrap().to_owned();
        let withdrawn = deployment
            .run(&["withdraw", &id, "--agent", "billing"])
            .await;
        assert_eq!(withdrawn.code, 0, "{}", withdrawn.told);
        let coordinator = deployment.service(Service::ApprovalCoordinator).await;
        let stored = coordinator
            .last_by_subject(Stream::Intents, "tool.withdrawn.billing")
            .await
            .unwrap()
            .unwrap();
        let event: ToolWithdrawn = decode(&stored.payload).unwrap();
        assert_eq!(event.intent_id.to_string(), id);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_key_cannot_speak_for_another_agent() {
        let deployment = Deployment::start().await;
        std::fs::copy(
            deployment.creds("agent-crm"),
            deployment.creds("agent-billing"),
        )
        .unwrap();
        let refused = deployment.run(&ASK).await;
        assert_eq!(refused.code, 20, "{}", refused.told);
        assert!(
            refused
                .told
                .contains("may not publish on `tool.requested.billing`"),
            "{}",
            refused.told
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_out_of_reach_or_too_large_is_told_apart() {
        let deployment = Deployment::start().await;
        let nobody = "nats://127.0.0.1:9";
        let ended = countersign(deployment.dir.path(), nobody, &ASK).await;
        assert_eq!(ended.code, 69, "{}", ended.told);
        let doctor = countersign(deployment.dir.path(), nobody, &["doctor"]).await;
        assert_eq!(doctor.code, 69, "{}", doctor.json);
        assert_eq!(doctor.json["ok"], false);

        let large = deployment.dir.path().join("large.json");
        let text = format!(r#"{{"a":"{}"}}"#, "x".repeat(1024 * 1024 - 20));
        std::fs::write(&large, text).unwrap();
        let flag = format!("@{}", large.display());
        let mut ask = ASK;
        ask[8] = &flag;
        let ended = deployment.run(&ask).await;
        assert_eq!(ended.code, 20, "{}", ended.told);
        assert!(ended.told.contains("nothing was sent"), "{}", ended.told);

        std::fs::remove_file(deployment.creds("agent-billing")).unwrap();
        assert_eq!(deployment.run(&ASK).await.code, 64);
    }
}
