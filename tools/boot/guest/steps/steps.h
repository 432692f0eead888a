/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the program steps share; main.c says what it is. */
#ifndef STEPS_H
#define STEPS_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "../guest.h"

#define TRACEFS "/sys/kernel/tracing"
#define CPUS "/sys/devices/system/cpu"
#define CGROUP "/sys/fs/cgroup"
#define WORKQUEUES "/sys/devices/virtual/workqueue"

#define MAX_CPUS 64
/* The kernel's default for so few CPUs is half of it. */
#define MAX_PID 65536
#define KTHREADD 2
#define PF_KTHREAD 0x00200000u
#define PF_NO_SETAFFINITY 0x04000000u

#define JOIN_PAUSE_US 10000

#define MAX_LEFT 16

typedef uint64_t cpus_t;

/* --- cpus.c --- */

void *grow(void *old, size_t count, size_t size);
int parse_order(const char *text, int *order);
cpus_t parse_cpus(const char *text);
const char *format_cpus(cpus_t cpus);
bool read_file(const char *path, char *text, size_t size);
cpus_t read_cpus(const char *path);
void print_encoded(const char *text);

/* --- threads.c --- */

struct thread {
	int pid;
	char name[64];
	unsigned int flags;
	cpus_t allowed;
	/* Seen without, and with, PF_NO_SETAFFINITY. */
	bool unbound, bound;
	/* Seen in the latest look; has changed since it was told; was told at all. */
	bool here, changed, told;
};

struct thread *find_thread(int pid);
cpus_t allowed_of(int pid);
void look_at_threads(void);
void print_changes(void);
extern struct thread *threads;
extern size_t thread_count;

/* --- trace.c --- */

enum kind { SWITCH, CPU_MOVES, CPU_UP, MARKER, ARMED, EXPIRED, ENTERED };

/* There are millions of them. */
struct event {
	uint64_t time;
	union {
		/* The threads of a switch. "next" is the number of a marker or of a CPU, too. */
		struct {
			int prev, next;
		};
		/* The address of a timer. */
		uint64_t timer;
	};
	/* A new kernel thread has the name of kthreadd until it has its own. */
	bool prev_made, next_made;
	/* Who armed the timer wants it where it is. */
	bool pinned;
	uint8_t prev_class, next_class;
	uint8_t cpu, kind;
};

/* What a thread does, as far as its name tells it, and what the kernel does without one. */
enum class { OTHER, WORKER, RESCUER, HELPER, MANAGED, TIMER, SOFTIRQ, IRQ, CLASSES };

int find_state(const char *name);
void open_trace(void);
int record_all(bool on);
void drain_trace(void);
unsigned long lost_events(void);
extern const char *const class_names[CLASSES];
extern struct event *events;
extern size_t event_count;
extern int marker_fd;
extern cpus_t traced;
extern bool tracing;

/* --- irqs.c --- */

void look_at_irqs(void);
void print_irqs(void);
bool is_fixed(int number);
void put_numbers(char *text, size_t size);

/* --- step.c --- */

/* How things are after a change; the first one is before all of them. */
struct state {
	int step;
	cpus_t online, isolated;
	bool counted;
};

void write_all(int fd, const char *text);
void print_file(const char *key, const char *path);
void begin_change(void);
void end_change(void);
void poke(void);
void start_ksmd(void);
void begin_step(const char *name, const char *arg);
void end_step(const char *name, const char *arg, int status);
extern struct state *states;
extern size_t state_count;
extern int kmsg_fd;
extern bool count_runs;
extern char result[1024];
extern pid_t left[MAX_LEFT];
extern int left_count;
extern pid_t background;
extern pid_t child, busy;
extern char background_path[256];

/* --- changes.c --- */

int switch_cpu(int cpu, bool on);
void step_cpus(const char *list, bool off, bool on);
void step_orders(const char *list);
void step_spin(const char *arg);
const char *split(const char *name, const char *arg, char *path, size_t size);
int start_background(const char *path, const char *value);
int join_background(void);
int tell_file(const char *path);
int write_again(const char *path);
int set_hotplug_state(const char *arg);
int refuse_offline(const char *arg);
int place(int pid, cpus_t cpus);
int start_process(const char *name);
int set_affinity(const char *name, cpus_t cpus);
int set_cpuset(const char *name, const char *group);
int await_present(cpus_t cpus);

/* --- work.c --- */

int write_kcpus(const char *arg);
int command_work(const char *arg);
int rescue_work(void);
int start_helpers(const char *arg);

/* --- within.c --- */

int run_within(const char *arg);
int await_left(int seconds);

/* --- children.c --- */

pid_t start_child(int (*function)(unsigned int value), unsigned int value, cpus_t cpus);
int wait_for_children(void);
/* What the children of a step share; each counts what it does itself. */
struct shared {
	volatile bool stopping, resting;
	unsigned int hotplug, partitions, workqueues, work, kthreads, bound, parked, stopped,
		placed, hogs, helpers, modules, smt, suspends, rounds, answers, transfers;
};
extern struct shared *shared;

/* --- noise.c --- */

int step_noise(const char *arg);

/* --- juggle.c --- */

int step_juggle(const char *arg);

/* --- torture.c --- */

int step_torture(const char *arg);

/* --- runs.c --- */

void tell_trace(void);

/* --- main.c --- */

int run_simple(const char *name, const char *arg);

#endif
