// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus list` on recordings.

use std::path::PathBuf;

use crate::common::{assert_one_line, Tree, BOUND, KTHREAD, WORKER};
use serde_json::Value;

fn json(tree: &Tree, args: &[&str]) -> Value {
    let (status, out, error) = tree.run(&[&["list", "--json"], args].concat());

    assert_eq!((status, error.as_str()), (0, ""));
    serde_json::from_str(&out).unwrap()
}

fn names(document: &Value) -> Vec<&str> {
    let threads = document["threads"].as_array().unwrap();

    threads
        .iter()
        .map(|thread| thread["name"].as_str().unwrap())
        .collect()
}

fn class_of<'a>(document: &'a Value, name: &str) -> &'a str {
    let mut threads = document["threads"].as_array().unwrap().iter();

    threads.find(|thread| thread["name"] == name).unwrap()["class"]
        .as_str()
        .unwrap()
}

#[test]
fn every_kernel_thread_has_its_class() {
    let tree = Tree::old_kernel();
    let document = json(&tree, &[]);

    assert_eq!(names(&document).len(), 24);
    for (name, class) in [
        ("kthreadd", "unbound"),
        ("cpuhp/7", "per-cpu"),
        ("kworker/3:0-events", "per-cpu"),
        ("kswapd0", "preferred"),
        ("kswapd1", "preferred"),
        ("kworker/u16:1-flush-8:0", "workqueue"),
        ("rcu_gp", "rescuer"),
        ("irq/24-nvme0q3", "irq"),
        ("nfsd_filecache_garbage_collector", "bound"),
    ] {
        assert_eq!(class_of(&document, name), class, "{name}");
    }
    assert_eq!(
        class_of(&json(&Tree::new_kernel("0-1"), &[]), "kworker/R-rcu_gp"),
        "rescuer"
    );
}

#[test]
fn all_there_is_to_know_of_a_thread() {
    let document = json(&Tree::old_kernel(), &["--name", "kswapd1"]);

    assert_eq!(
        document["threads"],
        serde_json::json!([{
            "pid": 51, "name": "kswapd1", "class": "preferred", "allowed": "4-7", "cpu": 1,
            "node": 0, "switches": 52, "run_ns": 51_000_000, "movable": true
        }])
    );
}

#[test]
fn the_clock_tick_serves_where_the_kernel_counts_no_better() {
    let tree = Tree::old_kernel();

    tree.remove("proc/51/schedstat");
    let document = json(&tree, &["--name", "kswapd1"]);
    assert_eq!(document["threads"][0]["run_ns"], 460_000_000);
}

#[test]
fn text_and_csv() {
    let tree = Tree::old_kernel();
    let (status, text, _) = tree.run(&["list", "--name", "kswapd*"]);

    assert_eq!(status, 0);
    assert_eq!(
        text,
        "PID  CLASS      ALLOWED  CPU  NODE  SWITCHES  SECONDS  NAME\n \
         50  preferred  0-3        0     0        51    0.050  kswapd0\n \
         51  preferred  4-7        1     0        52    0.051  kswapd1\n"
    );
    tree.thread(51, "a,\"b", KTHREAD, "0,2", 1);
    let (_, csv, _) = tree.run(&["list", "--csv", "--on", "1", "--sort", "name"]);
    assert_eq!(
        csv,
        "pid,name,class,allowed,cpu,node,switches,run_ns,movable\n\
         51,\"a,\"\"b\",preferred,\"0,2\",1,0,52,51000000,true\n\
         21,cpuhp/1,per-cpu,1,1,0,22,21000000,false\n\
         2,kthreadd,unbound,0-7,1,0,3,2000000,true\n\
         31,kworker/1:0-events,per-cpu,1,1,0,32,31000000,false\n"
    );
}

#[test]
fn no_colour_without_a_terminal() {
    let (_, text, _) = Tree::old_kernel().run(&["list"]);

    assert!(!text.contains('\x1b'));
}

#[test]
fn threads_are_sorted_and_filtered() {
    let tree = Tree::old_kernel();

    assert_eq!(
        names(&json(
            &tree,
            &["--class", "preferred,rescuer", "--sort", "time"]
        )),
        ["rcu_gp", "kswapd1", "kswapd0"]
    );
    assert_eq!(
        names(&json(
            &tree,
            &["--class", "preferred,rescuer", "-s", "switches", "-r"]
        )),
        ["kswapd0", "kswapd1", "rcu_gp"]
    );
    assert_eq!(
        names(&json(&tree, &["--outside", "0-3", "--class", "preferred"])),
        ["kswapd1"]
    );
    assert_eq!(names(&json(&tree, &["--name", "nothing like it"])), [""; 0]);
}

#[test]
fn bad_arguments_are_said_in_one_line() {
    let tree = Tree::old_kernel();

    for args in [["list", "--on", "8"], ["list", "--outside", "3-1"]] {
        let (status, out, error) = tree.run(&args);
        assert_eq!((status, out.as_str()), (2, ""));
        assert_one_line(&error);
    }
    assert_eq!(tree.run(&["list", "--sort", "beauty"]).0, 2);
}

#[test]
fn a_tree_without_kernel_threads_is_an_error() {
    let tree = Tree::new("0-1");

    let (status, _, error) = tree.run(&["list"]);
    assert_eq!(status, 2);
    assert_one_line(&error);
    assert!(error.contains("container"), "{error}");
    tree.remove("proc");
    let (status, _, error) = tree.run(&["list"]);
    assert_eq!(status, 2);
    assert_one_line(&error);
    assert!(error.contains("--root is for a directory"), "{error}");
}

