//! The command line as an approver meets it, with a test that plays the coordinator.

#[cfg(test)]
#[path = "people/bundles.rs"]
mod bundles;
#[cfg(test)]
mod fixture;
#[cfg(test)]
#[path = "people/status.rs"]
mod status;
#[cfg(test)]
#[path = "people/terminal.rs"]
mod terminal;

#[cfg(test)]
mod checks {
    use bytes::Bytes;
    use countersign_domain::approvals::{
        ApprovalView, IntentOutcome, Listed, Shown, ViewReply, ViewRequest,
    };
    use countersign_runtime::bus::Bus;
    use countersign_runtime::identity::Service;
    use countersign_schemas::codec::decode;
    use countersign_schemas::events::{
        ApprovalRequested, ApprovalState, ApprovalVote, ApprovalVoted, Outcome, OutcomeFound,
        OutcomeReconciled, VoteChoice,
    };
    use countersign_schemas::{Address, Digest, SeqToken, Stream, headers};
    use futures::StreamExt as _;
    use serde_json::json;

    use super::fixture::{Deployment, PATIENCE, countersign, golden, store};

    pub(crate) const ID: &str = "a-019aab6e-5c00-7a10-8000-00000000c0de";
    const APPROVE: [&str; 8] = [
        "approvals",
        "approve",
        ID,
        "--as",
        "lee",
        "--yes",
        "--reason",
        "Checked.",
    ];

    pub(crate) fn view() -> ApprovalView {
        let asked: ApprovalRequested = golden();
        let item = asked.items.first().unwrap();
        serde_json::from_value(json!({
            "approval_id": ID, "kind": "action",
            "items": [{
                "intent_id": item.intent_id, "tool": item.tool, "operation": item.operation,
                "summary": item.summary, "input_shown": {"amount": "120.50"},
                "input_digest": item.input_digest, "changes": [],
            }],
            "agent": asked.agent, "requester": asked.requester, "requester_note": "",
            "purpose": asked.purpose, "reasons": [], "guardrails": [],
            "approvers": asked.approvers, "chat_may_approve": false,
            "created_at": asked.created_at, "expires_at": asked.expires_at,
            "policy_digest": Digest::of_bytes(b""), "salt": "c2FsdA",
        }))
        .unwrap()
    }

    pub(crate) fn shown() -> Shown {
        Shown {
            listed: Listed {
                asked: golden(),
                state: ApprovalState::Pending,
                votes: Vec::new(),
                resolution: None,
                may_vote: true,
                no_vote: None,
                frozen: None,
                struck: Vec::new(),
            },
            digest: view().digest().unwrap(),
            view: Some(view()),
        }
    }

    /// Returns once the server knows what was subscribed before: it takes what comes on one
    /// connection in order, and `flush` does not wait for it.
    async fn subscribed(bus: &Bus) {
        let asked = bus.last_by_subject(Stream::Control, "approval.vote.nobody");
        asked.await.unwrap();
    }

    /// Answers every question about approvals with `shown`.
    pub(crate) async fn show(bus: &Bus, shown: Shown) -> tokio::task::JoinHandle<()> {
        let client = bus.client().clone();
        let mut questions = client.subscribe("cs.approval.view.*").await.unwrap();
        subscribed(bus).await;
        tokio::spawn(async move {
            while let Some(question) = questions.next().await {
                let reply = match serde_json::from_slice(&question.payload).unwrap() {
                    ViewRequest::List { .. } => ViewReply::Listed {
                        approvals: vec![shown.listed.clone()],
                        more: 0,
                    },
                    ViewRequest::Outcome { .. } => panic!("nobody asks that here"),
                    ViewRequest::Show { .. } => ViewReply::Shown {
                        approval: Box::new(shown.clone()),
                    },
                    ViewRequest::Freezes {} => ViewReply::Frozen {
                        freezes: Vec::new(),
                        freezes_more: 0,
                    },
                    ViewRequest::Windows { .. } => ViewReply::Windows {
                        windows: Vec::new(),
                        more: 0,
                    },
                };
                let body = Bytes::from(serde_json::to_vec(&reply).unwrap());
                client.publish(question.reply.unwrap(), body).await.unwrap();
            }
        })
    }

