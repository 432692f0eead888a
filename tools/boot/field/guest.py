# SPDX-License-Identifier: GPL-2.0
"""What runs in the guest of scripts/field: takes the steps and looks after each.

The kernel command line says which: field.steps=boot,load,... and field.cpus=LIST, the CPUs
that the row is about. Everything is printed to QEMU's port "field", one JSON object a line.
It needs the Python of Debian and, to look, the program kthread-cpus.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PORT = Path("/dev/virtio-ports/field")
CPU = Path("/sys/devices/system/cpu")
CGROUP = Path("/sys/fs/cgroup")
WORK = Path("/var/tmp/field")
TEXTFILE = Path("/var/lib/prometheus/node-exporter/kthread_cpus.prom")

# How long the load lasts, and how long irqbalance has: it looks every 10 seconds.
LOAD = 10
BALANCE = 45

Json = dict[str, Any]


def send(record: Json) -> None:
    """Prints a record for the host."""
    with PORT.open("w") as port:
        port.write(json.dumps(record) + "\n")


def option(name: str) -> str:
    """Returns a word of the kernel command line."""
    match = re.search(rf"(?:^|\s)field\.{name}=(\S+)", Path("/proc/cmdline").read_text())
    return match[1] if match else ""


def run(
    *command: str, check: bool = True, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end; its output is in the result."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
    )
    if check and done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}: {''.join(last)}")
    return done


def read(path: Path) -> str:
    """Returns the text of a file of one line, or nothing."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def cpus_of(text: str) -> set[int]:
    """Returns the CPUs of a plain list."""
    cpus: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        cpus |= set(range(int(first), int(last or first) + 1))
    return cpus


def list_of(cpus: set[int]) -> str:
    """Returns CPUs as a list that every tool takes."""
    return ",".join(map(str, sorted(cpus)))


def mine() -> set[int]:
    """Returns the CPUs that the row keeps for the kernel."""
    return cpus_of(option("cpus"))


def everywhere() -> set[int]:
    """Returns the CPUs that are online."""
    return cpus_of(read(CPU / "online"))


def outside() -> set[int]:
    """Returns the CPUs of the application."""
    return everywhere() - mine()


# --- looking -----------------------------------------------------------------
def managed_irq(irq: Path) -> bool:
    """Whether the kernel lets nobody place this interrupt."""
    return not (irq / "smp_affinity_list").stat().st_mode & stat.S_IWUSR


def interrupts() -> list[Json]:
    """Returns the interrupts that have a handler, with their CPUs."""
    found = []
    for irq in sorted(Path("/proc/irq").iterdir(), key=lambda path: path.name.zfill(9)):
        handlers = [entry.name for entry in irq.iterdir() if entry.is_dir()] if irq.is_dir() else []
        if handlers:
            found.append(
                {
                    "irq": irq.name,
                    "name": handlers[0],
                    "cpus": read(irq / "smp_affinity_list"),
                    "effective": read(irq / "effective_affinity_list"),
                    "managed": managed_irq(irq),
                }
            )
    return found


def user_tasks() -> Json:
    """Returns where the processes of user space may run, counted by their CPUs."""
    masks: dict[str, int] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        text = read(status)
        if "\nKthread:\t1" in text or not (match := re.search(r"Cpus_allowed_list:\t(\S+)", text)):
            continue
        masks[match[1]] = masks.get(match[1], 0) + 1
    return masks


def look(step: str, **more: Any) -> None:  # noqa: ANN401
    """Tells the host where everything is."""
    check = run("kthread-cpus", "check", "--cpus", option("cpus"), "--json", check=False)
    listed = run("kthread-cpus", "list", "--json", check=False)
    send(
        {
            "look": step,
            "check": json.loads(check.stdout) if check.stdout else {"error": check.stderr},
            "threads": json.loads(listed.stdout) if listed.stdout else [],
            "interrupts": interrupts(),
            "tasks": user_tasks(),
            "default_smp_affinity": read(Path("/proc/irq/default_smp_affinity")),
            "workqueues": {
                path.name: path.read_text().strip()
                for path in Path("/sys/devices/virtual/workqueue").glob("cpumask*")
            },
            **more,
        }
    )


