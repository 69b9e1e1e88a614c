//! Long recordings in ranges through the real worker: what is joined has the pictures and the sound of what is made in one.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use support::*;
use transcode::Failure;
use transcode::protocol::{FailureCode, ProxyParameters, ProxyRangeParameters, Range, Recipe};
use transcode::ranges::{self, OneBehindTheOther};
use transcode::source::RangeSource;

/// Twelve seconds, and a picture that needs none before it every two; in ranges of four seconds or so.
const OPEN_GROUPS: &[&str] =
    &["-c:v", "libx264", "-g", "50", "-x264-params", "open-gop=1:bframes=3:b-adapt=0"];
const RANGE_S: f64 = 4.0;
const SOUGHT_WRONGLY: &str = "avi, sought wrongly";

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
    let (mut output, supervisor) = (Vec::new(), transcode::Supervisor::new(worker(), allowance()));
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
        "-vf",
        "interlace",
        "-c:v",
        "mpeg2video",
        "-q:v",
        "4",
        "-g",
        "50",
        "-flags",
        "+ildct+ilme",
        "-c:a",
        "mp2",
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
        (mpeg4.to_vec(), SOUGHT_WRONGLY),
    ] {
        let what = format!("{codecs:?} in {extension}");
        let original = match extension {
            // Copied from another container it has empty pictures in between, and libav counts them otherwise after it has sought.
            SOUGHT_WRONGLY => ffmpeg(&twelve_seconds(&codecs, "mkv"), &["-c", "copy"], "avi"),
            extension => twelve_seconds(&codecs, extension),
        };
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

/// What workers call ranges of one recording may be anything.
#[tokio::test]
async fn what_does_not_fit_together_is_not_joined() {
    let original = twelve_seconds(OPEN_GROUPS, "mkv");
    let larger = ffmpeg(&original, &["-vf", "scale=400:300", "-c:a", "copy"], "mkv");
    let recipe = in_ranges(&original);
    let (parts, _) = joined(&recipe, &original).await.unwrap();
    let (others, _) = joined(&in_ranges(&larger), &larger).await.unwrap();
    let swapped = [&parts[1], &parts[0], &parts[2], &parts[3]];
    let mixed = [&parts[0], &others[1], &parts[2], &parts[3]];
    let foreign = [&parts[0], &parts[1], &parts[2], &original];
    for (what, parts) in [("swapped", swapped), ("mixed", mixed), ("foreign", foreign)] {
        let all = OneBehindTheOther(parts.map(Clone::clone).to_vec());
        let supervisor = transcode::Supervisor::new(worker(), allowance());
        let made = run_one(&supervisor, ranges::joined(&all), &all, &mut Vec::new()).await;
        let failure = made.expect_err(what);
        let Failure::Declined { code, .. } = failure else { panic!("{what}: {failure:?}") };
        assert_eq!(code, FailureCode::Internal, "{what}");
    }
}

/// Wherever ranges begin, each picture is in one of them.
#[tokio::test]
async fn a_range_that_begins_at_no_picture_loses_none() {
    let original = twelve_seconds(&[OPEN_GROUPS, &["-an"]].concat(), "mkv");
    let whole = picture_times(&proxy(&original).await.1);
    // A picture that needs others before it; and between two.
    for ranges_from_90k in [vec![207_000], vec![207_001, 700_001]] {
        let recipe = Recipe::Proxy(ProxyParameters { ranges_from_90k, ..Default::default() });
        let (parts, made) = joined(&recipe, &original).await.unwrap();
        assert_eq!(picture_times(&made), whole, "{} ranges", parts.len());
        assert_eq!(complaints(&made), "");
    }
}

/// A source that counts what is read of it.
struct Counted(Bytes, AtomicU64);

impl RangeSource for Counted {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    async fn read(&self, range: std::ops::Range<u64>) -> std::io::Result<Bytes> {
        self.1.fetch_add(range.end - range.start, Ordering::Relaxed);
        Ok(self.0.slice(range.start as usize..range.end as usize))
    }
}

#[tokio::test]
async fn what_lies_before_a_range_is_not_read() {
    let picture = "testsrc2=s=640x480:r=10:d=50,noise=alls=60:allf=t";
    let coded = ["-c:v", "mpeg4", "-b:v", "9M", "-g", "20"];
    let coded = [&coded[..], &["-sc_threshold", "1000000000", "-c:a", "mp2"]].concat();
    let input = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine=d=50"];
    for extension in ["mkv", "avi", "mp4", "ts"] {
        let original = filmed(&[&input[..], &coded].concat(), extension);
        let keys = keyframes(&original);
        let (from, to) = (keys[keys.len() - 4], keys[keys.len() - 3]);
        let start = seconds(&ffprobe(&original)["format"]["start_time"]);
        let times = picture_times(&original).into_iter();
        let times = times.map(|time| ((time - start) * 90_000.0).round() as u64);
        let pictures = times.filter(|time| (from..to).contains(time)).count();
        let range = Range::Pictures { from_90k: Some(from), to_90k: Some(to) };
        let recipe = Recipe::ProxyRange(ProxyRangeParameters { copy: Default::default(), range });
        let source = Counted(original, AtomicU64::new(0));
        let (mut output, supervisor) =
            (Vec::new(), transcode::Supervisor::new(worker(), allowance()));
        run_one(&supervisor, recipe, &source, &mut output).await.unwrap();
        assert_eq!(picture_times(&output).len(), pictures, "{extension}");
        let (read, all) = (source.1.into_inner(), source.0.len() as u64);
        assert!(all > 40 << 20, "{extension}: {all}");
        // MPEG-TS has no index: it is looked for a beginning from 15 seconds before.
        assert!(read < all * 2 / 3, "{extension}: {read} of {all} bytes");
    }
}

#[tokio::test]
async fn ranges_begin_where_a_recording_is_long_and_steady() {
    let small = |seconds: u32, rate: u32, codecs: &[&str], extension: &str| {
        let picture = format!("testsrc2=s=64x48:r={rate}:d={seconds}");
        let inputs = ["-f", "lavfi", "-i", &picture, "-c:v"];
        filmed(&[&inputs[..], codecs].concat(), extension)
    };
    let mpeg4 = ["mpeg4", "-g", "50", "-bf", "2"];
    let mpeg2 = ["mpeg2video", "-g", "75", "-bf", "2"];
    let from = async |original: &Bytes| probe(original).await.ranges_from_90k;

    let long = small(950, 5, &mpeg4, "mkv");
    let keys = keyframes(&long);
    let begins = from(&long).await;
    assert_eq!(begins.len(), 2, "{begins:?}");
    assert!(begins.iter().all(|from| keys.contains(from)), "{begins:?}");
    for (begins, at_least_s) in begins.iter().zip([300, 600]) {
        assert!((0..=20).contains(&(begins / 90_000 - at_least_s)), "{begins} {at_least_s}");
    }
    let recording = small(310, 25, &mpeg2, "ts");
    let anew = Bytes::from([&recording[..], &recording].concat());
    let whole = small(620, 25, &mpeg2, "ts");
    assert_eq!(from(&whole).await.len(), 1);
    // Ten packets of 188 bytes are missing in its middle.
    let middle = whole.len() / 2 / 188 * 188;
    let damaged = Bytes::from([&whole[..middle], &whole[middle + 1880..]].concat());
    for (what, original) in [
        ("one of less than ten minutes", small(590, 5, &mpeg4, "mkv")),
        ("one whose times jump", anew),
        ("one of which something is missing", damaged),
        ("one without times", small(620, 5, &["libx264", "-g", "50"], "h264")),
        ("one of an old codec", small(650, 5, &["msmpeg4v3", "-g", "50"], "avi")),
    ] {
        assert!(from(&original).await.is_empty(), "{what}");
        assert!(!probe_text(&original).await.contains("ranges"), "{what}: as it ever was");
    }
}

async fn probe_text(original: &Bytes) -> String {
    let (_, json) = run(Recipe::Probe(Default::default()), original).await.unwrap();
    String::from_utf8(json).unwrap()
}

#[tokio::test]
async fn made_in_one_it_would_be_another_so_it_is_not() {
    let original = twelve_seconds(OPEN_GROUPS, "mkv");
    let failure = run(in_ranges(&original), &original).await.unwrap_err();
    let Failure::Declined { code, .. } = failure else { panic!("{failure:?}") };
    assert_eq!(code, FailureCode::Internal);
}
