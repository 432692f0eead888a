# SPDX-License-Identifier: GPL-2.0
"""What `kthread-cpus plan --verify` says of a command line is what a kernel makes of it.

Every line is booted. Before that, the program is asked on the host, with nothing but a recording of
the machine as it is without these options; and again in the guest, where it reads the line itself.
Both must say what /sys, /proc and the log say then.

Not run by `make test`: pytest takes a file of this name only when it is told to (scripts/cmdlines).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import vm
from facts import CpuSet, Facts, format_cpus, parse_cpus
from scenarios import HALF, Boot
from vm import Machine

if TYPE_CHECKING:
    from conftest import Boots

# The kernels: directories under build/out, and the unpatched one.
KERNELS = os.environ.get("KC_CMDLINES", "").split()
TOOL = vm.BUILD / "tool-dist" / "kthread-cpus"
CPU = "/sys/devices/system/cpu"
CLASSES = f"{CPU}/kthread_cpus_classes"
KERNEL_MAX = f"{CPU}/kernel_max"
SUSPEND = "/sys/power/wakeup_count"
VERIFY = "plan~--verify~--json"

# Many of these on a busy host; none is to fail for that.
TIMEOUT = 900.0
EIGHT = Machine()
SIBLINGS = Machine(nodes=1, threads=2)
ABSENT = HALF
ONE = Machine(smp=1, nodes=1)


@dataclass(frozen=True)
class Row:
    """A command line, and what 7.3 with the series makes of it by its documentation.

    `kept` is K as the kernel keeps it, None if nothing is confined; `flags` are the classes,
    all if none. `always` is what the machine needs to be what it is, recorded too.
    """

    line: str
    isolated: str = ""
    tickless: str = ""
    kept: str | None = None
    flags: str = "kthread,wq,umh,init,irq,timer"
    machine: Machine = EIGHT
    always: str = ""

    @property
    def id(self) -> str:
        """A name for the row."""
        return self.line.encode("ascii", "backslashreplace").decode().replace("\t", "\\t")


ISOLCPUS = [
    Row("isolcpus=4-7", "4-7"),
    Row("isolcpus=domain,4-7", "4-7"),
    Row("isolcpus=managed_irq,4-7"),
    Row("isolcpus=managed_irq,domain,4-7 nohz_full=4-7 rcu_nocbs=4-7", "4-7", "4-7"),
    Row("isolcpus=nohz,2-3 kthread_cpus=2-3", "", "2-3", "2-3"),
    Row("isolcpus=domain,nohz,4-7 kthread_cpus=0-3", "4-7", "4-7", "0-3"),
    Row("isolcpus=no_such,2-3", "2-3"),
    Row("isolcpus=domain,,2-3", "2-3"),
    Row(
        "isolcpus=domain,managed_irq:2-3,6-7 nohz_full=2-3,6-7 kthread_cpus=0-1",
        "",
        "2-3,6-7",
        "0-1",
    ),
    Row("isolcpus=wq2,2-3"),
    Row("isolcpus=N kthread_cpus=0-1", kept="0-1"),
    Row("isolcpus=domain,all kthread_cpus=0-1", kept="0-1"),
    Row("isolcpus=domain"),
    Row("isolcpus=domain, rw"),
    Row("isolcpus= isolcpus"),
    Row("isolcpus=2-8"),
    Row("isolcpus=1-N:1/2,0-0", "0-1,3,5,7"),
    # The first one counts, or none of a later one.
    Row("isolcpus=1-3 isolcpus=managed_irq,domain,1-5 kthread_cpus=4-5", "1-3", "", "4-5"),
    Row("isolcpus=1-3 isolcpus=managed_irq,domain,1-3", "1-3"),
    Row("isolcpus=managed_irq,2-3 isolcpus=domain,4-5", "4-5"),
    Row("isolcpus=bad isolcpus=6-7", "6-7"),
    Row("isolcpus=2-3 iso-lcpus=4-5", "2-3"),
    # One CPU must be left, and started.
    Row("isolcpus=0-7", "1-7"),
    Row("isolcpus=0-3 maxcpus=2", "1-3"),
    Row("isolcpus=0", machine=ONE),
]

NOHZ_FULL = [
    Row("nohz_full=2-7", "", "2-7"),
    Row("nohz_full=0-3", "", "0-3"),
    Row("nohz_full=all kthread_cpus=0", "", "1-7", "0"),
    Row("nohz-full=4-7 kthread-cpus=0-1", "", "4-7", "0-1"),
    Row("nohz_full=2-3 nohz_full=4-5", "", "2-3"),
    Row("nohz_full"),
    Row("nohz_full=4-x"),
    Row("isolcpus=0-3 nohz_full=4-7 kthread_cpus=0-1", "0-3", "4-7"),
    Row("isolcpus=managed_irq,0-3 nohz_full=4-7", "", "4-7"),
    Row(
        "isolcpus=domain,nohz,managed_irq,2-3,6-7 nohz_full=0-7 kthread_cpus=2-3",
        "2-3,6-7",
        "2-3,6-7",
    ),
    Row("nohz_full=4-7 isolcpus=6-7 kthread_cpus=4-5", "6-7", "4-7", "4-5"),
]

KTHREAD_CPUS = [
    Row("kthread_cpus=0-1", kept="0-1"),
    Row("kthread_cpus=timer,wq,2-3", kept="2-3", flags="wq,timer"),
    Row("kthread_cpus=kthread,0,N", kept="0,7", flags="kthread"),
    Row("kthread_cpus=all", kept="0-7"),
    Row("kthread_cpus=0-31:2/4", kept="0-1,4-5"),
    Row("kthread_cpus=0,8-63", kept="0"),
    Row("kthread_cpus=N,all:1/4,20", kept="0,4,7"),
    Row("kthread_cpus=8-63"),
    Row("kthread_cpus=0,99999"),
    Row("kthread_cpus=0,4294967296"),
    Row("kthread_cpus=0-1,x"),
    Row("kthread_cpus=irq,0,9,3-2"),
    Row("kthread_cpus=wq,tick,0"),
    Row("kthread_cpus=wq:0"),
    Row("kthread_cpus= rw"),
    Row("kthread_cpus=wq"),
    Row("kthread_cpus=0-1 kthread-cpus=2-3", kept="2-3"),
    Row("kthread_cpus=0-1 kthread_cpus"),
    Row("kthread_cpus=0-1 kthread_cpus=x"),
    Row("kthread_cpus=1-2 isolcpus=2-3", "2-3", "", "1-2"),
    Row("kthread_cpus=2-3 isolcpus=managed_irq,domain,2-3 nohz_full=2,3", "2-3", "2-3"),
    Row("kthread_cpus=9 isolcpus=2-3", "2-3"),
    # With numbers of other machines.
    Row("kthread_cpus=4-5", kept="4-5", machine=ABSENT, always="acpi=off"),
    Row("kthread_cpus=1,6-9 isolcpus=1", "1", "", "1,6-7", machine=ABSENT, always="acpi=off"),
    Row("nr_cpus=4 kthread_cpus=2-5", kept="2-3"),
    Row("kthread_cpus=2-N nr_cpus=4", kept="2-3"),
    Row("kthread_cpus=4-5 nr_cpus=4"),
]

WORDS = [
    Row("kthread_cpus=0, 1 isolcpus=2, 3", "2", "", "0"),
    Row('kthread_cpus="0, 1" isolcpus="managed_irq,domain,2-7"', "2-7", "", "0-1"),
    Row('"kthread_cpus=0, 1" isolcpus=2, rw', "2", "", "0-1"),
    Row('isolcpus="2"-3 kthread_cpus=0"-1', kept=None),
    Row('isolcpus=2-3 kthread_cpus="0-1', "2-3", "", "0-1"),
    Row("kthread_cpus=0-1 -- kthread_cpus=2-3 isolcpus=4", kept="0-1"),
    Row('isolcpus=4 "--" kthread_cpus=2-3', "4"),
    Row("isolcpus=2\tkthread_cpus=0-1", "2", "", "0-1"),
    Row("isolcpus=4-7\u00a0kthread_cpus=2-3", kept="2-3"),
    Row("ISOLCPUS=2 xisolcpus=3 kthread_cpusx=0-1"),
]

OTHERS = [
    Row("rcu_nocbs=2-3"),
    Row("rcu-nocbs nohz_full=4", "", "4"),
    Row("rcu_nocbs=8 kthread_cpus=0", kept="0"),
    Row("rcu_nocbs=2-3 rcu_nocbs=4-5"),
    Row("rcu_nocbs=all"),
    Row("irqaffinity=2-3"),
    Row("irqaffinity=0-1 kthread_cpus=2-3", kept="2-3"),
    Row("irqaffinity=2-3,x"),
    Row("irqaffinity=2-3 irqaffinity=5"),
    Row("irqaffinity kthread_cpus=irq,1", kept="1", flags="irq"),
    Row("systemd.cpu_affinity=0-1 isolcpus=2-7", "2-7"),
    Row("nr_cpus=4 isolcpus=2-7"),
    Row("isolcpus=2-3 nr_cpus=4 nr-cpus=0x6 kthread_cpus=0-7", "2-3", "", "0-3"),
    Row("nr_cpus=0 nr_cpus=010 maxcpus=3k"),
    Row("maxcpus=2 kthread_cpus=4-5", kept="4-5"),
    Row("maxcpus=1 nohz_full=1-3", "", "1-3"),
    Row("nosmp kthread_cpus=0-1", kept="0"),
    Row("maxcpus=0 kthread_cpus=0-1", kept="0"),
    Row("nosmt kthread_cpus=0-3", kept="0-3", machine=SIBLINGS),
    Row("nosmt=force kthread_cpus=1,3", kept="1,3", machine=SIBLINGS),
    Row("nosmt isolcpus=2-7", "2-7", machine=SIBLINGS),
]

# As people have them, for 8 CPUs: ../shared/cases/README.md. Of some, 7.3 makes something else
# than is written there, see cmdlines.md.
CASES = [
    # What nohz_full= has said, isolcpus= may not say again, though it be the same.
    Row(
        "nohz_full=1-2,5-6 isolcpus=nohz,domain,managed_irq,1-2,5-6 rcu_nocbs=1-3,5-N "
        "kthread_cpus=0,4 irqaffinity=3,7",
        "",
        "1-2,5-6",
        "0,4",
    ),
    # Three kinds of CPUs: for the kernel, for interrupts and processes, isolated.
    Row(
        "isolcpus=nohz,domain,managed_irq,1-2,5-6 rcu_nocbs=1-3,5-N kthread_cpus=0,4 "
        "irqaffinity=3,N",
        "1-2,5-6",
        "1-2,5-6",
        "0,4",
    ),
    Row(
        "nohz_full=1-3 rcu_nocbs=1-3 kthread_cpus=4-N irqaffinity=4-N "
        "isolcpus=managed_irq,domain,1-3",
        "1-3",
        "1-3",
        "4-7",
    ),
    Row(
        "isolcpus=1-3,5-N rcu_nocbs=1-3,5-N kthread_cpus=0 irqaffinity=0",
        "1-3,5-7",
        "",
        "0",
    ),
    # With the CPU that boots, and once more with fewer.
    Row(
        "isolcpus=managed_irq,domain,0,2,4,6 nohz_full=0,2,4,6 isolcpus=managed_irq,domain,0,2,4 "
        "kthread_cpus=5,N",
        "0,2,4,6",
        "0,2,4,6",
        "5,7",
    ),
    Row(
        "nohz_full=6,7 kthread_cpus=6,7 isolcpus=managed_irq,domain,6,7",
        "6-7",
        "6-7",
    ),
    Row(
        "isolcpus=managed_irq,2-N nohz_full=2-N rcu_nocbs=2-N kthread_cpus=0-1 irqaffinity=0-1",
        "",
        "2-7",
        "0-1",
    ),
    Row("nohz_full=2-7 irqaffinity=0-1 isolcpus=managed_irq,2-7", "", "2-7"),
    # The same without what an unpatched kernel does not know.
    Row(
        "nohz_full=1-2,5-6 isolcpus=nohz,domain,managed_irq,1-2,5-6 rcu_nocbs=1-3,5-7 "
        "irqaffinity=3,7",
        "",
        "1-2,5-6",
    ),
    Row("nohz_full=1-3 isolcpus=managed_irq,domain,1-3 irqaffinity=4-7", "1-3", "1-3"),
]

ROWS = [*ISOLCPUS, *NOHZ_FULL, *KTHREAD_CPUS, *WORDS, *OTHERS, *CASES]


def rows_of(kernel: str) -> list[Row]:
    """The rows for a kernel: one without the option ignores it the same way each time."""
    if kernel == "on":
        return ROWS
    return [row for row in ROWS if "kthread" not in row.line or row.line == "kthread_cpus=0-1"]


# Of machines, as they are without any of these options.
READ = [KERNEL_MAX, SUSPEND, *(f"{CPU}/cpu{n}/topology/core_cpus_list" for n in range(8))]


def boot_of(kernel: str, row: Row, *words: str) -> Boot:
    """A boot of a row's machine."""
    return Boot(kernel, row.machine, " ".join(filter(None, words)), timeout=TIMEOUT)


