//! The frames recipe: when each picture is shown, so that a player can step by true pictures, whatever their rate.
//!
//! docs/formats/timeline.md has the format.

use ffmpeg_next::frame;
use serde_json::json;
use transcode_protocol::Report;

use crate::channel::SharedChannel;
use crate::failure::JobFailure;
use crate::pass::{Maker, Seen, Tracks};
use crate::report::report;
use crate::video::CLOCK;

/// `frames.json`, as it grows.
pub(crate) struct Frames {
    channel: SharedChannel,
    name: &'static str,
    times: Vec<i64>,
    /// Positions in `times`.
    keyframes: Vec<usize>,
}

impl Frames {
    pub(crate) fn open(
        tracks: &Tracks<'_>,
        channel: SharedChannel,
        name: &'static str,
    ) -> Result<Self, JobFailure> {
        tracks.pictures()?;
        Ok(Self { channel, name, times: Vec::new(), keyframes: Vec::new() })
    }
}

impl Maker for Frames {
    fn picture(&mut self, picture: &frame::Video) -> Result<(), JobFailure> {
        if picture.is_key() {
            self.keyframes.push(self.times.len());
        }
        self.times.push(picture.pts().unwrap_or_default());
        Ok(())
    }

    fn finish(self: Box<Self>, seen: &Seen) -> Result<Report, JobFailure> {
        seen.some_picture()?;
        let index = json!({
            "v": 1,
            "ticks_per_second": CLOCK.1,
            "count": self.times.len(),
            "times": self.times,
            "keyframes": self.keyframes,
        });
        self.channel.output(self.name, index.to_string().as_bytes());
        Ok(report([], 1, seen.notes_on_pictures()))
    }
}
