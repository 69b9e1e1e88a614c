//! The force's keys by role, opened as configured.

use std::path::Path;
use std::sync::Arc;

use chain_of_custody::checkpoint::Origin;
use chain_of_custody::command::Command;
use chain_of_custody::entry::Entry;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{LeafIndex, SubjectKind};
use chain_of_custody::note::{Signer, SigningKey};
use chain_of_custody::rotation::KeyRole;
use storage::keys::{KeyError, Keys, Passphrase, Protection, Role};
use storage::objects::Kek;

use super::App;
use super::open::{key_subject, new_event, random_salt};
use crate::config;
use crate::control::{Actor, Failure};

/// A signer that several parts share.
pub(crate) type SharedSigner = Arc<dyn Signer + Send + Sync>;

/// The open keys.
pub(crate) struct RoleKeys {
    pub(crate) kek: Kek,
    pub(crate) log: SharedSigner,
    pub(crate) receipt: SharedSigner,
    pub(crate) bundle: SharedSigner,
    /// Whether the files are in plain text.
    pub(crate) unencrypted: bool,
}

impl RoleKeys {
    /// Opens the keys in `folder`, making them at the first start.
    pub(crate) fn open(
        folder: &Path,
        config: &config::Keys,
        origin: &Origin,
    ) -> Result<Self, Failure> {
        let protection = protection(config).map_err(|e| failed(&e))?;
        let keys = Keys::open_or_create(folder, &protection).map_err(|e| failed(&e))?;
        let signer = |role: KeyRole| -> SharedSigner {
            let name = key_name(role, origin.as_str());
            Arc::new(signing_key(&keys, role.into(), &name))
        };
        Ok(Self {
            kek: keys.kek(),
            log: signer(KeyRole::Log),
            receipt: signer(KeyRole::Receipt),
            bundle: signer(KeyRole::Bundle),
            unencrypted: matches!(protection, Protection::Unencrypted),
        })
    }

    /// The force's key alone, which signs nothing.
    pub(crate) fn force_key(folder: &Path, config: &config::Keys) -> Result<Kek, Failure> {
        let protection = protection(config).map_err(|e| failed(&e))?;
        Keys::open_force_key(folder, &protection).map_err(|e| failed(&e))
    }
}

impl App {
    /// Records that the keys lie in plain text no more, if the ledger's last word is that they do. Gives that entry.
    pub(crate) async fn record_protection(&self, actor: &Actor) -> Result<Option<u64>, Failure> {
        let last = async |kind| -> Result<Option<LeafIndex>, Failure> {
            let entries = self.parts.records.entries_of(kind).await;
            let entries = entries.map_err(|e| super::open::failed("records", &e))?;
            let of_a_key = |entry: &Entry| {
                entry.subjects.iter().any(|subject| subject.id.kind() == SubjectKind::Key)
            };
            Ok(entries.iter().rfind(|(_, entry)| of_a_key(entry)).map(|(index, _)| *index))
        };
        let lowered = last(EventKind::ConfigurationLowered).await?;
        if lowered <= last(EventKind::ConfigurationRaised).await? {
            return Ok(None);
        }
        let raised = keys_setting(EventKind::ConfigurationRaised, &self.parts.keys.receipt)
            .field(field::REASON_CODE, "passphrase-configured", random_salt())
            .field(field::BY, actor.as_str(), random_salt());
        let placed = self.parts.ledger.submit(raised).await;
        let placed = placed.map_err(|e| super::open::failed("ledger", &e))?;
        Ok(Some(placed.leaf_index.0))
    }
}

/// An entry about how the keys lie on the disk.
pub(super) fn keys_setting(kind: EventKind, signer: &SharedSigner) -> Command {
    Command::new(kind, new_event()).touching(key_subject(&signer.vkey())).field(
        field::SETTING,
        "keys.unencrypted",
        random_salt(),
    )
}

/// The name that notes by a key of this role carry.
pub(super) fn key_name(role: KeyRole, origin: &str) -> String {
    match role {
        KeyRole::Log => origin.to_owned(),
        KeyRole::Receipt | KeyRole::Bundle => format!("{role}.{origin}"),
    }
}

pub(crate) fn protection(config: &config::Keys) -> Result<Protection, KeyError> {
    if !config.passphrase_file.is_empty() {
        return Passphrase::from_file(config.passphrase_file.as_ref()).map(Protection::Passphrase);
    }
    if !config.passphrase_credential.is_empty() {
        let passphrase = Passphrase::from_credential(&config.passphrase_credential)?;
        return Ok(Protection::Passphrase(passphrase));
    }
    Ok(Protection::Unencrypted)
}

fn signing_key(keys: &Keys, role: Role, name: &str) -> SigningKey {
    keys.signing_key(role, name)
        .expect("only the force's key signs nothing")
        .expect("an origin makes a valid key name, and so does a word before it")
}

fn failed(error: &KeyError) -> Failure {
    Failure::new("keys", error.to_string())
        .advice("settings: keys.passphrase_file, keys.passphrase_credential")
}
