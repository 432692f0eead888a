# SPDX-License-Identifier: GPL-2.0
"""Makes the initramfs of the test guest from a static busybox and guest/.

The archive ("newc" cpio) is written here rather than by cpio(1): so it needs neither
root for the device nodes nor a particular cpio, and equal inputs give equal bytes. It
is not compressed, because an emulated machine takes longer to inflate it than to load it.
"""

from __future__ import annotations

import argparse
import hashlib
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GUEST = Path(__file__).resolve().parent / "guest"
DIRECTORIES = ("bin", "dev", "kc", "proc", "run", "sys", "tmp")


@dataclass(frozen=True)
class Entry:
    """One member of the archive; `mode` holds the file type too."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def archive(entries: list[Entry]) -> bytes:
    """Returns `entries` as a cpio archive: owner root, no times."""
    out = bytearray()
    trailer = Entry("TRAILER!!!", 0)
    for inode, entry in enumerate([*entries, trailer], start=1):
        name = entry.name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(entry.mode) else 1
        number = 0 if entry is trailer else inode
        fields = (number, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0)
        out += b"070701" + b"".join(
            b"%08X" % field for field in (*fields, *entry.device, len(name), 0)
        )
        out += name
        out += bytes(-len(out) % 4)
        out += entry.data
        out += bytes(-len(out) % 4)
    return bytes(out)


def appended(base: bytes, entries: list[Entry]) -> bytes:
    """Returns `base`, compressed or not, with `entries` behind it as an archive of their own.

    The kernel unpacks one archive after the other; a file of a later one replaces the one before.
    """
    # An archive begins at a multiple of four; the kernel skips zeros between them.
    return base + bytes(-len(base) % 4) + archive(entries)


def guest_files(guest: Path) -> list[Path]:
    """Returns what is packed as it is; sources are compiled by scripts/initramfs."""
    return sorted(path for path in guest.iterdir() if path.is_file() and path.suffix != ".c")


def guest_entries(
    busybox: Path,
    guest: Path = GUEST,
    programs: Sequence[Path] = (),
    extra: Sequence[Entry] = (),
    applets_of: Path | None = None,
) -> list[Entry]:
    """Returns what the guest consists of, in a fixed order.

    `applets_of` is a busybox that runs here, if that of the guest does not.
    """
    applets = subprocess.run(
        [str(applets_of or busybox), "--list"], check=True, capture_output=True, text=True
    ).stdout.split()
    scripts = {path.name: path.read_bytes() for path in [*guest_files(guest), *programs]}
    entries = [Entry(name, stat.S_IFDIR | 0o755) for name in DIRECTORIES]
    entries.append(Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)))
    entries.append(Entry("bin/busybox", stat.S_IFREG | 0o755, busybox.read_bytes()))
    entries += [
        Entry(f"bin/{applet}", stat.S_IFLNK | 0o777, b"busybox")
        for applet in sorted(set(applets) - {"busybox"})
    ]
    entries.append(Entry("init", stat.S_IFREG | 0o755, scripts.pop("init")))
    entries += [
        Entry(f"kc/{name}", stat.S_IFREG | 0o755, data) for name, data in sorted(scripts.items())
    ]
    entries += [
        Entry(f"kc/umh-{caller}", stat.S_IFLNK | 0o777, b"umh")
        for caller in ("core", "modprobe", "uevent", "waiting")
    ]
    return [*entries, *extra]


def selftest_entries(bash: Path, programs: Sequence[Path]) -> list[Entry]:
    """Returns what the kernel's own selftests are and what they need."""
    entries = [
        Entry("bin/bash", stat.S_IFREG | 0o755, bash.read_bytes()),
        Entry("selftests", stat.S_IFDIR | 0o755),
    ]
    return entries + [
        Entry(f"selftests/{path.name}", stat.S_IFREG | 0o755, path.read_bytes())
        for path in sorted(programs)
    ]


def key(busybox: Path, guest: Path = GUEST, others: Sequence[Path] = ()) -> str:
    """Returns a digest of everything that the archive is made from."""
    digest = hashlib.sha256()
    for path in (Path(__file__), busybox, *guest_files(guest), *others):
        data = path.read_bytes()
        digest.update(f"{path.name}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def main(argv: list[str] | None = None) -> int:
    """Writes the archive if it is missing or its inputs have changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--busybox", type=Path, required=True, help="statically linked busybox")
    parser.add_argument("--applets-of", type=Path, help="one like it that runs here")
    parser.add_argument("--program", type=Path, action="append", default=[], help="for /kc")
    parser.add_argument("--bash", type=Path, help="statically linked bash, for the selftests")
    parser.add_argument("--selftest", type=Path, action="append", default=[])
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args(argv)
    if args.selftest and not args.bash:
        parser.error("--selftest needs --bash")

    stamp = args.output.with_name(args.output.name + ".key")
    others = [path for path in (args.bash, args.applets_of) if path]
    others += [*args.program, *args.selftest]
    wanted = key(args.busybox, others=others)
    if args.output.exists() and stamp.exists() and stamp.read_text().strip() == wanted:
        return 0
    args.output.parent.mkdir(parents=True, exist_ok=True)
    draft = args.output.with_name(args.output.name + ".new")
    extra = selftest_entries(args.bash, args.selftest) if args.selftest else []
    entries = guest_entries(
        args.busybox, programs=args.program, extra=extra, applets_of=args.applets_of
    )
    draft.write_bytes(archive(entries))
    draft.replace(args.output)
    stamp.write_text(wanted + "\n")
    print(f"initramfs: {args.output}, {args.output.stat().st_size // 1024} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
