// SPDX-License-Identifier: GPL-2.0
/*
 * The affinity of managed kthreads, that is, of those that are not bound: what
 * the rest of the kernel calls, and what the registry of them calls, which is in
 * Rust, see engine.rs, also for the locks.
 */
#define pr_fmt(fmt) "kthread_cpus: " fmt

#include <linux/cleanup.h>
#include <linux/cpuhotplug.h>
#include <linux/cpuset.h>
#include <linux/kthread.h>
#include <linux/kthread_cpus.h>
#include <linux/mutex.h>
#include <linux/nodemask.h>
#include <linux/printk.h>
#include <linux/sched/isolation.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/stop_machine.h>
#include <linux/topology.h>
#include <linux/workqueue.h>

/* How many kthreads are taken from the registry at once. */
#define KTHREADS_AT_ONCE	64

/* That of the registry. */
DEFINE_RAW_SPINLOCK(kthread_affinity_lock);

/*
 * Serializes those that move kthreads after a change of the masks, so that all have
 * been moved when one of them finds nothing left to do. Nobody waits for a kthread
 * while holding it.
 */
static DEFINE_MUTEX(kthread_affinity_mutex);
/* Protected by it: where those are to be who were just taken from the registry. */
static struct cpumask kthread_affinity_allowed;

/*
 * Sets what the registry has to know of the masks that say where kthreads may run.
 * Returns whether kthread_cpus= confines managed kthreads. Any context.
 */
bool kthread_affinity_read_masks(struct cpumask *confined, struct cpumask *housekeeping)
{
	guard(rcu)();
	cpumask_copy(confined, kthread_cpus_mask(KTHREAD_CPUS_KTHREAD));
	cpumask_copy(housekeeping, housekeeping_cpumask(HK_TYPE_KTHREAD));

	return kthread_cpus_confines(KTHREAD_CPUS_KTHREAD);
}

/*
 * Whether a CPU that is online is on a node. Not by cpu_to_node(): a fake node
 * has CPUs that belong to another one. Any context.
 */
bool kthread_affinity_cpu_on_node(unsigned int cpu, int node)
{
	return cpumask_test_cpu(cpu, cpumask_of_node(node));
}

static struct kthread_affinity *kthread_affinity_managed(struct task_struct *p)
{
	struct kthread_affinity *affinity = p->flags & PF_KTHREAD ? kthread_affinity_of(p) : NULL;

	/* Some set that flag themselves, as they have to stay where they are. */
	if (affinity && (p->flags & PF_NO_SETAFFINITY || !READ_ONCE(affinity->group)))
		return NULL;
	return affinity;
}

/*
 * Whether the registry decides where a task may run, so that user space's choice
 * outlasts the scheduler's fallback. It does until @p is bound, or ends.
 */
bool kthread_affinity_is_managed(struct task_struct *p)
{
	return kthread_affinity_managed(p);
}

/*
 * Whether the mask of a managed kthread, which was taken from the registry, is to be
 * that of its group. Called with its pi_lock, and rcu_read_lock().
 */
bool kthread_affinity_follows_group(struct task_struct *p)
{
	const struct cpumask *excluded;

	/* It is only set of those that are registered, which are kthreads. */
	if (!READ_ONCE(kthread_affinity_of(p)->is_due) || p->flags & PF_NO_SETAFFINITY ||
	    p->user_cpus_ptr)
		return false;
	return !cpuset_task_cpus(p, &excluded);
}

/*
 * Decides what the mask of a task is to be, if @asked is asked for, or for another
 * @reason, where @user is what user_cpus_ptr is or will be. Otherwise it is as
 * kthread_registry_evaluate(), but also for tasks that it does not know.
 */
int kthread_affinity_evaluate(struct task_struct *p,
			      enum kthread_affinity_reason reason,
			      const struct cpumask *asked,
			      const struct cpumask *user, struct cpumask *result)
{
	struct kthread_affinity *affinity = kthread_affinity_managed(p);
	struct kthread_affinity_wishes wishes = { .user = user };
	int ret;

	if (!affinity)
		return 0;

	/* Without these it fails, and what was asked for before remains. */
	if (reason == KTHREAD_AFFINITY_USER && cpumask_intersects(asked, cpu_online_mask))
		affinity->is_fallen = false;
	if (reason == KTHREAD_AFFINITY_FALLBACK)
		asked = cpu_dying_mask;

	/* What changes in a cpuset is followed by a call for each of its tasks. */
	guard(rcu)();
	wishes.cpuset = cpuset_task_cpus(p, &wishes.excluded);
	wishes.is_forgotten = affinity->is_fallen;
	ret = kthread_registry_evaluate(affinity, reason, asked, &wishes, result);
	if (!ret && reason == KTHREAD_AFFINITY_FALLBACK)
		affinity->is_fallen = true;
	return ret;
}

