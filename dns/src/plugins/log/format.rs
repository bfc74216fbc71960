//! Formats of log lines, taken apart once when the Corefile is read. Rendering is the query log's.

/// The format without one in the directive.
pub const COMMON: &str = "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" {rcode} {>rflags} {rsize} {duration}";
/// [`COMMON`] and the opcode.
pub const COMBINED: &str = "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" \
                            {rcode} {>rflags} {rsize} {duration} \"{>opcode}\"";

/// A part of a log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(Box<str>),
    /// A fact about the query or its reply.
    Field(Field),
    /// The metadata label of this name, or `-`.
    Metadata(Box<str>),
}

/// A fact about a query or its reply; `-` where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `{type}`: the query's type.
    Type,
    /// `{name}`: the query's name, in lower case.
    Name,
    /// `{class}`: the query's class.
    Class,
    /// `{proto}`: udp or tcp.
    Proto,
    /// `{size}`: bytes of the query.
    Size,
    /// `{remote}`: the client's address, IPv6 in brackets.
    Remote,
    /// `{port}`: the client's port.
    Port,
    /// `{local}`: the address that was asked, IPv6 in brackets.
    Local,
    /// `{>id}`: the message's id.
    Id,
    /// `{>opcode}`: as a number.
    Opcode,
    /// `{>do}`: true or false.
    DnssecOk,
    /// `{>bufsize}`: what the client can take, in bytes.
    BufferSize,
    /// `{rcode}`: the reply's, by name.
    Rcode,
    /// `{rsize}`: bytes of the reply, uncompressed.
    ReplySize,
    /// `{duration}`: seconds with `s` behind them.
    Duration,
    /// `{>rflags}`: the reply's flags, with commas.
    ReplyFlags,
}

impl Field {
    fn named(text: &str) -> Option<Self> {
        Some(match text {
            "{type}" => Self::Type,
            "{name}" => Self::Name,
            "{class}" => Self::Class,
            "{proto}" => Self::Proto,
            "{size}" => Self::Size,
            "{remote}" => Self::Remote,
            "{port}" => Self::Port,
            "{local}" => Self::Local,
            "{>id}" => Self::Id,
            "{>opcode}" => Self::Opcode,
            "{>do}" => Self::DnssecOk,
            "{>bufsize}" => Self::BufferSize,
            "{rcode}" => Self::Rcode,
            "{rsize}" => Self::ReplySize,
            "{duration}" => Self::Duration,
            "{>rflags}" => Self::ReplyFlags,
            _ => return None,
        })
    }
}

/// Takes a format apart. Braces around anything else are text, as in CoreDNS.
pub fn compile(format: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = format;
    while let Some(close) = rest.find('}') {
        let (head, tail) = rest.split_at(close + 1);
        rest = tail;
        let open = head.rfind('{').unwrap_or(0);
        let word = &head[open..];
        let piece = Field::named(word).map(Piece::Field).or_else(|| {
            let label = word.strip_prefix("{/")?.strip_suffix('}')?;
            Some(Piece::Metadata(label.into()))
        });
        match piece {
            Some(piece) => {
                text.push_str(&head[..open]);
                flush(&mut text, &mut pieces);
                pieces.push(piece);
            }
            None => text.push_str(head),
        }
    }
    text.push_str(rest);
    flush(&mut text, &mut pieces);
    pieces
}

fn flush(text: &mut String, pieces: &mut Vec<Piece>) {
    if !text.is_empty() {
        pieces.push(Piece::Text(std::mem::take(text).into()));
    }
}
