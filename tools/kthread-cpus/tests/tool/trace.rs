// SPDX-License-Identifier: GPL-2.0

//! What `watch` makes of recorded traces: `tests/data/trace`, which `tests/record.py` has made, and
//! anything else that a trace may have in it.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use kthread_cpus::{
    cause::{engine::Engine, table::Means, Account, Cause, Kind, Origin},
    check::Outcome,
    cpuset::CpuSet,
    events::{Event, Name, Names, Switch, Task, What},
    machine::Root,
    recording::Recording,
    stream::{self, Stream},
    tracefs::Tracefs,
    watch::session::Session,
};
use proptest::prelude::*;

use crate::common::Tree;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/trace")
        .join(name)
}

/// Returns the pages of the recording, as `watch --raw` keeps them.
fn pages() -> Vec<u8> {
    let text = fs::read_to_string(data("pages.txt")).unwrap();
    let mut out = Vec::new();

    for line in text.lines() {
        let (cpu, hex) = line.split_once(' ').unwrap();
        let digits = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
        let page: Vec<_> = digits
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect();
        stream::save(&mut out, cpu.parse().unwrap(), &page).unwrap();
    }
    out
}

/// The machine of the recording.
struct Machine {
    tree: Tree,
    root: Root,
    outcome: Outcome,
}

impl Machine {
    fn new() -> Self {
        let tree = Tree::new("0-1");
        let text = fs::read_to_string(data("tree.txt")).unwrap();
        for file in text.split("== ").skip(1) {
            let (name, content) = file.split_once('\n').unwrap();
            tree.write(name, content);
        }
        let root = Root::new(tree.path());
        let outcome = Outcome::find(&root, Some("0"), false).unwrap();
        Self {
            tree,
            root,
            outcome,
        }
    }

    /// Returns what is made of pages.
    fn watch(&self, pages: &[u8]) -> Recording {
        let (tracefs, decoder) = Tracefs::find(&self.root).unwrap();
        let mut session = Session::new(
            &self.root,
            &self.outcome,
            Stream::new(tracefs.page, decoder),
        );

        self.tree.write("pages", pages);
        stream::replay(&self.tree.path().join("pages"), &mut session.stream).unwrap();
        session.take(u64::MAX);
        session.recording.duration_ns = 1;
        session.finish(0);
        session.recording
    }
}

fn find<'a>(account: &'a Account, kind: Kind, name: &str) -> &'a Cause {
    let mut causes = account.causes.iter();
    let found = causes.find(|cause| cause.kind == kind && cause.name == name);

    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn counts_are_those_of_the_kernels_own_text() {
    let recording = Machine::new().watch(&pages());
    let account = &recording.account;
    let expected = fs::read_to_string(data("counts.txt")).unwrap();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for cause in &account.causes {
        let counted = [
            Kind::Softirq,
            Kind::Timer,
            Kind::Irq,
            Kind::Call,
            Kind::Work,
        ];
        if counted.contains(&cause.kind) {
            let name = format!("{} {}", cause.kind, cause.name);
            *counts.entry(name).or_default() += cause.count;
        }
    }
    let found: String = counts
        .iter()
        .map(|(name, count)| format!("{name} {count}\n"))
        .collect();

    assert_eq!(found, expected);
    assert_eq!(recording.lost, 0);
    assert!(account.missing.is_empty(), "{:?}", account.missing);
}

#[test]
fn what_was_planted_has_its_culprit_and_remedy() {
    let recording = Machine::new().watch(&pages());
    let account = &recording.account;
    let python = |cause: &Cause, cpu| {
        let mut origins = cause.origins.iter();
        origins.any(|origin| origin.who.starts_with("python3") && origin.cpu == cpu)
    };

    // Compaction has each CPU give back the pages that it holds.
    let drain = find(account, Kind::Work, "lru_add_drain_per_cpu");
    assert_eq!(drain.detail, "mm_percpu_wq");
    assert!(python(drain, 0), "{drain:?}");
    assert_eq!(drain.means, Means::Programs);
    // An event that is switched on changes code, of which each CPU has to hear.
    let patch = find(account, Kind::Call, "do_sync_core");
    assert!(patch.remedy.contains("no tracing"));
    assert!(!patch.origins.is_empty() && patch.origins.iter().all(|origin| origin.cpu == 0));
    // The disk that was written to has its interrupt here.
    let irq = find(account, Kind::Irq, "36");
    assert_eq!(irq.detail, "virtio1-req.0");
    assert!(irq.remedy.contains("/proc/irq/36/smp_affinity_list"));
    let block = find(account, Kind::Softirq, "BLOCK");
    assert_eq!(block.origins[0].via, "irq 36 virtio1-req.0");
    // A task slept here.
    assert!(python(find(account, Kind::Timer, "hrtimer_wakeup"), 1));
    let tick = find(account, Kind::Timer, "tick_nohz_handler");
    assert!(tick.means == Means::Boot && tick.remedy.contains("nohz_full="));

    let rcu = find(account, Kind::Softirq, "RCU");
    let by_tick = |origin: &Origin| origin.via == "timer tick_nohz_handler" && origin.cpu == 1;
    assert!(rcu.origins.iter().any(by_tick), "{rcu:?}");

    for cause in &account.causes {
        assert_eq!(cause.on().to_string(), "1", "{cause:?}");
        assert!(!cause.why.is_empty() && !cause.remedy.is_empty());
        assert!(cause.ns >= cause.longest_ns && cause.count > 0);
        let origins: u64 = cause.origins.iter().map(|origin| origin.count).sum();
        assert!(origins + cause.others <= cause.count, "{cause:?}");
    }
    assert_eq!(account.noise.len(), 1);
    let whole: u64 = account.causes.iter().map(|cause| cause.ns).sum();
    assert!(
        whole.abs_diff(account.noise[0].ns) <= whole / 100,
        "{whole}"
    );
}

