//! The track of a camera's motion (`camm`), as far as it says where the camera was.
//!
//! <https://developers.google.com/streetview/publish/camm-spec>: two bytes that say nothing, two of a type, then the measurement;
//! little-endian. Types 5 and 6 are places.

use crate::place::Reading;

/// GPS time began on 6 January 1980.
const EPOCH_MS: f64 = 315_964_800_000.0;
/// GPS time has no leap seconds; UTC has had this many since, from 2017 on.
const LEAP_MS: f64 = 18_000.0;

/// The place in a packet, if it is about one.
pub(crate) fn reading(packet: &[u8]) -> Option<Reading> {
    let body = packet.get(4..)?;
    match packet[2..4] {
        [5, 0] => Some(Reading {
            latitude: long(body, 0)?,
            longitude: long(body, 8)?,
            altitude_m: Some(long(body, 16)?),
            ..Reading::default()
        }),
        [6, 0] => {
            let (east, north) = (short(body, 40)?, short(body, 44)?);
            Some(Reading {
                claimed_ms: claimed(long(body, 0)?),
                without_fix: body.get(8..12)? == [0; 4],
                latitude: long(body, 12)?,
                longitude: long(body, 20)?,
                altitude_m: Some(short(body, 28)?),
                accuracy_m: Some(short(body, 32)?),
                speed_m_s: Some(east.hypot(north)),
                ..Reading::default()
            })
        }
        _ => None,
    }
}

fn claimed(seconds: f64) -> Option<i64> {
    // Beyond this no clock goes, and every number below it is exact.
    let ms = (seconds * 1000.0).round();
    (ms.abs() < 1e14).then_some((ms + EPOCH_MS - LEAP_MS) as i64)
}

fn long(body: &[u8], at: usize) -> Option<f64> {
    body.get(at..)?.first_chunk().map(|bytes| f64::from_le_bytes(*bytes))
}

fn short(body: &[u8], at: usize) -> Option<f64> {
    body.get(at..)?.first_chunk().map(|bytes| f64::from(f32::from_le_bytes(*bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubles(all: &[f64]) -> Vec<u8> {
        all.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    fn floats(all: &[f32]) -> Vec<u8> {
        all.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    #[test]
    fn both_types_are_read() {
        let five = [&[0, 0, 5, 0][..], &doubles(&[51.5, -0.125, 11.5])].concat();
        let reading_of_five = reading(&five).unwrap();
        let Reading { latitude, longitude, altitude_m, .. } = reading_of_five;
        assert_eq!((latitude, longitude, altitude_m), (51.5, -0.125, Some(11.5)));
        assert_eq!(reading_of_five.claimed_ms, None);
        // `date -u -d '2023-11-18 15:45:32 UTC' +%s`, less 315964800, and 18 leap seconds
        let time = 1_700_322_332.0 - 315_964_800.0 + 18.0;
        let rest = floats(&[11.5, 2.0, 3.0, 3.0, 4.0, 0.0, 0.5]);
        let six =
            [&[0, 0, 6, 0][..], &doubles(&[time]), &[3, 0, 0, 0], &doubles(&[51.5, -0.125]), &rest];
        let six = six.concat();
        let found = reading(&six).unwrap();
        assert_eq!((found.latitude, found.longitude), (51.5, -0.125));
        assert_eq!((found.speed_m_s, found.accuracy_m), (Some(5.0), Some(2.0)));
        assert_eq!(found.claimed_ms, Some(1_700_322_332_000));
        assert!(!found.without_fix);
        for packet in [&five, &six] {
            // What a type does not need may be missing.
            for end in 0..28.min(packet.len()) {
                assert_eq!(reading(&packet[..end]), None, "{end}");
            }
        }
        assert_eq!(reading(&[0, 0, 2, 0, 1, 2, 3, 4]), None);
    }
}
