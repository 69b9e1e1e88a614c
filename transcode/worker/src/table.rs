//! The tables of an MP4 (ISO/IEC 14496-12) that lead a player to pictures and sound, wherever they lie in the file.

use ffmpeg_next::{Rational, Rescale};

use crate::avc::Why;
use crate::scan::MICROSECONDS;

/// A day of 24 pictures a second: more are not kept in memory.
const MAX_SAMPLES: usize = 1 << 21;
/// No H.264 picture waits for more than so many that are shown after it (ITU-T H.264, A.3.1 h).
const MOST_REORDERED: usize = 16;
/// Sound that strays from its time stamps by more is put back. Less is the rounding of containers.
const STRAYS_US: i64 = 30_000;

const SPREAD: Why = "pictures or sound lie too far apart in time";

/// One coded picture, or piece of sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) place: u64,
    pub(crate) bytes: u32,
    /// When it is shown.
    pub(crate) time: i64,
    /// How long it says that it lasts; of the last only this counts.
    pub(crate) length: i64,
    pub(crate) is_key: bool,
}

/// All of a track, in the order in which they are decoded.
#[derive(Debug)]
pub(crate) struct Samples {
    all: Vec<Sample>,
    clock: Rational,
}

/// The same in the words of an MP4: times are steps, and what is shown later than it is decoded says by how much.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Timed {
    all: Vec<Sample>,
    ticks_per_second: u32,
    steps: Vec<u32>,
    /// Of pictures.
    shifts: Vec<u32>,
    /// So much of the track comes before its first moment.
    lead: u32,
    /// When that is, by the clock of the original.
    first_us: i64,
}

/// What a track is of.
pub(crate) struct Medium {
    pub(crate) handler: [u8; 4],
    /// How its samples are to be decoded: one entry of `stsd`.
    pub(crate) entry: Vec<u8>,
    pub(crate) matrix: [i32; 9],
    /// As shown, before the matrix turns it.
    pub(crate) size: (u32, u32),
}

/// A track on its way into a file.
pub(crate) struct Track {
    pub(crate) medium: Medium,
    pub(crate) timed: Timed,
    /// Whether places count from the start of the original, or of the file.
    pub(crate) is_in_original: bool,
}

impl Samples {
    pub(crate) fn new(clock: Rational) -> Self {
        Self { all: Vec::new(), clock }
    }

    pub(crate) fn push(&mut self, sample: Sample) -> Result<(), Why> {
        if self.all.len() == MAX_SAMPLES {
            return Err("it has too many pictures, or pieces of sound");
        }
        self.all.push(sample);
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Pictures are decoded in the order in which they lie, each as late as the one is shown that has its place among all.
    pub(crate) fn into_pictures(self) -> Result<Timed, Why> {
        let (ticks, ticks_per_second) = (i64::from(self.clock.0), self.clock.1);
        let time = |sample: &Sample| sample.time * ticks;
        let mut shown: Vec<i64> = self.all.iter().map(time).collect();
        shown.sort_unstable();
        if shown.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("two pictures are shown at the same time");
        }
        let mut lead = 0;
        for (at, sample) in self.all.iter().enumerate() {
            let place = shown.binary_search(&time(sample)).unwrap_or_default();
            if place.abs_diff(at) > MOST_REORDERED {
                return Err("pictures are shown in quite another order than they lie in");
            }
            lead = lead.max(shown[at] - time(sample));
        }
        let last = self.all.iter().max_by_key(|sample| sample.time).ok_or("it has no picture")?;
        let before_last = shown.len().checked_sub(2).map_or(1, |at| shown[at + 1] - shown[at]);
        let last = if last.length > 0 { last.length * ticks } else { before_last };
        let steps = steps(&shown, last)?;
        let shift = |(sample, decoded): (&Sample, &i64)| number(time(sample) - decoded + lead);
        let shifts = self.all.iter().zip(&shown).map(shift).collect::<Result<_, _>>()?;
        let first_us = self.all.iter().map(|s| s.time).min().unwrap_or(0);
        let first_us = first_us.rescale(self.clock, MICROSECONDS);
        let ticks_per_second = u32::try_from(ticks_per_second).map_err(|_| SPREAD)?;
        let lead = number(lead)?;
        Ok(Timed { all: self.all, ticks_per_second, steps, shifts, lead, first_us })
    }

