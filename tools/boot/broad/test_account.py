# SPDX-License-Identifier: GPL-2.0
"""Tests of what accounts for threads, interrupts and timers: it fails if the guide is wrong."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from account import (
    GUIDE,
    Account,
    GuideError,
    account_interrupts,
    account_moving,
    account_threads,
    account_timers,
    read_expiries,
    read_guide,
    read_interrupts,
)
from facts import (
    PF_KTHREAD,
    PF_NO_SETAFFINITY,
    Irq,
    Snapshot,
    Thread,
    parse_cpus,
)

TEXT = GUIDE.read_text()
CONFINED = parse_cpus("2-3")
AWK = Path(__file__).resolve().parent / "account.awk"


def snapshot(*threads: tuple[str, str, str]) -> Snapshot:
    """Returns a machine with eight CPUs and these threads: name, "bound" or "free", and CPUs."""
    flags = {"bound": PF_KTHREAD | PF_NO_SETAFFINITY, "free": PF_KTHREAD, "user": 0}
    every = parse_cpus("0-7")
    return Snapshot(
        masks={"possible": every, "online": every},
        irqs=[Irq(24, parse_cpus("2-3"), parse_cpus("3")), Irq(25, parse_cpus("5"), frozenset())],
        threads=[
            Thread(pid, name, flags[kind], parse_cpus(cpus), cpu=0)
            for pid, (name, kind, cpus) in enumerate(threads, start=2)
        ],
    )


# Threads that are where they must be, by the row of the guide that is about them.
SOUND = {
    "cpuhp/N": [("cpuhp/1", "bound", "1"), ("migration/7", "bound", "7")],
    "ksoftirqd/N": [("ksoftirqd/0", "bound", "0")],
    "rcuc/N": [("rcuc/6", "bound", "6")],
    "kworker/N:*": [("kworker/5:1H-kblockd", "bound", "5")],
    "kworker/R-*": [
        ("kworker/R-writeback", "bound", "2-3"),
        ("kworker/R-mm_percpu_wq-mm_percpu_wq", "bound", "6"),
    ],
    "irq/N-*": [("irq/24-virtio0", "bound", "3"), ("irq/25-nvme0q6", "bound", "5")],
    "kpktgend_N": [("kpktgend_4", "bound", "4"), ("hwlatd", "free", "7")],
}
MOVING = [
    ("kthreadd", "free", "2-3"),
    ("kswapd1", "free", "2-3"),
    ("rcub/0", "free", "2"),
    ("napi/eth0-8193", "free", "2-3"),
    ("nfsd", "free", "3"),
    ("md_raid1_raid1", "free", "2-3"),
]
ALL = [*(thread for row in SOUND.values() for thread in row), *MOVING]


def without_row(name: str) -> str:
    """Returns the guide without the row that begins with this name."""
    row = re.compile(rf"^   \* - ``{re.escape(name)}``.*?(?=^   \* - |^\n)", re.M | re.S)
    assert len(row.findall(TEXT)) == 1
    return row.sub("", TEXT)


def changed(old: str, new: str) -> str:
    """Returns the guide with other words."""
    assert old in TEXT
    return TEXT.replace(old, new)


def both(text: str, seen: Snapshot) -> tuple[Account, Account]:
    """Returns what is found by that guide."""
    guide = read_guide(text)
    return account_threads(guide, seen, CONFINED), account_moving(guide, seen, CONFINED)


def test_all_of_the_guide_is_read() -> None:
    """The tables have as many rows as they have, and the names in them are patterns."""
    guide = read_guide(TEXT)
    section = TEXT.split("\nWhat stays on every CPU\n")[1].split("\nTroubleshooting\n")[0]
    assert len(guide.bound) + len(guide.others) == section.count("   * - ") - 2
    assert [row.what for row in guide.moving][:2] == ["kswapdN", "kcompactdN"]
    assert len(guide.moving) == 12
    assert len(guide.unmoved) == 3
    found = [row for row in guide.bound if row.match("cpumap/3/map:7")]
    assert [row.match("cpumap/3/map:7")[1] for row in found] == ["3"]
    assert [row.match("kpktgend_x") for row in guide.bound] == [None] * len(guide.bound)


def test_what_is_right_is_right() -> None:
    """Nothing is wrong, and each row is seen."""
    threads, moving = both(TEXT, snapshot(*ALL, ("sh", "user", "0-7")))
    assert threads.wrong == moving.wrong == []
    assert threads.counts.total() == len(ALL)
    assert len(threads.rows) == len(SOUND)
    assert len(moving.rows) == len(MOVING) - 1


@pytest.mark.parametrize("name", SOUND)
def test_a_row_is_missing(name: str) -> None:
    """What it is about is in no table."""
    threads, _ = both(without_row(name), snapshot(*ALL))
    told = [thread for thread, kind, _ in SOUND[name] if kind == "bound"]
    assert [line.split(" (")[0] for line in threads.wrong if "in no table" in line] == told
    assert len(threads.rows) == len(SOUND) - 1


@pytest.mark.parametrize(
    ("name", "kind", "cpus"),
    [
        ("cpuhp/1", "bound", "2"),
        ("cpuhp/1", "bound", "1-2"),
        ("kworker/5:1", "bound", "0-7"),
        ("kworker/u16:1", "bound", "4"),
        ("kworker/R-writeback", "bound", "2-4"),
        ("irq/24-virtio0", "bound", "4"),
        ("irq/26-none", "bound", "2"),
        ("irq/99-gpio", "free", "5"),
        ("kpktgend_4", "bound", "2"),
        ("kswapd0", "free", "2-4"),
        ("strange", "bound", "2"),
        # Names are whole.
        ("rcuc/6x", "bound", "6"),
    ],
)
def test_what_is_elsewhere_is_wrong(name: str, kind: str, cpus: str) -> None:
    """A thread that is not where its row, or the list, has it."""
    threads, _ = both(TEXT, snapshot(*ALL, (name, kind, cpus)))
    assert [line.split(" (")[0] for line in threads.wrong] == [name]


@pytest.mark.parametrize(
    ("name", "kind", "cpus"),
    [
        ("kswapd0", "bound", "2"),
        ("kcompactd0", "free", "2-4"),
        ("btrfs-cleaner", "free", "0-7"),
        ("iscsi_trx", "bound", "2-3"),
    ],
)
def test_what_does_not_move_is_wrong(name: str, kind: str, cpus: str) -> None:
    """A thread that the guide says moves, and that does not."""
    _, moving = both(TEXT, snapshot(*ALL, (name, kind, cpus)))
    assert [line.split(",")[0] for line in moving.wrong] == [name]


def test_the_guide_is_wrong() -> None:
    """It says that what moves is bound, says less, or what nobody understands."""
    seen = snapshot(*ALL)
    threads, _ = both(changed("``cpuhp/N``,", "``cpuhp/N``, ``kswapdN``,"), seen)
    assert [line.split(" (")[0] for line in threads.wrong] == ["kswapd1"]
    _, moving = both(changed("``kswapdN``,", ""), seen)
    assert "kswapdN" not in moving.rows
    _, moving = both(changed("``kswapdN``,", "``kswapdN``, ``ksoftirqd/N``,"), seen)
    assert moving.wrong == ["ksoftirqd/0, bound: 0"]
    for old, new in (
        ("     - CPU N\n", "     - some CPU\n"),
        ("     - Where it runs\n", "     - Where\n"),
        ("These move to the list", "These do not"),
        ("Kernel threads and what is like them", "Threads"),
    ):
        with pytest.raises(GuideError):
            read_guide(changed(old, new))


IRQS = """\
0:0:0:IRQD_NO_BALANCING,IRQD_SINGLE_TARGET:timer
24:2:2:IRQD_SINGLE_TARGET:virtio0-input.0
25:5:5:IRQD_AFFINITY_MANAGED:nvme0q6
26:3::IRQD_SINGLE_TARGET:rtc0
""".splitlines()


def test_interrupts() -> None:
    """What is outside has a reason that the guide gives."""
    guide = read_guide(TEXT)
    found = account_interrupts(guide, read_interrupts(IRQS), CONFINED)
    assert found.wrong == []
    counts = {"confined": 2, "IRQD_AFFINITY_MANAGED": 1, "IRQD_NO_BALANCING": 1}
    assert found.counts == counts
    outside = ["27:4::IRQD_ACTIVATED:a: b", "28:2:1,2::c"]
    found = account_interrupts(guide, read_interrupts([*IRQS, *outside]), CONFINED)
    assert found.wrong == ["27 (a: b) goes to 4, fired on none", "28 (c) goes to 2, fired on 1-2"]
    silent = read_guide(changed("those that must not be balanced", "others"))
    found = account_interrupts(silent, read_interrupts(IRQS), CONFINED)
    assert found.wrong == ["0 (timer) goes to 0, fired on 0"]


TRACE = """\
# tracer: nop
#
# entries-in-buffer/entries-written: 14/14   #P:8
#
          <idle>-0       [002] ..s1.   1: timer_start: timer=0xa1 function=f expires=9 [timeout=4] \
