// SPDX-License-Identifier: GPL-2.0

//! The host's stand-in for what the registry needs of the kernel's `alloc`: the same interface over the
//! vectors of the host.

use std_alloc::vec::{Drain, Vec};

/// There is no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError;

/// How to allocate. The host does it as ever.
#[derive(Clone, Copy, Debug)]
pub struct Flags;

/// The caller may sleep.
pub const GFP_KERNEL: Flags = Flags;

/// A vector that allocates only where it is said.
///
/// Its capacity is exactly what was asked for, so that tests find out who counts on more.
pub struct KVVec<T> {
    items: Vec<T>,
    capacity: usize,
}

/// There is one kind of memory here.
pub type KVec<T> = KVVec<T>;

impl<T> KVVec<T> {
    /// An empty vector without capacity.
    pub const fn new() -> Self {
        Self {
            items: Vec::new(),
            capacity: 0,
        }
    }

    /// An empty vector with room for `capacity` items.
    pub fn with_capacity(capacity: usize, _: Flags) -> Result<Self, AllocError> {
        Ok(Self {
            items: Vec::with_capacity(capacity),
            capacity,
        })
    }

    /// How many items there is room for.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Appends `item`, or gives it back if there is no room.
    pub fn push_within_capacity(&mut self, item: T) -> Result<(), T> {
        self.insert_within_capacity(self.items.len(), item)
    }

    /// Inserts `item` before the item `at`, or gives it back if there is no room or no such place.
    pub fn insert_within_capacity(&mut self, at: usize, item: T) -> Result<(), T> {
        if self.items.len() == self.capacity || at > self.items.len() {
            return Err(item);
        }
        self.items.insert(at, item);
        Ok(())
    }

    /// Removes and returns the item `at`, if there is one; those behind it move up.
    pub fn remove(&mut self, at: usize) -> Result<T, usize> {
        if at >= self.items.len() {
            return Err(at);
        }
        Ok(self.items.remove(at))
    }

    /// Removes and returns the last item, if there is one.
    pub fn pop(&mut self) -> Option<T> {
        self.items.pop()
    }

    /// Removes and returns all items.
    pub fn drain_all(&mut self) -> Drain<'_, T> {
        self.items.drain(..)
    }
}

impl<T: Clone> KVVec<T> {
    /// A vector of `count` times `item`.
    pub fn from_elem(item: T, count: usize, flags: Flags) -> Result<Self, AllocError> {
        let mut vector = Self::with_capacity(count, flags)?;

        vector.items.resize(count, item);
        Ok(vector)
    }
}

impl<T> Default for KVVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> core::ops::Deref for KVVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> core::ops::DerefMut for KVVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}
