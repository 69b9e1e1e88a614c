//! A request's body as it comes, and what to do with the rest of one that is refused.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

/// How much of a refused body is read and thrown away. A connection that is closed with bytes unread is reset, and the
/// reset may overtake the reply: the client would never learn why.
const DRAIN_BYTES: usize = 16 * 1024 * 1024;
/// And for how long.
const DRAIN_FOR: Duration = Duration::from_secs(5);

/// The bytes of a request. Dropped before their end, the rest is drained beside the reply.
pub(super) struct Incoming {
    /// None once it has ended or broken.
    stream: Option<BodyDataStream>,
}

impl Incoming {
    pub(super) fn new(body: Body) -> Self {
        let stream = (!body.is_end_stream()).then(|| body.into_data_stream());
        Self { stream }
    }
}

impl Stream for Incoming {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(stream) = self.stream.as_mut() else { return Poll::Ready(None) };
        let frame =
            stream.poll_next_unpin(cx).map(|frame| frame.map(|f| f.map_err(io::Error::other)));
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.stream = None;
        }
        frame
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let (Some(stream), Ok(runtime)) =
            (self.stream.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        runtime.spawn(tokio::time::timeout(DRAIN_FOR, drain(stream)));
    }
}

async fn drain(mut stream: BodyDataStream) {
    let mut drained = 0;
    while let Some(Ok(frame)) = stream.next().await {
        drained += frame.len();
        if drained > DRAIN_BYTES {
            return;
        }
    }
}
