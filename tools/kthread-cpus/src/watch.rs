// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus watch`: which kernel threads run where, and for how long.

use std::{
    collections::{BTreeMap, HashMap},
    io::{IsTerminal, Write},
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    thread,
    time::Duration,
};

use serde::Serialize;

use crate::{
    check::{Outcome, Verdict},
    cli::WatchArgs,
    cpuset::{CpuSet, Named},
    error::{Error, Result},
    machine::Root,
    output::{self, left, right, Role, Style},
    recording::{Recording, Run, Thread},
    ring::{self, Comm, Switch},
    sys,
    threads::Class,
    tracefs::Instance,
    ui::Ui,
};

/// How long the buffers are left alone between two looks: they hold tens of thousands of switches.
const INTERVAL: Duration = Duration::from_millis(250);

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

/// Adds up the switches.
pub struct Collector {
    begin: u64,
    states: HashMap<u32, State>,
    /// What is known of each process number: the name that went with it, and the index of the kernel
    /// thread. A number may be used again, then with another name.
    known: HashMap<u32, (Comm, Option<usize>)>,
    /// How long and how often, by index and CPU.
    runs: BTreeMap<(usize, u32), (u64, u64)>,
    /// How many switches there were.
    pub switches: u64,
    /// How many events were lost, at least.
    pub lost: u64,
    /// How many pages had something in them that no kernel writes.
    pub garbage: u64,
}

/// Finds the index of a kernel thread that has not been seen yet; nothing if it is none.
pub type Lookup<'a> = dyn FnMut(u32, &Comm) -> Option<usize> + 'a;

impl Collector {
    /// Returns one that begins now.
    pub fn new(begin: u64) -> Self {
        Self {
            begin,
            states: HashMap::new(),
            known: HashMap::new(),
            runs: BTreeMap::new(),
            switches: 0,
            lost: 0,
            garbage: 0,
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

    /// Takes a switch.
    pub fn switch(&mut self, cpu: u32, switch: &Switch, lookup: &mut Lookup<'_>) {
        self.switches += 1;
        let prev = self.index(switch.prev_pid, &switch.prev_comm, lookup);
        let next = self.index(switch.next_pid, &switch.next_comm, lookup);
        let state = self.states.get(&cpu).copied();

        match state.unwrap_or(State::Since(self.begin)) {
            // It was there already.
            State::Since(since) => self.add(prev, cpu, switch.time.saturating_sub(since), 1),
            State::Running(_, since) => {
                self.add(prev, cpu, switch.time.saturating_sub(since), 0);
            }
            State::Unknown => {}
        }
        self.add(next, cpu, 0, 1);
        self.states.insert(cpu, State::Running(next, switch.time));
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

/// Whether a thread is the worker of a workqueue with this name, without what it works for.
fn is_worker(thread: &Thread, name: &str) -> bool {
    let rest = thread.name.strip_prefix(name);

    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '+']))
}

/// Returns a thread that has come since the beginning, with those that are `known`. One that has gone
/// again is known by its name only.
fn newcomer(
    root: &Root,
    outcome: &Outcome,
    known: &[Thread],
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
        Err(_) => vanished(known, pid, &name),
    }
}

/// Returns what is known of a thread that ended before it could be looked at.
fn vanished(known: &[Thread], pid: u32, name: &str) -> Option<Thread> {
    let rest = name.strip_prefix("kworker/")?;
    // A usermode helper has the name of the worker that starts it until it is a program.
    if known.iter().any(|thread| is_worker(thread, name)) {
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

/// Keeps this process on the CPUs for kernel threads, so that it does not disturb what it watches.
fn confine(cpus: &CpuSet, online: &CpuSet) -> Result<()> {
    let usable = cpus.and(online);

    if usable.is_empty() {
        return Err(Error::new(format_args!(
            "none of CPUs {} is online, and watch runs nowhere else: choose from CPUs {online}",
            Named(cpus)
        )));
    }
    sys::set_affinity(0, &usable).map_err(|error| {
        Error::new(format_args!(
            "cannot keep to CPUs {usable}: {error}; a cpuset may forbid them: run it outside of that"
        ))
    })
}

/// The signals that end the watch as its time does.
fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));

    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        signal_hook::flag::register(signal, stop.clone())
            .map_err(|error| Error::new(format_args!("cannot catch signal {signal}: {error}")))?;
    }
    Ok(stop)
}

