// SPDX-License-Identifier: GPL-2.0

//! The CPUs that kernel threads are meant for, who says so, and whether the kernel obeys.

use serde::{Deserialize, Serialize};

use crate::{
    boot,
    cpuset::{CpuSet, Named},
    error::{Error, Result},
    machine::{Machine, SYSFS},
    option,
    threads::Inventory,
    topology::Topology,
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
    /// The other CPUs are isolated, some of them by cpusets.
    Partition,
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
            Self::Partition => "which are those that are not isolated by a cpuset or at boot",
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
            Self::Partition => "partition",
            Self::Nobody => "nobody",
        }
    }
}

/// The CPUs that kernel threads are meant for.
#[derive(Clone, Debug)]
pub struct Target {
    /// The CPUs.
    pub cpus: CpuSet,
    /// The CPUs that were chosen, if none of them can be used now, so that the kernel's work has to
    /// be on others.
    pub unusable: Option<CpuSet>,
    /// Who says so.
    pub source: Source,
    /// Whether unbound workqueues and rescuers are meant too.
    pub workqueues: bool,
    /// Whether kernel threads that no workqueue has are meant too.
    pub kthreads: bool,
}

impl Target {
    /// Finds out the CPUs: those `given`, else those that the kernel has, else the option's, else
    /// those that are not isolated. Isolation goes first, as in the kernel, and CPUs that are offline
    /// are none: the next level is that of all CPUs that are not isolated. The classes of work are
    /// those that the kernel names, else the option's, unless it leaves the kernel no CPU: then
    /// the kernel ignores it.
    ///
    /// # Errors
    ///
    /// When the list that was given is wrong or empty.
    pub fn find(machine: &Machine, given: Option<&str>) -> Result<Self> {
        let housekeeping = machine.housekeeping();
        let boot_housekeeping = machine.boot_housekeeping();
        let option = machine.option.as_ref().and_then(|o| o.parsed.as_ref());
        let option = option.filter(|(cpus, _)| cpus.intersects(&boot_housekeeping));
        let classes = machine.classes.or(option.map(|(_, classes)| *classes));
        let confines = |class| classes.is_none_or(|classes| option::contains(classes, class));
        let target = |cpus: &CpuSet, source| {
            let chosen = cpus.and(&housekeeping);
            let usable = chosen.intersects(&machine.online);
            Self {
                cpus: match usable {
                    true => chosen,
                    false if housekeeping.intersects(&machine.online) => housekeeping.clone(),
                    false => machine.possible.clone(),
                },
                unusable: (!usable).then(|| cpus.clone()),
                source,
                workqueues: confines(option::WQ),
                kthreads: confines(option::KTHREAD),
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
                unusable: None,
                source: Source::Argument,
                workqueues: true,
                kthreads: true,
            });
        }
        if machine.classes != Some(option::NONE) {
            if let Some(cpus) = &machine.sysfs {
                return Ok(target(cpus, Source::Sysfs));
            }
            if let Some((cpus, _)) = option {
                return Ok(target(cpus, Source::Option));
            }
        }
        let source = if !machine.partitions.is_subset(&machine.isolated) {
            Source::Partition
        } else if machine.isolated.intersects(&machine.possible) {
            Source::Isolated
        } else {
            Source::Nobody
        };
        Ok(Self {
            workqueues: true,
            kthreads: true,
            unusable: None,
            ..target(&machine.possible, source)
        })
    }

    /// Says why the CPUs that were chosen cannot be used.
    pub fn note(&self, machine: &Machine) -> Option<String> {
        let wanted = self.unusable.as_ref()?;
        let mut rest = wanted.and(&machine.possible);
        let mut why = Vec::new();
        let isolated = &machine.isolated;
        let partitions = machine.partitions.minus(isolated);
        let offline = machine.possible.minus(&machine.online);

        for (cpus, words) in [
            (isolated, "isolated at boot"),
            (&partitions, "taken by an isolated cpuset partition"),
            (&offline, "offline"),
        ] {
            let some = rest.and(cpus);
            rest = rest.minus(cpus);
            if !some.is_empty() {
                why.push(format!("{some} {words}"));
            }
        }
        Some(format!(
            "no CPU of the list {} is usable now: {}; the kernel's work is on CPUs {} until one of them is \
             again",
            Named(wanted),
            why.join(", "),
            self.cpus
        ))
    }
}

/// Whether the kernel does what `kthread_cpus=` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Obeys {
    /// It has its file, so that it knows the option, or its threads are where the option says.
    Yes,
    /// Its threads are where the option says, and its workqueues may be elsewhere.
    Partly,
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
    let housekeeping = machine.boot_housekeeping();
    let usable = cpus.and(&housekeeping);
    if let Some(now) = &machine.sysfs {
        // Otherwise it was accepted, or other CPUs have been chosen since.
        if !usable.is_empty() || *now != machine.possible {
            return (Obeys::Yes, None);
        }
        return (
            Obeys::No,
            Some(format!(
                "kthread_cpus={value} names isolated CPUs only, and so this kernel has ignored it: \
                 choose from CPUs {}, and boot again",
                Named(&housekeeping)
            )),
        );
    }
    if usable.is_empty() {
        return (
            Obeys::Unknown,
            Some(format!(
                "kthread_cpus={value} names isolated CPUs only, and kernels ignore that: choose from \
                 CPUs {}, and boot again",
                Named(&housekeeping)
            )),
        );
    }
    let usable = usable.minus(&machine.partitions);
    if !usable.intersects(&machine.online) {
        return (Obeys::Unknown, None);
    }

    let inside = |mask: &CpuSet| mask.and(&machine.possible).is_subset(&usable);
    let kthreadd = inventory
        .threads
        .iter()
        .find(|thread| &*thread.name == "kthreadd")
        .and_then(|thread| thread.allowed.as_deref())
        .filter(|_| option::contains(*classes, option::KTHREAD));
    let workqueues = workqueues.filter(|_| option::contains(*classes, option::WQ));
    let ignores = |what: &str, mask: &CpuSet| {
        let text = format!(
            "this kernel ({}) ignores kthread_cpus={value}: {what} may use CPUs {}, and there is no \
             /{SYSFS}; boot a kernel that has the option, or use: kthread-cpus set --best-effort {}",
            machine.kernel,
            Named(&mask.and(&machine.possible)),
            Named(&usable)
        );
        (Obeys::No, Some(text))
    };
    match (kthreadd, workqueues) {
        (None, None) => (Obeys::Unknown, None),
        (Some(mask), _) if !inside(mask) => ignores("kthreadd", mask),
        (None, Some(mask)) if !inside(mask) => ignores("unbound workqueues", mask),
        (Some(_), Some(mask)) if !inside(mask) => (
            Obeys::Partly,
            Some(format!(
                "this kernel ({}) obeys kthread_cpus={value} for kernel threads, but not for unbound \
                 workqueues, which may use CPUs {}; there is no /{SYSFS}",
                machine.kernel,
                Named(&mask.and(&machine.possible))
            )),
        ),
        _ => {
            // It is no merit to stay where there is nothing else, or where other options keep it.
            let reading = boot::read(machine, &Topology::default(), &machine.cmdline);
            match machine.housekeeping().and(&reading.kthreads).is_subset(&usable) {
                true => (Obeys::Unknown, None),
                false => (Obeys::Yes, None),
            }
        }
    }
}
