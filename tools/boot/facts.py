# SPDX-License-Identifier: GPL-2.0
"""Reads what the test guest has printed and judges it.

The guest prints facts, one per line: "@kc WORD KEY=VALUE ...", values percent-encoded.
All other lines are the kernel's. What is known about the wording of the kernel's own
messages stands in this file and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from vm import BEFORE_7_0

PREFIX = "@kc "
FORMAT_VERSION = "1"

PF_KTHREAD = 0x00200000
PF_NO_SETAFFINITY = 0x04000000

FLAGS = ("kthread", "wq", "umh", "init", "irq", "timer")

# The line for an option that was taken.
ACCEPTED = re.compile(
    r"^kthread_cpus: confined (?P<flags>[a-z,]+) to CPUs (?P<cpus>[0-9,-]+)"
    r"(?: less isolated [0-9,-]+)? out of [0-9,-]+(?:, less isolated CPUs [0-9,-]+)?$"
)
# Any other line about it. At warning level it says what was not done as written.
SPOKEN = re.compile(r"^kthread_cpus: ")
# The kernel's list of options that it has never heard of.
UNKNOWN = re.compile(r'^Unknown kernel command line parameters "(?P<words>.*)"')

CpuSet = frozenset[int]

WARNING_LEVEL = 4


class FactsError(Exception):
    """The output is not a whole set of facts."""


# CPU lists -----------------------------------------------------------------------


def parse_cpus(text: str) -> CpuSet:
    """Parses a CPU list as the kernel prints it: "0-3,8", or nothing for no CPU."""
    cpus: set[int] = set()
    for region in text.strip().split(","):
        # Kernels before 6.9 print this for a mask that was never made.
        if region in ("", "(null)"):
            continue
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", region)
        if not match:
            raise ValueError(f"not a CPU list: {text!r}")
        cpus.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return frozenset(cpus)


def parse_mask(text: str) -> CpuSet:
    """Parses a CPU mask as the kernel prints it: hexadecimal words, commas between."""
    value = int(text.strip().replace(",", "") or "0", 16)
    return frozenset(bit for bit in range(value.bit_length()) if value >> bit & 1)


def parse_request(text: str, count: int) -> CpuSet:
    """Parses a CPU list as a person writes it, for `count` CPUs.

    This is the rough reading of a kernel that does not know the option; where the
    kernel does, its own word counts.
    """
    cpus: set[int] = set()
    for region in re.split(r"[,\s]+", text):
        if not region:
            continue
        match = re.fullmatch(r"(?i:(all))|(\d+|N)(?:-(\d+|N))?(?::(\d+)/(\d+))?", region)
        if not match:
            raise ValueError(f"not a CPU list: {text!r}")
        everything, first, last, used, group = match.groups()
        low, high = (
            (0, count - 1)
            if everything
            else (count - 1 if word == "N" else int(word) for word in (first, last or first))
        )
        if low > high or high >= count or (group and not 0 < int(group) >= int(used)):
            raise ValueError(f"not a CPU list for {count} CPUs: {text!r}")
        cpus.update(
            cpu for cpu in range(low, high + 1) if not group or (cpu - low) % int(group) < int(used)
        )
    return frozenset(cpus)


def split_flags(value: str) -> tuple[tuple[str, ...], str]:
    """Splits the option's value into its flags (all if there is none) and its list."""
    flags: list[str] = []
    while True:
        word, comma, rest = value.partition(",")
        if word not in FLAGS:
            return tuple(flags) or FLAGS, value
        flags.append(word)
        value = rest
        if not comma:
            return tuple(flags), ""


def format_cpus(cpus: Iterable[int]) -> str:
    """Formats CPUs as the kernel does; "none" if there is none."""
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges) or "none"


# What was seen -------------------------------------------------------------------


RESCUING = re.compile(r"kworker/R-(?:(.{1,23})[+-]\1|(.{23}).+[+-]\2)")


