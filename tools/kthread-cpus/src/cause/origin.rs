// SPDX-License-Identifier: GPL-2.0

//! Who wanted what will run: remembered from the event that wanted it until that which begins it.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use super::tally::Key;
use crate::events::Name;

/// What somebody was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Context {
    /// A task for itself.
    Task,
    /// A task, or nobody that is known, in the course of this.
    In(Key),
    /// An interrupt of which no more is known.
    Hardirq,
    /// A softirq of which no more is known.
    Softirq,
}

/// By what sort of timer something came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Armed {
    /// By none.
    Not,
    /// By one that may expire on another CPU than that which armed it.
    Free,
    /// By one that has to expire where it was to.
    Pinned,
    /// By one that was armed before anybody looked.
    Unknown,
}

/// Who wanted something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The name of the task.
    pub who: Name,
    /// Its number; 0 when there is none.
    pub pid: u32,
    /// Where it was.
    pub cpu: u32,
    /// What it was doing.
    pub context: Context,
    /// Whether it is a timer that it armed, or came about by one.
    pub armed: Armed,
    /// Its callers.
    pub stack: Option<Arc<[u64]>>,
}

/// A map that forgets the oldest entries when there are too many: many a timer is armed and never
/// expires.
#[derive(Debug)]
pub struct Memory<K, V> {
    least: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V> Memory<K, V> {
    /// Returns an empty one, that remembers as many at least, and twice as many at most.
    pub fn new(least: usize) -> Self {
        Self {
            least,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// Remembers something.
    pub fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.least {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// Returns what is remembered.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Returns what is remembered, and forgets it.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let old = self.old.remove(key);

        self.young.remove(key).or(old)
    }

    /// Returns all that is remembered, and forgets it.
    pub fn drain(&mut self) -> impl Iterator<Item = V> {
        // What is in both is newer in one of them.
        let mut all = std::mem::take(&mut self.old);
        all.extend(std::mem::take(&mut self.young));
        all.into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut memory = Memory::new(100);

        for key in 0..300 {
            memory.insert(key, key);
        }
        memory.insert(299, 7);
        assert_eq!(memory.get(&0), None);
        assert_eq!(memory.remove(&299), Some(7));
        assert_eq!(memory.get(&299), None);
        assert!(memory.young.len() + memory.old.len() <= 200);
        assert_eq!(memory.drain().count(), 99);
    }
}
