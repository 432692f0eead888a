// SPDX-License-Identifier: GPL-2.0
/* The interrupts: who handles each, where it may go, and whether anybody can say so. */
#define _GNU_SOURCE
#include <dirent.h>
#include <sys/stat.h>

#include "steps.h"

struct irq {
	int number;
	/* Those who share it, with commas between; empty: there is no handler. */
	char names[128];
	/* Only the kernel places it: managed ones, those of one CPU, the clock. */
	bool fixed;
	/* Seen in the latest look. */
	bool here;
};

static struct irq *irqs;
static size_t irq_count;

static struct irq *find_irq(int number)
{
	size_t i;

	for (i = 0; i < irq_count; i++)
		if (irqs[i].number == number)
			return &irqs[i];
	return NULL;
}

/* The directory of an interrupt has one for each handler. */
static void read_names(int number, char *names, size_t size)
{
	struct dirent *entry;
	struct stat status;
	char path[64];
	DIR *dir;

	*names = '\0';
	snprintf(path, sizeof(path), "/proc/irq/%d", number);
	if (stat(path, &status) || status.st_nlink <= 2)
		return;
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (entry->d_type != DT_DIR || *entry->d_name == '.')
			continue;
		snprintf(names + strlen(names), size - strlen(names), "%s%s",
			 *names ? "," : "", entry->d_name);
	}
	closedir(dir);
}

/* Asks for what is no mask: nothing is placed by that, whoever may place it. */
static bool refuses(int number)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/irq/%d/smp_affinity", number);
	return write_file(path, "x") != EINVAL;
}

/* Tells those whose handlers are new. */
void look_at_irqs(void)
{
	DIR *dir = opendir("/proc/irq");
	struct dirent *entry;
	size_t i;

	if (!dir)
		return;
	for (i = 0; i < irq_count; i++)
		irqs[i].here = false;
	while ((entry = readdir(dir))) {
		struct irq now = { .here = true }, *old;

		if (sscanf(entry->d_name, "%d", &now.number) != 1)
			continue;
		read_names(now.number, now.names, sizeof(now.names));
		old = find_irq(now.number);
		if (old && !strcmp(old->names, now.names)) {
			old->here = true;
			continue;
		}
		if (!old) {
			irqs = grow(irqs, irq_count, sizeof(*irqs));
			old = &irqs[irq_count++];
		}
		now.fixed = refuses(now.number);
		*old = now;
		if (!*now.names)
			continue;
		printf("@kc interrupt number=%d names=", now.number);
		print_encoded(now.names);
		printf(" fixed=%d\n", now.fixed);
	}
	closedir(dir);
}

/* The affinity of every interrupt that has a handler. */
void print_irqs(void)
{
	char path[64], key[16];
	size_t i;

	for (i = 0; i < irq_count; i++) {
		if (!irqs[i].here || !*irqs[i].names)
			continue;
		snprintf(path, sizeof(path), "/proc/irq/%d/smp_affinity", irqs[i].number);
		snprintf(key, sizeof(key), "irq%d", irqs[i].number);
		print_file(key, path);
	}
}

/* As of the latest look. */
bool is_fixed(int number)
{
	const struct irq *irq = find_irq(number);

	return irq && irq->fixed;
}

/*
 * Returns the number of the interrupt that has a handler of this name. Without MSI a device
 * has one for all, and then its handler may have no more than the device's name.
 */
static int number_of(const char *name)
{
	int shared = -1;
	size_t i;

	for (i = 0; i < irq_count; i++) {
		char names[sizeof(irqs->names)], *handler, *rest = names;

		strcpy(names, irqs[i].here ? irqs[i].names : "");
		while ((handler = strsep(&rest, ","))) {
			if (!strcmp(handler, name))
				return irqs[i].number;
			if (*handler && !strncmp(handler, name, strlen(handler)))
				shared = irqs[i].number;
		}
	}
	if (shared < 0)
		die("there is no interrupt %s", name);
	return shared;
}

/* Puts the number of the interrupt in the place of each "{NAME}". */
void put_numbers(char *text, size_t size)
{
	char *name, *end, rest[256];

	while ((name = strchr(text, '{')) && (end = strchr(name, '}'))) {
		*end = '\0';
		snprintf(rest, sizeof(rest), "%d%s", number_of(name + 1), end + 1);
		snprintf(name, size - (name - text), "%s", rest);
	}
}
