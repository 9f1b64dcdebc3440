//! Votes on one or several approvals: read, look, show, ask, vote, tell.

use std::io::{BufRead, Read as _};

use countersign_domain::approvals::{Shown, visible};
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_schemas::events::{VoteChoice, WindowLimits};
use countersign_schemas::{ApprovalId, IntentId};
use serde::Serialize;
use serde_json::json;

use super::vote::{self, Cast, Said};
use super::{Person, VoteArgs, show, tables};
use crate::commands::window::limits_lines;
use crate::exit::{CliError, Exit};
use crate::output::{Output, pairs};

/// Approvals in one call: more than anybody reads before deciding.
const IDS_MAX: usize = 500;
/// Bytes read from standard input: as many ids, with room.
const STDIN_BYTES_MAX: u64 = 100 * 1024;
/// Lines shown before a question. A terminal keeps about a thousand; what has scrolled out
/// of it was not read.
const LINES_MAX: usize = 800;

/// Votes on all of them, and tells what became of each.
pub(super) async fn run(
    person: &Person,
    args: VoteArgs,
    choice: VoteChoice,
    without: Vec<IntentId>,
    output: &Output,
) -> Result<Exit, CliError> {
    let ids = ids(&args.ids, std::io::stdin().lock())?;
    if ids.len() > 1 && !without.is_empty() {
        return Err(CliError::usage("--without goes with one bundle at a time"));
    }
    let mut looked = Vec::new();
    let mut gone: Option<String> = None;
    for id in ids {
        looked.push(match &gone {
            Some(why) => Err(Cast::unseen(
                id,
                choice,
                &CliError::Unreachable(why.clone()),
            )),
            None => look(person, id, choice, &mut gone).await,
        });
    }
    let said = Said {
        choice,
        reason: args.reason,
        without,
        window: None,
    };
    say(person, looked, &said, args.yes, output).await
}

/// Says the same to all that was looked at, once that is agreed.
pub(in crate::commands) async fn say(
    person: &Person,
    looked: Vec<Result<Shown, Cast>>,
    said: &Said,
    yes: bool,
    output: &Output,
) -> Result<Exit, CliError> {
    let all = looked.iter().filter_map(|one| one.as_ref().ok());
    let open: Vec<&Shown> = all
        .filter(|shown| vote::already(&person.name, shown, said.choice).is_none())
        .collect();
    if !open.is_empty() && !agreed(&open, said, yes, output)? {
        output.progress("nothing was sent");
        return Ok(Exit::Usage);
    }
    let mut cast = Vec::new();
    for one in looked {
        cast.push(match one {
            Err(failed) => failed,
            Ok(shown) => {
                let done = vote::cast(person, &shown, said).await;
                // Those before it are stored: they are told whatever becomes of the next.
                done.unwrap_or_else(|error| Cast::failed(&shown, said.choice, &error))
            }
        });
    }
    output.answer(&json!({ "results": cast }), || {
        tables::results(&cast, output)
    })?;
    Ok(vote::worst(&cast))
}

/// Votes yes on one approval, and asks for a window with it.
pub(in crate::commands) async fn with_window(
    person: &Person,
    shown: Shown,
    window: WindowLimits,
    (reason, yes): (Option<String>, bool),
    output: &Output,
) -> Result<Exit, CliError> {
    let said = Said {
        choice: VoteChoice::Approve,
        reason,
        without: Vec::new(),
        window: Some(window),
    };
    say(person, vec![Ok(shown)], &said, yes, output).await
}

/// Shows one or several approvals: of several a table first, and what became of those that
/// cannot be shown.
pub(super) async fn show(
    person: &Person,
    given: &[String],
    output: &Output,
) -> Result<Exit, CliError> {
    let ids = ids(given, std::io::stdin().lock())?;
    if let [id] = ids.as_slice() {
        let shown = person.look(id.clone()).await?;
        output.read(&shown, || whole(&[&shown], output))?;
        return Ok(Exit::Done);
    }
    let mut looked = Vec::new();
    for id in ids {
        let seen = Seen::of(id.clone(), person.look(id).await);
        // Once nobody answers, nobody is asked again.
        if seen.failed == Exit::Unreachable {
            return Err(CliError::Unreachable(seen.error.unwrap_or_default()));
        }
        looked.push(seen);
    }
    let there: Vec<&Shown> = looked
        .iter()
        .filter_map(|seen| seen.approval.as_ref())
        .collect();
    output.read(&json!({ "results": looked }), || {
        let mut text = String::new();
        for seen in &looked {
            if let Some(error) = &seen.error {
                text.push_str(&format!("{}: {}\n\n", seen.approval_id, visible(error)));
            }
        }
        text + &whole(&there, output)
    })?;
    let mut exits = looked.iter().map(|seen| seen.failed);
    Ok(exits.find(|exit| *exit != Exit::Done).unwrap_or(Exit::Done))
}

/// One of several that were to be shown.
#[derive(Debug, Serialize)]
struct Seen {
    approval_id: ApprovalId,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    failed: Exit,
}

impl Seen {
    fn of(approval_id: ApprovalId, looked: Result<Shown, CliError>) -> Self {
        let failed = looked.as_ref().err().map_or(Exit::Done, CliError::exit);
        let error = looked.as_ref().err().map(ToString::to_string);
        Self {
            approval_id,
            approval: looked.ok(),
            error,
            failed,
        }
    }
}

/// What is to be decided; once nobody answers, nobody is asked again.
async fn look(
    person: &Person,
    id: ApprovalId,
    choice: VoteChoice,
    gone: &mut Option<String>,
) -> Result<Shown, Cast> {
    let shown = person.look(id.clone()).await;
    shown.map_err(|error| {
        if let CliError::Unreachable(why) = &error {
            *gone = Some(why.clone());
        }
        Cast::unseen(id, choice, &error)
    })
}