    /// Sound of `rate` samples a second, of which each piece has `piece`: it goes on without a break unless its times say otherwise. What
    /// comes before `start_us` is not heard.
    pub(crate) fn into_sound(self, rate: u32, piece: u32, start_us: i64) -> Result<Timed, Why> {
        let own = Rational(1, i32::try_from(rate).map_err(|_| SPREAD)?);
        let strays = STRAYS_US.rescale(MICROSECONDS, own);
        let (mut heard, mut next): (Vec<i64>, Option<i64>) = (Vec::with_capacity(self.len()), None);
        for sample in &self.all {
            let stamped = sample.time.rescale(self.clock, own);
            let time = match next {
                Some(next) if stamped - next < -strays => return Err("its sound overlaps"),
                Some(next) if stamped - next <= strays => next,
                _ => stamped,
            };
            heard.push(time);
            next = Some(time + i64::from(piece));
        }
        let first = *heard.first().ok_or("it has no sound")?;
        let start = start_us.rescale(MICROSECONDS, own);
        let lead = number((start - first).max(0))?;
        let first_us = first.max(start).rescale(own, MICROSECONDS);
        let steps = steps(&heard, piece.into())?;
        Ok(Timed {
            all: self.all,
            ticks_per_second: rate,
            steps,
            shifts: Vec::new(),
            lead,
            first_us,
        })
    }
}

fn steps(times: &[i64], last: i64) -> Result<Vec<u32>, Why> {
    let between = times.windows(2).map(|pair| pair[1] - pair[0]);
    between.chain([last]).map(number).collect()
}

fn number(ticks: i64) -> Result<u32, Why> {
    u32::try_from(ticks).map_err(|_| SPREAD)
}

/// The index of a file that begins with `before_bytes` of other boxes, then this one, then the header of a last `mdat` and in it the
/// original of `original_bytes`; and that header.
pub(crate) fn index(
    tracks: &[Track],
    start_us: i64,
    before_bytes: u64,
    original_bytes: u64,
) -> Vec<u8> {
    let mdat_bytes = LONG_HEADER_BYTES + original_bytes;
    let is_long = before_bytes + mdat_bytes > u64::from(u32::MAX) - MOST_INDEX_BYTES;
    let moov = |original_at: u64| {
        let all = tracks.iter().enumerate();
        let all = all.map(|(at, track)| track.boxed(at as u32 + 1, start_us, original_at, is_long));
        let longest = tracks.iter().map(|track| track.end_us(start_us)).max().unwrap_or(0);
        boxed(b"moov", &[mvhd(longest, tracks.len()), all.collect::<Vec<_>>().concat()])
    };
    // Its length does not depend on where the original begins, only on how long a place is written.
    let bytes = moov(0).len() as u64;
    let mut index = moov(before_bytes + bytes + LONG_HEADER_BYTES);
    index.extend([&[0, 0, 0, 1][..], b"mdat", &mdat_bytes.to_be_bytes()].concat());
    index
}

/// Kind, and a length of 64 bits.
const LONG_HEADER_BYTES: u64 = 16;
/// An index of [`MAX_SAMPLES`] twice takes no more.
const MOST_INDEX_BYTES: u64 = 1 << 28;

impl Track {
    fn boxed(&self, id: u32, start_us: i64, original_at: u64, is_long: bool) -> Vec<u8> {
        let Self { medium, timed, .. } = self;
        let base = if self.is_in_original { original_at } else { 0 };
        let media = medium_header(&medium.handler);
        let stbl = [
            full(b"stsd", 0, &[vec![0, 0, 0, 1], medium.entry.clone()]),
            timed.stts(),
            timed.ctts(),
            timed.stss(),
            timed.places(base, is_long),
        ];
        let data = full(b"dref", 0, &[vec![0, 0, 0, 1], full(b"url ", 1, &[])]);
        let minf = [media, boxed(b"dinf", &[data]), boxed(b"stbl", &stbl)];
        let mdia = [timed.mdhd(), hdlr(&medium.handler), boxed(b"minf", &minf)];
        let tkhd = self.tkhd(id, start_us);
        boxed(b"trak", &[tkhd, timed.edts(start_us), boxed(b"mdia", &mdia)])
    }

    /// From the start of the file.
    fn end_us(&self, start_us: i64) -> i64 {
        (self.timed.first_us - start_us).max(0) + self.timed.length_us()
    }

    fn tkhd(&self, id: u32, start_us: i64) -> Vec<u8> {
        // Enabled, and part of what is shown.
        let mut body = [0u64.to_be_bytes(), 0u64.to_be_bytes()].concat();
        body.extend([id, 0].iter().flat_map(|n| n.to_be_bytes()));
        body.extend(self.end_us(start_us).to_be_bytes());
        body.extend([0; 8]);
        let volume: u16 = if self.medium.handler == *b"soun" { 0x100 } else { 0 };
        body.extend([0, 0, volume, 0].iter().flat_map(|n: &u16| n.to_be_bytes()));
        body.extend(self.medium.matrix.iter().flat_map(|n| n.to_be_bytes()));
        let (width, height) = self.medium.size;
        body.extend([width << 16, height << 16].iter().flat_map(|n| n.to_be_bytes()));
        full(b"tkhd", 0x0100_0003, &[body])
    }
}

