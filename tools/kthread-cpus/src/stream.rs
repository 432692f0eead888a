// SPDX-License-Identifier: GPL-2.0

//! The events of all CPUs, in the order of their time.
//!
//! Each CPU has buffers of its own, which are read one after the other. What is read in one round
//! is put in order, but for the events that are later than the beginning of the round: there may be
//! earlier ones in a buffer that was read before.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
};

use crate::{
    error::{Error, Result},
    events::{Decoder, Event, What},
    ring::{self, PageLayout},
};

/// Events that have been read and not been taken yet.
pub struct Stream {
    page: PageLayout,
    /// What reads them.
    pub decoder: Decoder,
    waiting: Vec<Event>,
    /// How many pages had something in them that no kernel writes.
    pub garbage: u64,
}

impl Stream {
    /// Returns an empty one.
    pub fn new(page: PageLayout, decoder: Decoder) -> Self {
        Self {
            page,
            decoder,
            waiting: Vec::new(),
            garbage: 0,
        }
    }

    /// Takes a page of the buffer of a CPU. Pages of one buffer come in their order.
    pub fn feed(&mut self, cpu: u32, page: &[u8]) {
        let waiting = &mut self.waiting;
        let begin = waiting.len();
        let decoder = &mut self.decoder;
        let result = ring::read_page(page, &self.page, |time, record| {
            let Some(event) = decoder.read(time, cpu, record) else {
                return;
            };
            match event.what {
                // It is that of the event before, which the same thread has caused.
                What::Stack(callers) => {
                    let last = waiting[begin..].last_mut();
                    if let Some(last) = last.filter(|last| last.pid == event.pid) {
                        last.stack = Some(callers);
                    }
                }
                _ => waiting.push(event),
            }
        });
        let lost = |time, count| Event {
            time,
            cpu,
            pid: 0,
            flags: 0,
            what: What::Lost(count),
            stack: None,
        };

        if result.lost {
            self.waiting
                .insert(begin, lost(result.time, result.lost_count));
        }
        if result.garbage {
            self.garbage += 1;
            let last = self.waiting.last().map_or(result.time, |last| last.time);
            self.waiting.push(lost(last, 0));
        }
    }

    /// Returns the events before a time, in their order.
    pub fn until(&mut self, time: u64) -> Vec<Event> {
        // What has the same time keeps its order, which is that of its CPU.
        self.waiting.sort_by_key(|event| event.time);
        let end = self.waiting.partition_point(|event| event.time < time);
        let rest = self.waiting.split_off(end);

        std::mem::replace(&mut self.waiting, rest)
    }
}

/// Appends a page to a recording of pages, with the CPU and the length before it.
///
/// # Errors
///
/// Those of the file.
pub fn save(out: &mut dyn Write, cpu: u32, page: &[u8]) -> std::io::Result<()> {
    // Only a part of it is used; the rest is not worth the place.
    let used = page
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |at| at + 1);

    out.write_all(&cpu.to_le_bytes())?;
    out.write_all(&(used as u32).to_le_bytes())?;
    out.write_all(&page[..used])
}

/// Reads a recording of pages into a stream.
///
/// # Errors
///
/// When it cannot be read.
pub fn replay(path: &Path, stream: &mut Stream) -> Result<()> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_err(|error| Error::new(format_args!("cannot read {}: {error}", path.display())))?;
    let mut rest = bytes.as_slice();
    let mut page = vec![0; stream.page.size()];

    while let Some((head, body)) = rest.split_first_chunk::<8>() {
        let [cpu, length] = [&head[..4], &head[4..]].map(|half| {
            half.iter()
                .rev()
                .fold(0_u32, |n, byte| n << 8 | u32::from(*byte))
        });
        let length = (length as usize).min(body.len());
        let used = length.min(page.len());
        page.fill(0);
        page[..used].copy_from_slice(&body[..used]);
        stream.feed(cpu, &page);
        rest = &body[length..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "\
\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: char data;\toffset:16;\tsize:240;\tsigned:0;
";
    const COMMON: &str = "\
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;
";

    /// A kernel with the events that are needed here; of the first, no record is made.
    fn kernel(path: &str) -> Option<String> {
        let (id, fields) = match path {
            "sched/sched_switch" => (
                1,
                "\
\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:char next_comm[16];\toffset:28;\tsize:16;\tsigned:0;
\tfield:pid_t next_pid;\toffset:44;\tsize:4;\tsigned:1;
",
            ),
            "irq/softirq_raise" => (
                2,
                "\tfield:unsigned int vec;\toffset:8;\tsize:4;\tsigned:0;\n",
            ),
            "ftrace/kernel_stack" => (
                3,
                "\
\tfield:int size;\toffset:8;\tsize:4;\tsigned:1;
\tfield:unsigned long caller[8];\toffset:16;\tsize:64;\tsigned:0;
",
            ),
            _ => return None,
        };
        Some(format!("ID: {id}\n{COMMON}{fields}"))
    }

    fn stream() -> Stream {
        let page = PageLayout::parse(HEADER).unwrap();
        Stream::new(page, Decoder::new(&kernel, &[]).unwrap())
    }

    /// A record with the time that has passed, of thread 7.
    fn record(delta: u32, kind: u8, words: &[u64]) -> Vec<u8> {
        let mut body = vec![kind, 0, 0, 0, 7, 0, 0, 0];
        body.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        let head = ((body.len() as u32 / 4) | (delta << 5)).to_ne_bytes();
        [&head[..], &body].concat()
    }

    fn page(time: u64, flags: u64, records: &[Vec<u8>]) -> Vec<u8> {
        let data = records.concat();
        let mut page = time.to_ne_bytes().to_vec();
        page.extend((data.len() as u64 | flags).to_ne_bytes());
        page.extend(data);
        page.resize(256, 0);
        page
    }

    #[test]
    fn cpus_are_put_in_order() {
        let mut stream = stream();
        let raise = |delta, vector| record(delta, 2, &[vector]);

        stream.feed(1, &page(100, 0, &[raise(10, 1), raise(50, 2)]));
        stream.feed(0, &page(90, 0, &[raise(5, 3), raise(40, 4)]));
        let times =
            |events: Vec<Event>| Vec::from_iter(events.iter().map(|event| (event.time, event.cpu)));
        // There may be more before 135 in a buffer that is read later.
        assert_eq!(times(stream.until(135)), [(95, 0), (110, 1)]);
        stream.feed(0, &page(140, 0, &[raise(1, 5)]));
        assert_eq!(
            times(stream.until(u64::MAX)),
            [(135, 0), (141, 0), (160, 1)]
        );
    }

    #[test]
    fn a_stack_is_that_of_the_event_before() {
        let mut stream = stream();

        stream.feed(
            0,
            &page(
                1,
                0,
                &[
                    record(1, 3, &[1, 9]),
                    record(1, 2, &[1]),
                    record(0, 3, &[2, 10, 11, 12]),
                    record(1, 2, &[1]),
                ],
            ),
        );
        let events = stream.until(u64::MAX);
        let stacks: Vec<_> = events.iter().map(|event| event.stack.as_deref()).collect();
        assert_eq!(stacks, [Some(&[10, 11][..]), None]);
    }

    #[test]
    fn what_was_lost_was_lost_before() {
        let mut stream = stream();

        stream.feed(0, &page(50, 1 << 31, &[record(1, 2, &[1])]));
        stream.feed(1, &[0xff; 256]);
        let events = stream.until(u64::MAX);
        assert_eq!(events[0].what, What::Lost(0));
        assert_eq!((events[0].time, events[1].time), (50, 51));
        assert_eq!(stream.garbage, 1);
    }
}
