// SPDX-License-Identifier: GPL-2.0

//! Softirqs, and timers.

use super::{row, Kind, Means, Row, GOES_ON, OTHERS_TIMERS};

/// Softirqs.
pub(super) const SOFTIRQS: &[Row] = &[
    row(
        Kind::Softirq,
        &["RCU"],
        "RCU notes quiescent states and invokes the callbacks of this CPU.",
        Means::Boot,
        "rcu_nocbs= with this CPU",
    ),
    row(
        Kind::Softirq,
        &["TIMER", "HRTIMER"],
        "Timers of this CPU expire.",
        Means::Boot,
        "see the timers; nohz_full= with this CPU stops the tick that looks for them",
    ),
    row(
        Kind::Softirq,
        &["SCHED"],
        "The scheduler balances the load of this CPU.",
        Means::Boot,
        "isolcpus=domain with this CPU, or an isolated cpuset partition",
    ),
    row(
        Kind::Softirq,
        &["NET_RX", "NET_TX"],
        "Packets that came in, or went out, on this CPU.",
        Means::Irq,
        "place the interrupts of the network queues; /sys/class/net/*/queues/*/rps_cpus and xps_cpus",
    ),
    row(
        Kind::Softirq,
        &["BLOCK", "IRQ_POLL"],
        "I/O that was asked for on this CPU is complete.",
        Means::File,
        "/sys/block/*/queue/rq_affinity: 0; do I/O from other CPUs",
    ),
    row(
        Kind::Softirq,
        &["TASKLET", "HI"],
        "The second half of an interrupt handler, or work of a workqueue of that kind.",
        Means::Irq,
        "place the interrupt that raised it",
    ),
    row(
        Kind::Softirq,
        &["*"],
        "It was raised on this CPU.",
        Means::Nature,
        "nothing: see what raised it",
    ),
];

/// Timers.
pub(super) const TIMERS: &[Row] = &[
    row(
        Kind::Timer,
        &["tick_nohz_handler", "tick_sched_timer", "tick_nohz_lowres_handler", "tick_handle_periodic"],
        "The tick: it accounts time, and lets the scheduler choose.",
        Means::Boot,
        "nohz_full= with this CPU stops it while one task runs; it is off while the CPU idles",
    ),
    row(
        Kind::Timer,
        &["delayed_work_timer_fn"],
        "Delayed work is due; a timer that is not pinned expires on the CPU that armed it, or on a busy one \
         while that idles.",
        Means::Programs,
        "move the task, or the interrupt, that armed it to CPUs {list}",
    )
    .by_timer(Means::Option, OTHERS_TIMERS)
    .again(Means::Option, GOES_ON)
    .by_name(Means::Programs, "see the work that it queues, and avoid who has it done here"),
    row(
        Kind::Timer,
        &["hrtimer_wakeup", "process_timeout", "posix_timer_fn", "it_real_fn", "timerfd_tmrproc", "alarmtimer_fired"],
        "A task sleeps, or has a timer, and the time is over.",
        Means::Programs,
        "it is of the task that armed it: move that, if it is not the one that this CPU is for",
    )
    .by_timer(Means::Option, OTHERS_TIMERS),
    row(
        Kind::Timer,
        &["watchdog_timer_fn"],
        "The watchdog looks for lockups of this CPU.",
        Means::File,
        "sysctl kernel.watchdog_cpumask={list}; nowatchdog ends it",
    ),
    row(
        Kind::Timer,
        &["clocksource_watchdog"],
        "Clocks are compared on each CPU in turn.",
        Means::Boot,
        "tsc=nowatchdog, if the time stamp counter can be trusted",
    ),
    row(
        Kind::Timer,
        &["mce_timer_fn"],
        "Corrected machine checks of this CPU are polled.",
        Means::File,
        "/sys/devices/system/machinecheck/machinecheck0/check_interval: 0",
    ),
    row(
        Kind::Timer,
        &["dl_task_timer", "inactive_task_timer", "sched_rt_period_timer", "dl_server_timer"],
        "The scheduler gives tasks their share of this CPU.",
        Means::File,
        "sysctl kernel.sched_rt_runtime_us=-1; /sys/kernel/debug/sched/fair_server/cpuN/runtime: 0",
    ),
    row(
        Kind::Timer,
        &["sched_cfs_period_timer", "sched_cfs_slack_timer"],
        "A cgroup with a quota runs on this CPU.",
        Means::File,
        "cpu.max of the cgroup: max",
    ),
    row(
        Kind::Timer,
        &["hrtick"],
        "The time slice of the task that runs is over: the scheduler has a timer for it (HRTICK).",
        Means::Programs,
        "one task for this CPU, or SCHED_FIFO",
    ),
    row(
        Kind::Timer,
        &["srcu_delay_timer"],
        "SRCU goes on with a grace period that began here.",
        Means::Programs,
        "the CPU has used SRCU (notifiers, KVM memory slots, fsnotify): do that from other CPUs",
    )
    .by_timer(Means::Option, OTHERS_TIMERS),
    row(
        Kind::Timer,
        &["perf_*", "*_pmu_*", "rapl_*", "uncore_*"],
        "Counters of this CPU are read or rotated.",
        Means::Programs,
        "end perf and the like, or give them other CPUs",
    ),
    row(
        Kind::Timer,
        &["tcp_*", "neigh_*", "inet_*", "dev_watchdog", "sk_*"],
        "A socket or a network device that this CPU has used last has a timer.",
        Means::Programs,
        "do network I/O from other CPUs, and place the interrupts of the network queues",
    )
    .by_timer(Means::Option, OTHERS_TIMERS),
    row(
        Kind::Timer,
        &["blk_*"],
        "A request for I/O that was started on this CPU has a timer.",
        Means::Programs,
        "do I/O from other CPUs",
    )
    .by_timer(Means::Option, OTHERS_TIMERS),
    row(
        Kind::Timer,
        &["*"],
        "A timer that is not pinned expires on the CPU that armed it, or on a busy one while that idles.",
        Means::Programs,
        "move the task, or the interrupt, that armed it to CPUs {list}",
    )
    .by_timer(Means::Option, OTHERS_TIMERS)
    .again(Means::Option, GOES_ON)
    .by_name(Means::Programs, "avoid who has armed it for this CPU"),
];
