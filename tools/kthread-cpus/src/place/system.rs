// SPDX-License-Identifier: GPL-2.0

//! For those whose distribution or orchestrator sets up the machine.

use super::{Place, Printed};

/// As many bytes of a command line are kept by the kernels of x86 and arm64, the last one a zero;
/// rt-conf refuses more.
const COMMAND_LINE_SIZE: usize = 2048;

/// Returns what is printed when there is nothing to say besides.
fn only(text: String) -> Printed {
    Printed {
        text,
        ..Printed::default()
    }
}

impl Place<'_> {
    /// A patch, which `talosctl` merges into the configuration of a machine.
    pub(super) fn talos(&self) -> Printed {
        let heading = self.heading();
        let items = self.items("      - ", "");

        only(format!(
            "{heading}\
             # talosctl patch machineconfig --patch @FILE, and upgrade, for this counts at installation only.\n\
             # It cannot say it to a machine that boots with UEFI, or was installed by Talos 1.12 or newer:\n\
             # there the boot image has the command line inside. See --print talos-schematic.\n\
             machine:\n  install:\n    extraKernelArgs:\n{items}"
        ))
    }

    /// What the Image Factory makes an image of.
    pub(super) fn talos_schematic(&self) -> Printed {
        let heading = self.heading();
        let items = self.items("    - ", "");

        only(format!(
            "{heading}\
             # Add it to the schematic of your image, make that anew, and upgrade to it.\n\
             customization:\n  extraKernelArgs:\n{items}"
        ))
    }

    /// A module, to be imported by `configuration.nix`.
    pub(super) fn nixos(&self) -> Printed {
        let heading = self.heading();
        let items = self.items("    \"", "\"");

        only(format!(
            "{heading}\
             # Import it in configuration.nix: imports = [ ./kthread-cpus.nix ]; then: nixos-rebuild boot\n\
             {{ ... }}:\n\n{{\n  boot.kernelParams = [\n{items}  ];\n}}\n"
        ))
    }

    /// A profile with the boot options as they are; `deploy/tuned` has one that makes them on the machine.
    pub(super) fn tuned(&self) -> Printed {
        let heading = self.heading();
        let line = self.line();
        let isolated = &self.plan.isolated;

        only(format!(
            "{heading}\
             # Put it into /etc/tuned/profiles/kthread-cpus/tuned.conf (older versions: /etc/tuned/kthread-cpus);\n\
             # then: tuned-adm profile kthread-cpus, and reboot.\n\
             # TuneD cannot say it to systemd-boot: it knows GRUB and rpm-ostree.\n\
             [main]\n\
             summary=Keep kernel threads on CPUs {housekeeping}\n\
             \n\
             [bootloader]\n\
             cmdline_kthread_cpus=+{line}\n\
             \n\
             [irqbalance]\n\
             banned_cpus={isolated}\n",
            housekeeping = self.plan.housekeeping
        ))
    }

    /// An environment file, in which there are numbers and ranges only.
    pub(super) fn irqbalance(&self) -> Printed {
        let heading = self.heading();
        let isolated = &self.plan.isolated;
        let mask = isolated.to_mask();

        only(format!(
            "{heading}\
             # Put it into /etc/default/irqbalance (Debian) or /etc/sysconfig/irqbalance (Fedora, RHEL).\n\
             # irqbalance cannot say it of anything but interrupts: the rest takes the boot options.\n\
             # One that does not know the list: IRQBALANCE_BANNED_CPUS={mask}\n\
             IRQBALANCE_BANNED_CPULIST={isolated}\n"
        ))
    }

    /// The operator makes most options of the two lists by itself; a second `isolcpus=` would be ignored.
    pub(super) fn performance_profile(&self) -> Printed {
        let heading = self.heading();
        let reserved = self.not_isolated();
        let isolated = &self.plan.isolated;
        let tickless = self.is_tickless();
        let args: String = ["kthread_cpus", "irqaffinity"]
            .iter()
            .filter_map(|name| self.option(name))
            .map(|text| format!("    - {text}\n"))
            .collect();
        let remark = match tickless {
            true => "",
            false => "# It cannot leave out rcu_nocbs=: the operator adds that to every profile.\n",
        };

        only(format!(
            "{heading}\
             # The operator makes isolcpus=, rcu_nocbs= and nohz_full= of the two lists; kthread_cpus= it does\n\
             # not know. Fit the name and the selector to your pool of nodes.\n\
             {remark}\
             apiVersion: performance.openshift.io/v2\n\
             kind: PerformanceProfile\n\
             metadata:\n  name: kthread-cpus\n\
             spec:\n  \
             cpu:\n    reserved: \"{reserved}\"\n    isolated: \"{isolated}\"\n    balanceIsolated: false\n  \
             additionalKernelArgs:\n{args}  \
             workloadHints:\n    realTime: {tickless}\n  \
             nodeSelector:\n    node-role.kubernetes.io/worker: \"\"\n"
        ))
    }

    /// rt-conf takes one flag of `isolcpus=` at most.
    pub(super) fn rt_conf(&self) -> Printed {
        let heading = self.heading();
        let isolated = &self.plan.isolated;
        let texts = self.texts().into_iter().map(|text| {
            match text.starts_with("isolcpus=") {
                // Without a flag, it is the domain.
                true => format!("isolcpus={isolated}"),
                false => text.to_owned(),
            }
        });
        let texts: Vec<_> = texts.collect();
        let items: String = texts.iter().map(|text| format!("    - {text}\n")).collect();
        // Before it had a list, it had a key for each of these, and none for rcu_nocbs=.
        let keys: String = texts
            .iter()
            .filter_map(|text| text.split_once('='))
            .filter(|(name, _)| *name != "rcu_nocbs")
            .map(|(name, value)| format!("#   {name}: \"{value}\"\n"))
            .collect();
        let length: usize = texts.iter().map(|text| text.len() + 1).sum();
        let mut remarks = Vec::new();
        if length > COMMAND_LINE_SIZE {
            remarks.push(format!(
                "rt-conf takes {COMMAND_LINE_SIZE} bytes of options at most, and these are {length}"
            ));
        }

        Printed {
            text: format!(
                "{heading}\
                 # Merge it into /var/snap/rt-conf/common/config.yaml, and run: sudo rt-conf\n\
                 # It cannot say managed_irq: rt-conf takes a plain list, or one flag.\n\
                 kernel_cmdline:\n  parameters:\n{items}\
                 # An rt-conf that does not know parameters has these keys under kernel_cmdline:\n{keys}"
            ),
            remarks,
        }
    }
}
