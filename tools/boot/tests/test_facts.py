# SPDX-License-Identifier: GPL-2.0
"""Reading facts: lists, threads, cut output, the kernel's own lines."""

from __future__ import annotations

import pytest

import facts
from facts import (
    PF_KTHREAD,
    FactsError,
    LogLine,
    Option,
    format_cpus,
    parse,
    parse_cpus,
    parse_mask,
)

THREAD = "@kc thread pid={pid} name={name} flags={flags} state=S cpu={cpu} allowed={allowed}"


def output(*lines: str, count: int | None = None) -> str:
    """Returns a console with `lines` as the facts after the first."""
    body = ["@kc begin version=1 kernel=7.3.4", *lines]
    body.append(f"@kc end count={len(body) if count is None else count}")
    return "[    0.000000] Linux version 7.3.4\r\n" + "\r\n".join(body) + "\r\n"


def snapshot(*threads: tuple[str, int, str], isolated: str = "", online: str = "0-7") -> str:
    """Returns a console with a snapshot of threads (name, flags, allowed)."""
    lines = [
        "@kc snapshot uptime=1.0",
        "@kc mask name=possible list=0-7",
        f"@kc mask name=online list={online}",
        f"@kc mask name=isolated list={isolated}",
    ]
    lines += [
        THREAD.format(pid=pid, name=name, flags=flags, cpu=0, allowed=allowed)
        for pid, (name, flags, allowed) in enumerate(threads, start=2)
    ]
    return output(*lines)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("", []),
        ("\n", []),
        ("0", [0]),
        ("0-3,8", [0, 1, 2, 3, 8]),
        ("  (null)", []),
    ],
)
def test_parse_cpus(text: str, cpus: list[int]) -> None:
    """The kernel's lists are read, the one of an absent mask too."""
    assert parse_cpus(text) == frozenset(cpus)


@pytest.mark.parametrize("text", ["x", "1-", "-1", "1-2-3", "0x1"])
def test_parse_cpus_rejects(text: str) -> None:
    """What the kernel would not print is an error."""
    with pytest.raises(ValueError, match="not a CPU list"):
        parse_cpus(text)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0", ""), ("ff", "0-7"), ("1,00000001", "0,32"), ("00000000,0000000c", "2-3")],
)
def test_parse_mask(text: str, cpus: str) -> None:
    """Masks of several words are read."""
    assert parse_mask(text) == parse_cpus(cpus)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0-1", "0-1"),
        ("N", "7"),
        ("all", "0-7"),
        ("0-N:1/2", "0,2,4,6"),
        ("0,N", "0,7"),
        (" 1 , 2", "1-2"),
        ("", ""),
    ],
)
def test_parse_request(text: str, cpus: str) -> None:
    """What a person writes is read."""
    assert facts.parse_request(text, 8) == parse_cpus(cpus)


@pytest.mark.parametrize("text", ["8", "3-1", "0-x", "0-7:3/2", "kthread,0"])
def test_parse_request_rejects(text: str) -> None:
    """What no kernel would take is an error."""
    with pytest.raises(ValueError, match="not a CPU list"):
        facts.parse_request(text, 8)


def test_split_flags() -> None:
    """Flags stand before the list; none means all."""
    assert facts.split_flags("0-1") == (facts.FLAGS, "0-1")
    assert facts.split_flags("wq,kthread,0,2") == (("wq", "kthread"), "0,2")
    assert facts.split_flags("wq") == (("wq",), "")


@pytest.mark.parametrize("text", ["0-7", "1,3,5", "0-1,4-6,9"])
def test_format_cpus(text: str) -> None:
    """Formatting is the reverse of parsing."""
    assert format_cpus(parse_cpus(text)) == text


def test_format_cpus_of_none() -> None:
    """No CPU has a name that can be seen."""
    assert format_cpus([]) == "none"


