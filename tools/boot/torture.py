# SPDX-License-Identifier: GPL-2.0
"""Changes K at random in a guest with all the checkers, and judges what came of it.

Each boot makes some of the changes, with random numbers of its own, while CPUs, partitions,
the mask of the workqueues and threads change as well (guest/steps/torture.c, "torture"). Exit
status: 0 all is as the rules say, 1 it is not, otherwise as vm.py.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from collections.abc import Sequence as List
from dataclasses import replace
from pathlib import Path

import races
import vm
from facts import Facts, FactsError, LogLine, complaints, parse
from moves import surprises
from sequences import TORTURED, torture

RACES = "races of mainline"
# What is counted, but may well be none.
MAY_BE_NONE = {"refused", "wrong", RACES}
# One boot, the least worth one when time is short, and one look at all threads.
CHANGES_PER_BOOT = 2000
LEAST_CHANGES = 100
CHANGES_PER_ROUND = 500


def boot(args: argparse.Namespace, append: str, name: str, timeout: float) -> vm.Console:
    """Boots the guest."""
    guest = vm.Guest(args.kernel, args.initrd, append)
    log = vm.LOGS / f"torture-{args.config}-{name}.log"
    return vm.boot(guest, TORTURED, log, accel=args.accel, timeout=timeout)


def said(facts: Facts) -> tuple[set[races.Race], set[str]]:
    """Returns the data races that the kernel has reported, and what else it complains about."""
    found: set[races.Race] = set()
    other: list[LogLine] = []
    for log in (facts.log, facts.klog):
        reports, rest = races.split(log)
        found.update(reports)
        other += rest
    return found, set(complaints(other))


def races_log(args: argparse.Namespace) -> Path:
    """Returns the file in which the last run keeps the data races of mainline."""
    return vm.LOGS / f"torture-{args.config}-races.txt"


def judge(
    args: argparse.Namespace, facts: Facts, plain: Facts, ours: frozenset[str]
) -> tuple[list[str], int]:
    """Returns what this kernel complains about and `plain` does not, and how many data races
    it has reported that are mainline's, as none of `ours` has a part in them."""
    reports, other = said(facts)
    mine = {race.title for race in reports if race.touches(ours)}
    theirs = {race.title for race in reports} - mine
    if theirs:
        with races_log(args).open("a") as file:
            file.writelines(f"{title}\n" for title in sorted(theirs))
    found = sorted(mine) + sorted(other - said(plain)[1])
    return [f"in the log: {text}" for text in found], len(theirs)


def run(
    args: argparse.Namespace, changes: int, seed: int, plain: Facts, ours: frozenset[str]
) -> tuple[list[str], dict[str, int]]:
    """Boots once and returns everything that is not as it must be, and what was counted.

    `plain` is what this kernel tells when nothing is done, and `ours` are the functions in
    which a data race is a failure.
    """
    rounds = -(-changes // CHANGES_PER_ROUND)
    sequence = torture(-(-changes // rounds), rounds, seed)
    sequence = replace(sequence, config=args.config)
    console = boot(args, sequence.boot.append, str(seed), sequence.timeout)
    facts = parse(console.text)
    counted = counts(facts)
    complained, others = judge(args, facts, plain, ours)
    if ours:
        counted[RACES] = others
    print(f"    seed {seed}: {console.seconds:.0f} s, {words(counted)} ({console.log})", flush=True)
    # Where bound threads are without the option is none of this.
    found = surprises(sequence, facts, facts)
    return found + complained, counted


def shares(changes: int, until: float | None) -> Iterator[int]:
    """Yields how many changes each boot makes: as many in all, or what fits in until that time,
    by the pace of the boots before. The first one, for which there is none, makes few."""
    if until is not None:
        begin = time.monotonic()
        made = 0
        share = LEAST_CHANGES
        while True:
            yield share
            made += share
            now = time.monotonic()
            if now >= until:
                return
            fitting = int((until - now) * made / (now - begin))
            share = min(max(fitting, LEAST_CHANGES), CHANGES_PER_BOOT)
    for start in range(0, changes, CHANGES_PER_BOOT):
        yield min(CHANGES_PER_BOOT, changes - start)


def counts(facts: Facts) -> dict[str, int]:
    """Returns what the steps have counted."""
    results = [step.result for step in facts.steps if step.name == "torture"] or [{}]
    return {key: sum(int(result.get(key, 0)) for result in results) for key in results[0]}


def never(totals: dict[str, int], made: int) -> list[str]:
    """Returns what did not happen at all in a run that was long enough for each kind."""
    if made < CHANGES_PER_BOOT:
        return []
    return [what for what, count in totals.items() if not count and what not in MAY_BE_NONE]


def words(counted: dict[str, int]) -> str:
    """Returns counts as text."""
    return " ".join(f"{key}={total}" for key, total in counted.items())


def main(argv: List[str] | None = None) -> int:
    """The command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--changes", type=int, default=10000, help="in all (10000)")
    limit.add_argument("--for", dest="seconds", type=int, help="as many as fit in so many seconds")
    parser.add_argument("--seed", type=int, default=1, help="of the first boot (1)")
    parser.add_argument("--config", default="kasan", help="the kernel: build/out/CONFIG (kasan)")
    parser.add_argument("--kernel", type=Path, help="another one")
    parser.add_argument("--initrd", type=Path, help="another guest, with the module kcload")
    parser.add_argument(
        "--objects",
        type=Path,
        nargs="+",
        default=[],
        help="with KCSAN: data races in their functions are failures",
    )
    parser.add_argument("--accel", choices=vm.ACCELS, default="auto")
    args = parser.parse_args(argv)
    if args.changes < 1 or (args.seconds is not None and args.seconds < 1):
        parser.error("it must be at least 1")
    args.kernel = args.kernel or vm.BUILD / "out" / args.config / vm.ARCHES[vm.ARCH].image
    args.initrd = args.initrd or vm.BUILD / "kcload" / f"initramfs-{args.config}.cpio"

    vm.raise_on_term()
    failed = 0
    seed = args.seed
    made = 0
    totals: dict[str, int] = {}
    until = time.monotonic() + (args.seconds or 0)
    try:
        console = boot(args, "kunit.enable=0 kcguest.do=wait:0", "plain", vm.BOOT_TIMEOUT * 4)
        plain = parse(console.text)
        if args.objects and not any(races.ENABLED in line.text for line in plain.log):
            parser.error(f"{args.kernel} does not look for data races")
        ours = races.functions_of(args.objects)
        races_log(args).unlink(missing_ok=True)
        for changes in shares(args.changes, until if args.seconds else None):
            found, counted = run(args, changes, seed, plain, ours)
            for text in found:
                print(f"      - {text}")
            failed += bool(found)
            made += changes
            totals = {key: totals.get(key, 0) + counted[key] for key in counted}
            # Each round has a seed of its own.
            seed += CHANGES_PER_BOOT // CHANGES_PER_ROUND
    except vm.BootError as error:
        print(f"torture: seed {seed}: {error}", file=sys.stderr)
        return error.status
    except FactsError as error:
        print(f"torture: seed {seed}: {error}", file=sys.stderr)
        return 1
    print(f"torture: {words(totals)}; {failed} boots failed")
    if lacking := never(totals, made):
        print(f"torture: never done: {', '.join(lacking)}", file=sys.stderr)
    return 1 if failed or lacking else 0


if __name__ == "__main__":
    sys.exit(main())
