// SPDX-License-Identifier: GPL-2.0

//! Tracing instances of our own, so that nobody else's tracing is disturbed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::{
    cpuset::CpuSet,
    error::{hint, Error, Result},
    events::{self, Decoder},
    machine::Root,
    ring::PageLayout,
};

/// What the names of our instances begin with; the number of the process follows.
const PREFIX: &str = "kthread-cpus.";

/// The size of a large buffer of a CPU, in KiB; the kernel's default is 1,408.
const LARGE_KIB: u64 = 4096;
/// All large buffers of an instance have no more.
const MOST_KIB: u64 = 64 << 10;

/// The kernel's tracing, of which nothing is used yet.
pub struct Tracefs {
    directory: PathBuf,
    /// The layout of its pages.
    pub page: PageLayout,
}

/// A tracing instance, which is removed when this is dropped.
pub struct Instance {
    directory: PathBuf,
    pipes: Vec<(u32, File)>,
    /// The CPUs that it is to trace, if not all.
    cpus: Option<CpuSet>,
    opened: CpuSet,
    page_size: usize,
}

/// Finds where tracefs is mounted.
fn find(root: &Root) -> Result<PathBuf> {
    let mut denied = None;

    for name in ["sys/kernel/tracing", "sys/kernel/debug/tracing"] {
        let path = root.path(name);
        match fs::metadata(path.join("events/sched/sched_switch")) {
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => denied = Some(path),
            Err(_) => {}
        }
    }
    let path = root.path("sys/kernel/tracing");
    Err(match denied {
        Some(path) => Error::new(format_args!(
            "{} may not be read: run it as root, for example with sudo",
            path.display()
        )),
        None if fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()) => {
            Error::new(format_args!(
                "{} has no event sched_switch: it takes a kernel with CONFIG_ENABLE_DEFAULT_TRACERS or \
                 CONFIG_FTRACE's tracers",
                path.display()
            ))
        }
        None => Error::new(format_args!(
            "tracefs is not mounted: as root, run: mount -t tracefs tracefs {}",
            path.display()
        )),
    })
}

/// Writes a setting of an instance.
fn set(directory: &Path, name: &str, value: &str) -> Result<()> {
    let path = directory.join(name);

    fs::write(&path, value).map_err(|error| {
        Error::new(format_args!(
            "cannot write {value} to {}: {error}{}",
            path.display(),
            hint(&error)
        ))
    })
}

