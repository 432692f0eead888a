// SPDX-License-Identifier: GPL-2.0

//! What holds on machines of every shape, those that people have and those that chance makes.

use clap::ValueEnum;
use kthread_cpus::{
    check::{Outcome, Verdict},
    cli::{Placement, Print},
    cpuset::CpuSet,
    machine::{Machine, Root},
    plan::{self, Plan, Wish},
    topology::Topology,
    verify::verify,
};

use crate::common::{Tree, BOUND, KTHREAD, WORKER};

mod machines;

use machines::{shapes, Chance, Shape};

/// Checks all that is true of a plan.
fn check_plan(name: &str, machine: &Machine, topology: &Topology, wish: &Wish, plan: &Plan) {
    let Plan {
        housekeeping,
        isolated,
        options,
        ..
    } = plan;
    let context = || format!("{name}: {wish:?}: {plan:?}");

    assert!(!housekeeping.intersects(isolated), "{}", context());
    assert!(
        housekeeping.or(isolated).is_subset(&machine.present),
        "{}",
        context()
    );
    assert!(housekeeping.intersects(&machine.online), "{}", context());
    assert!(!isolated.is_empty(), "{}", context());
    if let Some(count) = wish.count {
        assert_eq!(housekeeping.len(), count as usize, "{}", context());
        assert!(housekeeping.is_subset(&machine.online), "{}", context());
    }

    let line: Vec<_> = options.iter().map(|option| &*option.text).collect();
    let verdict = verify(machine, topology, &line.join(" "), wish.split_cores);
    assert_eq!(verdict.wrong, [], "{}", context());
    let reading = verdict.reading;
    assert_eq!(
        reading.kthread_cpus.unwrap().cpus,
        *housekeeping,
        "{}",
        context()
    );
    assert_eq!(reading.isolated, *isolated, "{}", context());
    let tickless = if wish.keep_tick {
        CpuSet::new()
    } else {
        isolated.clone()
    };
    assert_eq!(reading.nohz_full, tickless, "{}", context());
    // The fast cores are not given away in silence.
    let slow = isolated.and(&machine.online).minus(&topology.fast);
    assert_eq!(
        gives_fast_cores_away(plan),
        housekeeping.intersects(&topology.fast) && !slow.is_empty(),
        "{}",
        context()
    );
}

/// Whether a plan says that it has fast cores for housekeeping, and isolates slow ones.
fn gives_fast_cores_away(plan: &Plan) -> bool {
    let mut notes = plan.notes.iter();

    notes.any(|note| note.contains("are of the fast cores"))
}

/// Makes plans, and returns how many there were.
fn every_plan_is_sound(shape: &Shape, tree: &Tree, chance: &mut Chance) -> usize {
    let mut plans = 0;
    let root = Root::new(tree.path());
    let machine = Machine::read(&root);
    let topology = Topology::read(&root, &machine);
    let described: CpuSet = topology
        .cores
        .iter()
        .flat_map(|core| core.cpus.iter())
        .collect();
    let widths: usize = topology.cores.iter().map(|core| core.cpus.len()).sum();
    assert_eq!(
        (machine.online.clone(), machine.present.clone()),
        (shape.online.clone(), shape.present.clone())
    );
    assert_eq!(described, machine.present, "{}: no CPU in none", shape.name);
    assert_eq!(topology.fast, shape.fast(), "{}", shape.name);
    assert_eq!(
        widths,
        machine.present.len(),
        "{}: no CPU in two cores",
        shape.name
    );

    // What is said of a machine of thousands of CPUs takes its time.
    let rounds = if shape.present.len() > 1000 { 1 } else { 12 };
    for placement in [Placement::Auto, Placement::Spread, Placement::Pack] {
        for count in [1, 2, 3, 4, 6, 8, 17, 64] {
            let wish = Wish {
                count: Some(count),
                housekeeping: None,
                isolated: None,
                placement,
                split_cores: chance.below(2) == 0,
                keep_tick: chance.below(4) == 0,
            };
            match plan::make(&machine, &topology, &wish) {
                Ok(plan) => {
                    plans += 1;
                    check_plan(&shape.name, &machine, &topology, &wish, &plan);
                }
                Err(wrong) => assert!(!wrong.is_empty()),
            }
        }
    }
    for _ in 0..rounds {
        let rare = 1 + chance.below(4);
        let housekeeping = chance.some(&machine.present, rare);
        let rare = 1 + chance.below(2);
        let isolated = chance.some(&machine.present.minus(&housekeeping), rare);
        let which = chance.below(3);
        let wish = Wish {
            count: None,
            housekeeping: (which != 0).then_some(housekeeping),
            isolated: (which != 1).then_some(isolated),
            placement: Placement::Auto,
            split_cores: chance.below(2) == 0,
            keep_tick: chance.below(2) == 0,
        };
        if let Ok(plan) = plan::make(&machine, &topology, &wish) {
            plans += 1;
            check_plan(&shape.name, &machine, &topology, &wish, &plan);
        }
    }
    plans
}

