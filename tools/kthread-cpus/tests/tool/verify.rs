// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus plan --verify` on recordings: what a kernel makes of a command line.

use serde_json::Value;

use crate::common::Tree;

/// A machine with `count` CPUs, each a core of its own, that runs a kernel with the option.
fn machine(count: u32) -> Tree {
    let all = format!("0-{}", count - 1);
    let tree = Tree::new(&all);

    tree.write("proc/sys/kernel/osrelease", "7.3.4\n");
    tree.write("sys/devices/system/cpu/kthread_cpus", format!("{all}\n"));
    tree
}

/// As [`machine`] with 8 CPUs, and another kernel.
fn of_kernel(version: &str) -> Tree {
    let tree = machine(8);

    tree.write("proc/sys/kernel/osrelease", format!("{version}\n"));
    tree
}

/// What is found on a line.
struct Found {
    document: Value,
}

impl Found {
    fn on(tree: &Tree, cmdline: &str) -> Self {
        let args = ["plan", "--verify", "--json", "--cmdline", cmdline];
        let (status, out, error) = tree.run(&args);
        let document: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{error}"));
        let pass = document["status"] == "pass";

        assert_eq!(
            (status, error.as_str()),
            (i32::from(!pass), ""),
            "{cmdline}"
        );
        // A person is told the same.
        let (_, text, error) = tree.run(&["plan", "--verify", "--cmdline", cmdline]);
        let found = Self { document };
        assert_eq!(error.lines().count(), found.names().len(), "{error}");
        for remark in found.remarks() {
            assert!(text.contains(&format!("\nremark: {remark}\n")), "{text}");
        }
        found
    }

    fn strings(&self, key: &str, field: &str) -> Vec<&str> {
        let items = self.document[key].as_array().unwrap().iter();

        items
            .map(|item| match field {
                "" => item.as_str().unwrap(),
                field => item[field].as_str().unwrap(),
            })
            .collect()
    }

    /// The names of what is wrong.
    fn names(&self) -> Vec<&str> {
        self.strings("contradictions", "name")
    }

    fn remarks(&self) -> Vec<&str> {
        self.strings("remarks", "")
    }

    /// Whether there is a remark with these words in it.
    fn remarks_on(&self, words: &str) -> bool {
        self.remarks().iter().any(|remark| remark.contains(words))
    }

    fn reading(&self) -> &Value {
        &self.document["reading"]
    }

    /// The options that are ignored.
    fn ignored(&self) -> Vec<&str> {
        let items = self.reading()["ignored"].as_array().unwrap().iter();

        items.map(|item| item["option"].as_str().unwrap()).collect()
    }

    #[track_caller]
    fn is(&self, key: &str, cpus: &str) -> &Self {
        assert_eq!(self.reading()[key], cpus, "{key}");
        self
    }

    /// Checks for which CPUs the kernel takes `kthread_cpus=`.
    #[track_caller]
    fn confines(&self, cpus: &str) -> &Self {
        assert_eq!(self.reading()["kthread_cpus"]["cpus"], cpus);
        self
    }
}

#[test]
fn the_first_isolcpus_counts() {
    let tree = machine(36);
    let again = "isolcpus=managed_irq,domain,1,3,5";
    let found = Found::on(
        &tree,
        &format!(
            "isolcpus=managed_irq,domain,1,3,5,7 nohz_full=1,3,5,7 {again} kthread_cpus=18-35"
        ),
    );

    found
        .is("isolated", "1,3,5,7")
        .is("nohz_full", "1,3,5,7")
        .confines("18-35");
    assert_eq!(found.ignored(), [again]);
    assert_eq!(found.names(), ["ignored"]);

    // A flag that is repeated takes those with it that are not.
    let found = Found::on(
        &machine(8),
        "isolcpus=1-3 isolcpus=managed_irq,domain,1-5 kthread_cpus=4-5",
    );
    found
        .is("isolated", "1-3")
        .is("managed_irq", "")
        .confines("4-5");
    assert_eq!(found.ignored(), ["isolcpus=managed_irq,domain,1-5"]);
    // Even with the same CPUs; before 7.0 these could be said again.
    let line = "isolcpus=1-3 isolcpus=managed_irq,domain,1-3";
    let found = Found::on(&machine(8), line);
    found.is("isolated", "1-3").is("managed_irq", "");
    assert_eq!(found.ignored(), ["isolcpus=managed_irq,domain,1-3"]);
    let found = Found::on(&of_kernel("6.19.0"), line);
    found.is("isolated", "1-3").is("managed_irq", "1-3");
    assert!(found.names().is_empty());
}

