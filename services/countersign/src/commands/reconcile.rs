//! `countersign reconcile INTENT`: what people found out about an outcome that nobody knew.

use std::time::Duration;

use countersign_domain::approvals::IntentOutcome;
use countersign_runtime::bus::Bus;
use countersign_schemas::events::{ControlRefused, Outcome, OutcomeFound, OutcomeReconciled};
use countersign_schemas::{Address, IntentId, PersonId};
use serde::Serialize;

use super::approvals::ask;
use super::policy::desk::Operator;
use crate::client::{Awaited, Client, Received, last_by_subject, listen, until};
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// What people found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Found {
    /// It happened
    Succeeded,
    /// It did not happen
    Failed,
}

impl From<Found> for Outcome {
    fn from(found: Found) -> Self {
        match found {
            Found::Succeeded => Self::Succeeded,
            Found::Failed => Self::Failed,
        }
    }
}

/// Say, as an operator, what was found out about an outcome that nobody knew
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The first finding stands for ever; the same again succeeds. It changes what \
                  the audit says and tells the team that was asked to look; nothing is run.\n\n\
                  Exit codes: 0 it is recorded, or was found so before; 2 nothing was sent, for \
                  want of a reason; 20 refused: the outcome is known, or something else was \
                  found before; 21 it is stored, and nobody has answered it yet; 69 NATS or the \
                  coordinator is out of reach."
)]
pub(crate) struct Args {
    /// Which intent
    intent: IntentId,
    /// What was found
    #[arg(long, value_enum)]
    outcome: Found,
    /// How you know, so that others can follow it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// How long to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    wait: u64,
    #[command(flatten)]
    who: Operator,
}

/// Stores the finding and tells what became of it.
pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    if args.reason.trim().is_empty() {
        return Err(CliError::usage("say how you know with --reason"));
    }
    let (client, operator) = args.who.connect().await?;
    let ended = reconcile(&client, &operator, &args).await;
    client.bus.close().await;
    let told = ended?;
    output.answer(&told, || told.message.clone())?;
    Ok(told.exit)
}

async fn reconcile(client: &Client, operator: &PersonId, args: &Args) -> Result<Told, CliError> {
    let wanted = Outcome::from(args.outcome);
    let before = ask::outcome(&client.bus, operator, args.intent).await?;
    if let Some(told) = Told::before(&before, wanted) {
        return Ok(told);
    }
    let found = OutcomeFound {
        schema_version: 1,
        intent_id: args.intent,
        agent: before.agent.clone(),
        outcome: wanted,
        reason: args.reason.clone(),
    };
    let address = Address::OutcomeFound {
        operator: operator.clone(),
    };
    let bus = &client.bus;
    let mut live = listen(bus, ["control.refused.>"]).await?;
    let mut finding = Finding {
        bus,
        operator,
        intent: args.intent,
        sequence: client.send(&address, &found).await?,
    };
    let wait = Duration::from_secs(args.wait);
    let answer = until(&mut live, &mut finding, wait).await;
    let answer = answer.unwrap_or(Answer::Nothing);
    Ok(Told::after(args.intent, wanted, answer))
}

/// What the coordinator made of a finding.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Recorded(OutcomeReconciled),
    Refused(ControlRefused),
    Nothing,
}

/// The answer to the finding that is stored at `sequence`.
struct Finding<'a> {
    bus: &'a Bus,
    operator: &'a PersonId,
    intent: IntentId,
    sequence: u64,
}

impl Finding<'_> {
    fn refusal(&self, message: &Received) -> Option<Answer> {
        let Address::ControlRefused { seq } = &message.address else {
            return None;
        };
        let refused = message.event::<ControlRefused>()?;
        let ours = seq.seq == self.sequence && refused.person == *self.operator;
        ours.then_some(Answer::Refused(refused))
    }
}

impl Awaited for Finding<'_> {
    type Answer = Answer;

    // What is recorded is heard by nobody outside: it must be looked for.
    const LOOK_EVERY: Duration = Duration::from_millis(200);

    fn hears(&mut self, message: &Received) -> Option<Answer> {
        self.refusal(message)
    }

    async fn look(&mut self) -> Option<Answer> {
        let refusals = format!("control.refused.*.{}", self.sequence);
        let stored = last_by_subject(self.bus, &refusals).await;
        if let Some(refused) = stored.ok().flatten()
            && let Some(answer) = self.refusal(&refused)
        {
            return Some(answer);
        }
        let state = ask::outcome(self.bus, self.operator, self.intent).await;
        state.ok()?.found.map(Answer::Recorded)
    }
}

