// SPDX-License-Identifier: GPL-2.0

//! What is made of events, in small.

use super::*;
use crate::cause::tally::Took;

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
            bound: None,
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
fn a_rescuer_works_where_the_workqueue_says() {
    let mut bench = Bench::new();
    let queue = bench.names.number("kcwork");
    let mut work = |time, item, function, told| {
        if let Some(bound) = told {
            let what = What::Queue {
                work: item,
                function,
                queue,
                bound,
            };
            bench.event(0, time, 70, 0, what);
        }
        bench.switch(2, time + 1, 0, 7, "kworker/R-kcwork");
        let begin = What::Begin {
            task: Task::Work(item),
            function,
            name: Name::default(),
        };
        bench.event(2, time + 2, 7, 0, begin);
        bench.event(2, time + 3, 7, 0, What::End(Task::Work(item)));
        bench.switch(2, time + 4, 7, 0, "swapper/2");
    };

    // What is queued for a CPU, and that of which it was not seen; for any; and on a kernel that
    // does not tell.
    work(10, 0x10, 1, Some(Some(true)));
    work(20, 0x10, 1, None);
    work(30, 0x20, 2, Some(Some(false)));
    work(40, 0x30, 3, Some(None));
    for (function, bound, count) in [(1, true, 2), (2, false, 1), (3, false, 1)] {
        let key = Key::Work {
            function,
            queue,
            bound,
        };
        assert_eq!(bench.took(key).0, count, "{function}");
    }
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
            pinned: false,
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
            bound: None,
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

#[test]
fn what_ends_unseen_does_not_go_on() {
    let mut bench = Bench::new();
    let work = |function| Key::Work {
        function,
        queue: Name::default(),
        bound: false,
    };
    let begin = |address, function| What::Begin {
        task: Task::Work(address),
        function,
        name: Name::default(),
    };

    // Nobody tells that the worker comes back to end it; or to begin another.
    for (at, what) in [(0, What::End(Task::Work(1))), (1000, begin(2, 60))] {
        bench.switch(2, at + 100, 0, 5, "kworker/u8:1");
        bench.event(2, at + 110, 5, 0, begin(1, 50));
        bench.switch(2, at + 120, 5, 500, "user");
        bench.event(2, at + 200, 5, 0, what);
        bench.switch(2, at + 210, 5, 0, "idle");
        for to in [3, 2, 3, 2] {
            bench.switch(to, at + 300, 0, 5, "kworker/u8:1");
            bench.switch(to, at + 310, 5, 0, "idle");
        }
    }
    assert_eq!(bench.took(work(50)), (2, 20, 10));

    // And of this the end is lost, on the CPU where it is.
    bench.switch(3, 3000, 0, 6, "kworker/u8:2");
    bench.event(3, 3000, 6, 0, begin(7, 70));
    bench.event(3, 3010, 6, 0, begin(8, 80));
    bench.event(3, 3030, 6, 0, What::End(Task::Work(8)));
    bench.switch(3, 3100, 6, 0, "idle");
    bench.engine.finish(4000);
    assert_eq!(bench.took(work(70)), (1, 10, 10));
    assert_eq!(bench.took(work(80)), (1, 20, 20));
}
