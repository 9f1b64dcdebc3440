//! The sentences of a decision.

use countersign_schemas::events::{BlockedCode, CheckedRequester, Need, NextAction, RevokedCode};
use countersign_schemas::{AgentId, ToolName};

/// What was tried, one sentence that a person understands.
#[must_use]
pub fn tried(
    agent: &AgentId,
    tool: &ToolName,
    requester: &CheckedRequester,
    summary: &str,
) -> String {
    let who = format!("{agent} tried to use {tool} for {}", requester.id);
    match summary.trim() {
        "" => format!("{who}."),
        summary => format!("{who}: {}", sentence(summary)),
    }
}

/// `text` with a full stop, unless it ends with one or another end mark.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?', '…']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

/// What a code means to people: a sentence, what would make it possible, and what the agent
/// may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// What happened, one sentence.
    pub about: &'static str,
    /// What would make it possible; `None` where nothing would.
    pub need: Option<&'static str>,
    /// What the agent may do now.
    pub next: NextAction,
}

impl Words {
    const fn new(about: &'static str, need: &'static str, next: NextAction) -> Self {
        Self {
            about,
            need: Some(need),
            next,
        }
    }

    const fn final_word(about: &'static str) -> Self {
        Self {
            about,
            need: None,
            next: NextAction::None,
        }
    }

    /// The need as an event states it.
    pub(crate) fn needs(self, code: &str) -> Vec<Need> {
        let need = |message: &str| Need {
            code: code.to_owned(),
            message: message.to_owned(),
        };
        self.need.map(need).into_iter().collect()
    }
}

/// What a block means to people.
#[must_use]
pub fn of_block(code: BlockedCode) -> Words {
    Words {
        about: about_block(code),
        need: need_of_block(code),
        next: next_of_block(code),
    }
}

fn about_block(code: BlockedCode) -> &'static str {
    match code {
        BlockedCode::PolicyDenied => "The rules do not allow it.",
        BlockedCode::GuardrailViolated => "A safety check found something wrong with it.",
        BlockedCode::DeniedByPerson => "A person looked at it and said no.",
        BlockedCode::ApprovalExpired => "Nobody said no, but no yes came in time.",
        BlockedCode::Withdrawn => "The agent took it back.",
        BlockedCode::Frozen => "The kill switch is on for it.",
        BlockedCode::UnknownTool => "The catalog does not know the tool.",
        BlockedCode::InvalidInput => "The input is not what the tool takes.",
        BlockedCode::IdentityMismatch => "It is not proved that it comes from whom it says.",
        BlockedCode::MandateInvalid => "The mandate that should prove the requester does not hold.",
        BlockedCode::PolicyError => {
            "The rules could not be applied to it, and what cannot be judged does not run."
        }
        BlockedCode::BudgetExceeded => "It goes beyond how much or how often this may be done.",
        BlockedCode::BundleIncomplete => {
            "It belongs to a bundle of which not everything came in time."
        }
        BlockedCode::TooManyPending => "The agent already waits for people with too many things.",
        BlockedCode::ToolChanged => {
            "The tool changed while people decided, so they decided about another one."
        }
        BlockedCode::Unavailable => "Something that is needed to decide was not there.",
        BlockedCode::DryRun => "It was a dry run, which never does anything.",
    }
}

fn need_of_block(code: BlockedCode) -> Option<&'static str> {
    Some(match code {
        BlockedCode::PolicyDenied => "A change of the rules by the people who own them",
        BlockedCode::GuardrailViolated => {
            "An input that passes the check, or people who change the check"
        }
        BlockedCode::ApprovalExpired => "A new intent, and people who answer before it expires",
        BlockedCode::Frozen => {
            "An operator who ends the freeze with countersign unfreeze, and then a new intent"
        }
        BlockedCode::UnknownTool => "An operator who adds the tool to the catalog",
        BlockedCode::InvalidInput => "A new intent whose fields fit",
        BlockedCode::IdentityMismatch => "An operator who finds out who sent it",
        BlockedCode::MandateInvalid => "A valid mandate from an issuer that this deployment trusts",
        BlockedCode::PolicyError => "An operator who mends the policy bundle",
        BlockedCode::BudgetExceeded => "A smaller one, a later one, or people who raise the limit",
        BlockedCode::BundleIncomplete => {
            "The whole bundle sent again, as new intents, before its deadline"
        }
        BlockedCode::TooManyPending => "Answers to what already waits",
        BlockedCode::ToolChanged => "A new intent, judged with the tool as it is now",
        BlockedCode::Unavailable => "A look at the system by an operator, and then a new intent",
        BlockedCode::DeniedByPerson | BlockedCode::Withdrawn | BlockedCode::DryRun => return None,
    })
}

fn next_of_block(code: BlockedCode) -> NextAction {
    match code {
        BlockedCode::PolicyDenied
        | BlockedCode::GuardrailViolated
        | BlockedCode::UnknownTool
        | BlockedCode::MandateInvalid
        | BlockedCode::PolicyError => NextAction::Request,
        BlockedCode::ApprovalExpired
        | BlockedCode::Frozen
        | BlockedCode::InvalidInput
        | BlockedCode::BudgetExceeded
        | BlockedCode::BundleIncomplete
        | BlockedCode::TooManyPending
        | BlockedCode::ToolChanged
        | BlockedCode::Unavailable => NextAction::Retry,
        BlockedCode::DeniedByPerson
        | BlockedCode::Withdrawn
        | BlockedCode::IdentityMismatch
        | BlockedCode::DryRun => NextAction::None,
    }
}

/// What a revocation means to people.
#[must_use]
pub fn of_revocation(code: RevokedCode) -> Words {
    use NextAction::{Request, Retry};
    match code {
        RevokedCode::Frozen => Words::new(
            "It was approved, and the kill switch stopped it before it began.",
            "An operator who ends the freeze with countersign unfreeze, and then a new intent",
            Retry,
        ),
        RevokedCode::Withdrawn => {
            Words::final_word("It was approved, and the agent took it back before it began.")
        }
        RevokedCode::WindowClosed => Words::new(
            "The window that allowed it was closed before it began.",
            "A person who approves it, or another window",
            Retry,
        ),
        RevokedCode::PermitExpired => Words::new(
            "It was approved, and nobody began it in time.",
            "A new intent, while an executor runs",
            Retry,
        ),
        RevokedCode::RecheckDenied => Words::new(
            "It was approved, and the rules that are in force now do not allow it.",
            "A change of the rules, or another approval",
            Request,
        ),
        RevokedCode::ToolChanged => Words::new(
            "The tool changed after the decision, so another one was approved.",
            "A new intent, judged with the tool as it is now",
            Retry,
        ),
        RevokedCode::DigestMismatch => Words {
            about: "What is stored is not what was approved.",
            need: Some("An operator who finds out what was changed, and by whom"),
            next: NextAction::None,
        },
        RevokedCode::InputGone => Words::new(
            "Its input is no longer stored, so there is nothing exact to run.",
            "A new intent",
            Retry,
        ),
    }
}
