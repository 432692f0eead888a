// SPDX-License-Identifier: GPL-2.0
/*
 * kcload: how long a raw spinlock of the kernel is held, whoever takes it.
 *
 * One line written to /proc/kclock is "watch ADDRESS", in hexadecimal, or "end"; a
 * read after the latter gives the number of holds and the shortest and the longest in
 * cycles, which under QEMU's -icount are instructions. A watchpoint on the word of
 * the lock sees both of its writes, so that the kernel needs no tracer. What the two
 * exceptions take within a hold counts, too: the figures are upper bounds, and the
 * shortest one is hardly more than that.
 */

#include <linux/hw_breakpoint.h>
#include <linux/kstrtox.h>
#include <linux/perf_event.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timex.h>

#include "kcload.h"

#define LINE_MAX_LENGTH	64

static struct seq_buf result;
static char result_text[256];

static struct perf_event * __percpu *watch;
static raw_spinlock_t *lock;

/* Of those who hold the lock, or have just let go of it. */
static int holder;
static cycles_t since, shortest, longest;
static unsigned long holds;

/* After a write to the lock. Those who wait for it write there too: not its holder. */
static void written(struct perf_event *event, struct perf_sample_data *data, struct pt_regs *regs)
{
	cycles_t now = get_cycles();
	int cpu = raw_smp_processor_id();

	if (holder == cpu) {
		shortest = min(shortest, now - since);
		longest = max(longest, now - since);
		holds++;
		holder = -1;
	} else if (holder < 0 && raw_spin_is_locked(lock)) {
		holder = cpu;
		since = get_cycles();
	}
}

static int begin(char *word)
{
	struct perf_event_attr attr;
	unsigned long address;

	if (watch || !word || kstrtoul(word, 16, &address))
		return command_fail(&result, -EINVAL, "use: watch ADDRESS, then: end");
	lock = (raw_spinlock_t *)address;
	holder = -1;
	shortest = (cycles_t)-1;
	longest = 0;
	holds = 0;

	hw_breakpoint_init(&attr);
	attr.bp_addr = address;
	attr.bp_len = HW_BREAKPOINT_LEN_4;
	attr.bp_type = HW_BREAKPOINT_W;
	watch = register_wide_hw_breakpoint(&attr, written, NULL);
	if (IS_ERR((void __force *)watch)) {
		int ret = PTR_ERR((void __force *)watch);

		watch = NULL;
		return command_fail(&result, ret, "no watchpoint there");
	}
	seq_buf_printf(&result, "watched=1\n");
	return 0;
}

static void end(void)
{
	if (watch)
		unregister_wide_hw_breakpoint(watch);
	watch = NULL;
}

static int run_lock(char *line)
{
	const char *name = strsep(&line, " ");

	if (!strcmp(name, "watch"))
		return begin(line);
	if (strcmp(name, "end") || line || !watch)
		return command_fail(&result, -EINVAL, "use: watch ADDRESS, then: end");
	end();
	seq_buf_printf(&result, "holds=%lu shortest=%llu longest=%llu\n", holds, (u64)shortest,
		       (u64)longest);
	return 0;
}

static struct command_file kclock_file = {
	.name = "kclock",
	.line_max = LINE_MAX_LENGTH,
	.run = run_lock,
	.lock = __MUTEX_INITIALIZER(kclock_file.lock),
	.result = &result,
};

int kclock_init(void)
{
	seq_buf_init(&result, result_text, sizeof(result_text));
	return command_file_create(&kclock_file) ? 0 : -ENOMEM;
}

void kclock_exit(void)
{
	command_file_remove(&kclock_file);
	end();
}
