# SPDX-License-Identifier: GPL-2.0
"""The QEMU driver without QEMU: arguments, and a stand-in that hangs, dies or ends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import vm
from scenarios import HALF, Boot
from vm import BadMachine, Guest, Machine


def values(args: list[str], name: str) -> list[str]:
    """Returns what follows every `name`."""
    return [args[i + 1] for i, arg in enumerate(args) if arg == name]


def test_one_socket_and_memory_per_node() -> None:
    """Nodes, sockets and memories match, so that the guest has nothing to warn of."""
    args = Machine(smp=8, nodes=2, memory=512).arguments()
    assert values(args, "-smp") == ["8,maxcpus=8,sockets=2,cores=4,threads=1"]
    assert values(args, "-numa") == [
        "node,nodeid=0,cpus=0-3,memdev=mem0",
        "node,nodeid=1,cpus=4-7,memdev=mem1",
    ]
    assert values(args, "-object") == [
        "memory-backend-ram,id=mem0,size=256M",
        "memory-backend-ram,id=mem1,size=256M",
    ]


def test_absent_cpus_have_sockets() -> None:
    """CPUs that are not present belong to nodes all the same."""
    args = Machine(smp=4, nodes=2, maxcpus=8).arguments()
    assert values(args, "-smp") == ["4,maxcpus=8,sockets=2,cores=4,threads=1"]
    assert values(args, "-numa")[1] == "node,nodeid=1,cpus=4-7,memdev=mem1"


def test_memory_adds_up() -> None:
    """The nodes' memory is all of the memory."""
    args = Machine(smp=3, nodes=3, memory=512).arguments()
    sizes = [int(text.split("size=")[1].rstrip("M")) for text in values(args, "-object")]
    assert sum(sizes) == 512


def test_threads_of_a_core() -> None:
    """The CPUs of a core are some of those of its socket."""
    args = Machine(smp=4, sockets=4, interleaved=True).arguments()
    assert values(args, "-numa")[1] == "node,nodeid=1,cpus=1,cpus=3,memdev=mem1"
    args = Machine(nodes=1, threads=2).arguments()
    assert values(args, "-smp") == ["8,maxcpus=8,sockets=1,cores=4,threads=2"]
    with pytest.raises(BadMachine, match="divide evenly"):
        Machine(smp=6, threads=2)


@pytest.mark.parametrize("arch", vm.ARCHES)
def test_devices(arch: str) -> None:
    """A card and a disk are there only if they are asked for; the disk has no file."""
    none = Machine(arch=arch).arguments()
    assert not {"-netdev", "-blockdev", "-device"} & set(none)
    args = Machine(arch=arch, network=True, nvme=True).arguments()
    assert values(args, "-device") == [
        "virtio-net-pci,netdev=net0",
        "nvme,drive=disk0,serial=kcguest",
    ]
    assert values(args, "-blockdev") == [
        "driver=null-co,node-name=disk0,size=67108864,read-zeroes=on"
    ]