def booted(kernel: str, row: Row) -> Boot:
    """The boot of a line; what is for the guest is before it, as it may end with a quote."""
    do = f"kcguest.do=facts,read:{CLASSES},tool:{VERIFY}"
    return boot_of(kernel, row, do, row.always, row.line)


def plain(kernel: str, row: Row) -> Boot:
    """The boot of the same machine without the line."""
    do = f"kcguest.do=facts,{','.join(f'read:{path}' for path in READ)}"
    return boot_of(kernel, row, do, row.always)


def record(facts: Facts, root: Path) -> None:
    """Writes what a kernel says of a machine, as recordings for --root have it."""
    snapshot = facts.last
    files = {f"{CPU}/{name}": format_cpus(cpus) for name, cpus in snapshot.masks.items() if cpus}
    for node, cpus in snapshot.nodes.items():
        files[f"/sys/devices/system/node/node{node}/cpulist"] = format_cpus(cpus)
    files["/proc/sys/kernel/osrelease"] = facts.kernel
    files["/proc/cmdline"] = ""
    # A sign of sysfs, in which the lack of another file means something.
    files["/sys/kernel/fscaps"] = "1"
    files |= {path: value for path, value in facts.files.items() if value is not None}
    for name, value in files.items():
        file = root / name.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")


