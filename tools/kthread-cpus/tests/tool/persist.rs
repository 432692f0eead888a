// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus set --persist` and `--forget`.

use std::{fs, process::Command};

use kthread_cpus::{cpuset::CpuSet, machine::Root, persist::Persisted};

use crate::common::{assert_one_line, outcome, Tree};

const SYSFS: &str = "sys/devices/system/cpu/kthread_cpus";
const ENTRY: &str = "etc/tmpfiles.d/kthread-cpus.conf";
const UNIT: &str = "etc/systemd/system/kthread-cpus.service";
const LINK: &str = "etc/systemd/system/multi-user.target.wants/kthread-cpus.service";

/// A machine with systemd and with the kernel's file.
fn machine() -> Tree {
    let tree = Tree::new_kernel("0-7");

    tree.write(SYSFS, "0-7\n");
    tree.write("usr/lib/systemd/systemd", "");
    tree
}

/// Runs the tool, and returns its output with the place of the tree left out.
fn run(tree: &Tree, args: &[&str]) -> String {
    let (status, out, error) = tree.run(args);

    assert_eq!((status, error.as_str()), (0, ""), "{args:?}");
    out.replace(&format!("{}", tree.path().display()), "")
}

fn unit() -> Persisted {
    let cpus = CpuSet::parse_any("0-1").unwrap();
    Persisted::Unit(cpus, "/usr/bin/kthread-cpus".to_owned())
}

/// Whether a program is on this machine.
fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

#[test]
fn an_entry_is_written_and_removed() {
    let tree = machine();

    assert_eq!(
        run(&tree, &["set", "0-1,4", "--persist"]),
        format!("wrote 0-1,4 to /{SYSFS}\nwrote /{ENTRY}, which does it at each boot\n")
    );
    assert_eq!(tree.read(SYSFS), "0-1,4\n");
    assert!(tree
        .read(ENTRY)
        .ends_with(&format!("\nw! /{SYSFS} - - - - 0-1,4\n")));
    // Again, with another list.
    run(&tree, &["set", "0", "--persist"]);
    assert!(tree.read(ENTRY).ends_with(" 0\n"));
    assert_eq!(
        run(&tree, &["set", "--forget", "-n"]),
        format!("would remove /{ENTRY}\n")
    );
    assert_eq!(
        run(&tree, &["set", "--forget"]),
        format!("removed /{ENTRY}\n")
    );
    assert!(run(&tree, &["set", "--forget"]).starts_with("nothing to remove"));
    assert_eq!(tree.read(SYSFS), "0\n");
}

#[test]
fn a_dry_run_shows_it() {
    let tree = machine();
    let before = tree.files();
    let out = run(&tree, &["set", "0-1", "--persist", "--dry-run"]);

    assert_eq!(
        out,
        format!(
            "would write 0-1 to /{SYSFS}\nwould write /{ENTRY}:\n    # Made by kthread-cpus set --persist; \
             kthread-cpus set --forget removes it.\n    w! /{SYSFS} - - - - 0-1\n"
        )
    );
    assert_eq!(tree.files(), before);
    // Where the kernel has no file, it is a unit that runs this program.
    tree.remove(SYSFS);
    let before = tree.files();
    let out = run(&tree, &["set", "0-1", "--best-effort", "--persist", "-n"]);
    assert!(out.contains(&format!("would write /{UNIT}:\n")), "{out}");
    assert!(out.contains(" set --best-effort 0-1\n"), "{out}");
    assert!(out.contains(&format!("would link /{LINK} to ")), "{out}");
    assert_eq!(tree.files(), before);
}

