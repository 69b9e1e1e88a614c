//! Where things lie in a bundle, and which names it may have.

use crate::report::Class;

/// The longest path inside a bundle, its top folder included, in characters.
pub const MAX_PATH_CHARS: usize = 120;

pub const BAGIT: &str = "bagit.txt";
pub const BAG_INFO: &str = "bag-info.txt";
pub const MANIFEST: &str = "manifest-sha256.txt";
pub const TAG_MANIFEST: &str = "tagmanifest-sha256.txt";
/// Over the tag manifest, beside it, not listed in it.
pub const SIGNATURE: &str = "tagmanifest-sha256.txt.sig";
pub const READ_ME: &str = "READ-ME-FIRST.html";
pub const DATA: &str = "data/";
pub const ORIGINALS: &str = "data/originals/";
pub const DERIVATIVES: &str = "data/derivatives/";
pub const BLAKE3_SUMS: &str = "evidence/blake3sums.txt";
pub const ITEMS: &str = "evidence/items.json";
pub const RECEIPTS: &str = "evidence/receipts/";
pub const OUTBOARDS: &str = "evidence/outboards/";
pub const PROGRAMS: &str = "evidence/programs/";
pub const PROOFS: &str = "evidence/ledger/proofs/";
pub const ENTRIES: &str = "evidence/ledger/entries.jsonl";
pub const OPENINGS: &str = "evidence/ledger/openings.jsonl";
pub const CHECKPOINT: &str = "evidence/ledger/checkpoint";
pub const HEADS: &str = "evidence/ledger/heads";
/// The ledger's files: hash tiles lie below it under their own names.
pub const LEDGER: &str = "evidence/ledger/";
pub const STAMPS: &str = "evidence/ledger/stamps/";
pub const POLICY: &str = "evidence/keys/claimed-by-sender/policy";
pub const ALLOWED_SIGNERS: &str = "evidence/keys/claimed-by-sender/allowed_signers";

/// The whole of `bagit.txt` (RFC 8493, section 2.1.1).
pub const BAGIT_TEXT: &str = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";

/// Whether the check needs a file's bytes, not only its digests.
pub fn is_read_whole(path: &str) -> bool {
    let is_read = [DATA, OUTBOARDS, PROGRAMS].iter().all(|folder| !path.starts_with(folder));
    is_read && path != READ_ME
}

/// What a finding about this file is about.
pub fn class_of(path: &str) -> Class {
    match path {
        SIGNATURE | ALLOWED_SIGNERS | POLICY => Class::Signature,
        READ_ME | BAG_INFO => Class::Presentation,
        _ if path.starts_with(DERIVATIVES) => Class::Derivative,
        _ if path.starts_with(ORIGINALS) => Class::Footage,
        _ if path.starts_with(DATA) => Class::Presentation,
        _ => Class::Record,
    }
}

/// What is wrong with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPath {
    /// Absolute, or with `..`: never followed.
    LeavesFolder,
    /// Characters or names that bundles do not have.
    Unsafe,
}

/// Whether a relative path is one that a bundle may have: plain, short, and the same on every system.
///
/// # Errors
/// [`BadPath`].
pub fn check_path(path: &str) -> Result<(), BadPath> {
    let parts = || path.split(['/', '\\']);
    let drive = path.as_bytes().get(1) == Some(&b':');
    if path.starts_with(['/', '\\']) || drive || parts().any(|part| part == "..") {
        return Err(BadPath::LeavesFolder);
    }
    let good = path.chars().count() <= MAX_PATH_CHARS && path.split('/').all(is_safe_name);
    good.then_some(()).ok_or(BadPath::Unsafe)
}

/// One name of a path: a letter, digit, `.`, `-`, `_`, and no name that Windows keeps for itself.
fn is_safe_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let ends = |c| name.starts_with(c) || name.ends_with(c);
    !name.is_empty() && name.chars().all(allowed) && !ends('.') && !is_reserved(name)
}

/// CON, PRN, AUX, NUL, COM1…9 and LPT1…9, with any extension.
fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let numbered = |prefix| stem.strip_prefix(prefix).is_some_and(|n| n.len() == 1 && n != "0");
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT")
}

/// A file name that anybody may have chosen, as a bundle writes it: at most `max_chars` safe characters.
///
/// What is not a letter, digit, `.`, `-` or `_` of ASCII becomes `_`, so bidirectional and control characters, path
/// separators and look-alikes cannot pass. The extension is kept when it is short.
pub fn safe_name(untrusted: &str, max_chars: usize) -> String {
    let swap = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let base = untrusted.rsplit(['/', '\\']).next().unwrap_or_default();
    let mapped: String = base.chars().map(swap).collect();
    let mapped = mapped.trim_matches('.').to_owned();
    let (stem, extension) = match mapped.rsplit_once('.') {
        Some((stem, ext)) if (1..=8).contains(&ext.len()) => (stem, format!(".{ext}")),
        _ => (mapped.as_str(), String::new()),
    };
    let room = max_chars.saturating_sub(extension.len()).max(1);
    let stem: String = stem.chars().take(room).collect();
    let stem = stem.trim_matches('.');
    let stem = if stem.is_empty() { "file" } else { stem };
    let name = format!("{stem}{extension}");
    if is_reserved(&name) { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_paths_by_name() {
        use BadPath::{LeavesFolder, Unsafe};
        let cases = [
            ("parent", "../x", LeavesFolder),
            ("parent_inside", "data/../../x", LeavesFolder),
            ("absolute", "/etc/passwd", LeavesFolder),
            ("windows_drive", "C:\\x", LeavesFolder),
            ("backslash_parent", "data\\..\\x", LeavesFolder),
            ("backslash", "data\\x", Unsafe),
            ("empty_part", "data//x", Unsafe),
            ("dot", "./x", Unsafe),
            ("trailing_dot", "data/x.", Unsafe),
            ("space", "data/a b", Unsafe),
            ("bidi", "data/\u{202e}4pm.exe", Unsafe),
            ("control", "data/a\nb", Unsafe),
            ("reserved", "data/com1.mp4", Unsafe),
            ("empty", "", Unsafe),
        ];
        for (name, path, expected) in cases {
            assert_eq!(check_path(path), Err(expected), "{name}");
        }
        assert_eq!(check_path(&"a".repeat(MAX_PATH_CHARS + 1)), Err(Unsafe), "too_long");
        for path in [BAGIT, READ_ME, POLICY, ITEMS, "data/originals/001-clip.mp4"] {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn names_are_made_safe() {
        assert_eq!(safe_name("AXW100 clip.MP4", 40), "AXW100_clip.MP4");
        assert_eq!(safe_name("../../etc/passwd", 40), "passwd");
        assert_eq!(safe_name("\u{202e}gpj.exe", 40), "_gpj.exe");
        assert_eq!(safe_name("nul.mp4", 40), "_nul.mp4");
        assert_eq!(safe_name("", 40), "file");
        assert_eq!(
            safe_name(&format!("{}.mkv", "x".repeat(200)), 20),
            format!("{}.mkv", "x".repeat(16))
        );
    }

    proptest! {
        #[test]
        fn whatever_a_name_is_the_result_is_safe(name in any::<String>(), max in 12usize..60) {
            let safe = safe_name(&name, max);
            prop_assert_eq!(check_path(&safe), Ok(()), "{:?}", safe);
            prop_assert!(safe.chars().count() <= max + 1);
        }
    }
}
