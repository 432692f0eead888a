// SPDX-License-Identifier: GPL-2.0

//! Draws what is shown, on a terminal of any size.

use std::collections::HashMap;

use ratatui::{
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Cell, Clear, Paragraph, Row, Table, Wrap},
    Frame,
};

use super::{
    columns::{self, help_line, Column, KEYS},
    view::{Tab, View},
};
use crate::{
    cause::{text::role, Cause},
    output::{duration, span, Role},
    recording::Recording,
    runs::{self, totals},
};

/// Below this height there are no details, and below the other no CPUs.
const HEIGHT_OF_DETAILS: u16 = 16;
const HEIGHT_OF_CPUS: u16 = 12;

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, recording: &Recording, view: &mut View) {
    let area = frame.area();
    let cpus = cpu_lines(recording, area.width.saturating_sub(2));
    // Of thousands of CPUs, the first must do.
    let cpu_height = match area.height {
        ..HEIGHT_OF_CPUS => 0,
        height => u16::try_from(cpus.len() + 2)
            .unwrap_or(u16::MAX)
            .min(height / 4),
    };
    let detail_height = match (area.height, view.details) {
        (..HEIGHT_OF_DETAILS, _) => 0,
        (height, true) => height / 2,
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
    if cpu_height > 2 {
        frame.render_widget(
            Paragraph::new(cpus).block(Block::bordered().title("time of kernel threads, by CPU")),
            middle,
        );
    }
    let page = usize::from(table.height.saturating_sub(1));
    let (shown, all, text) = match view.tab {
        Tab::Causes => {
            let causes = view.causes(recording);
            view.fit(causes.len(), page);
            let columns = columns::of_causes(area.width);
            draw_table(frame, table, view, &columns, &causes, |cause| {
                colour(role(cause.means))
            });
            let text = causes.get(view.selected).map(|cause| of_cause(cause, view));
            (causes.len(), recording.account.causes.len(), text)
        }
        Tab::Threads => {
            let threads = view.threads(recording);
            view.fit(threads.len(), page);
            let columns = columns::of_threads(area.width);
            let rows: Vec<_> = threads.iter().collect();
            draw_table(frame, table, view, &columns, &rows, |line| {
                match (line.count_outside > 0, line.thread.class.is_steered()) {
                    (true, true) => Color::Red,
                    (true, false) => Color::Yellow,
                    _ => Color::Reset,
                }
            });
            let text = threads.get(view.selected).map(|line| of_thread(line));
            let ran = recording.threads.iter();
            let all = ran.filter(|thread| !thread.runs.is_empty()).count();
            (threads.len(), all, text)
        }
    };
    frame.render_widget(state_line(view, shown, all), state);
    if detail_height > 0 {
        draw_details(frame, detail, text);
    }
    draw_foot(frame, foot, view);
    if view.help {
        draw_help(frame, area);
    }
}

fn colour(role: Role) -> Color {
    match role {
        Role::Bad => Color::Red,
        Role::Notable => Color::Yellow,
        _ => Color::Reset,
    }
}

/// What is watched, and what it comes to.
fn draw_head(frame: &mut Frame<'_>, area: Rect, recording: &Recording, view: &View) {
    let [wrong, exempt] = totals(recording);
    let (bad, _) = recording.intrusions();
    let mut first = vec![Span::styled(
        format!(
            "kthread-cpus watch, {}: CPUs {} for kernel threads, {} switches",
            span(recording.duration_ns),
            recording.cpus,
            recording.switches
        ),
        Modifier::BOLD,
    )];
    if recording.lost > 0 {
        let text = format!(", {} events lost", recording.lost);
        first.push(Span::styled(text, Color::Yellow));
    }
    if view.paused {
        // It is said first: what follows is old.
        first.insert(0, Span::styled("PAUSED", Modifier::REVERSED));
        first.insert(1, Span::raw(" "));
    }
    let colour = if bad.count > 0 {
        Color::Red
    } else {
        Color::Green
    };

    frame.render_widget(
        Paragraph::new(vec![
            Line::from(first),
            Line::styled(wrong, colour),
            Line::raw(exempt),
        ]),
        area,
    );
}

/// Returns the CPUs, one cell each: how much of its time the kernel's threads took.
fn cpu_lines(recording: &Recording, width: u16) -> Vec<Line<'static>> {
    let mut busy: HashMap<u32, u64> = HashMap::new();
    for run in recording.threads.iter().flat_map(|thread| &thread.runs) {
        let time = busy.entry(run.cpu).or_default();
        *time = time.saturating_add(run.ns);
    }
    let cells: Vec<_> = recording
        .online
        .iter()
        .map(|cpu| {
            let share = busy.get(&cpu).copied().unwrap_or_default() as f64
                / recording.duration_ns.max(1) as f64;
            let bar = match share {
                share if share <= 0.0 => '·',
                share if share < 0.001 => '▁',
                share if share < 0.01 => '▂',
                share if share < 0.05 => '▄',
                share if share < 0.25 => '▆',
                _ => '█',
            };
            let inside = recording.cpus.contains(cpu);
            let colour = match (inside, share > 0.0) {
                (true, _) => Color::Green,
                (false, true) => Color::Red,
                (false, false) => Color::DarkGray,
            };
            Span::styled(format!("{cpu:>4}{bar} "), Style::new().fg(colour))
        })
        .collect();
    let per_line = usize::from(width / 6).max(1);

    cells
        .chunks(per_line)
        .map(|chunk| Line::from(chunk.to_vec()))
        .collect()
}

