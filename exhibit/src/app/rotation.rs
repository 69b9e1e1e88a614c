//! A key takes another's place: prepared beside it, entered in the ledger, and only then in use (docs/formats/rotation.md).
//!
//! The one invariant to keep: the entry decides. A start that finds a prepared key puts it into use when the ledger holds
//! its `key.rotated`, and throws it away when not; either way one key of each role is left, and the ledger agrees.

use std::path::Path;

use chain_of_custody::command::Command;
use chain_of_custody::digest::Sha256;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::EventId;
use chain_of_custody::note::{Signer as _, SigningKey, VerifierKey};
use chain_of_custody::rotation::{KeyRole, PUBLIC_NOTE, Rotation, Succession};
use storage::failpoint;
use storage::keys::rotation as files;
use storage::keys::{KeyError, Protection, escrow_with_prepared};
use storage::ledger::Ledger;
use storage::records::Records;

use super::App;
use super::escrow::EscrowFile;
use super::keys::{RoleKeys, SharedSigner, key_name, protection};
use super::open::{failed, key_subject, random_salt};
use crate::config::Config;
use crate::control::{Actor, Failure};

/// Why a rotation that the ledger lacks is entered again: an older copy of it was put back.
const ENTERED_AGAIN: &str = "entered-again-after-restore";

/// What somebody asked for.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) role: KeyRole,
    pub(crate) reason: &'a str,
    /// Where the escrow goes, and to whom; its place is taken already.
    pub(crate) escrow: Option<(EscrowFile, &'a [String])>,
}

impl App {
    /// Has the ledger say that a new key takes the place of `asked.role`'s. It is in use from the next start on, which
    /// [`settle`] makes of it.
    pub(crate) async fn rotate(&self, asked: Asked<'_>, actor: &Actor) -> Result<(), Failure> {
        let folder = self.parts.data.join("keys");
        let protection = protection(&self.parts.config.keys).map_err(|e| failed("keys", &e))?;
        let old = self.signer(asked.role);
        files::prepare(&folder, asked.role, &protection).map_err(|e| failed("keys", &e))?;
        failpoint::hit("rotation.prepared");
        let (role, reason) = (asked.role, asked.reason);
        let note = match self.sign_note(&folder, &protection, asked, old) {
            Ok(note) => note,
            Err(failure) => {
                discard(&folder, role, &protection, old.name())?;
                return Err(failure);
            }
        };
        failpoint::hit("rotation.noted");
        let rotation = read(&note)?;
        let command = entered(&rotation, &note).field(field::REASON, reason, random_salt()).field(
            field::BY,
            actor.as_str(),
            random_salt(),
        );
        // Whether it was entered is not known after an error: the next start looks.
        self.parts.ledger.submit(command).await.map_err(|e| failed("ledger", &e))?;
        failpoint::hit("rotation.entered");
        Ok(())
    }

    fn signer(&self, role: KeyRole) -> &SharedSigner {
        let keys = &self.parts.keys;
        match role {
            KeyRole::Log => &keys.log,
            KeyRole::Receipt => &keys.receipt,
            KeyRole::Bundle => &keys.bundle,
        }
    }

    /// The note, kept; and the escrow, since a key that nobody can bring back must not come into use.
    fn sign_note(
        &self,
        folder: &Path,
        protection: &Protection,
        asked: Asked<'_>,
        old: &SharedSigner,
    ) -> Result<String, Failure> {
        let role = asked.role;
        let next = prepared(folder, role, protection, old.name())?
            .ok_or_else(|| Failure::new("keys", "the new key is not there"))?;
        let origin = &self.parts.ledger.latest().unverified().origin.clone();
        let now = self.parts.clock.now();
        let note = Rotation::sign(origin, role, old.as_ref(), &next, now);
        let note = note.map_err(|e| failed("keys", &e))?.to_string();
        if let Some((file, recipients)) = asked.escrow {
            let sealed = escrow_with_prepared(folder, protection, role, recipients);
            file.write(sealed)?;
        }
        files::keep_note(folder, &read(&note)?, &note).map_err(|e| failed("keys", &e))?;
        Ok(note)
    }
}

