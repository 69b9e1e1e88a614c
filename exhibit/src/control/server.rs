//! The answering side of the socket.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::SOCKET_NAME;
use super::protocol::{self, Actor, Failure, MAX_LINE_BYTES, Reply, Request};
use crate::app::App;

/// Listens in the data folder until dropped.
#[derive(Debug)]
pub(crate) struct ControlServer {
    task: tokio::task::JoinHandle<()>,
    path: PathBuf,
}

impl ControlServer {
    /// Opens the socket, mode 0600. Only the lock's holder may call this: a socket that is there is a dead one's.
    pub(crate) fn start(app: App, data: &Path) -> Result<Self, Failure> {
        let path = data.join(SOCKET_NAME);
        let listener = listen(&path)
            .map_err(|e| Failure::new("control-socket", format!("{}: {e}", path.display())))?;
        let task = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(serve(app.clone(), stream))),
                    Err(error) => {
                        tracing::error!(%error, "control socket");
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                }
            }
        });
        Ok(Self { task, path })
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The socket is bound under another name and renamed once its mode is set, so that nobody connects in between.
fn listen(path: &Path) -> std::io::Result<UnixListener> {
    let fresh = path.with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, path)?;
    Ok(listener)
}

async fn serve(app: App, stream: UnixStream) {
    if let Err(error) = answer(app, stream).await {
        tracing::warn!(%error, "control connection ended early");
    }
}

async fn answer(app: App, stream: UnixStream) -> std::io::Result<()> {
    let actor = Actor::with_uid(stream.peer_cred()?.uid());
    let (reading, mut writing) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reading).take(MAX_LINE_BYTES).read_line(&mut line).await?;
    let request: Request = match serde_json::from_str(&line) {
        Ok(request) => request,
        Err(e) => {
            let failure = Failure::new("bad-request", e.to_string())
                .advice("is the command the same version as the server?");
            return send(&mut writing, &Reply::Failed(failure)).await;
        }
    };
    let (sender, mut receiver) = protocol::progress_channel();
    // An act that has begun is finished even if whoever asked goes away.
    let mut work = tokio::spawn(async move { app.handle(request, actor, sender).await });
    loop {
        tokio::select! {
            Some(step) = receiver.recv() => send(&mut writing, &Reply::Progress(step)).await?,
            joined = &mut work => {
                let reply = match joined {
                    Ok(Ok(value)) => Reply::Done(value),
                    Ok(Err(failure)) => Reply::Failed(failure),
                    Err(panic) => Reply::Failed(Failure::new("internal", panic.to_string())),
                };
                return send(&mut writing, &reply).await;
            }
        }
    }
}

async fn send(stream: &mut tokio::net::unix::OwnedWriteHalf, reply: &Reply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(reply).expect("a reply is always JSON");
    line.push(b'\n');
    stream.write_all(&line).await
}
