// SPDX-License-Identifier: GPL-2.0
/* The step "juggle": affinities change while a CPU comes and goes. */
#define _GNU_SOURCE
#include "steps.h"

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

int step_juggle(const char *arg)
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
