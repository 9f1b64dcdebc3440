//! An opened archive, and read-only SQL over it.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use countersign_domain::archive::{ChainState, ManifestPublicKeys};
use countersign_runtime::archive::Place;
use datafusion::config::Dialect;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt as _;

use crate::json;
use crate::manifest::{Manifest, OpenError};
use crate::store::ArchiveOnly;
use crate::table;

/// Longest statement, in bytes: any question a person writes is far shorter, and planning
/// time grows with it.
pub const SQL_BYTES_MAX: usize = 64 * 1024;

/// How much one query may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLimits {
    /// Memory of its operators, and of the answer, in bytes.
    pub memory_bytes: usize,
    /// How long it may run.
    pub timeout: Duration,
    /// Rows of the answer.
    pub rows: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 512 * 1024 * 1024,
            timeout: Duration::from_secs(30),
            rows: 10_000,
        }
    }
}

/// Why there is no answer. An answer is never cut without a word.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The archive cannot be opened or went bad.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file that the manifest lists is gone or has another size.
    #[error("file `{path}` of the archive is missing or cut; run `countersign audit verify`")]
    File {
        /// Which.
        path: String,
    },
    /// The statement is longer than any question.
    #[error("the statement has more than {SQL_BYTES_MAX} bytes; shorten it")]
    TooLong,
    /// The statement would change something or reach outside the archive.
    #[error(
        "only reading is possible here: one SELECT, EXPLAIN, SHOW or DESCRIBE over the tables \
         events, actions, approvals and windows ({0})"
    )]
    NotReading(String),
    /// The statement is wrong.
    #[error("cannot answer: {0}")]
    Sql(String),
    /// It needs too much memory.
    #[error(
        "the query needs more than {} MiB of memory; narrow it by time or intent, or group by \
         fewer values", bytes / (1024 * 1024)
    )]
    Memory {
        /// The limit.
        bytes: usize,
    },
    /// It runs too long.
    #[error("the query ran longer than {} s; narrow it by time or intent", after.as_secs())]
    Time {
        /// The limit.
        after: Duration,
    },
    /// The answer is too long.
    #[error("the answer has more than {max} rows; add LIMIT {max} or a narrower WHERE")]
    Rows {
        /// The limit.
        max: usize,
    },
}

/// The answer to a query.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
}

impl Answer {
    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// An answer that is being made, batch after batch.
pub struct Rows {
    /// Its columns.
    pub schema: SchemaRef,
    stream: SendableRecordBatchStream,
    limits: QueryLimits,
}

impl Rows {
    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// When a file cannot be read or the memory does not suffice.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, QueryError> {
        let next = self.stream.next().await.transpose();
        next.map_err(|error| failed(error, self.limits))
    }
}

/// An opened archive. A clone is cheap and stays as it is.
#[derive(Debug, Clone)]
pub struct Archive {
    manifest: Manifest,
    /// Holds the store and the caches of footers; each query gets its own memory pool.
    runtime: Arc<RuntimeEnv>,
}

impl Archive {
    /// Opens the archive at `place` and checks the chain of its manifest, and the signatures
    /// if `keys` holds any key. It reads no event yet.
    ///
    /// # Errors
    /// When there is no archive or its manifest is damaged.
    pub fn open(place: impl Into<Place>, keys: ManifestPublicKeys) -> Result<Self, QueryError> {
        let manifest = Manifest::open(&place.into(), keys)?;
        let store = manifest.store().objects().map_err(OpenError::from)?;
        let store = ArchiveOnly::new(store);
        let spill_nothing = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        let runtime = RuntimeEnvBuilder::new()
            .with_object_store_registry(Arc::new(store))
            .with_disk_manager_builder(spill_nothing)
            .build_arc()
            .map_err(sql)?;
        Ok(Self { manifest, runtime })
    }

    /// Takes in what has been committed since. Returns whether there was anything.
    ///
    /// # Errors
    /// When a new entry is damaged.
    pub fn refresh(&mut self) -> Result<bool, QueryError> {
        Ok(self.manifest.refresh()?)
    }

    /// How far the manifest has been read.
    #[must_use]
    pub fn head(&self) -> &ChainState {
        self.manifest.chain()
    }

    /// Answers one reading statement.
    ///
    /// # Errors
    /// When the statement does anything but read, is wrong, or passes a limit.
    pub async fn query(&self, statement: &str, limits: QueryLimits) -> Result<Answer, QueryError> {
        tokio::time::timeout(limits.timeout, self.answer(statement, limits))
            .await
            .map_err(|_| QueryError::Time {
                after: limits.timeout,
            })?
    }

