// SPDX-License-Identifier: GPL-2.0

//! Descriptions of binary records in tracefs: `events/header_page` and the `format` of each event.
//!
//! They say where a field is on this kernel. A field that lies outside of its record is no field.

use crate::cpuset::{CpuSet, LIMIT};

/// How a field is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storage {
    /// In its place.
    Plain,
    /// Elsewhere in the record: in its place are the offset from the beginning and the length.
    Located,
    /// As before, with the offset from the end of the field.
    Relative,
}

/// Where a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The offset from the beginning of the record.
    pub offset: usize,
    /// How many bytes it has.
    pub size: usize,
    storage: Storage,
    /// Whether it is made of letters.
    text: bool,
}

/// The name that a thread has in an event: at most 15 bytes and zeros.
pub type Comm = [u8; 16];

impl Field {
    /// Finds a field in a description, by the name that its declaration ends with.
    pub fn find(text: &str, name: &str) -> Option<Self> {
        text.lines().find_map(|line| {
            let mut parts = line.trim().split(';');
            let declaration = parts.next()?.strip_prefix("field:")?;
            let last = declaration.split_whitespace().next_back()?;
            if last.split('[').next()? != name {
                return None;
            }
            let mut number = |key| parts.next()?.trim().strip_prefix(key)?.parse().ok();
            Some(Self {
                offset: number("offset:")?,
                size: number("size:")?,
                storage: match declaration.split_whitespace().next()? {
                    "__data_loc" => Storage::Located,
                    "__rel_loc" => Storage::Relative,
                    _ => Storage::Plain,
                },
                text: declaration.split([' ', '[']).any(|word| word == "char"),
            })
        })
    }

    /// Returns the bytes in the place of the field.
    fn place<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        record.get(self.offset..self.offset.checked_add(self.size)?)
    }

    /// Returns the bytes of the field.
    pub fn bytes<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        let place = self.place(record)?;
        let base = match self.storage {
            Storage::Plain => return Some(place),
            Storage::Located => 0,
            Storage::Relative => self.offset + self.size,
        };
        let location = u32::from_ne_bytes(place.try_into().ok()?) as usize;
        let begin = base.checked_add(location & 0xffff)?;

        record.get(begin..begin.checked_add(location >> 16)?)
    }

    /// Returns the field as a number without a sign.
    pub fn number(&self, record: &[u8]) -> Option<u64> {
        let place = self.place(record)?;

        Some(match *place {
            [a] => a.into(),
            [a, b] => u16::from_ne_bytes([a, b]).into(),
            [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]).into(),
            _ => u64::from_ne_bytes(place.try_into().ok()?),
        })
    }

    /// Returns the name of a thread.
    pub fn comm(&self, record: &[u8]) -> Option<Comm> {
        let bytes = until_zero(self.bytes(record)?);
        let length = bytes.len().min(15);
        let mut comm = Comm::default();

        comm[..length].copy_from_slice(bytes.get(..length)?);
        Some(comm)
    }

    /// Returns a string without what a terminal would obey; nothing if it is something else, for older
    /// kernels have addresses where later ones have names.
    pub fn text(&self, record: &[u8]) -> Option<String> {
        let bytes = self.bytes(record).filter(|_| self.text)?;

        Some(printable(until_zero(bytes)))
    }

    /// Returns a mask of CPUs, whose bits are in words of the machine.
    pub fn cpus(&self, record: &[u8]) -> Option<CpuSet> {
        let words = self.bytes(record)?.chunks_exact(size_of::<usize>());
        let most = LIMIT / usize::BITS;
        let words: Option<_> = words
            .take(most as usize)
            .map(|bytes| Some(usize::from_ne_bytes(bytes.try_into().ok()?)))
            .collect();

        Some(CpuSet::from_words(words?))
    }
}

/// Returns what is before the first zero.
fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Returns the name of a thread as text.
pub fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(until_zero(bytes)).replace(|c: char| c.is_control(), "?")
}

/// Returns the number of an event.
pub fn id(text: &str) -> Option<u16> {
    let id = text.lines().find_map(|line| line.strip_prefix("ID:"))?;

    id.trim().parse().ok()
}

/// Returns the words that an event prints for numbers, as in `{ 0, "HI" }, { 1, "TIMER" }`.
pub fn words(text: &str) -> Vec<(u64, String)> {
    let format = text.lines().find(|line| line.starts_with("print fmt:"));

    format
        .unwrap_or_default()
        .split('{')
        .skip(1)
        .filter_map(|part| {
            let (number, rest) = part.split_once(',')?;
            let word = rest.split('"').nth(1)?;
            Some((number.trim().parse().ok()?, word.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "\
name: irq_handler_entry
ID: 225
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

\tfield:int irq;\toffset:8;\tsize:4;\tsigned:1;
\tfield:__data_loc char[] name;\toffset:12;\tsize:4;\tsigned:0;
\tfield:__rel_loc char[] other;\toffset:16;\tsize:4;\tsigned:0;

print fmt: \"vec=%u\", __print_symbolic(REC->vec, { 0, \"HI\" }, { 1, \"TIMER\" })
";

    #[test]
    fn strings_are_where_the_record_says() {
        let name = Field::find(FORMAT, "name").unwrap();
        let other = Field::find(FORMAT, "other").unwrap();
        let mut record = vec![0; 20];
        record[12..16].copy_from_slice(&(5_u32 << 16 | 20).to_ne_bytes());
        record[16..20].copy_from_slice(&(3_u32 << 16 | 5).to_ne_bytes());
        record.extend(b"eth\x1b\0xy\0");

        assert_eq!(name.text(&record).unwrap(), "eth?");
        assert_eq!(other.text(&record).unwrap(), "xy");
        assert_eq!(Field::find(FORMAT, "irq").unwrap().text(&record), None);
        assert_eq!(name.text(&record[..24]), None);
        assert_eq!(name.text(&record[..14]), None);
        assert_eq!(name.comm(&record).unwrap()[..5], *b"eth\x1b\0");
    }

    #[test]
    fn descriptions_have_a_number_and_words() {
        assert_eq!(id(FORMAT), Some(225));
        assert_eq!(id("ID: 70000"), None);
        assert_eq!(
            words(FORMAT),
            [(0, "HI".to_owned()), (1, "TIMER".to_owned())]
        );
        assert_eq!(words("garbage"), []);
    }

    #[test]
    fn masks_are_words() {
        let field = Field {
            offset: 0,
            size: 4,
            storage: Storage::Located,
            text: false,
        };
        let mut record = (16_u32 << 16 | 8).to_ne_bytes().to_vec();
        record.extend([0; 4]);
        record.extend(5_u64.to_ne_bytes());
        record.extend(1_u64.to_ne_bytes());

        assert_eq!(field.cpus(&record).unwrap().to_string(), "0,2,64");
    }
}
