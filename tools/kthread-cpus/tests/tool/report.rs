// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus report` from recordings. That a browser shows the page is tested by `scripts/tool`.

use serde_json::{json, Value};

use crate::common::{assert_one_line, Tree, KTHREAD};

/// What `watch` records on a machine where `rcu_preempt` ran on CPU 5.
fn recording(cpus: &str) -> Value {
    let thread = |pid: u32, name: &str, class: &str, verdict: &str, runs: Value| {
        json!({"pid": pid, "name": name, "class": class, "allowed": "0-7", "verdict": verdict,
            "reason": "", "cpu": 0, "runs": runs})
    };

    json!({
        "version": 1, "started": 1_795_216_852, "duration_ns": 1_000_000_000, "switches": 10,
        "lost": 0, "kernel": "7.3.0", "cmdline": "kthread_cpus=0-1", "possible": "0-7",
        "online": "0-6", "isolated": "", "nohz_full": "", "cpus": cpus, "source": "argument",
        "obeys": "unknown", "notes": ["a <note>"], "advice": ["do this"],
        "nodes": [{"id": 0, "cpus": "0-7"}],
        "topology": {"cores": [{"cpus": "0-1", "node": 0, "cache": "0-3", "online": true}]},
        "settings": [{"name": "unbound workqueues", "cpus": "0-7", "outside": true, "counts": true}],
        "threads": [
            thread(15, "rcu_preempt", "unbound", "outside",
                json!([{"cpu": 0, "ns": 5, "count": 1}, {"cpu": 5, "ns": 2_000_000, "count": 3}])),
            thread(20, "cpuhp/5", "per-cpu", "exempt", json!([{"cpu": 5, "ns": 9, "count": 1}])),
            thread(30, "</text><script>alert(1)</script>", "unbound", "inside",
                json!([{"cpu": 1, "ns": 1, "count": 1}])),
            thread(31, "ksmd", "unbound", "outside", json!([])),
        ],
    })
}

fn write(tree: &Tree, name: &str, recording: &Value) -> String {
    tree.write(name, recording.to_string());
    tree.path().join(name).to_str().unwrap().to_owned()
}

#[test]
fn a_page_needs_nothing_else() {
    let tree = Tree::new("0-7");
    let file = write(&tree, "a.json", &recording("0-1"));
    let page = tree.path().join("r.html");
    let (status, out, error) = tree.run(&["report", &file, "-o", page.to_str().unwrap()]);

    assert_eq!((status, out.as_str(), error.as_str()), (0, "", ""));
    let page = tree.read("r.html");
    // Without a scheme nothing is fetched; the only address is an empty icon.
    assert!(!page.contains("://") && !page.contains("@import"));
    assert_eq!(page.matches("<link").count(), 1);
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains("&lt;script&gt;alert(1)"));
    assert!(page.contains("a &lt;note&gt;"));
    assert!(page.contains("2026-11-20 23:20 UTC"));
    assert!(page.contains("<b class=\"bad\">3</b>intrusions for 2.0 ms on CPUs 2-6"));
    assert!(page.contains(
        "rcu_preempt on CPU 5&#10;2.0 ms in 3 runs, 0.2000 % of the time&#10;outside, and should not"
    ));
    assert!(page.contains("cpuhp/N on CPU 5"));
    // Every section can be gone to, and exists.
    let links: Vec<_> = page.split("<a href=\"#").skip(1).collect();
    assert_eq!(links.len(), page.matches("<section").count());
    for link in links {
        let name = link.split('"').next().unwrap();
        assert!(page.contains(&format!("<section id=\"{name}\">")), "{name}");
    }
    // What may be outside is not of the colour of what is wrong there.
    assert_eq!(page.matches("<rect class=\"exempt\" x=").count(), 0);
    assert!(page.contains("<rect class=\"out\" x="));
    // Of two threads there is the same to say.
    assert!(page.contains("<td class=\"names\">ksmd, rcu_preempt</td><td class=\"n\">2</td>"));
}