/// Finishes or undoes what a rotation left half done. Says whether a key changed, so that the keys must be opened again.
pub(super) async fn settle(
    folder: &Path,
    config: &Config,
    origin: &str,
    records: &Records,
) -> Result<bool, Failure> {
    let protection = protection(&config.keys).map_err(|e| failed("keys", &e))?;
    let mut changed = false;
    for role in KeyRole::ALL {
        let name = key_name(role, origin);
        let Some(next) = prepared(folder, role, &protection, &name)? else { continue };
        let entered =
            records.rotations_to(&next.vkey()).await.map_err(|e| failed("records", &e))?;
        if entered.is_empty() {
            tracing::warn!(%role, "a key's rotation was cut off before the ledger had it: undone");
            discard(folder, role, &protection, &name)?;
            continue;
        }
        files::adopt(folder, role).map_err(|e| failed("keys", &e))?;
        tracing::warn!(%role, key = %next.vkey(), "a new key is in use; the one before is gone");
        changed = true;
        failpoint::hit("rotation.adopted");
    }
    Ok(changed)
}

/// The notes that are kept beside the keys.
pub(super) fn kept(folder: &Path) -> Result<Vec<(Rotation, String)>, Failure> {
    files::notes(folder).map_err(|e| failed("keys", &e))
}

/// Enters each rotation that led to a key in use and that the ledger lacks, as it does after an older copy was put back.
pub(super) async fn enter_missing(
    ledger: &Ledger,
    kept: &[(Rotation, String)],
    keys: &RoleKeys,
) -> Result<(), Failure> {
    for (rotation, note) in kept {
        let in_use = match rotation.role {
            KeyRole::Log => &keys.log,
            KeyRole::Receipt => &keys.receipt,
            KeyRole::Bundle => &keys.bundle,
        };
        if !leads_to(kept, rotation, &in_use.vkey()) {
            continue;
        }
        let known = ledger.records().rotations_to(&rotation.new).await;
        if !known.map_err(|e| failed("records", &e))?.is_empty() {
            continue;
        }
        let command = entered(rotation, note)
            .field(field::REASON_CODE, ENTERED_AGAIN, random_salt())
            .field(field::BY, "exhibit", random_salt());
        ledger.submit(command).await.map_err(|e| failed("ledger", &e))?;
    }
    Ok(())
}

/// Whether `rotation` is one of those that ended in `key`.
fn leads_to(kept: &[(Rotation, String)], rotation: &Rotation, key: &VerifierKey) -> bool {
    let mut at = key;
    for _ in 0..kept.len() {
        let of_role = kept.iter().map(|(r, _)| r).find(|r| r.role == rotation.role && r.new == *at);
        match of_role {
            Some(found) if found == rotation => return true,
            Some(found) => at = &found.old,
            None => return false,
        }
    }
    false
}

/// Whether `key` was a log key that `current` has replaced, as far as notes beside the keys say.
pub(crate) fn was_replaced_by(
    folder: &Path,
    key: &VerifierKey,
    current: &VerifierKey,
) -> Result<bool, Failure> {
    let notes = kept(folder)?.into_iter().map(|(rotation, _)| rotation);
    Ok(Succession::of(notes).before(current).contains(key))
}

/// The entry, under an event of its note's own: entered twice, it is there once.
fn entered(rotation: &Rotation, note: &str) -> Command {
    let digest = Sha256::of(note.as_bytes());
    let (id, _) = digest.as_bytes().split_first_chunk().expect("32 bytes hold 16");
    let event = EventId::from_uuid(uuid::Builder::from_custom_bytes(*id).into_uuid());
    Command::new(EventKind::KeyRotated, event)
        .touching(key_subject(&rotation.old))
        .touching(key_subject(&rotation.new))
        .public("role", rotation.role.as_str())
        .public(PUBLIC_NOTE, note)
}

fn read(note: &str) -> Result<Rotation, Failure> {
    Rotation::read(note.as_bytes()).map_err(|e| failed("keys", &e))
}

fn prepared(
    folder: &Path,
    role: KeyRole,
    protection: &Protection,
    name: &str,
) -> Result<Option<SigningKey>, Failure> {
    files::prepared(folder, role, protection, name).map_err(|e: KeyError| failed("keys", &e))
}

fn discard(
    folder: &Path,
    role: KeyRole,
    protection: &Protection,
    name: &str,
) -> Result<(), Failure> {
    match prepared(folder, role, protection, name)? {
        Some(next) => {
            files::discard(folder, role, next.vkey().id()).map_err(|e| failed("keys", &e))
        }
        None => Ok(()),
    }
}
