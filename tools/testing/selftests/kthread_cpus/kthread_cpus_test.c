// SPDX-License-Identifier: GPL-2.0
/*
 * Test /sys/devices/system/cpu/kthread_cpus: what it takes and refuses, and
 * that the kernel's work is on the CPUs written to it afterwards, also when
 * CPUs go away and come back and when others are isolated.
 *
 * The fallback can't be seen unless a CPU is taken offline. It is no more than
 * one, as in the limited mode of the cpu-hotplug tests, so that this can be among
 * those run by default. All that is changed is put back, whatever ends the test.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <mntent.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "kselftest_harness.h"

/* For guests that are emulated, with all debugging in the kernel. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 120

#define CPUS		"/sys/devices/system/cpu"
#define KTHREAD_CPUS	CPUS "/kthread_cpus"
#define CLASSES		CPUS "/kthread_cpus_classes"
#define WQ_MASK		"/sys/devices/virtual/workqueue/cpumask"
#define MODPROBE	"/proc/sys/kernel/modprobe"
/* In the working directory, which is the root of cgroup2. */
#define CONTROLLERS	"cgroup.subtree_control"
#define GROUP		"kthread_cpus_test"
#define PARTITION	GROUP "/cpuset.cpus.partition"
#define PF_KTHREAD	0x00200000
#define PF_NO_SETAFFINITY 0x04000000

#define set_list(list)	 write_text(KTHREAD_CPUS, list)
#define set_online(text) write_text(CPUS "/cpu1/online", text)

/* More CPUs than a cpu_set_t has, and the longest list of them. */
struct cpus {
	cpu_set_t sets[8];
};

#define SIZE		sizeof(struct cpus)
#define MAX_CPUS	(8 * (int)SIZE)
#define TEXT_SIZE	(5 * MAX_CPUS)

#define equal(one, other)	CPU_EQUAL_S(SIZE, (one)->sets, (other)->sets)
#define and(to, one, other)	CPU_AND_S(SIZE, (to)->sets, (one)->sets, (other)->sets)

static struct cpus housekeeping;
/* What can be confined, and what is while the list has all CPUs. */
static char classes[64], free_classes[64];
/* A kernel thread that nobody has placed and that has no preference. */
static pid_t probe;
/* This program, as a usermode helper, and the file that it leaves. */
static char helper[32], told[32];
/* What there was before, and the process that puts it back if we can't. */
static char old_list[TEXT_SIZE], old_classes[64], old_mask[TEXT_SIZE], old_modprobe[256];
static bool had_cpusets;
static pid_t guard;

/* What the kernel prints as a list; or "H", the housekeeping CPUs. */
static struct cpus parse(const char *list)
{
	struct cpus cpus = {};
	char *end;

	if (*list == 'H')
		return housekeeping;
	for (; *list >= '0' && *list <= '9'; list = *end ? end + 1 : end) {
		int first = strtoul(list, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (; first <= last && first < MAX_CPUS; first++)
			CPU_SET_S(first, SIZE, cpus.sets);
	}
	return cpus;
}

/* Returns a mask of as many digits as the kernel prints, the last of which has CPU 0. */
static char *mask_of(const char *list)
{
	const struct cpus cpus = parse(list);
	static char text[TEXT_SIZE];
	int number = 0;

	strcpy(text, old_mask);
	for (char *at = text + strcspn(text, "\n"); at-- > text;) {
		int digit = 0;

		for (int bit = 0; *at != ',' && bit < 4; bit++)
			digit |= !!CPU_ISSET_S(number++, SIZE, cpus.sets) << bit;
		*at = *at == ',' ? ',' : "0123456789abcdef"[digit];
	}
	return text;
}

static bool read_text(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");

	text[file ? fread(text, 1, size - 1, file) : 0] = '\0';
	return file && !fclose(file);
}

/* Returns 0 or an errno. All is written at once. */
static int write_text(const char *path, const char *text)
{
	const int fd = open(path, O_WRONLY | O_CLOEXEC);
	const int error = fd < 0 || write(fd, text, strlen(text)) < 0 ? errno : 0;

	close(fd);
	return error;
}

static struct cpus read_list(const char *path)
{
	static char text[TEXT_SIZE];