def test_other_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of another architecture has a QEMU of its own, and no KVM."""
    machine = Machine(arch="arm64")
    args = vm.qemu_command(machine, Guest(tmp_path, tmp_path), "tcg")
    assert args[0] == "qemu-system-aarch64"
    assert values(args, "-machine") == ["virt"]
    assert values(args, "-append") == ["console=ttyAMA0 panic=-1"]
    # The interrupt controller of that board has no place for more.
    more = Machine(smp=16, arch="arm64").arguments()
    assert values(more, "-machine") == ["virt,gic-version=3"]
    assert not machine.native
    assert Machine().native
    for name in ("a", "b"):
        (tmp_path / name).touch()
    monkeypatch.setattr(vm, "find_qemu", lambda _arch: "qemu")
    assert vm.choose_accel(Guest(tmp_path / "a", tmp_path / "b"), "kvm", "arm64") == "tcg"


@pytest.mark.parametrize("arch", vm.ARCHES)
def test_scripts_say_the_same(arch: str) -> None:
    """scripts/lib.sh has the same machines, images and programs."""
    words = '"${arch_image[$arch]}" "${arch_qemu[$arch]}" "$(arch_of on)" "$KC_BUILD"'
    command = f". {vm.ROOT}/scripts/lib.sh && printf '%s\\n' {words}"
    env = os.environ | {"ARCH": vm.ARCHES[arch].qemu, "BASE": ""}
    env.pop("KC_BASE", None)
    told = subprocess.run(
        ["bash", "-c", command], env=env, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    build = vm.ROOT / "build" / ("" if arch == "x86_64" else arch)
    assert told == [
        vm.ARCHES[arch].image,
        f"qemu-system-{vm.ARCHES[arch].qemu}",
        arch,
        str(build),
    ]


def test_interrupts_of_a_socket() -> None:
    """On riscv64, devices have only the interrupt controller of the first socket."""
    assert list(Machine(smp=8, nodes=2, arch="riscv64").irq_cpus()) == [0, 1, 2, 3]
    assert list(Machine(smp=8, sockets=8, arch="riscv64").irq_cpus()) == [0]
    assert list(Machine(smp=8, nodes=2, arch="x86_64").irq_cpus()) == list(range(8))


def test_what_a_machine_lacks() -> None:
    """A boot says what it needs in the words in which a machine says what it lacks."""
    words = "acpi=off nolapic nosmp nosmt kcguest.do=steps:write=/sys/power/state:mem"
    everything = Boot("on", replace(HALF, nvme=True), words).needs
    for arch in vm.ARCHES.values():
        assert dict(arch.lacks).keys() <= everything
    assert everything == dict(vm.ARCHES["riscv64"].lacks).keys()
    assert Boot("on", Machine(hotplug=True), "").needs == {"absent CPUs"}
    assert not Boot("on", Machine(), "kthread_cpus=0-1").needs
    assert not vm.ARCHES["x86_64"].lacks


@pytest.mark.parametrize(
    ("smp", "nodes", "maxcpus", "message"),
    [
        (7, 2, 0, "divide evenly"),
        (1, 2, 0, "a CPU for every node"),
        (0, 1, 0, "at least 1"),
        (8, 0, 0, "at least 1"),
        (8, 2, 4, "less than"),
    ],
)
def test_bad_machines(smp: int, nodes: int, maxcpus: int, message: str) -> None:
    """A machine that cannot be is refused in one line."""
    with pytest.raises(BadMachine, match=message) as caught:
        Machine(smp, nodes, maxcpus)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("word", ["", "x", "-1", "1.5", "0", "99999"])
def test_bad_numbers(word: str) -> None:
    """What is not a number is refused with the name of the variable."""
    with pytest.raises(BadMachine, match="SMP="):
        vm.machine_from_words(word, "1")


def test_command(tmp_path: Path) -> None:
    """The command is a list in which the guest's words stay one argument."""
    guest = Guest(tmp_path / "a kernel", tmp_path / "initrd", 'kthread_cpus="0, 1"')
    args = vm.qemu_command(Machine(), guest, "tcg")
    words = 'console=ttyS0 panic=-1 no_timer_check lpj=16000000 kthread_cpus="0, 1"'
    assert values(args, "-append") == [words]
    assert values(args, "-kernel") == [str(tmp_path / "a kernel")]
    assert values(args, "-accel") == ["tcg,thread=single"]
    assert "-no-reboot" in args
    assert values(vm.qemu_command(Machine(), guest, "kvm"), "-cpu") == ["host"]


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Guest:
    """Puts a script in QEMU's place and returns something to boot."""
    qemu = tmp_path / "qemu"
    qemu.write_text(f"#!/bin/sh\n{script}\n")
    qemu.chmod(0o755)
    monkeypatch.setattr(vm, "find_qemu", lambda _arch: str(qemu))
    monkeypatch.setattr(vm, "BUILD", tmp_path)
    monkeypatch.setattr(vm, "LOGS", tmp_path)
    for name in ("kernel", "initrd"):
        (tmp_path / name).write_text(name)
    return Guest(tmp_path / "kernel", tmp_path / "initrd")


