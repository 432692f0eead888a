# SPDX-License-Identifier: GPL-2.0
"""Boots a kernel with kthread_cpus= and without, and shows what came of it.

In both guests the program kthread-cpus (tools/kthread-cpus) looks where the kernel's work
may run and watches where it does, while every CPU gives the kernel work to do. With
--page, and --picture, a page and its heat map compare the two.

Exit status: 0 all is inside, 1 it is not or the kernel did not take the option, otherwise
as vm.py.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vm
from facts import (
    PF_KTHREAD,
    PF_NO_SETAFFINITY,
    CpuSet,
    Facts,
    FactsError,
    Snapshot,
    Thread,
    format_cpus,
    parse,
    parse_cpus,
    parse_request,
    split_flags,
)
from vm import BootError, Guest, Machine

WIDTH = 92
NAMES = 48
TOOL = vm.BUILD / "tool-dist/kthread-cpus"

# The work for the kernel outlasts the watch, which may begin late in a slow guest.
WATCHED = 5
WORK = 60


@dataclass(frozen=True)
class Style:
    """Colours, or nothing where nobody would see them as such."""

    good: str = ""
    bad: str = ""
    bold: str = ""
    faint: str = ""
    off: str = ""

    @classmethod
    def for_stream(cls, stream: object) -> Style:
        """Returns colours for a terminal."""
        isatty = getattr(stream, "isatty", None)
        if isatty and isatty() and not os.environ.get("NO_COLOR"):
            return cls("\033[32m", "\033[1;31m", "\033[1m", "\033[2m", "\033[0m")
        return cls()


@dataclass(frozen=True)
class Pair:
    """The same machine with the option and without, and the K that was asked for.

    The facts have one snapshot, which is what the program has seen in the guest.
    """

    value: str
    with_option: Facts
    without: Facts
    accel: str

    @property
    def asked(self) -> CpuSet:
        """The CPUs asked for, in the kernel's reading if it has one."""
        possible = self.with_option.last.possible
        if self.with_option.option.cpus is not None:
            return self.with_option.option.cpus
        try:
            return parse_request(split_flags(self.value)[1], max(possible) + 1) or possible
        except ValueError:
            return possible

    @property
    def confined(self) -> CpuSet:
        """K for kernel threads: every CPU if the flags leave them alone."""
        flags = self.with_option.option.flags or split_flags(self.value)[0]
        return self.asked if "kthread" in flags else self.with_option.last.possible


def command_word(value: str) -> str:
    """Returns the word of the kernel command line for the option's `value`."""
    if '"' in value:
        raise vm.BadMachine(f"KTHREAD_CPUS={value}: a kernel command line has no such quotes")
    return f'kthread_cpus="{value}"' if re.search(r"\s", value) else f"kthread_cpus={value}"


def actions(value: str, machine: Machine) -> str:
    """Returns what the guest is to do, as a word of the kernel command line."""
    try:
        cpus = parse_request(split_flags(value)[1], machine.maxcpus or machine.smp)
    except ValueError:
        cpus = frozenset()
    given = f"~--cpus~{format_cpus(cpus).replace(',', '+')}" if cpus else ""
    return (
        "kcguest.do=umh,tool:list~--json,tool:check~--json,"
        f"load:{WORK},tool:watch~--json~--for~{WATCHED}s{given}"
    )


def told(facts: Facts, command: str) -> dict[str, Any]:
    """Returns what a command of the program has told in the guest."""
    for name, lines in facts.outputs.items():
        if name.startswith(f"tool:{command}~"):
            try:
                return json.loads("\n".join(lines))
            except ValueError as error:
                raise FactsError(f"kthread-cpus {command}: {' '.join(lines)[:300]}") from error
    raise FactsError(f"the guest has not run kthread-cpus {command}")


