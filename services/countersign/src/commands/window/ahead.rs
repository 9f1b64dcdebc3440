//! What a person wants a window for: shown before anything is sent, and found again when
//! the same is wanted twice.

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_domain::approvals::Listed;
use countersign_domain::windows::{Limits, WindowListed};
use countersign_schemas::ToolName;
use countersign_schemas::events::{ApprovalKind, CheckedRequester, WindowLimits, WindowRequested};

use crate::commands::approvals::Person;
use crate::commands::approvals::tables::span;
use crate::exit::CliError;
use crate::output::{Output, pairs};

use super::answers::Answered;

/// How far a window would go, one line for each limit.
pub(in crate::commands) fn limits_lines(limits: &WindowLimits) -> Vec<(&'static str, String)> {
    let mut lines = vec![("lasts", span(Duration::from_secs(limits.seconds)))];
    lines.push((
        "uses",
        match limits.max_uses {
            Some(most) => format!("at most {most}"),
            None => "as many as a window may have".to_owned(),
        },
    ));
    lines.push((
        "total",
        match &limits.max_total {
            Some(most) => format!("at most {most} together"),
            None => "no limit".to_owned(),
        },
    ));
    if limits.same_input_only == Some(true) {
        lines.push(("input", "only exactly the same".to_owned()));
    }
    lines
}

fn wanted(asked: &WindowRequested) -> String {
    let tools: Vec<&str> = asked.tools.iter().map(ToolName::as_str).collect();
    let mut lines = vec![
        ("a window for", asked.agent.to_string()),
        ("tools", tools.join(", ")),
    ];
    lines.extend(limits_lines(&asked.limits));
    if !asked.fields.is_empty() {
        lines.push(("may change", asked.fields.join(", ")));
    }
    let whom = asked.requester.as_ref();
    let whom = whom.map_or_else(|| "anybody".to_owned(), ToString::to_string);
    lines.push(("on behalf of", whom));
    lines.push(("why", asked.reason.clone()));
    pairs(&lines)
}

/// Shows what is wanted, and asks once unless that was answered on the command line.
pub(super) fn agreed(
    asked: &WindowRequested,
    yes: bool,
    output: &Output,
) -> Result<bool, CliError> {
    let text = wanted(asked);
    if yes {
        output.progress(text.trim_end());
        return Ok(true);
    }
    if !output.is_interactive() {
        return Err(CliError::usage(
            "nothing was sent: without a terminal to ask on, add --yes",
        ));
    }
    output.line(&text)?;
    output.confirmed("open it?")
}

/// The window, or what waits for others, that this person asked for before with the same
/// words: whoever repeats a command wants one window, not two.
pub(super) async fn before(
    person: &Person,
    asked: &WindowRequested,
) -> Result<Option<Answered>, CliError> {
    let windows = person.windows(Some(&asked.agent)).await?.0;
    let open = windows.iter().find(|window| {
        window.open && window.opened_by.first() == Some(&person.name) && is_same(window, asked)
    });
    if let Some(window) = open {
        return Ok(Some(Answered::stands(window)));
    }
    let waiting = person.waiting_of(&asked.agent).await?;
    let same = |listed: &&Listed| {
        listed.asked.requester.id.as_str() == person.name.as_str() && is_waiting(listed, asked)
    };
    Ok(waiting.iter().find(same).map(Answered::waits_still))
}

fn is_same(window: &WindowListed, asked: &WindowRequested) -> bool {
    window
        .approval_id
        .as_ref()
        .is_none_or(|id| id.intent().is_none())
        && window.agent == asked.agent
        && set(&window.tools) == set(&asked.tools)
        && set(&window.fields) == set(&asked.fields)
        && is_for(window.requester.as_ref(), asked)
        && same_limits(&window.limits, &asked.limits)
}

fn is_waiting(listed: &Listed, asked: &WindowRequested) -> bool {
    let of_window = listed.asked.kind == ApprovalKind::Window;
    let window = listed.asked.window.as_ref().filter(|_| of_window);
    window.is_some_and(|window| {
        listed.asked.agent == asked.agent
            && set(&window.tools) == set(&asked.tools)
            && set(&window.fields) == set(&asked.fields)
            && is_for(window.requester.as_ref(), asked)
            && same_limits(&window.limits, &asked.limits)
    })
}

fn set<T: Ord>(names: &[T]) -> BTreeSet<&T> {
    names.iter().collect()
}

fn is_for(requester: Option<&CheckedRequester>, asked: &WindowRequested) -> bool {
    requester.map(|one| &one.id) == asked.requester.as_ref()
}

/// Whether both go equally far, however each is written.
pub(super) fn same_limits(one: &WindowLimits, other: &WindowLimits) -> bool {
    match (Limits::read(one), Limits::read(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::show::tests::window;
    use super::*;

    fn asked() -> WindowRequested {
        WindowRequested {
            schema_version: 1,
            agent: "billing".parse().unwrap(),
            tools: vec!["billing.refund".parse().unwrap()],
            limits: WindowLimits {
                seconds: 1_800,
                max_uses: Some(20),
                max_total: Some("1500.00 EUR".to_owned()),
                same_input_only: None,
            },
            reason: "told otherwise".to_owned(),
            fields: vec!["status".to_owned()],
            requester: Some("maria@example.com".parse().unwrap()),
        }
    }

    #[test]
    fn the_same_window_is_known_however_it_is_written_and_another_is_not() {
        assert!(is_same(&window(7), &asked()));
        let other = |change: fn(&mut WindowRequested)| {
            let mut asked = asked();
            change(&mut asked);
            is_same(&window(7), &asked)
        };
        assert!(!other(|one| one.limits.seconds = 1_801));
        assert!(!other(|one| one.limits.max_uses = None));
        assert!(!other(|one| one.fields.push("limit".to_owned())));
        assert!(!other(|one| one.requester = None));
        assert!(!other(|one| one.tools.push("crm.read".parse().unwrap())));
        assert!(!other(|one| one.agent = "crm".parse().unwrap()));
        let with_a_vote = WindowListed {
            approval_id: "a-019aab6e-5c00-7a10-8000-00000000c0de".parse().ok(),
            ..window(7)
        };
        assert!(!is_same(&with_a_vote, &asked()), "of one requester's ask");
    }

    #[test]
    fn what_is_wanted_is_shown_before_it_is_sent() {
        insta::assert_snapshot!(wanted(&asked()));
        let output = Output::new(true);
        let error = agreed(&asked(), false, &output).unwrap_err();
        assert!(error.to_string().contains("--yes"), "{error}");
    }
}
