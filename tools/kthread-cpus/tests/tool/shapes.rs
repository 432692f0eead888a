// SPDX-License-Identifier: GPL-2.0

//! What holds on machines of every shape, those that people have and those that chance makes.

use kthread_cpus::{
    check::{Outcome, Verdict},
    cli::Placement,
    cpuset::CpuSet,
    machine::{Machine, Root},
    plan::{self, Plan, Wish},
    topology::Topology,
    verify::verify,
};

use crate::common::{Tree, BOUND, KTHREAD, WORKER};

/// Chance that is the same each time.
struct Chance(u64);

impl Chance {
    /// Returns a number below `end`.
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(end)) as u32
    }

    /// Returns some of the CPUs, one in `rare`.
    fn some(&mut self, cpus: &CpuSet, rare: u32) -> CpuSet {
        cpus.iter().filter(|_| self.below(rare) == 0).collect()
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u32) as usize]
    }
}

fn set(list: &str) -> CpuSet {
    CpuSet::parse_any(list).unwrap()
}

/// The shape of a machine, in lists of CPUs.
struct Shape {
    name: String,
    possible: CpuSet,
    present: CpuSet,
    online: CpuSet,
    /// CPUs that are a core; those of no core are not described at all.
    cores: Vec<CpuSet>,
    /// CPUs that have their last cache in common.
    caches: Vec<CpuSet>,
    /// Nodes, by number; those without CPUs have memory only.
    nodes: Vec<(u32, CpuSet)>,
    /// The CPUs that isolated partitions of cpusets have taken.
    partition: CpuSet,
    /// Whether it is what a container sees: nothing of what is offline to it.
    container: bool,
}

impl Shape {
    /// Returns a machine with these cores.
    fn new(name: &str, cores: Vec<CpuSet>) -> Self {
        let all = cores.iter().fold(CpuSet::new(), |all, core| all.or(core));

        Self {
            name: name.to_owned(),
            nodes: vec![(0, all.clone())],
            possible: all.clone(),
            present: all.clone(),
            online: all,
            cores,
            caches: Vec::new(),
            partition: CpuSet::new(),
            container: false,
        }
    }

    /// Returns a machine whose cores have neighbouring CPUs, `threads` each.
    fn neighbours(name: &str, cores: u32, threads: u32) -> Self {
        let core = |core: u32| (core * threads..(core + 1) * threads).collect();

        Self::new(name, (0..cores).map(core).collect())
    }

    /// Returns a machine on which the second CPUs of the cores come after all the first.
    fn rounds(name: &str, cores: u32, threads: u32) -> Self {
        let core = |core: u32| (0..threads).map(|thread| core + thread * cores).collect();

        Self::new(name, (0..cores).map(core).collect())
    }

    /// Divides the cores among nodes.
    fn on_nodes(mut self, numbers: &[u32]) -> Self {
        let share = self.cores.len().div_ceil(numbers.len().max(1));
        let mut parts = self.cores.chunks(share);

        self.nodes = numbers
            .iter()
            .map(|number| {
                let cores = parts.next().unwrap_or_default();
                (
                    *number,
                    cores.iter().fold(CpuSet::new(), |all, core| all.or(core)),
                )
            })
            .collect();
        self
    }

    /// Puts every `count`th CPU on the same node.
    fn on_turns(mut self, count: u32) -> Self {
        let node = |node| {
            self.possible
                .iter()
                .filter(|cpu| cpu % count == node)
                .collect()
        };

        self.nodes = (0..count).map(|number| (number, node(number))).collect();
        self
    }

    /// Puts a node with memory only before the one with the CPUs.
    fn without_cpus(mut self, node: u32) -> Self {
        let all = self.possible.clone();

        self.nodes = vec![(node, CpuSet::new()), (node + 1, all)];
        self
    }

    fn sharing(mut self, cores: usize) -> Self {
        let caches = self.cores.chunks(cores);

        self.caches = caches
            .map(|cores| cores.iter().fold(CpuSet::new(), |all, core| all.or(core)))
            .collect();
        self
    }

    fn online(mut self, list: &str) -> Self {
        self.online = set(list);
        self
    }

    fn possible(mut self, list: &str) -> Self {
        self.possible = set(list);
        self
    }

    fn partition(mut self, list: &str) -> Self {
        self.partition = set(list);
        self
    }

    fn in_container(mut self) -> Self {
        self.container = true;
        self
    }

