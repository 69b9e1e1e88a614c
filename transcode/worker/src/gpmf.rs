//! GoPro's track of measurements (`gpmd`), as far as it says where the camera was.
//!
//! <https://github.com/gopro/gpmf-parser>: elements of four letters, a type, the size of one sample and how many there are, filled
//! up to four bytes; big-endian. `DEVC` holds devices, in each `STRM` streams, in those the samples (`GPS5`, or from 2022 on `GPS9`),
//! what they are to be divided by (`SCAL`), and what holds for all samples of a packet (`GPSU`, `GPSF`, `GPSP`).

use crate::place::{Reading, days};

/// Latitude, longitude, altitude, speed over ground, speed in space; then days since 2000, seconds, dilution, fix.
const MOST_FIELDS: usize = 9;
const SIGNED_32: u8 = b'l';
/// A sample of several types; `GPS9` is seven numbers of 32 bits and two of 16.
const COMPLEX: u8 = b'?';
const DAY_MS: i64 = 24 * 3600 * 1000;

/// One element.
#[derive(Debug, Clone, Copy)]
struct Element<'p> {
    key: [u8; 4],
    kind: u8,
    sample_bytes: usize,
    data: &'p [u8],
}

/// What one stream says besides its samples.
#[derive(Debug, Clone, Copy, Default)]
struct About {
    scale: [f64; MOST_FIELDS],
    utc_ms: Option<i64>,
    fix: Option<u32>,
    dop: Option<f64>,
}

/// Who is given a reading, and how long after the begin of its packet it was made.
pub(crate) type Taker<'t> = &'t mut dyn FnMut(i64, Reading);

/// Gives each reading of a packet on. No sample has a time by the file's clock: they are spread evenly over the `lasts_us` of the
/// packet. Newer cameras say everything twice: then the more exact `GPS9` counts.
pub(crate) fn each(packet: &[u8], lasts_us: i64, take: Taker<'_>) {
    for key in [*b"GPS9", *b"GPS5"] {
        let mut any = false;
        for stream in streams(packet) {
            for samples in elements(stream).filter(|element| element.key == key) {
                any = true;
                samples_of(&samples, &About::of(stream), lasts_us, take);
            }
        }
        if any {
            return;
        }
    }
}

fn streams(packet: &[u8]) -> impl Iterator<Item = &[u8]> {
    let devices = elements(packet).filter(|element| element.key == *b"DEVC");
    devices.flat_map(|device| elements(device.data).filter(|e| e.key == *b"STRM")).map(|e| e.data)
}

/// What lies one after the other in `rest`, up to what does not fit.
fn elements(mut rest: &[u8]) -> impl Iterator<Item = Element<'_>> {
    std::iter::from_fn(move || {
        let (head, later) = rest.split_first_chunk::<8>()?;
        let [a, b, c, d, kind, size, high, low] = *head;
        let bytes = usize::from(size) * usize::from(u16::from_be_bytes([high, low]));
        let data = later.get(..bytes)?;
        rest = later.get(bytes.next_multiple_of(4)..).unwrap_or_default();
        Some(Element { key: [a, b, c, d], kind, sample_bytes: usize::from(size), data })
    })
}

fn samples_of(element: &Element<'_>, about: &About, lasts_us: i64, take: Taker<'_>) {
    let read = match (element.kind, element.sample_bytes) {
        (SIGNED_32, 20) => gps5,
        (COMPLEX, 32) => gps9,
        _ => return,
    };
    let samples = element.data.chunks_exact(element.sample_bytes);
    let count = samples.len() as i128;
    for (at, sample) in samples.enumerate() {
        // No more than all of it.
        let later_us = (i128::from(lasts_us) * at as i128 / count) as i64;
        take(later_us, read(sample, later_us, about));
    }
}

/// `value` as the stream scales it; no number where it would be divided by nothing.
fn scaled(sample: &[u8], field: usize, about: &About) -> f64 {
    let scale = about.scale[field];
    let value = sample[field * 4..].first_chunk().map_or(0, |four| i32::from_be_bytes(*four));
    if scale == 0.0 { f64::NAN } else { f64::from(value) / scale }
}

