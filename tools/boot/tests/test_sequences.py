# SPDX-License-Identifier: GPL-2.0
"""Boots every sequence of sequences.py and looks after each step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facts import COMPLAINT, CpuSet, Facts, Step, new_complaints, parse_cpus
from moves import surprises
from scenarios import Boot
from sequences import (
    AS_MAINLINE,
    AS_MAINLINE_V1,
    JUGGLED,
    LONGEST_COMMAND_LINE,
    NOISE,
    SEQUENCES,
    STILL,
    UNDONE,
    UNDONE_PARTITION,
    Sequence,
)
from vm import Guest

if TYPE_CHECKING:
    from conftest import Boots


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda sequence: sequence.id)
def test_sequence(sequence: Sequence, boots: Boots) -> None:
    """Every step leads to what the rules say."""
    facts, reference = boots.facts(sequence.boot), boots.facts(sequence.reference)
    found = surprises(sequence, facts, reference)
    found += [f"in the log: {text}" for text in new_complaints(facts, reference)]
    if found:
        lines = "\n".join(f"  - {text}" for text in found)
        pytest.fail(f"{sequence.id} ({sequence.words or 'no option'}):\n{lines}", pytrace=False)


@pytest.mark.parametrize("sequence", [STILL], ids=["still-interrupt"])
def test_still(sequence: Sequence, boots: Boots) -> None:
    """The thread of an interrupt that nobody can place was there, and one that is managed."""
    for step in boots.facts(sequence.boot).steps:
        threads = [t for t in step.threads.values() if t.kthread and not t.bound]
        threads = [t for t in threads if t.irq is not None and t.name.endswith("-kcbrief")]
        assert len(threads) == 1, step


@pytest.mark.parametrize("sequence", [AS_MAINLINE, AS_MAINLINE_V1], ids=["as-mainline", "v1"])
def test_as_mainline(sequence: Sequence, boots: Boots) -> None:
    """Without the option, what user space sets has the effect that it has without the series."""
    ours, mainline = boots.facts(sequence.boot), boots.facts(sequence.reference)
    assert len(ours.steps) == len(mainline.steps) > len(sequence.steps)
    for step, reference in zip(ours.steps, mainline.steps, strict=True):
        assert str(step) == str(reference)
        assert step.status == reference.status, step
        seen, expected = placed(step), placed(reference)
        assert seen == expected, step
    assert {name.partition("/")[0] for name in placed(ours.steps[-1])} == PLACED


@pytest.mark.parametrize("sequence", [UNDONE], ids=["undone"])
def test_undone(sequence: Sequence, boots: Boots) -> None:
    """A list that is written and taken back leaves everything as if it had not been."""
    ours, mainline = boots.facts(sequence.boot), boots.facts(sequence.reference)
    before, confined, after = (placed(step) for step in ours.steps[-3:])
    assert before == after == placed(mainline.steps[-1])
    assert before["ksmd"] == [{2, 3, 4, 5}]
    assert (confined["ksmd"], confined["oom_reaper"]) == ([{2}], [{2}])


@pytest.mark.parametrize("sequence", [UNDONE_PARTITION], ids=["undone-partition"])
def test_undone_partition(sequence: Sequence, boots: Boots) -> None:
    """What a partition has isolated before is left alone after a list was taken back."""
    ours, mainline = boots.facts(sequence.boot), boots.facts(sequence.reference)
    *_, before, confined, after, _, made = ours.steps
    assert placed(before) == placed(after)
    assert placed(made) == placed(mainline.steps[-1])
    assert {cpu for thread in confined.managed for cpu in thread.allowed} == {0, 1, 2}
    assert after.isolated == made.isolated == {6, 7}
    assert [thread for thread in after.managed if thread.allowed & after.isolated] == []


PLACED = {"kthreadd", "ksmd", "khungtaskd", "oom_reaper", "kcload-unbound", "kcload-node"}


def placed(step: Step) -> dict[str, list[CpuSet]]:
    """Returns the CPUs of the threads that the steps move, or make."""
    found: dict[str, list[CpuSet]] = {}
    for thread in sorted(step.threads.values(), key=lambda thread: thread.pid):
        if thread.name.partition("/")[0] in PLACED:
            found.setdefault(thread.name, []).append(thread.allowed & step.online)
    return found


@pytest.mark.parametrize("sequence", [JUGGLED], ids=["juggled"])
def test_juggled(sequence: Sequence, boots: Boots) -> None:
    """No kthread is left behind on a CPU that goes, also without the option."""
    # The unpatched kernel has the fault that is looked for.
    for boot in (sequence.boot, replace(sequence.reference, config=sequence.config)):
        facts = boots.facts(boot)
        assert [text for text in facts.complaints() if COMPLAINT.search(text)] == []
        assert [int(step.result["placed"]) > 100 for step in facts.steps if step.result] == [True]


@pytest.mark.parametrize("sequence", [NOISE], ids=["noise"])
def test_noise(sequence: Sequence, boots: Boots) -> None:
    """No confined work ran on the busy CPUs, and without the option much of each kind did."""
    confined = parse_cpus(sequence.cpus or "")
    counts = [outside(boots.facts(b), confined) for b in (sequence.boot, sequence.reference)]
    print(f"outside of K: {counts[0]}, and without the option {counts[1]}")
    assert counts[0] == dict.fromkeys(NOISY, 0)
    assert all(counts[1].values()), counts[1]
    done = [noise_of(boots.facts(boot)) for boot in (sequence.boot, sequence.reference)]
    print(f"meanwhile: {done[0]}, and without the option {done[1]}")
    for told in done:
        assert all(int(told[what]) > 0 for what in ("rounds", "answers", "transfers")), told
    # Delayed work is the timers' to place.
    ran = parse_cpus(done[0]["ran"])
    assert ran
    assert ran <= confined, done[0]


# A rescuer has to go where a workqueue of a CPU needs it; test_sequence looks at the others.
NOISY = ("managed", "worker", "helper", "timer", "softirq", "irq")


def noise_of(facts: Facts) -> dict[str, str]:
    """Returns what the noise has told of itself."""
    return next(step.result for step in facts.steps if step.name == "noise")


def outside(facts: Facts, confined: CpuSet) -> dict[str, int]:
    """Returns how often work of each kind began to run, or was done, on another CPU."""
    counted = [epoch.counted for epoch in facts.epochs if epoch.counted]
    assert len(counted) == 1, "the guest has counted nothing"
    return {
        kind: sum(counts[kind] for cpu, counts in counted[0].items() if cpu not in confined)
        for kind in NOISY
    }


def _late(*steps: str) -> Boot:
    """Boots with no CPU of the list online, which then come."""
    return Sequence("", "maxcpus=3 kthread_cpus=irq,3-6", "3-6", steps, trace=False).boot


@pytest.mark.parametrize(
    ("boot", "expected"),
    [
        (_late("online=4", "offline=4", "online=3"), ["0-7", "3-6", "0-7", "3-6"]),
        (
            _late("write=/proc/irq/default_smp_affinity:3", "online=4"),
            ["0-7", "0-1", "0-1"],
        ),
    ],
    ids=["nobody", "user-space"],
)
def test_default_of_interrupts(boot: Boot, expected: list[str], boots: Boots) -> None:
    """The first CPU of the list that comes makes it the default, unless user space has set one."""
    facts = boots.facts(boot)
    assert [step.status for step in facts.steps] == [0] * len(expected)
    assert [step.irq_default for step in facts.steps] == [parse_cpus(cpus) for cpus in expected]


def test_command_lines_fit() -> None:
    """No step is cut off the end of a command line."""
    for sequence in SEQUENCES:
        for boot in (sequence.boot, sequence.reference):
            line = Guest(Path(), Path(), boot.append).command_line(boot.machine.arch)
            assert len(line) <= LONGEST_COMMAND_LINE, sequence.id
