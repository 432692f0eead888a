// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus check`: what may run outside the CPUs for kernel threads, and why.

use serde::{Deserialize, Serialize};

use crate::{
    cli::CheckArgs,
    cpuset::CpuSet,
    error::{Error, Result},
    machine::{Machine, Root, IRQ_MASK, WORKQUEUE_MASK},
    output::{self, Style},
    target::{obedience, Obeys, Source, Target},
    threads::{irq_number, is_rescuing, Class, Inventory, Thread},
};

mod advice;
mod json;
mod prometheus;
mod tap;
mod text;

/// The name of the setting where unbound workqueues may run.
const WORKQUEUES: &str = "unbound workqueues";

/// Where a thread may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Outside, and it should not.
    Outside,
    /// That could not be read.
    Unknown,
    /// Outside, and it has to.
    Exempt,
    /// Inside.
    Inside,
}

impl Verdict {
    const ALL: [Self; 4] = [Self::Outside, Self::Unknown, Self::Exempt, Self::Inside];

    /// Returns the name that machines read.
    fn name(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::Unknown => "unknown",
            Self::Exempt => "exempt",
            Self::Inside => "inside",
        }
    }
}

/// What there is to say about a thread.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The index of the thread in the inventory.
    pub index: usize,
    /// Where it may run.
    pub verdict: Verdict,
    /// Why, nothing when it is inside.
    pub reason: String,
}

/// A setting of the machine that decides where work runs that is no thread yet.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// What it is about.
    pub name: &'static str,
    /// Where it stands.
    pub file: String,
    /// The CPUs.
    pub cpus: CpuSet,
    /// Whether some of them are outside.
    pub outside: bool,
    /// Whether that is wrong.
    pub counts: bool,
}

/// All that `check` finds.
pub struct Outcome {
    /// The machine.
    pub machine: Machine,
    /// Its threads.
    pub inventory: Inventory,
    /// The CPUs for kernel threads.
    pub target: Target,
    /// Whether the kernel obeys its option.
    pub obeys: Obeys,
    /// What is to be said first.
    pub notes: Vec<String>,
    /// One for each thread, the worst first.
    pub findings: Vec<Finding>,
    /// The settings that could be read.
    pub settings: Vec<Setting>,
}

