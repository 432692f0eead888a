// SPDX-License-Identifier: GPL-2.0

//! What of a remedy is so already: to be told to set what is set helps nobody.

use crate::{
    boot,
    cpuset::CpuSet,
    machine::{Machine, Root},
    topology::Topology,
};

/// What the machine was booted with, as far as remedies are about it.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// How an option is called in remedies, and the CPUs that have it.
    options: Vec<(&'static str, CpuSet)>,
}

impl Settled {
    /// Reads the command line of a machine as its kernel does.
    pub fn read(root: &Root, machine: &Machine) -> Self {
        let topology = Topology::read(root, machine);
        let reading = boot::read(machine, &topology, &machine.cmdline);

        Self {
            options: vec![
                ("isolcpus=domain", reading.isolated),
                ("isolcpus=managed_irq", reading.managed_irq),
                ("nohz_full=", reading.nohz_full),
                ("rcu_nocbs=", reading.rcu_nocbs),
            ],
        }
    }

    /// Returns a remedy with a word on what of it all of these CPUs have already.
    pub fn remark(&self, remedy: String, cpus: &CpuSet) -> String {
        let so: Vec<_> = self
            .options
            .iter()
            .filter(|(option, with)| {
                remedy.contains(option) && !cpus.is_empty() && cpus.is_subset(with)
            })
            .map(|(option, _)| *option)
            .collect();

        match so.as_slice() {
            [] => remedy,
            so => format!("{remedy} (set here already: {})", so.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_said() {
        let set = |text: &str| CpuSet::parse_any(text).unwrap();
        let settled = Settled {
            options: vec![("nohz_full=", set("1-3")), ("rcu_nocbs=", set("1-3"))],
        };
        let remark = |remedy: &str, cpus| settled.remark(remedy.to_owned(), &set(cpus));

        assert_eq!(
            remark("rcu_nocbs= with this CPU", "2-3"),
            "rcu_nocbs= with this CPU (set here already: rcu_nocbs=)"
        );
        for (remedy, cpus) in [
            ("rcu_nocbs= with this CPU", "3-4"),
            ("rcu_nocbs= with this CPU", ""),
            ("isolcpus=domain", "2"),
        ] {
            assert_eq!(remark(remedy, cpus), remedy);
        }
        assert!(remark("nohz_full= or rcu_nocbs=", "1").ends_with(": nohz_full=, rcu_nocbs=)"));
    }
}
