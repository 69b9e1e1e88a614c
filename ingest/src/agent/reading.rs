//! Reading a clip once, hashing on the way, and noticing when the file is not what it was.
//!
//! Here: blocks, digests at any place, going back to where the server stands. Not here: sending.
//! Invariant: what was handed out from byte 0 on, in order and each byte once, has exactly the digests reported;
//! where bytes are read a second time they must be those of the first.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use chain_of_custody::digest::{ContentHasher, Digests, HashState};

use super::journal::ClipFile;

/// How much is read, hashed and sent at a time.
pub(super) const BLOCK_BYTES: u64 = 256 * 1024;

/// Why a file cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Changed(&'static str),
}

const SIZE: &str = "its size is another";
const TIME: &str = "its time of modification is another";
const BYTES: &str = "its bytes are not those read before";

/// A clip being read.
#[derive(Debug)]
pub(super) struct ClipReader {
    file: File,
    clip: ClipFile,
    hasher: ContentHasher,
    /// Where the server last said it stands: going back so far needs no reading from the beginning.
    anchor: HashState,
    /// Digests of what was read before, at places still ahead; reading past them again must give the same.
    known: Vec<(u64, Digests)>,
}

impl ClipReader {
    /// Opens the file and notes its size and time.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let file = File::open(&path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
        }
        let hasher = ContentHasher::new();
        let anchor = hasher.state();
        let clip = clip_file(path, &metadata);
        Ok(Self { file, clip, hasher, anchor, known: Vec::new() })
    }

    /// What was opened.
    pub(super) fn clip(&self) -> &ClipFile {
        &self.clip
    }

    /// How many bytes have been read, from the first on.
    pub(super) fn position(&self) -> u64 {
        self.hasher.size_bytes()
    }

    /// The digests of those bytes.
    pub(super) fn digests(&self) -> Digests {
        digests_of(&self.hasher)
    }

    /// Starts over with nothing known: these bytes are another clip's.
    pub(super) fn forget(&mut self) {
        self.hasher = ContentHasher::new();
        self.known.clear();
        self.acknowledge();
    }

    /// The server holds everything up to here.
    pub(super) fn acknowledge(&mut self) {
        self.anchor = self.hasher.state();
    }

    /// The first `offset` bytes had these digests when they were read in an earlier run.
    pub(super) fn expect(&mut self, offset: u64, digests: Digests) {
        if offset <= self.clip.size_bytes && !self.known.contains(&(offset, digests)) {
            self.known.push((offset, digests));
        }
    }

    /// Puts the position to `offset`, back or ahead, with the hash of everything before it.
    pub(super) fn go_to(&mut self, offset: u64) -> Result<(), ReadError> {
        if offset > self.clip.size_bytes {
            return Err(ReadError::Changed(SIZE));
        }
        if offset < self.position() {
            self.expect(self.position(), self.digests());
            let from_anchor = self.anchor.size_bytes() <= offset;
            self.hasher = if from_anchor { resumed(&self.anchor) } else { ContentHasher::new() };
        }
        while self.position() < offset {
            self.read_block(offset)?;
        }
        self.acknowledge();
        Ok(())
    }

    /// The next bytes, up to `end` and at most [`BLOCK_BYTES`]; never empty before `end`.
    pub(super) fn read_block(&mut self, end: u64) -> Result<Bytes, ReadError> {
        let at = self.position();
        // Stop where earlier digests are known, to compare them there.
        let ahead = self.known.iter().map(|(place, _)| *place).filter(|place| *place > at).min();
        let end = end.min(at + BLOCK_BYTES).min(ahead.unwrap_or(u64::MAX));
        let length = usize::try_from(end - at).expect("at most one block");
        let mut block = BytesMut::zeroed(length);
        self.file.read_exact_at(&mut block, at).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::Changed(SIZE),
            _ => ReadError::Io(error),
        })?;
        // The values of the groups are the server's business.
        let _ = self.hasher.update(&block);
        self.check_known()?;
        Ok(block.freeze())
    }

    /// At the end of the file: its digests, if it is still the file that was opened.
    pub(super) fn finish(&mut self) -> Result<Digests, ReadError> {
        debug_assert_eq!(self.position(), self.clip.size_bytes);
        self.check_known()?;
        let now = clip_file(self.clip.path.clone(), &self.file.metadata()?);
        if now.size_bytes != self.clip.size_bytes {
            return Err(ReadError::Changed(SIZE));
        }
        if now.modified_ns != self.clip.modified_ns {
            return Err(ReadError::Changed(TIME));
        }
        Ok(self.digests())
    }

    fn check_known(&self) -> Result<(), ReadError> {
        let at = self.position();
        let mut here = self.known.iter().filter(|(place, _)| *place == at).peekable();
        if here.peek().is_none() {
            return Ok(());
        }
        let digests = self.digests();
        let same = here.all(|(_, known)| *known == digests);
        same.then_some(()).ok_or(ReadError::Changed(BYTES))
    }
}

