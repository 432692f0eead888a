// SPDX-License-Identifier: GPL-2.0
/*
 * The affinity of managed kthreads, that is, of those that are not bound: what
 * the rest of the kernel calls, and what the books of them call. The books are
 * in Rust, see engine.rs, also for the locks.
 */
#define pr_fmt(fmt) "kthread_cpus: " fmt

#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/kthread_cpus.h>
#include <linux/pid.h>
#include <linux/printk.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/isolation.h>
#include <linux/sched/task.h>
#include <linux/topology.h>
#include <linux/workqueue.h>

#include "../kthread_affinity.h"

#define CREATE_TRACE_POINTS
#include <trace/events/kthread_cpus.h>

/*
 * Creates a kthread. It is in the books before it runs, so that whatever happens
 * to the masks between its creation and its first wake-up, it never runs where
 * it must not.
 */
pid_t kthread_fork(int (*fn)(void *), void *arg, const char *name,
		   unsigned long flags)
{
	struct task_struct *p = create_kernel_thread(fn, arg, name, flags);
	struct kthread *kthread, *creator = tsk_is_kthread(current);
	pid_t pid;

	if (IS_ERR(p))
		return PTR_ERR(p);

	kthread = to_kthread(p);
	kthread_books_enrol(&kthread->affinity, (int)kthread->node,
			    creator ? &creator->affinity : NULL);

	/* It may exit as soon as it runs. */
	pid = task_pid_vnr(p);
	wake_up_new_task(p);
	return pid;
}

void kthread_affinity_exit(struct kthread *kthread)
{
	/* Only what creates, binds or ends a kthread makes this 0 or not. */
	if (READ_ONCE(kthread->affinity.entry))
		kthread_books_leave(&kthread->affinity);
}

void kthread_affinity_bind(struct kthread *kthread)
{
	kthread_affinity_exit(kthread);
}

/**
 * kthread_affinity_allow - Let a kthread run on some CPUs only
 * @affinity: the kthread
 * @allowed: the CPUs, one of which is active and not dying
 * @reason: why it is told so
 *
 * Called with the lock of the books. May sleep.
 */
void kthread_affinity_allow(struct kthread_affinity *affinity,
			    const struct cpumask *allowed,
			    enum kthread_affinity_reason reason)
{
	struct kthread *kthread = container_of(affinity, struct kthread, affinity);
	struct task_struct *p = kthread->task;

	/* Most new kthreads begin where kthreadd is, and need no lock. */
	if (!kthread->started && cpumask_equal(&p->cpus_mask, allowed))
		return;

	trace_kthread_affinity(p, allowed, reason);

	/* Cannot fail: before that CPU becomes inactive, its callback needs the lock. */
	set_cpus_allowed_ptr(p, allowed);
}

/**
 * kthread_affinity_name - Tell who a kthread is
 * @affinity: the kthread
 * @name: set to its name, which may be longer than its comm
 * @size: the size of @name
 *
 * Called with the lock of the books, so that it does not exit.
 *
 * Return: its PID.
 */
pid_t kthread_affinity_name(struct kthread_affinity *affinity, char *name,
			    size_t size)
{
	struct task_struct *p = container_of(affinity, struct kthread, affinity)->task;

	get_kthread_comm(name, size, p);
	return task_pid_nr(p);
}

/**
 * kthread_books_read_masks - Read the masks that say where kthreads may run
 * @confined: set to the CPUs that managed kthreads are confined to
 * @housekeeping: set to the housekeeping CPUs
 * @usable: set to the CPUs that are active and not dying
 * @possible: set to the possible CPUs
 *
 * Any context.
 *
 * Return: whether kthread_cpus= confines managed kthreads.
 */
bool kthread_books_read_masks(struct cpumask *confined,
			      struct cpumask *housekeeping,
			      struct cpumask *usable, struct cpumask *possible)
{
	cpumask_copy(possible, cpu_possible_mask);
	scoped_guard(rcu) {
		cpumask_copy(confined, kthread_cpus_mask(KTHREAD_CPUS_KTHREAD));
		cpumask_copy(housekeeping, housekeeping_cpumask(HK_TYPE_DOMAIN));
	}
	cpumask_andnot(usable, cpu_active_mask, cpu_dying_mask);

	return kthread_cpus_confines(KTHREAD_CPUS_KTHREAD);
}

/**
 * kthread_books_read_node - Find the CPUs of a node
 * @node: the node
 * @cpus: set to the possible CPUs that belong to it, online or not
 *
 * Unlike cpumask_of_node(), which lacks CPUs that are offline on some
 * architectures. Any context.
 */
void kthread_books_read_node(int node, struct cpumask *cpus)
{
	unsigned int cpu;

	cpumask_clear(cpus);
	for_each_possible_cpu(cpu) {
		if (cpu_to_node(cpu) == node)
			__cpumask_set_cpu(cpu, cpus);
	}
}

