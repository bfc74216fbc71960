//! Data in presentation form of the types that hickory-proto holds as octets alone: DNSSEC's, aliases of subtrees,
//! and some rare ones. Others can be written as `\# LENGTH HEX` (RFC 3597 §5).

use data_encoding::{BASE32_DNSSEC, BASE64, HEXLOWER_PERMISSIVE};
use hickory_proto::rr::{Name, RecordType};

use super::{
    mnemonics,
    record_text::{RecordError, Word, hexadecimal, name, numbered, seconds, unescaped},
};

const RP: u16 = 17;
const AFSDB: u16 = 18;
const RT: u16 = 21;
const KX: u16 = 36;
const DNAME: u16 = 39;
const SPF: u16 = 99;
const EUI48: u16 = 108;
const EUI64: u16 = 109;
const URI: u16 = 256;
const DLV: u16 = 32_769;

/// The octets of a record's data, or what is wrong with it; `None` for types that are not read here.
pub(super) fn octets(
    rtype: RecordType,
    words: &[Word],
    origin: Option<&Name>,
) -> Option<Result<Vec<u8>, RecordError>> {
    let number = u16::from(rtype);
    let fields = Fields { words, origin };
    let read = match rtype {
        RecordType::RRSIG | RecordType::SIG => fields.signature(),
        RecordType::NSEC => fields.nsec(),
        RecordType::NSEC3 => fields.nsec3(),
        RecordType::NSEC3PARAM => fields.nsec3_parameters(),
        RecordType::DNSKEY | RecordType::CDNSKEY | RecordType::KEY => fields.key(),
        RecordType::DS | RecordType::CDS => fields.digest(),
        _ => match number {
            DLV => fields.digest(),
            DNAME => fields.names(1),
            RP => fields.names(2),
            AFSDB | RT | KX => fields.preferred(),
            SPF => fields.strings(),
            EUI48 => fields.hardware(6),
            EUI64 => fields.hardware(8),
            URI => fields.uri(),
            _ => return None,
        },
    };
    Some(read.ok_or(RecordError::Data(rtype)))
}

/// The words of the data.
struct Fields<'a> {
    words: &'a [Word],
    origin: Option<&'a Name>,
}

