# SPDX-License-Identifier: GPL-2.0
"""Judges a sequence of changes by the rules of the specification (sections 3 to 5).

Every check returns the surprises as sentences for a person; none means all is well.
The rules are computed here on their own, from the masks that the guest has told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from errno import EINVAL, EOPNOTSUPP

from facts import (
    CpuSet,
    Epoch,
    Facts,
    Step,
    Thread,
    format_cpus,
    parse_cpus,
    parse_mask,
    parse_request,
)
from sequences import REFUSED, Sequence
from vm import BEFORE_7_0

# What can be confined at run time.
RUNTIME = ("kthread", "wq", "umh", "timer")
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
# The others are for workqueues of a CPU, and have to help where that is.
UNBOUND_RESCUERS = re.compile(r"kworker/R-(writeback|kcwork-(reclaim|ordered))")
BOUND_WORKER = re.compile(r"kworker/(\d+):")
# Where these run is written at random.
RANDOM = ("torture",)
WORKQUEUE_MASK = re.compile(r"/sys/devices/virtual/workqueue/cpumask:([0-9a-f,]+)")
# More of the same says nothing new.
MOST_OF_A_KIND = 12
CPUSET_CPUS = re.compile(r"@(\w+)/cpuset\.cpus:([0-9,-]*)")
# Processes that steps start: no kernel threads.
PROCESSES = ("child", "busy")


def surprises(sequence: Sequence, facts: Facts, reference: Facts) -> list[str]:
    """Returns everything that is not as the rules have it.

    `reference` is the same sequence on a kernel without the option.
    """
    if facts.failures or not facts.steps:
        return [f"the steps were not made: {facts.failures}"]
    rules = Rules(sequence, facts.steps[0])
    found: list[str] = []
    rules.follow(facts)
    for check in (
        sampler(sequence, facts),
        statuses(rules, facts),
        changes_of_k(rules, facts),
        processes(rules, facts),
        interrupts(rules, facts),
        allowed_masks(rules, facts, reference),
        workqueues(rules, facts),
        results(rules, facts),
        bound_kthreads(rules, facts, reference),
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
    # K after each step, by its number, and the classes that it confines.
    settings: dict[int, tuple[CpuSet, tuple[str, ...]]] = field(default_factory=dict)
    # Before 7.0: whether a CPU has come online since partitions changed, during and after each
    # step. A change has all threads in no cpuset leave the CPUs of partitions, and all others are
    # theirs again; but a CPU that comes puts those that prefer some back on these, isolated or not.
    put_back: dict[int, tuple[bool, bool]] = field(default_factory=dict)

    @property
    def possible(self) -> CpuSet:
        """The possible CPUs."""
        machine = self.sequence.machine
        return frozenset(range(machine.maxcpus or machine.smp))

    def follow(self, facts: Facts) -> None:
        """Works out K after every step."""
        asked = self.sequence.cpus
        cpus = self.possible if asked is None else parse_cpus(asked)
        flags = () if asked is None else self.sequence.flags
        self.settings[-1] = cpus, flags
        put_back = True
        self.put_back[-1] = put_back, put_back
        for before, step in zip([facts.steps[0], *facts.steps], facts.steps, strict=False):
            if step.name == "kcpus" and not self.refusal(step, before):
                cpus = parse_request(step.arg.replace("~", " "), len(self.possible))
            if step.name in RANDOM and step.kcpus is not None:
                cpus = step.kcpus
            # Without the option, a list confines, and all CPUs end that.
            if asked is None:
                flags = () if cpus == self.possible else RUNTIME
            self.settings[step.number] = cpus, flags
            was_put_back = put_back
            if step.isolated != before.isolated:
                put_back = False
            elif step.online - before.online:
                put_back = True
            self.put_back[step.number] = was_put_back or put_back, put_back

    def may_stray(self, name: str, step: int, *, during: bool = False) -> bool:
        """Returns whether a thread may be on CPUs of partitions, or may have been during the step,
        as on a kernel before 7.0 that confines nothing."""
        if not BEFORE_7_0 or self.confines(step, "kthread"):
            return False
        return self.preferred(name) != self.possible and self.put_back[step][not during]

    def refusal(self, step: Step, before: Step) -> int:
        """Returns the error with which K cannot be written, or 0."""
        text = step.arg.replace("~", " ")
        # The first step has no other before it, but what was there at boot.
        cpus, flags = self.settings[before.number if before.number < step.number else -1]
        if text in REFUSED:
            return REFUSED[text]
        if flags and not set(flags) & set(RUNTIME):
            return EOPNOTSUPP
        asked = parse_request(text, len(self.possible))
        if asked == cpus or asked & before.online & (self.possible - before.isolated):
            return 0
        return EINVAL

    def confined(self, step: int, what: str = "kthread") -> CpuSet:
        """K after a step, for a class of work."""
        cpus, flags = self.settings[step]
        return cpus if what in flags else self.possible

    def confines(self, step: int, what: str) -> bool:
        """Returns whether a class of work is confined after a step."""
        return what in self.settings[step][1]

    def inside(self, step: int, isolated: CpuSet, what: str = "kthread") -> CpuSet:
        """K and H."""
        return self.confined(step, what) & (self.possible - isolated)

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
            return frozenset(self.sequence.machine.node_cpus(node))
        for prefix, cpus in (*self.updated, *self.sequence.preferences):
            if name.startswith(prefix):
                return parse_cpus(cpus)
        return self.possible

    def effective(self, name: str, step: Step) -> CpuSet:
        """E, or before 7.0 and where nothing confines, what mainline does instead."""
        preferred = self.preferred(name)
        if BEFORE_7_0 and not self.confines(step.number, "kthread"):
            put_back = self.may_stray(name, step.number) and preferred & step.online
            return preferred if put_back else self.possible - step.isolated
        return self.level(preferred, step, "kthread")

    def common(self, step: Step) -> CpuSet:
        """E of a thread without a preference, which limits what others get."""
        return self.level(self.possible, step, "kthread")

    def level(self, preferred: CpuSet, step: Step, what: str, setting: int | None = None) -> CpuSet:
        """The first level that has an online CPU, of K as after the step `setting`."""
        at = step.number if setting is None else setting
        inside = self.inside(at, step.isolated, what)
        for level in (preferred & inside, inside, self.possible - step.isolated):
            if level & step.online:
                return level
        return self.possible


@dataclass
class Placed:
    """What user space has asked for so far: affinities, cpusets, and who is in which."""

    affinity: dict[str, CpuSet] = field(default_factory=dict)
    # By PID: what kthreadd had when it created the thread.
    inherited: dict[int, CpuSet] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    cpus: dict[str, CpuSet] = field(default_factory=dict)
    member: dict[str, str] = field(default_factory=dict)

    def follow(self, step: Step) -> None:
        """Takes note of what a step has changed."""
        new = step.threads.keys() - self.seen
        self.seen |= new
        if "kthreadd" in self.affinity:
            self.inherited |= dict.fromkeys(new, self.affinity["kthreadd"])
        name, _, value = step.arg.partition(":")
        if step.name == "write" and (match := CPUSET_CPUS.fullmatch(step.arg)):
            if match[2]:
                self.cpus[match[1]] = parse_cpus(match[2])
            else:
                self.cpus.pop(match[1], None)
        if step.status:
            return
        if step.name == "affinity":
            self.affinity[name] = parse_cpus(value)
        elif step.name == "cpuset":
            self.member[name] = value
        elif step.name in RANDOM:
            # It has let go of all.
            self.affinity.clear()

    def asked(self, thread: Thread) -> CpuSet | None:
        """Returns the affinity that user space has set for the thread."""
        return self.affinity.get(thread.name, self.inherited.get(thread.pid))

    def cpuset(self, name: str, step: Step) -> CpuSet | None:
        """Returns the CPUs that the thread's cpuset has now; None if nobody has chosen any."""
        group = self.member.get(name, "@")
        if group not in self.cpus:
            return None
        available = step.online - step.isolated
        return self.cpus[group] & available or available

    def narrowed(self, rules: Rules, thread: Thread, step: Step) -> CpuSet:
        """Returns E as far as the thread's cpuset and what user space has asked for leave it.

        What was asked for goes before a preference, but not beyond where threads without one
        may be; the cpuset goes before user space.
        """
        own, common = rules.effective(thread.name, step), rules.common(step)
        cpuset, user = self.cpuset(thread.name, step), self.asked(thread)
        wishes = [cpuset & user] if cpuset and user else []
        wishes += [wish for wish in (cpuset, user) if wish]
        # Where nothing confines, nothing but the preference counts when threads are put right.
        levels = (own, common) if rules.confines(step.number, "kthread") else (own,)
        for wish in wishes:
            for level in levels:
                if level & wish & step.online:
                    return level & wish
        return own


