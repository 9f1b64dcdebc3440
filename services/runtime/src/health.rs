//! What `/readyz` and `countersign status` say: every part of a service, and what is wrong
//! with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_schemas::Timestamp;
use serde::{Deserialize, Serialize};

/// The state of one part of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Health {
    /// Not ready yet.
    Starting,
    /// Doing its work.
    Ready,
    /// Not doing its work.
    Failing {
        /// Why, in one sentence without any value of an input.
        reason: String,
    },
}

/// What one running service says of itself on `cs.health.<operator>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceHealth {
    /// Its name.
    pub service: String,
    /// Its version.
    pub version: String,
    /// When it was started.
    pub since: Timestamp,
    /// Whether it has parts, and every one is ready.
    pub ready: bool,
    /// Its parts.
    pub parts: BTreeMap<String, Health>,
    /// What it counts, by `<what>.<of>`, such as `behind.CS_EVENTS`.
    pub numbers: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
struct State {
    parts: BTreeMap<String, Health>,
    numbers: BTreeMap<String, u64>,
}

/// All parts of a service. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct HealthHandle {
    state: Arc<Mutex<State>>,
    /// Whose parts this handle adds, where several services share a process.
    owner: Option<&'static str>,
}

impl HealthHandle {
    /// Without any part, so not ready yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same state for one of several services in a process: its parts are named
    /// `<service>/<part>`.
    #[must_use]
    pub fn of(&self, service: &'static str) -> Self {
        Self {
            state: Arc::clone(&self.state),
            owner: Some(service),
        }
    }

    /// Adds a part, which is starting until it says otherwise.
    #[must_use]
    pub fn part(&self, name: &'static str) -> HealthPart {
        let name = self.named(name.to_owned());
        self.set(&name, Health::Starting);
        HealthPart {
            name,
            handle: self.clone(),
        }
    }

    /// Adds a number called `<what>.<of>`, which nobody knows until it is set.
    #[must_use]
    pub fn number(&self, what: &str, of: &str) -> HealthNumber {
        HealthNumber {
            name: self.named(format!("{what}.{of}")),
            handle: self.clone(),
        }
    }

    fn named(&self, name: String) -> String {
        match self.owner {
            Some(owner) => format!("{owner}/{name}"),
            None => name,
        }
    }

    /// Whether there are parts, and every one is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        all_ready(&self.lock().parts)
    }

    /// Every part with its state.
    #[must_use]
    pub fn report(&self) -> BTreeMap<String, Health> {
        self.lock().parts.clone()
    }

    /// What the service of this handle says of itself, which runs since then.
    #[must_use]
    pub fn tell(&self, service: &str, since: Timestamp) -> ServiceHealth {
        let state = self.lock();
        let parts = self.own(&state.parts);
        ServiceHealth {
            service: service.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since,
            ready: all_ready(&parts),
            parts,
            numbers: self.own(&state.numbers),
        }
    }

    /// What this handle's service added, under the names that it gave.
    fn own<T: Clone>(&self, all: &BTreeMap<String, T>) -> BTreeMap<String, T> {
        let prefix = self.named(String::new());
        let own = |(name, value): (&String, &T)| {
            let name = name.strip_prefix(&prefix)?;
            Some((name.to_owned(), value.clone()))
        };
        all.iter().filter_map(own).collect()
    }

    fn set(&self, name: &str, health: Health) {
        let before = self.lock().parts.insert(name.to_owned(), health.clone());
        if before.as_ref() == Some(&health) {
            return;
        }
        match health {
            Health::Starting => tracing::debug!(part = name, "starting"),
            Health::Ready => tracing::info!(part = name, "ready"),
            Health::Failing { reason } => tracing::warn!(part = name, reason, "not ready"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The maps are whole after every statement, so a panic elsewhere cannot have torn
        // them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A service that has begun nothing yet has no part, and is no more ready than one that has
/// begun.
fn all_ready(parts: &BTreeMap<String, Health>) -> bool {
    !parts.is_empty() && parts.values().all(|health| *health == Health::Ready)
}

/// One part of a service, which reports its own state.
#[derive(Debug, Clone)]
pub struct HealthPart {
    name: String,
    handle: HealthHandle,
}

impl HealthPart {
    /// It does its work.
    pub fn ready(&self) {
        self.handle.set(&self.name, Health::Ready);
    }

    /// It does not, and why.
    pub fn failing(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.handle.set(&self.name, Health::Failing { reason });
    }
}

/// One number that a service tells of its work.
#[derive(Debug, Clone)]
pub struct HealthNumber {
    name: String,
    handle: HealthHandle,
}

impl HealthNumber {
    /// It is `value` now.
    pub fn set(&self, value: u64) {
        self.handle.lock().numbers.insert(self.name.clone(), value);
    }

    /// Nobody knows it now.
    pub fn forget(&self) {
        self.handle.lock().numbers.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_that_is_not_ready_makes_the_whole_not_ready() {
        let health = HealthHandle::new();
        assert!(!health.is_ready(), "nothing has begun");
        assert!(!health.tell("x", Timestamp::EPOCH).ready);
        let bus = health.part("bus");
        let policy = health.part("policy");
        assert!(!health.is_ready());
        bus.ready();
        assert!(!health.is_ready());
        policy.ready();
        assert!(health.is_ready());
        bus.failing("disconnected");
        assert!(!health.clone().is_ready());
        let reason = "disconnected".to_owned();
        assert_eq!(
            health.report().get("bus"),
            Some(&Health::Failing { reason })
        );
    }

    #[test]
    fn services_in_one_process_do_not_hide_each_other() {
        let health = HealthHandle::new();
        let one = health.of("one").part("connection");
        let two = health.of("two").part("connection");
        one.failing("disconnected");
        two.ready();
        assert!(!health.is_ready());
        let parts: Vec<String> = health.report().into_keys().collect();
        assert_eq!(parts, ["one/connection", "two/connection"]);
    }

    #[test]
    fn a_service_tells_its_own_parts_and_numbers_under_its_own_names() {
        let health = HealthHandle::new();
        let (one, two) = (health.of("one"), health.of("two"));
        one.part("connection").ready();
        two.part("connection").failing("disconnected");
        let behind = one.number("behind", "CS_EVENTS");
        behind.set(7);
        two.number("behind", "CS_EVENTS").set(9);
        let told = one.tell("one", Timestamp::EPOCH);
        assert!(told.ready, "{told:?}");
        assert_eq!(told.parts.keys().collect::<Vec<_>>(), ["connection"]);
        assert_eq!(told.numbers.get("behind.CS_EVENTS"), Some(&7));
        behind.forget();
        assert!(one.tell("one", Timestamp::EPOCH).numbers.is_empty());
        assert!(!two.tell("two", Timestamp::EPOCH).ready);
        let alone = HealthHandle::new();
        alone.part("bus").ready();
        let told = alone.tell("x", Timestamp::EPOCH);
        let text = serde_json::to_vec(&told).unwrap();
        let read: ServiceHealth = serde_json::from_slice(&text).unwrap();
        assert_eq!(read, told);
        assert!(read.parts.contains_key("bus"));
    }
}
