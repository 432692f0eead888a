// SPDX-License-Identifier: GPL-2.0

//! The CPUs to which the boot option `kthread_cpus=` confines the kernel's own work.
//!
//! C owns the flow, the masks and their locking; what is decided is decided here.
//!
//! C header: [`include/linux/kthread_cpus.h`](srctree/include/linux/kthread_cpus.h)

pub mod cpulist;
pub mod engine;
#[cfg(CONFIG_KTHREAD_CPUS_KUNIT_TEST)]
mod kunit;
pub mod option;
pub mod policy;
pub mod registry;
pub mod table;

use kernel::{
    bindings,
    cpumask::{
        self,
        Cpumask, //
    },
    fmt,
    prelude::*,
    str::BStr, //
};

use cpulist::Reason;
use option::Classes;
use policy::{
    CpuSet,
    Cpus,
    Level,
    Verdict, //
};

const __LOG_PREFIX: &[u8] = b"kthread_cpus\0";

// The C side tests for the classes by the bits of its enum.
const _: () = {
    assert!(Classes::KTHREAD.bits() == bindings::kthread_cpus_class_KTHREAD_CPUS_KTHREAD);
    assert!(Classes::WQ.bits() == bindings::kthread_cpus_class_KTHREAD_CPUS_WQ);
    assert!(Classes::UMH.bits() == bindings::kthread_cpus_class_KTHREAD_CPUS_UMH);
    assert!(Classes::INIT.bits() == bindings::kthread_cpus_class_KTHREAD_CPUS_INIT);
    assert!(Classes::IRQ.bits() == bindings::kthread_cpus_class_KTHREAD_CPUS_IRQ);
};

impl CpuSet for Cpumask {
    #[inline]
    fn assign(&mut self, other: &Self) {
        other.copy(self);
    }

    #[inline]
    fn assign_and(&mut self, a: &Self, b: &Self) {
        self.and(a, b);
    }

    #[inline]
    fn retain(&mut self, other: &Self) {
        Cpumask::retain(self, other);
    }

    #[inline]
    fn empty(&self) -> bool {
        Cpumask::empty(self)
    }

    #[inline]
    fn is_subset(&self, other: &Self) -> bool {
        self.subset(other)
    }

    #[inline]
    fn intersects(&self, other: &Self) -> bool {
        Cpumask::intersects(self, other)
    }
}

/// Computes where a thread of the kernel may run.
///
/// Sets `allowed` to the first of these that has a CPU in `online`, and to the last if none has:
/// `preferred` & `confined` & `housekeeping`; `confined` & `housekeeping`; `housekeeping`; the
/// possible CPUs. With `preferred` NULL, the first is left out.
///
/// May be called in any context. The masks may change meanwhile, one CPU at a time; the caller sees
/// to it that such a change is followed by another call.
///
/// # Safety
///
/// * `allowed` must be valid for writing, and nobody else may access it during the call.
/// * `preferred` must be NULL or valid for reading.
/// * `confined`, `housekeeping` and `online` must be valid for reading.
#[export]
pub unsafe extern "C" fn kthread_cpus_effective(
    allowed: *mut bindings::cpumask,
    preferred: *const bindings::cpumask,
    confined: *const bindings::cpumask,
    housekeeping: *const bindings::cpumask,
    online: *const bindings::cpumask,
) {
    // SAFETY: The caller promises that it is valid for writing, and not accessed by others.
    let allowed = unsafe { Cpumask::from_raw_mut(allowed) };
    let preferred = if preferred.is_null() {
        None
    } else {
        // SAFETY: The caller promises that it is valid for reading where it is not NULL.
        Some(unsafe { Cpumask::from_raw(preferred) })
    };
    let cpus = Cpus {
        // SAFETY: The caller promises that it is valid for reading.
        confined: unsafe { Cpumask::from_raw(confined) },
        // SAFETY: The caller promises that it is valid for reading.
        housekeeping: unsafe { Cpumask::from_raw(housekeeping) },
        // SAFETY: The caller promises that it is valid for reading.
        online: unsafe { Cpumask::from_raw(online) },
        possible: cpumask::possible_mask(),
    };

    policy::effective(allowed, preferred, &cpus);
}

