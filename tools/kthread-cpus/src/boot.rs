// SPDX-License-Identifier: GPL-2.0

//! What a kernel makes of a command line: which CPUs it isolates, leaves without a tick, gives to
//! its own work, and what it ignores.
//!
//! This follows `kernel/sched/isolation.c` of the kernel, and of some older ones where they differ.

use std::fmt;

use serde::Serialize;

use crate::{
    cmdline::{self, Word},
    cpuset::{CpuSet, Named},
    machine::Machine,
    option::{self, Classes},
    topology::Topology,
};

/// The version of a kernel, as far as it matters; one that is not known is a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32);

impl Version {
    /// `nohz_full=` keeps kernel threads off its CPUs.
    pub const NOHZ_KEEPS_KTHREADS_OFF: Self = Self(5, 9);
    /// `isolcpus=` skips a flag that it does not know.
    pub const FLAGS_SKIPPED: Self = Self(5, 8);
    /// `nohz_full=` and `isolcpus=` may have other CPUs each.
    pub const CPUS_BY_KIND: Self = Self(5, 18);
    /// `isolcpus=nohz` is the same as `nohz_full=`.
    pub const NOHZ_IS_NOHZ_FULL: Self = Self(6, 14);
    /// `nohz_full=` and `isolcpus=` must leave a CPU that is in neither.
    pub const ONE_IN_NEITHER: Self = Self(6, 19);
    /// What an option is compared with, to see whether another has said the same before, or both leave
    /// a CPU, are all CPUs: no option may repeat what another has said, and they may leave no CPU.
    pub const COMPARED_WITH_ALL: Self = Self(7, 0);
    /// Kernel threads are kept off isolated CPUs, and by `nohz_full=` off none.
    pub const ISOLATION_KEEPS_KTHREADS_OFF: Self = Self(7, 0);

    /// Parses what `uname -r` prints.
    pub fn parse(text: &str) -> Self {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);

        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Self(major, minor),
            _ => Self(u32::MAX, 0),
        }
    }
}

/// An option that the kernel ignores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ignored {
    /// The option, as it stands on the line.
    pub option: String,
    /// Why.
    pub why: String,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is ignored: {}", self.option, self.why)
    }
}

/// The CPUs and the classes of work of `kthread_cpus=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Confined {
    /// The CPUs that are possible; isolated ones among them are not used.
    pub cpus: CpuSet,
    /// What is confined to them.
    #[serde(serialize_with = "serialize_classes")]
    pub classes: Classes,
    /// The option, as it stands on the line.
    pub option: String,
}

fn serialize_classes<S: serde::Serializer>(
    classes: &Classes,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(classes)
}

/// What a kernel makes of a command line.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Reading {
    /// The CPUs that may ever be there.
    pub possible: CpuSet,
    /// The CPUs that run after the boot, as far as that is known.
    pub starting: CpuSet,
    /// The CPUs to which the scheduler moves nothing by itself.
    pub isolated: CpuSet,
    /// The CPUs that managed interrupts avoid.
    pub managed_irq: CpuSet,
    /// The CPUs without a tick.
    pub nohz_full: CpuSet,
    /// The CPUs whose RCU callbacks run elsewhere.
    pub rcu_nocbs: CpuSet,
    /// Where interrupts go that nobody has placed, if the line says it.
    pub irqaffinity: Option<CpuSet>,
    /// Where general kernel threads may run without `kthread_cpus=`.
    pub kthreads: CpuSet,
    /// The same for kthreadd and those that start before the other CPUs do.
    pub early_kthreads: CpuSet,
    /// What `kthread_cpus=` confines, on a kernel that has it.
    pub kthread_cpus: Option<Confined>,
    /// Where systemd puts PID 1 and all that it starts.
    pub systemd: Option<CpuSet>,
    /// The options that do nothing.
    pub ignored: Vec<Ignored>,
    /// The options with a wrong list that do something else than they say.
    pub malformed: Vec<String>,
    /// All options that are about CPUs.
    pub used: Vec<String>,
    /// What else is to be known.
    pub remarks: Vec<String>,
    /// Whether the CPU that boots was to be without a tick.
    #[serde(skip)]
    pub boot_in_nohz: bool,
    /// Whether the kernel had to take a CPU out of a list, so that one is left.
    #[serde(skip)]
    pub all_isolated: bool,
}

