// SPDX-License-Identifier: GPL-2.0
/*
 * Test /sys/devices/system/cpu/kthread_cpus: what it takes and refuses, and that the kernel's
 * work is on the CPUs written to it afterwards, also when CPUs go away and come back and when
 * others are isolated. Timers are left out, as only a trace tells where they expire.
 *
 * The fallback can't be seen unless a CPU is taken offline. It is no more than one, as in the
 * limited mode of the cpu-hotplug tests, so that this can be among those run by default. All
 * that is changed is put back, whatever ends the test.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <mntent.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "kselftest_harness.h"

/* For guests that are emulated, with all debugging in the kernel. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 300

#define CPUS		"/sys/devices/system/cpu"
#define KTHREAD_CPUS	CPUS "/kthread_cpus"
#define CLASSES		CPUS "/kthread_cpus_classes"
#define WQ_MASK		"/sys/devices/virtual/workqueue/cpumask"
#define MODPROBE	"/proc/sys/kernel/modprobe"
/* In the working directory, which is the root of cgroup2. */
#define CONTROLLERS	"cgroup.subtree_control"
#define GROUP		"kthread_cpus_test"
#define PARTITION	GROUP "/cpuset.cpus.partition"
#define PF_EXITING	0x00000004
#define PF_KTHREAD	0x00200000
#define PF_NO_SETAFFINITY 0x04000000
/* The file descriptor by which a usermode helper tells the test where it may run. */
#define TOLD		100
#define HELPER		"/proc/%d/exe"

#define set_list(list)	 write_text(KTHREAD_CPUS, list)
#define set_online(text) write_text(CPUS "/cpu1/online", text)
#define can_confine(class) strstr(found.classes, class)

/* More CPUs than a cpu_set_t has, and the longest list of them. */
struct cpus {
	cpu_set_t sets[8];
};

#define SIZE		sizeof(struct cpus)
#define MAX_CPUS	(8 * (int)SIZE)
#define TEXT_SIZE	(5 * MAX_CPUS)

#define equal(one, other)	CPU_EQUAL_S(SIZE, (one)->sets, (other)->sets)
#define and(to, one, other)	CPU_AND_S(SIZE, (to)->sets, (one)->sets, (other)->sets)

/* The latter is where kernel threads are that nothing confines. */
static struct cpus housekeeping, unconfined;
/* Without the option, it is nohz_full= that keeps them away there, and no partition for long. */
static bool is_before_7_0;
/* What can be confined, and a kernel thread without preference that nobody has placed. */
static struct {
	char classes[64];
	pid_t probe;
} found;
/* What there was before, and the process that puts it back if we can't. */
static char old_list[TEXT_SIZE], old_classes[64], old_mask[TEXT_SIZE], old_modprobe[256];
static bool had_cpusets;
static pid_t guard;

/* What the kernel prints as a list; or "H", the housekeeping CPUs, or "U", those if unconfined. */
static struct cpus parse(const char *list)
{
	struct cpus cpus = {};
	char *end;

	if (*list == 'H')
		return housekeeping;
	if (*list == 'U')
		return unconfined;
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
	/* Most of them end with a newline. */
	ksft_print_msg("%s has %s# instead of %s", path, *text ? text : "nothing\n", expected);
	return false;
}

struct thread {
	bool is_bound;
	struct cpus allowed;
	char name[64];
};

/*
 * False for what is not a kernel thread, or ends, or is of a tracer and places itself, or before
 * 7.0 of an interrupt, which it may follow.
 */
static bool read_thread(pid_t pid, struct thread *thread)
{
	char path[64], text[1024];
	unsigned int flags;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	read_text(path, text, sizeof(text));
	if (sscanf(text, "%*d (%63[^)]) %*c %*d %*d %*d %*d %*d %u", thread->name, &flags) != 2)
		return false;
	thread->is_bound = flags & PF_NO_SETAFFINITY;
	/* As far as they are online. */
	CPU_ZERO_S(SIZE, thread->allowed.sets);
	return (flags & (PF_KTHREAD | PF_EXITING)) == PF_KTHREAD &&
	       sched_getaffinity(pid, SIZE, thread->allowed.sets) >= 0 &&
	       fnmatch("osnoise/*", thread->name, 0) &&
	       fnmatch("timerlat/*", thread->name, 0) && fnmatch("hwlatd*", thread->name, 0) &&
	       (!is_before_7_0 || fnmatch("irq/*", thread->name, 0));
}

