# SPDX-License-Identifier: GPL-2.0
"""Reads the "@kb" lines of the measuring guest and makes figures of them.

A figure has a name such as `step/online/stay/8192`. Everything but memory is in
instructions: under `-icount shift=0` a guest's nanosecond is one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

Figures = dict[str, float]

STEP_LINE = re.compile(
    r"trace go=(?P<go>\w+) case=(?P<case>\w+) count=(?P<count>\d+) "
    r".*\s(?P<time>\d+): cpuhp_(?P<edge>enter|exit): +cpu: (?P<cpu>\d+) "
)
PARSER_LINE = re.compile(r"parser bits=(\d+) c=(\d+) rust=(\d+) name=(.*)")
BOOT_LINE = re.compile(r"boot \[ *(\d+)\.(\d{6})\] Run \S+ as init process$")


class BadOutput(Exception):
    """The guest did not measure what it should have."""


def words(text: str) -> dict[str, str]:
    """Returns the KEY=VALUE words of a line."""
    return dict(word.split("=", 1) for word in text.split() if "=" in word)


def guest_lines(console: str) -> list[str]:
    """Returns what the guest says with "@kb", in order, without that."""
    lines = [line for line in console.replace("\r", "").splitlines() if line.startswith("@kb ")]
    lines = [line.removeprefix("@kb ") for line in lines]
    for line in lines:
        if line.startswith("broken "):
            raise BadOutput(f"the guest says: {line.removeprefix('broken ')}")
    if not lines or not lines[0].startswith("begin "):
        raise BadOutput("the guest has not begun to measure")
    return lines


def step_costs(lines: Iterable[str]) -> Figures:
    """Returns the median cost of the step, for each direction, case and number of threads."""
    costs: dict[str, list[int]] = {}
    entered: tuple[str, str, int] | None = None
    for line in lines:
        if not line.startswith("trace "):
            continue
        match = STEP_LINE.match(line)
        if match is None:
            raise BadOutput(f"not a trace line: {line}")
        name = f"step/{match['go']}/{match['case']}/{match['count']}"
        time = int(match["time"])
        if match["edge"] == "enter":
            if entered is not None:
                raise BadOutput(f"entered twice: {line}")
            entered = (name, match["cpu"], time)
        else:
            if entered is None or entered[:2] != (name, match["cpu"]):
                raise BadOutput(f"left but not entered: {line}")
            costs.setdefault(name, []).append(time - entered[2])
            entered = None
    if entered is not None:
        raise BadOutput(f"entered but not left: {entered[0]}")
    return {name: median(cost) for name, cost in costs.items()}


def check_moves(lines: Iterable[str]) -> None:
    """Raises BadOutput unless the threads that had to come back were away and came back."""
    for line in lines:
        if line.startswith("moved "):
            word = words(line)
            if word["before"] == word["after"]:
                raise BadOutput(f"the threads of case {word['case']} did not move: {line}")


def median_costs(lines: Iterable[str], what: str, key: str) -> Figures:
    """Returns the medians that lines of that kind tell: `WHAT/KIND/VALUE OF KEY`."""
    told = [words(line) for line in lines if line.startswith(f"{what} ")]
    return {f"{what}/{word['kind']}/{word[key]}": float(word["median"]) for word in told}


def crs_costs(lines: Iterable[str]) -> Figures:
    """Returns the median cost of create + run + stop, for each kind and number of others."""
    return median_costs(lines, "crs", "others")


def timer_costs(lines: Iterable[str]) -> Figures:
    """Returns the median cost of a timer, for each kind and the CPU that it is armed on."""
    return median_costs(lines, "timer", "cpu")


def boot_cost(lines: Iterable[str]) -> Figures:
    """Returns the kernel's clock when it starts PID 1, in nanoseconds."""
    for line in lines:
        if line.startswith("boot "):
            match = BOOT_LINE.match(line)
            if match is None:
                raise BadOutput(f"no time of boot in: {line}")
            return {"boot/init": (int(match[1]) * 1_000_000 + int(match[2])) * 1000.0}
    raise BadOutput("the guest does not say when it was started")


def parser_costs(lines: Iterable[str]) -> Figures:
    """Returns the costs of both parsers for each list: `LANGUAGE/parser/NAME/BITS`."""
    costs = {}
    for line in lines:
        if line.startswith("parser "):
            match = PARSER_LINE.fullmatch(line)
            if match is None:
                raise BadOutput(f"not the cost of a list: {line}")
            bits, c, rust, name = match.groups()
            costs[f"c/parser/{name}/{bits}"] = float(c)
            costs[f"rust/parser/{name}/{bits}"] = float(rust)
    return costs