/// The ids that were given, `-` standing for those on standard input, each once.
fn ids(given: &[String], stdin: impl BufRead) -> Result<Vec<ApprovalId>, CliError> {
    let mut words: Vec<String> = given.iter().filter(|id| *id != "-").cloned().collect();
    if given.iter().any(|id| id == "-") {
        let mut text = String::new();
        stdin.take(STDIN_BYTES_MAX + 1).read_to_string(&mut text)?;
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > STDIN_BYTES_MAX {
            return Err(CliError::usage("standard input holds too many ids"));
        }
        words.extend(text.split_whitespace().map(str::to_owned));
    }
    let mut ids: Vec<ApprovalId> = Vec::new();
    for word in words {
        let id = word
            .parse()
            .map_err(|error| CliError::Usage(format!("`{word}` is no approval: {error}")))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    match ids.len() {
        0 => Err(CliError::usage("standard input names no approval")),
        many if many > IDS_MAX => Err(CliError::Usage(format!(
            "{many} approvals at once are more than anybody reads; decide at most {IDS_MAX}"
        ))),
        _ => Ok(ids),
    }
}

/// Shows everything that is about to be decided, and asks once unless that was answered on
/// the command line.
fn agreed(open: &[&Shown], said: &Said, yes: bool, output: &Output) -> Result<bool, CliError> {
    if !yes && !output.is_interactive() {
        return Err(CliError::usage(
            "nothing was sent: look with `approvals show`, then add --yes",
        ));
    }
    let mut text = whole(open, output);
    if let Some(window) = &said.window {
        text.push_str(
            "With the yes a window is asked for, for the same agent, tool and requester:\n",
        );
        text.push_str(&pairs(&limits_lines(window)));
        text.push('\n');
    }
    if yes {
        output.progress(text.trim_end());
        return Ok(true);
    }
    print(&text, open, output)?;
    output.confirmed(&format!("{} {} approval(s)?", said.choice, open.len()))
}

/// A table of several things, then all of each.
fn whole(shown: &[&Shown], output: &Output) -> String {
    let (now, columns) = (SystemClock.now(), output.columns());
    let one = |shown: &&Shown| show::one(shown, now, columns) + "\n";
    let all: String = shown.iter().map(one).collect();
    tables::overview(shown, now, output) + &all
}

/// Prints what is asked about; what would scroll away unread is shown by the pager.
fn print(text: &str, open: &[&Shown], output: &Output) -> Result<(), CliError> {
    match readable(text, open) {
        Err(_) if output.paged(text) => Ok(()),
        Err(unread) => Err(unread),
        Ok(()) => output.line(text),
    }
}

/// Nobody is asked about what has scrolled away before the question.
fn readable(text: &str, open: &[&Shown]) -> Result<(), CliError> {
    let lines = text.lines().count();
    if lines <= LINES_MAX {
        return Ok(());
    }
    let first = open.first().map(|shown| &shown.listed.asked.approval_id);
    let id = first.map(ToString::to_string).unwrap_or_default();
    Err(CliError::Refused(format!(
        "nothing was sent: all of it is {lines} lines, more than can be read before a question, \
         and no pager can be started (PAGER); read each with `countersign approvals show {id}`, \
         then decide with --yes"
    )))
}

#[cfg(test)]
mod tests {
    use super::super::tables::tests::listed;
    use super::*;

    const A: &str = "a-019aab6e-5c00-7a10-8000-00000000c0de";
    const B: &str = "a-019aab6e-5c00-7a10-8000-00000000c0df";

    fn read(given: &[&str], stdin: &str) -> Result<Vec<String>, CliError> {
        let given: Vec<String> = given.iter().map(|id| (*id).to_owned()).collect();
        let ids = ids(&given, stdin.as_bytes())?;
        Ok(ids.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn ids_come_from_the_line_and_from_standard_input_each_once() {
        let piped = format!("{B}\n{A}\n\n");
        assert_eq!(read(&[A, A], "").unwrap(), [A]);
        assert_eq!(read(&["-"], &piped).unwrap(), [B, A]);
        assert_eq!(read(&[A, "-"], &piped).unwrap(), [A, B]);
        assert_eq!(read(&[A], &piped).unwrap(), [A], "it was not asked for");
    }

    #[test]
    fn what_names_nothing_or_too_much_is_refused() {
        let many: String = (0..=IDS_MAX).map(|n| format!("w-abc-{n}\n")).collect();
        let huge = " ".repeat(200 * 1024);
        for (stdin, part) in [
            ("", "names no approval"),
            ("not-an-id", "`not-an-id` is no approval"),
            (many.as_str(), "more than anybody reads"),
            (huge.as_str(), "too many ids"),
        ] {
            let error = read(&["-"], stdin).unwrap_err();
            assert_eq!(error.exit(), Exit::Usage);
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn without_a_terminal_a_vote_needs_yes() {
        let output = Output::new(true);
        let said = Said {
            choice: VoteChoice::Approve,
            reason: None,
            without: Vec::new(),
            window: None,
        };
        let error = agreed(&[], &said, false, &output).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.to_string().contains("--yes"));
    }

    #[test]
    fn nobody_is_asked_about_more_than_can_be_read() {
        let shown = Shown {
            listed: listed(),
            view: None,
            digest: listed().asked.digest,
        };
        assert!(readable(&"x\n".repeat(LINES_MAX), &[&shown]).is_ok());
        let error = readable(&"x\n".repeat(LINES_MAX + 1), &[&shown]).unwrap_err();
        assert_eq!(error.exit(), Exit::Denied);
        let told = format!("approvals show {A}");
        assert!(error.to_string().contains(&told), "{error}");
    }
}