/*
 * Registers a kthread that has not run yet. So whatever happens to the masks
 * from then on, it never runs where it must not. Any context.
 */
void kthread_affinity_register(struct task_struct *p, int node)
{
	struct kthread_affinity *affinity = kthread_affinity_of(p);
	struct kthread_affinity *parent = kthread_affinity_of(current);

	affinity->task = p;
	/* It has its parent's user_cpus_ptr, and what has become of that. */
	affinity->is_fallen = parent && READ_ONCE(parent->is_fallen);
	/* Where its parent was when it was copied may not be where that belongs now. */
	if (kthread_registry_add(affinity, node) ||
	    !cpumask_equal(&p->cpus_mask, &current->cpus_mask))
		kthread_reset_cpus_allowed(p, KTHREAD_AFFINITY_CREATED, false);
}

/* Any context that may free memory. */
void kthread_affinity_unregister(struct task_struct *p)
{
	struct kthread_affinity *affinity = kthread_affinity_of(p);

	/* Only what creates, binds or ends a kthread makes this 0 or not. */
	if (READ_ONCE(affinity->group))
		kthread_registry_remove(affinity);
}

/*
 * Called by a kthread that was woken for the first time. Without kthread_cpus= it begins
 * where kthreadd is, and moves to its node now, whatever was set meanwhile, unless it
 * has got a preferred mask. Without a node it moves only if there are CPUs to keep away
 * from, or if it was @moved away from where kthreadd is: that is where it belongs.
 */
void kthread_affinity_start(bool moved)
{
	const unsigned int group = READ_ONCE(kthread_affinity_of(current)->group);

	if (current->flags & PF_NO_SETAFFINITY || group > 1 + nr_node_ids ||
	    (group == 1 && !moved && !housekeeping_enabled(HK_TYPE_KTHREAD)) ||
	    kthread_cpus_confines(KTHREAD_CPUS_KTHREAD))
		return;
	kthread_reset_cpus_allowed(current, KTHREAD_AFFINITY_CREATED, true);
}

/* A kthread that moves when it has enabled migration, waited for by a worker. */
struct kthread_affinity_work {
	struct work_struct		work;
	struct task_struct		*task;
	enum kthread_affinity_reason	reason;
};

static void kthread_affinity_work(struct work_struct *work)
{
	struct kthread_affinity_work *w =
		container_of(work, struct kthread_affinity_work, work);

	kthread_reset_cpus_allowed(w->task, w->reason, true);
	put_task_struct(w->task);
	kfree(w);
}

/* On the CPU of the kthread, which does not run meanwhile. */
static int kthread_affinity_stop(void *data)
{
	struct kthread_affinity_work *w = data;

	return kthread_reset_cpus_allowed(w->task, w->reason, false);
}

/*
 * Puts a kthread where it belongs that would have to be stopped for it, or has
 * disabled migration. Does not wait until it enables that, but has a worker do so.
 */
static void kthread_affinity_move(struct task_struct *p,
				  enum kthread_affinity_reason reason)
{
	struct kthread_affinity_work *w, stop = { .task = p, .reason = reason };
	unsigned int tries;

	/* It runs, or has disabled migration. Stopped, only the latter is left. */
	if (stop_one_cpu(task_cpu(p), kthread_affinity_stop, &stop) != -EAGAIN &&
	    kthread_reset_cpus_allowed(p, reason, false) != -EAGAIN)
		return;

	w = kmalloc_obj(*w, GFP_KERNEL | __GFP_NOFAIL);
	INIT_WORK(&w->work, kthread_affinity_work);
	w->task = get_task_struct(p);
	w->reason = reason;
	queue_work(system_dfl_long_wq, &w->work);

