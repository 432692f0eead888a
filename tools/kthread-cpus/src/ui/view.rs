// SPDX-License-Identifier: GPL-2.0

//! What is shown, and what the keys do to it. It knows nothing of a terminal.

use std::cmp::Ordering;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::{
    cause::{table::Means, text::culprit, Cause, Kind},
    recording::Recording,
    runs::{lines, Line},
};

/// One of the two tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tab {
    /// What ran outside, and why.
    #[default]
    Causes,
    /// The kernel threads, and where they ran.
    Threads,
}

/// What the causes can be sorted by, the first one at the beginning.
pub(super) const CAUSE_SORTS: [&str; 6] = ["time", "longest", "times", "kind", "what", "moved by"];
/// What the threads can be sorted by.
pub(super) const THREAD_SORTS: [&str; 5] = ["outside", "time", "times", "name", "pid"];

/// How a table is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sort {
    /// The index of the name.
    pub(super) by: usize,
    /// Whether it is the other way round.
    pub(super) reversed: bool,
}

/// Which lines of a text are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scroll {
    /// The first one.
    pub(super) first: u16,
    /// The last one that may be the first, when it was drawn last.
    pub(super) most: u16,
    /// How many lines fit, then.
    pub(super) page: u16,
}

/// What the user wants of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing but to see it.
    None,
    /// To end.
    End,
    /// To stop or go on with what is shown.
    Pause,
    /// To draw all of the screen, whatever is on it.
    Redraw,
}

/// What is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// Which table.
    pub(super) tab: Tab,
    /// How each of them is sorted.
    pub(super) sorts: [Sort; 2],
    /// Only causes of this kind.
    pub(super) kind: Option<Kind>,
    /// Only causes that this moves.
    pub(super) means: Option<Means>,
    /// Only threads that ran outside.
    pub(super) only_outside: bool,
    /// Only what has this in it.
    pub(super) search: String,
    /// Whether that is being typed.
    pub(super) typing: bool,
    /// The kinds and the remedies that there were, when it was drawn last.
    pub(super) present: (Vec<Kind>, Vec<Means>),
    /// The row that is chosen.
    pub(super) selected: usize,
    /// What is in it, if that is to be followed wherever it gets to.
    pub(super) chosen: Option<String>,
    /// The first row that is shown.
    pub(super) first: usize,
    /// As many rows there were, and as many fit, when it was drawn last.
    pub(super) rows: usize,
    /// How many of them fit.
    pub(super) page: usize,
    /// Whether all that is known of the row is shown.
    pub(super) details: bool,
    /// Whether the keys are shown.
    pub(super) help: bool,
    /// Which lines are shown, of these or of all that is known of the row.
    pub(super) scroll: Scroll,
    /// Whether nothing new is shown.
    pub(super) paused: bool,
    /// What there is to say.
    pub(super) message: Option<String>,
}

/// Returns the next one of all that there are, with nothing before the first and after the last.
fn next<T: Copy + PartialEq>(all: &[T], now: Option<T>, back: bool) -> Option<T> {
    let at = now.and_then(|now| all.iter().position(|one| *one == now));

    match (at, back) {
        (None, false) => all.first().copied(),
        (None, true) => all.last().copied(),
        (Some(at), false) => all.get(at + 1).copied(),
        (Some(at), true) => at.checked_sub(1).and_then(|at| all.get(at)).copied(),
    }
}

impl View {
    /// Does what a key says.
    pub(super) fn key(&mut self, key: KeyEvent) -> Action {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);

