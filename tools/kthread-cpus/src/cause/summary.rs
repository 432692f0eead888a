// SPDX-License-Identifier: GPL-2.0

//! From what was added up to what is told: names in place of addresses, and what is of one kind
//! together.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use crate::{
    cause::{
        engine::{is_bound, Engine},
        histogram::Histogram,
        origin::{Armed, Context, Source},
        settled::Settled,
        table::{self, Wanted},
        tally::{Key, Tally, Took},
        Account, Cause, Disturbance, Kind, Noise, Origin, Part, Share,
    },
    cpuset::{CpuSet, Named, LIMIT},
    events::{Decoder, Name},
    machine::Root,
    symbols::Symbols,
    threads::{self, family, Class},
};

/// What those are called that are not told apart.
const OTHERS: &str = "others";

/// As many origins of a cause are told.
const MOST_ORIGINS: usize = 8;

/// What names need to be told.
pub struct Words<'a> {
    /// The words of the events.
    pub decoder: &'a Decoder,
    /// The functions.
    pub symbols: &'a mut Symbols,
    /// Where they are looked up.
    pub root: &'a Root,
    /// The name and the class of the kernel thread with an index.
    pub thread: &'a dyn Fn(usize) -> Option<(&'a str, Class)>,
    /// The CPUs for kernel threads.
    pub list: &'a CpuSet,
    /// What the machine was booted with.
    pub settled: &'a Settled,
}

/// What tells a cause from others.
type Label = (Kind, String, String);

impl Words<'_> {
    fn word(&self, name: Name) -> String {
        self.decoder.names.word(name).to_owned()
    }

    /// Returns the thread with this index as it is called, those together of which there is one for
    /// each CPU.
    fn thread(&self, index: usize) -> (String, Class) {
        match (self.thread)(index) {
            Some((name, class @ (Class::PerCpu | Class::Workqueue))) => (family(name), class),
            Some((name, class)) => (name.to_owned(), class),
            None => (OTHERS.to_owned(), Class::Bound),
        }
    }

    /// Returns the name of a function.
    fn function(&self, address: u64) -> String {
        match address {
            0 => OTHERS.to_owned(),
            address => self.symbols.show(address),
        }
    }

    fn label(&self, key: Key) -> Label {
        match key {
            Key::Thread(index) => (Kind::Thread, self.thread(index).0, String::new()),
            Key::Work {
                function,
                queue,
                bound,
            } => {
                let queue = self.word(queue);
                let unbound = if bound { "" } else { " (unbound)" };
                (
                    Kind::Work,
                    self.function(function),
                    format!("{queue}{unbound}"),
                )
            }
            Key::Softirq(number) => {
                let mut names = self.decoder.softirqs.iter();
                let found = names.find(|(known, _)| *known == number);
                let name = found.map_or_else(|| number.to_string(), |(_, name)| name.clone());
                (Kind::Softirq, name, String::new())
            }
            Key::Timer(function) => (Kind::Timer, self.function(function), String::new()),
            Key::Irq(number, name) => (Kind::Irq, number.to_string(), self.word(name)),
            Key::Vector(name) => (Kind::Vector, self.word(name), String::new()),
            Key::Call(function) => (Kind::Call, self.function(function), String::new()),
            Key::Nmi(function) => (Kind::Nmi, self.function(function), String::new()),
        }
    }

    /// Returns why it may be there, and what moves it.
    fn advice(&self, key: Key) -> (&'static table::Row, Option<u64>) {
        match key {
            Key::Thread(index) => {
                let (name, class) = self.thread(index);
                let irq = threads::irq_number(&name).map(u64::from);
                (table::of_thread(&name, class), irq)
            }
            Key::Work {
                function,
                queue,
                bound,
            } => {
                let queue = self.decoder.names.word(queue);
                let row = table::of_work(&self.symbols.show(function), queue, bound);
                (row, None)
            }
            Key::Irq(number, name) => {
                let name = self.decoder.names.word(name);
                (table::of(Kind::Irq, name, ""), Some(number))
            }
            key => {
                let (kind, name, detail) = self.label(key);
                (table::of(kind, &name, &detail), None)
            }
        }
    }

    /// Returns where something was wanted, if that is known.
    fn wanted(&self, kind: Kind, source: &Source) -> Option<Wanted> {
        let inside = self.list.contains(source.cpu);
        let who = self.decoder.names.word(source.who);
        let by_work = who.starts_with("kworker/") && is_bound(who);
        let by_itself = kind == Kind::Timer && matches!(source.context, Context::In(Key::Timer(_)));

        Some(match source.armed {
            Armed::Unknown => return None,
            Armed::Free if inside => Wanted::ByTimer,
            Armed::Pinned if inside || by_work => Wanted::ByName,
            Armed::Not if inside => Wanted::ByName,
            _ if by_work || by_itself => Wanted::Again,
            _ => Wanted::Outside,
        })
    }

    fn origin(&self, source: &Source, count: u64) -> Origin {
        let via = match source.context {
            Context::Task => String::new(),
            Context::In(key) => {
                let (kind, name, detail) = self.label(key);
                match (kind, detail.as_str()) {
                    (Kind::Work, detail) => format!("work {name} on {detail}"),
                    (kind, "") => format!("{kind} {name}"),
                    (kind, detail) => format!("{kind} {name} {detail}"),
                }
            }
            Context::Hardirq => "an interrupt".to_owned(),
            Context::Softirq => "a softirq".to_owned(),
        };
        let frames = source.stack.iter().flat_map(|stack| stack.iter());
        let names = frames.map(|&address| self.symbols.show(address));

        Origin {
            who: match source.pid {
                0 => String::new(),
                _ => self.word(source.who),
            },
            pid: source.pid,
            cpu: source.cpu,
            via,
            count,
            stack: trim(names.collect(), source.context != Context::Task),
        }
    }
}

