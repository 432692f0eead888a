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
    #[inline(always)]
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
            *back |= tail;
            // Not worth a call where there is none.
            if !middle.is_empty() {
                middle.fill(usize::MAX);
            }
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
        if region.used == region.group {
            self.fill(region.first, region.last);
        } else {
            self.set_groups(region.first, region.last, region.used, region.group);
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
        let mut begin = first;
        loop {
            // `begin <= last` and `used != 0`, so that none of these wraps.
            let left = last.wrapping_sub(begin);

            self.fill(begin, begin.wrapping_add(left.min(used.wrapping_sub(1))));
            if left < group {
                return;
            }
            begin = begin.wrapping_add(group);
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
    used: usize,
    group: usize,
    first: usize,
    last: usize,
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

/// Whether a byte separates regions: C's `isspace()`, which takes the no-break space of Latin-1, or
/// a comma.
const SEPARATORS: [bool; 256] = {
    let mut separators = [false; 256];
    let mut rest: &mut [bool] = &mut separators;
    let mut byte = 0;

    while let [separator, behind @ ..] = rest {
        *separator = matches!(byte, b',' | b' ' | b'\t'..=b'\r' | 0xa0);
        byte = u8::wrapping_add(byte, 1);
        rest = behind;
    }
    separators
};

/// Looks `byte` up in [`SEPARATORS`].
#[inline(always)]
fn is_separator(byte: u8) -> bool {
    SEPARATORS.get(usize::from(byte)) == Some(&true)
}

/// `text` without the separators that it begins with, if these are at least `N`.
#[inline(always)]
fn behind_separators<const N: usize>(text: &[u8]) -> Option<&[u8]> {
    let (some, behind) = text.split_first_chunk::<N>()?;

    some.iter()
        .all(|&byte| is_separator(byte))
        .then_some(behind)
}

/// Where the separators end that `text` has from `at` on.
#[inline(always)]
fn skip_separators(text: &[u8], at: usize) -> usize {
    let mut rest = text.get(at..).unwrap_or(&[]);

    // Several at a time cost less than one by one, and least if all are the same.
    let same = match rest.first() {
        Some(first) if is_separator(*first) => [*first; 8],
        _ => return at,
    };
    while let Some((eight, behind)) = rest.split_first_chunk() {
        if *eight != same && behind_separators::<8>(eight).is_none() {
            break;
        }
        rest = behind;
    }
    if let Some(behind) = behind_separators::<4>(rest) {
        rest = behind;
    }
    if let Some(behind) = behind_separators::<2>(rest) {
        rest = behind;
    }
    if let Some(behind) = behind_separators::<1>(rest) {
        rest = behind;
    }
    text.len() - rest.len()
}

/// As [`skip_separators`], for where there are few of them as a rule.
#[inline(never)]
fn skip_separators_out_of_line(text: &[u8], at: usize) -> usize {
    skip_separators(text, at)
}

/// Reads a text region by region.
///
/// What is called for every region is always inlined, so that none of this is ever in memory.
struct Reader<'a> {
    text: &'a [u8],
    /// The last bit of the mask, which `N` stands for.
    last_bit: usize,
    /// Where in `text` the byte is that is next.
    at: usize,
    /// That byte, 0 at the end as in C.
    byte: u8,
    /// Why there was an error. Where it was is all that the functions return, to be in a register.
    reason: Reason,
}

impl<'a> Reader<'a> {
    /// Starts at the byte at `at`.
    #[inline(always)]
    fn new(text: &'a [u8], at: usize, nbits: u32) -> Self {
        let mut reader = Self {
            text,
            // A mask is never empty.
            last_bit: (nbits as usize).wrapping_sub(1),
            at,
            byte: 0,
            reason: Reason::Malformed,
        };

        reader.go(at);
        reader
    }

    /// Goes to the byte at `at`.
    #[inline(always)]
    fn go(&mut self, at: usize) {
        self.at = at;
        self.byte = self.text.get(at).copied().unwrap_or(0);
    }

    /// Takes the byte that is next.
    #[inline(always)]
    fn advance(&mut self) {
        // A text is never so long that this wraps.
        self.go(self.at.wrapping_add(1));
    }

    /// An error at `at`.
    #[inline(always)]
    fn fail<T>(&mut self, reason: Reason, at: usize) -> Result<T, usize> {
        self.reason = reason;
        Err(at)
    }

    /// An error at the byte that is next.
    #[inline(always)]
    fn malformed<T>(&mut self) -> Result<T, usize> {
        self.fail(Reason::Malformed, self.at)
    }

    /// Takes `byte`, which must be next.
    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Result<(), usize> {
        if self.byte != byte {
            return self.malformed();
        }
        self.advance();
        Ok(())
    }

    /// The value of the byte that is next as a digit, more than 9 if it is none.
    #[inline(always)]
    fn digit(&self) -> u64 {
        u64::from(self.byte).wrapping_sub(u64::from(b'0'))
    }

    /// Takes a decimal number, of which the first digit is next.
    #[inline(always)]
    fn decimal(&mut self) -> Result<usize, usize> {
        let begin = self.at;
        let mut number = self.digit();

        self.advance();
        if number == 0 {
            // Of these there may be any number; of other digits at most ten.
            while self.byte == b'0' {
                self.advance();
            }
        }
        while self.digit() <= 9 {
            // This cannot wrap: the number before fits in 32 bits.
            number = number.wrapping_mul(10).wrapping_add(self.digit());
            if number > u64::from(u32::MAX) {
                return self.fail(Reason::Overflow, begin);
            }
            self.advance();
        }
        Ok(number as usize)
    }

    /// Takes a decimal number, or `N` for the last bit.
    #[inline(always)]
    fn number(&mut self) -> Result<usize, usize> {
        match self.byte {
            b'0'..=b'9' => self.decimal(),
            b'N' => {
                self.advance();
                Ok(self.last_bit)
            }
            _ => self.malformed(),
        }
    }

    /// Takes `all`, of which the first letter is next.
    #[inline(always)]
    fn all(&mut self) -> Result<(), usize> {
        match self.text.get(self.at..) {
            Some([_, b'l' | b'L', b'l' | b'L', ..]) => {
                self.go(self.at.wrapping_add(3));
                Ok(())
            }
            _ => self.malformed(),
        }
    }

    /// Takes what ends a region without groups, or returns false if there is something else.
    ///
    /// Only there a newline is the end of the text; elsewhere it is white space.
    #[inline(always)]
    fn ends_region(&mut self) -> bool {
        match self.byte {
            b',' => self.advance(),
            0 => {}
            b'\n' => self.byte = 0,
            byte if is_separator(byte) => self.advance(),
            _ => return false,
        }
        true
    }

    /// Takes the separators that are next.
    #[inline(always)]
    fn separators(&mut self) {
        // There are none or one as a rule.
        for _ in 0..2 {
            if !is_separator(self.byte) {
                return;
            }
            self.advance();
        }
        if is_separator(self.byte) {
            self.go(skip_separators_out_of_line(self.text, self.at));
        }
    }

    /// Takes a region with the separators behind it.
    #[inline(always)]
    fn next(&mut self) -> Result<Region, usize> {
        let region = self.region()?;

        self.separators();
        Ok(region)
    }

    /// Takes a region.
    #[inline(always)]
    fn region(&mut self) -> Result<Region, usize> {
        let begin = self.at;
        if self.byte | 0x20 == b'a' {
            self.all()?;
            return self.range(0, self.last_bit, begin, begin);
        }

        let first = self.number()?;
        if self.byte == b'-' {
            self.advance();
            let begin_last = self.at;
            let last = self.number()?;
            return self.range(first, last, begin, begin_last);
        }

        if !self.ends_region() {
            return self.malformed();
        }
        if first > self.last_bit {
            return self.fail(Reason::OutOfRange, begin);
        }
        // INVARIANT: `first` was just checked, and the rest is what it takes.
        Ok(Region {
            first,
            last: first,
            used: 1,
            group: 1,
        })
    }

    /// Takes what may follow a range, and returns it as a region. The last arguments are where the
    /// ends of the range are.
    #[inline(always)]
    fn range(
        &mut self,
        first: usize,
        last: usize,
        begin_first: usize,
        begin_last: usize,
    ) -> Result<Region, usize> {
        // Without groups, all of it is used.
        let (mut used, mut group) = (1, 1);

        if !self.ends_region() {
            self.expect(b':')?;
            used = self.number()?;
            self.expect(b'/')?;
            let begin_group = self.at;
            group = self.number()?;

            // C calls it the same when `first > last`, of which the place comes first.
            if (group == 0 || used > group) && first <= last {
                return self.fail(Reason::Malformed, begin_group);
            }
        }

        if first > last {
            return self.fail(Reason::Malformed, begin_last);
        }
        if last > self.last_bit {
            let both = first > self.last_bit;
            return self.fail(
                Reason::OutOfRange,
                if both { begin_first } else { begin_last },
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

/// Parses the CPU list `text`, up to its end or to a NUL byte, and sets `mask` to it.
///
/// The cost follows the bytes of the text and the words of the mask, not the number of groups that
/// the text asks for.
///
/// # Errors
///
/// The reason and the place of the first error, with `mask` as it was.
pub fn parse(text: &[u8], mask: &mut Mask<'_>) -> Result<(), Error> {
    let separators = text.iter().take_while(|&&byte| is_separator(byte));

    match separators.take(MANY_SEPARATORS).count() {
        MANY_SEPARATORS => parse_separators(text, mask),
        at => parse_rest(text, at, mask),
    }
}

/// For as many separators it pays to look at several at a time.
const MANY_SEPARATORS: usize = 8;

/// Does the work of [`parse`] for a text that begins with [`MANY_SEPARATORS`].
#[cold]
#[inline(never)]
fn parse_separators(text: &[u8], mask: &mut Mask<'_>) -> Result<(), Error> {
    parse_rest(text, skip_separators(text, MANY_SEPARATORS), mask)
}

/// Does the work of [`parse`] from `at` on, where there is no separator.
#[inline(always)]
fn parse_rest(text: &[u8], at: usize, mask: &mut Mask<'_>) -> Result<(), Error> {
    // Without a region, what the rest sets up would be for nothing.
    match text.get(at) {
        None | Some(0) => {
            mask.clear();
            Ok(())
        }
        _ => parse_regions(text, at, mask),
    }
}

/// Does the work of [`parse`] from `at` on, before which there are but separators.
#[inline(never)]
fn parse_regions(text: &[u8], at: usize, mask: &mut Mask<'_>) -> Result<(), Error> {
    // The mask must not change before the last region is known to be good, and there is no memory
    // for a second mask. So the first regions are kept, which are all of most lists, and only the
    // others are read twice.
    let mut kept = [Region::NONE; 4];
    let mut count = 0;
    let mut reader = Reader::new(text, at, mask.nbits);
    let mut others = at;

    while reader.byte != 0 {
        let region = reader.next().map_err(|offset| Error {
            reason: reader.reason,
            offset,
        })?;

        // Most lists are one region.
        if count == 0 && reader.byte == 0 {
            mask.clear();
            mask.set(&region);
            return Ok(());
        }
        if let Some(slot) = kept.get_mut(count) {
            *slot = region;
            others = reader.at;
        }
        // There are no more than bytes in the text.
        count = count.wrapping_add(1);
    }

    mask.clear();
    for region in kept.iter().take(count) {
        mask.set(region);
    }
    if count > kept.len() {
        set_regions(text, others, mask);
    }
    Ok(())
}

/// Sets the regions of `text` from `at` on, which are known to be good.
#[inline(never)]
fn set_regions(text: &[u8], at: usize, mask: &mut Mask<'_>) {
    let mut reader = Reader::new(text, at, mask.nbits);

    while reader.byte != 0 {
        let Ok(region) = reader.next() else { return };
        mask.set(&region);
    }
}
