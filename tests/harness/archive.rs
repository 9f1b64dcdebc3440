//! The archive as SQL sees it, read from its files without any service, every signature
//! checked.

use std::time::Duration;

use countersign_audit_query::output::{Format, write};
use countersign_audit_query::{Archive, QueryLimits};
use countersign_domain::archive::ManifestPublicKeys;
use serde_json::Value;

use crate::client::PATIENCE;
use crate::deployment::Deployment;
use crate::events::Event;
use crate::wait::eventually;

/// What one query of a test may use.
const LIMITS: QueryLimits = QueryLimits {
    memory_bytes: 256 * 1024 * 1024,
    timeout: Duration::from_secs(120),
    rows: 1_000_000,
};

impl Deployment {
    /// The rows that a query answers now; none while nothing is committed.
    ///
    /// # Panics
    /// When the archive is damaged or the query is refused.
    pub async fn rows(&self, sql: &str) -> Vec<Value> {
        if !self.archive().join("archive/v1").is_dir() {
            return Vec::new();
        }
        let pinned = self.files().dir().join("keys").join("manifest.pub");
        let pinned = std::fs::read_to_string(pinned).expect("init wrote the public key");
        let keys = ManifestPublicKeys::from_pem(&pinned).expect("init wrote a key");
        let archive = Archive::open(self.archive(), keys).expect("the archive is sound");
        let answer = archive
            .query(sql, LIMITS)
            .await
            .expect("the query is answered");
        let json = write(&answer, Format::Json).expect("an answer is JSON");
        serde_json::from_slice(&json).expect("an answer is a list of rows")
    }

    /// Waits until a query answers with at least `count` rows.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn rows_once_there(&self, sql: &str, count: usize) -> Vec<Value> {
        eventually(PATIENCE, &format!("{count} rows of: {sql}"), async || {
            let rows = self.rows(sql).await;
            (rows.len() >= count).then_some(rows)
        })
        .await
    }

    /// Waits until a stored event has its row, and checks that it has one.
    ///
    /// # Panics
    /// When it has none in time, or several.
    pub async fn archived_once(&self, event: &Event) {
        let sql = format!(
            "select event from events where stream = 'CS_EVENTS' and seq = {}",
            event.seq
        );
        let rows = self.rows_once_there(&sql, 1).await;
        assert_eq!(rows.len(), 1, "{}", event.subject);
        assert_eq!(rows[0]["event"], Value::String(event.name()));
    }
}
