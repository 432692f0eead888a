// SPDX-License-Identifier: GPL-2.0

//! The one kind of error: a line for a person, which says what to do.

use std::{fmt, io};

/// What went wrong, in one line.
#[derive(Debug)]
pub struct Error {
    message: String,
    /// Whether it only means that nobody reads the output any more.
    closed: bool,
}

/// What may go wrong.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Returns an error with this message.
    pub fn new(message: impl fmt::Display) -> Self {
        let text = message.to_string();

        Self {
            // A name in it may have any character, and it is to be one line.
            message: text.replace(|c: char| c.is_control(), "?"),
            closed: false,
        }
    }

    /// Whether the reader of the output has gone, which is not worth a message.
    pub fn is_closed(&self) -> bool {
        self.closed
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// An error of the output.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self {
            closed: error.kind() == io::ErrorKind::BrokenPipe,
            ..Self::new(format_args!("cannot write the output: {error}"))
        }
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        match error.io_error_kind() {
            Some(kind) => io::Error::from(kind).into(),
            None => Self::new(error),
        }
    }
}

impl From<crate::cpuset::ListError> for Error {
    fn from(error: crate::cpuset::ListError) -> Self {
        Self::new(error)
    }
}

/// Returns what to do about a file that could not be used, to follow the error.
pub fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; run it as root, for example with sudo",
        io::ErrorKind::ReadOnlyFilesystem => "; remount it writable, or run outside the container",
        _ => "",
    }
}
