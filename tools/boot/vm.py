# SPDX-License-Identifier: GPL-2.0
"""Boots a kernel and an initramfs under QEMU and keeps what it prints.

As a library: `boot(Guest(...), Machine(...))`. As a command:

    python3 tools/boot/vm.py --kernel bzImage --initrd F --append "..." --log FILE

Exit status: 0 the guest reached its end marker, 2 the request makes no sense,
3 there is no QEMU, 4 the guest ended without the marker, 124 it hung.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
# Our scripts say which machine and which kernel they are called for (scripts/lib.sh).
ARCH = os.environ.get("KC_ARCH") or "x86_64"
BUILD = Path(os.environ.get("KC_BUILD") or ROOT / "build")
# Before 7.0, nohz_full= keeps kernel threads off its CPUs as well, sysfs lists only those as
# isolated that isolcpus= names, and cpusets, interrupts and rescuers place their threads otherwise.
BEFORE_7_0 = int(os.environ.get("KC_BASE", "").split(".")[0] or 7) < 7
LOGS = BUILD / "logs"
# The unpatched kernel, which scripts/differential and scripts/bench make in a tree of their own.
UNPATCHED = "unpatched"
BENCH = BUILD / "bench"

END_MARKER = b"@kc end count="
KVM = Path("/dev/kvm")

# No guest is as slow as this on its worst day; a hang must not take all day either.
BOOT_TIMEOUT = 180.0
# Hardware takes a second for it, and no longer wait may hold up a machine without.
PROBE_TIMEOUT = 20.0
ACCELS = ("auto", "kvm", "tcg", "mttcg")

# From the end marker to the end of QEMU; after that it is killed, as nobody needs it.
EXIT_TIMEOUT = 10.0

# QEMU's monitor answers at once, unless the host is very busy.
QMP_TIMEOUT = 60.0

NVME_SIZE = 64 << 20

# The guests that are running.
_running: set[subprocess.Popen[bytes]] = set()


class BootError(Exception):
    """A guest did not boot to its end; `status` is the exit status for it."""

    status = 4

    def __init__(self, message: str, console: Console | None = None) -> None:
        super().__init__(message)
        self.console = console


class BadMachine(BootError):
    """The machine asked for cannot exist."""

    status = 2


class NoQemu(BootError):
    """QEMU, or something that it is to boot, is not there."""

    status = 3


class GuestHung(BootError):
    """The guest was still running at the time-out."""

    status = 124


class GuestDied(BootError):
    """QEMU ended before the guest printed its end marker."""

    status = 4


@dataclass(frozen=True)
class Arch:
    """What depends on the architecture.

    `package` has QEMU for it, which calls it `qemu`, as its kernel does; `board` and `cpu`
    are what QEMU emulates, `many` the board for more than eight CPUs. `image` is where the
    kernel's make leaves what is booted, and `append` what every guest gets: messages go to
    the serial port, and a panic ends QEMU at once. `lacks` says what its guests cannot
    have, and why.
    """

    package: str
    qemu: str
    board: str
    cpu: str
    image: str
    append: tuple[str, ...]
    many: str = ""
    lacks: tuple[tuple[str, str], ...] = ()
    # Interrupts that each CPU has for itself have numbers like the others.
    numbers_all: bool = True
    # Whether a socket has an interrupt controller of its own, which serves no other: all devices
    # are at the first.
    irqs_by_socket: bool = False
    # Whether the serial port interrupts when it has sent something.
    serial_interrupts: bool = True


# The emulated timer may be late on a busy host, which Linux takes for a broken one. It also has
# each CPU measure its speed until two times agree, half a second in all; with the speed of a
# CPU of 4 GHz, at 250 Hz, no delay is too short. The others have a timer that tells its speed.
X86_APPEND = ("console=ttyS0", "panic=-1", "no_timer_check", "lpj=16000000")
VIRT_LACKS = (
    ("absent CPUs", "QEMU's board virt has all its CPUs from the start"),
    ("ACPI", "the kernel has the device tree"),
    ("local APIC", "its interrupt controllers are others"),
    ("suspend to RAM", "QEMU's firmware for the board virt has none"),
)

ARCHES = {
    "x86_64": Arch(
        "qemu-system-x86",
        "x86_64",
        "q35",
        "Nehalem",
        "arch/x86/boot/bzImage",
        X86_APPEND,
        numbers_all=False,
    ),
    "arm64": Arch(
        "qemu-system-arm",
        "aarch64",
        "virt",
        "cortex-a57",
        "arch/arm64/boot/Image",
        ("console=ttyAMA0", "panic=-1"),
        many="virt,gic-version=3",
        lacks=(
            *VIRT_LACKS,
            *((("CPUs that nosmp takes", "they stay possible on 6.18"),) if BEFORE_7_0 else ()),
        ),
        # The emulated PL011 never has to wait.
        serial_interrupts=False,
    ),
    "riscv64": Arch(
        "qemu-system-misc (Debian 12) or qemu-system-riscv",
        "riscv64",
        "virt",
        "rv64",
        "arch/riscv/boot/Image",
        ("console=hvc0", "panic=-1"),
        lacks=(
            *VIRT_LACKS,
            # As seen on the unpatched kernel, whose NVMe driver waits for them in vain.
            ("interrupts of PCI", "with two sockets, QEMU's board virt does not deliver them"),
            ("more than two sockets", "QEMU's board virt does not start with these"),
            ("CPUs that nosmp takes", "they stay possible on RISC-V"),
            ("threads that nosmt takes", "its kernel has no nosmt"),
        ),
        # The console is the firmware's.
        serial_interrupts=False,
        irqs_by_socket=True,
    ),
}


@dataclass(frozen=True)
class Machine:
    """The virtual machine.

    `maxcpus` counts the places for absent CPUs too (0: as smp). There is a socket for
    every node unless `sockets` says otherwise, and a core has `threads` CPUs. With
    `hotplug` the guest can have absent CPUs added: it prints a line with "kcguest: ask
    add-cpus". `memory_nodes` more nodes have memory and no CPU, and with `bare` the last
    of the others has CPUs and no memory. CPUs are `interleaved` if each is on another node
    than the one before. With `network` there is a card, and a gateway
    10.0.2.2 that answers, but no way beyond it. With `nvme` there is a disk, which takes
    what is written and gives zeros. `arch` is one of ARCHES.
    """

    smp: int = 8
    nodes: int = 2
    maxcpus: int = 0
    memory: int = 512
    sockets: int = 0
    hotplug: bool = False
    arch: str = ARCH
    threads: int = 1
    memory_nodes: int = 0
    bare: bool = False
    interleaved: bool = False
    network: bool = False
    nvme: bool = False

    def __post_init__(self) -> None:
        total = self.maxcpus or self.smp
        if self.smp < 1 or self.nodes < 1:
            raise BadMachine(f"SMP={self.smp} NODES={self.nodes}: both must be at least 1")
        if total < self.smp:
            raise BadMachine(f"maxcpus={total} is less than SMP={self.smp}")
        if self.nodes > total:
            raise BadMachine(f"SMP={total} NODES={self.nodes}: there must be a CPU for every node")
        if total % self.nodes:
            raise BadMachine(
                f"SMP={total} NODES={self.nodes}: the CPUs must divide evenly among the nodes"
            )
        if total % ((self.sockets or self.nodes) * self.threads):
            raise BadMachine(
                f"SMP={total}: the CPUs must divide evenly among the sockets and cores"
            )
        if self.bare and self.nodes == 1:
            raise BadMachine(f"NODES={self.nodes}: the first node needs memory")

    @property
    def native(self) -> bool:
        """Whether the host could run it without emulation."""
        return ARCHES[self.arch].qemu == platform.machine()

    def node_cpus(self, node: int) -> range:
        """Returns the possible CPUs of a node, none for one that has only memory."""
        total = self.maxcpus or self.smp
        if node >= self.nodes:
            return range(0)
        if self.interleaved:
            return range(node, total, self.nodes)
        cores = total // self.nodes
        return range(node * cores, (node + 1) * cores)

    def irq_cpus(self) -> range:
        """Returns the CPUs to which devices can send interrupts."""
        total = self.maxcpus or self.smp
        if ARCHES[self.arch].irqs_by_socket:
            return range(total // (self.sockets or self.nodes))
        return range(total)

    def arguments(self) -> list[str]:
        """Returns QEMU's arguments; every node has a memory of its own."""
        total = self.maxcpus or self.smp
        arch = ARCHES[self.arch]
        board = (arch.many if total > 8 else "") or arch.board
        args = ["-machine", board, "-cpu", arch.cpu, "-m", f"{self.memory}M"]
        if self.hotplug:
            # Linux counts the absent CPUs of QEMU's ACPI tables only in a guest of a
            # hypervisor that it knows. An emulated one can pass for VMware's: by the
            # serial number, and by the I/O port that QEMU has for VMware's tools.
            args = ["-machine", f"{arch.board},vmport=on", "-cpu", f"{arch.cpu},-hypervisor"]
            args += ["-m", f"{self.memory}M", "-smbios", "type=1,serial=VMware-guest"]
        sockets = self.sockets or self.nodes
        each = total // sockets // self.threads
        places = f"sockets={sockets},cores={each},threads={self.threads}"
        args += ["-smp", f"{self.smp},maxcpus={total},{places}"]
        nodes = range(self.nodes + self.memory_nodes)
        having = [node for node in nodes if not (self.bare and node == self.nodes - 1)]
        share = self.memory // len(having)
        for node in nodes:
            words = [f"node,nodeid={node}"]
            if node < self.nodes:
                cpus = self.node_cpus(node)
                each_alone = [f"cpus={cpu}" for cpu in cpus]
                words += each_alone if self.interleaved else [f"cpus={cpus[0]}-{cpus[-1]}"]
            if node in having:
                size = share if node else self.memory - share * (len(having) - 1)
                args += ["-object", f"memory-backend-ram,id=mem{node},size={size}M"]
                words.append(f"memdev=mem{node}")
            args += ["-numa", ",".join(words)]
        if self.network:
            args += ["-netdev", "user,id=net0,restrict=on", "-device", "virtio-net-pci,netdev=net0"]
        if self.nvme:
            # It has no file, and each of its queues has an interrupt.
            disk = f"driver=null-co,node-name=disk0,size={NVME_SIZE},read-zeroes=on"
            args += ["-blockdev", disk, "-device", "nvme,drive=disk0,serial=kcguest"]
        return args


