// SPDX-License-Identifier: GPL-2.0

//! What `watch` takes for a long run: a stream with the processes, workers, timers and work items of a
//! day goes through it. This is a program of its own, for it looks at the memory of all of itself.

// It has more than is needed here.
#[allow(dead_code)]
#[path = "../tool/common.rs"]
mod common;

use std::{fs, path::Path};

use common::Tree;
use kthread_cpus::{
    check::Outcome,
    events::{Event, Switch, Task, What},
    format::Comm,
    machine::Root,
    stream::Stream,
    tracefs::Tracefs,
    watch::{prometheus::Exporter, session::Session},
};

/// Rounds of the stream, in each of which everything is new: more than is remembered of anything.
const ROUNDS: u64 = 60_000;
/// What is between two rounds, which makes them a day.
const ROUND_NS: u64 = 1_440_000_000;
/// Until then everything has as much as it gets, and it must not grow any more.
const SETTLED: u64 = ROUNDS / 3 * 2;
/// It may grow by as much, for the allocator has its moods.
const MOST_GROWTH_KIB: u64 = 3 << 10;
/// As much it may take in all.
const MOST_KIB: u64 = 50 << 10;

/// Returns how much memory this program takes.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));

    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}

fn comm(name: &str) -> Comm {
    let mut comm = Comm::default();
    comm[..name.len()].copy_from_slice(name.as_bytes());
    comm
}

/// Makes the events of a round: a process and a kernel worker that nobody has seen before take turns on
/// CPU 1, and queue, arm, raise and run what has addresses of its own.
fn round(session: &mut Session<'_>, number: u64, events: &mut Vec<Event>) {
    let begin = number * ROUND_NS;
    let names = &mut session.stream.decoder.names;
    let queue = names.number(&format!("queue-{number}"));
    // Numbers come again, with other names.
    let process = 100_000 + (number % 4_000_000) as u32;
    let worker = 5_000_000 + (number % 30_000) as u32;
    let switch = |from: (u32, &str), to: (u32, &str)| {
        What::Switch(Switch {
            prev_pid: from.0,
            prev_comm: comm(from.1),
            next_pid: to.0,
            next_comm: comm(to.1),
        })
    };
    let process = (process, &*format!("p{number}"));
    let worker = (worker, &*format!("kworker/ux:{number}"));
    let address = 0xffff_8880_0000_0000 + number * 0x140;
    // Modules are loaded and removed: functions have new addresses now and then.
    let function = 0xffff_ffff_a000_0000 + number / 100 * 64;
    let task = |task| What::Begin {
        task,
        function,
        name: Default::default(),
    };

    events.clear();
    let mut add = |cpu, after, pid, what| {
        events.push(Event {
            time: begin + after,
            cpu,
            pid,
            flags: 0,
            what,
            stack: Some([function, address].into()),
        });
    };
    add(0, 0, process.0, What::Wake(worker.0));
    add(
        0,
        1_000,
        process.0,
        What::Queue {
            work: address,
            function,
            queue,
            bound: None,
        },
    );
    add(
        0,
        2_000,
        process.0,
        What::Arm {
            timer: address,
            function,
            pinned: false,
        },
    );
    add(1, 10_000, 0, switch((0, "swapper/1"), process));
    add(1, 20_000, process.0, switch(process, worker));
    add(1, 21_000, worker.0, task(Task::Work(address)));
    add(1, 30_000, worker.0, task(Task::Timer(address)));
    add(1, 31_000, worker.0, What::End(Task::Timer(address)));
    // Every third item goes to sleep, and its worker is never seen again.
    if number % 3 != 0 {
        add(1, 40_000, worker.0, What::End(Task::Work(address)));
    }
    add(1, 50_000, worker.0, switch(worker, (0, "swapper/1")));
}

#[test]
fn a_day_takes_no_more_than_an_hour() {
    let tree = Tree::new("0-1");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/trace/tree.txt");
    let text = fs::read_to_string(data).unwrap();
    for file in text.split("== ").skip(1) {
        let (name, content) = file.split_once('\n').unwrap();
        tree.write(name, content);
    }
    let root = Root::new(tree.path());
    let outcome = Outcome::find(&root, Some("0"), false).unwrap();
    let (tracefs, decoder) = Tracefs::find(&root).unwrap();
    let mut session = Session::new(&root, &outcome, Stream::new(tracefs.page, decoder));
    let mut exporter = Exporter::default();
    let mut events = Vec::new();
    let mut settled = 0;

    session.begin(0);
    for number in 0..ROUNDS {
        round(&mut session, number, &mut events);
        session.account_for(&events);
        // As watch does it at intervals.
        if number % 15_000 == 14_999 {
            session.recording.duration_ns = number * ROUND_NS;
            session.look();
            exporter
                .write(&mut std::io::sink(), &session.recording)
                .unwrap();
        }
        if number == SETTLED {
            settled = resident_kib();
        }
    }
    session.finish(ROUNDS * ROUND_NS);
    let end = resident_kib();

    assert!(
        end <= settled + MOST_GROWTH_KIB,
        "{settled} KiB, then {end} KiB"
    );
    assert!(end <= MOST_KIB, "{end} KiB");
    println!("{settled} KiB after two thirds, {end} KiB at the end");
    // None of it is lost: where there are too many, they are counted together.
    let recording = &session.recording;
    let mut ran = 0;
    let mut ns = 0;
    for thread in &recording.threads {
        assert!(thread.runs.len() <= 2);
        if thread.name.starts_with("kworker/ux") || thread.pid == 0 {
            ran += thread.runs.iter().map(|run| run.count).sum::<u64>();
            ns += thread.runs.iter().map(|run| run.ns).sum::<u64>();
        }
    }
    assert_eq!((ran, ns), (ROUNDS, ROUNDS * 30_000));
    assert!(recording.threads.len() < 10_000);
    let account = &recording.account;
    let times = |kind| {
        let causes = account.causes.iter().filter(|cause| cause.kind == kind);
        causes.map(|cause| cause.count).sum::<u64>()
    };
    assert_eq!(times(kthread_cpus::cause::Kind::Timer), ROUNDS);
    // Nobody has as many functions and workqueues as this stream; what is not told apart is said.
    let missing = account.missing.join("\n");
    assert!(missing.contains("times are told as"), "{missing}");
    let text = serde_json::to_string(recording).unwrap();
    assert!(text.len() < 16 << 20, "{} bytes", text.len());
}
