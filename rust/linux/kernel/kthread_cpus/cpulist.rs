// SPDX-License-Identifier: GPL-2.0

//! The CPU list grammar, with the results of C's `bitmap_parselist()`.
//!
//! The grammar is described in `Documentation/admin-guide/kernel-parameters.rst`; what is not said
//! there follows the C implementation in `lib/bitmap-str.c`. Two things differ on purpose:
//!
//! - A list with an error leaves the mask alone. C leaves in it the regions before the error.
//! - Where the 32-bit arithmetic of C wraps, the result is what the grammar says:
//!   `1-3:1/4294967295` is CPU 1 (C also sets CPU 0), and `4294967295` is out of range (C calls it
//!   malformed).
//!
//! This is pure, safe Rust on top of `core`: it neither allocates nor panics, so that it can run
//! before there is an allocator, and it also builds and is tested outside the kernel.

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is not what the grammar allows there, -EINVAL in C.
    Malformed,
    /// The number is not a CPU of this mask, -ERANGE in C.
    OutOfRange,
    /// The number does not fit in 32 bits, -EOVERFLOW in C.
    Overflow,
}

/// An error, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub reason: Reason,
    /// The first byte of the text that cannot be used, counted from 0. For a number that is its
    /// first digit. It is the length of the text where something is missing at its end.
    pub offset: usize,
}

/// The bits of a mask, in words of the size of C's `unsigned long`: CPU `n` is bit `n % BITS` of
/// word `n / BITS`.
///
/// # Invariants
///
/// `words` has exactly as many words as `nbits` bits take, and `nbits` is not 0.
pub struct Mask<'a> {
    words: &'a mut [usize],
    nbits: u32,
}

/// The bits in a word.
const BITS: usize = usize::BITS as usize;

impl<'a> Mask<'a> {
    /// Takes the first `nbits` bits of `words`, or returns [`None`] when there are not as many, or
    /// when `nbits` is 0.
    #[inline]
    pub fn new(words: &'a mut [usize], nbits: u32) -> Option<Self> {
        let words = words.get_mut(..(nbits as usize).div_ceil(BITS))?;

        // INVARIANT: `words` was just cut to that length.
        (nbits != 0).then_some(Self { words, nbits })
    }

    /// Clears all bits.
    #[inline]
    fn clear(&mut self) {
        match &mut *self.words {
            // Not worth a call, and what most machines have.
            [only] => *only = 0,
            words => words.fill(0),
        }
    }

    /// Sets the bits from `first` to `last`, both included.
    #[inline]
    fn fill(&mut self, first: usize, last: usize) {
        let head = usize::MAX << (first % BITS);
        let tail = usize::MAX >> (BITS - 1 - last % BITS);

        if first / BITS == last / BITS {
            if let Some(word) = self.words.get_mut(first / BITS) {
                *word |= head & tail;
            }
        } else if let Some([front, middle @ .., back]) =
            self.words.get_mut(first / BITS..=last / BITS)
        {
            *front |= head;
            middle.fill(usize::MAX);
            *back |= tail;
        }
    }

    /// Sets the first `used` bits of every `group` bits from `first` to `last`, both included,
    /// where `0 < used < group < BITS`.
    ///
    /// The words hold ever the same groups, only shifted against each other, so that they are made
    /// word by word, however many groups there are.
    fn fill_groups(&mut self, first: usize, last: usize, used: usize, group: usize) {
        let Some(words) = self.words.get_mut(first / BITS..=last / BITS) else {
            return;
        };
        let mut pattern = (1 << used) - 1;
        let mut done = group;

        while done < BITS {
            pattern |= pattern << done;
            done *= 2;
        }

        // A word ends `shift` bits into a group, so that the next one begins there. What it lacks
        // at its upper end is what is as many bits below as the whole groups in a word take. These
        // are more than half of a word, so that no shift is by less than one bit or by `BITS` or
        // more.
        let shift = BITS % group;
        let whole = BITS - shift;
        let next = |word: usize| match shift {
            0 => word,
            _ => (word >> shift) | (word << (whole - shift)),
        };

        // In the first word the groups begin at bit `first % BITS`; what it holds of its last group
        // is `before` bits.
        let mut word = pattern << (first % BITS);
        let before = (BITS - first % BITS) % group;
        let tail = usize::MAX >> (BITS - 1 - last % BITS);

        if let [front, rest @ ..] = words {
            if rest.is_empty() {
                word &= tail;
            }
            *front |= word;

            word = match before {
                0 => pattern,
                _ => (pattern >> before) | (pattern << (whole - before)),
            };
            if let [middle @ .., back] = rest {
                for slot in middle {
                    *slot |= word;
                    word = next(word);
                }
                *back |= word & tail;
            }
        }
    }

    /// Sets the CPUs of `region`.
    #[inline(always)]
    fn set(&mut self, region: &Region) {
        let (first, last) = (region.first as usize, region.last as usize);

        if region.used == region.group {
            self.fill(first, last);
        } else {
            self.set_groups(first, last, region.used as usize, region.group as usize);
        }
    }

