// SPDX-License-Identifier: GPL-2.0

//! Adds up what ran on the CPUs outside of the list.
//!
//! What interrupts something is above it on a stack, and time is that of the uppermost. Each CPU has
//! such a stack; what belongs to a thread, as a work item does, leaves the CPU with it and comes back
//! with it.

use std::collections::{BTreeMap, HashMap};

use crate::{
    cause::{
        disturbance::Disturbances,
        histogram::Histogram,
        origin::{Context, Memory, Source},
    },
    cpuset::CpuSet,
    events::{Event, Name, Names, Switch, Task, What, IN_HARDIRQ, IN_SOFTIRQ},
    format::{printable, Comm},
};

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
    /// Returns the key for all of this kind that have none of their own. There are not many softirqs and
    /// interrupts.
    fn others(self) -> Self {
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
    fn add(&mut self, cpu: u32, began: u64, ns: u64) {
        self.cpus.entry(cpu).or_default().add(began, ns);
        self.histogram.add(ns);
    }
}

/// More sources of a cause are told by nobody apart.
const MOST_SOURCES: usize = 128;
/// As many are remembered in all: a day has many short-lived processes.
const MOST_SOURCES_IN_ALL: usize = 1 << 15;
/// Nothing nests deeper.
const MOST_FRAMES: usize = 32;
/// As many causes have a place of their own; there are not that many functions in use.
const MOST_CAUSES: usize = 1 << 13;
/// And as many for each CPU, which has threads of its own.
const MOST_CAUSES_PER_CPU: usize = 16;
/// As many threads may have been taken off their CPU in the middle of something, at least.
const MOST_PARKED: usize = 1 << 10;
/// As many threads may be woken that do not run yet, or requests be on their way.
const MOST_WOKEN: usize = 1 << 12;
/// As many work items may be queued, delayed ones among them.
const MOST_QUEUED: usize = 1 << 13;
/// As many timers may be armed. Most of them never expire.
const MOST_ARMED: usize = 1 << 14;

/// The names of as many tasks are remembered.
const MOST_TASKS: usize = 1 << 16;

/// Something that has begun.
#[derive(Clone, Debug)]
struct Frame {
    key: Key,
    /// Where it is.
    cpu: u32,
    /// What will end; nothing for a thread.
    task: Option<Task>,
    began: u64,
    ns: u64,
    source: Option<Source>,
    /// This program has caused it.
    own: bool,
}

/// A CPU.
#[derive(Debug, Default)]
struct Cpu {
    /// What has begun, the uppermost last.
    frames: Vec<Frame>,
    /// Until when the uppermost frame has its time.
    since: u64,
}

/// Adds up everything.
#[derive(Debug)]
pub struct Engine {
    outside: CpuSet,
    outside_count: usize,
    own_pid: u32,
    cpus: HashMap<u32, Cpu>,
    /// What threads took off their CPU with them, by number.
    parked: Memory<u32, Vec<Frame>>,
    /// The names of tasks.
    tasks: HashMap<u32, Name>,
    /// Who wakes a thread, by its number.
    woken: Memory<u32, Source>,
    /// Who queues a work item, with its function and workqueue, by its address.
    queued: Memory<u64, (u64, Name, Source)>,
    /// The workqueue on which a function was seen last.
    queues: Memory<u64, Name>,
    /// Who arms a timer, with its function, by its address.
    armed: Memory<u64, (u64, Source)>,
    /// Who raises a softirq on a CPU.
    raised: HashMap<(u32, u64), Source>,
    /// Who asks for a call, by the address of the request.
    asked: Memory<u64, Source>,
    /// Who interrupts a CPU, for the scheduler or for calls.
    interrupted: HashMap<(u32, bool), Source>,
    /// What is known of each cause.
    pub tallies: HashMap<Key, Tally>,
    /// How many sources they have together.
    sources: usize,
    /// What the CPUs have lost.
    pub disturbances: Disturbances,
    /// How often this program was the origin.
    pub own: u64,
    /// How often something ran that is not told from others of its kind.
    pub untold: u64,
}

