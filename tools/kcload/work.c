// SPDX-License-Identifier: GPL-2.0
/*
 * kcload: work on demand for workqueues of every kind, which says on which CPUs
 * it ran. /proc/kcwork is used like /proc/kcload, also at the same time.
 */

#define pr_fmt(fmt) "kcload: " fmt

#include <linux/array_size.h>
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/kstrtox.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include "kcload.h"

#define LINE_MAX_LENGTH	128
#define RESULT_SIZE	1024
#define ITEMS_MAX	512
#define KEPT_MAX	32
#define DELAYED_MAX	8
/* Longer than a tick, so that a CPU may be idle meanwhile. */
#define DELAY		max(HZ / 50, 2)
#define LAPS		3
/* More than all the idle workers that there can be. */
#define RESCUE_ITEMS	64
/*
 * No work takes as long as this, so it is lost. On an emulated machine whose host has
 * much else to do, and with pools that are replaced all the time, it takes minutes.
 */
#define WORK_TIMEOUT	(600 * HZ)
#define RESCUE_TIMEOUT	(30 * HZ)

static const struct {
	const char *name;
	unsigned int flags;
	bool ordered;
} kinds[] = {
	{ "unbound", WQ_UNBOUND },
	{ "highpri", WQ_UNBOUND | WQ_HIGHPRI },
	{ "reclaim", WQ_UNBOUND | WQ_MEM_RECLAIM },
	{ "sysfs", WQ_UNBOUND | WQ_SYSFS },
	{ "ordered", WQ_MEM_RECLAIM, true },
	{ "percpu", WQ_PERCPU | WQ_MEM_RECLAIM },
};

struct item {
	struct work_struct work;
	struct completion done;
	spinlock_t lock;	/* what follows */
	cpumask_var_t ran;
	cpumask_var_t rescued;
	unsigned int laps;
	int cpu;		/* the one that it was queued on, or -1 */
	bool wrong;
	bool hold;
	bool late;		/* somebody has waited in vain; of the waiters alone */
};

/* A workqueue of the keep command. */
struct kept {
	struct list_head list;
	struct workqueue_struct *wq;
	unsigned int kind;
	struct item *item;	/* while there is one in flight */
};

/* All of these are under the lock of kcwork_file. */
static LIST_HEAD(kept_list);
static unsigned int kept_count, kept_serial;

static char result_text[RESULT_SIZE];
static struct seq_buf result;
static cpumask_var_t ran, rescued;

/* The rescuer of the rescue command has come, or nobody waits for it any more. */
static DECLARE_COMPLETION(rescuer_came);

static int fail(int error, const char *text)
{
	return command_fail(&result, error, text);
}

/* --- an item of work ----------------------------------------------------- */

static bool in_rescuer(void)
{
	return !strncmp(current->comm, "kworker/R-", strlen("kworker/R-"));
}

/* Takes note of where it runs; returns whether it is to go on. */
static bool item_lap(struct item *item)
{
	bool hold;
	int cpu;

	spin_lock(&item->lock);
	cpu = smp_processor_id();
	cpumask_set_cpu(cpu, item->ran);
	if (in_rescuer())
		cpumask_set_cpu(cpu, item->rescued);
	if (item->cpu >= 0 && item->cpu != cpu)
		item->wrong = true;
	item->laps++;
	hold = item->hold || item->laps < LAPS;
	spin_unlock(&item->lock);
	return hold;
}

static void item_work(struct work_struct *work)
{
	struct item *item = container_of(work, struct item, work);

	while (item_lap(item))
		schedule_timeout_idle(1);
	complete(&item->done);
}

/* Keeps its worker, unless that is the rescuer, until the rescuer has come. */
static void rescue_work(struct work_struct *work)
{
	struct item *item = container_of(work, struct item, work);

	item_lap(item);
	if (in_rescuer())
		complete_all(&rescuer_came);
	else
		wait_for_completion_timeout(&rescuer_came, RESCUE_TIMEOUT);
	complete(&item->done);
}

