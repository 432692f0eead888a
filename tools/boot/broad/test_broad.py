# SPDX-License-Identifier: GPL-2.0
"""Every kernel thread of a kernel with many subsystems live is where its class says.

`make broad` builds what is booted here. KC_BROAD_KERNEL and KC_BROAD_GUEST name others.
"""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import vm
from facts import (
    COMPLAINT,
    CpuSet,
    Facts,
    Snapshot,
    Thread,
    format_cpus,
    new_complaints,
    parse,
    parse_cpus,
)

KERNEL = Path(os.environ.get("KC_BROAD_KERNEL") or vm.BUILD / "out/broad/arch/x86/boot/bzImage")
GUEST = Path(os.environ.get("KC_BROAD_GUEST") or vm.BUILD / "broad.cpio")
MACHINE = vm.Machine(smp=8, nodes=2, memory=3072)
CONFINED = frozenset({2, 3})
# Threads for interrupts, for RCU callbacks and for those of softirqs are there as well.
COMMON = "threadirqs rcu_nocbs=4-7 rcutree.use_softirq=0"
KCPUS = "/sys/devices/system/cpu/kthread_cpus"

BOOTS = {
    "plain": f"{COMMON} kcguest.do=live,wait:5,facts",
    "option": f"{COMMON} kthread_cpus=2-3 kcguest.do=live,wait:5,facts",
    "runtime": f"{COMMON} kcguest.do=live,write:{KCPUS}=2-3,wait:5,facts",
}

# Threads that are bound to one CPU, and why they are: Documentation/admin-guide/kthread-cpus.rst.
PER_CPU = re.compile(
    r"(cpuhp|migration|ksoftirqd|ktimers|irq_work|backlog_napi|rcuc|idle_inject|erofs_worker)/\d+"
    r"|kpktgend_\d+|kworker/\d+:.*"
)
# Managed threads that go from CPU to CPU by themselves.
ROVING = ("hwlatd",)

# What must be there, so that the account is of something: a name for each subsystem.
EXPECTED = {
    "ext4": r"jbd2/loop\d+-\d+",
    "xfs": r"xfsaild/loop\d+",
    "btrfs": r"btrfs-transaction",
    "md_raid1": r"md_raid1_raid1|md\w*_raid1",
    "md_raid5": r"md\w*_raid5",
    "dm_crypt": r"dmcrypt_write/.*",
    "dm_delay": r"dm-delay-flush-worker",
    "nfsd": r"nfsd",
    "target": r"iscsi_np",
    "programs": r"iscsi_t[rt]x",
    "ksm": r"ksmd",
    "damon": r"kdamond.\d+",
    "hwlat": r"hwlatd",
    "scsi": r"scsi_eh_\d+",
    "audit": r"kauditd",
    "khugepaged": r"khugepaged",
    "swap": r"kswapd[01]",
    "rcuo": r"rcuop/[4-7]",
    "rcub": r"rcub/\d+",
    "rcuc": r"rcuc/\d+",
    "pktgen": r"kpktgend_\d+",
    "irq": r"irq/\d+-.*",
}


@functools.cache
def boot(name: str) -> Facts:
    """Makes a boot, once."""
    if not KERNEL.is_file() or not GUEST.is_file():
        pytest.fail(f"there is no {KERNEL} or no {GUEST}: make broad", pytrace=False)
    log = vm.LOGS / "boot" / f"broad-{name}.log"
    guest = vm.Guest(KERNEL, GUEST, BOOTS[name])
    try:
        return parse(vm.boot(guest, MACHINE, log, timeout=1800).text)
    except vm.BootError as error:
        pytest.fail(str(error), pytrace=False)


def within(cpus: CpuSet) -> Callable[[Thread], bool]:
    """Whether a thread may only run on these."""
    return lambda thread: thread.allowed <= cpus


def account(snapshot: Snapshot, confined: CpuSet) -> tuple[Counter[str], list[str]]:
    """Returns how many threads there are of each class, and which are not where they must be."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    irqs = {irq.number: irq.affinity | irq.effective for irq in snapshot.irqs}
    for thread in snapshot.threads:
        if not thread.kthread:
            continue
        right = within(confined)
        if thread.managed and thread.name in ROVING:
            kind, right = "roving", within(snapshot.possible)
        elif thread.managed:
            kind = "managed"
        elif thread.unbound_worker:
            kind = "unbound worker"
        elif thread.rescuer:
            kind = "rescuer"
            if thread.rescuing:
                right = within(snapshot.possible)
        elif thread.irq is not None:
            kind, right = "interrupt", within(irqs.get(thread.irq, frozenset()))
        elif PER_CPU.fullmatch(thread.name) and len(thread.allowed) == 1:
            kind, right = "per CPU", within(snapshot.possible)
        elif PER_CPU.fullmatch(thread.name) and thread.name.startswith("kworker/"):
            kind = "worker of an offline CPU"
        else:
            kind, right = "of no class", within(frozenset())
        counts[kind] += 1
        if not right(thread):
            wrong.append(f"{thread.name} ({thread.pid}), {kind}: {format_cpus(thread.allowed)}")
    return counts, wrong


def lines(facts: Facts) -> dict[str, str]:
    """Returns what became of each subsystem, as text."""
    return dict(
        line.split(":", 1) for line in facts.outputs.get("live", []) if re.match(r"\w+:\d+$", line)
    )


@pytest.mark.parametrize("name", BOOTS)
def test_everything_is_live(name: str) -> None:
    """Each subsystem has begun to work, and has the threads that it is known for."""
    facts = boot(name)
    assert not facts.failed_actions
    failed = {what: status for what, status in lines(facts).items() if status != "0"}
    assert not failed, facts.outputs["live"]
    names = {thread.name for thread in facts.last.threads}
    patterns = {what: re.compile(pattern) for what, pattern in EXPECTED.items()}
    missing = [what for what, known in patterns.items() if not any(map(known.fullmatch, names))]
    assert not missing, sorted(names)


@pytest.mark.parametrize("name", ["option", "runtime"])
def test_every_thread_is_accounted_for(name: str) -> None:
    """No thread is outside of the confined CPUs but for those that have a reason."""
    counts, wrong = account(boot(name).last, CONFINED)
    print(dict(counts))
    assert not wrong
    assert sum(counts.values()) > 200
    assert counts["managed"] > 40
    assert counts["rescuer"] > 10
    assert counts["unbound worker"] > 0
    assert counts["per CPU"] > 40


def test_without_the_option_they_are_elsewhere() -> None:
    """The account does see threads that are outside."""
    _, wrong = account(boot("plain").last, CONFINED)
    assert len(wrong) > 40


@pytest.mark.parametrize("name", BOOTS)
def test_threads_of_programs_are_with_them(name: str) -> None:
    """What io_uring and vhost have threads for runs where PID 1 lets its children run."""
    facts = boot(name)
    threads = [line.split(":")[1:] for line in facts.outputs["live"] if line[:7] == "thread:"]
    assert {"live"} < {re.sub(r"-.*", "", thread) for thread, _ in threads}
    assert {re.sub(r"\d+", "N", thread) for thread, _ in threads} >= {"vhost-N", "iou-sqp-N"}
    for thread, cpus in threads:
        assert parse_cpus(cpus) <= facts.init_allowed, thread


@pytest.mark.parametrize("name", BOOTS)
def test_the_kernel_is_content(name: str) -> None:
    """It has not warned, and of errors there are those that come without the option as well."""
    facts = boot(name)
    assert [text for text in facts.complaints() if COMPLAINT.search(text)] == []
    assert new_complaints(facts, boot("plain")) == []