	/*
	 * With the worker waiting, the mask is set, and can be set again. This
	 * is no reason to wait until there is memory for a worker.
	 */
	for (tries = 0; tries < HZ; tries++) {
		if (kthread_reset_cpus_allowed(p, reason, false) != -EAGAIN)
			break;
		schedule_timeout_uninterruptible(1);
	}
}

/*
 * A task has come to another cpuset, or it is in the top one, and partitions have
 * taken CPUs from that or given some back. Called by cpusets. May sleep.
 */
void kthread_affinity_update(struct task_struct *p)
{
	const enum kthread_affinity_reason reason = KTHREAD_AFFINITY_HOUSEKEEPING;

	if (kthread_cpus_confines(KTHREAD_CPUS_KTHREAD) &&
	    kthread_reset_cpus_allowed(p, reason, false) == -EAGAIN)
		kthread_affinity_move(p, reason);
}

/*
 * Puts kthreads where they belong after a change of the masks, for @reason, which
 * may be that @cpu comes or goes. When it returns, all managed kthreads have their
 * mask, and one that has disabled migration moves when it enables it. May sleep.
 */
void kthread_affinity_change(enum kthread_affinity_reason reason, unsigned int cpu)
{
	struct task_struct *tasks[KTHREADS_AT_ONCE];
	unsigned long at = 0;
	struct cpumask *allowed = &kthread_affinity_allowed;
	int count, i, left;

	guard(mutex)(&kthread_affinity_mutex);
	kthread_registry_change(reason, cpu);
	do {
		left = 0;
		/* Those that exit meanwhile are not freed. */
		scoped_guard(rcu) {
			count = kthread_registry_next(&at, tasks, ARRAY_SIZE(tasks), allowed);
			for (i = 0; i < count; i++)
				if (kthread_set_cpus_allowed_group(tasks[i], reason,
								   allowed) == -EAGAIN)
					tasks[left++] = get_task_struct(tasks[i]);
		}
		while (left--) {
			kthread_affinity_move(tasks[left], reason);
			put_task_struct(tasks[left]);
		}
		cond_resched();
	} while (count >= 0);
}

/* An isolated partition has come, gone or changed. Returns 0. May sleep. */
int kthreads_update_housekeeping(void)
{
	kthread_affinity_change(KTHREAD_AFFINITY_HOUSEKEEPING, 0);
	guard(cpus_read_lock)();
	kthread_cpus_update_levels();
	return 0;
}

/* Where mainline does it, before cpusets look at the CPU. */
static int kthreads_online_cpu(unsigned int cpu)
{
	kthread_affinity_change(KTHREAD_AFFINITY_ONLINE, cpu);
	return 0;
}

/* If the CPU has never become active. */
static int kthreads_offline_cpu(unsigned int cpu)
{
	kthread_affinity_change(KTHREAD_AFFINITY_OFFLINE, cpu);
	return 0;
}

static int kthreads_update_workqueues(void)
{
	if (kthread_cpus_confines(KTHREAD_CPUS_WQ) && workqueue_update_kthread_cpus(NULL))
		pr_warn("no memory to move unbound workqueues\n");
	return 0;
}

static int kthreads_active_cpu(unsigned int cpu)
{
	/* It was about to go, but stays: of all callbacks, only this one is run then. */
	if (!kthread_registry_has_cpu(cpu))
		kthread_affinity_change(KTHREAD_AFFINITY_ONLINE, cpu);
	kthread_cpus_set_usable(cpu, true);
	return kthreads_update_workqueues();
}

/* Before the scheduler pushes away what runs there: confined kthreads get others. */
static int kthreads_inactive_cpu(unsigned int cpu)
{
	kthread_affinity_change(KTHREAD_AFFINITY_OFFLINE, cpu);
	kthread_cpus_set_usable(cpu, false);
	return kthreads_update_workqueues();
}

static int __init kthreads_init(void)
{
	return cpuhp_setup_state(CPUHP_AP_KTHREADS_ONLINE, "kthreads:online",
				 kthreads_online_cpu, kthreads_offline_cpu) ?:
	       cpuhp_setup_state(CPUHP_AP_KTHREADS_ACTIVE, "kthreads:active",
				 kthreads_active_cpu, kthreads_inactive_cpu);
}
early_initcall(kthreads_init);
