// SPDX-License-Identifier: GPL-2.0
/*
 * Where PID 1, interrupts and the timers of other CPUs may be: on the first of these
 * that has a usable CPU, which are the housekeeping CPUs of kthread_cpus=, the
 * housekeeping CPUs, and all CPUs. What is usable changes with CPU hotplug.
 */
#include <linux/cleanup.h>
#include <linux/cpu.h>
#include <linux/cpuset.h>
#include <linux/interrupt.h>
#include <linux/kthread_cpus.h>
#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/deadline.h>
#include <linux/sched/isolation.h>
#include <linux/sched/task.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

/* Serializes updates. Taken with CPU hotplug excluded, or from its callbacks. */
static DEFINE_MUTEX(levels_mutex);
/*
 * The CPUs that are active and not about to go, as their callbacks say, which set this
 * with levels_mutex. It stays as it is while CPU hotplug is excluded.
 */
struct cpumask kthread_cpus_usable;
/* Those of the boot option: PID 1 and interrupts do not follow what is set at run time. */
static struct cpumask levels_confined __ro_after_init;

/* Protects the next one, which is set with levels_mutex. Taken last. */
static DEFINE_RAW_SPINLOCK(level_lock);
/* Where PID 1 and interrupts may be now. */
static struct cpumask level;
/* Where they were before, for who has not moved yet. With levels_mutex. */
static struct cpumask level_before;

/*
 * Where timers may be handled that other CPUs have armed, if that is confined. Read
 * without a lock: who finds some of the old and some of the new CPUs uses one of them.
 */
struct cpumask kthread_cpus_timers __read_mostly;

static void levels_effective(struct cpumask *cpus, const struct cpumask *confined)
{
	guard(rcu)();
	kthread_cpus_effective(cpus, NULL, confined, housekeeping_cpumask(HK_TYPE_DOMAIN),
			       &kthread_cpus_usable);
}

static bool levels_set_timers(void)
{
	static struct cpumask next;
	static bool was_confined;
	const struct cpumask *noise = housekeeping_cpumask(HK_TYPE_KERNEL_NOISE);
	bool is_confined = kthread_cpus_confines(KTHREAD_CPUS_TIMER);

	lockdep_assert_held(&levels_mutex);

	scoped_guard(rcu)
		levels_effective(&next, kthread_cpus_mask(KTHREAD_CPUS_TIMER));
	/* A CPU with nohz_full= hands its own to others, and gets none. */
	if (cpumask_first_and_and(&next, noise, &kthread_cpus_usable) < nr_cpu_ids)
		cpumask_and(&next, &next, noise);
	/* Timer migration asks for both, and leaves out nobody if they are not confined. */
	if (is_confined == was_confined && cpumask_equal(&next, &kthread_cpus_timers))
		return false;

	was_confined = is_confined;
	cpumask_copy(&kthread_cpus_timers, &next);
	return true;
}

/*
 * The housekeeping CPUs have changed, and timer migration is about to be told. CPU
 * hotplug is excluded. May sleep.
 */
void kthread_cpus_update_timers(void)
{
	guard(mutex)(&levels_mutex);
	levels_set_timers();
}

/* Returns @cpu, unless others may handle its timers, but it not theirs. Any context. */
int kthread_cpus_timer_target(int cpu)
{
	int target;

	if (!kthread_cpus_confines(KTHREAD_CPUS_TIMER) ||
	    cpumask_test_cpu(cpu, &kthread_cpus_timers))
		return cpu;

	target = cpumask_any_and_distribute(&kthread_cpus_timers, cpu_active_mask);
	return target < nr_cpu_ids ? target : cpu;
}

/* Sets @cpus to where PID 1 and interrupts may be now, if they are confined. Any context. */
void kthread_cpus_level(struct cpumask *cpus)
{
	guard(raw_spinlock_irqsave)(&level_lock);
	cpumask_copy(cpus, &level);
}

static bool narrow(struct cpumask *cpus, const struct cpumask *confined)
{
	return cpumask_first_and_and(cpus, confined, cpu_active_mask) < nr_cpu_ids &&
	       cpumask_and(cpus, cpus, confined);
}

/* Has it been left to the kernel where @task runs? Any context. */
static bool is_unplaced(struct task_struct *task, struct cpumask *cpus)
{
	/* For deadline tasks, what they need was reserved on all CPUs of the cpuset. */
	return !(task->flags & (PF_KTHREAD | PF_NO_SETAFFINITY)) &&
	       !READ_ONCE(task->user_cpus_ptr) && !dl_task(task) &&
	       cpuset_default_cpus(task, cpus);
}

/*
 * Leaves out of @cpus those that PID 1 is kept away from, if @task has chosen none and
 * is in no cpuset for which some were chosen. Not if none that is active would be left,
 * or if @task is a thread of io_uring for which other CPUs were chosen, which leaves no
 * other trace. Only if PID 1 is confined. Any context. Returns whether @task is confined.
 */
