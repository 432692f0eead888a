#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Records a trace of this machine as a test of `watch`: record.py DIRECTORY, as root.

It makes the files of tests/data/trace: what /proc and /sys say of the machine and its tracing
(`tree.txt`), the pages of the trace buffers (`pages.txt`), and how often what ran, counted in the
text that the kernel itself makes of the same buffers (`counts.txt`). CPU 0 is for kernel threads,
CPU 1 is outside. Meanwhile it plants some disturbances.
"""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

TRACING = Path("/sys/kernel/tracing")
# The events of CPU 1. Those that are also needed from CPU 0 are marked.
EVENTS = [
    ("sched/sched_switch", True),
    ("sched/sched_waking", True),
    ("workqueue/workqueue_queue_work", True),
    ("workqueue/workqueue_execute_start", True),
    ("workqueue/workqueue_execute_end", True),
    ("irq/softirq_raise", False),
    ("irq/softirq_entry", False),
    ("irq/softirq_exit", False),
    ("timer/timer_start", True),
    ("timer/timer_expire_entry", False),
    ("timer/timer_expire_exit", False),
    ("timer/hrtimer_start", True),
    ("timer/hrtimer_expire_entry", False),
    ("timer/hrtimer_expire_exit", False),
    ("irq/irq_handler_entry", False),
    ("irq/irq_handler_exit", False),
    ("csd/csd_queue_cpu", True),
    ("csd/csd_function_entry", False),
    ("csd/csd_function_exit", False),
    ("ipi/ipi_send_cpu", True),
    ("ipi/ipi_send_cpumask", True),
    ("nmi/nmi_handler", False),
]
FILES = [
    "/proc/sys/kernel/osrelease",
    "/sys/devices/system/cpu/possible",
    "/sys/devices/system/cpu/present",
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/isolated",
    "/sys/devices/system/node/node0/cpulist",
    "/sys/devices/virtual/workqueue/cpumask",
    "/proc/irq/default_smp_affinity",
    "/sys/kernel/tracing/events/header_page",
]
# What begins with which event and ends with which, what tells it from others, and its name.
PAIRS = [
    ("softirq", "softirq_entry", "softirq_exit", r"vec=(\d+)", r"action=(\w+)"),
    ("timer", "timer_expire_entry", "timer_expire_exit", r"^timer=(\S+)", r"function=(\w+)"),
    ("timer", "hrtimer_expire_entry", "hrtimer_expire_exit", r"hrtimer=(\S+)", r"function=(\w+)"),
    ("irq", "irq_handler_entry", "irq_handler_exit", r"irq=(\d+)", r"irq=(\d+)"),
    ("ipi", "csd_function_entry", "csd_function_exit", r"csd=(\S+)", r"func=(\w+)"),
    (
        "work",
        "workqueue_execute_start",
        "workqueue_execute_end",
        r"struct (\w+)",
        r"function (\w+)",
    ),
]


def text(path: Path) -> str:
    """Read a file; `header_page` says all it has once for each read."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)
            if path.name == "header_page":
                break
        return b"".join(parts).decode(errors="replace")
    finally:
        os.close(descriptor)


def instance(name: str, mask: str, events: list[str]) -> Path:
    """Make a tracing instance that records nothing yet."""
    path = TRACING / "instances" / name
    path.mkdir()
    (path / "tracing_on").write_text("0")
    (path / "tracing_cpumask").write_text(mask)
    (path / "trace_clock").write_text("mono")
    for event in events:
        (path / "events" / event / "enable").write_text("1")
    return path


def plant(inside: Path) -> None:
    """Work for all CPUs, code that is patched by CPU 0, I/O on CPU 1, and a timer there."""
    os.sched_setaffinity(0, {0})
    Path("/proc/sys/vm/compact_memory").write_text("1")
    for value in "10":
        (inside / "events/task/task_rename/enable").write_text(value)
    os.sched_setaffinity(0, {1})
    scratch = Path("/var/tmp/record.tmp")
    with scratch.open("wb") as file:
        file.write(b"x" * 65536)
        file.flush()
        os.fsync(file.fileno())
    scratch.unlink()
    time.sleep(0.05)
    os.sched_setaffinity(0, {0, 1})