/// Whether a worker with this name has to be where it is.
fn is_bound(worker: &str) -> bool {
    let rest = worker.strip_prefix("kworker/");

    !rest.is_some_and(|rest| rest.starts_with(['u', 'R']))
}

impl Engine {
    /// Returns one for these CPUs. What the process `own_pid` wants is not counted.
    pub fn new(outside: CpuSet, own_pid: u32) -> Self {
        Self {
            outside_count: outside.len(),
            outside,
            own_pid,
            cpus: HashMap::new(),
            parked: Memory::new(MOST_PARKED),
            tasks: HashMap::new(),
            woken: Memory::new(MOST_WOKEN),
            queued: Memory::new(MOST_QUEUED),
            queues: Memory::new(MOST_WOKEN),
            armed: Memory::new(MOST_ARMED),
            raised: HashMap::new(),
            asked: Memory::new(MOST_WOKEN),
            interrupted: HashMap::new(),
            tallies: HashMap::new(),
            sources: 0,
            disturbances: Disturbances::default(),
            own: 0,
            untold: 0,
        }
    }

    /// Takes an event. `next` is the index of the kernel thread that runs after a switch, and `comm`
    /// finds the name of a task that has not been seen.
    pub fn take(
        &mut self,
        event: &Event,
        next: Option<usize>,
        names: &mut Names,
        comm: &mut dyn FnMut(u32) -> String,
    ) {
        let (cpu, time) = (event.cpu, event.time);

        match &event.what {
            What::Switch(switch) => self.switch(cpu, time, switch, next, names),
            What::Wake(pid) => {
                let source = self.source(event, names, comm);
                self.woken.insert(*pid, source);
            }
            What::Queue {
                work,
                function,
                queue,
            } => {
                let source = self.source(event, names, comm);
                self.queues.insert(*function, *queue);
                self.queued.insert(*work, (*function, *queue, source));
            }
            What::Arm { timer, function } => {
                let source = self.source(event, names, comm);
                self.armed.insert(*timer, (*function, source));
            }
            What::Raise(vector) => {
                let source = self.source(event, names, comm);
                self.raised.entry((cpu, *vector)).or_insert(source);
            }
            What::Ask { request, .. } => {
                let source = self.source(event, names, comm);
                self.asked.insert(*request, source);
            }
            What::Interrupt { cpus, reschedule } => {
                let source = self.source(event, names, comm);
                for target in cpus.and(&self.outside).iter() {
                    self.interrupted
                        .insert((target, *reschedule), source.clone());
                }
            }
            What::Begin {
                task,
                function,
                name,
            } => {
                // A call of this CPU to itself has no request.
                let local = *task == Task::Call(0);
                let source = local.then(|| self.source(event, names, comm));
                self.begin(event, *task, *function, *name, source, names);
            }
            What::End(task) => self.end(cpu, time, *task),
            What::Nmi { function, ns } => self.nmi(cpu, time, *function, *ns),
            What::Stack(_) => {}
            What::Lost(_) => self.lose(cpu),
        }
    }

    /// Gives the time until now to what is uppermost.
    fn charge(&mut self, cpu: u32, now: u64) {
        let counted = self.outside.contains(cpu);
        let state = self.cpus.entry(cpu).or_default();
        let since = state.since;
        let ns = now.saturating_sub(since);

        state.since = now.max(since);
        let Some(top) = state.frames.last_mut() else {
            return;
        };
        top.ns = top.ns.saturating_add(ns);
        if counted && !top.own {
            let key = top.key;
            self.disturbances.add(cpu, key, since, ns);
        }
    }

    /// Takes note that something is over.
    fn record(&mut self, frame: Frame) {
        let cpu = frame.cpu;
        if !self.outside.contains(cpu) {
            return;
        }
        if frame.own {
            self.own += 1;
            return;
        }
        let room = self.sources < MOST_SOURCES_IN_ALL;
        let tally = self.tally(frame.key);
        tally.add(cpu, frame.began, frame.ns);
        if let Some(source) = frame.source {
            let room = room && tally.sources.len() < MOST_SOURCES;
            match tally.sources.get_mut(&source) {
                Some(count) => *count += 1,
                None if room => {
                    tally.sources.insert(source, 1);
                    self.sources += 1;
                }
                None => tally.others += 1,
            }
        }
    }

