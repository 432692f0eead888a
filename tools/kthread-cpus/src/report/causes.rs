// SPDX-License-Identifier: GPL-2.0

//! The part of the page about what ran on the CPUs outside: causes, remedies, and the worst times.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{begin_section, Part, Text};
use crate::{
    cause::{text::culprit, Account, Cause, Disturbance, Kind},
    output::duration,
    recording::Recording,
};

/// A page with more is read by nobody.
const MOST: usize = 200;
/// As many are seen at once, and on paper.
const MOST_SEEN: usize = 50;
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
    begin_section(page, "What disturbed the other CPUs, and what helps");
    match parts {
        [before, after] => compare(page, before, after),
        parts => parts
            .iter()
            .for_each(|part| causes(page, &part.recording.account)),
    }
    put!(page, "</section>");
    begin_section(page, "The worst disturbances");
    put!(page, "<div class=\"{pair}\">");
    // By the same scale, one can be compared with the other.
    let all = parts.iter().flat_map(|part| &part.recording.account.worst);
    let most = all.map(|worst| worst.ns).max().unwrap_or(1).max(1);
    for part in parts {
        worst(page, part, most);
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
        match cause.cpus.len() {
            _ if places.ends_with("CPUs") => "",
            1 => "CPU ",
            _ => "CPUs ",
        },
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
            "<p class=\"soft\">And {} more, for less time still.</p>",
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
        let (label, time) = match label {
            "" => (String::new(), "Time"),
            label => (format!("<b>{}</b>: ", Text(label)), "time"),
        };
        put!(
            page,
            "<p>{label}{time} by what moves it: {}</p>",
            by_means.join(", ")
        );
    }
}

/// Writes the heading of a number, which is beside it where the table has no room for columns.
fn number(page: &mut String, label: &str, class: &str, value: &str) {
    put!(
        page,
        "<td class=\"n{class}\" data-label=\"{label}\">{value}</td>"
    );
}

/// A table of which the first rows are seen at once, and the others when they are asked for.
fn table<T>(page: &mut String, heading: &str, rows: &[T], row: impl Fn(&mut String, &T)) {
    let rows = &rows[..rows.len().min(MOST)];
    let (seen, folded) = rows.split_at(rows.len().min(MOST_SEEN));

    put!(page, "{heading}");
    seen.iter().for_each(|one| row(page, one));
    put!(page, "</tbody></table>");
    if !folded.is_empty() {
        put!(
            page,
            "<details><summary>{} more, for less time</summary>{heading}",
            folded.len()
        );
        folded.iter().for_each(|one| row(page, one));
        put!(page, "</tbody></table></details>");
    }
}

