// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus set`: lets kernel threads run on some CPUs only.

use std::{
    fs::OpenOptions,
    io::{self, Write},
};

use crate::{
    cli::SetArgs,
    cpuset::{CpuSet, Named},
    error::{hint, Error, Result},
    machine::{Machine, Root, IRQ_MASK, SYSFS, WORKQUEUE_MASK},
    output,
    persist::{self, Persisted},
    sys,
    threads::{families, Class, Inventory, Thread},
};

/// Writes a value into a file of the kernel, which takes it with one write or not at all.
fn write(root: &Root, name: &str, value: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();

    // A kernel's file is not to be made.
    options.write(true).truncate(true);
    options
        .open(root.path(name))?
        .write_all(format!("{value}\n").as_bytes())
}

/// Gives the list to the kernel, and looks whether it has taken it.
fn set_sysfs(root: &Root, cpus: &CpuSet, possible: &CpuSet) -> Result<()> {
    let file = root.path(SYSFS);
    let file = file.display();

    write(root, SYSFS, &cpus.to_string()).map_err(|error| {
        let why = match error.raw_os_error() {
            Some(libc::EINVAL) => "; none of these CPUs is online and not isolated: choose others",
            Some(libc::EOPNOTSUPP) => {
                "; kthread_cpus= on the kernel command line is about other work only: boot without its flags"
            }
            _ => hint(&error),
        };
        Error::new(format_args!(
            "cannot write {cpus} to {file}: {error}{why}"
        ))
    })?;
    match root.read_list(SYSFS) {
        // It drops what can never be there.
        Some(now) if now == cpus.and(possible) => Ok(()),
        Some(now) => Err(Error::new(format_args!(
            "{file} has {} after {cpus} was written; see the kernel's log",
            Named(&now)
        ))),
        None => Err(Error::new(format_args!(
            "{file} cannot be read after {cpus} was written; see the kernel's log"
        ))),
    }
}

/// What user space can do, and what became of it.
struct Effort<'a> {
    root: &'a Root,
    cpus: &'a CpuSet,
    dry_run: bool,
    done: Vec<String>,
    failed: Vec<String>,
}

impl Effort<'_> {
    /// Moves the threads that can be moved.
    fn move_threads(&mut self, threads: &[Thread], online: &CpuSet) {
        let mut moved = Vec::new();
        let mut failures: Vec<(&str, io::Error)> = Vec::new();
        let movable = threads
            .iter()
            .filter(|thread| thread.movable && thread.class != Class::Irq);

        for thread in movable {
            let mask = thread.allowed.as_deref();
            if mask.is_some_and(|mask| mask.is_subset(self.cpus)) {
                continue;
            }
            // A preference is kept as far as it goes.
            let near = mask
                .map(|mask| mask.and(self.cpus))
                .filter(|mask| thread.class == Class::Preferred && mask.intersects(online));
            let result = match self.dry_run {
                true => Ok(()),
                false => sys::set_affinity(thread.pid, near.as_ref().unwrap_or(self.cpus)),
            };
            match result {
                Ok(()) => moved.push(&*thread.name),
                // It has ended: there is nothing to move.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => failures.push((&thread.name, error)),
            }
        }
        if !moved.is_empty() {
            self.done.push(format!(
                "{} kernel threads to CPUs {}: {}",
                moved.len(),
                self.cpus,
                families(moved.into_iter())
            ));
        }
        if let Some((name, error)) = failures.first() {
            self.failed.push(format!(
                "{} kernel threads could not be moved, such as {name}: {error}{}",
                failures.len(),
                hint(error)
            ));
        }
    }

    /// Writes a mask.
    fn write_mask(&mut self, what: &str, file: &str) {
        let mask = self.cpus.to_mask();
        let now = self.root.read_optional(file);
        let now = now.as_deref().and_then(CpuSet::parse_mask);
        if now.as_ref() == Some(self.cpus) {
            return;
        }
        let result = match (self.dry_run, &now) {
            (true, Some(_)) => Ok(()),
            (true, None) => Err(io::ErrorKind::NotFound.into()),
            (false, _) => write(self.root, file, &mask),
        };

        let file = self.root.path(file);
        let file = file.display();
        match result {
            Ok(()) => self
                .done
                .push(format!("{what} to CPUs {}: {mask} in {file}", self.cpus)),
            Err(error) => self.failed.push(format!(
                "{what}: cannot write {mask} to {file}: {error}{}",
                hint(&error)
            )),
        }
    }
}

