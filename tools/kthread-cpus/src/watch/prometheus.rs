// SPDX-License-Identifier: GPL-2.0

//! The metrics of `watch`, for Prometheus.
//!
//! A series must not vanish, and a counter must not go back. So a cause that has a series of its own
//! keeps it, and when there are too many of them, those that come later are one series together.

use std::{collections::HashSet, io::Write};

use crate::{
    cause::{
        histogram::{Histogram, BOUNDS},
        Cause, Kind,
    },
    error::Result,
    metrics::{seconds, Metric},
    recording::Recording,
};

/// As many causes have series of their own, each with a bucket for each bound.
const MOST_CAUSES: usize = 100;

/// What all causes without series of their own are called.
const OTHER: &str = "other";

/// Remembers which causes have series.
#[derive(Debug, Default)]
pub struct Exporter {
    admitted: HashSet<(Kind, String)>,
}

/// The times of a cause, or of several.
#[derive(Default)]
struct Times {
    histogram: Histogram,
    ns: u64,
    count: u64,
}

impl Times {
    fn add(&mut self, cause: &Cause) {
        self.histogram.merge(&cause.histogram);
        self.ns = self.ns.saturating_add(cause.ns);
        self.count = self.count.saturating_add(cause.count);
    }

    fn write(&self, metric: &mut Metric<'_>, labels: [(&str, &str); 3]) -> Result<()> {
        let mut below = 0_u64;
        let counts = self.histogram.counts();
        for ((_, bound), count) in BOUNDS.iter().zip(counts) {
            below = below.saturating_add(*count);
            let [kind, cause, means] = labels;
            metric.sample("_bucket", &[kind, cause, means, ("le", bound)], below)?;
        }
        let [kind, cause, means] = labels;
        let rest = [kind, cause, means, ("le", "+Inf")];
        metric.sample("_bucket", &rest, self.count)?;
        metric.sample("_sum", &labels, seconds(self.ns))?;
        metric.sample("_count", &labels, self.count)?;
        Ok(())
    }
}

impl Exporter {
    /// Whether a cause has a series of its own, which it may get now.
    fn admit(&mut self, cause: &Cause) -> bool {
        let key = (cause.kind, cause.label());
        if self.admitted.contains(&key) {
            return true;
        }
        // Of a recording that was made elsewhere, nobody knows the buckets.
        let room = self.admitted.len() < MOST_CAUSES && !cause.histogram.is_empty();
        if room {
            self.admitted.insert(key);
        }
        room
    }

    /// Writes the metrics of what has been seen so far.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn write(&mut self, out: &mut dyn Write, recording: &Recording) -> Result<()> {
        let list = recording.cpus.to_string();
        let info = [
            ("kernel", recording.kernel.as_str()),
            ("cpus", &list),
            ("source", recording.source.name()),
        ];
        Metric::new(
            out,
            "kthread_cpus_watch_info",
            "gauge",
            "What is watched; the value is always 1.",
        )?
        .sample("", &info, 1)?;
        Metric::new(
            out,
            "kthread_cpus_watch_start_time_seconds",
            "gauge",
            "When the watch began, since the epoch.",
        )?
        .sample("", &[], recording.started)?;
        Metric::new(
            out,
            "kthread_cpus_watch_watched_seconds_total",
            "counter",
            "For how long it has been watched.",
        )?
        .sample("", &[], seconds(recording.duration_ns))?;
        Metric::new(
            out,
            "kthread_cpus_watch_lost_events_total",
            "counter",
            "Events that were lost, at least: while they are, the other counters are too small.",
        )?
        .sample("", &[], recording.lost)?;
        self.write_causes(out, recording)?;
        write_intrusions(out, recording)?;
        write_cpus(out, recording)
    }

    fn write_causes(&mut self, out: &mut dyn Write, recording: &Recording) -> Result<()> {
        let mut metric = Metric::new(
            out,
            "kthread_cpus_watch_disturbance_seconds",
            "histogram",
            "How long each cause took a CPU that is not for kernel threads, each time.",
        )?;
        let mut others = Times::default();

        for cause in &recording.account.causes {
            if !self.admit(cause) {
                others.add(cause);
                continue;
            }
            let mut times = Times::default();
            times.add(cause);
            let name = cause.label();
            let labels = [
                ("kind", cause.kind.name()),
                ("cause", name.as_str()),
                ("moved_by", cause.means.name()),
            ];
            times.write(&mut metric, labels)?;
        }
        let labels = ["kind", "cause", "moved_by"].map(|name| (name, OTHER));
        others.write(&mut metric, labels)
    }
}

/// How often kernel threads ran outside, as the text of `watch` says it.
fn write_intrusions(out: &mut dyn Write, recording: &Recording) -> Result<()> {
    let (wrong, exempt) = recording.intrusions();
    let both = [("false", wrong), ("true", exempt)];

    let mut metric = Metric::new(
        out,
        "kthread_cpus_watch_intrusions_total",
        "counter",
        "How often kernel threads got a CPU that is not for them; exempt are those that have to be there.",
    )?;
    for (exempt, intrusions) in both {
        metric.sample("", &[("exempt", exempt)], intrusions.count)?;
    }
    let mut metric = Metric::new(
        out,
        "kthread_cpus_watch_intrusion_seconds_total",
        "counter",
        "For how long they ran there.",
    )?;
    for (exempt, intrusions) in both {
        metric.sample("", &[("exempt", exempt)], seconds(intrusions.ns))?;
    }
    Ok(())
}

/// What each of the CPUs has lost, whatever it was.
fn write_cpus(out: &mut dyn Write, recording: &Recording) -> Result<()> {
    let cpus: Vec<_> = recording
        .account
        .noise
        .iter()
        .map(|noise| (noise.cpu.to_string(), noise))
        .collect();

    let mut metric = Metric::new(
        out,
        "kthread_cpus_watch_cpu_disturbances_total",
        "counter",
        "How often a CPU that is not for kernel threads did the kernel's work.",
    )?;
    for (cpu, noise) in &cpus {
        metric.sample("", &[("cpu", cpu)], noise.count)?;
    }
    let mut metric = Metric::new(
        out,
        "kthread_cpus_watch_cpu_disturbance_seconds_total",
        "counter",
        "For how long it did.",
    )?;
    for (cpu, noise) in &cpus {
        metric.sample("", &[("cpu", cpu)], seconds(noise.ns))?;
    }
    let mut metric = Metric::new(
        out,
        "kthread_cpus_watch_cpu_longest_disturbance_seconds",
        "gauge",
        "The longest time at once since the watch began.",
    )?;
    for (cpu, noise) in &cpus {
        metric.sample("", &[("cpu", cpu)], seconds(noise.longest_ns))?;
    }
    Ok(())
}
