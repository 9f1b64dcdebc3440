//! Asks and windows end before the raw message that they are about is purged.

use std::time::Duration;

use super::{Findings, LintLevel, LintLimits};
use crate::policy::ask::AskRule;
use crate::policy::bundle::Bundle;
use crate::policy::problem::Place;

pub(super) fn check(bundle: &Bundle, limits: &LintLimits, findings: &mut Findings) {
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
    let spans = [("expires", Some(ask.expires)), ("window", ask.window)];
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
}
