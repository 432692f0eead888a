# SPDX-License-Identifier: GPL-2.0
"""Makes the guest's initramfs with the kcload module of one kernel in it.

The kernel unpacks archives that stand one after the other, so the guest's own
initramfs is taken as it is, and a small archive with kc/kcload.ko is put behind it.
"""

from __future__ import annotations

import argparse
import stat
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "boot"))

from initramfs import Entry, appended

# Where the guest finds its files.
DIRECTORY = "kc"


def entries(files: list[Path]) -> list[Entry]:
    """Returns `files` as members of the guest's directory."""
    return [
        Entry(DIRECTORY, stat.S_IFDIR | 0o755),
        *(
            Entry(f"{DIRECTORY}/{path.name}", stat.S_IFREG | 0o755, path.read_bytes())
            for path in sorted(files, key=lambda path: path.name)
        ),
    ]


def main(argv: list[str] | None = None) -> int:
    """Writes the archive, whole or not at all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--initrd", type=Path, required=True, help="the guest's initramfs")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("files", type=Path, nargs="+", help="what is added, kcload.ko for one")
    args = parser.parse_args(argv)

    for path in (args.initrd, *args.files):
        if not path.is_file():
            parser.error(f"there is no {path}")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    draft = args.output.with_name(args.output.name + ".new")
    draft.write_bytes(appended(args.initrd.read_bytes(), entries(args.files)))
    draft.replace(args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
