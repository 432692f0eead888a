// SPDX-License-Identifier: GPL-2.0

//! Interrupts of devices, of the CPU itself, and from other CPUs.

use super::{row, Kind, Means, Row};

/// Interrupts, but for calls.
pub(super) const INTERRUPTS: &[Row] = &[
    row(
        Kind::Irq,
        &["timer"],
        "The timer of the machine.",
        Means::Nature,
        "nothing: it is used while there is no better one",
    ),
    row(
        Kind::Irq,
        &["arch_timer", "*_timer"],
        "The timer of this CPU: the tick, and timers of high resolution.",
        Means::Boot,
        "see the timers; nohz_full= with this CPU stops the tick while one task runs",
    ),
    row(
        Kind::Irq,
        &["nvme*", "virtio*-req*", "mpt3sas*", "megasas*", "*-queue-*"],
        "A queue of this device serves this CPU; its affinity may be managed by the kernel.",
        Means::Boot,
        "isolcpus=managed_irq with this CPU, and no I/O from it; if not managed: echo {list} >/proc/irq/{n}/smp_affinity_list",
    ),
    row(
        Kind::Irq,
        &["*"],
        "Its affinity has this CPU.",
        Means::Irq,
        "echo {list} >/proc/irq/{n}/smp_affinity_list; kthread_cpus= (flag irq) or irqaffinity= for all that nobody places; irqbalance must leave it",
    ),
    row(
        Kind::Vector,
        &["local_timer"],
        "The timer of this CPU: the tick, and timers of high resolution.",
        Means::Boot,
        "see the timers; nohz_full= with this CPU stops the tick while one task runs",
    ),
    row(
        Kind::Vector,
        &["reschedule"],
        "Another CPU has woken or moved a task to this one.",
        Means::Programs,
        "see what was woken; isolcpus=domain keeps what has no affinity off",
    ),
    row(
        Kind::Vector,
        &["call_function", "call_function_single"],
        "Another CPU wanted a function to be called on this one.",
        Means::Programs,
        "see the calls (ipi) and who sent them",
    ),
    row(
        Kind::Vector,
        &["irq_work"],
        "Something on this CPU could be done only with interrupts on, or a tick was wanted.",
        Means::Programs,
        "avoid perf, printk and BPF there; it restarts the tick with nohz_full=",
    ),
    row(
        Kind::Vector,
        &["thermal_apic", "threshold_apic", "deferred_error_apic", "error_apic", "spurious_apic"],
        "The hardware of this CPU reports heat or an error.",
        Means::Nature,
        "nothing: mend the machine",
    ),
    row(
        Kind::Vector,
        &["*"],
        "An interrupt that the architecture has for this CPU.",
        Means::Nature,
        "nothing",
    ),
];