def machine_from_words(smp: str, nodes: str) -> Machine:
    """Returns the machine that a person has asked for."""
    for name, word in (("SMP", smp), ("NODES", nodes)):
        if not re.fullmatch(r"[1-9][0-9]{0,3}", word):
            raise BadMachine(f"{name}={word}: not a number of {name.lower()}")
    return Machine(int(smp), int(nodes))


@dataclass(frozen=True)
class Guest:
    """What is booted: `append` comes after the words that every guest gets."""

    kernel: Path
    initrd: Path
    append: str = ""

    def command_line(self, arch: str) -> str:
        """Returns the kernel command line."""
        return " ".join([*ARCHES[arch].append, *([self.append] if self.append else [])])


@dataclass
class Console:
    """What a guest has printed, and how the boot went."""

    text: str
    log: Path
    accel: str
    seconds: float
    command: list[str] = field(repr=False, default_factory=list)

    def tail(self, count: int = 20) -> str:
        """Returns the last lines, indented, for a message to a person."""
        lines = self.text.replace("\r", "").splitlines()[-count:]
        return "\n".join(f"    {line}" for line in lines) or "    (it printed nothing)"


def qemu_command(
    machine: Machine,
    guest: Guest,
    accel: str,
    qemu: str = "",
    monitor: Path | None = None,
    debugger: Path | None = None,
) -> list[str]:
    """Returns QEMU's argument list; `accel` is kvm, tcg or mttcg.

    Plain tcg runs all CPUs of the guest in one thread: as fast on a small host, and
    leaves the other cores to other guests. mttcg has a thread for every CPU. `monitor` is
    where QEMU listens for commands, `debugger` where it listens for gdb.
    """
    accels = {"kvm": "kvm", "tcg": "tcg,thread=single", "mttcg": "tcg,thread=multi"}
    program = qemu or f"qemu-system-{ARCHES[machine.arch].qemu}"
    args = [program, *machine.arguments(), "-accel", accels[accel]]
    if accel == "kvm":
        args[args.index("-cpu") + 1] = "host"
    if monitor is not None:
        args += ["-qmp", f"unix:{monitor},server=on,wait=off"]
    if debugger is not None:
        args += ["-gdb", f"unix:{debugger},server=on,wait=off"]
    args += ["-kernel", str(guest.kernel), "-initrd", str(guest.initrd)]
    args += ["-append", guest.command_line(machine.arch)]
    args += ["-nodefaults", "-no-user-config", "-display", "none", "-net", "none"]
    args += ["-serial", "stdio", "-monitor", "none", "-no-reboot"]
    return args


