//! Where each file goes in the bundle: short, safe names from names that anybody may have chosen.

use chain_of_custody::bundle::layout::{DERIVATIVES, ORIGINALS, safe_name};
use chain_of_custody::time::Timestamp;
use storage::records::DerivativeView;

use crate::kinds;

/// Room for one file's own name: with its folder, the number and the bundle's own name the path stays below
/// [`chain_of_custody::bundle::layout::MAX_PATH_CHARS`].
const NAME_CHARS: usize = 40;
/// Room for each part of the bundle's own name.
const PART_CHARS: usize = 12;

/// `data/originals/001-name.mp4`; without a name that may be shown, only the number and the extension.
pub(super) fn original_path(number: usize, name: &str, show_name: bool) -> String {
    let safe = safe_name(name, NAME_CHARS);
    if show_name && !name.is_empty() {
        return format!("{ORIGINALS}{number:03}-{safe}");
    }
    let extension =
        safe.rsplit_once('.').map(|(_, extension)| format!(".{extension}")).unwrap_or_default();
    format!("{ORIGINALS}{number:03}{extension}")
}

/// `data/derivatives/001-proxy-1.mp4`: number of its original, kind, and a counter.
pub(super) fn derivative_path(number: usize, view: &DerivativeView, counter: usize) -> String {
    let (extension, _) = kinds::file_type(view);
    format!("{DERIVATIVES}{number:03}-{}-{counter}{extension}", safe_name(&view.kind, PART_CHARS))
}

/// `<case>-<exhibit>-<date>`, each part safe; parts that are not known are left out.
pub(super) fn bundle_name(case: Option<&str>, exhibit: Option<&str>, at: Timestamp) -> String {
    let part = |text: &str| safe_name(&text.replace(['/', '\\', '.'], "_"), PART_CHARS);
    let date = at.to_string()[..10].to_owned();
    let parts = [case.map(part), exhibit.map(part)].into_iter().flatten();
    let named: Vec<String> = parts.filter(|part| part != "file").chain([date]).collect();
    if named.len() == 1 { format!("bundle-{}", named[0]) } else { named.join("-") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chain_of_custody::bundle::layout::{MAX_PATH_CHARS, check_path};

    #[test]
    fn the_longest_names_stay_short_and_safe() {
        let long = "\u{202e}x y".repeat(100) + ".mkv";
        let at = "2026-11-22T18:04:05.123Z".parse().unwrap();
        let name = bundle_name(Some(&long), Some("JSM/1"), at);
        let strange = DerivativeView {
            kind: long.clone(),
            recipe_id: String::new(),
            recipe: String::new(),
            leaf_index: chain_of_custody::ids::LeafIndex(0),
            size_bytes: 0,
            digests: chain_of_custody::digest::Digests::of(b""),
            object: String::new(),
            media: String::new(),
        };
        let paths = [original_path(1000, &long, true), derivative_path(1000, &strange, 99)];
        for path in paths {
            let whole = format!("{name}/{path}");
            assert_eq!(check_path(&whole), Ok(()), "{whole}");
            assert!(whole.chars().count() < MAX_PATH_CHARS);
        }
        assert_eq!(bundle_name(Some("01AB/1234"), Some("JSM/1"), at), "01AB_1234-JSM_1-2026-11-22");
        assert_eq!(bundle_name(None, None, at), "bundle-2026-11-22");
        assert_eq!(original_path(2, "John Smith.mp4", false), "data/originals/002.mp4");
    }
}