/// What no program in user space can do.
fn impossible(threads: &[Thread], cpus: &CpuSet) -> Vec<String> {
    let names = |class| -> Vec<&str> {
        let outside = threads.iter().filter(|thread| {
            let mask = thread.allowed.as_deref();
            thread.class == class
                && !thread.movable
                && mask.is_none_or(|mask| !mask.is_subset(cpus))
        });
        outside.map(|thread| &*thread.name).collect()
    };
    let mut lines = Vec::new();

    for (class, what) in [
        (
            Class::Rescuer,
            "workqueue rescuers, which newer kernels move with their workqueues",
        ),
        (
            Class::Bound,
            "threads that the kernel has bound to several CPUs",
        ),
        (Class::PerCpu, "threads that do the work of their own CPU"),
    ] {
        let names = names(class);
        if !names.is_empty() {
            let count = names.len();
            lines.push(format!("{count} {what}: {}", families(names.into_iter())));
        }
    }
    lines.push("kernel threads that are made later start wherever the kernel likes".to_owned());
    lines.push(
        "interrupts that have their CPUs already: see /proc/irq/N/smp_affinity_list".to_owned(),
    );
    lines
}

fn write_lines(lines: &[String]) -> Result<()> {
    output::write_to(None, |out| {
        for line in lines {
            writeln!(out, "{line}")?;
        }
        Ok(())
    })
}

/// Runs the command, and returns its exit status: 1 if something of the best effort failed.
///
/// # Errors
///
/// When nothing could be done.
pub fn run(root: &Root, args: &SetArgs) -> Result<u8> {
    let Some(list) = &args.cpus else {
        write_lines(&persist::forget(root, args.dry_run)?)?;
        return Ok(0);
    };
    let machine = Machine::read(root);
    let cpus = CpuSet::parse(list, machine.count())?;
    let (write_word, move_word) = match args.dry_run {
        true => ("would write", "would move"),
        false => ("wrote", "moved"),
    };

    if !cpus.and(&machine.possible).intersects(&machine.online) {
        return Err(Error::new(format_args!(
            "none of CPUs {} is online: choose from CPUs {}",
            Named(&cpus),
            machine.online
        )));
    }
    if machine.sysfs.is_some() {
        let entry = args.persist.then(|| Persisted::Entry(cpus.clone()));
        if let Some(entry) = &entry {
            // What cannot be done at boot is said before anything is done now.
            entry.write(root, true)?;
        }
        if !args.dry_run {
            set_sysfs(root, &cpus, &machine.possible)?;
        }
        let file = root.path(SYSFS);
        write_lines(&[format!("{write_word} {cpus} to {}", file.display())])?;
        if let Some(entry) = &entry {
            write_lines(&entry.write(root, args.dry_run)?)?;
        }
        return Ok(0);
    }
    if !args.best_effort {
        return Err(Error::new(format_args!(
            "this kernel ({}) has no /{SYSFS}: boot a kernel that has it, or do what user space can: \
             kthread-cpus set --best-effort {cpus}",
            machine.kernel
        )));
    }
    if !root.is_live() && !args.dry_run {
        return Err(Error::new(
            "the threads of a recording cannot be moved: leave out --root, or add --dry-run",
        ));
    }

    let unit = match args.persist {
        true => Some(Persisted::unit(cpus.clone())?),
        false => None,
    };
    if let Some(unit) = &unit {
        unit.write(root, true)?;
    }
    let inventory = Inventory::read(root, &machine)?;
    let cpus = cpus.and(&machine.possible);
    let mut effort = Effort {
        root,
        cpus: &cpus,
        dry_run: args.dry_run,
        done: Vec::new(),
        failed: Vec::new(),
    };
    effort.move_threads(&inventory.threads, &machine.online);
    effort.write_mask(
        "unbound workqueues, and the usermode helpers that they start,",
        WORKQUEUE_MASK,
    );
    effort.write_mask("new interrupts", IRQ_MASK);
    let Effort { done, failed, .. } = effort;
    // Newer kernels move the rescuers of unbound workqueues with these.
    let after = match args.dry_run {
        true => inventory,
        false => Inventory::read(root, &machine)?,
    };

    output::write_to(None, |out| {
        if done.is_empty() && failed.is_empty() {
            writeln!(
                out,
                "nothing to do: all that can be moved is on CPUs {cpus} already"
            )?;
        }
        for line in &done {
            writeln!(out, "{move_word} {line}")?;
        }
        writeln!(out, "cannot move, from user space:")?;
        for line in impossible(&after.threads, &cpus) {
            writeln!(out, "  {line}")?;
        }
        Ok(())
    })?;
    for line in failed.iter().chain(&after.warning()) {
        eprintln!("kthread-cpus: {line}");
    }
    if let Some(unit) = &unit {
        write_lines(&unit.write(root, args.dry_run)?)?;
    }
    Ok(u8::from(!failed.is_empty()))
}