#[test]
fn the_first_nohz_full_counts() {
    let line = "isolcpus=domain,nohz,8-15 nohz_full=0-15 rcu_nocbs=0-15 kthread_cpus=8-15";
    let found = Found::on(&machine(16), line);

    found
        .is("isolated", "8-15")
        .is("nohz_full", "8-15")
        .is("rcu_nocbs", "0-15");
    assert_eq!(found.ignored(), ["nohz_full=0-15", "kthread_cpus=8-15"]);
    // That nothing is confined comes first.
    let (_, _, error) = machine(16).run(&["plan", "--verify", "--cmdline", line]);
    assert!(
        error.starts_with("kthread-cpus: ignored: the kernel ignores kthread_cpus=8-15: "),
        "{error}"
    );
}

#[test]
fn one_cpu_must_be_left() {
    let found = Found::on(&machine(8), "isolcpus=0-3 nohz_full=4-7 kthread_cpus=0-1");
    found
        .is("isolated", "0-3")
        .is("nohz_full", "4-7")
        .is("kthreads", "4-7");
    assert_eq!(found.ignored(), ["kthread_cpus=0-1"]);
    assert_eq!(found.names(), ["ignored", "nohz-not-isolated"]);
    // One version looked at both together.
    let found = Found::on(&of_kernel("6.19.0"), "isolcpus=0-3 nohz_full=4-7");
    found.is("isolated", "0-3").is("nohz_full", "");
    assert_eq!(found.ignored(), ["nohz_full=4-7"]);
    // Managed interrupts do not count.
    let found = Found::on(&machine(8), "isolcpus=managed_irq,0-3 nohz_full=4-7");
    found.is("managed_irq", "0-3").is("nohz_full", "4-7");
    // The boot CPU is kept back.
    let found = Found::on(&machine(8), "isolcpus=0-7");
    found.is("isolated", "1-7");
    assert_eq!(found.names(), ["no-housekeeping"]);
    // So it is if none of those that are left is started.
    let found = Found::on(&machine(8), "isolcpus=0-3 maxcpus=2");
    found.is("isolated", "1-3").is("starting", "0-1");
    let found = Found::on(&machine(1), "isolcpus=0");
    assert_eq!(found.ignored(), ["isolcpus=0"]);
}

#[test]
fn flags_of_isolcpus() {
    let tree = machine(8);

    for (value, isolated, managed, ignored) in [
        ("2-3", "2-3", "", false),
        ("domain,2-3", "2-3", "", false),
        ("managed_irq,2-3", "", "2-3", false),
        ("managed_irq,domain,2-3", "2-3", "2-3", false),
        ("no_such,2-3", "2-3", "", false),
        ("domain,,2-3", "2-3", "", false),
        // No flag has these characters, and a list may not begin with a letter.
        ("domain,managed_irq:2-3", "", "", true),
        ("wq2,2-3", "", "", true),
        ("N", "", "", true),
        ("all", "", "", true),
        ("domain,N", "", "", true),
        ("domain,all", "", "", true),
        ("domain", "", "", true),
        ("domain,", "", "", true),
        ("", "", "", true),
        ("2-8", "", "", true),
        ("2-x", "", "", true),
    ] {
        let found = Found::on(&tree, &format!("isolcpus={value} kthread_cpus=0-1"));
        found
            .is("isolated", isolated)
            .is("managed_irq", managed)
            .confines("0-1");
        assert_eq!(found.ignored().len(), usize::from(ignored), "{value}");
        assert_eq!(found.names().len(), usize::from(ignored), "{value}");
    }
    let line = "isolcpus=domain,nohz,managed_irq:2-3,6-7 nohz_full=2-3,6-7 kthread_cpus=0-1";
    let (_, _, error) = tree.run(&["plan", "--verify", "--cmdline", line]);
    crate::common::assert_one_line(&error);
    assert!(error.contains("managed_irq:2-3 is no flag"), "{error}");
    assert!(Found::on(&tree, "isolcpus=no_such,2").remarks_on("no flag no_such"));
}

