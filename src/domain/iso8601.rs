//! Times as JSON carries them: ISO-8601, UTC, milliseconds.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// What stands for "never".
pub const NEVER: &str = "0001-01-01T00:00:00Z";

/// Unix time as text.
pub fn text(unix: Duration) -> String {
    let nanos = i128::try_from(unix.as_nanos()).unwrap_or_default();
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    time.and_then(|time| time.format(format).ok()).unwrap_or_else(|| NEVER.to_owned())
}

/// Unix time as HTTP writes it: `Tue, 14 Nov 2023 22:13:20 GMT`.
pub fn http_date(unix: Duration) -> String {
    let seconds = i64::try_from(unix.as_secs()).unwrap_or_default();
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    time.and_then(|time| time.format(format).ok()).unwrap_or_default()
}

/// Unix time as text with seven digits of a second: the only form that the .NET client reads.
pub fn ticks(unix: Duration) -> String {
    let digits = format!("{:04}", unix.subsec_nanos() / 100 % 10_000);
    text(unix).replace('Z', &format!("{digits}Z"))
}

/// Text as Unix time, UTC if it does not say; `None` if it is none, or before 1970.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let utc = || OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339);
    let time = OffsetDateTime::parse(text, &Rfc3339).or_else(|_| utc()).ok()?;
    let seconds = u64::try_from(time.unix_timestamp()).ok()?;
    Some(Duration::new(seconds, time.nanosecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_back() {
        let time = Duration::from_millis(1_700_000_000_123);
        assert_eq!(text(time), "2023-11-14T22:13:20.123Z");
        assert_eq!(parse(&text(time)), Some(time));
        assert_eq!(ticks(time), "2023-11-14T22:13:20.1230000Z");
        let finer = time + Duration::from_nanos(456_789);
        assert_eq!(ticks(finer), "2023-11-14T22:13:20.1234567Z");
        assert_eq!(parse("2023-11-14T23:13:20.123+01:00"), Some(time));
        assert_eq!(parse("2023-11-14T22:13:20.123"), Some(time));
        assert_eq!(parse("2999-01-01T00:00:00Z").map(|time| time.as_secs()), Some(32_472_144_000));
        assert_eq!(parse("soon"), None);
        assert_eq!(http_date(time), "Tue, 14 Nov 2023 22:13:20 GMT");
    }
}
