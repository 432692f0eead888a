# SPDX-License-Identifier: GPL-2.0
"""The judgement on made-up sequences: what is right passes, each thing wrong is named."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import replace

import pytest

import facts as facts_module
import moves
from facts import PF_KTHREAD, PF_NO_SETAFFINITY, Facts, parse_cpus
from moves import Rules, allowed_masks, interrupts, processes, runs_outside, surprises
from sequences import Sequence

SEQUENCE = Sequence(
    "made-up",
    "kthread_cpus=2-3",
    "2-3",
    ("offline=2-3", "online=2"),
    flags=("kthread", "wq", "umh"),
)
ABSENT = replace(SEQUENCE, words="", cpus=None)
MANAGED, BOUND = PF_KTHREAD, PF_KTHREAD | PF_NO_SETAFFINITY

# As guest/steps/main.c tells it: K goes and half of it comes back.
LINES = f"""\
kthread pid=2 name=kthreadd flags={MANAGED}
kthread pid=5 name=kswapd1 flags={MANAGED}
kthread pid=6 name=cpuhp/2 flags={BOUND}
allowed list=2-3 pids=2,5
allowed list=2 pids=6
step number=1 name=offline arg=2 status=0 online=0-1,3-7 isolated= present=0-7
step number=2 name=offline arg=3 status=0 online=0-1,4-7 isolated= present=0-7
allowed list=0-7 pids=2
allowed list=0-7 pids=5
step number=3 name=online arg=2 status=0 online=0-2,4-7 isolated= present=0-7
allowed list=2-3 pids=2
allowed list=2-3 pids=5
epoch kind=boot step=-1 online=0 isolated= switches=9
ran cpus=0 threads=2,0:made
epoch kind=boot step=-1 online=0-7 isolated= switches=9
ran cpus=2-3 threads=2
epoch kind=moving step=0 online=0-7 isolated= switches=0
epoch kind=quiet step=0 online=0-7 isolated= switches=9
ran cpus=2 threads=2
epoch kind=moving step=1 online=0-1,3-7 isolated= switches=9
ran cpus=2-3 threads=2
epoch kind=quiet step=1 online=0-1,3-7 isolated= switches=9
ran cpus=3 threads=2,5
epoch kind=moving step=2 online=0-1,4-7 isolated= switches=9
ran cpus=0,3 threads=2
epoch kind=quiet step=2 online=0-1,4-7 isolated= switches=9
ran cpus=4 threads=2,5
epoch kind=moving step=3 online=0-2,4-7 isolated= switches=9
ran cpus=2,4 threads=2
epoch kind=quiet step=3 online=0-2,4-7 isolated= switches=9
ran cpus=2 threads=2,5
sampled events=99 switches=90 lost=0 cpus=0-7"""
START = "step number=0 name=start arg= status=0 online=0-7 isolated= present=0-7"


def told(*changes: tuple[str, str], start: str = START) -> Facts:
    """Returns the facts, with each text of a change in the place of another one."""
    text = f"{start}\n{LINES}"
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return parsed([with_masks(line) for line in text.splitlines()])


def parsed(lines: list[str]) -> Facts:
    """Returns the facts of these lines."""
    lines = ["begin version=1 kernel=7.3.4", *lines]
    output = "\n".join(f"@kc {line}" for line in lines)
    return facts_module.parse(f"{output}\n@kc end count={len(lines)}\n")


def with_masks(line: str, cpus: str = "2-3", init: str = "0-7") -> str:
    """Returns a line with what the kernel's files say when K is `cpus`, if it is a step."""
    if not (match := re.match(r"step .* online=(\S+) isolated=(\S*)", line)):
        return line
    everything = parse_cpus("0-7")
    online, isolated = map(parse_cpus, match.groups())
    inside = parse_cpus(cpus) - isolated
    used = inside if inside & online else everything - isolated
    mask = sum(1 << cpu for cpu in used)
    processes = "" if " init=" in line else f" init={init}"
    return f"{line} kcpus={cpus} wq={mask:02x} wqrequested=ff irqdefault=ff{processes}"


