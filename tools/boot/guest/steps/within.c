// SPDX-License-Identifier: GPL-2.0
/* Steps that may hang, and are left alone then. */
#define _GNU_SOURCE
#include <sys/wait.h>
#include <time.h>

#include "steps.h"

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

int run_within(const char *arg)
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
int await_left(int seconds)
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
