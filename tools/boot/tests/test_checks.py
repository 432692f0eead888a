# SPDX-License-Identifier: GPL-2.0
"""The checks of the scenarios: silent when all is well, and they notice what is not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest

from checks import interrupts, placement, surprises
from facts import (
    FLAGS,
    PF_KTHREAD,
    PF_NO_SETAFFINITY,
    CpuSet,
    Facts,
    Irq,
    LogLine,
    Snapshot,
    Thread,
    parse_cpus,
)
from scenarios import SCENARIOS, Scenario
from vm import BEFORE_7_0, Machine

BOUND = PF_KTHREAD | PF_NO_SETAFFINITY
ALL = parse_cpus("0-7")
# Name, flags and preference.
THREADS = (
    ("kthreadd", PF_KTHREAD, "0-7"),
    ("kswapd1", PF_KTHREAD, "4-7"),
    ("ksoftirqd/5", BOUND, "5"),
    ("kworker/3:0-events", BOUND, "3"),
    ("kworker/u32:0", BOUND, "0-7"),
    ("kworker/R-kblockd", BOUND, "0-7"),
    ("irq/9-acpi", BOUND, "1"),
)
SCENARIO = Scenario("example", "kthread_cpus=0-1", "0-1")


def facts(cpus: str | None = None) -> Facts:
    """Returns what a sound kernel tells: with everything confined, or without the option."""
    inside = parse_cpus(cpus) if cpus else None
    snapshot = Snapshot(
        irqs=[Irq(9, inside or ALL, parse_cpus("1"))],
        masks={"possible": ALL, "online": ALL, "isolated": frozenset()},
        irq_default=inside or ALL,
        workqueues=inside or ALL,
    )
    for pid, (name, flags, preference) in enumerate(THREADS, start=2):
        allowed = parse_cpus(preference)
        if inside and (flags != BOUND or name.startswith(("kworker/u", "kworker/R"))):
            allowed = inside & allowed or inside
        snapshot.threads.append(Thread(pid, name, flags, allowed, min(allowed)))
    words = f"kthread_cpus: confined {','.join(FLAGS)} to CPUs {cpus} out of 0-7"
    return Facts(
        init_allowed=inside or ALL,
        env={"HOME": "/", "TERM": "linux"},
        umh=dict.fromkeys(("core", "modprobe", "nested", "uevent"), inside or ALL),
        worked={"unbound": inside or ALL},
        fired={"ttyS0": inside or ALL},
        snapshots=[snapshot],
        klog=[LogLine(words, 6)] if cpus else [],
    )


def place(seen: Facts, name: str, cpus: str) -> None:
    """Puts a thread elsewhere."""
    threads = seen.last.threads
    index = next(i for i, thread in enumerate(threads) if thread.name == name)
    threads[index] = replace(threads[index], allowed=parse_cpus(cpus))


def warn(seen: Facts, text: str) -> None:
    """Makes the kernel warn instead of taking the option."""
    seen.klog = [LogLine(f"kthread_cpus: {text}", 4)]


def test_sound_boot() -> None:
    """There is nothing to say about what is as it should be."""
    assert surprises(SCENARIO, facts("0-1"), facts()) == []
    assert surprises(Scenario("absent", ""), facts(), facts()) == []


def work(facts: Facts, **worked: CpuSet) -> None:
    """Has unbound workqueues done their work there."""
    facts.actions.append(("work", "", 0))
    facts.worked = worked


BREAK: list[tuple[str, Callable[[Facts], object]]] = [
    ("kthreadd may run on 0-7: outside 0-1", lambda f: place(f, "kthreadd", "0-7")),
    ("kthreadd may run on 1, not 0-1", lambda f: place(f, "kthreadd", "1")),
    ("kswapd1 may run on 4-7: outside 0-1", lambda f: place(f, "kswapd1", "4-7")),
    ("ksoftirqd/5 may run on 0", lambda f: place(f, "ksoftirqd/5", "0")),
    ("kworker/3:0-events may run on 0", lambda f: place(f, "kworker/3:0-events", "0")),
    ("kworker/u32:0 may run on 0-7: outside", lambda f: place(f, "kworker/u32:0", "0-7")),
    ("kworker/R-kblockd may run on 7", lambda f: place(f, "kworker/R-kblockd", "7")),
    ("unbound workqueues use 0-7", lambda f: setattr(f.last, "workqueues", ALL)),
    ("interrupts go to 0-7", lambda f: setattr(f.last, "irq_default", ALL)),
    ("irq/9-acpi may run on 5, where its", lambda f: place(f, "irq/9-acpi", "5")),
    ("interrupt 9 goes to 0-7", lambda f: f.last.irqs.append(Irq(9, ALL, ALL))),
    ("PID 1 may run on 0-7", lambda f: setattr(f, "init_allowed", ALL)),
    ("work ran on 0-7, outside 0-1", lambda f: work(f, unbound=ALL)),
    ("have done no work", lambda f: work(f)),
    ("interrupt of ttyS0 has fired on 3", lambda f: f.fired.update(ttyS0=parse_cpus("3"))),
    ("nested helper has 0-7", lambda f: f.umh.update(nested=ALL)),
    ("modprobe helper has 0-7", lambda f: f.umh.update(modprobe=ALL)),
    ("no usermode helper ran for core", lambda f: f.umh.pop("core")),
    ("init's environment has", lambda f: f.env.update(kthread_cpus="0-1")),
    ("no line says what was confined", lambda f: f.klog.clear()),
    ("there must be no warning", lambda f: f.klog.append(LogLine("kthread_cpus: oh", 4))),
    ("could not do the action umh", lambda f: f.actions.append(("umh", "", 1))),
    ("a warning that is not there", lambda f: f.klog.append(LogLine("irq 8: broken", 4))),
    (
        "it ran on CPU 5",
        lambda f: f.last.threads.__setitem__(0, replace(f.last.threads[0], cpu=5)),
    ),
    ("there is no managed kthread kswapd1", lambda f: f.last.threads.pop(1)),
]


@pytest.mark.parametrize(
    ("cpus", "affinity", "is_wrong"),
    [("7", "0-3", False), ("7", "0-7", True), ("2-5", "2-5", False), ("2-5", "0-3", True)],
)
def test_interrupt_controller_of_a_socket(cpus: str, affinity: str, is_wrong: bool) -> None:
    """On riscv64 an interrupt goes to the first socket, on the list if that has CPUs of it."""
    machine = Machine(arch="riscv64")
    scenario = Scenario("example", f"kthread_cpus={cpus}", cpus, machine=machine)
    seen = facts(cpus)
    seen.fired.clear()
    seen.last.threads = [thread for thread in seen.last.threads if thread.irq is None]
    seen.last.irqs = [Irq(9, parse_cpus(affinity), parse_cpus("1"))]
    assert bool(list(interrupts(scenario, seen, facts()))) == is_wrong


def test_rescuer_at_work() -> None:
    """A rescuer has the CPUs of those whom it helps, and then a name that says so."""
    for rest, is_wrong in (
        ("mm_percpu_wq-mm_percpu_wq", False),
        ("mm_percpu_wq+mm_percpu_wq", False),
        ("a-name-of-24-characters-+a-name-of-24-characters", False),
        ("mm_percpu_wq", True),
        ("mm-percpu", True),
        ("mm_percpu_wq-mm_percpu", True),
    ):
        seen = facts("0-1")
        place(seen, "kworker/R-kblockd", "7")
        threads = seen.last.threads
        threads[:] = [
            replace(t, name=f"kworker/R-{rest}") if t.name == "kworker/R-kblockd" else t
            for t in threads
        ]
        assert bool(surprises(SCENARIO, seen, facts())) is is_wrong, rest


@pytest.mark.parametrize(("message", "damage"), BREAK, ids=[message for message, _ in BREAK])
def test_notices(message: str, damage: Callable[[Facts], object]) -> None:
    """Every single thing that is wrong is noticed."""
    seen = facts("0-1")
    damage(seen)
    found = surprises(SCENARIO, seen, facts())
    assert len(found) == 1
    assert message in found[0]


def test_one_flag_leaves_the_rest() -> None:
    """What no flag names must be as without the option."""
    scenario = Scenario("one", "kthread_cpus=init,0-1", "0-1", flags=("init",))
    seen = facts()
    seen.init_allowed = parse_cpus("0-1")
    seen.klog = [LogLine("kthread_cpus: confined init to CPUs 0-1 out of 0-7", 6)]
    assert surprises(scenario, seen, facts()) == []

    everything = facts("0-1")
    everything.klog = seen.klog
    found = "\n".join(surprises(scenario, everything, facts()))
    # Before 7.0 a rescuer that has helped is where unbound workqueues are.
    rescuer = () if BEFORE_7_0 else ("kworker/R-kblockd",)
    for name in ("kthreadd", *rescuer, "unbound workqueues", "core helper", "interr"):
        assert name in found


def test_warnings() -> None:
    """An outcome needs its one warning, with the value and the offset in it."""
    scenario = Scenario("bad", "kthread_cpus=0-x", warning=("0-x",), offset=2)
    seen = facts()
    warn(seen, 'ignoring "0-x": malformed CPU list at offset 2')
    assert surprises(scenario, seen, facts()) == []

    wrong_place = copy.deepcopy(seen)
    warn(wrong_place, 'ignoring "0-x": malformed CPU list at offset 0')
    assert "offset 2" in surprises(scenario, wrong_place, facts())[0]

    nameless = copy.deepcopy(seen)
    warn(nameless, "ignoring it: malformed CPU list at offset 2")
    assert "must name" in surprises(scenario, nameless, facts())[0]

    twice = copy.deepcopy(seen)
    twice.klog *= 2
    assert "one line" in surprises(scenario, twice, facts())[0]

    silent = copy.deepcopy(seen)
    silent.klog = [LogLine(line.text, 6) for line in seen.klog]
    assert "one line" in surprises(scenario, silent, facts())[0]


def test_placement_tells_boots_apart() -> None:
    """Equal boots have equal placements, others have not."""
    assert placement(facts("0-1")) == placement(facts("0-1"))
    assert placement(facts("0-1")) != placement(facts("0-2"))


def test_plain_boot_has_no_option() -> None:
    """The boot to compare with is the same without the option."""
    for scenario in SCENARIOS:
        assert "kthread_cpus" not in scenario.plain.append
        assert scenario.plain.machine == scenario.machine


def test_ids_are_unique() -> None:
    """A scenario can be chosen by its name."""
    ids = [scenario.id for scenario in SCENARIOS]
    assert len(ids) == len(set(ids))
