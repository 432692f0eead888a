// SPDX-License-Identifier: GPL-2.0
/*
 * Makes the steps of a file, one on each line, and tells after each of them the affinity of
 * all kernel threads and of PID 1, and what the step has returned. The same steps are made
 * on two kernels and compared by tools/boot/differential.py, which also makes them up:
 * nothing here may depend on time, or on numbers of threads that differ among boots.
 *
 *	differential FILE
 *
 *	offline CPU, online CPU
 *	affinity THREAD LIST	sched_setaffinity(); the list "-" has no CPU
 *	mkdir GROUP, rmdir GROUP
 *	write GROUP/FILE VALUE	a file of cgroup v2; the value "-" is an empty line
 *	attach THREAD GROUP	"@" is the root of cgroup v2
 *	add KIND COUNT		threads of the module kcload
 *	del THREAD		one of these
 *
 * Lines that are told:
 *
 *	step NUMBER STATUS ONLINE ISOLATED		STATUS is 0 or an errno
 *	thread NAME managed|bound			when it is seen for the first time
 *	gone NAME
 *	fallen NAME LIST	the last CPU of these has gone: the scheduler has had to
 *				put the thread elsewhere
 *	mask NAME LIST		if it is not what was told last; PID 1 is called init
 *	group NAME LIST TYPE	CPUs that it has in effect, if they are not what was told last
 *	back NAME		one of these is there again, and was given by nobody
 *	resync NAME LIST STATUS	sched_setaffinity(), see below; lines "mask" that follow it
 *				are how things are after that
 *
 * A thread whose CPUs have all gone keeps its mask as long as it sleeps. So all managed
 * threads, and those of the module, are woken after every step. The unpatched kernel then
 * forgets what sched_setaffinity() has given a thread, for good, so that all that comes later
 * would differ: when one of the CPUs is there again, the same is given to the thread again.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "guest.h"

#define CPUS "/sys/devices/system/cpu"
#define CGROUP "/sys/fs/cgroup"
#define KCLOAD "/proc/kcload"

#define MAX_CPUS 64
#define MAX_GROUPS 16
#define KTHREADD 2
#define PF_KTHREAD 0x00200000u
#define PF_NO_SETAFFINITY 0x04000000u
#define NONE "-"

/* What is awake at the time of a look may be about to change its mask. */
#define SETTLE_TRIES 50
#define SETTLE_PAUSE_US 1000

typedef uint64_t cpus_t;

struct thread {
	int pid;
	char name[64];
	/* Not looked at; no kernel thread; has PF_NO_SETAFFINITY. */
	bool ignored, process, bound;
	/* Seen in the latest look; was told at all. */
	bool here, told;
	/* Now, before the step, and what was told last. */
	cpus_t mask, before, shown;
	/* What sched_setaffinity() has given it, if it has. */
	cpus_t user;
	/* What it has lost since its last CPU has gone. */
	cpus_t lost;
};

struct group {
	char name[64];
	char shown[128];
};

static struct thread *threads;
static size_t thread_count;
static struct group groups[MAX_GROUPS];
static cpus_t possible, init_shown;
static int kmsg = -1;

/* CPU lists and files -------------------------------------------------------- */

static cpus_t parse_cpus(const char *text)
{
	cpus_t cpus = 0;

	while (*text >= '0' && *text <= '9') {
		char *end;
		unsigned long cpu = strtoul(text, &end, 10), last = cpu;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		if (last >= MAX_CPUS)
			die("not CPUs below %d: %s", MAX_CPUS, text);
		for (; cpu <= last; cpu++)
			cpus |= (cpus_t)1 << cpu;
		text = *end == ',' ? end + 1 : end;
	}
	return cpus;
}

static const char *format_cpus(cpus_t cpus)
{
	static char texts[4][4 * MAX_CPUS];
	static unsigned int turn;
	char *text = texts[turn++ % 4], *at = text;
	int cpu, last;

	for (cpu = 0; cpu < MAX_CPUS; cpu = last + 1) {
		last = cpu;
		if (!(cpus >> cpu & 1))
			continue;
		while (last + 1 < MAX_CPUS && cpus >> (last + 1) & 1)
			last++;
		at += sprintf(at, "%s%d", at == text ? "" : ",", cpu);
		if (last > cpu)
			at += sprintf(at, "-%d", last);
	}
	return at == text ? NONE : text;
}

