//! Types, classes and response codes by the names that CoreDNS knows them by.

use std::borrow::Cow;

/// The number of a type by its name in capitals (`AAAA`), as a Corefile writes it.
pub fn rtype(name: &str) -> Option<u16> {
    TYPES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// The name of a type; `None` for those that have none.
pub fn rtype_name(number: u16) -> Option<&'static str> {
    TYPES.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
}

/// The name of a type, `TYPE65280` where it has none (RFC 3597 §5).
pub fn rtype_text(number: u16) -> Cow<'static, str> {
    rtype_name(number).map_or_else(|| format!("TYPE{number}").into(), Cow::Borrowed)
}

/// The number of a class by its name in capitals.
pub fn class(name: &str) -> Option<u16> {
    CLASSES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// The name of a class; `None` for those that have none.
pub fn class_name(number: u16) -> Option<&'static str> {
    CLASSES.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
}

/// The name of a class, `CLASS65280` where it has none (RFC 3597 §5).
pub fn class_text(number: u16) -> Cow<'static, str> {
    class_name(number).map_or_else(|| format!("CLASS{number}").into(), Cow::Borrowed)
}

/// The number of a response code by its name in capitals.
pub fn rcode(name: &str) -> Option<u16> {
    RCODES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// Classes (RFC 1035 §3.2.4, RFC 2136).
const CLASSES: [(&str, u16); 6] =
    [("IN", 1), ("CS", 2), ("CH", 3), ("HS", 4), ("NONE", 254), ("ANY", 255)];

/// Response codes.
pub const RCODES: [(&str, u16); 21] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("NOTIMPL", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("YXRRSET", 7),
    ("NXRRSET", 8),
    ("NOTAUTH", 9),
    ("NOTZONE", 10),
    ("DSOTYPENI", 11),
    ("BADSIG", 16),
    ("BADKEY", 17),
    ("BADTIME", 18),
    ("BADMODE", 19),
    ("BADNAME", 20),
    ("BADALG", 21),
    ("BADTRUNC", 22),
    ("BADCOOKIE", 23),
];

/// Types of the IANA registry.
const TYPES: [(&str, u16); 86] = [
    ("A", 1),
    ("NS", 2),
    ("MD", 3),
    ("MF", 4),
    ("CNAME", 5),
    ("SOA", 6),
    ("MB", 7),
    ("MG", 8),
    ("MR", 9),
    ("NULL", 10),
    ("PTR", 12),
    ("HINFO", 13),
    ("MINFO", 14),
    ("MX", 15),
    ("TXT", 16),
    ("RP", 17),
    ("AFSDB", 18),
    ("X25", 19),
    ("ISDN", 20),
    ("RT", 21),
    ("NSAP-PTR", 23),
    ("SIG", 24),
    ("KEY", 25),
    ("PX", 26),
    ("GPOS", 27),
    ("AAAA", 28),
    ("LOC", 29),
    ("NXT", 30),
    ("EID", 31),
    ("NIMLOC", 32),
    ("SRV", 33),
    ("ATMA", 34),
    ("NAPTR", 35),
    ("KX", 36),
    ("CERT", 37),
    ("DNAME", 39),
    ("OPT", 41),
    ("APL", 42),
    ("DS", 43),
    ("SSHFP", 44),
    ("IPSECKEY", 45),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DNSKEY", 48),
    ("DHCID", 49),
    ("NSEC3", 50),
    ("NSEC3PARAM", 51),
    ("TLSA", 52),
    ("SMIMEA", 53),
    ("HIP", 55),
    ("NINFO", 56),
    ("RKEY", 57),
    ("TALINK", 58),
    ("CDS", 59),
    ("CDNSKEY", 60),
    ("OPENPGPKEY", 61),
    ("CSYNC", 62),
    ("ZONEMD", 63),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("SPF", 99),
    ("UINFO", 100),
    ("UID", 101),
    ("GID", 102),
    ("UNSPEC", 103),
    ("NID", 104),
    ("L32", 105),
    ("L64", 106),
    ("LP", 107),
    ("EUI48", 108),
    ("EUI64", 109),
    ("NXNAME", 128),
    ("TKEY", 249),
    ("TSIG", 250),
    ("IXFR", 251),
    ("AXFR", 252),
    ("MAILB", 253),
    ("MAILA", 254),
    ("ANY", 255),
    ("URI", 256),
    ("CAA", 257),
    ("AVC", 258),
    ("AMTRELAY", 260),
    ("RESINFO", 261),
    ("TA", 32768),
    ("DLV", 32769),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_go_both_ways() {
        assert_eq!(rtype("AAAA"), Some(28));
        assert_eq!(rtype_name(28), Some("AAAA"));
        assert_eq!(rtype("aaaa"), None);
        assert_eq!(rtype_name(65_280), None);
        assert_eq!(class("CH").and_then(class_name), Some("CH"));
        assert_eq!(rcode("NXDOMAIN"), Some(3));
    }
}
