//! One process owns a data folder: whoever holds its lock opens the database and the keys, and answers the others
//! through a socket in the folder. The same code runs either way.
//!
//! The invariant to keep: no second process ever opens the database for writing or reads the signing key.

mod client;
mod lock;
mod protocol;
mod server;

use std::path::Path;

use serde_json::Value;

pub(crate) use lock::DataLock;
pub(crate) use protocol::{
    Actor, BundleRequest, Failure, PeopleRequest, Progress, ProgressSender, Request,
};
pub(crate) use server::ControlServer;

use crate::app::App;
use crate::config::Config;

/// The socket's name in the data folder.
pub(crate) const SOCKET_NAME: &str = "exhibit.sock";

/// Whether a process holds the folder. Nothing is made or changed.
pub(crate) fn is_held(data: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(data.join(SOCKET_NAME)).is_ok()
        || DataLock::is_held(data)
}

/// Asks the process that holds the folder, and waits no longer than `patience`.
pub(crate) async fn ask(
    data: &Path,
    request: Request,
    patience: std::time::Duration,
) -> Result<Value, Failure> {
    let (socket, mut nobody) = (data.join(SOCKET_NAME), |_| ());
    let asked = tokio::time::timeout(patience, client::ask(&socket, request, &mut nobody)).await;
    asked.unwrap_or_else(|_| {
        Err(Failure::new("server-unreachable", format!("no answer within {patience:?}")))
    })
}

/// Carries out `request`: by the process that holds the folder, or here when nobody does.
pub(crate) async fn perform(
    data: &Path,
    config: &Config,
    request: Request,
    progress: &mut dyn FnMut(Progress),
) -> Result<Value, Failure> {
    match DataLock::take(data)? {
        Some(lock) => {
            let app = App::open(data, config, lock).await?;
            let (sender, mut receiver) = protocol::progress_channel();
            let answer = {
                let work = app.handle(request, Actor::at_this_console(), sender);
                tokio::pin!(work);
                loop {
                    tokio::select! {
                        Some(step) = receiver.recv() => progress(step),
                        answer = &mut work => break answer,
                    }
                }
            };
            app.close().await;
            answer
        }
        None => client::ask(&data.join(SOCKET_NAME), request, progress).await,
    }
}
