// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus check` on recordings.

use crate::common::{assert_one_line, Tree, BOUND, KTHREAD, WORKER};
use serde_json::Value;

const SYSFS: &str = "sys/devices/system/cpu/kthread_cpus";
const PARTITION: &str = "sys/fs/cgroup/cpuset.cpus.isolated";

fn json(tree: &Tree, args: &[&str]) -> (i32, Value) {
    let (status, out, error) = tree.run(&[&["check", "--json"], args].concat());

    (
        status,
        serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{error}")),
    )
}

fn with<'a>(document: &'a Value, verdict: &str) -> Vec<&'a str> {
    let findings = document["findings"].as_array().unwrap();

    findings
        .iter()
        .filter(|finding| finding["verdict"] == verdict)
        .map(|finding| finding["name"].as_str().unwrap())
        .collect()
}

#[test]
fn what_is_outside_fails() {
    let tree = Tree::old_kernel();
    let (status, document) = json(&tree, &["--cpus", "0-3"]);

    assert_eq!(status, 1);
    assert_eq!(document["status"], "fail");
    assert_eq!(
        with(&document, "outside"),
        [
            "kthreadd",
            "rcu_preempt",
            "kswapd1",
            "kworker/u16:1-flush-8:0",
            "rcu_gp"
        ]
    );
    // CPUs 4-7 have two each, and the interrupt is there.
    assert_eq!(with(&document, "exempt").len(), 9);
    assert_eq!(document["outside"], 6, "with the workqueues' mask");
    assert_eq!(document["settings"][0]["outside"], true);
}

#[test]
fn what_is_inside_passes() {
    let (status, document) = json(&Tree::new_kernel("0-1"), &["--cpus", "0-1"]);

    assert_eq!((status, document["status"].as_str()), (0, Some("pass")));
    assert_eq!(with(&document, "outside"), [""; 0]);
    let (status, text, _) = Tree::new_kernel("0-1").run(&["check", "--cpus", "0-1"]);
    assert_eq!(status, 0);
    assert!(
        text.contains("\nok: 0 of 24 kernel threads may run outside"),
        "{text}"
    );
}

#[test]
fn a_rescuer_at_work_is_where_it_is_needed() {
    let tree = Tree::new_kernel("0-1");
    let outside = || json(&tree, &["--cpus", "0-1"]).0;

    // A kernel that confines rescuers.
    tree.write(SYSFS, "0-1\n");
    tree.thread(90, "kworker/R-rcu_gp", WORKER, "5", 5);
    assert_eq!(outside(), 1);
    tree.thread(90, "kworker/R-rcu_gp+rcu_gp", WORKER, "5", 5);
    assert_eq!(outside(), 0);
}

#[test]
fn strict_includes_what_is_bound_to_several_cpus() {
    let tree = Tree::new_kernel("0-1");
    let (status, document) = json(&tree, &["--cpus", "0-1", "--strict"]);

    assert_eq!(status, 1);
    assert_eq!(
        with(&document, "outside"),
        ["irq/24-nvme0q3", "nfsd_filecache_garbage_collector"]
    );
}

#[test]
fn the_default_list() {
    let source = |tree: &Tree| {
        let (status, document) = json(tree, &[]);
        let word = |key: &str| document[key].as_str().unwrap().to_owned();
        (status, word("cpus"), word("source"), word("obeys"))
    };
    let is = |status, cpus: &str, source: &str, obeys: &str| {
        (status, cpus.to_owned(), source.to_owned(), obeys.to_owned())
    };

    let tree = Tree::new_kernel("0-1");
    assert_eq!(source(&tree), is(0, "0-7", "nobody", "unknown"));
    tree.write("sys/devices/system/cpu/isolated", "5-7\n");
    assert_eq!(source(&tree), is(0, "0-4", "isolated", "unknown"));
    tree.write("proc/cmdline", "kthread_cpus=0-3,6 quiet\n");
    assert_eq!(source(&tree), is(0, "0-3", "option", "yes"));
    tree.write("sys/devices/system/cpu/kthread_cpus", "0\n");
    assert_eq!(source(&tree), is(1, "0", "sysfs", "yes"));
}