static void item_free(struct item *item)
{
	if (!item)
		return;
	free_cpumask_var(item->ran);
	free_cpumask_var(item->rescued);
	kfree(item);
}

static struct item *item_alloc(work_func_t function)
{
	struct item *item = kzalloc(sizeof(*item), GFP_KERNEL);

	if (!item)
		return NULL;
	INIT_WORK(&item->work, function);
	init_completion(&item->done);
	spin_lock_init(&item->lock);
	item->cpu = -1;
	if (zalloc_cpumask_var(&item->ran, GFP_KERNEL) &&
	    zalloc_cpumask_var(&item->rescued, GFP_KERNEL))
		return item;
	item_free(item);
	return NULL;
}

/* Work for a CPU goes to all of them in turn. */
static void item_queue(struct workqueue_struct *wq, unsigned int kind, struct item *item,
		       unsigned int index)
{
	if (!(kinds[kind].flags & WQ_PERCPU)) {
		queue_work(wq, &item->work);
		return;
	}
	item->cpu = cpumask_nth(index % num_possible_cpus(), cpu_possible_mask);
	guard(cpus_read_lock)();
	/* What is queued there may run elsewhere once the CPU goes away. */
	if (!cpu_online(item->cpu))
		item->cpu = cpumask_first(cpu_online_mask);
	queue_work_on(item->cpu, wq, &item->work);
}

/* Waits for an item and adds up where it ran. */
static bool item_finish(struct item *item, unsigned int *wrong)
{
	/* Killable, or that would be a hung task. */
	if (wait_for_completion_killable_timeout(&item->done, WORK_TIMEOUT) <= 0) {
		item->late = true;
		return false;
	}
	/*
	 * Where work for a CPU runs, is not for those that ask to choose; and where work
	 * of an earlier command has run, may have been right then.
	 */
	if (item->cpu < 0 && !item->late) {
		cpumask_or(ran, ran, item->ran);
		cpumask_or(rescued, rescued, item->rescued);
	}
	*wrong += item->wrong;
	return true;
}

/* --- words of a command -------------------------------------------------- */

static int parse_kind(const char *word, unsigned int *kind)
{
	for (*kind = 0; word && *kind < ARRAY_SIZE(kinds); ++*kind)
		if (!strcmp(word, kinds[*kind].name))
			return 0;
	return -EINVAL;
}

static int parse_count(const char *word, unsigned int max, unsigned int *count)
{
	if (!word || kstrtouint(word, 10, count) || !*count || *count > max)
		return -EINVAL;
	return 0;
}

static struct workqueue_struct *make(unsigned int kind)
{
	if (kinds[kind].ordered)
		return alloc_ordered_workqueue("kcwork-%s-%u", kinds[kind].flags,
					       kinds[kind].name, kept_serial++);
	/* Those in sysfs are told apart by the number. */
	return alloc_workqueue("kcwork-%s-%u", kinds[kind].flags, 0, kinds[kind].name,
			       kept_serial++);
}

/* --- run and rescue: a workqueue of its own -------------------------------- */

static int run_on(struct workqueue_struct *wq, unsigned int kind, unsigned int count,
		  work_func_t function)
{
	unsigned int i, queued = 0, done = 0, wrong = 0;
	struct item **items = kcalloc(count, sizeof(*items), GFP_KERNEL);

	if (!items)
		return fail(-ENOMEM, "no memory for the work");
	for (i = 0; i < count; i++) {
		items[i] = item_alloc(function);
		if (!items[i])
			break;
		item_queue(wq, kind, items[i], i);
		queued++;
	}
	for (i = 0; i < queued; i++)
		done += item_finish(items[i], &wrong);
	complete_all(&rescuer_came);
	/* An item that is late uses its memory, and the workqueue too. */
	if (done == queued) {
		destroy_workqueue(wq);
		for (i = 0; i < queued; i++)
			item_free(items[i]);
		kfree(items);
	}
	seq_buf_printf(&result, "ran=%*pbl rescued=%*pbl count=%u lost=%u wrong=%u\n",
		       cpumask_pr_args(ran), cpumask_pr_args(rescued), queued, queued - done,
		       wrong);
	return done == count ? 0 : -ETIMEDOUT;
}

