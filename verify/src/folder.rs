//! A bundle as a folder. Links are findings and are never followed.

use std::fs;
use std::path::Path;

use chain_of_custody::report::Code;

use crate::gather::{Gathered, Place};
use crate::limits::{MAX_DEPTH, MAX_FILES};

/// Everything below `root`.
pub(crate) fn read(root: &Path) -> Gathered {
    let mut gathered = Gathered::default();
    walk(root, "", 0, &mut gathered);
    gathered.places.sort_by(|a, b| a.path.cmp(&b.path));
    gathered.refuse_equal_names();
    gathered
}

fn walk(folder: &Path, prefix: &str, depth: usize, gathered: &mut Gathered) {
    if depth > MAX_DEPTH || gathered.places.len() > MAX_FILES {
        let message =
            format!("More than {MAX_DEPTH} folders in each other, or more than {MAX_FILES} files.");
        return gathered.find(Code::TooLarge, prefix, message);
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            return gathered.find(Code::Unreadable, prefix, format!("Cannot be read: {error}."));
        }
    };
    for entry in entries {
        match entry {
            Ok(entry) => visit(&entry, prefix, depth, gathered),
            Err(error) => {
                gathered.find(Code::Unreadable, prefix, format!("Cannot be read: {error}."))
            }
        }
    }
}

fn visit(entry: &fs::DirEntry, prefix: &str, depth: usize, gathered: &mut Gathered) {
    let name = entry.file_name();
    let Some(name) = name.to_str() else {
        let path = format!("{prefix}{}", name.to_string_lossy());
        return gathered.find(Code::NameUnsafe, &path, "A name is not valid text.");
    };
    let path = format!("{prefix}{name}");
    // Of the entry itself: a link is seen as a link.
    match entry.metadata() {
        Ok(found) if found.is_dir() => {
            walk(&entry.path(), &format!("{path}/"), depth + 1, gathered)
        }
        Ok(found) if found.is_file() => {
            gathered.add(Place { path, file: entry.path(), offset: 0, size_bytes: found.len() });
        }
        Ok(_) => gathered.find(
            Code::Symlink,
            &path,
            "A link or special file lies in the bundle. It was not followed.",
        ),
        Err(error) => gathered.find(Code::Unreadable, &path, format!("Cannot be read: {error}.")),
    }
}
