// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus plan --verify`: what a kernel makes of a command line, and what contradicts what in it.

use std::io::Write;

use serde::Serialize;

use crate::{
    boot::{self, Ignored, Reading, Version},
    cli::PlanArgs,
    cmdline,
    contradiction::{boot_cpu_without_tick, complain, contradiction, Contradiction},
    cpuset::{CpuSet, Named},
    error::Result,
    machine::{Machine, SYSFS},
    output::{self, Role, Style},
    topology::Topology,
};

/// What was found on a command line.
pub struct Verdict {
    /// What a kernel makes of it.
    pub reading: Reading,
    /// What is wrong with it, the worst first.
    pub wrong: Vec<Contradiction>,
    /// What is right, and worth knowing.
    pub remarks: Vec<String>,
}

/// Looks for contradictions in a command line. Cores may be split if `split_cores`.
pub fn verify(machine: &Machine, topology: &Topology, cmdline: &str, split_cores: bool) -> Verdict {
    let mut reading = boot::read(machine, topology, cmdline);
    let mut wrong = Vec::new();
    let mut remarks = std::mem::take(&mut reading.remarks);
    let is_option = |ignored: &&Ignored| ignored.option.starts_with("kthread");

    // That nothing is confined counts more than all the rest.
    for ignored in reading.ignored.iter().filter(is_option) {
        wrong.push(contradiction(
            "ignored",
            format!("the kernel ignores {}: {}", ignored.option, ignored.why),
        ));
    }
    for ignored in reading.ignored.iter().filter(|ignored| !is_option(ignored)) {
        wrong.push(contradiction(
            "ignored",
            format!("the kernel ignores {}: {}", ignored.option, ignored.why),
        ));
    }
    for text in &reading.malformed {
        wrong.push(contradiction("malformed", text.clone()));
    }
    wrong.extend(stray_lists(cmdline));
    clashes(&reading, machine.boot_cpu(), &mut wrong);
    if reading.boot_in_nohz {
        let what = "leave it out";
        wrong.push(boot_cpu_without_tick(machine.boot_cpu(), what));
    }
    isolation(&reading, topology, machine, split_cores, &mut wrong);
    remark(&reading, machine, &mut remarks);
    Verdict {
        reading,
        wrong,
        remarks,
    }
}

/// White space in a list ends it: what follows is a word of its own, of which nobody takes notice.
fn stray_lists(cmdline: &str) -> Vec<Contradiction> {
    let words = cmdline::words(cmdline);
    let pairs = words.iter().zip(words.iter().skip(1));

    pairs
        .filter(|(word, after)| {
            let value = word.value.as_deref().unwrap_or_default();
            value.ends_with(',')
                && after.value.is_none()
                && after.text.starts_with(|c: char| c.is_ascii_digit())
                && CpuSet::parse_any(&after.text).is_ok()
        })
        .map(|(word, after)| {
            contradiction(
                "cut-list",
                format!(
                    "{} ends at its comma: {} behind it is a word of its own, and does nothing; leave \
                     out the space, or put the list in double quotes",
                    word.text, after.text
                ),
            )
        })
        .collect()
}

/// Looks for CPUs that are to be two things.
fn clashes(reading: &Reading, boot: u32, wrong: &mut Vec<Contradiction>) {
    let isolated = &reading.isolated;
    let mut clash = |cpus: CpuSet, name, text: &str| {
        if !cpus.is_empty() {
            wrong.push(contradiction(name, format!("CPUs {cpus} {text}")));
        }
    };

    if let Some(confined) = &reading.kthread_cpus {
        clash(
            confined.cpus.and(isolated),
            "kthreads-on-isolated",
            "are in kthread_cpus= and in isolcpus=; isolation wins: take them out of one of the two",
        );
        clash(
            confined.cpus.minus(isolated).and(&reading.nohz_full),
            "kthreads-on-nohz",
            "are in kthread_cpus= and without a tick (nohz_full= or isolcpus=nohz): kernel threads \
             bring the tick back; take them out of one of the two",
        );
    }
    if let Some(cpus) = &reading.irqaffinity {
        let mut cpus = cpus.and(isolated);
        // The kernel has added it.
        if cpus == CpuSet::from_iter([boot]) {
            cpus = CpuSet::new();
        }
        clash(
            cpus,
            "interrupts-on-isolated",
            "are in irqaffinity= and in isolcpus=: interrupts go where nothing should disturb; take \
             them out of one of the two",
        );
    }
    if let Some(cpus) = &reading.systemd {
        clash(
            cpus.and(isolated),
            "processes-on-isolated",
            "are in systemd.cpu_affinity= and in isolcpus=: all processes may go there; take them out of \
             one of the two",
        );
    }
    if !isolated.is_empty() {
        clash(
            reading.nohz_full.minus(isolated),
            "nohz-not-isolated",
            "are without a tick, but not isolated: with a second task the tick comes back; add them to \
             isolcpus=domain",
        );
    }
}

