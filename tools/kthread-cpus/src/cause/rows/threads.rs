// SPDX-License-Identifier: GPL-2.0

//! Kernel threads.

use super::{row, Kind, Means, Row};

/// What is free to move.
pub const STEERED: Row = row(
    Kind::Thread,
    &["*"],
    "It is neither per-CPU nor bound, and nothing confines it.",
    Means::Option,
    "kthread_cpus={list} (flag kthread); without it, as far as that goes: kthread-cpus set --best-effort {list}",
);

/// Threads that have been bound by what made them.
pub const BOUND: Row = row(
    Kind::Thread,
    &["*"],
    "What made it has bound it to these CPUs.",
    Means::Nature,
    "none is known: ask the subsystem or the driver that it belongs to",
);

/// Threads of a kind that each CPU has.
pub const PER_CPU: Row = row(
    Kind::Thread,
    &["*"],
    "Each CPU has one of these, for its own work.",
    Means::Nature,
    "nothing: avoid what wakes it",
);

/// Every other row.
pub(super) const THREADS: &[Row] = &[
    row(
        Kind::Thread,
        &["migration/N"],
        "It pushes tasks off this CPU, and stops it for what all CPUs must do together.",
        Means::Nature,
        "nothing: avoid CPU hotplug, changes of affinity of what runs there, and the watchdog (sysctl kernel.watchdog_cpumask)",
    ),
    row(
        Kind::Thread,
        &["cpuhp/N", "idle_inject/N"],
        "It starts, stops or idles exactly this CPU.",
        Means::Nature,
        "nothing: avoid CPU hotplug, and cool the machine",
    ),
    row(
        Kind::Thread,
        &["ksoftirqd/N", "ktimers/N", "irq_work/N", "backlog_napi/N"],
        "It does what was raised on this CPU, on its data.",
        Means::Irq,
        "place the interrupts and the network queues elsewhere: see what raised it",
    ),
    row(
        Kind::Thread,
        &["rcuc/N"],
        "It invokes the RCU callbacks of this CPU.",
        Means::Boot,
        "rcu_nocbs= with this CPU: rcuop/N and rcuog/N take them over, which follow kthread_cpus=",
    ),
    row(
        Kind::Thread,
        &["kworker/uN:*"],
        "Its workqueue is unbound, and nothing confines its workers.",
        Means::Option,
        "kthread_cpus={list} (flag wq); without it: /sys/devices/virtual/workqueue/cpumask",
    ),
    row(
        Kind::Thread,
        &["kworker/R-*"],
        "The rescuer of a workqueue has the CPUs of the workers that it helps, while it helps them.",
        Means::Option,
        "kthread_cpus={list} (flag wq); not while it helps a bound worker, for which memory was short",
    ),
    row(
        Kind::Thread,
        &["kworker/N:*"],
        "The worker of bound workqueues finds its work, and waits for more.",
        Means::Nature,
        "see the work that it does",
    ),
    row(
        Kind::Thread,
        &["irq/N-*"],
        "The handler of a threaded interrupt follows the interrupt.",
        Means::Irq,
        "echo {list} >/proc/irq/{n}/smp_affinity_list",
    ),
    row(
        Kind::Thread,
        &["sugov:N"],
        "It sets the clock of this CPU, which with most drivers can be done from there only.",
        Means::File,
        "/sys/devices/system/cpu/cpufreq/policyN/scaling_governor: performance",
    ),
    row(
        Kind::Thread,
        &["watchdog/N", "cpuwti/N"],
        "It shows that this CPU still schedules.",
        Means::File,
        "sysctl kernel.watchdog_cpumask={list}",
    ),
    row(
        Kind::Thread,
        &["erofs_worker/N", "siw_tx/N"],
        "The driver has one thread for each CPU, and queues to the local one.",
        Means::Programs,
        "use the file system or the device from other CPUs",
    ),
    row(
        Kind::Thread,
        &["kpktgend_N", "hwlatd", "osnoise/N", "timerlat/N", "cpumap/N/*"],
        "Somebody asked for it on this CPU.",
        Means::Programs,
        "end it, or give it other CPUs",
    ),
    row(
        Kind::Thread,
        &["acpi_pad/N", "vmbus_irq/N"],
        "What it talks to is about this CPU, or reached from there only.",
        Means::Nature,
        "nothing",
    ),
];
