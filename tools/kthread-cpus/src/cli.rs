// SPDX-License-Identifier: GPL-2.0

//! The command line. The man pages and the completions are made from it too.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::threads::Class;

/// The title of a page that has no other.
pub const TITLE: &str = "Where the kernel's own work runs";

/// What is said after the help of the whole program.
const AFTER: &str = "\
Examples, with CPUs 0 and 1 for the kernel:
  kthread-cpus check --cpus 0-1        what may run elsewhere, and what helps
  kthread-cpus watch --cpus 0-1        what does run elsewhere, why, and what moves it
  kthread-cpus plan --housekeeping 2   the boot options that leave the kernel two CPUs

CPU lists have the kernel's grammar: 0-3,8 or 0-31:2/16 (the first two of every sixteen), N for the \
last CPU, all for all of them.

Exit status: 0 if all is well, 1 if check or plan finds something wrong \
or set could not do all it tried, 2 for an error.";

/// See, check and steer where the kernel's own work runs.
///
/// Kernel threads are looked at in /proc, on any kernel. On a kernel with kthread_cpus= they can be
/// confined to some CPUs; on others much of that can be done from user space.
#[derive(Debug, Parser)]
#[command(name = "kthread-cpus", version, after_help = AFTER, max_term_width = 100)]
pub struct Cli {
    /// Read /proc and /sys below DIR: a recording of another machine, or the host's in a container.
    #[arg(long, global = true, value_name = "DIR", default_value = "/", value_hint = ValueHint::DirPath)]
    pub root: PathBuf,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List every kernel thread, with its class, its allowed CPUs and where it ran last.
    List(ListArgs),
    /// Check that no kernel thread may run outside some CPUs; exit status 0 or 1.
    Check(CheckArgs),
    /// Let kernel threads run on some CPUs only.
    Set(SetArgs),
    /// Watch which kernel threads run where, what else runs outside, why, and what moves it. Needs root.
    Watch(WatchArgs),
    /// Write a page, with a heat map and the causes of what was watched, that any browser shows.
    Report(ReportArgs),
    /// Work out the boot options that keep some CPUs free of the kernel's work.
    Plan(PlanArgs),
    /// Write the man pages, the shell completions and the table of causes into a directory.
    #[command(hide = true)]
    Generate(GenerateArgs),
}

/// The arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print JSON.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print CSV.
    #[arg(long)]
    pub csv: bool,
    /// What to sort by; switches and time are sorted largest first.
    #[arg(long, short, value_enum, default_value_t = SortKey::Pid, value_name = "KEY")]
    pub sort: SortKey,
    /// Sort the other way round.
    #[arg(long, short)]
    pub reverse: bool,
    /// Only threads of these classes.
    #[arg(long, short, value_enum, value_delimiter = ',', value_name = "CLASS")]
    pub class: Vec<Class>,
    /// Only threads with this in their names; with a *, names that are like this from end to end.
    #[arg(long, short, value_name = "PATTERN")]
    pub name: Vec<String>,
    /// Only threads that ran last on one of these CPUs.
    #[arg(long, value_name = "LIST")]
    pub on: Option<String>,
    /// Only threads that may run on a CPU that is not one of these.
    #[arg(long, value_name = "LIST")]
    pub outside: Option<String>,
}

/// What `list` sorts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SortKey {
    /// The number of the thread.
    Pid,
    /// Its name.
    Name,
    /// Its class.
    Class,
    /// Where it may run.
    Allowed,
    /// Where it ran last.
    Cpu,
    /// The node of that CPU.
    Node,
    /// How often it was switched away from.
    Switches,
    /// How long it ran.
    Time,
}

