//! `exhibit-transcode`: reads one original by asking for ranges of it, and makes one derivative.
//!
//! Here: libav, behind limits. Not here: storage, keys, network, file names, the clock. The program is started by
//! the server with one end of a socket pair as its standard input and speaks the protocol of
//! `docs/formats/worker-protocol.md` over it; started any other way it ends with a line of help.
//!
//! Invariant: the floor of limits is laid before the first byte of footage arrives, or nothing is read at all.
//! This is the one crate that may say `unsafe`: libav is C, and limits are system calls.

mod audio;
mod channel;
mod confine;
mod failure;
mod index;
mod input;
mod mux;
mod poster;
mod probe;
mod proxy;
mod report;
mod scan;
mod structure;
mod video;

use transcode_protocol::{FailureCode, Frame, Recipe, Report};

use crate::channel::{Channel, SharedChannel};
use crate::failure::JobFailure;

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
    match confine::confine(&job.limits) {
        Ok(confinement) => channel.send(&Frame::Ready(confinement)),
        Err(reason) => {
            let unconfined = JobFailure::new(FailureCode::Unconfined, reason);
            return channel.send(&unconfined.into());
        }
    }
    let channel = SharedChannel::new(channel, job.size_bytes);
    let outcome = started
        .map_err(|error| JobFailure::av("the libraries did not start", error))
        .and_then(|()| make(&channel, &job.recipe));
    channel.send(&match outcome {
        Ok(report) => Frame::Done(report),
        Err(failure) => failure.into(),
    });
}

fn make(channel: &SharedChannel, recipe: &Recipe) -> Result<Report, JobFailure> {
    let name = recipe.output_name();
    match recipe {
        Recipe::Probe(_) => probe::make(channel, name),
        Recipe::Proxy(parameters) => proxy::make(channel, name, parameters),
        Recipe::Poster(parameters) => poster::make(channel, name, parameters),
    }
}
