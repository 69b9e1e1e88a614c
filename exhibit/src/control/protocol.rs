//! What goes over the socket: one request line, then progress lines, then one answer line. JSON, one object a line.

use std::path::PathBuf;

use portal::access::Role;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

/// The longest line either side accepts.
pub(super) const MAX_LINE_BYTES: u64 = 64 << 20;
/// Progress steps that may wait before newer ones are dropped: progress is news, not evidence.
const PROGRESS_WAITING: usize = 64;

/// What a command asks of whoever holds the data folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    DeviceEnrol {
        name: String,
    },
    DeviceList,
    DeviceRevoke {
        device: String,
    },
    /// `name` in place of the file's own.
    Ingest {
        path: PathBuf,
        name: Option<String>,
        restricted: bool,
    },
    Show {
        item: String,
    },
    /// Of one kind of derivative, or of all.
    Reproduce {
        item: String,
        kind: Option<String>,
    },
    Derive(DeriveRequest),
    /// What is being made of an item, or waits, is wanted no more.
    Cancel {
        item: String,
    },
    Search {
        text: Option<String>,
        device: Option<String>,
        limit: u32,
        after: Option<String>,
    },
    BundleCreate(BundleRequest),
    LedgerCheckpoint,
    LedgerAudit,
    LedgerStamp,
    LedgerExport {
        output: PathBuf,
    },
    LedgerProve {
        index: u64,
    },
    KeysPublish,
    Live,
    Backup {
        to: PathBuf,
        read_again: bool,
        anew: bool,
    },
    BackupRead {
        folder: String,
        entries: u64,
        faults: u64,
    },
    Scrub(ScrubRequest),
    People(PeopleRequest),
    Keeping(KeepingRequest),
}

/// Something about people, cases, and who may see what.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum PeopleRequest {
    UserAdd { name: String, number: String, role: Role },
    UserLink { number: String },
    UserList,
    UserRemove { number: String },
    ItemAllow { item: String, number: String, reason: String, withdraw: bool },
    CaseNew { reference: String, title: String, members: Vec<String> },
    CaseAdd { case: String, items: Vec<String>, references: Vec<String>, members: Vec<String> },
    CaseList,
}

/// Something about holds, and until when items are kept. `of` is an item's id, or a case by its id or URN.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum KeepingRequest {
    HoldSet { of: HoldOf, reason: String },
    HoldRelease { of: HoldOf, reason: String },
    HoldList,
    Review { items: Vec<String>, until: String, reason: String },
}

/// What a hold is on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum HoldOf {
    Item(String),
    Case(String),
}

/// A derivative that somebody asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeriveRequest {
    pub(crate) item: String,
    pub(crate) what: Derive,
    pub(crate) reason: String,
    /// Where a copy of it goes: a file that is not there yet.
    pub(crate) output: Option<PathBuf>,
}

/// What is made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Derive {
    Extract {
        from_ms: u64,
        to_ms: u64,
        exact: bool,
    },
    /// The list, as JSON.
    Redaction(String),
    /// What every item gets, as far as it is not there: of one kind, or of all.
    Standard(Option<String>),
}

/// How everything is read again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScrubRequest {
    pub(crate) full_speed: bool,
    pub(crate) bytes_per_s: Option<u64>,
    /// A backup's folder, from which what is missing or damaged is brought back.
    pub(crate) repair_from: Option<PathBuf>,
}

/// A bundle for somebody.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BundleRequest {
    pub(crate) items: Vec<String>,
    pub(crate) purpose: String,
    pub(crate) recipient: String,
    pub(crate) references: Vec<String>,
    pub(crate) case_reference: Option<String>,
    pub(crate) authorised_by: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) complete: bool,
    pub(crate) programs: bool,
    pub(crate) output: PathBuf,
}

/// How far a long act has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) what: String,
    pub(crate) done_bytes: u64,
    pub(crate) total_bytes: u64,
}

/// Why a command was not carried out, and what to do next.
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// A stable word for programs.
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) next: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), next: None }
    }

    /// Adds the next step.
    #[must_use]
    pub(crate) fn advice(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

/// One line of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reply {
    Progress(Progress),
    Done(Value),
    Failed(Failure),
}

/// Where steps of progress go; a full channel drops them.
#[derive(Debug, Clone)]
pub(crate) struct ProgressSender(mpsc::Sender<Progress>);

impl ProgressSender {
    /// Reports a step.
    pub(crate) fn report(&self, what: &str, done_bytes: u64, total_bytes: u64) {
        let _ = self.0.try_send(Progress { what: what.into(), done_bytes, total_bytes });
    }
}

pub(super) fn progress_channel() -> (ProgressSender, mpsc::Receiver<Progress>) {
    let (sender, receiver) = mpsc::channel(PROGRESS_WAITING);
    (ProgressSender(sender), receiver)
}

/// Who asks: the operating-system user at the console. Nobody shares an account.
#[derive(Debug, Clone)]
pub(crate) struct Actor(String);

impl Actor {
    /// The user who runs this process.
    pub(crate) fn at_this_console() -> Self {
        Self::with_uid(rustix::process::getuid().as_raw())
    }

    /// The user behind the other end of the socket.
    pub(super) fn with_uid(uid: u32) -> Self {
        let name = std::fs::read_to_string("/etc/passwd").ok().and_then(|all| user_name(&all, uid));
        Self(format!("{}{}", Self::PREFIX, name.unwrap_or_else(|| format!("uid-{uid}"))))
    }

    const PREFIX: &str = "os-user:";

    /// As entries record it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The user's name alone.
    pub(crate) fn name(&self) -> &str {
        self.0.strip_prefix(Self::PREFIX).unwrap_or(&self.0)
    }
}

fn user_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse::<u32>().ok()? == uid).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_user_by_number() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nbroken\nalice:x:1000:1000::/home/alice:/bin/sh\n";
        assert_eq!(user_name(passwd, 1000).as_deref(), Some("alice"));
        assert_eq!(user_name(passwd, 7), None);
    }

    #[test]
    fn an_unknown_request_is_refused() {
        assert!(serde_json::from_str::<Request>(r#"{"do":"show","item":"x"}"#).is_ok());
        assert!(serde_json::from_str::<Request>(r#"{"do":"erase","item":"x"}"#).is_err());
        assert!(
            serde_json::from_str::<Request>(r#"{"do":"show","item":"x","as":"root"}"#).is_err()
        );
    }
}
