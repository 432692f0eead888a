// SPDX-License-Identifier: GPL-2.0
/*
 * Has every memory allocation of what leads into the affinity engine fail once, and
 * tells what became of it:
 *
 *	faults [NAME...]
 *
 * does each operation (see the table; or only those named) with its first allocation
 * failing, then with its second, and so on until there are no more, and prints a line
 * "NAME injected=N failed=N passed=N wrong=N": how many allocations failed, how many
 * times the operation failed for it and how many times it did not, and how often the
 * operation failed with another error than ENOMEM, had an effect although it failed, or
 * left something wrong.
 *
 * Needs a kernel with CONFIG_FAILSLAB and CONFIG_FAIL_PAGE_ALLOC, debugfs, cgroup v2
 * and the module kcload. See Documentation/fault-injection/fault-injection.rst for
 * fail-nth.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "guest.h"

#define CPUS "/sys/devices/system/cpu"
#define DEBUG "/sys/kernel/debug"
#define GROUP "/sys/fs/cgroup/faults"
#define WORKQUEUES "/sys/devices/virtual/workqueue"

/* No operation has as many allocations. */
#define MOST 4000
/* So that a table that gets an entry each time grows, too. */
#define ROUNDS 12

static int fail_nth = -1;

/* All of a file, of which as much is kept as there is room for. */
static int read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;
	static char rest[4096];
	size_t have = 0;
	ssize_t got;

	text[0] = '\0';
	if (fd < 0)
		return errno;
	do {
		got = have + 1 < size ? read(fd, text + have, size - have - 1) :
					read(fd, rest, sizeof(rest));
		if (got < 0)
			error = errno;
		else if (have + 1 < size)
			have += got;
	} while (got > 0);
	text[have] = '\0';
	close(fd);
	return error;
}

static void must_write(const char *path, const char *text)
{
	int error = write_file(path, text);

	if (error)
		die("%s to %s: %s", text, path, strerror(error));
}

/* Whose allocation fails: that of a thread by its PID, or ours. */
static void choose_thread(int pid)
{
	char path[64] = "/proc/thread-self/fail-nth";

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/fail-nth", pid);
	if (fail_nth >= 0)
		close(fail_nth);
	fail_nth = open(path, O_RDWR | O_CLOEXEC);
	if (fail_nth < 0)
		die("%s: %s", path, strerror(errno));
}

static void arm(unsigned int number)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", number);

	if (pwrite(fail_nth, text, length, 0) != length)
		die("fail-nth: %s", strerror(errno));
}

/* Returns whether the allocation has come. */
static bool has_failed(void)
{
	char text[16] = "";

	if (pread(fail_nth, text, sizeof(text) - 1, 0) <= 0)
		die("fail-nth: %s", strerror(errno));
	return !atoi(text);
}

/* As that, and lets all others be. */
static bool disarm(void)
{
	bool failed = has_failed();

	arm(0);
	return failed;
}

static int find_thread(const char *name, unsigned int number)
{
	char path[300], comm[64];
	struct dirent *entry;
	DIR *proc = opendir("/proc");
	int found = 0;

	while (proc && !found && (entry = readdir(proc))) {
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		if (atoi(entry->d_name) <= 0 || read_file(path, comm, sizeof(comm)))
			continue;
		if (!strncmp(comm, name, strlen(name)) && !number--)
			found = atoi(entry->d_name);
	}
	if (proc)
		closedir(proc);
	if (!found)
		die("there is no thread %s", name);
	return found;
}

/* Operations ----------------------------------------------------------------- */

/* What was there before, which an operation that fails must leave. */
static char before[4096], now[4096];
/* Is not the same in any two calls of run(). */
static unsigned int turn;

/* A list of CPUs that differs from turn to turn; there are some thousand of them. */
static const char *some_list(void)
{
	static char text[64];
	unsigned int bits = turn % 15 + 1, cpu;
	int length = 0;

	for (cpu = 0; cpu < 4; cpu++)
		if (bits >> cpu & 1)
			length += snprintf(text + length, sizeof(text) - length, "%s%u",
					   length ? "," : "", cpu);
	for (bits = turn / 15 % 16, cpu = 4; cpu < 8; cpu++)
		if (bits >> (cpu - 4) & 1)
			length += snprintf(text + length, sizeof(text) - length, ",%u", cpu);
	return text;
}

static int run_write(void)
{
	return write_file(CPUS "/kthread_cpus", some_list());
}

static int state_write(char *text, size_t size)
{
	return read_file(CPUS "/kthread_cpus", text, size);
}

static int run_read(void)
{
	return state_write(now, sizeof(now));
}

static int run_workqueues(void)
{
	return write_file(WORKQUEUES "/cpumask", turn % 2 ? "7e" : "ff");
}

static int state_workqueues(char *text, size_t size)
{
	return read_file(WORKQUEUES "/cpumask_requested", text, size);
}

static int run_create(void)
{
	return write_file("/proc/kcload", turn % 2 ? "add unbound 1" : "add node:1 1");
}

