//! A folder that is brought in: every file below it, each with the name it has there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::control::Failure;

/// More files in one folder are more than one export.
const MAX_FILES: usize = 100_000;
/// Deeper is a mistake.
const MAX_DEPTH: usize = 64;

/// A file to bring in.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// `folder/sub/file` below the folder that was named; none for a file that was named itself.
    pub(super) name: Option<String>,
}

/// The files that `path` stands for, in the order of their names. What is neither file nor folder is a failure of its own:
/// a link is not followed, since it may lead anywhere, and not passed over in silence.
pub(super) fn files(path: &Path) -> Result<Vec<Result<Found, Failure>>, Failure> {
    if !path.is_dir() {
        return Ok(vec![Ok(Found { path: path.to_owned(), name: None })]);
    }
    let whole = fs::canonicalize(path).map_err(|e| cannot(path, &e))?;
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = Vec::new();
    below(path, &name, 0, &mut found)?;
    if found.is_empty() {
        return Err(Failure::new("path", format!("{} has no file in it", path.display())));
    }
    Ok(found)
}

fn below(
    folder: &Path,
    name: &str,
    depth: usize,
    found: &mut Vec<Result<Found, Failure>>,
) -> Result<(), Failure> {
    if depth > MAX_DEPTH {
        let message = format!("{} lies more than {MAX_DEPTH} folders deep", folder.display());
        return Err(Failure::new("path", message));
    }
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = entries.map_err(|e| cannot(folder, &e))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().map_err(|e| cannot(&path, &e))?;
        if kind.is_dir() {
            below(&path, &name, depth + 1, found)?;
            continue;
        }
        if found.len() == MAX_FILES {
            let message = format!("more than {MAX_FILES} files; name parts of it");
            return Err(Failure::new("path", message));
        }
        found.push(match kind.is_file() {
            true => Ok(Found { path, name: Some(name) }),
            false => {
                let message = format!("{} is neither file nor folder", path.display());
                Err(Failure::new("path", message)
                    .advice("links are not followed: name what it leads to"))
            }
        });
    }
    Ok(())
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new("path", format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_files_by_their_names_and_a_link_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let export = folder.path().join("export");
        fs::create_dir_all(export.join("cam 2")).unwrap();
        for name in ["b.avi", "a.avi", "cam 2/c.avi"] {
            fs::write(export.join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", export.join("z.avi")).unwrap();
        let (mut names, mut failures) = (Vec::new(), 0);
        for found in files(&export).unwrap() {
            match found {
                Ok(found) => names.push(found.name.unwrap()),
                Err(failure) => {
                    assert!(failure.message.contains("z.avi"));
                    failures += 1;
                }
            }
        }
        assert_eq!(names, ["export/a.avi", "export/b.avi", "export/cam 2/c.avi"]);
        assert_eq!(failures, 1);
        let one = files(&export.join("a.avi")).unwrap();
        assert!(matches!(&one[..], [Ok(Found { name: None, .. })]));
        fs::create_dir(folder.path().join("empty")).unwrap();
        assert!(files(&folder.path().join("empty")).is_err());
    }
}
