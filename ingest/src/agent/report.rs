//! The answer to "can I go?".

use std::fmt;
use std::path::PathBuf;

use chain_of_custody::ids::{ItemId, LeafIndex};

/// How every clip of a push stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushReport {
    /// In the order they were given, each file once.
    pub clips: Vec<ClipReport>,
}

/// How one clip stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipReport {
    pub path: PathBuf,
    pub size_bytes: u64,
    pub standing: Standing,
}

/// Where one clip is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// A verified receipt for exactly these bytes is on this machine's disk.
    Safe(Safe),
    /// Not all of it is there yet; the next run goes on.
    Waiting { reason: String },
    /// A person has to look.
    Problem(Problem),
}

/// What the verified receipt says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Safe {
    pub item: ItemId,
    pub entry: LeafIndex,
    /// The server held the same clip from the same source already.
    pub duplicate: bool,
    /// Copies in separate failure domains, as the receipt states it (`-` where it does not).
    pub copies: String,
    /// The receipt's file.
    pub receipt: PathBuf,
    /// Who vouches, in words.
    pub rests_on: Vec<String>,
}

/// Why a clip is not safe and will not become so by waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The file cannot be read (or is none).
    Unreadable { reason: String },
    /// The file changed while it was being read. Push it again when it rests.
    Changed { reason: String },
    /// The server refused it for good.
    Refused { reason: String },
    /// The server keeps it apart because a claim failed.
    Quarantined { reason: String },
    /// The receipt does not prove what it must.
    Unproven { check: String },
}

impl PushReport {
    /// How many clips are safe, waiting and problems.
    pub fn counts(&self) -> Counts {
        let count =
            |is: fn(&Standing) -> bool| self.clips.iter().filter(|c| is(&c.standing)).count();
        Counts {
            safe: count(|standing| matches!(standing, Standing::Safe(_))),
            waiting: count(|standing| matches!(standing, Standing::Waiting { .. })),
            problems: count(|standing| matches!(standing, Standing::Problem(_))),
        }
    }

    /// Whether the camera's copies are no longer the only ones.
    pub fn may_leave(&self) -> bool {
        self.counts().safe == self.clips.len()
    }

    /// 0: all safe. 1: some are not. (2, "could not tell", is an [`AgentError`](super::AgentError).)
    pub fn exit_code(&self) -> u8 {
        u8::from(!self.may_leave())
    }
}

/// How many clips stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub safe: usize,
    pub waiting: usize,
    pub problems: usize,
}

/// The dock's last words: one line if all is well; else each clip that is not safe, and then that line.
impl fmt::Display for PushReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unsafe_clips = self.clips.iter().filter(|c| !matches!(c.standing, Standing::Safe(_)));
        for clip in unsafe_clips {
            // A name is data: control characters in it must not reach a terminal.
            writeln!(f, "NOT SAFE {:?}: {}", clip.path, clip.standing)?;
        }
        let Counts { safe, waiting, problems } = self.counts();
        let all = self.clips.len();
        let noun = if problems == 1 { "problem" } else { "problems" };
        let may = if self.may_leave() { "You may leave." } else { "Do not leave yet." };
        write!(f, "{safe} of {all} safe. {waiting} waiting. {problems} {noun}. {may}")
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Safe(Safe { duplicate: false, entry, .. }) => write!(f, "safe, entry {entry}"),
            Self::Safe(Safe { entry, .. }) => {
                write!(f, "safe, held already, entry {entry}")
            }
            Self::Waiting { reason } => write!(f, "waiting: {reason}"),
            Self::Problem(problem) => problem.fmt(f),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { reason } => write!(f, "it cannot be read: {reason}"),
            Self::Changed { reason } => write!(f, "it changed while it was being read: {reason}"),
            Self::Refused { reason } => f.write_str(reason),
            Self::Quarantined { reason } => {
                write!(f, "the server keeps it in quarantine: {reason}. Do not wipe it")
            }
            Self::Unproven { check } => write!(f, "its receipt proves nothing: {check}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(number: u8, standing: Standing) -> ClipReport {
        ClipReport { path: format!("/dock/{number}.mp4").into(), size_bytes: 1, standing }
    }

    fn safe() -> Standing {
        Standing::Safe(Safe {
            item: "0193a7c2-0000-7000-8000-000000000001".parse().unwrap(),
            entry: LeafIndex(7),
            duplicate: false,
            copies: "1".into(),
            receipt: "r".into(),
            rests_on: vec![],
        })
    }

    #[test]
    fn says_exactly_the_words_that_let_an_officer_go() {
        let report = PushReport { clips: (0..17).map(|n| clip(n, safe())).collect() };
        assert_eq!(report.to_string(), "17 of 17 safe. 0 waiting. 0 problems. You may leave.");
        assert_eq!(report.exit_code(), 0);
    }

    #[test]
    fn names_each_clip_that_is_not_safe() {
        let waiting = Standing::Waiting { reason: "no connection to the server".into() };
        let quarantined =
            Standing::Problem(Problem::Quarantined { reason: "manifest-mismatch".into() });
        let report =
            PushReport { clips: vec![clip(1, safe()), clip(2, waiting), clip(3, quarantined)] };
        assert_eq!(
            report.to_string(),
            "NOT SAFE \"/dock/2.mp4\": waiting: no connection to the server\n\
             NOT SAFE \"/dock/3.mp4\": the server keeps it in quarantine: manifest-mismatch. Do not wipe it\n\
             1 of 3 safe. 1 waiting. 1 problem. Do not leave yet."
        );
        assert_eq!(report.exit_code(), 1);
    }

    #[test]
    fn nothing_pushed_is_nothing_unsafe() {
        let report = PushReport { clips: vec![] };
        assert_eq!(report.to_string(), "0 of 0 safe. 0 waiting. 0 problems. You may leave.");
    }
}