#[test]
fn a_kernel_that_ignores_the_option_is_named_first() {
    let tree = Tree::old_kernel();

    tree.write("proc/cmdline", "quiet kthread_cpus=0-1\n");
    let (status, text, _) = tree.run(&["check"]);
    assert_eq!(status, 1);
    assert!(
        text.starts_with(
            "this kernel (6.1.0-18-amd64) ignores kthread_cpus=0-1: kthreadd may use CPUs 0-7"
        ),
        "{text}"
    );
    assert_eq!(json(&tree, &[]).1["obeys"], "no");
}

#[test]
fn a_value_that_no_kernel_obeys_is_named_first() {
    let tree = Tree::old_kernel();

    tree.write("proc/cmdline", "kthread_cpus=0-1,x\n");
    let (_, text, _) = tree.run(&["check"]);
    assert!(
        text.starts_with("kthread_cpus=0-1,x is on the kernel command line, but"),
        "{text}"
    );
    assert_eq!(json(&tree, &[]).1["source"], "nobody");
}

#[test]
fn flags_say_what_it_is_about() {
    let tree = Tree::new_kernel("0-7");

    tree.write("proc/cmdline", "kthread_cpus=wq,0-1\n");
    let (status, document) = json(&tree, &[]);
    assert_eq!(status, 1);
    assert_eq!(document["obeys"], "no");
    assert_eq!(
        with(&document, "outside"),
        ["kworker/u16:1-flush-8:0", "kworker/R-rcu_gp"]
    );

    // The kernel's file does not say it, and a write to it does not change it.
    tree.write("sys/devices/system/cpu/kthread_cpus", "0-1\n");
    let (status, document) = json(&tree, &[]);
    assert_eq!((status, document["source"].as_str()), (1, Some("sysfs")));
    assert_eq!(with(&document, "outside").len(), 2);
    tree.write("proc/cmdline", "kthread_cpus=init,0-1\n");
    let (status, document) = json(&tree, &[]);
    assert_eq!((status, document["outside"].as_u64()), (0, Some(0)));
}

#[test]
fn an_option_with_isolated_cpus_only_is_ignored() {
    let tree = Tree::new_kernel("0-7");

    tree.write("sys/devices/system/cpu/isolated", "4-7\n");
    tree.write("sys/devices/system/cpu/kthread_cpus", "0-7\n");
    tree.write("proc/cmdline", "isolcpus=4-7 kthread_cpus=wq,4-5\n");
    let (status, document) = json(&tree, &[]);
    assert_eq!(status, 1);
    assert_eq!(document["cpus"], "0-3");
    assert_eq!(document["obeys"], "no");
    let note = document["notes"][0].as_str().unwrap();
    assert!(note.contains("choose from CPUs 0-3"), "{note}");
    // Its flags are ignored, too.
    assert!(with(&document, "outside").contains(&"kthreadd"));
    // A list that was set later counts.
    tree.write("sys/devices/system/cpu/kthread_cpus", "0-1\n");
    assert_eq!(json(&tree, &[]).1["obeys"], "yes");
}

#[test]
fn an_offline_cpu_in_a_mask_counts() {
    let tree = Tree::new_kernel("0-1");

    tree.write("sys/devices/system/cpu/online", "0-3\n");
    tree.thread(15, "rcu_preempt", KTHREAD, "0-1,6", 0);
    assert_eq!(
        with(&json(&tree, &["--cpus", "0-1"]).1, "outside"),
        ["rcu_preempt"]
    );
    // An impossible one does not: kernels write whole words.
    tree.thread(15, "rcu_preempt", KTHREAD, "0-1,8-63", 0);
    assert_eq!(json(&tree, &["--cpus", "0-1"]).0, 0);
}

#[test]
fn no_cpu_of_the_list_online() {
    let tree = Tree::new_kernel("0-1");

    tree.write("sys/devices/system/cpu/online", "0-5\n");
    let (status, text, _) = tree.run(&["check", "--cpus", "6-7"]);
    assert_eq!(status, 1);
    assert!(text.starts_with("none of CPUs 6-7 is online"), "{text}");
}

#[test]
fn bad_lists_are_errors() {
    let tree = Tree::old_kernel();

    for list in ["x", "8", "3-1", "", " , ", "99999999999"] {
        let (status, out, error) = tree.run(&["check", "--cpus", list]);
        assert_eq!((status, out.as_str()), (2, ""), "{list}");
        assert_one_line(&error);
    }
}

