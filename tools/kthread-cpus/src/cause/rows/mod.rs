// SPDX-License-Identifier: GPL-2.0

//! The rows of the table of causes and remedies. `causes.rst` is made from them: see
//! [`super::document`].
//!
//! The first row that fits counts, so the particular ones come before the general ones.

use super::{
    table::{Means, Row},
    Kind,
};

mod interrupts;
mod threads;
mod timers;
mod work;

pub use threads::{BOUND, PER_CPU, STEERED};
pub use work::UNBOUND;

/// Keeps timers off a CPU that CPUs of the list have armed and that are not pinned.
const OTHERS_TIMERS: &str =
    "kthread_cpus={list} (flag timer), or without it nohz_full= with this CPU, or \
    isolcpus=domain (not on Linux 6.9 to 6.18)";

const fn row(
    kind: Kind,
    names: &'static [&'static str],
    why: &'static str,
    means: Means,
    remedy: &'static str,
) -> Row {
    Row {
        kind,
        names,
        queues: &[],
        why,
        means,
        remedy,
        by_timer: None,
        by_name: None,
        again: None,
    }
}

const fn work(
    names: &'static [&'static str],
    queues: &'static [&'static str],
    why: &'static str,
    means: Means,
    remedy: &'static str,
) -> Row {
    Row {
        queues,
        ..row(Kind::Work, names, why, means, remedy)
    }
}

/// What has come to a CPU outside by such a timer arms itself there from then on.
const GOES_ON: &str =
    "it goes on where it began: kthread_cpus={list} (flag timer) from boot on keeps off what \
    began on CPUs {list}";

impl Row {
    const fn by_timer(mut self, means: Means, remedy: &'static str) -> Self {
        self.by_timer = Some((means, remedy));
        self
    }

    const fn again(mut self, means: Means, remedy: &'static str) -> Self {
        self.again = Some((means, remedy));
        self
    }

    const fn by_name(mut self, means: Means, remedy: &'static str) -> Self {
        self.by_name = Some((means, remedy));
        self
    }
}

/// Returns every row but those that have a name here.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    let all = [
        threads::THREADS,
        work::WORK,
        timers::SOFTIRQS,
        timers::TIMERS,
        interrupts::INTERRUPTS,
        interrupts::CALLS,
        interrupts::NMIS,
    ];

    all.into_iter().flatten()
}
