//! A Parquet file with the settings of the archive's own files.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use countersign_domain::archive::{
    BLOOM_FPP, COLUMNS, Column, GROUP_BYTES, GROUP_ROWS, Layout, ZSTD_LEVEL,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use super::ExportError;

pub(super) struct Writer<W: Write + Send> {
    schema: SchemaRef,
    writer: ArrowWriter<W>,
}

impl<W: Write + Send> Writer<W> {
    pub(super) fn new(schema: &SchemaRef, out: W) -> Result<Self, ParquetError> {
        let fields: Vec<_> = schema
            .fields()
            .iter()
            // Texts as the archive's files have them.
            .map(|field| match field.data_type() {
                DataType::Utf8View => field.as_ref().clone().with_data_type(DataType::Utf8),
                _ => field.as_ref().clone(),
            })
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let properties = properties(&schema)?;
        let writer = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties))?;
        Ok(Self { schema, writer })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ExportError> {
        let columns = batch
            .columns()
            .iter()
            .zip(self.schema.fields())
            .map(|(column, field)| cast(column, field.data_type()))
            .collect::<Result<Vec<_>, _>>()?;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        Ok(self.writer.write(&batch)?)
    }

    pub(super) fn finish(self) -> Result<W, ParquetError> {
        self.writer.into_inner()
    }
}

fn properties(schema: &Schema) -> Result<WriterProperties, ParquetError> {
    let builder = WriterProperties::builder()
        .set_created_by(format!("countersign {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_max_row_group_bytes(Some(GROUP_BYTES))
        .set_statistics_enabled(EnabledStatistics::Page);
    Ok(COLUMNS
        .iter()
        .filter(|column| schema.field_with_name(column.name).is_ok())
        .fold(builder, lay_out)
        .build())
}

fn lay_out(builder: WriterPropertiesBuilder, column: &Column) -> WriterPropertiesBuilder {
    let path = ColumnPath::from(column.name);
    match column.layout {
        Layout::Words => builder,
        Layout::Distinct => builder.set_column_dictionary_enabled(path, false),
        Layout::Key => builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_bloom_filter_enabled(path.clone(), true)
            .set_column_bloom_filter_fpp(path.clone(), BLOOM_FPP)
            // The writer folds a filter that turns out too large.
            .set_column_bloom_filter_max_ndv(path, u64::try_from(GROUP_ROWS).unwrap_or(u64::MAX)),
    }
}