def test_boot_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that prints its end marker has booted, and its console is kept."""
    guest = stand_in(tmp_path, monkeypatch, "echo hello; echo @kc end count=1")
    console = vm.boot(guest, Machine(), tmp_path / "log", accel="tcg", timeout=10)
    assert console.text == "hello\n@kc end count=1\n"
    assert (tmp_path / "log").read_text() == console.text


def test_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that hangs is ended, and its last line is in the message."""
    guest = stand_in(tmp_path, monkeypatch, "echo last words; exec sleep 60")
    with pytest.raises(vm.GuestHung, match="last words") as caught:
        vm.boot(guest, Machine(), tmp_path / "log", accel="tcg", timeout=0.5)
    assert caught.value.status == 124


def test_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that ends early has died, whatever QEMU's exit status says."""
    guest = stand_in(tmp_path, monkeypatch, "echo Kernel panic; exit 0")
    with pytest.raises(vm.GuestDied, match="Kernel panic"):
        vm.boot(guest, Machine(), tmp_path / "log", accel="tcg", timeout=10)


def test_qemu_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What QEMU says when it does not start is passed on."""
    guest = stand_in(tmp_path, monkeypatch, "echo no such machine >&2; exit 1")
    with pytest.raises(vm.NoQemu, match="no such machine"):
        vm.boot(guest, Machine(), tmp_path / "log", accel="tcg", timeout=10)


def test_end_without_leaving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that has told everything but does not leave is ended, and has booted."""
    monkeypatch.setattr(vm, "EXIT_TIMEOUT", 0.3)
    guest = stand_in(
        tmp_path, monkeypatch, "printf '@kc end '; sleep 0.2; echo count=1; exec sleep infinity"
    )
    assert vm.boot(guest, Machine(), tmp_path / "log", accel="tcg", timeout=3600)


def test_missing_files(tmp_path: Path) -> None:
    """A kernel that is not there is one line, not a failed QEMU."""
    with pytest.raises(vm.NoQemu, match="there is no kernel"):
        vm.boot(Guest(tmp_path / "a", tmp_path / "b"), Machine(), tmp_path / "log")


def test_missing_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a missing QEMU."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(vm.NoQemu, match="qemu-system-x86"):
        vm.find_qemu()


def test_hotplug_machine(tmp_path: Path) -> None:
    """A machine whose CPUs are added takes commands, and has absent CPUs that Linux counts."""
    machine = Machine(smp=4, maxcpus=8, hotplug=True)
    args = vm.qemu_command(
        machine, Guest(tmp_path / "k", tmp_path / "i"), "tcg", monitor=tmp_path / "s"
    )
    assert values(args, "-qmp") == [f"unix:{tmp_path / 's'},server=on,wait=off"]
    assert values(args, "-machine") == ["q35,vmport=on"]
    assert values(args, "-cpu") == ["Nehalem,-hypervisor"]
    assert values(args, "-smbios")[0].startswith("type=1,serial=VMware-")
    assert "-qmp" not in vm.qemu_command(Machine(), Guest(tmp_path, tmp_path), "tcg")


def test_debugger_has_a_socket(tmp_path: Path) -> None:
    """QEMU listens for gdb where it is told, and nowhere otherwise."""
    guest = Guest(tmp_path / "k", tmp_path / "i")
    args = vm.qemu_command(Machine(), guest, "tcg", debugger=tmp_path / "s")
    assert values(args, "-gdb") == [f"unix:{tmp_path / 's'},server=on,wait=off"]
    assert "-gdb" not in vm.qemu_command(Machine(), guest, "tcg")


