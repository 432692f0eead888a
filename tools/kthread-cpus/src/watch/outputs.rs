// SPDX-License-Identifier: GPL-2.0

//! The files that a watch writes: at its end, when it is asked to, and at intervals.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::prometheus::Exporter;
use crate::{
    cli::WatchArgs,
    error::{hint, Error, Result},
    output,
    recording::Recording,
    report,
};

/// The metrics are written as often; Prometheus looks every 15 s to 60 s.
const METRICS_NS: u64 = 15_000_000_000;

/// The files.
pub struct Outputs<'a> {
    record: Option<&'a Path>,
    page: Option<&'a Path>,
    metrics: Option<&'a Path>,
    exporter: Exporter,
    /// When the metrics are to be written next.
    due: u64,
}

/// Finds out whether a file can be written: a day later is too late to hear of it.
fn probe(path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.{}.probe", std::process::id()));

    File::create(&draft).map_err(|error| {
        Error::new(format_args!(
            "cannot write {}: {error}{}",
            path.display(),
            match error.kind() {
                std::io::ErrorKind::NotFound => "; its directory must exist",
                _ => hint(&error),
            }
        ))
    })?;
    // It is empty, and whoever sees it knows by its name what it was.
    let _ = fs::remove_file(&draft);
    Ok(())
}

impl<'a> Outputs<'a> {
    /// Returns the files that are asked for.
    ///
    /// # Errors
    ///
    /// When one of them cannot be written.
    pub fn new(args: &'a WatchArgs) -> Result<Self> {
        let path = |path: &'a Option<PathBuf>| path.as_deref();
        let outputs = Self {
            record: path(&args.record),
            page: path(&args.report),
            metrics: path(&args.prometheus),
            exporter: Exporter::default(),
            due: 0,
        };

        for path in [outputs.record, outputs.page, outputs.metrics] {
            path.map_or(Ok(()), probe)?;
        }
        Ok(outputs)
    }

    /// Whether there is a file to write a report to.
    pub fn has_report(&self) -> bool {
        self.record.is_some() || self.page.is_some()
    }

    /// Whether the metrics are due.
    pub fn is_due(&self, now: u64) -> bool {
        self.metrics.is_some() && now >= self.due
    }

    /// Writes the metrics.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn write_metrics(&mut self, now: u64, recording: &Recording) -> Result<()> {
        self.due = now.saturating_add(METRICS_NS);
        match self.metrics {
            Some(path) => {
                let exporter = &mut self.exporter;
                output::write_to(Some(path), |out| exporter.write(out, recording))
            }
            None => Ok(()),
        }
    }

    /// Writes all files, each of which is replaced at once, and returns which.
    ///
    /// # Errors
    ///
    /// Those of the first file that fails; the others are written all the same.
    pub fn write(&mut self, now: u64, recording: &Recording) -> Result<Vec<String>> {
        let record = self.record.map_or(Ok(()), |path| {
            output::write_to(Some(path), |out| {
                serde_json::to_writer(&mut *out, recording)?;
                Ok(writeln!(out)?)
            })
        });
        let page = self
            .page
            .map_or(Ok(()), |path| report::write_page(path, recording));
        let metrics = self.write_metrics(now, recording);

        record.and(page).and(metrics)?;
        let paths = [self.record, self.page, self.metrics].into_iter().flatten();
        Ok(paths.map(|path| path.display().to_string()).collect())
    }
}