/// A kind of isolation.
const DOMAIN: usize = 0;
const MANAGED_IRQ: usize = 1;
/// No tick.
const TICK: usize = 2;
/// No timers, no RCU, and before 7.0 no kernel threads.
const NOISE: usize = 3;

/// What the kinds have set up so far.
struct Isolation<'a> {
    version: Version,
    possible: &'a CpuSet,
    present: &'a CpuSet,
    /// The CPU that boots the machine.
    boot: u32,
    /// As `maxcpus=` says.
    most: u32,
    /// The CPUs that are left, for each kind that is in use.
    left: [Option<CpuSet>; 4],
    /// Who has set them up.
    by: [String; 4],
    tickless: CpuSet,
    all_isolated: bool,
}

impl Isolation<'_> {
    fn isolated(&self, kind: usize) -> CpuSet {
        match &self.left[kind] {
            Some(left) => self.possible.minus(left),
            None => CpuSet::new(),
        }
    }

    /// As `housekeeping_setup()`: sets up some kinds, or says why the option is ignored.
    fn set_up(&mut self, option: &str, list: &str, kinds: &[usize]) -> Result<(), String> {
        let count = self.possible.last().map_or(1, |last| last + 1);
        let mut wanted = CpuSet::parse(list, count).map_err(|error| error.to_string())?;
        let mut left = self.possible.minus(&wanted);
        let is_first = self.left.iter().all(Option::is_none);
        let has_room = |cpus: &CpuSet| cpus.first().is_some_and(|first| first < self.most);

        if wanted.is_empty() {
            return Err("there is no CPU in its list".to_owned());
        }
        if !has_room(&left.and(self.present)) {
            left.insert(self.boot);
            wanted = wanted.minus(&CpuSet::from_iter([self.boot]));
            if wanted.is_empty() {
                return Err(format!("CPU {} has to do the kernel's work", self.boot));
            }
            self.all_isolated |= is_first;
        }
        // The masks are there, but not in use yet when this asks for them.
        let compared_with_all = self.version >= Version::COMPARED_WITH_ALL;
        for &kind in kinds {
            let by = &self.by[kind];
            match &self.left[kind] {
                Some(before) if *before != left => {
                    let cpus = self.possible.minus(before);
                    return Err(format!(
                        "{by} has said the same of other CPUs before ({cpus}), and the first one counts"
                    ));
                }
                Some(_) if compared_with_all => {
                    return Err(format!(
                        "{by} has said the same before, and from 7.0 on no other may say it again"
                    ));
                }
                _ => {}
            }
        }
        if self.version < Version::CPUS_BY_KIND {
            let mut others = self.left.iter().flatten();
            if others.any(|before| *before != left) {
                return Err(
                    "this kernel takes isolcpus= and nohz_full= only with the same CPUs".to_owned(),
                );
            }
        }
        if self.version >= Version::ONE_IN_NEITHER
            && !compared_with_all
            && kinds.iter().any(|kind| *kind != MANAGED_IRQ)
        {
            let before = [DOMAIN, TICK]
                .into_iter()
                .find(|kind| self.left[*kind].is_some());
            let common = before.and_then(|kind| self.left[kind].as_ref());
            if let Some(common) = common {
                if !has_room(&common.and(&left).and(self.present)) {
                    return Err("isolcpus= and nohz_full= together leave no CPU".to_owned());
                }
            }
        }
        for &kind in kinds {
            if self.left[kind].is_none() {
                self.left[kind] = Some(left.clone());
                self.by[kind] = option.to_owned();
                if kind == TICK {
                    self.tickless = wanted.and(self.possible);
                }
            }
        }
        Ok(())
    }

    fn nohz_full(&mut self, option: &str, value: &str) -> Result<(), String> {
        self.set_up(option, value, &[TICK, NOISE])
    }

    /// As `housekeeping_isolcpus_setup()`: flags, and a list that begins with a digit.
    fn isolcpus(&mut self, option: &str, value: &str) -> Result<Vec<String>, String> {
        let mut rest = value;
        let mut kinds = Vec::new();
        let mut skipped = Vec::new();

        while rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let (flag, after) = match rest.split_once(',') {
                Some((flag, after)) => (flag, Some(after)),
                None => (rest, None),
            };
            match (flag, after) {
                ("nohz", Some(_)) if self.version < Version::NOHZ_IS_NOHZ_FULL => kinds.push(TICK),
                ("nohz", Some(_)) => kinds.extend([TICK, NOISE]),
                ("domain", Some(_)) => kinds.push(DOMAIN),
                ("managed_irq", Some(_)) => kinds.push(MANAGED_IRQ),
                _ if flag.contains(|c: char| !c.is_ascii_alphabetic() && c != '_') => {
                    return Err(format!(
                        "{flag} is no flag; after flags comes a list that begins with a digit"
                    ));
                }
                (_, None) => {
                    return Err(format!(
                        "{flag} is taken for a flag, and no list follows; the list must begin with a \
                         digit"
                    ));
                }
                _ if self.version < Version::FLAGS_SKIPPED => {
                    return Err(format!("this kernel does not know the flag {flag}"));
                }
                _ => skipped.push(format!("{option}: there is no flag {flag}, it is skipped")),
            }
            rest = after.unwrap_or_default();
        }
        if kinds.is_empty() {
            kinds.push(DOMAIN);
        }
        self.set_up(option, rest, &kinds)?;
        Ok(skipped)
    }
}

