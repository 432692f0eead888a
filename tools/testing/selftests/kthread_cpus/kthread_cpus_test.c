// SPDX-License-Identifier: GPL-2.0
/*
 * Test /sys/devices/system/cpu/kthread_cpus: what it takes and refuses, and
 * that the kernel's work is on the CPUs written to it afterwards, also when
 * CPUs go away and come back and when others are isolated.
 *
 * All that is changed is put back at the end, whatever ends the test.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest.h"

#define CPUS		"/sys/devices/system/cpu"
#define KTHREAD_CPUS	CPUS "/kthread_cpus"
#define WORKQUEUES	"/sys/devices/virtual/workqueue"
#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"

#define KTHREADD	2
#define PF_KTHREAD	0x00200000
#define PF_NO_SETAFFINITY 0x04000000

#define MAX_CPUS	8192
#define TEXT_SIZE	(8 * MAX_CPUS)
/* No helper takes as long as this, in units of 10 ms. */
#define HELPER_TRIES	3000

/* Larger than the C library's, which has 1024 CPUs. */
struct cpus {
	unsigned long bits[MAX_CPUS / (8 * sizeof(long))];
};

enum class {
	KTHREAD = 1,
	WQ = 2,
	UMH = 4,
};

static struct cpus possible, housekeeping, none;

/* The first four housekeeping CPUs that are online; the first is the boot CPU if it is. */
static int cpu[4];
static unsigned int classes;

/* --- masks ----------------------------------------------------------------- */

#define LONG_BITS (8 * sizeof(long))

static void set_cpu(struct cpus *cpus, unsigned int number)
{
	if (number < MAX_CPUS)
		cpus->bits[number / LONG_BITS] |= 1UL << number % LONG_BITS;
}

static bool has_cpu(const struct cpus *cpus, unsigned int number)
{
	return number < MAX_CPUS && cpus->bits[number / LONG_BITS] >> number % LONG_BITS & 1;
}

static struct cpus both(struct cpus one, const struct cpus *other)
{
	for (size_t i = 0; i < ARRAY_SIZE(one.bits); i++)
		one.bits[i] &= other->bits[i];
	return one;
}

static struct cpus without(struct cpus one, const struct cpus *other)
{
	for (size_t i = 0; i < ARRAY_SIZE(one.bits); i++)
		one.bits[i] &= ~other->bits[i];
	return one;
}

static bool equal(const struct cpus *one, const struct cpus *other)
{
	return !memcmp(one, other, sizeof(*one));
}

static bool empty(const struct cpus *cpus)
{
	return equal(cpus, &none);
}

static bool subset(const struct cpus *one, const struct cpus *other)
{
	const struct cpus rest = without(*one, other);

	return empty(&rest);
}

static struct cpus cpu_list(const int *numbers, int count)
{
	struct cpus cpus = {};

	while (count--)
		set_cpu(&cpus, numbers[count]);
	return cpus;
}

#define CPU_LIST(...) cpu_list((const int []){ __VA_ARGS__ }, \
			       sizeof((const int []){ __VA_ARGS__ }) / sizeof(int))

/* What the kernel prints as a list. */
static struct cpus parse_list(const char *text)
{
	struct cpus cpus = {};

	while (*text >= '0' && *text <= '9') {
		char *end;
		unsigned long first = strtoul(text, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (; first <= last && first < MAX_CPUS; first++)
			set_cpu(&cpus, first);
		text = *end == ',' ? end + 1 : end;
	}
	return cpus;
}

/* What the kernel prints as a mask: the last hexadecimal digit has CPU 0. */
static struct cpus parse_mask(const char *text)
{
	struct cpus cpus = {};
	unsigned int number = 0;
	const char *at = text + strcspn(text, "\n");

