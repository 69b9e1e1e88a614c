//! Finishing an upload: seal, verdict, object, entry, answer. Each step may be repeated after a crash at any point.
//!
//! 1. All bytes are sealed: durable, read back, equal. The row keeps the sealed parts and the digests (`finishing`).
//! 2. The verdict, from the digests alone: stored, duplicate or quarantined. What a duplicate rests on is read first.
//! 3. Unless it is a duplicate, the object is completed, create-only, under the item's id.
//! 4. The command goes to the ledger under an event id chosen when the upload began.
//! 5. Of a duplicate, the bytes that came now are let go.
//! 6. The row keeps the answer (`finished`). Only now does anybody see the upload's last offset.
//!
//! Whoever takes it up again asks the ledger first: once there is an entry, it is the answer, whatever the verdict would
//! be today. Until step 6 the row remembers what is still to be let go.

use chain_of_custody::canonical;
use chain_of_custody::claim::CameraSignature;
use chain_of_custody::command::{Command, Guard, Refusal, SourceKey, device_text};
use chain_of_custody::digest::Digests;
use chain_of_custody::entry::Entry;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{ItemId, LeafIndex};
use chain_of_custody::note::VerifierKey;
use storage::failpoint;
use storage::ledger::{LedgerError, SubmitError};
use storage::objects::{ObjectName, SealedUpload, StoredObject};
use storage::records::{Moved, Outcome, UploadEnding, UploadRow, UploadShape, UploadState};

use super::intake::Live;
use super::receipts::value;
use super::verdict::{self, Verdict};
use super::{Claims, Ending, ReceiveError, Receiver, Site, salt};

/// The role under which a device's own key is published.
pub(crate) const AGENT_ROLE: &str = "dock-agent";
/// What stands for what is not known.
const NOT_KNOWN: &str = "-";

/// An upload whose bytes are all sealed.
pub(super) struct Sealed<'a> {
    pub(super) row: &'a UploadRow,
    sealed: SealedUpload,
    pub(super) digests: Digests,
    verdict: Verdict,
}

impl Receiver {
    /// Step 1: from here on the upload takes nothing more in.
    pub(super) async fn seal(
        &self,
        row: &UploadRow,
        live: Live,
    ) -> Result<SealedUpload, ReceiveError> {
        failpoint::hit("upload-before-seal");
        let (mut writer, hasher) = live.into_parts()?;
        let length_bytes = hasher.size_bytes();
        let (digests, last_group) = self.shared.pool.run(move || hasher.finish()).await?;
        writer.append_groups(&[last_group]).await?;
        let sealed = writer.seal().await?;
        self.keep_sealed(row, length_bytes, &sealed, &digests).await?;
        Ok(sealed)
    }

    /// The end of step 1, for bytes that came together otherwise.
    pub(super) async fn keep_sealed(
        &self,
        row: &UploadRow,
        length_bytes: u64,
        sealed: &SealedUpload,
        digests: &Digests,
    ) -> Result<(), ReceiveError> {
        failpoint::hit("upload-sealed");
        let json =
            serde_json::to_string(sealed).map_err(|e| ReceiveError::Internal(e.to_string()))?;
        let moved =
            self.records().seal_upload(row, length_bytes, &json, digests, self.now()).await?;
        failpoint::hit("seal-recorded");
        if moved == Moved::Yes { Ok(()) } else { Err(ReceiveError::Ended) }
    }

    /// Steps 2 to 6, for an upload that is `finishing`. `sealed` spares reading it from the row, and one reading of the
    /// bytes, when this process has just sealed it.
    pub(super) async fn settle(
        &self,
        row: &UploadRow,
        sealed: Option<SealedUpload>,
    ) -> Result<Option<Ending>, ReceiveError> {
        if row.state == UploadState::Finished {
            return Ok(row.ending.clone().map(Ending::from));
        }
        if row.shape == UploadShape::Partial {
            let _ = self.records().finish_upload(row, None, self.now()).await?;
            return Ok(None);
        }
        let ending = match self.entered(row).await? {
            Some(ending) => ending,
            None => self.decide(row, sealed).await?,
        };
        if ending.outcome == Outcome::Duplicate {
            self.let_go(row).await?;
            failpoint::hit("duplicate-let-go");
        }
        let _ = self.records().finish_upload(row, Some(&ending), self.now()).await?;
        failpoint::hit("receipt-stored");
        Ok(Some(ending.into()))
    }

    /// The answer that an earlier attempt has put in the ledger already.
    async fn entered(&self, row: &UploadRow) -> Result<Option<UploadEnding>, ReceiveError> {
        for event in [row.event, row.duplicate_event] {
            if let Some(leaf_index) = self.records().entry_of_event(event).await? {
                return self.ending_at(leaf_index).await.map(Some);
            }
        }
        Ok(None)
    }

