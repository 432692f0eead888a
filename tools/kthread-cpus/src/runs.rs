// SPDX-License-Identifier: GPL-2.0

//! Which kernel threads ran where, added up for a person.

use crate::{
    cpuset::CpuSet,
    output,
    recording::{Recording, Run, Thread},
};

/// Returns the totals for a person, in two lines.
pub fn totals(recording: &Recording) -> [String; 2] {
    let (wrong, exempt) = recording.intrusions();
    let outside = recording.online.minus(&recording.cpus);

    if outside.is_empty() {
        return [
            "no CPU is outside: kernel threads may run on all of them".to_owned(),
            "ask about some with --cpus LIST".to_owned(),
        ];
    }
    [
        format!(
            "intrusions on CPUs {outside}: {} by kernel threads that should not ({})",
            wrong.count,
            output::duration(wrong.ns)
        ),
        format!(
            "and {} by those that have to be there ({})",
            exempt.count,
            output::duration(exempt.ns)
        ),
    ]
}

/// A thread that ran, added up for a person.
pub struct Line<'a> {
    /// The thread.
    pub thread: &'a Thread,
    /// Where it ran.
    pub cpus: CpuSet,
    /// How long.
    pub ns: u64,
    /// How often.
    pub count: u64,
    /// How long outside.
    pub ns_outside: u64,
    /// How often outside.
    pub count_outside: u64,
}

/// Adds up what may be any number in a recording.
fn sum<'a>(runs: impl IntoIterator<Item = &'a Run>, value: fn(&Run) -> u64) -> u64 {
    runs.into_iter()
        .fold(0, |sum, run| sum.saturating_add(value(run)))
}

/// Returns the threads that ran: first those that ran outside and should not, longest first.
pub fn lines(recording: &Recording) -> Vec<Line<'_>> {
    let mut lines: Vec<_> = recording
        .threads
        .iter()
        .filter(|thread| !thread.runs.is_empty())
        .map(|thread| {
            let outside = |run: &&Run| !recording.cpus.contains(run.cpu);
            Line {
                thread,
                cpus: thread.runs.iter().map(|run| run.cpu).collect(),
                ns: sum(&thread.runs, |run| run.ns),
                count: sum(&thread.runs, |run| run.count),
                ns_outside: sum(thread.runs.iter().filter(outside), |run| run.ns),
                count_outside: sum(thread.runs.iter().filter(outside), |run| run.count),
            }
        })
        .collect();

    lines.sort_by_key(|line| {
        let wrong = line.count_outside > 0 && line.thread.class.is_steered();
        (!wrong, std::cmp::Reverse((line.ns_outside, line.ns)))
    });
    lines
}
