//! Long recordings: the viewing copy is encoded in ranges by as many workers as there are, and joined.
//!
//! Which ranges is part of the recipe as asked for, so what comes out does not depend on how many workers made it. Pictures are cut at
//! pictures that need none before them; the sound is one range, whole.

use std::io;
use std::ops;

use bytes::{Bytes, BytesMut};

use crate::protocol::{
    JoinedParameters, MAX_ENTRIES, ProxyParameters, ProxyRangeParameters, Range, Recipe, Report,
};
use crate::source::RangeSource;

/// The ranges that `recipe` is made in, in the order in which they are joined: pictures, then the sound. None: it is made in one.
pub fn of(recipe: &Recipe) -> Vec<Recipe> {
    let Recipe::Proxy(parameters) = recipe else { return Vec::new() };
    let from = &parameters.ranges_from_90k;
    if from.is_empty() {
        return Vec::new();
    }
    let copy = ProxyParameters { ranges_from_90k: Vec::new(), ..parameters.clone() };
    let beginnings = std::iter::once(None).chain(from.iter().copied().map(Some));
    let ends = from.iter().copied().map(Some).chain([None]);
    let pictures = beginnings.zip(ends);
    let pictures = pictures.map(|(from_90k, to_90k)| Range::Pictures { from_90k, to_90k });
    let recipe = |range| Recipe::ProxyRange(ProxyRangeParameters { copy: copy.clone(), range });
    pictures.chain([Range::Sound]).map(recipe).collect()
}

/// What a worker is asked for who has the ranges, one behind the other.
pub fn joined<S: RangeSource>(ranges: &OneBehindTheOther<S>) -> Recipe {
    let ranges_bytes = ranges.0.iter().map(RangeSource::size_bytes).collect();
    Recipe::Joined(JoinedParameters { ranges_bytes })
}

/// The account of the whole: that of who joined it, with what was used and met in the ranges, each once, and what was counted in all.
pub fn account(joined: Report, ranges: &[Report]) -> Report {
    let mut whole = joined;
    let mut notes: Vec<(String, u64)> = Vec::new();
    for range in ranges {
        let made_with = &range.made_with;
        whole.made_with.threads = made_with.threads;
        for (name, how) in &made_with.codecs {
            whole.made_with.codecs.entry(name.clone()).or_insert_with(|| how.clone());
        }
        let is_other = made_with.libraries != whole.made_with.libraries
            || made_with.version != whole.made_with.version;
        let other = is_other.then(|| OTHER_LIBRARIES.to_owned());
        for note in range.notes.iter().cloned().chain(other) {
            let (what, count) = counted(&note);
            match notes.iter_mut().find(|(there, had)| there == what && (*had > 0) == (count > 0)) {
                Some((_, had)) => *had = had.saturating_add(count),
                None => notes.push((what.to_owned(), count)),
            }
        }
    }
    let in_words = |(what, count)| match count {
        0 => what,
        count => format!("{what}: {count}"),
    };
    whole.notes.extend(notes.into_iter().map(in_words));
    whole.notes.truncate(MAX_ENTRIES);
    whole
}

const OTHER_LIBRARIES: &str = "ranges of it were made with other libraries than named here";
/// Notes that count what was met in one range only. Others say the same of every range.
const COUNTS: [&str; 5] = [
    "damaged pictures left out",
    "interlaced pictures",
    "pictures of high dynamic range",
    "pictures without a time",
    "pictures with no later time",
];

/// What a note counts, and how many; none: it says something else, and is said once.
fn counted(note: &str) -> (&str, u64) {
    let number = |(what, count): (&'_ str, &str)| Some((what.len(), count.parse().ok()?));
    let found = note.rsplit_once(": ").and_then(number);
    match found.filter(|_| COUNTS.iter().any(|what| note.starts_with(what))) {
        Some((end, count)) => (&note[..end], count),
        None => (note, 0),
    }
}

/// Several things to read as one.
#[derive(Debug)]
pub struct OneBehindTheOther<S>(pub Vec<S>);

impl<S: RangeSource> RangeSource for OneBehindTheOther<S> {
    fn size_bytes(&self) -> u64 {
        self.0.iter().map(RangeSource::size_bytes).sum()
    }

    async fn read(&self, range: ops::Range<u64>) -> io::Result<Bytes> {
        let mut start = 0;
        let mut bytes = BytesMut::new();
        for one in &self.0 {
            let end = start + one.size_bytes();
            let wanted = range.start.max(start)..range.end.min(end);
            if wanted.start < wanted.end {
                bytes.extend_from_slice(&one.read(wanted.start - start..wanted.end - start).await?);
            }
            start = end;
        }
        Ok(bytes.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::MadeWith;

    #[test]
    fn ranges_lie_one_behind_the_other_and_the_sound_is_one() {
        let in_one = Recipe::Proxy(ProxyParameters::default());
        assert_eq!(of(&in_one), []);
        let ranges_from_90k = vec![100, 250];
        let recipe = Recipe::Proxy(ProxyParameters { ranges_from_90k, ..Default::default() });
        let ranges = of(&recipe).into_iter().map(|recipe| match recipe {
            Recipe::ProxyRange(parameters) => {
                assert_eq!(Recipe::Proxy(parameters.copy), in_one);
                parameters.range
            }
            other => panic!("{other:?}"),
        });
        let pictures = |from_90k, to_90k| Range::Pictures { from_90k, to_90k };
        let (first, second) = (pictures(None, Some(100)), pictures(Some(100), Some(250)));
        let wanted = [first, second, pictures(Some(250), None), Range::Sound];
        assert_eq!(ranges.collect::<Vec<_>>(), wanted);
    }

    #[tokio::test]
    async fn any_bytes_of_several_are_read_as_of_one() {
        let all = OneBehindTheOther(["ab", "", "cde", "f"].map(Bytes::from).to_vec());
        assert_eq!(all.size_bytes(), 6);
        for start in 0..6 {
            for end in start + 1..=6 {
                let (from, to) = (start as usize, end as usize);
                assert_eq!(all.read(start..end).await.unwrap(), "abcdef"[from..to]);
            }
        }
    }

    fn report(libavcodec: &str, notes: &[&str]) -> Report {
        let entry = |name: &str, version: &str| [(name.to_owned(), version.to_owned())].into();
        Report {
            made_with: MadeWith {
                program: "exhibit-transcode".into(),
                version: "0".into(),
                libraries: entry("libavcodec", libavcodec),
                codecs: entry("video", "libx264"),
                threads: 2,
            },
            notes: notes.iter().map(|note| (*note).to_owned()).collect(),
        }
    }

    #[test]
    fn what_ranges_say_is_said_once_and_what_they_count_is_counted_in_all() {
        let joined = Report { notes: vec![], ..report("59", &[]) };
        let scaled = "scaled from 1920x1080 to 1280x720";
        let streams = "streams of subtitles left out: 2";
        let ranges = [
            report("59", &[scaled, "damaged pictures left out: 3", streams]),
            report("59", &[scaled, streams]),
            report("59", &["damaged pictures left out: 4", "interlaced pictures made whole: all"]),
        ];
        let notes = account(joined.clone(), &ranges).notes;
        let all = "interlaced pictures made whole: all";
        assert_eq!(notes, [scaled, "damaged pictures left out: 7", streams, all]);
        let mixed = account(joined, &[report("58", &[]), report("59", &[])]);
        assert_eq!(mixed.notes, [OTHER_LIBRARIES]);
        assert_eq!((mixed.made_with.threads, &*mixed.made_with.codecs["video"]), (2, "libx264"));
    }
}
