// SPDX-License-Identifier: GPL-2.0
/* The step "torture": everything at once, and the list at random. */
#define _GNU_SOURCE
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "steps.h"

/* Each child has its own random numbers, which the seed determines. */
static uint64_t random_state;

static unsigned int below(unsigned int limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (random_state >> 11) % limit;
}

static void seed(unsigned int value, unsigned int stream)
{
	random_state = (((uint64_t)value << 8 | stream) + 1) * 0x9e3779b97f4a7c15ull;
}

static cpus_t possible;

static cpus_t random_cpus(void)
{
	return (((cpus_t)below(1u << 16) << 16) ^ below(1u << 24)) & possible;
}

#define SMT CPUS "/smt/control"
#define PM_TEST "/sys/power/pm_test"
#define MEM_SLEEP "/sys/power/mem_sleep"
#define PM_TEST_DELAY "/sys/module/suspend/parameters/pm_test_delay"

/* All second threads of cores go at once, and come back. */
static int torture_smt(void)
{
	int error = write_file(SMT, "off");

	/* A busy moment is no error, and leaves it on. */
	if (error == EBUSY)
		return 0;
	usleep(below(40000));
	error = error ?: write_file(SMT, "on");
	shared->smt += !error;
	return error;
}

/* Not all machines and kernels; to idle does not take CPUs offline. */
static bool can_suspend(void)
{
	char text[64];

	return !access(PM_TEST, F_OK) && read_file(MEM_SLEEP, text, sizeof(text)) &&
	       strstr(text, "deep");
}

/* All CPUs but the first go at once, and come back. Who can't be frozen prevents it. */
static int torture_suspend(void)
{
	const int error = write_file("/sys/power/state", "mem");

	shared->suspends += !error;
	return error == EBUSY ? 0 : error;
}

/* CPUs go and come; the first one stays. */
static int torture_hotplug(unsigned int value)
{
	const int count = __builtin_popcountll(possible);
	const bool smt = !write_file(SMT, "on"), suspends = can_suspend();
	int cpu, error = 0;
	unsigned int on;

	seed(value, 1);
	if (suspends) {
		error = write_file(PM_TEST, "processors");
		error = error ?: write_file(PM_TEST_DELAY, "0");
	}
	while (!error && !shared->stopping) {
		/* While a CPU moves, nothing else can. */
		usleep(below(40000));
		if (smt && !below(16)) {
			error = torture_smt();
			continue;
		}
		if (suspends && !below(32)) {
			error = torture_suspend();
			continue;
		}
		cpu = 1 + below(count - 1);
		on = below(2);
		/* Only what it is not already. */
		if ((read_cpus(CPUS "/online") >> cpu & 1) == on)
			continue;
		error = switch_cpu(cpu, on);
		/* A busy moment is no error. */
		if (error && error != EBUSY)
			break;
		shared->hotplug += !error;
		error = 0;
	}
	for (cpu = 1; cpu < count; cpu++)
		error = error ?: switch_cpu(cpu, true);
	return error;
}

static int torture_partition(unsigned int value)
{
	int error = mkdir(CGROUP "/torture", 0755) ? errno : 0;

	seed(value, 2);
	while (!error && !shared->stopping) {
		/* Not the first CPU, so that there are always some left. */
		const cpus_t cpus = random_cpus() & ~1ull;

		if (!cpus)
			continue;
		write_file(CGROUP "/torture/cpuset.cpus", format_cpus(cpus));
		write_file(CGROUP "/torture/cpuset.cpus.partition",
			   below(3) ? "isolated" : "member");
		shared->partitions++;
		usleep(below(40000));
	}
	write_file(CGROUP "/torture/cpuset.cpus.partition", "member");
	return error ?: rmdir(CGROUP "/torture") ? errno : 0;
}

static int torture_workqueues(unsigned int value)
{
	char text[32];
	int error = 0;

	seed(value, 3);
	while (!error && !shared->stopping) {
		snprintf(text, sizeof(text), "%llx", (unsigned long long)random_cpus());
		error = write_file(WORKQUEUES "/cpumask", text);
		/* No CPU at all is refused. */
		if (error == EINVAL)
			error = 0;
		shared->workqueues++;
		usleep(below(20000));
	}
	snprintf(text, sizeof(text), "%llx", (unsigned long long)possible);
	return error ?: write_file(WORKQUEUES "/cpumask", text);
}

