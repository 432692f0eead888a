# SPDX-License-Identifier: GPL-2.0
"""What scripts/field makes of what its guests say."""

from __future__ import annotations

from typing import Any

import pytest

from field.field import EVERY, Boot, Json, Row, judge, table

CONFINED = Row("confined", "kthread_cpus=2-3", "2-3", EVERY)
ABSENT = Row("absent", "", "2-3")
WRITTEN = Row("run-time", "", "2-3", frozenset({"kthread", "wq", "umh"}), written=True)


def look(name: str, allowed: str, settings: str = "", **more: Any) -> Json:  # noqa: ANN401
    """Returns what a guest says of one thread that may use these CPUs, and of the settings."""
    outside = allowed != "2-3"
    thread = {"name": "kswapd0", "class": "preferred", "allowed": allowed}
    names = ("unbound workqueues", "new interrupts", "PID 1")
    settings = settings or allowed
    check = {
        "outside": int(outside),
        "total": 3,
        "exempt": 2,
        "findings": [{"name": "kswapd0", "verdict": "outside"}] if outside else [],
        "settings": [
            {"name": name, "cpus": settings, "outside": settings != "2-3"} for name in names
        ],
    }
    irq = {"irq": "24", "name": "virtio0", "cpus": settings, "managed": False}
    return {
        "look": name,
        "check": check,
        "threads": {"threads": [thread]},
        "interrupts": [irq],
    } | more


def boot(*looks: Json, ended: bool = True) -> Boot:
    """Returns a boot with these looks."""
    return Boot([{"kernel": "7.3.4"}, *looks], ended=ended)


def causes(row: Row, ours: Boot, stock: Boot) -> list[str]:
    """Returns all that is not as it is meant."""
    return [
        f"{name}: {cause}" for name, found in judge(row, ours, stock).items() for cause in found
    ]


def test_a_confined_kernel_beside_one_that_is_not_is_as_meant() -> None:
    """Nothing is wrong, and the table has both."""
    ours, stock = boot(look("boot", "2-3")), boot(look("boot", "0-3"))
    assert causes(CONFINED, ours, stock) == []
    (row,) = [line for line in table([(CONFINED, ours, stock)]) if line.startswith("| boot")]
    assert row == "| boot | 1 of 1 | 0 of 1 | 0-3 | 2-3 | 0-3 | 2-3 | 1 | 0 | yes |"


def test_a_thread_outside_is_named_in_the_table_too() -> None:
    """One thread is enough."""
    ours, stock = boot(look("load", "0-3", settings="2-3")), boot(look("load", "0-3"))
    assert causes(CONFINED, ours, stock) == ["load: 1 outside: kswapd0"]
    lines = table([(CONFINED, ours, stock)])
    assert next(line for line in lines if line.startswith("| load")).endswith("| NO |")
    assert "- load: 1 outside: kswapd0" in lines


def test_a_session_has_cpus_and_those_of_the_option() -> None:
    """What is not known, or elsewhere, is not as meant."""
    stock = boot(look("boot", "0-3"), look("session", "0-3", session="0-3"))

    def found(session: str) -> list[str]:
        return causes(
            CONFINED, boot(look("boot", "2-3"), look("session", "2-3", session=session)), stock
        )

    assert found("2-3") == []
    assert found("0-3") == ["session: the session has CPUs 0-3"]
    assert found("") == ["session: nobody knows the CPUs of the session"]


def test_settings_outside_count_by_class() -> None:
    """PID 1 and interrupts count only if the option names them."""
    ours, stock = boot(look("boot", "2-3", settings="0-3")), boot(look("boot", "0-3"))
    assert len(causes(CONFINED, ours, stock)) == 4
    row = Row("other", "kthread_cpus=kthread,wq,2-3", "2-3", frozenset({"kthread", "wq"}))
    assert causes(row, ours, stock) == ["boot: unbound workqueues are outside"]


def test_nothing_is_proved_where_the_stock_kernel_is_inside_too() -> None:
    """A look that sees nobody outside on any kernel may be blind."""
    ours, stock = boot(look("boot", "2-3")), boot(look("boot", "2-3"))
    assert "nothing outside with Debian's kernel either" in causes(CONFINED, ours, stock)[0]


def test_without_the_option_both_kernels_must_be_the_same() -> None:
    """Then it is not the option that decides."""
    same = boot(look("boot", "0-3"))
    assert causes(ABSENT, same, boot(look("boot", "0-3"))) == []
    assert causes(ABSENT, boot(look("boot", "0-1")), same) == ["boot: kswapd0: 0-1, not 0-3"]


def test_at_run_time_it_is_confined_from_the_write_on() -> None:
    """Before it, as without the option."""
    stock = boot(*(look(name, "0-3") for name in ("boot", "write", "load")))
    ours = boot(look("boot", "0-3"), look("write", "2-3"), look("load", "2-3"))
    assert causes(WRITTEN, ours, stock) == []
    ours = boot(look("boot", "0-3"), look("write", "2-3"), look("load", "0-3", settings="2-3"))
    assert causes(WRITTEN, ours, stock) == ["load: 1 outside: kswapd0"]


def test_all_cpus_of_the_list_gone_is_no_finding_but_one_is() -> None:
    """The work has to go somewhere."""
    stock = boot(look("hotplug: off", "0-1", gone=[2, 3]))
    assert causes(CONFINED, boot(look("hotplug: off", "0-1", gone=[2, 3])), stock) == []
    assert causes(CONFINED, boot(look("hotplug: off", "0-1", gone=[3])), stock)


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        (
            {"got": {"allowed": [1], "plain": [0, 1]}, "asked": [3]},
            "allowed: has CPUs [1], not [3]",
        ),
        ({"promtool": 1, "complaint": "bad"}, "promtool: bad"),
        ({"bad": ["BUG: x"]}, "kernel: BUG: x"),
        ({"partition": "isolated invalid"}, "the partition is isolated invalid"),
        ({"state": "degraded", "failed": ["a.service"]}, "state degraded: a.service"),
        ({"verify": 1, "log": []}, "verify fails"),
    ],
)
def test_what_a_step_says_is_wrong_unless_debian_has_it_too(more: Json, cause: str) -> None:
    """It is for this that both kernels are looked at."""
    ours, stock = look("step", "2-3", **more), look("step", "0-3")
    assert causes(CONFINED, boot(ours), boot(stock)) == [f"step: {cause}"]
    assert causes(CONFINED, boot(ours), boot(stock | more)) == []


def test_a_guest_that_does_not_end_and_a_step_that_fails_are_findings() -> None:
    """On either kernel."""
    stock = boot(look("boot", "0-3"))
    assert "did not come to its end" in causes(CONFINED, boot(ended=False), stock)[0]
    failed = boot({"error": "load", "text": "Traceback\nOSError: no"}, look("boot", "2-3"))
    assert causes(CONFINED, failed, stock) == [": step load: OSError: no"]
    assert causes(CONFINED, boot(look("boot", "2-3")), failed)[0].startswith(
        ": Debian's kernel: step"
    )


def test_a_look_that_the_other_kernel_lacks_is_a_finding() -> None:
    """It must not be passed over."""
    ours, stock = boot(look("boot", "2-3")), boot(look("boot", "0-3"), look("load", "0-3"))
    assert causes(CONFINED, ours, stock) == ["load: not looked at"]
