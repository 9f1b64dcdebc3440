//! What the hash tree needs of the rows of a Parquet file.

use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use countersign_domain::archive::{COLUMNS, Cell, Kind, Redaction, leaf_bytes};
use countersign_domain::merkle::{Node, leaf_hash};
use countersign_schemas::{Digest, Timestamp};

use crate::encode::schema;

/// A batch of rows, each of which can be hashed.
pub(crate) struct Rows<'a> {
    /// By the place of the column in [`COLUMNS`]; absent where a file of an earlier version
    /// lacks it.
    columns: Vec<Option<Values<'a>>>,
    leaf_index: &'a Int64Array,
}

/// The values of one column.
enum Values<'a> {
    Text(&'a StringArray),
    Bool(&'a BooleanArray),
    Int(&'a Int64Array),
    Instant(&'a TimestampMicrosecondArray),
    Texts(Vec<Vec<String>>),
    Redactions(Vec<Vec<Redaction>>),
}

impl<'a> Rows<'a> {
    /// The rows of `batch`; `None` if it has a column that the archive has not, where words
    /// could hide, or one of another type.
    pub(crate) fn of(batch: &'a RecordBatch) -> Option<Self> {
        let found = batch.schema();
        let known = |name: &String| COLUMNS.iter().any(|column| column.name == name);
        if !found.fields().iter().all(|field| known(field.name())) {
            return None;
        }
        let columns = COLUMNS
            .iter()
            .zip(schema().fields())
            .map(|(column, field)| match batch.column_by_name(column.name) {
                None => Some(None),
                Some(array) if array.data_type() == field.data_type() => {
                    Values::of(column.kind, array).map(Some)
                }
                Some(_) => None,
            })
            .collect::<Option<Vec<_>>>()?;
        let leaf_index = batch.column_by_name("leaf_index")?.as_primitive_opt()?;
        Some(Self {
            columns,
            leaf_index,
        })
    }

    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.leaf_index.len()
    }

    /// Number in the whole archive, and hash, of the row at this place.
    pub(crate) fn leaf(&self, row: usize) -> Option<(u64, Node)> {
        let (index, bytes) = self.canonical(row)?;
        Some((index, leaf_hash(Digest::of_bytes(&bytes).as_bytes())))
    }

    /// Number in the whole archive, and canonical form, of the row at this place.
    pub(crate) fn canonical(&self, row: usize) -> Option<(u64, Vec<u8>)> {
        let index = get(row, self.leaf_index, |at| self.leaf_index.value(at))?;
        let bytes = leaf_bytes(|place, column| match self.columns.get(place) {
            Some(Some(values)) => values.cell(row),
            _ => nothing(column.kind),
        });
        Some((u64::try_from(index).ok()?, bytes))
    }
}

impl<'a> Values<'a> {
    fn of(kind: Kind, array: &'a ArrayRef) -> Option<Self> {
        Some(match kind {
            Kind::Text => Self::Text(array.as_string_opt()?),
            Kind::Bool => Self::Bool(array.as_boolean_opt()?),
            Kind::Int => Self::Int(array.as_primitive_opt::<Int64Type>()?),
            Kind::Instant => Self::Instant(array.as_primitive_opt::<TimestampMicrosecondType>()?),
            Kind::Texts => Self::Texts(lists(array, |items| {
                let texts = items.as_string_opt::<i32>()?;
                Some(texts.iter().flatten().map(str::to_owned).collect())
            })?),
            Kind::Redactions => Self::Redactions(lists(array, redactions)?),
        })
    }

    fn cell(&self, row: usize) -> Cell<'_> {
        match self {
            Self::Text(texts) => Cell::Text(get(row, *texts, |at| texts.value(at))),
            Self::Bool(values) => Cell::Bool(get(row, *values, |at| values.value(at))),
            Self::Int(values) => Cell::Int(get(row, *values, |at| values.value(at))),
            Self::Instant(values) => Cell::Instant(
                get(row, *values, |at| values.value(at)).and_then(Timestamp::from_micros),
            ),
            Self::Texts(lists) => Cell::Texts(lists.get(row).map_or(&[], Vec::as_slice)),
            Self::Redactions(lists) => Cell::Redactions(lists.get(row).map_or(&[], Vec::as_slice)),
        }
    }
}

/// The value at a place that is there and not NULL.
fn get<T>(row: usize, array: &dyn Array, value: impl FnOnce(usize) -> T) -> Option<T> {
    (row < array.len() && array.is_valid(row)).then(|| value(row))
}

fn nothing(kind: Kind) -> Cell<'static> {
    match kind {
        Kind::Text => Cell::Text(None),
        Kind::Bool => Cell::Bool(None),
        Kind::Int => Cell::Int(None),
        Kind::Instant => Cell::Instant(None),
        Kind::Texts => Cell::Texts(&[]),
        Kind::Redactions => Cell::Redactions(&[]),
    }
}

