# SPDX-License-Identifier: GPL-2.0
"""What becomes of timers, of interrupts that drivers place, and of helpers that go on."""

from __future__ import annotations

from dataclasses import replace
from errno import EIO, EPERM
from typing import TYPE_CHECKING

import pytest

from facts import CpuSet, Facts, Step, format_cpus, new_complaints, parse_cpus
from scenarios import Boot
from sequences import Sequence
from vm import UNPATCHED, Machine

if TYPE_CHECKING:
    from conftest import Boots

KCPUS = "/sys/devices/system/cpu/kthread_cpus"


def _timers(words: str, before: str = "") -> Boot:
    """CPU 0 arms timers while it is often idle, and CPU 5 is busy."""
    actions = f"insmod:/kc/kcload.ko,{before}timers:5"
    return Boot("on", Machine(), f"{words} kcguest.do={actions}".strip(), "kcload")


# Each with the CPUs that may run the work which CPU 0 arms: it may always do so itself.
TIMERS = {
    "option": (_timers("kthread_cpus=0-1"), "0-1"),
    "timer-only": (_timers("kthread_cpus=timer,0"), "0"),
    "isolcpus": (_timers("kthread_cpus=0-1 isolcpus=7"), "0-1"),
    # CPU 0 hands nothing over, while CPUs of the list come and go.
    "hotplug": (_timers("kthread_cpus=2-3", "offline:2+3,online:3+2,"), "0,2-3"),
    "written": (_timers("", f"write:{KCPUS}=0-1,"), "0-1"),
    "written-elsewhere": (_timers("kthread_cpus=4-5", f"write:{KCPUS}=0+2,"), "0,2"),
    # No CPU of the list is there, and CPU 5 is no fallback.
    "none-online": (_timers("kthread_cpus=2-3 isolcpus=5", "offline:2+3,"), "0-1,4,6-7"),
    "partition": (_timers("kthread_cpus=0,5", "isolate:5,"), "0"),
    "nohz-full": (_timers("kthread_cpus=0-1 nohz_full=5-7"), "0-1"),
}


@pytest.mark.parametrize(("boot", "places"), TIMERS.values(), ids=TIMERS)
def test_timers_stay(boot: Boot, places: str, boots: Boots) -> None:
    """A CPU outside of the list handles no timer of another one, however busy it is."""
    facts = boots.facts(boot)
    assert not facts.failed_actions
    # One without a tick may arm none itself.
    assert facts.timers["own"] > 0 or "nohz_full=" in boot.append
    assert facts.timers["foreign"] == 0
    assert facts.delayed
    assert facts.delayed <= parse_cpus(places)


@pytest.mark.parametrize(
    "boot",
    [
        _timers("kthread_cpus=kthread,wq,umh,init,irq,0-1"),
        _timers("", f"write:{KCPUS}=0-1,write:{KCPUS}=all,"),
        replace(_timers(""), config=UNPATCHED),
    ],
    ids=["no-flag", "ended", "unpatched"],
)
def test_timers_go_where_it_is_busy(boot: Boot, boots: Boots) -> None:
    """Without the flag, that CPU gets timers of others, and the work that they queue."""
    facts = boots.facts(boot)
    assert not facts.failed_actions
    assert facts.timers["foreign"] > 0, (facts.timers, facts.delayed)
    assert 5 in facts.delayed


def _steps(words: str, *steps: str) -> Boot:
    sequence = Sequence(
        "", words, None, steps, guest="kcload", before=("insmod:/kc/kcload.ko",), trace=False
    )
    return sequence.boot


# The serial port's, which is a driver's that has not placed it.
SERIAL = 4
DRIVERS = _steps(
    "isolcpus=7 kthread_cpus=2-3",
    "write=/proc/kcload:irq~4~0-7",
    "write=/proc/kcload:irq~4~3,5",
    "write=/proc/kcload:irq~4~5-6",
    "write=/proc/kcload:hint~4~3-5",
    "offline=3",
    "offline=2",
    "online=3",
    "online=2",
    "write=/proc/irq/4/smp_affinity:30",
    "offline=2,3",
    "online=3,2",
    "offline=4",
    "write=/proc/irq/4/smp_affinity:c0",
    "write=/proc/kcload:irq~4~0-7",
    "write=/proc/irq/default_smp_affinity:3",
    "write=/proc/kcload:irq~4~1-2",
)
PLACES = (
    "2-3", "2-3", "3", "2-3", "3", "2", "0-1,4-6", "3", "3", "4-5", "4-5", "4-5", "4-5", "4-5",
    "5", "6-7", "2-3", "2-3", "2",
)  # fmt: skip


