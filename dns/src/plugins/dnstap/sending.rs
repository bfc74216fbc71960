//! Payloads from a queue onto a connection, until either ends.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{frames, queue::Queue};

/// A receiver takes what is sent within this time, and says that it has all at the end; as in CoreDNS.
const PATIENCE: Duration = Duration::from_secs(4);

/// A connection of any kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Sends what comes through the queue, after the handshake. Ends well once the queue is closed and the
/// receiver has all of it.
///
/// # Errors
/// If the connection ends before. What was being sent then counts as dropped.
pub(super) async fn deliver<S: Stream + ?Sized>(stream: &mut S, queue: &Queue) -> io::Result<()> {
    let mut out = Vec::new();
    let mut unasked = [0; 1];
    loop {
        let taken = tokio::select! {
            taken = queue.take() => taken,
            // Until the end a receiver has nothing to say: it went, or wants to.
            read = stream.read(&mut unasked) => {
                let what = read.map(|_| io::Error::from(io::ErrorKind::UnexpectedEof));
                return Err(what.unwrap_or_else(|error| error));
            }
        };
        let mut stream = &mut *stream;
        let Some(payloads) = taken else {
            return timeout(PATIENCE, frames::end(&mut stream)).await.unwrap_or_else(late);
        };
        out.clear();
        payloads.iter().for_each(|payload| frames::push(&mut out, payload));
        let written = async {
            stream.write_all(&out).await?;
            stream.flush().await
        };
        let written = timeout(PATIENCE, written).await.unwrap_or_else(late);
        if written.is_err() {
            queue.dropped(payloads.len());
            return written;
        }
    }
}

fn late<T>(_: tokio::time::error::Elapsed) -> io::Result<T> {
    Err(io::ErrorKind::TimedOut.into())
}