        self.message = None;
        if control && key.code == KeyCode::Char('c') {
            return Action::End;
        }
        if control {
            return match key.code {
                KeyCode::Char('l') => Action::Redraw,
                _ => Action::None,
            };
        }
        if self.typing {
            self.type_key(key.code);
            return Action::None;
        }
        if self.help {
            if !self.scroll(key.code) {
                (self.help, self.scroll) = (false, Scroll::default());
            }
            return Action::None;
        }
        match key.code {
            KeyCode::Char('q') => return Action::End,
            KeyCode::Esc if self.details => self.details = false,
            // Once too often is no reason to end a watch of a day.
            KeyCode::Esc => self.show_all(),
            KeyCode::Char('p' | ' ') => return Action::Pause,
            KeyCode::Char('c' | 't') | KeyCode::Tab | KeyCode::BackTab => self.switch(),
            KeyCode::Char('s') => self.sort_by(1),
            KeyCode::Char('S') => self.sort_by(self.sort_names().len() - 1),
            KeyCode::Char('r') => {
                let tab = self.tab as usize;
                self.sorts[tab].reversed ^= true;
                self.choose_first();
            }
            KeyCode::Char('f') => self.filter_kind(false),
            KeyCode::Char('F') => self.filter_kind(true),
            KeyCode::Char('m') => self.filter_means(false),
            KeyCode::Char('M') => self.filter_means(true),
            KeyCode::Char('o') => {
                self.only_outside ^= true;
                self.tab = Tab::Threads;
                self.choose_first();
            }
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('a') => self.show_all(),
            KeyCode::Char('?' | 'h') => (self.help, self.scroll) = (true, Scroll::default()),
            KeyCode::Enter => {
                self.details ^= true;
                self.scroll = Scroll::default();
            }
            KeyCode::PageDown | KeyCode::PageUp if self.details => {
                self.scroll(key.code);
            }
            code => self.move_by_key(code),
        }
        Action::None
    }

    fn type_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.search.clear();
            }
            KeyCode::Backspace => {
                self.search.pop();
            }
            KeyCode::Char(c) => self.search.push(c),
            _ => {}
        }
        self.choose_first();
    }

    /// Chooses the first row, whatever is in it.
    fn choose_first(&mut self) {
        (self.selected, self.chosen) = (0, None);
        self.scroll = Scroll::default();
    }

    /// Shows other lines, if there are more than fit. Returns whether the key was one for that.
    fn scroll(&mut self, code: KeyCode) -> bool {
        let Scroll { first, most, page } = self.scroll;
        let page = page.max(2) - 1;
        let first = match code {
            _ if most == 0 => return false,
            KeyCode::Up | KeyCode::Char('k') => first.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => first + 1,
            KeyCode::PageUp => first.saturating_sub(page),
            KeyCode::PageDown => first + page,
            _ => return false,
        };

        self.scroll.first = first.min(most);
        true
    }

    fn move_by_key(&mut self, code: KeyCode) {
        let page = self.page.max(2) - 1;
        let at = match code {
            KeyCode::Up | KeyCode::Char('k') => self.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.selected + 1,
            KeyCode::PageUp => self.selected.saturating_sub(page),
            KeyCode::PageDown => self.selected + page,
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => usize::MAX,
            _ => return,
        };

        self.selected = at.min(self.rows.saturating_sub(1));
        (self.chosen, self.scroll) = (None, Scroll::default());
    }

    fn switch(&mut self) {
        self.tab = match self.tab {
            Tab::Causes => Tab::Threads,
            Tab::Threads => Tab::Causes,
        };
        self.first = 0;
        self.choose_first();
    }

    fn sort_by(&mut self, step: usize) {
        let names = self.sort_names().len();
        let sort = &mut self.sorts[self.tab as usize];

        *sort = Sort {
            by: (sort.by + step) % names,
            reversed: false,
        };
        self.choose_first();
    }

    fn filter_kind(&mut self, back: bool) {
        self.kind = next(&self.present.0, self.kind, back);
        self.tab = Tab::Causes;
        self.choose_first();
    }

    fn filter_means(&mut self, back: bool) {
        self.means = next(&self.present.1, self.means, back);
        self.tab = Tab::Causes;
        self.choose_first();
    }

    fn show_all(&mut self) {
        (self.kind, self.means) = (None, None);
        self.only_outside = false;
        self.search.clear();
    }

    /// Returns what the table can be sorted by.
    pub(super) fn sort_names(&self) -> &'static [&'static str] {
        match self.tab {
            Tab::Causes => &CAUSE_SORTS,
            Tab::Threads => &THREAD_SORTS,
        }
    }

    /// Returns how the table is sorted.
    pub(super) fn sort(&self) -> Sort {
        self.sorts[self.tab as usize]
    }

    /// Whether one of the texts has in it what is searched for.
    fn found(&self, texts: &[&str]) -> bool {
        let wanted = self.search.to_lowercase();

        wanted.is_empty()
            || texts
                .iter()
                .any(|text| text.to_lowercase().contains(&wanted))
    }

    /// Returns the causes that are wanted, in their order.
    pub(super) fn causes<'a>(&self, recording: &'a Recording) -> Vec<&'a Cause> {
        let sort = self.sorts[Tab::Causes as usize];
        let causes = recording.account.causes.iter();
        let mut shown: Vec<_> = causes
            .filter(|cause| self.kind.is_none_or(|kind| cause.kind == kind))
            .filter(|cause| self.means.is_none_or(|means| cause.means == means))
            .filter(|cause| {
                let (label, who) = (cause.label(), culprit(cause));
                self.found(&[&label, &who, cause.means.name(), &cause.remedy])
            })
            .collect();

        // Numbers begin with the largest, and words with the first. What is equal keeps its order, which
        // is that of the time.
        shown.sort_by(|a, b| {
            let order = match CAUSE_SORTS[sort.by] {
                "longest" => b.longest_ns.cmp(&a.longest_ns),
                "times" => b.count.cmp(&a.count),
                "kind" => a.kind.cmp(&b.kind),
                "what" => a.label().cmp(&b.label()),
                "moved by" => a.means.cmp(&b.means),
                _ => b.ns.cmp(&a.ns),
            };
            turned(order, sort)
        });
        shown
    }

    /// Returns the threads that are wanted, in their order.
    pub(super) fn threads<'a>(&self, recording: &'a Recording) -> Vec<Line<'a>> {
        let sort = self.sorts[Tab::Threads as usize];
        let mut shown = lines(recording);

        shown.retain(|line| !self.only_outside || line.count_outside > 0);
        shown.retain(|line| self.found(&[&line.thread.name, line.thread.class.name()]));
        shown.sort_by(|a, b| {
            let order = match THREAD_SORTS[sort.by] {
                "time" => b.ns.cmp(&a.ns),
                "times" => b.count.cmp(&a.count),
                "name" => a.thread.name.cmp(&b.thread.name),
                "pid" => a.thread.pid.cmp(&b.thread.pid),
                // As they come: those that should not be there first.
                _ => Ordering::Equal,
            };
            turned(order, sort)
        });
        if THREAD_SORTS[sort.by] == "outside" && sort.reversed {
            shown.reverse();
        }
        shown
    }

    /// Takes note of what there is to choose from.
    pub(super) fn see(&mut self, causes: &[Cause]) {
        let kinds = Kind::ALL.into_iter();
        let means = Means::ALL.into_iter();

        self.present = (
            kinds
                .filter(|kind| causes.iter().any(|cause| cause.kind == *kind))
                .collect(),
            means
                .filter(|means| causes.iter().any(|cause| cause.means == *means))
                .collect(),
        );
    }

    /// Takes note of how many rows there are and fit, so that the chosen one is one of those shown. What
    /// is in that is followed: rows change their places all the time. Only who looks at the first one
    /// without its details wants to see whatever is the first.
    pub(super) fn fit(&mut self, rows: usize, page: usize, key: impl Fn(usize) -> String) {
        (self.rows, self.page) = (rows, page);
        if let Some(chosen) = self.chosen.take() {
            if let Some(at) = (0..rows).find(|row| key(*row) == chosen) {
                self.selected = at;
            }
        }
        self.selected = self.selected.min(rows.saturating_sub(1));
        let last_first = rows.saturating_sub(page);
        let lowest = (self.selected + 1).saturating_sub(page);
        self.first = self
            .first
            .clamp(lowest, self.selected.max(lowest))
            .min(last_first.max(lowest));
        if self.selected < rows && (self.details || self.selected > 0) {
            self.chosen = Some(key(self.selected));
        }
    }
}

fn turned(order: Ordering, sort: Sort) -> Ordering {
    match sort.reversed {
        true => order.reverse(),
        false => order,
    }
}
