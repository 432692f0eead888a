// SPDX-License-Identifier: GPL-2.0

//! The CPU list grammar of `Documentation/admin-guide/kernel-parameters.rst`, with the results of
//! C's `bitmap_parselist()`. Two things differ on purpose:
//!
//! - A list with an error leaves the mask alone. C leaves in it the regions before the error.
//! - Where the 32-bit arithmetic of C wraps, the result is what the grammar says:
//!   `1-3:1/4294967295` is CPU 1 (C also sets CPU 0), and `4294967295` is out of range (C calls it
//!   malformed).
//!
//! This neither allocates nor panics, so that it can run before there is an allocator, and it also
//! builds and is tested outside the kernel.

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
/// `words` has exactly as many words as `nbits` bits take, and `0 < cpus <= nbits`.
pub struct Mask<'a> {
    words: &'a mut [usize],
    nbits: u32,
    /// How many CPUs `all` stands for, of which `N` is the last.
    cpus: u32,
}

/// The bits in a word.
const BITS: usize = usize::BITS as usize;

impl<'a> Mask<'a> {
    /// Takes the first `nbits` bits of `words`, or returns [`None`] when there are not as many, or
    /// when `nbits` is 0.
    #[inline]
    pub fn new(words: &'a mut [usize], nbits: u32) -> Option<Self> {
        Self::with_cpus(words, nbits, nbits)
    }

    /// As [`Mask::new()`] for a machine that has `cpus` CPUs, at most `nbits` and not 0.
    #[inline]
    pub fn with_cpus(words: &'a mut [usize], nbits: u32, cpus: u32) -> Option<Self> {
        let words = words.get_mut(..(nbits as usize).div_ceil(BITS))?;

        // INVARIANT: `words` was just cut to that length, and `cpus` is looked at here.
        (cpus != 0 && cpus <= nbits).then_some(Self { words, nbits, cpus })
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
            *back |= tail;
            // Not worth a call where there is none.
            if !middle.is_empty() {
                middle.fill(usize::MAX);
            }
        }
    }

    /// Sets the bits of `region`.
    #[inline(always)]
    fn set(&mut self, region: Region) {
        if region.used == region.group {
            self.fill(region.first as usize, region.last as usize);
        } else if region.used != 0 {
            self.set_groups(region);
        }
    }

    /// Sets the bits of `region`, in which `0 < used < group`. Nothing in here wraps.
    #[cold]
    fn set_groups(&mut self, region: Region) {
        let (mut first, last) = (region.first as usize, region.last as usize);
        let (used, group) = (region.used as usize, region.group as usize);

        if group >= BITS {
            // At most one group for every word.
            loop {
                let left = last.wrapping_sub(first);

                self.fill(first, first.wrapping_add(left.min(used.wrapping_sub(1))));
                if left < group {
                    return;
                }
                first = first.wrapping_add(group);
            }
        }

        // The words hold ever the same groups, only shifted against each other, so that they are
        // made word by word, however many groups there are. `pattern` begins with a group.
        let mut pattern = 1usize.wrapping_shl(used as u32).wrapping_sub(1);
        let mut done = group;
        while done < BITS {
            pattern |= pattern.wrapping_shl(done as u32);
            done = done.wrapping_mul(2);
        }

        // What it lacks at its upper end when it is shifted down is what is as many bits below as
        // the whole groups in a word take. `group` is not 0.
        let rest = |number: usize| number.checked_rem(group).unwrap_or(0);
        let whole = BITS.wrapping_sub(rest(BITS));
        // How far a word begins into a group; bit `first` begins one.
        let mut phase = rest(group.wrapping_sub(rest(first % BITS)));
        let mut wanted = usize::MAX << (first % BITS);

        for at in first / BITS..=last / BITS {
            if at == last / BITS {
                wanted &= usize::MAX >> (BITS - 1 - last % BITS);
            }
            // Where nothing is lacking, the shift may be by `BITS`, and then is by 0.
            let lacking = pattern.wrapping_shl(whole.wrapping_sub(phase) as u32);
            if let Some(word) = self.words.get_mut(at) {
                *word |= wanted & (pattern.wrapping_shr(phase as u32) | lacking);
            }
            wanted = usize::MAX;
            phase = rest(phase.wrapping_add(BITS));
        }
    }
}

/// The first `used` of every `group` CPUs from `first` to `last`, where `first <= last`, which is a
/// CPU of the mask, `used <= group`, and `group != 0`; by default it is none yet.
#[derive(Clone, Copy, Default)]
struct Region {
    first: u32,
    last: u32,
    used: u32,
    group: u32,
}

/// Whether a byte separates regions: a comma, or what C's `isspace()` takes, Latin-1's 0xa0 too.
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

fn is_separator(byte: u8) -> bool {
    SEPARATORS.get(usize::from(byte)) == Some(&true)
}

