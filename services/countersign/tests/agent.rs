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
        ToolRequested, ToolRevoked, ToolStarted, ToolWithdrawn,
    };
    use countersign_schemas::{Address, AgentId, Event, IntentId, SeqToken, Stream};

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
        next(bus, &format!("tool.requested.{name}")).await
    }

    /// The next event on a subject, once it is stored.
    async fn next<E: Event>(bus: &Bus, subject: &str) -> (StoredMessage, E) {
        let found = async {
            let mut pause = tokio::time::interval(std::time::Duration::from_millis(20));
            loop {
                pause.tick().await;
                let last = bus.last_by_subject(Stream::Intents, subject).await.unwrap();
                if let Some(message) = last {
                    let event = decode(&message.payload).unwrap();
                    return (message, event);
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
            "archive",
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
        let args = ["withdraw", &id, "--agent", "billing", "--wait", "1"];
        let withdrawn = deployment.run(&args).await;
        assert_eq!(
            withdrawn.code, 21,
            "stored is not withdrawn: {}",
            withdrawn.told
        );
        assert_eq!(withdrawn.json["state"], "pending");
        let coordinator = deployment.service(Service::ApprovalCoordinator).await;
        let stored = coordinator
            .last_by_subject(Stream::Intents, "tool.withdrawn.billing")
            .await
            .unwrap()
            .unwrap();
        let event: ToolWithdrawn = decode(&stored.payload).unwrap();
        assert_eq!(event.intent_id.to_string(), id);
    }

    /// The next withdrawal of `billing`, once it is stored.
    async fn withdrawal(bus: &Bus) -> (StoredMessage, ToolWithdrawn) {
        next(bus, "tool.withdrawn.billing").await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_withdrawal_ends_by_what_became_of_the_intent() {
        let deployment = Deployment::start().await;
        let coordinator = deployment.service(Service::ApprovalCoordinator).await;
        let executor = deployment.service(Service::ToolExecutor).await;
        let intent = |n: u8| -> IntentId {
            let text = format!("01920000-0000-7000-8000-0000000000{n:02}");
            text.parse().unwrap()
        };
        let billing = || agent("billing");
        let blocked = |n, code| ToolBlocked {
            intent_id: intent(n),
            agent: billing(),
            code,
            ..golden()
        };
        for (n, code) in [(1, BlockedCode::Withdrawn), (2, BlockedCode::PolicyDenied)] {
            let (agent, intent) = (billing(), intent(n));
            let address = Address::ToolBlocked { agent, intent };
            store(&coordinator, &address, &blocked(n, code)).await;
        }
        let revoked = ToolRevoked {
            intent_id: intent(3),
            agent: billing(),
            ..golden()
        };
        let (agent, at) = (billing(), intent(3));
        let address = Address::ToolRevoked { agent, intent: at };
        store(&coordinator, &address, &revoked).await;
        let started = ToolStarted {
            intent_id: intent(4),
            agent: billing(),
            ..golden()
        };
        let (agent, at) = (billing(), intent(4));
        let address = Address::ToolStarted { agent, intent: at };
        store(&executor, &address, &started).await;
        let completed = ToolCompleted {
            intent_id: intent(5),
            agent: billing(),
            ..golden()
        };
        let (agent, at) = (billing(), intent(5));
        let address = Address::ToolCompleted { agent, intent: at };
        store(&executor, &address, &completed).await;
        for (n, state, code) in [
            (1, "withdrawn", 0),
            (2, "blocked", 0),
            (3, "revoked", 0),
            (4, "running", 20),
            (5, "ended", 20),
        ] {
            let id = intent(n).to_string();
            let ended = deployment
                .run(&["withdraw", &id, "--agent", "billing"])
                .await;
            assert_eq!(ended.json["state"], state, "{}", ended.told);
            assert_eq!(ended.code, code, "{state}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_withdrawal_of_nothing_is_refused() {
        let deployment = Deployment::start().await;
        let coordinator = deployment.service(Service::ApprovalCoordinator).await;
        let id = "01920000-0000-7000-8000-000000000001";
        let refuse = async {
            let (message, _) = withdrawal(&coordinator).await;
            let request = reference(&coordinator, message.seq).await;
            let address = Address::ToolRefused {
                agent: agent("billing"),
                seq: SeqToken::new(request.incarnation.clone(), message.seq),
            };
            let refused = ToolRefused {
                request,
                agent: agent("billing"),
                intent_id: Some(id.parse().unwrap()),
                ..golden()
            };
            store(&coordinator, &address, &refused).await;
        };
        let args = ["withdraw", id, "--agent", "billing"];
        let (ended, ()) = tokio::join!(deployment.run(&args), refuse);
        assert_eq!(ended.code, 20, "{} {}", ended.json, ended.told);
        assert_eq!(ended.json["state"], "refused");
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
        let (id, _) = refused.told.split_once('\n').unwrap();
        let id = id.strip_prefix("sending intent ").unwrap();
        assert!(
            id.parse::<IntentId>().is_ok(),
            "told before it is sent: {id}"
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