    /// Returns what is known of a cause; when there are too many, those that come later are told by kind.
    fn tally(&mut self, key: Key) -> &mut Tally {
        let most = MOST_CAUSES + MOST_CAUSES_PER_CPU * self.outside_count;
        let full = self.tallies.len() >= most && !self.tallies.contains_key(&key);

        self.untold += u64::from(full);
        let key = if full { key.others() } else { key };
        self.tallies.entry(key).or_default()
    }

    fn push(&mut self, now: u64, frame: Frame) {
        let cpu = frame.cpu;
        self.charge(cpu, now);
        let state = self.cpus.entry(cpu).or_default();
        if state.frames.len() < MOST_FRAMES {
            state.frames.push(frame);
        }
    }

    fn is_own(&self, source: Option<&Source>) -> bool {
        source.is_some_and(|source| source.pid == self.own_pid)
    }

    fn switch(
        &mut self,
        cpu: u32,
        now: u64,
        switch: &Switch,
        next: Option<usize>,
        names: &mut Names,
    ) {
        self.charge(cpu, now);
        self.name(switch.prev_pid, &switch.prev_comm, names);
        self.name(switch.next_pid, &switch.next_comm, names);
        let Some(state) = self.cpus.get_mut(&cpu) else {
            return;
        };
        let mut kept = Vec::new();
        for frame in std::mem::take(&mut state.frames) {
            match frame.task {
                // With PREEMPT_RT, all but interrupts themselves are the thread's.
                Some(Task::Work(_) | Task::Softirq(_) | Task::Timer(_) | Task::Call(_)) => {
                    kept.push(frame);
                }
                _ => self.record(frame),
            }
        }
        // The idle threads have the same number, and nothing to keep.
        if !kept.is_empty() && switch.prev_pid != 0 {
            self.parked.insert(switch.prev_pid, kept);
        }
        let source = self.woken.remove(&switch.next_pid);
        let mut back = self.parked.remove(&switch.next_pid).unwrap_or_default();
        let own = self.is_own(source.as_ref());
        for frame in back.iter_mut().filter(|frame| frame.cpu != cpu) {
            // The thread has moved. What it did there is over, and it begins here.
            let there = frame.clone();
            (frame.cpu, frame.began, frame.ns) = (cpu, now, 0);
            self.record(there);
        }
        let thread = next.map(|index| Frame {
            key: Key::Thread(index),
            cpu,
            task: None,
            began: now,
            ns: 0,
            source,
            own,
        });
        let state = self.cpus.entry(cpu).or_default();
        state.frames.extend(thread);
        state.frames.extend(back);
    }

    fn begin(
        &mut self,
        event: &Event,
        task: Task,
        function: u64,
        name: Name,
        local: Option<Source>,
        names: &Names,
    ) {
        let cpu = event.cpu;
        let (key, source) = match task {
            Task::Work(work) => {
                let queued = self.queued.remove(&work);
                let same = queued.filter(|(queued, ..)| *queued == function);
                let (queue, source) = match same {
                    Some((_, queue, source)) => (queue, Some(source)),
                    None => (
                        self.queues.get(&function).copied().unwrap_or_default(),
                        None,
                    ),
                };
                let worker = self.tasks.get(&event.pid).map(|name| names.word(*name));
                let key = Key::Work {
                    function,
                    queue,
                    // Work in a softirq has to be where it was queued, whoever is interrupted.
                    bound: event.flags & IN_SOFTIRQ != 0 || worker.is_none_or(is_bound),
                };
                (key, source)
            }
            Task::Softirq(vector) => {
                let source = self.raised.remove(&(cpu, vector));
                (Key::Softirq(vector), source)
            }
            Task::Timer(timer) => {
                let armed = self.armed.get(&timer);
                let same = armed.filter(|(armed, _)| *armed == function);
                (Key::Timer(function), same.map(|(_, source)| source.clone()))
            }
            Task::Irq(number) => (Key::Irq(number, name), None),
            Task::Vector(name) => {
                let word = names.word(name);
                let kind = match word {
                    "reschedule" => Some(true),
                    _ if word.starts_with("call_function") => Some(false),
                    _ => None,
                };
                let source = kind.and_then(|kind| self.interrupted.remove(&(cpu, kind)));
                (Key::Vector(name), source)
            }
            Task::Call(request) => {
                let source = local.or_else(|| self.asked.remove(&request));
                (Key::Call(function), source)
            }
        };

        let own = self.is_own(source.as_ref());
        self.push(
            event.time,
            Frame {
                key,
                cpu,
                task: Some(task),
                began: event.time,
                ns: 0,
                source,
                own,
            },
        );
    }