def test_right() -> None:
    """What is as the rules have it is no surprise."""
    assert surprises(SEQUENCE, told(), told()) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # I1 and I5.
        ("allowed list=2-3 pids=2\n", "allowed list=2-4 pids=2\n", "kthreadd may run on 2-4"),
        ("allowed list=2-3 pids=2\n", "", "kthreadd may run on 0-7, not 2-3"),
        ("allowed list=0-7 pids=2\n", "allowed list=0-1 pids=2\n", "on 0-1, not 0-7"),
        # A thread of a node gets to the node only within the level.
        ("allowed list=2-3 pids=5", "allowed list=2-4 pids=5", "kswapd1 may run on 2-4"),
        # I2, at boot, with a change in flight and after it.
        ("ran cpus=2-3 threads=2\nepoch kind=moving step=0", "ran cpus=1-3 threads=2\n"
         "epoch kind=moving step=0", "at boot, CPUs 0-7 online: ran on 1"),
        ("ran cpus=2-3 threads=2\nepoch kind=quiet", "ran cpus=0,3 threads=2\nepoch kind=quiet",
         "during step 1 (offline 2), CPUs 0-1,3-7 online: ran on 0, outside 2-3: kthreadd"),
        ("ran cpus=3 threads=2,5", "ran cpus=3 threads=2\n" "ran cpus=5 threads=5",
         "after step 1 (offline 2), CPUs 0-1,3-7 online: ran on 5, outside 2-3: kswapd1"),
        ("ran cpus=2 threads=2,5", "ran cpus=0 threads=0:made", "a short-lived thread (while"),
        # The trace itself.
        ("lost=0", "lost=3", "lacks 3 events"),
        ("sampled events=99 switches=90 lost=0 cpus=0-7", "gone pids=6", "there is no trace"),
        ("lost=0 cpus=0-7", "lost=0 cpus=0-6", "no event of CPUs 7"),
        ("epoch kind=moving step=2 online=0-1,4-7 isolated= switches=9\nran cpus=0,3 threads=2\n",
         "epoch kind=moving step=2 online=0-1,4-7 isolated= switches=0\n",
         "nothing of step 2 (offline 3)"),
        # Steps that fail.
        ("arg=3 status=0", "arg=3 status=16", "the result is 16, not 0"),
    ],
)  # fmt: skip
def test_wrong(old: str, new: str, message: str) -> None:
    """Each thing that is wrong is a surprise that names it."""
    found = surprises(SEQUENCE, told((old, new)), told())
    assert any(message in text for text in found), found


def test_nothing_seen() -> None:
    """A trace in which no managed kthread runs while things move proves nothing."""
    facts = told()
    for epoch in facts.epochs:
        epoch.ran.clear()
    found = surprises(SEQUENCE, facts, told())
    assert [text for text in found if "no managed kthread in any moving epoch" in text]


def test_bound_elsewhere() -> None:
    """I3: a bound kthread is where it is without the option."""
    facts = told(("allowed list=2 pids=6", "allowed list=2-3 pids=6"))
    found = surprises(SEQUENCE, facts, told())
    assert any("cpuhp/2 may run on 2-3, and on 2 without" in text for text in found), found


@pytest.mark.parametrize(
    ("mask", "steps", "wrong"),
    [
        # Its CPU has not been away yet.
        ("0-7", 0, True),
        # It has.
        ("0-7", 1, False),
        ("2-7", 1, True),
        ("2-3", 1, True),
        ("3", 1, True),
    ],
)
def test_bound_and_let_go(mask: str, steps: int, wrong: bool) -> None:
    """A bound kthread whose CPU goes may lose it to the scheduler, and then runs anywhere."""
    # The threads are told after step 0.
    line = f"step number={steps} " if steps else "allowed list=2 pids=6"
    after = next(text for text in LINES.splitlines() if text.startswith(line))
    lost = told((after, f"{after}\nallowed list={mask} pids=6"))
    for found in (surprises(SEQUENCE, lost, told()), surprises(SEQUENCE, told(), lost)):
        assert bool([text for text in found if "cpuhp/2 may run" in text]) == wrong, found


