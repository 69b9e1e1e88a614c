//! The asking side of the socket.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::protocol::{Failure, MAX_LINE_BYTES, Progress, Reply, Request};

/// How long a server that holds the lock may take to open its socket.
const START_WAIT: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_millis(50);

/// Sends `request` to the process that holds the data folder and waits for its answer.
pub(super) async fn ask(
    socket: &Path,
    request: Request,
    progress: &mut dyn FnMut(Progress),
) -> Result<Value, Failure> {
    let mut stream = connect(socket).await?;
    let mut line = serde_json::to_vec(&request).expect("a request is always JSON");
    line.push(b'\n');
    stream.write_all(&line).await.map_err(|e| gone(socket, &e))?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        let read = (&mut reader).take(MAX_LINE_BYTES).read_line(&mut line).await;
        match read.map_err(|e| gone(socket, &e))? {
            0 => return Err(gone(socket, &"it closed the connection before answering")),
            _ => match serde_json::from_str(&line).map_err(|e| gone(socket, &e))? {
                Reply::Progress(step) => progress(step),
                Reply::Done(value) => return Ok(value),
                Reply::Failed(failure) => return Err(failure),
            },
        }
    }
}

async fn connect(socket: &Path) -> Result<UnixStream, Failure> {
    let deadline = Instant::now() + START_WAIT;
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            Err(e) if Instant::now() > deadline => return Err(gone(socket, &e)),
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

fn gone(socket: &Path, why: &dyn std::fmt::Display) -> Failure {
    let text = format!(
        "the process that holds the data folder does not answer at {}: {why}",
        socket.display()
    );
    Failure::new("server-unreachable", text).advice(
        "whether the act was carried out is not known: run the command again, a repeat is harmless",
    )
}
