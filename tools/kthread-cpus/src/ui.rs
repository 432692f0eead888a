// SPDX-License-Identifier: GPL-2.0

//! The full-screen view of `watch`.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use ratatui::{
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Cell, Paragraph, Row, Table},
    DefaultTerminal, Frame,
};

use crate::{
    cause::text::{culprit, role},
    error::{Error, Result},
    output::{duration, Role},
    recording::Recording,
    watch::{lines, totals},
};

/// The terminal, which is as it was when this is dropped.
pub struct Ui {
    terminal: DefaultTerminal,
    view: View,
}

/// What is shown.
#[derive(Clone, Copy, Debug, Default)]
struct View {
    scroll: usize,
    only_outside: bool,
    /// What ran outside and why, in place of the threads.
    causes: bool,
}

fn fail(error: std::io::Error) -> Error {
    Error::new(format_args!(
        "cannot use the terminal: {error}; add --text or --json"
    ))
}

impl Ui {
    /// Takes the terminal.
    ///
    /// # Errors
    ///
    /// When it cannot be used.
    pub fn new() -> Result<Self> {
        Ok(Self {
            terminal: ratatui::try_init().map_err(fail)?,
            view: View::default(),
        })
    }

    /// Shows what has been seen so far, and waits for a key for as long as `pause`. Returns whether
    /// the user wants to end.
    ///
    /// # Errors
    ///
    /// When the terminal cannot be used.
    pub fn show(&mut self, recording: &Recording, pause: Duration) -> Result<bool> {
        let begin = Instant::now();
        let view = self.view;

        self.terminal
            .draw(|frame| draw(frame, recording, view))
            .map_err(fail)?;
        loop {
            let left = pause.saturating_sub(begin.elapsed());
            match event::poll(left) {
                Ok(true) => {}
                // A signal: the caller looks which.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(false),
                Err(error) => return Err(fail(error)),
                Ok(false) => return Ok(false),
            }
            if let Event::Key(key) = event::read().map_err(fail)? {
                if key.kind == KeyEventKind::Release {
                    continue;
                }
                let control = key.modifiers.contains(KeyModifiers::CONTROL);
                let view = &mut self.view;
                match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
                    KeyCode::Char('c') if control => return Ok(true),
                    KeyCode::Char('c') | KeyCode::Tab => {
                        view.causes ^= true;
                        view.scroll = 0;
                    }
                    KeyCode::Char('o') => view.only_outside ^= true,
                    KeyCode::Up => view.scroll = view.scroll.saturating_sub(1),
                    KeyCode::Down => view.scroll += 1,
                    KeyCode::PageUp => view.scroll = view.scroll.saturating_sub(20),
                    KeyCode::PageDown => view.scroll += 20,
                    KeyCode::Home => view.scroll = 0,
                    _ => {}
                }
                let lines = match view.causes {
                    true => recording.account.causes.len(),
                    false => recording.threads.len(),
                };
                view.scroll = view.scroll.min(lines);
            }
        }
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Returns the CPUs, one cell each: how much of its time the kernel's threads took.
fn cpu_lines(recording: &Recording, width: u16) -> Vec<Line<'static>> {
    let mut busy: HashMap<u32, u64> = HashMap::new();
    for run in recording.threads.iter().flat_map(|thread| &thread.runs) {
        *busy.entry(run.cpu).or_default() += run.ns;
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

fn draw(frame: &mut Frame<'_>, recording: &Recording, view: View) {
    let area = frame.area();
    let cpus = cpu_lines(recording, area.width.saturating_sub(2));
    // Of thousands of CPUs, the first must do.
    let cpu_height = (cpus.len() as u16 + 2).min(area.height / 3);
    let [head, middle, table, foot] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(cpu_height),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(area);
    let [wrong, exempt] = totals(recording);
    let (bad, _) = recording.intrusions();
    let mut first = format!(
        "kthread-cpus watch: {}, {} switches, kernel threads are meant for CPUs {}",
        duration(recording.duration_ns),
        recording.switches,
        recording.cpus
    );
    if recording.lost > 0 {
        first += &format!(", {} events lost", recording.lost);
    }
    let colour = if bad.count > 0 {
        Color::Red
    } else {
        Color::Green
    };
    frame.render_widget(
        Paragraph::new(vec![
            Line::styled(first, Modifier::BOLD),
            Line::styled(wrong, colour),
            Line::raw(exempt),
        ]),
        head,
    );
    frame.render_widget(
        Paragraph::new(cpus).block(Block::bordered().title("time of kernel threads, by CPU")),
        middle,
    );

    match view.causes {
        true => draw_causes(frame, table, recording, view.scroll),
        false => draw_threads(frame, table, recording, view),
    }
    frame.render_widget(
        Line::styled(
            "q end   c threads or causes   o only what ran outside   up/down scroll",
            Modifier::DIM,
        ),
        foot,
    );
}

/// The threads: where they ran, and for how long.
fn draw_threads(frame: &mut Frame<'_>, area: Rect, recording: &Recording, view: View) {
    let lines = lines(recording);
    let rows = lines
        .iter()
        .filter(|line| !view.only_outside || line.count_outside > 0)
        .skip(view.scroll)
        .take(usize::from(area.height))
        .map(|line| {
            let colour = match (line.count_outside > 0, line.thread.class.is_steered()) {
                (true, true) => Color::Red,
                (true, false) => Color::Yellow,
                _ => Color::Reset,
            };
            let cells = [
                line.thread.pid.to_string(),
                line.thread.name.clone(),
                line.thread.class.to_string(),
                line.cpus.to_string(),
                line.count.to_string(),
                duration(line.ns),
                line.count_outside.to_string(),
                duration(line.ns_outside),
            ];
            Row::new(cells.map(Cell::from)).style(Style::new().fg(colour))
        });
    let widths = [
        Constraint::Length(8),
        Constraint::Fill(3),
        Constraint::Length(10),
        Constraint::Fill(2),
        Constraint::Length(9),
        Constraint::Length(10),
        Constraint::Length(9),
        Constraint::Length(10),
    ];
    let heading = [
        "PID", "NAME", "CLASS", "RAN ON", "TIMES", "TIME", "OUTSIDE", "TIME",
    ];
    frame.render_widget(
        Table::new(rows, widths)
            .header(Row::new(heading).style(Style::new().add_modifier(Modifier::BOLD))),
        area,
    );
}

/// What ran outside: how often, for how long, who wanted it, and what moves it.
fn draw_causes(frame: &mut Frame<'_>, area: Rect, recording: &Recording, scroll: usize) {
    let causes = recording.account.causes.iter();
    let rows = causes
        .skip(scroll)
        .take(usize::from(area.height))
        .map(|cause| {
            let colour = match role(cause.means) {
                Role::Bad => Color::Red,
                Role::Notable => Color::Yellow,
                _ => Color::Reset,
            };
            let cells = [
                cause.kind.to_string(),
                cause.label(),
                cause.places(),
                cause.count.to_string(),
                duration(cause.longest_ns),
                duration(cause.ns),
                culprit(cause),
                cause.remedy.clone(),
            ];
            Row::new(cells.map(Cell::from)).style(Style::new().fg(colour))
        });
    let widths = [
        Constraint::Length(7),
        Constraint::Fill(3),
        Constraint::Fill(1),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Fill(3),
        Constraint::Fill(4),
    ];
    let heading = [
        "KIND",
        "WHAT",
        "ON",
        "TIMES",
        "LONGEST",
        "TIME",
        "WANTED BY",
        "WHAT MOVES IT",
    ];
    frame.render_widget(
        Table::new(rows, widths)
            .header(Row::new(heading).style(Style::new().add_modifier(Modifier::BOLD))),
        area,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cause::{table::Means, Account, Cause, Kind, Origin},
        check::Verdict,
        recording::{Run, Thread},
        target::{Obeys, Source},
        threads::Class,
    };
    use ratatui::{backend::TestBackend, Terminal};

    #[test]
    fn a_small_and_a_large_terminal() {
        let set = |text: &str| crate::cpuset::CpuSet::parse_any(text).unwrap();
        let recording = Recording {
            version: 1,
            started: 0,
            duration_ns: 1_000_000_000,
            switches: 3,
            lost: 1,
            kernel: String::new(),
            cmdline: String::new(),
            possible: set("0-3"),
            online: set("0-3"),
            isolated: set(""),
            nohz_full: set(""),
            cpus: set("0-1"),
            source: Source::Argument,
            obeys: Obeys::Unknown,
            notes: Vec::new(),
            advice: Vec::new(),
            nodes: Vec::new(),
            topology: Default::default(),
            settings: Vec::new(),
            threads: vec![Thread {
                pid: 15,
                name: "rcu_preempt".to_owned(),
                class: Class::Unbound,
                allowed: None,
                verdict: Verdict::Outside,
                reason: String::new(),
                cpu: 0,
                runs: vec![Run {
                    cpu: 3,
                    ns: 2_000_000,
                    count: 2,
                }],
            }],
            account: Account {
                causes: vec![Cause {
                    kind: Kind::Work,
                    name: "vmstat_update".to_owned(),
                    detail: "mm_percpu_wq".to_owned(),
                    count: 3,
                    ns: 5,
                    longest_ns: 2,
                    longest_at: 1,
                    longest_cpu: 3,
                    cpus: Vec::new(),
                    origins: vec![Origin {
                        who: "kworker/0:1".to_owned(),
                        pid: 7,
                        cpu: 0,
                        via: String::new(),
                        count: 3,
                        stack: Vec::new(),
                    }],
                    others: 0,
                    why: String::new(),
                    remedy: "nothing".to_owned(),
                    means: Means::Nature,
                }],
                ..Account::default()
            },
        };

        let views = [false, true].map(|causes| View {
            causes,
            ..View::default()
        });
        for (width, height) in [(1, 1), (20, 5), (200, 50)] {
            let texts = views.map(|view| {
                let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
                terminal
                    .draw(|frame| draw(frame, &recording, view))
                    .unwrap();
                terminal.backend().to_string()
            });
            if width == 200 {
                let [threads, causes] = texts;
                assert!(
                    threads.contains("intrusions on CPUs 2-3: 2 by kernel threads"),
                    "{threads}"
                );
                assert!(threads.contains("rcu_preempt"), "{threads}");
                assert!(causes.contains("vmstat_update on mm_percpu_wq"), "{causes}");
                assert!(causes.contains("kworker/0:1 (7) on CPU 0"), "{causes}");
            }
        }
    }
}
