// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus set --persist`: what does the same again at each boot.
//!
//! Where the kernel has its file, an entry of tmpfiles.d writes it, and this program is not needed. Where
//! it has none, a unit of systemd runs this program.

use std::{fs, io, os::unix::fs::symlink, path::Path};

use crate::{
    cpuset::CpuSet,
    error::{hint, Error, Result},
    machine::{Root, SYSFS},
    output,
};

/// The entry of tmpfiles.d.
const ENTRY: &str = "etc/tmpfiles.d/kthread-cpus.conf";
/// The unit.
const UNIT: &str = "etc/systemd/system/kthread-cpus.service";
/// What makes systemd start the unit.
const LINK: &str = "etc/systemd/system/multi-user.target.wants/kthread-cpus.service";
/// Where that points to.
const LINK_TARGET: &str = "../kthread-cpus.service";

/// Our files begin with this line; others are not touched.
const MARK: &str = "# Made by kthread-cpus set --persist; kthread-cpus set --forget removes it.";

/// Any of these is there where systemd is.
const SYSTEMD: [&str; 3] = [
    "run/systemd/system",
    "usr/lib/systemd/systemd",
    "lib/systemd/systemd",
];

/// What does it at boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Persisted {
    /// An entry that writes the kernel's file.
    Entry(CpuSet),
    /// A unit that runs this program, which is at the path.
    Unit(CpuSet, String),
}

/// Returns an argument as it stands in a unit.
fn unit_argument(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.+,:@".contains(c);
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%")
        .replace('$', "$$");

    match text.chars().all(plain) {
        true => escaped,
        false => format!("\"{escaped}\""),
    }
}

impl Persisted {
    /// Returns a unit that runs this program, wherever that is.
    ///
    /// # Errors
    ///
    /// When it is at a place that no unit can name.
    pub fn unit(cpus: CpuSet) -> Result<Self> {
        let path = std::env::current_exe()
            .map_err(|error| Error::new(format_args!("cannot find this program: {error}")))?;
        let text = path
            .to_str()
            .filter(|text| !text.contains(|c: char| c.is_control()));

        match text {
            Some(text) => Ok(Self::Unit(cpus, text.to_owned())),
            None => Err(Error::new(format_args!(
                "{} has a character in its name that no unit of systemd can have: put it elsewhere",
                path.display()
            ))),
        }
    }

    /// Returns the name of the file.
    fn name(&self) -> &'static str {
        match self {
            Self::Entry(_) => ENTRY,
            Self::Unit(..) => UNIT,
        }
    }

    /// Returns what is in the file.
    pub fn content(&self) -> String {
        match self {
            // The mark of exclamation: at boot, and not whenever a package is installed.
            Self::Entry(cpus) => format!("{MARK}\nw! /{SYSFS} - - - - {cpus}\n"),
            Self::Unit(cpus, program) => format!(
                "{MARK}\n\
                 [Unit]\n\
                 Description=Keep kernel threads on CPUs {cpus}, as far as user space can\n\
                 Documentation=man:kthread-cpus-set(1)\n\
                 # Modules start threads, which are to be there.\n\
                 After=systemd-modules-load.service\n\
                 \n\
                 [Service]\n\
                 Type=oneshot\n\
                 ExecStart={program} set --best-effort {cpus}\n\
                 # Some could not be moved, which it says: no reason for a failed unit.\n\
                 SuccessExitStatus=1\n\
                 \n\
                 [Install]\n\
                 WantedBy=multi-user.target\n",
                program = unit_argument(program)
            ),
        }
    }

    /// Writes it, in place of what was written before, and returns what was done, a line each. With
    /// `dry_run`, it returns what would be done.
    ///
    /// # Errors
    ///
    /// When there is no systemd, a file of that name is somebody else's, or it cannot be written.
    pub fn write(&self, root: &Root, dry_run: bool) -> Result<Vec<String>> {
        if !SYSTEMD.iter().any(|name| root.path(name).exists()) {
            return Err(Error::new(
                "--persist needs systemd, of which there is nothing here: let what starts this machine run \
                 the same command without --persist",
            ));
        }
        for name in [ENTRY, UNIT] {
            refuse_others(root, name)?;
        }
        let path = root.path(self.name());
        let show = path.display();
        let mut lines = Vec::new();
        if dry_run {
            lines.push(format!("would write {show}:"));
            lines.extend(self.content().lines().map(|line| format!("    {line}")));
        } else {
            make_directory(&path)?;
            output::write_to(Some(&path), |out| {
                Ok(out.write_all(self.content().as_bytes())?)
            })?;
            lines.push(format!("wrote {show}, which does it at each boot"));
        }
        match self {
            Self::Entry(_) => lines.extend(forget_files(root, &[LINK, UNIT], dry_run)?),
            Self::Unit(..) => {
                lines.extend(enable(root, dry_run)?);
                lines.extend(forget_files(root, &[ENTRY], dry_run)?);
            }
        }
        Ok(lines)
    }
}

