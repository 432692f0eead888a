# SPDX-License-Identifier: GPL-2.0
"""Boots what the selected tests need: every boot once, two at a time, ahead of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

sys.dont_write_bytecode = True

import vm  # noqa: E402
from facts import Facts, FactsError, parse  # noqa: E402
from scenarios import Boot, Scenario  # noqa: E402
from sequences import Sequence  # noqa: E402

INITRD = vm.BUILD / "initramfs.cpio"
MODULES = vm.BUILD / "kcload"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options to test other kernels than those under build/."""
    group = parser.getgroup("boot")
    group.addoption("--out", type=Path, default=vm.BUILD / "out", help="the kernels: OUT/CONFIG")
    group.addoption("--initrd", type=Path, default=INITRD)
    group.addoption("--modules", type=Path, default=MODULES, help="guests with the module kcload")
    group.addoption("--accel", choices=vm.ACCELS, default=os.environ.get("ACCEL") or "auto")


@dataclass
class Boots:
    """The boots of a session."""

    out: Path
    initrd: Path
    modules: Path
    accel: str
    pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1))
    )
    made: dict[Boot, Future[Facts]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def image(self, config: str, arch: str = vm.ARCH) -> Path:
        """The kernel of a configuration."""
        out = vm.BENCH if config == vm.UNPATCHED else self.out
        return out / config / vm.ARCHES[arch].image

    def archive(self, boot: Boot) -> Path:
        """The root file system of a guest; that with the module kcload is for one kernel."""
        if boot.guest == "kcload" and boot.config == vm.UNPATCHED:
            return vm.BENCH / "kcload" / f"initramfs-{boot.config}.cpio"
        if boot.guest == "kcload":
            return self.modules / f"initramfs-{boot.config}.cpio"
        initrd = self.initrd
        if boot.machine.arch != vm.ARCH:
            initrd = vm.BUILD / boot.machine.arch / "initramfs.cpio"
        return initrd.with_name(initrd.name.replace("initramfs", boot.guest, 1))

    def request(self, boot: Boot) -> Future[Facts]:
        """Makes a boot soon, unless it is made already."""
        if boot not in self.made:
            self.made[boot] = self.pool.submit(self._boot, boot)
        return self.made[boot]

    def facts(self, boot: Boot) -> Facts:
        """Returns what a boot has told; a boot that fails fails the test, in few words."""
        error = self.request(boot).exception()
        if isinstance(error, vm.BootError | FactsError):
            pytest.fail(f"{boot.name}: {error}", pytrace=False)
        return self.request(boot).result()

    def _boot(self, boot: Boot) -> Facts:
        image = self.image(boot.config, boot.machine.arch)
        if not image.is_file():
            raise vm.NoQemu(f"there is no kernel {image}: make kernel CONFIG={boot.config}")
        guest = vm.Guest(image, self.archive(boot), boot.append)
        log = vm.LOGS / "boot" / f"{boot.name}.log"
        console = vm.boot(guest, boot.machine, log, accel=self.accel, timeout=boot.timeout)
        self.seconds[boot.name] = console.seconds
        try:
            return parse(console.text)
        except FactsError as error:
            raise FactsError(f"{error} (console: {log})") from error


BOOTS = pytest.StashKey[Boots]()


def boots_of(item: pytest.Item) -> list[Boot]:
    """Returns the boots that a test looks at."""
    wanted: list[Boot] = []
    for value in getattr(getattr(item, "callspec", None), "params", {}).values():
        if isinstance(value, Scenario):
            wanted += [value.boot, value.plain]
        elif isinstance(value, Sequence):
            wanted += [value.boot, value.reference]
        elif isinstance(value, Boot):
            wanted.append(value)
    return wanted


def lacking(item: pytest.Item) -> str:
    """Returns why the machine cannot have what a test needs; empty: it can."""
    for boot in boots_of(item):
        for what, why in vm.ARCHES[boot.machine.arch].lacks:
            if what in boot.needs:
                return f"{boot.machine.arch} has no {what}: {why}"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips, by name, what this machine cannot have."""
    for item in items:
        if why := lacking(item):
            item.add_marker(pytest.mark.skip(reason=why))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begins with the boots of the selected tests: the long ones, then in their order."""
    if session.config.option.collectonly:
        return
    config = session.config
    boots = Boots(
        out=config.getoption("out"),
        initrd=config.getoption("initrd"),
        modules=config.getoption("modules"),
        accel=config.getoption("accel"),
    )
    config.stash[BOOTS] = boots
    wanted = [boot for item in session.items if not lacking(item) for boot in boots_of(item)]
    if not wanted:
        return
    # A guest that is older than its sources would test something else.
    if boots.initrd == INITRD:
        for guest in sorted({boot.guest for boot in wanted} | {"initramfs"}):
            _make(guest, sorted({boot.config for boot in wanted if boot.guest == guest}))
    # Whether KVM works is found out once, not by two boots at a time.
    first = next((boots.image(boot.config) for boot in wanted if boot.machine.native), None)
    if boots.accel == "auto" and first and first.is_file() and boots.initrd.is_file():
        try:
            boots.accel = vm.choose_accel(vm.Guest(first, boots.initrd), "auto")
        except vm.BootError as error:
            pytest.exit(str(error), returncode=error.status)
    # A long one at the end would leave a CPU with nothing to do.
    for boot in sorted(wanted, key=lambda boot: boot.timeout, reverse=True):
        boots.request(boot)


def _make(guest: str, configs: list[str]) -> None:
    """Makes the root file system of a guest if it is older than its sources."""
    patched = [config for config in configs if config != vm.UNPATCHED]
    commands = [["scripts/initramfs", guest]]
    if guest == "kcload":
        commands = [["scripts/kcload", *patched]] if patched else []
        if patched != configs:
            commands.append(["scripts/differential", "build"])
    for command in commands:
        made = subprocess.run(
            [str(vm.ROOT / command[0]), *command[1:]],
            capture_output=True,
            text=True,
            check=False,
            # Kernels are not built here.
            env=os.environ | {"BUILD": "no"},
        )
        if made.returncode:
            pytest.exit(f"{' '.join(command)} failed: {made.stderr.strip()}", returncode=3)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which boots have taken long: a run takes as long as they do."""
    boots = terminalreporter.config.stash.get(BOOTS, None)
    if boots is None or not boots.seconds:
        return
    longest = sorted(boots.seconds.items(), key=lambda entry: entry[1], reverse=True)
    total = sum(boots.seconds.values())
    terminalreporter.write_line(f"{len(longest)} boots, {total:.0f} s; the longest:")
    for name, seconds in longest[:15]:
        terminalreporter.write_line(f"  {seconds:.0f} s {name}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leaves no guest behind, whatever ended the session."""
    boots = session.config.stash.get(BOOTS, None)
    if boots is not None:
        boots.pool.shutdown(wait=False, cancel_futures=True)
        vm.stop_all()
        boots.pool.shutdown(wait=True)


@pytest.fixture(scope="session")
def boots(pytestconfig: pytest.Config) -> Iterator[Boots]:
    """The boots of the session."""
    return pytestconfig.stash[BOOTS]


@pytest.fixture(scope="session")
def guests() -> None:
    """The guests with the module kcload, of the unpatched kernel and of ours."""
    _make("kcload", sorted({vm.UNPATCHED, "on"}))
