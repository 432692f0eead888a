// SPDX-License-Identifier: GPL-2.0

//! The host's stand-in for the kernel's `table.rs`: the same interface over `alloc`'s vectors.

use alloc::vec::Vec;

/// There is no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// A vector that never allocates by itself.
///
/// Its room is exactly what was asked for, so that tests find out who counts on more.
pub struct Table<T> {
    items: Vec<T>,
    most: usize,
}

impl<T> Table<T> {
    /// An empty table without room.
    pub const fn new() -> Self {
        Self {
            items: Vec::new(),
            most: 0,
        }
    }

    /// An empty table with room for `room` items.
    pub fn with_room(room: usize) -> Result<Self, NoMemory> {
        Ok(Self {
            items: Vec::with_capacity(room),
            most: room,
        })
    }

    /// How many more items there is room for.
    pub fn room(&self) -> usize {
        self.most - self.items.len()
    }

    /// Appends `item`, or gives it back if there is no room.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        if self.room() == 0 {
            return Err(item);
        }
        self.items.push(item);
        Ok(())
    }

    /// Inserts `item` before the item `at`, or gives it back if there is no room or no such place.
    pub fn insert(&mut self, at: usize, item: T) -> Result<(), T> {
        if self.room() == 0 || at > self.items.len() {
            return Err(item);
        }
        self.items.insert(at, item);
        Ok(())
    }

    /// Removes and returns the item `at`; those behind it move up.
    pub fn remove(&mut self, at: usize) -> Option<T> {
        (at < self.items.len()).then(|| self.items.remove(at))
    }

    /// Removes and returns the last item.
    pub fn pop(&mut self) -> Option<T> {
        self.items.pop()
    }

    /// Moves all items to `to`, as far as there is room for them.
    pub fn move_to(&mut self, to: &mut Self) {
        let count = to.room().min(self.items.len());

        to.items.extend(self.items.drain(..).take(count));
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone> Table<T> {
    /// A table of `count` times `item`.
    pub fn filled(item: T, count: usize) -> Result<Self, NoMemory> {
        let mut table = Self::with_room(count)?;

        table.items.resize(count, item);
        Ok(table)
    }
}

impl<T> core::ops::Deref for Table<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> core::ops::DerefMut for Table<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}
