//! Time stamps that jump: a recorder that started anew, or a clock that was set, in the middle of a file.
//!
//! What follows a jump is joined to what came before, in the order of the file. Sound and picture are moved by the same
//! offset, so they stay as far apart as they were.

use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Rational, Rescale};

use crate::probe::is_footage;
use crate::scan::MICROSECONDS;

/// A longer step back is a jump; and streams of a file are no farther apart than this.
const BACK_US: i64 = 1_000_000;
/// So is a step ahead of more than this in MPEG-TS and -PS, whose clock may start anew. Elsewhere it is a gap in the recording, and stays
/// one.
const AHEAD_US: i64 = 10_000_000;
/// Their clock has 33 bits of 90 kHz. Where it goes back, libavformat takes it to have run over, and goes on ahead.
const RUNS_OVER_US: i64 = (1 << 33) * 100 / 9;
/// A stream may be so many jumps behind another, or come back from so many.
const STRETCHES_TRIED: usize = 16;
/// So many jumps are named; more are counted.
const NAMED: usize = 4;

/// Joins what lies on both sides of a jump.
#[derive(Debug)]
pub(crate) struct Joiner {
    /// Not in Ogg, whose first sound libavformat 5.1 misplaces by itself.
    joins: bool,
    /// MPEG-TS and -PS.
    runs_over: bool,
    /// What is added to the times of each stretch between two jumps.
    offsets_us: Vec<i64>,
    streams: Vec<Option<Place>>,
    jumps: Vec<Jump>,
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy)]
struct Place {
    stretch: usize,
    /// As the file has it.
    last_us: i64,
    /// As joined.
    placed_us: i64,
    end_us: i64,
}

#[derive(Debug)]
struct Jump {
    /// As joined.
    at_us: i64,
    by_us: i64,
}

impl Joiner {
    pub(crate) fn new(input: &Input) -> Self {
        let format = input.format();
        let name = format.name();
        Self { joins: name != "ogg", ..Self::of(matches!(name, "mpeg" | "mpegts")) }
    }

    fn of(runs_over: bool) -> Self {
        let (streams, jumps) = (Vec::new(), Vec::new());
        Self { joins: true, runs_over, offsets_us: vec![0], streams, jumps }
    }

    /// Moves the times of a packet that `input` gave, if it is one of picture or sound.
    pub(crate) fn place(&mut self, packet: &mut ffmpeg::Packet, input: &Input) {
        let stream = input.stream(packet.stream()).filter(is_footage);
        if let Some(stream) = stream.filter(|_| self.joins) {
            self.place_by(packet, stream.time_base());
        }
    }

    fn place_by(&mut self, packet: &mut ffmpeg::Packet, base: Rational) {
        let us = |ticks: i64| ticks.rescale(base, MICROSECONDS);
        let (time, length) = (packet.dts().map(us), us(packet.duration().max(0)));
        let offset = self.offset_us(packet.stream(), time, length.min(AHEAD_US));
        if offset != 0 {
            let offset = offset.rescale(MICROSECONDS, base);
            packet.set_pts(packet.pts().map(|time| time.saturating_add(offset)));
            packet.set_dts(packet.dts().map(|time| time.saturating_add(offset)));
        }
    }

    /// How many jumps there were.
    pub(crate) fn jumps(&self) -> usize {
        self.jumps.len()
    }

    /// What people should know of them. `start_us` is where the file's time begins.
    pub(crate) fn notes(&self, start_us: i64) -> Vec<String> {
        let named = self.jumps.iter().take(NAMED).map(|jump| jump.in_words(start_us));
        let named = named.collect::<Vec<_>>().join(", ");
        let more = match self.jumps.len() {
            0 => return Vec::new(),
            count @ ..=NAMED => format!("jumps of the time stamps, joined: {count}"),
            count => format!("jumps of the time stamps, joined: {count}; the first"),
        };
        vec![format!("{more} ({named})")]
    }

    fn offset_us(&mut self, stream: usize, time_us: Option<i64>, length_us: i64) -> i64 {
        if self.streams.len() <= stream {
            self.streams.resize(stream + 1, None);
        }
        let newest = self.offsets_us.len() - 1;
        let before = self.streams[stream];
        let Some(time) = time_us else {
            return self.offsets_us[before.map_or(newest, |before| before.stretch)];
        };
        let stretch = before.map_or(newest, |before| self.stretch_of(stream, before, time));
        let offset = self.offsets_us[stretch];
        let placed_us = time.saturating_add(offset);
        let end_us = placed_us.saturating_add(length_us);
        self.streams[stream] = Some(Place { stretch, last_us: time, placed_us, end_us });
        offset
    }

