//! Extracts and redactions: what is in them, and what is not. Debian's ffmpeg makes the originals and judges.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::process::Command;

use bytes::Bytes;
use support::*;
use transcode::protocol::{Area, Cover, Cut, FailureCode, Recipe, RedactionParameters, Span};
use transcode::recipe;
use transcode::{Failure, protocol::ExtractParameters};

const PART: Span = Span { from_ms: 2500, to_ms: 5200 };

/// Eight seconds of moving pictures and a tone, a picture that needs none before it every two seconds.
fn eight_seconds(codecs: &[&str], extension: &str) -> Bytes {
    let inputs =
        ["-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=8", "-f", "lavfi", "-i", "sine=d=8"];
    filmed(&[&inputs[..], codecs].concat(), extension)
}

/// SHA-256 of every decoded picture, in order.
fn pictures(bytes: &[u8]) -> Vec<String> {
    hashes(bytes, &["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framehash", "-"])
}

/// SHA-256 of every coded packet of a stream, in order.
fn packets(bytes: &[u8], stream: &str) -> Vec<String> {
    hashes(bytes, &["-map", stream, "-c", "copy", "-f", "framehash", "-"])
}

fn hashes(bytes: &[u8], arguments: &[&str]) -> Vec<String> {
    let source = file(bytes);
    let mut ffmpeg = Command::new("ffmpeg");
    let out =
        ffmpeg.args(["-v", "error", "-i"]).arg(source.path()).args(arguments).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// Where `part` begins in `whole`, if it lies there in one piece.
fn position(whole: &[String], part: &[String]) -> Option<usize> {
    whole.windows(part.len()).position(|window| window == part)
}

async fn extract(original: &Bytes, part: Span, cut: Cut) -> Result<(Finished, Vec<u8>), Failure> {
    run(Recipe::Extract(ExtractParameters { version: 1, part, cut }), original).await
}

async fn redacted(original: &Bytes, areas: &[Area], mutes: &[Span]) -> Vec<u8> {
    let (areas, mutes) = (areas.to_vec(), mutes.to_vec());
    let parameters = RedactionParameters { version: 2, keep: Span::ALL, areas, mutes };
    run(Recipe::Redaction(parameters), original).await.unwrap().1
}

#[tokio::test]
async fn an_extract_at_keyframes_has_the_pictures_as_they_were_coded() {
    let h264 = ["-c:v", "libx264", "-g", "50", "-bf", "2", "-sc_threshold", "0", "-c:a", "aac"];
    let open = [
        "-c:v",
        "libx264",
        "-g",
        "50",
        "-bf",
        "2",
        "-x264-params",
        "open-gop=1:b-adapt=0",
        "-c:a",
        "aac",
    ];
    let mjpeg = ["-c:v", "mjpeg", "-c:a", "pcm_s16le"];
    let mpeg4 = ["-c:v", "mpeg4", "-g", "50", "-c:a", "pcm_alaw", "-ar", "8000"];
    for (codecs, extension, cut, pictures_in_it) in [
        (&h264[..], "mp4", Cut::KeyframesMp4, 100..=100),
        (&h264[..], "mkv", Cut::KeyframesMp4, 100..=100),
        (&h264[..], "ts", Cut::KeyframesMp4, 100..=100),
        (&open[..], "mkv", Cut::KeyframesMp4, 96..=100),
        (&mjpeg[..], "avi", Cut::KeyframesMov, 67..=68),
        (&mpeg4[..], "avi", Cut::KeyframesMov, 100..=100),
    ] {
        let original = eight_seconds(codecs, extension);
        let extracted = extract(&original, PART, cut).await;
        let (finished, made) =
            extracted.unwrap_or_else(|e| panic!("{codecs:?} in {extension}: {e}"));
        let what = format!("{codecs:?} in {extension}: {:?}", finished.report.notes);
        let (whole, part) = (pictures(&original), pictures(&made));
        assert!(pictures_in_it.contains(&part.len()), "{what}: {}", part.len());
        assert!(position(&whole, &part).is_some(), "{what}");
        assert_eq!(packets(&made, "0:v:0").len(), part.len(), "{what}: each can be decoded");
        assert!(finished.report.notes[0].starts_with("not encoded anew"), "{what}");
        let probed = ffprobe(&made);
        assert!(stream(&probed, "audio").is_some(), "{what}");
        let lengths = |kind| seconds(&stream(&probed, kind).unwrap()["duration"]);
        assert!((lengths("video") - lengths("audio")).abs() < 0.2, "{what}: {probed}");
        if extension == "mp4" {
            for of in ["0:v:0", "0:a:0"] {
                assert!(position(&packets(&original, of), &packets(&made, of)).is_some(), "{what}");
            }
            assert_eq!(position(&whole, &part), Some(50), "from two seconds in");
            assert_eq!(complaints(&made), "");
        }
        assert_eq!(extract(&original, PART, cut).await.unwrap().1, made, "{what}: the same again");
    }
}

#[tokio::test]
async fn an_exact_extract_begins_and_ends_where_it_was_asked_to() {
    let codecs = ["-c:v", "libx264", "-g", "50", "-c:a", "aac"];
    for extension in ["mp4", "ts"] {
        let original = eight_seconds(&codecs, extension);
        let (_, made) = extract(&original, PART, Cut::Exact).await.unwrap();
        let start = seconds(&ffprobe(&original)["format"]["start_time"]);
        let wanted: Vec<_> =
            picture_times(&original).into_iter().map(|time| time - start).collect();
        let first = wanted.iter().position(|time| *time >= 2.5 - 1e-6).unwrap();
        let count = wanted.iter().filter(|time| (2.5 - 1e-6..5.2 - 1e-6).contains(*time)).count();
        let times = picture_times(&made);
        assert_eq!(times.len(), count, "{extension}");
        assert!(
            (times[count - 1] - times[0] - (count - 1) as f64 / 25.0).abs() < 0.001,
            "{times:?}"
        );
        let length = seconds(&stream(&ffprobe(&made), "audio").unwrap()["duration"]);
        assert!((2.6..=2.75).contains(&length), "{extension}: {length}");
        let gray =
            |from: &str| ["-vf", from, "-frames:v", "1", "-f", "rawvideo"].map(str::to_owned);
        let picture = |bytes: &[u8], at: usize| {
            let arguments = gray(&format!("select=gte(n\\,{at}),format=gray"));
            ffmpeg(bytes, &arguments.each_ref().map(String::as_str), "raw")
        };
        let difference = |at: usize| -> u64 {
            let (theirs, ours) = (picture(&original, at), picture(&made, 0));
            theirs.iter().zip(&ours[..]).map(|(a, b)| u64::from(a.abs_diff(*b))).sum()
        };
        let (before, same, after) =
            (difference(first - 1), difference(first), difference(first + 1));
        assert!(same < before && same < after, "{extension}: {before} {same} {after}");
        assert_eq!(complaints(&made), "");
    }
}

#[tokio::test]
async fn an_extract_of_nothing_says_so() {
    let original = eight_seconds(&["-c:v", "libx264", "-c:a", "aac"], "mp4");
    let beyond = Span { from_ms: 60_000, to_ms: 61_000 };
    for cut in [Cut::KeyframesMp4, Cut::Exact] {
        let failure = extract(&original, beyond, cut).await.unwrap_err();
        let Failure::Declined { code, message } = failure else { panic!("{failure:?}") };
        assert_eq!(code, FailureCode::NothingToMake);
        assert!(message.contains("between 60000 ms and 61000 ms"), "{message}");
    }
}

/// Lossless, so that two originals differ where they are told to and nowhere else.
fn with_a_secret(colour: &str, tone: u32, rate: u32) -> Bytes {
    let picture = format!(
        "testsrc2=s=320x240:r={rate}:d=4,format=yuv420p,\
         drawbox=x=101:y=61:w=57:h=43:color={colour}:t=fill:enable='between(t,1,2.99)'"
    );
    let sound = format!(
        "aevalsrc='if(between(t,2,3),0.5*sin({tone}*2*PI*t),0.3*sin(440*2*PI*t))':s=44100:d=4"
    );
    let inputs = ["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &sound];
    let codecs = ["-c:v", "libx264", "-qp", "0", "-preset", "ultrafast", "-c:a", "pcm_s16le"];
    filmed(&[&inputs[..], &codecs].concat(), "mkv")
}

fn area(from_ms: u64, to_ms: u64, cover: Cover) -> Area {
    Area { from_ms, to_ms, x: 101, y: 61, width: 57, height: 43, cover }
}

#[tokio::test]
async fn what_is_redacted_leaves_no_trace() {
    let (one, other) = (with_a_secret("red", 1000, 25), with_a_secret("white", 2500, 25));
    let secret = [Span { from_ms: 2000, to_ms: 3000 }];
    for cover in [Cover::Box, Cover::Blur] {
        let areas = [area(1000, 3000, cover)];
        let made = redacted(&one, &areas, &secret).await;
        assert!(made == redacted(&other, &areas, &secret).await, "{cover:?}: not a byte of it");
        assert_eq!(complaints(&made), "");
        let times = picture_times(&made);
        assert_eq!(times.len(), 100, "no picture is lost");
        let samples =
            ffmpeg(&made, &["-map", "0:a", "-ac", "1", "-ar", "48000", "-f", "s16le"], "raw");
        let loudest = |from: f64, to: f64| {
            let at = |s: f64| (s * 48000.0) as usize * 2;
            let samples = samples[at(from)..at(to)].chunks_exact(2);
            samples.map(|s| i16::from_le_bytes([s[0], s[1]]).unsigned_abs()).max().unwrap()
        };
        assert!(loudest(2.1, 2.9) <= 1, "{cover:?}: silence");
        assert!(loudest(1.0, 1.9) > 5000, "{cover:?}: the rest is heard");
    }
    // Pixels that are not square are made so, and a scaler looks beside each.
    let sar = ["-c", "copy", "-aspect", "16:9"];
    let (one_wide, other_wide) = (ffmpeg(&one, &sar, "mkv"), ffmpeg(&other, &sar, "mkv"));
    let wide = [Area { x: 134, width: 78, ..area(1000, 3000, Cover::Blur) }];
    let made = redacted(&one_wide, &wide, &secret).await;
    assert_eq!(ffprobe(&made)["streams"][0]["width"], 426);
    assert!(made == redacted(&other_wide, &wide, &secret).await, "not a byte of it, scaled");
    // Lines of interlaced pictures are not made up out of the picture before or after, which may have to be covered.
    let halves = "-vf setfield=tff -c:v libx264 -qp 0 -preset ultrafast -flags +ildct+ilme -x264-params tff=1 -c:a copy";
    let halves: Vec<_> = halves.split(' ').collect();
    let (one_half, other_half) = (ffmpeg(&one, &halves, "mkv"), ffmpeg(&other, &halves, "mkv"));
    let narrow = [area(1000, 3000, Cover::Box)];
    let made = redacted(&one_half, &narrow, &secret).await;
    assert!(made == redacted(&other_half, &narrow, &secret).await, "not a byte of it, interlaced");
    let only_pictures = redacted(&one, &[area(1000, 3000, Cover::Box)], &[]).await;
    assert!(only_pictures != redacted(&other, &[area(1000, 3000, Cover::Box)], &[]).await);
    let only_sound = redacted(&one, &[], &secret).await;
    assert!(only_sound != redacted(&other, &[], &secret).await);
}

#[tokio::test]
async fn a_cover_hides_pictures_for_as_long_as_they_are_shown_and_is_made_of_none_that_is_hidden() {
    // One picture a second: the one of 1 s is on show at 1.5 s, and the one of 2 s until just before 3 s.
    let (one, other) = (with_a_secret("red", 440, 1), with_a_secret("white", 440, 1));
    let areas = [area(1500, 2100, Cover::Blur)];
    assert!(redacted(&one, &areas, &[]).await == redacted(&other, &areas, &[]).await);
    // Two that lie side by side: neither is blended out of the other.
    let halves = [(101, 28), (129, 29)].map(|(x, width)| Area { x, width, ..areas[0] });
    assert!(redacted(&one, &halves, &[]).await == redacted(&other, &halves, &[]).await);
}

/// Eight seconds in four groups, coded alike whatever lies in the others, with a rectangle in the second, and words beside the pictures.
fn in_groups(colour: &str, quantizer: &str, how: &[&str], extension: &str) -> Bytes {
    let picture = format!(
        "testsrc2=s=320x240:r=25:d=8,format=yuv420p,\
         drawbox=x=101:y=61:w=57:h=43:color={colour}:t=fill:enable='between(t,2.5,3.2)'"
    );
    let sound = "aevalsrc='0.3*sin(440*2*PI*t)':s=44100:d=8";
    let inputs = ["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", sound];
    let sei = "h264_metadata=sei_user_data=086f3693-b7b3-4f2c-9653-21492feee5b8+PLANTED-SEI";
    let codecs = [
        "-c:v",
        "libx264",
        "-qp",
        quantizer,
        "-g",
        "50",
        "-bf",
        "3",
        "-x264-params",
        "mbtree=0:scenecut=0:b-pyramid=normal",
        "-bsf:v",
        sei,
        "-c:a",
        "pcm_s16le",
    ];
    filmed(&[&inputs[..], &codecs, how].concat(), extension)
}

/// Every slice of a recording's H.264, picture after picture in the order of the file.
fn slices(bytes: &[u8]) -> Vec<String> {
    let bare = "h264_mp4toannexb,filter_units=pass_types=1|5";
    hashes(bytes, &["-map", "0:v:0", "-c", "copy", "-bsf:v", bare, "-f", "framehash", "-"])
}

#[tokio::test]
async fn groups_in_which_nothing_is_covered_go_along_as_they_are_coded() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["mov", "mkv"];
    let areas = vec![area(2500, 3300, Cover::Blur)];
    let parameters = RedactionParameters { version: 2, keep: Span::ALL, areas, mutes: vec![] };
    let recipe = Recipe::Redaction(parameters);
    // Lossless, so that what is covered changes nothing beside it.
    let of = async |colour| run(recipe.clone(), &in_groups(colour, "0", &[], "mkv")).await.unwrap();
    assert!(of("red").await.1 == of("white").await.1, "not a byte of what was covered");
    for extension in names {
        let one = in_groups("red", "20", &[], extension);
        let (finished, made) = run(recipe.clone(), &one).await.unwrap();
        let note =
            "groups of pictures as they are coded, not encoded anew: 2 of 4: 4000 to 7960 ms";
        assert!(finished.report.notes.iter().any(|said| said == note), "{:?}", finished.report);

        assert_eq!(complaints(&made), "", "{extension}");
        let near = |(a, b): (&f64, &f64)| (a - b - 0.021).abs() < 0.004;
        let times = (picture_times(&made), picture_times(&one));
        assert_eq!(times.0.len(), 200);
        assert!(times.0.iter().zip(&times.1).all(near), "{times:?}");
        let (found, whole) = (pictures(&made), pictures(&one));
        assert_eq!(found[100..], whole[100..], "as they were");
        assert!(found[..100].iter().zip(&whole[..100]).all(|(a, b)| a != b), "encoded anew");
        let (found, whole) = (slices(&made), slices(&one));
        assert_eq!(found[100..], whole[100..], "byte for byte");
        let holds = |bytes: &[u8]| bytes.windows(7).any(|w| w == b"PLANTED");
        assert!(holds(&one) && !holds(&made), "{extension}: nothing that was said beside them");
        std::fs::write(folder.path().join(extension), made).unwrap();
    }
    for played in support::browser::play(folder.path(), &names.map(|name| (name.to_owned(), false)))
    {
        let is_to_the_end = played.reached > 7.9 && played.error.is_none();
        assert!(is_to_the_end && (played.width, played.height) == (320, 240), "{played:?}");
    }
}

#[tokio::test]
async fn whatever_is_not_as_it_should_be_is_encoded_anew_and_said() {
    let note = async |original: &Bytes, areas: Vec<Area>, keep: Span| {
        let parameters = RedactionParameters { version: 2, keep, areas, mutes: vec![] };
        let (finished, made) = run(Recipe::Redaction(parameters), original).await.unwrap();
        assert_eq!(complaints(&made), "");
        (finished.report.notes[0].clone(), picture_times(&made))
    };
    let plain = in_groups("red", "20", &[], "mov");
    // From 2,500 ms on whatever is shown is encoded: one picture before it stays, and is not in the part.
    let keep = Span { from_ms: 2500, to_ms: 8000 };
    let (said, times) = note(&plain, vec![], keep).await;
    assert_eq!(
        said,
        "groups of pictures as they are coded, not encoded anew: 2 of 4: 4000 to 7960 ms"
    );
    assert_eq!(times.len(), 137);
    let is_steady = times.windows(2).all(|two| (two[1] - two[0] - 0.04).abs() < 0.001);
    assert!(is_steady, "without a seam: {times:?}");
    // The container leaves out what comes after 5.5 s: its pictures lie there, and are not shown.
    let mut cut = plain.to_vec();
    let list = cut.windows(4).position(|w| w == b"elst").unwrap() + 4;
    cut[list + 8..list + 12].copy_from_slice(&5500u32.to_be_bytes());
    let cut = Bytes::from(cut);
    let shown = pictures(&cut).len();
    assert!((135..145).contains(&shown), "{shown}");
    let (said, times) = note(&cut, vec![], Span::ALL).await;
    assert!(said.ends_with(" of 4: 0 to 4000 ms"), "{said}");
    assert_eq!(times.len(), shown, "none of them is shown now");
    let all = vec![area(1000, 7000, Cover::Box)];
    let (said, _) = note(&plain, all, Span::ALL).await;
    assert_eq!(
        said,
        "all pictures are encoded anew: no group of pictures is whole, kept, and has nothing covered in it and in the next"
    );
    for (how, extension, why) in [
        (&["-pix_fmt", "yuv444p"][..], "mov", "it is not 8 bits of 4:2:0"),
        (&["-vf", "setsar=2"], "mov", "it is turned, or its pixels are not square"),
        (&[], "avi", "the container does not say apart how its pictures are to be decoded"),
        (&["-c:v", "mpeg4", "-bsf:v", "null"], "mov", "the picture is not H.264"),
    ] {
        let (said, times) = note(&in_groups("red", "20", how, extension), vec![], Span::ALL).await;
        assert!(
            said.starts_with("all pictures are encoded anew: ") && said.contains(why),
            "{said}"
        );
        assert_eq!(times.len(), 200, "{said}");
    }
}

/// The same pictures as raw H.264, with closed captions (ATSC A/53) before the first slice.
fn captioned(original: &[u8]) -> Bytes {
    let raw = ffmpeg(original, &["-map", "0:v:0", "-c", "copy", "-f", "h264"], "h264");
    let slice = raw.windows(4).position(|w| w[..3] == [0, 0, 1] && w[3] & 0x1f == 5).unwrap();
    let captions = [
        0xb5, 0, 0x31, b'G', b'A', b'9', b'4', 3, 0xc2, 0xff, 0xfc, b'P', b'L', 0xfc, b'A', b'N',
        0xff,
    ];
    let sei = [&[0, 0, 1, 6, 4, captions.len() as u8][..], &captions, &[0x80]].concat();
    [&raw[..slice], &sei, &raw[slice..]].concat().into()
}

#[tokio::test]
async fn a_redaction_carries_nothing_along() {
    let notes = tempfile::NamedTempFile::new().unwrap();
    let chapters = ";FFMETADATA1\ntitle=PLANTED-TITLE\ncomment=PLANTED-NAME\n\
        [CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=2\ntitle=PLANTED-CHAPTER\n";
    std::fs::write(notes.path(), chapters).unwrap();
    let words = tempfile::Builder::new().suffix(".srt").tempfile().unwrap();
    std::fs::write(words.path(), "1\n00:00:00,000 --> 00:00:02,000\nPLANTED-WORDS\n").unwrap();
    let cover = filmed(&["-f", "lavfi", "-i", "testsrc=s=64x64:d=1", "-frames:v", "1"], "jpg");
    let cover_file = file(&cover);
    let (notes, words) = (notes.path().to_str().unwrap(), words.path().to_str().unwrap());
    let sei = "h264_metadata=sei_user_data=086f3693-b7b3-4f2c-9653-21492feee5b8+PLANTED-SEI";
    let original = filmed(
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=320x240:r=25:d=3",
            "-f",
            "lavfi",
            "-i",
            "sine=d=3",
            "-i",
            notes,
            "-i",
            words,
            "-i",
            cover_file.path().to_str().unwrap(),
            "-map",
            "0:v",
            "-map",
            "1:a",
            "-map",
            "3:s",
            "-map",
            "4:v",
            "-map_metadata",
            "2",
            "-map_chapters",
            "2",
            "-c:v:0",
            "libx264",
            "-bsf:v:0",
            sei,
            "-c:v:1",
            "copy",
            "-disposition:v:1",
            "attached_pic",
            "-c:a",
            "aac",
            "-c:s",
            "mov_text",
            "-metadata:s:a:0",
            "handler_name=PLANTED-HANDLER",
        ],
        "mp4",
    );
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    let planted = [
        "PLANTED-TITLE",
        "PLANTED-NAME",
        "PLANTED-CHAPTER",
        "PLANTED-WORDS",
        "PLANTED-SEI",
        "PLANTED-HANDLER",
    ];
    for text in planted {
        assert!(holds(&original, text), "{text} is in the original");
    }
    let made = redacted(&original, &[area(0, 100, Cover::Box)], &[]).await;
    for text in planted.into_iter().chain(["PLANTED"]) {
        assert!(!holds(&made, text), "{text}");
    }
    let captioned = captioned(&original);
    assert!(holds(&captioned, "GA94"));
    assert!(!holds(&redacted(&captioned, &[area(0, 100, Cover::Box)], &[]).await, "GA94"));
    let placed =
        ["-c", "copy", "-map", "0:v:0", "-map", "0:a", "-metadata", "location=+51.5007-000.1246/"];
    let placed = ffmpeg(&original, &placed, "mov");
    assert!(holds(&placed, "+51.5007"));
    assert!(!holds(&redacted(&placed, &[area(0, 100, Cover::Box)], &[]).await, "+51.5007"));
    let probed = ffprobe(&made);
    let kinds: Vec<_> =
        probed["streams"].as_array().unwrap().iter().map(|s| &s["codec_name"]).collect();
    assert_eq!(kinds, ["h264", "aac"], "and no cover, no words, no chapters");
    assert_eq!(
        probed["format"]["tags"]["title"],
        "Redaction – not for comparison, measurement or identification"
    );
}