    async fn ending_at(&self, leaf_index: LeafIndex) -> Result<UploadEnding, ReceiveError> {
        let placed = self.ledger().placed(leaf_index).await.map_err(|error| match error {
            // In the database and not published: only a ledger that starts again publishes it.
            LedgerError::NoSuchEntry(_) => ReceiveError::LedgerStopped(error.to_string()),
            other => other.into(),
        })?;
        let entry =
            Entry::parse(&placed.entry).map_err(|e| ReceiveError::Internal(e.to_string()))?;
        let item = entry.subjects.iter().find_map(|subject| subject.id.item());
        let item = item.ok_or_else(|| ReceiveError::Internal("an upload without item".into()))?;
        let opened = |name| value(&placed.openings, name).unwrap_or_default();
        let outcome = match entry.kind {
            EventKind::ItemDuplicate => Outcome::Duplicate,
            _ if opened(field::STATE) == "quarantined" => Outcome::Quarantined,
            _ => Outcome::Stored,
        };
        let reason_code = opened(field::REASON_CODE).to_owned();
        Ok(UploadEnding { outcome, item, leaf_index, reason_code })
    }

    /// Steps 2 to 4.
    async fn decide(
        &self,
        row: &UploadRow,
        sealed: Option<SealedUpload>,
    ) -> Result<UploadEnding, ReceiveError> {
        let mut sealed = self.judged(row, sealed).await?;
        match self.decide_as_judged(&sealed).await {
            // It was revoked after its bytes were taken: they are kept, and vouched for by nobody.
            Err(ReceiveError::Refused(Refusal::DeviceRevoked(_))) => {
                sealed.verdict.quarantine = Some(verdict::reason::DEVICE_REVOKED);
                self.store(&sealed).await
            }
            decided => decided,
        }
    }

    async fn decide_as_judged(&self, sealed: &Sealed<'_>) -> Result<UploadEnding, ReceiveError> {
        match self.held_already(sealed).await? {
            Some(item) => self.acknowledge_held(sealed, item).await,
            None => self.store(sealed).await,
        }
    }