/// The arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The CPUs for kernel threads. Without it: what is in /sys/devices/system/cpu/kthread_cpus, else
    /// kthread_cpus= of the kernel command line, else the CPUs that are not isolated.
    #[arg(long, value_name = "LIST")]
    pub cpus: Option<String>,
    /// Interrupt threads, and threads that the kernel or a module has bound, must be inside too; those
    /// of which each CPU has its own need not.
    #[arg(long)]
    pub strict: bool,
    /// List the threads one by one that are outside because they have to be.
    #[arg(long, short)]
    pub verbose: bool,
    /// Print JSON.
    #[arg(long, group = "format")]
    pub json: bool,
    /// Print TAP, a test for each kernel thread.
    #[arg(long, group = "format")]
    pub tap: bool,
    /// Print metrics for the textfile collector of Prometheus' node_exporter.
    #[arg(long, group = "format")]
    pub prometheus: bool,
    /// Write to FILE, which is replaced at once.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

/// The arguments of `set`.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// The CPUs for kernel threads.
    #[arg(value_name = "LIST", required_unless_present = "forget")]
    pub cpus: Option<String>,
    /// Where the kernel has no file for it, do what user space can: move the kernel threads that can
    /// be moved, restrict unbound workqueues and the default affinity of interrupts.
    #[arg(long)]
    pub best_effort: bool,
    /// Do it at each boot too: write an entry of tmpfiles.d, or with --best-effort a unit of systemd.
    #[arg(long)]
    pub persist: bool,
    /// Remove what --persist has written. Kernel threads stay where they are until the next boot.
    #[arg(long, conflicts_with_all = ["cpus", "best_effort", "persist"])]
    pub forget: bool,
    /// Only show what would be done.
    #[arg(long, short = 'n')]
    pub dry_run: bool,
}

/// What is said after the help of `watch`.
const AFTER_WATCH: &str = "\
The memory that it takes does not grow with the time. At a signal SIGUSR1 it writes what it has seen so \
far to the files of --record and --report, and goes on; without them it prints that.";

/// The arguments of `watch`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_WATCH)]
pub struct WatchArgs {
    /// The CPUs for kernel threads, as for check. The tool itself runs only there.
    #[arg(long, value_name = "LIST")]
    pub cpus: Option<String>,
    /// How long to watch, such as 500ms, 10s, 5m, 1h; until it is ended without it.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
    pub time: Option<Duration>,
    /// Print JSON at the end in place of the full-screen view.
    #[arg(long)]
    pub json: bool,
    /// Print a table at the end in place of the full-screen view; so it is without a terminal.
    #[arg(long, conflicts_with = "json")]
    pub text: bool,
    /// Record what was seen in FILE, for report, at the end and at each signal SIGUSR1.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub record: Option<PathBuf>,
    /// Write the page of report to FILE, at the end and at each signal SIGUSR1.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub report: Option<PathBuf>,
    /// Write metrics for the textfile collector of Prometheus' node_exporter to FILE, every 15 seconds.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub prometheus: Option<PathBuf>,
    /// Tell how those who woke, queued, armed or sent something came to do it: their callers.
    #[arg(long)]
    pub stack: bool,
    /// Do not look at which threads run on the CPUs for kernel threads, which takes a part of them.
    #[arg(long)]
    pub outside_only: bool,
    /// Keep the pages of the trace in FILE, as the kernel writes them.
    #[arg(long, value_name = "FILE", hide = true)]
    pub raw: Option<PathBuf>,
}

/// The arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// What watch has recorded; the machine as it is now without it.
    #[arg(value_name = "RECORDING", conflicts_with_all = ["before", "after"], value_hint = ValueHint::FilePath)]
    pub recording: Option<PathBuf>,
    /// A recording to compare with, which is shown on the left.
    #[arg(long, value_name = "FILE", requires = "after", value_hint = ValueHint::FilePath)]
    pub before: Option<PathBuf>,
    /// The recording that is shown on the right.
    #[arg(long, value_name = "FILE", requires = "before", value_hint = ValueHint::FilePath)]
    pub after: Option<PathBuf>,
    /// Write the page to FILE.
    #[arg(long, short, value_name = "FILE", required_unless_present = "png", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Write the heat map as an image to FILE.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub png: Option<PathBuf>,
    /// The title of the page.
    #[arg(long, default_value = TITLE)]
    pub title: String,
}

