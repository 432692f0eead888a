// SPDX-License-Identifier: GPL-2.0

//! Sets of CPUs, read as the kernel reads them.

use std::fmt;

use kthread_cpus_core::cpulist::{self, Mask, Reason};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most CPUs that a set can hold: more than any kernel can be built for, and few enough that a
/// number gone wrong does not take much memory.
pub const LIMIT: u32 = 1 << 16;

const BITS: usize = usize::BITS as usize;

/// A set of CPUs.
///
/// # Invariants
///
/// The last word is not 0, so that equal sets have equal words.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CpuSet {
    words: Vec<usize>,
}

/// What is wrong with the text of a list, said to a person.
#[derive(Debug, PartialEq, Eq)]
pub struct ListError {
    text: String,
    error: cpulist::Error,
    count: u32,
}

impl ListError {
    /// Returns where the error is.
    pub fn offset(&self) -> usize {
        self.error.offset
    }
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, error, .. } = self;

        write!(f, "bad CPU list \"{}\"", text.escape_debug())?;
        if error.offset > 0 {
            write!(f, ", at offset {}", error.offset)?;
        }
        write!(f, ": ")?;
        match error.reason {
            Reason::Malformed => write!(f, "malformed")?,
            Reason::OutOfRange => write!(f, "there are only CPUs 0-{}", self.count - 1)?,
            Reason::Overflow => write!(f, "number too large")?,
        }
        write!(f, "; a list is like 0-3,8")
    }
}

impl std::error::Error for ListError {}

impl CpuSet {
    /// Returns the set without CPUs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses `text` with the kernel's parser, for CPUs from 0 to `count - 1`.
    ///
    /// # Errors
    ///
    /// What is wrong with the list.
    pub fn parse(text: &str, count: u32) -> Result<Self, ListError> {
        let count = count.clamp(1, LIMIT);
        let mut words = vec![0; (count as usize).div_ceil(BITS)];
        let error = |error| ListError {
            text: text.trim_end().to_owned(),
            error,
            count,
        };

        if let Some(mut mask) = Mask::new(&mut words, count) {
            cpulist::parse(text.as_bytes(), &mut mask).map_err(error)?;
        }
        Ok(Self::from_words(words))
    }

    /// Parses a list that the kernel has written, which may have any CPU.
    ///
    /// Kernels before 6.9 write `(null)` for a mask that was never made.
    ///
    /// # Errors
    ///
    /// What is wrong with the list.
    pub fn parse_any(text: &str) -> Result<Self, ListError> {
        let text = text.trim();

        if text == "(null)" {
            return Ok(Self::new());
        }
        // What the kernel writes is short or begins with low numbers.
        Self::parse(text, 4096).or_else(|_| Self::parse(text, LIMIT))
    }

    /// Parses a mask as the kernel writes it: hexadecimal, a comma after every 32 bits.
    pub fn parse_mask(text: &str) -> Option<Self> {
        let digits = text.trim().bytes().rev().filter(|byte| *byte != b',');
        let mut words = Vec::new();

        for (index, byte) in digits.enumerate() {
            let digit = char::from(byte).to_digit(16)? as usize;
            let bit = index * 4;

            if bit >= LIMIT as usize {
                return None;
            }
            if bit % BITS == 0 {
                words.push(0);
            }
            *words.last_mut()? |= digit << (bit % BITS);
        }
        (!words.is_empty()).then(|| Self::from_words(words))
    }

    /// Returns the mask as the kernel reads it: hexadecimal, a comma after every 32 bits.
    pub fn to_mask(&self) -> String {
        let count = self.last().map_or(1, |last| last / 32 + 1);
        let group = |index: u32| {
            (0..32)
                .filter(|bit| self.contains(index * 32 + bit))
                .fold(0_u32, |group, bit| group | 1 << bit)
        };
        let groups: Vec<_> = (0..count)
            .rev()
            .enumerate()
            .map(|(nth, index)| match nth {
                0 => format!("{:x}", group(index)),
                _ => format!("{:08x}", group(index)),
            })
            .collect();

        groups.join(",")
    }

    /// Returns the set with the words of a mask, of the size of C's `unsigned long`.
    pub fn from_words(mut words: Vec<usize>) -> Self {
        while words.last() == Some(&0) {
            words.pop();
        }
        // INVARIANT: The zeros at the end were just dropped.
        Self { words }
    }

    /// Returns the words of the mask, of the size of C's `unsigned long`.
    pub fn words(&self) -> &[usize] {
        &self.words
    }

    /// Adds a CPU; one past [`LIMIT`] is left out.
    pub fn insert(&mut self, cpu: u32) {
        let index = cpu as usize / BITS;

        if cpu < LIMIT {
            if index >= self.words.len() {
                self.words.resize(index + 1, 0);
            }
            self.words[index] |= 1 << (cpu as usize % BITS);
        }
    }

    /// Whether `cpu` is in the set.
    pub fn contains(&self, cpu: u32) -> bool {
        self.words
            .get(cpu as usize / BITS)
            .is_some_and(|word| word >> (cpu as usize % BITS) & 1 != 0)
    }

