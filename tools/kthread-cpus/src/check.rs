// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus check`: what may run outside the CPUs for kernel threads, and why.

use std::{collections::BTreeMap, io::Write};

use serde::{Deserialize, Serialize};

use crate::{
    cli::CheckArgs,
    cpuset::{CpuSet, Named},
    error::{Error, Result},
    machine::{Machine, Root, IRQ_MASK, WORKQUEUE_MASK},
    output::{self, left, right, Role, Style},
    target::{obedience, Obeys, Source, Target},
    threads::{families, irq_number, is_rescuing, Class, Inventory, Thread},
};

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
            "unbound workqueues",
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

/// Judges a thread.
fn judge(thread: &Thread, machine: &Machine, target: &Target, strict: bool) -> (Verdict, String) {
    let Some(allowed) = thread.allowed.as_deref() else {
        return (
            Verdict::Unknown,
            "its allowed CPUs could not be read".to_owned(),
        );
    };
    if allowed.and(&machine.possible).is_subset(&target.cpus) {
        return (Verdict::Inside, String::new());
    }

    if thread.class == Class::Rescuer && is_rescuing(&thread.name) {
        return (
            Verdict::Exempt,
            "it helps other workers, on their CPUs, and goes back afterwards".to_owned(),
        );
    }

    let (wrong, reason) = match thread.class {
        Class::PerCpu => (false, "it does the work of its own CPU".to_owned()),
        Class::Bound => (strict, "the kernel has bound it there".to_owned()),
        Class::Irq => {
            let number = irq_number(&thread.name).unwrap_or_default();
            let file = format!("/proc/irq/{number}/smp_affinity_list");
            (strict, format!("it follows its interrupt: see {file}"))
        }
        Class::Workqueue => (
            target.workqueues,
            "unbound workqueues are not confined".to_owned(),
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
    };
    match wrong {
        true => (Verdict::Outside, reason),
        false if thread.class.is_steered() => (
            Verdict::Exempt,
            "kthread_cpus= is not about its class".to_owned(),
        ),
        false => (Verdict::Exempt, reason),
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
        let workqueues = settings.first().filter(|first| first.counts);
        let (obeys, note) = obedience(
            &machine,
            &inventory,
            workqueues.map(|setting| &setting.cpus),
        );
        let mut notes = Vec::from_iter(note);

        notes.extend(machine.warnings.iter().cloned());
        if target.source == Source::Nobody {
            notes.push(
                "nobody has confined kernel threads here: no kthread_cpus=, no isolated CPUs; ask \
                 about some CPUs with --cpus LIST"
                    .to_owned(),
            );
        }
        if !target.cpus.intersects(&machine.online) {
            notes.push(format!(
                "none of CPUs {} is online: the kernel's work has to be elsewhere; put one online, \
                 or choose others",
                target.cpus
            ));
        }
        let mut findings: Vec<_> = inventory
            .threads
            .iter()
            .enumerate()
            .map(|(index, thread)| {
                let (verdict, reason) = judge(thread, &machine, &target, strict);
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
        judge(thread, &self.machine, &self.target, false)
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

    /// Returns what to do about what is outside.
    pub fn advice(&self) -> Vec<String> {
        let cpus = Named(&self.target.cpus);
        let mut advice = Vec::new();

        if self.outside() == 0 {
            return advice;
        }
        if self.machine.sysfs.is_some() {
            advice.push(format!("confine them now: kthread-cpus set {cpus}"));
        } else if self.obeys != Obeys::Yes {
            advice.push(format!(
                "on a kernel that has the option: boot with kthread_cpus={cpus}"
            ));
            advice.push(format!(
                "on this kernel, as far as it can be done: kthread-cpus set --best-effort {cpus}"
            ));
        }
        advice.push("all boot options that go together: kthread-cpus plan --help".to_owned());
        advice
    }
}

/// Writes for a person.
fn write_text(out: &mut dyn Write, outcome: &Outcome, verbose: bool, style: Style) -> Result<()> {
    let target = &outcome.target;
    let total = outcome.findings.len();
    let cpus = Named(&target.cpus);
    let rows: Vec<_> = outcome
        .findings
        .iter()
        .filter(|finding| match finding.verdict {
            Verdict::Outside | Verdict::Unknown => true,
            Verdict::Exempt => verbose,
            Verdict::Inside => false,
        })
        .collect();

    for note in &outcome.notes {
        writeln!(out, "{}", style.paint(Role::Notable, note))?;
    }
    writeln!(
        out,
        "Kernel threads are meant for CPUs {cpus} of {}, {}.",
        outcome.machine.possible,
        target.source.words()
    )?;
    if !rows.is_empty() {
        writeln!(out)?;
        let columns = [
            right("PID"),
            left("CLASS"),
            left("ALLOWED"),
            right("CPU"),
            left("NAME"),
            left("WHY"),
        ];
        output::table(
            out,
            style,
            &columns,
            rows.len(),
            |row, column, text| {
                let thread = outcome.thread(rows[row]);
                match column {
                    0 => text.push_str(&thread.pid.to_string()),
                    1 => text.push_str(thread.class.name()),
                    2 => match &thread.allowed {
                        Some(mask) => text.push_str(&mask.to_string()),
                        None => text.push('?'),
                    },
                    3 => text.push_str(&thread.cpu.to_string()),
                    4 => text.push_str(&thread.name),
                    _ => text.push_str(&rows[row].reason),
                }
            },
            |row| match rows[row].verdict {
                Verdict::Outside => Role::Bad,
                Verdict::Unknown => Role::Notable,
                _ => Role::Faint,
            },
        )?;
    }

    writeln!(out)?;
    for setting in &outcome.settings {
        let role = match (setting.outside, setting.counts) {
            (false, _) => Role::Plain,
            (true, true) => Role::Bad,
            (true, false) => Role::Notable,
        };
        let line = format!("{} may use CPUs {}", setting.name, Named(&setting.cpus));
        writeln!(out, "{}", style.paint(role, &line))?;
    }
    let exempt: Vec<_> = outcome.with(Verdict::Exempt).collect();
    if !exempt.is_empty() {
        let names = exempt.iter().map(|finding| &*outcome.thread(finding).name);
        writeln!(
            out,
            "outside, and allowed to be: {} ({})",
            exempt.len(),
            families(names)
        )?;
    }
    if let Some(warning) = outcome.inventory.warning() {
        writeln!(out, "{}", style.paint(Role::Notable, &warning))?;
    }

    let outside = outcome.with(Verdict::Outside).count();
    let verdict = match (outcome.outside(), outcome.unknown()) {
        (0, 0) => style.paint(Role::Good, "ok"),
        (0, _) => style.paint(Role::Notable, "unknown"),
        _ => style.paint(Role::Bad, "FAIL"),
    };
    let settings: String = outcome
        .settings
        .iter()
        .filter(|setting| setting.counts && setting.outside)
        .map(|setting| format!(", and so may {}", setting.name))
        .collect();
    writeln!(
        out,
        "{verdict}: {outside} of {total} kernel threads may run outside CPUs {cpus} and should \
         not{settings}"
    )?;
    for advice in outcome.advice() {
        writeln!(out, "  {advice}")?;
    }
    Ok(())
}

/// A thread in the JSON of `check`.
#[derive(Serialize)]
struct JsonFinding<'a> {
    pid: u32,
    name: &'a str,
    class: Class,
    allowed: Option<&'a CpuSet>,
    cpu: u32,
    verdict: Verdict,
    reason: &'a str,
}

/// All of the JSON of `check`.
#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    status: &'static str,
    kernel: &'a str,
    possible: &'a CpuSet,
    online: &'a CpuSet,
    isolated: &'a CpuSet,
    cpus: &'a CpuSet,
    source: Source,
    obeys: Obeys,
    notes: &'a [String],
    total: usize,
    outside: usize,
    exempt: usize,
    unknown: usize,
    settings: &'a [Setting],
    findings: Vec<JsonFinding<'a>>,
    advice: Vec<String>,
}

/// Writes JSON.
fn write_json(out: &mut dyn Write, outcome: &Outcome) -> Result<()> {
    let findings = outcome
        .findings
        .iter()
        .filter(|finding| finding.verdict != Verdict::Inside)
        .map(|finding| {
            let thread = outcome.thread(finding);
            JsonFinding {
                pid: thread.pid,
                name: &thread.name,
                class: thread.class,
                allowed: thread.allowed.as_deref(),
                cpu: thread.cpu,
                verdict: finding.verdict,
                reason: &finding.reason,
            }
        });
    let document = Document {
        version: 1,
        status: match exit_status(outcome) {
            0 => "pass",
            1 => "fail",
            _ => "unknown",
        },
        kernel: &outcome.machine.kernel,
        possible: &outcome.machine.possible,
        online: &outcome.machine.online,
        isolated: &outcome.machine.isolated,
        cpus: &outcome.target.cpus,
        source: outcome.target.source,
        obeys: outcome.obeys,
        notes: &outcome.notes,
        total: outcome.findings.len(),
        outside: outcome.outside(),
        exempt: outcome.with(Verdict::Exempt).count(),
        unknown: outcome.unknown(),
        settings: &outcome.settings,
        findings: findings.collect(),
        advice: outcome.advice(),
    };

    serde_json::to_writer_pretty(&mut *out, &document)?;
    Ok(writeln!(out)?)
}

/// Writes a description of a TAP test; a `#` would begin a directive.
fn tap_description(text: &str) -> String {
    text.replace('\\', "\\\\").replace('#', "\\#")
}

/// Writes TAP.
fn write_tap(out: &mut dyn Write, outcome: &Outcome) -> Result<()> {
    let settings: Vec<_> = outcome
        .settings
        .iter()
        .filter(|setting| setting.counts)
        .collect();
    let unreadable = usize::from(outcome.inventory.unreadable > 0);

    writeln!(out, "TAP version 13")?;
    for note in &outcome.notes {
        writeln!(out, "# {note}")?;
    }
    writeln!(
        out,
        "1..{}",
        outcome.findings.len() + settings.len() + unreadable
    )?;
    let mut number = 0;
    let mut test = |good: bool, description: &str, end: &str| {
        number += 1;
        let result = if good { "ok" } else { "not ok" };
        writeln!(
            out,
            "{result} {number} - {}{end}",
            tap_description(description)
        )
    };
    for finding in &outcome.findings {
        let thread = outcome.thread(finding);
        let mask = thread
            .allowed
            .as_deref()
            .map_or_else(|| "?".to_owned(), |mask| Named(mask).to_string());
        let description = format!(
            "{} ({}, {}) may use CPUs {mask}",
            thread.name, thread.pid, thread.class
        );
        match finding.verdict {
            Verdict::Inside => test(true, &description, "")?,
            Verdict::Exempt => test(true, &description, &format!(" # SKIP {}", finding.reason))?,
            Verdict::Outside | Verdict::Unknown => {
                test(false, &format!("{description}: {}", finding.reason), "")?;
            }
        }
    }
    for setting in settings {
        let cpus = Named(&setting.cpus);
        test(
            !setting.outside,
            &format!("{} may use CPUs {cpus}", setting.name),
            "",
        )?;
    }
    if let Some(warning) = outcome.inventory.warning() {
        test(false, &warning, "")?;
    }
    Ok(())
}

/// Returns text as the value of a Prometheus label.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// Writes metrics in Prometheus' text format.
fn write_prometheus(out: &mut dyn Write, outcome: &Outcome) -> Result<()> {
    let mut counts: BTreeMap<(Class, Verdict), usize> = BTreeMap::new();
    for finding in &outcome.findings {
        let class = outcome.thread(finding).class;
        *counts.entry((class, finding.verdict)).or_default() += 1;
    }
    let mut metric = |name: &str, help: &str, samples: &[(String, usize)]| -> Result<()> {
        writeln!(out, "# HELP kthread_cpus_{name} {help}")?;
        writeln!(out, "# TYPE kthread_cpus_{name} gauge")?;
        for (labels, value) in samples {
            writeln!(out, "kthread_cpus_{name}{labels} {value}")?;
        }
        Ok(())
    };

    metric(
        "info",
        "What was checked; the value is always 1.",
        &[(
            format!(
                "{{kernel=\"{}\",cpus=\"{}\",source=\"{}\"}}",
                label(&outcome.machine.kernel),
                outcome.target.cpus,
                outcome.target.source.name()
            ),
            1,
        )],
    )?;
    metric(
        "outside",
        "Kernel threads and settings that are outside the CPUs for kernel threads and should not.",
        &[(String::new(), outcome.outside())],
    )?;
    metric(
        "unreadable",
        "Processes of which it could not be read where they may run.",
        &[(String::new(), outcome.unknown())],
    )?;
    if outcome.obeys != Obeys::Unknown {
        let obeyed = usize::from(outcome.obeys == Obeys::Yes);
        metric(
            "option_obeyed",
            "Whether the kernel obeys kthread_cpus=.",
            &[(String::new(), obeyed)],
        )?;
    }
    // Every combination, so that a series does not vanish when its count is 0.
    let threads: Vec<_> = Class::ALL
        .into_iter()
        .flat_map(|class| {
            Verdict::ALL
                .into_iter()
                .map(move |verdict| (class, verdict))
        })
        .map(|key @ (class, verdict)| {
            let labels = format!("{{class=\"{class}\",placement=\"{}\"}}", verdict.name());
            (labels, counts.get(&key).copied().unwrap_or_default())
        })
        .collect();
    metric(
        "threads",
        "Kernel threads, by class and by where they may run.",
        &threads,
    )?;
    let settings: Vec<_> = outcome
        .settings
        .iter()
        .map(|setting| {
            let labels = format!("{{setting=\"{}\"}}", label(setting.name));
            (labels, usize::from(setting.outside))
        })
        .collect();
    metric(
        "setting_outside",
        "Whether a setting allows CPUs that are not for kernel threads.",
        &settings,
    )
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
            write_json(out, &outcome)
        } else if args.tap {
            write_tap(out, &outcome)
        } else if args.prometheus {
            write_prometheus(out, &outcome)
        } else {
            let style = match args.output {
                Some(_) => Style::plain(),
                None => Style::of_stdout(),
            };
            write_text(out, &outcome, args.verbose, style)
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