    /// Writes it as the kernel does: what is offline has a directory, and no topology.
    fn tree(&self) -> Tree {
        let tree = Tree::new("0");
        let cpu = "sys/devices/system/cpu";
        let list = |file: String, cpus: &CpuSet| tree.write(&file, format!("{cpus}\n"));

        list(format!("{cpu}/possible"), &self.possible);
        list(format!("{cpu}/present"), &self.present);
        list(format!("{cpu}/online"), &self.online);
        for offline in self.present.minus(&self.online).iter() {
            if !self.container {
                tree.write(&format!("{cpu}/cpu{offline}/online"), "0\n");
            }
        }
        if !self.partition.is_empty() {
            list(
                "sys/fs/cgroup/cpuset.cpus.isolated".to_owned(),
                &self.partition,
            );
        }
        for core in &self.cores {
            for one in core.and(&self.online).iter() {
                list(
                    format!("{cpu}/cpu{one}/topology/core_cpus_list"),
                    &core.and(&self.online),
                );
            }
        }
        for cache in &self.caches {
            for one in cache.and(&self.online).iter() {
                tree.write(&format!("{cpu}/cpu{one}/cache/index3/level"), "3\n");
                let file = format!("{cpu}/cpu{one}/cache/index3/shared_cpu_list");
                list(file, &cache.and(&self.online));
            }
        }
        tree.remove("sys/devices/system/node/node0");
        for (number, cpus) in &self.nodes {
            let file = format!("sys/devices/system/node/node{number}/cpulist");
            list(file, &cpus.and(&self.online));
        }
        tree.write("proc/sys/kernel/osrelease", "7.3.4\n");
        tree
    }
}