/// Parses a list up to the first error in it, as options do that do not look for one.
fn parse_leniently(list: &str, count: u32) -> (CpuSet, bool) {
    match CpuSet::parse(list, count) {
        Ok(cpus) => (cpus, true),
        Err(error) => {
            let good = list.get(..error.offset()).unwrap_or_default();
            let end = good.rfind([',', ' ']).unwrap_or(0);
            (
                CpuSet::parse(&good[..end], count).unwrap_or_default(),
                false,
            )
        }
    }
}

/// Parses a list as systemd does: numbers and ranges, separated by commas or white space.
fn parse_systemd(list: &str, count: u32) -> Option<CpuSet> {
    let mut cpus = CpuSet::new();

    for part in list.split(|c: char| c == ',' || c.is_whitespace()) {
        if part.is_empty() {
            continue;
        }
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= crate::cpuset::LIMIT {
            return None;
        }
        cpus = cpus.or(&(first..=last.min(count)).collect());
    }
    Some(cpus)
}

/// Returns what a kernel makes of a command line on a machine.
pub fn read(machine: &Machine, topology: &Topology, cmdline: &str) -> Reading {
    let words = cmdline::words(cmdline);
    let (possible, most) = limits(machine, &words);
    let present = machine.present.and(&possible);
    let count = possible.last().map_or(1, |last| last + 1);
    let version = Version::parse(&machine.kernel);
    let boot = machine.boot_cpu();
    let mut isolation = Isolation {
        version,
        possible: &possible,
        present: &present,
        boot,
        most,
        left: Default::default(),
        by: Default::default(),
        tickless: CpuSet::new(),
        all_isolated: false,
    };
    let mut reading = Reading {
        starting: starting(topology, &present, most, &words),
        ..Reading::default()
    };
    let mut option = None;
    let mut nohz_asked = false;

    for word in &words {
        let text = word.text.clone();
        let name = &*word.name;
        let known = [
            "isolcpus",
            "nohz_full",
            "rcu_nocbs",
            "irqaffinity",
            "kthread_cpus",
            "systemd.cpu_affinity",
            "nr_cpus",
            "maxcpus",
            "nosmt",
            "nosmp",
        ];
        if !known.contains(&name) {
            continue;
        }
        reading.used.push(text.clone());
        let mut ignore = |why: String| {
            reading.ignored.push(Ignored {
                option: text.clone(),
                why,
            });
        };
        let value = match (name, &word.value) {
            (_, Some(value)) => value,
            ("isolcpus" | "nohz_full" | "irqaffinity" | "systemd.cpu_affinity", None) => {
                ignore("it has no list".to_owned());
                continue;
            }
            (_, None) => "",
        };
        match name {
            "isolcpus" => match isolation.isolcpus(&text, value) {
                Ok(skipped) => reading.remarks.extend(skipped),
                Err(why) => ignore(why),
            },
            "nohz_full" => {
                let asked = CpuSet::parse(value, count);
                match isolation.nohz_full(&text, value) {
                    Ok(()) => nohz_asked |= asked.is_ok_and(|cpus| cpus.contains(boot)),
                    Err(why) => ignore(why),
                }
            }
            "rcu_nocbs" => {
                reading.rcu_nocbs = match (&word.value, CpuSet::parse(value, count)) {
                    // Without a list it only makes it possible at run time.
                    (None, _) => CpuSet::new(),
                    (_, Ok(cpus)) => cpus.and(&possible),
                    (_, Err(error)) => {
                        reading
                            .malformed
                            .push(format!("{text}: {error}; the kernel takes all CPUs"));
                        possible.clone()
                    }
                };
            }
            "irqaffinity" => {
                let (mut cpus, good) = parse_leniently(value, count);
                if !good {
                    reading.malformed.push(format!(
                        "{text} is no list of CPUs of this machine; the kernel takes what is before the \
                         error, and CPU {boot}"
                    ));
                } else if !cpus.contains(boot) {
                    reading.remarks.push(format!(
                        "new interrupts may go to CPU {boot} too, which boots the machine: the kernel \
                         adds it to irqaffinity="
                    ));
                }
                cpus.insert(boot);
                reading.irqaffinity = Some(cpus.and(&possible));
            }
            "kthread_cpus" => {
                if let Some((before, _)) = option.replace((text, value.to_owned())) {
                    reading.remarks.push(format!(
                        "{before} does nothing: kthread_cpus= stands there again, and the last one counts"
                    ));
                }
            }
            "systemd.cpu_affinity" => match parse_systemd(value, count) {
                Some(cpus) => reading.systemd = Some(cpus.and(&possible)),
                None => ignore("systemd takes numbers and ranges only".to_owned()),
            },
            _ => {}
        }
    }

    reading.isolated = isolation.isolated(DOMAIN);
    reading.managed_irq = isolation.isolated(MANAGED_IRQ);
    reading.nohz_full = isolation.tickless.clone();
    // Elsewhere another CPU keeps the time.
    if machine.sleeps {
        reading.boot_in_nohz = nohz_asked || isolation.tickless.contains(boot);
        reading.nohz_full = isolation.tickless.minus(&CpuSet::from_iter([boot]));
    }
    reading.rcu_nocbs = reading.rcu_nocbs.or(&reading.nohz_full);
    reading.all_isolated = isolation.all_isolated;
    let kept_off = if version >= Version::ISOLATION_KEEPS_KTHREADS_OFF {
        reading.isolated.clone()
    } else if version >= Version::NOHZ_KEEPS_KTHREADS_OFF {
        isolation.isolated(NOISE)
    } else {
        CpuSet::new()
    };
    reading.kthreads = possible.minus(&kept_off);
    reading.early_kthreads = reading.kthreads.clone();
    // No CPU of these is online yet when kthreadd asks for them, so that set_cpus_allowed_ptr() fails:
    // it keeps the CPU that has made it, and hands it on. Nobody tries again, unless a cpuset partition
    // changes. The series does it in another way.
    if machine.sysfs.is_none() && !reading.kthreads.contains(boot) {
        reading.early_kthreads = CpuSet::from_iter([boot]);
    }
    reading.possible = possible;
    if let Some((text, value)) = option {
        confine(&mut reading, machine, text, &value);
    }
    reading
}

