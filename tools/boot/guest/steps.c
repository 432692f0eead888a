// SPDX-License-Identifier: GPL-2.0
/*
 * Changes the CPUs of the test guest step by step and tells, as "@kc" facts,
 * what became of the kernel threads: after every step the affinity of all of
 * them, and at the end on which CPUs they really ran meanwhile, from the events
 * that the kernel has recorded since before its first kernel thread.
 *
 *	steps STEP...
 *
 *	offline=LIST online=LIST     one CPU after the other, each a step
 *	each=LIST                    every CPU off and on again
 *	orders=LIST                  all of them off in every order, and on again
 *	                             in every order
 *	spin=COUNT:LIST              all of them off and on COUNT times, one step
 *	write=FILE:VALUE             "@" before FILE stands for the root of cgroup v2,
 *	                             "~" in VALUE for a space
 *	background=FILE:VALUE join   the same while the next steps go on; waits for it
 *	read=FILE                    tells its first line, as what FILE has printed
 *	again=FILE                   writes to it what is read from it
 *	within=SECONDS:STEP          a step that is left alone, with ETIMEDOUT, if it takes
 *	                             longer
 *	left=SECONDS                 waits for all that was left alone
 *	mkdir=DIRECTORY rmdir=DIRECTORY
 *	child                        starts a process, which is a THREAD of that name
 *	affinity=THREAD:LIST         sched_setaffinity() on a kernel thread
 *	cpuset=THREAD:NAME           moves it to this cpuset, "@" for the top one
 *	ask=WORD                     has the host do something, see vm.py
 *	present=LIST                 waits for CPUs to be there
 *	kcpus=LIST                   writes LIST to the file kthread_cpus
 *	hotplug=CPU:STATE            brings a CPU up or down to this state of CPU hotplug
 *	refuse=CPU:STATE             takes it offline, which this state refuses
 *	work=COMMAND                 a command for /proc/kcwork, whose result is told
 *	rescue                       work that only a rescuer can do; as above
 *	helper=modprobe,core,uevent  has the kernel start usermode helpers of these
 *	                             kinds, which tell on what CPUs they may run
 *	noise=ROUNDS:LIST            busy loops on these CPUs, and on the others a
 *	                             load that gives the kernel much to do; what it
 *	                             did on which CPU is counted
 *	juggle=COUNT:CPU             takes the CPU off and on COUNT times, while threads of
 *	                             the module are woken and sched_setaffinity() sends
 *	                             them to it and away, until they may be anywhere
 *	torture=CHANGES:SEED         writes random CPUs to the file kthread_cpus that
 *	                             often, while all else moves
 *
 * The command line of the kernel must have trace_clock=counter and
 * trace_event=sched:sched_switch,cpuhp:cpuhp_enter,cpuhp:cpuhp_exit. A marker
 * stands in the trace before and after every change: between the two, it is in
 * flight. The clock only counts, so that events of all CPUs have an order. If the
 * first step is "notrace", none of this is looked at.
 *
 * One process does all of it, the last three aside: what forks would disturb
 * what is looked at.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "guest.h"

#define TRACEFS "/sys/kernel/tracing"
#define CPUS "/sys/devices/system/cpu"
#define CGROUP "/sys/fs/cgroup"
#define WORKQUEUES "/sys/devices/virtual/workqueue"

#define MAX_CPUS 64
/* The kernel's default for so few CPUs is half of it. */
#define MAX_PID 65536
#define KTHREADD 2
#define PF_KTHREAD 0x00200000u
#define PF_NO_SETAFFINITY 0x04000000u

/* No host takes longer to add a CPU than this. */
#define PRESENT_TRIES 6000
#define PRESENT_PAUSE_US 10000

#define JOIN_PAUSE_US 10000

#define MAX_LEFT 16

/* A helper that the kernel does not wait for, has this time to tell what it sees. */
#define HELPER_TRIES 2000
#define HELPER_PAUSE_US 10000

/* What a woken thread needs to get to a CPU; nothing is judged by it. */
#define POKE_PAUSE_US 3000

typedef uint64_t cpus_t;

static void *grow(void *old, size_t count, size_t size)
{
	void *new;

	/* Doubled at every power of two. */
	if (count & (count - 1))
		return old;
	new = realloc(old, (count ? 2 * count : 1) * size);
	if (!new)
		die("out of memory");
	return new;
}

/* CPU lists ---------------------------------------------------------------- */

/* Puts the CPUs of a list into @order, as they are written, and returns how many. */
static int parse_order(const char *text, int *order)
{
	int count = 0;

	while (*text && *text != '\n') {
		char *end;
		unsigned long cpu, last;

		last = cpu = strtoul(text, &end, 10);
		if (end != text && *end == '-')
			last = strtoul(end + 1, &end, 10);
		if (end == text || last >= MAX_CPUS)
			die("not a list of CPUs below %d: %s", MAX_CPUS, text);
		for (; cpu <= last; cpu++) {
			if (count == MAX_CPUS)
				die("too many CPUs: %s", text);
			order[count++] = cpu;
		}
		text = *end == ',' ? end + 1 : end;
	}
	return count;
}

static cpus_t parse_cpus(const char *text)
{
	int order[MAX_CPUS], count = parse_order(text, order);
	cpus_t cpus = 0;

	while (count--)
		cpus |= (cpus_t)1 << order[count];
	return cpus;
}

static const char *format_cpus(cpus_t cpus)
{
	static char texts[4][4 * MAX_CPUS];
	static unsigned int turn;
	char *text = texts[turn++ % 4], *at = text;
	int cpu, last;

	*at = '\0';
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
	return text;
}

/* Files -------------------------------------------------------------------- */

static bool read_file(const char *path, char *text, size_t size)
{
	ssize_t got = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		got = read(fd, text, size - 1);
		close(fd);
	}
	text[got > 0 ? got : 0] = '\0';
	return got > 0;
}

static cpus_t read_cpus(const char *path)
{
	char text[4 * MAX_CPUS];

	read_file(path, text, sizeof(text));
	return parse_cpus(text);
}

/* As facts.awk does it. */
static void print_encoded(const char *text)
{
	for (; *text; text++) {
		if (*text > ' ' && *text <= '~' && *text != '%')
			putchar(*text);
		else
			printf("%%%02x", (unsigned char)*text);
	}
}

/* Threads ------------------------------------------------------------------ */

struct thread {
	int pid;
	char name[64];
	unsigned int flags;
	cpus_t allowed;
	/* Seen without, and with, PF_NO_SETAFFINITY. */
	bool unbound, bound;
	/* Seen in the latest look; has changed since it was told; was told at all. */
	bool here, changed, told;
};

static struct thread *threads;
static size_t thread_count;

static struct thread *find_thread(int pid)
{
	size_t i;

	for (i = 0; i < thread_count; i++)
		if (threads[i].pid == pid)
			return &threads[i];
	return NULL;
}