def snapshot(facts: Facts) -> Snapshot:
    """Returns what `list` and `check` have told of the machine."""
    listed, checked = told(facts, "list"), told(facts, "check")
    settings = {setting["name"]: parse_cpus(setting["cpus"]) for setting in checked["settings"]}
    return Snapshot(
        masks={name: parse_cpus(listed[name]) for name in ("possible", "online", "isolated")},
        nodes={node["id"]: parse_cpus(node["cpus"]) for node in told(facts, "watch")["nodes"]},
        threads=[
            Thread(
                pid=thread["pid"],
                name=thread["name"],
                flags=PF_KTHREAD | (0 if thread["movable"] else PF_NO_SETAFFINITY),
                allowed=parse_cpus(thread["allowed"]),
                cpu=thread["cpu"],
            )
            for thread in listed["threads"]
        ],
        irq_default=settings.get("new interrupts"),
        workqueues=settings.get("unbound workqueues"),
    )


def render(pair: Pair, style: Style) -> str:
    """Returns the report."""
    snapshot = pair.with_option.last
    nodes = ", ".join(
        f"node {number}: {format_cpus(cpus)}" for number, cpus in sorted(snapshot.nodes.items())
    )
    lines = [
        "",
        f"{style.bold}Linux {pair.with_option.kernel}, {len(snapshot.online)} of "
        f"{len(snapshot.possible)} CPUs online ({nodes or 'one node'}), {pair.accel}{style.off}",
    ]
    isolated = snapshot.possible - snapshot.housekeeping
    if isolated:
        lines.append(f"isolated CPUs: {format_cpus(isolated)}")
    lines += ["", "The kernel says:"]
    lines += [f"    {line}" for line in kernel_words(pair)]
    lines += ["", row("Managed kernel threads", "without", "with", "last ran on")]
    lines += thread_rows(pair, style)
    lines += ["", row("Other work of the kernel", "without", "with", "")]
    lines += other_rows(pair)
    lines += ["", per_cpu_line(snapshot.threads), ""]
    lines += watched_lines(pair)
    lines += counts(pair, style)
    return "\n".join(lines)


def kernel_words(pair: Pair) -> list[str]:
    """Returns what the kernel says of the option, or that it says nothing."""
    option = pair.with_option.option
    words = [line.text for line in option.lines]
    if option.unknown:
        words.append(f"Unknown kernel command line parameter: kthread_cpus={pair.value}")
    return words or ["(nothing about kthread_cpus)"]


def row(what: str, without: str, with_option: str, last: str, mark: str = "") -> str:
    """Returns one line of a table."""
    return f"  {what:<{NAMES}}  {without:<10}  {with_option:<10}  {last:<10}{mark}".rstrip()


def thread_rows(pair: Pair, style: Style) -> list[str]:
    """Returns the managed threads; those with the same masks share a row."""
    before = {thread.name: thread for thread in pair.without.last.managed}
    outside = {thread.pid for thread in pair.with_option.last.outside(pair.confined)}
    groups: dict[tuple[str, str, bool], list[Thread]] = {}
    for thread in pair.with_option.last.managed:
        old = before.get(thread.name)
        key = (
            format_cpus(old.allowed) if old else "-",
            format_cpus(thread.allowed),
            thread.pid in outside,
        )
        groups.setdefault(key, []).append(thread)
    lines = []
    for (old_mask, mask, is_outside), threads in sorted(
        groups.items(), key=lambda item: (not item[0][2], -len(item[1]))
    ):
        names = ", ".join(thread.name for thread in sorted(threads, key=lambda t: t.pid))
        parts = textwrap.wrap(names, NAMES, break_on_hyphens=False)
        mark = f"{style.bad}<- outside{style.off}" if is_outside else ""
        last = format_cpus({thread.cpu for thread in threads})
        lines.append(row(parts[0], old_mask, mask, last, mark))
        lines += [f"  {part}" for part in parts[1:]]
    return lines


def other_rows(pair: Pair) -> list[str]:
    """Returns what the other flags are about."""
    cells: dict[str, Callable[[Facts], CpuSet | None]] = {
        "unbound workqueues may use": lambda facts: facts.last.workqueues,
        "their kworkers": lambda facts: _union(facts, "unbound_worker"),
        "workqueue rescuers": lambda facts: _union(facts, "rescuer"),
        "usermode helpers": _helpers,
        "PID 1": lambda facts: facts.init_allowed,
        "new interrupts": lambda facts: facts.last.irq_default,
    }
    lines = []
    for what, cell in cells.items():
        masks = [cell(facts) for facts in (pair.without, pair.with_option)]
        texts = ["-" if cpus is None else format_cpus(cpus) for cpus in masks]
        lines.append(row(what, *texts, ""))
    return lines


