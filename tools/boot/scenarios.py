# SPDX-License-Identifier: GPL-2.0
"""The boot scenarios: what is booted and what must come of it, as a table.

tests/test_scenarios.py boots every one and looks at all that a scenario promises:
besides what is written here also that the guest came to its end, that the log is
clean, that init's environment is clean and that what the option does not name is
where it is without the option.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from zlib import crc32

from facts import FLAGS
from vm import ARCH, ARCHES, BEFORE_7_0, BOOT_TIMEOUT, UNPATCHED, Machine

# What the guest does by default, and what it does when it is to be seen at work.
IRQS = "irqs," if ARCHES[ARCH].serial_interrupts else ""
AT_WORK = f"kcguest.do=umh,{IRQS}work,facts"
# Every warning names the value; that of an error in the text also the place of it.
OFFSET = re.compile(r"(?:offset|position|character|at) (?P<offset>\d+)")


@dataclass(frozen=True)
class Boot:
    """One boot: equal boots are made once in a session."""

    config: str
    machine: Machine
    append: str
    # Which guest: the one for everything, or the one that has the kernel's selftests too.
    guest: str = "initramfs"
    timeout: float = BOOT_TIMEOUT

    @property
    def needs(self) -> set[str]:
        """What not every machine has, see vm.ARCHES."""
        machine = self.machine
        found = set()
        if machine.hotplug or machine.maxcpus > machine.smp:
            found.add("absent CPUs")
        if "acpi=" in self.append:
            found.add("ACPI")
        if re.search(r"\b(nosmp|maxcpus=0)\b", self.append):
            found.add("CPUs that nosmp takes")
        if re.search(r"\bnosmt\b", self.append):
            found.add("threads that nosmt takes")
        if "nolapic" in self.append:
            found.add("local APIC")
        if "/sys/power/state" in self.append:
            found.add("suspend to RAM")
        if machine.network or machine.nvme:
            found.add("interrupts of PCI")
        if (machine.sockets or machine.nodes) > 2:
            found.add("more than two sockets")
        return found

    @property
    def name(self) -> str:
        """A name for the log."""
        words = re.sub(r"[^A-Za-z0-9=.,:-]+", "_", self.append.replace("/", "of"))
        if len(words) > 100:
            words = f"{words[:91]}-{crc32(words.encode()):08x}"
        m = self.machine
        shape = f"{m.smp}.{m.maxcpus}.{m.nodes}" + (f".{m.threads}" if m.threads > 1 else "")
        return f"{self.config}-{shape}-{words or 'plain'}"


@dataclass(frozen=True)
class Scenario:
    """A boot with the option and what must come of it.

    `words` is the kernel command line; a word kthread_cpus=... in it is the option.
    """

    id: str
    words: str
    # K as the kernel must take it (as a list), or None if it must leave all as it is.
    cpus: str | None = None
    flags: tuple[str, ...] = FLAGS
    # One line at warning level that holds all of these texts; None: no such line.
    warning: tuple[str, ...] | None = None
    # How many such lines: one for every outcome.
    warnings: int = 1
    # Where the warning must see the first bad character: offset in the value.
    offset: int | None = None
    # The default affinity of interrupts if another option has the say there.
    irq: str | None = None
    # A list that confines unbound workqueues further.
    workqueues: str | None = None
    config: str = "on"
    machine: Machine = field(default_factory=Machine)
    # The kernel does not know the option.
    unknown: bool = False
    # A warning of the workqueues, as a part of its text.
    workqueues_warn: str | None = None
    # Look also at where interrupts fire and where unbound workqueues do their work.
    at_work: bool = False

    @property
    def boot(self) -> Boot:
        """The boot that is looked at."""
        actions = f" {AT_WORK}" if self.at_work else ""
        return Boot(self.config, self.machine, f"{self.words}{actions}".strip())

    @property
    def plain(self) -> Boot:
        """The same boot without the option."""
        words = re.sub(r'\bkthread_cpus(=("[^"]*"|\S*))?', "", self.boot.append)
        return replace(self.boot, append=" ".join(words.split()))

    @property
    def reference(self) -> Boot:
        """The same boot of the unpatched kernel."""
        config = UNPATCHED if self.config == "on" else self.config
        return replace(self.plain, config=config)


def _bad(name: str, value: str, *reason: str, offset: int | None = None) -> Scenario:
    """A value that the kernel must ignore with one warning."""
    word = f'kthread_cpus="{value}"' if " " in value else f"kthread_cpus={value}"
    return Scenario(id=f"outcome-{name}", words=word, warning=(value, *reason), offset=offset)


# Half of the CPUs are absent. From QEMU's ACPI tables Linux takes absent CPUs for
# possible only when it runs under KVM, from the older MP table always; but SeaBIOS
# lists in that just the first CPU of every socket.
HALF = Machine(smp=4, maxcpus=8, nodes=1, sockets=8)

PLAIN = [
    Scenario("absent", ""),
    Scenario("two-cpus", "kthread_cpus=0-1", "0-1"),
    Scenario("one-cpu", "kthread_cpus=0", "0"),
    Scenario("without-boot-cpu", "kthread_cpus=2-3", "2-3", at_work=True),
    Scenario("other-node-only", "kthread_cpus=5-6", "5-6"),
    Scenario("last-cpu", "kthread_cpus=N", "7"),
    Scenario("first-and-last", "kthread_cpus=0,N", "0,7"),
    Scenario("strided", "kthread_cpus=0-7:1/2", "0,2,4,6"),
    Scenario("strided-up-to-last", "kthread_cpus=1-N:1/3", "1,4,7"),
    Scenario("all", "kthread_cpus=all", "0-7"),
    Scenario("spaces", 'kthread_cpus=" 0 , 3"', "0,3"),
    Scenario("one-node", "kthread_cpus=0-1", "0-1", machine=Machine(smp=4, nodes=1)),
    Scenario("four-nodes", "kthread_cpus=1,5", "1,5", machine=Machine(nodes=4)),
]

ONE_FLAG = [
    Scenario(f"flag-{flag}", f"kthread_cpus={flag},2-3", "2-3", flags=(flag,), at_work=True)
    for flag in FLAGS
] + [
    Scenario("flags-two", "kthread_cpus=wq,kthread,0-1", "0-1", flags=("kthread", "wq")),
    Scenario("flags-all", "kthread_cpus=kthread,wq,umh,init,irq,timer,0,N", "0,7"),
]

OUTCOMES = [
    _bad("malformed", "0-x", offset=2),
    _bad("malformed-backwards", "3-1"),
    _bad("malformed-after-flag", "kthread,0-x", offset=10),
    _bad("too-large", "0-99"),
    _bad("too-large-by-one", "0,64", offset=2),
    _bad("not-possible", "8-63", "8-63", "not possible"),
    Scenario(
        "outcome-partly-possible",
        "kthread_cpus=2-3,8-63",
        "2-3",
        warning=("2-3,8-63", "8-63", "not possible"),
    ),
    Scenario("outcome-none-left", "nr_cpus=2 kthread_cpus=2-3", warning=("2-3", "not possible")),
    Scenario("outcome-nosmp", "nosmp kthread_cpus=2-3", warning=("2-3",)),
    *(
        Scenario(
            f"outcome-{name}-partly",
            f"{word} kthread_cpus=0-1",
            "0",
            warning=("0-1", "CPUs 1 of", "not possible"),
        )
        for name, word in (("nosmp", "nosmp"), ("maxcpus-0", "maxcpus=0"), ("nolapic", "nolapic"))
    ),
    # As a crash kernel is booted, with the command line of the one before.
    Scenario("crash-kernel", "nr_cpus=1 kthread_cpus=N", "0"),
    Scenario(
        "crash-kernel-partly",
        "nr_cpus=1 kthread_cpus=0-1",
        "0",
        warning=("0-1", "CPUs 1 of", "not possible"),
    ),
    Scenario(
        "crash-kernel-none-left", "nr_cpus=1 kthread_cpus=2-3", warning=("2-3", "not possible")
    ),
    _bad("overflow", "0,4294967296"),
    _bad("unknown-flag", "bogus,0-1", offset=0),
    _bad("unknown-flag-later", "kthread,bogus,0-1", offset=8),
    _bad("empty", ""),
    _bad("empty-after-flag", "kthread,"),
    _bad("empty-flag-only", "kthread"),
    Scenario("outcome-no-value", "kthread_cpus", warning=("kthread_cpus",)),
    _bad("empty-regions", ",,"),
    Scenario(
        "outcome-all-isolated",
        "isolcpus=4-7 kthread_cpus=4-5",
        warning=("4-5", "0-3"),
    ),
    Scenario(
        "outcome-not-present",
        "acpi=off kthread_cpus=6-7",
        "6-7",
        machine=HALF,
        warning=("6-7",),
    ),
    Scenario("outcome-partly-present", "acpi=off kthread_cpus=1,6-7", "1,6-7", machine=HALF),
    Scenario(
        "outcome-twice",
        "kthread_cpus=0-3 kthread_cpus=4-5",
        "4-5",
        warning=("4-5",),
    ),
    Scenario(
        "outcome-twice-and-bad",
        "kthread_cpus=0-3 kthread_cpus=0-x",
        warning=("0-x",),
        warnings=2,
    ),
]

ISOLATION = [
    Scenario("isolcpus", "isolcpus=4-7 kthread_cpus=2-5", "2-5"),
    Scenario("isolcpus-boot-cpu", "isolcpus=0-1 kthread_cpus=0-3", "0-3"),
    Scenario("nohz-full", "nohz_full=4-7 kthread_cpus=0-1", "0-1"),
    Scenario("nohz-full-inside", "nohz_full=4-7 kthread_cpus=2-5", "2-5"),
    Scenario("both", "isolcpus=6-7 nohz_full=6-7 kthread_cpus=1,6", "1,6"),
    Scenario(
        "boot-cpu-and-all",
        "isolcpus=managed_irq,domain,0,4-7 nohz_full=0,4-7 rcu_nocbs=0,4-7 kthread_cpus=0-3",
        "0-3",
    ),
    Scenario(
        "interleaved-nodes",
        "kthread_cpus=2-3,5",
        "2-3,5",
        machine=Machine(sockets=8, interleaved=True),
    ),
]

# Other options that say something else about the same.
CONTRADICTIONS = [
    Scenario("isolcpus-takes-boot-cpu", "isolcpus=0-3 kthread_cpus=2-5", "2-5", at_work=True),
    Scenario(
        "nohz-full-takes-boot-cpu",
        "nohz_full=2-7 kthread_cpus=5-6",
        None if BEFORE_7_0 else "5-6",
        warning=("5-6", "0-1") if BEFORE_7_0 else None,
        at_work=True,
    ),
    Scenario(
        "irqaffinity-elsewhere",
        "irqaffinity=6 kthread_cpus=2-3",
        "2-3",
        irq="0,6",
        at_work=True,
    ),
    Scenario(
        "unbound-cpus-within",
        "workqueue.unbound_cpus=3-6 kthread_cpus=2-4",
        "2-4",
        workqueues="3-6",
        at_work=True,
    ),
    Scenario(
        "unbound-cpus-elsewhere",
        "workqueue.unbound_cpus=5-6 kthread_cpus=2-3",
        "2-3",
        workqueues_warn="leaves no CPU of kthread_cpus",
        at_work=True,
    ),
    Scenario(
        "all-at-once",
        "isolcpus=6-7 nohz_full=5-7 irqaffinity=1 workqueue.unbound_cpus=1-4 kthread_cpus=3-6",
        "3-6",
        irq="0-1",
        workqueues="1-4",
        at_work=True,
    ),
    Scenario("irq-threads", "threadirqs kthread_cpus=2-3", "2-3", at_work=True),
    Scenario("none-online", "maxcpus=2 kthread_cpus=4-5", "4-5", at_work=True, warning=("4-5",)),
    Scenario(
        "none-online-and-isolcpus",
        "maxcpus=3 isolcpus=0-1,4 kthread_cpus=4-5",
        "4-5",
        at_work=True,
        warning=("4-5",),
    ),
]

# The unpatched kernel does not know the word.
NOT_BUILT = [
    Scenario("not-built-absent", "", config=UNPATCHED),
    Scenario("not-built", "kthread_cpus=0-1", config=UNPATCHED, unknown=True),
]

# The kernel with the lock and RCU checkers, and with cpumasks off the stack.
CHECKED = [
    Scenario("checked", "kunit.enable=0 kthread_cpus=0-1", "0-1", config="kunit"),
    Scenario("checked-without-boot-cpu", "kunit.enable=0 kthread_cpus=2-3", "2-3", config="kunit"),
    Scenario(
        "checked-ignored", "kunit.enable=0 kthread_cpus=0-x", config="kunit", warning=("0-x",)
    ),
    Scenario(
        "checked-nosmt",
        "kunit.enable=0 nosmt kthread_cpus=1,3",
        "1,3",
        config="kunit",
        machine=Machine(threads=2),
        warning=("1,3", "online"),
    ),
]


def _both_orders(name: str, other: str, option: str, **expected: object) -> list[Scenario]:
    """The option before another one and after it."""
    return [
        Scenario(f"order-{name}-after", f"{other} {option}", **expected),
        Scenario(f"order-{name}-before", f"{option} {other}", **expected),
    ]


ORDERS = [
    *_both_orders("isolcpus", "isolcpus=4-7", "kthread_cpus=3-5", cpus="3-5"),
    *_both_orders("isolcpus-none-left", "isolcpus=4-7", "kthread_cpus=5", warning=("5", "0-3")),
    *_both_orders("nohz_full", "nohz_full=4-7", "kthread_cpus=3-5", cpus="3-5"),
    *_both_orders("irqaffinity", "irqaffinity=2-3", "kthread_cpus=0-1", cpus="0-1", irq="0,2-3"),
    *_both_orders(
        "unbound_cpus",
        "workqueue.unbound_cpus=1-4",
        "kthread_cpus=0-2",
        cpus="0-2",
        workqueues="1-4",
    ),
    *_both_orders("nr_cpus", "nr_cpus=4", "kthread_cpus=2-N", cpus="2-3"),
    *_both_orders(
        "nr_cpus-partly",
        "nr_cpus=4",
        "kthread_cpus=2-5",
        cpus="2-3",
        warning=("2-5", "4-5"),
    ),
    *_both_orders("maxcpus", "maxcpus=4", "kthread_cpus=3-5", cpus="3-5"),
    *_both_orders(
        "maxcpus-none-online", "maxcpus=2", "kthread_cpus=4-5", cpus="4-5", warning=("4-5",)
    ),
]

SCENARIOS = [
    *PLAIN,
    *ONE_FLAG,
    *OUTCOMES,
    *ISOLATION,
    *CONTRADICTIONS,
    *NOT_BUILT,
    *CHECKED,
    *ORDERS,
]

# Scenarios that must give the same facts.
SAME = [(first, second) for first, second in zip(ORDERS[::2], ORDERS[1::2], strict=True)]
