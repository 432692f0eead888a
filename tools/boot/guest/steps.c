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
 *	mkdir=DIRECTORY rmdir=DIRECTORY
 *	affinity=THREAD:LIST         sched_setaffinity() on a kernel thread
 *	ask=WORD                     has the host do something, see vm.py
 *	present=LIST                 waits for CPUs to be there
 *
 * The command line of the kernel must have trace_clock=counter and
 * trace_event=sched:sched_switch,cpuhp:cpuhp_enter,cpuhp:cpuhp_exit. A marker
 * stands in the trace before and after every change: between the two, it is in
 * flight. The clock only counts, so that events of all CPUs have an order.
 *
 * One process does all of it: what forks would disturb what is looked at.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRACEFS "/sys/kernel/tracing"
#define CPUS "/sys/devices/system/cpu"
#define CGROUP "/sys/fs/cgroup"

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

/* What a woken thread needs to get to a CPU; nothing is judged by it. */
#define POKE_PAUSE_US 3000

typedef uint64_t cpus_t;

static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("steps: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(2);
}

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

/* Returns 0 or an errno. */
static int write_file(const char *path, const char *value)
{
	int error = 0, fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return errno;
	if (write(fd, value, strlen(value)) < 0)
		error = errno;
	close(fd);
	return error;
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
	/* Seen in the latest look, changed since the one before. */
	bool here, changed;
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
	char path[64], text[4096], *at, *end;

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
	at = strstr(text, "Cpus_allowed_list:");
	if (!at)
		return false;
	thread->allowed = parse_cpus(at + strcspn(at, "\t") + 1);
	return true;
}

static void look_at_threads(void)
{
	const unsigned int kept = PF_KTHREAD | PF_NO_SETAFFINITY;
	struct dirent *entry;
	DIR *proc = opendir("/proc");
	size_t i;

	if (!proc)
		die("/proc cannot be read");
	for (i = 0; i < thread_count; i++)
		threads[i].here = threads[i].changed = false;
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

		if (!threads[i].changed)
			continue;
		printf("@kc allowed list=%s pids=", format_cpus(allowed));
		for (j = i; j < thread_count; j++) {
			if (!threads[j].changed || threads[j].allowed != allowed)
				continue;
			printf("%s%d", j == i ? "" : ",", threads[j].pid);
			threads[j].changed = false;
		}
		putchar('\n');
	}
	for (i = 0; i < thread_count; i++) {
		if (threads[i].here || !threads[i].allowed)
			continue;
		printf("%s%d", gone ? "," : "@kc gone pids=", threads[i].pid);
		gone = true;
		/* The name stays for the trace; a new one of this pid is a change. */
		threads[i].allowed = 0;
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
	uint8_t cpu, kind;
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

/* The number of the CPU-hotplug state after which a CPU is in general use. */
static int find_active_state(void)
{
	char text[8192], *at;

	if (!read_file(CPUS "/hotplug/states", text, sizeof(text)))
		die("the states of CPU hotplug cannot be read");
	at = strstr(text, ": sched:active");
	if (!at)
		die("there is no state sched:active");
	while (at > text && at[-1] != '\n')
		at--;
	return atoi(at);
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
	active_state = find_active_state();

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
};

static struct state *states;
static size_t state_count;
static int step_number;
static int kmsg_fd = -1;

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
	};
}

static pid_t background;
static char background_path[256];

/* Wakes kernel threads that are asleep most of the time, so that they run. */
static void poke(void)
{
	/* Those of the module; it does one thing at a time. */
	if (!background)
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

static void begin_step(const char *name, const char *arg)
{
	char text[256];

	/* A guest that hangs shows by this where it was. */
	snprintf(text, sizeof(text), "<6>kcguest: step %d %s %.160s\n",
		 step_number, name, arg);
	write_all(kmsg_fd, text);
}

static void end_step(const char *name, const char *arg, int status)
{
	const struct state *state = &states[state_count - 1];

	poke();
	printf("@kc step number=%d name=%s arg=", step_number, name);
	print_encoded(arg);
	printf(" status=%d online=%s isolated=%s present=%s\n", status,
	       format_cpus(state->online), format_cpus(state->isolated),
	       format_cpus(read_cpus(CPUS "/present")));
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

static int set_affinity(const char *name, cpus_t cpus)
{
	cpu_set_t set;
	size_t i;
	int cpu;

	CPU_ZERO(&set);
	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		if (cpus >> cpu & 1)
			CPU_SET(cpu, &set);
	for (i = 0; i < thread_count; i++)
		if (threads[i].here && !strcmp(threads[i].name, name))
			return sched_setaffinity(threads[i].pid, sizeof(set), &set) ?
				       errno : 0;
	return ESRCH;
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

static int run_simple(const char *name, const char *arg)
{
	char path[256];
	const char *value;

	if (!strcmp(name, "write")) {
		value = split(name, arg, path, sizeof(path));
		return write_file(path, value);
	}
	if (!strcmp(name, "background")) {
		value = split(name, arg, path, sizeof(path));
		return start_background(path, value);
	}
	if (!strcmp(name, "join"))
		return join_background();
	if (!strcmp(name, "mkdir") || !strcmp(name, "rmdir")) {
		snprintf(path, sizeof(path), "%s%s", *arg == '@' ? CGROUP "/" : "",
			 arg + (*arg == '@'));
		return (*name == 'm' ? mkdir(path, 0755) : rmdir(path)) ? errno : 0;
	}
	if (!strcmp(name, "affinity")) {
		value = split(name, arg, path, sizeof(path));
		return set_affinity(path, parse_cpus(value));
	}
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
	cpus_t cpus;
};

static struct run *runs;
static size_t run_count;
static unsigned int epoch_switches;

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
 * Takes note of a managed thread, or of a kernel thread that is being made. If no
 * look has seen it, it is number 0.
 */
static void take_run(int pid, bool made, int cpu)
{
	size_t i;

	if (pid <= 0 || pid >= MAX_PID || (!managed[pid] && !made))
		return;
	if (made && !managed[pid])
		pid = 0;
	for (i = 0; i < run_count; i++)
		if (runs[i].pid == pid && runs[i].made == made)
			break;
	if (i == run_count) {
		runs = grow(runs, run_count, sizeof(*runs));
		runs[run_count++] = (struct run){ .pid = pid, .made = made };
	}
	runs[i].cpus |= (cpus_t)1 << cpu;
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
			printf("%s%d%s", comma, runs[j].pid, runs[j].made ? ":made" : "");
			comma = ",";
			runs[j].cpus = 0;
		}
		putchar('\n');
	}
	run_count = 0;
	epoch_switches = 0;
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
			take_run(event->prev, event->prev_made, event->cpu);
			take_run(event->next, event->next_made, event->cpu);
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
	int i;

	open_trace();
	mkdir(CGROUP "/settle", 0755);
	kmsg_fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	start_ksmd();
	begin_step("start", "");
	/* The first state is there already: its two markers have nothing between. */
	begin_change();
	end_change();
	end_step("start", "", 0);
	for (i = 1; i < argc; i++)
		run_step(argv[i]);
	drain_trace();
	tell_trace();
	return 0;
}
