// SPDX-License-Identifier: GPL-2.0

//! The kernel's threads, as `/proc` has them.
//!
//! A kernel thread is a process of its own, so that the threads of other processes need not be
//! walked. Of each process `/proc/PID/stat` is read, and of kernel threads `status` and `schedstat` too.
//!
//! The crate procfs (0.17) reads these as well, into fields of which most are not needed here: with 10,000
//! kernel threads in a recorded tree that took 0.60 s of CPU time and 19 MB, and `list` 0.26 s and 4 MB.

use std::{
    collections::HashMap,
    fmt,
    fs::{self, File},
    io::{self, Read},
    rc::Rc,
};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::{
    cpuset::CpuSet,
    error::{Error, Result},
    machine::{Machine, Root},
    sys,
};

/// It is a thread of the kernel.
const PF_KTHREAD: u32 = 0x0020_0000;
/// The kernel has bound it, and nobody else may.
const PF_NO_SETAFFINITY: u32 = 0x0400_0000;
/// It is a worker of a workqueue.
const PF_WQ_WORKER: u32 = 0x0000_0020;

/// What kind of kernel thread it is, as far as its CPUs are concerned.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// One of a kind that each CPU has, for whose work it is there: cpuhp/N, ksoftirqd/N, kworker/N:*.
    PerCpu,
    /// Bound by the kernel, or by a module, to some CPUs or one.
    Bound,
    /// Free to move, with a preference, such as the CPUs of its node: kswapdN, kcompactdN.
    Preferred,
    /// Free to move, without a preference.
    Unbound,
    /// A worker of unbound workqueues: kworker/uN:*.
    Workqueue,
    /// The rescuer of a workqueue: kworker/R-*.
    Rescuer,
    /// The thread of an interrupt, which follows the interrupt's affinity: irq/N-*.
    Irq,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 7] = [
        Self::PerCpu,
        Self::Bound,
        Self::Preferred,
        Self::Unbound,
        Self::Workqueue,
        Self::Rescuer,
        Self::Irq,
    ];

    /// Returns the name that people and machines read.
    pub fn name(self) -> &'static str {
        match self {
            Self::PerCpu => "per-cpu",
            Self::Bound => "bound",
            Self::Preferred => "preferred",
            Self::Unbound => "unbound",
            Self::Workqueue => "workqueue",
            Self::Rescuer => "rescuer",
            Self::Irq => "irq",
        }
    }

    /// Whether `kthread_cpus=` or its like decides where such a thread may run.
    pub fn is_steered(self) -> bool {
        !matches!(self, Self::PerCpu | Self::Bound | Self::Irq)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A kernel thread at the time when it was read.
#[derive(Clone, Debug)]
pub struct Thread {
    /// Its number.
    pub pid: u32,
    /// Its full name.
    pub name: Box<str>,
    /// Its kind.
    pub class: Class,
    /// Where it may run, if that could be read.
    pub allowed: Option<Rc<CpuSet>>,
    /// The CPU on which it ran last.
    pub cpu: u32,
    /// The node of that CPU.
    pub node: Option<u32>,
    /// How often it was switched away from.
    pub switches: u64,
    /// How long it ran, in nanoseconds; with the resolution of the clock tick where the kernel
    /// does not count more exactly.
    pub run_ns: u64,
    /// Whether user space may move it.
    pub movable: bool,
}

/// What was found in `/proc`.
#[derive(Debug, Default)]
pub struct Inventory {
    /// The kernel threads, by number.
    pub threads: Vec<Thread>,
    /// How many entries were not to be read although they had not vanished.
    pub unreadable: usize,
    /// One of these, and why.
    pub example: Option<String>,
    /// Where a thread without a preference may run.
    pub widest: CpuSet,
}

/// What could be read of a thread without knowing the machine.
struct Stat<'a> {
    name: &'a [u8],
    flags: u32,
    ticks: u64,
    cpu: u32,
}

/// Parses `/proc/PID/stat`; the name may have any character.
fn parse_stat(text: &[u8]) -> Option<Stat<'_>> {
    let open = text.iter().position(|&byte| byte == b'(')?;
    let close = text.iter().rposition(|&byte| byte == b')')?;
    let name = text.get(open + 1..close)?;
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    // The state, field 3, is the first.
    let mut fields = rest.split_ascii_whitespace();
    let flags = fields.nth(9 - 3)?.parse().ok()?;
    let user: u64 = fields.nth(14 - 9 - 1)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let cpu = fields.nth(39 - 15 - 1)?.parse().ok()?;

    Some(Stat {
        name,
        flags,
        ticks: user.checked_add(system)?,
        cpu,
    })
}

