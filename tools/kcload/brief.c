// SPDX-License-Identifier: GPL-2.0
/*
 * kcbrief: a module that has kernel threads of each kind, a kthread worker, a workqueue
 * and an interrupt with a thread while it is loaded, to be loaded and removed while all
 * else changes.
 * All of their code is in the module: what runs it later than its end is an oops.
 *
 *	insmod kcbrief.ko [fail=1] [still=1] [serves=N] [place=N]
 *
 * With fail, loading ends with ENOMEM after all of them have been made. With still, the
 * interrupt cannot be placed; with serves, only on the first N CPUs. With place, its
 * driver has it handled on CPU N.
 */

#define pr_fmt(fmt) "kcbrief: " fmt

#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/kthread.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/sched.h>
#include <linux/workqueue.h>

static bool fail;
module_param(fail, bool, 0);
MODULE_PARM_DESC(fail, "make all of the threads, and then fail to load");
static bool still;
module_param(still, bool, 0);
MODULE_PARM_DESC(still, "have an interrupt that no CPU can be chosen for");

static unsigned int serves = NR_CPUS;
module_param(serves, uint, 0);
MODULE_PARM_DESC(serves, "how many CPUs the interrupt controller serves");

static int place = -1;
module_param(place, int, 0);
MODULE_PARM_DESC(place, "the CPU on which the driver has the interrupt handled");

enum { UNBOUND, ON_NODE, PREFERRED, BOUND, UNBORN, THREADS };

static struct task_struct *threads[THREADS];
static struct kthread_worker *worker;
static struct workqueue_struct *queue;

static void work_once(struct work_struct *work) { }
static void work_for_worker(struct kthread_work *work) { }

static DECLARE_WORK(work, work_once);
static DEFINE_KTHREAD_WORK(worker_work, work_for_worker);

static int irq = -1;
static bool requested;

static irqreturn_t handle(int number, void *data) { return IRQ_WAKE_THREAD; }
static irqreturn_t handle_in_thread(int number, void *data) { return IRQ_HANDLED; }

static int set_affinity(struct irq_data *data, const struct cpumask *mask, bool force)
{
	const unsigned int cpu = cpumask_first_and(mask, cpu_online_mask);

	if (cpu >= min(serves, nr_cpu_ids))
		return -EINVAL;
	irq_data_update_effective_affinity(data, cpumask_of(cpu));
	return IRQ_SET_MASK_OK;
}

/* An interrupt controller that no device is behind. */
static struct irq_chip chip = {
	.name = "kcbrief",
	.irq_set_affinity = set_affinity,
};

/* As those of GPIO. */
static struct irq_chip still_chip = { .name = "kcbrief-still" };

static int add_interrupt(void)
{
	int ret;

	/* Without an owner: it would keep the module from being removed. */
	irq = __irq_alloc_descs(-1, 0, 1, NUMA_NO_NODE, NULL, NULL);
	if (irq < 0)
		return irq;
	irq_set_chip_and_handler(irq, still ? &still_chip : &chip, handle_simple_irq);
	ret = request_threaded_irq(irq, handle, handle_in_thread, 0, "kcbrief", &irq);
	if (ret)
		return ret;
	requested = true;
	if (place >= 0) {
		ret = irq_set_affinity(irq, cpumask_of(place));
		if (ret)
			return ret;
	}
	return generic_handle_irq_safe(irq);
}

static int run(void *data)
{
	for (;;) {
		set_current_state(TASK_IDLE);
		if (kthread_should_stop())
			break;
		schedule();
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

static void stop(void)
{
	unsigned int i;

	if (requested)
		free_irq(irq, &irq);
	if (irq >= 0)
		irq_free_desc(irq);
	for (i = 0; i < THREADS; i++)
		if (!IS_ERR_OR_NULL(threads[i]))
			kthread_stop(threads[i]);
	if (!IS_ERR_OR_NULL(worker))
		kthread_destroy_worker(worker);
	if (queue)
		destroy_workqueue(queue);
}

static int __init start(void)
{
	const int node = next_node_in(first_online_node, node_online_map);
	unsigned int i;
	int ret;

	for (i = 0; i < THREADS; i++) {
		threads[i] = kthread_create_on_node(run, NULL, i == ON_NODE ? node : NUMA_NO_NODE,
						    "kcbrief/%u", i);
		if (IS_ERR(threads[i]))
			return PTR_ERR(threads[i]);
	}
	ret = kthread_affine_preferred(threads[PREFERRED],
				       cpumask_of(cpumask_last(cpu_possible_mask)));
	if (ret)
		return ret;
	kthread_bind(threads[BOUND], cpumask_first(cpu_possible_mask));
	/* One of them ends before it has begun. */
	for (i = 0; i < THREADS; i++)
		if (i != UNBORN)
			wake_up_process(threads[i]);

	worker = kthread_run_worker(0, "kcbrief-worker");
	if (IS_ERR(worker))
		return PTR_ERR(worker);
	queue = alloc_workqueue("kcbrief", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!queue)
		return -ENOMEM;
	kthread_queue_work(worker, &worker_work);
	queue_work(queue, &work);
	ret = add_interrupt();
	if (ret)
		return ret;
	return fail ? -ENOMEM : 0;
}

static int __init kcbrief_init(void)
{
	const int ret = start();

	if (ret)
		stop();
	return ret;
}

static void __exit kcbrief_exit(void)
{
	stop();
}

module_init(kcbrief_init);
module_exit(kcbrief_exit);

MODULE_DESCRIPTION("Kernel threads that come and go with a module, for tests");
MODULE_LICENSE("GPL");
