//! Footage that somebody made to do harm: real formats with bits flipped, with structures that lie, with more in them
//! than fits a machine, and texts that name files and hosts.
//!
//! What lives here: the inputs, by seed and number, and the [`canary`] that they name. What does not: whoever reads them.
//! An input is the same for the same seed, number and ffmpeg, but for the canary's addresses.

pub mod canary;

mod bait;
mod bases;
mod elements;
mod lies;
mod oddities;

use std::io::Write;
use std::process::{Command, Stdio};

pub use bases::Base;
pub use canary::Canary;

use crate::seeded::Seeded;

/// Bits that zzuf flips, of all.
const ZZUF_RATIOS: [&str; 6] = ["0.00002", "0.0002", "0.001", "0.004", "0.02", "0.1"];
/// Every so many inputs come from each kind in the same number.
const CYCLE: u64 = 20;

/// Makes inputs.
#[derive(Debug)]
pub struct Maker {
    seed: u64,
    bases: Vec<Base>,
    baits: Vec<bait::Bait>,
}

/// Something that arrives as footage.
#[derive(Debug, Clone)]
pub struct Input {
    pub number: u64,
    /// How it was made, for whoever looks into it.
    pub what: String,
    pub bytes: Vec<u8>,
}

impl Maker {
    /// Makes the clips that inputs are made of (some seconds), by Debian's ffmpeg.
    pub fn new(seed: u64, canary: &Canary) -> Self {
        let bases = bases::all();
        let baits = bait::all(canary, &bases);
        Self { seed, bases, baits }
    }

    /// The clips as they are before anything is done to them.
    pub fn bases(&self) -> &[Base] {
        &self.bases
    }

    /// Everything that names a file or a host, as it is before anything is done to it.
    pub fn baits(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.baits.iter().map(|bait| (bait.what.as_str(), &bait.bytes[..]))
    }

    /// The input of this number: of each twenty, eight by zzuf, eight with lies in their structure, two oddities, two baits.
    pub fn input(&self, number: u64) -> Input {
        let mut seeded = Seeded::new(Seeded::new(self.seed ^ (number << 32)).number());
        let (what, bytes) = match number % CYCLE {
            0..8 => self.flipped(&mut seeded),
            8..16 => self.lying(&mut seeded),
            16 | 17 => oddities::one(&self.bases, &mut seeded),
            _ => self.bait(&mut seeded),
        };
        Input { number, what, bytes }
    }

    fn flipped(&self, seeded: &mut Seeded) -> (String, Vec<u8>) {
        let base = seeded.one_of(&self.bases);
        let ratio = seeded.one_of(&ZZUF_RATIOS);
        (format!("{}, zzuf {ratio}", base.name), zzuf(&base.bytes, ratio, seeded.below(1 << 31)))
    }

    fn lying(&self, seeded: &mut Seeded) -> (String, Vec<u8>) {
        let base = seeded.one_of(&self.bases);
        let (told, bytes) = lies::tell(&base.bytes, seeded);
        (format!("{}, {told}", base.name), bytes)
    }

    /// Every second one as it is, the others damaged or behind something else.
    fn bait(&self, seeded: &mut Seeded) -> (String, Vec<u8>) {
        let bait = seeded.one_of(&self.baits);
        let (how, bytes) = match seeded.below(8) {
            0 => ("behind a tag", [&b"ID3\x04\0\0\0\0\0\0"[..], &bait.bytes].concat()),
            1 => ("behind a byte order mark", [&b"\xef\xbb\xbf"[..], &bait.bytes].concat()),
            2 => ("behind a clip", [&seeded.one_of(&self.bases).bytes[..], &bait.bytes].concat()),
            3 => ("damaged", zzuf(&bait.bytes, "0.0005", seeded.below(1 << 31))),
            _ => ("as it is", bait.bytes.clone()),
        };
        (format!("{}, {how}", bait.what), bytes)
    }
}

/// Debian's zzuf as a filter: this share of bits is flipped, no byte more or fewer.
fn zzuf(bytes: &[u8], ratio: &str, seed: u64) -> Vec<u8> {
    let mut zzuf = Command::new("zzuf");
    let zzuf = zzuf.args(["-s", &seed.to_string(), "-r", ratio]);
    let fuzzed = through(zzuf, bytes);
    assert_eq!(fuzzed.len(), bytes.len(), "zzuf changes bits only");
    fuzzed
}

/// What a program makes of these bytes on its way from standard input to standard output.
fn through(command: &mut Command, bytes: &[u8]) -> Vec<u8> {
    let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = streams.spawn().expect("scripts/setup test installs it");
    let mut stdin = process.stdin.take().expect("a pipe");
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(bytes));
        let output = process.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{command:?}");
        output.stdout
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_the_same_again_and_differ() {
        let canary = Canary::new();
        let one = Maker::new(1, &canary);
        let other = Maker::new(2, &canary);
        let inputs: Vec<Input> = (0..CYCLE).map(|number| one.input(number)).collect();
        for input in &inputs {
            assert_eq!(input.bytes, one.input(input.number).bytes, "{}", input.what);
            assert!(input.bytes != other.input(input.number).bytes, "{}", input.what);
        }
    }
}