def sampler(sequence: Sequence, facts: Facts) -> Iterator[str]:
    """The trace is whole, and it has seen managed kthreads run while things moved."""
    if not sequence.trace:
        return
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
    placed = Placed()
    for before, step in zip(facts.steps, facts.steps[1:], strict=False):
        expected = 0
        if step.name == "affinity":
            name, asked = placement(step)
            level = rules.possible
            if rules.confines(step.number, "kthread") and name not in PROCESSES:
                level = rules.common(replace(before, number=step.number))
            if not asked & level & before.online & (placed.cpuset(name, before) or asked):
                expected = EINVAL
        placed.follow(step)
        if step.name == "kcpus":
            expected = rules.refusal(step, before)
        if step.status != expected:
            yield f"{step}: the result is {step.status}, not {expected}"
    for line in facts.outputs.get("join", []):
        if "wrong=" in line and not {"wrong=0", "left=0"} <= set(line.split()):
            yield f"the storm of kernel threads went wrong: {line}"
    isolating = any(step.arg.endswith(":isolated") for step in facts.steps)
    if isolating and not any(step.isolated for step in facts.steps):
        yield "no partition has isolated a CPU"


def placement(step: Step) -> tuple[str, CpuSet]:
    """Returns the thread that a step places, and where."""
    name, _, cpus = step.arg.partition(":")
    return name, parse_cpus(cpus)