def test_parse_takes_everything() -> None:
    """One fact of each kind ends up where it belongs."""
    seen = parse(
        output(
            "@kc init allowed=0-3",
            "@kc cmdline value=console=ttyS0%20a=100%25",
            "@kc env name=HOME value=/",
            "@kc umh helper=core allowed=0-1",
            "@kc action name=umh arg= status=0",
            "@kc action name=offline arg=2,3 status=1",
            "@kc snapshot uptime=3.25",
            "@kc mask name=possible list=0-7",
            "@kc irqdefault mask=ff",
            "@kc wqmask mask=0f",
            THREAD.format(pid=2, name="a%20b", flags=2129984, cpu=3, allowed="0-7"),
            "@kc irq id=4 affinity=0-7 effective=0",
            "@kc node id=1 list=4-7",
            "@kc file path=/a value=b",
            "@kc file path=/gone",
            "@kc klog level=4 time=0.1 text=a%20warning",
            "@kc invented later=1",
        )
    )
    assert seen.kernel == "7.3.4"
    assert seen.cmdline == "console=ttyS0 a=100%"
    assert seen.env == {"HOME": "/"}
    assert seen.umh == {"core": frozenset({0, 1})}
    assert seen.failed_actions == ["offline:2,3"]
    assert seen.files == {"/a": "b", "/gone": None}
    assert seen.last.nodes == {1: frozenset({4, 5, 6, 7})}
    assert seen.last.workqueues == frozenset({0, 1, 2, 3})
    assert seen.last.irqs[0].effective == frozenset({0})
    assert seen.last.named("a b").managed
    assert seen.klog == [LogLine("a warning", 4)]
    assert seen.log == [LogLine("Linux version 7.3.4")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "end marker"),
        ("[    0.1] panic\n", "end marker"),
        (output("@kc init allowed=0-3").rsplit("@kc end", 1)[0], "end marker"),
        (output("@kc init allowed=0-3", count=5), "2 of 5"),
        (output("[ 1.0] x @kc init allowed=0"), "share a line"),
        (output("@kc init allo"), "cut or broken"),
        (output("@kc init allowed=0-[    1.5] late"), "cut or broken"),
        (output("@kc thread pid=2"), "cut or broken"),
        (output("@kc mask name=online list=0"), "cut or broken"),
        ("@kc init allowed=0\n", "not the beginning"),
        (output() + "@kc init allowed=0\n", "after the end"),
        ("@kc begin version=2 kernel=9\n", "version 2"),
    ],
)
def test_parse_notices_damage(text: str, message: str) -> None:
    """Facts that are cut, mixed or missing are never taken for whole."""
    with pytest.raises(FactsError, match=message):
        parse(text)


def test_kinds_of_threads() -> None:
    """Only a kthread that is not bound is managed."""
    kthread, bound = facts.PF_KTHREAD, facts.PF_NO_SETAFFINITY
    seen = parse(
        snapshot(
            ("init", 0x400100, "0-7"),
            ("kthreadd", kthread, "0-7"),
            ("kworker/u32:0-events_unbound", kthread | bound, "0-7"),
            ("kworker/R-kblockd", kthread | bound, "0-7"),
            ("kworker/3:1H-kblockd", kthread | bound, "3"),
            ("ksoftirqd/1", kthread | bound, "1"),
        )
    ).last
    assert [t.name for t in seen.managed] == ["kthreadd"]
    assert [t.name for t in seen.threads if t.unbound_worker] == ["kworker/u32:0-events_unbound"]
    assert [t.name for t in seen.threads if t.rescuer] == ["kworker/R-kblockd"]
    groups = [t.group for t in seen.threads[2:]]
    assert groups == ["kworker/u*", "kworker/R-*", "kworker/N:*", "ksoftirqd/N"]


