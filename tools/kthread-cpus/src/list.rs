// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus list`: every kernel thread.

use std::{cmp::Reverse, fmt::Write as _, io::Write};

use serde::{ser::SerializeSeq, Serialize, Serializer};

use crate::{
    cli::{ListArgs, SortKey},
    cpuset::CpuSet,
    error::Result,
    machine::{Machine, Root},
    output::{self, left, right, Column, Role, Style},
    threads::{Inventory, Thread},
};

/// A thread as machines read it.
#[derive(Serialize)]
struct Row<'a> {
    pid: u32,
    name: &'a str,
    class: &'static str,
    /// Null if it could not be read.
    allowed: Option<&'a CpuSet>,
    cpu: u32,
    node: Option<u32>,
    switches: u64,
    run_ns: u64,
    movable: bool,
}

impl<'a> From<&'a Thread> for Row<'a> {
    fn from(thread: &'a Thread) -> Self {
        Self {
            pid: thread.pid,
            name: &thread.name,
            class: thread.class.name(),
            allowed: thread.allowed.as_deref(),
            cpu: thread.cpu,
            node: thread.node,
            switches: thread.switches,
            run_ns: thread.run_ns,
            movable: thread.movable,
        }
    }
}

/// The whole of `list --json`.
#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    kernel: &'a str,
    possible: &'a CpuSet,
    online: &'a CpuSet,
    isolated: &'a CpuSet,
    partitions: &'a CpuSet,
    unreadable: usize,
    #[serde(serialize_with = "rows")]
    threads: &'a [Thread],
}

/// Serializes the threads one by one.
fn rows<S: Serializer>(threads: &&[Thread], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    let mut sequence = serializer.serialize_seq(Some(threads.len()))?;
    for thread in *threads {
        sequence.serialize_element(&Row::from(thread))?;
    }
    sequence.end()
}

const COLUMNS: [Column; 8] = [
    right("PID"),
    left("CLASS"),
    left("ALLOWED"),
    right("CPU"),
    right("NODE"),
    right("SWITCHES"),
    right("SECONDS"),
    left("NAME"),
];

/// Whether `name` has all of `pattern`, in which `*` stands for anything; a pattern without `*` may
/// be anywhere in the name.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return !pattern.contains('*') && name.contains(pattern);
    };
    let Some(last) = parts.next_back() else {
        return true;
    };

    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Keeps the threads that were asked for, in the order that was asked for.
fn select(threads: &mut Vec<Thread>, args: &ListArgs, machine: &Machine) -> Result<()> {
    let set = |text: &Option<String>| {
        text.as_ref()
            .map(|text| CpuSet::parse(text, machine.count()))
            .transpose()
    };
    let (on, outside) = (set(&args.on)?, set(&args.outside)?);

    threads.retain(|thread| {
        let mask = thread.allowed.as_deref();
        (args.class.is_empty() || args.class.contains(&thread.class))
            && (args.name.is_empty() || args.name.iter().any(|text| matches(text, &thread.name)))
            && on.as_ref().is_none_or(|cpus| cpus.contains(thread.cpu))
            && outside.as_ref().is_none_or(|cpus| {
                mask.is_some_and(|mask| !mask.and(&machine.possible).is_subset(cpus))
            })
    });
    match args.sort {
        SortKey::Pid => {}
        SortKey::Name => threads.sort_by(|a, b| a.name.cmp(&b.name)),
        SortKey::Class => threads.sort_by_key(|thread| thread.class),
        SortKey::Allowed => threads.sort_by(|a, b| a.allowed.cmp(&b.allowed)),
        SortKey::Cpu => threads.sort_by_key(|thread| thread.cpu),
        SortKey::Node => threads.sort_by_key(|thread| thread.node),
        SortKey::Switches => threads.sort_by_key(|thread| Reverse(thread.switches)),
        SortKey::Time => threads.sort_by_key(|thread| Reverse(thread.run_ns)),
    }
    if args.reverse {
        threads.reverse();
    }
    Ok(())
}

/// Appends what is in a column of the table.
fn cell(thread: &Thread, column: usize, text: &mut String) {
    // Writing to a string does not fail.
    let _ = match column {
        0 => write!(text, "{}", thread.pid),
        1 => write!(text, "{}", thread.class),
        2 => match &thread.allowed {
            Some(mask) => write!(text, "{mask}"),
            None => write!(text, "?"),
        },
        3 => write!(text, "{}", thread.cpu),
        4 => match thread.node {
            Some(node) => write!(text, "{node}"),
            None => write!(text, "-"),
        },
        5 => write!(text, "{}", thread.switches),
        6 => {
            text.push_str(&output::seconds(thread.run_ns));
            Ok(())
        }
        _ => {
            text.push_str(&thread.name);
            Ok(())
        }
    };
}

/// Writes the threads as CSV, with the names of the JSON fields in the first line.
fn write_csv(out: &mut dyn Write, threads: &[Thread]) -> Result<()> {
    writeln!(
        out,
        "pid,name,class,allowed,cpu,node,switches,run_ns,movable"
    )?;
    let mut line = String::new();

    for thread in threads {
        let allowed = thread.allowed.as_deref().map(CpuSet::to_string);
        let node = thread.node.map(|node| node.to_string());

        line.clear();
        let _ = write!(line, "{},", thread.pid);
        output::csv_field(&mut line, &thread.name);
        let _ = write!(line, ",{},", thread.class);
        output::csv_field(&mut line, &allowed.unwrap_or_default());
        writeln!(
            out,
            "{line},{},{},{},{},{}",
            thread.cpu,
            node.unwrap_or_default(),
            thread.switches,
            thread.run_ns,
            thread.movable
        )?;
    }
    Ok(())
}

/// Runs the command.
///
/// # Errors
///
/// When the threads cannot be read or the output cannot be written.
pub fn run(root: &Root, args: &ListArgs) -> Result<()> {
    let machine = Machine::read(root);
    let mut inventory = Inventory::read(root, &machine)?;

    for warning in machine.warnings.iter().chain(&inventory.warning()) {
        eprintln!("kthread-cpus: warning: {warning}");
    }
    select(&mut inventory.threads, args, &machine)?;
    let threads = &inventory.threads;
    output::write_to(None, |out| {
        if args.json {
            let document = Document {
                version: 1,
                kernel: &machine.kernel,
                possible: &machine.possible,
                online: &machine.online,
                isolated: &machine.isolated,
                partitions: &machine.partitions,
                unreadable: inventory.unreadable,
                threads,
            };
            serde_json::to_writer(&mut *out, &document)?;
            Ok(writeln!(out)?)
        } else if args.csv {
            write_csv(out, threads)
        } else {
            let role = |row: usize| match threads[row].class.is_steered() {
                true => Role::Plain,
                false => Role::Faint,
            };
            output::table(
                out,
                Style::of_stdout(),
                &COLUMNS,
                threads.len(),
                |row, column, text| cell(&threads[row], column, text),
                role,
            )?;
            Ok(())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        assert!(matches("kswapd", "kswapd0"));
        assert!(matches("swap", "kswapd0"));
        assert!(matches("k*0", "kswapd0"));
        assert!(matches("*", "kswapd0"));
        assert!(matches("kworker/*:*", "kworker/0:1-events"));
        assert!(!matches("k*1", "kswapd0"));
        assert!(!matches("s*0", "kswapd0"));
        assert!(!matches("kswapd0*0", "kswapd0"));
        assert!(!matches("*wap*wap*", "kswapd0"));
    }
}