	while (at-- > text) {
		const char digit[] = { *at, '\0' };
		unsigned int value;

		if (*at == ',')
			continue;
		value = strtoul(digit, NULL, 16);
		for (int bit = 0; bit < 4; bit++)
			if (value >> bit & 1)
				set_cpu(&cpus, number + bit);
		number += 4;
	}
	return cpus;
}

static char *print_list(const struct cpus *cpus)
{
	static char texts[4][TEXT_SIZE];
	static int turn;
	char *text = texts[turn++ % 4], *at = text;

	*at = '\0';
	for (unsigned int number = 0; number < MAX_CPUS; number++)
		if (has_cpu(cpus, number))
			at += sprintf(at, "%s%u", at == text ? "" : ",", number);
	return text;
}

static char *print_mask(const struct cpus *cpus)
{
	static char text[MAX_CPUS / 4 + MAX_CPUS / 32];
	char *at = text;

	for (int word = MAX_CPUS / 32 - 1; word >= 0; word--) {
		const unsigned int bits = cpus->bits[word * 32 / LONG_BITS] >>
					  word * 32 % LONG_BITS;

		if (bits || at != text || !word)
			at += sprintf(at, "%s%08x", at == text ? "" : ",", bits);
	}
	return text;
}

/* --- files ----------------------------------------------------------------- */

static bool read_text(const char *path, char *text, size_t size)
{
	ssize_t got = -1, length = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		while (length < (ssize_t)size - 1 &&
		       (got = read(fd, text + length, size - 1 - length)) > 0)
			length += got;
		close(fd);
	}
	text[length] = '\0';
	return fd >= 0 && got >= 0;
}

/* Returns 0 or an errno. All is written at once. */
static int write_text(const char *path, const char *text)
{
	int error = 0, fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) < 0)
		error = errno;
	close(fd);
	return error;
}

static struct cpus read_list(const char *path)
{
	static char text[TEXT_SIZE];

	read_text(path, text, sizeof(text));
	return parse_list(text);
}

static struct cpus read_mask(const char *path)
{
	static char text[TEXT_SIZE];

	read_text(path, text, sizeof(text));
	return parse_mask(text);
}

static int set_kthread_cpus(const struct cpus *cpus)
{
	return write_text(KTHREAD_CPUS, print_list(cpus));
}

static int set_online(int number, bool online)
{
	char path[64];

	snprintf(path, sizeof(path), CPUS "/cpu%d/online", number);
	return write_text(path, online ? "1" : "0");
}

/* --- what is put back ------------------------------------------------------ */

static struct {
	pid_t pid;
	char kthread_cpus[TEXT_SIZE], requested[TEXT_SIZE], core_pattern[256];
	char directory[64], cgroup[PATH_MAX], told[80];
	bool mounted, placed;
} before;

static int write_cgroup(const char *file, const char *text)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", before.cgroup, file);
	return write_text(path, text);
}

static void place_thread(pid_t pid, const struct cpus *cpus)
{
	sched_setaffinity(pid, sizeof(*cpus), (const cpu_set_t *)cpus);
}

static void put_back_cgroup(void)
{
	if (*before.cgroup) {
		write_cgroup("cpuset.cpus.partition", "member");
		rmdir(before.cgroup);
		*before.cgroup = '\0';
	}
	if (before.mounted)
		umount(before.directory);
	before.mounted = false;
}

/* Called once, at the end, in the test itself and not in its children. */
static void put_back(void)
{
	if (getpid() != before.pid)
		return;
	before.pid = 0;
	for (int i = 0; i < 4; i++)
		set_online(cpu[i], true);
	put_back_cgroup();
	if (*before.told)
		unlink(before.told);
	if (*before.directory)
		rmdir(before.directory);
	if (before.placed)
		place_thread(KTHREADD, &possible);
	if (*before.core_pattern)
		write_text(CORE_PATTERN, before.core_pattern);
	if (*before.requested)
		write_text(WORKQUEUES "/cpumask", before.requested);
	if (*before.kthread_cpus)
		write_text(KTHREAD_CPUS, before.kthread_cpus);
}

static void end_by_signal(int number)
{
	put_back();
	signal(number, SIG_DFL);
	raise(number);
}

static void remember(void)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGTERM, SIGALRM, SIGPIPE };

	if (!read_text(KTHREAD_CPUS, before.kthread_cpus, sizeof(before.kthread_cpus)))
		ksft_exit_fail_msg("cannot read " KTHREAD_CPUS ": %s\n", strerror(errno));
	read_text(WORKQUEUES "/cpumask_requested", before.requested, sizeof(before.requested));
	before.pid = getpid();
	atexit(put_back);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		signal(signals[i], end_by_signal);
}

