# SPDX-License-Identifier: GPL-2.0
"""Bad input, and good input that looks bad, with what must come of it.

VALUES are values of the boot option. What must come of each stands here. WRITES are writes
to the file kthread_cpus. Of these it follows from what C's bitmap_parselist() makes of the
list, and from the CPUs that the guest has.
"""

from __future__ import annotations

import errno
import re
import stat
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import initramfs
from facts import FLAGS, CpuSet, parse_cpus
from vm import BUILD, ROOT

CPUS = 8
PAGE = 4096

ALL = ",".join(FLAGS)


@dataclass(frozen=True)
class Value:
    """A value of the boot option and its outcome on a machine with CPUs 0 to 7.

    The outcome is "ok FLAGS CPUS" or what is wrong and the offset of it.
    """

    text: bytes
    outcome: str


def _ok(text: str | bytes, cpus: str, flags: str = ALL) -> Value:
    numbers = ",".join(str(cpu) for cpu in sorted(parse_cpus(cpus)))
    return Value(_bytes(text), f"ok {flags} {numbers or 'none'}")


def _wrong(kind: str, before: str | bytes, rest: str | bytes) -> Value:
    """A value that is right up to the end of `before`."""
    before, rest = _bytes(before), _bytes(rest)
    return Value(before + rest, f"{kind} {len(before)}")


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


# Not a byte of these can be in a list, nor in a flag.
FOREIGN: list[bytes] = [
    *(bytes([byte]) for byte in b"!\"#$%&'()*+./:;<=>?@[\\]^_`{|}~-"),
    *(bytes([byte]) for byte in (0x01, 0x07, 0x08, 0x1B, 0x7F, 0x80, 0x9F, 0xA1, 0xC0, 0xFF)),
    *(text.encode() for text in ("é", "Ω", "漢字", "🐧", "\u200b", "\ufeff", "\u2212", "٣")),
    "\uff11".encode(),
]
# In the first 64 KiB of a text an error must be found at any place.
FAR = [10, 100, 1000, 4095, 4096, 65535]

