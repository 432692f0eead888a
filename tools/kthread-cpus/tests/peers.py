# SPDX-License-Identifier: GPL-2.0
"""Compares what `watch` counts with what trace-cmd and perf count of the same events.

    python3 tests/peers.py path/to/kthread-cpus --results FILE

As root, with tracefs; scripts/peers sees to that. While `watch` runs beside a busy loop, the
kernel writes the same events into tracing instances of ours, and into the buffers of perf. All of
these begin before `watch` and end after it. trace-cmd reads our instances, and also the pages that
`watch` has read itself (`--raw`): the latter tell with which event on each CPU it began and ended.
There the recordings of the others are cut, so that nothing has to be allowed for at the edges: the
numbers must be the same.

Prints the numbers, and leaves "ok NAME", "FAIL NAME: cause" or "skip NAME: cause" in FILE.
"""

from __future__ import annotations

import argparse
import bisect
import contextlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TRACING = Path("/sys/kernel/tracing")
INSTANCES = TRACING / "instances"
PAGE = os.sysconf("SC_PAGE_SIZE")
# Between two instances, an interrupt may come and have events of its own: the first event of one
# is not always at just this place in the other.
NEAR = 200
# What perf kwork and perf sched are made of.
PERF_EVENTS = (
    "sched:sched_switch",
    "workqueue:workqueue_execute_start",
    "workqueue:workqueue_execute_end",
    "irq:softirq_entry",
    "irq:softirq_exit",
    "irq:irq_handler_entry",
    "irq:irq_handler_exit",
)
# perf kwork prints no more of a name, with "(w)" before that of a function.
PERF_NAME = 29
# What is worked out for each recording anew, and what perf does not print as trace-cmd does.
VARIES = re.compile(r" \[timeout=-?\d+\]| now=\d+| prev_state=\S+")
# In the flags of /proc/PID/stat.
PF_KTHREAD = 0x0020_0000


class Event(NamedTuple):
    """An event, as somebody has printed it; the time is in nanoseconds."""

    cpu: int
    time: int
    pid: int
    name: str
    text: str

    def what(self) -> tuple[str, str]:
        """Returns what is the same in all recordings."""
        return self.name, VARIES.sub("", self.text)


class Began(NamedTuple):
    """What an event says of something that begins, or ends: its kind, which one, and its name."""

    kind: str
    which: str
    name: str


class Problem(Exception):
    """Something cannot be compared."""


# How the events say what begins: the kind, which one it is, and its name.
BEGINS = {
    "workqueue_execute_start": ("work", r"work struct (\S+): function (\S+)"),
    "softirq_entry": ("softirq", r"vec=(\d+) \[action=(\w+)\]"),
    "timer_expire_entry": ("timer", r"timer=(\S+) function=(\S+)"),
    "hrtimer_expire_entry": ("timer", r"hrtimer=(\S+) function=(\S+)"),
    "irq_handler_entry": ("irq", r"irq=(\d+) name=(.*)"),
    "csd_function_entry": ("ipi", r"func=(?P<name>\S+), csd=(?P<which>\S+)"),
}
ENDS = {
    "workqueue_execute_end": ("work", r"work struct ([^\s:]+)"),
    "softirq_exit": ("softirq", r"vec=(\d+)"),
    "timer_expire_exit": ("timer", r"timer=(\S+)"),
    "hrtimer_expire_exit": ("timer", r"hrtimer=(\S+)"),
    "irq_handler_exit": ("irq", r"irq=(\d+)"),
    "csd_function_exit": ("ipi", r"csd=(\S+)"),
}
BEGIN_PATTERNS = {event: (kind, re.compile(text)) for event, (kind, text) in BEGINS.items()}
END_PATTERNS = {event: (kind, re.compile(text)) for event, (kind, text) in ENDS.items()}
SWITCH = re.compile(r"prev_pid=(\d+) .* next_pid=(\d+) ")


def begins(event: Event, vectors: set[str]) -> Began | None:
    """Returns what begins with an event, if anything; `vectors` are interrupts of the CPU's own."""
    known = BEGIN_PATTERNS.get(event.name)
    if known is None:
        vector = event.name.removesuffix("_entry")
        return Began("vector", vector, vector) if event.name in vectors else None
    found = known[1].match(event.text)
    if found is None:
        raise Problem(f"{event.name} is printed as '{event.text}'")
    if "which" in found.groupdict():
        return Began(known[0], found["which"], found["name"])
    name = found[2].strip()
    return Began(known[0], found[1], f"{found[1]} {name}" if known[0] == "irq" else name)


