//! Where the device says that it was, as a page shows it: a sentence, a few rows, the shape of the way. No map: nothing is fetched
//! from elsewhere.

use std::fmt::Write as _;

use chain_of_custody::time::Timestamp;

use crate::service::{Place, Track};
use crate::words::{UkTime, length};

/// Rows of a long way; the first and the last are among them.
const ROWS: usize = 12;
/// Corners of its shape at most.
const CORNERS: usize = 200;
/// Sides of the drawing.
const SIDE: f64 = 200.0;
const MARGIN: f64 = 10.0;

/// What one source says.
pub(super) struct Whereabouts {
    pub(super) says: String,
    /// Corners of a line, for `points` of SVG; empty for a single place.
    pub(super) shape: String,
    /// Where the line begins.
    pub(super) begin: (String, String),
    pub(super) rows: Vec<Row>,
}

pub(super) struct Row {
    pub(super) time: String,
    pub(super) claimed: Option<UkTime>,
    pub(super) place: String,
    pub(super) altitude: String,
    pub(super) speed: String,
}

impl Whereabouts {
    pub(super) fn new(track: &Track) -> Self {
        let source = match track.source.as_str() {
            "gpmf" => "The camera’s track of measurements (GPMF)",
            "camm" => "The camera’s track of its motion (CAMM)",
            _ => "The file’s own description",
        };
        let says = match track.places.len() {
            1 => format!("{source} names one place."),
            count => format!("{source} names {count} places."),
        };
        let corners = corners(&spread(&track.places, CORNERS));
        let mut shape = String::new();
        for (x, y) in &corners {
            write!(shape, "{x},{y} ").expect("text takes text");
        }
        let begin = corners.into_iter().next().unwrap_or_default();
        let rows = spread(&track.places, ROWS).into_iter().map(Row::new).collect();
        Self { says, shape, begin, rows }
    }
}

/// At most `most` of them at even steps, the first and the last among them.
fn spread(places: &[Place], most: usize) -> Vec<&Place> {
    let last = places.len().saturating_sub(1);
    if last < most {
        return places.iter().collect();
    }
    (0..most).map(|at| &places[at * last / (most - 1)]).collect()
}

/// North up, both directions to one scale, in the middle; none where it all is one place.
fn corners(places: &[&Place]) -> Vec<(String, String)> {
    let Some(first) = places.first() else { return Vec::new() };
    let narrower = first.latitude.to_radians().cos();
    let flat =
        |p: &&Place| ((p.longitude - first.longitude) * narrower, first.latitude - p.latitude);
    let flat: Vec<(f64, f64)> = places.iter().map(flat).collect();
    let bounds = |of: fn(&(f64, f64)) -> f64| {
        flat.iter().map(of).fold((0.0f64, 0.0f64), |(a, b), v| (a.min(v), b.max(v)))
    };
    let ((left, right), (top, bottom)) = (bounds(|p| p.0), bounds(|p| p.1));
    let longest = (right - left).max(bottom - top);
    if longest <= 0.0 {
        return Vec::new();
    }
    let scale = (SIDE - 2.0 * MARGIN) / longest;
    let middle = |v: f64, low: f64, high: f64| SIDE / 2.0 + (v - (low + high) / 2.0) * scale;
    let corner = |(x, y): (f64, f64)| {
        (format!("{:.1}", middle(x, left, right)), format!("{:.1}", middle(y, top, bottom)))
    };
    flat.into_iter().map(corner).collect()
}

impl Row {
    fn new(place: &Place) -> Self {
        let claimed = place.claimed_ms.and_then(|ms| Timestamp::from_unix_millis(ms).ok());
        let with = |value: Option<f64>, unit| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1} {unit}"))
        };
        Self {
            time: place.time_us.map_or_else(|| "all of it".to_owned(), length),
            claimed: claimed.map(UkTime::from),
            place: format!("{:.5}, {:.5}", place.latitude, place.longitude),
            altitude: with(place.altitude_m, "m"),
            speed: with(place.speed_m_s, "m/s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(count: u32) -> Track {
        let place = |at: u32| Place {
            latitude: 51.5 + f64::from(at) / 10_000.0,
            longitude: -0.125,
            altitude_m: None,
            time_us: Some(i64::from(at) * 1_000_000),
            claimed_ms: None,
            speed_m_s: Some(1.25),
        };
        Track { source: "gpmf".to_owned(), places: (0..count).map(place).collect() }
    }

    #[test]
    fn a_long_way_is_a_few_rows_from_end_to_end() {
        let shown = Whereabouts::new(&way(1000));
        assert_eq!(shown.rows.len(), ROWS);
        let places: Vec<_> = shown.rows.iter().map(|row| row.place.as_str()).collect();
        assert_eq!((places[0], places[ROWS - 1]), ("51.50000, -0.12500", "51.59990, -0.12500"));
        let corners: Vec<_> = shown.shape.split_whitespace().collect();
        assert_eq!(corners.len(), CORNERS);
        // North is up.
        assert_eq!((corners[0], corners[CORNERS - 1]), ("100.0,190.0", "100.0,10.0"));
        assert_eq!(Whereabouts::new(&way(3)).rows.len(), 3);
        let one = Whereabouts::new(&way(1));
        assert_eq!((one.shape.as_str(), one.rows.len()), ("", 1));
    }
}
