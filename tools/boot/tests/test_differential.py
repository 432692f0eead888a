# SPDX-License-Identifier: GPL-2.0
"""Ours without the option against the unpatched kernel, and whether a difference is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import differential
import vm
from differential import (
    CAME_BACK,
    COMMAND_LINES,
    NODE,
    RESCUED,
    Generator,
    Result,
    compare,
    read,
    tickless_in,
)
from facts import CpuSet, FactsError

if TYPE_CHECKING:
    from conftest import Boots

# Some of everything, and short enough to be a part of all tests.
STEPS = 150
SEED = 7


@pytest.mark.parametrize("words", COMMAND_LINES, ids=["plain", "isolcpus"])
def test_as_unpatched(words: str, boots: Boots, guests: None) -> None:
    """Every step leads to the same on both kernels, and to enough to be looked at."""
    base = differential.unpatched()
    ours = differential.Kernel("on", boots.image("on"), boots.modules / "initramfs-on.cpio")
    try:
        found = differential.run(base, ours, words, SEED, STEPS, accel=boots.accel, pool=boots.pool)
    except (vm.BootError, FactsError) as error:
        pytest.fail(str(error), pytrace=False)
    if found.failures:
        lines = "\n".join(differential.report(found))
        pytest.fail(f"{len(found.failures)} differences:\n{lines}", pytrace=False)
    assert found.threads > 60


# What once differed, as long runs have found it.
KNOWN = (
    # What the scheduler has given up does not count for what a cpuset asks.
    "mkdir a",
    "write a/cpuset.cpus 0-3",
    "affinity oom_reaper 2",
    "offline 2",
    "attach oom_reaper a",
    "attach oom_reaper @",
    "online 2",
    # Nor does it have a say in where a thread is, as long as that has a cpuset of its own.
    "affinity khungtaskd 6",
    "attach khungtaskd a",
    "offline 6",
    "mkdir b",
    "write b/cpuset.cpus 4-5",
    "write b/cpuset.cpus.partition isolated",
    "online 6",
    "write b/cpuset.cpus.partition member",
    "attach khungtaskd @",
    # Of what user space has given, a cpuset has kept something back.
    "add pref:0-3 1",
    "attach kcload-pref/0 a",
    "write a/cpuset.cpus 0",
    "affinity kcload-pref/0 0-3",
    "offline 7",
    "online 7",
    # A node counts by its CPUs that are online.
    "affinity kswapd1 0-5",
    "offline 4",
    "offline 5",
    "offline 7",
    "online 7",
    "affinity kcompactd1 3-5",
    "write b/cpuset.cpus 0-2",
    "write b/cpuset.cpus.partition isolated",
    "offline 6",
    "offline 7",
    "online 4",
)


# RCU's threads have put themselves on CPUs 0-3.
NOHZ_FULL = (
    "affinity rcu_preempt 2",
    "offline 7",
    "online 7",
    "affinity rcu_preempt 5",
    "offline 5",
    "online 5",
    "mkdir a",
    "write a/cpuset.cpus 2",
    "write a/cpuset.cpus.partition isolated",
    "affinity rcu_preempt 1,6",
    "write a/cpuset.cpus 1",
    "write a/cpuset.cpus.partition member",
    "offline 6",
    "offline 1",
    "online 6",
    "online 1",
)


@pytest.mark.parametrize(
    ("words", "steps"), [("", KNOWN), ("nohz_full=4-7", NOHZ_FULL)], ids=["plain", "nohz_full"]
)
def test_known_steps(words: str, steps: tuple[str, ...], boots: Boots, guests: None) -> None:
    """Steps that once led to something else do not any more."""
    base = differential.unpatched()
    ours = differential.Kernel("on", boots.image("on"), boots.modules / "initramfs-on.cpio")
    found = differential.run(
        base, ours, words, 0, 0, accel=boots.accel, pool=boots.pool, steps=steps
    )
    if found.failures:
        pytest.fail("\n".join(differential.report(found)), pytrace=False)


# What is made up -------------------------------------------------------------------


def test_generator() -> None:
    """A seed always gives the same steps, of all kinds, and another one gives others."""
    steps = Generator(1).make(2000)
    assert steps == Generator(1).make(2000)
    assert steps[:100] == Generator(1).make(100)
    assert steps != Generator(2).make(2000)
    assert {step.split()[0] for step in steps} == {
        "affinity", "offline", "online", "mkdir", "rmdir", "write", "attach", "add", "del"
    }  # fmt: skip
    kinds = {step.split()[1].partition(":")[0] for step in steps if step.startswith("add ")}
    assert kinds == {"unbound", "node", "pref", "prefs", "bound"}
    for words in ("partition isolated", "partition root", "affinity kthreadd", "r/x/cpuset"):
        assert any(words in step for step in steps), words
    # The guest takes no longer words.
    assert max(len(step) for step in steps) < 128


# What is told -----------------------------------------------------------------------

STORY = """\
thread kswapd1 managed
thread ksoftirqd/1 bound
step 0 0 0-7 -
mask kswapd1 4-7
mask ksoftirqd/1 1
mask init 0-7
"""
ADD = """\
step 1 0 0-7 -
thread kcload-pref/0 managed
mask kcload-pref/0 4
"""


def story(*parts: str) -> list[differential.Look]:
    """Reads the parts of what a guest tells."""
    text = STORY + "".join(parts)
    count = sum(line.startswith("step ") for line in text.splitlines())
    return read([*text.splitlines(), f"end {count}"])


def test_read() -> None:
    """Masks stay as they were told last, and those before a resync are not those after it."""
    looks = story(
        ADD,
        "gone ksoftirqd/1\nstep 2 22 0-6 7\nfallen kcload-pref/0 4\nmask kcload-pref/0 -\n"
        "group a 2-3 root invalid (why)\nresync kcload-pref/0 4-5 0\nmask kcload-pref/0 4-5\n",
    )
    assert [look.number for look in looks] == [0, 1, 2]
    assert looks[0].masks["kswapd1"] == {4, 5, 6, 7} == looks[2].mended["kswapd1"]
    assert looks[0].bound == {"kswapd1": False, "ksoftirqd/1": True}
    assert looks[1].masks["kcload-pref/0"] == {4}
    last = looks[2]
    assert (last.status, last.isolated) == (22, {7})
    assert last.masks["kcload-pref/0"] == frozenset()
    assert last.mended["kcload-pref/0"] == {4, 5}
    assert last.resynced == {"kcload-pref/0": (frozenset({4, 5}), 0)}
    assert last.fallen == {"kcload-pref/0": frozenset({4})}
    assert "ksoftirqd/1" not in last.masks
    assert last.groups == {"a": "2-3 root invalid (why)"}


@pytest.mark.parametrize("text", ["", "nonsense\n", "step 0 0 0-7 -\nend 3\n"])
def test_read_broken(text: str) -> None:
    """What is not whole is not taken for the whole."""
    with pytest.raises(FactsError):
        read(text.splitlines())


# What is compared --------------------------------------------------------------------


def told(
    steps: list[str],
    base: str,
    ours: str,
    *,
    strict: bool = False,
    before_7_0: bool = False,
    tickless: CpuSet = frozenset(),
) -> Result:
    """Compares two stories that begin in the same way."""
    looks = story(base), story(ours)
    return compare(steps, *looks, strict=strict, before_7_0=before_7_0, tickless=tickless)


def test_equal() -> None:
    """What is the same is no difference."""
    found = told(["add pref:4 1"], ADD, ADD)
    assert (found.failures, sum(found.explained.values()), found.threads) == ([], 0, 4)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("mask kcload-pref/0 4", "mask kcload-pref/0 4-5"), "kcload-pref/0 is 4-5, on the unp"),
        (("step 1 0", "step 1 22"), "the result is EINVAL, on the unpatched kernel success"),
        (("0-7 -", "0-6 -"), "online is 0-6"),
        (("0-7 -", "0-7 6"), "isolated is 6"),
        (("managed", "bound"), "kcload-pref/0 (kind) is bound, on the unpatched kernel managed"),
        (("kcload-pref/0", "kcload-pref/1"), "kcload-pref/0 (kind) is not there, on the"),
        (("mask kcload-pref/0 4\n", "mask kcload-pref/0 4\ngroup a 4 root\n"), "cpuset a is 4 r"),
        (("mask kcload-pref/0 4\n", "mask kcload-pref/0 4\nmask init 1\n"), "init is 1, on the u"),
        (("thread kcload", "mask ksoftirqd/1 0-7\nthread kcload"), "ksoftirqd/1 is 0-7"),
        # It is not what nobody has asked for that comes back.
        (("mask kcload-pref/0 4", "mask kcload-pref/0 0-7"), "kcload-pref/0 is 0-7"),
    ],
)
def test_planted(change: tuple[str, str], expected: str) -> None:
    """A difference is a failure that says where it is."""
    found = told(["add pref:4 1"], ADD, ADD.replace(*change))
    assert expected in found.failures[0]
    assert all(text.startswith("step 1 (add pref:4 1): ") for text in found.failures)


def test_steps_missing() -> None:
    """A guest that has not made all steps is a failure."""
    assert "not 1 and 0" in told(["add pref:4 1"], ADD, "").failures[0]


def test_told_once() -> None:
    """A difference that goes on is one failure; if it changes it is another one."""
    steps = ["add pref:4 1", "mkdir a", "mkdir b", "mkdir k"]
    more = "step 2 0 0-7 -\nstep 3 0 0-7 -\n{}step 4 0 0-7 -\n"
    wrong = ADD.replace("0 4\n", "0 5\n")
    assert len(told(steps, ADD + more.format(""), wrong + more.format("")).failures) == 1
    changed = more.format("mask kcload-pref/0 6\n")
    assert len(told(steps, ADD + more.format(""), wrong + changed).failures) == 2


GIVEN = """\
step 2 0 0-7 -
mask kcload-pref/0 5
step 3 0 0-4,6-7 -
fallen kcload-pref/0 5
mask kcload-pref/0 {fallen}
step 4 0 0-7 -
{back}resync kcload-pref/0 5 0
mask kcload-pref/0 {mended}
"""
STEPS_GIVEN = ["add pref:4 1", "affinity kcload-pref/0 5", "offline 5", "online 5"]


def given(fallen: str = "0-7", back: str = "", mended: str = "5") -> str:
    """What comes of a thread that user space has given CPU 5, which goes and comes."""
    back = f"mask kcload-pref/0 {back}\n" if back else ""
    return ADD + GIVEN.format(fallen=fallen, back=back, mended=mended)


@pytest.mark.parametrize("ours", [given("4", "5"), given("0-7", "5")])
def test_came_back(ours: str) -> None:
    """A thread may be where it belongs, when the other one is where the scheduler sent it."""
    found = told(STEPS_GIVEN, given(), ours)
    assert found.failures == []
    assert found.explained[CAME_BACK] > 0
    # No such thing for two boots of the same kernel.
    assert told(STEPS_GIVEN, given(), ours, strict=True).failures


@pytest.mark.parametrize(
    ("base", "ours", "expected"),
    [
        # Neither what it prefers, nor housekeeping, nor what it was given.
        (given(), given("3"), "step 3 (offline 5): kcload-pref/0 is 3"),
        (given(), given("0-7", "6"), "step 4 (online 5): kcload-pref/0 is 6"),
        # Nor is it the scheduler that sends it to two CPUs.
        (given("2-3"), given("4"), "kcload-pref/0 is 4, on the unpatched kernel 2-3"),
        (given(), given(mended="4"), "kcload-pref/0 after the resync is 4, on the unp"),
    ],
)
def test_not_back(base: str, ours: str, expected: str) -> None:
    """A thread that has lost its CPUs may not be just anywhere."""
    assert expected in "\n".join(told(STEPS_GIVEN, base, ours).failures)


TICKLESS = frozenset({4, 5, 6, 7})


def test_tickless() -> None:
    """The CPUs in nohz_full= are not where a thread may come back to, before 7.0."""
    assert tickless_in("isolcpus=2 nohz_full=4-5,7") == {4, 5, 7}
    assert tickless_in("isolcpus=2") == frozenset()
    ours = given("0-3", "0-3", "5")
    found = told(STEPS_GIVEN, given(), ours, before_7_0=True, tickless=TICKLESS)
    assert found.failures == []
    assert found.explained[CAME_BACK] > 0
    # The others are no place to come back to.
    for how in ({"tickless": TICKLESS}, {"before_7_0": True}):
        assert "kcload-pref/0 is 0-3" in told(STEPS_GIVEN, given(), ours, **how).failures[0]


def test_left_by_partition() -> None:
    """The unpatched kernel leaves a thread where a partition has sent it, before 7.0."""
    steps = [*STEPS_GIVEN[:3], "write a/cpuset.cpus.partition isolated", "online 5"]
    text = given().partition("step 4")[0]
    text += "step 4 0 0-4,6-7 2\nmask init 0-1,3-7\nmask kcload-pref/0 {}\nstep 5 0 0-7 -\n"

    def found(left: str, *, before_7_0: bool = True) -> Result:
        base = text.format(left)
        return told(steps, base, f"{base}mask kcload-pref/0 5\n", before_7_0=before_7_0)

    assert found("0-1,3-7").failures == []
    assert found("0-1,3-7").explained[CAME_BACK] > 0
    # No partition has left these, and there is no such thing later.
    assert found("0-3,5-7").failures
    assert found("0-1,3-7", before_7_0=False).failures


@pytest.mark.parametrize(
    ("mask", "how", "rescued"),
    [
        ("0-5", {"before_7_0": True}, True),
        ("0-5", {"before_7_0": True, "strict": True}, True),
        ("0-4", {"before_7_0": True}, False),
        ("0-3", {"before_7_0": True, "tickless": frozenset({4, 5})}, True),
        ("0-5", {}, False),
    ],
)
def test_rescued(mask: str, how: dict[str, bool], rescued: bool) -> None:
    """A rescuer has the CPUs of unbound workqueues once it has helped, before 7.0."""
    text = "step 1 0 0-7 6-7\nthread kworker/R-x bound\nmask kworker/R-x {}\n"
    found = told(["mkdir a"], text.format("0-7"), text.format(mask), **how)
    assert (found.failures == []) == rescued
    assert found.explained[RESCUED] == rescued
    # No other bound thread has anything like it.
    text = text.replace("kworker/R-x", "ksoftirqd/x")
    assert told(["mkdir a"], text.format("0-7"), text.format(mask), **how).failures


def test_forgiven_no_longer() -> None:
    """Once user space has given it other CPUs, a thread is like any other."""
    steps = [*STEPS_GIVEN[:3], "affinity kcload-pref/0 2"]
    text = "".join(GIVEN.format(fallen="0-7", back="", mended="").partition("step 4")[:1])
    last = "step 4 0 0-4,6-7 -\nmask kcload-pref/0 {}\n"
    assert told(steps, ADD + text + last.format("2"), ADD + text + last.format("2")).failures == []
    found = told(steps, ADD + text + last.format("2"), ADD + text + last.format("4"))
    assert "kcload-pref/0 is 4, on the unpatched kernel 2" in found.failures[0]


@pytest.mark.parametrize(
    ("mask", "online", "failures"),
    [
        ("4,6-7", "0-4,6-7", 0),
        # CPU 5 is online, CPU 3 is of the other node, and CPU 6 is lacking.
        ("4,6-7", "0-7", 1),
        ("3-7", "0-2,4-7", 1),
        ("4-5,7", "0-4,6-7", 1),
    ],
)
def test_node(mask: str, online: str, failures: int) -> None:
    """Only offline CPUs of its node may be in a thread's mask, or lack there."""
    base = f"step 1 0 {online} -\n"
    found = told(["offline 5"], base, f"{base}mask kswapd1 {mask}\n")
    assert len(found.failures) == failures
    assert found.explained[NODE] == 1 - failures