def _union(facts: Facts, kind: str) -> CpuSet | None:
    """Returns where any thread of a kind may run."""
    masks = [thread.allowed for thread in facts.last.threads if getattr(thread, kind)]
    return frozenset().union(*masks) if masks else None


def _helpers(facts: Facts) -> CpuSet | None:
    """Returns where any usermode helper may run."""
    return frozenset().union(*facts.umh.values()) if facts.umh else None


def per_cpu_line(threads: Iterable[Thread]) -> str:
    """Returns a line about the threads that the option leaves alone."""
    kinds: dict[str, int] = {}
    for thread in threads:
        if thread.kthread and not (thread.managed or thread.rescuer or thread.unbound_worker):
            kinds[thread.group] = kinds.get(thread.group, 0) + 1
    names = [f"{count} {name}" for name, count in sorted(kinds.items()) if count > 1]
    rest = sum(count for count in kinds.values() if count == 1)
    names += [f"{rest} others"] if rest else []
    text = f"Bound to their CPUs, which is not touched: {sum(kinds.values())} ({', '.join(names)})"
    return "\n".join(textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  "))


def watched_lines(pair: Pair) -> list[str]:
    """Returns how often threads that should not have run outside while they were watched."""
    new, old = (told(facts, "watch") for facts in (pair.with_option, pair.without))
    outside = parse_cpus(new["online"]) - parse_cpus(new["cpus"])
    if not outside:
        return []
    times = [document["intrusions"]["count"] for document in (old, new)]
    return [
        f"  In {WATCHED} s of work, kernel threads that can be confined ran on CPUs "
        f"{format_cpus(outside)}",
        f"  {times[0]} times without the option, {times[1]} times with it.",
        "",
    ]


def counts(pair: Pair, style: Style) -> list[str]:
    """Returns the result."""
    new, old = pair.with_option.last, pair.without.last
    new_out, old_out = new.outside(pair.confined), old.outside(pair.confined)
    colour = style.bad if new_out else style.good
    label = f"with {command_word(pair.value)}:"
    width = len(label)
    if pair.with_option.option.ignored:
        return [
            f"{style.bad}{label} ignored by the kernel, {len(new.managed)} managed kernel threads "
            f"run as without it{style.off}",
            *verdict(pair, style),
        ]
    lines = [
        f"{colour}{label} {len(new_out)} of {len(new.managed)} managed kernel threads may run "
        f"outside CPUs {format_cpus(new.ceiling(pair.confined))}{style.off}",
        f"{'without:':<{width}} {len(old_out)} of {len(old.managed)}",
    ]
    lines += verdict(pair, style)
    return lines


def verdict(pair: Pair, style: Style) -> list[str]:
    """Returns why the run has failed, nothing if it has not."""
    option = pair.with_option.option
    reasons = []
    if option.unknown:
        reasons.append("this kernel does not know the option: it was built without KTHREAD_CPUS")
    elif option.ignored:
        reasons.append("the kernel has ignored the option, see what it says above")
    elif not option.lines:
        reasons.append("the kernel says nothing about the option")
    outside = outside_names(pair)
    if outside:
        reasons.append(f"outside: {textwrap.shorten(', '.join(outside), 200)}")
    for facts in (pair.without, pair.with_option):
        for failed in facts.failed_actions:
            # Its exit status says that something is outside.
            if not failed.startswith("tool:check"):
                reasons.append(f"the guest could not do: {failed}")
    return [f"{style.bad}FAILED{style.off}: {reason}" for reason in reasons]


def outside_names(pair: Pair) -> list[str]:
    """Returns what `check` calls outside, if it could be inside."""
    checked = told(pair.with_option, "check")
    if not parse_cpus(checked["cpus"]) & pair.with_option.last.online:
        return [thread.name for thread in pair.with_option.last.outside(pair.confined)]
    wrong = [found["name"] for found in checked["findings"] if found["verdict"] == "outside"]
    wrong += [set["name"] for set in checked["settings"] if set["outside"] and set["counts"]]
    return wrong


def write_page(pair: Pair, tool: Path, page: Path, picture: Path | None) -> None:
    """Writes the page, and its heat map, next to the recordings that it compares."""
    recordings = []
    for name, facts in (("without", pair.without), ("with", pair.with_option)):
        path = page.with_name(f"run-{name}.json")
        path.write_text(json.dumps(told(facts, "watch")) + "\n")
        recordings.append(str(path))
    title = f"Linux {pair.with_option.kernel}, without and with {command_word(pair.value)}"
    command = [str(tool), "report", "--before", recordings[0], "--after", recordings[1]]
    command += ["--title", title, "--output", str(page)]
    command += ["--png", str(picture)] if picture else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BootError(f"{tool} has not made the page: {done.stderr.strip()}")


def boot_pair(
    kernel: Path, initrd: Path, machine: Machine, value: str, append: str, accel: str
) -> Pair:
    """Boots with the option and without, both at once where there is a second core."""
    todo = actions(value, machine)
    asked = {"with": f"{command_word(value)} {append} {todo}", "without": f"{append} {todo}"}

    def boot_one(name: str) -> vm.Console:
        return vm.boot(
            Guest(kernel, initrd, asked[name]), machine, vm.LOGS / f"run-{name}.log", accel=accel
        )

    accel = vm.choose_accel(Guest(kernel, initrd), accel)
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        consoles = dict(zip(asked, pool.map(boot_one, asked), strict=True))
    parsed = {}
    for name, console in consoles.items():
        try:
            parsed[name] = parse(console.text)
            parsed[name].snapshots.append(snapshot(parsed[name]))
        except FactsError as error:
            raise vm.GuestDied(f"the guest {name} the option: {error} ({console.log})") from error
    return Pair(value, parsed["with"], parsed["without"], consoles["with"].accel)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    image = vm.BUILD / "out/on" / vm.ARCHES[vm.ARCH].image
    parser.add_argument("--kernel", type=Path, default=image)
    parser.add_argument("--initrd", type=Path, default=vm.BUILD / "initramfs.cpio")
    parser.add_argument("--kthread-cpus", default="0-1", help="the option's value (0-1)")
    parser.add_argument("--append", default="", help="more words for the kernel command line")
    parser.add_argument("--smp", default="8", help="CPUs (8)")
    parser.add_argument("--nodes", default="2", help="NUMA nodes (2)")
    parser.add_argument("--accel", default="auto", help="auto, kvm, tcg or mttcg")
    parser.add_argument("--tool", type=Path, default=TOOL, help="the program kthread-cpus")
    parser.add_argument("--page", type=Path, help="a page to write, which compares the boots")
    parser.add_argument("--picture", type=Path, help="the heat map of the page, as PNG")
    parser.add_argument("--check", action="store_true", help="only look at the arguments")
    args = parser.parse_args(argv)

    vm.raise_on_term()
    try:
        machine = vm.machine_from_words(args.smp, args.nodes)
        if args.accel not in vm.ACCELS:
            raise vm.BadMachine(f"ACCEL={args.accel}: there are {', '.join(vm.ACCELS)}")
        command_word(args.kthread_cpus)
        if args.check:
            return 0
        pair = boot_pair(
            args.kernel, args.initrd, machine, args.kthread_cpus, args.append, args.accel
        )
        style = Style.for_stream(sys.stdout)
        print(render(pair, style))
        if args.page:
            write_page(pair, args.tool, args.page, args.picture)
            print(f"\n{args.page} shows it in a browser")
        return 1 if verdict(pair, style) else 0
    except BootError as error:
        print(f"run: {error}", file=sys.stderr)
        return error.status
    except FactsError as error:
        print(f"run: {error}", file=sys.stderr)
        return 4


if __name__ == "__main__":
    sys.exit(main())
