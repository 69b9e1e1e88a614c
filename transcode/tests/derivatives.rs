//! Real footage through the real worker; Debian's ffprobe and ffmpeg judge what comes out.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use bytes::Bytes;
use support::*;
use transcode::protocol::probe::{StreamKind, Verdict};
use transcode::protocol::{PosterParameters, Recipe};

#[tokio::test]
async fn probe_tells_what_a_phone_clip_is() {
    let probe = probe(&footage(PHONE)).await;
    assert_eq!(probe.brand.as_deref(), Some("mp42"));
    assert_eq!(probe.size_bytes, 2_942_343);
    assert_eq!(probe.created_claimed.as_deref(), Some("2019-12-20T20:08:34.000000Z"));
    let place = probe.location_claimed.unwrap();
    assert_eq!((place.latitude_e6, place.longitude_e6), (-15_835_500, -48_015_300));
    let video = probe.streams.iter().find(|s| s.kind == StreamKind::Video).unwrap();
    assert_eq!((video.codec.as_str(), video.profile.as_deref()), ("h264", Some("High")));
    let picture = video.video.as_ref().unwrap();
    assert_eq!((picture.width, picture.height), (1920, 1080));
    assert!(picture.variable_frame_rate);
    assert_eq!(probe.coverage.verdict, Verdict::Complete, "{:?}", probe.coverage);
    assert_eq!(probe.coverage.missing_bytes, Some(0));
    assert!((1_590_000..=1_610_000).contains(&probe.duration_us.unwrap()));
}

#[tokio::test]
async fn probe_agrees_with_ffprobe_on_every_container() {
    for (extension, codec, length) in [
        ("mp4", "h264", 8.32),
        ("avi", "h264", 8.36),
        ("mpeg", "mpeg2video", 8.3),
        ("ogg", "theora", 8.3),
    ] {
        let original = footage(&format!("{HELLO}.{extension}"));
        let (ours, theirs) = (probe(&original).await, ffprobe(&original));
        let video = ours.streams.iter().find(|s| s.kind == StreamKind::Video).unwrap();
        assert_eq!(video.codec, codec, "{extension}");
        let theirs = stream(&theirs, "video").unwrap();
        assert_eq!(theirs["width"], video.video.as_ref().unwrap().width, "{extension}");
        assert!(ours.has_audio(), "{extension}");
        let duration = ours.duration_us.unwrap() as f64 / 1e6;
        assert!((duration - length).abs() < 0.2, "{extension}: {duration}");
        assert_ne!(ours.coverage.verdict, Verdict::Truncated, "{extension}: {:?}", ours.coverage);
    }
    for path in [CCTV, WEBCAM] {
        let probe = probe(&footage(path)).await;
        assert_eq!(probe.coverage.verdict, Verdict::Complete, "{path}: {:?}", probe.coverage);
    }
}

#[tokio::test]
async fn rotation_of_an_upright_clip_is_told_and_undone() {
    let arguments = ["-c", "copy", "-metadata:s:v:0", "rotate=270"];
    let turned = ffmpeg(&footage(PHONE), &arguments, "mp4");
    let probe = probe(&turned).await;
    let video = probe.streams[0].video.as_ref().unwrap();
    let judged = ffprobe(&turned);
    let judged = &stream(&judged, "video").unwrap()["side_data_list"][0]["rotation"];
    let clockwise = (-judged.as_i64().unwrap()).rem_euclid(360);
    assert_ne!(clockwise, 0);
    assert_eq!((video.width, video.height), (1920, 1080));
    assert_eq!(i64::from(video.rotation_degrees), clockwise);
    let (_, made) = proxy(&turned).await;
    let probed = ffprobe(&made);
    let video = stream(&probed, "video").unwrap();
    assert_eq!((&video["width"], &video["height"]), (&720.into(), &1280.into()));
    assert_eq!(complaints(&made), "");
    // The judge turns the original by itself; ours must look the same.
    let judge = ["-vf", "scale=720:1280,format=gray", "-frames:v", "1", "-f", "rawvideo"];
    let (theirs, ours) = (ffmpeg(&turned, &judge, "raw"), ffmpeg(&made, &judge, "raw"));
    let difference: u64 =
        theirs.iter().zip(&ours[..]).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    assert!(difference / (ours.len() as u64) < 8, "mean difference of a pixel");
}

