// SPDX-License-Identifier: GPL-2.0

//! The full-screen view of `watch`.

use std::time::{Duration, Instant};

use ratatui::{
    crossterm::event::{self, Event, KeyEventKind},
    DefaultTerminal,
};

use crate::{
    error::{Error, Result},
    recording::Recording,
};

mod columns;
mod draw;
#[cfg(test)]
mod tests;
mod view;

use view::{Action, View};

/// The terminal, which is as it was when this is dropped.
pub struct Ui {
    terminal: DefaultTerminal,
    view: View,
    /// What was seen when it was paused, which is shown since.
    paused: Option<Box<Recording>>,
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
            paused: None,
        })
    }

    /// Says something in the last line, until the next key.
    pub fn say(&mut self, text: String) {
        self.view.message = Some(text);
    }

    /// Shows what has been seen so far, and waits for keys for as long as `pause`. Returns whether the
    /// user wants to end.
    ///
    /// # Errors
    ///
    /// When the terminal cannot be used.
    pub fn show(&mut self, recording: &Recording, pause: Duration) -> Result<bool> {
        let begin = Instant::now();

        loop {
            let shown = self.paused.as_deref().unwrap_or(recording);
            let view = &mut self.view;
            self.terminal
                .draw(|frame| draw::draw(frame, shown, view))
                .map_err(fail)?;
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
                match self.view.key(key) {
                    Action::None => {}
                    Action::End => return Ok(true),
                    Action::Redraw => self.terminal.clear().map_err(fail)?,
                    Action::Pause => {
                        self.paused = match self.paused.take() {
                            Some(_) => None,
                            None => Some(Box::new(recording.clone())),
                        };
                        self.view.paused = self.paused.is_some();
                    }
                }
            }
        }
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        ratatui::restore();
    }
}
