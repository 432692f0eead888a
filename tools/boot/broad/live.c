// SPDX-License-Identifier: GPL-2.0
/*
 * Has the kernel make threads that only a program can get: those of an iSCSI
 * connection, of io_uring, and of vhost.
 *
 *	live TARGET
 *
 * logs in to the iSCSI target TARGET of this machine, tells what became of each as
 * "NAME:STATUS", then its own threads as "thread:NAME:CPUS", and stays, in the
 * background.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/vhost.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define RING_ENTRIES 4

/* Reads exactly as much; 0 or an errno. */
static int read_all(int fd, void *to, size_t count)
{
	char *at = to;

	while (count) {
		ssize_t got = read(fd, at, count);

		if (got <= 0)
			return got ? errno : ECONNRESET;
		at += got;
		count -= got;
	}
	return 0;
}

/* What the target would ask for in a second exchange otherwise. */
static const char *const wanted[] = {
	"HeaderDigest=None", "DataDigest=None", "ImmediateData=Yes", "MaxBurstLength=262144",
	"DefaultTime2Wait=2", "DefaultTime2Retain=20", "MaxOutstandingR2T=1",
	"ErrorRecoveryLevel=0",
};

/* One request, straight to the full feature phase: the target wants no password. */
static int iscsi(const char *target)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_port = htons(3260),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	unsigned char request[48 + 512] = {
		0x43,			/* login, immediate */
		0x87,			/* transit from operational to full feature */
		[8] = 0x80, 0, 0, 1,	/* initiator's session, random */
		[19] = 1,		/* task */
	};
	unsigned char response[48 + 4096];
	char *text = (char *)request + 48;
	size_t length = 0, left, i;
	int fd, ret;

	length += sprintf(text + length, "InitiatorName=iqn.2026-01.test:live") + 1;
	length += sprintf(text + length, "TargetName=%s", target) + 1;
	length += sprintf(text + length, "SessionType=Normal") + 1;
	for (i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		length += sprintf(text + length, "%s", wanted[i]) + 1;
	request[6] = length >> 8;
	request[7] = length;

	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)))
		return errno;
	length = 48 + (length + 3) / 4 * 4;
	if (write(fd, request, length) != (ssize_t)length)
		return errno;
	ret = read_all(fd, response, 48);
	if (ret)
		return ret;
	left = (response[5] << 16 | response[6] << 8 | response[7]) + 3;
	ret = read_all(fd, response + 48, left / 4 * 4 > 4096 ? 4096 : left / 4 * 4);
	if (ret)
		return ret;

	/* A response to a login, with transit to full feature, and success. */
	return response[0] == 0x23 && (response[1] & 0x83) == 0x83 && !response[36] ? 0 : EPROTO;
}

struct ring {
	int fd;
	unsigned int *tail, *array;
	struct io_uring_sqe *entries;
};

static int open_ring(unsigned int flags, struct ring *ring)
{
	struct io_uring_params params = { .flags = flags, .sq_thread_idle = 1 };
	char *queue;

	ring->fd = syscall(__NR_io_uring_setup, RING_ENTRIES, &params);
	if (ring->fd < 0)
		return errno;
	queue = mmap(NULL, params.sq_off.array + RING_ENTRIES * sizeof(int),
		     PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	ring->entries = mmap(NULL, RING_ENTRIES * sizeof(*ring->entries), PROT_READ | PROT_WRITE,
			     MAP_SHARED, ring->fd, IORING_OFF_SQES);
	if (queue == MAP_FAILED || ring->entries == MAP_FAILED)
		return errno;
	ring->tail = (unsigned int *)(queue + params.sq_off.tail);
	ring->array = (unsigned int *)(queue + params.sq_off.array);
	return 0;
}

/* Begins to read from a pipe that stays empty, so that a worker has to wait. */
static int start_read(struct ring *ring)
{
	const unsigned int tail = *ring->tail, at = tail % RING_ENTRIES;
	static char byte;
	int pipes[2];

	if (pipe(pipes))
		return errno;
	ring->entries[at] = (struct io_uring_sqe) {
		.opcode = IORING_OP_READ,
		.flags = IOSQE_ASYNC,
		.fd = pipes[0],
		.addr = (unsigned long)&byte,
		.len = 1,
	};
	ring->array[at] = at;
	__atomic_store_n(ring->tail, tail + 1, __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, ring->fd, 1, 0, IORING_ENTER_SQ_WAKEUP, NULL, 0) < 0)
		return errno;
	return 0;
}

