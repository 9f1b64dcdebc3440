//! CSV: numbers, truth values and times as they are, texts made harmless, lists as JSON, an
//! absent value as nothing.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use countersign_domain::export::csv;

use super::{ExportError, lines};

/// The header line.
pub(super) fn head(schema: &SchemaRef, out: &mut impl Write) -> Result<(), ExportError> {
    let names: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| csv::text(field.name()))
        .collect();
    line(&names, out)
}

/// A line for each row.
pub(super) fn rows(batch: &RecordBatch, out: &mut impl Write) -> Result<(), ExportError> {
    let columns = batch
        .columns()
        .iter()
        .map(fields)
        .collect::<Result<Vec<_>, ArrowError>>()?;
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    for _ in 0..batch.num_rows() {
        let fields: Vec<String> = columns.iter_mut().filter_map(Iterator::next).collect();
        line(&fields, out)?;
    }
    Ok(())
}

fn line(fields: &[String], out: &mut impl Write) -> Result<(), ExportError> {
    out.write_all(fields.join(",").as_bytes())?;
    Ok(out.write_all(csv::LINE_END.as_bytes())?)
}

/// A column as fields.
fn fields(column: &ArrayRef) -> Result<Vec<String>, ArrowError> {
    let texts = if column.data_type().is_nested() {
        as_json(column)?
    } else {
        let options = FormatOptions::default();
        let shown = ArrayFormatter::try_new(column, &options)?;
        (0..column.len())
            .map(|row| shown.value(row).try_to_string())
            .collect::<Result<_, _>>()?
    };
    let harmless = is_harmless(column.data_type());
    let field = |(row, text): (usize, String)| match () {
        () if column.is_null(row) => String::new(),
        () if harmless => text,
        () => csv::text(&text),
    };
    Ok(texts.into_iter().enumerate().map(field).collect())
}

/// Nothing in it is a text that somebody chose.
fn is_harmless(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type.is_temporal() || *data_type == DataType::Boolean
}

/// Each value as JSON: the encoder of whole rows, given a row of one column.
fn as_json(column: &ArrayRef) -> Result<Vec<String>, ArrowError> {
    let field = Field::new("v", column.data_type().clone(), true);
    let schema = Arc::new(Schema::new(vec![field]));
    let text = lines(&RecordBatch::try_new(schema, vec![Arc::clone(column)])?)?;
    let text = String::from_utf8_lossy(&text);
    let value = |line: &str| {
        let inner = line.strip_prefix("{\"v\":")?.strip_suffix('}')?;
        Some(inner.to_owned())
    };
    Ok(text
        .lines()
        .map(|line| value(line).unwrap_or_default())
        .collect())
}
