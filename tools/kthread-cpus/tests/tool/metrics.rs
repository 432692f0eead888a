// SPDX-License-Identifier: GPL-2.0

//! The metrics for Prometheus, read by a strict reader of its text format.

use std::collections::{BTreeMap, BTreeSet};

use kthread_cpus::{
    cause::{histogram::BOUNDS, table::Means, Cause, Kind},
    recording::Recording,
    watch::prometheus::Exporter,
};

/// A sample: the name with its suffix, the labels and the value.
type Sample = (String, BTreeMap<String, String>, f64);

/// Reads the labels between the braces.
fn labels(mut text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();

    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").unwrap();
        assert!(is_name(name) && !name.contains(':'), "{name}");
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next().expect("no quotation mark at the end") {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    c => panic!("\\{c}"),
                }),
                (_, c) => {
                    assert_ne!(c, '\n');
                    value.push(c);
                }
            }
        };
        assert!(
            labels.insert(name.to_owned(), value).is_none(),
            "{name} twice"
        );
        text = &rest[end + 1..];
        text = match text.strip_prefix(',') {
            Some(rest) => rest,
            None if text.is_empty() => text,
            None => panic!("{text}"),
        };
    }
    labels
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();

    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Reads metrics, and checks what Prometheus' conventions ask for. Returns the kinds and the samples.
pub(crate) fn read(text: &str) -> (BTreeMap<String, String>, Vec<Sample>) {
    let mut kinds: BTreeMap<String, String> = BTreeMap::new();
    let mut samples: Vec<Sample> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut now = String::new();
    let mut helped = String::new();

    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && help.ends_with('.'), "{line}");
            helped = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, helped, "the help comes first");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            // All that belongs together is together.
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none());
            // Counters end in _total, after their unit, which is a base unit.
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
            for unit in ["_ns", "_ms", "_us", "_milliseconds", "_count", "_bucket"] {
                assert!(!name.ends_with(unit), "{name}");
            }
            now = name.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, inside) = match series.split_once('{') {
                Some((name, rest)) => (name, rest.strip_suffix('}').unwrap()),
                None => (series, ""),
            };
            let suffix = name.strip_prefix(&now).expect("a sample of what was begun");
            let histogram = kinds[&now] == "histogram";
            let right = match suffix {
                "_bucket" | "_sum" | "_count" => histogram,
                "" => !histogram,
                _ => false,
            };
            assert!(is_name(name) && right, "{line}");
            assert!(seen.insert(series.to_owned()), "{series} twice");
            let value: f64 = value.parse().unwrap();
            assert!(value.is_finite() && value >= 0.0, "{line}");
            samples.push((name.to_owned(), labels(inside), value));
        }
    }
    for (name, _) in kinds.iter().filter(|(_, kind)| *kind == "histogram") {
        check_histogram(name, &samples);
    }
    (kinds, samples)
}

/// Buckets grow, the last one has all, and there are a sum and a count.
fn check_histogram(name: &str, samples: &[Sample]) {
    let mut series: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
    for (sample, labels, value) in samples {
        if *sample == format!("{name}_bucket") {
            let mut rest = labels.clone();
            let bound = rest.remove("le").unwrap();
            let bound = bound.replace("+Inf", "inf").parse().unwrap();
            series.entry(rest).or_default().push((bound, *value));
        }
    }
    assert!(!series.is_empty());
    for (labels, buckets) in series {
        assert!(
            buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1),
            "{buckets:?}"
        );
        let (bound, all) = *buckets.last().unwrap();
        let other = |suffix: &str| {
            let name = format!("{name}{suffix}");
            let mut samples = samples.iter();
            samples.find(|(sample, with, _)| *sample == name && *with == labels)
        };
        assert_eq!(bound, f64::INFINITY);
        assert_eq!(other("_count").unwrap().2, all);
        assert!(other("_sum").is_some());
    }
}

/// Returns a recording with as many causes, each of which ran `count` times.
fn recording(causes: usize, count: u64) -> Recording {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/after.json");
    let mut recording = Recording::load(path.as_ref()).unwrap();

    recording.account.causes = (0..causes)
        .map(|number| Cause {
            kind: Kind::Work,
            name: format!("work_{number}"),
            detail: "a \"queue\"\\\n".to_owned(),
            count,
            ns: count * 1_500,
            longest_ns: 1_500,
            longest_at: 0,
            longest_cpu: 1,
            cpus: Vec::new(),
            histogram: {
                let mut counts = vec![0; BOUNDS.len() + 1];
                counts[1] = count;
                counts
            },
            origins: Vec::new(),
            others: 0,
            why: String::new(),
            remedy: String::new(),
            means: Means::Boot,
        })
        .collect();
    recording
}

fn write(exporter: &mut Exporter, recording: &Recording) -> Vec<Sample> {
    let mut out = Vec::new();
    exporter.write(&mut out, recording).unwrap();
    let (kinds, samples) = read(&String::from_utf8(out).unwrap());

    for name in kinds.keys() {
        // Those of check begin otherwise: both may be in one directory.
        assert!(name.starts_with("kthread_cpus_watch_"), "{name}");
    }
    samples
}

/// Returns the number of series of a histogram, and the count of one of them.
fn counts(samples: &[Sample], cause: &str) -> (usize, Option<f64>) {
    let name = "kthread_cpus_watch_disturbance_seconds_count";
    let all = samples.iter().filter(|(sample, ..)| sample == name);
    let found = all
        .clone()
        .find(|(_, labels, _)| labels["cause"].starts_with(cause));

    (all.count(), found.map(|(.., value)| *value))
}

#[test]
fn a_histogram_for_each_cause() {
    let samples = write(&mut Exporter::default(), &recording(1, 7));
    let bucket = |bound: &str| {
        let found = samples.iter().find(|(name, labels, _)| {
            name.ends_with("disturbance_seconds_bucket")
                && labels["kind"] == "work"
                && labels["le"] == bound
        });
        let (_, labels, value) = found.unwrap();
        assert_eq!(labels["cause"], "work_0 on a \"queue\"\\\n");
        assert_eq!(labels["moved_by"], "boot option");
        *value
    };

    assert_eq!(
        (bucket("1e-06"), bucket("2e-06"), bucket("+Inf")),
        (0.0, 7.0, 7.0)
    );
    let sum = samples.iter().find(|(name, labels, _)| {
        name.ends_with("disturbance_seconds_sum") && labels["kind"] == "work"
    });
    assert!((sum.unwrap().2 - 7.0 * 1.5e-6).abs() < 1e-12);
}

#[test]
fn series_do_not_vanish_and_counters_do_not_go_back() {
    let mut exporter = Exporter::default();
    let before = write(&mut exporter, &recording(150, 5));
    let mut later = recording(300, 6);
    // Those that took most are others now.
    later.account.causes.reverse();
    let after = write(&mut exporter, &later);

    assert_eq!(counts(&before, "work_0 "), (101, Some(5.0)));
    assert_eq!(counts(&before, "other").1, Some(250.0));
    let value = |name: &String, labels: &BTreeMap<String, String>| {
        let mut samples = after.iter();
        let same = samples.find(|sample| sample.0 == *name && sample.1 == *labels);
        same.expect("the series has vanished").2
    };
    for (name, labels, before) in &before {
        assert!(value(name, labels) >= *before, "{name}");
    }
    assert_eq!(counts(&after, "other").1, Some(1_200.0));
}

#[test]
fn the_metrics_of_check_are_right_too() {
    let tree = crate::common::Tree::old_kernel();
    let (_, out, _) = tree.run(&["check", "--cpus", "0-1", "--prometheus"]);

    read(&out);
}
