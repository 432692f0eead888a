// SPDX-License-Identifier: GPL-2.0

//! What was watched, or what the machine is like now: what `report` shows.

use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{
    cause::Account,
    check::{Outcome, Verdict},
    cpuset::CpuSet,
    error::{Error, Result},
    machine::Root,
    target::{Obeys, Source},
    threads::Class,
    topology::Topology,
};

/// How long a thread ran on a CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The CPU.
    pub cpu: u32,
    /// How long, in nanoseconds.
    pub ns: u64,
    /// How often it got there.
    pub count: u64,
}

/// A kernel thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub class: Class,
    /// Where it may run; null if it could not be read.
    pub allowed: Option<CpuSet>,
    /// Whether that is outside.
    pub verdict: Verdict,
    /// Why; empty when it is inside.
    pub reason: String,
    /// On which CPU it ran last before the recording.
    pub cpu: u32,
    /// What was watched, by CPU.
    pub runs: Vec<Run>,
}

/// A setting of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// What it is about.
    pub name: String,
    /// Its CPUs.
    pub cpus: CpuSet,
    /// Whether some of them are outside.
    pub outside: bool,
    /// Whether that is wrong.
    pub counts: bool,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its number.
    pub id: u32,
    /// Its CPUs that are online.
    pub cpus: CpuSet,
}

/// A recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// The version of this format.
    pub version: u32,
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// How long it was watched, in nanoseconds; 0 if it was not.
    pub duration_ns: u64,
    /// How many switches were seen, those of user space included.
    pub switches: u64,
    /// How many events were lost, at least.
    pub lost: u64,
    /// The version of the kernel.
    pub kernel: String,
    /// Its command line.
    pub cmdline: String,
    /// The CPUs that may ever be there.
    pub possible: CpuSet,
    /// The CPUs that run.
    pub online: CpuSet,
    /// The isolated CPUs, those that cpusets have isolated included.
    pub isolated: CpuSet,
    /// The CPUs without a tick.
    pub nohz_full: CpuSet,
    /// The CPUs for kernel threads.
    pub cpus: CpuSet,
    /// Who says so.
    pub source: Source,
    /// Whether the kernel obeys its option.
    pub obeys: Obeys,
    /// What is to be said first.
    pub notes: Vec<String>,
    /// What to do.
    pub advice: Vec<String>,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The cores.
    pub topology: Topology,
    /// The settings.
    pub settings: Vec<Setting>,
    /// The kernel threads, by number.
    pub threads: Vec<Thread>,
    /// What ran on the CPUs outside, and why; older recordings have none.
    #[serde(default)]
    pub account: Account,
}

/// Kernel threads that ran outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intrusions {
    /// How often.
    pub count: u64,
    /// How long, in nanoseconds.
    pub ns: u64,
}

impl Intrusions {
    /// Adds a run.
    pub fn add(&mut self, run: &Run) {
        self.count = self.count.saturating_add(run.count);
        self.ns = self.ns.saturating_add(run.ns);
    }
}

impl Recording {
    /// Returns what was found out about a machine, with nothing watched yet.
    pub fn new(root: &Root, outcome: &Outcome) -> Self {
        let machine = &outcome.machine;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut threads: Vec<_> = outcome
            .findings
            .iter()
            .map(|finding| {
                let thread = outcome.thread(finding);
                Thread {
                    pid: thread.pid,
                    name: thread.name.to_string(),
                    class: thread.class,
                    allowed: thread.allowed.as_deref().cloned(),
                    verdict: finding.verdict,
                    reason: finding.reason.clone(),
                    cpu: thread.cpu,
                    runs: Vec::new(),
                }
            })
            .collect();

        threads.sort_by_key(|thread| thread.pid);
        Self {
            version: 1,
            started: now.map_or(0, |time| time.as_secs()),
            duration_ns: 0,
            switches: 0,
            lost: 0,
            kernel: machine.kernel.clone(),
            cmdline: machine.cmdline.clone(),
            possible: machine.possible.clone(),
            online: machine.online.clone(),
            isolated: machine.isolated.or(&machine.partitions),
            nohz_full: machine.nohz_full.clone(),
            cpus: outcome.target.cpus.clone(),
            source: outcome.target.source,
            obeys: outcome.obeys,
            notes: outcome.notes.clone(),
            advice: outcome.advice(),
            nodes: machine
                .nodes
                .iter()
                .map(|node| Node {
                    id: node.id,
                    cpus: node.cpus.clone(),
                })
                .collect(),
            topology: Topology::read(root, machine),
            settings: outcome
                .settings
                .iter()
                .map(|setting| Setting {
                    name: setting.name.to_owned(),
                    cpus: setting.cpus.clone(),
                    outside: setting.outside,
                    counts: setting.counts,
                })
                .collect(),
            threads,
            account: Account::default(),
        }
    }

    /// Reads a recording.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is none.
    pub fn load(path: &Path) -> Result<Self> {
        let show = path.display();
        let text = fs::read_to_string(path)
            .map_err(|error| Error::new(format_args!("cannot read {show}: {error}")))?;
        let recording: Self = serde_json::from_str(&text).map_err(|error| {
            Error::new(format_args!(
                "{show} is no recording: {error}; make one with: kthread-cpus watch --record {show}"
            ))
        })?;

        match recording.version {
            1 => Ok(recording),
            version => Err(Error::new(format_args!(
                "{show} has version {version}, and this program reads version 1; record it again"
            ))),
        }
    }

    /// Returns what ran outside: first what is meant to be inside, then what has to be there.
    pub fn intrusions(&self) -> (Intrusions, Intrusions) {
        let mut result = (Intrusions::default(), Intrusions::default());

        for thread in &self.threads {
            let part = match thread.class.is_steered() {
                true => &mut result.0,
                false => &mut result.1,
            };
            for run in thread
                .runs
                .iter()
                .filter(|run| !self.cpus.contains(run.cpu))
            {
                part.add(run);
            }
        }
        result
    }
}
