// SPDX-License-Identifier: GPL-2.0

//! The heat map of a recording: which thread ran on which CPU, and how much of the time.

use std::collections::HashMap;

use crate::{
    cpuset::CpuSet,
    recording::{Recording, Thread},
    threads::{family, Class},
};

/// The most rows and columns that a person can read.
const ROWS: usize = 60;
const COLUMNS: usize = 128;

/// The share of the time below which a cell is as faint as can be.
const FAINTEST: f64 = 1e-6;

/// How a run is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Where it is meant to be.
    Inside,
    /// Outside, and it has to be there.
    Exempt,
    /// Outside, and it should not.
    Outside,
}

/// A cell in which something ran.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// How it is to be seen.
    pub kind: Kind,
    /// How long, in nanoseconds.
    pub ns: u64,
    /// How often.
    pub count: u64,
    /// How strong the colour is, from more than 0 to 1, on a logarithmic scale.
    pub heat: f64,
}

/// A row: a thread, or several of which there is one for each CPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The name.
    pub name: String,
    /// How many threads it stands for.
    pub threads: usize,
    /// The cells, by column.
    pub cells: Vec<Option<Cell>>,
}

/// A column: a CPU, or several neighbours where there are very many.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The CPUs.
    pub cpus: CpuSet,
    /// Whether all of them are for kernel threads.
    pub inside: bool,
}

/// A heat map.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    /// The columns, by CPU.
    pub columns: Vec<Column>,
    /// The rows.
    pub rows: Vec<Row>,
    /// How many threads ran that have no row.
    pub omitted: usize,
}

/// Returns what the row of a thread is called. There are so many workers that come and go, and
/// per-CPU threads, that they are put together.
fn row_name(thread: &Thread) -> String {
    match thread.class {
        Class::PerCpu | Class::Workqueue => family(&thread.name),
        _ => thread.name.clone(),
    }
}

/// Returns the names of the rows of one or more recordings, in the same order for all of them: first
/// what ran outside and should not, longest first.
pub fn row_names(recordings: &[&Recording]) -> Vec<String> {
    let mut weights: HashMap<String, (u64, u64)> = HashMap::new();
    for recording in recordings {
        for thread in &recording.threads {
            for run in &thread.runs {
                let weight = weights.entry(row_name(thread)).or_default();
                let wrong = thread.class.is_steered() && !recording.cpus.contains(run.cpu);
                if wrong {
                    weight.0 = weight.0.saturating_add(run.ns).saturating_add(run.count);
                }
                weight.1 = weight.1.saturating_add(run.ns);
            }
        }
    }
    let mut names: Vec<_> = weights.into_iter().collect();

    names.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
    names.into_iter().map(|(name, _)| name).collect()
}

/// Returns how strong the colour of a share of the time is.
fn heat(share: f64) -> f64 {
    let decades = -FAINTEST.log10();

    ((share.max(FAINTEST).log10() + decades) / decades).clamp(0.0, 1.0) * 0.88 + 0.12
}

impl HeatMap {
    /// Makes the heat map of a recording, with the rows that `names` says, as far as they go.
    pub fn new(recording: &Recording, names: &[String]) -> Self {
        let cpus: Vec<_> = recording.online.iter().collect();
        let width = cpus.len().div_ceil(COLUMNS).max(1);
        let columns: Vec<_> = cpus
            .chunks(width)
            .map(|chunk| {
                let cpus: CpuSet = chunk.iter().copied().collect();
                Column {
                    inside: cpus.is_subset(&recording.cpus),
                    cpus,
                }
            })
            .collect();
        let column_of: HashMap<u32, usize> = cpus
            .iter()
            .enumerate()
            .map(|(index, cpu)| (*cpu, index / width))
            .collect();
        let mut rows: Vec<_> = names
            .iter()
            .take(ROWS)
            .map(|name| Row {
                name: name.clone(),
                threads: 0,
                cells: vec![None; columns.len()],
            })
            .collect();
        let row_of: HashMap<&str, usize> = names
            .iter()
            .take(ROWS)
            .enumerate()
            .map(|(index, name)| (&**name, index))
            .collect();
        let mut omitted = 0;

        for thread in recording
            .threads
            .iter()
            .filter(|thread| !thread.runs.is_empty())
        {
            let Some(&row) = row_of.get(&*row_name(thread)) else {
                omitted += 1;
                continue;
            };
            rows[row].threads += 1;
            for run in &thread.runs {
                // One that went offline while it was watched has no column.
                let Some(&column) = column_of.get(&run.cpu) else {
                    continue;
                };
                let kind = match (recording.cpus.contains(run.cpu), thread.class.is_steered()) {
                    (true, _) => Kind::Inside,
                    (false, false) => Kind::Exempt,
                    (false, true) => Kind::Outside,
                };
                let cell = rows[row].cells[column].get_or_insert(Cell {
                    kind,
                    ns: 0,
                    count: 0,
                    heat: 0.0,
                });
                // What should not be there must not be hidden by a neighbour.
                if kind == Kind::Outside {
                    cell.kind = kind;
                }
                cell.ns = cell.ns.saturating_add(run.ns);
                cell.count = cell.count.saturating_add(run.count);
            }
        }
        let time = recording.duration_ns.max(1) as f64 * width as f64;
        for cell in rows.iter_mut().flat_map(|row| &mut row.cells).flatten() {
            cell.heat = heat(cell.ns as f64 / time);
        }
        Self {
            columns,
            rows,
            omitted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::heat;

    #[test]
    fn heat_is_logarithmic_and_never_invisible() {
        assert_eq!(heat(0.0), 0.12);
        assert_eq!(heat(1.0), 1.0);
        assert_eq!(heat(7.0), 1.0);
        assert!((heat(1e-3) - 0.56).abs() < 1e-9);
    }
}
