//! The redaction recipe: a recording without what must not be shown.
//!
//! It begins empty: only decoded pixels and samples are carried over, and what is covered or muted is gone before an encoder
//! sees it; and coded pictures of groups in which nothing is covered ([`crate::groups`]). So two originals that differ only in what
//! is covered and muted give the same bytes.

use ffmpeg_next::{Packet, Rational, frame};
use transcode_protocol::{
    Area, Cover, FailureCode, MAX_REDACTIONS, RedactionParameters, Report, Span,
};

use crate::audio::SOUND_RATE;
use crate::channel::SharedChannel;
use crate::failure::{JobFailure, While};
use crate::groups::Groups;
use crate::part::Ticks;
use crate::pass::{Maker, Seen, Tracks, no_picture};
use crate::proxy::{Proxy, full_size};
use crate::video::{CLOCK, Look, Shaper, Shown};

/// Colours of a pixel reach this far into its neighbours when a picture is scaled or its colours are halved.
const MARGIN_PX: u32 = 8;
/// A sample reaches this far into its neighbours when the rate of the sound changes.
const MARGIN_MS: u64 = 20;
/// Black, of luma and of both colours.
const BLACK: [u8; 3] = [16, 128, 128];

/// What `redaction.mp4` is made of, on its way to the encoder.
pub(crate) struct Redaction {
    proxy: Proxy,
    shaper: Option<Shaper>,
    areas: Vec<Area>,
    mutes: Vec<Span>,
    /// From the start of the file to the start of what is kept.
    keep: Span,
    /// It is covered once it is known how long it is shown.
    held: Option<frame::Video>,
    /// What goes along as it is coded.
    groups: Option<Groups>,
}

impl Redaction {
    pub(crate) fn open(
        tracks: &Tracks<'_>,
        channel: SharedChannel,
        name: &'static str,
        parameters: &RedactionParameters,
    ) -> Result<Self, JobFailure> {
        let RedactionParameters { areas, mutes, keep, .. } = parameters.clone();
        if areas.len() > MAX_REDACTIONS || mutes.len() > MAX_REDACTIONS {
            let message = format!("A redaction has at most {MAX_REDACTIONS} areas and mutes.");
            return Err(JobFailure::new(FailureCode::Internal, message));
        }
        let sized = tracks.picture.as_ref().ok().map(|(stream, shown)| {
            let (width, height) = shown.fit(u32::MAX, u32::MAX);
            (stream, *shown, Shown::upright(width, height))
        });
        if let Some((_, _, size)) = &sized {
            areas.iter().try_for_each(|area| is_within(area, *size))?;
        }
        let shaper = sized
            .as_ref()
            .map(|(_, from, to)| Shaper::new(*from, (to.width, to.height), Look::Film));
        let upright = Tracks {
            input: tracks.input,
            picture: sized
                .and_then(|(stream, _, size)| Some((tracks.input.stream(stream.index())?, size)))
                .ok_or_else(no_picture),
            stereo: tracks.stereo,
        };
        let groups = match &sized {
            Some((_, from, to)) if !from.is_shaped_to(*to) => Groups::find(&channel, parameters),
            Some(_) => Err("it is turned, or its pixels are not square"),
            None => Err("it has no picture"),
        };
        let mut proxy = match &groups {
            Ok(groups) => Proxy::open_among(&upright, channel, name, &full_size(), groups.order())?,
            Err(_) => Proxy::open(&upright, channel, name, &full_size())?,
        };
        proxy.note(match &groups {
            Ok(groups) => groups.notes(),
            Err(why) => vec![format!("all pictures are encoded anew: {why}")],
        });
        Ok(Self { proxy, shaper, areas, mutes, keep, held: None, groups: groups.ok() })
    }

    /// Covers the picture that is held, which is shown until `next`, and gives it on.
    fn give_held(&mut self, next: i64) -> Result<(), JobFailure> {
        let Some(mut picture) = self.held.take() else { return Ok(()) };
        let shown = picture.pts().unwrap_or_default()..next;
        let keep = Ticks::of(self.keep, CLOCK);
        let is_on = |area: &&Area| {
            let at = Ticks::of(area.span(), CLOCK);
            at.from - keep.from < shown.end && shown.start < at.to.saturating_sub(keep.from)
        };
        let areas: Vec<_> = self.areas.iter().filter(is_on).copied().collect();
        cover(&mut picture, &areas);
        self.proxy.picture(&picture)
    }
}