/// Reads a text region by region. All of it is inlined, so as to be in registers.
struct Reader<'a> {
    text: &'a [u8],
    /// Where in `text` the byte is that is next.
    at: usize,
    /// That byte, 0 at the end as in C.
    byte: u8,
}

impl Reader<'_> {
    /// Goes to the byte at `at`.
    fn go(&mut self, at: usize) {
        self.at = at;
        self.byte = self.text.get(at).copied().unwrap_or(0);
    }

    /// Takes the byte that is next.
    fn advance(&mut self) {
        // A text is never so long that this wraps.
        self.go(self.at.wrapping_add(1));
    }

    /// Takes the separators that are next.
    fn separators(&mut self) {
        while is_separator(self.byte) {
            self.advance();
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Error> {
        if self.byte != byte {
            return fail(Reason::Malformed, self.at);
        }
        self.advance();
        Ok(())
    }

    /// The value of the byte that is next as a digit, more than 9 if it is none.
    fn digit(&self) -> u64 {
        u64::from(self.byte).wrapping_sub(u64::from(b'0'))
    }

    /// Takes a decimal number, or `N` for the last CPU.
    #[inline(always)]
    fn number(&mut self, mask: &Mask<'_>) -> Result<u32, Error> {
        let begin = self.at;
        let mut number = self.digit();

        if self.byte == b'N' {
            self.advance();
            return Ok(mask.cpus.wrapping_sub(1));
        }
        if number > 9 {
            return fail(Reason::Malformed, begin);
        }
        self.advance();
        while self.digit() <= 9 {
            // This cannot wrap: the number before fits in 32 bits.
            number = number.wrapping_mul(10).wrapping_add(self.digit());
            if number > u64::from(u32::MAX) {
                return fail(Reason::Overflow, begin);
            }
            self.advance();
        }
        Ok(number as u32)
    }

    /// Takes what ends a region without groups, and the separators behind it, or returns false if
    /// there is something else. Only there a newline ends the text; elsewhere it is white space.
    fn ends_region(&mut self) -> bool {
        match self.byte {
            b'\n' => self.go(self.text.len()),
            0 => {}
            byte if is_separator(byte) => self.separators(),
            _ => return false,
        }
        true
    }

    /// Takes a region with the separators behind it.
    #[inline(always)]
    fn region(&mut self, mask: &Mask<'_>) -> Result<Region, Error> {
        let begin = self.at;
        // Where in the text `last` and `group` are.
        let (mut last_at, mut group_at) = (begin, begin);
        let (mut first, mut last, mut used, mut group) = (0, mask.cpus.wrapping_sub(1), 1, 1);

        if self.byte | 0x20 == b'a' {
            let Some([_, b'l' | b'L', b'l' | b'L', ..]) = self.text.get(begin..) else {
                return fail(Reason::Malformed, begin);
            };
            self.go(begin.wrapping_add(3));
        } else {
            first = self.number(mask)?;
            if self.byte == b'-' {
                self.advance();
                last_at = self.at;
                last = self.number(mask)?;
            } else if self.byte != b':' {
                last = first;
            } else {
                // A single CPU has no groups.
                return fail(Reason::Malformed, self.at);
            }
        }

        if !self.ends_region() {
            self.expect(b':')?;
            used = self.number(mask)?;
            self.expect(b'/')?;
            group_at = self.at;
            group = self.number(mask)?;
            self.separators();
        }

        if first > last {
            return fail(Reason::Malformed, last_at);
        }
        if group == 0 || used > group {
            return fail(Reason::Malformed, group_at);
        }
        if last >= mask.nbits {
            let offset = if first < mask.nbits { last_at } else { begin };
            return fail(Reason::OutOfRange, offset);
        }
        Ok(Region {
            first,
            last,
            used,
            group,
        })
    }
}

/// An error at `offset`.
fn fail<T>(reason: Reason, offset: usize) -> Result<T, Error> {
    Err(Error { reason, offset })
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
    // The mask must not change before the last region is known to be good, and there is no memory
    // for a second mask. So the first regions are kept, which are all of most lists, and only the
    // others are read twice.
    let (mut kept, mut count) = ([Region::default(); 4], 0);
    let mut reader = Reader {
        text,
        at: 0,
        byte: 0,
    };

    reader.go(0);
    reader.separators();
    let (mut others, mut is_good) = (reader.at, false);

    // Both readings in one loop, as what reads a region is inlined here.
    loop {
        if reader.byte == 0 {
            if is_good {
                return Ok(());
            }
            is_good = true;
            match &mut *mask.words {
                // Not worth a call, and all there is on most machines.
                [only] => *only = 0,
                words => words.fill(0),
            }
            for region in kept.iter().take(count) {
                mask.set(*region);
            }
            reader.go(others);
            continue;
        }

        let region = reader.region(mask)?;
        if is_good {
            mask.set(region);
        } else if let Some(slot) = kept.get_mut(count) {
            *slot = region;
            count = count.wrapping_add(1);
            others = reader.at;
        }
    }
}