impl Timed {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The same by a clock that is `us` ahead.
    pub(crate) fn moved_by(self, us: i64) -> Self {
        Self { first_us: self.first_us + us, ..self }
    }

    fn ticks(&self) -> u64 {
        self.steps.iter().map(|step| u64::from(*step)).sum()
    }

    fn own(&self) -> Rational {
        Rational(1, i32::try_from(self.ticks_per_second).unwrap_or(i32::MAX))
    }

    /// From its first moment to its last. What leads to the first picture is not counted in the steps.
    fn length_us(&self) -> i64 {
        let heard = if self.shifts.is_empty() { u64::from(self.lead) } else { 0 };
        let ticks = i64::try_from(self.ticks().saturating_sub(heard)).unwrap_or(i64::MAX);
        ticks.rescale(self.own(), MICROSECONDS)
    }

    fn mdhd(&self) -> Vec<u8> {
        let lead = if self.shifts.is_empty() { 0 } else { u64::from(self.lead) };
        let mut body = vec![0; 16];
        body.extend(self.ticks_per_second.to_be_bytes());
        body.extend((self.ticks() + lead).to_be_bytes());
        // "und": no language.
        body.extend([0x55, 0xc4, 0, 0]);
        full(b"mdhd", 0x0100_0000, &[body])
    }

    /// Nothing until its first moment, then all of it from there.
    fn edts(&self, start_us: i64) -> Vec<u8> {
        let late_us = (self.first_us - start_us).max(0);
        let late = (late_us > 0).then_some((late_us, -1i64));
        let edits = late.into_iter().chain([(self.length_us(), i64::from(self.lead))]);
        let edit = |(length, time): (i64, i64)| {
            [&length.to_be_bytes()[..], &time.to_be_bytes(), &[0, 1, 0, 0]].concat()
        };
        let edits: Vec<Vec<u8>> = edits.map(edit).collect();
        let count = (edits.len() as u32).to_be_bytes().to_vec();
        boxed(b"edts", &[full(b"elst", 0x0100_0000, &[count, edits.concat()])])
    }

    fn stts(&self) -> Vec<u8> {
        full(b"stts", 0, &[runs(&self.steps)])
    }

    fn ctts(&self) -> Vec<u8> {
        match self.shifts.iter().all(|shift| *shift == 0) {
            true => Vec::new(),
            false => full(b"ctts", 0, &[runs(&self.shifts)]),
        }
    }

    /// Which pictures need none before them.
    fn stss(&self) -> Vec<u8> {
        let keys = (1u32..).zip(&self.all).filter(|(_, sample)| sample.is_key);
        let keys: Vec<u8> = keys.flat_map(|(number, _)| number.to_be_bytes()).collect();
        match keys.len() / 4 == self.all.len() {
            true => Vec::new(),
            false => full(b"stss", 0, &[((keys.len() / 4) as u32).to_be_bytes().to_vec(), keys]),
        }
    }

    /// How long each is, and where each run of them lies.
    fn places(&self, base: u64, is_long: bool) -> Vec<u8> {
        let chunks: Vec<&[Sample]> = self.all.chunk_by(Sample::is_followed_by).collect();
        let place = |chunk: &&[Sample]| match base + chunk[0].place {
            place if is_long => place.to_be_bytes().to_vec(),
            place => (place as u32).to_be_bytes().to_vec(),
        };
        let count = |all: usize| (all as u32).to_be_bytes().to_vec();
        let places = [count(chunks.len()), chunks.iter().flat_map(place).collect()];
        let mut lengths: Vec<(u32, u32)> = Vec::new();
        for (number, chunk) in (1u32..).zip(&chunks) {
            let samples = chunk.len() as u32;
            if lengths.last().is_none_or(|(_, before)| *before != samples) {
                lengths.push((number, samples));
            }
        }
        let line =
            |(first, samples): &(u32, u32)| [*first, *samples, 1].map(u32::to_be_bytes).concat();
        let stsc = [count(lengths.len()), lengths.iter().flat_map(line).collect()];
        let sizes = self.all.iter().flat_map(|sample| sample.bytes.to_be_bytes()).collect();
        [
            full(b"stsc", 0, &stsc),
            full(b"stsz", 0, &[vec![0; 4], count(self.all.len()), sizes]),
            full(if is_long { b"co64" } else { b"stco" }, 0, &places),
        ]
        .concat()
    }
}

impl Sample {
    fn is_followed_by(&self, next: &Self) -> bool {
        self.place + u64::from(self.bytes) == next.place
    }
}

/// So many of each, one after the other.
fn runs(values: &[u32]) -> Vec<u8> {
    let runs: Vec<&[u32]> = values.chunk_by(|one, next| one == next).collect();
    let run = |run: &&[u32]| [run.len() as u32, run[0]].map(u32::to_be_bytes).concat();
    [(runs.len() as u32).to_be_bytes().to_vec(), runs.iter().flat_map(run).collect()].concat()
}

