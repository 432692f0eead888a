// SPDX-License-Identifier: GPL-2.0

//! What is added up of each cause.

use std::collections::{BTreeMap, HashMap};

use super::{histogram::Histogram, origin::Source};
use crate::events::Name;

/// What took time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A kernel thread, by its index.
    Thread(usize),
    /// A work item.
    Work {
        /// What it calls.
        function: u64,
        /// The workqueue.
        queue: Name,
        /// Whether its worker has to be on this CPU.
        bound: bool,
    },
    /// A softirq, by its number.
    Softirq(u64),
    /// A timer, by its function.
    Timer(u64),
    /// An interrupt, by its number and the name of its handler.
    Irq(u64, Name),
    /// An interrupt of the architecture, by its name.
    Vector(Name),
    /// A call from another CPU, by its function.
    Call(u64),
    /// A handler of non-maskable interrupts.
    Nmi(u64),
}

impl Key {
    /// Returns the function that it calls.
    pub(super) fn function(&self) -> Option<u64> {
        match *self {
            Self::Work { function, .. }
            | Self::Timer(function)
            | Self::Call(function)
            | Self::Nmi(function) => Some(function),
            Self::Thread(_) | Self::Softirq(_) | Self::Irq(..) | Self::Vector(_) => None,
        }
    }

    /// Returns the key for all of this kind that have none of their own. There are not many softirqs and
    /// interrupts.
    pub(super) fn others(self) -> Self {
        match self {
            Self::Thread(_) => Self::Thread(usize::MAX),
            Self::Work { bound, .. } => Self::Work {
                function: 0,
                queue: Name::default(),
                bound,
            },
            Self::Timer(_) => Self::Timer(0),
            Self::Call(_) => Self::Call(0),
            Self::Nmi(_) => Self::Nmi(0),
            Self::Softirq(_) | Self::Irq(..) | Self::Vector(_) => self,
        }
    }
}

/// What one of these took of a CPU, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// How often.
    pub count: u64,
    /// How long.
    pub ns: u64,
    /// The longest.
    pub longest_ns: u64,
    /// When that began.
    pub longest_at: u64,
}

impl Took {
    /// Adds one time.
    pub fn add(&mut self, began: u64, ns: u64) {
        self.count += 1;
        self.ns = self.ns.saturating_add(ns);
        if self.count == 1 || ns > self.longest_ns {
            (self.longest_ns, self.longest_at) = (ns, began);
        }
    }

    /// Adds what somebody else took.
    pub fn merge(&mut self, other: &Self) {
        if self.count == 0 || other.longest_ns > self.longest_ns {
            (self.longest_ns, self.longest_at) = (other.longest_ns, other.longest_at);
        }
        self.count = self.count.saturating_add(other.count);
        self.ns = self.ns.saturating_add(other.ns);
    }
}

/// What is known of a cause.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// What it took, by CPU.
    pub cpus: BTreeMap<u32, Took>,
    /// How often it took how long.
    pub histogram: Histogram,
    /// Who wanted it, and how often.
    pub sources: HashMap<Source, u64>,
    /// How often it was somebody else.
    pub others: u64,
}

impl Tally {
    /// Adds one time.
    pub(super) fn add(&mut self, cpu: u32, began: u64, ns: u64) {
        self.cpus.entry(cpu).or_default().add(began, ns);
        self.histogram.add(ns);
    }
}
