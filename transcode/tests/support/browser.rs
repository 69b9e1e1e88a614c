//! Debian's Chromium, which plays what people would: one process, one page.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde_json::json;

/// What came of playing one file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Played {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) seconds: f64,
    /// Where it stood when it had ended.
    pub(crate) reached: f64,
    pub(crate) ready_state: u32,
    pub(crate) frames: u64,
    pub(crate) sound_bytes: u64,
    pub(crate) error: Option<String>,
}

/// Plays each of these files of `folder` to its end. `is_still` ones are shown.
pub(crate) fn play(folder: &Path, files: &[(String, bool)]) -> Vec<Played> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let files = files.iter().map(|(file, is_still)| json!({"file": file, "isStill": is_still}));
    let asked = json!({"folder": folder, "files": files.collect::<Vec<_>>()});
    let mut node = Command::new("node");
    node.arg(repository.join("tests/browser/plays.mjs")).arg(asked.to_string());
    node.env("EXHIBIT_BROWSER_NPM", repository.join(".tools/browser"));
    let out = node.output().expect("node runs (scripts/setup test)");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}
