# SPDX-License-Identifier: GPL-2.0
"""The judgement on made-up sequences: what is right passes, each thing wrong is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

import facts as facts_module
from facts import PF_KTHREAD, PF_NO_SETAFFINITY, Facts
from moves import surprises
from sequences import Sequence

SEQUENCE = Sequence("made-up", "kthread_cpus=2-3", "2-3", ("offline=2-3", "online=2"))
ABSENT = replace(SEQUENCE, words="", cpus=None)
MANAGED, BOUND = PF_KTHREAD, PF_KTHREAD | PF_NO_SETAFFINITY

# As guest/steps.c tells it: K goes and half of it comes back.
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
    lines = ["begin version=1 kernel=7.3.4", *text.splitlines()]
    output = "\n".join(f"@kc {line}" for line in lines)
    return facts_module.parse(f"{output}\n@kc end count={len(lines)}\n")


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


def masks(sequence: Sequence, facts: Facts) -> list[str]:
    """Returns the surprises about masks and results, for facts that tell no true trace."""
    found = surprises(sequence, facts, facts)
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
    facts.steps[-1].threads[2] = replace(facts.steps[-1].threads[2], allowed=frozenset({0}))
    assert masks(ABSENT, facts)


def test_placed_where_nothing_confines() -> None:
    """Without the option a thread may be placed outside of its node, for a while."""
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
            "present=0-7\nallowed list=0-1,3-7 pids=2\nallowed list=4-7 pids=5\n",
        ),
        ("allowed list=2-3 pids=2\nallowed list=2-3 pids=5", "allowed list=0-7 pids=2"),
    )
    assert masks(ABSENT, facts) == []
    facts.steps[2].threads[5] = facts.steps[1].threads[5]
    assert any("kswapd1 may run on 1, not 4-7" in text for text in masks(ABSENT, facts))


def test_isolated() -> None:
    """A partition takes its CPUs out of K."""
    facts = told(
        (
            "step number=3 name=online arg=2 status=0 online=0-2,4-7 isolated=",
            "step number=3 name=write arg=@a:isolated status=0 online=0-2,4-7 isolated=2-3",
        ),
        ("allowed list=2-3 pids=2\n", "allowed list=0-1,4-7 pids=2\n"),
        ("allowed list=2-3 pids=5", "allowed list=0-1,4-7 pids=5"),
    )
    assert masks(SEQUENCE, facts) == []
    assert masks(SEQUENCE, told()) == []


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
