// SPDX-License-Identifier: GPL-2.0
/*
 * Tells the CPUs of the threads that io_uring has for a process, as lines "NAME:CPUS":
 *
 *	uring
 *
 * These processes have not chosen their CPUs, but for "task", which is on CPUs 4 and 5,
 * "late-task", which goes there when it has its ring, and a thread of another one. CPUs 5 and
 * 6 go offline, and online again, and CPU 7 is isolated meanwhile. Needs cgroup v2 with the
 * controller cpuset enabled.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "guest.h"

#define ENTRIES 4
#define CHOSEN 5
#define OTHER 6
#define TRIES 600
#define PAUSE_US 100000
/* Nobody writes to it: who opens it to read has to wait. */
#define FIFO "/run/uring.fifo"
#define GROUP "/sys/fs/cgroup/uring"
#define PARTITION "/sys/fs/cgroup/uring-partition"

struct ring {
	int fd;
	unsigned int *tail, *array;
	struct io_uring_sqe *entries;
};

static struct ring open_ring(unsigned int flags)
{
	struct io_uring_params params = {
		.flags = flags, .sq_thread_idle = 1, .sq_thread_cpu = CHOSEN,
	};
	struct ring ring;
	char *queue;

	ring.fd = syscall(__NR_io_uring_setup, ENTRIES, &params);
	if (ring.fd < 0)
		die("io_uring_setup: %s", strerror(errno));
	queue = mmap(NULL, params.sq_off.array + ENTRIES * sizeof(int), PROT_READ | PROT_WRITE,
		     MAP_SHARED, ring.fd, IORING_OFF_SQ_RING);
	ring.entries = mmap(NULL, ENTRIES * sizeof(*ring.entries), PROT_READ | PROT_WRITE,
			    MAP_SHARED, ring.fd, IORING_OFF_SQES);
	if (queue == MAP_FAILED || ring.entries == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	ring.tail = (unsigned int *)(queue + params.sq_off.tail);
	ring.array = (unsigned int *)(queue + params.sq_off.array);
	return ring;
}

/* Asks for one thing, and waits until that many are done. */
static void submit(const struct ring *ring, struct io_uring_sqe entry, unsigned int done)
{
	const unsigned int tail = *ring->tail, at = tail % ENTRIES;
	const unsigned int flags = IORING_ENTER_SQ_WAKEUP | (done ? IORING_ENTER_GETEVENTS : 0);

	ring->entries[at] = entry;
	ring->array[at] = at;
	__atomic_store_n(ring->tail, tail + 1, __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, ring->fd, 1, done, flags, NULL, 0) < 0)
		die("io_uring_enter: %s", strerror(errno));
}

static void choose(const struct ring *ring, const cpu_set_t *cpus)
{
	const int what = cpus ? IORING_REGISTER_IOWQ_AFF : IORING_UNREGISTER_IOWQ_AFF;

	if (syscall(__NR_io_uring_register, ring->fd, what, cpus, cpus ? sizeof(*cpus) : 0))
		die("io_uring_register %d: %s", what, strerror(errno));
}

/* The newest thread of this process whose name begins so, with its CPUs; 0 if there is none. */
static int newest_thread(const char *prefix, char cpus[256])
{
	DIR *tasks = opendir("/proc/self/task");
	char path[300], line[300], name[64] = "", list[256];
	struct dirent *task;
	FILE *status;
	int newest = 0;

	while (tasks && (task = readdir(tasks))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/status", task->d_name);
		status = task->d_name[0] == '.' ? NULL : fopen(path, "r");
		if (!status)
			continue;
		while (fgets(line, sizeof(line), status)) {
			sscanf(line, "Name:\t%63[^\n]", name);
			if (sscanf(line, "Cpus_allowed_list:\t%255[^\n]", list) != 1 ||
			    strncmp(name, prefix, strlen(prefix)) || atoi(task->d_name) <= newest)
				continue;
			newest = atoi(task->d_name);
			strcpy(cpus, list);
		}
		fclose(status);
	}
	closedir(tasks);
	return newest;
}

/*
 * Has one more worker made, as all that there are wait. It has its CPUs before it runs, and
 * takes its name then.
 */
static void tell_worker(const char *what, const struct ring *ring)
{
	char cpus[256];
	const int last = newest_thread("iou-wrk-", cpus);
	int tries = TRIES;

	submit(ring, (struct io_uring_sqe) {
		.opcode = IORING_OP_OPENAT,
		.flags = IOSQE_ASYNC,
		.fd = AT_FDCWD,
		.addr = (unsigned long)FIFO,
		.open_flags = O_RDONLY,
	}, 0);
	while (newest_thread("iou-wrk-", cpus) <= last) {
		if (!--tries)
			die("there is no worker for %s", what);
		usleep(PAUSE_US);
	}
	printf("%s:%s\n", what, cpus);
}

