# SPDX-License-Identifier: GPL-2.0
"""Judges a sequence of changes by the rules of the specification (sections 3 and 4).

Every check returns the surprises as sentences for a person; none means all is well.
The rules are computed here on their own, from the masks that the guest has told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from facts import CpuSet, Epoch, Facts, Step, Thread, format_cpus, parse_cpus
from sequences import Sequence
from vm import Machine

EINVAL = 22
NODE_THREAD = re.compile(r"(?:kswapd|kcompactd)(\d+)$")
# These are bound, placed and stopped at random: what they are at any moment, no look can
# tell. It still counts where they ran while they were made.
STORM = "kcload-storm/"
# The module kcload calls kthread_affine_preferred_update() for all that have a preference.
UPDATE = re.compile(r"/proc/kcload:update~([0-9,-]+)")
# What changes the CPUs in use; the other steps may be over before anything runs.
HOTPLUG = ("offline", "online", "spin")
# Workers come and go.
MOVING = (STORM, "kworker/")
# More of the same says nothing new.
MOST_OF_A_KIND = 12


def surprises(sequence: Sequence, facts: Facts, reference: Facts) -> list[str]:
    """Returns everything that is not as the rules have it.

    `reference` is the same sequence on a kernel without the option.
    """
    if facts.failures or not facts.steps:
        return [f"the steps were not made: {facts.failures}"]
    rules = Rules(sequence, facts.steps[0])
    found: list[str] = []
    for check in (
        sampler(facts),
        statuses(rules, facts),
        allowed_masks(rules, facts),
        bound_kthreads(facts, reference),
        runs_outside(rules, facts),
    ):
        several = list(check)
        found += several[:MOST_OF_A_KIND]
        if len(several) > MOST_OF_A_KIND:
            found.append(f"... and {len(several) - MOST_OF_A_KIND} more like this")
    return found


@dataclass(frozen=True)
class Rules:
    """What the specification says for one sequence; `start` is before any change."""

    sequence: Sequence
    start: Step
    # Preferences that were changed on the way, by what the names begin with.
    updated: tuple[tuple[str, str], ...] = ()

    @property
    def possible(self) -> CpuSet:
        """The possible CPUs."""
        machine = self.sequence.machine
        return frozenset(range(machine.maxcpus or machine.smp))

    @property
    def confined(self) -> CpuSet:
        """K."""
        return self.possible if self.sequence.cpus is None else parse_cpus(self.sequence.cpus)

    def inside(self, isolated: CpuSet) -> CpuSet:
        """K and H."""
        return self.confined & (self.possible - isolated)

    def node(self, name: str) -> int | None:
        """Returns the node that a thread was created on."""
        if match := NODE_THREAD.match(name):
            return int(match[1])
        nodes = [node for prefix, node in self.sequence.nodes if name.startswith(prefix)]
        return nodes[0] if nodes else None

    def preferred(self, name: str) -> CpuSet:
        """P: all possible CPUs of the thread's node, offline ones too, if it has one."""
        node = self.node(name)
        if node is not None:
            return node_cpus(self.sequence.machine, node)
        for prefix, cpus in (*self.updated, *self.sequence.preferences):
            if name.startswith(prefix):
                return parse_cpus(cpus)
        return self.possible

    def effective(self, name: str, online: CpuSet, isolated: CpuSet) -> CpuSet:
        """E."""
        inside = self.inside(isolated)
        for level in (self.preferred(name) & inside, inside, self.possible - isolated):
            if level & online:
                return level
        return self.possible


def node_cpus(machine: Machine, node: int) -> CpuSet:
    """Returns the possible CPUs of a node."""
    cores = (machine.maxcpus or machine.smp) // machine.nodes
    return frozenset(range(node * cores, (node + 1) * cores))


def sampler(facts: Facts) -> Iterator[str]:
    """The trace is whole, and it has seen managed kthreads run while things moved."""
    sampled = facts.sampled
    if sampled is None:
        yield "there is no trace"
        return
    if sampled.lost:
        yield f"the trace lacks {sampled.lost} events"
    online = frozenset().union(*(step.online for step in facts.steps))
    if not online <= sampled.cpus:
        yield f"the trace has no event of CPUs {format_cpus(online - sampled.cpus)}"
    steps = {step.number: step for step in facts.steps}
    for epoch in facts.epochs:
        if epoch.kind == "moving" and not epoch.switches and steps[epoch.step].name in HOTPLUG:
            yield f"the trace has nothing of {steps[epoch.step]}"
    for kind in ("boot", "moving", "quiet"):
        if not any(epoch.ran for epoch in facts.epochs if epoch.kind == kind):
            yield f"the trace has no managed kthread in any {kind} epoch"


def statuses(rules: Rules, facts: Facts) -> Iterator[str]:
    """Every step works, but a thread cannot be placed where it must not run."""
    for before, step in zip(facts.steps, facts.steps[1:], strict=False):
        expected = 0
        if step.name == "affinity" and rules.sequence.cpus is not None:
            name, asked = placement(step)
            if not asked & rules.effective(name, before.online, before.isolated):
                expected = EINVAL
        if step.status != expected:
            yield f"{step}: the result is {step.status}, not {expected}"
    for line in facts.outputs.get("join", []):
        if not {"wrong=0", "left=0"} <= set(line.split()):
            yield f"the storm of kernel threads went wrong: {line}"
    isolating = any(step.arg.endswith(":isolated") for step in facts.steps)
    if isolating and not any(step.isolated for step in facts.steps):
        yield "no partition has isolated a CPU"


