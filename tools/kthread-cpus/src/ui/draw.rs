// SPDX-License-Identifier: GPL-2.0

//! Draws what is shown, on a terminal of any size.

use std::collections::HashMap;

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Cell, Clear, Paragraph, Row, Table, Widget, Wrap},
    Frame,
};

use super::{
    columns::{self, help_line, Column, KEYS, SCALE},
    view::{Scroll, Tab, View},
};
use crate::{
    cause::{text::role, Cause},
    output::{duration, span, Role},
    recording::Recording,
    runs::{self, totals},
};

/// Below this height there are no details unless they are asked for, and below the others no CPUs.
const HEIGHT_OF_DETAILS: u16 = 16;
const HEIGHT_OF_CPUS: u16 = 12;
const HEIGHT_OF_CPUS_AND_DETAILS: u16 = 30;
/// What there is above, between and below the table and the details.
const HEIGHT_OF_REST: u16 = 3 + 1 + 3 + 1;

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, recording: &Recording, view: &mut View) {
    let area = frame.area();
    // Of thousands of CPUs, several must do with one cell.
    let room = match (area.height, view.details) {
        (..HEIGHT_OF_CPUS, _) | (..HEIGHT_OF_CPUS_AND_DETAILS, true) => 0,
        (height, _) => height / 4 - 2,
    };
    let (title, cpus) = cpu_lines(recording, area.width.saturating_sub(2), room);
    let cpu_height = match cpus.len() {
        0 => 0,
        lines => u16::try_from(lines + 2).unwrap_or(u16::MAX),
    };
    let detail_height = match (area.height, view.details) {
        (height, true) => (height / 2).min(height.saturating_sub(HEIGHT_OF_REST)),
        (..HEIGHT_OF_DETAILS, false) => 0,
        (_, false) if area.width < 60 => 6,
        _ => 4,
    };
    let [head, middle, state, table, detail, foot] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(cpu_height),
        Constraint::Length(1),
        Constraint::Min(2),
        Constraint::Length(detail_height),
        Constraint::Length(1),
    ])
    .areas(area);

    draw_head(frame, head, recording, view);
    if cpu_height > 0 {
        let block = Block::bordered().title(title);
        frame.render_widget(Paragraph::new(cpus).block(block), middle);
    }
    let page = usize::from(table.height.saturating_sub(1));
    view.see(&recording.account.causes);
    let (shown, all, text) = match view.tab {
        Tab::Causes => {
            let causes = view.causes(recording);
            let key = |row: usize| format!("{} {}", causes[row].kind, causes[row].label());
            view.fit(causes.len(), page, key);
            let columns = columns::of_causes(area.width);
            draw_table(frame, table, view, &columns, &causes, |cause| {
                colour(role(cause.means))
            });
            let text = causes.get(view.selected).map(|cause| of_cause(cause, view));
            (causes.len(), recording.account.causes.len(), text)
        }
        Tab::Threads => {
            let threads = view.threads(recording);
            let thread = |row: usize| threads[row].thread;
            let key = |row: usize| format!("{} {}", thread(row).pid, thread(row).name);
            view.fit(threads.len(), page, key);
            let columns = columns::of_threads(area.width);
            let rows: Vec<_> = threads.iter().collect();
            draw_table(frame, table, view, &columns, &rows, |line| {
                colour(match (line.count_outside > 0, line.thread.class) {
                    (true, class) if class.is_steered() => Role::Bad,
                    (true, _) => Role::Notable,
                    _ => Role::Plain,
                })
            });
            let text = threads.get(view.selected).map(|line| of_thread(line));
            let ran = recording.threads.iter();
            let all = ran.filter(|thread| !thread.runs.is_empty()).count();
            (threads.len(), all, text)
        }
    };
    if shown == 0 {
        draw_nothing(frame, table, recording, all);
    }
    frame.render_widget(state_line(view, shown, all, area.width), state);
    if detail_height > 0 {
        draw_details(frame, detail, text, view);
    }
    draw_foot(frame, foot, view);
    if view.help {
        draw_help(frame, area, view);
    }
}

fn colour(role: Role) -> Color {
    match role {
        Role::Bad => Color::Red,
        Role::Notable => Color::Yellow,
        _ => Color::Reset,
    }
}

