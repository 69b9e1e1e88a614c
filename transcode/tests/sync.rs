//! Sound and picture stay together: flashes and beeps at the same moments, measured in the viewing copy by Debian's ffmpeg.
//!
//! `cargo test -p transcode --test sync -- --nocapture` prints the largest distance found.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![allow(clippy::print_stdout, reason = "what was measured is for people to read")]

mod support;

use std::process::Command;

use bytes::Bytes;
use support::*;

/// Farther apart, people see it.
const LIMIT_S: f64 = 0.040;
const SIZE: &str = "64x48";
/// What sound is measured at.
const SAMPLES: f64 = 8000.0;
/// A flash and a beep last so long.
const LASTS_S: f64 = 0.2;
const TEN_MINUTES: u32 = 600;

/// A recording in which flash and beep come together.
struct Recording {
    rate: (u32, u32),
    /// Pictures from one flash to the next.
    every: u32,
    seconds: u32,
    sound_rate: u32,
    /// How much longer sound lasts by its time stamps than by its samples.
    stretch: f64,
    encoded: &'static [&'static str],
    extension: &'static str,
}

impl Recording {
    fn made(&self) -> Bytes {
        let (num, den) = self.rate;
        let (every, seconds, stretch) = (self.every, self.seconds, self.stretch);
        let period = f64::from(every) * f64::from(den) / f64::from(num);
        let lit = (LASTS_S * f64::from(num) / f64::from(den)) as u32;
        let picture = format!(
            "color=black:s={SIZE}:r={num}/{den}:d={seconds},drawbox=color=white:t=fill:enable='lt(mod(n,{every}),{lit})'"
        );
        let sound = format!(
            "aevalsrc='sin(2*PI*1000*t)*lt(mod(t*{stretch},{period}),{LASTS_S})/2':s={}:d={seconds},asetpts=PTS*{stretch}",
            self.sound_rate
        );
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("recording").with_extension(self.extension);
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &sound]);
        ffmpeg.args(self.encoded).args(["-threads", "1"]).arg(&target);
        let out = ffmpeg.output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        std::fs::read(target).unwrap().into()
    }

    /// Makes the viewing copy, and measures how far each flash is from its beep, at most.
    async fn measure(&self) -> f64 {
        let (finished, made) = proxy(&self.made()).await;
        let (flashes, beeps) = (flashes(&made), beeps(&made));
        let flashed = self.seconds * self.rate.0 / self.rate.1 / self.every;
        assert!(flashes.len() as u32 >= flashed, "{} of {flashed}", flashes.len());
        let notes = finished.report.notes;
        let farthest = farthest(&flashes, &beeps);
        println!(
            "{}: {} flashes, at most {:.1} ms, {notes:?}",
            self.extension,
            flashes.len(),
            farthest * 1e3
        );
        farthest
    }
}

fn farthest(flashes: &[f64], beeps: &[f64]) -> f64 {
    // Sound that is stretched beeps once more behind the last picture.
    assert!(beeps.len() >= flashes.len(), "{flashes:?}\n{beeps:?}");
    let apart = flashes.iter().zip(beeps).map(|(flash, beep)| (flash - beep).abs());
    apart.fold(0.0, f64::max)
}

/// When the picture turns white.
fn flashes(video: &[u8]) -> Vec<f64> {
    let gray = ["-vf", "scale=1:1,format=gray", "-vsync", "passthrough", "-f", "rawvideo"];
    let pixels = ffmpeg(video, &gray, "raw");
    let times = packet_times(video);
    assert_eq!(pixels.len(), times.len());
    let begins =
        (0..pixels.len()).filter(|at| pixels[*at] > 128 && (*at == 0 || pixels[at - 1] <= 128));
    begins.map(|at| times[at]).collect()
}

/// Of a viewing copy, in which pictures lie in the order they are shown.
fn packet_times(video: &[u8]) -> Vec<f64> {
    let file = file(video);
    let what = ["-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts_time"];
    let judge =
        Command::new("ffprobe").args(what).args(["-of", "csv=p=0"]).arg(file.path()).output();
    let text = String::from_utf8(judge.unwrap().stdout).unwrap();
    text.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect()
}