/* Reads one; false for what is not a kernel thread, or has just gone. */
static bool read_thread(int pid, struct thread *thread)
{
	char path[64], text[4096], name[sizeof(thread->name)], *at, *end;

	memset(thread, 0, sizeof(*thread));
	thread->pid = pid;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (!read_file(path, text, sizeof(text)))
		return false;
	/* The name is in parentheses and may have some itself. */
	at = strchr(text, '(');
	end = strrchr(text, ')');
	if (!at || !end ||
	    sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %u", &thread->flags) != 1)
		return false;
	if (!(thread->flags & PF_KTHREAD))
		return false;
	*end = '\0';
	snprintf(thread->name, sizeof(thread->name), "%s", at + 1);
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (!read_file(path, text, sizeof(text)))
		return false;
	/* A rescuer has another name while it has other CPUs: both are of one moment. */
	if (sscanf(text, "Name:\t%63[^\n]", name) == 1 && !strncmp(name, "kworker/R-", 10))
		strcpy(thread->name, name);
	at = strstr(text, "Cpus_allowed_list:");
	if (!at)
		return false;
	thread->allowed = parse_cpus(at + strcspn(at, "\t") + 1);
	return true;
}

/* The CPUs that a process may use. */
static cpus_t allowed_of(int pid)
{
	char path[64], text[4096], *at;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (!read_file(path, text, sizeof(text)))
		return 0;
	at = strstr(text, "Cpus_allowed_list:");
	return at ? parse_cpus(at + strcspn(at, "\t") + 1) : 0;
}

static void look_at_threads(void)
{
	const unsigned int kept = PF_KTHREAD | PF_NO_SETAFFINITY;
	struct dirent *entry;
	DIR *proc = opendir("/proc");
	size_t i;

	if (!proc)
		die("/proc cannot be read");
	/* What has changed before and was not told yet still is to be told. */
	for (i = 0; i < thread_count; i++)
		threads[i].here = false;
	while ((entry = readdir(proc))) {
		struct thread now, *old;
		int pid = atoi(entry->d_name);

		if (pid <= 0 || !read_thread(pid, &now))
			continue;
		old = find_thread(pid);
		now.flags &= kept;
		now.changed = !old || old->allowed != now.allowed ||
			      old->flags != now.flags ||
			      strcmp(old->name, now.name);
		now.bound = now.flags & PF_NO_SETAFFINITY;
		now.unbound = !now.bound;
		now.here = true;
		if (old) {
			now.bound |= old->bound;
			now.unbound |= old->unbound;
			now.changed |= old->changed;
			now.told = old->told;
		} else {
			threads = grow(threads, thread_count, sizeof(*threads));
			old = &threads[thread_count++];
			/* Told below, together with its name. */
			old->flags = ~now.flags;
			old->name[0] = '\0';
		}
		if (old->flags != now.flags || strcmp(old->name, now.name)) {
			printf("@kc kthread pid=%d name=", pid);
			print_encoded(now.name);
			printf(" flags=%u\n", now.flags);
		}
		*old = now;
	}
	closedir(proc);
}

/* Prints what has changed since the last look: one fact for each mask. */
static void print_changes(void)
{
	size_t i, j;
	bool gone = false;

	for (i = 0; i < thread_count; i++) {
		const cpus_t allowed = threads[i].allowed;

		if (!threads[i].changed || !threads[i].here)
			continue;
		printf("@kc allowed list=%s pids=", format_cpus(allowed));
		for (j = i; j < thread_count; j++) {
			if (!threads[j].changed || !threads[j].here ||
			    threads[j].allowed != allowed)
				continue;
			printf("%s%d", j == i ? "" : ",", threads[j].pid);
			threads[j].changed = false;
			threads[j].told = true;
		}
		putchar('\n');
	}
	for (i = 0; i < thread_count; i++) {
		if (threads[i].here || !threads[i].allowed)
			continue;
		if (threads[i].told) {
			printf("%s%d", gone ? "," : "@kc gone pids=", threads[i].pid);
			gone = true;
		}
		/* The name stays for the trace; a new one of this pid is a change. */
		threads[i].allowed = 0;
		threads[i].changed = threads[i].told = false;
	}
	if (gone)
		putchar('\n');
}

/* The trace ---------------------------------------------------------------- */

enum kind { SWITCH, CPU_MOVES, CPU_UP, MARKER };

struct event {
	uint64_t time;
	/* The threads of a switch. "next" is the number of a marker or of a CPU, too. */
	int prev, next;
	/* A new kernel thread has the name of kthreadd until it has its own. */
	bool prev_made, next_made;
	uint8_t prev_class, next_class;
	uint8_t cpu, kind;
};

/* What a thread does, as far as its name tells it. */
enum class { OTHER, WORKER, RESCUER, HELPER, MANAGED, CLASSES };

static const char *const class_names[CLASSES] = {
	[WORKER] = "worker",
	[RESCUER] = "rescuer",
	[HELPER] = "helper",
	[MANAGED] = "managed",
};

static struct event *events;
static size_t event_count;
static int raw_fds[MAX_CPUS];
static int marker_fd = -1;
static cpus_t traced;
static bool tracing;

/* What the kernel says about the layout of an event. */
struct format {
	int id;
	char text[4096];
};

static struct format switch_format, enter_format, exit_format, print_format;
static int prev_comm, next_comm, prev_pid, next_pid;
static int enter_cpu, exit_cpu, exit_state, print_buf;
static int active_state;

static void read_format(struct format *format, const char *event)
{
	char path[128], *at;

	snprintf(path, sizeof(path), TRACEFS "/events/%s/format", event);
	if (!read_file(path, format->text, sizeof(format->text)))
		die("%s cannot be read", path);
	at = strstr(format->text, "ID: ");
	if (!at)
		die("%s has no ID", path);
	format->id = atoi(at + 4);
}

/* Returns the offset of a field. */
static int field(const struct format *format, const char *name)
{
	const char *at = format->text;
	const size_t length = strlen(name);

	while ((at = strstr(at, name))) {
		const char *offset = strstr(at, "offset:");

		if (at[-1] == ' ' && strchr(";[", at[length]) && offset)
			return atoi(offset + 7);
		at += length;
	}
	die("the kernel's event %d has no field %s", format->id, name);
	return 0;
}

/* The number of a state of CPU hotplug. */
static int find_state(const char *name)
{
	char text[8192], *line, *rest = text, *at;

	if (!read_file(CPUS "/hotplug/states", text, sizeof(text)))
		die("the states of CPU hotplug cannot be read");
	while ((line = strsep(&rest, "\n"))) {
		at = strstr(line, ": ");
		if (at && !strcmp(at + 2, name))
			return atoi(line);
	}
	die("there is no state %s", name);
	return 0;
}

static bool event_is_on(const char *event)
{
	char path[128], text[8];

	snprintf(path, sizeof(path), TRACEFS "/events/%s/enable", event);
	return read_file(path, text, sizeof(text)) && *text == '1';
}

static void open_trace(void)
{
	char path[128], text[256];
	int cpu;

	read_file(TRACEFS "/trace_clock", text, sizeof(text));
	if (!strstr(text, "[counter]") || !event_is_on("sched/sched_switch") ||
	    !event_is_on("cpuhp/cpuhp_enter") || !event_is_on("cpuhp/cpuhp_exit"))
		die("the command line of the kernel did not start the trace");
	read_format(&switch_format, "sched/sched_switch");
	read_format(&enter_format, "cpuhp/cpuhp_enter");
	read_format(&exit_format, "cpuhp/cpuhp_exit");
	read_format(&print_format, "ftrace/print");
	prev_comm = field(&switch_format, "prev_comm");
	next_comm = field(&switch_format, "next_comm");
	prev_pid = field(&switch_format, "prev_pid");
	next_pid = field(&switch_format, "next_pid");
	enter_cpu = field(&enter_format, "cpu");
	exit_cpu = field(&exit_format, "cpu");
	exit_state = field(&exit_format, "state");
	print_buf = field(&print_format, "buf");
	active_state = find_state("sched:active");

	for (cpu = 0; cpu < MAX_CPUS; cpu++) {
		snprintf(path, sizeof(path),
			 TRACEFS "/per_cpu/cpu%d/trace_pipe_raw", cpu);
		raw_fds[cpu] = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (raw_fds[cpu] >= 0)
			traced |= (cpus_t)1 << cpu;
	}
	marker_fd = open(TRACEFS "/trace_marker", O_WRONLY | O_CLOEXEC);
	if (marker_fd < 0 || !traced)
		die("the trace cannot be opened");
	tracing = true;
}

static int load_int(const char *data)
{
	int value;

	memcpy(&value, data, sizeof(value));
	return value;
}

static bool is_being_made(int pid, const char *name)
{
	return pid != KTHREADD && !strcmp(name, "kthreadd");
}

static enum class class_of(const char *name)
{
	if (!strncmp(name, "kworker/u", 9))
		return WORKER;
	if (!strncmp(name, "kworker/R", 9))
		return RESCUER;
	/* Those of this guest; before exec() it has the name of a worker. */
	return !strncmp(name, "umh-", 4) ? HELPER : OTHER;
}

static void take_event(const char *data, uint64_t time, int cpu)
{
	struct event event = { .time = time, .cpu = cpu };
	uint16_t type;

	memcpy(&type, data, sizeof(type));
	if (type == switch_format.id) {
		event.kind = SWITCH;
		event.prev = load_int(data + prev_pid);
		event.next = load_int(data + next_pid);
		event.prev_made = is_being_made(event.prev, data + prev_comm);
		event.next_made = is_being_made(event.next, data + next_comm);
		event.prev_class = class_of(data + prev_comm);
		event.next_class = class_of(data + next_comm);
	} else if (type == enter_format.id) {
		event.kind = CPU_MOVES;
		event.next = load_int(data + enter_cpu);
	} else if (type == exit_format.id) {
		if (load_int(data + exit_state) != active_state)
			return;
		event.kind = CPU_UP;
		event.next = load_int(data + exit_cpu);
	} else if (type == print_format.id && data[print_buf] == '#') {
		event.kind = MARKER;
		event.next = atoi(data + print_buf + 1);
	} else {
		return;
	}
	events = grow(events, event_count, sizeof(*events));
	events[event_count++] = event;
}

/* Takes a page of the kernel's ring buffer apart (include/linux/ring_buffer.h). */
static void take_page(const char *page, int cpu)
{
	const size_t head = 16;
	uint64_t time, commit;
	size_t at = head, end;

	memcpy(&time, page, sizeof(time));
	memcpy(&commit, page + 8, sizeof(commit));
	end = head + (commit & 0xfffff);
	while (at + 4 <= end) {
		const uint32_t word = load_int(page + at);
		const uint32_t type = word & 31, delta = word >> 5;
		uint32_t length = 4 * type, extra = 0;

		if (type == 29 && !delta)
			break;
		if (type == 0 || type > 28)
			extra = load_int(page + at + 4);
		if (type == 30) {
			time += ((uint64_t)extra << 27) + delta;
			at += 8;
			continue;
		}
		if (type == 31) {
			time = (time & ~0ull << 59) | (((uint64_t)extra << 27) + delta);
			at += 8;
			continue;
		}
		time += delta;
		if (type == 0)
			take_event(page + at + 8, time, cpu);
		else if (type < 29)
			take_event(page + at + 4, time, cpu);
		at += 4 + (type && type < 29 ? length : extra);
	}
}

/* Takes what the kernel has recorded, before it runs out of room. */
static void drain_trace(void)
{
	static char page[65536];
	int cpu;

	for (cpu = 0; tracing && cpu < MAX_CPUS; cpu++)
		while (raw_fds[cpu] >= 0 &&
		       read(raw_fds[cpu], page, sizeof(page)) > 0)
			take_page(page, cpu);
}

/* Events that the kernel could not keep. */
static unsigned long lost_events(void)
{
	static const char *const counters[] = {
		"\noverrun: ", "commit overrun: ", "dropped events: ",
	};
	unsigned long lost = 0;
	char path[128], text[1024], *at;
	size_t i;
	int cpu;

	for (cpu = 0; cpu < MAX_CPUS; cpu++) {
		snprintf(path, sizeof(path), TRACEFS "/per_cpu/cpu%d/stats", cpu);
		if (!(traced >> cpu & 1) || !read_file(path, text, sizeof(text)))
			continue;
		for (i = 0; i < sizeof(counters) / sizeof(*counters); i++) {
			at = strstr(text, counters[i]);
			if (at)
				lost += strtoul(at + strlen(counters[i]), NULL, 10);
		}
	}
	return lost;
}

/* Steps -------------------------------------------------------------------- */

/* How things are after a change; the first one is before all of them. */
struct state {
	int step;
	cpus_t online, isolated;
	bool counted;
};

static struct state *states;
static size_t state_count;
static int step_number;
static int kmsg_fd = -1;
/* Tell how often the kernel's work ran on each CPU during this change. */
static bool count_runs;
/* What a step has to tell besides its status. */
static char result[1024];

static void write_all(int fd, const char *text)
{
	if (fd >= 0 && write(fd, text, strlen(text)) < 0)
		die("write: %s", strerror(errno));
}

/* The marker of change N is 2N before it and 2N + 1 when it is done. */
static void mark(size_t number)
{
	char text[32];

	if (!tracing)
		return;
	snprintf(text, sizeof(text), "#%zu\n", number);
	write_all(marker_fd, text);
}

/* The processes that were left alone. */
static pid_t left[MAX_LEFT];
static int left_count;

static void begin_change(void)
{
	mark(2 * state_count);
}

/*
 * A partition that a CPU hotplug has made valid or invalid gets into the
 * housekeeping CPUs by a work item. Every change of a cpuset waits for that.
 */
static void settle_partitions(void)
{
	/* It may have a lock that this needs. */
	if (!left_count)
		write_file(CGROUP "/settle/cpuset.cpus.partition", "member");
}

static void end_change(void)
{
	settle_partitions();
	mark(2 * state_count + 1);
	states = grow(states, state_count, sizeof(*states));
	states[state_count++] = (struct state){
		.step = step_number,
		.online = read_cpus(CPUS "/online"),
		/* Those of isolcpus= too, unlike in sysfs. */
		.isolated = read_cpus(CGROUP "/cpuset.cpus.isolated"),
		.counted = count_runs,
	};
	count_runs = false;
}

static pid_t background, child;
static char background_path[256];

/* Wakes kernel threads that are asleep most of the time, so that they run. */
static void poke(void)
{
	/* Those of the module; it does one thing at a time. */
	if (!background && !left_count)
		write_file("/proc/kcload", "wake all");
	/* kcompactd of every node, khungtaskd; the console's thread has a line. */
	write_file("/proc/sys/vm/compaction_proactiveness", "20");
	write_file("/proc/sys/kernel/hung_task_timeout_secs", "120");
	usleep(POKE_PAUSE_US);
}

/* ksmd scans as long as there is something to scan. */
static void start_ksmd(void)
{
	const size_t size = 1 << 16;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return;
	memset(memory, 1, size);
	madvise(memory, size, MADV_MERGEABLE);
	write_file("/sys/kernel/mm/ksm/run", "1");
}

/* The first line of a file as a value of a fact, if there is one. */
static void print_file(const char *key, const char *path)
{
	char text[1024];

	if (!read_file(path, text, sizeof(text)))
		return;
	text[strcspn(text, "\n")] = '\0';
	printf(" %s=", key);
	print_encoded(text);
}

static void begin_step(const char *name, const char *arg)
{
	char text[256];

	/* A guest that hangs shows by this where it was. */
	snprintf(text, sizeof(text), "<6>kcguest: step %d %s %.160s\n",
		 step_number, name, arg);
	write_all(kmsg_fd, text);
}

/* The affinity of every interrupt that has a handler. */
static void print_irqs(void)
{
	DIR *dir = opendir("/proc/irq");
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		char path[64], key[16];
		unsigned int number;
		struct stat status;

		/* The directory of one that has a handler has one for that. */
		if (sscanf(entry->d_name, "%u", &number) != 1)
			continue;
		snprintf(path, sizeof(path), "/proc/irq/%u", number);
		if (stat(path, &status) || status.st_nlink <= 2)
			continue;
		snprintf(path, sizeof(path), "/proc/irq/%u/smp_affinity", number);
		snprintf(key, sizeof(key), "irq%u", number);
		print_file(key, path);
	}
	closedir(dir);
}