/// Returns the longest of the texts that fits, or the last one.
fn fitting<const N: usize>(texts: [String; N], width: usize) -> String {
    let mut texts = texts.into_iter().peekable();

    loop {
        match (texts.next(), texts.peek()) {
            (Some(text), Some(_)) if text.chars().count() > width => {}
            (text, _) => return text.unwrap_or_default(),
        }
    }
}

/// Returns what is watched.
fn watched(recording: &Recording, width: usize) -> String {
    let (span, cpus) = (span(recording.duration_ns), &recording.cpus);

    fitting(
        [
            format!(
                "kthread-cpus watch, {span}: CPUs {cpus} for kernel threads, {} switches",
                recording.switches
            ),
            format!("{span}: CPUs {cpus} for kernel threads"),
            format!("{span}: CPUs {cpus}"),
            format!("{span}: {} CPUs", cpus.len()),
        ],
        width,
    )
}

/// Returns what it comes to, in two lines. The numbers are there on any terminal, and with any list.
fn sums(recording: &Recording, width: usize) -> [String; 2] {
    let (bad, exempt) = recording.intrusions();
    let outside = recording.online.minus(&recording.cpus);
    let [wrong, rest] = totals(recording);

    if outside.is_empty() {
        return [wrong, rest];
    }
    let time = duration(bad.ns);
    [
        fitting(
            [
                wrong,
                format!(
                    "intrusions on {} CPUs: {} by kernel threads that should not ({time})",
                    outside.len(),
                    bad.count
                ),
                format!("{} by threads that should not ({time})", bad.count),
                format!("{} intrusions ({time})", bad.count),
            ],
            width,
        ),
        fitting(
            [
                rest,
                format!("{} that have to be ({})", exempt.count, duration(exempt.ns)),
            ],
            width,
        ),
    ]
}

/// What is watched, and what it comes to.
fn draw_head(frame: &mut Frame<'_>, area: Rect, recording: &Recording, view: &View) {
    let (bad, _) = recording.intrusions();
    let width = usize::from(area.width);
    let lost = match recording.lost {
        0 => String::new(),
        1 => ", 1 event lost".to_owned(),
        lost => format!(", {lost} events lost"),
    };
    // What follows it is old.
    let (paused, gap) = match view.paused {
        true => ("PAUSED", " "),
        false => ("", ""),
    };
    let rest = width.saturating_sub(paused.len() + gap.len() + lost.len());
    let first = vec![
        Span::styled(paused, Modifier::REVERSED),
        Span::raw(gap),
        Span::styled(watched(recording, rest), Modifier::BOLD),
        Span::styled(lost, Color::Yellow),
    ];
    let colour = if bad.count > 0 {
        Color::Red
    } else {
        Color::Green
    };
    let [wrong, exempt] = sums(recording, width);

    frame.render_widget(
        Paragraph::new(vec![
            Line::from(first),
            Line::styled(wrong, colour),
            Line::raw(exempt),
        ]),
        area,
    );
}

/// What kernel threads took of a CPU, or of the one of several of which they took most.
#[derive(Clone, Copy, Default)]
struct Busy {
    ns: u64,
    wrong: bool,
    exempt: bool,
}

impl Busy {
    fn add(self, other: Self) -> Self {
        Self {
            ns: self.ns.max(other.ns),
            wrong: self.wrong | other.wrong,
            exempt: self.exempt | other.exempt,
        }
    }

    /// Returns the bar for it, as `KEYS` explains them.
    fn bar(self, duration_ns: u64) -> char {
        match self.ns as f64 / duration_ns.max(1) as f64 {
            share if share <= 0.0 => '·',
            share if share < 0.001 => '▁',
            share if share < 0.01 => '▂',
            share if share < 0.05 => '▄',
            share if share < 0.25 => '▆',
            _ => '█',
        }
    }

    fn colour(self, inside: bool) -> Color {
        match self {
            Self { wrong: true, .. } => Color::Red,
            Self { exempt: true, .. } => Color::Yellow,
            _ if inside => Color::Green,
            _ => Color::DarkGray,
        }
    }
}

