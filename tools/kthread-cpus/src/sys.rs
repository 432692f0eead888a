// SPDX-License-Identifier: GPL-2.0

//! The system calls that the standard library has not. All unsafe code is here.
#![allow(unsafe_code)]

use std::io;

use crate::cpuset::CpuSet;

/// Returns the time of as many clock ticks as `/proc` counts.
pub fn ticks_to_ns(ticks: u64) -> u64 {
    // SAFETY: It has no requirements.
    let hertz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let hertz = u64::try_from(hertz).ok().filter(|hertz| *hertz != 0);

    ticks.saturating_mul(1_000_000_000 / hertz.unwrap_or(100))
}

/// Lets the process or thread `pid`, 0 for the caller, run on `cpus` only, which may be more than
/// the 1,024 that the C library's type has.
///
/// # Errors
///
/// Those of the system.
pub fn set_affinity(pid: u32, cpus: &CpuSet) -> io::Result<()> {
    let words = cpus.words();

    // SAFETY: The kernel reads as many bytes as the slice has.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setaffinity,
            pid as libc::pid_t,
            size_of_val(words),
            words.as_ptr(),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns the monotonic time, in nanoseconds: the kernel's trace clock `mono` is the same.
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };

    // SAFETY: `time` is a place for the result. It does not fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Lets the process have as many files open as it may, for there is one for each CPU.
pub fn raise_file_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };

    // SAFETY: `limit` is a place for the result, and then the argument. Should it fail, a file that
    // cannot be opened will be said.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}