impl Fields<'_> {
    fn number<T: std::str::FromStr>(&self, at: usize) -> Option<T> {
        self.words.get(at)?.text.parse().ok()
    }

    /// Uncompressed (RFC 3597 §4), letters as they are.
    fn name(&self, at: usize) -> Option<Vec<u8>> {
        let name = name(&self.words.get(at)?.text, self.origin).ok()?;
        let mut wire = Vec::with_capacity(name.len() + 1);
        for label in &name {
            wire.push(label.len() as u8);
            wire.extend(label);
        }
        wire.push(0);
        Some(wire)
    }

    fn names(&self, count: usize) -> Option<Vec<u8>> {
        let names: Vec<Vec<u8>> = (0..count).map(|at| self.name(at)).collect::<Option<_>>()?;
        (self.words.len() == count).then(|| names.concat())
    }

    /// The words from `at` on, without the blanks between.
    fn rest(&self, at: usize) -> Option<String> {
        let words = self.words.get(at..).filter(|words| !words.is_empty())?;
        Some(words.iter().map(|word| &*word.text).collect())
    }

    /// RFC 4034 §3.2.
    fn signature(&self) -> Option<Vec<u8>> {
        let mut out = type_of(&self.words.first()?.text)?.to_be_bytes().to_vec();
        out.extend([self.number::<u8>(1)?, self.number::<u8>(2)?]);
        out.extend(seconds(&self.words.get(3)?.text)?.to_be_bytes());
        for at in [4, 5] {
            out.extend(moment(&self.words.get(at)?.text)?.to_be_bytes());
        }
        out.extend(self.number::<u16>(6)?.to_be_bytes());
        out.extend(self.name(7)?);
        out.extend(BASE64.decode(self.rest(8)?.as_bytes()).ok()?);
        Some(out)
    }

    /// RFC 4034 §4.2.
    fn nsec(&self) -> Option<Vec<u8>> {
        let mut out = self.name(0)?;
        out.extend(bitmap(self.words.get(1..)?)?);
        Some(out)
    }

    /// RFC 5155 §3.3.
    fn nsec3(&self) -> Option<Vec<u8>> {
        let mut out = self.hashing()?;
        let next = self.words.get(4)?.text.to_ascii_lowercase();
        let next = BASE32_DNSSEC.decode(next.as_bytes()).ok()?;
        out.push(u8::try_from(next.len()).ok()?);
        out.extend(next);
        out.extend(bitmap(self.words.get(5..)?)?);
        Some(out)
    }

    /// RFC 5155 §4.3.
    fn nsec3_parameters(&self) -> Option<Vec<u8>> {
        self.hashing().filter(|_| self.words.len() == 4)
    }

    /// Algorithm, flags, iterations and salt.
    fn hashing(&self) -> Option<Vec<u8>> {
        let mut out = vec![self.number::<u8>(0)?, self.number::<u8>(1)?];
        out.extend(self.number::<u16>(2)?.to_be_bytes());
        let salt = match &*self.words.get(3)?.text {
            "-" => Vec::new(),
            salt => HEXLOWER_PERMISSIVE.decode(salt.as_bytes()).ok()?,
        };
        out.push(u8::try_from(salt.len()).ok()?);
        out.extend(salt);
        Some(out)
    }

    /// RFC 4034 §2.2.
    fn key(&self) -> Option<Vec<u8>> {
        let mut out = self.number::<u16>(0)?.to_be_bytes().to_vec();
        out.extend([self.number::<u8>(1)?, self.number::<u8>(2)?]);
        out.extend(BASE64.decode(self.rest(3)?.as_bytes()).ok()?);
        Some(out)
    }

    /// RFC 4034 §5.3.
    fn digest(&self) -> Option<Vec<u8>> {
        let mut out = self.number::<u16>(0)?.to_be_bytes().to_vec();
        out.extend([self.number::<u8>(1)?, self.number::<u8>(2)?]);
        self.rest(3)?;
        out.extend(hexadecimal(&self.words[3..])?);
        Some(out)
    }

    /// A preference and a name (RFC 1183, RFC 2230).
    fn preferred(&self) -> Option<Vec<u8>> {
        let mut out = self.number::<u16>(0)?.to_be_bytes().to_vec();
        out.extend(self.name(1)?);
        (self.words.len() == 2).then_some(out)
    }

    fn strings(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for word in self.words {
            let octets = unescaped(&word.text)?;
            out.push(u8::try_from(octets.len()).ok()?);
            out.extend(octets);
        }
        (!out.is_empty()).then_some(out)
    }

    /// Octets in hexadecimal with `-` between them (RFC 7043).
    fn hardware(&self, octets: usize) -> Option<Vec<u8>> {
        let text = &self.words.first().filter(|_| self.words.len() == 1)?.text;
        let read = text.split('-').map(|pair| {
            let whole = pair.len() == 2 && !pair.starts_with('+');
            u8::from_str_radix(pair, 16).ok().filter(|_| whole)
        });
        let read: Vec<u8> = read.collect::<Option<_>>()?;
        (read.len() == octets).then_some(read)
    }

    /// RFC 7553 §4.5.
    fn uri(&self) -> Option<Vec<u8>> {
        let mut out = self.number::<u16>(0)?.to_be_bytes().to_vec();
        out.extend(self.number::<u16>(1)?.to_be_bytes());
        let target = unescaped(&self.words.get(2).filter(|_| self.words.len() == 3)?.text)?;
        out.extend(target);
        Some(out)
    }
}

/// `A`, `TYPE65280`.
fn type_of(word: &str) -> Option<u16> {
    let upper = word.to_ascii_uppercase();
    numbered(&upper, "TYPE").or_else(|| mnemonics::rtype(&upper))
}

/// A type bitmap (RFC 4034 §4.1.2).
fn bitmap(words: &[Word]) -> Option<Vec<u8>> {
    let mut types: Vec<u16> =
        words.iter().map(|word| type_of(&word.text)).collect::<Option<_>>()?;
    types.sort_unstable();
    let mut out = Vec::new();
    for window in types.chunk_by(|a, b| a >> 8 == b >> 8) {
        let mut bits = [0_u8; 32];
        for rtype in window {
            let [_, low] = rtype.to_be_bytes();
            bits[usize::from(low / 8)] |= 0x80 >> (low % 8);
        }
        let used = bits.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
        let [high, _] = window[0].to_be_bytes();
        out.extend([high, used as u8]);
        out.extend(&bits[..used]);
    }
    Some(out)
}

