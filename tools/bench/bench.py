# SPDX-License-Identifier: GPL-2.0
"""Measures kernel images under QEMU's -icount and compares patched with unpatched.

    bench.py measure --base DIR... --patched DIR... --large-base DIR --large-patched DIR
                     --results build/results
    bench.py check --results build/results

DIR holds the bzImage and the initrd of one image, and what `size` says of its vmlinux.o.
Images of one kernel differ in nothing but their layout, and the median over them is
what counts. The large kernels are the same for more CPUs. `check` compares
bench.json with the limits in figures.py. Exit status: 0 all limits are kept, 1 one is
not, 2 nothing could be measured.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "boot"))

import figures

import vm

# Pointers in the trace must tell one object from another. To find that the local APIC's
# timer does not agree with such a clock takes most of a boot, the more the more CPUs.
BOOT = "rdinit=/kc/bench quiet no_hash_pointers nolapic_timer"
# An emulated machine that counts instructions is slow, and shares its host.
TIMEOUT = 3600.0
LOCK_STEP = ("-icount", "shift=0,sleep=off")
# The clock chip too, else the kernel waits for the host's second to begin.
CLOCK = ("-rtc", "base=2026-01-01T00:00:00,clock=vm")


class CountingMachine(vm.Machine):
    """A machine whose clock is the number of instructions it has executed."""

    def arguments(self) -> list[str]:
        """Returns QEMU's arguments."""
        return [*super().arguments(), *LOCK_STEP, *CLOCK]


# Both parsers are in both guests, as each kernel compiles them.
LANGUAGES = {"base": "c", "patched": "rust"}

MACHINE = CountingMachine(smp=4, nodes=1, memory=1024)


def measure(
    image: Path, log: Path, append: str, machine: CountingMachine = MACHINE
) -> figures.Figures:
    """Boots an image and returns its figures."""
    guest = vm.Guest(image / "bzImage", image / "initrd", append)
    # tcg is one thread for all CPUs, without which -icount does not work.
    console = vm.boot(guest, machine, log, accel="tcg", timeout=TIMEOUT)
    return figures.read_console(console.text)


@dataclass(frozen=True)
class Series:
    """One boot for the step over something that grows.

    `axis` is what grows: threads, masks or cpus. The figures are called
    `scale/AXIS/GO/CASE/NUMBER`.
    """

    axis: str
    machine: CountingMachine
    words: str

    @property
    def append(self) -> str:
        """More for the kernel command line."""
        return f"{BOOT} kcbench.only=steps kcbench.repeat=3 {self.words}"

    def renamed(self, measured: figures.Figures) -> figures.Figures:
        """Returns the steps under their names of this series."""
        renamed = {}
        for name, value in measured.items():
            step, _, rest = name.partition("/")
            if step == "step":
                case, _, number = rest.rpartition("/")
                number = str(self.machine.smp) if self.axis == "cpus" else number
                renamed[f"scale/{self.axis}/{case}/{number}"] = value
        return renamed


SERIES = (
    Series(
        "threads",
        CountingMachine(smp=4, nodes=1, memory=3072),
        "kcbench.cases=stay,back kcbench.counts=64,256,1024,4096,16384,32768",
    ),
    Series(
        "masks",
        CountingMachine(smp=16, nodes=1, memory=1536),
        "kcbench.cases=masks kcbench.masks=1,16,64,256,1024,4096 kcbench.threads=8192",
    ),
    *(
        Series(
            "cpus",
            CountingMachine(smp=smp, nodes=1, memory=1024),
            "kcbench.cases=stay,back kcbench.counts=1024",
        )
        for smp in (4, 8, 16, 32, 64)
    ),
)


MEMORY_MACHINE = CountingMachine(smp=8, nodes=1, memory=1024)
MEMORY_APPEND = f"{BOOT} kcbench.only=memory"

