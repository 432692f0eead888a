// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus set` on recordings.

use crate::common::{assert_one_line, Tree};

const SYSFS: &str = "sys/devices/system/cpu/kthread_cpus";

#[test]
fn the_kernels_file_is_written_where_there_is_one() {
    let tree = Tree::new_kernel("0-7");

    tree.write(SYSFS, "0-7\n");
    let (status, out, error) = tree.run(&["set", "0-7:1/4"]);
    assert_eq!((status, error.as_str()), (0, ""));
    assert_eq!(
        out,
        format!("wrote 0,4 to {}/{SYSFS}\n", tree.path().display())
    );
    assert_eq!(tree.read(SYSFS), "0,4\n");
}

#[test]
fn a_dry_run_changes_nothing() {
    let tree = Tree::new_kernel("0-7");

    tree.write(SYSFS, "0-7\n");
    let (status, out, _) = tree.run(&["set", "0", "--dry-run"]);
    assert_eq!(status, 0);
    assert_eq!(
        out,
        format!("would write 0 to {}/{SYSFS}\n", tree.path().display())
    );
    assert_eq!(tree.read(SYSFS), "0-7\n");
}

#[test]
fn bad_lists_change_nothing() {
    let tree = Tree::new_kernel("0-7");

    tree.write(SYSFS, "0-7\n");
    tree.write("sys/devices/system/cpu/online", "0-5\n");
    for list in ["", "8", "x", "3-1", "6-7"] {
        let (status, out, error) = tree.run(&["set", list]);
        assert_eq!((status, out.as_str()), (2, ""), "{list}");
        assert_one_line(&error);
    }
    assert_eq!(tree.read(SYSFS), "0-7\n");
}

#[test]
fn a_kernel_without_the_file_needs_the_best_effort() {
    let tree = Tree::old_kernel();
    let (status, out, error) = tree.run(&["set", "0-1"]);

    assert_eq!((status, out.as_str()), (2, ""));
    assert_one_line(&error);
    assert!(
        error.contains("kthread-cpus set --best-effort 0-1"),
        "{error}"
    );
}

#[test]
fn the_best_effort_is_shown() {
    let tree = Tree::old_kernel();
    let (status, out, error) = tree.run(&["set", "0-1", "--best-effort", "--dry-run"]);

    assert_eq!((status, error.as_str()), (0, ""));
    // Of this machine's files, none is named.
    let out = out.replace(&format!(" {}/", tree.path().display()), " DIR/");
    for line in [
        "would move 4 kernel threads to CPUs 0-1: 2 kswapdN, kthreadd, rcu_preempt\n",
        "would move unbound workqueues, and the usermode helpers that they start, to CPUs 0-1: 3 in DIR/sys/devices/virtual/workqueue/cpumask\n",
        "would move new interrupts to CPUs 0-1: 3 in DIR/proc/irq/default_smp_affinity\n",
        "cannot move, from user space:\n",
        "  1 workqueue rescuers, which newer kernels move with their workqueues: rcu_gp\n",
        "  12 threads that do the work of their own CPU: 6 cpuhp/N, 6 kworker/N:*\n",
    ] {
        assert!(out.contains(line), "{line}{out}");
    }
    assert_eq!(tree.read("sys/devices/virtual/workqueue/cpumask"), "ff\n");
}

#[test]
fn the_threads_of_a_recording_are_not_this_machines() {
    let tree = Tree::old_kernel();
    let (status, _, error) = tree.run(&["set", "0-1", "--best-effort"]);

    assert_eq!(status, 2);
    assert_one_line(&error);
    assert_eq!(tree.read("sys/devices/virtual/workqueue/cpumask"), "ff\n");
}

#[test]
fn what_is_not_there_is_said() {
    let tree = Tree::old_kernel();

    tree.remove("sys/devices/virtual");
    let (status, _, error) = tree.run(&["set", "0-1", "--best-effort", "-n"]);
    assert_eq!(status, 1);
    assert_one_line(&error);
    assert!(
        error.contains(&format!(
            "cannot write 3 to {}/sys/devices/virtual",
            tree.path().display()
        )),
        "{error}"
    );
}