/// Reads command lines of all sorts.
fn every_command_line_has_a_meaning(shape: &Shape, tree: &Tree, chance: &mut Chance) {
    let names = [
        "isolcpus=",
        "isolcpus=",
        "nohz_full=",
        "nohz-full=",
        "rcu_nocbs=",
        "irqaffinity=",
        "kthread_cpus=",
        "kthread_cpus=",
        "nr_cpus=",
        "maxcpus=",
        "nosmt",
        "systemd.cpu_affinity=",
        "quiet",
        "\"",
        "-- ",
        "=",
    ];
    let flags = [
        "",
        "",
        "domain,",
        "nohz,",
        "managed_irq,",
        "wq,",
        "timer,",
        "no,",
        "x:",
        "\u{e0}",
    ];
    let lists = [
        "0",
        "1-3",
        "2-",
        "4-7",
        "0-3:1/2",
        "all",
        "N",
        "",
        "1,2",
        "8-15",
        "99999999999",
        "-1",
        "0x3",
        "1 2",
        "\"1, 2\"",
        "0-1000",
    ];

    let root = Root::new(tree.path());
    let mut machine = Machine::read(&root);
    let topology = Topology::read(&root, &machine);

    let rounds = if shape.present.len() > 1000 { 5 } else { 60 };
    for _ in 0..rounds {
        let mut line = String::new();
        for _ in 0..chance.below(7) {
            line.push_str(chance.one_of(&names));
            line.push_str(chance.one_of(&flags));
            line.push_str(chance.one_of(&lists));
            line.push_str(chance.one_of(&[" ", " ", " ", "  ", "", "\t"]));
        }
        machine.kernel = chance
            .one_of(&["7.3.4", "6.12", "5.15.0-1", "4.18.0", "?"])
            .to_owned();
        let reading = verify(&machine, &topology, &line, false).reading;
        let possible = &reading.possible;
        let context = || format!("{} {}: {line:?}: {reading:?}", shape.name, machine.kernel);

        for cpus in [
            &reading.starting,
            &reading.isolated,
            &reading.managed_irq,
            &reading.nohz_full,
            &reading.rcu_nocbs,
            &reading.kthreads,
        ] {
            assert!(cpus.is_subset(possible), "{}", context());
        }
        assert!(possible.is_subset(&machine.possible), "{}", context());
        // The kernel always has a CPU that is there.
        let housekeeping = possible.minus(&reading.isolated);
        assert!(housekeeping.intersects(&machine.present), "{}", context());
        assert!(
            reading.kthreads.intersects(&machine.present),
            "{}",
            context()
        );
        assert!(
            !reading.nohz_full.contains(machine.boot_cpu()),
            "{}",
            context()
        );
        if let Some(confined) = &reading.kthread_cpus {
            assert!(confined.cpus.is_subset(possible), "{}", context());
            assert!(confined.cpus.intersects(&housekeeping), "{}", context());
        }
    }
}

