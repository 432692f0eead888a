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

use kernel::{
    bindings,
    cpumask::{
        possible,
        sets::{
            CpuSet,
            Shown, //
        },
        words,
        words_mut, //
    },
    fmt,
    prelude::*,
    str::BStr, //
};

use cpulist::Reason;
use option::{
    Classes,
    Verdict, //
};
use policy::Cpus;

const __LOG_PREFIX: &[u8] = b"kthread_cpus\0";

/// Sets `allowed` to where a thread of the kernel may run, see [`policy::effective()`]. With
/// `preferred` NULL there is no preference. Any context.
///
/// # Safety
///
/// * `allowed` must be valid for writing, and nobody else may access it during the call.
/// * `preferred` must be NULL or valid for reading, and the others must be valid for reading. None
///   of them may change during the call.
#[export]
pub unsafe extern "C" fn kthread_cpus_effective(
    allowed: *mut bindings::cpumask,
    preferred: *const bindings::cpumask,
    confined: *const bindings::cpumask,
    housekeeping: *const bindings::cpumask,
    online: *const bindings::cpumask,
) {
    // SAFETY: The caller promises that `allowed` is valid, and ours alone, and that the others are
    // valid, or `preferred` NULL, and do not change.
    unsafe {
        let cpus = Cpus {
            confined: words(confined),
            housekeeping: words(housekeeping),
            online: words(online),
            possible: possible(),
        };

        policy::effective(words_mut(allowed), words(preferred), &cpus, &mut []);
    }
}

/// Sets `cpus` to the list of CPUs that user space has written, the `bytes` bytes of text at
/// `list`, which may end with a newline.
///
/// Returns 0, or -EINVAL, -ERANGE or -EOVERFLOW like `bitmap_parselist()`, with `cpus` as it was.
/// Any context.
///
/// # Safety
///
/// * `list` must be valid for reading `bytes` bytes.
/// * `cpus` must be valid for reading and writing, and nobody else may access it during the call.
#[export]
pub unsafe extern "C" fn kthread_cpus_parse(
    list: *const c_char,
    bytes: usize,
    cpus: *mut bindings::cpumask,
) -> c_int {
    // SAFETY: The caller promises that it is valid for reading, and a `u8` has any value.
    let list = unsafe { core::slice::from_raw_parts(list.cast::<u8>(), bytes) };
    // SAFETY: The caller promises that it is valid, and ours alone.
    let parsed = cpulist::Mask::new(unsafe { words_mut(cpus) }, kernel::cpu::nr_cpu_ids())
        .map(|mut mask| cpulist::parse(list, &mut mask).map_err(|error| error.reason));

    match parsed {
        Some(Ok(())) => 0,
        None | Some(Err(Reason::Malformed)) => EINVAL.to_errno(),
        Some(Err(Reason::OutOfRange)) => ERANGE.to_errno(),
        Some(Err(Reason::Overflow)) => EOVERFLOW.to_errno(),
    }
}

/// Prints the flags of `classes` to `buffer`, as a line. Returns its length, or -ENOSPC if it does
/// not fit. Any context.
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

    match fmt::Write::write_fmt(&mut f, fmt!("{}\n", Classes(classes))) {
        Ok(()) => f.bytes_written() as isize,
        Err(_) => ENOSPC.to_errno() as isize,
    }
}

/// The value of the option as the log shows it: what is not printable is escaped, and of a long one
/// that is shown which is around the offset `at`.
struct Value<'a>(&'a [u8], usize);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A line of the log holds about 1,000 characters, and an escaped byte takes 4.
        const MOST: usize = 128;
        let &Self(value, at) = self;
        let begin = if at < MOST { 0 } else { at - MOST / 4 };
        let end = value.len().min(begin + MOST);
        let dots = |is_cut| if is_cut { "..." } else { "" };

        f.write_fmt(fmt!(
            "\"{}{}{}\"",
            dots(begin > 0),
            BStr::from_bytes(value.get(begin..end).unwrap_or_default()),
            dots(end < value.len())
        ))
    }
}