static int cmd_run(char *args)
{
	struct workqueue_struct *wq;
	unsigned int kind, count;

	if (parse_kind(strsep(&args, " "), &kind) ||
	    parse_count(strsep(&args, " "), ITEMS_MAX, &count) || args)
		return fail(-EINVAL, "use: run unbound|highpri|reclaim|sysfs|ordered|percpu COUNT");
	wq = make(kind);
	if (!wq)
		return fail(-ENOMEM, "cannot create a workqueue");
	return run_on(wq, kind, count, item_work);
}

/*
 * In two steps, as the rescuer is a thread and has to be made before the caller
 * sees to it that no thread can be: "rescue prepare" and "rescue".
 */
static struct workqueue_struct *rescue_wq;

static int cmd_rescue(char *args)
{
	struct workqueue_struct *wq = rescue_wq;
	unsigned int kind;

	if (parse_kind("reclaim", &kind))
		return fail(-EINVAL, "no such kind");
	if (args && !strcmp(args, "prepare") && !wq) {
		rescue_wq = make(kind);
		if (!rescue_wq)
			return fail(-ENOMEM, "cannot create a workqueue");
		seq_buf_printf(&result, "prepared=1\n");
		return 0;
	}
	if (args || !wq)
		return fail(-EINVAL, "use: rescue prepare, then: rescue");
	rescue_wq = NULL;
	reinit_completion(&rescuer_came);
	return run_on(wq, kind, RESCUE_ITEMS, rescue_work);
}

/* --- keep, use, hold, held, release, drop: workqueues that stay ------------ */

static int cmd_keep(char *args)
{
	unsigned int kind, count, i;

	if (parse_kind(strsep(&args, " "), &kind) ||
	    parse_count(strsep(&args, " "), KEPT_MAX, &count) || args)
		return fail(-EINVAL, "use: keep unbound|highpri|reclaim|sysfs|ordered|percpu COUNT");
	for (i = 0; i < count; i++) {
		struct kept *kept = kzalloc(sizeof(*kept), GFP_KERNEL);

		if (!kept)
			return fail(-ENOMEM, "cannot create a workqueue");
		kept->kind = kind;
		kept->wq = make(kind);
		if (!kept->wq) {
			kfree(kept);
			return fail(-ENOMEM, "cannot create a workqueue");
		}
		list_add_tail(&kept->list, &kept_list);
		kept_count++;
	}
	seq_buf_printf(&result, "kept=%u\n", kept_count);
	return 0;
}

/* Queues an item on every kept workqueue that has none. */
static int start_all(bool hold)
{
	struct kept *kept;
	unsigned int index = 0;

	list_for_each_entry(kept, &kept_list, list) {
		if (kept->item)
			continue;
		kept->item = item_alloc(item_work);
		if (!kept->item)
			return -ENOMEM;
		kept->item->hold = hold;
		item_queue(kept->wq, kept->kind, kept->item, index++);
	}
	return 0;
}

/* Waits for all items; one that is late stays. */
static int finish_all(void)
{
	unsigned int count = 0, lost = 0, wrong = 0;
	struct kept *kept;

	list_for_each_entry(kept, &kept_list, list) {
		if (!kept->item)
			continue;
		count++;
		spin_lock(&kept->item->lock);
		kept->item->hold = false;
		spin_unlock(&kept->item->lock);
		if (!item_finish(kept->item, &wrong)) {
			lost++;
			continue;
		}
		/* The worker is done with it only after the function has returned. */
		flush_workqueue(kept->wq);
		item_free(kept->item);
		kept->item = NULL;
	}
	seq_buf_printf(&result, "ran=%*pbl rescued=%*pbl count=%u lost=%u wrong=%u\n",
		       cpumask_pr_args(ran), cpumask_pr_args(rescued), count, lost, wrong);
	return lost ? -ETIMEDOUT : 0;
}