/// The causes of one recording.
fn causes(page: &mut String, account: &Account) {
    put!(page, "<div class=\"card\">");
    means(page, "", account);
    let heading = "<table class=\"causes\"><thead><tr><th>What</th><th class=\"n\">Times</th>\
                   <th class=\"n\">Longest</th><th class=\"n\">Time</th><th>Why it may be there</th>\
                   <th>What moves it</th></tr></thead><tbody>";
    let row = |page: &mut String, cause: &Cause| {
        put!(page, "<tr>{}", what(cause));
        number(page, "Times", "", &cause.count.to_string());
        number(page, "Longest", "", &duration(cause.longest_ns));
        number(page, "Time", "", &duration(cause.ns));
        put!(page, "{}</tr>", advice(cause));
    };
    table(page, heading, &account.causes, row);
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
    let mut heading = String::from("<table class=\"causes compared\"><thead><tr><th></th>");
    for part in [before, after] {
        let label = Text(part.label);
        let _ = write!(heading, "<th class=\"first\" colspan=\"3\">{label}</th>");
    }
    heading.push_str("<th class=\"first\"></th><th></th><th></th></tr><tr><th>What</th>");
    let numbers = "<th class=\"n first\">Times</th><th class=\"n\">Longest</th>\
                   <th class=\"n\">Time per second</th>";
    heading.push_str(&numbers.repeat(2));
    heading.push_str(
        "<th class=\"first\">Change</th><th>Why it may be there</th><th>What moves it</th></tr></thead><tbody>",
    );
    let row = |page: &mut String, (old, new): &Pair<'_>| {
        let Some(any) = new.or(*old) else { return };
        let (words, class) = match (old, new) {
            (Some(_), None) => ("gone".to_owned(), "good"),
            (None, Some(_)) => ("new".to_owned(), "bad"),
            (Some(old), Some(new)) => {
                change(rate(old, before.recording), rate(new, after.recording))
            }
            (None, None) => return,
        };
        put!(page, "<tr>{}", what(any));
        for (cause, part) in [(old, before), (new, after)] {
            let times = format!("{}: times", Text(part.label));
            let Some(cause) = cause else {
                number(page, &times, " first soft", "–");
                put!(page, "<td></td><td></td>");
                continue;
            };
            number(page, &times, " first", &cause.count.to_string());
            number(page, "Longest", "", &duration(cause.longest_ns));
            let rate = duration(rate(cause, part.recording) as u64);
            number(page, "Time per second", "", &rate);
        }
        put!(
            page,
            "<td class=\"change first {class}\">{words}</td>{}</tr>",
            advice(any)
        );
    };
    table(page, &heading, &rows, row);
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
fn worst(page: &mut String, part: &Part<'_>, most: u64) {
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
    timeline(page, part, most);

    put!(
        page,
        "<table><tr><th class=\"n\">At</th><th class=\"n\">CPU</th><th class=\"n\">Took</th><th>What</th></tr>"
    );
    for worst in account.worst.iter().take(MOST_WORST) {
        // In their order; the one that counts is found at a glance.
        let longest = parts(account, worst).map(|(_, ns)| ns).max();
        let words: Vec<_> = parts(account, worst)
            .map(|(cause, ns)| {
                let words = format!("{} {} {}", cause.kind, cause.label(), duration(ns));
                match Some(ns) == longest {
                    true => format!("<b>{}</b>", Text(&words)),
                    false => Text(&words).to_string(),
                }
            })
            .collect();
        put!(
            page,
            "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"parts\">{}</td></tr>",
            duration(worst.at),
            worst.cpu,
            duration(worst.ns),
            words.join(", ")
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

/// Returns times of which there are a few in a recording, and that are easy to count in.
fn ticks(duration_ns: u64) -> impl Iterator<Item = u64> {
    const MOST: u64 = 8;
    const SECOND: u64 = 1_000_000_000;
    const LONG: [u64; 12] = [
        15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200,
    ];
    let short = (0..=10).flat_map(|power| [1, 2, 5].map(|step| step * 10_u64.pow(power)));
    let short = short.filter(|step| *step <= 10 * SECOND);
    let mut steps = short.chain(LONG.map(|step| step * SECOND));
    let step = steps
        .find(|step| duration_ns / step <= MOST)
        .unwrap_or_else(|| duration_ns.div_ceil(MOST * 86_400 * SECOND) * 86_400 * SECOND);

    (0..=duration_ns / step).map(move |tick| tick * step)
}

/// Returns a time in the largest unit in which it is a whole number.
fn whole(ns: u64) -> String {
    const UNITS: [(u64, &str); 6] = [
        (3_600_000_000_000, "h"),
        (60_000_000_000, "min"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "µs"),
        (1, "ns"),
    ];
    let unit = UNITS.into_iter().find(|(unit, _)| ns % unit == 0);

    match unit {
        Some((unit, name)) if ns > 0 => format!("{} {name}", ns / unit),
        _ => "0".to_owned(),
    }
}

fn timeline(page: &mut String, part: &Part<'_>, most: u64) {
    /// Above the rows, below them, and what a row is smaller than its place.
    const TOP: usize = 16;
    const BELOW: usize = 18;
    const GAP: usize = 2;
    let account = &part.recording.account;
    let mut rows: BTreeMap<u32, Vec<&Disturbance>> = BTreeMap::new();
    for worst in &account.worst {
        rows.entry(worst.cpu).or_default().push(worst);
    }
    let omitted = rows.len().saturating_sub(MOST_ROWS);
    let rows: Vec<_> = rows.into_iter().take(MOST_ROWS).collect();
    // A few CPUs have room for more than a line.
    let row = if rows.len() <= 8 { 32 } else { 16 };
    let bottom = TOP + rows.len() * row;
    let length = part.recording.duration_ns.max(1) as f64;

    // It is as wide as there is room for: across, all is in parts of the width of what is inside.
    put!(
        page,
        "<svg class=\"timeline\" width=\"100%\" height=\"{}\" role=\"group\" aria-label=\"The worst \
         disturbances by CPU and time\"><text class=\"soft\" x=\"34\" y=\"11\" text-anchor=\"end\">CPU</text>",
        bottom + BELOW
    );
    for (index, (cpu, _)) in rows.iter().enumerate() {
        put!(
            page,
            "<text x=\"34\" y=\"{}\" text-anchor=\"end\">{cpu}</text>",
            TOP + index * row + row / 2 + 3
        );
    }
    put!(page, "<svg class=\"plot\" x=\"40\">");
    for index in 0..rows.len() {
        put!(
            page,
            "<rect class=\"bg\" y=\"{}\" width=\"100%\" height=\"{}\"/>",
            TOP + index * row,
            row - GAP
        );
    }
    for tick in ticks(part.recording.duration_ns) {
        let at = tick as f64 / length * 100.0;
        let anchor = match at {
            at if at <= 0.0 => "start",
            at if at > 96.0 => "end",
            _ => "middle",
        };
        put!(
            page,
            "<line x1=\"{at:.2}%\" x2=\"{at:.2}%\" y1=\"{TOP}\" y2=\"{bottom}\"/><text class=\"soft\" \
             x=\"{at:.2}%\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            bottom + BELOW - 4,
            whole(tick)
        );
    }
    for (index, (cpu, list)) in rows.iter().enumerate() {
        for worst in list {
            let at = (worst.at as f64 / length).min(1.0) * 100.0;
            let share = worst.ns as f64 / length * 100.0;
            let width = match share {
                share if share < 0.5 => "3".to_owned(),
                share => format!("{:.2}%", share.min(100.0)),
            };
            // A microsecond of a minute cannot be seen: the height tells how long it took.
            let tall = (worst.ns as f64 / most as f64).sqrt().max(0.2) * (row - GAP) as f64;
            let longest = parts(account, worst).max_by_key(|(_, ns)| *ns);
            let kind = longest.map_or("thread", |(cause, _)| cause.kind.name());
            let words: String = parts(account, worst)
                .map(|(cause, ns)| format!("\n{} {}: {}", cause.kind, cause.label(), duration(ns)))
                .collect();
            put!(
                page,
                "<rect class=\"k-{kind}\" tabindex=\"0\" x=\"{at:.2}%\" y=\"{:.1}\" width=\"{width}\" \
                 height=\"{tall:.1}\" data-tip=\"{} on CPU {cpu}, at {}{}\"/>",
                (TOP + index * row + row - GAP) as f64 - tall,
                duration(worst.ns),
                duration(worst.at),
                Text(&words)
            );
        }
    }
    put!(page, "</svg></svg>");
    put!(page, "<div class=\"legend\">");
    for kind in Kind::ALL {
        put!(page, "<span><i class=\"k-{kind}\"></i>{kind}</span>");
    }
    put!(
        page,
        "<span>the higher, the longer: a whole row is {}, half a row a quarter of that</span></div>",
        duration(most)
    );
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
    fn a_timeline_has_a_few_times_that_are_easy_to_count_in() {
        let labels = |ns| ticks(ns).map(whole).collect::<Vec<_>>().join(" ");

        assert_eq!(labels(8_002_000_000), "0 1 s 2 s 3 s 4 s 5 s 6 s 7 s 8 s");
        assert_eq!(labels(60_000_000_000), "0 10 s 20 s 30 s 40 s 50 s 1 min");
        assert_eq!(
            labels(86_400_000_000_000),
            "0 3 h 6 h 9 h 12 h 15 h 18 h 21 h 24 h"
        );
        assert_eq!(labels(2_500_000), "0 500 µs 1 ms 1500 µs 2 ms 2500 µs");
        for ns in (0..64).map(|bits| 1_u64 << bits).chain([0, 1, u64::MAX]) {
            assert!((1..=9).contains(&ticks(ns).count()), "{ns}");
        }
    }

    #[test]
    fn changes_are_told() {
        assert_eq!(change(100.0, 5.0), ("-95 %".to_owned(), "good"));
        assert_eq!(change(100.0, 105.0).1, "soft");
        assert_eq!(change(100.0, 150.0), ("+50 %".to_owned(), "bad"));
        assert_eq!(change(100.0, 5000.0), ("× 50".to_owned(), "bad"));
        assert_eq!(change(0.0, 0.0).1, "soft");
    }
}
