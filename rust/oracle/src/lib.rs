// SPDX-License-Identifier: GPL-2.0

//! The kernel's own `bitmap_parselist()`, compiled for the host from where it lies in the kernel's
//! source, and what it takes to compare the parser in Rust with it.

use std::{
    ffi::{c_char, c_int, c_ulong, CStr},
    fmt,
};

use kthread_cpus_core::cpulist::{self, Mask, Reason};

pub mod inputs;
pub mod lists;
pub mod model;

extern "C" {
    fn bitmap_parselist(buf: *const c_char, maskp: *mut c_ulong, nmaskbits: c_int) -> c_int;
}

/// The bits in a word of a mask.
const BITS: u32 = usize::BITS;

/// What the words of a mask hold before it is parsed into.
const FILL: usize = usize::MAX / 3;

/// Calls `bitmap_parselist()`, and returns what it returns.
///
/// # Panics
///
/// Panics when `words` has fewer than `nbits` bits.
pub fn bitmap_parselist_of_c(text: &CStr, words: &mut [usize], nbits: u32) -> c_int {
    assert!(words.len() >= nbits.div_ceil(BITS) as usize);
    // SAFETY:
    // - `text` ends with a NUL byte.
    // - `words` has the words that `nbits` bits take, of the size of C's `unsigned long`.
    unsafe { bitmap_parselist(text.as_ptr(), words.as_mut_ptr().cast(), nbits as c_int) }
}

/// Parses `text` with C, up to its end or to a NUL byte: the mask, or the errno.
///
/// The text and the mask are blocks of the heap of just their size, so that AddressSanitizer sees
/// any access past their ends.
///
/// # Errors
///
/// What C returns.
pub fn with_c(text: &[u8], nbits: u32) -> Result<Vec<usize>, c_int> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or(&[]);
    let text = [text, b"\0"].concat().into_boxed_slice();
    let text = CStr::from_bytes_with_nul(&text).expect("there is one NUL byte, at the end");
    let mut words = vec![FILL; nbits.div_ceil(BITS) as usize].into_boxed_slice();

    match bitmap_parselist_of_c(text, &mut words, nbits) {
        0 => Ok(words.into()),
        errno => Err(errno),
    }
}

/// Parses `text` with Rust: the mask, or the error.
///
/// # Errors
///
/// What [`cpulist::parse`] returns.
///
/// # Panics
///
/// Panics when the mask has changed in spite of an error, or when the place of the error is not in
/// the text.
pub fn with_rust(text: &[u8], nbits: u32) -> Result<Vec<usize>, cpulist::Error> {
    let text: Box<[u8]> = text.into();
    let mut words = vec![FILL; nbits.div_ceil(BITS) as usize].into_boxed_slice();
    let mut mask = Mask::new(&mut words, nbits).expect("the words are as many as the bits take");

    match cpulist::parse(&text, &mut mask) {
        Ok(()) => Ok(words.into()),
        Err(error) => {
            assert!(
                words.iter().all(|&word| word == FILL),
                "{error:?}, but the mask has changed"
            );
            assert!(error.offset <= text.len(), "{error:?} is past the end");
            Err(error)
        }
    }
}

/// The errno of C for `reason`.
pub fn errno(reason: Reason) -> c_int {
    match reason {
        Reason::Malformed => -22,
        Reason::OutOfRange => -34,
        Reason::Overflow => -75,
    }
}

/// How the two parsers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// They have the same result.
    Same,
    /// The arithmetic of C wraps: it has the result that it must have then, and Rust has that of
    /// the grammar.
    Wraps,
}

/// Two different results for a text.
#[derive(Debug)]
pub struct Difference {
    /// The text.
    pub text: Vec<u8>,
    /// The bits of the mask.
    pub nbits: u32,
    /// What C makes of it.
    pub c: Result<Vec<usize>, c_int>,
    /// What Rust makes of it.
    pub rust: Result<Vec<usize>, cpulist::Error>,
    /// What it has to be.
    pub grammar: Result<Vec<usize>, Reason>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" at {} bits\n  C:       {:x?}\n  Rust:    {:x?}\n  grammar: {:x?}",
            self.text.escape_ascii(),
            self.nbits,
            self.c,
            self.rust,
            self.grammar
        )
    }
}

impl std::error::Error for Difference {}

/// Parses `text` with both, and compares what they return and every bit.
///
/// Where they differ, the [model](model) tells whether the arithmetic of C wraps on this very text.
/// If so, C must have the result that this leads to, and Rust that of the grammar.
///
/// # Errors
///
/// What is different and must not be.
pub fn compare(text: &[u8], nbits: u32) -> Result<Agreement, Box<Difference>> {
    let c = with_c(text, nbits);
    let rust = with_rust(text, nbits);
    let rust_errno = rust.clone().map_err(|error| errno(error.reason));

    if c == rust_errno {
        return Ok(Agreement::Same);
    }

    let wrapped = model::parse(text, nbits, model::Arithmetic::Wraps).map_err(errno);
    let grammar = model::parse(text, nbits, model::Arithmetic::Exact);
    if c == wrapped && rust_errno == grammar.clone().map_err(errno) {
        return Ok(Agreement::Wraps);
    }

    Err(Box::new(Difference {
        text: text.into(),
        nbits,
        c,
        rust,
        grammar,
    }))
}
