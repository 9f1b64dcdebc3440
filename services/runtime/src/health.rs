//! What `/readyz` and `doctor` say: every part of a service, and what is wrong with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// The state of one part of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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

/// All parts of a service. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct HealthHandle {
    parts: Arc<Mutex<BTreeMap<String, Health>>>,
    /// Whose parts this handle adds, where several services share a process.
    owner: Option<&'static str>,
}

impl HealthHandle {
    /// Without any part: ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same state for one of several services in a process: its parts are named
    /// `<service>/<part>`.
    #[must_use]
    pub fn of(&self, service: &'static str) -> Self {
        Self {
            parts: Arc::clone(&self.parts),
            owner: Some(service),
        }
    }

    /// Adds a part, which is starting until it says otherwise.
    #[must_use]
    pub fn part(&self, name: &'static str) -> HealthPart {
        let name = match self.owner {
            Some(owner) => format!("{owner}/{name}"),
            None => name.to_owned(),
        };
        self.set(&name, Health::Starting);
        HealthPart {
            name,
            handle: self.clone(),
        }
    }

    /// Whether every part is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.lock().values().all(|health| *health == Health::Ready)
    }

    /// Every part with its state.
    #[must_use]
    pub fn report(&self) -> BTreeMap<String, Health> {
        self.lock().clone()
    }

    fn set(&self, name: &str, health: Health) {
        let before = self.lock().insert(name.to_owned(), health.clone());
        if before.as_ref() == Some(&health) {
            return;
        }
        match health {
            Health::Starting => tracing::debug!(part = name, "starting"),
            Health::Ready => tracing::info!(part = name, "ready"),
            Health::Failing { reason } => tracing::warn!(part = name, reason, "not ready"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Health>> {
        // The map is whole after every statement, so a panic elsewhere cannot have torn it.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_that_is_not_ready_makes_the_whole_not_ready() {
        let health = HealthHandle::new();
        assert!(health.is_ready());
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
}