def find_qemu(arch: str = ARCH) -> str:
    """Returns the path of QEMU."""
    program = f"qemu-system-{ARCHES[arch].qemu}"
    path = shutil.which(program)
    if path is None:
        raise NoQemu(f"{program} is not installed: install the package {ARCHES[arch].package}")
    return path


def boot(
    guest: Guest,
    machine: Machine,
    log: Path,
    *,
    accel: str = "auto",
    timeout: float = BOOT_TIMEOUT,
    on_output: Callable[[bytes], None] | None = None,
    debugger: Path | None = None,
) -> Console:
    """Boots `guest` and returns its console, which is kept in the file `log` too.

    Raises a BootError if the guest does not print its end marker.
    """
    accel = choose_accel(guest, accel, machine.arch)
    qemu = find_qemu(machine.arch)
    if machine.hotplug:
        with tempfile.TemporaryDirectory() as scratch:
            # A path of a socket must be short.
            monitor = Path(scratch) / "qmp"
            helper = Helper(monitor, on_output)
            command = qemu_command(machine, guest, accel, qemu, monitor, debugger)
            console = _run(command, accel, timeout, log, helper.take)
    else:
        command = qemu_command(machine, guest, accel, qemu, debugger=debugger)
        console = _run(command, accel, timeout, log, on_output)
    if accel != "kvm" and machine.native:
        KvmProbe(guest, qemu).confirm_refusal()
    return console