static int torture_work(unsigned int value)
{
	static const char *const kinds[] = {
		"unbound", "highpri", "reclaim", "ordered", "sysfs", "percpu",
	};
	int error = 0, i;
	char text[64];

	seed(value, 4);
	while (!error && !shared->stopping) {
		snprintf(text, sizeof(text), "run %s %u", kinds[below(6)], 1 + below(16));
		error = write_file("/proc/kcwork", text);
		if (!error && !below(4))
			error = write_file("/proc/kcwork", "use");
		shared->work++;
		usleep(below(10000));
	}
	for (i = 0; i < 6 && !error; i++) {
		snprintf(text, sizeof(text), "run %s 16", kinds[i]);
		error = write_file("/proc/kcwork", text);
	}
	return error ?: write_file("/proc/kcwork", "use");
}

/* Adds what the last storm has done. */
static void count_storm(void)
{
	char text[1024], *rest = text, *word;
	unsigned int count;

	read_file("/proc/kcload", text, sizeof(text));
	while ((word = strsep(&rest, " \n"))) {
		if (sscanf(word, "created=%u", &count) == 1)
			shared->kthreads += count;
		else if (sscanf(word, "bound=%u", &count) == 1)
			shared->bound += count;
		else if (sscanf(word, "parked=%u", &count) == 1)
			shared->parked += count;
		else if (sscanf(word, "stopped=%u", &count) == 1)
			shared->stopped += count;
	}
}

static int torture_threads(unsigned int value)
{
	char text[64];
	int error = 0;

	seed(value, 5);
	while (!error && !shared->stopping) {
		snprintf(text, sizeof(text), "storm 1 %u pinned", below(1u << 16));
		error = write_file("/proc/kcload", text);
		count_storm();
		/* It takes all the time that there is. */
		sleep(1 + below(2));
	}
	return error;
}

/* Mainline, too, refuses it if a partition changes just then, and those are about to end. */
static int let_go(pid_t pid)
{
	int tries = 10, error;

	do
		error = place(pid, possible);
	while (error == EINVAL && --tries);
	return error;
}

/* User space places kernel threads, and lets go of them in the end. */
static int torture_placement(unsigned int value)
{
	int error = 0;
	size_t i;

	seed(value, 6);
	while (!shared->stopping) {
		i = below(thread_count);
		/* What kthreadd makes while it is placed has its CPUs. */
		if (!below(16))
			shared->placed += !place(KTHREADD, below(2) ? possible : random_cpus());
		else if (threads[i].here && !threads[i].bound)
			shared->placed += !place(threads[i].pid, random_cpus());
		usleep(below(10000));
	}
	error = let_go(KTHREADD);
	for (i = 0; i < thread_count; i++)
		if (threads[i].here && !threads[i].bound)
			error = let_go(threads[i].pid) ?: error;
	return error;
}

/* Nobody else runs on a CPU for a while, whatever lock is held by who was preempted. */
static int torture_hogs(unsigned int value)
{
	const struct sched_param param = { .sched_priority = 1 };
	struct timespec begin, now;
	unsigned int limit;

	seed(value, 9);
	if (sched_setscheduler(0, SCHED_FIFO, &param))
		return errno;
	while (!shared->stopping) {
		place(0, 1ull << below(__builtin_popcountll(possible)));
		limit = below(10000);
		clock_gettime(CLOCK_MONOTONIC, &begin);
		do
			clock_gettime(CLOCK_MONOTONIC, &now);
		while ((now.tv_sec - begin.tv_sec) * 1000000 +
		       (now.tv_nsec - begin.tv_nsec) / 1000 < limit);
		shared->hogs++;
		usleep(10000 + below(40000));
	}
	return 0;
}

static int torture_helpers(unsigned int value)
{
	seed(value, 7);
	write_file("/proc/sys/kernel/modprobe", "/bin/true");
	while (!shared->stopping) {
		mount("none", "/run", "kctorture", 0, NULL);
		shared->helpers++;
		usleep(below(20000));
	}
	return 0;
}

/* A module with kernel threads comes and goes, and now and then fails to come. */
static int torture_modules(unsigned int value)
{
	const int file = open("/kc/kcbrief.ko", O_RDONLY | O_CLOEXEC);
	int error = file < 0 ? errno : 0;

	seed(value, 8);
	while (!error && !shared->stopping) {
		const bool fail = !below(4);

		error = syscall(SYS_finit_module, file, fail ? "fail=1" : "", 0) ? errno : 0;
		if (fail) {
			/* That it loads although it is to fail is wrong as well. */
			error = error == ENOMEM ? 0 : error ?: EEXIST;
		} else if (!error) {
			usleep(below(20000));
			error = syscall(SYS_delete_module, "kcbrief", O_NONBLOCK) ? errno : 0;
		}
		shared->modules++;
		usleep(below(20000));
	}
	return error;
}

