# SPDX-License-Identifier: GPL-2.0
"""Boots every scenario of scenarios.py and looks whether it keeps its promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from checks import placement, surprises
from facts import new_complaints
from scenarios import SAME, SCENARIOS, Scenario

if TYPE_CHECKING:
    from conftest import Boots


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
def test_scenario(scenario: Scenario, boots: Boots) -> None:
    """The scenario comes out as the table says."""
    facts = boots.facts(scenario.boot)
    found = surprises(scenario, facts, boots.facts(scenario.plain))
    if facts.complaints():
        # Only now is it worth a boot to know what this machine always complains of.
        reference = boots.facts(scenario.reference)
        found += [f"in the log: {text}" for text in new_complaints(facts, reference)]
    if found:
        lines = "\n".join(f"  - {text}" for text in found)
        pytest.fail(f"{scenario.id} ({scenario.words or 'no option'}):\n{lines}", pytrace=False)


@pytest.mark.parametrize(("first", "second"), SAME, ids=[first.id for first, _ in SAME])
def test_order_does_not_matter(first: Scenario, second: Scenario, boots: Boots) -> None:
    """The option does the same before and after the other option."""
    one, other = placement(boots.facts(first.boot)), placement(boots.facts(second.boot))
    different = [
        f"  - {name}: {one.get(name)} and {other.get(name)}"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]
    if different:
        words = f"{first.words!r} and {second.words!r}"
        pytest.fail("\n".join([f"{words} differ:", *different]), pytrace=False)


@pytest.mark.parametrize(
    "scenario", [s for s in SCENARIOS if s.id == "not-built"], ids=["unpatched"]
)
def test_absent_is_as_unpatched(scenario: Scenario, boots: Boots) -> None:
    """Without the option on the command line the kernel is as the unpatched one."""
    absent = next(s for s in SCENARIOS if s.id == "absent")
    assert placement(boots.facts(absent.boot)) == placement(boots.facts(scenario.boot))
