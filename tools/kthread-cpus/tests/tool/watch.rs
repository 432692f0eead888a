// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus watch` where it cannot work. What it sees where it can is tested by `scripts/tool`.

use crate::common::{assert_one_line, outcome, tool, Tree};

/// A recording that this machine can confine itself to: it has this machine's CPUs.
fn tree() -> Tree {
    let tree = Tree::new("0-1");

    tree.thread(2, "kthreadd", crate::common::KTHREAD, "0-1", 0);
    tree.write("sys/devices/system/cpu/online", "0\n");
    tree
}

#[test]
fn without_tracefs() {
    let (status, out, error) = tree().run(&["watch", "--for", "1s"]);

    assert_eq!((status, out.as_str()), (2, ""));
    assert_one_line(&error);
    assert!(error.contains("mount -t tracefs tracefs"), "{error}");
}

#[test]
fn without_the_event() {
    let tree = tree();

    tree.write("sys/kernel/tracing/README", "");
    let (status, _, error) = tree.run(&["watch", "--for", "1s"]);
    assert_eq!(status, 2);
    assert_one_line(&error);
    assert!(error.contains("CONFIG_"), "{error}");
}

#[test]
fn with_garbage_in_tracefs() {
    let tree = tree();

    tree.write("sys/kernel/tracing/events/header_page", [0xff; 100]);
    tree.write(
        "sys/kernel/tracing/events/sched/sched_switch/format",
        "garbage",
    );
    let (status, _, error) = tree.run(&["watch", "--for", "1s"]);
    assert_eq!(status, 2);
    assert_one_line(&error);
    assert!(!tree.path().join("sys/kernel/tracing/instances").exists());
}

#[test]
fn no_cpu_to_run_on() {
    let (status, _, error) = tree().run(&["watch", "--for", "1s", "--cpus", "1"]);

    assert_eq!(status, 2);
    assert_one_line(&error);
    assert!(error.contains("none of CPUs 1 is online"), "{error}");
}

#[test]
fn bad_times() {
    for time in ["0s", "1d", "-1s", "x"] {
        assert_eq!(outcome(&mut tool(&["watch", "--for", time])).0, 2, "{time}");
    }
}