/// Cuts a stack to what tells something: not how it was traced, and not what an interrupt interrupted.
fn trim(mut stack: Vec<String>, interrupt: bool) -> Vec<String> {
    let hooks = ["trace_event_", "__traceiter_", "__do_trace_", "0x"];
    let tracing = |name: &String| hooks.iter().any(|hook| name.starts_with(hook));
    let begin = stack.iter().take_while(|name| tracing(name)).count();
    stack.drain(..begin);
    if interrupt {
        // As x86 and arm64 call where an interrupt comes in.
        let entry = ["asm_", "el1", "el0", "call_on_irq_stack"];
        let is_entry = |name: &String| entry.iter().any(|prefix| name.starts_with(prefix));
        if let Some(at) = stack.iter().position(is_entry) {
            stack.truncate(at + 1);
        }
    }
    stack
}

/// What is known of a label, of all its keys together.
struct Group<'a> {
    key: Key,
    cpus: BTreeMap<u32, Took>,
    histogram: Histogram,
    sources: HashMap<&'a Source, u64>,
    others: u64,
}

impl<'a> Group<'a> {
    fn new(key: Key) -> Self {
        Self {
            key,
            cpus: BTreeMap::new(),
            histogram: Histogram::default(),
            sources: HashMap::new(),
            others: 0,
        }
    }

    fn add(&mut self, tally: &'a Tally) {
        for (cpu, took) in &tally.cpus {
            self.cpus.entry(*cpu).or_default().merge(took);
        }
        self.histogram.merge(tally.histogram.counts());
        for (source, count) in &tally.sources {
            *self.sources.entry(source).or_default() += count;
        }
        self.others += tally.others;
    }

    fn cause(self, label: Label, begin: u64, words: &Words<'_>) -> Cause {
        let (kind, name, detail) = label;
        let (row, irq) = words.advice(self.key);
        let mut all = Took::default();
        let mut longest_cpu = 0;
        for (cpu, took) in &self.cpus {
            if all.count == 0 || took.longest_ns > all.longest_ns {
                longest_cpu = *cpu;
            }
            all.merge(took);
        }
        let on: CpuSet = self
            .cpus
            .keys()
            .copied()
            .filter(|cpu| *cpu < LIMIT)
            .collect();
        let times = self.sources.iter();
        let times = times.filter_map(|(source, count)| Some((words.wanted(kind, source)?, *count)));
        let list = Named(words.list).to_string();
        let (means, remedy) = row.remedy(irq, &list, &Vec::from_iter(times));
        // Several may have the same name.
        let mut origins: BTreeMap<_, Origin> = BTreeMap::new();
        for (source, count) in self.sources {
            let origin = words.origin(source, count);
            let key = (
                origin.pid,
                origin.cpu,
                origin.via.clone(),
                origin.who.clone(),
                origin.stack.clone(),
            );
            match origins.get_mut(&key) {
                Some(known) => known.count = known.count.saturating_add(count),
                None => {
                    origins.insert(key, origin);
                }
            }
        }
        let mut origins: Vec<_> = origins.into_values().collect();
        origins.sort_by_key(|origin| Reverse(origin.count));
        let rest = origins.iter().skip(MOST_ORIGINS).map(|origin| origin.count);
        let others = self.others + rest.sum::<u64>();
        origins.truncate(MOST_ORIGINS);

        Cause {
            kind,
            name,
            detail,
            count: all.count,
            ns: all.ns,
            longest_ns: all.longest_ns,
            longest_at: all.longest_at.saturating_sub(begin),
            longest_cpu,
            cpus: self
                .cpus
                .into_iter()
                .map(|(cpu, took)| Share {
                    cpu,
                    count: took.count,
                    ns: took.ns,
                    longest_ns: took.longest_ns,
                })
                .collect(),
            histogram: self.histogram.counts().to_vec(),
            origins,
            others,
            why: row.why.to_owned(),
            remedy: words.settled.remark(remedy, &on),
            means,
        }
    }
}

