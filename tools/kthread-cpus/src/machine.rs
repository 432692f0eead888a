// SPDX-License-Identifier: GPL-2.0

//! The machine: its CPUs, its nodes, and what it was booted with.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    cmdline,
    cpuset::{CpuSet, LIMIT},
    option::{self, Classes, NR_CPUS},
};

/// The file with the CPUs that kernel threads may use, on a kernel that has it.
pub const SYSFS: &str = "sys/devices/system/cpu/kthread_cpus";

/// The file with the classes of work that are confined, on a kernel that has it.
pub const CLASSES: &str = "sys/devices/system/cpu/kthread_cpus_classes";

/// Where unbound workqueues may run.
pub const WORKQUEUE_MASK: &str = "sys/devices/virtual/workqueue/cpumask";

/// Where interrupts go that nobody places.
pub const IRQ_MASK: &str = "proc/irq/default_smp_affinity";

/// The directory in which `/proc` and `/sys` are: `/`, or a recording of another machine.
#[derive(Clone, Debug)]
pub struct Root {
    directory: PathBuf,
}

impl Root {
    /// Returns the root `directory`.
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Whether this is the running machine.
    pub fn is_live(&self) -> bool {
        self.directory == Path::new("/")
    }

    /// Returns where `name`, which has no `/` before it, really is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Reads a small file.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn read(&self, name: &str) -> io::Result<String> {
        fs::read(self.path(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads a small file that may be missing or unreadable, and returns what is in it without
    /// white space around.
    pub fn read_optional(&self, name: &str) -> Option<String> {
        self.read(name).ok().map(|text| text.trim().to_owned())
    }

    /// Reads a CPU list, if there is one.
    pub fn read_list(&self, name: &str) -> Option<CpuSet> {
        self.read(name)
            .ok()
            .and_then(|text| CpuSet::parse_any(&text).ok())
    }

    /// Returns the numbers `N` of the entries `prefixN` of a directory, in ascending order.
    pub fn numbered(&self, directory: &str, prefix: &str) -> Vec<u32> {
        let entries = fs::read_dir(self.path(directory)).into_iter().flatten();
        let number = |name: &str| name.strip_prefix(prefix)?.parse().ok();
        let mut numbers: Vec<u32> = entries
            .flatten()
            .filter_map(|entry| number(entry.file_name().to_str()?))
            .collect();

        numbers.sort_unstable();
        numbers
    }
}

/// A NUMA node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub id: u32,
    /// Its CPUs that are online.
    pub cpus: CpuSet,
}

/// The value of `kthread_cpus=` on the command line.
#[derive(Clone, Debug)]
pub struct BootOption {
    /// As it stands there.
    pub value: String,
    /// The CPUs and the classes of work, or nothing when the value is wrong.
    pub parsed: Option<(CpuSet, Classes)>,
}

/// What there is to know about the machine without looking at its threads.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The version of the kernel, `?` if it is not known.
    pub kernel: String,
    /// The command line of the kernel.
    pub cmdline: String,
    /// How many CPUs the kernel is built for, or the most that kernels are.
    pub nr_cpus: u32,
    /// The CPUs that may ever be there.
    pub possible: CpuSet,
    /// The CPUs that are there.
    pub present: CpuSet,
    /// The CPUs that run.
    pub online: CpuSet,
    /// The CPUs that `isolcpus=` and the like have isolated.
    pub isolated: CpuSet,
    /// The CPUs that isolated partitions of cpusets have taken.
    pub partitions: CpuSet,
    /// The CPUs without a tick.
    pub nohz_full: CpuSet,
    /// Whether user space, the command line or the firmware has put the second CPUs of all cores
    /// offline.
    pub smt_off: bool,
    /// Whether the kernel may suspend the machine, as far as that is known, for which it needs a tick
    /// on the CPU that boots.
    pub sleeps: bool,
    /// What is in the kernel's own file, where there is one.
    pub sysfs: Option<CpuSet>,
    /// The classes of work that the kernel says it confines, where it says so.
    pub classes: Option<Classes>,
    /// What is on the command line.
    pub option: Option<BootOption>,
    /// The nodes, at least one.
    pub nodes: Vec<Node>,
    /// What could not be read, in whole sentences.
    pub warnings: Vec<String>,
}

