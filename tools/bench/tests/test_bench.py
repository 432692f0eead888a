# SPDX-License-Identifier: GPL-2.0
"""Tests of the driver: QEMU's arguments, the report, the check and its exit status."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import bench
import pytest

import vm

GUEST = Path(bench.__file__).resolve().parent / "guest" / "bench"

SIZE = (
    "   text\t   data\t    bss\t    dec\t    hex\tfilename\n 300\t 20\t 1\t 321\t 141\tvmlinux.o\n"
)


# The cases in which nobody moves.
STAY = ("stay", "none", "inherited", "placed")


def results(crs: float) -> dict[str, object]:
    """Returns the results of a measurement in which `crs` is the patched kernel's."""
    base = {
        **{f"step/online/{case}/8192": 1598295.0 for case in STAY},
        "step/online/back/8192": 6523705.0,
        "crs/unbound/0": 50000.0,
        "crs/placed_unbound/0": 50000.0,
        **{
            f"timer/{kind}/{cpu}": 300.0
            for kind in ("wheel", "hrtimer", "delayed")
            for cpu in (0, 3)
        },
        "boot/init": 1e9,
        "memory/unbound/64": 7386.0,
        "memory/unbound/8192": 7386.0,
        "size/text/64": 3e6,
        "scale/masks/online/masks/4096": 1572798.0,
        "parser/,/8": 40.0,
        "parser/0-8191:1/2/8192": 40000.0,
    }
    patched = base | {"crs/unbound/0": crs, "parser/0-8191:1/2/8192": 2000.0}
    patched |= {f"step/online/{case}/8192": 1000.0 for case in STAY}
    patched |= {"step/online/back/8192": 5e6, "scale/masks/online/masks/4096": 160000.0}
    for kind in ("unbound", "node", "pref"):
        patched |= {f"create/{kind}/median": 4e4, f"create/{kind}/longest": 5e4}
    patched["hold/unbound/32768"] = 9000.0
    for kind in ("wheel", "hrtimer", "delayed"):
        patched |= {f"timer/confined_{kind}/{cpu}": 300.0 for cpu in (0, 3)}
    return {
        "date": "2026-01-01",
        "command": "make bench",
        "images": 1,
        "runs": {"base": [base], "patched": [patched]},
        "base": base,
        "patched": patched,
    }


def test_the_machine_counts_instructions_in_one_thread() -> None:
    """Without these the guest's clock is the host's."""
    guest = vm.Guest(Path("k"), Path("i"), bench.BOOT)
    command = vm.qemu_command(bench.MACHINE, guest, "tcg", "qemu")
    assert command[command.index("-icount") + 1] == "shift=0,sleep=off"
    assert command[command.index("-rtc") + 1].endswith("clock=vm")
    assert command[command.index("-accel") + 1] == "tcg,thread=single"
    assert command[command.index("-smp") + 1].startswith("4,")


@pytest.mark.parametrize(("crs", "status"), [(50000.0, 0), (50100.0, 1)])
def test_check_says_by_its_status_whether_the_limits_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], crs: float, status: int
) -> None:
    """make bench fails when a limit is broken."""
    (tmp_path / "bench.json").write_text(json.dumps(results(crs)))
    assert bench.main(["check", "--results", str(tmp_path)]) == status
    assert ("FAIL crs/unbound/0" in capsys.readouterr().out) is bool(status)


