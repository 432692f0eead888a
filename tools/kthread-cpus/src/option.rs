// SPDX-License-Identifier: GPL-2.0

//! The value of `kthread_cpus=`: `[flag,...]<cpu-list>`.
//!
//! The list is parsed by the kernel's own parser, for as many CPUs as the kernel is built for, so
//! that numbers of CPUs that a machine has not are no error: the kernel drops them. `N` and `all`
//! mean the CPUs of this machine. The flags are read here, because the program must know them all,
//! whichever kernel it was built with.

use std::fmt;

use kthread_cpus_core::cpulist::{self, Mask, Reason};

use crate::cpuset::CpuSet;

/// The most CPUs that kernels are built for.
pub const NR_CPUS: u32 = 8192;

/// A set of classes of work, each of which has a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classes(u8);

impl Classes {
    /// Kernel threads that are not per-CPU and not bound.
    pub const KTHREAD: Self = Self(1 << 0);
    /// Unbound workqueues, and rescuers.
    pub const WQ: Self = Self(1 << 1);
    /// Usermode helpers.
    pub const UMH: Self = Self(1 << 2);
    /// PID 1.
    pub const INIT: Self = Self(1 << 3);
    /// Interrupts that nobody has placed.
    pub const IRQ: Self = Self(1 << 4);
    /// Timers that are not pinned.
    pub const TIMER: Self = Self(1 << 5);
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All of them, which is what no flag means.
    pub const ALL: Self = Self((1 << Self::FLAGS.len()) - 1);

    const FLAGS: [(&'static str, Self); 6] = [
        ("kthread", Self::KTHREAD),
        ("wq", Self::WQ),
        ("umh", Self::UMH),
        ("init", Self::INIT),
        ("irq", Self::IRQ),
        ("timer", Self::TIMER),
    ];

    fn named(name: &str) -> Option<Self> {
        let mut flags = Self::FLAGS.into_iter();

        flags.find_map(|(flag, class)| (flag == name).then_some(class))
    }

    /// Returns the classes that a kernel says it confines; those of a newer one are left out.
    pub fn from_names(text: &str) -> Self {
        let classes = text.trim().split(',').filter_map(Self::named);

        classes.fold(Self::NONE, Self::or)
    }

    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it has every class of `other`.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The flags, separated by commas.
impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = Self::FLAGS
            .iter()
            .filter(|(_, class)| self.contains(*class));
        let names: Vec<_> = flags.map(|(flag, _)| *flag).collect();

        f.write_str(&names.join(","))
    }
}

/// What is wrong with a value, and at which offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueError {
    reason: &'static str,
    offset: usize,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.reason, self.offset)
    }
}

/// Replaces what stands for the last CPU, and for all of them, with `count` CPUs. Returns for each
/// byte where it comes from, too, and where the text ends.
///
/// What is right beside a digit is left as it is: nowhere may it be there.
fn spell_out(list: &str, count: u32) -> (String, Vec<usize>) {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let mut spelled = String::new();
    let mut origins = Vec::new();
    let mut at = 0;

    while let Some(c) = list[at..].chars().next() {
        let word = match list.get(at..at + 3) {
            Some(word) if word.eq_ignore_ascii_case("all") => word,
            _ => &list[at..at + c.len_utf8()],
        };
        let end = at + word.len();
        let alone = !is_digit(spelled.as_bytes().last()) && !is_digit(list.as_bytes().get(end));
        match word {
            "N" if alone => spelled.push_str(&(count - 1).to_string()),
            _ if alone && word.len() == 3 && c.is_ascii() => {
                spelled.push_str(&format!("0-{}", count - 1));
            }
            _ => spelled.push_str(word),
        }
        origins.resize(spelled.len(), at);
        at = end;
    }
    origins.push(at);
    (spelled, origins)
}

/// Parses a list for `nr_cpus` CPUs, of which `count` may ever be there.
fn parse_list(list: &str, count: u32, nr_cpus: u32) -> Result<CpuSet, cpulist::Error> {
    let nbits = nr_cpus.max(count);
    let mut words = vec![0; (nbits as usize).div_ceil(usize::BITS as usize)];
    let (spelled, origins) = spell_out(list, count);

    if let Some(mut mask) = Mask::new(&mut words, nbits) {
        cpulist::parse(spelled.as_bytes(), &mut mask).map_err(|error| cpulist::Error {
            offset: origins[error.offset],
            ..error
        })?;
    }
    Ok(CpuSet::from_words(words))
}

/// Parses a value for a machine whose last possible CPU is `count - 1`, and a kernel that is built
/// for `nr_cpus`. The CPUs may be others than the machine's, or none at all.
///
/// # Errors
///
/// The first error in the value: the kernel then ignores all of it.
pub fn parse(value: &str, count: u32, nr_cpus: u32) -> Result<(CpuSet, Classes), ValueError> {
    let mut classes = Classes::NONE;
    let mut at = 0;

    loop {
        let rest = &value[at..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic());
        let word = &rest[..letters.unwrap_or(rest.len())];
        if word.is_empty() || word == "N" || word.eq_ignore_ascii_case("all") {
            break;
        }
        let Some(class) = Classes::named(word) else {
            return Err(ValueError {
                reason: "unknown flag",
                offset: at,
            });
        };
        classes = classes.or(class);
        at += word.len();
        match value.as_bytes().get(at) {
            None => break,
            Some(b',') => at += 1,
            Some(_) => {
                return Err(ValueError {
                    reason: "no comma after a flag",
                    offset: at,
                })
            }
        }
    }

    let list = &value[at..];
    let cpus = parse_list(list, count, nr_cpus);
    let cpus = cpus.map_err(|error| ValueError {
        reason: match error.reason {
            Reason::Malformed => "malformed list",
            Reason::OutOfRange => "number of no CPU of this kernel",
            Reason::Overflow => "number too large",
        },
        offset: at + error.offset,
    })?;
    let classes = match classes {
        Classes::NONE => Classes::ALL,
        classes => classes,
    };
    Ok((cpus, classes))
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
        assert_eq!(
            Classes::from_names("wq,more,timer\n").to_string(),
            "wq,timer"
        );
        assert_eq!(Classes::from_names("\n"), Classes::NONE);
    }
}
