//! The thumbnails recipe: a sheet of small pictures at even distances, row by row from the start.
//!
//! Nobody needs to know the length before: when there are more pictures than the sheet may have, every second one goes, and the
//! distance is twice as long.

use ffmpeg_next as ffmpeg;
use ffmpeg_next::{Rescale, frame};
use transcode_protocol::{Report, ThumbnailsParameters};

use crate::channel::SharedChannel;
use crate::failure::{JobFailure, While};
use crate::jpeg;
use crate::pass::{Maker, Seen, Tracks};
use crate::report::report;
use crate::video::{CLOCK, Look, Shaper, held};

const MILLISECONDS: ffmpeg::Rational = ffmpeg::Rational(1, 1000);

/// `thumbnails.jpg`, as it grows.
pub(crate) struct Thumbnails {
    channel: SharedChannel,
    name: &'static str,
    shaper: Shaper,
    /// Of one picture.
    size: (u32, u32),
    parameters: ThumbnailsParameters,
    every: i64,
    pictures: Vec<frame::Video>,
    /// What is on show until the next picture comes.
    on_show: Option<frame::Video>,
}

impl Thumbnails {
    pub(crate) fn open(
        tracks: &Tracks<'_>,
        channel: SharedChannel,
        name: &'static str,
        parameters: &ThumbnailsParameters,
    ) -> Result<Self, JobFailure> {
        let (_, shown) = tracks.pictures()?;
        let size = shown.fit(parameters.max_side_px, parameters.max_side_px);
        Ok(Self {
            channel,
            name,
            shaper: Shaper::new(*shown, size, Look::Still),
            size,
            parameters: parameters.clone(),
            every: i64::from(parameters.every_ms.max(1)).rescale(MILLISECONDS, CLOCK),
            pictures: Vec::new(),
            on_show: None,
        })
    }

    /// When the next picture of the sheet is due.
    fn due(&self) -> i64 {
        self.every * self.pictures.len() as i64
    }

    /// Puts what is on show on the sheet.
    fn take(&mut self) -> Result<(), JobFailure> {
        let Some(picture) = &self.on_show else { return Ok(()) };
        self.pictures.push(self.shaper.shape(picture)?);
        if self.pictures.len() > self.parameters.max_pictures.max(1) as usize {
            let mut at = 0;
            self.pictures.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.every = self.every.saturating_mul(2);
        }
        Ok(())
    }

    /// The sheet, with black where there is no picture.
    fn sheet(&self) -> frame::Video {
        let columns = self.parameters.columns.max(1).min(self.pictures.len() as u32);
        let rows = (self.pictures.len() as u32).div_ceil(columns);
        let (width, height) = self.size;
        let format = ffmpeg::format::Pixel::YUVJ420P;
        let mut sheet = frame::Video::new(format, width * columns, height * rows);
        for (plane, black) in [(0, 0), (1, 128), (2, 128)] {
            sheet.data_mut(plane).fill(black);
        }
        for (at, picture) in self.pictures.iter().enumerate() {
            let (column, row) = (at % columns as usize, at / columns as usize);
            for plane in 0..3 {
                let half = usize::from(plane > 0);
                let (width, height) = (width as usize >> half, height as usize >> half);
                let (from, to) = (picture.stride(plane), sheet.stride(plane));
                let target = &mut sheet.data_mut(plane)[row * height * to + column * width..];
                for (line, source) in picture.data(plane).chunks(from).take(height).enumerate() {
                    target[line * to..][..width].copy_from_slice(&source[..width]);
                }
            }
        }
        sheet
    }
}

impl Maker for Thumbnails {
    fn picture(&mut self, picture: &frame::Video) -> Result<(), JobFailure> {
        let time = picture.pts().unwrap_or_default();
        while self.on_show.is_some() && self.due() < time {
            self.take()?;
        }
        self.on_show = Some(held(picture).while_doing("keeping a picture")?);
        Ok(())
    }

    fn finish(mut self: Box<Self>, seen: &Seen) -> Result<Report, JobFailure> {
        seen.some_picture()?;
        let last = self.on_show.as_ref().and_then(|picture| picture.pts()).unwrap_or_default();
        if self.pictures.is_empty() || self.due() <= last {
            self.take()?;
        }
        let quality = self.parameters.quality;
        let sheet = jpeg::encode(&mut self.sheet(), quality).while_doing("encoding the sheet")?;
        self.channel.output(self.name, &sheet);
        let how = format!(
            "mjpeg q={quality} picture={}x{} columns={} every={}ms pictures={}",
            self.size.0,
            self.size.1,
            self.parameters.columns,
            self.every.rescale(CLOCK, MILLISECONDS),
            self.pictures.len()
        );
        Ok(report([("picture", how)], 1, seen.notes_on_pictures()))
    }
}
