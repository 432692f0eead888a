// SPDX-License-Identifier: GPL-2.0

//! The metrics of `check`, for Prometheus.

use std::{collections::BTreeMap, io::Write};

use super::{Outcome, Verdict};
use crate::{error::Result, metrics::label, target::Obeys, threads::Class};

/// Writes metrics in Prometheus' text format.
pub(super) fn write(out: &mut dyn Write, outcome: &Outcome) -> Result<()> {
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
