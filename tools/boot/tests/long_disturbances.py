# SPDX-License-Identifier: GPL-2.0
"""`kthread-cpus watch` names what disturbs a CPU, who wanted it, and what moves it.

In the guest, disturbances of CPU 1 are planted one by one (guest/plants.sh), while the program
watches with CPUs 0 and 2 for the kernel; then each must be in what it tells. In a guest in which
nothing is planted, none of those must be that have somebody who wants them.

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

    `name`, `detail`, `who` and `via` are patterns; `who` and `cpu` are the culprit and where it
    was, `via` what it did it through, so far as the kernel tells. It must have wanted it `at_least`
    so many times: a few of many are missed when the CPU does something else at that moment.
    """

    id: str
    kind: str
    name: str
    means: str
    remedy: str
    who: str | None = None
    cpu: int | None = None
    via: str | None = None
    detail: str = ".*"
    at_least: int = 1
    # What of plants.sh it is, if not that of its own name.
    plant: str = ""

    @property
    def planted(self) -> str:
        """Returns what is called in the guest."""
        return self.plant or self.id


def named(applet: str) -> str:
    """Returns the names of a process of busybox, which gives itself that of its applet.

    That is seen when it is switched to the next time. Before, it is taskset.
    """
    return f"{applet}|taskset|exe|init"


# 20 timers. The task is on a CPU of the list: to move it would be of no use.
TIMER = Plant(
    "timer",
    "timer",
    "process_timeout",
    "option",
    "kthread_cpus=0,2 (flag timer)",
    "plant",
    2,
    "",
    at_least=15,
)
PLANTS = [
    Plant(
        "each",
        "work",
        "refresh_vm_stats",
        "programs",
        "/proc/vmstat",
        named("cat"),
        0,
        "",
        "events",
    ),
    # 200 calls.
    Plant(
        "ipi", "ipi", "ipi_mb", "programs", "the program that sent it", "plant", 0, "", at_least=150
    ),
    # Who queued a callback is not told; the tick finds it.
    Plant(
        "rcu",
        "softirq",
        "RCU",
        "boot",
        "rcu_nocbs= with this CPU",
        cpu=1,
        via=r"timer tick_\w+",
        at_least=5,
    ),
    # Who makes a device interrupt is told by no event.
    # The port has one for all that waits to be sent.
    Plant("irq", "irq", r"\d+", "irq", "/smp_affinity_list", detail="ttyS0"),
    # Eight answers, one after the other.
    Plant(
        "net",
        "softirq",
        "NET_RX",
        "irq",
        "interrupts of the network queues",
        cpu=1,
        via=r"irq \d+ virtio0-input\.0",
        at_least=3,
    ),
    Plant(
        "vmstat",
        "work",
        "vmstat_update",
        "boot",
        "vm.stat_interval",
        r"kworker/.*",
        via="timer delayed_work_timer_fn",
        detail="mm_percpu_wq",
    ),
    Plant(
        "srcu",
        "work",
        "srcu_invoke_callbacks",
        "programs",
        "from other CPUs",
        r"kworker/.*",
        via="work process_srcu on rcu_gp|timer srcu_delay_timer",
        detail="rcu_gp",
    ),
    # The task that has called it has the kernel interrupt itself (irq_work) to go on: what is
    # told is the CPU.
    Plant(
        "srcu-call",
        "work",
        "process_srcu",
        "programs",
        "from other CPUs",
        "",
        1,
        "vector irq_work|an interrupt|timer delayed_work_timer_fn",
        "rcu_gp",
        plant="srcu",
    ),
    Plant("key", "ipi", "do_sync_core", "programs", "changes of sysctls", named("sh"), 0, ""),
    Plant(
        "module", "ipi", "do_flush_tlb_all|__cpa_flush_.*", "programs", "before", "insmod", 0, ""
    ),
    Plant(
        "compact",
        "work",
        "lru_add_drain_per_cpu",
        "programs",
        "vm.compaction_proactiveness",
        "sh",
        0,
        "",
        "mm_percpu_wq",
    ),
]
# With our module: 24 items for three CPUs.
WORK = Plant(
    "work",
    "work",
    "item_work",
    "programs",
    "avoid who has it done here",
    "sh",
    0,
    "",
    "kcwork-.*",
    at_least=8,
)
# With the callbacks offloaded.
NOCB = Plant("nocb", "thread", r"rcuop/(1|N)", "option", "kthread_cpus=0,2 ")

