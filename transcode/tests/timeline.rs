//! What a player needs besides the viewing copy: thumbnails, waveform, frames, scenes. Debian's ffmpeg programs judge.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use bytes::Bytes;
use serde_json::Value;
use support::*;
use transcode::protocol::{Recipe, ThumbnailsParameters, WaveformParameters};

async fn json(recipe: Recipe, original: &Bytes) -> Value {
    let (_, made) = run(recipe, original).await.unwrap();
    serde_json::from_slice(&made).unwrap()
}

fn numbers(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).collect()
}

/// Each picture, at the time it has, whatever the rate; counted from the start of the file.
#[tokio::test]
async fn frames_are_those_that_a_player_shows() {
    for original in [PHONE, CCTV, &format!("{HELLO}.mpeg"), &format!("{HELLO}.avi")] {
        let footage = footage(original);
        let index = json(Recipe::Frames(Default::default()), &footage).await;
        let times = numbers(&index["times"]);
        let judged = picture_times(&footage);
        assert_eq!(index["count"], times.len(), "{original}");
        assert_eq!(times.len(), judged.len(), "{original}");
        let ticks = index["ticks_per_second"].as_f64().unwrap();
        for (ours, theirs) in times.iter().zip(&judged) {
            let (ours, theirs) = ((*ours - times[0]) as f64 / ticks, theirs - judged[0]);
            assert!((ours - theirs).abs() < 0.0005, "{original}: {ours} for {theirs}");
        }
        assert_eq!(numbers(&index["keyframes"]), keyframes(&footage), "{original}");
    }
}

/// Positions of the pictures that need none before them.
fn keyframes(original: &Bytes) -> Vec<i64> {
    let file = file(original);
    let what = ["-v", "error", "-select_streams", "v:0", "-show_entries", "frame=key_frame"];
    let mut judge = std::process::Command::new("ffprobe");
    let judged = judge.args(what).args(["-of", "csv=p=0"]).arg(file.path()).output().unwrap();
    let text = String::from_utf8(judged.stdout).unwrap();
    let is_key = text.lines().filter(|line| !line.is_empty()).map(|line| line.starts_with('1'));
    is_key.enumerate().filter_map(|(at, is_key)| is_key.then_some(at as i64)).collect()
}

/// Three pictures of one colour each, two seconds of each: two changes, where they are.
#[tokio::test]
async fn scenes_change_where_the_picture_does() {
    let scene = |colour: &str| format!("color={colour}:s=320x240:r=10:d=2");
    let scenes = ["black", "white", "gray"].map(scene);
    let inputs = scenes.iter().flat_map(|scene| ["-f", "lavfi", "-i", scene]);
    let graph = ["-filter_complex", "[1:v][2:v][3:v]concat=n=3", "-c:v", "mjpeg"];
    let arguments: Vec<&str> = inputs.chain(graph).collect();
    let original = ffmpeg(&footage(WEBCAM), &arguments, "avi");
    let found = json(Recipe::Scenes(Default::default()), &original).await;
    let scenes = found["scenes"].as_array().unwrap();
    let at: Vec<_> = scenes.iter().map(|scene| scene["time"].as_i64().unwrap()).collect();
    assert_eq!(at, [2 * 90_000, 4 * 90_000], "{found}");
    // A street that somebody filmed at a stretch has none.
    let found = json(Recipe::Scenes(Default::default()), &footage(CCTV)).await;
    assert_eq!(found["scenes"], serde_json::json!([]));
}

/// Silence, a loud second, silence: at its time, also where the sound starts late.
#[tokio::test]
async fn the_waveform_is_loud_where_the_sound_is() {
    let sound = "sine=f=1000:d=4:r=44100,volume='if(between(t,1,2),4,0)':eval=frame";
    let arguments = ["-itsoffset", "1", "-f", "lavfi", "-i", sound, "-map", "0:v", "-map", "1:a"];
    let encoded = ["-c:v", "copy", "-c:a", "pcm_s16le"];
    let original = ffmpeg(&footage(WEBCAM), &[&arguments[..], &encoded].concat(), "mkv");
    let waveform = json(Recipe::Waveform(Default::default()), &original).await;
    let points_per_second =
        waveform["sample_rate"].as_u64().unwrap() / waveform["samples_per_pixel"].as_u64().unwrap();
    assert_eq!(points_per_second, 20);
    let data = numbers(&waveform["data"]);
    assert_eq!(waveform["length"].as_u64().unwrap() * 2, data.len() as u64);
    let loud = data.chunks(2).map(|span| span[1] - span[0] > 40);
    let loud: Vec<_> = loud.enumerate().filter_map(|(at, loud)| loud.then_some(at)).collect();
    let (first, last) = (loud[0], loud[loud.len() - 1]);
    assert!((39..=41).contains(&first) && (58..=61).contains(&last), "{first} to {last}");
    assert_eq!(loud.len(), last - first + 1, "without a gap");
}

