// SPDX-License-Identifier: GPL-2.0

//! What of a remedy is so already: to be told to set what is set helps nobody.

use crate::{
    boot,
    cpuset::CpuSet,
    machine::{Machine, Root},
    option::Classes,
    topology::Topology,
};

/// What is set on the machine, as far as remedies are about it.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// How an option, or a flag of `kthread_cpus=`, is called in remedies, and the CPUs that have it.
    options: Vec<(String, CpuSet)>,
}

impl Settled {
    /// Reads the command line of a machine as its kernel does, and what that confines now.
    pub fn read(root: &Root, machine: &Machine) -> Self {
        let topology = Topology::read(root, machine);
        let reading = boot::read(machine, &topology, &machine.cmdline);
        let options = [
            ("isolcpus=domain", reading.isolated),
            ("isolcpus=managed_irq", reading.managed_irq),
            ("nohz_full=", reading.nohz_full),
            ("rcu_nocbs=", reading.rcu_nocbs),
        ];
        let options = options.map(|(option, cpus)| (option.to_owned(), cpus));

        Self {
            options: options.into_iter().chain(flags(machine)).collect(),
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
            .map(|(option, _)| &**option)
            .collect();

        match so.as_slice() {
            [] => remedy,
            so => format!("{remedy} (set here already: {})", so.join(", ")),
        }
    }
}

/// Returns the flags of `kthread_cpus=` that are in force, each with the CPUs that it keeps work off.
fn flags(machine: &Machine) -> Vec<(String, CpuSet)> {
    let (Some(cpus), Some(classes)) = (&machine.sysfs, machine.classes) else {
        return Vec::new();
    };
    let usable = cpus.and(&machine.housekeeping());
    // While none of them can be used, the work is on others.
    if !usable.intersects(&machine.online) {
        return Vec::new();
    }
    let off = machine.possible.minus(&usable);
    let in_force = Classes::FLAGS
        .iter()
        .filter(|(_, class)| classes.0 & class != 0);

    in_force
        .map(|(flag, _)| (format!("flag {flag}"), off.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option;

    #[test]
    fn what_is_set_is_said() {
        let set = |text: &str| CpuSet::parse_any(text).unwrap();
        let settled = Settled {
            options: ["nohz_full=", "rcu_nocbs="]
                .map(|option| (option.to_owned(), set("1-3")))
                .to_vec(),
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

    #[test]
    fn flags_that_are_in_force_are_said() {
        let set = |text: &str| CpuSet::parse_any(text).unwrap();
        let mut machine = Machine {
            sysfs: Some(set("0-1")),
            classes: Some(option::from_names("kthread,timer")),
            ..Machine::of(&set("0-7"))
        };
        let remark = |machine: &Machine, remedy: &str, cpus: &str| {
            let options = flags(machine);
            Settled { options }.remark(remedy.to_owned(), &set(cpus))
        };

        let remedy = "kthread_cpus=0-1 (flag timer)";
        assert_eq!(
            remark(&machine, remedy, "2-3"),
            "kthread_cpus=0-1 (flag timer) (set here already: flag timer)"
        );
        // Not of CPUs of the list, and not another flag.
        assert_eq!(remark(&machine, remedy, "1-2"), remedy);
        let other = "kthread_cpus=0-1 (flag wq)";
        assert_eq!(remark(&machine, other, "2-3"), other);
        // A CPU that is isolated has none of the work, whatever the list says.
        machine.isolated = set("1");
        assert_ne!(remark(&machine, remedy, "1-2"), remedy);
        machine.online = set("2-7");
        assert_eq!(remark(&machine, remedy, "2-3"), remedy);
        machine.classes = None;
        assert!(flags(&machine).is_empty());
    }
}
