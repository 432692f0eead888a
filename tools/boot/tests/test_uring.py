# SPDX-License-Identifier: GPL-2.0
"""The threads of io_uring keep to the CPUs of PID 1 with kthread_cpus=init, and only then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from facts import new_complaints
from scenarios import Boot
from vm import UNPATCHED, Machine

if TYPE_CHECKING:
    from conftest import Boots

# In the order of guest/uring.c: what it is, where it is without the flag, and with it.
THREADS = (
    ("poller", "0-7", "2-3"),
    ("its-worker", "0-7", "2-3"),
    ("poller-on-chosen", "5", "5"),
    ("its-worker", "0-7", "2-3"),
    ("its-unchosen", "0-7", "2-3"),
    ("poller-in-group", "5", "5"),
    # Mainline gives it all that its cgroup has then.
    ("poller-and-partition", "0-6", "0-6"),
    ("worker", "0-7", "2-3"),
    # The unpatched kernel adds what comes online to what was chosen: that is mended for all.
    ("chosen", "5", "5"),
    ("unchosen", "0-7", "2-3"),
    # What a process has chosen limits them in mainline, too.
    ("task", "4-5", "4-5"),
    ("late-task", "4-5", "4-5"),
    ("thread-poller", "4-5", "4-5"),
    ("thread-worker", "4-5", "4-5"),
)


def _boot(config: str, words: str) -> Boot:
    return Boot(config, Machine(), f"{words} kcguest.do=uring,facts".strip())


PLAIN = _boot(UNPATCHED, "")


@pytest.mark.parametrize(
    ("boot", "confined"),
    [
        pytest.param(PLAIN, False, id="unpatched"),
        pytest.param(_boot("on", "kthread_cpus=kthread,wq,umh,irq,2-3"), False, id="not-init"),
        pytest.param(_boot("on", "kthread_cpus=init,2-3"), True, id="init"),
    ],
)
def test_threads(boot: Boot, confined: bool, boots: Boots) -> None:
    """Each is where it would be in mainline, or where its process may be."""
    facts = boots.facts(boot)
    expected = [f"{what}:{inside if confined else anywhere}" for what, anywhere, inside in THREADS]
    if boot == PLAIN:
        expected[expected.index("chosen:5")] = "chosen:5-6"
    assert facts.outputs["uring"] == expected
    assert not facts.failed_actions
    assert not new_complaints(facts, boots.facts(PLAIN))