#[test]
fn two_recordings_side_by_side() {
    let tree = Tree::new("0-7");
    let before = write(&tree, "a.json", &recording("0-1"));
    let after = write(&tree, "b.json", &recording("0-7"));
    let path = |name| tree.path().join(name).to_str().unwrap().to_owned();
    let (page, image) = (path("r.html"), path("r.png"));
    let (status, _, error) = tree.run(&[
        "report", "--before", &before, "--after", &after, "-o", &page, "--png", &image,
    ]);

    assert_eq!((status, error.as_str()), (0, ""));
    let page = tree.read("r.html");
    assert_eq!(page.matches("<h3>Before</h3>").count(), 5);
    assert_eq!(page.matches("<h3>After</h3>").count(), 5);
    assert_eq!(page.matches("<svg class=\"map\"").count(), 2);
    let bytes = std::fs::read(image).unwrap();
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
}

#[test]
fn settings_that_do_not_count_are_not_red() {
    let tree = Tree::new("0-7");
    let mut watched = recording("0-7");
    watched["cpus"] = json!("0-1");
    watched["threads"] = json!([]);
    watched["settings"][0]["counts"] = json!(false);
    let file = write(&tree, "a.json", &watched);
    let page = tree.path().join("r.html");
    tree.run(&["report", &file, "-o", page.to_str().unwrap()]);

    let page = tree.read("r.html");
    assert!(page.contains("<td class=\"note\">0-7</td>"));
    assert!(page.contains("<rect class=\"exempt\" x="));
    assert!(!page.contains("<rect class=\"out\" x="));
}

#[test]
fn a_map_of_many_cpus_fits_a_page() {
    let tree = Tree::new("0-255");
    let mut watched = recording("0-1");
    watched["possible"] = json!("0-255");
    for (online, columns) in [("0-7", "two"), ("0-63", ""), ("0-255", "")] {
        watched["online"] = json!(online);
        let file = write(&tree, "a.json", &watched);
        let page = tree.path().join("r.html");
        let page = page.to_str().unwrap();
        let (status, _, error) =
            tree.run(&["report", "--before", &file, "--after", &file, "-o", page]);
        assert_eq!((status, error.as_str()), (0, ""));

        let page = tree.read("r.html");
        let map = page
            .split("<section id=\"what-ran-where\">")
            .nth(1)
            .unwrap();
        assert_eq!(
            map.lines().nth(1).unwrap().contains("two"),
            columns == "two"
        );
        let width = map.split(" width=\"").nth(1).unwrap();
        let width: u32 = width.split('"').next().unwrap().parse().unwrap();
        assert!(width < 1100, "{width}");
        assert_eq!(map.contains("a column is 2 CPUs"), online == "0-255");
    }
}

#[test]
fn the_machine_as_it_is() {
    let tree = Tree::old_kernel();
    let path = |name| tree.path().join(name).to_str().unwrap().to_owned();
    let (status, _, _) = tree.run(&["report", "-o", &path("r.html")]);

    assert_eq!(status, 0);
    assert!(tree.read("r.html").contains("Nothing was watched"));
    let (status, _, error) = tree.run(&["report", "--png", &path("r.png")]);
    assert_eq!(status, 2);
    assert_one_line(&error);
}

#[test]
fn bad_recordings_leave_no_page() {
    let tree = Tree::new("0-7");
    let page = tree.path().join("r.html");
    let page = page.to_str().unwrap();
    let mut newer = recording("0-1");
    newer["version"] = json!(2);
    let mut cut = recording("0-1").to_string();
    cut.truncate(cut.len() / 2);
    let mut wild = recording("0-1");
    wild["cpus"] = json!("all of them");

    for text in [
        newer.to_string(),
        cut,
        wild.to_string(),
        String::new(),
        "[]".to_owned(),
    ] {
        tree.write("a.json", &text);
        let file = tree.path().join("a.json");
        let (status, _, error) = tree.run(&["report", file.to_str().unwrap(), "-o", page]);
        assert_eq!(status, 2, "{text}");
        assert_one_line(&error);
    }
    let (status, _, error) = tree.run(&["report", "/no/such/file", "-o", page]);
    assert_eq!(status, 2);
    assert_one_line(&error);
    assert!(!std::path::Path::new(page).exists());
}

