//! `docs/formats/footage.md`: one line for each clip.

use std::path::{Path, PathBuf};

use transcode::protocol::Probe;
use transcode::protocol::probe::{Stream, StreamKind, Verdict};

use crate::Row;
use crate::clips::What;

/// Asks for the page to be written anew.
const WRITE_ENV: &str = "EXHIBIT_WRITE_DOCS";

const HEAD: &str = "\
# Footage: what is read, and what becomes of it

Written by `transcode/tests/formats`: Debian's `ffmpeg` makes each clip, the worker makes what follows from its probe, `ffprobe` counts what a person plays,
and Chromium plays it to its end. `EXHIBIT_WRITE_DOCS=1 cargo test -p transcode --test formats` writes this page anew; without it the test
fails where the page says anything else than what came out.

\"Original\" under *plays* means that browsers play the file as it came, or behind a [front](front.md); otherwise it is the viewing copy. Of everything with pictures a poster, thumbnails and the lists of frames and
scenes are made too, of everything with sound a waveform; where one of them fails, the line says so. Clips are of two seconds, so they show what is
read, not how well a camera keeps to its format.

What is not read: anything outside this list and what libavformat's demuxers of the same names take; playlists, and other files that name files; encrypted
footage; formats of single makers that `ffmpeg` does not know, which need their maker's player.
";

/// The page.
pub(crate) fn of(groups: &[(&str, &[Row])]) -> String {
    let mut page = HEAD.to_owned();
    for (heading, rows) in groups {
        page += &format!("\n## {heading}\n\n");
        page += "| footage | what the probe says | plays | notes |\n|---|---|---|---|\n";
        for row in *rows {
            let cells = [row.name.to_owned(), probed(row), plays(row), notes(row)];
            let cells = cells.map(|cell| without_bytes(&cell.replace('|', "\\|")));
            page += &format!("| {} |\n", cells.join(" | "));
        }
    }
    page
}

/// How many bytes a clip has depends on the processor that encoded it.
fn without_bytes(cell: &str) -> String {
    let words: Vec<&str> = cell.split(' ').collect();
    let is_count = |at: usize| words.get(at + 1).is_some_and(|next| next.starts_with("bytes"));
    let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let word = |(at, word)| if is_count(at) && is_number(word) { "so many" } else { word };
    words.iter().copied().enumerate().map(word).collect::<Vec<_>>().join(" ")
}

/// Writes the page where that was asked for, or else compares it.
pub(crate) fn compare(page: &str) {
    if std::env::var_os(WRITE_ENV).is_some() {
        std::fs::write(path(), page).unwrap();
    }
    let written = std::fs::read_to_string(path()).unwrap_or_default();
    let differ = written.lines().zip(page.lines()).find(|(written, made)| written != made);
    assert!(differ.is_none(), "{differ:#?}: {WRITE_ENV}=1 writes {}", path().display());
    assert_eq!(written.lines().count(), page.lines().count(), "{WRITE_ENV}=1 writes it anew");
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats/footage.md")
}

fn probed(row: &Row) -> String {
    let Ok(probe) = &row.probe else { return "not read".to_owned() };
    let container = probe.container.split(',').next().unwrap_or_default();
    let streams = probe.streams.iter().map(stream).collect::<Vec<_>>().join("; ");
    let length = probe.duration_us.map(|us| format!("; {:.1} s", us as f64 / 1e6));
    format!("`{container}`: {streams}{}{}", length.unwrap_or_default(), covers(probe))
}

fn stream(stream: &Stream) -> String {
    let codec = &stream.codec;
    match (&stream.video, &stream.audio) {
        (Some(video), _) => {
            let turned = match video.rotation_degrees {
                0 => String::new(),
                degrees => format!(", turned {degrees}°"),
            };
            let variable = if video.variable_frame_rate { ", variable rate" } else { "" };
            let (width, height, format) = (video.width, video.height, &video.pixel_format);
            format!("{codec} {width}x{height} {format}{turned}{variable}")
        }
        (_, Some(audio)) => {
            let channels = if audio.channels == 1 { "mono" } else { "stereo" };
            let channels = match audio.channels {
                ..=2 => channels.to_owned(),
                more => format!("{more} channels"),
            };
            format!("{codec} {} Hz {channels}", audio.sample_rate_hz)
        }
        _ if stream.kind == StreamKind::Data => "data".to_owned(),
        _ => codec.clone(),
    }
}

fn covers(probe: &Probe) -> String {
    match probe.coverage.verdict {
        Verdict::Complete => "; complete".to_owned(),
        Verdict::CannotTell => "; declares no length".to_owned(),
        Verdict::Truncated => format!("; **truncated**: {}", probe.coverage.reasons.join(", ")),
    }
}

fn plays(row: &Row) -> String {
    let (Some(judged), Ok(probe)) = (&row.judged, &row.probe) else { return "**no**".to_owned() };
    let of = match (probe.browser.plays, row.is_behind_front()) {
        (true, _) => "original",
        (false, true) => "original behind a front",
        (false, false) => "viewing copy",
    };
    let (width, height) = judged.size;
    let size = format!("{width}x{height}");
    let (pictures, length) = (judged.pictures, judged.seconds);
    let many = if pictures == 1 { "picture" } else { "pictures" };
    let sound = if row.played.sound_bytes > 0 { ", sound" } else { "" };
    match row.gets.what {
        What::Still => format!("{of}: {size}"),
        What::Sound => format!("{of}: sound, {length:.1} s"),
        _ => format!("{of}: {size}, {pictures} {many}, {length:.1} s{sound}"),
    }
}

fn notes(row: &Row) -> String {
    let failures = row.failures().map(|(kind, failure)| format!("{kind}: {failure}"));
    row.notes().iter().cloned().chain(failures).collect::<Vec<_>>().join("; ")
}