@pytest.mark.parametrize("boot", [DRIVERS], ids=["drivers"])
def test_interrupts_of_drivers(boot: Boot, boots: Boots) -> None:
    """What a driver asks for is limited to the list, comes back, and user space has its way."""
    facts = boots.facts(boot)
    assert [step.status for step in facts.steps] == [0] * len(facts.steps)
    # It may not have moved yet to what goes offline next.
    seen = [f"{step}: {format_cpus(step.irqs[SERIAL] & step.online)}" for step in facts.steps]
    expected = [f"{step}: {cpus}" for step, cpus in zip(facts.steps, PLACES, strict=True)]
    assert seen == expected


# A network card and a disk, whose drivers spread their queues over the CPUs.
DEVICES = Sequence(
    "devices",
    "isolcpus=7 kthread_cpus=2-3",
    "2-3",
    (
        "offline=2,3",
        "online=3,2",
        "write=/proc/irq/{virtio0-config}/smp_affinity:30",
        "offline=3,2",
        "online=2,3",
        "write=/proc/irq/{nvme0q1}/smp_affinity:ff",
    ),
    machine=Machine(network=True, nvme=True),
    trace=False,
)


def _irqs_of(facts: Facts, step: Step, fixed: bool) -> dict[str, CpuSet]:
    """Returns where the devices' interrupts may go, by name: two boots number them as they like."""
    return {
        name: step.irqs[number]
        for number, name in facts.handlers.items()
        if number in step.irqs
        and name.startswith(("virtio", "nvme"))
        and (number in facts.fixed_irqs) == fixed
    }


@pytest.mark.parametrize("sequence", [DEVICES], ids=["devices"])
def test_interrupts_of_devices(sequence: Sequence, boots: Boots) -> None:
    """Those of a card are on the list or, while that is away, elsewhere, but managed ones stay."""
    facts, reference = boots.facts(sequence.boot), boots.facts(sequence.reference)
    assert not new_complaints(facts, reference)
    *made, refused = facts.steps
    assert [step.status for step in made] == [0] * len(made)
    assert refused.status in (EIO, EPERM)
    confined, rest, chosen = map(parse_cpus, ("2-3", "0-1,4-6", "4-5"))
    by_hand = ""
    for step in facts.steps:
        if "{virtio" in step.arg:
            by_hand = "virtio0-config"
        seen = _irqs_of(facts, step, fixed=False)
        assert seen.keys() >= {"virtio0-config", "virtio0-input.0", "virtio0-output.0", "nvme0q0"}
        for name, cpus in seen.items():
            limit = chosen if name == by_hand else confined & step.online or rest
            where = f"{step}: {name} is on {format_cpus(cpus)}, not within {format_cpus(limit)}"
            # It may not have moved yet from what has gone offline.
            assert cpus & step.online, where
            assert cpus & step.online <= limit, where
    assert len(facts.steps) == len(reference.steps)
    for step, other in zip(facts.steps, reference.steps, strict=True):
        assert (str(step), step.status) == (str(other), other.status)
        managed = _irqs_of(facts, step, fixed=True)
        assert len(managed) > 1
        assert managed == _irqs_of(reference, other, fixed=True), step


WINS = _steps("irqaffinity=6 kthread_cpus=2-3", "write=/proc/kcload:irq~4~4-7", "each=2-3")


@pytest.mark.parametrize(
    ("boot", "reference"),
    [(WINS, replace(WINS, config=UNPATCHED, append=WINS.append.replace("kthread_cpus=2-3 ", "")))],
    ids=["irqaffinity"],
)
def test_irqaffinity_wins(boot: Boot, reference: Boot, boots: Boots) -> None:
    """With irqaffinity=, interrupts are where they are without the option."""
    facts, other = boots.facts(boot), boots.facts(reference)
    assert [step.irqs for step in facts.steps] == [step.irqs for step in other.steps]
    assert [step.irq_default for step in facts.steps] == [step.irq_default for step in other.steps]
    assert not new_complaints(facts, other)


