//! A force's data folder with a real ledger, object store and worker, on either database.
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chain_of_custody::canonical;
use chain_of_custody::checkpoint::Origin;
use chain_of_custody::command::Command;
use chain_of_custody::digest::ContentHasher;
use chain_of_custody::entry::Salt;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{EventId, ItemId, UploadId};
use chain_of_custody::note::SigningKey;
use storage::clock::SystemClock;
use storage::ledger::{AuditResult, Ledger, LedgerOptions};
use storage::objects::{Kek, ObjectName, ObjectStore, StoredObject};
use storage::records::{Asked, ItemView, Records};
use tempfile::TempDir;
use transcode::Supervisor;
use transcode::jobs::{Answer, Asker, JobOptions, Jobs, take_up};
use transcode::protocol::Recipe;
use transcode::supervise::Allowance;
use uuid::Uuid;

use crate::support::{allowance, worker};

const ORIGIN: &str = "ledger.test.example";

/// Makes each named test two: one per database.
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() { super::$name(super::Home::sqlite()).await })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() { super::$name(super::Home::postgres()).await })+
        }
    };
}

/// A force's data folder and its database.
pub(crate) struct Home {
    folder: TempDir,
    pub(crate) database: String,
}

impl Home {
    pub(crate) fn sqlite() -> Self {
        let folder = folder();
        let database =
            format!("sqlite://{}?mode=rwc", folder.path().join("records.sqlite").display());
        Self { folder, database }
    }

