# SPDX-License-Identifier: GPL-2.0
"""How the reports of KCSAN are found in a log, and whose they are."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from facts import LogLine
from races import RULE, Race, functions_of, split

if TYPE_CHECKING:
    from pathlib import Path

# As kernel/kcsan/report.c prints them.
BETWEEN = f"""\
{RULE}
BUG: KCSAN: data-race in kthread_affinity_set / wake_up_q

write to 0xffff888003ae1234 of 8 bytes by task 2 on cpu 1:
 __cpumask_copy+0x12/0x40
 kthread_affinity_set.part.0+0x55/0x80
 kthreadd+0x1a/0x2b0

read to 0xffff888003ae1234 of 8 bytes by interrupt on cpu 3:
 wake_up_q+0x81/0xf0
 ret_from_fork_asm+0x1a/0x30

value changed: 0x0000000000000001 -> 0x0000000000000003

Reported by Kernel Concurrency Sanitizer on:
CPU: 3 UID: 0 PID: 77 Comm: swapper/3 Not tainted 7.3.4 #1 PREEMPT(full)
Hardware name: QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.2-debian-1.16.2-1 04/01/2014
{RULE}
"""
UNKNOWN = f"""\
{RULE}
BUG: KCSAN: data-race in proc_pid_status+0x1/0x20

race at unknown origin, with read to 0xffff888003ae1234 of 8 bytes by task 9 on cpu 1:
 proc_pid_status+0x1/0x20
{RULE}
"""


def log(text: str) -> list[LogLine]:
    """A log of these lines."""
    return [LogLine(line) for line in text.splitlines()]


def texts(lines: list[LogLine]) -> list[str]:
    """The texts of log lines."""
    return [line.text for line in lines]


def test_reports() -> None:
    """Both kinds of reports are found with their call chains, and nothing else is taken away."""
    found, rest = split(log(f"before\n{BETWEEN}amid\n{UNKNOWN}after\n"))
    assert [race.title for race in found] == [
        "data-race in kthread_affinity_set / wake_up_q",
        "data-race in proc_pid_status+0x1/0x20",
    ]
    assert found[0].accesses == (
        ("__cpumask_copy", "kthread_affinity_set.part.0", "kthreadd"),
        ("wake_up_q", "ret_from_fork_asm"),
    )
    assert found[1].accesses == (("proc_pid_status",),)
    assert texts(rest) == ["before", "amid", "after"]


def test_lines_of_others_amid_a_report_stay() -> None:
    """What another CPU says meanwhile is not lost: it may be a complaint."""
    other = "WARNING: kernel/foo.c:1 at foo+0x1/0x2, CPU#0: foo/1"
    changed = BETWEEN.replace("\nvalue changed", f"\n{other}\nvalue changed")
    found, rest = split(log(changed))
    assert len(found) == 1
    assert texts(rest) == [other]


def test_log_that_begins_amid_a_report() -> None:
    """The ring buffer has lost the beginning: what is left of the report is no complaint."""
    found, rest = split(log(BETWEEN.split("\n\n", 1)[1] + "after\n" + UNKNOWN))
    assert [race.title for race in found] == ["data-race in proc_pid_status+0x1/0x20"]
    assert texts(rest) == ["after"]


def test_log_that_ends_amid_a_report() -> None:
    """It is not counted, as its chains may be cut."""
    assert split(log("before\n" + BETWEEN.rsplit("\n", 2)[0])) == ([], log("before"))


@pytest.mark.parametrize(
    ("functions", "ours"),
    [
        ({"kthread_affinity_set"}, True),
        ({"__cpumask_copy"}, True),
        ({"wake_up_q"}, True),
        ({"ret_from_fork_asm", "wake"}, True),
        ({"kthread_affinity", "wake"}, False),
        ({"far"}, False),
    ],
)
def test_touches(functions: set[str], ours: bool) -> None:
    """An access counts by its innermost functions, whatever the compiler made of their names."""
    (race,), _ = split(log(BETWEEN))
    assert race.touches(frozenset(functions)) == ours
    deep = Race("x", (("a", "b", "far"),))
    assert not deep.touches(frozenset({"far"}))


def test_functions_of(tmp_path: Path) -> None:
    """They are read from the objects; what these only use is not theirs."""
    source = tmp_path / "a.c"
    source.write_text("int b(void); static int c(void) { return b(); } int a(void) { return c(); }")
    subprocess.run(["gcc", "-O0", "-c", source, "-o", tmp_path / "a.o"], check=True)
    assert functions_of([tmp_path / "a.o"]) == {"a", "c"}
    assert functions_of([]) == frozenset()