def placed(asked: str, status: int, allowed: str) -> Facts:
    """Returns facts in which the first step places kthreadd by hand."""
    return told(
        (
            "step number=1 name=offline arg=2 status=0 online=0-1,3-7 isolated= present=0-7\n",
            f"step number=1 name=affinity arg=kthreadd:{asked} status={status} online=0-7 "
            f"isolated= present=0-7\nallowed list={allowed} pids=2\n",
        ),
        (
            "step number=2 name=offline arg=3 status=0 online=0-1,4-7",
            "step number=2 name=offline arg=2 status=0 online=0-1,3-7",
        ),
        ("allowed list=0-7 pids=2\nallowed list=0-7 pids=5\n", "allowed list=2-3 pids=2\n"),
        (
            "step number=3 name=online arg=2 status=0 online=0-2,4-7 isolated= present=0-7\n"
            "allowed list=2-3 pids=2\nallowed list=2-3 pids=5\n",
            f"step number=3 name=online arg=2 status=0 online=0-7 isolated= present=0-7\n"
            f"allowed list={allowed} pids=2\n",
        ),
    )


def masks(sequence: Sequence, facts: Facts, reference: Facts | None = None) -> list[str]:
    """Returns the surprises about masks and results, for facts that tell no true trace."""
    found = surprises(sequence, facts, reference or facts)
    return [text for text in found if "may run on" in text or "the result is" in text]


def test_placed_by_hand() -> None:
    """I4: it is kept as far as it overlaps, gone with its CPUs and back with them."""
    assert masks(SEQUENCE, placed("2", 0, "2")) == []
    assert masks(SEQUENCE, placed("1-2", 0, "2")) == []
    assert masks(SEQUENCE, placed("2", 0, "2-3"))
    assert masks(SEQUENCE, placed("1-2", 0, "1-2"))


def test_placed_outside() -> None:
    """I4: what is wholly outside is refused and changes nothing."""
    assert masks(SEQUENCE, placed("0-1", 22, "2-3")) == []
    assert any("the result is 0" in text for text in masks(SEQUENCE, placed("0-1", 0, "2-3")))
    assert any("the result is 22" in text for text in masks(SEQUENCE, placed("2", 22, "2-3")))


def test_not_confined() -> None:
    """Without the option, offline CPUs in a mask do not matter, and the rest does."""
    facts = told(
        ("allowed list=2-3 pids=2,5", "allowed list=0-7 pids=2\nallowed list=4-7 pids=5"),
        ("allowed list=0-7 pids=2\nallowed list=0-7 pids=5", "allowed list=0-1,4-7 pids=2"),
        ("allowed list=2-3 pids=2\nallowed list=2-3 pids=5", "allowed list=0-7 pids=2"),
    )
    assert masks(ABSENT, facts) == []
    without = deepcopy(facts)
    facts.steps[-1].threads[2] = replace(facts.steps[-1].threads[2], allowed=frozenset({0}))
    assert masks(ABSENT, facts, without)
    # It is as without the series.
    assert masks(ABSENT, facts) == []