#[test]
fn what_could_not_be_read_is_not_passed() {
    let tree = Tree::new_kernel("0-1");

    tree.write("proc/15/stat", "garbage");
    let (status, document) = json(&tree, &["--cpus", "0-1"]);
    assert_eq!((status, document["status"].as_str()), (2, Some("unknown")));
    let (status, text, error) = tree.run(&["check", "--cpus", "0-1"]);
    assert_eq!(status, 2);
    assert!(text.contains("\nunknown: "), "{text}");
    assert_one_line(&error);
    // What is known to be wrong counts more.
    assert_eq!(json(&tree, &["--cpus", "0"]).0, 1);
}

#[test]
fn tap_has_a_test_for_each_thread() {
    let tree = Tree::new_kernel("0-1");

    tree.thread(16, "odd # name\\", KTHREAD, "2", 2);
    let (status, text, _) = tree.run(&["check", "--cpus", "0-1", "--tap"]);
    let mut lines = text.lines();
    assert_eq!(status, 1);
    assert_eq!(lines.next(), Some("TAP version 13"));
    assert_eq!(lines.next(), Some("1..26"));
    assert_eq!(
        lines.next(),
        Some(
            "not ok 1 - odd \\# name\\\\ (16, preferred) may use CPUs 2: free to move; it keeps to the \
             CPUs that it prefers"
        )
    );
    for (number, line) in (2..).zip(lines) {
        assert!(line.starts_with(&format!("ok {number} - ")), "{line}");
    }
    assert!(text
        .contains("cpuhp/7 (27, per-cpu) may use CPUs 7 # SKIP it does the work of its own CPU\n"));
    assert!(
        text.ends_with("ok 26 - unbound workqueues may use CPUs 0-1\n"),
        "{text}"
    );
}

#[test]
fn prometheus_metrics() {
    let tree = Tree::new_kernel("0-1");
    let (status, text, _) = tree.run(&["check", "--cpus", "0-1", "--prometheus"]);
    let sample = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    };

    assert_eq!(status, 0);
    assert_eq!(sample("kthread_cpus_outside"), Some("0"));
    assert_eq!(
        sample("kthread_cpus_info{kernel=\"6.18.0\",cpus=\"0-1\",source=\"argument\"}"),
        Some("1")
    );
    assert_eq!(
        sample("kthread_cpus_threads{class=\"per-cpu\",placement=\"exempt\"}"),
        Some("12")
    );
    assert_eq!(
        sample("kthread_cpus_threads{class=\"unbound\",placement=\"outside\"}"),
        Some("0")
    );
    for line in text.lines() {
        let good = line.starts_with("# HELP kthread_cpus_")
            || line.starts_with("# TYPE kthread_cpus_")
            || line.starts_with("kthread_cpus_");
        assert!(good, "{line}");
    }
}

#[test]
fn the_output_appears_at_once_or_not_at_all() {
    let tree = Tree::new_kernel("0-1");
    let file = tree.path().join("kthread_cpus.prom");
    let output = file.to_str().unwrap();

    let (status, out, _) = tree.run(&["check", "--cpus", "0", "--prometheus", "-o", output]);
    assert_eq!((status, out.as_str()), (1, ""));
    let before = tree.read("kthread_cpus.prom");
    assert!(before.contains("\nkthread_cpus_outside 7\n"), "{before}");
    // An error leaves the old one.
    tree.remove("proc");
    assert_eq!(tree.run(&["check", "--prometheus", "-o", output]).0, 2);
    assert_eq!(tree.read("kthread_cpus.prom"), before);
    let (status, _, error) = Tree::new_kernel("0-1").run(&["check", "-o", "/no/such/directory/x"]);
    assert_eq!(status, 2);
    assert_one_line(&error);
}

#[test]
fn a_machine_without_workqueue_files() {
    let tree = Tree::new_kernel("0-1");

    tree.remove("sys/devices/virtual");
    tree.remove("proc/irq");
    assert_eq!(json(&tree, &["--cpus", "0-1"]).0, 0);
}

