// SPDX-License-Identifier: GPL-2.0

//! Why something may be on a CPU, and what moves it: the one table of causes and remedies.
//!
//! Its rows are in [`super::rows`]; the administrator's guide is checked against them.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::{
    rows::{rows, BOUND, PER_CPU, STEERED, UNBOUND},
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

/// Where something was wanted, as far as that decides what moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// On a CPU outside of the list.
    Outside,
    /// On a CPU of the list, by a timer that may expire anywhere.
    ByTimer,
    /// For this CPU and no other.
    ByName,
    /// On a CPU outside of the list, by what ran there and cannot be moved: bound work, or the timer
    /// itself. It goes on where it began.
    Again,
}

impl Wanted {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Outside, Self::ByTimer, Self::ByName, Self::Again];

    /// Returns the words for it, for where a remedy is not that of all.
    fn words(self, kind: Kind, list: &str) -> String {
        match (self, kind) {
            // What has no remedy of its own is there as well.
            (Self::Outside, _) => "otherwise".to_owned(),
            (Self::ByTimer, Kind::Timer) => format!("armed on CPUs {list}"),
            (Self::ByName, Kind::Timer) => "armed for this CPU".to_owned(),
            (Self::Again, Kind::Timer) => "armed again where it ran".to_owned(),
            (Self::ByTimer, _) => format!("queued by a timer of CPUs {list}"),
            (Self::ByName, _) => "queued for this CPU".to_owned(),
            (Self::Again, _) => "queued by work that ran there".to_owned(),
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
    /// What moves it when it is [`Wanted::ByTimer`], if that is another thing: to move who armed the
    /// timer is of no use.
    pub by_timer: Option<(Means, &'static str)>,
    /// The same for [`Wanted::ByName`].
    pub by_name: Option<(Means, &'static str)>,
    /// The same for [`Wanted::Again`].
    pub again: Option<(Means, &'static str)>,
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

    fn remedy_if(&self, wanted: Wanted) -> (Means, &'static str) {
        let other = match wanted {
            Wanted::Outside => None,
            Wanted::ByTimer => self.by_timer,
            Wanted::ByName => self.by_name,
            Wanted::Again => self.again,
        };

        other.unwrap_or((self.means, self.remedy))
    }

    /// Returns the remedy for an interrupt, if it is one, and these CPUs, and its kind. Where something
    /// was wanted, and how often, decides between remedies; those of what is not known are all told.
    pub fn remedy(&self, irq: Option<u64>, list: &str, times: &[(Wanted, u64)]) -> (Means, String) {
        let number = irq.map_or_else(|| "N".to_owned(), |irq| irq.to_string());
        let fill = |text: &str| text.replace("{n}", &number).replace("{list}", list);
        let known = times.iter().any(|(_, count)| *count > 0);
        let mut found: Vec<(Wanted, Means, &str, u64)> = Vec::new();

        for wanted in Wanted::ALL {
            let same = times.iter().filter(|(other, _)| *other == wanted);
            let count: u64 = same.map(|(_, count)| count).sum();
            if known && count == 0 {
                continue;
            }
            let (means, text) = self.remedy_if(wanted);
            let wanted = match text == self.remedy {
                true => Wanted::Outside,
                false => wanted,
            };
            match found.iter_mut().find(|(other, ..)| *other == wanted) {
                Some((.., sum)) => *sum += count,
                None => found.push((wanted, means, text, count)),
            }
        }
        // The first of those that are as frequent stays the first.
        found.sort_by_key(|(.., count)| Reverse(*count));
        let means = found.first().map_or(self.means, |(_, means, ..)| *means);
        found.sort_by_key(|(wanted, ..)| *wanted == Wanted::Outside);
        let parts = found.iter().map(|(wanted, _, text, _)| match found.len() {
            1 => fill(text),
            _ => format!("{}: {}", wanted.words(self.kind, list), fill(text)),
        });
        (means, Vec::from_iter(parts).join("; "))
    }
}

/// Returns what is known of a kernel thread.
pub fn of_thread(name: &str, class: Class) -> &'static Row {
    if class.is_steered() && !name.starts_with("kworker/") {
        return &STEERED;
    }
    let found = rows().find(|row| row.is_about(Kind::Thread, name, ""));

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
    let found = rows().find(|row| row.is_about(kind, name, queue));

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
        for row in rows() {
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
        for row in rows().chain([&STEERED, &UNBOUND, &BOUND, &PER_CPU]) {
            assert!(row.why.ends_with('.'), "{}", row.why);
            for wanted in Wanted::ALL {
                let (_, remedy) = row.remedy_if(wanted);
                assert!(!remedy.is_empty() && !remedy.ends_with('.'), "{remedy}");
            }
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
            of(Kind::Irq, "eth0", "").remedy(Some(24), "0-1", &[]).1,
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

    #[test]
    fn where_it_was_wanted_decides_what_moves_it() {
        use Wanted::{Again, ByName, ByTimer, Outside};

        let timer = of(Kind::Timer, "some_timer_fn", "");
        let advise = |times: &[(Wanted, u64)]| timer.remedy(None, "0-1", times);
        let (means, remedy) = advise(&[(ByTimer, 3)]);
        assert!(means == Means::Option && remedy.starts_with("kthread_cpus=0-1 (flag timer)"));
        assert_eq!(
            advise(&[(Outside, 1), (ByName, 0)]),
            (
                Means::Programs,
                "move the task, or the interrupt, that armed it to CPUs 0-1".to_owned()
            )
        );
        // That of most is the kind, and what is no special case comes last.
        let (means, remedy) = advise(&[(Outside, 2), (ByTimer, 5)]);
        assert_eq!(means, Means::Option);
        assert!(remedy.starts_with("armed on CPUs 0-1: kthread_cpus="));
        assert!(remedy.contains("; otherwise: move the task"));
        let (means, remedy) = advise(&[(Again, 1)]);
        assert!(means == Means::Option && remedy.contains("flag timer) from boot on"));
        let (means, remedy) = advise(&[]);
        assert!(means == Means::Programs && remedy.matches("; armed ").count() == 2);
        let task = of(Kind::Timer, "process_timeout", "");
        let told = |wanted| task.remedy(None, "0,2", &[(wanted, 1)]).1;
        assert!(told(Outside).contains("move that"));
        assert!(told(ByTimer).starts_with("kthread_cpus=0,2 (flag timer)"));
        // Nothing depends on it where there is but one remedy.
        let tick = of(Kind::Timer, "tick_nohz_handler", "");
        assert_eq!(
            tick.remedy(None, "0", &[(Outside, 1), (ByName, 1)]),
            tick.remedy(None, "0", &[])
        );
    }

    /// Returns the rows of the table of the guide that has this heading, up to that one.
    fn guide(heading: &str, end: &str) -> Vec<(&'static str, &'static str)> {
        let section = GUIDE.split(heading).nth(1).expect("another form");
        let section = section.split(end).next().unwrap();
        let rows = section.split("   * - ").skip(2);

        rows.map(|row| row.split_once("\n     - ").unwrap())
            .collect()
    }

    /// Returns the flags that a text names.
    fn flags(text: &str) -> Vec<String> {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");

        words
            .split("flag ``")
            .skip(1)
            .map(|rest| rest.split("``").next().unwrap().to_owned())
            .collect()
    }

    /// What moves something of a kind, all of it.
    fn remedies(kind: Kind) -> String {
        let rows = rows().chain([&STEERED, &UNBOUND]);
        let rows = rows.filter(|row| row.kind == kind);
        let texts = rows.flat_map(|row| Wanted::ALL.map(|wanted| row.remedy_if(wanted).1));

        Vec::from_iter(texts).join("\n")
    }

    /// A flag that the guide names for a kind of work is a remedy for it here.
    #[test]
    fn the_guide_and_the_table_know_the_same_flags() {
        // What is at the beginning of a row of the guide, and what it is about. The last are processes.
        let kinds: [(&str, &[Kind]); 3] = [
            ("Timers", &[Kind::Timer]),
            ("Delayed work of bound workqueues", &[Kind::Work]),
            ("``iou-wrk-*``", &[]),
        ];
        let mut seen = BTreeSet::new();
        for (what, text) in guide("Not kernel threads", "These move to the list") {
            for flag in flags(text) {
                let known = kinds.iter().find(|(begin, _)| what.starts_with(begin));
                let (begin, kinds) = known.unwrap_or_else(|| panic!("{what}: what kind is it?"));
                seen.insert(*begin);
                for kind in *kinds {
                    let remedies = remedies(*kind);
                    assert!(remedies.contains(&format!("flag {flag}")), "{kind}: {flag}");
                }
            }
        }
        assert_eq!(seen.len(), kinds.len(), "{seen:?}");

        // And what each flag is for. Helpers and PID 1 are processes, which are not accounted for.
        let flags: [(&str, &[Kind]); 6] = [
            ("kthread", &[Kind::Thread]),
            ("wq", &[Kind::Thread, Kind::Work]),
            ("umh", &[]),
            ("init", &[]),
            ("irq", &[Kind::Irq]),
            ("timer", &[Kind::Timer, Kind::Work]),
        ];
        assert_eq!(
            flags.map(|(flag, _)| flag),
            Vec::from_iter(crate::option::Classes::FLAGS.iter().map(|(flag, _)| *flag))[..]
        );
        for (flag, kinds) in flags {
            assert!(GUIDE.contains(&format!("\n``{flag}``")), "{flag}");
            for kind in kinds {
                assert!(
                    remedies(*kind).contains(&format!("flag {flag}")),
                    "{kind}: {flag}"
                );
            }
        }
    }

    /// What the guide says of threads that stay on every CPU, the table knows, and the other way round.
    #[test]
    fn the_guide_and_the_table_know_the_same_threads() {
        let rows_of_guide = guide("What stays on every CPU\n===", "Not kernel threads");
        let column = Vec::from_iter(rows_of_guide.into_iter().map(|(what, _)| what)).join("\n");
        let told: BTreeSet<_> = column.split("``").skip(1).step_by(2).collect();
        let table = rows().filter(|row| row.kind == Kind::Thread);
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