/// Parses a list of CPUs that user space has written.
///
/// Sets `cpus` to the CPUs of the `length` bytes of text at `list`, which may end with a newline.
///
/// Returns 0, or -EINVAL, -ERANGE or -EOVERFLOW like `bitmap_parselist()`, with `cpus` as it was.
/// Any context.
///
/// # Safety
///
/// * `list` must be valid for reading `length` bytes.
/// * `cpus` must be valid for reading and writing, and nobody else may access it during the call.
#[export]
pub unsafe extern "C" fn kthread_cpus_parse(
    list: *const c_char,
    length: usize,
    cpus: *mut bindings::cpumask,
) -> c_int {
    // SAFETY: The caller promises that it is valid for reading, and a `u8` has any value.
    let list = unsafe { core::slice::from_raw_parts(list.cast::<u8>(), length) };
    // SAFETY: The caller promises that it is valid for writing, and not accessed by others.
    let cpus = unsafe { Cpumask::from_raw_mut(cpus) };

    let words = cpus.as_mut_bitmap().as_mut_words();
    let parsed = match cpulist::Mask::new(words, kernel::cpu::nr_cpu_ids()) {
        Some(mut mask) => cpulist::parse(list, &mut mask),
        None => return EINVAL.to_errno(),
    };

    match parsed.map_err(|error| error.reason) {
        Ok(()) => 0,
        Err(Reason::Malformed) => EINVAL.to_errno(),
        Err(Reason::OutOfRange) => ERANGE.to_errno(),
        Err(Reason::Overflow) => EOVERFLOW.to_errno(),
    }
}

/// Prints the flags of `classes` to `buffer`, as a line.
///
/// Returns its length, or -ENOSPC if it does not fit. Any context.
///
/// # Safety
///
/// `buffer` must be valid for writing `size` bytes.
#[export]
pub unsafe extern "C" fn kthread_cpus_print_classes(
    classes: c_uint,
    buffer: *mut c_char,
    size: usize,
) -> isize {
    // SAFETY: The caller promises that it is valid for writing, and a `u8` has any value.
    let buffer = unsafe { core::slice::from_raw_parts_mut(buffer.cast::<u8>(), size) };
    let mut f = kernel::str::Formatter::new(buffer);

    match fmt::Write::write_fmt(&mut f, format_args!("{}\n", Classes::from_bits(classes))) {
        Ok(()) => f.bytes_written() as isize,
        Err(_) => ENOSPC.to_errno() as isize,
    }
}

/// Decides what becomes of the boot option, and says it in the log.
///
/// `value` is what followed `kthread_cpus=` where that was last on the command line, and `times` is
/// how often it was there. If it can be obeyed, `confined` is set to its CPUs, and the classes of
/// work that it names are returned as bits of `enum kthread_cpus_class`. Otherwise 0 is returned,
/// and `confined` has no meaning. `scratch` has no meaning after the call.
///
/// Called once at boot, after the whole command line was read and the masks of the possible and
/// housekeeping CPUs were set up. Allocates nothing.
///
/// # Safety
///
/// * `value` must be a valid C string.
/// * `confined` and `scratch` must be valid for writing, and nobody else may access them during the
///   call.
/// * `housekeeping` must be valid for reading.
#[export]
#[link_section = ".init.text"]
#[inline(never)]
pub unsafe extern "C" fn kthread_cpus_obey(
    value: *const c_char,
    times: c_uint,
    confined: *mut bindings::cpumask,
    scratch: *mut bindings::cpumask,
    housekeeping: *const bindings::cpumask,
) -> c_uint {
    // SAFETY: The caller promises that it is a valid C string.
    let value = unsafe { CStr::from_char_ptr(value) };
    // SAFETY: The caller promises that it is valid for writing, and not accessed by others.
    let confined = unsafe { Cpumask::from_raw_mut(confined) };
    // SAFETY: The caller promises that it is valid for writing, and not accessed by others.
    let scratch = unsafe { Cpumask::from_raw_mut(scratch) };
    // SAFETY: The caller promises that it is valid for reading.
    let housekeeping = unsafe { Cpumask::from_raw(housekeeping) };

    obey(value.to_bytes(), times, confined, scratch, housekeeping)
        .map_or(0, |classes| classes.bits())
}

/// The value of the option as it is shown in the log: what is not printable is escaped, and what
/// would not fit in a line is left out.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A line of the log holds about 1,000 characters, and an escaped byte takes 4.
        const MOST: usize = 200;

        match self.0.get(..MOST) {
            Some(begin) if begin.len() < self.0.len() => {
                fmt::Display::fmt(BStr::from_bytes(begin), f)?;
                f.write_str("...")
            }
            _ => fmt::Display::fmt(BStr::from_bytes(self.0), f),
        }
    }
}

