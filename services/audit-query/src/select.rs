//! Which rows an export or a search is about, as SQL.
//!
//! Rows come page after page in the order of their times, each page beginning where the
//! last one ended, and none is newer than the bound that was read first: what is archived
//! or compacted meanwhile makes no row come twice and none fail to come. Each page looks at
//! a span of time that is likely to fill it and no further, so that a page costs the same
//! however long the archive is.

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use countersign_schemas::{IntentId, Timestamp};

use crate::archive::Answer;

/// Asks how far the archive reaches: the answer is what [`Pages::new`] begins with.
pub const REACH: &str =
    "SELECT max(leaf_index) AS last, min(time) AS first_time, max(time) AS last_time FROM events";
/// By how much the span of an empty page grows: a gap of years takes a few pages.
const GROW_EMPTY: i64 = 16;

/// The columns of a found row.
const TOLD: &str = "leaf_index, time, event, agent_id, requester_id, actor_id, tool_name, \
                    intent_id, decision, outcome, purpose, output_summary";
/// The columns in which a text is looked for: what somebody said, asked, was told or changed,
/// and by what name. Lists are joined.
const WORDS: [&str; 15] = [
    "event",
    "intent_id",
    "agent_id",
    "requester_id",
    "actor_id",
    "tool_name",
    "resource",
    "purpose",
    "output_summary",
    "input_redacted",
    "output_redacted",
    "changes",
    "error_code",
    "array_to_string(reason_codes, chr(10))",
    "array_to_string(policy_ids, chr(10))",
];

/// Which rows of `events`. A row must hold every value that is named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Columns, each with the value that it must have.
    pub values: Vec<(&'static str, String)>,
    /// Texts that a row must hold, each anywhere in what was said, asked or changed, in
    /// capitals or not.
    pub texts: Vec<String>,
    /// All rows of an intent of which any row is selected.
    pub whole_intents: bool,
}

/// A row in the order of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// In microseconds.
    time: i64,
    leaf_index: i64,
}

impl Place {
    /// Before every row of this time.
    fn at(time: i64) -> Self {
        Self {
            time,
            leaf_index: -1,
        }
    }

    /// The last row of a page; `None` if there is none.
    fn last_of(page: &Answer) -> Option<Self> {
        let batch = page.batches.iter().rfind(|batch| batch.num_rows() > 0)?;
        let row = batch.num_rows().checked_sub(1)?;
        Some(Self {
            time: time(batch, "time", row)?,
            leaf_index: number(batch, "leaf_index", row)?,
        })
    }
}

fn time(batch: &RecordBatch, name: &str, row: usize) -> Option<i64> {
    let column = batch.column_by_name(name)?;
    let times = column.as_primitive_opt::<TimestampMicrosecondType>()?;
    (row < times.len() && times.is_valid(row)).then(|| times.value(row))
}

fn number(batch: &RecordBatch, name: &str, row: usize) -> Option<i64> {
    let column = batch.column_by_name(name)?;
    let numbers = column.as_primitive_opt::<Int64Type>()?;
    (row < numbers.len() && numbers.is_valid(row)).then(|| numbers.value(row))
}

/// The rows of a selection, page after page.
#[derive(Debug, Clone)]
pub struct Pages {
    selection: Selection,
    /// The archive's last row when this began.
    last: i64,
    after: Place,
    /// The time of the last row, in microseconds.
    to: i64,
    /// How far the next page looks, in microseconds.
    span: i64,
    rows: usize,
    rows_max: usize,
    done: bool,
}

impl Pages {
    /// Pages of up to `rows_max` rows of an archive that reaches as far as `reach` says, the
    /// answer to [`REACH`].
    #[must_use]
    pub fn new(selection: Selection, reach: &Answer, rows_max: usize) -> Self {
        let batch = reach.batches.iter().find(|batch| batch.num_rows() > 0);
        let of = |read: fn(&RecordBatch, &str, usize) -> Option<i64>, name| read(batch?, name, 0);
        // Of an empty archive no row is before this one.
        let last = of(number, "last").unwrap_or(-1);
        let first_time = of(time, "first_time").unwrap_or_default();
        let last_time = of(time, "last_time").unwrap_or_default();
        // The other rows of an intent may be from any time.
        let bound = |at: Option<Timestamp>| at.filter(|_| !selection.whole_intents);
        let since = bound(selection.since).map_or(i64::MIN, Timestamp::micros);
        let until = bound(selection.until).map_or(i64::MAX, Timestamp::micros);
        let from = first_time.max(since);
        let rows_max = rows_max.max(1);
        // As if the rows were spread evenly.
        let pages = last.saturating_add(1) / i64::try_from(rows_max).unwrap_or(i64::MAX);
        let whole = last_time.saturating_sub(first_time);
        Self {
            selection,
            last,
            after: Place::at(from),
            to: last_time.min(until.saturating_sub(1)),
            span: (whole / pages.max(1)).max(1),
            rows: rows_max,
            rows_max,
            done: false,
        }
    }

    /// Whether the last page was read.
    #[must_use]
    pub fn done(&self) -> bool {
        self.done
    }

