// SPDX-License-Identifier: GPL-2.0

//! The parser of CPU lists of the series, in the module: so it is compiled as the kernel is, and
//! can be called on the unpatched kernel as well.

use core::{ffi::c_int, hint::black_box, slice};

#[path = "../../rust/linux/kernel/kthread_cpus/cpulist.rs"]
pub mod cpulist;

use cpulist::{Error, Mask, Reason};
use kernel::error::code::{EINVAL, EOVERFLOW, ERANGE};

/// Calls `parse` as C's `bitmap_parselist()` is called, and returns what that does.
///
/// # Safety
///
/// `text` must have `len` bytes, and `words` must be as many as `nbits` bits take, not used by
/// anything else.
#[inline(always)]
unsafe fn call(
    parse: fn(&[u8], &mut Mask<'_>) -> Result<(), Error>,
    text: *const u8,
    len: usize,
    words: *mut usize,
    nbits: u32,
) -> c_int {
    // SAFETY: By the contract of this function, `text` has `len` bytes, and `words` is as long as
    // is taken here and nobody else's.
    let (text, words) = unsafe {
        (
            slice::from_raw_parts(text, len),
            slice::from_raw_parts_mut(words, (nbits as usize).div_ceil(usize::BITS as usize)),
        )
    };
    let Some(mut mask) = Mask::new(words, nbits) else {
        return EINVAL.to_errno();
    };

    match parse(text, &mut mask) {
        Ok(()) => 0,
        Err(error) => match error.reason {
            Reason::Malformed => EINVAL.to_errno(),
            Reason::OutOfRange => ERANGE.to_errno(),
            Reason::Overflow => EOVERFLOW.to_errno(),
        },
    }
}

/// Parses a list.
///
/// # Safety
///
/// As for [`call`].
#[no_mangle]
pub unsafe extern "C" fn kcparse_rust(
    text: *const u8,
    len: usize,
    words: *mut usize,
    nbits: u32,
) -> c_int {
    // SAFETY: The contract of this function is that of `call`.
    unsafe { call(cpulist::parse, text, len, words, nbits) }
}

/// Does nothing.
#[inline(never)]
fn nothing(_text: &[u8], mask: &mut Mask<'_>) -> Result<(), Error> {
    // The mask must be made.
    black_box(mask);
    Ok(())
}

/// Does what [`kcparse_rust`] does but for parsing, to tell what that is.
///
/// # Safety
///
/// As for [`call`].
#[no_mangle]
pub unsafe extern "C" fn kcparse_nothing(
    text: *const u8,
    len: usize,
    words: *mut usize,
    nbits: u32,
) -> c_int {
    // SAFETY: The contract of this function is that of `call`.
    unsafe { call(nothing, text, len, words, nbits) }
}