# --- the steps -----------------------------------------------------------------
def step_boot() -> None:
    """All units have been started."""
    state = run("systemctl", "is-system-running", "--wait", check=False, timeout=900).stdout.strip()
    failed = run("systemctl", "--failed", "--plain", "--no-legend", check=False).stdout.split("\n")
    kernel = run("dmesg", "--notime", check=False).stdout.splitlines()
    look(
        "boot",
        state=state,
        failed=[line.split()[0] for line in failed if line],
        said=[line for line in kernel if line.startswith("kthread_cpus:")],
        bad=[line for line in kernel if re.search(r"WARNING:|BUG:|Oops|Call Trace|stall", line)],
    )


def step_write() -> None:
    """The list is set at run time, where the kernel has the file."""
    path = CPU / "kthread_cpus"
    if path.exists():
        path.write_text(option("cpus"))
    look("write", file=read(path))


@contextlib.contextmanager
def load() -> Iterator[None]:
    """Gives every CPU work that makes work for the kernel, on disks, nets and memory."""
    script = Path(__file__).with_name("load")
    workers = [
        subprocess.Popen(
            ["taskset", "-c", str(cpu), str(script), kind, str(WORK)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for cpu in sorted(everywhere())
        for kind in ("files", "net", "memory")
    ]
    try:
        yield
    finally:
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, 9)
            worker.wait()


def step_load() -> None:
    """Disks of every kind, networks, memory, modules; watched meanwhile."""
    WORK.mkdir(exist_ok=True)
    script = str(Path(__file__).with_name("load"))
    run(script, "setup", str(WORK), timeout=600)
    try:
        with load():
            time.sleep(5)
            watched = run(
                "kthread-cpus", "watch", "--cpus", option("cpus"), "--for", f"{LOAD}s", "--json",
                check=False, timeout=600,
            )  # fmt: skip
            look("load", watch=json.loads(watched.stdout) if watched.stdout else watched.stderr)
    finally:
        run(script, "teardown", str(WORK), check=False)
    look("load ended")


def step_hotplug() -> None:
    """All CPUs of the list go, and come back."""
    gone = sorted(cpu for cpu in mine() if (CPU / f"cpu{cpu}/online").exists())
    for cpu in gone:
        (CPU / f"cpu{cpu}/online").write_text("0")
    look("hotplug: off", gone=gone)
    for cpu in gone:
        (CPU / f"cpu{cpu}/online").write_text("1")
    look("hotplug: back", gone=gone)


def step_partition() -> None:
    """A partition of cpusets takes a CPU from the rest, and gives it back."""
    cpu = max(outside())
    group = CGROUP / "field-partition"
    group.mkdir()
    (CGROUP / "cgroup.subtree_control").write_text("+cpuset")
    try:
        (group / "cpuset.cpus").write_text(str(cpu))
        (group / "cpuset.cpus.partition").write_text("isolated")
        look("partition", cpu=cpu, partition=read(group / "cpuset.cpus.partition"))
        (group / "cpuset.cpus.partition").write_text("member")
    finally:
        group.rmdir()
    look("partition: ended")


def step_session() -> None:
    """A user logs in."""
    run("useradd", "-m", "field", check=False)
    status = run(
        "systemd-run", "--quiet", "--wait", "--pipe", "-p", "User=field", "-p", "PAMName=login",
        "cat", "/proc/self/status",
    ).stdout  # fmt: skip
    match = re.search(r"Cpus_allowed_list:\t(\S+)", status)
    manager = run("systemctl", "is-active", "user@1000.service", check=False).stdout.strip()
    look("session", session=match[1] if match else "", state=manager)


def step_systemd() -> None:
    """Units that choose their CPUs get them; nothing of the kernel follows."""
    cpu = max(outside())
    got = {}
    for name, setting in (("affinity", f"CPUAffinity={cpu}"), ("allowed", f"AllowedCPUs={cpu}")):
        unit = f"field-{name}.service"
        run("systemd-run", "--quiet", f"--unit={unit}", "-p", setting, "sleep", "600")
        pid = run("systemctl", "show", "-P", "MainPID", unit).stdout.strip()
        got[name] = sorted(os.sched_getaffinity(int(pid)))
    # A slice that gets the cpuset controller has the groups beside it get it too.
    run(
        "systemctl",
        "set-property",
        "--runtime",
        "system.slice",
        f"AllowedCPUs={list_of(everywhere())}",
    )
    look("systemd", asked=[cpu], got=got)
    run("systemctl", "set-property", "--runtime", "system.slice", "AllowedCPUs=")
    run("systemctl", "stop", "field-affinity.service", "field-allowed.service")
    look("systemd: ended")


def step_container() -> None:
    """Containers by crun, with and without CPUs of their own."""
    cpu = max(outside())
    got: Json = {}
    for name, resources in (("plain", {}), ("cpuset", {"cpu": {"cpus": str(cpu)}})):
        bundle = WORK / name
        shutil.rmtree(bundle, ignore_errors=True)
        (bundle / "rootfs").mkdir(parents=True)
        run("crun", "spec", "-b", str(bundle))
        config = json.loads((bundle / "config.json").read_text())
        config["process"].update(terminal=False, args=["/bin/sleep", "600"])
        config["root"] = {"path": "rootfs", "readonly": True}
        config["mounts"] += [
            {
                "destination": f"/{path}",
                "source": f"/{path}",
                "type": "none",
                "options": ["bind", "ro"],
            }
            for path in ("usr",)
        ]
        config["linux"].setdefault("resources", {}).update(resources)
        for link in ("bin", "lib", "lib64"):
            (bundle / "rootfs" / link).symlink_to(f"usr/{link}")
        (bundle / "config.json").write_text(json.dumps(config))
        with (bundle / "log").open("w") as log:
            subprocess.run(
                ["crun", "run", "-d", "-b", str(bundle), f"field-{name}"],
                check=True, stdout=log, stderr=log, stdin=subprocess.DEVNULL, timeout=120,
            )  # fmt: skip
        state = json.loads(run("crun", "state", f"field-{name}").stdout)
        got[name] = sorted(os.sched_getaffinity(state["pid"]))
    look("containers", asked=[cpu], got=got)
    for name in got:
        run("crun", "delete", "-f", f"field-{name}")
    look("containers: ended")


def step_timers() -> None:
    """What systemd's timers start in a day, all at once."""
    listed = run("systemctl", "list-timers", "--all", "--plain", "--no-legend").stdout.splitlines()
    units = sorted({line.split()[-1] for line in listed if line.split()[-1].endswith(".service")})
    # These need a network.
    units = [unit for unit in units if not unit.startswith("apt-")]
    for unit in units:
        run("systemctl", "start", unit, check=False)
    look("timers", units=units)


def step_irqbalance() -> None:
    """It balances, with our drop-in where the package has it."""
    run("systemctl", "restart", "irqbalance.service")
    time.sleep(BALANCE)
    state = run("systemctl", "is-active", "irqbalance.service", check=False).stdout.strip()
    look("irqbalance", state=state, banned=read(Path("/run/kthread-cpus/irqbalance.env")))
    run("systemctl", "stop", "irqbalance.service")


def tuned(profile: str, variables: str, settings: str) -> None:
    """Starts TuneD with a profile, verifies it, looks, and stops it."""
    Path(variables).write_text(settings)
    log = Path("/var/log/tuned/tuned.log")
    before = len(read(log))
    run("systemctl", "start", "tuned.service")
    run("tuned-adm", "profile", profile, timeout=300)
    verify = run("tuned-adm", "verify", check=False)
    lines = read(log)[before:].splitlines()
    look(
        f"tuned {profile}",
        verify=verify.returncode,
        # Without the time.
        log=[
            " ".join(line.split()[2:]) for line in lines if re.search(r"\b(ERROR|WARNING)\b", line)
        ],
    )
    run("tuned-adm", "off", check=False)
    run("systemctl", "stop", "tuned.service", check=False)
    look(f"tuned {profile}: off")


def step_tuned() -> None:
    """Our profile; its verify passes where the machine was booted with what it plans."""
    variables = f"housekeeping={len(mine())}\n"
    tuned("kthread-cpus", "/etc/tuned/kthread-cpus-variables.conf", variables)


def step_profiles() -> None:
    """Two of TuneD's own, which isolate the CPUs of the application."""
    isolated = f"isolated_cores={list_of(outside())}\n"
    tuned("realtime", "/etc/tuned/realtime-variables.conf", isolated)
    tuned("cpu-partitioning", "/etc/tuned/cpu-partitioning-variables.conf", isolated)


def step_metrics() -> None:
    """node_exporter reads what the unit of the package writes; promtool finds it well-formed."""
    run("systemctl", "start", "kthread-cpus-metrics.service")
    run("systemctl", "restart", "prometheus-node-exporter.service")
    page = ""
    for _ in range(60):
        page = run("curl", "-s", "http://localhost:9100/metrics", check=False).stdout
        if page:
            break
        time.sleep(1)
    ours = [line for line in page.splitlines() if line.startswith("kthread_cpus_outside ")]
    tool = subprocess.run(
        ["promtool", "check", "metrics"], input=TEXTFILE.read_text(), capture_output=True, text=True
    )
    run("systemctl", "stop", "prometheus-node-exporter.service")
    look("metrics", exported=ours, promtool=tool.returncode, complaint=tool.stderr.strip()[:400])


def step_latency() -> None:
    """cyclictest on a CPU of the application, and rtla if the kernel has its tracer."""
    cpu = str(max(outside()))
    cyclic = run(
        "taskset", "-c", cpu, "cyclictest", "-q", "-t1", "-a", cpu, "-p", "80", "-l", "200",
        check=False,
    )  # fmt: skip
    rtla = ["no tracer osnoise"]
    if "osnoise" in read(Path("/sys/kernel/tracing/available_tracers")).split():
        noise = run("rtla", "osnoise", "top", "-q", "-c", cpu, "-d", "10s", check=False)
        rtla = noise.stdout.strip().splitlines()[-3:] or [noise.stderr[-300:]]
    look("latency", cyclictest=cyclic.stdout.strip()[-200:] or cyclic.stderr[-200:], rtla=rtla)


def step_report() -> None:
    """The page of kthread-cpus report of this boot."""
    page = Path(__file__).with_name("report.html")
    run("kthread-cpus", "report", "-o", str(page))
    send({"page": page.read_text()})


# --- packages ------------------------------------------------------------------
def debs() -> list[str]:
    """Returns the packages that the host has sent."""
    return sorted(map(str, Path(__file__).parent.glob("*.deb")))


def step_grub() -> None:
    """The boot loader, as the installer of Debian installs it."""
    run("grub-install", "/dev/vda", timeout=900)
    run("update-grub", timeout=900)
    menu = [
        line.split("'")[1]
        for line in read(Path("/boot/grub/grub.cfg")).splitlines()
        if "menuentry '" in line
    ]
    send({"step": "grub", "menu": menu})


def packages(step: str, *command: str) -> None:
    """Tells the host what dpkg says, and what is in /boot and /lib/modules then."""
    done = run("dpkg", *command, check=False, timeout=3000)
    tops = (Path("/boot"), Path("/lib/modules"))
    send(
        {
            "step": step,
            "status": done.returncode,
            "said": (done.stdout + done.stderr).splitlines(),
            "files": sorted(str(path) for top in tops for path in top.iterdir()),
        }
    )


def step_install() -> None:
    """The packages, by dpkg."""
    packages("install", "--install", *debs())


def step_plan() -> None:
    """What the README tells a user to do once the packages are there."""
    count = str(len(mine()))
    drop_in = run("kthread-cpus", "plan", "--housekeeping", count, "--print", "grub").stdout
    Path("/etc/default/grub.d").mkdir(exist_ok=True)
    Path("/etc/default/grub.d/kthread-cpus.cfg").write_text(drop_in)
    done = run("update-grub", check=False, timeout=900)
    send({"step": "plan", "status": done.returncode, "drop_in": drop_in.splitlines()[-1]})


def step_remove() -> None:
    """The kernel that runs is removed, as by a user who goes back to Debian's."""
    names = run("dpkg-query", "-W", "-f", "${Package}\n").stdout.split()
    ours = [name for name in names if re.match(r"linux-(image|headers)-.*kthread-cpus", name)]
    packages("remove", "--purge", *ours)


def main() -> int:
    """Takes the steps; a step that fails does not keep the next from being taken."""
    steps: dict[str, Callable[[], None]] = {
        name.removeprefix("step_"): function
        for name, function in globals().items()
        if name.startswith("step_")
    }
    name = os.uname()
    cmdline = read(Path("/proc/cmdline"))
    send({"kernel": name.release, "version": name.version, "cmdline": cmdline})
    for name in option("steps").split(","):
        start = time.monotonic()
        try:
            steps[name]()
        except Exception:
            send({"error": name, "text": traceback.format_exc()[-1500:]})
        send({"done": name, "seconds": round(time.monotonic() - start)})
    send({"end": True})
    os.sync()
    run("systemctl", "poweroff", check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
