//! Whole rows of the table `events`, which some forms are made of.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use countersign_domain::archive::Row;

use super::{ExportError, lines};
use crate::table;

/// The answer does not hold whole rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnsError {
    /// A column that the table does not have.
    #[error(
        "{0} is no column of `events`: this format is made of whole rows, SELECT * FROM events …"
    )]
    Unknown(String),
    /// A column of the table is not there.
    #[error("the column {0} is missing: this format is made of whole rows, SELECT * FROM events …")]
    Missing(String),
    /// A column has another type than in the table.
    #[error(
        "the column {0} is not that of `events`: this format is made of whole rows, SELECT * FROM events …"
    )]
    Changed(String),
    /// A trail without a key.
    #[error("an agent audit trail is signed: name the key")]
    NoKey,
}

/// Whether these are the columns of the table, in any order.
pub(super) fn whole_rows(schema: &SchemaRef) -> Result<(), ColumnsError> {
    let known = table::schema();
    for field in schema.fields() {
        let name = field.name();
        let expected = known
            .field_with_name(name)
            .map_err(|_| ColumnsError::Unknown(name.clone()))?;
        if plain(field.data_type()) != plain(expected.data_type()) {
            return Err(ColumnsError::Changed(name.clone()));
        }
    }
    let missing = known
        .fields()
        .iter()
        .find(|field| schema.field_with_name(field.name()).is_err());
    missing.map_or(Ok(()), |field| {
        Err(ColumnsError::Missing(field.name().clone()))
    })
}

/// A text is a text, however it is laid out in memory; so are lists of the same things.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::List(item) => DataType::List(
            item.as_ref()
                .clone()
                .with_data_type(plain(item.data_type()))
                .into(),
        ),
        other => other.clone(),
    }
}

/// The rows of a batch whose columns [`whole_rows`] has seen.
pub(super) fn rows(batch: &RecordBatch) -> Result<Vec<Row>, ExportError> {
    let text = lines(batch)?;
    let rows = serde_json::Deserializer::from_slice(&text).into_iter();
    Ok(rows.collect::<Result<Vec<Row>, _>>()?)
}
