// SPDX-License-Identifier: GPL-2.0
/* Lists of CPUs, files, and what the steps print. */
#define _GNU_SOURCE
#include "steps.h"

void *grow(void *old, size_t count, size_t size)
{
	void *new;

	/* Doubled at every power of two. */
	if (count & (count - 1))
		return old;
	new = realloc(old, (count ? 2 * count : 1) * size);
	if (!new)
		die("out of memory");
	return new;
}

/* Puts the CPUs of a list into @order, as they are written, and returns how many. */
int parse_order(const char *text, int *order)
{
	int count = 0;

	while (*text && *text != '\n') {
		char *end;
		unsigned long cpu, last;

		last = cpu = strtoul(text, &end, 10);
		if (end != text && *end == '-')
			last = strtoul(end + 1, &end, 10);
		if (end == text || last >= MAX_CPUS)
			die("not a list of CPUs below %d: %s", MAX_CPUS, text);
		for (; cpu <= last; cpu++) {
			if (count == MAX_CPUS)
				die("too many CPUs: %s", text);
			order[count++] = cpu;
		}
		text = *end == ',' ? end + 1 : end;
	}
	return count;
}

cpus_t parse_cpus(const char *text)
{
	int order[MAX_CPUS], count = parse_order(text, order);
	cpus_t cpus = 0;

	while (count--)
		cpus |= (cpus_t)1 << order[count];
	return cpus;
}

const char *format_cpus(cpus_t cpus)
{
	static char texts[4][4 * MAX_CPUS];
	static unsigned int turn;
	char *text = texts[turn++ % 4], *at = text;
	int cpu, last;

	*at = '\0';
	for (cpu = 0; cpu < MAX_CPUS; cpu = last + 1) {
		last = cpu;
		if (!(cpus >> cpu & 1))
			continue;
		while (last + 1 < MAX_CPUS && cpus >> (last + 1) & 1)
			last++;
		at += sprintf(at, "%s%d", at == text ? "" : ",", cpu);
		if (last > cpu)
			at += sprintf(at, "-%d", last);
	}
	return text;
}

bool read_file(const char *path, char *text, size_t size)
{
	ssize_t got = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		got = read(fd, text, size - 1);
		close(fd);
	}
	text[got > 0 ? got : 0] = '\0';
	return got > 0;
}

cpus_t read_cpus(const char *path)
{
	char text[4 * MAX_CPUS];

	read_file(path, text, sizeof(text));
	return parse_cpus(text);
}

/* As facts.awk does it. */
void print_encoded(const char *text)
{
	for (; *text; text++) {
		if (*text > ' ' && *text <= '~' && *text != '%')
			putchar(*text);
		else
			printf("%%%02x", (unsigned char)*text);
	}
}
