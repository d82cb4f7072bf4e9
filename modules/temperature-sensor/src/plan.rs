//! How often and how many: from the environment, overridden by desired properties.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// The shortest period: more often would only measure the machine this runs on.
const SHORTEST: Duration = Duration::from_millis(1);

/// How often to send, and how many readings in all (0 = without end).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) period: Duration,
    pub(crate) count: u64,
}

impl Plan {
    /// `MESSAGE_PERIOD` and `MESSAGE_COUNT`; 5 s and without end where they are not set.
    pub(crate) fn from_environment(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let period = match get("MESSAGE_PERIOD") {
            Some(text) => parse_period(&text).ok_or_else(|| {
                format!("MESSAGE_PERIOD={text} is not a time: write 5, 2s or 500ms")
            })?,
            None => Duration::from_secs(5),
        };
        let count = match get("MESSAGE_COUNT") {
            Some(text) => text
                .trim()
                .parse()
                .map_err(|_| format!("MESSAGE_COUNT={text} is not a whole number"))?,
            None => 0,
        };
        Ok(Self { period, count })
    }

    /// What desired properties say wins; what is not usable is ignored.
    pub(crate) fn with_desired(self, desired: &Value) -> Self {
        let period = desired["period"].as_f64().and_then(seconds).unwrap_or(self.period);
        let count = desired["count"].as_u64().unwrap_or(self.count);
        Self { period, count }
    }

    /// Is there another one to send after `sent`?
    pub(crate) fn goes_on(&self, sent: u64) -> bool {
        self.count == 0 || sent < self.count
    }
}

fn parse_period(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    seconds(number.trim().parse::<f64>().ok()? * unit)
}

fn seconds(value: f64) -> Option<Duration> {
    if value <= 0.0 {
        return None;
    }
    Duration::try_from_secs_f64(value).ok().map(|period| period.max(SHORTEST))
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one reading every {:?}", self.period)?;
        if self.count > 0 { write!(f, ", {} in all", self.count) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, millis: Option<u64>) {
        assert_eq!(parse_period(text), millis.map(Duration::from_millis), "{text}");
    }

    #[test]
    fn a_period_is_seconds_unless_it_says_ms() {
        check("5", Some(5_000));
        check("0.5", Some(500));
        check("2s", Some(2_000));
        check(" 500 ms", Some(500));
        check("0", None);
        check("-1", None);
        check("inf", None);
        check("soon", None);
    }

    #[test]
    fn desired_properties_win_and_nonsense_is_ignored() {
        let plan = Plan { period: Duration::from_secs(5), count: 3 };
        let changed = plan.with_desired(&json!({"period": 0.2, "count": 0}));
        assert_eq!(changed, Plan { period: Duration::from_millis(200), count: 0 });
        assert_eq!(plan.with_desired(&json!({"period": "x", "count": -1})), plan);
        assert_eq!(plan.with_desired(&json!({"period": -1, "count": null})), plan);
    }

    #[test]
    fn a_count_of_zero_never_ends() {
        let plan = Plan { period: SHORTEST, count: 2 };
        assert_eq!([1, 2, 3].map(|sent| plan.goes_on(sent)), [true, false, false]);
        assert!(Plan { count: 0, ..plan }.goes_on(u64::MAX));
    }
}