class Monitor(threading.Thread):
    """Stands in for QEMU's monitor: two places for CPUs are empty, and one is not."""

    def __init__(self, path: Path, refuse: bool = False) -> None:
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.refuse = refuse
        self.added: list[dict[str, object]] = []
        self.start()

    def run(self) -> None:
        """Answers one client."""
        places = [
            {"type": "c", "props": {"socket-id": 1, "core-id": 1}},
            {"type": "c", "props": {"socket-id": 1, "core-id": 0}},
            {"type": "c", "props": {"socket-id": 0, "core-id": 0}, "qom-path": "/machine"},
        ]
        with self.listener.accept()[0].makefile("rwb") as stream:
            stream.write(b'{"QMP": {}}\n')
            stream.flush()
            for line in stream:
                request = json.loads(line)
                answer: dict[str, object] = {"return": {}}
                if request["execute"] == "query-hotpluggable-cpus":
                    answer = {"return": places}
                if request["execute"] == "device_add":
                    self.added.append(request["arguments"])
                    if self.refuse:
                        answer = {"error": {"desc": "no such place"}}
                stream.write(b'{"event": "POWER"}\n' + json.dumps(answer).encode() + b"\n")
                stream.flush()


def test_add_cpus(tmp_path: Path) -> None:
    """The guest's request adds what is absent, in order, even when it comes in pieces."""
    monitor = Monitor(tmp_path / "s")
    seen: list[bytes] = []
    helper = vm.Helper(tmp_path / "s", seen.append)
    for chunk in (b"[1.0] kcguest: ask add", b"-cpus\r", b"\nmore\n"):
        helper.take(chunk)
    assert [(a["socket-id"], a["core-id"]) for a in monitor.added] == [(1, 0), (1, 1)]
    assert {a["driver"] for a in monitor.added} == {"c"}
    assert b"".join(seen).endswith(b"more\n")


def test_qemu_refuses_a_cpu(tmp_path: Path) -> None:
    """What QEMU says is passed on."""
    Monitor(tmp_path / "s", refuse=True)
    with pytest.raises(vm.BootError, match="no such place"):
        vm.Helper(tmp_path / "s").take(b"kcguest: ask add-cpus\n")


def test_unknown_request(tmp_path: Path) -> None:
    """A request that nobody knows ends the boot."""
    with pytest.raises(vm.BootError, match="make-tea"):
        vm.Helper(tmp_path / "s").take(b"kcguest: ask make-tea\n")


class TestProbe:
    """KVM is used only where it has booted a guest."""

    def probe(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> vm.KvmProbe:
        """Returns a probe whose QEMU is a script."""
        guest = stand_in(tmp_path, monkeypatch, f"echo >>{tmp_path}/calls; {script}")
        device = tmp_path / "kvm"
        device.write_text("")
        monkeypatch.setattr(vm, "KVM", device)
        monkeypatch.setattr(vm, "PROBE_TIMEOUT", 0.5)
        return vm.KvmProbe(guest, str(tmp_path / "qemu"), tmp_path / "cache")

    def calls(self, tmp_path: Path) -> int:
        """Returns how often QEMU was started."""
        return len((tmp_path / "calls").read_text().splitlines())

    def test_works(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A guest that boots decides it for good."""
        probe = self.probe(tmp_path, monkeypatch, "echo @kc end count=1")
        assert probe.works()
        (tmp_path / "kernel").write_text("another")
        assert probe.works()
        assert self.calls(tmp_path) == 1

    def test_hangs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A guest that hangs may itself be at fault, until it has booted elsewhere."""
        probe = self.probe(tmp_path, monkeypatch, "exec sleep 60")
        assert not probe.works()
        assert not probe.works()
        assert self.calls(tmp_path) == 1
        (tmp_path / "kernel").write_text("another")
        assert not probe.works()
        assert self.calls(tmp_path) == 2
        probe.confirm_refusal()
        (tmp_path / "kernel").write_text("a third")
        assert not probe.works()
        assert self.calls(tmp_path) == 2

    def test_no_device(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the device there is nothing to try."""
        probe = self.probe(tmp_path, monkeypatch, "echo @kc end count=1")
        (tmp_path / "kvm").unlink()
        assert not probe.works()
        assert not (tmp_path / "calls").exists()
