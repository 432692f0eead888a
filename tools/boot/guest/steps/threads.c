// SPDX-License-Identifier: GPL-2.0
/* The kernel threads: where each may run, and what has changed of that. */
#define _GNU_SOURCE
#include <dirent.h>

#include "steps.h"

struct thread *threads;
size_t thread_count;

struct thread *find_thread(int pid)
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
	char path[64], text[4096], name[sizeof(thread->name)], *at, *end;

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
	/* A rescuer has another name while it has other CPUs: both are of one moment. */
	if (sscanf(text, "Name:\t%63[^\n]", name) == 1 && !strncmp(name, "kworker/R-", 10))
		strcpy(thread->name, name);
	at = strstr(text, "Cpus_allowed_list:");
	if (!at)
		return false;
	thread->allowed = parse_cpus(at + strcspn(at, "\t") + 1);
	return true;
}

/* The CPUs that a process may use. */
cpus_t allowed_of(int pid)
{
	char path[64], text[4096], *at;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (!read_file(path, text, sizeof(text)))
		return 0;
	at = strstr(text, "Cpus_allowed_list:");
	return at ? parse_cpus(at + strcspn(at, "\t") + 1) : 0;
}

void look_at_threads(void)
{
	const unsigned int kept = PF_KTHREAD | PF_NO_SETAFFINITY;
	struct dirent *entry;
	DIR *proc = opendir("/proc");
	size_t i;

	if (!proc)
		die("/proc cannot be read");
	/* What has changed before and was not told yet still is to be told. */
	for (i = 0; i < thread_count; i++)
		threads[i].here = false;
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
			now.changed |= old->changed;
			now.told = old->told;
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
void print_changes(void)
{
	size_t i, j;
	bool gone = false;

	for (i = 0; i < thread_count; i++) {
		const cpus_t allowed = threads[i].allowed;

		if (!threads[i].changed || !threads[i].here)
			continue;
		printf("@kc allowed list=%s pids=", format_cpus(allowed));
		for (j = i; j < thread_count; j++) {
			if (!threads[j].changed || !threads[j].here ||
			    threads[j].allowed != allowed)
				continue;
			printf("%s%d", j == i ? "" : ",", threads[j].pid);
			threads[j].changed = false;
			threads[j].told = true;
		}
		putchar('\n');
	}
	for (i = 0; i < thread_count; i++) {
		if (threads[i].here || !threads[i].allowed)
			continue;
		if (threads[i].told) {
			printf("%s%d", gone ? "," : "@kc gone pids=", threads[i].pid);
			gone = true;
		}
		/* The name stays for the trace; a new one of this pid is a change. */
		threads[i].allowed = 0;
		threads[i].changed = threads[i].told = false;
	}
	if (gone)
		putchar('\n');
}
