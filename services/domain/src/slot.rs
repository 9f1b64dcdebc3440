//! A value that a rotation replaces while others use it.

use std::sync::{Arc, PoisonError, RwLock};

/// What can be replaced as a whole while others use it. Clones share it.
#[derive(Debug)]
pub(crate) struct Slot<T>(Arc<RwLock<Arc<T>>>);

impl<T> Slot<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }

    pub(crate) fn get(&self) -> Arc<T> {
        // The value is whole after every statement, so a panic elsewhere cannot tear it.
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&held)
    }

    pub(crate) fn put(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
