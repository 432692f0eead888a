// SPDX-License-Identifier: GPL-2.0
/*
 * kcload: files in /proc that take commands.
 */

#include <linux/err.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "kcload.h"

int command_fail(struct seq_buf *result, int error, const char *text)
{
	seq_buf_clear(result);
	seq_buf_printf(result, "error=%d reason=\"%s\"\n", error, text);
	return error;
}

static ssize_t command_write(struct file *opened, const char __user *buffer, size_t count,
			     loff_t *position)
{
	struct command_file *file = pde_data(file_inode(opened));
	char *line;
	int ret;

	if (count > file->line_max)
		return -EINVAL;
	line = memdup_user_nul(buffer, count);
	if (IS_ERR(line))
		return PTR_ERR(line);

	ret = mutex_lock_interruptible(&file->lock);
	if (!ret) {
		seq_buf_clear(file->result);
		ret = file->run(strim(line));
		mutex_unlock(&file->lock);
	}
	kfree(line);
	return ret ?: count;
}

static int command_show(struct seq_file *seq, void *unused)
{
	struct command_file *file = seq->private;
	int ret = mutex_lock_interruptible(&file->lock);

	if (ret)
		return ret;
	seq_puts(seq, seq_buf_str(file->result));
	mutex_unlock(&file->lock);
	return 0;
}

static int command_open(struct inode *inode, struct file *opened)
{
	return single_open(opened, command_show, pde_data(inode));
}

static const struct proc_ops command_ops = {
	.proc_open = command_open,
	.proc_read = seq_read,
	.proc_write = command_write,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
};

struct proc_dir_entry *command_file_create(struct command_file *file)
{
	return proc_create_data(file->name, 0600, NULL, &command_ops, file);
}

void command_file_remove(struct command_file *file)
{
	remove_proc_entry(file->name, NULL);
}
