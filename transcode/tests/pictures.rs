//! Pictures that are not plain: interlaced, of high dynamic range, of full range, of red, green and blue. What a person sees of them is
//! measured in the viewing copy and in the JPEGs.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::process::Command;

use bytes::Bytes;
use support::*;
use transcode::protocol::Recipe;

const WIDTH: usize = 320;
const HEIGHT: usize = 240;

/// What `ffmpeg` makes of a source.
fn encode(source: &str, arguments: &str, extension: &str) -> Bytes {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("clip").with_extension(extension);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-f", "lavfi", "-i", source]).args(arguments.split_whitespace());
    let out = ffmpeg.args(["-threads", "1"]).arg(&target).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::read(target).unwrap().into()
}

fn brightness(video: &[u8]) -> Bytes {
    let shown =
        ["-vf", "format=yuv420p,extractplanes=y", "-vsync", "passthrough", "-f", "rawvideo"];
    ffmpeg(video, &shown, "raw")
}

/// How many points of a picture are quite darker, or quite brighter, than both the point above and below.
fn combs(picture: &[u8]) -> usize {
    let line = |y: usize| &picture[y * WIDTH..(y + 1) * WIDTH];
    let of_line = |y: usize| {
        let points = line(y - 1).iter().zip(line(y)).zip(line(y + 1));
        points
            .filter(|((above, here), below)| {
                let up = i32::from(**here) - i32::from(**above);
                let down = i32::from(**here) - i32::from(**below);
                up.abs().min(down.abs()) > 60 && up.signum() == down.signum()
            })
            .count()
    };
    (1..HEIGHT - 1).map(of_line).sum()
}

/// A bar that moves by four points in each half picture.
#[tokio::test]
async fn interlaced_pictures_are_made_whole_one_for_each() {
    let halves = format!(
        "color=black:s={WIDTH}x{HEIGHT}:r=50:d=2,drawbox=x='mod(n*4,280)':w=40:h=ih:color=white:t=fill,\
         tinterlace=interleave_top,fieldorder=tff"
    );
    let source = halves.replace(
        "drawbox=x='mod(n*4,280)':w=40:h=ih:color=white:t=fill",
        "geq=lum='235*between(X,mod(N*4\\,280),mod(N*4\\,280)+40)':cb=128:cr=128",
    );
    let original = encode(&source, "-c:v mpeg2video -q:v 2 -flags +ildct+ilme -top 1", "ts");
    let points = WIDTH * HEIGHT;
    let worst = |video: &[u8]| brightness(video).chunks_exact(points).map(combs).max().unwrap();
    assert!(worst(&original) > 500, "the clip has combs: {}", worst(&original));
    let recipes = [
        Recipe::Proxy(Default::default()),
        Recipe::Poster(Default::default()),
        Recipe::Frames(Default::default()),
    ];
    let mut ended = run_all(&recipes, &original).await.unwrap().into_iter();
    let (report, film) = ended.next().unwrap().unwrap();
    assert!(
        report.notes.iter().any(|note| note == "interlaced pictures made whole: all"),
        "{report:?}"
    );
    assert!(worst(&film) < 50, "{}", worst(&film));
    let (_, poster) = ended.next().unwrap().unwrap();
    assert!(worst(&poster) < 50, "{}", worst(&poster));
    let (before, after) = (picture_times(&original), picture_times(&film));
    assert_eq!(before.len(), after.len());
    for (was, is) in before.iter().zip(&after) {
        let moved = (was - before[0]) - (is - after[0]);
        assert!(moved.abs() < 0.0005, "{was} became {is}");
    }
    let (_, frames) = ended.next().unwrap().unwrap();
    let frames: serde_json::Value = serde_json::from_slice(&frames).unwrap();
    assert_eq!(frames["count"], before.len());
    assert!(frames["keyframes"].as_array().unwrap().len() > 1, "{frames}");
}

/// Signal for so many cd/m² (SMPTE ST 2084, equation 5.2), in ten bits of narrow range.
fn perceptual_quantizer(candela: f64) -> u32 {
    let (m1, m2) = (2610.0 / 16384.0, 2523.0 / 32.0);
    let (c1, c2, c3) = (3424.0 / 4096.0, 2413.0 / 128.0, 2392.0 / 128.0);
    let y = (candela / 10_000.0).powf(m1);
    ten_bits(((c1 + c2 * y) / (1.0 + c3 * y)).powf(m2))
}

fn ten_bits(signal: f64) -> u32 {
    (64.0 + 876.0 * signal).round() as u32
}

/// Luma in eight bits of narrow range that a screen of 100 cd/m² shows so bright (ITU-R BT.1886).
fn shown(candela: f64) -> f64 {
    16.0 + 219.0 * (candela / 100.0).powf(1.0 / 2.4)
}