/* A thread that polls for submissions, and a worker of it. */
static int uring(void)
{
	struct ring ring;

	return open_ring(IORING_SETUP_SQPOLL, &ring) ?: start_read(&ring);
}

/* Reads name and CPUs of a thread of this process. */
static bool read_thread(int tid, char name[64], char cpus[256])
{
	char path[64], line[256];
	FILE *status;
	int found = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	status = fopen(path, "r");
	while (status && fgets(line, sizeof(line), status))
		found += sscanf(line, "Name:\t%63[^\n]", name) == 1 ||
			 sscanf(line, "Cpus_allowed_list:\t%255[^\n]", cpus) == 1;
	if (status)
		fclose(status);
	return found == 2;
}

/* Calls for each thread of this process, as long as that returns false. */
static bool any_thread(bool (*call)(int tid, const char *name, const char *cpus, void *data),
		       void *data)
{
	DIR *tasks = opendir("/proc/self/task");
	char name[64], cpus[256];
	struct dirent *task;
	bool found = false;

	while (tasks && !found && (task = readdir(tasks)))
		if (task->d_name[0] != '.' && read_thread(atoi(task->d_name), name, cpus))
			found = call(atoi(task->d_name), name, cpus, data);
	if (tasks)
		closedir(tasks);
	return found;
}

struct new_worker {
	const char *when;
	int last;
};

static bool tell_new_worker(int tid, const char *name, const char *cpus, void *data)
{
	struct new_worker *worker = data;

	if (strncmp(name, "iou-wrk-", 8) || tid <= worker->last)
		return false;
	printf("worker:%s:%s\n", worker->when, cpus);
	worker->last = tid;
	return true;
}

/* Has a worker made and tells its CPUs, which it has before it takes this name. */
static int tell_worker(struct ring *ring, struct new_worker *worker, const char *when)
{
	int tries = 100, error = start_read(ring);

	worker->when = when;
	while (!error && !any_thread(tell_new_worker, worker)) {
		if (!--tries)
			return ETIMEDOUT;
		usleep(100 * 1000);
	}
	return error;
}

static int switch_cpu(int cpu)
{
	char path[64];
	int value, fd, error = 0;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	for (value = '0'; value <= '1' && !error; value++) {
		fd = open(path, O_WRONLY);
		if (fd < 0 || write(fd, &value, 1) != 1)
			error = errno;
		close(fd);
	}
	return error;
}

static int choose(struct ring *ring, const cpu_set_t *cpus)
{
	const int what = cpus ? IORING_REGISTER_IOWQ_AFF : IORING_UNREGISTER_IOWQ_AFF;

	return syscall(__NR_io_uring_register, ring->fd, what, cpus, cpus ? sizeof(*cpus) : 0) ?
	       errno : 0;
}

/*
 * The CPUs of workers: those that they get, and after others were chosen, and one of
 * them and another one have gone and come; and again when there is no choice any more.
 * A worker that is there keeps what it has.
 */
static int uring_chosen(void)
{
	struct new_worker worker = { };
	struct ring ring;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(5, &cpus);
	return open_ring(0, &ring) ?:
	       tell_worker(&ring, &worker, "default") ?:
	       choose(&ring, &cpus) ?: switch_cpu(5) ?: switch_cpu(6) ?:
	       tell_worker(&ring, &worker, "chosen") ?:
	       choose(&ring, NULL) ?:
	       tell_worker(&ring, &worker, "unchosen");
}

/* Its threads go with it. */
static int in_child(int (*run)(void))
{
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	if (!child) {
		status = run();
		fflush(stdout);
		_exit(status);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

static int vhost(void)
{
	int fd = open("/dev/vhost-net", O_RDWR);

	return fd < 0 || ioctl(fd, VHOST_SET_OWNER) ? errno : 0;
}

static bool tell_thread(int tid, const char *name, const char *cpus, void *data)
{
	(void)tid;
	(void)data;
	printf("thread:%s:%s\n", name, cpus);
	return false;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	printf("iscsi_login:%d\n", iscsi(argv[1]));
	printf("vhost:%d\n", vhost());
	printf("uring_chosen:%d\n", in_child(uring_chosen));
	printf("uring:%d\n", uring());
	/* The worker is made by the thread that polls. */
	sleep(1);
	any_thread(tell_thread, NULL);
	fclose(stdout);
	pause();
	return 0;
}
