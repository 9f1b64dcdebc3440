//! `countersign policy replay|suggest`: what the record says about a bundle.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use countersign_audit_query::output::{self as form, Format};
use countersign_audit_query::{Archive, QueryLimits, Settings};
use countersign_domain::archive::ManifestPublicKeys;
use countersign_domain::policy::{
    Archived, AskHistory, Bundle, Replay, Suggestions, VerdictCount, replay, suggest,
};
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_schemas::Timestamp;
use serde::Deserialize;

use super::{bundle, load};
use crate::client::Place;
use crate::commands::audit::named;
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// Verdicts read at once: they are held in memory, about a kilobyte each.
const ROWS_MAX: usize = 200_000;

#[derive(Debug, clap::Args)]
struct Record {
    /// The archive, a directory or s3://bucket/prefix; that of the deployment if left out.
    /// Reading it is not recorded: guard it by rights
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
    /// How far back, such as 12h or 7d
    #[arg(long, value_name = "SPAN", default_value = "7d", value_parser = span)]
    since: Duration,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    /// The folder of the bundle to judge by
    #[arg(long = "with", value_name = "FOLDER")]
    with: PathBuf,
    #[command(flatten)]
    record: Record,
}

#[derive(Debug, clap::Args)]
pub(super) struct SuggestArgs {
    /// Asks that were granted at least this often count as always granted
    #[arg(long, value_name = "N", default_value_t = 5)]
    at_least: usize,
    #[command(flatten)]
    record: Record,
}

/// Judges archived intents by another bundle.
pub(super) async fn replay_with(args: &ReplayArgs, output: &Output) -> Result<Exit, CliError> {
    let bundle = load(&args.with)?;
    let rows: Vec<VerdictRow> = args.record.read(&args.record.verdicts()).await?;
    let all = rows.len();
    let rows: Vec<Archived> = rows.into_iter().filter_map(VerdictRow::archived).collect();
    let unreadable = all - rows.len();
    let found = replay(&bundle, rows).map_err(CliError::unexpected)?;
    let answer = serde_json::json!({
        "policy_digest": bundle.digest(),
        "unreadable": unreadable,
        "replay": found,
    });
    output.answer(&answer, || replay_text(&found, unreadable, output))?;
    Ok(Exit::Done)
}

fn replay_text(found: &Replay, unreadable: usize, output: &Output) -> String {
    let mut lines = vec![format!(
        "{} verdicts: {} judged again, {} of them the same",
        found.rows, found.judged, found.same
    )];
    for (why, count) in &found.not_judged {
        lines.push(format!("  {count} not judged: {}", why.words()));
    }
    if unreadable > 0 {
        lines.push(format!(
            "  {unreadable} not judged: their rows cannot be read"
        ));
    }
    if !found.shifts.is_empty() {
        let rows: Vec<Vec<String>> = found
            .shifts
            .iter()
            .map(|shift| {
                let examples: Vec<String> =
                    shift.examples.iter().map(ToString::to_string).collect();
                vec![
                    shift.count.to_string(),
                    format!("{} to {}", shift.from, shift.to),
                    shift.tool.to_string(),
                    shift.because.clone(),
                    examples.join(" "),
                ]
            })
            .collect();
        let head = ["COUNT", "CHANGE", "TOOL", "BECAUSE", "SUCH AS"];
        lines.push(output.table(&head, &rows));
    }
    lines.join("\n")
}

/// Says which permissions nobody uses and which asks nobody refuses.
pub(super) async fn suggest_from(args: &SuggestArgs, output: &Output) -> Result<Exit, CliError> {
    let bundle: Bundle = bundle(&args.record.place)?;
    let seen: Vec<SeenRow> = args.record.read(&args.record.uses()).await?;
    let asked: Vec<AskedRow> = args.record.read(&args.record.asks()).await?;
    let seen = seen
        .into_iter()
        .filter_map(SeenRow::seen)
        .collect::<Vec<_>>();
    let asked = AskedRow::history(asked);
    let found = suggest(&bundle, &seen, &asked, args.at_least);
    output.answer(&found, || suggest_text(&found, output))?;
    Ok(Exit::Done)
}

