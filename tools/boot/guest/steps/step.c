// SPDX-License-Identifier: GPL-2.0
/* A step begins and ends, with marks in the trace around it. */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "steps.h"

/* What a woken thread needs to get to a CPU; nothing is judged by it. */
#define POKE_PAUSE_US 3000

struct state *states;
size_t state_count;
static int step_number;
int kmsg_fd = -1;
/* Tell how often the kernel's work ran on each CPU during this change. */
bool count_runs;
/* What a step has to tell besides its status. */
char result[1024];

void write_all(int fd, const char *text)
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
pid_t left[MAX_LEFT];
int left_count;

void begin_change(void)
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

void end_change(void)
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

pid_t background, child, busy;
char background_path[256];

/* Wakes kernel threads that are asleep most of the time, so that they run. */
void poke(void)
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
void start_ksmd(void)
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
void print_file(const char *key, const char *path)
{
	char text[1024];

	if (!read_file(path, text, sizeof(text)))
		return;
	text[strcspn(text, "\n")] = '\0';
	printf(" %s=", key);
	print_encoded(text);
}

void begin_step(const char *name, const char *arg)
{
	char text[256];

	/* A guest that hangs shows by this where it was. */
	snprintf(text, sizeof(text), "<6>kcguest: step %d %s %.160s\n",
		 step_number, name, arg);
	write_all(kmsg_fd, text);
}

void end_step(const char *name, const char *arg, int status)
{
	const struct state *state = &states[state_count - 1];

	poke();
	look_at_irqs();
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
	if (busy)
		printf(" busy=%s", format_cpus(allowed_of(busy)));
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