/// What is told at the end.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Told {
    intent_id: IntentId,
    /// `recorded`, `known`, `refused` or `stored`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<OutcomeReconciled>,
    message: String,
    #[serde(skip)]
    exit: Exit,
}

impl Told {
    /// What can be told without asking anybody to record anything.
    fn before(state: &IntentOutcome, wanted: Outcome) -> Option<Self> {
        let intent = state.intent_id;
        if let Some(found) = &state.found {
            return Some(Self::standing(found, wanted));
        }
        let message = match state.outcome {
            Some(Outcome::Unknown) => return None,
            Some(known) => format!("the outcome of {intent} is known: it {known}"),
            None => format!("{intent} has not run, so there is nothing to find out"),
        };
        Some(Self::refused(intent, message))
    }

    fn after(intent: IntentId, wanted: Outcome, answer: Answer) -> Self {
        match answer {
            Answer::Recorded(found) if found.outcome == wanted => Self {
                state: "recorded",
                ..Self::standing(&found, wanted)
            },
            Answer::Recorded(found) => Self::standing(&found, wanted),
            Answer::Refused(refused) => {
                Self::refused(intent, format!("refused: {}", refused.message))
            }
            Answer::Nothing => Self {
                intent_id: intent,
                state: "stored",
                found: None,
                message: "the finding is stored, and nobody has answered it yet; run this again"
                    .to_owned(),
                exit: Exit::Pending,
            },
        }
    }

    /// What was found first stands.
    fn standing(found: &OutcomeReconciled, wanted: Outcome) -> Self {
        let (outcome, operator) = (found.outcome, &found.operator);
        let message = format!(
            "{operator} found at {} that {} {outcome}: {}",
            found.reconciled_at, found.intent_id, found.reason
        );
        if outcome != wanted {
            return Self {
                found: Some(found.clone()),
                ..Self::refused(found.intent_id, format!("refused: {message}"))
            };
        }
        Self {
            intent_id: found.intent_id,
            state: "known",
            found: Some(found.clone()),
            message,
            exit: Exit::Done,
        }
    }

    fn refused(intent_id: IntentId, message: String) -> Self {
        Self {
            intent_id,
            state: "refused",
            found: None,
            message,
            exit: Exit::Denied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::golden;

    #[test]
    fn help_says_what_it_does_and_how_it_ends() {
        use clap::CommandFactory as _;
        let mut cli = crate::cli::Cli::command().term_width(100);
        let command = cli.find_subcommand_mut("reconcile").unwrap();
        insta::assert_snapshot!(command.render_long_help());
    }

    fn found(outcome: Outcome) -> OutcomeReconciled {
        OutcomeReconciled {
            outcome,
            ..golden()
        }
    }

    fn state(outcome: Option<Outcome>, known: Option<OutcomeReconciled>) -> IntentOutcome {
        let any: OutcomeReconciled = golden();
        IntentOutcome {
            intent_id: any.intent_id,
            agent: any.agent,
            tool: "mail.send".parse().unwrap(),
            outcome,
            found: known,
        }
    }

    #[test]
    fn what_is_known_is_told_without_sending_anything() {
        use Outcome::{Failed, Succeeded, Unknown};
        let before = |outcome, known| Told::before(&state(outcome, known), Succeeded);
        assert_eq!(before(Some(Unknown), None), None);
        for (outcome, part) in [(Some(Failed), "is known: it failed"), (None, "has not run")] {
            let told = before(outcome, None).unwrap();
            assert_eq!((told.state, told.exit), ("refused", Exit::Denied));
            assert!(told.message.contains(part), "{}", told.message);
        }
        let same = before(Some(Unknown), Some(found(Succeeded))).unwrap();
        assert_eq!((same.state, same.exit), ("known", Exit::Done));
        let other = before(Some(Unknown), Some(found(Failed))).unwrap();
        assert_eq!((other.state, other.exit), ("refused", Exit::Denied));
        assert!(other.message.contains("found at"), "{}", other.message);
    }

    #[test]
    fn every_answer_has_its_exit() {
        use Outcome::{Failed, Succeeded};
        let intent = state(None, None).intent_id;
        let refused = ControlRefused {
            message: "it is known".to_owned(),
            ..golden()
        };
        let table = [
            (Answer::Recorded(found(Succeeded)), "recorded", Exit::Done),
            (Answer::Recorded(found(Failed)), "refused", Exit::Denied),
            (Answer::Refused(refused), "refused", Exit::Denied),
            (Answer::Nothing, "stored", Exit::Pending),
        ];
        for (answer, state, exit) in table {
            let told = Told::after(intent, Succeeded, answer);
            assert_eq!((told.state, told.exit), (state, exit), "{}", told.message);
        }
    }
}