# Of the kernel that has kthread_cpus=. A creation waits for a tick of the clock before.
CHANGE_MACHINE = CountingMachine(smp=4, nodes=1, memory=3072)
CHANGE_APPEND = (
    f"{BOOT} kthread_cpus=0-1 kcbench.only=change kcbench.threads=32768 kcbench.masks=15 "
    "kcbench.rounds=500"
)


@dataclass(frozen=True)
class Job:
    """One boot. `name` is that of its log, `take` makes figures of what it gives."""

    side: str
    name: str
    image: Path
    append: str
    machine: CountingMachine
    take: Callable[[figures.Figures], figures.Figures]

    def run(self, results: Path) -> figures.Figures:
        """Boots, and returns what came of it."""
        print(f"    {self.side}, {self.name} ...", flush=True)
        log = results / f"bench-{self.side}-{self.name}.log"
        return self.take(measure(self.image, log, self.append, self.machine))


def jobs_of(side: str, images: Sequence[Path], large: Path, append: str) -> list[Job]:
    """Returns the boots of one kernel. No two kinds of them have a figure in common."""

    def main_figures(measured: figures.Figures) -> figures.Figures:
        return figures.side_of(measured, LANGUAGES[side])

    memory = ((figures.NR_CPUS["small"], images[0]), (figures.NR_CPUS["large"], large))
    change = Job(side, "change", images[0], CHANGE_APPEND, CHANGE_MACHINE, figures.change_of)
    return [
        *(
            Job(side, str(number), image, append, MACHINE, main_figures)
            for number, image in enumerate(images)
        ),
        *(
            Job(
                side,
                f"memory-{number}",
                image,
                MEMORY_APPEND,
                MEMORY_MACHINE,
                partial(figures.memory_of, nr_cpus=number),
            )
            for number, image in memory
        ),
        *(
            Job(
                side,
                f"{series.axis}-{series.machine.smp}",
                images[0],
                series.append,
                series.machine,
                series.renamed,
            )
            for series in SERIES
        ),
        *([change] if side == "patched" else []),
    ]