    fn end(&mut self, cpu: u32, now: u64, task: Task) {
        self.charge(cpu, now);
        let Some(state) = self.cpus.get_mut(&cpu) else {
            return;
        };
        let same = |frame: &Frame| frame.task == Some(task);
        // Its beginning may have been before ours, and ends may have been lost.
        if let Some(at) = state.frames.iter().rposition(same) {
            for frame in state.frames.split_off(at) {
                self.record(frame);
            }
        }
    }

    /// This is told at its end, and nothing nests in it.
    fn nmi(&mut self, cpu: u32, now: u64, function: u64, ns: u64) {
        if !self.outside.contains(cpu) {
            return;
        }
        self.charge(cpu, now);
        let began = now.saturating_sub(ns);
        self.tally(Key::Nmi(function)).add(cpu, began, ns);
        let idle = self.cpus.get(&cpu).is_some_and(|cpu| cpu.frames.is_empty());
        if idle {
            self.disturbances.add(cpu, Key::Nmi(function), began, ns);
        }
    }

    /// Events of a CPU have been lost: nobody knows what it does.
    fn lose(&mut self, cpu: u32) {
        if let Some(state) = self.cpus.get_mut(&cpu) {
            state.frames.clear();
        }
    }

    /// Remembers the name of a task.
    fn name(&mut self, pid: u32, comm: &Comm, names: &mut Names) {
        // All idle threads have this number.
        if pid == 0 {
            return;
        }
        if self.tasks.len() >= MOST_TASKS && !self.tasks.contains_key(&pid) {
            self.tasks.clear();
        }
        let name = names.number(&printable(comm));
        self.tasks.insert(pid, name);
    }

    /// Returns who caused an event.
    fn source(
        &mut self,
        event: &Event,
        names: &mut Names,
        comm: &mut dyn FnMut(u32) -> String,
    ) -> Source {
        let mut source = Source {
            who: Name::default(),
            pid: 0,
            cpu: event.cpu,
            context: Context::Task,
            stack: event.stack.clone(),
        };
        let frames = self.cpus.get(&event.cpu).map(|cpu| &cpu.frames);
        let top = frames.and_then(|frames| frames.last());
        let hardirq = event.flags & IN_HARDIRQ != 0;
        let softirq = event.flags & IN_SOFTIRQ != 0;
        // On the CPUs of the list, the work that is interrupted is all that is known.
        let is_work = !hardirq && (!softirq || self.outside.contains(event.cpu));

        match top.map(|frame| (frame.key, &frame.source)) {
            // Who armed the timer, or asked for the call, is who wants what it does.
            Some((key @ (Key::Timer(_) | Key::Call(_)), wanted)) => {
                source.context = Context::In(key);
                if let Some(wanted) = wanted {
                    (source.who, source.pid, source.cpu) = (wanted.who, wanted.pid, wanted.cpu);
                }
                return source;
            }
            Some((key @ (Key::Softirq(_) | Key::Irq(..) | Key::Vector(_) | Key::Nmi(_)), _)) => {
                source.context = Context::In(key);
                return source;
            }
            Some((key @ Key::Work { .. }, _)) if is_work => source.context = Context::In(key),
            Some((Key::Work { .. } | Key::Thread(_), _)) | None => {
                source.context = match (hardirq, softirq) {
                    (true, _) => Context::Hardirq,
                    (_, true) => Context::Softirq,
                    _ => Context::Task,
                };
                if source.context != Context::Task {
                    return source;
                }
            }
        }

        source.pid = event.pid;
        // All idle threads have this number.
        if event.pid != 0 {
            let known = self.tasks.get(&event.pid).copied();
            source.who = known.unwrap_or_else(|| {
                let name = names.number(&comm(event.pid));
                if self.tasks.len() < MOST_TASKS {
                    self.tasks.insert(event.pid, name);
                }
                name
            });
        }
        source
    }