def choose_accel(guest: Guest, accel: str, arch: str = ARCH) -> str:
    """Returns kvm or tcg for auto, and looks whether there is something to boot.

    For another architecture than the host's kvm stands for tcg, too.
    """
    for what, path in (("kernel", guest.kernel), ("initramfs", guest.initrd)):
        if not path.is_file():
            raise NoQemu(f"there is no {what} at {path}")
    qemu = find_qemu(arch)
    if accel in ("auto", "kvm") and ARCHES[arch].qemu != platform.machine():
        return "tcg"
    if accel == "auto":
        return "kvm" if KvmProbe(guest, qemu).works() else "tcg"
    return accel


def _run(
    command: list[str],
    accel: str,
    timeout: float,
    log: Path,
    on_output: Callable[[bytes], None] | None,
) -> Console:
    """Runs QEMU until it ends or the time is up."""
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    output = bytearray()
    hung = False
    with log.open("wb") as keep, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
        _running.add(process)
        try:
            hung = _read(process, output, keep.write, on_output, start + timeout)
        finally:
            # Nothing of ours outlives us, whatever ended the reading.
            _running.discard(process)
            process.kill()
            status = process.wait()
            process.stdout.close()
        errors.seek(0)
        complaint = errors.read().decode(errors="replace").strip()
    console = Console(
        text=output.decode("utf-8", errors="replace"),
        log=log,
        accel=accel,
        seconds=time.monotonic() - start,
        command=command,
    )
    if END_MARKER in output:
        return console
    if hung:
        raise GuestHung(
            f"the guest was still running after {timeout:.0f} s ({accel}), and was ended; "
            f"its last lines ({log}):\n{console.tail()}",
            console,
        )
    if not output and complaint:
        raise NoQemu(f"QEMU did not start: {complaint.splitlines()[-1]}", console)
    raise GuestDied(
        f"the guest ended without its end marker (QEMU's status {status}"
        f"{', ' + complaint if complaint else ''}); its last lines ({log}):\n{console.tail()}",
        console,
    )


