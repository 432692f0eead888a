# SPDX-License-Identifier: GPL-2.0
"""What the kernel shows in the trace, in sysfs and to gdb is what /proc says."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import vm
from facts import (
    CpuSet,
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

CLASSES = "/sys/devices/system/cpu/kthread_cpus_classes"
KCPUS = "/sys/devices/system/cpu/kthread_cpus"
TRACE = "/sys/kernel/tracing/trace"


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
            f"write:/proc/kcload=add~node:1~2,write:/proc/kcload=add~fixed:{first}~1",
            "update": "write:/proc/kcload=update~3+5",
            "user": f"affinity:khungtaskd={first}",
            "offline": f"offline:{first}",
            "all-offline": f"offline:{second}",
            "online": f"online:{first}+{second}",
            "isolate": f"isolate:{self.isolated}",
            "join": "isolate",
            "released": "affinity:khungtaskd=0-7",
            "confine": f"write:{KCPUS}=1+6",
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
    "boot": {"created", "preferred", "set", "online"},
    "add": {"preferred", "set"},
    "update": {"preferred"},
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
            ("add", "kcload-fixed"): [("2-3", "2", "set")],
            ("update", "kcload-pref"): [("2", "3", "preferred")],
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
            ("add", "kcload-fixed"): [("2,5", "2", "set")],
            ("update", "kcload-pref"): [("2", "5", "preferred")],
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
    snapshots: dict[str, Snapshot]
    events: list[Event]


each_case = pytest.mark.parametrize("boot", [case.boot for case in CASES.values()], ids=CASES)


def seen(boot: Boot, boots: Boots) -> Seen:
    """Returns what a case has told."""
    (case,) = (case for case in CASES.values() if case.boot == boot)
    facts = boots.facts(boot)
    assert not facts.failed_actions
    steps = list(case.steps)
    return Seen(
        case,
        dict(zip(steps, facts.snapshots, strict=True)),
        events(facts.outputs[TRACE]),
    )


def lasting(snapshots: Iterable[Snapshot]) -> set[int]:
    """The threads that are managed kthreads every time, and so not just being made."""
    pids = set.intersection(*({t.pid for t in s.managed} for s in snapshots))
    assert len(pids) > 10
    return pids


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


# Very many threads, and the checkers ------------------------------------------------

PREFERENCES, THREADS = 200, 10_000
MANY = Boot(
    "on",
    Machine(memory=1024),
    "kthread_cpus=2-3 trace_clock=counter kcguest.do=debug,insmod:/kc/kcload.ko,"
    "write:/proc/sys/kernel/threads-max=20000,write:/proc/sys/kernel/pid_max=40000,"
    f"write:/proc/kcload=add~prefs:{PREFERENCES}~{THREADS},"
    "write:/sys/kernel/tracing/events/kthread_cpus/kthread_affinity/enable=1,"
    f"write:{KCPUS}=4-5,tally",
    guest="kcload",
)
# The kernel with the checkers of locks, and with masks for 8,192 CPUs.
CHECKED = Boot(
    "kunit",
    Machine(smp=4),
    "kunit.enable=0 kthread_cpus=2-3 trace_clock=counter "
    "trace_event=kthread_cpus:kthread_affinity kcguest.do=debug,affinity:khungtaskd=2,look:user,"
    "offline:2+3,look:offline,online:2+3,isolate:3,isolate,"
    f"write:{KCPUS}=1,look:confine,read:{CLASSES},lines:{TRACE}",
    timeout=900.0,
)
UNCHANGED = Boot("kunit", Machine(smp=4), "kunit.enable=0", timeout=900.0)


@pytest.mark.parametrize(("boot", "reference"), [(CHECKED, UNCHANGED)], ids=["checked"])
def test_checkers_are_content(boot: Boot, reference: Boot, boots: Boots) -> None:
    """Nothing that looks inside makes the kernel complain."""
    facts = boots.facts(boot)
    assert not facts.failed_actions
    assert facts.files[CLASSES] == "kthread,wq,umh,init,irq,timer"
    moved = [event for event in events(facts.outputs[TRACE]) if event.name == "khungtaskd"]
    assert [(format_cpus(e.old), format_cpus(e.new), e.reason) for e in moved] == [
        ("2-3", "2", "user"),
        ("2", "2-3", "offline"),
        ("2-3", "0-3", "offline"),
        ("0-3", "2", "online"),
        ("2", "1", "kthread_cpus"),
    ]
    assert not new_complaints(facts, boots.facts(reference))


def confined(preference: CpuSet, cpus: str) -> str:
    """Returns the CPUs of a thread that prefers some, as a list."""
    return format_cpus(preference & parse_cpus(cpus) or parse_cpus(cpus))


@pytest.mark.parametrize("boot", [MANY], ids=["many"])
def test_very_many_threads(boot: Boot, boots: Boots) -> None:
    """When the list changes, there is one event for each of them, and each is there then."""
    facts = boots.facts(boot)
    assert not facts.failed_actions
    moved: Counter[tuple[str, str, str]] = Counter()
    placed: Counter[str] = Counter()
    for line in facts.outputs["tally"]:
        if match := re.fullmatch(
            r"event kcload-prefs old=(\S+) new=(\S+) reason=(\w+) (\d+)", line
        ):
            old, new = (format_cpus(parse_mask(match[number])) for number in (1, 2))
            moved[old, new, match[3]] += int(match[4])
        elif match := re.fullmatch(r"thread kcload-prefs (\S+) (\d+)", line):
            placed[match[1]] += int(match[2])
    # Bit n of the number of its preference stands for CPU n, see tools/kcload.
    preferences = [
        frozenset(cpu for cpu in range(8) if (number % PREFERENCES + 1) >> cpu & 1)
        for number in range(THREADS)
    ]
    assert moved == Counter(
        (confined(preference, "2-3"), confined(preference, "4-5"), "kthread_cpus")
        for preference in preferences
    )
    assert placed == Counter(confined(preference, "4-5") for preference in preferences)


# The classes --------------------------------------------------------------------------

# The boot option has chosen, and what is written later does not change that.
SOME = Boot(
    "on",
    Machine(),
    f"kthread_cpus=irq,umh,2-3 kcguest.do=write:{KCPUS}=1,lines:{CLASSES},"
    f"write:{KCPUS}=all,lines:{CLASSES},read:{KCPUS}",
)
FIXED = Boot(
    "on",
    Machine(),
    f"kthread_cpus=irq,2-3 kcguest.do=lines:{CLASSES},write:{KCPUS}=1,write:{CLASSES}=wq,"
    f"lines:{CLASSES},read:{KCPUS}",
)


@pytest.mark.parametrize("boot", [SOME], ids=["some"])
def test_classes(boot: Boot, boots: Boots) -> None:
    """The file has the classes that the boot option names, in the order of the documentation."""
    facts = boots.facts(boot)
    assert not facts.failed_actions
    assert facts.outputs[CLASSES] == ["umh,irq", "umh,irq"]
    assert facts.files[KCPUS] == "0-7"


@pytest.mark.parametrize("boot", [FIXED], ids=["fixed"])
def test_classes_cannot_be_written(boot: Boot, boots: Boots) -> None:
    """Nor can the list be, if all that is confined is what stays where it is."""
    facts = boots.facts(boot)
    assert facts.failed_actions == [f"write:{KCPUS}=1", f"write:{CLASSES}=wq"]
    assert facts.outputs[CLASSES] == ["irq", "irq"]
    assert facts.files[KCPUS] == "2-3"


# gdb ------------------------------------------------------------------------------


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


def test_gdb(boots: Boots) -> None:
    """lx-cpus has the CPUs of the option, in a running machine and in the image of its memory."""
    out = boots.out / "on"
    guest = vm.Guest(boots.image("on"), boots.initrd, "kthread_cpus=2-3 kcguest.do=debugger")
    shown: list[str] = []

    with tempfile.TemporaryDirectory() as scratch:
        # A path of a socket must be short.
        server, image = Path(scratch) / "gdb", Path(scratch) / "memory"
        output = bytearray()

        def look(chunk: bytes) -> None:
            output.extend(chunk)
            if shown or b"kcguest: ask debugger" not in output:
                return
            commands = [f"target remote {server}", "lx-cpus"]
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
        assert not parse(console.text).failed_actions
        shown.append(run_gdb(out, f"core-file {image}", "lx-cpus"))
        for text in shown:
            assert re.search(r"^Kthread CPUs +: \[2, 3\]$", text, re.M), text
            assert re.search(r"^Online CPUs +: \[0, 1, 2, 3, 4, 5, 6, 7\]$", text, re.M), text
