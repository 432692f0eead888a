// SPDX-License-Identifier: GPL-2.0
/* The step "noise": a load that gives the kernel much to do. */
#define _GNU_SOURCE
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "../arp.h"
#include "steps.h"

#define NOISE_FORKS 24
#define NOISE_HELPERS 8
#define NOISE_FILES 32
#define NOISE_BLOCK 65536
/* Long enough for RCU to be done with what the processes leave, so that CPUs are idle. */
#define NOISE_NAP_US 300000
#define NOISE_REST 5

#define TRAFFIC_FRAMES 16
#define TRAFFIC_BLOCKS 16
#define TRAFFIC_BLOCK 4096
#define TRAFFIC_NAP_US 10000

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

/* Without the page cache: each is a command for the disk. Returns 0 or an errno. */
static int use_nvme(int disk)
{
	static char block[TRAFFIC_BLOCK] __attribute__((aligned(TRAFFIC_BLOCK)));
	int i;

	for (i = 0; i < TRAFFIC_BLOCKS; i++) {
		const off_t at = (off_t)i * sizeof(block);
		const ssize_t done = i % 2 ? pread(disk, block, sizeof(block), at) :
					     pwrite(disk, block, sizeof(block), at);

		if (done != sizeof(block))
			return done < 0 ? errno : EIO;
		shared->transfers++;
	}
	return 0;
}

/* The card and the disk, until the others have done enough. */
static int make_traffic(unsigned int value)
{
	struct question question;
	const int network = open_network(&question);
	int error = network < 0 ? errno : 0, disk = -1;

	(void)value;
	if (!error) {
		disk = open("/dev/nvme0n1", O_RDWR | O_DIRECT | O_CLOEXEC);
		error = disk < 0 ? errno : 0;
	}
	while (!error && !shared->stopping) {
		if (shared->resting) {
			usleep(NOISE_NAP_US);
			continue;
		}
		shared->answers += ask_gateway(network, &question, TRAFFIC_FRAMES);
		error = use_nvme(disk);
		usleep(TRAFFIC_NAP_US);
	}
	shared->stopping = true;
	return error;
}

static int make_noise(unsigned int seconds)
{
	const time_t end = time(NULL) + seconds;
	const int disk = open_disk(), cpu = 63 - __builtin_clzll(noise_cpus);
	int error = disk < 0 ? ENODEV : 0;

	write_file("/proc/sys/vm/dirty_writeback_centisecs", "1");
	write_file("/proc/sys/kernel/modprobe", "/kc/umh-modprobe");
	while (!error && !shared->stopping && time(NULL) < end) {
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
		usleep(NOISE_NAP_US);
		shared->rounds++;
	}
	/* CPUs that are idle for long leave their timers to others. */
	write_file("/proc/sys/vm/dirty_writeback_centisecs", "500");
	shared->resting = true;
	sleep(NOISE_REST);
	ioctl(disk, LOOP_CLR_FD);
	shared->stopping = true;
	return error;
}

int step_noise(const char *arg)
{
	const char *list = strchr(arg, ':');
	const cpus_t before = allowed_of(getpid());
	cpus_t busy;
	int cpu, error;

	if (!list)
		die("noise=%s: not SECONDS:LIST", arg);
	busy = parse_cpus(list + 1);
	noise_cpus = read_cpus(CPUS "/online") & ~busy;
	/* Who reads the trace must not disturb them either. */
	error = place(0, noise_cpus);
	look_at_irqs();
	error = error ?: record_all(true);
	error = error ?: write_file("/proc/kcwork", "delay");
	if (error)
		return error;
	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		if (busy >> cpu & 1)
			start_child(keep_busy, 0, (cpus_t)1 << cpu);
	start_child(make_noise, atoi(arg), noise_cpus);
	start_child(make_traffic, 0, noise_cpus);
	count_runs = true;
	error = wait_for_children();
	error = record_all(false) ?: error;
	/* Where that has run. */
	error = command_work("delayed") ?: error;
	snprintf(result + strlen(result), sizeof(result) - strlen(result),
		 " rounds=%u answers=%u transfers=%u", shared->rounds, shared->answers,
		 shared->transfers);
	shared->rounds = shared->answers = shared->transfers = 0;
	shared->resting = false;
	return place(0, before) ?: error;
}
