//! Rows as other programs read them, written batch after batch: what has been written is
//! not held any more, so that an export may be longer than the memory is large.

mod columns;
mod csv;
mod parquet;
mod trail;

use std::io::{self, Write};
use std::str::FromStr;

use ::parquet::errors::ParquetError;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::json::WriterBuilder as JsonBuilder;
use arrow::json::writer::LineDelimited;
use countersign_domain::export::{OcsfEvents, TrailError, TrailKey};

pub use columns::ColumnsError;

/// The forms of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// One JSON object on each line; every column is there, NULL as null.
    #[default]
    Json,
    /// RFC 4180, with a header line; lists as JSON, no text that a spreadsheet would run.
    Csv,
    /// A Parquet file, laid out as those of the archive.
    Parquet,
    /// Events of the Open Cybersecurity Schema Framework, one on each line.
    Ocsf,
    /// Records of the agent audit trail draft, chained and signed, one on each line.
    Aat,
}

impl Form {
    /// Every form.
    pub const ALL: &[Self] = &[Self::Json, Self::Csv, Self::Parquet, Self::Ocsf, Self::Aat];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Ocsf => "ocsf",
            Self::Aat => "aat",
        }
    }
}

/// A word that names no form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the format is one of json, csv, parquet, ocsf, aat")]
pub struct UnknownForm;

impl FromStr for Form {
    type Err = UnknownForm;

    fn from_str(word: &str) -> Result<Self, UnknownForm> {
        Self::ALL
            .iter()
            .copied()
            .find(|form| form.as_str() == word)
            .ok_or(UnknownForm)
    }
}

/// What a form is made with.
#[derive(Debug)]
pub enum Plan {
    /// A form that needs nothing.
    Plain(Form),
    /// [`Form::Aat`]: who signs, and a text that names what the trail was made from.
    Trail(TrailKey, String),
}

/// An export could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file or its reader failed.
    #[error("cannot write the export: {0}")]
    Write(#[from] io::Error),
    /// A column has no text form.
    #[error("cannot write the export: {0}")]
    Text(#[from] ArrowError),
    /// Parquet failed.
    #[error("cannot write the export as Parquet: {0}")]
    Parquet(#[from] ParquetError),
    /// The form is made of whole rows, and these are others.
    #[error(transparent)]
    Columns(#[from] ColumnsError),
    /// A row does not fit the trail.
    #[error("cannot write the agent audit trail: {0}")]
    Trail(#[from] TrailError),
    /// A row is none of ours.
    #[error("a row of the answer cannot be read: {0}")]
    Row(#[from] serde_json::Error),
}

/// An export while it is written.
pub struct Export<W: Write + Send> {
    rows: u64,
    body: Body<W>,
}

enum Body<W: Write + Send> {
    Json(W),
    Csv(W),
    Parquet(Box<parquet::Writer<W>>),
    Ocsf(W, OcsfEvents),
    Aat(Box<trail::Writer<W>>),
}

impl<W: Write + Send> Export<W> {
    /// Begins an export of rows with this schema.
    ///
    /// # Errors
    /// When the form cannot hold such rows, or the file cannot be written.
    pub fn new(plan: Plan, schema: &SchemaRef, mut out: W) -> Result<Self, ExportError> {
        let body = match plan {
            Plan::Plain(Form::Json) => Body::Json(out),
            Plan::Plain(Form::Csv) => {
                csv::head(schema, &mut out)?;
                Body::Csv(out)
            }
            Plan::Plain(Form::Parquet) => {
                Body::Parquet(Box::new(parquet::Writer::new(schema, out)?))
            }
            Plan::Plain(Form::Ocsf) => {
                columns::whole_rows(schema)?;
                Body::Ocsf(out, OcsfEvents::default())
            }
            Plan::Plain(Form::Aat) => return Err(ColumnsError::NoKey.into()),
            Plan::Trail(key, about) => {
                columns::whole_rows(schema)?;
                Body::Aat(Box::new(trail::Writer::new(key, &about, out)?))
            }
        };
        Ok(Self { rows: 0, body })
    }

    /// How many rows it holds so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds rows.
    ///
    /// # Errors
    /// When they do not fit or cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), ExportError> {
        match &mut self.body {
            Body::Json(out) => out.write_all(&lines(batch)?)?,
            Body::Csv(out) => csv::rows(batch, out)?,
            Body::Parquet(writer) => writer.write(batch)?,
            Body::Ocsf(out, events) => {
                for row in columns::rows(batch)? {
                    let mut line = events.event(&row)?;
                    line.push(b'\n');
                    out.write_all(&line)?;
                }
            }
            Body::Aat(trail) => {
                for row in columns::rows(batch)? {
                    trail.row(&row)?;
                }
            }
        }
        let rows = u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        self.rows = self.rows.saturating_add(rows);
        Ok(())
    }

    /// Ends it and gives back where it was written.
    ///
    /// # Errors
    /// When the end cannot be written.
    pub fn finish(self) -> Result<W, ExportError> {
        match self.body {
            Body::Json(out) | Body::Csv(out) | Body::Ocsf(out, _) => Ok(out),
            Body::Parquet(writer) => Ok(writer.finish()?),
            Body::Aat(trail) => trail.finish(),
        }
    }
}

/// The rows as one JSON object on each line.
fn lines(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut out = Vec::new();
    let mut writer = JsonBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, LineDelimited>(&mut out);
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    Ok(out)
}

#[cfg(test)]
mod tests;
