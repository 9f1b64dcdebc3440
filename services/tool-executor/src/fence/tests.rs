//! The fence without a server: messages are handed to it in the order of the log.

use async_nats::HeaderMap;
use bytes::Bytes;
use countersign_schemas::Timestamp;
use countersign_schemas::codec::{self, Encoding};
use countersign_schemas::events::{ControlApplied, Event, FreezeScope};
use serde_json::json;

use super::*;
use crate::call::Trouble;
use crate::fixture;

fn approved() -> ToolApproved {
    let now = Timestamp::EPOCH.plus(Duration::from_secs(1_800_000_000));
    let raw = fixture::requested("crm.read", json!({"id": "C-1"}), now);
    let request = countersign_schemas::events::RequestRef {
        stream: "CS_INTENTS".to_owned(),
        incarnation: "abc".parse().unwrap(),
        seq: 1,
    };
    fixture::approved(&raw, &fixture::bundle(), request, now)
}

fn message(seq: u64, subject: &str, id: &str, ce_type: &str, body: Vec<u8>) -> StoredMessage {
    let mut headers = HeaderMap::new();
    headers.insert(headers::MSG_ID, id);
    headers.insert(headers::CE_TYPE, ce_type);
    StoredMessage {
        subject: subject.to_owned(),
        seq,
        stored_at: Timestamp::EPOCH,
        headers,
        payload: Bytes::from(body),
    }
}

fn claim(seq: u64, id: &str) -> StoredMessage {
    let intent = approved().intent_id;
    message(
        seq,
        &format!("tool.started.billing.{intent}"),
        id,
        "",
        Vec::new(),
    )
}

fn order(seq: u64, frozen: bool) -> StoredMessage {
    let event = ControlApplied {
        schema_version: 1,
        frozen,
        scope: FreezeScope::default(),
        operator: "olga".parse().unwrap(),
        reason: "x".to_owned(),
        applied_at: Timestamp::EPOCH,
    };
    let body = codec::encode(&event, Encoding::Json).unwrap();
    let ce_type = headers::ce_type::<ControlApplied>();
    assert_eq!(ControlApplied::NAME, "control.applied");
    message(
        seq,
        &format!("control.applied.abc.{seq}"),
        "o",
        &ce_type,
        body,
    )
}

fn standing() -> Arc<Fence> {
    let fence = Fence::new();
    fence.whole.send_replace(true);
    fence
}

fn code(ended: Result<(), End>) -> String {
    match ended {
        Ok(()) => "begins".to_owned(),
        Err(End::Failed(Trouble { code, .. })) => code,
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn only_freezes_before_the_claim_stop_it() {
    let table = [
        (vec![claim(5, "mine")], "begins"),
        (vec![order(4, true), claim(5, "mine")], "frozen"),
        (vec![claim(5, "mine"), order(6, true)], "begins"),
        // Released again, but the decision is older.
        (
            vec![order(3, true), order(4, false), claim(5, "mine")],
            "frozen",
        ),
        // Somebody else's claim, or one at another place, lets nothing through.
        (vec![claim(5, "other")], "not_begun"),
        (vec![claim(7, "mine")], "not_begun"),
        (vec![], "not_begun"),
    ];
    for (log, expected) in table {
        let fence = standing();
        let sent = Instant::now();
        let mut passage = fence.expect("mine", &approved(), 1, sent).unwrap();
        for message in &log {
            fence.state().deliver(message);
        }
        assert_eq!(code(passage.pass(5).await), expected, "{log:?}");
        drop(passage);
        assert!(fence.state().waiting.is_empty(), "nothing is left behind");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_comes_late_does_not_begin() {
    let fence = standing();
    let mut passage = fence
        .expect("mine", &approved(), 1, Instant::now())
        .unwrap();
    tokio::time::advance(BEGIN_WITHIN).await;
    fence.state().deliver(&claim(5, "mine"));
    assert_eq!(code(passage.pass(5).await), "not_begun");
}

#[tokio::test(start_paused = true)]
async fn while_the_reading_is_in_doubt_nothing_more_is_claimed() {
    let fence = standing();
    let mut passage = fence
        .expect("mine", &approved(), 1, Instant::now())
        .unwrap();
    let waiting = tokio::spawn(async move { passage.pass(5).await });
    tokio::time::sleep(DOUBT_AFTER + Duration::from_millis(1)).await;
    assert!(
        fence
            .expect("next", &approved(), 1, Instant::now())
            .is_err()
    );
    assert!(fence.stands().await.is_err());
    drop(waiting);

    let fence = standing();
    let mut passage = fence
        .expect("mine", &approved(), 1, Instant::now())
        .unwrap();
    let late = Arc::clone(&fence);
    let deliver = async {
        tokio::time::sleep(DOUBT_AFTER * 2).await;
        late.state().deliver(&claim(5, "mine"));
    };
    let (ended, ()) = tokio::join!(passage.pass(5), deliver);
    assert_eq!(code(ended), "begins", "in doubt is not lost");
}

#[test]
fn a_fence_that_does_not_stand_lets_nothing_be_claimed() {
    let fence = Fence::new();
    assert!(
        fence
            .expect("mine", &approved(), 1, Instant::now())
            .is_err()
    );
    fence.state().deliver(&order(3, true));
    assert!(fence.voids(&approved(), 1).is_some());
    assert!(fence.voids(&approved(), 9).is_some(), "in force");
    fence.state().deliver(&order(4, false));
    assert!(fence.voids(&approved(), 9).is_none());
    assert!(
        fence
            .voids(&approved(), 1)
            .unwrap()
            .contains("does not come back")
    );
}
