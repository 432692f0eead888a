/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kthread_cpus

#if !defined(_TRACE_KTHREAD_CPUS_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_KTHREAD_CPUS_H

#include <linux/cpumask.h>
#include <linux/kthread_cpus.h>
#include <linux/sched.h>
#include <linux/tracepoint.h>

TRACE_DEFINE_ENUM(KTHREAD_AFFINITY_CREATED);
TRACE_DEFINE_ENUM(KTHREAD_AFFINITY_PREFERRED);
TRACE_DEFINE_ENUM(KTHREAD_AFFINITY_USER);
TRACE_DEFINE_ENUM(KTHREAD_AFFINITY_SET);
TRACE_DEFINE_ENUM(KTHREAD_AFFINITY_ONLINE);
TRACE_DEFINE_ENUM(KTHREAD_AFFINITY_OFFLINE);
TRACE_DEFINE_ENUM(KTHREAD_AFFINITY_FALLBACK);
TRACE_DEFINE_ENUM(KTHREAD_AFFINITY_HOUSEKEEPING);
TRACE_DEFINE_ENUM(KTHREAD_AFFINITY_CONFINED);

#define show_kthread_affinity_reason(reason)			\
	__print_symbolic(reason,				\
		{ KTHREAD_AFFINITY_CREATED, "created" },	\
		{ KTHREAD_AFFINITY_PREFERRED, "preferred" },	\
		{ KTHREAD_AFFINITY_USER, "user" },		\
		{ KTHREAD_AFFINITY_SET, "set" },		\
		{ KTHREAD_AFFINITY_ONLINE, "online" },		\
		{ KTHREAD_AFFINITY_OFFLINE, "offline" },	\
		{ KTHREAD_AFFINITY_FALLBACK, "fallback" },	\
		{ KTHREAD_AFFINITY_HOUSEKEEPING, "housekeeping" },\
		{ KTHREAD_AFFINITY_CONFINED, "kthread_cpus" })

/*
 * kthread_affinity - called before the allowed mask of a managed kthread changes
 * @p: the kthread
 * @allowed: the CPUs that it may use from now on
 * @reason: why
 *
 * Only for changes that the registry of managed kthreads has a say in.
 */
TRACE_EVENT_CONDITION(kthread_affinity,
		      TP_PROTO(struct task_struct *p, const struct cpumask *allowed,
			       enum kthread_affinity_reason reason),
		      TP_ARGS(p, allowed, reason),
		      TP_CONDITION(!cpumask_equal(&p->cpus_mask, allowed)),
		      TP_STRUCT__entry(__field(pid_t, pid)
				       __string(comm, p->comm)
				       __cpumask(old)
				       __cpumask(new)
				       __field(unsigned int, reason)),
		      TP_fast_assign(__entry->pid = p->pid;
				     __assign_str(comm);
				     __assign_cpumask(old, cpumask_bits(&p->cpus_mask));
				     __assign_cpumask(new, cpumask_bits(allowed));
				     __entry->reason = reason;),
		      TP_printk("comm=%s pid=%d old=%s new=%s reason=%s",
				__get_str(comm), __entry->pid, __get_cpumask(old),
				__get_cpumask(new),
				show_kthread_affinity_reason(__entry->reason))
);

#endif /* _TRACE_KTHREAD_CPUS_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