/// Returns what is to be told of what has been added up since `begin`.
pub fn account(engine: &Engine, begin: u64, words: &mut Words<'_>) -> Account {
    let parts = engine
        .disturbances
        .worst
        .iter()
        .flat_map(|worst| &worst.parts);
    let keys = engine.tallies.keys().chain(parts.map(|part| &part.0));
    let mut addresses: BTreeSet<_> = keys.filter_map(Key::function).collect();
    for source in engine
        .tallies
        .values()
        .flat_map(|tally| tally.sources.keys())
    {
        if let Context::In(key) = source.context {
            addresses.extend(key.function());
        }
        addresses.extend(source.stack.iter().flat_map(|stack| stack.iter()));
    }
    words.symbols.resolve(words.root, addresses);

    let mut groups: BTreeMap<Label, Group<'_>> = BTreeMap::new();
    for (key, tally) in &engine.tallies {
        let group = groups.entry(words.label(*key));
        group.or_insert_with(|| Group::new(*key)).add(tally);
    }
    let mut causes: Vec<_> = groups
        .into_iter()
        .map(|(label, group)| group.cause(label, begin, words))
        .collect();
    causes.sort_by_key(|cause| Reverse((cause.ns, cause.count)));

    let index: HashMap<_, _> = causes
        .iter()
        .enumerate()
        .map(|(index, cause)| ((cause.kind, &*cause.name, &*cause.detail), index))
        .collect();
    let mut worst: Vec<_> = engine
        .disturbances
        .worst
        .iter()
        .map(|interval| {
            let mut parts: Vec<Part> = Vec::new();
            for &(key, ns) in &interval.parts {
                let (kind, name, detail) = words.label(key);
                // What has not ended yet is no cause yet.
                let Some(&cause) = index.get(&(kind, &*name, &*detail)) else {
                    continue;
                };
                match parts.iter_mut().find(|part| part.cause == cause) {
                    Some(part) => part.ns = part.ns.saturating_add(ns),
                    None => parts.push(Part { cause, ns }),
                }
            }
            Disturbance {
                cpu: interval.cpu,
                at: interval.begin.saturating_sub(begin),
                ns: interval.ns,
                parts,
            }
        })
        .collect();
    worst.sort_by_key(|worst| (Reverse(worst.ns), worst.at));
    let noise = engine
        .disturbances
        .noise()
        .into_iter()
        .map(|(cpu, took)| Noise {
            cpu,
            count: took.count,
            ns: took.ns,
            longest_ns: took.longest_ns,
        });

    let mut missing = words.decoder.missing.clone();
    if engine.untold > 0 {
        missing.push(format!(
            "there were too many causes to tell all of them apart: {} times are told as \"others\"",
            engine.untold
        ));
    }
    if words.symbols.are_hidden() {
        missing.push(
            "this kernel does not tell the names of its functions: sysctl kernel.kptr_restrict=0 shows them"
                .to_owned(),
        );
    }

    Account {
        noise: noise.collect(),
        missing,
        own: engine.own,
        causes,
        worst,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::events::{Event, Task, What};

    /// The account of a machine whose CPUs 0 and 1 are for kernel threads, of events at CPU 2.
    fn told(events: Vec<(u32, u32, What)>) -> Vec<Cause> {
        let switch = "ID: 1\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
                      \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
                      \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\
                      \tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;\n\
                      \tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;\n\
                      \tfield:pid_t next_pid;\toffset:44;\tsize:4;\tsigned:1;\n\
                      \tfield:char next_comm[16];\toffset:28;\tsize:16;\tsigned:0;\n";
        let format = |path: &str| (path == crate::events::SWITCH).then(|| switch.to_owned());
        let mut decoder = Decoder::new(&format, &[]).unwrap();
        let mut engine = Engine::new(CpuSet::parse_any("2-3").unwrap(), 99);
        // Workers have numbers below 50.
        let mut name = |pid| match pid {
            0..50 => "kworker/2:1".to_owned(),
            _ => format!("task{pid}"),
        };
        for (time, (cpu, pid, what)) in events.into_iter().enumerate() {
            let event = Event {
                time: time as u64,
                cpu,
                pid,
                flags: 0,
                what,
                stack: None,
            };
            engine.take(&event, None, &mut decoder.names, &mut name);
        }
        let mut words = Words {
            decoder: &decoder,
            symbols: &mut Symbols::default(),
            root: &Root::new(Path::new("/nonexistent")),
            thread: &|_| None,
            list: &CpuSet::parse_any("0-1").unwrap(),
            settled: &Settled::default(),
        };
        account(&engine, 0, &mut words).causes
    }

    /// What happens from the beginning to the end of a timer that is armed on a CPU.
    fn timer(armed: Option<u32>, pinned: bool) -> Vec<(u32, u32, What)> {
        let (timer, function) = (0xa, 0xf);
        let arm = armed.map(|cpu| {
            let what = What::Arm {
                timer,
                function,
                pinned,
            };
            (cpu, 70, what)
        });
        let begin = What::Begin {
            task: Task::Timer(timer),
            function,
            name: Name::default(),
        };

        arm.into_iter()
            .chain([(2, 0, begin), (2, 0, What::End(Task::Timer(timer)))])
            .collect()
    }

    #[test]
    fn a_timer_that_was_armed_on_the_list_is_not_moved_with_its_task() {
        let remedy = |events| {
            let causes = told(events);
            assert_eq!(causes.len(), 1, "{causes:?}");
            (causes[0].means, causes[0].remedy.clone())
        };

        let (means, text) = remedy(timer(Some(0), false));
        assert!(
            text.contains("flag timer") && !text.contains("move"),
            "{text}"
        );
        assert_eq!(means, table::Means::Option);
        let (means, text) = remedy(timer(Some(2), false));
        assert_eq!(
            text,
            "move the task, or the interrupt, that armed it to CPUs 0-1"
        );
        assert_eq!(means, table::Means::Programs);
        // The option does not move what is pinned.
        let (_, text) = remedy(timer(Some(1), true));
        assert!(
            text.contains("for this CPU") && !text.contains("flag"),
            "{text}"
        );
        // Nor does anybody move bound work, but what began elsewhere does not come here.
        let mut events = timer(Some(2), false);
        events[0].1 = 7;
        let (means, text) = remedy(events);
        assert!(text.starts_with("it goes on where it began: kthread_cpus=0-1 (flag timer)"));
        assert_eq!(means, table::Means::Option);
        let mut events = timer(Some(2), true);
        events[0].1 = 7;
        assert!(remedy(events).1.contains("for this CPU"));
        // Nobody has seen who armed it, or both have.
        for events in [
            timer(None, false),
            [timer(Some(0), false), timer(Some(3), false)].concat(),
        ] {
            let (_, text) = remedy(events);
            assert!(text.contains("armed on CPUs 0-1: kthread_cpus="), "{text}");
            assert!(text.contains("; otherwise: move the task"), "{text}");
        }
    }

    #[test]
    fn work_that_a_timer_of_the_list_has_queued_follows_the_timer() {
        let queue = |cpu, pid| {
            let what = What::Queue {
                work: 0x10,
                function: 0xe,
                queue: Name::default(),
                bound: None,
            };
            (cpu, pid, what)
        };
        let run = || {
            let task = Task::Work(0x10);
            let begin = What::Begin {
                task,
                function: 0xe,
                name: Name::default(),
            };
            [(2, 7, begin), (2, 7, What::End(task))]
        };
        let remedy = |events| {
            let causes = told(events);
            let work = causes.iter().find(|cause| cause.kind == Kind::Work);
            work.unwrap().remedy.clone()
        };
        // It is queued where the timer expires.
        let by_timer = |armed, pinned| {
            let mut events = timer(armed, pinned);
            events.insert(events.len() - 1, queue(2, 0));
            events.extend(run());
            remedy(events)
        };
        let by_task = |cpu| remedy([queue(cpu, 70)].into_iter().chain(run()).collect());

        assert!(by_timer(Some(0), false).contains("flag timer"));
        assert!(by_timer(Some(0), true).starts_with("avoid who has it done here"));
        assert_eq!(
            by_timer(Some(3), false),
            "move the task, or the interrupt, that queues it to CPUs 0-1"
        );
        assert!(by_timer(None, false).starts_with("queued by a timer of CPUs 0-1: "));
        assert!(by_task(0).starts_with("avoid who has it done here"));
        assert_eq!(
            by_task(2),
            "move the task, or the interrupt, that queues it to CPUs 0-1"
        );
    }

    #[test]
    fn stacks_are_cut() {
        let stack = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let whole = stack(&[
            "trace_event_raw_event_softirq",
            "__do_trace_softirq_raise",
            "raise_softirq",
            "tick_nohz_handler",
            "asm_sysvec_apic_timer_interrupt",
            "vfs_write",
        ]);

        assert_eq!(
            trim(whole.clone(), true),
            [
                "raise_softirq",
                "tick_nohz_handler",
                "asm_sysvec_apic_timer_interrupt"
            ]
        );
        assert_eq!(trim(whole, false).last().unwrap(), "vfs_write");
        assert!(trim(stack(&["0x1"]), true).is_empty());
    }
}