def side_of(measured: Mapping[str, float], language: str) -> Figures:
    """Returns the figures of one side: of the parsers only the one in that language."""
    others = {"c": "rust/", "rust": "c/"}[language]
    return {
        name.removeprefix(f"{language}/"): value
        for name, value in measured.items()
        if not name.startswith(others)
    }


def memory_costs(lines: Iterable[str]) -> Figures:
    """Returns the bytes that a thread has allocated and keeps, for each kind."""
    costs = {}
    for line in lines:
        if line.startswith("memory "):
            word = words(line)
            if word["lost"] != "0" or word["events"] == "0":
                raise BadOutput(f"the trace of the allocations has holes: {line}")
            costs[f"memory/{word['kind']}"] = int(word["bytes"]) / int(word["threads"])
    return costs


# KTHREADS_AT_ONCE in kernel/kthread_cpus/affinity.c.
AT_ONCE = 64


def hold_costs(lines: Iterable[str]) -> Figures:
    """Returns the longest time that the engine's lock was held, for each kind of threads."""
    costs = {}
    for line in lines:
        if line.startswith("hold "):
            word = words(line)
            # In each change, all threads are taken from the registry, which is under the lock.
            if int(word["holds"]) * AT_ONCE < int(word["threads"]) * int(word["changes"]):
                raise BadOutput(f"not every hold of the lock was seen: {line}")
            costs[f"hold/{word['kind']}/{word['threads']}"] = float(word["longest"])
    return costs


def create_costs(lines: Iterable[str]) -> Figures:
    """Returns the median and the longest creation while others move, for each kind."""
    costs = {}
    for line in lines:
        if line.startswith("create "):
            word = words(line)
            if word["changes"] == "0":
                raise BadOutput(f"nothing was changed meanwhile: {line}")
            costs[f"create/{word['kind']}/median"] = float(word["median"])
            costs[f"create/{word['kind']}/longest"] = float(word["max"])
    return costs


def change_of(measured: Mapping[str, float]) -> Figures:
    """Returns only what was measured while the CPUs of kthread_cpus= changed."""
    return {
        name: value
        for name, value in measured.items()
        if name.startswith(("hold/", "create/", "timer/"))
    }


def memory_of(measured: Mapping[str, float], nr_cpus: int) -> Figures:
    """Returns only the memory, as that of a kernel for so many CPUs: `memory/KIND/NR_CPUS`."""
    return {
        f"{name}/{nr_cpus}": value for name, value in measured.items() if name.startswith("memory/")
    }


def size_costs(text: str, nr_cpus: int) -> Figures:
    """Returns what `size` (Berkeley's format) has printed of one file: `size/PART/NR_CPUS`."""
    lines = [line.split() for line in text.splitlines()]
    if len(lines) != 2 or lines[0][:3] != ["text", "data", "bss"]:
        raise BadOutput(f"not the size of one file: {text!r}")
    parts = zip(lines[0][:3], lines[1], strict=False)
    return {f"size/{part}/{nr_cpus}": float(value) for part, value in parts}


def read_console(console: str) -> Figures:
    """Returns all figures of one run of the guest."""
    lines = guest_lines(console)
    check_moves(lines)
    figures = step_costs(lines) | memory_costs(lines) | hold_costs(lines) | create_costs(lines)
    if not figures:
        raise BadOutput("no step was traced, no memory and no change")
    figures |= crs_costs(lines) | timer_costs(lines)
    return figures | boot_cost(lines) | parser_costs(lines)


def medians(runs: Iterable[Mapping[str, float]]) -> Figures:
    """Returns the median of each figure over several images."""
    values: dict[str, list[float]] = {}
    for run in runs:
        for name, value in run.items():
            values.setdefault(name, []).append(value)
    return {name: median(value) for name, value in values.items()}


@dataclass(frozen=True)
class Limit:
    """What a figure of the patched kernel may be.

    `figure` is a pattern of whole names. The figure, or its ratio to the unpatched
    kernel's, or what it has more than that, or its ratio to the figure `than` of the
    same kernel, is at most `most`.
    """

    figure: str
    kind: str
    most: float
    reason: str
    than: str = ""

    def value(self, name: str, base: Mapping[str, float], patched: Mapping[str, float]) -> float:
        """Returns what is compared with `most`."""
        if self.kind == "figure":
            return patched[name]
        if self.kind == "times":
            if self.than not in patched:
                raise BadOutput(f"there is no figure {self.than}")
            return patched[name] / patched[self.than]
        if name not in base:
            raise BadOutput(f"the unpatched kernel has no figure {name}")
        if self.kind == "more":
            return patched[name] - base[name]
        return patched[name] / base[name]


