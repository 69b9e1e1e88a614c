//! Signatures that a camera puts into the recording: real H.264 and HEVC by Debian's ffmpeg, with the units that signing cameras add.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use bytes::Bytes;
use support::*;
use transcode::protocol::probe::SignatureKind::{self, AxisSignedVideo, OnvifMediaSigning};

const AXIS: &str = "5369676e-6564-2056-6964-656f2e2e2e30";
const ONVIF: &str = "005bc93f-2d71-5e95-ada4-796f90877a6f";
/// Somebody's own use of the same kind of unit.
const OTHER: &str = "0123456789abcdef0123456789abcdef";

fn bytes_of(name: &str) -> Vec<u8> {
    let hex: Vec<u8> = name.bytes().filter(|byte| *byte != b'-').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.chunks(2).map(byte).collect()
}

/// Two seconds that begin anew every half second, each time with a unit of that name.
fn h264(name: &str) -> Bytes {
    let filter = format!("h264_metadata=sei_user_data={name}+signed");
    let picture = ["-f", "lavfi", "-i", "testsrc=s=320x240:r=10:d=2", "-map", "1:v"];
    let encoded =
        ["-c:v", "libx264", "-g", "5", "-bf", "0", "-pix_fmt", "yuv420p", "-bsf:v", &filter];
    ffmpeg(&footage(WEBCAM), &[&picture[..], &encoded].concat(), "h264")
}

/// The same in HEVC, for which ffmpeg has no such filter: one before each picture, put in by hand.
fn hevc(name: &str) -> Bytes {
    let picture = ["-f", "lavfi", "-i", "testsrc=s=320x240:r=10:d=2", "-map", "1:v"];
    let encoded = ["-c:v", "libx265", "-x265-params", "log-level=none:keyint=5:slices=1:bframes=0"];
    let plain = ffmpeg(&footage(WEBCAM), &[&picture[..], &encoded].concat(), "hevc");
    let unit = [&[0, 0, 1, 39 << 1, 1, 5, 22][..], &bytes_of(name), b"signed", &[0x80]].concat();
    let mut signed = Vec::new();
    for at in 0..plain.len() {
        let is_picture = |unit: &[u8]| unit[..3] == [0, 0, 1] && unit[3] >> 1 < 32;
        if plain.get(at..at + 4).is_some_and(is_picture) {
            signed.extend_from_slice(&unit);
        }
        signed.push(plain[at]);
    }
    signed.into()
}

async fn found(original: &Bytes) -> Vec<(u32, SignatureKind, u64)> {
    let probe = probe(original).await;
    probe.signatures.iter().map(|s| (s.stream, s.kind, s.units)).collect()
}

/// In whatever container the stream lies, and however that tells units apart.
#[tokio::test]
async fn signatures_are_found_in_every_container() {
    for (name, kind) in [(AXIS, AxisSignedVideo), (ONVIF, OnvifMediaSigning)] {
        for (bare, extension, units) in [(h264(name), "h264", 4), (hevc(name), "hevc", 20)] {
            let there = bytes_of(name);
            let written = bare.windows(there.len()).filter(|w| *w == there).count();
            assert_eq!(written, units, "{extension}: the clip has them");
            let expected = [(0, kind, units as u64)];
            assert_eq!(found(&bare).await, expected, "{extension}");
            // A bare stream has no times, which the other two ask for.
            let mp4 = ffmpeg(&bare, &["-c", "copy"], "mp4");
            let copied = ["mkv", "ts"].map(|container| ffmpeg(&mp4, &["-c", "copy"], container));
            for original in [&mp4].into_iter().chain(&copied) {
                assert_eq!(found(original).await, expected, "{extension}: {:?}", &original[..12]);
            }
        }
    }
}

/// The encoder's own unit, and somebody's, are none; nor is what other streams hold.
#[tokio::test]
async fn other_units_are_no_signature() {
    for original in [h264(OTHER), hevc(OTHER), footage(PHONE), footage(CCTV), footage(STILL)] {
        assert_eq!(found(&original).await, []);
    }
    // x264 says in such a unit how it was called.
    assert!(h264(OTHER).windows(4).any(|four| four == b"x264"));
}

/// What is kept of it in the ledger: whose, and how many.
#[tokio::test]
async fn the_ledger_says_so_too() {
    let probe = probe(&h264(AXIS)).await;
    let media: serde_json::Value =
        serde_json::from_str(&transcode::recipe::media_text(&probe)).unwrap();
    let said = serde_json::json!([{"stream": 0, "kind": "axis-signed-video", "units": 4}]);
    assert_eq!(media["signatures"], said);
    // The viewing copy is encoded anew, and cannot carry it.
    let (_, made) = proxy(&h264(AXIS)).await;
    assert_eq!(found(&made.into()).await, []);
}
