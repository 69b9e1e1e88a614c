//! READ-ME-FIRST.html: the page that opens from a disc, without script, for people who did not ask for cryptography.

use askama::Template;

/// The page. Every text is escaped; nothing in it is loaded from elsewhere.
#[derive(Debug, Template)]
#[template(path = "read-me-first.html")]
pub(super) struct Page<'a> {
    pub(super) force: &'a str,
    pub(super) contact: &'a str,
    pub(super) recipient: &'a str,
    pub(super) purpose: &'a str,
    pub(super) made_on: String,
    pub(super) case_reference: &'a str,
    pub(super) rows: Vec<Row>,
    pub(super) completeness: bool,
    /// The log witnesses that confirmed the ledger, in words; empty when nobody did.
    pub(super) confirmed_by: String,
    pub(super) bundle_key: String,
    pub(super) signer: String,
}

/// One item in the table.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) reference: String,
    pub(super) description: String,
    /// By the camera's clock, in UK time; empty when not known.
    pub(super) recorded: String,
    pub(super) length: String,
    pub(super) received: String,
    pub(super) original: String,
    pub(super) size: String,
    /// What ▶ plays; none when there is no viewing copy.
    pub(super) plays: Option<String>,
    /// What ▶ plays is the full-quality file once more, behind a front.
    pub(super) has_front: bool,
    /// Browsers play the full-quality file as it is.
    pub(super) original_plays: bool,
    pub(super) poster: Option<String>,
    pub(super) sha256: String,
    pub(super) camera_signature: String,
    /// The probe found a signature of the camera's in the recording itself.
    pub(super) signed_in_recording: bool,
}
