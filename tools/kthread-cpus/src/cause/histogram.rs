// SPDX-License-Identifier: GPL-2.0

//! How often something took how long, in buckets.

/// The bounds of the buckets, in nanoseconds, and in seconds as Prometheus writes them. What takes less
/// than 1 µs disturbs nobody, and what takes more than 100 ms is a fault.
pub const BOUNDS: [(u64, &str); 13] = [
    (1_000, "1e-06"),
    (2_000, "2e-06"),
    (5_000, "5e-06"),
    (10_000, "1e-05"),
    (20_000, "2e-05"),
    (50_000, "5e-05"),
    (100_000, "0.0001"),
    (200_000, "0.0002"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (5_000_000, "0.005"),
    (20_000_000, "0.02"),
    (100_000_000, "0.1"),
];

/// How many times are in each bucket; the last one has those beyond all bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BOUNDS.len() + 1],
}

impl Histogram {
    /// Adds a time.
    pub fn add(&mut self, ns: u64) {
        // A bound belongs to its bucket, as with Prometheus.
        let bucket = BOUNDS.partition_point(|(bound, _)| *bound < ns);
        self.counts[bucket] += 1;
    }

    /// Adds all times of another.
    pub fn merge(&mut self, counts: &[u64]) {
        for (own, other) in self.counts.iter_mut().zip(counts) {
            *own = own.saturating_add(*other);
        }
    }

    /// Returns how many times are in each bucket.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_their_buckets() {
        let mut histogram = Histogram::default();

        for ns in [0, 1_000, 1_001, 100_000_000, 100_000_001, u64::MAX] {
            histogram.add(ns);
        }
        let mut twice = histogram;
        twice.merge(histogram.counts());
        let counts = twice.counts();
        assert_eq!((counts[0], counts[1], counts[12], counts[13]), (4, 2, 2, 4));
        assert_eq!(counts.iter().sum::<u64>(), 12);
    }

    #[test]
    fn the_bounds_are_the_same_in_both_units() {
        assert!(BOUNDS.is_sorted_by_key(|(ns, _)| ns));
        for (ns, seconds) in BOUNDS {
            let seconds: f64 = seconds.parse().unwrap();
            assert_eq!((seconds * 1e9).round() as u64, ns);
        }
    }
}