	read_text(path, text, sizeof(text));
	return parse(text);
}

static bool has_text(const char *path, const char *expected)
{
	char text[TEXT_SIZE];

	if (read_text(path, text, sizeof(text)) && !strcmp(text, expected))
		return true;
	/* All end with a newline. */
	ksft_print_msg("%s has %s# instead of %s", path, text, expected);
	return false;
}

static int place_probe(const char *list)
{
	return sched_setaffinity(probe, SIZE, parse(list).sets) ? errno : 0;
}

/* Returns whether all is as it was. */
static bool put_back(void)
{
	set_online("1");
	write_text(PARTITION, "member");
	rmdir(GROUP);
	if (!had_cpusets)
		write_text(CONTROLLERS, "-cpuset");
	place_probe("0-8191");
	write_text(MODPROBE, old_modprobe);
	unlink(told);
	if (strstr(classes, "wq"))
		write_text(WQ_MASK, old_mask);
	set_list(old_list);
	return has_text(KTHREAD_CPUS, old_list) && has_text(CLASSES, old_classes);
}

struct thread {
	pid_t pid;
	bool is_bound;
	struct cpus allowed;
	char name[64];
};

/* False for what is not a kernel thread, has just gone, or is being bound right now. */
static bool read_thread(pid_t pid, struct thread *thread)
{
	unsigned int flags[2] = {};
	char path[64], text[1024];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	for (int i = 0; i < 2; i++) {
		read_text(path, text, sizeof(text));
		if (sscanf(text, "%*d (%63[^)]) %*c %*d %*d %*d %*d %*d %u", thread->name,
			   &flags[i]) != 2 || !(flags[i] & PF_KTHREAD))
			return false;
		/* As far as they are online. */
		CPU_ZERO_S(SIZE, thread->allowed.sets);
		sched_getaffinity(pid, SIZE, thread->allowed.sets);
	}
	thread->pid = pid;
	thread->is_bound = flags[0] & PF_NO_SETAFFINITY;
	return !((flags[0] ^ flags[1]) & PF_NO_SETAFFINITY);
}

/* Returns all kernel threads, and after them one with PID 0, for free(). */
static struct thread *read_threads(void)
{
	struct thread *threads;
	glob_t tasks = {};
	size_t count = 0;

	glob("/proc/[1-9]*", 0, NULL, &tasks);
	threads = calloc(tasks.gl_pathc + 1, sizeof(*threads));
	if (!threads)
		ksft_exit_fail_msg("out of memory\n");
	for (size_t i = 0; i < tasks.gl_pathc; i++)
		count += read_thread(atoi(tasks.gl_pathv[i] + strlen("/proc/")), &threads[count]);
	threads[count].pid = 0;
	globfree(&tasks);
	return threads;
}

/* Are the threads that are not bound, or else those of unbound workqueues, on these CPUs? */
static bool threads_are_in(bool workers, const char *list)
{
	const struct cpus cpus = parse(list);
	struct thread *threads = read_threads();
	struct cpus common;
	int wrong = 0;

	for (struct thread *thread = threads; thread->pid; thread++) {
		and(&common, &thread->allowed, &cpus);
		if (thread->is_bound != workers || equal(&common, &thread->allowed) ||
		    (workers && strncmp(thread->name, "kworker/u", 9) &&
		     strncmp(thread->name, "kworker/R", 9)))
			continue;
		ksft_print_msg("%s may run outside %s\n", thread->name, list);
		wrong++;
	}
	free(threads);
	return !wrong;
}

static bool probe_is_on(const char *list)
{
	const struct cpus online = read_list(CPUS "/online");
	struct cpus cpus = parse(list);
	struct thread thread;

	and(&cpus, &cpus, &online);
	return read_thread(probe, &thread) && !thread.is_bound && equal(&thread.allowed, &cpus);
}

static bool workqueues_are_on(const char *list)
{
	return has_text(WQ_MASK, mask_of(list)) && threads_are_in(true, list);
}

static bool work_is_on(const char *list)
{
	return (!strstr(classes, "wq") || workqueues_are_on(list)) &&
	       (!strstr(classes, "kthread") ||
		(threads_are_in(false, list) && probe_is_on(list)));
}

FIXTURE(kthread_cpus) {
};

FIXTURE_SETUP(kthread_cpus)
{
	/* The test before this one may have been killed, as it took too long. */
	put_back();
	ASSERT_EQ(0, set_list("all"));
	/* Whatever an administrator has asked for in addition. */
	if (strstr(classes, "wq"))
		ASSERT_EQ(0, write_text(WQ_MASK, mask_of("H")));
}

FIXTURE_TEARDOWN(kthread_cpus)
{
	EXPECT_TRUE(put_back());
}

TEST_F(kthread_cpus, accepted)
{
	static const char *const cases[][2] = {
		{ "1", "1\n" }, { "1\n", "1\n" }, { "1,2\n", "1-2\n" }, { "2,1", "1-2\n" },
		{ "0-1,3", "0-1,3\n" }, { " 1 , 2\t\n", "1-2\n" }, { "1 2", "1-2\n" },
		{ ",,1,,", "1\n" }, { "1,1,1", "1\n" }, { "1-1:1/1", "1\n" }, { "001", "1\n" },
		{ "0-3:1/2", "0,2\n" }, { "0-2:2/3,3", "0-1,3\n" },
	};
	char all[TEXT_SIZE];

	read_text(KTHREAD_CPUS, all, sizeof(all));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		EXPECT_TRUE(!set_list(cases[i][0]) && has_text(KTHREAD_CPUS, cases[i][1]))
			TH_LOG("for \"%s\"", cases[i][0]);
	}
	EXPECT_TRUE(!set_list("ALL\n") && has_text(KTHREAD_CPUS, all));
	EXPECT_TRUE(!set_list("1") && !set_list("0-N") && has_text(KTHREAD_CPUS, all));
}