/* Reads a file, without the newline at its end. */
static bool read_file(const char *path, char *text, size_t size)
{
	ssize_t got = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		got = read(fd, text, size - 1);
		close(fd);
	}
	text[got > 0 ? got : 0] = '\0';
	if (got > 0 && text[got - 1] == '\n')
		text[got - 1] = '\0';
	return got >= 0;
}

static cpus_t read_cpus(const char *path)
{
	char text[256];

	read_file(path, text, sizeof(text));
	return parse_cpus(text);
}

/* Threads -------------------------------------------------------------------- */

/* Its flags, or 0 if it has gone. */
static unsigned int flags_of(int pid)
{
	char path[64], text[1024], *end;
	unsigned int flags;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	read_file(path, text, sizeof(text));
	end = strrchr(text, ')');
	if (!end || sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) != 1)
		return 0;
	return flags;
}

/* Returns false if it has gone. */
static bool read_status(int pid, char *name, size_t size, cpus_t *mask)
{
	static const char key[] = "\nCpus_allowed_list:\t";
	char path[64], text[4096], *at;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	read_file(path, text, sizeof(text));
	at = strstr(text, key);
	if (!at || strncmp(text, "Name:\t", 6))
		return false;
	*mask = parse_cpus(at + strlen(key));
	snprintf(name, size, "%.*s", (int)strcspn(text + 6, "\n"), text + 6);
	for (; *name; name++)
		if (*name == ' ')
			*name = '_';
	return true;
}

static struct thread *by_name(const char *name)
{
	size_t i;

	for (i = 0; i < thread_count; i++)
		if (threads[i].here && !threads[i].ignored && !strcmp(threads[i].name, name))
			return &threads[i];
	return NULL;
}

/*
 * Workers come and go with the work, and a pool has as many as it happens to need.
 * A rescuer is always there.
 */
static bool is_worker(const char *name)
{
	return !strncmp(name, "kworker/", 8) && strncmp(name, "kworker/R-", 10);
}

static bool is_load(const char *name)
{
	return !strncmp(name, "kcload-", 7);
}

/* kthread_affine_preferred() drops what such a thread has from kthreadd. */
static bool has_preference(const char *name)
{
	return !strncmp(name, "kcload-pref", 11);
}

/* Comes back by itself on the unpatched kernel when a CPU is online again. */
static bool comes_back(const struct thread *thread)
{
	const char *name = thread->name;

	return !thread->user && (has_preference(name) || !strncmp(name, "kcload-node/", 12) ||
				 !strncmp(name, "kswapd", 6) || !strncmp(name, "kcompactd", 9));
}

/* Reads a thread; a kthread that is being made has another name at first. */
static bool read_thread(struct thread *thread)
{
	char name[sizeof(thread->name)];

	if (!read_status(thread->pid, name, sizeof(name), &thread->mask))
		return false;
	/* A rescuer says in its name what it works on. */
	if (!thread->told) {
		strcpy(thread->name, name);
		thread->ignored = thread->process || is_worker(name) ||
				  (thread->pid != KTHREADD && !strcmp(name, "kthreadd"));
	}
	return true;
}

static void add_thread(int pid)
{
	const struct thread *parent = by_name("kthreadd");
	const unsigned int flags = flags_of(pid);
	struct thread thread = {
		.pid = pid,
		.bound = flags & PF_NO_SETAFFINITY,
		.process = !(flags & PF_KTHREAD),
		.here = true,
	};

	if (!flags || !read_thread(&thread))
		return;
	if (!thread.bound && !has_preference(thread.name) && parent)
		thread.user = parent->user;
	threads = realloc(threads, (thread_count + 1) * sizeof(*threads));
	if (!threads)
		die("out of memory");
	threads[thread_count++] = thread;
}

/* Forgets those that have gone, and tells it. */
static void drop_gone(void)
{
	size_t from, to = 0;

	for (from = 0; from < thread_count; from++) {
		if (threads[from].here)
			threads[to++] = threads[from];
		else if (threads[from].told)
			printf("gone %s\n", threads[from].name);
	}
	thread_count = to;
}

static int by_number(const void *a, const void *b)
{
	const struct thread *one = a, *other = b;

	return one->pid - other->pid;
}