/// The safe part of [`kthread_cpus_obey`]: returns the classes that are confined, if any.
fn obey(
    value: &[u8],
    times: u32,
    confined: &mut Cpumask,
    scratch: &mut Cpumask,
    housekeeping: &Cpumask,
) -> Option<Classes> {
    let shown = Shown(value);
    let nr_cpu_ids = kernel::cpu::nr_cpu_ids();

    if times > 1 {
        pr_warn!("given {times} times, the last one wins: \"{shown}\"\n");
    }

    let mut mask = cpulist::Mask::new(confined.as_mut_bitmap().as_mut_words(), nr_cpu_ids)?;
    let (reason, offset) = match option::parse(value, &mut mask) {
        Ok(classes) => return judge(shown, classes, confined, scratch, housekeeping),
        Err(option::Error::UnknownFlag(offset)) => ("unknown flag", offset),
        Err(option::Error::NoComma(offset)) => ("no comma after the flag", offset),
        Err(option::Error::List(error)) => (
            match error.reason {
                Reason::Malformed => "malformed CPU list",
                Reason::OutOfRange => "CPU number too large",
                Reason::Overflow => "number does not fit in 32 bits",
            },
            error.offset,
        ),
    };
    let last = nr_cpu_ids - 1;

    pr_warn!("ignoring \"{shown}\": {reason} at offset {offset} (the last CPU is {last})\n");
    None
}

/// The part of [`obey`] that depends on the CPUs that there are, for a well-formed list.
fn judge(
    shown: Shown<'_>,
    classes: Classes,
    confined: &mut Cpumask,
    scratch: &mut Cpumask,
    housekeeping: &Cpumask,
) -> Option<Classes> {
    let possible = cpumask::possible_mask();

    let impossible = match policy::judge(confined, housekeeping, possible, scratch) {
        Verdict::Empty => {
            pr_warn!("ignoring \"{shown}\": there is no CPU in the list\n");
            return None;
        }
        Verdict::NoHousekeeping => {
            let list = &*confined;
            pr_warn!(
                "ignoring \"{shown}\": no CPU of {list} is a housekeeping CPU ({housekeeping})\n"
            );
            return None;
        }
        Verdict::Obeyed { impossible } => impossible,
    };

    if impossible {
        scratch.andnot(confined, possible);
        confined.retain(possible);
        let dropped = &*scratch;
        pr_warn!("dropping CPUs {dropped} of \"{shown}\": they are not possible\n");
    }

    // One line either way, so that the log shows at a glance what became of the option.
    let isolated = scratch.andnot(confined, housekeeping);
    let (list, scratch) = (&*confined, &*scratch);
    if isolated {
        pr_info!(
            "confined {} to CPUs {list} less isolated {scratch} out of {possible}\n",
            format_args!("{classes}")
        );
    } else {
        pr_info!(
            "confined {} to CPUs {list} out of {possible}\n",
            format_args!("{classes}")
        );
    }
    Some(classes)
}

/// Says in the log where the work will be if none of the CPUs to which the boot option confines it
/// is present yet.
///
/// `value` is what was passed to [`kthread_cpus_obey`], and `confined` what that has set. `scratch`
/// has no meaning after the call.
///
/// Called once at boot, after `smp_prepare_cpus()`: not before do all architectures know which CPUs
/// are present. Allocates nothing.
///
/// # Safety
///
/// * `value` must be a valid C string.
/// * `confined` and `housekeeping` must be valid for reading.
/// * `scratch` must be valid for writing, and nobody else may access it during the call.
#[export]
#[link_section = ".init.text"]
#[inline(never)]
pub unsafe extern "C" fn kthread_cpus_check_present(
    value: *const c_char,
    confined: *const bindings::cpumask,
    scratch: *mut bindings::cpumask,
    housekeeping: *const bindings::cpumask,
) {
    // SAFETY: The caller promises that it is a valid C string.
    let shown = Shown(unsafe { CStr::from_char_ptr(value) }.to_bytes());
    // SAFETY: The caller promises that it is valid for writing, and not accessed by others.
    let scratch = unsafe { Cpumask::from_raw_mut(scratch) };
    let cpus = Cpus {
        // SAFETY: The caller promises that it is valid for reading.
        confined: unsafe { Cpumask::from_raw(confined) },
        // SAFETY: The caller promises that it is valid for reading.
        housekeeping: unsafe { Cpumask::from_raw(housekeeping) },
        // Those that are present and not online are brought up next, or may be at any time.
        online: cpumask::present_mask(),
        possible: cpumask::possible_mask(),
    };

    if policy::effective(scratch, None, &cpus) != Level::Confined {
        let scratch = &*scratch;
        pr_warn!(
            "no CPU of \"{shown}\" is present yet: using CPUs {scratch} until one is online\n"
        );
    }
}
