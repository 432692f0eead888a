// SPDX-License-Identifier: GPL-2.0
/*
 * kcload: kernel threads on demand, for the boot scenarios and the benchmark.
 * Work for workqueues is in work.c, the two parsers of CPU lists in parse.c, and
 * the time that a lock is held in lock.c.
 *
 * One line written to /proc/kcload is one command, which has ended when the
 * write returns; a read gives the results of the last one as KEY=VALUE words.
 * README.md beside this file has the commands. Only exported symbols are used,
 * so the same source runs on the unpatched kernel.
 */

#define pr_fmt(fmt) "kcload: " fmt

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/pid.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/workqueue.h>
#include <uapi/linux/sched/types.h>

#include "kcload.h"

#define LINE_MAX_LENGTH	512
#define RESULT_SIZE	4096
#define COUNT_MAX	32768
#define ROUNDS_MAX	1000000
#define PAUSE_US_MAX	1000000
/* So that what is woken gets to run, and does not fill a trace. */
#define WAKE_PAUSE_US	1000
#define STORM_WORKERS	4
#define STORM_SLOTS	24
#define STORM_SECONDS_MAX	3600
/* No thread takes as long as this to run for the first time. */
#define START_TIMEOUT	(120 * HZ)

enum kind_type {
	KIND_UNBOUND,
	KIND_NODE,
	KIND_PREF,
	KIND_PREFS,
	KIND_BOUND,
	KIND_FIXED,
	KIND_PINNED,
	KIND_SET,
};

static const char * const kind_names[] = {
	[KIND_UNBOUND] = "unbound",
	[KIND_NODE] = "node",
	[KIND_PREF] = "pref",
	[KIND_PREFS] = "prefs",
	[KIND_BOUND] = "bound",
	[KIND_FIXED] = "fixed",
	[KIND_PINNED] = "pinned",
	[KIND_SET] = "set",
};

/* What a KIND word of a command says. */
struct kind {
	enum kind_type type;
	unsigned int number;	/* node, CPU, or count of distinct masks */
	cpumask_var_t mask;	/* KIND_PREF */
};

/* A thread of the add command. */
struct load {
	struct list_head list;
	struct task_struct *task;
	enum kind_type type;
	unsigned int cpu;	/* KIND_FIXED */
	struct completion started;
};

/* Both, and everything below them, are under the lock of kcload_file. */
static LIST_HEAD(loads);
static unsigned int loads_count;

static char result_text[RESULT_SIZE];
static struct seq_buf result;
static unsigned int serial;

/* --- threads ------------------------------------------------------------- */