/// The arguments of `plan`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["housekeeping", "housekeeping_cpus", "isolate", "verify"])))]
pub struct PlanArgs {
    /// How many CPUs the kernel is to have for its own work; they are taken as whole cores.
    #[arg(long, short = 'k', value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub housekeeping: Option<u32>,
    /// Which CPUs the kernel is to have for its own work.
    #[arg(long, value_name = "LIST")]
    pub housekeeping_cpus: Option<String>,
    /// Which CPUs are to be free of it.
    #[arg(long, value_name = "LIST")]
    pub isolate: Option<String>,
    /// Do not plan: say what the kernel makes of its command line, and what contradicts what in it.
    #[arg(long, conflicts_with_all = ["housekeeping", "housekeeping_cpus", "isolate"])]
    pub verify: bool,
    /// The command line to look at, in place of the running kernel's.
    #[arg(
        long,
        value_name = "TEXT",
        requires = "verify",
        allow_hyphen_values = true
    )]
    pub cmdline: Option<String>,
    /// Take the housekeeping CPUs from all nodes, or from as few as will do.
    #[arg(long, value_enum, default_value_t = Placement::Auto)]
    pub placement: Placement,
    /// Let a core have a housekeeping CPU and an isolated one, which disturb each other.
    #[arg(long)]
    pub split_cores: bool,
    /// Leave the tick running on the isolated CPUs: no nohz_full= and no rcu_nocbs=.
    #[arg(long)]
    pub keep_tick: bool,
    /// What to print.
    #[arg(long, short, value_enum, default_value_t = Print::Text, value_name = "WHAT")]
    pub print: Print,
    /// Print JSON.
    #[arg(long, conflicts_with = "print")]
    pub json: bool,
}

/// Where `plan` takes housekeeping CPUs from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Placement {
    /// All nodes if there is a core for each, else as pack.
    Auto,
    /// All nodes, so that each has a CPU near its memory and devices.
    Spread,
    /// The boot CPU's node and cache first, so that the other nodes are left whole.
    Pack,
}

/// What `plan` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Print {
    /// The options, each with its reason.
    Text,
    /// The options, in one line for the boot loader.
    Cmdline,
    /// The list of housekeeping CPUs.
    Housekeeping,
    /// The list of isolated CPUs.
    Isolated,
    /// A drop-in for GRUB, /etc/default/grub.d/kthread-cpus.cfg.
    Grub,
    /// The whole command line for kernel-install, /etc/kernel/cmdline.
    KernelInstall,
    /// Lines for a boot loader entry, /boot/loader/entries/*.conf, as systemd-boot reads them.
    LoaderEntry,
    /// Commands for rpm-ostree.
    RpmOstree,
    /// A patch for a Talos machine configuration.
    Talos,
    /// A Talos Image Factory schematic, where the boot loader starts a unified kernel image.
    TalosSchematic,
    /// A NixOS module.
    Nixos,
    /// A TuneD profile, /etc/tuned/profiles/kthread-cpus/tuned.conf.
    Tuned,
    /// The environment file of irqbalance.
    Irqbalance,
    /// A PerformanceProfile of OpenShift.
    PerformanceProfile,
    /// The configuration of Canonical's rt-conf.
    RtConf,
}

/// The arguments of `generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Where to write.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
}

/// Parses a time such as `10s`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        unit => return Err(format!("no unit \"{unit}\"; there are ms, s, m, h")),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "not a time; it is like 10s".to_owned())?;

    match number.checked_mul(factor) {
        Some(ms @ 1..=31_536_000_000) => Ok(Duration::from_millis(ms)),
        _ => Err("it must be more than nothing and at most a year".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_agree() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times() {
        assert_eq!(parse_time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_time("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_time("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_time("2m"), Ok(Duration::from_secs(120)));
        for wrong in [
            "",
            "s",
            "0s",
            "-1s",
            "1d",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
