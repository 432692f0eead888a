/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kthread code shares with the code for the affinity of kthreads.
 */
#ifndef _KERNEL_KTHREAD_AFFINITY_H
#define _KERNEL_KTHREAD_AFFINITY_H

#include <linux/completion.h>
#include <linux/kthread_cpus.h>
#include <linux/list.h>
#include <linux/sched.h>

struct cpumask;
struct kthread;

#ifdef CONFIG_KTHREAD_CPUS

/* kernel/kthread_cpus/kthread.c; struct kthread_affinity is in its header. */

/* It is zeroed, and kthread_fork() does the rest. */
static inline void kthread_affinity_init(struct kthread *kthread) { }
static inline void kthread_affinity_start(struct kthread *self) { }
void kthread_affinity_bind(struct kthread *kthread);

#else

/* kernel/kthread_affinity.c */

struct kthread_affinity {
	struct list_head node;
	struct cpumask *preferred;
};

void kthread_affinity_init(struct kthread *kthread);
void kthread_affinity_start(struct kthread *self);
static inline void kthread_affinity_bind(struct kthread *kthread) { }

#endif

void kthread_affinity_exit(struct kthread *kthread);

struct kthread {
	unsigned long flags;
	unsigned int cpu;
	unsigned int node;
	int started;
	int result;
	int (*threadfn)(void *data);
	void *data;
	struct completion parked;
	struct completion exited;
#ifdef CONFIG_BLK_CGROUP
	struct cgroup_subsys_state *blkcg_css;
#endif
	/* To store the full name if task comm is truncated. */
	char *full_name;
	struct task_struct *task;
	struct kthread_affinity affinity;
};

static inline struct kthread *to_kthread(struct task_struct *k)
{
	WARN_ON(!(k->flags & PF_KTHREAD));
	return k->worker_private;
}

#endif /* _KERNEL_KTHREAD_AFFINITY_H */
