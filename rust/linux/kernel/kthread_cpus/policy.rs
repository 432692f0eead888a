// SPDX-License-Identifier: GPL-2.0

//! Where a kernel thread may run, and which boot option can be obeyed.
//!
//! The decisions are made here, without side effects, over any kind of CPU set, so that they can be
//! tested with CPUs that no machine has. Locking is the caller's.

/// A set of CPUs, as far as the policy needs one.
pub trait CpuSet {
    /// Makes this set equal to `other`.
    fn assign(&mut self, other: &Self);

    /// Makes this set the intersection of `a` and `b`.
    fn assign_and(&mut self, a: &Self, b: &Self);

    /// Removes from this set what is not in `other`.
    fn retain(&mut self, other: &Self);

    /// Whether there is no CPU in this set.
    fn empty(&self) -> bool;

    /// Whether every CPU of this set is in `other`.
    fn is_subset(&self, other: &Self) -> bool;

    /// Whether a CPU is in both sets.
    fn intersects(&self, other: &Self) -> bool;
}

/// The words of a mask. Both sides have the same number of them.
impl CpuSet for [usize] {
    #[inline]
    fn assign(&mut self, other: &Self) {
        for (to, from) in self.iter_mut().zip(other) {
            *to = *from;
        }
    }

    #[inline]
    fn assign_and(&mut self, a: &Self, b: &Self) {
        for (to, (a, b)) in self.iter_mut().zip(a.iter().zip(b)) {
            *to = a & b;
        }
    }

    #[inline]
    fn retain(&mut self, other: &Self) {
        for (to, other) in self.iter_mut().zip(other) {
            *to &= other;
        }
    }

    #[inline]
    fn empty(&self) -> bool {
        self.iter().all(|word| *word == 0)
    }

    #[inline]
    fn is_subset(&self, other: &Self) -> bool {
        self.iter()
            .zip(other)
            .all(|(word, other)| word & !other == 0)
    }

    #[inline]
    fn intersects(&self, other: &Self) -> bool {
        self.iter()
            .zip(other)
            .any(|(word, other)| word & other != 0)
    }
}

/// The level that a thread's allowed mask comes from: the first with an online CPU, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The thread's preference, as far as it is in [`Level::Confined`].
    Preferred,
    /// The housekeeping CPUs to which the class of work is confined.
    Confined,
    /// The housekeeping CPUs.
    Housekeeping,
    /// Every possible CPU.
    Possible,
}

/// The CPUs of the system that decide.
pub struct Cpus<'a, S: ?Sized> {
    /// The CPUs to which the class of work is confined.
    pub confined: &'a S,
    /// `housekeeping_cpumask(HK_TYPE_DOMAIN)`.
    pub housekeeping: &'a S,
    /// The CPUs that can run work now, less those on their way down.
    pub online: &'a S,
    /// The CPUs that may ever come online.
    pub possible: &'a S,
}

/// Sets `allowed` to where a thread with the preference `preferred` may run, and returns the level
/// that this is. A thread without a preference is never at [`Level::Preferred`].
///
/// The mask keeps the CPUs of its level that are offline, so that nothing is left to do when these
/// come online.
pub fn effective<S: CpuSet + ?Sized>(
    allowed: &mut S,
    preferred: Option<&S>,
    cpus: &Cpus<'_, S>,
) -> Level {
    if let Some(preferred) = preferred {
        allowed.assign_and(cpus.confined, cpus.housekeeping);
        allowed.retain(preferred);
        if allowed.intersects(cpus.online) {
            return Level::Preferred;
        }
    }

    allowed.assign_and(cpus.confined, cpus.housekeeping);
    if allowed.intersects(cpus.online) {
        return Level::Confined;
    }

    if cpus.housekeeping.intersects(cpus.online) {
        allowed.assign(cpus.housekeeping);
        return Level::Housekeeping;
    }

    allowed.assign(cpus.possible);
    Level::Possible
}

/// What becomes of the CPU list of a boot option that is well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is no CPU in it: it is ignored.
    Empty,
    /// None of its CPUs is a housekeeping CPU: it is ignored.
    NoHousekeeping,
    /// It is obeyed, as far as its CPUs are possible.
    Obeyed {
        /// Whether it names CPUs that are not possible.
        impossible: bool,
    },
}

/// Decides about the CPU list `wanted` of the boot option, with `housekeeping` and `possible` being
/// what they are at boot. `scratch` is overwritten.
pub fn judge<S: CpuSet + ?Sized>(
    wanted: &S,
    housekeeping: &S,
    possible: &S,
    scratch: &mut S,
) -> Verdict {
    if wanted.empty() {
        return Verdict::Empty;
    }

    // Every housekeeping CPU is possible.
    scratch.assign_and(wanted, housekeeping);
    if scratch.empty() {
        return Verdict::NoHousekeeping;
    }

    Verdict::Obeyed {
        impossible: !wanted.is_subset(possible),
    }
}