static void end_step(const char *name, const char *arg, int status)
{
	const struct state *state = &states[state_count - 1];

	poke();
	printf("@kc step number=%d name=%s arg=", step_number, name);
	print_encoded(arg);
	printf(" status=%d online=%s isolated=%s present=%s", status,
	       format_cpus(state->online), format_cpus(state->isolated),
	       format_cpus(read_cpus(CPUS "/present")));
	print_file("kcpus", CPUS "/kthread_cpus");
	print_file("wq", WORKQUEUES "/cpumask");
	print_file("wqrequested", WORKQUEUES "/cpumask_requested");
	print_file("irqdefault", "/proc/irq/default_smp_affinity");
	print_irqs();
	printf(" init=%s", format_cpus(allowed_of(1)));
	if (child)
		printf(" child=%s", format_cpus(allowed_of(child)));
	putchar('\n');
	if (*result) {
		printf("@kc result text=");
		print_encoded(result);
		putchar('\n');
		*result = '\0';
	}
	look_at_threads();
	print_changes();
	drain_trace();
	step_number++;
}

static int switch_cpu(int cpu, bool on)
{
	char path[64];

	snprintf(path, sizeof(path), CPUS "/cpu%d/online", cpu);
	return write_file(path, on ? "1" : "0");
}

static void step_cpu(int cpu, bool on)
{
	const char *name = on ? "online" : "offline";
	char arg[16];
	int status;

	snprintf(arg, sizeof(arg), "%d", cpu);
	begin_step(name, arg);
	begin_change();
	status = switch_cpu(cpu, on);
	end_change();
	end_step(name, arg, status);
}

