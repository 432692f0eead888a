// SPDX-License-Identifier: GPL-2.0

//! The part of the page about what ran on the CPUs outside: causes, remedies, and the worst times.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Part, Text};
use crate::{
    cause::{text::culprit, Account, Cause, Disturbance, Kind},
    output::duration,
    recording::Recording,
};

/// A page with more is read by nobody.
const MOST: usize = 200;
/// As many of the worst have a line of their own.
const MOST_WORST: usize = 10;
/// As many CPUs have a row in the timeline.
const MOST_ROWS: usize = 64;

/// Writes the section, unless there is nothing to say.
pub(super) fn write(page: &mut String, parts: &[Part<'_>], pair: &str) {
    let all = parts.iter().map(|part| &part.recording.account);

    if all.clone().all(|account| account.causes.is_empty()) {
        return;
    }
    put!(
        page,
        "<section><h2>What disturbed the other CPUs, and what helps</h2>"
    );
    match parts {
        [before, after] => compare(page, before, after),
        parts => parts
            .iter()
            .for_each(|part| causes(page, &part.recording.account)),
    }
    put!(
        page,
        "</section><section><h2>The worst disturbances</h2><div class=\"{pair}\">"
    );
    for part in parts {
        worst(page, part);
    }
    put!(page, "</div></section>");
}

/// What a cause is, and on which CPUs it was.
fn what(cause: &Cause) -> String {
    let places = cause.places();

    format!(
        "<td class=\"what\"><span class=\"kind {kind}\">{kind}</span> {}<br><span class=\"soft\" data-tip=\"on CPUs {}\">{}{}</span></td>",
        Text(&cause.label()),
        cause.on(),
        if places.ends_with("CPUs") { "" } else { "CPU " },
        places,
        kind = cause.kind,
    )
}

/// Why it may be there, what moves it, and who wanted it how often.
fn advice(cause: &Cause) -> String {
    let mut origins = String::new();
    for origin in &cause.origins {
        let _ = write!(
            origins,
            "<li>{} × {}",
            origin.count,
            Text(&origin.to_string())
        );
        if !origin.stack.is_empty() {
            let stack = origin.stack.join("\n");
            let _ = write!(origins, "<pre>{}</pre>", Text(&stack));
        }
        origins.push_str("</li>");
    }
    if cause.others > 0 {
        let _ = write!(origins, "<li>{} × others</li>", cause.others);
    }
    if !origins.is_empty() {
        let first = Text(&culprit(cause)).to_string();
        origins = format!(
            "<details><summary>{} {first}</summary><ul>{origins}</ul></details>",
            cause.kind.verb()
        );
    }

    format!(
        "<td class=\"why\">{}{origins}</td><td class=\"moves\"><b>{}</b><br>{}</td>",
        Text(&cause.why),
        cause.means.name(),
        Text(&cause.remedy)
    )
}

/// What cannot be told.
fn missing(page: &mut String, account: &Account) {
    for line in &account.missing {
        put!(page, "<p class=\"soft\">{}.</p>", Text(line));
    }
}

fn rest(page: &mut String, count: usize) {
    if count > MOST {
        put!(
            page,
            "<p class=\"soft\">And {} more, for less time.</p>",
            count - MOST
        );
    }
}

/// How much time each kind of remedy would move.
fn means(page: &mut String, label: &str, account: &Account) {
    let by_means: Vec<_> = account
        .by_means()
        .into_iter()
        .map(|(means, ns)| format!("{} <b>{}</b>", means.name(), duration(ns)))
        .collect();

    if !by_means.is_empty() {
        let (label, colon) = (Text(label), if label.is_empty() { "" } else { ": " });
        put!(
            page,
            "<p>{label}{colon}time by what moves it: {}</p>",
            by_means.join(", ")
        );
    }
}

/// The causes of one recording.
fn causes(page: &mut String, account: &Account) {
    put!(page, "<div class=\"card\">");
    means(page, "", account);
    put!(
        page,
        "<table class=\"causes\"><tr><th>What</th><th class=\"n\">Times</th>\
         <th class=\"n\">Longest</th><th class=\"n\">Time</th><th>Why it may be there</th><th>What moves it</th></tr>"
    );
    for cause in account.causes.iter().take(MOST) {
        put!(
            page,
            "<tr>{}<td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>{}</tr>",
            what(cause),
            cause.count,
            duration(cause.longest_ns),
            duration(cause.ns),
            advice(cause)
        );
    }
    put!(page, "</table>");
    rest(page, account.causes.len());
    missing(page, account);
    put!(page, "</div>");
}

/// Time for each second of the recording, in nanoseconds.
fn rate(cause: &Cause, recording: &Recording) -> f64 {
    cause.ns as f64 * 1e9 / recording.duration_ns.max(1) as f64
}

/// What has become of a cause, in a word or two, and whether that is good, if it is much.
fn change(before: f64, after: f64) -> (String, &'static str) {
    let share = (after - before) / before.max(f64::MIN_POSITIVE) * 100.0;

    match share {
        share if share < -10.0 => (format!("{share:.0} %"), "good"),
        share if share > 1000.0 => (format!("× {:.0}", share / 100.0 + 1.0), "bad"),
        share if share > 10.0 => (format!("+{share:.0} %"), "bad"),
        _ => ("the same".to_owned(), "soft"),
    }
}

/// A cause in two recordings, or one of them.
type Pair<'a> = (Option<&'a Cause>, Option<&'a Cause>);

/// Returns the causes of two recordings side by side, those that took most time first.
fn joined<'a>(before: &'a Account, after: &'a Account) -> Vec<Pair<'a>> {
    let mut rows: BTreeMap<(Kind, &str, &str), Pair<'_>> = BTreeMap::new();
    let key = |cause: &'a Cause| (cause.kind, &*cause.name, &*cause.detail);

    for cause in &before.causes {
        rows.entry(key(cause)).or_default().0 = Some(cause);
    }
    for cause in &after.causes {
        rows.entry(key(cause)).or_default().1 = Some(cause);
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    rows.sort_by_key(|(before, after)| {
        let ns = |cause: &Option<&Cause>| cause.map_or(0, |cause| cause.ns);
        std::cmp::Reverse(ns(before).max(ns(after)))
    });
    rows
}

/// The causes of two recordings.
fn compare(page: &mut String, before: &Part<'_>, after: &Part<'_>) {
    let rows = joined(&before.recording.account, &after.recording.account);

    put!(page, "<div class=\"card\">");
    for part in [before, after] {
        means(page, part.label, &part.recording.account);
    }
    put!(page, "<table class=\"causes\"><tr><th></th>");
    for part in [before, after] {
        put!(
            page,
            "<th class=\"n\" colspan=\"3\">{}</th>",
            Text(part.label)
        );
    }
    put!(
        page,
        "<th></th><th></th><th></th></tr><tr><th>What</th>{}<th>Change</th><th>Why it may be there</th><th>What moves it</th></tr>",
        "<th class=\"n\">Times</th><th class=\"n\">Longest</th><th class=\"n\">Time / s</th>".repeat(2)
    );
    for (old, new) in rows.iter().take(MOST) {
        let Some(any) = new.or(*old) else { continue };
        let (words, class) = match (old, new) {
            (Some(_), None) => ("gone".to_owned(), "good"),
            (None, Some(_)) => ("new".to_owned(), "bad"),
            (Some(old), Some(new)) => {
                change(rate(old, before.recording), rate(new, after.recording))
            }
            (None, None) => continue,
        };
        put!(page, "<tr>{}", what(any));
        for (cause, part) in [(old, before), (new, after)] {
            match cause {
                Some(cause) => {
                    put!(
                        page,
                        "<td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>",
                        cause.count,
                        duration(cause.longest_ns),
                        duration(rate(cause, part.recording) as u64)
                    );
                }
                None => {
                    put!(page, "<td class=\"n soft\">–</td><td></td><td></td>");
                }
            }
        }
        put!(
            page,
            "<td class=\"{class}\">{words}</td>{}</tr>",
            advice(any)
        );
    }
    put!(page, "</table>");
    rest(page, rows.len());
    for part in [before, after] {
        if part.recording.account.causes.is_empty() && part.watched() {
            put!(
                page,
                "<p class=\"soft\">{}: nothing was seen there.</p>",
                Text(part.label)
            );
        }
    }
    missing(page, &after.recording.account);
    put!(page, "</div>");
}

/// Returns the parts of a disturbance with their causes; numbers that lead nowhere are left out.
fn parts<'a>(
    account: &'a Account,
    worst: &'a Disturbance,
) -> impl Iterator<Item = (&'a Cause, u64)> {
    let causes = &account.causes;

    worst
        .parts
        .iter()
        .filter_map(|part| Some((causes.get(part.cause)?, part.ns)))
}

/// A timeline of the worst disturbances, and the first of them in words.
fn worst(page: &mut String, part: &Part<'_>) {
    let account = &part.recording.account;

    put!(page, "<div class=\"card\">");
    if !part.label.is_empty() {
        put!(page, "<h3>{}</h3>", Text(part.label));
    }
    if account.worst.is_empty() {
        put!(
            page,
            "<p class=\"soft\">Nothing was seen on the CPUs outside.</p></div>"
        );
        return;
    }
    timeline(page, part);

    put!(
        page,
        "<table><tr><th class=\"n\">At</th><th class=\"n\">CPU</th><th class=\"n\">Took</th><th>What</th></tr>"
    );
    for worst in account.worst.iter().take(MOST_WORST) {
        let words: Vec<_> = parts(account, worst)
            .map(|(cause, ns)| format!("{} {} {}", cause.kind, cause.label(), duration(ns)))
            .collect();
        put!(
            page,
            "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            duration(worst.at),
            worst.cpu,
            duration(worst.ns),
            Text(&words.join(", "))
        );
    }
    put!(page, "</table>");
    let lost = account.noise.iter();
    let (count, ns) = lost.fold((0_u64, 0_u64), |(count, ns), noise| {
        (
            count.saturating_add(noise.count),
            ns.saturating_add(noise.ns),
        )
    });
    put!(
        page,
        "<p class=\"soft\">In all, {count} disturbances of {} CPUs took {}.</p></div>",
        account.noise.len(),
        duration(ns)
    );
}

fn timeline(page: &mut String, part: &Part<'_>) {
    const LEFT: usize = 40;
    const WIDTH: usize = 640;
    let account = &part.recording.account;
    let mut rows: BTreeMap<u32, Vec<&Disturbance>> = BTreeMap::new();
    for worst in &account.worst {
        rows.entry(worst.cpu).or_default().push(worst);
    }
    let omitted = rows.len().saturating_sub(MOST_ROWS);
    let rows: Vec<_> = rows.into_iter().take(MOST_ROWS).collect();
    // A few CPUs have room for more than a line.
    let row = if rows.len() <= 8 { 32 } else { 16 };
    let height = rows.len() * row + 18;
    let length = part.recording.duration_ns.max(1) as f64;
    let most = account
        .worst
        .iter()
        .map(|worst| worst.ns)
        .max()
        .unwrap_or(1)
        .max(1) as f64;

    put!(
        page,
        "<svg width=\"{}\" height=\"{height}\" viewBox=\"0 0 {} {height}\" role=\"img\" aria-label=\"The worst \
         disturbances by CPU and time\">",
        LEFT + WIDTH + 8,
        LEFT + WIDTH + 8
    );
    for (index, (cpu, list)) in rows.iter().enumerate() {
        let y = index * row;
        put!(
            page,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{cpu}</text><rect class=\"bg\" x=\"{LEFT}\" y=\"{y}\" \
             width=\"{WIDTH}\" height=\"{}\"/>",
            LEFT - 6,
            y + row / 2 + 4,
            row - 2
        );
        for worst in list {
            let x = LEFT as f64 + (worst.at as f64 / length).min(1.0) * WIDTH as f64;
            // A microsecond of a minute cannot be seen: the height tells how long it took.
            let tall = (worst.ns as f64 / most).sqrt().max(0.2) * (row - 2) as f64;
            let longest = parts(account, worst).max_by_key(|(_, ns)| *ns);
            let kind = longest.map_or("thread", |(cause, _)| cause.kind.name());
            let words: String = parts(account, worst)
                .map(|(cause, ns)| format!("\n{} {}: {}", cause.kind, cause.label(), duration(ns)))
                .collect();
            put!(
                page,
                "<rect class=\"k-{kind}\" tabindex=\"0\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" \
                 data-tip=\"{} on CPU {cpu}, at {}{}\"/>",
                y as f64 + (row - 2) as f64 - tall,
                (worst.ns as f64 / length * WIDTH as f64).clamp(3.0, WIDTH as f64),
                duration(worst.ns),
                duration(worst.at),
                Text(&words)
            );
        }
    }
    put!(
        page,
        "<text class=\"soft\" x=\"{LEFT}\" y=\"{}\">0</text><text class=\"soft\" x=\"{}\" y=\"{}\" \
         text-anchor=\"end\">{}</text></svg>",
        height - 4,
        LEFT + WIDTH,
        height - 4,
        duration(part.recording.duration_ns)
    );
    put!(page, "<div class=\"legend\">");
    for kind in Kind::ALL {
        put!(page, "<span><i class=\"k-{kind}\"></i>{kind}</span>");
    }
    put!(page, "<span>the higher, the longer</span></div>");
    if omitted > 0 {
        put!(
            page,
            "<p class=\"soft\">{omitted} more CPUs were disturbed.</p>"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told() {
        assert_eq!(change(100.0, 5.0), ("-95 %".to_owned(), "good"));
        assert_eq!(change(100.0, 105.0).1, "soft");
        assert_eq!(change(100.0, 150.0), ("+50 %".to_owned(), "bad"));
        assert_eq!(change(100.0, 5000.0), ("× 50".to_owned(), "bad"));
        assert_eq!(change(0.0, 0.0).1, "soft");
    }
}