static int run_prefer(void)
{
	char text[128];

	snprintf(text, sizeof(text), "add pref:%s 1", some_list());
	return write_file("/proc/kcload", text);
}

static int run_update(void)
{
	char text[128];

	snprintf(text, sizeof(text), "update %s", some_list());
	return write_file("/proc/kcload", text);
}

/* The module says how many could not be updated, which is no error to it. */
static int outcome_update(void)
{
	char text[256];

	if (read_file("/proc/kcload", text, sizeof(text)))
		return EPROTO;
	return strstr(text, " error=-12 ") ? ENOMEM : strstr(text, " error=0 ") ? 0 : EPROTO;
}

/* A line for each thread whose name begins so: where it may run, in the order of their numbers. */
static int list_threads(const char *prefix, char *text, size_t size)
{
	char path[300], status[4096], name[64], *allowed;
	struct dirent *entry;
	DIR *proc = opendir("/proc");
	size_t length = 0;

	text[0] = '\0';
	if (!proc)
		return errno;
	while ((entry = readdir(proc))) {
		snprintf(path, sizeof(path), "/proc/%s/status", entry->d_name);
		if (atoi(entry->d_name) <= 0 || read_file(path, status, sizeof(status)) ||
		    sscanf(status, "Name: %63s", name) != 1 ||
		    strncmp(name, prefix, strlen(prefix)))
			continue;
		allowed = strstr(status, "\nCpus_allowed_list:");
		if (allowed && length < size)
			length += snprintf(text + length, size - length, "%s %.*s\n", name,
					   (int)strcspn(allowed + 1, "\n"), allowed + 1);
	}
	closedir(proc);
	return 0;
}

static int state_threads(char *text, size_t size)
{
	return list_threads("kcload-", text, size);
}

static int placed;

static void prepare_place(unsigned int round)
{
	placed = find_thread("kcload-unbound/", round);
}

static int run_place(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(turn % 8, &set);
	CPU_SET((turn + 1) % 8, &set);
	return sched_setaffinity(placed, sizeof(set), &set) ? errno : 0;
}

static int state_place(char *text, size_t size)
{
	cpu_set_t set;
	int cpu;

	if (sched_getaffinity(placed, sizeof(set), &set))
		return errno;
	for (cpu = 0; cpu < 64 && (size_t)cpu + 1 < size; cpu++)
		text[cpu] = CPU_ISSET(cpu, &set) ? 'x' : '-';
	text[cpu] = '\0';
	return 0;
}

static int run_hotplug(void)
{
	char text[8];
	int error = read_file(CPUS "/cpu3/online", text, sizeof(text));

	return error ?: write_file(CPUS "/cpu3/online", text[0] == '1' ? "0" : "1");
}

static int state_hotplug(char *text, size_t size)
{
	return read_file(CPUS "/online", text, size);
}

/* How many rescuers were where they must not be. */
static unsigned int wrong_rescuers;

static void prepare_rescuers(unsigned int round)
{
	(void)round;
	must_write(CPUS "/cpu3/online", "1");
	must_write(CPUS "/kthread_cpus", "3");
}

/* Says which are elsewhere than on the only CPU of kthread_cpus=, which is online. */
static void check_rescuers(void)
{
	char *line, *rest = now;
	unsigned int count = 0;

	if (list_threads("kworker/R-", now, sizeof(now)))
		die("there are no threads");
	while ((line = strsep(&rest, "\n")) && *line) {
		count++;
		if (strcmp(strrchr(line, '\t') ?: "", "\t3")) {
			printf("rescuers: %s\n", line);
			wrong_rescuers++;
		}
	}
	if (!count)
		die("there is no rescuer");
}

/*
 * The only CPU of kthread_cpus= goes and comes, with a rescuer that is new meanwhile.
 * What has failed as it went is made good as it comes.
 */
static int run_rescuers(void)
{
	int error = write_file(CPUS "/cpu3/online", "0");
	bool failed_before;

	if (error)
		return error;
	failed_before = has_failed();
	must_write("/proc/kcwork", "keep reclaim 1");
	error = write_file(CPUS "/cpu3/online", "1");
	if (error)
		must_write(CPUS "/cpu3/online", "1");
	if (failed_before || !has_failed())
		check_rescuers();
	must_write("/proc/kcwork", "drop");
	return error;
}

static int run_partition(void)
{
	return write_file(GROUP "/cpuset.cpus.partition", turn % 2 ? "isolated" : "member");
}

