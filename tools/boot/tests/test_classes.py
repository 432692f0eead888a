# SPDX-License-Identifier: GPL-2.0
"""What becomes of timers, of interrupts that drivers place, and of helpers that go on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from facts import CpuSet, format_cpus, new_complaints, parse_cpus
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


@pytest.mark.parametrize(
    "boot",
    [
        _timers("kthread_cpus=0-1"),
        _timers("kthread_cpus=timer,0"),
        _timers("kthread_cpus=0-1 isolcpus=7"),
        # CPU 0 hands nothing over, while CPUs of the list come and go.
        _timers("kthread_cpus=2-3", "offline:2+3,online:3+2,"),
        _timers("", f"write:{KCPUS}=0-1,"),
        _timers("kthread_cpus=4-5", f"write:{KCPUS}=0+2,"),
    ],
    ids=["option", "timer-only", "isolcpus", "hotplug", "written", "written-elsewhere"],
)
def test_timers_stay(boot: Boot, boots: Boots) -> None:
    """A CPU outside of the list handles no timer of another one, however busy it is."""
    facts = boots.facts(boot)
    assert not facts.failed_actions
    assert facts.timers["own"] > 0
    assert facts.timers["foreign"] == 0
    assert facts.delayed
    assert 5 not in facts.delayed


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
    assert facts.timers["foreign"] > 0
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
