//! One process owns a data folder: whoever holds its lock opens the database and the keys, and answers the others
//! through a socket in the folder. The same code runs either way.
//!
//! The invariant to keep: no second process ever opens the database for writing or reads the signing key.

mod client;
mod lock;
mod protocol;
mod server;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub(crate) use lock::DataLock;
pub(crate) use protocol::{
    Actor, BundleRequest, Derive, DeriveRequest, Failure, HoldOf, KeepingRequest, PeopleRequest,
    Progress, ProgressSender, Request, ScrubRequest,
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
    let holder = Holder::find(data, config).await?;
    let answer = holder.perform(request, progress).await;
    holder.close().await;
    answer
}

/// Who carries out requests about a folder, for as many as there are.
pub(crate) enum Holder {
    /// This process, which has opened it.
    Here(Box<App>),
    /// The process that listens at this socket.
    Elsewhere(PathBuf),
}

impl Holder {
    /// The process that holds the folder; this one when nobody does.
    pub(crate) async fn find(data: &Path, config: &Config) -> Result<Self, Failure> {
        Ok(match DataLock::take(data)? {
            Some(lock) => Self::Here(Box::new(App::open(data, config, lock).await?)),
            None => Self::Elsewhere(data.join(SOCKET_NAME)),
        })
    }

    pub(crate) async fn perform(
        &self,
        request: Request,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Value, Failure> {
        let app = match self {
            Self::Here(app) => app,
            Self::Elsewhere(socket) => return client::ask(socket, request, progress).await,
        };
        let (sender, mut receiver) = protocol::progress_channel();
        let work = app.handle(request, Actor::at_this_console(), sender);
        tokio::pin!(work);
        loop {
            tokio::select! {
                Some(step) = receiver.recv() => progress(step),
                answer = &mut work => return answer,
            }
        }
    }

    pub(crate) async fn close(self) {
        if let Self::Here(app) = self {
            app.close().await;
        }
    }
}
