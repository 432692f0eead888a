// SPDX-License-Identifier: GPL-2.0

//! Which events a kernel has, and what its records of them mean.

use std::collections::HashMap;

use super::{
    spec::{Build, Reader, SPECS, STACK, SWITCH},
    Event, Name, Names, Side, Task, What,
};
use crate::format::{self, Field};

/// The architecture's own interrupts: each has an event `NAME_entry` and one `NAME_exit` in there.
const VECTORS: &str = "irq_vectors";

/// An event that the kernel has.
struct Known {
    path: String,
    side: Side,
    stack: bool,
    fields: Vec<Field>,
    /// For the interrupts of the architecture: the name, and whether it begins.
    vector: Option<(Name, bool)>,
    build: Option<Build>,
}

/// Reads records as events.
pub struct Decoder {
    kind: Field,
    flags: Field,
    pid: Field,
    known: Vec<Option<Known>>,
    /// The words of the events.
    pub names: Names,
    /// The names of softirqs, by number.
    pub softirqs: Vec<(u64, String)>,
    /// What cannot be told, in words.
    pub missing: Vec<String>,
    /// The strings of which events have the address.
    strings: HashMap<u64, String>,
}

/// Parses a line of `printk_formats`, such as `0xffff800081234567 : "Rescheduling interrupts"`.
fn string_at(line: &str) -> Option<(u64, String)> {
    let (address, text) = line.split_once(" : ")?;
    let address = u64::from_str_radix(address.trim().strip_prefix("0x")?, 16).ok()?;
    let text = text.trim().strip_prefix('"')?.strip_suffix('"')?;

    Some((address, text.to_owned()))
}

/// As many strings are of interest: a kernel has hundreds.
const MOST_STRINGS: usize = 1 << 12;

impl Decoder {
    /// Finds out what a kernel has. `format` returns the description of an event, if there is one, and
    /// `vectors` are the names below `events/irq_vectors`.
    ///
    /// Nothing is returned if there is no [`SWITCH`], or it is not described as one.
    pub fn new(format: &dyn Fn(&str) -> Option<String>, vectors: &[String]) -> Option<Self> {
        let text = format(SWITCH)?;
        let mut decoder = Self {
            kind: Field::find(&text, "common_type")?,
            flags: Field::find(&text, "common_flags")?,
            pid: Field::find(&text, "common_pid")?,
            known: Vec::new(),
            names: Names::default(),
            softirqs: Vec::new(),
            missing: Vec::new(),
            strings: HashMap::new(),
        };

        for spec in SPECS {
            let text = format(spec.path).unwrap_or_default();
            let find = |name: &&str| Field::find(&text, name);
            match (
                format::id(&text),
                spec.fields.iter().map(find).collect::<Option<Vec<_>>>(),
            ) {
                (Some(id), Some(mut fields)) => {
                    fields.extend(spec.optional.as_ref().and_then(find));
                    decoder.insert(
                        id,
                        Known {
                            path: spec.path.to_owned(),
                            side: spec.side,
                            stack: spec.stack,
                            fields,
                            vector: None,
                            build: Some(spec.build),
                        },
                    );
                }
                _ if spec.path == SWITCH => return None,
                _ if spec.missing.is_empty() => {}
                _ => decoder
                    .missing
                    .push(format!("this kernel does not tell {}", spec.missing)),
            }
            if spec.path == "irq/softirq_entry" {
                decoder.softirqs = format::words(&text);
            }
        }
        for event in vectors {
            let (name, begins) = match (event.strip_suffix("_entry"), event.strip_suffix("_exit")) {
                (Some(name), _) => (name, true),
                (_, Some(name)) => (name, false),
                _ => continue,
            };
            let path = format!("{VECTORS}/{event}");
            if let Some(id) = format(&path).and_then(|text| format::id(&text)) {
                let name = decoder.names.number(name);
                decoder.insert(
                    id,
                    Known {
                        path,
                        side: Side::Outside,
                        stack: false,
                        fields: Vec::new(),
                        vector: Some((name, begins)),
                        build: None,
                    },
                );
            }
        }
        Some(decoder)
    }

    /// Takes the strings of which events have only the address, from `printk_formats`.
    pub fn set_strings(&mut self, text: &str) {
        let strings = text.lines().filter_map(string_at);

        self.strings = strings.take(MOST_STRINGS).collect();
    }

    fn insert(&mut self, id: u16, known: Known) {
        let index = usize::from(id);

        if self.known.len() <= index {
            self.known.resize_with(index + 1, || None);
        }
        self.known[index] = Some(known);
    }

    /// Returns the events to switch on, and whether the callers are of interest.
    pub fn paths(&self, side: Side) -> impl Iterator<Item = (&str, bool)> {
        self.known
            .iter()
            .flatten()
            .filter(move |known| side == Side::Outside || known.side == side)
            .filter(|known| known.path != STACK)
            .map(|known| (&*known.path, known.stack))
    }