/* Returns whether something has changed since the last look. */
static bool look(void)
{
	const size_t known = thread_count;
	struct thread key = { 0 }, *thread;
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	bool changed = false;
	size_t i;

	if (!proc)
		die("/proc cannot be read");
	for (i = 0; i < known; i++)
		threads[i].here = false;
	/* It lists them by their numbers, so that kthreadd comes before all others. */
	while ((entry = readdir(proc))) {
		key.pid = atoi(entry->d_name);
		if (key.pid <= 0)
			continue;
		thread = known ? bsearch(&key, threads, known, sizeof(key), by_number) : NULL;
		if (thread) {
			const cpus_t mask = thread->mask;

			thread->here = thread->ignored && thread->process;
			thread->here = thread->here || read_thread(thread);
			changed |= !thread->ignored && mask != thread->mask;
		} else {
			add_thread(key.pid);
			changed = true;
		}
	}
	closedir(proc);
	drop_gone();
	qsort(threads, thread_count, sizeof(*threads), by_number);
	return changed;
}

/* Wakes all whose mask the scheduler may have to change, and waits until nothing changes. */
static void settle(void)
{
	int tries = SETTLE_TRIES;
	char text[32];
	size_t i;

	/* CPU hotplug leaves to a work item what partitions make of it; this waits for that. */
	write_file(CGROUP "/settle/cpuset.cpus.partition", "member");
	look();
	for (i = 0; i < thread_count; i++) {
		if (threads[i].ignored || (threads[i].bound && !is_load(threads[i].name)))
			continue;
		snprintf(text, sizeof(text), "wake %d", threads[i].pid);
		write_file(KCLOAD, text);
	}
	do
		usleep(SETTLE_PAUSE_US);
	while (look() && --tries);
}

/* Telling -------------------------------------------------------------------- */

static void tell_masks(void)
{
	cpus_t mask;
	char name[64];
	size_t i;

	for (i = 0; i < thread_count; i++) {
		struct thread *thread = &threads[i];

		if (thread->ignored)
			continue;
		if (!thread->told)
			printf("thread %s %s\n", thread->name,
			       thread->bound ? "bound" : "managed");
		if (!thread->told || thread->shown != thread->mask)
			printf("mask %s %s\n", thread->name, format_cpus(thread->mask));
		thread->told = true;
		thread->shown = thread->mask;
	}
	if (read_status(1, name, sizeof(name), &mask) && mask != init_shown) {
		printf("mask init %s\n", format_cpus(mask));
		init_shown = mask;
	}
}

static void tell_groups(void)
{
	char path[256], cpus[128], type[128], now[sizeof(groups->shown)];
	size_t i;

	for (i = 0; i < MAX_GROUPS; i++) {
		if (!*groups[i].name)
			continue;
		snprintf(path, sizeof(path), CGROUP "/%.63s/cpuset.cpus.effective", groups[i].name);
		read_file(path, cpus, sizeof(cpus));
		snprintf(path, sizeof(path), CGROUP "/%.63s/cpuset.cpus.partition", groups[i].name);
		read_file(path, type, sizeof(type));
		/* It has the reason in its own words. */
		snprintf(now, sizeof(now), "%.60s %.60s", *cpus ? cpus : NONE,
			 *type ? type : NONE);
		if (!strcmp(now, groups[i].shown))
			continue;
		strcpy(groups[i].shown, now);
		printf("group %s %s\n", groups[i].name, now);
	}
}

static cpus_t online_cpus(void)
{
	return read_cpus(CPUS "/online");
}

/* Steps ---------------------------------------------------------------------- */

/* Has a thread use @cpus. Returns 0 or an errno. */
static int place(struct thread *thread, cpus_t cpus)
{
	cpu_set_t set;
	int cpu;

	CPU_ZERO(&set);
	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		if (cpus >> cpu & 1)
			CPU_SET(cpu, &set);
	if (sched_setaffinity(thread->pid, sizeof(set), &set))
		return errno;
	thread->user = cpus;
	thread->lost = 0;
	return 0;
}

/*
 * What the unpatched kernel has forgotten is given to a thread again, or else it would have
 * another mask in all steps to come. New threads have what kthreadd has: that cannot wait.
 */
static bool resync(cpus_t online)
{
	bool any = false;
	size_t i;

	for (i = 0; i < thread_count; i++) {
		struct thread *thread = &threads[i];
		cpus_t cpus = thread->user ?: thread->lost;
		int status;

		if (!thread->lost)
			continue;
		if (thread->pid == KTHREADD)
			cpus = possible;
		else if (!(cpus & online))
			continue;
		if (comes_back(thread)) {
			thread->lost = 0;
			printf("back %s\n", thread->name);
			continue;
		}
		status = place(thread, cpus);
		printf("resync %s %s %d\n", thread->name, format_cpus(cpus), status);
		any = true;
	}
	return any;
}