/// Machines that people have.
fn known() -> Vec<Shape> {
    let lists = |lists: &[&str]| lists.iter().map(|list| set(list)).collect();
    let mut holes = Shape::neighbours("holes: cores that the firmware has taken out", 8, 2);
    holes
        .cores
        .retain(|core| !core.contains(4) && !core.contains(10));
    holes.present = set("0-3,6-9,12-15");
    holes.online = holes.present.clone();
    let mut hybrid: Vec<CpuSet> = lists(&["0-1", "2-3", "4-5", "6-7", "8-9", "10-11"]);
    hybrid.extend((12..22).map(|cpu| CpuSet::from_iter([cpu])));

    let mut bare = Shape::neighbours("a guest without topology", 6, 1);
    bare.cores.clear();
    bare.nodes.clear();

    let mut odd = Shape::new(
        "a guest whose cores are of one, two and three CPUs",
        lists(&["0", "1-2", "3-5"]),
    );
    odd.caches = lists(&["0-5"]);
    let mut sparse =
        Shape::neighbours("cores that are offline leave gaps", 16, 2).on_nodes(&[0, 1]);
    sparse.online = set("0-3,8-11,16-19,24-27");
    let mut taken = Shape::rounds("a socket that was taken out", 16, 2).on_nodes(&[0, 1]);
    taken.cores.retain(|core| core.first() < Some(8));
    taken.present = set("0-7,16-23");
    taken.online = taken.present.clone();
    let mut first = Shape::neighbours("the first CPU was taken out", 8, 1);
    first.cores.remove(0);
    first.present = set("1-7");
    first.online = first.present.clone();
    let mut far = Shape::neighbours("the last CPUs have high numbers", 4, 1);
    far.cores.extend(lists(&["4000-4001", "8190-8191"]));
    for cpus in [&mut far.possible, &mut far.present, &mut far.online] {
        *cpus = set("0-3,4000-4001,8190-8191");
    }
    far.nodes = vec![
        (0, set("0-3")),
        (63, set("4000-4001")),
        (1023, set("8190-8191")),
    ];

    vec![
        Shape::neighbours("one CPU", 1, 1),
        Shape::neighbours("two CPUs", 2, 1),
        Shape::neighbours("one core of two threads", 1, 2),
        Shape::neighbours("a single-board computer", 4, 1).sharing(4),
        Shape::rounds("a laptop", 4, 2).sharing(4),
        Shape::new(
            "hybrid: six fast cores of two threads, eight slow, two of low power",
            hybrid,
        )
        .sharing(14),
        Shape::new(
            "hybrid: fast cores without threads, between the slow ones",
            (0..24).map(|cpu| CpuSet::from_iter([cpu])).collect(),
        )
        .sharing(4),
        Shape::neighbours("big and little, in three clusters", 8, 1).sharing(4),
        Shape::neighbours("big and little, the big ones offline", 8, 1)
            .sharing(4)
            .online("0-3"),
        Shape::rounds("two sockets", 32, 2)
            .on_nodes(&[0, 1])
            .sharing(16),
        Shape::rounds("two sockets, each of which is two nodes", 32, 2)
            .on_nodes(&[0, 1, 2, 3])
            .sharing(8),
        Shape::neighbours("two sockets, numbered in turn", 36, 1).on_turns(2),
        Shape::neighbours("four sockets, numbered in turn", 64, 1).on_turns(4),
        Shape::rounds("eight sockets", 64, 2).on_nodes(&[0, 1, 2, 3, 4, 5, 6, 7]),
        Shape::neighbours("chiplets", 32, 2)
            .on_nodes(&[0, 1, 2, 3])
            .sharing(4),
        Shape::rounds("chiplets, each of which is a node", 96, 2)
            .on_nodes(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
            .sharing(8),
        Shape::neighbours("a socket of many cores", 192, 1).sharing(192),
        Shape::neighbours("four threads a core, and nodes of fast memory", 36, 4)
            .on_nodes(&[0, 1, 2, 3]),
        Shape::rounds("memory only in nodes 2 and 3", 8, 2)
            .on_nodes(&[0, 1, 2, 3])
            .sharing(2),
        Shape::neighbours("CPUs in node 1, memory in node 0", 4, 1).without_cpus(0),
        Shape::neighbours("eight threads a core, and nodes 0 and 8", 8, 8).on_nodes(&[0, 8]),
        Shape::neighbours("eight threads a core, of which one is online", 8, 8)
            .on_nodes(&[0, 8, 252])
            .online("0,8,16,24,32,40,48,56"),
        Shape::neighbours("eight threads a core, of which four are online", 4, 8)
            .online("0-3,8-11,16-19,24-27"),
        Shape::rounds("SMT off", 16, 2)
            .on_nodes(&[0, 1])
            .online("0-15"),
        Shape::neighbours("SMT off, where the two are neighbours", 8, 2)
            .online("0,2,4,6,8,10,12,14"),
        Shape::rounds("SMT off for some", 8, 2).online("0-9,12,15"),
        Shape::rounds("started with maxcpus=1", 8, 2).online("0"),
        holes,
        odd,
        sparse,
        taken,
        first,
        far,
        Shape::neighbours("the first CPUs are offline", 12, 1).online("2-10"),
        Shape::neighbours("only the last CPU is online", 6, 1).online("5"),
        Shape::rounds("one node is offline", 8, 2)
            .on_nodes(&[0, 1])
            .online("0-3,8-11"),
        Shape::neighbours("a guest that may grow", 4, 1).possible("0-239"),
        Shape::neighbours("a guest that may grow to what there can be", 2, 1).possible("0-8191"),
        bare,
        Shape::neighbours("one CPU a node", 8, 1).on_nodes(&[0, 1, 2, 3, 4, 5, 6, 7]),
        Shape::neighbours("many CPUs", 128, 1)
            .on_nodes(&[0, 1, 2, 3, 4, 5, 6, 7])
            .sharing(16),
        Shape::rounds("as many CPUs as kernels are made for", 4096, 2)
            .on_nodes(&(0..32).collect::<Vec<_>>()),
        Shape::rounds("a container with four CPUs of a host", 16, 2)
            .online("2-3,18-19")
            .in_container(),
        Shape::neighbours("a container without the first CPU", 8, 1)
            .online("5-6")
            .in_container(),
        Shape::rounds("isolated partitions of cpusets", 8, 2)
            .on_nodes(&[0, 1])
            .partition("4-7,12-15"),
        Shape::neighbours("a partition that has all but one CPU", 4, 1).partition("1-3"),
        Shape::rounds("a partition with offline CPUs in it", 8, 2)
            .online("0-7")
            .partition("6-7,14-15"),
    ]
}

/// A machine that chance has made.
fn random(chance: &mut Chance, number: u32) -> Shape {
    let cores = 1 + chance.below(12);
    let threads = 1 + chance.below(4);
    let name = format!("chance {number}");
    let mut shape = match chance.below(3) {
        0 => Shape::rounds(&name, cores, threads),
        1 => Shape::neighbours(&name, cores, threads),
        _ => {
            // Cores of any width, with holes between the numbers.
            let mut next = 0;
            let cores = (0..cores).map(|_| {
                let first = next + chance.below(5) / 4;
                next = first + 1 + chance.below(3);
                (first..next).collect()
            });
            Shape::new(&name, cores.collect())
        }
    };
    let nodes: Vec<u32> = (0..1 + chance.below(4))
        .map(|node| node * (1 + chance.below(2)))
        .collect();

    shape = shape.on_nodes(&nodes);
    shape.nodes.dedup_by_key(|(node, _)| *node);
    if chance.below(2) == 0 {
        shape = shape.sharing(1 + chance.below(6) as usize);
    }
    match chance.below(4) {
        0 => {
            let mut offline = chance.some(&shape.present, 3);
            if chance.below(4) > 0 {
                offline = offline.minus(&shape.present.iter().take(1).collect());
            }
            shape.online = shape.present.minus(&offline);
        }
        1 => shape.possible = shape.possible.or(&(100..100 + chance.below(9)).collect()),
        _ => {}
    }
    if shape.online.is_empty() {
        shape.online = shape.present.clone();
    }
    shape
}

/// All shapes.
fn shapes() -> impl Iterator<Item = Shape> {
    let mut chance = Chance(24);
    let random: Vec<_> = (0..32).map(|number| random(&mut chance, number)).collect();

    known().into_iter().chain(random)
}

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

#[test]
fn machines_of_every_shape() {
    let mut chance = Chance(7);
    let (mut plans, mut number) = (0, 0);

    for shape in shapes() {
        let tree = shape.tree();

        plans += every_plan_is_sound(&shape, &tree, &mut chance);
        every_command_line_has_a_meaning(&shape, &tree, &mut chance);
        every_check_adds_up(&shape, &tree, &mut chance);
        every_command_has_an_answer(&shape, &tree);
        number += 1;
    }
    assert!(
        number >= 75 && plans > 1000,
        "{plans} plans for {number} machines"
    );
    println!("{plans} plans for {number} machines");
}
