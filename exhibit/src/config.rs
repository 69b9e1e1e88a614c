//! Configuration: `exhibit.toml`, then environment `EXHIBIT__SECTION__KEY`, then flags; the later wins.
//!
//! Every key has a default, a meaning and a line in `exhibit config explain`. A key that does not exist is an error
//! that names the nearest one: a misspelt limit must not silently be no limit.

mod ledger;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use storage::s3::probe::Promise;
use toml::{Table, Value};
use transcode::protocol::Wall;

pub(crate) use ledger::{ConfiguredWitness, Ledger};

/// The file's name inside the data folder.
pub(crate) const FILE_NAME: &str = "exhibit.toml";
/// What environment variables that set a key begin with.
const ENV_PREFIX: &str = "EXHIBIT__";

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {message}")]
    Syntax { path: String, message: String },
    #[error("{origin}: there is no setting '{key}'{}", nearest_hint(.nearest))]
    UnknownKey { origin: String, key: String, nearest: Option<String> },
    #[error("{origin}: {message}")]
    Value { origin: String, message: String },
    #[error("setting {key}: {message}")]
    Meaning { key: &'static str, message: String },
}

fn nearest_hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|key| format!("; did you mean '{key}'?")).unwrap_or_default()
}

/// All settings. Texts that are empty mean "not set".
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) force: Force,
    pub(crate) ledger: Ledger,
    pub(crate) server: Server,
    pub(crate) storage: Storage,
    pub(crate) keys: Keys,
    pub(crate) limits: Limits,
    pub(crate) transcode: Transcode,
    pub(crate) log: Log,
}

/// Whose system this is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Force {
    pub(crate) name: String,
    pub(crate) ledger: String,
    pub(crate) contact: String,
}

/// Where it listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Server {
    pub(crate) listen: String,
    pub(crate) behind_proxy: bool,
    pub(crate) stop_timeout_s: u64,
    pub(crate) drain_s: u64,
    pub(crate) metrics_token_file: String,
}

/// Where things rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Storage {
    pub(crate) kind: String,
    pub(crate) database: String,
    pub(crate) copies: u32,
    pub(crate) bucket: String,
    pub(crate) prefix: String,
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) path_style: bool,
    pub(crate) ca_file: String,
    pub(crate) lock_days: u32,
    pub(crate) linked_lock_days: u32,
    pub(crate) without: Vec<String>,
}

/// How keys are kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Keys {
    pub(crate) passphrase_file: String,
    pub(crate) passphrase_credential: String,
}

/// What is refused, and with which answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Limits {
    pub(crate) item_bytes: u64,
    pub(crate) open_uploads_per_device: u32,
    pub(crate) open_uploads: u32,
    pub(crate) free_bytes: u64,
    pub(crate) upload_days: u32,
}

/// How derivatives are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Transcode {
    pub(crate) jobs: u32,
    pub(crate) on_server: bool,
    pub(crate) small_copy: String,
    pub(crate) without: Vec<String>,
}

/// The setting that names walls which may be missing.
pub(crate) const WITHOUT_WALLS: &str = "transcode.without";
/// Values of `transcode.small_copy`.
const SMALL_COPY_ON_DEMAND: &str = "on-demand";
pub(crate) const SMALL_COPY_ALWAYS: &str = "always";

/// What is logged: ids, never names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Log {
    pub(crate) filter: String,
    pub(crate) format: String,
}

impl Default for Force {
    fn default() -> Self {
        Self {
            name: "Unnamed force".into(),
            ledger: "ledger.unnamed.invalid".into(),
            contact: "the officer who gave you this folder".into(),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            behind_proxy: false,
            stop_timeout_s: 30,
            drain_s: 0,
            metrics_token_file: String::new(),
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            kind: "folder".into(),
            database: String::new(),
            copies: 1,
            bucket: String::new(),
            prefix: String::new(),
            endpoint: String::new(),
            region: String::new(),
            path_style: false,
            ca_file: String::new(),
            lock_days: 7,
            linked_lock_days: 365,
            without: Vec::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            item_bytes: 1 << 40,
            open_uploads_per_device: 256,
            open_uploads: 4096,
            free_bytes: 1 << 30,
            upload_days: 7,
        }
    }
}

