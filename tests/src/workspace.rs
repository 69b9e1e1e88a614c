//! A folder for one story: the data folder and whatever else it writes.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use test_machine::s3::{ACCESS_KEY, SECRET_KEY, Store};

use crate::programs::{self, Answer};

/// Derivatives of short clips take seconds; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Debug)]
pub struct Workspace {
    folder: TempDir,
    /// What every program of this story finds in its environment.
    pub environment: Vec<(String, String)>,
}

/// A device that may send footage.
#[derive(Clone, Debug)]
pub struct Device {
    pub id: String,
    pub token: String,
}

impl Workspace {
    #[allow(clippy::new_without_default, reason = "making a folder is not a default")]
    pub fn new() -> Self {
        // For every client that a story makes.
        ingest::agent::choose_tls();
        let folder = tempfile::Builder::new().prefix("exhibit-story-").tempdir();
        Workspace { folder: folder.expect("a temporary folder"), environment: Vec::new() }
    }

    /// The same, where objects rest in a bucket of this store.
    pub fn in_bucket(store: &Store, bucket: &str) -> Self {
        let mut workspace = Self::new();
        let settings = [
            ("EXHIBIT__STORAGE__KIND", "s3"),
            ("EXHIBIT__STORAGE__BUCKET", bucket),
            ("EXHIBIT__STORAGE__ENDPOINT", store.endpoint()),
            ("EXHIBIT__STORAGE__PATH_STYLE", "true"),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        workspace.environment = settings.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        workspace
    }

    /// Another machine of the same force: a data folder of its own with the same keys, and the same environment.
    pub fn sibling(&self) -> Self {
        let sibling = Self { environment: self.environment.clone(), ..Self::new() };
        fs::create_dir(sibling.data()).expect("a data folder");
        fs::create_dir(sibling.in_data("keys")).expect("a folder of keys");
        for path in [sibling.data(), sibling.in_data("keys")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("it is ours");
        }
        for entry in fs::read_dir(self.in_data("keys")).expect("the keys") {
            let path = entry.expect("a key").path();
            let name = path.file_name().expect("a name");
            fs::copy(&path, sibling.in_data("keys").join(name)).expect("a key is copied");
        }
        sibling
    }

    /// Another setting for every program of this story.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The data folder; the programs make it.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Makes the force's keys, as before a first start: with them it is a data folder.
    pub fn found(&self) {
        if self.in_data("keys").is_dir() {
            return;
        }
        let officer = age::x25519::Identity::generate().to_public().to_string();
        let escrow = self.path("force-keys.age").display().to_string();
        self.exhibit(&["keys", "new", "--escrow", &officer, "--output", &escrow]).ok();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file is written");
        path
    }

    /// `exhibit ARGUMENTS --data … --json`, through the running server's socket if there is one.
    pub fn exhibit<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Answer {
        programs::exhibit_in(&self.data(), arguments, &self.environment)
    }

    pub fn enrol(&self, name: &str) -> Device {
        let answer = self.exhibit(&["device", "enrol", "--name", name]).ok().json();
        Device { id: text(&answer, "device"), token: text(&answer, "token") }
    }

    /// What `exhibit show` says of `item`: an id, `sha256:HEX` or `blake3:HEX`.
    pub fn show(&self, item: &str) -> Answer {
        self.exhibit(&["show", item])
    }

    /// What `exhibit show` says of `item` once no derivative is still to come.
    #[track_caller]
    pub fn settled(&self, item: &str) -> Value {
        let began = Instant::now();
        loop {
            let shown = self.show(item).ok().json();
            if shown["making"].as_array().is_some_and(Vec::is_empty) {
                return shown;
            }
            assert!(began.elapsed() < PATIENCE, "still to come: {shown}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Every item, as `exhibit search` lists them.
    pub fn items(&self) -> Vec<Value> {
        let answer = self.exhibit(&["search", "--limit", "1000"]).ok().json();
        let items = answer["items"].as_array();
        items.unwrap_or_else(|| panic!("no items in {answer}")).clone()
    }

    /// Changes the records behind the programs' backs, while no server runs.
    #[track_caller]
    pub fn sql(&self, text: &str) {
        let script = "import sqlite3,sys\nc=sqlite3.connect(sys.argv[1])\nc.executescript(sys.argv[2])\nc.commit()\nc.close()";
        let mut python = std::process::Command::new("python3");
        let python = python.args(["-c", script]).arg(self.in_data("records.sqlite")).arg(text);
        assert!(python.status().expect("python3 runs").success(), "{text}");
    }

    /// A file of the data folder, for faults made behind the programs' backs.
    pub fn in_data(&self, path: impl AsRef<Path>) -> PathBuf {
        self.data().join(path)
    }
}

#[track_caller]
pub(crate) fn text(value: &Value, key: &str) -> String {
    let found = value[key].as_str();
    found.unwrap_or_else(|| panic!("no text `{key}` in {value}")).to_owned()
}
