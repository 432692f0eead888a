# SPDX-License-Identifier: GPL-2.0
"""How random changes are shared out among boots, and what becomes of what they tell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import races
import torture
import vm

RACE = """\
{rule}
BUG: KCSAN: data-race in {function} / other

write to 0xffff888003ae1234 of 8 bytes by task 2 on cpu 1:
 {function}+0x12/0x40

read to 0xffff888003ae1234 of 8 bytes by task 3 on cpu 3:
 other+0x81/0xf0
{rule}
"""
FACTS = """\
@kc begin version=1 kernel=7.3.4
@kc step number=0 name=torture arg=a status=0 online=0-7 isolated= present=0-7
@kc result text=changes=7%20refused=2%20wrong=0
@kc end count=3
"""


@pytest.fixture
def boots(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is booted, each time with the same facts, which are what they should be."""
    appended: list[str] = []

    def boot(guest: vm.Guest, *_args: object, **_options: object) -> vm.Console:
        appended.append(guest.append)
        return vm.Console(FACTS, Path("log"), "tcg", 1.0)

    monkeypatch.setattr(vm, "boot", boot)
    monkeypatch.setattr(torture, "surprises", lambda *_: [])
    return appended


@pytest.mark.parametrize("changes", [1, 499, 2000, 2001, 10000])
def test_shares(boots: list[str], changes: int) -> None:
    """At least as many changes are made as were asked for, each with a seed of its own."""
    assert torture.main([f"--changes={changes}", "--seed=5"]) == 0
    rounds = re.findall(r"torture=(\d+):(\d+)", " ".join(boots))
    assert changes <= sum(int(count) for count, _ in rounds) < changes + len(rounds)
    seeds = [int(seed) for _, seed in rounds]
    assert seeds == list(range(5, 5 + len(rounds)))
    # The first boot is the one to compare with.
    assert not re.search("torture=", boots[0])


@pytest.mark.parametrize(("changes", "status"), [(1999, 0), (2000, 1)])
def test_never(
    boots: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: int,
    status: int,
) -> None:
    """A long run in which something did not happen has not shown that it does no harm."""
    assert boots == []
    counted = {"changes": 7, "refused": 0, "wrong": 0, "smt": 3, "suspends": 0}
    monkeypatch.setattr(torture, "counts", lambda _: counted)
    assert torture.main([f"--changes={changes}"]) == status
    assert ("never done: suspends\n" in capsys.readouterr().err) == bool(status)


def test_until(boots: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The changes take about as long as was asked for, and some are made at least."""
    clock = 0.0
    monkeypatch.setattr(torture.time, "monotonic", lambda: clock)

    def changes(seconds: int) -> list[int]:
        nonlocal clock
        clock = 0.0
        shares = []
        for share in torture.shares(1, seconds):
            shares.append(share)
            # Half a minute for each boot, and three changes a second.
            clock += 30 + share / 3
        return shares

    assert changes(1) == [100]
    for seconds in (120, 600, 3600):
        shares = changes(seconds)
        # The least that a boot takes is a minute.
        assert 0.8 * seconds < clock < seconds + 64
        assert all(100 <= share <= 2000 for share in shares)
    assert max(shares) == 2000

    times = iter((100.0, 100.0, 109.0, 111.0))
    monkeypatch.setattr(torture.time, "monotonic", lambda: next(times))
    assert torture.main(["--for=10", "--seed=5"]) == 0
    assert len(boots) == 1 + 2


def test_failures(
    boots: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the rules do not have, and a boot that breaks, is a failure."""
    monkeypatch.setattr(torture, "surprises", lambda *_: ["kthreadd is elsewhere"])
    assert torture.main(["--changes=3000"]) == 1
    printed = capsys.readouterr().out
    assert "kthreadd is elsewhere" in printed
    assert "changes=7 refused=2" in printed
    assert "torture: changes=14 refused=4 wrong=0; 2 boots failed" in printed

    def hang(*_args: object, **_options: object) -> vm.Console:
        raise vm.GuestHung("too long")

    monkeypatch.setattr(vm, "boot", hang)
    assert torture.main(["--changes=10"]) == vm.GuestHung.status


def test_races(
    boots: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """A data race is a failure if it is in one of the objects, and counted if it is not."""
    monkeypatch.setattr(vm, "LOGS", tmp_path)
    monkeypatch.setattr(races, "functions_of", lambda _: frozenset({"ours"}))

    def booted(function: str, enabled: str = "kcsan: enabled early\n") -> int:
        text = enabled + RACE.format(rule=races.RULE, function=function) + FACTS
        console = vm.Console(text, Path("log"), "tcg", 1.0)
        monkeypatch.setattr(vm, "boot", lambda *_args, **_options: console)
        return torture.main(["--changes=10", "--config=kcsan", "--objects=a.o"])

    assert booted("theirs") == 0
    assert "races of mainline=1" in capsys.readouterr().out
    assert (tmp_path / "torture-kcsan-races.txt").read_text() == "data-race in theirs / other\n"
    assert booted("ours") == 1
    assert "data-race in ours / other" in capsys.readouterr().out
    # What does not look for races finds none.
    with pytest.raises(SystemExit):
        booted("theirs", enabled="")