def test_placed_where_nothing_confines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the option a thread may be placed outside of its node, for a while."""
    monkeypatch.setattr(moves, "BEFORE_7_0", False)
    facts = told(
        ("allowed list=2-3 pids=2,5", "allowed list=0-7 pids=2\nallowed list=4-7 pids=5"),
        (
            "step number=1 name=offline arg=2 status=0 online=0-1,3-7 isolated= present=0-7\n",
            "step number=1 name=affinity arg=kswapd1:1 status=0 online=0-7 isolated= "
            "present=0-7\nallowed list=1 pids=5\n",
        ),
        (
            "step number=2 name=offline arg=3 status=0 online=0-1,4-7 isolated= present=0-7\n"
            "allowed list=0-7 pids=2\nallowed list=0-7 pids=5\n",
            "step number=2 name=write arg=@a:isolated status=0 online=0-7 isolated=2 "
            "present=0-7 init=0-1,3-7\nallowed list=0-1,3-7 pids=2\nallowed list=4-7 pids=5\n",
        ),
        ("allowed list=2-3 pids=2\nallowed list=2-3 pids=5", "allowed list=0-7 pids=2"),
    )
    assert masks(ABSENT, facts) == []
    without = deepcopy(facts)
    facts.steps[2].threads[5] = facts.steps[1].threads[5]
    assert any("kswapd1 may run on 1, not 4-7" in text for text in masks(ABSENT, facts, without))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # What a partition has taken, and what a thread without a preference gets back.
        ("allowed list=0-5 pids=5", "allowed list=4-7 pids=5", "kswapd1 may run on 4-7, not 0-5"),
        ("allowed list=0-5 pids=2\nallowed list=4-7", "allowed list=0-7 pids=2\nallowed list=4-7",
         "kthreadd may run on 0-7, not 0-5"),
        # It is back on its node when a CPU has come, but not before.
        ("allowed list=4-7 pids=5\nepoch", "allowed list=0-7 pids=5\nepoch",
         "kswapd1 may run on 0-7, not 4-7"),
        ("ran cpus=4 threads=2,5", "ran cpus=6 threads=5", "ran on 6, outside 0-5: kswapd1"),
        ("ran cpus=6 threads=5", "ran cpus=6 threads=2", "ran on 6, outside 0-5: kthreadd"),
    ],
)  # fmt: skip
def test_partition_before_7_0(
    old: str, new: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the option, a partition counts until a CPU comes, for who has a preference."""
    changes = (
        ("allowed list=2-3 pids=2,5", "allowed list=0-7 pids=2\nallowed list=4-7 pids=5"),
        (
            "step number=2 name=offline arg=3 status=0 online=0-1,4-7 isolated= present=0-7\n"
            "allowed list=0-7 pids=2\nallowed list=0-7 pids=5\n",
            "step number=2 name=write arg=@a:isolated status=0 online=0-1,3-7 isolated=6-7 "
            "present=0-7\nallowed list=0-5 pids=2\nallowed list=0-5 pids=5\n",
        ),
        ("online=0-2,4-7 isolated= present=0-7", "online=0-7 isolated=6-7 present=0-7"),
        (
            "allowed list=2-3 pids=2\nallowed list=2-3 pids=5",
            "allowed list=0-5 pids=2\nallowed list=4-7 pids=5",
        ),
        *(
            (f"epoch kind={kind} step={at} online=0-{end},4-7 isolated=",
             f"epoch kind={kind} step={at} online=0-7 isolated=6-7")
            for kind in ("moving", "quiet")
            for at, end in ((2, 1), (3, 2))
        ),
        ("ran cpus=2 threads=2,5\nsampled", "ran cpus=6 threads=5\nsampled"),
    )  # fmt: skip
    other = told(*changes)
    for step in other.steps:
        step.threads.clear()

    def found(facts: Facts) -> list[str]:
        rules = Rules(ABSENT, facts.steps[0])
        rules.follow(facts)
        return [*allowed_masks(rules, facts, other), *runs_outside(rules, facts)]

    monkeypatch.setattr(moves, "BEFORE_7_0", True)
    assert found(told(*changes)) == []
    assert any(message in text for text in found(told(*changes, (old, new))))
    # That is not so from then on.
    monkeypatch.setattr(moves, "BEFORE_7_0", False)
    assert any("kswapd1 may run on 4-7, not" in text for text in found(told(*changes)))


def test_isolated() -> None:
    """A partition takes its CPUs out of K."""
    facts = told(
        (
            "step number=3 name=online arg=2 status=0 online=0-2,4-7 isolated= present=0-7",
            "step number=3 name=write arg=@a:isolated status=0 online=0-2,4-7 isolated=2-3 "
            "present=0-7 init=0-1,4-7",
        ),
        ("allowed list=2-3 pids=2\n", "allowed list=0-1,4-7 pids=2\n"),
        ("allowed list=2-3 pids=5", "allowed list=0-1,4-7 pids=5"),
    )
    assert masks(SEQUENCE, facts) == []
    assert masks(SEQUENCE, told()) == []


