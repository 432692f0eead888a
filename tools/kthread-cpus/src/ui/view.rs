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

/// What the user wants of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing but to see it.
    None,
    /// To end.
    End,
    /// To stop or go on with what is shown.
    Pause,
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
    /// The row that is chosen.
    pub(super) selected: usize,
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
        if self.typing {
            self.type_key(key.code);
            return Action::None;
        }
        if self.help {
            self.help = false;
            return Action::None;
        }
        match key.code {
            KeyCode::Char('q') => return Action::End,
            KeyCode::Esc if self.details => self.details = false,
            KeyCode::Esc if self.is_filtered() => self.show_all(),
            KeyCode::Esc => return Action::End,
            KeyCode::Char('p' | ' ') => return Action::Pause,
            KeyCode::Char('c' | 't') | KeyCode::Tab | KeyCode::BackTab => self.switch(),
            KeyCode::Char('s') => self.sort_by(1),
            KeyCode::Char('S') => self.sort_by(self.sort_names().len() - 1),
            KeyCode::Char('r') => {
                let tab = self.tab as usize;
                self.sorts[tab].reversed ^= true;
            }
            KeyCode::Char('f') => self.filter_kind(false),
            KeyCode::Char('F') => self.filter_kind(true),
            KeyCode::Char('m') => self.filter_means(false),
            KeyCode::Char('M') => self.filter_means(true),
            KeyCode::Char('o') => self.only_outside ^= true,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('a') => self.show_all(),
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Enter => self.details ^= true,
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
        self.selected = 0;
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
    }

    fn switch(&mut self) {
        self.tab = match self.tab {
            Tab::Causes => Tab::Threads,
            Tab::Threads => Tab::Causes,
        };
        (self.selected, self.first) = (0, 0);
    }

    fn sort_by(&mut self, step: usize) {
        let names = self.sort_names().len();
        let sort = &mut self.sorts[self.tab as usize];

        *sort = Sort {
            by: (sort.by + step) % names,
            reversed: false,
        };
    }

    fn filter_kind(&mut self, back: bool) {
        self.kind = next(&Kind::ALL, self.kind, back);
        (self.tab, self.selected) = (Tab::Causes, 0);
    }

    fn filter_means(&mut self, back: bool) {
        self.means = next(&Means::ALL, self.means, back);
        (self.tab, self.selected) = (Tab::Causes, 0);
    }

    fn is_filtered(&self) -> bool {
        let threads = self.tab == Tab::Threads && self.only_outside;
        let causes = self.tab == Tab::Causes && (self.kind.is_some() || self.means.is_some());

        threads || causes || !self.search.is_empty()
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

    /// Takes note of how many rows there are and fit, so that the chosen one is one of those shown.
    pub(super) fn fit(&mut self, rows: usize, page: usize) {
        (self.rows, self.page) = (rows, page);
        self.selected = self.selected.min(rows.saturating_sub(1));
        let last_first = rows.saturating_sub(page);
        let lowest = (self.selected + 1).saturating_sub(page);
        self.first = self
            .first
            .clamp(lowest, self.selected.max(lowest))
            .min(last_first.max(lowest));
    }
}

fn turned(order: Ordering, sort: Sort) -> Ordering {
    match sort.reversed {
        true => order.reverse(),
        false => order,
    }
}
