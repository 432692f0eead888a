// SPDX-License-Identifier: GPL-2.0

//! The times in which a CPU did nothing but the kernel's work, whatever that was.

use std::collections::{BTreeMap, HashMap};

use super::tally::{Key, Took};

/// What comes so soon after a disturbance is a part of it: between an interrupt and its softirqs
/// nothing else ran.
const GAP_NS: u64 = 5_000;
/// As many of the worst are kept.
const MOST_WORST: usize = 64;
/// As many parts of one are told apart.
const MOST_PARTS: usize = 12;

/// A time in which a CPU did the kernel's work.
#[derive(Clone, Debug)]
pub struct Interval {
    /// The CPU.
    pub cpu: u32,
    /// When it began.
    pub begin: u64,
    /// When it ended.
    end: u64,
    /// How long it took, without gaps.
    pub ns: u64,
    /// What it was.
    pub parts: Vec<(Key, u64)>,
}

/// All such times.
#[derive(Debug, Default)]
pub struct Disturbances {
    /// Those that may go on, by CPU.
    open: HashMap<u32, Interval>,
    /// All that are over, by CPU.
    noise: BTreeMap<u32, Took>,
    /// The worst, in no order.
    pub worst: Vec<Interval>,
}

impl Disturbances {
    /// Adds time to that of a CPU, or begins another.
    pub fn add(&mut self, cpu: u32, key: Key, begin: u64, ns: u64) {
        let end = begin.saturating_add(ns);

        if let Some(open) = self.open.get_mut(&cpu) {
            if begin <= open.end.saturating_add(GAP_NS) {
                open.end = end.max(open.end);
                open.ns = open.ns.saturating_add(ns);
                let room = open.parts.len() < MOST_PARTS;
                match open.parts.iter_mut().find(|part| part.0 == key) {
                    Some(part) => part.1 = part.1.saturating_add(ns),
                    None if room => open.parts.push((key, ns)),
                    None => {}
                }
                return;
            }
        }
        let new = Interval {
            cpu,
            begin,
            end,
            ns,
            parts: vec![(key, ns)],
        };
        if let Some(before) = self.open.insert(cpu, new) {
            self.close(before);
        }
    }

    /// Takes note of one that is over.
    fn close(&mut self, interval: Interval) {
        let noise = self.noise.entry(interval.cpu).or_default();
        noise.add(interval.begin, interval.ns);
        if self.worst.len() >= MOST_WORST {
            let least = self.worst.iter().enumerate().min_by_key(|(_, old)| old.ns);
            match least.map(|(index, old)| (index, old.ns)) {
                Some((index, ns)) if ns < interval.ns => self.worst.swap_remove(index),
                _ => return,
            };
        }
        self.worst.push(interval);
    }

    /// Ends those that may go on.
    pub fn finish(&mut self) {
        for interval in std::mem::take(&mut self.open).into_values() {
            self.close(interval);
        }
    }

    /// Returns what each of the CPUs lost in all, by number.
    pub fn noise(&self) -> Vec<(u32, Took)> {
        self.noise.iter().map(|(cpu, took)| (*cpu, *took)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_at_once_is_a_part() {
        let mut all = Disturbances::default();

        all.add(2, Key::Softirq(1), 1_000, 10);
        all.add(2, Key::Softirq(2), 1_015, 5);
        all.add(2, Key::Softirq(1), 1_020, 1);
        all.add(3, Key::Softirq(1), 1_020, 1);
        all.add(2, Key::Softirq(1), 1_021 + GAP_NS + 1, 100);
        all.finish();
        assert_eq!(all.noise()[0].1.count, 2);
        assert_eq!(all.noise()[0].1.ns, 116);
        assert_eq!(all.noise()[1].0, 3);
        let first = all.worst.iter().find(|worst| worst.begin == 1_000).unwrap();
        assert_eq!(first.parts, [(Key::Softirq(1), 11), (Key::Softirq(2), 5)]);
    }

    #[test]
    fn the_worst_are_kept() {
        let mut all = Disturbances::default();

        for number in 0..1000 {
            all.add(2, Key::Softirq(1), number * 100_000, number);
        }
        all.finish();
        let least = all.worst.iter().map(|worst| worst.ns).min();
        assert_eq!(
            (all.worst.len(), least),
            (MOST_WORST, Some(1000 - MOST_WORST as u64))
        );
        assert_eq!(all.noise()[0].1.count, 1000);
    }
}
