//! Frames of the PostgreSQL protocol, version 3: a tag, a length and a body.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The largest frame that is believed.
const LARGEST: usize = 1 << 30;

/// One side of a session: a socket that is read frame by frame and written through a buffer.
pub(super) struct Side<S> {
    socket: S,
    read: BytesMut,
    write: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Side<S> {
    pub(super) fn new(socket: S) -> Side<S> {
        Side { socket, read: BytesMut::with_capacity(1 << 16), write: BytesMut::new() }
    }

    /// The next whole frame with its header, `None` at the end. Start-up packets have no tag. Cancel-safe: what has been
    /// read stays.
    pub(super) async fn frame(&mut self, tagged: bool) -> io::Result<Option<Bytes>> {
        let head = usize::from(tagged);
        loop {
            if self.read.len() >= head + 4 {
                let length = (&self.read[head..]).get_u32() as usize;
                if !(4..LARGEST).contains(&length) {
                    return Err(io::Error::other("not the PostgreSQL protocol"));
                }
                if self.read.len() >= head + length {
                    return Ok(Some(self.read.split_to(head + length).freeze()));
                }
                self.read.reserve(head + length - self.read.len());
            }
            if self.socket.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Queues a frame.
    pub(super) async fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.write.extend_from_slice(frame);
        if self.write.len() > 1 << 16 { self.flush().await } else { Ok(()) }
    }

    /// Writes what is queued.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.socket.write_all_buf(&mut self.write).await
    }
}

/// A frame of this tag and body.
pub(super) fn frame(tag: u8, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(body.len() + 5);
    out.put_u8(tag);
    out.put_u32(body.len() as u32 + 4);
    out.put_slice(body);
    out.freeze()
}

/// A simple query.
pub(super) fn query(sql: &str) -> Bytes {
    frame(b'Q', format!("{sql}\0").as_bytes())
}

/// "That statement is done."
pub(super) fn complete(tag: &str) -> Bytes {
    frame(b'C', format!("{tag}\0").as_bytes())
}

/// "Ask on": I outside a block, T inside, E in a failed one.
pub(super) fn ready(status: u8) -> Bytes {
    frame(b'Z', &[status])
}

/// The fields of an error or notice, by their letter.
pub(super) fn fields(frame: &[u8]) -> Vec<(u8, String)> {
    frame[5..]
        .split(|b| *b == 0)
        .filter_map(|field| Some((*field.first()?, String::from_utf8_lossy(&field[1..]).into_owned())))
        .collect()
}

/// The columns of a row in text; NULL is `None`.
pub(super) fn row(frame: &[u8]) -> Vec<Option<String>> {
    let mut rest = &frame[5..];
    let count = rest.get_u16();
    (0..count)
        .map(|_| {
            let length = rest.get_i32();
            (length >= 0).then(|| {
                let (text, after) = rest.split_at(length as usize);
                rest = after;
                String::from_utf8_lossy(text).into_owned()
            })
        })
        .collect()
}
