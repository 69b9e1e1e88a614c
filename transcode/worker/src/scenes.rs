//! The scenes recipe: where one picture is quite another than the one before.
//!
//! Each picture is looked at as a few points of brightness. Its difference is the mean of theirs to the picture before, or,
//! where that is less, how much it differs from the difference before: a camera that is carried is always different.
//! docs/formats/timeline.md has the format.

use ffmpeg_next::frame;
use serde_json::{Value, json};
use transcode_protocol::{Report, ScenesParameters};

use crate::channel::SharedChannel;
use crate::failure::JobFailure;
use crate::pass::{Maker, Seen, Tracks};
use crate::report::report;
use crate::video::{CLOCK, Shaper};

/// Points looked at, across and down.
const POINTS: (u32, u32) = (64, 36);
/// More changes than that are a flickering light.
const MAX_SCENES: usize = 10_000;

/// `scenes.json`, as it grows.
pub(crate) struct Scenes {
    channel: SharedChannel,
    name: &'static str,
    shaper: Shaper,
    threshold_permille: u32,
    before: Vec<u8>,
    difference_before: u32,
    scenes: Vec<Value>,
    is_cut: bool,
}

impl Scenes {
    pub(crate) fn open(
        tracks: &Tracks<'_>,
        channel: SharedChannel,
        name: &'static str,
        parameters: &ScenesParameters,
    ) -> Result<Self, JobFailure> {
        tracks.pictures()?;
        Ok(Self {
            channel,
            name,
            shaper: Shaper::points(POINTS),
            threshold_permille: parameters.threshold_permille,
            before: Vec::new(),
            difference_before: 0,
            scenes: Vec::new(),
            is_cut: false,
        })
    }
}

/// The brightness of each point, row by row.
fn points(picture: &frame::Video) -> Vec<u8> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let rows = picture.data(0).chunks(picture.stride(0).max(1)).take(height);
    rows.flat_map(|row| row.iter().take(width)).copied().collect()
}

/// The mean difference, in thousandths of the range.
fn difference(one: &[u8], other: &[u8]) -> u32 {
    let sum: u32 = one.iter().zip(other).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    sum * 1000 / (255 * one.len().max(1) as u32)
}

impl Maker for Scenes {
    fn picture(&mut self, picture: &frame::Video) -> Result<(), JobFailure> {
        let now = points(&self.shaper.shape(picture)?);
        if !self.before.is_empty() {
            let difference = difference(&now, &self.before);
            let sudden = difference.min(difference.abs_diff(self.difference_before));
            self.difference_before = difference;
            if sudden >= self.threshold_permille {
                self.is_cut = self.scenes.len() == MAX_SCENES;
                if !self.is_cut {
                    let time = picture.pts().unwrap_or_default();
                    self.scenes.push(json!({"time": time, "permille": sudden}));
                }
            }
        }
        self.before = now;
        Ok(())
    }

    fn finish(self: Box<Self>, seen: &Seen) -> Result<Report, JobFailure> {
        seen.some_picture()?;
        let list = json!({"v": 1, "ticks_per_second": CLOCK.1, "scenes": self.scenes});
        self.channel.output(self.name, list.to_string().as_bytes());
        let mut notes = seen.notes_on_pictures();
        if self.is_cut {
            notes.push(format!("only the first {MAX_SCENES} changes are listed"));
        }
        Ok(report([], 1, notes))
    }
}
