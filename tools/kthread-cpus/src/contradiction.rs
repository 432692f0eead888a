// SPDX-License-Identifier: GPL-2.0

//! What cannot both be had: on a command line that is there, and in one that is to be made.

use serde::Serialize;

/// Two things that cannot both be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contradiction {
    /// Its name, always the same for the same kind.
    pub name: &'static str,
    /// What it is, and what to do.
    pub text: String,
}

/// Returns a contradiction.
pub fn contradiction(name: &'static str, text: String) -> Contradiction {
    Contradiction { name, text }
}

/// The boot CPU keeps the time, which needs a tick; `remedy` says what to do.
pub fn boot_cpu_without_tick(boot: u32, remedy: &str) -> Contradiction {
    contradiction(
        "boot-cpu",
        format!(
            "CPU {boot} boots the machine and keeps the time, so that it cannot be in nohz_full=; {remedy}"
        ),
    )
}

/// Says what contradicts what, a line each.
pub fn complain(wrong: &[Contradiction]) {
    for Contradiction { name, text } in wrong {
        eprintln!("kthread-cpus: {name}: {text}");
    }
}
