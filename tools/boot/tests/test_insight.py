# SPDX-License-Identifier: GPL-2.0
"""What the kernel shows of its books, in debugfs, in the trace and to gdb, is what /proc says."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import vm
from facts import (
    CpuSet,
    Facts,
    Snapshot,
    Thread,
    format_cpus,
    new_complaints,
    parse,
    parse_cpus,
    parse_mask,
)
from scenarios import Boot
from vm import Machine

if TYPE_CHECKING:
    from conftest import Boots

ENTRIES = "/sys/kernel/debug/kthread_cpus/entries"
TRACE = "/sys/kernel/tracing/trace"

ALL = parse_cpus("0-7")
NODES = {0: parse_cpus("0-3"), 1: parse_cpus("4-7")}


# What the file says --------------------------------------------------------------


@dataclass
class Entry:
    """The threads with one preference."""

    number: int
    preference: str
    level: int
    allowed: CpuSet
    threads: int
    strays: int
    names: dict[int, str] = field(default_factory=dict)


@dataclass
class Stray:
    """A thread whose affinity user space has set."""

    entry: int
    wish: CpuSet
    granted: str
    allowed: CpuSet
    names: dict[int, str] = field(default_factory=dict)


@dataclass
class Report:
    """The file as it was read once."""

    head: dict[str, str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)

    def threads(self) -> dict[int, tuple[str, CpuSet]]:
        """Returns the name and the CPUs of every thread; it must be there once only."""
        found: dict[int, tuple[str, CpuSet]] = {}
        for group in (*self.entries, *self.strays):
            for pid, name in group.names.items():
                assert pid not in found, f"{name} ({pid}) is listed twice"
                found[pid] = name, group.allowed
        return found

    def entry_of(self, name: str) -> Entry:
        """Returns the one entry that the thread is in."""
        (entry,) = (entry for entry in self.entries if name in entry.names.values())
        return entry


ENTRY = re.compile(
    r"entry (?P<number>\d+): "
    r"preference (?P<preference>none|node \d+ \([0-9,-]*\)|mask \([0-9,-]*\)), "
    r"level (?P<level>1 \(preferred\)|2 \(confined\)|3 \(housekeeping\)|4 \(possible\)), "
    r"allowed (?P<allowed>[0-9,-]+), threads (?P<threads>\d+), set by user space (?P<strays>\d+)"
)
STRAY = re.compile(
    r"set by user space in entry (?P<entry>\d+): wish (?P<wish>[0-9,-]+), "
    r"(?P<granted>not granted|granted|granted beyond the entry), allowed (?P<allowed>[0-9,-]+)"
)


def reports(lines: list[str]) -> list[Report]:
    """Parses the file as it was read several times; what is no part of it is an error."""
    found: list[Report] = []
    names: dict[int, str] = {}
    for line in lines:
        if line.startswith("confined: "):
            found.append(Report())
        if match := re.fullmatch(r"\t(\d+) (.+)", line):
            assert int(match[1]) not in names, line
            names[int(match[1])] = match[2]
        elif match := ENTRY.fullmatch(line):
            names = {}
            found[-1].entries.append(
                Entry(
                    int(match["number"]),
                    match["preference"],
                    int(match["level"][0]),
                    parse_cpus(match["allowed"]),
                    int(match["threads"]),
                    int(match["strays"]),
                    names,
                )
            )
        elif match := STRAY.fullmatch(line):
            names = {}
            found[-1].strays.append(
                Stray(
                    int(match["entry"]),
                    parse_cpus(match["wish"]),
                    match["granted"],
                    parse_cpus(match["allowed"]),
                    names,
                )
            )
        elif line:
            key, colon, value = line.partition(": ")
            assert colon, line
            assert not found[-1].entries, line
            found[-1].head[key] = value
    return found


def complete(report: Report) -> None:
    """The numbers are those of the threads that are listed."""
    for entry in report.entries:
        assert entry.threads == len(entry.names), entry
        assert entry.threads + entry.strays > 0, entry
        assert entry.strays == sum(stray.entry == entry.number for stray in report.strays)
    assert all(len(stray.names) == 1 for stray in report.strays)
    assert len({entry.number for entry in report.entries}) == len(report.entries)
    assert len({entry.preference for entry in report.entries}) == len(report.entries)


# What the trace says --------------------------------------------------------------


@dataclass(frozen=True)
class Event:
    """A change of a thread's allowed mask, in a step of the guest."""

    step: str
    pid: int
    name: str
    old: CpuSet
    new: CpuSet
    reason: str