    /// The vote that was stored, and its answer.
    pub(crate) async fn count(bus: &Bus, counted: bool, state: ApprovalState) -> ApprovalVote {
        let found = async {
            let mut pause = tokio::time::interval(std::time::Duration::from_millis(20));
            loop {
                pause.tick().await;
                let last = bus
                    .last_by_subject(Stream::Control, "approval.vote.lee")
                    .await;
                if let Some(message) = last.unwrap() {
                    return message;
                }
            }
        };
        let message = tokio::time::timeout(PATIENCE, found).await.unwrap();
        let incarnation = bus.incarnation(Stream::Control).await.unwrap();
        let address = Address::ApprovalVoted {
            approval: ID.parse().unwrap(),
            seq: SeqToken::new(incarnation, message.seq),
        };
        let voted = ApprovalVoted {
            counted,
            state,
            code: if counted { "counted" } else { "excluded" }.to_owned(),
            ..golden()
        };
        store(bus, &address, &voted).await;
        decode(&message.payload).unwrap()
    }

    pub(crate) async fn votes(bus: &Bus) -> u64 {
        let stream = bus.jetstream().get_stream(Stream::Control.name()).await;
        stream.unwrap().cached_info().state.messages
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_approver_lists_and_approves_what_was_shown() {
        let deployment = Deployment::start().await;
        let coordinator = deployment.service(Service::ApprovalCoordinator).await;
        let answering = show(&coordinator, shown()).await;
        let list = deployment.run(&["approvals", "list", "--as", "lee"]).await;
        assert_eq!(list.code, 0, "{}", list.told);
        assert_eq!(list.json["approvals"][0]["asked"]["approval_id"], ID);

        let count = count(&coordinator, true, ApprovalState::Approved);
        let (ended, vote) = tokio::join!(deployment.run(&APPROVE), count);
        assert_eq!(ended.code, 0, "{} {}", ended.json, ended.told);
        assert_eq!(ended.json["results"][0]["code"], "counted");
        assert_eq!(vote.vote, VoteChoice::Approve);
        assert_eq!(vote.digest, view().digest().unwrap());
        assert_eq!(vote.reason.as_deref(), Some("Checked."));
        answering.abort();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_vote_that_does_not_count_is_told() {
        let deployment = Deployment::start().await;
        let coordinator = deployment.service(Service::ApprovalCoordinator).await;
        let answering = show(&coordinator, shown()).await;
        let count = count(&coordinator, false, ApprovalState::Pending);
        let (ended, _) = tokio::join!(deployment.run(&APPROVE), count);
        assert_eq!(ended.code, 20, "{} {}", ended.json, ended.told);
        assert_eq!(ended.json["results"][0]["counted"], false);
        answering.abort();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_sent_on_what_was_not_shown_whole() {
        let outsider = Shown {
            view: None,
            ..shown()
        };
        let other_digest = Shown {
            digest: Digest::of_bytes(b"something else"),
            ..shown()
        };
        let over = {
            let mut over = shown();
            over.listed.state = ApprovalState::Expired;
            over
        };
        let deployment = Deployment::start().await;
        let coordinator = deployment.service(Service::ApprovalCoordinator).await;
        let setup = deployment.service(Service::Setup).await;
        for (answer, code) in [(outsider, 20), (other_digest, 1), (over, 22)] {
            let answering = show(&coordinator, answer).await;
            let ended = deployment.run(&APPROVE).await;
            assert_eq!(ended.code, code, "{} {}", ended.json, ended.told);
            assert_eq!(votes(&setup).await, 0);
            answering.abort();
            assert!(answering.await.unwrap_err().is_cancelled());
        }
        let unsure = deployment
            .run(&["approvals", "deny", ID, "--as", "lee"])
            .await;
        assert_eq!(unsure.code, 69, "nobody answers any more: {}", unsure.told);
        let nobody = countersign(deployment.dir.path(), "nats://127.0.0.1:9", &APPROVE).await;
        assert_eq!(nobody.code, 69, "{}", nobody.told);
    }

    const INTENT: &str = "019aab6e-5c00-7a10-8000-00000000c0de";

    /// Answers how an intent ended: unknown, and found as the operator said by now.
    async fn tell_outcome(bus: &Bus) -> tokio::task::JoinHandle<()> {
        let bus = bus.clone();
        let mut questions = bus.client().subscribe("cs.approval.view.*").await.unwrap();
        subscribed(&bus).await;
        tokio::spawn(async move {
            while let Some(question) = questions.next().await {
                let last = bus.last_by_subject(Stream::Control, "outcome.found.kim");
                let found = last.await.unwrap().map(|message| {
                    let found: OutcomeFound = decode(&message.payload).unwrap();
                    OutcomeReconciled {
                        outcome: found.outcome,
                        operator: "kim".parse().unwrap(),
                        reason: found.reason,
                        ..golden()
                    }
                });
                let reply = ViewReply::Outcome {
                    outcome_of: IntentOutcome {
                        intent_id: INTENT.parse().unwrap(),
                        agent: "billing".parse().unwrap(),
                        tool: "mail.send".parse().unwrap(),
                        outcome: Some(Outcome::Unknown),
                        found,
                    },
                };
                let body = Bytes::from(serde_json::to_vec(&reply).unwrap());
                let inbox = question.reply.unwrap();
                bus.client().publish(inbox, body).await.unwrap();
            }
        })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_operator_says_what_was_found() {
        let deployment = Deployment::start().await;
        let coordinator = deployment.service(Service::ApprovalCoordinator).await;
        let answering = tell_outcome(&coordinator).await;
        let say = async |who: &str, outcome: &str| {
            let reason = "It is in the outbox.";
            let say = [
                "reconcile",
                INTENT,
                "--outcome",
                outcome,
                "--reason",
                reason,
            ];
            deployment.run(&[&say[..], &["--as", who]].concat()).await
        };
        let approver = say("lee", "succeeded").await;
        assert_eq!(approver.code, 64, "only operators may: {}", approver.told);
        let first = say("kim", "succeeded").await;
        assert_eq!(first.code, 0, "{} {}", first.json, first.told);
        assert_eq!(first.json["state"], "recorded");
        assert_eq!(first.json["found"]["reason"], "It is in the outbox.");
        let again = say("kim", "succeeded").await;
        assert_eq!((again.code, &again.json["state"]), (0, &json!("known")));
        let other = say("kim", "failed").await;
        assert_eq!(other.code, 20, "{}", other.json);
        let message = other.json["message"].as_str().unwrap();
        assert!(message.contains("kim found at"), "{message}");
        let silent = ["reconcile", INTENT, "--outcome", "failed", "--reason", " "];
        assert_eq!(deployment.run(&silent).await.code, 2);
        answering.abort();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_question_that_is_refused_is_a_refusal() {
        let deployment = Deployment::start().await;
        let coordinator = deployment.service(Service::ApprovalCoordinator).await;
        let client = coordinator.client().clone();
        let mut questions = client.subscribe("cs.approval.view.*").await.unwrap();
        subscribed(&coordinator).await;
        let answer = async {
            let question = questions.next().await.unwrap();
            let mut refusal = async_nats::HeaderMap::new();
            refusal.insert(headers::SERVICE_ERROR, "there is no such approval");
            refusal.insert(headers::SERVICE_ERROR_CODE, "404");
            let inbox = question.reply.unwrap();
            client
                .publish_with_headers(inbox, refusal, Bytes::new())
                .await
                .unwrap();
        };
        let show = ["approvals", "show", ID, "--as", "lee"];
        let (ended, ()) = tokio::join!(deployment.run(&show), answer);
        assert_eq!(ended.code, 20, "{}", ended.told);
        assert!(ended.told.contains("there is no such approval"));
    }
}