impl Machine {
    /// Looks at the machine under `root`. What is missing is replaced by what follows from the
    /// rest, with a warning.
    pub fn read(root: &Root) -> Self {
        let mut warnings = Vec::new();
        let cpus = |name: &str| {
            root.read_list(&format!("sys/devices/system/cpu/{name}"))
                .filter(|cpus| !cpus.is_empty())
        };
        let online = cpus("online");
        let possible = cpus("possible").or_else(|| online.clone()).or_else(|| {
            let cpus = cpus_of_stat(&root.read_optional("proc/stat")?);
            (!cpus.is_empty()).then_some(cpus)
        });
        if possible.is_none() || online.is_none() {
            warnings.push(format!(
                "{} has no usable list of CPUs: is sysfs mounted?",
                root.path("sys/devices/system/cpu").display()
            ));
        }

        let possible = possible.unwrap_or_else(|| CpuSet::from_iter([0]));
        let online = online.unwrap_or_else(|| possible.clone());
        let cmdline = root.read_optional("proc/cmdline").unwrap_or_default();
        let last = root.read_optional("sys/devices/system/cpu/kernel_max");
        let nr_cpus = last
            .and_then(|last| last.parse().ok())
            .filter(|last: &u32| *last < LIMIT)
            .map_or(NR_CPUS, |last| last + 1);
        let sysfs_text = root.read_optional(SYSFS);
        let sysfs = sysfs_text.as_deref().and_then(|text| {
            let parsed = CpuSet::parse_any(text).ok().filter(|cpus| !cpus.is_empty());
            if parsed.is_none() {
                warnings.push(format!(
                    "{} is not a CPU list: it is taken as missing",
                    root.path(SYSFS).display()
                ));
            }
            parsed
        });
        let mut nodes: Vec<_> = root
            .numbered("sys/devices/system/node", "node")
            .into_iter()
            .filter_map(|id| {
                let cpus = root.read_list(&format!("sys/devices/system/node/node{id}/cpulist"))?;
                Some(Node { id, cpus })
            })
            .collect();
        if nodes.is_empty() {
            nodes.push(Node {
                id: 0,
                cpus: possible.clone(),
            });
        }

        Self {
            kernel: root
                .read_optional("proc/sys/kernel/osrelease")
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| "?".to_owned()),
            option: boot_option(&cmdline, &possible, nr_cpus),
            cmdline,
            nr_cpus,
            present: cpus("present").unwrap_or_else(|| possible.clone()),
            isolated: cpus("isolated").unwrap_or_default(),
            partitions: partitions(root),
            // Older kernels write "(null)" where newer ones write nothing.
            nohz_full: cpus("nohz_full").unwrap_or_default(),
            smt_off: root
                .read_optional("sys/devices/system/cpu/smt/control")
                .is_some_and(|control| ["off", "forceoff"].contains(&&*control)),
            // The second is in every sysfs, and hardly in a recording.
            sleeps: root.path("sys/power/wakeup_count").exists()
                || !root.path("sys/kernel").exists(),
            possible,
            online,
            sysfs,
            classes: root
                .read_optional(CLASSES)
                .map(|text| option::from_names(&text)),
            nodes,
            warnings,
        }
    }

    /// Returns a machine with these CPUs, all of them online, about which nothing else is known.
    pub fn of(cpus: &CpuSet) -> Self {
        Self {
            kernel: "?".to_owned(),
            cmdline: String::new(),
            nr_cpus: NR_CPUS,
            possible: cpus.clone(),
            present: cpus.clone(),
            online: cpus.clone(),
            isolated: CpuSet::new(),
            partitions: CpuSet::new(),
            nohz_full: CpuSet::new(),
            smt_off: false,
            sleeps: true,
            sysfs: None,
            classes: None,
            option: None,
            nodes: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Returns the number of CPUs that a list may name: the last possible one, and 1.
    pub fn count(&self) -> u32 {
        self.possible.last().map_or(1, |last| last + 1)
    }

    /// Returns the CPU that boots the machine, which is the first to get a number.
    pub fn boot_cpu(&self) -> u32 {
        self.present.first().unwrap_or(0)
    }

    /// Returns the node of a CPU.
    pub fn node_of(&self, cpu: u32) -> Option<u32> {
        let node = self.nodes.iter().find(|node| node.cpus.contains(cpu))?;

        Some(node.id)
    }

    /// Returns the possible CPUs that are not isolated, neither at boot nor by a partition. The
    /// kernel lets no partition take the last one.
    pub fn housekeeping(&self) -> CpuSet {
        self.boot_housekeeping().minus(&self.partitions)
    }

    /// Returns the possible CPUs that were not isolated at boot.
    pub fn boot_housekeeping(&self) -> CpuSet {
        self.possible.minus(&self.isolated)
    }
}

/// Returns the CPUs of `/proc/stat`, which are those online.
fn cpus_of_stat(text: &str) -> CpuSet {
    text.lines()
        .filter_map(|line| line.split(' ').next()?.strip_prefix("cpu")?.parse().ok())
        .filter(|cpu| *cpu < LIMIT)
        .collect()
}

/// Returns what `kthread_cpus=` says.
fn boot_option(cmdline: &str, possible: &CpuSet, nr_cpus: u32) -> Option<BootOption> {
    let mut words = cmdline::words(cmdline).into_iter().rev();
    let word = words.find(|word| word.name == "kthread_cpus")?;
    // To the kernel, no value is an empty one.
    let value = word.value.unwrap_or_default();
    let count = possible.last().map_or(1, |last| last + 1);
    let parsed = option::parse(&value, count, nr_cpus).ok();

    Some(BootOption {
        value,
        parsed: parsed
            .map(|(cpus, classes)| (cpus.and(possible), classes))
            .filter(|(cpus, _)| !cpus.is_empty()),
    })
}

/// Returns the CPUs that cpusets have isolated, while the machine runs. Only the root of the cgroups
/// of version 2 has that file, and it may be mounted anywhere.
fn partitions(root: &Root) -> CpuSet {
    let tables = ["proc/1/mounts", "proc/self/mounts", "proc/mounts"];
    let table = tables.iter().find_map(|name| root.read_optional(name));
    let mounted = table
        .iter()
        .flat_map(|table| table.lines())
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let place = fields.next()?;
            (fields.next()? == "cgroup2").then(|| unescape(place))
        });
    // A recording may have the files without the table.
    let usual = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(str::to_owned);
    let mut places = mounted.chain(usual);

    places
        .find_map(|place| {
            let place = place.trim_start_matches('/');
            root.read_list(&format!("{place}/cpuset.cpus.isolated"))
        })
        .unwrap_or_default()
}

