# SPDX-License-Identifier: GPL-2.0
"""Measures kernel images under QEMU's -icount and compares patched with unpatched.

    bench.py measure --base DIR... --patched DIR... --results build/results
    bench.py check --results build/results

DIR holds the bzImage and the initrd of one image. Images of one kernel differ in
nothing but their layout, and the median over them is what counts. `check` compares
bench.json with the limits in figures.py. Exit status: 0 all limits are kept, 1 one is
not, 2 nothing could be measured.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "boot"))

import figures

import vm

# Pointers in the trace must tell one object from another.
BOOT = "rdinit=/kc/bench quiet no_hash_pointers"
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
        "kcbench.cases=masks kcbench.masks=1,16,256,1024,4096 kcbench.threads=8192",
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


def scale(image: Path, side: str, results: Path) -> figures.Figures:
    """Boots an image for every series and returns the figures of all."""
    found: figures.Figures = {}
    for series in SERIES:
        name = f"{series.axis}-{series.machine.smp}"
        print(f"    {side}, {series.axis}, {series.machine.smp} CPUs ...", flush=True)
        log = results / f"bench-{side}-{name}.log"
        found |= series.renamed(measure(image, log, series.append, series.machine))
    return found


def report(results: dict[str, object]) -> str:
    """Returns the markdown report of bench.json."""
    runs = results["runs"]
    kernels, parsers = figures.tables(results["base"], results["patched"])
    return "\n".join(
        [
            "<!-- SPDX-License-Identifier: GPL-2.0 -->",
            "# What the affinity of kernel threads costs",
            "",
            f"Measured on {results['date']} with `{results['command']}` in QEMU with "
            f"`{' '.join(LOCK_STEP)}`, in instructions",
            f"(memory in bytes), {MACHINE.smp} CPUs; the median over "
            f"{len(runs['base'])} images of the unpatched and {len(runs['patched'])}",
            "of the patched kernel, which differ only in their layout. The step is the state "
            "`kthreads:online` of",
            "CPU hotplug, from the tracepoint cpuhp_enter to cpuhp_exit.",
            "",
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
    sides = {"base": args.base, "patched": args.patched}
    runs: dict[str, list[figures.Figures]] = {side: [] for side in sides}
    # By turns, so that an interrupted measurement is seen early and on both sides.
    turns = [(side, number, image) for side in sides for number, image in enumerate(sides[side])]
    for side, number, image in sorted(turns, key=lambda turn: turn[1]):
        log = args.results / f"bench-{side}-{number}.log"
        print(f"    {side} {number}: {image} ...", flush=True)
        measured = measure(image, log, append)
        runs[side].append(figures.side_of(measured, LANGUAGES[side]))
    scales = {side: scale(images[0], side, args.results) for side, images in sides.items()}
    results = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "command": args.command_line,
        "runs": runs,
        **{side: figures.medians(values) | scales[side] for side, values in runs.items()},
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
