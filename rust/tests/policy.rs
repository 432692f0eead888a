// SPDX-License-Identifier: GPL-2.0

//! The decisions, on every combination of sets of a few CPUs, against the words of the
//! specification.

use kthread_cpus_core::policy::{self, CpuSet, Cpus, Level, Verdict};

/// Up to 8 CPUs.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Set(u8);

impl CpuSet for Set {
    fn assign(&mut self, other: &Self) {
        *self = *other;
    }

    fn assign_and(&mut self, a: &Self, b: &Self) {
        self.0 = a.0 & b.0;
    }

    fn retain(&mut self, other: &Self) {
        self.0 &= other.0;
    }

    fn empty(&self) -> bool {
        self.0 == 0
    }

    fn is_subset(&self, other: &Self) -> bool {
        self.0 & !other.0 == 0
    }

    fn intersects(&self, other: &Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Every set of three CPUs.
fn sets() -> impl Iterator<Item = Set> {
    (0..8).map(Set)
}

#[test]
fn the_first_level_with_an_online_cpu() {
    let possible = Set(7);

    for confined in sets() {
        for housekeeping in sets() {
            for online in sets() {
                for preferred in sets().map(Some).chain([None]) {
                    let kernel = confined.0 & housekeeping.0;
                    let levels = [
                        preferred.map(|preferred| (Level::Preferred, preferred.0 & kernel)),
                        Some((Level::Confined, kernel)),
                        Some((Level::Housekeeping, housekeeping.0)),
                    ];
                    let (level, allowed) = levels
                        .into_iter()
                        .flatten()
                        .find(|(_, cpus)| cpus & online.0 != 0)
                        .unwrap_or((Level::Possible, possible.0));
                    let cpus = Cpus {
                        confined: &confined,
                        housekeeping: &housekeeping,
                        online: &online,
                        possible: &possible,
                    };
                    let mut got = Set(0xff);

                    assert_eq!(
                        policy::effective(&mut got, preferred.as_ref(), &cpus),
                        level
                    );
                    assert_eq!(got, Set(allowed));
                }
            }
        }
    }
}

#[test]
fn which_options_are_obeyed() {
    for wanted in (0..16).map(Set) {
        for possible in sets() {
            for housekeeping in sets().filter(|set| set.is_subset(&possible)) {
                let expected = if wanted.0 == 0 {
                    Verdict::Empty
                } else if wanted.0 & housekeeping.0 == 0 {
                    Verdict::NoHousekeeping
                } else {
                    Verdict::Obeyed {
                        impossible: wanted.0 & !possible.0 != 0,
                    }
                };
                let mut scratch = Set(0xff);
                let verdict = policy::judge(&wanted, &housekeeping, &possible, &mut scratch);

                assert_eq!(verdict, expected);
            }
        }
    }
}