# A thread and a process are in a cpuset, a partition comes, and both go back.
IN_CPUSET = [
    f"kthread pid=2 name=kthreadd flags={MANAGED}",
    "allowed list=2-3 pids=2",
    "step number=1 name=write arg=@k/cpuset.cpus:3-5 status=0 online=0-7 isolated= present=0-7",
    "step number=2 name=cpuset arg=kthreadd:k status=0 online=0-7 isolated= present=0-7",
    "allowed list=3 pids=2",
    "step number=3 name=affinity arg=kthreadd:2 status=22 online=0-7 isolated= present=0-7",
    "step number=4 name=affinity arg=kthreadd:0-7 status=0 online=0-7 isolated= present=0-7",
    "step number=5 name=child arg= status=0 online=0-7 isolated= present=0-7 child=2-3",
    "step number=6 name=affinity arg=child:4-6 status=0 online=0-7 isolated= present=0-7 child=4-6",
    "step number=7 name=cpuset arg=child:k status=0 online=0-7 isolated= present=0-7 child=4-5",
    "step number=8 name=write arg=@a:isolated status=0 online=0-7 isolated=3,6 present=0-7 "
    "init=2 child=4-5",
    "allowed list=2 pids=2",
    "step number=9 name=cpuset arg=kthreadd:@ status=0 online=0-7 isolated=3,6 present=0-7 "
    "init=2 child=4-5",
    "step number=10 name=cpuset arg=child:@ status=0 online=0-7 isolated=3,6 present=0-7 "
    "init=2 child=4-5",
]


def in_cpuset(*changes: tuple[str, str]) -> list[str]:
    """Returns the surprises, with each text in the place of another one."""
    text = "\n".join([START, *IN_CPUSET])
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    sequence = replace(WRITTEN, flags=(*SEQUENCE.flags, "init"))
    return masks(sequence, parsed([with_masks(line, init="2-3") for line in text.splitlines()]))


def test_in_cpuset() -> None:
    """A cpuset narrows a thread down, and in one with CPUs of its own the flag init has no say."""
    assert in_cpuset() == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("allowed list=3 pids=2", "allowed list=2-3 pids=2", "kthreadd may run on 2-3, not 3"),
        ("status=22", "status=0", "the result is 0, not 22"),
        ("child=2-3", "child=0-7", "child may run on 0-7, not 2-3"),
        ("status=0 online=0-7 isolated= present=0-7 child=4-6",
         "status=0 online=0-7 isolated= present=0-7 child=2-3", "child may run on 2-3, not 4-6"),
        ("arg=child:k status=0 online=0-7 isolated= present=0-7 child=4-5",
         "arg=child:k status=0 online=0-7 isolated= present=0-7 child=3-5", "on 3-5, not 4-5"),
        ("arg=@a:isolated status=0 online=0-7 isolated=3,6 present=0-7 init=2",
         "arg=@a:isolated status=0 online=0-7 isolated=3,6 present=0-7 init=0-2",
         "init may run on 0-2, not 2"),
        ("allowed list=2 pids=2", "allowed list=2-3 pids=2", "kthreadd may run on 2-3, not 2"),
    ],
)  # fmt: skip
def test_in_cpuset_wrong(old: str, new: str, message: str) -> None:
    """Each thing that is wrong is a surprise that names it."""
    found = in_cpuset((old, new))
    assert any(message in text for text in found), found


