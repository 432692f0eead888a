// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus plan` on recordings.

use serde_json::Value;

use crate::common::{assert_one_line, outcome, tool, Tree};

/// A machine with 2 nodes, each with `cores` cores of 2 CPUs, numbered as Intel does: the second
/// CPUs come after all the first. Every 4 cores share a cache.
pub(crate) fn smt(cores: u32) -> Tree {
    let all = cores * 4;
    let tree = Tree::new(&format!("0-{}", all - 1));
    let half = cores * 2;

    tree.nodes(&[
        &format!("0-{},{half}-{}", cores - 1, half + cores - 1),
        &format!("{cores}-{},{}-{}", half - 1, half + cores, all - 1),
    ]);
    for cpu in 0..all {
        let core = cpu % half;
        let directory = format!("sys/devices/system/cpu/cpu{cpu}");
        let domain = core / 4 * 4;
        tree.write(
            &format!("{directory}/topology/core_cpus_list"),
            format!("{core},{}\n", core + half),
        );
        tree.write(&format!("{directory}/cache/index0/level"), "1\n");
        tree.write(
            &format!("{directory}/cache/index0/shared_cpu_list"),
            format!("{core},{}\n", core + half),
        );
        tree.write(&format!("{directory}/cache/index3/level"), "3\n");
        tree.write(
            &format!("{directory}/cache/index3/shared_cpu_list"),
            format!(
                "{domain}-{},{}-{}\n",
                domain + 3,
                domain + half,
                domain + half + 3
            ),
        );
    }
    tree
}

fn planned(tree: &Tree, args: &[&str]) -> String {
    let (status, out, error) = tree.run(&[&["plan", "--print", "housekeeping"], args].concat());

    assert_eq!((status, error.as_str()), (0, ""));
    out.trim().to_owned()
}

/// Returns the names of the contradictions.
fn refused(tree: &Tree, args: &[&str]) -> Vec<String> {
    let (status, out, error) = tree.run(&[&["plan", "--json"], args].concat());
    assert_eq!((status, error.as_str()), (1, ""), "{out}");
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["status"], "fail");
    let names = document["contradictions"].as_array().unwrap().iter();
    // For a person, they are on lines of their own.
    let (_, _, error) = tree.run(&[&["plan"], args].concat());
    assert_eq!(error.lines().count(), names.len());

    names
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn whole_cores_from_every_node() {
    let tree = smt(8);

    // CPUs 0-7,16-23 are node 0 and 8-15,24-31 are node 1.
    assert_eq!(planned(&tree, &["-k", "2"]), "0,16");
    assert_eq!(planned(&tree, &["-k", "4"]), "0,8,16,24");
    assert_eq!(
        planned(&tree, &["-k", "4", "--placement", "pack"]),
        "0-1,16-17"
    );
    assert_eq!(
        planned(&tree, &["-k", "10", "--placement", "pack"]),
        "0-4,16-20"
    );
    assert_eq!(
        planned(&tree, &["-k", "6", "--placement", "spread"]),
        "0-1,8,16-17,24"
    );
    assert_eq!(planned(&tree, &["-k", "3", "--split-cores"]), "0-1,16");
}

#[test]
fn all_options_agree() {
    let tree = smt(8);
    let (status, out, _) = tree.run(&["plan", "-k", "4", "--print", "cmdline"]);

    assert_eq!(status, 0);
    assert_eq!(
        out,
        "kthread_cpus=0,8,16,24 isolcpus=managed_irq,domain,1-7,9-15,17-23,25-31 \
         nohz_full=1-7,9-15,17-23,25-31 rcu_nocbs=1-7,9-15,17-23,25-31 irqaffinity=0,8,16,24\n"
    );
    let (status, report, error) = tree.run(&["plan", "--verify", "--cmdline", out.trim()]);
    assert_eq!(
        (status, error.as_str()),
        (0, ""),
        "a plan agrees with itself"
    );
    assert!(report.starts_with("ok: no contradiction in kthread_cpus=0,8,16,24 isolcpus="));
    let (_, out, _) = tree.run(&[
        "plan",
        "--isolate",
        "31,15",
        "--keep-tick",
        "--print",
        "cmdline",
    ]);
    assert_eq!(
        out,
        "kthread_cpus=0-14,16-30 isolcpus=managed_irq,domain,15,31 irqaffinity=0-14,16-30\n"
    );
    let (_, out, _) = tree.run(&["plan", "--housekeeping-cpus", "0,16", "--print", "isolated"]);
    assert_eq!(out, "1-15,17-31\n");
}

