//! Where a device says that it was: tracks made by hand, tags made by Debian's ffmpeg, a phone's clip.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;
#[path = "support/track.rs"]
mod track;

use bytes::Bytes;
use serde_json::{Value, json};
use support::*;
use track::{Sample, with_track};
use transcode::protocol::probe::LocationSource;
use transcode::protocol::{LocationParameters, Recipe};

/// Three seconds of picture, without a place.
fn clip(extension: &str, arguments: &[&str]) -> Bytes {
    let picture = ["-f", "lavfi", "-i", "testsrc=s=320x240:r=10:d=3", "-map", "1:v"];
    let encoded = ["-c:v", "libx264", "-pix_fmt", "yuv420p"];
    ffmpeg(&footage(WEBCAM), &[&picture[..], &encoded, arguments].concat(), extension)
}

fn with(kind: &[u8; 4], samples: &[Sample]) -> Bytes {
    with_track(&clip("mp4", &[]), kind, samples).into()
}

async fn located_with(
    parameters: LocationParameters,
    original: &Bytes,
) -> (Vec<String>, Vec<Value>) {
    let (finished, made) = run(Recipe::Location(parameters), original).await.unwrap();
    let collection: Value = serde_json::from_slice(&made).unwrap();
    assert_eq!(collection["type"], "FeatureCollection");
    let features = collection["features"].as_array().unwrap().clone();
    for feature in &features {
        let (geometry, properties) = (&feature["geometry"], &feature["properties"]);
        assert_eq!(feature["type"], "Feature");
        let points = match geometry["type"].as_str().unwrap() {
            "Point" => 1,
            _ => geometry["coordinates"].as_array().unwrap().len(),
        };
        for list in properties.as_object().unwrap().values().filter_map(Value::as_array) {
            assert_eq!(list.len(), points, "one for each place: {properties}");
        }
    }
    (finished.report.notes, features)
}

async fn located(original: &Bytes) -> (Vec<String>, Vec<Value>) {
    located_with(LocationParameters::default(), original).await
}

/// What a probe says of places, and whether they are asked for then.
async fn probed(original: &Bytes) -> (Vec<LocationSource>, bool) {
    let probe = probe(original).await;
    let next = transcode::recipe::after(&transcode::recipe::media_text(&probe));
    (probe.location_from, next.iter().any(|recipe| recipe.kind() == "location"))
}

fn element(key: &[u8; 4], kind: u8, sample_bytes: u8, data: &[u8]) -> Vec<u8> {
    let repeat = (data.len() / usize::from(sample_bytes)) as u16;
    let head = [&key[..], &[kind, sample_bytes], &repeat.to_be_bytes()].concat();
    let filled = vec![0; data.len().next_multiple_of(4) - data.len()];
    [head, data.to_vec(), filled].concat()
}

