# SPDX-License-Identifier: GPL-2.0
"""Measures `list` against ps with 10,000 threads, and what `watch` takes on a busy machine.

    python3 tests/bench.py path/to/kthread-cpus

Prints what it measured, and judges nothing: a busy machine gives other figures.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

THREADS = 10_000
ROUNDS = 7
PS = ["ps", "-eLo", "pid,psr,comm,stat"]
SWITCHES = 10_000
SECONDS = 10


def measure(command: list[str]) -> tuple[float, float, int]:
    """Runs `command`; returns its elapsed and CPU time in seconds, and its memory in KiB."""
    # time(1) is small, so that the memory is that of the command and not of this program.
    done = subprocess.run(
        ["/usr/bin/time", "-f", "%e %U %S %M", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    elapsed, user, system, memory = done.stderr.split()[-4:]
    return float(elapsed), float(user) + float(system), int(memory)


def compare(tool: str) -> None:
    """Prints the best of some rounds, in turn, of ps and of `list`."""
    end = threading.Event()
    threading.stack_size(64 << 10)
    for _ in range(THREADS):
        threading.Thread(target=end.wait, daemon=True).start()
    tasks = sum(len(list((entry / "task").iterdir())) for entry in Path("/proc").glob("[0-9]*"))
    print(f"{tasks} threads on this machine, the best of {ROUNDS} rounds:")
    commands = {"ps": PS, "list": [tool, "list"], "list --json": [tool, "list", "--json"]}
    best: dict[str, tuple[float, float, int]] = {}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            seen = measure(command)
            best[name] = min(best.get(name, seen), seen)
    for name, (elapsed, cpu, memory) in best.items():
        print(f"  {name:<12} {elapsed:6.2f} s elapsed, {cpu:6.2f} s CPU, {memory:6} KiB")
    end.set()


def ping_pong(read: int, write: int, first: bool, pause: float, stop: threading.Event) -> None:
    """Passes a byte back and forth: each takes a switch."""
    if first:
        os.write(write, b"x")
    while not stop.is_set():
        os.write(write, os.read(read, 1))
        if first:
            time.sleep(pause)


def watch(tool: str) -> None:
    """Prints what `watch` takes at about SWITCHES switches a second."""
    there, back = os.pipe(), os.pipe()
    child = os.fork()
    stop = threading.Event()
    # Each turn is two switches of the partner and, with the sleep, two of the first.
    pause = 4 / SWITCHES / 2
    if child == 0:
        ping_pong(there[0], back[1], False, 0, stop)
        os._exit(0)
    threading.Thread(
        target=ping_pong, args=(back[0], there[1], True, pause, stop), daemon=True
    ).start()
    first = re.split("[-,]", Path("/sys/devices/system/cpu/online").read_text().strip())[0]
    command = [tool, "watch", "--cpus", first, "--for", f"{SECONDS}s", "--text"]
    done = subprocess.run(
        ["/usr/bin/time", "-f", "%e %U %S %M", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    os.kill(child, 9)
    os.waitpid(child, 0)
    if done.returncode != 0:
        print(f"  watch: {done.stderr.strip()}")
        return
    elapsed, user, system, memory = (float(word) for word in done.stderr.split()[-4:])
    switches = re.search(r" and (\d+) switches", done.stdout)
    rate = int(switches[1]) / SECONDS if switches else 0
    share = (user + system) / elapsed * 100
    print(
        f"watch for {SECONDS} s at {rate:.0f} switches a second: "
        f"{share:.2f} % of one CPU, {memory:.0f} KiB"
    )


def main() -> int:
    """Runs both."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    compare(sys.argv[1])
    watch(sys.argv[1])
    sys.stdout.flush()
    # The threads are not worth waiting for.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
