# SPDX-License-Identifier: GPL-2.0
"""The report of a run: what it counts and what it calls a failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import facts
import report
from report import Pair, Style
from test_facts import output
from vm import BadMachine, BootError, Machine

THREADS = (("kthreadd", "0-7"), ("kswapd0", "0-3"), ("kswapd1", "4-7"))
ACCEPTED = "kthread_cpus:%20confined%20{}%20to%20CPUs%200-1%20out%20of%200-7"


def tool(arguments: str, document: dict[str, Any], status: int = 0) -> list[str]:
    """Returns what the guest tells of a command of the program."""
    lines = json.dumps(document, indent=1).splitlines()
    told = [f"@kc output of=tool:{arguments} line={quote(line)}" for line in lines]
    return [*told, f"@kc action name=tool arg={arguments} status={status}"]


def boot(allowed: str | None, *log: str, cpus: str = "0-1", intrusions: int = 0) -> facts.Facts:
    """Returns a boot in which every managed kthread has `allowed`, or its own mask.

    `cpus` is where `check` has nothing against them.
    """
    masks = {name: allowed or mask for name, mask in THREADS}
    threads = [
        {"pid": pid, "name": name, "allowed": mask, "cpu": 1, "movable": True}
        for pid, (name, mask) in enumerate(masks.items(), start=2)
    ]
    threads += [
        {"pid": 20 + cpu, "name": f"cpuhp/{cpu}", "allowed": str(cpu), "cpu": cpu, "movable": False}
        for cpu in range(8)
    ]
    inside = facts.parse_cpus(cpus)
    outside = [
        {"name": name, "verdict": "outside"}
        for name, mask in masks.items()
        if not facts.parse_cpus(mask) <= inside
    ]
    exempt = [{"name": "cpuhp/7", "verdict": "exempt"}]
    workqueues = {"name": "unbound workqueues", "cpus": "0-1", "outside": False, "counts": True}
    interrupts = {"name": "new interrupts", "cpus": "0-7", "outside": True, "counts": False}
    lines = [
        "@kc init allowed=0-7",
        *tool(
            "list~--json",
            {"possible": "0-7", "online": "0-7", "isolated": "", "threads": threads},
        ),
        *tool(
            "check~--json",
            {"cpus": cpus, "settings": [workqueues, interrupts], "findings": outside + exempt},
            status=1 if outside else 0,
        ),
        *tool(
            "watch~--json~--for~5s",
            {
                "cpus": "0-1",
                "online": "0-7",
                "nodes": [{"id": 0, "cpus": "0-3"}, {"id": 1, "cpus": "4-7"}],
                "intrusions": {"count": intrusions, "ns": 1},
            },
        ),
    ]
    lines += [f"@kc klog level=6 time=0.0 text={text}" for text in log]
    found = facts.parse(output(*lines))
    found.snapshots.append(report.snapshot(found))
    return found


def test_all_inside() -> None:
    """Every thread inside is a success, and the numbers say so."""
    line = ACCEPTED.format("kthread,wq,umh,init,irq")
    pair = Pair("0-1", boot("0-1", line), boot(None, intrusions=17), "tcg")
    text = report.render(pair, Style())
    assert "with kthread_cpus=0-1: 0 of 3 managed kernel threads may run outside CPUs 0-1" in text
    assert "without:               3 of 3" in text
    assert "8 cpuhp/N" in text
    assert "ran on CPUs 2-7\n  17 times without the option, 0 times with it." in text
    assert line.replace("%20", " ") in text
    assert "outside\n" not in text
    assert report.verdict(pair, Style()) == []


def test_outside() -> None:
    """A thread outside is marked, counted, and a failure."""
    pair = Pair("0-1", boot(None, ACCEPTED.format("kthread")), boot(None), "tcg")
    text = report.render(pair, Style())
    assert "3 of 3 managed kernel threads may run outside" in text
    assert text.count("<- outside") == 3
    assert report.verdict(pair, Style()) == ["FAILED: outside: kthreadd, kswapd0, kswapd1"]


def test_setting_outside() -> None:
    """Unbound workqueues outside are a failure, new interrupts are not."""
    pair = Pair("0-1", boot("0-1", ACCEPTED.format("wq")), boot(None), "tcg")
    assert report.outside_names(pair) == []
    lines = pair.with_option.outputs["tool:check~--json"]
    text = "\n".join(lines).replace('"outside": false', '"outside": true')
    pair.with_option.outputs["tool:check~--json"] = text.splitlines()
    assert report.outside_names(pair) == ["unbound workqueues"]


def test_no_cpu_online() -> None:
    """With none of the CPUs online the work has to be elsewhere, and that is no failure."""
    line = "kthread_cpus:%20confined%20kthread%20to%20CPUs%208-9%20out%20of%200-9"
    pair = Pair("8-9", boot(None, line, cpus="8-9"), boot(None), "tcg")
    assert report.verdict(pair, Style()) == []


def test_command_that_failed() -> None:
    """A command of the program that failed is a failure; `check` says something by its status."""
    pair = Pair("0-1", boot("0-1", ACCEPTED.format("kthread")), boot(None), "tcg")
    pair.without.actions += [("tool", "check~--json", 1), ("tool", "watch~--json", 2)]
    assert report.verdict(pair, Style()) == ["FAILED: the guest could not do: tool:watch~--json"]


def test_program_that_did_not_answer() -> None:
    """What is no answer is said in one line."""
    found = boot("0-1")
    found.outputs["tool:list~--json"] = ["kthread-cpus: no such file"]
    with pytest.raises(facts.FactsError, match="kthread-cpus list: kthread-cpus: no such file"):
        report.snapshot(found)
    del found.outputs["tool:list~--json"]
    with pytest.raises(facts.FactsError, match="has not run kthread-cpus list"):
        report.snapshot(found)


@pytest.mark.parametrize(
    ("value", "given"),
    [
        ("0-1", "~--cpus~0-1"),
        ("kthread,wq,0,N", "~--cpus~0+7"),
        (" 1 , 2", "~--cpus~1-2"),
        ("0-1,x", ""),
        ("kthread", ""),
    ],
)
def test_actions(value: str, given: str) -> None:
    """Both guests watch the same CPUs, if the value names some."""
    watch = report.actions(value, Machine()).rpartition(",")[2]
    assert watch == f"tool:watch~--json~--for~5s{given}"


def test_page(tmp_path: Path) -> None:
    """The program makes the page from what it has recorded in both guests."""
    program = tmp_path / "kthread-cpus"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"${0%/*}/arguments"\n')
    program.chmod(0o755)
    pair = Pair("0-1", boot("0-1"), boot(None, intrusions=17), "tcg")
    page, picture = tmp_path / "report.html", tmp_path / "heatmap.png"
    report.write_page(pair, program, page, picture)
    before, after = tmp_path / "run-without.json", tmp_path / "run-with.json"
    assert json.loads(before.read_text())["intrusions"]["count"] == 17
    assert json.loads(after.read_text())["intrusions"]["count"] == 0
    title = "Linux 7.3.4, without and with kthread_cpus=0-1"
    expected = ["report", "--before", str(before), "--after", str(after), "--title", title]
    expected += ["--output", str(page), "--png", str(picture)]
    assert (tmp_path / "arguments").read_text().splitlines() == expected

    program.write_text("#!/bin/sh\necho no room >&2\nexit 2\n")
    with pytest.raises(BootError, match="no room"):
        report.write_page(pair, program, page, None)


def test_unknown_option() -> None:
    """A kernel that does not know the option says so in the report."""
    unknown = "Unknown%20kernel%20command%20line%20parameters%20%22kthread_cpus=0-1%22,%20will"
    pair = Pair("0-1", boot(None, unknown), boot(None), "tcg")
    assert "does not know the option" in report.render(pair, Style())


def test_ignored_option() -> None:
    """The kernel's own words on an option that it ignores are shown, and it is a failure."""
    ignored = "@kc klog level=4 time=0.0 text=kthread_cpus:%20ignoring%20%220-x%22:%20malformed"
    with_option = boot(None, ignored.split("text=")[1])
    with_option.klog = [facts.LogLine(line.text, 4) for line in with_option.klog]
    pair = Pair("0-x", with_option, boot(None), "tcg")
    text = report.render(pair, Style())
    assert 'ignoring "0-x": malformed' in text
    assert "0 of 3" not in text
    assert "FAILED: the kernel has ignored the option" in text


def test_flags_that_leave_kthreads_alone() -> None:
    """Without the flag kthread no kernel thread can be outside."""
    new = boot(None, ACCEPTED.format("init"), cpus="0-7")
    pair = Pair("init,0-1", new, boot(None), "tcg")
    assert "0 of 3 managed" in report.render(pair, Style())
    assert report.verdict(pair, Style()) == []


def test_command_word() -> None:
    """Spaces are quoted as the kernel wants it, and a quote cannot be."""
    assert report.command_word("0-1") == "kthread_cpus=0-1"
    assert report.command_word("0, 1") == 'kthread_cpus="0, 1"'
    with pytest.raises(BadMachine):
        report.command_word('0"1')