TEST_F(kthread_cpus, refused)
{
	static const struct {
		const char *list;
		int error;
	} cases[] = {
		{ "\n", EINVAL }, { " ", EINVAL }, { ",", EINVAL }, { "x", EINVAL },
		{ "1-", EINVAL }, { "-1", EINVAL }, { "2-1", EINVAL }, { "1,x", EINVAL },
		{ "1-2:2/1", EINVAL }, { "1-2:1/0", EINVAL }, { "1-2:1", EINVAL },
		{ "kthread,1", EINVAL }, { "0x1", EINVAL }, { "1;2", EINVAL },
		{ "999999", ERANGE }, { "1-999999", ERANGE },
		{ "4294967296", EOVERFLOW }, { "1,99999999999999999999", EOVERFLOW },
	};
	char *page;

	ASSERT_EQ(0, set_list("1,2"));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		EXPECT_EQ(cases[i].error, set_list(cases[i].list))
			TH_LOG("for \"%s\"", cases[i].list);
	}
	ASSERT_LT(0, asprintf(&page, "%*s", (int)sysconf(_SC_PAGESIZE), ""));
	EXPECT_EQ(E2BIG, set_list(page));
	EXPECT_EQ(EINVAL, set_list(page + 1));
	free(page);
	EXPECT_TRUE(has_text(KTHREAD_CPUS, "1-2\n") && work_is_on("1-2"));
}

TEST_F(kthread_cpus, masks)
{
	static const char *const lists[] = { "1", "1-2", "3", "0,3", "0-3" };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		EXPECT_EQ(0, set_list(lists[i]));
		EXPECT_TRUE(work_is_on(lists[i]));
	}
}

/* Without the boot option, all CPUs are the end of it. */
TEST_F(kthread_cpus, end)
{
	ASSERT_EQ(0, set_list("1"));
	EXPECT_STREQ(strcmp(free_classes, "\n") ? free_classes : "kthread,wq,umh\n", classes);
	if (strstr(classes, "kthread"))
		EXPECT_EQ(EINVAL, place_probe("3"));
	ASSERT_EQ(0, set_list("all"));
	EXPECT_TRUE(has_text(CLASSES, free_classes) && work_is_on("H"));
	EXPECT_TRUE(!place_probe("3") && probe_is_on("3"));
}

TEST_F(kthread_cpus, isolated_at_boot)
{
	char list[TEXT_SIZE] = "1,", *isolated = list + strlen(list);

	read_text(CPUS "/isolated", isolated, sizeof(list) - strlen(list));
	if (*isolated == '\n')
		SKIP(return, "no CPU is isolated");
	EXPECT_TRUE(!set_list(list) && work_is_on("1"));
	EXPECT_EQ(EINVAL, set_list(isolated));
}