    /// What is selected, in words that are the same for the same selection of the same rows.
    #[must_use]
    pub fn about(&self) -> String {
        let condition = self.selection.condition(self.last).unwrap_or_default();
        format!("rows to {} {condition}", self.last)
    }

    /// The statement for the next page.
    #[must_use]
    pub fn statement(&self) -> String {
        let Place { time, leaf_index } = self.after;
        let (start, end) = (instant(time), instant(self.end()));
        // The outer times let whole files be left out.
        let mut all = format!(
            "leaf_index <= {} AND time >= '{start}' AND time < '{end}' AND (time > '{start}' OR \
             leaf_index > {leaf_index})",
            self.last
        );
        if let Some(condition) = self.selection.condition(self.last) {
            all.push_str(" AND ");
            all.push_str(&condition);
        }
        let rows = self.rows;
        format!("SELECT * FROM events WHERE {all} ORDER BY time, leaf_index LIMIT {rows}")
    }

    /// The first time that the next page does not look at.
    fn end(&self) -> i64 {
        let behind = self.to.saturating_add(1);
        self.after.time.saturating_add(self.span).min(behind)
    }

    /// Goes on behind a page, the answer to [`Self::statement`].
    pub fn read(&mut self, page: &Answer) {
        let found = page.rows();
        let last = Place::last_of(page).filter(|_| found >= self.rows);
        if let Some(last) = last {
            // The span held more than a page: the rest of it comes next.
            let held = last.time.saturating_sub(self.after.time);
            self.span = held.saturating_mul(2).max(1);
            self.after = last;
        } else {
            self.after = Place::at(self.end());
            self.done = self.after.time > self.to;
            let more = match found {
                0 => GROW_EMPTY,
                few if few < self.rows / 2 => 2,
                _ => 1,
            };
            self.span = self.span.saturating_mul(more);
        }
        self.rows = self.rows.saturating_mul(2).min(self.rows_max);
    }

    /// Makes the next page smaller, because its rows were too large. Returns whether it was
    /// more than one row.
    pub fn shrink(&mut self) -> bool {
        let more = self.rows > 1;
        self.rows = (self.rows / 2).max(1);
        more
    }
}

/// A time as SQL reads it; the archive's times are within its calendar.
fn instant(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap_or(Timestamp::EPOCH)
}

impl Selection {
    /// A statement for up to `rows` rows, the newest first, with the columns that tell a
    /// person what each is about.
    #[must_use]
    pub fn newest(&self, rows: usize) -> String {
        let condition = self.condition(i64::MAX);
        let condition = condition
            .map(|all| format!("WHERE {all} "))
            .unwrap_or_default();
        format!(
            "SELECT {TOLD} FROM events {condition}ORDER BY time DESC, leaf_index DESC LIMIT {rows}"
        )
    }

    fn condition(&self, last: i64) -> Option<String> {
        let since = self.since.map(|at| format!("time >= '{at}'"));
        let until = self.until.map(|at| format!("time < '{at}'"));
        let values = self
            .values
            .iter()
            .map(|(column, value)| format!("{column} = {}", literal(value)));
        let texts = self.texts.iter().map(|text| holds(text));
        let all: Vec<String> = since
            .into_iter()
            .chain(until)
            .chain(values)
            .chain(texts)
            .collect();
        let all = (!all.is_empty()).then(|| all.join(" AND "))?;
        Some(match self.whole_intents {
            false => all,
            true => format!(
                "(({all}) OR intent_id IN (SELECT intent_id FROM events WHERE {all} AND \
                 leaf_index <= {last} AND intent_id IS NOT NULL))"
            ),
        })
    }

    /// Adds a value that a column must have.
    #[must_use]
    pub fn with(mut self, column: &'static str, value: Option<impl ToString>) -> Self {
        self.values
            .extend(value.map(|value| (column, value.to_string())));
        self
    }

    /// Adds the intent.
    #[must_use]
    pub fn with_intent(self, intent: Option<IntentId>) -> Self {
        self.with("intent_id", intent)
    }
}

/// Whether a text stands in any of the columns that hold words. A line break lies between
/// columns, so that no text is found half in one and half in the next.
fn holds(text: &str) -> String {
    let words = WORDS.join(", ");
    let text = literal(&text.to_lowercase());
    format!("contains(lower(concat_ws(chr(10), {words})), {text})")
}

/// A text as SQL writes it: the engine knows no other escape.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_in_the_statement_and_quoted() {
        let selection = Selection {
            since: Some("2026-11-22T10:00:00Z".parse().unwrap()),
            until: Some("2026-11-23T10:00:00Z".parse().unwrap()),
            ..Selection::default()
        }
        .with("agent_id", Some("billing"))
        .with("tool_name", None::<&str>)
        .with("requester_id", Some("o'neil' OR '1'='1"));
        assert_eq!(
            selection.condition(9).unwrap(),
            "time >= '2026-11-22T10:00:00Z' AND time < '2026-11-23T10:00:00Z' AND \
             agent_id = 'billing' AND requester_id = 'o''neil'' OR ''1''=''1'"
        );
        assert_eq!(Selection::default().condition(9), None);
    }
}
