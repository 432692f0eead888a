/* SPDX-License-Identifier: GPL-2.0 */
#ifndef KCLOAD_H
#define KCLOAD_H

#include <linux/mutex.h>
#include <linux/seq_buf.h>

struct proc_dir_entry;

/*
 * A file in /proc: one line written to it is one command, which has ended when
 * the write returns, and a read gives the results of the last one.
 */
struct command_file {
	const char *name;
	size_t line_max;
	/* Called with @lock held, to write @result; returns 0 or an errno. */
	int (*run)(char *line);
	struct mutex lock;
	struct seq_buf *result;
};

struct proc_dir_entry *command_file_create(struct command_file *file);
void command_file_remove(struct command_file *file);

/* Has the result be that a command failed with @error, and returns that. */
int command_fail(struct seq_buf *result, int error, const char *text);

int kcwork_init(void);
void kcwork_exit(void);

#ifdef CONFIG_RUST
int kcparse_init(void);
void kcparse_exit(void);
#else
static inline int kcparse_init(void) { return 0; }
static inline void kcparse_exit(void) { }
#endif

/* Elsewhere, a watchpoint that a kernel meets stays in its way. */
#ifdef CONFIG_X86
int kclock_init(void);
void kclock_exit(void);
#else
static inline int kclock_init(void) { return 0; }
static inline void kclock_exit(void) { }
#endif

#endif