    async fn judged<'a>(
        &self,
        row: &'a UploadRow,
        sealed: Option<SealedUpload>,
    ) -> Result<Sealed<'a>, ReceiveError> {
        let internal = |e: serde_json::Error| ReceiveError::Internal(e.to_string());
        let (json, digests) = row
            .sealed
            .as_ref()
            .ok_or_else(|| ReceiveError::Internal("finishing, not sealed".into()))?;
        let sealed = sealed.map_or_else(|| serde_json::from_str(json), Ok).map_err(internal)?;
        let claims: Claims = serde_json::from_str(&row.claims).map_err(internal)?;
        let keys = self.agent_keys(row).await?;
        let manifest = row.manifest.as_deref();
        let verdict = verdict::judge(manifest, &keys, claims, row.offset_bytes, digests);
        Ok(Sealed { row, sealed, digests: *digests, verdict })
    }

    async fn agent_keys(&self, row: &UploadRow) -> Result<Vec<VerifierKey>, ReceiveError> {
        let Some(device) = row.device else { return Ok(Vec::new()) };
        self.device_keys(device).await
    }

    /// The item that holds the same recording already, if one does. A retry after our own entry is no duplicate.
    async fn held_already(&self, sealed: &Sealed<'_>) -> Result<Option<ItemId>, ReceiveError> {
        if sealed.verdict.quarantine.is_some() {
            return Ok(None);
        }
        let held = self.records().held_from(sealed.source()).await?;
        Ok(held.map(|held| held.item).filter(|item| *item != sealed.row.item))
    }

    /// Steps 3 and 4 for bytes that are kept.
    async fn store(&self, sealed: &Sealed<'_>) -> Result<UploadEnding, ReceiveError> {
        let object = self.complete_object(sealed).await?;
        failpoint::hit("object-complete");
        let command = sealed.receive_command(&object, &self.shared.parts.site)?;
        match self.ledger().submit(command).await {
            Ok(placed) => {
                failpoint::hit("command-submitted");
                Ok(sealed.ending(placed.leaf_index))
            }
            // Somebody else stored the same recording between our look and the entry.
            Err(SubmitError::Refused(Refusal::Duplicate { item, .. })) => {
                self.acknowledge_held(sealed, item).await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn complete_object(&self, sealed: &Sealed<'_>) -> Result<StoredObject, ReceiveError> {
        let name = object_name(sealed.row)?;
        Ok(self.objects().complete(sealed.sealed.clone(), name, sealed.digests.blake3).await?)
    }
}

pub(super) fn object_name(row: &UploadRow) -> Result<ObjectName, ReceiveError> {
    Ok(format!("originals/{}", row.item).parse()?)
}

impl Sealed<'_> {
    fn source(&self) -> SourceKey {
        let claims = &self.verdict.claims;
        let known = |claim: &Option<String>| claim.clone().unwrap_or_else(|| NOT_KNOWN.to_owned());
        let (camera, recording) = (known(&claims.camera), known(&claims.recording));
        SourceKey::new(&device_text(self.row.device), &camera, &recording, &self.digests.sha256)
    }

    fn ending(&self, leaf_index: LeafIndex) -> UploadEnding {
        let outcome =
            if self.verdict.quarantine.is_some() { Outcome::Quarantined } else { Outcome::Stored };
        let reason_code = self.verdict.quarantine.unwrap_or_default().to_owned();
        UploadEnding { outcome, item: self.row.item, leaf_index, reason_code }
    }

    fn receive_command(&self, object: &StoredObject, site: &Site) -> Result<Command, ReceiveError> {
        let internal = |e: &dyn std::fmt::Display| ReceiveError::Internal(e.to_string());
        let object = serde_json::to_value(object).map_err(|e| internal(&e))?;
        let object = canonical::to_bytes(&object).map_err(|e| internal(&e))?;
        let object = String::from_utf8(object).map_err(|e| internal(&e))?;
        let item = self.row.item;
        let restricted = self.verdict.claims.restricted;
        let status = if restricted { "restricted" } else { "unassessed" };
        let mut command = Command::new(EventKind::ItemReceived, self.row.event)
            .touching(item)
            .provided(Guard::SubjectIsNew(item.into()))
            .field(field::OBJECT, object, salt())
            .field(field::RESTRICTED, restricted.to_string(), salt())
            .field(field::DISCLOSURE_STATUS, status, salt());
        command = match self.verdict.quarantine {
            Some(code) => command.field(field::STATE, "quarantined", salt()).field(
                field::REASON_CODE,
                code,
                salt(),
            ),
            None => command
                .field(field::STATE, "stored", salt())
                .provided(Guard::NoSuchSource(self.source())),
        };
        Ok(self.with_common_fields(command, site))
    }

    pub(super) fn duplicate_command(&self, item: ItemId, site: &Site) -> Command {
        let command = Command::new(EventKind::ItemDuplicate, self.row.duplicate_event)
            .touching(item)
            .provided(Guard::SubjectExists(item.into()));
        self.with_common_fields(command, site)
    }

    fn with_common_fields(&self, mut command: Command, site: &Site) -> Command {
        let Verdict { claims, manifest_sha256, read_by, .. } = &self.verdict;
        let known = |claim: &Option<String>| claim.clone().unwrap_or_else(|| NOT_KNOWN.to_owned());
        let read_by = read_by.as_ref().map_or(self.row.read_by.as_str(), |agent| agent.as_str());
        if let Some(device) = self.row.device {
            command = command.touching(device);
            if self.verdict.quarantine.is_none() {
                command = command.provided(Guard::DeviceMaySend(device));
            }
        }
        command = command
            .field(field::SHA256, self.digests.sha256.to_string(), salt())
            .field(field::BLAKE3, self.digests.blake3.to_string(), salt())
            .field(field::SIZE_BYTES, self.row.offset_bytes.to_string(), salt())
            .field(field::DEVICE, device_text(self.row.device), salt())
            .field(field::READ_BY, read_by, salt())
            .field(field::CAMERA, known(&claims.camera), salt())
            .field(field::RECORDING, known(&claims.recording), salt())
            .field(field::CAPTURED_CLAIMED, known(&claims.captured), salt())
            .field(field::CAMERA_SIGNATURE, CameraSignature::NotCheckable.as_str(), salt())
            .field(field::CLOCK, site.clock.to_string(), salt())
            .field(field::COPIES, site.copies.to_string(), salt())
            .field(field::UPLOAD, self.row.upload.to_string(), salt())
            .field(field::BY, self.row.by.as_str(), salt());
        let optional = [
            (field::NAME, claims.name.clone()),
            (field::MANIFEST_SHA256, manifest_sha256.map(|digest| digest.to_string())),
            (field::AGENT_SEQ, claims.agent_seq.map(|seq| seq.to_string())),
            (field::SOURCE_SEQ, claims.source_seq.clone()),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                command = command.field(name, value, salt());
            }
        }
        command
    }
}

impl From<UploadEnding> for Ending {
    fn from(ending: UploadEnding) -> Self {
        let UploadEnding { outcome, item, leaf_index, reason_code } = ending;
        Self { outcome, item, leaf_index, reason_code }
    }
}
