// SPDX-License-Identifier: GPL-2.0

//! Compiles the kernel's `bitmap_parselist()` where it lies, with the flags of the kernel that
//! matter for a program on the host.

use std::{env, fs, path::Path, path::PathBuf, process::Command};

/// The files of the kernel that `bitmap_parselist()` consists of.
const SOURCES: [&str; 5] = [
    "lib/bitmap-str.c",
    "lib/bitmap.c",
    "lib/ctype.c",
    "lib/kstrtox.c",
    "lib/string.c",
];

/// The headers in the place of which there is `shim.h`. All others are the kernel's.
const EMPTY: [&str; 28] = [
    "asm/page.h",
    "asm/rwonce.h",
    "asm/word-at-a-time.h",
    "asm/errno.h",
    "linux/align.h",
    "linux/bitops.h",
    "linux/bits.h",
    "linux/bug.h",
    "linux/cleanup.h",
    "linux/compiler.h",
    "linux/device.h",
    "linux/errno.h",
    "linux/export.h",
    "linux/find.h",
    "linux/hex.h",
    "linux/kernel.h",
    "linux/limits.h",
    "linux/linkage.h",
    "linux/math64.h",
    "linux/minmax.h",
    "linux/mm.h",
    "linux/overflow.h",
    "linux/slab.h",
    "linux/stddef.h",
    "linux/string.h",
    "linux/types.h",
    "linux/uaccess.h",
    "linux/unaligned.h",
];

/// The kernel's flags, as far as they have a say in the code of these files.
const FLAGS: [&str; 15] = [
    "-nostdinc",
    "-O2",
    "-std=gnu11",
    "-fms-extensions",
    "-funsigned-char",
    "-fno-strict-aliasing",
    "-fno-strict-overflow",
    "-fno-delete-null-pointer-checks",
    "-fno-stack-protector",
    "-fomit-frame-pointer",
    "-ftrivial-auto-var-init=zero",
    "-fno-asynchronous-unwind-tables",
    "-falign-functions=16",
    "-falign-loops=1",
    "-w",
];

/// The kernel's source: `$KTHREAD_CPUS_LINUX`, or else what `make source` fetched.
fn linux() -> PathBuf {
    println!("cargo::rerun-if-env-changed=KTHREAD_CPUS_LINUX");
    let fetched = concat!(env!("CARGO_MANIFEST_DIR"), "/../../build/source/linux-7.3");
    let linux = PathBuf::from(env::var_os("KTHREAD_CPUS_LINUX").unwrap_or(fetched.into()));

    assert!(
        linux.join(SOURCES[0]).is_file(),
        "{}: no kernel source (run 'make source', or set KTHREAD_CPUS_LINUX)",
        linux.display()
    );
    linux
}

/// The C compiler: `$KTHREAD_CPUS_CC`, or the clang that is there.
fn compiler() -> String {
    println!("cargo::rerun-if-env-changed=KTHREAD_CPUS_CC");
    if let Ok(compiler) = env::var("KTHREAD_CPUS_CC") {
        return compiler;
    }
    // As in scripts/lib.sh.
    let suffixes = ["-19", "-20", "-21", "-22", "-18", "-17", ""];
    let names = suffixes.map(|suffix| format!("clang{suffix}"));
    let found = names.into_iter().find(|name| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    });

    found.expect("no clang (run 'make setup', or set KTHREAD_CPUS_CC)")
}

fn main() {
    let linux = linux();
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    let include = out.join("include");

    for header in EMPTY {
        let path = include.join(header);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    let mut build = cc::Build::new();
    build
        .compiler(compiler())
        .no_default_flags(true)
        .pic(true)
        .flag("--target=x86_64-linux-gnu")
        .flag("-include")
        .flag(Path::new(env!("CARGO_MANIFEST_DIR")).join("shim.h"))
        .flag("-I")
        .flag(&include)
        .flag("-I")
        .flag(linux.join("include"));
    for flag in FLAGS {
        build.flag(flag);
    }
    // cargo-fuzz sets it. The sanitizer and the counters of libFuzzer then look at C as well.
    if env::var_os("CARGO_CFG_FUZZING").is_some() {
        build.flag("-fsanitize=address,fuzzer-no-link");
    } else {
        // The kernel has no vectors.
        build.flag("-mno-sse").flag("-mno-mmx");
    }
    for source in SOURCES {
        let path = linux.join(source);
        println!("cargo::rerun-if-changed={}", path.display());
        build.file(path);
    }
    for function in STRING {
        build.define(&format!("__HAVE_ARCH_{function}"), None);
    }
    println!("cargo::rerun-if-changed=shim.h");
    build.compile("bitmap_parselist");
}

/// What lib/string.c leaves out where the machine has its own; the host has all of it.
const STRING: [&str; 28] = [
    "STRCASECMP",
    "STRCPY",
    "STRCAT",
    "STRNCAT",
    "STRLCAT",
    "STRCMP",
    "STRNCMP",
    "STRCHR",
    "STRCHRNUL",
    "STRRCHR",
    "STRNCHR",
    "STRLEN",
    "STRNLEN",
    "STRSPN",
    "STRCSPN",
    "STRPBRK",
    "STRSEP",
    "MEMSET",
    "MEMSET16",
    "MEMSET32",
    "MEMSET64",
    "MEMCPY",
    "MEMMOVE",
    "MEMCMP",
    "BCMP",
    "MEMSCAN",
    "STRSTR",
    "MEMCHR",
];