/// Decides what becomes of the boot option, and says it in the log.
///
/// `value` is what followed `kthread_cpus=` where that was last on the command line, and `times` is
/// how often it was there. Sets `confined` to its CPUs and returns the classes of work it names, as
/// bits of `enum kthread_cpus_class`; or returns 0 if it cannot be obeyed, and then `confined` has
/// no meaning. `scratch` never has.
///
/// Numbers of CPUs that this machine cannot have are allowed, so that machines of different size
/// can have the same command line.
///
/// Called once at boot, after the whole command line was read and the masks of the possible and
/// housekeeping CPUs were set up. Allocates nothing.
///
/// # Safety
///
/// * `value` must be a valid C string, and `housekeeping` valid for reading.
/// * `confined` and `scratch` must be whole `struct cpumask`s that are valid for writing, and not
///   be accessed by others meanwhile.
#[export]
#[link_section = ".init.text"]
pub unsafe extern "C" fn kthread_cpus_obey(
    value: *const c_char,
    times: c_uint,
    confined: *mut bindings::cpumask,
    scratch: *mut bindings::cpumask,
    housekeeping: *const bindings::cpumask,
) -> c_uint {
    // SAFETY: The caller promises that it is a valid C string.
    let value = unsafe { CStr::from_char_ptr(value) }.to_bytes();
    // SAFETY: The caller promises that both are whole, valid for writing, and ours alone.
    let (confined, scratch) = unsafe { (&mut (*confined).bits, &mut (*scratch).bits) };
    // SAFETY: The caller promises that it is valid for reading.
    let (housekeeping, possible) = (unsafe { words(housekeeping) }, possible());
    let nr_cpu_ids = kernel::cpu::nr_cpu_ids();
    let shown = Value(value, 0);

    if times > 1 {
        pr_warn!("given {times} times, the last one wins: {shown}\n");
    }

    let Some(mut mask) = cpulist::Mask::with_cpus(confined, bindings::NR_CPUS, nr_cpu_ids) else {
        return 0;
    };
    let parsed = option::parse(value, &mut mask).map_err(|error| match error {
        option::Error::UnknownFlag(offset) => ("unknown flag", offset),
        option::Error::NoComma(offset) => ("no comma after the flag", offset),
        option::Error::List(error) => match error.reason {
            Reason::Malformed => ("malformed CPU list", error.offset),
            Reason::OutOfRange => ("CPU number too large for this kernel", error.offset),
            Reason::Overflow => ("number does not fit in 32 bits", error.offset),
        },
    });
    let classes = match parsed {
        Ok(classes) => classes,
        Err((reason, at)) => {
            let shown = Value(value, at);
            pr_warn!("ignoring {shown}: {reason} at offset {at}\n");
            return 0;
        }
    };

    let verdict = option::judge(confined, scratch, possible, housekeeping);
    let (list, dropped, allowed) = (Shown(confined), Shown(scratch), Shown(housekeeping));
    match verdict {
        Verdict::Obeyed if scratch.empty() => {}
        Verdict::Obeyed => pr_warn!("dropping CPUs {dropped} of {shown}: they are not possible\n"),
        Verdict::Empty => pr_warn!("ignoring {shown}: there is no CPU in the list\n"),
        Verdict::Impossible => pr_warn!("ignoring {shown}: CPUs {dropped} are not possible\n"),
        Verdict::Isolated => {
            pr_warn!("ignoring {shown}: no CPU of {list} is a housekeeping CPU ({allowed})\n")
        }
    }
    if verdict != Verdict::Obeyed {
        return 0;
    }

    // One line in any case, so that the log shows at a glance what became of the option.
    scratch.assign(confined);
    scratch.exclude(housekeeping);
    let less = match scratch.empty() {
        true => "",
        false => " less isolated ",
    };
    let (list, isolated, all) = (Shown(confined), Shown(scratch), Shown(possible));
    pr_info!("confined {classes} to CPUs {list}{less}{isolated} out of {all}\n");
    classes.0
}

/// Says in the log that the CPUs of the boot option are not what it says: only `cpus` of them have
/// stayed possible, and it is not obeyed if there are none of these; or, if `is_offline`, no CPU of
/// it is online, and `cpus` are used instead.
///
/// `value` is what was passed to [`kthread_cpus_obey`]. Called at boot.
///
/// # Safety
///
/// `value` must be a valid C string, and `cpus` valid for reading.
#[export]
#[link_section = ".init.text"]
pub unsafe extern "C" fn kthread_cpus_lacking(
    value: *const c_char,
    cpus: *const bindings::cpumask,
    is_offline: bool,
) {
    // SAFETY: The caller promises that it is a valid C string.
    let value = Value(unsafe { CStr::from_char_ptr(value) }.to_bytes(), 0);
    // SAFETY: The caller promises that it is valid for reading.
    let cpus = Shown(unsafe { words(cpus) });

    if is_offline {
        pr_warn!("no CPU of {value} is online: using CPUs {cpus} until one is\n");
    } else if cpus.0.empty() {
        pr_warn!("ignoring {value}: none of its CPUs is possible any more\n");
    } else {
        pr_warn!("of {value}, only CPUs {cpus} are possible any more\n");
    }
}
