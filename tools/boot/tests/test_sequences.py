# SPDX-License-Identifier: GPL-2.0
"""Boots every sequence of sequences.py and looks after each step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from facts import new_complaints
from moves import surprises
from sequences import LONGEST_COMMAND_LINE, SEQUENCES, Sequence
from vm import BASE_APPEND

if TYPE_CHECKING:
    from conftest import Boots


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda sequence: sequence.id)
def test_sequence(sequence: Sequence, boots: Boots) -> None:
    """Every step leads to what the rules say."""
    facts, reference = boots.facts(sequence.boot), boots.facts(sequence.reference)
    found = surprises(sequence, facts, reference)
    found += [f"in the log: {text}" for text in new_complaints(facts, reference)]
    if found:
        lines = "\n".join(f"  - {text}" for text in found)
        pytest.fail(f"{sequence.id} ({sequence.words or 'no option'}):\n{lines}", pytrace=False)


def test_command_lines_fit() -> None:
    """No step is cut off the end of a command line."""
    for sequence in SEQUENCES:
        for boot in (sequence.boot, sequence.reference):
            assert len(" ".join([*BASE_APPEND, boot.append])) <= LONGEST_COMMAND_LINE, sequence.id