bool kthread_cpus_narrow(struct task_struct *task, struct cpumask *cpus)
{
	if (!kthread_cpus_confines(KTHREAD_CPUS_INIT) || !is_unplaced(task, NULL))
		return false;

	guard(raw_spinlock_irqsave)(&level_lock);
	if (task->flags & PF_IO_WORKER && !cpumask_subset(&task->cpus_mask, &level))
		return false;
	return narrow(cpus, &level);
}

/*
 * Where its parent is, @task, which is new, is to be as well, unless it is placed: the
 * parent may have been moved after it was copied. Called by the parent.
 */
void kthread_cpus_forked(struct task_struct *task)
{
	if (kthread_cpus_confines(KTHREAD_CPUS_INIT) && !(current->flags & PF_KTHREAD) &&
	    !cpumask_equal(&task->cpus_mask, &current->cpus_mask) && is_unplaced(task, NULL))
		set_cpus_allowed_ptr(task, &current->cpus_mask);
}

/*
 * Moves @task, unless it is placed. Returns 1 if it was elsewhere, 0 if it was not or
 * cannot be moved, or -EAGAIN if it has disabled migration.
 */
static int move_unplaced(struct task_struct *task)
{
	static struct cpumask cpus, all;
	int ret;

	lockdep_assert_held(&levels_mutex);

	if (!is_unplaced(task, &all))
		return 0;
	cpumask_copy(&cpus, &all);
	if (task->flags & PF_IO_WORKER) {
		narrow(&cpus, &level_before);
		if (!cpumask_equal(&cpus, &task->cpus_mask))
			return 0;
		cpumask_copy(&cpus, &all);
	}

	narrow(&cpus, &level);
	if (cpumask_equal(&cpus, &task->cpus_mask))
		return 0;
	/* If it has chosen meanwhile, this leaves it alone. */
	ret = set_cpus_allowed_nowait(task, &cpus);
	return ret == -EAGAIN ? ret : !ret;
}

static struct task_struct *next_task_by_pid(int *nr)
{
	struct task_struct *task;
	struct pid *pid;

	guard(rcu)();
	for (pid = find_ge_pid(*nr, &init_pid_ns); pid; pid = find_ge_pid(*nr, &init_pid_ns)) {
		*nr = pid_nr(pid) + 1;
		task = pid_task(pid, PIDTYPE_PID);
		if (task)
			return get_task_struct(task);
	}
	return NULL;
}

static void levels_try_again(struct work_struct *work);
static DECLARE_DELAYED_WORK(levels_again, levels_try_again);

/* Nobody waits for a task that has disabled migration: it is tried again later. */
static void move_all_unplaced(void)
{
	unsigned int moved, tries = 0;
	struct task_struct *task;
	bool again = false;
	int ret;

	/* A child that was not there yet may have the mask that its parent had before. */
	do {
		int nr = 1;

		moved = 0;
		while ((task = next_task_by_pid(&nr))) {
			ret = move_unplaced(task);
			moved += ret > 0;
			again |= ret < 0;
			put_task_struct(task);
			cond_resched();
		}
	} while (moved && ++tries < 8);

	if (again)
		queue_delayed_work(system_dfl_long_wq, &levels_again, HZ / 10);
}

static void levels_try_again(struct work_struct *work)
{
	guard(cpus_read_lock)();
	guard(mutex)(&levels_mutex);
	move_all_unplaced();
}

/*
 * What the levels depend on has changed: the CPUs of kthread_cpus=, the housekeeping
 * CPUs, or those that are usable. CPU hotplug is excluded. May sleep.
 */
void kthread_cpus_update_levels(void)
{
	static struct cpumask next;

	guard(mutex)(&levels_mutex);

	if (kthread_cpus_confines(KTHREAD_CPUS_INIT | KTHREAD_CPUS_IRQ)) {
		levels_effective(&next, &levels_confined);
		if (!cpumask_equal(&next, &level)) {
			cpumask_copy(&level_before, &level);
			scoped_guard(raw_spinlock_irq, &level_lock)
				cpumask_copy(&level, &next);
			if (kthread_cpus_confines(KTHREAD_CPUS_IRQ))
				irq_update_confined();
			if (kthread_cpus_confines(KTHREAD_CPUS_INIT))
				move_all_unplaced();
		}
	}
	if (levels_set_timers())
		tmigr_update_excluded();
}

/* @cpu has become active, or is about to be no longer. From its hotplug callbacks. */
void kthread_cpus_set_usable(unsigned int cpu, bool usable)
{
	scoped_guard(mutex, &levels_mutex)
		assign_cpu(cpu, &kthread_cpus_usable, usable);
	if (READ_ONCE(kthread_cpus_classes))
		kthread_cpus_update_levels();
}

/* Called at boot, while there is one CPU: nobody else has a look. */
void __init kthread_cpus_levels_init(const struct cpumask *confined)
{
	cpumask_copy(&levels_confined, confined);
	cpumask_copy(&kthread_cpus_usable, cpu_active_mask);
	levels_effective(&level, &levels_confined);
	scoped_guard(mutex, &levels_mutex)
		levels_set_timers();
}
