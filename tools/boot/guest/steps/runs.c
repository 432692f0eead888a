// SPDX-License-Identifier: GPL-2.0
/* On which CPUs the kernel threads have run, from what was recorded. */
#define _GNU_SOURCE
#include <search.h>

#include "steps.h"

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

/* Where each timer was armed last, by its address; -1: where it was meant to expire. */
struct timer {
	uint64_t address;
	int cpu;
};

static void *timers;

static int by_address(const void *a, const void *b)
{
	const struct timer *one = a, *other = b;

	return one->address < other->address ? -1 : one->address > other->address;
}

static void take_armed(const struct event *event)
{
	struct timer *timer = malloc(sizeof(*timer)), **found;

	if (!timer)
		die("out of memory");
	timer->address = event->timer;
	found = tsearch(timer, &timers, by_address);
	if (!found)
		die("out of memory");
	if (*found != timer)
		free(timer);
	(*found)->cpu = event->pinned ? -1 : event->cpu;
}

/* Counts a timer of another CPU. */
static void count_expired(const struct event *event)
{
	const struct timer key = { .address = event->timer };
	struct timer **found = tfind(&key, &timers, by_address);

	/* Who armed it before that was recorded is not known. */
	if (found && (*found)->cpu >= 0 && (*found)->cpu != event->cpu)
		class_runs[event->cpu][TIMER]++;
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
void tell_trace(void)
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
		case ARMED:
			take_armed(event);
			break;
		case EXPIRED:
			count_expired(event);
			break;
		case ENTERED:
			class_runs[event->cpu][event->next_class]++;
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