/// What is on the page and in the file of any account.
fn sound(recording: &Recording) {
    let account = &recording.account;

    for worst in &account.worst {
        assert!(worst
            .parts
            .iter()
            .all(|part| part.cause < account.causes.len()));
    }
    assert!(account
        .causes
        .iter()
        .all(|cause| cause.cpus.iter().all(|share| share.cpu != 0)));
    let text = serde_json::to_string(recording).unwrap();
    let again: Recording = serde_json::from_str(&text).unwrap();
    assert!(again == *recording);
}

#[test]
fn nothing_in_a_trace_does_harm() {
    let machine = Machine::new();
    let pages = pages();
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20);

    proptest!(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() },
        |(damage in damage, cut in any::<prop::sample::Index>(), whole in any::<bool>())| {
        let mut bad = pages.clone();
        for (at, byte) in damage {
            bad[at.index(pages.len())] = byte;
        }
        if !whole {
            bad.truncate(cut.index(pages.len()));
        }
        sound(&machine.watch(&bad));
    });
}

/// Any event; few addresses, CPUs and numbers, so that they meet.
fn event() -> impl Strategy<Value = What> {
    let task = (0_u8..6, 0_u64..4).prop_map(|(kind, number)| match kind {
        0 => Task::Work(number),
        1 => Task::Softirq(number),
        2 => Task::Timer(number),
        3 => Task::Irq(number),
        4 => Task::Vector(Name::default()),
        _ => Task::Call(number),
    });
    let switch = (0_u32..4, 0_u32..4).prop_map(|(prev_pid, next_pid)| {
        What::Switch(Switch {
            prev_pid,
            prev_comm: [b'p'; 16],
            next_pid,
            next_comm: [0; 16],
        })
    });

    prop_oneof![
        switch,
        (0_u32..4).prop_map(What::Wake),
        (0_u64..4, 0_u64..2, any::<Option<bool>>()).prop_map(|(work, function, bound)| {
            What::Queue {
                work,
                function,
                bound,
                queue: Name::default(),
            }
        }),
        (0_u64..4, 0_u64..2, any::<bool>()).prop_map(|(timer, function, pinned)| What::Arm {
            timer,
            function,
            pinned
        }),
        (0_u64..4).prop_map(What::Raise),
        (0_u32..4, 0_u64..4).prop_map(|(cpu, request)| What::Ask { cpu, request }),
        any::<bool>().prop_map(|reschedule| What::Interrupt {
            cpus: Arc::new(CpuSet::from_iter([1, 2])),
            reschedule
        }),
        (task.clone(), 0_u64..2).prop_map(|(task, function)| What::Begin {
            task,
            function,
            name: Name::default()
        }),
        task.prop_map(What::End),
        any::<u64>().prop_map(What::Lost),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// However things begin and end: no CPU is disturbed for longer than there was time, and the causes
    /// took no more together than the CPU has lost.
    #[test]
    fn no_time_is_made_up(
        events in prop::collection::vec((event(), 0_u32..3, 0_u64..1000, any::<u8>()), 0..400),
    ) {
        let mut engine = Engine::new(CpuSet::from_iter([1, 2]), 99);
        let mut names = Names::default();
        let mut time = 0;
        for (what, cpu, later, flags) in events {
            time += later;
            let next = match &what {
                What::Switch(switch) => (switch.next_pid > 1).then_some(switch.next_pid as usize),
                _ => None,
            };
            let event = Event { time, cpu, pid: 2, flags, what, stack: None };
            engine.take(&event, next, &mut names, &mut |_| String::new());
        }
        engine.finish(time);
        let mut took: HashMap<u32, u64> = HashMap::new();
        for (cpu, share) in engine.tallies.values().flat_map(|tally| &tally.cpus) {
            *took.entry(*cpu).or_default() += share.ns;
        }
        for (cpu, noise) in engine.disturbances.noise() {
            prop_assert!(noise.ns <= time);
            // What was lost has no end, and is no cause.
            prop_assert!(took.get(&cpu).copied().unwrap_or(0) <= noise.ns);
        }
    }
}
