//! Rows to a Parquet file, column by column from the one table in `domain::archive`.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    StructBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use countersign_domain::archive::{
    BLOOM_FPP, COLUMNS, Cell, Column, GROUP_BYTES, GROUP_ROWS, Kind, Layout, Leaves, ROW_VERSION,
    Row, Span, ZSTD_LEVEL,
};
use countersign_schemas::Digest;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use sha2::{Digest as _, Sha256};

/// A file could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The rows do not fit the columns.
    #[error("cannot lay out the rows of a file: {0}")]
    Columns(#[from] ArrowError),
    /// Parquet failed, or the disk beneath it.
    #[error("cannot write a Parquet file: {0}")]
    Parquet(#[from] ParquetError),
}

/// What a file says about itself, so that it can be understood without the manifest.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) spans: Vec<Span>,
    pub(crate) leaves: Vec<Leaves>,
}

/// The Arrow schema of every file.
#[must_use]
pub fn schema() -> SchemaRef {
    let fields: Vec<Field> = COLUMNS
        .iter()
        .map(|column| {
            let doc = HashMap::from([("doc".to_owned(), column.doc.to_owned())]);
            Field::new(column.name, data_type(column.kind), !column.required).with_metadata(doc)
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text => DataType::Utf8,
        Kind::Bool => DataType::Boolean,
        Kind::Int => DataType::Int64,
        Kind::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Texts => DataType::List(text_item()),
        Kind::Redactions => DataType::List(redaction_item()),
    }
}

fn text_item() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Utf8, false))
}

fn redaction_fields() -> Fields {
    Fields::from(vec![
        Field::new("type", DataType::Utf8, false),
        Field::new("path", DataType::Utf8, false),
        Field::new("count", DataType::Int64, false),
    ])
}

fn redaction_item() -> Arc<Field> {
    Arc::new(Field::new(
        "element",
        DataType::Struct(redaction_fields()),
        false,
    ))
}

/// The rows as one Arrow batch.
///
/// # Errors
/// When a required column holds no value.
pub fn batch(rows: &[Row]) -> Result<RecordBatch, ArrowError> {
    let columns = COLUMNS
        .iter()
        .map(|column| array(column, rows))
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema(), columns)
}

fn array(column: &Column, rows: &[Row]) -> Result<ArrayRef, ArrowError> {
    let cells = rows.iter().map(|row| (column.get)(row));
    Ok(match column.kind {
        Kind::Text => Arc::new(StringArray::from_iter(cells.map(|cell| match cell {
            Cell::Text(text) => text,
            _ => None,
        }))),
        Kind::Bool => Arc::new(BooleanArray::from_iter(cells.map(|cell| match cell {
            Cell::Bool(value) => value,
            _ => None,
        }))),
        Kind::Int => Arc::new(Int64Array::from_iter(cells.map(|cell| match cell {
            Cell::Int(value) => value,
            _ => None,
        }))),
        Kind::Instant => {
            let times = TimestampMicrosecondArray::from_iter(cells.map(|cell| match cell {
                Cell::Instant(at) => at.map(|at| at.micros()),
                _ => None,
            }));
            Arc::new(times.with_timezone("UTC"))
        }
        Kind::Texts => texts(cells),
        Kind::Redactions => redactions(cells)?,
    })
}

fn texts<'a>(cells: impl Iterator<Item = Cell<'a>>) -> ArrayRef {
    let mut list = ListBuilder::new(StringBuilder::new()).with_field(text_item());
    for cell in cells {
        if let Cell::Texts(items) = cell {
            for item in items {
                list.values().append_value(item);
            }
        }
        list.append(true);
    }
    Arc::new(list.finish())
}

fn redactions<'a>(cells: impl Iterator<Item = Cell<'a>>) -> Result<ArrayRef, ArrowError> {
    let entry = StructBuilder::from_fields(redaction_fields(), 0);
    let mut list = ListBuilder::new(entry).with_field(redaction_item());
    for cell in cells {
        if let Cell::Redactions(items) = cell {
            for item in items {
                let entry = list.values();
                put_text(entry, 0, &item.kind)?;
                put_text(entry, 1, &item.path)?;
                entry
                    .field_builder::<arrow::array::Int64Builder>(2)
                    .ok_or_else(no_builder)?
                    .append_value(item.count);
                entry.append(true);
            }
        }
        list.append(true);
    }
    Ok(Arc::new(list.finish()))
}

fn put_text(entry: &mut StructBuilder, field: usize, text: &str) -> Result<(), ArrowError> {
    entry
        .field_builder::<StringBuilder>(field)
        .ok_or_else(no_builder)?
        .append_value(text);
    Ok(())
}

fn no_builder() -> ArrowError {
    ArrowError::SchemaError("the redactions column has other fields than its schema".to_owned())
}

/// Writes one file and returns its digest and size.
pub(crate) fn write_file(
    rows: &[Row],
    about: &About,
    out: impl Write + Send,
) -> Result<(Digest, u64), EncodeError> {
    let mut file = FileWriter::new(out, rows.len(), about)?;
    // In slices, so that the encoder's copy of the columns stays small.
    for slice in rows.chunks(SLICE_ROWS) {
        file.write(&batch(slice)?)?;
    }
    file.finish()
}

/// Writes one file, batch after batch.
pub(crate) struct FileWriter<W: Write + Send> {
    writer: ArrowWriter<Hashing<W>>,
}

impl<W: Write + Send> FileWriter<W> {
    /// A file of so many rows.
    pub(crate) fn new(out: W, rows: usize, about: &About) -> Result<Self, EncodeError> {
        let hashing = Hashing {
            out,
            hash: Sha256::new(),
            bytes: 0,
        };
        let properties = properties(rows, about)?;
        let writer = ArrowWriter::try_new(hashing, schema(), Some(properties))?;
        Ok(Self { writer })
    }

