//! The text of `extra`, filled in for a query.

use std::net::IpAddr;

use crate::{
    plugin::Query,
    plugins::log::format::{Field, Piece},
    wire::{mnemonics, text},
};

/// What stands where there is no value, as in a log line.
const NONE: &str = "-";

/// The pieces of `extra` for a query. What a log line has of the reply is never known here.
pub(super) fn fill(pieces: &[Piece], query: &Query) -> Vec<u8> {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Field(field) => out.push_str(&value(*field, query)),
            Piece::Metadata(label) => {
                out.push_str(query.metadata.value(label).as_deref().unwrap_or(NONE));
            }
        }
    }
    out.into_bytes()
}

fn value(field: Field, query: &Query) -> String {
    let origin = &query.origin;
    match field {
        Field::Type => mnemonics::rtype_text(query.rtype().into()).into_owned(),
        Field::Name => text::folded(query.name()),
        Field::Class => mnemonics::class_text(query.class().into()).into_owned(),
        Field::Proto => origin.transport.label().to_owned(),
        // On the way to an upstream it may be another one than what came.
        Field::Size => query.message.to_vec().map_or(query.size, |bytes| bytes.len()).to_string(),
        Field::Remote => address(origin.client.ip()),
        Field::Port => origin.client.port().to_string(),
        Field::Local => address(origin.local.ip()),
        Field::Id => query.message.metadata.id.to_string(),
        Field::Opcode => u8::from(query.message.metadata.op_code).to_string(),
        Field::DnssecOk => query.dnssec_ok().to_string(),
        Field::BufferSize => query.size_limit().to_string(),
        Field::Rcode | Field::ReplySize | Field::Duration | Field::ReplyFlags => NONE.to_owned(),
    }
}

fn address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
