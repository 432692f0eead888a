// SPDX-License-Identifier: GPL-2.0

//! The columns of the tables: as many as the terminal has room for, the most telling ones first.

use ratatui::layout::Constraint;

use super::view::Tab;
use crate::{
    cause::{text::culprit, Cause},
    output::duration,
    runs::Line,
};

/// A column.
pub(super) struct Column<T> {
    /// What stands above it.
    pub(super) heading: &'static str,
    /// What it is called when the table is sorted by it.
    pub(super) sort: &'static str,
    /// How wide it is.
    pub(super) width: Constraint,
    /// Whether it is aligned to the right, as numbers are.
    pub(super) right: bool,
    /// What is in a row.
    pub(super) text: fn(&T) -> String,
    /// Whether it has the colour of the row: in a whole row of it, there would be nothing to be read on
    /// some terminals.
    pub(super) coloured: bool,
    /// It is shown from this width of the terminal on.
    from: u16,
}

/// Returns a column of text, that is shown from a width on.
fn words<T>(
    heading: &'static str,
    sort: &'static str,
    width: Constraint,
    from: u16,
    text: fn(&T) -> String,
) -> Column<T> {
    Column {
        heading,
        sort,
        width,
        right: false,
        text,
        coloured: false,
        from,
    }
}

/// Returns a column of numbers.
fn number<T>(
    heading: &'static str,
    sort: &'static str,
    width: u16,
    from: u16,
    text: fn(&T) -> String,
) -> Column<T> {
    Column {
        right: true,
        ..words(heading, sort, Constraint::Length(width), from, text)
    }
}

/// Returns a column that has the colour of the row.
fn coloured<T>(column: Column<T>) -> Column<T> {
    Column {
        coloured: true,
        ..column
    }
}

/// Returns the columns of the causes that are shown.
pub(super) fn of_causes(width: u16) -> Vec<Column<Cause>> {
    let columns: [Column<Cause>; 9] = [
        words("KIND", "kind", Constraint::Length(7), 50, |cause| {
            cause.kind.to_string()
        }),
        words("WHAT", "what", Constraint::Fill(3), 0, Cause::label),
        words("ON", "", Constraint::Fill(1), 100, Cause::places),
        number("TIMES", "times", 8, 60, |cause| cause.count.to_string()),
        number("LONGEST", "longest", 9, 80, |cause| {
            duration(cause.longest_ns)
        }),
        number("TIME", "time", 9, 0, |cause| duration(cause.ns)),
        coloured(words(
            "MOVED BY",
            "moved by",
            Constraint::Length(13),
            40,
            |cause| cause.means.name().to_owned(),
        )),
        words("WANTED BY", "", Constraint::Fill(2), 110, culprit),
        words("WHAT MOVES IT", "", Constraint::Fill(4), 150, |cause| {
            cause.remedy.clone()
        }),
    ];

    shown(columns, width)
}

/// Returns the columns of the threads that are shown.
pub(super) fn of_threads<'a>(width: u16) -> Vec<Column<Line<'a>>> {
    let columns: [Column<Line<'a>>; 8] = [
        number("PID", "pid", 7, 70, |line| match line.thread.pid {
            // Several together have none.
            0 => String::new(),
            pid => pid.to_string(),
        }),
        words("NAME", "name", Constraint::Fill(3), 0, |line| {
            line.thread.name.clone()
        }),
        words("CLASS", "", Constraint::Length(9), 60, |line| {
            line.thread.class.to_string()
        }),
        words("RAN ON", "", Constraint::Fill(2), 80, |line| {
            line.cpus.to_string()
        }),
        number("TIMES", "times", 9, 90, |line| line.count.to_string()),
        number("TIME", "time", 9, 40, |line| duration(line.ns)),
        coloured(number("OUTSIDE", "outside", 9, 0, |line| {
            line.count_outside.to_string()
        })),
        coloured(number("OUT TIME", "", 9, 50, |line| {
            duration(line.ns_outside)
        })),
    ];

    shown(columns, width)
}

/// Returns those of the columns that are shown.
fn shown<T, const N: usize>(columns: [Column<T>; N], width: u16) -> Vec<Column<T>> {
    let columns = columns.into_iter();

    columns.filter(|column| column.from <= width).collect()
}

/// Returns the keys, as many as there is room for.
pub(super) fn help_line(tab: Tab, width: u16) -> String {
    let (other, only) = match tab {
        Tab::Causes => ("Tab threads", ["f kind", "m moved by"].as_slice()),
        Tab::Threads => ("Tab causes", ["o only outside"].as_slice()),
    };
    let first = ["q end", "? keys", other, "s sort"];
    let last = ["p pause", "Enter details", "/ search", "r reverse", "a all"];
    let mut line = String::new();

    for key in first.iter().chain(only).chain(&last) {
        let gap = if line.is_empty() { "" } else { "  " };
        if line.len() + gap.len() + key.len() > usize::from(width) {
            break;
        }
        line += gap;
        line += key;
    }
    line
}

/// What the bars of the CPUs are.
pub(super) const SCALE: &str = "· none, ▁ below 0.1 %, ▂ 1 %, ▄ 5 %, ▆ 25 %, █ more";

/// All keys, for the window of help, and what the colours are.
pub(super) const KEYS: [(&str, &str); 17] = [
    ("q, Ctrl-C", "end, and print what was seen"),
    ("Tab", "what ran outside and why, or the kernel threads"),
    ("up, down, k, j", "choose a row; PgUp, PgDn, Home, End"),
    (
        "Enter",
        "all that is known of the row, PgDn for more; Esc closes it",
    ),
    ("s, S", "sort by the next column, or the one before"),
    ("r", "reverse the order"),
    ("f, F", "only causes of the next kind, or the one before"),
    ("m, M", "only causes that this moves: option, file, ..."),
    ("o", "only threads that ran outside"),
    ("/", "only what has a text in it; Enter keeps it"),
    ("a, Esc", "all again"),
    ("p, space", "pause what is shown; the watch goes on"),
    ("Ctrl-L", "draw the screen anew"),
    ("SIGUSR1", "write --report and --record, and go on"),
    ("bars", SCALE),
    (
        "CPUs",
        "green: for kernel threads; red: some ran that should not; yellow: they have to",
    ),
    (
        "causes",
        "red: kthread_cpus= moves it; yellow: something else does",
    ),
];
