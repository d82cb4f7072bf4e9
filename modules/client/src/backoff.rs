//! How long to wait before connecting again: doubling to a cap, with jitter.

use std::time::Duration;

/// 500 ms · 2ⁿ up to 15 s, plus up to a quarter of it, taken from `noise`.
pub(crate) fn delay(attempt: u32, noise: u32) -> Duration {
    let base = 500u64.saturating_mul(1u64 << attempt.min(5)).min(15_000);
    Duration::from_millis(base + base / 4 * u64::from(noise % 1000) / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_to_a_cap_and_jitter_adds_at_most_a_quarter() {
        let delays = [0, 1, 2, 5, 9].map(|attempt| delay(attempt, 0).as_millis());
        assert_eq!(delays, [500, 1_000, 2_000, 15_000, 15_000]);
        assert!((15_000..18_750).contains(&delay(9, 999).as_millis()));
    }
}
