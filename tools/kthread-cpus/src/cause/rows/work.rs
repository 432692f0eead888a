// SPDX-License-Identifier: GPL-2.0

//! Work items. Names with a pattern are those of a family of functions.

use super::{work, Means, Row, OTHERS_TIMERS};

/// The work of unbound workqueues.
pub const UNBOUND: Row = work(
    &["*"],
    &["unbound workqueues"],
    "Its workqueue is unbound, and nothing confines its workers.",
    Means::Option,
    "kthread_cpus={list} (flag wq); without it: /sys/devices/virtual/workqueue/cpumask",
);

/// Every other row.
pub(super) const WORK: &[Row] = &[
    work(
        &["vmstat_update"],
        &[],
        "It adds the counters of this CPU to those of the machine, after they have changed.",
        Means::Boot,
        "nohz_full= or isolcpus=domain with this CPU: it is left out (Linux 6.5); sysctl vm.stat_interval=120",
    ),
    work(
        &["lru_add_drain_per_cpu"],
        &[],
        "Pages that this CPU holds back are needed: compaction, mlock(), memory hotplug, migration.",
        Means::Programs,
        "run who queues it less often: sysctl vm.compaction_proactiveness=0, no automatic NUMA balancing",
    ),
    work(
        &["refresh_vm_stats"],
        &[],
        "Somebody has read or written /proc/sys/vm/stat_refresh, which has each CPU add its counters up.",
        Means::Programs,
        "who queued it: /proc/vmstat tells nearly the same, and disturbs nobody",
    ),
    work(
        &["update_pages_handler"],
        &[],
        "A buffer for tracing is resized, and each CPU does its part.",
        Means::Programs,
        "let tracing be set up before the workload begins",
    ),
    work(
        &["flush_cpu_slab", "slab_caches_to_rcu_destroy_workfn"],
        &[],
        "A slab cache is shrunk or destroyed, and this CPU has some of it.",
        Means::Programs,
        "avoid what does it: unloading modules, removing cgroups, writing to /sys/kernel/slab/*/shrink",
    ),
    work(
        &["srcu_invoke_callbacks", "process_srcu"],
        &[],
        "SRCU ends a grace period, or invokes callbacks on the CPU that has queued them.",
        Means::Programs,
        "the CPU has used SRCU (notifiers, KVM memory slots, fsnotify): do that from other CPUs",
    ),
    work(
        &["kfree_rcu_monitor", "kfree_rcu_work", "kvfree_rcu_*"],
        &[],
        "Memory that this CPU has freed with kfree_rcu() is given back.",
        Means::Boot,
        "rcu_nocbs= with this CPU, and system calls that free memory on other CPUs",
    ),
    work(
        &["blk_mq_*", "nvme_tcp_io_work", "blkcg_*"],
        &[],
        "It belongs to the I/O queue of this CPU.",
        Means::Programs,
        "do I/O from other CPUs; isolcpus=managed_irq with this CPU",
    ),
    work(
        &["*"],
        &["kblockd", "nvme_tcp_wq", "xfs-inodegc/*", "target_completion"],
        "It belongs to the I/O that was done on this CPU.",
        Means::Programs,
        "do I/O from other CPUs",
    ),
    work(
        &["dbs_work_handler", "od_*", "cs_*"],
        &[],
        "The governor looks at how busy this CPU is.",
        Means::File,
        "/sys/devices/system/cpu/cpufreq/policyN/scaling_governor: performance",
    ),
    work(
        &["psi_avgs_work"],
        &[],
        "Averages of pressure are updated after something of a cgroup ran here.",
        Means::Boot,
        "psi=0",
    ),
    work(
        &["mbm_handle_overflow", "cqm_handle_limbo"],
        &[],
        "Counters of the cache can be read from a CPU of their domain only.",
        Means::Programs,
        "unmount resctrl",
    ),
    work(
        &["edac_mc_workq_function"],
        &[],
        "Errors of the memory are polled.",
        Means::File,
        "/sys/module/edac_core/parameters/edac_mc_poll_msec",
    ),
    work(
        &["wg_packet_*"],
        &[],
        "WireGuard spreads packets over all CPUs.",
        Means::Nature,
        "nothing: end the tunnel on another machine",
    ),
    work(
        &["wq_barrier_func"],
        &[],
        "Somebody waits until work of this CPU is done: flush_work(), flush_workqueue().",
        Means::Programs,
        "see the work that ran before it",
    ),
    work(
        &["smp_call_on_cpu_callback"],
        &[],
        "Somebody asked for a call on this CPU in a thread.",
        Means::Programs,
        "see who queued it: drivers of firmware insist on a CPU",
    ),
    work(
        &["*"],
        &["pencrypt_*", "pdecrypt_*", "padata*"],
        "padata spreads cryptography over all CPUs.",
        Means::File,
        "/sys/kernel/pcrypt/*/parallel_cpumask",
    ),
    work(
        &["*"],
        &["kacpid", "kacpi_notify", "kacpi_hotplug"],
        "ACPI runs firmware on the boot CPU.",
        Means::Nature,
        "nothing: leave CPU 0 to the kernel",
    ),
    work(
        &["*"],
        &["events_power_efficient", "events_freezable_pwr_efficient", "pm"],
        "It was queued from this CPU, by a task or a timer, and need not stay there.",
        Means::Boot,
        "workqueue.power_efficient=1 makes its workqueue unbound, which follows kthread_cpus= (flag wq)",
    ),
    work(
        &["*"],
        &["mm_percpu_wq", "rcu_gp", "rcu_par_gp", "slub_flushwq"],
        "It is about what this CPU holds.",
        Means::Nature,
        "nothing: avoid what queues it",
    ),
    work(
        &["*"],
        &[],
        "Its workqueue is bound: it runs where it was queued, or on the CPU that was named for it.",
        Means::Programs,
        "move the task, or the interrupt, that queues it to CPUs {list}",
    )
    .by_timer(Means::Option, OTHERS_TIMERS)
    .again(
        Means::Programs,
        "see the work that queues it; what queues itself is kept off by kthread_cpus={list} (flag timer) from \
         boot on, if it began on CPUs {list}",
    )
    .by_name(Means::Programs, "avoid who has it done here, or on all CPUs"),
];
