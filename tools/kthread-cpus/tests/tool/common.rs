// SPDX-License-Identifier: GPL-2.0

//! Recorded trees of `/proc` and `/sys`, in a temporary directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicUsize, Ordering},
};

/// The flags that threads have in recordings.
pub(crate) const KTHREAD: u32 = 0x0020_8040;
/// As [`KTHREAD`], bound by the kernel.
pub(crate) const BOUND: u32 = KTHREAD | 0x0400_0000;
/// As [`BOUND`], a worker of a workqueue.
pub(crate) const WORKER: u32 = BOUND | 0x20;
/// A process of user space.
pub(crate) const USER: u32 = 0x0040_0100;

/// A directory that is removed with this.
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// Makes a new one below where cargo builds.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = path.join(format!("{}.{number}", process::id()));

        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Returns where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A panic in a test that fails already would hide its cause.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The directory of a recording.
pub(crate) struct Tree {
    directory: Directory,
}

impl Tree {
    /// Returns a machine with `possible` CPUs, all of them online, on one node, without threads.
    pub(crate) fn new(possible: &str) -> Self {
        let tree = Self {
            directory: Directory::new(),
        };

        for name in ["possible", "present", "online"] {
            tree.write(
                &format!("sys/devices/system/cpu/{name}"),
                format!("{possible}\n"),
            );
        }
        tree.write("sys/devices/system/cpu/isolated", "\n");
        tree.write(
            "sys/devices/system/node/node0/cpulist",
            format!("{possible}\n"),
        );
        tree.write("proc/cmdline", "root=/dev/vda ro\n");
        tree.write("proc/sys/kernel/osrelease", "6.18.0\n");
        tree
    }

    /// Returns a small machine: 8 CPUs on 2 nodes, with a kernel before 6.9, which has not given
    /// rescuers a name of their own yet, and with the usual threads.
    pub(crate) fn old_kernel() -> Self {
        let tree = Self::new("0-7").with_threads("0-7");

        tree.write("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n");
        tree.write("sys/devices/system/cpu/nohz_full", "  (null)\n");
        tree.nodes(&["0-3", "4-7"]);
        tree.thread(90, "rcu_gp", WORKER, "0-7", 3);
        tree
    }

    /// Returns a small machine with a newer kernel, in which `allowed` is where movable kernel
    /// threads and unbound workqueues may run.
    pub(crate) fn new_kernel(allowed: &str) -> Self {
        let tree = Self::new("0-7").with_threads(allowed);

        tree.nodes(&["0-3", "4-7"]);
        tree.thread(90, "kworker/R-rcu_gp", WORKER, allowed, 0);
        tree
    }

    fn with_threads(self, allowed: &str) -> Self {
        let mask = if allowed == "0-7" { "ff\n" } else { "03\n" };

        self.write("sys/devices/virtual/workqueue/cpumask", mask);
        self.write("proc/irq/default_smp_affinity", "ff\n");
        self.thread(1, "init", USER, "0-7", 2);
        self.thread(2, "kthreadd", KTHREAD, allowed, 1);
        self.thread(15, "rcu_preempt", KTHREAD, allowed, 0);
        for cpu in 0..8 {
            let one = cpu.to_string();
            self.thread(20 + cpu, &format!("cpuhp/{cpu}"), BOUND, &one, cpu);
            self.thread(
                30 + cpu,
                &format!("kworker/{cpu}:0-events"),
                WORKER,
                &one,
                cpu,
            );
        }
        let (near, far) = match allowed {
            "0-7" => ("0-3", "4-7"),
            _ => (allowed, allowed),
        };
        self.thread(50, "kswapd0", KTHREAD, near, 0);
        self.thread(51, "kswapd1", KTHREAD, far, 1);
        self.thread(60, "kworker/u16:1-flush-8:0", WORKER, allowed, 0);
        self.thread(70, "irq/24-nvme0q3", BOUND, "5", 5);
        self.thread(71, "nfsd_filecache_garbage_collector", BOUND, "2-3", 2);
        self.thread(1000, "a) user (process", USER, "0-7", 7);
        self
    }

    /// Replaces the nodes.
    pub(crate) fn nodes(&self, cpus: &[&str]) {
        for (node, cpus) in cpus.iter().enumerate() {
            let file = format!("sys/devices/system/node/node{node}/cpulist");
            self.write(&file, format!("{cpus}\n"));
        }
    }

    /// Writes the files of a thread.
    pub(crate) fn thread(&self, pid: u32, name: &str, flags: u32, allowed: &str, cpu: u32) {
        self.write(
            &format!("proc/{pid}/stat"),
            format!(
                "{pid} ({name}) S 2 0 0 0 -1 {flags} 0 0 0 0 12 34 0 0 20 0 1 0 22 0 0 \
                 18446744073709551615 0 0 0 0 0 0 0 2147483647 0 0 0 0 17 {cpu} 0 0 0 0 0\n"
            ),
        );
        self.write(
            &format!("proc/{pid}/status"),
            format!(
                "Name:\t{name}\nPid:\t{pid}\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\n\
                 Mems_allowed_list:\t0\nvoluntary_ctxt_switches:\t{pid}\n\
                 nonvoluntary_ctxt_switches:\t1\n"
            ),
        );
        self.write(
            &format!("proc/{pid}/schedstat"),
            format!("{pid}000000 5 9\n"),
        );
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(name);

        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Removes a file or directory.
    pub(crate) fn remove(&self, name: &str) {
        let path = self.path().join(name);

        match path.is_dir() {
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }

    /// Reads a file.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// Returns where it is.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Returns all files in it.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![self.path().to_owned()];

        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => open.push(path),
                    false => found.push(path),
                }
            }
        }
        found.sort();
        found
    }

    /// Returns the tool on this tree.
    pub(crate) fn tool(&self, args: &[&str]) -> Command {
        let mut command = tool(&[]);

        command.arg("--root").arg(self.path()).args(args);
        command
    }

    /// Runs the tool on this tree, and returns its exit status, output and error output.
    pub(crate) fn run(&self, args: &[&str]) -> (i32, String, String) {
        outcome(&mut self.tool(args))
    }
}

/// The tool itself.
pub(crate) const TOOL: &str = env!("CARGO_BIN_EXE_kthread-cpus");

/// Returns the tool, which is ended after 300 seconds.
pub(crate) fn tool(args: &[&str]) -> Command {
    let mut command = Command::new("timeout");

    command.args(["--signal=KILL", "300", TOOL]).args(args);
    command
}

/// Runs a command, and returns its exit status, output and error output.
pub(crate) fn outcome(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();

    (
        output.status.code().expect("ended by a signal"),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Compares with a file in `tests/data`, or writes that anew if `UPDATE_GOLDEN` is set.
#[track_caller]
pub(crate) fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name);

    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == text,
        "{} differs; UPDATE_GOLDEN=1 writes it anew. It should be:\n{text}",
        path.display()
    );
}

/// Checks that an error is one line that begins with the name of the tool.
#[track_caller]
pub(crate) fn assert_one_line(error: &str) {
    assert!(error.starts_with("kthread-cpus: "), "{error}");
    assert_eq!(error.matches('\n').count(), 1, "{error}");
}
