//! More in the log: debug lines, stacks of panics, dumps of messages that make no sense. See README.md.
//!
//! What is logged is the program's choice (`Server::debugging` tells it); nothing here knows how.

pub mod config;

use std::fmt::{Display, Write};

use tracing::Level;

/// Whether debug lines are logged.
pub fn is_on() -> bool {
    tracing::enabled!(target: "plugin/debug", Level::DEBUG)
}

/// Logs a message that could not be used, with why, as lines that text2pcap reads. Costs nothing if
/// debug lines are not logged.
pub fn dump(message: &[u8], why: impl Display) {
    if is_on() {
        tracing::debug!(target: "plugin/debug", "{why}\n{}", hex(message));
    }
}

/// Offsets and octets in hexadecimal, sixteen to a line, and the offset behind the last one.
fn hex(message: &[u8]) -> String {
    let mut text = String::with_capacity(message.len() * 4 + 32);
    for (line, octets) in message.chunks(16).enumerate() {
        push(&mut text, format_args!("debug: {:06x}", line * 16));
        octets.iter().for_each(|octet| push(&mut text, format_args!(" {octet:02x}")));
        text.push('\n');
    }
    push(&mut text, format_args!("debug: {:06x}", message.len()));
    text
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    let written = text.write_fmt(what);
    debug_assert!(written.is_ok(), "a String takes all that is written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_has_sixteen_octets_to_a_line_and_ends_with_the_length() {
        let message: Vec<u8> = (0..18).collect();
        let want = "debug: 000000 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f\n\
                    debug: 000010 10 11\n\
                    debug: 000012";
        assert_eq!(hex(&message), want);
        assert_eq!(hex(&[]), "debug: 000000");
    }
}