/* For a mount, and for the file that a helper leaves; removed at the end. */
static const char *own_directory(void)
{
	if (!*before.directory) {
		char template[] = "/tmp/kthread_cpus.XXXXXX";

		if (!mkdtemp(template))
			return NULL;
		strcpy(before.directory, template);
	}
	return before.directory;
}

/* --- kernel threads -------------------------------------------------------- */

struct thread {
	pid_t pid;
	unsigned int flags;
	struct cpus allowed;
	char name[64];
};

static bool read_stat(pid_t pid, unsigned int *flags)
{
	char path[64], text[1024], *end;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (!read_text(path, text, sizeof(text)))
		return false;
	/* The name is in parentheses and may have some itself. */
	end = strrchr(text, ')');
	return end && sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %u", flags) == 1;
}

/* False for what is not a kernel thread, has just gone, or is being bound right now. */
static bool read_thread(pid_t pid, struct thread *thread)
{
	static char text[2 * TEXT_SIZE];
	unsigned int flags;
	char path[64], *at;

	thread->pid = pid;
	if (!read_stat(pid, &thread->flags) || !(thread->flags & PF_KTHREAD))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (!read_text(path, text, sizeof(text)))
		return false;
	at = strstr(text, "Cpus_allowed_list:");
	if (!at || sscanf(text, "Name: %63[^\n]", thread->name) != 1)
		return false;
	thread->allowed = parse_list(at + strcspn(at, "\t") + 1);
	thread->allowed = both(thread->allowed, &possible);
	return read_stat(pid, &flags) && !((flags ^ thread->flags) & PF_NO_SETAFFINITY);
}

static bool is_worker(const struct thread *thread)
{
	return !strncmp(thread->name, "kworker/u", 9) || !strncmp(thread->name, "kworker/R", 9);
}

/* Calls @check for all kernel threads; returns how often it was false. */
static int each_thread(bool (*check)(const struct thread *thread, const struct cpus *cpus),
		       const struct cpus *cpus)
{
	DIR *proc = opendir("/proc");
	struct thread thread;
	struct dirent *entry;
	int wrong = 0;

	while (proc && (entry = readdir(proc))) {
		const pid_t pid = atoi(entry->d_name);

		if (pid <= 0 || !read_thread(pid, &thread) || check(&thread, cpus))
			continue;
		ksft_print_msg("%s (%d) may run on %s, outside %s\n", thread.name, pid,
			       print_list(&thread.allowed), print_list(cpus));
		wrong++;
	}
	if (!proc || closedir(proc))
		wrong++;
	return wrong;
}

static bool managed_is_inside(const struct thread *thread, const struct cpus *cpus)
{
	return thread->flags & PF_NO_SETAFFINITY || subset(&thread->allowed, cpus);
}

static bool worker_is_inside(const struct thread *thread, const struct cpus *cpus)
{
	return !is_worker(thread) || subset(&thread->allowed, cpus);
}

/* kthreadd has no preference, so it has all CPUs that there are for it. */
static bool kthreads_have(const struct cpus *cpus)
{
	struct thread kthreadd;

	if (!(classes & KTHREAD))
		return true;
	if (!read_thread(KTHREADD, &kthreadd) || !equal(&kthreadd.allowed, cpus)) {
		ksft_print_msg("kthreadd may run on %s, not %s\n",
			       print_list(&kthreadd.allowed), print_list(cpus));
		return false;
	}
	return !each_thread(managed_is_inside, cpus);
}

static bool workqueues_have(const struct cpus *cpus)
{
	struct cpus now = read_mask(WORKQUEUES "/cpumask");

	if (!(classes & WQ))
		return true;
	now = both(now, &possible);
	if (!equal(&now, cpus)) {
		ksft_print_msg("unbound workqueues use %s, not %s\n", print_list(&now),
			       print_list(cpus));
		return false;
	}
	return !each_thread(worker_is_inside, cpus);
}