#[test]
fn no_tick_where_the_kernel_works() {
    let found = Found::on(&machine(8), "isolcpus=nohz,2-3 kthread_cpus=2-3");
    found
        .is("isolated", "")
        .is("nohz_full", "2-3")
        .confines("2-3");
    assert_eq!(found.names(), ["kthreads-on-nohz"]);
    // The boot CPU keeps the time.
    let found = Found::on(&machine(8), "nohz_full=0-3");
    found.is("nohz_full", "1-3");
    assert_eq!(found.names(), ["boot-cpu"]);
    // Another one does where the machine is never suspended.
    let tree = machine(8);
    tree.write("sys/kernel/fscaps", "1\n");
    let found = Found::on(&tree, "nohz_full=0-3");
    found.is("nohz_full", "0-3");
    assert!(found.names().is_empty());
    tree.write("sys/power/wakeup_count", "0\n");
    assert_eq!(Found::on(&tree, "nohz_full=0-3").names(), ["boot-cpu"]);
}

#[test]
fn managed_interrupts_alone() {
    for line in [
        "isolcpus=managed_irq,6-35 nohz_full=6-35 rcu_nocbs=6-35 kthread_cpus=0-5 irqaffinity=0-5",
        "nohz_full=6-35 irqaffinity=0-5 isolcpus=managed_irq,6-35",
    ] {
        let found = Found::on(&machine(36), line);
        found
            .is("isolated", "")
            .is("managed_irq", "6-35")
            .is("irqaffinity", "0-5");
        assert!(found.names().is_empty(), "{line}");
        assert!(found.remarks_on("nothing is isolated from the scheduler"));
        assert!(found.remarks_on("a cpuset partition"));
    }
}

#[test]
fn three_kinds_of_cpus() {
    for (count, line, cpus, others, irqs) in [
        (
            64,
            "nohz_full=1-16,33-48 isolcpus=nohz,domain,managed_irq,1-16,33-48 rcu_nocbs=1-31,33-63 \
             kthread_cpus=0,32 irqaffinity=17-31,49-63",
            "0,32",
            "CPUs 17-31,49-63 are neither",
            "0,17-31,49-63",
        ),
        (
            24,
            "nohz_full=1-7 rcu_nocbs=1-7 kthread_cpus=8-23 irqaffinity=8-23 \
             isolcpus=managed_irq,domain,1-7",
            "8-23",
            "CPUs 0 are neither",
            "0,8-23",
        ),
        (
            48,
            "isolcpus=1-23,25-47 rcu_nocbs=1-23,25-47 kthread_cpus=0 irqaffinity=0",
            "0",
            "CPUs 24 are neither",
            "0",
        ),
    ] {
        let tree = machine(count);
        // From 7.0 on, a flag that nohz_full= has set already is refused.
        tree.write("proc/sys/kernel/osrelease", "6.18.15\n");
        let found = Found::on(&tree, line);
        found.confines(cpus).is("irqaffinity", irqs);
        assert!(found.names().is_empty(), "{line}");
        assert!(found.remarks_on(others), "{line}");
    }
    let line = "nohz_full=1-16,33-48 isolcpus=nohz,domain,managed_irq,1-16,33-48 kthread_cpus=0,32";
    let found = Found::on(&machine(64), line);
    found.confines("0,32").is("isolated", "");
    assert_eq!(
        found.ignored(),
        ["isolcpus=nohz,domain,managed_irq,1-16,33-48"]
    );
}

#[test]
fn lists_with_spaces() {
    let found = Found::on(&machine(8), "kthread_cpus=0, 1 isolcpus=2, 3");
    found.confines("0").is("isolated", "2");
    assert_eq!(found.names(), ["cut-list", "cut-list"]);
    let found = Found::on(
        &machine(8),
        "kthread_cpus=\"0, 1\" isolcpus=\"managed_irq,domain,2-7\"",
    );
    found.confines("0-1").is("isolated", "2-7");
    assert!(found.names().is_empty());
    let found = Found::on(&machine(8), "\"kthread_cpus=0, 1\" isolcpus=2, quiet");
    found.confines("0-1").is("isolated", "2");
    assert!(found.names().is_empty());
    // A mode of the screen is no list.
    assert!(Found::on(&machine(8), "kthread_cpus=0, 1280x800")
        .names()
        .is_empty());
}

#[test]
fn the_last_kthread_cpus_counts() {
    let found = Found::on(&machine(8), "kthread_cpus=0-1 kthread-cpus=2-3");
    found.confines("2-3");
    assert!(found.names().is_empty());
    assert!(found.remarks_on("kthread_cpus=0-1 does nothing"));
    let found = Found::on(&machine(8), "kthread_cpus=0-1 kthread_cpus");
    assert_eq!(found.ignored(), ["kthread_cpus"]);
    let found = Found::on(&machine(8), "kthread_cpus=0-1 -- kthread_cpus=2-3");
    found.confines("0-1");
}

