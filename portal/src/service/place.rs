//! Where a device says that it was: the derivative `location.geojson`, read for a page.
//!
//! The worker wrote it, of what somebody else made: it is read into what a page shows, within limits, or not at all.

use serde::Deserialize;

/// The largest that is read; the worker's own limit on places keeps it below.
pub(super) const MAX_BYTES: u64 = 8 << 20;

/// What one source in a file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// `gpmf`, `camm` or `container`.
    pub source: String,
    pub places: Vec<Place>,
}

/// One place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Degrees, north and east positive.
    pub latitude: f64,
    pub longitude: f64,
    pub altitude_m: Option<f64>,
    /// From the start of the recording.
    pub time_us: Option<i64>,
    /// Milliseconds since 1970 in UTC, by the device's receiver.
    pub claimed_ms: Option<i64>,
    pub speed_m_s: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Collection {
    v: u32,
    features: Vec<Feature>,
}

#[derive(Debug, Deserialize)]
struct Feature {
    geometry: Geometry,
    properties: Properties,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", content = "coordinates")]
enum Geometry {
    Point(Vec<f64>),
    LineString(Vec<Vec<f64>>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Properties {
    source: String,
    times_us: Vec<Option<i64>>,
    claimed_unix_ms: Vec<Option<i64>>,
    speeds_m_s: Vec<Option<f64>>,
}

/// What the derivative says; none where it is not of this kind.
pub(super) fn read(geojson: &[u8]) -> Option<Vec<Track>> {
    let collection: Collection = serde_json::from_slice(geojson).ok()?;
    (collection.v == 1).then_some(())?;
    collection.features.into_iter().map(Track::of).collect()
}

impl Track {
    fn of(feature: Feature) -> Option<Self> {
        let Feature { geometry, properties } = feature;
        let positions = match geometry {
            Geometry::Point(one) => vec![one],
            Geometry::LineString(line) => line,
        };
        fn at<T: Copy>(list: &[Option<T>], at: usize) -> Option<T> {
            list.get(at).copied().flatten()
        }
        let place = |(number, position): (usize, &Vec<f64>)| {
            let (longitude, latitude) = (*position.first()?, *position.get(1)?);
            (longitude.abs() <= 180.0 && latitude.abs() <= 90.0).then_some(())?;
            Some(Place {
                latitude,
                longitude,
                altitude_m: position.get(2).copied(),
                time_us: at(&properties.times_us, number),
                claimed_ms: at(&properties.claimed_unix_ms, number),
                speed_m_s: at(&properties.speeds_m_s, number),
            })
        };
        let places: Vec<Place> = positions.iter().enumerate().map(place).collect::<Option<_>>()?;
        let is_known = matches!(properties.source.as_str(), "gpmf" | "camm" | "container");
        (is_known && !places.is_empty()).then_some(Self { source: properties.source, places })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_of_its_kind_is_not_read() {
        let of = |v: u32, geometry: &str, source: &str| {
            let properties =
                format!(r#"{{"source":"{source}","stream":null,"times_us":[5,null]}}"#);
            let feature =
                format!(r#"{{"type":"Feature","geometry":{geometry},"properties":{properties}}}"#);
            read(
                format!(r#"{{"v":{v},"type":"FeatureCollection","features":[{feature}]}}"#)
                    .as_bytes(),
            )
        };
        let line = r#"{"type":"LineString","coordinates":[[-0.125,51.5,11],[-0.125,51.6]]}"#;
        let tracks = of(1, line, "gpmf").unwrap();
        let places = &tracks[0].places;
        assert_eq!((places[0].time_us, places[1].time_us), (Some(5), None));
        assert_eq!((places[0].altitude_m, places[1].altitude_m), (Some(11.0), None));
        assert_eq!((places[1].longitude, places[1].latitude), (-0.125, 51.6));
        assert!(of(1, r#"{"type":"Point","coordinates":[-0.125,51.5]}"#, "container").is_some());
        for (v, geometry, source) in [
            (2, line, "gpmf"),
            (1, line, "<script>"),
            (1, r#"{"type":"LineString","coordinates":[]}"#, "gpmf"),
            (1, r#"{"type":"Point","coordinates":[51.5]}"#, "gpmf"),
            (1, r#"{"type":"Point","coordinates":[51.5,-91]}"#, "gpmf"),
            (1, r#"{"type":"Polygon","coordinates":[]}"#, "gpmf"),
        ] {
            assert_eq!(of(v, geometry, source), None, "{v} {geometry} {source}");
        }
    }
}