/// Parses how long a thread ran from `/proc/PID/schedstat`.
fn parse_schedstat(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;

    text.split_ascii_whitespace().next()?.parse().ok()
}

/// Returns the value of a line of `/proc/PID/status`.
fn status_value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .map(str::trim)
}

/// Reads files of `/proc` into one buffer.
struct Reader {
    buffer: Vec<u8>,
    path: std::path::PathBuf,
}

impl Reader {
    fn new(root: &Root) -> Self {
        Self {
            buffer: vec![0; 16 << 10],
            path: root.path("proc"),
        }
    }

    /// Returns what is in a file of a process. A file of `/proc` comes whole with one read if the
    /// buffer is large enough.
    fn read(&mut self, pid: &str, name: &str) -> io::Result<&[u8]> {
        self.path.push(pid);
        self.path.push(name);
        let file = File::open(&self.path);
        self.path.pop();
        self.path.pop();

        let mut file = file?;
        let mut length = 0;
        loop {
            let space = self.buffer.len() - length;
            let count = file.read(&mut self.buffer[length..])?;
            length += count;
            if count < space {
                return Ok(&self.buffer[..length]);
            }
            if length > 1 << 20 {
                return Err(io::Error::other("it is too large"));
            }
            self.buffer.resize(length * 2, 0);
        }
    }
}

/// Whether the thread has ended.
fn has_vanished(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

impl Inventory {
    /// Reads all kernel threads.
    ///
    /// # Errors
    ///
    /// When there is no `/proc` to read, or no kernel thread in it.
    pub fn read(root: &Root, machine: &Machine) -> Result<Self> {
        let proc = root.path("proc");
        let fail = |error: &dyn fmt::Display| {
            let path = proc.display();
            let remedy = match root.is_live() {
                true => "mount it with: mount -t proc proc /proc",
                false => "--root is for a directory with the /proc and /sys of a machine",
            };
            Error::new(format_args!("cannot read {path}: {error}; {remedy}"))
        };
        let mut pids = Vec::new();
        for entry in fs::read_dir(&proc).map_err(|error| fail(&error))? {
            let entry = entry.map_err(|error| fail(&error))?;
            let name = entry.file_name();
            if let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) {
                pids.push(pid);
            }
        }
        pids.sort_unstable();

        let mut inventory = Self::default();
        let mut reader = Reader::new(root);
        let mut masks = HashMap::new();
        for pid in pids {
            let name = pid.to_string();
            match read_thread(&mut reader, &mut masks, pid, &name) {
                Ok(Some(thread)) => inventory.threads.push(thread),
                Ok(None) => {}
                Err(error) if has_vanished(&error) => {}
                Err(error) => {
                    inventory.unreadable += 1;
                    inventory
                        .example
                        .get_or_insert_with(|| format!("{}: {error}", proc.join(&name).display()));
                }
            }
        }
        if inventory.threads.is_empty() {
            return Err(match inventory.example {
                Some(example) => Error::new(format_args!(
                    "none of the {} processes in {} could be read ({example}); run it as root",
                    inventory.unreadable,
                    proc.display()
                )),
                None => Error::new(format_args!(
                    "there is no kernel thread in {}: this is a container, or /proc is mounted with \
                     hidepid; run it on the host, as root",
                    proc.display()
                )),
            });
        }
        inventory.classify(machine);
        Ok(inventory)
    }

    /// Reads one process more; nothing if it is not a thread of the kernel.
    ///
    /// # Errors
    ///
    /// Those of the files; it may have ended.
    pub fn read_one(&self, root: &Root, machine: &Machine, pid: u32) -> io::Result<Option<Thread>> {
        let mut reader = Reader::new(root);
        let mut thread = read_thread(&mut reader, &mut HashMap::new(), pid, &pid.to_string())?;

        if let Some(thread) = &mut thread {
            thread.node = machine.node_of(thread.cpu);
            thread.class = refine(thread, machine, &self.widest);
        }
        Ok(thread)
    }

    /// Finds out what kind each thread is, which needs the others.
    fn classify(&mut self, machine: &Machine) {
        let widest = self
            .threads
            .iter()
            .find(|thread| &*thread.name == "kthreadd")
            .and_then(|thread| thread.allowed.clone());

        self.widest = widest.as_deref().unwrap_or(&machine.possible).clone();
        for thread in &mut self.threads {
            thread.node = machine.node_of(thread.cpu);
            thread.class = refine(thread, machine, &self.widest);
        }
    }

    /// Returns what could not be read, in one sentence.
    pub fn warning(&self) -> Option<String> {
        let example = self.example.as_ref()?;

        Some(match self.unreadable {
            1 => format!("one process could not be read: {example}"),
            count => format!("{count} processes could not be read, such as {example}"),
        })
    }
}