/// Returns the settings of the machine.
fn settings(root: &Root, machine: &Machine, target: &Target) -> Vec<Setting> {
    let mask = |name| CpuSet::parse_mask(&root.read_optional(name)?);
    let init = || {
        let status = root.read_optional("proc/1/status")?;
        let list = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        CpuSet::parse_any(list).ok()
    };
    let setting = |name, file: &str, cpus: Option<CpuSet>, counts| {
        let cpus = cpus?.and(&machine.possible);
        Some(Setting {
            name,
            file: format!("/{file}"),
            outside: !cpus.is_subset(&target.cpus),
            cpus,
            counts,
        })
    };

    [
        setting(
            WORKQUEUES,
            WORKQUEUE_MASK,
            mask(WORKQUEUE_MASK),
            target.workqueues,
        ),
        setting("new interrupts", IRQ_MASK, mask(IRQ_MASK), false),
        setting("PID 1", "proc/1/status", init(), false),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What a thread is judged by.
struct Rules<'a> {
    machine: &'a Machine,
    target: &'a Target,
    strict: bool,
    /// Whether user space has done what it can about workqueues.
    workqueues_done: bool,
}

impl<'a> Rules<'a> {
    fn new(machine: &'a Machine, target: &'a Target, settings: &[Setting], strict: bool) -> Self {
        let mut workqueues = settings.iter().filter(|setting| setting.name == WORKQUEUES);

        Self {
            machine,
            target,
            strict,
            workqueues_done: machine.sysfs.is_none() && workqueues.all(|setting| !setting.outside),
        }
    }

    /// Returns whether a thread that is outside should not be, and the reason.
    fn outside(&self, thread: &Thread) -> (bool, String) {
        let Self { target, strict, .. } = *self;

        match thread.class {
            Class::PerCpu => (false, "it does the work of its own CPU".to_owned()),
            Class::Bound => (
                strict,
                "the kernel or a module has bound it there".to_owned(),
            ),
            Class::Irq => {
                let number = irq_number(&thread.name).unwrap_or_default();
                let file = format!("/proc/irq/{number}/smp_affinity_list");
                (strict, format!("it follows its interrupt: see {file}"))
            }
            Class::Workqueue => (
                target.workqueues,
                "unbound workqueues are not confined".to_owned(),
            ),
            Class::Rescuer if is_rescuing(&thread.name) => (
                false,
                "it helps other workers, on their CPUs, and goes back afterwards".to_owned(),
            ),
            Class::Rescuer if self.workqueues_done && !thread.movable => (
                false,
                "user space cannot move it; it runs only when memory is short".to_owned(),
            ),
            Class::Rescuer => (
                target.workqueues,
                "it takes over when its workqueue is out of memory".to_owned(),
            ),
            Class::Preferred => (
                target.kthreads,
                "free to move; it keeps to the CPUs that it prefers".to_owned(),
            ),
            Class::Unbound => (
                target.kthreads,
                "free to move; nothing confines it".to_owned(),
            ),
        }
    }

    /// Judges a thread.
    fn judge(&self, thread: &Thread) -> (Verdict, String) {
        let Some(allowed) = thread.allowed.as_deref() else {
            return (
                Verdict::Unknown,
                "its allowed CPUs could not be read".to_owned(),
            );
        };
        if allowed
            .and(&self.machine.possible)
            .is_subset(&self.target.cpus)
        {
            return (Verdict::Inside, String::new());
        }

        let meant = match thread.class {
            Class::Workqueue | Class::Rescuer => self.target.workqueues,
            Class::Preferred | Class::Unbound => self.target.kthreads,
            _ => true,
        };
        match self.outside(thread) {
            (true, reason) => (Verdict::Outside, reason),
            (false, _) if !meant => (
                Verdict::Exempt,
                "kthread_cpus= is not about its class".to_owned(),
            ),
            (false, reason) => (Verdict::Exempt, reason),
        }
    }
}

impl Outcome {
    /// Looks at the machine under `root`; `cpus` is what the user said.
    ///
    /// # Errors
    ///
    /// When there is nothing to be read, or the list is wrong.
    pub fn find(root: &Root, cpus: Option<&str>, strict: bool) -> Result<Self> {
        let machine = Machine::read(root);
        let target = Target::find(&machine, cpus)?;
        let inventory = Inventory::read(root, &machine)?;
        let settings = settings(root, &machine, &target);
        let workqueues = settings.iter().find(|setting| setting.name == WORKQUEUES);
        let (obeys, note) = obedience(
            &machine,
            &inventory,
            workqueues.map(|setting| &setting.cpus),
        );
        let mut notes = Vec::from_iter(note);

        notes.extend(target.note(&machine));
        notes.extend(machine.warnings.iter().cloned());
        if target.source == Source::Nobody {
            notes.push(
                "nobody has confined kernel threads here: no kthread_cpus=, no isolated CPUs; ask \
                 about some CPUs with --cpus LIST"
                    .to_owned(),
            );
        }
        if target.unusable.is_none() && !target.cpus.intersects(&machine.online) {
            notes.push(format!(
                "none of CPUs {} is online: the kernel's work has to be elsewhere; put one online, \
                 or choose others",
                target.cpus
            ));
        }
        let rules = Rules::new(&machine, &target, &settings, strict);
        let mut findings: Vec<_> = inventory
            .threads
            .iter()
            .enumerate()
            .map(|(index, thread)| {
                let (verdict, reason) = rules.judge(thread);
                Finding {
                    index,
                    verdict,
                    reason,
                }
            })
            .collect();
        findings.sort_by_key(|finding| finding.verdict);

        Ok(Self {
            machine,
            inventory,
            target,
            obeys,
            notes,
            findings,
            settings,
        })
    }

    /// Judges a thread that has come since.
    pub fn judge(&self, thread: &Thread) -> (Verdict, String) {
        Rules::new(&self.machine, &self.target, &self.settings, false).judge(thread)
    }

    /// Returns the thread of a finding.
    pub fn thread(&self, finding: &Finding) -> &Thread {
        &self.inventory.threads[finding.index]
    }

    /// Returns the findings with a verdict.
    pub fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(move |finding| finding.verdict == verdict)
    }

    /// Returns how many things are outside and should not: threads and settings.
    pub fn outside(&self) -> usize {
        let wrong = |setting: &&Setting| setting.counts && setting.outside;

        self.with(Verdict::Outside).count() + self.settings.iter().filter(wrong).count()
    }

    /// Returns how many threads may be anywhere, because that could not be read.
    fn unknown(&self) -> usize {
        self.with(Verdict::Unknown).count() + self.inventory.unreadable
    }

    /// Returns what to do about what is outside: commands that help, or that none does.
    pub fn advice(&self) -> Vec<String> {
        advice::advice(self)
    }
}

/// Returns the exit status: what is wrong counts more than what is not known.
fn exit_status(outcome: &Outcome) -> u8 {
    match (outcome.outside(), outcome.unknown()) {
        (0, 0) => 0,
        (0, _) => 2,
        _ => 1,
    }
}

/// Runs the command, and returns its exit status.
///
/// # Errors
///
/// When the machine cannot be read or the output cannot be written.
pub fn run(root: &Root, args: &CheckArgs) -> Result<u8> {
    let outcome = Outcome::find(root, args.cpus.as_deref(), args.strict)?;

    output::write_to(args.output.as_deref(), |out| {
        if args.json {
            json::write(out, &outcome)
        } else if args.tap {
            tap::write(out, &outcome)
        } else if args.prometheus {
            prometheus::write(out, &outcome)
        } else {
            let style = match args.output {
                Some(_) => Style::plain(),
                None => Style::of_stdout(),
            };
            text::write(out, &outcome, args.verbose, style)
        }
    })?;
    let status = exit_status(&outcome);
    match outcome.inventory.warning() {
        Some(warning) if status == 2 => Err(Error::new(format_args!(
            "not everything could be checked: {warning}; run it as root"
        ))),
        _ => Ok(status),
    }
}
