// SPDX-License-Identifier: GPL-2.0

//! The events that tell what runs on a CPU, and who wanted it.
//!
//! Each kernel has its own set of them. What is missing is not an error: less can be told then.

use std::{collections::HashMap, sync::Arc};

use crate::{
    cpuset::CpuSet,
    format::{self, Comm, Field},
};

/// A word that events repeat, such as the name of a workqueue, as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(u32);

/// The words that events have had.
#[derive(Debug)]
pub struct Names {
    words: Vec<String>,
    numbers: HashMap<String, Name>,
}

/// A machine that makes up new words without an end gets this many.
const MOST_NAMES: usize = 1 << 14;

impl Default for Names {
    fn default() -> Self {
        Self {
            words: vec!["?".to_owned()],
            numbers: HashMap::new(),
        }
    }
}

impl Names {
    /// Returns the number of a word.
    pub fn number(&mut self, word: &str) -> Name {
        if let Some(&name) = self.numbers.get(word) {
            return name;
        }
        if self.words.len() >= MOST_NAMES {
            return Name::default();
        }
        let name = Name(self.words.len() as u32);
        self.words.push(word.to_owned());
        self.numbers.insert(word.to_owned(), name);
        name
    }

    /// Returns the word; `?` for the number that no word has.
    pub fn word(&self, name: Name) -> &str {
        self.words.get(name.0 as usize).map_or("?", String::as_str)
    }
}

/// A thread takes over a CPU from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The thread that ran.
    pub prev_pid: u32,
    /// Its name.
    pub prev_comm: Comm,
    /// The thread that runs now.
    pub next_pid: u32,
    /// Its name.
    pub next_comm: Comm,
}

/// What is needed to say that something ends that has begun: its kind and which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// A work item, by its address.
    Work(u64),
    /// A softirq, by its number.
    Softirq(u64),
    /// A timer, by its address.
    Timer(u64),
    /// An interrupt handler, by its number.
    Irq(u64),
    /// What the architecture calls an interrupt of its own.
    Vector(Name),
    /// A function that another CPU has asked for, by the address of the request.
    Call(u64),
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Another thread runs.
    Switch(Switch),
    /// A thread is woken.
    Wake(u32),
    /// Work is queued on a workqueue.
    Queue {
        /// The address of the item.
        work: u64,
        /// What it will call.
        function: u64,
        /// The name of the workqueue.
        queue: Name,
    },
    /// A timer is armed.
    Arm {
        /// Its address.
        timer: u64,
        /// What it will call.
        function: u64,
    },
    /// A softirq is raised on this CPU.
    Raise(u64),
    /// A CPU is asked to call a function.
    Ask {
        /// The CPU.
        cpu: u32,
        /// The address of the request.
        request: u64,
    },
    /// CPUs are interrupted.
    Interrupt {
        /// Which ones.
        cpus: Arc<CpuSet>,
        /// Whether it is only for the scheduler to look what to do.
        reschedule: bool,
    },
    /// Something begins.
    Begin {
        /// What will end.
        task: Task,
        /// The function that it calls, 0 if there is none.
        function: u64,
        /// Its name, if it has one.
        name: Name,
    },
    /// Something ends.
    End(Task),
    /// A handler of non-maskable interrupts was there.
    Nmi {
        /// The handler.
        function: u64,
        /// How long it took, in nanoseconds.
        ns: u64,
    },
    /// How the event before it came about: the callers.
    Stack(Arc<[u64]>),
    /// Events before this time have been lost.
    Lost(u64),
}

/// What has happened, where, and in whose time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, by the clock of the trace, in nanoseconds.
    pub time: u64,
    /// The CPU.
    pub cpu: u32,
    /// The thread that ran then.
    pub pid: u32,
    /// The kernel's flags: whether it was interrupted.
    pub flags: u8,
    /// What.
    pub what: What,
    /// The callers, if they are recorded.
    pub stack: Option<Arc<[u64]>>,
}

/// In the flags: in a hard interrupt.
pub const IN_HARDIRQ: u8 = 0x08;
/// In the flags: in a softirq.
pub const IN_SOFTIRQ: u8 = 0x10;

/// Which CPUs an event is needed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Those outside of the list.
    Outside,
    /// All: who wants something may be anywhere.
    Everywhere,
}

/// Takes the fields out of a record.
struct Reader<'a> {
    record: &'a [u8],
    fields: &'a [Field],
    names: &'a mut Names,
    strings: &'a HashMap<u64, String>,
}

/// Returns the word for an interrupt from another CPU of which Arm's kernels give a description: that
/// which x86 has for it.
fn ipi_word(reason: &str) -> &str {
    match reason {
        "Rescheduling interrupts" => "reschedule",
        "Function call interrupts" => "call_function",
        "IRQ work interrupts" => "irq_work",
        "Timer broadcast interrupts" => "local_timer",
        reason => reason,
    }
}

