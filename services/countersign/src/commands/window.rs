//! `countersign window`: time windows, opened, seen and closed by people.

mod ahead;
mod answers;
mod show;

use countersign_domain::windows::{WindowListed, window_span};
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_schemas::events::{ApprovalState, WindowClosing, WindowLimits, WindowRequested};
use countersign_schemas::{Address, AgentId, ApprovalId, RequesterId, ToolName, WindowId};
use serde_json::json;

pub(super) use self::ahead::limits_lines;
use self::answers::{Answered, Closed, Opened, answered};
use super::approvals::{Person, Who, ask, decide};
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// Open, see and close time windows
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A window lifts asks of one agent for a while: what people would have to \
                  approve each time runs at once, as often and for as much as the window says. \
                  `window open --with APPROVAL` is `approvals approve APPROVAL` and a window in \
                  one vote.\n\n\
                  Exit codes: 0 it is open, or closed; 2 not sent; 20 refused; 21 it waits for \
                  others, or nothing is answered yet; 22 the ask has expired; 69 out of reach."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Open a window: with your yes to an ask, or ahead of time
    Open(OpenArgs),
    /// List the windows that are open
    List(ListArgs),
    /// Close windows now: what they let through and nobody started is revoked
    Close(CloseArgs),
}

#[derive(Debug, clap::Args)]
struct OpenArgs {
    /// Approve this ask, and open a window for the same agent, tool and requester
    #[arg(long, value_name = "APPROVAL", conflicts_with_all = ["agent", "tool", "field", "requester"])]
    with: Option<ApprovalId>,
    /// Ahead of time: for which agent
    #[arg(long, value_name = "ID", required_unless_present = "with")]
    agent: Option<AgentId>,
    /// Ahead of time: for which tool; may be repeated
    #[arg(long, value_name = "NAME", required_unless_present = "with")]
    tool: Vec<ToolName>,
    /// Ahead of time, for tools that update: a field that may change; may be repeated
    #[arg(long, value_name = "NAME")]
    field: Vec<String>,
    /// Ahead of time: only on behalf of this person, proved by a mandate
    #[arg(long, value_name = "ID")]
    requester: Option<RequesterId>,
    /// How long it lasts, counted from the approval, such as 30m; at most a day
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    seconds: u64,
    /// How often it may be used
    #[arg(long, value_name = "N")]
    max_uses: Option<u32>,
    /// What its uses may come to together, such as 500 or "500.00 EUR"
    #[arg(long, value_name = "AMOUNT")]
    max_total: Option<String>,
    /// Only exactly the same input
    #[arg(long, requires = "with")]
    same_input: bool,
    /// Why, in your own words
    #[arg(long, value_name = "TEXT", required_unless_present = "with")]
    reason: Option<String>,
    /// Do not ask again
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    who: Who,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only those of this agent
    #[arg(long, value_name = "ID")]
    agent: Option<AgentId>,
    #[command(flatten)]
    who: Who,
}

#[derive(Debug, clap::Args)]
struct CloseArgs {
    /// Which windows; each gets an answer of its own
    #[arg(required = true, value_name = "ID")]
    ids: Vec<WindowId>,
    /// Why, in your own words
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    who: Who,
}

fn seconds(text: &str) -> Result<u64, String> {
    window_span(text)
        .map(|span| span.as_secs())
        .map_err(|error| error.to_string())
}

/// Does what was asked as one person.
pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let who = match &args.action {
        Action::Open(open) => &open.who,
        Action::List(list) => &list.who,
        Action::Close(close) => &close.who,
    };
    let person = Person::connect(who).await?;
    let ended = match args.action {
        Action::Open(open) => person.open_window(open, output).await,
        Action::List(list) => person.list_windows(list.agent.as_ref(), output).await,
        Action::Close(close) => person.close_windows(close, output).await,
    };
    person.client.bus.close().await;
    ended
}

impl Person {
    async fn open_window(&self, args: OpenArgs, output: &Output) -> Result<Exit, CliError> {
        let limits = WindowLimits {
            seconds: args.seconds,
            max_uses: args.max_uses,
            max_total: args.max_total,
            same_input_only: args.same_input.then_some(true),
        };
        let (Some(agent), None) = (args.agent, &args.with) else {
            let id = args
                .with
                .ok_or_else(|| CliError::usage("name an approval or an agent"))?;
            return self
                .open_with(id, limits, (args.reason, args.yes), output)
                .await;
        };
        let asked = WindowRequested {
            schema_version: 1,
            agent: agent.clone(),
            tools: args.tool,
            limits,
            reason: args.reason.unwrap_or_default(),
            fields: args.field,
            requester: args.requester,
        };
        if let Some(before) = ahead::before(self, &asked).await? {
            return told(&before, output);
        }
        if !ahead::agreed(&asked, args.yes, output)? {
            output.progress("nothing was sent");
            return Ok(Exit::Usage);
        }
        let bus = &self.client.bus;
        let opening = format!("window.opened.{agent}.*");
        let live = answers::live(bus, [opening, "approval.voted.>".to_owned()]).await?;
        let approver = self.name.clone();
        let address = Address::WindowRequested { approver };
        let sequence = self.client.send(&address, &asked).await?;
        let awaited = Opened {
            person: self,
            agent: &agent,
            sequence,
        };
        told(&answered(live, awaited).await, output)
    }