VALUES: list[Value] = [
    # What is right, however odd it looks.
    _ok("", ""),
    _ok("0", "0"),
    _ok("N", "7"),
    _ok("all", "0-7"),
    _ok("aLL", "0-7"),
    _ok("ALL:1/2", "0,2,4,6"),
    _ok("N-N", "7"),
    _ok("0-N:N/N", "0-7"),
    _ok("00000000000000000000000000000001", "1"),
    _ok("0-00000000000000000000000000000001", "0-1"),
    _ok("0-7:0/1", ""),
    _ok("0-7:0/4294967295", ""),
    _ok("0-7:4294967295/4294967295", "0-7"),
    _ok("1-3:1/4294967295", "1"),
    _ok("0-1,0-1,0-1", "0-1"),
    _ok("0-3:1/2N", "0,2,7"),
    _ok("all:1/1N", "0-7"),
    _ok(b"0\0x", "0"),
    _ok(b"\0", ""),
    _ok("1\n5", "1"),
    _ok("1 \n5", "1,5"),
    _ok(b"\xa00\xa01", "0-1"),
    _ok(" \t\v\f\r,0", "0"),
    _ok("," * 65536, ""),
    _ok("," * 65535 + "3", "3"),
    _ok(" " * 65535 + "3", "3"),
    _ok("0" * 65535 + "5", "5"),
    _ok("0," * 32768, "0"),
    _ok("0-7:1/2," * 8192, "0,2,4,6"),
    # Flags.
    *(_ok(flag, "", flag) for flag in FLAGS),
    *(_ok(f"{flag},", "", flag) for flag in FLAGS),
    *(_ok(f"{flag},{flag},0", "0", flag) for flag in FLAGS),
    *(_ok(f"{flag},all", "0-7", flag) for flag in FLAGS),
    _ok("wq,kthread,2", "2", "kthread,wq"),
    _ok("timer,irq,init,umh,wq,kthread,N", "7"),
    _ok("wq," * 20000 + "1", "1", "wq"),
    _ok("wq,,,0", "0", "wq"),
    _ok("wq, 0", "0", "wq"),
    *(_wrong("unknown-flag", "", f"{flag}s,0") for flag in FLAGS),
    *(_wrong("unknown-flag", "", f"{flag.upper()},0") for flag in FLAGS),
    *(_wrong("unknown-flag", "", f"{flag[:-1]},0") for flag in FLAGS),
    *(_wrong("unknown-flag", f"{flag},", "x,0") for flag in FLAGS),
    *(_wrong("no-comma", flag, rest) for flag in FLAGS for rest in (" 0", "0", "=0", "-wq", "\n")),
    *(_wrong("malformed", f"{flag},0,", flag) for flag in FLAGS),
    *(_wrong("malformed", f"{flag}, ", f"{flag},0") for flag in FLAGS),
    _wrong("unknown-flag", "", "none"),
    _wrong("unknown-flag", "", "n"),
    _wrong("unknown-flag", "", "alll"),
    _wrong("unknown-flag", "", "al"),
    _wrong("unknown-flag", "", "NN"),
    _wrong("unknown-flag", "", "x" * 65536),
    _wrong("unknown-flag", "wq," * 20000, "wqq,1"),
    # Numbers at each limit.
    _ok("7", "7"),
    _wrong("too-large", "", "8"),
    _wrong("too-large", "", "010"),
    _wrong("too-large", "0-", "8"),
    _wrong("too-large", "", "8-9"),
    _wrong("too-large", "", "63"),
    _wrong("too-large", "", "64"),
    _wrong("too-large", "", "8191"),
    _wrong("too-large", "", "65536"),
    _wrong("too-large", "", "2147483647"),
    _wrong("too-large", "", "2147483648"),
    _wrong("too-large", "", "4294967294"),
    _wrong("too-large", "", "4294967295"),
    _wrong("too-large", "0-", "4294967295"),
    _wrong("too-large", "", "9-9"),
    _wrong("too-large", "N-", "8"),
    _wrong("overflow", "", "4294967296"),
    _wrong("overflow", "0-", "4294967296"),
    _wrong("overflow", "0-7:", "4294967296/1"),
    _wrong("overflow", "0-7:1/", "4294967296"),
    _wrong("overflow", "", "4294967300"),
    _wrong("overflow", "", "9223372036854775807"),
    _wrong("overflow", "", "9223372036854775808"),
    _wrong("overflow", "", "18446744073709551615"),
    _wrong("overflow", "", "18446744073709551616"),
    _wrong("overflow", "", "18446744073709551617"),
    _wrong("overflow", "", "340282366920938463463374607431768211456"),
    _wrong("overflow", "", "9" * 65536),
    _wrong("overflow", "", "0" * 60000 + "4294967296"),
    # What is missing, and what stands in the wrong order.
    _wrong("malformed", "0-", ""),
    _wrong("malformed", "0-", ","),
    _wrong("malformed", "0-", " 1"),
    _wrong("malformed", "0", ":1/2"),
    _wrong("malformed", "0-", "-1"),
    _wrong("malformed", "", "-1"),
    _wrong("malformed", "3-", "1"),
    _wrong("malformed", "N-", "0"),
    _wrong("malformed", "0-7", "/2"),
    _wrong("malformed", "0-7:", ""),
    _wrong("malformed", "0-7:", "/2"),
    _wrong("malformed", "0-7:1", ""),
    _wrong("malformed", "0-7:1", ",2"),
    _wrong("malformed", "0-7:1/", ""),
    _wrong("malformed", "0-7:1/", "0"),
    _wrong("malformed", "0-7:0/", "0"),
    _wrong("malformed", "0-7:3/", "2"),
    _wrong("malformed", "0-7:1/", "-1"),
    _wrong("malformed", "0-7:1/2", ":1/2"),
    _wrong("malformed", "0-7:1/2", "/2"),
    _wrong("malformed", "0-7:1/2", "-3"),
    _wrong("malformed", "all", "-3"),
    _wrong("malformed", "0,", "al"),
    _wrong("malformed", "0,", "a"),
    _wrong("malformed", "0,all", "l"),
    _wrong("malformed", "0", "x1"),
    _wrong("malformed", "0", "N"),
    _wrong("malformed", "0-1", "N"),
    _wrong("malformed", "1", ".5"),
    _wrong("malformed", "1", "e3"),
    _wrong("malformed", "0,", "n"),
    # What has no place anywhere: at the beginning, behind a region, and behind a flag.
    *(_wrong("malformed", "", text) for text in FOREIGN),
    *(_wrong("malformed", "0,1,", text) for text in FOREIGN),
    *(_wrong("malformed", "wq,", text) for text in FOREIGN),
    *(_wrong("malformed", "0," * (far // 2) + "," * (far % 2), "x") for far in FAR),
    *(_wrong("too-large", "," * far, "8") for far in FAR),
]


# Writes to the file ----------------------------------------------------------------

# The machine for them has CPUs 0 to 7, of which 6 and 7 are isolated, and 5 is offline.
ISOLATED = "6-7"
OFFLINE = "5"
USABLE = parse_cpus("0-4")

GOOD = [b"0-1", b"1-3\n", b"2,4", b"0-7:1/2", b"4-7", b"N,0", b"all", b"1-7:1/3\n"]
BINARY = [
    bytes(range(256)),
    bytes(range(1, 256)),
    bytes(range(255, -1, -1)),
    b"\0" * 100,
    b"\xff" * 100,
    b"0-1\0garbage",
    b"\0" + b"0-1",
    b"\x7fELF\x02\x01\x01\0\0\0",
    b"\x1f\x8b\x08\0\0\0",
    b"0\x01",
    b"\xa01\xa0",
    b"\xa0",
    b"1\xa1",
    "\uff10-\uff11".encode(),
    "0\u20131".encode(),
    "0\u00a01".encode(),
    "\ufeff0-1".encode(),
    "0-1".encode("utf-16"),
    b"\xed\xa0\x80",
    b"\xc3\x28",
]
# A write of a page or more is refused whatever it says; one byte less is not.
LONG = [
    b"," * (PAGE - 1),
    b"," * PAGE,
    b"," * (PAGE + 1),
    b"0" * (PAGE - 1),
    b"0" * PAGE,
    b"0," * (PAGE // 2 - 1) + b"3",
    b"0," * (PAGE // 2 - 1) + b"3\n",
    b"0," * (PAGE // 2) + b"3",
    b"," * (PAGE - 2) + b"x",
    b"," * (PAGE - 1) + b"x",
    b"9" * (PAGE - 1),
    b"9" * PAGE,
    b"0-7:1/2," * (PAGE // 8 - 1),
    b"0-7:1/2," * (PAGE // 8),
    b"2" + b" " * (PAGE - 2),
    b"2" + b"\0" * (PAGE - 2),
    b"2" + b"\0" * (PAGE - 1),
    b"2\n" + b"x" * 1000,
    b"0" * 65536,
    b"," * 65536,
    b"1," * 32768,
    bytes(range(256)) * 256,
]
# The file knows no flags, and a list may lack what the machine has.
OTHERS = [
    *(f"{flag},0-1".encode() for flag in FLAGS),
    *(flag.encode() for flag in FLAGS),
    b"kthread,wq,umh,init,irq,0",
    b"wq,wq,wq,0",
    b"kthread_cpus=0-1",
    b"5",
    b"6-7",
    b"5-7",
    b"N",
    b"7",
    b"6,5\n",
    b"5-7:1/2",
    b"0-7:0/1",
    b"\n",
    b" ",
    b",,,,",
    b"\n\n0",
    b"\n1",
    b"0\n1",
    b"0 \n1",
    b"isolated",
    b"none",
    b"default",
    b"*",
]


def _writes() -> list[bytes]:
    """Every write in its order: between those that are to fail some that are not."""
    lists = [value.text for value in VALUES if value.text and not value.text[:1].isalpha()]
    rest = [*BINARY, *LONG, *OTHERS, *(text for text in lists if len(text) < PAGE)]
    writes: list[bytes] = []
    for number, text in enumerate(dict.fromkeys(rest)):
        if number % 4 == 0:
            writes.append(GOOD[number // 4 % len(GOOD)])
        writes.append(text)
    return writes


WRITES = _writes()


@dataclass(frozen=True)
class Result:
    """What a write has come to: the name of the error or "ok", and K after it."""

    status: str
    cpus: CpuSet


# What a list comes to --------------------------------------------------------------


def outcomes(lines: Iterable[str]) -> list[str]:
    """Returns what rust/oracle says to `lines`; see src/bin/outcomes.rs there."""
    manifest = ROOT / "rust/oracle/Cargo.toml"
    command = ["cargo", "run", "--quiet", "--locked", "--release", "--bin", "outcomes"]
    command += ["--target-dir", str(BUILD / "cargo"), "--manifest-path", str(manifest)]
    done = subprocess.run(
        command, input="".join(f"{line}\n" for line in lines), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout.splitlines()


def expected(writes: Sequence[bytes]) -> list[Result]:
    """Returns what must come of `writes`, one after the other, on the machine for them."""
    parsed = outcomes(f"list {CPUS} {text.hex()}" for text in writes)
    k = frozenset(range(CPUS))
    results = []
    for text, outcome in zip(writes, parsed, strict=True):
        word, _, rest = outcome.partition(" ")
        if len(text) >= PAGE:
            status = "E2BIG"
        elif word == "errno":
            status = errno.errorcode[int(rest)]
        else:
            cpus = parse_cpus("" if rest == "none" else rest)
            status = "ok" if cpus & USABLE else "EINVAL"
            if status == "ok":
                k = cpus
        results.append(Result(status, k))
    return results


# The guest -------------------------------------------------------------------------

# It is booted with rdinit=/input/init. One write is one system call: dd reads a file whole.
# And cat reads one: the shell's own read does so byte by byte, of which the file has none.
INIT = r"""#!/bin/sh
/bin/busybox mount -t proc proc /proc
export PATH=/bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mount -t tmpfs tmpfs /run
. /kc/actions.sh

read -r release </proc/sys/kernel/osrelease
{
	fact begin version=1 kernel="$release"
	fact init allowed=0
} >>"$facts"
do_offline @OFFLINE@
for input in /input/[0-9]*; do
	status=ok
	if ! dd if=$input of=$cpus/kthread_cpus bs=131072 count=1 2>/run/error; then
		read -r status </run/error
		status=${status##*: }
	fi
	now=$(cat $cpus/kthread_cpus)
	fact output of=input line="${input##*/}:${status// /%20}:$now"
done >>"$facts"
print_facts
stty -echo </dev/console 2>/dev/null
reboot -f
sleep 60
"""
APPEND = f"rdinit=/input/init isolcpus={ISOLATED}"

# What the guest's C library calls them.
NAMES = {
    "Invalid argument": "EINVAL",
    "Numerical result out of range": "ERANGE",
    "Result not representable": "ERANGE",
    "Value too large for defined data type": "EOVERFLOW",
    "Argument list too long": "E2BIG",
}


def guest(base: Path, writes: Sequence[bytes], output: Path) -> None:
    """Makes the guest `base` one that does `writes`."""
    init = INIT.replace("@OFFLINE@", OFFLINE).encode()
    entries = [
        initramfs.Entry("input", stat.S_IFDIR | 0o755),
        initramfs.Entry("input/init", stat.S_IFREG | 0o755, init),
    ]
    for number, text in enumerate(writes):
        entries.append(initramfs.Entry(f"input/{number:04}", stat.S_IFREG | 0o644, text))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(initramfs.appended(base.read_bytes(), entries))


def results(lines: Iterable[str]) -> list[Result]:
    """Reads what the guest has told."""
    found = []
    for number, line in enumerate(lines):
        match = re.fullmatch(r"(\d{4}):([^:]*):([\d,-]*)", line)
        if not match or int(match[1]) != number:
            raise ValueError(f"not the result of write {number}: {line!r}")
        found.append(Result(NAMES.get(match[2], match[2]), parse_cpus(match[3])))
    return found
