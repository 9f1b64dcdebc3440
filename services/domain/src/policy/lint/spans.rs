//! Asks, what belongs to them and windows end before the raw message that they are about is
//! purged, reminders and escalations come before the ask ends, and absences are no rule.

use std::time::Duration;

use super::{Findings, LintLevel, LintLimits};
use crate::policy::absence::ABSENCE_MAX;
use crate::policy::ask::AskRule;
use crate::policy::bundle::Bundle;
use crate::policy::entities_file;
use crate::policy::problem::Place;

pub(super) fn check(bundle: &Bundle, limits: &LintLimits, findings: &mut Findings) {
    absences(bundle, findings);
    let retention = limits.raw_retention;
    for one in &bundle.rules.written {
        let rule = bundle.rules.said.get(one.id());
        if let Some(ask) = rule.and_then(|rule| rule.ask.as_ref()) {
            let who = format!("policy `{}`", one.id());
            ask_fits(ask, retention, &who, &one.place(), findings);
        }
    }
    for tool in bundle.catalog.tools() {
        let place = bundle.catalog.place(&tool.name);
        for guard in &tool.guardrails {
            for ask in guard.asks() {
                let who = format!("guardrail `{}` of tool `{}`", guard.name(), tool.name);
                ask_fits(ask, retention, &who, &place, findings);
            }
        }
    }
}

fn ask_fits(
    ask: &AskRule,
    retention: Duration,
    who: &str,
    place: &Place<'_>,
    findings: &mut Findings,
) {
    let spans = [
        ("expires", Some(ask.expires)),
        ("window", ask.window),
        ("escalate", ask.escalate.longest()),
        ("remind", ask.remind.first().copied()),
    ];
    for (key, span) in spans {
        if let Some(span) = span.filter(|span| *span > retention) {
            let what = format!(
                "`{key}` of {who} is {} s, longer than the {} s that raw messages are kept",
                span.as_secs(),
                retention.as_secs()
            );
            let mend = "shorten it, or keep raw messages longer";
            findings.add(LintLevel::Refused, "retention", place, what, mend);
        }
    }
    for (key, span) in spans.into_iter().skip(2) {
        if let Some(span) = span.filter(|span| *span >= ask.expires) {
            let what = format!(
                "`{key}` of {who} has {} s, when the {} s of `expires` are over",
                span.as_secs(),
                ask.expires.as_secs()
            );
            let mend = "let it come before the end, or give people longer";
            findings.add(LintLevel::Refused, "too_late", place, what, mend);
        }
    }
}

/// An absence that never ends is another team.
fn absences(bundle: &Bundle, findings: &mut Findings) {
    for entry in bundle.directory.delegation_entries() {
        let delegation = &entry.delegation;
        let days = delegation.until.since(delegation.from).as_secs() / (24 * 60 * 60);
        if delegation.until.since(delegation.from) <= ABSENCE_MAX {
            continue;
        }
        let what = format!(
            "`{}` votes for `{}` for {days} days",
            delegation.delegate, delegation.person
        );
        let place = Place {
            file: entities_file::FILE,
            line: entry.line,
        };
        let mend = "shorten it, or put the delegate into the team";
        findings.add(LintLevel::PointedOut, "delegation", &place, what, mend);
    }
}