impl Default for Transcode {
    fn default() -> Self {
        let small_copy = SMALL_COPY_ON_DEMAND.into();
        Self { jobs: 0, on_server: true, small_copy, without: Vec::new() }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), format: "text".into() }
    }
}

/// Every setting and what it does; a test holds this list to the structures above.
pub(crate) const KEYS: &[(&str, &str)] = &[
    ("force.name", "the force's name, as bundles and pages print it"),
    (
        "force.ledger",
        "the ledger's origin, e.g. ledger.essex.example; fixed once the ledger is open",
    ),
    ("force.contact", "whom to tell when something does not match"),
    (
        "ledger.witnesses",
        "log witnesses that are asked for cosignatures, \"VKEY URL\" each; the policy file names them by their keys' names",
    ),
    (
        "ledger.timestamp_authorities",
        "addresses (http://) of RFC 3161 authorities that time-stamp the checkpoint daily and before an export",
    ),
    ("ledger.quorum", "how many of them a verifier asks for, as the policy file says; 0: none"),
    ("server.listen", "address and port; loopback unless server.behind_proxy is true"),
    (
        "server.behind_proxy",
        "true when a proxy in front speaks TLS and this address may leave loopback",
    ),
    ("server.stop_timeout_s", "how long a stop waits for requests that are under way"),
    (
        "server.drain_s",
        "how long a stopping server still takes requests while /readyz says no, for a load balancer to notice",
    ),
    (
        "server.metrics_token_file",
        "file with the token for /metrics; empty: answered to this machine only, and not behind a proxy",
    ),
    ("storage.kind", "where objects rest: folder (in the data folder) or s3 (a bucket)"),
    ("storage.database", "empty: SQLite in the data folder; or a postgres:// URL"),
    (
        "storage.copies",
        "copies in separate failure domains, as receipts state it; a folder on one disk is 1",
    ),
    (
        "storage.bucket",
        "s3: the bucket, made with versions and Object Lock; credentials come from AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY, a profile, or the machine's role",
    ),
    (
        "storage.prefix",
        "s3: before every name, as in exhibit/, where the bucket holds other things too",
    ),
    ("storage.endpoint", "s3: the store's address; empty: Amazon's of the region"),
    ("storage.region", "s3: the bucket's region, where the store has regions"),
    (
        "storage.path_style",
        "s3: true for https://host/bucket/…, which most stores of one's own want",
    ),
    ("storage.ca_file", "s3: certificates (PEM) to trust in place of the system's"),
    ("storage.lock_days", "s3: days for which a new original is locked at first; 0: no locks"),
    (
        "storage.linked_lock_days",
        "s3: days, from its link to a case on, for which an original is locked; nothing where lock_days is 0",
    ),
    (
        "storage.without",
        "s3: promises that this store is known not to keep, by the names that exhibit store probe gives; \
         each is an entry in the ledger",
    ),
    ("keys.passphrase_file", "file with the passphrase that opens the keys; empty: see the next"),
    (
        "keys.passphrase_credential",
        "name of a system credential (systemd LoadCredential) with the passphrase",
    ),
    ("limits.item_bytes", "largest item accepted (413 above it)"),
    ("limits.open_uploads_per_device", "unfinished uploads one device may have (503 above it)"),
    ("limits.open_uploads", "unfinished uploads in all (503 above it)"),
    ("limits.free_bytes", "disk space always kept free (507 below it)"),
    ("limits.upload_days", "days after which an untouched unfinished upload expires"),
    ("transcode.jobs", "derivation jobs at once; 0: one per core"),
    ("transcode.on_server", "false where derivatives are left to workers (exhibit work)"),
    (
        "transcode.small_copy",
        "smaller viewing copies for poor lines: on-demand (of what somebody asks for) or always (of everything)",
    ),
    (
        WITHOUT_WALLS,
        "walls around the program that reads footage which this machine cannot lay, as exhibit doctor says (landlock): \
         it works without them; each is an entry in the ledger",
    ),
    ("log.filter", "what is logged, e.g. info or info,ingest=debug"),
    ("log.format", "text or json"),
];