ALL = PLANTS if OTHER else [*PLANTS, WORK]


def planted(plants: list[Plant], *words: str) -> Boot:
    """The boot in which all of these are planted."""
    names = "~".join(dict.fromkeys(plant.planted for plant in plants))
    return Boot(
        KERNEL,
        Machine(smp=3, nodes=1, network=True),
        " ".join([*words, f"kcguest.do=planted:{names}"]),
        "initramfs" if OTHER else "kcload",
        TIMEOUT,
    )


PLAIN = planted(ALL, "srcutree.convert_to_big=1")
# Other plants have the kernel arm timers on CPU 1 itself.
ALONE = planted([TIMER])
OFFLOADED = planted([NOCB], "rcu_nocbs=1")
NOTHING = planted([])
ROWS = [(ALONE, TIMER), *((PLAIN, plant) for plant in ALL), (OFFLOADED, NOCB)]


def told(boot: Boot, boots: Boots) -> dict[str, Any]:
    """Returns what the program has told."""
    facts = boots.facts(boot)
    assert facts.failed_actions == [], facts.failures
    return json.loads("\n".join(facts.outputs["planted"]))


def wanted(cause: dict[str, Any], plant: Plant) -> int:
    """Returns how often the plant's culprit has wanted it; if there is none, how often it was."""
    if (plant.who, plant.cpu, plant.via) == (None, None, None):
        return cause["count"]
    return sum(
        origin["count"]
        for origin in cause["origins"]
        if (plant.who is None or re.fullmatch(plant.who, origin["who"]))
        and plant.cpu in (None, origin["cpu"])
        and (plant.via is None or re.fullmatch(plant.via, origin.get("via", "")))
    )


def find(document: dict[str, Any], plant: Plant) -> list[dict[str, Any]]:
    """Returns the causes that are as the plant's must be."""
    found = []
    for cause in document["account"]["causes"]:
        named = re.fullmatch(plant.name, cause["name"]) and cause["kind"] == plant.kind
        detailed = re.fullmatch(plant.detail, cause.get("detail", ""))
        remedied = cause["means"] == plant.means and plant.remedy in cause["remedy"]
        if named and detailed and remedied and wanted(cause, plant) >= plant.at_least:
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


@pytest.mark.parametrize("boot", [NOTHING], ids=["nothing"])
@pytest.mark.parametrize(
    "plant",
    # kworkers do the kernel's own.
    [plant for _, plant in ROWS if plant.who and not plant.who.startswith("kworker")],
    ids=lambda plant: plant.id,
)
def test_what_nobody_has_planted(boot: Boot, plant: Plant, boots: Boots) -> None:
    """Where nothing is planted, nobody has wanted it."""
    causes = told(boot, boots)["account"]["causes"]
    # It has seen something.
    assert causes
    alike = [cause for cause in causes if re.fullmatch(plant.name, cause["name"])]
    assert [cause for cause in alike if wanted(cause, plant)] == []


@pytest.mark.parametrize(("boot", "plant"), [pytest.param(*row, id=row[1].id) for row in ROWS])
def test_another_one_is_not_taken_for_it(boot: Boot, plant: Plant, boots: Boots) -> None:
    """What has another culprit, cause or remedy, or was not so often, is not found."""
    document = told(boot, boots)
    for other in (
        replace(plant, name="no_such_function"),
        replace(plant, remedy="no such remedy"),
        replace(plant, who="nobody"),
        replace(plant, cpu=99),
        replace(plant, via="no such way"),
        replace(plant, at_least=10**9),
    ):
        assert find(document, other) == []