#[test]
fn wild_numbers_in_a_recording() {
    let tree = Tree::new("0-7");
    let mut wild = recording("0-65535:1/7");
    let runs: Vec<_> = (0..9000)
        .map(|cpu| json!({"cpu": cpu * 7, "ns": u64::MAX / 2, "count": u64::MAX / 4}))
        .collect();

    wild["threads"][0]["runs"] = json!(&runs[..2]);
    wild["online"] = json!("0-65535");
    wild["duration_ns"] = json!(1);
    wild["started"] = json!(u32::MAX);
    let file = write(&tree, "a.json", &wild);
    let path = |name| tree.path().join(name).to_str().unwrap().to_owned();
    let (status, _, error) = tree.run(&[
        "report",
        &file,
        "-o",
        &path("r.html"),
        "--png",
        &path("r.png"),
    ]);
    assert_eq!((status, error.as_str()), (0, ""));
}

#[test]
fn a_machine_with_thousands_of_threads_and_cpus() {
    let tree = Tree::new("0-4095");

    for pid in 2..2000 {
        tree.thread(pid, &format!("thread{pid}x"), KTHREAD, "0-4095", 0);
    }
    let page = tree.path().join("r.html");
    let (status, _, error) = tree.run(&["report", "-o", page.to_str().unwrap()]);
    assert_eq!((status, error.as_str()), (0, ""));
    assert!(tree.read("r.html").len() < 2 << 20);
}

/// A work item that ran on CPU 5, and what it was a part of.
fn account(name: &str, ns: u64) -> Value {
    json!({
        "causes": [{
            "kind": "work", "name": name, "detail": "events", "count": 4, "ns": ns, "longest_ns": 7,
            "longest_at": 100, "longest_cpu": 5,
            "cpus": [{"cpu": 5, "count": 4, "ns": ns, "longest_ns": 7}],
            "origins": [{"who": "<b>", "pid": 9, "cpu": 0, "count": 3, "stack": ["queue_work_on", "x<y"]}],
            "others": 1, "why": "It <was> queued.", "remedy": "move it & be glad", "means": "programs",
        }],
        "worst": [{"cpu": 5, "at": 500_000_000, "ns": 7, "parts": [{"cause": 0, "ns": 7}]}],
        "noise": [{"cpu": 5, "count": 4, "ns": ns, "longest_ns": 7}],
        "missing": ["this kernel does not tell <all>"], "own": 0,
    })
}

