//! BagIt 1.0 (RFC 8493): lists of digests, written so that `sha256sum -c` and `b3sum -c` read them too.

use std::collections::BTreeMap;

use super::layout::{MAX_PATH_CHARS, check_path};
use crate::malformed::Malformed;

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
        let (digest, path) = line.split_once("  ").ok_or_else(|| bad("a line is not 'digest  path'"))?;
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