static int cmd_use(char *args)
{
	if (args)
		return fail(-EINVAL, "use: use");
	if (start_all(false))
		return fail(-ENOMEM, "no memory for the work");
	return finish_all();
}

static unsigned int item_laps(struct item *item, bool restart)
{
	unsigned int laps;

	spin_lock(&item->lock);
	if (restart) {
		cpumask_clear(item->ran);
		cpumask_clear(item->rescued);
	}
	laps = item->laps;
	spin_unlock(&item->lock);
	return laps;
}

/* Where the work that is in flight runs from now on, after some laps. */
static int cmd_held(char *args)
{
	unsigned long until = jiffies + WORK_TIMEOUT;
	unsigned int count = 0, lost = 0;
	struct kept *kept;

	if (args)
		return fail(-EINVAL, "use: held");
	list_for_each_entry(kept, &kept_list, list) {
		unsigned int before;

		/* Work for a CPU is where that is. */
		if (!kept->item || kept->item->cpu >= 0)
			continue;
		count++;
		before = item_laps(kept->item, true);
		while (item_laps(kept->item, false) - before < LAPS && time_before(jiffies, until))
			schedule_timeout_idle(1);
		lost += item_laps(kept->item, false) - before < LAPS;
		spin_lock(&kept->item->lock);
		cpumask_or(ran, ran, kept->item->ran);
		cpumask_or(rescued, rescued, kept->item->rescued);
		spin_unlock(&kept->item->lock);
	}
	seq_buf_printf(&result, "ran=%*pbl rescued=%*pbl count=%u lost=%u wrong=0\n",
		       cpumask_pr_args(ran), cpumask_pr_args(rescued), count, lost);
	return lost ? -ETIMEDOUT : 0;
}

static int cmd_hold(char *args)
{
	if (args)
		return fail(-EINVAL, "use: hold");
	if (start_all(true))
		return fail(-ENOMEM, "no memory for the work");
	return cmd_held(NULL);
}

static int cmd_release(char *args)
{
	if (args)
		return fail(-EINVAL, "use: release");
	return finish_all();
}

static void drop_all(void)
{
	struct kept *kept, *next;

	list_for_each_entry_safe(kept, next, &kept_list, list) {
		if (kept->item) {
			spin_lock(&kept->item->lock);
			kept->item->hold = false;
			spin_unlock(&kept->item->lock);
		}
		destroy_workqueue(kept->wq);
		item_free(kept->item);
		list_del(&kept->list);
		kfree(kept);
		kept_count--;
	}
}

static int cmd_drop(char *args)
{
	unsigned int count = kept_count;

	if (args)
		return fail(-EINVAL, "use: drop");
	drop_all();
	seq_buf_printf(&result, "dropped=%u\n", count);
	return 0;
}

/* --- delayed work -------------------------------------------------------- */

/* Queues itself again and again on the CPU where it runs, as the timer has it. */
static struct delayed_work delayed[DELAYED_MAX];
static DEFINE_SPINLOCK(delayed_lock);
static cpumask_var_t delayed_ran;
static bool delayed_on;

static void delayed_run(struct work_struct *work)
{
	spin_lock(&delayed_lock);
	cpumask_set_cpu(smp_processor_id(), delayed_ran);
	if (delayed_on)
		schedule_delayed_work(to_delayed_work(work), DELAY);
	spin_unlock(&delayed_lock);
}

static void delayed_stop(void)
{
	unsigned int i;

	spin_lock(&delayed_lock);
	delayed_on = false;
	spin_unlock(&delayed_lock);
	for (i = 0; i < DELAYED_MAX; i++)
		if (delayed[i].work.func)
			cancel_delayed_work_sync(&delayed[i]);
}

static int cmd_delay(char *args)
{
	unsigned int i;

	if (args)
		return fail(-EINVAL, "use: delay");
	delayed_stop();
	cpumask_clear(delayed_ran);
	delayed_on = true;
	for (i = 0; i < DELAYED_MAX; i++) {
		INIT_DELAYED_WORK(&delayed[i], delayed_run);
		/* At the same time: a CPU keeps its timers if the next one is a tick away. */
		schedule_delayed_work(&delayed[i], DELAY);
	}
	return 0;
}