/* Sleeps until it is to stop, or *@leave, if there is one. */
static int sleep_until(const bool *leave)
{
	for (;;) {
		set_current_state(TASK_IDLE);
		if (kthread_should_stop() || (leave && READ_ONCE(*leave)))
			break;
		if (kthread_should_park()) {
			__set_current_state(TASK_RUNNING);
			kthread_parkme();
			continue;
		}
		schedule();
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

static int sleeper(void *data)
{
	struct completion *started = data;

	if (started)
		complete(started);
	return sleep_until(NULL);
}

/* Returns the CPU that it ran on last. */
static int load_work(void *data)
{
	struct load *load = data;

	/* As rcuscale and others do it. */
	if (load->type == KIND_FIXED) {
		set_cpus_allowed_ptr(current, cpumask_of(load->cpu));
		current->flags |= PF_NO_SETAFFINITY;
	}
	if (load->type == KIND_PINNED)
		migrate_disable();
	complete(&load->started);
	sleep_until(NULL);
	/* If it has to move, then here. */
	if (load->type == KIND_PINNED)
		migrate_enable();
	return raw_smp_processor_id();
}

/*
 * Mask number @index of a series of distinct ones: bit n of @index + 1 stands
 * for the nth possible CPU.
 */
static void numbered_mask(struct cpumask *mask, unsigned int index)
{
	unsigned int bits = index + 1, cpu;

	cpumask_clear(mask);
	for_each_possible_cpu(cpu) {
		if (bits & 1)
			cpumask_set_cpu(cpu, mask);
		bits >>= 1;
		if (!bits)
			break;
	}
}

/* The number of masks that numbered_mask() can tell apart. */
static unsigned int numbered_masks(void)
{
	return num_possible_cpus() >= 16 ? 65535 : (1U << num_possible_cpus()) - 1;
}

/*
 * Creates a thread that is not woken. @scratch has room for a mask; @index
 * chooses one of those of KIND_PREFS.
 */
static struct task_struct *create(const struct kind *kind, unsigned int index,
				  struct cpumask *scratch, int (*fn)(void *), void *data)
{
	const struct cpumask *mask = kind->mask;
	struct task_struct *task;
	int ret = 0;

	task = kthread_create_on_node(fn, data,
				      kind->type == KIND_NODE ? kind->number : NUMA_NO_NODE,
				      "kcload-%s/%u", kind_names[kind->type], serial++);
	if (IS_ERR(task))
		return task;

	switch (kind->type) {
	case KIND_PREFS:
		numbered_mask(scratch, index % kind->number);
		mask = scratch;
		fallthrough;
	case KIND_PREF:
		ret = kthread_affine_preferred(task, mask);
		break;
	case KIND_BOUND:
		kthread_bind(task, kind->number);
		break;
	case KIND_SET:
		ret = set_cpus_allowed_ptr(task, cpumask_of(kind->number));
		break;
	default:
		break;
	}
	if (ret) {
		kthread_stop(task);
		return ERR_PTR(ret);
	}
	return task;
}

/*
 * Stops the threads that were added last until @left are left. If there is a @cpu,
 * it is set to where the last of them ended.
 */
static unsigned int stop_loads(unsigned int left, int *cpu)
{
	struct load *load, *next;
	unsigned int count = 0;
	int ret;

	list_for_each_entry_safe(load, next, &loads, list) {
		if (loads_count <= left)
			break;
		ret = kthread_stop(load->task);
		if (cpu)
			*cpu = ret;
		list_del(&load->list);
		kfree(load);
		loads_count--;
		count++;
		cond_resched();
	}
	return count;
}

/* --- words of a command -------------------------------------------------- */

static int fail(int error, const char *text)
{
	return command_fail(&result, error, text);
}

static int parse_number(const char *word, unsigned int max, unsigned int *number)
{
	if (!word || kstrtouint(word, 10, number) || *number > max)
		return -EINVAL;
	return 0;
}

/* The mask of @list in @mask: at least one CPU, all of them possible. */
static int parse_mask(const char *list, struct cpumask *mask)
{
	if (!list || cpulist_parse(list, mask) || cpumask_empty(mask) ||
	    !cpumask_subset(mask, cpu_possible_mask))
		return -EINVAL;
	return 0;
}

static int parse_kind(char *word, struct kind *kind)
{
	char *argument = word;

	if (!word)
		return -EINVAL;
	word = strsep(&argument, ":");
	for (kind->type = 0; kind->type < ARRAY_SIZE(kind_names); kind->type++)
		if (!strcmp(word, kind_names[kind->type]))
			break;

	switch (kind->type) {
	case KIND_UNBOUND:
	case KIND_PINNED:
		return argument ? -EINVAL : 0;
	case KIND_NODE:
		if (parse_number(argument, MAX_NUMNODES - 1, &kind->number) ||
		    !node_online(kind->number))
			return -EINVAL;
		return 0;
	case KIND_PREF:
		return parse_mask(argument, kind->mask);
	case KIND_PREFS:
		if (parse_number(argument, numbered_masks(), &kind->number) || !kind->number)
			return -EINVAL;
		return 0;
	case KIND_BOUND:
	case KIND_FIXED:
	case KIND_SET:
		if (parse_number(argument, nr_cpu_ids - 1, &kind->number) ||
		    !cpu_possible(kind->number))
			return -EINVAL;
		return 0;
	default:
		return -EINVAL;
	}
}

/* --- add, del, wake ------------------------------------------------------ */

static int add_one(const struct kind *kind, unsigned int index, struct cpumask *scratch)
{
	struct load *load = kzalloc(sizeof(*load), GFP_KERNEL);
	struct task_struct *task;

	if (!load)
		return -ENOMEM;
	init_completion(&load->started);
	load->type = kind->type;
	load->cpu = kind->number;
	task = create(kind, index, scratch, load_work, load);
	if (IS_ERR(task)) {
		kfree(load);
		return PTR_ERR(task);
	}
	load->task = task;
	list_add(&load->list, &loads);
	loads_count++;
	wake_up_process(task);
	/* Only when it has run it is where it belongs, whatever the kernel. */
	if (!wait_for_completion_timeout(&load->started, START_TIMEOUT))
		return -ETIMEDOUT;
	return 0;
}

static int cmd_add(char *args, struct kind *kind, struct cpumask *scratch)
{
	unsigned int count, index, before = loads_count;
	int ret;

	if (parse_kind(strsep(&args, " "), kind) ||
	    parse_number(strsep(&args, " "), COUNT_MAX, &count) || args)
		return fail(-EINVAL, "use: add unbound|node:N|pref:LIST|prefs:M|bound:CPU|fixed:CPU|set:CPU|pinned COUNT");
	for (index = 0; index < count; index++) {
		ret = add_one(kind, index, scratch);
		if (ret) {
			stop_loads(before, NULL);
			return fail(ret, "cannot create that many; none was kept");
		}
		cond_resched();
	}
	seq_buf_printf(&result, "added=%u alive=%u pid=%d\n", count, loads_count,
		       count ? task_pid_nr(list_first_entry(&loads, struct load, list)->task) : 0);
	return 0;
}

/* Brings the one of that number to where stop_loads() begins. */
static int choose_load(unsigned int number)
{
	struct load *load;

	list_for_each_entry(load, &loads, list) {
		if (task_pid_nr(load->task) == number) {
			list_move(&load->list, &loads);
			return 0;
		}
	}
	return -ESRCH;
}

static int cmd_del(char *args, struct kind *kind, struct cpumask *scratch)
{
	unsigned int count, number, left = 0;
	int cpu = -1;

	if (args && !parse_number(args, PID_MAX_LIMIT, &number)) {
		if (choose_load(number))
			return fail(-ESRCH, "no thread of the module has this PID");
		left = loads_count - 1;
	} else if (!args || strcmp(args, "all")) {
		return fail(-EINVAL, "use: del all|PID");
	}
	count = stop_loads(left, &cpu);
	seq_buf_printf(&result, "deleted=%u alive=%u cpu=%d\n", count, loads_count, cpu);
	return 0;
}

/* Any kernel thread: they all cope with being woken for nothing. */
static int wake_one(unsigned int number)
{
	struct pid *pid = find_get_pid(number);
	struct task_struct *task = get_pid_task(pid, PIDTYPE_PID);
	int ret = -ESRCH;

	put_pid(pid);
	if (task && task->flags & PF_KTHREAD) {
		wake_up_process(task);
		ret = 0;
	}
	if (task)
		put_task_struct(task);
	return ret;
}

static int cmd_wake(char *args, struct kind *kind, struct cpumask *scratch)
{
	struct load *load;
	unsigned int count = 0, rounds = 1, number;
	const char *what = strsep(&args, " ");

	if (what && !args && !parse_number(what, PID_MAX_LIMIT, &number)) {
		if (wake_one(number))
			return fail(-ESRCH, "no kernel thread has this PID");
		seq_buf_printf(&result, "woken=1\n");
		return 0;
	}
	if (!what || strcmp(what, "all") ||
	    (args && (parse_number(args, ROUNDS_MAX, &rounds) || !rounds)))
		return fail(-EINVAL, "use: wake all [ROUNDS] or wake PID");
	while (rounds--) {
		list_for_each_entry(load, &loads, list) {
			wake_up_process(load->task);
			count++;
			cond_resched();
		}
		if (rounds)
			usleep_range(WAKE_PAUSE_US, 2 * WAKE_PAUSE_US);
	}
	seq_buf_printf(&result, "woken=%u\n", count);
	return 0;
}

/* --- crs: what one thread costs ------------------------------------------ */

static int compare_u64(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* Sorts them. */
static void tell_costs(u64 *cost, unsigned int rounds)
{
	u64 sum = 0;
	unsigned int i;

	for (i = 0; i < rounds; i++)
		sum += cost[i];
	sort(cost, rounds, sizeof(*cost), compare_u64, NULL);
	seq_buf_printf(&result, "rounds=%u alive=%u min=%llu median=%llu mean=%llu max=%llu\n",
		       rounds, loads_count, cost[0], cost[rounds / 2], div_u64(sum, rounds),
		       cost[rounds - 1]);
}

static int cmd_crs(char *args, struct kind *kind, struct cpumask *scratch)
{
	struct completion ran;
	unsigned int rounds, pause_us = 0, i;
	u64 *cost;
	int ret = 0;

	if (parse_kind(strsep(&args, " "), kind) ||
	    parse_number(strsep(&args, " "), ROUNDS_MAX, &rounds) || !rounds ||
	    (args && parse_number(args, PAUSE_US_MAX, &pause_us)))
		return fail(-EINVAL, "use: crs unbound|node:N|pref:LIST|prefs:M|bound:CPU ROUNDS [PAUSE]");
	cost = kvcalloc(rounds, sizeof(*cost), GFP_KERNEL);
	if (!cost)
		return fail(-ENOMEM, "no memory for the figures");

	init_completion(&ran);
	for (i = 0; i < rounds; i++) {
		struct task_struct *task;
		u64 start;

		if (pause_us)
			usleep_range(pause_us, pause_us);
		start = ktime_get_ns();
		task = create(kind, i, scratch, sleeper, &ran);
		if (IS_ERR(task)) {
			ret = fail(PTR_ERR(task), "cannot create a thread");
			goto out;
		}
		wake_up_process(task);
		wait_for_completion(&ran);
		kthread_stop(task);
		cost[i] = ktime_get_ns() - start;
		cond_resched();
	}
	tell_costs(cost, rounds);
out:
	kvfree(cost);
	return ret;
}

/* --- timers -------------------------------------------------------------- */

static void timer_nothing(struct timer_list *timer) { }
static enum hrtimer_restart hrtimer_nothing(struct hrtimer *timer) { return HRTIMER_NORESTART; }
static void work_nothing(struct work_struct *work) { }

/* What it costs on the CPU of the caller to arm one that is far away, and to take it back. */
static int cmd_timer(char *args, struct kind *kind, struct cpumask *scratch)
{
	static const char * const kinds[] = { "wheel", "hrtimer", "delayed" };
	static DECLARE_DELAYED_WORK(work, work_nothing);
	static DEFINE_TIMER(timer, timer_nothing);
	static struct hrtimer hrtimer;
	const int which = match_string(kinds, ARRAY_SIZE(kinds), strsep(&args, " ") ?: "");
	unsigned int rounds, i;
	u64 *cost, start;

	if (which < 0 || !args || parse_number(args, ROUNDS_MAX, &rounds) || !rounds)
		return fail(-EINVAL, "use: timer wheel|hrtimer|delayed ROUNDS");
	cost = kvcalloc(rounds, sizeof(*cost), GFP_KERNEL);
	if (!cost)
		return fail(-ENOMEM, "no memory for the figures");

	hrtimer_setup(&hrtimer, hrtimer_nothing, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	for (i = 0; i < rounds; i++) {
		start = ktime_get_ns();
		if (which == 0) {
			mod_timer(&timer, jiffies + 1000 * HZ);
			timer_delete(&timer);
		} else if (which == 1) {
			hrtimer_start(&hrtimer, ms_to_ktime(1000 * MSEC_PER_SEC), HRTIMER_MODE_REL);
			hrtimer_cancel(&hrtimer);
		} else {
			schedule_delayed_work(&work, 1000 * HZ);
			cancel_delayed_work(&work);
		}
		cost[i] = ktime_get_ns() - start;
		cond_resched();
	}
	tell_costs(cost, rounds);
	kvfree(cost);
	return 0;
}

/* --- idle ---------------------------------------------------------------- */

/* Of the process that has written the command. */
static int cmd_idle(char *args, struct kind *kind, struct cpumask *scratch)
{
	static const struct sched_attr idle = { .sched_policy = SCHED_IDLE };

	if (args)
		return fail(-EINVAL, "use: idle");
	seq_buf_printf(&result, "idle=1\n");
	return sched_setattr_nocheck(current, &idle);
}

/* --- twice and update ---------------------------------------------------- */

static int cmd_twice(char *args, struct kind *kind, struct cpumask *scratch)
{
	struct task_struct *task;
	int first, second;

	if (args)
		return fail(-EINVAL, "use: twice");
	task = kthread_create(sleeper, NULL, "kcload-twice/%u", serial++);
	if (IS_ERR(task))
		return fail(PTR_ERR(task), "cannot create a thread");
	numbered_mask(scratch, 0);
	first = kthread_affine_preferred(task, scratch);
	seq_buf_printf(&result, "first=%d first_allowed=%*pbl ", first,
		       cpumask_pr_args(task->cpus_ptr));
	numbered_mask(scratch, 1);
	second = kthread_affine_preferred(task, scratch);
	seq_buf_printf(&result, "second=%d second_allowed=%*pbl ", second,
		       cpumask_pr_args(task->cpus_ptr));
	wake_up_process(task);
	seq_buf_printf(&result, "stopped=%d\n", kthread_stop(task));
	return 0;
}

#ifdef KTHREAD_HAS_AFFINE_PREFERRED_UPDATE
static int cmd_update(char *args, struct kind *kind, struct cpumask *scratch)
{
	const struct kind unbound = { .type = KIND_UNBOUND };
	unsigned int updated = 0, failed = 0;
	int ret, error = 0, none;
	struct task_struct *task;
	struct load *load;

	if (parse_mask(args, kind->mask))
		return fail(-EINVAL, "use: update LIST");
	/* Before anything is changed. */
	task = create(&unbound, 0, scratch, sleeper, NULL);
	if (IS_ERR(task))
		return fail(PTR_ERR(task), "cannot create a thread");
	list_for_each_entry(load, &loads, list) {
		if (load->type != KIND_PREF && load->type != KIND_PREFS)
			continue;
		ret = kthread_affine_preferred_update(load->task, kind->mask);
		if (ret) {
			failed++;
			error = ret;
		} else {
			updated++;
		}
		cond_resched();
	}

	wake_up_process(task);
	none = kthread_affine_preferred_update(task, kind->mask);
	kthread_stop(task);
	seq_buf_printf(&result, "updated=%u failed=%u error=%d none=%d\n",
		       updated, failed, error, none);
	return 0;
}
#else
static int cmd_update(char *args, struct kind *kind, struct cpumask *scratch)
{
	return fail(-EOPNOTSUPP, "this kernel has no kthread_affine_preferred_update()");
}
#endif

/* --- leak ---------------------------------------------------------------- */

/* Many: pointers to some are left on stacks, and where the allocator has had them. */
#define LEAKED	512

/* What a driver does that places its interrupt. The hint has to last. */
static int set_irq(char *args, const char *usage, int (*set)(unsigned int, const struct cpumask *))
{
	static struct cpumask mask;
	char *number = strsep(&args, " ");
	unsigned int irq;
	int ret;

	if (!args || kstrtouint(number, 10, &irq) || parse_mask(args, &mask))
		return fail(-EINVAL, usage);
	ret = set(irq, &mask);
	seq_buf_printf(&result, "set=%d\n", ret);
	return ret;
}

static int cmd_irq(char *args, struct kind *kind, struct cpumask *scratch)
{
	return set_irq(args, "use: irq NUMBER LIST", irq_set_affinity);
}

static int cmd_hint(char *args, struct kind *kind, struct cpumask *scratch)
{
	return set_irq(args, "use: hint NUMBER LIST", irq_set_affinity_and_hint);
}

static int cmd_leak(char *args, struct kind *kind, struct cpumask *scratch)
{
	void *volatile lost;
	unsigned int i;

	if (args)
		return fail(-EINVAL, "use: leak");
	for (i = 0; i < LEAKED; i++) {
		lost = kzalloc(64, GFP_KERNEL);
		if (!lost)
			return fail(-ENOMEM, "no memory to lose");
	}
	lost = NULL;
	seq_buf_printf(&result, "leaked=%u\n", LEAKED);
	return 0;
}

/* --- storm --------------------------------------------------------------- */

enum storm_count {
	STORM_CREATED,
	STORM_PINNED,
	STORM_BOUND,
	STORM_PREFERRED,
	STORM_ON_NODE,
	STORM_WOKEN,
	STORM_PARKED,
	STORM_UNPARKED,
	STORM_UPDATED,
	STORM_LATE,
	STORM_EXITED,
	STORM_STOPPED,
	STORM_STOPPED_UNBORN,
	STORM_NO_MEMORY,
	STORM_WRONG,
	STORM_COUNTS,
};

static const char * const storm_names[STORM_COUNTS] = {
	[STORM_CREATED] = "created",
	[STORM_PINNED] = "pinned",
	[STORM_BOUND] = "bound",
	[STORM_PREFERRED] = "preferred",
	[STORM_ON_NODE] = "on_node",
	[STORM_WOKEN] = "woken",
	[STORM_PARKED] = "parked",
	[STORM_UNPARKED] = "unparked",
	[STORM_UPDATED] = "updated",
	[STORM_LATE] = "bound_late",
	[STORM_EXITED] = "exited",
	[STORM_STOPPED] = "stopped",
	[STORM_STOPPED_UNBORN] = "stopped_unborn",
	[STORM_NO_MEMORY] = "no_memory",
	[STORM_WRONG] = "wrong",
};

/* What a slot of a storm worker holds. */
enum slot_state {
	SLOT_EMPTY,
	SLOT_UNBORN,	/* created, not woken */
	SLOT_LIVE,
	SLOT_PARKED,
	SLOT_EXITED,	/* has been told to return by itself */
};

struct slot {
	struct task_struct *task;	/* with a reference of our own */
	enum slot_state state;
	bool bound;
	bool preferred;		/* has a mask */
	bool on_node;
	bool pinned;		/* sleeps with migration disabled */
	bool leave;
};

struct storm_worker {
	struct task_struct *task;
	struct completion done;
	struct rnd_state random;
	unsigned long until;
	bool pins;		/* some threads sleep with migration disabled */
	unsigned int id;
	cpumask_var_t mask;
	struct slot slots[STORM_SLOTS];
	unsigned long counts[STORM_COUNTS];
};

/* A sleeper that also ends by itself when its slot says so. */
static int storm_thread(void *data)
{
	struct slot *slot = data;
	const bool pinned = slot->pinned;
	int ret;

	if (pinned)
		migrate_disable();
	ret = sleep_until(&slot->leave);
	if (pinned)
		migrate_enable();
	return ret;
}

static unsigned int storm_random(struct storm_worker *worker, unsigned int below)
{
	return prandom_u32_state(&worker->random) % below;
}

/* A random CPU or mask, online or not: a preference must cope with both. */
static unsigned int storm_cpu(struct storm_worker *worker)
{
	return cpumask_nth(storm_random(worker, num_possible_cpus()), cpu_possible_mask);
}

static const struct cpumask *storm_mask(struct storm_worker *worker)
{
	numbered_mask(worker->mask, storm_random(worker, numbered_masks()));
	return worker->mask;
}

static void storm_create(struct storm_worker *worker, struct slot *slot)
{
	int node = NUMA_NO_NODE;

	*slot = (struct slot){ .pinned = worker->pins && !storm_random(worker, 4) };
	if (!storm_random(worker, 3)) {
		node = first_online_node;
		slot->on_node = true;
		worker->counts[STORM_ON_NODE]++;
	}
	slot->task = kthread_create_on_node(storm_thread, slot, node, "kcload-storm/%u",
					    worker->id);
	if (IS_ERR(slot->task)) {
		worker->counts[STORM_NO_MEMORY]++;
		slot->task = NULL;
		return;
	}
	get_task_struct(slot->task);
	slot->state = SLOT_UNBORN;
	worker->counts[STORM_CREATED]++;
	worker->counts[STORM_PINNED] += slot->pinned;
}

static void storm_stop(struct storm_worker *worker, struct slot *slot)
{
	bool unborn = slot->state == SLOT_UNBORN;
	int ret = kthread_stop_put(slot->task);

	if (unborn)
		worker->counts[STORM_STOPPED_UNBORN]++;
	else
		worker->counts[STORM_STOPPED]++;
	/* A thread that never ran its function says so; any other returns 0. */
	if (unborn ? ret != -EINTR : ret != 0 && ret != -EINTR)
		worker->counts[STORM_WRONG]++;
	*slot = (struct slot){};
}

static void storm_prefer(struct storm_worker *worker, struct slot *slot)
{
	int ret = kthread_affine_preferred(slot->task, storm_mask(worker));

	if (!ret) {
		slot->preferred = true;
		worker->counts[STORM_PREFERRED]++;
	} else if (ret == -ENOMEM) {
		worker->counts[STORM_NO_MEMORY]++;
	} else {
		worker->counts[STORM_WRONG]++;
	}
}

/* Bound after it was given a preference. Mainline warns about it at the next hotplug. */
static void storm_bind_late(struct storm_worker *worker, struct slot *slot)
{
#ifdef KTHREAD_HAS_AFFINE_PREFERRED_UPDATE
	kthread_bind(slot->task, storm_cpu(worker));
	slot->bound = true;
	worker->counts[STORM_LATE]++;
#endif
}

static void storm_update(struct storm_worker *worker, struct slot *slot)
{
#ifdef KTHREAD_HAS_AFFINE_PREFERRED_UPDATE
	bool updatable = (slot->preferred || slot->on_node) && !slot->bound;
	int ret = kthread_affine_preferred_update(slot->task, storm_mask(worker));

	if (!ret && updatable) {
		/* A node is a preference as well; from now on it has a mask. */
		slot->preferred = true;
		worker->counts[STORM_UPDATED]++;
	} else if (ret == -ENOMEM) {
		worker->counts[STORM_NO_MEMORY]++;
	} else if (ret != -EINVAL || updatable) {
		worker->counts[STORM_WRONG]++;
	}
#endif
}

static void storm_park(struct storm_worker *worker, struct slot *slot)
{
	if (kthread_park(slot->task))
		worker->counts[STORM_WRONG]++;
	else
		worker->counts[STORM_PARKED]++;
	slot->state = SLOT_PARKED;
}

static void storm_unborn(struct storm_worker *worker, struct slot *slot)
{
	switch (storm_random(worker, 8)) {
	case 0:
		if (!slot->bound && !slot->preferred) {
			kthread_bind(slot->task, storm_cpu(worker));
			slot->bound = true;
			worker->counts[STORM_BOUND]++;
		} else if (!slot->bound) {
			storm_bind_late(worker, slot);
		}
		break;
	case 1:
	case 2:
		if (!slot->bound && !slot->preferred)
			storm_prefer(worker, slot);
		break;
	case 3:
		storm_stop(worker, slot);
		break;
	case 4:
		storm_park(worker, slot);
		break;
	default:
		wake_up_process(slot->task);
		slot->state = SLOT_LIVE;
		worker->counts[STORM_WOKEN]++;
	}
}

static void storm_live(struct storm_worker *worker, struct slot *slot)
{
	switch (storm_random(worker, 6)) {
	case 0:
		storm_park(worker, slot);
		break;
	case 1:
		WRITE_ONCE(slot->leave, true);
		wake_up_process(slot->task);
		slot->state = SLOT_EXITED;
		worker->counts[STORM_EXITED]++;
		break;
	case 2:
	case 3:
		/* That would wait until it moves, and so until it is woken here. */
		if (!slot->pinned)
			storm_update(worker, slot);
		break;
	case 4:
		wake_up_process(slot->task);
		break;
	default:
		storm_stop(worker, slot);
	}
}

static void storm_step(struct storm_worker *worker)
{
	struct slot *slot = &worker->slots[storm_random(worker, STORM_SLOTS)];

	switch (slot->state) {
	case SLOT_EMPTY:
		storm_create(worker, slot);
		break;
	case SLOT_UNBORN:
		storm_unborn(worker, slot);
		break;
	case SLOT_LIVE:
		storm_live(worker, slot);
		break;
	case SLOT_PARKED:
		if (storm_random(worker, 2)) {
			kthread_unpark(slot->task);
			slot->state = SLOT_LIVE;
			worker->counts[STORM_UNPARKED]++;
		} else {
			storm_stop(worker, slot);
		}
		break;
	case SLOT_EXITED:
		storm_stop(worker, slot);
		break;
	}
}

static int storm_work(void *data)
{
	struct storm_worker *worker = data;
	unsigned int i;

	while (time_before(jiffies, worker->until)) {
		storm_step(worker);
		cond_resched();
	}
	for (i = 0; i < STORM_SLOTS; i++)
		if (worker->slots[i].state != SLOT_EMPTY)
			storm_stop(worker, &worker->slots[i]);
	complete(&worker->done);
	/* The thread stays for kthread_stop(), which the module's end needs. */
	return sleeper(NULL);
}

static void storm_report(struct storm_worker *workers)
{
	unsigned long total, left = 0;
	unsigned int i, what, slot;

	for (what = 0; what < STORM_COUNTS; what++) {
		for (total = 0, i = 0; i < STORM_WORKERS; i++)
			total += workers[i].counts[what];
		seq_buf_printf(&result, "%s=%lu ", storm_names[what], total);
	}
	for (i = 0; i < STORM_WORKERS; i++)
		for (slot = 0; slot < STORM_SLOTS; slot++)
			left += workers[i].slots[slot].state != SLOT_EMPTY;
	seq_buf_printf(&result, "left=%lu\n", left);
}

static int cmd_storm(char *args, struct kind *kind, struct cpumask *scratch)
{
	struct storm_worker *workers, *worker;
	unsigned int seconds, seed, i;
	bool pinned;
	int ret = 0;

	if (parse_number(strsep(&args, " "), STORM_SECONDS_MAX, &seconds) || !seconds ||
	    parse_number(strsep(&args, " "), UINT_MAX, &seed) ||
	    (args && strcmp(args, "pinned")))
		return fail(-EINVAL, "use: storm SECONDS SEED [pinned]");
	pinned = args;
	workers = kcalloc(STORM_WORKERS, sizeof(*workers), GFP_KERNEL);
	if (!workers)
		return fail(-ENOMEM, "no memory for the workers");

	for (i = 0; i < STORM_WORKERS; i++) {
		worker = &workers[i];
		init_completion(&worker->done);
		worker->id = i;
		worker->until = jiffies + seconds * HZ;
		worker->pins = pinned;
		prandom_seed_state(&worker->random, ((u64)seed << 8) + i);
		if (!zalloc_cpumask_var(&worker->mask, GFP_KERNEL)) {
			ret = -ENOMEM;
			break;
		}
		worker->task = kthread_run(storm_work, worker, "kcload-worker/%u", i);
		if (IS_ERR(worker->task)) {
			ret = PTR_ERR(worker->task);
			worker->task = NULL;
			break;
		}
	}
	for (i = 0; i < STORM_WORKERS; i++) {
		if (workers[i].task) {
			wait_for_completion(&workers[i].done);
			kthread_stop(workers[i].task);
		}
	}
	if (ret)
		fail(ret, "cannot start the workers");
	else
		storm_report(workers);
	for (i = 0; i < STORM_WORKERS; i++)
		free_cpumask_var(workers[i].mask);
	kfree(workers);
	return ret;
}

/* --- the file ------------------------------------------------------------ */

static const struct {
	const char *name;
	int (*run)(char *args, struct kind *kind, struct cpumask *scratch);
} commands[] = {
	{ "add", cmd_add },
	{ "del", cmd_del },
	{ "wake", cmd_wake },
	{ "crs", cmd_crs },
	{ "timer", cmd_timer },
	{ "idle", cmd_idle },
	{ "storm", cmd_storm },
	{ "twice", cmd_twice },
	{ "update", cmd_update },
	{ "leak", cmd_leak },
	{ "irq", cmd_irq },
	{ "hint", cmd_hint },
};

static int run_command(char *line)
{
	char *name = strsep(&line, " ");
	struct kind kind = {};
	cpumask_var_t scratch;
	unsigned int i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(name, commands[i].name))
			break;
	if (i == ARRAY_SIZE(commands))
		return fail(-EINVAL, "no such command; there are: add del wake crs timer idle storm twice update leak irq hint");

	if (!zalloc_cpumask_var(&kind.mask, GFP_KERNEL))
		return fail(-ENOMEM, "no memory for a mask");
	if (!zalloc_cpumask_var(&scratch, GFP_KERNEL)) {
		free_cpumask_var(kind.mask);
		return fail(-ENOMEM, "no memory for a mask");
	}
	ret = commands[i].run(line, &kind, scratch);
	free_cpumask_var(scratch);
	free_cpumask_var(kind.mask);
	return ret;
}

static struct command_file kcload_file = {
	.name = "kcload",
	.line_max = LINE_MAX_LENGTH,
	.run = run_command,
	.lock = __MUTEX_INITIALIZER(kcload_file.lock),
	.result = &result,
};

static int __init kcload_init(void)
{
	int ret = kcwork_init();

	if (ret)
		return ret;
	ret = kcparse_init();
	if (ret)
		goto no_parse;
	ret = kclock_init();
	if (ret)
		goto no_lock;
	seq_buf_init(&result, result_text, sizeof(result_text));
	ret = command_file_create(&kcload_file) ? 0 : -ENOMEM;
	if (ret)
		goto no_file;
	return 0;

no_file:
	kclock_exit();
no_lock:
	kcparse_exit();
no_parse:
	kcwork_exit();
	return ret;
}

static void __exit kcload_exit(void)
{
	command_file_remove(&kcload_file);
	stop_loads(0, NULL);
	kclock_exit();
	kcparse_exit();
	kcwork_exit();
}

module_init(kcload_init);
module_exit(kcload_exit);

MODULE_DESCRIPTION("Kernel threads on demand, for tests and measurements");
MODULE_LICENSE("GPL");
