// SPDX-License-Identifier: GPL-2.0

//! What to do about what is outside and should not be.

use super::{Outcome, Verdict, WORKQUEUES};
use crate::{
    cpuset::Named,
    machine::WORKQUEUE_MASK,
    option::{self, Classes},
    target::Obeys,
    threads::{families, irq_number, Class, Thread},
};

/// What is outside, by what can be done about it.
struct Outside<'a> {
    /// Threads that user space can move.
    movable: Vec<&'a Thread>,
    /// Workers of unbound workqueues, and rescuers.
    workers: Vec<&'a Thread>,
    /// Whether unbound workqueues may be outside.
    workqueues: bool,
    irqs: Vec<&'a Thread>,
    bound: Vec<&'a Thread>,
}

impl<'a> Outside<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        let threads = |classes: &[Class]| -> Vec<&Thread> {
            let outside = outcome.with(Verdict::Outside);
            let threads = outside.map(|finding| outcome.thread(finding));
            threads
                .filter(|thread| classes.contains(&thread.class))
                .collect()
        };
        let mut settings = outcome.settings.iter().filter(|setting| setting.counts);

        Self {
            movable: threads(&[Class::Preferred, Class::Unbound]),
            workers: threads(&[Class::Workqueue, Class::Rescuer]),
            workqueues: settings.any(|setting| setting.name == WORKQUEUES && setting.outside),
            irqs: threads(&[Class::Irq]),
            bound: threads(&[Class::Bound]),
        }
    }

    /// Whether there is something that is confined with the others.
    fn has_steered(&self) -> bool {
        self.workqueues || !self.movable.is_empty() || !self.workers.is_empty()
    }
}

/// Returns the names of threads, each kind once.
fn names(threads: &[&Thread]) -> String {
    families(threads.iter().map(|thread| &*thread.name))
}

/// Returns the commands that help, or that none does.
pub(super) fn advice(outcome: &Outcome) -> Vec<String> {
    let outside = Outside::of(outcome);
    let mut advice = Vec::new();

    if outside.has_steered() {
        confine(outcome, &outside, &mut advice);
    }
    if let Some(first) = outside.irqs.first() {
        let number = irq_number(&first.name).unwrap_or_default();
        let others = match outside.irqs.len() {
            1 => String::new(),
            count => format!(", and so for {} others", count - 1),
        };
        advice.push(format!(
            "move the interrupt, and its thread follows: echo {} >/proc/irq/{number}/smp_affinity_list{others}",
            outcome.target.cpus
        ));
    }
    if !outside.bound.is_empty() {
        advice.push(format!(
            "no command moves what the kernel or a module has bound ({}): only a setting of that which \
             makes these threads can",
            names(&outside.bound)
        ));
    }
    if outside.has_steered() {
        advice.push("all boot options that go together: kthread-cpus plan --help".to_owned());
    }
    advice
}

/// Adds how to confine what can be confined.
fn confine(outcome: &Outcome, outside: &Outside<'_>, advice: &mut Vec<String>) {
    let Outcome {
        machine, target, ..
    } = outcome;
    let cpus = Named(&target.cpus);
    let housekeeping = machine.housekeeping();

    if !target.cpus.and(&housekeeping).intersects(&machine.online) {
        advice.push(format!(
            "no command confines anything to CPUs {cpus}, of which none is online and not isolated: \
             choose from CPUs {}",
            Named(&housekeeping.and(&machine.online))
        ));
        return;
    }
    let Some(now) = &machine.sysfs else {
        let done = outside.movable.is_empty()
            && !outside.workqueues
            && !outside.workers.iter().any(|thread| thread.movable);
        advice.push(match done {
            true => format!(
                "no command moves these workers ({}): their workqueues are restricted already; before 6.9 \
                 that does not hold for ordered ones, and workers from before end after five idle minutes",
                names(&outside.workers)
            ),
            false => format!(
                "on this kernel, as far as it can be done: kthread-cpus set --best-effort {cpus}"
            ),
        });
        if outcome.obeys != Obeys::Yes {
            advice.push(format!(
                "on a kernel that has the option: boot with kthread_cpus={cpus}"
            ));
        }
        return;
    };

    let option = machine.option.as_ref().and_then(|o| o.parsed.as_ref());
    let classes = machine
        .classes
        .filter(|classes| *classes != option::NONE)
        .or(option.map(|(_, classes)| *classes))
        .unwrap_or(Classes::ALL);
    let threads = !outside.movable.is_empty();
    let workqueues = outside.workqueues || !outside.workers.is_empty();
    let is_confined = |class| option::contains(classes, class);
    let missing =
        (threads && !is_confined(option::KTHREAD)) || (workqueues && !is_confined(option::WQ));
    let helps =
        (threads && is_confined(option::KTHREAD)) || (workqueues && is_confined(option::WQ));

    if missing {
        advice.push(format!(
            "kthread_cpus= was given with flags, and is about {classes} only: boot without flags"
        ));
    }
    if !helps {
        return;
    }
    if !now.and(&housekeeping).is_subset(&target.cpus) {
        advice.push(format!("confine them now: kthread-cpus set {cpus}"));
        return;
    }
    // The kernel has the list, and they are elsewhere nevertheless.
    if let Some(thread) = outside.movable.first() {
        let others = match outside.movable.len() {
            1 => String::new(),
            count => format!(", and so the {} others", count - 1),
        };
        advice.push(format!(
            "the kernel has this list; move {}: taskset -p -c {cpus} {}{others}",
            thread.name, thread.pid
        ));
    }
    if outside.workqueues {
        advice.push(format!(
            "the kernel has this list; restrict unbound workqueues: echo {} >/{WORKQUEUE_MASK}",
            target.cpus.to_mask()
        ));
    } else if !outside.workers.is_empty() {
        advice.push(format!(
            "no command moves workers and rescuers ({}): the kernel has this list, and should have",
            names(&outside.workers)
        ));
    }
}
