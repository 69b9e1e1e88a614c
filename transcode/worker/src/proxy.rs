//! The proxy recipe: the viewing copy that a browser plays.

use ffmpeg_next::{ChannelLayout, frame};
use transcode_protocol::{ProxyParameters, Report};

use crate::audio::SoundEncoder;
use crate::channel::SharedChannel;
use crate::failure::JobFailure;
use crate::groups::Order;
use crate::mux::Mp4;
use crate::pass::{Maker, Seen, Tracks};
use crate::report::report;
use crate::video::{Encoder, Look, Shaper};

/// `proxy.mp4` or `proxy-small.mp4` on its way out.
pub(crate) struct Proxy {
    channel: SharedChannel,
    mp4: Mp4,
    picture: Option<(Shaper, Encoder)>,
    sound: Option<SoundEncoder>,
    /// What is done to each picture.
    notes: Vec<String>,
    /// Two channels become one.
    is_mixed: bool,
    threads: u32,
}

/// What of a viewing copy is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    All,
    Pictures,
    Sound,
}

/// As large as the original, and hardly to be told from it: for what is made once, and goes to others.
pub(crate) fn full_size() -> ProxyParameters {
    let (max_long_side_px, max_short_side_px) = (u32::MAX, u32::MAX);
    ProxyParameters { max_long_side_px, max_short_side_px, crf: 18, ..ProxyParameters::default() }
}

impl Proxy {
    pub(crate) fn open(
        tracks: &Tracks<'_>,
        channel: SharedChannel,
        name: &'static str,
        parameters: &ProxyParameters,
    ) -> Result<Self, JobFailure> {
        Self::open_some(tracks, channel, name, parameters, Of::All)
    }

    /// The same, with coded pictures of the original between those that are encoded, in this order ([`Proxy::carry`]).
    pub(crate) fn open_among(
        tracks: &Tracks<'_>,
        channel: SharedChannel,
        name: &'static str,
        parameters: &ProxyParameters,
        order: Order,
    ) -> Result<Self, JobFailure> {
        Self::open_with(tracks, channel, name, parameters, Of::All, Some(order))
    }

    /// Only the pictures or the sound of it, each timed as in the whole.
    pub(crate) fn open_some(
        tracks: &Tracks<'_>,
        channel: SharedChannel,
        name: &'static str,
        parameters: &ProxyParameters,
        of: Of,
    ) -> Result<Self, JobFailure> {
        Self::open_with(tracks, channel, name, parameters, of, None)
    }

    fn open_with(
        tracks: &Tracks<'_>,
        channel: SharedChannel,
        name: &'static str,
        parameters: &ProxyParameters,
        of: Of,
        among: Option<Order>,
    ) -> Result<Self, JobFailure> {
        let (mut mp4, mut notes) = (Mp4::new(&channel, name)?, Vec::new());
        // The picture first: fragments begin with its keyframes.
        let picture = match &tracks.picture {
            Ok((stream, shown)) if of != Of::Sound => {
                let size = shown.fit(parameters.max_long_side_px, parameters.max_short_side_px);
                let encoder = Encoder::open(stream, size, parameters, among, &mut mp4)?;
                notes = shown.notes(size);
                Some((Shaper::new(*shown, size, Look::Film), encoder))
            }
            _ => None,
        };
        let is_mixed = parameters.mono && tracks.stereo == Some(true);
        let stereo = tracks.stereo.map(|stereo| stereo && !is_mixed);
        let sound = match stereo {
            Some(stereo) if of == Of::Pictures => {
                SoundEncoder::only_delay(stereo, parameters, &mut mp4)?;
                None
            }
            Some(stereo) => Some(SoundEncoder::open(stereo, parameters, &mut mp4)?),
            None => None,
        };
        mp4.begin(picture.is_some())?;
        Ok(Self { channel, mp4, picture, sound, notes, is_mixed, threads: parameters.threads })
    }
}

impl Proxy {
    /// Writes a coded picture of the original, shown at `time`, behind those so far.
    pub(crate) fn carry(&mut self, coded: &(Vec<u8>, bool), time: i64) -> Result<(), JobFailure> {
        let Some((_, encoder)) = &mut self.picture else { return Ok(()) };
        encoder.carry(coded, time, &mut self.mp4)
    }

    /// For people, beside the copy.
    pub(crate) fn note(&mut self, notes: Vec<String>) {
        self.notes.extend(notes);
    }
}

impl Maker for Proxy {
    fn picture(&mut self, picture: &frame::Video) -> Result<(), JobFailure> {
        let Some((shaper, encoder)) = &mut self.picture else { return Ok(()) };
        encoder.feed(Some(&shaper.shape(picture)?), &mut self.mp4)
    }

    fn sound(&mut self, sound: &frame::Audio) -> Result<(), JobFailure> {
        match &mut self.sound {
            Some(encoder) if self.is_mixed => encoder.feed(Some(&mixed(sound)), &mut self.mp4),
            Some(encoder) => encoder.feed(Some(sound), &mut self.mp4),
            None => Ok(()),
        }
    }

    fn finish(self: Box<Self>, seen: &Seen) -> Result<Report, JobFailure> {
        let Self { channel, mut mp4, mut picture, mut sound, mut notes, threads, .. } = *self;
        if let Some((_, encoder)) = &mut picture {
            seen.some_picture()?;
            encoder.feed(None, &mut mp4)?;
        }
        if let Some(encoder) = &mut sound {
            encoder.feed(None, &mut mp4)?;
        }
        notes.extend(seen.notes());
        mp4.finish(&channel)?;
        let codecs = picture.map(|(_, encoder)| ("video", encoder.how)).into_iter();
        let codecs = codecs.chain(sound.map(|encoder| ("audio", encoder.how())));
        Ok(report(codecs, threads, notes))
    }
}

/// One channel of two: halfway between them.
fn mixed(sound: &frame::Audio) -> frame::Audio {
    let mut mixed = frame::Audio::new(sound.format(), sound.samples(), ChannelLayout::MONO);
    mixed.set_rate(sound.rate());
    mixed.set_pts(sound.pts());
    let (left, right) = (sound.plane::<f32>(0), sound.plane::<f32>(1));
    for ((to, left), right) in mixed.plane_mut::<f32>(0).iter_mut().zip(left).zip(right) {
        *to = (left + right) / 2.0;
    }
    mixed
}
