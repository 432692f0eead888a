// SPDX-License-Identifier: GPL-2.0

//! The parts of the kernel's `kthread_cpus=` that need no kernel: the parser of CPU lists, that of the
//! boot option, the decision where a kernel thread may run, and the registry of the threads.
//!
//! These are the very files that the kernel builds. They are built here to test them on the host, and
//! for tools that must read CPU lists as the kernel does.

#![no_std]
// A panic in the kernel is a crash of the machine.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

extern crate alloc as std_alloc;
// What the kernel crate has for them is here, too.
extern crate self as kernel;

pub mod alloc;

/// What C's headers say.
#[allow(missing_docs, non_upper_case_globals)]
pub mod bindings {
    pub const kthread_cpus_class_KTHREAD_CPUS_KTHREAD: u32 = 1 << 0;
    pub const kthread_cpus_class_KTHREAD_CPUS_WQ: u32 = 1 << 1;
    pub const kthread_cpus_class_KTHREAD_CPUS_UMH: u32 = 1 << 2;
    pub const kthread_cpus_class_KTHREAD_CPUS_INIT: u32 = 1 << 3;
    pub const kthread_cpus_class_KTHREAD_CPUS_IRQ: u32 = 1 << 4;
    pub const kthread_cpus_class_KTHREAD_CPUS_TIMER: u32 = 1 << 5;
}

#[path = "../linux/rust/kernel/cpumask/sets.rs"]
pub mod sets;

/// What the kernel crate has for CPU masks, apart from those of C.
pub mod cpumask {
    pub use crate::sets;
}

/// How things are shown.
pub mod fmt {
    pub use core::fmt::{Display, Formatter, Result};
}

/// What the kernel crate has most users import.
pub mod prelude {
    pub use crate::alloc::{KVVec, KVec, GFP_KERNEL};
}

#[path = "../linux/kernel/kthread_cpus/cpulist.rs"]
pub mod cpulist;
#[path = "../linux/kernel/kthread_cpus/option.rs"]
pub mod option;
#[path = "../linux/kernel/kthread_cpus/policy.rs"]
pub mod policy;
#[path = "../linux/kernel/kthread_cpus/registry.rs"]
pub mod registry;
