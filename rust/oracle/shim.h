/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel's lib/bitmap-str.c and the files that it calls expect of the kernel's headers, for
 * a program on the host. build.rs puts this before each of them, and an empty file in the place of
 * each header that is not taken as it is.
 *
 * Nothing here has a part in bitmap_parselist() but types, constants and names. The functions that
 * others in these files call are missing on the host: a call of them ends the program.
 */
#ifndef KTHREAD_CPUS_SHIM_H
#define KTHREAD_CPUS_SHIM_H

#define CONFIG_64BIT 1
#define CONFIG_CC_HAS_BUILTIN_FFS 1
#define BITS_PER_LONG 64
#define BITS_PER_LONG_LONG 64
#define BITS_PER_BYTE 8

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef u16 uint16_t;
typedef u32 uint32_t;
typedef u64 uint64_t;
typedef int s32;
typedef long long s64;
typedef signed char s8;
typedef short s16;
typedef unsigned long size_t;
typedef long ssize_t;
typedef long ptrdiff_t;
typedef long long loff_t;
typedef unsigned int gfp_t;
typedef _Bool bool;
typedef unsigned long uintptr_t;

#define true 1
#define false 0
#define NULL ((void *)0)

#define __user
#define __percpu
#define __iomem
#define __force
#define __must_check __attribute__((__warn_unused_result__))
#define __always_inline inline __attribute__((__always_inline__))
#define noinline __attribute__((__noinline__))
#define __cold __attribute__((__cold__))
#define __pure __attribute__((__pure__))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define __builtin_missing(type) ({ __builtin_trap(); (type)0; })

#define EXPORT_SYMBOL(symbol)
#define EXPORT_SYMBOL_GPL(symbol)
#define BUILD_BUG_ON(condition) _Static_assert(!(condition), #condition)
#define DEFINE_FREE(name, type, free)
#define fallthrough __attribute__((__fallthrough__))
#define offsetof(type, member) __builtin_offsetof(type, member)

#define INT_MAX __INT_MAX__
#define UINT_MAX (~0U)
#define LONG_MAX __LONG_MAX__
#define ULONG_MAX (~0UL)
#define ULLONG_MAX (~0ULL)

#define E2BIG 7
#define ENOMEM 12
#define EFAULT 14
#define EBUSY 16
#define EINVAL 22
#define ERANGE 34
#define EOVERFLOW 75

/* Of the same type in all the places where these files use them. */
#define min(x, y) ({ typeof(x) _x = (x); typeof(y) _y = (y); _x < _y ? _x : _y; })
#define max(x, y) ({ typeof(x) _x = (x); typeof(y) _y = (y); _x > _y ? _x : _y; })
#define swap(a, b) do { typeof(a) _t = (a); (a) = (b); (b) = _t; } while (0)

#define div_u64(a, b) ((u64)(a) / (u32)(b))

#define check_add_overflow(a, b, d) unlikely(__builtin_add_overflow(a, b, d))
#define check_mul_overflow(a, b, d) unlikely(__builtin_mul_overflow(a, b, d))

#define __ALIGN_MASK(x, mask) (((x) + (mask)) & ~(mask))
#define ALIGN(x, a) __ALIGN_MASK(x, (typeof(x))(a) - 1)
#define IS_ALIGNED(x, a) (((x) & ((typeof(x))(a) - 1)) == 0)
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
#define BITS_TO_LONGS(nr) DIV_ROUND_UP(nr, BITS_PER_LONG)
#define BITS_TO_U32(nr) DIV_ROUND_UP(nr, 32)
#define BIT(nr) (1UL << (nr))
#define BIT_MASK(nr) (1UL << ((nr) % BITS_PER_LONG))
#define BIT_WORD(nr) ((nr) / BITS_PER_LONG)
#define GENMASK(h, l) ((~0UL << (l)) & (~0UL >> (BITS_PER_LONG - 1 - (h))))
#define small_const_nbits(nbits) \
	(__builtin_constant_p(nbits) && (nbits) <= BITS_PER_LONG && (nbits) > 0)

void *memset(void *s, int c, size_t n);
void *memcpy(void *dest, const void *src, size_t n);
void *memmove(void *dest, const void *src, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);

/* lib/string.c has these without a condition around them, and the host has others of its own. */
#define strncasecmp kernel_strncasecmp
#define stpcpy kernel_stpcpy
int strncasecmp(const char *s1, const char *s2, size_t n);
char *strnchrnul(const char *s, size_t count, int c);

/* The rest is what other functions of these files call. */
#define GFP_KERNEL 0
#define GFP_USER 0
#define __GFP_ZERO 0
#define memdup_user_nul(p, n) __builtin_missing(char *)
#define kasprintf(...) __builtin_missing(void *)
#define scnprintf(...) __builtin_missing(int)
#define PAGE_SIZE 4096
#define offset_in_page(p) __builtin_missing(unsigned long)
#define memory_read_from_buffer(...) __builtin_missing(ssize_t)
#define copy_from_user(...) __builtin_missing(size_t)
#define kmalloc_array(...) __builtin_missing(void *)
#define kmalloc_array_node(...) __builtin_missing(void *)
#define devm_add_action_or_reset(...) __builtin_missing(int)
#define kfree(p) __builtin_trap()
#define hex_to_bin(c) __builtin_missing(int)
#define hweight_long(w) __builtin_popcountl(w)
#define set_bit(nr, addr) __builtin_trap()
#define __set_bit(nr, addr) __builtin_trap()
#define __clear_bit(nr, addr) __builtin_trap()
#define __assign_bit(nr, addr, value) __builtin_trap()
#define assign_bit(nr, addr, value) __builtin_trap()
#define test_bit(nr, addr) __builtin_missing(bool)
#define find_next_bit(...) __builtin_missing(unsigned long)
#define find_next_zero_bit(...) __builtin_missing(unsigned long)
#define find_first_bit(...) __builtin_missing(unsigned long)
#define find_first_zero_bit(...) __builtin_missing(unsigned long)
#define find_last_bit(...) __builtin_missing(unsigned long)
#define find_nth_bit(...) __builtin_missing(unsigned long)
#define for_each_set_bit(bit, addr, size) for (bit = 0; __builtin_missing(int);)
#define for_each_clear_bit_from(bit, addr, size) for (; __builtin_missing(int);)
#define round_down(x, y) __builtin_missing(unsigned long)
#define int_pow(...) __builtin_missing(u64)
#define IS_ENABLED(option) 0
#define WARN_ON_ONCE(condition) (condition)
#define WORD_AT_A_TIME_CONSTANTS { 0 }
#define read_word_at_a_time(...) __builtin_missing(unsigned long)
#define has_zero(...) __builtin_missing(unsigned long)
#define prep_zero_mask(...) __builtin_missing(unsigned long)
#define create_zero_mask(...) __builtin_missing(unsigned long)
#define zero_bytemask(...) __builtin_missing(unsigned long)
#define find_zero(...) __builtin_missing(unsigned long)
struct word_at_a_time { int none; };

#endif
