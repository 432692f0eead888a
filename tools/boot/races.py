# SPDX-License-Identifier: GPL-2.0
"""Data races that KCSAN reports, and which of them are in the series' own files.

Mainline has data races of its own, also ones that are meant. Which of them is seen is a
matter of chance, so a boot without the option is no reference: a race is judged by the
functions in which the two accesses are.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from facts import LogLine

# kernel/kcsan/core.c
ENABLED = "kcsan: enabled early"
# What kernel/kcsan/report.c prints.
RULE = "=" * 66
TITLE = re.compile(r"BUG: KCSAN: (.*)")
ACCESS = re.compile(r"\b(read|write|assert no \w+)\b.* by (task|interrupt|softirq)")
FRAME = re.compile(r"([\w.$]+)\+0x[0-9a-f]+/0x[0-9a-f]+")
OTHER = re.compile(
    r"$|value changed: |bits changed: |Reported by Kernel Concurrency|\||\+-> reordered"
    r"|CPU: \d+ UID: |Hardware name: |Tainted: "
)
# An access is often in a helper. What a helper of mainline calls in turn, is mainline's.
DEPTH = 2


@dataclass(frozen=True)
class Race:
    """A report: its title, and the call chains of its accesses, innermost first."""

    title: str
    accesses: tuple[tuple[str, ...], ...]

    def touches(self, functions: frozenset[str]) -> bool:
        """Whether one of the accesses is made by, or shortly for, one of the functions."""
        return any(
            name.partition(".")[0] in functions
            for frames in self.accesses
            for name in frames[:DEPTH]
        )


def split(log: Iterable[LogLine]) -> tuple[list[Race], list[LogLine]]:
    """Returns the reports of a log, and its other lines, also those amid a report.

    A report whose beginning is not in the log is left out.
    """
    found: list[Race] = []
    rest: list[LogLine] = []
    title = ""
    accesses: list[list[str]] = []
    inside = False
    lines = list(log)
    for line, following in zip_longest(lines, lines[1:]):
        text = line.text.strip()
        if text == RULE and inside:
            found.append(Race(title, tuple(tuple(frames) for frames in accesses)))
            inside = False
        elif text == RULE and following and TITLE.search(following.text):
            inside, accesses = True, []
        elif text == RULE:
            rest.clear()
        elif not inside:
            rest.append(line)
        elif head := TITLE.search(text):
            title = head[1]
        elif ACCESS.search(text):
            accesses.append([])
        elif (frame := FRAME.match(text)) and accesses:
            accesses[-1].append(frame[1])
        elif not OTHER.match(text):
            rest.append(line)
    return found, rest


def functions_of(objects: Iterable[Path]) -> frozenset[str]:
    """Returns the functions that are defined in these objects."""
    names: set[str] = set()
    for path in objects:
        table = subprocess.run(
            ["nm", "--defined-only", "--format=posix", path],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        names.update(
            words[0].partition(".")[0]
            for words in map(str.split, table.splitlines())
            if words[1] in "tT"
        )
    return frozenset(names)
