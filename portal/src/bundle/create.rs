//! The order of a hand-over: decide, record, and only then write.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chain_of_custody::bundle::{
    BUNDLE_KEY_ROLE, BundleItems, Contents, DisclosedEntry, PUBLIC_KEY, PUBLIC_ROLE, PayloadFile,
    payload_manifest, seal, sshsig,
};
use chain_of_custody::canonical;
use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::command::{Command, Guard};
use chain_of_custody::digest::Sha256;
use chain_of_custody::entry;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::heads::{Head, Heads};
use chain_of_custody::ids::{EventId, LeafIndex, SubjectId, SubjectKind};
use chain_of_custody::note::Signer;
use chain_of_custody::policy::{Policy, RestsOn};
use chain_of_custody::proof::TlogProof;
use chain_of_custody::time::Timestamp;
use futures_util::TryStreamExt as _;
use storage::clock::Clock;
use storage::ledger::{Ledger, Placed};
use storage::objects::ObjectStore;

use super::disclose::{allows, disclosed};
use super::earlier;
use super::gather::{self, Held};
use super::output::{Stopped, Writing};
use super::page::{Page, Row};
use super::plan::bundle_name;
use super::request::{BundleError, BundleRequest};
use crate::kinds::FRONT;
use crate::random_salt;
use crate::words::{UkTime, length, size};

/// How long a hand-over waits for the policy's quorum of log witnesses. Without it the bundle leaves all the same, and says so.
const QUORUM_PATIENCE: Duration = Duration::from_secs(5);

/// Who hands over, as the page says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Force {
    pub name: String,
    /// Whom to ask and tell: a telephone number or address.
    pub contact: String,
}

/// Makes bundles from what is stored.
#[derive(Clone)]
pub struct Maker {
    pub ledger: Ledger,
    pub objects: ObjectStore,
    /// Signs lists of files and completeness statements, nothing else.
    pub bundle_key: Arc<dyn Signer + Send + Sync>,
    /// Put into each bundle; counts for a reader only by its fingerprint.
    pub policy: Policy,
    pub force: Force,
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maker").field("force", &self.force.name).finish_non_exhaustive()
    }
}

/// A bundle that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    pub path: PathBuf,
    /// `<case>-<exhibit>-<date>`.
    pub name: String,
    /// The entry of the hand-over.
    pub export: LeafIndex,
    /// SHA-256 of the payload manifest, as that entry has it.
    pub bundle_digest: Sha256,
    pub files: usize,
    pub size_bytes: u64,
}

impl Maker {
    /// Makes a bundle. The entry of the hand-over is published before the first byte is written; asking again with the
    /// same event makes the same hand-over.
    ///
    /// # Errors
    /// [`BundleError`]; nothing is left at the output path. When the hand-over was recorded and writing failed, asking
    /// again with the same event records nothing new.
    pub async fn create(&self, request: &BundleRequest) -> Result<Created, BundleError> {
        request.check()?;
        request.output.check()?;
        let records = self.ledger.records();
        let found = gather::records(records, request).await?;
        let authorised = super::decide::may_leave(&found, request)?;
        let request = &BundleRequest { authorised, ..request.clone() };
        let held = gather::open(records, &self.objects, request, found).await?;
        let programs = self.programs(request, &held).await?;
        let payload: Vec<PayloadFile> = held.iter().flat_map(Held::payload).collect();
        gather::check_paths(&payload)?;
        let key_entry = self.publish_key().await?;
        let export = self.record(request, &payload).await?;
        storage::failpoint::hit("bundle-recorded");
        let made = self.contents(request, &held, payload, key_entry, &export).await?;
        let contents = Contents { programs, ..made.contents };
        let made = Made { contents, ..made };
        self.write(request, &held, &made).await?;
        Ok(Created {
            path: request.output.path().to_owned(),
            name: made.name,
            export: export.leaf_index,
            bundle_digest: digest_of(&made.contents.payload),
            files: made.contents.payload.len(),
            size_bytes: made.contents.payload.iter().map(|file| file.size_bytes).sum(),
        })
    }