/// `YYYYMMDDHHmmSS` in UTC, or seconds since 1970, which is taken in serial number arithmetic (RFC 4034
/// §3.1.5, §3.2).
fn moment(word: &str) -> Option<u32> {
    if word.len() != 14 {
        return word.parse().ok();
    }
    if !word.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let part = |range: std::ops::Range<usize>| word[range].parse::<i64>().ok();
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let (hour, minute, second) = (part(8..10)?, part(10..12)?, part(12..14)?);
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !valid || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970-01-01 with years that begin in March, so that leap days come last.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    let days = years * 365 + leaps + (153 * months + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Some(seconds.rem_euclid(1 << 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record_text::words;

    fn hex(rtype: &str, line: &str) -> Option<String> {
        let rtype = RecordType::from(mnemonics::rtype(rtype).unwrap());
        let origin = crate::wire::text::name("example.").unwrap();
        let octets = octets(rtype, &words(line).unwrap(), Some(&origin)).unwrap().ok()?;
        Some(data_encoding::HEXLOWER.encode(&octets))
    }

    #[test]
    fn data_is_read_as_octets() {
        for (rtype, line, wanted) in [
            ("DNAME", "b", "0162076578616d706c6500"),
            ("DNAME", "b.", "016200"),
            (
                "NSEC",
                "b. A NS TYPE1234",
                "016200000160041b000000000000000000000000000000000000000000000000000020",
            ),
            ("DS", "1 8 2 0a 0B", "000108020a0b"),
            ("DNSKEY", "257 3 8 AQ ID", "01010308010203"),
            ("NSEC3PARAM", "1 0 10 aabb", "0100000a02aabb"),
            ("NSEC3PARAM", "1 0 10 -", "0100000a00"),
            ("NSEC3", "1 1 12 ab 2t7b4g4v A", "0101000c01ab051"),
            ("RP", "a. b", "0161000162076578616d706c6500"),
            ("KX", "10 a.", "000a016100"),
            ("SPF", "\"a b\" c", "036120620163"),
            ("EUI48", "00-00-5e-00-53-2a", "00005e00532a"),
            ("URI", "10 1 \"ftp://a\"", "000a00016674703a2f2f61"),
        ] {
            let read = hex(rtype, line).unwrap_or_default();
            assert!(read.starts_with(wanted) && !read.is_empty(), "{rtype} {line}: {read}");
        }
        let signature = "A 8 2 1h 20260101000000 20251201000000 4711 example. AQID";
        let wanted = "0001080200000e10695571 80692cdc001267076578616d706c6500010203";
        let read = hex("RRSIG", signature).unwrap();
        assert_eq!(read[..16], wanted.replace(' ', "")[..16]);
        assert!(read.ends_with("1267076578616d706c6500010203"));
    }

    #[test]
    fn wrong_data_is_told() {
        for (rtype, line) in [
            ("DNAME", ""),
            ("DNAME", "a b"),
            ("NSEC", ""),
            ("NSEC", "a NONSENSE"),
            ("DS", "1 8 2"),
            ("DS", "1 8 2 0"),
            ("DS", "1 8 256 00"),
            ("DNSKEY", "257 3 8 !"),
            ("NSEC3PARAM", "1 0 10 - -"),
            ("RRSIG", "A 8 2 60 20261301000000 20251201000000 1 a. AQID"),
            ("EUI48", "00-00-5e-00-53"),
            ("EUI64", "00-00-5e-00-53-2a"),
            ("URI", "10 1"),
            ("SPF", ""),
        ] {
            assert_eq!(hex(rtype, line), None, "{rtype} {line}");
        }
    }

    #[test]
    fn moments_are_seconds_since_1970() {
        assert_eq!(moment("19700101000000"), Some(0));
        assert_eq!(moment("20000229000000"), Some(951_782_400));
        assert_eq!(moment("20380119031408"), Some(1 << 31));
        assert_eq!(moment("1234567890"), Some(1_234_567_890));
        assert_eq!(moment("2026010100000x"), None);
    }
}