@pytest.mark.parametrize("text", [None, "", "{}", '{"base": {}, "patched": {}}'])
def test_results_that_are_not_there_or_not_whole_are_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    """No traceback, and not the status of a broken limit."""
    if text is not None:
        (tmp_path / "bench.json").write_text(text)
    assert bench.main(["check", "--results", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_image_that_is_not_there_changes_no_result(tmp_path: Path) -> None:
    """A failed measurement keeps the last good results."""
    old = tmp_path / "bench.json"
    old.write_text("old")
    (tmp_path / "size").write_text(SIZE)
    names = ("--base", "--patched", "--large-base", "--large-patched", "--results")
    arguments = [word for name in names for word in (name, str(tmp_path))]
    assert bench.main(["measure", *arguments]) == 2
    assert old.read_text() == "old"


def test_the_report_says_when_how_and_over_how_many_images() -> None:
    """Figures come with the command that gives them."""
    text = bench.report(results(50000.0))
    assert "SPDX-License-Identifier" in text.splitlines()[0]
    assert "2026-01-01" in text
    assert "`make bench`" in text
    assert "1 images of each" in text
    assert "| create + run + stop, unbound | 0 | 50,000 | 50,000 | 1 |" in text


def test_the_guest_takes_every_parameter_that_it_is_given() -> None:
    """A parameter under another name would be ignored in silence."""
    script = GUEST.read_text()
    for word in (
        "kcbench.counts=",
        "kcbench.rounds=",
        "kcbench.repeat=",
        "kcbench.cases=",
        "kcbench.masks=",
        "kcbench.threads=",
        "kcbench.only=",
    ):
        assert word in script
        assert word in Path(sys.modules["bench"].__file__).read_text()


def test_memory_and_size_are_of_small_and_large_cpumasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All sides and kernels are booted, and each figure comes from the one that it names."""
    booted = []

    def measure(
        image: Path, _log: Path, append: str, machine: bench.CountingMachine
    ) -> dict[str, float]:
        booted.append((image.name, machine.smp))
        large = image.name.startswith("large")
        if "only=change" in append:
            return {"boot/init": 2.0, "hold/unbound/32768": 7.0}
        if "only=memory" in append:
            return {"boot/init": 1.0, "memory/unbound": 8192.0 if large else 64.0}
        steps = {f"step/online/{case}/8192": 5.0 for case in ("stay", "back", "none")}
        parser = {f"{language}/parser/0-8191:1/2/8192": 1.0 for language in ("c", "rust")}
        return steps | parser | {"boot/init": 1.0, "crs/unbound/0": 1.0}

    monkeypatch.setattr(bench, "measure", measure)
    names = ("base", "patched", "large-base", "large-patched")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "size").write_text(SIZE)
    arguments = [word for name in names for word in (f"--{name}", str(tmp_path / name))]
    assert bench.main(["measure", *arguments, "--results", str(tmp_path)]) == 0
    kept = json.loads((tmp_path / "bench.json").read_text())
    for side in ("base", "patched"):
        assert kept[side]["memory/unbound/64"] == 64.0
        assert kept[side]["memory/unbound/8192"] == 8192.0
        assert kept[side]["size/text/8192"] == 300.0
        assert kept[side]["scale/cpus/online/back/64"] == 5.0
        assert (side, 64) in booted
        assert (f"large-{side}", 8) in booted
        assert kept[side]["boot/init"] == 1.0
    # The unpatched kernel has no CPUs that kthreads are confined to.
    assert kept["patched"]["hold/unbound/32768"] == 7.0
    assert "hold/unbound/32768" not in kept["base"]
    assert "| bytes of data, by NR_CPUS | 64 | 20 | 20 | 1 |" in (tmp_path / "bench.md").read_text()


def test_a_boot_that_fails_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits an hour for a result that is thrown away."""
    stopped = threading.Event()
    monkeypatch.setattr(vm, "stop_all", stopped.set)
    jobs = bench.jobs_of("base", [tmp_path], tmp_path, "")
    ended = []

    def measure(_image: Path, log: Path, *_: object) -> dict[str, float]:
        if log.name == "bench-base-0.log":
            raise vm.BootError("the guest broke")
        # As a guest that only ends when it is killed.
        assert stopped.wait(60)
        ended.append(log.name)
        return {}

    monkeypatch.setattr(bench, "measure", measure)
    with pytest.raises(vm.BootError, match="the guest broke"):
        bench.run_all(jobs, tmp_path)
    assert stopped.is_set()
    assert len(ended) < len(jobs) - 1


def test_a_series_has_the_steps_by_what_grows() -> None:
    """The number is that of the threads or preferences, or else that of the machine's CPUs."""
    measured = {"step/online/stay/1024": 7.0, "step/offline/back/64": 8.0, "boot/init": 9.0}
    by_axis = {series.axis: series.renamed(measured) for series in bench.SERIES}
    assert by_axis["threads"] == {
        "scale/threads/online/stay/1024": 7.0,
        "scale/threads/offline/back/64": 8.0,
    }
    assert by_axis["cpus"]["scale/cpus/online/stay/64"] == 7.0
    names = [(series.axis, series.machine.smp) for series in bench.SERIES]
    assert len(set(names)) == len(names), "two series write the same log"


def test_every_series_has_a_title() -> None:
    """A table without would have the names of figures in it."""
    for series in bench.SERIES:
        case = "masks" if series.axis == "masks" else "stay"
        for name in series.renamed({f"step/online/{case}/8": 1.0}):
            assert name.rpartition("/")[0] in bench.figures.TITLES
