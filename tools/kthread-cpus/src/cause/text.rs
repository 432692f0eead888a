// SPDX-License-Identifier: GPL-2.0

//! The account for a person.

use std::io::Write;

use crate::{
    cause::{table::Means, Account, Cause},
    error::Result,
    output::{self, duration, left, right, Role, Style},
};

/// As many causes are told; the rest is in the JSON.
const MOST: usize = 40;

/// As many ways by which a cause came about are told; the page and the JSON have more.
const MOST_STACKS: usize = 3;

/// Returns who wanted it most often, in a few words.
pub fn culprit(cause: &Cause) -> String {
    match cause.origins.first() {
        None => String::new(),
        Some(first) => {
            let more = cause.origins.len() - 1;
            let others = match (more, cause.others) {
                (0, 0) => String::new(),
                (more, 0) => format!(", {more} more"),
                _ => ", many more".to_owned(),
            };
            format!("{first}{others}")
        }
    }
}

/// The role of a cause: what can be moved is worth a look, and what the option moves is wrong.
pub fn role(means: Means) -> Role {
    match means {
        Means::Option => Role::Bad,
        Means::Nature => Role::Plain,
        _ => Role::Notable,
    }
}

/// Writes what ran, why, and what helps.
///
/// # Errors
///
/// Those of the output.
pub fn write(out: &mut dyn Write, account: &Account, style: Style) -> Result<()> {
    if account.causes.is_empty() {
        return Ok(());
    }
    let shown = &account.causes[..account.causes.len().min(MOST)];
    let columns = [
        left("KIND"),
        left("WHAT"),
        left("ON"),
        right("TIMES"),
        right("LONGEST"),
        right("TIME"),
        left("MOVED BY"),
        left("WANTED BY"),
    ];

    writeln!(out)?;
    output::table(
        out,
        style,
        &columns,
        shown.len(),
        |row, column, text| {
            let cause = &shown[row];
            text.push_str(&match column {
                0 => cause.kind.to_string(),
                1 => cause.label(),
                2 => cause.places(),
                3 => cause.count.to_string(),
                4 => duration(cause.longest_ns),
                5 => duration(cause.ns),
                6 => cause.means.name().to_owned(),
                _ => culprit(cause),
            });
        },
        |row| role(shown[row].means),
    )?;
    if account.causes.len() > shown.len() {
        let more = account.causes.len() - shown.len();
        writeln!(out, "and {more} more, for less time")?;
    }

    let by_means = account.by_means().into_iter();
    let by_means: Vec<_> = by_means
        .map(|(means, ns)| format!("{} {}", means.name(), duration(ns)))
        .collect();
    writeln!(out, "time by what moves it: {}", by_means.join(", "))?;

    writeln!(
        out,
        "\n{}",
        style.paint(Role::Heading, "Why, and what helps")
    )?;
    // What there is the same to say of is together.
    let mut told: Vec<(&Cause, Vec<String>)> = Vec::new();
    for cause in shown {
        let same = |(first, _): &&mut (&Cause, Vec<String>)| {
            (&first.why, &first.remedy) == (&cause.why, &cause.remedy)
        };
        let name = format!("{} {}", cause.kind, cause.label());
        match told.iter_mut().find(same) {
            Some((_, names)) => names.push(name),
            None => told.push((cause, vec![name])),
        }
    }
    for (cause, names) in told {
        writeln!(out, "{}", style.paint(role(cause.means), &names.join(", ")))?;
        writeln!(out, "    {}", cause.why)?;
        writeln!(out, "    -> {}", cause.remedy)?;
        for origin in cause
            .origins
            .iter()
            .filter(|origin| !origin.stack.is_empty())
            .take(MOST_STACKS)
        {
            let times = origin.count;
            writeln!(
                out,
                "    {times} times by {origin}: {}",
                origin.stack.join(" < ")
            )?;
        }
    }
    if let Some(worst) = account.worst.first() {
        let parts: Vec<_> = worst
            .parts
            .iter()
            .filter_map(|part| {
                let cause = account.causes.get(part.cause)?;
                Some(format!(
                    "{} {} {}",
                    cause.kind,
                    cause.label(),
                    duration(part.ns)
                ))
            })
            .collect();
        writeln!(
            out,
            "\nthe worst at once: {} on CPU {}, {} after the beginning: {}",
            duration(worst.ns),
            worst.cpu,
            duration(worst.at),
            parts.join(", ")
        )?;
    }
    for missing in &account.missing {
        writeln!(out, "{}", style.paint(Role::Faint, missing))?;
    }
    Ok(())
}
