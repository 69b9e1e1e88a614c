//! One pass over an original: each picture and each piece of sound is decoded once, and given to all who make something
//! of it. One that fails leaves the others alone.

use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::frame;
use transcode_protocol::probe::StreamKind;
use transcode_protocol::{Ended, FailureCode, Frame, Recipe, Report};

use crate::audio::Sound;
use crate::channel::SharedChannel;
use crate::decoded::Decoded;
use crate::failure::{JobFailure, ended};
use crate::frames::Frames;
use crate::input::{self, Next, Reader, permille};
use crate::jumps::Joiner;
use crate::part::{Approach, PartOf};
use crate::poster::Poster;
use crate::probe::kind;
use crate::proxy::{Proxy, full_size};
use crate::redaction::Redaction;
use crate::scenes::Scenes;
use crate::thumbnails::Thumbnails;
use crate::video::{Pictures, Shown, shown};
use crate::waveform::Waveform;

/// Makes one output of what the pass decodes.
pub(crate) trait Maker {
    /// Takes a picture, timed in [`crate::video::CLOCK`] from the start of the file, later than the one before.
    fn picture(&mut self, _: &frame::Video) -> Result<(), JobFailure> {
        Ok(())
    }

    /// Whether a coded picture goes on as it is ([`Maker::carry`]), and is not decoded. Only for who is alone in a pass.
    fn carries(&self, _: &ffmpeg::Packet) -> bool {
        false
    }

    /// Takes a coded picture as it is, behind the pictures so far.
    fn carry(&mut self, _: &ffmpeg::Packet) -> Result<(), JobFailure> {
        Ok(())
    }

    /// Takes sound, as [`Sound`] gives it.
    fn sound(&mut self, _: &frame::Audio) -> Result<(), JobFailure> {
        Ok(())
    }

    /// Whether it has all that it needs.
    fn is_done(&self) -> bool {
        false
    }

    /// Makes the rest of the output, after the last of the original.
    fn finish(self: Box<Self>, seen: &Seen) -> Result<Report, JobFailure>;
}

/// What there is to decode.
pub(crate) struct Tracks<'i> {
    pub(crate) input: &'i Input,
    pub(crate) picture: Track<'i>,
    /// Whether the sound has two channels, where there is one that can be decoded.
    pub(crate) stereo: Option<bool>,
}

/// The stream of pictures, and how large they are shown; or why there are none.
pub(crate) type Track<'i> = Result<(ffmpeg::Stream<'i>, Shown), JobFailure>;

/// What was decoded, and what whoever sees or hears what is made of it should know.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) pictures: u64,
    pub(crate) sounds: u64,
    on_pictures: Vec<String>,
    on_sound: Vec<String>,
    on_times: Vec<String>,
    left_out: Vec<String>,
}

/// What becomes of one recipe.
type Work = Result<Box<dyn Maker>, JobFailure>;

/// What decodes the pictures and the sound of an original.
pub(crate) struct Decoders<'i> {
    pub(crate) pictures: Option<Pictures>,
    pub(crate) sound: Option<Sound>,
    pub(crate) tracks: Tracks<'i>,
}

/// The decoders of one pass.
struct Pass {
    pictures: Option<Pictures>,
    sound: Option<Sound>,
    joiner: Joiner,
    works: Vec<Work>,
    approach: Approach,
}

/// Makes what `recipes` ask for.
pub(crate) fn make(channel: &SharedChannel, recipes: &[Recipe]) -> Result<Vec<Ended>, JobFailure> {
    let mut input = input::open(channel)?.input;
    let mut pass = Pass::open(&input, channel, recipes)?;
    pass.run(&mut input, channel);
    Ok(pass.finish(&input))
}

/// The stream of a kind that libavformat thinks best; never a cover picture.
pub(crate) fn best(input: &Input, wanted: StreamKind) -> Option<ffmpeg::Stream<'_>> {
    let medium = match wanted {
        StreamKind::Audio => ffmpeg::media::Type::Audio,
        _ => ffmpeg::media::Type::Video,
    };
    input
        .streams()
        .best(medium)
        .filter(|stream| kind(stream) == wanted)
        .or_else(|| input.streams().find(|stream| kind(stream) == wanted))
}