fn clip_file(path: PathBuf, metadata: &Metadata) -> ClipFile {
    let seconds = metadata.mtime().saturating_mul(1_000_000_000);
    ClipFile {
        path,
        size_bytes: metadata.len(),
        modified_ns: seconds.saturating_add(metadata.mtime_nsec()),
    }
}

fn resumed(state: &HashState) -> ContentHasher {
    ContentHasher::resume(state).expect("a state of this very version")
}

fn digests_of(hasher: &ContentHasher) -> Digests {
    resumed(&hasher.state()).finish().0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file_of(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip");
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    fn pattern(size: usize) -> Vec<u8> {
        (0..size).map(|i| (i * 31 % 251) as u8).collect()
    }

    fn read_all(reader: &mut ClipReader) -> Result<Vec<u8>, ReadError> {
        let mut out = Vec::new();
        let end = reader.clip().size_bytes;
        while reader.position() < end {
            out.extend_from_slice(&reader.read_block(end)?);
        }
        Ok(out)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn any_going_back_and_on_gives_the_digests_of_the_file(
            size in 0usize..900_000,
            moves in prop::collection::vec((0u64..900_000, any::<bool>()), 0..8),
        ) {
            let bytes = pattern(size);
            let (_folder, path) = file_of(&bytes);
            let mut reader = ClipReader::open(&path).unwrap();
            for (offset, read_on) in moves {
                let offset = offset.min(size as u64);
                reader.go_to(offset).unwrap();
                prop_assert_eq!(reader.digests(), Digests::of(&bytes[..offset as usize]));
                if read_on && offset < size as u64 {
                    let block = reader.read_block(size as u64).unwrap();
                    let start = offset as usize;
                    prop_assert_eq!(&block[..], &bytes[start..start + block.len()]);
                }
            }
            let from = reader.position() as usize;
            prop_assert_eq!(&read_all(&mut reader).unwrap()[..], &bytes[from..]);
            prop_assert_eq!(reader.finish().unwrap(), Digests::of(&bytes));
        }
    }

    #[test]
    fn a_byte_altered_between_two_readings_is_noticed() {
        let bytes = pattern(700_000);
        let (_folder, path) = file_of(&bytes);
        for (name, anchor, altered) in
            [("before_the_anchor_is_not_read_again", 0u64, 5usize), ("after", 300_000, 400_000)]
        {
            std::fs::write(&path, &bytes).unwrap();
            let mut reader = ClipReader::open(&path).unwrap();
            reader.go_to(anchor).unwrap();
            read_all(&mut reader).unwrap();
            let mut other = bytes.clone();
            other[altered] ^= 1;
            std::fs::write(&path, other).unwrap();
            reader.go_to(anchor).unwrap();
            let again = read_all(&mut reader);
            assert!(matches!(again, Err(ReadError::Changed(BYTES))), "{name}: {again:?}");
        }
    }

    #[test]
    fn what_an_earlier_run_read_is_held_against_this_one() {
        let bytes = pattern(700_000);
        let (_folder, path) = file_of(&bytes);
        let mut good = ClipReader::open(&path).unwrap();
        good.expect(300_001, Digests::of(&bytes[..300_001]));
        good.go_to(500_000).unwrap();
        let mut bad = ClipReader::open(&path).unwrap();
        bad.expect(300_001, Digests::of(b"other"));
        assert!(matches!(bad.go_to(500_000), Err(ReadError::Changed(BYTES))));
        let mut bad_at_end = ClipReader::open(&path).unwrap();
        bad_at_end.expect(700_000, Digests::of(b"other"));
        assert!(matches!(bad_at_end.go_to(700_000), Err(ReadError::Changed(BYTES))));
    }

    #[test]
    fn a_file_that_grows_shrinks_or_is_touched_is_noticed() {
        let bytes = pattern(300_000);
        let (_folder, path) = file_of(&bytes);
        let append = |path: &Path| {
            let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
            std::io::Write::write_all(&mut file, b"x").unwrap();
        };
        let shrink = |path: &Path| {
            File::options().write(true).open(path).unwrap().set_len(9).unwrap();
        };
        let touch = |path: &Path| {
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        };
        type Change = fn(&Path);
        let cases: [(&str, Change, &str); 3] =
            [("grows", append, SIZE), ("shrinks", shrink, SIZE), ("touched", touch, TIME)];
        for (name, change, expected) in cases {
            std::fs::write(&path, &bytes).unwrap();
            let mut reader = ClipReader::open(&path).unwrap();
            change(&path);
            let end = read_all(&mut reader).and_then(|_| reader.finish());
            assert!(
                matches!(end, Err(ReadError::Changed(why)) if why == expected),
                "{name}: {end:?}"
            );
        }
    }

    #[test]
    fn folders_are_not_clips() {
        assert!(ClipReader::open(tempfile::tempdir().unwrap().path()).is_err());
    }
}