impl Reader<'_> {
    fn number(&self, index: usize) -> Option<u64> {
        self.fields.get(index)?.number(self.record)
    }

    fn small(&self, index: usize) -> Option<u32> {
        u32::try_from(self.number(index)?).ok()
    }

    fn comm(&self, index: usize) -> Option<Comm> {
        self.fields.get(index)?.comm(self.record)
    }

    fn name(&mut self, index: usize) -> Option<Name> {
        let text = self.fields.get(index)?.text(self.record)?;
        Some(self.names.number(&text))
    }

    /// Returns the name of an interrupt from another CPU, which is at an address.
    fn ipi(&mut self, index: usize) -> Option<Name> {
        let reason = self.strings.get(&self.number(index)?);
        let word = reason.map_or("ipi", |reason| ipi_word(reason));
        Some(self.names.number(word))
    }

    fn begin(&self, task: fn(u64) -> Task, function: usize) -> Option<What> {
        Some(What::Begin {
            task: task(self.number(0)?),
            function: self.number(function)?,
            name: Name::default(),
        })
    }

    fn arm(&self) -> Option<What> {
        Some(What::Arm {
            timer: self.number(0)?,
            function: self.number(1)?,
        })
    }

    fn end(&self, task: fn(u64) -> Task) -> Option<What> {
        Some(What::End(task(self.number(0)?)))
    }
}

/// An event that is made use of.
struct Spec {
    /// Its directory below `events/`.
    path: &'static str,
    /// The fields, all of which it must have.
    fields: &'static [&'static str],
    side: Side,
    /// Whether `--stack` asks for the callers.
    stack: bool,
    /// What cannot be told without it.
    missing: &'static str,
    build: fn(&mut Reader<'_>) -> Option<What>,
}

const fn spec(
    path: &'static str,
    fields: &'static [&'static str],
    build: fn(&mut Reader<'_>) -> Option<What>,
) -> Spec {
    Spec {
        path,
        fields,
        side: Side::Outside,
        stack: false,
        missing: "",
        build,
    }
}

impl Spec {
    const fn everywhere(mut self) -> Self {
        self.side = Side::Everywhere;
        self
    }

    const fn with_stack(mut self) -> Self {
        self.stack = true;
        self
    }

    const fn or_else(mut self, missing: &'static str) -> Self {
        self.missing = missing;
        self
    }
}

/// The event without which there is nothing to tell.
pub const SWITCH: &str = "sched/sched_switch";

/// Whether an event tells what a thread does on a CPU; it is of no use without the others.
pub fn follows_threads(path: &str) -> bool {
    path == SWITCH || path.starts_with("workqueue/workqueue_execute_")
}