def allowed_masks(rules: Rules, facts: Facts, reference: Facts) -> Iterator[str]:
    """I1, I4, I5 and I6: after every step every managed kthread has the mask that it must have.

    The offline CPUs of a node may be in its threads' masks or not: neither can be seen
    by a thread. All else is compared exactly where the option confines. Where nothing
    confines, a thread has the mask that it has without the series, or has come back.
    """
    placed = Placed()
    made = still_being_made(facts)
    for step, other in zip(facts.steps, reference.steps, strict=False):
        placed.follow(step)
        confined = rules.confines(step.number, "kthread")
        if (match := UPDATE.fullmatch(step.arg)) and not step.status:
            rules = replace(rules, updated=(("kcload-pref/", match[1]),))
        for thread in step.managed:
            if thread.pid in made or thread.name.startswith(STORM):
                continue
            expected = placed.narrowed(rules, thread, step)
            right = same_mask(rules, step, thread, expected)
            if not confined and not right:
                right = as_without(thread, step, other)
            if not right:
                yield (
                    f"after {step}, CPUs {format_cpus(step.online)} online: {thread.name} may "
                    f"run on {format_cpus(thread.allowed)}, not {format_cpus(expected)}"
                )


def as_without(thread: Thread, step: Step, other: Step) -> bool:
    """Returns whether a thread of that name has these CPUs without the series as well."""
    return any(
        thread.allowed & step.online == same.allowed & other.online
        for same in other.threads.values()
        if same.name == thread.name
    )


def same_mask(rules: Rules, step: Step, thread: Thread, expected: CpuSet) -> bool:
    """Returns whether a thread has the mask `expected`; see allowed_masks."""
    confined = rules.confines(step.number, "kthread")
    if confined and rules.node(thread.name) is None:
        return thread.allowed & rules.possible == expected
    online = thread.allowed & step.online == expected & step.online
    # Whatever comes online next, it is no place outside the level. The kernel does not
    # know the node of a CPU that is not there yet, and takes the first one for it.
    return online and (thread.allowed & step.present <= expected or not confined)