#[test]
fn values_of_kthread_cpus() {
    let tree = machine(8);

    for (value, cpus) in [
        ("0-1", "0-1"),
        ("timer,0", "0"),
        ("kthread,wq,0,N", "0,7"),
        ("all", "0-7"),
        ("0,8-100", "0"),
        ("0-31:2/4", "0-1,4-5"),
    ] {
        Found::on(&tree, &format!("kthread_cpus={value}")).confines(cpus);
    }
    for value in [
        "", "x", "wq", "0-x", "8", "8-100", "0,99999", "tick,0", "0 -1",
    ] {
        let found = Found::on(&tree, &format!("kthread_cpus={value} quiet"));
        match value {
            "0 -1" => found.confines("0"),
            _ => {
                assert_eq!(found.names(), ["ignored"], "{value}");
                &found
            }
        };
    }
    assert!(Found::on(&tree, "kthread_cpus=0,8-100").remarks_on("CPUs 8-100 of"));
    let found = Found::on(
        &machine(16),
        "nohz_full=14,15 kthread_cpus=14,15 isolcpus=managed_irq,domain,14,15",
    );
    assert_eq!(found.ignored(), ["kthread_cpus=14,15"]);
    let found = Found::on(&machine(8), "kthread_cpus=1-2 isolcpus=2-3");
    assert_eq!(found.names(), ["kthreads-on-isolated"]);
}

#[test]
fn kernels_differ() {
    let kernel = |version: &str, line: &str| Found::on(&of_kernel(version), line);
    let kthreads = |version, line, cpus| {
        kernel(version, line).is("kthreads", cpus);
    };

    for (version, cpus) in [
        ("5.8.1", "0-7"),
        ("5.9.0", "0-1"),
        ("6.19", "0-1"),
        ("7.0.0-rc1", "0-7"),
    ] {
        kthreads(version, "nohz_full=2-7", cpus);
    }
    for (version, cpus) in [("6.13.0", "0-7"), ("6.14.0", "0-1"), ("7.3.4", "0-7")] {
        kthreads(version, "isolcpus=nohz,2-7", cpus);
        kernel(version, "isolcpus=nohz,2-7").is("nohz_full", "2-7");
    }
    for (version, cpus) in [
        ("5.9.0", "0-7"),
        ("6.19.0", "0-7"),
        ("7.0.0", "0-1"),
        ("?", "0-1"),
    ] {
        kthreads(version, "isolcpus=2-7", cpus);
    }
    let found = kernel("7.3.4", "nohz_full=2-7");
    assert!(found.remarks_on("from 7.0 on being without a tick does not do it"));
    assert!(found.names().is_empty());
    assert!(!kernel("6.12.0", "nohz_full=2-7").remarks_on("kernel threads are not kept off"));
    // Long ago they had to have the same CPUs, and later at least no other of the same kind.
    let line = "isolcpus=4-7 nohz_full=2-7";
    kernel("5.15.0", line)
        .is("isolated", "4-7")
        .is("nohz_full", "");
    kernel("6.1.0", line)
        .is("isolated", "4-7")
        .is("nohz_full", "2-7");
    kernel("6.12.0", "isolcpus=0-3 nohz_full=4-7").is("nohz_full", "4-7");
    // And a flag that is not known was an error.
    assert_eq!(kernel("5.4.0", "isolcpus=no_such,2").ignored().len(), 1);
}

#[test]
fn kernel_threads_that_start_before_the_other_cpus() {
    let tree = machine(8);
    let line = "isolcpus=0-1,3,5,7";
    let early = |version: &str, cpus: &str| {
        tree.write("proc/sys/kernel/osrelease", format!("{version}\n"));
        let found = Found::on(&tree, line);
        found.is("kthreads", "2,4,6").is("early_kthreads", cpus);
        assert_eq!(found.remarks_on("stay on CPU 0"), cpus == "0");
    };

    // The series moves them when it can.
    early("7.3.4", "2,4,6");
    tree.remove("sys/devices/system/cpu/kthread_cpus");
    early("7.3.4", "0");
    early("7.0.0", "0");
    // One of the CPUs that are left is online from the start.
    Found::on(&tree, "isolcpus=1,3").is("early_kthreads", "0,2,4-7");
    // Before, it was nohz_full= that kept them off.
    tree.write("proc/sys/kernel/osrelease", "6.12.0\n");
    Found::on(&tree, line).is("early_kthreads", "0-7");
    Found::on(&tree, "nohz_full=0-3").is("early_kthreads", "0");
}