    /// Ends the recording: what runs has run until now.
    pub fn finish(&mut self, end: u64) {
        let cpus: Vec<_> = self.cpus.keys().copied().collect();

        let parked: Vec<_> = self.parked.drain().flatten().collect();
        for frame in parked {
            self.record(frame);
        }
        for cpu in cpus {
            self.charge(cpu, end);
            let Some(state) = self.cpus.get_mut(&cpu) else {
                continue;
            };
            for frame in std::mem::take(&mut state.frames) {
                self.record(frame);
            }
        }
        self.disturbances.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        engine: Engine,
        names: Names,
    }

    impl Bench {
        /// CPUs 2 and 3 are outside, and 99 is this program.
        fn new() -> Self {
            Self {
                engine: Engine::new(CpuSet::parse_any("2-3").unwrap(), 99),
                names: Names::default(),
            }
        }

        fn event(&mut self, cpu: u32, time: u64, pid: u32, flags: u8, what: What) {
            let next = match &what {
                // Kernel threads have numbers below 50.
                What::Switch(switch) => match switch.next_pid {
                    pid @ 1..50 => Some(pid as usize),
                    _ => None,
                },
                _ => None,
            };
            let event = Event {
                time,
                cpu,
                pid,
                flags,
                what,
                stack: None,
            };
            let mut comm = |pid| format!("task{pid}");
            self.engine.take(&event, next, &mut self.names, &mut comm);
        }

        fn switch(&mut self, cpu: u32, time: u64, prev: u32, next: u32, name: &str) {
            let mut comm = Comm::default();
            comm[..name.len()].copy_from_slice(name.as_bytes());
            let what = What::Switch(Switch {
                prev_pid: prev,
                prev_comm: *b"before\0\0\0\0\0\0\0\0\0\0",
                next_pid: next,
                next_comm: comm,
            });
            self.event(cpu, time, prev, 0, what);
        }

        fn begin(&mut self, cpu: u32, time: u64, task: Task, function: u64) {
            let name = match task {
                Task::Vector(name) => name,
                _ => Name::default(),
            };
            let what = What::Begin {
                task,
                function,
                name,
            };
            self.event(cpu, time, 0, 0, what);
        }

        fn end(&mut self, cpu: u32, time: u64, task: Task) {
            self.event(cpu, time, 0, 0, What::End(task));
        }

        fn took(&self, key: Key) -> (u64, u64, u64) {
            let tally = &self.engine.tallies[&key];
            let mut all = Took::default();
            tally.cpus.values().for_each(|took| all.merge(took));
            (all.count, all.ns, all.longest_ns)
        }

        fn source(&self, key: Key) -> Source {
            let sources = &self.engine.tallies[&key].sources;
            assert_eq!(sources.len(), 1, "{sources:?}");
            sources.keys().next().unwrap().clone()
        }
    }

    #[test]
    fn what_interrupts_has_its_own_time() {
        let mut bench = Bench::new();

        bench.switch(2, 100, 0, 7, "kcompactd0");
        bench.begin(2, 110, Task::Irq(24), 0);
        bench.begin(2, 113, Task::Timer(0xa), 0xf);
        bench.end(2, 114, Task::Timer(0xa));
        bench.end(2, 120, Task::Irq(24));
        bench.begin(2, 120, Task::Softirq(3), 0);
        bench.end(2, 150, Task::Softirq(3));
        bench.switch(2, 160, 7, 60, "app");
        bench.engine.finish(1000);

        assert_eq!(bench.took(Key::Thread(7)), (1, 20, 20));
        assert_eq!(bench.took(Key::Irq(24, Name::default())), (1, 9, 9));
        assert_eq!(bench.took(Key::Timer(0xf)), (1, 1, 1));
        assert_eq!(bench.took(Key::Softirq(3)), (1, 30, 30));
        assert_eq!(bench.engine.disturbances.noise().len(), 1);
        assert_eq!(bench.engine.disturbances.noise()[0].1.ns, 60);
        assert_eq!(bench.engine.disturbances.worst.len(), 1);
        assert_eq!(bench.engine.disturbances.worst[0].parts.len(), 4);
    }