/// `GPSU` is the time of the packet.
fn gps5(sample: &[u8], later_us: i64, about: &About) -> Reading {
    Reading {
        latitude: scaled(sample, 0, about),
        longitude: scaled(sample, 1, about),
        altitude_m: Some(scaled(sample, 2, about)),
        speed_m_s: Some(scaled(sample, 3, about)),
        dop: about.dop,
        claimed_ms: about.utc_ms.and_then(|ms| ms.checked_add(later_us / 1000)),
        without_fix: about.fix == Some(0),
        ..Reading::default()
    }
}

fn gps9(sample: &[u8], later_us: i64, about: &About) -> Reading {
    let half = |at: usize| u16::from_be_bytes([sample[at], sample[at + 1]]);
    let day = scaled(sample, 5, about);
    let milliseconds = (scaled(sample, 6, about) * 1000.0).round();
    let of_day = (0.0..DAY_MS as f64).contains(&milliseconds);
    let claimed = (of_day && (0.0..40_000.0).contains(&day))
        .then(|| (days(2000, 1, 1) + day as i64) * DAY_MS + milliseconds as i64);
    let dop = f64::from(half(28)) / about.scale[7];
    Reading {
        dop: Some(dop),
        claimed_ms: claimed,
        without_fix: half(30) == 0,
        ..gps5(sample, later_us, about)
    }
}

impl About {
    fn of(stream: &[u8]) -> Self {
        let mut about = Self::default();
        for element in elements(stream) {
            match &element.key {
                b"SCAL" => about.scale = scale(&element),
                b"GPSU" => about.utc_ms = utc_ms(element.data),
                b"GPSF" => about.fix = element.data.first_chunk().map(|f| u32::from_be_bytes(*f)),
                b"GPSP" => {
                    let hundredths = element.data.first_chunk().map(|p| u16::from_be_bytes(*p));
                    about.dop = hundredths.map(|p| f64::from(p) / 100.0);
                }
                _ => {}
            }
        }
        about
    }
}

/// One divisor for each field; a single one is all fields'. Zero where there is none.
fn scale(element: &Element<'_>) -> [f64; MOST_FIELDS] {
    let number = |sample: &[u8]| match (element.kind, sample) {
        (b's', [a, b]) => f64::from(i16::from_be_bytes([*a, *b])),
        (b'S', [a, b]) => f64::from(u16::from_be_bytes([*a, *b])),
        (b'l', [a, b, c, d]) => f64::from(i32::from_be_bytes([*a, *b, *c, *d])),
        (b'L', [a, b, c, d]) => f64::from(u32::from_be_bytes([*a, *b, *c, *d])),
        (b'f', [a, b, c, d]) => f64::from(f32::from_be_bytes([*a, *b, *c, *d])),
        _ => 0.0,
    };
    let mut scale = [0.0; MOST_FIELDS];
    let samples = element.data.chunks_exact(element.sample_bytes.max(1));
    if samples.len() == 1 {
        return [number(element.data); MOST_FIELDS];
    }
    for (field, sample) in scale.iter_mut().zip(samples) {
        *field = number(sample);
    }
    scale
}

