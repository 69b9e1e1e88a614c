//! BagIt 1.0 (RFC 8493): lists of digests, written so that `sha256sum -c` and `b3sum -c` read them too.

use std::collections::BTreeMap;

use super::layout::{
    BAGIT, BAGIT_TEXT, BLAKE3_SUMS, DATA, MANIFEST, MAX_PATH_CHARS, SIGNATURE, TAG_MANIFEST,
    check_path, class_of,
};
use super::{FileFact, Files};
use crate::malformed::Malformed;
use crate::report::{Class, Code, Notes};

const LIST: &str = "list of digests";
/// The most files a bundle lists.
pub const MAX_FILES: usize = 100_000;

/// One list: path → digest in lower-case hex.
pub type DigestList = BTreeMap<String, String>;

/// Writes a list, one `digest  path` a line, sorted by path.
pub fn write_list<'a>(files: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let sorted: BTreeMap<_, _> = files.into_iter().collect();
    sorted.into_iter().map(|(path, digest)| format!("{digest}  {path}\n")).collect()
}

/// Reads a list. Strict: only the form that [`write_list`] writes, each path once.
///
/// # Errors
/// [`Malformed`] with the reason.
pub fn parse_list(bytes: &[u8]) -> Result<DigestList, Malformed> {
    let bad = |reason| Malformed::new(LIST, reason);
    let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?;
    let mut list = DigestList::new();
    if text.is_empty() {
        return Ok(list);
    }
    let text = text.strip_suffix('\n').ok_or_else(|| bad("no newline at the end"))?;
    for line in text.split('\n') {
        let (digest, path) =
            line.split_once("  ").ok_or_else(|| bad("a line is not 'digest  path'"))?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if digest.len() != 64 || !digest.bytes().all(hex) {
            return Err(bad("a digest is not 64 lower-case hexadecimal characters"));
        }
        if path.len() > MAX_PATH_CHARS || check_path(path).is_err() {
            return Err(bad("a path that bundles do not have"));
        }
        if list.insert(path.to_owned(), digest.to_owned()).is_some() {
            return Err(bad("a path is listed twice"));
        }
        if list.len() > MAX_FILES {
            return Err(bad("it lists too many files"));
        }
    }
    Ok(list)
}

/// The lists of a bundle that were there and well-formed.
pub(super) struct Lists {
    /// SHA-256 of everything under `data/`.
    pub(super) payload: DigestList,
}

/// Whether this is a BagIt 1.0 bundle at all.
pub(super) fn is_bag(files: &Files<'_>, notes: &mut Notes) -> bool {
    let bag = files.content(BAGIT).is_some_and(|text| text == BAGIT_TEXT.as_bytes());
    if !bag {
        let message =
            "There is no bagit.txt of BagIt 1.0 here: this is not a bundle, or not its top folder.";
        notes.note(Code::NotABundle, Class::Record, BAGIT, message);
    }
    bag
}

/// Reads the lists and holds all but the payload's digests against the files; those wait for the ledger's word.
pub(super) fn read(files: &Files<'_>, notes: &mut Notes) -> Lists {
    let payload = read_one(files, MANIFEST, notes);
    let tags = read_one(files, TAG_MANIFEST, notes);
    let blake3 = read_one(files, BLAKE3_SUMS, notes);
    let is_tag = |path: &str| !path.starts_with(DATA) && path != TAG_MANIFEST && path != SIGNATURE;
    if let Some(payload) = &payload {
        compare_names(files, MANIFEST, payload, |path| path.starts_with(DATA), notes);
    }
    if let Some(tags) = &tags {
        compare_names(files, TAG_MANIFEST, tags, is_tag, notes);
        compare(files, TAG_MANIFEST, tags, |file| file.digests.sha256.to_string(), notes);
    }
    if let Some(blake3) = &blake3 {
        compare_names(files, BLAKE3_SUMS, blake3, |path| path.starts_with(DATA), notes);
    }
    if let (Some(blake3), Some(payload)) = (&blake3, &payload) {
        contradictions(files, payload, blake3, notes);
    }
    Lists { payload: payload.unwrap_or_default() }
}

fn read_one(files: &Files<'_>, path: &'static str, notes: &mut Notes) -> Option<DigestList> {
    match parse_list(files.required(path, notes)?) {
        Ok(list) => Some(list),
        Err(error) => {
            notes.note(
                Code::ListMalformed,
                Class::Record,
                path,
                format!("{path} cannot be read: {error}."),
            );
            None
        }
    }
}

/// A list names exactly the files that it is about.
fn compare_names(
    files: &Files<'_>,
    list_path: &str,
    list: &DigestList,
    is_about: impl Fn(&str) -> bool,
    notes: &mut Notes,
) {
    for path in list.keys().filter(|path| files.get(path).is_none()) {
        let message = format!("{list_path} names {path}, which is not there.");
        notes.note(Code::FileMissing, class_of(path), path, message);
    }
    for path in list.keys().filter(|path| !is_about(path)) {
        let message = format!("{list_path} names {path}, which does not belong in it.");
        notes.note(Code::ListMalformed, Class::Record, list_path, message);
    }
    for file in files.all().filter(|file| is_about(&file.path) && !list.contains_key(&file.path)) {
        let message =
            format!("{} is not named in {list_path}: it was not part of this bundle.", file.path);
        notes.note(Code::FileUnlisted, class_of(&file.path), &file.path, message);
    }
}

fn compare(
    files: &Files<'_>,
    list_path: &str,
    list: &DigestList,
    digest: impl Fn(&FileFact) -> String,
    notes: &mut Notes,
) {
    let present = list.iter().filter_map(|(path, listed)| Some((files.get(path)?, listed)));
    for (file, _) in present.filter(|(file, listed)| digest(file) != **listed) {
        let message = format!("{} is not the file that {list_path} lists.", file.path);
        notes.note(Code::ListDiffers, class_of(&file.path), &file.path, message);
    }
}

/// The BLAKE3 list disagrees about a file on which the SHA-256 list agrees: the fault is in the list.
fn contradictions(files: &Files<'_>, payload: &DigestList, blake3: &DigestList, notes: &mut Notes) {
    for (path, listed) in blake3 {
        let Some(file) = files.get(path) else { continue };
        let sha256_fits = payload.get(path) == Some(&file.digests.sha256.to_string());
        if sha256_fits && file.digests.blake3.to_string() != *listed {
            let message =
                format!("{BLAKE3_SUMS} lists another digest for {path} than the file has.");
            notes.note(Code::ListDiffers, Class::Record, BLAKE3_SUMS, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn malformed_lists_by_name() {
        let digest = "a".repeat(64);
        let cases = [
            ("no_newline", format!("{digest}  data/a")),
            ("one_space", format!("{digest} data/a\n")),
            ("binary_mark", format!("{digest} *data/a\n")),
            ("upper_case", format!("{}  data/a\n", digest.to_uppercase())),
            ("short_digest", format!("{}  data/a\n", &digest[1..])),
            ("twice", format!("{digest}  data/a\n{digest}  data/a\n")),
            ("parent", format!("{digest}  ../a\n")),
            ("crlf", format!("{digest}  data/a\r\n")),
            ("empty_line", format!("{digest}  data/a\n\n")),
        ];
        for (name, text) in cases {
            assert!(parse_list(text.as_bytes()).is_err(), "{name}");
        }
        let good = write_list([("data/b", digest.clone()), ("data/a", digest)]);
        assert_eq!(parse_list(good.as_bytes()).unwrap().len(), 2);
        assert!(good.find("data/a") < good.find("data/b"));
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_list(&bytes);
        }
    }
}
