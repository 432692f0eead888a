// SPDX-License-Identifier: GPL-2.0

//! Why something may be on a CPU, and what moves it: the one table of causes and remedies.
//!
//! Its rows are in [`super::rows`]; the administrator's guide is checked against them.

use serde::{Deserialize, Serialize};

use super::{
    rows::{BOUND, PER_CPU, ROWS, STEERED, UNBOUND},
    Kind,
};
use crate::threads::Class;

/// What kind of thing moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Means {
    /// The option `kthread_cpus=`, or its file.
    Option,
    /// Another boot option.
    Boot,
    /// A file in `/sys` or `/proc`, or a sysctl.
    File,
    /// The affinity of an interrupt.
    Irq,
    /// What programs do, and where.
    Programs,
    /// Nothing: it belongs to the CPU.
    Nature,
}

impl Means {
    /// Every kind of remedy.
    pub const ALL: [Self; 6] = [
        Self::Option,
        Self::Boot,
        Self::File,
        Self::Irq,
        Self::Programs,
        Self::Nature,
    ];

    /// Returns the words for it in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Option => "kthread_cpus=",
            Self::Boot => "boot option",
            Self::File => "file",
            Self::Irq => "irq affinity",
            Self::Programs => "programs",
            Self::Nature => "nothing",
        }
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it is about.
    pub kind: Kind,
    /// The names that it fits, as they are written in the guide: `N` is a number, `*` anything.
    pub names: &'static [&'static str],
    /// For work: the workqueues that it fits, all of them if there is none.
    pub queues: &'static [&'static str],
    /// Why it may be there.
    pub why: &'static str,
    /// The kind of remedy.
    pub means: Means,
    /// What moves it; `{n}` is the number of the interrupt, and `{list}` the CPUs for kernel threads.
    pub remedy: &'static str,
}

/// Whether a name is like a pattern: `*` stands for anything and `N` for a number.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let Some((&first, rest)) = pattern.split_first() else {
        return name.is_empty();
    };
    let digits = name.iter().take_while(|byte| byte.is_ascii_digit()).count();

    match first {
        b'*' => (0..=name.len()).any(|skip| fits(rest, &name[skip..])),
        // Families of threads are called so themselves.
        b'N' if name.first() == Some(&b'N') => fits(rest, &name[1..]),
        b'N' => digits > 0 && fits(rest, &name[digits..]),
        byte => name.first() == Some(&byte) && fits(rest, &name[1..]),
    }
}

impl Row {
    /// Whether it is about this. A name in upper case is a softirq's, in which an `N` is a letter.
    fn is_about(&self, kind: Kind, name: &str, queue: &str) -> bool {
        let fit = |patterns: &[&str], name: &str| {
            patterns
                .iter()
                .any(|pattern| *pattern == name || fits(pattern.as_bytes(), name.as_bytes()))
        };

        self.kind == kind
            && fit(self.names, name)
            && (self.queues.is_empty() || fit(self.queues, queue))
    }

    /// Returns the remedy for an interrupt, if it is one, and these CPUs.
    pub fn remedy(&self, irq: Option<u64>, list: &str) -> String {
        let number = irq.map_or_else(|| "N".to_owned(), |irq| irq.to_string());

        self.remedy.replace("{n}", &number).replace("{list}", list)
    }
}

/// Returns what is known of a kernel thread.
pub fn of_thread(name: &str, class: Class) -> &'static Row {
    if class.is_steered() && !name.starts_with("kworker/") {
        return &STEERED;
    }
    let found = ROWS.iter().find(|row| row.is_about(Kind::Thread, name, ""));

    found.unwrap_or(match class {
        Class::PerCpu => &PER_CPU,
        _ => &BOUND,
    })
}

/// Returns what is known of a work item.
pub fn of_work(function: &str, queue: &str, bound: bool) -> &'static Row {
    match bound {
        true => of(Kind::Work, function, queue),
        false => &UNBOUND,
    }
}