/// The decoder, and the stream as makers are given it; or why there is none: what can be heard is worth having without.
fn open_pictures(
    stream: ffmpeg::Stream<'_>,
    start_us: i64,
    makes_whole: bool,
) -> Result<(Option<Pictures>, Track<'_>), JobFailure> {
    let opened = Pictures::open(&stream, start_us, makes_whole);
    let opened = opened.and_then(|pictures| Ok((pictures, shown(&stream).ok_or_else(no_size)?)));
    match opened {
        Ok((pictures, shown)) => Ok((Some(pictures), Ok((stream, shown)))),
        Err(failure) if failure.is_not_decodable() => Ok((None, Err(failure))),
        Err(failure) => Err(failure),
    }
}

/// Where the file's time begins.
pub(crate) fn start_us(input: &Input) -> i64 {
    // SAFETY: reads one number of an open context.
    let start = unsafe { (*input.as_ptr()).start_time };
    if input::is_possible(start) { start } else { 0 }
}

impl<'i> Decoders<'i> {
    /// `makes_whole` says what becomes of interlaced pictures.
    pub(crate) fn open(input: &'i Input, makes_whole: bool) -> Result<Self, JobFailure> {
        let start = start_us(input);
        let (pictures, picture) = match best(input, StreamKind::Video) {
            Some(stream) => open_pictures(stream, start, makes_whole)?,
            None => (None, Err(no_picture())),
        };
        let sound = best(input, StreamKind::Audio);
        let has_sound = sound.is_some();
        let sound = sound.and_then(|stream| Sound::open(&stream, start));
        let stereo = sound.as_ref().map(|sound| sound.stereo);
        let tracks = Tracks { input, picture, stereo };
        if stereo.is_none()
            && let Err(failure) = &tracks.picture
        {
            let only_sound = best(input, StreamKind::Video).is_none();
            return Err(if only_sound { nothing(has_sound) } else { failure.clone() });
        }
        Ok(Self { pictures, sound, tracks })
    }
}

impl Pass {
    fn open(
        input: &Input,
        channel: &SharedChannel,
        recipes: &[Recipe],
    ) -> Result<Self, JobFailure> {
        let start = start_us(input);
        // What is made up between two lines is made of the pictures before and after, too, and those may have to be covered.
        let makes_whole = !recipes.iter().any(|recipe| matches!(recipe, Recipe::Redaction(_)));
        let Decoders { pictures, sound, tracks } = Decoders::open(input, makes_whole)?;
        let works = recipes.iter().map(|recipe| open_maker(recipe, &tracks, channel)).collect();
        let joiner = Joiner::new(input);
        let decides = pictures.as_ref().map(|pictures| pictures.index);
        let decides = decides.or(sound.as_ref().map(|sound| sound.index)).unwrap_or_default();
        let span = if let [recipe] = recipes { recipe.span() } else { None };
        let approach = Approach::new(decides, start, span);
        Ok(Self { pictures, sound, joiner, works, approach })
    }

    fn run(&mut self, input: &mut Input, channel: &SharedChannel) {
        let mut reader = Reader::default();
        let mut said = 0;
        while self.goes_on() {
            let Next::Packet(mut packet) = reader.next(input) else {
                return self.feed_to_the_end();
            };
            let read = permille(&packet, channel.size_bytes());
            self.joiner.place(&mut packet, input);
            for packet in self.approach.step(packet, input) {
                self.feed(&packet);
            }
            if let Some(now) = read.filter(|p| *p >= said + 10) {
                said = now;
                channel.send(&Frame::Progress { permille: now });
            }
        }
    }

    fn goes_on(&self) -> bool {
        self.works.iter().flatten().any(|maker| !maker.is_done())
    }

    fn feed(&mut self, packet: &ffmpeg::Packet) {
        let index = packet.stream();
        if self.pictures.as_ref().is_some_and(|pictures| pictures.index == index) {
            match self.works.iter().flatten().any(|maker| maker.carries(packet)) {
                true => self.carry(packet),
                false => self.feed_pictures(Some(packet)),
            }
        } else if self.sound.as_ref().is_some_and(|sound| sound.index == index) {
            self.feed_sound(Some(packet));
        }
    }

