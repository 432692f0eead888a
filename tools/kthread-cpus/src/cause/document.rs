// SPDX-License-Identifier: GPL-2.0

//! The table of causes and remedies as a document, `causes.rst` beside the crate.

use std::fmt::Write as _;

use super::{
    rows::{rows, BOUND, PER_CPU, STEERED, UNBOUND},
    table::Row,
    Kind,
};

/// Writes a list of names for a document.
fn names(out: &mut String, row: &Row) {
    let all = |names: &[&str]| names == ["*"];
    let list = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| format!("``{name}``")).collect();
        names.join(", ")
    };

    match (all(row.names), row.queues) {
        (true, []) => out.push_str("all others"),
        (true, ["unbound workqueues"]) => out.push_str("all of unbound workqueues"),
        (true, queues) => {
            let _ = write!(out, "all on {}", list(queues));
        }
        (false, _) => out.push_str(&list(row.names)),
    }
}

/// Returns the table as a document, `causes.rst`.
pub fn document() -> String {
    let mut out = String::from(
        ".. SPDX-License-Identifier: GPL-2.0\n\
         .. Made from tools/kthread-cpus/src/cause/rows by: kthread-cpus generate DIR\n\
         \n\
         ===========================================================\n\
         What runs on CPUs that are not for it, why, and what helps\n\
         ===========================================================\n\
         \n\
         ``kthread-cpus watch`` and ``report`` name what ran on the CPUs outside of the list, and tell of\n\
         each what is below. The first line that fits counts. ``N`` stands for a number, ``*`` for anything,\n\
         and LIST for the CPUs that kernel threads are meant for.\n",
    );

    for kind in Kind::ALL {
        let heading = match kind {
            Kind::Thread => "Kernel threads",
            Kind::Work => "Work items, by function or workqueue",
            Kind::Softirq => "Softirqs",
            Kind::Timer => "Timers, by function",
            Kind::Irq => "Interrupts of devices, by the name of the handler",
            Kind::Vector => "Interrupts of the CPU itself",
            Kind::Call => "Calls from other CPUs (IPIs), by function",
            Kind::Nmi => "Non-maskable interrupts, by handler",
        };
        let _ = write!(
            out,
            "\n{heading}\n{}\n\n.. list-table::\n   :header-rows: 1\n   :widths: 25 35 40\n\n   \
             * - What\n     - Why it may be there\n     - What moves it\n",
            "=".repeat(heading.len())
        );
        let first = (kind == Kind::Work).then_some(&UNBOUND);
        let rows = rows().filter(|row| row.kind == kind);
        for row in first.into_iter().chain(rows) {
            line(&mut out, row);
        }
        if kind == Kind::Thread {
            for (what, row) in [
                ("any that is free to move", &STEERED),
                ("any other that each CPU has", &PER_CPU),
                ("any other that is bound", &BOUND),
            ] {
                line_of(&mut out, what, row);
            }
        }
    }
    out
}

fn line(out: &mut String, row: &Row) {
    let mut what = String::new();

    names(&mut what, row);
    line_of(out, &what, row);
}

fn line_of(out: &mut String, what: &str, row: &Row) {
    // The asterisk of a glob would begin emphasis.
    let remedy = row.remedy(None, "LIST", &[]).1.replace('*', "\\*");

    let _ = write!(out, "   * - {what}\n     - {}\n     - {remedy}\n", row.why);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_that_of_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/causes.rst");
        let file = std::fs::read_to_string(path).unwrap_or_default();

        assert!(
            file == document(),
            "causes.rst is not what the table says; run: kthread-cpus generate DIR, and copy it"
        );
    }
}