static bool work_is_on(const struct cpus *cpus)
{
	/* Both are looked at, for what they say. */
	const bool kthreads = kthreads_have(cpus);

	return workqueues_have(cpus) && kthreads;
}

/* Bound threads other than those of unbound workqueues, which have a mask of their own. */
static struct thread *bound_threads(int *count)
{
	struct thread *threads = NULL, thread;
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	*count = 0;
	while (proc && (entry = readdir(proc))) {
		const pid_t pid = atoi(entry->d_name);

		/* Interrupt threads follow their interrupts, kworkers come and go. */
		if (pid <= 0 || !read_thread(pid, &thread) ||
		    !(thread.flags & PF_NO_SETAFFINITY) || is_worker(&thread) ||
		    !strncmp(thread.name, "irq/", 4))
			continue;
		threads = realloc(threads, (*count + 1) * sizeof(thread));
		if (!threads)
			ksft_exit_fail_msg("out of memory\n");
		threads[(*count)++] = thread;
	}
	if (proc)
		closedir(proc);
	return threads;
}

/* --- tests ----------------------------------------------------------------- */

static void test_read(void)
{
	const struct cpus now = read_list(KTHREAD_CPUS);

	ksft_test_result(!empty(&now) && subset(&now, &possible),
			 "reading gives a list of possible CPUs\n");
}

/* @1 and @2 stand for CPUs that can be used. */
static void put_in_cpus(const char *pattern, char *text, size_t size)
{
	char *at = text;

	for (; *pattern && at < text + size - 16; pattern++) {
		if (*pattern == '@')
			at += sprintf(at, "%d", cpu[*++pattern - '0']);
		else
			*at++ = *pattern;
	}
	*at = '\0';
}

static void test_accepted(void)
{
	const struct cpus one = CPU_LIST(cpu[1]), two = CPU_LIST(cpu[1], cpu[2]);
	const struct {
		const char *text;
		const struct cpus *cpus;
	} cases[] = {
		{ "@1", &one }, { "@1\n", &one }, { "@1,@2\n", &two }, { "@2,@1", &two },
		{ "@1-@1", &one }, { " @1 , @2\t\n", &two }, { "@1 @2", &two },
		{ ",,@1,,", &one }, { "@1,@1,@1", &one }, { "@1-@1:1/1", &one },
		{ "@1,@2-@2:1/2", &two }, { "00@1", &one },
		{ "all", &possible }, { "ALL\n", &possible }, { "0-N", &possible },
	};
	char text[64];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cpus now;
		int error;

		put_in_cpus(cases[i].text, text, sizeof(text));
		error = write_text(KTHREAD_CPUS, text);
		now = read_list(KTHREAD_CPUS);
		if (error || !equal(&now, cases[i].cpus))
			ksft_print_msg("error %d, and then it is %s\n", error, print_list(&now));
		text[strcspn(text, "\n")] = '\0';
		ksft_test_result(!error && equal(&now, cases[i].cpus), "accepts \"%s\"\n", text);
	}
}

#define ACCEPTED 15

static void test_refused(void)
{
	const struct cpus two = CPU_LIST(cpu[1], cpu[2]);
	static char page[65536];
	const struct {
		const char *text;
		int error;
	} cases[] = {
		{ "\n", EINVAL }, { " ", EINVAL }, { ",", EINVAL }, { "x", EINVAL },
		{ "@1-", EINVAL }, { "-@1", EINVAL }, { "@2-@1", EINVAL }, { "@1,x", EINVAL },
		{ "@1-@2:2/1", EINVAL }, { "@1-@2:1/0", EINVAL }, { "@1-@2:1", EINVAL },
		{ "kthread,@1", EINVAL }, { "0x1", EINVAL }, { "@1;@2", EINVAL },
		{ "999999", ERANGE }, { "@1-999999", ERANGE },
		{ "4294967296", EOVERFLOW }, { "@1,99999999999999999999", EOVERFLOW },
		/* A page or more, whatever the size of a page. */
		{ page, E2BIG },
	};
	char text[64];

	set_kthread_cpus(&two);
	memset(page, ' ', sizeof(page) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const bool is_page = cases[i].text == page;
		const char *shown = is_page ? "a page of spaces" : text;
		struct cpus now;
		int error;

		put_in_cpus(is_page ? "" : cases[i].text, text, sizeof(text));
		error = write_text(KTHREAD_CPUS, is_page ? page : text);
		now = read_list(KTHREAD_CPUS);
		if (error != cases[i].error || !equal(&now, &two))
			ksft_print_msg("error %d, not %d, and then it is %s\n", error,
				       cases[i].error, print_list(&now));
		text[strcspn(text, "\n")] = '\0';
		ksft_test_result(error == cases[i].error && equal(&now, &two),
				 "refuses \"%s\" (%s)\n", shown,
				 strerror(cases[i].error));
	}
	ksft_test_result(work_is_on(&two), "what was refused has changed nothing\n");
}

