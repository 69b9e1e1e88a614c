//! The ledger slip: a checkpoint on one page, for somebody outside to keep (docs/formats/slip.md).
//!
//! Here: finding the checkpoint in whatever of the page was kept, and the page's words. Not here: the QR code that is
//! printed beside them, and what a slip shows (`bundle::check_ledger`). Invariant: the checkpoint between the marks is
//! byte for byte the signed note.

use crate::checkpoint::SignedCheckpoint;
use crate::malformed::Malformed;

/// Bytes of a slip that are read.
pub const MAX_SLIP_BYTES: usize = 256 * 1024;

const BEGIN: &str = "-----BEGIN CHECKPOINT-----\n";
const END: &str = "-----END CHECKPOINT-----\n";

/// The checkpoint of a slip: of the page, or of the note alone as its code holds it. Lines may end in CR LF: people type
/// and mail it.
///
/// # Errors
/// [`Malformed`]. What it says is not to be believed before a policy weighs it.
pub fn read_slip(bytes: &[u8]) -> Result<SignedCheckpoint, Malformed> {
    let fault = |reason| Malformed::new("slip", reason);
    if bytes.len() > MAX_SLIP_BYTES {
        return Err(fault("it is too long"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| fault("it is not UTF-8"))?;
    let text = text.replace("\r\n", "\n");
    let note = match text.split_once(BEGIN) {
        Some((_, rest)) => rest.split_once(END).ok_or(fault("its end mark is missing"))?.0,
        None => &text,
    };
    SignedCheckpoint::parse(note.as_bytes())
}

/// The words of the page; `printed` is when, as people read it.
pub fn slip_page(checkpoint: &SignedCheckpoint, printed: &str) -> String {
    let head = checkpoint.unverified();
    format!(
        "LEDGER SLIP\n\
         \n\
         Printed {printed}. The ledger {origin} has {size} entries now.\n\
         \n\
         Keep this page, or a photograph of its code, somewhere that the force does not control.\n\
         With it anybody can show later that none of these entries was changed, removed or\n\
         slipped in between. It says nothing about what was never entered.\n\
         \n\
         To check: ask the force for its ledger as files (checkpoint and hash tiles; the entries\n\
         are private and not needed) and for its policy file, each from a source you trust, then\n\
         \n\
         \x20   exhibit-verify LEDGER-FOLDER --since SLIP --policy POLICY\n\
         \n\
         SLIP is a file with this page, or with the text that the code below holds.\n\
         \n\
         {BEGIN}{checkpoint}{END}",
        origin = head.origin,
        size = head.size,
    )
}