/// All events but the interrupts of the architecture, whose names differ.
const SPECS: &[Spec] = &[
    spec(
        SWITCH,
        &["prev_pid", "prev_comm", "next_pid", "next_comm"],
        |r| {
            Some(What::Switch(Switch {
                prev_pid: r.small(0)?,
                prev_comm: r.comm(1)?,
                next_pid: r.small(2)?,
                next_comm: r.comm(3)?,
            }))
        },
    )
    .everywhere(),
    spec("sched/sched_waking", &["pid"], |r| {
        Some(What::Wake(r.small(0)?))
    })
    .everywhere()
    .with_stack()
    .or_else("who wakes kernel threads"),
    spec(
        "workqueue/workqueue_queue_work",
        &["work", "function", "workqueue"],
        |r| {
            Some(What::Queue {
                work: r.number(0)?,
                function: r.number(1)?,
                queue: r.name(2).unwrap_or_default(),
            })
        },
    )
    .everywhere()
    .with_stack()
    .or_else("who queues work, and on which workqueue"),
    spec(
        "workqueue/workqueue_execute_start",
        &["work", "function"],
        |r| r.begin(Task::Work, 1),
    )
    .everywhere()
    .or_else("which work runs"),
    spec("workqueue/workqueue_execute_end", &["work"], |r| {
        r.end(Task::Work)
    })
    .everywhere(),
    spec("irq/softirq_raise", &["vec"], |r| {
        Some(What::Raise(r.number(0)?))
    })
    .with_stack()
    .or_else("who raises softirqs"),
    spec("irq/softirq_entry", &["vec"], |r| {
        Some(What::Begin {
            task: Task::Softirq(r.number(0)?),
            function: 0,
            name: Name::default(),
        })
    })
    .or_else("which softirqs run"),
    spec("irq/softirq_exit", &["vec"], |r| r.end(Task::Softirq)),
    spec("timer/timer_start", &["timer", "function"], |r| r.arm())
        .everywhere()
        .with_stack()
        .or_else("who arms timers"),
    spec("timer/timer_expire_entry", &["timer", "function"], |r| {
        r.begin(Task::Timer, 1)
    })
    .or_else("which timers expire"),
    spec("timer/timer_expire_exit", &["timer"], |r| {
        r.end(Task::Timer)
    }),
    spec("timer/hrtimer_start", &["hrtimer", "function"], |r| r.arm())
        .everywhere()
        .with_stack()
        .or_else("who arms high-resolution timers"),
    spec(
        "timer/hrtimer_expire_entry",
        &["hrtimer", "function"],
        |r| r.begin(Task::Timer, 1),
    )
    .or_else("which high-resolution timers expire"),
    spec("timer/hrtimer_expire_exit", &["hrtimer"], |r| {
        r.end(Task::Timer)
    }),
    spec("irq/irq_handler_entry", &["irq", "name"], |r| {
        Some(What::Begin {
            task: Task::Irq(r.number(0)?),
            function: 0,
            name: r.name(1)?,
        })
    })
    .or_else("which interrupts come"),
    spec("irq/irq_handler_exit", &["irq"], |r| r.end(Task::Irq)),
    spec("csd/csd_queue_cpu", &["cpu", "csd"], |r| {
        Some(What::Ask {
            cpu: r.small(0)?,
            request: r.number(1)?,
        })
    })
    .everywhere()
    .with_stack()
    .or_else("who asks other CPUs to call a function (it takes Linux 6.5)"),
    spec("csd/csd_function_entry", &["csd", "func"], |r| {
        r.begin(Task::Call, 1)
    })
    .or_else("which function an interrupt from another CPU calls (it takes Linux 6.5)"),
    spec("csd/csd_function_exit", &["csd"], |r| r.end(Task::Call)),
    spec("ipi/ipi_send_cpu", &["cpu", "callback"], |r| {
        Some(What::Interrupt {
            cpus: Arc::new(CpuSet::from_iter([r.small(0)?])),
            reschedule: r.number(1)? == 0,
        })
    })
    .everywhere()
    .with_stack()
    .or_else("who interrupts other CPUs (it takes Linux 6.4)"),
    spec("ipi/ipi_send_cpumask", &["cpumask", "callback"], |r| {
        Some(What::Interrupt {
            cpus: Arc::new(r.fields.first()?.cpus(r.record)?),
            reschedule: r.number(1)? == 0,
        })
    })
    .everywhere()
    .with_stack(),
    // On Arm, these are what x86 has events of its own for. Nothing follows the calls on older kernels.
    spec("ipi/ipi_raise", &["target_cpus", "reason"], |r| {
        let cpus = Arc::new(r.fields.first()?.cpus(r.record)?);
        let name = r.ipi(1)?;
        Some(What::Interrupt {
            cpus,
            reschedule: r.names.word(name) == "reschedule",
        })
    })
    .everywhere()
    .with_stack(),
    spec("ipi/ipi_entry", &["reason"], |r| {
        let name = r.ipi(0)?;
        Some(What::Begin {
            task: Task::Vector(name),
            function: 0,
            name,
        })
    }),
    spec("ipi/ipi_exit", &["reason"], |r| {
        r.ipi(0).map(|name| What::End(Task::Vector(name)))
    }),
    spec("nmi/nmi_handler", &["handler", "delta_ns"], |r| {
        Some(What::Nmi {
            function: r.number(0)?,
            ns: r.number(1).filter(|ns| *ns < 1 << 40)?,
        })
    }),
    // The callers, behind the event that they are of. It is not switched on; --stack causes it.
    spec(STACK, &["size", "caller"], |r| {
        let caller = r.fields.get(1)?;
        let count = r.small(0)?.min(MOST_CALLERS) as usize;
        let rest = r.record.get(caller.offset..)?.chunks_exact(8);
        let callers = rest.take(count).map(|bytes| {
            let bytes = bytes.try_into().unwrap_or_default();
            u64::from_ne_bytes(bytes)
        });
        Some(What::Stack(callers.collect()))
    })
    .everywhere(),
];

/// How the kernel records a stack.
const STACK: &str = "ftrace/kernel_stack";

/// More callers are of no use to anybody.
const MOST_CALLERS: u32 = 16;

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
    build: Option<fn(&mut Reader<'_>) -> Option<What>>,
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
                (Some(id), Some(fields)) => decoder.insert(
                    id,
                    Known {
                        path: spec.path.to_owned(),
                        side: spec.side,
                        stack: spec.stack,
                        fields,
                        vector: None,
                        build: Some(spec.build),
                    },
                ),
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
    use super::*;

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
                function: 8
            }
        );
        assert_eq!(decoder.read(5, 1, &record[..20]), None);
        assert_eq!(decoder.read(5, 1, &[9, 9]), None);
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

    #[test]
    fn words_have_an_end() {
        let mut names = Names::default();

        for number in 0..MOST_NAMES + 5 {
            names.number(&number.to_string());
        }
        let last = names.number("new");
        assert_eq!(names.word(last), "?");
        let first = names.number("0");
        assert_eq!(names.word(first), "0");
    }
}
