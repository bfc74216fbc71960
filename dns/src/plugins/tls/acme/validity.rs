//! From when until when a certificate is good (RFC 5280 §4.1.2.5), read from its DER.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// When a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: SystemTime,
    pub(super) until: SystemTime,
}

impl Validity {
    /// That of a certificate; `None` if it can't be read.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let (certificate, _) = element(certificate, SEQUENCE)?;
        let (body, _) = element(certificate, SEQUENCE)?;
        let body = element(body, VERSION).map_or(body, |(_, rest)| rest);
        // Serial number, algorithm, issuer.
        let body = (0..3).try_fold(body, |body, _| first(body).map(|(_, _, rest)| rest))?;
        let (validity, _) = element(body, SEQUENCE)?;
        let (from, rest) = time(validity)?;
        let (until, _) = time(rest)?;
        Some(Validity { from, until })
    }

    /// When a new certificate is due: with a third of the time left, as in CoreDNS.
    pub(super) fn renewal(&self) -> SystemTime {
        let length = self.until.duration_since(self.from).unwrap_or_default();
        self.until - length / 3
    }
}

/// Tag and contents of the first element, and what is behind it.
fn first(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    first(der).filter(|(found, ..)| *found == tag).map(|(_, contents, rest)| (contents, rest))
}

/// A time, `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time(der: &[u8]) -> Option<(SystemTime, &[u8])> {
    let (tag, text, rest) = first(der)?;
    let digits = text.strip_suffix(b"Z").filter(|text| text.iter().all(u8::is_ascii_digit))?;
    let number = |octets: &[u8]| octets.iter().fold(0, |n, octet| n * 10 + u64::from(octet - b'0'));
    let (year, digits) = match (tag, digits.len()) {
        // Years from 50 on are of the last century.
        (UTC_TIME, 12) => (1900 + (number(&digits[..2]) + 50) % 100 + 50, &digits[2..]),
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(&digits[at..at + 2]));
    let in_range = (1970..=9999).contains(&year) && (1..=12).contains(&month);
    if !in_range || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some((UNIX_EPOCH + Duration::from_secs(seconds), rest))
}

/// Days from 1970 to a day of the Gregorian calendar, counted in years that begin in March.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_times_of_a_certificate_are_read() {
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 2, 28);
        params.not_after = rcgen::date_time_ymd(2056, 3, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let validity = Validity::of(certificate.der()).unwrap();
        assert_eq!((validity.from, validity.until), (at(1_772_236_800), at(2_719_094_400)));
        assert_eq!(validity.renewal(), at(2_719_094_400 - (2_719_094_400 - 1_772_236_800) / 3));
    }

    #[test]
    fn days_are_counted() {
        assert_eq!((days(1970, 1, 1), days(2000, 2, 29), days(2000, 3, 1)), (0, 11_016, 11_017));
    }

    proptest! {
        #[test]
        fn nothing_panics(octets in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Validity::of(&octets);
            let _ = time(&octets);
        }
    }
}
