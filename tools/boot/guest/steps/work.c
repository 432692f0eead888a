// SPDX-License-Identifier: GPL-2.0
/* Steps that write the list of the kernel, and have it run work and helpers. */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "steps.h"

/* A helper that the kernel does not wait for, has this time to tell what it sees. */
#define HELPER_TRIES 2000
#define HELPER_PAUSE_US 10000

/* "~" stands for a space. Without the newline, nothing would be written for no CPU. */
int write_kcpus(const char *arg)
{
	char text[4096], *at;

	snprintf(text, sizeof(text), "%s\n", arg);
	for (at = text; *at; at++)
		if (*at == '~')
			*at = ' ';
	return write_file(CPUS "/kthread_cpus", text);
}

int command_work(const char *arg)
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
int rescue_work(void)
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

int start_helpers(const char *arg)
{
	char names[64], *name, *rest = names;
	int error = 0;

	snprintf(names, sizeof(names), "%s", arg);
	unlink("/run/umh");
	while (!error && (name = strsep(&rest, ",")))
		error = start_helper(name);
	return error;
}