/// Returns the CPUs online now.
fn online(root: &Root, before: &CpuSet) -> CpuSet {
    root.read_list("sys/devices/system/cpu/online")
        .unwrap_or_else(|| before.clone())
}

/// Watches, and returns what was seen.
fn watch(
    root: &Root,
    args: &WatchArgs,
    outcome: &Outcome,
    ui: Option<&mut Ui>,
) -> Result<Recording> {
    let stop = stop_flag()?;
    let mut ui = ui;
    let mut recording = Recording::new(root, outcome);
    let by_pid: HashMap<u32, usize> = recording
        .threads
        .iter()
        .enumerate()
        .map(|(index, thread)| (thread.pid, index))
        .collect();
    let mut seen = vec![false; recording.threads.len()];
    let mut instance = Instance::new(root)?;
    let mut buffer = Vec::new();

    instance.open(&online(root, &recording.online))?;
    let begin = sys::monotonic_ns();
    let end = args
        .time
        .map(|time| begin.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)));
    let mut collector = Collector::new(begin);
    instance.record(true)?;

    loop {
        let now = sys::monotonic_ns();
        let last = stop.load(Ordering::Relaxed) || end.is_some_and(|end| now >= end);
        if last {
            instance.record(false)?;
        }
        instance.open(&online(root, &recording.online))?;
        let (page, event) = (instance.page, instance.event);
        let threads = &mut recording.threads;
        let mut lookup = |pid, comm: &Comm| {
            // The first name that goes with a number is that of the thread that we know.
            if let Some(&index) = by_pid.get(&pid).filter(|&&index| !seen[index]) {
                seen[index] = true;
                return Some(index);
            }
            threads.push(newcomer(root, outcome, threads, pid, comm)?);
            Some(threads.len() - 1)
        };
        instance.drain(&mut buffer, |cpu, bytes| {
            let mut switches = Vec::with_capacity(64);
            let result = ring::read_page(bytes, &page, &event, |switch| switches.push(switch));
            if result.lost {
                collector.lose(cpu, result.lost_count);
            }
            for switch in &switches {
                collector.switch(cpu, switch, &mut lookup);
            }
            if result.garbage {
                collector.garbage += 1;
                collector.lose(cpu, 0);
            }
        })?;
        recording.duration_ns = now.saturating_sub(begin);
        recording.switches = collector.switches;
        recording.lost = collector.lost;
        if last {
            collector.finish(now);
            collector.store(&mut recording.threads);
            break;
        }

        let left = end.map_or(INTERVAL, |end| {
            Duration::from_nanos(end.saturating_sub(now))
        });
        let pause = INTERVAL.min(left);
        match ui.as_deref_mut() {
            Some(ui) => {
                collector.store(&mut recording.threads);
                if ui.show(&recording, pause)? {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            None => thread::sleep(pause),
        }
    }
    Ok(recording)
}

/// The JSON of `watch`: the recording, and what it comes to.
#[derive(Serialize)]
struct Document<'a> {
    intrusions: crate::recording::Intrusions,
    intrusions_exempt: crate::recording::Intrusions,
    #[serde(flatten)]
    recording: &'a Recording,
}

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

/// Writes a table.
fn write_text(out: &mut dyn Write, recording: &Recording, style: Style) -> Result<()> {
    for note in &recording.notes {
        writeln!(out, "{}", style.paint(Role::Notable, note))?;
    }
    let lines = lines(recording);
    let columns = [
        right("PID"),
        left("CLASS"),
        left("RAN ON"),
        right("TIMES"),
        right("TIME"),
        right("OUTSIDE"),
        right("TIME"),
        left("NAME"),
    ];
    output::table(
        out,
        style,
        &columns,
        lines.len(),
        |row, column, text| {
            let line = &lines[row];
            text.push_str(&match column {
                0 => line.thread.pid.to_string(),
                1 => line.thread.class.to_string(),
                2 => line.cpus.to_string(),
                3 => line.count.to_string(),
                4 => output::duration(line.ns),
                5 => line.count_outside.to_string(),
                6 => output::duration(line.ns_outside),
                _ => line.thread.name.clone(),
            });
        },
        |row| match (
            lines[row].count_outside > 0,
            lines[row].thread.class.is_steered(),
        ) {
            (true, true) => Role::Bad,
            (true, false) => Role::Notable,
            _ => Role::Plain,
        },
    )?;
    writeln!(
        out,
        "\n{} of {} kernel threads ran, in {} and {} switches",
        lines.len(),
        recording.threads.len(),
        output::duration(recording.duration_ns),
        recording.switches
    )?;
    for line in totals(recording) {
        writeln!(out, "{line}")?;
    }
    if recording.lost > 0 {
        let line = format!(
            "at least {} events were lost: the machine switched faster than it could be read",
            recording.lost
        );
        writeln!(out, "{}", style.paint(Role::Notable, &line))?;
    }
    Ok(())
}