/// One setting from a flag: the key's full name and its value.
pub(crate) type Override = (&'static str, String);

impl Config {
    /// Reads the file (which may be missing unless `required`), then the environment, then flags.
    pub(crate) fn load(
        file: &Path,
        required: bool,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[Override],
    ) -> Result<Self, ConfigError> {
        let mut table = read_file(file, required)?;
        refuse_unknown(&table, &file.display().to_string())?;
        for (name, value) in environment {
            let Some(key) = name.strip_prefix(ENV_PREFIX) else { continue };
            let key = key.to_ascii_lowercase().replace("__", ".");
            set(&mut table, &key, &value, &format!("environment {name}"))?;
        }
        for (key, value) in flags {
            set(&mut table, key, value, "command line")?;
        }
        let config: Self = table.try_into().map_err(|e: toml::de::Error| ConfigError::Value {
            origin: file.display().to_string(),
            message: e.message().to_owned(),
        })?;
        config.check()?;
        Ok(config)
    }

    /// What the types alone cannot refuse.
    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, message: &str| Err(ConfigError::Meaning { key, message: message.into() });
        self.storage.check()?;
        if self.storage.copies == 0 {
            return wrong(
                "storage.copies",
                "at least 1: a receipt is given for a copy that exists",
            );
        }
        if ![SMALL_COPY_ON_DEMAND, SMALL_COPY_ALWAYS].contains(&self.transcode.small_copy.as_str())
        {
            return wrong("transcode.small_copy", "either on-demand or always");
        }
        let known = |name: &String| Wall::ALL.iter().any(|wall| wall.name() == *name);
        if let Some(name) = self.transcode.without.iter().find(|name| !known(name)) {
            return wrong(WITHOUT_WALLS, &format!("there is no wall '{name}' that may be missing"));
        }
        if !["text", "json"].contains(&self.log.format.as_str()) {
            return wrong("log.format", "either text or json");
        }
        if !self.keys.passphrase_file.is_empty() && !self.keys.passphrase_credential.is_empty() {
            return wrong("keys.passphrase_credential", "set only one source of the passphrase");
        }
        let witnesses = match self.ledger.log_witnesses() {
            Ok(witnesses) => witnesses.len(),
            Err(message) => return wrong("ledger.witnesses", &message),
        };
        if self.ledger.quorum as usize > witnesses {
            return wrong("ledger.quorum", "more than there are log witnesses");
        }
        Ok(())
    }
}

impl Transcode {
    /// Walls that may be missing; what names none was refused before.
    pub(crate) fn walls(&self) -> Vec<Wall> {
        let is_named = |wall: &Wall| self.without.iter().any(|name| name == wall.name());
        Wall::ALL.into_iter().filter(is_named).collect()
    }
}

impl Storage {
    /// Whether objects rest in a bucket.
    pub(crate) fn is_s3(&self) -> bool {
        self.kind == "s3"
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, message: &str| Err(ConfigError::Meaning { key, message: message.into() });
        match self.kind.as_str() {
            "folder" if !self.bucket.is_empty() => {
                return wrong("storage.bucket", "only with storage.kind = \"s3\"");
            }
            "folder" => {}
            "s3" if self.bucket.is_empty() => {
                return wrong("storage.bucket", "storage.kind is s3: name the bucket");
            }
            "s3" => {}
            _ => return wrong("storage.kind", "either folder or s3"),
        }
        if !self.prefix.is_empty() && !self.prefix.ends_with('/') {
            return wrong("storage.prefix", "it ends with /");
        }
        let known = |name: &String| Promise::ALL.iter().any(|promise| promise.name() == *name);
        match self.without.iter().find(|name| !known(name)) {
            Some(name) => wrong("storage.without", &format!("there is no promise '{name}'")),
            None => Ok(()),
        }
    }
}