@pytest.mark.parametrize(
    ("confined", "isolated", "online", "outside"),
    [
        ("0-1", "", "0-7", ["wide", "far"]),
        ("0-3", "", "0-7", ["wide", "far"]),
        ("0-7", "", "0-7", []),
        ("0-7", "4-7", "0-7", ["wide", "far"]),
        # No CPU of K is online: H is the limit.
        ("2-3", "", "0-1,4-7", []),
        ("2-3", "4-7", "0-1", ["wide", "far"]),
        # K and H have nothing in common.
        ("4-5", "4-7", "0-7", ["wide", "far"]),
    ],
)
def test_outside(confined: str, isolated: str, online: str, outside: list[str]) -> None:
    """Outside is what may run beyond K and H, as far as these have online CPUs."""
    flags = facts.PF_KTHREAD
    seen = parse(
        snapshot(
            ("near", flags, "0-1"),
            ("wide", flags, "0-7"),
            ("far", flags, "5"),
            ("bound", flags | facts.PF_NO_SETAFFINITY, "7"),
            isolated=isolated,
            online=online,
        )
    ).last
    found = [thread.name for thread in seen.outside(parse_cpus(confined)) if thread.name != "near"]
    assert found == outside


@pytest.mark.parametrize(
    "rest", ["out of 0-7", "out of 0-7, less isolated CPUs 1", "less isolated 1 out of 0-7"]
)
def test_option_accepted(rest: str) -> None:
    """The kernel's line tells K and the flags."""
    text = f"kthread_cpus: confined kthread,init to CPUs 0-1 {rest}"
    option = Option.from_log([LogLine(text, 6)])
    assert option.cpus == frozenset({0, 1})
    assert option.flags == ("kthread", "init")
    assert not option.warnings
    assert not option.ignored


def test_option_ignored() -> None:
    """A warning without an accepted line is an option that was ignored."""
    option = Option.from_log([LogLine('kthread_cpus: ignoring "0-x": malformed CPU list', 4)])
    assert option.cpus is None
    assert len(option.warnings) == 1
    assert option.ignored


def test_option_unknown() -> None:
    """A kernel that does not know the option lists it, among others or not."""
    line = LogLine(
        'Unknown kernel command line parameters "foo kthread_cpus=0-1", '
        "will be passed to user space.",
        5,
    )
    assert Option.from_log([line]).unknown
    assert not Option.from_log([LogLine(line.text.replace("kthread_cpus", "other"), 5)]).unknown


@pytest.mark.parametrize(
    "text",
    [
        "WARNING: CPU: 3 PID: 7 at kernel/kthread.c:850 x+0x1/0x2",
        "WARNING: kernel/kthread.c:850 at x+0x1/0x2, CPU#3: swapper/0",
        "BUG: sleeping function called from invalid context at mm/slab.h:1",
        "WARNING: suspicious RCU usage",
        "INFO: task kthreadd:2 blocked for more than 120 seconds.",
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "watchdog: BUG: soft lockup - CPU#1 stuck for 22s!",
        "BUG: unable to handle page fault for address: 0000000000001234",
        "rust_kernel: panicked at kernel/kthread_cpus/list.rs:1:",
        "Kernel panic - not syncing: x",
    ],
)
def test_complaints(text: str) -> None:
    """All of these are complaints."""
    assert len(facts.complaints([LogLine(text)])) == 1


@pytest.mark.parametrize(
    "text",
    [
        "rcu: Preemptible hierarchical RCU implementation.",
        "rcu: \tTracing variant of Tasks RCU enabled.",
        "pid_max: default: 32768 minimum: 301",
        "mtrr: your CPUs had inconsistent fixed MTRR settings",
        "PM: Debug messages",
        "DMAR: debug mode",
    ],
)
def test_no_complaints(text: str) -> None:
    """And none of these is."""
    assert facts.complaints([LogLine(text)]) == []


def test_new_complaints() -> None:
    """A complaint that the reference has too is not ours, whatever its numbers."""
    old = facts.Facts(log=[LogLine("WARNING: CPU: 3 PID: 70 at x.c:1 f+0x12/0x40")])
    new = facts.Facts(
        log=[
            LogLine("WARNING: CPU: 1 PID: 71 at x.c:1 f+0x12/0x40"),
            LogLine("WARNING: CPU: 1 PID: 71 at y.c:1 g+0x12/0x40"),
        ]
    )
    assert len(facts.new_complaints(new, old)) == 1
    assert facts.new_complaints(old, new) == []


