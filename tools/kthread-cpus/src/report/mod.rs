// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus report`: a page that any browser shows, without a network.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::{self, Write as _},
    path::Path,
};

use crate::{
    check::{Outcome, Verdict},
    cli::{ReportArgs, TITLE},
    cpuset::{CpuSet, Named},
    error::{Error, Result},
    heatmap::{row_names, HeatMap, Kind},
    machine::Root,
    output::{self, duration},
    png,
    recording::{Recording, Thread},
    target::Obeys,
    threads::{families, Class},
};

const CSS: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// Text between tags or in an attribute.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' => f.write_char(c)?,
                c if c.is_control() => f.write_char('?')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A time since 1970 as a date.
fn date(seconds: u64) -> String {
    let days = seconds / 86_400;
    // The calendar repeats every 400 years; a year begins in March, so that a leap day is its last.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let (hour, minute) = (seconds % 86_400 / 3_600, seconds % 3_600 / 60);

    format!(
        "{:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC",
        era * 400 + year + carry
    )
}

/// A recording with the words that it is shown under.
struct Part<'a> {
    label: &'a str,
    recording: &'a Recording,
}

impl Part<'_> {
    /// Returns how many threads should not be where they may be.
    fn outside(&self) -> usize {
        let threads = self.recording.threads.iter();

        threads
            .filter(|thread| thread.verdict == Verdict::Outside)
            .count()
    }

    fn watched(&self) -> bool {
        self.recording.duration_ns > 0
    }
}

/// Writing to a string does not fail; this keeps that out of what is read.
macro_rules! put {
    ($page:expr, $($argument:tt)*) => {
        let _ = writeln!($page, $($argument)*);
    };
}

mod causes;

/// The numbers that tell whether it holds.
fn summary(page: &mut String, part: &Part<'_>) {
    let recording = part.recording;
    let (wrong, exempt) = recording.intrusions();
    let outside = part.outside();
    let far = recording.online.minus(&recording.cpus);
    let class = |bad: bool| if bad { "bad" } else { "good" };

    put!(page, "<div class=\"card\">");
    if !part.label.is_empty() {
        put!(page, "<h3>{}</h3>", Text(part.label));
    }
    put!(
        page,
        "<p>Kernel threads are meant for CPUs <b>{}</b> of {}, {}.</p>",
        Named(&recording.cpus),
        recording.possible,
        recording.source.words()
    );
    for note in &recording.notes {
        put!(page, "<p class=\"note\">{}</p>", Text(note));
    }
    put!(page, "<div class=\"numbers\">");
    put!(
        page,
        "<div><b class=\"{}\">{outside}</b>of {} kernel threads may run outside and should not</div>",
        class(outside > 0),
        recording.threads.len()
    );
    if part.watched() && !far.is_empty() {
        put!(
            page,
            "<div><b class=\"{}\">{}</b>intrusions for {} on CPUs {far}</div>",
            class(wrong.count > 0),
            wrong.count,
            duration(wrong.ns)
        );
        put!(
            page,
            "<div><b>{}</b>runs there for {} of threads that have to be there</div>",
            exempt.count,
            duration(exempt.ns)
        );
    }
    put!(page, "</div>");
    let started = date(recording.started);
    let watched = match part.watched() {
        true => format!("watched for {}", duration(recording.duration_ns)),
        false => "not watched: what it is like, not what ran".to_owned(),
    };
    put!(
        page,
        "<p class=\"soft\">Linux {}, {started}, {watched}.{}</p></div>",
        Text(&recording.kernel),
        match recording.lost {
            0 => String::new(),
            lost => format!(" At least {lost} events were lost."),
        }
    );
}

/// Returns the width of a cell: on most machines, all columns have room on a page.
fn cell_width(columns: usize) -> usize {
    match columns {
        0..=16 => 28,
        17..=32 => 18,
        33..=64 => 12,
        _ => 6,
    }
}

