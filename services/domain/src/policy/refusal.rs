//! The finding on one request, and the denials that come before any rule is read.

use std::collections::BTreeSet;

use countersign_schemas::events::{
    Ask, BlockedCode, GuardrailResult, Need, Reason, ToolRequested, Verdict,
};
use countersign_schemas::limits::{BUNDLE_ITEMS_MAX, PURPOSE_CHARS_MAX};
use regex::Regex;
use serde_json::{Map, Value};
use std::sync::LazyLock;

use super::tool::Tool;

/// Faults of an input that are listed: the first few tell what is wrong.
const FAULTS_MAX: usize = 5;
/// Characters of a pointer in a message.
const POINTER_CHARS_MAX: usize = 80;
/// Characters of a session id: it is shown in tables.
const SESSION_CHARS_MAX: usize = 128;

/// What was found, before it becomes an event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding {
    pub(crate) verdict: Verdict,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) needs: Vec<Need>,
    pub(crate) ask: Option<Ask>,
    pub(crate) guardrails: Vec<GuardrailResult>,
    /// Whether the input was found to fit its schema. Where it was not, a value may stand
    /// in the wrong field, and less of it is shown.
    pub(crate) input_fits: bool,
}

impl Finding {
    /// A deny with one reason and one need.
    pub(crate) fn deny(
        code: BlockedCode,
        message: impl Into<String>,
        need: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Deny,
            reasons: vec![reason(code.as_str(), message)],
            needs: vec![Need {
                code: code.as_str().to_owned(),
                message: need.into(),
            }],
            ask: None,
            guardrails: Vec::new(),
            input_fits: false,
        }
    }

    /// The same finding on an input that fits its schema.
    pub(crate) fn on_sound_input(self) -> Self {
        Self {
            input_fits: true,
            ..self
        }
    }
}

/// A reason that no policy stands behind.
pub(crate) fn reason(code: &str, message: impl Into<String>) -> Reason {
    Reason {
        code: code.to_owned(),
        message: message.into(),
        policy_id: None,
    }
}

fn invalid(message: impl Into<String>) -> Finding {
    Finding::deny(
        BlockedCode::InvalidInput,
        message,
        "a new intent whose fields fit",
    )
}

/// Refuses what is wrong around the input.
pub(crate) fn of_frame(request: &ToolRequested) -> Option<Finding> {
    if request.purpose.chars().count() > PURPOSE_CHARS_MAX {
        return Some(invalid(format!(
            "`purpose` is longer than {PURPOSE_CHARS_MAX} characters"
        )));
    }
    let session = request.session_id.as_deref().unwrap_or_default();
    if session.chars().count() > SESSION_CHARS_MAX {
        return Some(invalid(format!(
            "`session_id` is longer than {SESSION_CHARS_MAX} characters"
        )));
    }
    let bundle = request.bundle.as_ref();
    let fits = bundle.is_none_or(|bundle| {
        (1..=BUNDLE_ITEMS_MAX).contains(&bundle.size) && bundle.index < bundle.size
    });
    (!fits).then(|| {
        invalid(format!(
            "`bundle` has no size between 1 and {BUNDLE_ITEMS_MAX} with an index below it"
        ))
    })
}

/// Refuses an input that does not fit the tool's schema. The message names places and
/// rules of the schema, never a value.
pub(crate) fn of_schema(tool: &Tool, input: &Value) -> Option<Finding> {
    if tool.validator.is_valid(input) {
        return None;
    }
    let mut faults = BTreeSet::new();
    for error in tool.validator.iter_errors(input).take(FAULTS_MAX) {
        let place = place(tool, error.instance_path().as_str());
        faults.insert(format!("{place} breaks `{}`", error.kind().keyword()));
    }
    let faults: Vec<String> = faults.into_iter().collect();
    Some(invalid(format!(
        "the input does not fit the schema of `{}`: {}",
        tool.name,
        faults.join("; ")
    )))
}

/// Refuses an amount below zero where the catalog does not expect one.
pub(crate) fn of_amount(tool: &Tool, input: &Map<String, Value>) -> Option<Finding> {
    tool.amount_is_negative(input).then(|| {
        let at = tool.amount.as_ref().map_or("", |one| one.pointer.as_str());
        invalid(format!(
            "the amount at `{at}` is below zero, which `{}` does not take",
            tool.name
        ))
    })
}

/// A place in words. Names that the agent chose itself may hold anything: they read `*`.
fn place(tool: &Tool, pointer: &str) -> String {
    let known =
        |segment: &str| match tool.names.contains(segment) || segment.parse::<usize>().is_ok() {
            true => format!("/{segment}"),
            false => "/*".to_owned(),
        };
    let text: String = pointer.split('/').skip(1).map(known).collect();
    match text.is_empty() {
        true => "the input".to_owned(),
        false => format!(
            "`{}`",
            text.chars().take(POINTER_CHARS_MAX).collect::<String>()
        ),
    }
}

/// Refuses what cannot be judged because nobody knows what the agent has seen.
pub(crate) fn of_labels(why: &str) -> Finding {
    Finding::deny(
        BlockedCode::Unavailable,
        format!("what the agent has seen cannot be read: {why}"),
        "a new intent once it can be read again",
    )
}

static SURROGATE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("(?i)tok_[a-z0-9_-]{1,64}_[a-z2-7]{26}").ok());

/// Refuses an input with a surrogate in it: nothing can reveal it until a vault runs, and
/// a worker must never see one.
pub(crate) fn of_surrogates(input: &Map<String, Value>) -> Option<Finding> {
    // A pattern that does not compile would find nothing, so it refuses everything.
    let holds = SURROGATE
        .as_ref()
        .is_none_or(|pattern| object_holds(input, pattern));
    holds.then(|| {
        let message = "the input holds a surrogate, and no vault is deployed to reveal it";
        Finding::deny(
            BlockedCode::Unavailable,
            message,
            "the vault, or an intent without surrogates",
        )
    })
}

fn object_holds(object: &Map<String, Value>, pattern: &Regex) -> bool {
    object
        .iter()
        .any(|(name, value)| pattern.is_match(name) || holds(value, pattern))
}

fn holds(value: &Value, pattern: &Regex) -> bool {
    match value {
        Value::String(text) => pattern.is_match(text),
        Value::Array(items) => items.iter().any(|item| holds(item, pattern)),
        Value::Object(object) => object_holds(object, pattern),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