/**
 * kthread_affine_preferred - Define a kthread's preferred affinity
 * @p: thread created by kthread_create().
 * @mask: preferred mask of CPUs (might not be online, must be possible) for @p
 *        to run on.
 *
 * Similar to kthread_bind_mask() except that the affinity is not a requirement
 * but rather a preference that can be constrained by kthread_cpus=, CPU isolation
 * or CPU hotplug. Must be called before the first wakeup of the kthread.
 *
 * Return: 0 if the affinity has been applied, -EBUSY if it has a preferred mask
 * already, -EINVAL if it has run or is bound, or -ENOMEM; nothing has changed
 * then.
 */
int kthread_affine_preferred(struct task_struct *p, const struct cpumask *mask)
{
	struct kthread *kthread = to_kthread(p);
	int ret;

	if (!wait_task_inactive(p, TASK_UNINTERRUPTIBLE) || kthread->started) {
		WARN_ON(1);
		return -EINVAL;
	}

	ret = kthread_books_prefer(&kthread->affinity, mask);
	return ret == -ENOENT ? -EINVAL : ret;
}
EXPORT_SYMBOL_GPL(kthread_affine_preferred);

/**
 * kthread_affine_preferred_update - Change a kthread's preferred affinity
 * @p: a live kthread with a preferred mask or a node
 * @mask: preferred mask of CPUs (might not be online, must be possible) for @p
 *        to run on from now on
 *
 * For when the CPUs that the owner of @p takes care of have changed. The caller
 * sees to it that @p does not exit meanwhile. May sleep.
 *
 * Return: 0 if the affinity has been applied, -EINVAL if @p has no preference
 * or is bound, or -ENOMEM; nothing has changed then.
 */
int kthread_affine_preferred_update(struct task_struct *p, const struct cpumask *mask)
{
	int ret = kthread_books_update(&to_kthread(p)->affinity, mask);

	return ret == -ENOENT ? -EINVAL : ret;
}
EXPORT_SYMBOL_GPL(kthread_affine_preferred_update);

/**
 * kthread_setaffinity - Set a kthread's affinity for user space or for its owner
 * @p: a kthread
 * @mask: the CPUs that are asked for, all possible ones for no wish
 *
 * From now on @p keeps to @mask as far as it may run there. If that is nowhere,
 * it is moved there nevertheless, until CPUs are isolated or confined; but not
 * with kthread_cpus=. May sleep.
 *
 * Return: 0; -EINVAL if it can run on none of them now or -ENOMEM, with nothing
 * changed; -ESRCH if it is bound, exits or has not begun yet; -ENOENT if it is
 * another task.
 */
int kthread_setaffinity(struct task_struct *p, const struct cpumask *mask)
{
	struct kthread *kthread = tsk_is_kthread(p);
	int ret;

	if (!kthread)
		return -ENOENT;

	ret = kthread_books_restrict(&kthread->affinity, mask);
	return ret == -ENOENT ? -ESRCH : ret;
}
EXPORT_SYMBOL_GPL(kthread_setaffinity);

/**
 * kthread_set_cpuset - Set a kthread's affinity for the cpuset that it is in
 * @p: a kthread
 * @mask: the CPUs of the cpuset, NULL for the top cpuset
 *
 * As kthread_setaffinity(), which may narrow this further, but @mask is kept for
 * later if @p can run on none of it now. May sleep.
 *
 * Return: 0; -ENOMEM, with nothing changed, only if there is a mask; -ENOENT if
 * its affinity is not managed.
 */
int kthread_set_cpuset(struct task_struct *p, const struct cpumask *mask)
{
	struct kthread *kthread = tsk_is_kthread(p);

	return kthread ? kthread_books_set_cpuset(&kthread->affinity, mask) : -ENOENT;
}

/**
 * kthreads_update_housekeeping - Update kthreads affinity on cpuset change
 *
 * When cpuset changes a partition type to/from "isolated" or updates related
 * cpumasks, move the kthreads that are not where they belong then.
 *
 * Return: 0.
 */
int kthreads_update_housekeeping(void)
{
	/* A CPU on its way down must not be where a kthread is sent. */
	guard(cpus_read_lock)();
	kthread_books_enforce(KTHREAD_AFFINITY_HOUSEKEEPING);
	return 0;
}

/* A CPU is active, or dying but still active: what else is confined. */
static void kthread_cpus_hotplug(void)
{
	if (kthread_cpus_confines(KTHREAD_CPUS_WQ) && workqueue_update_kthread_cpus(NULL))
		pr_warn("no memory to move unbound workqueues\n");
}

static int kthreads_online_cpu(unsigned int cpu)
{
	kthread_books_change_online(cpu, cpu_to_node(cpu));
	kthread_cpus_hotplug();
	return 0;
}

/* Whom this was the last CPU for, gets others. */
static int kthreads_offline_cpu(unsigned int cpu)
{
	kthread_books_change(KTHREAD_AFFINITY_OFFLINE);
	kthread_cpus_hotplug();
	return 0;
}

static int __init kthreads_init(void)
{
	/* Not all architectures know these when kthread_cpus_init() asks. */
	kthread_books_change_nodes();
	return cpuhp_setup_state(CPUHP_AP_KTHREADS_ACTIVE, "kthreads:online",
				 kthreads_online_cpu, kthreads_offline_cpu);
}
early_initcall(kthreads_init);

late_initcall(kthread_books_debugfs);
