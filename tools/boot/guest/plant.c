// SPDX-License-Identifier: GPL-2.0
/*
 * Makes the kernel do something on a CPU, for the program kthread-cpus to name:
 *
 *	plant NAME
 *
 * Those who call it choose the CPU, with taskset. It goes on until it is killed, but for
 * "timer", "ipi" and "net", which end by themselves. plants.sh has what is for the shell.
 */
#define _GNU_SOURCE
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>

#include "arp.h"
#include "guest.h"

#define TTY "/dev/ttyS0"
#define FILE_NAME "/run/planted"
#define TIMERS 20
#define CALLS 200
#define QUESTIONS 8
#define BYTES (4 << 20)
#define PAGE 4096

/* The CPU is busy, and so the one that looks after the timers of those that are idle. */
static void spin(void)
{
	for (;;)
		;
}

/*
 * Reads that end after a tenth of a second: most other sleeps have a timer of high
 * resolution, which stays where it was armed.
 */
static void timer(void)
{
	struct termios before, now;
	int fd = open(TTY, O_RDWR | O_NOCTTY);
	char c;

	if (fd < 0 || tcgetattr(fd, &before))
		die("%s: %s", TTY, strerror(errno));
	now = before;
	now.c_lflag &= ~(ICANON | ECHO);
	now.c_cc[VMIN] = 0;
	now.c_cc[VTIME] = 1;
	if (tcsetattr(fd, TCSANOW, &now))
		die("%s: %s", TTY, strerror(errno));
	for (int i = 0; i < TIMERS; i++)
		if (read(fd, &c, 1) < 0)
			die("%s: %s", TTY, strerror(errno));
	tcsetattr(fd, TCSANOW, &before);
}

/* One interrupt for each call to the CPU of a child that has registered for it. */
static void ipi(void)
{
	int ready[2];
	pid_t child;
	char c;

	if (pipe(ready))
		die("pipe: %s", strerror(errno));
	child = fork();
	if (child < 0)
		die("fork: %s", strerror(errno));
	if (!child) {
		cpu_set_t other;

		CPU_ZERO(&other);
		CPU_SET(1, &other);
		if (sched_setaffinity(0, sizeof(other), &other))
			die("sched_setaffinity: %s", strerror(errno));
		if (syscall(__NR_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0))
			die("membarrier: %s", strerror(errno));
		close(ready[1]);
		close(ready[0]);
		spin();
	}
	close(ready[1]);
	/* Nothing comes: it ends when the child has closed its side. */
	if (read(ready[0], &c, 1) < 0)
		die("pipe: %s", strerror(errno));
	for (int i = 0; i < CALLS; i++) {
		if (syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0))
			die("membarrier: %s", strerror(errno));
		/* The child runs in between, also where all CPUs of a guest are one thread. */
		usleep(1000);
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* Pages come and go: counters and lists of this CPU change. */
static void pages(void)
{
	for (;;) {
		char *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (memory == MAP_FAILED)
			die("mmap: %s", strerror(errno));
		for (size_t at = 0; at < BYTES; at += PAGE)
			memory[at] = 1;
		munmap(memory, BYTES);
	}
}

/* An inode is freed by a callback of RCU. */
static void rcu(void)
{
	for (;;) {
		int fd = open(FILE_NAME, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

		if (fd < 0)
			die(FILE_NAME ": %s", strerror(errno));
		unlink(FILE_NAME);
		close(fd);
	}
}

/* Answers that a network card receives. */
static void net(void)
{
	struct question question;
	const int network = open_network(&question);
	unsigned int answers = 0, i;

	if (network < 0)
		die("eth0: %s", strerror(errno));
	for (i = 0; i < QUESTIONS; i++)
		answers += ask_gateway(network, &question, 1);
	if (!answers)
		die("eth0: no answer");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} all[] = {
		{ "spin", spin }, { "timer", timer }, { "ipi", ipi }, { "pages", pages },
		{ "rcu", rcu }, { "net", net },
	};

	for (size_t i = 0; argc == 2 && i < sizeof(all) / sizeof(*all); i++) {
		if (strcmp(argv[1], all[i].name))
			continue;
		all[i].run();
		return 0;
	}
	die("usage: plant spin|timer|ipi|pages|rcu|net");
}