/// Returns what is known of anything else; there is a row for everything.
pub fn of(kind: Kind, name: &str, queue: &str) -> &'static Row {
    let found = ROWS.iter().find(|row| row.is_about(kind, name, queue));

    found.unwrap_or(&BOUND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const GUIDE: &str = include_str!("../../../../Documentation/admin-guide/kthread-cpus.rst");

    #[test]
    fn names_fit_patterns() {
        let is = |pattern: &str, name: &str| fits(pattern.as_bytes(), name.as_bytes());

        assert!(is("cpuhp/N", "cpuhp/12") && is("cpuhp/N", "cpuhp/N"));
        assert!(!is("cpuhp/N", "cpuhp/") && !is("cpuhp/N", "cpuhp/1x"));
        assert!(is("kworker/uN:*", "kworker/u16:1-events"));
        assert!(!is("kworker/N:*", "kworker/u16:1"));
        assert!(is("*-queue-*", "eth0-queue-3") && !is("a*c", "ab"));
    }

    /// Each row is found by each of its own names: none is hidden by one before it.
    #[test]
    fn no_row_is_hidden() {
        for row in ROWS {
            for (name, queue) in row.names.iter().flat_map(|name| {
                let queues = if row.queues.is_empty() {
                    &["some_queue"]
                } else {
                    row.queues
                };
                queues.iter().map(move |queue| (*name, *queue))
            }) {
                let (name, queue) = (name.replace('*', "xyz"), queue.replace('*', "7"));
                let found = of(row.kind, &name, &queue);
                assert!(
                    std::ptr::eq(found, row) || found.why == row.why,
                    "{name} on {queue}: {}",
                    found.why
                );
            }
        }
    }

    #[test]
    fn there_is_a_row_for_everything() {
        for kind in Kind::ALL {
            let row = of(kind, "no such thing", "no such queue");
            assert!(kind == Kind::Thread || row.kind == kind, "{kind}");
        }
        for row in ROWS.iter().chain([&STEERED, &UNBOUND, &BOUND, &PER_CPU]) {
            assert!(row.why.ends_with('.'), "{}", row.why);
            assert!(!row.remedy.is_empty() && !row.remedy.ends_with('.'));
            let nature = row.means == Means::Nature;
            let none = ["nothing", "none", "see"];
            assert!(
                !nature || none.iter().any(|none| row.remedy.starts_with(none)),
                "{}",
                row.remedy
            );
        }
    }

    #[test]
    fn threads_are_told_by_class_too() {
        let means = |name, class| of_thread(name, class).means;

        assert_eq!(means("rcu_preempt", Class::Unbound), Means::Option);
        assert_eq!(means("kworker/u8:1-flush", Class::Workqueue), Means::Option);
        assert_eq!(means("kworker/N:*", Class::PerCpu), Means::Nature);
        assert_eq!(means("ksoftirqd/3", Class::PerCpu), Means::Irq);
        assert_eq!(means("irq/24-eth0", Class::Irq), Means::Irq);
        assert_eq!(means("new/3", Class::PerCpu), Means::Nature);
        assert_eq!(means("strange", Class::Bound), Means::Nature);
        // One that the user has bound is not free, whatever it is called.
        assert_eq!(of_thread("hwlatd", Class::Bound).means, Means::Programs);
        assert_eq!(
            of(Kind::Irq, "eth0", "").remedy(Some(24), "0-1"),
            "echo 0-1 >/proc/irq/24/smp_affinity_list; kthread_cpus= (flag irq) or irqaffinity= for all that \
             nobody places; irqbalance must leave it"
        );
    }

    #[test]
    fn work_is_told_by_function_and_workqueue() {
        let means = |function, queue, bound| of_work(function, queue, bound).means;

        assert_eq!(means("vmstat_update", "mm_percpu_wq", true), Means::Boot);
        assert_eq!(
            means("check_lifetime", "events_power_efficient", true),
            Means::Boot
        );
        assert_eq!(means("wb_workfn", "writeback", false), Means::Option);
        assert_eq!(means("something", "events", true), Means::Programs);
    }

    /// What the guide says of threads that stay on every CPU, the table knows, and the other way round.
    #[test]
    fn the_guide_and_the_table_know_the_same_threads() {
        let section = GUIDE.split("What stays on every CPU\n===").nth(1).unwrap();
        let section = section.split("Not kernel threads").next().unwrap();
        let column: String = section
            .split("   * - ")
            .skip(2)
            .map(|row| row.split("\n     - ").next().unwrap())
            .collect::<Vec<_>>()
            .join("\n");
        let told: BTreeSet<_> = column.split("``").skip(1).step_by(2).collect();
        let table = ROWS.iter().filter(|row| row.kind == Kind::Thread);
        let known: BTreeSet<_> = table.flat_map(|row| row.names.iter().copied()).collect();

        assert!(
            told.contains("cpuhp/N"),
            "the guide has another form: {told:?}"
        );
        // Those follow the option, or have gone with old kernels.
        let elsewhere = BTreeSet::from(["kworker/uN:*", "watchdog/N"]);
        let untold: Vec<_> = known
            .difference(&told)
            .filter(|name| !elsewhere.contains(*name))
            .collect();
        assert!(untold.is_empty(), "the guide does not tell {untold:?}");
        // Names of drivers that are not those of a thread, and the example of a rescuer.
        let others = |name: &&&str| !name.contains("N") || name.starts_with("kworker/R-");
        let unknown: Vec<_> = told
            .difference(&known)
            .filter(|name| !others(name))
            .collect();
        assert!(unknown.is_empty(), "the table does not know {unknown:?}");
    }
}
