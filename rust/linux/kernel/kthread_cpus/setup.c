// SPDX-License-Identifier: GPL-2.0
/* The boot option kthread_cpus= and its files. The decisions are made in kthread_cpus.rs. */
#include <linux/cleanup.h>
#include <linux/cpu.h>
#include <linux/device.h>
#include <linux/kthread_cpus.h>
#include <linux/mutex.h>
#include <linux/nodemask.h>
#include <linux/panic.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/isolation.h>
#include <linux/slab.h>
#include <linux/sprintf.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/workqueue.h>

/* The classes of work that are confined, as bits of enum kthread_cpus_class. */
unsigned int kthread_cpus_classes __read_mostly;
/* Those that the boot option has confined, which stay so. */
static unsigned int kthread_cpus_boot_classes __ro_after_init;
/* Those that can be confined, or confined to other CPUs, at run time. */
#define KTHREAD_CPUS_RUNTIME	(KTHREAD_CPUS_KTHREAD | KTHREAD_CPUS_WQ | \
				 KTHREAD_CPUS_UMH | KTHREAD_CPUS_TIMER)

/*
 * Serializes those that set the CPUs: if one finds that they are set already, then all
 * has been moved. Taken before cpu_hotplug_lock.
 */
static DEFINE_MUTEX(kthread_cpus_mutex);
/* One is cpu_kthread_mask, the other one will be the next. */
static struct cpumask kthread_cpus_masks[2];
/* After this grace period nobody uses the other one any more. */
static struct rcu_gp_seq kthread_cpus_unused;

/* What the command line says. Its text stays where it is. */
static char *kthread_cpus_value __initdata;
static unsigned int kthread_cpus_times __initdata;

/* Only remembers the value: what it means depends on options further to the right. */
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

/* Called after housekeeping_init(), and before anything that may be confined. */
void __init kthread_cpus_init(void)
{
	/* There is one caller, and a cpumask may be too large for the stack. */
	static struct cpumask confined __initdata, scratch __initdata;
	const struct cpumask *housekeeping = housekeeping_cpumask(HK_TYPE_DOMAIN);
	unsigned int cpu;

	if (kthread_cpus_times)
		kthread_cpus_boot_classes =
			kthread_cpus_obey(kthread_cpus_value, kthread_cpus_times,
					  &confined, &scratch, housekeeping);
	kthread_cpus_classes = kthread_cpus_boot_classes;
	cpumask_copy(kthread_cpus_masks, kthread_cpus_classes ? &confined : cpu_possible_mask);
	__cpu_kthread_mask = kthread_cpus_masks;
	kthread_cpus_levels_init(cpu_kthread_mask);

	/* Nobody has created a kthread yet. */
	if (kthread_registry_init(nr_node_ids))
		panic("kthread_cpus: no memory for %u nodes\n", nr_node_ids);
	for_each_cpu(cpu, cpu_active_mask)
		kthread_registry_change(KTHREAD_AFFINITY_ONLINE, cpu);
	kthread_registry_change(KTHREAD_AFFINITY_CONFINED, 0);
}

/* Some machines know only now that there is one CPU, say with nosmp. */
static int __init kthread_cpus_possible_init(void)
{
	struct cpumask *cpus = kthread_cpus_masks;

	if (cpumask_subset(cpus, cpu_possible_mask))
		return 0;
	cpumask_and(cpus, cpus, cpu_possible_mask);
	kthread_cpus_lacking(kthread_cpus_value, cpus, false);
	if (kthread_cpus_confines(KTHREAD_CPUS_WQ)) {
		guard(cpus_read_lock)();
		WARN_ON(workqueue_update_kthread_cpus(cpus));
	}
	if (cpumask_empty(cpus)) {
		cpumask_copy(cpus, cpu_possible_mask);
		kthread_cpus_classes = 0;
		kthread_cpus_boot_classes = 0;
	}
	kthread_cpus_levels_init(cpus);
	kthread_affinity_change(KTHREAD_AFFINITY_CONFINED, 0);
	return 0;
}
early_initcall(kthread_cpus_possible_init);

/* When the CPUs are online that come up at boot. */
static int __init kthread_cpus_online_init(void)
{
	static struct cpumask cpus __initdata;
	const struct cpumask *housekeeping;

	guard(cpus_read_lock)();
	guard(rcu)();
	housekeeping = housekeeping_cpumask(HK_TYPE_DOMAIN);
	if (!kthread_cpus_classes ||
	    cpumask_first_and_and(cpu_kthread_mask, housekeeping, cpu_online_mask) < nr_cpu_ids)
		return 0;

	kthread_cpus_effective(&cpus, NULL, cpu_kthread_mask, housekeeping, cpu_online_mask);
	kthread_cpus_lacking(kthread_cpus_value, &cpus, true);
	return 0;
}
core_initcall(kthread_cpus_online_init);

/*
 * Confines a user task, if its class is confined: PID 1, or a usermode helper, which
 * is the current task, and keeps its CPUs whatever becomes of the cpusets. Returns 0,
 * also if there is nothing to confine, or -ENOMEM. May sleep.
 */
