// SPDX-License-Identifier: GPL-2.0

//! What ran on the CPUs outside of the list, why, who wanted it, and what moves it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cpuset::{CpuSet, LIMIT};

pub mod disturbance;
pub mod document;
pub mod engine;
pub mod histogram;
pub mod origin;
pub mod rows;
pub mod settled;
pub mod summary;
pub mod table;
pub mod tally;
pub mod text;

/// What kind of thing took a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A kernel thread, without the work items that it ran.
    Thread,
    /// A work item.
    Work,
    /// A softirq, without the timers that it ran.
    Softirq,
    /// A timer.
    Timer,
    /// The handler of a device's interrupt.
    Irq,
    /// An interrupt of the architecture, without what it ran.
    Vector,
    /// A function that another CPU wanted to be called on this one.
    #[serde(rename = "ipi")]
    Call,
    /// A handler of non-maskable interrupts.
    Nmi,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Thread,
        Self::Work,
        Self::Softirq,
        Self::Timer,
        Self::Irq,
        Self::Vector,
        Self::Call,
        Self::Nmi,
    ];

    /// Returns the word for it in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Thread => "thread",
            Self::Work => "work",
            Self::Softirq => "softirq",
            Self::Timer => "timer",
            Self::Irq => "irq",
            Self::Vector => "vector",
            Self::Call => "ipi",
            Self::Nmi => "nmi",
        }
    }

    /// Returns what its origin has done.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Thread => "woken by",
            Self::Work => "queued by",
            Self::Softirq => "raised by",
            Self::Timer => "armed by",
            Self::Irq | Self::Vector | Self::Call | Self::Nmi => "sent by",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Who wanted something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The task; empty if it was no task.
    pub who: String,
    /// Its number; 0 if it was no task.
    pub pid: u32,
    /// The CPU on which it was.
    pub cpu: u32,
    /// What it did it through: a work item, a timer, an interrupt; empty if it did it itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub via: String,
    /// How often.
    pub count: u64,
    /// The callers, nearest first, with `watch --stack`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<String>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, self.via.as_str()) {
            (0, "") => write!(f, "CPU {}", self.cpu),
            (0, via) => write!(f, "{via} on CPU {}", self.cpu),
            (pid, "") => write!(f, "{} ({pid}) on CPU {}", self.who, self.cpu),
            (pid, via) => write!(f, "{} ({pid}) on CPU {} in {via}", self.who, self.cpu),
        }
    }
}

/// What a cause took of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The CPU.
    pub cpu: u32,
    /// How often.
    pub count: u64,
    /// How long, in nanoseconds, without what interrupted it.
    pub ns: u64,
    /// The longest time at once.
    pub longest_ns: u64,
}

/// Something that ran on CPUs outside of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Its kind.
    pub kind: Kind,
    /// The thread, function, softirq or interrupt.
    pub name: String,
    /// More of it: the workqueue, the name of the interrupt.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// How often it ran.
    pub count: u64,
    /// How long in all, in nanoseconds, without what interrupted it.
    pub ns: u64,
    /// The longest time at once.
    pub longest_ns: u64,
    /// When that began, since the beginning of the recording.
    pub longest_at: u64,
    /// On which CPU.
    pub longest_cpu: u32,
    /// By CPU.
    pub cpus: Vec<Share>,
    /// How often it took how long: the buckets of [`histogram::BOUNDS`], and one for what is beyond;
    /// older recordings have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub histogram: Vec<u64>,
    /// Who wanted it, most often first.
    pub origins: Vec<Origin>,
    /// How often it was somebody else, when there were many.
    pub others: u64,
    /// Why it may be there.
    pub why: String,
    /// What moves it.
    pub remedy: String,
    /// The kind of remedy.
    pub means: table::Means,
}

impl Cause {
    /// Returns the CPUs on which it was seen.
    pub fn on(&self) -> CpuSet {
        let cpus = self.cpus.iter().map(|share| share.cpu);

        cpus.filter(|cpu| *cpu < LIMIT).collect()
    }

    /// Returns these CPUs as a list, or how many they are when nobody would read that to its end.
    pub fn places(&self) -> String {
        let cpus = self.on();
        let list = cpus.to_string();

        match list.len() {
            0..=24 => list,
            _ => format!("{} CPUs", cpus.len()),
        }
    }

    /// Returns its name with its detail.
    pub fn label(&self) -> String {
        match (self.detail.as_str(), self.kind) {
            ("", _) => self.name.clone(),
            (detail, Kind::Work) => format!("{} on {detail}", self.name),
            (detail, _) => format!("{} {detail}", self.name),
        }
    }
}

/// A part of a disturbance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which of the causes.
    pub cause: usize,
    /// How long, in nanoseconds.
    pub ns: u64,
}

/// A time in which a CPU did nothing but the kernel's work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disturbance {
    /// The CPU.
    pub cpu: u32,
    /// When it began, since the beginning of the recording, in nanoseconds.
    pub at: u64,
    /// How long it took.
    pub ns: u64,
    /// What it was, in the order of the first time.
    pub parts: Vec<Part>,
}

/// What a CPU lost in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noise {
    /// The CPU.
    pub cpu: u32,
    /// How many disturbances there were.
    pub count: u64,
    /// How long they took.
    pub ns: u64,
    /// The longest.
    pub longest_ns: u64,
}

/// All that ran on the CPUs outside of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The causes, those that took most time first.
    pub causes: Vec<Cause>,
    /// The worst disturbances, longest first.
    pub worst: Vec<Disturbance>,
    /// The CPUs.
    pub noise: Vec<Noise>,
    /// What cannot be told on this kernel, in whole sentences.
    pub missing: Vec<String>,
    /// How often this program was the origin itself, which is not counted.
    pub own: u64,
}

impl Account {
    /// Returns how long all causes took that one kind of remedy moves, longest first.
    pub fn by_means(&self) -> Vec<(table::Means, u64)> {
        let time = |means| {
            let causes = self.causes.iter().filter(|cause| cause.means == means);
            causes.fold(0, |sum: u64, cause| sum.saturating_add(cause.ns))
        };
        let all = table::Means::ALL.map(|means| (means, time(means)));
        let mut found: Vec<_> = all.into_iter().filter(|(_, ns)| *ns > 0).collect();

        found.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
        found
    }
}