#[tokio::test]
async fn proxies_play_last_as_long_and_have_their_sound() {
    for (original, size, sound) in [
        (PHONE.to_owned(), (1280, 720), true),
        (format!("{HELLO}.avi"), (1024, 576), true),
        (format!("{HELLO}.mpeg"), (640, 480), true),
        (format!("{HELLO}.ogg"), (720, 480), true),
        (WEBCAM.to_owned(), (320, 240), false),
    ] {
        let length = seconds(&ffprobe(&footage(&original))["format"]["duration"]);
        let (_, made) = proxy(&footage(&original)).await;
        assert_eq!(complaints(&made), "", "{original}");
        let probed = ffprobe(&made);
        let video = stream(&probed, "video").unwrap();
        assert_eq!((&video["codec_name"], &video["pix_fmt"]), (&"h264".into(), &"yuv420p".into()));
        assert_eq!(video["width"], size.0, "{original}");
        assert_eq!(video["height"], size.1, "{original}");
        let duration = seconds(&probed["format"]["duration"]);
        // libav 5.1 misplaces the first page of this Ogg's sound by seconds; what was misplaced is left out.
        let tolerance = if original.ends_with("ogg") { 0.3 } else { 0.15 };
        assert!((duration - length).abs() < tolerance, "{original}: {duration}");
        let audio = stream(&probed, "audio");
        assert_eq!(audio.is_some(), sound, "{original}");
        assert!(audio.is_none_or(|a| a["codec_name"] == "aac"));
        assert_eq!(
            probed["format"]["tags"]["title"],
            "Viewing copy – not for comparison, measurement or identification"
        );
    }
}

/// For a poor line: a quarter of the picture, one channel, and never much at once, of what a browser plays as it came too.
#[tokio::test]
async fn a_small_copy_fits_a_poor_line() {
    // Noise is the hardest there is to encode; two tones, one in each ear.
    let noise = "testsrc2=s=1280x720:r=25:d=8,noise=alls=60:allf=t";
    let tones = "aevalsrc='0.5*sin(880*PI*t)|0.5*sin(1760*PI*t)':s=48000:d=8";
    let inputs = ["-f", "lavfi", "-i", noise, "-f", "lavfi", "-i", tones];
    let encoded = ["-map", "1:v", "-map", "2:a", "-c:v", "libx264", "-pix_fmt", "yuv420p"];
    let arguments = [&inputs[..], &encoded, &["-preset", "ultrafast"]].concat();
    let original = ffmpeg(&footage(WEBCAM), &arguments, "mp4");
    assert!(original.len() > 8 << 20, "{}", original.len());
    let probe = probe(&original).await;
    assert!(probe.browser.plays, "{:?}", probe.browser);
    let media = transcode::recipe::media_text(&probe);
    let small = transcode::recipe::small_copy_of(&media).unwrap();
    let (finished, made) = run(small, &original).await.unwrap();
    let how = &finished.report.made_with.codecs;
    assert!(how["video"].contains("crf=28 maxrate=300000"), "{how:?}");
    assert_eq!(complaints(&made), "");
    let probed = ffprobe(&made);
    let video = stream(&probed, "video").unwrap();
    assert_eq!((&video["width"], &video["height"]), (&640.into(), &360.into()));
    let audio = stream(&probed, "audio").unwrap();
    assert_eq!((&audio["channels"], &audio["codec_name"]), (&1.into(), &"aac".into()));
    // Over all of it no more than 400 kbit/s, 8 s and the two that may come at once.
    assert!(made.len() < 10 * 400_000 / 8, "{}", made.len());
    // Both tones are in it.
    for tone in ["440", "880"] {
        let only =
            format!("bandpass=f={tone}:width_type=h:w=40,bandpass=f={tone}:width_type=h:w=40");
        let raw = ffmpeg(&made, &["-af", &only, "-ac", "1", "-f", "s16le"], "raw");
        let loudest = raw.chunks_exact(2).map(|s| i16::from_le_bytes([s[0], s[1]])).max().unwrap();
        assert!(loudest > 4000, "{tone} Hz: {loudest}");
    }
    let still = support::probe(&footage(STILL)).await;
    assert_eq!(transcode::recipe::small_copy_of(&transcode::recipe::media_text(&still)), None);
}

/// Kind, begin and end of each box of a file.
fn boxes(file: &[u8]) -> Vec<(String, usize, usize)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at + 8 <= file.len() {
        let size = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        let kind = String::from_utf8_lossy(&file[at + 4..at + 8]).into_owned();
        found.push((kind, at, at + size.max(8)));
        at += size.max(8);
    }
    found
}