def predicted(facts: Facts, line: str, root: Path) -> dict[str, Any]:
    """Returns what the program says of a line on a machine that has not been booted with it."""
    record(facts, root)
    command = [TOOL, "--root", root, "plan", "--verify", "--json", "--cmdline", line]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def value_of(option: str) -> tuple[str, str | None]:
    """Returns the name and the value of an option without the quotation marks around either."""
    quoted = option.removeprefix('"')
    name, equals, value = quoted.partition("=")
    if quoted != option or value.startswith('"'):
        value = value.removeprefix('"').removesuffix('"')
    return name, value if equals else None


class Told:
    """What the kernel has said in the log."""

    def __init__(self, facts: Facts) -> None:
        self.lines = [line.text for line in facts.log]

    def find(self, pattern: str) -> str | None:
        """Returns the first group of a pattern that some line has."""
        found = (re.search(pattern, line) for line in self.lines)
        return next((match[1] for match in found if match), None)

    def unknown(self, option: str) -> bool:
        """Whether an option is among those that the kernel says it does not know, which are also
        those that it refuses."""
        name, value = value_of(option)
        words = name if value is None else f"{name}={value}"
        told = self.find(r'Unknown kernel command line parameters "(.*)", will be passed') or ""
        return f" {words} " in f" {told.strip()} "