# For how many CPUs the kernels are built: NR_CPUS of scripts/config/base.config, and of
# offstack.config, where a cpumask is allocated apart.
NR_CPUS = {"small": 64, "large": 8192}

# Lists that nobody writes, of nothing but separators or with many of them, by their names.
UNUSUAL = r"(\(empty\)|,+|1,000 .*|0 and 1,000 separators)"

# The limits of the issues "The affinity engine in Rust", "Proof" and "Engine, version 2".
LIMITS = (
    *(
        Limit(f"step/online/{case}/8192", "figure", 1000, "none of 8,192 threads has to move")
        for case in ("stay", "none", "inherited", "placed")
    ),
    Limit(r"step/online/back/[1-9]\d*", "ratio", 1.0, "no more than mainline when all must move"),
    Limit(r"step/online/back/8192", "ratio", 0.85, "all of 8,192 threads come back"),
    Limit(r"scale/masks/online/masks/4096", "figure", 178_474, "no more than version 1"),
    Limit(r"crs/(unbound|node|pref)/\d+", "ratio", 1.0, "create + run + stop"),
    Limit(r"crs/placed_\w+/\d+", "ratio", 1.0, "create + run + stop, kthreadd placed"),
    *(
        Limit(
            f"create/{kind}/longest",
            "times",
            10,
            "creation while 32,768 threads move",
            than=f"create/{kind}/median",
        )
        for kind in ("unbound", "node", "pref")
    ),
    Limit(r"hold/\w+/32768", "figure", 100_000, "the lock while 32,768 threads move"),
    Limit(r"timer/(wheel|hrtimer|delayed)/\d+", "ratio", 1.01, "a timer, option absent"),
    *(
        Limit(
            f"timer/confined_{kind}/{cpu}",
            "times",
            1.1,
            "a timer with kthread_cpus=",
            than=f"timer/{kind}/{cpu}",
        )
        for kind in ("wheel", "hrtimer", "delayed")
        for cpu in (0, 3)
    ),
    Limit(r"boot/init", "ratio", 1.005, "boot to init"),
    Limit(rf"parser/(?!{UNUSUAL}/\d+$).*", "ratio", 0.8, "Rust against C"),
    Limit(rf"parser/{UNUSUAL}/\d+", "ratio", 2.0, "Rust against C, a list that nobody writes"),
    Limit(r"parser/0-8191:1/2/8192", "ratio", 0.05, "Rust does not go from group to group"),
    Limit(r"memory/\w+/\d+", "more", 16, "bytes that a thread keeps"),
    Limit(r"size/text/\d+", "more", 45 * 1024, "code and constants"),
)


@dataclass(frozen=True)
class Verdict:
    """What came of a limit for one figure."""

    name: str
    limit: Limit
    value: float

    @property
    def kept(self) -> bool:
        """Whether the limit was kept."""
        return self.value <= self.limit.most

    def __str__(self) -> str:
        what = {
            "figure": "",
            "ratio": " times mainline",
            "more": " more than mainline",
            "times": f" times {self.limit.than}",
        }
        return (
            f"{'ok  ' if self.kept else 'FAIL'} {self.name}: {self.value:,.6g}"
            f"{what[self.limit.kind]}, at most {self.limit.most:,g} ({self.limit.reason})"
        )


def check(
    base: Mapping[str, float], patched: Mapping[str, float], limits: Iterable[Limit] = LIMITS
) -> list[Verdict]:
    """Returns what came of every limit. Raises BadOutput when one has nothing to compare."""
    verdicts = []
    for limit in limits:
        names = [name for name in patched if re.fullmatch(limit.figure, name)]
        if not names:
            raise BadOutput(f"no figure {limit.figure} was measured ({limit.reason})")
        verdicts += [Verdict(name, limit, limit.value(name, base, patched)) for name in names]
    return verdicts


def _cell(value: float | None) -> str:
    return "n/a" if value is None else f"{value:,.0f}"


def _order(name: str) -> tuple[list[str], int]:
    *head, last = name.split("/")
    return (head, int(last)) if last.isdigit() else ([*head, last], 0)


