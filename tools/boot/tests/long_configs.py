# SPDX-License-Identifier: GPL-2.0
"""What must hold in a kernel of any configuration; scripts/configs names and builds them.

Not run by `make test`: pytest takes a file of this name only when it is told to.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import checks
from facts import Snapshot, format_cpus, new_complaints, parse_cpus
from scenarios import Boot, Scenario
from vm import Machine

if TYPE_CHECKING:
    from conftest import Boots

CONFIGS = os.environ.get("KC_CONFIGS", "").split()
# Where there is no such option.
WITHOUT = ("up", "off")
FILE = "/sys/devices/system/cpu/kthread_cpus"

# What is done, and K after it.
CHANGES = (
    ("", "2-3"),
    (f"write:{FILE}=1", "1"),
    (f"write:{FILE}=2+5", "2,5"),
    ("offline:2", "2,5"),
    ("offline:5", "2,5"),
    ("online:5", "2,5"),
    ("online:2", "2,5"),
    (f"write:{FILE}=all", "all"),
)


# Where no CPU goes or comes.
STATIC = ("nohotplug",)


def machine(config: str) -> Machine:
    """A machine that the kernel can have all of."""
    if config == "nohotplug":
        return Machine(arch="arm64")
    if config == "pages":
        return Machine(smp=16, memory=1024, arch="arm64")
    if config == "up":
        return Machine(smp=1, nodes=1)
    return Machine(nodes=1 if config in ("nonuma", "small") else 2)


def boot(config: str, words: str) -> Boot:
    """A boot of such a kernel."""
    return Boot(config, machine(config), words)


def hotplug(do: str) -> bool:
    """Whether an action takes a CPU away or brings it back."""
    return do.startswith(("offline", "online"))


def without(config: str) -> Boot:
    """The same without the option: what the kernel says about this machine anyway."""
    actions = [f"{do},facts" for do, _ in CHANGES if hotplug(do) and config not in STATIC]
    return boot(config, f"kcguest.do={','.join(['facts', *actions])}")


def surprises(snapshot: Snapshot, confined: str) -> list[str]:
    """Returns what is not where it must be."""
    cpus = snapshot.possible if confined == "all" else parse_cpus(confined)
    ceiling = snapshot.ceiling(cpus)
    found = [f"{t.name} may use {format_cpus(t.allowed)}" for t in snapshot.outside(cpus)]
    found += [
        f"{t.name} may use {format_cpus(t.allowed)}"
        for t in snapshot.threads
        if (t.resting_rescuer or t.unbound_worker) and not t.allowed <= ceiling
    ]
    # So that nothing passes for being confined because nothing was seen.
    if not snapshot.managed:
        found.append("there is no managed kernel thread")
    return found


@pytest.mark.parametrize("config", [name for name in CONFIGS if name not in WITHOUT])
def test_confines(config: str, boots: Boots) -> None:
    """K holds at boot, after every write and while its CPUs go and come."""
    changes = [(do, cpus) for do, cpus in CHANGES if config not in STATIC or not hotplug(do)]
    actions = ",".join(f"{do},facts" if do else "facts" for do, _ in changes)
    option = Scenario(config, "kthread_cpus=2-3", "2-3", machine=machine(config))
    facts = boots.facts(boot(config, f"{option.words} kcguest.do={actions}"))
    plain = boots.facts(without(config))
    assert not facts.failed_actions
    assert checks.placeable(option, facts.last) or machine(config).native
    # What the changes do not reach.
    assert not [
        *checks.option_lines(option, facts),
        *checks.environment(option, facts),
        *checks.first_process(option, facts, plain),
        *checks.interrupts(option, facts, plain),
    ]
    assert len(facts.snapshots) == len(changes)
    found = [
        f"after {do or 'boot'}: {text}"
        for (do, confined), snapshot in zip(changes, facts.snapshots, strict=True)
        for text in surprises(snapshot, confined)
    ]
    assert not found
    assert not new_complaints(facts, plain)


@pytest.mark.parametrize("config", [name for name in CONFIGS if name in WITHOUT])
def test_boots_without(config: str, boots: Boots) -> None:
    """A kernel that cannot have the option boots as ever, and says that it does not know it."""
    facts = boots.facts(boot(config, "kthread_cpus=0 kcguest.do=facts"))
    assert not facts.failed_actions
    plain = boots.facts(boot(config, "kcguest.do=facts"))
    assert not new_complaints(facts, plain)
    assert any("Unknown kernel command line" in line.text for line in facts.log)
