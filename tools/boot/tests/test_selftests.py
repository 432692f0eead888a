# SPDX-License-Identifier: GPL-2.0
"""The kernel's selftests in the guest: that of the series, and one of CPU hotplug, which says
the same on a kernel with the option as on one without. That of cpusets: long_selftests.py.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from facts import Facts, new_complaints
from scenarios import Boot
from vm import BEFORE_7_0, UNPATCHED, Machine

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet
    from conftest import Boots

ON_OFF = "selftest:cpu-on-off-test.sh,selftest:cpu-on-off-test.sh~-a"
# Not init: the tests themselves run where they do without the option.
OPTION = "kthread_cpus=kthread,wq,umh,irq,2-3"


MACHINE = Machine()

# What long_selftests.py has takes: 133 cases with a dozen processes and some naps each.
TIMEOUT = 900.0


def _boot(config: str, words: str, actions: str, machine: Machine = MACHINE) -> Boot:
    append = f"{words} kcguest.do={actions}".strip()
    return Boot(config, machine, append, guest="selftests", timeout=TIMEOUT)


def with_and_without(name: str, actions: str) -> ParameterSet:
    """Returns the boots that test_same_results() compares."""
    boots = _boot("on", OPTION, actions), _boot(UNPATCHED, "", actions)
    return pytest.param(*boots, id=name)


OWN = "kthread_cpus_test"
# What it must leave as it was, besides what a snapshot has.
FILES = (
    "/sys/devices/system/cpu/kthread_cpus",
    "/sys/devices/system/cpu/kthread_cpus_classes",
    "/sys/devices/virtual/workqueue/cpumask_requested",
    "/proc/sys/kernel/modprobe",
)
CONTROLLERS = "/sys/fs/cgroup/cgroup.subtree_control"
LOOK = ",".join(["facts", *(f"lines:{file}" for file in FILES)])
# Killed while it has isolated a CPU.
KILLED = f"interrupted:{OWN}~/sys/fs/cgroup/{OWN}/cpuset.cpus.partition=isolated"
# Its threads look as if they could be moved; it takes no time to speak of.
TRACER = (
    "debug,write:/sys/kernel/tracing/osnoise/runtime_us=100,"
    "write:/sys/kernel/tracing/current_tracer=osnoise"
)
SMALL = Machine(smp=4, nodes=1)


def _watched(*actions: str) -> str:
    return f"{LOOK},{','.join(actions)},lines:{CONTROLLERS},{LOOK}"


# What it is run on, and how many of its tests must be skipped there.
WORKS = [
    pytest.param(
        _boot(config, words, _watched(*actions, f"selftest:{OWN}"), machine), skipped, id=name
    )
    for name, config, words, actions, machine, skipped in (
        ("ignored", "on", "kthread_cpus=wq,x", (KILLED,), SMALL, 1),
        ("absent-and-isolated", "on", "isolcpus=6-7", (), MACHINE, 1),
        ("tickless", "on", "nohz_full=4-7", (), MACHINE, 1),
        ("confined", "on", "isolcpus=6-7 nohz_full=6-7 kthread-cpus=5-6", (), MACHINE, 1),
        ("kthread", "on", "kthread_cpus=kthread,2-3", (TRACER,), SMALL, 3),
        ("wq-and-umh", "on", "kthread_cpus=umh,wq,2-3", (), SMALL, 2),
        ("checked", "kunit", "kunit.enable=0 kthread_cpus=2-3", (), MACHINE, 1),
    )
]
NOT_BUILT = _boot(UNPATCHED, "", f"selftest:{OWN}")
# Where it cannot be run, and why.
SKIPS = [
    pytest.param(NOT_BUILT, "the kernel has no /sys", id="not-built"),
    *(
        pytest.param(_boot("on", words, f"{actions}selftest:{OWN}", SMALL), reason, id=name)
        for name, words, actions, reason in (
            ("interrupts-only", "kthread_cpus=irq,2-3", "", "allows no change"),
            ("few-cpus", "maxcpus=2 kthread_cpus=2-3", "", "needs 4 CPUs"),
            ("read-only", "", "readonly:/sys,", "can't be put back"),
        )
    ),
]


def results(facts: Facts) -> list[str]:
    """Returns what the tests have printed and returned, without what no two boots share."""
    found = [
        f"{name}: {re.sub(r'^pid [0-9]+', 'pid', line)}"
        for name, lines in facts.outputs.items()
        for line in lines
    ]
    return found + [f"{arg}: exit status {status}" for _, arg, status in facts.actions]


@pytest.mark.parametrize(("patched", "reference"), [with_and_without("cpu-on-off-test", ON_OFF)])
def test_same_results(patched: Boot, reference: Boot, boots: Boots) -> None:
    """Every case passes, fails or is skipped as it is without the option."""
    facts, plain = boots.facts(patched), boots.facts(reference)
    assert plain.outputs, "the selftests have printed nothing"
    assert results(facts) == results(plain)
    assert not plain.failed_actions
    assert not new_complaints(facts, plain)


def changed(facts: Facts) -> list[str]:
    """Returns what is not as it was before the test."""
    first, last = facts.snapshots[0], facts.snapshots[-1]
    found = [
        f"{file}: {lines}"
        for file in FILES
        if (lines := facts.outputs[file])[: len(lines) // 2] != lines[len(lines) // 2 :]
    ]
    # The file of what partitions have isolated is there once cpuset has been mounted.
    unmounted = {"partitions": first.masks["isolated"]} if "partitions" in last.masks else {}
    for name, before in (
        ("masks", unmounted | first.masks),
        ("workqueues", first.workqueues),
        ("irq_default", first.irq_default),
    ):
        if before != (now := getattr(last, name)):
            found.append(f"{name}: {before} became {now}")
    allowed = {thread.pid: thread.allowed for thread in first.threads}
    # Before 7.0, a rescuer that has helped is back there only when it has to help again.
    helped = [first.possible, first.workqueues] if BEFORE_7_0 else []
    # The thread of an interrupt is where that fires, which any hotplug may change.
    found += [
        f"{thread.name}: {allowed[thread.pid]} became {thread.allowed}"
        for thread in last.threads
        if allowed.get(thread.pid, thread.allowed) != thread.allowed
        and thread.irq is None
        and not (thread.rescuer and {thread.allowed, allowed[thread.pid]} <= set(helped))
    ]
    return found + facts.outputs.get(CONTROLLERS, [])


@pytest.mark.parametrize(("boot", "skipped"), WORKS)
def test_own(boot: Boot, skipped: int, boots: Boots) -> None:
    """The selftest of the series passes, skips no more than it must and leaves no trace."""
    facts = boots.facts(boot)
    lines = facts.outputs[OWN]
    found = new_complaints(facts, boots.facts(NOT_BUILT))
    # Mainline warns if who makes or ends a partition is killed while it makes a worker for that.
    # Before 7.0, workqueues then keep off its CPUs until there is another one.
    was_interrupted = any("Interrupted when creating a worker" in text for text in found)
    misled = ("masks", "end") if was_interrupted and BEFORE_7_0 else ()
    wrong = [line for line in lines if line.startswith(("not ok", "Bail out"))]
    assert [line for line in wrong if not line.endswith(misled)] == []
    plan = next(int(match[1]) for line in lines if (match := re.match(r"1\.\.(\d+)$", line)))
    assert len([line for line in lines if line.startswith("ok ")]) == plan - len(wrong)
    assert len([line for line in lines if "# SKIP" in line]) == skipped
    assert changed(facts) == []
    assert facts.failed_actions == ([f"selftest:{OWN}"] if wrong else [])
    if was_interrupted:
        assert boot.append.find(KILLED) >= 0
        where = "update_parent_effective_cpumask" if BEFORE_7_0 else "housekeeping_update"
        known = ("cut here", f" at {where}", "Call Trace", "Interrupted when")
        found = [text for text in found if not any(part in text for part in known)]
    assert not found


@pytest.mark.parametrize(("boot", "reason"), SKIPS)
def test_own_skips(boot: Boot, reason: str, boots: Boots) -> None:
    """The selftest of the series says why it cannot be run."""
    facts = boots.facts(boot)
    assert facts.failed_actions == [f"selftest:{OWN}"]
    assert facts.actions[-1][2] == 4
    assert any(line.startswith("1..0 # SKIP") and reason in line for line in facts.outputs[OWN])
