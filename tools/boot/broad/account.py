# SPDX-License-Identifier: GPL-2.0
"""Accounts for threads, interrupts and timers by what the administrator's guide says of them.

Documentation/admin-guide/kthread-cpus.rst has tables of what stays where it is, and a list of
what moves. A thread that is bound is wrong if no row names it, or if it is elsewhere than its
row says; so the guide is checked as well as the kernel.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import vm
from facts import CpuSet, Snapshot, Thread, format_cpus, parse_cpus

GUIDE = vm.ROOT / "Documentation/admin-guide/kthread-cpus.rst"

# How the guide begins what is read here.
BOUND = ".. list-table:: Kernel threads and what is like them"
OTHERS = "Not kernel threads, although they look like some:"
MOVING = "These move to the list although"
UNMOVED = "Not moved are managed interrupts"

NO_CPUS: CpuSet = frozenset()


class GuideError(Exception):
    """The guide says something that this program cannot read."""


# The guide -----------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What the guide says of threads: `what` it calls them, their names, and where they run."""

    what: str
    names: tuple[re.Pattern[str], ...]
    where: str = ""

    def match(self, name: str) -> re.Match[str] | None:
        """Returns the name if it is one of these; the first group is the number in it."""
        found = (pattern.fullmatch(name) for pattern in self.names)
        return next((match for match in found if match), None)


@dataclass(frozen=True)
class Guide:
    """The guide: rows of what is bound, of what is no kernel thread, and of what moves.

    `unmoved` has the flags of interrupts that are not moved.
    """

    bound: tuple[Row, ...]
    others: tuple[Row, ...]
    moving: tuple[Row, ...]
    unmoved: frozenset[str]


# What the guide calls by other words than the name.
IN_WORDS = {
    "nfsd": r"nfsd",
    "connection threads of the iSCSI target": r"iscsi_t[rt]x",
    "DRBD": r"drbd_.*",
    "file systems": r"(?:jbd2|xfsaild)/.*|btrfs-.*",
    "md": r"md\w*_raid\d+",
    "device mapper": r"dmcrypt_write/.*|dm-.*",
}

# Which flag an interrupt has (kernel/irq/debugfs.c) that the guide says is not moved.
UNMOVED_FLAGS = {
    "managed interrupts": "IRQD_AFFINITY_MANAGED",
    "those of one CPU": "IRQD_PER_CPU",
    "those that must not be balanced": "IRQD_NO_BALANCING",
}


def pattern(name: str) -> re.Pattern[str]:
    """Returns what fits a name of the guide: N stands for a number, * for anything."""
    parts = {"N": r"(\d+)", "*": ".*"}
    return re.compile("".join(parts.get(char) or re.escape(char) for char in name))


def named(text: str) -> tuple[re.Pattern[str], ...]:
    """Returns what fits the names in a text."""
    return tuple(pattern(name) for name in re.findall(r"``([^`]+)``", text))


def plain(text: str) -> str:
    """Returns a text without markup."""
    return " ".join(text.replace("`", "").split())