SERVED = [
    pytest.param(
        Boot(
            "on",
            Machine(),
            f"kthread_cpus=4-5 kcguest.do=insmod:/kc/kcbrief.ko~{how},facts",
            "kcload",
        ),
        cpus,
        id=name,
    )
    for name, how, cpus in (
        ("some-cpus", "serves=2", {0}),
        ("some-cpus-and-placed", "serves=2~place=1", {1}),
        ("placed-outside", "place=1", {4}),
    )
]


@pytest.mark.parametrize(("boot", "cpus"), SERVED)
def test_controller_of_some_cpus(boot: Boot, cpus: set[int], boots: Boots) -> None:
    """An interrupt whose controller serves no CPU of the list is handled where it can be."""
    facts = boots.facts(boot)
    assert not facts.failed_actions
    threads = [thread for thread in facts.last.threads if thread.irq is not None]
    (number,) = (thread.irq for thread in threads if thread.name.endswith("-kcbrief"))
    assert [irq.effective for irq in facts.last.irqs if irq.number == number] == [cpus]


ONE_OUTSIDE = Boot(
    "on",
    Machine(),
    "kthread_cpus=0-1 kcguest.do=one_outside:khungtaskd,facts,insmod:/kc/kcload.ko,"
    "write:/proc/kcload=add~node:1~2,offline:5,facts,online:5,facts",
    "kcload",
)


@pytest.mark.parametrize("boot", [ONE_OUTSIDE], ids=["guide"])
def test_one_thread_outside(boot: Boot, boots: Boots) -> None:
    """The guide's way to have one thread elsewhere leaves all others where they are."""
    facts = boots.facts(boot)
    assert not facts.failed_actions
    for snapshot, cpus in zip(facts.snapshots[-3:], ("5", "0-1,5", "5"), strict=True):
        threads = {thread.name: thread.allowed for thread in snapshot.managed}
        assert threads.pop("khungtaskd") == parse_cpus(cpus)
        assert {name for name, mask in threads.items() if not mask <= {0, 1}} == set()
        assert snapshot.workqueues == {0, 1}
    assert "kcload-node/0" in threads


def _firsts(words: str, config: str = "on") -> Boot:
    return Boot(config, Machine(), f"irqaffinity=6 {words} kcguest.do=firsts:20", "kcload")


def test_threads_of_interrupts_begin_inside(boots: Boots) -> None:
    """Also if the interrupt itself is elsewhere; on the unpatched kernel they begin anywhere."""
    facts, other = boots.facts(_firsts("kthread_cpus=2-3")), boots.facts(_firsts("", UNPATCHED))
    assert not facts.failed_actions
    assert not other.failed_actions
    assert sum(facts.firsts.values()) == sum(other.firsts.values()) == 20
    assert facts.firsts.keys() <= {2, 3}
    assert not other.firsts.keys() <= {2, 3}


def _waiting(words: str) -> Boot:
    return Boot("on", Machine(), f"{words} kcguest.do=umh_waiting".strip())


@pytest.mark.parametrize(
    ("boot", "expected"),
    [
        (_waiting("kthread_cpus=umh,0-1"), ("0-1", "0-1", "0-1")),
        (_waiting("kthread_cpus=0-1"), ("0-1", "0-1", "0-1")),
        # As the unpatched kernel.
        (_waiting("kthread_cpus=kthread,0-1"), ("0-7", "0-5", "0-7")),
    ],
    ids=["umh", "all", "not"],
)
def test_a_helper_that_goes_on(boot: Boot, expected: tuple[str, ...], boots: Boots) -> None:
    """A partition elsewhere does not send a running helper outside of the list."""
    facts = boots.facts(boot)
    assert not facts.failed_actions
    seen: list[CpuSet] = [facts.umh[name] for name in ("waiting", "during", "after")]
    assert seen == [parse_cpus(cpus) for cpus in expected]
