//! The agent's journal: one line of JSON per step, on the disk before the next step is taken.
//!
//! Here: the lines, reading them back, the counter. Not here: what the steps mean (`upload`).
//! Invariants: a number of the counter belongs to one clip for ever (its line is durable before the number is used);
//! a last line torn by a power cut was never relied on and is dropped; any other unreadable line stops the agent,
//! because guessing could count an unsafe clip as safe.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use chain_of_custody::claim::{CapturedClaimed, Label};
use chain_of_custody::digest::{Digests, Sha256};
use chain_of_custody::ids::{ItemId, LeafIndex};
use serde::{Deserialize, Serialize};

use super::durable;
use super::error::AgentError;

/// Longer lines are not ours.
const MAX_LINE_BYTES: usize = 256 * 1024;
const NEVER_FAILS: &str = "a record has string keys and finite numbers only";

/// The agent's counter: one number per clip it has begun to read. A gap was lost after the agent read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct AgentSeq(pub(super) u64);

impl std::fmt::Display for AgentSeq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What the camera or the person at the dock says about a clip. Claims, passed on as such.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The camera's serial.
    #[serde(with = "as_text")]
    pub camera: Option<Label>,
    /// The recording's id.
    #[serde(with = "as_text")]
    pub recording: Option<Label>,
    /// By the camera's clock.
    #[serde(with = "as_text")]
    pub captured: Option<CapturedClaimed>,
    /// The camera's own counter.
    #[serde(with = "as_text")]
    pub source_seq: Option<Label>,
    /// It may be privileged, intimate, covert or a third party's.
    pub restricted: bool,
}

/// Which file, and in what state, a clip was when it was begun. Another size or time is another clip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClipFile {
    #[serde(with = "path_as_text")]
    pub(super) path: PathBuf,
    pub(super) size_bytes: u64,
    /// Modification time in nanoseconds since 1970.
    pub(super) modified_ns: i64,
}

/// One step, as one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Record {
    /// The agent has taken this clip on. Durable before the number is used anywhere.
    Begun { agent_seq: AgentSeq, file: ClipFile, claims: Claims },
    /// The server has given it an upload.
    Opened { agent_seq: AgentSeq, upload: String },
    /// The server holds the first `offset` bytes, which had these digests when they were read.
    Acknowledged { agent_seq: AgentSeq, offset: u64, digests: Digests },
    /// The latest progress receipt, as received.
    Progress { agent_seq: AgentSeq, note: String },
    /// The clip is read to its end and its manifest is signed and on disk.
    Manifested { agent_seq: AgentSeq, digests: Digests, manifest_sha256: Sha256 },
    /// How it ended.
    Ended { agent_seq: AgentSeq, ending: Ending },
}

/// How a clip ended. A later line for the same clip replaces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ending", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Ending {
    /// The receipt is verified and on disk.
    Safe { item: ItemId, entry: LeafIndex, duplicate: bool, receipt: String },
    /// The server keeps it apart because a claim failed.
    Quarantined { reason: String },
    /// The server refused it.
    Refused { reason: String },
    /// The file changed under our hands; this number ends here.
    Changed { reason: String },
    /// There is a receipt, and it does not prove what it must.
    Unproven { check: String },
}

/// Everything the journal says about one clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clip {
    pub(super) agent_seq: AgentSeq,
    pub(super) file: ClipFile,
    pub(super) claims: Claims,
    pub(super) upload: Option<String>,
    pub(super) acknowledged: Option<(u64, Digests)>,
    pub(super) progress: Option<String>,
    pub(super) manifested: Option<(Digests, Sha256)>,
    pub(super) ending: Option<Ending>,
}

impl Clip {
    fn new(agent_seq: AgentSeq, file: ClipFile, claims: Claims) -> Self {
        Self {
            agent_seq,
            file,
            claims,
            upload: None,
            acknowledged: None,
            progress: None,
            manifested: None,
            ending: None,
        }
    }
}

/// The open journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    clips: BTreeMap<AgentSeq, Clip>,
    next_seq: u64,
    /// After a failed write nothing more is written: what the disk holds is unknown.
    failed: bool,
}

impl Journal {
    /// Opens or creates the journal at `path`.
    ///
    /// # Errors
    /// [`AgentError::Journal`] naming the first line that cannot be read, or [`AgentError::State`] for the disk's.
    pub(super) fn open(path: &Path) -> Result<Self, AgentError> {
        let failed = |source| AgentError::State { path: path.to_owned(), source };
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        path.parent().map_or(Ok(()), durable::sync_folder).map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let (records, whole_bytes) = read_lines(&bytes)?;
        if whole_bytes < bytes.len() {
            file.set_len(whole_bytes as u64).map_err(failed)?;
            file.sync_all().map_err(failed)?;
            file.seek(SeekFrom::End(0)).map_err(failed)?;
        }
        let mut journal = Self { file, clips: BTreeMap::new(), next_seq: 0, failed: false };
        for (number, record) in records.into_iter().enumerate() {
            journal
                .apply(record)
                .map_err(|reason| AgentError::Journal { line: number + 1, reason })?;
        }
        Ok(journal)
    }

