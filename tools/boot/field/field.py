# SPDX-License-Identifier: GPL-2.0
"""Boots the disk image of scripts/field in QEMU, and makes a table of what the guests say.

The guest takes its kernel and more words for the command line from the boot loader, which has
them from the SMBIOS that QEMU gives it: every boot is one by GRUB from the disk. What it says
comes by a port of its own, one JSON object a line (guest.py). Each row of the table is a
command line, booted with Debian's kernel and with ours, at the same time.

    field.py step IMAGE STEPS --payload DEB...    take steps, and keep what they change
    field.py rows IMAGE [ROW...]                  the rows, on a copy in memory

Exit status: 0 all is as meant, 1 it is not, else as vm.py.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import vm  # noqa: E402
from facts import parse_cpus  # noqa: E402

OUT = vm.BUILD / "field"
# scripts/field gives the file system this name.
ROOT_UUID = "6b746872-6561-4064-8370-757366696c65"
# With less memory than the load wants.
MACHINE = vm.Machine(smp=4, nodes=1, memory=1024)
# The whole of a row, in a slow guest on a busy host.
TIMEOUT = 10800.0

# The emulated timer may be late on a busy host, which Linux takes for a broken one.
APPEND = "console=ttyS0 panic=-1 no_timer_check"

Json = dict[str, Any]

ALL_STEPS = (
    "boot,load,hotplug,partition,session,systemd,container,timers,irqbalance,metrics,latency,"
    "profiles,tuned,report"
)


@dataclass(frozen=True)
class Row:
    """A command line, the CPUs that it is about, and what must be inside then."""

    name: str
    append: str
    cpus: str
    classes: frozenset[str] = frozenset()
    steps: str = ALL_STEPS
    # Whether the classes hold from the step "write" on only.
    written: bool = False


EVERY = frozenset({"kthread", "wq", "umh", "init", "irq"})
ROWS = (
    Row("confined", "kthread_cpus=2-3", "2-3", EVERY),
    Row(
        "isolated",
        "kthread_cpus=kthread,wq,umh,0-1 isolcpus=managed_irq,domain,2-3 nohz_full=2-3 "
        "rcu_nocbs=2-3 threadirqs",
        "0-1",
        frozenset({"kthread", "wq", "umh"}),
    ),
    Row("absent", "", "2-3"),
    Row(
        "run-time",
        "",
        "2-3",
        frozenset({"kthread", "wq", "umh"}),
        ALL_STEPS.replace("boot,", "boot,write,"),
        written=True,
    ),
)


# --- the machine ---------------------------------------------------------------
@dataclass
class Boot:
    """One life of a guest: what it said, by the order in which it did."""

    records: list[Json] = field(default_factory=list)
    seconds: float = 0.0
    log: Path = Path()
    ended: bool = False

    def looks(self) -> dict[str, Json]:
        """Returns what was seen, by the name of the look."""
        return {record["look"]: record for record in self.records if "look" in record}

    def errors(self) -> list[str]:
        """Returns what went wrong in the guest, a line each."""
        found = [
            f"step {record['error']}: {record['text'].strip().splitlines()[-1]}"
            for record in self.records
            if "error" in record
        ]
        if not self.ended:
            found.append(f"the guest did not come to its end ({self.log})")
        return found

    def first(self) -> Json:
        """Returns what the guest says of itself."""
        return self.records[0] if self.records else {}


def entry(release: str) -> str:
    """Returns the name of a kernel in the menu of GRUB."""
    return f"gnulinux-advanced-{ROOT_UUID}>gnulinux-{release}-advanced-{ROOT_UUID}"


def command(
    image: Path, payload: Path, port: Path, append: str, release: str, snapshot: bool, scratch: Path
) -> list[str]:
    """Returns QEMU's argument list for a boot from the disk."""
    accels = {"kvm": "kvm", "tcg": "tcg,thread=single", "mttcg": "tcg,thread=multi"}
    accel = os.environ.get("ACCEL") or "tcg"
    if accel not in accels:
        raise vm.BadMachine(f"ACCEL={accel}: here it is one of {', '.join(accels)}")
    args = [vm.find_qemu(), *MACHINE.arguments(), "-accel", accels[accel]]
    if accel == "tcg":
        # The guest's time is that of its instructions, so that a busy host makes it slow, but
        # no time-out of systemd comes too early.
        args += ["-icount", "shift=2"]
    if accel == "kvm":
        args[args.index("-cpu") + 1] = "host"
    nvme = scratch / "nvme.img"
    with nvme.open("wb") as file:
        file.truncate(256 << 20)
    disk = f"file={image},format=raw,if=none,id=disk,cache=unsafe"
    args += ["-drive", disk + (",snapshot=on" if snapshot else "")]
    args += ["-device", "virtio-blk-pci,drive=disk,bootindex=1"]
    args += ["-drive", f"file={payload},format=raw,if=none,id=payload,readonly=on"]
    args += ["-device", "virtio-blk-pci,drive=payload,serial=payload"]
    args += ["-drive", f"file={nvme},format=raw,if=none,id=nvme,cache=unsafe"]
    args += ["-device", "nvme,drive=nvme,serial=field"]
    args += ["-device", "virtio-rng-pci", "-netdev", "user,id=net,restrict=on"]
    args += ["-device", "virtio-net-pci,netdev=net"]
    args += ["-device", "virtio-serial-pci", "-chardev", f"file,id=port,path={port}"]
    args += ["-device", "virtserialport,chardev=port,name=field"]
    # A comma is doubled in QEMU's options.
    words = append.replace(",", ",,")
    choice = f",sku={entry(release)}" if release else ""
    args += ["-smbios", f"type=1,family={words}{choice}"]
    args += ["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none"]
    return [*args, "-serial", "stdio", "-no-reboot"]