def ends(event: Event) -> tuple[str, str] | None:
    """Returns what ends with an event, if anything: its kind and which one."""
    known = END_PATTERNS.get(event.name)
    found = known and known[1].search(event.text)
    return (known[0], found[1]) if known and found else None


def switched(event: Event) -> tuple[int, int]:
    """Returns who ran before a switch, and who after it."""
    found = SWITCH.search(event.text)
    if found is None:
        raise Problem(f"sched_switch is printed as '{event.text}'")
    return int(found[1]), int(found[2])


def parse_list(text: str) -> list[int]:
    """Parses a list of CPUs."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        cpus.extend(range(int(first), int(last or first) + 1))
    return cpus


def run(command: list[str], **more: object) -> str:
    """Runs a command and returns what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", **more)
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise Problem(f"{' '.join(command[:3])} ended with {done.returncode}: {last}")
    return done.stdout


# --- recordings ---------------------------------------------------------------------------------


def mask(cpus: Iterable[int]) -> str:
    """Returns CPUs as the kernel takes a mask."""
    number = f"{sum(1 << cpu for cpu in cpus):x}"
    number = number.zfill(-(-len(number) // 8) * 8)
    return ",".join(number[at : at + 8] for at in range(0, len(number), 8))


class Instance:
    """A tracing instance of ours."""

    def __init__(self, name: str, cpus: list[int], events: list[str], kib: int) -> None:
        self.path = INSTANCES / f"peers.{os.getpid()}{name}"
        self.cpus = cpus
        self.path.mkdir()
        try:
            self.set("tracing_on", "0")
            self.set("tracing_cpumask", mask(cpus))
            self.set("trace_clock", "mono")
            for cpu in cpus:
                self.set(f"per_cpu/cpu{cpu}/buffer_size_kb", str(kib))
            for event in events:
                self.set(f"events/{event.replace(':', '/')}/enable", "1")
        except OSError:
            self.remove()
            raise

    def set(self, name: str, value: str) -> None:
        """Writes a setting."""
        (self.path / name).write_text(value)

    def pages(self, cpu: int) -> bytes:
        """Returns what the buffer of a CPU has, and makes sure that it is all."""
        stats = (self.path / f"per_cpu/cpu{cpu}/stats").read_text()
        for lost in ("overrun", "dropped events"):
            found = re.search(rf"^{lost}: (\d+)", stats, re.MULTILINE)
            if found is None or int(found[1]) > 0:
                raise Problem(f"our instance lost events of CPU {cpu} ({found and found[0]})")
        pages = bytearray()
        file = os.open(self.path / f"per_cpu/cpu{cpu}/trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK)
        try:
            with contextlib.suppress(BlockingIOError):
                while page := os.read(file, PAGE):
                    pages += page.ljust(PAGE, b"\0")
        finally:
            os.close(file)
        return bytes(pages)

    def remove(self) -> None:
        """Removes it."""
        self.path.rmdir()


def raw_pages(path: Path) -> dict[int, bytes]:
    """Reads what `watch --raw` has written: the pages of each CPU."""
    data = path.read_bytes()
    pages: dict[int, bytearray] = {}
    at = 0
    while at < len(data):
        cpu, length = struct.unpack_from("<II", data, at)
        at += 8
        pages.setdefault(cpu, bytearray()).extend(data[at : at + length].ljust(PAGE, b"\0"))
        at += length
    return {cpu: bytes(found) for cpu, found in pages.items()}


def trace_cmd_lines(pages: dict[int, bytes], where: Path) -> Iterator[str]:
    """Returns the lines that trace-cmd makes of the pages of each CPU."""
    where.mkdir()
    head, whole = where / "head.dat", where / "trace.dat"
    files = []
    for cpu in range(max(pages) + 1):
        files.append(where / f"cpu{cpu}")
        files[-1].write_bytes(pages.get(cpu, b""))
    run(["trace-cmd", "restore", "-c", "-o", str(head)])
    run(["trace-cmd", "restore", "-i", str(head), "-o", str(whole), *map(str, files)])
    # Without the plugins of trace-cmd: as the kernel prints events, and so does perf.
    command = ["trace-cmd", "report", "-N", "-t", "-i", str(whole)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
    ) as report:
        assert report.stdout is not None
        yield from report.stdout
    if report.returncode != 0:
        raise Problem(f"trace-cmd report ended with {report.returncode}")


TRACE_CMD = re.compile(r".*-(\d+)\s+\[(\d+)\]\s+(\d+)\.(\d{9}):\s+(\w+):\s*(.*)$")
PERF = re.compile(r"\s*(-?\d+)\s+\[(\d+)\]\s+(\d+)\.(\d{9}):\s+\w+:(\w+):\s*(.*)$")


def parse(lines: Iterable[str], pattern: re.Pattern[str]) -> dict[int, list[Event]]:
    """Returns the events of each CPU, in their order."""
    cpus: dict[int, list[Event]] = {}
    for line in lines:
        found = pattern.match(line)
        if found is None:
            if "EVENTS DROPPED" in line or "LOST" in line:
                raise Problem(f"events were lost: {line.strip()}")
            continue
        pid, cpu, seconds, nanoseconds, name, text = found.groups()
        stamp = int(seconds) * 1_000_000_000 + int(nanoseconds)
        event = Event(int(cpu), stamp, int(pid), sys.intern(name), text.strip())
        cpus.setdefault(event.cpu, []).append(event)
    for events in cpus.values():
        events.sort(key=lambda event: event.time)
        # Of a thread that ends, perf has no number: it is the one that was switched to.
        runs = 0
        for at, event in enumerate(events):
            before, after = switched(event) if event.name == "sched_switch" else (runs, runs)
            if event.pid < 0:
                events[at] = event._replace(pid=before)
            runs = after
    return cpus


def cut(ours: list[Event], theirs: list[Event]) -> tuple[int, str]:
    """Finds the events of one recording in a longer one: which is the first, and what differs.

    They must follow one another there, with none between that is not among them. Only their order
    may differ, as an interrupt may come between two recordings of an event.
    """
    begin = bisect.bisect_left([event.time for event in theirs], ours[0].time)
    first, last = max(0, begin - NEAR), min(begin + NEAR, len(theirs) - len(ours))
    if last < first:
        return begin, f"{len(theirs)} events are fewer than {len(ours)}"
    wrong: Counter[tuple[str, str]] = Counter(event.what() for event in ours)
    wrong.subtract(event.what() for event in theirs[first : first + len(ours)])
    missing = sum(map(abs, wrong.values()))
    places = []
    for at in range(first, last + 1):
        if at > first:
            for event, by in ((theirs[at - 1], 1), (theirs[at - 1 + len(ours)], -1)):
                what = event.what()
                missing += abs(wrong[what] + by) - abs(wrong[what])
                wrong[what] += by
        # With the same at both edges there is more than one such place.
        places.append((missing, abs(theirs[at].time - ours[0].time), at))
    least, _, at = min(places)
    if least == 0:
        return at, ""
    wrong = Counter(event.what() for event in ours)
    wrong.subtract(event.what() for event in theirs[at : at + len(ours)])
    some = [f"{by:+} {' '.join(what)}" for what, by in wrong.items() if by][:4]
    return at, f"{least} events differ: {', '.join(some)}"


# --- counts -------------------------------------------------------------------------------------

Counts = Counter[tuple[str, str, int]]


class Tally:
    """What is counted in events: by kind, name and CPU."""

    def __init__(self) -> None:
        # What began, and what goes on where its thread has come to.
        self.counts: Counts = Counter()
        # What began and ended on one CPU, within the events.
        self.pairs: Counts = Counter()
        # How often a thread was there, by its number and CPU.
        self.threads: Counter[tuple[int, int]] = Counter()
        # How often it got there, which it had not where it was at the beginning.
        self.arrivals: Counter[tuple[int, int]] = Counter()
        # How often it left, or was there at the end.
        self.departures: Counter[tuple[int, int]] = Counter()
        self.switches = 0


def count(events: list[Event], vectors: set[str]) -> Tally:
    """Counts events, which are in the order of their time."""
    tally = Tally()
    seen: set[int] = set()
    open_on: dict[tuple[int, str, str], Began] = {}
    open_by: dict[int, list[Began]] = {}
    last_on: dict[int, int] = {}
    runs: dict[int, int] = {}
    for event in events:
        cpu = event.cpu
        if event.name == "sched_switch":
            before, after = switched(event)
            tally.switches += 1
            if cpu not in seen:
                seen.add(cpu)
                tally.threads[before, cpu] += 1
            tally.threads[after, cpu] += 1
            tally.arrivals[after, cpu] += 1
            tally.departures[before, cpu] += 1
            runs[cpu] = after
            last_on[before] = cpu
            # What a thread has begun elsewhere goes on here.
            if after and last_on.get(after, cpu) != cpu:
                for began in open_by.get(after, ()):
                    tally.counts[began.kind, began.name, cpu] += 1
        elif began := begins(event, vectors):
            tally.counts[began.kind, began.name, cpu] += 1
            open_on[cpu, began.kind, began.which] = began
            open_by.setdefault(event.pid, []).append(began)
        elif ended := ends(event):
            if began := open_on.pop((cpu, *ended), None):
                tally.pairs[began.kind, began.name, cpu] += 1
            left = [began for began in open_by.get(event.pid, ()) if began[:2] != ended]
            open_by[event.pid] = left
        elif event.name.removesuffix("_exit") + "_entry" in vectors:
            vector = event.name.removesuffix("_exit")
            left = [began for began in open_by.get(event.pid, ()) if began.which != vector]
            open_by[event.pid] = left
    for cpu, last in runs.items():
        tally.departures[last, cpu] += 1
    return tally


def hidden(events: list[Event]) -> set[int]:
    """Returns the threads that got to a CPU, and of which no switch tells that they left it.

    There are none on kernels as they are released. The kernel of some virtual machines does not
    let tracing see what serves the machine itself: perf has no event from the time of these
    threads at all. So it is with those that they start, until these are another program: they
    have the name of who starts them, when they come.
    """
    runs: dict[int, int] = {}
    left, stayed = set(), set()
    came: dict[str, set[int]] = {}
    for event in events:
        if event.name == "sched_switch":
            before, after = switched(event)
            left.add(before)
            if runs.get(event.cpu, before) != before:
                stayed.add(runs[event.cpu])
            runs[event.cpu] = after
            came.setdefault(
                event.text.partition(" next_comm=")[2].split(" next_pid=")[0], set()
            ).add(after)
    found = stayed - left
    return found.union(*(pids for pids in came.values() if pids & found))


def watched(document: dict, outside: list[int]) -> Counts:
    """Returns what `watch` has counted on the CPUs outside, in the same form."""
    counts: Counts = Counter()
    for cause in document["account"]["causes"]:
        kind, name = cause["kind"], cause["name"]
        if kind == "irq":
            name = f"{name} {cause.get('detail', '')}"
        for share in cause["cpus"]:
            if share["cpu"] in outside:
                counts[kind, name, share["cpu"]] += share["count"]
    return counts


def kernel_threads() -> set[int]:
    """Returns the numbers of the kernel threads that there are."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[6]) & PF_KTHREAD:
                found.add(int(path.parent.name))
    return found


def kwork(data: Path, cpu: int, span: str) -> Counter[tuple[str, str]]:
    """Returns what perf kwork counts on a CPU in a span of time, by kind and name."""
    kinds = {"(w)": "work", "(s)": "softirq"}
    counts: Counter[tuple[str, str]] = Counter()
    command = ["perf", "kwork", "-k", "workqueue,irq,softirq", "report", "-i", str(data)]
    for line in run([*command, "-C", str(cpu), "--time", span]).splitlines():
        columns = [column.strip() for column in line.split("|")]
        if len(columns) > 4 and columns[1].isdigit() and int(columns[1]) == cpu:
            kind = kinds.get(columns[0][:3], "irq")
            name = columns[0] if kind == "irq" else columns[0][3:]
            name = name.rpartition(":")[0] if kind == "softirq" else name
            counts[kind, name] += int(columns[3])
    return counts


def name_of_perf(kind: str, name: str) -> str:
    """Returns what perf kwork prints as the name of something; several may have the same."""
    if kind == "softirq":
        return name
    number, _, handler = name.partition(" ")
    return f"{handler}:{number}"[:PERF_NAME] if kind == "irq" else name[: PERF_NAME - len("(w)")]


def timehist(data: Path, cpu: int, span: str) -> Counter[int]:
    """Returns how often perf sched says that each thread was on a CPU in a span of time."""
    counts: Counter[int] = Counter()
    command = ["perf", "sched", "timehist", "-s", "-i", str(data), "-C", str(cpu)]
    row = re.compile(r"\s*.*\[(\d+)(?:/\d+)?\]\s+-?\d+\s+(\d+)\s+\d+\.\d+")
    for line in run([*command, "--time", span]).splitlines():
        if found := row.match(line):
            counts[int(found[1])] += int(found[2])
    return counts


# --- the run ------------------------------------------------------------------------------------


class Report:
    """What came of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []

    def tell(self, verdict: str, name: str, cause: str = "") -> None:
        """Takes a result."""
        self.lines.append(f"{verdict} {name}: {cause}" if cause else f"{verdict} {name}")
        print(f"    {self.lines[-1]}", flush=True)
        self.path.write_text("".join(f"{line}\n" for line in self.lines))

    def judge(self, name: str, wrong: list[str]) -> None:
        """Takes a result, with what is wrong."""
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        self.tell("FAIL" if wrong else "ok", name, "; ".join(wrong[:3]) + more)

    def failed(self) -> int:
        """Prints how many passed and failed; returns the exit status."""
        passed = sum(line.startswith("ok ") for line in self.lines)
        failed = sum(line.startswith("FAIL ") for line in self.lines)
        print(f"{passed} passed, {failed} failed")
        return 0 if failed == 0 and passed > 0 else 1


class Recordings(NamedTuple):
    """What was recorded in a run: events by CPU, and what `watch` said."""

    document: dict
    own: dict[int, list[Event]]
    instance: dict[int, list[Event]]
    data: Path | None
    threads: set[int]


def events_of_watch(tool: str, cpus: str) -> tuple[list[str], list[str]]:
    """Returns the events that `watch` switches on, outside of the list and on it."""
    with subprocess.Popen(
        [tool, "watch", "--cpus", cpus, "--json"], stdout=subprocess.DEVNULL
    ) as watch:
        try:
            paths = [INSTANCES / f"kthread-cpus.{watch.pid}{name}" for name in ("", ".inside")]
            for _ in range(600):
                if watch.poll() is not None:
                    raise Problem(f"watch ended with {watch.returncode}")
                # A new instance is on. This one is made first, and is off until both are ready.
                with contextlib.suppress(OSError):
                    if paths[0].exists() and (paths[1] / "tracing_on").read_text().strip() == "1":
                        break
                time.sleep(0.1)
            else:
                raise Problem("watch does not begin to record within a minute")
            outside, inside = ((path / "set_event").read_text().split() for path in paths)
        finally:
            watch.terminate()
    return outside, inside


@contextlib.contextmanager
def load(listed: str, outside: list[int]) -> Iterator[None]:
    """A busy loop on each CPU outside, and somebody on the list who wants work of all CPUs."""
    loops = [["taskset", "-c", str(cpu), "sh", "-c", "while :; do :; done"] for cpu in outside]
    wants = "while :; do cat /proc/sys/vm/stat_refresh; sleep 0.02; done"
    loops.append(["taskset", "-c", listed, "sh", "-c", wants])
    # Their own group: what the shells have started ends with them.
    running = [
        subprocess.Popen(loop, stdout=subprocess.DEVNULL, start_new_session=True) for loop in loops
    ]
    try:
        yield
    finally:
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
            process.wait()


def record(
    args: argparse.Namespace, listed: str, outside: list[int], inside: list[int], scratch: Path
) -> Recordings:
    """Makes all recordings."""
    outside_events, inside_events = events_of_watch(args.tool, listed)
    missing = [event for event in PERF_EVENTS if event not in outside_events]
    if missing:
        raise Problem(f"watch does not look at {', '.join(missing)}")
    # Up to 40,000 events a second and CPU, and some more for what comes before and after.
    kib = 2048 * (int(args.seconds) + 10)
    instances = [Instance("", outside, outside_events, kib)]
    data = scratch / "perf.data" if shutil.which("perf") else None
    raw, printed = scratch / "raw", scratch / "watch.json"
    command = [args.tool, "watch", "--cpus", listed, "--json", "--raw", str(raw)]
    command += ["--for", f"{args.seconds}s"]
    if data:
        # It runs the command once its events are switched on.
        where = ",".join(map(str, outside))
        head = ["perf", "record", "-q", "-k", "mono", "-C", where, "-m", "16M", "-o", str(data)]
        command = [*head, "-e", ",".join(PERF_EVENTS), "--", *command]
    try:
        instances.append(Instance(".inside", inside, inside_events, kib))
        with load(listed, outside), printed.open("w") as out:
            threads = kernel_threads()
            for instance in instances:
                instance.set("tracing_on", "1")
            done = subprocess.run(["taskset", "-c", listed, *command], stdout=out)
            for instance in instances:
                instance.set("tracing_on", "0")
            threads |= kernel_threads()
        if done.returncode != 0:
            raise Problem(f"watch, or perf record, ended with {done.returncode}")
        pages = {cpu: instance.pages(cpu) for instance in instances for cpu in instance.cpus}
    finally:
        for instance in instances:
            instance.remove()
    document = json.loads(printed.read_text())
    if document["lost"]:
        raise Problem(f"watch lost {document['lost']} events")
    return Recordings(
        document,
        parse(trace_cmd_lines(raw_pages(raw), scratch / "own"), TRACE_CMD),
        parse(trace_cmd_lines(pages, scratch / "instance"), TRACE_CMD),
        data,
        threads,
    )


def compare_recordings(report: Report, seen: Recordings) -> list[Event]:
    """Are the events that `watch` has read those of the instance? Returns these, by time."""
    wrong, all_of_them = [], []
    for cpu, own in sorted(seen.own.items()):
        theirs = seen.instance.get(cpu, [])
        at, differs = cut(own, theirs)
        if differs:
            wrong.append(f"CPU {cpu}: {differs}")
        # That a lost event would be seen is not taken for granted. One of which there are many
        # could as well be one before or after: where the same comes again and again, the recording
        # fits in several places. So it is the rarest, which is in all of these.
        times = Counter(event.what() for event in theirs)
        places = range(NEAR, len(own) - NEAR) or range(len(own))
        middle = min(places, key=lambda place: times[own[place].what()])
        if not cut(own[:middle] + own[middle + 1 :], theirs)[1]:
            wrong.append(f"CPU {cpu}: one event less is not seen")
        print(f"    CPU {cpu}: {len(own)} events in {(own[-1].time - own[0].time) / 1e9:.6f} s")
        all_of_them += theirs[at : at + len(own)]
    all_of_them.sort(key=lambda event: event.time)
    report.judge("events: watch has read those that trace-cmd reads", wrong)
    return all_of_them


def runs(document: dict) -> dict[tuple[int, int], int]:
    """Returns how often `watch` saw each kernel thread, by its number and CPU."""
    return {
        (thread["pid"], run["cpu"]): run["count"]
        for thread in document["threads"]
        for run in thread["runs"]
    }


def compare_threads(report: Report, seen: Recordings, tally: Tally) -> None:
    """Are the kernel threads those of the switches, and as often on each CPU?"""
    told = runs(seen.document)
    # Those that came and went meanwhile are known to watch only.
    pids = (seen.threads - {0}) | {pid for pid, _ in told}
    counted = {key: times for key, times in tally.threads.items() if key[0] in pids}
    wrong = [
        f"{key[0]} on CPU {key[1]}: watch {told.get(key, 0)}, trace-cmd {counted.get(key, 0)}"
        for key in sorted(told.keys() | counted.keys())
        if told.get(key, 0) != counted.get(key, 0)
    ]
    times = sum(counted.values())
    name = f"trace-cmd: kernel threads by CPU, {len(counted)} pairs, {times} times"
    report.judge(name, wrong or ([] if counted else ["none ran"]))
    switches = seen.document["switches"]
    cause = [] if switches == tally.switches else [f"trace-cmd has {tally.switches}"]
    report.judge(f"trace-cmd: {switches} switches", cause)


def compare_counts(
    report: Report, seen: Recordings, tally: Tally, outside: list[int], vectors: set[str]
) -> None:
    """Is everything else counted as often?"""
    told = watched(seen.document, outside)
    counted = Counter({key: n for key, n in tally.counts.items() if key[2] in outside})
    # Threads are told by family: their sum is what can be compared.
    threads = {thread["pid"] for thread in seen.document["threads"]}
    for (pid, cpu), times in tally.arrivals.items():
        if cpu in outside and pid in threads:
            counted["thread", "all", cpu] += times
    for (kind, name, cpu), times in list(told.items()):
        if kind == "thread":
            del told[kind, name, cpu]
            told[kind, "all", cpu] += times
    own = seen.document["account"]["own"]
    differ = {key: counted[key] - told[key] for key in counted.keys() | told.keys()}
    # What watch has caused itself it counts only in all.
    left = sum(differ.values())
    by_kind: dict[str, list[str]] = {}
    for key in sorted(counted.keys() | told.keys()):
        kind, name, cpu = key
        wrong = by_kind.setdefault(kind, [])
        print(f"    {kind:<8} {name:<40} {cpu:>4} {told[key]:>9} {counted[key]:>9}")
        if differ[key] < 0 or (differ[key] > 0 and left != own):
            wrong.append(f"{name} on CPU {cpu}: watch {told[key]}, trace-cmd {counted[key]}")
    needed = {"thread", "work", "softirq", "timer"} | ({"vector"} if vectors else set())
    for kind in sorted(needed - by_kind.keys()):
        by_kind[kind] = ["there was none"]
    for kind in ("irq", "ipi"):
        if kind not in by_kind:
            report.tell("skip", f"trace-cmd: {kind}", "there was none")
    for kind, wrong in sorted(by_kind.items()):
        times = sum(n for key, n in told.items() if key[0] == kind)
        report.judge(f"trace-cmd: {kind}, {times} times", wrong)
    cause = [] if left == own else [f"{left} are missing, and watch says that it caused {own}"]
    report.judge(f"trace-cmd: watch leaves out {own}, which it caused", cause)


def compare_kwork(
    cpu: int, tally: Tally, of_perf: Tally, told: Counts, printed: Counter[tuple[str, str]]
) -> Iterator[str]:
    """Prints what perf kwork counts on a CPU beside what `watch` counts; returns what is wrong."""
    short: dict[tuple[str, str], list[tuple[str, str, int]]] = {}
    for key in sorted(key for key in tally.counts if key[2] == cpu):
        if key[0] in ("work", "softirq", "irq"):
            short.setdefault((key[0], name_of_perf(*key[:2])), []).append(key)
    perf: Counter[tuple[str, str]] = Counter()
    for (kind, name), times in printed.items():
        # perf 6.1 lets go of the names of functions too early: the end of some is no more there.
        alike = [known for known in short if known[0] == kind and known[1].startswith(name[:-1])]
        cause = alike[0] if (kind, name) not in short and len(alike) == 1 else (kind, name)
        perf[cause] += times
        if cause not in short:
            yield f"{name} on CPU {cpu}: only perf has it, {times} times"
    for cause, keys in short.items():
        name = " or ".join(key[1] for key in keys)
        of_watch, paired = sum(told[key] for key in keys), sum(of_perf.pairs[key] for key in keys)
        # perf counts what began and ended here.
        unfinished = sum(tally.counts[key] - tally.pairs[key] for key in keys)
        unseen = sum(tally.pairs[key] for key in keys) - paired
        note = f"  and {unfinished} that did not both begin and end here" if unfinished else ""
        note += f"  and {unseen} hidden from perf" if unseen else ""
        print(f"    {cause[0]:<8} {name:<40} {cpu:>4} {of_watch:>9} {perf[cause]:>9}{note}")
        if not perf[cause] == paired == of_watch - unfinished - unseen:
            more = f"({unfinished} unfinished, {unseen} hidden)"
            yield f"{name} on CPU {cpu}: watch {of_watch} {more}, perf {perf[cause]}"


def find_in_perf(ours: list[Event], theirs: list[Event], without: set[int]) -> tuple[int, int, str]:
    """Finds our events in those of perf: the first and the last there, and what differs.

    Only what is from the time of hidden threads may be missing there.
    """
    shown = [event for event in ours if event.pid not in without]
    places = [at for at, event in enumerate(theirs) if event.pid not in without]
    if not shown or len(places) < len(shown):
        return 0, 0, f"{len(places)} events for {len(shown)}"
    at, differs = cut(shown, [theirs[place] for place in places])
    if differs:
        return 0, 0, differs
    first, last = places[at], places[at + len(shown) - 1]
    rest = Counter(event.what() for event in theirs[first : last + 1])
    rest.subtract(event.what() for event in ours)
    more = [" ".join(what) for what, by in rest.items() if by > 0]
    return first, last, f"only perf has {more[0]}" if more else ""


def compare_perf(
    report: Report, seen: Recordings, events: list[Event], tally: Tally, outside: list[int]
) -> None:
    """Do perf kwork and perf sched count the same?"""
    if seen.data is None:
        report.tell("skip", "perf", "not installed (apt-get install linux-perf)")
        return
    names = {event.partition(":")[2] for event in PERF_EVENTS}
    command = ["perf", "script", "-i", str(seen.data), "--show-lost-events", "--ns"]
    lines = run([*command, "-F", "cpu,tid,time,event,trace"]).splitlines()
    perf = parse(lines, PERF)
    told = watched(seen.document, outside)
    threads = runs(seen.document)
    everything = [event for events in seen.instance.values() for event in events]
    without = hidden(sorted(everything, key=lambda event: event.time))
    if without:
        print(f"    hidden from perf: events from the time of threads {sorted(without)}")
    wrong: dict[str, list[str]] = {"events": [], "kwork": [], "sched": []}
    sums: Counter[str] = Counter()
    for cpu in outside:
        ours = [event for event in events if event.cpu == cpu and event.name in names]
        theirs = perf.get(cpu, [])
        first, last, differs = find_in_perf(ours, theirs, without)
        if differs:
            wrong["events"].append(f"CPU {cpu}: {differs}")
            continue
        part = theirs[first : last + 1]
        of_perf = count(part, set())
        sums["events"] += len(part)
        sums["hidden"] += len(ours) - len(part)
        edges = part[0].time, part[-1].time
        span = ",".join(f"{ns // 10**9}.{ns % 10**9:09}" for ns in edges)
        printed = kwork(seen.data, cpu, span)
        for (kind, _), times in printed.items():
            sums[kind] += times
        wrong["kwork"] += compare_kwork(cpu, tally, of_perf, told, printed)
        # This counts who was there at the beginning, as watch does, and not only who came.
        hist = timehist(seen.data, cpu, span)
        for pid in sorted(pid for pid, on in threads if on == cpu):
            sums["thread"] += hist[pid]
            # Who follows a hidden thread comes unseen, and is seen to leave.
            unseen = of_perf.departures[pid, cpu] - threads[pid, cpu] if without else 0
            sums["unseen"] += abs(unseen)
            if hist[pid] != threads[pid, cpu] + unseen:
                times = f"watch {threads[pid, cpu]} ({unseen} unseen), perf {hist[pid]}"
                wrong["sched"].append(f"thread {pid} on CPU {cpu}: {times}")
    name = f"perf: {sums['events']} events"
    name += f", and {sums['hidden']} hidden from it" if sums["hidden"] else ""
    report.judge(name, wrong["events"])
    if wrong["events"]:
        return
    kinds = ", ".join(f"{sums[kind]} {kind}" for kind in ("work", "softirq", "irq"))
    report.judge(f"perf kwork: {kinds}", wrong["kwork"] or ([] if sums["work"] else ["no work"]))
    name = f"perf sched timehist: kernel threads, {sums['thread']} times"
    name += f", {sums['unseen']} of them came unseen" if sums["unseen"] else ""
    report.judge(name, wrong["sched"] or ([] if sums["thread"] else ["no thread"]))


def main() -> int:
    """Records, compares, and returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tool", help="the program kthread-cpus")
    parser.add_argument("--results", type=Path, required=True, help="where the results are left")
    parser.add_argument("--cpus", help="the list; without it, the first CPU that is online")
    parser.add_argument("--seconds", type=int, default=60, help="how long")
    args = parser.parse_args()

    online = parse_list(Path("/sys/devices/system/cpu/online").read_text())
    listed = args.cpus or str(online[0])
    inside = [cpu for cpu in parse_list(listed) if cpu in online]
    outside = [cpu for cpu in online if cpu not in inside]
    report = Report(args.results)
    if not outside or not inside:
        report.tell("FAIL", "CPUs", f"{listed} of {online}: there must be CPUs of both kinds")
        return report.failed()
    vectors = {path.name for path in (TRACING / "events/irq_vectors").glob("*_entry")}
    with tempfile.TemporaryDirectory(prefix="peers.", dir=args.results.parent) as scratch:
        try:
            seen = record(args, listed, outside, inside, Path(scratch))
            events = compare_recordings(report, seen)
            tally = count(events, vectors)
            compare_threads(report, seen, tally)
            print(f"    {'KIND':<8} {'NAME':<40} {'CPU':>4} {'WATCH':>9} {'TRACE-CMD':>9}")
            compare_counts(report, seen, tally, outside, vectors)
            print(f"    {'KIND':<8} {'NAME':<40} {'CPU':>4} {'WATCH':>9} {'PERF':>9}")
            compare_perf(report, seen, events, tally, outside)
        except Problem as problem:
            report.tell("FAIL", "peers", str(problem))
    has_osnoise = "osnoise" in (TRACING / "available_tracers").read_text().split()
    cause = (
        "no comparison of its totals is written"
        if has_osnoise
        else "this kernel has not its tracer"
    )
    report.tell("skip", "rtla osnoise", cause)
    return report.failed()


if __name__ == "__main__":
    sys.exit(main())
