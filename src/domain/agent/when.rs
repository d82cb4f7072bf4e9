//! Points in time as hub and engine write them: ISO 8601, UTC, `Z`.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What hub and engine write for "never".
pub const NEVER: &str = "0001-01-01T00:00:00Z";

/// A time since the epoch as `2026-01-02T03:04:05Z`.
pub fn iso(unix: Duration) -> String {
    let seconds = i64::try_from(unix.as_secs()).unwrap_or(i64::MAX);
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let time = time.replace_millisecond(unix.subsec_millis() as u16).unwrap_or(time);
    time.format(&Rfc3339).unwrap_or_else(|_| NEVER.into())
}

/// The engine's time, in any offset, since the epoch; `None` for "never".
pub fn parse(text: &str) -> Option<Duration> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let nanos = u64::try_from(time.unix_timestamp_nanos()).ok()?;
    Some(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_and_read_in_any_offset() {
        assert_eq!(iso(Duration::from_millis(1_700_000_000_250)), "2023-11-14T22:13:20.25Z");
        let read = |text| parse(text).map(|unix| unix.as_secs());
        assert_eq!(read("2023-11-14T22:13:20.123456789Z"), Some(1_700_000_000));
        assert_eq!(read("2023-11-15T00:13:20+02:00"), Some(1_700_000_000));
        assert_eq!(read(NEVER), None);
        assert_eq!(read(""), None);
    }
}
