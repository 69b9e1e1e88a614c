//! The poster recipe: one picture from a little in, as JPEG.

use ffmpeg_next::{Rescale, frame};
use transcode_protocol::{PosterParameters, Report};

use crate::channel::SharedChannel;
use crate::failure::{JobFailure, While};
use crate::jpeg;
use crate::pass::{Maker, Seen, Tracks};
use crate::report::report;
use crate::scan::MICROSECONDS;
use crate::video::{CLOCK, Look, Shaper, held};

/// The poster comes from no later than this part of the length.
const LATEST_PART: i64 = 10;

/// `poster.jpg`, until its picture has come.
pub(crate) struct Poster {
    channel: SharedChannel,
    name: &'static str,
    shaper: Shaper,
    size: (u32, u32),
    quality: u32,
    /// The first picture at or after this moment, else the last there is.
    at: i64,
    picture: Option<frame::Video>,
    is_found: bool,
}

impl Poster {
    pub(crate) fn open(
        tracks: &Tracks<'_>,
        channel: SharedChannel,
        name: &'static str,
        parameters: &PosterParameters,
    ) -> Result<Self, JobFailure> {
        let (_, shown) = tracks.pictures()?;
        let size = shown.fit(parameters.max_side_px, parameters.max_side_px);
        Ok(Self {
            channel,
            name,
            shaper: Shaper::new(*shown, size, Look::Still),
            size,
            quality: parameters.quality,
            at: moment(tracks.input.duration(), parameters),
            picture: None,
            is_found: false,
        })
    }
}

/// When, in [`CLOCK`]: far enough in that a lens cap is off, early enough for a short clip.
fn moment(duration_us: i64, parameters: &PosterParameters) -> i64 {
    let wanted = i64::from(parameters.at_ms) * 1000;
    let at_us = if duration_us > 0 { wanted.min(duration_us / LATEST_PART) } else { wanted };
    at_us.rescale(MICROSECONDS, CLOCK)
}

impl Maker for Poster {
    fn picture(&mut self, picture: &frame::Video) -> Result<(), JobFailure> {
        if !self.is_found {
            self.is_found = picture.pts().is_some_and(|time| time >= self.at);
            self.picture = Some(held(picture).while_doing("keeping a picture")?);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.is_found
    }

    fn finish(mut self: Box<Self>, seen: &Seen) -> Result<Report, JobFailure> {
        seen.some_picture()?;
        let picture = self.picture.as_ref().ok_or_else(jpeg::missing)?;
        let mut shaped = self.shaper.shape(picture)?;
        let bytes = jpeg::encode(&mut shaped, self.quality).while_doing("encoding the poster")?;
        self.channel.output(self.name, &bytes);
        let (width, height) = self.size;
        let how = format!("mjpeg q={} size={width}x{height}", self.quality);
        Ok(report([("picture", how)], 1, Vec::new()))
    }
}