/// The index in front leads to each fragment and ends where the file ends: nobody has to look for one.
#[tokio::test]
async fn the_index_in_front_leads_to_every_fragment() {
    for original in [format!("{HELLO}.avi"), SOUND.to_owned(), WEBCAM.to_owned()] {
        let (_, made) = proxy(&footage(&original)).await;
        let boxes = boxes(&made);
        let (_, index, mut at) = boxes.iter().find(|(kind, ..)| kind == "sidx").unwrap().clone();
        let number = |at: usize| u32::from_be_bytes(made[at..at + 4].try_into().unwrap());
        let (ticks, lines) = (number(index + 16), number(index + 36) & 0xffff);
        let mut length = 0;
        for line in (0..lines as usize).map(|line| index + 40 + 12 * line) {
            let at_fragment =
                |(kind, begin, _): &(String, usize, usize)| kind == "moof" && *begin == at;
            assert!(boxes.iter().any(at_fragment), "{original}: a fragment at {at}: {boxes:?}");
            at += number(line) as usize;
            length += number(line + 4);
        }
        assert_eq!(at, made.len(), "{original}");
        let (length, probed) = (f64::from(length) / f64::from(ticks), ffprobe(&made));
        let judged = seconds(&probed["format"]["duration"]);
        assert!((length - judged).abs() < 0.1, "{original}: {length} for {judged}");
    }
}

#[tokio::test]
async fn proxies_are_fragmented_with_the_index_first() {
    let (_, made) = proxy(&footage(PHONE)).await;
    let kinds: Vec<_> = boxes(&made).into_iter().map(|(kind, ..)| kind).collect();
    assert_eq!(kinds[..5], ["ftyp", "moov", "sidx", "moof", "mdat"], "{kinds:?}");
    let probe = probe(&made.into()).await;
    assert!(probe.browser.plays, "{:?}", probe.browser);
}

#[tokio::test]
async fn variable_frame_rate_keeps_its_timestamps() {
    let original = footage(PHONE);
    let (_, made) = proxy(&original).await;
    let (before, after) = (picture_times(&original), picture_times(&made));
    assert!(before.len() > 30);
    assert_eq!(before.len(), after.len(), "no picture doubled or dropped");
    let steps = |times: &[f64]| times.windows(2).map(|w| w[1] - w[0]).collect::<Vec<_>>();
    let (before, after) = (steps(&before), steps(&after));
    assert!(before.iter().any(|step| (step - before[0]).abs() > 0.001), "the sample varies");
    for (was, is) in before.iter().zip(&after) {
        assert!((was - is).abs() < 0.0005, "{was} became {is}");
    }
}

/// A flash and a beep at the same moment, three seconds in, on a sound track that starts a second late.
#[tokio::test]
async fn sound_stays_with_the_picture() {
    let picture =
        "color=black:s=320x240:r=15:d=6,drawbox=enable='between(t,3,3.2)':color=white:t=fill";
    let sound = "sine=f=1000:d=5:r=44100,volume='between(t,2,2.2)':eval=frame";
    let arguments = [
        ["-f", "lavfi", "-i", picture].as_slice(),
        &["-itsoffset", "1", "-f", "lavfi", "-i", sound],
        &["-map", "1:v", "-map", "2:a", "-c:v", "mjpeg", "-c:a", "pcm_mulaw", "-ar", "8000"],
    ]
    .concat();
    let original = ffmpeg(&footage(WEBCAM), &arguments, "mkv");
    let (finished, made) = proxy(&original).await;
    assert_eq!(finished.report.notes, Vec::<String>::new());
    let (flash, beep) = (flash(&made), beep(&made));
    assert!((flash - 3.0).abs() < 0.1, "flash at {flash}");
    assert!((flash - beep).abs() < 0.08, "flash at {flash}, beep at {beep}");
}

/// When the picture turns white.
fn flash(video: &[u8]) -> f64 {
    let gray = "scale=1:1,format=gray";
    let raw = ffmpeg(video, &["-vf", gray, "-vsync", "passthrough", "-f", "rawvideo"], "raw");
    let at = raw.iter().position(|pixel| *pixel > 128).expect("there is a flash");
    picture_times(video)[at]
}

