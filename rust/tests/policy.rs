// SPDX-License-Identifier: GPL-2.0

//! The decisions, on every combination of sets of a few CPUs, against the words of the
//! specification.

use kthread_cpus_core::{
    cpumask::sets::CpuSet,
    policy::{self, Cpus},
};

/// The first CPU of three that are in two words.
const FIRST: u32 = usize::BITS - 1;

/// A mask of the CPUs of `set`, a set of three CPUs.
fn mask(set: usize) -> [usize; 2] {
    [set << FIRST, set >> 1]
}

#[test]
fn the_first_level_with_an_online_cpu() {
    let possible = 7;

    for confined in 0..8 {
        for housekeeping in 0..8 {
            for online in 0..8 {
                for preferred in (0..8).map(Some).chain([None]) {
                    let kernel = confined & housekeeping;
                    let levels = [
                        preferred.map(|preferred| preferred & kernel),
                        Some(kernel),
                        Some(housekeeping),
                    ];
                    let allowed = levels
                        .into_iter()
                        .flatten()
                        .find(|cpus| cpus & online != 0)
                        .unwrap_or(possible);
                    let cpus = Cpus {
                        confined: &mask(confined),
                        housekeeping: &mask(housekeeping),
                        online: &mask(online),
                        possible: &mask(possible),
                    };
                    let preferred = preferred.map(mask);
                    let preferred = preferred.as_ref().map_or(&[][..], |words| words);
                    let mut got = [usize::MAX; 2];

                    policy::effective(&mut got, preferred, &cpus, &mut []);
                    assert_eq!(got, mask(allowed));
                }
            }
        }
    }
}

#[test]
fn how_sets_compare() {
    for a in 0..8 {
        assert_eq!(mask(a)[..].empty(), a == 0);
        for b in 0..8 {
            assert_eq!(mask(a)[..].is_subset(&mask(b)), a & !b == 0);
            assert_eq!(mask(a)[..].intersects(&mask(b)), a & b != 0);
        }
    }
}
