//! Originals that browsers play behind a front: the real worker makes it, `cat` puts it before the original, and Debian's `ffmpeg` finds the
//! same pictures at the same times in both.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod matroska;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::process::Command;

use bytes::Bytes;
use transcode::protocol::{FrontParameters, Recipe, Report};
use transcode::{Failure, recipe};

use crate::matroska::{Coded, Laid, PLAIN, coded, with_length};
use crate::support::{complaints, ffprobe, filmed, probe, run, seconds, stream};

const PICTURE: &str = "testsrc2=s=640x480:r=25:d=4";
const TONE: &str = "sine=f=440:r=48000:d=4";
/// As cameras encode: pictures that wait for later ones, and more bits than a test picture needs.
const H264: &str = "-c:v libx264 -preset veryfast -bf 2 -g 25 -b:v 4M -minrate 4M -maxrate 4M -bufsize 1M -x264-params nal-hrd=cbr -pix_fmt yuv420p";
/// Of a time: containers count milliseconds.
const TOLERANCE_S: f64 = 0.001;
/// Sound goes on without a break where its times only round.
const SOUND_TOLERANCE_S: f64 = 0.03;
/// Sound of which a decoder gives so much at once.
const PIECE_S: f64 = 0.086;

fn clip(inputs: &[&str], arguments: &str, extension: &str) -> Bytes {
    let mut all: Vec<&str> = Vec::new();
    inputs.iter().for_each(|input| all.extend(["-f", "lavfi", "-i", input]));
    all.extend(arguments.split_whitespace());
    filmed(&all, extension)
}

fn usual(sound: &str, extension: &str) -> Bytes {
    clip(&[PICTURE, TONE], &format!("{H264} {sound}"), extension)
}

async fn front(original: &Bytes) -> Result<(Report, Bytes), Failure> {
    let recipe = Recipe::Front(FrontParameters::default());
    run(recipe, original).await.map(|(finished, front)| (finished.report, front.into()))
}

/// `cat front.mp4 original`.
fn behind(front: &Bytes, original: &Bytes) -> Bytes {
    [front.clone(), original.clone()].concat().into()
}