def differences(document: dict[str, Any], facts: Facts) -> list[str]:
    """Returns in what the program is wrong about a kernel."""
    reading, snapshot, told = document["reading"], facts.last, Told(facts)
    masks = snapshot.masks
    found: list[str] = []

    def same(what: str, said: str | CpuSet, seen: str | CpuSet) -> None:
        said, seen = (parse_cpus(cpus) if isinstance(cpus, str) else cpus for cpus in (said, seen))
        if said != seen:
            found.append(f"{what}: {format_cpus(said)}, but the kernel: {format_cpus(seen)}")

    def check(what: str, holds: bool) -> None:
        if not holds:
            found.append(what)

    same("possible", reading["possible"], masks["possible"])
    same("started", reading["starting"], masks["online"])
    same("isolated", reading["isolated"], masks["isolated"])
    same("tickless", reading["nohz_full"], masks.get("nohz_full", frozenset()))
    offloaded = told.find(r"rcu:\s+Offload RCU callbacks from CPUs: ([-0-9,]+)\.")
    same("rcu_nocbs", reading["rcu_nocbs"], offloaded or "")

    # What the kernel refuses, it does not know.
    ignored = [item["option"] for item in reading["ignored"]]
    for option in reading["used"]:
        name = value_of(option)[0].replace("-", "_")
        if name in ("isolcpus", "nohz_full", "irqaffinity"):
            check(
                f"{option} is {'' if option in ignored else 'not '}ignored",
                told.unknown(option) == (option in ignored),
            )
    for item in document["contradictions"]:
        if item["name"] == "cut-list":
            word = re.search(r"at its comma: (\S+) behind", item["text"])[1]
            check(f"{word} is a word of its own", told.unknown(word))

    confined = reading["kthread_cpus"]
    housekeeping = masks["possible"] - masks["isolated"]
    threads = parse_cpus(reading["early_kthreads"])
    interrupts = masks["possible"]
    classes: list[str] = []
    if "kthread_cpus" in masks:
        lines = [line for line in told.lines if line.startswith("kthread_cpus: ")]
        refused = [
            item
            for item in reading["ignored"]
            if value_of(item["option"])[0].replace("-", "_") == "kthread_cpus"
        ]
        same("K", confined["cpus"] if confined else masks["possible"], masks["kthread_cpus"])
        classes = confined["classes"].split(",") if confined else []
        check(
            f"confined: {classes}, but the kernel: {facts.files[CLASSES]}",
            classes == (facts.files[CLASSES] or "").split(",")
            or not (classes or facts.files[CLASSES]),
        )
        check(
            "kthread_cpus= is ignored", bool(refused) == any(" ignoring " in line for line in lines)
        )
        for item in refused:
            place = re.search(r"at offset (\d+)", item["why"])
            check(
                f"{item['why']}; the kernel: {lines}",
                (place[1] if place else None)
                == told.find(r"^kthread_cpus: ignoring .* at offset (\d+)"),
            )
        for words, pattern in (
            ("does nothing: kthread_cpus= stands there again", r"^kthread_cpus: (given) \d+ times"),
            ("the kernel leaves them out", r"^kthread_cpus: (dropping)"),
            ("until one comes", r"^kthread_cpus: (no CPU) of .* is online"),
        ):
            said = any(words in remark for remark in document["remarks"])
            check(f'"{words}"; the kernel: {lines}', said == bool(told.find(pattern)))
        if confined:
            usable = parse_cpus(confined["cpus"]) & housekeeping
            usable = usable if usable & masks["online"] else housekeeping
            threads = usable if "kthread" in classes else threads
            interrupts = usable if "irq" in classes else interrupts
    else:
        for option in reading["used"]:
            if value_of(option)[0].replace("-", "_") == "kthread_cpus":
                check(f"{option} is not known here", told.unknown(option))
    same("kthreadd", threads, snapshot.named("kthreadd").allowed)
    if reading["irqaffinity"] is not None:
        interrupts = parse_cpus(reading["irqaffinity"])
    same("interrupts", interrupts, snapshot.irq_default)
    return found


