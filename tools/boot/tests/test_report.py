# SPDX-License-Identifier: GPL-2.0
"""The report of a run: what it counts and what it calls a failure."""

from __future__ import annotations

import pytest

import facts
import report
from report import Pair, Style
from test_facts import THREAD, output
from vm import BadMachine

THREADS = (("kthreadd", "0-7"), ("kswapd0", "0-3"), ("kswapd1", "4-7"))
ACCEPTED = "kthread_cpus:%20confined%20{}%20to%20CPUs%200-1%20out%20of%200-7"


def boot(allowed: str | None, *log: str) -> facts.Facts:
    """Returns a boot in which every managed kthread has `allowed`, or its own mask."""
    lines = [
        "@kc init allowed=0-7",
        "@kc snapshot uptime=1.0",
        "@kc mask name=possible list=0-7",
        "@kc mask name=online list=0-7",
        "@kc mask name=isolated list=",
        "@kc node id=0 list=0-3",
        "@kc node id=1 list=4-7",
    ]
    lines += [
        THREAD.format(pid=pid, name=name, flags=facts.PF_KTHREAD, cpu=1, allowed=allowed or mask)
        for pid, (name, mask) in enumerate(THREADS, start=2)
    ]
    bound = facts.PF_KTHREAD | facts.PF_NO_SETAFFINITY
    lines += [
        THREAD.format(pid=20 + cpu, name=f"cpuhp/{cpu}", flags=bound, cpu=cpu, allowed=cpu)
        for cpu in range(8)
    ]
    lines += [f"@kc klog level=6 time=0.0 text={text}" for text in log]
    return facts.parse(output(*lines))


def test_all_inside() -> None:
    """Every thread inside is a success, and the numbers say so."""
    line = ACCEPTED.format("kthread,wq,umh,init,irq")
    pair = Pair("0-1", boot("0-1", line), boot(None), "tcg")
    text = report.render(pair, Style())
    assert "with kthread_cpus=0-1: 0 of 3 managed kernel threads may run outside CPUs 0-1" in text
    assert "without:               3 of 3" in text
    assert "8 cpuhp/N" in text
    assert line.replace("%20", " ") in text
    assert "outside\n" not in text
    assert report.verdict(pair, Style()) == []


def test_outside() -> None:
    """A thread outside is marked, counted, and a failure."""
    pair = Pair("0-1", boot(None, ACCEPTED.format("kthread")), boot(None), "tcg")
    text = report.render(pair, Style())
    assert "3 of 3 managed kernel threads may run outside" in text
    assert text.count("<- outside") == 3
    assert report.verdict(pair, Style())


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
    pair = Pair("init,0-1", boot(None, ACCEPTED.format("init")), boot(None), "tcg")
    assert "0 of 3 managed" in report.render(pair, Style())
    assert report.verdict(pair, Style()) == []


def test_command_word() -> None:
    """Spaces are quoted as the kernel wants it, and a quote cannot be."""
    assert report.command_word("0-1") == "kthread_cpus=0-1"
    assert report.command_word("0, 1") == 'kthread_cpus="0, 1"'
    with pytest.raises(BadMachine):
        report.command_word('0"1')