static void step_cpus(const char *list, bool off, bool on)
{
	int order[MAX_CPUS], count = parse_order(list, order), i;

	for (i = 0; i < count; i++) {
		if (off)
			step_cpu(order[i], false);
		if (on)
			step_cpu(order[i], true);
	}
}

/*
 * Puts the order number @number of @count CPUs into @order and returns whether
 * there is one.
 */
static bool nth_order(const int *cpus, int count, unsigned int number, int *order)
{
	int left[MAX_CPUS], i, at;

	memcpy(left, cpus, count * sizeof(*left));
	for (i = count; i > 0; i--) {
		at = number % i;
		number /= i;
		order[count - i] = left[at];
		memmove(&left[at], &left[at + 1], (i - at - 1) * sizeof(*left));
	}
	return !number;
}

static void step_orders(const char *list)
{
	int cpus[MAX_CPUS], down[MAX_CPUS], up[MAX_CPUS];
	const int count = parse_order(list, cpus);
	unsigned int first, second;
	int i;

	for (first = 0; nth_order(cpus, count, first, down); first++) {
		for (second = 0; nth_order(cpus, count, second, up); second++) {
			for (i = 0; i < count; i++)
				step_cpu(down[i], false);
			for (i = 0; i < count; i++)
				step_cpu(up[i], true);
		}
	}
}

/* Many changes, and only one look at the threads; the trace sees all of them. */
static void step_spin(const char *arg)
{
	const char *list = strchr(arg, ':');
	int rounds = atoi(arg), round, i, on, count, status = 0;
	int order[MAX_CPUS];

	if (!list)
		die("spin=%s: not COUNT:LIST", arg);
	count = parse_order(list + 1, order);
	begin_step("spin", arg);
	for (round = 0; round < rounds; round++) {
		for (on = 0; on < 2; on++) {
			for (i = 0; i < count; i++) {
				int error;

				begin_change();
				error = switch_cpu(order[i], on);
				end_change();
				drain_trace();
				status = status ?: error;
			}
		}
	}
	end_step("spin", arg, status);
}

/* Splits "FILE:VALUE" and puts in what "@" and "~" stand for. */
static const char *split(const char *name, const char *arg, char *path, size_t size)
{
	static char value[256];
	const char *colon = strchr(arg, ':');
	char *at;

	if (!colon)
		die("%s=%s: there is no colon", name, arg);
	snprintf(path, size, "%s%.*s", *arg == '@' ? CGROUP "/" : "",
		 (int)(colon - arg - (*arg == '@')), arg + (*arg == '@'));
	snprintf(value, sizeof(value), "%s", colon + 1);
	for (at = value; *at; at++)
		if (*at == '~')
			*at = ' ';
	return value;
}

