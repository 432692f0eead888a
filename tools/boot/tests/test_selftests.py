# SPDX-License-Identifier: GPL-2.0
"""The kernel's own selftests say the same on a kernel with the option as on one without.

inotify is left out of test_cpuset_prs.sh (its program wait_inotify is not in the guest):
it gives a process that has just been started 10 ms, which an emulated guest may not keep.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from facts import Facts, new_complaints
from scenarios import Boot
from vm import Machine

if TYPE_CHECKING:
    from conftest import Boots

ON_OFF = "selftest:cpu-on-off-test.sh,selftest:cpu-on-off-test.sh~-a"
PARTITIONS = "selftest:test_cpuset_prs.sh"
# Not init: the tests themselves run where they do without the option.
OPTION = "kthread_cpus=kthread,wq,umh,irq,2-3"


# 133 cases with a dozen processes and some naps each.
TIMEOUT = 900.0


def _boot(config: str, words: str, actions: str) -> Boot:
    append = f"{words} kcguest.do={actions}".strip()
    return Boot(config, Machine(), append, guest="selftests", timeout=TIMEOUT)


# The longest boots of all go first.
PAIRS = [
    pytest.param(_boot("on", OPTION, actions), _boot("off", "", actions), id=name)
    for name, actions in (("test_cpuset_prs", PARTITIONS), ("cpu-on-off-test", ON_OFF))
]


def results(facts: Facts) -> list[str]:
    """Returns what the tests have printed and returned, without what no two boots share."""
    found = [
        f"{name}: {re.sub(r'^pid [0-9]+', 'pid', line)}"
        for name, lines in facts.outputs.items()
        for line in lines
    ]
    return found + [f"{arg}: exit status {status}" for _, arg, status in facts.actions]


@pytest.mark.parametrize(("patched", "reference"), PAIRS)
def test_same_results(patched: Boot, reference: Boot, boots: Boots) -> None:
    """Every case passes, fails or is skipped as it is without the option."""
    facts, plain = boots.facts(patched), boots.facts(reference)
    assert plain.outputs, "the selftests have printed nothing"
    assert results(facts) == results(plain)
    assert not plain.failed_actions
    assert not new_complaints(facts, plain)
