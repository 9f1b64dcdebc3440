//! What an order says, and what is none.

use super::*;

fn read_as(subject: &str, ce_type: Option<&str>, body: &[u8]) -> Read {
    read(&Last {
        subject,
        seq: 1,
        ce_type,
        body,
    })
}

#[test]
fn what_cannot_be_read_freezes_everything_and_foreign_bytes_nothing() {
    let body = codec::encode(&event(true, &everything()), Encoding::Json).unwrap();
    let own = headers::ce_type::<ControlApplied>();
    let newer = format!("dev.countersign.{}.v2", ControlApplied::NAME);
    let subject = "control.applied.abc.7";
    assert_eq!(
        read_as(subject, Some(&own), &body),
        applied(true, &everything(), 7)
    );
    let third = read_as("control.applied.abc.7.3", Some(&own), &body);
    assert_eq!(third, repeated(&everything(), 7, 3));
    for unreadable in [
        read_as(subject, Some(&newer), &body),
        read_as(subject, Some(&own), b"{}"),
    ] {
        assert_eq!(unreadable, Read::Unreadable);
        let mut freezes = Freezes::default();
        assert_eq!(take(&mut freezes, 1, &unreadable), Effect::Blind);
        assert!(stops(&freezes), "fail closed");
    }
    for foreign in [
        read_as(subject, None, &body),
        read_as(subject, Some("dev.countersign.tool.approved.v1"), &body),
        read_as("control.done.abc.7", Some(&own), &body),
        read_as("control.applied.abc", Some(&own), &body),
    ] {
        assert_eq!(foreign, Read::NotOurs);
        let mut freezes = Freezes::default();
        assert_eq!(take(&mut freezes, 1, &foreign), Effect::NotOurs);
        assert!(!stops(&freezes));
    }
}

#[test]
fn an_order_covers_what_its_author_meant_or_nothing() {
    let table = [
        (r#"{"scope":{},"reason":"x"}"#, Ok(())),
        (r#"{"scope":{"agent":"billing"},"reason":"x"}"#, Ok(())),
        (
            r#"{"scope":{"agent":"billing","tool":null},"reason":"x"}"#,
            Ok(()),
        ),
        (
            r#"{"scope":{"agnet":"billing"},"reason":"x"}"#,
            Err(InvalidOrder::UnknownPart),
        ),
        (
            r#"{"scope":{"agent":"billing","team":"x"},"reason":"x"}"#,
            Err(InvalidOrder::UnknownPart),
        ),
        (
            r#"{"scope":{"agent":null},"reason":"x"}"#,
            Err(InvalidOrder::NamesNothing),
        ),
        (
            r#"{"scope":{},"reason":" \n"}"#,
            Err(InvalidOrder::NoReason),
        ),
    ];
    for (body, expected) in table {
        let order: countersign_schemas::events::ControlFreeze =
            codec::decode(body.as_bytes()).unwrap();
        let checked = Order::check(body.as_bytes(), order.scope, &order.reason, &str::to_owned);
        assert_eq!(checked.map(drop), expected, "{body}");
    }
    let long = "x".repeat(countersign_schemas::limits::PURPOSE_CHARS_MAX + 1);
    let long = Order::check(b"{}", everything(), &long, &str::to_owned);
    assert_eq!(
        long,
        Err(InvalidOrder::UnknownPart),
        "a body without a scope"
    );
    let redact = |text: &str| text.replace("secret", "[x]");
    let body = br#"{"scope":{},"reason":""}"#;
    let order = Order::check(body, everything(), "a secret\u{202e}", &redact).unwrap();
    assert!(order.reason.starts_with("a [x]") && !order.reason.contains('\u{202e}'));
}
