//! What a camera puts beside picture and sound: its signature, and where it was. The parsers are the worker's own files.
#![no_main]
#![allow(dead_code)]

#[path = "../../transcode/worker/src/camm.rs"]
mod camm;
#[path = "../../transcode/worker/src/gpmf.rs"]
mod gpmf;
#[path = "../../transcode/worker/src/nal.rs"]
mod nal;
#[path = "../../transcode/worker/src/place.rs"]
mod place;

use libfuzzer_sys::fuzz_target;

use nal::{Codec, Signatures};
use place::{Point, Thinned};

fuzz_target!(|bytes: &[u8]| {
    let mut track = Thinned::new(8);
    let mut keep = |reading: &place::Reading| {
        if let Some(point) = Point::of(reading, Some(0)) {
            assert!(point.latitude_e7.abs() <= 900_000_000);
            assert!(point.longitude_e7.abs() <= 1_800_000_000);
            track.push(point);
        }
    };
    gpmf::each(bytes, i64::MAX, &mut |later_us, reading| {
        assert!(later_us >= 0);
        keep(&reading);
    });
    camm::reading(bytes).iter().for_each(&mut keep);
    if let Ok(text) = std::str::from_utf8(bytes) {
        place::iso6709(text).iter().for_each(&mut keep);
    }
    assert!(track.finish().len() <= 9);

    let (configuration, packet) = bytes.split_at(bytes.len().min(24));
    for codec in [Codec::H264, Codec::Hevc] {
        let mut signatures = Signatures::new(codec, configuration);
        signatures.look(packet);
        // Each takes a type, a length and sixteen bytes.
        assert!((signatures.axis + signatures.onvif) * 18 <= packet.len() as u64);
    }
});
