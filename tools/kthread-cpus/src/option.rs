// SPDX-License-Identifier: GPL-2.0

//! The value of `kthread_cpus=`: `[flag,...]<cpu-list>`.
//!
//! It is parsed by the kernel's own parser, for as many CPUs as the kernel is built for, so that
//! numbers of CPUs that a machine has not are no error: the kernel drops them. `N` and `all` mean the
//! CPUs of this machine.

use std::fmt;

pub use kthread_cpus_core::option::Classes;
use kthread_cpus_core::{
    bindings,
    cpulist::{Mask, Reason},
    option::{self, Error},
};

use crate::cpuset::CpuSet;

/// The most CPUs that kernels are built for.
pub const NR_CPUS: u32 = 8192;

/// None of the classes.
pub const NONE: Classes = Classes(0);
/// Managed kthreads.
pub const KTHREAD: Classes = Classes(bindings::kthread_cpus_class_KTHREAD_CPUS_KTHREAD);
/// Unbound and ordered workqueues, and rescuers.
pub const WQ: Classes = Classes(bindings::kthread_cpus_class_KTHREAD_CPUS_WQ);

/// Whether `classes` has every class of `others`.
pub fn contains(classes: Classes, others: Classes) -> bool {
    classes.0 & others.0 == others.0
}

/// Returns the classes that a kernel says it confines; those of a newer one are left out.
pub fn from_names(text: &str) -> Classes {
    let names: Vec<_> = text.trim().split(',').collect();
    let flags = Classes::FLAGS
        .iter()
        .filter(|(flag, _)| names.contains(flag));

    Classes(flags.fold(0, |bits, (_, class)| bits | class))
}

/// What is wrong with a value, and at which offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueError(Error);

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reason, offset) = match self.0 {
            Error::UnknownFlag(offset) => ("unknown flag", offset),
            Error::NoComma(offset) => ("no comma after a flag", offset),
            Error::List(error) => match error.reason {
                Reason::Malformed => ("malformed list", error.offset),
                Reason::OutOfRange => ("number of no CPU of this kernel", error.offset),
                Reason::Overflow => ("number too large", error.offset),
            },
        };

        write!(f, "{reason} at offset {offset}")
    }
}

/// Parses a value for a machine whose last possible CPU is `count - 1`, and a kernel that is built
/// for `nr_cpus`. The CPUs may be others than the machine's, or none at all.
///
/// # Errors
///
/// The first error in the value: the kernel then ignores all of it.
pub fn parse(value: &str, count: u32, nr_cpus: u32) -> Result<(CpuSet, Classes), ValueError> {
    let nbits = nr_cpus.max(count);
    let mut words = vec![0; (nbits as usize).div_ceil(usize::BITS as usize)];
    let Some(mut mask) = Mask::with_cpus(&mut words, nbits, count.max(1)) else {
        return Ok((CpuSet::new(), Classes::ALL));
    };

    let classes = option::parse(value.as_bytes(), &mut mask).map_err(ValueError)?;
    Ok((CpuSet::from_words(words), classes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &str) -> (String, String) {
        let (cpus, classes) = parse(value, 8, NR_CPUS).unwrap();

        (cpus.to_string(), classes.to_string())
    }

    #[test]
    fn flags_and_lists() {
        let all = "kthread,wq,umh,init,irq,timer";

        for (value, cpus, classes) in [
            ("0-1", "0-1", all),
            ("", "", all),
            ("timer,0", "0", "timer"),
            ("wq,kthread,N", "7", "kthread,wq"),
            ("wq", "", "wq"),
            ("all", "0-7", all),
            ("irq,ALL", "0-7", "irq"),
            // There are no more than 8, and yet it is no error.
            ("0-1,9", "0-1,9", all),
            ("8-N,100", "", all),
            ("0-31:2/16,N", "0-1,7,16-17", all),
            ("all:1/2,0-N:1/4,N-N", "0,2,4,6-7", all),
        ] {
            if value == "8-N,100" {
                // The range ends before it begins.
                assert!(parse(value, 8, NR_CPUS).is_err());
                continue;
            }
            assert_eq!(
                parsed(value),
                (cpus.to_owned(), classes.to_owned()),
                "{value}"
            );
        }
    }

    #[test]
    fn errors_say_where() {
        for (value, error) in [
            ("0-1,x", "malformed list at offset 4"),
            ("no,0", "unknown flag at offset 0"),
            ("wq,tick,0", "unknown flag at offset 3"),
            ("wq:0", "no comma after a flag at offset 2"),
            ("0,99999", "number of no CPU of this kernel at offset 2"),
            ("0,99999999999", "number too large at offset 2"),
            // Where it is in what was written, not in what that stands for.
            ("wq,all,N,9,x", "malformed list at offset 11"),
            ("all-3", "malformed list at offset 3"),
            ("N1", "malformed list at offset 1"),
            ("1N,all2", "malformed list at offset 1"),
            ("2-N,0-", "malformed list at offset 6"),
        ] {
            assert_eq!(
                parse(value, 8, NR_CPUS).unwrap_err().to_string(),
                error,
                "{value}"
            );
        }
    }

    #[test]
    fn a_kernel_for_few_cpus() {
        assert_eq!(parse("0,63", 8, 64).unwrap().0.to_string(), "0,63");
        assert_eq!(
            parse("0,64", 8, 64).unwrap_err().to_string(),
            "number of no CPU of this kernel at offset 2"
        );
    }

    #[test]
    fn classes_of_a_newer_kernel_are_left_out() {
        assert_eq!(from_names("wq,more,timer\n").to_string(), "wq,timer");
        assert_eq!(from_names("\n"), NONE);
    }
}