#[test]
fn causes_have_a_table_and_a_timeline() {
    let tree = Tree::new("0-7");
    let mut watched = recording("0-1");
    watched["account"] = account("<work>", 2_000);
    let file = write(&tree, "a.json", &watched);
    let page = tree.path().join("r.html");
    let (status, _, error) = tree.run(&["report", &file, "-o", page.to_str().unwrap()]);

    assert_eq!((status, error.as_str()), (0, ""));
    let page = tree.read("r.html");
    for text in [
        "&lt;work&gt; on events",
        "CPU 5",
        "It &lt;was&gt; queued.",
        "move it &amp; be glad",
        "<b>programs</b>",
        "queued by &lt;b&gt; (9) on CPU 0, many more",
        "3 × &lt;b&gt; (9) on CPU 0<pre>queue_work_on\nx&lt;y</pre>",
        "1 × others",
        "does not tell &lt;all&gt;",
        "data-tip=\"7 ns on CPU 5, at 500.0 ms\nwork &lt;work&gt; on events: 7 ns\"",
        "In all, 4 disturbances of 1 CPUs took 2.0 µs.",
        // What the axes of the timeline are.
        ">CPU</text>",
        "x=\"100.00%\" y=\"62\" text-anchor=\"end\">1 s</text>",
        "a whole row is 7 ns, half a row a quarter of that",
        // The part that took most.
        "<b>work &lt;work&gt; on events 7 ns</b>",
        // Where there is no room for columns.
        "<td class=\"n\" data-label=\"Times\">4</td>",
        "<p>Time by what moves it",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn many_causes_are_folded() {
    let tree = Tree::new("0-7");
    let mut watched = recording("0-1");
    watched["account"] = account("some", 2_000);
    let causes = watched["account"]["causes"].as_array_mut().unwrap();
    for number in 0..209 {
        let mut cause = causes[0].clone();
        cause["name"] = json!(format!("other{number}"));
        causes.push(cause);
    }
    let file = write(&tree, "a.json", &watched);
    let page = tree.path().join("r.html");
    let page = page.to_str().unwrap();
    for args in [
        vec!["report", &file, "-o", page],
        vec!["report", "--before", &file, "--after", &file, "-o", page],
    ] {
        assert_eq!(tree.run(&args).0, 0);
        let page = tree.read("r.html");
        let (seen, folded) = page.split_once("<summary>150 more, for less time").unwrap();
        assert_eq!(seen.matches("<td class=\"what\">").count(), 50);
        assert_eq!(folded.matches("<td class=\"what\">").count(), 150);
        assert!(folded.contains("And 10 more, for less time still."));
    }
}

#[test]
fn causes_are_compared() {
    let tree = Tree::new("0-7");
    let mut before = recording("0-1");
    before["account"] = account("both", 2_000);
    let gone = account("only_before", 50)["causes"][0].clone();
    before["account"]["causes"]
        .as_array_mut()
        .unwrap()
        .push(gone);
    let mut after = recording("0-1");
    after["account"] = account("both", 500);
    after["account"]["worst"][0]["ns"] = json!(9);
    let new = account("only_after", 50)["causes"][0].clone();
    after["account"]["causes"].as_array_mut().unwrap().push(new);
    let (before, after) = (
        write(&tree, "a.json", &before),
        write(&tree, "b.json", &after),
    );
    let page = tree.path().join("r.html");
    let page = page.to_str().unwrap();
    let (status, _, error) =
        tree.run(&["report", "--before", &before, "--after", &after, "-o", page]);

    assert_eq!((status, error.as_str()), (0, ""));
    let page = tree.read("r.html");
    let rows = page.split("<td class=\"what\">").skip(1);
    let rows: Vec<_> = rows.map(|row| row.split("</tr>").next().unwrap()).collect();
    assert_eq!(rows.len(), 3);
    assert!(
        rows[0].contains("both") && rows[0].contains("-75 %"),
        "{}",
        rows[0]
    );
    for label in ["Before: times", "After: times", "Time per second"] {
        assert!(rows[0].contains(label), "{}", rows[0]);
    }
    // The timelines have the same scale.
    assert_eq!(page.matches("a whole row is 9 ns").count(), 2);
    for (name, change) in [("only_before", ">gone<"), ("only_after", ">new<")] {
        let row = rows.iter().find(|row| row.contains(name)).unwrap();
        assert!(row.contains(change), "{row}");
    }
}

#[test]
fn an_account_may_be_wild() {
    let tree = Tree::new("0-7");
    let mut wild = recording("0-1");
    wild["account"] = account("x", u64::MAX);
    let account = &mut wild["account"];
    account["worst"][0]["parts"] = json!([{"cause": 99, "ns": u64::MAX}]);
    account["worst"][0]["at"] = json!(u64::MAX);
    account["worst"][0]["cpu"] = json!(u32::MAX);
    account["causes"][0]["cpus"][0]["cpu"] = json!(u32::MAX);
    account["noise"] = json!([
        {"cpu": 1, "count": u64::MAX, "ns": u64::MAX, "longest_ns": 0},
        {"cpu": 1, "count": 1, "ns": 1, "longest_ns": 0},
    ]);
    let file = write(&tree, "a.json", &wild);
    let page = tree.path().join("r.html");
    let page = page.to_str().unwrap();

    let (status, _, error) = tree.run(&["report", &file, "-o", page]);
    assert_eq!((status, error.as_str()), (0, ""));
    let args = ["report", "--before", &file, "--after", &file, "-o", page];
    assert_eq!(tree.run(&args).0, 0);
}
