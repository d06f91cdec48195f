//! A record that was recognised: what repeats in it, what varies, and which values that may have.
//!
//! The bounds are those of flowwatch's `flows/ranges.py`; a record with a value out of them isn't
//! recognised here, and so left to Python, which mends and counts it.

use crate::before::Before;
use crate::key::Key;

/// Bytes of a record that is looked at; longer ones are left to Python. gRPC's limit for one is 4 MiB.
pub const LONGEST: usize = 16 << 20;
/// Nanoseconds since 1970 that a Linux clock can show: 63 bits.
pub const LATEST: u64 = i64::MAX as u64;
/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;
/// A message type of ICMP, IGMP and VRRP has 8 bits.
pub const LAST_TYPE: u16 = 255;
/// Characters of an address or a uuid: an IPv6 address with its zone has 45 and some.
const LONGEST_TEXT: usize = 64;

/// What repeats from record to record, part by part: few values each, and many of all together.
///
/// Everything of a record is in one of these but what [`Varying`] holds and what nobody reads.
#[derive(Default)]
pub struct Parts<'a> {
    /// The source's endpoint as it came; empty where there is none.
    pub source: &'a [u8],
    /// The destination's, likewise.
    pub destination: &'a [u8],
    /// Names and services of both ends.
    pub names: Key,
    /// All the rest, and where in it the others stand.
    pub kind: Key,
    /// Endpoints that addresses had before.
    pub before: Before,
}

impl Parts<'_> {
    /// Begin anew.
    pub fn clear(&mut self) {
        (self.source, self.destination) = (b"", b"");
        self.names.clear();
        self.kind.clear();
    }
}

/// What differs from record to record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Varying<'a> {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Of the source; empty where the record has none.
    pub source_ip: &'a str,
    /// Of the destination, likewise.
    pub destination_ip: &'a str,
    /// 0 where the record has none.
    pub source_port: u16,
    /// Likewise; the message type of what has no ports.
    pub destination_port: u16,
    /// Empty where the record has none.
    pub uuid: &'a str,
    /// The proxy's record as it came: JSON, or a serialized Layer7.
    pub layer7: Option<&'a [u8]>,
}

/// Characters of addresses and uuids.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let one = byte as u8;
        plain[byte] = one.is_ascii_alphanumeric() || matches!(one, b'.' | b':' | b'-' | b'%');
        byte += 1;
    }
    plain
};

/// Plain characters of one line, not empty: as every address and uuid of Hubble's has them.
pub fn plain(text: &[u8]) -> Option<&str> {
    let fits = !text.is_empty() && text.len() <= LONGEST_TEXT;
    (fits && text.iter().all(|&byte| PLAIN[byte as usize]))
        .then(|| std::str::from_utf8(text).ok())
        .flatten()
}

/// Nanoseconds since 1970, if a clock can show them.
pub fn moment(seconds: u64, nanos: u64) -> Option<u64> {
    let time = seconds.checked_mul(SECOND)?.checked_add(nanos)?;
    (nanos < SECOND && time <= LATEST).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_within_a_clock() {
        assert_eq!(moment(0, 0), Some(0));
        assert_eq!(moment(1, 999_999_999), Some(1_999_999_999));
        assert_eq!(moment(1, 1_000_000_000), None);
        assert_eq!(moment(9_223_372_036, 854_775_807), Some(LATEST));
        assert_eq!(moment(9_223_372_036, 854_775_808), None);
        assert_eq!(moment(u64::MAX, 0), None);
    }

    #[test]
    fn a_text_is_plain() {
        assert_eq!(plain(b"fe80::1%eth0"), Some("fe80::1%eth0"));
        for odd in [&b""[..], b"a b", b"a\"", b"a\\", b"\xc3\xa4", &[b'1'; 65]] {
            assert_eq!(plain(odd), None);
        }
    }
}
