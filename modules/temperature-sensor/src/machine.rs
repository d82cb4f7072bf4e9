//! A simulated machine that warms up and cools down, with the JSON of Azure's sample module.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Readings for one warming and cooling.
const CYCLE: f64 = 60.0;

/// The machine's state: where in its cycle it is.
pub(crate) struct Machine {
    step: u32,
    noise: u64,
}

impl Machine {
    /// A machine at the start of its cycle.
    pub(crate) fn new() -> Self {
        let seed = OffsetDateTime::now_utc().unix_timestamp_nanos() as u64;
        Self { step: 0, noise: seed | 1 }
    }

    /// The next reading: temperatures between 17 and 38 degrees, pressure following.
    pub(crate) fn reading(&mut self) -> Value {
        let phase = f64::from(self.step) / CYCLE * std::f64::consts::TAU;
        self.step = self.step.wrapping_add(1);
        let temperature = 27.0 + 9.0 * phase.sin() + self.jitter();
        let now = OffsetDateTime::now_utc();
        json!({
            "machine": {
                "temperature": rounded(temperature),
                "pressure": rounded(1.0 + (temperature - 17.0) / 79.0 * 9.0),
            },
            "ambient": {
                "temperature": rounded(21.0 + self.jitter() / 4.0),
                "humidity": (25.0 + self.jitter()).round() as i64,
            },
            "timeCreated": now.format(&Rfc3339).unwrap_or_default(),
        })
    }

    /// Between -1 and 1 (xorshift: this is a simulation, not a secret).
    fn jitter(&mut self) -> f64 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        (self.noise % 2_001) as f64 / 1_000.0 - 1.0
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_have_the_known_fields_and_pass_a_threshold_of_25_both_ways() {
        let mut machine = Machine::new();
        let readings: Vec<_> = (0..60).map(|_| machine.reading()).collect();
        let temperatures: Vec<_> =
            readings.iter().filter_map(|one| one["machine"]["temperature"].as_f64()).collect();
        assert_eq!(temperatures.len(), 60);
        assert!(temperatures.iter().all(|degrees| (17.0..=37.0).contains(degrees)));
        let above = temperatures.iter().filter(|degrees| **degrees > 25.0).count();
        assert!((20..50).contains(&above), "{above} of 60 are above 25");
        assert!(readings[0]["machine"]["pressure"].is_number());
        assert!(readings[0]["ambient"]["humidity"].is_i64());
        assert!(readings[0]["timeCreated"].as_str().is_some_and(|time| time.ends_with('Z')));
    }
}
