/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The CPUs to which kthread_cpus= confines the kernel's own work, and the
 * classes of work that it confines.
 */
#ifndef _LINUX_KTHREAD_CPUS_H
#define _LINUX_KTHREAD_CPUS_H

#include <linux/cpumask.h>
#include <linux/init.h>
#include <linux/spinlock_types.h>
#include <linux/types.h>

struct task_struct;

/**
 * enum kthread_cpus_class - classes of work, each with a flag in kthread_cpus=
 * @KTHREAD_CPUS_KTHREAD: kthreads that are neither per-CPU nor bound
 * @KTHREAD_CPUS_WQ: unbound and ordered workqueues, and rescuers
 * @KTHREAD_CPUS_UMH: usermode helpers
 * @KTHREAD_CPUS_INIT: PID 1
 * @KTHREAD_CPUS_IRQ: interrupts that nobody has placed
 * @KTHREAD_CPUS_TIMER: timers that are handled for other CPUs
 */
enum kthread_cpus_class {
	KTHREAD_CPUS_KTHREAD	= 1 << 0,
	KTHREAD_CPUS_WQ		= 1 << 1,
	KTHREAD_CPUS_UMH	= 1 << 2,
	KTHREAD_CPUS_INIT	= 1 << 3,
	KTHREAD_CPUS_IRQ	= 1 << 4,
	KTHREAD_CPUS_TIMER	= 1 << 5,
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
ssize_t kthread_cpus_print_classes(unsigned int classes, char *buffer, size_t size);
void kthread_cpus_lacking(const char *value, const struct cpumask *cpus,
			  bool is_offline);

#ifdef CONFIG_KTHREAD_CPUS

/**
 * struct kthread_affinity - what is known of the affinity of a kthread
 * @node: its place among those with the same preference
 * @task: the kthread
 * @group: number of the preference: 0 if it is not registered, 1 if it has none,
 *	then those of the nodes, that of the CPUs for kernel noise, and those that
 *	are masks
 * @watch: number of a CPU that it depends on, plus 1, or one more than the last of
 *	these if it is displaced, or 0
 * @is_fallen: the scheduler's fallback has set its mask while it was not confined
 * @is_due: it was handed out with the mask of its group, and nothing has happened
 *	since that might give it another one
 *
 * @node, @group, @watch and @is_due are protected by kthread_affinity_lock. Whether
 * @group is 0 may be read without it: only who creates, binds or ends the kthread
 * changes that. So may @is_due with the pi_lock: whoever clears it without that sets
 * the mask afterwards. @is_fallen is protected by the pi_lock.
 */
struct kthread_affinity {
	struct list_head	node;
	struct task_struct	*task;
	unsigned int		group;
	unsigned int		watch;
	bool			is_fallen;
	bool			is_due;
};

/**
 * enum kthread_affinity_reason - why the mask of a managed kthread is set
 * @KTHREAD_AFFINITY_NONE: it is none, or others decide
 * @KTHREAD_AFFINITY_CREATED: it is new
 * @KTHREAD_AFFINITY_PREFERRED: its preference has changed
 * @KTHREAD_AFFINITY_USER: sched_setaffinity()
 * @KTHREAD_AFFINITY_SET: its cpuset or its owner asks for it
 * @KTHREAD_AFFINITY_ONLINE: a CPU has come online
 * @KTHREAD_AFFINITY_OFFLINE: a CPU is about to go offline
 * @KTHREAD_AFFINITY_FALLBACK: it may run on no CPU that is there
 * @KTHREAD_AFFINITY_HOUSEKEEPING: the housekeeping CPUs, partitions or its cpuset
 *	have changed
 * @KTHREAD_AFFINITY_CONFINED: %cpu_kthread_mask has changed
 */
enum kthread_affinity_reason {
	KTHREAD_AFFINITY_NONE,
	KTHREAD_AFFINITY_CREATED,
	KTHREAD_AFFINITY_PREFERRED,
	KTHREAD_AFFINITY_USER,
	KTHREAD_AFFINITY_SET,
	KTHREAD_AFFINITY_ONLINE,
	KTHREAD_AFFINITY_OFFLINE,
	KTHREAD_AFFINITY_FALLBACK,
	KTHREAD_AFFINITY_HOUSEKEEPING,
	KTHREAD_AFFINITY_CONFINED,
};

/**
 * struct kthread_affinity_wishes - what others keep about where a kthread runs
 * @cpuset: the CPUs of its cpuset, NULL for the top one
 * @excluded: the CPUs that partitions have taken from the top cpuset, or NULL
 * @user: its user_cpus_ptr, or what that is about to be
 * @is_forgotten: whether the fallback would have cleared that in mainline
 */
struct kthread_affinity_wishes {
	const struct cpumask	*cpuset;
	const struct cpumask	*excluded;
	const struct cpumask	*user;
	bool			is_forgotten;
};

/* In Rust as well: */
int kthread_registry_init(unsigned int nodes);
bool kthread_registry_add(struct kthread_affinity *affinity, int node);
void kthread_registry_remove(struct kthread_affinity *affinity);
int kthread_registry_prefer(struct kthread_affinity *affinity,
			    const struct cpumask *mask, bool update);
void kthread_registry_prefer_noise(struct kthread_affinity *affinity,
				   const struct cpumask *mask);
bool kthread_registry_has_cpu(unsigned int cpu);
void kthread_registry_change(enum kthread_affinity_reason reason, unsigned int cpu);
int kthread_registry_next(unsigned long *at, struct task_struct **tasks,
			  unsigned int most, struct cpumask *allowed);
int kthread_registry_evaluate(struct kthread_affinity *affinity,
			      enum kthread_affinity_reason reason,
			      const struct cpumask *asked,
			      const struct kthread_affinity_wishes *wishes,
			      struct cpumask *result);

/* What these call, kernel/kthread_cpus/affinity.c: */
extern raw_spinlock_t kthread_affinity_lock;
bool kthread_affinity_read_masks(struct cpumask *confined, struct cpumask *housekeeping);
bool kthread_affinity_cpu_on_node(unsigned int cpu, int node);

/* kernel/kthread.c: */
struct kthread_affinity *kthread_affinity_of(struct task_struct *p);

/* kernel/sched/core.c: */
int kthread_reset_cpus_allowed(struct task_struct *p,
			       enum kthread_affinity_reason reason, bool wait);
int kthread_set_cpus_allowed_group(struct task_struct *p,
				   enum kthread_affinity_reason reason,
				   const struct cpumask *allowed);
void kthread_reset_cpus_allowed_force(struct task_struct *p,
				      enum kthread_affinity_reason reason);

/* For these two and setup.c. What a kthread prefers counts when its mask is set. */
static inline int kthread_affinity_prefer(struct task_struct *p,
					  const struct cpumask *mask, bool update)
{
	return kthread_registry_prefer(kthread_affinity_of(p), mask, update);
}

/* While kthreads are confined, @p keeps to @mask, that of a housekeeping type, if it can. */
static inline void kthread_affinity_prefer_noise(struct task_struct *p,
						 const struct cpumask *mask)
{
	kthread_registry_prefer_noise(kthread_affinity_of(p), mask);
}

void kthread_affinity_register(struct task_struct *p, int node);
void kthread_affinity_unregister(struct task_struct *p);
void kthread_affinity_start(bool moved);
int kthread_affinity_evaluate(struct task_struct *p,
			      enum kthread_affinity_reason reason,
			      const struct cpumask *asked,
			      const struct cpumask *user, struct cpumask *result);
bool kthread_affinity_is_managed(struct task_struct *p);
bool kthread_affinity_follows_group(struct task_struct *p);
void kthread_affinity_update(struct task_struct *p);
void kthread_affinity_change(enum kthread_affinity_reason reason, unsigned int cpu);

extern unsigned int kthread_cpus_classes;

void __init kthread_cpus_init(void);
int kthread_cpus_affine(struct task_struct *p, enum kthread_cpus_class class);

/* levels.c: */
extern struct cpumask kthread_cpus_usable;
extern struct cpumask kthread_cpus_timers;
void __init kthread_cpus_levels_init(const struct cpumask *confined);
void kthread_cpus_set_usable(unsigned int cpu, bool usable);
void kthread_cpus_update_levels(void);
void kthread_cpus_update_timers(void);
int kthread_cpus_timer_target(int cpu);
void kthread_cpus_level(struct cpumask *cpus);
bool kthread_cpus_narrow(struct task_struct *task, struct cpumask *cpus);
void kthread_cpus_forked(struct task_struct *task);

/* kernel/irq/confine.c: */
void irq_update_confined(void);

/**
 * kthread_cpus_confines - Does kthread_cpus= confine a class of work?
 * @class: the class
 *
 * Any of them, if it is several. Without the boot option it may change later, when
 * user space sets the CPUs. Any context.
 *
 * Return: whether it does; false until the option was read.
 */
static inline bool kthread_cpus_confines(enum kthread_cpus_class class)
{
	return READ_ONCE(kthread_cpus_classes) & class;
}

/* Is this CPU to handle no timers that other CPUs have armed? Any context. */
static inline bool kthread_cpus_no_timers(int cpu)
{
	return kthread_cpus_confines(KTHREAD_CPUS_TIMER) &&
	       !cpumask_test_cpu(cpu, &kthread_cpus_timers);
}

#else

#define kthread_cpus_usable	(*cpu_active_mask)
#define kthread_cpus_timers	(*cpu_possible_mask)

static inline void kthread_cpus_init(void) { }
static inline void kthread_affinity_unregister(struct task_struct *p) { }
static inline void kthread_affinity_update(struct task_struct *p) { }

static inline void kthread_affinity_prefer_noise(struct task_struct *p,
						 const struct cpumask *mask) { }

static inline bool kthread_affinity_is_managed(struct task_struct *p)
{
	return false;
}

static inline bool kthread_cpus_confines(enum kthread_cpus_class class)
{
	return false;
}

static inline int kthread_cpus_affine(struct task_struct *p,
				      enum kthread_cpus_class class)
{
	return 0;
}

static inline bool kthread_cpus_narrow(struct task_struct *task, struct cpumask *cpus)
{
	return false;
}

static inline void kthread_cpus_forked(struct task_struct *task) { }

static inline bool kthread_cpus_no_timers(int cpu)
{
	return false;
}

static inline int kthread_cpus_timer_target(int cpu)
{
	return cpu;
}

static inline void kthread_cpus_update_timers(void) { }

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
