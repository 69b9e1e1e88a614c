//! A track of measurements put into an MP4 file by hand: no program at hand writes one.

/// One packet: its bytes, and how long it lasts.
pub(crate) type Sample = (Vec<u8>, u32);

/// `mp4` with one more track, of a kind such as `gpmd`, counted in milliseconds. Its index is at the end, as ffmpeg writes it
/// unless told otherwise, so that nothing in front of it moves.
pub(crate) fn with_track(mp4: &[u8], kind: &[u8; 4], samples: &[Sample]) -> Vec<u8> {
    let at = mp4.windows(4).rposition(|four| four == b"moov").unwrap() - 4;
    let (before, moov) = mp4.split_at(at);
    assert_eq!(number(moov), moov.len(), "the index is at the end");
    let whole = |offset: usize| {
        let moov = boxed(b"moov", &[&moov[8..], &track(kind, samples, offset)].concat());
        [before, &moov].concat()
    };
    let data: Vec<u8> = samples.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
    let offset = whole(0).len() + 8;
    [whole(offset), boxed(b"mdat", &data)].concat()
}

fn number(bytes: &[u8]) -> usize {
    u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize
}

fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
}

/// A box of numbers of 32 bits, the first of them version and flags.
fn numbers(kind: &[u8; 4], numbers: &[u32]) -> Vec<u8> {
    boxed(kind, &numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>())
}

/// ISO/IEC 14496-12, 8.3: all samples in one chunk.
fn track(kind: &[u8; 4], samples: &[Sample], offset: usize) -> Vec<u8> {
    let count = samples.len() as u32;
    let lasts: u32 = samples.iter().map(|(_, lasts)| lasts).sum();
    let unity = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
    let tkhd = [&[3, 0, 0, 9, 0, lasts, 0, 0, 0, 0][..], &unity, &[0, 0]].concat();
    let mdhd = numbers(b"mdhd", &[0, 0, 0, 1000, lasts, 0x55c4_0000]);
    let hdlr = numbers(b"hdlr", &[0, 0, u32::from_be_bytes(*b"meta"), 0, 0, 0, 0]);
    let dref = boxed(b"dref", &[&[0, 0, 0, 0, 0, 0, 0, 1][..], &numbers(b"url ", &[1])].concat());
    let entry = boxed(kind, &[0, 0, 0, 0, 0, 0, 0, 1]);
    let steps = samples.iter().flat_map(|(_, lasts)| [1, *lasts]);
    let sizes = samples.iter().map(|(bytes, _)| bytes.len() as u32);
    let stbl = [
        boxed(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1][..], &entry].concat()),
        numbers(b"stts", &[0, count].into_iter().chain(steps).collect::<Vec<_>>()),
        numbers(b"stsc", &[0, 1, 1, count, 1]),
        numbers(b"stsz", &[0, 0, count].into_iter().chain(sizes).collect::<Vec<_>>()),
        numbers(b"stco", &[0, 1, offset as u32]),
    ];
    let minf = [numbers(b"nmhd", &[0]), boxed(b"dinf", &dref), boxed(b"stbl", &stbl.concat())];
    let mdia = [mdhd, hdlr, boxed(b"minf", &minf.concat())];
    boxed(b"trak", &[numbers(b"tkhd", &tkhd), boxed(b"mdia", &mdia.concat())].concat())
}