    /// Sets the first `used` bits of every `group` bits from `first` to `last`, both included,
    /// where `used < group`.
    #[inline(never)]
    fn set_groups(&mut self, first: usize, last: usize, used: usize, group: usize) {
        if used == 0 {
            return;
        }
        if group < BITS {
            return self.fill_groups(first, last, used, group);
        }

        // At most one group for every word.
        let mut at = Some(first);
        while let Some(begin) = at.filter(|&begin| begin <= last) {
            self.fill(begin, last.min(begin.saturating_add(used - 1)));
            at = begin.checked_add(group);
        }
    }
}

/// The first `used` of every `group` CPUs from `first` to `last`.
///
/// # Invariants
///
/// `first <= last`, `last` is less than the `nbits` it was parsed for, `used <= group`, and
/// `group != 0`.
#[derive(Clone, Copy)]
struct Region {
    first: u32,
    last: u32,
    used: u32,
    group: u32,
}

impl Region {
    /// What stands for no region yet.
    const NONE: Self = Self {
        first: 0,
        last: 0,
        used: 1,
        group: 1,
    };
}

/// Whether `byte` separates regions: C's `isspace()`, which takes the no-break space of Latin-1, or
/// a comma.
#[inline]
fn is_separator(byte: u8) -> bool {
    // One bit for each byte, since most bytes of a list are digits, which are past these.
    const SEPARATORS: u64 = (1 << b',') | (1 << b' ') | (0b11111 << b'\t');

    (byte < 64 && (SEPARATORS >> byte) & 1 != 0) || byte == 0xa0
}

/// An error whose place is said as the number of bytes from there to the end of the text, because
/// that is what is at hand.
struct ErrorBefore {
    reason: Reason,
    left: usize,
}

/// Reads a text region by region.
///
/// What is called for every region is always inlined, so that none of this is ever in memory.
#[derive(Clone)]
struct Parser<'a> {
    nbits: u32,
    /// The byte that is next, 0 at the end as in C.
    byte: u8,
    /// What is behind it.
    rest: core::slice::Iter<'a, u8>,
}

impl<'a> Parser<'a> {
    #[inline(always)]
    fn new(text: &'a [u8], nbits: u32) -> Self {
        let mut parser = Self {
            nbits,
            byte: 0,
            rest: text.iter(),
        };

        parser.advance();
        parser
    }

    #[inline(always)]
    fn advance(&mut self) {
        self.byte = self.rest.next().copied().unwrap_or(0);
    }

    /// How many bytes there are from the one that is next to the end of the text.
    #[inline(always)]
    fn left(&self) -> usize {
        // A slice is never so long that this wraps. Without a check it costs nothing until there is
        // an error.
        self.rest.len().wrapping_add(usize::from(self.byte != 0))
    }

    /// Takes `byte`, which must be next.
    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Result<(), ErrorBefore> {
        if self.byte != byte {
            return fail(Reason::Malformed, self.left());
        }
        self.advance();
        Ok(())
    }

    /// Takes a decimal number, or `N` for the last bit.
    #[inline(always)]
    fn number(&mut self) -> Result<u32, ErrorBefore> {
        /// How many digits certainly fit in 64 bits.
        const SURE: usize = 19;

        let begin = self.clone();
        let first = u64::from(self.byte.wrapping_sub(b'0'));

        if first > 9 {
            if self.byte != b'N' {
                return fail(Reason::Malformed, self.left());
            }
            self.advance();
            return Ok(self.nbits - 1);
        }

        let mut number = first;
        loop {
            self.advance();
            let digit = u64::from(self.byte.wrapping_sub(b'0'));
            if digit > 9 {
                break;
            }
            number = number.wrapping_mul(10).wrapping_add(digit);
        }

        if begin.left().wrapping_sub(self.left()) > SURE {
            number = long_number(begin.rest.as_slice(), first);
        }
        u32::try_from(number).or_else(|_| fail(Reason::Overflow, begin.left()))
    }

    /// Takes `:used/group`, and returns the two, and where the latter is.
    #[inline(never)]
    fn groups(&mut self) -> Result<(u32, u32, usize), ErrorBefore> {
        self.expect(b':')?;
        let used = self.number()?;
        self.expect(b'/')?;
        let left = self.left();
        let group = self.number()?;

        Ok((used, group, left))
    }

    /// Takes what separates regions, and returns whether that was the rest of the text.
    #[inline(always)]
    fn at_end(&mut self) -> bool {
        // Most often there is just a comma before a digit, or nothing.
        while !self.byte.is_ascii_digit() {
            if !is_separator(self.byte) {
                return self.byte == 0;
            }
            self.advance();
        }
        false
    }