#[test]
fn systemd_does_what_the_entry_says() {
    if !has("systemd-tmpfiles") {
        return;
    }
    let tree = machine();
    run(&tree, &["set", "0-1", "--persist"]);
    tree.write(SYSFS, "0-7\n");
    let apply = |boot: &[&str]| {
        let mut command = Command::new("systemd-tmpfiles");
        command.arg("--create").args(boot).arg("--root");
        outcome(command.arg(tree.path()).arg("kthread-cpus.conf"))
    };

    // Only at boot, so that what has been set since is not lost when a package is installed.
    let (_, _, error) = apply(&[]);
    assert_eq!(tree.read(SYSFS), "0-7\n", "{error}");
    let (status, _, error) = apply(&["--boot"]);
    assert_eq!(status, 0, "{error}");
    assert_eq!(tree.read(SYSFS).trim(), "0-1", "{error}");
}

#[test]
fn a_unit_is_written_enabled_and_removed() {
    let tree = machine();
    let root = Root::new(tree.path());

    run(&tree, &["set", "0-1", "--persist"]);
    let lines = unit().write(&root, false).unwrap();
    // The entry has gone: there is one way only.
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(!tree.path().join(ENTRY).exists());
    let link = fs::read_link(tree.path().join(LINK)).unwrap();
    assert_eq!(link.to_str(), Some("../kthread-cpus.service"));
    assert_eq!(tree.read(LINK), tree.read(UNIT));
    assert_eq!(unit().write(&root, false).unwrap().len(), 1, "twice");
    if has("systemd-analyze") {
        // The program of the unit has to be there.
        let text = tree
            .read(UNIT)
            .replace("/usr/bin/kthread-cpus", "/bin/true");
        tree.write("kthread-cpus.service", text);
        let (status, out, error) = outcome(
            Command::new("systemd-analyze")
                .args(["verify", "--man=no"])
                .arg(tree.path().join("kthread-cpus.service")),
        );
        let ours = |line: &&str| line.contains("kthread-cpus.service");
        let complaints: Vec<_> = out.lines().chain(error.lines()).filter(ours).collect();
        assert!(complaints.is_empty(), "{status} {complaints:?}");
    }
    // And back.
    run(&tree, &["set", "0-1", "--persist"]);
    assert!(tree.path().join(ENTRY).exists());
    assert!(!tree.path().join(UNIT).exists());
    assert!(tree.path().join(LINK).symlink_metadata().is_err());
    unit().write(&root, false).unwrap();
    let out = run(&tree, &["set", "--forget"]);
    assert_eq!(out, format!("removed /{LINK}\nremoved /{UNIT}\n"));
}

#[test]
fn files_of_others_are_not_touched() {
    for name in [ENTRY, UNIT] {
        let tree = machine();
        tree.write(name, "mine\n");
        for args in [&["set", "0-1", "--persist"][..], &["set", "--forget"]] {
            let (status, out, error) = tree.run(args);
            assert_eq!((status, out.as_str()), (2, ""));
            assert_one_line(&error);
            assert!(error.contains("was not made by --persist"), "{error}");
        }
        assert_eq!(tree.read(name), "mine\n");
        assert_eq!(tree.read(SYSFS), "0-7\n", "nothing has been set");
    }
}

#[test]
fn what_cannot_be_done_is_said_first() {
    // No systemd.
    let tree = machine();
    tree.remove("usr");
    let (status, out, error) = tree.run(&["set", "0-1", "--persist"]);
    assert_eq!((status, out.as_str()), (2, ""));
    assert_one_line(&error);
    assert!(error.contains("needs systemd"), "{error}");
    assert_eq!(tree.read(SYSFS), "0-7\n");
    // A file where there is to be a directory.
    let tree = machine();
    tree.write("etc/tmpfiles.d", "");
    let (status, _, error) = tree.run(&["set", "0-1", "--persist"]);
    assert_eq!(status, 2);
    assert_one_line(&error);
    // No list, or a list too many.
    for args in [
        &["set"][..],
        &["set", "--persist"],
        &["set", "0", "--forget"],
    ] {
        assert_eq!(tree.run(args).0, 2, "{args:?}");
    }
}
