// SPDX-License-Identifier: GPL-2.0

//! The full-screen view of `watch`.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use ratatui::{
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Cell, Paragraph, Row, Table},
    DefaultTerminal, Frame,
};

use crate::{
    error::{Error, Result},
    output::duration,
    recording::Recording,
    watch::{lines, totals},
};

/// The terminal, which is as it was when this is dropped.
pub struct Ui {
    terminal: DefaultTerminal,
    scroll: usize,
    only_outside: bool,
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
            scroll: 0,
            only_outside: false,
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
        let (scroll, only) = (self.scroll, self.only_outside);

        self.terminal
            .draw(|frame| draw(frame, recording, scroll, only))
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
                match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
                    KeyCode::Char('c') if control => return Ok(true),
                    KeyCode::Char('o') => self.only_outside ^= true,
                    KeyCode::Up => self.scroll = self.scroll.saturating_sub(1),
                    KeyCode::Down => self.scroll += 1,
                    KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(20),
                    KeyCode::PageDown => self.scroll += 20,
                    KeyCode::Home => self.scroll = 0,
                    _ => {}
                }
                self.scroll = self.scroll.min(recording.threads.len());
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

fn draw(frame: &mut Frame<'_>, recording: &Recording, scroll: usize, only_outside: bool) {
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

    let lines = lines(recording);
    let rows = lines
        .iter()
        .filter(|line| !only_outside || line.count_outside > 0)
        .skip(scroll)
        .take(usize::from(table.height))
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
        table,
    );
    frame.render_widget(
        Line::styled(
            "q end   o only what ran outside   up/down scroll",
            Modifier::DIM,
        ),
        foot,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
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
        };

        for (width, height) in [(1, 1), (20, 5), (200, 50)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal
                .draw(|frame| draw(frame, &recording, 0, false))
                .unwrap();
            if width == 200 {
                let text = terminal.backend().to_string();
                assert!(
                    text.contains("intrusions on CPUs 2-3: 2 by kernel threads"),
                    "{text}"
                );
                assert!(text.contains("rcu_preempt"), "{text}");
            }
        }
    }
}