    /// Takes a clip on under a number never used before. The number is durable when this returns.
    pub(super) fn begin(&mut self, file: ClipFile, claims: Claims) -> Result<AgentSeq, AgentError> {
        let agent_seq = AgentSeq(self.next_seq);
        self.append(Record::Begun { agent_seq, file, claims })?;
        Ok(agent_seq)
    }

    /// Writes one step; it is on the disk when this returns.
    pub(super) fn append(&mut self, record: Record) -> Result<(), AgentError> {
        if self.failed {
            return Err(AgentError::JournalStopped);
        }
        let mut line = serde_json::to_vec(&record).expect(NEVER_FAILS);
        assert!(line.len() < MAX_LINE_BYTES, "every text in a record is limited where it comes in");
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            self.failed = true;
            tracing::error!(error = %source, "the agent's journal cannot be written");
            return Err(AgentError::JournalStopped);
        }
        self.apply(record).expect("steps are taken in order");
        Ok(())
    }

    /// What is known of one clip.
    pub(super) fn clip(&self, agent_seq: AgentSeq) -> Option<&Clip> {
        self.clips.get(&agent_seq)
    }

    /// The latest clip of this very file, with the same claims.
    pub(super) fn latest(&self, file: &ClipFile, claims: &Claims) -> Option<&Clip> {
        self.clips.values().rev().find(|clip| clip.file == *file && clip.claims == *claims)
    }

    /// The latest clip begun at `path` in another state of the file, unless it had ended well.
    pub(super) fn unfinished_other(&self, file: &ClipFile) -> Option<&Clip> {
        let latest = self.clips.values().rev().find(|clip| clip.file.path == file.path)?;
        (latest.file != *file && latest.ending.is_none()).then_some(latest)
    }

    fn apply(&mut self, record: Record) -> Result<(), &'static str> {
        if let Record::Begun { agent_seq, file, claims } = record {
            if agent_seq.0 < self.next_seq {
                return Err("a number of the counter is used twice");
            }
            self.next_seq = agent_seq.0 + 1;
            self.clips.insert(agent_seq, Clip::new(agent_seq, file, claims));
            return Ok(());
        }
        let unknown = "a step of a clip that was never begun";
        let clip = self.clips.get_mut(&record.agent_seq()).ok_or(unknown)?;
        match record {
            Record::Begun { .. } => {}
            Record::Opened { upload, .. } => {
                clip.upload = Some(upload);
                // What another upload held says nothing about this one.
                clip.acknowledged = None;
                clip.progress = None;
            }
            Record::Acknowledged { offset, digests, .. } => {
                clip.acknowledged = Some((offset, digests));
            }
            Record::Progress { note, .. } => clip.progress = Some(note),
            Record::Manifested { digests, manifest_sha256, .. } => {
                clip.manifested = Some((digests, manifest_sha256));
            }
            Record::Ended { ending, .. } => clip.ending = Some(ending),
        }
        Ok(())
    }
}

impl Record {
    fn agent_seq(&self) -> AgentSeq {
        match self {
            Self::Begun { agent_seq, .. }
            | Self::Opened { agent_seq, .. }
            | Self::Acknowledged { agent_seq, .. }
            | Self::Progress { agent_seq, .. }
            | Self::Manifested { agent_seq, .. }
            | Self::Ended { agent_seq, .. } => *agent_seq,
        }
    }
}

/// The records, and how many bytes of the file they are.
fn read_lines(bytes: &[u8]) -> Result<(Vec<Record>, usize), AgentError> {
    let mut records = Vec::new();
    let mut at = 0;
    while let Some(length) = bytes[at..].iter().position(|byte| *byte == b'\n') {
        let end = at + length + 1;
        match serde_json::from_slice(&bytes[at..end]) {
            Ok(record) => records.push(record),
            // The last line: torn before it was synced, so nothing was built on it.
            Err(_) if end == bytes.len() => return Ok((records, at)),
            Err(_) => {
                let reason = "not a record of this version";
                return Err(AgentError::Journal { line: records.len() + 1, reason });
            }
        }
        at = end;
    }
    Ok((records, at))
}

/// What has one text of its own, or null.
mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().map(T::to_string).serialize(serializer)
    }

    pub(super) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let parse = |text: String| text.parse().map_err(|_| D::Error::custom("not such a text"));
        text.map(parse).transpose()
    }
}

/// File names are bytes; JSON holds text. Percent-encoding keeps every byte, and ordinary names readable.
mod path_as_text {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
    use serde::{Deserialize, Deserializer, Serializer};

    const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

