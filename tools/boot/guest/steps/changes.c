// SPDX-License-Identifier: GPL-2.0
/* Steps that change CPUs, files, affinities and cpusets. */
#define _GNU_SOURCE
#include <sys/wait.h>

#include "steps.h"

/* No host takes longer to add a CPU than this. */
#define PRESENT_TRIES 6000
#define PRESENT_PAUSE_US 10000

int switch_cpu(int cpu, bool on)
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

void step_cpus(const char *list, bool off, bool on)
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

void step_orders(const char *list)
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
void step_spin(const char *arg)
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

/* Splits "FILE:VALUE" and puts in what "@", "~" and "{NAME}" stand for. */
const char *split(const char *name, const char *arg, char *path, size_t size)
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
	put_numbers(path, size);
	put_numbers(value, sizeof(value));
	return value;
}

/* Returns 0 or an errno. */
int start_background(const char *path, const char *value)
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
int join_background(void)
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

int tell_file(const char *path)
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

int write_again(const char *path)
{
	char text[4096];

	return read_file(path, text, sizeof(text)) ? write_file(path, text) : ENOENT;
}

int set_hotplug_state(const char *arg)
{
	const char *name = strchr(arg, ':');
	char path[64], text[16];

	if (!name)
		die("hotplug=%s: there is no colon", arg);
	snprintf(path, sizeof(path), CPUS "/cpu%d/hotplug/target", atoi(arg));
	snprintf(text, sizeof(text), "%d", find_state(name + 1));
	return write_file(path, text);
}

int refuse_offline(const char *arg)
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
int place(int pid, cpus_t cpus)
{
	cpu_set_t set;
	int cpu;

	CPU_ZERO(&set);
	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		if (cpus >> cpu & 1)
			CPU_SET(cpu, &set);
	return sched_setaffinity(pid, sizeof(set), &set) ? errno : 0;
}

/* One that sleeps all the time, or that never does. */
int start_process(const char *name)
{
	const bool sleeps = !strcmp(name, "child");
	const pid_t pid = fork();

	if (pid < 0)
		die("fork: %s", strerror(errno));
	while (!pid)
		if (sleeps)
			pause();
	*(sleeps ? &child : &busy) = pid;
	return 0;
}

/* Returns 0 if there is no such thread. */
static int pid_of(const char *name)
{
	size_t i;

	if (!strcmp(name, "child"))
		return child;
	if (!strcmp(name, "busy"))
		return busy;
	for (i = 0; i < thread_count; i++)
		if (threads[i].here && !strcmp(threads[i].name, name))
			return threads[i].pid;
	return 0;
}

int set_affinity(const char *name, cpus_t cpus)
{
	int pid = pid_of(name);

	return pid ? place(pid, cpus) : ESRCH;
}

int set_cpuset(const char *name, const char *group)
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

int await_present(cpus_t cpus)
{
	int tries;

	for (tries = 0; tries < PRESENT_TRIES; tries++) {
		if (!(cpus & ~read_cpus(CPUS "/present")))
			return 0;
		usleep(PRESENT_PAUSE_US);
	}
	return ETIMEDOUT;
}
