# SPDX-License-Identifier: GPL-2.0
#
#  managed kthreads and the CPUs that they are confined to

import gdb

from linux import constants, cpus, tasks, utils


kthread_type = utils.CachedType("struct kthread")


# The flags of kthread_cpus=
CLASSES = ("kthread", "wq", "umh", "init", "irq")


def value_or(expression, default):
    """What is a variable in some configurations only."""
    try:
        return int(gdb.parse_and_eval(expression))
    except gdb.error:
        return default


def cpulist(numbers):
    ranges = []
    for cpu in numbers:
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join("{}".format(first) if first == last else
                    "{}-{}".format(first, last) for first, last in ranges)


def mask_list(mask):
    """Format a struct cpumask, which may have room for nr_cpu_ids CPUs only."""
    words = mask["bits"]
    bits = utils.get_ulong_type().sizeof * 8
    total = words.type.range()[1] * bits + bits
    count = value_or("nr_cpu_ids", total)
    values = [int(words[word]) for word in range((count + bits - 1) // bits)]
    return cpulist(cpu for cpu in range(count)
                   if values[cpu // bits] >> (cpu % bits) & 1)


def housekeeping():
    if constants.LX_CONFIG_CPU_ISOLATION:
        this = gdb.parse_and_eval("housekeeping")
        kind = int(gdb.parse_and_eval("HK_TYPE_DOMAIN"))
        if int(this["flags"]) >> kind & 1:
            return this["cpumasks"][kind].dereference()
    return gdb.parse_and_eval("__cpu_possible_mask")


def managed_kthreads():
    """Every task that is in the books, and its struct kthread."""
    kthread_ptr_type = kthread_type.get_type().pointer()

    for task in tasks.task_lists():
        if not int(task["flags"]) & constants.LX_PF_KTHREAD:
            continue
        kthread = task["worker_private"].cast(kthread_ptr_type)
        if int(kthread) and int(kthread["affinity"]["entry"]):
            yield task, kthread


def name(task, kthread):
    if int(kthread["full_name"]):
        return kthread["full_name"].string()
    return task["comm"].string()


def preference(entry, nodes):
    """What the number of an entry says of it; see kernel/kthread_cpus/books.rs."""
    if entry == 1:
        return "none"
    if entry < 2 + nodes:
        return "node {}".format(entry - 2)
    return "mask"


class LxKthreadCpus(gdb.Command):
    """Show where the kernel's own work may run.

Lists the CPUs of kthread_cpus= and the classes of work that are confined to
them, the housekeeping CPUs, and every managed kthread with the entry in the
books that it has by its preference, and its allowed CPUs. SET BY says "user"
if user space has set the affinity of the kthread.

The entries are those of kthread_cpus/entries in debugfs."""

    def __init__(self):
        super(LxKthreadCpus, self).__init__("lx-kthread-cpus", gdb.COMMAND_DATA)

    def invoke(self, arg, from_tty):
        if not constants.LX_CONFIG_KTHREAD_CPUS:
            raise gdb.GdbError("The kernel has no CONFIG_KTHREAD_CPUS")

        confined = int(gdb.parse_and_eval("kthread_cpus_classes"))
        classes = [name for bit, name in enumerate(CLASSES)
                   if confined >> bit & 1]
        nodes = value_or("nr_node_ids", 1)

        gdb.write("Kthread CPUs      : {}\n".format(
            cpulist(cpus.each_kthread_cpu())))
        gdb.write("Confined classes  : {}\n".format(",".join(classes) or "none"))
        gdb.write("Housekeeping CPUs : {}\n".format(mask_list(housekeeping())))
        row = "{:>10} {:>5} {:<10} {:<6} {:<15} {}\n"
        gdb.write(row.format("PID", "ENTRY", "PREFERENCE", "SET BY", "CPUS",
                             "COMM"))
        for task, kthread in managed_kthreads():
            entry = int(kthread["affinity"]["entry"])
            stray = int(kthread["affinity"]["stray"])
            gdb.write(row.format(
                int(task["pid"]), entry, preference(entry, nodes),
                "user" if stray else "kernel", mask_list(task["cpus_mask"]),
                name(task, kthread)))


LxKthreadCpus()
