//! Which rows an export or a search is about, as SQL.
//!
//! Rows come page after page in the order of their times, each page beginning where the
//! last one ended, and none is newer than the bound that was read first: what is archived
//! or compacted meanwhile makes no row come twice and none fail to come.

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use countersign_schemas::{IntentId, Timestamp};

use crate::archive::Answer;

/// Asks for the bound: the number of the archive's last row.
pub const LAST_ROW: &str = "SELECT max(leaf_index) AS last FROM events";

/// Which rows of `events`. A row must hold every value that is named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Columns, each with the value that it must have.
    pub values: Vec<(&'static str, String)>,
    /// All rows of an intent of which any row is selected.
    pub whole_intents: bool,
}

/// A row in the order of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    time: Timestamp,
    leaf_index: i64,
}

impl Place {
    /// The last row of a page; `None` if there is none.
    #[must_use]
    pub fn last_of(page: &Answer) -> Option<Self> {
        let batch = page.batches.iter().rfind(|batch| batch.num_rows() > 0)?;
        let row = batch.num_rows().checked_sub(1)?;
        let times = batch.column_by_name("time")?;
        let times = times.as_primitive_opt::<TimestampMicrosecondType>()?;
        let numbers = batch.column_by_name("leaf_index")?;
        let numbers = numbers.as_primitive_opt::<Int64Type>()?;
        Some(Self {
            time: Timestamp::from_micros(times.value(row))?,
            leaf_index: numbers.value(row),
        })
    }
}

/// The number in the answer to [`LAST_ROW`]; `None` where the archive holds no row.
#[must_use]
pub fn last_row(answer: &Answer) -> Option<i64> {
    let batch = answer.batches.iter().find(|batch| batch.num_rows() > 0)?;
    let numbers = batch.column_by_name("last")?;
    let numbers = numbers.as_primitive_opt::<Int64Type>()?;
    numbers.is_valid(0).then(|| numbers.value(0))
}

impl Selection {
    /// A statement for up to `rows` rows after `after`, none of them after row `last`.
    #[must_use]
    pub fn page(&self, last: i64, after: Option<Place>, rows: usize) -> String {
        let mut all = vec![format!("leaf_index <= {last}")];
        if let Some(Place { time, leaf_index }) = after {
            // The first half lets whole files be left out.
            all.push(format!(
                "time >= '{time}' AND (time > '{time}' OR leaf_index > {leaf_index})"
            ));
        }
        all.extend(self.condition(last));
        format!(
            "SELECT * FROM events WHERE {} ORDER BY time, leaf_index LIMIT {rows}",
            all.join(" AND ")
        )
    }

    /// What is selected, in words that are the same for the same selection.
    #[must_use]
    pub fn about(&self, last: i64) -> String {
        self.page(last, None, 0)
    }

    fn condition(&self, last: i64) -> Option<String> {
        let since = self.since.map(|at| format!("time >= '{at}'"));
        let until = self.until.map(|at| format!("time < '{at}'"));
        let values = self
            .values
            .iter()
            .map(|(column, value)| format!("{column} = {}", literal(value)));
        let all: Vec<String> = since.into_iter().chain(until).chain(values).collect();
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
            selection.page(9, None, 5),
            "SELECT * FROM events WHERE leaf_index <= 9 AND time >= '2026-11-22T10:00:00Z' AND \
             time < '2026-11-23T10:00:00Z' AND agent_id = 'billing' AND requester_id = \
             'o''neil'' OR ''1''=''1' ORDER BY time, leaf_index LIMIT 5"
        );
        let after = Place {
            time: Timestamp::EPOCH,
            leaf_index: 3,
        };
        let page = Selection::default().page(9, Some(after), 5);
        assert!(page.contains(
            "time >= '1970-01-01T00:00:00Z' AND (time > '1970-01-01T00:00:00Z' OR leaf_index > 3)"
        ));
    }
}