def count(trace: str) -> Counter[tuple[str, str]]:
    """Count what has begun and ended on CPU 1."""
    found: Counter[tuple[str, str]] = Counter()
    begun: dict[tuple[str, str], str] = {}
    line = re.compile(r"\[0*1\] \S+ +[\d.]+: (\w+): (.*)")
    for event, rest in line.findall(trace):
        for kind, begin, end, key, name in PAIRS:
            if event not in (begin, end):
                continue
            which = kind, re.findall(key, rest)[0]
            if event == begin:
                begun[which] = re.findall(name, rest)[0]
            elif what := begun.pop(which, None):
                found[kind, what] += 1
    return found


def pages(out: Path, buffers: list[tuple[Path, int]]) -> None:
    """Write what is in the buffers, each page with its CPU."""
    with out.open("w", encoding="ascii") as file:
        for one, cpu in buffers:
            path = one / f"per_cpu/cpu{cpu}/trace_pipe_raw"
            raw = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                while page := os.read(raw, 4096).rstrip(b"\0"):
                    file.write(f"{cpu} {page.hex()}\n")
            except BlockingIOError:
                # That was all.
                pass
            finally:
                os.close(raw)


def content(path: Path) -> str:
    """Read what is of interest of a file."""
    whole = text(path)
    if path.name == "status":
        return "".join(re.findall(r"^(?:Name|Cpus_allowed_list):.*\n", whole, re.MULTILINE))
    if path.name == "format" and path.parent.name != "softirq_entry":
        return whole.split("\nprint fmt")[0]
    return whole


def tree(out: Path, events: list[str], functions: set[str]) -> None:
    """Write what /proc and /sys say."""
    command = ["pgrep", "-P", "2"]
    threads = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    paths = [Path(name) for name in FILES]
    paths += [TRACING / "events" / event / "format" for event in [*events, "ftrace/kernel_stack"]]
    paths += [Path("/proc") / pid / name for pid in ["2", *threads] for name in ("stat", "status")]
    names = "|".join(map(re.escape, sorted(functions)))
    pattern = rf"^\S+ [tTwW] (?:{names})(?:\.\S+)?$"
    symbols = re.findall(pattern, text(Path("/proc/kallsyms")), re.MULTILINE)
    with out.open("w", encoding="utf-8") as file:
        for path in filter(Path.exists, paths):
            file.write(f"== {str(path)[1:]}\n{content(path).rstrip()}\n")
        file.write("== proc/kallsyms\n" + "\n".join(symbols) + "\n")


def main() -> None:
    """Record."""
    directory = Path(sys.argv[1])
    vectors = [
        f"irq_vectors/{path.name}"
        for path in (TRACING / "events/irq_vectors").iterdir()
        if path.name.endswith(("_entry", "_exit"))
    ]
    events = [event for event, _ in EVENTS] + vectors
    outside = instance("record.outside", "2", events)
    inside = instance("record.inside", "1", [event for event, both in EVENTS if both])
    both = [(inside, 0), (outside, 1)]
    try:
        for one, _ in both:
            (one / "tracing_on").write_text("1")
        plant(inside)
        for one, _ in both:
            (one / "tracing_on").write_text("0")
        found = count(text(outside / "trace"))
        pages(directory / "pages.txt", both)
    finally:
        inside.rmdir()
        outside.rmdir()

    lines = [f"{kind} {name} {times}\n" for (kind, name), times in sorted(found.items())]
    (directory / "counts.txt").write_text("".join(lines))
    tree(directory / "tree.txt", events, {name for kind, name in found if kind != "softirq"})


main()