fn read_file(file: &Path, required: bool) -> Result<Table, ConfigError> {
    match std::fs::read_to_string(file) {
        Ok(text) => text.parse().map_err(|e: toml::de::Error| ConfigError::Syntax {
            path: file.display().to_string(),
            message: e.to_string(),
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !required => Ok(Table::new()),
        Err(source) => Err(ConfigError::Read { path: file.to_owned(), source }),
    }
}

fn refuse_unknown(table: &Table, origin: &str) -> Result<(), ConfigError> {
    for (section, value) in table {
        let Value::Table(keys) = value else {
            return Err(unknown(origin, section));
        };
        if keys.is_empty() && !KEYS.iter().any(|(k, _)| k.starts_with(&format!("{section}."))) {
            return Err(unknown(origin, section));
        }
        for key in keys.keys() {
            let full = format!("{section}.{key}");
            KEYS.iter().find(|(known, _)| *known == full).ok_or_else(|| unknown(origin, &full))?;
        }
    }
    Ok(())
}

fn unknown(origin: &str, key: &str) -> ConfigError {
    /// Names further apart than this are no help.
    const CLOSE_ENOUGH: f64 = 0.7;
    let scored = KEYS.iter().map(|(known, _)| (strsim::jaro_winkler(known, key), *known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score > CLOSE_ENOUGH);
    ConfigError::UnknownKey {
        origin: origin.into(),
        key: key.into(),
        nearest: best.map(|(_, known)| known.into()),
    }
}

/// Sets one key, giving its text the type the key has.
fn set(table: &mut Table, full: &str, text: &str, origin: &str) -> Result<(), ConfigError> {
    let known = KEYS.iter().any(|(known, _)| *known == full);
    let (section, key) =
        full.split_once('.').filter(|_| known).ok_or_else(|| unknown(origin, full))?;
    let defaults = Table::try_from(Config::default()).expect("the defaults are a table");
    let bad = |what: &str| ConfigError::Value {
        origin: origin.into(),
        message: format!("{full} must be {what}, not '{text}'"),
    };
    let value = match &defaults[section][key] {
        Value::Integer(_) => Value::Integer(text.parse().map_err(|_| bad("a whole number"))?),
        Value::Boolean(_) => Value::Boolean(text.parse().map_err(|_| bad("true or false"))?),
        // A list is written with commas between.
        Value::Array(_) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
        }
        _ => Value::String(text.to_owned()),
    };
    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    section.as_table_mut().expect("refuse_unknown saw only tables").insert(key.into(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, env: &[(&str, &str)], flags: &[Override]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        std::fs::write(&path, file).unwrap();
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::load(&path, true, env, flags)
    }

    #[test]
    fn every_setting_is_explained_and_every_explanation_is_a_setting() {
        let defaults = Table::try_from(Config::default()).unwrap();
        let mut settings: Vec<String> = defaults
            .iter()
            .flat_map(|(s, t)| t.as_table().unwrap().keys().map(move |k| format!("{s}.{k}")))
            .collect();
        let mut explained: Vec<String> = KEYS.iter().map(|(k, _)| (*k).to_owned()).collect();
        settings.sort();
        explained.sort();
        assert_eq!(settings, explained);
    }

    #[test]
    fn flags_beat_environment_beats_file() {
        let file =
            "[server]\nlisten = \"127.0.0.1:1\"\nstop_timeout_s = 5\n[limits]\nitem_bytes = 7\n";
        let env =
            [("EXHIBIT__SERVER__LISTEN", "127.0.0.1:2"), ("EXHIBIT__LIMITS__ITEM_BYTES", "8")];
        let config = load(file, &env, &[("server.listen", "127.0.0.1:3".into())]).unwrap();
        assert_eq!(config.server.listen, "127.0.0.1:3");
        assert_eq!(config.limits.item_bytes, 8);
        assert_eq!(config.server.stop_timeout_s, 5);
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        for (file, nearest) in [
            ("[limits]\nitem_byte = 1\n", "limits.item_bytes"),
            ("[server]\nlistne = \"x\"\n", "server.listen"),
        ] {
            let message = load(file, &[], &[]).unwrap_err().to_string();
            assert!(message.contains(nearest), "{message}");
        }
        let message = load("", &[("EXHIBIT__LIMITS__FREE", "1")], &[]).unwrap_err().to_string();
        assert!(message.contains("limits.free_bytes"), "{message}");
        assert!(load("listen = 1\n", &[], &[]).is_err());
    }

    #[test]
    fn wrong_types_and_meanings_are_refused() {
        assert!(load("", &[("EXHIBIT__LIMITS__ITEM_BYTES", "lots")], &[]).is_err());
        assert!(load("[storage]\ncopies = 0\n", &[], &[]).is_err());
        assert!(load("[storage]\nkind = \"tape\"\n", &[], &[]).is_err());
        assert!(load("[log]\nformat = \"xml\"\n", &[], &[]).is_err());
    }
}