/// `yymmddhhmmss.sss`.
fn utc_ms(text: &[u8]) -> Option<i64> {
    let digits = |at: usize, count: usize| {
        let digits = text.get(at..at + count)?;
        let add = |sum: i64, digit: &u8| {
            digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
        };
        digits.iter().try_fold(0, add)
    };
    let two = |at| digits(at, 2);
    let (month, day) = (two(2)?, two(4)?);
    let (hour, minute, second) = (two(6)?, two(8)?, two(10)?);
    let can_be = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    can_be.then_some(())?;
    let seconds = (hour * 60 + minute) * 60 + second;
    Some(days(2000 + two(0)?, month, day) * DAY_MS + seconds * 1000 + digits(13, 3)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(key: &[u8; 4], kind: u8, sample_bytes: u8, data: &[u8]) -> Vec<u8> {
        let repeat = (data.len() / usize::from(sample_bytes)) as u16;
        let head = [&key[..], &[kind, sample_bytes], &repeat.to_be_bytes()].concat();
        let filled = vec![0; data.len().next_multiple_of(4) - data.len()];
        [head, data.to_vec(), filled].concat()
    }

    fn numbers(all: &[i32]) -> Vec<u8> {
        all.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    fn packet(parts: &[Vec<u8>]) -> Vec<u8> {
        let stream = element(b"STRM", 0, 1, &parts.concat());
        element(b"DEVC", 0, 1, &[element(b"DVNM", b'c', 1, b"Camera"), stream].concat())
    }

    fn readings(packet: &[u8]) -> Vec<(i64, Reading)> {
        let mut readings = Vec::new();
        each(packet, 1_000_000, &mut |later, reading| readings.push((later, reading)));
        readings
    }

    const SCALE: [i32; 5] = [10_000_000, 10_000_000, 1000, 1000, 100];

    #[test]
    fn five_values_are_read_and_scaled() {
        let samples = [[515_007_000, -1_246_000, 11_300, 1500, 150], [515_008_000, 0, 0, 0, 0]];
        let packet = packet(&[
            element(b"GPSF", b'L', 4, &numbers(&[3])),
            element(b"GPSU", b'U', 16, b"191118154532.250"),
            element(b"GPSP", b'S', 2, &197u16.to_be_bytes()),
            element(b"SCAL", b'l', 4, &numbers(&SCALE)),
            element(b"GPS5", b'l', 20, &numbers(&samples.concat())),
        ]);
        let readings = readings(&packet);
        assert_eq!(readings.len(), 2);
        let (later, first) = readings[0];
        assert_eq!((later, readings[1].0), (0, 500_000));
        assert_eq!((first.latitude, first.longitude), (51.5007, -0.1246));
        assert_eq!((first.altitude_m, first.speed_m_s), (Some(11.3), Some(1.5)));
        assert_eq!((first.dop, first.without_fix), (Some(1.97), false));
        // `date -u -d '2019-11-18 15:45:32.250' +%s%3N`
        assert_eq!(first.claimed_ms, Some(1_574_091_932_250));
        assert_eq!(readings[1].1.claimed_ms, Some(1_574_091_932_750));
    }

    #[test]
    fn nine_values_count_before_five() {
        let scale = [&SCALE[..], &[1, 1000, 100, 1]].concat();
        let nine = [515_007_000, -1_246_000, 11_300, 1500, 150, 8722, 56_732_250];
        let nine = [numbers(&nine), vec![0, 197, 0, 3]].concat();
        let packet = packet(&[
            element(b"SCAL", b'l', 4, &numbers(&scale)),
            element(b"GPS5", b'l', 20, &numbers(&[1, 2, 3, 4, 5])),
            element(b"GPS9", b'?', 32, &nine),
        ]);
        let readings = readings(&packet);
        assert_eq!(readings.len(), 1);
        let reading = readings[0].1;
        assert_eq!((reading.latitude, reading.dop), (51.5007, Some(1.97)));
        // `date -u -d '2000-01-01 15:45:32.250 UTC + 8722 days' +%s%3N`
        assert_eq!(reading.claimed_ms, Some(1_700_322_332_250));
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        let five = element(b"GPS5", b'l', 20, &numbers(&[1, 2, 3, 4, 5]));
        for parts in [vec![element(b"SCAL", b'l', 4, &numbers(&[0])), five.clone()], vec![five]] {
            assert!(readings(&packet(&parts))[0].1.latitude.is_nan());
        }
    }

    #[test]
    fn what_does_not_fit_ends_it() {
        let whole = packet(&[element(b"GPS5", b'l', 20, &numbers(&[1; 50]))]);
        for end in 0..whole.len() {
            assert_eq!(readings(&whole[..end]).len(), 0, "{end}");
        }
        for kind in [b'l', b'?', b'f'] {
            for sample_bytes in [0, 1, 20, 32, 255] {
                let mut packet = packet(&[element(b"GPS9", kind, 20, &[7; 640])]);
                let at = packet.windows(4).position(|key| key == b"GPS9").unwrap();
                packet[at + 5] = sample_bytes;
                readings(&packet);
            }
        }
    }
}
