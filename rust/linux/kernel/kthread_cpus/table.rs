// SPDX-License-Identifier: GPL-2.0

//! Tables that grow only where it is said, so that nothing is allocated under a lock.

use core::mem::ManuallyDrop;

use kernel::{
    alloc::AllocError,
    prelude::*, //
};

/// There is no memory.
pub type NoMemory = AllocError;

/// A vector that never allocates by itself.
///
/// It costs nothing to drop one without room, while a [`KVVec`] asks the allocator even then. Most
/// calls of the books have several of these.
pub struct Table<T>(ManuallyDrop<KVVec<T>>);

impl<T> Table<T> {
    /// An empty table without room.
    pub const fn new() -> Self {
        Self(ManuallyDrop::new(KVVec::new()))
    }

    /// An empty table with room for `room` items. May sleep.
    pub fn with_room(room: usize) -> Result<Self, NoMemory> {
        KVVec::with_capacity(room, GFP_KERNEL).map(Self::of)
    }

    fn of(items: KVVec<T>) -> Self {
        Self(ManuallyDrop::new(items))
    }

    /// How many more items there is room for.
    #[inline]
    pub fn room(&self) -> usize {
        self.0.capacity() - self.0.len()
    }

    /// Appends `item`, or gives it back if there is no room.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        self.0.push_within_capacity(item).map_err(|error| error.0)
    }

    /// Inserts `item` before the item `at`, or gives it back if there is no room or no such place.
    pub fn insert(&mut self, at: usize, item: T) -> Result<(), T> {
        use kernel::alloc::kvec::InsertError;

        match self.0.insert_within_capacity(at, item) {
            Ok(()) => Ok(()),
            Err(InsertError::IndexOutOfBounds(item) | InsertError::OutOfCapacity(item)) => {
                Err(item)
            }
        }
    }

    /// Removes and returns the item `at`; those behind it move up.
    pub fn remove(&mut self, at: usize) -> Option<T> {
        self.0.remove(at).ok()
    }

    /// Moves all items to `to`, as far as there is room for them.
    pub fn move_to(&mut self, to: &mut Self) {
        let count = to.room().min(self.0.len());
        let mut items = core::mem::take(&mut *self.0);

        for item in items.drain_all().take(count) {
            // There is room for `count` items.
            let _ = to.push(item);
        }
        self.0 = ManuallyDrop::new(items);
    }
}

impl<T> Drop for Table<T> {
    #[inline]
    fn drop(&mut self) {
        if self.0.capacity() > 0 {
            drop(core::mem::take(&mut *self.0));
        }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone> Table<T> {
    /// A table of `count` times `item`. May sleep.
    pub fn filled(item: T, count: usize) -> Result<Self, NoMemory> {
        KVVec::from_elem(item, count, GFP_KERNEL).map(Self::of)
    }
}

impl<T> core::ops::Deref for Table<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> core::ops::DerefMut for Table<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}