#[test]
fn a_machine_without_sysfs() {
    let tree = Tree::new_kernel("0-1");

    tree.remove("sys");
    tree.write("proc/stat", "cpu  1\ncpu0 1\ncpu1 1\ncpu7 1\nintr 1\n");
    let (status, text, _) = tree.run(&["check"]);
    assert_eq!(status, 0);
    assert!(text.contains("is sysfs mounted?"), "{text}");
    assert!(text.contains("CPUs 0-1,7"), "{text}");
}

#[test]
fn thousands_of_cpus() {
    let tree = Tree::new("0-8191");

    tree.thread(2, "kthreadd", KTHREAD, "0-1,4096-4097", 4096);
    tree.thread(3, "cpuhp/8191", BOUND, "8191", 8191);
    let (status, document) = json(&tree, &["--cpus", "0-8191:2/4096"]);
    assert_eq!(status, 0);
    assert_eq!(document["cpus"], "0-1,4096-4097");
}

#[test]
fn this_machine() {
    let (status, out, error) =
        crate::common::outcome(&mut crate::common::tool(&["check", "--cpus", "all"]));

    match status {
        0 => assert!(out.contains("\nok: 0 of "), "{out}"),
        _ => assert_one_line(&error),
    }
}

#[test]
fn an_isolated_partition() {
    let tree = Tree::new_kernel("0-7");

    tree.write(PARTITION, "6-7\n");
    let (status, document) = json(&tree, &[]);
    assert_eq!(status, 1);
    assert_eq!(document["cpus"], "0-5");
    assert_eq!(document["source"], "partition");
    assert_eq!(
        with(&document, "outside"),
        [
            "kthreadd",
            "rcu_preempt",
            "kswapd1",
            "kworker/u16:1-flush-8:0",
            "kworker/R-rcu_gp"
        ]
    );
    let (_, text, _) = tree.run(&["check"]);
    assert!(text.contains("not isolated by a cpuset"), "{text}");
    assert!(
        text.contains("kthread-cpus set --best-effort 0-5\n"),
        "{text}"
    );
    // There are CPUs that are isolated in both ways.
    tree.write("sys/devices/system/cpu/isolated", "5-6\n");
    assert_eq!(json(&tree, &[]).1["cpus"], "0-4");
}

#[test]
fn a_partition_is_found_wherever_it_is_mounted() {
    let tree = Tree::new_kernel("0-7");
    let cpus = || json(&tree, &[]).1["cpus"].as_str().unwrap().to_owned();

    tree.write("sys/fs/cgroup/unified/cpuset.cpus.isolated", "7\n");
    assert_eq!(cpus(), "0-6");
    tree.write("mnt/a b/cpuset.cpus.isolated", "6-7\n");
    tree.write(
        "proc/1/mounts",
        "cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n\
         cgroup2 /no/such/place cgroup2 rw 0 0\n\
         none /mnt/a\\040b cgroup2 rw 0 0\n",
    );
    assert_eq!(cpus(), "0-5");
    tree.write("mnt/a b/cpuset.cpus.isolated", "\n");
    assert_eq!(cpus(), "0-7");
}

#[test]
fn a_partition_takes_all_cpus_of_the_list() {
    let tree = Tree::new_kernel("0-1");
    let outside = || {
        let (_, text, _) = tree.run(&["check", "--prometheus"]);
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix("kthread_cpus_outside "));
        value.unwrap().to_owned()
    };

    tree.write("proc/cmdline", "kthread_cpus=6-7\n");
    tree.write(SYSFS, "6-7\n");
    tree.write(PARTITION, "6-7\n");
    let (status, document) = json(&tree, &[]);
    assert_eq!((status, document["obeys"].as_str()), (0, Some("yes")));
    assert_eq!(
        (&document["cpus"], &document["unusable"]),
        (&"0-5".into(), &"6-7".into())
    );
    assert_eq!(document["advice"].as_array().unwrap().len(), 0);
    assert_eq!(outside(), "0");
    let note = document["notes"][0].as_str().unwrap();
    assert!(
        note.contains("6-7 taken by an isolated cpuset partition"),
        "{note}"
    );

    // The same is right when they are offline, or both.
    tree.write(PARTITION, "7\n");
    assert_eq!(json(&tree, &[]).1["cpus"], "6");
    tree.write("sys/devices/system/cpu/online", "0-5,7\n");
    let (status, document) = json(&tree, &[]);
    assert_eq!((status, document["cpus"].as_str()), (0, Some("0-6")));
    let note = document["notes"][0].as_str().unwrap();
    assert!(
        note.contains("7 taken by") && note.contains("6 offline"),
        "{note}"
    );

    // Who asks for these CPUs is not told to write what the kernel refuses.
    let (status, text, _) = tree.run(&["check", "--cpus", "6-7"]);
    assert_eq!(status, 1);
    assert!(!text.contains("kthread-cpus set"), "{text}");
    assert!(
        text.contains("no command confines anything to CPUs 6-7"),
        "{text}"
    );
}

