// SPDX-License-Identifier: GPL-2.0

//! The TAP of `check`: a test for each kernel thread.

use std::io::Write;

use super::{Outcome, Verdict};
use crate::{cpuset::Named, error::Result};

/// Writes a description of a TAP test; a `#` would begin a directive.
fn tap_description(text: &str) -> String {
    text.replace('\\', "\\\\").replace('#', "\\#")
}

/// Writes TAP.
pub(super) fn write(out: &mut dyn Write, outcome: &Outcome) -> Result<()> {
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
