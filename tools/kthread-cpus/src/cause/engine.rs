// SPDX-License-Identifier: GPL-2.0

//! Adds up what ran on the CPUs outside of the list.
//!
//! What interrupts something is above it on a stack, and time is that of the uppermost. Each CPU has
//! such a stack; what belongs to a thread, as a work item does, leaves the CPU with it and comes back
//! with it.

use std::collections::HashMap;

use crate::{
    cause::{
        disturbance::Disturbances,
        origin::{Armed, Context, Memory, Source},
        tally::{Key, Tally},
    },
    cpuset::CpuSet,
    events::{Event, Name, Names, Switch, Task, What, IN_HARDIRQ, IN_SOFTIRQ},
    format::{printable, Comm},
};

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

/// A workqueue.
#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    name: Name,
    /// Whether what was queued there has to run on a CPU, if that was told.
    bound: Option<bool>,
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
    queued: Memory<u64, (u64, Queue, Source)>,
    /// The workqueue on which a function was seen last.
    queues: Memory<u64, Queue>,
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
pub(super) fn is_bound(worker: &str) -> bool {
    let rest = worker.strip_prefix("kworker/");

    !rest.is_some_and(|rest| rest.starts_with(['u', 'R']))
}

/// Whether a worker with this name takes over what others cannot do.
fn is_rescuer(worker: &str) -> bool {
    worker.starts_with("kworker/R")
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
                bound,
            } => {
                let source = self.source(event, names, comm);
                let queue = Queue {
                    name: *queue,
                    bound: *bound,
                };
                self.queues.insert(*function, queue);
                self.queued.insert(*work, (*function, queue, source));
            }
            What::Arm {
                timer,
                function,
                pinned,
            } => {
                let mut source = self.source(event, names, comm);
                source.armed = match pinned {
                    true => Armed::Pinned,
                    false => Armed::Free,
                };
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
            What::End(task) => self.end(cpu, time, event.pid, *task),
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
                self.end_work(cpu, event.time, event.pid);
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
                // A rescuer goes where the worker would have been.
                let told = queue
                    .bound
                    .filter(|_| source.is_some() || worker.is_some_and(is_rescuer));
                let by_worker = || worker.is_none_or(is_bound);
                let key = Key::Work {
                    function,
                    queue: queue.name,
                    // Work in a softirq has to be where it was queued, whoever is interrupted.
                    bound: event.flags & IN_SOFTIRQ != 0 || told.unwrap_or_else(by_worker),
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

    fn end(&mut self, cpu: u32, now: u64, pid: u32, task: Task) {
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
            return;
        }
        // That the thread has come back may have been lost: it would take this along for ever.
        let Some(mut kept) = self.parked.remove(&pid) else {
            return;
        };
        if let Some(at) = kept.iter().rposition(same) {
            for frame in kept.split_off(at) {
                self.record(frame);
            }
        }
        if !kept.is_empty() {
            self.parked.insert(pid, kept);
        }
    }

    /// A worker begins a work item: what it had begun before has ended, though that was lost.
    fn end_work(&mut self, cpu: u32, now: u64, pid: u32) {
        self.charge(cpu, now);
        let mut ended = self.parked.remove(&pid).unwrap_or_default();
        if let Some(state) = self.cpus.get_mut(&cpu) {
            let is_work = |frame: &Frame| matches!(frame.task, Some(Task::Work(_)));
            // Work that a softirq does is above that.
            let other = state.frames.iter().rposition(|frame| !is_work(frame));
            ended.extend(state.frames.split_off(other.map_or(0, |at| at + 1)));
        }
        for frame in ended {
            self.record(frame);
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
            armed: Armed::Not,
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
                match (wanted, key) {
                    (Some(wanted), _) => {
                        (source.who, source.pid, source.cpu) = (wanted.who, wanted.pid, wanted.cpu);
                        source.armed = wanted.armed;
                    }
                    (None, Key::Timer(_)) => source.armed = Armed::Unknown,
                    (None, _) => {}
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
mod tests;