/// Returns how much of the time of the CPUs the kernel's threads took, in as many lines as there is
/// room for, and the heading of that. All CPUs are there: with their numbers, or row by row with the
/// number of the first, or several with one cell.
fn cpu_lines(recording: &Recording, width: u16, room: u16) -> (String, Vec<Line<'static>>) {
    let (width, room) = (usize::from(width), usize::from(room));
    let mut busy: HashMap<u32, Busy> = HashMap::new();
    for thread in &recording.threads {
        for run in &thread.runs {
            let outside = !recording.cpus.contains(run.cpu);
            let cpu = busy.entry(run.cpu).or_default();
            cpu.ns = cpu.ns.saturating_add(run.ns);
            cpu.wrong |= outside && thread.class.is_steered();
            cpu.exempt |= outside && !thread.class.is_steered();
        }
    }
    let cpus: Vec<_> = recording.online.iter().collect();
    let of = |cpu: &u32| busy.get(cpu).copied().unwrap_or_default();
    let cell = |cpus: &[u32], text: &dyn Fn(char) -> String| {
        let all = cpus.iter().map(of).fold(Busy::default(), Busy::add);
        let inside = cpus.iter().all(|cpu| recording.cpus.contains(*cpu));
        let text = text(all.bar(recording.duration_ns));
        Span::styled(text, all.colour(inside))
    };
    let title = |each: usize| {
        let (long, short) = match each {
            1 => (String::new(), "by CPU".to_owned()),
            _ => (
                format!(", {each} to a cell"),
                format!("{each} CPUs to a cell"),
            ),
        };
        let title = format!("time of kernel threads, by CPU{long}");
        let texts = [format!("{title}: {SCALE}"), title, format!("time, {short}")];
        fitting(texts, width)
    };

    let per_line = (width / 6).max(1);
    if cpus.len().div_ceil(per_line) <= room {
        let numbered = cpus.chunks(per_line).map(|chunk| {
            let cells = chunk
                .iter()
                .map(|cpu| cell(&[*cpu], &|bar| format!("{cpu:>4}{bar} ")));
            cells.collect()
        });
        return (title(1), numbered.collect());
    }
    let digits = cpus.last().map_or(1, |cpu| cpu.to_string().len());
    let most = width.saturating_sub(digits + 1);
    if most * room == 0 {
        return (String::new(), Vec::new());
    }
    // Numbers that are easy to count from, where they fit.
    let each = cpus.len().div_ceil(most * room).next_power_of_two();
    let per_line = [128, 64, 32, 16, most / 16 * 16]
        .into_iter()
        .find(|size| (1..=most).contains(size) && cpus.len().div_ceil(size * each) <= room)
        .unwrap_or(most);
    let rows = cpus.chunks(per_line * each).map(|row| {
        let first = Span::raw(format!("{:>digits$} ", row[0]));
        let cells = row.chunks(each).map(|cpus| cell(cpus, &String::from));
        std::iter::once(first).chain(cells).collect()
    });
    (title(each), rows.collect())
}

/// Returns which table this is, how it is sorted, and what is left out.
fn state_line(view: &View, shown: usize, all: usize, width: u16) -> Line<'static> {
    let sort = view.sort();
    let names = view.sort_names();
    let by = names.get(sort.by).copied().unwrap_or_default();
    let turned = if sort.reversed { ", reversed" } else { "" };
    let what = match view.tab {
        Tab::Causes => "what ran outside",
        Tab::Threads => "kernel threads",
    };
    let count = match shown == all {
        true => all.to_string(),
        false => format!("{shown} of {all}"),
    };
    let mut spans = vec![Span::styled(format!("{what}: {count}"), Modifier::BOLD)];
    let sorted = Span::raw(format!("  by {by}{turned}"));
    let mut only = Vec::new();

    match view.tab {
        Tab::Causes => {
            only.extend(view.kind.map(|kind| format!("kind {kind}")));
            only.extend(view.means.map(|means| format!("moved by {}", means.name())));
        }
        Tab::Threads => only.extend(view.only_outside.then(|| "that ran outside".to_owned())),
    }
    if !view.search.is_empty() || view.typing {
        let cursor = if view.typing { "_" } else { "" };
        only.push(format!("/{}{cursor}", view.search));
    }
    if !only.is_empty() {
        let text = format!("  only {}", only.join(", "));
        spans.push(Span::styled(text, Color::Cyan));
    }
    // What is left out is said where there is no room for both.
    let at = if width >= 60 { 1 } else { spans.len() };
    spans.insert(at, sorted);
    Line::from(spans)
}

