//! The moments at which a program can be told to kill itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::programs::repository;

/// Every name in a call of `failpoint::hit` in the rooms' sources, so that a new one is tried without being listed.
pub fn named() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for room in ["storage", "ingest", "transcode"] {
        collect(&repository().join(room).join("src"), &mut found);
    }
    found
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("a source file");
            let calls = source.split("failpoint::hit(\"").skip(1);
            found.extend(calls.filter_map(|call| Some(call.split_once('"')?.0.to_owned())));
        }
    }
}