static const struct operation {
	const char *name;
	/* Whose allocations; ours without. */
	const char *thread;
	unsigned int rounds;
	/* Before each round. */
	void (*prepare)(unsigned int round);
	int (*run)(void);
	/* What became of it, if that has no error. */
	int (*outcome)(void);
	/* What it may only change if it does not fail. */
	int (*state)(char *text, size_t size);
	/* How often it has found something wrong. */
	const unsigned int *wrong;
	/* What else than ENOMEM it may fail with. */
	int other;
	/* Before the first round and after the last. */
	const char *begin[2], *end[2];
} operations[] = {
	{ "write", .run = run_write, .state = state_write, .rounds = 1,
	  .end = { CPUS "/kthread_cpus", "0-7" } },
	{ "read", .run = run_read, .rounds = 1 },
	{ "workqueues", .run = run_workqueues, .state = state_workqueues, .rounds = 2 },
	/* For want of memory, fork has that error too. */
	{ "kthreadd", .thread = "kthreadd", .run = run_create, .rounds = ROUNDS, .other = EAGAIN,
	  .end = { "/proc/kcload", "del all" } },
	{ "create", .run = run_create, .rounds = ROUNDS, .state = state_threads,
	  .end = { "/proc/kcload", "del all" } },
	{ "prefer", .run = run_prefer, .rounds = ROUNDS, .state = state_threads,
	  .end = { "/proc/kcload", "del all" } },
	{ "update", .run = run_update, .outcome = outcome_update, .rounds = ROUNDS,
	  .state = state_threads,
	  .begin = { "/proc/kcload", "add pref:1-2 1" }, .end = { "/proc/kcload", "del all" } },
	{ "place", .run = run_place, .state = state_place, .prepare = prepare_place,
	  .rounds = ROUNDS, .begin = { "/proc/kcload", "add unbound 12" },
	  .end = { "/proc/kcload", "del all" } },
	/* Off and on. */
	{ "hotplug", .run = run_hotplug, .state = state_hotplug, .rounds = 2 },
	{ "cpuhp", .thread = "cpuhp/3", .run = run_hotplug, .state = state_hotplug, .rounds = 2 },
	{ "rescuers", .thread = "cpuhp/3", .run = run_rescuers, .state = state_hotplug,
	  .prepare = prepare_rescuers, .wrong = &wrong_rescuers, .rounds = 1 },
	{ "partition", .run = run_partition, .rounds = 2 },
};

/* Does it until no allocation fails any more; that time, it must work. */
static void do_round(const struct operation *operation, unsigned int counts[4])
{
	enum { INJECTED, FAILED, PASSED, WRONG };
	unsigned int number;
	bool injected;
	int error;

	for (number = 1; number <= MOST; number++) {
		turn++;
		if (operation->state && operation->state(before, sizeof(before)))
			die("%s: there is no state", operation->name);
		arm(number);
		error = operation->run();
		injected = disarm();
		if (!error && operation->outcome)
			error = operation->outcome();
		if (error && operation->state) {
			if (operation->state(now, sizeof(now)))
				die("%s: there is no state", operation->name);
			if (strcmp(before, now)) {
				printf("%s: changed by a failure:\n%s\nnow:\n%s\n", operation->name,
				       before, now);
				counts[WRONG]++;
			}
		}
		if (error && (!injected || (error != ENOMEM && error != operation->other))) {
			printf("%s: allocation %u%s: %s\n", operation->name, number,
			       injected ? "" : " was not reached", strerror(error));
			counts[WRONG]++;
		}
		if (!injected)
			return;
		counts[INJECTED]++;
		counts[error ? FAILED : PASSED]++;
	}
	printf("%s: no end\n", operation->name);
	counts[WRONG]++;
}

static void do_operation(const struct operation *operation)
{
	unsigned int counts[4] = { 0 }, round, rounds = operation->rounds;

	if (operation->begin[0])
		must_write(operation->begin[0], operation->begin[1]);
	choose_thread(operation->thread ? find_thread(operation->thread, 0) : 0);
	for (round = 0; round < rounds; round++) {
		if (operation->prepare)
			operation->prepare(round);
		do_round(operation, counts);
	}
	if (operation->end[0])
		must_write(operation->end[0], operation->end[1]);
	if (operation->wrong)
		counts[3] += *operation->wrong;
	printf("%s injected=%u failed=%u passed=%u wrong=%u\n", operation->name, counts[0],
	       counts[1], counts[2], counts[3]);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	size_t i;
	int arg;

	/* Memory of our own comes in before it can fail. */
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		die("mlockall: %s", strerror(errno));
	must_write(DEBUG "/failslab/ignore-gfp-wait", "N");
	must_write(DEBUG "/failslab/verbose", "0");
	must_write(DEBUG "/fail_page_alloc/ignore-gfp-wait", "N");
	must_write(DEBUG "/fail_page_alloc/ignore-gfp-highmem", "N");
	must_write(DEBUG "/fail_page_alloc/min-order", "0");
	must_write(DEBUG "/fail_page_alloc/verbose", "0");
	if (mkdir(GROUP, 0755) && errno != EEXIST)
		die("%s: %s", GROUP, strerror(errno));
	must_write(GROUP "/cpuset.cpus", "6-7");

	for (i = 0; i < sizeof(operations) / sizeof(*operations); i++) {
		bool asked = argc == 1;

		for (arg = 1; arg < argc; arg++)
			asked |= !strcmp(argv[arg], operations[i].name);
		if (asked)
			do_operation(&operations[i]);
	}
	must_write(GROUP "/cpuset.cpus.partition", "member");
	if (rmdir(GROUP))
		die("%s: %s", GROUP, strerror(errno));
	return 0;
}
