// SPDX-License-Identifier: GPL-2.0
/*
 * kcload: what it takes to parse a CPU list, in C and in Rust (parser.rs).
 *
 * One line written to /proc/kcparse is "BITS HEX": a list as the hexadecimal
 * digits of its bytes, for a mask of so many bits. A read gives the cycles of
 * both parsers, which under QEMU's -icount are instructions.
 */

#include <linux/bitmap.h>
#include <linux/hex.h>
#include <linux/irqflags.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/timex.h>

#include "kcload.h"

#define BITS_MAX	8192
#define LINE_MAX_LENGTH	16384
/* The first call is of cold code; the least of several is taken. */
#define ROUNDS		8

int kcparse_rust(const u8 *text, size_t length, unsigned long *words, u32 nbits);
int kcparse_nothing(const u8 *text, size_t length, unsigned long *words, u32 nbits);

static struct seq_buf result;
static char result_text[256];

static int parse_c(const char *text, size_t length, unsigned long *words, u32 nbits)
{
	return bitmap_parselist(text, words, nbits);
}

static int parse_rust(const char *text, size_t length, unsigned long *words, u32 nbits)
{
	return kcparse_rust(text, length, words, nbits);
}

/* What it takes to call each of them. */
static int call_c(const char *text, size_t length, unsigned long *words, u32 nbits)
{
	return 0;
}

static int call_rust(const char *text, size_t length, unsigned long *words, u32 nbits)
{
	return kcparse_nothing(text, length, words, nbits);
}

typedef int (*parse_fn)(const char *text, size_t length, unsigned long *words, u32 nbits);

static cycles_t cost(parse_fn parse, const char *text, size_t length, unsigned long *words,
		     u32 nbits, int *ret)
{
	cycles_t least = (cycles_t)-1, start, end;
	unsigned long flags;
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		local_irq_save(flags);
		start = get_cycles();
		barrier();
		*ret = parse(text, length, words, nbits);
		barrier();
		end = get_cycles();
		local_irq_restore(flags);
		least = min(least, end - start);
	}
	return least;
}

static int measure(const char *text, size_t length, u32 nbits)
{
	unsigned long *of_c = bitmap_zalloc(nbits, GFP_KERNEL);
	unsigned long *of_rust = bitmap_zalloc(nbits, GFP_KERNEL);
	cycles_t c, rust;
	int ret = -ENOMEM, ret_c, ret_rust;

	if (!of_c || !of_rust)
		goto out;
	c = cost(call_c, text, length, of_c, nbits, &ret);
	c = cost(parse_c, text, length, of_c, nbits, &ret_c) - c;
	rust = cost(call_rust, text, length, of_rust, nbits, &ret);
	rust = cost(parse_rust, text, length, of_rust, nbits, &ret_rust) - rust;
	/* With an error, C leaves in its mask what it has read before. */
	if (ret_c != ret_rust || (!ret_c && !bitmap_equal(of_c, of_rust, nbits)))
		ret = command_fail(&result, -EBADE, "the two differ");
	else
		seq_buf_printf(&result, "c=%llu rust=%llu\n", (u64)c, (u64)rust);
out:
	bitmap_free(of_c);
	bitmap_free(of_rust);
	return ret;
}

static int run_parse(char *line)
{
	char *word = strsep(&line, " ");
	size_t length;
	u32 nbits;
	u8 *text;
	int ret;

	if (kstrtou32(word, 10, &nbits) || !nbits || nbits > BITS_MAX)
		return command_fail(&result, -EINVAL, "use: BITS HEX");
	length = line ? strlen(line) : 0;
	text = kzalloc(length / 2 + 1, GFP_KERNEL);
	if (!text)
		return command_fail(&result, -ENOMEM, "no memory for the list");
	if (length % 2 || hex2bin(text, line, length / 2))
		ret = command_fail(&result, -EINVAL, "use: BITS HEX");
	else
		ret = measure(text, length / 2, nbits);
	kfree(text);
	return ret;
}

static struct command_file kcparse_file = {
	.name = "kcparse",
	.line_max = LINE_MAX_LENGTH,
	.run = run_parse,
	.lock = __MUTEX_INITIALIZER(kcparse_file.lock),
	.result = &result,
};

int kcparse_init(void)
{
	seq_buf_init(&result, result_text, sizeof(result_text));
	return command_file_create(&kcparse_file) ? 0 : -ENOMEM;
}

void kcparse_exit(void)
{
	command_file_remove(&kcparse_file);
}
