// SPDX-License-Identifier: GPL-2.0

//! The words of CPU masks as sets of CPUs.
//!
//! They need not be those of a `struct cpumask`, so that what is decided by them can be tested
//! with CPUs that no machine has, and elsewhere than in the kernel. Locking is the caller's.

use crate::{
    alloc::AllocError,
    fmt,
    prelude::*, //
};

/// Has `with` set each word of `to` from that and the one of `other`.
#[inline(never)]
fn combine(to: &mut [usize], other: &[usize], with: impl Fn(usize, usize) -> usize) {
    for (to, other) in to.iter_mut().zip(other) {
        *to = with(*to, *other);
    }
}

/// The words of a CPU mask as a set of CPUs. All masks have the same number of them.
///
/// Most loops over them are not inlined, as they would be unrolled for what are few words.
pub trait CpuSet: AsRef<[usize]> + AsMut<[usize]> {
    /// Makes this set equal to `other`.
    fn assign(&mut self, other: &[usize]) {
        combine(self.as_mut(), other, |_, other| other);
    }

    /// Removes from this set what is not in `other`.
    fn retain(&mut self, other: &[usize]) {
        combine(self.as_mut(), other, |word, other| word & other);
    }

    /// Removes from this set what is in `other`.
    fn exclude(&mut self, other: &[usize]) {
        combine(self.as_mut(), other, |word, other| word & !other);
    }

    /// Adds to this set what is in `other`.
    fn unite(&mut self, other: &[usize]) {
        combine(self.as_mut(), other, |word, other| word | other);
    }

    /// Puts `cpu` into this set or takes it out of it. Returns whether that has changed it.
    fn put(&mut self, cpu: usize, is_in: bool) -> bool {
        let has_changed = self.has(cpu) != is_in;

        if let Some(word) = self.as_mut().get_mut(cpu / usize::BITS as usize) {
            *word ^= usize::from(has_changed) << (cpu % usize::BITS as usize);
        }
        has_changed
    }

    /// Whether there is no CPU in this set.
    fn empty(&self) -> bool {
        self.as_ref().iter().all(|word| *word == 0)
    }

    /// Whether `cpu` is in this set.
    fn has(&self, cpu: usize) -> bool {
        let word = self.as_ref().get(cpu / usize::BITS as usize);

        word.is_some_and(|word| (word >> (cpu % usize::BITS as usize)) & 1 != 0)
    }

    /// Whether every CPU of this set is in `other`.
    #[inline(never)]
    fn is_subset(&self, other: &[usize]) -> bool {
        let mut words = self.as_ref().iter().zip(other);

        words.all(|(word, other)| word & !other == 0)
    }

    /// The first CPU that is in both sets.
    #[inline(never)]
    fn first_common(&self, other: &[usize]) -> Option<usize> {
        let words = self.as_ref().iter().zip(other).map(|(a, b)| a & b);
        let (at, word) = words.enumerate().find(|(_, word)| *word != 0)?;

        Some(at * usize::BITS as usize + word.trailing_zeros() as usize)
    }

    /// Whether a CPU is in both sets.
    fn intersects(&self, other: &[usize]) -> bool {
        self.first_common(other).is_some()
    }

    /// Whether a CPU is in all three sets.
    #[inline(never)]
    fn meets(&self, other: &[usize], third: &[usize]) -> bool {
        let mut words = self.as_ref().iter().zip(other).zip(third);

        words.any(|((a, b), c)| a & b & c != 0)
    }
}

impl CpuSet for [usize] {}

/// Masks of `words` words without a CPU, or [`AllocError`] if there is no memory. May sleep.
#[inline(never)]
pub fn no_cpus<const N: usize>(words: usize) -> Result<[KVec<usize>; N], AllocError> {
    let mut masks = [const { KVec::new() }; N];

    for mask in &mut masks {
        *mask = KVec::from_elem(0, words, GFP_KERNEL)?;
    }
    Ok(masks)
}

/// The CPUs of a mask as a list for the log, such as `0-3,8`, of which not all are shown if there
/// are many ranges: a line of the log ends after about 1,000 bytes.
pub struct Shown<'a>(pub &'a [usize]);

impl fmt::Display for Shown<'_> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const RANGES: usize = 16;
        let cpus = self.0.len() * usize::BITS as usize;
        let (mut from, mut ranges, mut comma) = (0, 0, "");

        while let Some(first) = (from..cpus).find(|cpu| self.0.has(*cpu)) {
            if ranges == RANGES {
                return f.write_str(",...");
            }
            from = (first..cpus).find(|cpu| !self.0.has(*cpu)).unwrap_or(cpus);
            write!(f, "{comma}{first}")?;
            if from - first > 1 {
                write!(f, "-{}", from - 1)?;
            }
            (ranges, comma) = (ranges + 1, ",");
        }
        Ok(())
    }
}
