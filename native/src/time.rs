//! Times as Hubble prints them: RFC 3339 in UTC, with 0, 3, 6 or 9 digits of a second.

use crate::record::moment;

/// Nanoseconds since 1970 of `text`, if it is such a time, of 1970 to April 2262.
pub fn nanoseconds(text: &[u8]) -> Option<u64> {
    let (clock, rest) = text.split_at_checked(19)?;
    let punctuation = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if punctuation.iter().any(|&(at, mark)| clock[at] != mark) {
        return None;
    }
    let (year, month, day) = (
        number(&clock[..4])?,
        number(&clock[5..7])?,
        number(&clock[8..10])?,
    );
    let (hour, minute, second) = (
        number(&clock[11..13])?,
        number(&clock[14..16])?,
        number(&clock[17..])?,
    );
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_since_1970(year, month, day)?;
    let digits = match rest {
        b"Z" => &rest[..0],
        [b'.', digits @ .., b'Z'] if matches!(digits.len(), 3 | 6 | 9) => digits,
        _ => return None,
    };
    let nanos = number(digits)? * 10_u64.pow(9 - digits.len() as u32);
    moment(((days * 24 + hour) * 60 + minute) * 60 + second, nanos)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + u64::from(digit - b'0'))
    })
}

fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    const LENGTH: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if !(1970..=2262).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let place = month as usize - 1;
    let length = LENGTH[place] + u64::from(leap && month == 2);
    if !(1..=length).contains(&day) {
        return None;
    }
    // Leap years before this one, less those before 1970.
    let last = year - 1;
    let leaps = last / 4 - last / 100 + last / 400 - 477;
    Some((year - 1970) * 365 + leaps + BEFORE[place] + u64::from(leap && month > 2) + day - 1)
}

#[cfg(test)]
mod tests {
    use super::nanoseconds;

    #[test]
    fn times_of_hubble_are_read() {
        for (text, time) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:01.5Z", u64::MAX),
            ("1970-01-01T00:00:01.500Z", 1_500_000_000),
            ("2026-11-28T17:56:05.109381393Z", 1_795_888_565_109_381_393),
            ("2000-02-29T12:00:00.000001Z", 951_825_600_000_001_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000_000_000),
            ("2262-04-11T23:47:16.854775807Z", 9_223_372_036_854_775_807),
        ] {
            let read = nanoseconds(text.as_bytes()).unwrap_or(u64::MAX);
            assert_eq!(read, time, "{text}");
        }
    }

    #[test]
    fn what_no_clock_shows_is_left_alone() {
        for text in [
            "",
            "Z",
            "2026-11-28T17:56:05",
            "2026-11-28T17:56:05z",
            "2026-11-28t17:56:05Z",
            "2026-11-28 17:56:05Z",
            "2026-11-28T17:56:05+00:00",
            "2026-11-28T17:56:60Z",
            "2026-11-28T24:00:00Z",
            "2026-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2262-04-11T23:47:16.854775808Z",
            "2026-11-28T17:56:05.Z",
            "2026-11-28T17:56:05.12Z",
            "2026-11-28T17:56:05.1234567890Z",
            "2026-11-28T17:56:05.12 Z",
            "+026-11-28T17:56:05Z",
        ] {
            assert_eq!(nanoseconds(text.as_bytes()), None, "{text}");
        }
    }
}