#[tokio::test]
async fn an_area_outside_the_picture_is_refused_and_upright_pictures_count_upright() {
    let codecs = ["-c:v", "libx264", "-c:a", "aac"];
    let lying = eight_seconds(&codecs, "mp4");
    let upright = ffmpeg(&lying, &["-c", "copy", "-metadata:s:v:0", "rotate=90"], "mp4");
    let at = |x, y| Area { x, y, width: 20, height: 20, ..area(0, 1000, Cover::Box) };
    let redact = async |original: &Bytes, area: Area| {
        let (areas, keep) = (vec![area], Span { from_ms: 0, to_ms: 200 });
        let parameters = RedactionParameters { version: 2, keep, areas, mutes: vec![] };
        run(Recipe::Redaction(parameters), original).await
    };
    let (_, made) = redact(&upright, at(210, 290)).await.unwrap();
    let video = &ffprobe(&made)["streams"][0];
    assert_eq!((&video["width"], &video["height"]), (&240.into(), &320.into()));
    let gray = ["-vf", "format=gray", "-frames:v", "1", "-f", "rawvideo"];
    let pixels = ffmpeg(&made, &gray, "raw");
    assert!(
        pixels[305 * 240 + 225] < 30,
        "it is black where it was said: {}",
        pixels[305 * 240 + 225]
    );
    let failure = redact(&lying, at(310, 200)).await.unwrap_err();
    assert!(failure.to_string().contains("320x240"), "{failure}");
}

#[test]
fn lists_that_make_no_sense_are_refused_in_words() {
    let span = r#"{"from_ms": 5, "to_ms": 5}"#;
    for (list, says) in [
        ("[]".to_owned(), "not readable"),
        (r#"{"v": 2}"#.to_owned(), "version 2"),
        (r#"{"v": 1}"#.to_owned(), "takes nothing away"),
        (format!(r#"{{"v": 1, "mutes": [{span}]}}"#), "ends before it begins"),
        (format!(r#"{{"v": 1, "blurs": [{span}]}}"#), "unknown field"),
    ] {
        let error = recipe::redaction(&list).unwrap_err().to_string();
        assert!(error.contains(says), "{list}: {error}");
    }
}