def test_complaints_of_a_restart() -> None:
    """What is said while the CPUs stop for good is no complaint, but only then."""
    lines = ["reboot: Restarting system", "@kc begin version=1 kernel=7.3.4", "WARNING: at one"]
    lines += ["@kc end count=1", "WARNING: at two", *lines[:1], "WARNING: at three"]
    assert parse("\n".join(lines)).complaints() == ["WARNING: at one", "WARNING: at two"]


def test_steps() -> None:
    """Each step has all kernel threads, although only what has changed is told."""
    lines = [
        "begin version=1 kernel=7.3.4",
        "interrupt number=4 names=acpi,tty%20S0 fixed=0",
        "interrupt number=24 names=nvme0q1 fixed=1",
        "interrupt number=25 names=nvme0q2 fixed=1",
        "step number=0 name=start arg= status=0 online=0-3 isolated= present=0-3 irq4=c",
        "interrupt number=25 names=virtio0-input.0 fixed=0",
        f"kthread pid=2 name=kthreadd flags={PF_KTHREAD}",
        f"kthread pid=9 name=old%20one flags={PF_KTHREAD}",
        "allowed list=0-3 pids=2,9",
        "step number=1 name=write arg=a:b%20c status=22 online=0-2 isolated=1 present=0-3",
        "allowed list=0 pids=2",
        "gone pids=9",
        "epoch kind=moving step=1 online=0-2 isolated=1 switches=7",
        "ran cpus=0,2 threads=2,0:made",
        "counted cpu=0 worker=9 rescuer=0 helper=1 managed=7 timer=5 softirq=4 irq=3",
        "counted cpu=2 worker=0 rescuer=0 helper=0 managed=0 timer=0 softirq=0 irq=0",
        "sampled events=8 switches=7 lost=1 cpus=0,2",
        "output of=join line=left=0%20wrong=0",
        "failed text=no%20room",
    ]
    output = "\n".join(f"@kc {line}" for line in lines)
    facts = parse(f"{output}\n@kc end count={len(lines)}\n")
    first, second = facts.steps
    assert {t.name: t.allowed for t in first.managed} == {
        "kthreadd": frozenset({0, 1, 2, 3}),
        "old one": frozenset({0, 1, 2, 3}),
    }
    assert [(t.name, t.allowed) for t in second.managed] == [("kthreadd", frozenset({0}))]
    assert (second.arg, second.status, second.isolated) == ("a:b c", 22, frozenset({1}))
    assert str(second) == "step 1 (write a:b c)"
    assert facts.handlers == {4: "acpi,tty S0", 24: "nvme0q1", 25: "virtio0-input.0"}
    assert facts.fixed_irqs == {24}
    assert first.irqs == {4: frozenset({2, 3})}
    counted = facts.epochs[0].counted
    assert [counted[cpu]["irq"] for cpu in (0, 2)] == [3, 0]
    assert [counted[0][kind] for kind in ("timer", "softirq")] == [5, 4]
    assert facts.epochs[0].ran == [(frozenset({0, 2}), [(2, "managed"), (0, "made")])]
    assert facts.sampled is not None
    assert (facts.sampled.lost, facts.sampled.cpus) == (1, frozenset({0, 2}))
    assert facts.outputs == {"join": ["left=0 wrong=0"]}
    assert facts.failures == ["no room"]


@pytest.mark.parametrize(
    "line",
    [
        "gone pids=7",
        "allowed list=0 pids=7",
        "step number=1 name=x arg= status=0 online=0",
        "ran cpus=0 threads=2",
    ],
)
def test_broken_steps(line: str) -> None:
    """A fact about what no step or epoch has told is an error."""
    start = "step number=0 name=start arg= status=0 online=0 isolated= present=0"
    text = f"@kc begin version=1 kernel=7\n@kc {start}\n@kc {line}\n@kc end count=3\n"
    with pytest.raises(FactsError):
        parse(text)