# All of K goes, one CPU of it comes back, and user space places an interrupt.
LEVELS = [
    "step number=0 name=start arg= status=0 online=0-7 isolated=7 present=0-7 "
    "init=2-3 irqdefault=0c irq0=ff irq4=08",
    "step number=1 name=offline arg=3 status=0 online=0-2,4-7 isolated=7 present=0-7 "
    "init=2-3 irqdefault=0c irq0=ff irq4=04",
    "step number=2 name=offline arg=2 status=0 online=0-1,4-7 isolated=7 present=0-7 "
    "init=0-6 irqdefault=7f irq0=ff irq4=73",
    "step number=3 name=online arg=3 status=0 online=0-1,3-7 isolated=7 present=0-7 "
    "init=2-3 irqdefault=0c irq0=ff irq4=0c",
    "step number=4 name=write arg=/proc/irq/4/smp_affinity:30 status=0 online=0-1,3-7 "
    "isolated=7 present=0-7 init=2-3 irqdefault=0c irq0=ff irq4=30",
]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("init=0-6", "init=0-7", "init may run on 0-7, not 0-6"),
        ("init=2-3 irqdefault=0c irq0=ff irq4=0c", "init=0-6 irqdefault=0c irq0=ff irq4=0c",
         "init may run on 0-6, not 2-3"),
        ("irqdefault=7f", "irqdefault=ff", "the default is on 0-7, not 0-6"),
        ("irq4=73", "irq4=80", "interrupt 4 is on 7, not 0-6"),
        ("irq4=0c", "irq4=73", "interrupt 4 is on 0-1,4-6, not 2-3"),
        ("irq4=04", "irq4=24", "interrupt 4 is on 2,5, not 2-3"),
    ],
)  # fmt: skip
def test_levels(old: str, new: str, message: str) -> None:
    """PID 1 and interrupts follow the CPUs that are online, or it is said which do not."""
    sequence = replace(SEQUENCE, words="isolcpus=7 kthread_cpus=2-3", flags=("init", "irq"))

    def found(text: str) -> list[str]:
        facts = parsed(text.splitlines())
        rules = Rules(sequence, facts.steps[0])
        rules.follow(facts)
        return [*processes(rules, facts), *interrupts(rules, facts)]

    text = "\n".join(LEVELS)
    assert text.count(old) == 1
    assert found(text) == []
    assert [message in line for line in found(text.replace(old, new))] == [True]


@pytest.mark.parametrize(
    ("fact", "arg", "clean"),
    [
        ("number=4 names=ttyS0 fixed=0", "/proc/irq/5/smp_affinity:30", False),
        # Where only the kernel places it, and where a step has placed it by its name.
        ("number=4 names=nvme0q3 fixed=1", "/proc/irq/5/smp_affinity:30", True),
        ("number=4 names=acpi,ttyS0 fixed=0", "/proc/irq/{ttyS0}/smp_affinity:30", True),
        ("number=4 names=ttyS01 fixed=0", "/proc/irq/{ttyS0}/smp_affinity:30", False),
    ],
)
def test_interrupts_with_names(fact: str, arg: str, clean: bool) -> None:
    """Nobody asks of an interrupt what the kernel or user space has decided."""
    sequence = replace(SEQUENCE, words="kthread_cpus=2-3", flags=("irq",))
    step = "status=0 online=0-7 isolated= present=0-7 irqdefault=0c"
    facts = parsed(
        [
            f"interrupt {fact}",
            f"step number=0 name=start arg= {step} irq4={'ff' if 'fixed=1' in fact else '0c'}",
            f"step number=1 name=write arg={arg} {step} irq4=30",
        ]
    )
    rules = Rules(sequence, facts.steps[0])
    rules.follow(facts)
    assert (list(interrupts(rules, facts)) == []) == clean


def test_steps_were_not_made() -> None:
    """A guest that could not make the steps says why, and passes nothing."""
    facts = told()
    facts.failures.append("no trace")
    assert surprises(SEQUENCE, facts, told()) == ["the steps were not made: ['no trace']"]
    assert surprises(SEQUENCE, Facts(), told()) == ["the steps were not made: []"]


def test_updated_preference() -> None:
    """A preference that is changed on the way counts from then on."""
    sequence = replace(SEQUENCE, preferences=(("kcload-pref/", "3"),))
    facts = told(
        ("name=kswapd1", "name=kcload-pref/7"),
        ("allowed list=2-3 pids=2,5", "allowed list=2-3 pids=2\nallowed list=3 pids=5"),
        (
            "step number=3 name=online arg=2 status=0",
            "step number=3 name=write arg=/proc/kcload:update~2 status=0",
        ),
        ("allowed list=2-3 pids=5", "allowed list=2 pids=5"),
    )
    assert masks(sequence, facts) == []
    facts.steps[-1].status = 95
    assert any("kcload-pref/7 may run on 2" in text for text in masks(sequence, facts))