@dataclass(frozen=True)
class Thread:
    """A thread at the time of a snapshot; `cpu` is the one that it ran on last."""

    pid: int
    name: str
    flags: int
    allowed: CpuSet
    cpu: int

    @property
    def kthread(self) -> bool:
        """Whether it is a thread of the kernel."""
        return bool(self.flags & PF_KTHREAD)

    @property
    def bound(self) -> bool:
        """Whether the kernel has bound it for good."""
        return bool(self.flags & PF_NO_SETAFFINITY)

    @property
    def managed(self) -> bool:
        """Whether it is a managed kthread: one that the flag "kthread" is about."""
        # Before 7.0, only the series sets the flag of those that follow an interrupt.
        return self.kthread and not self.bound and not (BEFORE_7_0 and self.irq is not None)

    @property
    def rescuer(self) -> bool:
        """Whether it is the rescuer of a workqueue."""
        return self.bound and self.name.startswith("kworker/R-")

    @property
    def resting_rescuer(self) -> bool:
        """Whether it is a rescuer that helps nobody, and so has CPUs of its own."""
        return self.rescuer and not self.rescuing

    @property
    def rescuing(self) -> bool:
        """Whether it is a rescuer that helps a pool of workers, whose CPUs it then has.

        That may be the pool of a CPU. Its name then ends with what it works or has worked on,
        by default the first 23 characters of the workqueue's (wq_worker_comm(), WORKER_DESC_LEN).
        """
        return self.bound and bool(RESCUING.fullmatch(self.name))

    @property
    def unbound_worker(self) -> bool:
        """Whether it works for unbound workqueues."""
        return self.bound and self.name.startswith("kworker/u")

    @property
    def irq(self) -> int | None:
        """The number of the interrupt that it handles."""
        match = re.match(r"irq/(\d+)-", self.name)
        return int(match[1]) if match else None

    @property
    def group(self) -> str:
        """The name without what counts instances, so that like threads meet in one row."""
        name = re.sub(r"^(kworker/)([uR]?)-?[^+-]*([+-].*)?$", _worker_group, self.name)
        name = re.sub(r"/\d+$", "/N", name)
        return re.sub(r"\d+$", "N", name) if re.match(r"[a-z_]+\d+$", name) else name


def _worker_group(match: re.Match[str]) -> str:
    """Returns the kind of kworker: bound to a CPU, unbound ("u") or rescuer ("R")."""
    return {"u": "kworker/u*", "R": "kworker/R-*"}.get(match[2], "kworker/N:*")


@dataclass(frozen=True)
class Irq:
    """An interrupt: where it may go and where it does."""

    number: int
    affinity: CpuSet
    effective: CpuSet


@dataclass
class Snapshot:
    """The machine at one moment."""

    uptime: float = 0.0
    masks: dict[str, CpuSet] = field(default_factory=dict)
    nodes: dict[int, CpuSet] = field(default_factory=dict)
    threads: list[Thread] = field(default_factory=list)
    irqs: list[Irq] = field(default_factory=list)
    irq_default: CpuSet | None = None
    workqueues: CpuSet | None = None

    @property
    def possible(self) -> CpuSet:
        """The possible CPUs."""
        return self.masks["possible"]

    @property
    def online(self) -> CpuSet:
        """The online CPUs."""
        return self.masks["online"]

    @property
    def housekeeping(self) -> CpuSet:
        """H: the possible CPUs that are not isolated."""
        none: CpuSet = frozenset()
        left = self.possible - self.masks.get("isolated", none)
        if not BEFORE_7_0:
            return left
        left -= self.masks.get("partitions", none)
        return left - self.masks.get("nohz_full", none) or left

    @property
    def managed(self) -> list[Thread]:
        """The managed kthreads."""
        return [thread for thread in self.threads if thread.managed]

    def named(self, name: str) -> Thread:
        """Returns the one thread of that name."""
        found = [thread for thread in self.threads if thread.name == name]
        if len(found) != 1:
            raise FactsError(f"{len(found)} threads are called {name}")
        return found[0]

    def ceiling(self, confined: CpuSet) -> CpuSet:
        """Returns the widest mask that a managed kthread may have when K is `confined`.

        That is the first of K and H, H, everything that has an online CPU.
        """
        for level in (confined & self.housekeeping, self.housekeeping):
            if level & self.online:
                return level
        return self.possible

    def outside(self, confined: CpuSet) -> list[Thread]:
        """Returns the managed kthreads that may run where they must not."""
        ceiling = self.ceiling(confined)
        return [thread for thread in self.managed if not thread.allowed <= ceiling]