#[test]
fn a_partition_takes_some_cpus_of_the_list() {
    let tree = Tree::new_kernel("0-1");

    tree.write("proc/cmdline", "kthread_cpus=0-3\n");
    tree.write(SYSFS, "0-3\n");
    tree.write(PARTITION, "2-3\n");
    let (status, document) = json(&tree, &[]);
    assert_eq!((status, document["cpus"].as_str()), (0, Some("0-1")));
    tree.thread(15, "rcu_preempt", KTHREAD, "2", 2);
    let (status, document) = json(&tree, &[]);
    assert_eq!(status, 1);
    assert_eq!(with(&document, "outside"), ["rcu_preempt"]);
    // The kernel has the list already: to write it again would change nothing.
    let advice = document["advice"][0].as_str().unwrap();
    assert!(advice.contains("taskset -p -c 0-1 15"), "{advice}");
}

#[test]
fn a_kernel_that_obeys_for_threads_only() {
    let tree = Tree::new_kernel("0-1");

    tree.write("proc/sys/kernel/osrelease", "5.14.0-70.el9\n");
    tree.write(
        "proc/cmdline",
        "kthread_cpus=0-1 isolcpus=managed_irq,2-7\n",
    );
    tree.write("sys/devices/virtual/workqueue/cpumask", "ff\n");
    tree.thread(90, "rcu_gp", WORKER, "0-7", 0);
    let (status, document) = json(&tree, &[]);
    assert_eq!((status, document["obeys"].as_str()), (1, Some("partly")));
    assert_eq!(document["outside"], 2);
    let (_, text, _) = tree.run(&["check"]);
    assert!(
        text.starts_with(
            "this kernel (5.14.0-70.el9) obeys kthread_cpus=0-1 for kernel threads, but not for unbound \
             workqueues, which may use CPUs 0-7;"
        ),
        "{text}"
    );
    assert!(
        text.contains("kthread-cpus set --best-effort 0-1\n"),
        "{text}"
    );

    // What that does to the mask is all that can be done.
    let (_, plan, _) = tree.run(&["set", "--best-effort", "--dry-run", "0-1"]);
    assert!(plan.contains("to CPUs 0-1: 3 in "), "{plan}");
    tree.write("sys/devices/virtual/workqueue/cpumask", "03\n");
    let (status, document) = json(&tree, &[]);
    assert_eq!((status, document["outside"].as_u64()), (0, Some(0)));
    let rescuer = &document["findings"].as_array().unwrap().iter();
    let mut rescuer = rescuer
        .clone()
        .filter(|finding| finding["name"] == "rcu_gp");
    let reason = rescuer.next().unwrap()["reason"].as_str().unwrap();
    assert!(reason.starts_with("user space cannot move it"), "{reason}");
}

#[test]
fn other_options_keep_threads_where_they_are() {
    let tree = Tree::new_kernel("0-1");

    tree.write("proc/cmdline", "kthread_cpus=0-1 nohz_full=2-7\n");
    tree.write("proc/sys/kernel/osrelease", "6.12.0\n");
    assert_eq!(json(&tree, &[]).1["obeys"], "unknown");
    tree.write("proc/sys/kernel/osrelease", "7.0.0\n");
    assert_eq!(json(&tree, &[]).1["obeys"], "yes");
}