    /// The entry that publishes our key for bundles; written now if there is none yet.
    async fn publish_key(&self) -> Result<LeafIndex, BundleError> {
        let vkey = self.bundle_key.vkey();
        let published = self.ledger.records().published_keys().await?;
        let ours = |key: &&storage::records::PublishedKey| {
            key.role == BUNDLE_KEY_ROLE && key.vkey == vkey.to_string()
        };
        if let Some(key) = published.iter().find(ours) {
            return Ok(key.leaf_index);
        }
        let subject = SubjectId::new(SubjectKind::Key, &vkey.id().to_string());
        let subject = subject.map_err(|error| BundleError::Record(error.to_string()))?;
        let event = EventId::from_uuid(uuid::Uuid::now_v7());
        let command = Command::new(EventKind::KeyPublished, event)
            .touching(subject)
            .field(field::BY, "exhibit", random_salt())
            .public(PUBLIC_ROLE, BUNDLE_KEY_ROLE)
            .public(PUBLIC_KEY, vkey.to_string());
        Ok(self.ledger.submit(command).await?.leaf_index)
    }

    /// Records the hand-over: who, to whom, what for, which files. Durable and published when this returns (I13).
    async fn record(
        &self,
        request: &BundleRequest,
        payload: &[PayloadFile],
    ) -> Result<Placed, BundleError> {
        let digest = digest_of(payload).to_string();
        let placed = self.ledger.submit(export_command(request, &digest)).await?;
        let recorded = placed.openings.iter().find(|o| o.name.as_str() == field::BUNDLE_DIGEST);
        if recorded.is_some_and(|opening| opening.value == digest) {
            return Ok(placed);
        }
        // A repeat whose files have changed since: what was recorded is not what would leave.
        let message = "this hand-over was recorded with other files; ask for a new one";
        Err(BundleError::Request(message.to_owned()))
    }

    async fn contents(
        &self,
        request: &BundleRequest,
        held: &[Held],
        payload: Vec<PayloadFile>,
        key_entry: LeafIndex,
        export: &Placed,
    ) -> Result<Made, BundleError> {
        let checkpoint = self.ledger.latest_accepted(&self.policy, QUORUM_PATIENCE).await;
        let rests_on = self.policy.weigh(&checkpoint).map_err(|refusal| {
            BundleError::Record(format!("the policy does not accept our own ledger: {refusal}"))
        })?;
        let chains = self.chains(request, held, &checkpoint).await?;
        let derived = held.iter().flat_map(|h| h.derivatives.iter().map(|d| d.view.leaf_index));
        let mut indexes: Vec<LeafIndex> = [key_entry, export.leaf_index].to_vec();
        indexes.extend(held.iter().map(|h| h.record.leaf_index).chain(derived));
        indexes.extend(self.rotations().await?);
        indexes.extend(chains.iter().flat_map(|(_, chain)| chain.iter().copied()));
        indexes.sort();
        indexes.dedup();
        let placed = self.placed(&indexes, &checkpoint).await?;
        let received: Vec<LeafIndex> = held.iter().map(|h| h.record.leaf_index).collect();
        let ledger_files = earlier::files(&self.ledger, &checkpoint, &received).await?;
        let heads = request.completeness.then(|| self.heads(&chains, &checkpoint)).transpose()?;
        let made_at = self.clock.now();
        let first_reference = request.items.iter().find_map(|item| item.reference.as_deref());
        let name = bundle_name(request.case_reference.as_deref(), first_reference, made_at);
        let entries =
            placed.iter().map(|p| disclose(request, export, p)).collect::<Result<_, _>>()?;
        let read_me = self.page(request, held, &placed, made_at, &rests_on.rests_on)?;
        let items = held.iter().map(Held::bundle_item).collect();
        let contents = Contents {
            items: BundleItems { export: Some(export.leaf_index), items },
            payload,
            entries,
            checkpoint: checkpoint.to_string(),
            heads,
            policy: self.policy.as_bytes().to_vec(),
            allowed_signers: sshsig::allowed_signer(
                &self.signer(),
                self.bundle_key.vkey().public_key(),
            ),
            bag_info: self.bag_info(request, &name, made_at),
            read_me,
            outboards: held
                .iter()
                .map(|h| (h.record.item, h.original.outboard().to_bytes()))
                .collect(),
            ledger_files,
            programs: Vec::new(),
        };
        Ok(Made { name, contents })
    }

