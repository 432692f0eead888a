// SPDX-License-Identifier: GPL-2.0

//! The events that tell what runs on a CPU, and who wanted it.
//!
//! Each kernel has its own set of them. What is missing is not an error: less can be told then.

use std::{collections::HashMap, sync::Arc};

use crate::{cpuset::CpuSet, format::Comm};

mod decoder;
mod spec;

pub use decoder::Decoder;
pub use spec::{follows_threads, SWITCH};

/// A word that events repeat, such as the name of a workqueue, as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(u32);

/// The words that events have had.
#[derive(Debug)]
pub struct Names {
    words: Vec<String>,
    numbers: HashMap<String, Name>,
}

/// A machine that makes up new words without an end gets this many.
const MOST_NAMES: usize = 1 << 14;

impl Default for Names {
    fn default() -> Self {
        Self {
            words: vec!["?".to_owned()],
            numbers: HashMap::new(),
        }
    }
}

impl Names {
    /// Returns the number of a word.
    pub fn number(&mut self, word: &str) -> Name {
        if let Some(&name) = self.numbers.get(word) {
            return name;
        }
        if self.words.len() >= MOST_NAMES {
            return Name::default();
        }
        let name = Name(self.words.len() as u32);
        self.words.push(word.to_owned());
        self.numbers.insert(word.to_owned(), name);
        name
    }

    /// Returns the word; `?` for the number that no word has.
    pub fn word(&self, name: Name) -> &str {
        self.words.get(name.0 as usize).map_or("?", String::as_str)
    }
}

/// A thread takes over a CPU from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The thread that ran.
    pub prev_pid: u32,
    /// Its name.
    pub prev_comm: Comm,
    /// The thread that runs now.
    pub next_pid: u32,
    /// Its name.
    pub next_comm: Comm,
}

/// What is needed to say that something ends that has begun: its kind and which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// A work item, by its address.
    Work(u64),
    /// A softirq, by its number.
    Softirq(u64),
    /// A timer, by its address.
    Timer(u64),
    /// An interrupt handler, by its number.
    Irq(u64),
    /// What the architecture calls an interrupt of its own.
    Vector(Name),
    /// A function that another CPU has asked for, by the address of the request.
    Call(u64),
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Another thread runs.
    Switch(Switch),
    /// A thread is woken.
    Wake(u32),
    /// Work is queued on a workqueue.
    Queue {
        /// The address of the item.
        work: u64,
        /// What it will call.
        function: u64,
        /// The name of the workqueue.
        queue: Name,
        /// Whether it has to run on a CPU, if that is told.
        bound: Option<bool>,
    },
    /// A timer is armed.
    Arm {
        /// Its address.
        timer: u64,
        /// What it will call.
        function: u64,
        /// Whether it has to expire on the CPU that it is armed for.
        pinned: bool,
    },
    /// A softirq is raised on this CPU.
    Raise(u64),
    /// A CPU is asked to call a function.
    Ask {
        /// The CPU.
        cpu: u32,
        /// The address of the request.
        request: u64,
    },
    /// CPUs are interrupted.
    Interrupt {
        /// Which ones.
        cpus: Arc<CpuSet>,
        /// Whether it is only for the scheduler to look what to do.
        reschedule: bool,
    },
    /// Something begins.
    Begin {
        /// What will end.
        task: Task,
        /// The function that it calls, 0 if there is none.
        function: u64,
        /// Its name, if it has one.
        name: Name,
    },
    /// Something ends.
    End(Task),
    /// A handler of non-maskable interrupts was there.
    Nmi {
        /// The handler.
        function: u64,
        /// How long it took, in nanoseconds.
        ns: u64,
    },
    /// How the event before it came about: the callers.
    Stack(Arc<[u64]>),
    /// Events before this time have been lost.
    Lost(u64),
}

/// What has happened, where, and in whose time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, by the clock of the trace, in nanoseconds.
    pub time: u64,
    /// The CPU.
    pub cpu: u32,
    /// The thread that ran then.
    pub pid: u32,
    /// The kernel's flags: whether it was interrupted.
    pub flags: u8,
    /// What.
    pub what: What,
    /// The callers, if they are recorded.
    pub stack: Option<Arc<[u64]>>,
}

/// In the flags: in a hard interrupt.
pub const IN_HARDIRQ: u8 = 0x08;
/// In the flags: in a softirq.
pub const IN_SOFTIRQ: u8 = 0x10;

/// Which CPUs an event is needed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Those outside of the list.
    Outside,
    /// All: who wants something may be anywhere.
    Everywhere,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_an_end() {
        let mut names = Names::default();

        for number in 0..MOST_NAMES + 5 {
            names.number(&number.to_string());
        }
        let last = names.number("new");
        assert_eq!(names.word(last), "?");
        let first = names.number("0");
        assert_eq!(names.word(first), "0");
    }
}