def run_all(jobs: Sequence[Job], results: Path) -> list[figures.Figures]:
    """Runs several jobs at a time: what they count does not depend on how fast they are."""
    # A guest takes a CPU, and up to three GiB.
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        futures = [pool.submit(job.run, results) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            vm.stop_all()
            raise
    return [future.result() for future in futures]


MEANING = """\
What it means: in mainline, each thread with a preference is looked at and set whenever a CPU
comes online. In the registry of the series, threads that prefer the same are a group, and only
the threads of groups whose CPUs change are touched. So, while nobody has to move, the step does
not depend on the number of threads, and hardly on that of the CPUs, whether user space has placed
the threads or not. If all have to move, both grow with their number. The step grows with the
number of distinct preferences, too; with 16 of them on 16 CPUs, 512 of the threads prefer no CPU
but the one that comes, and are moved. A CPU that goes offline has a step of its own, the state
`kthreads:active`; threads that are not confined are left to the scheduler then, as in mainline.

Threads are created, run and stopped on one CPU, where it does not depend on who meets whom. While
others move, because `kthread_cpus=` changes, whoever moves them has that CPU only when nobody
else wants it: what a creation takes longer is what it has waited for. The holds of the lock are
seen by a watchpoint, which has its part in the figure: some 500 instructions.
"""


def report(results: dict[str, object]) -> str:
    """Returns the markdown report of bench.json."""
    kernels, parsers = figures.tables(results["base"], results["patched"])
    return "\n".join(
        [
            "<!-- SPDX-License-Identifier: GPL-2.0 -->",
            "# What the affinity of kernel threads costs",
            "",
            f"Measured on {results['date']} with `{results['command']}` in QEMU with "
            f"`{' '.join(LOCK_STEP)}`, in instructions",
            f"(memory and size in bytes), {MACHINE.smp} CPUs; the median over "
            f"{results['images']} images of each",
            "kernel, which differ only in their layout. The step is the state `kthreads:online` of",
            "CPU hotplug, from the tracepoint cpuhp_enter to cpuhp_exit. The size is that of "
            "`vmlinux.o`, of both",
            f"with Rust; memory is measured with {MEMORY_MACHINE.smp} CPUs. What has two numbers "
            f"for NR_CPUS is of a",
            "kernel with cpumasks of that size, the larger with CPUMASK_OFFSTACK.",
            "",
            MEANING,
            "Over threads, distinct preferences and CPUs:",
            "",
            "![what the step costs](bench.svg)",
            "",
            kernels,
            "",
            "To parse a CPU list, with `bitmap_parselist()` and with the parser of the series, in "
            "the guest:",
            "",
            parsers,
            "",
        ]
    )


def write(path: Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(text)
    draft.replace(path)


def run_measure(args: argparse.Namespace) -> int:
    """The command `measure`."""
    append = (
        f"{BOOT} kcbench.counts={args.counts} kcbench.rounds={args.rounds} "
        f"kcbench.repeat={args.repeat}"
    )
    sides = {"base": (args.base, args.large_base), "patched": (args.patched, args.large_patched)}
    runs = {
        side: [
            figures.size_costs((images[0] / "size").read_text(), figures.NR_CPUS["small"]),
            figures.size_costs((large / "size").read_text(), figures.NR_CPUS["large"]),
        ]
        for side, (images, large) in sides.items()
    }
    # By turns, so that an error is seen early on both sides.
    turns = zip_longest(*(jobs_of(side, *paths, append) for side, paths in sides.items()))
    jobs = [job for job in chain(*turns) if job is not None]
    for job, measured in zip(jobs, run_all(jobs, args.results), strict=True):
        runs[job.side].append(measured)
    results = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "command": args.command_line,
        "images": len(args.base),
        "runs": runs,
        **{side: figures.medians(measured) for side, measured in runs.items()},
    }
    args.results.mkdir(parents=True, exist_ok=True)
    write(args.results / "bench.json", json.dumps(results, indent=1) + "\n")
    write(args.results / "bench.md", report(results))
    print("\n\n".join(figures.tables(results["base"], results["patched"])))
    return 0


def run_check(args: argparse.Namespace) -> int:
    """The command `check`."""
    results = json.loads((args.results / "bench.json").read_text())
    verdicts = figures.check(results["base"], results["patched"])
    for verdict in verdicts:
        print(verdict)
    broken = sum(not verdict.kept for verdict in verdicts)
    print(f"{len(verdicts) - broken} limits kept, {broken} broken")
    return 1 if broken else 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("measure", help="measure images and write the results")
    command.add_argument("--base", type=Path, nargs="+", required=True, help="unpatched images")
    command.add_argument("--patched", type=Path, nargs="+", required=True, help="patched images")
    command.add_argument("--large-base", type=Path, required=True, help="unpatched, for more CPUs")
    command.add_argument("--large-patched", type=Path, required=True, help="patched, likewise")
    command.add_argument("--results", type=Path, required=True, help="directory")
    command.add_argument("--counts", default="0,64,1024,4096,8192", help="numbers of kthreads")
    command.add_argument("--rounds", type=int, default=2000, help="of create + run + stop")
    command.add_argument("--repeat", type=int, default=3, help="times that the CPU goes and comes")
    command.add_argument("--command-line", default="make bench", help="for the report")
    command.set_defaults(run=run_measure)
    command = commands.add_parser("check", help="compare the results with the limits")
    command.add_argument("--results", type=Path, required=True, help="directory")
    command.set_defaults(run=run_check)
    args = parser.parse_args(argv)

    vm.raise_on_term()
    try:
        return args.run(args)
    except (vm.BootError, figures.BadOutput, OSError, ValueError, KeyError) as error:
        print(f"bench.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