/// Works out what `kthread_cpus=` does, which depends on the other options.
fn confine(reading: &mut Reading, machine: &Machine, text: String, value: &str) {
    let count = reading.possible.last().map_or(1, |last| last + 1);
    let housekeeping = reading.possible.minus(&reading.isolated);
    let mut ignore = |why: String| {
        reading.ignored.push(Ignored {
            option: text.clone(),
            why,
        });
    };
    let (named, classes) = match option::parse(value, count, machine.nr_cpus) {
        Ok(parsed) => parsed,
        Err(error) => return ignore(error.to_string()),
    };
    if named.is_empty() {
        return ignore("there is no CPU in its list".to_owned());
    }
    let cpus = named.and(&reading.possible);
    if cpus.is_empty() {
        return ignore(format!(
            "none of CPUs {named} is possible here: choose from CPUs {housekeeping}"
        ));
    }
    if !cpus.intersects(&housekeeping) {
        return ignore(format!(
            "all its CPUs ({cpus}) are isolated: choose from CPUs {}",
            Named(&housekeeping)
        ));
    }

    let impossible = named.minus(&cpus);
    if !impossible.is_empty() {
        reading.remarks.push(format!(
            "CPUs {impossible} of {text} are not possible here: the kernel leaves them out"
        ));
    }
    let usable = cpus.and(&housekeeping);
    if !usable.intersects(&machine.present) {
        reading.remarks.push(format!(
            "none of CPUs {usable} of {text} is there yet: the kernel's work is on CPUs {housekeeping} \
             until one comes"
        ));
    } else if !usable.intersects(&reading.starting) {
        reading.remarks.push(format!(
            "none of CPUs {usable} of {text} is started by this line: the kernel's work is on CPUs \
             {housekeeping} until one comes online"
        ));
    }
    reading.kthread_cpus = Some(Confined {
        cpus,
        classes,
        option: text,
    });
}

