// SPDX-License-Identifier: GPL-2.0

//! Adds up which kernel thread ran on which CPU, and for how long.

use std::collections::{BTreeMap, HashMap};

use crate::{
    cause::origin::Memory,
    events::Switch,
    format::Comm,
    recording::{Run, Thread},
};

/// What a CPU is doing.
#[derive(Clone, Copy)]
enum State {
    /// The same since the beginning.
    Since(u64),
    /// It runs this thread, by its index if it is the kernel's.
    Running(Option<usize>, u64),
    /// Events have been lost.
    Unknown,
}

/// As many processes are remembered, at least.
const MOST_KNOWN: usize = 1 << 14;

/// Adds up the switches.
pub struct Collector {
    begin: u64,
    states: HashMap<u32, State>,
    /// What is known of each process number: the name that went with it, and the index of the kernel
    /// thread. A number may be used again, then with another name. Processes come and go, so that those
    /// of long ago are forgotten, and looked for anew if they are still there.
    known: Memory<u32, (Comm, Option<usize>)>,
    /// How long and how often, by index and CPU.
    runs: BTreeMap<(usize, u32), (u64, u64)>,
    /// How many switches there were.
    pub switches: u64,
    /// How many events were lost, at least.
    pub lost: u64,
}

/// Finds the index of a kernel thread that has not been seen yet; nothing if it is none.
pub type Lookup<'a> = dyn FnMut(u32, &Comm) -> Option<usize> + 'a;

impl Collector {
    /// Returns one that begins now.
    pub fn new(begin: u64) -> Self {
        Self {
            begin,
            states: HashMap::new(),
            known: Memory::new(MOST_KNOWN),
            runs: BTreeMap::new(),
            switches: 0,
            lost: 0,
        }
    }

    fn index(&mut self, pid: u32, comm: &Comm, lookup: &mut Lookup<'_>) -> Option<usize> {
        // All idle threads have this number.
        if pid == 0 {
            return None;
        }
        match self.known.get(&pid) {
            Some((name, index)) if name == comm => *index,
            _ => {
                let index = lookup(pid, comm);
                self.known.insert(pid, (*comm, index));
                index
            }
        }
    }

    fn add(&mut self, index: Option<usize>, cpu: u32, ns: u64, count: u64) {
        if let Some(index) = index {
            let run = self.runs.entry((index, cpu)).or_default();
            run.0 = run.0.saturating_add(ns);
            run.1 += count;
        }
    }

    /// Takes note that events of a CPU have been lost: nobody knows what it did.
    pub fn lose(&mut self, cpu: u32, count: u64) {
        self.lost = self.lost.saturating_add(count.max(1));
        self.states.insert(cpu, State::Unknown);
    }

    /// Takes a switch, and returns the index of the kernel thread that runs now.
    pub fn switch(
        &mut self,
        cpu: u32,
        time: u64,
        switch: &Switch,
        lookup: &mut Lookup<'_>,
    ) -> Option<usize> {
        self.switches += 1;
        let prev = self.index(switch.prev_pid, &switch.prev_comm, lookup);
        let next = self.index(switch.next_pid, &switch.next_comm, lookup);
        let state = self.states.get(&cpu).copied();

        match state.unwrap_or(State::Since(self.begin)) {
            // It was there already.
            State::Since(since) => self.add(prev, cpu, time.saturating_sub(since), 1),
            State::Running(_, since) => {
                self.add(prev, cpu, time.saturating_sub(since), 0);
            }
            State::Unknown => {}
        }
        self.add(next, cpu, 0, 1);
        self.states.insert(cpu, State::Running(next, time));
        next
    }

    /// Ends the recording: what runs has run until now.
    pub fn finish(&mut self, end: u64) {
        for (cpu, state) in std::mem::take(&mut self.states) {
            if let State::Running(index, since) = state {
                self.add(index, cpu, end.saturating_sub(since), 0);
            }
        }
    }

    /// Puts what was added up into the threads of a recording.
    pub fn store(&self, threads: &mut [Thread]) {
        for thread in &mut *threads {
            thread.runs.clear();
        }
        for (&(index, cpu), &(ns, count)) in &self.runs {
            if let Some(thread) = threads.get_mut(index) {
                thread.runs.push(Run { cpu, ns, count });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switch(prev: u32, next: u32) -> Switch {
        Switch {
            prev_pid: prev,
            prev_comm: *b"prev\0\0\0\0\0\0\0\0\0\0\0\0",
            next_pid: next,
            next_comm: *b"prev\0\0\0\0\0\0\0\0\0\0\0\0",
        }
    }

    /// Numbers below 100 are kernel threads, whose index is the number.
    fn collect(begin: u64, switches: &[(u32, u64, u32, u32)], end: u64) -> Collector {
        let mut collector = Collector::new(begin);
        for &(cpu, time, prev, next) in switches {
            collector.switch(cpu, time, &switch(prev, next), &mut |pid, _| {
                (pid < 100).then_some(pid as usize)
            });
        }
        collector.finish(end);
        collector
    }

    #[test]
    fn times_are_added_up_by_cpu() {
        let collector = collect(
            1000,
            &[
                (0, 1100, 5, 0),
                (0, 1200, 0, 6),
                (0, 1250, 6, 500),
                (1, 1300, 500, 5),
                (0, 1400, 500, 6),
            ],
            1500,
        );

        assert_eq!(collector.switches, 5);
        assert_eq!(
            Vec::from_iter(collector.runs),
            [((5, 0), (100, 1)), ((5, 1), (200, 1)), ((6, 0), (150, 2))]
        );
    }

    #[test]
    fn what_was_lost_is_nobodys_time() {
        let mut collector = Collector::new(0);
        let mut lookup = |pid: u32, _: &Comm| Some(pid as usize);

        collector.switch(0, 10, &switch(1, 2), &mut lookup);
        collector.lose(0, 7);
        collector.switch(0, 1000, &switch(3, 4), &mut lookup);
        collector.finish(1001);
        assert_eq!(collector.lost, 7);
        assert_eq!(
            Vec::from_iter(collector.runs),
            [((1, 0), (10, 1)), ((2, 0), (0, 1)), ((4, 0), (1, 1))]
        );
    }

    #[test]
    fn a_number_with_another_name_is_another_thread() {
        let mut collector = Collector::new(0);
        let mut names = Vec::new();
        let mut other = switch(7, 7);
        other.next_comm = *b"other\0\0\0\0\0\0\0\0\0\0\0";

        for (time, switch) in [(10, switch(0, 7)), (20, other)] {
            collector.switch(0, time, &switch, &mut |_, comm| {
                names.push(*comm);
                None
            });
        }
        assert_eq!(names, [switch(0, 0).next_comm, other.next_comm]);
    }
}
