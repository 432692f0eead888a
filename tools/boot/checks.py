# SPDX-License-Identifier: GPL-2.0
"""Compares what a guest has told with what a scenario promises.

Every check returns the surprises as sentences for a person; none means all is well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from facts import CpuSet, Facts, Irq, Snapshot, Thread, format_cpus, parse_cpus, warnings
from scenarios import OFFSET, Scenario
from vm import ARCHES, BEFORE_7_0

# What the kernel itself gives to init.
CLEAN_ENV = {"HOME": "/", "TERM": "linux"}
NO_CPUS: CpuSet = frozenset()


def surprises(scenario: Scenario, facts: Facts, plain: Facts) -> list[str]:
    """Returns everything that is not as the scenario promises.

    `plain` is the same boot without the option.
    """
    found: list[str] = []
    found += guest_sound(facts)
    found += kernel_log(scenario, facts, plain)
    found += option_lines(scenario, facts)
    found += environment(scenario, facts)
    found += managed_kthreads(scenario, facts, plain)
    found += bound_kthreads(scenario, facts, plain)
    found += workqueues(scenario, facts, plain)
    found += work_done(scenario, facts)
    found += usermode_helpers(scenario, facts)
    found += first_process(scenario, facts, plain)
    found += interrupts(scenario, facts, plain)
    return found


def confines(scenario: Scenario, flag: str) -> bool:
    """Returns whether the scenario confines what the flag is about."""
    return scenario.cpus is not None and flag in scenario.flags


def ceiling(scenario: Scenario, snapshot: Snapshot) -> CpuSet:
    """Returns where confined work may be: K and H, or H without a CPU of that online."""
    return snapshot.ceiling(parse_cpus(scenario.cpus or ""))


def limits(scenario: Scenario, snapshot: Snapshot) -> list[CpuSet]:
    """Returns what a mask that the kernel obeys may show: the ceiling or K and H.

    Without a CPU of K online the two differ, and the kernel sees to the rest itself.
    """
    inside = parse_cpus(scenario.cpus or "") & snapshot.housekeeping
    return [ceiling(scenario, snapshot), inside]


def guest_sound(facts: Facts) -> Iterator[str]:
    """The guest did all that it was told to."""
    for action in facts.failed_actions:
        yield f"the guest could not do the action {action}"


def kernel_log(scenario: Scenario, facts: Facts, plain: Facts) -> Iterator[str]:
    """Nothing but the option's own lines and what is expected warns of anything new."""
    known = {re.sub(r"\d+", "N", text) for text in warnings(plain.klog)}
    expected = scenario.workqueues_warn
    if expected and not any(expected in text for text in warnings(facts.klog)):
        yield f"there is no warning: {expected}"
    for text in dict.fromkeys(warnings(facts.klog)):
        if expected and expected in text:
            continue
        if re.sub(r"\d+", "N", text) not in known:
            yield f"a warning that is not there without the option: {text}"


def option_lines(scenario: Scenario, facts: Facts) -> Iterator[str]:
    """The kernel says one line about what it did, and the right one."""
    option = facts.option
    texts = [line.text for line in option.lines]
    if option.unknown != scenario.unknown:
        known = "unknown" if option.unknown else "known"
        yield f"the option is {known} to the kernel (it lists unknown ones in its log)"
    if scenario.warning is None and option.warnings:
        yield f"there must be no warning: {[line.text for line in option.warnings]}"
    if scenario.warning is not None:
        yield from _warning(scenario, facts)
    if scenario.cpus is not None and option.cpus is None:
        yield f"no line says what was confined: {texts}"
    if scenario.cpus is None and option.cpus is not None:
        yield f"the kernel says that it took the option: {texts}"
    if scenario.cpus is not None and option.cpus is not None:
        if option.cpus != parse_cpus(scenario.cpus):
            yield f"the kernel has taken CPUs {format_cpus(option.cpus)}, not {scenario.cpus}"
        if set(option.flags) != set(scenario.flags):
            yield f"the kernel confines {option.flags}, not {scenario.flags}"
    if "kthread_cpus" not in scenario.words and texts:
        yield f"the kernel speaks of an option that is not there: {texts}"


def _warning(scenario: Scenario, facts: Facts) -> Iterator[str]:
    """There is one warning for each outcome, with everything that it must hold."""
    warnings = [line.text for line in facts.option.warnings]
    if len(warnings) != scenario.warnings:
        number = "one line" if scenario.warnings == 1 else f"{scenario.warnings} lines"
        others = [line.text for line in facts.option.lines]
        yield f"there must be {number} at warning level, not {warnings} (all lines: {others})"
        return
    for warning in warnings:
        for text in scenario.warning or ():
            if text not in warning:
                yield f"the warning must name {text!r}: {warning!r}"
    if scenario.offset is not None:
        match = OFFSET.search(warnings[0])
        if match is None or int(match["offset"]) != scenario.offset:
            yield f"the warning must give offset {scenario.offset}: {warnings[0]!r}"