/// The heat map.
fn heat_map(page: &mut String, part: &Part<'_>, names: &[String]) {
    let map = HeatMap::new(part.recording, names);
    let recording = part.recording;

    put!(page, "<div class=\"card\">");
    if !part.label.is_empty() {
        put!(page, "<h3>{}</h3>", Text(part.label));
    }
    if !part.watched() || names.is_empty() {
        put!(
            page,
            "<p class=\"soft\">Nothing was watched. As root, record it with: <code>kthread-cpus watch --for \
             10s --record FILE</code></p></div>"
        );
        return;
    }

    let longest = map
        .rows
        .iter()
        .map(|row| row.name.chars().count().min(34))
        .max();
    let left = longest.unwrap_or(0) * 7 + 12;
    let cell = cell_width(map.columns.len());
    let top = 34;
    let width = left + map.columns.len() * cell + 8;
    let height = top + map.rows.len() * 18 + 4;
    put!(
        page,
        "<svg class=\"map\" style=\"min-width:{}px\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"group\" \
         aria-label=\"Time of each kernel thread on each CPU{}{}\">",
        // A little smaller, it can still be read.
        width * 7 / 10,
        if part.label.is_empty() { "" } else { ", " },
        Text(part.label)
    );
    put!(
        page,
        "<text class=\"soft\" x=\"{}\" y=\"12\" text-anchor=\"end\">CPU</text>",
        left - 6
    );
    // As many numbers as there is room for.
    let digits = |cpus: &CpuSet| cpus.first().unwrap_or_default().to_string().len();
    let longest = map.columns.iter().map(|column| digits(&column.cpus)).max();
    let step = (longest.unwrap_or(1) * 7 + 3).div_ceil(cell);
    for (index, column) in map.columns.iter().enumerate() {
        let x = left + index * cell;
        let inside = if column.inside { " inside" } else { "" };
        put!(
            page,
            "<rect class=\"bg{inside}\" x=\"{x}\" y=\"{top}\" width=\"{}\" height=\"{}\"/>",
            cell - 1,
            map.rows.len() * 18
        );
        if column.inside {
            put!(
                page,
                "<rect class=\"in\" x=\"{x}\" y=\"{}\" width=\"{cell}\" height=\"3\"/>",
                top - 6
            );
        }
        if index % step == 0 {
            put!(
                page,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                x + cell / 2,
                top - 11,
                column.cpus.first().unwrap_or_default()
            );
        }
    }
    for (number, row) in map.rows.iter().enumerate() {
        let y = top + number * 18;
        let short: String = match row.name.chars().count() {
            0..=34 => row.name.clone(),
            _ => row.name.chars().take(33).chain(['…']).collect(),
        };
        let faint = if row.threads == 0 {
            " class=\"soft\""
        } else {
            ""
        };
        put!(
            page,
            "<text{faint} x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            left - 6,
            y + 13,
            Text(&short)
        );
        for (index, found) in row.cells.iter().enumerate() {
            let Some(found) = found else { continue };
            let column = &map.columns[index];
            let (class, words) = match found.kind {
                Kind::Inside => ("in", "where it is meant to be"),
                Kind::Exempt => ("exempt", "outside, and has to be there"),
                Kind::Outside => ("out", "outside, and should not be there"),
            };
            put!(
                page,
                "<rect class=\"{class}\" tabindex=\"0\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"16\" \
                 fill-opacity=\"{:.2}\" data-tip=\"{} on CPU {}&#10;{} in {} runs, {:.4} % of the time&#10;{words}\"/>",
                left + index * cell,
                y + 1,
                cell - 1,
                found.heat,
                Text(&row.name),
                column.cpus,
                duration(found.ns),
                found.count,
                found.ns as f64 * 100.0
                    / (recording.duration_ns.max(1) as f64 * column.cpus.len() as f64),
            );
        }
    }
    put!(page, "</svg>");
    if map.omitted > 0 {
        put!(
            page,
            "<p class=\"soft\">{} more threads ran, for less time.</p>",
            map.omitted
        );
    }
    let several = match map.columns.first().map_or(1, |column| column.cpus.len()) {
        1 => String::new(),
        cpus => format!("<span>a column is {cpus} CPUs</span>"),
    };
    put!(
        page,
        "<div class=\"legend\"><span><i style=\"background:var(--in)\"></i>on a CPU for kernel threads</span>\
         <span><i style=\"background:var(--out)\"></i>outside, and should not be there</span>\
         <span><i style=\"background:var(--exempt)\"></i>outside, and has to be there</span>\
         <span>the stronger the colour, the more time, from a millionth to all of it</span>{several}</div></div>"
    );
}

