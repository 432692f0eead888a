// SPDX-License-Identifier: GPL-2.0

//! Which CPUs share a core, a cache, a node.

use serde::{Deserialize, Serialize};

use crate::{
    cpuset::CpuSet,
    machine::{Machine, Root},
};

/// A core, with all its hardware threads that are online, or a CPU that is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Core {
    /// Its CPUs.
    pub cpus: CpuSet,
    /// Its node, if that is known.
    pub node: Option<u32>,
    /// The CPUs with which it shares its last cache, itself included.
    pub cache: CpuSet,
    /// Whether it is online.
    pub online: bool,
}

/// The topology of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The cores, by their first CPU.
    pub cores: Vec<Core>,
    /// The CPUs of the fastest cores; empty where all are alike, or that is not known.
    #[serde(default, skip_serializing_if = "CpuSet::is_empty")]
    pub fast: CpuSet,
}

/// Returns the CPUs that share the largest cache with `cpu`.
fn last_cache(root: &Root, cpu: u32) -> Option<CpuSet> {
    let directory = format!("sys/devices/system/cpu/cpu{cpu}/cache");
    let level = |index: &u32| {
        root.read_optional(&format!("{directory}/index{index}/level"))
            .and_then(|text| text.parse::<u32>().ok())
    };
    let last = root
        .numbered(&directory, "index")
        .into_iter()
        .filter_map(|index| Some((level(&index)?, index)))
        .max()?;

    root.read_list(&format!("{directory}/index{}/shared_cpu_list", last.1))
}

/// Returns the CPUs of the fastest cores, if others of those `online` are slower.
///
/// Where the kernel knows what CPUs are able to, it says so; an x86 with two kinds of cores has a
/// unit that counts events for each kind.
fn fast(root: &Root, online: &CpuSet) -> CpuSet {
    let capacity = |cpu: u32| {
        let file = format!("sys/devices/system/cpu/cpu{cpu}/cpu_capacity");
        let capacity: u64 = root.read_optional(&file)?.parse().ok()?;
        Some((cpu, capacity))
    };
    let known: Vec<_> = online.iter().filter_map(capacity).collect();
    let most = known.iter().map(|(_, capacity)| *capacity).max();
    // Cores of one kind may differ a little, by what clock they can have.
    let is_fast = |capacity: u64| most.is_some_and(|most| capacity >= most - most / 10);
    let fast: CpuSet = match most {
        Some(_) => known
            .iter()
            .filter(|(_, capacity)| is_fast(*capacity))
            .map(|(cpu, _)| *cpu)
            .collect(),
        None => {
            let of_unit = |unit: &str| root.read_list(&format!("sys/devices/{unit}/cpus"));
            match (of_unit("cpu_core"), of_unit("cpu_atom")) {
                (Some(fast), Some(_)) => fast.and(online),
                _ => CpuSet::new(),
            }
        }
    };

    match online.is_subset(&fast) {
        true => CpuSet::new(),
        false => fast,
    }
}

impl Topology {
    /// Reads the topology. A CPU about which nothing is known is a core of its own.
    pub fn read(root: &Root, machine: &Machine) -> Self {
        let mut seen = CpuSet::new();
        let mut cores = Vec::new();

        for cpu in machine.present.iter() {
            if seen.contains(cpu) {
                continue;
            }
            let alone = CpuSet::from_iter([cpu]);
            let online = machine.online.contains(cpu);
            let directory = format!("sys/devices/system/cpu/cpu{cpu}/topology");
            // Before 5.3 only the second name was there.
            let siblings = ["core_cpus_list", "thread_siblings_list"]
                .iter()
                .find_map(|name| root.read_list(&format!("{directory}/{name}")))
                .map(|cpus| cpus.and(&machine.online).minus(&seen))
                .filter(|cpus| online && cpus.contains(cpu));
            let cpus = siblings.unwrap_or_else(|| alone.clone());
            let cache = last_cache(root, cpu)
                .filter(|cache| online && cpus.is_subset(cache))
                .unwrap_or_else(|| cpus.clone());

            seen = seen.or(&cpus);
            cores.push(Core {
                node: machine.node_of(cpu),
                cpus,
                cache,
                online,
            });
        }
        Self {
            cores,
            fast: fast(root, &machine.online),
        }
    }

    /// Returns the number of hardware threads of the widest core.
    pub fn threads_per_core(&self) -> usize {
        let widths = self.cores.iter().map(|core| core.cpus.len());

        widths.max().unwrap_or(1)
    }

    /// Returns the cores that have CPUs in the set, and others.
    pub fn split_by<'a>(&'a self, cpus: &'a CpuSet) -> impl Iterator<Item = &'a Core> {
        self.cores
            .iter()
            .filter(|core| core.cpus.intersects(cpus) && !core.cpus.is_subset(cpus))
    }

    /// Returns the nodes, in ascending order.
    pub fn nodes(&self) -> Vec<u32> {
        let mut nodes: Vec<_> = self.cores.iter().filter_map(|core| core.node).collect();

        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }
}