/// Looks at the isolated CPUs as such.
fn isolation(
    reading: &Reading,
    topology: &Topology,
    machine: &Machine,
    split_cores: bool,
    wrong: &mut Vec<Contradiction>,
) {
    let isolated = &reading.isolated;

    if reading.all_isolated {
        wrong.push(contradiction(
            "no-housekeeping",
            format!(
                "all CPUs that are there are to be isolated or without a tick: the kernel keeps CPU {} \
                 for itself; leave it some",
                machine.boot_cpu()
            ),
        ));
    }
    if isolated.is_empty() || split_cores {
        return;
    }
    for core in &topology.cores {
        let cpus = core.cpus.and(&reading.starting);
        if cpus.intersects(isolated) && !cpus.is_subset(isolated) {
            wrong.push(contradiction(
                "half-core",
                format!(
                    "CPUs {cpus} are one core, of which only {} are isolated; isolate all of it or none",
                    cpus.and(isolated)
                ),
            ));
        }
    }
}

/// Adds what is worth knowing.
fn remark(reading: &Reading, machine: &Machine, remarks: &mut Vec<String>) {
    let Reading {
        isolated,
        nohz_full,
        ..
    } = reading;
    let partition = "a cpuset partition that is isolated can do that at run time";

    if isolated.is_empty() && !reading.managed_irq.is_empty() {
        remarks.push(format!(
            "nothing is isolated from the scheduler: managed_irq only keeps managed interrupts off CPUs \
             {}; {partition}, or the flag domain at boot",
            reading.managed_irq
        ));
    } else if isolated.is_empty() && !nohz_full.is_empty() {
        remarks.push(format!(
            "nothing is isolated from the scheduler: CPUs {nohz_full} have no tick only while they have \
             one task; {partition}, or isolcpus= at boot"
        ));
    }
    let free = nohz_full.and(&reading.kthreads);
    if reading.kthread_cpus.is_none() && !free.is_empty() {
        let version = Version::parse(&machine.kernel);
        let since = match version >= Version::ISOLATION_KEEPS_KTHREADS_OFF {
            true => "from 7.0 on",
            false => "on this kernel",
        };
        remarks.push(format!(
            "kernel threads are not kept off CPUs {free}: {since} being without a tick does not do it; \
             kthread_cpus= or isolcpus=domain does"
        ));
    }
    if reading.early_kthreads != reading.kthreads {
        remarks.push(format!(
            "kthreadd, and kernel threads that start before the other CPUs, such as those of RCU, stay on \
             CPU {}: it boots the machine, and no CPU that is left for them is online yet",
            reading.early_kthreads
        ));
    }
    if let Some(confined) = &reading.kthread_cpus {
        let others = reading.possible.minus(isolated).minus(&confined.cpus);
        if !isolated.is_empty() && !others.is_empty() {
            remarks.push(format!(
                "CPUs {others} are neither isolated nor for kernel threads: processes and interrupts may \
                 use them"
            ));
        }
        if machine.sysfs.is_none() {
            remarks.push(format!(
                "the kernel here ({}) has no /{SYSFS}: unless its vendor has added the option, it ignores {}",
                machine.kernel, confined.option
            ));
        }
    }
    if let Some(cpus) = &reading.systemd {
        remarks.push(format!(
            "systemd puts PID 1, and so all processes that do not choose, on CPUs {}, whatever \
             kthread_cpus= says of it",
            Named(cpus)
        ));
    }
    if reading.possible != machine.possible {
        remarks.push(format!(
            "there are no CPUs but {}: the line limits their number",
            reading.possible
        ));
    }
    let asleep = reading
        .possible
        .and(&machine.present)
        .minus(&reading.starting);
    if !asleep.is_empty() {
        remarks.push(format!("CPUs {asleep} are not started: the line says so"));
    }
}