/// When the sound begins, counted from zero.
fn beep(video: &[u8]) -> f64 {
    let filled = "aresample=8000:async=1:first_pts=0";
    let raw = ffmpeg(video, &["-af", filled, "-ac", "1", "-f", "s16le"], "raw");
    let loud = |s: &[u8]| i16::from_le_bytes([s[0], s[1]]).unsigned_abs() > 1500;
    raw.chunks_exact(2).position(loud).expect("there is a beep") as f64 / 8000.0
}
/// The index may be at the end: players ask for ranges.
#[tokio::test]
async fn what_a_browser_plays_is_not_made_again() {
    let remade = |arguments: &[&str], extension| {
        ffmpeg(&footage(&format!("{HELLO}.mp4")), &[&["-c", "copy"], arguments].concat(), extension)
    };
    let front = remade(&["-movflags", "+faststart"], "mp4");
    for (name, original, plays, is_remade) in [
        ("front", front.clone(), true, false),
        ("back", remade(&[], "mp4"), true, false),
        ("mkv", remade(&[], "mkv"), false, false),
        ("ts", remade(&[], "ts"), false, true),
        ("cut", front.slice(..front.len() / 3), false, false),
        ("still", footage(STILL), true, false),
    ] {
        let probe = probe(&original).await;
        assert_eq!(probe.browser.plays, plays, "{name}: {:?}", probe.browser);
        let next = transcode::recipe::after(&transcode::recipe::media_text(&probe));
        let kinds: Vec<_> = next.iter().map(Recipe::kind).collect();
        assert_eq!(kinds.contains(&"proxy"), is_remade, "{name}: {kinds:?}");
        assert_eq!(kinds.contains(&"front"), !plays && !is_remade, "{name}: {kinds:?}");
        assert!(kinds.contains(&"poster"), "{name}: {kinds:?}");
        assert_eq!(kinds.contains(&"thumbnails"), name != "still", "{name}: {kinds:?}");
    }
}

#[tokio::test]
async fn posters_are_small_pictures_from_a_little_in() {
    for (original, size) in
        [(footage(PHONE), (640, 360)), (footage(CCTV), (640, 480)), (footage(WEBCAM), (320, 240))]
    {
        let (_, made) = run(Recipe::Poster(PosterParameters::default()), &original).await.unwrap();
        let probed = ffprobe(&made);
        let video = stream(&probed, "video").unwrap();
        assert_eq!(video["codec_name"], "mjpeg");
        assert_eq!((&video["width"], &video["height"]), (&size.0.into(), &size.1.into()));
        assert_eq!(complaints(&made), "");
    }
}

/// All that is made of an original comes out of one pass as it does by itself, and so again.
#[tokio::test]
async fn same_original_and_recipe_give_the_same_bytes_alone_or_together() {
    let original = footage(PHONE);
    let recipes = transcode::recipe::standard();
    let together = run_all(&recipes, &original).await.unwrap();
    assert_eq!(together.len(), recipes.len());
    for (recipe, together) in recipes.into_iter().zip(together) {
        let (report, bytes) = together.unwrap();
        let kind = recipe.kind();
        let alone = run(recipe, &original).await.unwrap();
        assert_eq!((&alone.0.report, &alone.1), (&report, &bytes), "{kind}");
        assert_eq!(report.made_with.program, "exhibit-transcode");
        assert!(report.made_with.libraries["libavcodec"].starts_with("59."), "{report:?}");
        if kind == "proxy" {
            assert!(report.made_with.codecs["video"].contains("libx264 preset=veryfast crf=23"));
            assert_eq!(report.made_with.threads, 1);
        }
    }
}

#[tokio::test]
async fn stills_and_sound_alone_are_handled() {
    let still = footage(STILL);
    assert!(probe(&still).await.has_video());
    let (_, poster) = run(Recipe::Poster(PosterParameters::default()), &still).await.unwrap();
    assert_eq!(complaints(&poster), "");
    let sound: Bytes = footage(SOUND);
    let (_, made) = proxy(&sound).await;
    let probed = ffprobe(&made);
    assert!(stream(&probed, "video").is_none());
    assert_eq!(stream(&probed, "audio").unwrap()["codec_name"], "aac");
    assert_eq!(complaints(&made), "");
    let failed = run(Recipe::Poster(PosterParameters::default()), &sound).await.unwrap_err();
    assert_eq!(failed.code(), "nothing-to-make");
}
