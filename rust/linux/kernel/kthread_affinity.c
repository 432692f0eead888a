// SPDX-License-Identifier: GPL-2.0-only
/*
 * The affinity of kthreads that are not bound to CPUs.
 */
#include <linux/cpuhotplug.h>
#include <linux/cpumask.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/isolation.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/topology.h>

#include "kthread_affinity.h"

static LIST_HEAD(kthread_affinity_list);
static DEFINE_MUTEX(kthread_affinity_lock);

void kthread_affinity_init(struct kthread *kthread)
{
	INIT_LIST_HEAD(&kthread->affinity.node);
}

/* Creates a kthread, which runs at once. */
pid_t kthread_fork(int (*fn)(void *), void *arg, const char *name,
		   unsigned long flags)
{
	return kernel_thread(fn, arg, name, flags);
}

void kthread_affinity_exit(struct kthread *kthread)
{
	if (!list_empty(&kthread->affinity.node)) {
		mutex_lock(&kthread_affinity_lock);
		list_del(&kthread->affinity.node);
		mutex_unlock(&kthread_affinity_lock);

		kfree(kthread->affinity.preferred);
		kthread->affinity.preferred = NULL;
	}
}

static void kthread_fetch_affinity(struct kthread *kthread, struct cpumask *cpumask)
{
	const struct cpumask *pref;

	guard(rcu)();

	if (kthread->affinity.preferred) {
		pref = kthread->affinity.preferred;
	} else {
		if (kthread->node == NUMA_NO_NODE)
			pref = housekeeping_cpumask(HK_TYPE_DOMAIN);
		else
			pref = cpumask_of_node(kthread->node);
	}

	cpumask_and(cpumask, pref, housekeeping_cpumask(HK_TYPE_DOMAIN));
	if (cpumask_empty(cpumask))
		cpumask_copy(cpumask, housekeeping_cpumask(HK_TYPE_DOMAIN));
}

static void kthread_affine_node(void)
{
	struct kthread *kthread = to_kthread(current);
	cpumask_var_t affinity;

	if (WARN_ON_ONCE(kthread_is_per_cpu(current)))
		return;

	if (!zalloc_cpumask_var(&affinity, GFP_KERNEL)) {
		WARN_ON_ONCE(1);
		return;
	}

	mutex_lock(&kthread_affinity_lock);
	WARN_ON_ONCE(!list_empty(&kthread->affinity.node));
	list_add_tail(&kthread->affinity.node, &kthread_affinity_list);
	/*
	 * The node cpumask is racy when read from kthread() but:
	 * - a racing CPU going down will either fail on the subsequent
	 *   call to set_cpus_allowed_ptr() or be migrated to housekeepers
	 *   afterwards by the scheduler.
	 * - a racing CPU going up will be handled by kthreads_online_cpu()
	 */
	kthread_fetch_affinity(kthread, affinity);
	set_cpus_allowed_ptr(current, affinity);
	mutex_unlock(&kthread_affinity_lock);

	free_cpumask_var(affinity);
}

/* Called by a kthread before its function, and by kthreadd. */
void kthread_affinity_start(struct kthread *self)
{
	/*
	 * Apply default node affinity if no call to kthread_bind[_mask]() nor
	 * kthread_affine_preferred() was issued before the first wake-up.
	 */
	if (!(current->flags & PF_NO_SETAFFINITY) && !self->affinity.preferred)
		kthread_affine_node();
}

/**
 * kthread_affine_preferred - Define a kthread's preferred affinity
 * @p: thread created by kthread_create().
 * @mask: preferred mask of CPUs (might not be online, must be possible) for @p
 *        to run on.
 *
 * Similar to kthread_bind_mask() except that the affinity is not a requirement
 * but rather a preference that can be constrained by CPU isolation or CPU hotplug.
 * Must be called before the first wakeup of the kthread.
 *
 * Return: 0 if the affinity has been applied, -EBUSY if it has a preferred mask
 * already, -EINVAL if it has run or -ENOMEM; nothing has changed then.
 */
