/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The CPUs to which kthread_cpus= confines the kernel's own work, and the
 * classes of work that it confines.
 */
#ifndef _LINUX_KTHREAD_CPUS_H
#define _LINUX_KTHREAD_CPUS_H

#include <linux/cpumask.h>
#include <linux/init.h>

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

/* In Rust, kernel/kthread_cpus/kthread_cpus.rs, with their documentation: */
void kthread_cpus_effective(struct cpumask *allowed,
			    const struct cpumask *preferred,
			    const struct cpumask *confined,
			    const struct cpumask *housekeeping,
			    const struct cpumask *online);
unsigned int kthread_cpus_obey(const char *value, unsigned int times,
			       struct cpumask *confined, struct cpumask *scratch,
			       const struct cpumask *housekeeping);

#ifdef CONFIG_KTHREAD_CPUS

extern unsigned int kthread_cpus_classes;

void __init kthread_cpus_init(void);
int kthread_cpus_affine(struct task_struct *p, enum kthread_cpus_class class);

/**
 * kthread_cpus_confines - Does kthread_cpus= confine a class of work?
 * @class: the class
 *
 * Fixed once the option was read, and false before. Any context.
 */
static inline bool kthread_cpus_confines(enum kthread_cpus_class class)
{
	return kthread_cpus_classes & class;
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

#endif /* CONFIG_KTHREAD_CPUS */

/**
 * kthread_cpus_mask - The CPUs that a class of work is confined to
 * @class: the class
 *
 * Returns %cpu_kthread_mask, or all possible CPUs for a class that is not
 * confined. Isolated CPUs may be among them. Any context.
 */
static inline const struct cpumask *kthread_cpus_mask(enum kthread_cpus_class class)
{
	return kthread_cpus_confines(class) ? cpu_kthread_mask : cpu_possible_mask;
}

#endif /* _LINUX_KTHREAD_CPUS_H */