/// Writes what a kernel makes of the line.
fn write_reading(
    out: &mut dyn Write,
    verdict: &Verdict,
    machine: &Machine,
    style: Style,
) -> Result<()> {
    let reading = &verdict.reading;
    let title = format!(
        "What a kernel {} with CPUs {} makes of it:",
        machine.kernel, reading.possible
    );
    writeln!(out, "{}", style.paint(Role::Heading, &title))?;
    let kthreads = match &reading.kthread_cpus {
        Some(confined) => format!(
            "CPUs {} ({}){}",
            confined.cpus.minus(&reading.isolated),
            confined.classes,
            match machine.sysfs {
                Some(_) => "",
                None => ", if that kernel has the option",
            }
        ),
        None => format!("CPUs {}, nothing else is said", Named(&reading.kthreads)),
    };
    let named = |cpus: &CpuSet| match cpus.is_empty() {
        true => "none".to_owned(),
        false => format!("CPUs {cpus}"),
    };

    writeln!(
        out,
        "  isolated from the scheduler: {}",
        named(&reading.isolated)
    )?;
    if !reading.managed_irq.is_empty() {
        writeln!(
            out,
            "  avoided by managed interrupts: {}",
            named(&reading.managed_irq)
        )?;
    }
    writeln!(out, "  without a tick: {}", named(&reading.nohz_full))?;
    if !reading.rcu_nocbs.is_empty() {
        writeln!(
            out,
            "  RCU callbacks offloaded: {}",
            named(&reading.rcu_nocbs)
        )?;
    }
    writeln!(out, "  for kernel threads: {kthreads}")?;
    if let Some(cpus) = &reading.irqaffinity {
        writeln!(out, "  for new interrupts: {}", named(cpus))?;
    }
    if let Some(cpus) = &reading.systemd {
        writeln!(out, "  for processes: {}", named(cpus))?;
    }
    for ignored in &reading.ignored {
        writeln!(out, "  ignored: {}", ignored.option)?;
    }
    for remark in &verdict.remarks {
        writeln!(out, "remark: {remark}")?;
    }
    Ok(())
}

/// The JSON of `plan --verify`.
#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    status: &'static str,
    kernel: &'a str,
    reading: &'a Reading,
    contradictions: &'a [Contradiction],
    remarks: &'a [String],
}

/// Runs the command, and returns its exit status.
///
/// # Errors
///
/// When the output cannot be written.
pub fn run(machine: &Machine, topology: &Topology, args: &PlanArgs) -> Result<u8> {
    let cmdline = args.cmdline.as_deref().unwrap_or(&machine.cmdline);
    let verdict = verify(machine, topology, cmdline, args.split_cores);
    let good = verdict.wrong.is_empty();

    // What is wrong is said first.
    if !args.json {
        complain(&verdict.wrong);
    }
    output::write_to(None, |out| {
        if args.json {
            let document = Document {
                version: 1,
                status: if good { "pass" } else { "fail" },
                kernel: &machine.kernel,
                reading: &verdict.reading,
                contradictions: &verdict.wrong,
                remarks: &verdict.remarks,
            };
            serde_json::to_writer_pretty(&mut *out, &document)?;
            return Ok(writeln!(out)?);
        }
        let used = &verdict.reading.used;
        if good && used.is_empty() {
            writeln!(out, "ok: the command line confines and isolates nothing")?;
        } else if good {
            writeln!(out, "ok: no contradiction in {}", used.join(" "))?;
        }
        write_reading(out, &verdict, machine, Style::of_stdout())
    })?;
    Ok(u8::from(!good))
}
