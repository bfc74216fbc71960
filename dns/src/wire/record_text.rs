//! Records in presentation form (RFC 1035 §5.1), one at a time, as templates and zone files have them.
//!
//! Read as miekg/dns reads them: TTL and class may be missing (3600, IN) and come in either order, names without a
//! last dot are absolute, and `\#` introduces data in hexadecimal (RFC 3597).

use hickory_proto::rr::{
    DNSClass, Name, RData, Record, RecordType,
    rdata::{A, AAAA, CNAME, MX, NS, NULL, PTR, SOA, SRV, TXT},
};

use super::{mnemonics, rdata_text, text};

/// TTL of a record that names none, in seconds.
const DEFAULT_TTL: u32 = 3600;
/// Most octets of a character string (RFC 1035 §3.3).
const MAX_STRING: usize = 255;

/// Why a text is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Nothing there, or nothing behind the owner.
    #[error("it ends before its type")]
    NoType,
    /// An owner, or a name in the data, that is none.
    #[error("`{0}` is no domain name")]
    Name(String),
    /// A word that is neither TTL, class nor type.
    #[error("`{0}` is neither a TTL, a class nor a type")]
    Word(String),
    /// Data that is not of the type.
    #[error("the data of this {0} record is wrong")]
    Data(RecordType),
    /// Quotes or parentheses that do not close.
    #[error("a quote or a parenthesis does not close")]
    Open,
}

/// Reads one record.
///
/// # Errors
/// The first thing that is wrong.
pub fn record(line: &str) -> Result<Record, RecordError> {
    let words = words(line)?;
    let (owner, mut rest) = words.split_first().ok_or(RecordError::NoType)?;
    if line.starts_with(char::is_whitespace) {
        return Err(RecordError::Name(String::new()));
    }
    let name = name(&owner.text, None)?;
    let (mut ttl, mut class) = (DEFAULT_TTL, DNSClass::IN);
    loop {
        let (word, behind) = rest.split_first().ok_or(RecordError::NoType)?;
        rest = behind;
        let upper = word.text.to_ascii_uppercase();
        if let Some(rtype) = numbered(&upper, "TYPE").or_else(|| mnemonics::rtype(&upper)) {
            let rtype = RecordType::from(rtype);
            let data = data(rtype, rest, None)?;
            let mut record = Record::from_rdata(name, ttl, data);
            record.dns_class = class;
            return Ok(record);
        }
        if let Some(found) = numbered(&upper, "CLASS").or_else(|| mnemonics::class(&upper)) {
            class = DNSClass::from(found);
        } else if let Some(found) = seconds(&word.text) {
            ttl = found;
        } else {
            return Err(RecordError::Word(word.text.clone()));
        }
    }
}

/// A word, with its escapes as they are.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    /// Its text, without quotes.
    pub(crate) text: String,
    /// Whether it stood in quotes.
    pub(crate) quoted: bool,
}

/// Splits at blanks; parentheses let a record go on over lines, `;` begins a comment.
pub(crate) fn words(line: &str) -> Result<Vec<Word>, RecordError> {
    let mut words: Vec<Word> = Vec::new();
    let mut open = false;
    let mut depth = 0_usize;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                let mut text = String::new();
                loop {
                    match letters.next().ok_or(RecordError::Open)? {
                        '"' => break,
                        '\\' => {
                            text.push('\\');
                            text.push(letters.next().ok_or(RecordError::Open)?);
                        }
                        other => text.push(other),
                    }
                }
                words.push(Word { text, quoted: true });
                open = false;
            }
            ';' => while !matches!(letters.next(), Some('\n') | None) {},
            '(' => {
                depth += 1;
                open = false;
            }
            ')' => {
                depth = depth.checked_sub(1).ok_or(RecordError::Open)?;
                open = false;
            }
            blank if blank.is_whitespace() => open = false,
            other => {
                if !open {
                    words.push(Word { text: String::new(), quoted: false });
                    open = true;
                }
                if let Some(word) = words.last_mut() {
                    word.text.push(other);
                    if other == '\\' {
                        word.text.push(letters.next().ok_or(RecordError::Open)?);
                    }
                }
            }
        }
    }
    if depth == 0 { Ok(words) } else { Err(RecordError::Open) }
}

