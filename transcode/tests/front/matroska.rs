//! A Matroska writer that can do what `ffmpeg`'s does not: frames that share a block, bytes that are left out of each, clusters of unknown
//! size, what lies between.

use bytes::Bytes;

use crate::clip;

/// Coded pictures as a container has them, and what it says of all.
pub(crate) struct Coded {
    pub(crate) avcc: Vec<u8>,
    pub(crate) pictures: Vec<Vec<u8>>,
}

/// How they are laid down.
#[derive(Clone, Copy, Default)]
pub(crate) struct Laid {
    /// Pictures in a block.
    pub(crate) in_a_block: usize,
    /// So many first bytes of each, which are the same in all, stand in the header only.
    pub(crate) stripped: usize,
    /// Segment and clusters do not say how long they are.
    pub(crate) is_open: bool,
    /// Something else lies before each block.
    pub(crate) has_voids: bool,
}

pub(crate) const PLAIN: Laid =
    Laid { in_a_block: 1, stripped: 0, is_open: false, has_voids: false };

/// 25 pictures a second of this size, none of which waits for a later one.
pub(crate) fn coded(size: &str) -> Coded {
    let source = format!("testsrc2=s={size}:r=25:d=2");
    let arguments = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -bf 0 -g 25 -x264-params aud=1:repeat-headers=1 -f h264";
    let stream = clip(&[&source], arguments, "h264");
    let (mut sets, mut pictures) = (Vec::new(), Vec::<Vec<u8>>::new());
    for unit in units(&stream) {
        match unit[0] & 0x1f {
            7 | 8 => sets.push(unit),
            9 => pictures.push(Vec::new()),
            _ => pictures.last_mut().unwrap().extend(with_length(unit)),
        }
    }
    sets.sort_unstable_by_key(|set| set[0] & 0x1f);
    sets.dedup();
    let [sequence, picture] = sets[..] else { panic!("one set of each kind") };
    let head = [1, sequence[1], sequence[2], sequence[3], 0xff, 0xe1];
    let length = |set: &[u8]| (set.len() as u16).to_be_bytes();
    let sets = [&length(sequence)[..], sequence, &[1], &length(picture), picture].concat();
    Coded { avcc: [&head[..], &sets].concat(), pictures }
}

pub(crate) fn with_length(unit: &[u8]) -> Vec<u8> {
    [&(unit.len() as u32).to_be_bytes()[..], unit].concat()
}

fn units(stream: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> =
        (0..stream.len() - 3).filter(|at| stream[*at..].starts_with(&[0, 0, 1])).collect();
    let ends = starts[1..].iter().copied().chain([stream.len()]);
    let unit = |(start, end): (&usize, usize)| {
        let unit = &stream[start + 3..end];
        &unit[..unit.iter().rposition(|byte| *byte != 0).unwrap() + 1]
    };
    starts.iter().zip(ends).map(unit).collect()
}

impl Coded {
    /// As a file.
    pub(crate) fn laid(&self, (width, height): (u16, u16), laid: Laid) -> Bytes {
        let number = |id: &[u8], number: u64| element(id, &number.to_be_bytes());
        let ebml = [
            number(&[0x42, 0x86], 1),
            number(&[0x42, 0xf7], 1),
            number(&[0x42, 0xf2], 4),
            number(&[0x42, 0xf3], 8),
            element(&[0x42, 0x82], b"matroska"),
            number(&[0x42, 0x87], 4),
            number(&[0x42, 0x85], 2),
        ];
        let size = [number(&[0xb0], width.into()), number(&[0xba], height.into())].concat();
        let mut track = [
            number(&[0xd7], 1),
            number(&[0x73, 0xc5], 1),
            number(&[0x83], 1),
            element(&[0x86], b"V_MPEG4/ISO/AVC"),
            element(&[0x63, 0xa2], &self.avcc),
            number(&[0x23, 0xe3, 0x83], 40_000_000),
            element(&[0xe0], &size),
        ]
        .concat();
        let stripped = &self.pictures[0][..laid.stripped];
        if !stripped.is_empty() {
            let settings = [number(&[0x42, 0x54], 3), element(&[0x42, 0x55], stripped)].concat();
            let encoding = element(&[0x62, 0x40], &element(&[0x50, 0x34], &settings));
            track.extend(element(&[0x6d, 0x80], &encoding));
        }
        let info = element(&[0x15, 0x49, 0xa9, 0x66], &number(&[0x2a, 0xd7, 0xb1], 1_000_000));
        let tracks = element(&[0x16, 0x54, 0xae, 0x6b], &element(&[0xae], &track));
        let clusters = self.pictures.chunks(25).enumerate().map(|(at, second)| {
            let blocks =
                second.chunks(laid.in_a_block).enumerate().flat_map(|(block, pictures)| {
                    let time = (block * laid.in_a_block * 40) as u16;
                    let void = element(&[0xec], &[0x55; 40]);
                    let void = if laid.has_voids { void } else { Vec::new() };
                    let is_first = block == 0;
                    [void, element(&[0xa3], &block_of(pictures, time, is_first, laid.stripped))]
                        .concat()
                });
            let body = [number(&[0xe7], at as u64 * 1000), blocks.collect()].concat();
            bounded(&[0x1f, 0x43, 0xb6, 0x75], &body, laid.is_open)
        });
        let segment = [info, tracks, clusters.collect::<Vec<_>>().concat()].concat();
        let ebml = element(&[0x1a, 0x45, 0xdf, 0xa3], &ebml.concat());
        [ebml, bounded(&[0x18, 0x53, 0x80, 0x67], &segment, laid.is_open)].concat().into()
    }
}

/// A `SimpleBlock`; several pictures are laced as Xiph does.
fn block_of(pictures: &[Vec<u8>], time: u16, is_key: bool, stripped: usize) -> Vec<u8> {
    let lacing = if pictures.len() > 1 { 2 } else { 0 };
    let mut block = vec![0x81];
    block.extend(time.to_be_bytes());
    block.push(if is_key { 0x80 } else { 0 } | lacing);
    if let [all @ .., _] = pictures
        && !all.is_empty()
    {
        block.push(all.len() as u8);
        for picture in all {
            let length = picture.len() - stripped;
            block.extend(std::iter::repeat_n(255, length / 255));
            block.push((length % 255) as u8);
        }
    }
    pictures.iter().for_each(|picture| block.extend(&picture[stripped..]));
    block
}

fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
    bounded(id, body, false)
}

/// With a length of eight bytes, or with the one that means "unknown".
fn bounded(id: &[u8], body: &[u8], is_open: bool) -> Vec<u8> {
    let length = if is_open { (1 << 56) - 1 } else { body.len() as u64 };
    [id, &(length | 1 << 56).to_be_bytes(), body].concat()
}
