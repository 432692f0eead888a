# SPDX-License-Identifier: GPL-2.0
"""What documents quote of the measurement is what tools/bench/bench.md says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]
# A figure of the measurement, wherever it is quoted.
NUMBER = r"(\d{1,3}(?:,\d{3})+)"
QUOTED = re.compile(rf"\b{NUMBER}(?:\s+instead\s+of\s+{NUMBER})?\s+instructions")
DOCUMENTS = (
    "README.md",
    "patches/cover-letter.txt",
    "Documentation/core-api/kthread-affinity.rst",
    "Documentation/admin-guide/kthread-cpus.rst",
)


def table() -> list[tuple[str, str, int, int]]:
    """Returns the rows of the first table that have a figure of both kernels."""
    rows = []
    for line in (TOP / "tools/bench/bench.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and re.fullmatch(r"[\d,]+", cells[2]) and cells[0][0] != "`":
            unpatched, patched = (int(cell.replace(",", "")) for cell in cells[2:4])
            rows.append((cells[0], cells[1], unpatched, patched))
    return rows


def strangers(text: str, page: str) -> set[str]:
    """Returns the figures in a text that are not in the page."""
    quoted = {number for match in QUOTED.findall(text) for number in match if number}
    return {number for number in quoted if not re.search(rf"(?<![\d,]){number}(?![\d,])", page)}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_number_is_measured(name: str) -> None:
    """It stands in the page."""
    page = (TOP / "tools/bench/bench.md").read_text(encoding="utf-8")
    assert strangers((TOP / name).read_text(encoding="utf-8"), page) == set()


def test_a_stranger_is_seen() -> None:
    """So that it means something that there is none."""
    page = "| step | 1,095 | 1,562,121 |"
    assert strangers("takes 1,095 instead of 1,562,121\ninstructions", page) == set()
    assert strangers("takes 1,096 instead of 562,121 instructions", page) == {"1,096", "562,121"}


def test_kconfig_has_the_size() -> None:
    """All that the kernel gets larger by, with few CPUs."""
    grown = sum(
        new - old
        for what, number, old, new in table()
        if number == "64" and what.startswith(("bytes of code", "bytes of data", "bytes of zeroed"))
    )
    text = (TOP / "rust/linux/kernel/kthread_cpus/Kconfig").read_text(encoding="utf-8")
    assert f"It adds about {grown / 1000:.0f} kB to the kernel." in " ".join(text.split())