    fn feed_to_the_end(&mut self) {
        for packet in self.approach.begin() {
            self.feed(&packet);
        }
        self.feed_pictures(None);
        self.feed_sound(None);
    }

    fn feed_pictures(&mut self, packet: Option<&ffmpeg::Packet>) {
        let Some(pictures) = &mut self.pictures else { return };
        pictures.feed(packet);
        loop {
            match pictures.next() {
                Ok(Some(picture)) => each(&mut self.works, |maker| maker.picture(&picture)),
                Ok(None) => return,
                Err(failure) => return fail_all(&mut self.works, &failure),
            }
        }
    }

    /// Gives a coded picture on as it is, behind those that were decoded.
    fn carry(&mut self, packet: &ffmpeg::Packet) {
        self.feed_pictures(None);
        if let Some(pictures) = &mut self.pictures {
            pictures.begin_anew();
            pictures.counts.carried += 1;
        }
        each(&mut self.works, |maker| maker.carry(packet));
    }

    fn feed_sound(&mut self, packet: Option<&ffmpeg::Packet>) {
        let Some(sound) = &mut self.sound else { return };
        let works = &mut self.works;
        let fed = sound.feed(packet, &mut |piece| each(works, |maker| maker.sound(piece)));
        if let Err(failure) = fed {
            fail_all(&mut self.works, &failure);
        }
    }

    fn finish(self, input: &Input) -> Vec<Ended> {
        let on_times = self.joiner.notes(start_us(input));
        let seen = Seen::of(input, self.pictures.as_ref(), self.sound.as_ref(), on_times);
        let works = self.works.into_iter();
        works.map(|work| ended(work.and_then(|maker| maker.finish(&seen)))).collect()
    }
}

/// Streams that nothing is made of.
pub(crate) fn left_out(input: &Input) -> Vec<String> {
    let count = |wanted: StreamKind| input.streams().filter(|s| kind(s) == wanted).count();
    let more = |wanted| count(wanted).saturating_sub(1);
    let counted = [
        (more(StreamKind::Video), "of pictures"),
        (more(StreamKind::Audio), "of sound"),
        (count(StreamKind::Subtitle), "of subtitles"),
        (count(StreamKind::Data), "of other data"),
    ];
    let counted = counted.into_iter().filter(|(count, _)| *count > 0);
    counted.map(|(count, what)| format!("streams {what} left out: {count}")).collect()
}

/// Does the same with every maker that has not failed.
fn each(works: &mut [Work], mut act: impl FnMut(&mut dyn Maker) -> Result<(), JobFailure>) {
    for work in works {
        if let Ok(maker) = work
            && let Err(failure) = act(maker.as_mut())
        {
            *work = Err(failure);
        }
    }
}

fn fail_all(works: &mut [Work], failure: &JobFailure) {
    each(works, |_| Err(failure.clone()));
}

fn open_maker(recipe: &Recipe, tracks: &Tracks<'_>, channel: &SharedChannel) -> Work {
    let name = recipe.output_name();
    let channel = channel.clone();
    Ok(match recipe {
        Recipe::Proxy(parameters) | Recipe::ProxySmall(parameters) => {
            if !parameters.ranges_from_90k.is_empty() {
                return Err(in_ranges());
            }
            Box::new(Proxy::open(tracks, channel, name, parameters)?)
        }
        Recipe::Poster(parameters) => Box::new(Poster::open(tracks, channel, name, parameters)?),
        Recipe::Thumbnails(parameters) => {
            Box::new(Thumbnails::open(tracks, channel, name, parameters)?)
        }
        Recipe::Waveform(parameters) => {
            Box::new(Waveform::open(tracks, channel, name, parameters)?)
        }
        Recipe::Frames(_) => Box::new(Frames::open(tracks, channel, name)?),
        Recipe::Scenes(parameters) => Box::new(Scenes::open(tracks, channel, name, parameters)?),
        Recipe::Decoded(_) => Box::new(Decoded::open(channel, name)?),
        Recipe::Extract(parameters) => {
            let made = Proxy::open(tracks, channel, name, &full_size())?;
            Box::new(PartOf::new(Box::new(made), parameters.part, tracks.are_there()))
        }
        Recipe::Redaction(parameters) => {
            let made = Redaction::open(tracks, channel, name, parameters)?;
            Box::new(PartOf::new(Box::new(made), parameters.keep, tracks.are_there()))
        }
        Recipe::Probe(_)
        | Recipe::Front(_)
        | Recipe::Location(_)
        | Recipe::Joined(_)
        | Recipe::ProxyRange(_) => {
            unreachable!("they read the file by themselves")
        }
    })
}

