// SPDX-License-Identifier: GPL-2.0

//! Where people put boot options: a plan as the file or the commands of a boot loader, a distribution
//! or an orchestrator.
//!
//! What a format cannot say is said in one line: as a comment where it has comments, else apart.

use crate::{
    cli::Print,
    cmdline::{self, Word},
    cpuset::CpuSet,
    machine::{Machine, Root},
    plan::{BootParameter, Plan},
};

mod boot_loader;
mod system;

/// A plan, and the machine that it is for.
pub struct Place<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The machine.
    pub machine: &'a Machine,
    /// Where its files are.
    pub root: &'a Root,
}

/// What is printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// The file, or the commands.
    pub text: String,
    /// What there is to say besides, in whole sentences.
    pub remarks: Vec<String>,
}

impl BootParameter {
    /// Returns the name of the option.
    pub fn name(&self) -> &str {
        self.text.split('=').next().unwrap_or_default()
    }
}

impl Place<'_> {
    /// Returns the plan in one of the formats; nothing for those that are not anybody's.
    pub fn print(&self, format: Print) -> Option<Printed> {
        let mut printed = match format {
            Print::Text | Print::Cmdline | Print::Housekeeping | Print::Isolated => return None,
            Print::Grub => self.grub(),
            Print::KernelInstall => self.kernel_install(),
            Print::LoaderEntry => self.loader_entry(),
            Print::RpmOstree => self.rpm_ostree(),
            Print::Talos => self.talos(),
            Print::TalosSchematic => self.talos_schematic(),
            Print::Nixos => self.nixos(),
            Print::Tuned => self.tuned(),
            Print::Irqbalance => self.irqbalance(),
            Print::PerformanceProfile => self.performance_profile(),
            Print::RtConf => self.rt_conf(),
        };

        // These take out what is there themselves; irqbalance has nothing to do with the command line.
        let replaces = [Print::KernelInstall, Print::RpmOstree, Print::Irqbalance];
        if !replaces.contains(&format) {
            printed.remarks.extend(self.leftovers());
        }
        Some(printed)
    }

    /// Whether a word of a command line is one of the options of the plan, whatever its value.
    fn is_ours(&self, word: &Word) -> bool {
        let mut options = self.plan.options.iter();

        options.any(|option| option.name() == word.name)
    }

    /// Returns the words of the running command line that say something else than the plan.
    fn other_words(&self) -> Vec<Word> {
        let words = cmdline::words(&self.machine.cmdline).into_iter();
        let same = |word: &Word| {
            let mut options = self.plan.options.iter();
            options.any(|option| option.text == word.text)
        };

        words
            .filter(|word| self.is_ours(word) && !same(word))
            .collect()
    }

    /// Returns a sentence on what has to go from where it was put before.
    fn leftovers(&self) -> Option<String> {
        let words = self.other_words();
        let texts: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();

        (!texts.is_empty()).then(|| {
            format!(
                "{} on the command line of now says something else: take it out where it was put, for of \
                 isolcpus= and nohz_full= the first one counts",
                texts.join(" ")
            )
        })
    }

    /// Returns the options.
    fn texts(&self) -> Vec<&str> {
        let options = self.plan.options.iter();

        options.map(|option| option.text.as_str()).collect()
    }

    /// Returns the options in one line.
    fn line(&self) -> String {
        self.plan.line()
    }

    /// Returns the options as the items of a list, a line each.
    fn items(&self, before: &str, after: &str) -> String {
        let lines = self.texts().into_iter();

        lines
            .map(|text| format!("{before}{text}{after}\n"))
            .collect()
    }

    /// Whether the tick is to stop on isolated CPUs.
    fn is_tickless(&self) -> bool {
        self.option("nohz_full").is_some()
    }

    /// Returns the text of an option.
    fn option(&self, name: &str) -> Option<&str> {
        let mut options = self.plan.options.iter();

        options
            .find(|option| option.name() == name)
            .map(|option| option.text.as_str())
    }

    /// Returns the CPUs that are not isolated.
    fn not_isolated(&self) -> CpuSet {
        self.machine.present.minus(&self.plan.isolated)
    }

    /// Returns the first line of a file in which comments begin with `#`.
    fn heading(&self) -> String {
        format!(
            "# Made by kthread-cpus plan: CPUs {} for the kernel's work, CPUs {} free of it.\n",
            self.plan.housekeeping, self.plan.isolated
        )
    }
}
