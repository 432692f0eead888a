# SPDX-License-Identifier: GPL-2.0
"""The archive: its format, and that equal inputs give equal bytes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

import initramfs
from initramfs import Entry


def members(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Reads a newc archive: name to mode and content."""
    found = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        size, name_size = fields[6], fields[11]
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        begin = (at + 110 + name_size + 3) & ~3
        if name == "TRAILER!!!":
            return found
        found[name] = (fields[1], data[begin : begin + size])
        at = (begin + size + 3) & ~3


@pytest.fixture
def busybox(tmp_path: Path) -> Path:
    """Something that lists applets as busybox does."""
    path = tmp_path / "busybox"
    path.write_text("#!/bin/sh\nprintf 'sh\\nawk\\nbusybox\\n'\n")
    path.chmod(0o755)
    return path


def test_archive() -> None:
    """What goes in comes out, at any length."""
    entries = [
        Entry("d", stat.S_IFDIR | 0o755),
        *(Entry(f"f{'x' * n}", stat.S_IFREG | 0o644, b"y" * n) for n in range(6)),
    ]
    assert members(initramfs.archive(entries)) == {e.name: (e.mode, e.data) for e in entries}


@pytest.mark.parametrize("length", range(1, 5))
def test_appended(length: int) -> None:
    """An archive that follows another begins where the kernel looks for it, whatever the length."""
    base, entry = b"z" * length, Entry("f", stat.S_IFREG | 0o644, b"data")
    both = initramfs.appended(base, [entry])
    assert both[:length] == base
    assert both[length:4] == bytes(4 - length)
    assert members(both[4:]) == {"f": (entry.mode, entry.data)}


def test_guest(busybox: Path) -> None:
    """The guest has its scripts, its applets and a console."""
    found = members(initramfs.archive(initramfs.guest_entries(busybox)))
    assert found["init"][0] == stat.S_IFREG | 0o755
    assert found["bin/awk"] == (stat.S_IFLNK | 0o777, b"busybox")
    assert found["kc/umh-core"][1] == b"umh"
    assert stat.S_ISCHR(found["dev/console"][0])
    assert {"kc/actions.sh", "kc/facts.awk", "kc/umh"} <= found.keys()


def test_foreign_busybox(busybox: Path, tmp_path: Path) -> None:
    """A busybox that does not run here is packed, and another one says what it can do."""
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"not for this machine")
    found = members(initramfs.archive(initramfs.guest_entries(foreign, applets_of=busybox)))
    assert found["bin/busybox"][1] == b"not for this machine"
    assert found["bin/awk"] == (stat.S_IFLNK | 0o777, b"busybox")


def test_programs(busybox: Path, tmp_path: Path) -> None:
    """Sources of programs stay out; programs, and selftests with their shell, go in."""
    program, bash, selftest = (tmp_path / name for name in ("steps", "bash-static", "a-test.sh"))
    for path in (program, bash, selftest):
        path.write_text(path.name)
    extra = initramfs.selftest_entries(bash, [selftest])
    entries = initramfs.guest_entries(busybox, programs=[program], extra=extra)
    found = members(initramfs.archive(entries))
    assert not [name for name in found if name.endswith(".c")]
    assert found["kc/steps"] == (stat.S_IFREG | 0o755, b"steps")
    assert found["bin/bash"][1] == b"bash-static"
    assert found["selftests/a-test.sh"] == (stat.S_IFREG | 0o755, b"a-test.sh")


def test_selftests_need_bash(busybox: Path, tmp_path: Path) -> None:
    """Selftests without their shell are refused."""
    words = ["--busybox", str(busybox), "--output", str(tmp_path / "a.cpio"), "--selftest", "x"]
    with pytest.raises(SystemExit) as caught:
        initramfs.main(words)
    assert caught.value.code == 2


def test_reproducible_and_lazy(busybox: Path, tmp_path: Path) -> None:
    """Equal inputs give equal bytes; nothing is written when nothing has changed."""
    outputs = [tmp_path / name for name in ("a.cpio", "b.cpio")]
    for output in outputs:
        assert initramfs.main(["--busybox", str(busybox), "--output", str(output)]) == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert "init" in members(outputs[0].read_bytes())

    outputs[0].write_bytes(b"old")
    initramfs.main(["--busybox", str(busybox), "--output", str(outputs[0])])
    assert outputs[0].read_bytes() == b"old"
    busybox.write_text(busybox.read_text() + "# changed\n")
    initramfs.main(["--busybox", str(busybox), "--output", str(outputs[0])])
    assert outputs[0].read_bytes() != b"old"