#[test]
fn a_kernel_without_the_option() {
    let tree = machine(8);

    tree.remove("sys/devices/system/cpu/kthread_cpus");
    let found = Found::on(&tree, "kthread_cpus=0-1");
    assert!(found.names().is_empty());
    assert!(found.remarks_on("it ignores kthread_cpus=0-1"));
    let args = ["plan", "--verify", "--cmdline", "kthread_cpus=0-1"];
    assert!(tree
        .run(&args)
        .1
        .contains("irq,timer), if that kernel has the option\n"));
    assert!(!Found::on(&machine(8), "kthread_cpus=0-1").remarks_on("ignores"));
}

#[test]
fn fewer_cpus() {
    let found = Found::on(&machine(8), "nr_cpus=4 isolcpus=2-7");
    found.is("possible", "0-3");
    assert_eq!(found.ignored(), ["isolcpus=2-7"], "there is no CPU 7");
    let found = Found::on(
        &machine(8),
        "isolcpus=2-3 nr_cpus=4 nr-cpus=0x6 kthread_cpus=0-7",
    );
    found
        .is("possible", "0-3")
        .is("isolated", "2-3")
        .confines("0-3");
    // What is not started yet counts.
    let found = Found::on(&machine(8), "maxcpus=2 kthread_cpus=4-5");
    found.is("starting", "0-1").confines("4-5");
    assert!(found.remarks_on("until one comes online"));
    let found = Found::on(&machine(8), "nosmp kthread_cpus=0-1");
    found.is("possible", "0").confines("0");
    let tree = machine(4);
    for cpu in 0..4 {
        let file = format!("sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list");
        tree.write(&file, format!("{},{}\n", cpu % 2, cpu % 2 + 2));
    }
    let found = Found::on(&tree, "nosmt kthread_cpus=2-3");
    found.is("starting", "0-1").confines("2-3");
    assert!(found.remarks_on("until one comes online"));
    assert_eq!(Found::on(&tree, "isolcpus=1").names(), ["half-core"]);
    // The other half sleeps.
    assert!(Found::on(&tree, "isolcpus=1 nosmt=force")
        .names()
        .is_empty());
}

#[test]
fn interrupts_and_processes() {
    let tree = machine(8);
    let names = |line: &str| Found::on(&tree, line).names().join(" ");

    assert_eq!(
        names("irqaffinity=0-3 isolcpus=2-7"),
        "interrupts-on-isolated"
    );
    assert_eq!(names("irqaffinity=1-x"), "malformed");
    Found::on(&tree, "irqaffinity=2-3,x").is("irqaffinity", "0,2-3");
    assert_eq!(names("rcu_nocbs=8"), "malformed");
    Found::on(&tree, "rcu_nocbs=8").is("rcu_nocbs", "0-7");
    Found::on(&tree, "rcu_nocbs nohz_full=4").is("rcu_nocbs", "4");
    let found = Found::on(
        &tree,
        "systemd.cpu_affinity=0-1,2 isolcpus=2-7 kthread_cpus=0-1",
    );
    found.is("systemd", "0-2");
    assert_eq!(found.names(), ["processes-on-isolated"]);
    assert!(found.remarks_on("systemd puts PID 1"));
    assert_eq!(names("systemd.cpu_affinity=0-x"), "ignored");
    assert_eq!(names("isolcpus nohz_full"), "ignored ignored");
}

#[test]
fn cores_and_the_line_of_the_machine_itself() {
    let tree = machine(8);

    for cpu in 0..8 {
        let file = format!("sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list");
        tree.write(&file, format!("{},{}\n", cpu % 4, cpu % 4 + 4));
    }
    assert_eq!(Found::on(&tree, "isolcpus=1-3").names(), ["half-core"; 3]);
    let args = [
        "plan",
        "--verify",
        "--split-cores",
        "--cmdline",
        "isolcpus=1-3",
    ];
    assert_eq!(tree.run(&args).0, 0);
    assert_eq!(
        Found::on(&tree, "nohz_full=1-3,5-7 isolcpus=2-3,6-7").names(),
        ["nohz-not-isolated"]
    );
    tree.write("proc/cmdline", "nohz_full=0\n");
    assert_eq!(tree.run(&["plan", "--verify"]).0, 1);
    tree.write("proc/cmdline", "quiet\n");
    let (status, text, _) = tree.run(&["plan", "--verify"]);
    assert_eq!(status, 0);
    assert!(
        text.starts_with("ok: the command line confines and isolates nothing\n"),
        "{text}"
    );
}