/// What `ffmpeg` reads of a kind of stream: when, and a digest of what. Decoded, or as packets.
fn read(file: &Bytes, kind: &str, is_decoded: bool) -> Vec<(f64, String)> {
    let file = support::file(file);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-copyts", "-i"]).arg(file.path());
    ffmpeg.args(["-map", &format!("0:{kind}:0"), "-fps_mode", "passthrough"]);
    match is_decoded {
        true => ffmpeg.args(["-enc_time_base", "1:90000"]),
        false => ffmpeg.args(["-c", "copy"]),
    };
    let out = ffmpeg.args(["-f", "framemd5", "-"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let base = text.lines().find_map(|line| line.strip_prefix("#tb 0: ")).unwrap();
    let (num, den) = base.split_once('/').unwrap();
    let base = num.parse::<f64>().unwrap() / den.parse::<f64>().unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let line = |line: &str| {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        (cells[2].parse::<f64>().unwrap() * base, cells[5].to_owned())
    };
    lines.map(line).collect()
}

/// Where a file's time begins.
fn start(file: &Bytes) -> f64 {
    seconds(&ffprobe(file)["format"]["start_time"])
}

/// The same bytes in the same order at the same times, counted from the start of each file.
fn same(name: &str, one: &[(f64, String)], other: &[(f64, String)], starts: (f64, f64)) {
    same_within(TOLERANCE_S, name, one, other, starts);
}

fn same_within(
    tolerance: f64,
    name: &str,
    one: &[(f64, String)],
    other: &[(f64, String)],
    starts: (f64, f64),
) {
    let digests =
        |all: &[(f64, String)]| all.iter().map(|(_, md5)| md5.clone()).collect::<Vec<_>>();
    assert_eq!(digests(one), digests(other), "{name}");
    for ((then, _), (now, _)) in one.iter().zip(other) {
        let (then, now) = (then - starts.0, now - starts.1);
        assert!((then - now).abs() <= tolerance, "{name}: {then} s is shown at {now} s");
    }
}

/// Makes the front, and finds the same in what it leads to. `sound_lies` says whether its sound is the original's own.
async fn plays_behind(name: &str, original: &Bytes, sound_lies: Option<bool>) -> (Report, Bytes) {
    let found = probe(original).await;
    assert!(found.browser.plays_behind_front, "{name}: {:?}", found.browser);
    let wanted: Vec<_> =
        recipe::after(&recipe::media_text(&found)).iter().map(Recipe::kind).collect();
    assert!(wanted.contains(&"front") && !wanted.contains(&"proxy"), "{name}: {wanted:?}");
    let (report, front) = front(original).await.unwrap();
    let plays = behind(&front, original);
    let starts = (start(original), start(&plays));
    for is_decoded in [true, false] {
        let pictures = |file| read(file, "v", is_decoded);
        same(name, &pictures(original), &pictures(&plays), starts);
    }
    match sound_lies {
        None => assert!(stream(&ffprobe(&plays), "audio").is_none(), "{name}"),
        Some(true) => {
            let sound = |file| read(file, "a", false);
            same_within(SOUND_TOLERANCE_S, name, &sound(original), &sound(&plays), starts);
        }
        Some(false) => {
            let sound = stream(&ffprobe(&plays), "audio").cloned().unwrap();
            assert_eq!(sound["codec_name"], "aac", "{name}");
            let ends = |file, start| {
                let heard = read(file, "a", true);
                [heard[0].0 - start, heard[heard.len() - 1].0 - start]
            };
            let (then, now) = (ends(original, starts.0), ends(&plays, starts.1));
            let near = |(then, now): (f64, f64)| (then - now).abs() < 2.0 * PIECE_S;
            assert!(then.into_iter().zip(now).all(near), "{name}: {then:?} is heard at {now:?}");
        }
    }
    assert_eq!(complaints(&plays), "", "{name}");
    (report, plays)
}

#[tokio::test]
async fn pictures_are_played_where_they_lie() {
    let aac = "-c:a aac -b:a 96k";
    let pcm = "-c:a pcm_s16le";
    let turned = {
        let level = usual(pcm, "mov");
        support::ffmpeg(&level, &["-c", "copy", "-metadata:s:v:0", "rotate=270"], "mov")
    };
    let late_picture = clip(
        &["testsrc2=s=640x480:r=25:d=3,setpts=PTS+1/TB", TONE],
        &format!("-fps_mode passthrough {H264} {pcm}"),
        "mkv",
    );
    let late_sound = clip(
        &[PICTURE, "sine=f=440:r=48000:d=3,asetpts=PTS+1/TB"],
        &format!("{H264} {aac}"),
        "mkv",
    );
    let variable = clip(
        &["testsrc2=s=640x480:r=25:d=8,select='lt(mod(n\\,25)\\,5)+eq(mod(n\\,7)\\,0)'"],
        &format!("-fps_mode vfr {H264}"),
        "mkv",
    );
    let shape = clip(&["testsrc2=s=352x288:r=25:d=4,setsar=12/11"], H264, "mkv");
    let clips: [(&str, Bytes, Option<bool>); 14] = [
        ("MKV, AAC", usual(aac, "mkv"), Some(true)),
        ("MKV, PCM", usual(pcm, "mkv"), Some(false)),
        ("MOV, PCM", usual(pcm, "mov"), Some(false)),
        ("MOV, AAC", usual(aac, "mov"), Some(true)),
        ("FLV, AAC", usual(aac, "flv"), Some(true)),
        ("FLV, A-law", usual("-c:a pcm_alaw -ar 8000", "flv"), Some(false)),
        ("MP4, MP3", usual("-c:a libmp3lame", "mp4"), Some(false)),
        ("MKV without sound", clip(&[PICTURE], H264, "mkv"), None),
        (
            "MKV that starts at an hour",
            usual(&format!("{aac} -output_ts_offset 3600"), "mkv"),
            Some(true),
        ),
        ("the picture starts late", late_picture, Some(false)),
        ("the sound starts late", late_sound, Some(true)),
        ("MOV, turned", turned, Some(false)),
        ("variable rate", variable, None),
        ("pixels not square", shape, None),
    ];
    let mut wrong = BTreeMap::new();
    for (name, original, sound_lies) in clips {
        let (report, plays) = plays_behind(name, &original, sound_lies).await;
        let size = |file| {
            let probed = ffprobe(file);
            let video = stream(&probed, "video").unwrap().clone();
            let turned = video["side_data_list"][0]["rotation"].clone();
            (
                video["width"].clone(),
                video["height"].clone(),
                video["sample_aspect_ratio"].clone(),
                turned,
            )
        };
        if size(&original) != size(&plays) {
            wrong.insert(name, (size(&original), size(&plays)));
        }
        let share = (plays.len() - original.len()) as f64 / original.len() as f64;
        println!(
            "{name}: {:.2} % of {} bytes, {:?}",
            share * 100.0,
            original.len(),
            report.made_with.codecs
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// As far as they are there.
#[tokio::test]
async fn what_is_cut_off_is_played_as_far_as_it_goes() {
    let fast = "-c:a aac -b:a 96k -movflags +faststart";
    for (name, whole) in [
        ("MKV", usual("-c:a pcm_s16le", "mkv")),
        ("FLV", usual("-c:a aac -b:a 96k", "flv")),
        ("MP4", usual(fast, "mp4")),
    ] {
        let cut = whole.slice(..whole.len() / 2);
        let found = probe(&cut).await;
        assert!(found.browser.plays_behind_front, "{name}: {:?}", found.browser);
        let (_, front) = front(&cut).await.unwrap();
        let plays = behind(&front, &cut);
        let (all, shown) = (read(&cut, "v", false), read(&plays, "v", false));
        // A last picture that is there in part is left out.
        assert!(
            shown.len() > 40 && all.len() - shown.len() <= 1,
            "{name}: {} of {}",
            shown.len(),
            all.len()
        );
        same(name, &all[..shown.len()], &shown, (start(&cut), start(&plays)));
        assert_eq!(complaints(&plays), "", "{name}");
    }
}

/// Each is laid down as some muxer might.
#[tokio::test]
async fn however_a_container_is_laid_pictures_are_found_or_not_believed() {
    let coded = coded("320x240");
    let size = (320, 240);
    for (name, laid) in [
        ("plain", PLAIN),
        ("of unknown size", Laid { is_open: true, ..PLAIN }),
        ("voids between", Laid { has_voids: true, ..PLAIN }),
        ("several in a block", Laid { in_a_block: 5, ..PLAIN }),
    ] {
        let original = coded.laid(size, laid);
        let plays = plays_behind(name, &original, None).await.1;
        assert_eq!(read(&plays, "v", true).len(), 50, "{name}");
    }
    let stripped = Laid { stripped: 2, ..PLAIN };
    refused("bytes left out", &coded.laid(size, stripped), "in one run").await;
}

/// What a front cannot lead to is encoded anew, and the probe says why.
#[tokio::test]
async fn what_does_not_lie_as_it_must_is_encoded_anew() {
    let (size, plain) = ((320, 240), coded("320x240"));
    let other = coded("160x120");
    let with = |at: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let mut pictures = plain.pictures.clone();
        change(&mut pictures[at]);
        Coded { avcc: plain.avcc.clone(), pictures }.laid(size, PLAIN)
    };
    let set = &other.avcc[8..8 + usize::from(other.avcc[7])];
    let changed = with(30, &|picture| *picture = [with_length(set), picture.clone()].concat());
    refused("another parameter set", &changed, "changes in the middle").await;
    let own = &plain.avcc[8..8 + usize::from(plain.avcc[7])];
    let again = with(30, &|picture| *picture = [with_length(own), picture.clone()].concat());
    plays_behind("the same parameter set again", &again, None).await;
    let two = with(30, &|picture| picture.extend(plain.pictures[31].clone()));
    refused("two pictures in one", &two, "is not one").await;
    let more = with(30, &|picture| picture.push(0));
    refused("a byte too many", &more, "does not fill its place").await;
    let short = with(30, &|picture| picture[3] ^= 1);
    refused("a length that lies", &short, "does not fill its place").await;
    let none = with(30, &|picture| *picture = with_length(&[6, 5, 1, 0, 0x80]));
    refused("no picture in one", &none, "is not one").await;

    let h264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p";
    for (extension, why) in [("ts", "does not say apart"), ("avi", "does not say apart")] {
        let original = clip(&[PICTURE], &format!("{h264} -bf 0"), extension);
        refused(extension, &original, why).await;
    }
    let deep = clip(&[PICTURE], "-c:v libx264 -preset ultrafast -pix_fmt yuv420p10le", "mkv");
    let found = probe(&deep).await;
    assert_eq!(found.browser.why_no_front.as_deref(), Some("the picture is not 8-bit H.264 4:2:0"));
    let quiet = clip(
        &["color=s=64x64:r=1:d=60", "sine=d=60"],
        &format!("{h264} -c:a pcm_alaw -ar 8000"),
        "flv",
    );
    let found = probe(&quiet).await;
    let too_small = clip(&["color=s=64x64:r=25:d=60"], h264, "mkv");
    let found_small = probe(&too_small).await;
    for found in [found, found_small] {
        assert!(!found.browser.plays_behind_front, "{:?}", found.browser);
    }
}

/// The probe says so, the recipe too, and a viewing copy is made.
async fn refused(name: &str, original: &Bytes, why: &str) {
    let found = probe(original).await;
    let said = found.browser.why_no_front.as_deref().unwrap_or_default();
    assert!(!found.browser.plays_behind_front && said.contains(why), "{name}: {:?}", found.browser);
    let follows = recipe::after(&recipe::media_text(&found));
    let follows: Vec<_> = follows.iter().map(Recipe::kind).collect();
    assert!(follows.contains(&"proxy") && !follows.contains(&"front"), "{name}: {follows:?}");
    let failure = front(original).await.unwrap_err();
    assert_eq!(failure.code(), "nothing-to-make", "{name}: {failure}");
}
