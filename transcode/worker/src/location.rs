//! The location recipe: where the device says that it was, as GeoJSON (RFC 7946). Nothing is decoded for it: packets of a track,
//! and tags.
//!
//! docs/formats/timeline.md has the format.

use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Packet, Rescale, ffi};
use serde_json::{Value, json};
use transcode_protocol::probe::{LocationSource, StreamKind};
use transcode_protocol::{LocationParameters, Report};

use crate::channel::SharedChannel;
use crate::failure::JobFailure;
use crate::input::{self, Next, Reader};
use crate::pass::start_us;
use crate::place::{Point, Reading, Thinned, iso6709};
use crate::probe::{kind, texts};
use crate::report::report;
use crate::scan::MICROSECONDS;
use crate::{camm, gpmf};

/// Tags that hold one place, the more exact first.
pub(crate) const PLACE_TAGS: [&str; 2] = ["com.apple.quicktime.location.ISO6709", "location"];

/// One source of places.
struct Track {
    source: LocationSource,
    /// The stream's number; none for the tags.
    stream: Option<usize>,
    points: Thinned,
    left_out: u64,
}

/// What a stream says of places, if anything.
pub(crate) fn source(stream: &ffmpeg::Stream<'_>) -> Option<LocationSource> {
    // SAFETY: reads one number of a stream of an open context.
    let tag = unsafe { (*(*stream.as_ptr()).codecpar).codec_tag };
    match &tag.to_le_bytes() {
        _ if kind(stream) != StreamKind::Data => None,
        b"gpmd" => Some(LocationSource::Gpmf),
        b"camm" => Some(LocationSource::Camm),
        _ => None,
    }
}

/// Makes `location.geojson`.
pub(crate) fn make(
    channel: &SharedChannel,
    name: &str,
    parameters: &LocationParameters,
) -> Result<Report, JobFailure> {
    let mut input = input::open(channel)?.input;
    let mut tracks = tracks(&mut input, parameters.max_points as usize);
    if !tracks.is_empty() {
        read(&mut input, &mut tracks);
    }
    tracks.extend(in_tags(&input));
    let notes = tracks.iter().flat_map(Track::notes).collect();
    let features: Vec<Value> = tracks.into_iter().filter_map(Track::feature).collect();
    let collection = json!({"v": 1, "type": "FeatureCollection", "features": features});
    channel.output(name, collection.to_string().as_bytes());
    Ok(report([], 1, notes))
}

/// The streams that are read. The others are left where they lie.
fn tracks(input: &mut Input, most: usize) -> Vec<Track> {
    let mut tracks = Vec::new();
    for stream in input.streams() {
        match source(&stream) {
            Some(source) => tracks.push(Track::new(source, Some(stream.index()), most)),
            // SAFETY: sets one number of a stream of an open context that nobody reads from yet.
            None => unsafe {
                (*stream.as_ptr().cast_mut()).discard = ffi::AVDiscard::AVDISCARD_ALL;
            },
        }
    }
    tracks
}

fn read(input: &mut Input, tracks: &mut [Track]) {
    let start = start_us(input);
    let mut reader = Reader::default();
    while let Next::Packet(packet) = reader.next(input) {
        let index = packet.stream();
        let track = tracks.iter_mut().find(|track| track.stream == Some(index));
        let clock = input.stream(index).map(|stream| stream.time_base());
        if let Some((track, clock)) = track.zip(clock) {
            track.take(&packet, start, clock);
        }
    }
}

/// One place for all of the file.
fn in_tags(input: &Input) -> Option<Track> {
    // SAFETY: reads one pointer of an open context.
    let tags = texts(unsafe { (*input.as_ptr()).metadata });
    let named = |name: &&str| tags.iter().find(|(tag, _)| tag == name).map(|(_, text)| text);
    let text = PLACE_TAGS.iter().find_map(named)?;
    let mut track = Track::new(LocationSource::Container, None, 1);
    track.push(&iso6709(text)?, None);
    Some(track)
}

impl Track {
    fn new(source: LocationSource, stream: Option<usize>, most: usize) -> Self {
        Self { source, stream, points: Thinned::new(most), left_out: 0 }
    }

    fn take(&mut self, packet: &Packet, start_us: i64, clock: ffmpeg::Rational) {
        let us = |ticks: i64| ticks.rescale(clock, MICROSECONDS);
        let begin = packet.pts().or(packet.dts()).map(|time| us(time).saturating_sub(start_us));
        let (begin, lasts) = (begin.unwrap_or(0), us(packet.duration().max(0)));
        let data = packet.data().unwrap_or_default();
        match self.source {
            LocationSource::Gpmf => gpmf::each(data, lasts, &mut |later, reading| {
                self.push(&reading, Some(begin.saturating_add(later)));
            }),
            LocationSource::Camm => {
                if let Some(reading) = camm::reading(data) {
                    self.push(&reading, Some(begin));
                }
            }
            LocationSource::Container => {}
        }
    }

    fn push(&mut self, reading: &Reading, time_us: Option<i64>) {
        match Point::of(reading, time_us) {
            Some(point) => self.points.push(point),
            None => self.left_out += 1,
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.left_out > 0 {
            notes.push(format!(
                "{} readings without a place that can be were left out",
                self.left_out
            ));
        }
        if self.points.every > 1 {
            notes.push(format!("of the places one in {} was kept", self.points.every));
        }
        notes
    }

    /// A line, or a point where there is one only; none where there is none.
    fn feature(self) -> Option<Value> {
        let points = self.points.finish();
        let first = *points.first()?;
        let geometry = match points.len() {
            1 => json!({"type": "Point", "coordinates": position(&first)}),
            _ => {
                let line: Vec<Value> = points.iter().map(position).collect();
                json!({"type": "LineString", "coordinates": line})
            }
        };
        let mut properties = json!({"source": self.source, "stream": self.stream});
        let mut list = |name: &str, of: &dyn Fn(&Point) -> Option<Value>| {
            let values: Vec<_> = points.iter().map(of).collect();
            if values.iter().any(Option::is_some) {
                properties[name] = json!(values);
            }
        };
        list("times_us", &|p| p.time_us.map(Value::from));
        list("claimed_unix_ms", &|p| p.claimed_ms.map(Value::from));
        list("speeds_m_s", &|p| p.speed_mm_s.map(|mm| decimal(mm, 1e3)));
        list("dops", &|p| p.dop_e2.map(|e2| decimal(e2, 1e2)));
        list("accuracies_m", &|p| p.accuracy_mm.map(|mm| decimal(mm, 1e3)));
        Some(json!({"type": "Feature", "geometry": geometry, "properties": properties}))
    }
}

/// Longitude first, as RFC 7946 has it; altitude in metres where it is known.
fn position(point: &Point) -> Value {
    let mut position = vec![decimal(point.longitude_e7, 1e7), decimal(point.latitude_e7, 1e7)];
    position.extend(point.altitude_mm.map(|mm| decimal(mm, 1e3)));
    Value::from(position)
}

fn decimal(parts: i64, unit: f64) -> Value {
    Value::from(parts as f64 / unit)
}
