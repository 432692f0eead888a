/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The CPUs to which kthread_cpus= confines the kernel's own work, and the
 * classes of work that it confines.
 */
#ifndef _LINUX_KTHREAD_CPUS_H
#define _LINUX_KTHREAD_CPUS_H

#include <linux/cpumask.h>
#include <linux/init.h>
#include <linux/types.h>

struct task_struct;

/**
 * enum kthread_cpus_class - classes of work, each with a flag in kthread_cpus=
 * @KTHREAD_CPUS_KTHREAD: kthreads that are neither per-CPU nor bound
 * @KTHREAD_CPUS_WQ: unbound and ordered workqueues, and rescuers
 * @KTHREAD_CPUS_UMH: usermode helpers
 * @KTHREAD_CPUS_INIT: PID 1
 * @KTHREAD_CPUS_IRQ: interrupts that nobody has placed
 */
enum kthread_cpus_class {
	KTHREAD_CPUS_KTHREAD	= 1 << 0,
	KTHREAD_CPUS_WQ		= 1 << 1,
	KTHREAD_CPUS_UMH	= 1 << 2,
	KTHREAD_CPUS_INIT	= 1 << 3,
	KTHREAD_CPUS_IRQ	= 1 << 4,
};

/* In Rust, kernel/kthread_cpus/, with their documentation: */
void kthread_cpus_effective(struct cpumask *allowed,
			    const struct cpumask *preferred,
			    const struct cpumask *confined,
			    const struct cpumask *housekeeping,
			    const struct cpumask *online);
int kthread_cpus_parse(const char *list, size_t length, struct cpumask *cpus);
unsigned int kthread_cpus_obey(const char *value, unsigned int times,
			       struct cpumask *confined, struct cpumask *scratch,
			       const struct cpumask *housekeeping);
void kthread_cpus_check_present(const char *value, const struct cpumask *confined,
				struct cpumask *scratch,
				const struct cpumask *housekeeping);

#ifdef CONFIG_KTHREAD_CPUS

/**
 * struct kthread_affinity - what the books of managed kthreads know a kthread by
 * @node: its place among those with the same preference
 * @entry: number of the preference, 0 if it is not in the books
 * @stray: number of the affinity that user space has set, 0 if there is none
 *
 * Zeroed at first. Protected by the lock of the books, but whether @entry is 0 may
 * be read without it by who creates, binds or ends the kthread.
 */
struct kthread_affinity {
	struct list_head	node;
	unsigned int		entry;
	unsigned int		stray;
};

/**
 * enum kthread_affinity_reason - why the allowed mask of a managed kthread changes
 * @KTHREAD_AFFINITY_CREATED: it is new
 * @KTHREAD_AFFINITY_PREFERRED: kthread_affine_preferred()
 * @KTHREAD_AFFINITY_UPDATED: kthread_affine_preferred_update()
 * @KTHREAD_AFFINITY_USER: sched_setaffinity(), a cpuset, or kthread_set_cpus_allowed()
 * @KTHREAD_AFFINITY_ONLINE: a CPU has come online
 * @KTHREAD_AFFINITY_OFFLINE: a CPU is about to go offline
 * @KTHREAD_AFFINITY_NODES: the CPUs of the nodes were read
 * @KTHREAD_AFFINITY_HOUSEKEEPING: the housekeeping CPUs have changed
 * @KTHREAD_AFFINITY_CONFINED: %cpu_kthread_mask has changed
 */
enum kthread_affinity_reason {
	KTHREAD_AFFINITY_CREATED,
	KTHREAD_AFFINITY_PREFERRED,
	KTHREAD_AFFINITY_UPDATED,
	KTHREAD_AFFINITY_USER,
	KTHREAD_AFFINITY_ONLINE,
	KTHREAD_AFFINITY_OFFLINE,
	KTHREAD_AFFINITY_NODES,
	KTHREAD_AFFINITY_HOUSEKEEPING,
	KTHREAD_AFFINITY_CONFINED,
};

/* In Rust as well: */
int kthread_books_setup(unsigned int nodes);
void kthread_books_enrol(struct kthread_affinity *affinity, int node,
			 struct kthread_affinity *creator);
void kthread_books_leave(struct kthread_affinity *affinity);
int kthread_books_prefer(struct kthread_affinity *affinity,
			 const struct cpumask *mask);
int kthread_books_update(struct kthread_affinity *affinity,
			 const struct cpumask *mask);
int kthread_books_restrict(struct kthread_affinity *affinity,
			   const struct cpumask *mask);
int kthread_books_set_cpuset(struct kthread_affinity *affinity,
			     const struct cpumask *mask);
void kthread_books_change(enum kthread_affinity_reason reason);
void kthread_books_enforce(enum kthread_affinity_reason reason);
void kthread_books_change_online(unsigned int cpu, int node);
void kthread_books_change_nodes(void);
int kthread_books_debugfs(void);

/* What these call, kernel/kthread_cpus/kthread.c: */
void kthread_affinity_allow(struct kthread_affinity *affinity,
			    const struct cpumask *allowed,
			    enum kthread_affinity_reason reason);
pid_t kthread_affinity_name(struct kthread_affinity *affinity, char *name,
			    size_t size);
bool kthread_books_read_masks(struct cpumask *confined,
			      struct cpumask *housekeeping,
			      struct cpumask *usable, struct cpumask *possible);
void kthread_books_read_node(int node, struct cpumask *cpus);

extern unsigned int kthread_cpus_classes;

void __init kthread_cpus_init(void);
int kthread_cpus_affine(struct task_struct *p, enum kthread_cpus_class class);
void kthread_cpus_narrow(struct task_struct *task, struct cpumask *cpus);

/**
 * kthread_cpus_confines - Does kthread_cpus= confine a class of work?
 * @class: the class
 *
 * Later than at boot it may become true when user space sets the CPUs, but never
 * false again. Any context.
 *
 * Return: whether it does; false until the option was read.
 */
static inline bool kthread_cpus_confines(enum kthread_cpus_class class)
{
	return READ_ONCE(kthread_cpus_classes) & class;
}

#else

static inline void kthread_cpus_init(void) { }

static inline bool kthread_cpus_confines(enum kthread_cpus_class class)
{
	return false;
}

static inline int kthread_cpus_affine(struct task_struct *p,
				      enum kthread_cpus_class class)
{
	return 0;
}

static inline void kthread_cpus_narrow(struct task_struct *task,
				       struct cpumask *cpus) { }

#endif /* CONFIG_KTHREAD_CPUS */

/**
 * kthread_cpus_mask - The CPUs that a class of work is confined to
 * @class: the class
 *
 * Isolated CPUs may be among them. Any context; the mask stays as it is during an
 * RCU read-side critical section.
 *
 * Return: %cpu_kthread_mask, or all possible CPUs for a class that is not confined.
 */
static inline const struct cpumask *kthread_cpus_mask(enum kthread_cpus_class class)
{
	return kthread_cpus_confines(class) ? cpu_kthread_mask : cpu_possible_mask;
}

#endif /* _LINUX_KTHREAD_CPUS_H */
