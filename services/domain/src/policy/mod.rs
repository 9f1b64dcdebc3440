//! Policy: a bundle of rules, tools and people, and the judgement of one intent by it.

mod absence;
mod annotations;
mod approved;
pub(crate) mod ask;
mod asked;
mod bundle;
mod cases;
mod catalog;
mod cedar_schema;
mod context;
mod copies;
mod diff;
mod directory;
mod entities_file;
mod escalation;
mod fields;
mod import_mcp;
mod index;
mod input_schema;
mod judge;
mod known;
mod label_rules;
mod labels;
mod lint;
mod matching;
mod pack;
mod pointer;
mod problem;
mod proof;
pub mod protocol;
mod refusal;
mod rehearsal;
mod replay;
mod rules;
mod show;
mod spots;
mod suggest;
mod template;
mod tier;
mod tool;
mod tool_file;
mod tool_guards;
mod tool_keys;
mod tool_stakes;
mod tool_table;
mod tool_worker;
mod verdict;
mod weigh;
mod window_ask;

#[cfg(test)]
mod tests;

pub use approved::{Approved, StatedApproval};
pub use ask::{AskError, AskRule};
pub use bundle::Bundle;
pub use cases::CaseResult;
pub use catalog::Catalog;
pub use diff::{Change, Difference, Kind, diff};
pub use directory::{AgentEntry, Directory};
pub use escalation::Chains;
pub use fields::Shown;
pub(crate) use fields::{Field, FieldTree};
pub use import_mcp::{ImportError, Imported, import_mcp};
pub use judge::{
    Judgement, Judging, Outcome, judge, judge_without_bundle, without_input, without_labels,
};
pub use known::{Known, Learnt, Wish};
pub use labels::{Holder, Marking, Seen, TooManyLabels};
pub use lint::{LintFinding, LintLevel, LintLimits, lint};
pub use matching::{MatchKey, MatchKeyError};
pub use pack::{PACKED_BYTES_MAX, PackError, pack, unpack};
pub use pointer::{Pointer, PointerError};
#[cfg(test)]
pub(crate) use problem::Problems;
pub use problem::{BundleErrors, Problem};
pub use rehearsal::{Premises, Rehearsal, RehearsalError};
pub use replay::{Archived, NotJudged, Replay, Shift, Uses, replay};
pub use suggest::{AskHistory, Granted, Suggestions, Unused, VerdictCount, suggest};
pub(crate) use template::plain;
pub use template::{Template, TemplateError};
pub use tool::{Tool, Worker};
pub use window_ask::WindowTerms;
