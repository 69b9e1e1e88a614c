//! A forged copy: one bit of footage changed, and every list in the bundle made to agree again, as far as that can be
//! done without the force's keys.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chain_of_custody::digest::Digests;

/// The lists of digests that travel in a bundle, in the order in which they depend on each other.
const LISTS: [&str; 3] =
    ["manifest-sha256.txt", "evidence/blake3sums.txt", "tagmanifest-sha256.txt"];

/// Copies the bundle folder `genuine` to `forged` and forges one original in it; says which.
pub(super) fn forge(genuine: &Path, forged: &Path) -> io::Result<PathBuf> {
    copy_folder(genuine, forged)?;
    let victim = first_file(&forged.join("data/originals"))?;
    let mut replaced = vec![change(&victim, |bytes| flip_a_bit(bytes))?];
    for list in LISTS.map(|name| forged.join(name)).iter().filter(|path| path.exists()) {
        let lines = replaced.clone();
        replaced.push(change(list, |bytes| replace_digests(bytes, &lines))?);
    }
    Ok(victim)
}

/// The digests of a file before and after.
type Replaced = (Digests, Digests);

fn change(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) -> io::Result<Replaced> {
    let mut bytes = fs::read(path)?;
    let before = Digests::of(&bytes);
    edit(&mut bytes);
    fs::write(path, &bytes)?;
    Ok((before, Digests::of(&bytes)))
}

fn flip_a_bit(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
}

fn replace_digests(bytes: &mut Vec<u8>, replaced: &[Replaced]) {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    for (before, after) in replaced {
        text = text
            .replace(&before.sha256.to_string(), &after.sha256.to_string())
            .replace(&before.blake3.to_string(), &after.blake3.to_string());
    }
    *bytes = text.into_bytes();
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

fn first_file(folder: &Path) -> io::Result<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.sort();
    files.into_iter().next().ok_or_else(|| io::Error::other("the bundle holds no original"))
}