/// Reads a thread; nothing if it is not one of the kernel. Its class is not known yet.
fn read_thread(
    reader: &mut Reader,
    masks: &mut HashMap<String, Rc<CpuSet>>,
    pid: u32,
    entry: &str,
) -> io::Result<Option<Thread>> {
    let garbage = |name: &str| io::Error::other(format!("{name} is not what the kernel writes"));
    let stat = parse_stat(reader.read(entry, "stat")?).ok_or_else(|| garbage("stat"))?;
    if stat.flags & PF_KTHREAD == 0 {
        return Ok(None);
    }

    let (flags, ticks, cpu) = (stat.flags, stat.ticks, stat.cpu);
    let printable = |name: &str| name.replace(|c: char| c.is_control(), "?");
    let mut name = printable(&String::from_utf8_lossy(stat.name));
    let class = basic_class(&name, flags);
    let status = String::from_utf8_lossy(reader.read(entry, "status")?);
    // It has another name while it has other CPUs: both must be of one moment.
    if class == Class::Rescuer {
        if let Some(now) = status_value(&status, "Name") {
            name = printable(now);
        }
    }
    let count = |key| status_value(&status, key).and_then(|value| value.parse::<u64>().ok());
    let allowed = status_value(&status, "Cpus_allowed_list").and_then(|list| {
        if let Some(mask) = masks.get(list) {
            return Some(mask.clone());
        }
        let mask = Rc::new(CpuSet::parse_any(list).ok()?);
        masks.insert(list.to_owned(), mask.clone());
        Some(mask)
    });
    let switches = count("voluntary_ctxt_switches")
        .unwrap_or(0)
        .saturating_add(count("nonvoluntary_ctxt_switches").unwrap_or(0));

    // The kernel may have been built without it; no other file is as exact.
    let run_ns = reader
        .read(entry, "schedstat")
        .ok()
        .and_then(parse_schedstat)
        .unwrap_or_else(|| sys::ticks_to_ns(ticks));

    Ok(Some(Thread {
        pid,
        class,
        name: name.into(),
        allowed,
        cpu,
        node: None,
        switches,
        run_ns,
        movable: flags & PF_NO_SETAFFINITY == 0,
    }))
}

/// Returns what the name and the flags of a thread say. [`Class::Bound`] and [`Class::Unbound`] may
/// turn out to be more than that.
fn basic_class(name: &str, flags: u32) -> Class {
    let worker = name.strip_prefix("kworker/");

    // Before 6.9, a rescuer had the name of its workqueue.
    if flags & PF_WQ_WORKER != 0 || worker.is_some() {
        match worker {
            Some(rest) if rest.starts_with("R-") => Class::Rescuer,
            Some(rest) if rest.starts_with('u') => Class::Workqueue,
            Some(_) => Class::PerCpu,
            None => Class::Rescuer,
        }
    } else if is_irq(name) {
        Class::Irq
    } else if flags & PF_NO_SETAFFINITY != 0 {
        Class::Bound
    } else {
        Class::Unbound
    }
}

/// Whether this is the name of the thread of an interrupt: `irq/N-...`, or `irq/N-s-...` for the
/// second one.
fn is_irq(name: &str) -> bool {
    irq_number(name).is_some()
}

/// Returns the number of the interrupt whose thread has this name.
pub fn irq_number(name: &str) -> Option<u32> {
    let (number, _) = name.strip_prefix("irq/")?.split_once('-')?;

    number.parse().ok()
}

