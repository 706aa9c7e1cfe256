//! How late departures were: a histogram with 32 steps to the octave (3 % resolution) and fixed memory.

const STEPS_BITS: u32 = 5;
const STEPS: u64 = 1 << STEPS_BITS;
/// Octaves of ns that are told apart; the last holds everything from 2^40 ns (18 minutes) on.
const OCTAVES: usize = 36;

/// Counts of lateness.
#[derive(Debug, Clone)]
pub(super) struct Lateness {
    buckets: Box<[u64]>,
    count: u64,
    max_ns: u64,
}

impl Default for Lateness {
    fn default() -> Self {
        Self {
            buckets: vec![0; OCTAVES * STEPS as usize].into(),
            count: 0,
            max_ns: 0,
        }
    }
}

/// Order statistics of the lateness of departures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LatenessSummary {
    /// Datagrams that left.
    pub count: u64,
    /// Median in ns, as all of these within 3 %, rounded up.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p999_ns: u64,
    /// The exact maximum.
    pub max_ns: u64,
}

impl Lateness {
    pub(super) fn record(&mut self, ns: u64, count: u64) {
        self.buckets[bucket(ns)] += count;
        self.count += count;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Add what `other` has counted.
    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    pub(super) fn summary(&self) -> LatenessSummary {
        LatenessSummary {
            count: self.count,
            p50_ns: self.quantile(50, 100),
            p90_ns: self.quantile(90, 100),
            p99_ns: self.quantile(99, 100),
            p999_ns: self.quantile(999, 1000),
            max_ns: self.max_ns,
        }
    }

    /// The order statistic of rank ceil(count x numerator / denominator).
    fn quantile(&self, numerator: u64, denominator: u64) -> u64 {
        let rank = (self.count * numerator).div_ceil(denominator);
        let mut below = 0;
        for (i, &count) in self.buckets.iter().enumerate() {
            below += count;
            if count > 0 && below >= rank {
                return upper_bound(i).min(self.max_ns);
            }
        }
        0
    }
}

fn bucket(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let octave = (ns.ilog2() - STEPS_BITS + 1) as usize;
    if octave >= OCTAVES {
        return OCTAVES * STEPS as usize - 1;
    }
    let step = (ns >> (octave - 1)) & (STEPS - 1);
    octave * STEPS as usize + step as usize
}

/// Largest ns in a bucket.
fn upper_bound(bucket: usize) -> u64 {
    let (octave, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    if octave == 0 {
        return step;
    }
    ((STEPS + step + 1) << (octave - 1)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_near_its_bound() {
        for ns in (0..5_000).chain([1 << 20, (1 << 39) + 12_345, (1 << 40) - 1]) {
            let bound = upper_bound(bucket(ns));
            assert!(bound >= ns && bound - ns <= ns / 32, "{ns} {bound}");
            assert!(bucket(ns) == 0 || upper_bound(bucket(ns) - 1) < ns, "{ns}");
        }
        assert_eq!(bucket(u64::MAX), OCTAVES * STEPS as usize - 1);
    }

    #[test]
    fn quantiles_are_order_statistics() {
        let mut lateness = Lateness::default();
        assert_eq!(lateness.summary(), LatenessSummary::default());
        for ns in 1..=1000 {
            lateness.record(ns, 1);
        }
        let summary = lateness.summary();
        for (got, exact) in [
            (summary.p50_ns, 500),
            (summary.p99_ns, 990),
            (summary.p999_ns, 999),
        ] {
            assert!(got >= exact && got <= exact + exact / 32, "{got} {exact}");
        }
        assert_eq!((summary.count, summary.max_ns), (1000, 1000));
    }

    #[test]
    fn one_late_packet_in_a_hundred_is_not_the_median() {
        let mut lateness = Lateness::default();
        lateness.record(10, 99);
        lateness.record(1_000_000, 1);
        assert_eq!(lateness.summary().p50_ns, 10);
        assert_eq!(lateness.summary().p99_ns, 10);
        assert_eq!(lateness.summary().p999_ns, 1_000_000);
    }
}