#[test]
fn threads_are_per_cpu_by_what_they_are() {
    let tree = Tree::new_kernel("0-1");

    for (pid, name, cpu) in [
        (200, "ksoftirqd/5", 5),
        (201, "sugov:5", 5),
        (202, "irq_work/5", 5),
        (203, "kworker/5:1H-kblockd", 5),
        (210, "z_wr_iss", 4),
        (211, "z_wr_iss", 5),
        (212, "spl_kmem_cache", 5),
        (213, "z_rd/4", 5),
    ] {
        tree.thread(pid, name, BOUND, &cpu.to_string(), cpu);
    }
    tree.remove("proc/70");
    tree.remove("proc/71");
    assert_eq!(json(&tree, &["--cpus", "0-1"]).0, 0);
    let (status, document) = json(&tree, &["--cpus", "0-1", "--strict"]);
    assert_eq!(status, 1);
    assert_eq!(
        with(&document, "outside"),
        ["z_wr_iss", "z_wr_iss", "spl_kmem_cache", "z_rd/4"]
    );
    let advice = document["advice"].as_array().unwrap();
    assert_eq!(advice.len(), 1);
    let advice = advice[0].as_str().unwrap();
    assert!(advice.contains("no command moves"), "{advice}");
    assert!(
        advice.contains("2 z_wr_iss, spl_kmem_cache, z_rd/4"),
        "{advice}"
    );
}

#[test]
fn every_failure_names_a_command_or_says_that_none_helps() {
    let tree = Tree::new_kernel("0-1");
    let advice = |args: &[&str]| {
        let (status, document) = json(&tree, args);
        assert_eq!(status, 1);
        let lines = document["advice"].as_array().unwrap().iter();
        lines
            .map(|line| line.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };

    // User space has done what it can.
    tree.thread(61, "kworker/u17:0-ordered", WORKER, "4-7", 4);
    let lines = advice(&["--cpus", "0-1"]);
    assert!(
        lines[0].starts_with("no command moves these workers (kworker/u17:0-ordered)"),
        "{lines:?}"
    );
    assert!(!lines.concat().contains("set --best-effort"), "{lines:?}");
    tree.remove("proc/61");
    tree.write(SYSFS, "0-1\n");
    assert!(advice(&["--cpus", "0"])[0].ends_with(": kthread-cpus set 0"));
    let lines = advice(&["--strict"]);
    assert!(
        lines[0].contains("echo 0-1 >/proc/irq/24/smp_affinity_list"),
        "{lines:?}"
    );
    assert!(lines[1].contains("no command moves"), "{lines:?}");
    tree.write("sys/devices/virtual/workqueue/cpumask", "ff\n");
    assert!(advice(&[])[0].ends_with(": echo 3 >/sys/devices/virtual/workqueue/cpumask"));
    tree.write("sys/devices/virtual/workqueue/cpumask", "3\n");
    tree.thread(60, "kworker/u16:1-flush-8:0", WORKER, "5", 5);
    assert!(advice(&[])[0].starts_with("no command moves workers"));
    tree.write("sys/devices/system/cpu/kthread_cpus_classes", "irq\n");
    let lines = advice(&["--cpus", "0"]);
    assert!(
        lines[0].contains("is about irq only: boot without flags"),
        "{lines:?}"
    );
}

#[test]
fn the_kernel_says_what_it_confines() {
    let classes = "sys/devices/system/cpu/kthread_cpus_classes";
    let tree = Tree::new_kernel("0-7");

    tree.write(SYSFS, "0-1\n");
    tree.write(classes, "umh,timer\n");
    assert_eq!(json(&tree, &[]).1["outside"], 0);
    tree.write(classes, "kthread,umh\n");
    let (status, document) = json(&tree, &[]);
    assert_eq!(status, 1);
    assert_eq!(
        with(&document, "outside"),
        ["kthreadd", "rcu_preempt", "kswapd0", "kswapd1"]
    );
    // It knows better than its command line, and an empty line says that it is nothing.
    tree.write("proc/cmdline", "kthread_cpus=wq,0-1\n");
    assert_eq!(with(&json(&tree, &[]).1, "outside").len(), 4);
    tree.write(SYSFS, "0-7\n");
    tree.write("proc/cmdline", "quiet\n");
    tree.write(classes, "\n");
    let (status, document) = json(&tree, &[]);
    assert_eq!((status, document["source"].as_str()), (0, Some("nobody")));
}