#[test]
fn a_thread_that_vanishes_is_left_out() {
    let tree = Tree::old_kernel();

    // The directory is read, and then nothing is in it.
    tree.remove("proc/50/stat");
    tree.remove("proc/51/status");
    let document = json(&tree, &["--name", "kswapd"]);
    assert_eq!(names(&document), [""; 0]);
    assert_eq!(document["unreadable"], 0);
}

#[test]
fn garbage_of_a_thread_is_counted() {
    let tree = Tree::old_kernel();

    tree.write("proc/50/stat", "50 (kswapd0) S");
    tree.write("proc/51/stat", [0xff; 3000]);
    tree.write("proc/15/status", "Cpus_allowed_list:\tfrom 0 to 7\n");
    let (status, out, error) = tree.run(&["list", "--json"]);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status, 0);
    assert_eq!(document["unreadable"], 2);
    assert!(error.contains("2 processes could not be read"), "{error}");
    assert_one_line(&error);
    let of_rcu = document["threads"]
        .as_array()
        .unwrap()
        .iter()
        .find(|thread| thread["name"] == "rcu_preempt");
    assert_eq!(of_rcu.unwrap()["allowed"], Value::Null);
}

#[test]
fn names_cannot_write_to_the_terminal() {
    let tree = Tree::old_kernel();

    tree.thread(50, "a\x1b[31m\nb\u{fffd}", KTHREAD, "0-7", 0);
    let (_, text, _) = tree.run(&["list"]);
    assert!(text.contains("a?[31m?b"), "{text}");
}

#[test]
fn more_cpus_than_the_c_library_knows() {
    let tree = Tree::new("0-8191");

    tree.nodes(&["0-4095", "4096-8191"]);
    tree.thread(2, "kthreadd", KTHREAD, "0-8191", 5000);
    tree.thread(3, "cpuhp/8191", BOUND, "8191", 8191);
    tree.thread(4, "kworker/u32768:0", WORKER, "0-8191:2/4", 0);
    tree.thread(5, "kswapd1", KTHREAD, "4096-8191", 4096);
    let (_, csv, _) = tree.run(&["list", "--csv", "--outside", "0-4095"]);
    assert_eq!(
        csv,
        "pid,name,class,allowed,cpu,node,switches,run_ns,movable\n\
         2,kthreadd,unbound,0-8191,5000,1,3,2000000,true\n\
         3,cpuhp/8191,per-cpu,8191,8191,1,4,3000000,false\n\
         4,kworker/u32768:0,workqueue,\"{}\",0,0,5,4000000,false\n\
         5,kswapd1,preferred,4096-8191,4096,1,6,5000000,true\n"
            .replace(
                "{}",
                &(0..8192)
                    .step_by(4)
                    .map(|cpu| format!("{cpu}-{}", cpu + 1))
                    .collect::<Vec<_>>()
                    .join(",")
            )
    );
}

#[test]
fn a_parked_thread_of_an_offline_cpu_is_per_cpu() {
    let tree = Tree::old_kernel();

    tree.write("sys/devices/system/cpu/online", "0-6\n");
    tree.thread(27, "cpuhp/7", BOUND, "0-7", 3);
    assert_eq!(class_of(&json(&tree, &[]), "cpuhp/7"), "per-cpu");
}

#[test]
fn ten_thousand_threads() {
    let tree = Tree::new("0-63");

    for pid in 2..10_002 {
        tree.thread(
            pid,
            &format!("kworker/{}:{pid}", pid % 64),
            WORKER,
            "0",
            pid % 64,
        );
    }
    let (status, out, error) = tree.run(&["list", "--sort", "cpu"]);
    assert_eq!((status, error.as_str()), (0, ""));
    assert_eq!(out.lines().count(), 10_001);
    assert!(
        out.lines().last().unwrap().ends_with("kworker/63:9983"),
        "{}",
        &out[out.len() - 200..]
    );
}

#[test]
fn garbage_in_every_file() {
    let pieces: [&[u8]; 5] = [
        b"",
        b"\0\0\0",
        b"garbage\n",
        &[0xff; 5000],
        b"4294967296-99999999999\n",
    ];

    let tree = Tree::old_kernel();
    // Of threads of the same kind, one will do.
    let sibling = |path: &PathBuf| {
        let siblings = (21..28).chain(31..38);
        siblings
            .map(|pid| tree.path().join(format!("proc/{pid}")))
            .any(|directory| path.starts_with(directory))
    };
    let mut files = tree.files();
    files.retain(|path| !sibling(path));

    for piece in pieces {
        for path in &files {
            let good = std::fs::read(path).unwrap();
            std::fs::write(path, piece).unwrap();
            for command in ["list", "check"] {
                let (status, _, error) = tree.run(&[command, "--json"]);
                assert!(matches!(status, 0..=2), "{command}: {path:?}: {status}");
                assert!(!error.contains("panicked"), "{command}: {path:?}: {error}");
            }
            std::fs::write(path, good).unwrap();
        }
        // And in all at once.
        let tree = Tree::old_kernel();
        for path in tree.files() {
            std::fs::write(path, piece).unwrap();
        }
        for command in ["list", "check"] {
            let (status, _, error) = tree.run(&[command]);
            assert_eq!(status, 2, "{error}");
            assert_one_line(
                error
                    .lines()
                    .last()
                    .map(|line| format!("{line}\n"))
                    .as_deref()
                    .unwrap(),
            );
        }
    }
}

#[test]
fn this_machine() {
    // In a container there may be none; elsewhere there is kthreadd.
    let (status, out, error) =
        crate::common::outcome(&mut crate::common::tool(&["list", "--json"]));

    match status {
        0 => assert_eq!(names(&serde_json::from_str(&out).unwrap())[0], "kthreadd"),
        _ => assert_one_line(&error),
    }
}