/// Calls from other CPUs.
pub(super) const CALLS: &[Row] = &[
    row(
        Kind::Call,
        &["flush_tlb_func", "tlb_remove_table_smp_sync", "ipi_flush_tlb_*"],
        "Memory is unmapped that this CPU has the address space of.",
        Means::Programs,
        "no munmap(), madvise() or mprotect() by other threads of what runs here; no KSM, NUMA balancing or huge page collapse on it",
    ),
    row(
        Kind::Call,
        &["do_kernel_range_flush", "do_flush_tlb_all", "__cpa_flush_*"],
        "Kernel memory is unmapped, or gets other rights: modules come and go, BPF, vfree().",
        Means::Programs,
        "let these happen before the workload begins: see who sent it",
    ),
    row(
        Kind::Call,
        &["do_sync_core", "patch_sync", "text_poke_*"],
        "The kernel changes its code: static keys, tracing, BPF, modules.",
        Means::Programs,
        "let these happen before the workload begins: no tracing, no loading of modules, no changes of sysctls",
    ),
    row(
        Kind::Call,
        &["rcu_exp_handler", "sync_rcu_exp_handler", "rcu_strict_gp_boundary"],
        "An expedited grace period of RCU waits for this CPU.",
        Means::Boot,
        "rcupdate.rcu_normal=1 (or rcu_normal_after_boot=1)",
    ),
    row(
        Kind::Call,
        &["rcu_barrier_handler", "srcu_barrier_cblist"],
        "rcu_barrier() waits for the callbacks of this CPU: unmounting, module unload.",
        Means::Boot,
        "rcu_nocbs= with this CPU",
    ),
    row(
        Kind::Call,
        &["ipi_mb", "ipi_sync_core", "ipi_sync_rq_state", "ipi_rseq", "membarrier*"],
        "A program calls membarrier() for threads that run here.",
        Means::Programs,
        "the program that sent it: its expedited kinds reach its own threads only",
    ),
    row(
        Kind::Call,
        &["nohz_csd_func", "nohz_full_kick_func"],
        "Another CPU wants load balancing, or a tick, from this one.",
        Means::Boot,
        "isolcpus=domain and nohz_full= with this CPU",
    ),
    row(
        Kind::Call,
        &["__perf_*", "remote_function", "perf_*"],
        "Counters of this CPU are set up or read.",
        Means::Programs,
        "end perf and the like, or give them other CPUs",
    ),
    row(
        Kind::Call,
        &["aperfmperf_*", "__rdmsr*", "__wrmsr*", "rdmsr*", "wrmsr*", "get_tsc_*", "acpi_cppc_*", "cpuid_*", "do_drv_read", "do_drv_write"],
        "A register of this CPU is read or written.",
        Means::Programs,
        "who sent it reads /proc/cpuinfo, cpufreq or MSRs: monitoring agents, turbostat",
    ),
    row(
        Kind::Call,
        &["rb_*"],
        "A buffer for tracing is made, resized or read.",
        Means::Programs,
        "let tracing be set up before the workload begins",
    ),
    row(
        Kind::Call,
        &["__hrtick_start"],
        "Another CPU has given this one a task with a time slice (HRTICK).",
        Means::Programs,
        "see the thread that was woken",
    ),
    row(
        Kind::Call,
        &["retrigger_next_event", "clock_was_set*"],
        "The clock was set.",
        Means::Programs,
        "slew the clock, do not step it",
    ),
    row(
        Kind::Call,
        &["invalidate_bh_lru", "invalidate_bdev*"],
        "A block device is closed or unmounted, and this CPU may hold buffers of it.",
        Means::Programs,
        "let mounts be stable while the workload runs",
    ),
    row(
        Kind::Call,
        &["__blk_mq_complete_request_remote", "blk_done_softirq", "trigger_softirq"],
        "I/O that was asked for on this CPU is complete.",
        Means::File,
        "/sys/block/*/queue/rq_affinity: 0; do I/O from other CPUs",
    ),
    row(
        Kind::Call,
        &["sched_ttwu_pending", "__ttwu_queue*"],
        "A task is woken on this CPU.",
        Means::Programs,
        "see the thread that was woken",
    ),
    row(
        Kind::Call,
        &["ack_flush", "ack_kick"],
        "KVM wants a virtual CPU to leave its guest.",
        Means::Programs,
        "it is of the virtual machine that this CPU is for",
    ),
    row(
        Kind::Call,
        &["resctrl_*", "rdt_*", "mon_event_count", "smp_mon_event_count"],
        "resctrl reads or sets this CPU's cache.",
        Means::Programs,
        "read and write resctrl less often",
    ),
    row(
        Kind::Call,
        &["*"],
        "Another CPU wanted a function to be called on this one.",
        Means::Programs,
        "avoid what sent it; watch --stack tells how it came about",
    ),
];

/// Non-maskable interrupts.
pub(super) const NMIS: &[Row] = &[
    row(
        Kind::Nmi,
        &["perf_event_nmi_handler", "perf_ibs_nmi_handler"],
        "A counter has overflowed: perf, or the watchdog for hard lockups.",
        Means::Boot,
        "nmi_watchdog=0 (sysctl kernel.nmi_watchdog=0); end perf",
    ),
    row(
        Kind::Nmi,
        &["*"],
        "The hardware or another CPU wanted attention at once.",
        Means::Nature,
        "nothing",
    ),
];