/// Checks threads of all sorts.
fn every_check_adds_up(shape: &Shape, tree: &Tree, chance: &mut Chance) {
    let root = Root::new(tree.path());
    let all = &shape.possible;
    let list = |file: &str, cpus: &CpuSet| tree.write(file, format!("{cpus}\n"));

    list("sys/devices/system/cpu/isolated", &chance.some(all, 8));
    if shape.partition.is_empty() {
        list("sys/fs/cgroup/cpuset.cpus.isolated", &chance.some(all, 8));
    }
    if chance.below(2) == 0 {
        list("sys/devices/system/cpu/kthread_cpus", &chance.some(all, 2));
    }
    tree.write(
        "sys/devices/virtual/workqueue/cpumask",
        chance.some(all, 2).to_mask(),
    );
    tree.write(
        "proc/cmdline",
        format!("kthread_cpus={}\n", chance.some(all, 3)),
    );
    tree.thread(2, "kthreadd", KTHREAD, &all.to_string(), 0);
    for pid in 3..12 {
        let name = chance.one_of(&[
            "kswapd0",
            "ksoftirqd/1",
            "z_wr_iss",
            "kworker/R-a",
            "kworker/u8:1",
            "irq/9-x",
        ]);
        let flags = [KTHREAD, BOUND, WORKER][chance.below(3) as usize];
        let rare = 1 + chance.below(4);
        tree.thread(pid, name, flags, &chance.some(all, rare).to_string(), 0);
    }

    for strict in [false, true] {
        let outcome = Outcome::find(&root, None, strict).unwrap();
        let target = &outcome.target.cpus;
        let counts: usize = [
            Verdict::Outside,
            Verdict::Unknown,
            Verdict::Exempt,
            Verdict::Inside,
        ]
        .into_iter()
        .map(|verdict| outcome.with(verdict).count())
        .sum();
        assert_eq!(counts, 10, "{}", shape.name);
        assert!(!target.is_empty() && target.is_subset(&outcome.machine.possible));
        // The kernel's work is where it can be.
        let housekeeping = outcome.machine.housekeeping();
        if housekeeping.intersects(&outcome.machine.online) {
            assert!(target.is_subset(&housekeeping), "{}", shape.name);
            assert!(target.intersects(&outcome.machine.online), "{}", shape.name);
        }
        // A failure has an answer, and there is none without one.
        assert_eq!(
            outcome.outside() > 0,
            !outcome.advice().is_empty(),
            "{}",
            shape.name
        );
    }
}

/// Runs the program itself, as people do: it says what it makes of each machine, and each line that it
/// prints is one that it finds no fault with.
fn every_command_has_an_answer(shape: &Shape, tree: &Tree) {
    let run = |args: &[&str]| {
        let (status, out, error) = tree.run(args);
        let context = format!("{}: {args:?}: {status}\n{out}{error}", shape.name);

        assert!(status <= 2 && !error.contains("panicked"), "{context}");
        assert!(
            status == 0 || !out.is_empty() || !error.is_empty(),
            "{context}"
        );
        (status, out, context)
    };

    let (status, listed, context) = run(&["list", "--csv"]);
    assert!(status == 0 && listed.lines().count() == 11, "{context}");
    for args in [
        &["check"][..],
        &["check", "--strict", "--tap"],
        &["set", "-n", "--best-effort", "0"],
    ] {
        run(args);
    }
    for count in ["1", "2", "6"] {
        let (status, line, context) = run(&["plan", "-k", count, "--print", "cmdline"]);
        // A container's view is not planned for.
        assert!(!shape.container || status == 2, "{context}");
        if status == 0 {
            let args = ["plan", "--verify", "--cmdline", line.trim()];
            let (status, _, context) = run(&args);
            assert_eq!(status, 0, "{context}");
        }
    }
}