def environment(scenario: Scenario, facts: Facts) -> Iterator[str]:
    """The option does not reach init, unless the kernel does not know it."""
    leaked = {name: value for name, value in facts.env.items() if CLEAN_ENV.get(name) != value}
    if scenario.unknown:
        if leaked != {"kthread_cpus": leaked.get("kthread_cpus")}:
            yield f"init's environment has {leaked}, not only the unknown option"
    elif leaked:
        yield f"init's environment has {leaked}"


def managed_kthreads(scenario: Scenario, facts: Facts, plain: Facts) -> Iterator[str]:
    """Every managed kthread has exactly the mask that the rules give it."""
    snapshot = facts.last
    if not snapshot.managed:
        yield "there is no managed kthread at all"
    preferred = {thread.name: thread.allowed for thread in plain.last.managed}
    for missing in sorted(preferred.keys() - {thread.name for thread in snapshot.managed}):
        yield f"there is no managed kthread {missing}, which is there without the option"
    if not confines(scenario, "kthread"):
        for thread in snapshot.managed:
            if thread.allowed != preferred.get(thread.name, thread.allowed):
                yield f"{_placed(thread)}, and {format_cpus(preferred[thread.name])} without"
        return
    limit = ceiling(scenario, snapshot)
    for thread in snapshot.managed:
        expected = allowed_mask(scenario, snapshot, preferred.get(thread.name, snapshot.possible))
        if not thread.allowed <= limit:
            yield f"{_placed(thread)}: outside {format_cpus(limit)}"
        elif thread.name in preferred and thread.allowed != expected:
            yield f"{_placed(thread)}, not {format_cpus(expected)}"
        # A sleeping thread keeps the CPU of its last run, so this tells something
        # only where the boot CPU, on which the first ones start, is inside.
        elif 0 in limit and thread.cpu not in limit:
            yield f"{_placed(thread)}, but it ran on CPU {thread.cpu}"


def allowed_mask(scenario: Scenario, snapshot: Snapshot, preferred: CpuSet) -> CpuSet:
    """Returns E for a managed kthread that has the mask `preferred` without the option."""
    inside = parse_cpus(scenario.cpus or "") & snapshot.housekeeping
    for level in (preferred & inside, inside, snapshot.housekeeping):
        if level & snapshot.online:
            return level
    return snapshot.possible


def _placed(thread: Thread) -> str:
    """Returns the beginning of a sentence about a thread."""
    return f"{thread.name} may run on {format_cpus(thread.allowed)}"


def bound_kthreads(scenario: Scenario, facts: Facts, plain: Facts) -> Iterator[str]:
    """Bound kthreads are where they are without the option.

    Those of unbound workqueues and those that follow an interrupt are looked at elsewhere.
    """
    before = {thread.name: thread.allowed for thread in plain.last.threads if thread.bound}
    for thread in facts.last.threads:
        if not thread.bound or thread.rescuer or thread.unbound_worker or thread.irq is not None:
            continue
        expected = before.get(thread.name, thread.allowed)
        if thread.name.startswith("kworker/"):
            # These come and go, but the number before the colon is their CPU. Where that is
            # offline, it is an unbound workqueue's.
            expected = frozenset({int(thread.name.split("/")[1].split(":")[0])})
            if not expected <= facts.last.online:
                limit = ceiling(scenario, facts.last)
                if confines(scenario, "wq") and not thread.allowed & facts.last.possible <= limit:
                    yield f"{_placed(thread)}: outside {format_cpus(limit)}"
                continue
        if thread.allowed != expected:
            yield f"{_placed(thread)}, and {format_cpus(expected)} without the option"


def workqueues(scenario: Scenario, facts: Facts, plain: Facts) -> Iterator[str]:
    """Unbound workqueues, their workers and the rescuers are inside, or as without."""
    snapshot = facts.last
    if not confines(scenario, "wq"):
        if snapshot.workqueues != plain.last.workqueues:
            yield (
                f"unbound workqueues use {format_cpus(snapshot.workqueues or NO_CPUS)}, and "
                f"{format_cpus(plain.last.workqueues or NO_CPUS)} without"
            )
        before = {t.name: t.allowed for t in plain.last.threads if t.rescuer}
        for thread in snapshot.threads:
            expected = before.get(thread.name, thread.allowed)
            right = {expected}
            if BEFORE_7_0:
                # There it depends on whether it has had to help since boot.
                right |= {snapshot.possible, snapshot.workqueues or expected}
            if thread.resting_rescuer and thread.allowed not in right:
                yield f"{_placed(thread)}, and {format_cpus(expected)} without"
        return
    further = parse_cpus(scenario.workqueues) if scenario.workqueues else snapshot.possible
    limit = ceiling(scenario, snapshot) & further
    if snapshot.workqueues not in [mask & further for mask in limits(scenario, snapshot)]:
        yield (
            f"unbound workqueues use {format_cpus(snapshot.workqueues or NO_CPUS)}, "
            f"not {format_cpus(limit)}"
        )
    for thread in snapshot.threads:
        if (thread.resting_rescuer or thread.unbound_worker) and not thread.allowed <= limit:
            yield f"{_placed(thread)}: outside {format_cpus(limit)}"


