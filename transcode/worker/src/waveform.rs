//! The waveform recipe: the quietest and loudest sample of each short span, as audiowaveform writes them
//! (<https://github.com/bbc/audiowaveform>, JSON, version 2, 8 bits, one channel).

use ffmpeg_next::frame;
use serde_json::json;
use transcode_protocol::{FailureCode, Report, WaveformParameters};

use crate::audio::SOUND_RATE;
use crate::channel::SharedChannel;
use crate::failure::JobFailure;
use crate::pass::{Maker, Seen, Tracks};
use crate::report::report;

/// A time stamp further ahead than this is damage, not silence.
const LONGEST_SILENCE_SAMPLES: u64 = 24 * 3600 * SOUND_RATE as u64;

/// `waveform.json`, as it grows.
pub(crate) struct Waveform {
    channel: SharedChannel,
    name: &'static str,
    samples_per_point: u64,
    max_points: usize,
    points: Vec<Span>,
    /// Samples of the point under way.
    begun: u64,
    now: Span,
}

/// The least and the most of some samples.
#[derive(Debug, Clone, Copy)]
struct Span {
    least: f32,
    most: f32,
}

const SILENCE: Span = Span { least: 0.0, most: 0.0 };

impl Waveform {
    pub(crate) fn open(
        tracks: &Tracks<'_>,
        channel: SharedChannel,
        name: &'static str,
        parameters: &WaveformParameters,
    ) -> Result<Self, JobFailure> {
        if tracks.stereo.is_none() {
            let message = "The file has no sound that can be decoded.";
            return Err(JobFailure::new(FailureCode::NothingToMake, message));
        }
        let points_per_second = parameters.points_per_second.clamp(1, SOUND_RATE);
        Ok(Self {
            channel,
            name,
            samples_per_point: u64::from(SOUND_RATE / points_per_second),
            max_points: parameters.max_points.max(2) as usize,
            points: Vec::new(),
            begun: 0,
            now: SILENCE,
        })
    }

    /// Samples so far.
    fn position(&self) -> u64 {
        self.points.len() as u64 * self.samples_per_point + self.begun
    }

    fn silence(&mut self, mut samples: u64) {
        while samples > 0 {
            let here = samples.min(self.samples_per_point - self.begun);
            samples -= here;
            self.begun += here;
            self.close_if_full();
        }
    }

    fn take(&mut self, sample: f32) {
        let Span { least, most } = self.now;
        self.now = Span { least: least.min(sample), most: most.max(sample) };
        self.begun += 1;
        self.close_if_full();
    }

    fn close_if_full(&mut self) {
        if self.begun == self.samples_per_point {
            self.close();
        }
    }

    fn close(&mut self) {
        self.points.push(self.now);
        (self.begun, self.now) = (0, SILENCE);
        if self.points.len() >= self.max_points {
            self.points = self.points.chunks(2).map(joined).collect();
            self.samples_per_point *= 2;
        }
    }
}

fn joined(points: &[Span]) -> Span {
    let join = |a: Span, b: &Span| Span { least: a.least.min(b.least), most: a.most.max(b.most) };
    points.iter().fold(SILENCE, join)
}

/// Eight bits, as audiowaveform scales them.
fn eight_bits(sample: f32) -> i8 {
    (sample.clamp(-1.0, 1.0) * 127.0).round() as i8
}

impl Maker for Waveform {
    fn sound(&mut self, sound: &frame::Audio) -> Result<(), JobFailure> {
        // Sound that starts late, or goes on later.
        let starts = sound.pts().and_then(|time| u64::try_from(time).ok()).unwrap_or(0);
        let silence = starts.saturating_sub(self.position());
        if silence <= LONGEST_SILENCE_SAMPLES {
            self.silence(silence);
        }
        for at in 0..sound.samples() {
            let channels = (0..sound.planes()).map(|channel| sound.plane::<f32>(channel)[at]);
            let loudest = channels.reduce(|a, b| if b.abs() > a.abs() { b } else { a });
            self.take(loudest.unwrap_or(0.0));
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, seen: &Seen) -> Result<Report, JobFailure> {
        if seen.sounds == 0 {
            let message = "The sound of the file could not be decoded.";
            return Err(JobFailure::new(FailureCode::NotDecodable, message));
        }
        if self.begun > 0 {
            self.close();
        }
        let spans = self.points.iter();
        let data: Vec<i8> =
            spans.flat_map(|span| [eight_bits(span.least), eight_bits(span.most)]).collect();
        let waveform = json!({
            "version": 2,
            "channels": 1,
            "sample_rate": SOUND_RATE,
            "samples_per_pixel": self.samples_per_point,
            "bits": 8,
            "length": self.points.len(),
            "data": data,
        });
        self.channel.output(self.name, waveform.to_string().as_bytes());
        Ok(report([], 1, seen.notes_on_sound()))
    }
}