/// Runs the command.
///
/// # Errors
///
/// When there is nothing to watch with, or the output cannot be written.
pub fn run(root: &Root, args: &WatchArgs) -> Result<()> {
    // Not even the first look at the machine is to be taken from elsewhere.
    let machine = crate::machine::Machine::read(root);
    let target = crate::target::Target::find(&machine, args.cpus.as_deref())?;
    confine(&target.cpus, &machine.online)?;
    sys::raise_file_limit();

    let outcome = Outcome::find(root, args.cpus.as_deref(), false)?;
    let full = !args.json
        && !args.text
        && std::io::stdout().is_terminal()
        && std::io::stdin().is_terminal();
    let recording = if full {
        let mut ui = Ui::new()?;
        watch(root, args, &outcome, Some(&mut ui))?
    } else {
        watch(root, args, &outcome, None)?
    };

    if let Some(path) = &args.record {
        output::write_to(Some(path), |out| {
            serde_json::to_writer(&mut *out, &recording)?;
            Ok(writeln!(out)?)
        })?;
    }
    output::write_to(None, |out| {
        if args.json {
            let (intrusions, intrusions_exempt) = recording.intrusions();
            let document = Document {
                intrusions,
                intrusions_exempt,
                recording: &recording,
            };
            serde_json::to_writer(&mut *out, &document)?;
            Ok(writeln!(out)?)
        } else {
            write_text(out, &recording, Style::of_stdout())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switch(time: u64, prev: u32, next: u32) -> Switch {
        Switch {
            time,
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
            collector.switch(cpu, &switch(time, prev, next), &mut |pid, _| {
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

        collector.switch(0, &switch(10, 1, 2), &mut lookup);
        collector.lose(0, 7);
        collector.switch(0, &switch(1000, 3, 4), &mut lookup);
        collector.finish(1001);
        assert_eq!(collector.lost, 7);
        assert_eq!(
            Vec::from_iter(collector.runs),
            [((1, 0), (10, 1)), ((2, 0), (0, 1)), ((4, 0), (1, 1))]
        );
    }

    #[test]
    fn a_helper_that_has_gone_is_no_worker() {
        let worker = vanished(&[], 7, "kworker/u8:1").unwrap();
        assert_eq!(worker.class, Class::Workqueue);
        let mut threads = [worker];

        assert!(vanished(&threads, 8, "kworker/u8:1").is_none());
        threads[0].name.push_str("-events_unbound");
        assert!(vanished(&threads, 8, "kworker/u8:1").is_none());
        assert!(vanished(&threads, 8, "kworker/u8:10").is_some());
        threads[0].name = "kworker/u8:10".to_owned();
        assert!(vanished(&threads, 8, "kworker/u8:1").is_some());
        assert!(vanished(&threads, 9, "bash").is_none());
    }

    #[test]
    fn a_number_with_another_name_is_another_thread() {
        let mut collector = Collector::new(0);
        let mut names = Vec::new();
        let mut other = switch(20, 7, 7);
        other.next_comm = *b"other\0\0\0\0\0\0\0\0\0\0\0";

        for switch in [switch(10, 0, 7), other] {
            collector.switch(0, &switch, &mut |_, comm| {
                names.push(*comm);
                None
            });
        }
        assert_eq!(names, [switch(0, 0, 0).next_comm, other.next_comm]);
    }
}