/// A name. Without a last dot it is one in `origin`, or absolute if there is none; `@` is `origin`.
pub(crate) fn name(word: &str, origin: Option<&Name>) -> Result<Name, RecordError> {
    let wrong = || RecordError::Name(word.to_owned());
    let Some(origin) = origin.filter(|_| !text::is_absolute(word)) else {
        return text::name(word).ok_or_else(wrong);
    };
    if word == "@" {
        return Ok(origin.clone());
    }
    let mut relative = text::name(word).ok_or_else(wrong)?;
    relative.set_fqdn(false);
    relative.append_domain(origin).map_err(|_| wrong())
}

/// `TYPE65280`, `CLASS32` (RFC 3597 §5).
pub(crate) fn numbered(word: &str, prefix: &str) -> Option<u16> {
    word.strip_prefix(prefix)?.parse().ok()
}

/// Seconds, or numbers with units: `1h30m`, `2d`.
pub(crate) fn seconds(word: &str) -> Option<u32> {
    let mut total = 0_u32;
    let mut number: Option<u32> = None;
    for octet in word.bytes() {
        let unit = match octet.to_ascii_lowercase() {
            digit @ b'0'..=b'9' => {
                let so_far = number.unwrap_or(0);
                number = Some(so_far.checked_mul(10)?.checked_add(u32::from(digit - b'0'))?);
                continue;
            }
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    if word.is_empty() { None } else { total.checked_add(number.unwrap_or(0)) }
}

/// A record's data; relative names in it are in `origin`.
pub(crate) fn data(
    rtype: RecordType,
    words: &[Word],
    origin: Option<&Name>,
) -> Result<RData, RecordError> {
    let wrong = || RecordError::Data(rtype);
    if let [marker, length, digits @ ..] = words
        && marker.text == "\\#"
    {
        let octets = hexadecimal(digits).ok_or_else(wrong)?;
        let counted = length.text.parse() == Ok(octets.len());
        let rdata = if octets.is_empty() { NULL::new() } else { NULL::with(octets) };
        let data = RData::Unknown { code: rtype, rdata };
        return counted.then_some(data).ok_or_else(wrong);
    }
    let number = |word: &Word| word.text.parse::<u16>().map_err(|_| wrong());
    let named = |word: &Word| name(&word.text, origin);
    Ok(match (rtype, words) {
        (RecordType::A, [one]) => RData::A(A(one.text.parse().map_err(|_| wrong())?)),
        (RecordType::AAAA, [one]) => RData::AAAA(AAAA(one.text.parse().map_err(|_| wrong())?)),
        (RecordType::CNAME, [one]) => RData::CNAME(CNAME(named(one)?)),
        (RecordType::NS, [one]) => RData::NS(NS(named(one)?)),
        (RecordType::PTR, [one]) => RData::PTR(PTR(named(one)?)),
        (RecordType::MX, [preference, exchange]) => {
            RData::MX(MX::new(number(preference)?, named(exchange)?))
        }
        (RecordType::SRV, [priority, weight, port, target]) => {
            RData::SRV(SRV::new(number(priority)?, number(weight)?, number(port)?, named(target)?))
        }
        (RecordType::SOA, [primary, mailbox, serial, timers @ ..]) => {
            let [refresh, retry, expire, minimum] = timers else { return Err(wrong()) };
            let time = |word: &Word| seconds(&word.text).ok_or_else(wrong);
            let signed =
                |word: &Word| time(word).and_then(|t| i32::try_from(t).map_err(|_| wrong()));
            RData::SOA(SOA::new(
                named(primary)?,
                named(mailbox)?,
                serial.text.parse().map_err(|_| wrong())?,
                signed(refresh)?,
                signed(retry)?,
                signed(expire)?,
                time(minimum)?,
            ))
        }
        (RecordType::TXT, [_, ..]) => {
            let strings =
                words.iter().map(|word| unescaped(&word.text).filter(|s| s.len() <= MAX_STRING));
            let strings: Vec<Vec<u8>> = strings.collect::<Option<_>>().ok_or_else(wrong)?;
            RData::TXT(TXT::from_bytes(strings.iter().map(Vec::as_slice).collect()))
        }
        (RecordType::A | RecordType::AAAA | RecordType::CNAME | RecordType::NS, _)
        | (RecordType::PTR | RecordType::MX | RecordType::SRV | RecordType::SOA, _)
        | (RecordType::TXT, _) => return Err(wrong()),
        _ => {
            if let Some(octets) = rdata_text::octets(rtype, words, origin) {
                let rdata = NULL::with(octets?);
                return Ok(RData::Unknown { code: rtype, rdata });
            }
            let words = with_absolute_names(rtype, words, origin)?;
            let quoted = words.iter().map(|word| match word.quoted {
                true => format!("\"{}\"", word.text),
                false => word.text.clone(),
            });
            let text: Vec<String> = quoted.collect();
            RData::try_from_str(rtype, &text.join(" ")).map_err(|_| wrong())?
        }
    })
}

/// The words, with the names in them made absolute.
fn with_absolute_names(
    rtype: RecordType,
    words: &[Word],
    origin: Option<&Name>,
) -> Result<Vec<Word>, RecordError> {
    let mut words = words.to_vec();
    let place = match rtype {
        RecordType::SVCB | RecordType::HTTPS => words.get_mut(1),
        RecordType::NAPTR => words.get_mut(5),
        _ => None,
    };
    if let Some(word) = place {
        word.text = text::of(&name(&word.text, origin)?);
    }
    Ok(words)
}

pub(super) fn hexadecimal(words: &[Word]) -> Option<Vec<u8>> {
    let digits: String = words.iter().map(|word| &*word.text).collect();
    let digits = digits.as_bytes();
    let value = |digit: &u8| char::from(*digit).to_digit(16);
    digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(value(high)? * 16 + value(low)?).ok(),
            _ => None,
        })
        .collect()
}

