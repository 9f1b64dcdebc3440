//! Trusted facts in their bucket. Agents cannot write there, and the checker cannot either.

use std::time::Duration;

use countersign_domain::policy::Learnt;
use countersign_runtime::bus::layout::{FACT_BYTES_MAX, FACTS};
use countersign_runtime::bus::{Bucket, Bus};
use countersign_schemas::json::parse_strict;
use serde_json::Value;
use tokio::time::timeout;

/// How long a fact may be waited for.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// The bucket of facts.
pub(crate) struct Facts(Bucket);

impl Facts {
    /// The bucket on this connection.
    pub(crate) fn new(bus: &Bus) -> Self {
        Self(Bucket::new(bus, FACTS))
    }

    /// The fact of this key, from the leader; `null` where there is none.
    pub(crate) async fn look_up(&self, key: &str) -> Learnt {
        let found = timeout(READ_TIMEOUT, self.0.get(key)).await;
        let found = found.map_err(|_| "the stored fact does not come in time".to_owned())?;
        let found = found.map_err(|_| "the stored fact cannot be read".to_owned())?;
        let Some(entry) = found else {
            return Ok(Value::Null);
        };
        if entry.value.len() > FACT_BYTES_MAX {
            return Err(format!(
                "the stored fact is longer than {FACT_BYTES_MAX} bytes"
            ));
        }
        parse_strict(&entry.value).map_err(|_| "the stored fact is not strict JSON".to_owned())
    }
}