    /// Adds rows.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), EncodeError> {
        Ok(self.writer.write(batch)?)
    }

    /// Ends the file and returns its digest and size.
    pub(crate) fn finish(self) -> Result<(Digest, u64), EncodeError> {
        let hashing = self.writer.into_inner()?;
        let text = format!("sha256:{:x}", hashing.hash.finalize());
        let digest = text
            .parse()
            .map_err(|_| ParquetError::General("no digest".to_owned()))?;
        Ok((digest, hashing.bytes))
    }
}

/// Rows that are laid out at once.
const SLICE_ROWS: usize = 8 * 1024;

fn properties(rows: usize, about: &About) -> Result<WriterProperties, EncodeError> {
    let json = |list: serde_json::Result<String>| {
        list.map_err(|error| ParquetError::General(error.to_string()))
    };
    let texts = [
        (
            "countersign.spans",
            json(serde_json::to_string(&about.spans))?,
        ),
        (
            "countersign.leaves",
            json(serde_json::to_string(&about.leaves))?,
        ),
        ("countersign.schema_version", ROW_VERSION.to_string()),
    ];
    let pairs = texts
        .into_iter()
        .map(|(key, value)| KeyValue::new(key.to_owned(), value))
        .collect();
    let builder = WriterProperties::builder()
        .set_created_by(format!("countersign {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_max_row_group_bytes(Some(GROUP_BYTES))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_key_value_metadata(Some(pairs));
    Ok(COLUMNS
        .iter()
        .fold(builder, |builder, column| lay_out(builder, column, rows))
        .build())
}

fn lay_out(
    builder: WriterPropertiesBuilder,
    column: &Column,
    rows: usize,
) -> WriterPropertiesBuilder {
    let path = ColumnPath::from(column.name);
    let values = u64::try_from(rows.clamp(1, GROUP_ROWS)).unwrap_or(1);
    match column.layout {
        Layout::Words => builder,
        Layout::Distinct => builder.set_column_dictionary_enabled(path, false),
        // The default of a million distinct values would cost a megabyte in every file.
        Layout::Key => builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_bloom_filter_enabled(path.clone(), true)
            .set_column_bloom_filter_fpp(path.clone(), BLOOM_FPP)
            .set_column_bloom_filter_max_ndv(path, values),
    }
}

/// Hashes what passes through; Parquet is written from front to back.
struct Hashing<W> {
    out: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.out.write(buffer)?;
        self.hash.update(buffer.get(..written).unwrap_or_default());
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Array as _;
    use bytes::Bytes;
    use countersign_domain::archive::Redaction;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::file::reader::{FileReader as _, SerializedFileReader};

    fn about() -> About {
        About {
            spans: vec![Span {
                stream: "CS_EVENTS".to_owned(),
                incarnation: "abc".parse().unwrap(),
                first_seq: 1,
                last_seq: 3,
            }],
            leaves: vec![Leaves { first: 0, last: 2 }],
        }
    }

    fn rows(count: usize) -> Vec<Row> {
        (0..count)
            .map(|n| Row {
                seq: i64::try_from(n).unwrap(),
                intent_id: Some(format!("i-{n}")),
                reason_codes: vec!["a".to_owned(); n % 3],
                redactions: vec![
                    Redaction {
                        kind: "email".to_owned(),
                        path: "purpose".to_owned(),
                        count: 2,
                    };
                    n % 2
                ],
                requester_verified: (n % 2 == 0).then_some(true),
                ..Row::default()
            })
            .collect()
    }

    #[test]
    fn a_file_reads_back_as_the_rows_that_went_in() {
        let rows = rows(20_000);
        let mut file = Vec::new();
        let (digest, bytes) = write_file(&rows, &about(), &mut file).unwrap();
        assert_eq!(digest, Digest::of_bytes(&file));
        assert_eq!(bytes, u64::try_from(file.len()).unwrap());
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file))
            .unwrap()
            .with_batch_size(rows.len())
            .build()
            .unwrap();
        let read: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        let read = arrow::compute::concat_batches(&read[0].schema(), &read).unwrap();
        let want = batch(&rows).unwrap();
        assert_eq!(read.columns(), want.columns());
        assert_eq!(read.schema().fields(), want.schema().fields());
    }

    #[test]
    fn keys_have_bloom_filters_of_the_right_size_and_files_explain_themselves() {
        let mut file = Vec::new();
        write_file(&rows(100), &about(), &mut file).unwrap();
        assert!(
            file.len() < 64 * 1024,
            "{} bytes for 100 small rows",
            file.len()
        );
        let reader = SerializedFileReader::new(Bytes::from(file)).unwrap();
        let group = reader.metadata().row_group(0);
        for (column, wanted) in [("intent_id", true), ("approval_id", true), ("event", false)] {
            let index = COLUMNS.iter().position(|c| c.name == column).unwrap();
            let has = group.column(index).bloom_filter_offset().is_some();
            assert_eq!(has, wanted, "{column}");
        }
        let pairs = reader
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .unwrap();
        for key in [
            "countersign.spans",
            "countersign.leaves",
            "countersign.schema_version",
        ] {
            assert!(
                pairs
                    .iter()
                    .any(|pair| pair.key == key && pair.value.is_some()),
                "{key}"
            );
        }
    }

    #[test]
    fn every_column_is_documented_in_the_schema_and_lists_are_never_null() {
        let batch = batch(&rows(3)).unwrap();
        for field in batch.schema().fields() {
            assert!(field.metadata().contains_key("doc"), "{}", field.name());
        }
        assert_eq!(
            batch.column_by_name("reason_codes").unwrap().null_count(),
            0
        );
    }
}
