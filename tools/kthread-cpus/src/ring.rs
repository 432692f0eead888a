// SPDX-License-Identifier: GPL-2.0

//! The pages of the kernel's trace buffers, as `trace_pipe_raw` has them.
//!
//! Where the fields are is said by `events/header_page`; the records in between are those of
//! `include/linux/ring_buffer.h`. Nothing in a page is trusted.

use crate::format::Field;

/// The layout of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLayout {
    timestamp: Field,
    commit: Field,
    data: Field,
}

impl PageLayout {
    /// Parses `events/header_page`.
    pub fn parse(text: &str) -> Option<Self> {
        let layout = Self {
            timestamp: Field::find(text, "timestamp")?,
            commit: Field::find(text, "commit")?,
            data: Field::find(text, "data")?,
        };

        (layout.size() <= 1 << 24).then_some(layout)
    }

    /// Returns the size of a page.
    pub fn size(&self) -> usize {
        self.data.offset.saturating_add(self.data.size)
    }
}

/// What is in a page besides the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The time of the page, before its first event.
    pub time: u64,
    /// Whether events before this page have been lost.
    pub lost: bool,
    /// How many, where the kernel says so.
    pub lost_count: u64,
    /// Whether the page has something in it that no kernel writes; what follows it was left out.
    pub garbage: bool,
}

/// In the field `commit`: events before this page have been lost.
const MISSED_EVENTS: u64 = 1 << 31;
/// Their number is behind the last event.
const MISSED_STORED: u64 = 1 << 30;

/// Bits of the time in a record.
const TIME_BITS: u32 = 27;

/// Reads the events of a page, and gives each to `found` with its time.
pub fn read_page(page: &[u8], layout: &PageLayout, mut found: impl FnMut(u64, &[u8])) -> Page {
    let garbage = Page {
        garbage: true,
        ..Page::default()
    };
    let (Some(mut time), Some(commit)) =
        (layout.timestamp.number(page), layout.commit.number(page))
    else {
        return garbage;
    };
    let length = (commit & (MISSED_STORED - 1)) as usize;
    let begin = layout.data.offset;
    let Some(mut data) = begin
        .checked_add(length)
        .and_then(|end| page.get(begin..end))
    else {
        return garbage;
    };
    let mut result = Page {
        time,
        lost: commit & MISSED_EVENTS != 0,
        ..Page::default()
    };
    if commit & MISSED_STORED != 0 {
        let stored = page.get(begin + length..begin + length + 8);
        result.lost_count = stored
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_ne_bytes);
    }

    while !data.is_empty() {
        let Some(record) = Record::read(data) else {
            result.garbage = true;
            break;
        };
        match record.kind {
            Kind::End => break,
            Kind::Padding => time = time.wrapping_add(record.delta),
            Kind::Extend => time = time.wrapping_add(record.delta),
            // The uppermost bits are those of the page's time.
            Kind::Stamp => time = (time & !((1 << 59) - 1)) | record.delta,
            Kind::Event(body) => {
                time = time.wrapping_add(record.delta);
                found(time, body);
            }
        }
        data = record.rest;
    }
    result
}

/// What a record is.
enum Kind<'a> {
    /// There is no more in the page.
    End,
    /// Nothing, where an event has been discarded.
    Padding,
    /// More bits of time.
    Extend,
    /// The time itself.
    Stamp,
    /// An event.
    Event(&'a [u8]),
}

/// A record of a page.
struct Record<'a> {
    kind: Kind<'a>,
    delta: u64,
    rest: &'a [u8],
}

