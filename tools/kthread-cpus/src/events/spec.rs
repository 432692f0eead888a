// SPDX-License-Identifier: GPL-2.0

//! Which events are made use of, and what they are made of.

use std::{collections::HashMap, sync::Arc};

use super::{Name, Names, Side, Switch, Task, What};
use crate::{
    cpuset::CpuSet,
    format::{Comm, Field},
};

/// Takes the fields out of a record.
pub(super) struct Reader<'a> {
    /// The record.
    pub(super) record: &'a [u8],
    /// The fields, in the order of the [`Spec`].
    pub(super) fields: &'a [Field],
    /// The words that events repeat.
    pub(super) names: &'a mut Names,
    /// The strings of which events have the address.
    pub(super) strings: &'a HashMap<u64, String>,
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

    /// Reads that a timer is armed, with flags of which one means that it is pinned.
    fn arm(&self, pinned: u64) -> Option<What> {
        Some(What::Arm {
            timer: self.number(0)?,
            function: self.number(1)?,
            // Older kernels do not tell the mode of those of high resolution.
            pinned: self.number(2).is_some_and(|flags| flags & pinned != 0),
        })
    }

    fn end(&self, task: fn(u64) -> Task) -> Option<What> {
        Some(What::End(task(self.number(0)?)))
    }
}

/// An event that is made use of.
pub(super) struct Spec {
    /// Its directory below `events/`.
    pub(super) path: &'static str,
    /// The fields, all of which it must have.
    pub(super) fields: &'static [&'static str],
    /// One more, which it may lack.
    pub(super) optional: Option<&'static str>,
    /// Which CPUs it is needed from.
    pub(super) side: Side,
    /// Whether `--stack` asks for the callers.
    pub(super) stack: bool,
    /// What cannot be told without it.
    pub(super) missing: &'static str,
    /// What it is made into.
    pub(super) build: Build,
}

/// Makes an event of a record.
pub(super) type Build = fn(&mut Reader<'_>) -> Option<What>;

const fn spec(path: &'static str, fields: &'static [&'static str], build: Build) -> Spec {
    Spec {
        path,
        fields,
        optional: None,
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

    const fn with_field(mut self, optional: &'static str) -> Self {
        self.optional = Some(optional);
        self
    }

    const fn or_else(mut self, missing: &'static str) -> Self {
        self.missing = missing;
        self
    }
}

/// In the flags of a timer, as `include/linux/timer.h` has it.
const TIMER_PINNED: u64 = 0x0010_0000;
/// In the mode of a timer of high resolution, as `include/linux/hrtimer.h` has it.
const HRTIMER_MODE_PINNED: u64 = 2;

/// The event without which there is nothing to tell.
pub const SWITCH: &str = "sched/sched_switch";

/// Whether an event tells what a thread does on a CPU; it is of no use without the others.
pub fn follows_threads(path: &str) -> bool {
    path == SWITCH || path.starts_with("workqueue/workqueue_execute_")
}

/// All events but the interrupts of the architecture, whose names differ.
pub(super) const SPECS: &[Spec] = &[
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
                // Workers for any CPU have -1.
                bound: r.number(3).map(|cpu| (cpu as i32) >= 0),
            })
        },
    )
    .with_field("cpu")
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
    spec("timer/timer_start", &["timer", "function"], |r| {
        r.arm(TIMER_PINNED)
    })
    .with_field("flags")
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
    spec("timer/hrtimer_start", &["hrtimer", "function"], |r| {
        r.arm(HRTIMER_MODE_PINNED)
    })
    .with_field("mode")
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
pub(super) const STACK: &str = "ftrace/kernel_stack";

/// More callers are of no use to anybody.
const MOST_CALLERS: u32 = 16;
