// SPDX-License-Identifier: GPL-2.0

//! The machine: its CPUs, its nodes, and what it was booted with.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kthread_cpus_core::{
    cpulist::Mask,
    option::{self, Classes},
};

use crate::cpuset::{CpuSet, LIMIT};

/// The file with the CPUs that kernel threads may use, on a kernel that has it.
pub const SYSFS: &str = "sys/devices/system/cpu/kthread_cpus";

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
    /// The CPUs that may ever be there.
    pub possible: CpuSet,
    /// The CPUs that are there.
    pub present: CpuSet,
    /// The CPUs that run.
    pub online: CpuSet,
    /// The CPUs that `isolcpus=` and the like have isolated.
    pub isolated: CpuSet,
    /// The CPUs without a tick.
    pub nohz_full: CpuSet,
    /// What is in the kernel's own file, where there is one.
    pub sysfs: Option<CpuSet>,
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
        let count = possible.last().map_or(1, |last| last + 1);

        Self {
            kernel: root
                .read_optional("proc/sys/kernel/osrelease")
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| "?".to_owned()),
            option: boot_option(&cmdline, count),
            cmdline,
            present: cpus("present").unwrap_or_else(|| possible.clone()),
            isolated: cpus("isolated").unwrap_or_default(),
            // Older kernels write "(null)" where newer ones write nothing.
            nohz_full: cpus("nohz_full").unwrap_or_default(),
            possible,
            online,
            sysfs,
            nodes,
            warnings,
        }
    }

    /// Returns the number of CPUs that a list may name: the last possible one, and 1.
    pub fn count(&self) -> u32 {
        self.possible.last().map_or(1, |last| last + 1)
    }

    /// Returns the node of a CPU.
    pub fn node_of(&self, cpu: u32) -> Option<u32> {
        let node = self.nodes.iter().find(|node| node.cpus.contains(cpu))?;

        Some(node.id)
    }

    /// Returns the possible CPUs that are not isolated.
    pub fn housekeeping(&self) -> CpuSet {
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

/// Returns the words of a command line, as the kernel separates them: what is after `--` is for
/// init, and white space between double quotes does not separate.
pub fn words(cmdline: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;

    for c in cmdline.chars().chain([' ']) {
        match c {
            '"' => quoted = !quoted,
            c if c.is_ascii_whitespace() && !quoted => {
                if word == "--" {
                    return words;
                }
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    // An open quotation ends with the line.
    if quoted && !word.trim().is_empty() {
        words.push(word.trim_end().to_owned());
    }
    words
}

/// Returns the last value of an option on a command line. To the kernel, `-` and `_` are the same
/// in a name.
pub fn last_value(cmdline: &str, name: &str) -> Option<String> {
    words(cmdline)
        .into_iter()
        .filter_map(|word| {
            let (key, value) = word.split_once('=')?;
            (key.replace('-', "_") == name).then(|| value.to_owned())
        })
        .next_back()
}

/// Returns what `kthread_cpus=` says, for `count` CPUs.
fn boot_option(cmdline: &str, count: u32) -> Option<BootOption> {
    let value = last_value(cmdline, "kthread_cpus")?;
    let mut words = vec![0; (count as usize).div_ceil(usize::BITS as usize)];
    let classes = Mask::new(&mut words, count)
        .and_then(|mut mask| option::parse(value.as_bytes(), &mut mask).ok());
    let parsed = classes.map(|classes| {
        let cpus = words.iter().enumerate().flat_map(|(index, word)| {
            (0..usize::BITS)
                .filter(move |bit| word >> bit & 1 != 0)
                .map(move |bit| index as u32 * usize::BITS + bit)
        });
        (cpus.collect::<CpuSet>(), classes)
    });

    Some(BootOption {
        value,
        parsed: parsed.filter(|(cpus, _)| !cpus.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_counts() {
        let cmdline = "a kthread_cpus=0 kthread-cpus=2-3 x=\"b c\" -- kthread_cpus=1";

        assert_eq!(last_value(cmdline, "kthread_cpus").as_deref(), Some("2-3"));
        assert_eq!(last_value(cmdline, "x").as_deref(), Some("b c"));
        assert_eq!(last_value(cmdline, "y"), None);
        assert_eq!(words("a \"b"), ["a", "b"]);
        assert_eq!(words(""), [""; 0]);
    }

    #[test]
    fn the_option_is_parsed_as_by_the_kernel() {
        let option = boot_option("kthread_cpus=kthread,wq,0,N", 8).unwrap();
        let (cpus, classes) = option.parsed.unwrap();

        assert_eq!(cpus.to_string(), "0,7");
        assert!(classes.contains(Classes::WQ) && !classes.contains(Classes::IRQ));
        for wrong in ["", "wq,", "8", "0-1,x", "no,0"] {
            let option = boot_option(&format!("kthread_cpus={wrong}"), 8).unwrap();
            assert!(option.parsed.is_none(), "{wrong}");
        }
    }

    #[test]
    fn cpus_are_found_without_sysfs() {
        assert_eq!(
            cpus_of_stat("cpu  1 2\ncpu0 1\ncpu1 1\nintr 5\ncpux\n").to_string(),
            "0-1"
        );
    }
}
