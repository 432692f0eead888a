# SPDX-License-Identifier: GPL-2.0
"""The program kthread-cpus in the guest, on a kernel with the option and on one without.

What it says is compared with the snapshots, which the guest makes with other means.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from facts import CpuSet, Facts, Snapshot, Thread, format_cpus, new_complaints, parse_cpus
from scenarios import Boot
from vm import BEFORE_7_0, UNPATCHED, Machine

if TYPE_CHECKING:
    from conftest import Boots

SYSFS = "/sys/devices/system/cpu/kthread_cpus"
# Workers come and go, and take the names of what they work for.
WORKER = re.compile(r"kworker/(u?\d+:\d+)")


def boot(config: str, words: str, *actions: str) -> Boot:
    """Returns a boot that does `actions` after a snapshot; a '+' stands for a comma."""
    return Boot(config, Machine(), f"{words} kcguest.do={','.join(['facts', *actions])}".strip())


# The boot CPU is not in K, and the two nodes are not alike.
ON = boot(
    "on",
    "kthread_cpus=2-3",
    "tool:list~--json",
    "tool:check~--json",
    "tool:check~--tap",
    "tool:check~--prometheus",
    "tool:check~--json~--cpus~0+2",
    "tool:check~--json~--cpus~8",
    "tool:plan~--json~--housekeeping~2",
    "tool:plan~--json~--verify",
    "load:60",
    "tool:watch~--json~--for~2s~--record~/run/recording",
    "tool:report~/run/recording~--output~/run/page~--png~/run/picture",
)

# The list is changed while the machine runs.
CHANGED = boot(
    "on",
    "",
    "tool:set~--dry-run~4-5",
    "tool:check~--json",
    "tool:set~1+4-5",
    f"read:{SYSFS}",
    "facts",
    "tool:list~--json",
    "tool:check~--json~--verbose",
    "load:60",
    "tool:watch~--json~--for~2s",
    "tool:set~8",
)

OFF = boot(
    UNPATCHED,
    "kthread_cpus=0-1",
    "tool:list~--json",
    "tool:check",
    "tool:check~--json",
    "tool:check~--json~--cpus~all",
    "load:60",
    "tool:watch~--json~--for~2s",
    "tool:plan~--json~--housekeeping~2",
    "tool:set~0-1",
    "tool:set~--best-effort~--dry-run~0-1",
    "facts",
    "tool:set~--best-effort~0-1",
    "facts",
    "tool:check~--json~--verbose",
)

# Of what this machine always complains.
REFERENCE = Boot(UNPATCHED, Machine(), "")

BOOTS = {"on": ON, "changed": CHANGED, "off": OFF}
EACH = pytest.mark.parametrize("machine", BOOTS.values(), ids=BOOTS)


class Told:
    """What the program has told in a boot."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.statuses = {f"{name}:{arg}": status for name, arg, status in facts.actions}

    def text(self, command: str, status: int = 0) -> str:
        """Returns what a command has printed; its exit status must be `status`."""
        text = "\n".join(self.facts.outputs.get(f"tool:{command}", []))
        assert self.statuses[f"tool:{command}"] == status, f"{command}: {text}"
        return text

    def json(self, command: str, status: int = 0) -> dict[str, Any]:
        """Returns what a command has printed, as JSON."""
        return json.loads(self.text(command, status))


def key(name: str) -> str:
    """Returns a name without what a worker adds to it."""
    match = WORKER.match(name)
    return match[0] if match else name


def kind(thread: Thread) -> set[str]:
    """Returns the classes that a thread may have, by the rules of the specification."""
    if thread.rescuer:
        return {"rescuer"}
    if thread.unbound_worker:
        return {"workqueue"}
    if thread.managed:
        return {"preferred"} if re.match(r"k(swapd|compactd)\d", thread.name) else {"unbound"}
    return {"irq"} if thread.irq is not None else {"per-cpu", "bound"}


def outside(snapshot: Snapshot, cpus: CpuSet) -> set[str]:
    """Returns the threads outside of `cpus` that could be inside."""
    steered = [t for t in snapshot.threads if t.managed or t.rescuer or t.unbound_worker]
    return {key(thread.name) for thread in steered if not thread.allowed <= cpus}


def found(document: dict[str, Any], verdict: str) -> set[str]:
    """Returns the threads for which `check` has a verdict."""
    return {key(f["name"]) for f in document["findings"] if f["verdict"] == verdict}


def lasting(names: set[str]) -> set[str]:
    """Returns the names without those of workers, which may have come or gone in between."""
    return {name for name in names if not WORKER.match(name)}


