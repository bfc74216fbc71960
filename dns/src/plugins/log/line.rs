//! One record of the query log, and how it is written out.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{
    config::Classes,
    format::{Field, Piece},
};
use crate::{
    corefile::domain::Domain,
    metrics::rcode_label,
    plugin::Transport,
    wire::{mnemonics, name::MAX_NAME, rcode},
};

/// Octets for a name.
pub(super) const NAME_ROOM: usize = MAX_NAME;

/// Metadata labels with their values.
pub(super) type Labels = Box<[(Box<str>, String)]>;

/// What is logged of a query and its reply. Plain data, copied by the thread that answers.
pub(super) struct Line {
    pub client: SocketAddr,
    pub local: SocketAddr,
    pub transport: Transport,
    pub id: u16,
    pub opcode: u8,
    pub qtype: u16,
    pub class: u16,
    pub size: u16,
    pub dnssec_ok: bool,
    pub payload: u16,
    pub rcode: u16,
    /// Second 16 bits of the reply's header.
    pub flags: u16,
    pub has_answer: bool,
    pub reply_size: u16,
    pub took: Duration,
    pub name: [u8; NAME_ROOM],
    pub name_len: u8,
    /// Metadata labels with their values.
    pub labels: Option<Labels>,
}

impl Line {
    pub(super) fn set_name(&mut self, wire: &[u8]) {
        let len = wire.len().min(NAME_ROOM);
        self.name[..len].copy_from_slice(&wire[..len]);
        self.name_len = len as u8;
    }

    fn wire(&self) -> &[u8] {
        &self.name[..usize::from(self.name_len)]
    }

    pub(super) fn is_below(&self, zone: &Domain) -> bool {
        let (name, zone) = (self.wire().to_ascii_lowercase(), zone.to_wire());
        let mut rest = name.as_slice();
        while rest.len() >= zone.len() {
            if rest == zone {
                return true;
            }
            let Some(behind) = rest.get(1 + usize::from(rest[0])..) else { return false };
            rest = behind;
        }
        false
    }

    pub(super) fn is_of(&self, classes: Classes) -> bool {
        match self.rcode {
            _ if self.is_dropped() => classes.error,
            rcode::NOERROR if self.has_answer => classes.success,
            rcode::NOERROR | rcode::NXDOMAIN => classes.denial,
            _ => classes.error,
        }
    }

    /// Whether no reply was sent.
    fn is_dropped(&self) -> bool {
        self.reply_size == 0
    }

