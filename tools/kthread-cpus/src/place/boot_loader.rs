// SPDX-License-Identifier: GPL-2.0

//! For those who set up a boot loader by themselves.

use super::{Place, Printed};
use crate::cmdline;

/// Where kernel-install looks first for a command line.
const KERNEL_CMDLINE: &str = "etc/kernel/cmdline";

/// What a boot loader puts on the line by itself: kernel-install leaves it out of what it copies.
const OF_THE_LOADER: [&str; 2] = ["BOOT_IMAGE", "initrd"];

impl Place<'_> {
    /// A file that `grub-mkconfig` of Debian and its derivatives reads after `/etc/default/grub`.
    pub(super) fn grub(&self) -> Printed {
        let line = self.line();
        let heading = self.heading();

        Printed {
            text: format!(
                "{heading}\
                 # Put it into /etc/default/grub.d/kthread-cpus.cfg, and run: update-grub\n\
                 # Fedora and RHEL do not read that directory; there: grubby --update-kernel=ALL --args=\"{line}\"\n\
                 GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX {line}\"\n"
            ),
            ..Printed::default()
        }
    }

    /// The whole line, as kernel-install has no place for a part of it. It has no comments either.
    pub(super) fn kernel_install(&self) -> Printed {
        let kept = self.root.read_optional(KERNEL_CMDLINE);
        let base = kept.as_deref().unwrap_or(&self.machine.cmdline);
        let line = cmdline::replace(
            base,
            |word| self.is_ours(word) || OF_THE_LOADER.contains(&word.name.as_str()),
            &self.texts(),
        );
        let from = match kept {
            Some(_) => "it begins with what is in that file",
            None => "it begins with what this machine was booted with, which is what kernel-install takes \
                     without that file",
        };

        Printed {
            text: format!("{line}\n"),
            remarks: vec![format!(
                "put this into /{KERNEL_CMDLINE}, and run kernel-install add for each kernel; {from}"
            )],
        }
    }

    /// Lines of an entry of the Boot Loader Specification, in which there may be several `options`.
    pub(super) fn loader_entry(&self) -> Printed {
        let heading = self.heading();
        let line = self.line();

        Printed {
            text: format!(
                "{heading}\
                 # Add it to an entry in /boot/loader/entries; options may stand there more than once.\n\
                 # kernel-install writes entries anew for each kernel: see --print kernel-install.\n\
                 # A unified kernel image has its command line inside, and this does not change it.\n\
                 options    {line}\n"
            ),
            ..Printed::default()
        }
    }

    /// Two commands: in one, what is to go could be what has just been added.
    pub(super) fn rpm_ostree(&self) -> Printed {
        let others = self.other_words();
        let mut gone = Vec::new();
        for option in &self.plan.options {
            let name = option.name();
            let words = cmdline::words(&self.machine.cmdline);
            let mut there: Vec<_> = words.iter().filter(|word| word.name == name).collect();
            // With more than one value, it must be said which.
            there.dedup_by(|a, b| a.text == b.text);
            if there.len() > 1 {
                gone.extend(there.iter().map(|word| quoted("--delete", &word.text)));
            } else {
                gone.push(format!("--delete-if-present={name}"));
            }
        }
        let added: Vec<_> = self
            .texts()
            .into_iter()
            .map(|text| format!("--append={text}"))
            .collect();
        let heading = self.heading();
        let both = [gone, added].map(|args| args.join(" \\\n    "));
        let [gone, added] = both;
        let mut remarks = Vec::new();
        if !others.is_empty() {
            remarks.push(
                "what the command line of now says of these options is deleted first, as it would count"
                    .to_owned(),
            );
        }

        Printed {
            text: format!(
                "{heading}\
                 # It takes rpm-ostree 2022.7 or newer, and a reboot.\n\
                 rpm-ostree kargs \\\n    {gone} &&\nrpm-ostree kargs \\\n    {added}\n"
            ),
            remarks,
        }
    }
}

/// Returns an argument for a shell.
fn quoted(option: &str, value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "=,-_.:/@+".contains(c);

    match value.chars().all(plain) {
        true => format!("{option}={value}"),
        false => format!("{option}='{}'", value.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_read_otherwise_is_quoted() {
        assert_eq!(quoted("--delete", "isolcpus=1-3"), "--delete=isolcpus=1-3");
        assert_eq!(
            quoted("--delete", "isolcpus=\"1, 3\""),
            "--delete='isolcpus=\"1, 3\"'"
        );
        assert_eq!(quoted("--x", "a'$b"), "--x='a'\\''$b'");
    }
}