fn numbers(all: &[i32]) -> Vec<u8> {
    all.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// A packet as a camera before 2022 wrote it: two places, half a second apart, north of where the one before was.
fn gopro(second: i32, fix: i32, scale: [i32; 5]) -> Vec<u8> {
    let place = |at: i32| [515_000_000 + 1000 * at, -1_250_000, 11_300, 1500, 1600];
    let places = [place(second * 2), place(second * 2 + 1)].concat();
    let stream = [
        element(b"GPSF", b'L', 4, &numbers(&[fix])),
        element(b"GPSU", b'U', 16, format!("2603291200{second:02}.000").as_bytes()),
        element(b"GPSP", b'S', 2, &[0, 154]),
        element(b"SCAL", b'l', 4, &numbers(&scale)),
        element(b"GPS5", b'l', 20, &numbers(&places)),
    ];
    let other = element(b"STRM", 0, 1, &element(b"ACCL", b's', 6, &[1; 60]));
    let stream = element(b"STRM", 0, 1, &stream.concat());
    element(b"DEVC", 0, 1, &[other, stream].concat())
}

const SCALE: [i32; 5] = [10_000_000, 10_000_000, 1000, 1000, 100];

#[tokio::test]
async fn a_gopros_track_is_a_line_with_times() {
    let samples: Vec<Sample> = (0..3).map(|at| (gopro(at, 3, SCALE), 1000)).collect();
    let original = with(b"gpmd", &samples);
    assert_eq!(probed(&original).await, (vec![LocationSource::Gpmf], true));
    let (notes, features) = located(&original).await;
    assert_eq!(notes, [] as [String; 0]);
    assert_eq!(features.len(), 1);
    let line = &features[0]["geometry"];
    assert_eq!(line["type"], "LineString");
    assert_eq!(line["coordinates"][0], json!([-0.125, 51.5, 11.3]));
    assert_eq!(line["coordinates"][5], json!([-0.125, 51.5005, 11.3]));
    let said = &features[0]["properties"];
    assert_eq!((&said["source"], &said["stream"]), (&json!("gpmf"), &json!(1)));
    let times = [0, 500_000, 1_000_000, 1_500_000, 2_000_000, 2_500_000];
    assert_eq!(said["times_us"], json!(times));
    // `date -u -d '2026-03-29 12:00:00' +%s%3N`
    let claimed = times.map(|us| 1_774_785_600_000i64 + us / 1000);
    assert_eq!(said["claimed_unix_ms"], json!(claimed));
    assert_eq!((&said["speeds_m_s"][0], &said["dops"][0]), (&json!(1.5), &json!(1.54)));
}

#[tokio::test]
async fn places_without_a_fix_or_that_cannot_be_are_left_out() {
    let far = [1, 1, 1000, 1000, 100];
    let nothing = [0, 0, 0, 0, 0];
    for (fix, scale) in [(0, SCALE), (3, far), (3, nothing)] {
        let samples: Vec<Sample> =
            vec![(gopro(0, fix, scale), 1000), (vec![0xff; 99], 1000), (gopro(2, 3, SCALE), 1000)];
        let (notes, features) = located(&with(b"gpmd", &samples)).await;
        assert_eq!(notes, ["2 readings without a place that can be were left out"]);
        assert_eq!(features[0]["properties"]["times_us"], json!([2_000_000, 2_500_000]));
    }
    // A camera that never knew where it was is no failure.
    let (_, features) = located(&with(b"gpmd", &[(gopro(0, 0, SCALE), 1000)])).await;
    assert_eq!(features, [] as [Value; 0]);
}

#[tokio::test]
async fn a_long_track_is_thinned_to_its_end() {
    let samples: Vec<Sample> = (0..60).map(|at| (gopro(at, 3, SCALE), 50)).collect();
    let parameters = LocationParameters { max_points: 10, ..Default::default() };
    let (notes, features) = located_with(parameters, &with(b"gpmd", &samples)).await;
    assert_eq!(notes, ["of the places one in 16 was kept"]);
    let times = features[0]["properties"]["times_us"].as_array().unwrap();
    assert_eq!(times.len(), 9);
    assert_eq!((&times[1], &times[8]), (&json!(400_000), &json!(2_975_000)));
}

fn camm(kind: u8, measured: &[u8]) -> Vec<u8> {
    [&[0, 0, kind, 0][..], measured].concat()
}

fn doubles(all: &[f64]) -> Vec<u8> {
    all.iter().flat_map(|number| number.to_le_bytes()).collect()
}

#[tokio::test]
async fn a_track_of_motion_is_read_in_both_its_ways() {
    let gyroscope = camm(2, &[0; 12]);
    let five = camm(5, &doubles(&[51.5, -0.125, 11.5]));
    let rest: Vec<u8> =
        [11.5f32, 2.0, 3.0, 3.0, 4.0, 0.0, 0.5].iter().flat_map(|n| n.to_le_bytes()).collect();
    // GPS time of 2026-03-29 12:00:00 UTC.
    let time = doubles(&[1_774_785_600.0 - 315_964_800.0 + 18.0]);
    let six = camm(6, &[&time[..], &[3, 0, 0, 0], &doubles(&[51.6, -0.125]), &rest].concat());
    let no_number = camm(5, &doubles(&[f64::NAN, 0.0, 0.0]));
    let samples = [gyroscope, five, no_number, six].map(|bytes| (bytes, 500));
    let original = with(b"camm", &samples);
    assert_eq!(probed(&original).await, (vec![LocationSource::Camm], true));
    let (notes, features) = located(&original).await;
    assert_eq!(notes, ["1 readings without a place that can be were left out"]);
    let said = &features[0]["properties"];
    let line = &features[0]["geometry"]["coordinates"];
    assert_eq!(line, &json!([[-0.125, 51.5, 11.5], [-0.125, 51.6, 11.5]]));
    assert_eq!(said["times_us"], json!([500_000, 1_500_000]));
    assert_eq!(said["claimed_unix_ms"], json!([null, 1_774_785_600_000i64]));
    assert_eq!(said["speeds_m_s"], json!([null, 5.0]));
    assert_eq!(said["accuracies_m"], json!([null, 2.0]));
}

/// One place for all of the file: as phones (3GP's `loci`), cameras (`©xyz`) and Apple's tag have it.
#[tokio::test]
async fn a_place_in_the_tags_is_a_point() {
    let place = "location=+51.5007-000.1246/";
    let apple = "com.apple.quicktime.location.ISO6709=+51.5007-000.1246+011.300/";
    let of_apple = ["-movflags", "use_metadata_tags", "-metadata", apple];
    for (extension, arguments, altitude) in [
        ("3gp", &["-metadata", place][..], None),
        ("mp4", &["-metadata", place], None),
        ("mov", &of_apple, Some(11.3)),
    ] {
        let original = clip(extension, arguments);
        let said = (vec![LocationSource::Container], true);
        assert_eq!(probed(&original).await, said, "{extension}");
        let (_, features) = located(&original).await;
        let point = &features[0]["geometry"];
        assert_eq!(point["type"], "Point", "{extension}");
        let at = point["coordinates"].as_array().unwrap();
        let near = |value: &Value, place: f64| (value.as_f64().unwrap() - place).abs() < 0.0002;
        assert!(near(&at[0], -0.1246) && near(&at[1], 51.5007), "{extension}: {point}");
        assert_eq!(at.get(2).filter(|_| altitude.is_some()).and_then(Value::as_f64), altitude);
        let properties = json!({"source": "container", "stream": null});
        assert_eq!(features[0]["properties"], properties, "{extension}: no time of its own");
    }
}

/// Nothing asks where nothing says it; asked all the same, it is an empty collection.
#[tokio::test]
async fn where_nothing_says_it_nothing_asks() {
    for original in [footage(CCTV), footage(STILL), clip("mp4", &[])] {
        assert_eq!(probed(&original).await, (vec![], false));
    }
    assert_eq!(located(&footage(CCTV)).await.1, [] as [Value; 0]);
}
