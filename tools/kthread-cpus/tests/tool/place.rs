// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus plan --print`: each format is read back as those do who take it, and what comes out is
//! read as a kernel does.

use std::process::Command;

use configparser::ini::Ini;
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use crate::{
    common::{assert_golden, outcome, Tree},
    plan::smt,
};

/// The CPUs of the plan: those for the kernel's work, and the others.
const KERNEL: &str = "0,8,16,24";
const FREE: &str = "1-7,9-15,17-23,25-31";

const FORMATS: [&str; 11] = [
    "grub",
    "kernel-install",
    "loader-entry",
    "rpm-ostree",
    "talos",
    "talos-schematic",
    "nixos",
    "tuned",
    "irqbalance",
    "performance-profile",
    "rt-conf",
];

fn print(tree: &Tree, format: &str, more: &[&str]) -> (String, String) {
    let args = [&["plan", "-k", "4", "--print", format], more].concat();
    let (status, out, error) = tree.run(&args);

    assert_eq!(status, 0, "{error}");
    for line in error.lines() {
        assert!(line.starts_with("kthread-cpus: note: "), "{error}");
    }
    (out, error)
}

/// Checks what a kernel makes of a line that came out of a format, and returns that.
#[track_caller]
fn verify(tree: &Tree, line: &str) -> Value {
    let args = ["plan", "--verify", "--json", "--cmdline", line];
    let (status, out, error) = tree.run(&args);
    assert_eq!((status, error.as_str()), (0, ""), "{line}\n{out}");
    let document: Value = serde_json::from_str(&out).unwrap();
    let reading = &document["reading"];

    assert_eq!(reading["isolated"], FREE, "{line}");
    assert_eq!(reading["kthread_cpus"]["cpus"], KERNEL, "{line}");
    assert_eq!(reading["irqaffinity"], KERNEL, "{line}");
    document
}

/// Runs a script, and returns what it prints.
fn sh(script: &str) -> String {
    let (status, out, error) = outcome(Command::new("sh").args(["-eu", "-c", script]));

    assert_eq!((status, error.as_str()), (0, ""), "{script}");
    out
}