def test_storm() -> None:
    """A storm that leaves a thread behind is a surprise."""
    facts = told()
    facts.outputs["join"] = ["created=5 wrong=0 left=1"]
    assert any("went wrong" in text for text in surprises(SEQUENCE, facts, told()))
    facts.outputs["join"] = ["created=5 wrong=0 left=0"]
    assert surprises(SEQUENCE, facts, told()) == []


# K is written, and refused, and a CPU of the new one goes; helpers and work are asked for.
WRITTEN = replace(SEQUENCE, steps=("kcpus=4-5",), trace=False)
CHANGES = [
    f"kthread pid=2 name=kthreadd flags={MANAGED}",
    f"kthread pid=7 name=kworker/u32:1 flags={BOUND}",
    f"kthread pid=8 name=kworker/R-writeback flags={BOUND}",
    "allowed list=2-3 pids=2,7,8",
    "step number=1 name=kcpus arg=4-5 status=0 online=0-7 isolated= present=0-7 K=4-5",
    "allowed list=4-5 pids=2,7,8",
    "step number=2 name=kcpus arg=0-x status=22 online=0-7 isolated= present=0-7 K=4-5",
    "step number=3 name=offline arg=4 status=0 online=0-3,5-7 isolated= present=0-7 K=4-5",
    "step number=4 name=kcpus arg=4 status=22 online=0-3,5-7 isolated= present=0-7 K=4-5",
    "step number=5 name=helper arg=core status=0 online=0-7 isolated= present=0-7 K=4-5",
    "result text=core=4-5",
    "step number=6 name=work arg=use status=0 online=0-7 isolated= present=0-7 K=4-5",
    "result text=ran=4%20rescued=%20count=9%20lost=0%20wrong=0",
]


def written(*changes: tuple[str, str]) -> Facts:
    """Returns the facts of the changes of K, with each text in the place of another one."""
    lines = [with_masks(START)]
    for line in CHANGES:
        before, _, cpus = line.partition(" K=")
        lines.append(with_masks(before, cpus) if cpus else line)
    text = "\n".join(lines)
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return parsed(text.splitlines())


def test_written() -> None:
    """All follows K, but for a rescuer that helps a pool of workers."""
    assert surprises(WRITTEN, written(), written()) == []
    rescuing = written(
        ("list=4-5 pids=2,7,8", "list=4-5 pids=2,7"),
        ("name=kworker/R-writeback", "name=kworker/R-writeback+writeback"),
    )
    assert surprises(WRITTEN, rescuing, written()) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("list=4-5 pids=2,7,8", "list=4-5 pids=7,8", "kthreadd may run on 2-3, not 4-5"),
        ("list=4-5 pids=2,7,8", "list=4-5 pids=2,8", "kworker/u32:1 may run on 2-3, not"),
        ("list=4-5 pids=2,7,8", "list=4-5 pids=2,7", "kworker/R-writeback may run on 2-3"),
        ("arg=0-x status=22", "arg=0-x status=34", "the result is 34, not 22"),
        ("arg=4 status=22", "arg=4 status=0", "the result is 0, not 22"),
        ("arg=4-5 status=0", "arg=4-5 status=22", "the result is 22, not 0"),
        ("online=0-3,5-7 isolated= present=0-7 kcpus=4-5 wq=30 wqrequested=ff irqdefault=ff "
         "init=0-7\nstep number=5", "online=0-3,5-7 isolated= present=0-7 kcpus=4 wq=30 "
         "wqrequested=ff irqdefault=ff init=0-7\nstep number=5",
         "after step 4 (kcpus 4): the file kthread_cpus says 4, not 4-5"),
        ("wq=30 wqrequested=ff irqdefault=ff init=0-7\nallowed", "wq=ff wqrequested=ff "
         "irqdefault=ff init=0-7\nallowed", "unbound workqueues use 0-7, not 4-5"),
        ("wq=30 wqrequested=ff irqdefault=ff init=0-7\nallowed", "wq=30 wqrequested=30 "
         "irqdefault=ff init=0-7\nallowed", "4-5 is requested of the workqueues, not 0-7"),
        ("irqdefault=ff init=0-7\nallowed", "irqdefault=30 init=0-7\nallowed",
         "moves an interrupt from 0-7 to 4-5"),
        ("irqdefault=ff init=0-7\nallowed", "irqdefault=ff init=4-5\nallowed",
         "moves PID 1 from 0-7 to 4-5"),
        ("core=4-5", "core=0-7", "the core helper may run on 0-7, not 4-5"),
        ("core=4-5", "modprobe=4-5", "no helper ran for core"),
        ("ran=4%20", "ran=3-4%20", "the work ran on 3-4, outside 4-5"),
        ("ran=4%20", "ran=%20", "no work ran"),
        ("lost=0", "lost=1", "lost=1"),
    ],
)  # fmt: skip
def test_written_wrong(old: str, new: str, message: str) -> None:
    """Each thing that does not follow K, or should not have, is a surprise that names it."""
    found = surprises(WRITTEN, written((old, new)), written())
    assert any(message in text for text in found), found