/* Random CPUs in one of the ways to write them. */
static cpus_t random_list(char *text, size_t size)
{
	const unsigned int count = __builtin_popcountll(possible);
	unsigned int first = below(count), last = first + below(count - first);
	unsigned int group = 1 + below(4), used = 1 + below(group), cpu;
	cpus_t cpus = 0;

	switch (below(8)) {
	case 0:
		snprintf(text, size, "all\n");
		return possible;
	case 1:
		snprintf(text, size, " %u-N\n", first);
		last = count - 1;
		break;
	case 2:
		snprintf(text, size, "%u-%u:%u/%u", first, last, used, group);
		for (cpu = first; cpu <= last; cpu++)
			if ((cpu - first) % group < used)
				cpus |= (cpus_t)1 << cpu;
		return cpus;
	case 3:
		/* Not a list. */
		snprintf(text, size, "%u-%u,x\n", first, last);
		return 0;
	case 4:
		snprintf(text, size, "%u-%u", first, last);
		break;
	default:
		cpus = random_cpus();
		snprintf(text, size, "%s\n", format_cpus(cpus));
		return cpus;
	}
	for (cpu = first; cpu <= last; cpu++)
		cpus |= (cpus_t)1 << cpu;
	return cpus;
}

/*
 * What was accepted must be there then, and what was refused must have changed
 * nothing. It depends on the others whether a list with a CPU is accepted.
 */
static int torture_changes(unsigned int changes, unsigned int value)
{
	unsigned int refused = 0, wrong = 0, i;
	cpus_t now = read_cpus(CPUS "/kthread_cpus");
	char text[4 * MAX_CPUS];

	seed(value, 0);
	for (i = 0; i < changes; i++) {
		const cpus_t cpus = random_list(text, sizeof(text));
		const int error = write_file(CPUS "/kthread_cpus", text);

		if (!error && cpus)
			now = cpus;
		else if (error == EINVAL && cpus != possible)
			refused++;
		else
			wrong++;
		if (read_cpus(CPUS "/kthread_cpus") != now)
			wrong++;
		if (i % 100 == 99) {
			snprintf(text, sizeof(text), "<6>kcguest: %u changes\n", i + 1);
			write_all(kmsg_fd, text);
		}
	}
	snprintf(result, sizeof(result), "changes=%u refused=%u wrong=%u", changes, refused,
		 wrong);
	return 0;
}

/* To those of the changes. */
static void tell_torture(void)
{
	const size_t length = strlen(result);

	snprintf(result + length, sizeof(result) - length,
		 " hotplug=%u partitions=%u workqueues=%u work=%u kthreads=%u bound=%u parked=%u"
		 " stopped=%u placed=%u hogs=%u helpers=%u modules=%u smt=%u suspends=%u",
		 shared->hotplug, shared->partitions, shared->workqueues, shared->work,
		 shared->kthreads, shared->bound, shared->parked, shared->stopped,
		 shared->placed, shared->hogs, shared->helpers, shared->modules, shared->smt,
		 shared->suspends);
	memset(shared, 0, sizeof(*shared));
}

int step_torture(const char *arg)
{
	const char *colon = strchr(arg, ':');
	unsigned int value;
	int error, other;

	if (!colon)
		die("torture=%s: not CHANGES:SEED", arg);
	/*
	 * The unpatched kernel may hang for good: its hotplug waits under a lock for who
	 * sleeps with migration disabled. There, only where all is afterwards is of use.
	 */
	if (access(CPUS "/kthread_cpus", F_OK))
		return ENOENT;
	value = atoi(colon + 1);
	possible = read_cpus(CPUS "/possible");
	look_at_threads();
	start_child(torture_hotplug, value, 0);
	start_child(torture_partition, value, 0);
	start_child(torture_workqueues, value, 0);
	start_child(torture_work, value, 0);
	start_child(torture_threads, value, 0);
	start_child(torture_placement, value, 0);
	start_child(torture_hogs, value, 0);
	start_child(torture_helpers, value, 0);
	start_child(torture_modules, value, 0);
	error = torture_changes(atoi(arg), value);
	shared->stopping = true;
	other = wait_for_children();
	tell_torture();
	return error ?: other;
}