@dataclass(frozen=True)
class LogLine:
    """A kernel message; `level` only if the guest has told it (see klog)."""

    text: str
    level: int | None = None


@dataclass
class Step:
    """How things were after one step of guest/steps/main.c; `threads` has kernel threads only.

    What a thread ran on last is not looked at here: `cpu` is -1. `kcpus` is what the file
    kthread_cpus says, `workqueues` and `requested` what those of the workqueues do; None if
    there is no such file. `result` is what the step itself has told.
    """

    number: int
    name: str
    arg: str
    status: int
    online: CpuSet
    isolated: CpuSet
    present: CpuSet
    kcpus: CpuSet | None = None
    workqueues: CpuSet | None = None
    requested: CpuSet | None = None
    irq_default: CpuSet | None = None
    irqs: dict[int, CpuSet] = field(default_factory=dict)
    init_allowed: CpuSet = frozenset()
    # Those of the processes that the steps have started.
    processes: dict[str, CpuSet] = field(default_factory=dict)
    result: dict[str, str] = field(default_factory=dict)
    threads: dict[int, Thread] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"step {self.number} ({self.name} {self.arg})".replace(" )", ")")

    @property
    def managed(self) -> list[Thread]:
        """The managed kthreads."""
        return [thread for thread in self.threads.values() if thread.managed]


