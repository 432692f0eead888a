# SPDX-License-Identifier: GPL-2.0
"""No memory: every allocation of what leads into the engine fails once, with nothing lost.

Run by scripts/torture, not by `make test`: pytest takes a file of this name only when it is
told to.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from facts import Facts, new_complaints, parse_cpus
from scenarios import Boot
from vm import Machine

if TYPE_CHECKING:
    from conftest import Boots

OPERATIONS = (
    "write", "read", "workqueues", "kthreadd", "create", "prefer", "update", "place",
    "hotplug", "cpuhp", "rescuers", "partition",
)  # fmt: skip
# Each has an allocation without which it cannot do what it is asked for.
MUST_FAIL = ("write", "workqueues", "kthreadd", "create", "prefer", "update", "place")
ALLOC = "=> alloc_cpumask_var: failed!"
TRACE = "Call Trace:"
# Of the caches of a CPU that comes: mainline's.
KOBJECT = re.compile(r"kobject: kobject_add_internal failed for .* \(error: -12 ")
KCPUS = "/sys/devices/system/cpu/kthread_cpus"
COMMON = "kunit.enable=0 kmemleak=on kthread_cpus=2-3"
FAULTS = Boot(
    "kasan",
    Machine(),
    f"{COMMON} kcguest.do=insmod:/kc/kcload.ko,debug,faults,write:{KCPUS}=4-5,facts,leaks",
    guest="kcload",
    timeout=1800.0,
)
PLAIN = Boot(
    "kasan",
    Machine(),
    f"{COMMON} kcguest.do=insmod:/kc/kcload.ko,debug,facts,leaks,"
    "write:/proc/kcload=leak,leaks:on-purpose",
    guest="kcload",
    timeout=900.0,
)


def counts(facts: Facts) -> dict[str, dict[str, int]]:
    """Returns what was counted, by operation."""
    matches = (
        re.fullmatch(r"(\w+) (injected=.*)", line) for line in facts.outputs.get("faults", [])
    )
    return {
        match[1]: {key: int(number) for key, number in re.findall(r"(\w+)=(\d+)", match[2])}
        for match in matches
        if match
    }


def leaks(facts: Facts, name: str = "leaks") -> int:
    """Returns the number of objects that nothing points at."""
    return sum("unreferenced object" in line for line in facts.outputs.get(name, []))


@pytest.mark.parametrize("boot", [FAULTS], ids=["faults"])
def test_every_allocation_fails_once(boot: Boot, boots: Boots) -> None:
    """Each operation does all or nothing and says ENOMEM, and failed for want of memory."""
    facts = boots.facts(boot)
    assert not facts.failed_actions, facts.outputs
    told = counts(facts)
    print(told)
    assert tuple(told) == OPERATIONS
    assert {name: told[name]["wrong"] for name in told} == dict.fromkeys(told, 0), "\n".join(
        facts.outputs["faults"]
    )
    assert all(told[name]["injected"] for name in told), told
    assert all(told[name]["failed"] for name in MUST_FAIL), told


@pytest.mark.parametrize("boot", [FAULTS], ids=["faults"])
def test_what_is_left(boot: Boot, boots: Boots) -> None:
    """Afterwards every managed kthread obeys, also to a change that comes after it all."""
    cpus = parse_cpus("4-5")
    threads = [thread for thread in boots.facts(boot).last.threads if thread.managed]
    assert len(threads) > 10
    assert [thread.name for thread in threads if not thread.allowed <= cpus] == []


@pytest.mark.parametrize(("boot", "plain"), [(FAULTS, PLAIN)], ids=["faults"])
def test_nothing_leaks(boot: Boot, plain: Boot, boots: Boots) -> None:
    """No memory is lost, and nobody complains, but for what is so without a fault."""
    facts, reference = boots.facts(boot), boots.facts(plain)
    assert not reference.failed_actions
    # With this kernel, a cpumask that cannot be allocated says so, with a call trace. The
    # kernel's own log begins anywhere, as there are many of these.
    complaints = {text for text in new_complaints(facts, reference) if not KOBJECT.match(text)}
    assert complaints <= {ALLOC, TRACE}
    texts = [line.text for line in facts.log]
    assert sum(TRACE in text for text in texts) <= sum(ALLOC in text for text in texts)
    assert leaks(facts) <= leaks(reference), "\n".join(facts.outputs["leaks"])


@pytest.mark.parametrize("boot", [PLAIN], ids=["plain"])
def test_leak_is_seen(boot: Boot, boots: Boots) -> None:
    """So that it means something that none is found."""
    facts = boots.facts(boot)
    assert not facts.failed_actions
    assert leaks(facts) < leaks(facts, "leaks-on-purpose")
