//! Everything in a bundle but the footage itself, as bytes: what a bundle's maker writes around the files.
//!
//! Pure, like the check: the same contents always give the same files. What may leave is decided before (`portal`).

use crate::digest::{Digests, Sha256};
use crate::entry::{BadEntry, Entry, Opening};
use crate::ids::{ItemId, LeafIndex};
use crate::note::{Signer, SignerUnavailable};
use crate::proof::TlogProof;
use crate::receipt::{Receipt, ReceiptError};

use super::items::BundleItems;
use super::layout::{
    ALLOWED_SIGNERS, BAG_INFO, BAGIT, BAGIT_TEXT, BLAKE3_SUMS, CHECKPOINT, ENTRIES, HEADS, ITEMS,
    LEDGER, MANIFEST, OPENINGS, OUTBOARDS, POLICY, PROGRAMS, READ_ME, SIGNATURE, TAG_MANIFEST,
};
use super::lists::write_list;
use super::record::{entry_line, openings_line, proof_path};
use super::sshsig::SshSignature;

/// A file under `data/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadFile {
    pub path: String,
    pub size_bytes: u64,
    pub digests: Digests,
}

/// An entry of the ledger with the openings that may leave, and its proof under the bundle's checkpoint.
#[derive(Debug, Clone)]
pub struct DisclosedEntry {
    pub index: LeafIndex,
    pub bytes: Vec<u8>,
    pub openings: Vec<Opening>,
    pub proof: TlogProof,
}

/// All that goes into a bundle around the payload.
#[derive(Debug, Clone)]
pub struct Contents {
    pub items: BundleItems,
    pub payload: Vec<PayloadFile>,
    pub entries: Vec<DisclosedEntry>,
    /// The signed note that every proof rests on.
    pub checkpoint: String,
    /// The signed completeness statement, when somebody authorised one.
    pub heads: Option<String>,
    pub policy: Vec<u8>,
    pub allowed_signers: String,
    /// Label and value; [`Contents::files`] adds the number of bytes and files.
    pub bag_info: Vec<(String, String)>,
    pub read_me: String,
    /// The values of each original's 64 KiB groups.
    pub outboards: Vec<(ItemId, Vec<u8>)>,
    /// Hash tiles and time stamps, by their path under the ledger's folder.
    pub ledger_files: Vec<(String, Vec<u8>)>,
    /// Programs that made derivatives, where somebody asked for them.
    pub programs: Vec<(Sha256, Vec<u8>)>,
}