/// Of a longer one two points become one: the loud second stays where it is.
#[tokio::test]
async fn a_long_waveform_is_coarser_not_longer() {
    let parameters = WaveformParameters { max_points: 100, ..Default::default() };
    let waveform = json(Recipe::Waveform(parameters), &footage(SOUND)).await;
    let length = seconds(&ffprobe(&footage(SOUND))["format"]["duration"]);
    let (points, each) = (&waveform["length"], &waveform["samples_per_pixel"]);
    let (points, each) = (points.as_u64().unwrap(), each.as_u64().unwrap());
    assert!((50..=100).contains(&points), "{points}");
    let lasts = points as f64 * each as f64 / 48_000.0;
    assert!(lasts >= length && lasts < length + 2.0 * each as f64 / 48_000.0, "{lasts}, {length}");
}

/// A clip of which each second has a brightness of its own: each picture of the sheet is the one on show then.
#[tokio::test]
async fn thumbnails_are_what_was_on_show() {
    let brightness = "color=black:s=320x240:r=10:d=7,geq=lum='40+24*floor(T)':cb=128:cr=128";
    let arguments = ["-f", "lavfi", "-i", brightness, "-map", "1:v", "-c:v", "mjpeg", "-q:v", "2"];
    let original = ffmpeg(&footage(WEBCAM), &arguments, "avi");
    for (max_pictures, every, pictures) in [(100, 1000, 7), (4, 2000, 4), (2, 4000, 2)] {
        let parameters = ThumbnailsParameters { max_pictures, columns: 3, ..Default::default() };
        let (finished, sheet) = run(Recipe::Thumbnails(parameters), &original).await.unwrap();
        let how = &finished.report.made_with.codecs["picture"];
        let said = format!("picture=150x112 columns=3 every={every}ms pictures={pictures}");
        assert!(how.ends_with(&said), "{how}");
        let probed = ffprobe(&sheet);
        let video = stream(&probed, "video").unwrap();
        let (columns, rows) = (3.min(pictures), (pictures as u64).div_ceil(3));
        let size = (150 * columns, 112 * rows);
        assert_eq!((&video["width"], &video["height"]), (&size.0.into(), &size.1.into()));
        let gray = ffmpeg(&sheet, &["-vf", "format=gray", "-f", "rawvideo"], "raw");
        for at in 0..pictures as u64 {
            let (x, y) = (at % 3 * 150 + 75, at / 3 * 112 + 56);
            let found = i64::from(gray[(y * size.0 as u64 + x) as usize]);
            let shown = 40 + 24 * (at as i64 * every / 1000);
            // The clip is of narrow range, the sheet of full range.
            let expected = (shown - 16) * 255 / 219;
            assert!((found - expected).abs() < 8, "{at}: {found}, {expected}");
        }
    }
}

/// One that has no picture, and one that has no sound.
#[tokio::test]
async fn what_is_not_there_is_a_reason_of_its_own() {
    let recipes = [
        Recipe::Poster(Default::default()),
        Recipe::Waveform(Default::default()),
        Recipe::Frames(Default::default()),
    ];
    for (original, made) in [(SOUND, [false, true, false]), (WEBCAM, [true, false, true])] {
        let ended = run_all(&recipes, &footage(original)).await.unwrap();
        for (ended, made) in ended.into_iter().zip(made) {
            match ended {
                Ok((_, bytes)) => assert!(made && !bytes.is_empty(), "{original}"),
                Err(failure) => {
                    assert!(!made, "{original}: {failure}");
                    assert_eq!(failure.code(), "nothing-to-make");
                }
            }
        }
    }
}
