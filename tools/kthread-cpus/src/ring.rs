// SPDX-License-Identifier: GPL-2.0

//! The pages of the kernel's trace buffers, as `trace_pipe_raw` has them.
//!
//! Where the fields are is said by `events/header_page` and by the `format` of an event; the records
//! in between are those of `include/linux/ring_buffer.h`. Nothing in a page is trusted.

/// Where a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    offset: usize,
    size: usize,
}

impl Field {
    /// Finds a field in a description, by the name that its declaration ends with.
    fn find(text: &str, name: &str) -> Option<Self> {
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
            })
        })
    }

    /// Returns the bytes of the field.
    fn bytes<'a>(&self, data: &'a [u8]) -> Option<&'a [u8]> {
        data.get(self.offset..self.offset.checked_add(self.size)?)
    }

    /// Returns the field as a number.
    fn number(&self, data: &[u8]) -> Option<u64> {
        let bytes = self.bytes(data)?;

        Some(match *bytes {
            [a] => a.into(),
            [a, b] => u16::from_ne_bytes([a, b]).into(),
            [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]).into(),
            _ => u64::from_ne_bytes(bytes.try_into().ok()?),
        })
    }
}

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

/// The layout of `sched_switch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchLayout {
    id: u64,
    kind: Field,
    prev_comm: Field,
    prev_pid: Field,
    next_comm: Field,
    next_pid: Field,
}

/// The name that a thread has in an event: at most 15 bytes and zeros.
pub type Comm = [u8; 16];

/// A thread takes over a CPU from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// When, by the clock of the trace, in nanoseconds.
    pub time: u64,
    /// The thread that ran.
    pub prev_pid: u32,
    /// Its name.
    pub prev_comm: Comm,
    /// The thread that runs now.
    pub next_pid: u32,
    /// Its name.
    pub next_comm: Comm,
}

impl SwitchLayout {
    /// Parses `events/sched/sched_switch/format`.
    pub fn parse(text: &str) -> Option<Self> {
        let id = text.lines().find_map(|line| line.strip_prefix("ID:"))?;

        Some(Self {
            id: id.trim().parse().ok()?,
            kind: Field::find(text, "common_type")?,
            prev_comm: Field::find(text, "prev_comm")?,
            prev_pid: Field::find(text, "prev_pid")?,
            next_comm: Field::find(text, "next_comm")?,
            next_pid: Field::find(text, "next_pid")?,
        })
    }

    /// Returns the event, if it is one of these.
    fn read(&self, time: u64, data: &[u8]) -> Option<Switch> {
        let comm = |field: &Field| {
            let mut comm = Comm::default();
            let bytes = field.bytes(data)?;
            let length = bytes
                .iter()
                .position(|&byte| byte == 0)
                .unwrap_or(15)
                .min(15);
            comm[..length].copy_from_slice(bytes.get(..length)?);
            Some(comm)
        };
        let pid = |field: &Field| u32::try_from(field.number(data)?).ok();

        (self.kind.number(data)? == self.id).then_some(Switch {
            time,
            prev_pid: pid(&self.prev_pid)?,
            prev_comm: comm(&self.prev_comm)?,
            next_pid: pid(&self.next_pid)?,
            next_comm: comm(&self.next_comm)?,
        })
    }
}

/// What is in a page besides the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
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