/* Are the threads that are not bound, or else the workers of that name, on these CPUs? */
static bool threads_are_in(const char *workers, const char *list)
{
	const struct cpus cpus = parse(list);
	DIR *proc = opendir("/proc");
	struct thread thread;
	struct dirent *entry;
	struct cpus common;
	int tries = 50;

	while (tries && (entry = readdir(proc))) {
		if (!read_thread(atoi(entry->d_name), &thread) || thread.is_bound != !!workers ||
		    (workers && fnmatch(workers, thread.name, 0)))
			continue;
		and(&common, &thread.allowed, &cpus);
		if (equal(&common, &thread.allowed))
			continue;
		/* It may end, have disabled migration or rescue for a CPU. The probe does not. */
		if (!--tries)
			ksft_print_msg("%s may run outside %s\n", thread.name, list);
		usleep(100000);
		rewinddir(proc);
	}
	closedir(proc);
	return tries;
}

static int place_probe(const char *list)
{
	return sched_setaffinity(found.probe, SIZE, parse(list).sets) ? errno : 0;
}

static bool probe_is_on(const char *list)
{
	const struct cpus online = read_list(CPUS "/online");
	struct cpus cpus = parse(list);
	struct thread thread;

	and(&cpus, &cpus, &online);
	return read_thread(found.probe, &thread) && !thread.is_bound &&
	       equal(&thread.allowed, &cpus);
}

/* Returns whether all is as it was. */
static bool put_back(void)
{
	set_online("1");
	write_text(PARTITION, "member");
	rmdir(GROUP);
	if (!had_cpusets)
		write_text(CONTROLLERS, "-cpuset");
	write_text(MODPROBE, old_modprobe);
	/* Unless it is confined, isolated CPUs would be among those of the probe. */
	set_list("0-3");
	if (can_confine("kthread") && !probe_is_on("0-3"))
		place_probe("0-8191");
	write_text(WQ_MASK, old_mask);
	set_list(old_list);
	return has_text(KTHREAD_CPUS, old_list) && has_text(CLASSES, old_classes) &&
	       has_text(WQ_MASK "_requested", old_mask);
}

static bool workqueues_are_on(const char *list)
{
	return has_text(WQ_MASK, mask_of(list)) && threads_are_in("kworker/[uR]*", list);
}

static bool work_is_on(const char *list)
{
	if (can_confine("wq") && !workqueues_are_on(list))
		return false;
	return !can_confine("kthread") || (probe_is_on(list) && threads_are_in(NULL, list));
}

FIXTURE(kthread_cpus) {
};

FIXTURE_SETUP(kthread_cpus)
{
	/* Should the harness be killed, then the guard waits no longer than it would have. */
	alarm(TEST_TIMEOUT_DEFAULT);
	ASSERT_EQ(0, set_list("all"));
	/* Whatever an administrator has asked for in addition. */
	if (can_confine("wq"))
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
	char now[64];

	ASSERT_EQ(0, set_list("1"));
	EXPECT_TRUE(has_text(CLASSES, found.classes));
	ASSERT_EQ(0, set_list("all"));
	read_text(CLASSES, now, sizeof(now));
	/* There may be more of them one day. */
	EXPECT_TRUE(!strcmp(now, found.classes) ||
		    (!strcmp(now, "\n") && !strncmp(found.classes, "kthread,wq,umh", 14)));
	if (is_before_7_0 && !strcmp(now, "\n")) {
		/* Rescuers may be anywhere. */
		EXPECT_TRUE(has_text(WQ_MASK, mask_of("H")) && threads_are_in("kworker/u*", "H"));
		EXPECT_TRUE(probe_is_on("U") && threads_are_in(NULL, "U"));
	} else {
		EXPECT_TRUE(work_is_on("H"));
	}
	EXPECT_TRUE(!can_confine("kthread") || (!place_probe("3") && probe_is_on("3")));
}

TEST_F(kthread_cpus, isolated_at_boot)
{
	char list[TEXT_SIZE] = "1,", *isolated = list + strlen(list);

	read_text(CPUS "/isolated", isolated, sizeof(list) - strlen(list));
	if (*isolated == '\n')
		SKIP(return, "no CPU is isolated");
	/* All of them may be longer than what can be written. */
	isolated[strcspn(isolated, ",\n")] = '\0';
	EXPECT_TRUE(!set_list(list) && work_is_on("1") && set_list(isolated) == EINVAL);
}