def changes_of_k(rules: Rules, facts: Facts) -> Iterator[str]:
    """The file tells K, and neither PID 1 nor the interrupts' default follow a change."""
    for before, step in zip([facts.steps[0], *facts.steps], facts.steps, strict=False):
        cpus, _ = rules.settings[step.number]
        if step.kcpus != cpus:
            told = "nothing" if step.kcpus is None else format_cpus(step.kcpus)
            yield f"after {step}: the file kthread_cpus says {told}, not {format_cpus(cpus)}"
        if step.name != "kcpus":
            continue
        for what, old, new in (
            ("PID 1", before.init_allowed, step.init_allowed),
            ("an interrupt", before.irq_default, step.irq_default),
        ):
            if old != new:
                yield f"{step} moves {what} from {format_cpus(old)} to {format_cpus(new)}"


def processes(rules: Rules, facts: Facts) -> Iterator[str]:
    """PID 1, and a process that may choose its CPUs, have what partitions leave to them.

    With the flag init, they are on the level that has an online CPU. Without it, what becomes
    of a process whose last CPU goes offline is not looked at.
    """
    placed = Placed()
    # Whose choice had no CPU online at some time.
    lost: set[str] = set()
    for before, step in zip(facts.steps, facts.steps[1:], strict=False):
        groups = dict(placed.member)
        placed.follow(step)
        follows = rules.confines(-1, "init")
        if step.name in RANDOM or (step.name in HOTPLUG and not follows):
            continue
        old_masks = {"init": before.init_allowed, **before.processes}
        for name, new in {"init": step.init_allowed, **step.processes}.items():
            expected = old_masks.get(name)
            old_group = groups.get(name)
            moved = name in PROCESSES and (
                expected is None
                or old_group != placed.member.get(name)
                or name in step.arg
                or step.arg.startswith(f"@{old_group}/cpuset.cpus:")
            )
            if not placed.affinity.get(name, step.online) & step.online:
                lost.add(name)
            if name in lost and step.name in HOTPLUG:
                continue
            if moved or follows or step.isolated != before.isolated:
                expected = process_cpus(rules, placed, name, step)
            if expected is not None and new & rules.possible != expected & rules.possible:
                yield (
                    f"after {step}: {name} may run on {format_cpus(new)}, "
                    f"not {format_cpus(expected)}"
                )


def process_cpus(rules: Rules, placed: Placed, name: str, step: Step) -> CpuSet:
    """Returns where a process may run: as without the option, but for the flag init."""
    isolated = step.isolated - rules.start.isolated
    group = placed.cpuset(name, step)
    expected = rules.possible - isolated if group is None else group
    chosen = placed.affinity.get(name)
    if chosen is not None:
        return expected & chosen or expected
    if group is None and rules.confines(-1, "init"):
        inside = expected & rules.level(rules.possible, step, "init", setting=-1)
        return inside if inside & step.online else expected
    return expected


def interrupts(rules: Rules, facts: Facts) -> Iterator[str]:
    """Interrupts are by default on the level that has an online CPU, and so all that fire.

    Not those that only the kernel places, such as the clock and the queues of a disk, and none
    that user space has placed.
    """
    placed: set[str] = set()
    for step in facts.steps:
        if step.name == "write" and step.arg.startswith("/proc/irq/"):
            placed.add(step.arg.split("/")[3])
        if not rules.confines(-1, "irq") or "irqaffinity=" in rules.sequence.words:
            continue
        expected = rules.level(rules.possible, step, "irq", setting=-1)
        seen = {"the default": step.irq_default or frozenset()} if not placed else {}
        seen |= {
            f"interrupt {number}": mask
            for number, mask in step.irqs.items()
            if number
            and number not in facts.fixed_irqs
            and not placed & {str(number), *names_of(facts, number)}
        }
        for name, mask in seen.items():
            if not mask & rules.possible or not mask & rules.possible <= expected:
                yield (
                    f"after {step}, CPUs {format_cpus(step.online)} online: {name} is on "
                    f"{format_cpus(mask)}, not {format_cpus(expected)}"
                )


def names_of(facts: Facts, number: int) -> set[str]:
    """Returns what steps may call an interrupt instead of its number."""
    return {f"{{{name}}}" for name in facts.handlers.get(number, "").split(",")}


