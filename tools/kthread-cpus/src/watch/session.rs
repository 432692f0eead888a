// SPDX-License-Identifier: GPL-2.0

//! What has been seen since the beginning: takes events, and makes a recording of them.

use crate::{
    cause::{
        engine::Engine,
        settled::Settled,
        summary::{self, Words},
    },
    check::{Outcome, Verdict},
    cpuset::CpuSet,
    events::{Event, What},
    format::{printable, Comm},
    machine::Root,
    recording::{Recording, Thread},
    stream::Stream,
    symbols::Symbols,
    threads::Class,
    watch::{collector::Collector, roster::Roster},
};

/// A recording in the making.
pub struct Session<'a> {
    root: &'a Root,
    outcome: &'a Outcome,
    /// Where events come from.
    pub stream: Stream,
    /// What is known so far.
    pub recording: Recording,
    begin: u64,
    roster: Roster,
    collector: Collector,
    engine: Engine,
    symbols: Symbols,
    settled: Settled,
}

impl<'a> Session<'a> {
    /// Returns one in which nothing has been seen.
    pub fn new(root: &'a Root, outcome: &'a Outcome, stream: Stream) -> Self {
        let recording = Recording::new(root, outcome);
        let outside = recording.possible.minus(&recording.cpus);

        Self {
            root,
            outcome,
            stream,
            roster: Roster::new(&recording.threads),
            recording,
            begin: 0,
            collector: Collector::new(0),
            engine: Engine::new(outside, std::process::id()),
            symbols: Symbols::default(),
            settled: Settled::read(root, &outcome.machine),
        }
    }

    /// Returns the CPUs outside of the list.
    pub fn outside(&self) -> CpuSet {
        self.recording.possible.minus(&self.recording.cpus)
    }

    /// Begins the recording.
    pub fn begin(&mut self, begin: u64) {
        self.begin = begin;
        self.collector = Collector::new(begin);
    }

    /// Takes the events that have come before a time.
    pub fn take(&mut self, until: u64) {
        let events = self.stream.until(until);
        self.account_for(&events);
    }

    /// Takes events, in their order.
    pub fn account_for(&mut self, events: &[Event]) {
        let (root, outcome) = (self.root, self.outcome);
        let threads = &mut self.recording.threads;
        let roster = &mut self.roster;
        let mut lookup = |pid, comm: &Comm| {
            if let Some(index) = roster.find(pid, comm) {
                return Some(index);
            }
            let thread = newcomer(root, outcome, roster, pid, comm)?;
            Some(roster.admit(threads, comm, thread))
        };
        let mut name = |pid: u32| {
            let name = root.read_optional(&format!("proc/{pid}/comm"));
            name.map_or_else(|| "?".to_owned(), |name| printable(name.as_bytes()))
        };

        for event in events {
            let (cpu, time) = (event.cpu, event.time);
            let next = match &event.what {
                What::Switch(switch) => self.collector.switch(cpu, time, switch, &mut lookup),
                What::Lost(count) => {
                    self.collector.lose(cpu, *count);
                    None
                }
                _ => None,
            };
            let names = &mut self.stream.decoder.names;
            self.engine.take(event, next, names, &mut name);
        }
        self.recording.switches = self.collector.switches;
        self.recording.lost = self.collector.lost;
    }

    /// Puts what is known so far into the recording.
    pub fn look(&mut self) {
        self.collector.store(&mut self.recording.threads);
        let threads = &self.recording.threads;
        let thread = |index: usize| {
            let thread = threads.get(index)?;
            Some((&*thread.name, thread.class))
        };
        let mut words = Words {
            decoder: &self.stream.decoder,
            symbols: &mut self.symbols,
            root: self.root,
            thread: &thread,
            list: &self.recording.cpus,
            settled: &self.settled,
        };
        self.recording.account = summary::account(&self.engine, self.begin, &mut words);
    }

    /// Ends the recording.
    pub fn finish(&mut self, end: u64) {
        self.collector.finish(end);
        self.engine.finish(end);
        self.look();
    }
}

/// Returns a thread that has come since the beginning, with those that are known. One that has gone
/// again is known by its name only.
fn newcomer(
    root: &Root,
    outcome: &Outcome,
    roster: &Roster,
    pid: u32,
    comm: &Comm,
) -> Option<Thread> {
    let found = outcome.inventory.read_one(root, &outcome.machine, pid);
    let name = String::from_utf8_lossy(comm);
    let name = name
        .trim_end_matches('\0')
        .replace(|c: char| c.is_control(), "?");

    match found {
        Ok(Some(thread)) => {
            let (verdict, reason) = outcome.judge(&thread);
            Some(Thread {
                pid,
                name: thread.name.to_string(),
                class: thread.class,
                allowed: thread.allowed.as_deref().cloned(),
                verdict,
                reason,
                cpu: thread.cpu,
                runs: Vec::new(),
            })
        }
        Ok(None) => None,
        Err(_) => vanished(roster, pid, &name),
    }
}

/// Returns what is known of a thread that ended before it could be looked at.
fn vanished(roster: &Roster, pid: u32, name: &str) -> Option<Thread> {
    let rest = name.strip_prefix("kworker/")?;
    // A usermode helper has the name of the worker that starts it until it is a program.
    if roster.has_worker(name) {
        return None;
    }

    Some(Thread {
        pid,
        name: name.to_owned(),
        class: match rest.starts_with('u') {
            true => Class::Workqueue,
            false => Class::PerCpu,
        },
        allowed: None,
        verdict: Verdict::Unknown,
        reason: "it ended before it could be looked at".to_owned(),
        cpu: 0,
        runs: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_that_has_gone_is_no_worker() {
        let mut threads = Vec::new();
        let mut roster = Roster::new(&threads);
        let mut worker = vanished(&roster, 7, "kworker/u8:1").unwrap();
        assert_eq!(worker.class, Class::Workqueue);

        worker.name.push_str("-events_unbound");
        roster.admit(&mut threads, &[0; 16], worker);
        assert!(vanished(&roster, 8, "kworker/u8:1").is_none());
        assert!(vanished(&roster, 8, "kworker/u8:10").is_some());
        assert!(vanished(&roster, 9, "bash").is_none());
    }
}
