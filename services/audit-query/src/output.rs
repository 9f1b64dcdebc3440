//! An answer as text or file.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchReader as _, StringArray};
use arrow::csv::WriterBuilder as CsvBuilder;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::json::WriterBuilder as JsonBuilder;
use arrow::json::writer::JsonArray;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches_with_options;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::archive::Answer;

/// How an answer is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON array of objects; every column is there, NULL as null.
    Json,
    /// With a header line; lists as text.
    Csv,
    /// A Parquet file.
    Parquet,
}

impl Format {
    /// Every format.
    pub const ALL: &[Self] = &[Self::Table, Self::Json, Self::Csv, Self::Parquet];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }
}

/// A word that names no format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the format is one of table, json, csv, parquet")]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(word: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .iter()
            .copied()
            .find(|format| format.as_str() == word)
            .ok_or(UnknownFormat)
    }
}

/// An answer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// As text.
    #[error("cannot write the answer: {0}")]
    Text(#[from] ArrowError),
    /// As Parquet.
    #[error("cannot write the answer as Parquet: {0}")]
    Parquet(#[from] ParquetError),
}

/// Writes an answer.
///
/// # Errors
/// When a column has no form in that format.
pub fn write(answer: &Answer, format: Format) -> Result<Vec<u8>, OutputError> {
    match format {
        Format::Table => table(answer),
        Format::Json => json(answer),
        Format::Csv => csv(answer),
        Format::Parquet => parquet(answer),
    }
}

fn table(answer: &Answer) -> Result<Vec<u8>, OutputError> {
    let options = FormatOptions::default()
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.3f"))
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.3fZ"));
    let batches = if answer.batches.is_empty() {
        vec![RecordBatch::new_empty(Arc::clone(&answer.schema))]
    } else {
        answer.batches.clone()
    };
    let text = pretty_format_batches_with_options(&batches, &options)?;
    let rows = answer.rows();
    let plural = if rows == 1 { "row" } else { "rows" };
    Ok(format!("{text}\n{rows} {plural}\n").into_bytes())
}

fn json(answer: &Answer) -> Result<Vec<u8>, OutputError> {
    let mut out = Vec::new();
    let mut writer = JsonBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, JsonArray>(&mut out);
    for batch in &answer.batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    drop(writer);
    if out.is_empty() {
        out.extend_from_slice(b"[]");
    }
    out.push(b'\n');
    Ok(out)
}

fn csv(answer: &Answer) -> Result<Vec<u8>, OutputError> {
    let mut out = Vec::new();
    let mut writer = CsvBuilder::new().with_header(true).build(&mut out);
    let empty = RecordBatch::new_empty(Arc::clone(&answer.schema));
    for batch in answer.batches.iter().chain(std::iter::once(&empty)) {
        writer.write(&flat(batch)?)?;
    }
    drop(writer);
    Ok(out)
}

/// CSV has no lists: they become text.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if column.data_type().is_nested() {
            fields.push(Field::new(field.name(), DataType::Utf8, true));
            columns.push(text(column)?);
        } else {
            fields.push(field.as_ref().clone());
            columns.push(Arc::clone(column));
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn text(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let format = FormatOptions::default();
    let shown = ArrayFormatter::try_new(column, &format)?;
    let texts: StringArray = (0..column.len())
        .map(|row| column.is_valid(row).then(|| shown.value(row).to_string()))
        .collect();
    Ok(Arc::new(texts))
}

fn parquet(answer: &Answer) -> Result<Vec<u8>, OutputError> {
    let mut out = Vec::new();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .build();
    let mut writer = ArrowWriter::try_new(&mut out, Arc::clone(&answer.schema), Some(properties))?;
    for batch in &answer.batches {
        writer.write(batch)?;
    }
    writer.close()?;
    Ok(out)
}

/// Reads an answer that was written as [`Format::Parquet`].
///
/// # Errors
/// When the bytes are anything else.
pub fn read_parquet(bytes: Bytes) -> Result<Answer, OutputError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    Ok(Answer { schema, batches })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, ListArray};
    use arrow::datatypes::Int64Type;

    fn answer(rows: usize) -> Answer {
        let numbers = Int64Array::from_iter((0..rows).map(|n| (n != 1).then_some(7)));
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(
            (0..rows).map(|n| Some(vec![Some(1); n])),
        );
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("n", Arc::new(numbers) as ArrayRef, true),
            ("list", Arc::new(lists) as ArrayRef, true),
        ])
        .unwrap();
        Answer {
            schema: batch.schema(),
            batches: if rows == 0 { Vec::new() } else { vec![batch] },
        }
    }

    fn as_text(rows: usize, format: Format) -> String {
        String::from_utf8(write(&answer(rows), format).unwrap()).unwrap()
    }

    #[test]
    fn json_is_one_array_with_every_column() {
        assert_eq!(as_text(0, Format::Json), "[]\n");
        assert_eq!(
            as_text(2, Format::Json),
            "[{\"n\":7,\"list\":[]},{\"n\":null,\"list\":[1]}]\n"
        );
    }

    #[test]
    fn csv_has_a_header_and_lists_as_text() {
        assert_eq!(as_text(0, Format::Csv), "n,list\n");
        assert_eq!(as_text(2, Format::Csv), "n,list\n7,[]\n,[1]\n");
    }

    #[test]
    fn a_table_says_how_many_rows() {
        assert!(as_text(1, Format::Table).ends_with("1 row\n"));
        let empty = as_text(0, Format::Table);
        assert!(
            empty.contains("list") && empty.ends_with("0 rows\n"),
            "{empty}"
        );
    }

    #[test]
    fn parquet_reads_back() {
        let bytes = write(&answer(3), Format::Parquet).unwrap();
        let read = read_parquet(Bytes::from(bytes)).unwrap();
        assert_eq!(read.batches, answer(3).batches);
        assert!(read_parquet(Bytes::from_static(b"else")).is_err());
    }

    #[test]
    fn formats_have_words() {
        for format in Format::ALL {
            assert_eq!(format.as_str().parse(), Ok(*format));
        }
        assert!("xml".parse::<Format>().is_err());
    }
}