/// Returns a path out of the table of mounts, in which some characters are octal numbers.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();

    for part in parts {
        let number = part
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match number {
            Some(byte) => {
                path.push(char::from(byte));
                path.push_str(&part[3..]);
            }
            None => {
                path.push('\\');
                path.push_str(part);
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_parsed_as_by_the_kernel() {
        let parsed = |value: &str, possible: &str| {
            let possible = CpuSet::parse_any(possible).unwrap();
            let option = boot_option(&format!("kthread_cpus={value}"), &possible, 64).unwrap();
            option.parsed
        };
        let (cpus, classes) = parsed("kthread,wq,0,N", "0-7").unwrap();

        assert_eq!(cpus.to_string(), "0,7");
        assert_eq!(classes, option::from_names("kthread,wq"));
        assert_eq!(parsed("0", "0-7").unwrap().1, Classes::ALL);
        // CPUs that can never be there are dropped.
        assert_eq!(
            parsed("0-1,6-9", "0-3,6-7").unwrap().0.to_string(),
            "0-1,6-7"
        );
        for wrong in ["", "wq,", "8", "0,64", "0-1,x", "no,0"] {
            assert!(parsed(wrong, "0-7").is_none(), "{wrong}");
        }
        let option = boot_option("kthread-cpus=0 kthread_cpus", &CpuSet::from_iter([0]), 64);
        assert!(option.unwrap().parsed.is_none());
    }

    #[test]
    fn paths_in_the_table_of_mounts() {
        assert_eq!(unescape("/a\\040b\\134"), "/a b\\");
        assert_eq!(unescape("/a\\9\\"), "/a\\9\\");
    }

    #[test]
    fn cpus_are_found_without_sysfs() {
        assert_eq!(
            cpus_of_stat("cpu  1 2\ncpu0 1\ncpu1 1\nintr 5\ncpux\n").to_string(),
            "0-1"
        );
    }
}