static int step_group(const char *name, const char *group)
{
	char path[256];
	size_t i;

	snprintf(path, sizeof(path), CGROUP "/%s", group);
	if (!strcmp(name, "mkdir")) {
		if (mkdir(path, 0755))
			return errno;
		for (i = 0; i < MAX_GROUPS && *groups[i].name; i++)
			;
		if (i == MAX_GROUPS)
			die("too many groups");
		snprintf(groups[i].name, sizeof(groups[i].name), "%s", group);
		return 0;
	}
	if (rmdir(path))
		return errno;
	for (i = 0; i < MAX_GROUPS; i++)
		if (!strcmp(groups[i].name, group))
			memset(&groups[i], 0, sizeof(groups[i]));
	return 0;
}

static int run_step(const char *name, const char *one, const char *two)
{
	char path[256], text[64];
	struct thread *thread;

	if (!strcmp(name, "offline") || !strcmp(name, "online")) {
		snprintf(path, sizeof(path), CPUS "/cpu%s/online", one);
		return write_file(path, strcmp(name, "online") ? "0" : "1");
	}
	if (!strcmp(name, "mkdir") || !strcmp(name, "rmdir"))
		return step_group(name, one);
	if (!strcmp(name, "write")) {
		snprintf(path, sizeof(path), CGROUP "/%s", one);
		/* Nothing at all would not even be seen. */
		return write_file(path, strcmp(two, NONE) ? two : "\n");
	}
	if (!strcmp(name, "add")) {
		snprintf(text, sizeof(text), "add %s %s", one, two);
		return write_file(KCLOAD, text);
	}
	thread = by_name(one);
	if (!thread)
		return ESRCH;
	if (!strcmp(name, "affinity"))
		return place(thread, parse_cpus(two));
	if (!strcmp(name, "attach")) {
		snprintf(path, sizeof(path), CGROUP "/%s/cgroup.procs",
			 strcmp(two, "@") ? two : ".");
		snprintf(text, sizeof(text), "%d", thread->pid);
		return write_file(path, text);
	}
	if (!strcmp(name, "del")) {
		snprintf(text, sizeof(text), "del %d", thread->pid);
		return write_file(KCLOAD, text);
	}
	die("there is no step %s", name);
	return EINVAL;
}

/* Makes a step, tells what has come of it, and mends what would differ from now on. */
static void step(unsigned int number, const char *name, const char *one, const char *two)
{
	cpus_t online;
	char text[64];
	int status;
	size_t i;

	/* A guest that hangs shows by this where it was. */
	snprintf(text, sizeof(text), "<6>kcguest: step %u\n", number);
	if (write(kmsg, text, strlen(text)) < 0)
		die("/dev/kmsg cannot be written");
	for (i = 0; i < thread_count; i++)
		threads[i].before = threads[i].mask;
	status = *name ? run_step(name, one, two) : 0;
	settle();
	online = online_cpus();
	/* Those of isolcpus= too, unlike in sysfs. */
	printf("step %u %d %s %s\n", number, status, format_cpus(online),
	       format_cpus(read_cpus(CGROUP "/cpuset.cpus.isolated")));
	for (i = 0; i < thread_count; i++) {
		struct thread *thread = &threads[i];

		if (thread->ignored || thread->bound || !thread->before ||
		    thread->before & online || thread->lost)
			continue;
		thread->lost = thread->before;
		printf("fallen %s %s\n", thread->name, format_cpus(thread->lost));
	}
	tell_masks();
	tell_groups();
	if (resync(online)) {
		settle();
		tell_masks();
	}
}

/* Nothing wakes up by itself. */
static void calm_down(void)
{
	write_file("/proc/sys/vm/compaction_proactiveness", "0");
	write_file("/proc/sys/kernel/hung_task_timeout_secs", "0");
}

int main(int argc, char **argv)
{
	char line[256], name[32], one[128], two[64];
	unsigned int number = 0;
	FILE *file;

	if (argc != 2)
		die("usage: differential FILE");
	file = fopen(argv[1], "re");
	kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	if (!file || kmsg < 0)
		die("%s cannot be read, or /dev/kmsg not be written", argv[1]);
	possible = read_cpus(CPUS "/possible");
	mkdir(CGROUP "/settle", 0755);
	calm_down();
	look();
	step(number++, "", "", "");
	while (fgets(line, sizeof(line), file)) {
		*one = *two = '\0';
		if (sscanf(line, "%31s %127s %63s", name, one, two) < 2)
			die("not a step: %s", line);
		step(number++, name, one, two);
	}
	printf("end %u\n", number);
	return 0;
}