/// Returns the file that `report` makes of the machine as it is: it has every CPU.
fn every_page_is_whole(shape: &Shape, tree: &Tree) {
    let file = tree.path().join("report.html");
    let (status, out, error) = tree.run(&["report", "-o", file.to_str().unwrap()]);
    assert_eq!((status, &*out), (0, ""), "{}: {error}", shape.name);
    let page = tree.read("report.html");
    let whole = page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>");

    assert!(whole, "{}", shape.name);
    let cpus = page.matches("<span class=\"cpu").count();
    assert_eq!(cpus, shape.present.len(), "{}", shape.name);
    tree.remove("report.html");
}

/// Each format has the plan in it. Returns how many there were.
fn every_format_has_the_plan(shape: &Shape, tree: &Tree) -> usize {
    let print = |format: &str| tree.run(&["plan", "-k", "2", "--print", format]);
    let (status, line, _) = print("cmdline");
    if status != 0 {
        return 0;
    }
    let (_, kernel, _) = print("housekeeping");
    let (_, free, _) = print("isolated");
    let (kernel, free) = (kernel.trim(), free.trim());
    let formats = Print::value_variants();

    for format in formats {
        let value = format.to_possible_value().unwrap();
        let (status, out, error) = print(value.get_name());
        let context = || format!("{}: {}: {out}{error}", shape.name, value.get_name());
        let lacks = |text: &str| !out.contains(text);

        assert_eq!(status, 0, "{}", context());
        match format {
            Print::Housekeeping => assert_eq!(out.trim(), kernel),
            Print::Isolated => assert_eq!(out.trim(), free),
            // Nothing but interrupts is irqbalance's.
            Print::Irqbalance => {
                let ban = format!("\nIRQBALANCE_BANNED_CPULIST={free}\n");
                assert!(!lacks(&ban), "{}", context());
            }
            // These make some of the options themselves.
            Print::PerformanceProfile => {
                let lists = [
                    format!("isolated: \"{free}\""),
                    format!("kthread_cpus={kernel}\n"),
                ];
                assert!(!lists.iter().any(|list| lacks(list)), "{}", context());
            }
            Print::RtConf => {
                let lists = [
                    format!("isolcpus={free}\n"),
                    format!("kthread_cpus={kernel}\n"),
                ];
                assert!(!lists.iter().any(|list| lacks(list)), "{}", context());
            }
            _ => {
                let missing = line.split_whitespace().find(|option| lacks(option));
                assert_eq!(missing, None, "{}", context());
            }
        }
    }
    formats.len()
}

#[test]
fn machines_of_every_shape() {
    let mut chance = Chance(7);
    let (mut plans, mut number, mut formats) = (0, 0, 0);

    for shape in shapes() {
        let tree = shape.tree();

        plans += every_plan_is_sound(&shape, &tree, &mut chance);
        every_command_line_has_a_meaning(&shape, &tree, &mut chance);
        every_check_adds_up(&shape, &tree, &mut chance);
        every_command_has_an_answer(&shape, &tree);
        every_page_is_whole(&shape, &tree);
        if shape.present.len() <= 8 {
            formats += every_format_has_the_plan(&shape, &tree);
        }
        number += 1;
    }
    assert!(
        number >= 75 && plans > 1000 && formats > 100,
        "{plans} plans for {number} machines, {formats} of them in some format"
    );
    println!("{plans} plans for {number} machines, {formats} of them in some format");
}

/// Of the shapes, those with fast and slow cores whose first CPU is a fast one.
#[test]
fn fast_cores_are_not_given_away_in_silence() {
    let mut said = Vec::new();

    for shape in shapes().filter(|shape| !shape.fast().is_empty()) {
        let tree = shape.tree();
        let (status, out, error) = tree.run(&["plan", "-k", "2"]);
        assert_eq!(status, 0, "{}: {error}", shape.name);
        if out.contains("are of the fast cores") {
            said.push(shape.name);
        }
    }
    assert_eq!(
        said,
        [
            "hybrid: six fast cores of two threads, eight slow, two of low power",
            "hybrid: fast cores without threads, between the slow ones",
            "big and little, the big ones first"
        ]
    );
}