/* The first process, interrupts, and threads that are bound: those of boot will do. */
TEST_F(kthread_cpus, not_confined)
{
	static struct cpus allowed[2][1000];
	char irqs[2][TEXT_SIZE];
	struct thread thread;
	int seen = 0;

	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, set_list(i ? "2" : "1"));
		ASSERT_EQ(0, sched_getaffinity(1, SIZE, allowed[i][1].sets));
		/* There are machines without this file. */
		read_text("/proc/irq/default_smp_affinity", irqs[i], TEXT_SIZE);
		/* Workers come and go, and interrupt threads follow their interrupts. */
		for (pid_t pid = 2; pid < 1000; pid++) {
			if (!read_thread(pid, &thread) || !thread.is_bound ||
			    !fnmatch("kworker/*", thread.name, 0) ||
			    !fnmatch("irq/*", thread.name, 0))
				continue;
			allowed[i][pid] = thread.allowed;
		}
	}
	EXPECT_STREQ(irqs[0], irqs[1]);
	for (pid_t pid = 1; pid < 1000; pid++) {
		if (CPU_COUNT_S(SIZE, allowed[0][pid].sets) &&
		    CPU_COUNT_S(SIZE, allowed[1][pid].sets) && ++seen)
			EXPECT_TRUE(equal(&allowed[0][pid], &allowed[1][pid]))
				TH_LOG("PID %d was moved", pid);
	}
	EXPECT_LT(1, seen);
}

TEST_F(kthread_cpus, hotplug)
{
	ASSERT_EQ(0, set_list("1-2"));
	if (set_online("0"))
		SKIP(return, "CPU 1 can't be taken offline");
	EXPECT_TRUE(work_is_on("1-2") && set_list("1") == EINVAL && work_is_on("1-2"));
	EXPECT_TRUE(!set_online("1") && work_is_on("1-2"));
	/* All of the list goes, so that work falls back, and comes. */
	EXPECT_TRUE(!set_list("1") && !set_online("0") && work_is_on("H"));
	/* What was read can be written, although no CPU of it is usable. */
	EXPECT_TRUE(!set_list("1") && work_is_on("H") && !set_online("1") && work_is_on("1"));
}

TEST_F(kthread_cpus, workqueue_mask)
{
	if (!can_confine("wq"))
		SKIP(return, "workqueues are not confined");
	/* It restricts them further, but can't lead them outside. */
	ASSERT_EQ(0, set_list("1-2"));
	EXPECT_TRUE(!write_text(WQ_MASK, mask_of("0-1")) && workqueues_are_on("1"));
	EXPECT_TRUE(!write_text(WQ_MASK, mask_of("3")) && workqueues_are_on("1-2") &&
		    has_text(WQ_MASK "_requested", mask_of("3")));
	/* It counts once it can be obeyed. */
	EXPECT_TRUE(!set_list("3") && workqueues_are_on("3"));
}

/* Leaves what is in @others out of @cpus. */
static void leave_out(struct cpus *cpus, struct cpus others)
{
	and(&others, &others, cpus);
	CPU_XOR_S(SIZE, cpus->sets, cpus->sets, others.sets);
}

static void find_housekeeping(void)
{
	struct cpus isolated = read_list(CPUS "/isolated"), quiet;

	/* The former does not have those of partitions. */
	CPU_OR_S(SIZE, isolated.sets, isolated.sets, read_list("cpuset.cpus.isolated").sets);
	housekeeping = read_list(CPUS "/possible");
	unconfined = housekeeping;
	leave_out(&housekeeping, isolated);
	if (!is_before_7_0) {
		unconfined = housekeeping;
		return;
	}
	leave_out(&unconfined, read_list(CPUS "/nohz_full"));
	and(&quiet, &housekeeping, &unconfined);
	if (CPU_COUNT_S(SIZE, quiet.sets))
		housekeeping = quiet;
}

TEST_F(kthread_cpus, partition)
{
	/* With any kernel all processes may use these as soon as there is a partition. */
	if (CPU_COUNT_S(SIZE, read_list(CPUS "/isolated").sets))
		SKIP(return, "processes would get the CPUs that are isolated at boot");
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
	if (!can_confine("kthread"))
		SKIP(return, "kernel threads are not confined");
	ASSERT_EQ(0, set_list("1-2"));
	EXPECT_TRUE(!place_probe("1") && probe_is_on("1"));
	EXPECT_TRUE(place_probe("0,3") == EINVAL && probe_is_on("1"));
	/* It moves if it must, and comes back. */
	EXPECT_TRUE(!set_list("2-3") && probe_is_on("2-3"));
	EXPECT_TRUE(!set_list("1-2") && probe_is_on("1"));
	/* What is outside is kept for later. */
	EXPECT_TRUE(!place_probe("0-1") && probe_is_on("1") &&
		    !set_list("all") && probe_is_on("0-1"));
}

/* Called as if it was modprobe. */
static int be_helper(pid_t tester)
{
	struct cpus cpus = {};
	char path[64];

	sched_getaffinity(0, SIZE, cpus.sets);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", tester, TOLD);
	return write(open(path, O_WRONLY), &cpus, SIZE) < 0;
}