#define REFUSED 20

static void test_masks(void)
{
	const struct cpus masks[] = {
		CPU_LIST(cpu[1]), CPU_LIST(cpu[1], cpu[2]), CPU_LIST(cpu[3]),
		CPU_LIST(cpu[0], cpu[3]), CPU_LIST(cpu[0], cpu[1], cpu[2], cpu[3]),
	};

	for (size_t i = 0; i < ARRAY_SIZE(masks); i++)
		ksft_test_result(!set_kthread_cpus(&masks[i]) && work_is_on(&masks[i]),
				 "work is on CPUs %s\n", print_list(&masks[i]));
}

#define MASKS 5

static void test_isolated_at_boot(void)
{
	const struct cpus isolated = without(possible, &housekeeping);
	struct cpus cpus = CPU_LIST(cpu[1]);
	const struct cpus inside = cpus;
	int other = 0;

	while (other < MAX_CPUS && !has_cpu(&isolated, other))
		other++;
	if (other == MAX_CPUS) {
		ksft_test_result_skip("work is not on isolated CPUs (there is none)\n");
		return;
	}
	set_cpu(&cpus, other);
	ksft_test_result(!set_kthread_cpus(&cpus) && work_is_on(&inside) &&
			 set_kthread_cpus(&isolated) == EINVAL,
			 "work is not on isolated CPUs\n");
}

static void test_bound(void)
{
	const struct cpus one = CPU_LIST(cpu[1]), other = CPU_LIST(cpu[2]);
	int count, wrong = 0, seen = 0;
	struct thread *threads, now;

	set_kthread_cpus(&one);
	threads = bound_threads(&count);
	set_kthread_cpus(&other);
	for (int i = 0; i < count; i++) {
		if (!read_thread(threads[i].pid, &now) || strcmp(now.name, threads[i].name))
			continue;
		seen++;
		if (!equal(&now.allowed, &threads[i].allowed)) {
			ksft_print_msg("%s was moved from %s to %s\n", now.name,
				       print_list(&threads[i].allowed), print_list(&now.allowed));
			wrong++;
		}
	}
	free(threads);
	ksft_test_result(seen && !wrong, "bound threads stay where they are\n");
}

static void test_not_confined(void)
{
	static const char irq[] = "/proc/irq/default_smp_affinity";
	const struct cpus one = CPU_LIST(cpu[1]), other = CPU_LIST(cpu[2]);
	struct cpus init[2] = {}, irqs[2];

	set_kthread_cpus(&one);
	for (int i = 0; i < 2; i++) {
		sched_getaffinity(1, sizeof(init[i]), (cpu_set_t *)&init[i]);
		irqs[i] = read_mask(irq);
		set_kthread_cpus(&other);
	}
	ksft_test_result(!empty(&init[0]) && equal(&init[0], &init[1]),
			 "PID 1 stays where it is\n");
	if (access(irq, R_OK))
		ksft_test_result_skip("interrupts stay where they are (no %s)\n", irq);
	else
		ksft_test_result(equal(&irqs[0], &irqs[1]), "interrupts stay where they are\n");
}