    async fn answer(&self, statement: &str, limits: QueryLimits) -> Result<Answer, QueryError> {
        let mut found = self.rows(statement, limits).await?;
        let (mut batches, mut rows, mut bytes) = (Vec::new(), 0_usize, 0_usize);
        while let Some(batch) = found.next().await? {
            rows = rows.saturating_add(batch.num_rows());
            bytes = bytes.saturating_add(batch.get_array_memory_size());
            if rows > limits.rows {
                return Err(QueryError::Rows { max: limits.rows });
            }
            if bytes > limits.memory_bytes {
                return Err(QueryError::Memory {
                    bytes: limits.memory_bytes,
                });
            }
            batches.push(batch);
        }
        let schema = found.schema;
        Ok(Answer { schema, batches })
    }

    /// Answers one reading statement batch after batch, however long the answer is and
    /// takes; of the limits only that of the memory counts.
    ///
    /// # Errors
    /// When the statement does anything but read or is wrong.
    pub async fn rows(&self, statement: &str, limits: QueryLimits) -> Result<Rows, QueryError> {
        if statement.len() > SQL_BYTES_MAX {
            return Err(QueryError::TooLong);
        }
        self.check_files().await?;
        let session = self.session(limits).await.map_err(sql)?;
        let frame = session
            .sql_with_options(statement, read_only())
            .await
            .map_err(|error| refused(&error).unwrap_or_else(|| failed(error, limits)))?;
        let frame = json::as_text(frame).map_err(sql)?;
        let schema = SchemaRef::new(frame.schema().as_arrow().clone());
        let stream = frame
            .execute_stream()
            .await
            .map_err(|error| failed(error, limits))?;
        Ok(Rows {
            schema,
            stream,
            limits,
        })
    }

    /// The engine leaves out a file that is not there without a word; an audit log that is
    /// silently shorter is worse than no answer.
    async fn check_files(&self) -> Result<(), QueryError> {
        let manifest = self.manifest.clone();
        // On a thread that may wait for disk or network.
        let checked = tokio::task::spawn_blocking(move || whole(&manifest)).await;
        checked.unwrap_or_else(|error| Err(OpenError::Look(error.to_string()).into()))
    }

    async fn session(&self, limits: QueryLimits) -> Result<SessionContext, DataFusionError> {
        let runtime = RuntimeEnvBuilder::from_runtime_env(&self.runtime)
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(limits.memory_bytes)))
            .build_arc()?;
        let mut config = SessionConfig::new().with_information_schema(true);
        // Measured: a look-up of one agent is fourteen times as fast.
        config.options_mut().execution.parquet.pushdown_filters = true;
        // The generic one takes the JSON operator `?` for a parameter.
        config.options_mut().sql_parser.dialect = Dialect::PostgreSQL;
        let mut session = SessionContext::new_with_config_rt(config, runtime);
        datafusion_functions_json::register_all(&mut session)?;
        table::register(&session, self.manifest.files()).await?;
        Ok(session)
    }
}

/// Whether every file of the manifest is there in its size.
fn whole(manifest: &Manifest) -> Result<(), QueryError> {
    let gone = manifest.store().first_missing(manifest.files());
    match gone.map_err(OpenError::from)? {
        Some(path) => Err(QueryError::File { path }),
        None => Ok(()),
    }
}

/// All three are on by default; the last one means SET, transactions and PREPARE.
fn read_only() -> SQLOptions {
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
}

fn sql(error: DataFusionError) -> QueryError {
    QueryError::Sql(error.strip_backtrace())
}

/// What the engine says of a statement that is no query.
fn refused(error: &DataFusionError) -> Option<QueryError> {
    let text = error.strip_backtrace();
    let marks = [
        "DDL not supported",
        "DML not supported",
        "Statement not supported",
        "single SQL statement",
        "Unsupported SQL statement",
        "not implemented: ",
    ];
    let short: String = text.chars().take(200).collect();
    marks
        .iter()
        .any(|mark| text.contains(mark))
        .then_some(QueryError::NotReading(short))
}

fn failed(error: DataFusionError, limits: QueryLimits) -> QueryError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => QueryError::Memory {
            bytes: limits.memory_bytes,
        },
        _ => sql(error),
    }
}