def test_written_without_the_option() -> None:
    """The first write confines what can be at run time, and an option that names else nothing."""
    absent = replace(WRITTEN, words="", cpus=None)
    facts = written(
        ("present=0-7 kcpus=2-3 wq=0c", "present=0-7 kcpus=0-7 wq=ff"),
        ("list=2-3 pids=2,7,8", "list=0-7 pids=2,7,8"),
    )
    assert surprises(absent, facts, facts) == []
    assert any("may run on" in text for text in surprises(absent, written(), facts))

    others = replace(WRITTEN, flags=("init", "irq"))
    found = surprises(others, facts, facts)
    assert any("the result is 0, not 95" in text for text in found), found


def test_written_runs() -> None:
    """Work of unbound workqueues ran inside the old K or the new one while that was written."""
    epochs = [
        "epoch kind=quiet step=0 online=0-7 isolated= switches=9",
        "ran cpus=2 threads=2,7:worker",
        "epoch kind=moving step=1 online=0-7 isolated= switches=9",
        "ran cpus=2,4 threads=2,7:worker,8:rescuer",
        "epoch kind=quiet step=1 online=0-7 isolated= switches=9",
        "ran cpus=4-5 threads=2,7:worker",
    ]
    facts = written()

    def outside(old: str, new: str) -> list[str]:
        text = "\n".join(epochs)
        assert old in text
        told = parsed([with_masks(START), *text.replace(old, new).splitlines()])
        facts.epochs = told.epochs
        found = surprises(WRITTEN, facts, facts)
        assert all("ran on" in line for line in found), found
        return found

    assert outside("9", "9") == []
    assert outside("cpus=4-5 threads=2", "cpus=3-5 threads=2")
    assert outside("cpus=4-5 threads=2,7:worker", "cpus=3-5 threads=7:worker")
    assert outside("cpus=2,4 threads=2", "cpus=1-2 threads=2")
    assert outside("cpus=2,4 threads=2,7:worker,8:rescuer", "cpus=1 threads=8:rescuer")


def test_torture() -> None:
    """What random changes have counted must be right, and K is then what the file says."""
    lines = [
        "step number=7 name=torture arg=100:1 status=0 online=0-7 isolated= present=0-7 K=1",
        "result text=changes=100%20refused=20%20wrong=0",
        "allowed list=1 pids=2,7,8",
    ]

    def after(result: str) -> list[str]:
        facts = written()
        end = parsed(
            [
                with_masks(START),
                *CHANGES[:4],
                with_masks(lines[0].split(" K=")[0], "1"),
                result,
                lines[2],
            ]
        )
        facts.steps.append(end.steps[-1])
        facts.names |= end.names
        return surprises(WRITTEN, facts, facts)

    assert after(lines[1]) == []
    assert any("wrong=2" in text for text in after(lines[1].replace("wrong=0", "wrong=2")))
    assert any("changes" in text for text in after(lines[1].replace("=100", "=99")))
    assert any("most of" in text for text in after(lines[1].replace("sed=20", "sed=70")))