fn lists<T>(array: &ArrayRef, items: impl Fn(&ArrayRef) -> Option<Vec<T>>) -> Option<Vec<Vec<T>>> {
    let list = array.as_list_opt::<i32>()?;
    list.iter()
        .map(|row| row.map_or(Some(Vec::new()), |row| items(&row)))
        .collect()
}

fn redactions(items: &ArrayRef) -> Option<Vec<Redaction>> {
    let entries = items.as_struct_opt()?;
    let texts = |name| entries.column_by_name(name)?.as_string_opt::<i32>();
    let (kinds, paths) = (texts("type")?, texts("path")?);
    let counts = entries
        .column_by_name("count")?
        .as_primitive_opt::<Int64Type>()?;
    Some(
        (0..entries.len())
            .map(|at| Redaction {
                kind: kinds.value(at).to_owned(),
                path: paths.value(at).to_owned(),
                count: counts.value(at),
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::batch;
    use countersign_domain::archive::{Row, leaf};
    use std::sync::Arc;

    fn rows() -> Vec<Row> {
        (0..9)
            .map(|n| Row {
                leaf_index: n,
                seq: n,
                purpose: (n % 2 == 0).then(|| format!("\"{n}\"\n")),
                time: Timestamp::from_micros(n * 1_000_003).unwrap(),
                reason_codes: vec!["a".to_owned(); usize::try_from(n % 3).unwrap()],
                requester_verified: (n > 4).then_some(n % 2 == 0),
                redactions: vec![Redaction {
                    kind: "email".to_owned(),
                    path: "/x".to_owned(),
                    count: n,
                }],
                duration_ms: (n > 3).then_some(n),
                ..Row::default()
            })
            .collect()
    }

    #[test]
    fn a_row_read_back_has_the_hash_it_was_written_with() {
        let rows = rows();
        let batch = batch(&rows).unwrap();
        let read = Rows::of(&batch).unwrap();
        assert_eq!(read.len(), rows.len());
        for (at, row) in rows.iter().enumerate() {
            let index = u64::try_from(row.leaf_index).unwrap();
            assert_eq!(read.leaf(at), Some((index, leaf(row))));
        }
        assert_eq!(read.leaf(rows.len()), None);
    }

    #[test]
    fn a_column_that_came_later_changes_no_hash_and_a_foreign_one_is_refused() {
        let rows = rows();
        let batch = batch(&rows).unwrap();
        let place = batch.schema().index_of("window_id").unwrap();
        let mut earlier = batch.clone();
        earlier.remove_column(place);
        let leaves = |batch: &RecordBatch| {
            let rows = Rows::of(batch).unwrap();
            (0..rows.len()).map(|at| rows.leaf(at)).collect::<Vec<_>>()
        };
        assert_eq!(leaves(&earlier), leaves(&batch));
        let mut fields = batch.schema().fields().to_vec();
        let renamed = fields[place].as_ref().clone().with_name("note");
        fields[place] = Arc::new(renamed);
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        let foreign = RecordBatch::try_new(schema, batch.columns().to_vec()).unwrap();
        assert!(Rows::of(&foreign).is_none());
    }
}