static int cmd_delayed(char *args)
{
	if (args)
		return fail(-EINVAL, "use: delayed");
	delayed_stop();
	seq_buf_printf(&result, "ran=%*pbl\n", cpumask_pr_args(delayed_ran));
	return 0;
}

/* --- work that cannot move ----------------------------------------------- */

static struct work_struct pinned_work;
static DECLARE_COMPLETION(pinned_done);
static int pinned_cpu = -1;	/* that it was queued on */

/* When its CPU has gone, it does not leave the one where it is then. */
static void pinned_run(struct work_struct *work)
{
	while (raw_smp_processor_id() == pinned_cpu)
		if (wait_for_completion_timeout(&pinned_done, 1))
			return;
	migrate_disable();
	wait_for_completion(&pinned_done);
	migrate_enable();
}

static void pinned_stop(void)
{
	if (pinned_cpu < 0)
		return;
	complete(&pinned_done);
	flush_work(&pinned_work);
	pinned_cpu = -1;
}

static int cmd_pin(char *args)
{
	int cpu;

	if (!args || kstrtoint(args, 10, &cpu) || cpu < 0 || cpu >= nr_cpu_ids || !cpu_online(cpu))
		return fail(-EINVAL, "use: pin CPU");
	pinned_stop();
	reinit_completion(&pinned_done);
	pinned_cpu = cpu;
	INIT_WORK(&pinned_work, pinned_run);
	schedule_work_on(cpu, &pinned_work);
	return 0;
}

static int cmd_unpin(char *args)
{
	if (args)
		return fail(-EINVAL, "use: unpin");
	pinned_stop();
	return 0;
}

/* --- the file ------------------------------------------------------------ */

static const struct {
	const char *name;
	int (*run)(char *args);
} commands[] = {
	{ "run", cmd_run },
	{ "rescue", cmd_rescue },
	{ "keep", cmd_keep },
	{ "use", cmd_use },
	{ "hold", cmd_hold },
	{ "held", cmd_held },
	{ "release", cmd_release },
	{ "drop", cmd_drop },
	{ "delay", cmd_delay },
	{ "delayed", cmd_delayed },
	{ "pin", cmd_pin },
	{ "unpin", cmd_unpin },
};

static int run_command(char *line)
{
	char *name = strsep(&line, " ");
	unsigned int i;

	cpumask_clear(ran);
	cpumask_clear(rescued);
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(name, commands[i].name))
			return commands[i].run(line);
	return fail(-EINVAL,
		    "no such command; there are: run rescue keep use hold held release drop delay delayed pin unpin");
}

static struct command_file kcwork_file = {
	.name = "kcwork",
	.line_max = LINE_MAX_LENGTH,
	.run = run_command,
	.lock = __MUTEX_INITIALIZER(kcwork_file.lock),
	.result = &result,
};

int __init kcwork_init(void)
{
	seq_buf_init(&result, result_text, sizeof(result_text));
	if (!zalloc_cpumask_var(&ran, GFP_KERNEL) ||
	    !zalloc_cpumask_var(&rescued, GFP_KERNEL) ||
	    !zalloc_cpumask_var(&delayed_ran, GFP_KERNEL) ||
	    !command_file_create(&kcwork_file)) {
		free_cpumask_var(ran);
		free_cpumask_var(rescued);
		free_cpumask_var(delayed_ran);
		return -ENOMEM;
	}
	return 0;
}

/* Also called when the other file could not be created. */
void kcwork_exit(void)
{
	command_file_remove(&kcwork_file);
	delayed_stop();
	pinned_stop();
	drop_all();
	if (rescue_wq)
		destroy_workqueue(rescue_wq);
	free_cpumask_var(ran);
	free_cpumask_var(rescued);
	free_cpumask_var(delayed_ran);
}
