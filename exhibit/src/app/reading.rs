//! A file at this machine, read once from its beginning, with progress.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};

use crate::control::{Failure, ProgressSender};

/// A file and how far it has been read.
#[derive(Debug)]
pub(super) struct Reading {
    file: File,
    name: String,
    done_bytes: u64,
    total_bytes: u64,
    progress: ProgressSender,
}

/// Opens `path`; also gives its name, which is data and never a path.
pub(super) async fn open(
    path: &Path,
    progress: ProgressSender,
) -> Result<(Reading, String), Failure> {
    let cannot = |e: std::io::Error| {
        Failure::new("path", format!("{}: {e}", path.display())).advice(
            "the server reads the file itself: it must be on this machine and readable to it",
        )
    };
    let file = File::open(path).await.map_err(cannot)?;
    let metadata = file.metadata().await.map_err(cannot)?;
    if !metadata.is_file() {
        return Err(Failure::new("path", format!("{} is not a file", path.display())));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let reading =
        Reading { file, name: name.clone(), done_bytes: 0, total_bytes: metadata.len(), progress };
    Ok((reading, name))
}

impl AsyncRead for Reading {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.file).poll_read(context, buffer);
        if polled.is_ready() {
            self.done_bytes += (buffer.filled().len() - before) as u64;
            self.progress.report(&self.name, self.done_bytes, self.total_bytes);
        }
        polled
    }
}
