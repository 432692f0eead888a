# SPDX-License-Identifier: GPL-2.0
"""Makes the same random changes on the unpatched kernel and on ours, which is not told to confine
anything, and compares the CPUs of every kernel thread after each of them.

Without the option, and while nobody writes the file kthread_cpus, ours must not differ (rule I6
of the specification). What may differ has a name here, is checked by itself and counted:

    came back   CPUs of a thread have all been offline. It is back where it belongs: on what it
                prefers, on the housekeeping CPUs, on what user space has given it. On the
                unpatched kernel it is where the scheduler has sent it, or where it was when the
                housekeeping CPUs changed, or before 7.0 where a partition has sent it since.
    node        a thread of a node may or may not have CPUs of that node that are offline
    rescued     before 7.0, the rescuer of a CPU's workqueue may run anywhere until it has had to
                help for the first time, and then where unbound workqueues may

guest/differential.c makes the steps; it has their grammar. Exit status: 0 nothing else differs,
1 something does, otherwise as vm.py.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from errno import errorcode
from pathlib import Path

import vm
from facts import CpuSet, Facts, FactsError, format_cpus, parse, parse_cpus
from initramfs import Entry, appended
from vm import Machine

MACHINE = Machine()
# Nothing is isolated, and something is.
COMMAND_LINES = ("", "isolcpus=6-7")
# What one boot does; a guest that hangs does not take all of a long run with it.
STEPS_PER_BOOT = 400
NONE = "-"
ROOT = "@"
# More of the same says nothing new.
MOST_FAILURES = 30

CAME_BACK = "came back"
NODE = "node"
RESCUED = "rescued"
REASONS = (CAME_BACK, NODE, RESCUED)


# Making steps up ------------------------------------------------------------------

# Always there, asleep unless the guest wakes them, and no harm is done wherever they are.
SLEEPERS = ("kswapd0", "kswapd1", "khungtaskd", "kcompactd0", "kcompactd1", "oom_reaper")
# sched_setaffinity() and cpusets are refused.
BOUND = ("ksoftirqd/1", "migration/2", "cpuhp/3", "kworker/R-writeback")
# "r/x" can become a remote partition, as r is none.
GROUPS = ("a", "b", "k", "r", "r/x", "a/x")
TYPES = ("member", "root", "isolated")
MOST_THREADS = 20


class Generator:
    """Makes up steps by the numbers of a seed; `lines` are those so far."""

    def __init__(self, seed: int, machine: Machine = MACHINE) -> None:
        self.random = random.Random(seed)
        self.machine = machine
        self.cpus = range(machine.smp)
        self.online = set(self.cpus)
        self.groups: list[str] = []
        # Those of the module are called by a number that is never used twice.
        self.threads: list[str] = []
        self.serial = 0
        self.lines: list[str] = []

    def make(self, count: int) -> list[str]:
        """Returns that many steps."""
        makers: dict[Callable[[], None], int] = {
            self.affinity: 30,
            self.hotplug: 18,
            self.all_of_node: 2,
            self.all_but_one: 1,
            self.all_online: 4,
            self.partition: 10,
            self.change_group: 14,
            self.attach: 12,
            self.add: 9,
            self.delete: 5,
        }
        while len(self.lines) < count:
            self.random.choices(list(makers), list(makers.values()))[0]()
        return self.lines[:count]

    def say(self, *words: object) -> None:
        """Adds a step."""
        self.lines.append(" ".join(str(word) for word in words))

    def some_cpus(self) -> str:
        """Returns a list of CPUs that there are."""
        first = self.random.choice(self.cpus)
        match self.random.randrange(6):
            case 0 | 1:
                cpus = {first}
            case 2 | 3:
                cpus = set(range(first, self.random.choice(self.cpus[first:]) + 1))
            case 4:
                cpus = set(self.random.sample(self.cpus, self.random.randint(2, 4)))
            case _:
                node = self.random.randrange(self.machine.nodes)
                cpus = set(node_cpus(self.machine, node))
        return format_cpus(cpus)

    def asked_cpus(self) -> str:
        """Returns a list as user space may ask for it, good or bad."""
        offline = set(self.cpus) - self.online
        match self.random.randrange(20):
            case 0:
                return NONE
            case 1:
                return self.random.choice(("9", "60-63", "7-9", "0,40"))
            case 2 | 3 | 4:
                return format_cpus(self.cpus)
            case 5 | 6 if offline:
                return format_cpus(self.random.sample(sorted(offline), 1))
            case _:
                return self.some_cpus()

    def a_thread(self) -> str:
        """Returns one of the threads that are moved."""
        kind = self.random.randrange(10)
        if kind < 6 and self.threads:
            return self.random.choice(self.threads)
        return self.random.choice(BOUND if kind == 9 else SLEEPERS)

    def affinity(self) -> None:
        """User space moves a thread."""
        if self.random.randrange(25):
            self.say("affinity", self.a_thread(), self.asked_cpus())
            return
        # What is made from now on has its CPUs.
        self.say("affinity kthreadd", self.asked_cpus())
        for _ in range(self.random.randrange(3)):
            self.add()
        self.say("affinity kthreadd", format_cpus(self.cpus))

    def move(self, cpu: int, on: bool) -> None:
        """A CPU goes or comes; the first one cannot."""
        if cpu == 0:
            return
        self.say("online" if on else "offline", cpu)
        (self.online.add if on else self.online.discard)(cpu)

    def hotplug(self) -> None:
        """A CPU goes, or comes, or is there already."""
        cpu = self.random.choice(self.cpus)
        # One time in ten it is as it was.
        self.move(cpu, (cpu in self.online) == (self.random.randrange(10) == 0))

    def all_of_node(self) -> None:
        """All CPUs of a node go, and later one comes."""
        node = self.random.randrange(self.machine.nodes)
        cpus = sorted(node_cpus(self.machine, node) & self.online)
        self.random.shuffle(cpus)
        for cpu in cpus:
            self.move(cpu, on=False)

    def all_but_one(self) -> None:
        """All CPUs go that can."""
        for cpu in sorted(self.online):
            self.move(cpu, on=False)

    def all_online(self) -> None:
        """All CPUs come."""
        cpus = sorted(set(self.cpus) - self.online)
        self.random.shuffle(cpus)
        for cpu in cpus:
            self.move(cpu, on=True)

    def partition(self) -> None:
        """A cpuset becomes a partition, or something else."""
        name = self.new_group()
        if name == "r/x":
            # A remote one: the CPUs are handed down.
            cpus = self.some_cpus()
            self.say("write r/cpuset.cpus.exclusive", cpus)
            self.say("write r/x/cpuset.cpus.exclusive", cpus)
        elif self.random.randrange(2):
            self.say(f"write {name}/cpuset.cpus", self.some_cpus())
        self.say(f"write {name}/cpuset.cpus.partition", self.random.choice(TYPES))

    def new_group(self) -> str:
        """Makes a cpuset, if it is not there, and returns its name."""
        name = self.random.choice(GROUPS)
        parent = name.rpartition("/")[0]
        for group in (parent, name):
            if group and group not in self.groups:
                self.say("mkdir", group)
                self.groups.append(group)
                if group == name and parent:
                    self.say(f"write {parent}/cgroup.subtree_control +cpuset")
        return name

    def change_group(self) -> None:
        """A cpuset gets other CPUs, or goes."""
        if not self.groups:
            self.new_group()
        name = self.random.choice(self.groups)
        cpus = self.some_cpus() if self.random.randrange(6) else NONE
        match self.random.randrange(10):
            case 0:
                self.say("rmdir", name)
                # With threads or children in it, it stays; then mkdir is refused.
                self.groups.remove(name)
            case 1:
                self.say(f"write {name}/cpuset.cpus.exclusive", cpus)
            case 2 | 3:
                self.say(f"write {name}/cpuset.cpus.partition member")
            case _:
                self.say(f"write {name}/cpuset.cpus", cpus)

    def attach(self) -> None:
        """A thread goes to a cpuset, or back."""
        group = self.random.choice([*self.groups, ROOT, ROOT])
        # Mainline's own threads are rarely moved there.
        own = self.threads and self.random.randrange(5)
        self.say("attach", self.random.choice(self.threads) if own else self.a_thread(), group)

    def add(self) -> None:
        """Threads of the module are made."""
        if len(self.threads) >= MOST_THREADS:
            self.delete()
            return
        kinds = {
            "unbound": "unbound",
            "node": f"node:{self.random.randrange(self.machine.nodes)}",
            "pref": f"pref:{self.some_cpus()}",
            "prefs": f"prefs:{self.random.randint(1, 200)}",
            "bound": f"bound:{self.random.choice(self.cpus)}",
        }
        # Few are bound: nobody moves these.
        name = self.random.choice(list(kinds)[: 4 if self.random.randrange(3) else 5])
        count = self.random.randint(1, 2)
        self.say("add", kinds[name], count)
        self.threads += [f"kcload-{name}/{self.serial + number}" for number in range(count)]
        self.serial += count

    def delete(self) -> None:
        """A thread of the module ends."""
        if self.threads:
            name = self.random.choice(self.threads)
            self.threads.remove(name)
            self.say("del", name)


def node_cpus(machine: Machine, node: int) -> CpuSet:
    """Returns the CPUs of a node."""
    cores = machine.smp // machine.nodes
    return frozenset(range(node * cores, (node + 1) * cores))


# What the guest tells --------------------------------------------------------------


@dataclass
class Look:
    """How things were after a step.

    `masks` are the CPUs of each thread, and of PID 1 as "init"; `bound` says whether the kernel
    lets nobody change them. `fallen` are threads whose CPUs have all just gone offline, with
    these CPUs, and `back` those for which one is there again. `resynced` are the ones that were
    given CPUs afresh then, with the result, and `mended` are the masks after that.
    """

    number: int
    status: int
    online: CpuSet
    isolated: CpuSet
    masks: dict[str, CpuSet] = field(default_factory=dict)
    mended: dict[str, CpuSet] = field(default_factory=dict)
    bound: dict[str, bool] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    fallen: dict[str, CpuSet] = field(default_factory=dict)
    back: list[str] = field(default_factory=list)
    resynced: dict[str, tuple[CpuSet, int]] = field(default_factory=dict)


def cpus_of(text: str) -> CpuSet:
    """Parses a list of CPUs; "-" is an empty one."""
    return parse_cpus("" if text == NONE else text)


def read(lines: Iterable[str]) -> list[Look]:
    """Reads what the guest has told of the steps; raises FactsError if the end is missing."""
    looks: list[Look] = []
    masks: dict[str, CpuSet] = {}
    bound: dict[str, bool] = {}
    groups: dict[str, str] = {}
    gone: list[str] = []
    ended = False

    def finish() -> None:
        if looks:
            looks[-1].mended = dict(masks)
            looks[-1].masks = looks[-1].masks or dict(masks)

    for line in lines:
        word, *values = line.split()
        match word, values:
            case "gone", [name]:
                # Told before the step in which it was seen.
                gone.append(name)
            case "step", [number, status, online, isolated]:
                finish()
                for name in gone:
                    masks.pop(name, None)
                    bound.pop(name, None)
                gone.clear()
                bound, groups = dict(bound), dict(groups)
                look = Look(int(number), int(status), cpus_of(online), cpus_of(isolated))
                look.bound, look.groups = bound, groups
                looks.append(look)
            case "thread", [name, kind]:
                bound[name] = kind == "bound"
            case "mask", [name, cpus]:
                masks[name] = cpus_of(cpus)
            case "group", [name, *rest]:
                groups[name] = " ".join(rest)
            case "fallen", [name, cpus]:
                looks[-1].fallen[name] = cpus_of(cpus)
            case "back", [name]:
                looks[-1].masks = looks[-1].masks or dict(masks)
                looks[-1].back.append(name)
            case "resync", [name, cpus, status]:
                looks[-1].masks = looks[-1].masks or dict(masks)
                looks[-1].resynced[name] = cpus_of(cpus), int(status)
            case "end", [count]:
                ended = int(count) == len(looks)
            case _:
                raise FactsError(f"the guest says: {line}")
    finish()
    if not ended:
        raise FactsError(f"the guest has ended after {len(looks)} steps")
    return looks


# Comparing ----------------------------------------------------------------------------


@dataclass
class Result:
    """What differs: `failures` are sentences for a person, `explained` counts the others."""

    failures: list[str] = field(default_factory=list)
    explained: Counter[str] = field(default_factory=Counter)
    threads: int = 0

    def add(self, other: Result) -> None:
        """Adds another one."""
        self.failures += other.failures
        self.explained += other.explained
        self.threads += other.threads


@dataclass
class Comparison:
    """Follows the steps, to know of each thread where it belongs.

    `strict` takes no explanation: both are the same kernel. `before_7_0`: nohz_full= keeps kernel
    threads off the CPUs in `tickless`, and partitions do so by cpusets only.
    """

    steps: Sequence[str]
    machine: Machine = MACHINE
    strict: bool = False
    before_7_0: bool = vm.BEFORE_7_0
    tickless: CpuSet = frozenset()
    result: Result = field(default_factory=Result)
    preferred: dict[str, CpuSet] = field(default_factory=dict)
    node: dict[str, CpuSet] = field(default_factory=dict)
    member: dict[str, str] = field(default_factory=dict)
    # By cpuset what was written to cpuset.cpus, by thread what user space has given it.
    written: dict[str, CpuSet] = field(default_factory=dict)
    user: dict[str, CpuSet] = field(default_factory=dict)
    fallen: set[str] = field(default_factory=set)
    # By thread where it was left when the housekeeping CPUs changed.
    stayed: dict[str, CpuSet] = field(default_factory=dict)
    # The housekeeping CPUs.
    inside: CpuSet = frozenset()
    # What partitions have left to all in the root so far, which is where PID 1 is.
    left: set[CpuSet] = field(default_factory=set)
    # Where unbound workqueues may have been so far.
    unbound: set[CpuSet] = field(default_factory=set)
    # By thread, or another thing: how it differs now.
    differing: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for number in range(self.machine.nodes):
            for daemon in ("kswapd", "kcompactd"):
                self.node[f"{daemon}{number}"] = node_cpus(self.machine, number)

    @property
    def possible(self) -> CpuSet:
        """The possible CPUs."""
        return frozenset(range(self.machine.smp))

    def run(self, base: Sequence[Look], ours: Sequence[Look]) -> Result:
        """Compares what the unpatched kernel has told with what ours has."""
        if not len(base) == len(ours) == len(self.steps) + 1:
            self.result.failures.append(
                f"{len(self.steps)} steps were to be made, not {len(base) - 1} and {len(ours) - 1}"
            )
            return self.result
        for theirs, mine in zip(base, ours, strict=True):
            step = self.steps[theirs.number - 1] if theirs.number else "start"
            self.follow(step, theirs)
            self.compare(step, theirs, mine)
            self.settle(theirs)
        self.result.threads = len(self.seen)
        return self.result

    # What is known of the threads

    def follow(self, step: str, look: Look) -> None:
        """Takes note of what a step has done."""
        new = [name for name in look.masks if name not in self.seen]
        self.seen.update(new)
        name, *args = step.split()
        if name == "add":
            self.take_new(args[0], sorted(new, key=number_of), look)
        for thread in new:
            if "kthreadd" in self.user and not thread.startswith("kcload-pref"):
                self.user[thread] = self.user["kthreadd"]
        self.fallen.update(look.fallen)
        if "init" in look.masks:
            self.left.add(look.masks["init"])
        self.unbound.add(self.possible - look.isolated - self.tickless)
        inside = self.possible - (self.tickless if self.before_7_0 else look.isolated)
        # With none that is online, the kernel keeps those that it had.
        if inside != self.inside and inside & look.online:
            self.inside = inside
            for name in self.missing(look):
                self.fallen.add(name)
                self.stayed[name] = look.masks[name]
        if look.status:
            return
        if name == "affinity":
            self.give(args[0], cpus_of(args[1]))
        elif name == "attach":
            self.member[args[0]] = args[1]
        elif name == "write" and args[0].endswith("/cpuset.cpus"):
            self.written[args[0].rpartition("/")[0]] = cpus_of(args[1])
        elif name == "rmdir":
            self.written.pop(args[0], None)

    def missing(self, look: Look) -> list[str]:
        """Returns who cannot have what user space has given it, as that is offline."""
        return [name for name in look.masks if self.is_missing(name, look)]

    def is_missing(self, name: str, look: Look) -> bool:
        """Returns whether all CPUs are offline that a thread might have of those given to it."""
        wanted = self.user.get(name, self.possible) & self.level(name, look)
        return bool(wanted) and not wanted & look.online

    def take_new(self, kind: str, names: list[str], look: Look) -> None:
        """Takes note of what threads of the module prefer."""
        kind, _, value = kind.partition(":")
        for index, name in enumerate(name for name in names if name.startswith("kcload-")):
            if kind == "node":
                self.node[name] = node_cpus(self.machine, int(value))
            elif kind == "pref":
                self.preferred[name] = cpus_of(value)
            elif kind == "prefs":
                bits = index % int(value) + 1
                self.preferred[name] = frozenset(cpu for cpu in self.possible if bits >> cpu & 1)
            # Nobody has waited for one of these to come back.
            wanted = self.preferred.get(name, self.node.get(name))
            if wanted and not wanted & self.inside & look.online:
                self.fallen.add(name)

    def give(self, name: str, cpus: CpuSet) -> None:
        """User space has given a thread its CPUs: that is the same on both kernels."""
        self.user[name] = cpus
        self.fallen.discard(name)
        self.stayed.pop(name, None)

    def settle(self, look: Look) -> None:
        """Takes note of what was mended after a step."""
        for name, (cpus, status) in look.resynced.items():
            if not status:
                self.give(name, cpus)
        self.fallen.difference_update(look.back)
        for name in list(self.fallen - look.masks.keys()):
            self.fallen.discard(name)

    # Where a thread may be

    def level(self, name: str, look: Look) -> CpuSet:
        """Returns what the kernel wants for a thread: the first of these with an online CPU."""
        wanted = self.preferred.get(name, self.node.get(name, self.possible))
        for level in (wanted & self.inside, self.inside):
            if level & look.online:
                return level
        return self.possible

    def cpuset(self, name: str, look: Look) -> CpuSet | None:
        """Returns what the cpuset of a thread has in effect; None for the root."""
        words = look.groups.get(self.member.get(name, ROOT), "").split()
        return cpus_of(words[0]) if words else None

    def narrowed(self, name: str, look: Look, user: CpuSet | None) -> CpuSet:
        """Returns the level, less what the cpuset and user space do not want of it."""
        cpus = self.level(name, look)
        for other in (self.cpuset(name, look), user):
            if other is not None and cpus & other & look.online:
                cpus &= other
        return cpus

    def belongs(self, name: str, look: Look) -> list[CpuSet]:
        """Returns where a thread belongs: what user space has given counts also outside."""
        user = self.user.get(name)
        places = [self.narrowed(name, look, user)]
        if user is not None:
            # A change of the housekeeping CPUs asks no cpuset, as on the unpatched kernel.
            places.append(user & self.level(name, look))
            cpuset = self.cpuset(name, look)
            places.append(user & (self.possible if cpuset is None else cpuset) & self.possible)
        return places

    def sent(self, name: str, look: Look) -> list[CpuSet]:
        """Returns where the scheduler sends a thread, and what may come of that later."""
        places = [self.possible, self.inside, self.narrowed(name, look, None)]
        group = self.member.get(name, ROOT)
        if group in self.written:
            places.append(self.written[group])
        cpuset = self.cpuset(name, look)
        if cpuset is not None:
            places.append(cpuset)
        if name in self.stayed:
            places.append(self.stayed[name])
        # Not only while there is that partition.
        if self.before_7_0:
            places += self.left
        return [*places, self.level(name, look)]

    def reason(self, name: str, look: Look, theirs: CpuSet, mine: CpuSet) -> str | None:
        """Returns why the CPUs of a thread may differ, or None."""
        if self.before_7_0 and look.bound.get(name) and name.startswith("kworker/R-"):
            return RESCUED if {theirs, mine} <= {self.possible, *self.unbound} else None
        free = self.node.get(name, frozenset()) - look.online
        if not (theirs ^ mine) - free:
            return NODE
        if name not in self.fallen:
            return None
        places = self.belongs(name, look)
        # It has been back, and had to leave once more.
        if self.is_missing(name, look):
            places += self.sent(name, look)
        back = any(not (mine ^ place) - free for place in places)
        sent = any(not (theirs ^ place) - free for place in self.sent(name, look))
        return CAME_BACK if back and sent else None

    # What differs

    def compare(self, step: str, theirs: Look, mine: Look) -> None:
        """Compares all that two kernels tell of a step."""
        found = dict(self.differences(theirs, mine))
        for what, (base, ours, reason) in found.items():
            # One that goes on is told once.
            if self.differing.get(what) == (base, ours, reason):
                continue
            # In which boot a rescuer has to help is a matter of chance.
            if reason and (not self.strict or reason == RESCUED):
                self.result.explained[reason] += 1
                continue
            self.result.failures.append(
                f"step {theirs.number} ({step}): {what} is {ours}, on the unpatched kernel {base}"
                f" ({self.circumstances(what, theirs)})"
            )
        self.differing = found

    def circumstances(self, what: str, look: Look) -> str:
        """Returns what helps to see why something differs."""
        words = [f"online {format_cpus(look.online)}", f"isolated {format_cpus(look.isolated)}"]
        name = what.removesuffix(MENDED)
        if name in self.preferred or name in self.node:
            wanted = self.preferred.get(name, self.node.get(name, frozenset()))
            words.append(f"prefers {format_cpus(wanted)}")
        if name in self.user:
            words.append(f"given {format_cpus(self.user[name])}")
        if self.member.get(name, ROOT) != ROOT:
            group = self.member[name]
            words.append(f"in cpuset {group} with {look.groups.get(group, 'nothing')}")
        if name in self.fallen:
            words.append("its CPUs were all offline")
        return ", ".join(words)

    def differences(self, theirs: Look, mine: Look) -> Iterator[tuple[str, tuple[str, str, str]]]:
        """Yields what differs, the two values, and why it may; with no reason it may not."""
        simple = {
            "the result": (result(theirs.status), result(mine.status)),
            "online": (format_cpus(theirs.online), format_cpus(mine.online)),
            "isolated": (format_cpus(theirs.isolated), format_cpus(mine.isolated)),
        }
        for name in sorted(theirs.groups.keys() | mine.groups.keys()):
            # Of a cpuset that has gone, this is the last that was told.
            simple[f"cpuset {name}"] = theirs.groups.get(name, "new"), mine.groups.get(name, "new")
        for name in sorted(theirs.bound.keys() | mine.bound.keys()):
            simple[f"{name} (kind)"] = kind(theirs.bound, name), kind(mine.bound, name)
        for name in sorted(theirs.resynced.keys() | mine.resynced.keys()):
            values = [
                f"{format_cpus(look.resynced[name][0])}: {result(look.resynced[name][1])}"
                if name in look.resynced
                else "not needed"
                for look in (theirs, mine)
            ]
            simple[f"resync of {name}"] = values[0], values[1]
        for what, (base, ours) in simple.items():
            if base != ours:
                yield what, (base, ours, "")
        for name in sorted(theirs.masks.keys() & mine.masks.keys()):
            base, ours = theirs.masks[name], mine.masks[name]
            if base != ours:
                reason = self.reason(name, theirs, base, ours) or ""
                yield name, (format_cpus(base), format_cpus(ours), reason)
        for name in theirs.resynced.keys() & mine.resynced.keys():
            base, ours = theirs.mended[name], mine.mended[name]
            failed = theirs.resynced[name][1]
            if base != ours and not failed:
                reason = "" if self.reason(name, theirs, base, ours) != NODE else NODE
                yield f"{name}{MENDED}", (format_cpus(base), format_cpus(ours), reason)


MENDED = " after the resync"


def result(status: int) -> str:
    """Returns an error as text."""
    return errorcode.get(status, str(status)) if status else "success"


def kind(bound: dict[str, bool], name: str) -> str:
    """Returns what the kernel lets others do to a thread."""
    return {True: "bound", False: "managed", None: "not there"}[bound.get(name)]


def number_of(name: str) -> int:
    """Returns the number at the end of a name."""
    number = name.rpartition("/")[2]
    return int(number) if number.isdigit() else -1


def compare(
    steps: Sequence[str],
    base: Sequence[Look],
    ours: Sequence[Look],
    *,
    strict: bool = False,
    before_7_0: bool = vm.BEFORE_7_0,
    tickless: CpuSet = frozenset(),
) -> Result:
    """Compares what two kernels have told of the same steps."""
    comparison = Comparison(steps, strict=strict, before_7_0=before_7_0, tickless=tickless)
    return comparison.run(base, ours)


def tickless_in(words: str) -> CpuSet:
    """Returns the CPUs that a command line has in nohz_full=."""
    lists = [word.partition("=")[2] for word in words.split() if word.startswith("nohz_full=")]
    return parse_cpus(",".join(lists))


# Running -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kernel:
    """A kernel and the guest with the module kcload that is made for it."""

    name: str
    image: Path
    initrd: Path


def unpatched() -> Kernel:
    """Returns the unpatched kernel, which scripts/differential build makes."""
    return Kernel(
        "unpatched",
        vm.BENCH / vm.UNPATCHED / vm.ARCHES[vm.ARCH].image,
        vm.BENCH / "kcload" / "initramfs-unpatched.cpio",
    )


def patched(config: str = "on") -> Kernel:
    """Returns one of ours."""
    return Kernel(
        config,
        vm.BUILD / "out" / config / vm.ARCHES[vm.ARCH].image,
        vm.BUILD / "kcload" / f"initramfs-{config}.cpio",
    )


@dataclass
class Told:
    """What one kernel has told."""

    facts: Facts
    looks: list[Look]
    seconds: float


def boot(
    kernel: Kernel, words: str, steps: Sequence[str], seed: int, *, accel: str, turn: int = 0
) -> Told:
    """Makes the steps on a kernel."""
    name = "-".join([kernel.name, words or "plain", str(seed), *([str(turn)] if turn else [])])
    log = vm.LOGS / "differential" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if not kernel.initrd.is_file():
        raise vm.NoQemu(f"there is no guest {kernel.initrd}; run: scripts/differential build")
    text = "".join(f"{step}\n" for step in steps).encode()
    initrd = log.with_suffix(".cpio")
    initrd.write_bytes(
        appended(kernel.initrd.read_bytes(), [Entry("kc/sequence", stat.S_IFREG | 0o644, text)])
    )
    append = f"{words} kcguest.do=insmod:/kc/kcload.ko,differential:/kc/sequence".strip()
    guest = vm.Guest(kernel.image, initrd, append)
    try:
        # An emulated machine takes a tenth of it.
        timeout = vm.BOOT_TIMEOUT + 3 * len(steps)
        console = vm.boot(guest, MACHINE, log, accel=accel, timeout=timeout)
    finally:
        initrd.unlink()
    facts = parse(console.text)
    try:
        looks = read(facts.outputs.get("differential", []))
    except FactsError as error:
        raise FactsError(f"{error} (console: {log})") from error
    return Told(facts, looks, console.seconds)


def judge(
    steps: Sequence[str],
    base: Told,
    ours: Told,
    *,
    strict: bool = False,
    tickless: CpuSet = frozenset(),
) -> Result:
    """Compares two boots, and what the kernels complain about."""
    found = compare(steps, base.looks, ours.looks, strict=strict, tickless=tickless)
    known = {same_for_all(text) for text in base.facts.complaints()}
    complaints = {same_for_all(text) for text in ours.facts.complaints()} - known
    found.failures += [f"in the log: {text}" for text in sorted(complaints)]
    return found


def same_for_all(text: str) -> str:
    """Returns a complaint without the number of this program, which it was made by."""
    return re.sub(r"\bdifferential/\d+", "differential", text)


def run(
    base: Kernel,
    ours: Kernel,
    words: str,
    seed: int,
    count: int,
    *,
    accel: str = "auto",
    pool: ThreadPoolExecutor | None = None,
    steps: Sequence[str] | None = None,
) -> Result:
    """Makes the steps of a seed, or given ones, on both kernels and compares. A kernel is compared
    with itself if there is no other: nothing at all may differ then."""
    steps = steps or Generator(seed).make(count)
    pool = pool or ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1))
    told = [
        pool.submit(boot, kernel, words, steps, seed, accel=accel, turn=turn)
        for turn, kernel in enumerate((base, ours))
    ]
    theirs, mine = (future.result() for future in told)
    found = judge(steps, theirs, mine, strict=base == ours, tickless=tickless_in(words))
    print(
        f"    seed {seed}, {count} steps{f', {words}' if words else ''}: {words_of(found)} "
        f"({theirs.seconds:.0f} and {mine.seconds:.0f} s)",
        flush=True,
    )
    return found


def words_of(found: Result) -> str:
    """Returns the counts as text."""
    reasons = ", ".join(f"{found.explained[reason]} {reason}" for reason in REASONS)
    return f"{len(found.failures)} differ, {reasons}"


def report(found: Result) -> list[str]:
    """Returns the first failures as lines."""
    lines = [f"      - {text}" for text in found.failures[:MOST_FAILURES]]
    if len(found.failures) > MOST_FAILURES:
        lines.append(f"      ... and {len(found.failures) - MOST_FAILURES} more")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000, help="on each command line (3000)")
    parser.add_argument("--seed", type=int, default=1, help="of the first boot (1)")
    parser.add_argument("--words", action="append", help="the kernel command line")
    parser.add_argument("--config", default="on", help="ours: build/out/CONFIG (on)")
    parser.add_argument("--kernel", type=Path, help="another one")
    parser.add_argument("--initrd", type=Path, help="its guest, with the module kcload")
    parser.add_argument("--itself", action="store_true", help="the unpatched kernel with itself")
    parser.add_argument("--accel", choices=vm.ACCELS, default="auto")
    args = parser.parse_args(argv)
    if args.steps < 1:
        parser.error("there must be a step")

    vm.raise_on_term()
    base, ours = unpatched(), patched(args.config)
    if args.kernel or args.initrd:
        name = (args.kernel or ours.image).stem
        ours = Kernel(name, args.kernel or ours.image, args.initrd or ours.initrd)
    if args.itself:
        ours = base
    total = Result()
    try:
        for start in range(0, args.steps, STEPS_PER_BOOT):
            for words in args.words or COMMAND_LINES:
                count = min(STEPS_PER_BOOT, args.steps - start)
                seed = args.seed + start // STEPS_PER_BOOT
                found = run(base, ours, words, seed, count, accel=args.accel)
                print("\n".join(report(found)), end="\n" if found.failures else "", flush=True)
                total.add(found)
    except vm.BootError as error:
        print(f"differential: {error}", file=sys.stderr)
        return error.status
    except FactsError as error:
        print(f"differential: {error}", file=sys.stderr)
        return 1
    print(f"differential: {words_of(total)}")
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