fn yaml(text: &str) -> Yaml {
    let mut documents = YamlLoader::load_from_str(text).unwrap();

    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

/// Returns the strings of a list.
fn strings(list: &Yaml) -> Vec<String> {
    let items = list.as_vec().unwrap().iter();

    items
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}

/// The machine of the examples.
fn machine() -> Tree {
    let tree = smt(8);

    tree.write(
        "proc/cmdline",
        "BOOT_IMAGE=/vmlinuz-6.18 root=UUID=abc ro quiet\n",
    );
    tree
}

#[test]
fn every_format_is_as_its_example() {
    let tree = machine();

    for format in FORMATS {
        let (out, _) = print(&tree, format, &[]);
        assert_golden(&format!("place/{format}.txt"), &out);
        assert!(out.lines().all(|line| line.trim_end() == line), "{out}");
    }
}

#[test]
fn grub() {
    let tree = machine();
    let (out, _) = print(&tree, "grub", &[]);
    let line = sh(&format!(
        "GRUB_CMDLINE_LINUX='net.ifnames=0'\n{out}\necho \"$GRUB_CMDLINE_LINUX\""
    ));

    assert!(line.starts_with("net.ifnames=0 kthread_cpus="), "{line}");
    verify(&tree, line.trim());
    // The command for others says the same.
    let grubby = out.split("--args=\"").nth(1).unwrap();
    verify(&tree, grubby.split('"').next().unwrap());
}

#[test]
fn kernel_install() {
    let tree = machine();
    let (out, note) = print(&tree, "kernel-install", &[]);

    assert_eq!(out.lines().count(), 1);
    assert!(
        out.starts_with("root=UUID=abc ro quiet kthread_cpus="),
        "{out}"
    );
    assert!(note.contains("put this into /etc/kernel/cmdline"), "{note}");
    verify(&tree, out.trim());
    // What there is of ours is replaced, what is for init stays behind, and the file goes first.
    tree.write(
        "proc/cmdline",
        "initrd=/initrd isolcpus=1-2 x=\"a b\" -- single\n",
    );
    let (out, _) = print(&tree, "kernel-install", &[]);
    assert!(out.starts_with("x=\"a b\" kthread_cpus="), "{out}");
    assert!(out.ends_with(" -- single\n"), "{out}");
    verify(&tree, out.trim());
    tree.write("etc/kernel/cmdline", "root=/dev/vdb\nnohz_full=3\n");
    let (out, _) = print(&tree, "kernel-install", &[]);
    assert!(out.starts_with("root=/dev/vdb kthread_cpus="), "{out}");
    verify(&tree, out.trim());
}

#[test]
fn loader_entry() {
    let tree = machine();
    let (out, _) = print(&tree, "loader-entry", &[]);
    let entry = format!("title Linux\nlinux /vmlinuz\noptions root=/dev/vda\n{out}");
    let options: Vec<_> = entry
        .lines()
        .filter_map(|line| line.split_once(|c: char| c.is_ascii_whitespace()))
        .filter(|(key, _)| *key == "options")
        .map(|(_, value)| value.trim())
        .collect();

    assert_eq!(options.len(), 2);
    verify(&tree, &options.join(" "));
}

/// What `rpm-ostree kargs` does to a line.
fn rpm_ostree_kargs(line: &str, commands: &str) -> String {
    // No shell function may be called so.
    let commands = commands.replace("\nrpm-ostree ", "\nrpm_ostree ");
    let calls = sh(&format!(
        "rpm_ostree() {{ printf '%s\\n' \"$@\"; echo; }}\n{commands}"
    ));
    let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();

    for call in calls.trim().split("\n\n") {
        let mut args = call.lines();
        assert_eq!(args.next(), Some("kargs"));
        for arg in args {
            let (option, value) = arg.split_once('=').unwrap();
            let name = |word: &str| word.split('=').next().unwrap().to_owned();
            match option {
                "--append" => words.push(value.to_owned()),
                "--delete" => {
                    let at = words.iter().position(|word| word == value).unwrap();
                    words.remove(at);
                }
                "--delete-if-present" => {
                    let there = words.iter().filter(|word| name(word) == value).count();
                    assert!(there <= 1, "Multiple values for key '{value}' found");
                    words.retain(|word| name(word) != value);
                }
                _ => panic!("{arg}"),
            }
        }
    }
    words.join(" ")
}

#[test]
fn rpm_ostree() {
    let tree = machine();
    for line in [
        "root=UUID=abc ro quiet",
        "root=UUID=abc isolcpus=1 ro",
        "isolcpus=1 isolcpus=2 nohz_full=3 root=UUID=abc",
    ] {
        tree.write("proc/cmdline", format!("{line}\n"));
        let (out, note) = print(&tree, "rpm-ostree", &[]);
        let line = rpm_ostree_kargs(line, &out);
        assert!(line.contains("root=UUID=abc"), "{line}");
        assert_eq!(line.matches("isolcpus=").count(), 1, "{line}");
        assert_eq!(note.contains("deleted first"), !line.contains("quiet"));
        verify(&tree, &line);
        // A second time, it is the same.
        tree.write("proc/cmdline", format!("{line}\n"));
        let (again, _) = print(&tree, "rpm-ostree", &[]);
        assert_eq!(rpm_ostree_kargs(&line, &again).len(), line.len());
    }
}

#[test]
fn talos() {
    let tree = machine();

    let (out, _) = print(&tree, "talos", &[]);
    let args = strings(&yaml(&out)["machine"]["install"]["extraKernelArgs"]);
    verify(&tree, &args.join(" "));
    let (out, _) = print(&tree, "talos-schematic", &[]);
    let args = strings(&yaml(&out)["customization"]["extraKernelArgs"]);
    verify(&tree, &args.join(" "));
}

#[test]
fn nixos() {
    let tree = machine();
    let (out, _) = print(&tree, "nixos", &[]);
    let (head, rest) = out.split_once("boot.kernelParams = [").unwrap();
    let (list, tail) = rest.split_once("];").unwrap();
    let code = |text: &str| -> String {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.collect::<Vec<_>>().concat()
    };

    assert_eq!(code(head).replace(' ', ""), "{...}:{");
    assert_eq!(tail.trim(), "}");
    let items: Vec<_> = list.split_whitespace().collect();
    let words = items.iter().map(|item| {
        let text = item
            .strip_prefix('"')
            .and_then(|item| item.strip_suffix('"'));
        text.expect("a string without white space")
    });
    verify(&tree, &words.collect::<Vec<_>>().join(" "));
}

#[test]
fn tuned() {
    let tree = machine();
    let (out, _) = print(&tree, "tuned", &[]);
    let mut ini = Ini::new_cs();
    ini.read(out).unwrap();
    let line = ini.get("bootloader", "cmdline_kthread_cpus").unwrap();

    verify(&tree, line.strip_prefix('+').unwrap());
    assert!(ini.get("main", "summary").is_some());
    assert_eq!(ini.get("irqbalance", "banned_cpus").as_deref(), Some(FREE));
}

#[test]
fn irqbalance() {
    let tree = machine();
    let (out, note) = print(&tree, "irqbalance", &[]);
    let text = sh(&format!("{out}\necho \"$IRQBALANCE_BANNED_CPULIST\""));

    assert_eq!(text.trim(), FREE);
    assert_eq!(note, "");
    let mask = out.split("IRQBALANCE_BANNED_CPUS=").nth(1).unwrap();
    assert_eq!(mask.lines().next(), Some("fefefefe"));
}

/// What the operator's template makes of the lists, besides options that are about other things.
fn operators_line(profile: &Yaml) -> String {
    let cpu = &profile["spec"]["cpu"];
    let isolated = cpu["isolated"].as_str().unwrap();
    let balanced = cpu["balanceIsolated"].as_bool().unwrap_or(true);
    let domain = if balanced { "" } else { "domain," };
    let mut line = format!("rcu_nocbs={isolated} isolcpus={domain}managed_irq,{isolated}");

    if profile["spec"]["workloadHints"]["realTime"].as_bool() == Some(true) {
        line += &format!(" nohz_full={isolated}");
    }
    let more = strings(&profile["spec"]["additionalKernelArgs"]);
    format!("{line} {}", more.join(" "))
}

#[test]
fn performance_profile() {
    let tree = machine();
    for more in [&[][..], &["--keep-tick"]] {
        let (out, _) = print(&tree, "performance-profile", more);
        let profile = yaml(&out);
        let field = |name: &str| profile[name].as_str().unwrap().to_owned();

        assert_eq!(field("apiVersion"), "performance.openshift.io/v2");
        assert_eq!(field("kind"), "PerformanceProfile");
        assert!(profile["metadata"]["name"].as_str().is_some());
        assert_eq!(profile["spec"]["cpu"]["reserved"].as_str(), Some(KERNEL));
        assert!(profile["spec"]["nodeSelector"].as_hash().is_some());
        let document = verify(&tree, &operators_line(&profile));
        let tickless = if more.is_empty() { FREE } else { "" };
        assert_eq!(document["reading"]["nohz_full"], tickless);
        assert_eq!(
            out.contains("cannot leave out rcu_nocbs="),
            !more.is_empty()
        );
    }
}

#[test]
fn rt_conf() {
    let tree = machine();
    let (out, _) = print(&tree, "rt-conf", &[]);
    let words = strings(&yaml(&out)["kernel_cmdline"]["parameters"]);

    verify(&tree, &words.join(" "));
    // It takes a list, or one flag and a list.
    assert!(words.contains(&format!("isolcpus={FREE}")), "{words:?}");
    assert!(out.contains("cannot say managed_irq"), "{out}");
    // The older form, which is a comment.
    let old: String = out
        .lines()
        .skip_while(|line| !line.contains("does not know parameters"))
        .skip(1)
        .map(|line| format!("{}\n", line.strip_prefix('#').unwrap()))
        .collect();
    let old = yaml(&old);
    let words = old.as_hash().unwrap().iter();
    let words: Vec<_> = words
        .map(|(name, value)| format!("{}={}", name.as_str().unwrap(), value.as_str().unwrap()))
        .collect();
    assert_eq!(words.len(), 4);
    verify(&tree, &words.join(" "));
}

#[test]
fn what_is_in_the_way_is_said() {
    let tree = machine();

    for format in FORMATS {
        let own = ["kernel-install", "rpm-ostree", "irqbalance"].contains(&format);
        tree.write("proc/cmdline", "root=/dev/vda isolcpus=1-3\n");
        let (_, note) = print(&tree, format, &[]);
        let said = note.contains("isolcpus=1-3 on the command line of now says something else");
        assert_eq!(said, !own, "{format}: {note}");
        // What is there already is not in the way.
        tree.write("proc/cmdline", format!("kthread_cpus={KERNEL}\n"));
        let (_, note) = print(&tree, format, &[]);
        assert!(!note.contains("something else"), "{format}: {note}");
    }
}

#[test]
fn a_line_that_is_too_long_for_rt_conf() {
    let tree = Tree::new("0-2047");
    let list = "0-2047:1/2";
    let args = ["plan", "--housekeeping-cpus", list, "--print", "rt-conf"];
    let (status, _, error) = tree.run(&args);

    assert_eq!(status, 0);
    assert!(error.contains("rt-conf takes 2048 bytes"), "{error}");
}