bucket_expiry=9 cpu=2 idx=3 flags=
            sh-99        [002] ..s1.   2: timer_start: timer=0xa2 function=f expires=9 [timeout=4] \
bucket_expiry=9 cpu=6 idx=3 flags=P|I
            sh-99        [000] ..s1.   3: timer_start: timer=0xa3 function=g expires=9 [timeout=4] \
bucket_expiry=9 cpu=4 idx=3 flags=I
            sh-99        [000] d..1.   4: hrtimer_start: hrtimer=0xb1 function=h expires=9 \
softexpires=9 mode=REL was_armed=0
            sh-99        [000] d..1.   5: hrtimer_start: hrtimer=0xb2 function=h expires=9 \
softexpires=9 mode=ABS|PINNED|HARD was_armed=0
          <idle>-0       [005] ..s1.   6: timer_expire_entry: timer=0xa1 function=f now=9 baseclk=9
          <idle>-0       [006] ..s1.   7: timer_expire_entry: timer=0xa2 function=f now=9 baseclk=9
          <idle>-0       [004] ..s1.   8: timer_expire_entry: timer=0xa3 function=g now=9 baseclk=9
          <idle>-0       [003] d.h1.   9: hrtimer_expire_entry: hrtimer=0xb1 function=h now=9
            sh-99        [001] d..1.  10: hrtimer_start: hrtimer=0xb1 function=h expires=9 \