    #[test]
    fn work_leaves_its_cpu_with_its_worker() {
        let mut bench = Bench::new();
        let queue = bench.names.number("events");
        let work = Task::Work(0x10);
        let key = Key::Work {
            function: 0xf,
            queue,
            bound: true,
        };
        bench.event(
            0,
            90,
            70,
            0,
            What::Queue {
                work: 0x10,
                function: 0xf,
                queue,
            },
        );
        bench.switch(2, 100, 0, 7, "kworker/2:1");
        bench.event(
            2,
            101,
            7,
            0,
            What::Begin {
                task: work,
                function: 0xf,
                name: Name::default(),
            },
        );
        bench.switch(2, 111, 7, 60, "app");
        bench.switch(2, 211, 60, 7, "kworker/2:1");
        bench.end(2, 221, work);
        bench.switch(2, 223, 7, 0, "swapper/2");

        assert_eq!(bench.took(key), (1, 20, 20));
        assert_eq!(bench.took(Key::Thread(7)), (2, 3, 2));
        let source = bench.source(key);
        assert_eq!((source.pid, source.cpu), (70, 0));
        assert_eq!(bench.names.word(source.who), "task70");
    }

    #[test]
    fn work_counts_where_it_was() {
        let mut bench = Bench::new();
        let key = Key::Work {
            function: 0xf,
            queue: Name::default(),
            bound: false,
        };

        bench.switch(2, 100, 0, 7, "kworker/u8:1");
        bench.event(
            2,
            100,
            7,
            0,
            What::Begin {
                task: Task::Work(0x10),
                function: 0xf,
                name: Name::default(),
            },
        );
        bench.switch(2, 110, 7, 0, "swapper/2");
        // It goes on inside, and once more outside, where it sleeps until the end.
        bench.switch(0, 200, 0, 7, "kworker/u8:1");
        bench.switch(0, 250, 7, 0, "swapper/0");
        bench.switch(3, 300, 0, 7, "kworker/u8:1");
        bench.switch(3, 305, 7, 0, "swapper/3");
        bench.engine.finish(1000);

        let cpus = &bench.engine.tallies[&key].cpus;
        let took: Vec<_> = cpus
            .iter()
            .map(|(cpu, took)| (*cpu, took.count, took.ns))
            .collect();
        assert_eq!(took, [(2, 1, 10), (3, 1, 5)]);
    }

    #[test]
    fn unbound_workers_may_go() {
        assert!(is_bound("kworker/5:1"));
        assert!(is_bound("kworker/5:1H"));
        assert!(!is_bound("kworker/u16:1"));
        assert!(!is_bound("kworker/R-rcu_gp"));
    }

    #[test]
    fn who_arms_a_timer_is_who_queues_its_work() {
        let mut bench = Bench::new();
        let queue = bench.names.number("mm_percpu_wq");

        bench.switch(0, 5, 0, 8, "kworker/0:1");
        bench.event(
            0,
            10,
            8,
            0,
            What::Arm {
                timer: 0xa,
                function: 0xd,
            },
        );
        bench.begin(2, 100, Task::Softirq(1), 0);
        bench.begin(2, 101, Task::Timer(0xa), 0xd);
        bench.event(
            2,
            102,
            60,
            IN_SOFTIRQ,
            What::Queue {
                work: 0x10,
                function: 0xf,
                queue,
            },
        );
        bench.event(2, 103, 60, IN_SOFTIRQ, What::Wake(7));
        bench.end(2, 104, Task::Timer(0xa));
        bench.end(2, 105, Task::Softirq(1));
        bench.switch(2, 106, 60, 7, "kworker/2:1");
        bench.begin(2, 107, Task::Work(0x10), 0xf);
        bench.end(2, 109, Task::Work(0x10));
        bench.switch(2, 110, 7, 60, "app");

        for key in [
            Key::Thread(7),
            Key::Work {
                function: 0xf,
                queue,
                bound: true,
            },
        ] {
            let source = bench.source(key);
            assert_eq!((source.pid, source.cpu), (8, 0));
            assert_eq!(source.context, Context::In(Key::Timer(0xd)));
            assert_eq!(bench.names.word(source.who), "kworker/0:1");
        }
        assert_eq!(bench.source(Key::Timer(0xd)).context, Context::Task);
    }