/* A thread that has done something is where it polls. */
static void tell_poller(const char *what, const struct ring *ring)
{
	char cpus[256];

	submit(ring, (struct io_uring_sqe) { .opcode = IORING_OP_NOP }, 1);
	if (!newest_thread("iou-sqp-", cpus))
		die("there is no thread that polls for %s", what);
	printf("%s:%s\n", what, cpus);
}

static void off_and_on(int cpu)
{
	char path[64];
	int error;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	error = write_file(path, "0");
	error = error ?: write_file(path, "1");
	if (error)
		die("CPU %d off and on: %s", cpu, strerror(error));
}

static void poller(void)
{
	const struct ring ring = open_ring(IORING_SETUP_SQPOLL);

	tell_poller("poller", &ring);
	tell_worker("its-worker", &ring);
}

/* The CPU of the thread that polls is not that of its workers, whatever is chosen for them. */
static void poller_on_chosen(void)
{
	const struct ring ring = open_ring(IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF);

	tell_poller("poller-on-chosen", &ring);
	tell_worker("its-worker", &ring);
	choose(&ring, NULL);
	tell_worker("its-unchosen", &ring);
}

/*
 * It goes to another cgroup with the same CPUs, which is no reason to leave what was chosen.
 * That a partition takes one of these is one in mainline, but none to go to other CPUs.
 */
static void poller_in_group(void)
{
	const struct ring ring = open_ring(IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF);
	int error = mkdir(GROUP, 0755) || mkdir(PARTITION, 0755) ? errno : 0;

	submit(&ring, (struct io_uring_sqe) { .opcode = IORING_OP_NOP }, 1);
	error = error ?: write_file(GROUP "/cgroup.procs", "0");
	if (error)
		die("%s: %s", GROUP, strerror(error));
	tell_poller("poller-in-group", &ring);

	error = write_file(PARTITION "/cpuset.cpus", "7");
	error = error ?: write_file(PARTITION "/cpuset.cpus.partition", "isolated");
	if (error)
		die("%s: %s", PARTITION, strerror(error));
	tell_poller("poller-and-partition", &ring);
	if (rmdir(PARTITION))
		die("%s: %s", PARTITION, strerror(errno));
}

/*
 * A worker that is there keeps what it has, so each look is at a new one; and none of them
 * has to leave the chosen CPU as that goes.
 */
static void workers(void)
{
	const struct ring ring = open_ring(0);
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(CHOSEN, &cpus);
	tell_worker("worker", &ring);
	choose(&ring, &cpus);
	off_and_on(CHOSEN);
	off_and_on(OTHER);
	tell_worker("chosen", &ring);
	choose(&ring, NULL);
	tell_worker("unchosen", &ring);
}

static void go_to_4_and_5(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(4, &cpus);
	CPU_SET(5, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		die("sched_setaffinity: %s", strerror(errno));
}

static void task(void)
{
	struct ring ring;

	go_to_4_and_5();
	ring = open_ring(0);
	tell_worker("task", &ring);
}

static void late_task(void)
{
	const struct ring ring = open_ring(0);

	go_to_4_and_5();
	tell_worker("late-task", &ring);
}

/* What a thread has chosen holds for its poller, and for the workers of that. */
static void *choosing_thread(void *unused)
{
	struct ring ring;

	(void)unused;
	go_to_4_and_5();
	ring = open_ring(IORING_SETUP_SQPOLL);
	tell_poller("thread-poller", &ring);
	tell_worker("thread-worker", &ring);
	return NULL;
}

static void threads(void)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, choosing_thread, NULL);

	error = error ?: pthread_join(thread, NULL);
	if (error)
		die("thread: %s", strerror(error));
}

int main(void)
{
	static void (*const processes[])(void) = {
		poller, poller_on_chosen, poller_in_group, workers, task, late_task, threads,
	};
	int status = 0;
	size_t i;

	if (mkfifo(FIFO, 0600) && errno != EEXIST)
		die("%s: %s", FIFO, strerror(errno));
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* The threads go with their process. */
	for (i = 0; i < sizeof(processes) / sizeof(*processes) && !status; i++) {
		if (!fork()) {
			processes[i]();
			exit(0);
		}
		wait(&status);
	}
	return status ? 1 : 0;
}