static void test_hotplug(void)
{
	const struct cpus two = CPU_LIST(cpu[1], cpu[2]), one = CPU_LIST(cpu[1]);
	int error;

	set_kthread_cpus(&two);
	error = set_online(cpu[1], false);
	if (error) {
		for (int i = 0; i < 5; i++)
			ksft_test_result_skip("CPU %d cannot be switched off: %s\n", cpu[1],
					      strerror(error));
		return;
	}
	ksft_test_result(work_is_on(&two), "one of two CPUs goes\n");
	ksft_test_result(set_kthread_cpus(&one) == EINVAL && work_is_on(&two),
			 "a CPU that is offline is refused\n");
	ksft_test_result(!set_online(cpu[2], false) && work_is_on(&housekeeping),
			 "both CPUs go, and work falls back\n");
	ksft_test_result(!set_online(cpu[2], true) && work_is_on(&two),
			 "one of them comes, and work returns\n");
	ksft_test_result(!set_online(cpu[1], true) && work_is_on(&two), "the other one comes\n");
}

#define HOTPLUG 5

static void test_workqueue_mask(void)
{
	const struct cpus two = CPU_LIST(cpu[1], cpu[2]), one = CPU_LIST(cpu[1]);
	const struct cpus wide = CPU_LIST(cpu[0], cpu[1]), other = CPU_LIST(cpu[3]);
	static const char mask[] = WORKQUEUES "/cpumask";
	struct cpus now;

	if (access(mask, W_OK) || !(classes & WQ)) {
		for (int i = 0; i < 4; i++)
			ksft_test_result_skip("workqueues are not confined\n");
		return;
	}
	set_kthread_cpus(&two);
	ksft_test_result(!write_text(mask, print_mask(&wide)) && workqueues_have(&one),
			 "the mask of workqueues confines them further\n");
	ksft_test_result(!write_text(mask, print_mask(&other)) && workqueues_have(&two),
			 "the mask of workqueues cannot lead them outside\n");
	ksft_test_result(!set_kthread_cpus(&other) && workqueues_have(&other),
			 "it counts once it can be obeyed\n");
	now = read_mask(WORKQUEUES "/cpumask_requested");
	ksft_test_result(equal(&now, &other), "and is told as it was requested\n");
	if (write_text(mask, before.requested))
		ksft_exit_fail_msg("cannot write %s back: %s\n", mask, strerror(errno));
}

#define WORKQUEUE_MASK 4

/* The root of cgroup v2 with the cpuset controller: the one in use, or our own. */
static const char *cgroup_root(void)
{
	static const char *const roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	char path[128], text[1024];

	for (size_t i = 0; i <= ARRAY_SIZE(roots); i++) {
		const char *root;

		if (i < ARRAY_SIZE(roots)) {
			root = roots[i];
		} else {
			root = own_directory();
			if (!root || mount("none", root, "cgroup2", 0, NULL))
				return NULL;
			before.mounted = true;
		}
		snprintf(path, sizeof(path), "%s/cgroup.controllers", root);
		if (!read_text(path, text, sizeof(text)) || !strstr(text, "cpuset"))
			continue;
		snprintf(path, sizeof(path), "%s/cgroup.subtree_control", root);
		return write_text(path, "+cpuset") ? NULL : root;
	}
	return NULL;
}

static void test_partition(void)
{
	const struct cpus two = CPU_LIST(cpu[1], cpu[2]), one = CPU_LIST(cpu[1]);
	const struct cpus taken = CPU_LIST(cpu[2]), rest = without(housekeeping, &two);
	const char *root = cgroup_root();
	char state[64] = "", path[PATH_MAX + 32];

	set_kthread_cpus(&two);
	if (root) {
		snprintf(before.cgroup, sizeof(before.cgroup), "%s/kthread_cpus.%d", root,
			 getpid());
		mkdir(before.cgroup, 0755);
		write_cgroup("cpuset.cpus", print_list(&taken));
		write_cgroup("cpuset.cpus.partition", "isolated");
		snprintf(path, sizeof(path), "%s/cpuset.cpus.partition", before.cgroup);
		read_text(path, state, sizeof(state));
	}
	if (strcmp(state, "isolated\n")) {
		for (int i = 0; i < 4; i++)
			ksft_test_result_skip("no CPU can be isolated\n");
		put_back_cgroup();
		return;
	}
	ksft_test_result(work_is_on(&one), "work leaves a CPU that is isolated\n");
	ksft_test_result(set_kthread_cpus(&taken) == EINVAL, "an isolated CPU is refused\n");
	ksft_test_result(!write_cgroup("cpuset.cpus", print_list(&two)) && work_is_on(&rest),
			 "all CPUs are isolated, and work falls back\n");
	ksft_test_result(!write_cgroup("cpuset.cpus.partition", "member") && work_is_on(&two),
			 "they are isolated no longer, and work returns\n");
	put_back_cgroup();
}

