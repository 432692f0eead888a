// SPDX-License-Identifier: GPL-2.0

//! The command line, the man pages and the completions.

use std::{fs, process::Stdio};

use crate::common::{outcome, tool, Directory, Tree, TOOL};

#[test]
fn help_names_every_command() {
    let (status, help, _) = outcome(&mut tool(&["--help"]));

    assert_eq!(status, 0);
    for command in ["list", "check", "set", "watch", "report", "plan"] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
    }
    assert!(!help.contains("generate"));
    assert_eq!(outcome(&mut tool(&[])).0, 2);
    assert_eq!(outcome(&mut tool(&["nonsense"])).0, 2);
}

#[test]
fn man_pages_and_completions_come_from_the_definitions() {
    let directory = Directory::new();

    assert_eq!(outcome(tool(&["generate"]).arg(directory.path())).0, 0);
    for command in ["list", "check", "set", "watch", "report", "plan"] {
        let page = directory
            .path()
            .join(format!("man1/kthread-cpus-{command}.1"));
        assert!(fs::read_to_string(page).unwrap().contains(".SH OPTIONS"));
    }
    assert!(directory.path().join("man1/kthread-cpus.1").exists());
    for file in ["kthread-cpus.bash", "_kthread-cpus", "kthread-cpus.fish"] {
        let text = fs::read_to_string(directory.path().join("completions").join(file)).unwrap();
        assert!(text.contains("housekeeping-cpus"), "{file}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let tree = Tree::old_kernel();
    let mut child = std::process::Command::new(TOOL)
        .arg("--root")
        .arg(tree.path())
        .arg("list")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();

    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stderr, b"");
}