impl<'a> Record<'a> {
    /// Takes the record that `data` begins with.
    fn read(data: &'a [u8]) -> Option<Self> {
        let word = |at: usize| {
            let bytes = data.get(at..at + 4)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        let head = word(0)?;
        // The bit field begins at the other end on such machines.
        let (kind, delta) = if cfg!(target_endian = "big") {
            (head >> TIME_BITS, head & ((1 << TIME_BITS) - 1))
        } else {
            (head & 31, head >> 5)
        };
        let delta = u64::from(delta);
        let long = |high: u32| u64::from(high) << TIME_BITS | delta;

        let (kind, delta, length) = match kind {
            29 if delta == 0 => (Kind::End, 0, data.len()),
            29 => (
                Kind::Padding,
                delta,
                4_usize.checked_add(word(4)? as usize)?,
            ),
            30 => (Kind::Extend, long(word(4)?), 8),
            31 => (Kind::Stamp, long(word(4)?), 8),
            0 => {
                let size = word(4)? as usize;
                let body = data.get(8..4_usize.checked_add(size)?)?;
                (Kind::Event(body), delta, 4 + size)
            }
            words => {
                let length = 4 + words as usize * 4;
                (Kind::Event(data.get(4..length)?), delta, length)
            }
        };
        Some(Self {
            kind,
            delta,
            rest: data.get(length..)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "\
\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;
\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;
";

    fn head(kind: u32, delta: u32) -> [u8; 4] {
        (kind | delta << 5).to_ne_bytes()
    }

    fn page(time: u64, commit_flags: u64, records: &[&[u8]]) -> Vec<u8> {
        let data = records.concat();
        let mut page = time.to_ne_bytes().to_vec();
        page.extend((data.len() as u64 | commit_flags).to_ne_bytes());
        page.extend(data);
        page.resize(4096, 0);
        page
    }

    fn read(page: &[u8]) -> (Page, Vec<(u64, Vec<u8>)>) {
        let mut found = Vec::new();
        let layout = PageLayout::parse(HEADER).unwrap();
        let result = read_page(page, &layout, |time, body| {
            found.push((time, body.to_vec()))
        });
        (result, found)
    }

    #[test]
    fn the_description_is_parsed() {
        assert_eq!(PageLayout::parse(HEADER).unwrap().size(), 4096);
        assert_eq!(PageLayout::parse("garbage"), None);
        assert_eq!(
            PageLayout::parse(&HEADER.replace("size:4080", "size:99999999999")),
            None
        );
    }

    #[test]
    fn every_kind_of_record() {
        let short = [&head(2, 10)[..], b"a short."].concat();
        let long = [&head(0, 20)[..], &12_u32.to_ne_bytes(), b"a length"].concat();
        let padding = [&head(29, 7)[..], &8_u32.to_ne_bytes(), &[0; 4]].concat();
        let extend = [&head(30, 1)[..], &1_u32.to_ne_bytes()].concat();
        let stamp = [&head(31, 3)[..], &2_u32.to_ne_bytes()].concat();
        let end = head(29, 0);

        let (result, found) = read(&page(
            1000,
            0,
            &[
                &short, &padding, &extend, &long, &stamp, &short, &end, &short,
            ],
        ));
        let extended = 1000 + 10 + 7 + (1 << 27) + 1 + 20;
        let stamped = (2 << 27) + 3 + 10;
        assert_eq!(
            result,
            Page {
                time: 1000,
                ..Page::default()
            }
        );
        assert_eq!(
            found,
            [
                (1010, b"a short.".to_vec()),
                (extended, b"a length".to_vec()),
                (stamped, b"a short.".to_vec())
            ]
        );
    }

    #[test]
    fn lost_events_are_counted() {
        let record = [&head(1, 0)[..], b"body"].concat();
        let mut page = page(0, MISSED_EVENTS | MISSED_STORED, &[&record]);
        page[16 + 8..16 + 16].copy_from_slice(&99_u64.to_ne_bytes());

        let (result, found) = read(&page);
        assert_eq!((result.lost, result.lost_count, found.len()), (true, 99, 1));
    }

    #[test]
    fn no_page_can_do_harm() {
        let good = page(0, 0, &[&head(2, 1), b"somebody", &head(30, 1), &[1; 4]]);

        for length in 0..good.len().min(120) {
            read(&good[..length]);
        }
        for at in 0..60 {
            for value in [0, 1, 0x1d, 0x3d, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                read(&bad);
            }
        }
        assert!(read(&[0xff; 4096]).0.garbage);
        for kind in [0, 29] {
            let bad = page(0, 0, &[&head(kind, 1), &u32::MAX.to_ne_bytes()]);
            assert!(read(&bad).0.garbage);
        }
    }
}