#define PARTITION 4

static void test_placed(void)
{
	const struct cpus two = CPU_LIST(cpu[1], cpu[2]), one = CPU_LIST(cpu[1]);
	const struct cpus other = CPU_LIST(cpu[2], cpu[3]), outside = CPU_LIST(cpu[0], cpu[3]);
	struct thread kthreadd = {};
	int error;

	if (!(classes & KTHREAD)) {
		for (int i = 0; i < 4; i++)
			ksft_test_result_skip("kernel threads are not confined\n");
		return;
	}
	set_kthread_cpus(&two);
	before.placed = true;
	error = sched_setaffinity(KTHREADD, sizeof(one), (const cpu_set_t *)&one) ? errno : 0;
	read_thread(KTHREADD, &kthreadd);
	ksft_test_result(!error && equal(&kthreadd.allowed, &one), "a thread can be placed\n");
	error = sched_setaffinity(KTHREADD, sizeof(outside), (const cpu_set_t *)&outside) ?
			errno : 0;
	read_thread(KTHREADD, &kthreadd);
	ksft_test_result(error == EINVAL && equal(&kthreadd.allowed, &one),
			 "a thread cannot be placed outside\n");
	set_kthread_cpus(&other);
	read_thread(KTHREADD, &kthreadd);
	ksft_test_result(equal(&kthreadd.allowed, &other), "it moves if it must\n");
	set_kthread_cpus(&two);
	read_thread(KTHREADD, &kthreadd);
	ksft_test_result(equal(&kthreadd.allowed, &one), "and is where it was placed after that\n");
	place_thread(KTHREADD, &possible);
	before.placed = false;
}

#define PLACED 4

/* This program as the helper that gets a core dump: says where it may run. */
static int be_helper(const char *path)
{
	struct cpus allowed = {};
	char draft[PATH_MAX], buffer[4096];
	FILE *file;

	sched_getaffinity(0, sizeof(allowed), (cpu_set_t *)&allowed);
	snprintf(draft, sizeof(draft), "%s.new", path);
	file = fopen(draft, "w");
	if (!file)
		return 1;
	fprintf(file, "%s\n", print_list(&allowed));
	fclose(file);
	rename(draft, path);
	/* A dump that nobody reads to its end is reported as failed. */
	while (read(STDIN_FILENO, buffer, sizeof(buffer)) > 0)
		;
	return 0;
}

static bool helper_told(struct cpus *allowed)
{
	const pid_t child = fork();

	if (!child) {
		/* Otherwise there is no dump. */
		prctl(PR_SET_DUMPABLE, 1);
		signal(SIGSEGV, SIG_DFL);
		raise(SIGSEGV);
		_exit(1);
	}
	if (child < 0 || waitpid(child, NULL, 0) != child)
		return false;
	for (int tries = 0; tries < HELPER_TRIES; tries++) {
		if (!access(before.told, R_OK)) {
			*allowed = read_list(before.told);
			unlink(before.told);
			return true;
		}
		usleep(10000);
	}
	return false;
}

