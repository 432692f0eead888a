# SPDX-License-Identifier: GPL-2.0
"""Makes the root file system of the guest of `make broad`.

It is that of every guest, with more actions, and with programs of the host and the
libraries that these need. The kernel unpacks archives one after the other, so a second
one follows the first; a file of it replaces the one before.
"""

from __future__ import annotations

import argparse
import re
import stat
import subprocess
import sys
from pathlib import Path

from initramfs import Entry, appended

HERE = Path(__file__).resolve().parent
ACTIONS = (HERE.parent / "guest" / "actions.sh", HERE / "actions.sh")


def libraries(program: Path, search: str) -> dict[str, Path]:
    """Returns the libraries of a program, and the one that loads them, by their place."""
    text = subprocess.run(
        ["ldd", str(program)],
        env={"LD_LIBRARY_PATH": search, "LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found: dict[str, Path] = {}
    for line in text.splitlines():
        if match := re.match(r"\s+(\S+) => (/\S+)", line):
            found[f"lib/{match[1]}"] = Path(match[2])
        elif match := re.match(r"\s+(/\S+)", line):
            found[match[1].lstrip("/")] = Path(match[1])
        elif "not found" in line:
            raise SystemExit(f"{program}: {line.strip()}")
    return found


def entries(programs: list[Path], search: str, static: Path) -> list[Entry]:
    """Returns what is added to the guest."""
    files = {"kc/live": static, "kc/account.awk": HERE / "account.awk"}
    files |= {f"kc/{program.name}": program for program in programs}
    for program in programs:
        files.update(libraries(program, search))
    places = sorted({str(Path(name).parent) for name in files} - {"kc"})
    text = b"".join(path.read_bytes() for path in ACTIONS)
    return [
        *(Entry(place, stat.S_IFDIR | 0o755) for place in places),
        Entry("kc/actions.sh", stat.S_IFREG | 0o755, text),
        *(Entry(name, stat.S_IFREG | 0o755, path.read_bytes()) for name, path in files.items()),
    ]


def main(argv: list[str] | None = None) -> int:
    """Writes the archive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True, help="the archive of every guest")
    parser.add_argument("--live", type=Path, required=True, help="live.c, linked statically")
    parser.add_argument("--libraries", default="", help="more directories of libraries")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("programs", type=Path, nargs="+")
    args = parser.parse_args(argv)
    added = entries(args.programs, args.libraries, args.live)
    draft = args.output.with_name(args.output.name + ".new")
    draft.write_bytes(appended(args.base.read_bytes(), added))
    draft.replace(args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