/// The octets of a character string.
pub(super) fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut octets = text.bytes();
    let mut out = Vec::new();
    while let Some(octet) = octets.next() {
        out.push(if octet == b'\\' { text::escaped(&mut octets)? } else { octet });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_with_what_may_be_missing() {
        for (line, wanted) in [
            ("a.example. 60 IN A 10.0.0.1", "a.example. 60 IN A 10.0.0.1"),
            ("a.example A 10.0.0.1", "a.example. 3600 IN A 10.0.0.1"),
            ("a.example. CH 1h30m A 10.0.0.1", "a.example. 5400 CH A 10.0.0.1"),
            ("a. 5 cname B.example", "a. 5 IN CNAME B.example."),
            ("a. 5 MX 10 b.", "a. 5 IN MX 10 b."),
            ("a. 5 SRV 1 2 3 b.", "a. 5 IN SRV 1 2 3 b."),
            ("a. 60 IN SOA ns. m. (1 60\n 60 60 1m)", "a. 60 IN SOA ns. m. 1 60 60 60 60"),
            ("a. TYPE65280 \\# 2 0aFF", "a. 3600 IN TYPE65280 \\# 2 0AFF"),
            ("a. AAAA ::1 ; loopback", "a. 3600 IN AAAA ::1"),
        ] {
            let read = record(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let again = record(wanted).unwrap();
            assert_eq!(read, again, "{line}");
        }
        let text = record("a. TXT \"b \\\"c\" d\\032e").unwrap();
        let RData::TXT(text) = &text.data else { panic!("{text}") };
        assert_eq!(text.txt_data.iter().map(|s| &**s).collect::<Vec<_>>(), [&b"b \"c"[..], b"d e"]);
    }

    #[test]
    fn what_is_no_record_is_told() {
        for line in [
            "",
            "a.",
            "a. 60",
            "a. 60 IN",
            "a. 60 IN A",
            "a. 60 IN A ::1",
            "a. IN A 1.2.3.4 5",
            "a..b A 10.0.0.1",
            " A 10.0.0.1",
            "a. 60 IN TXT \"b",
            "a. IN SOA ns. m. (1 2 3 4 5",
            "a. NONSENSE b",
            "a. TYPE1 \\# 3 0a",
            "a. TXT",
            "<no value> A 10.0.0.1",
            "a. A )10.0.0.1",
            "a. 99999999999 A 10.0.0.1",
        ] {
            assert!(record(line).is_err(), "{line}: {:?}", record(line));
        }
    }
}
