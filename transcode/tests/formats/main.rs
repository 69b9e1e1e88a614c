//! What cameras, telephones and recorders write becomes something a person can play: the real supervisor and worker, what they make judged by
//! Debian's `ffprobe`, and played in Debian's Chromium. The table of it is `docs/formats/footage.md`;
//! `EXHIBIT_WRITE_DOCS=1 cargo test -p transcode --test formats` writes it anew.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod clips;
mod dhav;
mod page;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::Value;
use transcode::Failure;
use transcode::protocol::{Probe, Recipe, Report};
use transcode::recipe;

use crate::clips::{Clip, Gets, What};
use crate::support::browser::{self, Played};
use crate::support::{ffprobe, run_all, seconds, stream};

/// As many at once as the machine of CI has cores.
const AT_ONCE: usize = 2;
/// Of a length in seconds: a last piece of AAC, or a picture of which only the begin is known.
const TOLERANCE_S: f64 = 0.15;

/// A derivative, or why there is none.
type Made = Result<(Report, Vec<u8>), Failure>;

/// What came of one clip.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) gets: Gets,
    pub(crate) probe: Result<Probe, Failure>,
    made: Vec<(Recipe, Made)>,
    /// What a person plays, as `ffprobe` has it.
    pub(crate) judged: Option<Judged>,
    /// Pictures that `ffprobe` decodes of the original.
    pictures: u64,
    pub(crate) played: Played,
}

/// What `ffprobe` says of what is played.
pub(crate) struct Judged {
    pub(crate) size: (u64, u64),
    pub(crate) pictures: u64,
    pub(crate) seconds: f64,
    codecs: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_recorded_becomes_something_that_a_person_can_play() {
    let folder = tempfile::tempdir().unwrap();
    let (headings, clips): (Vec<_>, Vec<_>) = clips::groups().into_iter().unzip();
    let lengths: Vec<usize> = clips.iter().map(Vec::len).collect();
    let clips = clips.into_iter().flatten().enumerate();
    let rows = futures_util::stream::iter(clips).map(|(at, clip)| {
        let kept = folder.path().join(at.to_string());
        tokio::spawn(row(clip, kept))
    });
    let rows: Vec<_> = rows.buffered(AT_ONCE).map(|row| row.unwrap()).collect().await;
    let mut rows: Vec<Row> = rows;
    play(folder.path(), &mut rows);
    let wrong: Vec<_> = rows.iter().flat_map(wrong_with).collect();
    let mut rest = &rows[..];
    let groups = headings.into_iter().zip(lengths).map(|(heading, length)| {
        let (group, after) = rest.split_at(length);
        rest = after;
        (heading, group)
    });
    let page = page::of(&groups.collect::<Vec<_>>());
    assert!(wrong.is_empty(), "{wrong:#?}\n{page}");
    page::compare(&page);
}

/// Makes a clip, and all that follows from its probe.
async fn row(clip: Clip, kept: PathBuf) -> Row {
    let Clip { name, make, gets } = clip;
    let original = make();
    let probe = run_all(&[recipe::first()], &original).await.and_then(|mut ended| ended.remove(0));
    let probe = probe.map(|(_, json)| Probe::parse(&json).expect("a probe is well-formed"));
    let follows = match &probe {
        Ok(probe) => recipe::after(&recipe::media_text(probe)),
        Err(_) => Vec::new(),
    };
    let ended = match run_all(&follows, &original).await {
        Ok(ended) => ended,
        Err(failure) => follows.iter().map(|_| Err(failure.clone())).collect(),
    };
    let made: Vec<_> = follows.into_iter().zip(ended).collect();
    let played = Played::default();
    let mut row = Row { name, gets, probe, made, judged: None, pictures: 0, played };
    if let Some(shown) = row.shown(&original) {
        std::fs::write(&kept, &shown).unwrap();
        row.judged = Some(judge(&shown));
        row.pictures = pictures(&original);
    }
    row
}

impl Row {
    fn as_it_came(&self) -> bool {
        self.probe.as_ref().is_ok_and(|probe| probe.browser.plays)
    }

    /// What a person is given to play.
    fn shown(&self, original: &Bytes) -> Option<Bytes> {
        if self.as_it_came() {
            return Some(original.clone());
        }
        let (_, made) = self.played()?;
        match self.is_behind_front() {
            true => Some([made, &original[..]].concat().into()),
            false => Some(made.clone().into()),
        }
    }

    /// Whether it is the original, behind its front.
    pub(crate) fn is_behind_front(&self) -> bool {
        self.made("front").is_some()
    }

    /// What stands beside what is played; where the original is played as it came, nothing was done to it.
    pub(crate) fn notes(&self) -> &[String] {
        self.played().map_or(&[], |(report, _)| &report.notes)
    }

    fn played(&self) -> Option<&(Report, Vec<u8>)> {
        self.made("front").or_else(|| self.made("proxy"))
    }

    fn made(&self, kind: &str) -> Option<&(Report, Vec<u8>)> {
        let (_, made) = self.made.iter().find(|(recipe, _)| recipe.kind() == kind)?;
        made.as_ref().ok()
    }