    pub(super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&percent_encode(path.as_os_str().as_bytes(), ENCODED))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        let text = String::deserialize(from)?;
        let bytes: Vec<u8> = percent_decode_str(&text).collect();
        Ok(PathBuf::from(OsString::from_vec(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    fn clip_file(name: &[u8]) -> ClipFile {
        let path = Path::new("/dock").join(std::ffi::OsStr::from_bytes(name));
        ClipFile { path, size_bytes: 9, modified_ns: 1_700_000_000_000_000_001 }
    }

    fn journal() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        (folder, path)
    }

    fn some_steps(journal: &mut Journal) -> AgentSeq {
        let seq = journal.begin(clip_file(b"a\xff\n%41.mp4"), Claims::default()).unwrap();
        let digests = Digests::of(b"x");
        for record in [
            Record::Opened { agent_seq: seq, upload: "/tus/1".into() },
            Record::Acknowledged { agent_seq: seq, offset: 5, digests },
            Record::Manifested { agent_seq: seq, digests, manifest_sha256: Sha256::of(b"m") },
        ] {
            journal.append(record).unwrap();
        }
        seq
    }

    #[test]
    fn reads_back_what_it_wrote_whatever_the_name() {
        let (_folder, path) = journal();
        let mut journal = Journal::open(&path).unwrap();
        let seq = some_steps(&mut journal);
        let before = journal.clip(seq).unwrap().clone();
        let after = Journal::open(&path).unwrap();
        assert_eq!(after.clip(seq), Some(&before));
        let file = clip_file(b"a\xff\n%41.mp4");
        assert_eq!(after.latest(&file, &Claims::default()), Some(&before));
        assert_eq!(after.latest(&clip_file(b"aA.mp4"), &Claims::default()), None);
    }

    #[test]
    fn a_number_is_never_used_again_wherever_the_journal_was_cut() {
        let (_folder, path) = journal();
        let mut journal = Journal::open(&path).unwrap();
        some_steps(&mut journal);
        let with_one = std::fs::metadata(&path).unwrap().len();
        some_steps(&mut journal);
        drop(journal);
        let bytes = std::fs::read(&path).unwrap();
        for cut in 0..=bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let mut journal = Journal::open(&path).unwrap();
            // Only a number whose line had not been acknowledged by the disk may come again.
            let durable = bytes[..cut]
                .split_inclusive(|b| *b == b'\n')
                .filter(|line| line.ends_with(b"\n") && line.starts_with(br#"{"step":"begun""#));
            let expected = durable.count() as u64;
            assert_eq!(expected == 2, cut as u64 > with_one && expected == 2, "cut {cut}");
            let seq = journal.begin(clip_file(b"new"), Claims::default()).unwrap();
            assert_eq!(seq, AgentSeq(expected), "cut {cut}");
            // And what follows a torn line is readable.
            let again = Journal::open(&path).unwrap();
            assert_eq!(again.clip(seq).unwrap().file, clip_file(b"new"), "cut {cut}");
        }
    }

    #[test]
    fn a_last_line_whose_middle_never_reached_the_disk_is_dropped() {
        let (_folder, path) = journal();
        some_steps(&mut Journal::open(&path).unwrap());
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&good[..], b"{\"step\":\"be\0\0\0\0\"}\n"].concat()).unwrap();
        let mut journal = Journal::open(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), good);
        assert_eq!(journal.begin(clip_file(b"b"), Claims::default()).unwrap(), AgentSeq(1));
    }

    #[test]
    fn damage_before_the_last_line_stops_the_agent() {
        let (_folder, path) = journal();
        some_steps(&mut Journal::open(&path).unwrap());
        let good = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = good.lines().collect();
        let cases = [
            ("garbage_line", format!("{}\nxx\n{}\n", lines[0], lines[1]), 2),
            ("unknown_step", format!("{{\"step\":\"guessed\"}}\n{good}"), 1),
            ("number_twice", format!("{good}{}\n", lines[0]), 5),
            ("never_begun", format!("{}\n{}\n", lines[1], lines[0]), 1),
        ];
        for (name, text, at) in cases {
            std::fs::write(&path, text).unwrap();
            match Journal::open(&path) {
                Err(AgentError::Journal { line, .. }) => assert_eq!(line, at, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_new_upload_forgets_what_the_old_one_held() {
        let (_folder, path) = journal();
        let mut journal = Journal::open(&path).unwrap();
        let seq = some_steps(&mut journal);
        journal.append(Record::Opened { agent_seq: seq, upload: "/tus/2".into() }).unwrap();
        let clip = journal.clip(seq).unwrap();
        assert_eq!((clip.acknowledged, clip.manifested.is_some()), (None, true));
    }

    #[test]
    fn a_full_disk_stops_the_journal_for_good() {
        let (_folder, path) = journal();
        let mut journal = Journal::open(&path).unwrap();
        journal.file = OpenOptions::new().append(true).open("/dev/full").unwrap();
        let begun = journal.begin(clip_file(b"a"), Claims::default());
        assert!(matches!(begun, Err(AgentError::JournalStopped)), "{begun:?}");
        journal.file = OpenOptions::new().append(true).open(&path).unwrap();
        let begun = journal.begin(clip_file(b"a"), Claims::default());
        assert!(matches!(begun, Err(AgentError::JournalStopped)), "{begun:?}");
    }
}