    /// The programs that made what goes along, each once.
    async fn programs(
        &self,
        request: &BundleRequest,
        held: &[Held],
    ) -> Result<Vec<(Sha256, Vec<u8>)>, BundleError> {
        let derivatives = held.iter().filter(|_| request.programs).flat_map(|h| &h.derivatives);
        let mut programs = BTreeMap::new();
        for derivative in derivatives {
            let not_kept = || {
                let path = &derivative.path;
                let message =
                    format!("the program that made {path} was not kept; ask without programs");
                BundleError::Request(message)
            };
            let digest = derivative.program().ok_or_else(not_kept)?;
            if let Entry::Vacant(missing) = programs.entry(digest) {
                let program = self.ledger.kept_program(digest).await;
                let program = program.map_err(|error| BundleError::Record(error.to_string()))?;
                missing.insert(program.ok_or_else(not_kept)?.to_vec());
            }
        }
        Ok(programs.into_iter().collect())
    }

    /// The entries with which keys that a reader may know took each other's place.
    async fn rotations(&self) -> Result<Vec<LeafIndex>, BundleError> {
        let logs = self.policy.logs().iter().map(|log| log.key.clone());
        let mut found = Vec::new();
        for key in logs.chain([self.bundle_key.vkey()]) {
            let entries = self.ledger.records().rotations_to(&key).await?;
            found.extend(entries.into_iter().map(|entry| entry.leaf_index));
        }
        Ok(found)
    }

    /// Every entry with its proof under the one checkpoint of this bundle.
    async fn placed(
        &self,
        indexes: &[LeafIndex],
        checkpoint: &SignedCheckpoint,
    ) -> Result<Vec<Placed>, BundleError> {
        let mut placed = Vec::with_capacity(indexes.len());
        for index in indexes {
            let found = self.ledger.placed_under(*index, checkpoint).await;
            placed.push(found.map_err(|error| BundleError::Record(error.to_string()))?);
        }
        Ok(placed)
    }

    /// All entries of each item, in order, when a completeness statement is asked for.
    async fn chains(
        &self,
        request: &BundleRequest,
        held: &[Held],
        checkpoint: &SignedCheckpoint,
    ) -> Result<Vec<(SubjectId, Vec<LeafIndex>)>, BundleError> {
        let mut chains = Vec::new();
        for held in held.iter().filter(|_| request.completeness) {
            let subject = SubjectId::from(held.record.item);
            let events = self.ledger.records().events_of(&subject).await?;
            let indexes = events.iter().map(|event| event.leaf_index);
            let covered = indexes.filter(|index| checkpoint.unverified().size.covers(*index));
            chains.push((subject, covered.collect()));
        }
        Ok(chains)
    }

    fn heads(
        &self,
        chains: &[(SubjectId, Vec<LeafIndex>)],
        checkpoint: &SignedCheckpoint,
    ) -> Result<String, BundleError> {
        let head =
            |chain: &Vec<LeafIndex>| Some(Head { last: *chain.last()?, count: chain.len() as u64 });
        let heads =
            chains.iter().filter_map(|(id, chain)| Some((id.clone(), head(chain)?))).collect();
        let broken = |error: &dyn std::fmt::Display| BundleError::Record(error.to_string());
        let heads = Heads::new(checkpoint.unverified(), heads).map_err(|error| broken(&error))?;
        Ok(heads.sign(self.bundle_key.as_ref()).map_err(|error| broken(&error))?.to_string())
    }

    fn signer(&self) -> String {
        let plain =
            |c: char| if c.is_ascii_alphanumeric() || "@.-_/".contains(c) { c } else { '_' };
        self.bundle_key.name().chars().map(plain).collect()
    }