/// Returns the possible CPUs, and how many of them are started.
fn limits(machine: &Machine, words: &[Word]) -> (CpuSet, u32) {
    let mut count = machine.count();
    let mut most = u32::MAX;

    for word in words {
        let number = word.value.as_deref().and_then(cmdline::leading_number);
        let number = number.and_then(|number| u32::try_from(number).ok());
        match (&*word.name, number) {
            ("nr_cpus", Some(number)) if number > 0 => count = count.min(number),
            ("maxcpus", Some(number)) => most = number,
            ("nosmp", _) => most = 0,
            _ => {}
        }
    }
    if most == 0 {
        count = 1;
    }
    let mut below: CpuSet = machine
        .possible
        .iter()
        .take_while(|cpu| *cpu < count)
        .collect();
    // Whatever the number: one is there.
    below.insert(machine.boot_cpu());
    (below, most)
}

/// Returns the CPUs that are started: the first ones, and with `nosmt` one of each core.
fn starting(topology: &Topology, present: &CpuSet, most: u32, words: &[Word]) -> CpuSet {
    let nosmt = words.iter().any(|word| word.name == "nosmt");
    let second = |cpu: &u32| {
        let mut cores = topology.cores.iter();
        cores.any(|core| core.cpus.contains(*cpu) && core.cpus.first() != Some(*cpu))
    };
    let cpus = present.iter().filter(|cpu| !nosmt || !second(cpu));

    cpus.take(most.max(1) as usize).collect()
}
