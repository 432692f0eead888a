# SPDX-License-Identifier: GPL-2.0
"""Sequences of changes: CPUs go and come, partitions too, and threads are placed by hand.

One boot does many steps (guest/steps.c has their grammar); tests/test_sequences.py looks
at all kernel threads after each of them and at where they ran meanwhile. What must come
of it is not written here: moves.py computes it from the specification's rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scenarios import Boot
from vm import Machine

# The trace begins before the first kernel thread; guest/steps.c depends on all of it.
TRACE = (
    "trace_clock=counter trace_buf_size=2M "
    "trace_event=sched:sched_switch,cpuhp:cpuhp_enter,cpuhp:cpuhp_exit"
)
# The kernel takes no more (COMMAND_LINE_SIZE on x86).
LONGEST_COMMAND_LINE = 2047


@dataclass(frozen=True)
class Sequence:
    """A boot that does steps, and K there; None: nothing is confined.

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

    @property
    def boot(self) -> Boot:
        """The boot that is looked at."""
        return self._boot(self.config, self.words)

    @property
    def reference(self) -> Boot:
        """The same steps on a kernel without the option: what bound kthreads do there."""
        words = [word for word in self.words.split() if not word.startswith("kthread_cpus=")]
        return self._boot("off", " ".join(words))

    def _boot(self, config: str, words: str) -> Boot:
        steps = ";".join(self.steps).replace(",", "+")
        actions = ",".join([*self.before, f"steps:{steps}"])
        append = f"{words} {TRACE} kcguest.do={actions}".strip()
        return Boot(config, self.machine, append, self.guest)


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

SEQUENCES = [
    Sequence("without-boot-cpu", "kthread_cpus=2-3,6-7", "2-3,6-7", (*HOTPLUG, *PLACED)),
    Sequence("other-node", "kthread_cpus=6-7", "6-7", ("orders=6-7", *HOTPLUG)),
    Sequence("orders-of-two", "kthread_cpus=2-3", "2-3", ("orders=2-3",)),
    Sequence("orders-of-three", "kthread_cpus=3-5", "3-5", ("orders=3-5",)),
    Sequence("with-boot-cpu", "kthread_cpus=0,4", "0,4", ("orders=3-4", *HOTPLUG)),
    Sequence("partitions", "kthread_cpus=2-5", "2-5", PARTITIONS),
    Sequence("partitions-of-all", "kthread_cpus=2-3", "2-3", PARTITIONS),
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
        ("online=4", "online=3,5-7", "offline=3-6", "online=6,5,3,4"),
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
            # What is new does not inherit this.
            "affinity=kthreadd:3",
            "write=/proc/kcload:add~unbound~2",
            "write=/proc/kcload:add~node:1~2",
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
    # The kernel with the lock and RCU checkers, and with cpumasks off the stack.
    Sequence(
        "checked",
        "kunit.enable=0 kthread_cpus=2-3,6-7",
        "2-3,6-7",
        ("each=1-2", *PLACED, *PARTITIONS),
        config="kunit",
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
]
