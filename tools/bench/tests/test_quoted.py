# SPDX-License-Identifier: GPL-2.0
"""What documents quote of the measurement is what tools/bench/bench.md says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]
NUMBER = re.compile(r"\b\d{1,3}(?:,\d{3})+\b")

# Where each of them begins to quote; it ends with the paragraph or the document.
QUOTES = {
    "README.md": ("`make bench` measures the cost", "\n\n"),
    "patches/cover-letter.txt": ("What it costs is in", "\n\n"),
    "Documentation/core-api/kthread-affinity.rst": ("What it costs\n====", "\0"),
}


def table() -> list[tuple[str, str, int, int]]:
    """Returns the rows of the first table that have a figure of both kernels."""
    rows = []
    for line in (TOP / "tools/bench/bench.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and re.fullmatch(r"[\d,]+", cells[2]) and cells[0][0] != "`":
            unpatched, patched = (int(cell.replace(",", "")) for cell in cells[2:4])
            rows.append((cells[0], cells[1], unpatched, patched))
    return rows


def quote(name: str) -> str:
    """Returns the part of a document that quotes figures."""
    begin, end = QUOTES[name]
    text = (TOP / name).read_text(encoding="utf-8")
    assert text.count(begin) == 1
    return text[text.index(begin) :].split(end)[0]


def ratios(what: str, number: str | None = None) -> list[float]:
    """Returns patched / unpatched of the rows of that name."""
    found = [
        new / old for row, at, old, new in table() if row.startswith(what) and number in (None, at)
    ]
    assert found
    return found


@pytest.mark.parametrize("name", QUOTES)
def test_each_number_is_measured(name: str) -> None:
    """It stands in the page, or is by how much the two kernels differ."""
    page = (TOP / "tools/bench/bench.md").read_text(encoding="utf-8")
    known = set(NUMBER.findall(page)) | {f"{abs(new - old):,}" for _, _, old, new in table()}
    quoted = set(NUMBER.findall(quote(name)))
    assert quoted
    assert not quoted - known


def test_each_ratio_is_measured() -> None:
    """Rounded to what is quoted of it."""
    cycle = ratios("create + run + stop")
    match = re.search(r"takes (\S+) to (\S+) times as many", " ".join(quote("README.md").split()))
    assert match
    assert match.groups() == (f"{min(cycle):.2f}", f"{max(cycle):.2f}")

    boot = ratios("boot to init")
    assert f"takes {boot[0]:.3f} times the instructions" in " ".join(
        quote("Documentation/core-api/kthread-affinity.rst").split()
    )

    back = ratios("step online, all must come back", "8,192")
    assert f"and {back[0]:.2f} times as many as before" in " ".join(
        quote("patches/cover-letter.txt").split()
    )


def test_kconfig_has_the_size() -> None:
    """All that the kernel gets larger by, with few CPUs."""
    grown = sum(
        new - old
        for what, number, old, new in table()
        if number == "64" and what.startswith(("bytes of code", "bytes of data", "bytes of zeroed"))
    )
    text = (TOP / "rust/linux/kernel/kthread_cpus/Kconfig").read_text(encoding="utf-8")
    assert f"It adds about {grown / 1000:.0f} kB to the kernel." in " ".join(text.split())
