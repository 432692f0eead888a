// SPDX-License-Identifier: GPL-2.0

//! Which kernel threads are known, in a place that does not grow without an end: workers come and go,
//! and a day has many of them.

use std::collections::{HashMap, HashSet};

use crate::{
    cause::origin::Memory,
    format::Comm,
    recording::Thread,
    threads::{family, Class},
};

/// As many threads that come after the beginning are told apart.
const MOST_NEWCOMERS: usize = 1 << 12;
/// As many families have the others.
const MOST_FAMILIES: usize = 1 << 8;

/// A thread that has a number.
#[derive(Clone, Copy, Debug)]
struct Known {
    index: usize,
    /// The name that went with the number; nothing as long as none has.
    comm: Option<Comm>,
}

/// The kernel threads of a recording.
#[derive(Debug)]
pub struct Roster {
    by_pid: HashMap<u32, Known>,
    by_family: HashMap<(Class, String), usize>,
    /// The names of workers of workqueues, without what they work for.
    workers: HashSet<String>,
    /// The same of those that are not told apart.
    other_workers: Memory<String, ()>,
    newcomers: usize,
}

/// Returns the name of a worker without what it works for, if a thread is one.
fn worker(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("kworker/")?;
    // Of a rescuer, the name is that of its workqueue.
    let end = match rest.starts_with("R-") {
        true => rest.len(),
        false => rest.find(['-', '+']).unwrap_or(rest.len()),
    };

    Some(&name[..name.len() - rest.len() + end])
}

impl Roster {
    /// Returns the threads that are there at the beginning.
    pub fn new(threads: &[Thread]) -> Self {
        let numbers = threads.iter().map(|thread| thread.pid).enumerate();

        Self {
            by_pid: numbers
                .map(|(index, pid)| (pid, Known { index, comm: None }))
                .collect(),
            by_family: HashMap::new(),
            workers: threads
                .iter()
                .filter_map(|thread| worker(&thread.name))
                .map(str::to_owned)
                .collect(),
            other_workers: Memory::new(MOST_NEWCOMERS),
            newcomers: 0,
        }
    }

    /// Returns the index of the thread with a number and a name, if it is known. The first name that
    /// goes with a number is that of the thread that we know; with another, it is another thread.
    pub fn find(&mut self, pid: u32, comm: &Comm) -> Option<usize> {
        let known = self.by_pid.get_mut(&pid)?;

        match known.comm.get_or_insert(*comm) {
            name if name == comm => Some(known.index),
            _ => None,
        }
    }

    /// Whether there is a worker with this name.
    pub fn has_worker(&self, name: &str) -> bool {
        let other = || self.other_workers.get(&name.to_owned()).is_some();

        self.workers.contains(name) || other()
    }

    /// Takes a new thread, and returns its index. When there are too many, it is one with its family.
    pub fn admit(&mut self, threads: &mut Vec<Thread>, comm: &Comm, thread: Thread) -> usize {
        let index = threads.len();
        let worker = worker(&thread.name).map(str::to_owned);
        if self.newcomers < MOST_NEWCOMERS {
            self.workers.extend(worker);
            self.newcomers += 1;
            let comm = Some(*comm);
            self.by_pid.insert(thread.pid, Known { index, comm });
            threads.push(thread);
            return index;
        }

        if let Some(worker) = worker {
            self.other_workers.insert(worker, ());
        }
        let full = self.by_family.len() >= MOST_FAMILIES;
        let mut name = family(&thread.name);
        if full && !self.by_family.contains_key(&(thread.class, name.clone())) {
            // Not more than one of each class.
            name = "others".to_owned();
        }
        let class = thread.class;
        *self
            .by_family
            .entry((class, name.clone()))
            .or_insert_with(|| {
                threads.push(Thread {
                    pid: 0,
                    name,
                    ..thread
                });
                index
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    fn thread(pid: u32, name: String, class: Class) -> Thread {
        Thread {
            pid,
            name,
            class,
            allowed: None,
            verdict: Verdict::Unknown,
            reason: String::new(),
            cpu: 0,
            runs: Vec::new(),
        }
    }

    #[test]
    fn a_number_with_another_name_is_another_thread() {
        let mut threads = vec![thread(7, "a".to_owned(), Class::Unbound)];
        let mut roster = Roster::new(&threads);

        assert_eq!(roster.find(8, &[1; 16]), None);
        assert_eq!(roster.find(7, &[1; 16]), Some(0));
        assert_eq!(roster.find(7, &[2; 16]), None);
        let new = thread(7, "b".to_owned(), Class::Unbound);
        assert_eq!(roster.admit(&mut threads, &[2; 16], new), 1);
        assert_eq!(roster.find(7, &[2; 16]), Some(1));
    }

    #[test]
    fn workers_are_known_without_their_work() {
        assert_eq!(worker("kworker/u8:1-flush-8:0"), Some("kworker/u8:1"));
        assert_eq!(worker("kworker/3:0H+kblockd"), Some("kworker/3:0H"));
        assert_eq!(worker("kworker/R-nvme-wq"), Some("kworker/R-nvme-wq"));
        assert_eq!(worker("kswapd0"), None);
    }

    #[test]
    fn there_is_an_end() {
        let mut threads = Vec::new();
        let mut roster = Roster::new(&threads);

        for number in 0..100_000 {
            let name = match number % 3 {
                0 => format!("kworker/u8:{number}"),
                1 => format!("kworker/1:{number}"),
                _ => format!("strange-{number}-x"),
            };
            let class = Class::ALL[number % Class::ALL.len()];
            let new = thread(number as u32, name, class);
            let index = roster.admit(&mut threads, &[0; 16], new);
            assert!(index < threads.len());
        }
        let most = MOST_NEWCOMERS + MOST_FAMILIES + Class::ALL.len();
        assert!(threads.len() <= most, "{}", threads.len());
        assert!(threads.iter().any(|thread| thread.name == "kworker/uN:*"));
    }
}