def paragraph(text: str, begin: str) -> str:
    """Returns the paragraph that begins so."""
    match = re.search(rf"^{re.escape(begin)}.*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    if not match:
        raise GuideError(f"the guide has no paragraph {begin!r}")
    return " ".join(match[0].split())


def table(text: str, begin: str) -> list[Row]:
    """Returns the rows of the first list-table from `begin` on."""
    start = text.find(".. list-table::", max(0, text.find(begin)))
    if begin not in text or start < 0:
        raise GuideError(f"the guide has no table behind {begin!r}")
    rows: list[list[str]] = []
    for line in text[start:].splitlines()[1:]:
        if line and not line.startswith(" "):
            break
        if match := re.match(r"   ([* ]) - (.*)", line):
            if match[1] == "*":
                rows.append([])
            rows[-1].append(match[2])
        elif rows:
            rows[-1][-1] += f" {line.strip()}"
    if not rows or rows[0][:2] != ["What", "Where it runs"] or min(map(len, rows)) < 2:
        raise GuideError(f"the table behind {begin!r} has other columns")
    return [Row(plain(what), named(what), plain(where)) for what, where, *_ in rows[1:]]


def read_guide(text: str) -> Guide:
    """Reads the guide."""
    bound = table(text, BOUND)
    if unknown := [f"{row.what}: {row.where}" for row in bound if row.where not in WHERE]:
        raise GuideError(f"the guide has places that account.py does not know: {unknown}")
    moving = paragraph(text, MOVING)
    rows = [Row(name, (pattern(name),)) for name in re.findall(r"``([^`]+)``", moving)]
    rows += [
        Row(words, (re.compile(names),))
        for words, names in IN_WORDS.items()
        if re.search(rf"\b{words}\b", moving)
    ]
    unmoved = paragraph(text, UNMOVED)
    return Guide(
        bound=tuple(bound),
        others=tuple(table(text, OTHERS)),
        moving=tuple(rows),
        unmoved=frozenset(flag for words, flag in UNMOVED_FLAGS.items() if words in unmoved),
    )


# Threads -------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """A thread that a row names: its number is what stands for N, if anything does."""

    thread: Thread
    number: int | None
    snapshot: Snapshot
    confined: CpuSet

    @property
    def cpu(self) -> CpuSet:
        """The CPU that it is named after; any, if it is not."""
        if self.number is None:
            return self.snapshot.possible
        # Workers of a CPU that is offline go where others are.
        return frozenset({self.number}) if self.number in self.snapshot.online else self.confined

    @property
    def anywhere(self) -> CpuSet:
        """Every CPU."""
        return self.snapshot.possible

    @property
    def helped(self) -> CpuSet:
        """The CPUs that a rescuer may have, any while it helps: whom is not known."""
        return self.anywhere if self.thread.rescuing else self.confined

    @property
    def interrupt(self) -> CpuSet:
        """The CPUs of its interrupt."""
        irqs = [irq for irq in self.snapshot.irqs if irq.number == self.thread.irq]
        return frozenset().union(*(irq.affinity | irq.effective for irq in irqs))


INTERRUPT = "the CPUs of the interrupt"
DOMAIN = "the CPUs of the frequency domain"
RESCUER = "the CPUs of the workers that it helps"

# What the guide says of where threads run, and the CPUs that they may have then.
WHERE: dict[str, Callable[[Seen], CpuSet]] = {
    "CPU N": lambda seen: seen.cpu,
    RESCUER: lambda seen: seen.helped,
    INTERRUPT: lambda seen: seen.interrupt,
    DOMAIN: lambda seen: seen.anywhere,
    "CPU N, or those of tracing_cpumask": lambda seen: seen.cpu,
    "one CPU, or one after the other": lambda seen: seen.anywhere,
    "where the test wants": lambda seen: seen.anywhere,
}
# These follow the list where they have nothing to follow.
FREE_AT_TIMES = (INTERRUPT, DOMAIN)


@dataclass
class Account:
    """How many there are of each kind and of each row, and which are not where they must be."""

    counts: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def account_threads(guide: Guide, snapshot: Snapshot, confined: CpuSet) -> Account:
    """Accounts for every kernel thread."""
    result = Account()
    for thread in snapshot.threads:
        if not thread.kthread:
            continue
        found = ((row, row.match(thread.name)) for row in guide.bound)
        row, match = next(((row, match) for row, match in found if match), (None, None))
        free = thread.managed and (row is None or row.where in FREE_AT_TIMES)
        if free or thread.unbound_worker:
            kind = "managed" if free else "unbound worker"
            right = confined
        elif row is not None:
            number = int(match[1]) if match.re.groups else None
            kind = row.where
            right = WHERE[kind](Seen(thread, number, snapshot, confined))
        else:
            kind, right = "in no table", NO_CPUS
        result.counts[kind] += 1
        if row is not None:
            result.rows[row.what] += 1
        if not thread.allowed <= right:
            place = format_cpus(thread.allowed)
            result.wrong.append(f"{thread.name} ({thread.pid}), {kind}: {place}")
    return result


def account_moving(guide: Guide, snapshot: Snapshot, confined: CpuSet) -> Account:
    """Accounts for the threads that move although one might not think so."""
    result = Account()
    for thread in snapshot.threads:
        rows = [row for row in guide.moving if thread.kthread and row.match(thread.name)]
        result.rows.update(row.what for row in rows)
        if rows and not (thread.managed and thread.allowed <= confined):
            bound = "bound" if thread.bound else "free"
            result.wrong.append(f"{thread.name}, {bound}: {format_cpus(thread.allowed)}")
    return result


# Interrupts ----------------------------------------------------------------------


@dataclass(frozen=True)
class Interrupt:
    """An interrupt that has a handler: where it goes, and where it fired while it was looked at."""

    number: int
    effective: CpuSet
    fired: CpuSet
    flags: frozenset[str]
    name: str


def read_interrupts(lines: Iterable[str]) -> list[Interrupt]:
    """Reads what the action "interrupts" has printed."""
    found = []
    for line in lines:
        number, effective, fired, flags, name = line.split(":", 4)
        places = parse_cpus(effective), parse_cpus(fired)
        found.append(Interrupt(int(number), *places, frozenset(flags.split(",")), name))
    return found


def account_interrupts(guide: Guide, found: Iterable[Interrupt], confined: CpuSet) -> Account:
    """Accounts for every interrupt: it is on the list, or the guide says why not."""
    result = Account()
    for irq in found:
        reasons = sorted(irq.flags & guide.unmoved)
        kind = reasons[0] if reasons else "confined"
        result.counts[kind] += 1
        if not reasons and not irq.effective | irq.fired <= confined:
            places = f"goes to {format_cpus(irq.effective)}, fired on {format_cpus(irq.fired)}"
            result.wrong.append(f"{irq.number} ({irq.name}) {places}")
    return result


# Timers --------------------------------------------------------------------------


@dataclass(frozen=True)
class Expiry:
    """How often timers of a function that waited on a CPU have expired on that or another one."""

    function: str
    pinned: bool
    armed: int
    expired: int
    count: int


def read_expiries(lines: Iterable[str]) -> list[Expiry]:
    """Reads what the action "expiries" has printed."""
    found = []
    for line in lines:
        function, kind, *numbers = line.split(":")
        armed, expired, count = map(int, numbers)
        found.append(Expiry(function, kind == "pinned", armed, expired, count))
    return found


def account_timers(found: Iterable[Expiry], confined: CpuSet) -> Account:
    """Accounts for timers: those of another CPU are for CPUs of the list to handle."""
    result = Account()
    for timer in found:
        foreign = not timer.pinned and timer.armed != timer.expired
        kind = "foreign" if foreign else "pinned" if timer.pinned else "own"
        result.counts[kind] += timer.count
        if foreign and timer.expired not in confined:
            places = f"of CPU {timer.armed} on CPU {timer.expired}"
            result.wrong.append(f"{timer.function} {places}: {timer.count}")
    return result
