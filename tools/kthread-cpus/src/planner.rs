// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus plan`: makes a plan, or looks at a command line, and prints it.

use std::io::Write;

use serde::Serialize;

use crate::{
    cli::{PlanArgs, Print},
    contradiction::{complain, Contradiction},
    cpuset::CpuSet,
    error::{Error, Result},
    machine::{Machine, Root},
    output::{self, Role, Style},
    place::Place,
    plan::{self, Plan, Wish},
    topology::Topology,
    verify,
};

/// The JSON of `plan`.
#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    status: &'static str,
    #[serde(flatten)]
    plan: Option<&'a Plan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmdline: Option<String>,
    contradictions: &'a [Contradiction],
}

fn write_json(out: &mut dyn Write, plan: Option<&Plan>, wrong: &[Contradiction]) -> Result<()> {
    let document = Document {
        version: 1,
        status: if wrong.is_empty() { "pass" } else { "fail" },
        plan,
        cmdline: plan.map(Plan::line),
        contradictions: wrong,
    };

    serde_json::to_writer_pretty(&mut *out, &document)?;
    Ok(writeln!(out)?)
}

fn write_text(out: &mut dyn Write, plan: &Plan, machine: &Machine, style: Style) -> Result<()> {
    writeln!(
        out,
        "CPUs {} for the kernel's work, CPUs {} free of it, out of {}.",
        plan.housekeeping, plan.isolated, machine.present
    )?;
    for note in &plan.notes {
        writeln!(out, "  {note}")?;
    }
    writeln!(out)?;
    for option in &plan.options {
        writeln!(out, "{}", style.paint(Role::Heading, &option.text))?;
        writeln!(out, "  {}", option.reason)?;
    }
    writeln!(
        out,
        "\nIn one line, for the boot loader:\n  {}",
        plan.line()
    )?;
    writeln!(out, "After the next boot: kthread-cpus check")?;
    Ok(())
}

/// Returns a sentence if what is to be read are the CPUs of a container.
///
/// lxcfs shows only the container's CPUs as online, and their directories only, where the kernel
/// shows all that are there.
fn containers_view(root: &Root, machine: &Machine) -> Option<String> {
    let mounts = ["proc/self/mounts", "proc/mounts"];
    let lxcfs = mounts
        .iter()
        .find_map(|name| root.read_optional(name))
        .is_some_and(|table| {
            let mut places = table.lines().map(|line| line.split(' ').take(3));
            places.any(|mut fields| {
                fields.next() == Some("lxcfs")
                    && fields
                        .next()
                        .is_some_and(|place| place.starts_with("/sys/devices/system/cpu"))
            })
        });
    let offline = machine.present.minus(&machine.online);
    let shown: CpuSet = root
        .numbered("sys/devices/system/cpu", "cpu")
        .into_iter()
        .collect();
    // An offline CPU keeps its directory; and who puts the CPU offline that boots, and most of the
    // others?
    let cut = offline.contains(machine.boot_cpu())
        && offline.len() > machine.online.len()
        && !shown.is_empty()
        && !shown.intersects(&offline);

    (lxcfs || cut).then(|| {
        format!(
            "this is a container's view of a machine (CPUs {} of {}), about which a plan would be a \
             fiction: run it on the host",
            machine.online, machine.present
        )
    })
}

/// Runs the command, and returns its exit status.
///
/// # Errors
///
/// When a list is wrong or the output cannot be written.
pub fn run(root: &Root, args: &PlanArgs) -> Result<u8> {
    let machine = Machine::read(root);
    let topology = Topology::read(root, &machine);

    for warning in &machine.warnings {
        eprintln!("kthread-cpus: warning: {warning}");
    }
    if args.verify {
        return verify::run(&machine, &topology, args);
    }
    if let Some(sentence) = containers_view(root, &machine) {
        return Err(Error::new(sentence));
    }

    let set = |text: &Option<String>| {
        text.as_ref()
            .map(|text| CpuSet::parse(text, machine.count()))
            .transpose()
    };
    let wish = Wish {
        count: args.housekeeping,
        housekeeping: set(&args.housekeeping_cpus)?,
        isolated: set(&args.isolate)?,
        placement: args.placement,
        split_cores: args.split_cores,
        keep_tick: args.keep_tick,
    };
    let plan = match plan::make(&machine, &topology, &wish) {
        Ok(plan) => plan,
        Err(wrong) => {
            match args.json {
                true => output::write_to(None, |out| write_json(out, None, &wrong))?,
                false => complain(&wrong),
            }
            return Ok(1);
        }
    };
    let place = Place {
        plan: &plan,
        machine: &machine,
        root,
    };
    let printed = place.print(args.print);
    output::write_to(None, |out| match (args.print, &printed) {
        _ if args.json => write_json(out, Some(&plan), &[]),
        (_, Some(printed)) => Ok(out.write_all(printed.text.as_bytes())?),
        (Print::Cmdline, _) => Ok(writeln!(out, "{}", plan.line())?),
        (Print::Housekeeping, _) => Ok(writeln!(out, "{}", plan.housekeeping)?),
        (Print::Isolated, _) => Ok(writeln!(out, "{}", plan.isolated)?),
        _ => write_text(out, &plan, &machine, Style::of_stdout()),
    })?;
    for remark in printed.iter().flat_map(|printed| &printed.remarks) {
        eprintln!("kthread-cpus: note: {remark}");
    }
    Ok(0)
}