/// Returns which table this is, how it is sorted, and what is left out.
fn state_line(view: &View, shown: usize, all: usize) -> Line<'static> {
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
    let mut spans = vec![
        Span::styled(format!("{what}: {count}"), Modifier::BOLD),
        Span::raw(format!("  by {by}{turned}")),
    ];
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
    let cell = |text: String, right: bool| match right {
        true => Cell::from(Line::from(text).right_aligned()),
        false => Cell::from(text),
    };
    let heading = columns.iter().map(|column| {
        let mark = match (Some(column.sort) == by, sort.reversed) {
            (false, _) => "",
            (true, false) => "*",
            (true, true) => "^",
        };
        cell(format!("{}{mark}", column.heading), column.right)
    });
    let heading = Row::new(heading).style(Style::new().add_modifier(Modifier::BOLD));
    let shown = rows.iter().enumerate().skip(view.first).take(view.page);
    let lines = shown.map(|(index, row)| {
        let cells = columns
            .iter()
            .map(|column| cell((column.text)(row), column.right));
        let mut style = Style::new().fg(colour(row));
        if index == view.selected {
            style = style.add_modifier(Modifier::REVERSED);
        }
        Row::new(cells).style(style)
    });
    let widths = columns.iter().map(|column| column.width);

    frame.render_widget(Table::new(lines, widths).header(heading), area);
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

/// The row that is chosen, in full.
fn draw_details(frame: &mut Frame<'_>, area: Rect, text: Option<(String, Vec<Line<'static>>)>) {
    let (title, lines) = text.unwrap_or_default();
    let block = Block::new()
        .borders(Borders::TOP)
        .title(Span::styled(title, Modifier::BOLD));

    frame.render_widget(
        Paragraph::new(lines)
            .wrap(Wrap { trim: false })
            .block(block),
        area,
    );
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let line = match &view.message {
        Some(text) => Line::styled(text.clone(), Color::Cyan),
        None if view.typing => Line::styled("Enter keeps it, Esc forgets it", Modifier::DIM),
        None => Line::styled(help_line(view.tab, area.width), Modifier::DIM),
    };

    frame.render_widget(line, area);
}

/// A window with all keys.
fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let lines: Vec<_> = KEYS
        .iter()
        .map(|(key, what)| {
            Line::from(vec![
                Span::styled(format!("{key:<15}"), Modifier::BOLD),
                Span::raw(*what),
            ])
        })
        .collect();
    let width = area.width.min(70);
    let height = area.height.min(KEYS.len() as u16 + 2);
    let window = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };

    frame.render_widget(Clear, window);
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title("keys; any key closes this")),
        window,
    );
}