/// When it begins to sound after silence, counted from zero.
fn beeps(video: &[u8]) -> Vec<f64> {
    let filled = "aresample=8000:async=1:first_pts=0:min_hard_comp=0.005";
    // Without `-copyts` all is counted from whichever comes first, sound or picture.
    let raw = ffmpeg(video, &["-copyts", "-vn", "-af", filled, "-ac", "1", "-f", "s16le"], "raw");
    let loud = raw.chunks_exact(2).enumerate().filter_map(|(at, s)| {
        (i16::from_le_bytes([s[0], s[1]]).unsigned_abs() > 3000).then_some(at as f64 / SAMPLES)
    });
    let mut begins = Vec::new();
    let mut last = f64::NEG_INFINITY;
    for at in loud {
        if at - last > LASTS_S {
            begins.push(at);
        }
        last = at;
    }
    begins
}

/// A rate that no clock divides, and sound at a rate that is converted.
#[tokio::test]
async fn ten_minutes_at_29_97_pictures_and_44_1_khz_stay_within_40_ms() {
    let recording = Recording {
        rate: (30_000, 1001),
        every: 600,
        seconds: TEN_MINUTES,
        sound_rate: 44_100,
        stretch: 1.0,
        encoded: &["-c:v", "mpeg4", "-c:a", "libmp3lame"],
        extension: "mkv",
    };
    let farthest = recording.measure().await;
    assert!(farthest <= LIMIT_S, "{farthest} s");
}

/// A transport stream whose clock does not begin at zero.
#[tokio::test]
async fn ten_minutes_that_start_late_stay_within_40_ms() {
    let recording = Recording {
        rate: (25, 1),
        every: 500,
        seconds: TEN_MINUTES,
        sound_rate: 48_000,
        stretch: 1.0,
        encoded: &["-c:v", "mpeg2video", "-c:a", "mp2", "-output_ts_offset", "5000"],
        extension: "ts",
    };
    let farthest = recording.measure().await;
    assert!(farthest <= LIMIT_S, "{farthest} s");
}

/// A recorder whose sound is slower than it says: its time stamps count, not its samples.
#[tokio::test]
async fn sound_that_strays_from_its_time_stamps_is_put_back() {
    let recording = Recording {
        rate: (25, 1),
        every: 50,
        seconds: 120,
        sound_rate: 8000,
        stretch: 1.002,
        encoded: &["-c:v", "mpeg4", "-c:a", "pcm_s16le"],
        extension: "mkv",
    };
    let farthest = recording.measure().await;
    assert!(farthest <= LIMIT_S, "{farthest} s");
}

/// A recorder that was started anew: its clock jumps back, then ahead by an hour.
#[tokio::test]
async fn what_is_joined_after_a_jump_stays_together() {
    for (encoded, extension) in [
        (
            &[
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-pix_fmt",
                "yuv420p",
                "-bf",
                "2",
                "-c:a",
                "aac",
            ][..],
            "ts",
        ),
        (&["-c:v", "mpeg2video", "-c:a", "mp2"][..], "vob"),
    ] {
        let part = |offset: &str| {
            let plain = Recording {
                rate: (25, 1),
                every: 50,
                seconds: 4,
                sound_rate: 48_000,
                stretch: 1.0,
                encoded: &[],
                extension: "avi",
            };
            let shifted = [encoded, &["-output_ts_offset", offset]].concat();
            ffmpeg(&plain.lossless(), &shifted, extension)
        };
        let joined = [part("100"), part("7"), part("3600")].concat();
        let (finished, made) = proxy(&joined.into()).await;
        let notes = finished.report.notes;
        assert!(
            notes.iter().any(|note| note.starts_with("jumps of the time stamps, joined: 2")),
            "{notes:?}"
        );
        let (flashes, beeps) = (flashes(&made), beeps(&made));
        assert_eq!(flashes.len(), 6, "{flashes:?}");
        let apart = farthest(&flashes, &beeps);
        println!("joined {extension}: at most {:.1} ms, {notes:?}", apart * 1e3);
        assert!(apart <= LIMIT_S, "{flashes:?} {beeps:?}");
        assert_eq!(packet_times(&made).len(), 300, "no picture is lost");
        let length = seconds(&ffprobe(&made)["format"]["duration"]);
        assert!((length - 12.0).abs() < 0.5, "{length}");
    }
}

impl Recording {
    /// For a second encoder.
    fn lossless(&self) -> Bytes {
        let encoded = &["-c:v", "rawvideo", "-pix_fmt", "yuv420p", "-c:a", "pcm_s16le"];
        Recording { encoded, ..*self }.made()
    }
}