softexpires=9 mode=REL was_armed=0
          <idle>-0       [003] d.h1.  11: hrtimer_expire_exit: hrtimer=0xb1
          <idle>-0       [003] d.h1.  12: hrtimer_expire_entry: hrtimer=0xb1 function=h now=9
          <idle>-0       [000] d.h1.  13: hrtimer_expire_entry: hrtimer=0xb2 function=h now=9
          <idle>-0       [007] ..s1.  14: timer_expire_entry: timer=0xa9 function=x now=9 baseclk=9
"""


def run_awk(what: str, text: str, program: Path = AWK) -> tuple[int, list[str]]:
    """Returns the status of what the guest runs, and the lines of its output."""
    done = subprocess.run(
        ["busybox", "awk", "-v", f"what={what}", "-f", str(program)],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    return done.returncode, [line.partition(" line=")[2] for line in done.stdout.splitlines()]


def test_timers() -> None:
    """What waits on one CPU and expires on another is seen, and wrong if that is outside."""
    status, lines = run_awk("timers", TRACE)
    assert status == 0
    assert sorted(lines) == [
        "f:free:2:5:1",
        "f:pinned:6:6:1",
        "g:free:4:4:1",
        "h:free:0:3:1",
        # It was running there when another CPU has started it.
        "h:free:3:3:1",
        "h:pinned:0:0:1",
    ]
    found = account_timers(read_expiries(lines), CONFINED)
    assert found.wrong == ["f of CPU 2 on CPU 5: 1"]
    assert found.counts == {"own": 2, "pinned": 2, "foreign": 2}
    assert run_awk("timers", TRACE.replace("14/14", "14/15"))[0] == 1


def test_interrupts_are_read(tmp_path: Path) -> None:
    """The guest tells what the kernel shows of them."""
    files = {
        "sys/kernel/irq/24/actions": "ahci, one\n",
        "sys/kernel/irq/24/per_cpu_count": "0,7,1\n",
        "sys/kernel/irq/25/actions": "",
        "proc/irq/24/effective_affinity_list": "1\n",
        "sys/kernel/debug/irq/irqs/24": "dstate:   0x1\n            IRQD_ACTIVATED\n"
        "            IRQD_AFFINITY_MANAGED\nnode:     -1\n     flags:   0x1\n"
        "            IRQCHIP_IMMUTABLE\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    program = tmp_path / "account.awk"
    program.write_text(re.sub(r'"(/sys/|/proc/)', rf'"{tmp_path}\1', AWK.read_text()))
    before = "".join(
        f"/sys/kernel/irq/{irq}/per_cpu_count:{counts}\n"
        for irq, counts in ((24, "0,5,1"), (25, "0,0,0"))
    )
    status, lines = run_awk("interrupts", before, program)
    assert status == 0
    assert lines == ["24:1:1:IRQD_ACTIVATED,IRQD_AFFINITY_MANAGED:ahci,%20one"]
