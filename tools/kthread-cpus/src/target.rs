// SPDX-License-Identifier: GPL-2.0

//! The CPUs that kernel threads are meant for, who says so, and whether the kernel obeys.

use serde::{Deserialize, Serialize};

use crate::{
    cpuset::{CpuSet, Named},
    error::{Error, Result},
    machine::{Machine, SYSFS},
    option::Classes,
    threads::Inventory,
};

/// Who says which CPUs kernel threads are meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The user of this tool.
    Argument,
    /// The kernel's own file.
    Sysfs,
    /// `kthread_cpus=` on the command line.
    Option,
    /// The other CPUs are isolated.
    Isolated,
    /// Nobody: it is all CPUs.
    Nobody,
}

impl Source {
    /// Returns the words for a person that complete "CPUs 0-1, ...".
    pub fn words(self) -> &'static str {
        match self {
            Self::Argument => "as asked for",
            Self::Sysfs => "as /sys/devices/system/cpu/kthread_cpus says",
            Self::Option => "as kthread_cpus= on the kernel command line says",
            Self::Isolated => "which are those that are not isolated",
            Self::Nobody => "which are all there are",
        }
    }

    /// Returns the name that machines read.
    pub fn name(self) -> &'static str {
        match self {
            Self::Argument => "argument",
            Self::Sysfs => "sysfs",
            Self::Option => "option",
            Self::Isolated => "isolated",
            Self::Nobody => "nobody",
        }
    }
}

/// The CPUs that kernel threads are meant for.
#[derive(Clone, Debug)]
pub struct Target {
    /// The CPUs.
    pub cpus: CpuSet,
    /// Who says so.
    pub source: Source,
    /// Whether unbound workqueues and rescuers are meant too.
    pub workqueues: bool,
    /// Whether kernel threads that no workqueue has are meant too.
    pub kthreads: bool,
}

impl Target {
    /// Finds out the CPUs: those `given`, else those that the kernel has, else the option's, else
    /// those that are not isolated. Isolation goes first, as in the kernel. The classes of work are
    /// the option's, unless it leaves the kernel no CPU: then the kernel ignores it.
    ///
    /// # Errors
    ///
    /// When the list that was given is wrong or empty.
    pub fn find(machine: &Machine, given: Option<&str>) -> Result<Self> {
        let housekeeping = machine.housekeeping();
        let option = machine.option.as_ref().and_then(|o| o.parsed.as_ref());
        let classes = option.filter(|(cpus, _)| cpus.intersects(&housekeeping));
        let confines = |class| classes.is_none_or(|(_, classes)| classes.contains(class));
        let target = |cpus: &CpuSet, source| {
            let allowed = cpus.and(&housekeeping);
            Self {
                cpus: if allowed.is_empty() {
                    cpus.and(&machine.possible)
                } else {
                    allowed
                },
                source,
                workqueues: confines(Classes::WQ),
                kthreads: confines(Classes::KTHREAD),
            }
        };

        if let Some(text) = given {
            let cpus = CpuSet::parse(text, machine.count())?.and(&machine.possible);
            if cpus.is_empty() {
                return Err(Error::new(format_args!(
                    "no CPU in the list \"{text}\": this machine has CPUs {}",
                    machine.possible
                )));
            }
            return Ok(Self {
                cpus,
                source: Source::Argument,
                workqueues: true,
                kthreads: true,
            });
        }
        if let Some(cpus) = &machine.sysfs {
            return Ok(target(cpus, Source::Sysfs));
        }
        if let Some((cpus, _)) = option {
            if cpus.intersects(&machine.possible) {
                return Ok(target(cpus, Source::Option));
            }
        }
        let source = match machine.isolated.intersects(&machine.possible) {
            true => Source::Isolated,
            false => Source::Nobody,
        };
        Ok(target(&machine.possible, source))
    }
}

/// Whether the kernel does what `kthread_cpus=` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Obeys {
    /// It has its file, so that it knows the option, or its threads are where the option says.
    Yes,
    /// The option is on the command line, and its threads may be elsewhere.
    No,
    /// The option is not used, or it would make no difference.
    Unknown,
}

/// What is to be said about the kernel and the option, and whether the former obeys the latter.
pub fn obedience(
    machine: &Machine,
    inventory: &Inventory,
    workqueues: Option<&CpuSet>,
) -> (Obeys, Option<String>) {
    let Some(option) = &machine.option else {
        return match machine.sysfs {
            Some(_) => (Obeys::Yes, None),
            None => (Obeys::Unknown, None),
        };
    };
    let value = &option.value;
    let Some((cpus, classes)) = &option.parsed else {
        return (
            Obeys::No,
            Some(format!(
                "kthread_cpus={value} is on the kernel command line, but is not a list of CPUs of \
                 this machine: no kernel obeys it; correct it, and boot again"
            )),
        );
    };
    if let Some(now) = &machine.sysfs {
        // Otherwise it was accepted, or other CPUs have been chosen since.
        if cpus.intersects(&machine.housekeeping()) || *now != machine.possible {
            return (Obeys::Yes, None);
        }
        return (
            Obeys::No,
            Some(format!(
                "kthread_cpus={value} names isolated CPUs only, and so this kernel has ignored it: \
                 choose from CPUs {}, and boot again",
                Named(&machine.housekeeping())
            )),
        );
    }

    let usable = cpus.and(&machine.housekeeping());
    if !usable.intersects(&machine.online) {
        return (
            Obeys::Unknown,
            Some(format!(
                "none of the CPUs of kthread_cpus={value} is online and not isolated: the kernel's \
                 work is on the others"
            )),
        );
    }
    let kthreadd = inventory
        .threads
        .iter()
        .find(|thread| &*thread.name == "kthreadd")
        .and_then(|thread| thread.allowed.as_deref());
    let (what, mask) = if classes.contains(Classes::KTHREAD) {
        ("kthreadd", kthreadd)
    } else if classes.contains(Classes::WQ) {
        ("unbound workqueues", workqueues)
    } else {
        ("", None)
    };
    match mask.map(|mask| mask.and(&machine.possible)) {
        None => (Obeys::Unknown, None),
        Some(mask) if mask.is_subset(&usable) => {
            // It is no merit to stay where there is nothing else.
            match machine.housekeeping().is_subset(&usable) {
                true => (Obeys::Unknown, None),
                false => (Obeys::Yes, None),
            }
        }
        Some(mask) => (
            Obeys::No,
            Some(format!(
                "this kernel ({}) ignores kthread_cpus={value}: {what} may use CPUs {}, and there is \
                 no /{SYSFS}; boot a kernel that has the option, or use: kthread-cpus set \
                 --best-effort {}",
                machine.kernel,
                Named(&mask),
                Named(&usable)
            )),
        ),
    }
}