    /// Whether there is no CPU in the set.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Returns how many CPUs there are.
    pub fn len(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Returns the CPUs that are in both sets.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let pairs = self.words.iter().zip(&other.words);

        Self::from_words(pairs.map(|(a, b)| a & b).collect())
    }

    /// Returns the CPUs that are not in `other`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let word = |(index, word): (usize, &usize)| word & !other.words.get(index).unwrap_or(&0);

        Self::from_words(self.words.iter().enumerate().map(word).collect())
    }

    /// Returns the CPUs that are in one of the sets.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let (mut long, short) = if self.words.len() < other.words.len() {
            (other.words.clone(), &self.words)
        } else {
            (self.words.clone(), &other.words)
        };

        for (word, more) in long.iter_mut().zip(short) {
            *word |= more;
        }
        Self::from_words(long)
    }

    /// Whether every CPU is in `other` too.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.words
            .iter()
            .enumerate()
            .all(|(index, word)| word & !other.words.get(index).unwrap_or(&0) == 0)
    }

    /// Whether a CPU is in both sets.
    pub fn intersects(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(a, b)| a & b != 0)
    }

    /// Returns the CPUs in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            (0..BITS)
                .filter(move |bit| word >> bit & 1 != 0)
                .map(move |bit| (index * BITS + bit) as u32)
        })
    }

    /// Returns the first CPU.
    pub fn first(&self) -> Option<u32> {
        self.iter().next()
    }

    /// Returns the last CPU.
    pub fn last(&self) -> Option<u32> {
        let word = self.words.last()?;

        Some((self.words.len() * BITS) as u32 - word.leading_zeros() - 1)
    }
}

impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        let mut set = Self::new();

        for cpu in cpus {
            set.insert(cpu);
        }
        set
    }
}

/// The list, as the kernel writes it; nothing for no CPU.
impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.iter().peekable();
        let mut separator = "";

        while let Some(first) = cpus.next() {
            let mut last = first;
            while let Some(next) = cpus.next_if_eq(&(last + 1)) {
                last = next;
            }
            match last - first {
                0 => write!(f, "{separator}{first}")?,
                _ => write!(f, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// As its list.
impl Serialize for CpuSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CpuSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;

        Self::parse_any(&text).map_err(serde::de::Error::custom)
    }
}

/// A set said in words: its list, or `none`.
pub struct Named<'a>(pub &'a CpuSet);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> CpuSet {
        CpuSet::parse_any(text).unwrap()
    }

    #[test]
    fn lists_have_the_kernels_grammar() {
        let parse = |text| CpuSet::parse(text, 16).map(|set| set.to_string());

        assert_eq!(parse("0-3,8").unwrap(), "0-3,8");
        assert_eq!(parse("0-15:2/8,N").unwrap(), "0-1,8-9,15");
        assert_eq!(parse("all").unwrap(), "0-15");
        assert_eq!(parse("").unwrap(), "");
        assert_eq!(
            parse("0-1,x").unwrap_err().to_string(),
            "bad CPU list \"0-1,x\", at offset 4: malformed; a list is like 0-3,8"
        );
        assert_eq!(
            parse("16").unwrap_err().to_string(),
            "bad CPU list \"16\": there are only CPUs 0-15; a list is like 0-3,8"
        );
        assert!(parse("99999999999").is_err());
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["", "0", "0-3,8", "63-64", "1,3,5,127-128,8191", "5000"] {
            assert_eq!(set(text).to_string(), text);
            assert_eq!(CpuSet::parse_mask(&set(text).to_mask()), Some(set(text)));
        }
    }

    #[test]
    fn masks_are_hexadecimal() {
        assert_eq!(CpuSet::parse_mask("3\n"), Some(set("0-1")));
        assert_eq!(
            CpuSet::parse_mask("80000000,00000000,00000001"),
            Some(set("0,95"))
        );
        assert_eq!(set("0,95").to_mask(), "80000000,00000000,00000001");
        assert_eq!(CpuSet::parse_mask("xyz"), None);
        assert_eq!(CpuSet::parse_mask(""), None);
        assert_eq!(CpuSet::parse_mask(&"f".repeat(1 << 20)), None);
    }

    #[test]
    fn sets_are_equal_whatever_their_length_was() {
        assert_eq!(set("1,500").minus(&set("500")), set("1"));
        assert_eq!(set("1").or(&set("500")), set("1,500"));
        assert_eq!(set("500").or(&set("1")), set("1,500"));
        assert_eq!(set("1,500").and(&set("0-100")), set("1"));
        assert!(set("1").is_subset(&set("0-100")));
        assert!(!set("1,500").is_subset(&set("0-100")));
        assert!(set("1,500").intersects(&set("500")));
        assert!(!set("1").intersects(&set("500")));
        assert_eq!(
            (set("1,500").first(), set("1,500").last()),
            (Some(1), Some(500))
        );
        assert_eq!(set("").last(), None);
        assert_eq!(set("0-3,500").len(), 5);
    }

    #[test]
    fn numbers_past_the_limit_are_left_out() {
        let mut cpus = CpuSet::new();

        cpus.insert(LIMIT);
        assert!(cpus.is_empty());
        assert!(CpuSet::parse_any("99999").is_err());
    }
}