/// The CPUs by node and core.
fn topology(page: &mut String, part: &Part<'_>) {
    let recording = part.recording;
    let mut hits: HashMap<u32, (u64, u64)> = HashMap::new();
    for thread in &recording.threads {
        for run in &thread.runs {
            let wrong = thread.class.is_steered() && !recording.cpus.contains(run.cpu);
            let hit = hits.entry(run.cpu).or_default();
            if wrong {
                hit.0 = hit.0.saturating_add(run.count);
            }
            hit.1 = hit.1.saturating_add(run.ns);
        }
    }
    let mut nodes: BTreeMap<Option<u32>, Vec<_>> = BTreeMap::new();
    for core in &recording.topology.cores {
        nodes.entry(core.node).or_default().push(core);
    }

    put!(page, "<div class=\"card\">");
    if !part.label.is_empty() {
        put!(page, "<h3>{}</h3>", Text(part.label));
    }
    put!(page, "<div class=\"nodes\">");
    for (node, cores) in nodes {
        let name = node.map_or_else(|| "offline".to_owned(), |node| format!("node {node}"));
        put!(
            page,
            "<div class=\"node\"><p class=\"soft\">{name}</p><div class=\"cores\">"
        );
        for core in cores {
            put!(page, "<div class=\"core\">");
            for cpu in core.cpus.iter() {
                let (intrusions, ns) = hits.get(&cpu).copied().unwrap_or_default();
                let inside = recording.cpus.contains(cpu);
                let online = recording.online.contains(cpu);
                let isolated = recording.isolated.contains(cpu);
                let classes = [
                    (inside, " inside"),
                    (intrusions > 0, " hit"),
                    (!online, " offline"),
                ];
                let classes: String = classes.iter().filter(|c| c.0).map(|c| c.1).collect();
                put!(
                    page,
                    "<span class=\"cpu{classes}\" data-tip=\"CPU {cpu}{}{}{}&#10;shares its last cache with {}{}\">{cpu}</span>",
                    if inside { ", for kernel threads" } else { "" },
                    if isolated { ", isolated" } else { "" },
                    if online { "" } else { ", offline" },
                    core.cache,
                    match part.watched() {
                        true => format!(
                            "&#10;kernel threads ran for {}, {intrusions} intrusions",
                            duration(ns)
                        ),
                        false => String::new(),
                    }
                );
            }
            put!(page, "</div>");
        }
        put!(page, "</div></div>");
    }
    put!(
        page,
        "</div><div class=\"legend\"><span>a box is a core, with its hardware threads</span>\
         <span><i style=\"background:var(--in)\"></i>for kernel threads</span>\
         <span><i style=\"background:var(--out)\"></i>underlined: intrusions were seen</span>\
         <span><s>offline</s></span></div></div>"
    );
}

/// A set as a strip, CPU by CPU. What is outside may be wrong there, or not.
fn strip(set: &CpuSet, recording: &Recording, wrong: bool) -> String {
    let count = recording.possible.last().map_or(1, |last| last + 1);
    let width = 240.0 / f64::from(count);
    let mut text = String::from(
        "<svg class=\"strip\" viewBox=\"0 0 240 12\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <rect class=\"bg\" width=\"240\" height=\"12\"/>",
    );
    let mut cpus = set.and(&recording.possible).iter().collect::<Vec<_>>();
    cpus.retain(|cpu| *cpu < count);
    // Neighbours of the same kind are one box.
    let mut index = 0;
    while index < cpus.len() {
        let first = cpus[index];
        let inside = recording.cpus.contains(first);
        let mut last = first;
        while cpus.get(index + 1) == Some(&(last + 1))
            && recording.cpus.contains(last + 1) == inside
        {
            index += 1;
            last += 1;
        }
        index += 1;
        let _ = write!(
            text,
            "<rect class=\"{}\" x=\"{:.2}\" width=\"{:.2}\" height=\"12\"/>",
            match (inside, wrong) {
                (true, _) => "in",
                (false, true) => "out",
                (false, false) => "exempt",
            },
            f64::from(first) * width,
            f64::from(last - first + 1) * width
        );
    }
    text + "</svg>"
}