impl Maker for Redaction {
    fn picture(&mut self, picture: &frame::Video) -> Result<(), JobFailure> {
        let Some(shaper) = &mut self.shaper else { return Ok(()) };
        let bare = bare(&shaper.shape(picture)?)?;
        self.give_held(bare.pts().unwrap_or_default())?;
        self.held = Some(bare);
        Ok(())
    }

    fn carries(&self, packet: &Packet) -> bool {
        self.groups.as_ref().is_some_and(|groups| groups.time(packet).is_some())
    }

    fn carry(&mut self, packet: &Packet) -> Result<(), JobFailure> {
        let Some(groups) = &self.groups else { return Ok(()) };
        let Some((time, coded)) = groups.time(packet).zip(groups.bare(packet)) else {
            return Ok(());
        };
        let is_covered = self.areas.iter().any(|area| Ticks::of(area.span(), CLOCK).has(time));
        if is_covered || !Ticks::of(self.keep, CLOCK).has(time) {
            let message = "A picture that must not be shown was to be carried over.";
            return Err(JobFailure::new(FailureCode::Internal, message));
        }
        let time = time - Ticks::of(self.keep, CLOCK).from;
        self.give_held(time)?;
        self.proxy.carry(&coded, time)
    }

    fn sound(&mut self, piece: &frame::Audio) -> Result<(), JobFailure> {
        let mut piece = crate::audio::copied(piece).while_doing("copying the sound")?;
        let clock = Rational(1, SOUND_RATE as i32);
        let start = piece.pts().unwrap_or_default() + Ticks::of(self.keep, clock).from;
        for mute in &self.mutes {
            let wider = Span {
                from_ms: mute.from_ms.saturating_sub(MARGIN_MS),
                to_ms: mute.to_ms.saturating_add(MARGIN_MS),
            };
            silence(&mut piece, start, Ticks::of(wider, clock));
        }
        self.proxy.sound(&piece)
    }

    fn finish(mut self: Box<Self>, seen: &Seen) -> Result<Report, JobFailure> {
        self.give_held(i64::MAX)?;
        Box::new(self.proxy).finish(seen)
    }
}

fn is_within(area: &Area, size: Shown) -> Result<(), JobFailure> {
    let fits = |at: u32, long: u32, side: u32| {
        long > 0 && at.checked_add(long).is_some_and(|end| end <= side)
    };
    if fits(area.x, area.width, size.width) && fits(area.y, area.height, size.height) {
        return Ok(());
    }
    let message = format!(
        "The area at {},{} of {}x{} is not within the picture, which is {}x{}.",
        area.x, area.y, area.width, area.height, size.width, size.height
    );
    Err(JobFailure::new(FailureCode::NothingToMake, message))
}

/// The same pixels at the same time, and nothing else: captions, notes and whatever came along stay behind.
fn bare(picture: &frame::Video) -> Result<frame::Video, JobFailure> {
    let mut bare = frame::Video::new(picture.format(), picture.width(), picture.height());
    for plane in 0..picture.planes() {
        let (from, to) = (picture.stride(plane), bare.stride(plane));
        let wide = from.min(to);
        let rows = picture.plane_height(plane) as usize;
        let source = picture.data(plane);
        let target = bare.data_mut(plane);
        for row in 0..rows {
            target[row * to..][..wide].copy_from_slice(&source[row * from..][..wide]);
        }
    }
    bare.set_pts(picture.pts());
    Ok(bare)
}

/// Covers all `areas`. First all are black, so that no cover is made of what another one hides.
fn cover(picture: &mut frame::Video, areas: &[Area]) {
    for (plane, black) in BLACK.into_iter().enumerate().take(picture.planes()) {
        let mut pixels = Plane::of(picture, plane);
        let rectangles: Vec<_> = areas.iter().map(|area| pixels.rectangle(area)).collect();
        for rectangle in &rectangles {
            pixels.fill(rectangle, |_, _| black);
        }
        let blurred = rectangles.iter().zip(areas).filter(|(_, area)| area.cover == Cover::Blur);
        blurred.for_each(|(rectangle, _)| pixels.blend(rectangle));
    }
}

