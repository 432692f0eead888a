#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The copyright file of the package: the template, with a paragraph for each crate.

copyright.py TEMPLATE: "cargo metadata --filter-platform" on standard input, the file on
standard output. Fails when a crate has no license that the template has the text of.
"""

import json
import re
import sys
from pathlib import Path

# By their names in Cargo.toml and in Debian, the best first.
LICENSES = {"MIT": "Expat", "Zlib": "Zlib", "BSL-1.0": "BSL-1.0"}
NOTICES = ("LICENSE*", "LICENCE*", "COPYRIGHT*", "license*")


def linked(metadata: dict) -> list[dict]:
    """Return the crates that are linked into the program: not what only runs while it is built."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found = {}
    left = [metadata["resolve"]["root"]]
    while left:
        crate = left.pop()
        kinds = {kind for target in packages[crate]["targets"] for kind in target["kind"]}
        if crate in found or "proc-macro" in kinds:
            continue
        found[crate] = packages[crate]
        left += (
            dep["pkg"]
            for dep in nodes[crate]["deps"]
            if any(kind["kind"] is None for kind in dep["dep_kinds"])
        )
    # What has no source is of this repository.
    crates = (package for package in found.values() if package["source"])
    return sorted(crates, key=lambda package: (package["name"], package["version"]))


def license_of(package: dict) -> str:
    """Return Debian's name of the license under which the crate is taken."""
    # Each side of an "or" is one that can be had alone, unless it has an "and" in it.
    offered = re.split(r"\s+OR\s+|\s*/\s*", package["license"] or "")
    for name, debian in LICENSES.items():
        if name in offered:
            return debian
    sys.exit(f"{package['name']}: no license that is known here in '{package['license']}'")


def holders(package: dict) -> list[str]:
    """Return who has the copyright: as the crate's files say, or else its authors."""
    directory = Path(package["manifest_path"]).parent
    lines = []
    for file in sorted({file for pattern in NOTICES for file in directory.glob(pattern)}):
        if "apache" in file.name.lower() or not file.is_file():
            continue
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            said = re.match(r"\W*copyright:?\s+((?:\(c\)|©)?\s*\S.*)", line, re.IGNORECASE)
            if said and re.search(r"\d{4}|\(c\)|©|developers|contributors", line, re.IGNORECASE):
                text = re.sub(r"^(\(c\)|©)\s*", "", said[1].strip(), flags=re.IGNORECASE)
                text = re.sub(r"[.,]?\s*(All rights reserved\.?)?$", "", text)
                # A year alone is nobody.
                lines += [text] if re.search("[A-Za-z]", text) else []
    lines = lines or package["authors"] or [f"the developers of {package['repository']}"]
    return list(dict.fromkeys(lines))


def paragraph(package: dict) -> str:
    """Return what the file says of a crate."""
    return "\n".join(
        [
            f"Files: crates/{package['name']}-{package['version']}/*",
            "Copyright: " + "\n ".join(holders(package)),
            f"License: {license_of(package)}",
        ]
    )


def main() -> None:
    """Write the file."""
    crates = linked(json.load(sys.stdin))
    template = Path(sys.argv[1]).read_text(encoding="utf-8")
    sys.stdout.write(template.replace("@CRATES@", "\n\n".join(map(paragraph, crates))))


if __name__ == "__main__":
    main()