def _read(
    process: subprocess.Popen[bytes],
    output: bytearray,
    keep: Callable[[bytes], object],
    on_output: Callable[[bytes], None] | None,
    deadline: float,
) -> bool:
    """Reads QEMU's output to its end; returns whether the deadline came first."""
    ended = False
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(left):
                break
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                return False
            # The marker may come in two pieces.
            seen_before = max(0, len(output) - len(END_MARKER))
            output += chunk
            keep(chunk)
            if on_output:
                on_output(chunk)
            if not ended and END_MARKER in output[seen_before:]:
                ended = True
                deadline = min(deadline, time.monotonic() + EXIT_TIMEOUT)
    return True


class KvmProbe:
    """Whether KVM boots a guest here, which the mere /dev/kvm does not tell.

    The answer is remembered until the host boots again or QEMU changes. A "no" may be
    the fault of the kernel that was booted: it stands for that kernel alone until
    that kernel has booted without KVM.
    """

    def __init__(self, guest: Guest, qemu: str, cache: Path | None = None) -> None:
        self.guest = guest
        self.qemu = qemu
        self.cache = cache or BUILD / "kvm-probe.json"

    def _host(self) -> str:
        stat = Path(self.qemu).stat()
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot_id} {self.qemu} {stat.st_size} {stat.st_mtime_ns}"

    def _image(self) -> str:
        return hashlib.sha256(self.guest.kernel.read_bytes()).hexdigest()

    def _remembered(self) -> dict[str, object]:
        try:
            known = json.loads(self.cache.read_text())
        except (OSError, ValueError):
            return {}
        if not isinstance(known, dict) or known.get("host") != self._host():
            return {}
        return known

    def _remember(self, works: bool, confirmed: bool) -> None:
        self.cache.parent.mkdir(parents=True, exist_ok=True)
        known = {
            "host": self._host(),
            "works": works,
            "confirmed": confirmed,
            "image": self._image(),
        }
        draft = self.cache.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        draft.write_text(json.dumps(known) + "\n")
        draft.replace(self.cache)

    def works(self) -> bool:
        """Returns whether KVM can be used; boots a guest if that is not known."""
        if not os.access(KVM, os.R_OK | os.W_OK):
            return False
        known = self._remembered()
        if known.get("works") or known.get("confirmed") or known.get("image") == self._image():
            return bool(known.get("works"))
        print(
            f"kvm: trying whether it boots a guest (at most {PROBE_TIMEOUT:.0f} s) ...",
            file=sys.stderr,
            flush=True,
        )
        guest = Guest(self.guest.kernel, self.guest.initrd, "kcguest.do=wait:0")
        command = qemu_command(Machine(smp=2, nodes=1, memory=256), guest, "kvm", self.qemu)
        works = True
        try:
            _run(command, "kvm", PROBE_TIMEOUT, LOGS / "kvm-probe.log", None)
        except BootError:
            works = False
        print(f"kvm: {'works' if works else 'does not, using TCG'}", file=sys.stderr, flush=True)
        self._remember(works, confirmed=works)
        return works

    def confirm_refusal(self) -> None:
        """Called when the guest has booted without KVM: so KVM it was."""
        known = self._remembered()
        if known and not known.get("works") and not known.get("confirmed"):
            self._remember(works=False, confirmed=True)