def compare_threads(document: dict[str, Any], snapshot: Snapshot) -> None:
    """What `list` says is what the snapshot has, but for workers that came or went."""
    listed = {thread["pid"]: thread for thread in document["threads"]}
    seen = {thread.pid: thread for thread in snapshot.threads if thread.kthread}
    for pid in listed.keys() ^ seen.keys():
        name = listed[pid]["name"] if pid in listed else seen[pid].name
        assert WORKER.match(name), f"{name} is in one of the two only"
    common = listed.keys() & seen.keys()
    assert len(common) > 40
    for pid in common:
        says, thread = listed[pid], seen[pid]
        assert key(says["name"]) == key(thread.name)
        assert parse_cpus(says["allowed"]) == thread.allowed, thread.name
        assert says["movable"] == (not thread.bound), thread.name
        assert says["class"] in kind(thread), thread.name
        # It has not moved there since: a CPU where it may not be is no CPU of it.
        assert says["node"] in (0, 1)
        assert says["cpu"] in snapshot.nodes[says["node"]]
    assert {thread["class"] for thread in listed.values()} >= {
        "per-cpu", "unbound", "preferred", "workqueue", "rescuer"
    }  # fmt: skip


def intrusions(document: dict[str, Any]) -> tuple[int, int]:
    """Counts the runs outside again: of threads that can be confined, and of the others."""
    cpus = parse_cpus(document["cpus"])
    counts = [0, 0]
    for thread in document["threads"]:
        exempt = thread["class"] in ("per-cpu", "bound", "irq")
        counts[exempt] += sum(run["count"] for run in thread["runs"] if run["cpu"] not in cpus)
    return counts[0], counts[1]


@EACH
def test_sound(machine: Boot, boots: Boots) -> None:
    """The program does not disturb the kernel, and nothing else went wrong in the guest."""
    facts = boots.facts(machine)
    assert new_complaints(facts, boots.facts(REFERENCE)) == []
    assert [name for name in facts.failed_actions if not name.startswith("tool:")] == []


def test_list(boots: Boots) -> None:
    """`list` agrees with the snapshot, on either kernel and after a change."""
    for machine in (ON, OFF):
        facts = boots.facts(machine)
        document = Told(facts).json("list~--json")
        compare_threads(document, facts.snapshots[0])
        assert document["kernel"] == facts.kernel
        assert (document["possible"], document["online"]) == ("0-7", "0-7")
    facts = boots.facts(CHANGED)
    compare_threads(Told(facts).json("list~--json"), facts.snapshots[1])


def test_check_inside(boots: Boots) -> None:
    """Without a list `check` takes the kernel's own, and all is inside."""
    facts = boots.facts(ON)
    document = Told(facts).json("check~--json")
    assert outside(facts.last, parse_cpus("2-3")) == set()
    assert (document["status"], document["outside"]) == ("pass", 0)
    assert (document["cpus"], document["source"], document["obeys"]) == ("2-3", "sysfs", "yes")
    assert document["notes"] == []
    assert {s["name"]: s["cpus"] for s in document["settings"]} == {
        "unbound workqueues": "2-3",
        "new interrupts": "2-3",
        "PID 1": "2-3",
    }
    bound = {t.name for t in facts.last.threads if t.bound and not t.allowed <= parse_cpus("2-3")}
    assert lasting(found(document, "exempt")) == lasting(bound)


def test_check_outside(boots: Boots) -> None:
    """A list that the threads do not keep to is exit status 1, with the threads by name."""
    told = Told(boots.facts(ON))
    document = told.json("check~--json~--cpus~0,2", status=1)
    expected = outside(told.facts.last, parse_cpus("0,2"))
    assert {"kthreadd", "kswapd0", "kswapd1"} <= expected
    assert lasting(found(document, "outside")) == lasting(expected)
    assert document["settings"][0]["outside"]
    assert told.text("check~--json~--cpus~8", status=2).startswith("kthread-cpus: ")


def test_check_formats(boots: Boots) -> None:
    """TAP and metrics say the same as JSON."""
    told = Told(boots.facts(ON))
    document = told.json("check~--json")
    version, plan, *tests = told.text("check~--tap").splitlines()
    assert (version, plan) == ("TAP version 13", f"1..{len(tests)}")
    assert all(re.match(rf"ok {n} - ", line) for n, line in enumerate(tests, start=1))
    skipped = [line for line in tests if " # SKIP " in line]
    exempt = len(lasting(found(document, "exempt")))
    assert len([line for line in skipped if "kworker/" not in line]) == exempt

    metrics = {}
    for line in told.text("check~--prometheus").splitlines():
        if not line.startswith("#"):
            name, value = re.fullmatch(r"(kthread_cpus_\w+(?:{[^}]*})?) (\d+)", line).groups()
            metrics[name] = int(value)
    labels = f'kernel="{told.facts.kernel}",cpus="2-3",source="sysfs"'
    assert metrics[f"kthread_cpus_info{{{labels}}}"] == 1
    assert metrics["kthread_cpus_outside"] == 0
    assert metrics["kthread_cpus_option_obeyed"] == 1
    managed = [t for t in told.facts.last.managed if kind(t) == {"unbound"}]
    name = 'kthread_cpus_threads{class="unbound",placement="inside"}'
    assert metrics[name] == len(managed)