    /// Takes a region.
    #[inline(always)]
    fn region(&mut self) -> Result<Region, ErrorBefore> {
        let begin = self.clone();
        if self.byte | 0x20 == b'a' {
            match self.rest.as_slice() {
                [l1, l2, ..] if l1 | 0x20 == b'l' && l2 | 0x20 == b'l' => {}
                _ => return fail(Reason::Malformed, begin.left()),
            }
            // Behind the two that were just looked at.
            self.rest.nth(1);
            self.advance();
            return self.range(0, self.nbits - 1, begin.left(), begin.left());
        }

        let first = self.number()?;
        if self.byte == b'-' {
            self.advance();
            let begin_last = self.clone();
            let last = self.number()?;
            return self.range(first, last, begin.left(), begin_last.left());
        }

        if !self.ends_region() {
            return fail(Reason::Malformed, self.left());
        }
        if first >= self.nbits {
            return fail(Reason::OutOfRange, begin.left());
        }
        // INVARIANT: `first` was just checked, and the rest is what it takes.
        Ok(Region {
            first,
            last: first,
            used: 1,
            group: 1,
        })
    }

    /// Whether a region without groups ends before the byte that is next.
    ///
    /// Only there a newline is the end of the text; elsewhere it is white space.
    #[inline(always)]
    fn ends_region(&mut self) -> bool {
        match self.byte {
            b',' | 0 => true,
            b'\n' => {
                self.byte = 0;
                true
            }
            byte => is_separator(byte),
        }
    }

    /// Takes what may follow a range, and returns it as a region. The last arguments are where the
    /// ends of the range are.
    #[inline(always)]
    fn range(
        &mut self,
        first: u32,
        last: u32,
        first_left: usize,
        last_left: usize,
    ) -> Result<Region, ErrorBefore> {
        // Without groups, all of it is used.
        let (mut used, mut group) = (1, 1);

        if !self.ends_region() {
            // Only this copy has an address, and so is in memory.
            let mut parser = self.clone();
            let group_left;

            (used, group, group_left) = parser.groups()?;
            *self = parser;

            // C calls it the same when `first > last`, of which the place comes first.
            if (group == 0 || used > group) && first <= last {
                return fail(Reason::Malformed, group_left);
            }
        }

        if first > last {
            return fail(Reason::Malformed, last_left);
        }
        if last >= self.nbits {
            let both = first >= self.nbits;
            return fail(
                Reason::OutOfRange,
                if both { first_left } else { last_left },
            );
        }

        // INVARIANT: All four were just checked; without groups, `used` and `group` are 1.
        Ok(Region {
            first,
            last,
            used,
            group,
        })
    }
}

/// An error where `left` bytes are left.
#[inline(always)]
fn fail<T>(reason: Reason, left: usize) -> Result<T, ErrorBefore> {
    Err(ErrorBefore { reason, left })
}

/// The number with the digit `first` and then those that `behind` begins with, or any number too
/// large for 32 bits.
#[cold]
fn long_number(behind: &[u8], first: u64) -> u64 {
    let digits = behind.iter().take_while(|byte| byte.is_ascii_digit());

    digits.fold(first, |number, digit| {
        (number * 10 + u64::from(digit - b'0')).min(1 << 33)
    })
}

/// Parses the CPU list `text`, up to its end or to a NUL byte, and sets `mask` to it.
///
/// The cost follows the bytes of the text and the words of the mask, not the number of groups that
/// the text asks for.
///
/// # Errors
///
/// The reason and the place of the first error, with `mask` as it was.
pub fn parse(text: &[u8], mask: &mut Mask<'_>) -> Result<(), Error> {
    // Without a region, what the rest sets up would be for nothing.
    let mut parser = Parser::new(text, mask.nbits);
    while is_separator(parser.byte) {
        parser.advance();
    }
    if parser.byte == 0 {
        mask.clear();
        return Ok(());
    }
    parse_regions(text, mask)
}

/// Does the work of [`parse`] where there is some.
#[inline(never)]
fn parse_regions(text: &[u8], mask: &mut Mask<'_>) -> Result<(), Error> {
    // The mask must not change before the last region is known to be good, and there is no memory
    // for a second mask. So the first few regions are kept, which is all of most lists, and only
    // the others are read twice.
    let mut kept = [Region::NONE; 4];
    let mut count = 0;
    let mut parser = Parser::new(text, mask.nbits);
    let mut others = parser.clone();

    while !parser.at_end() {
        match parser.region() {
            Ok(region) => {
                if let Some(slot) = kept.get_mut(count) {
                    *slot = region;
                    others = parser.clone();
                }
                count += 1;
            }
            Err(ErrorBefore { reason, left }) => {
                // Behind the end there may be more than one byte, if that is at a NUL byte.
                let end = text.iter().position(|&byte| byte == 0);
                let offset = (text.len() - left).min(end.unwrap_or(text.len()));
                return Err(Error { reason, offset });
            }
        }
    }

    mask.clear();
    for region in kept.iter().take(count) {
        mask.set(region);
    }
    if count > kept.len() {
        while !others.at_end() {
            let Ok(region) = others.region() else {
                break;
            };
            mask.set(&region);
        }
    }
    Ok(())
}
