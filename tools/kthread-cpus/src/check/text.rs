// SPDX-License-Identifier: GPL-2.0

//! What `check` writes for a person.

use std::io::Write;

use super::{Outcome, Verdict};
use crate::{
    cpuset::Named,
    error::Result,
    output::{self, left, right, Role, Style},
    threads::families,
};

/// Writes for a person.
pub(super) fn write(
    out: &mut dyn Write,
    outcome: &Outcome,
    verbose: bool,
    style: Style,
) -> Result<()> {
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
    let meanwhile = match target.unusable {
        Some(_) => format!(", and have to be on CPUs {cpus} meanwhile"),
        None => String::new(),
    };
    writeln!(
        out,
        "Kernel threads are meant for CPUs {} of {}, {}{meanwhile}.",
        Named(target.unusable.as_ref().unwrap_or(&target.cpus)),
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
    let settings: Vec<_> = outcome
        .settings
        .iter()
        .filter(|setting| setting.counts && setting.outside)
        .map(|setting| setting.name)
        .collect();
    let settings = settings.join(", ");
    match (outside, &*settings) {
        (0, settings) if !settings.is_empty() => writeln!(
            out,
            "{verdict}: {settings} may run outside CPUs {cpus} and should not; none of {total} kernel \
             threads does"
        )?,
        (_, settings) => {
            let also = match settings {
                "" => String::new(),
                settings => format!(", and so may {settings}"),
            };
            writeln!(
                out,
                "{verdict}: {outside} of {total} kernel threads may run outside CPUs {cpus} and should \
                 not{also}"
            )?;
        }
    }
    for advice in outcome.advice() {
        writeln!(out, "  {advice}")?;
    }
    Ok(())
}
