//! Which rows are meant, in words on the command line.

use std::time::Duration;

use countersign_audit_query::select::Selection;
use countersign_schemas::{AgentId, IntentId, Timestamp, ToolName};

/// A row must hold every value that is named.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Selecting {
    /// Rows stored at this time or later: RFC 3339, a day (UTC), or how long ago, such as 12h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,
    /// Rows stored before this time, written likewise
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Moment>,
    /// Rows of this agent
    #[arg(long, value_name = "AGENT")]
    agent: Option<AgentId>,
    /// Rows that name this requester: the request and the verdict
    #[arg(long, value_name = "PERSON")]
    requester: Option<String>,
    /// Rows that name this tool
    #[arg(long, value_name = "TOOL")]
    tool: Option<ToolName>,
    /// Rows of this intent
    #[arg(long, value_name = "INTENT")]
    intent: Option<IntentId>,
    /// Rows that say how a call ended
    #[arg(long, value_name = "OUTCOME", value_parser = ["succeeded", "failed", "unknown"])]
    outcome: Option<String>,
}

impl Selecting {
    /// The selection, at this time.
    pub(super) fn at(&self, now: Timestamp) -> Selection {
        let moment = |moment: Option<Moment>| match moment? {
            Moment::At(at) => Some(at),
            Moment::Ago(span) => Some(now.minus(span)),
        };
        let selection = Selection {
            since: moment(self.since),
            until: moment(self.until),
            ..Selection::default()
        };
        selection
            .with("agent_id", self.agent.as_ref())
            .with("requester_id", self.requester.as_ref())
            .with("tool_name", self.tool.as_ref())
            .with("intent_id", self.intent)
            .with("outcome", self.outcome.as_ref())
    }
}

/// A point in time as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    At(Timestamp),
    Ago(Duration),
}

fn moment(text: &str) -> Result<Moment, String> {
    let day = || format!("{text}T00:00:00Z").parse().ok();
    let at = text.parse().ok().or_else(day).map(Moment::At);
    at.or_else(|| span(text).map(Moment::Ago)).ok_or_else(|| {
        "write a time such as 2026-11-22T10:00:00Z, a day such as 2026-11-22, or how long ago \
         such as 30m, 12h or 7d"
            .to_owned()
    })
}

fn span(text: &str) -> Option<Duration> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit: u64 = match unit {
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let seconds = count.parse::<u64>().ok()?.checked_mul(unit)?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_write_them() {
        let at = |text: &str| Moment::At(text.parse().unwrap());
        for (text, expected) in [
            ("2026-11-22T10:00:00Z", at("2026-11-22T10:00:00Z")),
            ("2026-11-22T11:00:00+01:00", at("2026-11-22T10:00:00Z")),
            ("2026-11-22", at("2026-11-22T00:00:00Z")),
            ("30m", Moment::Ago(Duration::from_secs(1_800))),
            ("7d", Moment::Ago(Duration::from_secs(604_800))),
        ] {
            assert_eq!(moment(text), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "d",
            "7w",
            "-1d",
            "yesterday",
            "2026-13-01",
            "99999999999999999999d",
            "é",
        ] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_span_counts_from_now() {
        let selecting = Selecting {
            since: Some(Moment::Ago(Duration::from_secs(60))),
            until: None,
            agent: None,
            requester: Some("o'neil".to_owned()),
            tool: None,
            intent: None,
            outcome: None,
        };
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let selection = selecting.at(now);
        assert_eq!(
            selection.since,
            Some("2026-11-22T09:59:00Z".parse().unwrap())
        );
        assert_eq!(selection.values, [("requester_id", "o'neil".to_owned())]);
    }
}
