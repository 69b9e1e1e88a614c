//! Interlaced pictures: the lines of one are of two moments in turn, and show as combs where something moves. They are made
//! whole here, one picture of each, so that count and times stay.

use std::collections::VecDeque;

use ffmpeg_next as ffmpeg;
use ffmpeg_next::{filter, frame};

use crate::video::{Shape, graph_from};

/// The filter looks at so many lines and columns.
const SMALLEST: u32 = 3;
/// Pictures that are not flagged as interlaced are left as they are. The filter counts in half ticks.
const STEPS: &str = "bwdif=mode=send_frame:parity=auto:deint=interlaced,settb=1/90000";

/// Gives on pictures in their order, the interlaced ones made whole. One is held back once there was an interlaced one.
pub(crate) struct Deinterlacer {
    makes_whole: bool,
    graph: Option<(Shape, filter::Graph)>,
    ready: VecDeque<frame::Video>,
    /// Interlaced pictures so far.
    pub(crate) interlaced: u64,
}

impl Deinterlacer {
    /// One that does nothing but count unless it `makes_whole`.
    pub(crate) fn new(makes_whole: bool) -> Self {
        Self { makes_whole, graph: None, ready: VecDeque::new(), interlaced: 0 }
    }

    /// What becomes of interlaced pictures.
    pub(crate) fn in_words(&self) -> &'static str {
        match self.makes_whole {
            true => "interlaced pictures made whole",
            false => "interlaced pictures left as they are",
        }
    }

    pub(crate) fn take(&mut self, picture: frame::Video) -> Result<(), ffmpeg::Error> {
        let shape = Shape::of(&picture);
        if self.graph.as_ref().is_some_and(|(built_for, _)| *built_for != shape) {
            self.flush()?;
        }
        if picture.is_interlaced() && picture.width().min(picture.height()) >= SMALLEST {
            self.interlaced += 1;
            if self.graph.is_none() && self.makes_whole {
                self.graph = Some((shape, graph_from(shape, STEPS)?));
            }
        }
        match &mut self.graph {
            Some((_, graph)) => {
                let input = graph.get("in").ok_or(ffmpeg::Error::FilterNotFound);
                input?.source().add(&picture)?;
                self.drain()
            }
            None => {
                self.ready.push_back(picture);
                Ok(())
            }
        }
    }

    /// Gives on what is held back.
    pub(crate) fn flush(&mut self) -> Result<(), ffmpeg::Error> {
        if let Some((_, graph)) = &mut self.graph {
            graph.get("in").ok_or(ffmpeg::Error::FilterNotFound)?.source().flush()?;
            self.drain()?;
            self.graph = None;
        }
        Ok(())
    }

    pub(crate) fn next(&mut self) -> Option<frame::Video> {
        self.ready.pop_front()
    }

    fn drain(&mut self) -> Result<(), ffmpeg::Error> {
        let Some((_, graph)) = &mut self.graph else { return Ok(()) };
        let mut output = graph.get("out").ok_or(ffmpeg::Error::FilterNotFound)?;
        loop {
            let mut whole = frame::Video::empty();
            if output.sink().frame(&mut whole).is_err() {
                return Ok(());
            }
            self.ready.push_back(whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::video::CLOCK;

    /// Pictures of four lines, of which every second is dark, numbered by their times.
    fn combed(time: i64, is_interlaced: bool) -> frame::Video {
        let mut picture = frame::Video::new(ffmpeg::format::Pixel::YUV420P, 16, 8);
        let stride = picture.stride(0);
        for (line, row) in picture.data_mut(0).chunks_mut(stride).enumerate() {
            row.fill(if line % 2 == 0 { 200 } else { 50 });
        }
        picture.set_pts(Some(time));
        // SAFETY: sets numbers of a frame of our own.
        unsafe {
            (*picture.as_mut_ptr()).interlaced_frame = i32::from(is_interlaced);
            (*picture.as_mut_ptr()).top_field_first = 1;
        }
        picture
    }

    #[test]
    fn every_picture_comes_out_once_in_its_order_and_at_its_time() {
        let mut deinterlacer = Deinterlacer::new(true);
        let mut times = Vec::new();
        for time in 0..9 {
            deinterlacer.take(combed(time * 3001, (2..6).contains(&time))).unwrap();
            times.extend(std::iter::from_fn(|| deinterlacer.next()).map(|p| p.pts().unwrap()));
        }
        deinterlacer.flush().unwrap();
        times.extend(std::iter::from_fn(|| deinterlacer.next()).map(|p| p.pts().unwrap()));
        assert_eq!(times, (0..9).map(|time| time * 3001).collect::<Vec<_>>());
        assert_eq!(deinterlacer.interlaced, 4);
        assert_eq!(CLOCK.1, 90_000, "as the steps say");
    }
}