def workqueues(rules: Rules, facts: Facts) -> Iterator[str]:
    """Unbound workqueues, rescuers and workers are confined as far as the rules say.

    What is requested is what was written last, and no change of K touches it.
    """
    requested = rules.start.requested
    for step in facts.steps:
        if (match := WORKQUEUE_MASK.fullmatch(step.arg)) and not step.status:
            requested = parse_mask(match[1])
        if step.name in RANDOM:
            requested = rules.possible
        if not rules.confines(step.number, "wq"):
            continue
        if step.requested != requested:
            yield (
                f"after {step}: {format_cpus(step.requested or ())} is requested of the "
                f"workqueues, not {format_cpus(requested or ())}"
            )
        expected = rules.level(requested or frozenset(), step, "wq")
        if step.workqueues is None or step.workqueues & rules.possible != expected:
            yield (
                f"after {step}, CPUs {format_cpus(step.online)} online: unbound workqueues use "
                f"{format_cpus(step.workqueues or ())}, not {format_cpus(expected)}"
            )
        for thread in step.threads.values():
            wrong = thread.unbound_worker and not thread.allowed & rules.possible <= expected
            wrong |= thread.resting_rescuer and thread.allowed & rules.possible != expected
            # It works off what its CPU has left.
            if (match := BOUND_WORKER.match(thread.name)) and int(match[1]) not in step.online:
                wrong |= not thread.allowed & rules.possible <= expected
            if wrong:
                yield (
                    f"after {step}, CPUs {format_cpus(step.online)} online: {thread.name} may run "
                    f"on {format_cpus(thread.allowed)}, not {format_cpus(expected)}"
                )


def results(rules: Rules, facts: Facts) -> Iterator[str]:
    """Work and helpers have run, inside, and nothing was lost on the way."""
    for step in facts.steps:
        for key, value in step.result.items():
            if key in ("lost", "wrong") and value != "0":
                yield f"{step}: {key}={value}"
        if step.name in ("work", "rescue"):
            yield from _work(rules, step)
        elif step.name == "helper":
            yield from _helpers(rules, step)
        elif step.name in RANDOM:
            changes = int(step.arg.partition(":")[0])
            if step.result.get("changes") != str(changes):
                yield f"{step}: {step.result}"
            elif int(step.result["refused"]) > changes // 2:
                yield f"{step}: most of the changes were refused: {step.result}"


def _work(rules: Rules, step: Step) -> Iterator[str]:
    """Work that may choose its CPU has run inside; rescuers have, if asked for."""
    for who in ("ran", "rescued"):
        if not rules.confines(step.number, "wq") or who not in step.result:
            continue
        cpus = parse_cpus(step.result[who])
        limit = rules.level(step.requested or frozenset(), step, "wq")
        if not cpus <= limit:
            yield f"{step}: the work {who} on {format_cpus(cpus)}, outside {format_cpus(limit)}"
    if "ran" in step.result and not step.result["ran"] and "percpu" not in step.arg:
        yield f"{step}: no work ran"
    if step.name == "rescue" and not step.result.get("rescued"):
        yield f"{step}: no rescuer ran: {step.result}"


def _helpers(rules: Rules, step: Step) -> Iterator[str]:
    """Helpers have seen that they are confined; none has one of its own class only."""
    for helper in step.arg.split(","):
        if helper not in step.result:
            yield f"{step}: no helper ran for {helper}"
    for helper, told in step.result.items():
        allowed = parse_cpus(told) & rules.possible
        if rules.confines(step.number, "umh"):
            expected = rules.level(rules.possible, step, "umh")
            if allowed != expected:
                yield (
                    f"{step}: the {helper} helper may run on {format_cpus(allowed)}, "
                    f"not {format_cpus(expected)}"
                )


def still_being_made(facts: Facts) -> set[int]:
    """Returns the threads that have been bound later: a look can come in between."""
    return {pid for step in facts.steps for pid, thread in step.threads.items() if thread.bound}


