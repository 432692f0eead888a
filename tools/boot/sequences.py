# SPDX-License-Identifier: GPL-2.0
"""Sequences of changes: CPUs go and come, partitions too, and threads are placed by hand.

One boot does many steps (guest/steps/main.c has their grammar); tests/test_sequences.py looks
at all kernel threads after each of them and at where they ran meanwhile. What must come
of it is not written here: moves.py computes it from the specification's rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from errno import EINVAL, EOVERFLOW, ERANGE

from facts import FLAGS
from scenarios import Boot
from vm import BEFORE_7_0, BOOT_TIMEOUT, UNPATCHED, Machine

# The trace begins before the first kernel thread; guest/steps/main.c depends on all of it.
TRACE = (
    "trace_clock=counter trace_buf_size=2M "
    "trace_event=sched:sched_switch,cpuhp:cpuhp_enter,cpuhp:cpuhp_exit"
)
# The kernel takes no more (COMMAND_LINE_SIZE on x86, arm64 and riscv).
LONGEST_COMMAND_LINE = 2047


@dataclass(frozen=True)
class Sequence:
    """A boot that does steps, and K there at first; None: nothing is confined.

    `flags` say what K confines, and `trace` whether it is looked at where work ran.
    `words` is the kernel command line. `preferences` are the preferences (CPU lists) of
    threads by what their names begin with; those of a node are in `nodes`, and kswapd and
    kcompactd have that in their names. `before` are actions of the guest.
    """

    id: str
    words: str
    cpus: str | None
    steps: tuple[str, ...]
    config: str = "on"
    machine: Machine = field(default_factory=Machine)
    guest: str = "initramfs"
    before: tuple[str, ...] = ()
    preferences: tuple[tuple[str, str], ...] = ()
    nodes: tuple[tuple[str, int], ...] = ()
    flags: tuple[str, ...] = FLAGS
    trace: bool = True
    timeout: float = BOOT_TIMEOUT

    @property
    def boot(self) -> Boot:
        """The boot that is looked at."""
        return self._boot(self.config, self.words)

    @property
    def reference(self) -> Boot:
        """The same steps on the unpatched kernel: what bound kthreads do there."""
        words = [word for word in self.words.split() if not word.startswith("kthread_cpus=")]
        return self._boot(UNPATCHED, " ".join(words))

    def _boot(self, config: str, words: str) -> Boot:
        first = () if self.trace else ("notrace",)
        steps = ";".join([*first, *self.steps]).replace(",", "+")
        actions = ",".join([*self.before, f"steps:{steps}"])
        append = f"{words} {TRACE if self.trace else ''} kcguest.do={actions}".strip()
        return Boot(config, self.machine, append, self.guest, self.timeout)


def partition(name: str, cpus: str) -> tuple[str, ...]:
    """Creates an isolated partition."""
    return (
        f"mkdir=@{name}",
        f"write=@{name}/cpuset.cpus:{cpus}",
        f"write=@{name}/cpuset.cpus.partition:isolated",
    )


def change(name: str, cpus: str) -> tuple[str, ...]:
    """Changes the CPUs of a partition."""
    return (f"write=@{name}/cpuset.cpus:{cpus}",)


def dissolve(name: str) -> tuple[str, ...]:
    """Makes a partition an ordinary cpuset again, and removes it."""
    return (f"write=@{name}/cpuset.cpus.partition:member", f"rmdir=@{name}")


# K gone and back in every order, and each CPU in turn, and all but the boot CPU.
HOTPLUG = ("each=1-7", "offline=1-7", "online=1-7", "offline=4-7", "online=7,6,5,4")

PARTITIONS = (
    *partition("a", "6-7"),
    *change("a", "4-7"),
    "offline=5",
    *change("a", "2-3"),
    "online=5",
    "offline=2,3",
    "online=3,2",
    *partition("b", "4-5"),
    "each=4",
    *dissolve("a"),
    "each=5-6",
    *dissolve("b"),
)

# Within, partly within and outside of K = 2-3 and 6-7.
PLACED = (
    "affinity=khungtaskd:2",
    "affinity=kcompactd1:6",
    "affinity=oom_reaper:1-2",
    "affinity=ksmd:0-1",
    "offline=2",
    "offline=6",
    "online=6",
    "online=2",
    "each=3-4",
    "offline=2,3,6,7",
    "online=7,6,3,2",
    "affinity=khungtaskd:0-7",
    "each=2-3",
)

# Nothing confines, but what is asked for is kept all the same.
PLACED_ANYWHERE = (
    "affinity=khungtaskd:2",
    "affinity=kcompactd1:3-6",
    "affinity=oom_reaper:1-2",
    "each=1-7",
    "offline=2",
    "offline=4-6",
    "online=6,5,4,2",
    "offline=1-2",
    "online=2",
    "online=1",
    "affinity=khungtaskd:0-7",
    "each=2",
    "affinity=kswapd1:1-3",
    *partition("a", "2-3"),
    *dissolve("a"),
)

# CPUs are chosen, and that is taken back: the same ones, some, and all at once. Before 7.0, a
# cpuset that has tasks keeps some.
TAKEN_BACK = (
    ()
    if BEFORE_7_0
    else (
        "write=@u/cpuset.cpus:0-7",
        "write=@u/cpuset.cpus:",
        "write=@u/cpuset.cpus:4-5",
        "write=@u/cpuset.cpus:0-7",
        "write=@u/cpuset.cpus:4-5",
        "write=@u/cpuset.cpus:",
    )
)

# A thread goes to a cpuset and back, whose CPUs change, are isolated and go offline, before
# and after user space has set its affinity; and so does a process.
CPUSETS = (
    "mkdir=@k",
    "write=@k/cpuset.cpus:1-5",
    "cpuset=ksmd:k",
    "affinity=ksmd:0-7",
    "affinity=ksmd:3-7",
    "affinity=ksmd:6-7",
    "write=@k/cpuset.cpus:2-3",
    "offline=3",
    "online=3",
    "cpuset=khungtaskd:k",
    "affinity=khungtaskd:2",
    "write=@k/cpuset.cpus:3-4",
    "cpuset=ksmd:@",
    "affinity=ksmd:0-7",
    "cpuset=khungtaskd:@",
    "cpuset=oom_reaper:k",
    "offline=3-4",
    "online=4,3",
    *partition("a", "2-3"),
    "child",
    "cpuset=child:k",
    "mkdir=@u",
    "cpuset=child:u",
    *dissolve("a"),
    *partition("a", "2"),
    *dissolve("a"),
    "cpuset=child:k",
    "cpuset=child:u",
    *TAKEN_BACK,
    # That is only for the partition that it may become.
    "write=@u/cpuset.cpus.exclusive:6-7",
    "write=@u/cpuset.cpus.exclusive:",
    "cpuset=child:k",
    "rmdir=@u",
    "cpuset=child:@",
    "affinity=child:6-7",
    "cpuset=child:k",
    *partition("a", "6"),
    "cpuset=child:@",
    *dissolve("a"),
    "cpuset=oom_reaper:@",
    "rmdir=@k",
)

# CPUs 4 to 7 are not there at first, and node 1 has no others.
LATE = Machine(smp=4, maxcpus=8, hotplug=True)

KCLOAD = (("kcload-pref/", "1-2"),)
KCLOAD_NODES = (("kcload-node/", 1),)
KINDS = ("unbound", "node:1", "pref:1-2")
ADD = tuple(f"write=/proc/kcload:add~{kind}~4" for kind in (*KINDS, "bound:3"))
# Without the option as well, a bound thread loses its CPU for good if it is woken while that
# is offline. In a storm this is a matter of chance: CPU 7 stays.
ADD_FOR_STORM = tuple(f"write=/proc/kcload:add~{kind}~4" for kind in (*KINDS, "bound:7"))

ADDED = ("ask=add-cpus", "present=4-7", "online=5", "online=4,6,7")
# Threads come and go at random while CPUs do; the last two numbers are a time and a seed.
STORM = ("background=/proc/kcload:storm~4~7", "spin=6:1-3", "offline=2-3", "online=3,2", "join")

# Lists that the file kthread_cpus does not take on any machine here, and why.
REFUSED = {
    "": EINVAL,
    ",,": EINVAL,
    "0-x": EINVAL,
    "3-1": EINVAL,
    "kthread,0-1": EINVAL,
    "0-7:3/2": EINVAL,
    "0-99": ERANGE,
    "0,4294967296": EOVERFLOW,
}

SMT = "/sys/devices/system/cpu/smt/control"
WQ_FILES = "/sys/devices/virtual/workqueue"
HELPERS = "helper=modprobe,core,uevent"
KCLOAD_MODULE = ("insmod:/kc/kcload.ko",)

# Wider, narrower, disjoint, and what leaves K as it is.
WRITES = (
    "kcpus=1-4",
    "kcpus=2-3",
    HELPERS,
    "kcpus=6-7",
    "kcpus=5-N",
    HELPERS,
    "kcpus=0-7:1/2",
    *(f"kcpus={text.replace(' ', '~')}" for text in REFUSED),
    "kcpus=~1,~3",
    "kcpus=all",
    "kcpus=6-7",
)

# Some of K, or all of it, goes and comes, before and after it was written.
WRITES_WITH_HOTPLUG = (
    "offline=3",
    "kcpus=3-4",
    "offline=4",
    HELPERS,
    # There is no CPU to move to.
    "kcpus=3",
    "online=3",
    "kcpus=3",
    "online=4",
    "offline=2",
    "kcpus=2-3",
    "affinity=khungtaskd:3",
    "affinity=ksmd:6",
    "kcpus=6-7",
    "affinity=ksmd:6",
    "kcpus=3,6",
    "kcpus=2-3",
    "online=2",
    "offline=2-3",
    "kcpus=5",
    "online=2-3",
    "each=5",
)

WRITES_WITH_PARTITIONS = (
    *partition("a", "6-7"),
    # All of it is isolated.
    "kcpus=6-7",
    "kcpus=5-6",
    *change("a", "4-7"),
    HELPERS,
    "kcpus=2-5",
    *dissolve("a"),
    "offline=5",
    *partition("b", "2-4"),
    "kcpus=0,5",
    "online=5",
    *dissolve("b"),
)

# User space's own mask of the workqueues may only confine them further.
WRITES_WITH_WORKQUEUES = (
    "work=keep~unbound~1",
    "work=keep~ordered~1",
    "work=keep~reclaim~1",
    "work=keep~highpri~1",
    "work=keep~sysfs~1",
    "work=hold",
    "kcpus=4-5",
    "work=held",
    "work=run~unbound~16",
    "work=run~ordered~8",
    "work=run~percpu~16",
    "rescue",
    f"write={WQ_FILES}/cpumask:f0",
    "kcpus=3-4",
    "work=held",
    f"write={WQ_FILES}/cpumask:03",
    "work=held",
    "work=run~reclaim~16",
    f"write={WQ_FILES}/cpumask:ff",
    "offline=3-4",
    "work=keep~reclaim~1",
    "work=held",
    "rescue",
    "online=4",
    "work=held",
    "work=release",
    "work=use",
    "rescue",
    # A workqueue's own mask, outside of K, and then with a CPU of it.
    f"write={WQ_FILES}/kcwork-sysfs-4/cpumask:c0",
    f"write={WQ_FILES}/writeback/cpumask:c0",
    "work=hold",
    "kcpus=1-2",
    "work=held",
    f"write={WQ_FILES}/kcwork-sysfs-4/cpumask:06",
    "work=release",
    "work=use",
    "work=drop",
)

# The CPUs outside of K are busy in user space, and the kernel has much to do. A driver asks for
# them: some interrupt controllers leave all to the first CPU otherwise, without the option too.
NOISE = Sequence(
    "noise",
    "rcu_nocbs=2-3 kthread_cpus=0-1",
    "0-1",
    (
        *(f"write=/proc/kcload:add~{kind}~4" for kind in ("unbound", "node:1")),
        "write=/proc/kcload:irq~{virtio0-input.0}~2-3",
        "noise=60:2-3",
    ),
    machine=Machine(smp=4, network=True, nvme=True),
    guest="kcload",
    before=KCLOAD_MODULE,
    nodes=KCLOAD_NODES,
    # On an emulated machine, busy CPUs take turns with the others.
    timeout=900.0,
)

# What was asked for, and what was not, while all CPUs of it go and come.
PROCESSES = (
    "child",
    "busy",
    "affinity=child:5-6",
    "offline=2-3",
    "online=3,2",
    "offline=5,3",
    "online=5",
    "offline=2",
    "online=2,3",
)

# As many threads as there are kinds of cpusets, and no CPU goes that one of them has:
# version 1 of cgroups takes it away for good.
CPUSETS_V1 = (
    "mkdir=@k",
    "write=@k/cpuset.mems:0-1",
    "write=@k/cpuset.cpus:1-5",
    "cpuset=ksmd:k",
    "affinity=ksmd:0-7",
    "affinity=ksmd:3-7",
    "write=@k/cpuset.cpus:2-3",
    "cpuset=khungtaskd:k",
    "affinity=khungtaskd:2",
    "each=6-7",
    "cpuset=ksmd:@",
    "affinity=ksmd:0-7",
    "write=@k/cpuset.cpus:3-4",
    "cpuset=khungtaskd:@",
    "rmdir=@k",
)

# Nothing is confined: user space gets what it gets without the series. Partitions are not
# in it, as mainline then takes kernel threads out of their cpusets, and neither is hotplug,
# as a thread that is awake while its last CPU goes is put elsewhere by its scheduler.
AS_MAINLINE = Sequence(
    "as-mainline",
    "",
    None,
    (
        *(step for step in CPUSETS[:16] if not step.startswith(("offline", "online"))),
        "affinity=kthreadd:3",
        "write=/proc/kcload:add~unbound~2",
        "affinity=kthreadd:2-5",
        "write=/proc/kcload:add~node:1~2",
        "write=/proc/kcload:add~unbound~2",
        "affinity=kthreadd:0-7",
        "write=/proc/kcload:add~unbound~2",
    ),
    guest="kcload",
    before=KCLOAD_MODULE,
    nodes=KCLOAD_NODES,
)


# What is in a cpuset, or was placed, is there again when nothing is confined any more.
UNDONE = Sequence(
    "undone",
    "",
    None,
    (
        "mkdir=@k",
        "write=@k/cpuset.cpus:2-5",
        "cpuset=ksmd:k",
        "affinity=khungtaskd:2-5",
        "cpuset=oom_reaper:k",
        "affinity=oom_reaper:5-7",
        "kcpus=0-2",
        "kcpus=all",
    ),
)

# No cpusets, as the unpatched kernel from 7.0 on then takes kernel threads out of them.
UNDONE_PARTITION = replace(
    UNDONE,
    id="undone-partition",
    steps=(
        *partition("a", "6-7"),
        "kcpus=0-2",
        "kcpus=all",
        "write=/proc/kcload:add~unbound~2",
        "write=/proc/kcload:add~node:1~1",
    ),
    guest="kcload",
    before=KCLOAD_MODULE,
    nodes=KCLOAD_NODES,
)


STILL = Sequence(
    "still-interrupt",
    "kthread_cpus=2-3,6-7",
    "2-3,6-7",
    ("offline=2-3", "online=2", *partition("a", "6-7"), "online=3", *dissolve("a"), "kcpus=4-5"),
    guest="kcload",
    before=("insmod:/kc/kcbrief.ko~still=1",),
    preferences=(("kcbrief/2", "7"),),
    nodes=(("kcbrief/1", 1),),
)

AS_MAINLINE_V1 = replace(
    AS_MAINLINE,
    id="as-mainline-v1",
    before=("cgroups_v1", *KCLOAD_MODULE),
    steps=(
        *(step for step in CPUSETS_V1 if not step.startswith("each")),
        *AS_MAINLINE.steps[-7:],
        # All others have been looked at in the other one.
        "affinity=oom_reaper:2-5",
    ),
)


# With the option some of what user space asks for leaves only the CPU that goes and comes.
JUGGLED = Sequence(
    "juggled",
    "kthread_cpus=1-3,7",
    "1-3,7",
    ("write=/proc/kcload:add~unbound~100", "juggle=100:7"),
    guest="kcload",
    before=KCLOAD_MODULE,
    trace=False,
)


# SMT goes and comes there, too.
TORTURED = Machine(threads=2)


def torture(changes: int, rounds: int, seed: int) -> Sequence:
    """Changes K at random, that often in every round, on the kernel with the checkers."""
    kept = (f"work=keep~{kind}~1" for kind in ("unbound", "ordered", "reclaim", "sysfs"))
    random = [(f"torture={changes}:{seed + turn}", "work=use") for turn in range(rounds)]
    return Sequence(
        "checked-torture",
        "kunit.enable=0 kthread_cpus=2-3",
        "2-3",
        (
            *ADD_FOR_STORM,
            *kept,
            *(step for steps in random for step in steps),
            # Where all is, is known without the guest's word for it.
            "kcpus=2-3",
            "work=use",
            "each=2-3",
            "work=drop",
        ),
        config="kunit",
        guest="kcload",
        before=KCLOAD_MODULE,
        preferences=KCLOAD,
        nodes=KCLOAD_NODES,
        machine=TORTURED,
        trace=False,
        # An emulated machine with all the checkers is slow.
        timeout=600.0 + 4 * changes * rounds,
    )


SEQUENCES = [
    Sequence("without-boot-cpu", "kthread_cpus=2-3,6-7", "2-3,6-7", (*HOTPLUG, *PLACED)),
    Sequence("other-node", "kthread_cpus=6-7", "6-7", ("orders=6-7", *HOTPLUG)),
    Sequence("orders-of-two", "kthread_cpus=2-3", "2-3", ("orders=2-3",)),
    Sequence("orders-of-three", "kthread_cpus=3-5", "3-5", ("orders=3-5",)),
    Sequence("with-boot-cpu", "kthread_cpus=0,4", "0,4", ("orders=3-4", *HOTPLUG)),
    Sequence("partitions", "kthread_cpus=2-5", "2-5", PARTITIONS),
    Sequence("partitions-of-all", "kthread_cpus=2-3", "2-3", PARTITIONS),
    Sequence("cpusets", "kthread_cpus=2-3,6-7", "2-3,6-7", CPUSETS),
    Sequence(
        "cpusets-written", "kthread_cpus=2-3", "2-3", (*CPUSETS[:3], "kcpus=6-7", "kcpus=4-6")
    ),
    Sequence("cpusets-absent", "", None, CPUSETS),
    Sequence(
        "cpusets-v1",
        "kthread_cpus=2-3,6-7",
        "2-3,6-7",
        CPUSETS_V1,
        before=("cgroups_v1",),
    ),
    # An interrupt that nobody can place has a thread, which is as any other then.
    STILL,
    Sequence("processes", "kthread_cpus=2-3", "2-3", PROCESSES, trace=False),
    Sequence(
        "network",
        "kthread_cpus=2-3",
        "2-3",
        ("write=/sys/class/net/eth0/threaded:1", "offline=2-3", "online=3,2", *partition("a", "3")),
        machine=Machine(network=True),
    ),
    Sequence("absent", "", None, (*HOTPLUG, *PARTITIONS)),
    Sequence("absent-placed", "", None, PLACED_ANYWHERE),
    Sequence(
        "isolcpus",
        "isolcpus=4-5,7 kthread_cpus=3-6",
        "3-6",
        ("orders=3,6", "each=4-5", *partition("a", "2-3"), "offline=6", *dissolve("a"), "online=6"),
    ),
    Sequence(
        "late-cpus",
        "maxcpus=3 kthread_cpus=3-6",
        "3-6",
        (
            "online=4",
            "online=3,5-7",
            *partition("a", "7"),
            *dissolve("a"),
            "offline=3-6",
            *partition("a", "7"),
            *dissolve("a"),
            "online=6,5,3,4",
        ),
    ),
    Sequence(
        "hot-added",
        "kthread_cpus=2,5-6",
        "2,5-6",
        ("offline=2", *ADDED, "online=2", "offline=2,5,6", "online=6,5,2", "each=4,7"),
        machine=LATE,
    ),
    Sequence("hot-added-absent", "", None, (*ADDED, "offline=4-7", "online=6-7"), machine=LATE),
    Sequence(
        "kcload",
        "kthread_cpus=3-5",
        "3-5",
        (
            *ADD,
            "orders=3-4",
            "offline=3-5",
            "online=4,5,3",
            *partition("a", "3-4"),
            *dissolve("a"),
            # What is new inherits this.
            "affinity=kthreadd:3",
            "write=/proc/kcload:add~unbound~2",
            "write=/proc/kcload:add~node:1~2",
            "affinity=kthreadd:0-7",
            "write=/proc/kcload:add~unbound~2",
            "each=3-5",
            "write=/proc/kcload:update~4-5",
            "each=4",
            "offline=4-5",
            "write=/proc/kcload:update~0,3",
            "online=5,4",
        ),
        guest="kcload",
        before=("insmod:/kc/kcload.ko",),
        preferences=KCLOAD,
        nodes=KCLOAD_NODES,
    ),
    Sequence(
        "storm",
        "kthread_cpus=2-3",
        "2-3",
        (*ADD_FOR_STORM, *STORM, *STORM, "each=2-3"),
        guest="kcload",
        before=("insmod:/kc/kcload.ko",),
        preferences=KCLOAD,
        nodes=KCLOAD_NODES,
    ),
    # Threads that prefer the CPU that goes are woken meanwhile.
    Sequence(
        "dying-cpu",
        "kthread_cpus=1,3",
        "1,3",
        (
            "write=/proc/kcload:add~pref:3~40",
            "background=/proc/kcload:wake~all~2000",
            "spin=20:3",
            "join",
        ),
        guest="kcload",
        before=KCLOAD_MODULE,
        preferences=(("kcload-pref/", "3"),),
    ),
    # The kernel with the lock and RCU checkers, and with cpumasks off the stack.
    Sequence(
        "checked",
        "kunit.enable=0 kthread_cpus=2-3,6-7",
        "2-3,6-7",
        ("each=1-2", *PLACED, *PARTITIONS),
        config="kunit",
    ),
    Sequence(
        "checked-cpusets",
        "kunit.enable=0 kthread_cpus=2-3,6-7",
        "2-3,6-7",
        CPUSETS,
        config="kunit",
        trace=False,
    ),
    Sequence(
        "checked-late-cpus",
        "kunit.enable=0 maxcpus=3 kthread_cpus=3-6",
        "3-6",
        (
            "online=4",
            "online=3,5-7",
            *partition("a", "7"),
            *dissolve("a"),
            "offline=3-6",
            "kcpus=1-2",
            "online=6,5,3,4",
        ),
        config="kunit",
        trace=False,
    ),
    Sequence(
        "checked-storm",
        "kunit.enable=0 kthread_cpus=2-3",
        "2-3",
        (*ADD_FOR_STORM, *STORM),
        config="kunit",
        guest="kcload",
        before=("insmod:/kc/kcload.ko",),
        preferences=KCLOAD,
        nodes=KCLOAD_NODES,
    ),
    Sequence("late-cpus-absent", "maxcpus=3", None, ("online=4", "online=3,5-7", "each=4-7")),
    Sequence("written", "kthread_cpus=2-3", "2-3", (*WRITES, *WRITES_WITH_HOTPLUG)),
    Sequence("written-partitions", "kthread_cpus=2-3", "2-3", WRITES_WITH_PARTITIONS),
    Sequence("written-absent", "", None, ("affinity=ksmd:1-2", *WRITES, "each=6-7")),
    Sequence(
        "written-isolcpus",
        "isolcpus=6-7 nohz_full=6-7 irqaffinity=1 workqueue.unbound_cpus=0-4",
        None,
        ("kcpus=6-7", "kcpus=5-6", HELPERS, "kcpus=4-6", HELPERS, "each=4-5", "kcpus=0,7"),
    ),
    Sequence(
        "written-late-cpus",
        "maxcpus=3 kthread_cpus=5-6",
        "5-6",
        (HELPERS, "kcpus=6", "kcpus=2,6", "online=6", "kcpus=3,6-7", HELPERS, "online=3-5,7"),
    ),
    Sequence(
        "written-kthread-only",
        "kthread_cpus=kthread,2-3",
        "2-3",
        ("kcpus=4-5", HELPERS, "each=4-5", "kcpus=0-x", "kcpus=1"),
        flags=("kthread",),
    ),
    Sequence(
        "written-wq-and-umh",
        "kthread_cpus=wq,umh,2-3",
        "2-3",
        ("kcpus=4-5", HELPERS, "each=4-5", "affinity=ksmd:1", "kcpus=1", HELPERS),
        flags=("wq", "umh"),
    ),
    Sequence(
        "written-not-at-run-time",
        "kthread_cpus=init,irq,2-3",
        "2-3",
        ("kcpus=4-5", "kcpus=all", HELPERS, "each=2-3"),
        flags=("init", "irq"),
    ),
    Sequence(
        "written-workqueues",
        "kthread_cpus=2-3",
        "2-3",
        WRITES_WITH_WORKQUEUES,
        guest="kcload",
        before=KCLOAD_MODULE,
    ),
    # Each CPU with an odd number is the second thread of a core.
    Sequence(
        "checked-smt",
        "kunit.enable=0 kthread_cpus=1,3,6",
        "1,3,6",
        ("offline=6", f"write={SMT}:off", "online=6", f"write={SMT}:on", "each=1,3"),
        config="kunit",
        machine=Machine(threads=2),
    ),
    Sequence(
        "checked-nosmt",
        "kunit.enable=0 nosmt kthread_cpus=1,3",
        "1,3",
        (f"write={SMT}:on", f"write={SMT}:off"),
        config="kunit",
        machine=Machine(threads=2),
    ),
    # Node 1 has no memory, and node 2 no CPU.
    Sequence(
        "nodes",
        "kthread_cpus=2-3,6",
        "2-3,6",
        ("each=5-6", "offline=2-3,6", "online=6,2,3", "offline=4-7", "online=7,6", "kcpus=4-5"),
        machine=Machine(memory_nodes=1, bare=True),
    ),
    Sequence("nodes-absent", "", None, HOTPLUG, machine=Machine(memory_nodes=1, bare=True)),
    # All CPUs but the first go at once, and come back.
    Sequence(
        "checked-suspend",
        "kunit.enable=0 kthread_cpus=2-3",
        "2-3",
        (
            *ADD_FOR_STORM,
            "work=keep~unbound~1",
            "affinity=ksmd:3",
            *partition("a", "5"),
            "write=/sys/power/pm_test:processors",
            "work=hold",
            "write=/sys/power/state:mem",
            "work=held",
            "kcpus=4-6",
            "background=/proc/kcload:storm~4~7",
            "write=/sys/power/state:mem",
            "join",
            "work=held",
            "work=release",
            "work=use",
            "work=drop",
            *dissolve("a"),
        ),
        config="kunit",
        guest="kcload",
        before=KCLOAD_MODULE,
        preferences=KCLOAD,
        nodes=KCLOAD_NODES,
        # Meanwhile there is no other CPU.
        trace=False,
    ),
    # A rescuer is made while the workqueues have no CPU, which then are the ones of the list.
    Sequence(
        "written-as-it-was",
        "",
        None,
        (
            f"write={WQ_FILES}/cpumask:0c",
            "offline=2-3",
            "work=keep~reclaim~1",
            "online=2-3",
            "kcpus=2-3",
            "work=drop",
        ),
        guest="kcload",
        before=KCLOAD_MODULE,
    ),
    Sequence(
        "written-storm",
        "kthread_cpus=2-3",
        "2-3",
        (*ADD_FOR_STORM, *STORM[:2], "kcpus=1-4", "kcpus=5", "kcpus=2-3", "join", *STORM),
        guest="kcload",
        before=KCLOAD_MODULE,
        preferences=KCLOAD,
        nodes=KCLOAD_NODES,
    ),
    AS_MAINLINE,
    AS_MAINLINE_V1,
    NOISE,
    JUGGLED,
    torture(changes=100, rounds=2, seed=1),
]
