# SPDX-License-Identifier: GPL-2.0
"""With many subsystems live, every kernel thread, interrupt and timer is where it must be.

That is on the list, or where the administrator's guide says (account.py).

`make broad` builds what is booted here. KC_BROAD_KERNEL and KC_BROAD_GUEST name others.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

import pytest

import account
import vm
from facts import COMPLAINT, Facts, new_complaints, parse, parse_cpus

KERNEL = Path(os.environ.get("KC_BROAD_KERNEL") or vm.BUILD / "out/broad/arch/x86/boot/bzImage")
GUEST = Path(os.environ.get("KC_BROAD_GUEST") or vm.BUILD / "broad.cpio")
MACHINE = vm.Machine(smp=8, nodes=2, memory=3072, network=True, nvme=True)
CONFINED = frozenset({2, 3})
# Threads for interrupts, for RCU callbacks and for those of softirqs are there as well.
COMMON = "threadirqs rcu_nocbs=4-7 rcutree.use_softirq=0"
KCPUS = "/sys/devices/system/cpu/kthread_cpus"
LOOK = "wait:5,interrupts,facts,expiries:5"

BOOTS = {
    "plain": f"{COMMON} kcguest.do=live,{LOOK}",
    "option": f"{COMMON} kthread_cpus=2-3 kcguest.do=live,{LOOK}",
    "runtime": f"{COMMON} kcguest.do=live,write:{KCPUS}=2-3,{LOOK}",
}
CONFINING = pytest.mark.parametrize("name", ["option", "runtime"])

GUIDE = account.read_guide(account.GUIDE.read_text())
# As many rows of the guide are about something that is there: of what is bound, not cpufreq,
# erofs, firmware and tests; of what is no kernel thread, vhost and io_uring; of what moves, not
# DRBD, and not what is over when init begins.
ROWS_OF_BOUND, ROWS_OF_OTHERS, ROWS_OF_MOVING = 7, 2, 10

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
    "network": r"napi/eth0-\d+",
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


@CONFINING
def test_every_thread_is_accounted_for(name: str) -> None:
    """No thread is outside of the confined CPUs but for those of which the guide says where."""
    found = account.account_threads(GUIDE, boot(name).last, CONFINED)
    print(dict(found.counts), dict(found.rows))
    assert not found.wrong
    assert found.counts.total() > 200
    assert found.counts["managed"] > 40
    assert found.counts[account.RESCUER] > 10
    assert found.counts["unbound worker"] > 0
    assert found.counts["CPU N"] > 40
    assert len(found.rows) >= ROWS_OF_BOUND


@CONFINING
def test_what_the_guide_says_moves_does(name: str) -> None:
    """What one might take for bound, and the guide says is not, is on the confined CPUs."""
    found = account.account_moving(GUIDE, boot(name).last, CONFINED)
    print(dict(found.rows))
    assert not found.wrong
    assert len(found.rows) >= ROWS_OF_MOVING


def test_without_the_option_threads_are_elsewhere() -> None:
    """The accounts do see threads that are outside."""
    snapshot = boot("plain").last
    assert len(account.account_threads(GUIDE, snapshot, CONFINED).wrong) > 40
    assert len(account.account_moving(GUIDE, snapshot, CONFINED).wrong) >= ROWS_OF_MOVING


def test_every_interrupt_is_accounted_for() -> None:
    """None goes outside, nor has fired there, but for those that the guide says are not moved."""
    irqs = account.read_interrupts(boot("option").outputs["interrupts"])
    found = account.account_interrupts(GUIDE, irqs, CONFINED)
    print(dict(found.counts))
    assert not found.wrong
    # Those of a card could be anywhere, and those of a disk are: there is one for each CPU.
    assert any(re.match(r"virtio\d+-input", irq.name) and irq.fired for irq in irqs), irqs
    managed = [irq for irq in irqs if "IRQD_AFFINITY_MANAGED" in irq.flags]
    assert len([irq for irq in managed if irq.fired - CONFINED]) > 1, irqs


def test_without_the_option_interrupts_are_elsewhere() -> None:
    """The account does see interrupts that are outside."""
    irqs = account.read_interrupts(boot("plain").outputs["interrupts"])
    assert account.account_interrupts(GUIDE, irqs, CONFINED).wrong


@CONFINING
def test_every_timer_is_accounted_for(name: str) -> None:
    """None of another CPU expires outside, unless it is pinned there."""
    timers = account.read_expiries(boot(name).outputs["expiries"])
    found = account.account_timers(timers, CONFINED)
    print(dict(found.counts))
    assert not found.wrong
    # Both kinds were there, and the CPU that was busy is among those that were looked at.
    assert "process_timeout" in {timer.function for timer in timers}
    assert any(timer.function.startswith("tick_") for timer in timers if timer.expired == 5)


def test_without_the_option_timers_are_elsewhere() -> None:
    """The account does see timers that are handed over: to the one CPU that is always busy."""
    timers = account.read_expiries(boot("plain").outputs["expiries"])
    wrong = account.account_timers(timers, CONFINED).wrong
    assert any("on CPU 5: " in timer for timer in wrong), wrong


@pytest.mark.parametrize("name", BOOTS)
def test_threads_of_programs_are_with_them(name: str) -> None:
    """What io_uring and vhost have threads for runs where PID 1 lets its children run."""
    facts = boot(name)
    threads = [line.split(":")[1:] for line in facts.outputs["live"] if line[:7] == "thread:"]
    rows = {name: [row.what for row in GUIDE.others if row.match(name)] for name, _ in threads}
    assert rows.pop("live") == []
    assert all(rows.values()), rows
    assert len({row for found in rows.values() for row in found}) >= ROWS_OF_OTHERS
    for thread, cpus in threads:
        assert parse_cpus(cpus) <= facts.init_allowed, thread
    # The guide says that they are none.
    kthreads = [thread.name for thread in facts.last.threads if thread.kthread]
    assert [name for name in kthreads if any(row.match(name) for row in GUIDE.others)] == []


@pytest.mark.parametrize("name", BOOTS)
def test_the_kernel_is_content(name: str) -> None:
    """It has not warned, and of errors there are those that come without the option as well."""
    facts = boot(name)
    assert [text for text in facts.complaints() if COMPLAINT.search(text)] == []
    assert new_complaints(facts, boot("plain")) == []