#[test]
fn the_reasons_are_said() {
    let (status, text, _) = smt(8).run(&["plan", "-k", "2"]);

    assert_eq!(status, 0);
    for words in [
        "CPUs 0,16 for the kernel's work, CPUs 1-15,17-31 free of it, out of 0-31.",
        "no core is split",
        "node 1 has no housekeeping CPU",
        "CPUs 1-3,17-19 share their last cache with housekeeping CPUs",
        "\nnohz_full=1-15,17-31\n",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn contradictions_are_refused_by_name() {
    let tree = smt(8);

    assert_eq!(refused(&tree, &["-k", "3"]), ["half-core"]);
    assert_eq!(refused(&tree, &["-k", "32"]), ["nothing-to-isolate"]);
    assert_eq!(refused(&tree, &["--isolate", "0,16"]), ["boot-cpu"]);
    assert_eq!(refused(&tree, &["--isolate", "1"]), ["half-core"]);
    assert_eq!(refused(&tree, &["--isolate", ""]), ["nothing-to-isolate"]);
    assert_eq!(
        refused(
            &tree,
            &[
                "--housekeeping-cpus",
                "0-1,16-17",
                "--isolate",
                "1-15,17-31"
            ]
        ),
        ["overlap"]
    );
    assert_eq!(
        refused(&tree, &["-k", "4", "--isolate", "1-15,17-31"]),
        ["count"]
    );
    tree.write("sys/devices/system/cpu/online", "0-30\n");
    assert_eq!(
        refused(&tree, &["--housekeeping-cpus", "31"]),
        ["no-housekeeping", "boot-cpu"]
    );
    let (_, _, error) = smt(8).run(&["plan", "-k", "3"]);
    assert!(error.contains("ask for 2 or 4"), "{error}");
    assert_one_line(&error);
}

#[test]
fn three_kinds_of_cpus() {
    let tree = smt(8);
    let args = [
        "plan",
        "--housekeeping-cpus",
        "0,16",
        "--isolate",
        "2-15,18-31",
    ];
    let (status, text, error) = tree.run(&args);

    assert_eq!((status, error.as_str()), (0, ""));
    assert!(
        text.contains("CPUs 1,17 are neither for the kernel's work nor isolated"),
        "{text}"
    );
    assert!(text.contains("\nkthread_cpus=0,16\n"), "{text}");
    assert!(
        text.contains("\nisolcpus=managed_irq,domain,2-15,18-31\n"),
        "{text}"
    );
    // What is not isolated may share a core, whatever it is for.
    let args = [
        "plan",
        "--housekeeping-cpus",
        "0",
        "--isolate",
        "2-15,18-31",
    ];
    assert_eq!(tree.run(&args).0, 0);
    assert_eq!(
        refused(
            &tree,
            &["--housekeeping-cpus", "0,16", "--isolate", "2-15,18-30"]
        ),
        ["half-core"]
    );
}

#[test]
fn the_cpu_that_boots_is_offline() {
    let tree = Tree::new("0-11");

    tree.write("sys/devices/system/cpu/online", "2-9\n");
    for (count, housekeeping, isolated) in [("1", "2", "3-9"), ("3", "2-4", "5-9")] {
        let (status, text, error) = tree.run(&["plan", "-k", count]);
        assert_eq!((status, error.as_str()), (0, ""));
        assert!(text.contains("CPU 0 is offline now"), "{text}");
        assert!(text.contains("leaves CPUs 0-1,10-11 out"), "{text}");
        assert!(
            text.contains(&format!("\nkthread_cpus={housekeeping}\n")),
            "{text}"
        );
        assert!(
            text.contains(&format!("\nnohz_full={isolated}\n")),
            "{text}"
        );
    }
    let (_, out, _) = tree.run(&["plan", "--isolate", "4-9", "--print", "housekeeping"]);
    assert_eq!(out, "2-3\n");
}

#[test]
fn the_view_of_a_container() {
    let tree = Tree::new("0-15");
    let refused = || {
        let (status, out, error) = tree.run(&["plan", "-k", "1"]);
        if status == 0 {
            return false;
        }
        assert_eq!((status, out.as_str()), (2, ""));
        assert_one_line(&error);
        assert!(error.contains("a container's view"), "{error}");
        true
    };

    tree.write("sys/devices/system/cpu/online", "4-6\n");
    for cpu in 4..7 {
        let file = format!("sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list");
        tree.write(&file, format!("{cpu}\n"));
    }
    assert!(refused());
    // The kernel itself shows what is offline too.
    tree.write("sys/devices/system/cpu/cpu9/online", "0\n");
    assert!(!refused());
    // Where it is mounted, it is that.
    tree.write(
        "proc/mounts",
        "proc /proc proc rw 0 0\nlxcfs /sys/devices/system/cpu fuse.lxcfs rw 0 0\n",
    );
    assert!(refused());
}

#[test]
fn cpus_that_may_come() {
    let tree = Tree::new("0-3");

    tree.write("sys/devices/system/cpu/possible", "0-31\n");
    let (status, text, _) = tree.run(&["plan", "-k", "1"]);
    assert_eq!(status, 0);
    assert!(
        text.contains("CPUs 4-31 are not there, but may come"),
        "{text}"
    );
    assert!(
        text.contains("\nisolcpus=managed_irq,domain,1-3\n"),
        "{text}"
    );
}

#[test]
fn cpus_that_are_offline_are_isolated() {
    let tree = smt(8);

    tree.write("sys/devices/system/cpu/online", "0-15\n");
    let (_, text, _) = tree.run(&["plan", "-k", "1"]);
    assert!(
        text.contains("CPUs 0 for the kernel's work, CPUs 1-31 free"),
        "{text}"
    );
    assert!(text.contains("CPUs 16-31 are offline now"), "{text}");
    let warns = || tree.run(&["plan", "-k", "1"]).1.contains("SMT is off");
    assert!(!warns());
    tree.write("sys/devices/system/cpu/smt/control", "off\n");
    assert!(warns());
    tree.write("proc/cmdline", "quiet nosmt=force\n");
    assert!(!warns());
}

#[test]
fn thousands_of_cpus() {
    let tree = Tree::new("0-8191");

    tree.nodes(&["0-4095", "4096-8191"]);
    assert_eq!(planned(&tree, &["-k", "6"]), "0-2,4096-4098");
}

#[test]
fn a_machine_about_which_little_is_known() {
    let tree = Tree::new("0-3");

    assert_eq!(planned(&tree, &["-k", "1"]), "0");
    assert_eq!(tree.run(&["plan"]).0, 2, "it must be said what to plan");
    tree.remove("sys");
    let (status, _, error) = tree.run(&["plan", "-k", "1"]);
    assert_eq!(status, 1, "{error}");
}

#[test]
fn this_machine() {
    let (status, out, error) = outcome(&mut tool(&["plan", "--verify"]));

    match status {
        0 => assert!(out.starts_with("ok: "), "{out}"),
        1 => assert!(error.starts_with("kthread-cpus: "), "{error}"),
        _ => panic!("{status}: {error}"),
    }
}