EACH = pytest.mark.parametrize(
    ("boot", "before", "row"),
    [
        pytest.param(booted(kernel, row), plain(kernel, row), row, id=f"{kernel}: {row.id}")
        for kernel in KERNELS
        for row in rows_of(kernel)
    ],
)


@EACH
def test_prediction(boot: Boot, before: Boot, row: Row, boots: Boots, tmp_path: Path) -> None:
    """What the program says of the line before it is booted is what comes of it."""
    document = predicted(boots.facts(before), row.line, tmp_path)
    assert differences(document, boots.facts(boot)) == []


@EACH
def test_in_the_guest(boot: Boot, before: Boot, row: Row, boots: Boots, tmp_path: Path) -> None:
    """In the guest it says the same."""
    facts = boots.facts(boot)
    line = vm.Guest(Path(), Path(), boot.append).command_line(boot.machine.arch)
    assert facts.cmdline == line.rstrip()
    document = json.loads("\n".join(facts.outputs[f"tool:{VERIFY}"]))
    assert document["kernel"] == facts.kernel
    assert differences(document, facts) == []
    reading = predicted(boots.facts(before), row.line, tmp_path)["reading"]
    assert document["reading"] == reading


@pytest.mark.parametrize(
    ("boot", "row"),
    [pytest.param(booted("on", row), row, id=row.id) for row in ROWS if "on" in KERNELS],
)
def test_documented(boot: Boot, row: Row, boots: Boots) -> None:
    """A kernel with the series does what the documentation says."""
    facts = boots.facts(boot)
    masks = facts.last.masks
    assert masks["isolated"] == parse_cpus(row.isolated)
    assert masks.get("nohz_full", frozenset()) == parse_cpus(row.tickless)
    kept = masks["possible"] if row.kept is None else parse_cpus(row.kept)
    assert masks["kthread_cpus"] == kept
    assert facts.files[CLASSES] == ("" if row.kept is None else row.flags)


def visible(document: dict[str, Any], facts: Facts) -> list[Any]:
    """Returns what the program says of a line that can be seen in the kernel."""
    reading = document["reading"]
    seen = [
        reading[name] for name in ("possible", "starting", "isolated", "nohz_full", "rcu_nocbs")
    ]
    confined = reading["kthread_cpus"]
    if "kthread_cpus" in facts.last.masks and confined:
        seen += [confined["cpus"], confined["classes"]]
    return seen


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_difference_is_seen(kernel: str, boots: Boots) -> None:
    """What is true of one line and not of another is not taken for true of the other."""
    told = [boots.facts(booted(kernel, row)) for row in rows_of(kernel) if row.machine == EIGHT]
    said = [json.loads("\n".join(facts.outputs[f"tool:{VERIFY}"])) for facts in told]
    pairs = [
        (mine, other, facts)
        for mine, facts in zip(said, told, strict=True)
        for other in said
        if visible(mine, facts) != visible(other, facts)
    ]
    assert len(pairs) > 500
    missed = [facts.cmdline for _, other, facts in pairs if not differences(other, facts)]
    assert missed == []