/// Dark and middle grey are as bright as they were recorded; what is brighter than white is there and not cut off.
#[tokio::test]
async fn high_dynamic_range_is_mapped_and_keeps_the_dark() {
    // Of HLG (ITU-R BT.2100, table 5), where 1,000 cd/m² are full: display light of a signal below a half.
    let hybrid = |signal: f64| 1000.0 * (signal * signal / 3.0).powf(1.2);
    let cases = [
        ("smpte2084", perceptual_quantizer(5.0), 5.0),
        ("smpte2084", perceptual_quantizer(26.0), 26.0),
        ("arib-std-b67", ten_bits(0.25), hybrid(0.25)),
    ];
    for (transfer, code, candela) in cases {
        let film = mapped(transfer, code).await;
        let (found, expected) = (middle(&film), shown(candela));
        assert!((found - expected).abs() < 4.0, "{transfer} {candela}: {found}, {expected}");
    }
    let mut last = shown(26.0);
    for candela in [100.0, 300.0, 1000.0] {
        let found = middle(&mapped("smpte2084", perceptual_quantizer(candela)).await);
        assert!(found > last + 3.0 && found <= 236.0, "{candela}: {found} after {last}");
        last = found;
    }
}

async fn mapped(transfer: &str, code: u32) -> Vec<u8> {
    let source = format!(
        "color=black:s={WIDTH}x{HEIGHT}:r=5:d=1,format=yuv420p10le,geq=lum={code}:cb=512:cr=512"
    );
    let arguments = format!(
        "-c:v libx265 -preset ultrafast -crf 5 -x265-params log-level=none:pools=1:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    );
    let original = encode(&source, &arguments, "mp4");
    let (finished, film) = proxy(&original).await;
    let notes = finished.report.notes;
    assert!(notes.iter().any(|note| note.contains("high dynamic range")), "{notes:?}");
    let probed = ffprobe(&film);
    let video = stream(&probed, "video").unwrap();
    for said in ["color_transfer", "color_primaries", "color_space"] {
        assert_eq!(video[said], "bt709", "{said}");
    }
    film
}

/// The mean brightness of the last picture.
fn middle(film: &[u8]) -> f64 {
    let all = brightness(film);
    let last = &all[all.len() - WIDTH * HEIGHT..];
    last.iter().map(|point| f64::from(*point)).sum::<f64>() / last.len() as f64
}

/// Black and white of full range are black and white.
#[tokio::test]
async fn full_range_becomes_narrow_range() {
    for (luma, expected) in [(0, 16.0), (255, 235.0), (128, 126.0)] {
        let source = format!(
            "color=black:s={WIDTH}x{HEIGHT}:r=5:d=1,format=yuv420p,geq=lum={luma}:cb=128:cr=128"
        );
        let arguments =
            "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 10 -b:v 0 -color_range pc";
        let (_, film) = proxy(&encode(&source, arguments, "webm")).await;
        let found = middle(&film);
        assert!((found - expected).abs() < 3.0, "{luma}: {found}, {expected}");
    }
}

/// What is stored as red, green and blue keeps its colours, in the film and in the poster.
#[tokio::test]
async fn red_green_and_blue_stay_what_they_are() {
    let colours = [("0xC02020", [0xC0, 0x20, 0x20]), ("0x20A040", [0x20, 0xA0, 0x40])];
    let stored = [
        ("-c:v libx264rgb -preset ultrafast -crf 10 -pix_fmt rgb24", "mp4"),
        (
            "-vf scale=out_color_matrix=bt709 -c:v libx264 -preset ultrafast -crf 5 -pix_fmt yuv444p -colorspace bt709 -color_primaries bt709 -color_trc bt709",
            "mp4",
        ),
    ];
    for ((colour, expected), (arguments, extension)) in
        colours.iter().flat_map(|c| stored.map(|s| (c, s)))
    {
        let source = format!("color={colour}:s={WIDTH}x{HEIGHT}:r=5:d=1,format=gbrp");
        let original = encode(&source, arguments, extension);
        for recipe in [Recipe::Proxy(Default::default()), Recipe::Poster(Default::default())] {
            let kind = recipe.kind();
            let (_, made) = run(recipe, &original).await.unwrap();
            if kind == "proxy" {
                let probed = ffprobe(&made);
                let said = &stream(&probed, "video").unwrap()["color_space"];
                // Where nothing is said, players guess by the size of the picture.
                let is_rgb = arguments.contains("rgb24");
                assert_eq!(said, if is_rgb { "smpte170m" } else { "bt709" });
            }
            let rgb =
                ffmpeg(&made, &["-vf", "format=rgb24", "-frames:v", "1", "-f", "rawvideo"], "raw");
            for (found, expected) in rgb[..3].iter().zip(expected) {
                let far = i32::from(*found) - expected;
                assert!(far.abs() < 8, "{kind} of {arguments}: {:?} for {colour}", &rgb[..3]);
            }
        }
    }
}
