//! `exhibit-transcode`: reads one original by asking for ranges of it, and makes derivatives of it.
//!
//! Here: libav, behind limits. Not here: storage, keys, network, file names, the clock. The program is started by
//! the server with one end of a socket pair as its standard input and speaks the protocol of
//! `docs/formats/worker-protocol.md` over it; started any other way it ends with a line of help.
//!
//! Invariant: the floor of limits is laid before the first byte of footage arrives, or nothing is read at all.
//! This is the one crate that may say `unsafe`: libav is C, and limits are system calls.

mod audio;
mod avc;
mod camm;
mod channel;
mod confine;
mod cut;
mod decoded;
mod failure;
mod finder;
mod frames;
mod front;
mod gpmf;
mod groups;
mod index;
mod input;
mod interlaced;
mod joined;
mod jpeg;
mod jumps;
mod location;
mod mux;
mod nal;
mod part;
mod pass;
mod place;
mod poster;
mod probe;
mod proxy;
mod range;
mod redaction;
mod report;
mod scan;
mod scenes;
mod structure;
mod table;
mod thumbnails;
mod unframe;
mod video;
mod waveform;

use transcode_protocol::{Cut, Ended, FailureCode, Frame, Recipe};

use crate::channel::{Channel, SharedChannel};
use crate::failure::{JobFailure, ended};

/// Exit code when the program was not started by a server.
const EXIT_USAGE: i32 = 64;

fn main() {
    let Some(mut channel) = Channel::from_stdin() else {
        eprintln!(
            "exhibit-transcode {}: started by the Exhibit server, with a socket as its standard input",
            env!("CARGO_PKG_VERSION")
        );
        std::process::exit(EXIT_USAGE);
    };
    let job = channel.job();
    // What libav reads of its surroundings, it reads now.
    let started = ffmpeg_next::init();
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Quiet);
    match confine::confine(&job.limits, &job.without) {
        Ok(confinement) => channel.send(&Frame::Ready(confinement)),
        Err(reason) => {
            let unconfined = JobFailure::new(FailureCode::Unconfined, reason);
            return channel.send(&unconfined.into());
        }
    }
    let channel = SharedChannel::new(channel, job.size_bytes);
    let outcome = started
        .map_err(|error| JobFailure::av("the libraries did not start", error))
        .and_then(|()| make(&channel, job.recipes));
    channel.send(&match outcome {
        Ok(all) => Frame::Done(all),
        Err(failure) => failure.into(),
    });
}

/// What became of each recipe. Those that decode no pictures, or a range, read the file by themselves; the others share one pass.
fn make(channel: &SharedChannel, recipes: Vec<Recipe>) -> Result<Vec<Ended>, JobFailure> {
    let made: Vec<_> = recipes.into_iter().map(|recipe| (read(channel, &recipe), recipe)).collect();
    let passed = made.iter().filter(|(made, _)| made.is_none()).map(|(_, recipe)| recipe.clone());
    let passed: Vec<_> = passed.collect();
    let passed = match passed.len() {
        0 => Vec::new(),
        all if all == made.len() => pass::make(channel, &passed)?,
        // What stops the pass stops nothing that was read.
        some => pass::make(channel, &passed)
            .unwrap_or_else(|failure| vec![Ended::Failed(failure.into()); some]),
    };
    let mut passed = passed.into_iter();
    Ok(made.into_iter().filter_map(|(made, _)| made.or_else(|| passed.next())).collect())
}

/// What became of a recipe that reads the file by itself.
fn read(channel: &SharedChannel, recipe: &Recipe) -> Option<Ended> {
    let name = recipe.output_name();
    Some(ended(match recipe {
        Recipe::Probe(_) => probe::make(channel, name),
        Recipe::Front(parameters) => front::make(channel, name, parameters),
        Recipe::Location(parameters) => location::make(channel, name, parameters),
        Recipe::ProxyRange(parameters) => range::make(channel, name, parameters),
        Recipe::Joined(parameters) => joined::make(channel, name, parameters),
        Recipe::Extract(parameters) if parameters.cut != Cut::Exact => {
            cut::make(channel, name, parameters.part)
        }
        _ => return None,
    }))
}
