//! Protobuf messages without a schema: the fields of one, as they come. Written for the tests, so that
//! what a server encodes is not read by what encoded it.

use anyhow::{Context, bail};

/// A field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A varint, or a fixed number of 32 or 64 bits.
    Number(u64),
    /// Octets: a text, or a message of its own.
    Octets(Vec<u8>),
}

/// The fields of a message, with their numbers, in their order.
///
/// # Errors
/// If it is none.
pub fn fields(mut message: &[u8]) -> anyhow::Result<Vec<(u64, Value)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut message)?),
            1 => Value::Number(u64::from_le_bytes(take(&mut message, 8)?.try_into()?)),
            2 => {
                let length = varint(&mut message)?;
                Value::Octets(take(&mut message, usize::try_from(length)?)?.to_vec())
            }
            5 => Value::Number(u32::from_le_bytes(take(&mut message, 4)?.try_into()?).into()),
            wire => bail!("wire type {wire}"),
        };
        fields.push((key >> 3, value));
    }
    Ok(fields)
}

fn varint(rest: &mut &[u8]) -> anyhow::Result<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let octet = take(rest, 1)?[0];
        number |= u64::from(octet & 0x7f) << shift;
        if octet < 0x80 {
            return Ok(number);
        }
    }
    bail!("a varint of more than ten octets")
}

fn take<'a>(rest: &mut &'a [u8], octets: usize) -> anyhow::Result<&'a [u8]> {
    rest.split_off(..octets).context("a message that is cut short")
}
