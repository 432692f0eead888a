// SPDX-License-Identifier: GPL-2.0

//! What all commands print with: colours, tables, files that appear at once.

use std::{
    fmt::Write as _,
    fs,
    io::{self, BufWriter, IsTerminal, Write},
    path::Path,
};

use crate::error::{hint, Error, Result};

/// Whether to print in colour.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    colour: bool,
}

/// A role of a piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// As it is.
    Plain,
    /// A heading.
    Heading,
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// Worth a look.
    Notable,
    /// Less important.
    Faint,
}

impl Style {
    /// Returns the style for standard output: colour on a terminal that has it.
    pub fn of_stdout() -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());

        Self {
            colour: !no_colour && !dumb && io::stdout().is_terminal(),
        }
    }

    /// Returns the style without colour.
    pub fn plain() -> Self {
        Self { colour: false }
    }

    /// Returns what begins and ends text in this role.
    fn codes(self, role: Role) -> (&'static str, &'static str) {
        let begin = match role {
            _ if !self.colour => "",
            Role::Plain => "",
            Role::Heading => "\x1b[1m",
            Role::Good => "\x1b[32m",
            Role::Bad => "\x1b[31m",
            Role::Notable => "\x1b[33m",
            Role::Faint => "\x1b[2m",
        };

        (begin, if begin.is_empty() { "" } else { "\x1b[0m" })
    }

    /// Returns `text` in this role.
    pub fn paint(self, role: Role, text: &str) -> String {
        let (begin, end) = self.codes(role);

        format!("{begin}{text}{end}")
    }
}

/// A column of a table.
pub struct Column {
    /// What stands above it.
    pub heading: &'static str,
    /// Whether it is aligned to the right, as numbers are.
    pub right: bool,
}

/// Returns a column that is aligned to the left.
pub const fn left(heading: &'static str) -> Column {
    Column {
        heading,
        right: false,
    }
}

/// Returns a column that is aligned to the right.
pub const fn right(heading: &'static str) -> Column {
    Column {
        heading,
        right: true,
    }
}

/// Writes a table with two blanks between the columns. `cell` appends the text of a row and column,
/// and is called twice for each, so that the table need not be in memory. `role` is that of a row.
///
/// # Errors
///
/// Those of the output.
pub fn table(
    out: &mut dyn Write,
    style: Style,
    columns: &[Column],
    rows: usize,
    mut cell: impl FnMut(usize, usize, &mut String),
    role: impl Fn(usize) -> Role,
) -> io::Result<()> {
    let mut text = String::new();
    let mut widths: Vec<_> = columns.iter().map(|column| column.heading.len()).collect();
    for row in 0..rows {
        for (index, width) in widths.iter_mut().enumerate() {
            text.clear();
            cell(row, index, &mut text);
            *width = (*width).max(text.chars().count());
        }
    }

    let mut line = String::new();
    for row in 0..=rows {
        line.clear();
        for (index, (column, width)) in columns.iter().zip(&widths).enumerate() {
            text.clear();
            match row {
                0 => text.push_str(column.heading),
                row => cell(row - 1, index, &mut text),
            }
            let separator = if index == 0 { "" } else { "  " };
            // Writing to a string does not fail.
            let _ = match column.right {
                true => write!(line, "{separator}{text:>width$}"),
                false => write!(line, "{separator}{text:<width$}"),
            };
        }
        let (begin, end) = style.codes(match row {
            0 => Role::Heading,
            row => role(row - 1),
        });
        writeln!(out, "{begin}{}{end}", line.trim_end())?;
    }
    Ok(())
}

/// Writes text as one field of a CSV file.
pub fn csv_field(out: &mut String, text: &str) {
    if text.contains(['"', ',', '\n', '\r']) {
        out.push('"');
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(text);
    }
}

/// Returns nanoseconds as seconds for a person.
pub fn seconds(ns: u64) -> String {
    format!("{}.{:03}", ns / 1_000_000_000, ns / 1_000_000 % 1000)
}

/// Returns a duration for a person, in the unit that suits it.
pub fn duration(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}

/// Calls `write` with standard output, or with a file that appears, with everything in it, only when
/// all went well: a collector must not see half of it.
///
/// # Errors
///
/// Those of `write` and of the file.
pub fn write_to(
    path: Option<&Path>,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let Some(path) = path else {
        let mut out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
        write(&mut out)?;
        return Ok(out.flush()?);
    };
    let fail = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "; its directory must exist",
            _ => hint(&error),
        };
        Error::new(format_args!(
            "cannot write {}: {error}{hint}",
            path.display()
        ))
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let result = fs::File::create(&draft).map_err(fail).and_then(|file| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.flush().map_err(fail)?;
        drop(out);
        fs::rename(&draft, path).map_err(fail)
    });

    if result.is_err() {
        // What failed is what the caller hears of.
        let _ = fs::remove_file(&draft);
    }
    result
}

/// Returns how long something went on for, in the units that a person thinks in.
pub fn span(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;

    match seconds {
        0..600 => duration(ns),
        600..36_000 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned() {
        let rows = [["1", "a"], ["234", "bc"]];
        let mut out = Vec::new();

        table(
            &mut out,
            Style::plain(),
            &[right("N"), left("NAME")],
            rows.len(),
            |row, column, text| text.push_str(rows[row][column]),
            |_| Role::Bad,
        )
        .unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "  N  NAME\n  1  a\n234  bc\n"
        );
    }

    #[test]
    fn fields_are_quoted_when_they_must_be() {
        let field = |text| {
            let mut out = String::new();
            csv_field(&mut out, text);
            out
        };

        assert_eq!(field("0-1"), "0-1");
        assert_eq!(field("0,2"), "\"0,2\"");
        assert_eq!(field("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn times_for_a_person() {
        assert_eq!(seconds(1_234_567_890), "1.234");
        assert_eq!(duration(999), "999 ns");
        assert_eq!(duration(1_500), "1.5 µs");
        assert_eq!(duration(2_500_000), "2.5 ms");
        assert_eq!(duration(3_000_000_000), "3.00 s");
        assert_eq!(span(3_000_000_000), "3.00 s");
        assert_eq!(span(605_000_000_000), "10 min 5 s");
        assert_eq!(span(86_400_000_000_000), "24 h 0 min");
    }

    #[test]
    fn a_file_that_failed_is_not_there() {
        let directory = std::env::temp_dir().join(format!("kthread-cpus-{}", std::process::id()));
        let path = directory.join("x");

        fs::create_dir(&directory).unwrap();
        assert!(write_to(Some(&path), |_| Err(Error::new("no"))).is_err());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        write_to(Some(&path), |out| Ok(out.write_all(b"yes")?)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"yes");
        fs::remove_dir_all(&directory).unwrap();
    }
}