int kthread_cpus_affine(struct task_struct *p, enum kthread_cpus_class class)
{
	cpumask_var_t allowed __free(free_cpumask_var) = CPUMASK_VAR_NULL;
	cpumask_var_t active __free(free_cpumask_var) = CPUMASK_VAR_NULL;

	if (!kthread_cpus_confines(class))
		return 0;
	if (!alloc_cpumask_var(&allowed, GFP_KERNEL) || !alloc_cpumask_var(&active, GFP_KERNEL))
		return -ENOMEM;

	/* Which may change, but not under the eyes of Rust. */
	cpumask_copy(active, cpu_active_mask);
	scoped_guard(rcu)
		kthread_cpus_effective(allowed, NULL, kthread_cpus_mask(class),
				       housekeeping_cpumask(HK_TYPE_DOMAIN), active);
	/* Should the last of these go away right now, then it stays where it is. */
	if (class != KTHREAD_CPUS_UMH || sched_setaffinity(0, allowed))
		set_cpus_allowed_ptr(p, allowed);
	return 0;
}

/*
 * Confines the kernel's work to other CPUs, or no longer if there was no boot
 * option and these are all. Returns 1, or 0 if that is so already, or an error.
 */
static int kthread_cpus_apply(struct cpumask *cpus)
{
	unsigned int classes = kthread_cpus_boot_classes;
	struct cpumask *next;
	int ret;

	lockdep_assert_held(&kthread_cpus_mutex);
	guard(cpus_read_lock)();

	/* The boot option has chosen, if there was one. */
	if (classes && !(classes & KTHREAD_CPUS_RUNTIME))
		return -EOPNOTSUPP;

	cpumask_and(cpus, cpus, cpu_possible_mask);
	if (cpumask_equal(cpus, cpu_kthread_mask))
		return 0;

	if (!classes && !cpumask_equal(cpus, cpu_possible_mask))
		classes = KTHREAD_CPUS_RUNTIME;
	scoped_guard(rcu)
		if (cpumask_first_and_and(cpus, cpu_active_mask,
					  housekeeping_cpumask(HK_TYPE_DOMAIN)) >= nr_cpu_ids)
			return -EINVAL;
	if ((classes | kthread_cpus_classes) & KTHREAD_CPUS_WQ) {
		ret = workqueue_update_kthread_cpus(classes ? cpus : cpu_none_mask);
		if (ret)
			return ret;
	}

	/* Readers see the one or the other mask, but no mixture of both. */
	next = &kthread_cpus_masks[cpu_kthread_mask == kthread_cpus_masks];
	cond_synchronize_rcu_full(&kthread_cpus_unused);
	cpumask_copy(next, cpus);
	/* Who gets the pointer also gets what it points to. */
	smp_store_release(&__cpu_kthread_mask, next);
	start_poll_synchronize_rcu_full(&kthread_cpus_unused);
	WRITE_ONCE(kthread_cpus_classes, classes);
	return 1;
}

static ssize_t kthread_cpus_read(struct file *file, struct kobject *kobj,
				 const struct bin_attribute *attr, char *buf,
				 loff_t offset, size_t count)
{
	cpumask_var_t cpus __free(free_cpumask_var) = CPUMASK_VAR_NULL;
	char *text __free(kfree) = NULL;

	if (!alloc_cpumask_var(&cpus, GFP_KERNEL))
		return -ENOMEM;
	scoped_guard(rcu)
		cpumask_copy(cpus, cpu_kthread_mask);

	/* cpumap_print_list_to_buf() has nothing for who reads byte by byte, as shells do. */
	text = kasprintf(GFP_KERNEL, "%*pbl\n", cpumask_pr_args(cpus));
	if (!text)
		return -ENOMEM;
	return memory_read_from_buffer(buf, count, &offset, text, strlen(text));
}

static ssize_t kthread_cpus_write(struct file *file, struct kobject *kobj,
				  const struct bin_attribute *attr, char *buf,
				  loff_t offset, size_t count)
{
	cpumask_var_t cpus __free(free_cpumask_var) = CPUMASK_VAR_NULL;
	int ret;

	/* A longer list comes in pieces, the first of which is no list by itself. */
	if (count >= PAGE_SIZE)
		return -E2BIG;
	if (!zalloc_cpumask_var(&cpus, GFP_KERNEL))
		return -ENOMEM;

	ret = kthread_cpus_parse(buf, count, cpus);
	if (ret)
		return ret;

	guard(mutex)(&kthread_cpus_mutex);
	ret = kthread_cpus_apply(cpus);
	if (ret > 0) {
		kthread_affinity_change(KTHREAD_AFFINITY_CONFINED, 0);
		scoped_guard(cpus_read_lock)
			kthread_cpus_update_levels();
	}
	return ret < 0 ? ret : count;
}

/* As a binary one, because the list of a large machine may be longer than a page. */
static const struct bin_attribute kthread_cpus_attr =
	__BIN_ATTR(kthread_cpus, 0644, kthread_cpus_read, kthread_cpus_write, 0);

static ssize_t kthread_cpus_classes_show(struct device *dev,
					 struct device_attribute *attr, char *buf)
{
	return kthread_cpus_print_classes(READ_ONCE(kthread_cpus_classes), buf, PAGE_SIZE);
}
static DEVICE_ATTR_RO(kthread_cpus_classes);

static int __init kthread_cpus_sysfs_init(void)
{
	struct device *dev __free(put_device) = bus_get_dev_root(&cpu_subsys);

	if (!dev)
		return -ENODEV;
	return sysfs_create_bin_file(&dev->kobj, &kthread_cpus_attr) ?:
	       device_create_file(dev, &dev_attr_kthread_cpus_classes);
}
device_initcall(kthread_cpus_sysfs_init);