/// Whether a rescuer with this name has attached itself to a pool of workers, and so has the CPUs
/// of that, maybe a single one. The name then ends with what the rescuer works on, or has worked on:
/// by default the name of its workqueue, cut to 23 characters (`wq_worker_comm()` and
/// `WORKER_DESC_LEN` in the kernel).
pub fn is_rescuing(name: &str) -> bool {
    let rest = name.strip_prefix("kworker/R-").unwrap_or(name);

    rest.match_indices(['+', '-']).any(|(at, _)| {
        let (queue, work) = (&rest.as_bytes()[..at], &rest.as_bytes()[at + 1..]);

        !work.is_empty() && work == &queue[..queue.len().min(23)]
    })
}

/// Returns the class of a thread in the light of the machine and of `widest`, the mask of a thread
/// without a preference.
fn refine(thread: &Thread, machine: &Machine, widest: &CpuSet) -> Class {
    let Some(allowed) = thread.allowed.as_deref() else {
        return thread.class;
    };

    match thread.class {
        Class::Bound if is_of_one_cpu(&thread.name, allowed, machine) => Class::PerCpu,
        Class::Unbound if has_node_name(&thread.name) => Class::Preferred,
        Class::Unbound if !widest.is_subset(allowed) => Class::Preferred,
        class => class,
    }
}

/// Whether a bound thread is one of a kind of which each CPU has its own, and not one that happens to
/// be bound to a single CPU. Such a thread has the number of its CPU in its name: `ksoftirqd/3`.
fn is_of_one_cpu(name: &str, allowed: &CpuSet, machine: &Machine) -> bool {
    let Some((stem, digits, cpu)) = cpu_of_name(name) else {
        return false;
    };

    // While its CPU is offline, it may be allowed anywhere; it is parked.
    if machine.possible.contains(cpu) && !machine.online.contains(cpu) {
        return true;
    }
    // This one sets the clock of all CPUs that have a common one.
    if stem == "sugov:" {
        return allowed.first() == Some(cpu);
    }
    match allowed.first().filter(|_| allowed.len() == 1) {
        Some(only) if only == cpu => true,
        // Before 5.17 a name was cut after 15 characters.
        Some(only) => name.len() == 15 && only.to_string().starts_with(digits),
        None => false,
    }
}

/// Returns the CPU that the name of a thread ends with, and what is before it.
fn cpu_of_name(name: &str) -> Option<(&str, &str, u32)> {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &name[stem.len()..];
    let kind = stem.ends_with('/') || ["sugov:", "kpktgend_"].contains(&stem);

    kind.then(|| Some((stem, digits, digits.parse().ok()?)))?
}

/// Whether this is a thread that the kernel has for every node.
fn has_node_name(name: &str) -> bool {
    ["kswapd", "kcompactd"].iter().any(|prefix| {
        name.strip_prefix(prefix)
            .is_some_and(|node| node.parse::<u32>().is_ok())
    })
}

/// Returns the name with the numbers in it that tell it from its siblings replaced:
/// `kworker/3:1-events` is one of `kworker/N:*`.
pub fn family(name: &str) -> String {
    if let Some(rest) = name.strip_prefix("kworker/") {
        return match rest.as_bytes() {
            [b'R', b'-', ..] => "kworker/R-*".to_owned(),
            [b'u', ..] => "kworker/uN:*".to_owned(),
            _ => "kworker/N:*".to_owned(),
        };
    }
    if is_irq(name) {
        return "irq/N-*".to_owned();
    }
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let numbered = stem.len() < name.len();

    match stem {
        stem if numbered && (cpu_of_name(name).is_some() || has_node_name(name)) => {
            format!("{stem}N")
        }
        _ => name.to_owned(),
    }
}