TITLES = {
    "scale/threads/online/stay": "step online by threads, none has to move",
    "scale/threads/online/back": "step online by threads, all must come back",
    "scale/threads/offline/stay": "step offline by threads, none has to move",
    "scale/threads/offline/back": "step offline by threads, all must leave",
    "scale/masks/online/masks": "step online by distinct preferences of 8,192 threads",
    "scale/masks/offline/masks": "step offline by distinct preferences of 8,192 threads",
    "scale/cpus/online/stay": "step online by CPUs, 1,024 threads, none has to move",
    "scale/cpus/online/back": "step online by CPUs, 1,024 threads, all must come back",
    "scale/cpus/offline/stay": "step offline by CPUs, 1,024 threads, none has to move",
    "scale/cpus/offline/back": "step offline by CPUs, 1,024 threads, all must leave",
    "step/online/stay": "step online, none has to move",
    "step/online/back": "step online, all must come back",
    "step/online/none": "step online, all without a preference",
    "step/online/inherited": "step online, none has to move, kthreadd placed by user space",
    "step/online/placed": "step online, none has to move, kthreadd and all placed by user space",
    "step/offline/stay": "step offline, none has to move",
    "step/offline/back": "step offline, all must leave",
    "step/offline/none": "step offline, all without a preference",
    "step/offline/inherited": "step offline, none has to move, kthreadd placed by user space",
    "step/offline/placed": "step offline, none has to move, kthreadd and all placed by user space",
    "crs/unbound": "create + run + stop, unbound",
    "crs/node": "create + run + stop, on a node",
    "crs/pref": "create + run + stop, with a preference",
    "crs/placed_unbound": "create + run + stop, unbound, kthreadd placed by user space",
    "crs/placed_node": "create + run + stop, on a node, kthreadd placed by user space",
    "crs/placed_pref": "create + run + stop, with a preference, kthreadd placed by user space",
    "create/unbound": "create + run + stop while 32,768 others move, unbound",
    "create/node": "create + run + stop while 32,768 others move, on a node",
    "create/pref": "create + run + stop while 32,768 others move, with a preference",
    **{
        f"timer/{prefix}{kind}": f"{what} armed and taken back{where}, by CPU"
        for prefix, where in (("", ""), ("confined_", ", kthread_cpus=0-1"))
        for kind, what in (
            ("wheel", "timer"),
            ("hrtimer", "high-resolution timer"),
            ("delayed", "delayed work"),
        )
    },
    "hold/unbound": "longest hold of the engine's lock while all move, unbound",
    "hold/prefs": "longest hold of the engine's lock while all move, 15 different preferences",
    "boot/init": "boot to init",
    "memory/unbound": "bytes a thread keeps, unbound, by NR_CPUS",
    "memory/node": "bytes a thread keeps, on a node, by NR_CPUS",
    "memory/pref": "bytes a thread keeps, with one preference for all, by NR_CPUS",
    "memory/prefs": "bytes a thread keeps, with 15 different preferences, by NR_CPUS",
    "size/text": "bytes of code and constants, by NR_CPUS",
    "size/data": "bytes of data, by NR_CPUS",
    "size/bss": "bytes of zeroed data, by NR_CPUS",
}


def is_parser(name: str) -> bool:
    """Whether a figure is of the parsers: C's is the unpatched one, and Rust's the patched."""
    return name.startswith("parser/")


def _title(name: str) -> tuple[str, str]:
    """Returns what a figure is called in a table, and its number."""
    head, _, last = name.rpartition("/")
    if is_parser(name):
        return f"`{head.removeprefix('parser/')}`", last
    return (TITLES[name], "") if name in TITLES else (TITLES.get(head, name), last)


def table(
    base: Mapping[str, float],
    patched: Mapping[str, float],
    columns: tuple[str, str, str, str] = ("what", "number", "unpatched", "patched"),
) -> str:
    """Returns a markdown table of all figures."""
    rows = [
        f"| {' | '.join(columns)} | {columns[3]} / {columns[2]} |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name in sorted({*base, *patched}, key=_order):
        title, count = _title(name)
        ratio = "n/a"
        if base.get(name) and name in patched:
            ratio = f"{patched[name] / base[name]:.4g}"
        rows.append(
            f"| {title} | {f'{int(count):,}' if count.isdigit() else count} | "
            f"{_cell(base.get(name))} | {_cell(patched.get(name))} | {ratio} |"
        )
    return "\n".join(rows)


def tables(base: Mapping[str, float], patched: Mapping[str, float]) -> tuple[str, str]:
    """Returns the table of the kernels, and that of the parsers."""

    def part(figures: Mapping[str, float], *, parsers: bool) -> Figures:
        return {name: value for name, value in figures.items() if is_parser(name) == parsers}

    return (
        table(part(base, parsers=False), part(patched, parsers=False)),
        table(part(base, parsers=True), part(patched, parsers=True), ("list", "bits", "C", "Rust")),
    )