fn suggest_text(found: &Suggestions, output: &Output) -> String {
    if found.unused.is_empty() && found.always_granted.is_empty() {
        return format!("nothing to suggest from {} verdicts", found.verdicts);
    }
    let unused = found.unused.iter().map(|unused| {
        vec![
            "unused".to_owned(),
            unused.rule.clone(),
            format!("allowed nothing: remove or narrow it ({})", unused.because),
        ]
    });
    let granted = found.always_granted.iter().map(|granted| {
        vec![
            "always granted".to_owned(),
            granted.rule.clone(),
            format!(
                "people granted it {} times and never refused: consider a narrower rule",
                granted.granted
            ),
        ]
    });
    let rows: Vec<Vec<String>> = unused.chain(granted).collect();
    output.table(&["WHAT", "RULE", "WHY"], &rows)
}

impl Record {
    fn begin(&self) -> Timestamp {
        SystemClock.now().minus(self.since)
    }

    fn verdicts(&self) -> String {
        format!(
            "SELECT intent_id, agent_id, requester_id, requester_verified, tool_name, purpose, \
             input_redacted, truncated, verdict, policy_ids, reason_codes, \
             CAST(time AS VARCHAR) AS at \
             FROM events WHERE event = 'policy.checked' AND level <> 'metadata' \
             AND time >= TIMESTAMP '{}' ORDER BY time DESC LIMIT {ROWS_MAX}",
            self.begin()
        )
    }

    fn uses(&self) -> String {
        format!(
            "SELECT agent_id, tool_name, verdict, policy_ids, count(*) AS times \
             FROM events WHERE event = 'policy.checked' AND level <> 'metadata' \
             AND time >= TIMESTAMP '{}' GROUP BY agent_id, tool_name, verdict, policy_ids \
             LIMIT {ROWS_MAX}",
            self.begin()
        )
    }

    fn asks(&self) -> String {
        format!(
            "SELECT c.policy_ids AS policy_ids, r.decision AS decision, count(*) AS times \
             FROM events c JOIN events r ON c.intent_id = r.intent_id \
             WHERE c.event = 'policy.checked' AND c.verdict = 'ask' \
             AND r.event = 'approval.resolved' AND c.level <> 'metadata' \
             AND r.level <> 'metadata' AND c.time >= TIMESTAMP '{}' \
             GROUP BY c.policy_ids, r.decision LIMIT {ROWS_MAX}",
            self.begin()
        )
    }

    /// The rows of one statement over the files that the manifest lists.
    async fn read<T: serde::de::DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, CliError> {
        let found = self.place.config().and_then(|config| {
            let settings = Settings::from_config(&config)?;
            Ok((config, settings))
        });
        let (place, pinned, mut limits) = match (&self.archive, found) {
            (Some(name), Ok((config, settings))) => {
                let place = named(name, Some(&config))?;
                (place, settings.pinned, settings.limits)
            }
            (Some(name), Err(_)) => (
                named(name, None)?,
                ManifestPublicKeys::default(),
                QueryLimits::default(),
            ),
            (None, found) => {
                let (_, settings) = found?;
                (settings.place, settings.pinned, settings.limits)
            }
        };
        limits.rows = ROWS_MAX;
        let archive = Archive::open(place, pinned).map_err(CliError::unreachable)?;
        let found = archive.query(sql, limits).await;
        let found = found.map_err(CliError::unreachable)?;
        let json = form::write(&found, Format::Json).map_err(CliError::unexpected)?;
        serde_json::from_slice(&json).map_err(CliError::unexpected)
    }
}

#[derive(Deserialize)]
struct VerdictRow {
    intent_id: String,
    agent_id: String,
    requester_id: Option<String>,
    requester_verified: Option<bool>,
    tool_name: String,
    purpose: Option<String>,
    input_redacted: Option<String>,
    truncated: Option<bool>,
    verdict: String,
    policy_ids: Option<Vec<String>>,
    reason_codes: Option<Vec<String>>,
    at: String,
}

