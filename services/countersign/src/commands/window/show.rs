//! Windows as people read them.

use countersign_domain::windows::WindowListed;
use countersign_schemas::Timestamp;

use crate::commands::approvals::tables::span;
use crate::output::Output;

/// The table of windows.
pub(super) fn list(
    windows: &[WindowListed],
    more: usize,
    now: Timestamp,
    output: &Output,
) -> String {
    if windows.is_empty() {
        return "no window is open".to_owned();
    }
    let head = [
        "ID",
        "AGENT",
        "TOOLS",
        "FOR",
        "USES",
        "TOTAL",
        "LEFT",
        "OPENED BY",
        "WHY",
    ];
    let rows: Vec<_> = windows.iter().map(|window| row(window, now)).collect();
    let mut text = output.table(&head, &rows);
    if more > 0 {
        text.push_str(&format!("\nand {more} more"));
    }
    text
}

fn row(window: &WindowListed, now: Timestamp) -> Vec<String> {
    let most = window.uses.saturating_add(window.uses_left);
    let total = match (&window.total, &window.limits.max_total) {
        (Some(total), Some(max)) => format!("{total} of {max}"),
        _ => "no limit".to_owned(),
    };
    let why = match (&window.reason, &window.approval_id) {
        (Some(reason), _) => reason.clone(),
        (None, Some(approval)) => approval.to_string(),
        (None, None) => String::new(),
    };
    let names: Vec<String> = window.opened_by.iter().map(ToString::to_string).collect();
    vec![
        window.window_id.to_string(),
        window.agent.to_string(),
        tools(window),
        requester(window),
        format!("{} of {most}", window.uses),
        total,
        match (window.open, window.uses_left) {
            // It may be used again if a use comes back.
            (true, 0) => format!("{}, used up", span(window.expires_at.since(now))),
            (true, _) => span(window.expires_at.since(now)),
            (false, _) => "ending".to_owned(),
        },
        names.join(", "),
        why,
    ]
}

fn tools(window: &WindowListed) -> String {
    let tools: Vec<String> = window.tools.iter().map(ToString::to_string).collect();
    let mut text = tools.join(", ");
    if !window.fields.is_empty() {
        text.push_str(&format!(" ({})", window.fields.join(", ")));
    }
    if window.limits.same_input_only == Some(true) {
        text.push_str(", the same input only");
    }
    text
}

fn requester(window: &WindowListed) -> String {
    match &window.requester {
        None => "anybody".to_owned(),
        Some(one) if one.verified => format!("{} (proved)", one.id),
        Some(one) => format!("{} (claimed)", one.id),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use countersign_schemas::events::{CheckedRequester, WindowLimits};

    pub(in super::super) fn window(n: u32) -> WindowListed {
        WindowListed {
            window_id: format!("w-313jn9k2h8a4e-{n}").parse().unwrap(),
            open: true,
            agent: "billing".parse().unwrap(),
            tools: vec!["billing.refund".parse().unwrap()],
            fields: vec!["status".to_owned()],
            requester: Some(CheckedRequester {
                id: "maria@example.com".parse().unwrap(),
                verified: true,
            }),
            limits: WindowLimits {
                seconds: 1_800,
                max_uses: Some(20),
                max_total: Some("1500 EUR".to_owned()),
                same_input_only: Some(false),
            },
            uses: 3,
            uses_left: 17,
            total: Some("361.5 EUR".to_owned()),
            total_left: Some("1138.5 EUR".to_owned()),
            opened_by: vec!["lee".parse().unwrap(), "sam".parse().unwrap()],
            approval_id: None,
            reason: Some("Double charges of last night.\u{202e}".to_owned()),
            opened_at: "2026-11-22T10:10:00Z".parse().unwrap(),
            expires_at: "2026-11-22T10:40:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn the_list_says_what_each_window_still_lets_through() {
        let any = WindowListed {
            open: false,
            fields: Vec::new(),
            requester: None,
            limits: WindowLimits {
                max_total: None,
                same_input_only: Some(true),
                ..window(8).limits
            },
            total: None,
            total_left: None,
            reason: None,
            approval_id: Some("a-019aab6e-5c00-7a10-8000-00000000c0de".parse().unwrap()),
            ..window(8)
        };
        let now = "2026-11-22T10:14:31Z".parse().unwrap();
        let full = row(&window(7), now);
        let expected = [
            "w-313jn9k2h8a4e-7",
            "billing",
            "billing.refund (status)",
            "maria@example.com (proved)",
            "3 of 20",
            "361.5 EUR of 1500 EUR",
            "25m 29s",
            "lee, sam",
        ];
        assert_eq!(full[..8], expected);
        let ending = row(&any, now);
        let tools = "billing.refund, the same input only";
        assert_eq!(
            ending[2..7],
            [tools, "anybody", "3 of 20", "no limit", "ending"]
        );
        assert_eq!(ending[8], "a-019aab6e-5c00-7a10-8000-00000000c0de");
        let used_up = WindowListed {
            uses: 20,
            uses_left: 0,
            ..window(9)
        };
        assert_eq!(row(&used_up, now)[6], "25m 29s, used up");
        let output = Output::new(false);
        let text = list(&[window(7), any], 2, now, &output);
        assert!(!text.contains('\u{202e}'), "{text:?}");
        assert!(
            text.contains("OPENED BY") && text.ends_with("and 2 more"),
            "{text}"
        );
        assert_eq!(list(&[], 0, now, &output), "no window is open");
    }
}
