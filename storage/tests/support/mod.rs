//! One suite, both databases: a home for a ledger, and the macro that runs each test in both.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chain_of_custody::checkpoint::Origin;
use chain_of_custody::command::Command;
use chain_of_custody::entry::Salt;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{DeviceId, EventId, SubjectId};
use chain_of_custody::merkle::leaf_hash;
use chain_of_custody::note::{Signer as _, SigningKey};
use storage::clock::SystemClock;
use storage::ledger::{AuditResult, Ledger, LedgerError, LedgerOptions, Placed};
use storage::objects::{Kek, ObjectStore};
use storage::records::Records;
use tempfile::TempDir;

pub const ORIGIN: &str = "ledger.test.example";

/// Makes each named test two: one per database.
#[macro_export]
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name($crate::support::Home::sqlite()).await })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name($crate::support::Home::postgres()).await })+
        }
    };
}

/// A folder and a database.
pub struct Home {
    folder: TempDir,
    /// PostgreSQL's URL; none for a file in the folder.
    postgres: Option<String>,
}

impl Home {
    pub fn sqlite() -> Self {
        Self { folder: TempDir::new().unwrap(), postgres: None }
    }

    pub fn postgres() -> Self {
        let url = test_machine::postgres::fresh_database().unwrap();
        Self { folder: TempDir::new().unwrap(), postgres: Some(url) }
    }

    /// Another home of the same kind.
    pub fn another(&self) -> Self {
        if self.postgres.is_some() { Self::postgres() } else { Self::sqlite() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn objects_path(&self) -> PathBuf {
        self.path().join("objects")
    }

    pub fn database_url(&self) -> String {
        database_url(self.path(), self.postgres.as_deref())
    }

    pub async fn records(&self) -> Records {
        Records::connect(&self.database_url(), ORIGIN).await.unwrap()
    }

    pub async fn try_open(&self) -> Result<Ledger, LedgerError> {
        open_with(self.records().await, &self.objects_path()).await
    }

    pub async fn open(&self) -> Ledger {
        self.try_open().await.unwrap()
    }
}

pub fn database_url(folder: &Path, postgres: Option<&str>) -> String {
    let sqlite = || format!("sqlite://{}?mode=rwc", folder.join("records.sqlite").display());
    postgres.map_or_else(sqlite, str::to_owned)
}

pub async fn open_with(records: Records, objects: &Path) -> Result<Ledger, LedgerError> {
    let objects = ObjectStore::open(objects, Kek::new([9; 32].into())).unwrap();
    Ledger::open(records, objects, options()).await
}

pub fn log_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, [3; 32]).unwrap()
}

pub fn options() -> LedgerOptions {
    LedgerOptions {
        rotations: Vec::new(),
        origin: ORIGIN.parse::<Origin>().unwrap(),
        signer: Arc::new(log_key()),
        clock: Arc::new(SystemClock),
    }
}

pub fn event(n: u64) -> EventId {
    EventId::from_uuid(uuid::Uuid::from_u128(0x1_0000 + u128::from(n)))
}

pub fn device(n: u64) -> DeviceId {
    DeviceId::from_uuid(uuid::Uuid::from_u128(0x2_0000 + u128::from(n)))
}

/// An act of no consequence, told apart by its number.
pub fn act(n: u64) -> Command {
    Command::new(EventKind::UploadRefused, event(n))
        .touching(SubjectId::from(device(n % 5)))
        .field(field::REASON_CODE, format!("reason-{n}"), Salt([1; 32]))
        .field(field::BY, "tester", Salt([2; 32]))
}

/// Everything that a receiver checks.
/// In a child with a fail point armed: before each act nobody asks for a while, so that the record of what is published is
/// a step of its own, and a moment of its own.
pub async fn let_it_rest() {
    if std::env::var("EXHIBIT_FAIL").is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    }
}

pub fn assert_proved(placed: &Placed) {
    let head = placed.checkpoint.unverified();
    placed.checkpoint.verify(&[log_key().vkey()], &[]).unwrap();
    assert_eq!((placed.proof.size, placed.proof.index), (head.size, placed.leaf_index));
    placed.proof.verify(&leaf_hash(&placed.entry), &head.root).unwrap();
    let entry = chain_of_custody::entry::Entry::parse(&placed.entry).unwrap();
    assert!(!placed.openings.is_empty() && placed.openings.iter().all(|o| entry.opens(o)));
    placed.receipt().unwrap();
}

pub async fn assert_clean(ledger: &Ledger) {
    let audit = ledger.audit().await.unwrap();
    assert_eq!(audit.result, AuditResult::Match, "{:#?}", audit.findings);
}
