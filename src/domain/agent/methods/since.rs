//! Points in time as people write them: RFC 3339, seconds of Unix time, or how long ago.

use std::time::Duration;

use crate::domain::iso8601;

/// Units of a time span: their names, and seconds.
const UNITS: [(&[&str], u64); 7] = [
    (&["s", "sec", "secs", "second", "seconds"], 1),
    (&["m", "min", "mins", "minute", "minutes"], 60),
    (&["h", "hr", "hrs", "hour", "hours"], 3600),
    (&["d", "day", "days"], 86_400),
    (&["w", "week", "weeks"], 7 * 86_400),
    (&["M", "month", "months"], 2_630_016), // 30.44 days
    (&["y", "year", "years"], 31_557_600),  // 365.25 days
];

/// Unix time of `text`, which may count back from `now`.
pub fn since(text: &str, now: Duration) -> Result<Duration, String> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let date = text.contains('T').then(|| iso8601::parse(text)).flatten();
    date.or_else(|| span(text).map(|ago| now.saturating_sub(ago))).ok_or_else(|| {
        format!("`{text}` is not a time: write 2026-01-31T12:00:00Z, 1769860800, or `1h 20m` (ago)")
    })
}

/// `1h 20m`, `1 hour 20 minutes`.
pub fn span(text: &str) -> Option<Duration> {
    let (mut rest, mut total) = (text.trim(), Duration::ZERO);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let after = after.trim_start();
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let is_it = |name: &&str| match unit.len() {
            1 => **name == *unit, // `m` and `M` differ
            _ => name.eq_ignore_ascii_case(unit),
        };
        let (_, seconds) = UNITS.iter().find(|(names, _)| names.iter().any(is_it))?;
        let more = number.parse::<u64>().ok()?.checked_mul(*seconds)?;
        total = total.checked_add(Duration::from_secs(more))?;
        rest = after.trim_start();
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_seconds_or_spans_before_now() {
        let now = Duration::from_secs(1_600_000_000);
        let read = |text| since(text, now).map(|at| at.as_secs());
        assert_eq!(read("2019-09-27T16:00:00+00:00"), Ok(1_569_600_000));
        assert_eq!(read(" 1569600000 "), Ok(1_569_600_000));
        for (text, ago) in [
            ("1 hour", 3600),
            ("1 hour 20 minutes", 4800),
            ("1 hour 20m", 4800),
            ("1h20m", 4800),
            ("1 day", 86_400),
            ("2M", 5_260_032),
            ("90 Sec", 90),
        ] {
            assert_eq!(read(text), Ok(1_600_000_000 - ago), "{text}");
        }
        for wrong in ["asdfasdf", "", "1 fortnight", "h", "1h 20", "-5", "99999999999999999999 y"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(read("99 years"), Ok(0), "not before time began");
    }
}
