// SPDX-License-Identifier: GPL-2.0

//! The grammar as it is described: takes the text apart, computes in 128 bits, sets single bits.
//!
//! It can also do what C's 32-bit arithmetic does where it wraps.

use kthread_cpus_core::cpulist::Reason;

/// How to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// As the grammar says.
    Exact,
    /// As C does in `unsigned int`.
    Wraps,
}

/// What C computes modulo.
const MODULUS: u128 = 1 << 32;

fn number(text: &mut &[u8], nbits: u32) -> Result<u128, Reason> {
    if let [b'N', rest @ ..] = text {
        *text = rest;
        return Ok(u128::from(nbits) - 1);
    }

    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    *text = rest;
    let number = number.iter().fold(None, |number, digit| {
        Some((number.unwrap_or(0u128) * 10 + u128::from(digit - b'0')).min(1 << 100))
    });
    match number {
        None => Err(Reason::Malformed),
        Some(number) if number >= MODULUS => Err(Reason::Overflow),
        Some(number) => Ok(number),
    }
}

fn space(byte: u8) -> bool {
    [b' ', b'\t', b'\n', 0x0b, 0x0c, b'\r', 0xa0].contains(&byte)
}

fn token(text: &mut &[u8], byte: u8) -> Result<(), Reason> {
    match text {
        [first, rest @ ..] if *first == byte => {
            *text = rest;
            Ok(())
        }
        _ => Err(Reason::Malformed),
    }
}

/// Parses `text`, up to its end or to a NUL byte: the words of the mask, or what is wrong.
///
/// # Errors
///
/// The first error of the text.
pub fn parse(text: &[u8], nbits: u32, arithmetic: Arithmetic) -> Result<Vec<usize>, Reason> {
    let wrap = |number: u128| match arithmetic {
        Arithmetic::Exact => number,
        Arithmetic::Wraps => number % MODULUS,
    };
    let bits = usize::BITS as usize;
    let mut words = vec![0; (nbits as usize).div_ceil(bits)];
    let mut text = text.split(|&byte| byte == 0).next().unwrap_or(&[]);

    loop {
        while let [first, rest @ ..] = text {
            if *first != b',' && !space(*first) {
                break;
            }
            text = rest;
        }
        if text.is_empty() {
            return Ok(words);
        }

        let region_ends =
            |text: &[u8]| text.first().is_none_or(|&byte| byte == b',' || space(byte));
        let (first, last);
        if text.len() >= 3 && text[..3].eq_ignore_ascii_case(b"all") {
            text = &text[3..];
            (first, last) = (0, u128::from(nbits) - 1);
        } else {
            first = number(&mut text, nbits)?;
            last = if region_ends(text) {
                first
            } else {
                token(&mut text, b'-')?;
                number(&mut text, nbits)?
            };
        }

        // A region without groups is one group that ends with it.
        let (mut used, mut group) = (wrap(last + 1), wrap(last + 1));
        let plain = region_ends(text);
        if !plain {
            token(&mut text, b':')?;
            used = number(&mut text, nbits)?;
            token(&mut text, b'/')?;
            group = number(&mut text, nbits)?;
        }

        if first > last || group == 0 || used > group {
            return Err(Reason::Malformed);
        }
        if last >= u128::from(nbits) {
            return Err(Reason::OutOfRange);
        }
        let mut begin = first;
        while begin <= last {
            for bit in begin..(begin + used).min(last + 1) {
                words[bit as usize / bits] |= 1 << (bit as usize % bits);
            }
            begin = wrap(begin + group);
        }
        if plain && text.first() == Some(&b'\n') {
            return Ok(words);
        }
    }
}