static void test_helper(void)
{
	const struct cpus masks[] = { CPU_LIST(cpu[1]), CPU_LIST(cpu[2], cpu[3]) };
	const char *directory = own_directory();
	char program[PATH_MAX], pattern[PATH_MAX + 256];
	const ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
	struct cpus allowed = {};

	program[length > 0 ? length : 0] = '\0';
	snprintf(before.told, sizeof(before.told), "%s/told", directory ?: "");
	/* The kernel takes no more than 127 bytes. */
	if (snprintf(pattern, sizeof(pattern), "|%s --helper %s", program, before.told) >= 128 ||
	    !directory || length <= 0 || strchr(program, ' ') || !(classes & UMH) ||
	    !read_text(CORE_PATTERN, before.core_pattern, sizeof(before.core_pattern)) ||
	    write_text(CORE_PATTERN, pattern)) {
		for (size_t i = 0; i < ARRAY_SIZE(masks); i++)
			ksft_test_result_skip("no usermode helper can be had\n");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(masks); i++) {
		const int error = set_kthread_cpus(&masks[i]);
		const bool told = helper_told(&allowed);

		if (!equal(&allowed, &masks[i]))
			ksft_print_msg("%s: %s\n", told ? "it may run on" : "it has not run",
				       print_list(&allowed));
		ksft_test_result(!error && told && equal(&allowed, &masks[i]),
				 "a usermode helper is on CPUs %s\n", print_list(&masks[i]));
	}
	write_text(CORE_PATTERN, before.core_pattern);
	*before.core_pattern = '\0';
}

#define HELPER 2

/* --- what there is --------------------------------------------------------- */

/* The boot option may have named what is confined; then the others are not. */
static unsigned int confined_classes(void)
{
	static char line[65536];
	char *at = NULL, *next = line;
	unsigned int named = 0;
	bool flags = false;

	if (!read_text("/proc/cmdline", line, sizeof(line)))
		return KTHREAD | WQ | UMH;
	/* The last one counts. */
	while ((next = strstr(next, "kthread_cpus="))) {
		next += strlen("kthread_cpus=");
		at = next;
	}
	while (at) {
		const size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyz");

		if (!strncmp(at, "kthread", length) && length == 7)
			named |= KTHREAD;
		else if (!strncmp(at, "wq", length) && length == 2)
			named |= WQ;
		else if (!strncmp(at, "umh", length) && length == 3)
			named |= UMH;
		else if (!((!strncmp(at, "init", length) && length == 4) ||
			   (!strncmp(at, "irq", length) && length == 3)))
			break;
		flags = true;
		at = at[length] == ',' ? at + length + 1 : NULL;
	}
	return flags ? named : KTHREAD | WQ | UMH;
}

static void find_cpus(void)
{
	struct cpus online = read_list(CPUS "/online"), isolated = read_list(CPUS "/isolated");
	int found = 0;

	possible = read_list(CPUS "/possible");
	housekeeping = without(possible, &isolated);
	/* The file above does not have those of cpusets. */
	isolated = read_list("/sys/fs/cgroup/cpuset.cpus.isolated");
	housekeeping = without(housekeeping, &isolated);
	online = both(online, &housekeeping);
	for (int number = 0; number < MAX_CPUS && found < 4; number++)
		if (has_cpu(&online, number))
			cpu[found++] = number;
	if (found < 4)
		ksft_exit_skip("needs 4 CPUs that are online and not isolated, not %d\n", found);
}

int main(int argc, char **argv)
{
	int error;

	if (argc == 3 && !strcmp(argv[1], "--helper"))
		return be_helper(argv[2]);

	ksft_print_header();
	if (geteuid())
		ksft_exit_skip("needs root\n");
	if (access(KTHREAD_CPUS, F_OK))
		ksft_exit_skip("the kernel has no " KTHREAD_CPUS "\n");
	find_cpus();
	classes = confined_classes();
	remember();
	error = write_text(KTHREAD_CPUS, "all");
	if (error == EOPNOTSUPP)
		ksft_exit_skip("the boot option allows no change\n");
	if (error)
		ksft_exit_fail_msg("cannot write " KTHREAD_CPUS ": %s\n", strerror(error));
	/* Whatever an administrator has asked for in addition. */
	if (classes & WQ)
		write_text(WORKQUEUES "/cpumask", print_mask(&possible));

	ksft_set_plan(1 + ACCEPTED + REFUSED + MASKS + 1 + 1 + 2 + HOTPLUG + WORKQUEUE_MASK +
		      PARTITION + PLACED + HELPER);
	test_read();
	test_accepted();
	test_refused();
	test_masks();
	test_isolated_at_boot();
	test_bound();
	test_not_confined();
	test_hotplug();
	test_workqueue_mask();
	test_partition();
	test_placed();
	test_helper();
	ksft_finished();
}
