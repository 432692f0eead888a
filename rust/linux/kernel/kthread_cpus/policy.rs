// SPDX-License-Identifier: GPL-2.0

//! Where a kernel thread may run.
//!
//! It is decided here, without side effects, over the words of CPU masks, so that it can be tested
//! with CPUs that no machine has. Locking is the caller's.

/// The words of a CPU mask as a set of CPUs. All masks have the same number of them.
///
/// Where that says so, it is not inlined, as the loop over what are few words would be unrolled.
pub trait CpuSet: AsRef<[usize]> + AsMut<[usize]> {
    /// Makes this set equal to `other`.
    #[inline(never)]
    fn assign(&mut self, other: &[usize]) {
        for (to, from) in self.as_mut().iter_mut().zip(other) {
            *to = *from;
        }
    }

    /// Removes from this set what is not in `other`.
    #[inline(never)]
    fn retain(&mut self, other: &[usize]) {
        for (to, other) in self.as_mut().iter_mut().zip(other) {
            *to &= other;
        }
    }

    /// Removes from this set what is in `other`.
    #[inline(never)]
    fn exclude(&mut self, other: &[usize]) {
        for (to, other) in self.as_mut().iter_mut().zip(other) {
            *to &= !other;
        }
    }

    /// Adds to this set what is in `other`.
    #[inline(never)]
    fn unite(&mut self, other: &[usize]) {
        for (to, other) in self.as_mut().iter_mut().zip(other) {
            *to |= other;
        }
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
}

impl CpuSet for [usize] {}

/// The CPUs of the system that decide.
pub struct Cpus<'a> {
    /// The CPUs to which the class of work is confined.
    pub confined: &'a [usize],
    /// `housekeeping_cpumask(HK_TYPE_DOMAIN)`.
    pub housekeeping: &'a [usize],
    /// The CPUs that can run work now, less those on their way down.
    pub online: &'a [usize],
    /// The CPUs that may ever come online.
    pub possible: &'a [usize],
}

/// Sets `allowed` to where a thread with the preference `preferred` may run: the first of these
/// levels that has an online CPU, and the last if none has.
///
/// 1. the preference, as far as it is in level 2, if there is one,
/// 2. the housekeeping CPUs to which the class of work is confined,
/// 3. the housekeeping CPUs,
/// 4. every possible CPU.
///
/// The mask keeps the CPUs of its level that are offline, so that nothing is left to do when these
/// come online.
pub fn effective(allowed: &mut [usize], preferred: Option<&[usize]>, cpus: &Cpus<'_>) {
    effective_until(allowed, preferred.unwrap_or_default(), cpus, &mut []);
}

/// As [`effective()`], and adds to `better` the CPUs that would change it if they came online. With
/// no CPU in `preferred`, and also without words, there is no preference.
pub fn effective_until(
    allowed: &mut [usize],
    preferred: &[usize],
    cpus: &Cpus<'_>,
    better: &mut [usize],
) {
    for narrowing in [&[preferred, cpus.confined][..], &[cpus.confined], &[]] {
        allowed.assign(cpus.housekeeping);
        for cpus in narrowing {
            allowed.retain(cpus);
        }
        if allowed.intersects(cpus.online) {
            return;
        }
        better.unite(allowed);
    }
    allowed.assign(cpus.possible);
}
