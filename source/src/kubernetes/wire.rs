//! The wire format of protobuf, as far as messages are read: fields of numbers and octets.
//!
//! Ours and not `prost`'s, which is for owned messages: that would be a second set of shapes to keep
//! beside those of `trim/shape.rs`, with an allocation for every text of every object in a list of
//! thousands. What is read here borrows from the frame, as it does from a line of JSON. The tests
//! hold it against `prost`.

use std::borrow::Cow;

use thiserror::Error;

/// These bytes are not a message of the kind that is expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub(super) enum Malformed {
    /// A field is longer than what holds it.
    #[error("malformed protobuf: it ends within a field")]
    Short,
    /// A number has more than 64 bits.
    #[error("malformed protobuf: a number of more than 64 bits")]
    Number,
    /// A field has no number, or a type that does not exist or that nobody writes (groups).
    #[error("malformed protobuf: {0} is no tag of a field")]
    Tag(u64),
    /// A field has another type than it should.
    #[error("malformed protobuf: field {0} is of another type")]
    Type(u32),
    /// It does not begin as the API's objects do.
    #[error("malformed protobuf: no object of the Kubernetes API")]
    NoObject,
    /// The object inside is encoded in some other way.
    #[error("the object inside is not plain protobuf")]
    Encoded,
}

/// A field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    /// Its number.
    pub(super) number: u32,
    value: Value<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Number(u64),
    Octets(&'a [u8]),
    /// Of fixed length, which no field that we read is.
    Fixed,
}

/// A message that is read field by field.
pub(super) trait Read<'a>: Default {
    /// Takes one field; those that are of no use are passed over.
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed>;

    /// Takes the fields of `message`. A field that stands there twice counts as the format says: of
    /// a value the last one, of a message what either has.
    fn merge(&mut self, message: &'a [u8]) -> Result<(), Malformed> {
        let mut rest = message;
        while !rest.is_empty() {
            self.take(field(&mut rest)?)?;
        }
        Ok(())
    }

    /// The message in these octets.
    fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut read = Self::default();
        read.merge(message)?;
        Ok(read)
    }
}

impl<'a> Field<'a> {
    /// Its octets.
    pub(super) fn octets(self) -> Result<&'a [u8], Malformed> {
        match self.value {
            Value::Octets(octets) => Ok(octets),
            _ => Err(Malformed::Type(self.number)),
        }
    }

    /// Its text. What is not UTF-8 is replaced, as the API server does when it writes JSON.
    pub(super) fn text(self) -> Result<Cow<'a, str>, Malformed> {
        self.octets().map(String::from_utf8_lossy)
    }

    /// Its number: `int32` and `int64`, where negative ones are those of 64 bits, and `bool`.
    pub(super) fn integer(self) -> Result<i64, Malformed> {
        match self.value {
            Value::Number(number) => Ok(number.cast_signed()),
            _ => Err(Malformed::Type(self.number)),
        }
    }

    /// The message in it.
    pub(super) fn message<M: Read<'a>>(self) -> Result<M, Malformed> {
        M::read(self.octets()?)
    }

    /// Adds the message in it to what is there.
    pub(super) fn merge_into<M: Read<'a>>(self, held: &mut Option<M>) -> Result<(), Malformed> {
        held.get_or_insert_default().merge(self.octets()?)
    }
}

fn field<'a>(rest: &mut &'a [u8]) -> Result<Field<'a>, Malformed> {
    let tag = varint(rest)?;
    let number = u32::try_from(tag >> 3).map_err(|_| Malformed::Tag(tag))?;
    if number == 0 {
        return Err(Malformed::Tag(tag));
    }
    let value = match tag & 7 {
        0 => Value::Number(varint(rest)?),
        1 => octets(rest, 8).map(|_| Value::Fixed)?,
        2 => {
            let length = varint(rest)?;
            Value::Octets(octets(rest, length)?)
        }
        5 => octets(rest, 4).map(|_| Value::Fixed)?,
        _ => return Err(Malformed::Tag(tag)),
    };
    Ok(Field { number, value })
}

fn octets<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(length).map_err(|_| Malformed::Short)?;
    let (octets, after) = rest.split_at_checked(length).ok_or(Malformed::Short)?;
    *rest = after;
    Ok(octets)
}

/// A number in groups of seven bits, the lowest first; the last one lacks the upper bit.
fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (octet, after) = rest.split_first().ok_or(Malformed::Short)?;
        *rest = after;
        let bits = u64::from(octet & 0x7f);
        // Of the tenth group one bit is left.
        if shift == 63 && bits > 1 {
            return Err(Malformed::Number);
        }
        number |= bits << shift;
        if octet & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Malformed::Number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::encoding::encode_varint;

    use super::*;

    #[derive(Default, PartialEq, Debug)]
    struct Seen(Vec<(u32, Option<i64>, Option<Vec<u8>>)>);

    impl<'a> Read<'a> for Seen {
        fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
            let octets = field.octets().ok().map(<[u8]>::to_vec);
            self.0.push((field.number, field.integer().ok(), octets));
            Ok(())
        }
    }

    #[test]
    fn fields_are_read_whatever_their_type() {
        for (bytes, want) in [
            (b"".as_slice(), Ok(vec![])),
            (b"\x08\x96\x01", Ok(vec![(1, Some(150), None)])),
            (
                b"\x12\x02ab\x1a\x00",
                Ok(vec![(2, None, Some(b"ab".to_vec())), (3, None, Some(vec![]))]),
            ),
            (b"\x09abcdefgh\x0dabcd", Ok(vec![(1, None, None), (1, None, None)])),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Ok(vec![(1, Some(-1), None)])),
            (b"\xf8\xff\xff\xff\x0f\x01", Ok(vec![((1 << 29) - 1, Some(1), None)])),
            (b"\x08", Err(Malformed::Short)),
            (b"\x08\x80", Err(Malformed::Short)),
            (b"\x12\x03ab", Err(Malformed::Short)),
            (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Err(Malformed::Short)),
            (b"\x09abcdefg", Err(Malformed::Short)),
            (b"\x0dabc", Err(Malformed::Short)),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", Err(Malformed::Number)),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Err(Malformed::Number)),
            (b"\x00\x01", Err(Malformed::Tag(0))),
            (b"\x0b", Err(Malformed::Tag(11))),
            (b"\x0c", Err(Malformed::Tag(12))),
        ] {
            assert_eq!(Seen::read(bytes), want.map(Seen), "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_prost_writes_them(number: u64) {
            let mut bytes = vec![0x08];
            encode_varint(number, &mut bytes);
            prop_assert_eq!(Seen::read(&bytes), Ok(Seen(vec![(1, Some(number.cast_signed()), None)])));
        }
    }
}
