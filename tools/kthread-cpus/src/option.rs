// SPDX-License-Identifier: GPL-2.0

//! The value of `kthread_cpus=`: `[flag,...]<cpu-list>`.
//!
//! The list is parsed by the kernel's own parser, for the largest kernel there is, so that numbers
//! of CPUs that a machine has not are no error: the kernel drops them. `N` and `all` mean the
//! CPUs of this machine. The flags are read here, because the program must know them all,
//! whichever kernel it was built with.

use std::fmt;

use kthread_cpus_core::cpulist::{self, Mask, Reason};

use crate::cpuset::CpuSet;

/// The most CPUs that kernels are built for.
const NR_CPUS: u32 = 8192;

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

/// Replaces what stands for the last CPU, and for all of them, with `count` CPUs.
///
/// A letter right behind a digit is left as it is: hardly anywhere may one be there.
fn spell_out(list: &str, count: u32) -> String {
    let last = count - 1;
    let mut spelled = String::new();
    let mut rest = list;

    while let Some(c) = rest.chars().next() {
        let after_digit = spelled.ends_with(|c: char| c.is_ascii_digit());
        let all = rest
            .get(..3)
            .is_some_and(|word| word.eq_ignore_ascii_case("all"));
        if all && !after_digit {
            spelled.push_str(&format!("0-{last}"));
            rest = &rest[3..];
            continue;
        }
        match c {
            'N' if !after_digit => spelled.push_str(&last.to_string()),
            c => spelled.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    spelled
}

fn parse_list(list: &str, nbits: u32) -> Result<CpuSet, cpulist::Error> {
    let mut words = vec![0; (nbits as usize).div_ceil(usize::BITS as usize)];

    if let Some(mut mask) = Mask::new(&mut words, nbits) {
        cpulist::parse(list.as_bytes(), &mut mask)?;
    }
    Ok(CpuSet::from_words(words))
}

/// Parses a value for a machine whose last possible CPU is `count - 1`. The CPUs may be others
/// than the machine's, or none at all.
///
/// # Errors
///
/// The first error in the value: the kernel then ignores all of it.
pub fn parse(value: &str, count: u32) -> Result<(CpuSet, Classes), ValueError> {
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
    let cpus = match parse_list(list, count) {
        Err(error) if error.reason == Reason::OutOfRange => {
            parse_list(&spell_out(list, count), NR_CPUS.max(count)).map_err(|_| error)
        }
        result => result,
    };
    let cpus = cpus.map_err(|error| ValueError {
        reason: match error.reason {
            Reason::Malformed => "malformed list",
            Reason::OutOfRange => "number of no CPU of any kernel",
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
        let (cpus, classes) = parse(value, 8).unwrap();

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
        ] {
            if value == "8-N,100" {
                // The range ends before it begins.
                assert!(parse(value, 8).is_err());
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
            ("0,99999", "number of no CPU of any kernel at offset 2"),
            ("0,99999999999", "number too large at offset 2"),
        ] {
            assert_eq!(parse(value, 8).unwrap_err().to_string(), error, "{value}");
        }
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
