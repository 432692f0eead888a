// SPDX-License-Identifier: GPL-2.0
/* What the kernel has recorded: switches, CPUs that come and go, and our markers. */
#define _GNU_SOURCE
#include "steps.h"

const char *const class_names[CLASSES] = {
	[WORKER] = "worker",
	[RESCUER] = "rescuer",
	[HELPER] = "helper",
	[MANAGED] = "managed",
	[TIMER] = "timer",
	[SOFTIRQ] = "softirq",
	[IRQ] = "irq",
};

struct event *events;
size_t event_count;
static int raw_fds[MAX_CPUS];
int marker_fd = -1;
cpus_t traced;
bool tracing;

/* What the kernel says about the layout of an event. */
struct format {
	int id;
	char text[4096];
};

static struct format switch_format, enter_format, exit_format, print_format;
static int prev_comm, next_comm, prev_pid, next_pid;
static int enter_cpu, exit_cpu, exit_state, print_buf;
static int active_state;

/* As in the kernel's linux/timer.h, linux/hrtimer.h and linux/interrupt.h. */
#define TIMER_PINNED 0x00100000u
#define HRTIMER_MODE_PINNED 0x02u
#define NET_TX_SOFTIRQ 2
#define NET_RX_SOFTIRQ 3
#define BLOCK_SOFTIRQ 4

/* What is recorded only while it is counted, as there is much of it. */
static struct {
	const char *event, *field;
	enum kind kind;
	enum class class;
	/* The field of an armed timer that says whether it is pinned. */
	const char *flags;
	unsigned int pinned;
	struct format format;
	int at, flags_at;
} others[] = {
	{ .event = "timer/timer_start", .field = "timer", .kind = ARMED,
	  .flags = "flags", .pinned = TIMER_PINNED },
	{ .event = "timer/hrtimer_start", .field = "hrtimer", .kind = ARMED,
	  .flags = "mode", .pinned = HRTIMER_MODE_PINNED },
	{ .event = "timer/timer_expire_entry", .field = "timer", .kind = EXPIRED },
	{ .event = "timer/hrtimer_expire_entry", .field = "hrtimer", .kind = EXPIRED },
	{ .event = "irq/softirq_entry", .field = "vec", .kind = ENTERED, .class = SOFTIRQ },
	{ .event = "irq/irq_handler_entry", .field = "irq", .kind = ENTERED, .class = IRQ },
};

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
int find_state(const char *name)
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

void open_trace(void)
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

/* Has timers, softirqs and interrupts recorded, too, or no longer. Returns 0 or an errno. */
int record_all(bool on)
{
	int error = 0;
	size_t i;

	for (i = 0; tracing && i < sizeof(others) / sizeof(*others); i++) {
		char path[128];

		if (!others[i].format.id) {
			read_format(&others[i].format, others[i].event);
			others[i].at = field(&others[i].format, others[i].field);
			if (others[i].flags)
				others[i].flags_at = field(&others[i].format, others[i].flags);
		}
		snprintf(path, sizeof(path), TRACEFS "/events/%s/enable", others[i].event);
		error = write_file(path, on ? "1" : "0") ?: error;
	}
	return error;
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

/* A CPU has the other softirqs for itself; and nobody places the clock's interrupt. */
static bool is_counted(enum class class, int number)
{
	if (class == SOFTIRQ)
		return number == NET_TX_SOFTIRQ || number == NET_RX_SOFTIRQ ||
		       number == BLOCK_SOFTIRQ;
	return number && !is_fixed(number);
}

/* Returns whether it is an event that record_all() is about, and counts. */
static bool take_other(const char *data, int type, struct event *event)
{
	size_t i;

	for (i = 0; i < sizeof(others) / sizeof(*others); i++) {
		if (!type || type != others[i].format.id)
			continue;
		event->kind = others[i].kind;
		event->next_class = others[i].class;
		if (event->kind == ENTERED)
			return is_counted(others[i].class, load_int(data + others[i].at));
		memcpy(&event->timer, data + others[i].at, sizeof(event->timer));
		if (others[i].flags)
			event->pinned = load_int(data + others[i].flags_at) & others[i].pinned;
		return true;
	}
	return false;
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
	} else if (!take_other(data, type, &event)) {
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
void drain_trace(void)
{
	static char page[65536];
	int cpu;

	for (cpu = 0; tracing && cpu < MAX_CPUS; cpu++)
		while (raw_fds[cpu] >= 0 &&
		       read(raw_fds[cpu], page, sizeof(page)) > 0)
			take_page(page, cpu);
}

/* Events that the kernel could not keep. */
unsigned long lost_events(void)
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