    fn bag_info(
        &self,
        request: &BundleRequest,
        name: &str,
        at: Timestamp,
    ) -> Vec<(String, String)> {
        let mut info = vec![
            ("Source-Organization", self.force.name.clone()),
            ("Contact-Name", self.force.contact.clone()),
            ("External-Identifier", name.to_owned()),
            ("External-Description", format!("Prepared for {}", request.recipient)),
            ("Bagging-Date", at.to_string()[..10].to_owned()),
            ("Bag-Software-Agent", concat!("exhibit ", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        info.extend(
            request.case_reference.iter().map(|case| ("Internal-Sender-Identifier", case.clone())),
        );
        info.into_iter().map(|(label, value)| (label.to_owned(), value)).collect()
    }

    fn page(
        &self,
        request: &BundleRequest,
        held: &[Held],
        placed: &[Placed],
        at: Timestamp,
        rests_on: &RestsOn,
    ) -> Result<String, BundleError> {
        let names: Vec<String> = rests_on.cosigned.iter().map(|by| by.name.to_string()).collect();
        let page = Page {
            force: &self.force.name,
            contact: &self.force.contact,
            recipient: &request.recipient,
            purpose: request.purpose.in_words(),
            made_on: UkTime::from(at).line(),
            case_reference: request.case_reference.as_deref().unwrap_or_default(),
            rows: held
                .iter()
                .enumerate()
                .map(|(i, held)| row(i + 1, request, held, placed))
                .collect(),
            completeness: request.completeness,
            confirmed_by: names.join(", "),
            bundle_key: self.bundle_key.vkey().to_string(),
            signer: self.signer(),
        };
        askama::Template::render(&page).map_err(|error| BundleError::Record(error.to_string()))
    }

    /// Footage first, `bagit.txt` last: what is cut off on the way is no bundle even under its temporary name.
    async fn write(
        &self,
        request: &BundleRequest,
        held: &[Held],
        made: &Made,
    ) -> Result<(), BundleError> {
        let mut files = made.contents.files()?;
        files.extend(seal(&files, self.bundle_key.as_ref())?);
        files.sort_by_key(|(path, _)| path == chain_of_custody::bundle::layout::BAGIT);
        let nonce = request.event.to_string();
        let writing = Writing::begin(&request.output, &made.name, &nonce)?;
        match write_all(&writing, held, files).await {
            Ok(()) => writing.finish().await,
            Err(Interrupted::Writer) => writing.why_stopped().await,
            Err(Interrupted::Source(error)) => {
                // Its own complaint would only be that it was not finished.
                let _ = writing.why_stopped().await;
                Err(error)
            }
        }
    }
}

/// Everything around the footage, and the bundle's name.
struct Made {
    name: String,
    contents: Contents,
}

enum Interrupted {
    /// The disk.
    Writer,
    /// The store.
    Source(BundleError),
}

impl From<Stopped> for Interrupted {
    fn from(_: Stopped) -> Self {
        Self::Writer
    }
}

async fn write_all(
    writing: &Writing,
    held: &[Held],
    files: Vec<(String, Vec<u8>)>,
) -> Result<(), Interrupted> {
    for (path, objects) in held.iter().flat_map(Held::objects) {
        let source = |error: storage::objects::StoreError| Interrupted::Source(error.into());
        writing.begin_file(path, objects.iter().map(|object| object.size_bytes()).sum()).await?;
        for object in objects {
            let pieces = object.stream(0..object.size_bytes()).map_err(source)?;
            let mut pieces = std::pin::pin!(pieces);
            while let Some(piece) = pieces.try_next().await.map_err(source)? {
                writing.piece(piece).await?;
            }
        }
    }
    for (path, bytes) in files {
        writing.file(&path, bytes).await?;
    }
    Ok(())
}

fn export_command(request: &BundleRequest, digest: &str) -> Command {
    let ids: Vec<String> = request.items.iter().map(|asked| asked.item.to_string()).collect();
    let ids = canonical::to_bytes(&serde_json::json!(ids)).expect("ids have a canonical form");
    let ids = String::from_utf8(ids).expect("canonical JSON is UTF-8");
    let mut command = Command::new(EventKind::BundleExported, request.event)
        .field(field::PURPOSE, request.purpose.as_str(), random_salt())
        .field(field::BUNDLE_DIGEST, digest, random_salt())
        .field(field::ITEMS, ids, random_salt())
        .field(field::RECIPIENT, request.recipient.as_str(), random_salt())
        .field(field::BY, request.by.as_str(), random_salt());
    if let Some(case) = &request.case_reference {
        command = command.field(field::CASE_REFERENCE, case.as_str(), random_salt());
    }
    if let Some(authorised) = &request.authorised {
        command = command.field(field::AUTHORISED_BY, authorised.by.as_str(), random_salt()).field(
            field::REASON,
            authorised.reason.as_str(),
            random_salt(),
        );
    }
    for asked in &request.items {
        let subject = SubjectId::from(asked.item);
        command = command.touching(subject.clone()).provided(Guard::SubjectExists(subject));
    }
    command
}

fn disclose(
    request: &BundleRequest,
    export: &Placed,
    placed: &Placed,
) -> Result<DisclosedEntry, BundleError> {
    let broken = |error: &dyn std::fmt::Display| BundleError::Record(error.to_string());
    let kind = entry::Entry::parse(&placed.entry).map_err(|error| broken(&error))?.kind;
    let own = placed.leaf_index == export.leaf_index;
    let proof = TlogProof::new(None, placed.proof.clone(), placed.checkpoint.clone());
    Ok(DisclosedEntry {
        index: placed.leaf_index,
        bytes: placed.entry.clone(),
        openings: disclosed(request.purpose, kind, own, &placed.openings),
        proof: proof.map_err(|error| broken(&error))?,
    })
}

fn row(number: usize, request: &BundleRequest, held: &Held, placed: &[Placed]) -> Row {
    let record = &held.record;
    let received = placed.iter().find(|p| p.leaf_index == record.leaf_index);
    let opened = |name: &str| {
        let opening = received?.openings.iter().find(|o| o.name.as_str() == name)?;
        Some(opening.value.clone())
    };
    let media = |key: &str| held.media.as_ref().and_then(|media| media.get(key));
    let name = if allows(request.purpose, field::NAME) { record.name.as_str() } else { "" };
    let started = record.captured_claimed.split('/').next().unwrap_or_default();
    let created = media("created-claimed").and_then(|value| value.as_str()).unwrap_or_default();
    let recorded = [started, created].iter().find_map(|text| text.parse::<Timestamp>().ok());
    let proxy = held.derivative("proxy");
    let behind_front = held.derivative(FRONT).filter(|_| proxy.is_none());
    Row {
        reference: held.asked.reference.clone().unwrap_or_else(|| format!("Item {number}")),
        description: held.asked.description.clone().unwrap_or_else(|| name.to_owned()),
        recorded: recorded.map(|at| UkTime::from(at).line()).unwrap_or_default(),
        length: media("duration-us")
            .and_then(|value| value.as_i64())
            .map(length)
            .unwrap_or_default(),
        received: UkTime::from(record.received_at).line(),
        original: held.path.clone(),
        size: size(record.size_bytes),
        original_plays: held.original_plays,
        has_front: behind_front.is_some(),
        plays: proxy.or(behind_front).or_else(|| held.original_plays.then(|| held.path.clone())),
        poster: held.derivative("poster"),
        sha256: record.digests.sha256.to_string(),
        camera_signature: opened(field::CAMERA_SIGNATURE).unwrap_or_default(),
        signed_in_recording: media("signatures")
            .and_then(|v| v.as_array())
            .is_some_and(|v| !v.is_empty()),
    }
}

fn digest_of(payload: &[PayloadFile]) -> Sha256 {
    Sha256::of(payload_manifest(payload).as_bytes())
}