int kthread_affine_preferred(struct task_struct *p, const struct cpumask *mask)
{
	struct kthread *kthread = to_kthread(p);
	cpumask_var_t affinity;
	int ret = 0;

	if (!wait_task_inactive(p, TASK_UNINTERRUPTIBLE) || kthread->started) {
		WARN_ON(1);
		return -EINVAL;
	}

	if (kthread->affinity.preferred)
		return -EBUSY;

	if (!zalloc_cpumask_var(&affinity, GFP_KERNEL))
		return -ENOMEM;

	kthread->affinity.preferred = kzalloc_obj(struct cpumask);
	if (!kthread->affinity.preferred) {
		ret = -ENOMEM;
		goto out;
	}

	mutex_lock(&kthread_affinity_lock);
	cpumask_copy(kthread->affinity.preferred, mask);
	WARN_ON_ONCE(!list_empty(&kthread->affinity.node));
	list_add_tail(&kthread->affinity.node, &kthread_affinity_list);
	kthread_fetch_affinity(kthread, affinity);

	scoped_guard (raw_spinlock_irqsave, &p->pi_lock)
		set_cpus_allowed_force(p, affinity);

	mutex_unlock(&kthread_affinity_lock);
out:
	free_cpumask_var(affinity);

	return ret;
}
EXPORT_SYMBOL_GPL(kthread_affine_preferred);

/**
 * kthread_affine_preferred_update - Change a kthread's preferred affinity
 * @p: a live kthread with a preferred mask, or with a node and started
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
	struct kthread *kthread = to_kthread(p);
	struct cpumask *preferred;
	cpumask_var_t affinity;
	int ret = -EINVAL;

	if (!zalloc_cpumask_var(&affinity, GFP_KERNEL))
		return -ENOMEM;

	preferred = kzalloc_obj(struct cpumask);
	if (!preferred) {
		free_cpumask_var(affinity);
		return -ENOMEM;
	}
	cpumask_copy(preferred, mask);

	mutex_lock(&kthread_affinity_lock);
	if (!list_empty(&kthread->affinity.node) &&
	    !(p->flags & PF_NO_SETAFFINITY) &&
	    (kthread->affinity.preferred || kthread->node != NUMA_NO_NODE)) {
		swap(kthread->affinity.preferred, preferred);
		kthread_fetch_affinity(kthread, affinity);
		set_cpus_allowed_ptr(p, affinity);
		ret = 0;
	}
	mutex_unlock(&kthread_affinity_lock);

	kfree(preferred);
	free_cpumask_var(affinity);
	return ret;
}
EXPORT_SYMBOL_GPL(kthread_affine_preferred_update);

static int kthreads_update_affinity(bool force)
{
	cpumask_var_t affinity;
	struct kthread *k;
	int ret;

	guard(mutex)(&kthread_affinity_lock);

	if (list_empty(&kthread_affinity_list))
		return 0;

	if (!zalloc_cpumask_var(&affinity, GFP_KERNEL))
		return -ENOMEM;

	ret = 0;

	list_for_each_entry(k, &kthread_affinity_list, affinity.node) {
		if (WARN_ON_ONCE((k->task->flags & PF_NO_SETAFFINITY) ||
				 kthread_is_per_cpu(k->task))) {
			ret = -EINVAL;
			continue;
		}

		/*
		 * Unbound kthreads without preferred affinity are already affine
		 * to housekeeping, whether those CPUs are online or not. So no need
		 * to handle newly online CPUs for them. However housekeeping changes
		 * have to be applied.
		 *
		 * But kthreads with a preferred affinity or node are different:
		 * if none of their preferred CPUs are online and part of
		 * housekeeping at the same time, they must be affine to housekeeping.
		 * But as soon as one of their preferred CPU becomes online, they must
		 * be affine to them.
		 */
		if (force || k->affinity.preferred || k->node != NUMA_NO_NODE) {
			kthread_fetch_affinity(k, affinity);
			set_cpus_allowed_ptr(k->task, affinity);
		}
	}

	free_cpumask_var(affinity);

	return ret;
}

/**
 * kthreads_update_housekeeping - Update kthreads affinity on cpuset change
 *
 * When cpuset changes a partition type to/from "isolated" or updates related
 * cpumasks, propagate the housekeeping cpumask change to preferred kthreads
 * affinity.
 *
 * Returns 0 if successful, -ENOMEM if temporary mask couldn't
 * be allocated or -EINVAL in case of internal error.
 */
int kthreads_update_housekeeping(void)
{
	return kthreads_update_affinity(true);
}

/*
 * Re-affine kthreads according to their preferences
 * and the newly online CPU. The CPU down part is handled
 * by select_fallback_rq() which default re-affines to
 * housekeepers from other nodes in case the preferred
 * affinity doesn't apply anymore.
 */
static int kthreads_online_cpu(unsigned int cpu)
{
	return kthreads_update_affinity(false);
}

static int kthreads_init(void)
{
	return cpuhp_setup_state(CPUHP_AP_KTHREADS_ONLINE, "kthreads:online",
				kthreads_online_cpu, NULL);
}
early_initcall(kthreads_init);