impl Tracks<'_> {
    /// Whether there are pictures, and sound.
    fn are_there(&self) -> (bool, bool) {
        (self.picture.is_ok(), self.stereo.is_some())
    }

    /// The pictures, for what is made of nothing else.
    pub(crate) fn pictures(&self) -> Result<&(ffmpeg::Stream<'_>, Shown), JobFailure> {
        self.picture.as_ref().map_err(JobFailure::clone)
    }
}

impl Seen {
    /// What `pictures` and `sound` have decoded of `input`: neither where it cannot be decoded.
    fn of(
        input: &Input,
        pictures: Option<&Pictures>,
        sound: Option<&Sound>,
        on_times: Vec<String>,
    ) -> Self {
        let missing = |what: &str| vec![format!("the {what} cannot be decoded and is missing")];
        let is_there = |kind| best(input, kind).is_some();
        let no_sound = if is_there(StreamKind::Audio) { missing("sound") } else { Vec::new() };
        let no_pictures = if is_there(StreamKind::Video) { missing("picture") } else { Vec::new() };
        Self {
            pictures: pictures
                .map_or(0, |pictures| pictures.counts.decoded + pictures.counts.carried),
            sounds: sound.map_or(0, |sound| sound.decoded),
            on_pictures: pictures.map_or(no_pictures, Pictures::notes),
            on_sound: sound.map_or(no_sound, Sound::notes),
            on_times,
            left_out: left_out(input),
        }
    }

    /// The same of pictures alone, of which there were some.
    pub(crate) fn of_pictures(input: &Input, pictures: &Pictures) -> Self {
        let seen = Self::of(input, Some(pictures), None, Vec::new());
        Self { pictures: seen.pictures.max(1), on_sound: Vec::new(), ..seen }
    }

    /// The same of sound alone.
    pub(crate) fn of_sound(input: &Input, sound: Option<&Sound>, on_times: Vec<String>) -> Self {
        Self { on_pictures: Vec::new(), ..Self::of(input, None, sound, on_times) }
    }

    /// What is made of pictures needs one.
    pub(crate) fn some_picture(&self) -> Result<(), JobFailure> {
        if self.pictures > 0 {
            return Ok(());
        }
        let message = "Not one picture of the file could be decoded.";
        Err(JobFailure::new(FailureCode::NotDecodable, message))
    }

    /// What whoever looks at the pictures should know.
    pub(crate) fn notes_on_pictures(&self) -> Vec<String> {
        [&self.on_pictures[..], &self.on_times].concat()
    }

    /// What whoever hears the sound should know.
    pub(crate) fn notes_on_sound(&self) -> Vec<String> {
        [&self.on_sound[..], &self.on_times].concat()
    }

    /// The same for who plays both.
    pub(crate) fn notes(&self) -> Vec<String> {
        [&self.on_pictures[..], &self.on_sound, &self.on_times, &self.left_out].concat()
    }
}

pub(crate) fn no_picture() -> JobFailure {
    JobFailure::new(FailureCode::NothingToMake, "The file has no picture.")
}

/// Made in one it would be other bytes.
fn in_ranges() -> JobFailure {
    let message = "A viewing copy with ranges is made range by range, and joined.";
    JobFailure::new(FailureCode::Internal, message)
}

fn no_size() -> JobFailure {
    let message = "The file does not say how large its picture is.";
    JobFailure::new(FailureCode::NotDecodable, message)
}

fn nothing(has_sound: bool) -> JobFailure {
    let message = if has_sound {
        "The file has no picture, and its sound cannot be decoded."
    } else {
        "The file has neither picture nor sound."
    };
    JobFailure::new(FailureCode::NothingToMake, message)
}
