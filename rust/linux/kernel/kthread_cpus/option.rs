// SPDX-License-Identifier: GPL-2.0

//! The boot option `kthread_cpus=[flag,...]<cpu-list>`: its grammar, and what becomes of its list.

use kernel::{
    bindings,
    cpumask::sets::CpuSet,
    fmt, //
};

use super::cpulist;

/// A set of classes of work: bits of `enum kthread_cpus_class` in `include/linux/kthread_cpus.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classes(pub u32);

impl Classes {
    /// Every class, with its flag in the boot option.
    pub const FLAGS: &'static [(&'static str, u32)] = &[
        ("kthread", bindings::kthread_cpus_class_KTHREAD_CPUS_KTHREAD),
        ("wq", bindings::kthread_cpus_class_KTHREAD_CPUS_WQ),
        ("umh", bindings::kthread_cpus_class_KTHREAD_CPUS_UMH),
        ("init", bindings::kthread_cpus_class_KTHREAD_CPUS_INIT),
        ("irq", bindings::kthread_cpus_class_KTHREAD_CPUS_IRQ),
        ("timer", bindings::kthread_cpus_class_KTHREAD_CPUS_TIMER),
    ];

    /// All of them, which is what no flag means.
    pub const ALL: Self = Self((1 << Self::FLAGS.len()) - 1);
}

/// The flags, separated by commas as in the boot option.
impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";

        for (flag, _) in Self::FLAGS.iter().filter(|flag| self.0 & flag.1 != 0) {
            f.write_str(comma)?;
            f.write_str(flag)?;
            comma = ",";
        }
        Ok(())
    }
}

/// What is wrong with a value of the option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A word before the list is no flag. It begins at this offset.
    UnknownFlag(usize),
    /// No comma follows the flag that ends at this offset.
    NoComma(usize),
    /// The list is wrong. The offset in it counts from the beginning of the value.
    List(cpulist::Error),
}

/// Parses `value`, all that follows `kthread_cpus=`: sets `mask` to the CPUs of its list, and
/// returns the classes of its flags, which are all classes when it has no flag.
///
/// The list begins where no letters are, or at `N` or `all`. After flags it may be missing, which
/// is the same as an empty list.
///
/// # Errors
///
/// The first error in `value`, with `mask` as it was.
pub fn parse(value: &[u8], mask: &mut cpulist::Mask<'_>) -> Result<Classes, Error> {
    let mut set = 0;
    let mut rest = value;

    loop {
        let letters = rest.iter().take_while(|byte| byte.is_ascii_alphabetic());
        let (word, after) = rest.split_at(letters.count());
        let at = value.len() - rest.len();

        if word.is_empty() || word == b"N" || word.eq_ignore_ascii_case(b"all") {
            break;
        }

        let found = Classes::FLAGS.iter().find(|flag| flag.0.as_bytes() == word);
        set |= found.ok_or(Error::UnknownFlag(at))?.1;
        rest = match after {
            [b',', list @ ..] => list,
            [] => after,
            _ => return Err(Error::NoComma(at + word.len())),
        };
    }

    cpulist::parse(rest, mask).map_err(|mut error| {
        error.offset += value.len() - rest.len();
        Error::List(error)
    })?;
    Ok(if set == 0 { Classes::ALL } else { Classes(set) })
}

/// What becomes of a list that is well-formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Work is confined to the CPUs that are left of it.
    Obeyed,
    /// There is no CPU in it.
    Empty,
    /// No CPU of it is possible.
    Impossible,
    /// No possible CPU of it is a housekeeping CPU.
    Isolated,
}

/// Judges the list `confined`: takes what is not `possible` out of it, and sets `dropped` to that.
///
/// Masks may be shorter than `confined` and then have no CPU behind their end.
pub fn judge(
    confined: &mut [usize],
    dropped: &mut [usize],
    possible: &[usize],
    housekeeping: &[usize],
) -> Verdict {
    dropped.assign(confined);
    dropped.exclude(possible);
    confined.exclude(dropped);
    if confined.intersects(housekeeping) {
        Verdict::Obeyed
    } else if !confined.empty() {
        Verdict::Isolated
    } else if !dropped.empty() {
        Verdict::Impossible
    } else {
        Verdict::Empty
    }
}
