# SPDX-License-Identifier: GPL-2.0
"""Faults that version 1 of the engine had, each by the steps that showed it.

They were found by a review, which numbers them S1 to S12; what is right here is what the
unpatched kernel does, or for kthread_cpus= what the specification says.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from errno import EAGAIN, EINVAL, ETIMEDOUT
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facts import COMPLAINT, Facts, Step, format_cpus, parse_cpus, parse_mask
from scenarios import Boot
from sequences import LONGEST_COMMAND_LINE, Sequence
from test_insight import EVENT, TRACE
from vm import BEFORE_7_0, BOOT_TIMEOUT, Guest

if TYPE_CHECKING:
    from conftest import Boots

CPUS = "/sys/devices/system/cpu"
KCPUS = f"{CPUS}/kthread_cpus"
CLASSES = f"{CPUS}/kthread_cpus_classes"
WORKQUEUES = "/sys/devices/virtual/workqueue/cpumask"
TRACING = "/sys/kernel/tracing"
KCLOAD = "/proc/kcload"


@dataclass(frozen=True)
class Row:
    """A step, the error that it has, and where threads may run and workqueues do afterwards."""

    step: str
    status: int = 0
    masks: dict[str, str] = field(default_factory=dict, hash=False)
    workqueues: str | None = None
    processes: dict[str, str] = field(default_factory=dict, hash=False)

    def differences(self, seen: Step) -> list[str]:
        """What is not as it should be."""
        found: list[str] = []
        if seen.status != self.status:
            found.append(f"{seen}: error {seen.status}, not {self.status}")
        threads = {thread.name: thread.allowed for thread in seen.threads.values()}
        for name, cpus in self.masks.items():
            if name not in threads:
                found.append(f"{seen}: there is no thread {name}")
            elif threads[name] != parse_cpus(cpus):
                found.append(f"{seen}: {name} is on {sorted(threads[name])}, not on {cpus}")
        for name, cpus in self.processes.items():
            if seen.processes.get(name) != parse_cpus(cpus):
                found.append(f"{seen}: {name} is on {seen.processes.get(name)}, not on {cpus}")
        if self.workqueues and seen.workqueues != parse_cpus(self.workqueues):
            found.append(f"{seen}: workqueues are on {seen.workqueues}, not on {self.workqueues}")
        return found


def _boot(words: str, *rows: Row, timeout: float = BOOT_TIMEOUT) -> Boot:
    steps = tuple(row.step for row in rows)
    before = ("facts", "insmod:/kc/kcload.ko")
    return Sequence(
        "", words, None, steps, guest="kcload", before=before, trace=False, timeout=timeout
    ).boot


def check(facts: Facts, rows: tuple[Row, ...]) -> None:
    """Each step has come out as its row says, and the kernel has not complained."""
    assert not facts.failures
    found = [
        text
        for row, step in zip(rows, facts.steps[1:], strict=True)
        for text in row.differences(step)
    ]
    found += [f"in the log: {text}" for text in facts.complaints() if COMPLAINT.search(text)]
    if found:
        pytest.fail("\n".join(f"  - {text}" for text in found), pytrace=False)


# A partition that is not isolated: its CPUs are housekeeping CPUs, and yet nobody else's. ---

OTHERS_PARTITION = (
    Row("mkdir=@a"),
    Row("write=@a/cpuset.cpus:4-5"),
    Row("write=@a/cpuset.cpus.partition:root"),
    # S2: 4 belongs to the partition. kswapd1 prefers 4-7.
    Row("affinity=khungtaskd:3,4", 0, {"khungtaskd": "3"}),
    Row("affinity=kswapd1:3,4", 0, {"kswapd1": "3"}),
    Row("affinity=khungtaskd:4", EINVAL, {"khungtaskd": "3"}),
    Row("write=@a/cpuset.cpus.partition:member"),
    Row("rmdir=@a"),
)

# The option absent -------------------------------------------------------------------------

ABSENT_WORDS = "isolcpus=6-7"
ABSENT = (
    # S6: what user space asks for goes beyond what the thread prefers.
    Row("affinity=kswapd1:3,4", 0, {"kswapd1": "3-4"}),
    Row("affinity=kswapd1:0-7", 0, {"kswapd1": "0-7"}),
    *OTHERS_PARTITION,
    # S4: writing what was read changes nothing, also not what is allowed.
    Row("affinity=kswapd0:6", 0, {"kswapd0": "6"}),
    Row(f"again={KCPUS}", 0, {"kswapd0": "6"}),
    Row(f"read={CLASSES}"),
    Row("affinity=kswapd0:7", 0, {"kswapd0": "7"}),
    # S12: this one has seen to it itself that it stays where it is.
    Row(f"write={KCLOAD}:add~fixed:5~1", 0, {"kcload-fixed/0": "5"}),
    # S4, section 5 of the specification: a confinement that is ended leaves nothing behind.
    Row(f"write={WORKQUEUES}:c0", 0, workqueues="6-7"),
    Row("helper=modprobe"),
    Row(
        "kcpus=2-3",
        0,
        {"kswapd0": "2-3", "oom_reaper": "2-3", "kcload-fixed/0": "5"},
        workqueues="2-3",
    ),
    Row(f"read={CLASSES}"),
    Row("helper=modprobe"),
    Row("affinity=oom_reaper:7", EINVAL, {"oom_reaper": "2-3"}),
    Row(f"again={KCPUS}", 0, {"oom_reaper": "2-3"}, workqueues="2-3"),
    # Without the option, isolcpus= keeps no kthread away there.
    Row(
        "kcpus=all",
        0,
        {"oom_reaper": "0-7" if BEFORE_7_0 else "0-5", "kcload-fixed/0": "5"},
        workqueues="6-7",
    ),
    Row(f"read={CLASSES}"),
    Row("helper=modprobe"),
    Row("affinity=oom_reaper:7", 0, {"oom_reaper": "7"}),
    Row("affinity=kswapd0:6", 0, {"kswapd0": "6"}),
    Row(f"write={WORKQUEUES}:80", 0, workqueues="7"),
    # S9: a bound thread of which user space may ask that it moves; it leaves then.
    Row(f"write={TRACING}/osnoise/cpus:3"),
    Row(f"write={TRACING}/osnoise/runtime_us:1000"),
    Row(f"write={TRACING}/current_tracer:osnoise", 0, {"osnoise/3": "3"}),
    Row("affinity=osnoise/3:0"),
    Row(f"write={TRACING}/current_tracer:nop"),
)
ABSENT_BOOT = _boot(ABSENT_WORDS, *ABSENT)


@pytest.mark.parametrize("boot", [ABSENT_BOOT], ids=["absent"])
def test_option_absent(boot: Boot, boots: Boots) -> None:
    """Without the option all is as without the series, also when a confinement has ended."""
    facts = boots.facts(boot)
    check(facts, ABSENT)
    assert facts.outputs[CLASSES] == ["", "kthread,wq,umh,timer", ""]
    helpers = [step.result["modprobe"] for step in facts.steps if step.name == "helper"]
    assert helpers == [helpers[0], "2-3", helpers[0]]


# Everything confined to all CPUs, and then to some -----------------------------------------

EVERYWHERE = {"oom_reaper": "0-7", "kcompactd0": "0-7", "kcompactd1": "0-7"}
BACK = {"oom_reaper": "2-3", "kcompactd0": "2-3", "kcompactd1": "2-3"}
CONFINED = (
    *OTHERS_PARTITION,
    Row(f"write={KCLOAD}:add~fixed:5~1", 0, {"kcload-fixed/0": "5"}),
    Row("kcpus=2-3", 0, {**BACK, "kcload-fixed/0": "5"}),
    # S8: CPU 2 comes up, but not to the end. Kthreads may be there from kthreads:online on.
    Row("offline=3"),
    Row("offline=2", 0, EVERYWHERE),
    Row("hotplug=2:kthreads:online", 0, BACK),
    Row("offline=5", 0, BACK),
    Row("online=5", 0, BACK),
    Row("hotplug=2:offline", 0, EVERYWHERE),
    Row("hotplug=2:sched:active", 0, BACK),
    Row("hotplug=2:offline", 0, EVERYWHERE),
    Row("online=3", 0, BACK),
    Row("online=2", 0, BACK),
    # A CPU that was about to go, and stays.
    Row("offline=3", 0, BACK),
    Row("refuse=2:sched:active", EAGAIN, BACK, workqueues="2-3"),
    Row("affinity=oom_reaper:2", 0, {"oom_reaper": "2"}),
    Row("affinity=oom_reaper:2-3", 0, BACK),
    Row("online=3", 0, BACK),
)
CONFINED_BOOT = _boot("kthread_cpus=0-7", *CONFINED)


@pytest.mark.parametrize("boot", [CONFINED_BOOT], ids=["confined"])
def test_confined(boot: Boot, boots: Boots) -> None:
    """Other partitions keep their CPUs, and CPUs that come up half are no place to be."""
    facts = boots.facts(boot)
    check(facts, CONFINED)
    cpus = parse_cpus("2-3")
    assert [thread for thread in facts.steps[-1].managed if not thread.allowed <= cpus] == []


# RCU -----------------------------------------------------------------------------------------

# P2: RCU's threads go to CPUs that are not nohz_full=, as long as there are some.
RCU = (
    Row("read=/sys/devices/system/cpu/nohz_full", 0, {"rcu_preempt": "0-1", "oom_reaper": "0-3"}),
    Row("kcpus=1-4", 0, {"rcu_preempt": "1", "oom_reaper": "1-4"}),
    Row("kcpus=4-5", 0, {"rcu_preempt": "4-5", "oom_reaper": "4-5"}),
    Row("kcpus=0-3", 0, {"rcu_preempt": "0-1", "oom_reaper": "0-3"}),
)
if BEFORE_7_0:
    # As all kthreads, and these CPUs alone can't be had.
    RCU = (
        Row(
            "read=/sys/devices/system/cpu/nohz_full", 0, {"rcu_preempt": "0-1", "oom_reaper": "0-1"}
        ),
        Row("kcpus=1-4", 0, {"rcu_preempt": "1", "oom_reaper": "1"}),
        Row("kcpus=4-5", EINVAL, {"rcu_preempt": "1", "oom_reaper": "1"}),
        Row("kcpus=0-3", 0, {"rcu_preempt": "0-1", "oom_reaper": "0-1"}),
    )
RCU_BOOT = _boot("nohz_full=2-7 kthread_cpus=0-3", *RCU)
# Without the option the preference is there, but it does not count.
FREE = "0-1" if BEFORE_7_0 else "0-7"
RCU_WRITTEN = (
    Row(f"read={CPUS}/nohz_full", 0, {"rcu_preempt": "0-1", "oom_reaper": FREE}),
    *RCU[1:],
    Row("kcpus=all", 0, {"rcu_preempt": "0-1", "oom_reaper": FREE}),
    Row("affinity=rcu_preempt:5", 0, {"rcu_preempt": "5"}),
    Row("offline=6"),
    Row("online=6", 0, {"rcu_preempt": "5"}),
)
RCU_WRITTEN_BOOT = _boot("nohz_full=2-7", *RCU_WRITTEN)


@pytest.mark.parametrize(
    ("boot", "rows"), [(RCU_BOOT, RCU), (RCU_WRITTEN_BOOT, RCU_WRITTEN)], ids=["rcu", "rcu-written"]
)
def test_grace_period_threads(boot: Boot, rows: tuple[Row, ...], boots: Boots) -> None:
    """RCU keeps away from the CPUs of applications."""
    facts = boots.facts(boot)
    check(facts, rows)
    assert facts.outputs["/sys/devices/system/cpu/nohz_full"] == ["2-7"]
    # There may be more of them than rcu_preempt, by the configuration.
    managed = facts.steps[len(RCU)].managed
    threads = [t for t in managed if t.name.startswith(("rcu_preempt", "rcu_tasks"))]
    assert {t.name: sorted(t.allowed) for t in threads} == {t.name: [0, 1] for t in threads}


# A thread that cannot move -------------------------------------------------------------------

# Nobody has to wait that long for anything here.
WITHIN = "within=20:"
# Nothing changes for it; it may take as long as it does.
CREATE = Row(f"{WITHIN}write={KCLOAD}:crs~unbound~3")


def _switch(cpu: int, value: int, masks: dict[str, str] | None = None) -> Row:
    return Row(f"{WITHIN}write={CPUS}/cpu{cpu}/online:{value}", 0, masks or {})


# There, cpusets move kthreads themselves, and wait for them: also on the unpatched kernel.
WITH_PARTITION = (
    ()
    if BEFORE_7_0
    else (
        Row("mkdir=@a"),
        Row("write=@a/cpuset.cpus:3"),
        Row(
            f"{WITHIN}write=@a/cpuset.cpus.partition:isolated",
            0,
            {"kcload-pinned/0": "6", "kcload-pinned/1": "0-2,4-7", "oom_reaper": "0-2,4-7"},
        ),
        CREATE,
        Row(
            f"{WITHIN}write=@a/cpuset.cpus.partition:member",
            0,
            {"kcload-pinned/0": "6", "kcload-pinned/1": "0-7", "oom_reaper": "0-7"},
        ),
    )
)
# S1: both are on CPU 3 all the time.
PINNED = (
    Row("kcpus=3"),
    Row(f"write={KCLOAD}:add~pinned~2", 0, {"kcload-pinned/0": "3", "kcload-pinned/1": "3"}),
    Row("kcpus=all", 0, {"kcload-pinned/0": "0-7", "kcload-pinned/1": "0-7"}),
    # As on the unpatched kernel, this does not return until the thread may move.
    Row("within=1:affinity=kcload-pinned/0:6", ETIMEDOUT, {"kcload-pinned/0": "6"}),
    CREATE,
    _switch(5, 0),
    _switch(5, 1),
    *WITH_PARTITION,
    # The masks are right at once; it is the threads that cannot follow.
    Row(
        f"{WITHIN}kcpus=1-2",
        0,
        {"kcload-pinned/0": "1-2", "kcload-pinned/1": "1-2", "oom_reaper": "1-2"},
    ),
    CREATE,
    _switch(5, 0),
    _switch(5, 1),
    _switch(1, 0, {"kcload-pinned/0": "1-2", "kcload-pinned/1": "1-2", "oom_reaper": "1-2"}),
    _switch(2, 0, {"kcload-pinned/0": "6", "kcload-pinned/1": "0-7", "oom_reaper": "0-7"}),
    CREATE,
    _switch(2, 1, {"kcload-pinned/0": "1-2", "kcload-pinned/1": "1-2", "oom_reaper": "1-2"}),
    _switch(1, 1),
    Row(f"{WITHIN}write={KCLOAD}:del~all"),
    Row(f"read={KCLOAD}"),
    # That of the thread's affinity has ended, too.
    Row("left=20"),
)
# On version 1 each step takes as long as it may.
PINNED_BOOT = _boot(
    "numa=fake=2U trace_clock=counter trace_event=kthread_cpus:kthread_affinity",
    *PINNED,
    timeout=500.0,
)
PINNED_BOOT = replace(PINNED_BOOT, append=f"{PINNED_BOOT.append},lines:{TRACE}")


@pytest.mark.parametrize("boot", [PINNED_BOOT], ids=["pinned"])
def test_thread_that_cannot_move(boot: Boot, boots: Boots) -> None:
    """It holds up nobody but who waits for it, and goes to the right place when it can."""
    facts = boots.facts(boot)
    check(facts, PINNED)
    # The first one is stopped last.
    told = dict(word.split("=") for word in facts.outputs[KCLOAD][0].split())
    assert told["deleted"] == "2"
    assert int(told["cpu"]) in (1, 2)


PARTITIONED = (("0-7", "0-2,4-7", "housekeeping"), ("0-2,4-7", "0-7", "housekeeping"))


@pytest.mark.parametrize("boot", [PINNED_BOOT], ids=["pinned"])
def test_each_change_is_told_once(boot: Boot, boots: Boots) -> None:
    """Also if it takes several tries until the thread is known to move later."""
    lines = boots.facts(boot).outputs[TRACE]
    found = [match for line in lines if (match := EVENT.search(line))]
    assert [
        (*(format_cpus(parse_mask(match[mask])) for mask in ("old", "new")), match["reason"])
        for match in found
        if match["name"] == "kcload-pinned/1"
    ] == [
        ("3", "0-7", "kthread_cpus"),
        *(PARTITIONED if WITH_PARTITION else ()),
        ("0-7", "1-2", "kthread_cpus"),
        ("1-2", "0-7", "offline"),
        ("0-7", "1-2", "online"),
    ]


@pytest.mark.parametrize("boot", [PINNED_BOOT], ids=["pinned"])
def test_fake_nodes(boot: Boot, boots: Boots) -> None:
    """S11: a CPU is on several nodes then, and the threads of each of them run there."""
    now = boots.facts(boot).snapshots[0]
    assert sorted(now.nodes) == [0, 1, 2, 3]
    for node, cpus in now.nodes.items():
        assert cpus in (parse_cpus("0-3"), parse_cpus("4-7"))
        for name in ("kswapd", "kcompactd"):
            assert now.named(f"{name}{node}").allowed == cpus


# The CPU that its work was queued on has gone; where it is now, it stays.
PINNED_WORK = (
    # Where it was set before it ran is nothing that mainline keeps to, from 7.0 on.
    Row(f"write={KCLOAD}:add~set:3~1", 0, {"kcload-set/0": "3" if BEFORE_7_0 else "0-7"}),
    Row("write=/proc/kcwork:pin~5"),
    _switch(5, 0),
    CREATE,
    # Not on both.
    Row(f"{WITHIN}kcpus=1", workqueues="1"),
    Row(f"{WITHIN}kcpus=2", workqueues="2"),
    Row(f"{WITHIN}write=/proc/kcwork:run~unbound~20"),
    Row(f"{WITHIN}write=/proc/kcwork:run~percpu~24"),
    _switch(7, 0),
    _switch(7, 1),
    # Nor on both of these, when the confinement ends.
    Row(f"{WITHIN}write={WORKQUEUES}:08", workqueues="2"),
    Row(f"{WITHIN}kcpus=all", workqueues="3"),
    Row(f"{WITHIN}kcpus=1", workqueues="1"),
    Row(f"{WITHIN}write={WORKQUEUES}:10", workqueues="1"),
    Row(f"{WITHIN}kcpus=all", workqueues="4"),
    Row(f"{WITHIN}write={WORKQUEUES}:ff", workqueues="0-7"),
    Row(f"{WITHIN}write=/proc/kcwork:unpin"),
    _switch(5, 1),
)
PINNED_WORK_BOOT = _boot("", *PINNED_WORK, timeout=500.0)


@pytest.mark.parametrize("boot", [PINNED_WORK_BOOT], ids=["pinned-work"])
def test_work_that_cannot_move(boot: Boot, boots: Boots) -> None:
    """Nobody waits for the worker of a CPU that has gone, and all others go on."""
    check(boots.facts(boot), PINNED_WORK)


# What the scheduler's fallback makes of a process that has chosen its CPUs.
LOST = (
    Row("busy", processes={"busy": "0-1"}),
    Row("affinity=busy:5", processes={"busy": "5"}),
    _switch(5, 0),
    Row(f"write={CPUS}/cpu7/online:0", processes={"busy": "0-1"}),
    _switch(5, 1),
    Row(f"write={CPUS}/cpu7/online:1", processes={"busy": "0-1"}),
    Row("affinity=busy:1,5", processes={"busy": "1,5"}),
    _switch(5, 0),
    _switch(1, 0),
    Row(f"write={CPUS}/cpu7/online:0", processes={"busy": "0-1"}),
)
LOST_BOOT = _boot("kthread_cpus=init,0-1", *LOST)


@pytest.mark.parametrize("boot", [LOST_BOOT], ids=["lost"])
def test_process_that_loses_its_cpus(boot: Boot, boots: Boots) -> None:
    """It is confined as PID 1 is, since nobody has chosen CPUs for it any more."""
    check(boots.facts(boot), LOST)


# A partition that is not isolated has the only CPU of kernel threads: they have to stay.
TAKEN = (
    Row("mkdir=@a"),
    Row("write=@a/cpuset.cpus:5"),
    Row("write=@a/cpuset.cpus.partition:root"),
    Row("affinity=khungtaskd:0-7", 0, {"khungtaskd": "5"}),
    Row("write=@a/cpuset.cpus:5-6"),
    Row("write=@a/cpuset.cpus.partition:member"),
    Row("affinity=khungtaskd:6", EINVAL, {"khungtaskd": "5"}),
    Row("rmdir=@a"),
)
TAKEN_BOOT = _boot("kthread_cpus=5", *TAKEN)


@pytest.mark.parametrize("boot", [TAKEN_BOOT], ids=["taken"])
def test_partition_with_all_that_there_is(boot: Boot, boots: Boots) -> None:
    """User space can let go of a thread, wherever that has to be."""
    check(boots.facts(boot), TAKEN)


# What user space has asked for, and partitions that are not isolated: the mask does not depend on
# which of them was first, nor on whether something else has changed meanwhile.
PLACED_AND_TAKEN = (
    Row("affinity=khungtaskd:4", 0, {"khungtaskd": "4"}),
    Row("mkdir=@a"),
    Row("write=@a/cpuset.cpus:4"),
    Row("write=@a/cpuset.cpus.partition:root", 0, {"khungtaskd": "4"}),
    Row("kcpus=0-4", 0, {"khungtaskd": "4"}),
    Row("affinity=khungtaskd:3-4", 0, {"khungtaskd": "3"}),
    Row("kcpus=0-5", 0, {"khungtaskd": "3"}),
    Row("offline=3", 0, {"khungtaskd": "3-4"}),
    Row("online=3", 0, {"khungtaskd": "3"}),
    Row("write=@a/cpuset.cpus.partition:member", 0, {"khungtaskd": "3-4"}),
    Row("write=@a/cpuset.cpus.partition:root", 0, {"khungtaskd": "3"}),
    Row("write=@a/cpuset.cpus.partition:member", 0, {"khungtaskd": "3-4"}),
    Row("rmdir=@a"),
    # A cpuset that has no CPUs of its own has those that are online: the top one has others.
    Row("mkdir=@b"),
    Row("cpuset=oom_reaper:b", 0, {"oom_reaper": "0-5"}),
    Row("offline=5", 0, {"oom_reaper": "0-4"}),
    Row("cpuset=oom_reaper:@", 0, {"oom_reaper": "0-5"}),
    Row("online=5", 0, {"oom_reaper": "0-5"}),
    # Nor does it matter what partitions had when it came back.
    Row("cpuset=oom_reaper:b", 0, {"oom_reaper": "0-5"}),
    Row("mkdir=@a"),
    Row("write=@a/cpuset.cpus:4"),
    Row("write=@a/cpuset.cpus.partition:root"),
    Row("cpuset=oom_reaper:@", 0, {"oom_reaper": "0-5"}),
    Row("write=@a/cpuset.cpus.partition:member", 0, {"oom_reaper": "0-5"}),
    Row("rmdir=@a"),
    Row("rmdir=@b"),
)
PLACED_AND_TAKEN_BOOT = _boot("kthread_cpus=kthread,0-5", *PLACED_AND_TAKEN)


@pytest.mark.parametrize("boot", [PLACED_AND_TAKEN_BOOT], ids=["placed-and-taken"])
def test_masks_do_not_depend_on_what_was_first(boot: Boot, boots: Boots) -> None:
    """Partitions come and go, threads are placed and moved to other cpusets."""
    check(boots.facts(boot), PLACED_AND_TAKEN)


def test_command_lines_fit() -> None:
    """No step is cut off the end of a command line."""
    for boot in (
        ABSENT_BOOT,
        CONFINED_BOOT,
        RCU_BOOT,
        RCU_WRITTEN_BOOT,
        PINNED_BOOT,
        PINNED_WORK_BOOT,
        LOST_BOOT,
        TAKEN_BOOT,
        PLACED_AND_TAKEN_BOOT,
    ):
        line = Guest(Path(), Path(), boot.append).command_line(boot.machine.arch)
        assert len(line) <= LONGEST_COMMAND_LINE, boot.name
