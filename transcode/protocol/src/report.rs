//! What a finished job says about itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::job::WorkerFailure;

/// Longest name, version or note in a report.
pub const MAX_TEXT_CHARS: usize = 300;
/// Most entries of any list or map in a report or probe.
pub const MAX_ENTRIES: usize = 64;

/// What became of one recipe of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ended {
    /// The output is complete.
    Made(Report),
    /// There is none, and what was sent of it counts for nothing.
    Failed(WorkerFailure),
}

/// The worker's account of one output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub made_with: MadeWith,
    /// Things a reader of the derivative should know ("sound could not be decoded").
    pub notes: Vec<String>,
}

/// Tool, libraries and codecs: with the recipe's parameters, all that somebody needs to make the same bytes again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeWith {
    pub program: String,
    pub version: String,
    /// Library to version, `libavcodec` → `59.37.100`.
    pub libraries: BTreeMap<String, String>,
    /// What was used and how: `video` → `libx264 preset=veryfast crf=23 …`.
    pub codecs: BTreeMap<String, String>,
    pub threads: u32,
}

impl Ended {
    /// Whether every text and list is within its limit. The message of a failure is cut by whoever shows it.
    pub fn is_within_limits(&self) -> bool {
        match self {
            Self::Made(report) => report.is_within_limits(),
            Self::Failed(_) => true,
        }
    }
}

impl Report {
    /// Whether every text and list is within its limit.
    pub fn is_within_limits(&self) -> bool {
        let short = |text: &String| text.chars().count() <= MAX_TEXT_CHARS;
        let map = |map: &BTreeMap<String, String>| {
            map.len() <= MAX_ENTRIES && map.iter().all(|(k, v)| short(k) && short(v))
        };
        let made = &self.made_with;
        self.notes.len() <= MAX_ENTRIES
            && self.notes.iter().all(short)
            && short(&made.program)
            && short(&made.version)
            && map(&made.libraries)
            && map(&made.codecs)
    }
}
