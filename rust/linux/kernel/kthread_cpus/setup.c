// SPDX-License-Identifier: GPL-2.0
/*
 * The boot option kthread_cpus=, and what it is applied with. The decisions
 * are made in Rust, see kthread_cpus.rs.
 */
#include <linux/cache.h>
#include <linux/export.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/kthread_cpus.h>
#include <linux/nodemask.h>
#include <linux/panic.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/isolation.h>
#include <linux/string.h>

/* The classes of work that are confined, as bits of enum kthread_cpus_class. */
unsigned int kthread_cpus_classes __ro_after_init;

/* What the command line says. Its text stays where it is. */
static char *kthread_cpus_value __initdata;
static unsigned int kthread_cpus_times __initdata;

/*
 * Only remembers the value. What it means depends on the masks of possible,
 * present and housekeeping CPUs, and these on other options, which may be
 * further to the right.
 */
static int __init kthread_cpus_setup(char *str)
{
	/* Registered without the "=", to catch the option without a value. */
	if (*str == '=')
		str++;
	else if (*str)
		return 0;

	kthread_cpus_value = str;
	kthread_cpus_times++;
	return 1;
}
__setup("kthread_cpus", kthread_cpus_setup);

/**
 * kthread_cpus_init - Set cpu_kthread_mask, as the boot option says
 *
 * Called after housekeeping_init(), and before anything that may be confined.
 */
void __init kthread_cpus_init(void)
{
	/* There is one caller, and a cpumask may be too large for the stack. */
	static struct cpumask confined __initdata, scratch __initdata;

	cpumask_copy(&__cpu_kthread_mask, cpu_possible_mask);
	if (kthread_cpus_times)
		kthread_cpus_classes =
			kthread_cpus_obey(kthread_cpus_value, kthread_cpus_times,
					  &confined, &scratch,
					  housekeeping_cpumask(HK_TYPE_DOMAIN));
	if (kthread_cpus_classes)
		cpumask_copy(&__cpu_kthread_mask, &confined);

	/* Nobody has created a kthread yet. */
	if (kthread_books_setup(nr_node_ids))
		panic("kthread_cpus: no memory for %u nodes\n", nr_node_ids);
	kthread_books_change_nodes();
	kthread_books_change();
}

/**
 * kthread_cpus_affine - Confine a user task, if its class is confined
 * @p: the task
 * @class: the class of work that the task belongs to
 *
 * May sleep.
 *
 * Return: 0, also when there is nothing to confine, or -ENOMEM.
 */
int kthread_cpus_affine(struct task_struct *p, enum kthread_cpus_class class)
{
	cpumask_var_t allowed;

	if (!kthread_cpus_confines(class))
		return 0;

	if (!alloc_cpumask_var(&allowed, GFP_KERNEL))
		return -ENOMEM;

	/*
	 * User tasks go only where CPUs are active. Should the last of these go
	 * away right now, then the task stays where it is, as it would if it had
	 * been there before.
	 */
	scoped_guard(rcu)
		kthread_cpus_effective(allowed, NULL, kthread_cpus_mask(class),
				       housekeeping_cpumask(HK_TYPE_DOMAIN),
				       cpu_active_mask);
	set_cpus_allowed_ptr(p, allowed);
	free_cpumask_var(allowed);
	return 0;
}
