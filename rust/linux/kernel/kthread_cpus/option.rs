// SPDX-License-Identifier: GPL-2.0

//! The boot option `kthread_cpus=[flag,...]<cpu-list>`: its grammar, and what becomes of its list.

use kernel::{
    bindings,
    fmt, //
};

use super::{
    cpulist,
    policy::CpuSet, //
};

/// A set of classes of work, each of which has a flag in the boot option.
///
/// The bits are those of `enum kthread_cpus_class` in `include/linux/kthread_cpus.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classes(u32);

impl Classes {
    /// Managed kthreads.
    pub const KTHREAD: Self = Self(bindings::kthread_cpus_class_KTHREAD_CPUS_KTHREAD);
    /// Unbound and ordered workqueues, and rescuers.
    pub const WQ: Self = Self(bindings::kthread_cpus_class_KTHREAD_CPUS_WQ);
    /// Usermode helpers.
    pub const UMH: Self = Self(bindings::kthread_cpus_class_KTHREAD_CPUS_UMH);
    /// PID 1.
    pub const INIT: Self = Self(bindings::kthread_cpus_class_KTHREAD_CPUS_INIT);
    /// Interrupts that nobody has placed.
    pub const IRQ: Self = Self(bindings::kthread_cpus_class_KTHREAD_CPUS_IRQ);
    /// Timers that are handled for other CPUs.
    pub const TIMER: Self = Self(bindings::kthread_cpus_class_KTHREAD_CPUS_TIMER);

    /// Every class, with its flag.
    pub const FLAGS: &'static [(&'static str, Self)] = &[
        ("kthread", Self::KTHREAD),
        ("wq", Self::WQ),
        ("umh", Self::UMH),
        ("init", Self::INIT),
        ("irq", Self::IRQ),
        ("timer", Self::TIMER),
    ];

    const ALL: Self = Self((1 << Self::FLAGS.len()) - 1);

    /// The classes of `bits`; those that stand for none are dropped.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// The bits, one for each class.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether it has every class of `other`.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The flags, separated by commas as in the boot option.
impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";

        for &(flag, class) in Self::FLAGS {
            if self.contains(class) {
                f.write_str(comma)?;
                f.write_str(flag)?;
                comma = ",";
            }
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
    let mut at = 0;

    while let Some(rest) = value.get(at..) {
        let letters = rest.iter().take_while(|byte| byte.is_ascii_alphabetic());
        let (word, after) = rest.split_at(letters.count());

        if word.is_empty() || word == b"N" || word.eq_ignore_ascii_case(b"all") {
            break;
        }

        let found = Classes::FLAGS.iter().find(|flag| flag.0.as_bytes() == word);
        let &(_, class) = found.ok_or(Error::UnknownFlag(at))?;
        set |= class.bits();
        at += word.len();
        match after {
            [] => break,
            [b',', ..] => at += 1,
            _ => return Err(Error::NoComma(at)),
        }
    }

    cpulist::parse(value.get(at..).unwrap_or(&[]), mask).map_err(|mut error| {
        error.offset += at;
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
    let is_empty = confined.empty();

    dropped.assign(confined);
    dropped.exclude(possible);
    confined.exclude(dropped);
    if is_empty {
        Verdict::Empty
    } else if confined.empty() {
        Verdict::Impossible
    } else if confined.intersects(housekeeping) {
        Verdict::Obeyed
    } else {
        Verdict::Isolated
    }
}

/// The CPUs of a mask as a list for the log, such as `0-3,8`, of which not all are shown if there
/// are many ranges: a line of the log ends after about 1,000 bytes.
pub struct Shown<'a>(pub &'a [usize]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const RANGES: usize = 16;
        let cpus = self.0.len() * usize::BITS as usize;
        let (mut from, mut ranges) = (0, 0);

        while let Some(first) = (from..cpus).find(|cpu| self.0.has(*cpu)) {
            let comma = if ranges == 0 { "" } else { "," };

            if ranges == RANGES {
                return f.write_str(",...");
            }
            from = (first..cpus).find(|cpu| !self.0.has(*cpu)).unwrap_or(cpus);
            match from - first {
                1 => write!(f, "{comma}{first}")?,
                _ => write!(f, "{comma}{first}-{}", from - 1)?,
            }
            ranges += 1;
        }
        Ok(())
    }
}