/// Whether a file is there, and ours. An empty one hides another of the same name, and is the user's.
fn is_ours(root: &Root, name: &str) -> Option<bool> {
    match root.read(name) {
        Ok(text) => Some(text.lines().next() == Some(MARK)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => Some(false),
    }
}

/// Returns an error if a file is there and is not ours.
fn refuse_others(root: &Root, name: &str) -> Result<()> {
    match is_ours(root, name) {
        Some(false) => Err(Error::new(format_args!(
            "{} is there and was not made by --persist: move it away first",
            root.path(name).display()
        ))),
        _ => Ok(()),
    }
}

fn make_directory(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(path);

    fs::create_dir_all(directory).map_err(|error| {
        Error::new(format_args!(
            "cannot make {}: {error}{}",
            directory.display(),
            hint(&error)
        ))
    })
}

/// Makes systemd start the unit, as `systemctl enable` would, which does not work on all roots.
fn enable(root: &Root, dry_run: bool) -> Result<Option<String>> {
    let path = root.path(LINK);
    let show = path.display();

    if dry_run {
        return Ok(Some(format!("would link {show} to {LINK_TARGET}")));
    }
    make_directory(&path)?;
    match symlink(LINK_TARGET, &path) {
        Ok(()) => Ok(Some(format!("linked {show} to {LINK_TARGET}"))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(Error::new(format_args!(
            "cannot make {show}: {error}{}",
            hint(&error)
        ))),
    }
}

/// Removes those of the files that are there, and returns what was done.
fn forget_files(root: &Root, names: &[&str], dry_run: bool) -> Result<Vec<String>> {
    let mut lines = Vec::new();

    for name in names {
        let path = root.path(name);
        let show = path.display();
        if path.symlink_metadata().is_err() {
            continue;
        }
        if dry_run {
            lines.push(format!("would remove {show}"));
            continue;
        }
        fs::remove_file(&path).map_err(|error| {
            Error::new(format_args!(
                "cannot remove {show}: {error}{}",
                hint(&error)
            ))
        })?;
        lines.push(format!("removed {show}"));
    }
    Ok(lines)
}

/// Removes what does it at boot, and returns what was done, a line each.
///
/// # Errors
///
/// When a file of that name is somebody else's, or cannot be removed.
pub fn forget(root: &Root, dry_run: bool) -> Result<Vec<String>> {
    for name in [ENTRY, UNIT] {
        refuse_others(root, name)?;
    }
    // The link first: without it, nothing is left half done that systemd would complain of.
    let names: &[&str] = match is_ours(root, UNIT) {
        Some(true) => &[LINK, UNIT, ENTRY],
        _ => &[ENTRY],
    };
    let lines = forget_files(root, names, dry_run)?;

    Ok(match lines.is_empty() {
        true => vec!["nothing to remove: nothing sets kernel threads at boot".to_owned()],
        false => lines,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_a_unit() {
        assert_eq!(
            unit_argument("/usr/bin/kthread-cpus"),
            "/usr/bin/kthread-cpus"
        );
        assert_eq!(unit_argument("/a b/$c%"), "\"/a b/$$c%%\"");
    }

    #[test]
    fn the_entry_is_for_the_boot_only() {
        let entry = Persisted::Entry(CpuSet::from_iter([0, 1, 4]));

        assert_eq!(
            entry.content().lines().nth(1),
            Some("w! /sys/devices/system/cpu/kthread_cpus - - - - 0-1,4")
        );
    }
}
