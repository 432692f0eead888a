// SPDX-License-Identifier: GPL-2.0

//! The text format of Prometheus.

use std::{
    fmt::Display,
    io::{self, Write},
};

/// Returns text as the value of a label.
pub fn label(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// Returns nanoseconds as seconds.
pub fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// A metric that is being written.
pub struct Metric<'a> {
    out: &'a mut dyn Write,
    name: &'a str,
}

impl<'a> Metric<'a> {
    /// Begins a metric of a kind, such as `gauge`.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn new(out: &'a mut dyn Write, name: &'a str, kind: &str, help: &str) -> io::Result<Self> {
        writeln!(out, "# HELP {name} {help}")?;
        writeln!(out, "# TYPE {name} {kind}")?;
        Ok(Self { out, name })
    }

    /// Writes a sample; `suffix` is of the name, as with `_bucket`.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn sample(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        value: impl Display,
    ) -> io::Result<()> {
        let pairs: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", label(value)))
            .collect();
        let labels = match pairs.as_slice() {
            [] => String::new(),
            pairs => format!("{{{}}}", pairs.join(",")),
        };

        writeln!(self.out, "{}{suffix}{labels} {value}", self.name)
    }
}