TEST_F(kthread_cpus, bound)
{
	struct thread *threads, now;
	int seen = 0;

	ASSERT_EQ(0, set_list("1"));
	threads = read_threads();
	ASSERT_EQ(0, set_list("2"));
	for (struct thread *thread = threads; thread->pid; thread++) {
		/* Workers come and go, and interrupt threads follow their interrupts. */
		if (!thread->is_bound || !strncmp(thread->name, "kworker/", 8) ||
		    !strncmp(thread->name, "irq/", 4) || !read_thread(thread->pid, &now))
			continue;
		seen++;
		EXPECT_TRUE(equal(&now.allowed, &thread->allowed))
			TH_LOG("%s was moved", now.name);
	}
	free(threads);
	EXPECT_NE(0, seen);
}

TEST_F(kthread_cpus, not_confined)
{
	struct cpus init[2] = {};
	char irqs[2][TEXT_SIZE];

	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, set_list(i ? "2" : "1"));
		ASSERT_EQ(0, sched_getaffinity(1, SIZE, init[i].sets));
		/* There are machines without this file. */
		read_text("/proc/irq/default_smp_affinity", irqs[i], TEXT_SIZE);
	}
	EXPECT_TRUE(equal(&init[0], &init[1]));
	EXPECT_STREQ(irqs[0], irqs[1]);
}

TEST_F(kthread_cpus, hotplug)
{
	ASSERT_EQ(0, set_list("1-2"));
	if (set_online("0"))
		SKIP(return, "CPU 1 can't be taken offline");
	EXPECT_TRUE(work_is_on("1-2"));
	EXPECT_TRUE(set_list("1") == EINVAL && work_is_on("1-2"));
	EXPECT_TRUE(!set_online("1") && work_is_on("1-2"));
	/* All of the list goes, so that work falls back, and comes. */
	EXPECT_TRUE(!set_list("1") && !set_online("0") && work_is_on("H"));
	/* What was read can be written, although no CPU of it is usable. */
	EXPECT_TRUE(!set_list("1") && work_is_on("H"));
	EXPECT_TRUE(!set_online("1") && work_is_on("1"));
}

TEST_F(kthread_cpus, workqueue_mask)
{
	if (!strstr(classes, "wq"))
		SKIP(return, "workqueues are not confined");
	/* It restricts them further, but can't lead them outside. */
	ASSERT_EQ(0, set_list("1-2"));
	EXPECT_TRUE(!write_text(WQ_MASK, mask_of("0-1")) && workqueues_are_on("1"));
	EXPECT_TRUE(!write_text(WQ_MASK, mask_of("3")) && workqueues_are_on("1-2") &&
		    has_text(WQ_MASK "_requested", mask_of("3")));
	/* It counts once it can be obeyed. */
	EXPECT_TRUE(!set_list("3") && workqueues_are_on("3"));
}

static void find_housekeeping(void)
{
	struct cpus isolated = read_list(CPUS "/isolated");

	/* The former does not have those of partitions. */
	CPU_OR_S(SIZE, isolated.sets, isolated.sets, read_list("cpuset.cpus.isolated").sets);
	CPU_XOR_S(SIZE, housekeeping.sets, read_list(CPUS "/possible").sets, isolated.sets);
}

TEST_F(kthread_cpus, partition)
{
	ASSERT_EQ(0, set_list("1-2"));
	if (write_text(CONTROLLERS, "+cpuset") || mkdir(GROUP, 0755) ||
	    write_text(GROUP "/cpuset.cpus", "2") || write_text(PARTITION, "isolated") ||
	    !has_text(PARTITION, "isolated\n"))
		SKIP(return, "no CPU can be isolated");
	EXPECT_TRUE(work_is_on("1") && set_list("2") == EINVAL);
	/* All CPUs of the list are isolated, so that work falls back, and then none. */
	EXPECT_EQ(0, write_text(GROUP "/cpuset.cpus", "1-2"));
	find_housekeeping();
	EXPECT_TRUE(work_is_on("H"));
	EXPECT_TRUE(!write_text(PARTITION, "member") && work_is_on("1-2"));
}

TEST_F(kthread_cpus, placed)
{
	if (!strstr(classes, "kthread"))
		SKIP(return, "kernel threads are not confined");
	ASSERT_EQ(0, set_list("1-2"));
	EXPECT_TRUE(!place_probe("1") && probe_is_on("1"));
	EXPECT_TRUE(place_probe("0,3") == EINVAL && probe_is_on("1"));
	/* It moves if it must, and comes back. */
	EXPECT_TRUE(!set_list("2-3") && probe_is_on("2-3"));
	EXPECT_TRUE(!set_list("1-2") && probe_is_on("1"));
	/* What is outside is kept for later. */
	EXPECT_TRUE(!place_probe("0-1") && probe_is_on("1"));
	EXPECT_TRUE(!set_list("all") && probe_is_on("0-1"));
}