    #[test]
    fn calls_have_senders_and_our_own_are_not_counted() {
        let mut bench = Bench::new();
        let vector = bench.names.number("call_function");

        for (pid, time) in [(70, 10), (99, 50)] {
            bench.event(
                1,
                time,
                pid,
                0,
                What::Ask {
                    cpu: 3,
                    request: 0xc,
                },
            );
            bench.event(
                1,
                time + 1,
                pid,
                0,
                What::Interrupt {
                    cpus: std::sync::Arc::new(CpuSet::parse_any("1-3").unwrap()),
                    reschedule: false,
                },
            );
            bench.begin(3, time + 2, Task::Vector(vector), 0);
            bench.begin(3, time + 3, Task::Call(0xc), 0xf);
            bench.end(3, time + 5, Task::Call(0xc));
            bench.end(3, time + 6, Task::Vector(vector));
        }
        assert_eq!(bench.took(Key::Call(0xf)), (1, 2, 2));
        assert_eq!(bench.took(Key::Vector(vector)), (1, 2, 2));
        assert_eq!(bench.source(Key::Call(0xf)).pid, 70);
        assert_eq!(bench.source(Key::Vector(vector)).pid, 70);
        assert_eq!(bench.engine.own, 2);
        bench.engine.finish(100);
        assert_eq!(bench.engine.disturbances.noise()[0].1.ns, 4);
    }

    #[test]
    fn a_cpu_may_call_itself() {
        let mut bench = Bench::new();
        let what = What::Begin {
            task: Task::Call(0),
            function: 0xf,
            name: Name::default(),
        };

        bench.event(2, 10, 70, 0, what);
        bench.end(2, 12, Task::Call(0));
        assert_eq!(bench.took(Key::Call(0xf)), (1, 2, 2));
        let source = bench.source(Key::Call(0xf));
        assert_eq!((source.pid, source.cpu), (70, 2));
    }

    #[test]
    fn inside_nothing_is_counted() {
        let mut bench = Bench::new();

        bench.switch(0, 10, 0, 7, "ksmd");
        bench.begin(0, 11, Task::Irq(1), 0);
        bench.end(0, 12, Task::Irq(1));
        bench.event(0, 13, 0, 0, What::Nmi { function: 1, ns: 1 });
        bench.switch(0, 14, 7, 0, "swapper/0");
        bench.engine.finish(20);
        assert!(bench.engine.tallies.is_empty());
        assert!(bench.engine.disturbances.noise().is_empty());
    }

    #[test]
    fn ends_and_beginnings_may_be_lost() {
        let mut bench = Bench::new();

        bench.end(2, 10, Task::Irq(1));
        bench.begin(2, 20, Task::Irq(1), 0);
        bench.begin(2, 21, Task::Softirq(1), 0);
        bench.end(2, 30, Task::Irq(1));
        assert_eq!(bench.took(Key::Softirq(1)), (1, 9, 9));
        bench.begin(2, 40, Task::Irq(2), 0);
        bench.event(2, 50, 0, 0, What::Lost(3));
        bench.end(2, 60, Task::Irq(2));
        assert!(!bench
            .engine
            .tallies
            .contains_key(&Key::Irq(2, Name::default())));
        for _ in 0..100 {
            bench.begin(2, 70, Task::Irq(3), 0);
        }
        // Time that goes back takes nothing.
        bench.end(2, 1, Task::Irq(3));
        assert_eq!(bench.took(Key::Irq(3, Name::default())).1, 0);
    }
}