    /// Reads a record; nothing if it is none of these events.
    pub fn read(&mut self, time: u64, cpu: u32, record: &[u8]) -> Option<Event> {
        let kind = usize::try_from(self.kind.number(record)?).ok()?;
        let known = self.known.get(kind)?.as_ref()?;
        let what = match (known.vector, known.build) {
            (Some((name, true)), _) => What::Begin {
                task: Task::Vector(name),
                function: 0,
                name,
            },
            (Some((name, false)), _) => What::End(Task::Vector(name)),
            (None, build) => build?(&mut Reader {
                record,
                fields: &known.fields,
                names: &mut self.names,
                strings: &self.strings,
            })?,
        };

        Some(Event {
            time,
            cpu,
            pid: u32::try_from(self.pid.number(record)?).unwrap_or(0),
            flags: self.flags.number(record)? as u8,
            what,
            stack: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::IN_SOFTIRQ, *};

    const COMMON: &str = "\
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;
";

    fn kernel(path: &str) -> Option<String> {
        let (id, fields) = match path {
            SWITCH => (
                1,
                "\
\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:char next_comm[16];\toffset:28;\tsize:16;\tsigned:0;
\tfield:pid_t next_pid;\toffset:44;\tsize:4;\tsigned:1;
",
            ),
            "timer/timer_start" => (
                2,
                "\
\tfield:void * timer;\toffset:8;\tsize:8;\tsigned:0;
\tfield:void * function;\toffset:16;\tsize:8;\tsigned:0;
",
            ),
            "ipi/ipi_entry" => (
                5,
                "\tfield:const char * reason;\toffset:8;\tsize:8;\tsigned:0;\n",
            ),
            "irq_vectors/local_timer_entry" => (3, ""),
            // It has lost a field.
            "sched/sched_waking" => (4, ""),
            _ => return None,
        };
        Some(format!("ID: {id}\n{COMMON}{fields}"))
    }

    #[test]
    fn a_kernel_has_some_of_the_events() {
        let vectors = ["local_timer_entry", "local_timer_exit", "vector_alloc"];
        let mut decoder = Decoder::new(&kernel, &vectors.map(str::to_owned)).unwrap();
        let paths = |side| Vec::from_iter(decoder.paths(side));

        assert_eq!(
            paths(Side::Outside),
            [
                (SWITCH, false),
                ("timer/timer_start", true),
                ("irq_vectors/local_timer_entry", false),
                ("ipi/ipi_entry", false)
            ]
        );
        assert_eq!(
            paths(Side::Everywhere),
            [(SWITCH, false), ("timer/timer_start", true)]
        );
        assert!(decoder.missing[0].contains("who wakes"));

        let mut record = vec![2, 0, 0x10, 0, 9, 0, 0, 0];
        record.extend([7_u64.to_ne_bytes(), 8_u64.to_ne_bytes()].concat());
        let event = decoder.read(5, 1, &record).unwrap();
        assert_eq!(
            (event.time, event.cpu, event.pid, event.flags),
            (5, 1, 9, IN_SOFTIRQ)
        );
        assert_eq!(
            event.what,
            What::Arm {
                timer: 7,
                function: 8,
                pinned: false
            }
        );
        assert_eq!(decoder.read(5, 1, &record[..20]), None);
        assert_eq!(decoder.read(5, 1, &[9, 9]), None);
    }

    #[test]
    fn kernels_tell_which_timers_are_pinned() {
        let flags = "\tfield:unsigned int flags;\toffset:24;\tsize:4;\tsigned:0;\n";
        let format = |path: &str| {
            let text = kernel(path)?;
            Some(match path {
                "timer/timer_start" => text + flags,
                _ => text,
            })
        };
        let mut decoder = Decoder::new(&format, &[]).unwrap();
        let mut is_pinned = |flags: u32| {
            let mut record = vec![2, 0, 0, 0, 9, 0, 0, 0];
            record.extend([7_u64.to_ne_bytes(), 8_u64.to_ne_bytes()].concat());
            record.extend(flags.to_ne_bytes());
            match decoder.read(5, 1, &record).unwrap().what {
                What::Arm { pinned, .. } => pinned,
                what => panic!("{what:?}"),
            }
        };

        assert!(is_pinned(0x0018_0003));
        assert!(!is_pinned(0x0008_0003));
    }

    #[test]
    fn interrupts_of_other_architectures_have_the_same_words() {
        let mut decoder = Decoder::new(&kernel, &[]).unwrap();
        decoder.set_strings(
            "0xffff800081000000 : \"Rescheduling interrupts\"\n0xffff800081000040 : \"KGDB roundup \
             interrupts\"\ngarbage\n0x1 : no quotation marks\n",
        );
        let mut word = |address: u64| {
            let record = [&[5, 0, 0, 0, 9, 0, 0, 0][..], &address.to_ne_bytes()].concat();
            match decoder.read(5, 1, &record).unwrap().what {
                What::Begin { name, .. } => decoder.names.word(name).to_owned(),
                what => panic!("{what:?}"),
            }
        };

        assert_eq!(word(0xffff_8000_8100_0000), "reschedule");
        assert_eq!(word(0xffff_8000_8100_0040), "KGDB roundup interrupts");
        assert_eq!(word(7), "ipi");
    }
}