    pub(crate) fn failures(&self) -> impl Iterator<Item = (&'static str, &Failure)> {
        let failed = self.made.iter().filter_map(|(recipe, made)| {
            made.as_ref().err().map(|failure| (recipe.kind(), failure))
        });
        self.probe.as_ref().err().map(|failure| ("probe", failure)).into_iter().chain(failed)
    }
}

/// How many `ffprobe` decodes.
fn pictures(video: &[u8]) -> u64 {
    let file = support::file(video);
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "quiet", "-count_frames", "-select_streams", "v:0", "-of", "csv=p=0"]);
    let out = ffprobe.args(["-show_entries", "stream=nb_read_frames"]).arg(file.path()).output();
    let text = String::from_utf8(out.unwrap().stdout).unwrap();
    text.lines().find_map(|line| line.trim_end_matches(',').parse().ok()).unwrap_or(0)
}

fn judge(shown: &[u8]) -> Judged {
    let probed = ffprobe(shown);
    let video = stream(&probed, "video");
    let pictures = video.map_or(0, |_| pictures(shown));
    let size = video.map_or((0, 0), shown_size);
    let codecs = probed["streams"].as_array().unwrap().iter();
    let codecs = codecs.map(|stream| stream["codec_name"].as_str().unwrap().to_owned()).collect();
    let length = &probed["format"]["duration"];
    let length = if length.is_null() { 0.0 } else { seconds(length) };
    Judged { size, pictures, seconds: length, codecs }
}

/// With square pixels, and upright.
fn shown_size(video: &Value) -> (u64, u64) {
    let (width, height) = (video["width"].as_u64().unwrap(), video["height"].as_u64().unwrap());
    let aspect = video["sample_aspect_ratio"].as_str().and_then(|text| text.split_once(':'));
    let parts = aspect.and_then(|(num, den)| Some((num.parse::<u64>().ok()?, den.parse().ok()?)));
    let (num, den) = parts.filter(|(num, den)| num * den > 0).unwrap_or((1, 1));
    let size = (width * num / den, height);
    let turned = video["side_data_list"].as_array().into_iter().flatten();
    let turned = turned.filter_map(|data| data["rotation"].as_i64()).any(|by| by % 180 != 0);
    if turned { (size.1, size.0) } else { size }
}

fn play(folder: &Path, rows: &mut [Row]) {
    let shown = rows.iter_mut().enumerate().filter(|(_, row)| row.judged.is_some());
    let mut shown: Vec<_> = shown.collect();
    let files = shown.iter().map(|(at, row)| (at.to_string(), row.gets.what == What::Still));
    let files: Vec<_> = files.collect();
    for ((_, row), played) in shown.iter_mut().zip(browser::play(folder, &files)) {
        row.played = played;
    }
}

/// What is not as it has to be.
fn wrong_with(row: &Row) -> Vec<String> {
    let Gets { what, size, pictures, seconds, sound, as_it_came, behind_front, notes, fails } =
        row.gets;
    let mut wrong = Vec::new();
    let mut check = |holds: bool, says: String| {
        if !holds {
            wrong.push(format!("{}: {says}", row.name));
        }
    };
    let failures: Vec<_> =
        row.failures().map(|(kind, f)| (kind, f.code(), f.to_string())).collect();
    if let What::Nothing(code) = what {
        let is_expected = matches!(&failures[..], [("probe", found, _)] if *found == code);
        check(is_expected && row.judged.is_none(), format!("{failures:?}"));
        return wrong;
    }
    let failed: Vec<_> = failures.iter().map(|(kind, ..)| *kind).collect();
    check(failed == fails, format!("{failures:?}"));
    check(row.as_it_came() == as_it_came, format!("the original is played: {}", row.as_it_came()));
    let is_behind = row.is_behind_front();
    let why = row.probe.as_ref().ok().and_then(|probe| probe.browser.why_no_front.as_ref());
    check(is_behind == behind_front, format!("behind a front: {is_behind} ({why:?})"));
    for note in notes {
        let is_there = row.notes().iter().any(|found| found.starts_with(note));
        check(is_there, format!("not noted: {note}: {:?}", row.notes()));
    }
    let Some(judged) = &row.judged else {
        check(false, "nothing to play".to_owned());
        return wrong;
    };
    let is_usual = |codec: &String| matches!(&codec[..], "h264" | "aac");
    let is_usual = what == What::Still || judged.codecs.iter().all(is_usual);
    check(is_usual, format!("{:?}", judged.codecs));
    let near = |one: f64| (one - seconds).abs() <= TOLERANCE_S.max(seconds / 50.0);
    let size = (u64::from(size.0), u64::from(size.1));
    check(judged.size == size, format!("{:?} for {size:?}", judged.size));
    let expected = pictures.unwrap_or(row.pictures);
    check(judged.pictures == expected, format!("{} pictures for {expected}", judged.pictures));
    check(what == What::Still || near(judged.seconds), format!("{} s, {seconds}", judged.seconds));
    let played = &row.played;
    let seen = (u64::from(played.width), u64::from(played.height));
    let is_to_the_end = near(played.reached) && near(played.seconds) && played.ready_state >= 2;
    check(played.error.is_none(), format!("{:?}", played.error));
    check(seen == size, format!("seen at {seen:?}, {size:?}"));
    check(what == What::Still || is_to_the_end, format!("{played:?}"));
    check(what == What::Sound || played.frames > 0, format!("{played:?}"));
    check((played.sound_bytes > 0) == sound, format!("{played:?}"));
    wrong
}