/* Returns 0 or an errno. */
static int start_background(const char *path, const char *value)
{
	if (background)
		return EBUSY;
	snprintf(background_path, sizeof(background_path), "%s", path);
	background = fork();
	if (background < 0)
		die("fork: %s", strerror(errno));
	if (!background)
		_exit(write_file(path, value));
	return 0;
}

/* What the file says then is told: the next thing written to it changes that. */
static int join_background(void)
{
	char text[1024];
	int status;
	pid_t done;

	if (!background)
		return ECHILD;
	while (!(done = waitpid(background, &status, WNOHANG))) {
		drain_trace();
		usleep(JOIN_PAUSE_US);
	}
	if (done < 0)
		return errno;
	background = 0;
	read_file(background_path, text, sizeof(text));
	text[strcspn(text, "\n")] = '\0';
	printf("@kc output of=join line=");
	print_encoded(text);
	putchar('\n');
	return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

static int tell_file(const char *path)
{
	char text[1024];

	if (!read_file(path, text, sizeof(text)))
		return ENOENT;
	text[strcspn(text, "\n")] = '\0';
	printf("@kc output of=");
	print_encoded(path);
	printf(" line=");
	print_encoded(text);
	putchar('\n');
	return 0;
}

static int write_again(const char *path)
{
	char text[4096];

	return read_file(path, text, sizeof(text)) ? write_file(path, text) : ENOENT;
}

static int set_hotplug_state(const char *arg)
{
	const char *name = strchr(arg, ':');
	char path[64], text[16];

	if (!name)
		die("hotplug=%s: there is no colon", arg);
	snprintf(path, sizeof(path), CPUS "/cpu%d/hotplug/target", atoi(arg));
	snprintf(text, sizeof(text), "%d", find_state(name + 1));
	return write_file(path, text);
}

static int refuse_offline(const char *arg)
{
	const char *name = strchr(arg, ':');
	const int cpu = atoi(arg);
	char path[64], text[16];
	int error;

	if (!name)
		die("refuse=%s: there is no colon", arg);
	snprintf(path, sizeof(path), CPUS "/cpu%d/hotplug/fail", cpu);
	snprintf(text, sizeof(text), "%d", find_state(name + 1));
	error = write_file(path, text);
	if (error)
		die("refuse=%s: %s", arg, strerror(error));
	error = switch_cpu(cpu, false);
	/* What follows is not to be refused. */
	if (write_file(path, "-1"))
		die("refuse=%s: it can't be taken back", arg);
	return error;
}

/* Has the thread @pid (0: this one) use @cpus. Returns 0 or an errno. */
static int place(int pid, cpus_t cpus)
{
	cpu_set_t set;
	int cpu;

	CPU_ZERO(&set);
	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		if (cpus >> cpu & 1)
			CPU_SET(cpu, &set);
	return sched_setaffinity(pid, sizeof(set), &set) ? errno : 0;
}

static int start_process(void)
{
	child = fork();
	if (child < 0)
		die("fork: %s", strerror(errno));
	if (!child)
		for (;;)
			pause();
	return 0;
}

/* Returns 0 if there is no such thread. */
static int pid_of(const char *name)
{
	size_t i;

	if (!strcmp(name, "child"))
		return child;
	for (i = 0; i < thread_count; i++)
		if (threads[i].here && !strcmp(threads[i].name, name))
			return threads[i].pid;
	return 0;
}

static int set_affinity(const char *name, cpus_t cpus)
{
	int pid = pid_of(name);

	return pid ? place(pid, cpus) : ESRCH;
}

static int set_cpuset(const char *name, const char *group)
{
	int pid = pid_of(name);
	char path[256], text[16];

	if (!pid)
		return ESRCH;
	snprintf(path, sizeof(path), CGROUP "/%s/cgroup.procs",
		 strcmp(group, "@") ? group : ".");
	snprintf(text, sizeof(text), "%d", pid);
	return write_file(path, text);
}

static int await_present(cpus_t cpus)
{
	int tries;

	for (tries = 0; tries < PRESENT_TRIES; tries++) {
		if (!(cpus & ~read_cpus(CPUS "/present")))
			return 0;
		usleep(PRESENT_PAUSE_US);
	}
	return ETIMEDOUT;
}

/* Kthread CPUs, work and helpers --------------------------------------------- */

/* "~" stands for a space. Without the newline, nothing would be written for no CPU. */
static int write_kcpus(const char *arg)
{
	char text[4096], *at;

	snprintf(text, sizeof(text), "%s\n", arg);
	for (at = text; *at; at++)
		if (*at == '~')
			*at = ' ';
	return write_file(CPUS "/kthread_cpus", text);
}

static int command_work(const char *arg)
{
	char text[256], *at;
	int error;

	snprintf(text, sizeof(text), "%s", arg);
	for (at = text; *at; at++)
		if (*at == '~')
			*at = ' ';
	error = write_file("/proc/kcwork", text);
	read_file("/proc/kcwork", result, sizeof(result));
	result[strcspn(result, "\n")] = '\0';
	return error;
}

/* While there may be no more threads, workers cannot be made: rescuers must help. */
static int rescue_work(void)
{
	static const char file[] = "/proc/sys/kernel/threads-max";
	char before[64];
	int error = command_work("rescue prepare");

	if (error)
		return error;
	read_file(file, before, sizeof(before));
	error = write_file(file, "1");
	if (!error)
		error = command_work("rescue");
	write_file(file, before);
	return error;
}

/* Adds what a helper has told to the result. */
static bool helper_has_told(const char *helper)
{
	char text[4096], word[64], *at;

	read_file("/run/umh", text, sizeof(text));
	snprintf(word, sizeof(word), "helper=%s allowed=", helper);
	at = strstr(text, word);
	/* A line that is being written has no end yet. */
	if (!at || !strchr(at, '\n'))
		return false;
	at += strlen(word);
	snprintf(result + strlen(result), sizeof(result) - strlen(result), "%s%s=%.*s",
		 *result ? " " : "", helper, (int)strcspn(at, "\n"), at);
	return true;
}

static int await_helper(const char *helper)
{
	int tries;

	for (tries = 0; tries < HELPER_TRIES; tries++) {
		if (helper_has_told(helper))
			return 0;
		drain_trace();
		usleep(HELPER_PAUSE_US);
	}
	return ETIMEDOUT;
}

static void dump_core(void)
{
	const pid_t child = fork();

	if (!child) {
		signal(SIGSEGV, SIG_DFL);
		raise(SIGSEGV);
		_exit(1);
	}
	if (child > 0)
		waitpid(child, NULL, 0);
}

/* Has the kernel start helpers of one kind; the first of them starts another one. */
static int start_helper(const char *helper)
{
	static const struct {
		const char *helper, *file, *value;
	} kinds[] = {
		{ "modprobe", "/proc/sys/kernel/modprobe", "/kc/umh-modprobe" },
		{ "core", "/proc/sys/kernel/core_pattern", "|/kc/umh-core" },
		{ "uevent", "/sys/kernel/uevent_helper", "/kc/umh-uevent" },
	};
	char before[256];
	int kind, error;

	for (kind = 0; strcmp(kinds[kind].helper, helper); kind++)
		if (kind == 2)
			die("there is no helper %s", helper);
	read_file(kinds[kind].file, before, sizeof(before));
	error = write_file(kinds[kind].file, kinds[kind].value);
	if (error)
		return error;
	if (kind == 0)
		mount("none", "/run", "kcouter", 0, NULL);
	else if (kind == 1)
		dump_core();
	else
		write_file(CPUS "/cpu0/uevent", "change");
	error = await_helper(helper);
	if (!kind && !error)
		error = await_helper("nested");
	write_file(kinds[kind].file, *before ? before : "\n");
	return error;
}

static int start_helpers(const char *arg)
{
	char names[64], *name, *rest = names;
	int error = 0;

	snprintf(names, sizeof(names), "%s", arg);
	unlink("/run/umh");
	while (!error && (name = strsep(&rest, ",")))
		error = start_helper(name);
	return error;
}

/* Steps that may hang --------------------------------------------------------- */

static int run_simple(const char *name, const char *arg);

static time_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

/* Returns whether the process has ended within so many seconds, and how. */
static bool has_ended(pid_t pid, int seconds, int *status)
{
	const time_t deadline = now() + seconds;
	pid_t done;

	while (!(done = waitpid(pid, status, WNOHANG)) && now() < deadline)
		usleep(JOIN_PAUSE_US);
	return done;
}

static int run_within(const char *arg)
{
	char *rest, *equals, *step, text[512];
	const int seconds = strtol(arg, &rest, 10);
	int status;
	pid_t pid;

	snprintf(text, sizeof(text), "%s", rest);
	equals = strchr(text, '=');
	step = text + 1;
	if (*text != ':' || left_count == MAX_LEFT)
		die("within=%s", arg);
	if (equals)
		*equals++ = '\0';
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (!pid)
		_exit(run_simple(step, equals ?: ""));
	if (!has_ended(pid, seconds, &status)) {
		left[left_count++] = pid;
		return ETIMEDOUT;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

/* Returns the first error of those that were left alone. */
static int await_left(int seconds)
{
	int status, error = 0;

	while (left_count) {
		if (!has_ended(left[left_count - 1], seconds, &status))
			return ETIMEDOUT;
		left_count--;
		if (!error)
			error = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
	}
	return error;
}

/* Children ------------------------------------------------------------------- */

#define MAX_CHILDREN 16

static pid_t children[MAX_CHILDREN];
static int child_count;

/* What the children of a step share; each counts what it does itself. */
static struct shared {
	volatile bool stopping;
	unsigned int hotplug, partitions, workqueues, work, kthreads, bound, parked, stopped,
		placed, hogs, helpers, modules;
} *shared;

/* Starts a child on @cpus (0: anywhere) that calls @function with @value. */
static pid_t start_child(int (*function)(unsigned int value), unsigned int value, cpus_t cpus)
{
	pid_t child;

	if (!shared)
		shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || child_count == MAX_CHILDREN)
		die("too many children");
	child = fork();
	if (child < 0)
		die("fork: %s", strerror(errno));
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (cpus && place(0, cpus))
			_exit(EINVAL);
		_exit(function(value));
	}
	children[child_count++] = child;
	return child;
}

/* Waits for all children and returns the first error of them. */
static int wait_for_children(void)
{
	int error = 0, left = child_count, status, i;

	while (left) {
		const pid_t done = waitpid(-1, &status, WNOHANG);

		drain_trace();
		if (!done) {
			usleep(JOIN_PAUSE_US);
			continue;
		}
		for (i = 0; i < child_count && children[i] != done; i++)
			;
		if (done < 0 || i == child_count)
			continue;
		left--;
		if (!WIFEXITED(status))
			error = error ?: EINTR;
		else if (!error)
			error = WEXITSTATUS(status);
	}
	child_count = 0;
	shared->stopping = false;
	return error;
}

/* Noise ---------------------------------------------------------------------- */

#define NOISE_FORKS 24
#define NOISE_HELPERS 8
#define NOISE_FILES 32
#define NOISE_BLOCK 65536

static cpus_t noise_cpus;

static int keep_busy(unsigned int value)
{
	(void)value;
	while (!shared->stopping)
		;
	return 0;
}

/* Processes that come and go at once, and with them what RCU frees for them. */
static void fork_storm(int count, void (*run)(void))
{
	int i;

	for (i = 0; i < count; i++) {
		if (!fork()) {
			run();
			_exit(0);
		}
	}
	for (i = 0; i < count; i++)
		wait(NULL);
}

static void do_nothing(void)
{
}

/* Has the kernel start modprobe, and waits for it. */
static void want_module(void)
{
	mount("none", "/run", "kcnoise", 0, NULL);
}

/* Files and directories that come and go: RCU callbacks, and work for cgroups. */
static void callback_flood(void)
{
	char path[64];
	int i, fd;

	for (i = 0; i < NOISE_FILES; i++) {
		snprintf(path, sizeof(path), "/run/noise.%d", i);
		fd = open(path, O_CREAT | O_WRONLY, 0600);
		close(fd);
		unlink(path);
		snprintf(path, sizeof(path), CGROUP "/noise.%d", i);
		mkdir(path, 0755);
		rmdir(path);
	}
}

/* A disk in memory: the driver and writeback use unbound workqueues. */
static int open_disk(void)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), number, disk, file;
	char path[32];

	file = open("/run/disk", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (control < 0 || file < 0 || ftruncate(file, 16 * NOISE_BLOCK))
		return -1;
	number = ioctl(control, LOOP_CTL_GET_FREE);
	snprintf(path, sizeof(path), "/dev/loop%d", number);
	disk = open(path, O_RDWR | O_CLOEXEC);
	if (disk >= 0 && ioctl(disk, LOOP_SET_FD, file)) {
		close(disk);
		disk = -1;
	}
	close(control);
	close(file);
	return disk;
}