/// Draws those rows of a table that fit.
fn draw_table<T>(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &View,
    columns: &[Column<T>],
    rows: &[&T],
    colour: impl Fn(&T) -> Color,
) {
    let sort = view.sort();
    let by = view.sort_names().get(sort.by).copied();
    let line = Rect { height: 1, ..area };
    let widths = Layout::horizontal(columns.iter().map(|column| column.width))
        .spacing(1)
        .split(line);
    let widths: Vec<_> = widths.iter().map(|column| column.width).collect();
    let cell = |text: String, right: bool, width: u16| {
        let text = shortened(text, width.into());
        match right {
            true => Cell::from(Line::from(text).right_aligned()),
            false => Cell::from(text),
        }
    };
    let heading = columns.iter().zip(&widths).map(|(column, width)| {
        let mark = match (Some(column.sort) == by, sort.reversed) {
            (false, _) => "",
            (true, false) => "*",
            (true, true) => "^",
        };
        cell(format!("{}{mark}", column.heading), column.right, *width)
    });
    let heading = Row::new(heading).style(Style::new().add_modifier(Modifier::BOLD));
    let shown = rows.iter().enumerate().skip(view.first).take(view.page);
    let lines = shown.map(|(index, row)| {
        let chosen = index == view.selected;
        let cells = columns.iter().zip(&widths).map(|(column, width)| {
            let cell = cell((column.text)(row), column.right, *width);
            match column.coloured && !chosen {
                true => cell.style(colour(row)),
                false => cell,
            }
        });
        Row::new(cells).style(match chosen {
            true => Modifier::REVERSED,
            false => Modifier::empty(),
        })
    });

    frame.render_widget(Table::new(lines, widths.clone()).header(heading), area);
}

/// Cuts what does not fit, and tells that there is more.
fn shortened(text: String, width: usize) -> String {
    if text.chars().count() <= width {
        return text;
    }
    let most = width.saturating_sub(1);

    text.chars().take(most).chain(['…']).collect()
}

/// Says why there is no row.
fn draw_nothing(frame: &mut Frame<'_>, table: Rect, recording: &Recording, all: usize) {
    let text = match all {
        0 if recording.online.is_subset(&recording.cpus) => {
            "No CPU is outside, so there is nothing to account for: choose with --cpus LIST."
        }
        0 => "Nothing has been seen so far.",
        _ => "Nothing fits; a shows all again.",
    };
    let below = table.height.saturating_sub(1);
    let area = Rect {
        y: table.bottom() - below,
        height: below,
        ..table
    };

    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }), area);
}

/// What is known of a cause.
fn of_cause(cause: &Cause, view: &View) -> (String, Vec<Line<'static>>) {
    let remedy = Line::from(vec![
        Span::styled("-> ", Modifier::BOLD),
        Span::raw(cause.remedy.clone()),
    ]);
    let mut lines = vec![remedy, Line::raw(cause.why.clone())];

    if view.details {
        lines.push(Line::raw(format!(
            "{} times, {} in all, {} at once at most, on CPU {}, {} after the beginning",
            cause.count,
            duration(cause.ns),
            duration(cause.longest_ns),
            cause.longest_cpu,
            duration(cause.longest_at)
        )));
        for origin in &cause.origins {
            let stack = match origin.stack.as_slice() {
                [] => String::new(),
                stack => format!(": {}", stack.join(" < ")),
            };
            let verb = cause.kind.verb();
            lines.push(Line::raw(format!(
                "{} times {verb} {origin}{stack}",
                origin.count
            )));
        }
        if cause.others > 0 {
            lines.push(Line::raw(format!("{} times by others", cause.others)));
        }
        for share in &cause.cpus {
            lines.push(Line::raw(format!(
                "CPU {}: {} times, {}, {} at most",
                share.cpu,
                share.count,
                duration(share.ns),
                duration(share.longest_ns)
            )));
        }
    }
    (format!("{} {}", cause.kind, cause.label()), lines)
}

