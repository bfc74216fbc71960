//! Frame Streams, the framing of dnstap: the side that sends, after a handshake in both directions.
//!
//! Each frame is its length in four octets (big endian) and its octets. Length 0 announces a control
//! frame, with a length of its own. The sender says `READY` and what it would send, the receiver
//! `ACCEPT`, the sender `START`; at the end `STOP`, and the receiver `FINISH`. This is what fstrm and
//! golang-framestream speak.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What our frames hold.
pub(super) const CONTENT: &[u8] = b"protobuf:dnstap.Dnstap";

const ACCEPT: u32 = 1;
const START: u32 = 2;
const STOP: u32 = 3;
const READY: u32 = 4;
const FINISH: u32 = 5;
/// Field of a control frame: a content type.
const CONTENT_TYPE: u32 = 1;
/// Octets of the longest control frame that anybody sends.
const MAX_CONTROL: u32 = 512;

/// Agrees with the receiver on what is sent.
///
/// # Errors
/// If the connection fails, or the receiver does not take dnstap.
pub(super) async fn begin<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    stream.write_all(&control(READY, &[CONTENT])).await?;
    stream.flush().await?;
    let (kind, accepted) = read_control(stream).await?;
    if kind != ACCEPT {
        return Err(unexpected(format!("a control frame of type {kind} where ACCEPT is due")));
    }
    // Without a content type the receiver takes anything.
    if !accepted.is_empty() && !accepted.iter().any(|content| content == CONTENT) {
        return Err(unexpected("the receiver does not take dnstap".to_owned()));
    }
    stream.write_all(&control(START, &[CONTENT])).await?;
    stream.flush().await
}

/// Says that no more will come, and waits until the receiver has it all.
///
/// # Errors
/// If the connection fails before.
pub(super) async fn end<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    stream.write_all(&control(STOP, &[])).await?;
    stream.flush().await?;
    match read_control(stream).await?.0 {
        FINISH => stream.shutdown().await,
        kind => Err(unexpected(format!("a control frame of type {kind} where FINISH is due"))),
    }
}

/// Appends a frame with this payload, which is shorter than 4 GiB.
pub(super) fn push(out: &mut Vec<u8>, payload: &[u8]) {
    out.extend((payload.len() as u32).to_be_bytes());
    out.extend(payload);
}

fn control(kind: u32, contents: &[&[u8]]) -> Vec<u8> {
    let mut body = kind.to_be_bytes().to_vec();
    for content in contents {
        body.extend(CONTENT_TYPE.to_be_bytes());
        push(&mut body, content);
    }
    let mut frame = 0_u32.to_be_bytes().to_vec();
    push(&mut frame, &body);
    frame
}

/// A control frame: its type and the content types that it names.
async fn read_control<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<(u32, Vec<Vec<u8>>)> {
    if stream.read_u32().await? != 0 {
        return Err(unexpected("data where a control frame is due".to_owned()));
    }
    let length = stream.read_u32().await?;
    if !(4..=MAX_CONTROL).contains(&length) {
        return Err(unexpected(format!("a control frame of {length} octets")));
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).await?;
    let mut rest = &body[..];
    let kind = number(&mut rest)?;
    let mut contents = Vec::new();
    while !rest.is_empty() {
        if number(&mut rest)? != CONTENT_TYPE {
            return Err(unexpected("an unknown field in a control frame".to_owned()));
        }
        let length = number(&mut rest)? as usize;
        let content = rest.split_off(..length).ok_or_else(cut_short)?;
        contents.push(content.to_vec());
    }
    Ok((kind, contents))
}

fn number(rest: &mut &[u8]) -> io::Result<u32> {
    let octets = rest.split_off(..4).ok_or_else(cut_short)?;
    Ok(octets.iter().fold(0, |number, octet| number << 8 | u32::from(*octet)))
}

fn cut_short() -> io::Error {
    unexpected("a control frame that is cut short".to_owned())
}

fn unexpected(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use tokio::io::duplex;

    use super::*;

    #[tokio::test]
    async fn the_handshake_is_that_of_frame_streams() {
        let (mut ours, mut theirs) = duplex(1024);
        let sender = tokio::spawn(async move {
            begin(&mut ours).await?;
            end(&mut ours).await
        });
        let mut ready = [0; 42];
        theirs.read_exact(&mut ready).await.unwrap();
        assert_eq!(ready[..20], [0, 0, 0, 0, 0, 0, 0, 34, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 22]);
        assert_eq!(&ready[20..], CONTENT);
        theirs.write_all(&control(ACCEPT, &[b"other", CONTENT])).await.unwrap();
        assert_eq!(read_control(&mut theirs).await.unwrap(), (START, vec![CONTENT.to_vec()]));
        assert_eq!(read_control(&mut theirs).await.unwrap(), (STOP, vec![]));
        theirs.write_all(&control(FINISH, &[])).await.unwrap();
        sender.await.unwrap().unwrap();
    }

    proptest! {
        #[test]
        fn any_octets_are_a_handshake_or_an_error(
            accept in any::<bool>(),
            mut octets in vec(any::<u8>(), 0..600),
        ) {
            if accept {
                // So that more than the first number is looked at.
                octets.splice(0..0, [0, 0, 0, 0, 0, 0, 0, octets.len() as u8, 0, 0, 0, 1]);
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let (mut ours, mut theirs) = duplex(1024);
                theirs.write_all(&octets).await.unwrap();
                theirs.shutdown().await.unwrap();
                drop(begin(&mut ours).await);
            });
        }
    }

    #[tokio::test]
    async fn what_is_no_handshake_is_an_error() {
        let cases: [&[u8]; 9] = [
            b"",
            b"HTTP/1.1 400 Bad Request",
            &control(START, &[CONTENT]),
            &control(ACCEPT, &[b"protobuf:other"]),
            &[0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 1],
            &[0, 0, 0, 0, 0, 1, 0, 0],
            &[0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 2],
            &[0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9],
            &[0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0],
        ];
        for case in cases {
            let (mut ours, mut theirs) = duplex(1024);
            theirs.write_all(case).await.unwrap();
            theirs.shutdown().await.unwrap();
            assert!(begin(&mut ours).await.is_err(), "{case:?}");
        }
    }
}