impl VerdictRow {
    fn archived(self) -> Option<Archived> {
        let whole = self.truncated != Some(true);
        let input = self.input_redacted.filter(|_| whole);
        let rules = self.policy_ids.unwrap_or_default();
        Some(Archived {
            intent_id: self.intent_id.parse().ok()?,
            agent: self.agent_id.parse().ok()?,
            requester: self.requester_id?.parse().ok()?,
            proved: self.requester_verified == Some(true),
            tool: self.tool_name.parse().ok()?,
            purpose: self.purpose.unwrap_or_default(),
            input: input.and_then(|text| serde_json::from_str(&text).ok()),
            at: at(&self.at)?,
            verdict: serde_json::from_value(self.verdict.into()).ok()?,
            because: match rules.is_empty() {
                true => self.reason_codes.unwrap_or_default(),
                false => rules,
            },
        })
    }
}

/// A time as SQL writes it, in UTC.
fn at(text: &str) -> Option<Timestamp> {
    let plain = text.trim_end_matches('Z').trim_end_matches("+00:00");
    format!("{}Z", plain.replacen(' ', "T", 1)).parse().ok()
}

#[derive(Deserialize)]
struct SeenRow {
    agent_id: Option<String>,
    tool_name: Option<String>,
    verdict: Option<String>,
    policy_ids: Option<Vec<String>>,
    times: u64,
}

impl SeenRow {
    fn seen(self) -> Option<VerdictCount> {
        Some(VerdictCount {
            agent: self.agent_id?.parse().ok()?,
            tool: self.tool_name?.parse().ok()?,
            verdict: serde_json::from_value(self.verdict?.into()).ok()?,
            rules: self.policy_ids.unwrap_or_default(),
            times: self.times,
        })
    }
}

#[derive(Deserialize)]
struct AskedRow {
    policy_ids: Option<Vec<String>>,
    decision: Option<String>,
    times: usize,
}

impl AskedRow {
    /// By rule.
    fn history(rows: Vec<Self>) -> BTreeMap<String, AskHistory> {
        let mut all: BTreeMap<String, AskHistory> = BTreeMap::new();
        for row in rows {
            let granted = row.decision.as_deref() == Some("approved");
            for rule in row.policy_ids.unwrap_or_default() {
                let history = all.entry(rule).or_default();
                match granted {
                    true => history.granted += row.times,
                    false => history.otherwise += row.times,
                }
            }
        }
        all
    }
}

/// Reads `12h` or `7d`.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "write a span such as 12h or 7d".to_owned();
    let (count, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(wrong)?;
    let unit = match unit {
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let count: u64 = count.parse().map_err(|_| wrong())?;
    let seconds = count.checked_mul(unit).filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_schemas::events::Verdict;

    #[test]
    fn spans_are_read() {
        assert_eq!(span("7d").unwrap(), Duration::from_secs(604_800));
        assert_eq!(span("12h").unwrap(), Duration::from_secs(43_200));
        for bad in [
            "",
            "7",
            "d",
            "0d",
            "-1d",
            "7w",
            "99999999999999999999d",
            "é",
        ] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rows_of_the_archive_are_read_or_counted_as_unreadable() {
        let row = |input: &str, truncated: bool| VerdictRow {
            intent_id: "019a0000-0000-7000-8000-000000000001".to_owned(),
            agent_id: "billing".to_owned(),
            requester_id: Some("kim".to_owned()),
            requester_verified: Some(false),
            tool_name: "docs.search".to_owned(),
            purpose: None,
            input_redacted: Some(input.to_owned()),
            truncated: Some(truncated),
            verdict: "deny".to_owned(),
            policy_ids: Some(Vec::new()),
            reason_codes: Some(vec!["policy_denied".to_owned()]),
            at: "2026-11-22T10:00:00.5Z".to_owned(),
        };
        let read = row("{\"query\":\"x\"}", false).archived().unwrap();
        assert_eq!(
            (read.verdict, read.because.as_slice()),
            (Verdict::Deny, &["policy_denied".to_owned()][..])
        );
        assert!(read.input.is_some());
        assert!(row("{\"query\"", true).archived().unwrap().input.is_none());
        let mut odd = row("{}", false);
        odd.verdict = "perhaps".to_owned();
        assert!(odd.archived().is_none());
        for text in [
            "2026-11-22 10:00:00.500",
            "2026-11-22T10:00:00",
            "2026-11-22T10:00:00.5Z",
            "2026-11-22 10:00:00.5+00:00",
        ] {
            assert!(at(text).is_some(), "{text}");
        }
    }
}
