// SPDX-License-Identifier: GPL-2.0
/* Interrupts that nobody has placed, as kthread_cpus= confines them. */
#include <linux/cleanup.h>
#include <linux/cpuhotplug.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/kthread_cpus.h>
#include <linux/minmax.h>
#include <linux/mutex.h>
#include <linux/percpu.h>

#include "internals.h"

/* Set if it was not irqaffinity= that placed them. */
static bool irq_confines __ro_after_init;
/* Protects the next one, and the default affinity with it. Taken before irq_lock_sparse(). */
static DEFINE_MUTEX(irq_default_mutex);
/* Set as long as user space has not chosen another default affinity. */
static bool irq_confines_default;

/* Of one interrupt, whose lock is held. */
static DEFINE_PER_CPU(struct cpumask, irq_confined_mask);

/* Not those that must not be balanced, as who placed them has a reason. */
static bool irq_is_confined(struct irq_desc *desc)
{
	struct irq_data *data = irq_desc_get_irq_data(desc);

	return irq_confines && kthread_cpus_confines(KTHREAD_CPUS_IRQ) &&
	       irqd_can_balance(data) && !irqd_affinity_is_managed(data) &&
	       data->chip && data->chip->irq_set_affinity &&
	       !(desc->istate & IRQS_USER_AFFINITY);
}

/*
 * Returns those CPUs of @mask that the interrupt may have. If none of these is online,
 * then others. With the lock of the interrupt, which has to last for the result.
 */
const struct cpumask *irq_confine(struct irq_desc *desc, const struct cpumask *mask)
{
	struct cpumask *confined = this_cpu_ptr(&irq_confined_mask);

	if (!irq_is_confined(desc))
		return mask;

	kthread_cpus_level(confined);
	if (cpumask_first_and_and(mask, confined, cpu_online_mask) < nr_cpu_ids)
		cpumask_and(confined, confined, mask);
	return confined;
}

/* As irq_set_affinity(), but for user space, which is obeyed. */
int irq_set_affinity_user(unsigned int irq, const struct cpumask *mask)
{
	struct irq_desc *desc = irq_to_desc(irq);
	int ret;

	if (!desc)
		return -EINVAL;

	guard(raw_spinlock_irqsave)(&desc->lock);
	ret = irq_set_affinity_locked(irq_desc_get_irq_data(desc), mask, false);
	if (!ret)
		desc->istate |= IRQS_USER_AFFINITY;
	return ret;
}

static void irq_move_confined(struct irq_desc *desc)
{
	struct irq_data *data = irq_desc_get_irq_data(desc);
	bool chosen = irqd_has_set(data, IRQD_AFFINITY_SET);
	struct cpumask *confined = this_cpu_ptr(&irq_confined_mask);
	const struct cpumask *mask, *wanted;

	/* What it has is what user space wants by default. */
	if (!chosen && !irq_confines_default)
		return;
	if (!irqd_is_started(data)) {
		/* Nobody has asked for it yet, so that it is to have the default. */
		if (!chosen && !irqd_affinity_is_managed(data))
			cpumask_copy(desc->irq_common_data.affinity, irq_default_affinity);
		return;
	}
	if (!irq_is_confined(desc))
		return;

	/* Some can only move when they fire. */
	mask = irq_move_pending(data) ? irq_desc_get_pending_mask(desc) :
					irq_data_get_affinity_mask(data);
	kthread_cpus_level(confined);
	if (cpumask_subset(mask, confined) && cpumask_intersects(mask, cpu_online_mask))
		return;

	/* What the driver has asked for may have been given up. A mere hint asks for nothing. */
	wanted = chosen && desc->affinity_hint ? desc->affinity_hint : mask;
	irq_set_affinity_locked(data, irq_confine(desc, wanted), false);
	if (!chosen)
		irqd_clear(data, IRQD_AFFINITY_SET);
}

/* The CPUs for interrupts have changed. May sleep. */
void irq_update_confined(void)
{
	struct irq_desc *desc;
	unsigned int irq;

	if (!irq_confines)
		return;

	guard(mutex)(&irq_default_mutex);
	if (irq_confines_default)
		kthread_cpus_level(irq_default_affinity);
	irq_lock_sparse();
	for_each_active_irq(irq) {
		desc = irq_to_desc(irq);
		scoped_guard(raw_spinlock_irq, &desc->lock)
			irq_move_confined(desc);
	}
	irq_unlock_sparse();
}

/*
 * Where interrupts can only move when they fire, a move to a CPU that has gone is given
 * up if that has not happened until then, which leaves the interrupt where it was before.
 */
static int irq_confined_cpu_dead(unsigned int cpu)
{
	irq_update_confined();
	return 0;
}

static int __init irq_confine_init(void)
{
	if (!irq_confines || !IS_ENABLED(CONFIG_GENERIC_PENDING_IRQ))
		return 0;
	return min(0, cpuhp_setup_state_nocalls(CPUHP_BP_PREPARE_DYN, "irq:confined",
						NULL, irq_confined_cpu_dead));
}
early_initcall(irq_confine_init);

/* User space sets the default affinity, and has the last word. May sleep. */
void irq_set_default_affinity(const struct cpumask *mask)
{
	guard(mutex)(&irq_default_mutex);
	irq_confines_default = false;
	cpumask_copy(irq_default_affinity, mask);
}

/* Sets the default affinity at boot, unless irqaffinity= has. */
void __init irq_init_default_affinity(void)
{
	irq_confines = kthread_cpus_confines(KTHREAD_CPUS_IRQ);
	irq_confines_default = irq_confines;
	if (irq_confines)
		kthread_cpus_level(irq_default_affinity);
	else
		cpumask_setall(irq_default_affinity);
}
