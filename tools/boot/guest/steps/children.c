// SPDX-License-Identifier: GPL-2.0
/* Processes that do something while a step goes on. */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "steps.h"

#define MAX_CHILDREN 16
/* The trace has room for more than a second, and who sleeps lets a CPU be idle. */
#define DRAIN_PAUSE_US 50000

static pid_t children[MAX_CHILDREN];
static int child_count;

struct shared *shared;

/* Starts a child on @cpus (0: anywhere) that calls @function with @value. */
pid_t start_child(int (*function)(unsigned int value), unsigned int value, cpus_t cpus)
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
int wait_for_children(void)
{
	int error = 0, left = child_count, status, i;

	while (left) {
		const pid_t done = waitpid(-1, &status, WNOHANG);

		drain_trace();
		if (!done) {
			usleep(DRAIN_PAUSE_US);
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
