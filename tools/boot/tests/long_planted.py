# SPDX-License-Identifier: GPL-2.0
"""`kthread-cpus watch` names the cause, the culprit and the remedy of planted disturbances.

In a guest with the kernel of a distribution, which has the network, static keys and modules for it.
Not run by `make test`: pytest takes a file of this name only when it is told to (scripts/planted).
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from scenarios import Boot
from vm import Machine

if TYPE_CHECKING:
    from conftest import Boots

KERNEL = os.environ.get("KC_PLANTED", "")
OUTSIDE = 2


@dataclass(frozen=True)
class Plant:
    """What must be found: `name` and `who` are patterns, `on` is the CPU of who it was."""

    kind: str
    name: str
    who: str
    on: tuple[int, ...]
    remedy: str
    least: int = 1


PLANTS = {
    "timer": Plant("timer", "process_timeout", "rcu_preempt|kworker", (0, 1), "move that"),
    "static_key": Plant("ipi", "do_sync_core", "culprit", (0,), "no tracing"),
    "storm": Plant("ipi", "do_sync_core", "culprit", (0,), "no tracing", least=100),
    "module": Plant("ipi", ".", "insmod", (0,), "."),
    "network": Plant("softirq", "NET_RX", "ping", (0,), "rps_cpus", least=10),
    "rcu": Plant("softirq", "RCU", ".", (0, 1, 2, 3), "rcu_nocbs="),
    "each_cpu": Plant("work", "refresh_vm_stats", "culprit|cat", (0,), "move who queues it"),
    "compaction": Plant("work", "lru_add_drain_per_cpu", "culprit", (0,), "compaction"),
    "interrupt": Plant("irq", "4", ".", (), "/proc/irq/4/smp_affinity_list"),
    "vmstat": Plant("work", "vmstat_update", ".", (0, 1, 2, 3), "vm.stat_interval"),
    "srcu": Plant("work", "srcu_invoke_callbacks|process_srcu", ".", (0, 1, 2, 3), "SRCU"),
}
DO = ",".join(f"plant:{name}" for name in PLANTS)
FOUR = Machine(smp=4, nodes=1)
PLANTED = Boot(KERNEL, FOUR, f"kcguest.do=tool:set~--best-effort~0-1,{DO}", timeout=1800.0)
# The callbacks of CPU 2 are for threads elsewhere.
OFFLOADED = Boot(
    KERNEL,
    FOUR,
    "rcu_nocbs=2-3 kcguest.do=tool:set~--best-effort~0-1,plant:rcu",
    timeout=1800.0,
)


def seen(boot: Boot, name: str, boots: Boots) -> dict[str, Any]:
    """Returns what the program has said while `name` was planted."""
    facts = boots.facts(boot)
    assert facts.outputs.get(f"plant.err:{name}", []) == []
    document = json.loads("\n".join(facts.outputs[f"plant:{name}"]))
    assert document["lost"] == 0
    return document


@pytest.mark.parametrize(("boot", "name"), [(PLANTED, name) for name in PLANTS], ids=PLANTS)
def test_planted(boot: Boot, name: str, boots: Boots) -> None:
    """What was planted is told, by whom, from where, and what moves it."""
    plant = PLANTS[name]
    causes = seen(boot, name, boots)["account"]["causes"]
    alike = [c for c in causes if c["kind"] == plant.kind and re.search(plant.name, c["name"])]
    here = [c for c in alike if OUTSIDE in [share["cpu"] for share in c["cpus"]]]
    assert here, [(c["kind"], c["name"]) for c in causes]
    guilty = [
        c
        for c in here
        if not plant.on
        or any(re.search(plant.who, o["who"]) and o["cpu"] in plant.on for o in c["origins"])
    ]
    assert guilty, [(c["name"], c["origins"]) for c in here]
    assert sum(c["count"] for c in guilty) >= plant.least
    assert all(c["why"] and re.search(plant.remedy, c["remedy"]) for c in guilty), guilty


@pytest.mark.parametrize(("boot", "reference"), [(OFFLOADED, PLANTED)], ids=["rcu_nocbs"])
def test_offloaded(boot: Boot, reference: Boot, boots: Boots) -> None:
    """The remedy for RCU callbacks helps: they run in a thread on the list's CPUs then."""

    def callbacks(document: dict[str, Any]) -> set[int]:
        threads = [t for t in document["threads"] if t["name"] == f"rcuop/{OUTSIDE}"]
        return {run["cpu"] for thread in threads for run in thread["runs"] if run["count"]}

    assert callbacks(seen(reference, "rcu", boots)) == set()
    moved = callbacks(seen(boot, "rcu", boots))
    assert moved
    assert moved <= {0, 1}