EVENT = re.compile(
    r"kthread_affinity: comm=(?P<name>.*) pid=(?P<pid>\d+) old=(?P<old>[0-9a-f,]+) "
    r"new=(?P<new>[0-9a-f,]+) reason=(?P<reason>\w+)$"
)


def events(lines: list[str]) -> list[Event]:
    """Parses the trace, which must have nothing but the event and the marks of the steps."""
    found: list[Event] = []
    pending: list[re.Match[str]] = []
    for line in lines:
        if line.startswith("#") or not line:
            continue
        if mark := re.search(r"tracing_mark_write: (.*)$", line):
            found += [
                Event(
                    mark[1],
                    int(match["pid"]),
                    match["name"],
                    parse_mask(match["old"]),
                    parse_mask(match["new"]),
                    match["reason"],
                )
                for match in pending
            ]
            pending = []
            continue
        match = EVENT.search(line)
        assert match, line
        pending.append(match)
    # What is pending has come after the last look, such as a worker that was just made.
    return found


# The steps ------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A boot with steps: K is two CPUs, which go and come back; one of them is isolated for a
    while, and then K becomes 1,6."""

    words: str
    confined: CpuSet
    isolated: int
    # What becomes of some threads in some steps: old, new and reason of every event.
    moves: dict[tuple[str, str], list[tuple[str, str, str]]] = field(hash=False, compare=False)

    @property
    def steps(self) -> dict[str, str]:
        """The actions of every step."""
        first, second = sorted(self.confined)
        return {
            "boot": "debug",
            "add": "insmod:/kc/kcload.ko,write:/proc/kcload=add~pref:1+2~3,"
            "write:/proc/kcload=add~node:1~2",
            "update": "write:/proc/kcload=update~3+5",
            "user": f"affinity:khungtaskd={first}",
            "offline": f"offline:{first}",
            "all-offline": f"offline:{second}",
            "online": f"online:{first}+{second}",
            "isolate": f"isolate:{self.isolated}",
            "join": "isolate",
            "released": "affinity:khungtaskd=0-7",
            "confine": "write:/sys/devices/system/cpu/kthread_cpus=1+6",
            "deleted": "write:/proc/kcload=del~all",
        }

    @property
    def boot(self) -> Boot:
        """The boot."""
        actions = ",".join(f"{actions},look:{step}" for step, actions in self.steps.items())
        # With another clock the kernel might empty the trace after a while, to change it.
        append = f"{self.words} trace_clock=counter trace_event=kthread_cpus:kthread_affinity"
        append += f" kcguest.do={actions},lines:{TRACE}"
        return Boot("on", Machine(), append, guest="kcload")


# Which reasons each step may have; a thread may be created at any time.
REASONS = {
    "boot": {"created", "preferred", "online", "nodes"},
    "add": {"preferred"},
    "update": {"updated"},
    "user": {"user"},
    "offline": {"offline"},
    "all-offline": {"offline"},
    "online": {"online"},
    "isolate": {"housekeeping"},
    "join": {"housekeeping"},
    "released": {"user"},
    "confine": {"kthread_cpus"},
    "deleted": set(),
}

CASES = {
    # Both CPUs are on node 0: threads of node 1 have no say.
    "one-node": Case(
        "kthread_cpus=2-3",
        parse_cpus("2-3"),
        3,
        {
            ("boot", "kthreadd"): [("0", "0-7", "created"), ("0-7", "2-3", "online")],
            ("add", "kcload-pref"): [("2-3", "2", "preferred")],
            ("add", "kcload-node"): [],
            ("update", "kcload-pref"): [("2", "3", "updated")],
            ("user", "khungtaskd"): [("2-3", "2", "user")],
            ("offline", "khungtaskd"): [("2", "2-3", "offline")],
            ("offline", "kthreadd"): [],
            ("all-offline", "khungtaskd"): [("2-3", "0-7", "offline")],
            ("all-offline", "kthreadd"): [("2-3", "0-7", "offline")],
            ("all-offline", "kcload-pref"): [("3", "0-7", "offline")],
            ("all-offline", "kcload-node"): [("2-3", "0-7", "offline")],
            ("online", "kthreadd"): [("0-7", "2-3", "online")],
            ("online", "khungtaskd"): [("0-7", "2", "online")],
            ("online", "kcload-pref"): [("0-7", "2-3", "online"), ("2-3", "3", "online")],
            ("isolate", "kthreadd"): [("2-3", "2", "housekeeping")],
            ("isolate", "khungtaskd"): [],
            ("isolate", "kcload-pref"): [("3", "2", "housekeeping")],
            ("join", "kthreadd"): [("2", "2-3", "housekeeping")],
            ("released", "khungtaskd"): [("2", "2-3", "user")],
            ("released", "kthreadd"): [],
            ("confine", "kthreadd"): [("2-3", "1,6", "kthread_cpus")],
            ("confine", "kswapd1"): [("2-3", "6", "kthread_cpus")],
            ("confine", "kcload-pref"): [("3", "1,6", "kthread_cpus")],
        },
    ),
    # One CPU on each node.
    "two-nodes": Case(
        "kthread_cpus=2,5",
        parse_cpus("2,5"),
        5,
        {
            ("boot", "kthreadd"): [("0", "0-7", "created"), ("0-7", "2,5", "online")],
            ("boot", "kswapd0"): [("2,5", "2", "created")],
            ("boot", "kswapd1"): [("2,5", "5", "created")],
            ("add", "kcload-pref"): [("2,5", "2", "preferred")],
            ("add", "kcload-node"): [("2,5", "5", "created")],
            ("update", "kcload-pref"): [("2", "5", "updated")],
            ("user", "khungtaskd"): [("2,5", "2", "user")],
            ("offline", "kswapd0"): [("2", "2,5", "offline")],
            ("offline", "kswapd1"): [],
            ("all-offline", "kswapd0"): [("2,5", "0-7", "offline")],
            ("all-offline", "kswapd1"): [("5", "0-7", "offline")],
            ("online", "kswapd0"): [("0-7", "2", "online")],
            ("online", "kswapd1"): [("0-7", "2,5", "online"), ("2,5", "5", "online")],
            ("isolate", "kswapd0"): [],
            ("isolate", "kswapd1"): [("5", "2", "housekeeping")],
            ("join", "kswapd1"): [("2", "5", "housekeeping")],
            ("released", "khungtaskd"): [("2", "2,5", "user")],
            ("confine", "kswapd0"): [("2", "1", "kthread_cpus")],
            ("confine", "kswapd1"): [("5", "6", "kthread_cpus")],
        },
    ),
}


@dataclass
class Seen:
    """What the guest saw after every step."""

    case: Case
    reports: dict[str, Report]
    snapshots: dict[str, Snapshot]
    events: list[Event]


each_case = pytest.mark.parametrize("boot", [case.boot for case in CASES.values()], ids=CASES)


def seen(boot: Boot, boots: Boots) -> Seen:
    """Returns what a case has told."""
    (case,) = (case for case in CASES.values() if case.boot == boot)
    facts = boots.facts(boot)
    assert not facts.failed_actions
    steps = list(case.steps)
    found = reports(facts.outputs[ENTRIES])
    assert len(found) == len(facts.snapshots) == len(steps)
    return Seen(
        case,
        dict(zip(steps, found, strict=True)),
        dict(zip(steps, facts.snapshots, strict=True)),
        events(facts.outputs[TRACE]),
    )


def lasting(snapshots: Iterable[Snapshot]) -> set[int]:
    """The threads that are managed kthreads every time, and so not just being made."""
    pids = set.intersection(*({t.pid for t in s.managed} for s in snapshots))
    assert len(pids) > 10
    return pids


def preferred(preference: str) -> CpuSet | None:
    """Returns the CPUs of a preference as the file has it."""
    match = re.search(r"\((.*)\)", preference)
    return parse_cpus(match[1]) if match else None


def effective(
    preference: CpuSet | None, confined: CpuSet, housekeeping: CpuSet, now: Snapshot
) -> tuple[int, CpuSet]:
    """Returns the level and the CPUs, as the rules have it."""
    levels = [confined & housekeeping, housekeeping, now.possible]
    if preference is not None:
        levels.insert(0, preference & levels[0])
    found = next(cpus for cpus in levels if cpus & now.online)
    return levels.index(found) + (1 if preference is not None else 2), found


@each_case
def test_every_kthread_is_listed_once(boot: Boot, boots: Boots) -> None:
    """The file has the managed kthreads of /proc, with their names and CPUs, and no others."""
    machine = seen(boot, boots)
    pids = lasting(machine.snapshots.values())
    for step, report in machine.reports.items():
        complete(report)
        listed = report.threads()
        threads = {thread.pid: thread for thread in machine.snapshots[step].threads}
        assert pids <= set(listed), step
        for pid, (name, allowed) in listed.items():
            # One that was just being made may have gone or been bound meanwhile.
            if pid in pids:
                thread = threads[pid]
                assert (name, allowed) == (thread.name, thread.allowed), f"{step}: {thread}"
            elif pid in threads:
                assert threads[pid].kthread, step
        added = {t.name for t in threads.values() if t.name.startswith("kcload-")}
        assert added <= {name for name, _ in listed.values()}, step
        assert bool(added) == (step not in ("boot", "deleted")), step


@each_case
def test_entries_follow_the_rules(boot: Boot, boots: Boots) -> None:
    """Level and CPUs of every entry are what its preference and the masks lead to."""
    machine = seen(boot, boots)
    levels = set()
    for step, report in machine.reports.items():
        now = machine.snapshots[step]
        # /sys/devices/system/cpu/isolated does not have partitions.
        partition = {machine.case.isolated} if step == "isolate" else set()
        housekeeping = now.housekeeping - partition
        confined = machine.case.confined
        if step in ("confine", "deleted"):
            confined = parse_cpus("1,6")
        head = {key: value for key, value in report.head.items() if key != "classes"}
        assert report.head["classes"] == "kthread,wq,umh,init,irq"
        assert {key: parse_cpus(value) for key, value in head.items()} == {
            "confined": confined,
            "housekeeping": housekeeping,
            "usable": now.online,
        }, step
        for entry in report.entries:
            expected = effective(preferred(entry.preference), confined, housekeeping, now)
            assert (entry.level, entry.allowed) == expected, f"{step}: {entry}"
            levels.add(entry.level)
            if match := re.match(r"node (\d+)", entry.preference):
                assert preferred(entry.preference) == NODES[int(match[1])]
        for node, cpus in NODES.items():
            name = f"node {node} ({format_cpus(cpus)})"
            assert report.entry_of(f"kswapd{node}").preference == name
    assert levels == {1, 2, 3}


@each_case
def test_wish_of_user_space(boot: Boot, boots: Boots) -> None:
    """The file has what user space has asked for, and whether it is so now."""
    machine = seen(boot, boots)
    first = min(machine.case.confined)
    for step, report in machine.reports.items():
        if step in ("boot", "add", "update", "released", "confine", "deleted"):
            assert not report.strays, step
            continue
        (stray,) = report.strays
        assert list(stray.names.values()) == ["khungtaskd"]
        assert stray.wish == {first}
        granted = step not in ("offline", "all-offline")
        assert stray.granted == ("granted" if granted else "not granted"), step
        (entry,) = (entry for entry in report.entries if entry.number == stray.entry)
        assert entry.preference == "none"
        assert stray.allowed == ({first} if granted else entry.allowed), step


@each_case
def test_trace_has_every_change(boot: Boot, boots: Boots) -> None:
    """From one look at /proc to the next, the events lead from the old mask to the new one."""
    machine = seen(boot, boots)
    pids = lasting(machine.snapshots.values())
    before: dict[int, Thread] = {}
    for step, snapshot in machine.snapshots.items():
        now = {thread.pid: thread for thread in snapshot.threads}
        for pid in pids:
            chain = [event for event in machine.events if (event.step, event.pid) == (step, pid)]
            masks = [event.old for event in chain[1:]]
            assert masks == [event.new for event in chain[:-1]], f"{step}: {chain}"
            if chain:
                assert chain[-1].new == now[pid].allowed, f"{step}: {now[pid]}"
                # A new thread may have the name of its maker, and a trace has 15 characters.
                assert now[pid].name.startswith(chain[-1].name), f"{step}: {chain[-1]}"
            if before:
                old = chain[0].old if chain else now[pid].allowed
                assert old == before[pid].allowed, f"{step}: {before[pid]}"
        before = now


@each_case
def test_trace_has_the_reasons(boot: Boot, boots: Boots) -> None:
    """Every event is a change, for a reason that the step gives."""
    machine = seen(boot, boots)
    for event in machine.events:
        assert event.old != event.new, event
        assert event.reason in REASONS[event.step] | {"created"}, event
    for (step, name), expected in machine.case.moves.items():
        snapshot = machine.snapshots[step]
        pids = [t.pid for t in snapshot.threads if t.name.split("/")[0] == name]
        assert pids, f"{step}: {name}"
        for pid in pids:
            assert [
                (format_cpus(event.old), format_cpus(event.new), event.reason)
                for event in machine.events
                if (event.step, event.pid) == (step, pid)
            ] == expected, f"{step}: {name}"


# Without the option, and with very many threads -------------------------------------

ABSENT = Boot("on", Machine(), f"kcguest.do=debug,lines:{ENTRIES},facts")
MANY = Boot(
    "on",
    Machine(memory=1024),
    "kthread_cpus=2-3 kcguest.do=debug,insmod:/kc/kcload.ko,"
    "write:/proc/sys/kernel/threads-max=20000,write:/proc/sys/kernel/pid_max=40000,"
    f"write:/proc/kcload=add~prefs:200~10000,heads:{ENTRIES}",
    guest="kcload",
)
# The kernel with the checkers of locks and memory, and with masks for 8,192 CPUs.
CHECKED = Boot(
    "kunit",
    Machine(smp=4),
    "kunit.enable=0 kthread_cpus=2-3 trace_clock=counter "
    "trace_event=kthread_cpus:kthread_affinity kcguest.do=debug,affinity:khungtaskd=2,look:user,"
    "offline:2+3,look:offline,online:2+3,isolate:3,isolate,"
    f"write:/sys/devices/system/cpu/kthread_cpus=1,look:confine,lines:{TRACE}",
    timeout=900.0,
)
UNCHANGED = Boot("kunit", Machine(smp=4), "kunit.enable=0", timeout=900.0)


@pytest.mark.parametrize(("boot", "reference"), [(CHECKED, UNCHANGED)], ids=["checked"])
def test_checkers_are_content(boot: Boot, reference: Boot, boots: Boots) -> None:
    """Nothing that looks inside makes the kernel complain."""
    facts = boots.facts(boot)
    assert not facts.failed_actions
    user, offline, confine = reports(facts.outputs[ENTRIES])
    for report in (user, offline, confine):
        complete(report)
    assert [stray.granted for stray in (*user.strays, *offline.strays, *confine.strays)] == [
        "granted",
        "not granted",
        "not granted",
    ]
    assert {entry.level for entry in offline.entries} == {3}
    moved = [event for event in events(facts.outputs[TRACE]) if event.name == "khungtaskd"]
    assert [(format_cpus(e.old), format_cpus(e.new), e.reason) for e in moved] == [
        ("2-3", "2", "user"),
        ("2", "2-3", "offline"),
        ("2-3", "0-3", "offline"),
        ("0-3", "2", "online"),
        ("2", "1", "kthread_cpus"),
    ]
    assert not new_complaints(facts, boots.facts(reference))


@pytest.mark.parametrize("boot", [ABSENT], ids=["absent"])
def test_without_the_option(boot: Boot, boots: Boots) -> None:
    """Nothing is confined, and nodes have a say."""
    facts = boots.facts(boot)
    assert not facts.failed_actions
    (report,) = reports(facts.outputs[ENTRIES])
    complete(report)
    assert report.head == {
        "confined": "0-7",
        "housekeeping": "0-7",
        "usable": "0-7",
        "classes": "none",
    }
    assert {entry.preference.split(" ")[0]: entry.level for entry in report.entries} == {
        "none": 2,
        "node": 1,
        "mask": 1,
    }
    listed = report.threads()
    for thread in facts.last.managed:
        assert listed[thread.pid] == (thread.name, thread.allowed)


@pytest.mark.parametrize("boot", [MANY], ids=["many"])
def test_very_many_threads(boot: Boot, boots: Boots) -> None:
    """The file is as long as it has to be."""
    facts = boots.facts(boot)
    assert not facts.failed_actions
    *lines, count = facts.outputs[ENTRIES]
    (report,) = reports(lines)
    assert sum(entry.threads for entry in report.entries) == int(count)
    assert int(count) > 10_000
    assert len([e for e in report.entries if e.preference.startswith("mask")]) >= 200


# gdb ------------------------------------------------------------------------------

ROW = re.compile(
    r" *(?P<pid>\d+) +(?P<entry>\d+) (?P<preference>none|mask|node \d+) +"
    r"(?P<by>user|kernel) +(?P<cpus>[0-9,-]+) +(?P<name>.+)"
)


def run_gdb(out: Path, *commands: str) -> str:
    """Returns what gdb prints for the kernel in `out`."""
    program = shutil.which("gdb")
    assert program, "there is no gdb: install the package gdb (make setup)"
    words = [program, "-nx", "-batch", "-iex", "set auto-load no", str(out / "vmlinux")]
    words += ["-ex", f"source {out}/vmlinux-gdb.py"]
    for command in commands:
        words += ["-ex", command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_gdb(text: str, facts: Facts) -> None:
    """The command shows what /proc and debugfs show."""
    (report,) = reports(facts.outputs[ENTRIES])
    assert re.search(r"^Kthread CPUs +: 2-3$", text, re.M), text
    assert re.search(r"^Confined classes +: kthread,wq,umh,init,irq$", text, re.M), text
    assert re.search(r"^Housekeeping CPUs +: 0-5$", text, re.M), text
    rows = [match for line in text.splitlines() if (match := ROW.fullmatch(line))]
    found = {int(row["pid"]): (row["name"], parse_cpus(row["cpus"])) for row in rows}
    assert len(found) == len(rows)
    # What comes and goes meanwhile is nothing to us.
    pids = lasting(facts.snapshots)
    assert pids <= set(found)
    for thread in facts.last.managed:
        if thread.pid in pids:
            assert found[thread.pid] == (thread.name, thread.allowed)
    assert set(found) <= {t.pid for s in facts.snapshots for t in s.threads if t.kthread}
    assert [row["name"] for row in rows if row["by"] == "user"] == ["khungtaskd"]
    entries = {entry.number: entry for entry in report.entries}
    for row in (row for row in rows if int(row["pid"]) in pids):
        entry = entries[int(row["entry"])]
        assert entry.preference.startswith(row["preference"]), row[0]
        if row["by"] == "kernel":
            assert int(row["pid"]) in entry.names, row[0]


def test_gdb(boots: Boots) -> None:
    """lx-kthread-cpus, for a machine that is running and for the image of its memory."""
    out = boots.out / "on"
    append = "kthread_cpus=2-3 isolcpus=6-7 kcguest.do=debug,affinity:khungtaskd=2,"
    guest = vm.Guest(
        boots.image("on"), boots.initrd, f"{append}lines:{ENTRIES},facts,debugger,facts"
    )
    shown: list[str] = []

    with tempfile.TemporaryDirectory() as scratch:
        # A path of a socket must be short.
        server, image = Path(scratch) / "gdb", Path(scratch) / "memory"
        output = bytearray()

        def look(chunk: bytes) -> None:
            output.extend(chunk)
            if shown or b"kcguest: ask debugger" not in output:
                return
            commands = [f"target remote {server}", "lx-kthread-cpus", "lx-cpus"]
            commands += [f"monitor dump-guest-memory -p {image}", "set var panic_timeout = 5"]
            shown.append(run_gdb(out, *commands, "detach"))

        console = vm.boot(
            guest,
            # QEMU cuts off the image of a second node.
            Machine(nodes=1, memory=256),
            vm.LOGS / "boot" / "gdb.log",
            accel=boots.accel,
            on_output=look,
            debugger=server,
        )
        facts = parse(console.text)
        assert not facts.failed_actions
        check_gdb(shown[0], facts)
        assert re.search(r"^Kthread CPUs  : \[2, 3\]$", shown[0], re.M)
        check_gdb(run_gdb(out, f"core-file {image}", "lx-kthread-cpus"), facts)
