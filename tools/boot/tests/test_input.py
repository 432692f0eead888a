# SPDX-License-Identifier: GPL-2.0
"""Bad input for the boot option and for the file kthread_cpus; see input.py.

All values of the option go to the kernel's own parser of it, built for the host, and a few
of them to kernels that boot. All writes to the file are made in one boot.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import vm
from checks import surprises
from facts import new_complaints, parse
from input import APPEND, CPUS, VALUES, WRITES, Value, expected, guest, outcomes, results
from scenarios import Boot, Scenario

if TYPE_CHECKING:
    from conftest import Boots

# There are hundreds of writes in one boot.
TIMEOUT = 600.0

REASONS = {
    "unknown-flag": "unknown flag",
    "no-comma": "no comma after the flag",
    "malformed": "malformed CPU list",
    "too-large": "CPU number too large",
    "overflow": "number does not fit in 32 bits",
}


def test_size_of_the_corpus() -> None:
    """There are enough of each, and no two that are the same."""
    assert len({value.text for value in VALUES}) == len(VALUES) >= 200
    assert len(set(WRITES)) >= 200
    kinds = {value.outcome.split()[0] for value in VALUES}
    assert kinds == {"ok", *REASONS}


def test_values() -> None:
    """The parser of the boot option makes of every value what it must."""
    found = outcomes(f"option {CPUS} {value.text.hex()}" for value in VALUES)
    wrong = [
        f"{value.text[:60]!r} ({len(value.text)} bytes): {outcome}, not {value.outcome}"
        for value, outcome in zip(VALUES, found, strict=True)
        if outcome != value.outcome
    ]
    assert not wrong, "\n".join(wrong)


# A sample that can be on a kernel command line; what the value is in quotes.
SAMPLE = [
    pytest.param(Value(text, outcome), id=name)
    for name, text, outcome in (
        ("bytes", b"0-1,\xff\xfe\x80", "malformed 4"),
        ("unicode", "0-1,漢字".encode(), "malformed 4"),
        ("control", b"0\x07-1", "malformed 1"),
        ("zero-width", "wq,\u200b0".encode(), "malformed 3"),
        ("digits-of-others", "٣".encode(), "malformed 0"),
        ("nested-flags", b"kthread,wq,kthread,wq,umh wq,0", "no-comma 25"),
        ("upper-case-flag", b"kthread,WQ,0", "unknown-flag 8"),
        ("64-bits", b"0-1,18446744073709551616", "overflow 4"),
        ("long-separators", b"," * 1500 + b"64", "too-large 1500"),
        ("long-garbage", b"0," * 700 + b"x" * 200, "malformed 1400"),
        ("long-number", b"0" * 1500 + b"64", "too-large 0"),
    )
]


def scenario(value: Value, name: str) -> Scenario:
    """The boot with that value of the option."""
    kind, offset = value.outcome.split()
    text = os.fsdecode(value.text)
    words = f'kthread_cpus="{text}"' if " " in text else f"kthread_cpus={text}"
    return Scenario(
        id=f"input-{name}", words=words, warning=("ignoring", REASONS[kind]), offset=int(offset)
    )


@pytest.mark.parametrize(
    "scenario", [pytest.param(scenario(p.values[0], p.id), id=p.id) for p in SAMPLE]
)
def test_value_in_a_boot(scenario: Scenario, boots: Boots) -> None:
    """The kernel says what is wrong with the value, and is as if there were no option."""
    found = surprises(scenario, boots.facts(scenario.boot), boots.facts(scenario.plain))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("value", SAMPLE)
def test_sample_is_as_on_the_host(value: Value) -> None:
    """The boots are told to expect what the parser on the host finds."""
    assert outcomes([f"option {CPUS} {value.text.hex()}"]) == [value.outcome]


@pytest.mark.parametrize("plain", [Boot("on", vm.Machine(), "")], ids=["on"])
def test_writes(plain: Boot, boots: Boots) -> None:
    """Every write has the result that it must have, and a failed one changes nothing."""
    initrd = vm.BUILD / "guest/input.cpio"
    guest(boots.initrd, WRITES, initrd)
    log = vm.LOGS / "boot/input-writes.log"
    what = vm.Guest(boots.image(plain.config), initrd, APPEND)
    console = vm.boot(what, vm.Machine(), log, accel=boots.accel, timeout=TIMEOUT)
    facts = parse(console.text)

    wrong = [
        f"{text[:60]!r} ({len(text)} bytes): {got}, not {must}"
        for text, got, must in zip(
            WRITES, results(facts.outputs["input"]), expected(WRITES), strict=True
        )
        if got != must
    ]
    assert not wrong, "\n".join(wrong)
    assert not new_complaints(facts, boots.facts(plain))
