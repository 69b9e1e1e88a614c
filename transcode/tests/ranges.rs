//! Long recordings in ranges through the real worker: what is joined has the pictures and the sound of what is made in one.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::process::Command;

use bytes::Bytes;
use support::*;
use transcode::Failure;
use transcode::protocol::{FailureCode, ProxyParameters, Recipe};
use transcode::ranges::{self, OneBehindTheOther};

/// Twelve seconds, and a picture that needs none before it every two; in ranges of four seconds or so.
const OPEN_GROUPS: &[&str] =
    &["-c:v", "libx264", "-g", "50", "-x264-params", "open-gop=1:bframes=3:b-adapt=0"];
const RANGE_S: f64 = 4.0;

fn twelve_seconds(codecs: &[&str], extension: &str) -> Bytes {
    let picture = "testsrc2=s=320x240:r=25:d=12,format=yuv420p";
    let sound = "sine=frequency=330:sample_rate=44100:d=12";
    let inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound];
    filmed(&[&inputs[..], codecs].concat(), extension)
}

/// Times of coded pictures that need none before them, in 1/90000 s from the start of the file, as `ffprobe` reads them.
fn keyframes(bytes: &[u8]) -> Vec<u64> {
    let source = file(bytes);
    let start = seconds(&ffprobe(bytes)["format"]["start_time"]);
    let entries = ["-select_streams", "v:0", "-show_entries", "packet=pts_time,flags"];
    let mut ffprobe = Command::new("ffprobe");
    let out = ffprobe.args(["-v", "error", "-of", "csv=p=0"]).args(entries).arg(source.path());
    let text = String::from_utf8(out.output().unwrap().stdout).unwrap();
    let key = |line: &str| {
        let (time, flags) = line.split_once(',')?;
        let time: f64 = time.parse().ok()?;
        flags.contains('K').then(|| ((time - start) * 90_000.0).round() as u64)
    };
    text.lines().filter_map(key).collect()
}

/// The viewing copy of `original`, with a range about every [`RANGE_S`].
fn in_ranges(original: &[u8]) -> Recipe {
    let mut from: Vec<u64> = Vec::new();
    for key in keyframes(original) {
        let last = from.last().copied().unwrap_or(0);
        if key - last >= (RANGE_S * 90_000.0) as u64 - 9000 {
            from.push(key);
        }
    }
    Recipe::Proxy(ProxyParameters { ranges_from_90k: from, ..Default::default() })
}

/// What each of the ranges gives, and what they are joined to.
async fn joined(recipe: &Recipe, original: &Bytes) -> Result<(Vec<Bytes>, Vec<u8>), Failure> {
    let mut made = Vec::new();
    for range in ranges::of(recipe) {
        made.push(run(range, original).await?.1.into());
    }
    let all = OneBehindTheOther(made);
    let (mut output, supervisor) =
        (Vec::new(), transcode::Supervisor::new(worker(), allowance()));
    run_one(&supervisor, ranges::joined(&all), &all, &mut output).await?;
    Ok((all.0, output))
}

/// Every decoded sample of sound.
fn samples(bytes: &[u8]) -> Bytes {
    ffmpeg(bytes, &["-map", "0:a", "-f", "f32le"], "raw")
}

/// Of each picture, how near it is to that of `original`, in dB.
fn nearness(made: &[u8], original: &[u8]) -> Vec<f64> {
    let (made, original) = (file(made), file(original));
    let log = tempfile::NamedTempFile::new().unwrap();
    let graph = format!(
        "[0:v]settb=1/90000,setpts=N[a];[1:v]settb=1/90000,setpts=N,format=yuv420p[b];[a][b]psnr=stats_file={}",
        log.path().display()
    );
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(made.path()).arg("-i").arg(original.path());
    let out = ffmpeg.args(["-lavfi", &graph, "-f", "null", "-"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = std::fs::read_to_string(log.path()).unwrap();
    let value = |line: &str| {
        let (_, rest) = line.split_once("psnr_avg:")?;
        let number = rest.split(' ').next()?;
        if number == "inf" { Some(100.0) } else { number.parse().ok() }
    };
    text.lines().filter_map(value).collect()
}

#[tokio::test]
async fn what_is_joined_has_the_pictures_and_the_sound_of_what_is_made_in_one() {
    let aac = ["-c:a", "aac"];
    let open = |more: &[&'static str]| [OPEN_GROUPS, &aac, more].concat();
    let mpeg2: &[&str] =
        &["-c:v", "mpeg2video", "-q:v", "4", "-g", "50", "-bf", "2", "-c:a", "mp2"];
    let mpeg4: &[&str] = &["-c:v", "mpeg4", "-q:v", "4", "-g", "50", "-c:a", "pcm_alaw"];
    let halves: &[&str] = &[
        "-vf", "interlace", "-c:v", "mpeg2video", "-q:v", "4", "-g", "50", "-flags", "+ildct+ilme", "-c:a", "mp2",
    ];
    let late: &[&str] = &["-af", "adelay=1500,asetpts=PTS+1.5/TB"];
    for (codecs, extension) in [
        (open(&[]), "mp4"),
        (open(&[]), "mkv"),
        (open(&[]), "ts"),
        (open(late), "mkv"),
        (mpeg2.to_vec(), "mpg"),
        (mpeg2.to_vec(), "ts"),
        (mpeg4.to_vec(), "avi"),
        (halves.to_vec(), "ts"),
        ([OPEN_GROUPS, &["-an"]].concat(), "mkv"),
    ] {
        let what = format!("{codecs:?} in {extension}");
        let original = twelve_seconds(&codecs, extension);
        let recipe = in_ranges(&original);
        let Recipe::Proxy(parameters) = &recipe else { panic!("{recipe:?}") };
        assert_eq!(parameters.ranges_from_90k.len(), 2, "{what}: {parameters:?}");
        let (parts, made) = joined(&recipe, &original).await.unwrap();
        let (_, whole) = proxy(&original).await;
        assert_eq!(complaints(&made), "", "{what}");

        let times = picture_times(&made);
        assert_eq!(times, picture_times(&whole), "{what}: each picture at its time");
        assert_eq!(times.len(), picture_times(&original).len(), "{what}: and none is missing");
        let (near, in_one) = (nearness(&made, &original), nearness(&whole, &original));
        assert_eq!(near.len(), times.len(), "{what}");
        // Its neighbours are farther from each picture than this by 10 dB and more.
        for (at, (near, in_one)) in near.iter().zip(&in_one).enumerate() {
            assert!(near + 6.0 > *in_one, "{what}: picture {at}: {near} dB, in one {in_one} dB");
        }
        let has_sound = stream(&ffprobe(&whole), "audio").is_some();
        assert_eq!(stream(&ffprobe(&made), "audio").is_some(), has_sound, "{what}");
        if has_sound {
            assert!(samples(&made) == samples(&whole), "{what}: the same sound");
            let starts = |bytes: &[u8]| ffprobe(bytes)["streams"][1]["start_time"].clone();
            assert_eq!(starts(&made), starts(&whole), "{what}");
        }
        let again = joined(&recipe, &original).await.unwrap();
        assert!(again == (parts, made), "{what}: the same bytes again");
    }
}

#[tokio::test]
async fn made_in_one_it_would_be_another_so_it_is_not() {
    let original = twelve_seconds(OPEN_GROUPS, "mkv");
    let failure = run(in_ranges(&original), &original).await.unwrap_err();
    let Failure::Declined { code, .. } = failure else { panic!("{failure:?}") };
    assert_eq!(code, FailureCode::Internal);
}