def bound_kthreads(rules: Rules, facts: Facts, reference: Facts) -> Iterator[str]:
    """I3: bound kthreads are where they are without the option, step by step.

    Interrupt threads are where their interrupts are, and these obey the option. A thread
    that is awake while its CPU goes, or is woken while that is away, may run anywhere from
    then on, with the option and without: the scheduler sees to that, and when a thread is
    awake is not the same in two boots.
    """
    if len(facts.steps) != len(reference.steps):
        yield f"{len(facts.steps)} steps, and {len(reference.steps)} without the option"
        return
    stayed = rules.possible
    for step, other in zip(facts.steps, reference.steps, strict=True):
        stayed = frozenset() if step.name in RANDOM else stayed & step.online
        masks = {t.name: t.allowed for t in other.threads.values() if t.bound}
        for thread in step.threads.values():
            if not thread.bound or thread.irq is not None or thread.name.startswith(MOVING):
                continue
            expected = masks.get(thread.name)
            if expected is None or thread.allowed == expected:
                continue
            least, most = sorted((thread.allowed, expected), key=len)
            if not least <= stayed and most & rules.possible == rules.possible:
                continue
            yield (
                f"after {step}: {thread.name} may run on {format_cpus(thread.allowed)}, "
                f"and on {format_cpus(expected)} without the option"
            )


def runs_outside(rules: Rules, facts: Facts) -> Iterator[str]:
    """I2: no managed kthread has run outside K and H while a CPU of them was online.

    Nor has work of unbound workqueues. With a change in flight, both what it leads from and
    what it leads to count: a run is outside where neither allows it, and if one of the two
    has no CPU of them, any goes.
    """
    for before, epoch in zip([None, *facts.epochs], facts.epochs, strict=False):
        around = [epoch]
        if epoch.kind == "moving" and before is not None:
            around.append(before)
        for what in ("kthread", "wq"):
            allowed = frozenset().union(*(limit(rules, one, what) for one in around))
            for cpus, threads in epoch.ran:
                if cpus <= allowed:
                    continue
                named = dict.fromkeys(
                    runner(facts, pid, kind)
                    for pid, kind in threads
                    if class_of(kind) == what and not excused(rules, facts, epoch, pid, kind)
                )
                outside = [name for name in named if not is_random(name)]
                if outside:
                    yield (
                        f"{when(facts, epoch)}, CPUs {format_cpus(epoch.online)} online: ran on "
                        f"{format_cpus(cpus - allowed)}, outside {format_cpus(allowed)}: "
                        f"{', '.join(outside)}"
                    )


def class_of(kind: str) -> str:
    """Returns what confines a thread that ran as such."""
    return "wq" if kind in ("worker", "rescuer") else "kthread"


def excused(rules: Rules, facts: Facts, epoch: Epoch, pid: int, kind: str) -> bool:
    """Returns whether a thread may run where no unbound workqueue has it run.

    To make a worker is up to kthreadd, which another flag confines.
    """
    if class_of(kind) == "wq" and not rules.confines(epoch.step, "kthread"):
        return True
    name = facts.names.get(pid, ("", 0))[0]
    if rules.may_stray(name, epoch.step, during=epoch.kind == "moving"):
        return True
    return kind == "rescuer" and not UNBOUND_RESCUERS.match(name)


def limit(rules: Rules, epoch: Epoch, what: str) -> CpuSet:
    """Returns where work of a class may run, as far as I2 goes."""
    if not rules.confines(epoch.step, what) and what == "wq":
        return rules.possible
    inside = rules.inside(epoch.step, epoch.isolated, what)
    return inside if inside & epoch.online else rules.possible


def runner(facts: Facts, pid: int, kind: str) -> str:
    """Returns the name of a thread that ran."""
    name = facts.names.get(pid, (f"a short-lived {'thread' if kind == 'made' else kind}", 0))[0]
    return f"{name} (while it was made)" if kind == "made" else name


def is_random(name: str) -> bool:
    """Returns whether a thread may have been bound when it ran."""
    return name.startswith(STORM) and "made" not in name


def when(facts: Facts, epoch: Epoch) -> str:
    """Returns the beginning of a sentence about an epoch."""
    if epoch.kind == "boot":
        return "at boot"
    step = next(step for step in facts.steps if step.number == epoch.step)
    return f"{'during' if epoch.kind == 'moving' else 'after'} {step}"
