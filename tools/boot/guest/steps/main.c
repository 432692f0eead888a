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
 *	                             "~" in VALUE for a space, "{NAME}" for the number of
 *	                             the interrupt whose handler has this name
 *	background=FILE:VALUE join   the same while the next steps go on; waits for it
 *	read=FILE                    tells its first line, as what FILE has printed
 *	again=FILE                   writes to it what is read from it
 *	within=SECONDS:STEP          a step that is left alone, with ETIMEDOUT, if it takes
 *	                             longer
 *	left=SECONDS                 waits for all that was left alone
 *	mkdir=DIRECTORY rmdir=DIRECTORY
 *	child busy                   starts a process that sleeps, or one that does not, which is
 *	                             a THREAD of that name
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
 *	noise=SECONDS:LIST           busy loops on these CPUs, and on the others a
 *	                             load that gives the kernel much to do; what it
 *	                             did on which CPU is counted. The machine must have
 *	                             a network card and an NVMe disk
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
#include <signal.h>
#include <sys/stat.h>

#include "steps.h"

int run_simple(const char *name, const char *arg)
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
	if (!strcmp(name, "child") || !strcmp(name, "busy"))
		return start_process(name);
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
	if (busy)
		kill(busy, SIGKILL);
	return 0;
}
