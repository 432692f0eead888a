// SPDX-License-Identifier: GPL-2.0

//! Where a kernel thread may run, decided without side effects. Locking is the caller's.

use kernel::cpumask::sets::CpuSet;

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

/// Sets `allowed` to where a thread may run: the first of these levels that has an online CPU, and
/// the last if none has. Adds to `better` the CPUs that would change that if they came online.
///
/// 1. the preference, as far as it is in level 2; none if `preferred` has no CPU, or no words,
/// 2. the housekeeping CPUs to which the class of work is confined,
/// 3. the housekeeping CPUs,
/// 4. every possible CPU.
///
/// The mask keeps the CPUs of its level that are offline, so that nothing is left to do when these
/// come online.
pub fn effective(
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