/// Why contents cannot be written: they do not fit together, which is a fault of whoever gathered them.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    #[error("an entry of the bundle is malformed: {0}")]
    Entry(#[from] BadEntry),
    #[error("a receipt cannot be made: {0}")]
    Receipt(#[from] ReceiptError),
}

/// `manifest-sha256.txt`. Its own digest is what the ledger records of a hand-over, before a byte leaves.
pub fn payload_manifest(payload: &[PayloadFile]) -> String {
    write_list(payload.iter().map(|file| (file.path.as_str(), file.digests.sha256.to_string())))
}

impl Contents {
    /// Every file but the payload, the tag manifest and its signature, sorted by path.
    ///
    /// # Errors
    /// [`ContentsError`] when an entry is not canonical.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>, ContentsError> {
        let mut files: Vec<(String, Vec<u8>)> = vec![
            (BAGIT.to_owned(), BAGIT_TEXT.into()),
            (BAG_INFO.to_owned(), self.bag_info_text().into()),
            (MANIFEST.to_owned(), payload_manifest(&self.payload).into()),
            (READ_ME.to_owned(), self.read_me.clone().into()),
            (BLAKE3_SUMS.to_owned(), self.blake3_sums().into()),
            (ITEMS.to_owned(), self.items.to_bytes()),
            (CHECKPOINT.to_owned(), self.checkpoint.clone().into()),
            (POLICY.to_owned(), self.policy.clone()),
            (ALLOWED_SIGNERS.to_owned(), self.allowed_signers.clone().into()),
        ];
        files.extend(self.heads.iter().map(|heads| (HEADS.to_owned(), heads.clone().into())));
        files.extend(self.record_files()?);
        files.extend(self.receipts()?);
        let outboard =
            |(item, bytes): &(ItemId, Vec<u8>)| (format!("{OUTBOARDS}{item}.obao"), bytes.clone());
        files.extend(self.outboards.iter().map(outboard));
        let program =
            |(digest, bytes): &(Sha256, Vec<u8>)| (format!("{PROGRAMS}{digest}"), bytes.clone());
        files.extend(self.programs.iter().map(program));
        let of_ledger =
            |(path, bytes): &(String, Vec<u8>)| (format!("{LEDGER}{path}"), bytes.clone());
        files.extend(self.ledger_files.iter().map(of_ledger));
        files.sort();
        Ok(files)
    }

    fn record_files(&self) -> Result<Vec<(String, Vec<u8>)>, ContentsError> {
        let (mut entries, mut openings) = (String::new(), String::new());
        let mut sorted: Vec<&DisclosedEntry> = self.entries.iter().collect();
        sorted.sort_by_key(|entry| entry.index);
        for disclosed in &sorted {
            entries.push_str(&entry_line(disclosed.index, &Entry::parse(&disclosed.bytes)?)?);
            openings.push_str(&openings_line(disclosed.index, &disclosed.openings));
        }
        let proof = |d: &&DisclosedEntry| (proof_path(d.index), d.proof.to_string().into_bytes());
        let mut files: Vec<_> = sorted.iter().map(proof).collect();
        files.push((ENTRIES.to_owned(), entries.into_bytes()));
        files.push((OPENINGS.to_owned(), openings.into_bytes()));
        Ok(files)
    }

    fn receipts(&self) -> Result<Vec<(String, Vec<u8>)>, ContentsError> {
        let mut receipts = Vec::new();
        for item in &self.items.items {
            let Some(entry) = self.entries.iter().find(|entry| entry.index == item.entry) else {
                continue;
            };
            let proof = (entry.proof.inclusion(), entry.proof.checkpoint.clone());
            let receipt = Receipt::build(&entry.bytes, &entry.openings, proof.0, proof.1)?;
            receipts.push((item.receipt_path(), receipt.to_string().into_bytes()));
        }
        Ok(receipts)
    }

    fn blake3_sums(&self) -> String {
        write_list(
            self.payload.iter().map(|file| (file.path.as_str(), file.digests.blake3.to_string())),
        )
    }

    /// `Label: value` lines (RFC 8493, section 2.2.2); a value has no line of its own to break out of.
    fn bag_info_text(&self) -> String {
        let bytes: u64 = self.payload.iter().map(|file| file.size_bytes).sum();
        let oxum = ("Payload-Oxum".to_owned(), format!("{bytes}.{}", self.payload.len()));
        let line = |(label, value): &(String, String)| {
            let value: String =
                value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            format!("{label}: {value}\n")
        };
        self.bag_info.iter().chain([&oxum]).map(line).collect()
    }
}

/// The tag manifest over `files`, and its signature by the bundle key.
///
/// # Errors
/// [`SignerUnavailable`]: nothing was signed.
pub fn seal(
    files: &[(String, Vec<u8>)],
    signer: &dyn Signer,
) -> Result<[(String, Vec<u8>); 2], SignerUnavailable> {
    let digests = files.iter().map(|(path, bytes)| (path.as_str(), Sha256::of(bytes).to_string()));
    let list = write_list(digests);
    let signature = SshSignature::sign(list.as_bytes(), signer)?.to_armour();
    Ok([
        (TAG_MANIFEST.to_owned(), list.into_bytes()),
        (SIGNATURE.to_owned(), signature.into_bytes()),
    ])
}
