# SPDX-License-Identifier: GPL-2.0
"""Draws what the step costs over threads, distinct preferences and CPUs.

    plot.py build/results/bench.json OUT.svg

Equal results give equal bytes, so that a repository can keep the drawing.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

AXES = {
    "threads": "managed kthreads, 4 CPUs",
    "masks": "distinct preferences of 8,192 kthreads, 16 CPUs",
    "cpus": "CPUs, 1,024 kthreads",
}
CASES = {
    "stay": ("none has to move", "o"),
    "back": ("all must come back", "s"),
    "masks": ("those that prefer the CPU and others", "o"),
}
SIDES = {"base": ("unpatched", "tab:red", "--"), "patched": ("patched", "tab:blue", "-")}


def points(figures: dict[str, float], axis: str, case: str) -> list[tuple[int, float]]:
    """Returns the steps of a CPU that comes online, in order of the number."""
    pattern = re.compile(rf"scale/{axis}/online/{case}/(\d+)")
    found = ((pattern.fullmatch(name), value) for name, value in figures.items())
    return sorted((int(match[1]), value) for match, value in found if match)


def panel(axes: Axes, results: dict[str, dict[str, float]], axis: str) -> int:
    """Draws one series; returns how many lines there are."""
    lines = 0
    for side, (name, colour, style) in SIDES.items():
        for case, (what, marker) in CASES.items():
            found = points(results[side], axis, case)
            if not found:
                continue
            lines += 1
            axes.plot(
                *zip(*found, strict=True),
                color=colour,
                linestyle=style,
                marker=marker,
                label=f"{name}: {what}",
            )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel(AXES[axis])
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize="small")
    return lines


def draw(results: dict[str, dict[str, float]], path: Path) -> None:
    """Draws all series next to each other."""
    mpl.rcParams["svg.hashsalt"] = "kthread_cpus"
    mpl.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(15, 4.8), layout="constrained")
    panels = figure.subplots(1, len(AXES), sharey=True)
    for axes, axis in zip(panels, AXES, strict=True):
        if not panel(axes, results, axis):
            raise ValueError(f"there are no figures over {axis}")
    panels[0].set_ylabel("instructions of the step of a CPU that comes online")
    figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> int:
    """The command line; see the head of this file."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
    except (OSError, ValueError, KeyError) as error:
        print(f"plot.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
