//! Values by number: a state holds numbers, so that it is small to copy and quick to hash,
//! and the shelf has the real value of each.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

/// The number of a value on a shelf. The same value has the same number.
pub(crate) type Ref = u16;

/// Values and their numbers. A value is known by its bytes.
#[derive(Debug)]
pub(crate) struct Shelf<T>(Mutex<Held<T>>);

#[derive(Debug)]
struct Held<T> {
    values: Vec<Arc<T>>,
    known: HashMap<Vec<u8>, Ref>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(Mutex::new(Held {
            values: Vec::new(),
            known: HashMap::new(),
        }))
    }
}

impl<T> Shelf<T> {
    /// The number of `value`, whose bytes are `bytes`.
    pub(crate) fn put(&self, value: T, bytes: Vec<u8>) -> Ref {
        let mut held = self.0.lock().expect("no step panicked");
        let next = Ref::try_from(held.values.len()).expect("a small world has few values");
        if let Some(known) = held.known.get(&bytes) {
            return *known;
        }
        held.known.insert(bytes, next);
        held.values.push(Arc::new(value));
        next
    }

    /// The value with this number.
    pub(crate) fn get(&self, number: Ref) -> Arc<T> {
        let held = self.0.lock().expect("no step panicked");
        Arc::clone(&held.values[usize::from(number)])
    }
}

/// What a pure step gave for what it was given: signatures are not made twice.
#[derive(Debug)]
pub(crate) struct Memo<K, V>(Mutex<HashMap<K, V>>);

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Copy, V: Clone> Memo<K, V> {
    /// What `step` gives for `key`.
    pub(crate) fn of(&self, key: K, step: impl FnOnce() -> V) -> V {
        if let Some(known) = self.0.lock().expect("no step panicked").get(&key) {
            return known.clone();
        }
        let value = step();
        let mut all = self.0.lock().expect("no step panicked");
        all.insert(key, value.clone());
        value
    }
}