TEST_F(kthread_cpus, helper)
{
	static const char *const lists[] = { "0-3", "1", "2-3" };
	char helper[32];
	int ends[2];

	ASSERT_EQ(0, pipe2(ends, O_NONBLOCK));
	ASSERT_EQ(TOLD, dup2(ends[1], TOLD));
	snprintf(helper, sizeof(helper), HELPER, getpid());
	write_text(MODPROBE, helper);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		const struct cpus cpus = parse(lists[i]);
		struct cpus seen = {};

		ASSERT_EQ(0, set_list(lists[i]));
		/* There is no such file system, so that the kernel looks for a module. */
		EXPECT_EQ(-1, mount("none", "/", GROUP, 0, NULL));
		if ((read(ends[0], &seen, SIZE) < 0 && !i) || !can_confine("umh"))
			SKIP(return, "no usermode helper can be confined");
		EXPECT_TRUE(equal(&seen, &cpus));
	}
}

/* Returns why the tests can't be run, if so. Changes nothing. */
static const char *find_reason(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct cpus usable, needed = parse("0-3");
	struct mntent *entry = NULL;
	char controllers[1024];
	int error;

	if (!read_text(KTHREAD_CPUS, old_list, sizeof(old_list)))
		return "the kernel has no " KTHREAD_CPUS;
	/* This is allowed at any time, and no change. */
	error = set_list(old_list);
	if (error == EOPNOTSUPP)
		return "the boot option allows no change";
	if (error == EACCES || error == EPERM || error == EROFS || error == E2BIG)
		return KTHREAD_CPUS " can't be put back: needs root, and no container";
	if (error)
		ksft_exit_fail_msg("%s can't be written: %s\n", KTHREAD_CPUS, strerror(error));
	while (mounts && (entry = getmntent(mounts)) && strcmp(entry->mnt_type, "cgroup2"))
		;
	had_cpusets = chdir(entry ? entry->mnt_dir : "/") ||
		      !read_text(CONTROLLERS, controllers, sizeof(controllers)) ||
		      strstr(controllers, "cpuset");
	find_housekeeping();
	usable = read_list(CPUS "/online");
	and(&usable, &usable, &housekeeping);
	and(&needed, &needed, &usable);
	if (CPU_COUNT_S(SIZE, needed.sets) < 4)
		return "needs 4 CPUs, 0 to 3, that are online and not isolated";
	CPU_AND_S(SIZE, usable.sets, usable.sets, parse(old_list).sets);
	if (!CPU_COUNT_S(SIZE, usable.sets))
		return "no CPU of " KTHREAD_CPUS " is usable, so that it could not be put back";
	read_text(CLASSES, old_classes, sizeof(old_classes));
	read_text(WQ_MASK "_requested", old_mask, sizeof(old_mask));
	read_text(MODPROBE, old_modprobe, sizeof(old_modprobe));
	return NULL;
}

static void finish(void)
{
	put_back();
	kill(guard, SIGKILL);
}

/* Returns what is missing, if so. */
static const char *find_out(void)
{
	char now[64];
	int ends[2];

	guard = pipe(ends) ? -1 : fork();
	if (!guard) {
		/* Is told what is found, and no more until all others have ended. */
		setsid();
		close(ends[1]);
		while (read(ends[0], &found, sizeof(found)) > 0)
			;
		_exit(!put_back());
	}
	if (guard < 0 || atexit(finish))
		return "has no process to put things back";
	set_list("1");
	read_text(CLASSES, found.classes, sizeof(found.classes));
	set_list("all");
	read_text(CLASSES, now, sizeof(now));
	/* Not kthreadd, PID 2, which passes on where it is placed. */
	for (found.probe = 3;
	     found.probe < 1000 && !probe_is_on(strstr(now, "kthread") ? "H" : "U");)
		found.probe++;
	return found.probe < 1000 && write(ends[1], &found, sizeof(found)) > 0 ? NULL :
	       "sees no kernel thread that nobody has placed";
}

int main(int argc, char **argv)
{
	struct utsname system;
	const char *reason;
	pid_t tester;

	/* The name that a helper is called by says whose it is. */
	if (sscanf(argv[0], HELPER, &tester) == 1)
		return be_helper(tester);
	is_before_7_0 = !uname(&system) && atoi(system.release) < 7;
	reason = find_reason() ?: find_out();
	if (reason) {
		ksft_print_header();
		ksft_exit_skip("%s\n", reason);
	}
	return test_harness_run(argc, argv);
}
