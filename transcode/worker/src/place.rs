//! Where a device says that it was: readings as its tracks have them, and what is kept of them.
//!
//! What reads the tracks (`gpmf`, `camm`) gives on whatever stands there; here it is held against what can be.

/// WGS 84 in degrees, and so on, as they were written: possibly not even numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Reading {
    pub(crate) latitude: f64,
    pub(crate) longitude: f64,
    pub(crate) altitude_m: Option<f64>,
    pub(crate) speed_m_s: Option<f64>,
    /// Dilution of precision: how much worse the satellites' places make it. Below 5 is good.
    pub(crate) dop: Option<f64>,
    /// Horizontal, as the receiver estimates it.
    pub(crate) accuracy_m: Option<f64>,
    /// Milliseconds since 1970 in UTC, by the receiver.
    pub(crate) claimed_ms: Option<i64>,
    /// The receiver did not know where it was.
    pub(crate) without_fix: bool,
}

/// A place that can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    /// From the start of the file; none for what is said of the file as a whole.
    pub(crate) time_us: Option<i64>,
    pub(crate) latitude_e7: i64,
    pub(crate) longitude_e7: i64,
    pub(crate) altitude_mm: Option<i64>,
    pub(crate) speed_mm_s: Option<i64>,
    pub(crate) dop_e2: Option<i64>,
    pub(crate) accuracy_mm: Option<i64>,
    pub(crate) claimed_ms: Option<i64>,
}

/// Above the highest aeroplane, below the deepest mine.
const MOST_ALTITUDE_M: f64 = 100_000.0;
/// Faster than anything that carries a camera.
const MOST_SPEED_M_S: f64 = 10_000.0;
const MOST_DOP: f64 = 100.0;
/// The years 2000 to 2100, in milliseconds since 1970.
const CLAIMED_MS: std::ops::Range<i64> = 946_684_800_000..4_102_444_800_000;

impl Point {
    /// None where the receiver knew no place, or said one that cannot be.
    pub(crate) fn of(reading: &Reading, time_us: Option<i64>) -> Option<Self> {
        if reading.without_fix {
            return None;
        }
        let within = |value: Option<f64>, most, unit| value.and_then(|v| parts(v, most, unit));
        Some(Self {
            time_us,
            latitude_e7: parts(reading.latitude, 90.0, 1e7)?,
            longitude_e7: parts(reading.longitude, 180.0, 1e7)?,
            altitude_mm: within(reading.altitude_m, MOST_ALTITUDE_M, 1e3),
            speed_mm_s: within(reading.speed_m_s, MOST_SPEED_M_S, 1e3),
            dop_e2: within(reading.dop, MOST_DOP, 1e2),
            accuracy_mm: within(reading.accuracy_m, MOST_ALTITUDE_M, 1e3),
            claimed_ms: reading.claimed_ms.filter(|ms| CLAIMED_MS.contains(ms)),
        })
    }
}

/// `value` in whole parts of a unit; none where it is no number, or beyond `most`.
fn parts(value: f64, most: f64, unit: f64) -> Option<i64> {
    (value.abs() <= most).then(|| (value * unit).round() as i64)
}

/// Points along a recording of any length: where there would be more than `most`, every second one goes.
#[derive(Debug)]
pub(crate) struct Thinned {
    most: usize,
    /// One of so many is kept.
    pub(crate) every: u64,
    seen: u64,
    kept: Vec<Point>,
    last: Option<Point>,
}

impl Thinned {
    pub(crate) fn new(most: usize) -> Self {
        Self { most: most.max(2), every: 1, seen: 0, kept: Vec::new(), last: None }
    }

    pub(crate) fn push(&mut self, point: Point) {
        if self.seen.is_multiple_of(self.every) {
            if self.kept.len() == self.most {
                let mut at = 0;
                self.kept.retain(|_| {
                    at += 1;
                    at % 2 == 1
                });
                self.every *= 2;
            }
            if self.seen.is_multiple_of(self.every) {
                self.kept.push(point);
            }
        }
        self.seen += 1;
        self.last = Some(point);
    }

