# SPDX-License-Identifier: GPL-2.0
"""Measures `list` against ps with 10,000 threads, and what `watch` takes on a busy machine.

The threads are kernel threads of a recorded tree, which ps gets as its /proc, and threads
of this program on the machine as it is. As root, with tracefs.

    python3 tests/bench.py path/to/kthread-cpus

Prints what it measured, and judges nothing: a busy machine gives other figures.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
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


def race(commands: dict[str, list[str]]) -> None:
    """Prints the best of some rounds, in turn, of each command."""
    best: dict[str, tuple[float, float, int]] = {}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            seen = measure(command)
            best[name] = min(best.get(name, seen), seen)
    for name, (elapsed, cpu, memory) in best.items():
        print(f"  {name:<12} {elapsed:6.2f} s elapsed, {cpu:6.2f} s CPU, {memory:6} KiB")


def record(root: Path) -> None:
    """Makes a tree with THREADS kernel threads, each as kthreadd of this machine is."""
    proc, sys_cpu = root / "proc", Path("sys/devices/system/cpu")
    template = {
        name: (Path("/proc/2") / name).read_text() for name in ("stat", "status", "schedstat")
    }
    for name in ("stat", "uptime", "meminfo", "cmdline", "version", "sys/kernel/osrelease"):
        (proc / name).parent.mkdir(parents=True, exist_ok=True)
        (proc / name).write_text((Path("/proc") / name).read_text())
    (proc / "sys/kernel/pid_max").write_text("4194304\n")
    (root / sys_cpu).mkdir(parents=True)
    for name in ("possible", "present", "online", "isolated"):
        (root / sys_cpu / name).write_text((Path("/") / sys_cpu / name).read_text())
    for pid in range(2, THREADS + 2):
        # ps -L looks into task/.
        for place in (proc / str(pid), proc / str(pid) / "task" / str(pid)):
            place.mkdir(parents=True)
            for name, text in template.items():
                text = re.sub(r"^2 ", f"{pid} ", text) if name == "stat" else text
                (place / name).write_text(text.replace("Pid:\t2\n", f"Pid:\t{pid}\n"))
    (proc / "self").symlink_to("2")


def compare_recorded(tool: str) -> None:
    """Compares on a recorded tree, in memory."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as directory:
        root = Path(directory)
        record(root)
        print(f"{THREADS} kernel threads of a recorded tree, the best of {ROUNDS} rounds:")
        # ps looks for itself there. What it takes to put it there is measured for both.
        there = f"mount --bind {root}/proc /proc && {{ [ -e /proc/$$ ] || ln -s 2 /proc/$$; }}"
        place = ["unshare", "--mount", "sh", "-c", f'{there} && exec "$@"', "sh"]
        listing = [tool, "--root", directory, "list"]
        commands = {"ps": PS, "list": listing, "list --json": [*listing, "--json"]}
        race({name: [*place, *command] for name, command in commands.items()})


def compare(tool: str) -> None:
    """Compares on this machine, which has few kernel threads."""
    end = threading.Event()
    threading.stack_size(64 << 10)
    for _ in range(THREADS):
        threading.Thread(target=end.wait, daemon=True).start()
    tasks = sum(len(list((entry / "task").iterdir())) for entry in Path("/proc").glob("[0-9]*"))
    print(f"{tasks} threads on this machine, the best of {ROUNDS} rounds:")
    race({"ps": PS, "list": [tool, "list"], "list --json": [tool, "list", "--json"]})
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
    """Runs all."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    compare_recorded(sys.argv[1])
    compare(sys.argv[1])
    watch(sys.argv[1])
    sys.stdout.flush()
    # The threads are not worth waiting for.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
