// SPDX-License-Identifier: GPL-2.0

//! The books, as root can read them: the file `kthread_cpus/entries` in debugfs.
//!
//! What is read at once is of one moment, as it is printed under the lock of the books. It goes to
//! the buffer of a `seq_file`, which has been allocated before. Is that too small, then everything
//! is printed again to a larger one, with the lock given up in between.

use kernel::{
    bindings,
    cpumask::{
        self,
        Cpumask, //
    },
    debugfs::{
        Scope,
        Writer, //
    },
    fmt,
    prelude::*,
    str::BStr,
    sync::SetOnce, //
};

use core::convert::Infallible;

use super::{
    books::{
        Books,
        EntryView,
        List,
        Preference,
        StrayView, //
    },
    engine::{
        self,
        Member,
        Ring, //
    },
    option::Classes,
    policy::Level,
};

/// What the file belongs to. The books are elsewhere, and stay.
struct Report;

/// The file stays as well: nobody removes what is not a module.
static REPORT: SetOnce<Pin<KBox<Scope<Report>>>> = SetOnce::new();

/// Creates the file. Without debugfs there is none.
///
/// Returns 0 or -ENOMEM. May sleep.
///
/// # Safety
///
/// [`engine::kthread_books_setup`] must have been called.
#[export]
pub unsafe extern "C" fn kthread_books_debugfs() -> c_int {
    let report = Scope::dir::<Infallible, _>(Report, c"kthread_cpus", |report, dir| {
        dir.read_only_file(c"entries", report);
    });

    match KBox::pin_init(report, GFP_KERNEL) {
        Ok(report) => {
            REPORT.populate(report);
            0
        }
        Err(error) => error.to_errno(),
    }
}

impl Writer for Report {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        engine::with_books(|books| write_books(books, f)).unwrap_or(Ok(()))
    }
}

/// The CPUs of a mask of the books, as a list.
struct Cpus<'a>(&'a [usize]);

impl core::fmt::Display for Cpus<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An entry without a preference has no words.
        if size_of_val(self.0) < cpumask::size() {
            return Ok(());
        }
        // SAFETY: It is as long as a `struct cpumask`, and only borrowed here.
        let mask = unsafe { Cpumask::from_raw(self.0.as_ptr().cast()) };

        fmt::Display::fmt(mask, f)
    }
}

fn write_books(books: &mut Books<Ring>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // SAFETY: It is a static of the kernel, and a number that changes at once.
    let classes = unsafe { (&raw const bindings::kthread_cpus_classes).read_volatile() };
    let classes = Classes::from_bits(classes);
    let masks = books.masks();

    writeln!(f, "confined: {}", Cpus(&masks.confined))?;
    writeln!(f, "housekeeping: {}", Cpus(&masks.housekeeping))?;
    writeln!(f, "usable: {}", Cpus(&masks.usable))?;
    match classes.bits() {
        0 => writeln!(f, "classes: none")?,
        _ => writeln!(f, "classes: {classes}")?,
    }

    books.each_entry(|entry| write_entry(&entry, f))?;
    books.each_stray(|stray| write_stray(&stray, f))
}

fn write_entry(entry: &EntryView<'_, Ring>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut count = 0;

    entry.threads.for_each(|_| count += 1);

    write!(f, "\nentry {}: preference ", entry.number)?;
    match entry.preference {
        Preference::Nothing => f.write_str("none")?,
        Preference::Node(node, cpus) => write!(f, "node {node} ({})", Cpus(cpus))?,
        Preference::Mask(cpus) => write!(f, "mask ({})", Cpus(cpus))?,
    }
    let level = match entry.level {
        Level::Preferred => "1 (preferred)",
        Level::Confined => "2 (confined)",
        Level::Housekeeping => "3 (housekeeping)",
        Level::Possible => "4 (possible)",
    };
    writeln!(
        f,
        ", level {level}, allowed {}, threads {count}, set by user space {}",
        Cpus(entry.allowed),
        entry.strays
    )?;

    let mut result = Ok(());

    entry.threads.for_each(|thread| {
        if result.is_ok() {
            result = write_thread(thread, f);
        }
    });
    result
}

fn write_stray(stray: &StrayView<'_, Member>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "\nset by user space in entry {}: ", stray.entry)?;
    for ((setter, wish), granted) in ["cpuset", "wish"]
        .iter()
        .zip(stray.wishes)
        .zip(stray.granted)
    {
        let granted = match (granted, stray.outside) {
            (false, _) => "not granted",
            (true, false) => "granted",
            (true, true) => "granted beyond the entry",
        };

        if !wish.is_empty() {
            write!(f, "{setter} {}, {granted}, ", Cpus(wish))?;
        }
    }
    writeln!(f, "allowed {}", Cpus(stray.allowed))?;
    write_thread(stray.thread, f)
}

fn write_thread(thread: Member, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut name = [0; engine::NAME_SIZE];
    let pid = thread.name(&mut name);
    let end = name.iter().position(|byte| *byte == 0);
    let name = name.get(..end.unwrap_or(name.len())).unwrap_or(&name);

    write!(f, "\t{pid} ")?;
    fmt::Display::fmt(BStr::from_bytes(name), f)?;
    f.write_str("\n")
}