/// Where threads may run, those with the same mask together.
fn masks(page: &mut String, part: &Part<'_>) {
    let recording = part.recording;
    let mut groups: BTreeMap<(Class, Option<&CpuSet>), Vec<&str>> = BTreeMap::new();
    for thread in recording
        .threads
        .iter()
        .filter(|thread| thread.class != Class::PerCpu)
    {
        let key = (thread.class, thread.allowed.as_ref());
        groups.entry(key).or_default().push(&thread.name);
    }
    let per_cpu = recording
        .threads
        .iter()
        .filter(|thread| thread.class == Class::PerCpu);
    let per_cpu: Vec<_> = per_cpu.map(|thread| &*thread.name).collect();

    put!(page, "<div class=\"card\">");
    if !part.label.is_empty() {
        put!(page, "<h3>{}</h3>", Text(part.label));
    }
    put!(
        page,
        "<table><tr><th>What</th><th>May run on</th><th class=\"strips\"></th><th class=\"n\">Threads</th></tr>"
    );
    for setting in &recording.settings {
        let class = match (setting.outside, setting.counts) {
            (true, true) => "bad",
            (true, false) => "note",
            _ => "",
        };
        put!(
            page,
            "<tr><td>{}</td><td class=\"{class}\">{}</td><td class=\"strips\">{}</td><td></td></tr>",
            Text(&setting.name),
            Named(&setting.cpus),
            strip(&setting.cpus, recording, setting.counts)
        );
    }
    for ((class, allowed), names) in groups {
        let (list, strip, bad) = match allowed {
            Some(allowed) => (
                Named(allowed).to_string(),
                strip(allowed, recording, class.is_steered()),
                class.is_steered() && !allowed.and(&recording.possible).is_subset(&recording.cpus),
            ),
            None => ("?".to_owned(), String::new(), false),
        };
        put!(
            page,
            "<tr><td class=\"names\">{class}<br><span class=\"soft\">{}</span></td><td class=\"{}\">{list}</td><td class=\"strips\">{strip}</td>\
             <td class=\"n\">{}</td></tr>",
            Text(&shorten(&families(names.iter().copied()), 240)),
            if bad { "bad" } else { "" },
            names.len()
        );
    }
    put!(
        page,
        "<tr><td>per-cpu<br><span class=\"soft\">{}</span></td><td>each its own CPU</td><td class=\"strips\"></td>\
         <td class=\"n\">{}</td></tr></table></div>",
        Text(&shorten(&families(per_cpu.iter().copied()), 240)),
        per_cpu.len()
    );
}

/// Cuts a list of names after `most` letters, when nobody would read it to its end.
fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let cut: String = text.chars().take(most).collect();

    format!(
        "{}, …",
        cut.rsplit_once(", ").map_or(&*cut, |(head, _)| head)
    )
}

/// What is outside, and what to do.
fn findings(page: &mut String, part: &Part<'_>) {
    /// A page with more is read by nobody.
    const MOST: usize = 200;
    let recording = part.recording;
    // Those of which there is the same to say as of the first of them.
    let mut groups: Vec<(&Thread, Vec<&str>)> = Vec::new();
    for thread in recording
        .threads
        .iter()
        .filter(|thread| matches!(thread.verdict, Verdict::Outside | Verdict::Unknown))
    {
        let same = |(first, _): &&mut (&Thread, Vec<&str>)| {
            (&first.reason, &first.allowed) == (&thread.reason, &thread.allowed)
        };
        match groups.iter_mut().find(same) {
            Some((_, names)) => names.push(&thread.name),
            None => groups.push((thread, vec![&thread.name])),
        }
    }

    put!(page, "<div class=\"card\">");
    if !part.label.is_empty() {
        put!(page, "<h3>{}</h3>", Text(part.label));
    }
    if groups.is_empty() {
        put!(
            page,
            "<p class=\"good\">No kernel thread may run outside that should not.</p>"
        );
    } else {
        put!(
            page,
            "<table class=\"findings\"><tr><th>Outside</th><th class=\"n\">Threads</th><th>May run on</th><th>Why</th></tr>"
        );
        for (first, names) in groups.iter().take(MOST) {
            let allowed = first.allowed.as_ref();
            put!(
                page,
                "<tr><td class=\"names\">{}</td><td class=\"n\">{}</td><td class=\"bad\">{}</td><td>{}</td></tr>",
                Text(&shorten(&families(names.iter().copied()), 2000)),
                names.len(),
                allowed.map_or_else(|| "?".to_owned(), |cpus| Named(cpus).to_string()),
                Text(&first.reason)
            );
        }
        put!(page, "</table>");
        if groups.len() > MOST {
            put!(
                page,
                "<p class=\"soft\">And {} more kinds.</p>",
                groups.len() - MOST
            );
        }
    }
    if !recording.advice.is_empty() {
        put!(page, "<h3 style=\"margin-top:1rem\">What to do</h3><ul>");
        for line in &recording.advice {
            put!(page, "<li>{}</li>", Text(line));
        }
        put!(page, "</ul>");
    }
    put!(
        page,
        "<p class=\"soft\">Kernel command line: <code>{}</code></p>",
        Text(&recording.cmdline)
    );
    let obeys = match recording.obeys {
        Obeys::Yes => "This kernel obeys <code>kthread_cpus=</code>.",
        Obeys::Partly => {
            "This kernel obeys <code>kthread_cpus=</code> for kernel threads, but not for workqueues."
        }
        Obeys::No => "This kernel does not obey its <code>kthread_cpus=</code>.",
        Obeys::Unknown => {
            "Whether this kernel knows <code>kthread_cpus=</code> makes no difference here."
        }
    };
    put!(
        page,
        "<p class=\"soft\">{obeys} Isolated CPUs: {}; without a tick: {}.</p></div>",
        Named(&recording.isolated),
        Named(&recording.nohz_full)
    );
}

