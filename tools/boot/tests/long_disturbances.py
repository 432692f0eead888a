# SPDX-License-Identifier: GPL-2.0
"""`kthread-cpus watch` names what disturbs a CPU, who wanted it, and what moves it.

In the guest, disturbances of CPU 1 are planted one by one (guest/plants.sh), while the program
watches with CPUs 0 and 2 for the kernel; then each must be in what it tells.

Not run by `make test`: pytest takes a file of this name only when it is told to, by
scripts/disturbances.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from scenarios import Boot
from vm import UNPATCHED, Machine

if TYPE_CHECKING:
    from conftest import Boots

# The kernel: the unpatched one, or one of a distribution with modules.
KERNEL = os.environ.get("KC_DISTURBANCES", UNPATCHED)
OTHER = KERNEL != UNPATCHED

# A guest on a busy host that looks for causes takes its time, and is not to fail for that.
TIMEOUT = 1800.0


@dataclass(frozen=True)
class Plant:
    """A disturbance: what the program must say of it.

    `name`, `detail` and `who` are patterns. `cpu` is where the culprit was, if there is one.
    """

    id: str
    kind: str
    name: str
    means: str
    remedy: str
    who: str = ""
    cpu: int | None = None
    detail: str = ".*"


PLANTS = [
    Plant("timer", "timer", "process_timeout", "programs", "move that", "plant", 2),
    Plant("each", "work", "refresh_vm_stats", "programs", "/proc/vmstat", "cat", 0, "events"),
    Plant("ipi", "ipi", "ipi_mb", "programs", "the program that sent it", "plant", 0),
    Plant("rcu", "softirq", "RCU", "boot", "rcu_nocbs= with this CPU"),
    Plant("irq", "irq", r"\d+", "irq", "/smp_affinity_list", detail="ttyS0"),
    Plant("vmstat", "work", "vmstat_update", "boot", "vm.stat_interval", detail="mm_percpu_wq"),
    Plant("srcu", "work", "srcu_invoke_callbacks", "programs", "from other CPUs", detail="rcu_gp"),
    Plant("key", "ipi", "do_sync_core", "programs", "changes of sysctls", "sh", 0),
    Plant("module", "ipi", "do_flush_tlb_all|__cpa_flush_.*", "programs", "before", "insmod", 0),
    Plant(
        "compact",
        "work",
        "lru_add_drain_per_cpu",
        "programs",
        "vm.compaction_proactiveness",
        "sh",
        0,
        "mm_percpu_wq",
    ),
]
# With our module, and with a network card.
WORK = Plant("work", "work", "item_work", "programs", "from another one", "sh", 0, "kcwork-.*")
NET = Plant("net", "softirq", "NET_RX", "irq", "interrupts of the network queues")
# With the callbacks offloaded.
NOCB = Plant("nocb", "thread", r"rcuop/(1|N)", "option", "kthread_cpus=0,2 ")

ALL = [*PLANTS, NET if OTHER else WORK]


def planted(plants: list[Plant], words: str) -> Boot:
    """The boot in which all of these are planted."""
    names = "~".join(plant.id for plant in plants)
    return Boot(
        KERNEL,
        Machine(smp=3, nodes=1, network=OTHER),
        f"{words} kcguest.do=planted:{names}",
        "initramfs" if OTHER else "kcload",
        TIMEOUT,
    )


PLAIN = planted(ALL, "srcutree.convert_to_big=1")
OFFLOADED = planted([NOCB], "rcu_nocbs=1")
ROWS = [*((PLAIN, plant) for plant in ALL), (OFFLOADED, NOCB)]


def told(boot: Boot, boots: Boots) -> dict[str, Any]:
    """Returns what the program has told."""
    facts = boots.facts(boot)
    assert facts.failed_actions == [], facts.failures
    return json.loads("\n".join(facts.outputs["planted"]))


def find(document: dict[str, Any], plant: Plant) -> list[dict[str, Any]]:
    """Returns the causes that are as the plant's must be."""
    found = []
    for cause in document["account"]["causes"]:
        named = re.fullmatch(plant.name, cause["name"]) and cause["kind"] == plant.kind
        detailed = re.fullmatch(plant.detail, cause.get("detail", ""))
        remedied = cause["means"] == plant.means and plant.remedy in cause["remedy"]
        blamed = not plant.who or any(
            re.fullmatch(plant.who, origin["who"]) and origin["cpu"] == plant.cpu
            for origin in cause["origins"]
        )
        if named and detailed and remedied and blamed:
            found.append(cause)
    return found


@pytest.mark.parametrize(("boot", "plant"), [pytest.param(*row, id=row[1].id) for row in ROWS])
def test_planted(boot: Boot, plant: Plant, boots: Boots) -> None:
    """It is named, with its culprit and what moves it."""
    document = told(boot, boots)
    causes = document["account"]["causes"]
    alike = [cause for cause in causes if cause["kind"] == plant.kind]
    assert find(document, plant), f"no {plant} in {json.dumps(alike)}"
    assert all(cause["why"] for cause in causes)


def test_what_moves_it_moves_it(boots: Boots) -> None:
    """Nobody but the threads of rcu_nocbs= has the callbacks when they are offloaded."""
    threads = {thread["name"] for thread in told(OFFLOADED, boots)["threads"]}
    assert "rcuop/1" in threads
    assert "rcuop/1" not in {thread["name"] for thread in told(PLAIN, boots)["threads"]}


@pytest.mark.parametrize("plant", [plant for _, plant in ROWS], ids=lambda plant: plant.id)
def test_another_one_is_not_taken_for_it(plant: Plant, boots: Boots) -> None:
    """What has another culprit, cause or remedy is not found."""
    document = told(OFFLOADED if plant is NOCB else PLAIN, boots)
    for other in (
        replace(plant, name="no_such_function"),
        replace(plant, remedy="no such remedy"),
        replace(plant, who="nobody", cpu=0),
    ):
        assert find(document, other) == []