    /// Opens a window with a vote. The same again finds the window that stands.
    async fn open_with(
        &self,
        id: ApprovalId,
        limits: WindowLimits,
        said: (Option<String>, bool),
        output: &Output,
    ) -> Result<Exit, CliError> {
        let shown = self.look(id.clone()).await?;
        if shown.listed.state == ApprovalState::Pending {
            return decide::with_window(self, shown, limits, said, output).await;
        }
        let found = self.windows(Some(&shown.listed.asked.agent)).await?.0;
        let mine = |window: &&WindowListed| {
            window.approval_id.as_ref() == Some(&id) && window.opened_by.contains(&self.name)
        };
        match found.iter().find(mine) {
            Some(window) if !ahead::same_limits(&window.limits, &limits) => {
                Err(CliError::Refused(format!(
                    "nothing was sent: {id} opened window {} with other limits; close that one, \
                     and open another with the next ask",
                    window.window_id
                )))
            }
            Some(window) => told(&Answered::stands(window), output),
            None => Err(CliError::Refused(format!(
                "nothing was sent: {id} is {} already, and a window is opened only with the votes \
                 that decide it",
                shown.listed.state
            ))),
        }
    }

    /// The windows of `agent`, or all, that are open or ending, and how many more there are.
    async fn windows(
        &self,
        agent: Option<&AgentId>,
    ) -> Result<(Vec<WindowListed>, usize), CliError> {
        ask::windows(&self.client.bus, &self.name, agent).await
    }

    async fn list_windows(
        &self,
        agent: Option<&AgentId>,
        output: &Output,
    ) -> Result<Exit, CliError> {
        let (windows, more) = self.windows(agent).await?;
        let reply = json!({ "windows": windows, "more": more });
        output.answer(&reply, || {
            show::list(&windows, more, SystemClock.now(), output)
        })?;
        Ok(Exit::Done)
    }

    async fn close_windows(&self, args: CloseArgs, output: &Output) -> Result<Exit, CliError> {
        let mut results = Vec::new();
        for id in args.ids {
            let ended = self.close_window(&id, args.reason.clone()).await;
            // Those before it are closed: they are told whatever becomes of the next.
            results.push(ended.unwrap_or_else(|error| Answered::failed(&id, &error)));
        }
        output.answer(&json!({ "results": results }), || {
            let lines: Vec<&str> = results.iter().map(|one| one.message.as_str()).collect();
            lines.join("\n")
        })?;
        let exits: Vec<Exit> = results.iter().map(Answered::exit).collect();
        let worst = [Exit::Denied, Exit::Pending];
        let worst = worst.into_iter().find(|exit| exits.contains(exit));
        Ok(worst.unwrap_or(Exit::Done))
    }

    async fn close_window(
        &self,
        id: &WindowId,
        reason: Option<String>,
    ) -> Result<Answered, CliError> {
        let bus = &self.client.bus;
        if let Some(before) = answers::end_of(bus, id).await? {
            return Ok(Answered::ended(&before));
        }
        let live = answers::live(bus, [format!("window.closed.*.{id}")]).await?;
        let asked = WindowClosing {
            schema_version: 1,
            window_id: id.clone(),
            reason,
        };
        let approver = self.name.clone();
        let address = Address::WindowClosing { approver };
        let sequence = self.client.send(&address, &asked).await?;
        let awaited = Closed { bus, id, sequence };
        Ok(answered(live, awaited).await)
    }
}

fn told(answered: &Answered, output: &Output) -> Result<Exit, CliError> {
    output.answer(answered, || answered.message.clone())?;
    Ok(answered.exit())
}

#[cfg(test)]
mod tests {
    use crate::cli::help;

    #[test]
    fn help_says_what_a_window_is_and_how_it_is_opened() {
        let ways: [&[&str]; 4] = [&[], &["open"], &["list"], &["close"]];
        let all: String = ways
            .iter()
            .map(|way| help(&[&["window"][..], way].concat()) + "\n\n")
            .collect();
        insta::assert_snapshot!(all);
    }
}