/* Called as if it was modprobe: leaves where it may run. */
static int be_helper(void)
{
	const int fd = open(told, O_WRONLY | O_CREAT | O_EXCL, 0600);
	struct cpus cpus = {};

	sched_getaffinity(0, SIZE, cpus.sets);
	return write(fd, &cpus, SIZE) < 0;
}

TEST_F(kthread_cpus, helper)
{
	static const char *const lists[] = { "1", "2-3" };
	char seen[SIZE + 1];

	if (!strstr(classes, "umh") || write_text(MODPROBE, helper))
		SKIP(return, "no usermode helper can be had");
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		const struct cpus cpus = parse(lists[i]);

		ASSERT_EQ(0, set_list(lists[i]));
		/* There is no such file system, so that the kernel looks for a module. */
		EXPECT_EQ(-1, mount("none", "/", GROUP, 0, NULL));
		ASSERT_TRUE(read_text(told, seen, sizeof(seen)));
		EXPECT_EQ(0, memcmp(seen, &cpus, SIZE));
		unlink(told);
	}
}

static void find_cgroups(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *entry = NULL;
	char text[1024];

	while (mounts && (entry = getmntent(mounts)) && strcmp(entry->mnt_type, "cgroup2"))
		;
	had_cpusets = chdir(entry ? entry->mnt_dir : "/") ||
		      !read_text(CONTROLLERS, text, sizeof(text)) || strstr(text, "cpuset");
}

/* Returns why the tests can't be run, if so. Has changed nothing then. */
static const char *find_out(void)
{
	struct cpus usable;

	if (!read_text(KTHREAD_CPUS, old_list, sizeof(old_list)))
		return "the kernel has no " KTHREAD_CPUS;
	/* It may be written again at any time. */
	if (set_list(old_list))
		return errno == EOPNOTSUPP ? "the boot option allows no change" :
		       KTHREAD_CPUS " can't be written: needs root, and no container";
	find_cgroups();
	find_housekeeping();
	usable = read_list(CPUS "/online");
	and(&usable, &usable, &housekeeping);
	for (int i = 0; i < 4; i++)
		if (!CPU_ISSET_S(i, SIZE, usable.sets))
			return "needs 4 CPUs, 0 to 3, that are online and not isolated";
	CPU_AND_S(SIZE, usable.sets, usable.sets, parse(old_list).sets);
	if (!CPU_COUNT_S(SIZE, usable.sets))
		return "no CPU of " KTHREAD_CPUS " is usable, so that it could not be put back";

	read_text(CLASSES, old_classes, sizeof(old_classes));
	read_text(WQ_MASK "_requested", old_mask, sizeof(old_mask));
	read_text(MODPROBE, old_modprobe, sizeof(old_modprobe));
	set_list("1");
	read_text(CLASSES, classes, sizeof(classes));
	set_list("all");
	read_text(CLASSES, free_classes, sizeof(free_classes));
	/* Not kthreadd, PID 2, which passes on where it is placed. */
	for (probe = 3; probe < 1000 && !probe_is_on("H");)
		probe++;
	set_list(old_list);
	return probe < 1000 ? NULL : "sees no kernel thread that nobody has placed";
}

static void finish(void)
{
	if (guard > 0)
		kill(guard, SIGKILL);
	put_back();
}

int main(int argc, char **argv)
{
	pid_t pid = getpid();
	/* The name that a helper is called by says whose it is. */
	const bool is_helper = sscanf(argv[0], "/proc/%d/exe", &pid) == 1;
	const char *reason;
	int ends[2];

	snprintf(helper, sizeof(helper), "/proc/%d/exe", pid);
	snprintf(told, sizeof(told), "/tmp/kthread_cpus.%d", pid);
	if (is_helper)
		return be_helper();
	reason = find_out();
	if (reason || pipe(ends)) {
		ksft_print_header();
		ksft_exit_skip("%s\n", reason ?: strerror(errno));
	}
	guard = fork();
	if (!guard) {
		/* Gets nothing, until all others have ended, which have the other end. */
		setsid();
		close(ends[1]);
		return read(ends[0], ends, 1) || !put_back();
	}
	atexit(finish);
	return test_harness_run(argc, argv);
}