/// Reads a file with one read, for `header_page` gives nothing to a second one.
fn read_at_once(path: &Path) -> io::Result<String> {
    let mut buffer = vec![0; 64 << 10];
    let length = File::open(path)?.read(&mut buffer)?;

    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Removes the instances of processes that were killed.
fn remove_stale(root: &Root, instances: &Path) {
    for entry in fs::read_dir(instances).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let pid = rest.and_then(|rest| rest.split('.').next());
        if pid.is_some_and(|pid| !root.path("proc").join(pid).exists()) {
            // If it cannot be removed, it does no harm to us.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

impl Tracefs {
    /// Finds the kernel's tracing, and what its events look like.
    ///
    /// # Errors
    ///
    /// When there is no tracefs, or it may not be read.
    pub fn find(root: &Root) -> Result<(Self, Decoder)> {
        let directory = find(root)?;
        let path = |name: &str| directory.join("events").join(name);
        let read = |path: &Path| {
            read_at_once(path).map_err(|error| {
                Error::new(format_args!(
                    "cannot read {}: {error}{}",
                    path.display(),
                    hint(&error)
                ))
            })
        };
        let unknown = |path: &Path| {
            Error::new(format_args!(
                "{} is not what the kernel writes; is it tracefs?",
                path.display()
            ))
        };
        let header = path("header_page");
        let page = PageLayout::parse(&read(&header)?).ok_or_else(|| unknown(&header))?;
        let switch = path(events::SWITCH).join("format");
        read(&switch)?;
        let format = |name: &str| read_at_once(&path(name).join("format")).ok();
        let vectors = fs::read_dir(path("irq_vectors")).into_iter().flatten();
        let vectors: Vec<_> = vectors
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        let mut decoder = Decoder::new(&format, &vectors).ok_or_else(|| unknown(&switch))?;
        // Not all kernels have it; what is read is text, be it what it may.
        let strings = fs::read(directory.join("printk_formats")).unwrap_or_default();
        decoder.set_strings(&String::from_utf8_lossy(&strings));

        remove_stale(root, &directory.join("instances"));
        Ok((Self { directory, page }, decoder))
    }

    /// Makes an instance that records nothing yet. What `name` adds tells it from others of this
    /// process. It will record `events` on `cpus`, on all if there are none given; the callers of those
    /// that are marked are recorded too.
    ///
    /// # Errors
    ///
    /// When it may not be made, or the kernel does not take a setting.
    pub fn instance<'a>(
        &self,
        name: &str,
        cpus: Option<&CpuSet>,
        events: impl Iterator<Item = (&'a str, bool)>,
    ) -> Result<Instance> {
        let process = std::process::id();
        let directory = self
            .directory
            .join("instances")
            .join(format!("{PREFIX}{process}{name}"));
        fs::create_dir(&directory).map_err(|error| {
            Error::new(format_args!(
                "cannot make {}: {error}{}",
                directory.display(),
                hint(&error)
            ))
        })?;
        let instance = Instance {
            directory,
            pipes: Vec::new(),
            cpus: cpus.cloned(),
            opened: CpuSet::new(),
            page_size: self.page.size(),
        };
        let directory = &instance.directory;
        set(directory, "tracing_on", "0")?;
        if let Some(cpus) = cpus {
            set(directory, "tracing_cpumask", &cpus.to_mask())?;
            // On a machine with few CPUs there is memory for a reader that is late. If there is not,
            // the default will do.
            if cpus.len() as u64 * LARGE_KIB <= MOST_KIB {
                for cpu in cpus.iter() {
                    let file = format!("per_cpu/cpu{cpu}/buffer_size_kb");
                    let _ = set(directory, &file, &LARGE_KIB.to_string());
                }
            }
        }
        // The time of the system call clock_gettime(), so that begin and end can be told, and what
        // different CPUs have done can be put in order.
        set(directory, "trace_clock", "mono")?;
        // It would cost something with each switch, and names are had from /proc. It is missing on
        // some kernels.
        let _ = set(directory, "options/record-cmd", "0");
        for (event, stack) in events {
            if stack {
                set(directory, &format!("events/{event}/trigger"), "stacktrace")?;
            }
            set(directory, &format!("events/{event}/enable"), "1")?;
        }
        Ok(instance)
    }
}

impl Instance {
    /// Opens the buffers of CPUs that have not been opened yet.
    ///
    /// # Errors
    ///
    /// When one cannot be opened.
    pub fn open(&mut self, cpus: &CpuSet) -> Result<()> {
        let wanted = self
            .cpus
            .as_ref()
            .map_or_else(|| cpus.clone(), |own| own.and(cpus));
        for cpu in wanted.minus(&self.opened).iter() {
            let path = self
                .directory
                .join(format!("per_cpu/cpu{cpu}/trace_pipe_raw"));
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(&path)
                .map_err(|error| {
                    Error::new(format_args!("cannot open {}: {error}", path.display()))
                })?;
            self.pipes.push((cpu, file));
            self.opened.insert(cpu);
        }
        Ok(())
    }

    /// Begins to record, or ends it.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn record(&self, on: bool) -> Result<()> {
        set(&self.directory, "tracing_on", if on { "1" } else { "0" })
    }

    /// Reads what there is, page by page.
    ///
    /// # Errors
    ///
    /// When a buffer cannot be read.
    pub fn drain(&mut self, buffer: &mut Vec<u8>, mut found: impl FnMut(u32, &[u8])) -> Result<()> {
        buffer.resize(self.page_size, 0);
        for (cpu, file) in &mut self.pipes {
            loop {
                match file.read(buffer) {
                    Ok(0) => break,
                    Ok(length) => found(*cpu, &buffer[..length]),
                    Err(error) => match error.raw_os_error() {
                        Some(libc::EINTR) => {}
                        // There is nothing in it, or its CPU has gone.
                        Some(libc::EAGAIN | libc::ENODEV) => break,
                        _ => {
                            return Err(Error::new(format_args!(
                                "cannot read the trace buffer of CPU {cpu}: {error}"
                            )))
                        }
                    },
                }
            }
        }
        Ok(())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // It cannot be removed while a file of it is open.
        self.pipes.clear();
        if let Err(error) = fs::remove_dir(&self.directory) {
            eprintln!(
                "kthread-cpus: cannot remove {}: {error}; remove it with rmdir",
                self.directory.display()
            );
        }
    }
}