static void write_back(int disk)
{
	static char block[NOISE_BLOCK];
	int i;

	memset(block, rand(), sizeof(block));
	for (i = 0; i < 4; i++)
		if (pwrite(disk, block, sizeof(block), (rand() % 16) * sizeof(block)) < 0)
			return;
	/* Not waited for: the flusher has to come. */
	sync_file_range(disk, 0, 0, SYNC_FILE_RANGE_WRITE);
	if (!(rand() % 2))
		fsync(disk);
}

static int make_noise(unsigned int rounds)
{
	const int disk = open_disk(), cpu = 63 - __builtin_clzll(noise_cpus);
	int error = disk < 0 ? ENODEV : 0;

	write_file("/proc/sys/vm/dirty_writeback_centisecs", "1");
	write_file("/proc/sys/kernel/modprobe", "/kc/umh-modprobe");
	while (!error && rounds--) {
		fork_storm(NOISE_FORKS, do_nothing);
		/* One helper alone mostly finds a CPU that is not busy. */
		fork_storm(NOISE_HELPERS, want_module);
		callback_flood();
		write_back(disk);
		write_file("/proc/kcwork", "run unbound 8");
		write_file("/proc/kcwork", "run ordered 8");
		write_file("/proc/kcload", "wake all");
		poke();
		/* The boot CPU cannot be switched. */
		if (cpu) {
			error = switch_cpu(cpu, false);
			error = error ?: switch_cpu(cpu, true);
		}
	}
	ioctl(disk, LOOP_CLR_FD);
	shared->stopping = true;
	return error;
}

