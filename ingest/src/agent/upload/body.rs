//! A request's body, read and hashed as the line takes it.
//!
//! Here: the bounded way from a [`ClipReader`] to the socket. Invariant: a read error cuts the request off; what was
//! read and not sent is found again by the reader's position, never by guessing.

use std::io;

use bytes::Bytes;
use reqwest::Body;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::agent::blocking;
use crate::agent::reading::{ClipReader, ReadError};
use crate::agent::server::Activity;

/// Reads blocks up to `end` into the channel, until the request is over.
pub(super) async fn pump(
    mut reader: ClipReader,
    end: u64,
    blocks: mpsc::Sender<io::Result<Bytes>>,
    stop: &CancellationToken,
    sent: impl Fn(u64),
) -> (ClipReader, Result<(), ReadError>) {
    while reader.position() < end && !stop.is_cancelled() {
        let (back, block) = blocking(move || {
            let block = reader.read_block(end);
            (reader, block)
        })
        .await;
        reader = back;
        let block = match block {
            Ok(block) => block,
            Err(error) => {
                // Cuts the request off: a part of a changed file must not look like a whole one.
                let _ = blocks.try_send(Err(io::ErrorKind::InvalidData.into()));
                return (reader, Err(error));
            }
        };
        let taken = tokio::select! {
            taken = blocks.send(Ok(block)) => taken.is_ok(),
            () = stop.cancelled() => false,
        };
        if !taken {
            break;
        }
        sent(reader.position());
    }
    (reader, Ok(()))
}

/// A request body from the channel; every block taken shows that the line moves.
pub(super) fn body_of(blocks: mpsc::Receiver<io::Result<Bytes>>, activity: Activity) -> Body {
    let next = move |mut blocks: mpsc::Receiver<io::Result<Bytes>>| {
        let activity = activity.clone();
        async move {
            let block = blocks.recv().await?;
            activity.touch();
            Some((block, blocks))
        }
    };
    Body::wrap_stream(futures_util::stream::unfold(blocks, next))
}
