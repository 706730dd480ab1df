//! Durations in buckets: any number of them in a bounded number of counts, whose quantiles are known to within a part.
//!
//! Invariant: a bucket's upper bound is at most an eighth above its lower one, and below 16 ms every millisecond has one.

/// Eight buckets for each doubling.
const STEPS: i64 = 8;
const STEPS_LOG2: u32 = 3;
const EXACT_BELOW: i64 = 16;
/// Ten days and more are one bucket.
const DURATION_MAX_MS: i64 = 864_000_000;

/// The bucket of a duration.
pub fn bucket_of(ms: i64) -> i64 {
    let ms = ms.clamp(0, DURATION_MAX_MS);
    if ms < EXACT_BELOW {
        return ms;
    }
    let doublings = i64::from(ms.ilog2() - STEPS_LOG2);
    doublings * STEPS + (ms >> doublings)
}

/// The greatest duration that the bucket holds.
pub fn greatest_of(bucket: i64) -> i64 {
    if bucket < EXACT_BELOW {
        return bucket;
    }
    let doublings = bucket / STEPS - 1;
    let step = bucket - doublings * STEPS;
    ((step + 1) << doublings) - 1
}

/// The duration that `percent` of all are not above: the greatest of its bucket. `buckets` are in their order.
pub fn quantile(buckets: &[(i64, i64)], percent: i64) -> Option<i64> {
    let all: i64 = buckets.iter().map(|(_, count)| count).sum();
    let rank = (i128::from(all) * i128::from(percent) + 99) / 100;
    let mut passed = 0_i128;
    for (bucket, count) in buckets {
        passed += i128::from(*count);
        if all > 0 && passed >= rank.max(1) {
            return Some(greatest_of(*bucket));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_are_narrow() {
        let mut last = -1;
        for ms in 0..2_000_000 {
            let bucket = bucket_of(ms);
            assert!(bucket == last || bucket == last + 1, "{ms}: {bucket} after {last}");
            if bucket != last {
                assert_eq!(greatest_of(last), ms - 1);
            }
            assert!(greatest_of(bucket) >= ms && greatest_of(bucket) - ms <= ms / 8, "{ms} in {bucket}");
            last = bucket;
        }
        assert_eq!(bucket_of(-5), 0);
        assert_eq!(bucket_of(i64::MAX), bucket_of(DURATION_MAX_MS));
    }

    #[test]
    fn a_quantile_is_the_duration_that_so_many_are_not_above() {
        let buckets: Vec<(i64, i64)> = (1..=10).map(|ms| (bucket_of(ms), 1)).collect();
        assert_eq!(quantile(&buckets, 50), Some(5));
        assert_eq!(quantile(&buckets, 95), Some(10));
        assert_eq!(quantile(&buckets, 10), Some(1));
        assert_eq!(quantile(&[(3, 0)], 50), None);
        assert_eq!(quantile(&[], 50), None);
    }
}