static int step_noise(const char *arg)
{
	const char *list = strchr(arg, ':');
	cpus_t busy;
	int cpu;

	if (!list)
		die("noise=%s: not ROUNDS:LIST", arg);
	busy = parse_cpus(list + 1);
	noise_cpus = read_cpus(CPUS "/online") & ~busy;
	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		if (busy >> cpu & 1)
			start_child(keep_busy, 0, (cpus_t)1 << cpu);
	start_child(make_noise, atoi(arg), noise_cpus);
	count_runs = true;
	return wait_for_children();
}

/* Juggle --------------------------------------------------------------------- */

static void place_load(cpus_t cpus)
{
	size_t i;

	for (i = 0; i < thread_count; i++)
		if (threads[i].here && !threads[i].bound && !strncmp(threads[i].name, "kcload-", 7))
			shared->placed += !place(threads[i].pid, cpus);
}

/* Each time to another pair of CPUs, or they would stay where they are. */
static int keep_placing(unsigned int cpu)
{
	const cpus_t others = read_cpus(CPUS "/possible") & ~((cpus_t)1 << cpu);
	cpus_t left = 0;

	while (!shared->stopping) {
		left = left ?: others;
		place_load((cpus_t)1 << cpu | (left & -left));
		left &= left - 1;
	}
	place_load(others | (cpus_t)1 << cpu);
	return 0;
}

static int keep_waking(unsigned int value)
{
	int error = 0;

	(void)value;
	while (!error && !shared->stopping)
		error = write_file("/proc/kcload", "wake all");
	return error;
}

static int step_juggle(const char *arg)
{
	const char *colon = strchr(arg, ':');
	int error = 0, left = atoi(arg), cpu, other;

	if (!colon)
		die("juggle=%s: not COUNT:CPU", arg);
	cpu = atoi(colon + 1);
	look_at_threads();
	start_child(keep_placing, cpu, 0);
	start_child(keep_waking, 0, 0);
	while (!error && left--) {
		error = switch_cpu(cpu, false);
		error = error ?: switch_cpu(cpu, true);
	}
	shared->stopping = true;
	other = wait_for_children();
	snprintf(result, sizeof(result), "placed=%u", shared->placed);
	shared->placed = 0;
	return error ?: other;
}

/* Torture -------------------------------------------------------------------- */

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