def work_done(scenario: Scenario, facts: Facts) -> Iterator[str]:
    """Unbound workqueues have really done their work inside, or anywhere.

    A rescuer may have had to help a workqueue of a CPU, which is none of this.
    """
    if "work" not in [name for name, _, _ in facts.actions]:
        return
    ran = facts.worked.get("unbound", NO_CPUS)
    if not ran:
        yield "unbound workqueues have done no work"
    limit = ceiling(scenario, facts.last)
    if confines(scenario, "wq") and not ran <= limit:
        yield f"work ran on {format_cpus(ran)}, outside {format_cpus(limit)}"


def usermode_helpers(scenario: Scenario, facts: Facts) -> Iterator[str]:
    """Usermode helpers are inside, or are not.

    They start from an unbound workqueue: confined workqueues confine them too.
    """
    limit = ceiling(scenario, facts.last)
    for helper in ("core", "modprobe", "nested", "uevent"):
        allowed = facts.umh.get(helper, NO_CPUS)
        if not allowed:
            yield f"no usermode helper ran for {helper}"
        elif confines(scenario, "umh"):
            if not allowed <= limit:
                yield f"{helper} helper has {format_cpus(allowed)}, outside {format_cpus(limit)}"
        elif scenario.cpus is not None and not confines(scenario, "wq") and allowed <= limit:
            yield f"the {helper} helper is kept to {format_cpus(allowed)}, which nobody asked for"


def first_process(scenario: Scenario, facts: Facts, plain: Facts) -> Iterator[str]:
    """PID 1 is inside, or as without."""
    expected = plain.init_allowed
    if confines(scenario, "init"):
        expected = ceiling(scenario, facts.last)
    if facts.init_allowed != expected:
        yield f"PID 1 may run on {format_cpus(facts.init_allowed)}, not {format_cpus(expected)}"


def interrupts(scenario: Scenario, facts: Facts, plain: Facts) -> Iterator[str]:
    """The default affinity of interrupts is K, or as without, or what irqaffinity= says.

    Nobody has placed an interrupt in this guest: all go where the default says, unless the
    interrupt controller serves none of these CPUs, and then to those that it serves.
    """
    expected = [plain.last.irq_default or NO_CPUS]
    if confines(scenario, "irq"):
        expected = limits(scenario, facts.last)
    if scenario.irq is not None:
        expected = [parse_cpus(scenario.irq)]
    masks = expected
    if ARCHES[scenario.machine.arch].irqs_by_socket:
        served = frozenset(scenario.machine.irq_cpus())
        masks = [mask if mask & served else served for mask in expected]
        if scenario.irq is not None:
            # The driver of the interrupt controller asks for them, and nothing is confined.
            masks.append(served)
    for name, cpus in facts.fired.items():
        if not any(cpus <= mask for mask in masks):
            yield f"the interrupt of {name} has fired on {format_cpus(cpus)}"
    if not facts.fired and "irqs" in [name for name, _, _ in facts.actions]:
        yield "no interrupt has fired"
    seen = facts.last.irq_default or NO_CPUS
    if seen not in expected:
        yield f"interrupts go to {format_cpus(seen)} by default, not {format_cpus(expected[0])}"
    affinities = {irq.number: irq.affinity for irq in placeable(scenario, facts.last)}
    for number, affinity in affinities.items():
        # The clock must not be moved, and the cascade of an i8259 cannot.
        if number not in (0, 2) and not any(affinity <= mask for mask in masks):
            yield f"interrupt {number} goes to {format_cpus(affinity)}"
    for thread in facts.last.threads:
        if thread.irq is not None and not thread.allowed <= affinities.get(thread.irq, NO_CPUS):
            yield f"{_placed(thread)}, where its interrupt does not go"


def placeable(scenario: Scenario, snapshot: Snapshot) -> list[Irq]:
    """Returns the interrupts that somebody can place: one of each CPU is in effect nowhere."""
    if not ARCHES[scenario.machine.arch].numbers_all:
        return snapshot.irqs
    return [irq for irq in snapshot.irqs if irq.effective]


def placement(facts: Facts) -> dict[str, str]:
    """Returns where everything is, to compare two boots."""
    snapshot = facts.last
    found = {f"thread {thread.name}": thread.allowed for thread in snapshot.managed}
    found["unbound workqueues"] = snapshot.workqueues or NO_CPUS
    found["interrupts"] = snapshot.irq_default or NO_CPUS
    found["PID 1"] = facts.init_allowed
    found["accepted"] = facts.option.cpus or NO_CPUS
    return {name: format_cpus(cpus) for name, cpus in found.items()}