/// Returns what a heading is called in an address.
fn anchor(heading: &str) -> String {
    let words = heading.split(|c: char| !c.is_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();

    words.join("-").to_lowercase()
}

/// Begins a section.
fn begin_section(page: &mut String, heading: &str) {
    put!(
        page,
        "<section id=\"{}\"><h2>{heading}</h2>",
        anchor(heading)
    );
}

/// Makes the page.
fn render(title: &str, parts: &[Part<'_>]) -> String {
    let recordings: Vec<_> = parts.iter().map(|part| part.recording).collect();
    let names = row_names(&recordings);
    let pair = if parts.len() > 1 { "pair two" } else { "pair" };
    // Side by side, nobody would see the most of wide ones.
    let wide = recordings.iter().any(|one| one.online.len() > 16);
    let maps = if wide { "pair" } else { pair };
    let mut body = String::new();
    let section = |body: &mut String,
                   heading: &str,
                   pair: &str,
                   write: &mut dyn FnMut(&mut String, &Part<'_>)| {
        begin_section(body, heading);
        put!(body, "<div class=\"{pair}\">");
        for part in parts {
            write(body, part);
        }
        put!(body, "</div></section>");
    };

    section(&mut body, "In short", pair, &mut summary);
    section(&mut body, "What ran where", maps, &mut |page, part| {
        heat_map(page, part, &names);
    });
    causes::write(&mut body, parts, pair);
    section(&mut body, "Where it may run", pair, &mut masks);
    section(&mut body, "The machine", pair, &mut topology);
    section(&mut body, "Findings and advice", pair, &mut findings);

    // Of machines with many causes, the advice is far down.
    let headings = body.split("<h2>").skip(1);
    let links: String = headings
        .filter_map(|rest| rest.split_once("</h2>"))
        .map(|(heading, _)| format!("<a href=\"#{}\">{heading}</a> ", anchor(heading)))
        .collect();
    let title = Text(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
         style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>\n{CSS}</style>\n</head>\n<body>\n\
         <h1>{title}</h1>\n<nav aria-label=\"Sections\">{links}</nav>\n<main>\n{body}</main>\n\
         <div id=\"tip\" hidden></div>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

/// Writes the page of one recording.
///
/// # Errors
///
/// Those of the file.
pub fn write_page(path: &Path, recording: &Recording) -> Result<()> {
    let part = Part {
        label: "",
        recording,
    };
    let page = render(TITLE, &[part]);

    output::write_to(Some(path), |out| Ok(out.write_all(page.as_bytes())?))
}

/// Runs the command.
///
/// # Errors
///
/// When a recording cannot be read or a file cannot be written.
pub fn run(root: &Root, args: &ReportArgs) -> Result<()> {
    let recordings = match (&args.recording, &args.before, &args.after) {
        (_, Some(before), Some(after)) => {
            vec![
                ("Before", Recording::load(before)?),
                ("After", Recording::load(after)?),
            ]
        }
        (Some(path), ..) => vec![("", Recording::load(path)?)],
        _ => {
            let outcome = Outcome::find(root, None, false)?;
            vec![("", Recording::new(root, &outcome))]
        }
    };
    let parts: Vec<_> = recordings
        .iter()
        .map(|(label, recording)| Part { label, recording })
        .collect();

    if let Some(path) = &args.output {
        let page = render(&args.title, &parts);
        output::write_to(Some(path), |out| Ok(out.write_all(page.as_bytes())?))?;
    }
    if let Some(path) = &args.png {
        if parts.iter().all(|part| !part.watched()) {
            return Err(Error::new(
                "there is no heat map of what was not watched; record it with: kthread-cpus watch --for 10s \
                 --record FILE",
            ));
        }
        let all: Vec<_> = parts.iter().map(|part| part.recording).collect();
        let names = row_names(&all);
        let maps: Vec<_> = parts
            .iter()
            .map(|part| (part.label, HeatMap::new(part.recording, &names)))
            .collect();
        output::write_to(Some(path), |out| png::write(out, &maps))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_795_216_852), "2026-11-20 23:20 UTC");
    }

    #[test]
    fn nothing_gets_out_of_its_place() {
        assert_eq!(
            Text("<script>\"'&\x1b").to_string(),
            "&lt;script&gt;&quot;&#39;&amp;?"
        );
    }
}