def placement(step: Step) -> tuple[str, CpuSet]:
    """Returns the thread that a step places, and where."""
    name, _, cpus = step.arg.partition(":")
    return name, parse_cpus(cpus)


def allowed_masks(rules: Rules, facts: Facts) -> Iterator[str]:
    """I1, I4 and I5: after every step every managed kthread has the mask that it must have.

    The offline CPUs of a node may be in its threads' masks or not: neither can be seen
    by a thread. All else is compared exactly where the option confines, and without
    the offline CPUs where it does not. Where nothing confines, a thread can be placed
    wholly outside of E too, until what is isolated changes.
    """
    placed: dict[str, CpuSet] = {}
    granted: dict[str, CpuSet] = {}
    isolated = rules.start.isolated
    made = still_being_made(facts)
    for step in facts.steps:
        if step.name == "affinity" and not step.status:
            name, asked = placement(step)
            placed[name] = asked
            usable = rules.effective(name, step.online, step.isolated) & asked & step.online
            granted.pop(name, None)
            if not usable and rules.sequence.cpus is None:
                granted[name] = asked
        if step.isolated != isolated:
            isolated = step.isolated
            granted.clear()
        if (match := UPDATE.fullmatch(step.arg)) and not step.status:
            rules = replace(rules, updated=(("kcload-pref/", match[1]),))
        for thread in step.managed:
            if thread.pid in made or thread.name.startswith(STORM):
                continue
            expected = rules.effective(thread.name, step.online, step.isolated)
            asked = placed.get(thread.name, rules.possible)
            if expected & asked & step.online:
                expected &= asked
            expected = granted.get(thread.name, expected)
            if not same_mask(rules, step, thread, expected):
                yield (
                    f"after {step}, CPUs {format_cpus(step.online)} online: {thread.name} may "
                    f"run on {format_cpus(thread.allowed)}, not {format_cpus(expected)}"
                )


def same_mask(rules: Rules, step: Step, thread: Thread, expected: CpuSet) -> bool:
    """Returns whether a thread has the mask `expected`; see allowed_masks."""
    loose = rules.sequence.cpus is None or rules.node(thread.name) is not None
    if not loose:
        return thread.allowed & rules.possible == expected
    online = thread.allowed & step.online == expected & step.online
    # Whatever comes online next, it is no place outside the level. The kernel does not
    # know the node of a CPU that is not there yet, and takes the first one for it.
    return online and (thread.allowed & step.present <= expected or rules.sequence.cpus is None)


def still_being_made(facts: Facts) -> set[int]:
    """Returns the threads that have been bound later: a look can come in between."""
    return {pid for step in facts.steps for pid, thread in step.threads.items() if thread.bound}


def bound_kthreads(facts: Facts, reference: Facts) -> Iterator[str]:
    """I3: bound kthreads are where they are without the option, step by step.

    Interrupt threads are where their interrupts are, and these obey the option.
    """
    if len(facts.steps) != len(reference.steps):
        yield f"{len(facts.steps)} steps, and {len(reference.steps)} without the option"
        return
    for step, other in zip(facts.steps, reference.steps, strict=True):
        masks = {t.name: t.allowed for t in other.threads.values() if t.bound}
        for thread in step.threads.values():
            if not thread.bound or thread.irq is not None or thread.name.startswith(MOVING):
                continue
            expected = masks.get(thread.name)
            if expected is not None and thread.allowed != expected:
                yield (
                    f"after {step}: {thread.name} may run on {format_cpus(thread.allowed)}, "
                    f"and on {format_cpus(expected)} without the option"
                )


def runs_outside(rules: Rules, facts: Facts) -> Iterator[str]:
    """I2: no managed kthread has run outside K and H while a CPU of them was online.

    With a change in flight, both what it leads from and what it leads to count: a run is
    outside where neither allows it, and if one of the two has no CPU of them, any goes.
    """
    for before, epoch in zip([None, *facts.epochs], facts.epochs, strict=False):
        limits = [limit(rules, epoch)]
        if epoch.kind == "moving" and before is not None:
            limits.append(limit(rules, before))
        allowed = frozenset().union(*limits)
        for cpus, threads in epoch.ran:
            if cpus <= allowed:
                continue
            names = dict.fromkeys(runner(facts, *thread) for thread in threads)
            outside = [name for name in names if not is_random(name)]
            if outside:
                yield (
                    f"{when(facts, epoch)}, CPUs {format_cpus(epoch.online)} online: ran on "
                    f"{format_cpus(cpus - allowed)}, outside {format_cpus(allowed)}: "
                    f"{', '.join(outside)}"
                )


def limit(rules: Rules, epoch: Epoch) -> CpuSet:
    """Returns where managed kthreads may run, as far as I2 goes."""
    inside = rules.inside(epoch.isolated)
    return inside if inside & epoch.online else rules.possible


def runner(facts: Facts, pid: int, made: bool) -> str:
    """Returns the name of a thread that ran."""
    name = facts.names.get(pid, ("a short-lived thread", 0))[0]
    return f"{name} (while it was made)" if made else name


def is_random(name: str) -> bool:
    """Returns whether a thread may have been bound when it ran."""
    return name.startswith(STORM) and "made" not in name


def when(facts: Facts, epoch: Epoch) -> str:
    """Returns the beginning of a sentence about an epoch."""
    if epoch.kind == "boot":
        return "at boot"
    step = next(step for step in facts.steps if step.number == epoch.step)
    return f"{'during' if epoch.kind == 'moving' else 'after'} {step}"