def test_check_on_a_kernel_without_the_option(boots: Boots) -> None:
    """It says first that the kernel ignores the option, and what is outside."""
    told = Told(boots.facts(OFF))
    text = told.text("check", status=1)
    ignores = f"this kernel ({told.facts.kernel}) ignores kthread_cpus=0-1: "
    assert text.startswith(f"{ignores}kthreadd may use CPUs 0-7")
    document = told.json("check~--json", status=1)
    assert (document["cpus"], document["source"], document["obeys"]) == ("0-1", "option", "no")
    expected = outside(told.facts.snapshots[0], parse_cpus("0-1"))
    assert lasting(found(document, "outside")) == lasting(expected)
    assert told.json("check~--json~--cpus~all")["status"] == "pass"


def test_watch(boots: Boots) -> None:
    """On the kernel with the option nothing that can be confined runs outside; on the other..."""
    for machine, cpus in ((ON, "2-3"), (CHANGED, "1,4-5")):
        facts = boots.facts(machine)
        command = next(name for name in facts.outputs if name.startswith("tool:watch"))
        document = Told(facts).json(command.removeprefix("tool:"))
        assert document["cpus"] == cpus
        assert intrusions(document) == (0, document["intrusions_exempt"]["count"])
        assert document["intrusions"] == {"count": 0, "ns": 0}
        assert document["lost"] == 0
        inside = [t for t in document["threads"] if t["runs"] and t["class"] == "workqueue"]
        assert inside, "no worker of an unbound workqueue was seen, and there was work for them"


def test_watch_sees_intrusions(boots: Boots) -> None:
    """... it does, wherever there is work for it."""
    document = Told(boots.facts(OFF)).json("watch~--json~--for~2s")
    wrong, exempt = intrusions(document)
    assert wrong > 0
    assert (wrong, exempt) == (
        document["intrusions"]["count"],
        document["intrusions_exempt"]["count"],
    )
    assert document["intrusions"]["ns"] > 0


def test_report(boots: Boots) -> None:
    """A page is made where it was watched."""
    command = "report~/run/recording~--output~/run/page~--png~/run/picture"
    assert Told(boots.facts(ON)).text(command) == ""


def test_plan(boots: Boots) -> None:
    """The plan fits the machine, and the option alone contradicts nothing."""
    for machine in (ON, OFF):
        document = Told(boots.facts(machine)).json("plan~--json~--housekeeping~2")
        kept, isolated = (parse_cpus(document[name]) for name in ("housekeeping", "isolated"))
        assert len(kept) == 2
        assert kept | isolated == frozenset(range(8))
        assert not kept & isolated
        words = dict(option["text"].split("=") for option in document["options"])
        assert words["kthread_cpus"] == words["irqaffinity"] == format_cpus(kept)
        assert words["nohz_full"] == words["rcu_nocbs"] == format_cpus(isolated)
        assert words["isolcpus"].endswith(f"domain,{format_cpus(isolated)}")
    assert Told(boots.facts(ON)).json("plan~--json~--verify")["contradictions"] == []


def test_set_by_the_kernel(boots: Boots) -> None:
    """`set` writes the kernel's file; a dry run does not, and a wrong list is an error."""
    told = Told(boots.facts(CHANGED))
    assert told.text("set~--dry-run~4-5") == f"would write 4-5 to {SYSFS}"
    document = told.json("check~--json")
    assert (document["source"], document["cpus"]) == ("nobody", "0-7")
    assert told.text("set~1,4-5") == f"wrote 1,4-5 to {SYSFS}"
    assert told.facts.files[SYSFS] == "1,4-5"
    assert outside(told.facts.last, parse_cpus("1,4-5")) == set()
    assert told.facts.last.workqueues == parse_cpus("1,4-5")
    document = told.json("check~--json~--verbose")
    assert (document["status"], document["cpus"]) == ("pass", "1,4-5")
    assert told.text("set~8", status=2).startswith("kthread-cpus: ")


def test_set_best_effort(boots: Boots) -> None:
    """Without the kernel's file `set` does what user space can, and says what it cannot."""
    told = Told(boots.facts(OFF))
    first, before, after = told.facts.snapshots
    assert "--best-effort" in told.text("set~0-1", status=2)
    dry = told.text("set~--best-effort~--dry-run~0-1")
    assert re.search(r"^would move \d+ kernel threads to CPUs 0-1: ", dry, re.MULTILINE)
    # Neither the refusal nor the dry run has moved anything.
    assert lasting(outside(before, parse_cpus("0-1"))) == lasting(outside(first, parse_cpus("0-1")))
    text = told.text("set~--best-effort~0-1")
    assert "cannot move, from user space:" in text
    assert [t.name for t in after.managed if not t.allowed <= parse_cpus("0-1")] == []
    assert after.workqueues == after.irq_default == parse_cpus("0-1")
    document = told.json("check~--json~--verbose")
    left = lasting(outside(after, parse_cpus("0-1")))
    if BEFORE_7_0:
        # Workqueues do not take them along there, and it is nobody's fault.
        left = {name for name in left if not name.startswith("kworker/R-")}
    assert lasting(found(document, "outside")) == left