    pub(crate) fn postgres() -> Self {
        Self { folder: folder(), database: test_machine::postgres::fresh_database().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn open(&self) -> House {
        House::open(self.path(), &self.database).await
    }
}

/// A home, opened.
pub(crate) struct House {
    pub(crate) ledger: Ledger,
    pub(crate) objects: ObjectStore,
}

impl House {
    pub(crate) async fn open(data: &Path, database: &str) -> Self {
        let kek = Kek::new(zeroize::Zeroizing::new([7; 32]));
        let objects = ObjectStore::open(&data.join("objects"), kek).unwrap();
        let records = Records::connect(database, ORIGIN).await.unwrap();
        let options = LedgerOptions {
            rotations: Vec::new(),
            origin: ORIGIN.parse::<Origin>().unwrap(),
            signer: Arc::new(SigningKey::from_seed(ORIGIN, [1; 32]).unwrap()),
            clock: Arc::new(SystemClock),
        };
        let ledger = Ledger::open(records, objects.clone(), options).await.unwrap();
        take_up(ledger.records(), &SystemClock).await.unwrap();
        Self { ledger, objects }
    }

    /// Receives bytes as an item, as `receive` does.
    pub(crate) async fn receive(&self, bytes: &Bytes, state: &str, restricted: bool) -> ItemId {
        let item = ItemId::from_uuid(Uuid::now_v7());
        let upload = UploadId::from_uuid(Uuid::now_v7());
        let name: ObjectName = format!("originals/{item}").parse().unwrap();
        let mut writer = self.objects.begin(upload, name.clone()).await.unwrap();
        let mut hasher = ContentHasher::new();
        let groups = hasher.update(bytes);
        writer.write(bytes.clone()).await.unwrap();
        writer.append_groups(&groups).await.unwrap();
        let (digests, last) = hasher.finish();
        writer.append_groups(&[last]).await.unwrap();
        let sealed = writer.seal().await.unwrap();
        let object = self.objects.complete(sealed, name, digests.blake3).await.unwrap();
        let object = canonical::to_bytes(&serde_json::to_value(&object).unwrap()).unwrap();
        let fields = [
            (field::STATE, state.to_owned()),
            (field::SIZE_BYTES, bytes.len().to_string()),
            (field::SHA256, digests.sha256.to_string()),
            (field::BLAKE3, digests.blake3.to_string()),
            (field::OBJECT, String::from_utf8(object).unwrap()),
            (field::DEVICE, "-".to_owned()),
            (field::NAME, "a clip".to_owned()),
            (field::RESTRICTED, restricted.to_string()),
        ];
        self.submit(EventKind::ItemReceived, item, &fields).await;
        item
    }

    pub(crate) async fn submit(&self, kind: EventKind, item: ItemId, fields: &[(&str, String)]) {
        let command = Command::new(kind, EventId::from_uuid(Uuid::now_v7())).touching(item);
        let command = fields
            .iter()
            .fold(command, |c, (name, value)| c.field(name, value.clone(), Salt([3; 32])));
        self.ledger.submit(command).await.unwrap();
    }

    pub(crate) async fn jobs(&self, supervisor: Supervisor, parallel: usize) -> Jobs {
        self.jobs_with(
            supervisor,
            JobOptions { parallel, free_space_kept_bytes: 0, ..Default::default() },
        )
        .await
    }

    /// What `who` gets who asks for a recipe.
    pub(crate) async fn ask(&self, item: ItemId, recipe: &Recipe, who: &str) -> Answer {
        let (ledger, objects) = (self.ledger.clone(), self.objects.clone());
        let asker = Asker::new(ledger, objects, supervisor(), Arc::new(SystemClock), 0);
        let record = self.view(item).await.record;
        let asked = Asked { by: who.to_owned(), reason: "for a test".to_owned() };
        let recipes = std::slice::from_ref(recipe);
        asker.ask(&record, recipes, &asked, &|_| ()).await.unwrap().remove(0)
    }

    pub(crate) async fn jobs_with(&self, supervisor: Supervisor, options: JobOptions) -> Jobs {
        let (ledger, objects) = (self.ledger.clone(), self.objects.clone());
        Jobs::start(ledger, objects, supervisor, Arc::new(SystemClock), options).await.unwrap()
    }

    /// Works until nothing is left to do.
    pub(crate) async fn work(&self, supervisor: Supervisor) {
        let jobs = self.jobs(supervisor, 2).await;
        tokio::time::timeout(Duration::from_secs(240), jobs.idle()).await.unwrap().unwrap();
        jobs.stop().await;
    }

    pub(crate) async fn count(&self, table: &str, condition: &str) -> i64 {
        let text = format!("SELECT count(*) FROM {table} WHERE {condition}");
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(text));
        query.fetch_one(self.ledger.records().pool()).await.unwrap()
    }

    /// What waits after trouble is due at once.
    pub(crate) async fn wait_no_longer(&self) {
        let pool = self.ledger.records().pool();
        sqlx::query("UPDATE jobs SET not_before_ms = 0").execute(pool).await.unwrap();
    }

    pub(crate) async fn view(&self, item: ItemId) -> ItemView {
        self.ledger.records().item_view(item).await.unwrap().unwrap()
    }

    pub(crate) async fn read(&self, object: &str) -> Bytes {
        let object: StoredObject = serde_json::from_str(object).unwrap();
        let object = self.objects.open_object(&object).await.unwrap();
        object.read(0..object.size_bytes()).await.unwrap()
    }

    pub(crate) async fn audits_clean(&self) {
        let audit = self.ledger.audit().await.unwrap();
        assert_eq!(audit.result, AuditResult::Match, "{audit:?}");
    }
}

pub(crate) fn supervisor() -> Supervisor {
    Supervisor::new(worker(), Allowance { wall_time: Duration::from_secs(240), ..allowance() })
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Files of derivatives in the store, without their outboards.
pub(crate) fn derivative_files(data: &Path) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    walk(&data.join("objects/derivatives"), &mut found);
    found.retain(|path| path.extension().is_none_or(|e| e != "obao"));
    found
}

/// A worker that kills itself the first time it is asked for anything, and is the real one from then on.
pub(crate) fn dies(times: &str, folder: &Path) -> Supervisor {
    let script = folder.join("dies");
    let count = folder.join("count");
    let text = format!(
        "#!/bin/sh\nn=$(cat {count} 2>/dev/null || echo 0)\necho $((n+1)) > {count}\n\
         [ $n -lt {times} ] && kill -9 $$\nexec {worker}\n",
        count = count.display(),
        worker = worker().display()
    );
    std::fs::write(&script, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    Supervisor::new(script, allowance())
}

pub(crate) use on_both_databases;
