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
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/vhost.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

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

/* A thread that polls for submissions, and one that waits for a pipe. */
static int uring(void)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 1 };
	struct io_uring_sqe *entries;
	unsigned int *tail, *array;
	static char byte;
	int fd, pipes[2];
	char *ring;

	fd = syscall(__NR_io_uring_setup, 4, &params);
	if (fd < 0 || pipe(pipes))
		return errno;
	ring = mmap(NULL, params.sq_off.array + 4 * sizeof(int), PROT_READ | PROT_WRITE,
		    MAP_SHARED, fd, IORING_OFF_SQ_RING);
	entries = mmap(NULL, 4 * sizeof(*entries), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		       IORING_OFF_SQES);
	if (ring == MAP_FAILED || entries == MAP_FAILED)
		return errno;

	entries[0] = (struct io_uring_sqe) {
		.opcode = IORING_OP_READ,
		.flags = IOSQE_ASYNC,
		.fd = pipes[0],
		.addr = (unsigned long)&byte,
		.len = 1,
	};
	tail = (unsigned int *)(ring + params.sq_off.tail);
	array = (unsigned int *)(ring + params.sq_off.array);
	array[0] = 0;
	__atomic_store_n(tail, 1, __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, fd, 1, 0, IORING_ENTER_SQ_WAKEUP, NULL, 0) < 0)
		return errno;
	return 0;
}

static int vhost(void)
{
	int fd = open("/dev/vhost-net", O_RDWR);

	return fd < 0 || ioctl(fd, VHOST_SET_OWNER) ? errno : 0;
}

static void tell_threads(void)
{
	char path[300], line[256], name[64] = "", *list;
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;
	FILE *status;

	while (tasks && (task = readdir(tasks))) {
		if (task->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/status", task->d_name);
		status = fopen(path, "r");
		while (status && fgets(line, sizeof(line), status)) {
			line[strcspn(line, "\n")] = 0;
			if (!strncmp(line, "Name:\t", 6))
				snprintf(name, sizeof(name), "%.60s", line + 6);
			list = line + strlen("Cpus_allowed_list:\t");
			if (!strncmp(line, "Cpus_allowed_list:\t", list - line))
				printf("thread:%s:%s\n", name, list);
		}
		if (status)
			fclose(status);
	}
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	printf("iscsi_login:%d\n", iscsi(argv[1]));
	printf("vhost:%d\n", vhost());
	printf("uring:%d\n", uring());
	/* The worker is made by the thread that polls. */
	sleep(1);
	tell_threads();
	fclose(stdout);
	pause();
	return 0;
}
