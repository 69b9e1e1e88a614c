//! The sheet of thumbnails: which picture is where on it, and when it was on show.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

/// No camera records for longer; a sheet that says so is not believed.
const MAX_PICTURES: u32 = 1000;

/// How a sheet is laid out, row by row from the start of the recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sheet {
    /// Of one picture, in pixels.
    pub width: u32,
    pub height: u32,
    pub columns: u32,
    pub pictures: u32,
    /// Between two pictures.
    pub every: Duration,
}

/// One picture of a sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnSheet {
    pub left: u32,
    pub top: u32,
    pub from: Duration,
}

impl Sheet {
    /// Reads it from the `recipe` of its `item.derived`: what the worker says of how it was made.
    pub(super) fn of(recipe: &Value) -> Option<Self> {
        let how = recipe["made-with"]["codecs"]["picture"].as_str()?;
        let word =
            |name: &str| how.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let number = |name| word(name)?.parse::<u32>().ok();
        let (width, height) = word("picture")?.split_once('x')?;
        let every_ms = word("every")?.strip_suffix("ms")?.parse().ok()?;
        let sheet = Self {
            width: width.parse().ok()?,
            height: height.parse().ok()?,
            columns: number("columns")?,
            pictures: number("pictures")?,
            every: Duration::from_millis(every_ms),
        };
        let sides = [sheet.width, sheet.height, sheet.columns, sheet.pictures];
        let within = sides.iter().all(|side| (1..=MAX_PICTURES).contains(side));
        (within && !sheet.every.is_zero()).then_some(sheet)
    }

    /// Each picture.
    pub fn pictures(self) -> impl Iterator<Item = OnSheet> {
        (0..self.pictures).map(move |at| OnSheet {
            left: at % self.columns * self.width,
            top: at / self.columns * self.height,
            from: self.every.saturating_mul(at),
        })
    }

    /// As WebVTT, in which players look thumbnails up: `image` is where the sheet is.
    pub fn vtt(self, image: &str) -> String {
        let mut text = "WEBVTT\n".to_owned();
        for picture in self.pictures() {
            let (from, to) = (picture.from, picture.from.saturating_add(self.every));
            let OnSheet { left, top, .. } = picture;
            let place = format!("{left},{top},{},{}", self.width, self.height);
            write!(text, "\n{} --> {}\n{image}#xywh={place}\n", clock(from), clock(to))
                .expect("text takes text");
        }
        text
    }
}

/// `HH:MM:SS.mmm`, as WebVTT has it.
fn clock(time: Duration) -> String {
    let (seconds, millis) = (time.as_secs(), time.subsec_millis());
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{millis:03}", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(how: &str) -> Option<Sheet> {
        Sheet::of(&json!({"made-with": {"codecs": {"picture": how}}}))
    }

    #[test]
    fn each_picture_has_its_place_and_time() {
        let sheet = of("mjpeg q=6 picture=160x90 columns=2 every=64000ms pictures=3").unwrap();
        let lines = sheet.vtt("thumbnails");
        let cues: Vec<_> = lines.split("\n\n").collect();
        assert_eq!(
            cues,
            [
                "WEBVTT",
                "00:00:00.000 --> 00:01:04.000\nthumbnails#xywh=0,0,160,90",
                "00:01:04.000 --> 00:02:08.000\nthumbnails#xywh=160,0,160,90",
                "00:02:08.000 --> 00:03:12.000\nthumbnails#xywh=0,90,160,90\n"
            ]
        );
    }

    /// It is said by a worker that may have been taken over.
    #[test]
    fn what_is_no_sheet_is_none() {
        for bad in [
            "",
            "mjpeg q=6",
            "picture=160x90 columns=0 every=1000ms pictures=3",
            "picture=160x90 columns=2 every=0ms pictures=3",
            "picture=160x90 columns=2 every=1000ms pictures=4000000000",
            "picture=160 columns=2 every=1000ms pictures=3",
            "picture=160x90 columns=2 every=1000 pictures=3",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