    /// What was kept, to the last there was.
    pub(crate) fn finish(mut self) -> Vec<Point> {
        let is_kept = (self.seen.wrapping_sub(1)).is_multiple_of(self.every);
        if let Some(last) = self.last.filter(|_| !is_kept) {
            self.kept.push(last);
        }
        self.kept
    }
}

/// ISO 6709 as cameras write it: `-15.8355-048.0153/`, `+51.5007+000.1246+011.3/`.
pub(crate) fn iso6709(text: &str) -> Option<Reading> {
    let text = text.trim_end_matches('/');
    let (latitude, rest) = signed(text)?;
    let (longitude, rest) = signed(rest)?;
    let altitude_m = signed(rest).map(|(altitude, _)| altitude);
    Some(Reading { latitude, longitude, altitude_m, ..Reading::default() })
}

/// A number with its sign, and what comes after it.
fn signed(text: &str) -> Option<(f64, &str)> {
    text.starts_with(['+', '-']).then_some(())?;
    let other = |c: char| !(c.is_ascii_digit() || c == '.');
    let end = text[1..].find(other).map_or(text.len(), |at| at + 1);
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// Days since 1970 of a day of the Gregorian calendar (months and days from 1).
pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is their last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: i64) -> Point {
        Point::of(&Reading::default(), Some(at)).unwrap()
    }

    #[test]
    fn places_read_as_cameras_write_them() {
        let at = |text| {
            let point = iso6709(text).and_then(|reading| Point::of(&reading, None));
            point.map(|p| (p.latitude_e7, p.longitude_e7, p.altitude_mm))
        };
        assert_eq!(at("-15.8355-048.0153/"), Some((-158_355_000, -480_153_000, None)));
        assert_eq!(at("+51.5007+000.1246+011.3/"), Some((515_007_000, 1_246_000, Some(11_300))));
        for bad in ["", "/", "north", "+91.0+000.0/", "+51.5", "é+1+2", "+1+nan/", "+1+", "+1é+2"]
        {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_is_left_out() {
        let good = Reading { latitude: 51.5, longitude: -0.1, ..Reading::default() };
        assert!(Point::of(&good, None).is_some());
        for bad in [f64::NAN, f64::INFINITY, 90.1, -1e300] {
            assert_eq!(Point::of(&Reading { latitude: bad, ..good }, None), None, "{bad}");
        }
        assert_eq!(Point::of(&Reading { longitude: 180.1, ..good }, None), None);
        assert_eq!(Point::of(&Reading { without_fix: true, ..good }, None), None);
        let odd = Reading { altitude_m: Some(f64::NAN), claimed_ms: Some(i64::MAX), ..good };
        let kept = Point::of(&odd, None).unwrap();
        assert_eq!((kept.altitude_mm, kept.claimed_ms), (None, None));
    }

    #[test]
    fn a_long_track_keeps_its_ends_and_even_steps() {
        for (count, every) in [(1, 1), (10, 1), (11, 2), (20, 2), (21, 4), (1000, 128)] {
            let mut thinned = Thinned::new(10);
            (0..count).for_each(|at| thinned.push(point(at)));
            assert_eq!(thinned.every, every, "{count}");
            let kept: Vec<_> = thinned.finish().iter().filter_map(|p| p.time_us).collect();
            assert!(kept.len() <= 11, "{count}: {kept:?}");
            assert_eq!((kept[0], kept[kept.len() - 1]), (0, count - 1), "{count}");
            let steps = kept.windows(2).map(|two| two[1] - two[0]);
            let steps: Vec<_> = steps.take(kept.len().saturating_sub(2)).collect();
            assert!(steps.iter().all(|step| *step == every as i64), "{count}: {kept:?}");
        }
        assert_eq!(Thinned::new(10).finish(), []);
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (date, judged) in [((1970, 1, 1), 0), ((2000, 3, 1), 11_017), ((2024, 2, 29), 19_782)] {
            assert_eq!(days(date.0, date.1, date.2), judged, "{date:?}");
        }
    }
}