class Helper:
    """Does what the guest asks for: "add-cpus" adds all absent CPUs, the lowest first."""

    REQUEST = re.compile(rb"kcguest: ask ([a-z-]+)\r?\n")

    def __init__(self, monitor: Path, on_output: Callable[[bytes], None] | None = None) -> None:
        self.monitor = monitor
        self.on_output = on_output
        self.pending = b""

    def take(self, chunk: bytes) -> None:
        """Looks for requests in what the guest prints."""
        if self.on_output:
            self.on_output(chunk)
        self.pending += chunk
        while match := self.REQUEST.search(self.pending):
            self.pending = self.pending[match.end() :]
            if match[1] != b"add-cpus":
                raise BadMachine(f"the guest asks for {match[1].decode()!r}")
            self.add_cpus()
        # A request may come in two pieces.
        self.pending = self.pending[-256:]

    def add_cpus(self) -> None:
        """Adds every absent CPU."""
        with Qmp(self.monitor) as qmp:
            places = qmp.execute("query-hotpluggable-cpus")
            absent = [place for place in places if "qom-path" not in place]
            for place in sorted(absent, key=_place):
                name = "cpu-" + "-".join(map(str, _place(place)))
                qmp.execute("device_add", driver=place["type"], id=name, **place["props"])


def _place(place: dict[str, Any]) -> tuple[int, ...]:
    """Returns the place of a CPU in the machine, as a key of its order."""
    return tuple(place["props"].get(f"{unit}-id", 0) for unit in ("socket", "core", "thread"))


class Qmp:
    """A connection to QEMU's monitor, for one command after the other."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(QMP_TIMEOUT)
        self.socket.connect(str(path))
        self.stream = self.socket.makefile("rwb")

    def __enter__(self) -> Qmp:
        self._receive("QMP")
        self.execute("qmp_capabilities")
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.socket.close()

    def execute(self, command: str, **arguments: object) -> Any:  # noqa: ANN401
        """Returns the result of a command."""
        request = {"execute": command, "arguments": arguments}
        self.stream.write(json.dumps(request).encode() + b"\n")
        self.stream.flush()
        return self._receive("return")

    def _receive(self, key: str) -> Any:  # noqa: ANN401
        """Returns what QEMU answers; events in between are nothing to us."""
        while line := self.stream.readline():
            answer = json.loads(line)
            if "error" in answer:
                raise BootError(f"QEMU refuses a command: {answer['error']['desc']}")
            if key in answer:
                return answer[key]
        raise BootError("QEMU has closed its monitor")


def stop_all() -> None:
    """Ends the guests that this program is running, in whatever thread."""
    for process in list(_running):
        process.kill()


def raise_on_term() -> None:
    """Makes SIGTERM and SIGINT end this program and its guests."""

    def stop(number: int, _frame: object) -> NoReturn:
        stop_all()
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernel", type=Path, required=True)
    parser.add_argument("--initrd", type=Path, default=BUILD / "initramfs.cpio")
    parser.add_argument("--append", default="", help="more words for the kernel command line")
    parser.add_argument("--smp", type=int, default=8, help="CPUs present (8)")
    parser.add_argument("--maxcpus", type=int, default=0, help="CPUs possible (as --smp)")
    parser.add_argument("--nodes", type=int, default=2, help="NUMA nodes (2)")
    parser.add_argument("--memory", type=int, default=512, help="MiB (512)")
    parser.add_argument("--accel", choices=ACCELS, default="auto")
    parser.add_argument("--timeout", type=float, default=BOOT_TIMEOUT, help="seconds (180)")
    parser.add_argument("--log", type=Path, default=LOGS / "vm.log", help="for the console")
    parser.add_argument("--quiet", action="store_true", help="do not show the console")
    parser.add_argument("--dry-run", action="store_true", help="only print QEMU's command line")
    args = parser.parse_args(argv)

    raise_on_term()
    show = None if args.quiet else sys.stdout.buffer.write
    try:
        machine = Machine(args.smp, args.nodes, args.maxcpus, args.memory)
        guest = Guest(args.kernel, args.initrd, args.append)
        if args.dry_run:
            accel = "tcg" if args.accel == "auto" else args.accel
            print(shlex.join(qemu_command(machine, guest, accel)))
            return 0
        console = boot(
            guest,
            machine,
            args.log,
            accel=args.accel,
            timeout=args.timeout,
            on_output=show,
        )
    except BootError as error:
        sys.stdout.flush()
        print(f"vm.py: {error}", file=sys.stderr)
        return error.status
    sys.stdout.flush()
    print(
        f"vm.py: booted in {console.seconds:.1f} s ({console.accel}), console in {console.log}",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
