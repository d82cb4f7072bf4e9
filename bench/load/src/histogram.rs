//! Durations counted in buckets that are 1.6 % wide at most, in constant memory.

/// Buckets for each power of two.
const FINE: u32 = 64;
/// Nanoseconds up to 2^40, some 18 minutes.
const POWERS: u32 = 40;

/// See the module documentation.
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Histogram { counts: vec![0; (FINE * POWERS) as usize], total: 0, max: 0 }
    }

    pub(crate) fn record(&mut self, nanoseconds: u64) {
        let last = self.counts.len() - 1;
        self.counts[bucket(nanoseconds).min(last)] += 1;
        self.total += 1;
        self.max = self.max.max(nanoseconds);
    }

    /// Milliseconds that this part of all did not exceed; 0 if nothing was recorded.
    pub(crate) fn milliseconds(&self, part: f64) -> f64 {
        let wanted = (self.total as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return upper(bucket).min(self.max) as f64 / 1e6;
            }
        }
        0.0
    }

    pub(crate) fn max_milliseconds(&self) -> f64 {
        self.max as f64 / 1e6
    }
}

/// Below 128 each value has its own; above, the six bits behind the first one choose.
fn bucket(value: u64) -> usize {
    let fine = u64::from(FINE);
    if value < 2 * fine {
        return value as usize;
    }
    let shift = value.ilog2() - FINE.ilog2();
    (u64::from(shift) * fine + (value >> shift)) as usize
}

/// The greatest value of a bucket.
fn upper(bucket: usize) -> u64 {
    let (bucket, fine) = (bucket as u64, u64::from(FINE));
    if bucket < 2 * fine {
        return bucket;
    }
    let shift = bucket / fine - 1;
    (((bucket % fine) + fine + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_lies_in_a_bucket_that_is_hardly_wider_than_it() {
        let mut value = 1_u64;
        let mut last = 0;
        while value < 1 << 39 {
            let at = bucket(value);
            assert!(at >= last, "{value} lies before a smaller one");
            assert!(
                upper(at) >= value && upper(at) - value <= value / 64,
                "{value}: {}",
                upper(at)
            );
            if at > 0 {
                assert!(upper(at - 1) < value, "{value} lies too high");
            }
            last = at;
            value += value / 100 + 1;
        }
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.milliseconds(0.5), 0.0);
        (1..=1000).for_each(|n| histogram.record(n * 1_000_000));
        for (part, want) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let got = histogram.milliseconds(part);
            assert!(got >= want && got < want * 1.02, "{part}: {got}");
        }
        assert_eq!(histogram.max_milliseconds(), 1000.0);
    }
}