/// Reads the events of a page, and gives them to `found` one by one.
pub fn read_page(
    page: &[u8],
    layout: &PageLayout,
    event: &SwitchLayout,
    mut found: impl FnMut(Switch),
) -> Page {
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
                if let Some(switch) = event.read(time, body) {
                    found(switch);
                }
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
    const FORMAT: &str = "\
name: sched_switch
ID: 372
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:int prev_prio;\toffset:28;\tsize:4;\tsigned:1;
\tfield:long prev_state;\toffset:32;\tsize:8;\tsigned:1;
\tfield:char next_comm[16];\toffset:40;\tsize:16;\tsigned:0;
\tfield:pid_t next_pid;\toffset:56;\tsize:4;\tsigned:1;
\tfield:int next_prio;\toffset:60;\tsize:4;\tsigned:1;
";

    fn layouts() -> (PageLayout, SwitchLayout) {
        (
            PageLayout::parse(HEADER).unwrap(),
            SwitchLayout::parse(FORMAT).unwrap(),
        )
    }

    fn head(kind: u32, delta: u32) -> [u8; 4] {
        (kind | delta << 5).to_ne_bytes()
    }

    fn body(id: u16, prev: u32, next: u32) -> Vec<u8> {
        let mut body = vec![0; 64];
        body[..2].copy_from_slice(&id.to_ne_bytes());
        body[8..12].copy_from_slice(b"prev");
        body[24..28].copy_from_slice(&prev.to_ne_bytes());
        body[40..56].copy_from_slice(b"sixteen_letters_");
        body[56..60].copy_from_slice(&next.to_ne_bytes());
        body
    }

    fn page(time: u64, commit_flags: u64, records: &[&[u8]]) -> Vec<u8> {
        let data = records.concat();
        let mut page = time.to_ne_bytes().to_vec();
        page.extend((data.len() as u64 | commit_flags).to_ne_bytes());
        page.extend(data);
        page.resize(4096, 0);
        page
    }

    fn read(page: &[u8]) -> (Page, Vec<(u64, u32, u32)>) {
        let (layout, event) = layouts();
        let mut found = Vec::new();
        let result = read_page(page, &layout, &event, |switch| {
            found.push((switch.time, switch.prev_pid, switch.next_pid));
        });
        (result, found)
    }

    #[test]
    fn the_descriptions_are_parsed() {
        let (layout, event) = layouts();

        assert_eq!(layout.size(), 4096);
        assert_eq!(event.id, 372);
        assert_eq!(
            event.next_pid,
            Field {
                offset: 56,
                size: 4
            }
        );
        assert_eq!(PageLayout::parse("garbage"), None);
        assert_eq!(SwitchLayout::parse(&FORMAT.replace("next_pid", "x")), None);
        assert_eq!(
            PageLayout::parse(&HEADER.replace("size:4080", "size:99999999999")),
            None
        );
    }

    #[test]
    fn every_kind_of_record() {
        let short = [&head(16, 10)[..], &body(372, 1, 2)].concat();
        let long = [&head(0, 20)[..], &68_u32.to_ne_bytes(), &body(372, 2, 3)].concat();
        let other = [&head(16, 5)[..], &body(371, 8, 9)].concat();
        let padding = [&head(29, 7)[..], &8_u32.to_ne_bytes(), &[0; 4]].concat();
        let extend = [&head(30, 1)[..], &1_u32.to_ne_bytes()].concat();
        let stamp = [&head(31, 3)[..], &2_u32.to_ne_bytes()].concat();
        let end = head(29, 0);

        let (result, found) = read(&page(
            1000,
            0,
            &[
                &short, &other, &padding, &extend, &long, &stamp, &short, &end, &short,
            ],
        ));
        let extended = 1000 + 10 + 5 + 7 + (1 << 27) + 1 + 20;
        let stamped = (2 << 27) + 3 + 10;
        assert_eq!(result, Page::default());
        assert_eq!(found, [(1010, 1, 2), (extended, 2, 3), (stamped, 1, 2)]);
    }

    #[test]
    fn names_are_cut() {
        let (layout, event) = layouts();
        let page = page(0, 0, &[&head(16, 0), &body(372, 1, 2)]);
        let mut names = Vec::new();

        read_page(&page, &layout, &event, |switch| {
            names.push((switch.prev_comm, switch.next_comm));
        });
        assert_eq!(
            names,
            [(*b"prev\0\0\0\0\0\0\0\0\0\0\0\0", *b"sixteen_letters\0")]
        );
    }

    #[test]
    fn lost_events_are_counted() {
        let record = [&head(16, 0)[..], &body(372, 1, 2)].concat();
        let mut page = page(0, MISSED_EVENTS | MISSED_STORED, &[&record]);
        page[16 + 68..16 + 76].copy_from_slice(&99_u64.to_ne_bytes());

        let (result, found) = read(&page);
        assert_eq!((result.lost, result.lost_count, found.len()), (true, 99, 1));
    }

    #[test]
    fn no_page_can_do_harm() {
        let good = page(
            0,
            0,
            &[&head(16, 1), &body(372, 1, 2), &head(30, 1), &[1; 4]],
        );

        for length in 0..good.len().min(120) {
            read(&good[..length]);
        }
        for at in 0..100 {
            for value in [0, 1, 0x1d, 0x3d, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                read(&bad);
            }
        }
        assert!(read(&[0xff; 4096]).0.garbage);
        assert!(
            read(&page(0, 0, &[&head(0, 1), &u32::MAX.to_ne_bytes()]))
                .0
                .garbage
        );
        assert!(
            read(&page(0, 0, &[&head(29, 1), &u32::MAX.to_ne_bytes()]))
                .0
                .garbage
        );
    }
}