@dataclass
class Epoch:
    """A part of the trace: where kernel threads ran while `online` CPUs were in use.

    `kind` is boot, moving (a change is in flight, and `online` and `isolated` are what
    it leads to) or quiet (none is). `ran` are CPUs and the threads that ran on all of
    them, by number and by what they were there: managed, made (still being made), worker
    or rescuer. `counted` has how often a CPU has turned to each kind of work, if that
    was counted.
    """

    kind: str
    step: int
    online: CpuSet
    isolated: CpuSet
    switches: int
    ran: list[tuple[CpuSet, list[tuple[int, str]]]] = field(default_factory=list)
    counted: dict[int, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Sampled:
    """What the trace amounts to: `lost` events are missing in it."""

    events: int
    switches: int
    lost: int
    cpus: CpuSet


@dataclass
class Facts:
    """Everything that one boot has told."""

    kernel: str = ""
    cmdline: str = ""
    init_allowed: CpuSet = frozenset()
    env: dict[str, str] = field(default_factory=dict)
    umh: dict[str, CpuSet] = field(default_factory=dict)
    # Where an interrupt has fired, by its name, and unbound workqueues have done work.
    fired: dict[str, CpuSet] = field(default_factory=dict)
    worked: dict[str, CpuSet] = field(default_factory=dict)
    # How many timers expired on the CPU that was looked at, which had armed its own, and where
    # delayed work ran meanwhile.
    timers: dict[str, int] = field(default_factory=dict)
    delayed: CpuSet = frozenset()
    # How many threads of interrupts have begun on each CPU.
    firsts: dict[int, int] = field(default_factory=dict)
    actions: list[tuple[str, str, int]] = field(default_factory=list)
    files: dict[str, str | None] = field(default_factory=dict)
    snapshots: list[Snapshot] = field(default_factory=list)
    klog: list[LogLine] = field(default_factory=list)
    log: list[LogLine] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    sampled: Sampled | None = None
    # Every kernel thread that a step has seen, by its number.
    names: dict[int, tuple[str, int]] = field(default_factory=dict)
    # Who handles each interrupt that a step has seen, by its number (names with commas between),
    # and those of them that only the kernel places.
    handlers: dict[int, str] = field(default_factory=dict)
    fixed_irqs: set[int] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    # Lines that a test program has printed, by the program.
    outputs: dict[str, list[str]] = field(default_factory=dict)

    @property
    def last(self) -> Snapshot:
        """The last snapshot."""
        if not self.snapshots:
            raise FactsError("the guest made no snapshot")
        return self.snapshots[-1]

    @property
    def failed_actions(self) -> list[str]:
        """The actions that went wrong."""
        return [f"{name}:{arg}" if arg else name for name, arg, status in self.actions if status]

    @property
    def option(self) -> Option:
        """What the kernel says that it did with kthread_cpus=."""
        return Option.from_log(self.klog)

    def complaints(self) -> list[str]:
        """Returns what the kernel has complained about; see `complaints`."""
        return complaints([*self.log, *self.klog])


@dataclass(frozen=True)
class Option:
    """The kernel's own words about kthread_cpus=."""

    lines: tuple[LogLine, ...] = ()
    flags: tuple[str, ...] = ()
    cpus: CpuSet | None = None
    warnings: tuple[LogLine, ...] = ()
    unknown: bool = False

    @property
    def ignored(self) -> bool:
        """Whether the kernel knows the option and did not apply it."""
        return self.cpus is None and bool(self.warnings)

    @classmethod
    def from_log(cls, log: Iterable[LogLine]) -> Option:
        """Finds the option's lines; of several that were accepted the last one counts."""
        lines: list[LogLine] = []
        warnings: list[LogLine] = []
        flags: tuple[str, ...] = ()
        cpus: CpuSet | None = None
        unknown = False
        for line in log:
            if match := UNKNOWN.match(line.text):
                unknown = unknown or any(
                    word.partition("=")[0] == "kthread_cpus" for word in match["words"].split()
                )
            elif match := ACCEPTED.match(line.text):
                lines.append(line)
                flags = tuple(match["flags"].split(","))
                cpus = parse_cpus(match["cpus"])
            elif SPOKEN.match(line.text):
                lines.append(line)
                if line.level is not None and line.level <= WARNING_LEVEL:
                    warnings.append(line)
        return cls(tuple(lines), flags, cpus, tuple(warnings), unknown)


# Reading -------------------------------------------------------------------------


def parse(output: str) -> Facts:
    """Parses the console output of a guest.

    Raises FactsError if a fact is cut, mixed with something else or missing.
    """
    facts = Facts()
    count = 0
    ended = False
    for raw in output.replace("\r", "").split("\n"):
        if not raw.startswith(PREFIX):
            if PREFIX in raw:
                raise FactsError(f"a fact and a message share a line: {raw!r}")
            if raw.strip():
                facts.log.append(LogLine(_untimed(raw)))
            # The CPUs stop then without hotplug, and who still runs may complain about it.
            if ended and _untimed(raw) == RESTART:
                break
            continue
        if ended:
            raise FactsError(f"a fact after the end: {raw!r}")
        word, *pairs = raw[len(PREFIX) :].split(" ")
        values: dict[str, str] = {}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if not equals:
                raise FactsError(f"a cut or broken fact: {raw!r}")
            values[key] = unquote(value, errors="replace")
        if not count and word != "begin":
            raise FactsError(f"the first fact is not the beginning: {raw!r}")
        try:
            if word == "end":
                ended = True
                if int(values["count"]) != count:
                    raise FactsError(f"{count} of {values['count']} facts arrived")
                continue
            count += 1
            _take(facts, word, values)
        except (KeyError, ValueError, IndexError) as error:
            raise FactsError(f"a cut or broken fact ({error!r}): {raw!r}") from error
    if not ended:
        raise FactsError(f"the guest has not reached its end marker ({count} facts before it)")
    return facts


def _untimed(line: str) -> str:
    """Returns a console line without its time and its caller."""
    return re.sub(r"^\[ *\d+\.\d+\](\[ *[TC]\d+\])? ?", "", line)


def _take(facts: Facts, word: str, values: Mapping[str, str]) -> None:
    """Puts one fact where it belongs. Unknown words are left to newer readers."""
    if word == "begin":
        if values["version"] != FORMAT_VERSION:
            raise FactsError(f"facts of version {values['version']}, not {FORMAT_VERSION}")
        facts.kernel = values["kernel"]
    elif word == "cmdline":
        facts.cmdline = values["value"]
    elif word == "init":
        facts.init_allowed = parse_cpus(values["allowed"])
    elif word == "env":
        facts.env[values["name"]] = values["value"]
    elif word == "umh":
        facts.umh[values["helper"]] = parse_cpus(values["allowed"])
    elif word == "fired":
        facts.fired[values["name"]] = parse_cpus(values["cpus"])
    elif word == "worked":
        kind = values["kind"]
        facts.worked[kind] = facts.worked.get(kind, frozenset()) | parse_cpus(values["cpu"])
    elif word == "timers":
        facts.timers = {kind: int(count) for kind, count in values.items()}
    elif word == "first":
        facts.firsts[int(values["cpu"])] = int(values["count"])
    elif word == "delayed":
        facts.delayed = parse_cpus(values["ran"])
    elif word == "action":
        facts.actions.append((values["name"], values["arg"], int(values["status"])))
    elif word == "file":
        facts.files[values["path"]] = values.get("value")
    elif word == "klog":
        facts.klog.append(LogLine(values["text"], int(values["level"])))
    elif word == "snapshot":
        facts.snapshots.append(Snapshot(uptime=float(values["uptime"])))
    elif word == "mask":
        facts.snapshots[-1].masks[values["name"]] = parse_cpus(values["list"])
    elif word == "node":
        facts.snapshots[-1].nodes[int(values["id"])] = parse_cpus(values["list"])
    elif word == "irqdefault":
        facts.snapshots[-1].irq_default = parse_mask(values["mask"])
    elif word == "wqmask":
        facts.snapshots[-1].workqueues = parse_mask(values["mask"])
    elif word == "irq":
        facts.snapshots[-1].irqs.append(
            Irq(
                int(values["id"]),
                parse_cpus(values["affinity"]),
                parse_cpus(values["effective"]),
            )
        )
    elif word == "failed":
        facts.failures.append(values["text"])
    elif word == "output":
        facts.outputs.setdefault(values["of"], []).append(values["line"])
    elif word == "interrupt":
        number = int(values["number"])
        facts.handlers[number] = values["names"]
        facts.fixed_irqs.discard(number)
        if int(values["fixed"]):
            facts.fixed_irqs.add(number)
    elif word in ("step", "result", "kthread", "allowed", "gone"):
        _take_step(facts, word, values)
    elif word in ("epoch", "ran", "counted", "sampled"):
        _take_trace(facts, word, values)
    elif word == "thread":
        facts.snapshots[-1].threads.append(
            Thread(
                pid=int(values["pid"]),
                name=values["name"],
                flags=int(values["flags"], 0),
                allowed=parse_cpus(values["allowed"]),
                cpu=int(values["cpu"]),
            )
        )


def _take_step(facts: Facts, word: str, values: Mapping[str, str]) -> None:
    """Puts a fact about a step where it belongs: only what has changed is told."""
    if word == "step":
        facts.steps.append(
            Step(
                number=int(values["number"]),
                name=values["name"],
                arg=values["arg"],
                status=int(values["status"]),
                online=parse_cpus(values["online"]),
                isolated=parse_cpus(values["isolated"]),
                present=parse_cpus(values["present"]),
                kcpus=_optional(parse_cpus, values.get("kcpus")),
                workqueues=_optional(parse_mask, values.get("wq")),
                requested=_optional(parse_mask, values.get("wqrequested")),
                irq_default=_optional(parse_mask, values.get("irqdefault")),
                irqs={
                    int(key[3:]): parse_mask(mask)
                    for key, mask in values.items()
                    if key.startswith("irq") and key[3:].isdigit()
                },
                init_allowed=parse_cpus(values.get("init", "")),
                processes={
                    name: parse_cpus(values[name]) for name in ("child", "busy") if name in values
                },
                threads=dict(facts.steps[-1].threads) if facts.steps else {},
            )
        )
    elif word == "result":
        pairs = (pair.partition("=") for pair in values["text"].split())
        facts.steps[-1].result = {key: value for key, _, value in pairs}
    elif word == "kthread":
        facts.names[int(values["pid"])] = values["name"], int(values["flags"])
    else:
        threads = facts.steps[-1].threads
        for pid in map(int, values["pids"].split(",")):
            if word == "gone":
                del threads[pid]
                continue
            name, flags = facts.names[pid]
            threads[pid] = Thread(pid, name, flags, parse_cpus(values["list"]), cpu=-1)


def _optional(reader: Callable[[str], CpuSet], text: str | None) -> CpuSet | None:
    """Reads what may not have been told."""
    return None if text is None else reader(text)


def _take_trace(facts: Facts, word: str, values: Mapping[str, str]) -> None:
    """Puts a fact about the trace where it belongs."""
    if word == "epoch":
        facts.epochs.append(
            Epoch(
                kind=values["kind"],
                step=int(values["step"]),
                online=parse_cpus(values["online"]),
                isolated=parse_cpus(values["isolated"]),
                switches=int(values["switches"]),
            )
        )
    elif word == "ran":
        threads = [thread.partition(":") for thread in values["threads"].split(",")]
        facts.epochs[-1].ran.append(
            (
                parse_cpus(values["cpus"]),
                [(int(pid), kind or "managed") for pid, _, kind in threads],
            )
        )
    elif word == "counted":
        counts = {kind: int(count) for kind, count in values.items() if kind != "cpu"}
        facts.epochs[-1].counted[int(values["cpu"])] = counts
    else:
        facts.sampled = Sampled(
            events=int(values["events"]),
            switches=int(values["switches"]),
            lost=int(values["lost"]),
            cpus=parse_cpus(values["cpus"]),
        )


# Judging -------------------------------------------------------------------------

RESTART = "reboot: Restarting system"
COMPLAINT = re.compile(
    r"WARNING: |\bBUG\b|\bOops\b|sleeping function|suspicious RCU|possible recursive locking"
    r"|possible circular locking|inconsistent lock state|Invalid wait context"
    r"|lock held when returning|bad unlock balance|DEBUG_LOCKS_WARN_ON|nobody cared"
    r"|INFO: task|INFO: rcu|rcu: INFO|detected stalls|self-detected stall|soft lockup"
    r"|hard LOCKUP|workqueue lockup|hogged CPU|unable to handle|general protection"
    r"|Kernel panic|panicked at|cut here|Call Trace|scheduling while atomic|UBSAN|KASAN"
    r"|KCSAN|KFENCE|refcount_t|corruption|divide error|invalid opcode"
)
# Worse than a warning is a complaint whatever it says.
ERROR_LEVEL = 3
# Except what comes of a host that gives an emulated guest its time in pieces.
TIMING = re.compile(
    r"^(tsc|clocksource|hpet|mtrr|sched_clock): |Fast TSC|Unstable clock|CE: hpet increased"
    r"|^APIC (timer|calibration|frequency)"
    r"|lapic is not functional|high resolution mode|(perf|hrtimer): interrupt took"
    r"|keep using the local clock|trace_clock=local|on the kernel command line"
)


def complaints(log: Iterable[LogLine]) -> list[str]:
    """Returns the lines that a sound boot does not print, each once, without numbers
    that differ from boot to boot."""
    found: dict[str, None] = {}
    for line in log:
        bad = line.level is not None and line.level <= ERROR_LEVEL and not TIMING.search(line.text)
        if bad or COMPLAINT.search(line.text):
            found[_normal(line.text)] = None
    return list(found)


def new_complaints(facts: Facts, reference: Facts) -> list[str]:
    """Returns the complaints of `facts` that the reference boot does not have."""
    known = set(reference.complaints())
    return [text for text in facts.complaints() if text not in known]


def warnings(log: Iterable[LogLine]) -> list[str]:
    """Returns what was said at warning level or worse, the option's own lines aside."""
    return [
        _normal(line.text)
        for line in log
        if line.level is not None
        and line.level <= WARNING_LEVEL
        and line.text.strip()
        and not TIMING.search(line.text)
        and not SPOKEN.match(line.text)
    ]


def _normal(text: str) -> str:
    """Returns a message without what tells one boot from another."""
    text = re.sub(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b", "ADDRESS", text)
    text = re.sub(r"\b(CPU|PID|pid|CPU#)(:? ?)\d+", r"\1\2N", text)
    return re.sub(r"\d+\.\d+", "N", text)