    /// The stretch that the next time of a stream is in: that of the one before, or one that another stream has jumped to, or was in before
    /// a wrong time; or else a new one.
    fn stretch_of(&mut self, stream: usize, before: Place, time: i64) -> usize {
        let in_stretch = |offsets: &[i64], stretch: usize| time.saturating_add(offsets[stretch]);
        let goes_on = |stretch: &usize| {
            let step = in_stretch(&self.offsets_us, *stretch).saturating_sub(before.placed_us);
            step >= -BACK_US && (!self.runs_over || step <= AHEAD_US)
        };
        let current = before.stretch;
        let others = (current + 1..self.offsets_us.len()).chain((0..current).rev());
        let mut tried = [current].into_iter().chain(others.take(STRETCHES_TRIED));
        if let Some(stretch) = tried.find(goes_on) {
            return stretch;
        }
        // A clock that jumps does so for all. Where another stream is, this one has had a wrong time before.
        let here = in_stretch(&self.offsets_us, current);
        let others = self.streams.iter().enumerate().filter(|(index, _)| *index != stream);
        let mut others = others.filter_map(|(_, place)| *place);
        if others.any(|other| other.placed_us.saturating_sub(here).saturating_abs() <= BACK_US) {
            return current;
        }
        self.start_anew(time, time.saturating_sub(before.last_us));
        self.offsets_us.len() - 1
    }

    /// A new stretch begins behind all that came before.
    fn start_anew(&mut self, time_us: i64, by_us: i64) {
        let ends = self.streams.iter().flatten().map(|place| place.end_us);
        let at_us = ends.max().unwrap_or(time_us);
        self.offsets_us.push(at_us.saturating_sub(time_us));
        self.jumps.push(Jump { at_us, by_us: self.without_run_over(by_us) });
    }

    /// The shorter way round, where a clock runs over.
    fn without_run_over(&self, by_us: i64) -> i64 {
        match by_us {
            _ if !self.runs_over || by_us.saturating_abs() < RUNS_OVER_US / 2 => by_us,
            0.. => by_us.saturating_sub(RUNS_OVER_US),
            _ => by_us.saturating_add(RUNS_OVER_US),
        }
    }
}

impl Jump {
    fn in_words(&self, start_us: i64) -> String {
        let direction = if self.by_us < 0 { "back" } else { "ahead" };
        let seconds = |us: i64| us as f64 / 1e6;
        let at = seconds(self.at_us.saturating_sub(start_us));
        format!("{direction} by {:.1} s at {at:.1} s", seconds(self.by_us.saturating_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    /// Times of two streams as a file interleaves them, and as they are joined.
    fn joined(runs_over: bool, times: &[(usize, i64)]) -> (Vec<i64>, Joiner) {
        let mut joiner = Joiner::of(runs_over);
        let placed = times.iter().map(|(stream, time)| {
            let time = time * SECOND / 10;
            (time + joiner.offset_us(*stream, Some(time), SECOND / 10)) * 10 / SECOND
        });
        (placed.collect(), joiner)
    }

    #[test]
    fn both_streams_are_moved_by_the_same_though_they_jump_one_after_the_other() {
        let (picture, sound) = (0, 1);
        let times = [
            (picture, 500),
            (sound, 502),
            (picture, 501),
            (picture, 0),
            (sound, 503),
            (picture, 1),
            (sound, 2),
            (picture, 2),
        ];
        let (placed, joiner) = joined(false, &times);
        assert_eq!(placed, [500, 502, 501, 503, 503, 504, 505, 505]);
        assert_eq!(
            joiner.notes(49 * SECOND),
            ["jumps of the time stamps, joined: 1 (back by 50.1 s at 1.3 s)"]
        );
    }

    #[test]
    fn a_gap_stays_where_a_clock_does_not_start_anew() {
        let times = [(0, 0), (0, 1), (0, 36_000), (0, 36_001)];
        assert_eq!(joined(false, &times).0, [0, 1, 36_000, 36_001]);
        let (placed, joiner) = joined(true, &times);
        assert_eq!(placed, [0, 1, 2, 3]);
        assert_eq!(joiner.jumps(), 1);
    }

    #[test]
    fn a_single_wrong_time_moves_nothing_for_good() {
        let times = [(0, 0), (0, 1), (0, 90_000), (0, 3), (0, 4)];
        let (placed, joiner) = joined(true, &times);
        assert_eq!(placed, [0, 1, 2, 3, 4]);
        assert_eq!(joiner.jumps(), 1);
    }

    #[test]
    fn pictures_out_of_order_are_no_jump() {
        let times = [(0, 10), (0, 5), (0, 12), (0, 8)];
        assert_eq!(joined(true, &times).0, [10, 5, 12, 8]);
    }

    #[test]
    fn a_stream_that_is_wrong_by_itself_moves_nothing() {
        let (picture, sound) = (0, 1);
        let times = [(sound, 65), (sound, 66), (picture, 0), (sound, 1), (picture, 1), (sound, 2)];
        let (placed, joiner) = joined(false, &times);
        assert_eq!(placed, [65, 66, 0, 1, 1, 2]);
        assert_eq!(joiner.jumps(), 0);
    }

    #[test]
    fn a_clock_that_runs_over_jumps_the_shorter_way() {
        let joiner = Joiner::of(true);
        assert_eq!(joiner.without_run_over(RUNS_OVER_US - 100), -100);
        assert_eq!(joiner.without_run_over(100 - RUNS_OVER_US), 100);
        assert_eq!(joiner.without_run_over(-7), -7);
    }

    #[test]
    fn no_time_is_too_large() {
        let mut joiner = Joiner::of(true);
        for time in [0, i64::MAX, i64::MIN, 0, i64::MAX - 1] {
            joiner.offset_us(0, Some(time), AHEAD_US);
        }
        assert_eq!(joiner.notes(i64::MIN).len(), 1);
    }
}