/// Left, top, and just beyond right and bottom, in pixels of a plane.
struct Rectangle {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

/// One colour of a picture.
struct Plane<'p> {
    data: &'p mut [u8],
    stride: usize,
    width: usize,
    height: usize,
    /// Pixels of the picture for one of the plane, each way.
    step: u32,
}

impl<'p> Plane<'p> {
    fn of(picture: &'p mut frame::Video, plane: usize) -> Self {
        Self {
            stride: picture.stride(plane),
            width: picture.plane_width(plane) as usize,
            height: picture.plane_height(plane) as usize,
            step: if plane == 0 { 1 } else { 2 },
            data: picture.data_mut(plane),
        }
    }

    /// Where `area` lies with its margin, rounded outwards.
    fn rectangle(&self, area: &Area) -> Rectangle {
        let low = |at: u32| (at.saturating_sub(MARGIN_PX) / self.step) as usize;
        let high = |at: u32, long: u32, side: usize| {
            let end = at.saturating_add(long).saturating_add(MARGIN_PX);
            (end.div_ceil(self.step) as usize).min(side)
        };
        Rectangle {
            left: low(area.x),
            top: low(area.y),
            right: high(area.x, area.width, self.width),
            bottom: high(area.y, area.height, self.height),
        }
    }

    fn fill(&mut self, within: &Rectangle, value: impl Fn(usize, usize) -> u8) {
        for y in within.top..within.bottom {
            let row = &mut self.data[y * self.stride..][..self.width];
            for (x, pixel) in row.iter_mut().enumerate().take(within.right).skip(within.left) {
                *pixel = value(x, y);
            }
        }
    }

    /// Each pixel is the mean of the four just outside in its row and column, the nearer one counting for more.
    fn blend(&mut self, within: &Rectangle) {
        let at = |x: usize, y: usize| u64::from(self.data[y * self.stride + x]);
        let column = |x: Option<usize>| -> Option<Vec<u64>> {
            let x = x.filter(|x| *x < self.width)?;
            Some((within.top..within.bottom).map(|y| at(x, y)).collect())
        };
        let row = |y: Option<usize>| -> Option<Vec<u64>> {
            let y = y.filter(|y| *y < self.height)?;
            Some((within.left..within.right).map(|x| at(x, y)).collect())
        };
        let left = column(within.left.checked_sub(1));
        let right = column(Some(within.right));
        let above = row(within.top.checked_sub(1));
        let below = row(Some(within.bottom));
        if [&left, &right, &above, &below].iter().all(|side| side.is_none()) {
            return;
        }
        let mean = |x: usize, y: usize| {
            let (across, down) = (x - within.left, y - within.top);
            let sides = [
                (&left, down, across),
                (&right, down, within.right - 1 - x),
                (&above, across, down),
                (&below, across, within.bottom - 1 - y),
            ];
            let weighed = sides.iter().filter_map(|(side, at, far)| {
                let weight = (1u64 << 20) / (*far as u64 + 1);
                side.as_ref().map(|side| (side[*at] * weight, weight))
            });
            let (sum, weights) =
                weighed.fold((0, 0), |(s, w), (value, weight)| (s + value, w + weight));
            u8::try_from(sum / weights.max(1)).unwrap_or(u8::MAX)
        };
        self.fill(within, mean);
    }
}

/// Zeroes what of `piece`, which begins at `start`, lies in `mute`.
fn silence(piece: &mut frame::Audio, start: i64, mute: Ticks) {
    let samples = piece.samples() as i64;
    let low = (mute.from - start).clamp(0, samples) as usize;
    let high = (mute.to.saturating_sub(start)).clamp(0, samples) as usize;
    if low >= high {
        return;
    }
    for plane in 0..piece.planes() {
        piece.plane_mut::<f32>(plane)[low..high].fill(0.0);
    }
}
