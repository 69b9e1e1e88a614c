//! What is said of a clip beside its bytes: its name, its kind, what the camera claims.

use std::path::Path;

use chain_of_custody::claim::MAX_NAME_BYTES;

use crate::agent::journal::{AgentSeq, Claims};
use crate::agent::server;

/// The longest file name that travels; names on cameras are shorter.
const MAX_SENT_NAME_BYTES: usize = if MAX_NAME_BYTES < 255 { MAX_NAME_BYTES } else { 255 };

/// The file's name as text: data for people, never a path.
pub(super) fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let mut end = name.len().min(MAX_SENT_NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}

/// The `Upload-Metadata` of a new upload.
pub(super) fn metadata(path: &Path, seq: AgentSeq, claims: &Claims) -> String {
    let name = name(path);
    let optional = [
        ("camera", claims.camera.as_ref().map(ToString::to_string)),
        ("recording", claims.recording.as_ref().map(ToString::to_string)),
        ("captured", claims.captured.as_ref().map(ToString::to_string)),
        ("source-seq", claims.source_seq.as_ref().map(ToString::to_string)),
        ("restricted", claims.restricted.then(|| "true".to_owned())),
    ];
    let optional = optional.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let always = [
        ("filetype", media_type(&name).to_owned()),
        ("agent-seq", seq.to_string()),
        ("filename", name),
    ];
    server::metadata(always.into_iter().chain(optional))
}

/// What the name's ending suggests; the server looks for itself.
fn media_type(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    match ending.as_deref() {
        Some("mp4" | "m4v") => "video/mp4",
        Some("mov") => "video/quicktime",
        Some("mkv") => "video/x-matroska",
        Some("avi") => "video/x-msvideo",
        Some("ts" | "m2ts") => "video/mp2t",
        Some("wav") => "audio/wav",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn a_long_or_broken_name_is_cut_between_letters() {
        let bytes = ["é".repeat(126).as_bytes(), b"\xff.mp4"].concat();
        let cut = name(&Path::new("/dock").join(std::ffi::OsStr::from_bytes(&bytes)));
        assert!(cut.len() <= MAX_SENT_NAME_BYTES && cut.starts_with("éé"), "{cut}");
        assert_eq!(name(Path::new("/dock/clip 1.mp4")), "clip 1.mp4");
    }
}
