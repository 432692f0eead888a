// SPDX-License-Identifier: GPL-2.0
/* The step "noise": a load that gives the kernel much to do. */
#define _GNU_SOURCE
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "steps.h"

#define NOISE_FORKS 24
#define NOISE_HELPERS 8
#define NOISE_FILES 32
#define NOISE_BLOCK 65536

static cpus_t noise_cpus;

static int keep_busy(unsigned int value)
{
	(void)value;
	while (!shared->stopping)
		;
	return 0;
}

/* Processes that come and go at once, and with them what RCU frees for them. */
static void fork_storm(int count, void (*run)(void))
{
	int i;

	for (i = 0; i < count; i++) {
		if (!fork()) {
			run();
			_exit(0);
		}
	}
	for (i = 0; i < count; i++)
		wait(NULL);
}

static void do_nothing(void)
{
}

/* Has the kernel start modprobe, and waits for it. */
static void want_module(void)
{
	mount("none", "/run", "kcnoise", 0, NULL);
}

/* Files and directories that come and go: RCU callbacks, and work for cgroups. */
static void callback_flood(void)
{
	char path[64];
	int i, fd;

	for (i = 0; i < NOISE_FILES; i++) {
		snprintf(path, sizeof(path), "/run/noise.%d", i);
		fd = open(path, O_CREAT | O_WRONLY, 0600);
		close(fd);
		unlink(path);
		snprintf(path, sizeof(path), CGROUP "/noise.%d", i);
		mkdir(path, 0755);
		rmdir(path);
	}
}

/* A disk in memory: the driver and writeback use unbound workqueues. */
static int open_disk(void)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), number, disk, file;
	char path[32];

	file = open("/run/disk", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (control < 0 || file < 0 || ftruncate(file, 16 * NOISE_BLOCK))
		return -1;
	number = ioctl(control, LOOP_CTL_GET_FREE);
	snprintf(path, sizeof(path), "/dev/loop%d", number);
	disk = open(path, O_RDWR | O_CLOEXEC);
	if (disk >= 0 && ioctl(disk, LOOP_SET_FD, file)) {
		close(disk);
		disk = -1;
	}
	close(control);
	close(file);
	return disk;
}

static void write_back(int disk)
{
	static char block[NOISE_BLOCK];
	int i;

	memset(block, rand(), sizeof(block));
	for (i = 0; i < 4; i++)
		if (pwrite(disk, block, sizeof(block), (rand() % 16) * sizeof(block)) < 0)
			return;
	/* Not waited for: the flusher has to come. */
	sync_file_range(disk, 0, 0, SYNC_FILE_RANGE_WRITE);
	if (!(rand() % 2))
		fsync(disk);
}

static int make_noise(unsigned int rounds)
{
	const int disk = open_disk(), cpu = 63 - __builtin_clzll(noise_cpus);
	int error = disk < 0 ? ENODEV : 0;

	write_file("/proc/sys/vm/dirty_writeback_centisecs", "1");
	write_file("/proc/sys/kernel/modprobe", "/kc/umh-modprobe");
	while (!error && rounds--) {
		fork_storm(NOISE_FORKS, do_nothing);
		/* One helper alone mostly finds a CPU that is not busy. */
		fork_storm(NOISE_HELPERS, want_module);
		callback_flood();
		write_back(disk);
		write_file("/proc/kcwork", "run unbound 8");
		write_file("/proc/kcwork", "run ordered 8");
		write_file("/proc/kcload", "wake all");
		poke();
		/* The boot CPU cannot be switched. */
		if (cpu) {
			error = switch_cpu(cpu, false);
			error = error ?: switch_cpu(cpu, true);
		}
	}
	ioctl(disk, LOOP_CLR_FD);
	shared->stopping = true;
	return error;
}

int step_noise(const char *arg)
{
	const char *list = strchr(arg, ':');
	cpus_t busy;
	int cpu;

	if (!list)
		die("noise=%s: not ROUNDS:LIST", arg);
	busy = parse_cpus(list + 1);
	noise_cpus = read_cpus(CPUS "/online") & ~busy;
	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		if (busy >> cpu & 1)
			start_child(keep_busy, 0, (cpus_t)1 << cpu);
	start_child(make_noise, atoi(arg), noise_cpus);
	count_runs = true;
	return wait_for_children();
}