fn mvhd(longest_us: i64, tracks: usize) -> Vec<u8> {
    let mut body = vec![0; 16];
    body.extend(1_000_000u32.to_be_bytes());
    body.extend(longest_us.to_be_bytes());
    // As fast and as loud as it is.
    body.extend([0, 1, 0, 0, 1, 0]);
    body.extend([0; 10]);
    body.extend(LEVEL.iter().flat_map(|n| n.to_be_bytes()));
    body.extend([0; 24]);
    body.extend((tracks as u32 + 1).to_be_bytes());
    full(b"mvhd", 0x0100_0000, &[body])
}

/// The matrix that turns nothing: 16.16 numbers, and in the last column 2.30.
pub(crate) const LEVEL: [i32; 9] = [1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30];

fn hdlr(handler: &[u8; 4]) -> Vec<u8> {
    full(b"hdlr", 0, &[vec![0; 4], handler.to_vec(), vec![0; 13]])
}

fn medium_header(handler: &[u8; 4]) -> Vec<u8> {
    match handler {
        b"vide" => full(b"vmhd", 1, &[vec![0; 8]]),
        _ => full(b"smhd", 0, &[vec![0; 4]]),
    }
}

pub(crate) fn boxed(kind: &[u8; 4], parts: &[Vec<u8>]) -> Vec<u8> {
    let bytes = 8 + parts.iter().map(Vec::len).sum::<usize>();
    let bytes = u32::try_from(bytes).expect("tables are bounded by MAX_SAMPLES");
    let mut all = [&bytes.to_be_bytes()[..], kind].concat();
    parts.iter().for_each(|part| all.extend_from_slice(part));
    all
}

/// A box with its version (the highest byte) and flags.
pub(crate) fn full(kind: &[u8; 4], flags: u32, parts: &[Vec<u8>]) -> Vec<u8> {
    boxed(kind, &[flags.to_be_bytes().to_vec(), parts.concat()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(times: &[i64]) -> Samples {
        let mut samples = Samples::new(Rational(1, 25));
        for (at, time) in times.iter().enumerate() {
            let place = 100 * at as u64;
            let sample = Sample { place, bytes: 50, time: *time, length: 1, is_key: at == 0 };
            samples.push(sample).unwrap();
        }
        samples
    }

    #[test]
    fn pictures_keep_their_times() {
        let timed = samples(&[10, 14, 12, 11, 13, 15]).into_pictures().unwrap();
        assert_eq!((timed.lead, timed.first_us), (2, 400_000));
        assert_eq!(timed.steps, [1; 6]);
        let decoded =
            timed.steps.iter().scan(0, |at, step| Some(std::mem::replace(at, *at + step)));
        let shown: Vec<u32> = decoded.zip(&timed.shifts).map(|(at, shift)| at + shift).collect();
        assert_eq!(shown, [2, 6, 4, 3, 5, 7]);
    }

    #[test]
    fn times_that_cannot_be_are_refused() {
        let far: Vec<i64> = (0..20).chain([-1]).collect();
        for bad in [&[][..], &[1, 1], &[0, 1 << 40], &far] {
            assert!(samples(bad).into_pictures().is_err(), "{bad:?}");
        }
        assert!(samples(&far[..20]).into_pictures().is_ok());
    }

    #[test]
    fn sound_goes_on_unless_its_times_say_otherwise() {
        let sound = |times: &[i64], start| samples(times).into_sound(25_000, 1000, start);
        let timed = sound(&[0, 1, 2, 9], 0).unwrap();
        assert_eq!(timed.steps, [1000, 1000, 7000, 1000]);
        let timed = sound(&[-1, 0, 1], 0).unwrap();
        assert_eq!((timed.lead, timed.first_us, timed.length_us()), (1000, 0, 80_000));
        assert!(sound(&[5, 4], 0).is_err());
    }

    #[test]
    fn places_beyond_32_bits_are_written_long() {
        let of = |original: u64| {
            let medium =
                Medium { handler: *b"vide", entry: vec![0; 8], matrix: LEVEL, size: (2, 2) };
            let timed = samples(&[0, 1]).into_pictures().unwrap();
            index(&[Track { medium, timed, is_in_original: true }], 0, 32, original)
        };
        let has = |index: &[u8], kind: &[u8]| index.windows(4).position(|four| four == kind);
        let short = of(1000);
        assert_eq!(has(&short, b"co64"), None);
        let at = has(&short, b"stco").unwrap();
        let first = u32::from_be_bytes(short[at + 12..at + 16].try_into().unwrap());
        assert_eq!(first as usize, 32 + short.len(), "the original comes right behind");
        assert!(has(&of(1 << 32), b"co64").is_some());
    }
}