/// Returns how many threads there are of each family, most first, and those without a sibling by
/// their names: `8 cpuhp/N, kdevtmpfs`.
pub fn families<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut found: HashMap<String, (usize, &str)> = HashMap::new();
    for name in names {
        found.entry(family(name)).or_insert((0, name)).0 += 1;
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by(|(a, (m, _)), (b, (n, _))| n.cmp(m).then_with(|| a.cmp(b)));
    let words: Vec<_> = found
        .iter()
        .map(|(family, (count, name))| match count {
            1 => (*name).to_owned(),
            _ => format!("{count} {family}"),
        })
        .collect();

    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a) b) S 2 0 0 0 -1 69238880 0 0 0 0 3 4 0 0 20 0 1 0 22 0 0 \
                        18446744073709551615 0 0 0 0 0 0 0 2147483647 0 0 0 0 17 5 0 0 0 0 0\n";

    #[test]
    fn a_name_may_have_parentheses() {
        let stat = parse_stat(STAT.as_bytes()).unwrap();

        assert_eq!(stat.name, b"a) b");
        assert_eq!((stat.flags, stat.ticks, stat.cpu), (69_238_880, 7, 5));
    }

    #[test]
    fn every_truncation_is_garbage_or_whole() {
        let end = STAT.rfind(" 5 ").unwrap();

        for length in 0..STAT.len() {
            let stat = parse_stat(&STAT.as_bytes()[..length]);
            assert!(length > end || stat.is_none(), "{length}");
        }
        assert!(parse_stat(&[0xff; 100]).is_none());
        assert!(parse_stat(b")(").is_none());
    }

    #[test]
    fn names_and_flags_tell_the_class() {
        let class = |name, flags| basic_class(name, flags | PF_KTHREAD);

        assert_eq!(class("kworker/R-rcu_gp", PF_WQ_WORKER), Class::Rescuer);
        assert_eq!(
            class("rcu_gp", PF_WQ_WORKER | PF_NO_SETAFFINITY),
            Class::Rescuer
        );
        assert_eq!(class("kworker/u16:1", PF_WQ_WORKER), Class::Workqueue);
        assert_eq!(class("kworker/3:1-events", PF_WQ_WORKER), Class::PerCpu);
        assert_eq!(class("irq/24-nvme0q1", 0), Class::Irq);
        assert_eq!(class("irq_work/0", PF_NO_SETAFFINITY), Class::Bound);
        assert_eq!(class("kthreadd", 0), Class::Unbound);
        assert_eq!(irq_number("irq/9-s-acpi"), Some(9));
    }

    #[test]
    fn names_tell_which_rescuers_are_at_work() {
        for name in [
            "kworker/R-mm_percpu_wq-mm_percpu_wq",
            "kworker/R-mm_percpu_wq+mm_percpu_wq",
            "kworker/R-xfs-buf/sda+xfs-buf/sda",
            "rcu_gp-rcu_gp",
            "kworker/R-a-name-of-24-characters-+a-name-of-24-characters",
        ] {
            assert!(is_rescuing(name), "{name}");
        }
        for name in [
            "kworker/R-mm_percpu_wq",
            "kworker/R-xfs-buf/sda",
            "kworker/R-a-",
            "kworker/R--",
            "kworker/R-",
        ] {
            assert!(!is_rescuing(name), "{name}");
        }
    }

    #[test]
    fn threads_of_a_cpu_have_its_number() {
        let machine = crate::machine::Machine {
            online: CpuSet::parse_any("0-5,8-127").unwrap(),
            ..crate::machine::Machine::of(&CpuSet::parse_any("0-127").unwrap())
        };
        let is = |name, allowed| {
            let allowed = CpuSet::parse_any(allowed).unwrap();
            is_of_one_cpu(name, &allowed, &machine)
        };

        for (name, allowed) in [
            ("ksoftirqd/5", "5"),
            ("sugov:5", "5"),
            ("sugov:0", "0-3"),
            ("kpktgend_3", "3"),
            // It is parked.
            ("irq_work/6", "0-127"),
            ("backlog_napi/12", "12"),
            ("bnx2fc_thread/1", "120"),
        ] {
            assert!(is(name, allowed), "{name}");
        }
        for (name, allowed) in [
            ("z_wr_iss", "5"),
            ("md127", "127"),
            ("z_wr_iss/4", "5"),
            ("jbd2/sda1", "1"),
            ("cpuhp/", "1"),
            ("ksoftirqd/1", "12"),
            ("nfsd/0", "0-3"),
            ("sugov:1", "0-3"),
        ] {
            assert!(!is(name, allowed), "{name}");
        }
    }

    #[test]
    fn families_of_names() {
        let names = [
            "cpuhp/0",
            "cpuhp/1",
            "kworker/0:1H-kblockd",
            "kswapd0",
            "md127",
            "jbd2/sda1",
        ];

        assert_eq!(
            families(names.into_iter()),
            "2 cpuhp/N, jbd2/sda1, kswapd0, kworker/0:1H-kblockd, md127"
        );
    }
}