/// What is known of a thread.
fn of_thread(line: &runs::Line<'_>) -> (String, Vec<Line<'static>>) {
    let thread = line.thread;
    let allowed = match &thread.allowed {
        Some(cpus) => format!("It may run on CPUs {cpus}."),
        None => "Where it may run could not be read.".to_owned(),
    };
    let mut lines = vec![Line::raw(allowed)];

    if !thread.reason.is_empty() {
        lines.push(Line::raw(thread.reason.clone()));
    }
    for run in &thread.runs {
        lines.push(Line::raw(format!(
            "CPU {}: {} times, {}",
            run.cpu,
            run.count,
            duration(run.ns)
        )));
    }
    (format!("{} thread {}", thread.class, thread.name), lines)
}

/// Returns how many lines a text takes.
fn height_of(lines: &[Line<'_>], width: u16) -> u16 {
    let width = width.max(1);
    let heights = lines.iter().map(|line| {
        let full = line.width() / usize::from(width);
        if line.width() <= width.into() {
            return 1;
        }
        // Of two lines next to each other, one at least is more than half full.
        let most = u16::try_from(2 * full + 1).unwrap_or(u16::MAX);
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, most));
        wrapped(vec![line.clone()]).render(buffer.area, &mut buffer);
        let last = buffer
            .content()
            .iter()
            .rposition(|cell| cell.symbol() != " ");
        last.unwrap_or(0) / usize::from(width) + 1
    });

    u16::try_from(heights.sum::<usize>()).unwrap_or(u16::MAX)
}

fn wrapped(lines: Vec<Line<'_>>) -> Paragraph<'_> {
    Paragraph::new(lines).wrap(Wrap { trim: false })
}

/// Draws lines of which those are seen that are scrolled to, in a block, and says that there are more.
fn draw_lines(
    frame: &mut Frame<'_>,
    area: Rect,
    lines: Vec<Line<'_>>,
    block: Block<'_>,
    view: &mut View,
) {
    let inner = block.inner(area);
    let most = height_of(&lines, inner.width).saturating_sub(inner.height);
    let first = view.scroll.first.min(most);
    view.scroll = Scroll {
        first,
        most,
        page: inner.height,
    };
    let block = match first < most {
        _ if most == 0 => block,
        true => block.title(Line::from(" more: PgDn ").right_aligned()),
        false => block.title(Line::from(" PgUp ").right_aligned()),
    };

    frame.render_widget(wrapped(lines).scroll((first, 0)).block(block), area);
}

/// The row that is chosen, in full.
fn draw_details(
    frame: &mut Frame<'_>,
    area: Rect,
    text: Option<(String, Vec<Line<'static>>)>,
    view: &mut View,
) {
    let (title, lines) = text.unwrap_or_default();
    // With room for what is on its right.
    let title = shortened(title, usize::from(area.width.saturating_sub(14)));
    let block = Block::new()
        .borders(Borders::TOP)
        .title(Span::styled(title, Modifier::BOLD));

    if view.details && !view.help {
        return draw_lines(frame, area, lines, block, view);
    }
    let inner = block.inner(area);
    let block = match height_of(&lines, inner.width) > inner.height {
        true => block.title(Line::from(" more: Enter ").right_aligned()),
        false => block,
    };
    frame.render_widget(wrapped(lines).block(block), area);
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let line = match &view.message {
        Some(text) => Line::styled(text.clone(), Color::Cyan),
        None if view.typing => Line::raw("Enter keeps it, Esc forgets it"),
        None => Line::raw(help_line(view.tab, area.width)),
    };

    frame.render_widget(line, area);
}

/// A window with all keys.
fn draw_help(frame: &mut Frame<'_>, area: Rect, view: &mut View) {
    let lines: Vec<_> = KEYS
        .iter()
        .map(|(key, what)| {
            Line::from(vec![
                Span::styled(format!("{key:<15}"), Modifier::BOLD),
                Span::raw(*what),
            ])
        })
        .collect();
    let width = area.width.min(78);
    let height = height_of(&lines, width.saturating_sub(2)) + 2;
    let height = area.height.min(height);
    let window = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let title = match area.width {
        ..40 => "keys",
        _ => "keys; any key closes this",
    };

    frame.render_widget(Clear, window);
    draw_lines(frame, window, lines, Block::bordered().title(title), view);
}