/* CPUs go and come; the first one stays. */
static int torture_hotplug(unsigned int value)
{
	const int count = __builtin_popcountll(possible);
	int cpu, error = 0;
	unsigned int on;

	seed(value, 1);
	while (!shared->stopping) {
		/* While a CPU moves, nothing else can. */
		usleep(below(40000));
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

/* User space places kernel threads, and lets go of them in the end. */
static int torture_placement(unsigned int value)
{
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
	place(KTHREADD, possible);
	for (i = 0; i < thread_count; i++)
		if (threads[i].here && !threads[i].bound)
			place(threads[i].pid, possible);
	return 0;
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
		 " stopped=%u placed=%u hogs=%u helpers=%u modules=%u",
		 shared->hotplug, shared->partitions, shared->workqueues, shared->work,
		 shared->kthreads, shared->bound, shared->parked, shared->stopped,
		 shared->placed, shared->hogs, shared->helpers, shared->modules);
	memset(shared, 0, sizeof(*shared));
}

static int step_torture(const char *arg)
{
	const char *colon = strchr(arg, ':');
	unsigned int value;
	int error, other;

	if (!colon)
		die("torture=%s: not CHANGES:SEED", arg);
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

static int run_simple(const char *name, const char *arg)
{
	char path[256];
	const char *value;

	if (!strcmp(name, "write")) {
		value = split(name, arg, path, sizeof(path));
		/* Nothing at all is not even seen. */
		return write_file(path, *value ? value : "\n");
	}
	if (!strcmp(name, "background")) {
		value = split(name, arg, path, sizeof(path));
		return start_background(path, value);
	}
	if (!strcmp(name, "join"))
		return join_background();
	if (!strcmp(name, "read"))
		return tell_file(arg);
	if (!strcmp(name, "again"))
		return write_again(arg);
	if (!strcmp(name, "within"))
		return run_within(arg);
	if (!strcmp(name, "left"))
		return await_left(atoi(arg));
	if (!strcmp(name, "mkdir") || !strcmp(name, "rmdir")) {
		snprintf(path, sizeof(path), "%s%s", *arg == '@' ? CGROUP "/" : "",
			 arg + (*arg == '@'));
		return (*name == 'm' ? mkdir(path, 0755) : rmdir(path)) ? errno : 0;
	}
	if (!strcmp(name, "affinity")) {
		value = split(name, arg, path, sizeof(path));
		return set_affinity(path, parse_cpus(value));
	}
	if (!strcmp(name, "cpuset")) {
		value = split(name, arg, path, sizeof(path));
		return set_cpuset(path, value);
	}
	if (!strcmp(name, "child"))
		return start_process();
	if (!strcmp(name, "kcpus"))
		return write_kcpus(arg);
	if (!strcmp(name, "hotplug"))
		return set_hotplug_state(arg);
	if (!strcmp(name, "refuse"))
		return refuse_offline(arg);
	if (!strcmp(name, "work"))
		return command_work(arg);
	if (!strcmp(name, "rescue"))
		return rescue_work();
	if (!strcmp(name, "helper"))
		return start_helpers(arg);
	if (!strcmp(name, "noise"))
		return step_noise(arg);
	if (!strcmp(name, "juggle"))
		return step_juggle(arg);
	if (!strcmp(name, "torture"))
		return step_torture(arg);
	if (!strcmp(name, "present"))
		return await_present(parse_cpus(arg));
	if (!strcmp(name, "ask")) {
		snprintf(path, sizeof(path), "<6>kcguest: ask %s\n", arg);
		write_all(kmsg_fd, path);
		return 0;
	}
	die("there is no step %s", name);
	return EINVAL;
}

static void run_step(const char *step)
{
	const char *arg = strchr(step, '=');
	char name[32];
	int status;

	snprintf(name, sizeof(name), "%.*s",
		 (int)(arg ? arg - step : (long)strlen(step)), step);
	arg = arg ? arg + 1 : "";
	if (!strcmp(name, "offline")) {
		step_cpus(arg, true, false);
	} else if (!strcmp(name, "online")) {
		step_cpus(arg, false, true);
	} else if (!strcmp(name, "each")) {
		step_cpus(arg, true, true);
	} else if (!strcmp(name, "orders")) {
		step_orders(arg);
	} else if (!strcmp(name, "spin")) {
		step_spin(arg);
	} else {
		begin_step(name, arg);
		begin_change();
		status = run_simple(name, arg);
		end_change();
		end_step(name, arg, status);
	}
}

/* Telling who ran where ---------------------------------------------------- */

struct run {
	int pid;
	bool made;
	enum class class;
	cpus_t cpus;
};

static struct run *runs;
static size_t run_count;
static unsigned int epoch_switches;
static unsigned int class_runs[MAX_CPUS][CLASSES];

/* By number: a managed thread, as far as a look has seen. */
static bool managed[MAX_PID];

static void find_managed(void)
{
	size_t i;

	for (i = 0; i < thread_count; i++)
		if (threads[i].pid < MAX_PID)
			managed[threads[i].pid] = threads[i].unbound && !threads[i].bound;
}

/*
 * Takes note of a managed thread, of a kernel thread that is being made, or of
 * one that works for unbound workqueues. If no look has seen it, it is number 0.
 */
static void take_run(int pid, bool made, enum class class, int cpu)
{
	size_t i;

	if (pid <= 0 || pid >= MAX_PID)
		return;
	if (managed[pid] || made)
		class = MANAGED;
	if (class != MANAGED && class != WORKER && class != RESCUER)
		return;
	if (class != MANAGED ? !find_thread(pid) : made && !managed[pid])
		pid = 0;
	for (i = 0; i < run_count; i++)
		if (runs[i].pid == pid && runs[i].made == made && runs[i].class == class)
			break;
	if (i == run_count) {
		runs = grow(runs, run_count, sizeof(*runs));
		runs[run_count++] = (struct run){ .pid = pid, .made = made, .class = class };
	}
	runs[i].cpus |= (cpus_t)1 << cpu;
}

/* How often a CPU has turned to each kind of the kernel's work. */
static void tell_counts(void)
{
	int cpu, class;

	for (cpu = 0; cpu < MAX_CPUS; cpu++) {
		if (!(traced >> cpu & 1))
			continue;
		printf("@kc counted cpu=%d", cpu);
		for (class = WORKER; class < CLASSES; class++)
			printf(" %s=%u", class_names[class], class_runs[cpu][class]);
		putchar('\n');
	}
}

static void count_run(const struct event *event)
{
	const int pid = event->next;
	const bool is_managed = event->next_made ||
				(pid > 0 && pid < MAX_PID && managed[pid]);

	class_runs[event->cpu][is_managed ? MANAGED : event->next_class]++;
}

/* One fact for the epoch and one for each set of CPUs. */
static void end_epoch(const char *kind, const struct state *state)
{
	size_t i, j;

	printf("@kc epoch kind=%s step=%d online=%s isolated=%s switches=%u\n",
	       kind, state->step, format_cpus(state->online),
	       format_cpus(state->isolated), epoch_switches);
	for (i = 0; i < run_count; i++) {
		const cpus_t cpus = runs[i].cpus;
		const char *comma = "";

		if (!cpus)
			continue;
		printf("@kc ran cpus=%s threads=", format_cpus(cpus));
		for (j = i; j < run_count; j++) {
			if (runs[j].cpus != cpus)
				continue;
			printf("%s%d", comma, runs[j].pid);
			if (runs[j].made || runs[j].class != MANAGED)
				printf(":%s", runs[j].made ? "made" :
				       class_names[runs[j].class]);
			comma = ",";
			runs[j].cpus = 0;
		}
		putchar('\n');
	}
	if (state->counted && !strcmp(kind, "moving"))
		tell_counts();
	run_count = 0;
	epoch_switches = 0;
	memset(class_runs, 0, sizeof(class_runs));
}

static int by_time(const void *a, const void *b)
{
	const struct event *one = a, *other = b;

	return one->time < other->time ? -1 : one->time > other->time;
}

/*
 * The epochs: while the kernel boots one for each set of CPUs in use, then in
 * turn one with a change in flight and one after it. A CPU is in use at boot
 * when the next one begins to come up.
 */
static void tell_trace(void)
{
	struct state state = { .step = -1, .online = 1, .isolated = states[0].isolated };
	const char *kind = "boot";
	size_t i, switches = 0;
	cpus_t seen = 0, coming = 0;

	find_managed();
	qsort(events, event_count, sizeof(*events), by_time);
	for (i = 0; i < event_count; i++) {
		const struct event *event = &events[i];
		const bool booting = state.step < 0;

		switch (event->kind) {
		case SWITCH:
			take_run(event->prev, event->prev_made, event->prev_class,
				 event->cpu);
			take_run(event->next, event->next_made, event->next_class,
				 event->cpu);
			count_run(event);
			seen |= (cpus_t)1 << event->cpu;
			epoch_switches++;
			switches++;
			break;
		case CPU_UP:
			if (booting)
				coming |= (cpus_t)1 << event->next;
			break;
		case CPU_MOVES:
			if (!booting || !(coming & ~((cpus_t)1 << event->next)))
				break;
			end_epoch(kind, &state);
			state.online |= coming;
			coming = 0;
			break;
		case MARKER:
			/* What is in flight is told with the state that it leads to. */
			end_epoch(kind, &state);
			if ((size_t)event->next / 2 >= state_count)
				die("a marker %d of %zu changes", event->next, state_count);
			state = states[event->next / 2];
			kind = event->next % 2 ? "quiet" : "moving";
			break;
		}
	}
	end_epoch(kind, &state);
	printf("@kc sampled events=%zu switches=%zu lost=%lu cpus=%s\n",
	       event_count, switches, lost_events(), format_cpus(seen));
}

int main(int argc, char **argv)
{
	int i, first = 1;

	if (argc > 1 && !strcmp(argv[1], "notrace"))
		first++;
	else
		open_trace();
	mkdir(CGROUP "/settle", 0755);
	kmsg_fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	start_ksmd();
	begin_step("start", "");
	/* The first state is there already: its two markers have nothing between. */
	begin_change();
	end_change();
	end_step("start", "", 0);
	for (i = first; i < argc; i++)
		run_step(argv[i]);
	drain_trace();
	if (tracing)
		tell_trace();
	if (child)
		kill(child, SIGKILL);
	return 0;
}
