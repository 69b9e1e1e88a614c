//! Nothing in the report's vocabulary is there for show: each code, and each kind of check, is raised somewhere.
// A test that panics has failed: that is how they say so.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use chain_of_custody::report::{Check, Code};

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else {
            *text += &fs::read_to_string(path).unwrap();
        }
    }
}

#[test]
fn every_code_and_every_check_is_raised_somewhere() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    for folder in ["src", "../chain-of-custody/src/bundle"] {
        sources(&here.join(folder), &mut text);
    }
    let words =
        |name: String| text.split(|c: char| !c.is_alphanumeric() && c != ':').any(|w| w == name);
    let codes = Code::ALL.iter().map(|code| format!("Code::{code:?}"));
    let checks = Check::ALL.iter().map(|check| format!("Check::{check:?}"));
    let never: Vec<String> = codes.chain(checks).filter(|name| !words(name.clone())).collect();
    assert_eq!(never, Vec::<String>::new());
}
