// SPDX-License-Identifier: GPL-2.0

//! The machines: those that people have, and those that chance makes.

use kthread_cpus::cpuset::CpuSet;

use crate::common::Tree;

/// Chance that is the same each time.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    /// Returns a number below `end`.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(end)) as u32
    }

    /// Returns some of the CPUs, one in `rare`.
    pub(super) fn some(&mut self, cpus: &CpuSet, rare: u32) -> CpuSet {
        cpus.iter().filter(|_| self.below(rare) == 0).collect()
    }

    pub(super) fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u32) as usize]
    }
}

fn set(list: &str) -> CpuSet {
    CpuSet::parse_any(list).unwrap()
}

/// The shape of a machine, in lists of CPUs.
pub(super) struct Shape {
    pub(super) name: String,
    pub(super) possible: CpuSet,
    pub(super) present: CpuSet,
    pub(super) online: CpuSet,
    /// CPUs that are a core; those of no core are not described at all.
    cores: Vec<CpuSet>,
    /// CPUs that have their last cache in common.
    caches: Vec<CpuSet>,
    /// Nodes, by number; those without CPUs have memory only.
    nodes: Vec<(u32, CpuSet)>,
    /// CPUs of a kind, with the capacity that the kernel says each has.
    capacities: Vec<(CpuSet, u32)>,
    /// The CPUs of the unit that counts events on the fast cores; the others have another.
    units: CpuSet,
    /// The CPUs that isolated partitions of cpusets have taken.
    pub(super) partition: CpuSet,
    /// Whether it is what a container sees: nothing of what is offline to it.
    pub(super) container: bool,
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
            capacities: Vec::new(),
            units: CpuSet::new(),
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

    fn with_capacities(mut self, kinds: &[(&str, u32)]) -> Self {
        let kinds = kinds.iter();

        self.capacities = kinds.map(|(list, most)| (set(list), *most)).collect();
        self
    }

    fn with_units(mut self, fast: &str) -> Self {
        self.units = set(fast);
        self
    }

    /// Returns the CPUs that are faster than others that are online.
    pub(super) fn fast(&self) -> CpuSet {
        let online = self.capacities.iter();
        let online = online.filter(|(cpus, _)| cpus.intersects(&self.online));
        let most = online.clone().map(|(_, capacity)| *capacity).max();
        let fast = match most {
            // What differs by less than a tenth is of one kind.
            Some(most) => online
                .filter(|(_, capacity)| *capacity > most * 9 / 10)
                .fold(CpuSet::new(), |all, (cpus, _)| all.or(cpus))
                .and(&self.online),
            None => self.units.and(&self.online),
        };

        match self.online.is_subset(&fast) {
            true => CpuSet::new(),
            false => fast,
        }
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
    pub(super) fn tree(&self) -> Tree {
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
        for (cpus, capacity) in &self.capacities {
            for one in cpus.and(&self.online).iter() {
                tree.write(
                    &format!("{cpu}/cpu{one}/cpu_capacity"),
                    format!("{capacity}\n"),
                );
            }
        }
        if !self.units.is_empty() {
            list("sys/devices/cpu_core/cpus".to_owned(), &self.units);
            let slow = self.online.minus(&self.units);
            list("sys/devices/cpu_atom/cpus".to_owned(), &slow);
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
        .with_units("0-11")
        .sharing(14),
        Shape::new(
            "hybrid: fast cores without threads, between the slow ones",
            (0..24).map(|cpu| CpuSet::from_iter([cpu])).collect(),
        )
        .with_units("0-1,10-13,22-23")
        .sharing(4),
        Shape::neighbours("little and big, in three clusters", 8, 1)
            .with_capacities(&[("0-3", 325), ("4-6", 801), ("7", 1024)])
            .sharing(4),
        Shape::neighbours("big and little, the big ones first", 8, 1)
            .with_capacities(&[("0-3", 1024), ("4-7", 446)])
            .sharing(4),
        Shape::neighbours("little and big, the big ones offline", 8, 1)
            .with_capacities(&[("0-3", 325), ("4-7", 1024)])
            .sharing(4)
            .online("0-3"),
        Shape::rounds("a laptop whose cores have different clocks at most", 6, 2)
            .with_capacities(&[("0-1,6-7", 1024), ("2-5,8-11", 1003)]),
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
pub(super) fn shapes() -> impl Iterator<Item = Shape> {
    let mut chance = Chance(24);
    let random: Vec<_> = (0..32).map(|number| random(&mut chance, number)).collect();

    known().into_iter().chain(random)
}
