// SPDX-License-Identifier: GPL-2.0

//! The JSON of `check`.

use std::io::Write;

use serde::Serialize;

use super::{exit_status, Outcome, Setting, Verdict};
use crate::{
    cpuset::CpuSet,
    error::Result,
    target::{Obeys, Source},
    threads::Class,
};

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
    partitions: &'a CpuSet,
    cpus: &'a CpuSet,
    unusable: Option<&'a CpuSet>,
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
pub(super) fn write(out: &mut dyn Write, outcome: &Outcome) -> Result<()> {
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
        partitions: &outcome.machine.partitions,
        cpus: &outcome.target.cpus,
        unusable: outcome.target.unusable.as_ref(),
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