def boot(
    image: Path,
    name: str,
    steps: str,
    *,
    append: str = "",
    cpus: str = "0",
    release: str = "",
    files: Sequence[Path] = (),
    snapshot: bool = True,
    direct: Sequence[str] = (),
) -> Boot:
    """Boots the image and returns what the guest has said. `direct` are arguments of QEMU."""
    result = Boot(log=OUT / "logs" / f"{name}.log")
    result.log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=OUT, prefix="guest.") as directory:
        scratch = Path(directory)
        payload, port = scratch / "payload.tar", scratch / "port"
        with tarfile.open(payload, "w") as tar:
            for file in (HERE / "guest.py", HERE / "load", *files):
                tar.add(file, file.name)
        port.touch()
        words = f"{append} field.steps={steps} field.cpus={cpus}".strip()
        args = command(image, payload, port, words, release, snapshot, scratch)
        args += [word.replace("@WORDS@", words) for word in direct]
        with (
            result.log.open("wb") as log,
            subprocess.Popen(
                args, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                result.records.append({"error": "time", "text": f"it ran for {TIMEOUT:.0f} s"})
            finally:
                process.kill()
        for line in port.read_text(errors="replace").splitlines():
            try:
                result.records.append(json.loads(line))
            except ValueError:
                result.records.append({"error": "port", "text": f"not JSON: {line[:80]}"})
    result.ended = any("end" in record for record in result.records)
    result.seconds = time.monotonic() - start
    (result.log.with_suffix(".json")).write_text(json.dumps(result.records))
    return result


# --- what is meant ---------------------------------------------------------------
def lasting(look: Json) -> dict[str, str]:
    """Returns where the threads may run that are there all the time, by name."""
    threads = look["threads"].get("threads", []) if look["threads"] else []
    found: dict[str, set[str]] = {}
    for thread in threads:
        if thread["class"] in ("preferred", "unbound", "rescuer", "workqueue"):
            name = "kworker/u" if thread["class"] == "workqueue" else thread["name"]
            found.setdefault(name, set()).add(thread["allowed"])
    return {name: " ".join(sorted(masks)) for name, masks in found.items()}


def inside(cpus: str, wanted: str) -> bool:
    """Whether a list has no CPU but those."""
    return set(parse_cpus(cpus)) <= set(parse_cpus(wanted))


def stray_interrupts(look: Json, cpus: str) -> list[str]:
    """Returns the interrupts that are not for the CPUs alone, but for managed ones."""
    return [
        f"{irq['irq']}:{irq['name']}"
        for irq in look["interrupts"]
        if not irq["managed"] and not inside(irq["cpus"], cpus)
    ]


def setting(look: Json, name: str) -> Json:
    """Returns one of the settings that check looks at."""
    return next((one for one in look["check"].get("settings", []) if one["name"] == name), {})


def judge_confined(row: Row, look: Json) -> list[str]:
    """Returns what is not as the option has it, a line each."""
    check = look["check"]
    wrong = []
    if "outside" not in check:
        return [f"check says: {check}"]
    if check["outside"] and {"kthread", "wq"} <= row.classes:
        names = [f["name"] for f in check["findings"] if f["verdict"] == "outside"]
        wrong.append(f"{check['outside']} outside: {', '.join(names[:8])}")
    if "wq" in row.classes and setting(look, "unbound workqueues").get("outside"):
        wrong.append("unbound workqueues are outside")
    if "init" in row.classes and setting(look, "PID 1").get("outside"):
        wrong.append("PID 1 is outside")
    if "irq" in row.classes and setting(look, "new interrupts").get("outside"):
        wrong.append("new interrupts are outside")
    if "irq" in row.classes and (stray := stray_interrupts(look, row.cpus)):
        wrong.append(f"interrupts are outside: {', '.join(stray)}")
    if "init" in row.classes and not inside(look.get("session", row.cpus), row.cpus):
        wrong.append(f"the session has CPUs {look['session']}")
    return wrong


def judge_same(ours: Json, stock: Json) -> list[str]:
    """Returns the threads that may run elsewhere than with Debian's kernel."""
    here, there = lasting(ours), lasting(stock)
    if "session" in ours:
        here["the session"], there["the session"] = ours["session"], stock["session"]
    return [
        f"{name}: {here[name]}, not {there[name]}"
        for name in sorted(here.keys() & there.keys())
        if here[name] != there[name]
    ]


def judge_more(look: Json) -> list[str]:
    """Returns what the step itself says is wrong."""
    wrong = []
    for name, got in look.get("got", {}).items():
        if name in ("affinity", "allowed", "cpuset") and got != look["asked"]:
            wrong.append(f"{name}: has CPUs {got}, not {look['asked']}")
    if look.get("promtool"):
        wrong.append(f"promtool: {look['complaint']}")
    if look["look"] == "metrics" and not look["exported"]:
        wrong.append("node_exporter does not have kthread_cpus_outside")
    wrong += [f"kernel: {line}" for line in look.get("bad", [])]
    if look.get("partition", "isolated") != "isolated":
        wrong.append(f"the partition is {look['partition']}")
    if not look.get("session", "there"):
        wrong.append("nobody knows the CPUs of the session")
    if look.get("verify"):
        wrong.append("verify fails")
    wrong += [f"TuneD: {line}" for line in look.get("log", [])]
    if look.get("state", "running") not in ("running", "active"):
        wrong.append(f"state {look['state']}: {' '.join(look.get('failed', []))}")
    return wrong


def judge(row: Row, ours: Boot, stock: Boot) -> dict[str, list[str]]:
    """Returns what is not as it is meant, by look."""
    wrong = {"": [*ours.errors(), *(f"Debian's kernel: {line}" for line in stock.errors())]}
    confined = bool(row.classes) and not row.written
    others = stock.looks()
    for name, look in ours.looks().items():
        found = judge_more(look)
        confined |= row.written and name == "write"
        # While none of the CPUs is online, or where there was none in time, all are outside.
        if name == "hotplug: off" and look["gone"] == sorted(parse_cpus(row.cpus)):
            pass
        elif confined:
            found += judge_confined(row, look)
            # Where nobody is outside, nobody has been kept from it. isolcpus= does it too.
            visible = name in others and "isolcpus=" not in row.append
            if visible and name in ("boot", "write") and not others[name]["check"].get("outside"):
                found.append("nothing outside with Debian's kernel either")
        elif name in others:
            found += judge_same(look, others[name])
        if name in others:
            # What ails Debian's kernel too is not ours.
            known = {re.sub(r"\d+", "N", line) for line in judge_more(others[name])}
            found = [line for line in found if re.sub(r"\d+", "N", line) not in known]
        wrong[name] = found
    for name in others.keys() - ours.looks().keys():
        wrong[name] = ["not looked at"]
    return wrong


# --- the table -------------------------------------------------------------------
def cell(look: Json | None, cpus: str) -> list[str]:
    """Returns the cells of one look: threads, workqueues, PID 1, interrupts outside."""
    if look is None or "outside" not in look["check"]:
        return ["-"] * 4
    check = look["check"]
    stray = stray_interrupts(look, cpus)
    ran = watched(look)
    return [
        f"{check['outside']} of {check['total'] - check['exempt']}{ran and f', ran {ran} times'}",
        setting(look, "unbound workqueues").get("cpus", "-"),
        setting(look, "PID 1").get("cpus", "-"),
        str(len(stray)),
    ]


def watched(look: Json | None) -> str:
    """Returns how often a thread that can be confined ran outside while it was watched."""
    if look is None or not isinstance(look.get("watch"), dict):
        return ""
    return str(look["watch"]["intrusions"]["count"])


def table(rows: Sequence[tuple[Row, Boot, Boot]]) -> list[str]:
    """Returns the lines of the Markdown table."""
    lines = []
    for row, ours, stock in rows:
        wrong = judge(row, ours, stock)
        lines += [
            f"### {row.name}: `{row.append or 'no option'}`",
            "",
            f"Looked at: what may run outside CPUs {row.cpus}. "
            f"{ours.first().get('kernel', '?')} beside {stock.first().get('kernel', '?')}.",
            "",
            "| after | threads outside: Debian's | ours | unbound workqueues: Debian's | ours "
            "| PID 1: Debian's | ours | interrupts outside: Debian's | ours | as meant |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        others = stock.looks()
        for name, look in ours.looks().items():
            pairs = zip(cell(others.get(name), row.cpus), cell(look, row.cpus), strict=True)
            cells = [value for pair in pairs for value in pair]
            verdict = "yes" if not wrong.get(name) else "NO"
            lines.append(f"| {name} | {' | '.join(cells)} | {verdict} |")
        lines.append("")
        for name, causes in wrong.items():
            lines += [f"- {name or 'the boots'}: {cause}" for cause in causes]
        lines.append("")
    return lines


def run_row(image: Path, row: Row, releases: Sequence[str], steps: str) -> tuple[Row, Boot, Boot]:
    """Boots both kernels with the command line of the row."""

    def one(which: str, release: str) -> Boot:
        name = f"{row.name.replace(' ', '-')}-{which}"
        return boot(
            image, name, steps or row.steps, append=row.append, cpus=row.cpus, release=release
        )  # fmt: skip

    with ThreadPoolExecutor(max_workers=2) as pool:
        ours, stock = pool.map(one, ("ours", "debian"), releases)
    return row, ours, stock


def do_rows(options: argparse.Namespace) -> int:
    """The rows, and the table of them."""
    known = {row.name: row for row in ROWS}
    for name in options.rows:
        if name not in known:
            raise vm.BadMachine(f"no row {name!r}; there are: {', '.join(known)}")
    done = []
    failed = 0
    for name in options.rows or known:
        row = known[name]
        _, ours, stock = run_row(options.image, row, (options.ours, options.debian), options.steps)
        done.append((row, ours, stock))
        wrong = judge(row, ours, stock)
        causes = [f"{look or 'boot'}: {cause}" for look, found in wrong.items() for cause in found]
        print(
            f"{'FAIL' if causes else 'ok'} {row.name} ({ours.seconds:.0f} s, {stock.seconds:.0f} s)"
        )
        for cause in causes:
            print(f"    {cause}")
        sys.stdout.flush()
        failed += bool(causes)
        for boot_ in (ours, stock):
            for record in boot_.records:
                if "page" in record:
                    boot_.log.with_suffix(".html").write_text(record["page"])
        options.table.write_text("\n".join(table(done)))
    return 1 if failed else 0


def do_step(options: argparse.Namespace) -> int:
    """Steps that are kept in the image; prints what the guest says of them."""
    direct: list[str] = []
    if options.kernel:
        append = f"root=/dev/vda2 ro {APPEND} @WORDS@"
        direct = ["-kernel", options.kernel, "-initrd", options.initrd, "-append", append]
    result = boot(
        options.image,
        options.name,
        options.steps,
        append=options.append,
        cpus=options.cpus,
        release=options.release,
        files=options.payload,
        snapshot=options.snapshot,
        direct=direct,
    )
    for record in result.records:
        if "look" in record:
            check = record["check"]
            keys = ("state", "failed", "said", "bad", "verify", "log")
            said = {key: record[key] for key in keys if key in record}
            counts = {
                key: check.get(key) for key in ("status", "outside", "total", "exempt", "cpus")
            }
            record = {"look": record["look"], **counts, **said}
        print(json.dumps(record))
    for line in result.errors():
        print(f"field: {line}", file=sys.stderr)
    failed = [
        record for record in result.records if record.get("status") not in (None, 0, "pass", "fail")
    ]
    return 1 if result.errors() or failed else 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    step = commands.add_parser("step", help="take steps in a boot")
    step.add_argument("image", type=Path)
    step.add_argument("steps")
    step.add_argument("--name", default="step", help="of the log")
    step.add_argument("--kernel", help="not by GRUB, but this one, with --initrd")
    step.add_argument("--initrd", default="")
    step.add_argument("--append", default="")
    step.add_argument("--cpus", default="0")
    step.add_argument("--release", default="", help="which kernel of the menu; else the first")
    step.add_argument("--payload", type=Path, nargs="*", default=[], help="packages")
    step.add_argument("--snapshot", action="store_true", help="keep nothing")
    step.set_defaults(function=do_step)
    rows = commands.add_parser("rows", help="the rows of the table")
    rows.add_argument("image", type=Path)
    rows.add_argument("rows", nargs="*")
    rows.add_argument("--ours", required=True, help="our kernel's release")
    rows.add_argument("--debian", required=True, help="Debian's")
    rows.add_argument("--steps", default="", help="other steps than the rows have")
    rows.add_argument("--table", type=Path, default=OUT / "table.md")
    rows.set_defaults(function=do_rows)
    options = parser.parse_args(argv)
    vm.raise_on_term()
    try:
        return int(options.function(options))
    except vm.BootError as error:
        print(f"field: {error}", file=sys.stderr)
        return error.status


if __name__ == "__main__":
    sys.exit(main())