    /// Appends the line, with CoreDNS's prefix.
    pub(super) fn render(&self, format: &[Piece], out: &mut String) {
        out.push_str("[INFO] ");
        for piece in format {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Field(field) => self.field(*field, out),
                Piece::Metadata(label) => self.label(label, out),
            }
        }
        out.push('\n');
    }

    /// The label's value, `-` without one; what could begin a new line is escaped.
    fn label(&self, label: &str, out: &mut String) {
        let mut held = self.labels.iter().flat_map(|labels| labels.iter());
        match held.find(|(known, _)| &**known == label) {
            Some((_, value)) => {
                out.extend(value.chars().map(|c| if c.is_control() { '?' } else { c }));
            }
            None => out.push('-'),
        }
    }

    fn field(&self, field: Field, out: &mut String) {
        let written = match field {
            Field::Type => out.write_str(&mnemonics::rtype_text(self.qtype)),
            Field::Name => {
                self.push_name(out);
                Ok(())
            }
            Field::Class => out.write_str(&mnemonics::class_text(self.class)),
            Field::Proto => out.write_str(self.transport.label()),
            Field::Size => write!(out, "{}", self.size),
            Field::Remote => push_address(self.client.ip(), out),
            Field::Port => write!(out, "{}", self.client.port()),
            Field::Local => push_address(self.local.ip(), out),
            Field::Id => write!(out, "{}", self.id),
            Field::Opcode => write!(out, "{}", self.opcode),
            Field::DnssecOk => write!(out, "{}", self.dnssec_ok),
            Field::BufferSize => write!(out, "{}", self.payload),
            Field::Rcode | Field::ReplyFlags if self.is_dropped() => out.write_str("-"),
            Field::Rcode => out.write_str(rcode_label(usize::from(self.rcode))),
            Field::ReplySize => write!(out, "{}", self.reply_size),
            Field::Duration => write!(out, "{:.9}s", self.took.as_secs_f64()),
            Field::ReplyFlags => {
                self.push_flags(out);
                Ok(())
            }
        };
        debug_assert!(written.is_ok(), "a String takes all that is written");
    }

    /// Presentation form (RFC 1035 §5.1), lower-cased: what is not printable is escaped, so that a
    /// name can't forge a line.
    fn push_name(&self, out: &mut String) {
        let labels = crate::wire::name::labels(self.wire());
        if labels.is_empty() {
            return out.push('.');
        }
        for label in labels {
            for octet in label {
                match octet.to_ascii_lowercase() {
                    special @ (b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b' ') => {
                        out.push('\\');
                        out.push(special as char);
                    }
                    plain @ 0x21..=0x7e => out.push(plain as char),
                    other => out.push_str(&format!("\\{other:03}")),
                }
            }
            out.push('.');
        }
    }

    fn push_flags(&self, out: &mut String) {
        const FLAGS: [(u16, &str); 8] = [
            (0x8000, "qr"),
            (0x0400, "aa"),
            (0x0200, "tc"),
            (0x0100, "rd"),
            (0x0080, "ra"),
            (0x0040, "z"),
            (0x0020, "ad"),
            (0x0010, "cd"),
        ];
        let set: Vec<&str> =
            FLAGS.iter().filter(|(bit, _)| self.flags & bit != 0).map(|(_, name)| *name).collect();
        out.push_str(&set.join(","));
    }
}

fn push_address(address: IpAddr, out: &mut String) -> std::fmt::Result {
    match address {
        IpAddr::V4(address) => write!(out, "{address}"),
        IpAddr::V6(address) => write!(out, "[{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::log::format::{COMMON, compile};

    fn line() -> Line {
        let mut line = Line {
            client: "10.0.0.7:4711".parse().unwrap(),
            local: "[fd00::1]:53".parse().unwrap(),
            transport: Transport::Udp,
            id: 7,
            opcode: 0,
            qtype: 1,
            class: 1,
            size: 40,
            dnssec_ok: false,
            payload: 512,
            rcode: 0,
            flags: 0x8500,
            has_answer: true,
            reply_size: 90,
            took: Duration::from_micros(123),
            name: [0; NAME_ROOM],
            name_len: 0,
            labels: None,
        };
        line.set_name(b"\x03WeB\x04a b\n\x03org\0");
        line
    }

    #[test]
    fn the_common_format_is_that_of_coredns() {
        let mut out = String::new();
        line().render(&compile(COMMON), &mut out);
        assert_eq!(
            out,
            "[INFO] 10.0.0.7:4711 - 7 \"A IN web.a\\ b\\010.org. udp 40 false 512\" NOERROR \
             qr,aa,rd 90 0.000123000s\n"
        );
    }

    #[test]
    fn a_rule_applies_to_its_zone_and_classes() {
        let zone = |text| Domain::parse(text).unwrap();
        assert!(line().is_below(&zone("ORG")));
        assert!(line().is_below(&Domain::root()));
        assert!(!line().is_below(&zone("rg")));
        let denial = Classes { success: false, denial: true, error: false };
        assert!(!line().is_of(denial));
        assert!(Line { has_answer: false, ..line() }.is_of(denial));
        assert!(Line { rcode: 3, ..line() }.is_of(denial));
        assert!(!Line { rcode: 2, ..line() }.is_of(denial));
    }
}
